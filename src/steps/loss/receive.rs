//! Counts what arrives, on a thread of its own.

use std::net::IpAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_dgram::PacedListener;
use pathproof_engine::loss::{Schedule, Tally};
use pathproof_model::{DelayVariation, ReceivedStrand};

use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::Ending;

/// What arrived over one path.
pub struct Counted {
    pub strands: Vec<ReceivedStrand>,
    pub overflowed: u64,
    pub delay_variation_ns: Option<DelayVariation>,
    pub last_router: Option<IpAddr>,
    /// Questions of the other end that came over it.
    pub questions: Option<u64>,
    /// Those whose padding was not as sent.
    pub changed: u64,
}

/// Reads of one socket before the others have theirs: bounded, so that a flood on one starves neither the others nor the end.
const READS: usize = 1024;
/// The same of a receiver that has slept, with which a good deal waits.
const READS_AFTER_SLEEP: usize = 1 << 16;

/// Counts until the end comes: for each of `paths`, the listener that belongs to it and the address that it comes from. With `sleeps` it
/// looks only every so often, whatever has come. `None` where no thread can be had.
pub fn spawn(
    mut listeners: Vec<PacedListener>,
    paths: Vec<(usize, IpAddr)>,
    schedule: Schedule,
    clock: &RealClock,
    ending: Ending,
    sleeps: Option<Duration>,
) -> Option<JoinHandle<Vec<Counted>>> {
    let clock = clock.clone();
    let count = move || {
        let mut tallies: Vec<Tally> = paths.iter().map(|_| Tally::new(&schedule)).collect();
        loop {
            // Who sleeps is woken by the end alone.
            let (descriptors, reads): (Vec<_>, usize) = match sleeps {
                None => (listeners.iter().map(|listener| listener.descriptor()).collect(), READS),
                Some(_) => (vec![], READS_AFTER_SLEEP),
            };
            if !ending.wait_readable(&descriptors, sleeps).unwrap_or(false) {
                break;
            }
            for (number, listener) in listeners.iter_mut().enumerate() {
                for _ in 0..reads {
                    let Some(arrival) = listener.next_arrival() else { break };
                    let from = arrival.from.ip().to_canonical();
                    let path = paths.iter().position(|path| *path == (number, from));
                    if let Some(tally) = path.and_then(|path| tallies.get_mut(path)) {
                        let paced = arrival.paced;
                        let at = Tick(clock.now().0.saturating_sub(arrival.lay.as_nanos() as u64));
                        let of = (paced.strand, paced.seq, u32::from(paced.ip_bytes));
                        tally.on_arrival(of, arrival.class, paced.sent_ns, at);
                        if arrival.changed {
                            tally.on_changed();
                        }
                    }
                }
            }
        }
        let counted = tallies.into_iter().zip(&paths).map(|(tally, (listener, from))| {
            let changed = tally.changed();
            let (strands, delay_variation_ns) = tally.ended();
            let listener = listeners.get(*listener);
            let overflowed = listener.map_or(0, |listener| u64::from(listener.overflowed()));
            let last_router = listener.and_then(|listener| listener.last_router(*from));
            let questions = listener.map(|listener| listener.challenges(*from));
            Counted { strands, overflowed, delay_variation_ns, last_router, questions, changed }
        });
        counted.collect()
    };
    std::thread::Builder::new().name("datagrams".into()).spawn(count).ok()
}

#[cfg(test)]
mod tests {
    use pathproof_dgram::wire::ProbeKey;
    use pathproof_model::LossSpec;
    use pathproof_sys::{ending, thread};

    use super::*;

    #[test]
    fn who_counts_what_does_not_come_sleeps_until_the_end_of_the_step() {
        let (here, key) = (IpAddr::from([127, 0, 0, 1]), ProbeKey::new([3; 32]));
        let listener = PacedListener::open(here, None, key).unwrap();
        let (ender, ending) = ending::pair().unwrap();
        let schedule = Schedule::new(&LossSpec::default());
        let counting =
            spawn(vec![listener], vec![(0, here)], schedule, &RealClock::new(), ending, None).unwrap();
        assert!(thread::sleeps_within("datagrams", Duration::from_millis(300)) <= 2);
        drop(ender);
        assert_eq!(counting.join().unwrap().len(), 1);
    }
}
