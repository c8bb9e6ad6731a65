//! A peer as it is typed: `[USER@]HOST[:PORT]`, or a share of a server: `//SERVER[:PORT]/SHARE[/DIR]`.

use std::net::Ipv6Addr;
use std::str::FromStr;

pub use pathproof_model::node::DEFAULT_PORT;
use pathproof_model::node::host_and_port;

/// `[USER@]HOST[:PORT]`: a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The port, where one was typed.
    pub named_port: Option<u16>,
    /// Who starts the far end there over ssh, where that is wanted.
    pub user: Option<String>,
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
            return Ok(Peer {
                host,
                port,
                named_port: Some(port),
                user: None,
                text: text.into(),
                share: Some(share),
            });
        }
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        // As `\\stor2\vms` arrives here where a shell was given it without quotes, and as people write a share that know URLs.
        if rest.contains(['/', '\\']) {
            return Err(format!(
                "{text:?} is no host; a share is written //SERVER/SHARE, or '\\\\SERVER\\SHARE' in quotes, since a shell takes backslashes for itself"
            ));
        }
        let (host, named_port) =
            host_and_port(rest).filter(|(host, _)| !host.starts_with('-')).ok_or_else(|| {
                format!(
                    "{text:?} is not a peer; write HOST, HOST:PORT, IPV4[:PORT] or [IPV6][:PORT], with USER@ before it to start \
                     the far end over ssh"
                )
            })?;
        of_which_link(host)?;
        if let Some(user) = user.filter(|user| !is_user(user)) {
            return Err(format!("{user:?} is no name of a user; write USER@HOST"));
        }
        let port = named_port.unwrap_or(DEFAULT_PORT);
        let (host, user) = (host.into(), user.map(str::to_owned));
        Ok(Peer { host, port, named_port, user, text: text.into(), share: None })
    }
}

/// An address that has a meaning on one link only must say on which: no route decides that.
fn of_which_link(host: &str) -> Result<(), String> {
    if host.parse().is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local()) {
        return Err(format!(
            "{host} is an address of one link; say of which: {host}%NIC (pathproof devices lists the NICs)"
        ));
    }
    Ok(())
}

/// Whether a name becomes a word of a command that is nothing but that name.
fn is_user(name: &str) -> bool {
    let harmless = |letter: char| letter.is_alphanumeric() || "._-+@\\".contains(letter);
    !name.is_empty() && !name.starts_with('-') && !name.ends_with('\\') && name.chars().all(harmless)
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
            return Err(format!(
                "the directory {directory:?} must not contain . or .. as a part; name it from the share on, as //SERVER/SHARE/DIRECTORY"
            ));
        }
        // An IPv6 address has brackets where a port follows.
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)
            }
            _ => (server, 445),
        };
        of_which_link(host.trim_start_matches('[').trim_end_matches(']'))?;
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
        for text in [
            "",
            ":5",
            "host:",
            "host:x",
            "host:70000",
            "host:0",
            "[::1",
            "[::1]x",
            "a b",
            "-oX=y",
            "fe80::1",
            "[fe80::1]:5",
        ] {
            assert!(text.parse::<Peer>().is_err(), "{text:?}");
        }
        for text in [r"\stor2vms", "stor2/vms", "/stor2/vms", "smb://stor2/vms", r"stor2\vms"] {
            let why = text.parse::<Peer>().unwrap_err();
            assert!(why.contains(r"//SERVER/SHARE, or '\\SERVER\SHARE'"), "{text}: {why}");
        }
    }

    #[test]
    fn a_user_before_the_host_is_who_starts_the_far_end() {
        for (text, user, host, port) in [
            ("lab@stor1", "lab", "stor1", None),
            ("lab@[fd00::2]:7000", "lab", "fd00::2", Some(7000)),
            ("AD\\lab@stor1", "AD\\lab", "stor1", None),
            ("lab@ad.example@stor1:9", "lab@ad.example", "stor1", Some(9)),
        ] {
            let peer: Peer = text.parse().unwrap();
            let is = (peer.user.as_deref(), peer.host.as_str(), peer.named_port);
            assert_eq!(is, (Some(user), host, port), "{text}");
        }
        for text in
            ["@stor1", "lab@", "-l@stor1", "lab@-oProxyCommand=id", "la b@stor1", "l;b@stor1", "$(id)@stor1"]
        {
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
        assert_eq!(name("//fd00::1/vms"), is("fd00::1", 445, "vms", ""));
        for linkless in ["//fe80::1/vms", "//[fe80::1]:445/vms"] {
            assert!(name(linkless).unwrap_err().contains("say of which: fe80::1%NIC"), "{linkless}");
        }
        for wrong in
            ["stor2", "/stor2/vms", "//stor2", "//stor2/", "///vms", "//stor2:0/vms", "//stor2:x/vms"]
        {
            assert!(name(wrong).unwrap_err().contains("//SERVER/SHARE"), "{wrong}");
        }
        assert!(name("//stor2/vms/../else").unwrap_err().contains(".."));
    }
}
