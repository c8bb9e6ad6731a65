//! Sockets to listen on: those that were named, or else every address of both families.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::Context;
use pathproof_sys::socket::is_family_off;
use socket2::{Domain, Socket, Type};

/// Connections that may wait in the kernel; it cuts this down to its own limit.
const BACKLOG: i32 = 4096;

/// Listens on all `addresses`, or says which cannot be listened on.
pub fn on(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    addresses
        .iter()
        .map(|address| {
            // "[::]" alone means both families, as everywhere on Linux; beside "0.0.0.0" it must leave IPv4 to that.
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let only = address.is_ipv6() && addresses.contains(&ipv4);
            listen(*address, only).with_context(|| {
                format!("cannot listen on {address}; is another pathproof serve running, or the address not of this host?")
            })
        })
        .collect()
}

/// Listens on every address of this host, on one port of both families; on one that is free, where `port` is 0. A host on which
/// IPv6 (or IPv4) is switched off serves the other family.
pub fn everywhere(port: u16) -> anyhow::Result<Vec<TcpListener>> {
    if port == 0 {
        return free_everywhere();
    }
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let ipv6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    // One socket for each family: so neither meets addresses of the other in disguise.
    let tried = [(ipv4, listen(ipv4, false)), (ipv6, listen(ipv6, true))];
    let mut listeners = vec![];
    for (address, result) in tried {
        match result {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_family_off(&error) => tracing::info!(%address, %error, "not listening"),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot listen on {address}; is another pathproof serve running? Name another with --listen ADDR:PORT")
                });
            }
        }
    }
    anyhow::ensure!(
        !listeners.is_empty(),
        "this host has neither IPv4 nor IPv6 to listen on; give a NIC an address (ip addr add)"
    );
    Ok(listeners)
}

/// A port that the system chose for one family may be taken in the other.
fn free_everywhere() -> anyhow::Result<Vec<TcpListener>> {
    const TRIES: usize = 16;
    let free = || -> io::Result<u16> {
        let any =
            [SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))];
        let listener = listen(any[0], true).or_else(|_| listen(any[1], false))?;
        Ok(listener.local_addr()?.port())
    };
    let mut last = None;
    for _ in 0..TRIES {
        match everywhere(free().context("no port is free")?) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| anyhow::anyhow!("no port is free in both families; name one with --listen PORT")))
}

fn listen(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_ipv6)?;
    }
    // A server that is started again need not wait for the connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn by_default_both_families_are_answered() {
        // A port that is free in both, or another try.
        let listeners = (0..20).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            everywhere(port).ok()
        });
        let listeners = listeners.expect("a free port");
        let port = listeners[0].local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let chosen = everywhere(0).unwrap();
        let ports: Vec<u16> = chosen.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port > 0), "{ports:?}");
        // Unless this host has no IPv6 at all, in which case the fall-back has just been tested.
        assert_eq!(listeners.len() == 2, TcpStream::connect(("::1", port)).is_ok());
    }

    #[test]
    fn both_wildcards_may_be_named_together() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let both = [SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0u16; 8], port))];
        match on(&both) {
            Ok(listeners) => assert_eq!(listeners.len(), 2),
            Err(error) => {
                let cause = error.downcast_ref::<io::Error>();
                assert!(cause.is_some_and(is_family_off), "{error:#}");
            }
        }
    }
}
