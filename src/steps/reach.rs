//! Reachability and round trip over the control connection: can the two talk at all, and how far apart are
//! they. Encryption and two user processes are in the figure, so it is an upper bound of the path's latency.

use pathproof_api::{Clock, Offer, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::stream::{Count, Counted};
use pathproof_model::{
    End, ErrorKind, Finding, Half, HistogramName, ReachSpec, ResultDoc, Step, StepError, StepRequest,
    StepSpec,
};

use super::{Context, Cost, Kind, Prepared, Runner, Setup, as_specified, failed, misplaced, whole};
use crate::budget::out_of_time;
use crate::session::Received;

const PATIENCE_NS: u64 = 3_000_000_000;
/// So many tell how long a path is, where a run of limited time has no more for them.
const ENOUGH: u32 = pathproof_model::judge::ROUND_TRIPS_MIN as u32;
/// What each may take there in the mean: beyond that it is the steps after it that need the time.
const EACH_NS: u64 = 70_000_000;

/// The runner.
pub struct Reach;

struct ReadyReach {
    end: End,
    spec: ReachSpec,
}

fn spec_of(spec: &StepSpec) -> ReachSpec {
    spec.reach().cloned().unwrap_or_default()
}

impl Kind for Reach {
    fn name(&self, _spec: &StepSpec) -> String {
        "reach and round trip".into()
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        u64::from(spec_of(spec).count) * PATIENCE_NS
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        // A few round trips of a long path, or all of a short one.
        100_000_000 + u64::from(spec_of(spec).count) * 1_000_000
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Runner for Reach {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let spec = spec_of(setup.spec);
        if !(1..=100_000).contains(&spec.count) {
            return Err(StepError::new(
                ErrorKind::Invalid,
                format!("{} round trips; ask for 1 to 100000", spec.count),
            ));
        }
        Ok(Box::new(ReadyReach { end: setup.session.end, spec }))
    }

    fn cost(&self, spec: &StepSpec, _paths: usize) -> Cost {
        // A message in each direction at a time: they load nothing, but each has its moment.
        const MOMENT_NS: u64 = 1_000_000;
        Cost { time_ns: u64::from(spec_of(spec).count) * MOMENT_NS, ..Cost::default() }
    }

    fn merge(&self, _spec: &StepSpec, step: &mut Step, client: &Half, _server: &Half) {
        let rtt = client.histograms.iter().find(|h| h.name == HistogramName::Rtt);
        step.summary.rtt_ns = rtt.and_then(|r| LatencyHistogram::from_record(r).ok()?.summary());
        step.summary.messages = rtt.map(|r| r.count);
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, _step: &Step, _doc: &ResultDoc) -> Vec<Finding> {
        // A peer that does not answer is the step's error, and its round trips are judged.
        vec![]
    }
}

impl Prepared for ReadyReach {
    fn offers(&self) -> Vec<Offer> {
        vec![]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, _peer: Vec<Offer>) -> Half {
        match self.end {
            End::Client => ask(&self.spec, context),
            End::Server => answer(context),
        }
    }
}

fn ask(spec: &ReachSpec, context: &mut Context<'_>) -> Half {
    let mut rtt = LatencyHistogram::new();
    let mut half = Half::default();
    let (began, limited) = (context.clock.now(), context.until != Tick(u64::MAX));
    for n in 0..spec.count {
        let start = context.clock.now();
        if limited && n >= ENOUGH && start.ns_since(began) > u64::from(spec.count) * EACH_NS {
            break;
        }
        context.channel.send(StepMessage::Ping(n));
        match context.channel.receive(start.plus_ns(PATIENCE_NS)) {
            Received::Message(StepMessage::Ping(_)) => rtt.record(context.clock.now().ns_since(start)),
            Received::Message(other) => {
                half.error = Some(misplaced(&other));
                break;
            }
            Received::Lost(error) | Received::PeerFailed(error) => {
                half.error = Some(error);
                break;
            }
            Received::Interrupted => {
                half.error = Some(crate::interrupt::error());
                break;
            }
            Received::OutOfTime => {
                half.error = Some(out_of_time(&format!("{n} of {} round trips were made", spec.count)));
                break;
            }
            Received::Nothing | Received::PeerDone => {
                half.error = Some(StepError::new(
                    ErrorKind::Timeout,
                    format!("the peer stopped answering after {n} round trips; is it overloaded or stopped?"),
                ));
                break;
            }
        }
        let (done, of) = (u64::from(n + 1), Some(u64::from(spec.count)));
        let counts = vec![Count { what: Counted::RoundTrips, done, of }];
        context.show(f64::from(n + 1) / f64::from(spec.count), counts);
    }
    half.histograms.push(rtt.to_record(HistogramName::Rtt, None));
    half
}

fn answer(context: &mut Context<'_>) -> Half {
    loop {
        let until = context.clock.now().plus_ns(2 * PATIENCE_NS);
        match context.channel.receive(until) {
            Received::Message(ping @ StepMessage::Ping(_)) => context.channel.send(ping),
            Received::Message(other) => return failed(misplaced(&other)),
            Received::Lost(error) => return failed(error),
            Received::PeerDone | Received::PeerFailed(_) | Received::Interrupted => return Half::default(),
            Received::Nothing | Received::OutOfTime => {
                return failed(StepError::new(
                    ErrorKind::Timeout,
                    "the client stopped asking in the middle of a step".into(),
                ));
            }
        }
    }
}
