//! One order carried out: a run with each of the peers, as a client of its agent, at the same time where there are several.
//!
//! Those begin together: each waits at a gate, when both its ends are prepared, until all are there. What they carried is counted by this
//! host over the window that all of them had in common, by one clock: sums of windows that do not begin together are false.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::mesh::message::{Paced, Task, Told};
use pathproof_model::environment::Observed;
use pathproof_model::judge::were_busy;
use pathproof_model::loss::LossPath;
use pathproof_model::mesh::Cell;
use pathproof_model::{
    CommandName, Direction, ErrorKind, LossSpec, MtuSpec, NodeId, NodeSpec, Plan, ReachSpec, ResultDoc,
    Series, Step, StepKind, StepSpec, Summary, TrafficKind, TrafficSpec,
};

use super::Mesh;
use crate::budget::Budget;
use crate::document::write_small;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::run::{self, Party, Target};
use crate::secure::{Access, Key};
use crate::watch::{Observer, RunEvent};
use pathproof_sys::clock::RealClock;

/// Round trips of a survey.
const ROUND_TRIPS: u32 = 20;
/// Before the window of a stream; of many at once more, so that all have begun.
const WARM_UP_NS: u64 = 300_000_000;
/// After it: the others still measure.
const COOL_DOWN_NS: u64 = 100_000_000;
/// How much longer many at once run for each of them, before and after the window that is asked for.
const EACH_NS: u64 = 4_000_000;
/// How long datagrams are sent at a pace.
const DRIP_NS: u64 = 3_000_000_000;
/// How long one waits at the gate for the others.
const GATE: Duration = Duration::from_secs(4);

/// Another rank, and what opens its agent's door.
pub struct Partner {
    /// Its number.
    pub rank: u32,
    /// Where it is on the plane.
    pub address: IpAddr,
    /// Its agent's port.
    pub port: u16,
    /// Its agent's key.
    pub token: String,
}

/// What is to be measured, with what this rank has.
pub struct Asked<'a> {
    /// What.
    pub task: Task,
    /// The number of the order.
    pub number: u32,
    /// This rank's address on the plane.
    pub own: Option<IpAddr>,
    /// With whom.
    pub peers: Vec<Partner>,
    /// What was typed.
    pub mesh: &'a Mesh,
    /// This host.
    pub observed: &'a Observed,
    /// The transports.
    pub registry: &'a Registry,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

impl Asked<'_> {
    /// Measures with all peers: what became known of each, and what they carried together.
    pub fn measure(&self) -> (Vec<Told>, Option<(u64, u64)>) {
        let gate = Gate::new(self.peers.len());
        let made: Vec<(Told, Option<Carried>)> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.peers.iter().map(|peer| (peer, scope.spawn(|| self.one(peer, &gate)))).collect();
            threads
                .into_iter()
                .map(|(peer, thread)| {
                    let lost = || {
                        (Told { peer: peer.rank, error: Some(ErrorKind::System), ..Told::default() }, None)
                    };
                    thread.join().unwrap_or_else(|_| lost())
                })
                .collect()
        });
        let all: Option<Vec<&Carried>> = made.iter().map(|(_, carried)| carried.as_ref()).collect();
        let common = all.and_then(|all| together(&all));
        (made.into_iter().map(|(told, _)| told).collect(), common)
    }

    fn one(&self, peer: &Partner, gate: &Gate) -> (Told, Option<Carried>) {
        let target = Target {
            host: peer.address.to_string(),
            port: peer.port,
            access: Access::Key(Key::new(&peer.token)),
        };
        let party = Party::Agent { name: peer.address.to_string(), target, start: None };
        let plan = self.plan(&party);
        let clock = &self.mesh.clock;
        let budget = Budget::new(clock.clone(), Some(self.mesh.order_limit())).beginning(clock.now());
        let order = run::Order {
            plan: &plan,
            parties: std::slice::from_ref(&party),
            budget: &budget,
            registry: self.registry,
            interrupt: self.interrupt,
            criteria: None,
        };
        let mut watcher = Watcher { clock, gate, length_ns: length_ns(&plan), begun: None, arrived: false };
        let doc = run::run(&order, self.observed.clone(), &mut watcher);
        if !watcher.arrived {
            gate.leave();
        }
        if let Some(folder) = &self.mesh.details {
            self.keep(folder, peer, &doc);
        }
        let told = told(peer, self.own, &doc);
        let carried = watcher.begun.and_then(|begun| carried(self.task, begun, &doc));
        (told, carried)
    }

    /// What this rank's own command line makes of the task.
    fn plan(&self, party: &Party) -> Plan {
        let own = &self.mesh.settings;
        let more = self.peers.len() as u64 * EACH_NS;
        let time_ns = self.task.window_ns(own.time_ns);
        let stream = |direction| {
            StepSpec::Stream(TrafficSpec {
                over: own.over.clone(),
                direction,
                lanes: own.lanes,
                time_ns,
                warmup_ns: WARM_UP_NS + more,
                cooldown_ns: COOL_DOWN_NS + more,
                ..TrafficSpec::default()
            })
        };
        let steps = match self.task {
            // Not a task for one peer.
            Task::Knock => vec![],
            Task::Survey => {
                vec![StepSpec::Reach(ReachSpec { count: ROUND_TRIPS }), StepSpec::Mtu(self.mtu())]
            }
            Task::Send | Task::Spread => vec![stream(Direction::Out)],
            Task::Fetch | Task::Gather => vec![stream(Direction::In)],
            Task::Exchange => vec![stream(Direction::Both)],
            // What the stream carries says how many datagrams load nothing.
            Task::Drip => vec![
                stream(Direction::Out),
                StepSpec::Loss(LossSpec { time_ns: DRIP_NS, ..LossSpec::default() }),
            ],
            Task::Latency => vec![TrafficKind::Pingpong.step(TrafficSpec {
                over: own.over.clone(),
                size_bytes: 64,
                depth: 1,
                time_ns,
                warmup_ns: WARM_UP_NS,
                ..TrafficSpec::default()
            })],
        };
        let nodes = vec![NodeSpec::Here, party.spec()];
        Plan { command: CommandName::Mesh, seed: own.seed, nodes, steps }
    }

    /// The search on the NIC of this plane alone.
    fn mtu(&self) -> MtuSpec {
        let has =
            |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|known| Some(known.address) == self.own);
        let nics = self.observed.environment.nics.iter().find(has).map(|nic| vec![nic.name.clone()]);
        let family = match self.own {
            Some(IpAddr::V4(_)) => vec![4],
            Some(IpAddr::V6(_)) => vec![6],
            None => vec![],
        };
        MtuSpec { nics: nics.unwrap_or_default(), families: family, ..MtuSpec::default() }
    }

    fn keep(&self, folder: &Path, peer: &Partner, doc: &ResultDoc) {
        let name = format!("r{:04}-{:05}-p{:04}.json", self.mesh.place.rank, self.number, peer.rank);
        let mut doc = doc.clone();
        doc.finish(crate::wall::now_rfc3339());
        let json = serde_json::to_vec(&doc).unwrap_or_default();
        if let Err(error) = write_small(&folder.join(name), &json) {
            tracing::warn!("{error:#}");
        }
    }
}

/// How long the traffic of a plan takes.
fn length_ns(plan: &Plan) -> u64 {
    plan.steps.iter().find_map(StepSpec::traffic).map_or(0, TrafficSpec::length_ns)
}

/// What a document says of the two directions.
fn told(peer: &Partner, own: Option<IpAddr>, doc: &ResultDoc) -> Told {
    let mut told = Told { peer: peer.rank, ..Told::default() };
    told.error = doc.error.as_ref().map(|error| error.kind);
    for step in &doc.steps {
        if let Some(error) = &step.error {
            told.error.get_or_insert(error.kind);
        }
        match step.kind {
            StepKind::Reach | StepKind::Pingpong => {
                if let Some(rtt) = &step.summary.rtt_ns {
                    for cell in [&mut told.out, &mut told.back] {
                        (cell.rtt_p50_ns, cell.rtt_p99_ns) = (Some(rtt.p50), Some(rtt.p99));
                    }
                }
            }
            StepKind::Mtu => {
                for path in step.detail.paths.iter().flatten() {
                    let this_plane = path.remote_address == peer.address
                        && own.is_none_or(|own| own == path.local_address);
                    let bytes = path.ip_mtu_bytes.map(u64::from);
                    match path.direction {
                        Direction::Out if this_plane => told.out.ip_mtu_bytes = bytes,
                        Direction::In if this_plane => told.back.ip_mtu_bytes = bytes,
                        Direction::Out | Direction::In | Direction::Both => {}
                    }
                }
            }
            StepKind::Stream if step.error.is_none() => {
                told.starved |= were_busy(step);
                streams(step, &mut told);
            }
            StepKind::Loss if step.error.is_none() => {
                let paths = step.detail.loss.iter().flatten();
                let mut of_plane = paths.filter(|path| {
                    path.direction == Direction::Out
                        && path.remote_address == peer.address
                        && own.is_none_or(|own| own == path.local_address)
                });
                told.paced = of_plane.next().and_then(paced);
            }
            StepKind::Stream
            | StepKind::Facts
            | StepKind::Loss
            | StepKind::Ports
            | StepKind::Request
            | StepKind::Migrate
            | StepKind::Smb
            | StepKind::Channels
            | StepKind::File
            | StepKind::Networks
            | StepKind::Contend => {}
        }
    }
    told
}

/// What became of datagrams of a path; what the other end had no room for is not the path's loss.
fn paced(path: &LossPath) -> Option<Paced> {
    let counts = path.flows.iter().flat_map(|flow| [&flow.small, &flow.full]);
    let (sent, received) = counts.fold((0u64, 0u64), |sum, counts| {
        (sum.0.saturating_add(counts.sent), sum.1.saturating_add(counts.received))
    });
    let lost = sent.saturating_sub(received).saturating_sub(path.overflowed);
    (sent > 0 && !path.by_echo).then_some(Paced { sent, lost })
}

fn streams(step: &Step, told: &mut Told) {
    let put = |cell: &mut Cell, summary: &Summary| {
        cell.goodput_bits_per_s = summary.goodput_bits_per_s;
        cell.worst_second_bits_per_s = summary.goodput_worst_second_bits_per_s;
        cell.retransmits = summary.retransmits;
    };
    for flow in &step.flows {
        let cell = if flow.from == NodeId::CLIENT { &mut told.out } else { &mut told.back };
        put(cell, &flow.summary);
    }
}

/// What one run carried, by the clock of this process.
struct Carried {
    /// When its window began.
    window: Tick,
    /// Start and end of each slice after that, in ns, and the payload in it.
    slices: Vec<(u64, u64, u64)>,
}

/// What the run of a task carried in its window, as this end counted it: of what comes in, and of what is sent.
fn carried(task: Task, begun: Tick, doc: &ResultDoc) -> Option<Carried> {
    let step = doc.steps.iter().find(|step| step.kind.traits().bulk && step.error.is_none())?;
    let spec = step.spec.as_ref()?.traffic()?;
    let own = step.own_series().find(|series| series.node == NodeId::CLIENT)?;
    let column = if task == Task::Spread { &own.sent_bytes } else { &own.received_bytes };
    let slices = column.iter().enumerate().map(|(number, bytes)| slice(own, number, *bytes));
    let slices: Option<Vec<_>> = slices.collect();
    Some(Carried {
        window: begun.plus_ns(spec.warmup_ns),
        slices: slices.filter(|slices| !slices.is_empty())?,
    })
}

fn slice(series: &Series, number: usize, bytes: Option<u64>) -> Option<(u64, u64, u64)> {
    let start = series.width_ns.checked_mul(number as u64)?;
    Some((start, start.saturating_add(series.width_ns).min(series.end_ns), bytes?))
}

/// Payload and length of the window that all runs have in common; `None` where there is hardly one.
fn together(all: &[&Carried]) -> Option<(u64, u64)> {
    let end = |run: &&Carried| run.window.plus_ns(run.slices.last().map_or(0, |slice| slice.1));
    let (from, to) = (all.iter().map(|run| run.window).max()?, all.iter().map(&end).min()?);
    let longest = all.iter().map(|run| end(run).ns_since(run.window)).max()?;
    let common = to.ns_since(from);
    // Less than half: they did not run together.
    if to <= from || common.saturating_mul(2) < longest {
        return None;
    }
    let mut bytes = 0.0;
    for run in all {
        for (start, end, counted) in &run.slices {
            let (start, end) = (run.window.plus_ns(*start), run.window.plus_ns(*end));
            let shared = end.min(to).ns_since(start.max(from));
            if end.min(to) > start.max(from) && end > start {
                bytes += *counted as f64 * shared as f64 / end.ns_since(start) as f64;
            }
        }
    }
    Some((bytes as u64, common))
}

/// Where those that begin together wait for each other.
struct Gate {
    awaited: Mutex<usize>,
    open: Condvar,
}

impl Gate {
    fn new(runs: usize) -> Gate {
        Gate { awaited: Mutex::new(runs), open: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One less is waited for.
    fn leave(&self) {
        let mut awaited = self.lock();
        *awaited = awaited.saturating_sub(1);
        if *awaited == 0 {
            self.open.notify_all();
        }
    }

    /// Waits for all, or for as long as one waits.
    fn arrive(&self) {
        self.leave();
        let waited = self.open.wait_timeout_while(self.lock(), GATE, |awaited| *awaited > 0);
        drop(waited);
    }
}

/// Holds a run at the gate before its traffic, and notes when that began.
struct Watcher<'a> {
    clock: &'a RealClock,
    gate: &'a Gate,
    length_ns: u64,
    begun: Option<Tick>,
    arrived: bool,
}

impl Observer for Watcher<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::StepStarted { .. } if self.length_ns > 0 && !self.arrived => {
                self.arrived = true;
                self.gate.arrive();
            }
            RunEvent::Progress { glance, .. } if self.begun.is_none() => {
                let since = glance.share.map(|share| (share * self.length_ns as f64) as u64);
                self.begun = since.map(|since| Tick(self.clock.now().0.saturating_sub(since)));
            }
            RunEvent::StepStarted { .. } | RunEvent::Progress { .. } => {}
            RunEvent::Opened { .. } | RunEvent::StepEnded { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(window_ms: u64, slices: &[u64]) -> Carried {
        let tenth = 100_000_000;
        let slices =
            slices.iter().enumerate().map(|(n, bytes)| (n as u64 * tenth, (n as u64 + 1) * tenth, *bytes));
        Carried { window: Tick(window_ms * 1_000_000), slices: slices.collect() }
    }

    #[test]
    fn what_ran_alone_before_and_after_is_not_in_the_sum() {
        // The first is alone for 100 ms and then shares; the other is alone at the end.
        let (a, b) = (run(0, &[100, 50, 50, 50]), run(100, &[50, 50, 50, 100]));
        assert_eq!(together(&[&a, &b]), Some((300, 300_000_000)));
        // Half a slice counts half.
        let c = run(150, &[40, 40, 40, 40]);
        assert_eq!(together(&[&a, &c]), Some((25 + 50 + 50 + 40 + 40 + 20, 250_000_000)));
    }

    #[test]
    fn runs_that_hardly_meet_have_no_sum() {
        let (a, b) = (run(0, &[100; 4]), run(300, &[100; 4]));
        assert_eq!(together(&[&a, &b]), None);
        assert_eq!(together(&[&a, &run(900, &[100; 4])]), None);
        assert_eq!(together(&[]), None);
        assert_eq!(together(&[&a]), Some((400, 400_000_000)));
    }

    #[test]
    fn a_gate_opens_when_all_are_there_or_have_left() {
        let gate = Gate::new(3);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| gate.arrive());
            gate.leave();
            assert!(!waits.is_finished());
            gate.arrive();
        });
    }
}
