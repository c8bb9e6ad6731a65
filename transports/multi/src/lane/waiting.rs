//! How a stripe waits for all of its paths at once.

use std::time::Duration;

use pathproof_api::TransportError;
use pathproof_sys::socket::{self, Interest};

use super::StripedLane;
use crate::plan::PATHS_MAX;

/// Longest sleep where there is no descriptor to sleep on.
const TURNS: Duration = Duration::from_micros(200);

impl StripedLane {
    /// Sleeps until any path has something to do.
    pub(super) fn sleep(&self, left: Duration) -> Result<(), TransportError> {
        let ready = |index: usize| self.paths.get(index)?.lane.as_ref()?.readiness();
        let live = (0..self.paths.len()).filter_map(ready);
        let waited = live.map(|ready| (ready.fd, Interest { read: ready.read, write: ready.write }));
        socket::wait_any::<PATHS_MAX>(waited, left)
            .map_err(|e| TransportError::io("waiting on the paths of a stripe", e))
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
