//! The peer: serves many clients, one after the other and at once up to its limit.
//!
//! Who may come in is decided at the door (`serve/door.rs`); here a client has proved the key. It grants, never obeys: every plan and every
//! step is held against its limits. While nobody is connected it sleeps and wakes for nothing.

mod door;
mod listen;
mod origin;
pub mod sink;
pub mod spoken;
mod stranger_log;
mod visit;
mod wrong_keys;

mod deadline;
mod grant;
mod memory;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use pathproof_api::manners::DEVICE;
use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{Accept, Go, Patience, Ready, Resume, Server, ServerEvent};
use pathproof_model::environment::Observed;
use pathproof_model::{End, ErrorKind, Half, Limits, StepError, StepRequest, StepSpec};
use snow::StatelessTransportState;

use crate::encoding::hex;
use crate::host::peers;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::run::tool;
use crate::secure::{self, Access, SecureReader, SecureWriter, is_loopback, random_bytes};
use crate::session::{Fresh, Link, Revival, Session};
use crate::steps::{self, Context, ReadyPart, SessionFacts, Setup, StepPart};
use crate::wall;
pub use deadline::Grace;
use memory::{MemoryBudget, Reserved};
use pathproof_sys::clock::RealClock;
use visit::Visit;

/// How long a client whose connection fell silent may stay away.
const AWAY: Duration = Duration::from_secs(15);
/// Observes this host anew for each client.
pub type Observe = Arc<dyn Fn() -> Observed + Send + Sync>;

/// Takes over a client that has proved the key: the two halves of its channel, and the addresses of both ends. The place that it has
/// inside is given back when this returns.
pub type Instead = Arc<dyn Fn((SecureWriter, SecureReader), SocketAddr, SocketAddr) + Send + Sync>;

/// A server's settings.
#[derive(Clone)]
pub struct Settings {
    /// Who may be a client.
    pub access: Access,
    /// What it grants at most.
    pub limits: Limits,
    /// The RDMA device to use; `None` for the one with the address that a client reached.
    pub device: Option<String>,
    /// Observes the host.
    pub observe: Observe,
    /// The clock of the process.
    pub clock: RealClock,
    /// Whether it says on standard error who runs what, and how it ended.
    pub tells: bool,
    /// How long it waits for the end of a step that takes longer than it should.
    pub grace: Grace,
}

/// A server with its listeners bound.
pub struct Listening {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    /// Who takes clients over, where they are to be no sessions.
    instead: Option<Instead>,
    registry: Registry,
    /// Of all clients together.
    memory: Arc<MemoryBudget>,
    /// Clients that are served.
    clients: Arc<AtomicU32>,
    /// Connections with a client thread: those served, and those that are greeting.
    inside: Arc<AtomicU32>,
    /// Sessions that a client may come back to, by token.
    returns: Mutex<BTreeMap<String, Sender<Result<Fresh, String>>>>,
}

impl Shared {
    fn returns(&self) -> MutexGuard<'_, BTreeMap<String, Sender<Result<Fresh, String>>>> {
        // Nothing under this lock can be left half done, so a panic elsewhere does not spoil it.
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more while it lives, if there is room.
struct Place(Arc<AtomicU32>);

impl Place {
    fn take(counter: &Arc<AtomicU32>, max: u32) -> Option<Place> {
        let taken = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        // Lazily: a place that is made must be given back.
        taken.is_ok().then(|| Place(counter.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listening {
    /// Listens on all addresses, or says on which it cannot.
    pub fn bind(addresses: &[SocketAddr], settings: Settings) -> anyhow::Result<Listening> {
        Ok(Listening::behind(listen::on(addresses)?, settings, None))
    }

    /// Listens on every address of this host, of both families.
    pub fn everywhere(port: u16, settings: Settings) -> anyhow::Result<Listening> {
        Ok(Listening::behind(listen::everywhere(port)?, settings, None))
    }

    /// The same for clients that are to be no sessions: the door is the same, and `take` has who came through it.
    pub fn for_another(port: u16, settings: Settings, take: Instead) -> anyhow::Result<Listening> {
        Ok(Listening::behind(listen::everywhere(port)?, settings, Some(take)))
    }

    fn behind(listeners: Vec<TcpListener>, mut settings: Settings, instead: Option<Instead>) -> Listening {
        let total = settings.limits.total_memory_bytes.unwrap_or_else(half_of_available_memory);
        settings.limits.total_memory_bytes = Some(total);
        let shared = Shared {
            registry: Registry::new(&settings.clock),
            settings,
            instead,
            memory: MemoryBudget::new(total),
            clients: Arc::default(),
            inside: Arc::default(),
            returns: Mutex::default(),
        };
        Listening { listeners, shared: Arc::new(shared) }
    }

    /// The addresses listened on, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.local_addr().ok()).collect()
    }

    /// Serves until the process ends.
    pub fn run(self) {
        door::Door::new(self.listeners, self.shared).keep();
    }

    /// Serves on threads of this process while it lives (`--self`).
    pub fn run_in_background(self) {
        std::thread::spawn(|| self.run());
    }
}

/// A client that has proved the key, on its own thread.
fn converse(stream: TcpStream, cipher: StatelessTransportState, from: SocketAddr, shared: &Shared) {
    let link = stream.local_addr().map(origin::canonical).and_then(|local| {
        let halves = secure::channel(stream, cipher)?;
        match &shared.instead {
            Some(take) => {
                take(halves, local, from);
                Ok(None)
            }
            None => Link::new(halves, (local, from)).map(Some),
        }
    });
    let link = match link {
        Ok(Some(link)) => link,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%from, "cannot take up the session: {error}"),
    };
    let clock = shared.settings.clock.clone();
    let machine = Server::new(clock.now(), Patience::default());
    // A server ends by signal at once, so there is nothing to interrupt.
    serve_client(Session::new(machine, clock, link, Interrupt::never()), from, shared);
    pathproof_sys::process::release_heap();
}

/// One client from greeting to leave.
fn serve_client(mut session: Session<Server>, from: SocketAddr, shared: &Shared) {
    let hello = match session.event(Tick(u64::MAX)) {
        Some(ServerEvent::Hello(hello)) => hello,
        Some(ServerEvent::Resume(resume)) => return hand_over(session, &resume, from, shared),
        Some(ServerEvent::Over(Some(error))) => {
            tracing::warn!(%from, "left before greeting: {}", error.message);
            return;
        }
        _ => return,
    };
    let heard_ns = wall::now_ns();
    let limits = &shared.settings.limits;
    let Some(_place) = Place::take(&shared.clients, limits.clients) else {
        tracing::warn!(%from, "refused: {} clients are being served", limits.clients);
        let reason = format!(
            "the peer serves {} clients at once and all places are taken; try again, or start it with a higher --limits clients=N",
            limits.clients
        );
        session.machine.reject(vec![reason]);
        session.flush();
        return;
    };
    let observed = (shared.settings.observe)();
    let granted = match grant::plan(&hello.plan, limits) {
        Ok(granted) => granted,
        Err(reasons) => {
            tracing::warn!(%from, "refused: {}", reasons.join("; "));
            session.machine.reject(reasons);
            session.flush();
            return;
        }
    };
    let secret = match random_bytes() {
        Ok(secret) => secret,
        Err(error) => {
            session.machine.reject(vec![format!("the peer has no random numbers: {error}")]);
            session.flush();
            return;
        }
    };
    let key = if shared.settings.access.is_keyed() { "proved" } else { "none" };
    tracing::info!(%from, key, steps = granted.len(), "client accepted");
    let mut here = observed.environment;
    peers::learn_routes(&mut here, &hello.environment, session.peer().ip());
    let facts = SessionFacts {
        end: End::Server,
        secret,
        local: session.local(),
        peer: session.peer(),
        limits: limits.clone(),
        seed: hello.plan.seed,
        environment: here.clone(),
        peer_environment: hello.environment.clone(),
    };
    session.allow_large_messages();
    let asked: Vec<StepSpec> = hello.plan.steps.iter().map(StepRequest::to_spec).collect();
    let outlives = facts.outlives_its_path(&asked);
    let now = session.clock.now();
    let tells = shared.settings.tells;
    let mut visit = Visit::begin(tells, from, &hello.environment, &hello.plan.steps, now);
    session.machine.accept(
        now,
        Accept {
            tool: tool(),
            granted,
            limits: limits.clone(),
            environment: here,
            findings: observed.findings,
            session: hex(&secret),
            clock: wall::stamps_since(heard_ns),
        },
    );
    let _expected = outlives.then(|| expect_back(&mut session, facts.resume_token(), shared));
    let ended = turns(&mut session, &facts, shared, &mut visit);
    visit.end(ended.as_ref(), session.clock.now());
}

/// Withdraws the right to come back to a session when it ends.
struct Expected<'a>(&'a Shared, String);

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.0.returns().remove(&self.1);
    }
}

/// From here on the client may come back to `session` when the path of its connection dies.
fn expect_back<'a>(session: &mut Session<Server>, token: String, shared: &'a Shared) -> Expected<'a> {
    let (found, fresh) = unbounded();
    shared.returns().insert(token.clone(), found);
    session.survive(Revival { fresh, dial: None, patience: AWAY });
    Expected(shared, token)
}

/// A client came back on a fresh connection: its session takes that over.
fn hand_over(mut session: Session<Server>, resume: &Resume, from: SocketAddr, shared: &Shared) {
    let found = shared.returns().get(&resume.token).cloned();
    let Some(found) = found else {
        tracing::warn!(%from, "refused: it comes back to a session that is not here");
        session.machine.reject(vec!["the peer does not have the session any more".into()]);
        return session.flush();
    };
    tracing::info!(%from, "a client came back over another way");
    // A session that ends at this very moment needs no connection.
    let _ = found.send(Ok(Fresh { link: session.into_link(), seen: resume.seen }));
}

/// Follows the client through its steps. Returns why the session was lost, if it was.
fn turns(
    session: &mut Session<Server>,
    facts: &SessionFacts,
    shared: &Shared,
    visit: &mut Visit,
) -> Option<StepError> {
    let mut half: Option<Half> = None;
    // By when the client must have ended the step that ran here; the time between steps is the state machine's affair.
    let mut until = Tick(u64::MAX);
    // Each step has a number of its own, from which the secrets of its lanes follow.
    let mut numbers = 0;
    loop {
        let (ended, go) = match session.event(until) {
            Some(ServerEvent::Turn { ended, go }) => {
                visit.steps += u32::from(ended.is_some());
                (ended, go)
            }
            Some(ServerEvent::Over(error)) => return error,
            // Late news of a step that is over here.
            Some(ServerEvent::Step(_) | ServerEvent::PeerFailed(_) | ServerEvent::Delivered)
                if session.clock.now() < until =>
            {
                continue;
            }
            _ if session.clock.now() >= until => {
                let message = "the client did not end its step in time".to_owned();
                session.machine.bye(&message);
                session.flush();
                return Some(StepError::new(ErrorKind::Timeout, message));
            }
            _ => return None,
        };
        let mut next = None;
        let ready = go.map(|go| {
            let (ready, underway) = prepare(&go, numbers, facts, shared);
            numbers = go.step.saturating_add(1).max(numbers);
            next = underway;
            ready
        });
        let now = session.clock.now();
        session.machine.turned(now, ended.map(|_| half.take().unwrap_or_default()), ready);
        // A large half goes out as the client takes it.
        loop {
            match session.event(Tick(u64::MAX)) {
                Some(ServerEvent::Delivered) => break,
                Some(ServerEvent::Over(error)) => return error,
                Some(_) => {}
                None => return None,
            }
        }
        until = Tick(u64::MAX);
        if let Some(Underway { part, length_ns, _memory }) = next {
            let clock = session.clock.clone();
            let grace = shared.settings.grace;
            let deadline = grace.deadline(length_ns, clock.now());
            until = deadline + grace.last_word;
            let mut timed = deadline::Timed::new(session, clock.clone(), deadline);
            let mut context = Context {
                channel: &mut timed,
                clock: &clock,
                until: Tick(u64::MAX),
                progress: None,
                evidence: None,
            };
            half = Some(part.run(&mut context));
        }
    }
}

/// A step that is ready to run, with the memory that it was given.
struct Underway {
    part: ReadyPart,
    /// Longest time that it may take, in ns.
    length_ns: u64,
    _memory: Reserved,
}

/// The answer to a step that is to go on, and the step where it does. Numbers below `numbers` have been used.
fn prepare(go: &Go, numbers: u32, facts: &SessionFacts, shared: &Shared) -> (Ready, Option<Underway>) {
    let blank = Ready { step: go.step, offers: vec![], error: None, findings: vec![] };
    let used = StepError::new(
        ErrorKind::Protocol,
        format!("step {} has been there before; each step has a number of its own", go.step),
    );
    let made = if go.step < numbers { Err(used) } else { ready(go, facts, shared) };
    match made {
        Ok((offers, underway)) => (Ready { offers, ..blank }, Some(underway)),
        Err(error) => (Ready { error: Some(error), ..blank }, None),
    }
}

fn ready(go: &Go, facts: &SessionFacts, shared: &Shared) -> Result<(Vec<String>, Underway), StepError> {
    let mut spec = go.request.to_spec();
    let runner = steps::asked(&go.request);
    let cost = runner.cost(&spec, go.paths.len());
    grant::fits(&cost, &facts.limits).map_err(grant::refused)?;
    grant::permitted(&spec, &facts.limits).map_err(grant::refused)?;
    let memory = shared.memory.reserve(cost.memory_bytes)?;
    let by_adapter = spec.over().is_some_and(|over| crate::registry::manners(over).adapter);
    if let (Some(device), true, Some(options)) = (&shared.settings.device, by_adapter, spec.options_mut()) {
        DEVICE.write(options, device.clone());
    }
    let setup =
        Setup { step: go.step, spec: &spec, paths: &go.paths, session: facts, registry: &shared.registry };
    let at_the_peer = |e: StepError| StepError { message: format!("at the peer: {}", e.message), ..e };
    let part = StepPart::prepare(runner, &setup).map_err(at_the_peer)?;
    let offers = part.offers();
    let part = part.with(&go.offers).map_err(at_the_peer)?;
    // Round trips may take any time each; all of them together take no longer than other steps.
    let length_ns = runner.duration_ns(&spec).min(facts.limits.step_ns.saturating_mul(3));
    Ok((offers, Underway { part, length_ns, _memory: memory }))
}

/// What steps may take together where nobody said how much. A host that does not tell has no such limit.
fn half_of_available_memory() -> u64 {
    crate::host::memory_available_bytes().map_or(u64::MAX, |bytes| bytes / 2)
}

/// Whether every address is one that only this machine can reach, so that no key is needed.
pub fn all_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|a| is_loopback(a.ip()))
}
