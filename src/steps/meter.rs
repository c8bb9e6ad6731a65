//! CPU time of the thread that drives a lane.

use pathproof_engine::drive::Meter;
use pathproof_sys::thread;

/// Reads this thread's CPU time.
pub struct ThreadMeter;

impl Meter for ThreadMeter {
    fn cpu_ns(&mut self) -> Option<u64> {
        thread::thread_cpu_ns()
    }
}
