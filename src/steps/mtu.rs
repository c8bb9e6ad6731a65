//! The exact path MTU of every NIC pair, both directions, both families.
//!
//! Each end opens one answering socket per address and offers them; each end then asks the other's addresses for
//! consent, searches the direction in which *it* sends, both at the same time, and answers the other's probes by small
//! datagrams meanwhile. The
//! control channel carries nothing but "I am done", so a path that loses packets does not slow the search.

pub(super) mod consent;
mod drive;
mod echo;
mod fallback;
pub(super) mod pairs;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use pathproof_api::{Clock, Offer};
use pathproof_dgram::wire::ProbeKey;
use pathproof_dgram::{DgramError, Responder, UnprovenSocket, cached_path_mtu, floor_bytes};
use pathproof_engine::control::StepMessage;
use pathproof_engine::mtu::{self, Ends, Fragments, Report, Search, SearchConfig};
use pathproof_model::{
    Direction, End, ErrorKind, Finding, Half, MtuMethod, MtuPath, MtuRoute, MtuSpec, NodeId, Numbers,
    ResultDoc, SearchedPath, Step, StepError, StepRequest, StepSpec,
};
use pathproof_sys::ending;
use pathproof_sys::errqueue::Family;
use pathproof_sys::routes::{self, ConfiguredMtu};

use consent::{Asked, ask};
use drive::{EndedBy, Job, Prober, drive};
pub use echo::Echo;
use pairs::{Endpoint, Pair};

use super::{
    Context, Cost, Kind, Prepared, Runner, Setup, as_specified, failed, misplaced, no_ending, whole,
};
use crate::budget::out_of_time;
use crate::session::Received;

/// How long an end waits for the other to finish its searches.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Smallest and largest `--expect` that make sense: the least MTU of IPv4 (RFC 791) and the longest IP packet.
pub const EXPECT_BYTES: std::ops::RangeInclusive<u32> = 68..=65_535;

/// The runner.
pub struct Mtu;

struct ReadyMtu {
    end: End,
    spec: MtuSpec,
    seed: u64,
    key: ProbeKey,
    control: (SocketAddr, SocketAddr),
    endpoints: Vec<Endpoint>,
    responder: Responder,
}

pub(super) fn spec_of(spec: &StepSpec) -> MtuSpec {
    spec.mtu().cloned().unwrap_or_default()
}

/// Refuses what cannot be meant.
pub fn check_spec(spec: &MtuSpec) -> Result<(), StepError> {
    let invalid = |message: String| Err(StepError::new(ErrorKind::Invalid, message));
    if let Some(expect) = spec.expect_ip_mtu_bytes.filter(|expect| !EXPECT_BYTES.contains(expect)) {
        let (least, most) = (EXPECT_BYTES.start(), EXPECT_BYTES.end());
        return invalid(format!("--expect {expect} is no IP MTU; give {least} to {most} bytes"));
    }
    if let Some(family) = spec.families.iter().find(|family| !matches!(family, 4 | 6)) {
        return invalid(format!("there is no IPv{family}; give family 4 or 6"));
    }
    Ok(())
}

impl Kind for Mtu {
    fn name(&self, _spec: &StepSpec) -> String {
        "path MTU".into()
    }

    fn duration_ns(&self, _spec: &StepSpec) -> u64 {
        PATIENCE_NS
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        // Three waits for the loss timer on a path that drops silently, at both ends at once; a single NIC was searched before.
        if spec_of(spec).nics.len() == 1 { 600_000_000 } else { 1_500_000_000 }
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Runner for Mtu {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let spec = spec_of(setup.spec);
        check_spec(&spec)?;
        let session = setup.session;
        // NIC names are the client's own; the server offers all it has.
        let filter = match session.end {
            End::Client => spec.clone(),
            End::Server => MtuSpec { nics: Vec::new(), ..spec.clone() },
        };
        let mut endpoints = pairs::endpoints(&session.environment, &filter, session.local.ip())?;
        let key = |from| ProbeKey::new(session.probe_key(setup.step, from));
        let mut responder = Responder::new(key(session.end.other()));
        let mut problem = None;
        endpoints.retain_mut(|endpoint| {
            let listening = responder.listen(endpoint.address, device(endpoint));
            match listening {
                Ok(port) => {
                    endpoint.port = port;
                    true
                }
                // One address that cannot be bound (tentative, just removed) must not spoil the others.
                Err(error) => {
                    problem = Some(error);
                    false
                }
            }
        });
        if let (true, Some(error)) = (endpoints.is_empty(), problem) {
            return Err(probe_error(&error));
        }
        Ok(Box::new(ReadyMtu {
            end: session.end,
            spec,
            seed: session.seed,
            key: key(session.end),
            control: (session.local, session.peer),
            endpoints,
            responder,
        }))
    }

    fn cost(&self, _spec: &StepSpec, _paths: usize) -> Cost {
        // Two sockets, one search and the largest packet for each of the pairs, whose number is bounded.
        Cost { memory_bytes: 16 << 20, ..Cost::default() }
    }

    fn merge(&self, _spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        let mut found: Vec<SearchedPath> = Vec::new();
        for half in [client, server] {
            found.extend(half.detail.paths.iter().cloned());
        }
        step.detail.paths = Some(worth_reporting(found));
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        let context = mtu::Context {
            expect_ip_mtu_bytes: step.spec.as_ref().and_then(|spec| spec_of(spec).expect_ip_mtu_bytes),
            client: doc.environment(NodeId::CLIENT),
            server: doc.environment(NodeId::SERVER),
            client_counted: step.evidence(NodeId::CLIENT),
            server_counted: step.evidence(NodeId::SERVER),
        };
        mtu::findings(step.detail.paths.as_deref().unwrap_or_default(), context)
    }
}

/// Leaves out the pairs that were only worth a try and turned out not to reach each other.
fn worth_reporting(found: Vec<SearchedPath>) -> Vec<MtuPath> {
    let same =
        |a: &MtuPath, b: &MtuPath| (a.local_address, a.remote_address) == (b.local_address, b.remote_address);
    let keep: Vec<bool> = found
        .iter()
        .map(|one| {
            one.ought || found.iter().any(|o| same(&o.path, &one.path) && o.path.proven_ip_bytes.is_some())
        })
        .collect();
    let kept = found.into_iter().zip(keep).filter(|(_, keep)| *keep);
    let mut paths = fallback::settled(kept.map(|(one, _)| one.path).collect());
    paths.sort_by(|a, b| {
        let key =
            |p: &MtuPath| (p.local_nic.clone(), p.remote_nic.clone(), p.family, p.direction == Direction::In);
        key(a).cmp(&key(b))
    });
    paths
}

/// The device to bind to. Loopback, unknown NICs and those by which nothing leaves the host are left to the routes.
pub(super) fn device(endpoint: &Endpoint) -> Option<&str> {
    let by_routes =
        endpoint.goes_by_routes || endpoint.address.is_loopback() || endpoint.nic == pairs::UNNAMED;
    (!by_routes).then_some(endpoint.nic.as_str())
}

impl Prepared for ReadyMtu {
    fn offers(&self) -> Vec<Offer> {
        // An offer that cannot be written would be a fault in this file; an empty one is refused by the peer.
        vec![Offer(serde_json::to_vec(&self.endpoints).unwrap_or_default())]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let ReadyMtu { end, spec, seed, key, control, endpoints, responder } = *self;
        let theirs: Vec<Endpoint> = match peer.first().map(|offer| serde_json::from_slice(&offer.0)) {
            Some(Ok(theirs)) => theirs,
            _ => {
                return failed(StepError::new(
                    ErrorKind::Protocol,
                    "the peer's list of NICs cannot be read; are both ends of the same version? Compare pathproof --version"
                        .into(),
                ));
            }
        };
        let (ender, ending) = match ending::pair() {
            Ok(pair) => pair,
            Err(error) => return failed(no_ending(&error)),
        };
        let answering = std::thread::spawn(move || responder.run(&ending));
        let control = (control.0.ip().to_canonical(), control.1.ip().to_canonical());
        let pairs = pairs::pairs(&endpoints, &theirs, control);
        let chosen = Chosen { pairs: &pairs, ours: &endpoints, theirs: &theirs };
        let (found, mut half) = search_all(end, &spec, seed, &key, &chosen, control.1, context);
        half.detail.paths = found;
        if half.error.is_none() {
            half.error = await_peer(context);
        }
        drop(ender);
        match answering.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                half.error.get_or_insert(probe_error(&error));
            }
            Err(_) => {
                half.error.get_or_insert(StepError::new(
                    ErrorKind::System,
                    "the thread that answers probes ended unexpectedly; run again with -v, and report what it says".into(),
                ));
            }
        }
        half
    }
}

/// Says "done" and keeps answering probes until the peer says so too.
fn await_peer(context: &mut Context<'_>) -> Option<StepError> {
    context.channel.send(StepMessage::Searched);
    match context.channel.receive(context.clock.now().plus_ns(PATIENCE_NS)) {
        Received::Message(StepMessage::Searched) | Received::PeerDone => None,
        Received::Message(other) => Some(misplaced(&other)),
        Received::Lost(error) | Received::PeerFailed(error) => Some(error),
        Received::Interrupted => Some(interrupted()),
        Received::OutOfTime => Some(out_of_time("the peer's half of the path-MTU search was not awaited")),
        Received::Nothing => Some(StepError::new(
            ErrorKind::Timeout,
            "the peer did not finish its half of the path-MTU search; read the log of `pathproof serve` there, and run again".into(),
        )),
    }
}

fn interrupted() -> StepError {
    crate::interrupt::error()
}

/// What stopped a probe socket, as the error of a step; too few descriptors with their fix.
pub(super) fn probe_error(error: &DgramError) -> StepError {
    let (kind, message) = match (error, error.source().and_then(|source| source.downcast_ref())) {
        (DgramError::NoEcho { .. }, _) => (ErrorKind::Unsupported, error.to_string()),
        (_, Some(source)) => match crate::descriptors::advice(source) {
            Some(advice) => (ErrorKind::Resource, advice),
            None => (ErrorKind::System, error.to_string()),
        },
        _ => (ErrorKind::System, error.to_string()),
    };
    StepError::new(kind, message)
}

/// What to probe between.
struct Chosen<'a> {
    pairs: &'a [Pair],
    ours: &'a [Endpoint],
    theirs: &'a [Endpoint],
}

impl<'a> Chosen<'a> {
    /// Both ends of a pair, this one first.
    fn ends(&self, pair: &Pair) -> (&'a Endpoint, &'a Endpoint) {
        (&self.ours[pair.local], &self.theirs[pair.remote])
    }
}

/// One path while it is looked at: what the kernel believed of it before, and what came of it.
struct Looked<'a> {
    pair: &'a Pair,
    /// What came of asking by datagrams, where nobody answered and echoes were tried instead.
    unanswered: Option<Unanswered>,
    config: SearchConfig,
    /// Path MTU in the kernel's cache, where it is below the interface's.
    cached: Option<u32>,
    route: Option<MtuRoute>,
}

/// Datagrams that nobody answered.
struct Unanswered {
    report: Report,
    error: Option<DgramError>,
}

fn search_all(
    end: End,
    spec: &MtuSpec,
    seed: u64,
    key: &ProbeKey,
    chosen: &Chosen<'_>,
    known: IpAddr,
    context: &mut Context<'_>,
) -> (Vec<SearchedPath>, Half) {
    let mut half = Half::default();
    let mut looked = Vec::new();
    let mut sockets = Vec::new();
    for (number, pair) in chosen.pairs.iter().enumerate() {
        let (here, there) = chosen.ends(pair);
        let to = SocketAddr::new(there.address, there.port);
        // What the kernel believes must be read before the first probe teaches it better.
        let cached = cached_path_mtu(here.address, device(here), to).ok();
        let local_mtu = here.ip_mtu_bytes.or(cached);
        let config = SearchConfig {
            seed: seed.wrapping_add(number as u64),
            hint_bytes: [here.ip_mtu_bytes, there.ip_mtu_bytes, spec.expect_ip_mtu_bytes]
                .into_iter()
                .flatten()
                .collect(),
            ..SearchConfig::new(
                floor_bytes(Family::of(here.address)),
                [local_mtu, there.ip_mtu_bytes, spec.expect_ip_mtu_bytes]
                    .into_iter()
                    .flatten()
                    .max()
                    .unwrap_or(9000),
            )
        };
        match UnprovenSocket::bind(here.address, device(here), to, key.clone()) {
            Ok(socket) => {
                sockets.push((socket, there.address, pair.ought));
                let cached = cached.filter(|cached| local_mtu.is_some_and(|mtu| *cached < mtu));
                let route = route_below(there.address, here);
                looked.push(Looked { pair, unanswered: None, config, cached, route });
            }
            Err(error) => {
                half.error.get_or_insert(probe_error(&error));
            }
        }
    }
    let mut jobs = Vec::new();
    let mut searched = Vec::new();
    let mut found = Vec::new();
    for (asked, mut look) in ask(sockets, known, context.clock).into_iter().zip(looked) {
        let unanswered = match asked {
            Asked::Consented(socket) => {
                let search = Search::new(look.config.clone());
                let (here, _) = chosen.ends(look.pair);
                jobs.push(Job::new(Prober::Udp(socket), search).and_fragments_above(here.ip_mtu_bytes));
                searched.push(look);
                continue;
            }
            Asked::Silent { challenges, unreachable_from } => {
                Unanswered { report: Report::no_consent(challenges, unreachable_from), error: None }
            }
            Asked::Failed(error) => Unanswered { report: Report::no_consent(0, vec![]), error: Some(error) },
        };
        let (here, there) = chosen.ends(look.pair);
        match fallback::job(here, there, known, key, &look.config).filter(|_| look.pair.ought) {
            Some(job) => {
                look.unanswered = Some(unanswered);
                jobs.push(job);
                searched.push(look);
            }
            None => found.push(path(end, chosen, &look, &unanswered.report, unanswered.error.as_ref())),
        }
    }
    let total = jobs.len();
    let progress = context.progress.as_deref_mut();
    let cut = drive(&mut jobs, context.clock, EndedBy::Session(&mut *context.channel), progress);
    if let Err(error) = &cut {
        half.error = Some(no_ending(error));
    }
    if cut.unwrap_or_default() {
        half.error = Some(match context.channel.receive(context.clock.now()) {
            Received::Lost(error) | Received::PeerFailed(error) => error,
            Received::Interrupted => interrupted(),
            _ => out_of_time(&format!("the search for the MTU of {total} paths was cut short")),
        });
    }
    for (job, look) in jobs.iter().zip(&searched) {
        let (report, by_search) = (job.search.report(), job.error.as_ref());
        found.push(match &look.unanswered {
            None => {
                let mut told = path(end, chosen, look, &report, by_search);
                told.path.fragments = job.fragments.as_ref().map(Fragments::tried);
                told
            }
            Some(_) if report.proven_ip_bytes.is_some() => {
                let SearchedPath { path, ought } = path(end, chosen, look, &report, by_search);
                SearchedPath { path: fallback::by_echo(path), ought }
            }
            // Echoes are no better answered: what datagrams came to stands.
            Some(asked) => path(end, chosen, look, &asked.report, asked.error.as_ref()),
        });
    }
    (found, half)
}

/// One path in the form of the result document, seen from the client whichever end this is.
fn path(
    end: End,
    chosen: &Chosen<'_>,
    look: &Looked<'_>,
    report: &Report,
    error: Option<&DgramError>,
) -> SearchedPath {
    let (here, there) = chosen.ends(look.pair);
    let ends = Ends { sender_ip_mtu_bytes: here.ip_mtu_bytes, receiver_ip_mtu_bytes: there.ip_mtu_bytes };
    let (client, server, direction) = match end {
        End::Client => (here, there, Direction::Out),
        End::Server => (there, here, Direction::In),
    };
    let path = MtuPath {
        local_nic: client.nic.clone(),
        remote_nic: Some(server.nic.clone()),
        local_address: client.address,
        remote_address: server.address,
        family: family_of(client.address),
        direction,
        local_ip_mtu_bytes: client.ip_mtu_bytes,
        remote_ip_mtu_bytes: server.ip_mtu_bytes,
        cached_ip_mtu_bytes: look.cached,
        route: look.route.clone(),
        ..measured(MtuMethod::Agent, report, mtu::classify(report, ends), error)
    };
    SearchedPath { path, ought: look.pair.ought }
}

/// The route to `to`, where it is set to less than the interface it leaves by.
fn route_below(to: IpAddr, here: &Endpoint) -> Option<MtuRoute> {
    let ConfiguredMtu { destination, ip_mtu_bytes, locked } = routes::configured_mtu(to, &here.nic)?;
    let route = MtuRoute { destination, ip_mtu_bytes, locked };
    here.ip_mtu_bytes.is_none_or(|mtu| ip_mtu_bytes < mtu).then_some(route)
}

fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// The part of a path that the search itself knows.
fn measured(
    method: MtuMethod,
    report: &Report,
    limit: pathproof_model::MtuLimit,
    error: Option<&DgramError>,
) -> MtuPath {
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    MtuPath {
        local_nic: String::new(),
        remote_nic: None,
        local_address: unspecified,
        remote_address: unspecified,
        family: 4,
        direction: Direction::Both,
        method,
        ip_mtu_bytes: report.ip_mtu_bytes,
        limit,
        numbers: report.ip_mtu_bytes.map(Numbers::from_ip_mtu),
        proven_ip_bytes: report.proven_ip_bytes,
        reason: error.map(|error| probe_error(error).message).or_else(|| mtu::reason(report)),
        local_ip_mtu_bytes: None,
        remote_ip_mtu_bytes: None,
        cached_ip_mtu_bytes: None,
        route: None,
        routers: report.routers_for_document(),
        largest_fragment_bytes: report.largest_fragment_bytes,
        throttled: report.throttled,
        fitting_sent: report.fitting_sent,
        fitting_lost: report.fitting_lost,
        probes: report.probes,
        loss_rounds: report.loss_rounds,
        elapsed_ns: report.elapsed_ns,
        fragments: None,
        tried: report.tried_for_document(),
    }
}
