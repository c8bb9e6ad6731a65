//! What the ends of a migration tell each other: a lie about pages, blocks or lengths is refused, and compressed pages are
//! placed inside the guest or not at all.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pathproof_api::{Pages, Region};
use pathproof_engine::migrate::copy::{pack, wire};

/// Pages of the guest, and one behind it that nobody may write.
const PAGES: u64 = 64;
const PAGE_BYTES: u64 = 4096;

thread_local! {
    static GUEST: (Region, RefCell<Vec<u8>>) =
        (Region::new((PAGES + 1) * PAGE_BYTES, Pages::Small).expect("a small region"), RefCell::default());
}

fuzz_target!(|bytes: &[u8]| {
    let inside = |range: &std::ops::Range<u64>| assert!(range.start <= range.end && range.end <= PAGES, "{range:?}");
    match wire::payload(bytes, PAGES) {
        Some(Ok(wire::Payload::Block { block, .. })) => assert!(block < PAGES),
        Some(Ok(wire::Payload::Packed { runs, bytes })) => {
            runs.iter().for_each(inside);
            GUEST.with(|(guest, plain)| {
                let _ = pack::unpack(guest, &runs, bytes, &mut plain.borrow_mut());
                assert!(guest.is_zero(PAGES * PAGE_BYTES, PAGE_BYTES).expect("inside"), "memory behind the guest");
            });
        }
        _ => {}
    }
    if let Ok(told) = wire::Told::decode(bytes, PAGES) {
        match &told {
            wire::Told::Zero(ranges) => ranges.iter().for_each(inside),
            wire::Told::Hash(range) => inside(range),
            wire::Told::Hashes { first, hashes } => inside(&(*first..first + hashes.len() as u64)),
            _ => {}
        }
        let mut again = vec![];
        if bytes.len() <= wire::SLOT_BYTES as usize {
            told.encode(&mut again);
            assert_eq!(wire::Told::decode(&again, PAGES), Ok(told));
        }
    }
});
