//! Judging round trips and throughput.

use std::net::SocketAddr;

use super::busy::{could_explain_median, could_explain_rate, pressed_step, unless_busy};
use super::full::full_host;
use super::held::held_by_end;
use super::names;
use super::repeats::{Repeats, dropped_at_home, excused};
use super::tail::tail;
use super::{LinkSpeed, growth, held_by_network, link_speed, stripe_held_by_network};
use crate::criteria::{LatencyCriteria, ThroughputCriteria};
use crate::units::{BitsPerSecond, Nanoseconds};
use crate::{
    AloneSum, Carrier, Check, Criteria, Direction, LatencySummary, Outcome, ResultDoc, Step, Subject,
    Summary, Unit, Verdict,
};

const SECOND_NS: u64 = 1_000_000_000;

/// So many round trips tell whether a path is there and how long it is. A run of limited time over a long path makes no more.
pub const ROUND_TRIPS_MIN: u64 = 4;

pub(super) fn reach(steps: &[&Step]) -> Vec<Check> {
    const NAME: &str = "round-trips-answered";
    steps
        .iter()
        .map(|step| {
            let answered = step.summary.rtt_ns.filter(|rtt| rtt.count > 0);
            let asked = asked(step);
            let check = match answered {
                None => Check::inconclusive(NAME, "no round trip was completed"),
                Some(rtt) if asked.is_some_and(|asked| rtt.count < asked.min(ROUND_TRIPS_MIN)) => {
                    let asked = asked.unwrap_or_default();
                    Check::inconclusive(
                        NAME,
                        format!("only {} of {asked} round trips were completed", rtt.count),
                    )
                }
                Some(rtt) => Check::pass(
                    NAME,
                    format!(
                        "{} of {} round trips answered, median {}",
                        rtt.count,
                        asked.unwrap_or(rtt.count),
                        Nanoseconds(rtt.p50)
                    ),
                ),
            };
            let count = answered.map(|rtt| rtt.count as f64);
            check.numbers(count, asked.map(|asked| asked as f64), Unit::Count)
        })
        .collect()
}

fn asked(step: &Step) -> Option<u64> {
    Some(step.spec.as_ref()?.reach()?.count.into())
}

pub(super) fn latency(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let limits = &criteria.latency;
    let mut checks = Vec::new();
    let parts = steps.iter().flat_map(|step| step.parts().into_iter().map(move |part| (*step, part)));
    for (step, (flow, summary)) in parts {
        let label = flow_label(steps, step, flow);
        match summary.rtt_ns {
            Some(rtt) if rtt.count > 0 => {
                let what = format!("{label}round trip");
                checks.extend(limits.p99_max_ns.map(|limit_ns| {
                    let check = slowest("round-trip", &what, &rtt, limit_ns, limits.samples_min);
                    unless_busy(check, step, |hosts| hosts.explain_times(&rtt, limit_ns))
                }));
                checks.push(spread(&label, step, &rtt, limits));
            }
            _ => {
                let text = format!("{label}no round trip was measured");
                checks.push(Check::inconclusive("round-trip-p99", text));
            }
        }
    }
    checks
}

/// How far the slow round trips lie above the median. The median itself is the length of the path, which is told and not judged.
fn spread(label: &str, step: &Step, rtt: &LatencySummary, limits: &LatencyCriteria) -> Check {
    const NAME: &str = names::ROUND_TRIP_JITTER;
    /// From so many on, all of them together say something.
    const FEW: u64 = 4;
    /// From so many on a tenth of them is something.
    const SOME: u64 = 20;
    let limit_ns = limits.jitter_max_ns;
    let median = Nanoseconds(rtt.p50);
    let typical = rtt.p50.saturating_sub(rtt.min);
    // Half of them are above the fastest by more than the limit: no number of samples would make that less, and where several that ask at
    // once wait for the latest of them, what lies above the median says little.
    let half_above_fastest = || {
        let what = format!("{label}round trip {median} (median), above the fastest of {} by", rtt.count);
        let check = at_most(NAME, &what, typical, limit_ns);
        let unknown = step.lanes.iter().any(|lane| lane.scheduled.is_none());
        unless_busy(check, step, |hosts| {
            unknown || hosts.explain_median(rtt, typical.saturating_sub(limit_ns))
        })
    };
    // The slowest hundredth of fewer than a p99 wants. Where hosts may have made it, what all of them carry is judged.
    let few = rtt.count < limits.samples_min;
    if let Some(slow) = tail(rtt, limit_ns, limits.slow_share_max).filter(|_| few) {
        let jitter = slow.ns.saturating_sub(rtt.p50);
        let slowest = format!("the slowest {} of {}", slow.share.part, slow.share.of);
        let what = format!("{label}round trip {median} (median), jitter p99-p50 ({slowest})");
        let check = at_most(NAME, &what, jitter, limit_ns);
        let check = unless_busy(check, step, |hosts| hosts.explain_jitter(rtt, jitter, limit_ns));
        if check.outcome == Outcome::Fail {
            return check;
        }
    }
    if let Some((name, ns)) = highest_percentile(rtt, limits.samples_min) {
        let jitter = ns.saturating_sub(rtt.p50);
        if jitter <= limit_ns && typical > limit_ns && rtt.count >= SOME {
            return half_above_fastest();
        }
        let what = format!("{label}round trip {median} (median), jitter {name}-p50");
        let check = at_most(NAME, &what, jitter, limit_ns);
        // Where half of them are above the fastest by more than that, a tenth of them is no question.
        let half_ns = typical.saturating_sub(limit_ns);
        let by_half = half_ns > 0 && !could_explain_median(step, rtt, half_ns);
        return unless_busy(check, step, |hosts| !by_half && hosts.explain_jitter(rtt, jitter, limit_ns));
    }
    // Of a few all must be alike, of some nine in ten.
    let (name, high) = if rtt.count >= SOME { ("p90", rtt.p90) } else { ("slowest", rtt.max) };
    let jitter = high.saturating_sub(rtt.p50);
    if rtt.count >= FEW && jitter <= limit_ns && (rtt.count < SOME || typical <= limit_ns) {
        let what = format!("{label}round trip {median} (median), jitter {name}-p50 of {}", rtt.count);
        return at_most(NAME, &what, jitter, limit_ns);
    }
    if rtt.count >= SOME && typical > limit_ns {
        return half_above_fastest();
    }
    let text = format!(
        "{label}round trip {median} (median): {} samples are too few to tell how much it varies (at least {}); run longer",
        rtt.count,
        limits.samples_min.div_ceil(10)
    );
    let text = pressed_step(step).map_or_else(|| text.clone(), |who| format!("cannot tell: {who}: {text}"));
    Check::inconclusive(NAME, text).numbers(None, limit_ns as f64, Unit::Ns)
}

pub(super) fn request(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let limits = &criteria.latency;
    let parts = steps.iter().flat_map(|step| step.parts().into_iter().map(move |part| (*step, part)));
    parts
        .map(|(step, (flow, summary))| {
            let label = flow_label(steps, step, flow);
            let (name, what, times) = match (summary.response_ns, summary.service_ns) {
                (Some(response), _) => ("response-time", "response time (open loop)", Some(response)),
                (None, service) => ("service-time", "service time (closed loop)", service.or(summary.rtt_ns)),
            };
            match times {
                Some(times) if times.count > 0 => {
                    let what = format!("{label}{what}");
                    let limit_ns = limits.loaded_p99_max_ns;
                    let check = slowest(name, &what, &times, limit_ns, limits.samples_min);
                    unless_busy(check, step, |hosts| hosts.explain_times(&times, limit_ns))
                }
                _ => Check::inconclusive(&format!("{name}-p99"), format!("{label}no request was answered")),
            }
        })
        .collect()
}

/// The highest percentile above which there are as many samples as the wanted number has above its p99: fewer
/// would be a guess. Never below p90: what lies above that says whether a path is fit.
fn highest_percentile(times: &LatencySummary, samples_min: u64) -> Option<(&'static str, u64)> {
    let has = |share: u64| times.count.saturating_mul(share) >= samples_min;
    if has(1) {
        return Some(("p99", times.p99));
    }
    let p95 = times.p95.filter(|_| has(5)).map(|ns| ("p95", ns));
    p95.or_else(|| has(10).then_some(("p90", times.p90)))
}

/// The slowest of `times` that can be known, against the limit of a p99. When even half of a few are too slow, the answer
/// is known as well.
pub(super) fn slowest(
    name: &str,
    what: &str,
    times: &LatencySummary,
    limit_ns: u64,
    samples_min: u64,
) -> Check {
    if let Some((percentile, ns)) = highest_percentile(times, samples_min) {
        let mut check =
            at_most(&format!("{name}-{percentile}"), &format!("{what} {percentile}"), ns, limit_ns);
        if times.count < samples_min {
            check.text.push_str(&format!(
                "; {} samples are too few for a p99, which wants {samples_min}",
                times.count
            ));
        }
        return check;
    }
    if times.p50 > limit_ns {
        return at_most(&format!("{name}-p50"), &format!("{what} p50"), times.p50, limit_ns);
    }
    let text =
        format!("{what}: {} samples are too few for a p99 (at least {samples_min}); run longer", times.count);
    Check::inconclusive(&format!("{name}-p99"), text).numbers(None, limit_ns as f64, Unit::Ns)
}

fn at_most(name: &str, what: &str, ns: u64, limit_ns: u64) -> Check {
    let (measured, limit) = (Nanoseconds(ns), Nanoseconds(limit_ns));
    let text = if ns <= limit_ns {
        format!("{what} {measured} (limit {limit})")
    } else {
        format!("{what} {measured} is above the limit of {limit}")
    };
    Check::of(name, ns <= limit_ns, text).numbers(ns as f64, limit_ns as f64, Unit::Ns)
}

/// A share against the least that it may be, with the text that leads to it.
pub(super) fn share_at_least(name: &str, text: &str, share: f64, share_min: f64) -> Check {
    let limit = share_min * 100.0;
    let text = if share >= share_min {
        format!("{text} (at least {limit:.0} %)")
    } else {
        format!("{text}, below the limit of {limit:.0} %")
    };
    Check::of(name, share >= share_min, text).numbers(share, share_min, Unit::Share)
}

/// The rate comes first: without a yardstick for it the verdict is that nothing was judged, however steady it was.
pub(super) fn throughput(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let limits = &criteria.throughput;
    let (paced, free): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| pace(step).is_some());
    let mut checks = Vec::new();
    if !free.is_empty() {
        checks.push(rate(doc, &free, limits));
    } else if limits.goodput_min_bits_per_s.is_some() {
        checks.push(rate(doc, &paced, limits));
    }
    checks.extend(paced.iter().map(|step| pace_kept(steps, step, limits.paced_share_min)));
    checks.extend(nics_sum(steps, limits.nics_sum_share_min));
    checks.extend(worst_second(steps, limits.worst_second_share_min));
    checks.extend(retransmits(doc, steps, criteria));
    checks.extend(steps.iter().filter_map(|step| carrier(steps, step)));
    checks
}

/// One direction at its best against the other; a verdict only where they differ by too much, for each transport.
pub(super) fn symmetry(doc: &ResultDoc, criteria: &Criteria) -> Vec<Verdict> {
    const NAME: &str = "direction-factor";
    let limits = &criteria.throughput;
    if limits.goodput_min_bits_per_s.is_some() {
        return vec![];
    }
    let usable = |step: &&Step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        step.kind.traits().bulk
            && step.follows_up.is_none()
            && step.error.is_none()
            && !sabotaged(step)
            && traffic.is_some_and(crate::TrafficSpec::is_free)
    };
    let mut overs: Vec<&str> =
        doc.steps.iter().filter(usable).filter_map(|step| step.over.as_deref()).collect();
    overs.sort_unstable();
    overs.dedup();
    let lanes = |step: &Step| step.spec.as_ref().and_then(|spec| spec.traffic()).map(|traffic| traffic.lanes);
    let all = |over: &str, way: Option<Direction>| {
        let over = over.to_owned();
        doc.steps
            .iter()
            .filter(usable)
            .filter(move |s| s.over.as_deref() == Some(&over) && (way.is_none() || s.direction == way))
    };
    let best = |over: &str, [direction, other]: [Direction; 2]| {
        let all = || all(over, None);
        // One lane may be bound by a limit that several are not.
        let answered = |s: &&Step| all().any(|o| o.direction == Some(other) && lanes(o) == lanes(s));
        let of = all().filter(|s| s.direction == Some(direction)).filter(answered);
        of.filter_map(|s| Some((s.summary.goodput_bits_per_s.filter(|rate| *rate > 0)?, s)))
            .max_by_key(|(rate, _)| *rate)
    };
    let judged = overs.into_iter().filter_map(|over| {
        let ways = [Direction::Out, Direction::In];
        let (out, inward) = (best(over, ways)?, best(over, [ways[1], ways[0]])?);
        let (slow, fast, way) = if out.0 < inward.0 { (out, inward, "out") } else { (inward, out, "in") };
        let factor = fast.0 as f64 / slow.0 as f64;
        if factor <= limits.direction_factor_max {
            return None;
        }
        let held = held_by_end(slow.1).map_or_else(String::new, |held| format!("; {}", held.words()));
        let text = format!(
            "{way} carries {} and the other way {}, {factor:.1} times as much (limit {:.0}){held}",
            BitsPerSecond(slow.0),
            BitsPerSecond(fast.0),
            limits.direction_factor_max
        );
        let check = Check::fail(NAME, text).numbers(factor, limits.direction_factor_max, Unit::Count);
        let wanted = fast.0 as f64 / limits.direction_factor_max;
        let tried = all(over, slow.1.direction).filter_map(|s| Some((s.summary.goodput_bits_per_s?, s)));
        let check = unless_busy(check, least_busy(slow, tried, wanted).1, |hosts| {
            hosts.explain_rate(slow.0 as f64, wanted)
        });
        Verdict::of(Subject::Symmetry(over.into()), vec![check])
    });
    judged.collect()
}

/// The lowest of the flows that ran at once: one must not hide behind the other.
fn goodput(step: &Step) -> Option<u64> {
    let rates: Option<Vec<u64>> = step.parts().iter().map(|(_, part)| part.goodput_bits_per_s).collect();
    rates?.into_iter().min()
}

/// The rate that a paced stream was to keep.
fn pace(step: &Step) -> Option<u64> {
    step.spec.as_ref()?.traffic()?.rate_bits_per_s
}

/// The best run of the direction decides: one lane may be bound by a core where several reach the link. It is held
/// against the rate that the user expects, or else against the speed of the link.
fn rate(doc: &ResultDoc, steps: &[&Step], limits: &ThroughputCriteria) -> Check {
    let expected = limits.goodput_min_bits_per_s;
    let tried = || steps.iter().filter_map(|s| Some((goodput(s)?, *s)));
    let Some((rate, step)) = tried().max_by_key(|(rate, _)| *rate) else {
        let check = Check::inconclusive(names::GOODPUT, "no goodput was measured");
        return check.numbers(None, expected.map(|limit| limit as f64), Unit::BitsPerS);
    };
    let each = if step.direction == Some(Direction::Both) { " in the slower direction" } else { "" };
    let measured = format!("goodput {}{each}", BitsPerSecond(rate));
    let number = rate as f64;
    if rate == 0 {
        let text = format!("{measured}: not one byte arrived within the window");
        return Check::fail(names::GOODPUT, text).numbers(number, None, Unit::BitsPerS);
    }
    if let Some(expected) = expected {
        let text = if rate >= expected {
            format!("{measured} (at least {} expected)", BitsPerSecond(expected))
        } else {
            format!("{measured}, below the {} expected", BitsPerSecond(expected))
        };
        let check = Check::of(names::GOODPUT, rate >= expected, text);
        let check = check.numbers(number, expected as f64, Unit::BitsPerS);
        let (_, calm) = least_busy((rate, step), tried(), expected as f64);
        return unless_busy(check, calm, |hosts| hosts.explain_rate(number, expected as f64));
    }
    match link_speed(doc, step) {
        LinkSpeed::Unknown(why) => Check::not_judged(
            names::LINK_SHARE,
            format!(
                "{measured} is not judged: link speed unknown ({why}); --expect-rate gives it a yardstick"
            ),
        ),
        LinkSpeed::Known(link) => {
            let share = number / link as f64;
            let text = format!("{measured} is {:.1} % of the {} link", share * 100.0, BitsPerSecond(link));
            let check = share_at_least(names::LINK_SHARE, &text, share, limits.link_share_min);
            let wanted = link as f64 * limits.link_share_min;
            let (_, calm) = least_busy((rate, step), tried(), wanted);
            unless_busy(check, calm, |hosts| hosts.explain_rate(number, wanted))
        }
    }
}

/// Of the runs that came to about the best rate, one whose hosts were not so busy that a path which carries `wanted` could have shown
/// that: one such run is enough to know that the path does not. Otherwise the best.
fn least_busy<'a>(
    best: (u64, &'a Step),
    tried: impl Iterator<Item = (u64, &'a Step)>,
    wanted: f64,
) -> (u64, &'a Step) {
    const ABOUT: f64 = 0.9;
    let mut alike = tried.filter(|(rate, _)| *rate as f64 >= best.0 as f64 * ABOUT);
    alike.find(|(rate, step)| !could_explain_rate(step, *rate as f64, wanted)).unwrap_or(best)
}

/// Whether a paced stream kept its pace: the pace is its yardstick, whatever the link could do.
fn pace_kept(steps: &[&Step], step: &Step, share_min: f64) -> Check {
    const NAME: &str = names::PACED_SHARE;
    let label = label(steps, step);
    let (Some(asked), Some(rate)) = (pace(step), goodput(step)) else {
        return Check::inconclusive(NAME, format!("{label}no goodput was measured"));
    };
    let text =
        format!("{label}goodput {} of a stream paced at {}", BitsPerSecond(rate), BitsPerSecond(asked));
    let share = rate as f64 / asked as f64;
    let check = share_at_least(NAME, &text, share, share_min);
    unless_busy(check, step, |hosts| rate > 0 && hosts.explain_rate(share, share_min))
}

/// Several NICs together against the sum of what each carries alone.
pub(super) fn nics_sum(steps: &[&Step], share_min: f64) -> Vec<Check> {
    steps.iter().filter_map(|step| nics_together(step, share_min)).collect()
}

/// What the NICs of a striped step carry together against what they carry one by one, where both were measured.
pub fn nics_together(step: &Step, share_min: f64) -> Option<Check> {
    const NAME: &str = names::NICS_SUM_SHARE;
    let alone = step.detail.alone.as_ref()?;
    let together = step.total(|part| part.goodput_bits_per_s)?;
    let (Some(share), Some(sum)) = (alone.share_of_sum, alone.sum_bits_per_s) else {
        let text = "not every NIC could be measured alone, so their sum is unknown";
        return Some(Check::inconclusive(NAME, text).numbers(None, share_min, Unit::Share));
    };
    let text = format!(
        "{} NICs carry {} together, {:.0} % of the {} that they carry one by one",
        alone.each.len(),
        BitsPerSecond(together),
        share * 100.0,
        BitsPerSecond(sum)
    );
    // What a short step that no plan asked for carried is held against the path only where the path shows that it was the limit. Where
    // neither it nor a host does, nobody knows what these NICs carry together.
    if step.follows_up.is_some() && share < share_min && !met_one_link(step, alone, together) {
        if let Some(why) = full_host(step) {
            let check = Check::not_judged(NAME, format!("{text}; not judged: {why}"));
            return Some(check.numbers(share, share_min, Unit::Share));
        }
        let text = format!("{text}, and nothing shows what held them back");
        let check = Check::fail(NAME, text).numbers(share, share_min, Unit::Share);
        let check = unless_busy(check, step, |hosts| hosts.explain_rate(share, share_min));
        return Some(if check.outcome == Outcome::Fail {
            Check { outcome: Outcome::Inconclusive, ..check }
        } else {
            check
        });
    }
    let check = share_at_least(NAME, &text, share, share_min);
    Some(unless_busy(check, step, |hosts| {
        together > 0 && !met_one_link(step, alone, together) && hosts.explain_rate(share, share_min)
    }))
}

/// Whether what the NICs carried together met one link behind them, whatever the hosts did meanwhile: it is no more than one of them
/// carries alone, it was held between the hosts, and a queue there overflowed.
fn met_one_link(step: &Step, alone: &AloneSum, together: u64) -> bool {
    /// A little more than the best alone is no more.
    const MORE: f64 = 1.3;
    const OVERFLOWED_SHARE: f64 = 0.001;
    let best = alone.each.iter().filter_map(|nic| nic.goodput_bits_per_s).max().unwrap_or(0);
    let overflowed = Repeats::of(step).is_some_and(|repeats| repeats.share() >= OVERFLOWED_SHARE);
    // A NIC whose connections died carried nothing for a while, whatever the others could have.
    let died = step.lanes.iter().filter_map(|lane| lane.stripe.as_ref()).flat_map(|stripe| &stripe.paths);
    let all_lived = died.map(|path| path.deaths).sum::<u64>() == 0;
    (together as f64) < best as f64 * MORE
        && all_lived
        && overflowed
        && dropped_at_home(step) == 0
        && (held_by_network(step) || stripe_held_by_network(step))
}

/// The worst second of the worst run, against that run's own mean.
fn worst_second(steps: &[&Step], share_min: f64) -> Option<Check> {
    const NAME: &str = names::WORST_SECOND_SHARE;
    // Where a NIC was taken away on purpose, the second in which that happened is weak on purpose too.
    let steady: Vec<&Step> = steps.iter().copied().filter(|step| !sabotaged(step)).collect();
    if steady.is_empty() && !steps.is_empty() {
        let text = "a NIC was taken away on purpose, so the worst second is not judged";
        return Some(Check::not_judged(NAME, text).numbers(None, share_min, Unit::Share));
    }
    // A connection that still grows has its weakest second at its beginning, on every path that is long enough.
    let grown = |step: &Step| match growth::grown_from_ns(step) {
        Some(from_ns) => growth::worst_second_from(step, from_ns).is_some(),
        None => true,
    };
    let grown: Vec<&Step> = steady.iter().copied().filter(|step| grown(step)).collect();
    if grown.is_empty() && !steady.is_empty() {
        let text = "the connections still grew in the window, so the worst second is not judged";
        return Some(Check::not_judged(NAME, text).numbers(None, share_min, Unit::Share));
    }
    let steps = &grown[..];
    let share_of = |worst: Option<u64>, mean: Option<u64>| {
        let mean = mean.filter(|mean| *mean > 0)?;
        Some((worst? as f64 / mean as f64, worst?))
    };
    // Of flows that ran at once, the one that fell furthest below its own mean; one alone says nothing.
    let share = |step: &Step| {
        if let Some(from_ns) = growth::grown_from_ns(step) {
            return growth::worst_second_from(step, from_ns);
        }
        let part = |(_, part): (_, &Summary)| {
            share_of(part.goodput_worst_second_bits_per_s, part.goodput_bits_per_s)
        };
        let shares: Option<Vec<(f64, u64)>> = step.parts().into_iter().map(part).collect();
        shares?.into_iter().min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let worst = steps.iter().filter_map(|s| Some((share(s)?, *s))).min_by(|a, b| a.0.0.total_cmp(&b.0.0));
    let Some(((share, rate), step)) = worst else {
        let window_ns = steps.iter().flat_map(|s| s.parts()).filter_map(|(_, part)| part.window_ns).max()?;
        let check = if window_ns < SECOND_NS {
            Check::not_judged(NAME, "the window is shorter than a second, so the worst second is not judged")
        } else {
            Check::inconclusive(NAME, "the worst second is missing from the result")
        };
        return Some(check.numbers(None, share_min, Unit::Share));
    };
    let rate = BitsPerSecond(rate);
    let text = format!("{}worst second {rate}, {:.0} % of the mean", label(steps, step), share * 100.0);
    // There is no path to be unsteady: a weak second shows that the host was busy with something else.
    if looped(step) {
        let check = Check::not_judged(NAME, format!("{text} (not judged on a loopback)"));
        return Some(check.numbers(share, share_min, Unit::Share));
    }
    let check = share_at_least(NAME, &text, share, share_min);
    let missing_ns = (1.0 - share / share_min) * SECOND_NS as f64;
    Some(unless_busy(check, step, |hosts| hosts.were_busy() || hosts.waited(missing_ns)))
}

/// Whether the user had a NIC fail within the step (`--fail`, `--watch-links`).
fn sabotaged(step: &Step) -> bool {
    step.detail.failover.as_ref().is_some_and(|failover| failover.failed_at_ns.is_some())
}

pub(super) fn looped(step: &Step) -> bool {
    let looped = |address: &Option<String>| {
        let address = address.as_deref().and_then(|a| a.parse::<SocketAddr>().ok());
        address.is_some_and(|a| a.ip().to_canonical().is_loopback())
    };
    !step.lanes.is_empty() && step.lanes.iter().all(|lane| looped(&lane.local) && looped(&lane.remote))
}

/// Over all runs of the direction, by bytes. Transports that do not count segments have none to judge.
///
/// What is known to be lost to a full queue only ([`excused`]) is not judged: paced datagrams say what the path loses. A NIC without a
/// link speed is a virtual one: what it loses at full rate may be lost in a queue of its own host, when that has no CPU to spare, so
/// the limit is a wider one.
fn retransmits(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Option<Check> {
    let counted: Vec<(&Step, u64, u64)> = steps
        .iter()
        .filter_map(|s| Some((*s, s.total(|part| part.retransmits)?, s.total(|part| part.bytes)?)))
        .collect();
    let sum = |counted: &mut dyn Iterator<Item = &(&Step, u64, u64)>| {
        counted
            .fold((0, 0), |sum: (u64, u64), one| (sum.0.saturating_add(one.1), sum.1.saturating_add(one.2)))
    };
    let (again, bytes) = sum(&mut counted.iter());
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
    let rate = |again: u64, bytes: u64| if bytes == 0 { 0.0 } else { again as f64 * 1e9 / bytes as f64 };
    const NAME: &str = names::RETRANSMITS_PER_GB;
    let per_gb = rate(again, bytes);
    let text = format!("{again} retransmits, {per_gb:.0} per GB");
    let check = if per_gb <= per_gb_max {
        Check::pass(NAME, format!("{text} (limit{which} {per_gb_max:.0})"))
    } else {
        let excuses: Vec<Option<String>> = counted.iter().map(|(step, ..)| excused(doc, step)).collect();
        let mut rest = counted.iter().zip(&excuses).filter(|(_, why)| why.is_none()).map(|(one, _)| one);
        let (again, bytes) = sum(&mut rest);
        match excuses.iter().flatten().next() {
            Some(why) if rate(again, bytes) <= per_gb_max => {
                Check::not_judged(NAME, format!("{text}, not judged: {why}"))
            }
            _ => Check::fail(NAME, format!("{text}, above the limit{which} of {per_gb_max:.0}")),
        }
    };
    Some(check.numbers(per_gb, per_gb_max, Unit::PerGb))
}

/// What carried the payload of a step that was to go over RDMA, as far as counters tell. That they contradict it is
/// a finding of its own; that a device has none is said, so that nobody takes the rate for proven RDMA.
fn carrier(steps: &[&Step], step: &Step) -> Option<Check> {
    let proof = step.detail.proof.as_ref()?;
    let text = format!("{}{}", label(steps, step), proof.reason);
    Some(match proof.transport {
        Carrier::Rdma => Check::pass("carried-by-rdma", text),
        _ => Check::not_judged("carried-by-rdma", text),
    })
}

/// Names the step and the flow where several share a subject.
fn flow_label(steps: &[&Step], step: &Step, flow: Option<&str>) -> String {
    let flow = flow.map_or_else(String::new, |flow| format!("{flow}: "));
    label(steps, step) + &flow
}

/// Names the step where several share a subject.
fn label(steps: &[&Step], step: &Step) -> String {
    if steps.len() > 1 { format!("{}: ", step.name) } else { String::new() }
}
