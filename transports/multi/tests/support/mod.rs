//! Connected stripes over loopback, and relays between the ends that can be cut or frozen.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pathproof_api::contract::{Connect, Pair};
use pathproof_api::{
    Access, Clock, LaneSpec, Offer, Pages, PathSpec, Region, Role, Transport, TransportError,
};
use pathproof_multi::Striped;
use pathproof_sys::clock::RealClock;
use pathproof_tcp::{LaneDoor, LanePreamble, TcpTransport};

/// Long enough for a busy machine, short enough to fail.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts for one door until dropped, as the server's one port does.
pub struct Loopback {
    /// Where it listens.
    pub address: SocketAddr,
    /// The paths of its lanes.
    pub paths: Vec<PathSpec>,
    door: Arc<LaneDoor>,
    stop: Arc<AtomicBool>,
    next: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Loopback {
    /// Paths are `LOCAL,DEVICE,REMOTE` with the port left to this listener.
    pub fn new(paths: &[&str]) -> Loopback {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let clock = RealClock::new();
        let door = LaneDoor::new(&clock);
        let stop = Arc::new(AtomicBool::new(false));
        let (to, until) = (door.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let to = to.clone();
                std::thread::spawn(move || stream.map(|stream| admit(&to, stream)));
            }
        });
        let path = |path: &&str| PathSpec::parse(&format!("{path}:{}", address.port())).expect("a path");
        let paths = paths.iter().map(path).collect();
        Loopback { address, paths, door, stop, next: AtomicU64::new(1), clock: Arc::new(clock) }
    }
}

fn admit(door: &LaneDoor, stream: TcpStream) -> Result<(), TransportError> {
    let preamble = LanePreamble::read_after(&[], &stream, &RealClock::new().deadline(PATIENCE))?;
    door.deliver(&preamble, stream)
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Connect for Loopback {
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError> {
        let mut spec = LaneSpec { remote: Some(self.address), ..spec.clone() };
        spec.token[..8].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        spec.paths.clone_from(&self.paths);
        let transport = Striped::new(Arc::new(TcpTransport::new(self.door.clone())), self.clock.clone());
        let region = || Arc::new(Region::new(region_bytes, Pages::Default).unwrap());
        let (region_a, region_b) = (region(), region());
        let mut b = transport.prepare(Role::Accept, &spec)?;
        let id_b = b.attach(&region_b, Access::RemoteReadWrite)?;
        let mut a = transport.prepare(Role::Dial, &spec)?;
        let id_a = a.attach(&region_a, Access::RemoteReadWrite)?;
        let (a, b) = std::thread::scope(|scope| {
            let b = scope.spawn(|| b.connect(&Offer::default(), PATIENCE));
            (a.connect(&Offer::default(), PATIENCE), b.join().unwrap())
        });
        Ok(Pair { a: a?, b: b?, region_a, region_b, id_a, id_b })
    }
}

/// A relay whose connections can be cut or frozen.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<AtomicU64>,
}

/// Bytes pass.
pub const PASS: u64 = 0;
/// Bytes stay where they are.
pub const FREEZE: u64 = 1;
/// Connections are closed, and new ones refused.
pub const CUT: u64 = 2;

impl Relay {
    /// A relay in front of `target`.
    pub fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(AtomicU64::new(PASS));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(client) = stream else { return };
                if shared.load(Ordering::Relaxed) != PASS {
                    continue;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let state = shared.clone();
                    std::thread::spawn(move || relay(from, to, &state));
                }
            }
        });
        Relay { address, state }
    }

    /// Changes what becomes of bytes.
    pub fn set(&self, state: u64) {
        self.state.store(state, Ordering::Relaxed);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, state: &AtomicU64) {
    let mut bytes = [0; 16 << 10];
    from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    loop {
        match state.load(Ordering::Relaxed) {
            PASS => {}
            CUT => {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            _ => {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
        }
        match io::Read::read(&mut from, &mut bytes) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) if io::Write::write_all(&mut to, &bytes[..n]).is_err() => return,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
