//! Lanes that go to a port of the real job in the place of the session's own: the server listens there for the length of the step, at its address of
//! the session.
//!
//! It refuses every port off the list, whoever is not the session's peer, and a connection that does not open as a lane which is expected: what
//! comes in goes to the door with the lanes of the session's own port, or is closed.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::Offer;
use pathproof_model::{End, ErrorKind, Half, Port, StepError, TrafficKind, TrafficSpec};
use pathproof_sys::AsDescriptor;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::{self, Ending};
use pathproof_tcp::{LaneDoor, LanePreamble};

use crate::registry::manners;
use crate::steps::{Context, Prepared, SessionFacts, Setup, failed, no_ending};

/// How long a connection may take to open as a lane.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses what no lane can do.
pub(super) fn check(kind: TrafficKind, spec: &TrafficSpec) -> Result<(), StepError> {
    let Some(port) = spec.port else { return Ok(()) };
    let own = manners(&spec.over);
    let plain = own.segments && !own.several_nics && !own.adapter;
    if kind.is_bulk() && plain && !port.is_udp() {
        return Ok(());
    }
    let message = format!(
        "{} has no stream of its own; a port of the real job is for streams over plain TCP, and one of TCP's",
        port.name()
    );
    Err(StepError::new(ErrorKind::Invalid, message))
}

/// Where lanes are dialled at the other end.
pub(super) fn at(peer: SocketAddr, port: Option<Port>) -> SocketAddr {
    port.map_or(peer, |port| SocketAddr::new(peer.ip(), port.number()))
}

/// Listens on a port for the lanes of a step.
pub(super) struct Listener {
    socket: TcpListener,
    peer: IpAddr,
    door: Arc<LaneDoor>,
    clock: RealClock,
}

impl Listener {
    /// At the server, where the step is about a port.
    pub(super) fn open(spec: &TrafficSpec, setup: &Setup<'_>) -> Result<Option<Listener>, StepError> {
        match spec.port.filter(|_| setup.session.end == End::Server) {
            Some(port) => {
                let (door, clock) = (setup.registry.door().clone(), setup.registry.clock().clone());
                Listener::on(port, setup.session, door, clock).map(Some)
            }
            None => Ok(None),
        }
    }

    fn on(
        port: Port,
        session: &SessionFacts,
        door: Arc<LaneDoor>,
        clock: RealClock,
    ) -> Result<Listener, StepError> {
        let opened = TcpListener::bind(at(session.local, Some(port)));
        let opened = opened.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let socket = opened.map_err(|error| StepError::new(
            ErrorKind::Unsupported,
            format!(
                "nobody can listen on {} here: {error}; stop what holds it, or run pathproof serve as root",
                port.name()
            ),
        ))?;
        Ok(Listener { socket, peer: session.peer.ip().to_canonical(), door, clock })
    }

    /// Takes in lanes until the end comes.
    fn keep(&self, ending: &Ending) {
        while ending.wait_readable(&[self.socket.descriptor()], None).unwrap_or(false) {
            self.take();
        }
    }

    fn take(&self) {
        let Ok((stream, from)) = self.socket.accept() else { return };
        if from.ip().to_canonical() != self.peer {
            return;
        }
        // What is no lane, or one that nobody expects, is closed with its connection.
        if let Ok(preamble) = LanePreamble::read_after(&[], &stream, &self.clock.deadline(PATIENCE)) {
            let _ = self.door.deliver(&preamble, stream);
        }
    }
}

/// Lanes beside it.
pub(super) struct OverPort {
    pub listener: Listener,
    pub lanes: Box<dyn Prepared>,
}

impl Prepared for OverPort {
    fn offers(&self) -> Vec<Offer> {
        self.lanes.offers()
    }

    fn paths(&self) -> Vec<u32> {
        self.lanes.paths()
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let OverPort { listener, lanes } = *self;
        let (ender, ending) = match ending::pair() {
            Ok(pair) => pair,
            Err(error) => return failed(no_ending(&error)),
        };
        let keeping = std::thread::Builder::new().name("lane-port".into());
        let keeping = match keeping.spawn(move || listener.keep(&ending)) {
            Ok(keeping) => keeping,
            Err(error) => {
                let message = format!(
                    "the thread that listens at a port could not be started: {error}; raise the limit (ulimit -u)"
                );
                return failed(StepError::new(ErrorKind::System, message));
            }
        };
        let half = lanes.run(context, peer);
        drop(ender);
        // It has nothing to tell; what it did not take in the lanes have missed.
        let _ = keeping.join();
        half
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use pathproof_model::{Environment, Limits};

    use super::*;

    fn session(local: [u8; 4], peer: [u8; 4]) -> SessionFacts {
        SessionFacts {
            end: End::Server,
            secret: [1; 32],
            local: (local, 7797).into(),
            peer: (peer, 40_000).into(),
            limits: Limits::default(),
            seed: 1,
            environment: Environment::default(),
            peer_environment: Environment::default(),
        }
    }

    /// A connection to `to` from an address of one's own.
    fn dial(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    }

    #[test]
    fn t22_a_lane_port_is_for_expected_lanes_of_the_sessions_peer_alone() {
        let (here, peer) = ([127, 79, 0, 1], [127, 79, 0, 2]);
        let clock = RealClock::new();
        let door = LaneDoor::new(&clock);
        let session = session(here, peer);
        let listener = Listener::on(Port::LiveMigration, &session, door.clone(), clock).unwrap();
        let to = at(session.local, Some(Port::LiveMigration));
        assert_eq!(to, SocketAddr::from((here, 6600)));
        let (ender, ending) = ending::pair().unwrap();
        let keeping = std::thread::spawn(move || listener.keep(&ending));
        let lane = LanePreamble::of(&[7; 32], 0);
        let expected = door.register(lane.opening).unwrap();
        // A stranger is let go, whatever it says.
        let mut stranger = dial([127, 79, 0, 3], to);
        let _ = stranger.write_all(&lane.encode());
        assert!(!stranger.read(&mut [0; 1]).is_ok_and(|bytes| bytes > 0));
        // So is the peer with a lane that nobody expects; one that is expected comes in.
        let mut nobody = dial(peer, to);
        nobody.write_all(&LanePreamble::of(&[8; 32], 0).encode()).unwrap();
        let mut honest = dial(peer, to);
        honest.write_all(&lane.encode()).unwrap();
        let mut taken = expected.wait(Duration::from_secs(5)).unwrap();
        assert_eq!(taken.peer_addr().unwrap(), honest.local_addr().unwrap());
        taken.write_all(b"x").unwrap();
        honest.read_exact(&mut [0; 1]).unwrap();
        drop(ender);
        keeping.join().unwrap();
        assert!(TcpStream::connect(to).is_err(), "it is open for the step and not beyond");
    }

    #[test]
    fn only_a_stream_over_plain_tcp_goes_to_a_port() {
        let spec = |over: &str, port| TrafficSpec { over: over.into(), port, ..TrafficSpec::default() };
        let tcp = pathproof_tcp::NAME;
        assert!(check(TrafficKind::Stream, &spec(tcp, Some(Port::Smb))).is_ok());
        assert!(check(TrafficKind::Request, &spec(tcp, None)).is_ok());
        assert!(check(TrafficKind::Request, &spec(tcp, Some(Port::Smb))).is_err());
        assert!(check(TrafficKind::Stream, &spec(tcp, Some(Port::Roce))).is_err());
        assert!(check(TrafficKind::Stream, &spec(pathproof_rdma::NAME, Some(Port::Smb))).is_err());
    }
}
