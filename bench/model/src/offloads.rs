//! Offloads of a NIC, turned off one at a time, or together where no single one fixes the path: which, at which end, and what a stream came to
//! meanwhile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, End};

/// What a NIC, or the kernel for it, does to TCP segments in the place of the sender or the receiver. A stream over TCP meets all of these
/// and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Offload {
    /// Fills in the checksums of what is sent.
    #[serde(rename = "tx-checksumming")]
    TransmitChecksum,
    /// Looks at the checksums of what arrives.
    #[serde(rename = "rx-checksumming")]
    ReceiveChecksum,
    /// Cuts what is sent into segments.
    #[serde(rename = "tcp-segmentation-offload")]
    TcpSegmentation,
    /// The same, by the kernel, as late as it can.
    #[serde(rename = "generic-segmentation-offload")]
    GenericSegmentation,
    /// Puts segments that arrive together, by the kernel.
    #[serde(rename = "generic-receive-offload")]
    GenericReceive,
    /// The same, by the NIC.
    #[serde(rename = "large-receive-offload")]
    LargeReceive,
}

impl Offload {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Offload; 6] = [
        Offload::TransmitChecksum,
        Offload::TcpSegmentation,
        Offload::GenericSegmentation,
        Offload::ReceiveChecksum,
        Offload::GenericReceive,
        Offload::LargeReceive,
    ];

    /// Whether it is about what is sent; the others are about what arrives.
    pub fn sends(self) -> bool {
        match self {
            Offload::TransmitChecksum | Offload::TcpSegmentation | Offload::GenericSegmentation => true,
            Offload::ReceiveChecksum | Offload::GenericReceive | Offload::LargeReceive => false,
        }
    }

    /// As facts, plans and results name it, and `ethtool -k`.
    pub fn name(self) -> &'static str {
        match self {
            Offload::TransmitChecksum => "tx-checksumming",
            Offload::ReceiveChecksum => "rx-checksumming",
            Offload::TcpSegmentation => "tcp-segmentation-offload",
            Offload::GenericSegmentation => "generic-segmentation-offload",
            Offload::GenericReceive => "generic-receive-offload",
            Offload::LargeReceive => "large-receive-offload",
        }
    }

    /// As people type it behind `ethtool -K NIC`.
    pub fn word(self) -> &'static str {
        match self {
            Offload::TransmitChecksum => "tx",
            Offload::ReceiveChecksum => "rx",
            Offload::TcpSegmentation => "tso",
            Offload::GenericSegmentation => "gso",
            Offload::GenericReceive => "gro",
            Offload::LargeReceive => "lro",
        }
    }
}

/// Offloads, each once at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Vec<Offload>", into = "Vec<Offload>")]
#[schemars(with = "Vec<Offload>")]
pub struct OffloadSet(u8);

impl OffloadSet {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order in which they are tried.
    pub fn all(self) -> impl Iterator<Item = Offload> {
        Offload::ALL.into_iter().filter(move |one| self.0 & bit(*one) != 0)
    }
}

fn bit(offload: Offload) -> u8 {
    1 << offload as u8
}

impl FromIterator<Offload> for OffloadSet {
    fn from_iter<I: IntoIterator<Item = Offload>>(offloads: I) -> OffloadSet {
        OffloadSet(offloads.into_iter().fold(0, |set, one| set | bit(one)))
    }
}

impl From<Vec<Offload>> for OffloadSet {
    fn from(offloads: Vec<Offload>) -> OffloadSet {
        offloads.into_iter().collect()
    }
}

impl From<OffloadSet> for Vec<Offload> {
    fn from(set: OffloadSet) -> Vec<Offload> {
        set.all().collect()
    }
}

/// What a stream tries. In a plan it stands for all trials, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OffloadTrial {
    /// At which end.
    pub end: End,
    /// What is off meanwhile; without it all is as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<Offload>,
    /// What is off beside it.
    #[serde(skip_serializing_if = "OffloadSet::is_empty")]
    pub with: OffloadSet,
}

impl OffloadTrial {
    /// One alone.
    pub fn of(end: End, off: Offload) -> OffloadTrial {
        OffloadTrial { end, off: Some(off), with: OffloadSet::default() }
    }

    /// All that is off, the first one first.
    pub fn all(self) -> Vec<Offload> {
        let Some(off) = self.off else { return vec![] };
        std::iter::once(off).chain(self.with.all().filter(|with| *with != off)).collect()
    }

    /// What is off, in words for a name.
    pub fn words(self) -> String {
        let where_ = if self.end == End::Client { "here" } else { "at the peer" };
        let all: Vec<&str> = self.all().into_iter().map(Offload::name).collect();
        match &all[..] {
            [] => "offloads as they are".into(),
            all => format!("{} off {where_}", all.join(" and ")),
        }
    }
}

/// What an end did to an offload of its own for a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OffloadEnd {
    /// Of this NIC.
    pub nic: String,
    /// What went off with it, because it depends on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_off: Vec<Offload>,
    /// Whether everything is as it was before.
    pub restored: bool,
}

/// One trial as a row: what was off, and what arrived each way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OffloadTried {
    /// At which end it was off; `null` where all was as it is.
    pub end: Option<End>,
    /// What was off; `null` where all was as it is.
    pub off: Option<Offload>,
    /// What was turned off beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Offload>,
    /// Of this NIC.
    pub nic: Option<String>,
    /// What went off with it, because it depends on it.
    pub also_off: Vec<Offload>,
    /// Whether everything was given back; `null` where nothing was turned off.
    pub restored: Option<bool>,
    /// Why it was not tried, or broke off.
    pub reason: Option<String>,
    /// From the client to the server.
    #[serde(rename = "out")]
    pub outward: OffloadWay,
    /// From the server to the client.
    #[serde(rename = "in")]
    pub inward: OffloadWay,
}

impl OffloadTried {
    /// All that was turned off, the first one first.
    pub fn all(&self) -> Vec<Offload> {
        self.off.into_iter().chain(self.with.iter().copied()).collect()
    }

    /// One way.
    pub fn way(&self, direction: Direction) -> Option<&OffloadWay> {
        match direction {
            Direction::Out => Some(&self.outward),
            Direction::In => Some(&self.inward),
            Direction::Both => None,
        }
    }
}

/// What a trial came to one way; `null` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OffloadWay {
    /// Payload that arrived, in bit/s.
    pub goodput_bits_per_s: Option<u64>,
    /// TCP segments that the receiving host threw away for their checksum meanwhile.
    pub checksum_errors: Option<u64>,
    /// Of the bytes that the sender's connection sent, those that it had sent before, 0 to 1.
    pub sent_again_share: Option<f64>,
}

/// Fewer segments with a wrong checksum may be noise: the count is the host's, not the trial's.
pub const ERRORS_MIN: u64 = 3;

impl OffloadWay {
    /// Whether segments arrive whole; `None` where that is not known.
    pub fn arrives(&self) -> Option<bool> {
        match (self.goodput_bits_per_s, self.checksum_errors) {
            (Some(0), _) => Some(false),
            (_, Some(errors)) if errors >= ERRORS_MIN => Some(false),
            (Some(_), Some(_)) => Some(true),
            (None, _) | (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_is_called_by_one_name_everywhere() {
        for offload in Offload::ALL {
            assert_eq!(serde_json::to_value(offload).unwrap(), offload.name());
        }
        let trial = OffloadTrial::of(End::Server, Offload::TcpSegmentation);
        assert_eq!(trial.words(), "tcp-segmentation-offload off at the peer");
        let with = OffloadSet::from_iter([Offload::LargeReceive, Offload::GenericReceive]);
        let all = OffloadTrial { with, ..trial };
        assert_eq!(
            all.words(),
            "tcp-segmentation-offload and generic-receive-offload and large-receive-offload off at the peer"
        );
        let said = serde_json::to_value(all).unwrap();
        assert_eq!(said["with"], serde_json::json!(["generic-receive-offload", "large-receive-offload"]));
        assert_eq!(serde_json::from_value::<OffloadTrial>(said).unwrap(), all);
        assert!(!serde_json::to_string(&trial).unwrap().contains("with"), "as it always was written");
        let every = OffloadSet::from_iter(Offload::ALL);
        assert_eq!(every.all().collect::<Vec<_>>(), Offload::ALL);
        assert_eq!(OffloadTrial::default().words(), "offloads as they are");
    }

    #[test]
    fn what_is_not_known_is_no_arrival() {
        let way = |goodput, errors| OffloadWay {
            goodput_bits_per_s: goodput,
            checksum_errors: errors,
            sent_again_share: None,
        };
        assert_eq!(way(Some(1_000_000), Some(0)).arrives(), Some(true));
        assert_eq!(way(Some(1_000_000), Some(ERRORS_MIN - 1)).arrives(), Some(true), "two may be anybody's");
        assert_eq!(way(Some(1_000_000), Some(ERRORS_MIN)).arrives(), Some(false));
        assert_eq!(way(Some(0), None).arrives(), Some(false));
        assert_eq!(way(None, Some(40)).arrives(), Some(false));
        assert_eq!((way(Some(1), None).arrives(), way(None, Some(0)).arrives()), (None, None));
    }
}
