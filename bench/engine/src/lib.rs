//! The pure logic of a run: control protocol, workloads, recording and searches.
//!
//! **Invariant**: no socket, no clock, no thread, no print. Time is an argument; whatever is to be sent is
//! returned. The same code runs against real machines and in virtual time.
#![forbid(unsafe_code)]

pub mod channels;
pub mod compare;
pub mod contend;
pub mod control;
pub mod diagnose;
pub mod differences;
pub mod drive;
pub mod files;
pub mod ladder;
pub mod lldp;
pub mod loss;
pub mod mesh;
pub mod migrate;
pub mod mtu;
pub mod networks;
pub mod offloads;
pub mod ports;
pub mod record;
pub mod run_error;
pub mod soak;
pub mod traffic;
pub mod workload;
