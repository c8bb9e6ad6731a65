//! What stopped a probe socket, with what to do about it.

use std::io;
use std::net::IpAddr;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DgramError {
    /// A probe socket could not be made ready.
    #[error("cannot probe from {local}{}: {operation}: {source}", device(.nic))]
    Socket {
        /// Local address.
        local: IpAddr,
        /// NIC it was to be bound to.
        nic: Option<String>,
        /// The call.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No way to send ICMP echo requests.
    #[error(
        "cannot send ICMP echo requests: unprivileged ping sockets are closed to this group \
         (net.ipv4.ping_group_range is \"{range}\") and raw sockets need cap_net_raw; run sysctl -w \
         net.ipv4.ping_group_range=\"0 2147483647\", or setcap cap_net_raw+ep on pathproof, or run as root"
    )]
    NoEcho {
        /// The sysctl as read, or `unknown`.
        range: String,
    },
    /// The destination cannot be sent to at all.
    #[error("cannot send to {to}: {source}; is there a route to it, and is the NIC up?")]
    Send {
        /// Destination.
        to: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The tags of frames cannot be seen.
    #[error(
        "the tags of frames cannot be listened for: {0}; that takes the right to raw packets (CAP_NET_RAW): run as root"
    )]
    Tags(#[source] io::Error),
    /// Packets that are none of ours cannot be seen.
    #[error(
        "packets cannot be listened for at the NIC: {0}; that takes the right to raw packets (CAP_NET_RAW): run as root"
    )]
    Packets(#[source] io::Error),
    /// Receiving failed.
    #[error("cannot receive answers: {0}")]
    Receive(#[source] io::Error),
}

fn device(nic: &Option<String>) -> String {
    nic.as_ref().map(|nic| format!(" on {nic}")).unwrap_or_default()
}
