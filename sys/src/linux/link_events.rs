//! Carrier of the interfaces as it comes and goes: rtnetlink's own announcements, so nothing is polled.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::ending::Ending;
use super::netlink::{self, Attribute, Message, link};
use crate::interfaces::LinkChange;

/// The multicast group of link announcements (`RTMGRP_LINK`).
const GROUP_LINK: u32 = 1;

/// Hears about every interface of this network namespace.
pub struct LinkEvents {
    socket: Socket,
    known: BTreeMap<String, bool>,
}

impl LinkEvents {
    /// Subscribes; changes from here on are heard.
    pub fn subscribe() -> io::Result<LinkEvents> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUP_LINK))?;
        socket.set_non_blocking(true)?;
        // After the subscription: what changes in between is announced as well, and then known already.
        let all = netlink::dump(Message::of(libc::RTM_GETLINK))?;
        let known = all.iter().filter_map(state).map(|change| (change.nic, change.up)).collect();
        Ok(LinkEvents { socket, known })
    }

    /// Waits for announcements; which changes they are, none in most cases. `None`: the end has come.
    pub fn next(&mut self, ending: &Ending) -> io::Result<Option<Vec<LinkChange>>> {
        if !ending.wait_readable(&[self.socket.as_fd()], None)? {
            return Ok(None);
        }
        let datagram = match self.socket.recv_from_full() {
            Ok((datagram, _)) => datagram,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(Some(vec![]));
            }
            Err(e) => return Err(e),
        };
        let mut changes = Vec::new();
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            // An announcement that cannot be read is somebody else's news.
            let Ok(message) = NetlinkMessage::<Message>::deserialize(rest) else { break };
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
            let NetlinkPayload::InnerMessage(news) = message.payload else { continue };
            let Some(change) = state(&news) else { continue };
            if self.known.insert(change.nic.clone(), change.up) != Some(change.up) {
                changes.push(change);
            }
        }
        Ok(Some(changes))
    }
}

/// What a message says of its interface.
fn state(message: &Message) -> Option<LinkChange> {
    const CARRIES: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
    let there = match message.kind {
        libc::RTM_NEWLINK => true,
        libc::RTM_DELLINK => false,
        _ => return None,
    };
    let nic = message.attribute(libc::IFLA_IFNAME).and_then(Attribute::text)?;
    let up = there && message.u32_at(link::FLAGS) & CARRIES == CARRIES;
    Some(LinkChange { nic, up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_carries_when_it_is_up_and_has_a_carrier_and_is_there() {
        let said = |kind: u16, flags: i32| {
            let message = Message::of(kind).set(link::FLAGS, &flags.to_ne_bytes());
            state(&message.with(libc::IFLA_IFNAME, b"e0\0")).map(|change| (change.nic, change.up))
        };
        let carries = libc::IFF_UP | libc::IFF_LOWER_UP;
        assert_eq!(said(libc::RTM_NEWLINK, carries), Some(("e0".into(), true)));
        assert_eq!(said(libc::RTM_NEWLINK, libc::IFF_UP), Some(("e0".into(), false)));
        assert_eq!(said(libc::RTM_NEWLINK, libc::IFF_LOWER_UP), Some(("e0".into(), false)));
        assert_eq!(said(libc::RTM_DELLINK, carries), Some(("e0".into(), false)));
        assert_eq!(said(libc::RTM_NEWROUTE, carries), None);
        assert_eq!(state(&Message::of(libc::RTM_NEWLINK)), None, "of an interface without a name");
    }
}
