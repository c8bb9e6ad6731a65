//! What lanes have done so far, for who looks at a step while it runs.
//!
//! A lane writes its figures down where it takes its samples, ten times a second; nothing is added to an operation, and nobody
//! waits for anybody. [`Pace`] makes figures of a second of them, each lane's by the lane's own clock reads: a stall shows in
//! the second in which it was. It refuses to guess: what no lane has said yet is unknown, and not zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam_utils::CachePadded;
use pathproof_api::Tick;
use pathproof_model::stream::{FlowSample, RoundTripBy};

/// How often figures are made, in ns.
pub const SECOND_NS: u64 = 1_000_000_000;
/// While figures are written, and before the first are.
const NONE: u64 = 0;

/// What a lane had done at a moment of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveFigures {
    /// That moment.
    pub at: Tick,
    /// Payload sent within the window.
    pub sent_bytes: u64,
    /// Payload received.
    pub received_bytes: u64,
    /// Messages completed.
    pub messages: u64,
    /// The kernel's round trip, where it tells one.
    pub rtt_ns: Option<u64>,
}

/// The same, written by one thread and read by another.
#[derive(Debug, Default)]
struct Slot {
    at: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    messages: AtomicU64,
    /// One more than the round trip; 0 is unknown.
    rtt_ns: AtomicU64,
}

/// Where one lane writes.
#[derive(Debug)]
pub struct LivePlace {
    slots: Arc<[CachePadded<Slot>]>,
    lane: usize,
}

impl LivePlace {
    /// Writes down how far the lane is. Takes no lock: a reader that comes meanwhile sees that, and reads the next time.
    pub(super) fn publish(&self, now: &LiveFigures) {
        let slot = &*self.slots[self.lane];
        slot.at.store(NONE, Ordering::Relaxed);
        // What follows is not seen before that store is.
        fence(Ordering::Release);
        slot.sent_bytes.store(now.sent_bytes, Ordering::Relaxed);
        slot.received_bytes.store(now.received_bytes, Ordering::Relaxed);
        slot.messages.store(now.messages, Ordering::Relaxed);
        slot.rtt_ns.store(now.rtt_ns.map_or(0, |rtt| rtt.saturating_add(1)), Ordering::Relaxed);
        slot.at.store(now.at.0.max(NONE + 1), Ordering::Release);
    }
}

impl Drop for LivePlace {
    /// A lane that is through has no figures any more.
    fn drop(&mut self) {
        self.slots[self.lane].at.store(NONE, Ordering::Release);
    }
}

fn read(slot: &Slot) -> Option<LiveFigures> {
    let at = slot.at.load(Ordering::Acquire);
    let figures = LiveFigures {
        at: Tick(at),
        sent_bytes: slot.sent_bytes.load(Ordering::Relaxed),
        received_bytes: slot.received_bytes.load(Ordering::Relaxed),
        messages: slot.messages.load(Ordering::Relaxed),
        rtt_ns: slot.rtt_ns.load(Ordering::Relaxed).checked_sub(1),
    };
    fence(Ordering::Acquire);
    (at != NONE && slot.at.load(Ordering::Relaxed) == at).then_some(figures)
}

/// A lane as far as its figures are made by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLane {
    /// Number of its flow.
    pub flow: usize,
    /// It has one exchange under way at any time, so that their number tells how long they take.
    pub exchanges: bool,
}

/// The reader's side: what each flow did in the last second.
#[derive(Debug)]
pub struct Pace {
    slots: Arc<[CachePadded<Slot>]>,
    lanes: Vec<LiveLane>,
    /// Names of the flows, where there are several.
    names: Vec<Option<String>>,
    before: Vec<Option<LiveFigures>>,
    due: Tick,
}

/// What the lanes of a flow add up to.
#[derive(Clone, Copy, Default)]
struct Sum {
    known: bool,
    sent: f64,
    received: f64,
    messages: f64,
    /// Lanes with one exchange under way, and the exchanges that they made in a second.
    exchanging: f64,
    exchanges: f64,
    rtt_ns: Option<u64>,
}

impl Pace {
    /// For `lanes` of the flows that `names` names, with the place of each lane.
    pub fn new(lanes: Vec<LiveLane>, names: Vec<Option<String>>) -> (Pace, Vec<LivePlace>) {
        let slots: Arc<[CachePadded<Slot>]> =
            std::iter::repeat_with(CachePadded::default).take(lanes.len()).collect();
        let places = (0..lanes.len()).map(|lane| LivePlace { slots: slots.clone(), lane }).collect();
        let before = vec![None; lanes.len()];
        (Pace { slots, lanes, names, before, due: Tick(0) }, places)
    }

    /// The last second of each flow that has begun, in their order; `None` until a second is over since the figures before.
    pub fn look(&mut self, now: Tick) -> Option<Vec<FlowSample>> {
        if now < self.due {
            return None;
        }
        self.due = now.plus_ns(SECOND_NS);
        let mut sums = vec![Sum::default(); self.names.len()];
        for ((slot, lane), before) in self.slots.iter().zip(&self.lanes).zip(&mut self.before) {
            let (Some(figures), Some(sum)) = (read(slot), sums.get_mut(lane.flow)) else { continue };
            if let Some(then) = before.replace(figures) {
                sum.add(lane, &then, &figures);
            }
        }
        let samples: Vec<FlowSample> =
            sums.iter().zip(&self.names).filter_map(|(sum, name)| sum.sample(name.clone())).collect();
        (!samples.is_empty()).then_some(samples)
    }
}

impl Sum {
    fn add(&mut self, lane: &LiveLane, then: &LiveFigures, now: &LiveFigures) {
        self.known = true;
        self.rtt_ns = self.rtt_ns.max(now.rtt_ns);
        if lane.exchanges {
            self.exchanging += 1.0;
        }
        // A lane that has not come round since has done nothing since.
        let seconds = now.at.ns_since(then.at) as f64 / SECOND_NS as f64;
        if seconds <= 0.0 {
            return;
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        self.sent += 8.0 * rate(now.sent_bytes, then.sent_bytes);
        self.received += 8.0 * rate(now.received_bytes, then.received_bytes);
        let messages = rate(now.messages, then.messages);
        self.messages += messages;
        if lane.exchanges {
            self.exchanges += messages;
        }
    }

    fn sample(&self, name: Option<String>) -> Option<FlowSample> {
        let exchange_ns = (self.exchanges > 0.0)
            .then(|| (self.exchanging / self.exchanges * SECOND_NS as f64) as u64)
            .map(|ns| (ns, RoundTripBy::Exchanges));
        let kernel = self.rtt_ns.filter(|_| self.exchanging == 0.0).map(|ns| (ns, RoundTripBy::Kernel));
        let round_trip = exchange_ns.or(kernel);
        self.known.then(|| FlowSample {
            name,
            sent_bits_per_s: Some(self.sent as u64),
            received_bits_per_s: Some(self.received as u64),
            messages_per_s: Some(self.messages as u64),
            round_trip_ns: round_trip.map(|(ns, _)| ns),
            round_trip_by: round_trip.map(|(_, by)| by),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    fn figures(at_ms: u64, bytes: u64, messages: u64) -> LiveFigures {
        let at = Tick(at_ms * 1_000_000);
        LiveFigures { at, sent_bytes: bytes, messages, rtt_ns: Some(40_000), ..LiveFigures::default() }
    }

    fn lane(flow: usize, exchanges: bool) -> LiveLane {
        LiveLane { flow, exchanges }
    }

    #[test]
    fn lanes_are_added_up_each_by_its_own_clock() {
        let (mut pace, places) = Pace::new(vec![lane(0, false), lane(0, false)], vec![None]);
        assert_eq!(pace.look(Tick(S)), None, "nobody has begun");
        places[0].publish(&figures(1000, 0, 0));
        places[1].publish(&figures(1000, 0, 0));
        assert_eq!(pace.look(Tick(2 * S)), None, "one reading tells no rate");
        // 1000 bytes in 0.9 s, and 2000 bytes in 1 s.
        places[0].publish(&figures(1900, 900, 9));
        places[1].publish(&figures(2000, 2000, 20));
        assert_eq!(pace.look(Tick(3 * S - 1)), None, "the second is not over");
        let sample = pace.look(Tick(3 * S)).unwrap();
        assert_eq!(sample.len(), 1);
        assert_eq!(sample[0].sent_bits_per_s, Some(8 * 3000));
        assert_eq!((sample[0].received_bits_per_s, sample[0].messages_per_s), (Some(0), Some(30)));
        assert_eq!(sample[0].round_trip_ns, Some(40_000));
        assert_eq!(sample[0].round_trip_by, Some(RoundTripBy::Kernel));
        // One of them hangs: it has done nothing, which is known.
        places[0].publish(&figures(2900, 1900, 19));
        assert_eq!(pace.look(Tick(4 * S)).unwrap()[0].sent_bits_per_s, Some(8000));
    }

    #[test]
    fn exchanges_tell_the_round_trip_and_flows_are_kept_apart() {
        let names = vec![Some("storage".to_owned()), Some("heartbeat".to_owned())];
        let (mut pace, places) = Pace::new(vec![lane(0, false), lane(1, true)], names);
        places[1].publish(&figures(1000, 0, 0));
        assert_eq!(pace.look(Tick(S)), None);
        places[1].publish(&figures(2000, 64_000, 1000));
        let sample = pace.look(Tick(2 * S)).unwrap();
        assert_eq!(sample.len(), 1, "the other one has not begun");
        assert_eq!(sample[0].name.as_deref(), Some("heartbeat"));
        assert_eq!((sample[0].round_trip_ns, sample[0].messages_per_s), (Some(1_000_000), Some(1000)));
        assert_eq!(sample[0].round_trip_by, Some(RoundTripBy::Exchanges));
        // A lane that is through is not one that hangs.
        let (mut over, mut places_over) = Pace::new(vec![lane(0, false)], vec![None]);
        places_over[0].publish(&figures(1000, 0, 0));
        assert_eq!(over.look(Tick(S)), None);
        places_over.clear();
        assert_eq!(over.look(Tick(2 * S)), None);
        // No exchange came back for a second: the kernel's round trip is not told in its place.
        let sample = pace.look(Tick(3 * S)).unwrap();
        assert_eq!((sample[0].round_trip_ns, sample[0].messages_per_s), (None, Some(0)));
    }

    #[test]
    fn a_reader_never_sees_half_of_what_is_written() {
        let (pace, mut places) = Pace::new(vec![lane(0, false)], vec![None]);
        let place = places.remove(0);
        let writer = std::thread::spawn(move || {
            for n in 1..200_000u64 {
                let figures = LiveFigures {
                    at: Tick(n),
                    sent_bytes: n,
                    received_bytes: n,
                    messages: n,
                    rtt_ns: Some(n),
                };
                place.publish(&figures);
            }
            // A lane that is through takes its figures with it.
            place
        });
        while !writer.is_finished() {
            if let Some(figures) = read(&pace.slots[0]) {
                let n = figures.at.0;
                assert_eq!((figures.sent_bytes, figures.received_bytes, figures.messages), (n, n, n));
                assert_eq!(figures.rtt_ns, Some(n));
            }
        }
        let place = writer.join().unwrap();
        assert_eq!(read(&pace.slots[0]).map(|figures| figures.messages), Some(199_999));
        drop(place);
        assert_eq!(read(&pace.slots[0]), None);
    }
}
