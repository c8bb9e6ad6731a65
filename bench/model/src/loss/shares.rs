//! What became of the datagrams of a path as shares, each with what its sample speaks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossCounts, LossPath};
use crate::Share;

/// A counted share with the 95 % interval of what lies behind it (Wilson 1927, score interval).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundedShare {
    /// Counted.
    pub part: u64,
    /// Of so many.
    pub of: u64,
    /// The least that the sample speaks for, 0 to 1.
    pub low: f64,
    /// The most, 0 to 1.
    pub high: f64,
}

impl BoundedShare {
    /// As it was counted.
    pub fn counted(self) -> Share {
        Share { part: self.part, of: self.of }
    }
}

impl From<Share> for BoundedShare {
    fn from(share: Share) -> BoundedShare {
        let (low, high) = share.bounds();
        BoundedShare { part: share.part, of: share.of, low, high }
    }
}

/// What became of the datagrams of a path. Flows that carry nothing at all, and a size that a flow does not carry, are left out: they have findings of
/// their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LossShares {
    /// Did not arrive, of those sent; what the receiving socket had no room for did.
    pub lost: BoundedShare,
    /// Further copies, against those that arrived.
    pub duplicated: BoundedShare,
    /// Overtaken by later ones, of those that arrived.
    pub reordered: BoundedShare,
    /// Came 50 ms after the fastest and later, of those that arrived.
    pub late: BoundedShare,
    /// Thrown away by the receiving host for a wrong checksum, of those that reached it; they are among the lost. `null` where that is not known.
    pub corrupted: Option<BoundedShare>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupted_unknown: Option<String>,
}

impl LossShares {
    /// Those of a path; `corrupted` is how many of its datagrams had a wrong checksum, or why that is not known.
    pub fn of(path: &LossPath, corrupted: Result<u64, String>) -> LossShares {
        let counts = path.counted();
        let lost = counts.lost();
        let (corrupted, corrupted_unknown) = match corrupted {
            Ok(part) => {
                let share = Share { part, of: counts.received.saturating_add(part) };
                (Some(BoundedShare::from(share)), None)
            }
            Err(why) => (None, Some(why)),
        };
        LossShares {
            lost: Share { part: lost.part.saturating_sub(path.overflowed), of: lost.of }.into(),
            duplicated: counts.copies().into(),
            reordered: counts.out_of_order().into(),
            late: Share { part: counts.late, of: counts.received }.into(),
            corrupted,
            corrupted_unknown,
        }
    }
}

impl LossPath {
    /// What was counted of the flows that carry something, without full-size datagrams where none of them pass.
    pub fn counted(&self) -> LossCounts {
        let mut all = LossCounts::default();
        for flow in self.flows.iter().filter(|flow| !flow.is_dead()) {
            all += flow.small;
            if !flow.lacks_full_size() {
                all += flow.full;
            }
        }
        all
    }
}
