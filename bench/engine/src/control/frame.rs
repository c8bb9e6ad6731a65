//! Frames: `length u32 LE | seen u32 LE | tag u8 | body`. The length counts the body only and is checked against
//! a cap before anything is allocated. `seen` is how many messages of the other end had come before.

use super::Message;

/// Largest body after the session is accepted, in bytes: the offers of many lanes. Results cross in pieces.
pub const FRAME_BYTES_MAX: u32 = 4 << 20;
/// Largest body before that, in bytes: a HELLO with a long plan and many NICs.
pub const HELLO_BYTES_MAX: u32 = 1 << 20;

/// Largest body of a message between the halves of a running step, in bytes: it may be any JSON, which takes many times its
/// length in memory once it is read.
pub const STEP_BYTES_MAX: u32 = 64 << 10;

const HEAD: usize = 9;

/// Largest body of a message with this tag where `cap` holds for all.
fn cap_of(tag: u8, cap: u32) -> u32 {
    const TURN: u8 = 4;
    const STEP: u8 = 6;
    match tag {
        TURN => cap.min(HELLO_BYTES_MAX),
        STEP => cap.min(STEP_BYTES_MAX),
        _ => cap,
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error(
        "the peer announced a message of {length} bytes, and {cap} is the limit; it is not a pathproof peer, or a broken one"
    )]
    TooLong {
        /// Announced.
        length: u32,
        /// Allowed.
        cap: u32,
    },
    /// Longer than this end may send.
    #[error(
        "a {name} message of {bytes} bytes is more than the {cap} that may cross at once; that is a limit of \
         pathproof and says nothing about the path: ask for fewer lanes or shorter steps"
    )]
    Large {
        /// Which message.
        name: &'static str,
        /// Its length.
        bytes: usize,
        /// Allowed.
        cap: u32,
    },
    /// Not readable as a message.
    #[error("the peer sent what is not a message: {0}")]
    Unreadable(String),
}

/// One message as a frame, from an end that has `seen` so many.
pub fn encode(message: &Message, seen: u32) -> Result<Vec<u8>, FrameError> {
    let (tag, body) = message.encode().map_err(|e| FrameError::Unreadable(e.to_string()))?;
    let cap = match message {
        Message::Hello(_) | Message::Accept(_) | Message::Reject(_) | Message::Resume(_) => HELLO_BYTES_MAX,
        _ => FRAME_BYTES_MAX,
    };
    let cap = cap_of(tag, cap);
    let length = u32::try_from(body.len()).ok().filter(|l| *l <= cap).ok_or(FrameError::Large {
        name: message.name(),
        bytes: body.len(),
        cap,
    })?;
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&seen.to_le_bytes());
    bytes.push(tag);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Collects bytes into messages.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    cap: u32,
}

impl FrameDecoder {
    /// A decoder that allows bodies of `cap` bytes.
    pub fn new(cap: u32) -> FrameDecoder {
        FrameDecoder { buffer: Vec::new(), cap }
    }

    /// Changes the cap, from [`HELLO_BYTES_MAX`] to [`FRAME_BYTES_MAX`] once the peer is known.
    pub fn set_cap(&mut self, cap: u32) {
        self.cap = cap;
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message with what its sender had seen, or `None` while it is incomplete.
    pub fn next_message(&mut self) -> Result<Option<(u32, Message)>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let [l0, l1, l2, l3, s0, s1, s2, s3, tag] = *head;
        let (length, seen) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([s0, s1, s2, s3]));
        let cap = cap_of(tag, self.cap);
        if length > cap {
            return Err(FrameError::TooLong { length, cap });
        }
        let end = HEAD + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let message = Message::decode(tag, &self.buffer[HEAD..end]);
        self.buffer.drain(..end);
        message.map(|message| Some((seen, message))).map_err(FrameError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::StepMessage;

    #[test]
    fn a_message_survives_any_cutting() {
        let message = Message::Bye { reason: "because ü".into(), kind: None, cause: None };
        let bytes = encode(&message, 7).unwrap();
        for cut in 0..bytes.len() {
            let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
            decoder.push(&bytes[..cut]);
            assert_eq!(decoder.next_message(), Ok(None), "cut at {cut}");
            decoder.push(&bytes[cut..]);
            decoder.push(&bytes);
            assert_eq!(decoder.next_message().unwrap(), Some((7, message.clone())));
            assert_eq!(decoder.next_message().unwrap(), Some((7, message.clone())));
            assert_eq!(decoder.next_message(), Ok(None));
        }
    }

    #[test]
    fn four_gibibytes_are_refused_before_they_are_bought() {
        let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1]);
        assert!(matches!(decoder.next_message(), Err(FrameError::TooLong { length: u32::MAX, .. })));
    }

    #[test]
    fn t15_a_message_of_a_step_is_small() {
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.push(&(STEP_BYTES_MAX + 1).to_le_bytes());
        decoder.push(&[0, 0, 0, 0, 6]);
        assert_eq!(
            decoder.next_message(),
            Err(FrameError::TooLong { length: STEP_BYTES_MAX + 1, cap: STEP_BYTES_MAX })
        );
        let body = StepMessage::Link { nic: "x".repeat(STEP_BYTES_MAX as usize), up: true };
        assert!(encode(&Message::Step { step: 0, body }, 0).is_err(), "nor is one sent");
    }

    #[test]
    fn an_error_crosses_with_its_cause_and_one_of_another_build_is_read() {
        use pathproof_model::{ErrorCause, ErrorKind, StepError};
        let error = StepError::new(ErrorKind::PeerLost, "it is gone".into()).caused_by(ErrorCause::Reset);
        let message = Message::Fail { step: 2, error };
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.push(&encode(&message, 0).unwrap());
        assert_eq!(decoder.next_message().unwrap(), Some((0, message)));
        let cause = |error: &str| {
            let body = format!(r#"{{"step":2,"error":{error}}}"#);
            match Message::decode(7, body.as_bytes()) {
                Ok(Message::Fail { error, .. }) => error.cause,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cause(r#"{"kind":"peer-lost","message":"reset by peer"}"#), None, "of an older build");
        let later = r#"{"kind":"peer-lost","message":"gone","cause":"evaporated"}"#;
        assert_eq!(cause(later), Some(ErrorCause::Other));
    }

    #[test]
    fn a_goodbye_crosses_with_its_cause_and_one_of_an_older_build_has_none() {
        use pathproof_model::{ErrorCause, ErrorKind};
        let kind = Some(ErrorKind::PeerLost);
        let message = Message::Bye { reason: "changed".into(), kind, cause: Some(ErrorCause::Changed) };
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        decoder.push(&encode(&message, 0).unwrap());
        assert_eq!(decoder.next_message().unwrap(), Some((0, message)));
        let older = Message::decode(8, br#"{"reason":"gone","kind":null}"#);
        assert_eq!(older, Ok(Message::Bye { reason: "gone".into(), kind: None, cause: None }));
    }

    #[test]
    fn garbage_is_an_error_in_words() {
        for (tag, body) in [(0u8, &b"{}"[..]), (99, b"{}"), (1, b"not json"), (4, b"{\"ended\":\"x\"}")] {
            let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
            decoder.push(&(body.len() as u32).to_le_bytes());
            decoder.push(&[0, 0, 0, 0, tag]);
            decoder.push(body);
            assert!(matches!(decoder.next_message(), Err(FrameError::Unreadable(_))), "{tag} {body:?}");
        }
    }
}
