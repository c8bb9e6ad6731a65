//! What rank 0 and the ranks say to each other, as length and JSON over a connection that has proved the key.
//!
//! An order is a number, a choice from a closed list and ranks: it names no address, NIC, file or size. What it comes to is made by each
//! rank from its own command line. Whatever comes in is bounded before it is kept.

use std::net::IpAddr;

use pathproof_model::mesh::{Cell, MeshSettings, RANKS_MAX, RoundKind};
use pathproof_model::{Environment, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of what is said here. Ranks of one mesh are one build, so there is no range.
pub const VERSION: u32 = 2;
/// Longest message of a rank: its facts are in the first.
pub const FROM_RANK_BYTES_MAX: usize = 512 << 10;
/// Longest message of rank 0: the table of all ranks.
pub const TO_RANK_BYTES_MAX: usize = 1 << 20;
/// Planes of a mesh.
pub const PLANES_MAX: usize = 16;
/// No stream carries more, in bit/s.
const RATE_MAX: u64 = 100_000_000_000_000;
/// No round trip takes longer, in ns.
const ROUND_TRIP_NS_MAX: u64 = 3_600_000_000_000;
/// No stream sends more segments again.
const SEGMENTS_MAX: u64 = 1 << 40;
/// Nobody sends more datagrams at a pace.
const DATAGRAMS_MAX: u64 = 1 << 32;
/// IP packets that a path may carry: from the least that IPv4 demands to the largest payload and its header.
const IP_MTU_BYTES: std::ops::RangeInclusive<u64> = 68..=65_575;
/// Longest name of a host.
const NAME_BYTES_MAX: usize = 64;

/// What a rank says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromRank {
    /// First of all: who it is.
    Hello(Box<Hello>),
    /// What an order came to.
    Report(Report),
    /// It is there, too: the answer to rank 0's word that it is. A process that is stopped keeps its connections, and answers nothing.
    Still,
}

/// What rank 0 says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToRank {
    /// It has no place here.
    Refused(String),
    /// All have come, or are not waited for any longer.
    Table(Vec<Row>),
    /// Something is to be measured.
    Order(Order),
    /// Rank 0 is there.
    Still,
    /// That was all.
    Bye,
}

/// A rank introduces itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// See [`VERSION`].
    pub version: u32,
    /// Which one it is.
    pub rank: u32,
    /// Of how many.
    pub size: u32,
    /// What it was started with: all must have been started alike.
    pub settings: MeshSettings,
    /// The port of its agent, where it also hears knocks.
    pub port: u16,
    /// What opens its agent's door, for this mesh alone.
    pub token: String,
    /// Its facts.
    pub environment: Environment,
}

/// Where a rank is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number.
    pub rank: u32,
    /// Its address on each plane.
    pub addresses: Vec<Option<IpAddr>>,
    /// The port of its agent.
    pub port: u16,
    /// What opens the agent's door.
    pub token: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A word by datagram to all others, then: who was heard.
    Knock,
    /// Round trips and path MTUs.
    Survey,
    /// A stream to each of the peers.
    Send,
    /// A stream from each.
    Fetch,
    /// Both at once.
    Exchange,
    /// A short stream to the peer, then datagrams at a pace at which no queue fills.
    Drip,
    /// Round trips of small messages while others send.
    Latency,
    /// Streams from all peers at once, counted over one window.
    Gather,
    /// Streams to all peers at once.
    Spread,
}

impl Task {
    /// The window of its streams, where that of a pair is `pair_ns`: twice as long for many at once. They lose packets to each other,
    /// and what came behind a lost one is counted when that has come again, so at both ends of a window some 30 ms of the link's rate
    /// may be counted too many or too few: up to 6 % of half a second, 3 % of one (results/runs/2026-11-29-incast).
    pub fn window_ns(self, pair_ns: u64) -> u64 {
        match self {
            Task::Gather | Task::Spread | Task::Latency => pair_ns.saturating_mul(2),
            Task::Knock | Task::Survey | Task::Send | Task::Fetch | Task::Exchange | Task::Drip => pair_ns,
        }
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number, which the report bears.
    pub number: u32,
    /// The plane, by its place.
    pub plane: u32,
    /// What for. It changes nothing about what is done.
    pub kind: RoundKind,
    /// What.
    pub task: Task,
    /// With whom.
    pub peers: Vec<u32>,
}

/// What an order came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The number of the order.
    pub number: u32,
    /// A peer each.
    pub told: Vec<Told>,
    /// Payload of all peers in the window that they had in common, and its length in ns.
    pub common: Option<(u64, u64)>,
    /// Who was heard: ranks.
    pub heard: Vec<u32>,
}

/// What became known with one peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The peer.
    pub peer: u32,
    /// From this rank to the peer.
    pub out: Cell,
    /// From the peer to this rank.
    pub back: Cell,
    /// Datagrams at a pace, from this rank to the peer.
    pub paced: Option<Paced>,
    /// Whether threads of the two stood in line for a processor for so long that the figures are their hosts'.
    pub starved: bool,
    /// What stopped it.
    pub error: Option<ErrorKind>,
}

/// What became of datagrams that were sent at a pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paced {
    /// Put on the wire.
    pub sent: u64,
    /// Those that did not arrive at the other host.
    pub lost: u64,
}

/// Why a message is not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It says that it is longer than may be.
    #[error("a message of {0} bytes, where {1} are allowed")]
    Long(usize, usize),
    /// It is none of those that there are.
    #[error("a message that cannot be read: {0}")]
    Unreadable(String),
    /// It says what nobody can mean.
    #[error("a message that makes no sense: {0}")]
    Nonsense(&'static str),
}

/// A message as it crosses.
pub fn frame(message: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_vec(message).unwrap_or_default();
    let mut bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// Takes messages out of a stream of bytes.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Frames {
    /// Of messages that are no longer than that.
    pub fn new(bytes_max: usize) -> Frames {
        Frames { bytes: vec![], bytes_max }
    }

    /// Where bytes that came are put.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next message that is complete.
    pub fn decode_next<M: DeserializeOwned + Bounded>(&mut self) -> Result<Option<M>, MessageError> {
        let Some(length) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.bytes_max {
            return Err(MessageError::Long(length, self.bytes_max));
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(4 + length);
        let message = std::mem::replace(&mut self.bytes, rest);
        let mut message: M = serde_json::from_slice(&message[4..])
            .map_err(|error| MessageError::Unreadable(error.to_string()))?;
        message.bound()?;
        Ok(Some(message))
    }
}

/// What is cut to a bounded size when it comes in, or refused.
pub trait Bounded {
    /// Cuts.
    fn bound(&mut self) -> Result<(), MessageError>;
}

impl Bounded for FromRank {
    fn bound(&mut self) -> Result<(), MessageError> {
        match self {
            FromRank::Hello(hello) => {
                crate::control::bound_environment(&mut hello.environment);
                cut(&mut hello.token);
                bound_settings(&mut hello.settings);
                Ok(())
            }
            FromRank::Report(report) => report.bound(),
            FromRank::Still => Ok(()),
        }
    }
}

impl Bounded for Report {
    fn bound(&mut self) -> Result<(), MessageError> {
        self.told.truncate(RANKS_MAX);
        self.heard.truncate(RANKS_MAX);
        for told in &mut self.told {
            let cells = [&mut told.out, &mut told.back];
            let can_be = cells.iter().all(|cell| can_be(cell))
                && told.paced.is_none_or(|paced| paced.lost <= paced.sent && paced.sent <= DATAGRAMS_MAX);
            if !can_be {
                *told = Told { peer: told.peer, error: Some(ErrorKind::Protocol), ..Told::default() };
                continue;
            }
            for cell in cells {
                // Why something is not known rank 0 says in words of its own.
                cell.reason = None;
            }
        }
        let rate = |(bytes, ns): (u64, u64)| u128::from(bytes) * 8_000_000_000 / u128::from(ns.max(1));
        self.common = self.common.filter(|common| rate(*common) <= u128::from(RATE_MAX));
        Ok(())
    }
}

impl Bounded for Order {
    fn bound(&mut self) -> Result<(), MessageError> {
        match self.peers.len() > RANKS_MAX {
            true => Err(MessageError::Nonsense("an order with more peers than a mesh has")),
            false => Ok(()),
        }
    }
}

impl Bounded for ToRank {
    fn bound(&mut self) -> Result<(), MessageError> {
        match self {
            ToRank::Refused(why) => {
                *why = why.chars().take(400).collect();
            }
            ToRank::Table(rows) => {
                if rows.len() > RANKS_MAX {
                    return Err(MessageError::Nonsense("a table of more ranks than a mesh has"));
                }
                for row in rows {
                    row.addresses.truncate(PLANES_MAX);
                    cut(&mut row.token);
                }
            }
            ToRank::Order(order) => order.bound()?,
            ToRank::Still | ToRank::Bye => {}
        }
        Ok(())
    }
}

/// Whether figures are such as something could have measured.
fn can_be(cell: &Cell) -> bool {
    let at_most = |figure: Option<u64>, most: u64| figure.is_none_or(|figure| figure <= most);
    let rates = [cell.goodput_bits_per_s, cell.worst_second_bits_per_s];
    let times = [cell.rtt_p50_ns, cell.rtt_p99_ns];
    rates.into_iter().all(|rate| at_most(rate, RATE_MAX))
        && times.into_iter().all(|time| at_most(time, ROUND_TRIP_NS_MAX))
        && at_most(cell.retransmits, SEGMENTS_MAX)
        && cell.ip_mtu_bytes.is_none_or(|bytes| IP_MTU_BYTES.contains(&bytes))
}

/// Settings are compared with those of rank 0, and shown nowhere; they are kept while the rank is there.
pub(super) fn bound_settings(settings: &mut MeshSettings) {
    cut(&mut settings.over);
    settings.patterns.truncate(8);
}

pub(super) fn cut(text: &mut String) {
    if text.len() > NAME_BYTES_MAX {
        *text = text.chars().take(NAME_BYTES_MAX / 4).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let order =
            Order { number: 7, plane: 1, kind: RoundKind::Incast, task: Task::Gather, peers: vec![1, 2] };
        let bytes =
            [frame(&ToRank::Still), frame(&ToRank::Order(order.clone())), frame(&ToRank::Bye)].concat();
        for piece in [1, 3, bytes.len()] {
            let mut frames = Frames::new(TO_RANK_BYTES_MAX);
            let mut seen = vec![];
            for piece in bytes.chunks(piece) {
                frames.buffer().extend_from_slice(piece);
                while let Some(message) = frames.decode_next::<ToRank>().unwrap() {
                    seen.push(message);
                }
            }
            assert!(
                matches!(&seen[..], [ToRank::Still, ToRank::Order(o), ToRank::Bye] if *o == order),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused_before_it_is_kept() {
        let mut frames = Frames::new(100);
        frames.buffer().extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(frames.decode_next::<ToRank>(), Err(MessageError::Long(..))));
        for odd in [
            "{\"order\":{\"number\":1,\"plane\":0,\"kind\":\"up\",\"task\":\"erase\",\"peers\":[]}}",
            "\"exec\"",
            "7",
        ] {
            let mut frames = Frames::new(1000);
            frames.buffer().extend_from_slice(&(odd.len() as u32).to_le_bytes());
            frames.buffer().extend_from_slice(odd.as_bytes());
            assert!(matches!(frames.decode_next::<ToRank>(), Err(MessageError::Unreadable(_))), "{odd}");
        }
    }

    #[test]
    fn no_words_of_a_rank_reach_the_document_by_its_report() {
        let cell = Cell { reason: Some("\u{1b}[2J".into()), goodput_bits_per_s: Some(1), ..Cell::default() };
        let told = Told { out: cell.clone(), back: cell, ..Told::default() };
        let mut report = FromRank::Report(Report { told: vec![told; 5000], ..Report::default() });
        report.bound().unwrap();
        let FromRank::Report(report) = report else { panic!() };
        assert_eq!(report.told.len(), RANKS_MAX);
        assert!(report.told.iter().all(|told| told.out.reason.is_none() && told.back.reason.is_none()));
    }

    /// Numbers that are none, or that no measurement gives, are no figures.
    #[test]
    fn figures_that_cannot_be_are_not_taken_in() {
        for odd in ["NaN", "1e999", "-1", "0.5", "18446744073709551616"] {
            let said = format!(
                "{{\"report\":{{\"number\":1,\"told\":[{{\"peer\":1,\"out\":{{\"goodput_bits_per_s\":{odd}}}}}]}}}}"
            );
            let mut frames = Frames::new(1000);
            frames.buffer().extend_from_slice(&(said.len() as u32).to_le_bytes());
            frames.buffer().extend_from_slice(said.as_bytes());
            assert!(matches!(frames.decode_next::<FromRank>(), Err(MessageError::Unreadable(_))), "{odd}");
        }
        let told = |cell: Cell| Told { peer: 1, back: cell, ..Told::default() };
        let bounded = |told: Told| {
            let mut report = Report { told: vec![told], ..Report::default() };
            report.bound().unwrap();
            report.told.remove(0)
        };
        for cell in [
            Cell { goodput_bits_per_s: Some(u64::MAX), ..Cell::default() },
            Cell { retransmits: Some(u64::MAX), ..Cell::default() },
            Cell { ip_mtu_bytes: Some(0), ..Cell::default() },
            Cell { ip_mtu_bytes: Some(1 << 20), ..Cell::default() },
            Cell { rtt_p99_ns: Some(u64::MAX), ..Cell::default() },
        ] {
            let bounded = bounded(told(cell));
            assert_eq!((bounded.back, bounded.error), (Cell::default(), Some(ErrorKind::Protocol)));
        }
        let paced = Some(Paced { sent: 1, lost: 2 });
        assert_eq!(bounded(Told { paced, ..Told::default() }).paced, None);
        let fast =
            Cell { goodput_bits_per_s: Some(800_000_000_000), ip_mtu_bytes: Some(9000), ..Cell::default() };
        assert_eq!(bounded(told(fast.clone())).back, fast);
        let mut report = Report { common: Some((u64::MAX, 1)), ..Report::default() };
        report.bound().unwrap();
        assert_eq!(report.common, None);
    }
}
