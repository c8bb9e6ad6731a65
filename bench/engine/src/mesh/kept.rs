//! What a rank keeps of its own part (`--details`), a line of JSON for each order; and the document put together from it, for where rank 0
//! died.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use pathproof_model::mesh::{Cell, MESH_SCHEMA, MeshSettings, RANKS_MAX, RoundKind};
use pathproof_model::{Environment, Tool};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::message::{
    Bounded, MessageError, Order, PLANES_MAX, Paced, Report, Task, Told, bound_settings, cut,
};
use super::{Again, Errand, Ledger, Made, Repeated, analyse};

/// The first line: who it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// `pathproof-mesh/1`.
    pub schema: String,
    /// What made it.
    pub tool: Tool,
    /// When the part began.
    pub started_at: String,
    /// The rank.
    pub rank: u32,
    /// Of so many.
    pub size: u32,
    /// What was typed.
    pub settings: MeshSettings,
    /// The networks that are planes of their own, as typed.
    pub nets: Vec<String>,
    /// What it belongs to, as the user says.
    pub group: Option<String>,
    /// Its name.
    pub host: String,
    /// Its address on each plane.
    pub addresses: Vec<Option<IpAddr>>,
    /// Its facts.
    pub environment: Environment,
}

/// Each other line: an order, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// What rank 0 said.
    pub order: Order,
    /// What was answered.
    pub report: Report,
}

impl Bounded for Head {
    fn bound(&mut self) -> Result<(), MessageError> {
        if self.schema != MESH_SCHEMA {
            return Err(MessageError::Nonsense("it is no part of a mesh, or of another build"));
        }
        if self.size as usize > RANKS_MAX || self.rank >= self.size {
            return Err(MessageError::Nonsense("a rank that no mesh has"));
        }
        crate::control::bound_environment(&mut self.environment);
        bound_settings(&mut self.settings);
        self.nets.truncate(PLANES_MAX);
        self.addresses.truncate(PLANES_MAX);
        let names = [&mut self.host, &mut self.started_at].into_iter();
        names.chain(&mut self.nets).chain(&mut self.group).for_each(cut);
        Ok(())
    }
}

impl Bounded for Line {
    fn bound(&mut self) -> Result<(), MessageError> {
        self.order.bound()?;
        self.report.bound()
    }
}

/// What one rank kept.
#[derive(Clone, Debug)]
pub struct Part {
    /// Who it is.
    pub head: Head,
    /// Its orders.
    pub lines: Vec<Line>,
}

impl Part {
    /// Reads what a rank kept; all of it is bounded as if it had crossed.
    pub fn read(text: &str) -> Result<Part, MessageError> {
        let mut lines = text.lines();
        let head = read(lines.next().unwrap_or_default())?;
        Ok(Part { head, lines: lines.map(read).collect::<Result<_, _>>()? })
    }
}

fn read<T: DeserializeOwned + Bounded>(line: &str) -> Result<T, MessageError> {
    // As bytes, like every other document: a reader of text would be a copy of all their types in the program.
    let mut read: T = serde_json::from_slice(line.as_bytes())
        .map_err(|error| MessageError::Unreadable(error.to_string()))?;
    read.bound()?;
    Ok(read)
}

/// Puts what the ranks kept into a ledger of their mesh. How many pairs should have been measured again and never were: nobody is named
/// by what was measured once.
pub fn put_together(ledger: &mut Ledger, parts: &[Part]) -> u32 {
    let planes = ledger.doc.planes.len();
    for Part { head, .. } in parts {
        ledger.enter((head.rank, head.host.clone()), head.group.clone(), &head.environment, &head.addresses);
    }
    ledger.compare();
    let mut rounds = BTreeMap::<u32, Made>::new();
    let lines = parts.iter().flat_map(|part| part.lines.iter().map(|line| (part.head.rank, line)));
    for (rank, Line { order, report }) in lines.filter(|(_, line)| (line.order.plane as usize) < planes) {
        let made = rounds.entry(order.number).or_insert_with(|| Made {
            kind: order.kind,
            plane: order.plane as usize,
            errands: vec![],
            reports: BTreeMap::new(),
            started_ns: 0,
            elapsed_ns: 0,
        });
        if (made.kind, made.plane) == (order.kind, order.plane as usize) {
            made.errands.push(Errand { rank, task: order.task, peers: order.peers.clone() });
            made.reports.insert(rank, report.clone());
        }
    }
    let mut again = Kept { plane: 0, told: BTreeMap::new(), paced: BTreeMap::new(), unanswered: 0 };
    for made in rounds.values() {
        ledger.take_in(made);
        again.keep(made);
    }
    for plane in 0..planes {
        ledger.name_the_unmeasured(plane);
        again.plane = plane;
        let figures = ledger.figures(plane);
        let found = analyse(&figures.measured(), &mut again);
        ledger.accuse(plane, &figures, found);
    }
    again.unanswered
}

/// A plane, who sends, who receives.
type Place = (usize, usize, usize);

/// What was measured again, by plane and pair, in order.
struct Kept {
    plane: usize,
    told: BTreeMap<Place, VecDeque<Repeated>>,
    paced: BTreeMap<Place, VecDeque<Option<Paced>>>,
    unanswered: u32,
}

impl Kept {
    fn keep(&mut self, made: &Made) {
        let told =
            made.reports.iter().flat_map(|(from, report)| report.told.iter().map(|told| (*from, told)));
        for (from, told) in told.filter(|_| made.kind == RoundKind::Again) {
            let at = (made.plane, from as usize, told.peer as usize);
            let is_drip = |errand: &Errand| errand.rank == from && errand.task == Task::Drip;
            if made.errands.iter().any(is_drip) {
                self.paced.entry(at).or_default().push_back(told.paced);
            } else {
                self.told.entry(at).or_default().push_back(Repeated::of(Some(told)));
            }
        }
    }
}

impl Again for Kept {
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        let answer = |(from, to): &(usize, usize)| {
            let told = self.told.get_mut(&(self.plane, *from, *to)).and_then(VecDeque::pop_front);
            self.unanswered = self.unanswered.saturating_add(u32::from(told.is_none()));
            told.unwrap_or_default()
        };
        pairs.iter().map(answer).collect()
    }

    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.measure(pairs)
    }

    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
        let answer =
            |(from, to): &(usize, usize)| self.paced.get_mut(&(self.plane, *from, *to))?.pop_front()?;
        pairs.iter().map(answer).collect()
    }
}

impl Repeated {
    /// What a stream that was made again showed.
    pub fn of(told: Option<&Told>) -> Repeated {
        let figure =
            |figure: fn(&Cell) -> Option<u64>| told.and_then(|told| figure(&told.out)).map(|x| x as f64);
        Repeated {
            goodput_bits_per_s: figure(|cell| cell.goodput_bits_per_s),
            retransmits: figure(|cell| cell.retransmits),
            starved: told.is_some_and(|told| told.starved),
        }
    }
}
