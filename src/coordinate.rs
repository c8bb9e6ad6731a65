//! The client's run: reach the peer, take it through the plan step by step, keep the document current.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{anyhow, bail};
use crossbeam_channel::unbounded;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{
    Accept, Client, ClientEvent, Go, HalfRoom, Hello, Message, Patience, Resume, bound_half, encode_frame,
};
use pathproof_engine::diagnose::diagnose;
use pathproof_model::environment::Observed;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    Environment, ErrorKind, Evidence, Finding, FollowUp, Half, HistogramRecord, Node, NodeId, NodeSpec, Plan,
    PlanRequest, ResultDoc, Step, StepError, StepKind, StepSpec, Tool,
};

use crate::budget::{Budget, out_of_time};
use crate::channels::Way;
use crate::dial::{self, CONNECT};
use crate::host::peers;
use crate::interrupt::{self, Interrupt};
use crate::offers;
use crate::peer::Peer;
use crate::registry::{Registry, TRANSPORTS};
use crate::secure::{self, Access, Refusal, SecureError};
use crate::session::{Fresh, Heard, Link, Revival, Session};
use crate::steps::{self, Context, End, SessionFacts, Setup};
use crate::watch::{Observer, RunEvent};
use pathproof_sys::clock::RealClock;

/// How long a way back to a session whose connection fell silent is looked for.
const RETURN: Duration = Duration::from_secs(8);
/// Key handshakes that may fail with each address meanwhile: whoever answers has one guess of the key for each.
const HANDSHAKES: u32 = 3;
/// How long one attempt at that may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Pause before a server whose door is crowded is asked again.
const CROWDED: Duration = Duration::from_millis(200);

/// How long the peer's half is waited for when the data path to it was lost: it is probably lost as well, and the user
/// wants to know.
const LAST_WORD: Duration = Duration::from_millis(1500);

/// Whom to measure against.
#[derive(Clone)]
pub struct Target {
    /// Host name or address as typed.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What this end proves itself with.
    pub access: Access,
    /// What stands in the document as its name: the typed text, or `self`.
    pub label: String,
    /// What it is in the plan.
    pub spec: NodeSpec,
}

impl Target {
    /// An agent as it was typed.
    pub fn agent(peer: &Peer, access: Access) -> Target {
        let (host, port) = (peer.host.clone(), peer.port);
        let spec = NodeSpec::Agent { host: host.clone(), port };
        Target { host, port, access, label: peer.text.clone(), spec }
    }
}

/// What this build is.
pub fn tool() -> Tool {
    Tool {
        name: "pathproof".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("PATHPROOF_COMMIT").map(Into::into),
        features: TRANSPORTS.map(Into::into).into(),
    }
}

/// An empty document of this build.
pub fn empty_document(requested: Plan, peer: (&str, NodeSpec), here: Environment) -> ResultDoc {
    let (name, spec) = (peer.0.to_owned(), peer.1);
    let peer = Node { id: NodeId::SERVER, name, spec, environment: None };
    ResultDoc {
        nodes: vec![Node::here(Some(here)), peer],
        requested: Some(requested),
        ..ResultDoc::new(tool(), crate::wall::now_rfc3339())
    }
}

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError { kind, message: message.into() }
}

/// Runs `plan` against `target`. The document always comes back; what stopped the run stands in its `error`.
pub fn run(
    plan: &Plan,
    target: &Target,
    budget: &Budget,
    observed: Observed,
    registry: &Registry,
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> ResultDoc {
    let peer = (target.label.as_str(), target.spec.clone());
    let mut doc = empty_document(plan.clone(), peer, observed.environment);
    doc.findings = observed.findings;
    doc.budget_ns = budget.length_ns();
    let ended = conduct(plan, target, budget, &mut doc, registry, interrupt, observer);
    // Whatever an interruption met first, the document says which signal it was.
    let signalled = interrupt.is_raised();
    let why =
        ended.err().map(|why| if signalled && why.kind.is_interruption() { interrupt::error() } else { why });
    // A clock that ran down is not an error of the run: what it cut is named, and the rest stands.
    doc.error = why.filter(|error| error.kind != ErrorKind::OutOfTime);
    if let Some(lost) = doc.error.as_ref().filter(|e| e.kind == ErrorKind::PeerLost && !doc.steps.is_empty())
    {
        let finding = Finding::new("PEER-LOST", lost.message.clone());
        doc.findings.push(finding);
    }
    let causes = diagnose(&doc);
    doc.findings.extend(causes);
    doc
}

fn conduct(
    plan: &Plan,
    target: &Target,
    budget: &Budget,
    doc: &mut ResultDoc,
    registry: &Registry,
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> Result<(), StepError> {
    steps::check_size(plan)?;
    let mut here = doc.environment(NodeId::CLIENT).cloned().unwrap_or_default();
    let request = plan.request().map_err(|why| error(ErrorKind::Invalid, why))?;
    let mut session = open(target, budget, interrupt)?;
    if target.access.is_open_to(session.peer().ip()) {
        let evidence =
            format!("no key was used (--no-key at both ends) and {} is not this host", session.peer());
        doc.findings.push(Finding::new("SESSION-KEYLESS", evidence));
    }
    let accept = greet(&mut session, request, here.clone())?;
    peers::learn_routes(&mut here, &accept.environment, session.peer().ip());
    doc.learn(NodeId::CLIENT, here.clone());
    doc.learn(NodeId::SERVER, accept.environment.clone());
    // The steps that run are this end's own; the peer had a say in how much of them.
    let (granted, reduced) = plan.granted(&accept.granted).map_err(|why| error(ErrorKind::Refused, why))?;
    doc.granted = Some(granted.clone());
    doc.findings.extend(reduced);
    doc.limits = Some(accept.limits.clone());
    doc.findings.extend(accept.findings.iter().cloned());
    let facts = SessionFacts {
        end: End::Client,
        secret: unhex(&accept.session)
            .ok_or_else(|| error(ErrorKind::Protocol, "the peer's session secret is malformed"))?,
        local: session.local(),
        peer: session.peer(),
        limits: accept.limits.clone(),
        seed: plan.seed,
        environment: here.clone(),
        peer_environment: accept.environment.clone(),
    };
    if facts.outlives_its_path(&granted.steps) {
        session.survive(way_back(&facts, &target.access, budget.clock()));
    }
    observer.event(&RunEvent::Opened { doc });
    let clock = budget.clock();
    let mut turns = Turns {
        session,
        facts,
        registry,
        clock,
        budget,
        reserved_ns: 0,
        cut: vec![],
        pending: None,
        purpose: None,
    };
    let ended = turns.steps(&granted.steps, doc, observer);
    doc.findings.extend(turns.what_was_cut());
    turns.session.machine.bye(ended.as_ref().err().map_or("", |e| &e.message));
    turns.session.flush();
    for moved in &turns.session.moves {
        let evidence = format!("the control connection fell silent and went on {moved}");
        doc.findings.push(Finding::new("CONTROL-MOVED", evidence));
    }
    ended
}

/// Connects, trying every address of the name, and completes the key handshake. A server whose door is crowded is asked again
/// as long as one may be dialled.
fn open(target: &Target, budget: &Budget, interrupt: &Interrupt) -> Result<Session<Client>, StepError> {
    let until = budget.clock().deadline(budget.within(CONNECT));
    let link = loop {
        match knock(target, budget, interrupt)? {
            Ok(link) => break link,
            Err(SecureError::Crowded) if until.left() > CROWDED => {
                interrupt.pause(CROWDED)?;
            }
            Err(why) => return Err(not_let_in(target, &why)),
        }
    };
    let machine = Client::new(Patience::default());
    let mut session = Session::new(machine, budget.clock().clone(), link, interrupt.clone());
    session.deadline = budget.over();
    Ok(session)
}

/// Connects once and completes the key handshake. The inner error is the handshake's.
fn knock(
    target: &Target,
    budget: &Budget,
    interrupt: &Interrupt,
) -> Result<Result<Link, SecureError>, StepError> {
    let Target { host, port, .. } = target;
    let (name, at, access, flag) = (host.clone(), *port, target.access.clone(), interrupt.clone());
    let patience = budget.within(Duration::MAX);
    let clock = budget.clock().clone();
    let reach = move || dial::reach(&name, at, &access, patience, &clock, &flag);
    let stream = interrupt::unless(interrupt, patience, reach)??;
    let io = |e: std::io::Error| error(ErrorKind::System, format!("setting up the control connection: {e}"));
    let (local, peer) = (stream.local_addr().map_err(io)?, stream.peer_addr().map_err(io)?);
    prepare_socket(&stream).map_err(io)?;
    let (access, patience) = (target.access.clone(), budget.within(CONNECT));
    let until = budget.clock().deadline(patience);
    let halves = interrupt::unless(interrupt, patience * 2, move || secure::connect(stream, &access, until))?;
    match halves {
        Ok(halves) => Link::new(halves, (local, peer)).map_err(io).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

fn not_let_in(Target { host, port, .. }: &Target, why: &SecureError) -> StepError {
    let kind = match why {
        SecureError::Preamble(_) | SecureError::Nonsense => ErrorKind::Protocol,
        SecureError::Timeout { .. } | SecureError::Refused(Refusal::TooSlow) => ErrorKind::Timeout,
        SecureError::Io { .. } | SecureError::ClosedInHandshake => ErrorKind::PeerLost,
        _ => ErrorKind::Refused,
    };
    error(kind, format!("{host}:{port}: {why}"))
}

/// How the client comes back to its session when the path of the control connection dies: over the other ways
/// between the hosts, then over the first one again, until the session's patience is spent.
fn way_back(facts: &SessionFacts, access: &Access, clock: &RealClock) -> Revival {
    let (found, fresh) = unbounded();
    let clock = clock.clone();
    let (ways, first, token, access) = (facts.other_ways(), facts.peer, facts.resume_token(), access.clone());
    let dial = move |seen: u32| {
        let (ways, token, access, found) = (ways.clone(), token.clone(), access.clone(), found.clone());
        let clock = clock.clone();
        let search = move || {
            let until = clock.deadline(RETURN);
            let others = ways.iter().map(|way| (SocketAddr::new(way.remote, first.port()), Some(way)));
            let mut all: Vec<_> =
                others.chain([(first, None)]).map(|(to, way)| (to, way, HANDSHAKES)).collect();
            while !until.is_over() {
                for (address, way, left) in &mut all {
                    let resume = Resume { token: token.clone(), seen };
                    match come_back(*address, *way, &access, &resume, &clock) {
                        Ok(back) => return drop(found.send(back)),
                        Err(error) => {
                            *left -= u32::from(error.is::<SecureError>());
                            tracing::debug!(%address, %error, "no way back here");
                        }
                    }
                }
                all.retain(|(.., left)| *left > 0);
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("way back".into()).spawn(search) {
            tracing::warn!(%error, "no thread to look for another way to the peer");
        }
    };
    Revival { fresh, dial: Some(Box::new(dial)), patience: RETURN + ATTEMPT }
}

/// One attempt to take a session up again. The inner error is the server's word that there is none.
fn come_back(
    address: SocketAddr,
    way: Option<&Way>,
    access: &Access,
    resume: &Resume,
    clock: &RealClock,
) -> anyhow::Result<Result<Fresh, String>> {
    let stream = dial::once(address, ATTEMPT, way)?;
    let addresses = (stream.local_addr()?, stream.peer_addr()?);
    prepare_socket(&stream)?;
    let mut link = Link::new(secure::connect(stream, access, clock.deadline(ATTEMPT))?, addresses)?;
    link.allow_large_messages();
    link.send(&encode_frame(&Message::Resume(resume.clone()), 0)?).map_err(|loss| anyhow!(loss.how))?;
    match link.hear(ATTEMPT) {
        Some(Heard::Message(_, message)) => match *message {
            Message::Resumed { seen } => Ok(Ok(Fresh { link, seen })),
            Message::Reject(reject) => Ok(Err(reject.reasons.join("; "))),
            other => bail!("{} came in answer to RESUME", other.name()),
        },
        Some(Heard::Lost(loss)) => bail!(loss.how),
        None => bail!("no answer to RESUME"),
    }
}

/// Makes a dead peer noticeable within seconds: keep-alive probes while idle, a user timeout while sending.
pub fn prepare_socket(stream: &TcpStream) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(5)))
}

fn greet(
    session: &mut Session<Client>,
    plan: PlanRequest,
    environment: Environment,
) -> Result<Accept, StepError> {
    let now = session.clock.now();
    session.machine.hello(now, Hello { tool: tool(), plan, environment });
    match session.event(Tick(u64::MAX)) {
        Some(ClientEvent::Accepted(accept)) => {
            session.allow_large_messages();
            Ok(*accept)
        }
        Some(ClientEvent::Rejected(reject)) => {
            Err(error(ErrorKind::Refused, format!("the peer refused: {}", reject.reasons.join("; "))))
        }
        Some(ClientEvent::Over(over)) => Err(over),
        Some(_) => Err(error(ErrorKind::Protocol, "the peer did not answer the greeting in order")),
        None if session.is_late() => Err(error(
            ErrorKind::Timeout,
            "the peer did not answer the greeting before the time of the run was up; it may be overloaded or stopped",
        )),
        None => Err(interrupt::error()),
    }
}

/// The step that has run at this end and whose other half is still at the server.
struct Pending {
    step: Step,
    spec: StepSpec,
    half: Half,
}

/// The client's way through the steps: one turn of the control protocol between two steps.
struct Turns<'a> {
    session: Session<Client>,
    facts: SessionFacts,
    registry: &'a Registry,
    clock: &'a RealClock,
    budget: &'a Budget,
    /// Kept back for the steps that no plan asks for but a planned one does, in ns.
    reserved_ns: u64,
    /// What the time of the run did not suffice for, in words.
    cut: Vec<String>,
    pending: Option<Pending>,
    /// What the steps are made for that no plan asked for, when it has come to those.
    purpose: Option<FollowUp>,
}

impl Turns<'_> {
    fn steps(
        &mut self,
        specs: &[StepSpec],
        doc: &mut ResultDoc,
        observer: &mut dyn Observer,
    ) -> Result<(), StepError> {
        let nics = self.facts.other_ways().len() as u64 + 1;
        self.reserved_ns = specs.iter().map(|spec| steps::one_by_one_ns(spec, nics)).sum();
        let mut result = Ok(());
        for (number, spec) in specs.iter().enumerate() {
            result = self.step(number as u32, specs.len(), spec, &specs[number + 1..], doc, observer);
            if result.is_err() {
                break;
            }
        }
        // The last step's other half, also after an interruption: what was measured is kept.
        let collected = self.turn(None, doc, observer).map(drop);
        result.and(collected)?;
        self.purpose = Some(FollowUp::Alone);
        self.reserved_ns = 0;
        self.one_by_one(doc, observer)?;
        // Questions more where a step failed in a way that short steps can explain; each depends on the answers so far.
        let first = doc.steps.len();
        self.purpose = Some(FollowUp::Cause);
        while let Some(spec) = steps::follow_up(doc, first) {
            if need_ns(&spec) > self.budget.last_step().ns_since(self.clock.now()) {
                self.cut.push("a control run that would have shown more: not run".into());
                break;
            }
            let number = doc.steps.len();
            self.step(number as u32, number + 1, &spec, &[], doc, observer)?;
            self.turn(None, doc, observer)?;
        }
        let found = steps::conclude(doc, first);
        doc.findings.extend(found);
        Ok(())
    }

    /// What each NIC carries alone, for the striped steps that ask for it.
    fn one_by_one(&mut self, doc: &mut ResultDoc, observer: &mut dyn Observer) -> Result<(), StepError> {
        for at in 0..doc.steps.len() {
            let specs = steps::one_by_one(&doc.steps[at]);
            if specs.is_empty() {
                continue;
            }
            let first = doc.steps.len();
            let mut ended = Ok(());
            for (nth, spec) in specs.iter().enumerate() {
                let later = &specs[nth + 1..];
                ended = self.step((first + nth) as u32, first + specs.len(), spec, later, doc, observer);
                if ended.is_err() {
                    break;
                }
            }
            let collected = self.turn(None, doc, observer).map(drop);
            ended.and(collected)?;
            steps::sum_up(doc, at, first);
        }
        Ok(())
    }

    fn step(
        &mut self,
        number: u32,
        of: usize,
        spec: &StepSpec,
        later: &[StepSpec],
        doc: &mut ResultDoc,
        observer: &mut dyn Observer,
    ) -> Result<(), StepError> {
        let started = self.clock.now();
        let spec = &steps::informed(spec, doc);
        let runner = steps::runner(spec.kind());
        let name = runner.name(spec);
        let blank = Step {
            over: spec.over().map(Into::into),
            direction: spec.traffic().map(|t| t.direction),
            spec: Some(spec.clone()),
            started_ns: started.0,
            follows_up: self.purpose,
            ..Step::new(spec.kind(), name.clone())
        };
        let left_ns = self.budget.last_step().ns_since(started).saturating_sub(self.reserved_ns);
        let Some(fitting) = runner.fit(spec, left_ns) else {
            self.turn(None, doc, observer)?;
            self.cut.push(format!("{name}: not run"));
            let step = Step { error: Some(out_of_time("it was not run")), ..blank };
            self.keep(step, doc, observer);
            return Ok(());
        };
        let spec = &fitting;
        // A step may use what those after it do not need.
        let later_ns = later.iter().fold(0u64, |sum, spec| sum.saturating_add(need_ns(spec)));
        let need_ns = runner.need_ns(spec);
        let until = match self.budget.length_ns() {
            Some(_) => started.plus_ns(left_ns.saturating_sub(later_ns).max(need_ns.min(left_ns))),
            None => Tick(u64::MAX),
        };
        let spare_ns =
            self.budget.length_ns().map(|_| left_ns.saturating_sub(later_ns).saturating_sub(need_ns));
        let stretched = spare_ns.zip(round_trip_ns(doc)).map(|(spare, rtt)| steps::stretch(spec, spare, rtt));
        let spec = &stretched.unwrap_or_else(|| spec.clone());
        let blank = Step { spec: Some(spec.clone()), ..blank };
        let setup = Setup { step: number, spec, paths: &[], session: &self.facts, registry: self.registry };
        let here = &self.facts.environment;
        let made = steps::affordable(spec, here)
            .and_then(|()| runner.request(&setup))
            .and_then(|request| Ok((request, runner.prepare(&setup)?)));
        let (request, prepared) = match made {
            Ok(made) => made,
            // Not fatal: the other steps may well be possible.
            Err(why) => {
                self.turn(None, doc, observer)?;
                self.keep(Step { error: Some(why), ..blank }, doc, observer);
                return Ok(());
            }
        };
        let own = prepared.offers();
        let go = Go { step: number, request, paths: prepared.paths(), offers: offers::to_texts(&own) };
        let about = setup.about();
        let peer = match self.turn(Some(go), doc, observer)? {
            Answer::Ready(theirs) => offers::from_texts(&theirs, own.len())?,
            Answer::Cannot(why) => {
                self.keep(Step { error: Some(why), ..blank }, doc, observer);
                return Ok(());
            }
            Answer::Nothing => return Err(error(ErrorKind::Protocol, "the peer did not answer the step")),
        };
        observer.event(&RunEvent::StepStarted {
            number,
            of,
            name: &name,
            duration_ns: runner.duration_ns(spec),
        });
        let mut progress = |share: f64| observer.event(&RunEvent::Progress { number, share });
        self.session.deadline = until;
        let mut context = Context {
            channel: &mut self.session,
            clock: self.clock,
            until,
            progress: Some(&mut progress),
            evidence: None,
        };
        let half = steps::run(prepared, &about, &mut context, peer);
        self.session.deadline = self.budget.over();
        let mut step = blank;
        step.elapsed_ns = self.clock.now().ns_since(started);
        let stopped = half.error.clone();
        if stopped.as_ref().is_some_and(|why| why.kind == ErrorKind::OutOfTime) {
            self.cut.push(format!("{name}: cut short"));
        }
        self.pending = Some(Pending { step, spec: spec.clone(), half });
        match stopped {
            Some(why) if why.kind.is_interruption() => Err(why),
            _ => Ok(()),
        }
    }

    /// Ends the pending step, merges its halves, and begins the next one if there is one.
    fn turn(
        &mut self,
        go: Option<Go>,
        doc: &mut ResultDoc,
        observer: &mut dyn Observer,
    ) -> Result<Answer, StepError> {
        if self.pending.is_none() && go.is_none() {
            return Ok(Answer::Nothing);
        }
        let wanted = go.is_some();
        let now = self.clock.now();
        let room = self.pending.as_ref().map_or_else(HalfRoom::default, |p| HalfRoom::of(&p.spec));
        self.session.machine.turn(now, go, room, 0);
        let mut answer = Answer::Nothing;
        // An interrupted user still gets the half that was measured.
        const PATIENCE_NS: u64 = 20_000_000_000;
        let mut deadline = now.plus_ns(PATIENCE_NS);
        let data_path_lost = self
            .pending
            .as_ref()
            .and_then(|p| p.half.error.as_ref())
            .is_some_and(|e| matches!(e.kind, ErrorKind::PeerLost | ErrorKind::System));
        let mut until = if data_path_lost { now + LAST_WORD } else { Tick(u64::MAX) };
        let lost = loop {
            if self.pending.is_none() && !(wanted && matches!(answer, Answer::Nothing)) {
                break None;
            }
            match self.session.event_though_interrupted(until.min(deadline)) {
                // Each piece shows that the peer is there, and that the next one is worth waiting for.
                Some(ClientEvent::Piece) => {
                    let now = self.session.clock.now();
                    deadline = now.plus_ns(PATIENCE_NS);
                    until = if data_path_lost { now + LAST_WORD } else { until };
                }
                Some(ClientEvent::Half { mut half, .. }) => {
                    bound_half(&mut half, End::Server.name());
                    if let Some(pending) = self.pending.take() {
                        let step = merge(pending, *half, doc);
                        self.keep(step, doc, observer);
                    }
                }
                Some(ClientEvent::Ready(ready)) => {
                    doc.findings.extend(ready.findings);
                    answer = match ready.error {
                        Some(why) => Answer::Cannot(why),
                        None => Answer::Ready(ready.offers),
                    };
                }
                Some(ClientEvent::Over(over)) => break Some(over),
                Some(_) => {}
                None if self.session.is_late() => {
                    self.cut.push("the peer's half of the last step: not awaited".into());
                    break Some(out_of_time("the peer's half of a step had not come"));
                }
                None if self.session.clock.now() >= until => {
                    let words = "the peer was silent after the data path was lost; check that it runs, and the link to it";
                    break Some(error(ErrorKind::PeerLost, words));
                }
                None => break Some(error(ErrorKind::Timeout, "the peer did not end the step in time")),
            }
        };
        let Some(over) = lost else { return Ok(answer) };
        if let Some(mut pending) = self.pending.take() {
            // The other half is lost with the peer; this one is not.
            pending.half.error.get_or_insert_with(|| over.clone());
            let step = merge(pending, Half::default(), doc);
            self.keep(step, doc, observer);
        }
        Err(over)
    }

    /// The steps that the time of the run did not suffice for.
    fn what_was_cut(&mut self) -> Option<Finding> {
        let cut = std::mem::take(&mut self.cut);
        let length = Nanoseconds(self.budget.length_ns()?);
        (!cut.is_empty()).then(|| {
            let evidence = format!("the run keeps to {length}, and this did not fit: {}", cut.join("; "));
            Finding::new("RUN-CUT", evidence).with("budget_ns", length.0).with("cut", cut)
        })
    }

    fn keep(&mut self, step: Step, doc: &mut ResultDoc, observer: &mut dyn Observer) {
        doc.steps.push(step);
        observer.event(&RunEvent::StepEnded { doc });
    }
}

/// The round trip that was found before, in ns.
fn round_trip_ns(doc: &ResultDoc) -> Option<u64> {
    let reached = doc.steps.iter().filter(|step| step.kind == StepKind::Reach);
    reached.filter_map(|step| step.summary.rtt_ns).map(|rtt| rtt.p50).next_back()
}

/// What a step takes where all is well.
fn need_ns(spec: &StepSpec) -> u64 {
    steps::runner(spec.kind()).need_ns(spec)
}

enum Answer {
    /// With its offers as they came.
    Ready(Vec<String>),
    Cannot(StepError),
    Nothing,
}

/// Of the ends' errors the one that explains the other: an end that only found its peer gone does not know why.
fn cause<'a>(client: Option<&'a StepError>, server: Option<&'a StepError>) -> Option<&'a StepError> {
    let knows = |error: &&StepError| error.kind != ErrorKind::PeerLost;
    client.filter(knows).or(server.filter(knows)).or(client).or(server)
}

/// One step from its two halves; their findings go to the document.
fn merge(pending: Pending, server: Half, doc: &mut ResultDoc) -> Step {
    let Pending { mut step, spec, half: client } = pending;
    for (node, half) in [(NodeId::CLIENT, &client), (NodeId::SERVER, &server)] {
        step.lanes.extend(half.lanes.iter().cloned());
        let taken = half.histograms.iter().cloned();
        step.histograms.extend(taken.map(|times| HistogramRecord { node: Some(node), ..times }));
        step.counters.extend(half.counters.iter().map(|(k, v)| (k.clone(), *v)));
        step.chosen.extend(half.chosen.iter().map(|(k, v)| (k.clone(), v.clone())));
        let number = doc.steps.len();
        doc.findings.extend(half.findings.iter().cloned().map(|f| Finding { step: Some(number), ..f }));
    }
    for (end, half) in [(End::Client, &client), (End::Server, &server)] {
        let own = half.evidence.iter().cloned();
        step.evidence.extend(own.map(|evidence| Evidence { node: end.node(), ..evidence }));
    }
    step.error = cause(client.error.as_ref(), server.error.as_ref()).cloned();
    let runner = steps::runner(spec.kind());
    runner.merge(&spec, &mut step, &client, &server);
    let number = doc.steps.len();
    let found = steps::findings(runner, &step, doc);
    doc.findings.extend(found.into_iter().map(|f| Finding { step: Some(number), ..f }));
    step
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::secure::Key;
    use crate::serve::{Listening, Settings};

    fn keyed(text: &str) -> Access {
        Access::Key(Key::new(text))
    }

    fn served() -> SocketAddr {
        let settings = Settings {
            access: keyed("a key of the tests"),
            limits: Default::default(),
            device: None,
            observe: Arc::new(Observed::default),
            clock: RealClock::new(),
            grace: Default::default(),
        };
        let server = Listening::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], settings).unwrap();
        let address = server.addresses()[0];
        server.run_in_background();
        address
    }

    #[test]
    fn nobody_comes_back_to_a_session_that_is_not_theirs() {
        let address = served();
        let resume = Resume { token: "00".repeat(32), seen: 0 };
        let back =
            come_back(address, None, &keyed("a key of the tests"), &resume, &RealClock::new()).unwrap();
        assert!(back.is_err_and(|why| why.contains("does not have the session")));
        assert!(come_back(address, None, &keyed("another key"), &resume, &RealClock::new()).is_err());
    }
}
