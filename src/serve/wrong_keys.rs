//! Slows down whoever tries keys: per address, and for IPv6 also per /64, in bounded memory.
//!
//! It never looks at how many wrong keys came from elsewhere, so nobody can slow down others. The arithmetic of what can be
//! guessed in spite of it stands in `docs/PROTOCOL.md`, section 2.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use pathproof_sys::clock::Tick;

use super::origin::Origin;

/// The longest wait after one more wrong key.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// After so long without a wrong key all is forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// Origins remembered at most.
const ORIGINS_MAX: usize = 4096;

struct Mark {
    wrong: u32,
    last: Tick,
    until: Tick,
}

/// The wrong keys of late.
#[derive(Default)]
pub struct WrongKeys {
    marks: HashMap<Origin, Mark>,
}

/// What counts the wrong keys of an address, and how many are free of a wait: people mistype, and a /64 may hold many.
fn counters(address: IpAddr) -> impl Iterator<Item = (Origin, u32)> {
    let address = address.to_canonical();
    let network = address.is_ipv6().then(|| (Origin::of(address), 16));
    std::iter::once((Origin::Address(address), 2)).chain(network)
}

impl WrongKeys {
    /// How long this address has yet to wait before its next key is looked at.
    pub fn wait(&self, address: IpAddr, now: Tick) -> Option<Duration> {
        let left =
            counters(address).filter_map(|(origin, _)| Some(self.marks.get(&origin)?.until.since(now)));
        left.max().filter(|left| !left.is_zero())
    }

    /// A wrong key came from this address.
    pub fn count(&mut self, address: IpAddr, now: Tick) {
        for (origin, free) in counters(address) {
            if self.marks.len() >= ORIGINS_MAX && !self.marks.contains_key(&origin) {
                let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.last).map(|(origin, _)| *origin);
                oldest.and_then(|origin| self.marks.remove(&origin));
            }
            let mark = self.marks.entry(origin).or_insert(Mark { wrong: 0, last: now, until: now });
            if now.since(mark.last) > MEMORY {
                mark.wrong = 0;
            }
            mark.wrong = mark.wrong.saturating_add(1);
            mark.last = now;
            let doublings = mark.wrong.saturating_sub(free);
            if doublings > 0 {
                // 1 s, 2 s, 4 s, … and no overflow on the way.
                let wait = Duration::from_secs(1 << (doublings - 1).min(16)).min(WAIT_MAX);
                mark.until = now + wait;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many keys one can try within `time` when each is tried as soon as it is looked at.
    fn guesses(keys: &mut WrongKeys, mut next: impl FnMut() -> IpAddr, time: Duration) -> u32 {
        let start = Tick(0);
        let (mut now, mut tried) = (start, 0);
        while now < start + time {
            let from = next();
            match keys.wait(from, now) {
                Some(wait) => now = now + wait,
                None => {
                    keys.count(from, now);
                    tried += 1;
                }
            }
        }
        tried
    }

    #[test]
    fn t5_an_address_has_about_one_guess_a_minute_and_a_64_hardly_more() {
        let day = Duration::from_secs(86_400);
        let one = guesses(&mut WrongKeys::default(), || address("10.0.0.1"), day);
        assert!((1440..1460).contains(&one), "{one}");
        let mut host = 0u16;
        let hop = || {
            host = host.wrapping_add(1);
            address(&format!("fd00:1::{host:x}"))
        };
        let many = guesses(&mut WrongKeys::default(), hop, day);
        assert!((1440..1480).contains(&many), "{many}");
    }

    #[test]
    fn two_mistakes_are_free_and_others_are_not_slowed() {
        let (mut keys, now) = (WrongKeys::default(), Tick(0));
        let (typist, other) = (address("fd00:1::1"), address("fd00:1::2"));
        keys.count(typist, now);
        keys.count(typist, now);
        assert_eq!(keys.wait(typist, now), None);
        for _ in 0..8 {
            keys.count(typist, now);
        }
        assert_eq!(keys.wait(typist, now), Some(WAIT_MAX));
        assert_eq!(keys.wait(other, now), None, "a neighbour");
        assert_eq!(keys.wait(address("10.0.0.2"), now), None);
        let later = now + MEMORY + Duration::from_secs(1);
        keys.count(typist, later);
        assert_eq!(keys.wait(typist, later), None, "forgotten after ten minutes");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_tried_last() {
        let (mut keys, now) = (WrongKeys::default(), Tick(0));
        for n in 0..2 * ORIGINS_MAX as u32 {
            keys.count(IpAddr::V4(n.into()), now + Duration::from_millis(n.into()));
        }
        assert_eq!(keys.marks.len(), ORIGINS_MAX);
        let last = IpAddr::V4((2 * ORIGINS_MAX as u32 - 1).into());
        assert!(keys.marks.contains_key(&Origin::Address(last)));
    }
}
