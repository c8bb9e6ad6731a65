//! What all client commands share: find the peer, run a plan, judge, print, and end with the right code.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pathproof_model::environment::Observed;
use pathproof_model::{
    Criteria, ErrorKind, ExpectedState, NodeSpec, Plan, ResultDoc, RunOutcome, StepError, judge,
};

use super::client::ClientArgs;
use super::compare::Baseline;
use super::format::{Format, Shape};
use crate::budget::Budget;
use crate::document::{self, DocumentFile};
use crate::far::FarEnd;
use crate::interrupt::Interrupt;
use crate::peer::Peer;
use crate::registry::Registry;
use crate::run::{self, Order, Party, Target};
use crate::secure::{Access, Key};
use crate::serve::{Listening, Settings};
use crate::watch::{JsonStream, Keeper, LiveLine, Observers, StreamTo, Streaming};
use crate::{host, interrupt, lane_options, precheck, terminal};
use pathproof_sys::clock::{Clock, RealClock, Tick};

/// What becomes of a finished document, for every command that makes one.
pub struct Sink {
    file: Option<DocumentFile>,
    /// As it was typed.
    path: Option<PathBuf>,
    shape: Shape,
    /// The same for programs, while it happens.
    stream: Option<Streaming>,
}

impl Sink {
    /// Checks before anything is measured that `output` can be written. `-` is the document on standard output.
    pub fn prepare(output: Option<&Path>, shape: Shape) -> Result<Sink> {
        let to_stdout = output.is_some_and(document::is_stdout);
        if let Some((path, format)) = output.and_then(|path| Some((path, of_another_format(path)?))) {
            bail!(
                "-o {0} would be the result document, which is JSON; for another form type --format {format} > {0}",
                path.display()
            );
        }
        let file = output.map(DocumentFile::prepare).transpose()?.flatten();
        let path = output.filter(|_| file.is_some()).map(Path::to_owned);
        let shape = if to_stdout { shape.in_format(Format::Json) } else { shape };
        Ok(Sink { file, path, shape, stream: None })
    }

    /// What becomes of the document, and the stream beside it. Fails before anything is measured.
    pub fn of(args: &ClientArgs, clock: &RealClock) -> Result<Sink> {
        let Some(path) = args.json_stream.as_deref() else {
            return Sink::prepare(args.output.as_deref(), args.shape);
        };
        let to = StreamTo::from(path);
        if to == StreamTo::Stdout {
            let report = args.shape.format() != Format::Text || args.shape.full;
            let document = args.output.as_deref().is_some_and(document::is_stdout);
            ensure!(
                !report && !document,
                "--json-stream takes standard output for itself; write --json-stream=FILE, or the document with -o FILE and \
                 no --format"
            );
        }
        let sink = Sink::prepare(args.output.as_deref(), args.shape)?;
        ensure!(
            args.output.as_deref() != Some(path),
            "--json-stream and -o name the same file; name two, since each is a whole of its own"
        );
        Ok(Sink { stream: Some(JsonStream::open(to, clock)?), ..sink })
    }

    /// Judges and finishes a document, writes it, prints it, and returns the exit code that stands in it.
    pub fn finish(self, mut doc: ResultDoc, criteria: &Criteria) -> Result<u8> {
        pathproof_model::judge_into(&mut doc, criteria);
        doc.finish(crate::wall::now_rfc3339());
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.write(&doc)) {
            // What is printed must say the same as the exit code.
            let message = format!("{error:#}");
            doc.error.get_or_insert(StepError::new(ErrorKind::System, message));
            doc.conclude();
        }
        let taken = self.stream.as_ref().is_some_and(Streaming::is_on_stdout);
        if let Some(stream) = self.stream {
            stream.end(&doc);
        }
        // Nothing measured and nothing to show: one sentence says it better than an empty report.
        let empty = doc.steps.is_empty() && doc.error.is_some() && doc.outcome == RunOutcome::None;
        let text = self.shape.format() == Format::Text;
        let shown = text && !empty && !taken;
        if !text || shown {
            self.shape.print(&doc, self.path.as_deref())?;
        }
        let why = doc.error.as_ref().or_else(|| Some(judge::impossible(&doc)?.1));
        // The report ends with it.
        if let Some(error) = why.filter(|_| !shown && doc.outcome == RunOutcome::None) {
            terminal::say(&error.message);
        }
        Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN))
    }
}

/// The format that a file would be taken for by its name, where that is not the document's.
fn of_another_format(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "html" | "htm" => Some("html"),
        "csv" => Some("csv"),
        "xml" => Some("junit"),
        "prom" => Some("openmetrics"),
        "hlog" => Some("hlog"),
        _ => None,
    }
}

/// Who sees a run.
pub struct Seen {
    /// The document, while it grows.
    pub file: Option<DocumentFile>,
    /// Those who look on in any case.
    pub observers: Observers,
    /// The terminal shows something else.
    pub covered: bool,
}

/// A client command with everything resolved that can fail before the peer is called.
pub struct ClientRun {
    /// The nodes after this one.
    parties: Vec<Party>,
    sink: Sink,
    /// What the run is judged by.
    pub criteria: Criteria,
    clock: RealClock,
    /// Seed of everything random.
    pub seed: u64,
    /// The run that this one is held against.
    pub baseline: Option<Baseline>,
    /// What its hosts are to look like.
    pub expected_state: Option<ExpectedState>,
    /// How long the whole run may take, from the start of the program to its end.
    pub budget: Option<Duration>,
}

impl ClientRun {
    /// Resolves the shared arguments. Fails before anything is measured.
    pub fn resolve(args: &ClientArgs, clock: &RealClock) -> Result<ClientRun> {
        let sink = Sink::of(args, clock)?;
        let party = match (&args.peer, args.self_test) {
            (Some(Peer { share: Some(_), text, .. }), _) => {
                bail!(
                    "{text} is a share, which only pathproof check and pathproof bench file take; name a host"
                )
            }
            (Some(peer), _) => args.far.party(peer, &args.key)?,
            (None, true) if args.far.via.is_some() || args.far.copy => {
                bail!("--via and --copy are for a far end on another host; with --self it is this one")
            }
            (None, true) => {
                // It needs none, and one that cannot be read is a mistake all the same.
                args.key.read()?;
                serve_self(args.own_device.clone(), clock)?
            }
            (None, false) => bail!("name a PEER, or use --self"),
        };
        Ok(ClientRun {
            criteria: args.limits.read()?,
            seed: args.seed,
            ..ClientRun::with(party, sink, clock)
        })
    }

    /// A run with a node, judged by the built-in limits.
    pub fn with(party: Party, sink: Sink, clock: &RealClock) -> ClientRun {
        ClientRun {
            parties: vec![party],
            sink,
            criteria: Criteria::default(),
            clock: clock.clone(),
            seed: 0,
            baseline: None,
            expected_state: None,
            budget: None,
        }
    }

    /// The same, with the peer taken for a host that runs nothing of ours.
    pub fn without_agent(mut self) -> ClientRun {
        for party in &mut self.parties {
            if let Party::Agent { name, target, .. } = party {
                let (name, host) = (std::mem::take(name), std::mem::take(&mut target.host));
                *party = Party::Foreign { name, host };
            }
        }
        self
    }

    /// The same with one node more.
    pub fn and(mut self, party: Party) -> ClientRun {
        self.parties.push(party);
        self
    }

    /// Runs the plan, judges, prints the report, and returns the exit code.
    pub fn run(self, plan: Plan) -> Result<u8> {
        self.conduct(plan, |order, observed, mut seen| {
            if let Some(file) = seen.file {
                seen.observers.0.push(Box::new(Keeper::new(file)));
            }
            // Lines of JSON on a terminal are not drawn over.
            if let Some(line) = LiveLine::new(order.budget.clock()).filter(|_| !seen.covered) {
                seen.observers.0.push(Box::new(line));
            }
            Ok(run::run(order, observed, &mut seen.observers))
        })
    }

    /// The same with a run that is made by `make`.
    pub fn conduct(
        mut self,
        plan: Plan,
        make: impl FnOnce(&Order<'_>, Observed, Seen) -> Result<ResultDoc>,
    ) -> Result<u8> {
        let named = nodes(&self.parties);
        if !plan.nodes.is_empty() && plan.nodes != named {
            bail!("the plan names other nodes than the command line; leave its `nodes` out");
        }
        let mut plan = Plan { nodes: named, ..plan };
        lane_options::settle(&mut plan).map_err(|error| anyhow::anyhow!(error.message))?;
        let interrupted = interrupt::by_signals(&self.clock).context("cannot watch for Ctrl-C")?;
        let registry = Registry::new(&self.clock);
        let observed = host::observe();
        precheck::check(&plan, &registry, &observed.environment)?;
        precheck::touch(&plan)?;
        let mut far_ends = vec![];
        let stream = self.sink.stream.as_ref();
        if let Some(stream) = stream {
            stream.begin(&run::document(&plan, &self.parties, observed.environment.clone()));
        }
        let stopped = precheck::missing(&plan, &registry)
            .or_else(|| start_far_ends(&mut self.parties, &interrupted, &self.clock, &mut far_ends).err());
        if let Some(error) = stopped {
            let mut doc = run::document(&plan, &self.parties, observed.environment);
            doc.error = Some(error);
            return self.finish(doc);
        }
        plan.nodes = nodes(&self.parties);
        let mut observers = Observers::default();
        if let Some(stream) = stream {
            observers.0.push(Box::new(stream.observer()));
        }
        let covered = stream.is_some_and(|stream| stream.is_on_stdout() && terminal::is_shown());
        let seen = Seen { file: self.sink.file.clone(), observers, covered };
        // A far end that had to be started, with a password that was typed, takes nothing from what is to be measured.
        let begin = if far_ends.is_empty() { Tick(0) } else { self.clock.now() };
        let budget = Budget::new(self.clock.clone(), self.budget).beginning(begin);
        let parties = &self.parties[..];
        let criteria = Some(&self.criteria);
        let (budget, registry, interrupt) = (&budget, &registry, &interrupted);
        let order = Order { plan: &plan, parties, budget, registry, interrupt, criteria };
        let mut doc = make(&order, observed, seen)?;
        if let Some(lost) = doc.error.as_mut().filter(|error| error.kind == ErrorKind::PeerLost)
            && let Some(words) = far_ends.iter().find_map(FarEnd::last_words)
        {
            lost.message += &format!("; the last that was heard of the far end: {words}");
        }
        drop(far_ends);
        self.finish(doc)
    }

    /// Ends with a document: judged, written, printed; returns the exit code.
    pub fn finish(self, mut doc: ResultDoc) -> Result<u8> {
        let against = self.baseline.as_ref().filter(|_| doc.error.is_none());
        doc.verdicts.extend(against.and_then(|baseline| baseline.verdict(&doc)));
        doc.expected_state = self.expected_state;
        self.sink.finish(doc, &self.criteria)
    }
}

/// This node and those after it.
fn nodes(parties: &[Party]) -> Vec<NodeSpec> {
    std::iter::once(NodeSpec::Here).chain(parties.iter().map(Party::spec)).collect()
}

/// Starts the far ends that do not run yet. They leave when what `started` holds is dropped.
fn start_far_ends(
    parties: &mut [Party],
    interrupt: &Interrupt,
    clock: &RealClock,
    started: &mut Vec<FarEnd>,
) -> Result<(), StepError> {
    for party in parties {
        if let Some(start) = party.start() {
            if terminal::is_watched() {
                terminal::say(format_args!("starting the far end: {}", start.shown()));
            }
            let end = start.begin(interrupt, clock)?;
            party.started(&end);
            started.push(end);
        }
    }
    Ok(())
}

/// Starts the other end on this machine.
fn serve_self(device: Option<String>, clock: &RealClock) -> Result<Party> {
    // Others on this machine have no part in it.
    let access = Access::Key(Key::random().context("cannot make a key")?);
    let settings = Settings {
        access: access.clone(),
        limits: Default::default(),
        device,
        observe: Arc::new(host::observe),
        clock: clock.clone(),
        tells: false,
        grace: Default::default(),
    };
    let server = Listening::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], settings)?;
    let address = *server.addresses().first().context("the loopback listener has no address")?;
    server.run_in_background();
    let (host, port) = (address.ip().to_string(), address.port());
    Ok(Party::Own { target: Target { host, port, access } })
}
