//! The control channel's envelope: preambles, key handshake and encryption over one TCP connection.
//!
//! The handshake itself is [`handshake`], without a connection: the client runs it here, blocking, the server at its
//! door, for all strangers at once. A stranger learns nothing but that this port speaks pathproof. Every wait has
//! a deadline.

mod access;
pub mod handshake;
mod refusal;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pathproof_engine::control::{MAGIC, PREAMBLE_BYTES, Preamble, PreambleError};
use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::Deadline;
use pathproof_sys::socket::send_queue_bytes;
use snow::StatelessTransportState;

pub use access::{Access, Key, is_loopback, random_bytes};
use handshake::{Asking, EXCHANGE_BYTES, GO_ON, NOISE_BYTES};
pub use refusal::{KEY_NEEDED, REFUSAL_BYTES, Refusal};

const NOISE_BYTES_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;

/// Why no secure channel came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// The other end is not pathproof, or of another age.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// There is no key, the other end is on another machine, and nobody said that this is meant.
    #[error(
        "no key was given; set PATHPROOF_KEY (pathproof serve printed the command with it) or add --key-file FILE. \
         Without a key only this host's loopback may be measured; --no-key at both ends lifts that"
    )]
    NoKey,
    /// The handshake did not verify.
    #[error("the key is wrong: it is not the peer's; copy the command that `pathproof serve` printed there")]
    WrongKey,
    /// The server said why it turns us away, or this end why it turns away.
    #[error("{0}")]
    Refused(Refusal),
    /// The server had no place at its door, and said so before this end had shown anything of its key: it may be asked again.
    #[error("{}", Refusal::Busy)]
    Crowded,
    /// The other end closed during the handshake without a message.
    #[error(
        "the peer closed the connection during the key handshake without saying why; is it overloaded or just being \
         stopped? Look at the log of `pathproof serve` there, and try again"
    )]
    ClosedInHandshake,
    /// Something that is not a handshake came.
    #[error("the peer does not keep to the key handshake; is this the port of `pathproof serve`?")]
    Nonsense,
    /// The connection opened, and nobody said anything on it.
    #[error(
        "its greeting did not come within {:.1} s, though the connection opened: another program may have that port (iperf3 waits so), \
         `pathproof serve` may be stopped there, or a firewall or load balancer took the connection in its place; see there what listens \
         (ss -ltnp), and which port `pathproof serve` printed",
        .after.as_secs_f64()
    )]
    Mute {
        /// How long.
        after: Duration,
    },
    /// The connection opened, and ended before anybody had said anything on it.
    #[error(
        "the connection opened and was {} before a greeting came: another program may have that port, `pathproof serve` may be ending \
         there, or something between (a firewall, a load balancer, a forwarded port) took the connection and found nobody behind it; see \
         there what listens (ss -ltnp), and which port `pathproof serve` printed",
        ended(source)
    )]
    HungUp {
        /// What the system said.
        source: io::Error,
    },
    /// Nothing more came in time.
    #[error(
        "{what} did not come within {:.1} s; the peer or the way to it stalls: look for load there and for loss on the path, and try again",
        .after.as_secs_f64()
    )]
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

/// How a connection ended, in a word.
fn ended(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::ConnectionReset { "reset" } else { "closed" }
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
    revision: Option<u8>,
}

fn read_exact(
    stream: &mut TcpStream,
    into: &mut [u8],
    what: &'static str,
    until: &Deadline,
) -> Result<(), SecureError> {
    read_on(stream, into, &mut 0, what, until)
}

/// The same, which counts in `have` what there is, also where not all of it came.
fn read_on(
    stream: &mut TcpStream,
    into: &mut [u8],
    have: &mut usize,
    what: &'static str,
    until: &Deadline,
) -> Result<(), SecureError> {
    let patience = until.left();
    while *have < into.len() {
        let left = until.left();
        let timeout = || SecureError::Timeout { what, after: patience };
        if left.is_zero() {
            return Err(timeout());
        }
        stream.set_read_timeout(Some(left)).map_err(|source| SecureError::Io { what, source })?;
        match stream.read(&mut into[*have..]) {
            Ok(0) => return Err(SecureError::Io { what, source: io::ErrorKind::UnexpectedEof.into() }),
            Ok(n) => *have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(timeout());
            }
            Err(source) => return Err(SecureError::Io { what, source }),
        }
    }
    Ok(())
}

/// The connection of a client during the handshake, with the one deadline of all of it.
struct Dialled {
    stream: TcpStream,
    until: Deadline,
}

impl Dialled {
    /// Sends. That the other end has closed is found out by reading: it may have said why before.
    fn say(&mut self, bytes: &[u8], what: &'static str) -> Result<(), SecureError> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match self.stream.write_all(bytes) {
            Err(e) if matches!(e.kind(), BrokenPipe | ConnectionReset) => Ok(()),
            other => other.map_err(|source| SecureError::Io { what, source }),
        }
    }

    fn hear<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SecureError> {
        let mut bytes = [0; N];
        read_exact(&mut self.stream, &mut bytes, what, &self.until)?;
        Ok(bytes)
    }

    /// The server's preamble, or what there is in its place: this is where it shows whether the port is that of a server of ours.
    fn hear_preamble(&mut self) -> Result<[u8; PREAMBLE_BYTES], SecureError> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let (mut bytes, mut have) = ([0; PREAMBLE_BYTES], 0);
        let heard = read_on(&mut self.stream, &mut bytes, &mut have, "all of its greeting", &self.until);
        let Err(why) = heard else { return Ok(bytes) };
        let begun = &bytes[..have];
        // Strangers may say less than a preamble before they close or wait.
        if !begun.starts_with(&MAGIC) && !MAGIC.starts_with(begun) {
            return Err(PreambleError::begun(begun).into());
        }
        Err(match why {
            SecureError::Timeout { after, .. } if have == 0 => SecureError::Mute { after },
            SecureError::Io { source, .. }
                if matches!(
                    source.kind(),
                    UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
                ) =>
            {
                SecureError::HungUp { source }
            }
            other => other,
        })
    }

    /// The server's next answer of this length, or why there is none.
    fn hear_answer<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SecureError> {
        let closed = |e| match e {
            SecureError::Io { .. } => SecureError::ClosedInHandshake,
            other => other,
        };
        match self.hear(what).map_err(closed)? {
            [GO_ON] => self.hear(what).map_err(closed),
            [handshake::REFUSED] => {
                let refusal = self.hear::<{ REFUSAL_BYTES - 1 }>(what).map_err(closed)?;
                Err(SecureError::Refused(Refusal::decode(refusal)))
            }
            _ => Err(SecureError::Nonsense),
        }
    }
}

/// Takes the handshake through as client on a fresh connection.
pub fn connect(
    stream: TcpStream,
    access: &Access,
    until: Deadline,
) -> Result<(SecureWriter, SecureReader), SecureError> {
    let set_up = |source| SecureError::Io { what: "setting up the control connection", source };
    // Here and not with the callers: whoever dials, nothing is said to an end that must have a key and has none.
    if !access.allows(stream.peer_addr().map_err(set_up)?.ip()) {
        return Err(SecureError::NoKey);
    }
    stream.set_write_timeout(Some(until.left_for_socket())).map_err(set_up)?;
    let mut dialled = Dialled { stream, until };
    let ours = Preamble::ours(access.is_keyed());
    dialled.say(&ours.encode(), "sending the preamble")?;
    let theirs = dialled.hear_preamble()?;
    Asking::check(ours, &theirs)?;
    let exchange: [u8; EXCHANGE_BYTES] =
        dialled.hear_answer("the peer's key exchange").map_err(|error| match error {
            SecureError::Refused(Refusal::Busy) => SecureError::Crowded,
            other => other,
        })?;
    let (asking, proof) = Asking::begin(access, [&ours.encode(), &theirs], &exchange)?;
    dialled.say(&proof, "sending the key handshake")?;
    let answer: [u8; NOISE_BYTES] = dialled.hear_answer("the peer's key handshake")?;
    let (writer, reader) = channel(dialled.stream, asking.finish(&answer)?).map_err(set_up)?;
    let revision = Some(Preamble::decode(&theirs)?.revision);
    Ok((writer, SecureReader { revision, ..reader }))
}

/// The two halves of a channel whose handshake is done.
pub fn channel(
    stream: TcpStream,
    cipher: StatelessTransportState,
) -> io::Result<(SecureWriter, SecureReader)> {
    let cipher = Arc::new(cipher);
    stream.set_read_timeout(None)?;
    let reading = stream.try_clone()?;
    Ok((
        SecureWriter { stream, cipher: cipher.clone(), nonce: AtomicU64::new(0) },
        SecureReader { stream: reading, cipher, nonce: 0, revision: None },
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

    /// From here on, gives up on an end that takes nothing for so long.
    pub fn give_up_after(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(patience))
    }

    /// Whether the other host has acknowledged everything that was sent; `None` where the system does not say.
    pub fn is_acknowledged(&self) -> Option<bool> {
        send_queue_bytes(self.stream.descriptor()).map(|bytes| bytes == 0)
    }

    /// Ends both directions, which also ends a reader blocked on this connection.
    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl SecureReader {
    /// The revision of the protocol that the end which was dialled speaks; `None` where this end was.
    pub fn revision(&self) -> Option<u8> {
        self.revision
    }

    /// Waits for the next piece and appends its plain bytes to `into`.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut sealed = vec![0; usize::from(u16::from_be_bytes(head))];
        self.stream.read_exact(&mut sealed)?;
        self.unseal(&sealed, into)
    }

    /// The same where all of the piece must be there by then, however it trickles in.
    pub fn receive_by(&mut self, into: &mut Vec<u8>, until: &Deadline) -> Result<(), SecureError> {
        const WHAT: &str = "a message";
        let failed = |source| SecureError::Io { what: WHAT, source };
        let mut head = [0; 2];
        read_exact(&mut self.stream, &mut head, WHAT, until)?;
        let mut sealed = vec![0; usize::from(u16::from_be_bytes(head))];
        read_exact(&mut self.stream, &mut sealed, WHAT, until)?;
        self.stream.set_read_timeout(None).map_err(failed)?;
        self.unseal(&sealed, into).map_err(failed)
    }

    fn unseal(&mut self, sealed: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        let mut plain = vec![0; sealed.len()];
        // Who gives the connection up for it (`Loss::of`) knows it by the kind of error.
        let len = self
            .cipher
            .read_message(self.nonce, sealed, &mut plain)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a message did not decrypt"))?;
        self.nonce += 1;
        into.extend_from_slice(&plain[..len]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::handshake::{Answering, PROOF_BYTES};
    use super::*;
    use pathproof_sys::clock::RealClock;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn patience() -> Deadline {
        RealClock::new().deadline(Duration::from_secs(5))
    }

    fn keyed(text: &str) -> Access {
        Access::Key(Key::new(text))
    }

    /// The server's half, blocking.
    fn serve(mut stream: TcpStream, access: Access) -> Result<(SecureWriter, SecureReader), SecureError> {
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).unwrap();
        let (answer, answering) = Answering::begin(&access, &preamble);
        stream.write_all(&answer).unwrap();
        let mut proof = [0; PROOF_BYTES];
        let answering = answering?;
        stream.read_exact(&mut proof).unwrap();
        match answering.finish(&proof) {
            Ok((answer, cipher)) => {
                stream.write_all(&answer).unwrap();
                Ok(channel(stream, cipher).unwrap())
            }
            Err(error) => {
                stream.write_all(&Refusal::WrongKey.encode()).unwrap();
                Err(error)
            }
        }
    }

    #[test]
    fn the_same_key_opens_and_long_messages_cross() {
        let (client, server) = pair();
        let long: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let expected = long.clone();
        let far = std::thread::spawn(move || {
            let (_writer, mut reader) = serve(server, keyed("open sesame")).unwrap();
            let mut got = vec![];
            while got.len() < expected.len() {
                reader.receive(&mut got).unwrap();
            }
            assert!(got == expected);
        });
        let (mut writer, _reader) = connect(client, &keyed("open sesame"), patience()).unwrap();
        writer.send(&long).unwrap();
        far.join().unwrap();
    }

    /// Whatever byte of a piece was changed on the way, nothing of it is used.
    #[test]
    fn a_piece_that_was_changed_on_the_way_gives_nothing_of_itself() {
        for at in [2, 9, 17] {
            let (client, server) = pair();
            let far = std::thread::spawn(move || serve(server, keyed("open sesame")).unwrap());
            let (writer, mut reader) = connect(client, &keyed("open sesame"), patience()).unwrap();
            let (far_writer, _far_reader) = far.join().unwrap();
            // The other end's next piece, with one bit turned by somebody between them.
            let mut sealed = vec![0; 2 + 3 + TAG_BYTES];
            let len = far_writer.cipher.write_message(0, b"yes", &mut sealed[2..]).unwrap();
            sealed[..2].copy_from_slice(&(len as u16).to_be_bytes());
            sealed[at] ^= 1;
            (&far_writer.stream).write_all(&sealed).unwrap();
            let mut plain = vec![];
            let error = reader.receive(&mut plain).unwrap_err();
            assert_eq!((error.kind(), plain.len()), (io::ErrorKind::InvalidData, 0), "byte {at}");
            drop(writer);
        }
    }

    #[test]
    fn a_wrong_key_and_no_key_are_told_apart() {
        let (client, server) = pair();
        let far = std::thread::spawn(move || serve(server, keyed("right")).err());
        let error = connect(client, &keyed("wrong"), patience()).err().unwrap();
        assert!(matches!(error, SecureError::Refused(Refusal::WrongKey)), "{error}");
        assert!(matches!(far.join().unwrap(), Some(SecureError::WrongKey)));

        let (client, server) = pair();
        let far = std::thread::spawn(move || serve(server, keyed("right")).err());
        let error = connect(client, &Access::Loopback, patience()).err();
        assert!(matches!(error, Some(SecureError::Refused(Refusal::KeyNeeded))));
        assert!(far.join().unwrap().is_some());
    }

    #[test]
    fn another_version_is_named_with_both_ranges() {
        let (client, mut server) = pair();
        let far = std::thread::spawn(move || {
            let theirs = Preamble { lowest: 7, highest: 9, revision: 0, keyed: false };
            server.write_all(&theirs.encode()).unwrap();
            server
        });
        let error = connect(client, &Access::Loopback, patience()).err().unwrap().to_string();
        assert!(error.contains("7 to 9"), "{error}");
        drop(far.join());
    }

    /// A refusal is read although the connection has been closed and reset behind it.
    #[test]
    fn t9_a_refusal_arrives_before_the_reset_that_follows_it() {
        let (client, mut server) = pair();
        server.write_all(&Preamble::ours(true).encode()).unwrap();
        server.write_all(&Refusal::SlowedDown { seconds: 17 }.encode()).unwrap();
        drop(server);
        let error = connect(client, &keyed("storage42"), patience()).err().unwrap().to_string();
        assert!(error.contains("wait 17 s"), "{error}");
    }

    #[test]
    fn a_silent_peer_and_a_dripping_one_cost_only_the_patience() {
        let patience = Duration::from_millis(200);
        for drips in [false, true] {
            let (client, mut server) = pair();
            let far = std::thread::spawn(move || {
                for byte in Preamble::ours(false).encode() {
                    std::thread::sleep(Duration::from_millis(40));
                    if drips && server.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            });
            let start = std::time::Instant::now();
            let error =
                connect(client, &Access::Loopback, RealClock::new().deadline(patience)).err().unwrap();
            let as_expected = match error {
                SecureError::Timeout { .. } => drips,
                SecureError::Mute { .. } => !drips,
                _ => false,
            };
            assert!(as_expected, "{error}");
            assert!(start.elapsed() < 3 * patience, "dripping bytes extended the deadline");
            far.join().unwrap();
        }
    }

    /// What a server of another sort says, and then closes.
    fn told_by_a_stranger(says: &'static [u8]) -> SecureError {
        let (client, mut server) = pair();
        let far = std::thread::spawn(move || {
            // Whoever closes on bytes that it has not read resets, which may overtake what it said.
            drop(server.read_exact(&mut [0; PREAMBLE_BYTES]));
            drop(server.write_all(says));
        });
        let error = connect(client, &Access::Loopback, patience()).err().unwrap();
        far.join().unwrap();
        error
    }

    #[test]
    fn who_is_no_server_of_ours_is_told_by_what_it_says_and_by_its_silence() {
        let alert = told_by_a_stranger(&[0x15, 3, 3, 0, 2, 2, 70]);
        assert!(matches!(alert, SecureError::Preamble(PreambleError::NotOurs { .. })), "{alert}");
        assert!(alert.to_string().contains("as a TLS server does"), "{alert}");
        let web = told_by_a_stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(web.to_string().contains("as a web server does"), "{web}");
        // The beginning of a preamble is none of a stranger's.
        for says in [&b""[..], b"PATHPR"] {
            let closed = told_by_a_stranger(says);
            assert!(matches!(closed, SecureError::HungUp { .. }), "{closed}");
            assert!(closed.to_string().contains("was closed before a greeting came"), "{closed}");
        }
    }
}
