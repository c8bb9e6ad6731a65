//! What all client commands share: find the peer, run a plan, judge, print, and end with the right code.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use pathproof_model::{Criteria, ErrorKind, Plan, ResultDoc, StepError};
use pathproof_report::{Hlog, Json, Render, Text};

use super::raw::{ClientArgs, Format};
use crate::coordinate::{self, Target};
use crate::document::DocumentFile;
use crate::registry::Registry;
use crate::secure::Key;
use crate::serve::{Listening, Settings};
use crate::watch::{JsonStream, Keeper, Observers, Progress};
use crate::{host, interrupt};

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The verdicts decide between 0 and 1, and a failed step is judged with the rest.
    Judged,
    /// One measurement: a failed step means that it could not run.
    Measured,
}

/// A client command with everything resolved that can fail before the peer is called.
pub struct ClientRun {
    target: Target,
    file: Option<DocumentFile>,
    document_to_stdout: bool,
    format: Format,
    json_stream: bool,
    criteria: Criteria,
    /// Seed of everything random.
    pub seed: u64,
}

/// The key from `--key` or `--key-file`.
pub fn read_key(key: Option<&str>, file: Option<&Path>) -> Result<Option<String>> {
    let key = match (key, file) {
        (Some(key), _) => key.to_string(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read --key-file {}", file.display()))?
            .trim()
            .to_string(),
        (None, None) => return Ok(None),
    };
    if key.is_empty() {
        bail!("the key is empty; give one with at least 8 characters");
    }
    Ok(Some(key))
}

/// Limits from a file, or the built-in ones.
pub fn read_criteria(file: Option<&Path>) -> Result<Criteria> {
    let Some(file) = file else { return Ok(Criteria::default()) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read --criteria {}", file.display()))?;
    Criteria::from_toml(&text).with_context(|| format!("in --criteria {}", file.display()))
}

impl ClientRun {
    /// Resolves the shared arguments. Fails before anything is measured.
    pub fn resolve(args: &ClientArgs) -> Result<ClientRun> {
        let typed = read_key(args.key.as_deref(), args.key_file.as_deref())?;
        let file = args.output.as_deref().map(DocumentFile::prepare).transpose()?.flatten();
        let target = match (&args.peer, args.self_test) {
            (Some(peer), _) => Target {
                host: peer.host.clone(),
                port: peer.port,
                key: Key::new(typed.as_deref()),
                label: peer.text.clone(),
            },
            (None, true) => serve_self()?,
            (None, false) => bail!("name a PEER, or use --self"),
        };
        Ok(ClientRun {
            target,
            file,
            document_to_stdout: args.output.as_deref() == Some(Path::new("-")),
            format: args.format,
            json_stream: args.json_stream,
            criteria: read_criteria(args.criteria.as_deref())?,
            seed: args.seed,
        })
    }

    /// Runs the plan, judges, prints the report, and returns the exit code.
    pub fn run(self, plan: &Plan, ending: Ending) -> Result<u8> {
        let interrupted = interrupt::flag().context("cannot watch for Ctrl-C")?;
        let registry = Registry::new();
        // A transport that this build does not have is a mistyped option, not a fault of the path.
        for over in plan.steps.iter().filter_map(|s| Some(s.traffic()?.over.as_str())) {
            registry.get(over)?;
        }
        let mut observers = Observers::default();
        if let Some(file) = &self.file {
            observers.0.push(Box::new(Keeper::new(file.clone())));
        }
        if self.json_stream {
            observers.0.push(Box::new(JsonStream));
        } else if let Some(progress) = Progress::new() {
            observers.0.push(Box::new(progress));
        }
        let observed = host::observe();
        let mut doc = coordinate::run(plan, &self.target, observed, &registry, &interrupted, &mut observers);
        drop(observers);
        if plan.command == "check" {
            crate::channels::predict_into(&mut doc);
        }
        self.judge_and_finish(doc, ending)
    }

    /// Judges a document that this run did not measure by itself, then ends like [`ClientRun::finish`].
    pub fn judge_and_finish(self, mut doc: ResultDoc, ending: Ending) -> Result<u8> {
        pathproof_model::judge_into(&mut doc, &self.criteria);
        self.finish(&doc, ending)
    }

    /// Writes and prints a finished document and returns the exit code.
    pub fn finish(self, doc: &ResultDoc, ending: Ending) -> Result<u8> {
        let written = self.file.as_ref().map_or(Ok(()), |file| file.write(doc));
        // Nothing measured and nothing to show: one sentence says it better than an empty report.
        let empty = doc.steps.is_empty() && doc.error.is_some();
        let printed = if self.document_to_stdout {
            print(doc, Format::Json)
        } else if empty && self.format == Format::Text {
            Ok(())
        } else {
            print(doc, self.format)
        };
        if let Some(error) = failure(doc, ending) {
            let _ = writeln!(io::stderr(), "pathproof: {}", error.message);
        }
        written?;
        printed?;
        Ok(exit_code(doc, ending))
    }
}

/// What stopped the run as a whole.
fn failure(doc: &ResultDoc, ending: Ending) -> Option<&StepError> {
    doc.error.as_ref().or_else(|| match ending {
        Ending::Measured => doc.steps.iter().find_map(|s| s.error.as_ref()),
        Ending::Judged => None,
    })
}

fn exit_code(doc: &ResultDoc, ending: Ending) -> u8 {
    match (failure(doc, ending), ending) {
        (Some(error), _) if error.kind == ErrorKind::Interrupted => interrupt::EXIT_INTERRUPTED,
        (Some(_), _) => super::EXIT_COULD_NOT_RUN,
        // A measurement on its own is not a judgement of the path.
        (None, Ending::Measured) => 0,
        (None, Ending::Judged) => pathproof_model::exit_code(doc),
    }
}

/// Prints a document on standard output. A reader that closes the pipe has seen enough.
pub fn print(doc: &ResultDoc, format: Format) -> Result<()> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let renderer: &dyn Render = match format {
        Format::Text => &Text { colour },
        Format::Json => &Json,
        Format::Hlog => &Hlog,
    };
    let mut text = Vec::new();
    renderer.render(doc, &mut text)?;
    match io::stdout().write_all(&text).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot print the report"),
    }
}

/// Starts the other end on this machine.
fn serve_self() -> Result<Target> {
    let key = Key::new(None);
    let settings =
        Settings { key: key.clone(), limits: Default::default(), observe: Arc::new(host::observe) };
    let server = Listening::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], settings)?;
    let address = *server.addresses().first().context("the loopback listener has no address")?;
    server.run_in_background();
    Ok(Target { host: address.ip().to_string(), port: address.port(), key, label: "self".into() })
}
