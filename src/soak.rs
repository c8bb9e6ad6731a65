//! A soak: short sessions of small steps, one after the other, for as long as it lasts. Nothing of a session is kept but what the
//! time line took from it, so memory does not grow; a peer that goes away ends a session, and the next one finds it again.

mod lines;
mod screen;

use std::time::Duration;

use anyhow::Result;
use crossbeam_channel::Sender;
use pathproof_engine::soak::{Moment, TimeLine};
use pathproof_model::environment::Observed;
use pathproof_model::soak::Soak;
use pathproof_model::{
    Criteria, Direction, LossSpec, MtuSpec, Plan, RequestLoad, ResultDoc, StepError, StepSpec, TrafficSpec,
};
use pathproof_sys::clock::{Clock, RealClock, Tick};

use crate::budget::Budget;
use crate::document::DocumentFile;
use crate::run::{self, Order};
use crate::watch::{Observer, Observers, RunEvent};
use crate::{host, wall};
use lines::Lines;
use screen::Screen;

/// How long datagrams are counted, and small requests timed, one after the other.
const LOSS_NS: u64 = 6_000_000_000;
const REQUESTS_NS: u64 = 3_000_000_000;
/// Shortest of either.
const SHORTEST_NS: u64 = 300_000_000;
/// Datagrams a second on each NIC pair and direction: with jumbo frames some 1.2 Mbit/s.
const DATAGRAMS_PER_S: u32 = 50;
const FLOWS: u32 = 4;
/// Requests a second.
const REQUESTS_PER_S: u64 = 100;
/// How long a rate probe is.
const PROBE_NS: u64 = 1_000_000_000;
/// How long after a session that failed the next one is tried.
const AGAIN: Duration = Duration::from_secs(2);
/// How often the document is written at most, unless something happened.
const WRITTEN_NS: u64 = 10_000_000_000;
/// And then.
const WRITTEN_SOON_NS: u64 = 1_000_000_000;

/// What is asked of a soak.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How long it lasts; until it is stopped where nobody says.
    pub time: Option<Duration>,
    /// It ends with the first event that a sound path does not have.
    pub until_fail: bool,
    /// How often path MTU and rate are probed.
    pub probe_every: Duration,
    /// Transport of requests and rate probes.
    pub over: String,
    /// Limits.
    pub criteria: Criteria,
}

impl Wish {
    /// The steps of a session for which there are `left_ns`.
    pub fn steps(&self, left_ns: u64) -> Vec<StepSpec> {
        let traffic = TrafficSpec { over: self.over.clone(), ..TrafficSpec::default() };
        let stream = |direction| {
            let warmup_ns = PROBE_NS / 4;
            StepSpec::Stream(TrafficSpec { direction, time_ns: PROBE_NS, warmup_ns, ..traffic.clone() })
        };
        let mut steps =
            vec![StepSpec::Mtu(MtuSpec::default()), stream(Direction::Out), stream(Direction::In)];
        // However little time there is, each of them is made once.
        let left_ns = left_ns.min(self.probe_every.as_nanos() as u64).saturating_sub(3 * PROBE_NS);
        let cycle_ns = LOSS_NS + REQUESTS_NS;
        let cycles = (left_ns / cycle_ns).max(1);
        let share = if left_ns < cycle_ns { left_ns as f64 / cycle_ns as f64 } else { 1.0 };
        let part = |ns: u64| ((ns as f64 * share) as u64).max(SHORTEST_NS);
        let loss = LossSpec {
            flows: FLOWS,
            packets_per_s: DATAGRAMS_PER_S,
            time_ns: part(LOSS_NS),
            ..LossSpec::default()
        };
        let requests = TrafficSpec {
            size_bytes: 64,
            reply_bytes: Some(64),
            load: RequestLoad::Open,
            requests_per_s: Some(REQUESTS_PER_S),
            time_ns: part(REQUESTS_NS),
            ..traffic
        };
        for _ in 0..cycles {
            steps.extend([StepSpec::Loss(loss.clone()), StepSpec::Request(requests.clone())]);
        }
        steps
    }
}

/// Where a soak is seen while it lasts.
enum View {
    Screen(Box<Screen>),
    Lines(Lines),
}

impl View {
    fn show(&mut self, soak: &Soak, peer: &str, doing: &str, away: bool) {
        match self {
            View::Screen(screen) => screen.show(soak, peer, doing, away),
            View::Lines(lines) => lines.show(soak),
        }
    }
}

/// Soaks a path until its time is up or it is stopped. Of the order, the plan is the first session's.
pub fn run(
    order: &Order<'_>,
    wish: &Wish,
    observed: Observed,
    file: Option<DocumentFile>,
    others: &mut Observers,
) -> Result<ResultDoc> {
    let clock = order.budget.clock().clone();
    let mut doc = run::document(order.plan, order.parties, observed.environment.clone());
    if let Some(plan) = &mut doc.requested {
        // What is done again and again stands in no plan.
        plan.steps.clear();
    }
    let (stop, interrupt) = order.interrupt.or_earlier()?;
    let screen = Screen::open();
    let mut soaking = Soaking {
        line: TimeLine::new(wish.time.map(|time| time.as_nanos() as u64), wish.criteria.clone()),
        doc,
        view: screen.map_or_else(|| View::Lines(Lines::new()), |screen| View::Screen(Box::new(screen))),
        begun: clock.now(),
        clock: clock.clone(),
        file,
        written: None,
        events: 0,
        doing: String::new(),
        stop: Some(stop),
        until_fail: wish.until_fail,
        reached: false,
        others,
    };
    let mut observed = Some(observed);
    loop {
        let left_ns = soaking.left_ns(wish);
        if left_ns == 0 || interrupt.is_raised() {
            break;
        }
        let plan = Plan { steps: wish.steps(left_ns), ..order.plan.clone() };
        let budget = Budget::new(clock.clone(), None);
        let session = Order { plan: &plan, budget: &budget, interrupt: &interrupt, ..*order };
        let observed = observed.take().unwrap_or_else(host::observe);
        let ended = run::run(&session, observed, &mut soaking);
        let now = soaking.now();
        soaking.line.noticed(&now, &ended);
        let Some(error) = ended.error.filter(|error| !error.kind.is_interruption()) else {
            soaking.shown();
            continue;
        };
        if !soaking.reached {
            // Nobody to watch: a mistake, or a server that was not started.
            soaking.doc.error = Some(error);
            break;
        }
        soaking.lost(&error);
        let _ = interrupt.pause(AGAIN.min(Duration::from_nanos(soaking.left_ns(wish))));
    }
    Ok(soaking.end())
}

/// A soak while it lasts.
struct Soaking<'a> {
    line: TimeLine,
    doc: ResultDoc,
    view: View,
    begun: Tick,
    clock: RealClock,
    file: Option<DocumentFile>,
    written: Option<Tick>,
    /// Events when the document was written last.
    events: u64,
    doing: String,
    /// Dropped to stop at the first event.
    stop: Option<Sender<std::convert::Infallible>>,
    until_fail: bool,
    reached: bool,
    others: &'a mut Observers,
}

impl Soaking<'_> {
    fn now(&self) -> Moment {
        Moment { at_ns: self.clock.now().ns_since(self.begun), label: wall::now_rfc3339() }
    }

    fn left_ns(&self, wish: &Wish) -> u64 {
        let elapsed_ns = self.clock.now().ns_since(self.begun);
        wish.time.map_or(u64::MAX, |time| (time.as_nanos() as u64).saturating_sub(elapsed_ns))
    }

    fn lost(&mut self, why: &StepError) {
        let now = self.now();
        self.line.lost(&now, why);
        "the peer is away, and is tried again".clone_into(&mut self.doing);
        self.shown();
    }

    fn document(&self) -> ResultDoc {
        let findings = self.line.findings().to_vec();
        ResultDoc { soak: Some(self.line.soak().clone()), findings, ..self.doc.clone() }
    }

    /// What was taken in is shown, written where that is due, and ends the soak where that was asked for.
    fn shown(&mut self) {
        let soak = self.line.soak();
        let peer = self.doc.nodes.get(1).map_or("", |node| &node.name);
        self.view.show(soak, peer, &self.doing, self.line.is_away());
        if self.until_fail && soak.counts.iter().any(|(kind, count)| kind.is_bad() && *count > 0) {
            self.stop = None;
        }
        let events = soak.counts.values().sum();
        let every_ns = if events == self.events { WRITTEN_NS } else { WRITTEN_SOON_NS };
        let now = self.clock.now();
        if self.written.is_none_or(|written| now >= written.plus_ns(every_ns))
            && let Some(file) = &self.file
        {
            (self.written, self.events) = (Some(now), events);
            if let Err(error) = file.keep(&self.document()) {
                tracing::warn!("{error:#}");
            }
        }
    }

    fn end(mut self) -> ResultDoc {
        let now = self.now();
        self.line.time(now.at_ns);
        self.document()
    }
}

impl Observer for Soaking<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        let now = self.now();
        match event {
            RunEvent::Opened { doc } => {
                self.reached = true;
                self.line.reached(&now);
                self.doc.nodes.clone_from(&doc.nodes);
                self.doc.limits.clone_from(&doc.limits);
            }
            RunEvent::StepStarted { name, .. } => (*name).clone_into(&mut self.doing),
            RunEvent::Progress { .. } => self.line.time(now.at_ns),
            RunEvent::StepEnded { doc } => {
                if let Some(step) = doc.steps.last() {
                    self.line.step(&now, step);
                }
            }
        }
        self.others.event(event);
        self.shown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps;

    const S: u64 = 1_000_000_000;

    fn wish(probe_every_s: u64) -> Wish {
        Wish {
            time: None,
            until_fail: false,
            probe_every: Duration::from_secs(probe_every_s),
            over: "tcp".into(),
            criteria: Criteria::default(),
        }
    }

    #[test]
    fn a_session_keeps_to_its_time_and_to_the_limits_of_a_plan() {
        for (every_s, left_ns) in [(10, u64::MAX), (600, u64::MAX), (3600, u64::MAX), (600, 8 * S), (600, S)]
        {
            let plan = Plan { steps: wish(every_s).steps(left_ns), ..Plan::default() };
            assert!(steps::check_size(&plan).is_ok(), "{every_s}");
            let kinds: Vec<_> = plan.steps.iter().map(StepSpec::kind).collect();
            assert!(kinds.len() >= 5, "each is made once: {kinds:?}");
            let loss_ns: u64 = plan.steps.iter().filter_map(StepSpec::loss).map(|loss| loss.time_ns).sum();
            assert!(loss_ns <= left_ns.min(every_s * S), "{every_s}: {loss_ns}");
            for loss in plan.steps.iter().filter_map(StepSpec::loss) {
                assert!(steps::check_loss_spec(loss).is_ok());
            }
        }
    }
}
