//! A destination and a source that lies to it, message by message.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{Access, Lane, LaneSpec, Offer, Op, Pages, Region, RegionId, Role, Transport};
use pathproof_engine::drive::NoMeter;
use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::wire::{self, SLOT_BYTES, Told};
use pathproof_engine::migrate::copy::{
    CopyError, DEPTH, DestinationLane, DestinationParts, MESSAGE_BYTES, SLOTS, Served, Subject, Turn,
};
use pathproof_sim::{SimNetwork, SimPath, SimTransport};

struct Ends {
    network: Arc<SimNetwork>,
    source: Box<dyn Lane>,
    messages: Arc<Region>,
    id: RegionId,
    served: DestinationLane,
    sent: u64,
}

impl Ends {
    fn new(subject: Subject) -> Ends {
        let network = SimNetwork::new(SimPath::default(), 1);
        let transport = SimTransport::new(network.clone());
        let spec = LaneSpec { depth: DEPTH, message_bytes_max: SLOT_BYTES, ..LaneSpec::default() };
        let mut prepared = [Role::Dial, Role::Accept].map(|role| transport.prepare(role, &spec).unwrap());
        let regions = [(); 2].map(|()| Arc::new(Region::new(MESSAGE_BYTES, Pages::Small).unwrap()));
        let mut ids = [RegionId(0); 2];
        for ((lane, region), id) in prepared.iter_mut().zip(&regions).zip(&mut ids) {
            *id = lane.attach(region, Access::Local).unwrap();
        }
        let [source, lane] =
            prepared.map(|end| end.connect(&Offer::default(), Duration::from_secs(1)).unwrap());
        let [messages, theirs] = regions;
        let parts = DestinationParts {
            lane,
            subject,
            messages: (theirs, ids[1]),
            clock: Arc::new(network.clock()),
            meter: Box::new(NoMeter),
        };
        Ends { network, source, messages, id: ids[0], served: DestinationLane::new(parts), sent: 0 }
    }

    fn send(&mut self, message: &[u8]) {
        let offset = self.sent % u64::from(SLOTS) * u64::from(SLOT_BYTES);
        self.messages.copy_in(offset, message).unwrap();
        let op = Op::send(self.sent, self.id, offset, message.len() as u32);
        assert_eq!(self.source.submit(&[op]).unwrap(), 1);
        self.sent += 1;
    }

    fn tell(&mut self, told: &Told) {
        let mut message = vec![];
        told.encode(&mut message);
        self.send(&message);
    }

    /// Turns the destination until it has nothing more to do; how often it worked.
    fn serve(&mut self) -> Result<u32, CopyError> {
        let mut worked = 0;
        for _ in 0..1000 {
            match self.served.turn(Duration::ZERO)? {
                Turn::Worked => worked += 1,
                Turn::Waits(_) if self.network.now().0 > 1_000_000_000 * self.sent => return Ok(worked),
                Turn::Waits(_) => self.network.advance(Duration::from_millis(10)),
                Turn::Done(()) => return Ok(worked),
            }
        }
        panic!("it is never done");
    }

    fn refused(&mut self, says: &str) {
        let error = self.serve().expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

fn zero(pages: std::ops::Range<u64>) -> Told {
    Told::Zero([pages].into())
}

fn guest(pages: u64) -> (Arc<Region>, Subject) {
    let region = Arc::new(Region::new(pages * PAGE_BYTES, Pages::Small).unwrap());
    (region.clone(), Subject::Guest(region, pages))
}

#[test]
fn t20_many_zero_pages_are_cleared_a_piece_at_a_time() {
    let pages = 3 * (16 << 8);
    let (region, subject) = guest(pages);
    region.store_word(0, 7).unwrap();
    region.store_word((pages - 1) * PAGE_BYTES, 7).unwrap();
    let mut ends = Ends::new(subject);
    ends.tell(&zero(0..pages));
    // Between the pieces whoever drives the lane can end it.
    let worked = ends.serve().unwrap();
    assert!(worked >= 3, "{worked} turns for 48 MiB");
    assert!(region.is_zero(0, pages * PAGE_BYTES).unwrap());
    assert_eq!(ends.served.served(), Served { zero_pages: pages, decompress_cpu_ns: 0 });
    ends.tell(&Told::Forget);
    ends.serve().unwrap();
    assert_eq!(ends.served.served(), Served::default(), "it was a measurement");
}

#[test]
fn what_has_no_place_is_refused() {
    let disk = || Subject::Disk(vec![None; 4]);
    let mut ends = Ends::new(guest(8).1);
    ends.tell(&Told::Reached(1));
    ends.refused("an answer where it may only ask");
    let mut ends = Ends::new(disk());
    ends.tell(&zero(0..2));
    ends.refused("a disk has no pages");
    let mut ends = Ends::new(guest(8).1);
    ends.tell(&zero(0..9));
    ends.refused("of a guest with 8");
    let mut ends = Ends::new(guest(8).1);
    ends.send(&[1, 2, 3]);
    ends.refused("cut short");
    let mut message = vec![];
    wire::begin_block(&mut message, 1, 3);
    message.extend([1, 2, 3]);
    let mut ends = Ends::new(guest(8).1);
    ends.send(&message);
    ends.refused("blocks on that of a guest");
    let run = 0..2;
    wire::begin_packed(&mut message, std::slice::from_ref(&run));
    message.extend([0xFF; 8]);
    let mut ends = Ends::new(guest(8).1);
    ends.send(&message);
    ends.refused("compressed pages");
    let mut ends = Ends::new(disk());
    ends.send(&message);
    ends.refused("pages on the lane of a disk");
}

#[test]
fn a_source_that_asks_and_does_not_listen_is_refused() {
    let mut ends = Ends::new(guest(8).1);
    let mut refused = None;
    for number in 0..4 * u64::from(SLOTS) {
        // Nothing is ever received, so no answer leaves.
        ends.tell(&Told::Barrier(number));
        for _ in 0..4 {
            refused = refused.or(ends.served.turn(Duration::ZERO).err());
            ends.network.advance(Duration::from_millis(1));
        }
    }
    let refused = refused.expect("it cannot keep answers without end").to_string();
    assert!(refused.contains("does not listen to the answers"), "{refused}");
}
