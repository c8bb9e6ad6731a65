//! What leaves a lane: its operations in their order, and news of receives and fetches between two of them.

use pathproof_api::{Op, Piece, TransportError, Verb, WireOp, WireVerb};

use super::frame::{FrameKind, HEAD_BYTES, Head};
use super::{BufferDescriptor, SENT_BYTES_MAX, SmbdLane, State};

impl SmbdLane {
    fn head(&mut self, kind: FrameKind) -> Head {
        self.told_receives = self.receives.end();
        self.told_fetched = self.fetched;
        Head { kind, receives: self.told_receives as u32, fetched: self.fetched as u32 }
    }

    /// Whether the peer has a receive for one more message.
    fn peer_receives_more(&self) -> bool {
        self.peer_receives.wrapping_sub(self.used) as i32 > 0
    }

    /// Begins operations as far as credits allow, in their order.
    pub(super) fn begin_operations(&mut self) -> Result<(), TransportError> {
        while let Some(accepted) = self.sends.at(self.next) {
            let op = accepted.op;
            let Some(piece) = self.piece(&op) else {
                return Err(TransportError::invalid("memory that is not attached to this lane"));
            };
            let begun = match op.verb {
                Verb::Send if op.len <= SENT_BYTES_MAX => self.send_small(&op, piece)?,
                Verb::Send => self.offer_large(piece)?,
                _ => self.move_bytes(&op, piece),
            };
            if !begun {
                return Ok(());
            }
            if let Some(accepted) = self.sends.at(self.next) {
                accepted.state = State::UnderWay;
            }
            self.next += 1;
            self.next_sent = 0;
        }
        Ok(())
    }

    /// Sends what may leave of a small message; whether that was the last of it.
    fn send_small(&mut self, op: &Op, piece: Piece) -> Result<bool, TransportError> {
        let most = self.agreed.payload_bytes();
        // What has left, its head counted in.
        let whole = HEAD_BYTES as u32 + op.len;
        while self.next_sent < whole {
            let first = self.next_sent == 0;
            if !self.connection.may_send() || (first && !self.peer_receives_more()) {
                return Ok(false);
            }
            let now = most.min(whole - self.next_sent);
            let remaining = whole - self.next_sent - now;
            let token = (remaining == 0).then_some(self.next);
            let (head, length) = self.head_of(first, op.len);
            let body = Piece {
                offset: piece.offset + u64::from(self.next_sent.saturating_sub(HEAD_BYTES as u32)),
                len: now - length as u32,
                ..piece
            };
            self.connection.send_fragment(&head[..length], body, remaining, token, None)?;
            self.used = self.used.wrapping_add(u32::from(first));
            self.next_sent += now;
        }
        self.counts.sent += 1;
        Ok(true)
    }

    fn head_of(&mut self, first: bool, bytes: u32) -> ([u8; super::frame::LARGE_BYTES], usize) {
        if first {
            self.head(FrameKind::Small { bytes }).encode()
        } else {
            ([0; super::frame::LARGE_BYTES], 0)
        }
    }

    /// Tells the peer where a large message lies.
    fn offer_large(&mut self, piece: Piece) -> Result<bool, TransportError> {
        if !self.connection.may_send() || !self.peer_receives_more() {
            return Ok(false);
        }
        let exposed =
            self.memory.iter().map(|(_, exposed)| exposed).find(|exposed| exposed.id == piece.region);
        let Some(exposed) = exposed else {
            return Err(TransportError::invalid("memory that is not attached to this lane"));
        };
        let descriptor = BufferDescriptor {
            address: exposed.address + piece.offset,
            token: exposed.key,
            bytes: piece.len,
        };
        let (head, length) = self.head(FrameKind::Large(descriptor)).encode();
        self.connection.send_fragment(&head[..length], Piece::default(), 0, None, None)?;
        self.used = self.used.wrapping_add(1);
        self.offered.push_back(self.next);
        self.counts.offered += 1;
        Ok(true)
    }

    /// A one-sided verb goes to the wire as it is.
    fn move_bytes(&mut self, op: &Op, piece: Piece) -> bool {
        let address = self.window.at(op.remote_offset, op.len).unwrap_or(0);
        let key = self.window.key;
        let verb = match op.verb {
            Verb::Read => WireVerb::Read { address, key },
            _ => WireVerb::Write { address, key },
        };
        self.connection.operate(WireOp { tag: self.next, verb, head: piece, body: Piece::default() });
        true
    }

    /// Tells the peer of receives and fetches, where no other message has.
    pub(super) fn tell_news(&mut self) -> Result<(), TransportError> {
        let posted = self.receives.end();
        let known_to_peer = self.told_receives.saturating_sub(self.matched);
        // Half of the receives at once, so that telling costs little.
        let receives = posted > self.told_receives && known_to_peer <= (posted - self.matched) / 2;
        let due = receives || self.fetched != self.told_fetched;
        if !due || self.next_sent > 0 || !self.connection.may_send() {
            return Ok(());
        }
        let (head, length) = self.head(FrameKind::News).encode();
        self.counts.news += 1;
        self.connection.send_fragment(&head[..length], Piece::default(), 0, None, None)
    }
}
