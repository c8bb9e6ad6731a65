//! Many hosts measured against each other: who is measured with whom and when (`schedule`), and whom the figures accuse (`analyse`).
//!
//! Everything here is figures in, names out. What must be measured again to be sure is asked for ([`Again`]); who measures it, and over
//! what, is not known here. Hosts are numbers from 0, as their ranks are.

mod analyse;
mod cover;
mod cut;
mod differences;
mod grid;
pub mod kept;
mod ledger;
pub mod message;
mod polish;
pub mod schedule;
#[cfg(test)]
mod tests;
mod words;

pub use analyse::{Again, Analysis, Floor, Measured, Repeated, analyse};
pub use differences::{differences, facts};
pub use grid::Grid;
pub use ledger::{Errand, Figures, Ledger, Made};
pub use pathproof_model::mesh::{Suspect, SuspectKind, Who};
pub use words::{below, tell};
