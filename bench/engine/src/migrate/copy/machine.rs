//! What the copy wants of the host that the guest runs on.

use super::error::CopyError;
use crate::migrate::Guest;

/// Runs a guest at the source on its memory, and says which pages it wrote.
pub trait Machine {
    /// Watches the first `pages` pages, and lets `guest` write them from now on, where there is one.
    fn start(&mut self, pages: u64, guest: Option<Guest>) -> Result<(), CopyError>;
    /// Makes the guest sleep so many percent of its time from now on.
    fn throttle(&mut self, percent: u8);
    /// Writes made so far.
    fn writes(&self) -> u64;
    /// Stops the guest; when this returns, it writes no more. Stopping a second time changes nothing.
    fn stop(&mut self);
    /// Adds to `words` (bit 0 of word 0 is page 0) the pages written since the last question.
    fn harvest(&mut self, words: &mut [u64]) -> Result<(), CopyError>;
    /// CPU time of the source so far, where it can be known.
    fn cpu_ns(&mut self) -> Option<u64>;
}
