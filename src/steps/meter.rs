//! CPU time of the thread that drives a lane.

use pathproof_api::os;
use pathproof_engine::drive::Meter;

/// Reads this thread's CPU time.
pub struct ThreadMeter;

impl Meter for ThreadMeter {
    fn cpu_ns(&mut self) -> Option<u64> {
        os::thread_cpu_ns()
    }
}
