//! A run for programs: one JSON object a line, typed by [`pathproof_model::stream`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use pathproof_model::ResultDoc;
use pathproof_model::stream::{STREAM_SCHEMA, StreamEvent, StreamLine};
use pathproof_report::harmless_json;
use pathproof_sys::clock::{Clock, RealClock, Tick};

use super::teller::{Teller, Telling};
use super::{Observer, RunEvent};
use crate::{document, terminal};

/// How often a step is told of that tells no seconds itself, in ns.
const SAMPLE_NS: u64 = 1_000_000_000;

/// Where a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamTo {
    /// Standard output, which then holds nothing else.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl From<&Path> for StreamTo {
    fn from(path: &Path) -> StreamTo {
        if document::is_stdout(path) { StreamTo::Stdout } else { StreamTo::File(path.to_owned()) }
    }
}

/// Writes the stream of a run.
#[derive(Clone)]
pub struct JsonStream {
    teller: Teller,
    clock: RealClock,
    begun: Tick,
    /// When the step was told of last.
    told: Tick,
    left_out: Arc<AtomicU64>,
}

/// A stream that has begun, from its first line to its last.
pub struct Streaming {
    stream: JsonStream,
    to: StreamTo,
    // Dropped after what follows here has been told.
    _telling: Telling,
}

impl JsonStream {
    /// Opens the stream; nothing stands in it yet.
    pub fn open(to: StreamTo, clock: &RealClock) -> Result<Streaming> {
        let (teller, telling) = match &to {
            StreamTo::Stdout => Teller::begin(terminal::stream),
            StreamTo::File(path) => {
                let mut file = document::open_growing(path, "--json-stream")?;
                Teller::begin(move |line| file.write_all(line.as_bytes()))
            }
        }
        .context("cannot start the thread that writes --json-stream")?;
        let stream = JsonStream {
            teller,
            clock: clock.clone(),
            begun: clock.now(),
            told: Tick(0),
            left_out: Arc::default(),
        };
        Ok(Streaming { stream, to, _telling: telling })
    }

    fn line(&self, event: StreamEvent) -> String {
        let line = StreamLine { at_ns: self.clock.now().ns_since(self.begun), event };
        // Our own types always become JSON.
        harmless_json(&serde_json::to_string(&line).unwrap_or_default()) + "\n"
    }

    fn tell(&self, event: StreamEvent) {
        self.teller.tell(self.line(event));
    }
}

impl Streaming {
    /// Whether standard output holds the stream and nothing else.
    pub fn is_on_stdout(&self) -> bool {
        self.to == StreamTo::Stdout
    }

    /// What observes the run for it.
    pub fn observer(&self) -> JsonStream {
        self.stream.clone()
    }

    /// The first line.
    pub fn begin(&self, doc: &ResultDoc) {
        let plan = doc.plan();
        self.stream.tell(StreamEvent::RunBegins {
            schema: STREAM_SCHEMA.into(),
            tool: doc.tool.clone(),
            started_at: doc.started_at.clone(),
            command: plan.map(|plan| plan.command.clone()).unwrap_or_default(),
            nodes: doc.nodes.iter().map(|node| node.spec.clone()).collect(),
            steps: plan.map_or(0, |plan| plan.steps.len()),
        });
    }

    /// What the finished run comes to; the stream is complete when this returns.
    pub fn end(self, doc: &ResultDoc) {
        doc.findings
            .iter()
            .for_each(|finding| self.stream.tell(StreamEvent::Finding { finding: finding.clone() }));
        doc.verdicts
            .iter()
            .for_each(|verdict| self.stream.tell(StreamEvent::Verdict { verdict: verdict.clone() }));
        self.stream.tell(StreamEvent::RunEnds {
            outcome: doc.outcome,
            exit_code: doc.exit_code,
            error: doc.error.clone(),
            samples_left_out: self.stream.left_out.load(Ordering::Relaxed),
        });
    }
}

impl Observer for JsonStream {
    fn event(&mut self, event: &RunEvent<'_>) {
        let now = self.clock.now();
        match event {
            RunEvent::Opened { doc } => {
                let steps = doc.plan().map_or(0, |plan| plan.steps.len());
                self.tell(StreamEvent::PeerAccepts { steps });
            }
            RunEvent::StepStarted { number, of, name, duration_ns } => {
                self.told = now;
                let name = (*name).to_owned();
                let (step, of, duration_max_ns) = (*number, *of, *duration_ns);
                self.tell(StreamEvent::StepBegins { step, of, name, duration_max_ns });
            }
            RunEvent::Progress { number, glance } => {
                if glance.second.is_none() && now < self.told.plus_ns(SAMPLE_NS) {
                    return;
                }
                self.told = now;
                let flows = glance.second.clone().unwrap_or_default();
                let counts = glance.counts.clone();
                let sample = StreamEvent::Sample { step: *number, share: glance.share, flows, counts };
                if !self.teller.tell_if_read(self.line(sample)) {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                }
            }
            RunEvent::StepEnded { doc } => {
                let Some(step) = doc.steps.last() else { return };
                self.tell(StreamEvent::StepEnds {
                    step: (doc.steps.len() - 1) as u32,
                    kind: step.kind,
                    name: step.name.clone(),
                    direction: step.direction,
                    elapsed_ns: step.elapsed_ns,
                    summary: step.summary.clone(),
                    flows: step.flows.clone(),
                    error: step.error.clone(),
                });
            }
        }
    }
}
