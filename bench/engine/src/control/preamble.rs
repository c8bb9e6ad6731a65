//! The 16 bytes that every connection starts with, frozen forever, so that any two builds can at least say
//! why they disagree.
//!
//! A version is what both ends must share. A revision of it only adds: to facts and results, where an end that does not know
//! an addition ignores it; to requests, which are strict, so that an addition is asked only of an end whose revision has it.
//!
//! ```text
//! 0  magic    8 bytes  "PATHPRUF"
//! 8  lowest   u16 LE   lowest control version spoken
//! 10 highest  u16 LE   highest control version spoken
//! 12 flags    u8       bit 0: a key is needed (server) or will be used (client)
//! 13 revision u8       revision of the highest version: 2.n
//! 14 zero     2 bytes  ignored, a later build may use them
//! ```

/// First bytes of a control connection.
pub const MAGIC: [u8; 8] = *b"PATHPRUF";
/// First bytes of a data connection.
pub const LANE_MAGIC: [u8; 8] = *b"PATHLANE";
/// Length of the preamble.
pub const PREAMBLE_BYTES: usize = 16;
/// Lowest control version that this build speaks.
pub const LOWEST_VERSION: u16 = 2;
/// Highest control version that this build speaks.
pub const HIGHEST_VERSION: u16 = 2;
/// Revision of that version. 1: flows beside the first of a step. 2: steps about contention. 3: searches for a packet rate. 4: priorities of
/// classes. 5: the ports of a cluster's administration, ports on every network, bursts of caps, classes that go ways of their own, lanes in
/// order, receivers that sleep.
pub const REVISION: u8 = 5;

const FLAG_KEYED: u8 = 1;

/// The decoded preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Lowest version spoken.
    pub lowest: u16,
    /// Highest version spoken.
    pub highest: u16,
    /// Revision of the highest.
    pub revision: u8,
    /// A key is needed or used.
    pub keyed: bool,
}

/// Why a preamble was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// Not our protocol at all.
    #[error(
        "the other end does not speak the pathproof protocol (it began with \"{}\"{}); is this the port of `pathproof serve`?",
        first.escape_ascii(),
        speaker(first)
    )]
    NotOurs {
        /// What came, at most eight bytes.
        first: Vec<u8>,
    },
    /// No common version.
    #[error(
        "no common protocol version: this pathproof speaks {}, the peer {}; {}",
        range(ours),
        range(theirs),
        if theirs.highest < ours.lowest { "update pathproof on the peer" } else { "update pathproof on this host" }
    )]
    NoCommonVersion {
        /// What this build speaks.
        ours: Preamble,
        /// What the peer speaks.
        theirs: Preamble,
    },
}

/// How those begin that have a port open on most hosts. TLS: an alert or a handshake, of SSL 3.0 or anything later (RFC 8446 section 5.1).
const SPEAKERS: [(&[u8], &str); 5] = [
    (b"HTTP", ", as a web server does"),
    (b"SSH-", ", as an SSH server does"),
    (b"220", ", as a mail or FTP server does"),
    (&[0x15, 3], ", as a TLS server does"),
    (&[0x16, 3], ", as a TLS server does"),
];

/// Who begins like that, where it is one of them.
fn speaker(first: &[u8]) -> &'static str {
    SPEAKERS.iter().find(|(begins, _)| first.starts_with(begins)).map_or("", |(_, says)| *says)
}

/// The versions that an end speaks, for people.
fn range(preamble: &Preamble) -> String {
    match (preamble.lowest, preamble.highest) {
        (lowest, highest) if lowest == highest => format!("version {lowest}"),
        (lowest, highest) => format!("versions {lowest} to {highest}"),
    }
}

impl PreambleError {
    /// Of an end that began with these bytes, and may have closed then.
    pub fn begun(bytes: &[u8]) -> PreambleError {
        PreambleError::NotOurs { first: bytes.iter().copied().take(MAGIC.len()).collect() }
    }
}

impl Preamble {
    /// This build's preamble.
    pub fn ours(keyed: bool) -> Preamble {
        Preamble { lowest: LOWEST_VERSION, highest: HIGHEST_VERSION, revision: REVISION, keyed }
    }

    /// As bytes.
    pub fn encode(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.lowest.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.highest.to_le_bytes());
        bytes[12] = if self.keyed { FLAG_KEYED } else { 0 };
        bytes[13] = self.revision;
        bytes
    }

    /// From bytes. Unknown flags are ignored: a later build may set them.
    pub fn decode(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Preamble, PreambleError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(PreambleError::begun(bytes));
        }
        Ok(Preamble {
            lowest: u16::from_le_bytes([bytes[8], bytes[9]]),
            highest: u16::from_le_bytes([bytes[10], bytes[11]]),
            revision: bytes[13],
            keyed: bytes[12] & FLAG_KEYED != 0,
        })
    }
}

/// The highest version that both ends speak.
pub fn negotiate(ours: Preamble, theirs: Preamble) -> Result<u16, PreambleError> {
    let version = ours.highest.min(theirs.highest);
    if version < ours.lowest.max(theirs.lowest) {
        return Err(PreambleError::NoCommonVersion { ours, theirs });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_frozen() {
        assert_eq!(
            Preamble { lowest: 1, highest: 3, revision: 5, keyed: true }.encode(),
            *b"PATHPRUF\x01\0\x03\0\x01\x05\0\0"
        );
        let back = Preamble::decode(b"PATHPRUF\x01\0\x03\0\xff\x07\xff\xff").unwrap();
        assert_eq!(back, Preamble { lowest: 1, highest: 3, revision: 7, keyed: true });
    }

    #[test]
    fn strangers_and_distant_versions_are_told_apart() {
        assert!(matches!(Preamble::decode(b"GET / HTTP/1.1\r\n"), Err(PreambleError::NotOurs { .. })));
        for (first, says) in [
            (&b"HTTP/1.1 400"[..], "\"HTTP/1.1\", as a web server does"),
            (b"SSH-2.0-OpenSSH", "as an SSH server"),
            (b"220 mail ready", "as a mail or FTP server"),
            // A fatal alert is shorter than a preamble.
            (&[0x15, 3, 3, 0, 2, 2, 70], "\"\\x15\\x03\\x03\\x00\\x02\\x02F\", as a TLS server"),
            (b"J\0\0\0\n8.0", "\"J\\x00\\x00\\x00\\n8.0\"); is this the port"),
        ] {
            let message = PreambleError::begun(first).to_string();
            assert!(message.contains(says), "{message}");
        }
        let at = |lowest, highest| Preamble { lowest, highest, revision: 0, keyed: false };
        assert_eq!(negotiate(at(1, 3), at(2, 9)), Ok(3));
        let message = negotiate(at(1, 2), at(3, 4)).unwrap_err().to_string();
        assert!(message.contains("1 to 2") && message.contains("3 to 4"), "{message}");
        assert!(message.ends_with("update pathproof on this host"), "{message}");
        let message = negotiate(at(2, 2), at(1, 1)).unwrap_err().to_string();
        assert!(
            message.ends_with("version 2, the peer version 1; update pathproof on the peer"),
            "{message}"
        );
    }
}
