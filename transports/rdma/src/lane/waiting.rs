//! How a lane waits: by spinning, or asleep until the device announces a completion.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pathproof_api::{Clock as _, Completion, CompletionStatus, SendReports, TransportError, Verb};

use super::ending::Ending;
use super::{RdmaLane, SPINS_PER_LOOK};

/// Empty polls between two looks at the clock when spinning.
const SPINS_PER_CLOCK: u32 = 64;
/// What a lane does that ends while it sleeps.
const WAITING: &str = "waiting for completions";
/// Between two looks for credits when a sender waits for them.
const STARVED_LOOK: Duration = Duration::from_micros(100);

impl RdmaLane {
    /// Sleeps until a completion is announced or `timeout` is over. Other news (device, connection manager) is looked for
    /// when nothing completed for a while: what ends a lane flushes its queue as a rule, and that is announced. Without a limit
    /// (`Duration::MAX`) who watches over the lane looks for it, and a receive must be posted that can be flushed.
    pub(super) fn sleep(&mut self, timeout: Duration) {
        let completions = self.queue_pair.completions();
        if timeout == Duration::MAX && self.recvs_finished < self.recvs_posted {
            match completions.wait() {
                Ok(()) => self.armed = false,
                Err(error) => self.wake(&error),
            }
        } else {
            match completions.sleep(timeout) {
                None => self.look_at_events(),
                Some(taken) => self.armed &= !taken,
            }
        }
        if self.stopped.load(Ordering::Acquire) {
            self.end(Ending::Refused { what: WAITING, errno: libc::ECANCELED });
        }
    }

    /// A wait without a limit was over though nothing was announced.
    #[cold]
    fn wake(&mut self, error: &std::io::Error) {
        // A device that is gone says so here as well.
        self.look_at_events();
        if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            self.end(Ending::Refused { what: WAITING, errno });
        }
    }

    pub(super) fn arm(&mut self) {
        if !self.armed {
            // SAFETY: the queue lives as long as the lane.
            let code = unsafe { (self.req_notify)(self.queue_pair.completions().as_ptr(), 0) };
            self.armed = true;
            if code != 0 {
                // Nothing would be announced, not even what is flushed, and a wait without a limit would not end.
                let last = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
                self.end(Ending::Refused {
                    what: "asking for the announcement of completions",
                    errno: if code > 0 { code } else { last },
                });
            }
        }
    }

    /// Whether a message that had to wait for the peer's receives may go now; the caller then submits it again.
    #[inline]
    pub(super) fn may_go_on(&mut self) -> bool {
        let may = self.starved && self.credit.allows();
        self.starved &= !may;
        may
    }

    /// Whether what was added to `out` since `begin` is worth returning for: to a caller who takes reports of sends
    /// lazily, only the answer is.
    #[inline]
    pub(super) fn is_news(&self, out: &[Completion], begin: usize) -> bool {
        let added = &out[begin..];
        match self.send_reports {
            SendReports::Prompt => !added.is_empty(),
            SendReports::Lazy | SendReports::Late => {
                added.iter().any(|c| c.verb == Verb::Recv || c.status != CompletionStatus::Ok)
            }
        }
    }

    pub(super) fn spin(
        &mut self,
        out: &mut Vec<Completion>,
        begin: usize,
        limit: Duration,
    ) -> Result<usize, TransportError> {
        // The clock is read once looking was in vain: an answer that is nearly there must not pay for it. Nor is there a pause
        // between two looks (`spin_loop`): it takes 140 cycles of processors since Skylake, and leaves a guest whose
        // processor is emulated. Who asks for spinning gives the lane a processor of its own.
        let mut start = None;
        loop {
            for _ in 0..SPINS_PER_CLOCK {
                self.drain(out);
                if self.is_news(out, begin) || out.len() == out.capacity() || self.may_go_on() {
                    return Ok(out.len() - begin);
                }
            }
            self.empty_polls = self.empty_polls.wrapping_add(SPINS_PER_CLOCK);
            if self.empty_polls.is_multiple_of(SPINS_PER_LOOK) {
                self.look_at_events();
            }
            let now = self.clock.now();
            if self.ending.is_some() || now.since(*start.get_or_insert(now)) >= limit {
                return self.leave(out, begin);
            }
        }
    }

    pub(super) fn block(
        &mut self,
        out: &mut Vec<Completion>,
        begin: usize,
        limit: Duration,
    ) -> Result<usize, TransportError> {
        let start = (limit != Duration::MAX).then(|| self.clock.now());
        let mut left = limit;
        loop {
            self.arm();
            // What completed before arming raises no event: look once more (ibv_req_notify_cq(3)).
            self.drain(out);
            if self.is_news(out, begin) || out.len() == out.capacity() || self.may_go_on() {
                return Ok(out.len() - begin);
            }
            if self.ending.is_some() || left.is_zero() {
                return self.leave(out, begin);
            }
            // Credits arrive in memory without a completion: look often.
            self.sleep(if self.starved { left.min(STARVED_LOOK) } else { left });
            self.drain(out);
            if self.is_news(out, begin) || out.len() == out.capacity() {
                return Ok(out.len() - begin);
            }
            if let Some(start) = start {
                left = limit.saturating_sub(self.clock.now().since(start));
            }
        }
    }

    /// Nothing more came: what there is, or the ending, which is due once there is nothing else to give.
    #[inline]
    pub(super) fn leave(&mut self, out: &[Completion], begin: usize) -> Result<usize, TransportError> {
        if self.ending.is_some() && out.len() == begin { Err(self.tell()) } else { Ok(out.len() - begin) }
    }
}
