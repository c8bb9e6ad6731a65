//! Connected pairs over loopback, through a door as a server would do it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pathproof_api::contract::{Connect, Pair};
use pathproof_api::{Access, LaneSpec, Offer, Pages, Region, Role, Transport, TransportError};
use pathproof_sys::clock::RealClock;
use pathproof_tcp::{LaneDoor, LanePreamble, TcpTransport};

/// Long enough for a busy machine, short enough to fail.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A listener whose connections go to a door, and a transport on each side of it.
pub struct Loopback {
    listener: TcpListener,
    door: Arc<LaneDoor>,
    next: AtomicU64,
}

impl Loopback {
    /// Listens on a free port of `address`.
    pub fn on(address: &str) -> Loopback {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        Loopback { listener, door: LaneDoor::new(&RealClock::new()), next: AtomicU64::new(1) }
    }

    /// Where lanes connect to.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    /// Accepts one connection and hands it to the door.
    fn admit_one(&self) -> Result<(), TransportError> {
        let (stream, _) = self.listener.accept().map_err(|e| TransportError::io("accepting", e))?;
        let preamble = LanePreamble::read_after(&[], &stream, &RealClock::new().deadline(PATIENCE))?;
        self.door.deliver(&preamble, stream)
    }
}

impl Connect for Loopback {
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError> {
        let mut spec = LaneSpec { remote: Some(self.address()), ..spec.clone() };
        spec.token[..8].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let transport = TcpTransport::new(self.door.clone());
        let region = || {
            Region::new(region_bytes, Pages::Default).map(Arc::new).map_err(|e| TransportError::Resource {
                operation: "region".into(),
                detail: e.to_string(),
                fix: String::new(),
            })
        };
        let (region_a, region_b) = (region()?, region()?);
        let mut b = transport.prepare(Role::Accept, &spec)?;
        let id_b = b.attach(&region_b, Access::RemoteReadWrite)?;
        let mut a = transport.prepare(Role::Dial, &spec)?;
        let id_a = a.attach(&region_a, Access::RemoteReadWrite)?;
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| b.connect(&Offer::default(), PATIENCE));
            let admitting = scope.spawn(|| self.admit_one());
            let a = a.connect(&Offer::default(), PATIENCE);
            admitting.join().expect("no panic while admitting")?;
            let b = accepting.join().expect("no panic while accepting")?;
            Ok(Pair { a: a?, b, region_a, region_b, id_a, id_b })
        })
    }
}
