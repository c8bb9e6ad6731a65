//! What one end proves itself with: a key, or nothing where nobody else can be.

use std::net::IpAddr;

/// A key as it was typed, said or read from a file. It has no `Debug`: logs outlive it.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// The key with this text; any text is one, however short, because no capture of a handshake lets it be guessed.
    pub fn new(text: &str) -> Key {
        Key(text.into())
    }

    /// A key that nobody else ever has.
    pub fn random() -> std::io::Result<Key> {
        Ok(Key(crate::encoding::hex(&random_bytes::<16>()?)))
    }
}

/// Bytes that nobody can guess.
pub fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Who may take part in a session, seen from one end. "No key" is never the mere absence of one: either it is bound
/// to this machine, or the user said so.
#[derive(Clone)]
pub enum Access {
    /// Whoever has this key.
    Key(Key),
    /// Whoever is on this machine.
    Loopback,
    /// Anybody at all (`--no-key`).
    Anybody,
}

impl Access {
    /// Whether a key is needed, or will be used.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Access::Key(_))
    }

    /// Whether there may be a session with an end at this address at all.
    pub fn allows(&self, peer: IpAddr) -> bool {
        match self {
            Access::Key(_) | Access::Anybody => true,
            Access::Loopback => is_loopback(peer),
        }
    }

    /// Whether a session with this address has no key although others can reach it, so that the result must say it.
    pub fn is_open_to(&self, peer: IpAddr) -> bool {
        matches!(self, Access::Anybody) && !is_loopback(peer)
    }

    /// What the key exchange takes as password: empty without a key.
    pub(super) fn password(&self) -> &[u8] {
        match self {
            Access::Key(key) => key.0.as_bytes(),
            Access::Loopback | Access::Anybody => b"",
        }
    }
}

/// Whether only this machine has that address, in whatever family it is written.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_only_this_machine_is_allowed_unless_the_user_said_so() {
        let [here, mapped, there] = ["127.0.0.9", "::ffff:127.0.0.1", "10.0.0.1"].map(|a| a.parse().unwrap());
        assert!(Access::Loopback.allows(here) && Access::Loopback.allows(mapped));
        assert!(!Access::Loopback.allows(there));
        assert!(Access::Anybody.allows(there) && Access::Anybody.is_open_to(there));
        assert!(!Access::Anybody.is_open_to(mapped) && !Access::Key(Key::new("x")).is_open_to(there));
    }
}
