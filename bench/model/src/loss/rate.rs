//! The packet rate at which loss begins, as a search found it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, PacketPath};

/// One way: the rates on both sides of where loss begins, and who loses there; `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PacketRate {
    /// Which way, as the client sees it.
    pub direction: Direction,
    /// Highest rate that lost no more than one packet in a thousand, in packets per second.
    pub lossless_packets_per_s: Option<u32>,
    /// Lowest rate above it that lost more, twice; `null` where none did.
    pub lossy_packets_per_s: Option<u32>,
    /// What arrived of the highest rate that was tried with loss, in packets per second.
    pub ceiling_packets_per_s: Option<u64>,
    /// The most that the sending host could send, where that ended the search.
    pub sender_limit_packets_per_s: Option<u64>,
    /// Where the packets were lost.
    pub place: Option<LossPlace>,
    /// By which path they left the sending host, as its facts show; `null` where it does not tell them.
    pub sender_path: Option<PacketPath>,
    /// By which path they came into the receiving host, likewise.
    pub receiver_path: Option<PacketPath>,
    /// Packets that the counters of that place account for, of those lost.
    pub counted: Option<u64>,
    /// Packets lost in the trials that lost too many.
    pub lost: u64,
    /// Every rate that was tried, in its order.
    pub trials: Vec<RateTrial>,
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RateTrial {
    /// As asked for.
    pub packets_per_s: u32,
    /// Packets to send.
    pub asked: u64,
    /// Of those sent.
    pub sent: u64,
    /// Of those arrived.
    pub received: u64,
}

/// Where packets were lost, by the counters of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LossPlace {
    /// In the queues of the sending host.
    SenderQueue,
    /// In the ring between the receiving adapter (or the VMBus) and the kernel.
    ReceiverRing,
    /// In the backlog of a processor of the receiver.
    ReceiverBacklog,
    /// In the socket that they were for.
    ReceiverSocket,
    /// On the way: no counter of either host moved for them.
    Between,
    /// A place that a later build names.
    #[serde(other)]
    Other,
}

impl LossPlace {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            LossPlace::SenderQueue => "in the sender's queues",
            LossPlace::ReceiverRing => "in the receiver's ring",
            LossPlace::ReceiverBacklog => "in the receiver's backlog",
            LossPlace::ReceiverSocket => "in the receiver's socket",
            LossPlace::Between => "on the way",
            LossPlace::Other => "elsewhere",
        }
    }

    /// What holds more there.
    pub fn knob(self) -> &'static str {
        match self {
            LossPlace::SenderQueue => {
                "ip link set NIC txqueuelen 10000 at the sender, and the shaper that tc -s qdisc show names"
            }
            LossPlace::ReceiverRing => {
                "ethtool -G NIC rx N (a virtual machine of Hyper-V: the same sets the VMBus receive buffer)"
            }
            LossPlace::ReceiverBacklog => "sysctl net.core.netdev_max_backlog=N",
            LossPlace::ReceiverSocket => {
                "sysctl net.core.rmem_max=N, and the buffer that the application asks for"
            }
            LossPlace::Between | LossPlace::Other => {
                "a limiter, a firewall's rule or a switch between the hosts; nothing of theirs"
            }
        }
    }
}
