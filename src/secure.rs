//! The control channel's envelope: preambles, key handshake and encryption over one TCP connection.
//!
//! After the preambles both ends run Noise `NNpsk0` (crate `snow`); the pre-shared key is derived from the
//! session key that both were given, or from the empty key on loopback. So the key authenticates both ends,
//! and a stranger learns nothing but that this port speaks pathproof. Every wait has a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pathproof_engine::control::{PREAMBLE_BYTES, Preamble, PreambleError, negotiate};
use snow::{HandshakeState, StatelessTransportState};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const NOISE_BYTES_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;

/// Why no secure channel came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// The other end is not pathproof, or of another age.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// The server wants a key and we have none.
    #[error(
        "the peer wants a key; add --key KEY (pathproof serve printed the command with it) or --key-file FILE"
    )]
    KeyNeeded,
    /// The handshake did not verify.
    #[error("the key is not the peer's; copy the command that `pathproof serve` printed there")]
    WrongKey,
    /// The other end closed during the handshake, which is what a server does on a wrong key.
    #[error(
        "the peer closed the connection during the key handshake: the key is wrong; copy the command that `pathproof serve` printed there"
    )]
    ClosedInHandshake,
    /// Nothing came in time.
    #[error("{what} did not come within {} s; is the port that of `pathproof serve`, and does a firewall let it pass?", .after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection failed.
    #[error("{what}: {source}")]
    Io {
        /// What was under way.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A key as both ends derive it from what was typed.
#[derive(Clone)]
pub struct Key {
    psk: [u8; 32],
    given: bool,
}

impl Key {
    /// From the typed key; `None` is the empty key of loopback sessions.
    pub fn new(typed: Option<&str>) -> Key {
        let psk = blake3::derive_key("pathproof control channel v1", typed.unwrap_or("").as_bytes());
        Key { psk, given: typed.is_some() }
    }

    /// Whether a key was given at all.
    pub fn is_given(&self) -> bool {
        self.given
    }
}

/// The sending half. Shared state with the receiving half is the cipher alone.
pub struct SecureWriter {
    stream: TcpStream,
    cipher: Arc<StatelessTransportState>,
    nonce: AtomicU64,
}

/// The receiving half.
pub struct SecureReader {
    stream: TcpStream,
    cipher: Arc<StatelessTransportState>,
    nonce: u64,
}

fn read_exact(
    stream: &mut TcpStream,
    into: &mut [u8],
    what: &'static str,
    until: Instant,
) -> Result<(), SecureError> {
    let start = Instant::now();
    let mut have = 0;
    while have < into.len() {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = || SecureError::Timeout { what, after: until.saturating_duration_since(start) };
        if left.is_zero() {
            return Err(timeout());
        }
        stream.set_read_timeout(Some(left)).map_err(|source| SecureError::Io { what, source })?;
        match stream.read(&mut into[have..]) {
            Ok(0) => return Err(SecureError::Io { what, source: io::ErrorKind::UnexpectedEof.into() }),
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(timeout());
            }
            Err(source) => return Err(SecureError::Io { what, source }),
        }
    }
    Ok(())
}

fn write_all(stream: &mut TcpStream, bytes: &[u8], what: &'static str) -> Result<(), SecureError> {
    stream.write_all(bytes).map_err(|source| SecureError::Io { what, source })
}

fn noise(key: &Key, prologue: &[u8], initiator: bool) -> Result<HandshakeState, SecureError> {
    let failed = |_| SecureError::WrongKey;
    let params = PATTERN.parse().map_err(failed)?;
    let builder =
        snow::Builder::new(params).prologue(prologue).and_then(|b| b.psk(0, &key.psk)).map_err(failed)?;
    if initiator { builder.build_initiator() } else { builder.build_responder() }.map_err(failed)
}

/// Dials the handshake as client on a fresh connection.
pub fn connect(
    mut stream: TcpStream,
    key: &Key,
    patience: Duration,
) -> Result<(SecureWriter, SecureReader), SecureError> {
    let until = Instant::now() + patience;
    let ours = Preamble::ours(key.is_given());
    stream.set_write_timeout(Some(patience)).map_err(|source| SecureError::Io { what: "set-up", source })?;
    write_all(&mut stream, &ours.encode(), "sending the preamble")?;
    let mut bytes = [0; PREAMBLE_BYTES];
    read_exact(&mut stream, &mut bytes, "the peer's preamble", until)?;
    let theirs = Preamble::decode(&bytes)?;
    negotiate(ours, theirs)?;
    if theirs.keyed && !key.is_given() {
        return Err(SecureError::KeyNeeded);
    }
    let prologue = [ours.encode(), theirs.encode()].concat();
    let mut handshake = noise(key, &prologue, true)?;
    let mut message = [0; 256];
    let len = handshake.write_message(&[], &mut message).map_err(|_| SecureError::WrongKey)?;
    write_all(&mut stream, &message[..len], "sending the key handshake")?;
    let mut answer = [0; 48];
    read_exact(&mut stream, &mut answer, "the peer's key handshake", until).map_err(|e| match e {
        SecureError::Io { .. } => SecureError::ClosedInHandshake,
        other => other,
    })?;
    handshake.read_message(&answer, &mut message).map_err(|_| SecureError::WrongKey)?;
    finish(stream, handshake)
}

/// Answers the handshake as server, after `preamble` was read by whoever tells connections apart.
pub fn accept(
    mut stream: TcpStream,
    preamble: &[u8; PREAMBLE_BYTES],
    key: &Key,
    patience: Duration,
) -> Result<(SecureWriter, SecureReader), SecureError> {
    let until = Instant::now() + patience;
    let ours = Preamble::ours(key.is_given());
    stream.set_write_timeout(Some(patience)).map_err(|source| SecureError::Io { what: "set-up", source })?;
    // Our preamble goes out even to a client of another version, so that it can say why it fails.
    write_all(&mut stream, &ours.encode(), "sending the preamble")?;
    let theirs = Preamble::decode(preamble)?;
    negotiate(ours, theirs)?;
    let prologue = [theirs.encode(), ours.encode()].concat();
    let mut handshake = noise(key, &prologue, false)?;
    let mut question = [0; 48];
    read_exact(&mut stream, &mut question, "the client's key handshake", until)?;
    let mut message = [0; 256];
    handshake.read_message(&question, &mut message).map_err(|_| SecureError::WrongKey)?;
    let len = handshake.write_message(&[], &mut message).map_err(|_| SecureError::WrongKey)?;
    write_all(&mut stream, &message[..len], "sending the key handshake")?;
    finish(stream, handshake)
}

fn finish(stream: TcpStream, handshake: HandshakeState) -> Result<(SecureWriter, SecureReader), SecureError> {
    let cipher = handshake.into_stateless_transport_mode().map_err(|_| SecureError::WrongKey)?;
    let cipher = Arc::new(cipher);
    let io = |source| SecureError::Io { what: "setting up the control connection", source };
    stream.set_read_timeout(None).map_err(io)?;
    let reading = stream.try_clone().map_err(io)?;
    Ok((
        SecureWriter { stream, cipher: cipher.clone(), nonce: AtomicU64::new(0) },
        SecureReader { stream: reading, cipher, nonce: 0 },
    ))
}

impl SecureWriter {
    /// Encrypts and sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sealed = vec![0; NOISE_BYTES_MAX + 2];
        for chunk in bytes.chunks(NOISE_BYTES_MAX - TAG_BYTES) {
            let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
            let len = self
                .cipher
                .write_message(nonce, chunk, &mut sealed[2..])
                .map_err(|e| io::Error::other(format!("encryption failed: {e}")))?;
            sealed[..2].copy_from_slice(&(len as u16).to_be_bytes());
            self.stream.write_all(&sealed[..len + 2])?;
        }
        Ok(())
    }

    /// Ends both directions, which also ends a reader blocked on this connection.
    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl SecureReader {
    /// Waits for the next piece and appends its plain bytes to `into`.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut sealed = vec![0; usize::from(u16::from_be_bytes(head))];
        self.stream.read_exact(&mut sealed)?;
        let mut plain = vec![0; sealed.len()];
        let len = self
            .cipher
            .read_message(self.nonce, &sealed, &mut plain)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a message did not decrypt"))?;
        self.nonce += 1;
        into.extend_from_slice(&plain[..len]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    fn serve(mut stream: TcpStream, key: Key) -> Result<(SecureWriter, SecureReader), SecureError> {
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).unwrap();
        accept(stream, &preamble, &key, PATIENCE)
    }

    #[test]
    fn the_same_key_opens_and_long_messages_cross() {
        let (client, server) = pair();
        let long: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let expected = long.clone();
        let far = std::thread::spawn(move || {
            let (_writer, mut reader) = serve(server, Key::new(Some("open sesame"))).unwrap();
            let mut got = vec![];
            while got.len() < expected.len() {
                reader.receive(&mut got).unwrap();
            }
            assert!(got == expected);
        });
        let (mut writer, _reader) = connect(client, &Key::new(Some("open sesame")), PATIENCE).unwrap();
        writer.send(&long).unwrap();
        far.join().unwrap();
    }

    #[test]
    fn a_wrong_key_and_no_key_are_told_apart() {
        let (client, server) = pair();
        let far = std::thread::spawn(move || serve(server, Key::new(Some("right"))).err());
        let error = connect(client, &Key::new(Some("wrong")), PATIENCE).err().unwrap();
        assert!(matches!(error, SecureError::ClosedInHandshake), "{error}");
        assert!(matches!(far.join().unwrap(), Some(SecureError::WrongKey)));

        let (client, server) = pair();
        let far = std::thread::spawn(move || serve(server, Key::new(Some("right"))).err());
        assert!(matches!(connect(client, &Key::new(None), PATIENCE).err(), Some(SecureError::KeyNeeded)));
        assert!(far.join().unwrap().is_some());
    }

    #[test]
    fn another_version_is_named_with_both_ranges() {
        let (client, mut server) = pair();
        let far = std::thread::spawn(move || {
            let theirs = Preamble { lowest: 7, highest: 9, keyed: false };
            server.write_all(&theirs.encode()).unwrap();
            server
        });
        let error = connect(client, &Key::new(None), PATIENCE).err().unwrap().to_string();
        assert!(error.contains("7 to 9"), "{error}");
        drop(far.join());
    }

    #[test]
    fn a_silent_peer_costs_only_the_patience() {
        let (client, _server) = pair();
        let error = connect(client, &Key::new(None), Duration::from_millis(50)).err().unwrap();
        assert!(matches!(error, SecureError::Timeout { .. }), "{error}");
    }
}
