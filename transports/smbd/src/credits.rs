//! The account of credits (MS-SMBD 3.1.5.1, 3.1.5.9): how many messages may be sent, how many receives the peer knows of, and
//! when it must be told of more. Pure; it knows neither memory nor wire.
//!
//! A message takes one credit. The last one is only spent on a message that grants something, or both ends could run out with
//! nobody left to say that there is room again. Every message grants all that is new; a message without payload is sent for
//! the sake of its grant only when the peer is about to run out, and in answer to another such one not before a pause:
//! two ends with one or two receives would otherwise answer each other's grants for ever at full speed.

use std::time::Duration;

use pathproof_api::Tick;

/// How long a grant waits for a message that could carry it, when what came last carried nothing.
pub const GRANT_PAUSE: Duration = Duration::from_millis(1);
/// More credits than a peer can have given out: the field has 16 bits and so has the count of receives that it stands for.
const SEND_CREDITS_MAX: u32 = u16::MAX as u32;

/// One end's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credits {
    /// Messages that may be sent.
    send: u32,
    /// What we want in all.
    wanted: u16,
    /// Receives posted that the peer was not told of.
    fresh: u32,
    /// Receives that the peer knows of and has not used.
    told: u32,
    /// How many receives the peer wants to know of.
    target: u32,
    /// How many there are in all.
    receives: u32,
    /// When the peer is told by a message of its own, where it must be.
    grant_at: Option<Tick>,
}

impl Credits {
    /// After the negotiation: `send` credits were granted to us, `told` to the peer, which wants `target` in all; `fresh`
    /// receives are posted that it does not know of.
    pub fn new(send: u16, wanted: u16, told: u16, target: u16, fresh: u32, now: Tick) -> Credits {
        let mut credits = Credits {
            send: u32::from(send),
            wanted,
            fresh,
            told: u32::from(told),
            target: u32::from(target.max(1)),
            receives: fresh + u32::from(told),
            grant_at: None,
        };
        credits.consider(now + GRANT_PAUSE);
        credits
    }

    /// Messages that may be sent in all, the last one among them.
    pub fn send_credits(&self) -> u32 {
        self.send
    }

    fn grantable(&self) -> u32 {
        self.fresh.min(self.target.saturating_sub(self.told)).min(u32::from(u16::MAX))
    }

    /// Whether a message may be sent now.
    pub fn may_send(&self) -> bool {
        self.send > 1 || (self.send == 1 && self.grantable() > 0)
    }

    /// Books a message; returns what its header says: credits requested and granted. Only after [`Credits::may_send`].
    pub fn spend(&mut self) -> (u16, u16) {
        let granted = self.grantable();
        self.send = self.send.saturating_sub(1);
        self.fresh -= granted;
        self.told += granted;
        self.grant_at = None;
        (self.wanted, granted as u16)
    }

    /// Books a message of the peer; `false`: it had no credit for it.
    #[must_use]
    pub fn received(&mut self, requested: u16, granted: u16) -> bool {
        self.target = u32::from(requested.max(1));
        self.send = (self.send + u32::from(granted)).min(SEND_CREDITS_MAX);
        let Some(told) = self.told.checked_sub(1) else { return false };
        self.told = told;
        true
    }

    /// Books a receive that was posted again. `carried`: the message that had taken it was not empty.
    pub fn reposted(&mut self, carried: bool, now: Tick) {
        self.fresh += 1;
        self.consider(if carried { now } else { now + GRANT_PAUSE });
    }

    /// The peer must hear of room by then, where it is about to run out.
    fn consider(&mut self, at: Tick) {
        if self.grantable() > 0 && self.told <= (self.target.min(self.receives) / 4).max(1) {
            self.grant_at = Some(self.grant_at.map_or(at, |due| due.min(at)));
        }
    }

    /// When a message without payload is due for its grant, unless another carries it before.
    pub fn grant_at(&self) -> Option<Tick> {
        self.grant_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick(1000);

    #[test]
    fn the_last_credit_is_only_spent_on_a_grant() {
        let mut credits = Credits::new(2, 255, 10, 10, 0, NOW);
        assert!(credits.may_send());
        assert_eq!(credits.spend(), (255, 0));
        assert!(!credits.may_send(), "one is left, and there is nothing to grant");
        assert!(credits.received(10, 0));
        credits.reposted(true, NOW);
        assert!(credits.may_send(), "now there is");
        assert_eq!(credits.spend(), (255, 1));
        assert!(!credits.may_send(), "none is left");
    }

    #[test]
    fn a_peer_without_credit_is_found_out_and_one_with_its_last_is_not() {
        let mut credits = Credits::new(5, 5, 1, 5, 0, NOW);
        assert!(credits.received(5, 0));
        assert!(!credits.received(5, 0));
    }

    #[test]
    fn no_more_is_granted_than_the_peer_wants_and_it_may_want_less() {
        let mut credits = Credits::new(5, 5, 0, 3, 10, NOW);
        assert_eq!(credits.spend(), (5, 3));
        assert_eq!(credits.spend(), (5, 0));
        assert!(credits.received(1, 0));
        assert_eq!(credits.spend(), (5, 0), "it knows of two and wants one");
        assert!(credits.received(1, 0) && credits.received(1, 0));
        assert_eq!(credits.spend(), (5, 1));
    }

    #[test]
    fn grants_of_any_size_are_counted_without_overflow() {
        let mut credits = Credits::new(u16::MAX, 1, u16::MAX, 1, 0, NOW);
        for _ in 0..3 {
            assert!(credits.received(u16::MAX, u16::MAX));
        }
        assert_eq!(credits.send_credits(), u32::from(u16::MAX));
    }

    #[test]
    fn a_grant_is_due_at_once_after_payload_and_after_a_pause_otherwise() {
        let mut credits = Credits::new(4, 4, 2, 4, 0, NOW);
        assert_eq!(credits.grant_at(), None);
        assert!(credits.received(4, 0));
        credits.reposted(false, NOW);
        assert_eq!(credits.grant_at(), Some(NOW + GRANT_PAUSE));
        credits.reposted(true, NOW);
        assert_eq!(credits.grant_at(), Some(NOW));
        credits.spend();
        assert_eq!(credits.grant_at(), None, "a message of any kind carries it");
    }

    #[test]
    fn a_peer_that_wants_more_than_there_is_does_not_hear_of_every_single_one() {
        let mut credits = Credits::new(255, 255, 10, 255, 0, NOW);
        for used in 1..=8 {
            assert!(credits.received(255, 0));
            credits.reposted(true, NOW);
            assert_eq!(credits.grant_at().is_some(), used == 8, "after {used}");
        }
    }

    #[test]
    fn a_peer_with_plenty_is_not_told() {
        let mut credits = Credits::new(255, 255, 255, 255, 0, NOW);
        for used in 1..255 - 63 {
            assert!(credits.received(255, 0));
            credits.reposted(true, NOW);
            assert_eq!(credits.grant_at().is_some(), 255 - used <= 63, "after {used}");
        }
    }
}
