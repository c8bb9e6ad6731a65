//! The ports that the roles need on every network that both hosts share: each end listens at its address in each, the other asks from its
//! own, on all networks at once, so that a network on which nothing answers costs no more time than another. Which of them are asked is the
//! client's affair: all, or those that SMB would use beside the one of the session.
//!
//! Neither end's word about its addresses is believed, because an end could be made to look at ports of third hosts. The client opens connections
//! to the address that the server names in a network that both have an address in, and sends datagrams there only when the session's own word
//! came from it. The server speaks to an address of the client's only when the client has said its word from there over a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};
use pathproof_api::{Clock, Offer, Tick};
use pathproof_engine::networks::{NetworkWay, ways, ways_of_both_families};
use pathproof_engine::ports::{self, Heard, Offered, OfferedOn, SILENT_PORTS};
use pathproof_model::{
    AskedPort, Direction, End, Half, LeftSilent, NetworkPorts, OpenedAtOnce, OpenedRecord, Port, PortAnswer,
    PortsEnd, PortsSpec, PortsWhere, RdmaDevice, SilentRecord,
};
use pathproof_sys::clock::RealClock;

use super::dial::{Asked, Dialler, LONGEST, NEEDED_ALONE};
use super::listen::{Listeners, Words};
use super::{Answering, PATIENCE_NS, answers, silence_ns, unreadable, worth_asking};
use crate::steps::{Context, Prepared, Setup, failed};

/// Addresses shown that wait for the server to look at them; each of the client's connections shows one.
const SHOWN_MAX: usize = 128;
/// Half of the connections of a burst that took longer than this are opened once more.
const LATE_NS: u64 = 100_000_000;
/// Why a network was not asked.
const NO_THREAD: &str = "no thread could be had";
/// Why the server did not speak to an address.
const NOT_SHOWN: &str = "no connection from there showed the other end that this address is the session's, and it speaks to nobody else";

/// One end, ready.
pub struct ReadyNetworks {
    end: End,
    spec: PortsSpec,
    ways: Vec<NetworkWay>,
    listeners: Listeners,
    offered: Vec<OfferedOn>,
    words: Words,
    /// Addresses from which the peer has said its word.
    shown: Receiver<IpAddr>,
    told_there: [u8; 32],
    asks_here: [u8; 32],
    /// The peer has an adapter that takes RoCE packets for itself.
    adapter_there: bool,
}

impl ReadyNetworks {
    /// Listens.
    pub fn prepare(spec: PortsSpec, setup: &Setup<'_>) -> ReadyNetworks {
        let session = setup.session;
        let (here, there) = (session.end, session.end.other());
        let ways = match here {
            End::Client if spec.at == PortsWhere::Beside => session.networks_beside(),
            End::Client => ways(&session.environment, &session.peer_environment),
            End::Server => ways_of_both_families(&session.peer_environment, &session.environment),
        };
        let mut listeners = Listeners::default();
        let mut offered = vec![];
        // What the other end asks for here.
        let mut list = spec.needed(asks(there));
        if here == End::Server {
            list.extend(silent_ports(&spec).filter(|port| !list.contains(port)).collect::<Vec<Port>>());
        }
        for way in ways.iter().filter(|_| !list.is_empty()) {
            let ports = listeners.open(SocketAddr::new(address(way, here), 0), &list);
            offered.push(OfferedOn { subnet: way.subnet.clone(), ports });
        }
        let (tell, shown) = bounded(SHOWN_MAX);
        ReadyNetworks {
            end: here,
            listeners,
            offered,
            words: Words {
                peers: ways.iter().map(|way| address(way, there)).collect(),
                told: session.port_word(setup.step, here, false),
                asked: session.port_word(setup.step, there, true),
                shown: Some(tell),
            },
            shown,
            told_there: session.port_word(setup.step, there, false),
            asks_here: session.port_word(setup.step, here, true),
            adapter_there: session.peer_environment.rdma.iter().any(RdmaDevice::is_roce),
            ways,
            spec,
        }
    }
}

/// In which direction an end asks.
fn asks(end: End) -> Direction {
    match end {
        End::Client => Direction::Out,
        End::Server => Direction::In,
    }
}

/// An end's address in a network.
fn address(way: &NetworkWay, end: End) -> IpAddr {
    match end {
        End::Client => way.client,
        End::Server => way.server,
    }
}

impl Prepared for ReadyNetworks {
    fn offers(&self) -> Vec<Offer> {
        // An offer that cannot be written would be a fault in this file; an empty one is refused by the peer.
        vec![Offer(serde_json::to_vec(&self.offered).unwrap_or_default())]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let theirs = peer.first().map(|offer| serde_json::from_slice::<Vec<OfferedOn>>(&offer.0));
        let Some(Ok(theirs)) = theirs else { return failed(unreadable()) };
        let ReadyNetworks {
            end,
            spec,
            ways,
            listeners,
            words,
            shown,
            told_there,
            asks_here,
            adapter_there,
            ..
        } = *self;
        let answering = match Answering::begin(listeners, words) {
            Ok(answering) => answering,
            Err(error) => return failed(error),
        };
        let asking = Asking {
            end,
            needed: spec.needed(asks(end)),
            spec: &spec,
            told: told_there,
            asks: asks_here,
            adapter_there,
            until: context.until,
            clock: context.clock,
        };
        let mut said = PortsEnd::default();
        match end {
            End::Client => {
                for one in asking.all(&ways, &theirs, &mut || context.channel.is_over()) {
                    said.networks.push(one.ports);
                    if !one.silent.tried.is_empty() || !one.silent.used_answered_ns.is_empty() {
                        said.silent_beside.push(one.silent);
                    }
                    said.opened_beside.extend(one.opened);
                }
            }
            End::Server => said.networks = asking.back(&ways, &theirs, &shown),
        }
        // Each end waits for as long as the other may ask, and the client asks for longer where connections are left silent.
        let longest_ns = (LONGEST.as_nanos() as u64).saturating_add(silence_ns(&spec));
        let mut half = answering.end(context, PATIENCE_NS.saturating_add(longest_ns));
        half.detail.ports = Some(said);
        half
    }
}

/// What the client found on one network.
struct Found {
    ports: NetworkPorts,
    silent: SilentRecord,
    opened: Option<OpenedRecord>,
}

/// What an end asks with.
struct Asking<'a> {
    end: End,
    spec: &'a PortsSpec,
    needed: Vec<Port>,
    told: [u8; 32],
    asks: [u8; 32],
    adapter_there: bool,
    until: Tick,
    clock: &'a RealClock,
}

impl Asking<'_> {
    /// At the client: all networks at once, in their order. Whether it is over is asked by the thread that calls, which has the first of them for
    /// itself.
    fn all(
        &self,
        ways: &[NetworkWay],
        theirs: &[OfferedOn],
        is_over: &mut dyn FnMut() -> bool,
    ) -> Vec<Found> {
        let Some((first, others)) = ways.split_first() else { return vec![] };
        let over = AtomicBool::new(false);
        let told = &over;
        std::thread::scope(|scope| {
            let mut asked = vec![];
            for way in others {
                let offered = offered_on(way, theirs);
                let thread = std::thread::Builder::new()
                    .name("network-ports".into())
                    .spawn_scoped(scope, move || self.on(way, offered, &mut || told.load(Ordering::Relaxed)));
                asked.push((way, thread));
            }
            let mut found = vec![self.on(first, offered_on(first, theirs), &mut || {
                let now = is_over();
                told.fetch_or(now, Ordering::Relaxed);
                now
            })];
            found.extend(asked.into_iter().map(|(way, thread)| {
                let found = thread.ok().and_then(|thread| thread.join().ok());
                found.unwrap_or_else(|| self.unknown(way, NO_THREAD))
            }));
            found
        })
    }

    /// At the server: each network that the client asks about, from when on it has shown its address there.
    fn back(&self, ways: &[NetworkWay], theirs: &[OfferedOn], shown: &Receiver<IpAddr>) -> Vec<NetworkPorts> {
        let of_client = |way: &&NetworkWay| offered_on(way, theirs).is_some();
        let mut waiting: Vec<&NetworkWay> = ways.iter().filter(of_client).collect();
        // Later than that none of the client's connections opens.
        let deadline = self.clock.deadline(NEEDED_ALONE.min(self.until.since(self.clock.now())));
        std::thread::scope(|scope| {
            let mut asked = vec![];
            while !waiting.is_empty() && !deadline.is_over() {
                let Ok(from) = shown.recv_timeout(deadline.left()) else { break };
                let (now, later): (Vec<&NetworkWay>, Vec<&NetworkWay>) =
                    waiting.into_iter().partition(|way| way.client == from);
                waiting = later;
                for way in now {
                    let offered = offered_on(way, theirs);
                    // It leaves nothing silent that would have to be ended.
                    let thread = std::thread::Builder::new()
                        .name("network-ports".into())
                        .spawn_scoped(scope, move || self.on(way, offered, &mut || false));
                    asked.push((way, thread));
                }
            }
            let found = asked.into_iter().map(|(way, thread)| {
                let found = thread.ok().and_then(|thread| thread.join().ok());
                found.unwrap_or_else(|| self.unknown(way, NO_THREAD)).ports
            });
            let found: Vec<NetworkPorts> = found.collect();
            let not_shown = waiting.into_iter().map(|way| self.unknown(way, NOT_SHOWN).ports);
            found.into_iter().chain(not_shown).collect()
        })
    }

    fn on(&self, way: &NetworkWay, offered: Option<&[Offered]>, is_over: &mut dyn FnMut() -> bool) -> Found {
        let Some(offered) = offered else {
            return self.unknown(way, "the other end does not know of this network");
        };
        let dialler = Dialler {
            local: SocketAddr::new(address(way, self.end), 0),
            peer: SocketAddr::new(address(way, self.end.other()), 0),
            told: self.told,
            asks: self.asks,
            shows: self.end == End::Client,
            until: self.until,
            clock: self.clock,
        };
        // The client alone leaves connections silent, and not where the other family goes the same way.
        let silent: Vec<Port> = match self.end {
            End::Client => silent_ports(self.spec).collect(),
            End::Server => vec![],
        };
        let leaves = !silent.is_empty() && self.spec.idle_ns > 0 && !way.second_family;
        // Whatever else is offered is nobody's to ask for here.
        let is_meant = |one: &Offered| self.needed.contains(&one.port) || silent.contains(&one.port);
        let offered: Vec<Offered> = offered.iter().copied().filter(is_meant).collect();
        let (udp, tcp) = worth_asking(&offered, &self.needed);
        let heard_tcp = dialler.ask_tcp(&tcp);
        let none_opened = heard_tcp.iter().all(|heard| matches!(heard, Heard::Nothing | Heard::Unreachable));
        // Of the client's address the server knows it already.
        let heard_udp = if self.end == End::Server || heard_tcp.contains(&Heard::Token) {
            dialler.ask_udp(&udp)
        } else {
            let why =
                "no connection showed that this is the other end, and datagrams are sent to nobody else";
            vec![Heard::NotAsked(why.into()); udp.len()]
        };
        let port = |(asked, heard): (&Asked, Heard)| (asked.port, heard);
        let heard: Vec<(Port, Heard)> =
            tcp.iter().zip(heard_tcp).chain(udp.iter().zip(heard_udp)).map(port).collect();
        let found = answers(&offered, &heard, self.adapter_there);
        let port = ports::burst_port(&found, &self.needed);
        let opens = self.end == End::Client && self.spec.at == PortsWhere::Beside;
        let opened = match port {
            Some(port) if opens && !is_over() => self.opened(&dialler, port),
            _ => None,
        };
        let opened = opened.map(|opened| OpenedRecord {
            direction: Direction::Out,
            subnet: Some(way.subnet.clone()),
            local_address: Some(way.client),
            remote_address: Some(way.server),
            opened,
        });
        let (tried, used_ns) = match port.filter(|_| leaves) {
            Some(port) => dialler.leave_silent_beside_one(port, &ports::silences(self.spec.idle_ns), is_over),
            None => (vec![], vec![]),
        };
        // What becomes of ports that no role needs tells whether a family passes at all.
        let is_told =
            |asked: &AskedPort| way.second_family || none_opened || self.needed.contains(&asked.port);
        let found = found.into_iter().filter(is_told);
        Found { opened, ..self.told(way, &found.collect::<Vec<_>>(), tried, used_ns) }
    }

    /// Connections that are opened at once, and once more where half of them took long: a host or a path that stands still for a moment is late by
    /// itself, and seldom twice.
    fn opened(&self, dialler: &Dialler<'_>, port: Port) -> Option<OpenedAtOnce> {
        let count = self.spec.connections;
        let once = Some(count).filter(|count| *count > 0).and_then(|count| dialler.burst(port, count))?;
        // What opens in part only is told as that.
        if once.opened < once.asked || once.median_ns <= Some(LATE_NS) {
            return Some(once);
        }
        let again = dialler.burst(port, count);
        let quicker = again.filter(|again| again.opened >= once.opened && again.median_ns < once.median_ns);
        Some(quicker.unwrap_or(once))
    }

    /// Nothing is known of any port.
    fn unknown(&self, way: &NetworkWay, why: &str) -> Found {
        let asked = |port: &Port| AskedPort {
            port: *port,
            answer: PortAnswer::Unknown,
            by: None,
            reason: Some(why.to_owned()),
        };
        self.told(way, &self.needed.iter().map(asked).collect::<Vec<_>>(), vec![], vec![])
    }

    fn told(
        &self,
        way: &NetworkWay,
        found: &[AskedPort],
        mut tried: Vec<LeftSilent>,
        used_answered_ns: Vec<u64>,
    ) -> Found {
        let direction = asks(self.end);
        let records = found.iter().map(|asked| ports::record(self.spec, asked, direction));
        tried.sort_by_key(|tried| tried.silent_ns);
        let subnet = way.subnet.clone();
        let silent = SilentRecord { direction, subnet: Some(subnet.clone()), tried, used_answered_ns };
        Found { ports: NetworkPorts { subnet, ports: records.collect() }, silent, opened: None }
    }
}

/// Ports at the server that a role need not need: connections may be left silent there, and they are all that is asked beside the session where there is
/// no role.
fn silent_ports(spec: &PortsSpec) -> impl Iterator<Item = Port> + use<> {
    let without_role = spec.at == PortsWhere::Beside && spec.roles.is_empty();
    let asked = spec.idle_ns > 0 || without_role;
    SILENT_PORTS.into_iter().filter(move |_| asked)
}

/// The ports of a network as the other end offers them.
fn offered_on<'a>(way: &NetworkWay, theirs: &'a [OfferedOn]) -> Option<&'a [Offered]> {
    theirs.iter().find(|one| one.subnet == way.subnet).map(|one| &one.ports[..])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pathproof_engine::ports::Listens;
    use pathproof_model::Role;

    use super::*;

    fn asking<'a>(end: End, spec: &'a PortsSpec, clock: &'a RealClock) -> Asking<'a> {
        Asking {
            end,
            needed: spec.needed(asks(end)),
            spec,
            told: [1; 32],
            asks: [2; 32],
            adapter_there: false,
            until: clock.now() + Duration::from_secs(20),
            clock,
        }
    }

    /// A client of a way over the loopback, whose ports nobody else has.
    fn asked(client: [u8; 4], server: [u8; 4], offered: Option<Vec<Offered>>) -> Vec<(String, PortAnswer)> {
        let spec = PortsSpec { roles: vec![Role::Hyperv, Role::Cluster], ..PortsSpec::default() };
        let clock = RealClock::new();
        let asking = asking(End::Client, &spec, &clock);
        let subnet = "127.78.0.0/24".to_owned();
        let way = NetworkWay {
            subnet: subnet.clone(),
            client: client.into(),
            server: server.into(),
            second_family: false,
        };
        let theirs: Vec<OfferedOn> = offered.map(|ports| OfferedOn { subnet, ports }).into_iter().collect();
        let found = asking.all(&[way], &theirs, &mut || false);
        assert_eq!(found.len(), 1);
        found[0].ports.ports.iter().map(|record| (record.name.clone(), record.answer)).collect()
    }

    #[test]
    fn a_network_is_asked_at_its_own_addresses_and_answers_there() {
        let (client, server) = ([127, 78, 0, 1], [127, 78, 0, 2]);
        let mut listeners = Listeners::default();
        let list = [Port::LiveMigration, Port::Cluster, Port::Heartbeat];
        let offered = listeners.open((server, 0).into(), &list);
        assert!(offered.iter().all(|one| one.listens == Listens::Agent), "{offered:?}");
        let (tell, shown) = bounded(SHOWN_MAX);
        let words = Words { peers: vec![client.into()], told: [1; 32], asked: [2; 32], shown: Some(tell) };
        let answering = Answering::begin(listeners, words).unwrap();
        let found = asked(client, server, Some(offered));
        let names = ["6600/tcp", "3343/tcp", "3343/udp"];
        let expected: Vec<_> = names.map(|name| (name.to_owned(), PortAnswer::Answered)).into();
        assert_eq!(found, expected);
        let shown: Vec<IpAddr> = shown.recv_timeout(Duration::from_secs(5)).into_iter().collect();
        assert_eq!(shown, [IpAddr::from(client)], "the client has shown its address by asking");
        drop(answering.ender);
        answering.thread.join().unwrap();
    }

    #[test]
    fn connections_are_left_silent_where_no_role_needs_a_port_and_by_the_client_alone() {
        let (client, server) = ([127, 78, 2, 1], [127, 78, 2, 2]);
        let mut listeners = Listeners::default();
        let ports = listeners.open((server, 0).into(), &SILENT_PORTS);
        let words = Words { peers: vec![client.into()], told: [1; 32], asked: [2; 32], shown: None };
        let answering = Answering::begin(listeners, words).unwrap();
        let (spec, clock) = (PortsSpec { idle_ns: 80_000_000, ..PortsSpec::default() }, RealClock::new());
        let subnet = "127.78.2.0/24".to_owned();
        let way = NetworkWay {
            subnet: subnet.clone(),
            client: client.into(),
            server: server.into(),
            second_family: false,
        };
        let theirs = [OfferedOn { subnet: subnet.clone(), ports }];
        let found = asking(End::Client, &spec, &clock).all(&[way], &theirs, &mut || false);
        let Found { ports: asked, silent, opened } = &found[0];
        assert!(asked.ports.is_empty() && opened.is_none(), "{asked:?} {opened:?}");
        assert_eq!((silent.direction, silent.subnet.as_ref()), (Direction::Out, Some(&subnet)));
        assert_eq!(silent.tried.iter().map(|one| one.alive).collect::<Vec<_>>(), [true; 4], "{silent:?}");
        // The other way round nobody is asked: no role needs a way back.
        let way = NetworkWay { subnet, client: server.into(), server: client.into(), second_family: false };
        let Found { ports: asked, silent, .. } =
            asking(End::Server, &spec, &clock).on(&way, Some(&theirs[0].ports), &mut || false);
        assert!(asked.ports.is_empty() && silent.tried.is_empty(), "{asked:?} {silent:?}");
        drop(answering.ender);
        answering.thread.join().unwrap();
    }

    #[test]
    fn connections_are_opened_at_once_beside_the_session_and_told_with_their_addresses() {
        let (client, server) = ([127, 78, 3, 1], [127, 78, 3, 2]);
        let mut listeners = Listeners::default();
        let ports = listeners.open((server, 0).into(), &SILENT_PORTS);
        let words = Words { peers: vec![client.into()], told: [1; 32], asked: [2; 32], shown: None };
        let answering = Answering::begin(listeners, words).unwrap();
        let subnet = "127.78.3.0/24".to_owned();
        let (here, there) = (IpAddr::from(client), IpAddr::from(server));
        let way = NetworkWay { subnet: subnet.clone(), client: here, server: there, second_family: false };
        let theirs = [OfferedOn { subnet: subnet.clone(), ports }];
        let clock = RealClock::new();
        let opened = |connections: u32, at: PortsWhere| {
            let spec = PortsSpec { connections, at, ..PortsSpec::default() };
            let asking = asking(End::Client, &spec, &clock);
            asking.all(std::slice::from_ref(&way), &theirs, &mut || false).remove(0).opened
        };
        let told = opened(8, PortsWhere::Beside).unwrap();
        assert_eq!((told.opened.asked, told.opened.opened), (8, 8), "{told:?}");
        assert_eq!((told.subnet.as_ref(), told.ends()), (Some(&subnet), Some((here, there))));
        // None are asked for, and every network of a cluster is asked for its ports alone.
        assert_eq!(opened(0, PortsWhere::Beside), None);
        assert_eq!(opened(8, PortsWhere::Networks), None);
        drop(answering.ender);
        answering.thread.join().unwrap();
    }

    /// The server of a way over the loopback whose client offers `ports` there, with the addresses that have shown themselves.
    fn asked_back(
        client: [u8; 4],
        server: [u8; 4],
        ports: Vec<Offered>,
        from: &[[u8; 4]],
    ) -> Vec<NetworkPorts> {
        let spec = PortsSpec { roles: vec![Role::Hyperv], ..PortsSpec::default() };
        let clock = RealClock::new();
        let subnet = "127.78.1.0/24".to_owned();
        let way = NetworkWay {
            subnet: subnet.clone(),
            client: client.into(),
            server: server.into(),
            second_family: false,
        };
        let (tell, shown) = bounded(SHOWN_MAX);
        from.iter().for_each(|address| tell.send(IpAddr::from(*address)).unwrap());
        drop(tell);
        let theirs = if ports.is_empty() { vec![] } else { vec![OfferedOn { subnet, ports }] };
        asking(End::Server, &spec, &clock).back(&[way], &theirs, &shown)
    }

    #[test]
    fn the_way_back_is_asked_at_the_address_that_has_shown_itself() {
        let (client, server) = ([127, 78, 1, 1], [127, 78, 1, 2]);
        let mut listeners = Listeners::default();
        let offered = listeners.open((client, 0).into(), &[Port::LiveMigration]);
        let words = Words { peers: vec![server.into()], told: [1; 32], asked: [2; 32], shown: None };
        let answering = Answering::begin(listeners, words).unwrap();
        let found = asked_back(client, server, offered, &[client]);
        assert_eq!(found.len(), 1);
        let record = &found[0].ports[0];
        assert_eq!((record.port, record.direction), (Port::LiveMigration, Direction::In));
        assert_eq!((record.answer, record.needed_by.as_slice()), (PortAnswer::Answered, &[Role::Hyperv][..]));
        drop(answering.ender);
        answering.thread.join().unwrap();
    }

    #[test]
    fn t22_the_server_speaks_to_no_address_that_has_not_shown_itself() {
        let (client, server) = ([127, 78, 1, 3], [127, 78, 1, 4]);
        let third = std::net::TcpListener::bind((IpAddr::from(client), 6600)).unwrap();
        third.set_nonblocking(true).unwrap();
        let offered = vec![Offered { port: Port::LiveMigration, listens: Listens::Agent }];
        // Somebody else did, and so did nobody.
        for from in [&[[127, 78, 1, 9]][..], &[]] {
            let found = asked_back(client, server, offered.clone(), from);
            assert_eq!(found[0].ports[0].answer, PortAnswer::Unknown, "{found:?}");
            assert_eq!(found[0].ports[0].reason.as_deref(), Some(NOT_SHOWN));
            assert!(third.accept().is_err(), "it was dialled");
        }
        assert!(asked_back(client, server, vec![], &[client]).is_empty(), "the client asks for nothing");
        assert!(third.accept().is_err(), "it was dialled");
    }

    #[test]
    fn t22_who_has_not_said_the_sessions_word_gets_no_datagram() {
        let server = [127, 78, 0, 3];
        let quiet = std::net::UdpSocket::bind((std::net::IpAddr::from(server), 3343)).unwrap();
        quiet.set_nonblocking(true).unwrap();
        let offered =
            [Port::LiveMigration, Port::Heartbeat].map(|port| Offered { port, listens: Listens::Agent });
        let found = asked([127, 78, 0, 1], server, Some(offered.into()));
        let heartbeat = found.iter().find(|(name, _)| name == "3343/udp").unwrap();
        assert_eq!(heartbeat.1, PortAnswer::Unknown, "{found:?}");
        assert!(quiet.recv(&mut [0; 64]).is_err(), "a datagram came");
    }

    #[test]
    fn a_network_that_the_other_end_does_not_know_is_unknown_and_nobody_is_dialled() {
        let found = asked([127, 78, 0, 1], [127, 78, 0, 4], None);
        assert_eq!(found.len(), 6);
        assert!(found.iter().all(|(_, answer)| *answer == PortAnswer::Unknown), "{found:?}");
    }
}
