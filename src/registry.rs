//! The transports of this build, by name.

use std::sync::Arc;

use pathproof_api::{Manners, OptionDoc, Transport, TransportError, manners};
use pathproof_multi::Striped;
use pathproof_rdma::RdmaTransport;
use pathproof_smbd::SmbdTransport;
use pathproof_tcp::{LaneDoor, TcpTransport};

use pathproof_sys::clock::RealClock;

/// What `--over` takes.
pub const TRANSPORTS: [&str; 4] =
    [pathproof_tcp::NAME, pathproof_multi::NAME, pathproof_rdma::NAME, pathproof_smbd::NAME];

/// How the lanes of each behave, in the same order.
static MANNERS: [&Manners; 4] =
    [&pathproof_tcp::MANNERS, &pathproof_multi::MANNERS, &pathproof_rdma::MANNERS, &pathproof_smbd::MANNERS];

/// The options of the lanes of each, in the same order.
static OPTIONS: [fn() -> Vec<OptionDoc>; 4] = [
    pathproof_tcp::options,
    // Stripes go over lanes of TCP, see `Registry::new`.
    || [pathproof_multi::options(), pathproof_tcp::options()].concat(),
    pathproof_rdma::transport::options::declared,
    pathproof_smbd::options,
];

/// The options that lanes over the transport called `name` take.
pub fn options(name: &str) -> Vec<OptionDoc> {
    let mut all = TRANSPORTS.iter().zip(OPTIONS);
    all.find(|(known, _)| **known == name).map_or_else(Vec::new, |(_, options)| options())
}

/// How lanes over the transport called `name` behave. A name that no transport has, which is refused before anything comes
/// of it, has no manners of its own.
pub fn manners(name: &str) -> &'static Manners {
    static NONE: Manners = Manners {
        several_nics: false,
        adapter: false,
        segments: false,
        one_sided: false,
        zero_copy_send: false,
        discard_receive: false,
        receives_ahead: false,
        places_of_their_own: true,
        passive_outlives: false,
        descriptor_of_its_own: false,
        stream_depth: manners::STREAM_DEPTH,
        memory_bytes: manners::no_memory,
    };
    TRANSPORTS.iter().zip(MANNERS).find(|(known, _)| **known == name).map_or(&NONE, |(_, manners)| manners)
}

/// The names of the transports of which something is true, for people.
pub fn those_that(hold: impl Fn(&Manners) -> bool) -> String {
    let all = TRANSPORTS.iter().zip(MANNERS).filter(|(_, manners)| hold(manners));
    all.map(|(name, _)| *name).collect::<Vec<_>>().join(" or ")
}

/// The transport that takes all NICs where `over` takes one; itself where there is no such one.
pub fn over_all_nics(over: &str) -> &str {
    // Stripes go over lanes of TCP, see `Registry::new`.
    if over == pathproof_tcp::NAME { pathproof_multi::NAME } else { over }
}

/// Every transport, and the door through which accepted data connections reach their lanes.
#[derive(Clone)]
pub struct Registry {
    transports: Vec<Arc<dyn Transport>>,
    rdma: Arc<RdmaTransport>,
    door: Arc<LaneDoor>,
    clock: RealClock,
}

impl Registry {
    /// All transports of this build. The ticks in their lanes' statistics are of `clock`.
    pub fn new(clock: &RealClock) -> Registry {
        let door = LaneDoor::new(clock);
        let tcp = Arc::new(TcpTransport::new(door.clone()));
        let clock = clock.clone();
        let multi = Arc::new(Striped::new(tcp.clone(), Arc::new(clock.clone())));
        let rdma = Arc::new(RdmaTransport::new(&clock));
        let devices = rdma.clone();
        let smbd = SmbdTransport::new(rdma.clone(), Arc::new(clock.clone()), move || devices.probe());
        Registry { transports: vec![tcp, multi, rdma.clone(), Arc::new(smbd)], rdma, door, clock }
    }

    /// The door for accepted data connections.
    pub fn door(&self) -> &Arc<LaneDoor> {
        &self.door
    }

    /// The RDMA devices of this host, for wires to peers that are not ours.
    pub fn rdma(&self) -> &Arc<RdmaTransport> {
        &self.rdma
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

#[cfg(test)]
mod tests {
    use pathproof_model::request::Over;

    use super::*;

    #[test]
    fn what_is_known_of_a_transport_by_its_name_is_what_it_says_itself() {
        let registry = Registry::new(&RealClock::new());
        assert_eq!(registry.names(), TRANSPORTS);
        // What may be asked of the other end.
        assert_eq!(Over::ALL.map(Over::name), TRANSPORTS);
        for transport in &registry.transports {
            assert!(std::ptr::eq(transport.manners(), manners(transport.name())), "{}", transport.name());
            let names = |options: Vec<OptionDoc>| options.iter().map(|o| o.name).collect::<Vec<_>>();
            assert_eq!(names(transport.options()), names(options(transport.name())));
        }
        assert_eq!(those_that(|m| m.several_nics), "multi");
        assert_eq!(TRANSPORTS.map(over_all_nics), ["multi", "multi", "rdma", "smbd"]);
    }
}
