//! The pure half of a step that has threads at both ends, above all of a traffic step.

mod course;
pub mod failover;
mod lane;
pub mod nics;
#[cfg(test)]
mod tests;

pub use course::{Action, Course, Event, Outline};
pub use lane::{Ended, GRACE_NS, LaneEnds, LaneTimes, drive, turn};
