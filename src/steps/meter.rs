//! What the thread that drives a lane takes of a processor, and waits for one.

use pathproof_api::{Clock, Tick};
use pathproof_engine::drive::Meter;
use pathproof_model::Waited;
use pathproof_sys::clock::RealClock;
use pathproof_sys::thread;

/// Reads this thread's CPU time.
pub struct ThreadMeter;

impl Meter for ThreadMeter {
    fn cpu_ns(&mut self) -> Option<u64> {
        thread::thread_cpu_ns()
    }
}

/// Measures what the calling thread waits for a processor.
pub struct Waiting<'a> {
    clock: &'a RealClock,
    began: Tick,
    waited_ns: u64,
}

impl Waiting<'_> {
    /// From now on; `None` where the kernel does not count it.
    pub fn begin(clock: &RealClock) -> Option<Waiting<'_>> {
        Some(Waiting { clock, began: clock.now(), waited_ns: thread::thread_waited_ns()? })
    }

    /// Until now, on the same thread.
    pub fn end(self) -> Waited {
        let waited_ns = thread::thread_waited_ns().map_or(0, |now| now.saturating_sub(self.waited_ns));
        Waited { waited_ns, of_ns: self.clock.now().ns_since(self.began) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_shares_its_processor_has_waited() {
        let crowd = 4 * std::thread::available_parallelism().map_or(1, |n| n.get());
        let clock = RealClock::new();
        let Some(_) = Waiting::begin(&clock) else { return };
        let spin = || {
            let waiting = Waiting::begin(&clock).unwrap();
            while clock.now().ns_since(waiting.began) < 300_000_000 {
                std::hint::spin_loop();
            }
            waiting.end()
        };
        let waited: Vec<Waited> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..crowd).map(|_| scope.spawn(spin)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let share = |w: &Waited| w.waited_ns as f64 / w.of_ns as f64;
        let mean = waited.iter().map(share).sum::<f64>() / crowd as f64;
        assert!(mean > 0.4, "four threads on each processor waited {mean:.2} of their time");
        let sleeper = Waiting::begin(&clock).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let slept = sleeper.end();
        assert!(slept.waited_ns <= slept.of_ns);
    }
}
