//! What this host believes about a path before anything is sent: its cached path MTU.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use pathproof_sys::errqueue::{self, Family};

use crate::DgramError;
use crate::udp::{bound, socket_error};

/// The path MTU towards `to` that the kernel would use for TCP now: the cached value if there is one, else the
/// interface's (or the route's). Sends nothing.
pub fn cached_path_mtu(
    local: std::net::IpAddr,
    nic: Option<&str>,
    to: SocketAddr,
) -> Result<u32, DgramError> {
    let socket = bound(local, nic)?;
    let family = Family::of(local);
    let fail = |operation| socket_error(local, nic, operation);
    errqueue::obey_path_mtu(socket.as_fd(), family).map_err(fail("set DF"))?;
    socket.connect(&to.into()).map_err(fail("look up the route"))?;
    errqueue::path_mtu(socket.as_fd(), family).map_err(fail("read the path MTU"))
}
