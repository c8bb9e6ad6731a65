//! Messages in fragments (MS-SMBD 3.1.5.1 and 3.1.5.9): how one is cut, and the account of one that comes. Pure; where the
//! bytes lie is others' business.

use pathproof_api::Tick;

use crate::codec::{DataHeader, PAYLOAD_OFFSET};

/// The headers of a message of `bytes` in fragments that are at most `send_bytes` long each, header included. Only their
/// credits are left open.
pub fn fragments(bytes: u32, send_bytes: u32) -> impl Iterator<Item = DataHeader> {
    let most = send_bytes.saturating_sub(PAYLOAD_OFFSET as u32).max(1);
    let mut left = bytes;
    std::iter::from_fn(move || {
        let now = left.min(most);
        left -= now;
        (now > 0).then(|| DataHeader::fragment(now, left))
    })
}

/// A message that has begun to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reassembly {
    begun: Option<Begun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    remaining: u32,
    at: Tick,
}

/// What a fragment is of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first of it.
    pub first: bool,
    /// The last of it.
    pub last: bool,
}

impl Reassembly {
    /// Books a fragment that has payload; `None`: it does not continue what came before.
    pub fn take(&mut self, header: &DataHeader, now: Tick) -> Option<Part> {
        if let Some(begun) = self.begun {
            let left = begun.remaining.checked_sub(header.payload_bytes)?;
            if header.remaining_bytes != left {
                return None;
            }
        }
        let part = Part { first: self.begun.is_none(), last: header.remaining_bytes == 0 };
        let at = self.begun.map_or(now, |begun| begun.at);
        self.begun = (!part.last).then_some(Begun { remaining: header.remaining_bytes, at });
        Some(part)
    }

    /// Since when a message has been under way, and how many of its bytes are still announced.
    pub fn unfinished(&self) -> Option<(Tick, u32)> {
        self.begun.map(|begun| (begun.at, begun.remaining))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-SMBD 4.3 sends 64 KiB in messages of 1024; 1 MiB in messages of 1364 was counted on the wire.
    #[test]
    fn messages_are_cut_as_the_specification_and_real_peers_cut_them() {
        let cut: Vec<_> = fragments(65_536, 1024).collect();
        assert_eq!((cut.len(), cut[0].payload_bytes, cut[65].payload_bytes), (66, 1000, 536));
        assert_eq!((cut[0].remaining_bytes, cut[65].remaining_bytes), (64_536, 0));
        assert_eq!(fragments(1 << 20, 1364).count(), 783);
        assert_eq!(fragments(1340, 1364).count(), 1);
        assert_eq!(fragments(1341, 1364).count(), 2);
        assert_eq!(fragments(0, 1364).count(), 0);
    }

    #[test]
    fn what_is_cut_comes_together_and_nothing_else_does() {
        let mut cut = fragments(5000, 1364);
        let mut reassembly = Reassembly::default();
        let (first, second) = (cut.next().unwrap(), cut.next().unwrap());
        assert_eq!(reassembly.take(&first, Tick(5)), Some(Part { first: true, last: false }));
        assert_eq!(reassembly.unfinished(), Some((Tick(5), 3660)));
        for wrong in [
            first,
            DataHeader { remaining_bytes: second.remaining_bytes + 1, ..second },
            DataHeader { remaining_bytes: 0, ..second },
            DataHeader { payload_bytes: 3661, remaining_bytes: 0, ..second },
        ] {
            assert_eq!(reassembly.clone().take(&wrong, Tick(6)), None, "{wrong:?}");
        }
        assert_eq!(reassembly.take(&second, Tick(6)), Some(Part { first: false, last: false }));
        assert!(cut.map(|header| reassembly.take(&header, Tick(7)).unwrap()).last().unwrap().last);
        assert_eq!(reassembly.unfinished(), None);
        assert_eq!(
            reassembly.take(&DataHeader::fragment(1, 0), Tick(8)),
            Some(Part { first: true, last: true })
        );
    }
}
