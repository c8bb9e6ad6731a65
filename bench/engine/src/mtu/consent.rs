//! Whom to ask for consent before probing: which challenge to send when, and when to give up.
//!
//! The peer names its addresses, and nobody has to believe it: it might name a third host's. So an address that has
//! not answered sees at most [`STRANGER_CHALLENGES`] challenges, whatever the number of NICs that lead there, and
//! nothing else. Each pair of addresses needs a consent of its own, because two NICs may lead to two hosts that use
//! the same address; once an address has answered over one pair, the others may ask as often as loss makes advisable.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pathproof_api::Tick;

/// Challenges that an address sees which has not answered any.
pub const STRANGER_CHALLENGES: u32 = 3;
/// Challenges over one pair to an address that is known to be the peer's.
const PEER_CHALLENGES: u32 = 8;
/// When the challenges to a stranger are due.
const STRANGER_AT_NS: [u64; STRANGER_CHALLENGES as usize] = [0, 80_000_000, 200_000_000];
/// Time between two challenges to the peer.
const PEER_GAP_NS: u64 = 50_000_000;
/// How long after the last challenge a consent may still come.
const PATIENCE_NS: u64 = 400_000_000;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Send a challenge over the pair of this index.
    Challenge(usize),
    /// Wait for consent, at most until this tick.
    WaitUntil(Tick),
    /// All have answered, or will not.
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    to: IpAddr,
    ought: bool,
    sent: u32,
    last: Tick,
    over: bool,
}

/// The state of all pairs.
#[derive(Clone, Debug)]
pub struct Consent {
    pairs: Vec<Pair>,
    /// Addresses that have answered something that only the peer can answer.
    proven: BTreeSet<IpAddr>,
    started: Option<Tick>,
}

impl Consent {
    /// To ask over each of `pairs`: where it leads to, and whether it ought to. `known` has answered the key handshake of
    /// the session.
    pub fn new(pairs: impl IntoIterator<Item = (IpAddr, bool)>, known: IpAddr) -> Consent {
        let pair = |(to, ought)| Pair { to, ought, sent: 0, last: Tick(0), over: false };
        Consent {
            pairs: pairs.into_iter().map(pair).collect(),
            proven: BTreeSet::from([known]),
            started: None,
        }
    }

    /// The other end of a pair has consented.
    pub fn on_consent(&mut self, index: usize) {
        if let Some(pair) = self.pairs.get_mut(index) {
            pair.over = true;
            self.proven.insert(pair.to);
        }
    }

    /// A pair cannot be asked over: this host refuses to send.
    pub fn on_failure(&mut self, index: usize) {
        if let Some(pair) = self.pairs.get_mut(index) {
            pair.over = true;
        }
    }

    /// Challenges sent over a pair.
    pub fn sent(&self, index: usize) -> u32 {
        self.pairs.get(index).map_or(0, |pair| pair.sent)
    }

    /// What to do at `now`. Call again after every challenge, every consent and every wait.
    pub fn poll(&mut self, now: Tick) -> Ask {
        let started = *self.started.get_or_insert(now);
        let mut next: Option<Tick> = None;
        for index in 0..self.pairs.len() {
            let Some(due) = self.due(index, started, now) else { continue };
            if due.challenge && due.at <= now {
                let pair = &mut self.pairs[index];
                (pair.sent, pair.last) = (pair.sent + 1, now);
                return Ask::Challenge(index);
            }
            if due.at > now {
                next = Some(next.map_or(due.at, |next| next.min(due.at)));
            }
        }
        next.map_or(Ask::Done, Ask::WaitUntil)
    }

    /// What is due over a pair, and when; `None` when it is settled.
    fn due(&self, index: usize, started: Tick, now: Tick) -> Option<Due> {
        let pair = self.pairs[index];
        if pair.over {
            return None;
        }
        if self.proven.contains(&pair.to) {
            return Some(match pair.sent {
                0 => Due { at: now, challenge: true },
                PEER_CHALLENGES.. => Due { at: pair.last.plus_ns(PATIENCE_NS), challenge: false },
                _ => Due { at: pair.last.plus_ns(PEER_GAP_NS), challenge: true },
            });
        }
        // All pairs that lead to this address share its challenges; those that ought to reach it go first.
        let same = || self.pairs.iter().enumerate().filter(move |(_, other)| other.to == pair.to);
        let sent: u32 = same().map(|(_, other)| other.sent).sum();
        let Some(at) = STRANGER_AT_NS.get(sent as usize) else {
            let last = same().map(|(_, other)| other.last).max().unwrap_or(started);
            return Some(Due { at: last.plus_ns(PATIENCE_NS), challenge: false });
        };
        let ought: Vec<usize> = same().filter(|(_, o)| o.ought && !o.over).map(|(at, _)| at).collect();
        let any: Vec<usize> = same().filter(|(_, o)| !o.over).map(|(at, _)| at).collect();
        let turns = if ought.is_empty() { &any } else { &ought };
        let turn = turns[sent as usize % turns.len()] == index;
        Some(Due { at: started.plus_ns(*at), challenge: turn })
    }
}

struct Due {
    at: Tick,
    challenge: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Runs to the end; those in `answers` consent after `rtt_ns`. Returns the challenges as (ms, pair), and the end in ms.
    fn run(mut consent: Consent, answers: &[usize], rtt_ns: u64) -> (Vec<(u64, usize)>, u64) {
        let (mut now, mut sent, mut coming) = (Tick(0), Vec::new(), Vec::<(Tick, usize)>::new());
        loop {
            coming.retain(|(at, index)| {
                if *at <= now {
                    consent.on_consent(*index);
                }
                *at > now
            });
            match consent.poll(now) {
                Ask::Challenge(index) => {
                    sent.push((now.0 / MS, index));
                    if answers.contains(&index) {
                        coming.push((now.plus_ns(rtt_ns), index));
                    }
                }
                Ask::WaitUntil(until) => {
                    assert!(until > now, "a wait that is none at {now:?}");
                    now = coming.iter().map(|(at, _)| *at).min().map_or(until, |at| at.min(until));
                }
                Ask::Done => return (sent, now.0 / MS),
            }
        }
    }

    #[test]
    fn a_stranger_sees_three_challenges_whatever_the_number_of_nics() {
        for nics in 1..10 {
            let pairs = (0..nics).map(|nic| (ip(9), nic % 2 == 0));
            let (sent, end) = run(Consent::new(pairs, ip(1)), &[], MS);
            assert_eq!(sent.len(), 3, "{nics} NICs");
            assert!(end <= 600, "{end} ms");
        }
    }

    #[test]
    fn one_answer_is_enough_and_the_other_pairs_ask_for_themselves() {
        // Over NICs 0 and 1 to one address: it answers over 1 only.
        let (sent, _) = run(Consent::new([(ip(9), true), (ip(9), true)], ip(1)), &[1], MS);
        assert_eq!(sent[..2], [(0, 0), (80, 1)]);
        let over = |nic| sent.iter().filter(|(_, index)| *index == nic).count();
        assert_eq!((over(0), over(1)), (8, 1));
    }

    #[test]
    fn pairs_that_ought_to_reach_an_address_go_first() {
        let (sent, _) = run(Consent::new([(ip(9), false), (ip(9), true)], ip(1)), &[], MS);
        assert!(sent.iter().all(|(_, index)| *index == 1), "{sent:?}");
    }

    #[test]
    fn a_healthy_pair_costs_one_round_trip() {
        let (sent, end) = run(Consent::new([(ip(1), true), (ip(2), true)], ip(1)), &[0, 1], 2 * MS);
        assert_eq!((sent.len(), end), (2, 2));
    }

    #[test]
    fn the_peer_is_asked_again_where_packets_get_lost() {
        let (sent, end) = run(Consent::new([(ip(1), true)], ip(1)), &[], MS);
        assert_eq!((sent.len(), end), (8, 750));
    }

    #[test]
    fn what_cannot_be_sent_is_not_waited_for() {
        let mut consent = Consent::new([(ip(9), true)], ip(1));
        assert_eq!(consent.poll(Tick(0)), Ask::Challenge(0));
        consent.on_failure(0);
        assert_eq!(consent.poll(Tick(0)), Ask::Done);
    }
}
