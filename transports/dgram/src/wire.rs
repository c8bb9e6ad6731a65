//! The datagrams of a path-MTU search: probes, padded to any size, and answers that name what arrived.
//!
//! Every answer repeats the last probes received, so that an answer lost on the way back costs nothing. Both
//! carry the token of the session: whoever does not know it is not answered and not believed.
//!
//! Layout, big-endian: magic 4 · kind 1 · reserved 1 · IP bytes 2 · token 16 · sequence 4, and in answers
//! largest fragment 4 (0: came whole) · count 2 · sequences 4 each.

/// Identifies the datagrams of this protocol: "PPM" and its version.
const MAGIC: [u8; 4] = *b"PPM1";
const KIND_PROBE: u8 = 1;
const KIND_ANSWER: u8 = 2;
/// Bytes before the padding of a probe.
pub const HEADER_BYTES: usize = 28;
/// Most sequence numbers that an answer repeats.
pub const RECENT_MAX: usize = 64;

/// Secret shared by both ends of one step.
pub type Token = [u8; 16];

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
        /// Probes that arrived whole lately, this one included if it did.
        recent: Vec<u32>,
    },
}

/// Writes a probe into `buffer`, which is as long as the UDP payload is to be.
pub fn write_probe(buffer: &mut [u8], token: &Token, seq: u32, ip_bytes: u16) {
    header(buffer, KIND_PROBE, token, seq, ip_bytes);
    // Neither all zeroes nor repeated: nothing on the way may compress or deduplicate it into another size.
    for (index, byte) in buffer[HEADER_BYTES..].iter_mut().enumerate() {
        *byte = (index as u32).wrapping_mul(167).wrapping_add(seq) as u8;
    }
}

/// Makes an answer.
pub fn answer(token: &Token, seq: u32, largest_fragment_bytes: Option<u32>, recent: &[u32]) -> Vec<u8> {
    let recent = &recent[recent.len().saturating_sub(RECENT_MAX)..];
    let mut out = vec![0; HEADER_BYTES];
    header(&mut out, KIND_ANSWER, token, seq, 0);
    out.extend(largest_fragment_bytes.unwrap_or(0).to_be_bytes());
    out.extend((recent.len() as u16).to_be_bytes());
    for seq in recent {
        out.extend(seq.to_be_bytes());
    }
    out
}

fn header(buffer: &mut [u8], kind: u8, token: &Token, seq: u32, ip_bytes: u16) {
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4] = kind;
    buffer[5] = 0;
    buffer[6..8].copy_from_slice(&ip_bytes.to_be_bytes());
    buffer[8..24].copy_from_slice(token);
    buffer[24..28].copy_from_slice(&seq.to_be_bytes());
}

/// Reads a datagram; `None` for anything that is not of this session. A probe may be cut short (as quoted in an
/// ICMP message) and is still recognised by its header.
pub fn read(data: &[u8], token: &Token) -> Option<Datagram> {
    if data.len() < HEADER_BYTES || data[..4] != MAGIC || data[8..24] != *token {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let seq = word(24)?;
    match data[4] {
        KIND_PROBE => Some(Datagram::Probe { seq, ip_bytes: half(6)? }),
        KIND_ANSWER => {
            let count = usize::from(half(32)?);
            if count > RECENT_MAX {
                return None;
            }
            let recent = (0..count).map(|index| word(34 + 4 * index)).collect::<Option<_>>()?;
            let largest_fragment_bytes = word(28).filter(|size| *size > 0);
            Some(Datagram::Answer { seq, largest_fragment_bytes, recent })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = *b"0123456789abcdef";

    #[test]
    fn probes_and_answers_survive_the_trip() {
        let mut probe = vec![0; 40];
        write_probe(&mut probe, &TOKEN, 7, 68);
        assert_eq!(read(&probe, &TOKEN), Some(Datagram::Probe { seq: 7, ip_bytes: 68 }));
        let recent: Vec<u32> = (0..100).collect();
        let bytes = answer(&TOKEN, 99, Some(1480), &recent);
        let expected =
            Datagram::Answer { seq: 99, largest_fragment_bytes: Some(1480), recent: (36..100).collect() };
        assert_eq!(read(&bytes, &TOKEN), Some(expected));
    }

    #[test]
    fn strangers_and_stumps_are_ignored() {
        let bytes = answer(&TOKEN, 1, None, &[1, 2, 3]);
        assert_eq!(read(&bytes, b"another token 16"), None);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], &TOKEN), None, "{length} bytes");
        }
        let mut lying = bytes.clone();
        lying[32..34].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(read(&lying, &TOKEN), None);
        let mut kind = bytes;
        kind[4] = 9;
        assert_eq!(read(&kind, &TOKEN), None);
    }
}
