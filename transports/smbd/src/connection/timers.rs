//! What is due when nothing comes.

use pathproof_api::{Gone, Piece, Tick, TransportError, WireOp, WireVerb};

use super::{Connection, NEGOTIATION, NUDGE, NUDGE_AFTER, Phase, WHOLE_WITHIN};
use crate::keep_alive::{ANSWER, Due, IDLE};

impl Connection {
    /// When `turn` has something to do though nothing comes.
    pub(super) fn next_timer(&self) -> Tick {
        if !matches!(self.phase, Phase::Open(_)) {
            return self.began + if self.may_nudge() { NUDGE_AFTER } else { NEGOTIATION };
        }
        let mut next = self.alive.next();
        if let Some((began, _)) = self.reassembly.unfinished() {
            next = next.min(began + WHOLE_WITHIN);
        }
        if let Some(due) = self.progress.due() {
            next = next.min(due);
        }
        // What could not be sent for want of a credit is sent when one comes, not by looking again.
        match self.credits.grant_at() {
            Some(due) if self.may_send() => next.min(due),
            _ => next,
        }
    }

    fn may_nudge(&self) -> bool {
        matches!(self.phase, Phase::AwaitsResponse) && self.wire.established().iwarp && !self.nudged
    }

    fn nudge(&mut self) {
        self.nudged = true;
        self.write_nothing();
    }

    /// A write of no bytes, of which nobody is told. Neither its address nor its key is looked at (IBTA vol. 1, C9-88; RFC 5040).
    pub(super) fn write_nothing(&mut self) {
        self.operate(WireOp {
            tag: NUDGE,
            verb: WireVerb::Write { address: 0, key: 0 },
            head: Piece::default(),
            body: Piece::default(),
        });
    }

    /// Does what is due. `ended`: so many operations have, where anything has or has come.
    pub(super) fn timers(&mut self, ended: Option<u64>) -> Result<(), TransportError> {
        let now = self.now;
        if let Some(ended) = ended {
            self.progress.moved(ended, now);
        }
        if !matches!(self.phase, Phase::Open(_)) {
            if now >= self.began + NEGOTIATION {
                return Err(self.unanswered(NEGOTIATION));
            }
            if self.may_nudge() && now >= self.began + NUDGE_AFTER {
                self.nudge();
            }
            return Ok(());
        }
        if let Some((began, missing)) = self.reassembly.unfinished()
            && now >= began + WHOLE_WITHIN
        {
            let operation =
                format!("{}: a message of which {missing} bytes are still announced", self.operation());
            return Err(TransportError::Timeout { operation, after: WHOLE_WITHIN });
        }
        if self.progress.due().is_some_and(|due| now >= due) {
            let stalled = self.progress.patience().as_secs();
            return Err(TransportError::PeerGone {
                operation: self.operation(),
                how: Some(Gone::Silent),
                detail: format!("nothing that was under way has moved for {stalled} s, and nothing came"),
            });
        }
        let asks = match self.alive.due(now) {
            Due::Nothing(_) => false,
            Due::Ask => true,
            Due::Dead => {
                return Err(TransportError::PeerGone {
                    operation: self.operation(),
                    how: Some(Gone::Silent),
                    detail: format!(
                        "it said nothing for {} s and did not answer a keep-alive within {} s",
                        IDLE.as_secs(),
                        ANSWER.as_secs()
                    ),
                });
            }
        };
        let grants = self.credits.grant_at().is_some_and(|due| due <= now);
        if (asks || grants || self.owes_answer) && self.may_send() {
            self.send_empty()?;
        }
        Ok(())
    }
}
