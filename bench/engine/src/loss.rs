//! Paced datagrams: what is sent when, what became of it, and what both ends' counts come to. Pure.

mod findings;
mod merge;
mod schedule;
mod tally;

pub use findings::{damaged, findings, findings_of_arrivals};
pub use merge::merge;
pub use schedule::{MARKS, Mark, Packet, Schedule};
pub use tally::Tally;
