//! Wires the parts of pathproof together: command line, session, steps, observers. The parts themselves are
//! crates of their own; see `docs/ARCHITECTURE.md`.
#![forbid(unsafe_code)]

pub mod budget;
pub mod bundle;
pub mod cli;
pub mod descriptors;
pub mod dial;
pub mod document;
pub mod encoding;
pub mod evidence;
pub mod far;
pub mod glance;
pub mod gone;
pub mod guardian;
pub mod host;
pub mod input;
pub mod interrupt;
pub mod lane_options;
pub mod local_ports;
pub mod mesh;
pub mod offers;
pub mod peer;
pub mod precheck;
pub mod registry;
pub mod run;
pub mod secure;
pub mod serve;
pub mod session;
pub mod soak;
pub mod steps;
pub mod terminal;
pub mod wall;
pub mod watch;
