//! The document of `pathproof mesh` (`pathproof-mesh/1`): many hosts measured against each other.
//!
//! What is known of a pair stands in matrices, row by row: the row is who sends, the column who receives. What is not known is `null`, never
//! zero, and the matrix of codes says why. A document of 256 hosts stays below 4 MB, so facts stand once a rank.

mod matrix;
mod suspect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lift::ReadError;
use crate::{RunOutcome, StepError, Tool};
pub use matrix::{Cell, Matrices, Matrix};
pub use suspect::{Suspect, SuspectKind, Who};

/// What stands in `schema` of such a document.
pub const MESH_SCHEMA: &str = "pathproof-mesh/1";
/// Most ranks of a mesh.
pub const RANKS_MAX: usize = 1024;

/// The whole of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeshDoc {
    /// `pathproof-mesh/1`.
    pub schema: String,
    /// What made it.
    pub tool: Tool,
    /// When it began.
    pub started_at: String,
    /// When it ended; `null` while it runs, or when it was cut off.
    pub ended_at: Option<String>,
    /// What it comes to.
    pub outcome: RunOutcome,
    /// The exit code of rank 0.
    pub exit_code: Option<u8>,
    /// Ranks that were to come.
    pub size: u32,
    /// How it was measured.
    pub settings: MeshSettings,
    /// What it was to put on the fabric, computed before it began.
    pub load: MeshLoad,
    /// Every rank that came, in order.
    pub ranks: Vec<Rank>,
    /// Ranks that never came, or were lost.
    pub dead: Vec<Dead>,
    /// What each fact is with most ranks, and who differs.
    pub differences: Vec<Difference>,
    /// The fabrics, each with its own matrices: a small MTU on one must not hide behind a large one on another.
    pub planes: Vec<Plane>,
    /// Rounds in order.
    pub rounds: Vec<Round>,
    /// All pairs of two halves at once.
    pub bisection: Vec<Bisection>,
    /// Many to one.
    pub incast: Vec<Incast>,
    /// One to many.
    pub outcast: Vec<Incast>,
    /// Who is to blame for what.
    pub suspects: Vec<Suspect>,
    /// What happened besides, in sentences.
    pub notes: Vec<String>,
    /// What could not be determined, and why, in sentences.
    pub unclear: Vec<String>,
    /// What stopped it, if something did.
    pub error: Option<StepError>,
}

/// How it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeshSettings {
    /// The transport of the streams.
    pub over: String,
    /// Lanes of each stream.
    pub lanes: u32,
    /// Measured window of each stream, in ns; of many to one and one to many it is twice that.
    pub time_ns: u64,
    /// What was measured.
    pub patterns: Vec<Pattern>,
    /// Rounds of the tournament that were drawn; `null` where all were made.
    pub sampled_rounds: Option<u32>,
    /// Longest that a round may take, in ns.
    pub round_limit_ns: u64,
    /// Seed of everything drawn.
    pub seed: u64,
    /// Goodput that each pair must reach, in bit/s, where the user named one.
    pub expect_bits_per_s: Option<u64>,
    /// Bytes that IP packets of each pair may have, where the user named a number.
    pub expect_ip_mtu_bytes: Option<u32>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Every pair, in rounds of disjoint ones.
    Pairs,
    /// Many to one.
    Incast,
    /// One to many.
    Outcast,
    /// Two halves of the hosts, all pairs at once, both ways.
    Bisect,
}

/// What a mesh puts on a fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeshLoad {
    /// Rounds of pairs, over all planes.
    pub rounds: u32,
    /// Most pairs that send at a time.
    pub pairs_at_once: u32,
    /// Most hosts that send to one at a time.
    pub senders_at_once: u32,
    /// About how long it takes, in ns.
    pub about_ns: u64,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rank {
    /// Its number.
    pub rank: u32,
    /// Its name.
    pub host: String,
    /// What the user says it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Speed of the link that leads to the others, in bit/s.
    pub speed_bits_per_s: Option<u64>,
    /// What it says of itself, by the names of facts.
    pub facts: BTreeMap<String, String>,
}

/// A rank that took no part, or only until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dead {
    /// Its number.
    pub rank: u32,
    /// Its name, where it came.
    pub host: Option<String>,
    /// The round in which it was missed; `null` where it never came.
    pub round: Option<u32>,
    /// Why, in words.
    pub reason: String,
}

/// A fact that is not the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Its name.
    pub fact: String,
    /// What it is with most ranks.
    pub usual: String,
    /// With how many.
    pub ranks: u32,
    /// Those with whom it is something else.
    pub others: Vec<Other>,
}

/// A rank that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Other {
    /// Its number.
    pub rank: u32,
    /// What it is there; `null` where it is not known.
    pub value: Option<String>,
}

/// A fabric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plane {
    /// The network that was named; `null` for the one that rank 0 is reached over.
    pub net: Option<String>,
    /// Each rank's address on it, in the order of `size`; `null` for one that has none, or did not come.
    pub addresses: Vec<Option<IpAddr>>,
    /// What is known of each pair.
    pub matrices: Matrices,
    /// The usual path MTU, in bytes.
    pub usual_ip_mtu_bytes: Option<u32>,
    /// What a healthy pair carries, in bit/s: the upper quartile.
    pub usual_goodput_bits_per_s: Option<u64>,
    /// What would not have been seen.
    pub noise: Noise,
}

/// What would not have been seen on a plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Noise {
    /// A host slower by less than this share would not be named.
    pub host_share: Option<f64>,
    /// Nor a pair slower by less than this.
    pub pair_share: Option<f64>,
    /// Whether that is too much for goodput to be judged.
    pub blind: bool,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// Its number, from 1.
    pub number: u32,
    /// What it is of.
    pub kind: RoundKind,
    /// The plane, by its place.
    pub plane: u32,
    /// Start, in ns since the mesh began.
    pub started_ns: u64,
    /// How long it took, in ns.
    pub elapsed_ns: u64,
    /// Exchanges that were to be made in it.
    pub exchanges: u32,
    /// Those of them that failed.
    pub failed: u32,
}

/// What a round is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoundKind {
    /// Words by datagram from everybody to everybody.
    Knock,
    /// Reach, round trips and MTU of disjoint pairs.
    Reach,
    /// Streams of disjoint pairs, the lower rank sends.
    Up,
    /// The other way.
    Down,
    /// Streams of two halves, both ways at once.
    Bisect,
    /// Many to one.
    Incast,
    /// One to many.
    Outcast,
    /// Suspects again, in quiet.
    Again,
}

/// All pairs of two halves at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bisection {
    /// The plane, by its place.
    pub plane: u32,
    /// Pairs that were to send.
    pub pairs: u32,
    /// Pairs whose goodput is known both ways.
    pub measured: u32,
    /// The sum of all, both ways, in bit/s; `null` unless every pair is known.
    pub sum_bits_per_s: Option<u64>,
    /// The slowest direction of a pair, in bit/s.
    pub slowest_bits_per_s: Option<u64>,
}

/// Many to one, or one to many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incast {
    /// The plane, by its place.
    pub plane: u32,
    /// Those that send (of an outcast: that receive).
    pub senders: Vec<u32>,
    /// The one that receives (of an outcast: that sends).
    pub receiver: u32,
    /// Payload that the one counted over the common window, in bit/s; `null` with a reason.
    pub sum_bits_per_s: Option<u64>,
    /// Length of the window in which all sent, by the one's clock, in ns.
    pub window_ns: Option<u64>,
    /// The sender that got least of it, in bit/s.
    pub least_bits_per_s: Option<u64>,
    /// The sender that got most of it, in bit/s.
    pub most_bits_per_s: Option<u64>,
    /// Segments sent again, all together.
    pub retransmits: Option<u64>,
    /// Round trip of two bystanders meanwhile, 99th percentile, in ns.
    pub bystander_rtt_p99_ns: Option<u64>,
    /// Why there is no sum.
    pub reason: Option<String>,
}

/// Reads a document of a mesh; `None` where it is of another kind, or none.
pub fn read(json: &[u8]) -> Result<Option<MeshDoc>, ReadError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    if serde_json::from_slice::<Head>(json).map_or(true, |head| head.schema != MESH_SCHEMA) {
        return Ok(None);
    }
    let doc: MeshDoc = serde_json::from_slice(json)?;
    if doc.size as usize > RANKS_MAX {
        return Err(ReadError::TooMany(doc.size));
    }
    Ok(Some(doc))
}

impl MeshDoc {
    /// A mesh of so many ranks of which nothing is known yet, with a plane for each network that was named, or one.
    pub fn new(size: u32, settings: MeshSettings, nets: &[String]) -> MeshDoc {
        let plane = |at: usize| Plane { net: nets.get(at).cloned(), ..Plane::default() };
        MeshDoc {
            schema: MESH_SCHEMA.into(),
            tool: Tool::default(),
            started_at: String::new(),
            ended_at: None,
            outcome: RunOutcome::None,
            exit_code: None,
            size,
            settings,
            load: MeshLoad::default(),
            ranks: vec![],
            dead: vec![],
            differences: vec![],
            planes: (0..nets.len().max(1)).map(plane).collect(),
            rounds: vec![],
            bisection: vec![],
            incast: vec![],
            outcast: vec![],
            suspects: vec![],
            notes: vec![],
            unclear: vec![],
            error: None,
        }
    }

    /// The name of a rank, for people.
    pub fn name(&self, rank: u32) -> String {
        let host = self.ranks.iter().find(|known| known.rank == rank).map(|known| known.host.as_str());
        host.filter(|host| !host.is_empty())
            .map_or_else(|| format!("rank {rank}"), |host| format!("{host} ({rank})"))
    }

    /// What it comes to: not fit where somebody is named, or missing; open where something could not be determined.
    pub fn conclude(&mut self) {
        let measured = self.planes.iter().any(|plane| !plane.matrices.is_empty());
        let interrupted = self.error.as_ref().is_some_and(|error| error.kind.is_interruption());
        (self.outcome, self.exit_code) = match () {
            () if interrupted => (RunOutcome::None, self.exit_code),
            () if !measured => (RunOutcome::None, Some(2)),
            () if !self.suspects.is_empty() || !self.dead.is_empty() => (RunOutcome::NotFit, Some(1)),
            () if self.error.is_some() || !self.unclear.is_empty() => (RunOutcome::CannotTell, Some(3)),
            () => (RunOutcome::Fit, Some(0)),
        };
    }
}
