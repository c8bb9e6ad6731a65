//! The transports of this build, by name.

use std::sync::Arc;

use pathproof_api::{Transport, TransportError};
use pathproof_multi::Striped;
use pathproof_rdma::RdmaTransport;
use pathproof_tcp::{LaneDoor, TcpTransport};

use crate::clock::RealClock;

/// Every transport, and the door through which accepted data connections reach their lanes.
#[derive(Clone)]
pub struct Registry {
    transports: Vec<Arc<dyn Transport>>,
    door: Arc<LaneDoor>,
    clock: RealClock,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// All transports of this build.
    pub fn new() -> Registry {
        let door = LaneDoor::new();
        let tcp = Arc::new(TcpTransport::new(door.clone()));
        let clock = RealClock::new();
        let multi = Arc::new(Striped::new(tcp.clone(), Arc::new(clock.clone())));
        Registry { transports: vec![tcp, multi, Arc::new(RdmaTransport::new())], door, clock }
    }

    /// The door for accepted data connections.
    pub fn door(&self) -> &Arc<LaneDoor> {
        &self.door
    }

    /// The clock of the ticks in lanes' statistics.
    pub fn clock(&self) -> &RealClock {
        &self.clock
    }

    /// The names that `--over` takes.
    pub fn names(&self) -> Vec<&'static str> {
        self.transports.iter().map(|t| t.name()).collect()
    }

    /// The transport called `name`.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Transport>, TransportError> {
        self.transports.iter().find(|t| t.name() == name).ok_or_else(|| {
            TransportError::invalid(format!(
                "there is no transport {name:?}; --over takes one of: {}",
                self.names().join(", ")
            ))
        })
    }
}
