//! A peer as it is typed: `HOST[:PORT]`.

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
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Peer, String> {
        let (host, port) = host_and_port(text).ok_or_else(|| {
            format!("{text:?} is not a peer; write HOST, HOST:PORT, IPV4[:PORT] or [IPV6][:PORT]")
        })?;
        Ok(Peer { host: host.into(), port: port.unwrap_or(DEFAULT_PORT), text: text.into() })
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
}
