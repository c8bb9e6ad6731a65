//! Judging round trips and throughput.

use std::net::SocketAddr;

use super::{Check, LinkSpeed, link_speed};
use crate::units::{BitsPerSecond, Nanoseconds};
use crate::{Criteria, Direction, LatencySummary, ResultDoc, Step};

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn reach(steps: &[&Step]) -> Vec<Check> {
    steps
        .iter()
        .map(|step| match step.summary.rtt_ns {
            Some(rtt) if rtt.count > 0 => Check::pass(format!(
                "{} of {} round trips answered, median {}",
                rtt.count,
                asked(step).unwrap_or(rtt.count),
                Nanoseconds(rtt.p50)
            )),
            _ => Check::unknown("no round trip was completed"),
        })
        .collect()
}

fn asked(step: &Step) -> Option<u64> {
    match step.spec.as_ref()? {
        crate::StepSpec::Reach(spec) => Some(u64::from(spec.count)),
        _ => None,
    }
}

pub(super) fn latency(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let limits = &criteria.latency;
    let mut checks = Vec::new();
    for step in steps {
        let label = label(steps, step);
        match step.summary.rtt_ns {
            Some(rtt) if rtt.count > 0 => {
                checks.push(p99(&format!("{label}round trip"), &rtt, limits.p99_max_ns, limits.samples_min));
                if rtt.count >= limits.samples_min {
                    let jitter = rtt.p99.saturating_sub(rtt.p50);
                    checks.push(at_most(&format!("{label}jitter p99-p50"), jitter, limits.jitter_max_ns));
                }
            }
            _ => checks.push(Check::unknown(format!("{label}no round trip was measured"))),
        }
    }
    checks
}

pub(super) fn request(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let limits = &criteria.latency;
    steps
        .iter()
        .map(|step| {
            let label = label(steps, step);
            let (what, times) = match (step.summary.response_ns, step.summary.service_ns) {
                (Some(response), _) => ("response time (open loop)", Some(response)),
                (None, service) => ("service time (closed loop)", service.or(step.summary.rtt_ns)),
            };
            match times {
                Some(times) if times.count > 0 => {
                    p99(&format!("{label}{what}"), &times, limits.loaded_p99_max_ns, limits.samples_min)
                }
                _ => Check::unknown(format!("{label}no request was answered")),
            }
        })
        .collect()
}

/// A percentile of few samples is a guess; but when even half of those few are too slow, the answer is known.
fn p99(what: &str, times: &LatencySummary, limit_ns: u64, samples_min: u64) -> Check {
    if times.count >= samples_min {
        return at_most(&format!("{what} p99"), times.p99, limit_ns);
    }
    if times.p50 > limit_ns {
        return at_most(&format!("{what} p50"), times.p50, limit_ns);
    }
    Check::unknown(format!(
        "{what}: {} samples are too few for a p99 (at least {samples_min}); run longer",
        times.count
    ))
}

fn at_most(what: &str, ns: u64, limit_ns: u64) -> Check {
    let (measured, limit) = (Nanoseconds(ns), Nanoseconds(limit_ns));
    if ns <= limit_ns {
        Check::pass(format!("{what} {measured} (limit {limit})"))
    } else {
        Check::fail(format!("{what} {measured} is above the limit of {limit}"))
    }
}

pub(super) fn throughput(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let mut checks = vec![link_share(doc, steps, criteria.throughput.link_share_min)];
    checks.extend(nics_sum(steps, criteria.throughput.nics_sum_share_min));
    checks.extend(worst_second(steps, criteria.throughput.worst_second_share_min));
    checks.extend(retransmits(doc, steps, criteria));
    checks
}

/// The lower of the two directions where both ran at once: one must not hide behind the other.
fn goodput(step: &Step) -> Option<u64> {
    let summary = &step.summary;
    match step.direction {
        Some(Direction::Both) => match (summary.goodput_out_bits_per_s, summary.goodput_in_bits_per_s) {
            (Some(out), Some(inward)) => Some(out.min(inward)),
            _ => None,
        },
        _ => summary.goodput_bits_per_s,
    }
}

fn paced(step: &Step) -> Option<u64> {
    step.spec.as_ref()?.traffic()?.rate_bits_per_s
}

/// The best run of the direction decides: one lane may be bound by a core where several reach the link.
fn link_share(doc: &ResultDoc, steps: &[&Step], share_min: f64) -> Check {
    let free = steps.iter().filter(|s| paced(s).is_none());
    let best = free.filter_map(|s| Some((goodput(s)?, *s))).max_by_key(|(rate, _)| *rate);
    let Some((rate, step)) = best else {
        return match steps.iter().find_map(|s| Some((paced(s)?, goodput(s)?))) {
            Some((asked, got)) if got > 0 => Check::pass(format!(
                "goodput {} (paced at {}, so not held against the link speed)",
                BitsPerSecond(got),
                BitsPerSecond(asked)
            )),
            _ => Check::unknown("no goodput was measured"),
        };
    };
    let each = if step.direction == Some(Direction::Both) { " in the slower direction" } else { "" };
    let measured = format!("goodput {}{each}", BitsPerSecond(rate));
    if rate == 0 {
        return Check::fail(format!("{measured}: not one byte arrived within the window"));
    }
    match link_speed(doc, step) {
        LinkSpeed::Unknown(why) => {
            Check::pass(format!("{measured} (link speed unknown: {why}, so its share is not judged)"))
        }
        LinkSpeed::Known(link) => {
            let share = rate as f64 / link as f64;
            let text = format!("{measured} is {:.1} % of the {} link", share * 100.0, BitsPerSecond(link));
            if share >= share_min {
                Check::pass(format!("{text} (at least {:.0} %)", share_min * 100.0))
            } else {
                Check::fail(format!("{text}, below the limit of {:.0} %", share_min * 100.0))
            }
        }
    }
}

/// Several NICs together against the sum of what each carries alone.
fn nics_sum(steps: &[&Step], share_min: f64) -> Vec<Check> {
    let compared =
        steps.iter().filter_map(|s| Some((s.detail.alone.as_ref()?, s.summary.goodput_bits_per_s?)));
    compared
        .map(|(alone, together)| {
            let (Some(share), Some(sum)) = (alone.share_of_sum, alone.sum_bits_per_s) else {
                return Check::unknown("not every NIC could be measured alone, so their sum is unknown");
            };
            let text = format!(
                "{} NICs carry {} together, {:.0} % of the {} that they carry one by one",
                alone.each.len(),
                BitsPerSecond(together),
                share * 100.0,
                BitsPerSecond(sum)
            );
            if share >= share_min {
                Check::pass(format!("{text} (at least {:.0} %)", share_min * 100.0))
            } else {
                Check::fail(format!("{text}, below the limit of {:.0} %", share_min * 100.0))
            }
        })
        .collect()
}

/// The worst second of the worst run, against that run's own mean.
fn worst_second(steps: &[&Step], share_min: f64) -> Option<Check> {
    let share = |step: &Step| {
        let mean = step.summary.goodput_bits_per_s.filter(|mean| *mean > 0)?;
        Some(step.summary.goodput_worst_second_bits_per_s? as f64 / mean as f64)
    };
    let worst = steps.iter().filter_map(|s| Some((share(s)?, *s))).min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((share, step)) = worst else {
        let window_ns = steps.iter().filter_map(|s| s.summary.window_ns).max()?;
        return Some(if window_ns < SECOND_NS {
            Check::skipped("the window is shorter than a second, so the worst second is not judged")
        } else {
            Check::unknown("the worst second is missing from the result")
        });
    };
    let rate = BitsPerSecond(step.summary.goodput_worst_second_bits_per_s.unwrap_or_default());
    let text = format!("{}worst second {rate}, {:.0} % of the mean", label(steps, step), share * 100.0);
    // There is no path to be unsteady: a weak second shows that the host was busy with something else.
    if looped(step) {
        return Some(Check::skipped(format!("{text} (not judged on a loopback)")));
    }
    Some(if share >= share_min {
        Check::pass(format!("{text} (at least {:.0} %)", share_min * 100.0))
    } else {
        Check::fail(format!("{text}, below the limit of {:.0} %", share_min * 100.0))
    })
}

fn looped(step: &Step) -> bool {
    let looped = |address: &Option<String>| {
        let address = address.as_deref().and_then(|a| a.parse::<SocketAddr>().ok());
        address.is_some_and(|a| a.ip().to_canonical().is_loopback())
    };
    !step.lanes.is_empty() && step.lanes.iter().all(|lane| looped(&lane.local) && looped(&lane.remote))
}

/// Over all runs of the direction, by bytes. Transports that do not count segments have none to judge.
///
/// A NIC without a link speed is a virtual one: what it loses at full rate is lost in a queue of its own host, when
/// that has no CPU to spare. Loss on a path below it shows all the same, so there is a limit, but a wider one.
fn retransmits(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Option<Check> {
    let counted = steps.iter().filter_map(|s| Some((s.summary.retransmits?, s.summary.bytes?)));
    let (again, bytes) = counted.reduce(|a, b| (a.0 + b.0, a.1 + b.1))?;
    if bytes == 0 {
        return None;
    }
    let limits = &criteria.throughput;
    let no_speed = steps.iter().any(|s| matches!(link_speed(doc, s), LinkSpeed::Unknown(_)));
    let (per_gb_max, which) = if no_speed {
        (limits.retransmits_per_gb_no_speed_max, " of links without a speed")
    } else {
        (limits.retransmits_per_gb_max, "")
    };
    let per_gb = again as f64 * 1e9 / bytes as f64;
    Some(if per_gb <= per_gb_max {
        Check::pass(format!("{again} retransmits, {per_gb:.0} per GB (limit{which} {per_gb_max:.0})"))
    } else {
        Check::fail(format!(
            "{again} retransmits, {per_gb:.0} per GB, above the limit{which} of {per_gb_max:.0}"
        ))
    })
}

/// Names the step where several share a subject.
fn label(steps: &[&Step], step: &Step) -> String {
    if steps.len() > 1 { format!("{}: ", step.name) } else { String::new() }
}
