//! Counts what arrives, on a thread of its own.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_dgram::{PacedListener, wait_readable};
use pathproof_engine::loss::{Schedule, Tally};
use pathproof_model::{DelayVariation, ReceivedStrand};

use pathproof_sys::clock::RealClock;

/// How often a waiting thread looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// What arrived over one path.
pub struct Counted {
    pub strands: Vec<ReceivedStrand>,
    pub overflowed: u64,
    pub delay_variation_ns: Option<DelayVariation>,
}

/// Counts until `stop` is set: for each of `paths`, the listener that belongs to it and the address that it comes from.
/// `None` where no thread can be had.
pub fn spawn(
    mut listeners: Vec<PacedListener>,
    paths: Vec<(usize, IpAddr)>,
    schedule: Schedule,
    clock: &RealClock,
    stop: Arc<AtomicBool>,
) -> Option<JoinHandle<Vec<Counted>>> {
    let clock = clock.clone();
    let count = move || {
        let mut tallies: Vec<Tally> = paths.iter().map(|_| Tally::new(&schedule)).collect();
        while !stop.load(Ordering::Relaxed) {
            let descriptors: Vec<_> = listeners.iter().map(|listener| listener.as_fd()).collect();
            if wait_readable(&descriptors, STOP_CHECK).is_err() {
                break;
            }
            for (number, listener) in listeners.iter_mut().enumerate() {
                // Bounded, so that a flood on one socket starves neither the others nor the stop flag.
                for _ in 0..1024 {
                    let Some(arrival) = listener.next_arrival() else { break };
                    let from = arrival.from.ip().to_canonical();
                    let path = paths.iter().position(|path| *path == (number, from));
                    if let Some(tally) = path.and_then(|path| tallies.get_mut(path)) {
                        let paced = arrival.paced;
                        let at = Tick(clock.now().0.saturating_sub(arrival.lay.as_nanos() as u64));
                        tally.on_arrival(paced.strand, paced.seq, arrival.class, paced.sent_ns, at);
                    }
                }
            }
        }
        let counted = tallies.into_iter().zip(&paths).map(|(tally, (listener, _))| {
            let (strands, delay_variation_ns) = tally.ended();
            let overflowed = listeners.get(*listener).map_or(0, |listener| u64::from(listener.overflowed()));
            Counted { strands, overflowed, delay_variation_ns }
        });
        counted.collect()
    };
    std::thread::Builder::new().name("datagrams".into()).spawn(count).ok()
}
