//! The lane door: pairs accepted connections with the lanes that expect them, by one-time opening.
//!
//! It refuses to grow: expectations are bounded, an opening opens once, and an unknown one costs nothing that
//! stays. It never reads from a socket on its own account; the acceptor recognises [`LANE_MAGIC`] and calls
//! [`LanePreamble::read_after`], both under the deadline that the acceptor gives.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pathproof_api::{Gone, TransportError};
use pathproof_sys::clock::{Deadline, RealClock};

/// First bytes of a data-lane connection. A control connection opens with another magic on the same port.
pub const LANE_MAGIC: [u8; 8] = *b"PATHLANE";

/// Length of the preamble: magic (8), opening (32), lane index (4, little endian), zeroes (20).
pub const LANE_PREAMBLE_BYTES: usize = 64;

/// Most lanes that one door expects at once.
pub const DOOR_EXPECTS_MAX: usize = 4096;

/// The fixed-size opening of a data-lane connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LanePreamble {
    /// Shows that the dialler holds the secret of this lane, without telling it.
    pub opening: [u8; 32],
    /// Index of the lane within its step.
    pub lane: u32,
}

impl std::fmt::Debug for LanePreamble {
    /// Leaves the opening out: it is a secret until used, and logs outlive it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LanePreamble").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl LanePreamble {
    /// The opening of `lane`, whose secret this is.
    pub fn of(secret: &[u8; 32], lane: u32) -> LanePreamble {
        LanePreamble { opening: crate::proof::opening(secret), lane }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; LANE_PREAMBLE_BYTES] {
        let mut bytes = [0; LANE_PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&LANE_MAGIC);
        bytes[8..40].copy_from_slice(&self.opening);
        bytes[40..44].copy_from_slice(&self.lane.to_le_bytes());
        bytes
    }

    /// Reads the wire form; `None` when the magic or the reserved bytes are not what they must be.
    pub fn decode(bytes: &[u8; LANE_PREAMBLE_BYTES]) -> Option<LanePreamble> {
        if bytes[..8] != LANE_MAGIC || bytes[44..].iter().any(|b| *b != 0) {
            return None;
        }
        let opening = bytes[8..40].try_into().ok()?;
        let lane = u32::from_le_bytes(bytes[40..44].try_into().ok()?);
        Some(LanePreamble { opening, lane })
    }

    /// Reads what is left of a preamble after the acceptor has read `already` (at least the magic, at most
    /// all of it) to find out what kind of connection it is. Gives up at the deadline.
    pub fn read_after(
        already: &[u8],
        stream: &TcpStream,
        until: &Deadline,
    ) -> Result<LanePreamble, TransportError> {
        const WHAT: &str = "reading a lane preamble";
        let mut bytes = [0; LANE_PREAMBLE_BYTES];
        let mut have = already.len();
        match bytes.get_mut(..have) {
            Some(start) => start.copy_from_slice(already),
            None => return Err(TransportError::invalid("more bytes than a lane preamble has")),
        }
        let within = until.left();
        while have < bytes.len() {
            let left = until.left();
            if left.is_zero() {
                return Err(TransportError::Timeout { operation: WHAT.into(), after: within });
            }
            let io = |e| TransportError::io(WHAT, e);
            stream.set_read_timeout(Some(left)).map_err(io)?;
            match (&mut &*stream).read(&mut bytes[have..]) {
                Ok(0) => {
                    return Err(TransportError::PeerGone {
                        operation: WHAT.into(),
                        how: Some(Gone::Closed),
                        detail: "end of stream".into(),
                    });
                }
                Ok(n) => have += n,
                Err(e) if crate::link::is_retry(&e) => {}
                Err(e) => return Err(io(e)),
            }
        }
        stream.set_read_timeout(None).map_err(|e| TransportError::io(WHAT, e))?;
        LanePreamble::decode(&bytes).ok_or_else(|| TransportError::Protocol {
            operation: WHAT.into(),
            detail: "it does not begin with PATHLANE, or its reserved bytes are not zero".into(),
        })
    }
}

/// Where accepted data connections wait for the lanes that expect them.
pub struct LaneDoor {
    clock: RealClock,
    expected: Mutex<BTreeMap<[u8; 32], Option<TcpStream>>>,
    delivered: Condvar,
}

impl LaneDoor {
    /// A door at which nobody is expected yet. Its lanes go by `clock`.
    pub fn new(clock: &RealClock) -> Arc<LaneDoor> {
        Arc::new(LaneDoor { clock: clock.clone(), expected: Mutex::default(), delivered: Condvar::new() })
    }

    /// The clock that its lanes go by.
    pub(crate) fn clock(&self) -> &RealClock {
        &self.clock
    }

    /// Announces that a connection with the opening `token` is expected, until the returned value is dropped.
    pub fn register(self: &Arc<Self>, token: [u8; 32]) -> Result<Expected, TransportError> {
        let mut expected = self.lock();
        if expected.len() >= DOOR_EXPECTS_MAX {
            return Err(TransportError::Resource {
                operation: "expecting a data lane".into(),
                detail: format!("{DOOR_EXPECTS_MAX} lanes are being waited for already"),
                fix: "try again when other sessions have ended, or ask for fewer lanes".into(),
            });
        }
        if expected.contains_key(&token) {
            return Err(TransportError::invalid("this lane token is in use; each lane needs its own"));
        }
        expected.insert(token, None);
        Ok(Expected { door: self.clone(), token })
    }

    /// Hands over a connection that opened with `preamble`. A token that nobody expects, or that was used,
    /// is refused: the connection is closed and the caller may log it.
    pub fn deliver(&self, preamble: &LanePreamble, stream: TcpStream) -> Result<(), TransportError> {
        let mut expected = self.lock();
        match expected.get_mut(&preamble.opening) {
            Some(place @ None) => {
                *place = Some(stream);
                drop(expected);
                self.delivered.notify_all();
                Ok(())
            }
            _ => Err(TransportError::Protocol {
                operation: "opening a data lane".into(),
                detail: "its token is unknown or was used before".into(),
            }),
        }
    }

    /// Lanes expected at this moment.
    pub fn expecting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Option<TcpStream>>> {
        // Nothing under this lock can be left half done, so a panic elsewhere does not spoil it.
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one connection. Dropping it withdraws the expectation and closes what was delivered.
pub struct Expected {
    door: Arc<LaneDoor>,
    token: [u8; 32],
}

impl Expected {
    /// Waits for the connection, at most `within`. The token is spent whatever comes of it.
    pub fn wait(self, within: Duration) -> Result<TcpStream, TransportError> {
        let missing = |expected: &mut BTreeMap<_, Option<TcpStream>>| {
            expected.get(&self.token).is_none_or(Option::is_none)
        };
        let waited = self.door.delivered.wait_timeout_while(self.door.lock(), within, missing);
        let (mut expected, _) = waited.unwrap_or_else(PoisonError::into_inner);
        expected.get_mut(&self.token).and_then(Option::take).ok_or_else(|| TransportError::Timeout {
            operation: "waiting for the peer to open a data lane".into(),
            after: within,
        })
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.door.lock().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn stream_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (dialled, listener.accept().unwrap().0)
    }

    #[test]
    fn the_preamble_survives_the_wire_and_rubbish_does_not() {
        let preamble = LanePreamble { opening: [7; 32], lane: 300 };
        let bytes = preamble.encode();
        assert_eq!(LanePreamble::decode(&bytes), Some(preamble));
        for spoiled in [0, 7, 44, 63] {
            let mut bytes = bytes;
            bytes[spoiled] ^= 1;
            assert_eq!(LanePreamble::decode(&bytes), None, "byte {spoiled}");
        }
    }

    #[test]
    fn a_preamble_is_read_in_pieces_and_silence_ends_at_the_deadline() {
        let (clock, (mut dialled, accepted)) = (RealClock::new(), stream_pair());
        let preamble = LanePreamble { opening: [9; 32], lane: 1 };
        let bytes = preamble.encode();
        dialled.write_all(&bytes[16..40]).unwrap();
        let writer = std::thread::spawn(move || dialled.write_all(&bytes[40..]).map(|()| dialled));
        let read = LanePreamble::read_after(&bytes[..16], &accepted, &clock.deadline(Duration::from_secs(5)))
            .unwrap();
        assert_eq!(read, preamble);
        let _open = writer.join().unwrap().unwrap();
        let silent =
            LanePreamble::read_after(&LANE_MAGIC, &accepted, &clock.deadline(Duration::from_millis(20)));
        assert!(matches!(silent, Err(TransportError::Timeout { .. })), "{silent:?}");
    }

    #[test]
    fn a_token_opens_once_and_only_while_expected() {
        let door = LaneDoor::new(&RealClock::new());
        let preamble = LanePreamble { opening: [1; 32], lane: 0 };
        assert!(door.deliver(&preamble, stream_pair().0).is_err(), "nobody expects it yet");
        let expected = door.register([1; 32]).unwrap();
        assert!(door.register([1; 32]).is_err(), "one lane per token");
        door.deliver(&preamble, stream_pair().0).unwrap();
        assert!(door.deliver(&preamble, stream_pair().0).is_err(), "a second connection");
        expected.wait(Duration::ZERO).unwrap();
        assert!(door.deliver(&preamble, stream_pair().0).is_err(), "spent");
        assert_eq!(door.expecting(), 0);
    }

    #[test]
    fn waiting_ends_at_the_deadline_and_withdraws() {
        let door = LaneDoor::new(&RealClock::new());
        let waited = door.register([2; 32]).unwrap().wait(Duration::from_millis(10));
        assert!(matches!(waited, Err(TransportError::Timeout { .. })));
        assert_eq!(door.expecting(), 0);
    }

    #[test]
    fn the_door_is_bounded() {
        let door = LaneDoor::new(&RealClock::new());
        let token = |i: usize| {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&i.to_le_bytes());
            token
        };
        let all: Vec<_> = (0..DOOR_EXPECTS_MAX).map(|i| door.register(token(i)).unwrap()).collect();
        assert!(matches!(door.register([255; 32]), Err(TransportError::Resource { .. })));
        drop(all);
        assert!(door.register([255; 32]).is_ok());
    }
}
