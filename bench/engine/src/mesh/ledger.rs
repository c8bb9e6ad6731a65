//! The document of a mesh as it grows: whole rounds go in, and whom their figures accuse comes out. The same for a mesh under way and
//! for one that is put together afterwards from what its ranks kept.
//!
//! It takes from a report what the round was to measure and nothing else, so a rank that lies does so about its own cells.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pathproof_model::mesh::{
    Bisection, Cell, Dead, Incast, MeshDoc, Noise, Pattern, Rank, Round, RoundKind, Who,
};
use pathproof_model::{Environment, ErrorKind};

use super::message::{Report, Task, Told};
use super::schedule::{self, Pair, Rung};
use super::{Analysis, Grid, Measured, below, differences, facts, tell};

/// Sentences that are kept of a kind.
const SENTENCES_MAX: usize = 64;

/// Something that a rank is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Who.
    pub rank: u32,
    /// What.
    pub task: Task,
    /// With whom.
    pub peers: Vec<u32>,
}

/// A round that is over.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it was of.
    pub kind: RoundKind,
    /// The plane, by its place.
    pub plane: usize,
    /// All that was to be done.
    pub errands: Vec<Errand>,
    /// What came of it, by rank.
    pub reports: BTreeMap<u32, Report>,
    /// Start, in ns since the mesh began.
    pub started_ns: u64,
    /// How long it took, in ns.
    pub elapsed_ns: u64,
}

/// The figures of a plane, as they are judged.
pub struct Figures {
    reached: Grid<bool>,
    ip_mtu_bytes: Grid<u32>,
    goodput_bits_per_s: Grid<f64>,
    retransmits: Grid<f64>,
    window_ns: u64,
    speed_bits_per_s: Vec<Option<u64>>,
    groups: Vec<u32>,
}

impl Figures {
    /// As the analysis takes them.
    pub fn measured(&self) -> Measured<'_> {
        Measured {
            reached: &self.reached,
            ip_mtu_bytes: &self.ip_mtu_bytes,
            goodput_bits_per_s: &self.goodput_bits_per_s,
            retransmits: &self.retransmits,
            window_ns: self.window_ns,
            speed_bits_per_s: &self.speed_bits_per_s,
            groups: &self.groups,
        }
    }
}

/// A document, and what it does not say of its rounds.
pub struct Ledger {
    /// The document so far.
    pub doc: MeshDoc,
    /// Who reaches whom, plane by plane.
    reached: Vec<Grid<bool>>,
    /// Planes on which a connection opened where no datagram was heard: there datagrams are swallowed, and their silence says nothing.
    filtered: Vec<bool>,
    /// Rounds that are to be made.
    planned: Vec<load::Planned>,
}

impl Ledger {
    /// An empty one, of a document that names its size and its planes.
    pub fn new(mut doc: MeshDoc) -> Ledger {
        let hosts = doc.size as usize;
        for plane in &mut doc.planes {
            plane.addresses = vec![None; hosts];
        }
        let planes = doc.planes.len();
        Ledger {
            doc,
            reached: vec![Grid::new(hosts); planes],
            filtered: vec![false; planes],
            planned: vec![],
        }
    }

    /// A rank that came, with its address on each plane.
    pub fn enter(
        &mut self,
        (rank, host): (u32, String),
        group: Option<String>,
        environment: &Environment,
        addresses: &[Option<IpAddr>],
    ) {
        let Some(place) = usize::try_from(rank).ok().filter(|place| *place < self.hosts()) else { return };
        for (plane, address) in self.doc.planes.iter_mut().zip(addresses) {
            plane.addresses[place] = *address;
        }
        let first = addresses.first().copied().flatten();
        let nic =
            environment.nics.iter().find(|nic| nic.addresses.iter().any(|at| Some(at.address) == first));
        let speed_bits_per_s = nic.and_then(|nic| nic.speed_bits_per_s);
        let known = Rank { rank, host, group, speed_bits_per_s, facts: facts(environment, nic) };
        let at = self.doc.ranks.partition_point(|other| other.rank < rank);
        self.doc.ranks.insert(at, known);
    }

    /// All that come have come: what they differ in.
    pub fn compare(&mut self) {
        self.doc.differences = differences(&self.doc.ranks);
    }

    /// A rank that never came, or was lost in a round. The first reason stays.
    pub fn lose(&mut self, rank: u32, round: Option<u32>, reason: String) {
        if self.doc.dead.iter().all(|dead| dead.rank != rank) {
            let host = self.doc.ranks.iter().find(|known| known.rank == rank).map(|known| known.host.clone());
            self.doc.dead.push(Dead { rank, host, round, reason });
        }
    }

    /// Something that happened besides.
    pub fn note(&mut self, said: String) {
        if self.doc.notes.len() < SENTENCES_MAX {
            self.doc.notes.push(said);
        }
    }

    /// The number of the next round.
    pub fn next_round(&self) -> u32 {
        self.doc.rounds.len() as u32 + 1
    }

    /// Whether a pattern was asked for.
    pub fn has(&self, pattern: Pattern) -> bool {
        self.doc.settings.patterns.contains(&pattern)
    }

    /// How many hosts there were to be.
    pub fn hosts(&self) -> usize {
        self.doc.size as usize
    }

    /// The rounds of pairs that are to be made on each plane.
    pub fn rounds(&self) -> Vec<Vec<Pair>> {
        if !self.has(Pattern::Pairs) {
            return vec![];
        }
        let rounds = self.doc.settings.sampled_rounds.map_or(usize::MAX, |rounds| rounds as usize);
        schedule::sampled(self.hosts(), rounds, self.doc.settings.seed)
    }

    /// The ladder of those that are there.
    pub fn ladder(&self, alive: usize) -> Vec<Rung> {
        schedule::ladder(alive, self.doc.settings.seed)
    }

    /// Whether the two of a pair are known to open connections to each other.
    pub fn talks(&self, plane: usize, (a, b): Pair) -> bool {
        let row = self.doc.planes.get(plane).and_then(|plane| plane.matrices.rtt_p50_ns.get(a));
        row.is_some_and(|row| row.get(b).is_some_and(Option::is_some))
    }

    /// Takes in a round.
    pub fn take_in(&mut self, made: &Made) {
        self.count(made);
        match made.kind {
            RoundKind::Knock => self.knocks(made),
            RoundKind::Reach | RoundKind::Up | RoundKind::Down => {
                for errand in &made.errands {
                    self.pair(made, errand);
                }
            }
            RoundKind::Bisect => self.bisection(made),
            RoundKind::Incast | RoundKind::Outcast => self.rung(made),
            // It answers a question of the analysis, which keeps what it comes to.
            RoundKind::Again => {}
        }
    }

    fn count(&mut self, made: &Made) {
        let exchanges: usize = made.errands.iter().map(|errand| errand.peers.len().max(1)).sum();
        let well = |errand: &&Errand| {
            let Some(report) = made.reports.get(&errand.rank) else { return 0 };
            if errand.task == Task::Knock {
                return 1;
            }
            let well = |peer: &&u32| told_of(report, **peer).is_some_and(|told| told.error.is_none());
            errand.peers.iter().filter(well).count()
        };
        let well: usize = made.errands.iter().map(|errand| well(&errand)).sum();
        self.doc.rounds.push(Round {
            number: self.next_round(),
            kind: made.kind,
            plane: made.plane as u32,
            started_ns: made.started_ns,
            elapsed_ns: made.elapsed_ns,
            exchanges: exchanges as u32,
            failed: exchanges.saturating_sub(well) as u32,
        });
    }

    fn knocks(&mut self, made: &Made) {
        let hosts = self.hosts();
        for (to, report) in &made.reports {
            let heard: BTreeSet<u32> = report.heard.iter().copied().collect();
            for from in made.errands.iter().map(|errand| errand.rank).filter(|from| from != to) {
                if (from as usize) < hosts && (*to as usize) < hosts {
                    self.reached[made.plane].set(from as usize, *to as usize, Some(heard.contains(&from)));
                }
            }
        }
    }

    /// Whether somebody there was not heard by somebody else, so that it is worth to knock again.
    pub fn is_any_unheard(&self, plane: usize) -> bool {
        self.reached[plane].known().any(|(.., reached)| !reached)
    }

    /// What a round says of a pair: figures, or why there are none.
    fn pair(&mut self, made: &Made, errand: &Errand) {
        let (hosts, plane) = (self.hosts(), made.plane);
        let [peer] = errand.peers[..] else { return };
        let (a, b) = (errand.rank as usize, peer as usize);
        if a >= hosts || b >= hosts || a == b {
            return;
        }
        let told = made.reports.get(&errand.rank).and_then(|report| told_of(report, peer));
        let (mut out, mut back, why) = match told {
            Some(told) => (told.out.clone(), told.back.clone(), self.why(told)),
            None => (Cell::default(), Cell::default(), Some(self.why_silent(errand.rank))),
        };
        let answered = out.rtt_p50_ns.is_some();
        (out.reason, back.reason) = (why.clone(), why);
        if made.kind == RoundKind::Reach {
            let reached = &mut self.reached[plane];
            let heard = |from, to| reached.at(from, to) == Some(&true);
            if answered {
                self.filtered[plane] |=
                    [(a, b), (b, a)].iter().any(|(x, y)| reached.at(*x, *y) == Some(&false));
                reached.set(a, b, Some(true));
                reached.set(b, a, Some(true));
            } else if told.is_some_and(|told| told.error.is_some_and(is_no_way)) && heard(a, b) && heard(b, a)
            {
                // Words are heard both ways, and yet there is no connection: that is no path either.
                reached.set(a, b, Some(false));
                reached.set(b, a, Some(false));
            }
        }
        let matrices = &mut self.doc.planes[plane].matrices;
        if made.kind != RoundKind::Down {
            matrices.put(hosts, (a, b), &out);
        }
        if made.kind != RoundKind::Up {
            matrices.put(hosts, (b, a), &back);
        }
    }

    /// Why something is not known, in words of our own.
    fn why(&self, told: &Told) -> Option<String> {
        let kind = told.error?;
        let said = match kind {
            _ if self.why_dead(told.peer).is_some() => return self.why_dead(told.peer),
            ErrorKind::Timeout => "nothing came in time",
            ErrorKind::PeerLost => "the connection was lost, or never opened",
            ErrorKind::OutOfTime => "the time of the round was up",
            ErrorKind::Refused => "one of the two refused",
            ErrorKind::Unsupported => "a host lacks what this needs",
            ErrorKind::Resource | ErrorKind::System => "a limit of a host was met",
            ErrorKind::Interrupted | ErrorKind::Terminated => "it was interrupted",
            _ => "the two did not understand each other",
        };
        Some(said.into())
    }

    fn why_silent(&self, rank: u32) -> String {
        self.why_dead(rank).unwrap_or_else(|| format!("rank {rank} did not report in time"))
    }

    /// Why a rank is not there, in the words of a cell.
    fn why_dead(&self, rank: u32) -> Option<String> {
        let dead = self.doc.dead.iter().find(|dead| dead.rank == rank)?;
        Some(match dead.round {
            None => format!("rank {rank} never came"),
            Some(round) => format!("rank {rank} was lost in round {round}"),
        })
    }

    /// Cells that were to be measured and never were, because somebody was gone by then.
    pub fn name_the_unmeasured(&mut self, plane: usize) {
        let hosts = self.hosts();
        for (a, b) in self.rounds().into_iter().flatten() {
            let Some(reason) = [a, b].into_iter().find_map(|rank| self.why_dead(rank as u32)) else {
                continue;
            };
            let matrices = &mut self.doc.planes[plane].matrices;
            for (from, to) in [(a, b), (b, a)] {
                let row = matrices.goodput_bits_per_s.get(from);
                if row.is_none_or(|row| row[to].is_none()) {
                    matrices.put(
                        hosts,
                        (from, to),
                        &Cell { reason: Some(reason.clone()), ..Cell::default() },
                    );
                }
            }
        }
    }

    fn bisection(&mut self, made: &Made) {
        let mut rates = Vec::new();
        for errand in &made.errands {
            let told = errand.peers.first().and_then(|peer| told_of(made.reports.get(&errand.rank)?, *peer));
            let both = told.and_then(|told| told.out.goodput_bits_per_s.zip(told.back.goodput_bits_per_s));
            rates.extend(both.into_iter().flat_map(|(out, back)| [out, back]));
        }
        let (pairs, measured) = (made.errands.len(), rates.len() / 2);
        self.doc.bisection.push(Bisection {
            plane: made.plane as u32,
            pairs: pairs as u32,
            measured: measured as u32,
            sum_bits_per_s: (measured == pairs && pairs > 0).then(|| sum(rates.iter().copied())),
            slowest_bits_per_s: rates.iter().min().copied(),
        });
    }

    fn rung(&mut self, made: &Made) {
        let Some(errand) = made.errands.iter().find(|errand| errand.task != Task::Latency) else { return };
        let one = errand.rank;
        let report = made.reports.get(&one);
        let told: Vec<&Told> = errand.peers.iter().filter_map(|peer| told_of(report?, *peer)).collect();
        let outcast = made.kind == RoundKind::Outcast;
        let cells: Vec<&Cell> =
            told.iter().map(|told| if outcast { &told.out } else { &told.back }).collect();
        let rates: Vec<u64> = cells.iter().filter_map(|cell| cell.goodput_bits_per_s).collect();
        let together = report.and_then(|report| report.common).and_then(|(bytes, ns)| {
            let bits = u128::from(bytes) * 8_000_000_000 / u128::from(ns.max(1));
            u64::try_from(bits).ok().map(|bits| (bits, ns))
        });
        let failed = told.iter().find_map(|told| self.why(told));
        let reason = match (together, report, failed) {
            (Some(_), ..) => None,
            (None, None, _) => Some(self.why_silent(one)),
            (None, Some(_), Some(why)) => Some(why),
            (None, Some(_), None) => {
                Some("they did not all send at the same time for half of the window".into())
            }
        };
        let beside = made.errands.iter().find(|errand| errand.task == Task::Latency);
        let beside =
            beside.and_then(|errand| told_of(made.reports.get(&errand.rank)?, *errand.peers.first()?));
        let complete = rates.len() == errand.peers.len();
        let again: Vec<u64> = cells.iter().filter_map(|cell| cell.retransmits).collect();
        let rung = Incast {
            plane: made.plane as u32,
            senders: errand.peers.clone(),
            receiver: one,
            sum_bits_per_s: together.map(|(bits, _)| bits),
            window_ns: together.map(|(_, ns)| ns),
            least_bits_per_s: rates.iter().min().copied().filter(|_| complete),
            most_bits_per_s: rates.iter().max().copied().filter(|_| complete),
            retransmits: (again.len() == errand.peers.len()).then(|| sum(again)),
            bystander_rtt_p99_ns: beside.and_then(|told| told.out.rtt_p99_ns),
            reason,
        };
        if outcast { self.doc.outcast.push(rung) } else { self.doc.incast.push(rung) }
    }

    /// The figures of a plane, as far as they say something.
    pub fn figures(&self, plane: usize) -> Figures {
        let hosts = self.hosts();
        let matrices = &self.doc.planes[plane].matrices;
        let dead: BTreeSet<usize> = self.doc.dead.iter().map(|dead| dead.rank as usize).collect();
        let asked = |from: usize, to: usize| {
            matrices.code.get(from).is_some_and(|row| row.get(to).is_some_and(Option::is_some))
        };
        // What is not there any more reaches nobody, and is named for that already; and where datagrams are swallowed only those pairs
        // count that were asked for a connection.
        let reached = self.reached[plane].map(|from, to, reached| {
            let gone = dead.contains(&from) || dead.contains(&to);
            let says_nothing = self.filtered[plane] && !asked(from, to);
            (*reached || !(gone || says_nothing)).then_some(*reached)
        });
        let figure = |matrix: &[Vec<Option<u64>>]| {
            Grid::from_rows(hosts, matrix).map(|_, _, figure| Some(*figure as f64))
        };
        let mut speed_bits_per_s = vec![None; hosts];
        let mut groups = vec![0; hosts];
        let names: Vec<Option<&str>> = self.doc.ranks.iter().map(|rank| rank.group.as_deref()).collect();
        for (rank, name) in self.doc.ranks.iter().zip(&names) {
            speed_bits_per_s[rank.rank as usize] = rank.speed_bits_per_s;
            groups[rank.rank as usize] = names.iter().position(|other| other == name).unwrap_or(0) as u32;
        }
        Figures {
            reached,
            ip_mtu_bytes: Grid::from_rows(hosts, &matrices.ip_mtu_bytes)
                .map(|_, _, bytes| u32::try_from(*bytes).ok()),
            goodput_bits_per_s: figure(&matrices.goodput_bits_per_s),
            retransmits: figure(&matrices.retransmits),
            window_ns: self.doc.settings.time_ns,
            speed_bits_per_s,
            groups,
        }
    }

    /// Puts in whom the figures of a plane accuse, and what they cannot tell.
    pub fn accuse(&mut self, plane: usize, figures: &Figures, found: Analysis) {
        let settings = &self.doc.settings;
        let limits = (settings.expect_bits_per_s, settings.expect_ip_mtu_bytes);
        let mut suspects = found.suspects;
        suspects.extend(below(&figures.goodput_bits_per_s, &figures.ip_mtu_bytes, limits.0, limits.1));
        let known = &mut self.doc.planes[plane];
        known.usual_ip_mtu_bytes = found.usual_ip_mtu_bytes;
        known.usual_goodput_bits_per_s = found.usual_goodput_bits_per_s.map(|rate| rate as u64);
        known.noise =
            Noise { host_share: found.floor.host, pair_share: found.floor.pair, blind: found.floor.blind };
        let on = known.net.as_ref().map_or_else(String::new, |net| format!(" on {net}"));
        for mut suspect in suspects {
            suspect.plane = plane as u32;
            suspect.text = tell(&suspect, &|rank| self.doc.name(rank)) + &on;
            self.doc.suspects.push(suspect);
        }
        if self.filtered[plane] {
            self.note(format!(
                "datagrams{on} are swallowed where connections open, so reach is known of those pairs alone that were measured"
            ));
        }
        if let (true, Some(share)) = (found.floor.blind, found.floor.host) {
            self.doc.unclear.push(format!(
                "goodput{on}: the figures vary so much that a host slower by less than {:.0} % would not be seen; measure longer (--time), \
                 or when the fabric is quiet",
                100.0 * share
            ));
        }
        if found.starved > 0 {
            self.doc.unclear.push(format!(
                "{} streams{on} were slow or lost much when they were made again, while a host was so busy that its threads waited for a \
                 processor: nobody is named by them; measure again when the hosts have less to do",
                found.starved
            ));
        }
        if !found.undecided.is_empty() {
            let names: Vec<String> = found.undecided.iter().map(|rank| self.doc.name(*rank)).collect();
            self.doc.unclear.push(format!(
                "{}: lost segments{on} in their rounds, and when measured again neither often enough to be named nor seldom enough to be cleared; \
                 measure longer (--time)",
                names.join(", ")
            ));
        }
        if !found.unbelievable.is_empty() {
            let names: Vec<String> = found.unbelievable.iter().map(|rank| self.doc.name(*rank)).collect();
            self.doc.unclear.push(format!(
                "{}: figures{on} that no partner of it can have, so they are believed by nobody; is the program there another build?",
                names.join(", ")
            ));
        }
        let silent = self.unexplained(plane);
        if silent > 0 {
            self.doc.unclear.push(format!(
                "{silent} directions of pairs{on} were not measured, for reasons that no suspect explains; see the codes"
            ));
        }
    }

    /// Directions that have a reason and no suspect or dead rank that explains it.
    fn unexplained(&self, plane: usize) -> usize {
        let matrices = &self.doc.planes[plane].matrices;
        let explained = |from: u32, to: u32| {
            let gone = self.doc.dead.iter().any(|dead| dead.rank == from || dead.rank == to);
            // A pair that carries one way only opens no connection in either.
            let accused = self.doc.suspects.iter().any(|suspect| {
                suspect.plane as usize == plane
                    && !matches!(suspect.who, Who::Group { .. })
                    && (suspect.who.explains(from, to) || suspect.who.explains(to, from))
            });
            gone || accused
        };
        let hosts = 0..self.hosts();
        let cells = hosts.clone().flat_map(|from| hosts.clone().map(move |to| (from, to)));
        cells
            .filter(|(from, to)| {
                matrices.reason(*from, *to).is_some() && !explained(*from as u32, *to as u32)
            })
            .count()
    }
}

fn told_of(report: &Report, peer: u32) -> Option<&Told> {
    report.told.iter().find(|told| told.peer == peer)
}

/// A rank may say any number.
fn sum(figures: impl IntoIterator<Item = u64>) -> u64 {
    figures.into_iter().fold(0, u64::saturating_add)
}

/// Whether an error means that no connection came about.
fn is_no_way(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Timeout | ErrorKind::PeerLost | ErrorKind::Refused)
}

#[cfg(test)]
mod tests;
