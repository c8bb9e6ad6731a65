//! The account of a wire's sending side: what was posted, which of it asked for a completion, and how each ended. Pure.

use pathproof_api::{CompletionStatus, Invalidated, WireDone};

#[derive(Clone, Copy)]
struct Entry {
    tag: u64,
    len: u32,
    /// It asked for its completion.
    asks: bool,
    /// How it ended, until it was told.
    done: Option<WireDone>,
}

/// Operations by sequence number, oldest first.
pub(super) struct Account {
    /// A power of two of them: a number finds its place by a mask, not by a division.
    entries: Box<[Entry]>,
    /// Most at once.
    places: u64,
    posted: u64,
    /// How many were told.
    told: u64,
    /// The last ones, of which none has asked.
    silent: u64,
}

impl Account {
    /// For at most `places` operations at once.
    pub(super) fn new(places: usize) -> Account {
        let (entry, places) = (Entry { tag: 0, len: 0, asks: true, done: None }, places.max(1));
        let entries = vec![entry; places.next_power_of_two()].into();
        Account { entries, places: places as u64, posted: 0, told: 0, silent: 0 }
    }

    fn at(&self, sequence: u64) -> usize {
        sequence as usize & (self.entries.len() - 1)
    }

    /// Operations posted so far.
    pub(super) fn posted(&self) -> u64 {
        self.posted
    }

    /// Whether there is a place for the operation of this number.
    pub(super) fn has_room(&self, sequence: u64) -> bool {
        sequence - self.told < self.places
    }

    /// How many in a row have not asked.
    pub(super) fn silent(&self) -> u64 {
        self.silent
    }

    /// Whether something is under way that will be told though nothing follows.
    pub(super) fn awaits(&self) -> bool {
        self.told + self.silent < self.posted
    }

    /// Books an operation that is about to be posted.
    pub(super) fn stage(&mut self, sequence: u64, tag: u64, len: u32, asks: bool) {
        let at = self.at(sequence);
        self.entries[at] = Entry { tag, len, asks, done: None };
        self.silent = if asks { 0 } else { self.silent + 1 };
    }

    /// The last operation that was staged asks after all.
    pub(super) fn last_asks(&mut self, sequence: u64) {
        let at = self.at(sequence);
        self.entries[at].asks = true;
        self.silent = 0;
    }

    /// All up to `to` were posted.
    pub(super) fn post(&mut self, to: u64) {
        self.posted = to;
    }

    /// Tag and length of the operation whose completion has come; `None`: it is not under way.
    pub(super) fn find(&self, sequence: u64) -> Option<(u64, u32)> {
        let entry = &self.entries[self.at(sequence)];
        let under_way = (self.told..self.posted).contains(&sequence) && entry.done.is_none();
        under_way.then_some((entry.tag, entry.len))
    }

    /// Books how `sequence` ended, and with it those right before it that did not ask: a queue pair executes its sends in order
    /// (IBTA vol. 1, ch. 10.8.6), and one that fails completes whether it asked or not. Returns the bytes of those that were done.
    /// One that asked ends by its own completion: soft-iWARP completes a send before a READ that was posted earlier.
    pub(super) fn finish(&mut self, sequence: u64, done: WireDone) -> u64 {
        let at = self.at(sequence);
        self.entries[at].done = Some(done);
        let status = match done.status {
            CompletionStatus::Flushed => CompletionStatus::Flushed,
            _ => CompletionStatus::Ok,
        };
        let (mut bytes, mut before) = (0, sequence);
        while before > self.told {
            before -= 1;
            let at = self.at(before);
            let entry = &mut self.entries[at];
            if entry.asks || entry.done.is_some() {
                break;
            }
            let Entry { tag, len, .. } = *entry;
            entry.done =
                Some(WireDone { tag, received: false, len, invalidated: Invalidated::NotReported, status });
            if status == CompletionStatus::Ok {
                bytes += u64::from(len);
            }
        }
        bytes
    }

    /// The oldest operation, once it has ended.
    pub(super) fn pop(&mut self) -> Option<WireDone> {
        if self.told == self.posted {
            return None;
        }
        let at = self.at(self.told);
        let done = self.entries[at].done.take()?;
        self.told += 1;
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(tag: u64, status: CompletionStatus) -> WireDone {
        WireDone { tag, received: false, len: 10, invalidated: Invalidated::NotReported, status }
    }

    /// An account of operations of 10 bytes, tagged by their numbers plus 100, with whether each asks.
    fn account(asks: &[bool]) -> Account {
        let mut account = Account::new(asks.len());
        for (sequence, asks) in asks.iter().enumerate() {
            assert!(account.has_room(sequence as u64));
            account.stage(sequence as u64, 100 + sequence as u64, 10, *asks);
        }
        account.post(asks.len() as u64);
        account
    }

    fn told(account: &mut Account) -> Vec<(u64, CompletionStatus)> {
        std::iter::from_fn(|| account.pop()).map(|done| (done.tag, done.status)).collect()
    }

    #[test]
    fn one_completion_ends_those_before_it_that_did_not_ask() {
        let mut account = account(&[false, false, true, false]);
        assert!(!account.has_room(4) && account.awaits());
        assert_eq!(told(&mut account), []);
        assert_eq!(account.find(2), Some((102, 10)));
        assert_eq!(account.finish(2, ended(102, CompletionStatus::Ok)), 20);
        let ok = CompletionStatus::Ok;
        assert_eq!(told(&mut account), [(100, ok), (101, ok), (102, ok)]);
        assert_eq!(
            (account.awaits(), account.silent()),
            (false, 1),
            "the last one has nobody who tells of it"
        );
        assert_eq!(account.find(2), None, "it was told");
        assert!(account.has_room(6) && !account.has_room(7));
        account.last_asks(3);
        assert!(account.awaits());
    }

    #[test]
    fn who_asked_ends_by_itself_and_is_told_in_its_turn() {
        let mut account = account(&[false, true, false, true]);
        assert_eq!(account.finish(3, ended(103, CompletionStatus::Ok)), 10, "that right before it");
        assert_eq!(told(&mut account), [], "an earlier one is still under way");
        assert_eq!(account.finish(1, ended(101, CompletionStatus::Ok)), 10);
        assert_eq!(told(&mut account).iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [100, 101, 102, 103]);
    }

    #[test]
    fn a_failure_says_that_those_before_it_were_done_and_an_end_says_nothing() {
        let failed = CompletionStatus::Failed(12);
        let mut account_of_failure = account(&[false, false, true]);
        account_of_failure.finish(1, ended(101, failed));
        account_of_failure.finish(2, ended(102, CompletionStatus::Flushed));
        let told_of = told(&mut account_of_failure);
        assert_eq!(told_of, [(100, CompletionStatus::Ok), (101, failed), (102, CompletionStatus::Flushed)]);
        let mut account_of_end = account(&[false, true]);
        assert_eq!(account_of_end.finish(1, ended(101, CompletionStatus::Flushed)), 0, "who knows");
        assert_eq!(told(&mut account_of_end)[0], (100, CompletionStatus::Flushed));
    }

    #[test]
    fn numbers_go_round_in_places_that_are_no_power_of_two() {
        let mut account = Account::new(3);
        for sequence in 0..20 {
            assert!(account.has_room(sequence) && account.has_room(sequence + 2), "{sequence}");
            assert!(!account.has_room(sequence + 3), "{sequence}");
            account.stage(sequence, 100 + sequence, 10, true);
            account.post(sequence + 1);
            account.finish(sequence, ended(100 + sequence, CompletionStatus::Ok));
            assert_eq!(told(&mut account), [(100 + sequence, CompletionStatus::Ok)]);
        }
    }
}
