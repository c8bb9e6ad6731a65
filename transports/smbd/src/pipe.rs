//! [`SmbdPipe`]: whole messages over one connection, for an SMB2 dialogue.

use std::sync::Arc;

use pathproof_api::{
    Access, Arrival, CompletionStatus, EndedBy, Exposed, Invalidated, LaneStats, Loan, LoanId, MessagePipe,
    Piece, PipeLimits, Queued, Region, RegionId, TransportError, Wait, WireOp,
};

use crate::connection::{Connection, WHOLE_WITHIN};
use crate::loans::Loans;
use crate::settings::Agreed;

/// A pipe over an SMB Direct connection that is negotiated.
pub struct SmbdPipe {
    connection: Connection,
    agreed: Agreed,
    limits: PipeLimits,
    /// The message that is being sent, and how much of it has left.
    outgoing: Vec<u8>,
    sent: usize,
    invalidate: Option<u32>,
    /// Another was refused because of it.
    refused: bool,
    /// The message that is coming.
    incoming: Vec<u8>,
    arrival: Arrival,
    /// One-sided operations under way.
    moving: usize,
    loans: Loans,
}

impl SmbdPipe {
    /// Over `connection`, which is negotiated first where it is not.
    pub fn new(mut connection: Connection) -> Result<SmbdPipe, TransportError> {
        let agreed = connection.negotiated()?;
        let limits = PipeLimits {
            send_bytes_max: u64::from(agreed.fragmented_send_bytes),
            receive_bytes_max: u64::from(connection.settings().fragmented_bytes),
            one_sided_bytes_max: Some(u64::from(agreed.read_write_bytes)),
            whole_within: WHOLE_WITHIN,
        };
        let incoming = Vec::with_capacity(connection.settings().fragmented_bytes as usize);
        Ok(SmbdPipe {
            agreed,
            limits,
            outgoing: Vec::with_capacity(agreed.fragmented_send_bytes.min(1 << 20) as usize),
            sent: 0,
            invalidate: None,
            refused: false,
            incoming,
            arrival: Arrival::default(),
            moving: 0,
            loans: Loans::default(),
            connection,
        })
    }

    /// The connection below.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins one-sided operations of the caller's own, at most `together` at once; those beyond wait for others to end.
    pub fn begin(
        &mut self,
        ops: impl IntoIterator<Item = WireOp>,
        together: usize,
    ) -> Result<(), TransportError> {
        for op in ops {
            if self.moving >= together {
                self.settle()?;
            }
            self.connection.operate(op);
            self.moving += 1;
        }
        self.connection.flush()
    }

    /// Returns when no one-sided operation is under way any more.
    pub fn settle(&mut self) -> Result<(), TransportError> {
        let clock = self.connection.clock();
        let began = clock.now();
        while self.moving > 0 {
            let left = WHOLE_WITHIN.saturating_sub(clock.now().since(began));
            if left.is_zero() {
                let operation = "moving data of the peer's memory".into();
                return Err(TransportError::Timeout { operation, after: WHOLE_WITHIN });
            }
            self.connection.turn(Wait::AtMost(left))?;
            self.count_finished()?;
        }
        Ok(())
    }

    /// Returns when the message that was handed over last has left, as far as the peer grants it.
    pub fn drain(&mut self) -> Result<(), TransportError> {
        let clock = self.connection.clock();
        let began = clock.now();
        self.push()?;
        while self.sent < self.outgoing.len() {
            let left = WHOLE_WITHIN.saturating_sub(clock.now().since(began));
            if left.is_zero() {
                let operation = "the peer to grant the rest of a message".into();
                return Err(TransportError::Timeout { operation, after: WHOLE_WITHIN });
            }
            self.connection.turn(Wait::AtMost(left))?;
            self.count_finished()?;
            self.push()?;
        }
        Ok(())
    }

    fn count_finished(&mut self) -> Result<(), TransportError> {
        while let Some(finished) = self.connection.take_finished() {
            self.moving = self.moving.saturating_sub(1);
            if finished.status != CompletionStatus::Ok {
                let detail = "its memory could not be reached by the keys that it gave".into();
                let operation = "moving data by RDMA".into();
                return Err(TransportError::PeerGone { operation, how: None, detail });
            }
        }
        Ok(())
    }

    /// Cuts off as many fragments of the outgoing message as may leave.
    fn push(&mut self) -> Result<(), TransportError> {
        while self.sent < self.outgoing.len() && self.connection.may_send() {
            let from = self.sent;
            let to = self.outgoing.len().min(from + self.agreed.payload_bytes() as usize);
            let remaining = (self.outgoing.len() - to) as u32;
            // On exactly one fragment (3.1.5.1): the last, when everything that it stands for has come.
            let key = if remaining == 0 { self.invalidate.take() } else { None };
            self.connection.send_fragment(
                &self.outgoing[from..to],
                Piece::default(),
                remaining,
                None,
                key,
            )?;
            self.sent = to;
        }
        self.connection.flush()
    }

    /// Takes fragments until a message is whole.
    fn gather(&mut self, message: &mut Vec<u8>) -> Result<Option<Arrival>, TransportError> {
        while let Some(fragment) = self.connection.take_fragment() {
            if fragment.first {
                self.incoming.clear();
                self.arrival = Arrival::default();
            }
            let from = self.incoming.len();
            self.incoming.resize(from + fragment.bytes as usize, 0);
            self.connection
                .memory()
                .copy_out(fragment.offset, &mut self.incoming[from..])
                .map_err(|error| TransportError::invalid(error.to_string()))?;
            self.connection.release(&fragment);
            self.arrival.fragments += 1;
            let invalidated = self.loans.credible(fragment.invalidated);
            if invalidated != Invalidated::NotReported {
                self.arrival.invalidated = invalidated;
                self.arrival.endings += 1;
            }
            if fragment.remaining == 0 {
                std::mem::swap(message, &mut self.incoming);
                self.connection.flush()?;
                return Ok(Some(self.arrival));
            }
        }
        Ok(None)
    }
}

impl MessagePipe for SmbdPipe {
    fn limits(&self) -> &PipeLimits {
        &self.limits
    }

    fn send(&mut self, parts: &[&[u8]], invalidate: Option<u32>) -> Result<Queued, TransportError> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        if bytes == 0 || bytes > self.limits.send_bytes_max {
            return Err(TransportError::invalid(format!(
                "a message of {bytes} bytes: the peer takes 1 to {} (its MaxFragmentedSize)",
                self.limits.send_bytes_max
            )));
        }
        self.push()?;
        if self.sent < self.outgoing.len() {
            self.refused = true;
            return Ok(Queued::Full);
        }
        self.outgoing.clear();
        self.sent = 0;
        self.invalidate = invalidate;
        for part in parts {
            self.outgoing.extend_from_slice(part);
        }
        self.push()?;
        Ok(Queued::Yes)
    }

    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError> {
        message.clear();
        if let Some(arrival) = self.gather(message)? {
            return Ok(Some(arrival));
        }
        let clock = self.connection.clock();
        let began = clock.now();
        let mut left = wait;
        loop {
            self.connection.turn(left)?;
            self.count_finished()?;
            self.push()?;
            if let Some(arrival) = self.gather(message)? {
                return Ok(Some(arrival));
            }
            if self.sent == self.outgoing.len() && std::mem::take(&mut self.refused) {
                return Ok(None);
            }
            let Wait::AtMost(most) = wait else { return Ok(None) };
            let gone = clock.now().since(began);
            if gone >= most {
                return Ok(None);
            }
            left = Wait::AtMost(most - gone);
        }
    }

    fn unfinished(&self) -> Option<u64> {
        self.connection.unfinished()
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.connection.expose(region, access)
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        self.connection.withdraw(id)
    }

    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        let loan = self.connection.lend(region, access)?;
        self.loans.lent(loan.id, loan.key);
        Ok(loan)
    }

    fn take_back(&mut self, id: LoanId, arrival: &Arrival) -> Result<EndedBy, TransportError> {
        let verdict = self.loans.take_back(id, arrival);
        let verdict = verdict.ok_or_else(|| TransportError::invalid("nothing of that name is lent"))?;
        let by = verdict.map_err(|wrong| self.connection.protocol(wrong.to_string()))?;
        self.connection.take_back(id, by == EndedBy::Peer)?;
        Ok(by)
    }

    fn close(self: Box<Self>) -> LaneStats {
        self.connection.close()
    }
}
