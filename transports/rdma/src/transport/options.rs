//! The options of this transport's lanes, and what a specification asks for by them.

use pathproof_api::{
    Choice, Fixed, LaneOption, LaneSpec, NumberUnit, Open, OptionDoc, Takes, TransportError, Whose, open,
    words,
};

use super::INLINE_BYTES;
use crate::choose::Wishes;
use crate::manners::NAME;
use crate::offer::Rendezvous;
use crate::timing::{ACK_TIMEOUT_EXPONENT, RETRY_COUNT};

pub use pathproof_api::manners::DEVICE;

/// Port of the device.
pub const PORT: LaneOption<Open<u8>> = LaneOption {
    name: "port",
    takes: Takes::Number { least: 0, most: 255, unit: NumberUnit::None },
    whose: Whose::Own,
    default: open("the one on the route to the peer"),
    help: "port of the device",
};
/// Index of the GID.
pub const GID: LaneOption<Open<u8>> = LaneOption {
    name: "gid",
    takes: Takes::Number { least: 0, most: 255, unit: NumberUnit::None },
    whose: Whose::Own,
    default: open("the entry of the address on the route, RoCE v2 before v1"),
    help: "index of the GID",
};
/// Upper limit of the path MTU.
pub const PATH_MTU: LaneOption<Fixed<PathMtu>> = LaneOption {
    name: "path_mtu",
    takes: Takes::OneOf(words::<PathMtu>),
    whose: Whose::Both,
    default: Fixed(PathMtu::B4096),
    help: "RDMA path MTU in bytes, at most",
};
/// Traffic class of the packets.
pub const TRAFFIC_CLASS: LaneOption<Open<u8>> = LaneOption {
    name: "traffic_class",
    takes: Takes::Number { least: 0, most: 255, unit: NumberUnit::None },
    whose: Whose::Both,
    default: open("0, and with connect=cm that of the system"),
    help: "traffic class of the packets",
};
/// How queue pairs find each other.
pub const CONNECT: LaneOption<Open<Rendezvous>> = LaneOption {
    name: "connect",
    takes: Takes::OneOf(words::<Rendezvous>),
    whose: Whose::Both,
    default: open("qp, on iWARP cm"),
    help: "how queue pairs find each other: by what crossed the control channel, or by the connection manager",
};
/// When memory is registered.
pub const REGISTRATION: LaneOption<Fixed<Registration>> = LaneOption {
    name: "registration",
    takes: Takes::OneOf(words::<Registration>),
    whose: Whose::Both,
    default: Fixed(Registration::UpFront),
    help: "when memory is registered",
};
/// Exponent of the acknowledgement timeout.
pub const ACK_TIMEOUT: LaneOption<Fixed<u8>> = LaneOption {
    name: "ack_timeout",
    takes: Takes::Number { least: 0, most: 31, unit: NumberUnit::None },
    whose: Whose::Both,
    default: Fixed(ACK_TIMEOUT_EXPONENT),
    help: "exponent of the acknowledgement timeout, which is 4.096 µs × 2^N",
};
/// How often a packet is sent again.
pub const RETRIES: LaneOption<Fixed<u8>> = LaneOption {
    name: "retries",
    takes: Takes::Number { least: 0, most: RETRY_COUNT as u32, unit: NumberUnit::None },
    whose: Whose::Both,
    default: Fixed(RETRY_COUNT),
    help: "how often a packet is sent again",
};
/// How often a completion is asked for.
pub const SIGNAL_EVERY: LaneOption<Open<u32>> = LaneOption {
    name: "signal_every",
    takes: Takes::Number { least: 0, most: 1 << 20, unit: NumberUnit::Sends },
    whose: Whose::Both,
    default: open("a quarter of the depth, on iWARP 1"),
    help: "of how many sends one asks for a completion",
};
/// Bytes that are sent within the work request.
pub const INLINE: LaneOption<Fixed<u32>> = LaneOption {
    name: "inline",
    takes: Takes::Number { least: 0, most: 4096, unit: NumberUnit::Bytes },
    whose: Whose::Both,
    default: Fixed(INLINE_BYTES),
    help: "bytes that are sent within the work request",
};

/// All options.
pub fn declared() -> Vec<OptionDoc> {
    vec![
        DEVICE.declared(),
        PORT.declared(),
        GID.declared(),
        PATH_MTU.declared(),
        TRAFFIC_CLASS.declared(),
        CONNECT.declared(),
        REGISTRATION.declared(),
        ACK_TIMEOUT.declared(),
        RETRIES.declared(),
        SIGNAL_EVERY.declared(),
        INLINE.declared(),
    ]
}

impl Choice for Rendezvous {
    const ALL: &'static [(&'static str, Rendezvous)] =
        &[("qp", Rendezvous::QueuePair), ("cm", Rendezvous::ConnectionManager)];
}

impl Choice for Registration {
    const ALL: &'static [(&'static str, Registration)] = &[
        ("up-front", Registration::UpFront),
        ("per-chunk", Registration::PerChunk),
        ("window", Registration::Window),
    ];
}

/// The path MTUs that there are, with the code that verbs have for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// 256 bytes.
    B256 = 1,
    /// 512 bytes.
    B512 = 2,
    /// 1024 bytes.
    B1024 = 3,
    /// 2048 bytes.
    B2048 = 4,
    /// 4096 bytes.
    B4096 = 5,
}

impl Choice for PathMtu {
    const ALL: &'static [(&'static str, PathMtu)] = &[
        ("256", PathMtu::B256),
        ("512", PathMtu::B512),
        ("1024", PathMtu::B1024),
        ("2048", PathMtu::B2048),
        ("4096", PathMtu::B4096),
    ];
}

/// When memory is made accessible to the device and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
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

/// The traffic class whose six upper bits are this code point (RFC 2474 §3).
pub(super) fn class_of(dscp: u8) -> u8 {
    dscp << 2
}

/// What a lane's specification asks of this transport.
pub(super) struct Options {
    pub(super) wishes: Wishes,
    pub(super) rendezvous: Option<Rendezvous>,
    /// `None` where nobody asked for one.
    pub(super) traffic_class: Option<u8>,
    pub(super) signal_every: Option<u32>,
    pub(super) inline_bytes: u32,
    /// Upper limit of the path MTU, as the verbs code.
    pub(super) path_mtu_code: u8,
    pub(super) ack_timeout_exponent: u8,
    pub(super) retry_count: u8,
    pub(super) registration: Registration,
}

pub(super) fn options(spec: &LaneSpec) -> Result<Options, TransportError> {
    let given = &spec.options;
    given.only(NAME, &declared())?;
    Ok(Options {
        wishes: Wishes {
            device: given.given(&DEVICE),
            port: given.given(&PORT),
            gid_index: given.given(&GID),
            netdev: spec.device.clone(),
            local: spec.local,
            remote: spec.remote.map(|r| r.ip()),
        },
        rendezvous: given.given(&CONNECT),
        // What is said of one lane goes before what all have in common.
        traffic_class: spec.dscp.map(class_of).or_else(|| given.given(&TRAFFIC_CLASS)),
        signal_every: given.given(&SIGNAL_EVERY).map(|every| every.max(1)),
        inline_bytes: given.get(&INLINE),
        path_mtu_code: given.get(&PATH_MTU) as u8,
        // 0 would mean "without limit".
        ack_timeout_exponent: given.get(&ACK_TIMEOUT).max(1),
        retry_count: given.get(&RETRIES),
        registration: given.get(&REGISTRATION),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_marked_has_the_traffic_class_of_its_code_point() {
        let spec = |dscp| LaneSpec { dscp, ..LaneSpec::default() };
        let class = |spec: &LaneSpec| options(spec).unwrap().traffic_class;
        assert_eq!([Some(26), Some(63)].map(|dscp| class(&spec(dscp))), [Some(104), Some(252)]);
        // Left out is not zero: the connection manager has a class of the system's for whom nobody gives one.
        assert_eq!(class(&spec(None)), None);
        for (dscp, expected) in [(None, 12), (Some(26), 104)] {
            let mut both = spec(dscp);
            both.options.set(&TRAFFIC_CLASS, 12);
            assert_eq!(class(&both), Some(expected), "the mark of a lane goes before the option of all");
        }
    }
}
