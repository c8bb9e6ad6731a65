//! How a stripe waits for all of its paths at once.

use std::time::Duration;

use pathproof_api::TransportError;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::StripedLane;
use crate::plan::PATHS_MAX;

/// Longest sleep where there is no descriptor to sleep on.
const TURNS: Duration = Duration::from_micros(200);

impl StripedLane {
    /// Sleeps until any path has something to do.
    pub(super) fn sleep(&self, left: Duration) -> Result<(), TransportError> {
        let ready = |index: usize| self.paths.get(index)?.lane.as_ref()?.readiness();
        let mut live = (0..self.paths.len()).filter_map(ready);
        let Some(first) = live.next() else { return Ok(()) };
        let events = |ready: &pathproof_api::Readiness<'_>| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, ready.read);
            events.set(PollFlags::OUT, ready.write);
            events
        };
        let mut count = 0;
        let mut rest = std::iter::once(first).chain(live);
        let mut fds: [PollFd<'_>; PATHS_MAX] = std::array::from_fn(|_| match rest.next() {
            Some(ready) => {
                count += 1;
                PollFd::from_borrowed_fd(ready.fd, events(&ready))
            }
            None => PollFd::from_borrowed_fd(first.fd, PollFlags::empty()),
        });
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match rustix::event::poll(&mut fds[..count], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(TransportError::io("waiting on the paths of a stripe", e.into())),
        }
    }

    /// How the next turn may wait: on descriptors, or inside one path's poll.
    pub(super) fn wait(&self, left: Duration, turns: usize) -> Option<(u16, Duration)> {
        let mut live = self.live();
        let (first, second) = (live.next()?, live.next());
        let all_ready = || {
            self.live().all(|i| {
                self.paths[usize::from(i)].lane.as_ref().is_some_and(|lane| lane.readiness().is_some())
            })
        };
        match second {
            // Alone it may wait in its own way, which costs a system call less.
            None => Some((first, left)),
            Some(_) if all_ready() => None,
            Some(_) => {
                let count = self.live().count();
                self.live().nth(turns % count).map(|index| (index, left.min(TURNS)))
            }
        }
    }
}
