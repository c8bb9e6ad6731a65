//! Carrier of the interfaces as it comes and goes: rtnetlink's own announcements, so nothing is polled.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::ending::Ending;
use super::netlink;
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
        let all = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
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
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else { break };
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
fn state(message: &RouteNetlinkMessage) -> Option<LinkChange> {
    let (link, there) = match message {
        RouteNetlinkMessage::NewLink(link) => (link, true),
        RouteNetlinkMessage::DelLink(link) => (link, false),
        _ => return None,
    };
    let nic = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let up = there && link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(LinkChange { nic, up })
}
