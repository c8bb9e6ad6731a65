//! Paced datagrams: what is sent when, what became of it, and what both ends' counts come to. Pure.

mod findings;
mod merge;
mod path_numbers;
mod rate;
mod schedule;
mod silent;
mod tally;

pub use findings::{damaged, findings, findings_of_arrivals, settle_by_host};
pub use merge::merge;
pub use rate::{found, next, rate_findings};
pub use schedule::{MARKS, Mark, Packet, STANDARD_IP_BYTES, Schedule};
pub use tally::Tally;
