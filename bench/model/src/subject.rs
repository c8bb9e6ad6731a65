//! What a verdict is about: a stable name that programs match on, and its parts.
//!
//! A name of a later build is kept as it is, and is about nothing that this one knows.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Direction;

/// What was judged. It stands in documents as its name: `run`, `latency/tcp`, `throughput/tcp/out`, `finding/CODE` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Subject {
    /// The run as a whole, where something is wrong with it.
    Run,
    /// What the hosts say of themselves.
    Facts,
    /// Whether the peer answers.
    Reach,
    /// Round trips over a transport.
    Latency(String),
    /// Requests over a transport.
    Request(String),
    /// Goodput over a transport, one way or both.
    Throughput {
        /// The transport.
        over: String,
        /// Which way, where the step says.
        direction: Option<Direction>,
    },
    /// What a stream adds to the round trips of others over a transport, one way or both.
    LatencyUnderLoad {
        /// The transport.
        over: String,
        /// Which way the stream goes, where the step says.
        direction: Option<Direction>,
    },
    /// Both ways over a transport, one against the other.
    Symmetry(String),
    /// Path MTU.
    Mtu,
    /// Datagrams.
    Loss,
    /// Ports and connections.
    Ports,
    /// A migration over a transport.
    Migrate(String),
    /// File data over what carries it.
    File(String),
    /// The NIC pairs that SMB Multichannel would use.
    Channels,
    /// The networks that hosts share.
    Networks,
    /// Classes of traffic that share a path, over a transport.
    Contend(String),
    /// Offloads of the NICs.
    Offloads,
    /// An SMB server.
    Smb,
    /// Whether it offers Multichannel.
    SmbMultichannel,
    /// Whether it lists NICs that a client would use.
    SmbInterfaces,
    /// Whether it lets data be placed by RDMA.
    SmbDirectPlacement,
    /// A soak.
    Soak,
    /// The hosts against what is expected of them.
    State,
    /// The run against an earlier one.
    Baseline,
    /// A finding that is an error, by its code.
    Finding(String),
    /// What a later build judges, and this one does not know.
    Other(String),
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Run => f.write_str("run"),
            Subject::Facts => f.write_str("facts"),
            Subject::Reach => f.write_str("reach"),
            Subject::Latency(over) => write!(f, "latency/{over}"),
            Subject::Request(over) => write!(f, "request/{over}"),
            Subject::Throughput { over, direction: Some(way) } => {
                write!(f, "throughput/{over}/{}", way.name())
            }
            Subject::Throughput { over, direction: None } => write!(f, "throughput/{over}"),
            Subject::LatencyUnderLoad { over, direction: Some(way) } => {
                write!(f, "latency-under-load/{over}/{}", way.name())
            }
            Subject::LatencyUnderLoad { over, direction: None } => write!(f, "latency-under-load/{over}"),
            Subject::Symmetry(over) => write!(f, "symmetry/{over}"),
            Subject::Mtu => f.write_str("mtu"),
            Subject::Loss => f.write_str("loss"),
            Subject::Ports => f.write_str("ports"),
            Subject::Migrate(over) => write!(f, "migrate/{over}"),
            Subject::File(over) => write!(f, "file/{over}"),
            Subject::Channels => f.write_str("channels"),
            Subject::Networks => f.write_str("networks"),
            Subject::Contend(over) => write!(f, "contend/{over}"),
            Subject::Offloads => f.write_str("offloads"),
            Subject::Smb => f.write_str("smb"),
            Subject::SmbMultichannel => f.write_str("smb/multichannel"),
            Subject::SmbInterfaces => f.write_str("smb/interfaces"),
            Subject::SmbDirectPlacement => f.write_str("smb/direct-placement"),
            Subject::Soak => f.write_str("soak"),
            Subject::State => f.write_str("state"),
            Subject::Baseline => f.write_str("baseline"),
            Subject::Finding(code) => write!(f, "finding/{code}"),
            Subject::Other(name) => f.write_str(name),
        }
    }
}

impl From<&str> for Subject {
    fn from(name: &str) -> Subject {
        let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let over = || rest.filter(|over| !over.contains('/')).map(str::to_owned);
        let known = match (first, rest) {
            ("run", None) => Some(Subject::Run),
            ("facts", None) => Some(Subject::Facts),
            ("reach", None) => Some(Subject::Reach),
            ("mtu", None) => Some(Subject::Mtu),
            ("loss", None) => Some(Subject::Loss),
            ("ports", None) => Some(Subject::Ports),
            ("channels", None) => Some(Subject::Channels),
            ("networks", None) => Some(Subject::Networks),
            ("offloads", None) => Some(Subject::Offloads),
            ("smb", None) => Some(Subject::Smb),
            ("smb", Some("multichannel")) => Some(Subject::SmbMultichannel),
            ("smb", Some("interfaces")) => Some(Subject::SmbInterfaces),
            ("smb", Some("direct-placement")) => Some(Subject::SmbDirectPlacement),
            ("latency", _) => over().map(Subject::Latency),
            ("request", _) => over().map(Subject::Request),
            ("symmetry", _) => over().map(Subject::Symmetry),
            ("contend", _) => over().map(Subject::Contend),
            ("migrate", _) => over().map(Subject::Migrate),
            ("file", _) => over().map(Subject::File),
            ("throughput", Some(rest)) => {
                way(rest).map(|(over, direction)| Subject::Throughput { over, direction })
            }
            ("latency-under-load", Some(rest)) => {
                way(rest).map(|(over, direction)| Subject::LatencyUnderLoad { over, direction })
            }
            ("soak", None) => Some(Subject::Soak),
            ("state", None) => Some(Subject::State),
            ("baseline", None) => Some(Subject::Baseline),
            ("finding", Some(code)) => Some(Subject::Finding(code.into())),
            _ => None,
        };
        known.unwrap_or_else(|| Subject::Other(name.into()))
    }
}

/// A transport, and which way over it.
fn way(rest: &str) -> Option<(String, Option<Direction>)> {
    let (over, way) = rest.split_once('/').map_or((rest, None), |(over, way)| (over, Some(way)));
    let ways = [Direction::Out, Direction::In, Direction::Both];
    let direction = match way {
        None => None,
        Some(way) => Some(ways.into_iter().find(|known| known.name() == way)?),
    };
    Some((over.into(), direction))
}

impl From<String> for Subject {
    fn from(name: String) -> Subject {
        Subject::from(name.as_str())
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, in the order of the type. Whoever adds one is led here by the compiler.
    fn next(after: &Subject) -> Option<Subject> {
        let over = || "rdma".to_owned();
        Some(match after {
            Subject::Run => Subject::Facts,
            Subject::Facts => Subject::Reach,
            Subject::Reach => Subject::Latency(over()),
            Subject::Latency(_) => Subject::Request(over()),
            Subject::Request(_) => Subject::Throughput { over: over(), direction: None },
            Subject::Throughput { direction: None, .. } => {
                Subject::Throughput { over: over(), direction: Some(Direction::Out) }
            }
            Subject::Throughput { direction: Some(Direction::Out), .. } => {
                Subject::Throughput { over: over(), direction: Some(Direction::In) }
            }
            Subject::Throughput { direction: Some(Direction::In), .. } => {
                Subject::Throughput { over: over(), direction: Some(Direction::Both) }
            }
            Subject::Throughput { direction: Some(Direction::Both), .. } => {
                Subject::LatencyUnderLoad { over: over(), direction: None }
            }
            Subject::LatencyUnderLoad { direction: None, .. } => {
                Subject::LatencyUnderLoad { over: over(), direction: Some(Direction::Out) }
            }
            Subject::LatencyUnderLoad { direction: Some(_), .. } => Subject::Symmetry(over()),
            Subject::Symmetry(_) => Subject::Mtu,
            Subject::Mtu => Subject::Loss,
            Subject::Loss => Subject::Ports,
            Subject::Ports => Subject::Migrate(over()),
            Subject::Migrate(_) => Subject::File(over()),
            Subject::File(_) => Subject::Channels,
            Subject::Channels => Subject::Networks,
            Subject::Networks => Subject::Contend(over()),
            Subject::Contend(_) => Subject::Offloads,
            Subject::Offloads => Subject::Smb,
            Subject::Smb => Subject::SmbMultichannel,
            Subject::SmbMultichannel => Subject::SmbInterfaces,
            Subject::SmbInterfaces => Subject::SmbDirectPlacement,
            Subject::SmbDirectPlacement => Subject::Soak,
            Subject::Soak => Subject::State,
            Subject::State => Subject::Baseline,
            Subject::Baseline => Subject::Finding("MTU-MIXED".into()),
            Subject::Finding(_) => Subject::Other("throughput/tcp/sideways".into()),
            Subject::Other(_) => return None,
        })
    }

    #[test]
    fn every_subject_reads_back_from_its_name() {
        let all: Vec<Subject> = std::iter::successors(Some(Subject::Run), next).collect();
        assert!(matches!(all.last(), Some(Subject::Other(_))), "all of them");
        for subject in all {
            let json = serde_json::to_string(&subject).unwrap();
            assert_eq!(json, format!("\"{subject}\""));
            assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), subject);
        }
    }

    #[test]
    fn the_page_on_the_format_names_every_subject() {
        let page = include_str!("../../../docs/RESULT-FORMAT.md");
        for subject in std::iter::successors(Some(Subject::Run), next) {
            let name = match &subject {
                // The page has the form with a direction, of which the other is the beginning.
                Subject::Throughput { over, direction } | Subject::LatencyUnderLoad { over, direction } => {
                    let name = subject.to_string();
                    let whole = match direction {
                        Some(way) => name.replace(way.name(), "DIRECTION"),
                        None => name + "/DIRECTION",
                    };
                    whole.replace(over.as_str(), "TRANSPORT")
                }
                Subject::Finding(_) => "finding/CODE".into(),
                Subject::Other(_) => continue,
                _ => subject.to_string().replace("rdma", "TRANSPORT"),
            };
            assert!(page.contains(&format!("`{name}`")), "docs/RESULT-FORMAT.md does not name `{name}`");
        }
    }

    #[test]
    fn names_that_are_not_known_are_kept() {
        for name in
            ["", "/", "latency", "latency/", "mtu/eth0", "smb/else", "throughput", "throughput/tcp/", "x/y"]
        {
            assert_eq!(Subject::from(name).to_string(), name);
        }
        assert_eq!(Subject::from("latency/tcp/eth0"), Subject::Other("latency/tcp/eth0".into()));
        assert_eq!(Subject::from("throughput/tcp/out").to_string(), "throughput/tcp/out");
    }
}
