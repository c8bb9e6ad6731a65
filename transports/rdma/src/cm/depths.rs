//! How many RDMA READs a foreign peer serves and issues at once, and what that leaves of ours. It refuses to take a number for more than a
//! bound: a peer that names thousands gets no deeper queues for it.

use super::Terms;

/// More than any peer has: enhanced MPA has 14 bits for each (RFC 6581, 6).
const DEPTH_MAX: u32 = u16::MAX as u32;

/// The depths of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depths {
    /// READs towards it that it serves at once (its IRD).
    pub serves: u8,
    /// READs that it issues at once (its ORD).
    pub issues: u8,
}

impl Depths {
    /// What SMB Direct has an iWARP peer say in its private data, where MPA does not exchange depths (MS-SMBD 3.1.4.2): two words. ksmbd writes
    /// them in network order, and cifs.ko of Linux 6.12 in that of its processor (`20000000 01000000` in `cifs-foreign-initiator-siw.txt`): but
    /// for zero no number that makes sense in one order does in the other. `None`: it is something else.
    pub(super) fn said_in(private_data: &[u8]) -> Option<Depths> {
        let [a, b, c, d, e, f, g, h] = *private_data else { return None };
        let words = [[a, b, c, d], [e, f, g, h]];
        let (network, reversed) = (words.map(u32::from_be_bytes), words.map(u32::from_le_bytes));
        let makes_sense = |words: &[u32; 2]| words.iter().all(|word| *word <= DEPTH_MAX);
        let words = if !makes_sense(&network) && makes_sense(&reversed) { reversed } else { network };
        let [serves, issues] = words.map(|word| u8::try_from(word).unwrap_or(u8::MAX));
        Some(Depths { serves, issues })
    }

    /// Ours, no deeper than these. Zero is no wish: software devices serve reads all the same.
    pub(super) fn bound(self, terms: Terms) -> Terms {
        let least = |ours: u8, theirs: u8| if theirs == 0 { ours } else { ours.min(theirs) };
        Terms {
            responder_depth: least(terms.responder_depth, self.issues),
            initiator_depth: least(terms.initiator_depth, self.serves),
            ..terms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: [[u8; 4]; 2]) -> Option<(u8, u8)> {
        Depths::said_in(&words.concat()).map(|depths| (depths.serves, depths.issues))
    }

    #[test]
    fn both_orders_of_bytes_are_read() {
        // The prototype's request and ksmbd's answer to it; cifs.ko's request.
        assert_eq!(said([[0, 0, 0, 0x10], [0, 0, 0, 1]]), Some((16, 1)));
        assert_eq!(said([[0, 0, 0, 1], [0, 0, 0, 8]]), Some((1, 8)));
        assert_eq!(said([[0x20, 0, 0, 0], [1, 0, 0, 0]]), Some((32, 1)));
        // One word alone does not tell; the other one does.
        assert_eq!(said([[0, 0, 0, 0], [1, 0, 0, 0]]), Some((0, 1)));
        // As deep as can be said, and what no order makes sense of.
        assert_eq!(said([[0, 0, 1, 0], [0, 0, 0xFF, 0xFF]]), Some((255, 255)));
        assert_eq!(said([[1, 0, 0, 1], [0, 0, 0, 2]]), Some((255, 2)));
    }

    #[test]
    fn what_is_no_pair_of_words_is_left_alone() {
        // A lane's secret; nothing; RoCE's zeroes.
        for other in [&[7; 32][..], &[], &[0; 56], &[0; 7], &[0; 9]] {
            assert_eq!(Depths::said_in(other), None, "{} bytes", other.len());
        }
    }

    #[test]
    fn a_peer_makes_ours_no_deeper_and_zero_changes_nothing() {
        let ours = Terms {
            responder_depth: 16,
            initiator_depth: 8,
            ack_timeout_exponent: 14,
            retry_count: 6,
            rnr_retry_count: 0,
            traffic_class: None,
        };
        let with = |serves, issues| {
            let terms = Depths { serves, issues }.bound(ours);
            (terms.responder_depth, terms.initiator_depth)
        };
        assert_eq!(with(32, 1), (1, 8));
        assert_eq!(with(1, 8), (8, 1));
        assert_eq!(with(0, 0), (16, 8));
        assert_eq!(with(255, 255), (16, 8));
    }
}
