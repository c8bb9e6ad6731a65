//! The datagrams that look at a path: challenges and consents; the probes of a path-MTU search, padded to any size, and
//! their answers; and paced datagrams, of any size too, which nobody answers.
//!
//! Every datagram is sealed under a key that only the two ends of a step have, so whoever lacks it is neither answered
//! nor believed. An answer is as long as the shortest question: what answers can never be made to send more than what
//! asked. It also names which of the [`RECENT_MAX`] probes before the one it answers have arrived, so that an answer
//! lost on the way back costs nothing.
//!
//! Layout, big-endian, [`HEADER_BYTES`] in all: magic 4 · kind 1 · reserved 1 · size 2 · seal 16 · sequence 4 · body 12.
//! Size is the length of the IP packet in probes, and the largest fragment (0: came whole) in answers. The body is
//! the nonce of a challenge and of the consent to it, a bit for each earlier probe in answers, and zero in probes,
//! which therefore are recognised by their first `QUOTED_BYTES` as quoted in ICMP messages. In paced datagrams it is strand 2 ·
//! zero 2 · when it was sent, in ns of the sender's clock, 8; the sequence counts within the strand.

use std::sync::LazyLock;

/// Identifies the datagrams of this protocol: "PPM" and its version.
const MAGIC: [u8; 4] = *b"PPM2";
const KIND_PROBE: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_CHALLENGE: u8 = 3;
const KIND_CONSENT: u8 = 4;
const KIND_PACED: u8 = 5;
/// Bytes before the padding of a probe or paced datagram, and the length of everything else.
pub const HEADER_BYTES: usize = 40;
/// How much of a probe must be quoted for it to be recognised.
const QUOTED_BYTES: usize = 28;
const BODY_BYTES: usize = 12;
/// How many probes before the one it answers an answer speaks of.
pub const RECENT_MAX: u32 = 8 * BODY_BYTES as u32;

/// What nobody can know who did not receive the challenge.
pub type Nonce = [u8; BODY_BYTES];

/// What seals the datagrams of one direction of one step.
#[derive(Clone)]
pub struct ProbeKey([u8; 32]);

impl ProbeKey {
    /// From a secret of the session.
    pub fn new(secret: [u8; 32]) -> ProbeKey {
        ProbeKey(secret)
    }

    fn seal(&self, head: &[u8], tail: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(head);
        hasher.update(tail);
        let mut seal = [0; 16];
        seal.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        seal
    }
}

impl std::fmt::Debug for ProbeKey {
    /// Leaves the key out: whoever has it can make this end answer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProbeKey")
    }
}

/// A datagram as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A probe: the IP packet was sent with so many bytes.
    Probe {
        /// Its number.
        seq: u32,
        /// Length of the IP packet as sent.
        ip_bytes: u16,
    },
    /// An answer to one probe.
    Answer {
        /// The probe.
        seq: u32,
        /// Largest fragment it came in, if it came in fragments.
        largest_fragment_bytes: Option<u32>,
        /// Earlier probes that arrived whole, and this one if it did.
        recent: Vec<u32>,
    },
    /// One of a paced stream.
    Paced(Paced),
    /// "May I probe you?"
    Challenge(Nonce),
    /// "You may": only who received the challenge and has the key can say so.
    Consent(Nonce),
}

/// A paced datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paced {
    /// The strand that it belongs to: those that the network is to treat alike.
    pub strand: u16,
    /// Its number within the strand.
    pub seq: u32,
    /// Length of the IP packet as sent.
    pub ip_bytes: u16,
    /// When it was sent, in ns of the sender's clock.
    pub sent_ns: u64,
}

/// Writes a paced datagram into `buffer`, which is as long as the UDP payload is to be, and at least [`HEADER_BYTES`].
pub fn write_paced(buffer: &mut [u8], key: &ProbeKey, paced: Paced) {
    let mut body = [0; BODY_BYTES];
    body[..2].copy_from_slice(&paced.strand.to_be_bytes());
    body[4..].copy_from_slice(&paced.sent_ns.to_be_bytes());
    buffer[..HEADER_BYTES].copy_from_slice(&sealed(key, KIND_PACED, paced.ip_bytes, paced.seq, body));
    pad(buffer, paced.seq);
}

/// Neither all zeroes nor repeated: nothing on the way may compress or deduplicate it into another size. `None` where no IP packet is as
/// long.
fn pattern(seq: u32, bytes: usize) -> Option<&'static [u8]> {
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0u32..65_536 + 256).map(|index| index.wrapping_mul(167) as u8).collect());
    let from = (seq & 255) as usize;
    PATTERN.get(from..from + bytes)
}

fn pad(buffer: &mut [u8], seq: u32) {
    let padding = &mut buffer[HEADER_BYTES..];
    match pattern(seq, padding.len()) {
        Some(pattern) => padding.copy_from_slice(pattern),
        None => padding.fill(seq as u8),
    }
}

/// Whether the padding of the datagram with this number is the one that it was sent with. The seal does not cover it, so a datagram of which it
/// was changed on the way arrives.
pub fn is_padded_as_sent(datagram: &[u8], seq: u32) -> bool {
    let padding = datagram.get(HEADER_BYTES..).unwrap_or_default();
    pattern(seq, padding.len()).is_none_or(|pattern| pattern == padding)
}

/// Writes a probe into `buffer`, which is as long as the UDP payload is to be, and at least [`HEADER_BYTES`].
pub fn write_probe(buffer: &mut [u8], key: &ProbeKey, seq: u32, ip_bytes: u16) {
    let header = sealed(key, KIND_PROBE, ip_bytes, seq, [0; BODY_BYTES]);
    buffer[..HEADER_BYTES].copy_from_slice(&header);
    pad(buffer, seq);
}

/// Makes an answer to probe `seq`; `recent` are the probes that arrived whole, this one included if it did.
pub fn answer(
    key: &ProbeKey,
    seq: u32,
    largest_fragment_bytes: Option<u32>,
    recent: &[u32],
) -> [u8; HEADER_BYTES] {
    let mut body = [0; BODY_BYTES];
    for earlier in recent {
        if let Some(back @ 1..=RECENT_MAX) = seq.checked_sub(*earlier) {
            let bit = back - 1;
            body[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    let fragment = largest_fragment_bytes.map_or(0, |bytes| u16::try_from(bytes).unwrap_or(u16::MAX));
    sealed(key, KIND_ANSWER, fragment, seq, body)
}

/// Makes a challenge.
pub fn challenge(key: &ProbeKey, nonce: Nonce) -> [u8; HEADER_BYTES] {
    sealed(key, KIND_CHALLENGE, 0, 0, nonce)
}

/// Makes the consent to a challenge.
pub fn consent(key: &ProbeKey, nonce: Nonce) -> [u8; HEADER_BYTES] {
    sealed(key, KIND_CONSENT, 0, 0, nonce)
}

fn sealed(key: &ProbeKey, kind: u8, size: u16, seq: u32, body: [u8; BODY_BYTES]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(&MAGIC);
    out[4] = kind;
    out[6..8].copy_from_slice(&size.to_be_bytes());
    out[24..28].copy_from_slice(&seq.to_be_bytes());
    out[28..].copy_from_slice(&body);
    let seal = key.seal(&out[..8], &out[24..]);
    out[8..24].copy_from_slice(&seal);
    out
}

/// Reads a datagram; `None` for anything that does not bear the seal of `key`.
pub fn read(data: &[u8], key: &ProbeKey) -> Option<Datagram> {
    let header: &[u8; HEADER_BYTES] = data.get(..HEADER_BYTES)?.try_into().ok()?;
    // All that is not padded has one length: nothing may hide behind it.
    if !matches!(header[4], KIND_PROBE | KIND_PACED) && data.len() != HEADER_BYTES {
        return None;
    }
    let (seq, size, body) = opened(header, key)?;
    match header[4] {
        KIND_PROBE => Some(Datagram::Probe { seq, ip_bytes: size }),
        KIND_ANSWER => {
            let came_whole = (size == 0).then_some(seq);
            let bit = |back: u32| body[((back - 1) / 8) as usize] >> ((back - 1) % 8) & 1 == 1;
            let earlier =
                (1..=RECENT_MAX).rev().filter(|back| bit(*back)).filter_map(|back| seq.checked_sub(back));
            let recent = earlier.chain(came_whole).collect();
            let largest_fragment_bytes = Some(u32::from(size)).filter(|bytes| *bytes > 0);
            Some(Datagram::Answer { seq, largest_fragment_bytes, recent })
        }
        KIND_CHALLENGE => Some(Datagram::Challenge(body)),
        KIND_CONSENT => Some(Datagram::Consent(body)),
        KIND_PACED => Some(Datagram::Paced(Paced {
            strand: u16::from_be_bytes(body[..2].try_into().ok()?),
            seq,
            ip_bytes: size,
            sent_ns: u64::from_be_bytes(body[4..].try_into().ok()?),
        })),
        _ => None,
    }
}

/// The number of a probe as quoted in an ICMP message, which may be cut short.
pub fn read_quoted(data: &[u8], key: &ProbeKey) -> Option<u32> {
    let mut header = [0; HEADER_BYTES];
    header[..QUOTED_BYTES].copy_from_slice(data.get(..QUOTED_BYTES)?);
    let (seq, _, _) = opened(&header, key).filter(|_| header[4] == KIND_PROBE)?;
    Some(seq)
}

/// Sequence, size and body, if the seal is right.
fn opened(header: &[u8; HEADER_BYTES], key: &ProbeKey) -> Option<(u32, u16, [u8; BODY_BYTES])> {
    // Compared as a whole: how long it takes must not tell how much of a guess was right.
    let seal = key.seal(&header[..8], &header[24..]);
    let right = header[8..24].iter().zip(seal).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0;
    if !right || header[..4] != MAGIC {
        return None;
    }
    let seq = u32::from_be_bytes(header[24..28].try_into().ok()?);
    let size = u16::from_be_bytes(header[6..8].try_into().ok()?);
    Some((seq, size, header[28..].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ProbeKey {
        ProbeKey::new(*b"0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn probes_and_answers_survive_the_trip() {
        let mut probe = vec![0; 60];
        write_probe(&mut probe, &key(), 7, 88);
        assert_eq!(read(&probe, &key()), Some(Datagram::Probe { seq: 7, ip_bytes: 88 }));
        let recent: Vec<u32> = (0..100).filter(|seq| seq % 3 != 0).collect();
        let bytes = answer(&key(), 150, Some(1480), &recent);
        let heard: Vec<u32> = (150 - RECENT_MAX..100).filter(|seq| seq % 3 != 0).collect();
        let expected = Datagram::Answer { seq: 150, largest_fragment_bytes: Some(1480), recent: heard };
        assert_eq!(read(&bytes, &key()), Some(expected));
        let whole = answer(&key(), 1, None, &[0, 1]);
        let expected = Datagram::Answer { seq: 1, largest_fragment_bytes: None, recent: vec![0, 1] };
        assert_eq!(read(&whole, &key()), Some(expected));
    }

    #[test]
    fn a_paced_datagram_tells_its_strand_and_when_it_was_sent() {
        let paced = Paced { strand: 39, seq: u32::MAX, ip_bytes: 9000, sent_ns: u64::MAX - 1 };
        let mut datagram = vec![0; 8972];
        write_paced(&mut datagram, &key(), paced);
        assert_eq!(read(&datagram, &key()), Some(Datagram::Paced(paced)));
        // It is no probe: nobody answers it, and no message about it is taken for one about a probe.
        assert_eq!(read_quoted(&datagram, &key()), None);
    }

    #[test]
    fn padding_that_was_changed_is_known_though_the_seal_fits() {
        for (seq, bytes) in [(0, HEADER_BYTES), (7, 60), (u32::MAX, 8972)] {
            let mut datagram = vec![0; bytes];
            let paced = Paced { strand: 1, seq, ip_bytes: bytes as u16 + 28, sent_ns: 5 };
            write_paced(&mut datagram, &key(), paced);
            assert!(is_padded_as_sent(&datagram, seq), "{bytes} bytes");
            assert!(bytes == HEADER_BYTES || !is_padded_as_sent(&datagram, seq.wrapping_add(1)));
            for at in [HEADER_BYTES, bytes - 1].into_iter().filter(|at| (HEADER_BYTES..bytes).contains(at)) {
                let mut changed = datagram.clone();
                changed[at] ^= 4;
                assert_eq!(read(&changed, &key()), Some(Datagram::Paced(paced)), "it arrives");
                assert!(!is_padded_as_sent(&changed, seq), "byte {at} of {bytes}");
            }
        }
    }

    #[test]
    fn a_consent_repeats_the_nonce_of_its_challenge() {
        let nonce = *b"twelve bytes";
        assert_eq!(read(&challenge(&key(), nonce), &key()), Some(Datagram::Challenge(nonce)));
        assert_eq!(read(&consent(&key(), nonce), &key()), Some(Datagram::Consent(nonce)));
        // A challenge sent back as it is consents to nothing.
        let mut turned = challenge(&key(), nonce);
        turned[4] = KIND_CONSENT;
        assert_eq!(read(&turned, &key()), None);
    }

    #[test]
    fn strangers_and_stumps_are_ignored() {
        let bytes = answer(&key(), 4, None, &[1, 2, 3]);
        assert_eq!(read(&bytes, &ProbeKey::new(*b"another key of thirty-two bytes!")), None);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], &key()), None, "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(read(&changed, &key()), None, "byte {at} changed");
        }
    }

    #[test]
    fn a_probe_is_known_by_the_start_of_it() {
        let mut probe = vec![0; 1000];
        write_probe(&mut probe, &key(), 9, 1028);
        for length in QUOTED_BYTES..probe.len() {
            assert_eq!(read_quoted(&probe[..length], &key()), Some(9), "{length} bytes");
        }
        assert_eq!(read_quoted(&probe[..QUOTED_BYTES - 1], &key()), None);
        assert_eq!(read_quoted(&answer(&key(), 9, None, &[]), &key()), None);
    }

    proptest! {
        /// PROTOCOL: what answers is never larger than what asked.
        #[test]
        fn nothing_that_is_understood_is_shorter_than_what_answers_it(
            length in 0usize..3000, seq: u32, nonce: [u8; 12], recent in prop::collection::vec(any::<u32>(), 0..200),
            fragment in prop::option::of(any::<u32>()),
        ) {
            let mut questions = vec![challenge(&key(), nonce).to_vec()];
            if length >= HEADER_BYTES {
                let mut probe = vec![0; length];
                write_probe(&mut probe, &key(), seq, length as u16 + 28);
                questions.push(probe);
            }
            let answers = [answer(&key(), seq, fragment, &recent).len(), consent(&key(), nonce).len()];
            for question in &questions {
                prop_assert!(read(question, &key()).is_some());
                prop_assert!(answers.iter().all(|answer| *answer <= question.len()));
            }
        }

        #[test]
        fn nothing_from_outside_is_believed(data in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(read(&data, &key()), None);
            prop_assert_eq!(read_quoted(&data, &key()), None);
        }
    }
}
