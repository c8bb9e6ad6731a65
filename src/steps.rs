//! The kinds of step. A kind in which an agent has a part is a [`Runner`], which knows both halves: what to prepare, what to
//! run, and how the two halves make one result. A kind that is made from here alone is [`Alone`].
//!
//! Life of a shared step: both ends `prepare` (resources exist, offers are known), the offers cross in one turn of the
//! control protocol, both ends `run` at the same time and return a [`Half`]; the client `merge`s the halves.
//! To add a kind: a variant of `StepSpec`, a file here, and a line in [`play`]; of a shared one, a variant of `StepRequest` and
//! a line in [`asked`].

mod channels;
mod checksum;
mod contend;
mod cost;
mod facts;
mod file;
mod lane_record;
mod loss;
mod meter;
mod migrate;
mod mtu;
mod networks;
mod part;
mod ports;
mod reach;
mod session_facts;
mod smb;
mod stage;
mod traffic;

use std::io;
use std::time::Duration;

pub use channels::check_names;
pub use contend::{check_adapter_marks, check_ways};
pub use cost::Cost;
pub use file::check as check_file;
pub use loss::check_spec as check_loss_spec;
pub use mtu::check_spec as check_mtu_spec;
pub use networks::{LostNetwork, losses, rehearsal};
pub use part::{ReadyPart, StepPart};
pub use ports::beside as ports_beside;
pub use ports::check_spec as check_ports_spec;
pub use session_facts::SessionFacts;
pub use smb::check as check_smb;
pub use traffic::{
    beside, beside_ns, each_way, of_one_nic, one_by_one, one_by_one_ns, pair_of, sum_up, sum_up_together,
    together, together_again,
};

use pathproof_api::{Clock, Offer, OptionValues, Tick, TransportError};
use pathproof_engine::control::StepMessage;
use pathproof_model::{
    Environment, ErrorKind, Finding, Half, NodeSpec, Plan, Port, ResultDoc, Step, StepError, StepKind,
    StepRequest, StepSpec, TrafficKind, TrafficSpec,
};

use pathproof_model::stream::Count;
use pathproof_model::units::Bytes;

use crate::budget::out_of_time;
use crate::evidence::{About, Taken};
use crate::glance::Glance;
use crate::gone;
use crate::interrupt::Interrupt;
use crate::registry::{Registry, manners};
use crate::session::{Channel, Received};
use pathproof_sys::clock::RealClock;

/// A step that may take `spare_ns` more than it asks for, where a path with this round trip, or this rate, wants that.
pub fn stretch(spec: &StepSpec, spare_ns: u64, rtt_ns: u64) -> StepSpec {
    match spec.loss() {
        Some(loss) => StepSpec::Loss(loss::stretch(loss, spare_ns)),
        None => traffic::stretch(spec, spare_ns, rtt_ns),
    }
}

/// A step as what was measured before makes it: what would load a slow path is slowed down.
pub fn informed(spec: &StepSpec, doc: &ResultDoc) -> StepSpec {
    let loss = spec.loss().map(|loss| StepSpec::Loss(loss::informed(loss, doc)));
    let contend = || Some(StepSpec::Contend(contend::informed(spec.contend()?, doc)));
    loss.or_else(contend).unwrap_or_else(|| spec.clone())
}

/// The short step that tells a planned one what it must know, where none before it did.
pub fn yardstick(spec: &StepSpec, doc: &ResultDoc) -> Option<StepSpec> {
    contend::yardstick(spec.contend()?, doc)
}

/// What a runner may use while preparing.
pub struct Setup<'a> {
    /// Number of the step in its session.
    pub step: u32,
    /// What to do: at the client its own specification, at the server what it made of the client's request.
    pub spec: &'a StepSpec,
    /// At the server: for each path of a lane over several NICs the index of its interface here, as the client has it.
    pub paths: &'a [u32],
    /// The session.
    pub session: &'a SessionFacts,
    /// The transports.
    pub registry: &'a Registry,
}

impl Setup<'_> {
    /// The step as far as evidence depends on it.
    pub fn about(&self) -> About {
        About {
            end: self.session.end,
            adapter: self.spec.overs().into_iter().any(|over| manners(over).adapter),
            peers: crate::host::peers::addresses(&self.session.peer_environment, self.session.peer.ip()),
        }
    }
}

/// What a runner may use while running.
pub struct Context<'a> {
    /// The control channel, for messages of this step.
    pub channel: &'a mut dyn Channel,
    /// The clock of this end.
    pub clock: &'a RealClock,
    /// When the step must be over at this end; what it has not measured by then it leaves.
    pub until: Tick,
    /// Told now and then how the step goes, where somebody looks.
    pub progress: Option<&'a mut dyn FnMut(Glance)>,
    /// What this host counts while the step runs; begun by [`ReadyPart`].
    pub evidence: Option<Taken>,
}

impl Context<'_> {
    /// `wait`, or what is left of the step where that is less.
    pub fn within(&self, wait: Duration) -> Duration {
        wait.min(self.until.since(self.clock.now()))
    }

    /// Lets the evidence look, if that is due. Returns when it is due again.
    pub fn look(&mut self, now: Tick) -> Tick {
        self.evidence.as_mut().map_or(Tick(u64::MAX), |evidence| evidence.during(now))
    }

    /// Shows how far the step is and what it counts, where somebody looks.
    pub fn show(&mut self, share: f64, counts: Vec<Count>) {
        if let Some(progress) = &mut self.progress {
            progress(Glance { counts, ..share.into() });
        }
    }
}

/// A prepared half of a step.
pub trait Prepared {
    /// What the other end needs to know, one for each lane.
    fn offers(&self) -> Vec<Offer>;
    /// At the client: for each path of a lane over several NICs the index of the server's interface that it leads to.
    fn paths(&self) -> Vec<u32>;
    /// Runs this half. Never fails as a whole: what stopped it stands in the half, beside what was measured.
    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half;
}

/// What every kind of step says of itself. Neither this trait nor those below have an answer of their own: a kind that comes later would get it
/// silently (`tests/edges/kinds.rs`).
pub trait Kind: Sync {
    /// Short name for people.
    fn name(&self, spec: &StepSpec) -> String;
    /// Longest time that the run may take, in ns.
    fn duration_ns(&self, spec: &StepSpec) -> u64;
    /// The time that the step takes where all is well, in ns, with everything around it.
    fn need_ns(&self, spec: &StepSpec) -> u64;
    /// The step as it fits into `left_ns`, where the run has no more than that; `None` when what could be measured then
    /// would be worth nothing.
    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec>;
}

/// A kind of step in which an agent has a part.
pub trait Runner: Kind {
    /// What the client's half needs of the server.
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError>;
    /// Makes this end's half ready.
    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError>;
    /// What the step costs an end, over so many paths for each lane. It must hold for any numbers whatever.
    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost;
    /// Fills `step` (at the client) from both halves. Lanes, histograms, intervals, counters and errors of both
    /// halves are already in place.
    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half);
    /// Puts in what the step comes to beside those before it.
    fn relate(&self, step: &mut Step, doc: &ResultDoc);
    /// What the merged step shows that somebody should be told, in the light of the document so far.
    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding>;
}

/// What a step may use that is made from here alone.
pub struct Lone<'a> {
    /// What to do.
    pub spec: &'a StepSpec,
    /// Seed of everything random.
    pub seed: u64,
    /// The transports.
    pub registry: &'a Registry,
    /// The clock of this end.
    pub clock: &'a RealClock,
    /// When the step must be over.
    pub until: Tick,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// Told now and then how the step goes.
    pub progress: &'a mut dyn FnMut(Glance),
}

/// Why a step that is made from here alone is to end now, if it is.
fn stopped(interrupt: &Interrupt, clock: &RealClock, until: Tick) -> Option<StepError> {
    if interrupt.is_raised() {
        return Some(crate::interrupt::error());
    }
    (clock.now() >= until).then(|| out_of_time("it was not at its end"))
}

/// How long such a step may still take; without a limit, for ever.
fn remaining(lone: &Lone<'_>) -> Duration {
    if lone.until == Tick(u64::MAX) { Duration::MAX } else { lone.until.since(lone.clock.now()) }
}

/// A kind of step that is made from here alone, with a node that has no part in it.
pub trait Alone: Kind {
    /// Makes the step: fills it, and keeps in the document what has its place there beside the steps; returns what somebody
    /// should be told. An error is why nothing was measured at all; what stopped the step half way is the step's own.
    fn make(
        &self,
        lone: &mut Lone<'_>,
        step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError>;
}

/// How a step is made.
#[derive(Clone, Copy)]
pub enum Play {
    /// With an agent.
    Shared(&'static dyn Runner),
    /// From here alone.
    Alone(&'static dyn Alone),
}

impl Play {
    /// What it says of itself.
    pub fn kind(self) -> &'static dyn Kind {
        match self {
            Play::Shared(runner) => runner,
            Play::Alone(kind) => kind,
        }
    }
}

/// What a step needs of the server where its specification says all of it.
fn as_specified(setup: &Setup<'_>) -> Result<StepRequest, StepError> {
    StepRequest::of(setup.spec).map_err(|message| StepError::new(ErrorKind::Invalid, message))
}

/// A step that takes what it takes: whole, or not at all.
fn whole(spec: &StepSpec, need_ns: u64, left_ns: u64) -> Option<StepSpec> {
    (need_ns <= left_ns).then(|| spec.clone())
}

/// What a merged step shows that somebody should be told, in the light of the document so far.
pub fn findings(runner: &dyn Runner, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
    // First what explains the rest: a reader begins at the top.
    let asked = step.follows_up.is_none() || traffic::is_first_trial(step, doc);
    let stopped = step.error.is_some() || traffic::stalled(step);
    let mut found = if asked { checksum::findings(step, stopped, doc) } else { vec![] };
    found.extend(runner.findings(step, doc));
    found
}

/// The next short step that would tell why one before `first` failed, or what two of them mean that disagree, where there is such a one; the steps
/// from `first` on are those made so far.
pub fn follow_up(doc: &ResultDoc, first: usize) -> Option<StepSpec> {
    let search = || pathproof_engine::diagnose::another_search(doc).map(StepSpec::Mtu);
    let stream = || pathproof_engine::diagnose::another_stream(doc).map(StepSpec::Stream);
    // What takes least time first.
    facts::follow_up(doc).or_else(search).or_else(|| traffic::follow_up(doc, first)).or_else(stream)
}

/// What the steps before `first` and those that followed them up come to.
pub fn conclude(doc: &ResultDoc, first: usize) -> Vec<Finding> {
    traffic::conclude(doc, first)
}

/// The next short stream that tells whether the port which a role needs carries what the session's own does.
pub fn over_port(doc: &ResultDoc) -> Option<StepSpec> {
    pathproof_engine::diagnose::over_port(doc).map(StepSpec::Stream)
}

/// Ports that roles need, and of which it is not known yet what they carry.
pub fn ports_left(doc: &ResultDoc) -> Vec<Port> {
    pathproof_engine::diagnose::ports_left(doc)
}

/// The next step of the search that a step of a plan stands for: `None` where it stands for none, or that is at its end.
pub fn search(spec: &StepSpec, doc: &ResultDoc) -> Option<StepSpec> {
    if let Some(search) = spec.traffic().filter(|traffic| traffic.offload.is_some()) {
        return pathproof_engine::offloads::next(search, doc).map(StepSpec::Stream);
    }
    pathproof_engine::loss::next(spec.loss()?, doc).map(StepSpec::Loss)
}

/// What most kinds of step are made with, and what starts it.
const AGENT: (&str, &str) = ("an agent", "pathproof serve on that host");

/// How a step is made with a node; an error where it cannot be made with such a node.
pub fn play(spec: &StepSpec, with: Option<&NodeSpec>) -> Result<Play, StepError> {
    let foreign = matches!(with, Some(NodeSpec::Foreign { .. }));
    let play = match spec {
        StepSpec::Mtu(_) if foreign => return Ok(Play::Alone(&mtu::Echo)),
        StepSpec::Channels(_) => return Ok(Play::Alone(&channels::Prediction)),
        StepSpec::Networks(_) => return Ok(Play::Alone(&networks::Shared)),
        StepSpec::Smb(_) if foreign => return Ok(Play::Alone(&smb::Smb)),
        StepSpec::File(_) if foreign => return Ok(Play::Alone(&file::File)),
        StepSpec::Smb(_) | StepSpec::File(_) => None,
        StepSpec::Facts => Some(Play::Shared(&facts::Facts)),
        StepSpec::Reach(_) => Some(Play::Shared(&reach::Reach)),
        StepSpec::Mtu(_) => Some(Play::Shared(&mtu::Mtu)),
        StepSpec::Loss(_) => Some(Play::Shared(&loss::Loss)),
        StepSpec::Ports(_) => Some(Play::Shared(&ports::Ports)),
        StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => {
            Some(Play::Shared(&traffic::Traffic))
        }
        StepSpec::Migrate(_) => Some(Play::Shared(&migrate::Migrate)),
        StepSpec::Contend(_) => Some(Play::Shared(&contend::Contend)),
    };
    play.filter(|_| with.is_none_or(NodeSpec::is_agent)).ok_or_else(|| {
        let (node, what) = match spec {
            StepSpec::Smb(_) => ("an SMB server", "pathproof smb HOST"),
            StepSpec::File(_) => ("an SMB server", "pathproof bench file //SERVER/SHARE"),
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => AGENT,
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => AGENT,
            StepSpec::Migrate(_) | StepSpec::Channels(_) | StepSpec::Ports(_) => AGENT,
            StepSpec::Networks(_) | StepSpec::Contend(_) => AGENT,
        };
        let message = format!("a step of kind {} is made with {node}; use {what}", word(spec.kind()));
        StepError::new(ErrorKind::Invalid, message)
    })
}

/// A kind as it stands in results.
fn word(kind: StepKind) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(Into::into)).unwrap_or_default()
}

/// The runner of a step that the other end asks for.
pub fn asked(request: &StepRequest) -> &'static dyn Runner {
    match request {
        StepRequest::Facts => &facts::Facts,
        StepRequest::Reach(_) => &reach::Reach,
        StepRequest::Mtu(_) => &mtu::Mtu,
        StepRequest::Loss(_) => &loss::Loss,
        StepRequest::Ports(_) => &ports::Ports,
        StepRequest::Stream(_) | StepRequest::Pingpong(_) | StepRequest::Request(_) => &traffic::Traffic,
        StepRequest::Migrate(_) => &migrate::Migrate,
        StepRequest::Contend(_) => &contend::Contend,
    }
}

/// Refuses a plan that no pair of hosts could run, before anybody is dialled.
pub fn check_size(plan: &Plan) -> Result<(), StepError> {
    const STEPS_MAX: usize = 1000;
    const LANES_MAX: u64 = 2 * 256;
    let invalid = |message| Err(StepError::new(ErrorKind::Invalid, message));
    if plan.steps.len() > STEPS_MAX {
        return invalid(format!("{} steps are planned and {STEPS_MAX} is the limit", plan.steps.len()));
    }
    for (number, spec) in plan.steps.iter().enumerate() {
        let lanes = match play(spec, plan.node(spec.node()))? {
            Play::Shared(runner) => runner.cost(spec, 1).lanes,
            Play::Alone(_) => 0,
        };
        if lanes > LANES_MAX {
            return invalid(format!(
                "step {number} has {lanes} lanes and {LANES_MAX} is the limit; one lane is one thread"
            ));
        }
    }
    Ok(())
}

/// Whether this end has the memory for its half.
pub fn affordable(runner: &dyn Runner, spec: &StepSpec, here: &Environment) -> Result<(), StepError> {
    let need = runner.cost(spec, 1).memory_bytes;
    match here.memory_available_bytes {
        // A migration knows how much its budget leaves of its memory, and looks for itself.
        Some(available) if need > available && spec.traffic().is_some() => Err(StepError::new(
            ErrorKind::Resource,
            format!(
                "this step needs {} here and {} are available; ask for fewer --lanes, a smaller --depth or --size",
                Bytes(need),
                Bytes(available)
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether a migration is specified well enough to try, in one sentence where it is not.
pub fn check_migrate(spec: &pathproof_model::MigrateSpec) -> anyhow::Result<()> {
    migrate::check_all(spec).map_err(|e| anyhow::anyhow!(e.message))
}

/// The NICs that `--fail` names, all of which fail within the window.
pub fn failing_nics(spec: &TrafficSpec, window_ns: u64) -> anyhow::Result<Vec<String>> {
    let plan = traffic::multi::FailPlan::of(spec).map_err(|e| anyhow::anyhow!(e.message))?;
    plan.check(window_ns).map_err(|e| anyhow::anyhow!(e.message))?;
    Ok(plan.nics())
}

/// Whether a step of this kind can go by the verb that it asks for.
pub fn check_verb(kind: TrafficKind, spec: &TrafficSpec) -> Result<(), StepError> {
    traffic::verbs::check_spec(kind, spec)
}

/// Whether this host's kernel takes the congestion control that lanes ask for.
pub fn check_congestion(options: &OptionValues) -> Result<(), StepError> {
    traffic::verbs::check_own_congestion(options)
}

/// Opens a disk that is to move, and says how large it is.
pub fn open_disk(file: &str) -> anyhow::Result<(std::fs::File, u64)> {
    migrate::disk::open(file).map_err(|e| anyhow::anyhow!(e.message))
}

/// A transport's error as a step's error.
pub fn step_error(error: &TransportError) -> StepError {
    let kind = match error {
        TransportError::Unsupported { .. } => ErrorKind::Unsupported,
        TransportError::Invalid { .. } => ErrorKind::Invalid,
        TransportError::Timeout { .. } => ErrorKind::Timeout,
        TransportError::PeerGone { .. } => ErrorKind::PeerLost,
        TransportError::Protocol { .. } => ErrorKind::Protocol,
        TransportError::Resource { .. } => ErrorKind::Resource,
        _ => ErrorKind::System,
    };
    let (kind, message) = match error {
        TransportError::Io { operation, source } => {
            let lacks = crate::descriptors::advice(source).or_else(|| crate::local_ports::advice(source));
            match lacks {
                Some(advice) => (ErrorKind::Resource, format!("{operation}: {advice}")),
                None => (kind, error.to_string()),
            }
        }
        _ => (kind, error.to_string()),
    };
    StepError::new(kind, message).caused_by(error.how().map(gone::cause))
}

/// Why a lane did not connect. Silence proves something only where it lasted: `hurried` means that the time of the run
/// left it less than usual.
pub fn not_connected(error: &TransportError, hurried: bool) -> StepError {
    match error {
        TransportError::Timeout { .. } if hurried => out_of_time(&error.to_string()),
        _ => step_error(error),
    }
}

/// What a message that has no place in the running step means for it.
pub fn misplaced(said: &StepMessage) -> StepError {
    let message =
        format!("the peer said {said:?}, which has no place in this step; use the same build at both ends");
    StepError::new(ErrorKind::Protocol, message)
}

/// Says that this end's part is done, and waits until the peer says so too; `what` of the peer's is waited for.
fn both_done(context: &mut Context<'_>, patience_ns: u64, what: &str) -> Option<StepError> {
    context.channel.send(StepMessage::Done);
    match context.channel.receive(context.clock.now().plus_ns(patience_ns)) {
        Received::Message(StepMessage::Done) | Received::PeerDone => None,
        Received::Message(other) => Some(misplaced(&other)),
        Received::Lost(error) | Received::PeerFailed(error) => Some(error),
        Received::Interrupted => Some(crate::interrupt::error()),
        Received::OutOfTime => Some(out_of_time(&format!("the peer was not awaited with {what}"))),
        Received::Nothing => {
            let message = format!("the peer did not come to an end with {what}");
            Some(StepError::new(ErrorKind::Timeout, message))
        }
    }
}

/// Why threads that wait in the kernel cannot be informed of an end.
fn no_ending(error: &io::Error) -> StepError {
    let message = crate::descriptors::advice(error).unwrap_or_else(|| {
        format!("no pipe can be made: {error}; run again, and look at what this host lacks")
    });
    StepError::new(ErrorKind::Resource, message)
}

/// A half that has nothing but an error.
pub fn failed(error: StepError) -> Half {
    Half { error: Some(error), ..Half::default() }
}
