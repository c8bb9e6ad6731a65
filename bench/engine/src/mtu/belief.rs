//! What silence makes likely: random loss estimated from probes that fit, and from it how probable each
//! candidate for the edge still is.
//!
//! Guides which sizes are asked next; whether the evidence suffices is decided by [`Loss::copies_needed`] alone.

use std::collections::BTreeMap;

/// Chance of a false edge that is accepted when silence is the only evidence.
const ACCEPTED_ERROR: f64 = 1e-4;
/// A size is never called lost on fewer copies than this.
pub(super) const MIN_COPIES: u32 = 3;

/// Random loss, seen on probes that fit.
pub(super) struct Loss {
    pub sent: u32,
    pub lost: u32,
    pub rate: f64,
}

impl Loss {
    /// From counts; Jeffreys' rule, so that few samples mean caution.
    pub fn new(sent: u32, lost: u32) -> Loss {
        Loss { sent, lost, rate: (f64::from(lost) + 0.5) / (f64::from(sent) + 1.0) }
    }

    /// How many copies of one size must get lost before loss by chance is out of the question.
    pub fn copies_needed(&self) -> u32 {
        // A path that was seen to lose probes gets no benefit of the doubt.
        let (accepted, least) = if self.lost > 0 {
            (ACCEPTED_ERROR / 10.0, MIN_COPIES + 1)
        } else {
            (ACCEPTED_ERROR, MIN_COPIES)
        };
        let copies = (accepted.ln() / self.rate.min(0.9).ln()).ceil() as u32;
        copies.max(least)
    }
}

/// How likely each candidate for the edge is: every probe lost at or below a candidate must have been lost by
/// chance, so it costs a factor `p`. Constant between two lost sizes, falling with size.
pub(super) struct Belief {
    pub largest: u32,
    /// First candidate, one past the last, weight of each.
    steps: Vec<(u32, u32, f64)>,
}

impl Belief {
    /// `favour` is how many ordinary candidates the largest arrival outweighs because it is a common value. It
    /// guides what is asked next; it is no evidence.
    pub fn new(
        largest: u32,
        smallest_refused: u32,
        lost: &BTreeMap<u32, u32>,
        rate: f64,
        favour: f64,
    ) -> Belief {
        let mut steps = vec![(largest, largest + 1, 1.0 + favour)];
        let mut start = largest + 1;
        let mut weight = 1.0;
        for (size, count) in lost.range(..smallest_refused) {
            steps.push((start, *size, weight));
            start = *size;
            weight *= rate.powi(*count as i32);
        }
        steps.push((start, smallest_refused, weight));
        Belief { largest, steps }
    }

    fn mass(&self) -> f64 {
        self.steps.iter().map(|(from, to, weight)| f64::from(to - from) * weight).sum()
    }

    /// How many candidates, from the smallest up, hold 95 % of the belief.
    pub fn likely_candidates(&self) -> u32 {
        self.position(0.95 * self.mass()) - self.largest
    }

    /// The candidate below which `mass` of the belief lies, rounded up.
    fn position(&self, mass: f64) -> u32 {
        let mut below = 0.0;
        for (from, to, weight) in &self.steps {
            let here = f64::from(to - from) * weight;
            if below + here >= mass {
                return (from + ((mass - below) / weight).ceil() as u32).clamp(self.largest + 1, *to);
            }
            below += here;
        }
        self.steps.last().map_or(self.largest + 1, |(_, to, _)| *to)
    }

    /// Adds up to `cuts` sizes that split the belief into equal parts.
    pub fn cut(&self, sizes: &mut Vec<u32>, cuts: u32) {
        let mass = self.mass();
        let last = self.steps.last().map_or(self.largest, |(_, to, _)| to - 1);
        for index in 1..=cuts {
            sizes.push(self.position(mass * f64::from(index) / f64::from(cuts + 1)).min(last));
        }
        sizes.sort_unstable();
        sizes.dedup();
    }

    /// Adds about `cuts` sizes so that no gap between `sizes` stays wider than the whole divided by `cuts`.
    pub fn fill(&self, sizes: &mut Vec<u32>, cuts: u32) {
        let end = self.steps.last().map_or(self.largest + 1, |(_, to, _)| *to);
        let widest = ((end - self.largest) / cuts.max(1)).max(1);
        let mut fixed = sizes.clone();
        fixed.push(end);
        fixed.sort_unstable();
        let mut from = self.largest;
        for to in fixed {
            let parts = (to - from).div_ceil(widest).max(1);
            sizes.extend((1..parts).map(|part| from + (to - from) * part / parts));
            from = to;
        }
        sizes.sort_unstable();
        sizes.dedup();
    }
}
