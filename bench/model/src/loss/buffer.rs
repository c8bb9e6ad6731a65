//! The receive buffer with which a packet rate holds, as a search found it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LossPlace;
use crate::Direction;

/// One way: the buffers on both sides of where loss begins, as an application asks for them (`SO_RCVBUF`); `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PacketBuffer {
    /// Which way, as the client sees it.
    pub direction: Direction,
    /// The rate at which packets were sent.
    pub packets_per_s: u32,
    /// The receiver read only every so often, in ns; `null` where it read whenever something came.
    pub receiver_sleeps_ns: Option<u64>,
    /// Smallest buffer that lost no more than one packet in a thousand, in bytes.
    pub holds_bytes: Option<u32>,
    /// Largest one below it that lost more, twice; `null` where none did.
    pub loses_bytes: Option<u32>,
    /// The largest that the receiver's kernel gave, in bytes: `net.core.rmem_max`, where that is less than the 8 MiB which were asked for.
    pub most_bytes: Option<u32>,
    /// The sending host could not send so many, so the search says nothing.
    pub sender_fell_short: bool,
    /// Where packets were lost.
    pub place: Option<LossPlace>,
    /// Packets that the counters of that place account for, of those lost.
    pub counted: Option<u64>,
    /// Packets lost in the trials that lost too many.
    pub lost: u64,
    /// Every buffer that was tried, in its order.
    pub trials: Vec<BufferTrial>,
}

/// A buffer that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BufferTrial {
    /// As asked for, in bytes.
    pub asked_bytes: u32,
    /// As the kernel gave it, in bytes; less where it allows no more.
    pub buffer_bytes: u32,
    /// Packets to send.
    pub asked: u64,
    /// Of those sent.
    pub sent: u64,
    /// Of those arrived.
    pub received: u64,
}
