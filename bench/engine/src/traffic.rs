//! The pure half of a step that has threads at both ends, above all of a traffic step.

mod course;
#[cfg(test)]
mod tests;

pub use course::{Action, Course, Event, Outline};
