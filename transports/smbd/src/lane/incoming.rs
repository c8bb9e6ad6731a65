//! What comes to a lane: each message takes the oldest receive. Nothing that the peer says is believed: a message without a
//! receive, one that is longer than its receive, and counts that cannot be, end the lane.

use pathproof_api::{CompletionStatus, Piece, TransportError, WireOp, WireVerb};

use super::frame::{FrameKind, HEAD_BYTES, Head, LARGE_BYTES};
use super::{BufferDescriptor, FETCH, Fragment, SmbdLane, State};

impl SmbdLane {
    fn broken(&self, detail: &str) -> TransportError {
        TransportError::Protocol {
            operation: format!("SMB Direct lane to {}", self.connection.wire().established().remote),
            detail: detail.to_owned(),
        }
    }

    /// Takes a fragment.
    pub(super) fn take(&mut self, fragment: &Fragment) -> Result<(), TransportError> {
        if !fragment.first {
            return self.more(fragment, 0);
        }
        let mut bytes = [0; LARGE_BYTES];
        let have = (fragment.bytes as usize).min(bytes.len());
        let memory = self.connection.memory();
        memory
            .copy_out(fragment.offset, &mut bytes[..have])
            .map_err(|_| self.broken("a fragment outside its place"))?;
        let whole = u64::from(fragment.bytes) + u64::from(fragment.remaining);
        let head =
            Head::decode(&bytes[..have], whole).ok_or_else(|| self.broken("a message of no known kind"))?;
        self.hear(&head)?;
        match head.kind {
            FrameKind::News => Ok(()),
            FrameKind::Small { bytes } => {
                let number = self.match_receive(bytes)?;
                self.coming = Some((number, 0));
                self.more(fragment, HEAD_BYTES as u32)
            }
            FrameKind::Large(descriptor) => self.fetch(&descriptor),
        }
    }

    /// Books the counts of a message.
    fn hear(&mut self, head: &Head) -> Result<(), TransportError> {
        if (head.receives.wrapping_sub(self.peer_receives) as i32) < 0 {
            return Err(self.broken("fewer receives than before"));
        }
        self.peer_receives = head.receives;
        let news = head.fetched.wrapping_sub(self.fetched_by_peer);
        if news as usize > self.offered.len() {
            return Err(self.broken("more fetched than was offered"));
        }
        for _ in 0..news {
            let Some(number) = self.offered.pop_front() else { break };
            if let Some(accepted) = self.sends.at(number) {
                accepted.state = State::Done(CompletionStatus::Ok);
            }
        }
        self.fetched_by_peer = head.fetched;
        Ok(())
    }

    /// The receive that a message of `bytes` takes.
    fn match_receive(&mut self, bytes: u32) -> Result<u64, TransportError> {
        let number = self.matched;
        let room = self.receives.at(number).map(|accepted| accepted.op.len);
        match room {
            None => Err(self.broken("a message for which it was told of no receive")),
            Some(room) if bytes > room => Err(self.broken("a message that is longer than its receive")),
            Some(_) => {
                self.matched += 1;
                if let Some(accepted) = self.receives.at(number) {
                    (accepted.state, accepted.came) = (State::UnderWay, bytes);
                }
                Ok(number)
            }
        }
    }

    /// Places a fragment's payload, but for the first `skip` bytes, behind what has come of the message.
    fn more(&mut self, fragment: &Fragment, skip: u32) -> Result<(), TransportError> {
        let Some((number, filled)) = self.coming else {
            return Err(self.broken("a fragment of no message"));
        };
        let len = (fragment.bytes - skip) as usize;
        let Some(accepted) = self.receives.at(number) else {
            return Err(self.broken("a fragment of no receive"));
        };
        let op = accepted.op;
        if fragment.remaining == 0 {
            accepted.state = State::Done(CompletionStatus::Ok);
        }
        self.coming = (fragment.remaining > 0).then_some((number, filled + len as u32));
        if len == 0 {
            return Ok(());
        }
        let bytes = &mut self.scratch[..len];
        let from = fragment.offset + u64::from(skip);
        let copied = self.connection.memory().copy_out(from, bytes);
        let target = self.memory.get(usize::from(op.region.0));
        let placed = target.map(|(region, _)| region.copy_in(op.offset + u64::from(filled), bytes));
        match (copied, placed) {
            (Ok(()), Some(Ok(()))) => Ok(()),
            _ => Err(self.broken("a message outside its receive")),
        }
    }

    /// Fetches a large message into its receive.
    fn fetch(&mut self, descriptor: &BufferDescriptor) -> Result<(), TransportError> {
        let number = self.match_receive(descriptor.bytes)?;
        let op = self.receives.at(number).map(|accepted| accepted.op);
        let piece = op.and_then(|op| self.piece(&op));
        let Some(piece) = piece else { return Err(self.broken("a message of no receive")) };
        self.connection.operate(WireOp {
            tag: FETCH | number,
            verb: WireVerb::Read { address: descriptor.address, key: descriptor.token },
            head: Piece { len: descriptor.bytes, ..piece },
            body: Piece::default(),
        });
        Ok(())
    }
}
