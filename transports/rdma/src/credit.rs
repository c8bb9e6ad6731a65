//! Flow control of messages. On iWARP a message that finds no posted receive ends the connection (RFC 5041 §7.1); on
//! RoCE and InfiniBand it is refused ("receiver not ready"), and everything behind it is sent again after a pause.
//! The receiver therefore writes the count of receives it has posted so far into a cell of the sender's memory, and
//! the sender holds messages back until the count allows them, as SMB Direct does by credits in its messages. Costs
//! one 8-byte RDMA write for half a queue of receives; uses no receive itself.

use std::sync::Arc;

use pathproof_api::{Pages, Region, TransportError};

use crate::ffi::{IbvSendWr, IbvSge, k};
use crate::verbs::{MemoryRegion, ProtectionDomain};

/// Marks credit writes in `wr_id`.
pub(crate) const GRANT: u64 = 1 << 62;
/// Credit writes that may be under way at once.
pub(crate) const GRANTS: u32 = 16;
/// Where in the cell's region the peer writes.
const INBOUND: u64 = 0;
/// Where outgoing counts are kept until they were sent, one word for each write under way.
const OUTBOUND: u64 = 64;

/// Memory for credits, made before the peer is known.
pub(crate) struct Cell {
    region: Arc<Region>,
    registered: Arc<MemoryRegion>,
}

impl Cell {
    pub(crate) fn new(domain: &Arc<ProtectionDomain>) -> Result<Cell, TransportError> {
        let region =
            Arc::new(Region::new(4096, Pages::Default).map_err(|e| TransportError::invalid(e.to_string()))?);
        let registered =
            MemoryRegion::new(domain, &region, k::IBV_ACCESS_LOCAL_WRITE | k::IBV_ACCESS_REMOTE_WRITE)?;
        Ok(Cell { region, registered })
    }

    /// Address and key for the peer.
    pub(crate) fn offer(&self) -> (u64, u32) {
        (self.region.base_address() as u64 + INBOUND, self.registered.remote_key())
    }
}

/// The running account of one lane.
pub(crate) struct Credit {
    cell: Cell,
    peer_address: u64,
    peer_key: u32,
    /// Receives the peer was told of.
    granted: u64,
    grants_posted: u64,
    grants_finished: u64,
    /// Messages sent.
    used: u64,
    /// Messages that the peer is known to have receives for, when its count was last looked at.
    allowed: u64,
}

impl Credit {
    pub(crate) fn new(cell: Cell, peer_address: u64, peer_key: u32) -> Credit {
        Credit {
            cell,
            peer_address,
            peer_key,
            granted: 0,
            grants_posted: 0,
            grants_finished: 0,
            used: 0,
            allowed: 0,
        }
    }

    /// Address and key of the peer's cell.
    pub(crate) fn at_the_peer(&self) -> (u64, u32) {
        (self.peer_address, self.peer_key)
    }

    /// Whether one more message may be sent. The peer's adapter writes the count, so it is only looked at once what it allowed
    /// before is used up: a look for every message would fetch its line from there again and again.
    #[inline]
    pub(crate) fn allows(&mut self) -> bool {
        if self.used < self.allowed {
            return true;
        }
        // Counts only grow; one that did not is no receive that was taken back.
        self.allowed = self.allowed.max(self.cell.region.load_word(INBOUND).unwrap_or(0));
        self.used < self.allowed
    }

    /// Books a message.
    #[inline]
    pub(crate) fn spend(&mut self) {
        self.used += 1;
    }

    /// A message that was booked does not go.
    pub(crate) fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// Whether the peer should hear of `posted` receives now, `finished` of which are used up. Half a queue is told at once, so
    /// that the write costs little.
    #[inline]
    pub(crate) fn is_due(&self, posted: u64, finished: u64) -> bool {
        posted > self.granted
            && self.granted.saturating_sub(finished) <= (posted - finished) / 2
            && self.grants_posted - self.grants_finished < u64::from(GRANTS)
    }

    /// Fills `wr` and `sge` with the write that tells the peer of `posted` receives; `false` when it cannot be told. Only where
    /// it [is due](Credit::is_due).
    pub(crate) fn grant(&mut self, posted: u64, wr: &mut IbvSendWr, sge: &mut IbvSge) -> bool {
        let slot = OUTBOUND + 8 * (self.grants_posted % u64::from(GRANTS));
        if self.cell.region.store_word(slot, posted).is_err() {
            return false;
        }
        *sge = IbvSge {
            addr: self.cell.region.base_address() as u64 + slot,
            length: 8,
            lkey: self.cell.registered.local_key(),
        };
        *wr = IbvSendWr::empty();
        wr.wr_id = GRANT | self.grants_posted;
        wr.sg_list = sge;
        wr.num_sge = 1;
        wr.opcode = k::IBV_WR_RDMA_WRITE;
        // Signalled one by one: a lane that only receives has no other completion to free their places.
        wr.send_flags = k::IBV_SEND_SIGNALED;
        wr.remote_addr = self.peer_address;
        wr.rkey = self.peer_key;
        self.grants_posted += 1;
        self.granted = posted;
        true
    }

    /// Books the completion of a credit write.
    pub(crate) fn granted_one(&mut self) {
        self.grants_finished = (self.grants_finished + 1).min(self.grants_posted);
    }
}
