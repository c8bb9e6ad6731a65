//! The pure half of a step that has threads at both ends, above all of a traffic step.

mod course;
mod lane;
#[cfg(test)]
mod tests;

pub use course::{Action, Course, Event, Outline};
pub use lane::{Ended, GRACE_NS, LaneEnds, LaneTimes, drive, turn};
