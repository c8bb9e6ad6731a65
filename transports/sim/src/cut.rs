//! What becomes of a path that is cut: nothing crosses any more, and who waits for it learns of that after a silence.

use pathproof_api::Tick;

/// When a path was cut, and how long its lanes take to notice, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) at: Tick,
    pub(crate) silence_ns: u64,
}

impl Cut {
    /// When a lane that hears nothing gives up.
    pub(crate) fn noticed(self) -> Tick {
        self.at.plus_ns(self.silence_ns)
    }

    /// The first of two.
    pub(crate) fn first(one: Option<Cut>, other: Option<Cut>) -> Option<Cut> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if one.at <= other.at { one } else { other }),
            (one, other) => one.or(other),
        }
    }
}
