//! What a run tells programs while it goes on: one JSON object a line (`--json-stream`).
//!
//! A line says what it is in `event`, and when it was written in `at_ns`, ns since the stream began. Readers leave lines
//! alone that they do not know. Figures are unrounded and live: what a run comes to stands in its document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CommandName, Direction, Finding, Flow, NodeSpec, RunOutcome, StepError, StepKind, Summary, Tool, Verdict,
};

/// Name of the form that streams of this version carry in their first line.
pub const STREAM_SCHEMA: &str = "pathproof-stream/1";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamLine {
    /// When it was written, in ns since the stream began, by a clock that only goes forward.
    pub at_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: StreamEvent,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, for as long as it takes to be written")]
pub enum StreamEvent {
    /// The first line. Nobody has been dialled yet.
    RunBegins {
        /// `pathproof-stream/1`.
        schema: String,
        /// What writes it.
        tool: Tool,
        /// Wall-clock label (RFC 3339, UTC).
        started_at: String,
        /// The command.
        command: CommandName,
        /// The nodes, this one first.
        nodes: Vec<NodeSpec>,
        /// Planned steps. More may follow from what they show.
        steps: usize,
    },
    /// The peer was reached and has accepted; in runs without a peer, the steps begin.
    PeerAccepts {
        /// Steps that it grants.
        steps: usize,
    },
    /// A step begins to run.
    StepBegins {
        /// Its number, from 0.
        step: u32,
        /// How many there are, as far as that is known.
        of: usize,
        /// Its name, for people.
        name: String,
        /// The longest time that it may take, in ns.
        duration_max_ns: u64,
    },
    /// A second of the step that runs. One that is not read in time is left out.
    Sample {
        /// Number of the step.
        step: u32,
        /// How far the step is, from 0 to 1; `null` where that is not known.
        share: Option<f64>,
        /// What went on in each of its flows that run; empty where the kind of step does not tell.
        flows: Vec<FlowSample>,
        /// What it counts, where it has no rate that says how it goes.
        #[serde(default)]
        counts: Vec<Count>,
    },
    /// A step is over, and stands in the document.
    StepEnds {
        /// Its number.
        step: u32,
        /// Its kind.
        kind: StepKind,
        /// Its name.
        name: String,
        /// Its direction, where it has one.
        direction: Option<Direction>,
        /// How long it took, in ns.
        elapsed_ns: u64,
        /// Its figures.
        summary: Summary,
        /// Those of its flows.
        flows: Vec<Flow>,
        /// What stopped it, if something did.
        error: Option<StepError>,
    },
    /// Something that was noticed, once the run is over and all evidence is there.
    Finding {
        /// As it stands in the document.
        finding: Finding,
    },
    /// Something that was judged.
    Verdict {
        /// As it stands in the document.
        verdict: Verdict,
    },
    /// The last line.
    RunEnds {
        /// What the run comes to.
        outcome: RunOutcome,
        /// The exit code.
        exit_code: Option<u8>,
        /// Why it ended early, if it did.
        error: Option<StepError>,
        /// Samples that were left out because nobody read the stream in time.
        samples_left_out: u64,
    },
}

/// What this end saw of a flow within a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowSample {
    /// Its name, where the step has several.
    pub name: Option<String>,
    /// Payload that this end sent, in bit/s; `null` where the kind of step does not tell.
    pub sent_bits_per_s: Option<u64>,
    /// Payload that this end received, in bit/s.
    pub received_bits_per_s: Option<u64>,
    /// Messages, or exchanges, completed.
    pub messages_per_s: Option<u64>,
    /// How long a round trip took, in ns; `null` where nothing told within the second.
    pub round_trip_ns: Option<u64>,
    /// What told the round trip.
    pub round_trip_by: Option<RoundTripBy>,
}

/// So far of what a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// What is counted.
    pub what: Counted,
    /// How many there were.
    pub done: u64,
    /// How many there are to be, where that is known.
    pub of: Option<u64>,
}

/// What a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Paths whose MTU is found.
    Paths,
    /// Probes that were sent.
    Probes,
    /// Datagrams that were sent at their pace.
    Datagrams,
    /// Round trips over the control connection.
    RoundTrips,
}

impl Counted {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Counted::Paths => "paths",
            Counted::Probes => "probes",
            Counted::Datagrams => "datagrams",
            Counted::RoundTrips => "round trips",
        }
    }
}

/// What told a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoundTripBy {
    /// Exchanges of messages: the mean of the second, host and stack of both ends included.
    Exchanges,
    /// The kernel's own estimate for its connections, the largest of them; waiting in queues is part of it.
    Kernel,
}
