//! A share that was counted in a sample, and what it says about the share that was sampled from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Standard normal quantile of a two-sided interval of 95 %.
const Z: f64 = 1.959_964;

/// So many of so many, with the 95 % interval of what lies behind them (Wilson 1927, score interval).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Counted.
    pub part: u64,
    /// Of so many.
    pub of: u64,
}

impl Share {
    /// The share in the sample; `None` for an empty one.
    pub fn point(self) -> Option<f64> {
        (self.of > 0).then(|| self.part as f64 / self.of as f64)
    }

    /// Least and greatest share that the sample speaks for; everything where there is no sample.
    pub fn bounds(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.of as f64, self.part.min(self.of) as f64 / self.of as f64);
        let centre = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + Z * Z / n;
        // Rounding must not leave a trace of something where nothing was counted.
        let low = if self.part == 0 { 0.0 } else { ((centre - half) / whole).max(0.0) };
        let high = if self.part >= self.of { 1.0 } else { ((centre + half) / whole).min(1.0) };
        (low, high)
    }
}

impl std::ops::Add for Share {
    type Output = Share;
    fn add(self, other: Share) -> Share {
        Share { part: self.part.saturating_add(other.part), of: self.of.saturating_add(other.of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Newcombe 1998, table I, method 3: 81 of 263 and 15 of 148, and none of 20.
        for ((part, of), (low, high)) in
            [((81, 263), (0.2553, 0.3662)), ((15, 148), (0.0624, 0.1605)), ((0, 20), (0.0, 0.1611))]
        {
            let bounds = Share { part, of }.bounds();
            assert!((bounds.0 - low).abs() < 1e-4 && (bounds.1 - high).abs() < 1e-4, "{bounds:?}");
        }
        assert_eq!(Share::default().bounds(), (0.0, 1.0));
        assert_eq!(Share { part: 5, of: 5 }.bounds().1, 1.0);
        assert_eq!(Share::default().point(), None);
    }
}
