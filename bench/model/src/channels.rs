//! Which NIC pairs SMB Multichannel would use between two hosts, and why not the others.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeId;

/// A prediction to be made: which pairs of NICs would be used towards a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelsSpec {
    /// The other end: an agent, or an SMB server that a step before this one asks for its NICs.
    pub node: NodeId,
    /// Whose rules choose.
    pub rules: Rules,
    /// Only these local NICs (`New-SmbMultichannelConstraint`); empty means all.
    pub constrain: Vec<String>,
}

impl Default for ChannelsSpec {
    fn default() -> Self {
        ChannelsSpec { node: NodeId::SERVER, rules: Rules::default(), constrain: vec![] }
    }
}

/// Whose rules choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "policy", rename_all = "lowercase")]
pub enum Rules {
    /// Windows clients: the class (RDMA, then RSS, then the rest) outranks speed, and only the fastest pairs of
    /// the best class are used.
    #[default]
    Windows,
    /// cifs.ko: the system's routes choose the local NIC, and every NIC of the class is used in proportion to
    /// its speed, up to `channels` connections.
    Linux {
        /// `max_channels` of the mount, 1 to 16.
        #[serde(rename = "max_channels")]
        channels: u32,
    },
    /// Exactly the pairs named, each by NIC name or address.
    Manual {
        /// Local and remote end of each.
        pairs: Vec<(String, String)>,
    },
}

impl Rules {
    /// The word for results.
    pub fn name(&self) -> &'static str {
        match self {
            Rules::Windows => "windows",
            Rules::Linux { .. } => "linux",
            Rules::Manual { .. } => "manual",
        }
    }
}

/// A prediction of SMB's own choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Channels {
    /// Whose rules: `windows`, `linux` or `manual`.
    pub policy: String,
    /// `rdma`, `rss` or `plain`: what the chosen pairs have in common; `None` when none is chosen.
    pub class: Option<String>,
    /// Connections over all chosen pairs.
    pub connections: u32,
    /// Sum over the chosen pairs of the slower end's speed, each NIC counted once, in bit/s; `None` when a
    /// speed is unknown.
    pub speed_bits_per_s: Option<u64>,
    /// Every pair of addresses of one family, the chosen first, this host being the SMB client.
    pub pairs: Vec<ChannelPair>,
    /// The same with the peer as the SMB client; empty when its routes are not known.
    #[serde(default)]
    pub reverse_pairs: Vec<ChannelPair>,
    /// NICs that take part in no chosen pair.
    pub unused: Vec<UnusedNic>,
    /// The questions that people ask about such a table, answered for this one.
    pub answers: Vec<Answer>,
    /// By which path the packets of each pair of NICs go at both ends, as far as the facts of the hosts tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_paths: Vec<PairPath>,
}

/// By which path packets go between two NICs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairPath {
    /// NIC of this host.
    pub local_nic: String,
    /// NIC of the other one.
    pub remote_nic: String,
    /// At this host.
    pub local: PacketPath,
    /// At the other one; `null` where its facts are not known.
    pub remote: Option<PacketPath>,
}

/// By which path the packets of a NIC go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PacketPath {
    /// The sort of path.
    pub kind: PacketPathKind,
    /// The interfaces that they go through, from the one with the address down.
    pub through: Vec<String>,
    /// What shows it, in words.
    pub why: String,
}

/// The sorts of paths of packets within a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PacketPathKind {
    /// An adapter of this machine.
    Physical,
    /// A virtual function of an adapter (SR-IOV): past the virtual switch.
    VirtualFunction,
    /// An adapter, or a function of one, that the hypervisor gave to this virtual machine: past its virtual switch.
    PassedThrough,
    /// A NIC of the hypervisor with a virtual function below it, which takes nearly all packets; the first of a connection, and what the
    /// function does not take, go over the virtual switch.
    Accelerated,
    /// Hyper-V's NIC (netvsc): over the VMBus to the virtual switch.
    Synthetic,
    /// A NIC of virtio: to the hypervisor's switch.
    Virtio,
    /// Another NIC that is made for its hypervisor (vmxnet3, Xen, those of clouds).
    Paravirtual,
    /// An adapter that the hypervisor imitates.
    Emulated,
    /// A bridge or virtual switch of this host.
    Bridge,
    /// A tap: to a program of this host, a virtual machine as a rule.
    Tap,
    /// A pair of virtual NICs within this machine, as containers have.
    Veth,
    /// A tunnel over another NIC.
    Tunnel,
    /// A bond of NICs whose paths differ.
    Several,
    /// To this host itself.
    Loopback,
    /// The facts do not tell, or a later build knows.
    #[default]
    #[serde(other)]
    Unknown,
}

impl PacketPathKind {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            PacketPathKind::Physical => "physical adapter",
            PacketPathKind::VirtualFunction => "SR-IOV virtual function",
            PacketPathKind::PassedThrough => "passed-through adapter",
            PacketPathKind::Accelerated => "virtual function below a virtual NIC",
            PacketPathKind::Synthetic => "VMBus to the virtual switch",
            PacketPathKind::Virtio => "virtio to the hypervisor's switch",
            PacketPathKind::Paravirtual => "paravirtual NIC",
            PacketPathKind::Emulated => "emulated adapter",
            PacketPathKind::Bridge => "bridge of the host",
            PacketPathKind::Tap => "tap",
            PacketPathKind::Veth => "veth",
            PacketPathKind::Tunnel => "tunnel",
            PacketPathKind::Several => "several that differ",
            PacketPathKind::Loopback => "loopback",
            PacketPathKind::Unknown => "unknown",
        }
    }
}

/// One pair of addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelPair {
    /// Address of the SMB client's end.
    pub local: IpAddr,
    /// Address of the SMB server's end.
    pub remote: IpAddr,
    /// NIC of the client's end.
    pub local_nic: String,
    /// NIC of the server's end.
    pub remote_nic: String,
    /// Speed of the slower end, in bit/s.
    pub speed_bits_per_s: Option<u64>,
    /// Both ends spread receive work over several queues.
    pub rss: bool,
    /// Both ends do SMB Direct.
    pub rdma: bool,
    /// SMB would use this pair.
    pub chosen: bool,
    /// Connections SMB would open over it.
    pub connections: u32,
    /// The rule that decided.
    pub rule: ChannelRule,
    /// The rule in a sentence with the numbers of this case.
    pub reason: String,
}

/// The rule that decided about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelRule {
    /// Chosen: one of the fastest pairs of the best class.
    Best,
    /// Chosen by cifs.ko with this weight.
    Weighted,
    /// Chosen because the user named it.
    Named,
    /// Chosen as the mount's own connection although Multichannel adds none.
    OnlyConnection,
    /// The local NIC is outside the constraint.
    Constrained,
    /// The server gave the NIC index 0.
    RemoteUnindexed,
    /// The local NIC cannot carry anything.
    LocalUnusable,
    /// The remote NIC cannot carry anything.
    RemoteUnusable,
    /// The server's NIC has a routable address, so its link-local one is dropped.
    RemoteLinkLocal,
    /// The local NIC has a routable address, so its link-local one is not used.
    LocalLinkLocal,
    /// One end has only a link-local address, the other a routable one.
    LinkLocalMismatch,
    /// No subnet and no route of the local NIC covers the remote address.
    Unreachable,
    /// The same two NICs have a better pair of addresses.
    BetterAddress,
    /// Another class outranks it.
    ClassOutranked,
    /// A faster pair of the class exists.
    Slower,
    /// Both NICs are in use through other pairs.
    Spread,
    /// All connections are spent.
    ConnectionLimit,
    /// The system's route to the remote address leaves by another NIC.
    RoutedElsewhere,
    /// cifs.ko does not mix RDMA and TCP.
    RdmaNotMixed,
    /// Not among the pairs named by the user.
    NotNamed,
    /// None that this build knows.
    #[serde(other)]
    Undecided,
}

/// A side of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the command runs.
    Local,
    /// The other one.
    Remote,
}

impl Side {
    /// As it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            Side::Local => "local",
            Side::Remote => "remote",
        }
    }
}

/// A NIC that carries nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnusedNic {
    /// Where it is.
    pub end: Side,
    /// Its name.
    pub nic: String,
    /// Why.
    pub reason: String,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
}
