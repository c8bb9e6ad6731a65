//! Words by datagram, from every rank to every other: what tells a path that carries one way only, over which no connection opens.
//!
//! A word is 40 bytes and is sealed with the token of whom it is for, so nobody counts what a stranger sends. Nothing is answered. An address
//! sees at most as many words as there are orders, three at a time.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

/// What a word begins with.
const MAGIC: &[u8; 4] = b"PPM3";
/// Its length: magic, plane, rank, seal.
const WORD_BYTES: usize = 40;
/// What the seal is for.
const SEAL: &str = "pathproof mesh knock";

/// The sockets of a rank, and whom it has heard.
pub struct Knocks {
    sockets: Vec<UdpSocket>,
    heard: Arc<Mutex<BTreeSet<(u32, u32)>>>,
}

fn seal(token: &str, plane: u32, rank: u32) -> [u8; 24] {
    let key = blake3::derive_key(SEAL, token.as_bytes());
    let said = [plane.to_le_bytes(), rank.to_le_bytes()].concat();
    let whole = *blake3::keyed_hash(&key, &said).as_bytes();
    *whole.first_chunk().expect("a hash has 32 bytes")
}

fn word(token: &str, plane: u32, rank: u32) -> [u8; WORD_BYTES] {
    let mut bytes = [0; WORD_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&plane.to_le_bytes());
    bytes[8..12].copy_from_slice(&rank.to_le_bytes());
    bytes[16..].copy_from_slice(&seal(token, plane, rank));
    bytes
}

/// Who says it, and on which plane, if it is a word for whoever has the token.
fn heard(bytes: &[u8], token: &str) -> Option<(u32, u32)> {
    let bytes: &[u8; WORD_BYTES] = bytes.try_into().ok()?;
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (plane, rank) = (number(4)?, number(8)?);
    (bytes == &word(token, plane, rank)).then_some((plane, rank))
}

impl Knocks {
    /// Listens at this port, by both families where the host has both.
    pub fn listen(port: u16, token: &str, ranks: u32) -> Result<Knocks> {
        let wildcards = [
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ];
        let mut sockets = Vec::new();
        let mut why = None;
        for address in wildcards {
            match bind(address) {
                Ok(socket) => sockets.push(socket),
                Err(error) => why = Some(error),
            }
        }
        if let (true, Some(error)) = (sockets.is_empty(), why) {
            return Err(error).with_context(|| format!("cannot hear datagrams at port {port}"));
        }
        let known = Arc::new(Mutex::new(BTreeSet::new()));
        for socket in &sockets {
            let socket = socket.try_clone().context("cannot hear datagrams")?;
            let (known, token) = (known.clone(), token.to_owned());
            // It ends with the process: until then anybody may knock.
            std::thread::Builder::new()
                .name("knocks".into())
                .spawn(move || listen(&socket, &token, ranks, &known))
                .context("no thread to hear datagrams")?;
        }
        Ok(Knocks { sockets, heard: known })
    }

    /// Says the word to whoever has `token` at an address. That it cannot be sent is what a path may be like.
    pub fn say(&self, to: SocketAddr, token: &str, plane: u32, own: u32) {
        let fits = |socket: &&UdpSocket| socket.local_addr().is_ok_and(|at| at.is_ipv4() == to.is_ipv4());
        if let Some(socket) = self.sockets.iter().find(fits) {
            let _ = socket.send_to(&word(token, plane, own), to);
        }
    }

    /// Whose word came on a plane.
    pub fn heard(&self, plane: u32) -> Vec<u32> {
        lock(&self.heard).iter().filter(|(on, _)| *on == plane).map(|(_, rank)| *rank).collect()
    }
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn lock(known: &Mutex<BTreeSet<(u32, u32)>>) -> MutexGuard<'_, BTreeSet<(u32, u32)>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(socket: &UdpSocket, token: &str, ranks: u32, known: &Mutex<BTreeSet<(u32, u32)>>) {
    let mut bytes = [0; WORD_BYTES + 1];
    let planes = pathproof_engine::mesh::message::PLANES_MAX as u32;
    loop {
        match socket.recv(&mut bytes) {
            Ok(length) => {
                let said =
                    heard(&bytes[..length], token).filter(|(plane, rank)| *rank < ranks && *plane < planes);
                if let Some(said) = said {
                    lock(known).insert(said);
                }
            }
            // An unreachable port of somebody else's, told on this socket.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_that_is_sealed_for_this_rank_counts() {
        let good = word("mine", 1, 7);
        assert_eq!(heard(&good, "mine"), Some((1, 7)));
        assert_eq!(heard(&good, "another's"), None);
        assert_eq!(heard(&good[..39], "mine"), None);
        let mut forged = good;
        forged[8] = 6;
        assert_eq!(heard(&forged, "mine"), None);
    }
}
