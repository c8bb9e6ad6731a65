//! The pure half of a traffic step.

mod course;
#[cfg(test)]
mod tests;

pub use course::{Action, Course, Event};
