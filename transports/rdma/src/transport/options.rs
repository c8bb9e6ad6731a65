//! What a lane's options ask of this transport.

use pathproof_api::{LaneOption, LaneSpec, Takes, TransportError};

use super::{ACK_TIMEOUT_EXPONENT, INLINE_BYTES, RETRY_COUNT};
use crate::choose::Wishes;
use crate::offer::{Rendezvous, mtu_bytes};
use crate::sysfs::Fabric;

/// What [`options`] reads.
pub(super) const OPTIONS: &[LaneOption] = &[
    LaneOption::new("device", Takes::Text("DEVICE"), "RDMA device of this host"),
    LaneOption::new("port", Takes::Number(0, 255), "port of the device"),
    LaneOption::new("gid", Takes::Number(0, 255), "index of the GID"),
    LaneOption::new(
        "path_mtu",
        Takes::OneOf(&["256", "512", "1024", "2048", "4096"]),
        "RDMA path MTU, at most",
    ),
    LaneOption::new("traffic_class", Takes::Number(0, 255), "traffic class of the packets"),
    LaneOption::new("connect", Takes::OneOf(&["qp", "cm"]), "how queue pairs find each other"),
    LaneOption::new(
        "registration",
        Takes::OneOf(&["up-front", "per-chunk", "window"]),
        "when memory is registered",
    ),
    LaneOption::new("ack_timeout", Takes::Number(0, 31), "exponent of the acknowledgement timeout"),
    LaneOption::new("retries", Takes::Number(0, RETRY_COUNT as u32), "how often a packet is sent again"),
    LaneOption::new("signal_every", Takes::Number(0, 1 << 20), "how often a completion is asked for"),
    LaneOption::new("inline", Takes::Number(0, 4096), "bytes that are sent within the work request"),
];

/// When memory is made accessible to the device and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// Before the run.
    UpFront,
    /// Each message's memory while it is under way, as a program without buffers of its own must.
    PerChunk,
    /// Before the run for this end; for the peer by a memory window, which it can end by SEND_WITH_INV.
    Window,
}

impl Registration {
    pub(super) fn words(self) -> &'static str {
        match self {
            Registration::UpFront => "all memory before the run",
            Registration::PerChunk => {
                "each message's memory from its posting to its completion, beside the peer's window"
            }
            Registration::Window => {
                "all memory before the run; the peer reaches it by a memory window of type 2"
            }
        }
    }
}

/// The options of a lane specification that this transport knows.
pub(super) struct Options {
    pub(super) wishes: Wishes,
    pub(super) rendezvous: Option<Rendezvous>,
    pub(super) traffic_class: u8,
    pub(super) signal_every: Option<u32>,
    pub(super) inline_bytes: u32,
    /// Upper limit of the path MTU, as the verbs code.
    pub(super) path_mtu_code: u8,
    pub(super) ack_timeout_exponent: u8,
    pub(super) retry_count: u8,
    pub(super) registration: Registration,
}

pub(super) fn options(spec: &LaneSpec) -> Result<Options, TransportError> {
    let mut found = Options {
        wishes: Wishes {
            netdev: spec.device.clone(),
            local: spec.local,
            remote: spec.remote.map(|r| r.ip()),
            ..Wishes::default()
        },
        rendezvous: None,
        traffic_class: 0,
        signal_every: None,
        inline_bytes: INLINE_BYTES,
        path_mtu_code: 5,
        ack_timeout_exponent: ACK_TIMEOUT_EXPONENT,
        retry_count: RETRY_COUNT,
        registration: Registration::UpFront,
    };
    for (name, value) in &spec.options {
        let wrong = |what: &str| TransportError::invalid(format!("RDMA option {name}={value}: {what}"));
        let number = |max: u32| {
            value
                .parse::<u32>()
                .ok()
                .filter(|n| *n <= max)
                .ok_or_else(|| wrong(&format!("expected a number up to {max}")))
        };
        match name.as_str() {
            "device" => found.wishes.device = Some(value.clone()),
            "port" => found.wishes.port = Some(number(255)? as u8),
            "gid" => found.wishes.gid_index = Some(number(255)? as u8),
            "traffic_class" => found.traffic_class = number(255)? as u8,
            "signal_every" => found.signal_every = Some(number(1 << 20)?.max(1)),
            // 0 would mean "for ever", and beyond 31 there is no code.
            "ack_timeout" => found.ack_timeout_exponent = (number(31)? as u8).max(1),
            "retries" => found.retry_count = number(u32::from(RETRY_COUNT))? as u8,
            "inline" => found.inline_bytes = number(4096)?,
            "path_mtu" => {
                let code = (1..=5).find(|code| mtu_bytes(*code).is_some_and(|b| b.to_string() == *value));
                found.path_mtu_code = code.ok_or_else(|| wrong("expected 256, 512, 1024, 2048 or 4096"))?;
            }
            "registration" => {
                found.registration = match value.as_str() {
                    "up-front" => Registration::UpFront,
                    "per-chunk" => Registration::PerChunk,
                    "window" => Registration::Window,
                    _ => return Err(wrong("expected up-front, per-chunk or window")),
                };
            }
            "connect" => {
                found.rendezvous = Some(match value.as_str() {
                    "qp" => Rendezvous::QueuePair,
                    "cm" => Rendezvous::ConnectionManager,
                    _ => return Err(wrong("expected qp or cm")),
                });
            }
            _ => {
                return Err(wrong(
                    "unknown; RDMA lanes know device, port, gid, path_mtu, traffic_class, connect, registration, \
                     ack_timeout, retries, signal_every and inline",
                ));
            }
        }
    }
    Ok(found)
}

/// Of how many sends one asks for a completion.
///
/// On iWARP each must. There a completion means that TCP has the bytes, not that the peer has them (RFC 5040 §5.5), and
/// soft-iWARP lets TCP send, and send again, straight from the memory of a request that asks for none: whoever
/// writes its next message there when a later request completes changes bytes on their way, and the peer sees corrupt ones.
pub(super) fn signal_every(
    fabric: Fabric,
    asked: Option<u32>,
    send_depth: u32,
) -> Result<u32, TransportError> {
    match (fabric, asked) {
        (Fabric::Iwarp, Some(2..)) => Err(TransportError::invalid(
            "RDMA option signal_every: on iWARP every send must ask for its completion, or its memory may not be used \
             again; leave the option out",
        )),
        (Fabric::Iwarp, _) => Ok(1),
        // A quarter of the depth keeps three quarters in flight while one is being collected.
        (_, asked) => Ok(asked.unwrap_or(send_depth / 4).clamp(1, send_depth.max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_iwarp_every_send_asks_for_its_completion() {
        for depth in [1, 16, 128] {
            assert_eq!(signal_every(Fabric::Iwarp, None, depth).unwrap(), 1);
            assert_eq!(signal_every(Fabric::Iwarp, Some(1), depth).unwrap(), 1);
        }
        let refused = signal_every(Fabric::Iwarp, Some(2), 16).unwrap_err().to_string();
        assert!(refused.contains("signal_every") && refused.contains("leave the option out"), "{refused}");
        assert_eq!(signal_every(Fabric::Roce, None, 16).unwrap(), 4);
        assert_eq!(signal_every(Fabric::Roce, Some(100), 16).unwrap(), 16);
        assert_eq!(signal_every(Fabric::InfiniBand, None, 1).unwrap(), 1);
    }
}
