//! The memory of a connection: a place for every receive and for every message under way; and what its caller registers and lends.

use std::sync::Arc;

use pathproof_api::{
    Access, Exposed, Loan, LoanForm, LoanId, Piece, Region, RegionId, TransportError, WireOp, WireVerb,
};

use super::{BIND, Connection};
use crate::codec::NEGOTIATE_RESPONSE_BYTES;
use crate::settings::Settings;

/// No receive is smaller before the connection than the specification wants (MS-SMBD 3.1.5.1: 512 bytes).
const RECEIVE_LEAST: u64 = 512;

/// Places for messages.
pub struct Places {
    /// Their memory.
    pub region: Arc<Region>,
    /// Its registration.
    pub id: RegionId,
    receive_stride: u64,
    sends_at: u64,
    send_stride: u64,
    idle: Vec<u32>,
    /// What to tell when the message in a place has left.
    tokens: Vec<Option<u64>>,
}

impl Places {
    /// Messages under way at once.
    pub const SENDS: usize = 128;

    fn strides(settings: &Settings) -> (u64, u64) {
        let line = |bytes: u64| bytes.next_multiple_of(64);
        let send = u64::from(settings.send_bytes).max(NEGOTIATE_RESPONSE_BYTES as u64);
        (line(u64::from(settings.receive_bytes).max(RECEIVE_LEAST)), line(send))
    }

    /// Memory that a connection with these settings takes.
    pub fn bytes(settings: &Settings) -> u64 {
        let (receive, send) = Places::strides(settings);
        receive * u64::from(settings.receive_credits) + send * Places::SENDS as u64
    }

    pub(super) fn new(region: Arc<Region>, id: RegionId, settings: &Settings) -> Places {
        let (receive_stride, send_stride) = Places::strides(settings);
        Places {
            region,
            id,
            receive_stride,
            sends_at: receive_stride * u64::from(settings.receive_credits),
            send_stride,
            idle: (0..Places::SENDS as u32).rev().collect(),
            tokens: vec![None; Places::SENDS],
        }
    }

    pub(super) fn receive_offset(&self, at: u32) -> u64 {
        self.receive_stride * u64::from(at)
    }

    pub(super) fn receive_bytes(&self) -> u32 {
        self.receive_stride as u32
    }

    pub(super) fn send_offset(&self, at: u32) -> u64 {
        self.sends_at + self.send_stride * u64::from(at)
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub(super) fn take(&mut self, token: Option<u64>) -> Option<u32> {
        let at = self.idle.pop()?;
        self.tokens[at as usize] = token;
        Some(at)
    }

    pub(super) fn give_back(&mut self, at: u32) -> Option<u64> {
        let token = self.tokens.get_mut(at as usize)?.take();
        if self.idle.len() < Places::SENDS {
            self.idle.push(at);
        }
        token
    }

    pub(super) fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), TransportError> {
        self.region.copy_in(offset, bytes).map_err(|error| TransportError::invalid(error.to_string()))
    }

    pub(super) fn get(&self, offset: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        self.region.copy_out(offset, bytes).map_err(|error| TransportError::invalid(error.to_string()))
    }
}

impl Connection {
    /// Registers memory of the caller's own.
    pub fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.wire.expose(region, access)
    }

    /// Ends a registration.
    pub fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        self.wire.withdraw(id)
    }

    /// Lends memory of the caller's own to the peer. It is open to the peer before anything that is sent from now on arrives there.
    pub fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        let loan = self.wire.lend(region, access)?;
        if loan.form == LoanForm::Window {
            let verb = WireVerb::Bind { loan: loan.id };
            self.operate(WireOp { tag: BIND, verb, head: Piece::default(), body: Piece::default() });
        }
        Ok(loan)
    }

    /// Ends a loan, where the peer has not done that.
    pub fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError> {
        self.wire.take_back(id, by_peer)
    }
}
