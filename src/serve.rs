//! The peer: listens, tells control from data connections, and serves many clients, one after the other and
//! at once up to its limit.
//!
//! It grants, never obeys: every plan and every step is held against its limits. Before a client has proved the
//! key it costs one bounded thread for a bounded time; a stray connection is closed and named in the log. While
//! nobody is connected it sleeps in `accept` and wakes for nothing.

mod grant;
mod memory;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use pathproof_api::{Clock, Offer, Tick};
use pathproof_engine::control::{
    Accept, Go, LANE_MAGIC, MAGIC, PREAMBLE_BYTES, Patience, Ready, Resume, Server, ServerEvent,
};
use pathproof_model::environment::Observed;
use pathproof_model::{ErrorKind, Half, Limits, StepError, StepRequest, StepSpec};
use pathproof_tcp::LanePreamble;

use crate::clock::RealClock;
use crate::coordinate::{hex, prepare_socket, tool};
use crate::offers;
use crate::registry::Registry;
use crate::secure::{self, Key};
use crate::session::{Fresh, Link, Revival, Session};
use crate::steps::{self, Context, End, Prepared, SessionFacts, Setup};
use memory::{MemoryBudget, Reserved};

/// How long a connection may take to say what it is, and to prove the key.
const FIRST_BYTES: Duration = Duration::from_secs(5);
/// How long a client whose connection fell silent may stay away.
const AWAY: Duration = Duration::from_secs(15);
/// Connections that have not yet said what they are; more are closed at once.
const UNKNOWN_MAX: u32 = 256;

/// Observes this host anew for each client.
pub type Observe = Arc<dyn Fn() -> Observed + Send + Sync>;

/// A server's settings.
#[derive(Clone)]
pub struct Settings {
    /// The key that clients must have.
    pub key: Key,
    /// What it grants at most.
    pub limits: Limits,
    /// The RDMA device to use; `None` for the one with the address that a client reached.
    pub device: Option<String>,
    /// Observes the host.
    pub observe: Observe,
}

/// A server with its listeners bound.
pub struct Listening {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    registry: Registry,
    /// Of all clients together.
    memory: Arc<MemoryBudget>,
    clients: AtomicU32,
    unknown: AtomicU32,
    /// Sessions that a client may come back to, by token.
    returns: Mutex<BTreeMap<String, mpsc::Sender<Result<Fresh, String>>>>,
    /// Never set by anything today but kept apart from the client's flag: a server ends by signal.
    interrupt: Arc<AtomicBool>,
}

impl Shared {
    fn returns(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Result<Fresh, String>>>> {
        // Nothing under this lock can be left half done, so a panic elsewhere does not spoil it.
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more while it lives, if there is room.
struct Place<'a>(&'a AtomicU32);

impl Place<'_> {
    fn take(counter: &AtomicU32, max: u32) -> Option<Place<'_>> {
        let taken = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        // Lazily: a place that is made must be given back.
        taken.is_ok().then(|| Place(counter))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listening {
    /// Binds all addresses, or says which cannot be bound.
    pub fn bind(addresses: &[SocketAddr], mut settings: Settings) -> anyhow::Result<Listening> {
        use anyhow::Context as _;
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listener = TcpListener::bind(address).with_context(|| {
                format!("cannot listen on {address}; is another pathproof serve running, or the address not of this host?")
            })?;
            listeners.push(listener);
        }
        let total = settings.limits.total_memory_bytes.unwrap_or_else(half_of_available_memory);
        settings.limits.total_memory_bytes = Some(total);
        let shared = Shared {
            settings,
            registry: Registry::new(),
            memory: MemoryBudget::new(total),
            clients: AtomicU32::new(0),
            unknown: AtomicU32::new(0),
            returns: Mutex::default(),
            interrupt: Arc::new(AtomicBool::new(false)),
        };
        Ok(Listening { listeners, shared: Arc::new(shared) })
    }

    /// The addresses bound, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.local_addr().ok()).collect()
    }

    /// Serves until the process ends.
    pub fn run(self) {
        std::thread::scope(|scope| {
            for listener in &self.listeners {
                let shared = &self.shared;
                scope.spawn(move || accept_all(listener, shared));
            }
        });
    }

    /// Serves on threads of this process while it lives (`--self`).
    pub fn run_in_background(self) {
        for listener in self.listeners {
            let shared = self.shared.clone();
            std::thread::spawn(move || accept_all(&listener, &shared));
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                let shared = shared.clone();
                let spawned = std::thread::Builder::new()
                    .name("connection".into())
                    .spawn(move || connection(stream, from, &shared));
                if let Err(error) = spawned {
                    tracing::warn!(%from, "turned away: no thread for it ({error})");
                }
            }
            // Out of file descriptors or the like: it passes, but must not spin.
            Err(error) => {
                let advice = crate::descriptors::advice(&error);
                tracing::warn!(
                    "a connection cannot be taken: {}",
                    advice.unwrap_or_else(|| error.to_string())
                );
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Finds out what a fresh connection is, and hands it on.
fn connection(mut stream: TcpStream, from: SocketAddr, shared: &Shared) {
    let Some(place) = Place::take(&shared.unknown, UNKNOWN_MAX) else {
        tracing::warn!(%from, "closed at once: {UNKNOWN_MAX} other connections have not said what they are");
        return;
    };
    let mut magic = [0; 8];
    let told = stream.set_read_timeout(Some(FIRST_BYTES)).and_then(|()| stream.read_exact(&mut magic));
    if let Err(error) = told {
        tracing::warn!(%from, "closed: it did not say what it is ({error})");
        return;
    }
    if magic == LANE_MAGIC {
        match LanePreamble::read_after(&magic, &stream, FIRST_BYTES) {
            Ok(preamble) => {
                if let Err(error) = shared.registry.door().deliver(&preamble, stream) {
                    tracing::warn!(%from, "data connection refused: {error}");
                }
            }
            Err(error) => tracing::warn!(%from, "data connection refused: {error}"),
        }
        return;
    }
    if magic != MAGIC {
        tracing::warn!(%from, "closed: a stray connection (first bytes {magic:02x?})");
        return;
    }
    let mut preamble = [0; PREAMBLE_BYTES];
    preamble[..8].copy_from_slice(&magic);
    if let Err(error) = stream.read_exact(&mut preamble[8..]) {
        tracing::warn!(%from, "closed: its preamble was cut short ({error})");
        return;
    }
    let addresses = match (stream.local_addr(), prepare_socket(&stream)) {
        (Ok(local), Ok(())) => (local, from),
        _ => return,
    };
    match secure::accept(stream, &preamble, &shared.settings.key, FIRST_BYTES) {
        Ok(halves) => {
            drop(place);
            let clock = RealClock::new();
            let machine = Server::new(clock.now(), Patience::default());
            match Link::new(halves, addresses) {
                Ok(link) => {
                    serve_client(Session::new(machine, clock, link, shared.interrupt.clone()), from, shared);
                    pathproof_api::os::release_heap();
                }
                Err(error) => tracing::warn!(%from, "no thread for the session: {error}"),
            }
        }
        Err(error) => tracing::warn!(%from, "closed in the handshake: {error}"),
    }
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
    let secret = match random_secret() {
        Ok(secret) => secret,
        Err(error) => {
            session.machine.reject(vec![format!("the peer has no random numbers: {error}")]);
            session.flush();
            return;
        }
    };
    tracing::info!(%from, steps = granted.len(), "client accepted");
    let facts = SessionFacts {
        end: End::Server,
        secret,
        local: session.local(),
        peer: session.peer(),
        limits: limits.clone(),
        seed: hello.plan.seed,
        environment: observed.environment.clone(),
        peer_environment: hello.environment.clone(),
    };
    session.allow_large_messages();
    let asked: Vec<StepSpec> = hello.plan.steps.iter().map(StepRequest::to_spec).collect();
    let outlives = facts.outlives_its_path(&asked);
    let now = session.clock.now();
    session.machine.accept(
        now,
        Accept {
            tool: tool(),
            granted,
            limits: limits.clone(),
            environment: observed.environment,
            findings: observed.findings,
            session: hex(&secret),
        },
    );
    let _expected = outlives.then(|| expect_back(&mut session, facts.resume_token(), shared));
    let ended = turns(&mut session, &facts, shared);
    match ended {
        None => tracing::info!(%from, "client done"),
        Some(error) => tracing::warn!(%from, "client lost: {}", error.message),
    }
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
    let (found, fresh) = mpsc::channel();
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
fn turns(session: &mut Session<Server>, facts: &SessionFacts, shared: &Shared) -> Option<StepError> {
    let mut half: Option<Half> = None;
    loop {
        let (ended, go) = match session.event(Tick(u64::MAX)) {
            Some(ServerEvent::Turn { ended, go }) => (ended, go),
            Some(ServerEvent::Over(error)) => return error,
            Some(ServerEvent::Hello(_) | ServerEvent::Resume(_)) | None => return None,
            // Late news of a step that is over here.
            Some(ServerEvent::Step(_) | ServerEvent::PeerFailed(_) | ServerEvent::Delivered) => continue,
        };
        let mut next = None;
        let ready = go.map(|go| {
            let (ready, underway) = prepare(&go, facts, shared);
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
        if let Some(Underway { prepared, offers, _memory }) = next {
            let clock = session.clock.clone();
            let mut context = Context { channel: session, clock: &clock, progress: &mut |_| {} };
            half = Some(steps::run(prepared, End::Server, &mut context, offers));
        }
    }
}

/// A step that is ready to run, with the memory that it was given.
struct Underway {
    prepared: Box<dyn Prepared>,
    offers: Vec<Offer>,
    _memory: Reserved,
}

/// The answer to a step that is to go on, and the step where it does.
fn prepare(go: &Go, facts: &SessionFacts, shared: &Shared) -> (Ready, Option<Underway>) {
    let blank = Ready { step: go.step, offers: vec![], error: None, findings: vec![] };
    match ready(go, facts, shared) {
        Ok((own, underway)) => (Ready { offers: offers::to_texts(&own), ..blank }, Some(underway)),
        Err(error) => (Ready { error: Some(error), ..blank }, None),
    }
}

fn ready(go: &Go, facts: &SessionFacts, shared: &Shared) -> Result<(Vec<Offer>, Underway), StepError> {
    let mut spec = go.request.to_spec();
    let Some(runner) = steps::runner(spec.kind()) else {
        let message = format!("the peer's build has no {:?} step; update it", spec.kind());
        return Err(StepError { kind: ErrorKind::Unsupported, message });
    };
    let cost = runner.cost(&spec, go.paths.len());
    grant::fits(&cost, &facts.limits).map_err(grant::refused)?;
    let memory = shared.memory.reserve(cost.memory_bytes)?;
    if let Some(device) = &shared.settings.device {
        spec.choose_device(device);
    }
    let setup =
        Setup { step: go.step, spec: &spec, paths: &go.paths, session: facts, registry: &shared.registry };
    let at_the_peer = |e: StepError| StepError { message: format!("at the peer: {}", e.message), ..e };
    let prepared = runner.prepare(&setup).map_err(at_the_peer)?;
    let own = prepared.offers();
    let theirs = offers::from_texts(&go.offers, own.len()).map_err(at_the_peer)?;
    Ok((own, Underway { prepared, offers: theirs, _memory: memory }))
}

/// What steps may take together where nobody said how much. A host that does not tell has no such limit.
fn half_of_available_memory() -> u64 {
    crate::host::memory_available_bytes().map_or(u64::MAX, |bytes| bytes / 2)
}

fn random_secret() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}

/// A key that nobody can guess, for a server that was given none.
pub fn one_time_key() -> std::io::Result<String> {
    Ok(hex(&random_secret()?[..16]))
}

/// Whether every address is one that only this machine can reach, so that no key is needed.
pub fn all_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|a| match a.ip() {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback(),
    })
}
