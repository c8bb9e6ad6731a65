//! Keys that are lent to the peer for one request each, and what is to be believed of how they ended. Asks nobody anything.
//!
//! A peer that ends a key which it should not have ended is found out here and not believed on anything else: where its data went nobody knows.

use std::collections::VecDeque;
use std::fmt;

use pathproof_api::{Arrival, EndedBy, Invalidated, LoanId};

/// Keys that have ended and are remembered, so that a second end is told from a stranger's.
const REMEMBERED: usize = 64;

/// The loans of one pipe.
pub struct Loans {
    lent: Vec<(LoanId, u32)>,
    ended: VecDeque<u32>,
    /// The device flags keys that end, so what it names without the flag is none.
    flags: bool,
}

/// What a peer did to keys that it may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It ended several with one message.
    Several {
        /// How many.
        count: u32,
        /// The last of them.
        last: u32,
    },
    /// It ended that of another request.
    Another {
        /// Which.
        named: u32,
        /// The one that was to end.
        wanted: u32,
    },
    /// It ended one that had ended already.
    Again(u32),
    /// It ended one that this end never lent.
    Unknown(u32),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Several { count, last } => {
                write!(
                    f,
                    "it ended {count} memory keys with one message, which may end one; the last was {last:#010x}"
                )
            }
            Wrong::Another { named, wanted } => write!(
                f,
                "it ended the memory key {named:#010x} of another request, which may still need it, instead of {wanted:#010x}"
            ),
            Wrong::Again(key) => write!(f, "it ended the memory key {key:#010x} a second time"),
            Wrong::Unknown(key) => write!(f, "it ended the memory key {key:#010x}, which was not lent to it"),
        }
    }
}

impl Default for Loans {
    fn default() -> Loans {
        Loans { lent: vec![], ended: VecDeque::with_capacity(REMEMBERED), flags: false }
    }
}

impl Loans {
    /// A key is lent; it is the peer's until it is taken back.
    pub fn lent(&mut self, id: LoanId, key: u32) {
        // A window comes round to a key that it had long ago.
        self.ended.retain(|ended| *ended != key);
        self.lent.push((id, key));
    }

    /// What of a device's word about an arriving message is to be believed: a key that is named without the flag only where it is known,
    /// and no flag was seen; what else stands in that field is whatever the driver left there.
    pub fn credible(&mut self, said: Invalidated) -> Invalidated {
        match said {
            Invalidated::Flagged(_) => self.flags = true,
            Invalidated::Unflagged(key)
                if !self.flags && (self.is_lent(key) || self.ended.contains(&key)) => {}
            Invalidated::Unflagged(_) | Invalidated::NotReported => return Invalidated::NotReported,
        }
        said
    }

    /// The request of a loan has its answer: who has ended its key. `None`: nothing of that name is lent.
    pub fn take_back(&mut self, id: LoanId, arrival: &Arrival) -> Option<Result<EndedBy, Wrong>> {
        let at = self.lent.iter().position(|(lent, _)| *lent == id)?;
        let (_, wanted) = self.lent.swap_remove(at);
        let verdict = match arrival.invalidated {
            Invalidated::NotReported => Ok(EndedBy::Here),
            Invalidated::Flagged(last) | Invalidated::Unflagged(last) if arrival.endings > 1 => {
                Err(Wrong::Several { count: arrival.endings, last })
            }
            Invalidated::Flagged(named) | Invalidated::Unflagged(named) if named == wanted => {
                Ok(EndedBy::Peer)
            }
            Invalidated::Flagged(named) | Invalidated::Unflagged(named) if self.is_lent(named) => {
                Err(Wrong::Another { named, wanted })
            }
            Invalidated::Flagged(named) | Invalidated::Unflagged(named) if self.ended.contains(&named) => {
                Err(Wrong::Again(named))
            }
            Invalidated::Flagged(named) | Invalidated::Unflagged(named) => Err(Wrong::Unknown(named)),
        };
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(wanted);
        Some(verdict)
    }

    fn is_lent(&self, key: u32) -> bool {
        self.lent.iter().any(|(_, lent)| *lent == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(LoanId, u32); 3] = [(LoanId(0), 0x100), (LoanId(1), 0x200), (LoanId(2), 0x300)];

    fn lent() -> Loans {
        let mut loans = Loans::default();
        KEYS.into_iter().for_each(|(id, key)| loans.lent(id, key));
        loans
    }

    fn arrival(invalidated: Invalidated) -> Arrival {
        let endings = u32::from(invalidated != Invalidated::NotReported);
        Arrival { invalidated, endings, fragments: 1 }
    }

    #[test]
    fn each_answer_ends_the_key_of_its_request_in_whatever_order_they_come() {
        for say in [Invalidated::Flagged, Invalidated::Unflagged] {
            let mut loans = lent();
            for at in [1, 2, 0] {
                let (id, key) = KEYS[at];
                assert_eq!(loans.take_back(id, &arrival(say(key))), Some(Ok(EndedBy::Peer)));
                assert_eq!(loans.take_back(id, &arrival(say(key))), None, "nothing is lent any more");
            }
        }
    }

    #[test]
    fn silence_is_no_proof_of_an_end() {
        let mut loans = lent();
        assert_eq!(loans.take_back(LoanId(0), &Arrival::default()), Some(Ok(EndedBy::Here)));
    }

    #[test]
    fn what_a_peer_may_not_end_is_named() {
        let wrong = |loans: &mut Loans, key| loans.take_back(LoanId(1), &arrival(Invalidated::Flagged(key)));
        assert_eq!(wrong(&mut lent(), 0x300), Some(Err(Wrong::Another { named: 0x300, wanted: 0x200 })));
        assert_eq!(wrong(&mut lent(), 0x400), Some(Err(Wrong::Unknown(0x400))));
        let mut loans = lent();
        assert_eq!(
            loans.take_back(LoanId(0), &arrival(Invalidated::Flagged(0x100))),
            Some(Ok(EndedBy::Peer))
        );
        assert_eq!(wrong(&mut loans, 0x100), Some(Err(Wrong::Again(0x100))));
        let several = Arrival { endings: 2, ..arrival(Invalidated::Flagged(0x300)) };
        assert_eq!(
            loans.take_back(LoanId(2), &several),
            Some(Err(Wrong::Several { count: 2, last: 0x300 })),
            "also where the last one is the right one"
        );
    }

    #[test]
    fn what_a_driver_left_in_the_field_accuses_nobody() {
        let mut loans = lent();
        assert_eq!(loans.credible(Invalidated::Unflagged(0x999)), Invalidated::NotReported);
        assert_eq!(loans.credible(Invalidated::Unflagged(0x200)), Invalidated::Unflagged(0x200));
        assert_eq!(loans.credible(Invalidated::Flagged(0x999)), Invalidated::Flagged(0x999));
        assert_eq!(
            loans.credible(Invalidated::Unflagged(0x200)),
            Invalidated::NotReported,
            "a device that has the flag sets it"
        );
    }

    #[test]
    fn a_key_that_comes_round_again_is_lent_and_no_old_one() {
        let mut loans = lent();
        let flagged = arrival(Invalidated::Flagged(0x100));
        assert_eq!(loans.take_back(LoanId(0), &flagged), Some(Ok(EndedBy::Peer)));
        loans.lent(LoanId(0), 0x100);
        assert_eq!(loans.take_back(LoanId(0), &flagged), Some(Ok(EndedBy::Peer)));
        // However long it goes on, no more is kept than so much.
        for key in 0..1000 {
            loans.lent(LoanId(9), key);
            assert!(loans.take_back(LoanId(9), &Arrival::default()).is_some());
        }
        assert_eq!((loans.ended.len(), loans.lent.len()), (REMEMBERED, 2));
    }
}
