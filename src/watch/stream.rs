//! Progress for programs: one JSON object a line on standard error.

use serde_json::json;

use super::{Observer, RunEvent};
use crate::terminal;

/// Writes the stream.
#[derive(Default)]
pub struct JsonStream;

impl Observer for JsonStream {
    fn event(&mut self, event: &RunEvent<'_>) {
        let line = match event {
            RunEvent::Opened { doc } => json!({
                "event": "opened", "peer": doc.nodes.get(1).map(|node| &node.name), "steps": doc.plan().map(|p| p.steps.len()),
            }),
            RunEvent::StepStarted { number, of, name, duration_ns } => json!({
                "event": "step-started", "step": number, "of": of, "name": name, "duration_max_ns": duration_ns,
            }),
            RunEvent::Progress { number, share } => {
                json!({ "event": "progress", "step": number, "share": share })
            }
            RunEvent::StepEnded { doc } => match doc.steps.last() {
                Some(step) => json!({
                    "event": "step-ended", "step": doc.steps.len() - 1, "kind": step.kind,
                    "summary": step.summary, "flows": step.flows, "error": step.error,
                }),
                None => return,
            },
        };
        // A reader that went away is no reason to stop measuring.
        terminal::say_json(&line);
    }
}
