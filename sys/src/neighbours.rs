//! Neighbours: which hardware address answers for an address of a network that this host is in.

use std::net::IpAddr;

pub use crate::system::neighbours::list;

/// What the system knows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Name of the interface that leads to it.
    pub interface: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Nobody answered for the address.
    pub failed: bool,
}
