//! FSCTL_QUERY_NETWORK_INTERFACE_INFO (MS-SMB2 2.2.31, 2.2.32.5): the server's NICs as SMB sees them.
//!
//! The answer is a chain of 152-byte records linked by relative offsets. A record may only point
//! forward, to an aligned place inside the buffer, so a chain cannot loop; records of an address
//! family we do not know are counted, not guessed at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::WireError;
use crate::wire::{HEADER_BYTES, array_at, slice_at, u16_at, u32_at, u64_at};

/// The control code of the query.
pub const FSCTL_QUERY_NETWORK_INTERFACE_INFO: u32 = 0x0014_01FC;

/// The longest list asked for and accepted: what Windows clients ask for, 431 records.
pub const MAX_OUTPUT_BYTES: u32 = 65_536;

/// Length of one record.
pub const RECORD_BYTES: usize = 152;

const AF_INET: u16 = 2;
/// Windows' number for IPv6, whatever the server runs on; Linux's own is 10.
const AF_INET6: u16 = 0x17;

/// One address of one NIC of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The server's interface number; several records of one NIC share it.
    pub index: u32,
    /// The NIC spreads receive work over several queues.
    pub rss: bool,
    /// The NIC carries SMB Direct.
    pub rdma: bool,
    /// Link speed; `None` when the server wrote 0.
    pub speed_bits_per_s: Option<u64>,
    /// The address.
    pub address: IpAddr,
    /// The server's own scope number of a link-local address; `None` for others.
    pub scope: Option<u32>,
}

/// The decoded list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterfaceList {
    /// The records, in the server's order.
    pub interfaces: Vec<Interface>,
    /// Records skipped because their address family is neither IPv4 nor IPv6.
    pub unknown_families: u32,
}

/// The body of the IOCTL question.
pub fn encode_query() -> Vec<u8> {
    let mut body = Vec::with_capacity(56);
    body.extend_from_slice(&57u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&FSCTL_QUERY_NETWORK_INTERFACE_INFO.to_le_bytes());
    body.extend_from_slice(&[0xFF; 16]); // no file: the question is to the server
    for field in [0, 0, 0, 0, 0, MAX_OUTPUT_BYTES, 1, 0u32] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body
}

/// Read the list out of a whole IOCTL answer (header included).
pub fn decode_answer(message: &[u8]) -> Result<InterfaceList, WireError> {
    const WHAT: &str = "interface query answer";
    let body = HEADER_BYTES;
    if u16_at(message, body, WHAT)? != 49 {
        return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 49" });
    }
    if u32_at(message, body + 4, WHAT)? != FSCTL_QUERY_NETWORK_INTERFACE_INFO {
        return Err(WireError::Malformed { what: WHAT, why: "it answers another control code" });
    }
    let offset = u32_at(message, body + 32, WHAT)? as usize;
    let length = u32_at(message, body + 36, WHAT)? as usize;
    if length == 0 {
        return Ok(InterfaceList::default());
    }
    if length > MAX_OUTPUT_BYTES as usize {
        return Err(WireError::Oversize { length, limit: MAX_OUTPUT_BYTES as usize });
    }
    if offset < HEADER_BYTES + 48 {
        return Err(WireError::Malformed { what: WHAT, why: "the list overlaps the header" });
    }
    decode_list(slice_at(message, offset, length, WHAT)?)
}

/// Write a chain of records, as a server tells it.
pub fn encode_list(interfaces: &[Interface]) -> Vec<u8> {
    let mut out = Vec::with_capacity(interfaces.len() * RECORD_BYTES);
    for (at, interface) in interfaces.iter().enumerate() {
        let next = if at + 1 < interfaces.len() { RECORD_BYTES as u32 } else { 0 };
        let capability = u32::from(interface.rss) | u32::from(interface.rdma) << 1;
        for field in [next, interface.index, capability, 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&interface.speed_bits_per_s.unwrap_or(0).to_le_bytes());
        match interface.address {
            IpAddr::V4(address) => {
                out.extend_from_slice(&AF_INET.to_le_bytes());
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                out.extend_from_slice(&AF_INET6.to_le_bytes());
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(&address.octets());
                out.extend_from_slice(&interface.scope.unwrap_or(0).to_le_bytes());
            }
        }
        out.resize((at + 1) * RECORD_BYTES, 0);
    }
    out
}

/// Read a chain of records.
pub fn decode_list(buffer: &[u8]) -> Result<InterfaceList, WireError> {
    const WHAT: &str = "interface record";
    let mut list = InterfaceList::default();
    let mut at = 0;
    loop {
        let record = slice_at(buffer, at, RECORD_BYTES, WHAT)?;
        match decode_record(record)? {
            Some(interface) => list.interfaces.push(interface),
            None => list.unknown_families += 1,
        }
        // Each step moves at least one record forward, so the buffer's length bounds the loop.
        // Whatever follows the last record (Azure pads by up to 8 bytes) is of no interest.
        match u32_at(record, 0, WHAT)? as usize {
            0 => return Ok(list),
            next if next % 8 != 0 => {
                return Err(WireError::Malformed {
                    what: WHAT,
                    why: "the offset to the next is not a multiple of 8",
                });
            }
            next if next < RECORD_BYTES => {
                return Err(WireError::Malformed { what: WHAT, why: "the next one overlaps it" });
            }
            next => at = at.saturating_add(next),
        }
    }
}

fn decode_record(record: &[u8]) -> Result<Option<Interface>, WireError> {
    const WHAT: &str = "interface record";
    let (address, scope) = match u16_at(record, 24, WHAT)? {
        AF_INET => (IpAddr::V4(Ipv4Addr::from(array_at::<4>(record, 28, WHAT)?)), None),
        AF_INET6 => {
            let address = Ipv6Addr::from(array_at::<16>(record, 32, WHAT)?);
            let scope = u32_at(record, 48, WHAT)?;
            (IpAddr::V6(address), address.is_unicast_link_local().then_some(scope))
        }
        _ => return Ok(None),
    };
    let capability = u32_at(record, 8, WHAT)?;
    let speed = u64_at(record, 16, WHAT)?;
    Ok(Some(Interface {
        index: u32_at(record, 4, WHAT)?,
        rss: capability & 1 != 0,
        rdma: capability & 2 != 0,
        speed_bits_per_s: (speed != 0).then_some(speed),
        address,
        scope,
    }))
}
