//! Why a server turns somebody away before the key handshake has made the channel private.
//!
//! Four bytes in clear: a code and a number of seconds. No text crosses, so a stranger can put none on the client's terminal;
//! and as anybody on the way could have sent it, the client shows it and believes nothing more because of it.

/// Length on the wire: [`super::handshake::REFUSED`], code, seconds (little endian).
pub const REFUSAL_BYTES: usize = 4;

/// Why a server turned somebody away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many others are at the door.
    Busy,
    /// The handshake did not verify.
    WrongKey,
    /// Too many wrong keys came from this address.
    SlowedDown {
        /// How long it has to wait.
        seconds: u16,
    },
    /// The server has a key and the client none.
    KeyNeeded,
    /// The client has a key and the server none.
    NoKeyHere,
    /// The handshake took too long.
    TooSlow,
    /// A later build's reason.
    Unknown(u8),
}

impl Refusal {
    /// As bytes.
    pub fn encode(self) -> [u8; REFUSAL_BYTES] {
        let (code, seconds) = match self {
            Refusal::Busy => (1, 0),
            Refusal::WrongKey => (2, 0),
            Refusal::SlowedDown { seconds } => (3, seconds),
            Refusal::KeyNeeded => (4, 0),
            Refusal::NoKeyHere => (5, 0),
            Refusal::TooSlow => (6, 0),
            Refusal::Unknown(code) => (code, 0),
        };
        let [low, high] = seconds.to_le_bytes();
        [super::handshake::REFUSED, code, low, high]
    }

    /// From what follows the first byte.
    pub fn decode([code, low, high]: [u8; REFUSAL_BYTES - 1]) -> Refusal {
        match code {
            1 => Refusal::Busy,
            2 => Refusal::WrongKey,
            3 => Refusal::SlowedDown { seconds: u16::from_le_bytes([low, high]) },
            4 => Refusal::KeyNeeded,
            5 => Refusal::NoKeyHere,
            6 => Refusal::TooSlow,
            other => Refusal::Unknown(other),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Busy => f.write_str(
                "the peer is busy: too many others are connecting to it or being served; try again in a few seconds",
            ),
            Refusal::WrongKey => {
                f.write_str("the key is wrong; copy the command that `pathproof serve` printed there")
            }
            Refusal::SlowedDown { seconds } => write!(
                f,
                "too many wrong keys came from this host's address; wait {seconds} s, then try again with the right one"
            ),
            Refusal::KeyNeeded => f.write_str(KEY_NEEDED),
            Refusal::NoKeyHere => f.write_str(NO_KEY_THERE),
            Refusal::TooSlow => {
                f.write_str("the peer gave up: the key handshake took more than 5 s; look for loss on the path, and try again")
            }
            Refusal::Unknown(code) => {
                write!(f, "the peer refused for a reason that this build does not know (code {code}); update it")
            }
        }
    }
}

/// Said when the server has a key and this end has none.
pub const KEY_NEEDED: &str = "the peer wants a key; set PATHPROOF_KEY (pathproof serve printed the command with it) or add --key-file FILE";

/// Said when this end has a key and the server has none.
pub const NO_KEY_THERE: &str = "a key was given, but the peer serves without one: it is not the server that the key is for, or was started \
     without it; start `pathproof serve` there with the key, or leave the key away (and add --no-key) if that is meant";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_and_is_a_sentence() {
        for code in 0..=255 {
            let refusal = Refusal::decode([code, 7, 0]);
            let [kind, rest @ ..] = refusal.encode();
            assert_eq!((kind, Refusal::decode(rest)), (super::super::handshake::REFUSED, refusal));
            assert!(refusal.to_string().len() > 20, "{code}");
        }
        assert!(Refusal::decode([3, 44, 1]).to_string().contains("wait 300 s"));
    }
}
