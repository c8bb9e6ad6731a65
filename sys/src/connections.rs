//! Who speaks TCP with whom at one port, whichever process does.

use std::net::IpAddr;

pub use crate::system::connections::of_port;

/// A connection of this host that has the port at one of its ends, or a listener there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortUse {
    /// The address of this host; the unspecified one for a listener at all of them.
    pub local: IpAddr,
    /// The other end of an open connection; `None` for a listener.
    pub other: Option<IpAddr>,
}
