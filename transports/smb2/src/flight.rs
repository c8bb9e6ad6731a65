//! Requests under way on one connection: credits, message numbers, deadlines (MS-SMB2 3.2.4.1.2, 3.2.5.1.4).
//!
//! Asks nobody anything. A server's numbers are bounded here: it can neither run up what it gives nor keep a request open for ever.

use std::time::Duration;

use pathproof_api::Tick;

use crate::wire::Command;

/// More credits than this are of no use to anybody: what a server gives beyond is not counted.
const CREDITS_MAX: u32 = 8192;
/// Interim answers to one request: servers send one.
const INTERIM_MAX: u8 = 8;
/// Bytes that one credit pays for (MS-SMB2 3.1.5.2).
const CREDIT_BYTES: u64 = 65_536;
/// Requests in one message.
pub(crate) const COMPOUND: usize = 2;

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number.
    pub message_id: u64,
    /// What it asks.
    pub command: Command,
    /// Whatever the caller knows it by.
    pub tag: u64,
    /// When it went out.
    pub sent: Tick,
    /// It went in one message with another.
    pub in_compound: bool,
    interim: u8,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// It is the answer to this.
    Answer(Asked),
    /// The real answer to a request is to come.
    Interim,
    /// So often that it is no answer.
    TooOften,
    /// Nobody asked.
    Unrelated,
}

/// The requests of one connection.
#[derive(Debug)]
pub struct Flight {
    credits: u32,
    wanted: u32,
    next_id: u64,
    /// Oldest first; never longer than there are credits.
    asked: Vec<Asked>,
    depth: usize,
}

impl Flight {
    /// Before NEGOTIATE there is one credit. No more than `depth` requests are under way, and together they are to have `wanted` credits.
    pub fn new(depth: usize, wanted: u32) -> Flight {
        Flight {
            credits: 1,
            wanted: wanted.min(CREDITS_MAX),
            next_id: 0,
            asked: Vec::with_capacity(depth.max(COMPOUND)),
            depth,
        }
    }

    /// Credits that a request costs which moves so many bytes one way or the other.
    pub fn charge(bytes: u64) -> u16 {
        u16::try_from(bytes.div_ceil(CREDIT_BYTES).max(1)).unwrap_or(u16::MAX)
    }

    /// Whether a request may go now.
    pub fn affords(&self, charge: u16) -> bool {
        self.asked.len() < self.depth && self.credits >= u32::from(charge)
    }

    /// Whether the requests of a compound may go now, each of which costs one credit: with nothing under way, however few may be at once.
    pub fn affords_compound(&self) -> bool {
        self.asked.is_empty() && self.credits >= COMPOUND as u32
    }

    /// Credits at hand.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// How many a request asks for: what it costs, and what is missing.
    pub fn asks_for(&self, charge: u16) -> u16 {
        let missing = self.wanted.saturating_sub(self.credits.saturating_sub(u32::from(charge)));
        u16::try_from(missing.max(u32::from(charge)).min(CREDITS_MAX)).unwrap_or(u16::MAX)
    }

    /// The number that the next request has.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A request has gone.
    pub fn went(&mut self, command: Command, charge: u16, tag: u64, sent: Tick) {
        let message_id = self.next_id;
        self.asked.push(Asked { message_id, command, tag, sent, in_compound: false, interim: 0 });
        self.next_id += u64::from(charge);
        self.credits = self.credits.saturating_sub(u32::from(charge));
    }

    /// A compound has gone.
    pub fn went_together(&mut self, commands: [Command; COMPOUND], sent: Tick) {
        for command in commands {
            self.went(command, 1, 0, sent);
            self.asked.last_mut().into_iter().for_each(|asked| asked.in_compound = true);
        }
    }

    /// What has no answer yet is not waited for any more; an answer that comes yet is one that nobody asked for.
    pub fn forget(&mut self) {
        self.asked.clear();
    }

    /// An answer has come.
    pub fn came(&mut self, message_id: u64, credits: u16, interim: bool) -> Matched {
        let Some(at) = self.asked.iter().position(|asked| asked.message_id == message_id) else {
            return Matched::Unrelated;
        };
        self.credits = self.credits.saturating_add(u32::from(credits)).min(CREDITS_MAX);
        if !interim {
            return Matched::Answer(self.asked.remove(at));
        }
        let asked = &mut self.asked[at];
        asked.interim += 1;
        if asked.interim > INTERIM_MAX {
            return Matched::TooOften;
        }
        Matched::Interim
    }

    /// Requests under way.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The request that has waited longest.
    pub fn oldest(&self) -> Option<&Asked> {
        self.asked.first()
    }

    /// How long the oldest request may still wait.
    pub fn patience(&self, now: Tick, within: Duration) -> Option<Duration> {
        self.oldest().map(|oldest| within.saturating_sub(now.since(oldest.sent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_costs_what_it_moves_and_takes_as_many_numbers() {
        assert_eq!([0, 1, 65_536, 65_537, 1 << 20].map(Flight::charge), [1, 1, 1, 2, 16]);
        let mut flight = Flight::new(8, 64);
        flight.went(Command::Negotiate, 1, 0, Tick(0));
        assert!(!flight.affords(1), "the one credit is spent");
        assert_eq!(
            flight.came(0, 33, false),
            Matched::Answer(Asked {
                message_id: 0,
                command: Command::Negotiate,
                tag: 0,
                sent: Tick(0),
                in_compound: false,
                interim: 0,
            })
        );
        flight.went(Command::Write, 16, 7, Tick(1));
        assert_eq!((flight.next_id(), flight.credits()), (17, 17));
        assert!(flight.affords(17) && !flight.affords(18));
        assert_eq!(flight.asks_for(16), 63);
    }

    #[test]
    fn a_server_runs_up_nothing_and_cannot_say_later_for_ever() {
        let mut flight = Flight::new(4, 64);
        for _ in 0..3 {
            flight.went(Command::Read, 1, 0, Tick(0));
            let id = flight.next_id() - 1;
            assert!(matches!(flight.came(id, u16::MAX, false), Matched::Answer(_)));
            assert_eq!(flight.credits(), CREDITS_MAX);
        }
        flight.went(Command::Read, 1, 0, Tick(0));
        let id = flight.next_id() - 1;
        let said: Vec<Matched> = (0..100).map(|_| flight.came(id, 0, true)).collect();
        assert_eq!(said.iter().filter(|said| **said == Matched::Interim).count(), usize::from(INTERIM_MAX));
        assert_eq!(said[usize::from(INTERIM_MAX)], Matched::TooOften);
        assert_eq!(flight.came(999, 1, false), Matched::Unrelated);
    }

    #[test]
    fn no_more_is_under_way_than_was_asked_for() {
        let mut flight = Flight::new(2, 64);
        flight.went(Command::Negotiate, 1, 0, Tick(0));
        flight.came(0, 100, false);
        flight.went(Command::Read, 1, 1, Tick(5));
        flight.went(Command::Read, 1, 2, Tick(6));
        assert!(!flight.affords(1));
        let second = Duration::from_secs(1);
        assert_eq!(flight.patience(Tick(5), second), Some(second));
        assert!(matches!(flight.came(1, 1, false), Matched::Answer(_)));
        assert_eq!(flight.oldest().map(|asked| asked.tag), Some(2));
    }

    #[test]
    fn a_compound_takes_a_number_and_a_credit_for_each_of_its_requests() {
        let mut flight = Flight::new(1, 64);
        assert!(!flight.affords_compound(), "there is one credit");
        flight.went(Command::Negotiate, 1, 0, Tick(0));
        flight.came(0, 3, false);
        assert!(flight.affords_compound(), "however few requests may be under way at once");
        flight.went_together([Command::Create, Command::QueryInfo], Tick(7));
        assert_eq!((flight.next_id(), flight.credits(), flight.len()), (3, 1, 2));
        assert!(!flight.affords_compound() && !flight.affords(1));
        let second = flight.came(2, 1, false);
        assert!(matches!(
            second,
            Matched::Answer(Asked { command: Command::QueryInfo, in_compound: true, .. })
        ));
        flight.forget();
        assert!(flight.is_empty());
        assert_eq!(flight.came(1, 1, false), Matched::Unrelated, "it comes too late");
    }
}
