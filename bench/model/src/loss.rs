//! What a `loss` step measures: what becomes of paced datagrams between two hosts, flow by flow, size by size and mark by
//! mark. TCP hides most of it and RDMA forgives none.

mod buffer;
mod columns;
mod rate;
mod shares;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, Share};

pub use buffer::{BufferTrial, PacketBuffer};
pub use rate::{LossPlace, PacketRate, RateTrial};
pub use shares::{BoundedShare, LossShares};

/// Paced datagrams over every NIC pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossSpec {
    /// Different source ports for each NIC pair and direction: what hashes flows to links treats them apart.
    pub flows: u32,
    /// Datagrams per second for each NIC pair and direction; one in five is as large as the interfaces allow.
    pub packets_per_s: u32,
    /// How long they are sent, in ns.
    pub time_ns: u64,
    /// What is sent.
    #[serde(skip_serializing_if = "is_default")]
    pub probe: LossProbe,
    /// Which way.
    #[serde(skip_serializing_if = "is_both")]
    pub direction: Direction,
    /// The receiving end reads only every so often, in ns: as a virtual machine that waits for its processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver_sleeps_ns: Option<u64>,
    /// What the receiving socket asks for as its buffer (`SO_RCVBUF`), in bytes; as much as 8 MiB where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_buffer_bytes: Option<u32>,
}

impl LossSpec {
    /// Longest sleep of a receiver, in ns: less than what is waited for after the last datagram.
    pub const SLEEP_NS_MAX: u64 = 100_000_000;
    /// Shortest, in ns.
    pub const SLEEP_NS_MIN: u64 = 1_000_000;
    /// Largest buffer that is asked for.
    pub const BUFFER_BYTES_MAX: u32 = 8 << 20;
    /// Smallest.
    pub const BUFFER_BYTES_MIN: u32 = 4 << 10;
}

impl Default for LossSpec {
    fn default() -> Self {
        LossSpec {
            flows: 16,
            packets_per_s: 2500,
            time_ns: 4_000_000_000,
            probe: LossProbe::Sample,
            direction: Direction::Both,
            receiver_sleeps_ns: None,
            receive_buffer_bytes: None,
        }
    }
}

/// What a step sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossProbe {
    /// All sizes and marks, over every NIC pair, at a pace that loads nothing: what the path loses by itself.
    #[default]
    Sample,
    /// Small packets without a mark, over the pair of the session alone: how many a second there may be. In a plan it stands for the
    /// search, and its pace is the most that is tried; a step has one rate of it.
    Rate,
    /// The same at one pace, with one buffer of the receiving socket after another: which is the smallest that holds. In a plan it stands for
    /// the search; a step has one buffer of it.
    Buffer,
}

pub(crate) fn is_default(probe: &LossProbe) -> bool {
    *probe == LossProbe::default()
}

pub(crate) fn is_both(direction: &Direction) -> bool {
    *direction == Direction::Both
}

pub(crate) fn both() -> Direction {
    Direction::Both
}

/// What was counted of a group of datagrams. What crosses leaves counters other than `sent` and `received` out where they are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LossCounts {
    /// Put on the wire.
    pub sent: u64,
    /// Not taken by the sending interface or refused by a router as too large: neither sent nor lost.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Arrived at least once.
    pub received: u64,
    /// Further copies that arrived (RFC 5560).
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicated: u64,
    /// Arrived after one that was sent later in the same flow with the same mark (RFC 4737).
    #[serde(skip_serializing_if = "is_zero")]
    pub reordered: u64,
    /// Took at least 50 ms longer than the fastest on the path.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
}

/// A counter that stands at nothing is left out.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl LossCounts {
    /// Lost, of those sent.
    pub fn lost(&self) -> Share {
        Share { part: self.sent.saturating_sub(self.received), of: self.sent }
    }

    /// Arrived out of order, of those that arrived.
    pub fn out_of_order(&self) -> Share {
        Share { part: self.reordered, of: self.received }
    }

    /// Copies, against those that arrived.
    pub fn copies(&self) -> Share {
        Share { part: self.duplicated, of: self.received }
    }

    /// Some were sent, and none arrived.
    pub fn is_dead(&self) -> bool {
        self.sent > 0 && self.received == 0
    }
}

impl std::ops::AddAssign for LossCounts {
    fn add_assign(&mut self, other: LossCounts) {
        for (sum, more) in [
            (&mut self.sent, other.sent),
            (&mut self.refused, other.refused),
            (&mut self.received, other.received),
            (&mut self.duplicated, other.duplicated),
            (&mut self.reordered, other.reordered),
            (&mut self.late, other.late),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// One NIC pair in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossPath {
    /// NIC of the client.
    pub local_nic: String,
    /// NIC of the server.
    pub remote_nic: String,
    /// Address of the client.
    pub local_address: IpAddr,
    /// Address of the server.
    pub remote_address: IpAddr,
    /// `out` from client to server, `in` from server to client; `both` there and back, by echo.
    pub direction: Direction,
    /// Sent as ICMP echoes, because no datagram was answered. What is lost may be lost either way, or held back by whoever limits
    /// echoes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_echo: bool,
    /// Length of the small IP packets.
    pub small_ip_bytes: u32,
    /// Length of the full-size ones: what both interfaces allow.
    pub full_ip_bytes: u32,
    /// Why nothing was sent, where that is so.
    pub reason: Option<String>,
    /// Flow by flow.
    #[serde(with = "columns::FlowColumns")]
    #[schemars(with = "columns::FlowColumns")]
    pub flows: Vec<LossFlow>,
    /// Mark by mark, over all flows.
    #[serde(with = "columns::MarkColumns")]
    #[schemars(with = "columns::MarkColumns<'static>")]
    pub marks: Vec<LossMark>,
    /// Datagrams that arrived at the host and found no room in the receiving socket: not the path's loss.
    pub overflowed: u64,
    /// How much longer than the fastest datagram the median, 99 % and the slowest took, in ns; `null` where fewer than two arrived.
    pub delay_variation_ns: Option<DelayVariation>,
    /// The first router on the way, as it says itself to the sender; left out where nobody did. IPv4 between networks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_router: Option<IpAddr>,
    /// The last one, as it wrote itself into what it handed over (RFC 791); left out where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_router: Option<IpAddr>,
    /// Questions of the sending end, asked before anything else is sent, that reached the other, as that one says over the control connection. A path
    /// over which some were heard and none was answered is dead on the way back. Left out where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions_heard: Option<u64>,
    /// Datagrams that arrived with other bytes than were sent, and with a checksum that fits: what stands behind their first 40 bytes is known to
    /// the receiver. One that was changed before that counts as lost. Left out where nobody says, and where more than half seem to be: then the
    /// two ends are of builds that fill them otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// What became of its datagrams, as shares with what their sample speaks for; left out where none were sent, or echoes in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<LossShares>,
}

impl LossPath {
    /// Nothing that was sent came back over any flow, although this end could send.
    pub fn is_silent(&self) -> bool {
        self.reason.is_none() && self.flows.iter().all(|flow| !flow.answered)
    }

    /// What the sending host itself refused, of all that it was given.
    pub fn refused_here(&self) -> Share {
        let sum = |of: fn(&LossFlow) -> u64| self.flows.iter().map(of).fold(0, u64::saturating_add);
        let part = sum(|flow| flow.failed);
        Share { part, of: sum(|flow| flow.small.sent.saturating_add(flow.full.sent)).saturating_add(part) }
    }

    /// In the words of reports: `eth1 to eth2 IPv4 out`.
    pub fn name(&self) -> String {
        let family = if self.local_address.is_ipv4() { 4 } else { 6 };
        let by = if self.by_echo { " by echo" } else { "" };
        format!("{} to {} IPv{family} {}{by}", self.local_nic, self.remote_nic, self.direction.name())
    }
}

/// How much longer than the fastest datagrams of a path the others took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DelayVariation {
    /// Median, in ns.
    pub p50: u64,
    /// 99th percentile, in ns.
    pub p99: u64,
    /// Slowest, in ns.
    pub max: u64,
}

/// One flow of a path: one source port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossFlow {
    /// Source port.
    pub port: u16,
    /// Whether the other end answered over this flow before anything was sent.
    pub answered: bool,
    /// Small datagrams.
    pub small: LossCounts,
    /// Full-size ones.
    pub full: LossCounts,
    /// Those of the small ones that had the size of Ethernet's own MTU (1500 bytes), where full size is more. A flow that carries none of them
    /// has them here alone, and not among its small ones.
    pub standard: LossCounts,
    /// How much longer its own fastest datagram took than the fastest of the whole path, in ns; `null` where nothing of it arrived, or its
    /// receiver does not say.
    pub least_delay_ns: Option<u64>,
    /// Datagrams that the sending host itself did not permit, as a rule of its own firewall does: neither sent nor lost.
    pub failed: u64,
}

impl LossFlow {
    /// It was silent altogether.
    pub fn is_dead(&self) -> bool {
        !self.answered || (self.small.is_dead() && self.full.received == 0)
    }

    /// Small datagrams pass, and those of Ethernet's own MTU do not.
    pub fn lacks_standard_size(&self) -> bool {
        self.standard.is_dead() && self.small.received > 0
    }

    /// Small datagrams pass and full-size ones do not.
    pub fn lacks_full_size(&self) -> bool {
        self.small.received > 0 && self.full.received == 0 && self.full.sent + self.full.refused > 0
    }
}

/// One traffic class of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossMark {
    /// DSCP as sent (RFC 2474).
    pub dscp: u8,
    /// ECN bits as sent (RFC 3168).
    pub ecn: u8,
    /// What was counted; full-size datagrams of flows that carry none are left out.
    pub counts: LossCounts,
    /// How much longer its own fastest datagram took than the fastest of the whole path, in ns; `null` where nothing of it arrived, or its
    /// receiver does not say.
    pub least_delay_ns: Option<u64>,
    /// How they arrived, each with its number.
    pub arrived: Vec<ArrivedMark>,
}

/// How marks arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArrivedMark {
    /// DSCP as it arrived.
    pub dscp: u8,
    /// ECN bits as they arrived.
    pub ecn: u8,
    /// Datagrams.
    pub count: u64,
}

/// What one end tells about one address pair: what it sent, and what it received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossEnd {
    /// This end's NIC.
    pub nic: String,
    /// The other end's NIC.
    pub peer_nic: String,
    /// This end's address.
    pub address: IpAddr,
    /// The other end's address.
    pub peer_address: IpAddr,
    /// Length of the small packets that this end sends.
    pub small_ip_bytes: u32,
    /// Length of its full-size ones.
    pub full_ip_bytes: u32,
    /// Why nothing was sent, where that is so.
    pub reason: Option<String>,
    /// What it sent, flow by flow.
    pub sent: Vec<SentFlow>,
    /// What became of its ICMP echoes, where no flow was answered and they were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echoes: Option<LossFlow>,
    /// What it received, strand by strand.
    pub received: Vec<ReceivedStrand>,
    /// What found no room in its socket, over all pairs of the address.
    pub overflowed: u64,
    /// How much the delay of what it received varied.
    pub delay_variation_ns: Option<DelayVariation>,
    /// The first router on the way from this end, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_router: Option<IpAddr>,
    /// The last one on the way to this end, as it wrote itself into what it handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_router: Option<IpAddr>,
    /// Questions of the other end that reached this one; `null` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions_heard: Option<u64>,
    /// What it received with other bytes than were sent; `null` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
}

/// What an end sent in one flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SentFlow {
    /// Source port.
    pub port: u16,
    /// Whether the other end had answered.
    pub answered: bool,
    /// Small datagrams by mark.
    pub small: Vec<u64>,
    /// Full-size ones by mark.
    pub full: Vec<u64>,
    /// Full-size ones by mark that were refused as too large.
    pub refused: Vec<u64>,
    /// By mark, those of the small ones that had the size of Ethernet's own MTU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub standard: Vec<u64>,
    /// Those that this host itself did not permit (EPERM, EACCES). What could not be sent for another reason stands in none of these numbers.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
}

/// What an end received of one strand: one flow, one mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReceivedStrand {
    /// The strand's number: flow times marks, and the mark.
    pub strand: u16,
    /// Small ones; `sent` is the sender's to say.
    pub small: LossCounts,
    /// Full-size ones.
    pub full: LossCounts,
    /// Those of the small ones that had the size of Ethernet's own MTU.
    #[serde(skip_serializing_if = "is_zero")]
    pub standard: u64,
    /// Traffic classes that they came with, each with its number.
    pub classes: Vec<(u8, u64)>,
    /// How much longer the fastest of them took than the fastest of the path, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_delay_ns: Option<u64>,
}
