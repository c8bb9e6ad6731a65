//! What this end offers in the negotiation, and what comes of it (MS-SMBD 3.1.5.2, 3.1.5.3).

use crate::codec::{
    FRAGMENTED_BYTES_MIN, Fault, NegotiateRequest, NegotiateResponse, PAYLOAD_OFFSET, RECEIVE_BYTES_MIN,
};

/// Windows refuses a PreferredSendSize above this (2012 R2 and later: STATUS_INSUFFICIENT_RESOURCES).
pub const SEND_BYTES_MAX: u32 = 8136;

/// What this end offers. The default is Windows' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Receives that are kept posted, which the peer may come to know of.
    pub receive_credits: u16,
    /// Send credits that are asked for.
    pub send_credits: u16,
    /// Largest message that is sent, in bytes.
    pub send_bytes: u32,
    /// Largest message that is taken, in bytes: each receive has room for it.
    pub receive_bytes: u32,
    /// Largest message after reassembly that is taken, in bytes.
    pub fragmented_bytes: u32,
    /// Most bytes that one request may have this end move by RDMA.
    pub read_write_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::WINDOWS
    }
}

impl Settings {
    /// What Windows offers.
    pub const WINDOWS: Settings = Settings {
        receive_credits: 255,
        send_credits: 255,
        send_bytes: 1364,
        receive_bytes: 8192,
        fragmented_bytes: 1 << 20,
        read_write_bytes: 8 << 20,
    };

    /// These settings, where the specification allows them.
    pub fn checked(self) -> Result<Settings, String> {
        let wrong = |what: &str, value: u32, most: &str| Err(format!("SMB Direct {what} of {value}: {most}"));
        match self {
            Settings { receive_credits: 0, .. } | Settings { send_credits: 0, .. } => {
                Err("SMB Direct needs at least one credit each way".into())
            }
            Settings { send_bytes, .. } if !(RECEIVE_BYTES_MIN..=SEND_BYTES_MAX).contains(&send_bytes) => {
                wrong("messages to send", send_bytes, "128 to 8136 bytes")
            }
            Settings { receive_bytes, .. } if !(RECEIVE_BYTES_MIN..=1 << 20).contains(&receive_bytes) => {
                wrong("messages to receive", receive_bytes, "128 to 1048576 bytes")
            }
            Settings { fragmented_bytes, .. }
                if !(FRAGMENTED_BYTES_MIN..=64 << 20).contains(&fragmented_bytes) =>
            {
                wrong("reassembled messages", fragmented_bytes, "131072 to 67108864 bytes")
            }
            settings => Ok(settings),
        }
    }

    /// What the initiator asks.
    pub fn request(&self) -> NegotiateRequest {
        NegotiateRequest {
            credits_requested: self.send_credits,
            preferred_send_bytes: self.send_bytes,
            max_receive_bytes: self.receive_bytes,
            max_fragmented_bytes: self.fragmented_bytes,
        }
    }

    /// What the acceptor answers to `request`, and what is agreed by that.
    pub fn answer(&self, request: &NegotiateRequest) -> (NegotiateResponse, Agreed) {
        let agreed = Agreed {
            send_bytes: self.send_bytes.min(request.max_receive_bytes),
            fragmented_send_bytes: request.max_fragmented_bytes,
            // The initiator does not say: its limit is what it asks for.
            read_write_bytes: self.read_write_bytes,
            send_credits: 0,
            peer_wants: request.credits_requested,
        };
        let response = NegotiateResponse {
            credits_requested: self.send_credits,
            credits_granted: self.receive_credits.min(request.credits_requested),
            max_read_write_bytes: self.read_write_bytes,
            preferred_send_bytes: agreed.send_bytes,
            max_receive_bytes: self.receive_bytes,
            max_fragmented_bytes: self.fragmented_bytes,
        };
        (response, agreed)
    }

    /// What is agreed by the acceptor's `response`.
    pub fn agreed(&self, response: &[u8]) -> Result<Agreed, Fault> {
        let response = NegotiateResponse::decode(response, self.receive_bytes)?;
        Ok(Agreed {
            send_bytes: self.send_bytes.min(response.max_receive_bytes),
            fragmented_send_bytes: response.max_fragmented_bytes,
            read_write_bytes: self.read_write_bytes.min(response.max_read_write_bytes),
            send_credits: response.credits_granted,
            peer_wants: response.credits_requested,
        })
    }
}

/// What both ends go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Largest message to the peer, header included.
    pub send_bytes: u32,
    /// Largest message to the peer before it is cut into fragments.
    pub fragmented_send_bytes: u32,
    /// Most bytes of one request by RDMA.
    pub read_write_bytes: u32,
    /// Messages that this end may send at once.
    pub send_credits: u16,
    /// Receives that the peer would like to know of.
    pub peer_wants: u16,
}

impl Agreed {
    /// Payload of a fragment that is full.
    pub fn payload_bytes(&self) -> u32 {
        self.send_bytes - PAYLOAD_OFFSET as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows' initiator and a ksmbd of Linux 6.12, as captured.
    #[test]
    fn both_ends_come_to_the_same_limits() {
        let settings = Settings::default();
        let ksmbd = Settings { receive_bytes: 1364, fragmented_bytes: 173_910, ..settings };
        let (response, theirs) = ksmbd.answer(&settings.request());
        assert_eq!(response.preferred_send_bytes, 1364);
        let ours = settings.agreed(&response.encode()).unwrap();
        assert_eq!((ours.send_bytes, ours.payload_bytes(), theirs.send_bytes), (1364, 1340, 1364));
        assert_eq!((ours.fragmented_send_bytes, theirs.fragmented_send_bytes), (173_910, 1 << 20));
        assert_eq!((ours.send_credits, theirs.send_credits, ours.peer_wants), (255, 0, 255));
    }

    #[test]
    fn what_the_specification_forbids_is_not_offered() {
        let settings = Settings::default();
        assert_eq!(settings.checked(), Ok(settings));
        for wrong in [
            Settings { receive_credits: 0, ..settings },
            Settings { send_credits: 0, ..settings },
            Settings { send_bytes: 127, ..settings },
            Settings { send_bytes: 8137, ..settings },
            Settings { receive_bytes: 127, ..settings },
            Settings { fragmented_bytes: 131_071, ..settings },
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
        }
        assert!(
            Settings { send_bytes: 8136, receive_bytes: 128, fragmented_bytes: 131_072, ..settings }
                .checked()
                .is_ok()
        );
    }
}
