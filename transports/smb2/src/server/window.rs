//! The message numbers that a client may use (MS-SMB2 3.3.1.1): a credit is the right to one number, once.

use std::collections::BTreeMap;

/// Most numbers that one connection may have at once; what others grant, too.
pub const CREDITS_MAX: u16 = 8192;
/// Bytes that one credit pays for (MS-SMB2 3.1.5.2).
const CREDIT_BYTES: usize = 65_536;

/// The numbers of one connection that were granted and not used.
#[derive(Debug)]
pub struct Window {
    /// Runs of them: the first, and the one behind the last.
    free: BTreeMap<u64, u64>,
    count: u16,
    next: u64,
}

impl Default for Window {
    /// Every connection begins with number 0 (3.3.5.1).
    fn default() -> Window {
        Window { free: BTreeMap::from([(0, 1)]), count: 1, next: 1 }
    }
}

impl Window {
    /// Uses `charge` numbers (0 means 1) from `first` on. False when one of them was never granted, or was used before: then the
    /// connection ends (3.3.5.2.3).
    #[must_use]
    pub fn take(&mut self, first: u64, charge: u16) -> bool {
        let Some(behind) = first.checked_add(u64::from(charge.max(1))) else { return false };
        let Some((&start, &end)) = self.free.range(..=first).next_back() else { return false };
        if behind > end {
            return false;
        }
        self.free.remove(&start);
        if start < first {
            self.free.insert(start, first);
        }
        if behind < end {
            self.free.insert(behind, end);
        }
        self.count -= charge.max(1);
        true
    }

    /// Grants what was asked for, within bounds, and one at least where the client has none left.
    pub fn grant(&mut self, asked: u16) -> u16 {
        let granted = asked.max(1).min(CREDITS_MAX - self.count);
        if granted > 0 {
            let last = self.free.last_entry().filter(|run| *run.get() == self.next);
            let behind = self.next + u64::from(granted);
            // The last run grows, or a new one begins.
            match last {
                Some(mut run) => *run.get_mut() = behind,
                None => _ = self.free.insert(self.next, behind),
            }
            self.next = behind;
            self.count += granted;
        }
        granted
    }
}

/// Whether `charge` pays for a request that carries `sent` bytes and may be answered by `answered` (3.3.5.2.5).
pub fn pays(charge: u16, sent: usize, answered: usize) -> bool {
    sent.max(answered).div_ceil(CREDIT_BYTES).max(1) <= usize::from(charge.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_good_once_and_only_when_it_was_granted() {
        let mut window = Window::default();
        assert!(!window.take(1, 1), "nobody granted it");
        assert!(window.take(0, 0));
        assert!(!window.take(0, 1), "used");
        assert_eq!(window.grant(8), 8);
        assert!(window.take(3, 2), "in any order");
        assert!(!Window::default().take(0, 2), "one of two");
        assert!(!window.take(u64::MAX, 2), "no overflow");
    }

    #[test]
    fn no_client_gathers_more_than_the_most_and_none_is_left_without() {
        let mut window = Window::default();
        assert!(window.take(0, 1));
        assert_eq!(window.grant(0), 1, "the next one must be possible");
        assert_eq!(window.grant(u16::MAX), CREDITS_MAX - 1);
        assert_eq!(window.grant(1), 0);
        assert!(window.take(1, CREDITS_MAX));
        assert_eq!(window.grant(1), 1);
        assert!(window.take(u64::from(CREDITS_MAX) + 1, 1) && !window.take(1, 1));
    }

    /// Against a set of numbers, which cannot be wrong.
    #[test]
    fn runs_are_what_a_set_would_be() {
        let (mut window, mut set, mut next, mut state) =
            (Window::default(), BTreeSet::from([0u64]), 1u64, 9u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (pick, many) = (state >> 33, (state >> 60) as u16);
            if pick.is_multiple_of(3) {
                let granted = window.grant(many);
                set.extend(next..next + u64::from(granted));
                next += u64::from(granted);
            } else {
                let first = next.saturating_sub(pick % 64);
                let wanted = first..first + u64::from(many.max(1));
                let there = wanted.clone().all(|number| set.contains(&number));
                assert_eq!(window.take(first, many), there, "{wanted:?}");
                if there {
                    wanted.for_each(|number| _ = set.remove(&number));
                }
            }
            assert_eq!(usize::from(window.count), set.len());
        }
    }

    #[test]
    fn a_charge_pays_for_the_longer_way() {
        assert!(pays(0, 0, 0) && pays(1, 65_536, 9) && pays(2, 65_537, 0) && pays(16, 0, 1 << 20));
        assert!(!pays(1, 65_537, 0) && !pays(15, 0, 1 << 20));
    }
}
