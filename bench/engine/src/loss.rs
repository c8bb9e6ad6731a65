//! Paced datagrams: what is sent when, what became of it, and what both ends' counts come to. Pure.

mod buffer;
mod findings;
mod merge;
mod rate;
mod schedule;
mod tally;

pub use buffer::{buffer_findings, found_buffers, next_buffer};
pub use findings::{damaged, findings, findings_of_arrivals, settle_by_host};
pub use merge::merge;
pub use rate::{found, next, rate_findings};
pub use schedule::{MARKS, Mark, Packet, STANDARD_IP_BYTES, Schedule};
pub use tally::Tally;
