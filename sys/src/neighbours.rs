//! Neighbours: which hardware address answers for an address of a network that this host is in.

use std::net::IpAddr;

pub use crate::system::arp::Wire;
pub use crate::system::ndp::Wire6;
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

/// Somebody on a wire said to have an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Hardware address of whoever said so.
    pub mac: String,
}
