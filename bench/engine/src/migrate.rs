//! Live migration as a pure subject: which pages are dirty, who dirties them, what a hypervisor would do next,
//! what must come out, and how long a host takes to drain. [`copy`] moves memory under these decisions, over any lane,
//! and [`simulate()`] moves none under the same ones.
//!
//! Sources: QEMU's `migration/` loop and constants, Microsoft's published limits for Hyper-V, Xen's tools and
//! Clark et al. (NSDI 2005). The closed forms stand in [`predict()`].

mod bitmap;
pub mod copy;
mod disk;
mod fleet;
mod guest;
mod policy;
mod predict;
mod random;
mod scale;
mod simulate;

pub use bitmap::{BitmapError, PAGE_BYTES, PageBitmap};
pub use disk::{BLOCK_BYTES, DiskMove, disk_copy_s};
pub use fleet::{Drain, FleetError, GuestMove, HostDrain, drain, held, rehearsal};
pub use guest::{Guest, Pattern, PatternError};
pub use policy::{AutoConverge, Decision, Phase, PhaseError, Phases, Policy, RoundFacts, StopReason};
pub use predict::{
    Path, PredictedRound, Prediction, distinct_pages, geometric, predict, predict_phases, stable_dirty_pages,
};
pub use random::Random;
pub use scale::Scale;
pub use simulate::{Simulated, simulate};
