//! Takes an interface down and brings it up again, and believes neither before the kernel says so.
//!
//! With the flag the kernel drops what hung on the interface: its IPv6 addresses and the routes over it. They are kept
//! here and given back, so that the interface is what it was.

use std::io;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink;

/// An interface that may be taken down.
pub struct SettableLink {
    name: String,
    index: u32,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
}

impl SettableLink {
    /// Finds an interface that is up and that this process may change. Nothing is changed; one sentence says why not.
    pub fn find(name: &str) -> Result<SettableLink, String> {
        let (index, up) = match state(name) {
            Ok(found) => found,
            Err(error) if is_missing(&error) => {
                return Err(format!("this host has no NIC {name}; pathproof devices lists them"));
            }
            Err(error) => return Err(format!("the state of {name} cannot be read: {error}")),
        };
        if !up {
            return Err(format!(
                "{name} is down already, so it cannot fail; bring it up first (ip link set {name} up)"
            ));
        }
        let link =
            SettableLink { name: name.into(), index, addresses: addresses(index), routes: routes(index) };
        // Setting what is set asks for the right and changes nothing.
        link.flag(true).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                format!("{name} may not be taken down by this user; run as root (CAP_NET_ADMIN)")
            }
            _ => format!("{name} cannot be changed: {error}"),
        })?;
        Ok(link)
    }

    /// Takes it down. It is down when this returns `Ok`.
    pub fn down(&self) -> Result<(), String> {
        self.set(false)
    }

    /// Brings it up, with what the kernel took from it. It is up when this returns `Ok`.
    pub fn up(&self) -> Result<(), String> {
        self.set(true)?;
        // What is there already, and what depended on something else that is gone, stays as it is.
        for address in &self.addresses {
            let _ = netlink::change(RouteNetlinkMessage::NewAddress(address.clone()), netlink::CREATE);
        }
        for route in &self.routes {
            let _ = netlink::change(RouteNetlinkMessage::NewRoute(route.clone()), netlink::CREATE);
        }
        Ok(())
    }

    fn set(&self, up: bool) -> Result<(), String> {
        let name = &self.name;
        self.flag(up).map_err(|error| format!("{name} could not be set {}: {error}", word(up)))?;
        match state(name) {
            Ok((_, now)) if now == up => Ok(()),
            Ok(_) => Err(format!("{name} was set {} and is not", word(up))),
            Err(error) => Err(format!("the state of {name} cannot be read: {error}")),
        }
    }

    fn flag(&self, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        netlink::change(RouteNetlinkMessage::SetLink(message), 0)
    }
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn is_missing(error: &io::Error) -> bool {
    // Names that are too long are no names.
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ERANGE | libc::EINVAL))
}

/// Index of an interface, and whether it is up.
fn state(name: &str) -> io::Result<(u32, bool)> {
    let mut question = LinkMessage::default();
    question.attributes.push(LinkAttribute::IfName(name.into()));
    match netlink::one(RouteNetlinkMessage::GetLink(question))? {
        Some(RouteNetlinkMessage::NewLink(link)) => {
            Ok((link.header.index, link.header.flags.contains(LinkFlags::Up)))
        }
        _ => Err(io::Error::from_raw_os_error(libc::ENODEV)),
    }
}

/// IPv6 addresses that somebody gave it; the link-local one the kernel makes itself.
fn addresses(index: u32) -> Vec<AddressMessage> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet6;
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(question)).unwrap_or_default();
    let own = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(address) => Some(address),
        _ => None,
    });
    own.filter(|address| address.header.index == index && address.header.scope == AddressScope::Universe)
        // An address of a router's announcement comes back with the next one.
        .filter(|address| {
            let flags = address.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Flags(flags) => Some(*flags),
                _ => None,
            });
            flags.is_some_and(|flags| flags.contains(AddressFlags::Permanent))
        })
        .collect()
}

/// Routes over it that somebody made; those of its own subnets the kernel makes itself.
fn routes(index: u32) -> Vec<RouteMessage> {
    let of = |family| {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        netlink::dump(RouteNetlinkMessage::GetRoute(question)).unwrap_or_default()
    };
    let all = [AddressFamily::Inet, AddressFamily::Inet6].into_iter().flat_map(of);
    let mut routes: Vec<RouteMessage> = all
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        })
        .filter(|route| route.attributes.contains(&RouteAttribute::Oif(index)))
        .filter(|route| !matches!(route.header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra))
        .collect();
    // A route through a router needs the one to that router first.
    routes.sort_by_key(|route| route.attributes.iter().any(|a| matches!(a, RouteAttribute::Gateway(_))));
    // What the kernel counts about a route is no part of it.
    routes.iter_mut().for_each(|route| {
        route.attributes.retain(|a| !matches!(a, RouteAttribute::CacheInfo(_)));
    });
    routes
}
