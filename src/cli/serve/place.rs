//! Where a server listens, as it is typed: a port, an address of this host, both, or a NIC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use anyhow::{Result, bail};
use pathproof_api::option::nearest;
use pathproof_model::node::host_and_port;
use pathproof_model::{Environment, Nic};

use crate::host;
use crate::peer::DEFAULT_PORT;
use crate::serve::{Listening, Settings};

/// One `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This port of every address.
    Every(u16),
    /// An address.
    Address(SocketAddr),
    /// What a NIC has, or an address of its link alone.
    Nic {
        /// Its name.
        name: String,
        /// The link-local address, where one was typed with the NIC as its scope.
        only: Option<Ipv6Addr>,
        /// The port.
        port: u16,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let wrong = || {
            format!(
                "{text:?} is no place to listen; give a port (5000), an address of this host (10.0.0.2, [fd00::2]:5000) or a NIC (eth1, \
                 eth1:5000)"
            )
        };
        let digits = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
            return digits.parse().map(Place::Every).map_err(|_| wrong());
        }
        if text == "*" {
            return Ok(Place::Every(DEFAULT_PORT));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Place::of(address));
        }
        // As everywhere else, 0 is a port that is free.
        let (named, zero) = text.strip_suffix(":0").map_or((text, None), |named| (named, Some(0)));
        let (host, port) = host_and_port(named).ok_or_else(wrong)?;
        let port = port.or(zero).unwrap_or(DEFAULT_PORT);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Place::of(SocketAddr::new(ip, port)));
        }
        let (only, name) = match host.split_once('%') {
            Some((ip, scope)) => (Some(ip.parse().map_err(|_| wrong())?), scope),
            None => (None, host),
        };
        // No name of a NIC is longer, or has one of these in it.
        if name.is_empty() || name.len() > 15 || name.contains(['/', ',', '@']) {
            return Err(wrong());
        }
        Ok(Place::Nic { name: name.into(), only, port })
    }
}

impl Place {
    /// `[::]` alone is both families, as everywhere on Linux, and what is left of them where a host has only one.
    fn of(address: SocketAddr) -> Place {
        match address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Place::Every(address.port()),
            _ => Place::Address(address),
        }
    }
}

/// The sockets that were meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// This port of every address, of both families.
    Everywhere(u16),
    /// These.
    At(Vec<SocketAddr>),
}

impl Sockets {
    /// What was typed, on this host.
    pub fn of(typed: &[Place]) -> Result<Sockets> {
        match typed {
            [] => Ok(Sockets::Everywhere(DEFAULT_PORT)),
            [Place::Every(port)] => Ok(Sockets::Everywhere(*port)),
            _ if typed.iter().any(|place| matches!(place, Place::Nic { .. })) => {
                Sockets::on(typed, &host::observe().environment)
            }
            _ => Sockets::on(typed, &Environment::default()),
        }
    }

    fn on(typed: &[Place], here: &Environment) -> Result<Sockets> {
        let mut all: Vec<SocketAddr> = vec![];
        for place in typed {
            match place {
                Place::Every(port) => {
                    all.push((Ipv4Addr::UNSPECIFIED, *port).into());
                    all.push((Ipv6Addr::UNSPECIFIED, *port).into());
                }
                Place::Address(address) => all.push(*address),
                Place::Nic { name, only, port } => all.extend(of_nic(nic(name, here)?, *only, *port)?),
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|address| seen.insert(*address));
        Ok(Sockets::At(all))
    }

    /// Whether only this machine can reach them.
    pub fn all_loopback(&self) -> bool {
        matches!(self, Sockets::At(addresses) if crate::serve::all_loopback(addresses))
    }

    /// Listens there.
    pub fn listen(&self, settings: Settings) -> Result<Listening> {
        match self {
            Sockets::Everywhere(port) => Listening::everywhere(*port, settings),
            Sockets::At(addresses) => Listening::bind(addresses, settings),
        }
    }
}

fn nic<'a>(name: &str, here: &'a Environment) -> Result<&'a Nic> {
    if let Some(nic) = here.nics.iter().find(|nic| nic.name == name) {
        return Ok(nic);
    }
    let names: Vec<&str> = here.nics.iter().map(|nic| nic.name.as_str()).collect();
    let meant = nearest(name, &names).map_or(";".into(), |near| format!("; did you mean {near}?"));
    bail!(
        "there is no NIC {name} here{meant} --listen takes a port, an address of this host, or one of the NICs {}",
        names.join(", ")
    )
}

fn of_nic(nic: &Nic, only: Option<Ipv6Addr>, port: u16) -> Result<Vec<SocketAddr>> {
    let socket = |ip| match ip {
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80 => {
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, nic.index))
        }
        ip => SocketAddr::new(ip, port),
    };
    let own = nic.addresses.iter().map(|own| own.address);
    let wanted = own.filter(|ip| only.is_none_or(|only| *ip == only)).map(socket);
    let wanted: Vec<SocketAddr> = wanted.collect();
    match only {
        _ if !wanted.is_empty() => Ok(wanted),
        Some(only) => bail!("{} has no address {only}; pathproof devices lists those that it has", nic.name),
        None => bail!("{} has no address to listen on; pathproof devices lists those of all NICs", nic.name),
    }
}

#[cfg(test)]
mod tests {
    use pathproof_model::NicAddress;

    use super::*;

    fn here() -> Environment {
        let nic = |name: &str, index, addresses: &[&str]| Nic {
            name: name.into(),
            index,
            addresses: addresses
                .iter()
                .map(|ip| NicAddress { address: ip.parse().unwrap(), prefix_len: 24 })
                .collect(),
            ..Nic::default()
        };
        let nics = vec![
            nic("eth1", 4, &["10.0.0.2", "fd00::2", "fe80::2"]),
            nic("eth2", 5, &[]),
            nic("lo", 1, &["127.0.0.1"]),
        ];
        Environment { nics, ..Environment::default() }
    }

    fn at(typed: &[&str]) -> Result<Vec<String>> {
        let typed: Vec<Place> = typed.iter().map(|text| text.parse().unwrap()).collect();
        match Sockets::on(&typed, &here())? {
            Sockets::At(addresses) => Ok(addresses.iter().map(ToString::to_string).collect()),
            everywhere => panic!("{everywhere:?}"),
        }
    }

    #[test]
    fn a_place_is_read_as_people_type_it() {
        for (text, port) in
            [("5000", 5000), (":5000", 5000), ("*:7", 7), ("*", 7797), ("::", 7797), ("[::]:9", 9)]
        {
            assert_eq!(text.parse(), Ok(Place::Every(port)), "{text}");
            assert_eq!(Sockets::of(&[text.parse().unwrap()]).unwrap(), Sockets::Everywhere(port));
        }
        for (text, listens) in [
            ("10.0.0.2", &["10.0.0.2:7797"][..]),
            ("10.0.0.2:5", &["10.0.0.2:5"]),
            ("0.0.0.0", &["0.0.0.0:7797"]),
            ("fd00::2", &["[fd00::2]:7797"]),
            ("[fd00::2]", &["[fd00::2]:7797"]),
            ("eth1", &["10.0.0.2:7797", "[fd00::2]:7797", "[fe80::2%4]:7797"]),
            ("eth1:5", &["10.0.0.2:5", "[fd00::2]:5", "[fe80::2%4]:5"]),
            ("[fe80::2%eth1]:5", &["[fe80::2%4]:5"]),
            ("lo", &["127.0.0.1:7797"]),
            ("lo:0", &["127.0.0.1:0"]),
        ] {
            assert_eq!(at(&[text]).unwrap(), listens, "{text}");
        }
        assert_eq!(at(&["lo", "5", "127.0.0.1"]).unwrap(), ["127.0.0.1:7797", "0.0.0.0:5", "[::]:5"]);
    }

    #[test]
    fn what_is_no_place_is_told_with_those_that_there_are() {
        for text in
            ["", "70000", "host name", "10.0.0.2:70000", "//stor2/vms", "a-name-that-no-nic-has", "x%eth1"]
        {
            assert!(text.parse::<Place>().unwrap_err().contains("give a port"), "{text}");
        }
        for (text, told) in [
            ("eth12", "did you mean eth1?"),
            ("localhost", "one of the NICs eth1, eth2, lo"),
            ("eth2", "no address to listen on"),
            ("fe80::9%eth1", "no address fe80::9"),
        ] {
            let error = at(&[text]).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_alone_needs_no_key() {
        let of = |text: &str| Sockets::on(&[text.parse().unwrap()], &here()).unwrap().all_loopback();
        assert!(of("lo") && of("127.0.0.1:0") && of("[::1]:5"));
        assert!(!of("eth1") && !Sockets::Everywhere(7797).all_loopback());
    }
}
