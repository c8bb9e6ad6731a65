//! Delay that varies on a path so short that nothing which is well makes it, by a little less than the limit of jitter.
//!
//! Refuses to accuse a path of what its hosts' threads waited: on a machine that others want for themselves, one way has to vary and the other not.

use pathproof_model::judge::could_explain_median;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, LossPath, ResultDoc, Severity};

use super::{planned, pressed, round_trips, sleeps, waited_share};

/// A path on which nothing that is well varies by milliseconds.
const NEAR_NS: u64 = 2_000_000;
/// As the built-in limit of jitter.
const JITTER_NS: u64 = 5_000_000;

/// Idle round trips of a short path that miss the limit of jitter by neither half of them nor one in a hundred, and by both together: a warning, where
/// no host explains it.
pub(super) fn varies(doc: &ResultDoc) -> Option<Finding> {
    /// By so much longer than the fastest is the slowest of a hundred.
    const SPREAD_NS: u64 = JITTER_NS + JITTER_NS / 2;
    let (step, rtt) = round_trips(doc).filter(|_| sleeps::throughout(doc).is_none())?;
    let (typical, spread) = (rtt.p50.saturating_sub(rtt.min), rtt.p99.saturating_sub(rtt.min));
    let seen = rtt.count >= 100 && rtt.min < NEAR_NS && typical >= JITTER_NS / 2 && spread >= SPREAD_NS;
    let calm = waited_share(step).is_some_and(|share| share < 0.1) && !pressed(step);
    if !seen || could_explain_median(step, &rtt, typical) || !(calm || one_way_varies(doc)) {
        return None;
    }
    let said = format!(
        "{}: idle round trips take {} to {}, half of them more than {} and one in a hundred more than {}, and nothing was sent beside them",
        step.name,
        Nanoseconds(rtt.min),
        Nanoseconds(rtt.max),
        Nanoseconds(rtt.p50),
        Nanoseconds(rtt.p99)
    );
    let finding = Finding::new("PATH-JITTER", said).with_severity(Severity::Warning);
    Some(finding.with("spread_ns", spread))
}

/// Whether paced datagrams of a pair vary one way and not the other: hosts that wait for a processor make both vary.
fn one_way_varies(doc: &ResultDoc) -> bool {
    /// Above what half of them take longer on a busy machine.
    const VARIES_NS: u64 = 1_500_000;
    /// So many times as much as the other way.
    const FACTOR: u64 = 4;
    let typical = |path: &LossPath| path.delay_variation_ns.map(|variation| variation.p50);
    planned(doc).filter_map(|step| step.detail.loss.as_deref()).any(|paths| {
        paths.iter().any(|path| {
            let Some(own) = typical(path).filter(|own| *own >= VARIES_NS) else { return false };
            let back = paths.iter().filter(|other| {
                other.direction != path.direction
                    && other.local_address == path.local_address
                    && other.remote_address == path.remote_address
            });
            back.filter_map(typical).any(|other| other.saturating_mul(FACTOR) <= own)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::loss_path;
    use super::*;
    use pathproof_model::{
        DelayVariation, Direction, Evidence, HostLoad, LaneResult, LatencySummary, Step, StepKind, Tool,
        Waited,
    };

    fn told(steps: Vec<Step>) -> Vec<Severity> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        varies(&doc).into_iter().map(|finding| finding.severity).collect()
    }

    /// 650 idle round trips in ms: the fastest, the median, 90 and 99 % of them; `pressed`: others wanted the processors.
    fn trips([min, p50, p90, p99]: [f64; 4], pressed: bool) -> Step {
        let ns = |ms: f64| (ms * 1e6) as u64;
        let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
        let scheduled = Some(Waited { waited_ns: 90_000_000, of_ns: 3_200_000_000 });
        step.lanes = vec![LaneResult { scheduled, ..LaneResult::default() }];
        step.summary.rtt_ns = Some(LatencySummary {
            count: 650,
            min: ns(min),
            p50: ns(p50),
            p90: ns(p90),
            p99: ns(p99),
            max: ns(p99),
            ..LatencySummary::default()
        });
        let pressure_some_ns = Some(if pressed { 600 } else { 100 });
        let load = HostLoad { elapsed_ns: 1000, pressure_some_ns, ..HostLoad::default() };
        step.evidence = vec![Evidence { host: Some(load), ..Evidence::default() }];
        step
    }

    /// Paced datagrams of which half came so much later than the fastest, out and in.
    fn paced(out_us: u64, in_us: u64) -> Step {
        let path = |(direction, us): (Direction, u64)| {
            let ns = us * 1000;
            let delay_variation_ns = Some(DelayVariation { p50: ns, p99: ns * 2, max: ns * 3 });
            LossPath { direction, delay_variation_ns, ..loss_path() }
        };
        let mut step = Step::new(StepKind::Loss, "loss");
        step.detail.loss = Some([(Direction::Out, out_us), (Direction::In, in_us)].map(path).into());
        step
    }

    #[test]
    fn a_short_path_that_varies_by_a_little_less_than_the_limit_is_a_warning() {
        // As over a wire that delays by up to 9 ms on the way out.
        let nine = [0.2, 4.7, 8.2, 9.1];
        assert_eq!(told(vec![trips(nine, false)]), [Severity::Warning]);
        assert_eq!(told(vec![trips(nine, true), paced(3000, 30)]), [Severity::Warning]);
        // On a busy machine it may be the hosts, which make both ways vary.
        assert_eq!(told(vec![trips(nine, true), paced(3000, 2000)]), []);
        assert_eq!(told(vec![trips(nine, true), paced(500, 10)]), []);
        // Threads that waited for as long as half of the round trips are longer.
        let mut waited = trips(nine, true);
        waited.lanes[0].scheduled = Some(Waited { waited_ns: 1_600_000_000, of_ns: 3_200_000_000 });
        assert_eq!(told(vec![waited, paced(3000, 30)]), []);
        // As over a radio link that is healthy, of two hosts whose turns are long now and then, and over a longer path.
        assert_eq!(told(vec![trips([2.33, 3.82, 4.76, 6.13], false)]), []);
        assert_eq!(told(vec![trips([0.04, 0.9, 4.1, 9.0], false)]), []);
        assert_eq!(told(vec![trips([3.2, 7.7, 11.2, 12.1], false)]), []);
    }
}
