//! What must come out of a migration, before it is run.
//!
//! [`geometric`] is the textbook form for writes that never hit a page twice: with r = D/B, round n moves M·rⁿ.
//! [`predict`] lets the policy's own state machine decide over modelled rounds, with the distinct pages that a
//! pattern really leaves dirty, so that pass limits, auto-converge and non-convergence need no formulas of
//! their own. Where no page is hit twice both agree, and a test says so.

use super::{Decision, PAGE_BYTES, Pattern, Phases, Policy, RoundFacts, StopReason};

/// What a path does to a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Payload rate, in bytes per second.
    pub bytes_per_s: f64,
    /// Fixed cost of ending a round (its last acknowledgement), in ns.
    pub round_cost_ns: u64,
    /// Share of the first pass that is zero pages and hardly costs anything, 0 to 1.
    pub zero_share: f64,
}

/// One round to expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictedRound {
    /// Bytes to move.
    pub bytes: f64,
    /// Time for that, in ns.
    pub elapsed_ns: f64,
    /// Different pages dirtied meanwhile.
    pub dirtied_pages: f64,
}

/// What to expect.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Live rounds, the full copy first.
    pub rounds: Vec<PredictedRound>,
    /// From the first byte to the last, in ns.
    pub total_ns: u64,
    /// Guest standing still, in ns.
    pub downtime_ns: u64,
    /// Bytes moved in all.
    pub bytes: u64,
    /// Why the live rounds end; `None` for post-copy.
    pub reason: Option<StopReason>,
}

impl Prediction {
    /// Whether the policy reaches its own aim.
    pub fn converges(&self) -> bool {
        self.reason.is_none_or(StopReason::converged)
    }
}

/// Predicts a migration of `pages` under `policy`, dirtied with `dirty_bytes_per_s` in `pattern`.
pub fn predict(
    pages: u64,
    dirty_bytes_per_s: f64,
    pattern: &Pattern,
    policy: &Policy,
    path: Path,
) -> Prediction {
    predict_phases(Phases::new(policy.clone()), pages, dirty_bytes_per_s, pattern, path)
}

/// The same for a migration whose phases are set up already.
pub fn predict_phases(
    mut phases: Phases,
    pages: u64,
    dirty_bytes_per_s: f64,
    pattern: &Pattern,
    path: Path,
) -> Prediction {
    let page = PAGE_BYTES as f64;
    let per_ns = (path.bytes_per_s / 1e9).max(1e-9);
    let mut rounds = vec![];
    let (mut total_ns, mut bytes, mut rest) = (0.0, 0.0, pages as f64);
    let mut speed = 1.0;
    let mut post_copy = false;
    // A fresh machine is in setup, and the loop ends with its first decision to stop.
    let _ = phases.start();
    loop {
        let share = if rounds.is_empty() { 1.0 - path.zero_share.clamp(0.0, 1.0) } else { 1.0 };
        // Where the policy ends rounds early, part of the rest stays behind.
        let below = phases.ends_round_below(path.bytes_per_s).map_or(0.0, |n| n.saturating_sub(1) as f64);
        let left = below.min(rest);
        let sent = rest - left;
        let moved = sent * page * share;
        let elapsed_ns = moved / per_ns + path.round_cost_ns as f64;
        let writes = dirty_bytes_per_s / page * (elapsed_ns / 1e9) * speed;
        // Some of what is written again is still to be sent anyhow.
        let dirtied = left + distinct_pages(pattern, pages, writes) * (1.0 - left / pages.max(1) as f64);
        rounds.push(PredictedRound { bytes: moved, elapsed_ns, dirtied_pages: dirtied });
        total_ns += elapsed_ns;
        bytes += moved;
        let facts = RoundFacts {
            pages: sent.round() as u64,
            bytes: moved as u64,
            elapsed_ns: elapsed_ns as u64,
            dirtied_pages: dirtied.round() as u64,
        };
        rest = dirtied;
        match phases.round_ended(facts) {
            Ok(Decision::Round { throttle_percent, .. }) => speed = 1.0 - f64::from(throttle_percent) / 100.0,
            Ok(Decision::PostCopy) => {
                post_copy = true;
                break;
            }
            Ok(Decision::Stop(_)) | Err(_) => break,
        }
    }
    let last_ns = rest * page / per_ns + path.round_cost_ns as f64;
    Prediction {
        rounds,
        total_ns: (total_ns + last_ns) as u64,
        downtime_ns: if post_copy { path.round_cost_ns } else { last_ns as u64 },
        bytes: (bytes + rest * page) as u64,
        reason: phases.reason(),
    }
}

/// The closed form for memory M, bandwidth B, dirty rate D < B and a stop set S = B·T, all in bytes and
/// seconds: live rounds k = max(1, ⌈ln(S/M)/ln r⌉), bytes = M(1−r^(k+1))/(1−r), downtime = M·r^k/B. Returns
/// `(live rounds, bytes, total seconds, downtime seconds)`, or `None` when r is not below 1.
pub fn geometric(memory: f64, bandwidth: f64, dirty: f64, limit_s: f64) -> Option<(u32, f64, f64, f64)> {
    let r = dirty / bandwidth;
    if !(0.0..1.0).contains(&r) || memory <= 0.0 {
        return None;
    }
    let stop = bandwidth * limit_s;
    let k = if r == 0.0 { 1.0 } else { ((stop / memory).ln() / r.ln()).ceil().max(1.0) };
    let bytes = memory * (1.0 - r.powf(k + 1.0)) / (1.0 - r);
    Some((k as u32, bytes, bytes / bandwidth, memory * r.powf(k) / bandwidth))
}

/// Different pages that `writes` writes of `pattern` leave dirty among `pages`: W(1−e^(−n/W)) for a set of W
/// pages hit alike, summed over ranks for Zipf.
pub fn distinct_pages(pattern: &Pattern, pages: u64, writes: f64) -> f64 {
    let all = pages as f64;
    let alike = |set: f64| if set <= 0.0 { 0.0 } else { set * -(-writes / set).exp_m1() };
    match pattern {
        Pattern::Uniform => alike(all),
        Pattern::WorkingSet { bytes } => alike((bytes / PAGE_BYTES).clamp(1, pages.max(1)) as f64),
        Pattern::Sequential => writes.min(all),
        Pattern::Replay(log) => {
            let taken = (writes as usize).min(log.len());
            let mut seen: Vec<u64> = log[..taken].to_vec();
            seen.sort_unstable();
            seen.dedup();
            seen.len() as f64
        }
        Pattern::Zipf { exponent } => zipf_distinct(*exponent, pages, writes),
    }
}

/// Sums 1−e^(−n·p) over the ranks: one by one at the head, in blocks that grow by 1/64 behind it, where
/// neighbouring ranks are alike.
fn zipf_distinct(exponent: f64, pages: u64, writes: f64) -> f64 {
    let blocks = || {
        let mut start = 1u64;
        std::iter::from_fn(move || {
            (start <= pages).then(|| {
                let len = (start / 64).max(1).min(pages - start + 1);
                let middle = start as f64 + (len as f64 - 1.0) / 2.0;
                start += len;
                (len as f64, middle.powf(-exponent))
            })
        })
    };
    let total: f64 = blocks().map(|(len, weight)| len * weight).sum();
    blocks().map(|(len, weight)| len * -(-writes * weight / total).exp_m1()).sum()
}

/// The dirty set at which rounds stand still when a set of `set_pages` is hit with λ writes a second and b pages
/// are copied a second: the positive solution of v = W(1−e^(−λv/(bW))), or 0 when λ ≤ b.
pub fn stable_dirty_pages(set_pages: f64, writes_per_s: f64, copied_pages_per_s: f64) -> f64 {
    if writes_per_s <= copied_pages_per_s || set_pages <= 0.0 || copied_pages_per_s <= 0.0 {
        return 0.0;
    }
    // The iteration falls monotonically from W to the fixed point; its slope there is below 1.
    let mut v = set_pages;
    for _ in 0..100_000 {
        let next = set_pages * -(-writes_per_s * v / (copied_pages_per_s * set_pages)).exp_m1();
        if (v - next).abs() < 1e-9 * set_pages {
            return next;
        }
        v = next;
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    #[test]
    fn the_published_example_comes_out() {
        let (rounds, bytes, total_s, downtime_s) = geometric(4.0 * GIB, 1.25e9, 0.25e9, 0.3).unwrap();
        assert_eq!((rounds, bytes.round() as u64), (2, 5_325_759_447));
        assert!((downtime_s - 0.1374).abs() < 1e-4 && (total_s - 5_325_759_447.0 / 1.25e9).abs() < 1e-6);
        assert_eq!(geometric(1e9, 1e8, 1e8, 0.3), None);
    }

    #[test]
    fn prediction_and_closed_form_agree_where_no_page_is_hit_twice() {
        for (memory, bandwidth, dirty) in [(4.0 * GIB, 1.25e9, 0.25e9), (GIB, 1e8, 5e7), (GIB, 1e8, 9e7)] {
            let path = Path { bytes_per_s: bandwidth, round_cost_ns: 0, zero_share: 0.0 };
            let pages = (memory / PAGE_BYTES as f64) as u64;
            let p = predict(pages, dirty, &Pattern::Sequential, &Policy::qemu(), path);
            let (rounds, bytes, total_s, downtime_s) = geometric(memory, bandwidth, dirty, 0.3).unwrap();
            assert_eq!(p.rounds.len() as u32, rounds);
            assert!((p.bytes as f64 / bytes - 1.0).abs() < 1e-3);
            assert!((p.total_ns as f64 / 1e9 / total_s - 1.0).abs() < 1e-3);
            assert!((p.downtime_ns as f64 / 1e9 / downtime_s - 1.0).abs() < 1e-3);
            assert!(p.converges());
        }
    }

    #[test]
    fn distinct_pages_and_the_fixed_point_match_published_numbers() {
        // 20 000 pages, 50 000 writes/s, 40 000 pages/s copied: 7 427 pages.
        assert!((stable_dirty_pages(20_000.0, 50_000.0, 40_000.0) - 7_427.0).abs() < 1.0);
        assert_eq!(stable_dirty_pages(20_000.0, 40_000.0, 40_000.0), 0.0);
        let hot = Pattern::WorkingSet { bytes: 20_000 * PAGE_BYTES };
        let seen = distinct_pages(&hot, 1_000_000, 20_000.0 * 0.924_8);
        assert!((seen - 20_000.0 * (1.0 - (-0.924_8f64).exp())).abs() < 1e-6);
        // Zipf in blocks against rank by rank.
        let (pages, writes, s) = (50_000u64, 30_000.0, 0.99f64);
        let total: f64 = (1..=pages).map(|k| (k as f64).powf(-s)).sum();
        let exact: f64 = (1..=pages).map(|k| -(-writes * (k as f64).powf(-s) / total).exp_m1()).sum();
        let blocks = distinct_pages(&Pattern::Zipf { exponent: s }, pages, writes);
        assert!((blocks / exact - 1.0).abs() < 0.005, "{blocks} against {exact}");
    }

    #[test]
    fn more_dirt_than_bandwidth_is_predicted_not_to_converge() {
        let path = Path { bytes_per_s: 40_000.0 * 4096.0, round_cost_ns: 0, zero_share: 0.0 };
        let hot = Pattern::WorkingSet { bytes: 20_000 * PAGE_BYTES };
        let policy = Policy::qemu().with_downtime_limit_ns(30_000_000);
        let p = predict(200_000, 50_000.0 * 4096.0, &hot, &policy, path);
        assert_eq!(p.reason, Some(StopReason::NotConverging));
        let last = p.rounds.last().unwrap().dirtied_pages;
        assert!((last / 7_427.0 - 1.0).abs() < 0.06, "{last}");
    }
}
