//! [`Guest`]: the model of a running guest as a source of page writes. It says which page is written next and
//! how many writes are due by now; whoever holds the memory does the writing. Seeded, so that a run can be
//! repeated page by page.

use std::str::FromStr;
use std::sync::Arc;

use pathproof_model::units::Bytes;

use super::{PAGE_BYTES, Random};

/// Which pages a guest writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Every page alike.
    Uniform,
    /// Only the first `bytes` of a scattered order, every page of them alike: a working set.
    WorkingSet {
        /// Its size.
        bytes: u64,
    },
    /// Rank k is written with probability proportional to k^-exponent (0 < exponent, 1 is the classic form).
    Zipf {
        /// The exponent.
        exponent: f64,
    },
    /// One page after the other, round and round.
    Sequential,
    /// The page numbers of a recorded log, round and round.
    Replay(Arc<[u64]>),
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Unknown or malformed.
    #[error("unknown dirty pattern {0:?}; use uniform, hot=SIZE, zipf=EXPONENT, sequential or replay=FILE")]
    Unknown(String),
    /// A replay log with nothing in it, or with pages that the guest does not have.
    #[error("the recorded dirty log {0}")]
    Log(String),
}

impl FromStr for Pattern {
    type Err = PatternError;
    /// Reads everything but `replay=FILE`, whose file the caller opens.
    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let unknown = || PatternError::Unknown(text.into());
        match text.split_once('=') {
            None if text == "uniform" => Ok(Pattern::Uniform),
            None if text == "sequential" => Ok(Pattern::Sequential),
            Some(("hot", size)) => match size.parse::<Bytes>() {
                Ok(Bytes(bytes)) if bytes >= PAGE_BYTES => Ok(Pattern::WorkingSet { bytes }),
                _ => Err(unknown()),
            },
            Some(("zipf", exponent)) => match exponent.parse::<f64>() {
                Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Pattern::Zipf { exponent }),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

/// A seeded dirtying model.
#[derive(Clone, Debug)]
pub struct Guest {
    pages: u64,
    writes_per_s: f64,
    pattern: Pattern,
    random: Random,
    scatter: Scatter,
    zipf: Option<ZipfSampler>,
    cursor: u64,
    done: u64,
}

impl Guest {
    /// A guest of `pages` that writes `dirty_bytes_per_s / PAGE_BYTES` pages a second.
    pub fn new(
        pages: u64,
        dirty_bytes_per_s: u64,
        pattern: Pattern,
        seed: u64,
    ) -> Result<Guest, PatternError> {
        if let Pattern::Replay(log) = &pattern {
            if log.is_empty() {
                return Err(PatternError::Log("is empty".into()));
            }
            if let Some(page) = log.iter().find(|page| **page >= pages) {
                return Err(PatternError::Log(format!("names page {page}, but the guest has {pages} pages")));
            }
        }
        let mut random = Random::new(seed);
        let scatter = Scatter::new(pages, &mut random);
        let zipf = match pattern {
            Pattern::Zipf { exponent } => Some(ZipfSampler::new(pages.max(1), exponent)),
            _ => None,
        };
        let writes_per_s = dirty_bytes_per_s as f64 / PAGE_BYTES as f64;
        Ok(Guest { pages, writes_per_s, pattern, random, scatter, zipf, cursor: 0, done: 0 })
    }

    /// Writes that are due once the guest has run for `ran_ns`, less those already taken.
    pub fn due(&self, ran_ns: u64) -> u64 {
        let total = (self.writes_per_s * (ran_ns as f64 / 1e9)) as u64;
        total.saturating_sub(self.done)
    }

    /// Writes taken so far.
    pub fn written(&self) -> u64 {
        self.done
    }

    /// The page that the next write goes to.
    pub fn next_page(&mut self) -> u64 {
        self.done += 1;
        match &self.pattern {
            Pattern::Uniform => self.random.below(self.pages),
            Pattern::WorkingSet { bytes } => {
                let hot = (bytes / PAGE_BYTES).clamp(1, self.pages.max(1));
                self.scatter.page(self.random.below(hot))
            }
            Pattern::Zipf { .. } => match &self.zipf {
                Some(zipf) => self.scatter.page(zipf.sample(&mut self.random)),
                None => 0,
            },
            Pattern::Sequential => self.step(self.pages),
            Pattern::Replay(log) => {
                let at = self.cursor as usize % log.len();
                self.cursor += 1;
                log[at]
            }
        }
    }

    fn step(&mut self, pages: u64) -> u64 {
        let page = self.cursor;
        self.cursor = (page + 1) % pages.max(1);
        page
    }
}

/// A bijection of `0..pages` that scatters neighbours, because a real working set is not one block.
#[derive(Clone, Debug)]
struct Scatter {
    pages: u64,
    factor: u64,
    shift: u64,
}

impl Scatter {
    fn new(pages: u64, random: &mut Random) -> Scatter {
        // Near the golden section of the range, which spreads consecutive ranks evenly; then the next factor
        // without a common divisor, which makes it a bijection.
        let mut factor = ((pages as f64 * 0.618_033_988_749_895) as u64).max(1);
        while gcd(factor, pages.max(1)) != 1 {
            factor += 1;
        }
        Scatter { pages, factor, shift: random.below(pages) }
    }

    fn page(&self, rank: u64) -> u64 {
        let pages = u128::from(self.pages.max(1));
        ((u128::from(rank) * u128::from(self.factor) + u128::from(self.shift)) % pages) as u64
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Zipf ranks by rejection-inversion (Hörmann and Derflinger, 1996): constant time and memory for any range.
#[derive(Clone, Debug)]
struct ZipfSampler {
    ranks: f64,
    exponent: f64,
    integral_low: f64,
    integral_high: f64,
    accept: f64,
}

impl ZipfSampler {
    fn new(ranks: u64, exponent: f64) -> ZipfSampler {
        let mut z =
            ZipfSampler { ranks: ranks as f64, exponent, integral_low: 0.0, integral_high: 0.0, accept: 0.0 };
        z.integral_low = z.integral(1.5) - 1.0;
        z.integral_high = z.integral(z.ranks + 0.5);
        z.accept = 2.0 - z.inverse(z.integral(2.5) - z.weight(2.0));
        z
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// Integral of x^-s, continuous in s at 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        if t.abs() < 1e-8 { log * (1.0 + t / 2.0) } else { t.exp_m1() / t * log }
    }

    fn inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        if t.abs() < 1e-8 { (x * (1.0 - t / 2.0)).exp() } else { (t.ln_1p() / t * x).exp() }
    }

    /// A rank from 0.
    fn sample(&self, random: &mut Random) -> u64 {
        // The acceptance rate is above 0.7 for every exponent, so 64 refusals mean 1 in 10^33.
        for _ in 0..64 {
            let u = self.integral_high + random.unit() * (self.integral_low - self.integral_high);
            let x = self.inverse(u);
            let k = (x + 0.5).floor().clamp(1.0, self.ranks);
            if k - x <= self.accept || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u64 - 1;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn guest(pattern: Pattern) -> Guest {
        Guest::new(1000, 4_096_000, pattern, 42).unwrap()
    }

    #[test]
    fn equal_seeds_write_equal_pages_and_stay_inside() {
        for text in ["uniform", "hot=400KiB", "zipf=0.99", "zipf=1", "zipf=2.5", "sequential"] {
            let pattern: Pattern = text.parse().unwrap();
            let (mut a, mut b) = (guest(pattern.clone()), guest(pattern));
            for _ in 0..5_000 {
                let page = a.next_page();
                assert!(page < 1000, "{text}: page {page}");
                assert_eq!(page, b.next_page(), "{text}");
            }
        }
    }

    #[test]
    fn a_working_set_is_as_large_as_asked_and_scattered() {
        let mut guest = guest("hot=400KiB".parse().unwrap());
        let seen: BTreeSet<u64> = (0..5_000).map(|_| guest.next_page()).collect();
        assert_eq!(seen.len(), 100);
        assert!(seen.last().unwrap() - seen.first().unwrap() > 900, "one block is not scattered");
    }

    #[test]
    fn zipf_ranks_follow_their_law() {
        for exponent in [0.8, 1.0, 1.5] {
            let zipf = ZipfSampler::new(1000, exponent);
            let mut random = Random::new(3);
            let mut seen = vec![0f64; 1000];
            for _ in 0..200_000 {
                seen[zipf.sample(&mut random) as usize] += 1.0 / 200_000.0;
            }
            let total: f64 = (1..=1000).map(|k| f64::from(k).powf(-exponent)).sum();
            for k in [1usize, 2, 3, 10] {
                let expected = (k as f64).powf(-exponent) / total;
                let ratio = seen[k - 1] / expected;
                assert!((0.93..1.07).contains(&ratio), "exponent {exponent}, rank {k}: {ratio}");
            }
        }
    }

    #[test]
    fn writes_fall_due_at_the_rate_asked() {
        let mut guest = guest(Pattern::Sequential);
        assert_eq!(guest.due(500_000_000), 500);
        for expected in 0..500 {
            assert_eq!(guest.next_page(), expected);
        }
        assert_eq!(guest.due(500_000_000), 0);
        assert_eq!(guest.due(501_000_000), 1);
        assert_eq!(guest.written(), 500);
    }

    #[test]
    fn a_replay_log_must_fit_the_guest() {
        let log = |pages: &[u64]| Guest::new(10, 4096, Pattern::Replay(pages.into()), 0);
        assert!(log(&[]).is_err() && log(&[3, 10]).is_err());
        let mut guest = log(&[3, 9]).unwrap();
        assert_eq!([guest.next_page(), guest.next_page(), guest.next_page()], [3, 9, 3]);
        assert!("replay=x".parse::<Pattern>().is_err() && "hot=1".parse::<Pattern>().is_err());
        assert!("zipf=nan".parse::<Pattern>().is_err());
    }
}
