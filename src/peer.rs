//! A peer as it is typed: `HOST[:PORT]`, or a share of a server: `//SERVER[:PORT]/SHARE[/DIR]`.

use std::str::FromStr;

pub use pathproof_model::node::DEFAULT_PORT;
use pathproof_model::node::host_and_port;

/// `HOST[:PORT]`: a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As typed.
    pub text: String,
    /// The share, where one was typed; then the port is the server's.
    pub share: Option<ShareName>,
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Peer, String> {
        if text.starts_with("//") || text.starts_with("\\\\") {
            let share: ShareName = text.parse()?;
            let (host, port) = (share.host.clone(), share.port);
            return Ok(Peer { host, port, text: text.into(), share: Some(share) });
        }
        let (host, port) = host_and_port(text).ok_or_else(|| {
            format!("{text:?} is not a peer; write HOST, HOST:PORT, IPV4[:PORT] or [IPV6][:PORT]")
        })?;
        Ok(Peer { host: host.into(), port: port.unwrap_or(DEFAULT_PORT), text: text.into(), share: None })
    }
}

/// A share as it is typed: `//SERVER[:PORT]/SHARE[/DIR]`, or with backslashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareName {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The share.
    pub share: String,
    /// The directory in it; empty for the share itself.
    pub directory: String,
}

impl FromStr for ShareName {
    type Err = String;

    fn from_str(text: &str) -> Result<ShareName, String> {
        let wrong = || {
            format!(
                "{text:?} is no share; write //SERVER/SHARE, //SERVER:PORT/SHARE or //SERVER/SHARE/DIRECTORY"
            )
        };
        let slashes = text.replace('\\', "/");
        let rest = slashes.strip_prefix("//").ok_or_else(wrong)?;
        let mut parts = rest.splitn(3, '/');
        let (server, share) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let directory = parts.next().unwrap_or_default().trim_matches('/').to_owned();
        if server.is_empty() || share.is_empty() {
            return Err(wrong());
        }
        if directory.split('/').any(|part| part == ".." || part == ".") {
            return Err(format!("the directory {directory:?} must not contain . or .. as a part"));
        }
        // An IPv6 address has brackets where a port follows.
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)
            }
            _ => (server, 445),
        };
        Ok(ShareName { host: host.into(), port, share: share.into(), directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_every_spelling() {
        for (text, host, port) in [
            ("stor1", "stor1", DEFAULT_PORT),
            ("stor1:9", "stor1", 9),
            ("10.0.0.1:17999", "10.0.0.1", 17999),
            ("[fe80::1%eth0]:5", "fe80::1%eth0", 5),
            ("[::1]", "::1", DEFAULT_PORT),
            ("fd00::2", "fd00::2", DEFAULT_PORT),
        ] {
            let peer: Peer = text.parse().unwrap();
            assert_eq!((peer.host.as_str(), peer.port), (host, port), "{text}");
        }
        for text in ["", ":5", "host:", "host:x", "host:70000", "host:0", "[::1", "[::1]x", "a b"] {
            assert!(text.parse::<Peer>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_share_is_read_as_people_write_it() {
        let name = |text: &str| text.parse::<ShareName>().map(|s| (s.host, s.port, s.share, s.directory));
        let is = |host: &str, port, share: &str, directory: &str| {
            Ok((host.into(), port, share.into(), directory.into()))
        };
        assert_eq!(name("//stor2/vms"), is("stor2", 445, "vms", ""));
        assert_eq!(name("//stor2:4450/vms/a/b/"), is("stor2", 4450, "vms", "a/b"));
        assert_eq!(name(r"\\stor2\vms\a"), is("stor2", 445, "vms", "a"));
        assert_eq!(name("//[fe80::1%eth0]:445/vms"), is("[fe80::1%eth0]", 445, "vms", ""));
        assert_eq!(name("//fe80::1/vms"), is("fe80::1", 445, "vms", ""));
        for wrong in
            ["stor2", "/stor2/vms", "//stor2", "//stor2/", "///vms", "//stor2:0/vms", "//stor2:x/vms"]
        {
            assert!(name(wrong).unwrap_err().contains("//SERVER/SHARE"), "{wrong}");
        }
        assert!(name("//stor2/vms/../else").unwrap_err().contains(".."));
    }
}
