//! The ports of the real job, each way, and how many connections open at once.
//!
//! Each end listens for the length of the step on those ports of the list that are free at the session's address, offers how it stands
//! to each, and speaks to the other's. It refuses to speak to anybody but the session's peer and to any port off the list: neither an
//! address nor a port is in what crosses. What a port of UDP carries beyond an answer is `ports/paced.rs`. The same on every network that the hosts share, or on those that SMB would use beside the one of the
//! session, is `ports/networks.rs`. The pure half is `pathproof_engine::ports`.

mod dial;
mod listen;
mod networks;
mod paced;

use std::net::SocketAddr;
use std::thread::JoinHandle;

use pathproof_api::Offer;
use pathproof_engine::networks::WAYS_MAX;
use pathproof_engine::ports::{self, CONNECTIONS_MAX, Heard, IDLE_NS_MAX, Listens, Offered};
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    AskedPort, Direction, End, ErrorKind, Finding, Half, NetworkPorts, Port, PortsEnd, PortsSpec, PortsWhere,
    RdmaDevice, ResultDoc, Role, Step, StepError, StepRequest, StepSpec,
};

use super::{
    Context, Cost, Kind, Prepared, Runner, SessionFacts, Setup, as_specified, both_done, failed, no_ending,
    whole,
};
use dial::{Asked, Dialler};
use listen::{Listeners, Words};
use pathproof_sys::ending::{self, Ender};

/// How long an end waits for the other to have asked all, beyond its own time.
const PATIENCE_NS: u64 = 10_000_000_000;
/// What silent connections may take after their time, where some of them are dead.
const AFTER_SILENCE_NS: u64 = 3_000_000_000;
/// Longest time for which connections on the networks beside the session's are left silent: half of that on its own, and no more than this, because
/// it comes on top of it.
const BESIDE_IDLE_NS_MAX: u64 = 15_000_000_000;
/// Most connections that are opened at once on each of those networks: enough that half of them is a number, and few enough that the other end keeps those
/// of all networks open.
const BESIDE_CONNECTIONS: u32 = 8;
/// It is not begun with less.
const LEAST_NS: u64 = 500_000_000;

/// The runner.
pub struct Ports;

struct ReadyPorts {
    spec: PortsSpec,
    local: SocketAddr,
    peer: SocketAddr,
    listeners: Listeners,
    /// How this end stands to each port.
    offered: Vec<Offered>,
    words: Words,
    told_there: [u8; 32],
    asks_here: [u8; 32],
    /// The ports that the roles need in this end's direction.
    needed: Vec<Port>,
    /// The peer has an adapter that takes RoCE packets for itself.
    adapter_there: bool,
}

/// What silent connections take: their time, and what follows where some of them are dead.
fn silence_ns(spec: &PortsSpec) -> u64 {
    if spec.idle_ns == 0 { 0 } else { spec.idle_ns.min(IDLE_NS_MAX) + AFTER_SILENCE_NS }
}

/// The step that asks for the ports of another one's roles on the networks that SMB would use beside the one of the session, where there are such
/// networks, opens some connections at once there and leaves others silent: what a firewall lets through, looks at or remembers on one NIC it may treat
/// otherwise on another.
pub fn beside(spec: &StepSpec, session: &SessionFacts) -> Option<StepSpec> {
    let asked = spec.ports().filter(|ports| ports.at.is_session())?;
    // Datagrams go to nobody who has not said the session's word over a connection.
    let connects = asked.needed(Direction::Out).iter().any(|port| !port.is_udp());
    let ways = session.networks_beside();
    // The other family between the same NICs goes the same way: silence there tells nothing more.
    let others = ways.iter().any(|way| !way.second_family);
    let idle_ns = if others { (asked.idle_ns / 2).min(BESIDE_IDLE_NS_MAX) } else { 0 };
    let connections = asked.connections.min(BESIDE_CONNECTIONS);
    let more = PortsSpec { connections, idle_ns, at: PortsWhere::Beside, ..asked.clone() };
    // A check that leaves nothing silent is in a hurry.
    ((connects || asked.idle_ns > 0) && !ways.is_empty()).then_some(StepSpec::Ports(more))
}

fn spec_of(spec: &StepSpec) -> PortsSpec {
    spec.ports().cloned().unwrap_or_default()
}

/// Refuses what cannot be meant.
pub fn check_spec(spec: &PortsSpec) -> Result<(), StepError> {
    if spec.roles.len() > Role::COUNT {
        let message = format!("{} roles; there are {}", spec.roles.len(), Role::COUNT);
        return Err(StepError::new(ErrorKind::Invalid, message));
    }
    if spec.idle_ns > IDLE_NS_MAX {
        let message = format!("{} of silence; ask for at most 5 minutes", Nanoseconds(spec.idle_ns));
        return Err(StepError::new(ErrorKind::Invalid, message));
    }
    if spec.connections > CONNECTIONS_MAX {
        let message = format!("{} connections at once; ask for 0 to {CONNECTIONS_MAX}", spec.connections);
        return Err(StepError::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

impl Kind for Ports {
    fn name(&self, spec: &StepSpec) -> String {
        match spec_of(spec).at {
            PortsWhere::Session => "ports and connections".into(),
            PortsWhere::Networks => "ports of every network".into(),
            PortsWhere::Beside => "ports of the other networks".into(),
        }
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        (dial::LONGEST.as_nanos() as u64).saturating_add(PATIENCE_NS + 2 * silence_ns(&spec_of(spec)))
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        if !spec_of(spec).at.is_session() {
            return (dial::NEEDED_ALONE.as_nanos() as u64).saturating_add(silence_ns(&spec_of(spec)));
        }
        let usual = if spec_of(spec).roles.is_empty() { dial::USUAL } else { dial::USUAL + dial::CERTAIN };
        (usual.as_nanos() as u64).saturating_add(silence_ns(&spec_of(spec)))
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        // Silence takes what is left; a step without it is worth something too.
        let asked = spec_of(spec);
        let usual_ns = (dial::USUAL.as_nanos() as u64).saturating_add(AFTER_SILENCE_NS);
        let idle_ns = asked.idle_ns.min(left_ns.saturating_sub(usual_ns));
        whole(&StepSpec::Ports(PortsSpec { idle_ns, ..asked }), LEAST_NS, left_ns)
    }
}

impl Runner for Ports {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let spec = spec_of(setup.spec);
        check_spec(&spec)?;
        if !spec.at.is_session() {
            return Ok(Box::new(networks::ReadyNetworks::prepare(spec, setup)));
        }
        let session = setup.session;
        let (here, there) = (session.end, session.end.other());
        let devices = &session.peer_environment.rdma;
        let direction = match here {
            End::Client => Direction::Out,
            End::Server => Direction::In,
        };
        let mut listeners = Listeners::default();
        let offered = listeners.open(session.local, spec.list.ports());
        Ok(Box::new(ReadyPorts {
            needed: spec.needed(direction),
            local: session.local,
            peer: session.peer,
            listeners,
            offered,
            spec,
            words: Words {
                peers: vec![session.peer.ip().to_canonical()],
                told: session.port_word(setup.step, here, false),
                asked: session.port_word(setup.step, there, true),
                shown: None,
            },
            told_there: session.port_word(setup.step, there, false),
            asks_here: session.port_word(setup.step, here, true),
            adapter_there: devices.iter().any(RdmaDevice::is_roce),
        }))
    }

    fn cost(&self, spec: &StepSpec, _paths: usize) -> Cost {
        // Both ends of every connection, with what the kernel keeps for each.
        const CONNECTION_BYTES: u64 = 64 << 10;
        let (places, bursts) = match spec_of(spec).at {
            PortsWhere::Session => (1, 1),
            PortsWhere::Networks => (WAYS_MAX as u64, 0),
            PortsWhere::Beside => (WAYS_MAX as u64, WAYS_MAX as u64),
        };
        let connections = bursts * u64::from(spec_of(spec).connections) + places * Port::ALL.len() as u64;
        let memory_bytes = (2 * connections).saturating_mul(CONNECTION_BYTES);
        Cost {
            memory_bytes,
            time_ns: (dial::LONGEST.as_nanos() as u64).saturating_add(spec_of(spec).idle_ns),
            ..Cost::default()
        }
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        let (client, server) = (client.detail.ports.as_ref(), server.detail.ports.as_ref());
        if !spec_of(spec).at.is_session() {
            // Without a role connections are only left silent, and ports asked where the other family goes the same way.
            let spec = spec_of(spec);
            let asked = spec.at == PortsWhere::Networks || !spec.roles.is_empty();
            let found = client.map(|end| ports::on_networks(&spec, end, server));
            let some = |networks: &Vec<NetworkPorts>| networks.iter().any(|one| !one.ports.is_empty());
            step.detail.network_ports = found.filter(|networks| asked || some(networks));
            step.detail.left_silent =
                client.map(|end| end.silent_beside.clone()).filter(|all| !all.is_empty());
            step.detail.opened_at_once = Some(ports::opened_beside(client)).filter(|all| !all.is_empty());
            return;
        }
        let (records, bursts) = ports::merge(&spec_of(spec), client, server);
        step.detail.left_silent = Some(ports::left_silent(client, server)).filter(|all| !all.is_empty());
        step.detail.port_datagrams =
            Some(ports::datagrams::merge(client, server)).filter(|all| !all.is_empty());
        step.detail.ports = Some(records);
        step.detail.opened_at_once = Some(bursts);
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, step: &Step, _doc: &ResultDoc) -> Vec<Finding> {
        let records = step.detail.ports.as_deref().unwrap_or_default();
        let bursts = step.detail.opened_at_once.as_deref().unwrap_or_default();
        let mut found = ports::findings(records, bursts, &step.evidence);
        let silent = step.detail.left_silent.as_deref().unwrap_or_default();
        found.extend(ports::forgotten(silent, step.error.as_ref()));
        let counted = step.detail.port_datagrams.as_deref().unwrap_or_default();
        found.extend(ports::not_counted(records, counted));
        found
    }
}

impl Prepared for ReadyPorts {
    fn offers(&self) -> Vec<Offer> {
        // An offer that cannot be written would be a fault in this file; an empty one is refused by the peer.
        vec![Offer(serde_json::to_vec(&self.offered).unwrap_or_default())]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let offered = peer.first().map(|offer| serde_json::from_slice::<Vec<Offered>>(&offer.0));
        let Some(Ok(offered)) = offered else { return failed(unreadable()) };
        let answering = match Answering::begin(self.listeners, self.words) {
            Ok(answering) => answering,
            Err(error) => return failed(error),
        };
        let dialler = Dialler {
            local: self.local,
            peer: self.peer,
            told: self.told_there,
            asks: self.asks_here,
            shows: false,
            until: context.until,
            clock: context.clock,
        };
        let found = ask(&dialler, &offered, &self.needed, self.adapter_there);
        let datagrams =
            if context.channel.is_over() { vec![] } else { paced::count(&dialler, &found, &self.needed) };
        let burst = (self.spec.connections > 0 && !context.channel.is_over())
            .then(|| ports::burst_port(&found, &self.needed))
            .flatten()
            .and_then(|port| dialler.burst(port, self.spec.connections));
        let silences = ports::silences(self.spec.idle_ns);
        let silent = match ports::burst_port(&found, &self.needed).filter(|_| !silences.is_empty()) {
            Some(port) => dialler.leave_silent(port, &silences, &mut || context.channel.is_over()),
            None => vec![],
        };
        let patience_ns = PATIENCE_NS.saturating_add(silence_ns(&self.spec));
        let mut half = answering.end(context, patience_ns);
        half.detail.ports =
            Some(PortsEnd { ports: found, connections: burst, silent, datagrams, ..PortsEnd::default() });
        half
    }
}

/// Why nothing can be made of what the other end offers.
fn unreadable() -> StepError {
    let message = "the peer's list of ports cannot be read; are both ends of the same version?".to_owned();
    StepError::new(ErrorKind::Protocol, message)
}

/// The thread that answers at this end's ports, and who ends it.
struct Answering {
    ender: Ender,
    thread: JoinHandle<()>,
}

impl Answering {
    fn begin(listeners: Listeners, words: Words) -> Result<Answering, StepError> {
        let (ender, ending) = ending::pair().map_err(|error| no_ending(&error))?;
        let thread = listeners.answer(words, ending).map_err(|error| StepError::new(
            ErrorKind::System,
            format!(
                "the thread that answers at ports could not be started: {error}; raise the limit (ulimit -u)"
            ),
        ))?;
        Ok(Answering { ender, thread })
    }

    /// Waits until the other end has asked all, too. The half has nothing yet but what stopped it.
    fn end(self, context: &mut Context<'_>, patience_ns: u64) -> Half {
        let error = both_done(context, patience_ns, "its questions");
        drop(self.ender);
        let mut half = Half { error, ..Half::default() };
        if self.thread.join().is_err() {
            half.error.get_or_insert(StepError::new(
                ErrorKind::System,
                "the thread that answers at ports ended unexpectedly; run again with -v, and report what it says".into(),
            ));
        }
        half
    }
}

/// How the other end stands to a port, where it offers it.
fn listens(offered: &[Offered], port: Port) -> Option<Listens> {
    offered.iter().find(|offered| offered.port == port).map(|offered| offered.listens)
}

/// The ports that are worth speaking to: those of datagrams, and those of connections.
fn worth_asking(offered: &[Offered], needed: &[Port]) -> (Vec<Asked>, Vec<Asked>) {
    let asked =
        |port: Port| Some(Asked { port, listens: listens(offered, port)?, needed: needed.contains(&port) });
    let all = Port::ALL.into_iter().filter_map(asked);
    all.filter(|asked| ports::is_asked(asked.port, asked.listens)).partition(|asked| asked.port.is_udp())
}

/// What was heard at the ports that the other end offers, as it means.
fn answers(offered: &[Offered], heard: &[(Port, Heard)], adapter_there: bool) -> Vec<AskedPort> {
    let of = |port: Port| {
        let listens = listens(offered, port)?;
        let heard = heard.iter().find(|(known, _)| *known == port).map(|(_, heard)| heard.clone());
        Some(ports::answer(port, listens, heard.unwrap_or(Heard::Nothing), adapter_there))
    };
    Port::ALL.into_iter().filter_map(of).collect()
}

/// Speaks to every port of the list, datagrams beside connections.
fn ask(dialler: &Dialler<'_>, offered: &[Offered], needed: &[Port], adapter_there: bool) -> Vec<AskedPort> {
    let (udp, tcp) = worth_asking(offered, needed);
    let (heard_tcp, heard_udp) = std::thread::scope(|scope| {
        let beside = std::thread::Builder::new().spawn_scoped(scope, || dialler.ask_udp(&udp));
        let heard_tcp = dialler.ask_tcp(&tcp);
        let heard_udp = beside.ok().and_then(|thread| thread.join().ok());
        (heard_tcp, heard_udp)
    });
    let no_thread = || vec![Heard::NotAsked("no thread could be had".into()); udp.len()];
    let heard: Vec<(Port, Heard)> = (tcp.iter().zip(heard_tcp))
        .chain(udp.iter().zip(heard_udp.unwrap_or_else(no_thread)))
        .map(|(asked, heard)| (asked.port, heard))
        .collect();
    answers(offered, &heard, adapter_there)
}
