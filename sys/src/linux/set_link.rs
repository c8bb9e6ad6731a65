//! Takes an interface down and brings it up again, and believes neither before the kernel says so.
//!
//! With the flag the kernel drops what hung on the interface: its IPv6 addresses and the routes over it. They are kept
//! here and given back, so that the interface is what it was.

use std::io;

use super::netlink::{self, Attribute, FAMILY, Message, address, link, route};

/// Protocol of a route that a router's announcement made (`RTPROT_RA` in linux/rtnetlink.h).
const RTPROT_RA: u8 = 9;

/// An interface that may be taken down.
pub struct SettableLink {
    name: String,
    index: u32,
    addresses: Vec<Message>,
    routes: Vec<Message>,
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
            let _ = netlink::change(address.clone(), netlink::CREATE);
        }
        for route in &self.routes {
            let _ = netlink::change(route.clone(), netlink::CREATE);
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
        let flags = if up { libc::IFF_UP } else { 0 };
        let order = Message::of(libc::RTM_SETLINK)
            .set(link::INDEX, &self.index.to_ne_bytes())
            .set(link::FLAGS, &flags.to_ne_bytes())
            .set(link::CHANGE, &libc::IFF_UP.to_ne_bytes());
        netlink::change(order, 0)
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
    let question = Message::of(libc::RTM_GETLINK).with(libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
    match netlink::one(question)? {
        Some(answer) if answer.kind == libc::RTM_NEWLINK => {
            Ok((answer.u32_at(link::INDEX), answer.u32_at(link::FLAGS) & libc::IFF_UP as u32 != 0))
        }
        _ => Err(io::Error::from_raw_os_error(libc::ENODEV)),
    }
}

/// IPv6 addresses that somebody gave it; the link-local one the kernel makes itself.
fn addresses(index: u32) -> Vec<Message> {
    let question = Message::of(libc::RTM_GETADDR).set(FAMILY, &[libc::AF_INET6 as u8]);
    let mut answers = netlink::dump(question).unwrap_or_default();
    answers.retain(|answer| answer.kind == libc::RTM_NEWADDR && is_given(answer, index));
    answers
}

/// Whether an address of this interface stays until somebody takes it: one of a router's announcement comes back with the next one.
fn is_given(own: &Message, index: u32) -> bool {
    let flags = own.attribute(libc::IFA_FLAGS).and_then(Attribute::number);
    own.u32_at(address::INDEX) == index
        && own.u8_at(address::SCOPE) == libc::RT_SCOPE_UNIVERSE
        && flags.is_some_and(|flags| flags & libc::IFA_F_PERMANENT != 0)
}

/// Routes over it that somebody made; those of its own subnets the kernel makes itself.
fn routes(index: u32) -> Vec<Message> {
    let of = |family: libc::c_int| {
        let question = Message::of(libc::RTM_GETROUTE).set(FAMILY, &[family as u8]);
        netlink::dump(question).unwrap_or_default()
    };
    let mut routes: Vec<Message> = [libc::AF_INET, libc::AF_INET6].into_iter().flat_map(of).collect();
    routes.retain(|one| one.kind == libc::RTM_NEWROUTE && is_made(one, index));
    // A route through a router needs the one to that router first.
    routes.sort_by_key(|one| one.attribute(libc::RTA_GATEWAY).is_some());
    // What the kernel counts about a route is no part of it.
    routes.iter().map(|one| one.without(libc::RTA_CACHEINFO)).collect()
}

fn is_made(one: &Message, index: u32) -> bool {
    let out = one.attribute(libc::RTA_OIF).and_then(Attribute::number);
    out == Some(index) && ![libc::RTPROT_KERNEL, RTPROT_RA].contains(&one.u8_at(route::PROTOCOL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_makes_by_itself_is_not_given_back() {
        let own = |index: u32, scope: u8, flags: u32| {
            Message::of(libc::RTM_NEWADDR)
                .set(address::INDEX, &index.to_ne_bytes())
                .set(address::SCOPE, &[scope])
                .with(libc::IFA_FLAGS, &flags.to_ne_bytes())
        };
        assert!(is_given(&own(3, 0, libc::IFA_F_PERMANENT), 3));
        assert!(!is_given(&own(4, 0, libc::IFA_F_PERMANENT), 3), "of another interface");
        assert!(!is_given(&own(3, 253, libc::IFA_F_PERMANENT), 3), "link-local");
        assert!(!is_given(&own(3, 0, 0), 3), "a router's");
        let route = |index: u32, protocol: u8| {
            let route = Message::of(libc::RTM_NEWROUTE).set(route::PROTOCOL, &[protocol]);
            route.with(libc::RTA_OIF, &index.to_ne_bytes())
        };
        assert!(is_made(&route(3, 4), 3));
        for other in [route(4, 4), route(3, libc::RTPROT_KERNEL), route(3, RTPROT_RA)] {
            assert!(!is_made(&other, 3), "{other:?}");
        }
    }
}
