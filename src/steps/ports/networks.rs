//! The ports that the roles need on every network that both hosts share: the server listens at its address in each, the client asks from its
//! own, on all networks at once, so that a network on which nothing answers costs no more time than another. Which of them are asked is the
//! client's affair: all, or those that SMB would use beside the one of the session.
//!
//! The client alone asks, because the server could be made to look at ports of third hosts: what a client says of its addresses is only its word.
//! The server's word is not believed either: the client opens connections to the address that the server names in a network that both have an
//! address in, and sends datagrams there only when the session's own word came from it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use pathproof_api::{Offer, Tick};
use pathproof_engine::networks::{NetworkWay, ways};
use pathproof_engine::ports::{self, Heard, Offered, OfferedOn, SILENT_PORTS};
use pathproof_model::{
    AskedPort, Direction, End, Half, LeftSilent, NetworkPorts, Port, PortAnswer, PortsEnd, PortsSpec,
    PortsWhere, RdmaDevice, SilentRecord,
};
use pathproof_sys::clock::RealClock;

use super::dial::{Asked, Dialler, LONGEST};
use super::listen::{Listeners, Words};
use super::{Answering, PATIENCE_NS, answers, silence_ns, unreadable, worth_asking};
use crate::steps::{Context, Prepared, Setup, failed};

/// One end, ready.
pub struct ReadyNetworks {
    end: End,
    spec: PortsSpec,
    ways: Vec<NetworkWay>,
    listeners: Listeners,
    offered: Vec<OfferedOn>,
    words: Words,
    told_there: [u8; 32],
    asks_here: [u8; 32],
    /// The peer has an adapter that takes RoCE packets for itself.
    adapter_there: bool,
}

impl ReadyNetworks {
    /// Listens, at the server.
    pub fn prepare(spec: PortsSpec, setup: &Setup<'_>) -> ReadyNetworks {
        let session = setup.session;
        let (here, there) = (session.end, session.end.other());
        let ways = match here {
            End::Client if spec.at == PortsWhere::Beside => session.networks_beside(),
            End::Client => ways(&session.environment, &session.peer_environment),
            End::Server => ways(&session.peer_environment, &session.environment),
        };
        let mut listeners = Listeners::default();
        let mut offered = vec![];
        if here == End::Server {
            let mut list = spec.needed(Direction::Out);
            if spec.idle_ns > 0 {
                let more: Vec<Port> = SILENT_PORTS.into_iter().filter(|port| !list.contains(port)).collect();
                list.extend(more);
            }
            for way in &ways {
                let ports = listeners.open(SocketAddr::new(way.server, 0), &list);
                offered.push(OfferedOn { subnet: way.subnet.clone(), ports });
            }
        }
        ReadyNetworks {
            end: here,
            listeners,
            offered,
            words: Words {
                peers: ways.iter().map(|way| way.client).collect(),
                told: session.port_word(setup.step, here, false),
                asked: session.port_word(setup.step, there, true),
            },
            told_there: session.port_word(setup.step, there, false),
            asks_here: session.port_word(setup.step, here, true),
            adapter_there: session.peer_environment.rdma.iter().any(RdmaDevice::is_roce),
            ways,
            spec,
        }
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
        let ReadyNetworks { end, spec, ways, listeners, words, told_there, asks_here, adapter_there, .. } =
            *self;
        let answering = match Answering::begin(listeners, words) {
            Ok(answering) => answering,
            Err(error) => return failed(error),
        };
        let asking = Asking {
            needed: spec.needed(Direction::Out),
            spec: &spec,
            told: told_there,
            asks: asks_here,
            adapter_there,
            until: context.until,
            clock: context.clock,
        };
        let found = match end {
            End::Client => asking.all(&ways, &theirs, &mut || context.channel.is_over()),
            End::Server => vec![],
        };
        // The server waits for as long as the client may ask.
        let longest_ns = (LONGEST.as_nanos() as u64).saturating_add(silence_ns(&spec));
        let mut half = answering.end(context, PATIENCE_NS.saturating_add(longest_ns));
        let (networks, silent): (Vec<NetworkPorts>, Vec<SilentRecord>) = found.into_iter().unzip();
        let silent_beside = silent.into_iter().filter(|record| !record.tried.is_empty()).collect();
        half.detail.ports = Some(PortsEnd { networks, silent_beside, ..PortsEnd::default() });
        half
    }
}

/// What the client asks with.
struct Asking<'a> {
    spec: &'a PortsSpec,
    needed: Vec<Port>,
    told: [u8; 32],
    asks: [u8; 32],
    adapter_there: bool,
    until: Tick,
    clock: &'a RealClock,
}

impl Asking<'_> {
    /// All networks at once, in their order. Whether it is over is asked by the thread that calls, which has the first of them for itself.
    fn all(
        &self,
        ways: &[NetworkWay],
        theirs: &[OfferedOn],
        is_over: &mut dyn FnMut() -> bool,
    ) -> Vec<(NetworkPorts, SilentRecord)> {
        let Some((first, others)) = ways.split_first() else { return vec![] };
        let offered_on =
            |way: &NetworkWay| theirs.iter().find(|one| one.subnet == way.subnet).map(|one| &one.ports[..]);
        let over = AtomicBool::new(false);
        let told = &over;
        std::thread::scope(|scope| {
            let mut asked = vec![];
            for way in others {
                let offered = offered_on(way);
                let thread = std::thread::Builder::new()
                    .name("network-ports".into())
                    .spawn_scoped(scope, move || self.on(way, offered, &mut || told.load(Ordering::Relaxed)));
                asked.push((way, thread));
            }
            let mut found = vec![self.on(first, offered_on(first), &mut || {
                let now = is_over();
                told.fetch_or(now, Ordering::Relaxed);
                now
            })];
            found.extend(asked.into_iter().map(|(way, thread)| {
                let found = thread.ok().and_then(|thread| thread.join().ok());
                found.unwrap_or_else(|| self.unknown(way, "no thread could be had"))
            }));
            found
        })
    }

    fn on(
        &self,
        way: &NetworkWay,
        offered: Option<&[Offered]>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> (NetworkPorts, SilentRecord) {
        let Some(offered) = offered else {
            return self.unknown(way, "the other end does not know of this network");
        };
        let dialler = Dialler {
            local: SocketAddr::new(way.client, 0),
            peer: SocketAddr::new(way.server, 0),
            told: self.told,
            asks: self.asks,
            until: self.until,
            clock: self.clock,
        };
        let (udp, tcp) = worth_asking(offered, &self.needed);
        let heard_tcp = dialler.ask_tcp(&tcp);
        let heard_udp = if heard_tcp.contains(&Heard::Token) {
            dialler.ask_udp(&udp)
        } else {
            let why =
                "no connection showed that this is the other end, and datagrams are sent to nobody else";
            vec![Heard::NotAsked(why.into()); udp.len()]
        };
        let port = |(asked, heard): (&Asked, Heard)| (asked.port, heard);
        let heard: Vec<(Port, Heard)> =
            tcp.iter().zip(heard_tcp).chain(udp.iter().zip(heard_udp)).map(port).collect();
        let found = answers(offered, &heard, self.adapter_there);
        let silences = ports::silences(self.spec.idle_ns);
        let silent = match ports::burst_port(&found, &self.needed).filter(|_| !silences.is_empty()) {
            Some(port) => dialler.leave_silent_beside_one(port, &silences, is_over),
            None => vec![],
        };
        let found = found.into_iter().filter(|asked| self.needed.contains(&asked.port));
        self.told(way, &found.collect::<Vec<_>>(), silent)
    }

    /// Nothing is known of any port.
    fn unknown(&self, way: &NetworkWay, why: &str) -> (NetworkPorts, SilentRecord) {
        let asked = |port: &Port| AskedPort {
            port: *port,
            answer: PortAnswer::Unknown,
            by: None,
            reason: Some(why.to_owned()),
        };
        self.told(way, &self.needed.iter().map(asked).collect::<Vec<_>>(), vec![])
    }

    fn told(
        &self,
        way: &NetworkWay,
        found: &[AskedPort],
        mut tried: Vec<LeftSilent>,
    ) -> (NetworkPorts, SilentRecord) {
        let records = found.iter().map(|asked| ports::record(self.spec, asked, Direction::Out));
        tried.sort_by_key(|tried| tried.silent_ns);
        let subnet = way.subnet.clone();
        let silent = SilentRecord { direction: Direction::Out, subnet: Some(subnet.clone()), tried };
        (NetworkPorts { subnet, ports: records.collect() }, silent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pathproof_api::Clock;
    use pathproof_engine::ports::Listens;
    use pathproof_model::Role;

    use super::*;

    /// A client of a way over the loopback, whose ports nobody else has.
    fn asked(client: [u8; 4], server: [u8; 4], offered: Option<Vec<Offered>>) -> Vec<(String, PortAnswer)> {
        let spec = PortsSpec { roles: vec![Role::Hyperv, Role::Cluster], ..PortsSpec::default() };
        let clock = RealClock::new();
        let asking = Asking {
            needed: spec.needed(Direction::Out),
            spec: &spec,
            told: [1; 32],
            asks: [2; 32],
            adapter_there: false,
            until: clock.now() + Duration::from_secs(20),
            clock: &clock,
        };
        let subnet = "127.78.0.0/24".to_owned();
        let way = NetworkWay { subnet: subnet.clone(), client: client.into(), server: server.into() };
        let theirs: Vec<OfferedOn> = offered.map(|ports| OfferedOn { subnet, ports }).into_iter().collect();
        let found = asking.all(&[way], &theirs, &mut || false);
        assert_eq!(found.len(), 1);
        found[0].0.ports.iter().map(|record| (record.name.clone(), record.answer)).collect()
    }

    #[test]
    fn a_network_is_asked_at_its_own_addresses_and_answers_there() {
        let (client, server) = ([127, 78, 0, 1], [127, 78, 0, 2]);
        let mut listeners = Listeners::default();
        let list = [Port::LiveMigration, Port::Cluster, Port::Heartbeat];
        let offered = listeners.open((server, 0).into(), &list);
        assert!(offered.iter().all(|one| one.listens == Listens::Agent), "{offered:?}");
        let words = Words { peers: vec![client.into()], told: [1; 32], asked: [2; 32] };
        let answering = Answering::begin(listeners, words).unwrap();
        let found = asked(client, server, Some(offered));
        let names = ["6600/tcp", "3343/tcp", "3343/udp"];
        let expected: Vec<_> = names.map(|name| (name.to_owned(), PortAnswer::Answered)).into();
        assert_eq!(found, expected);
        drop(answering.ender);
        answering.thread.join().unwrap();
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
