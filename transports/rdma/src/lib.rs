//! Verbs lanes: RoCE, iWARP and InfiniBand through rdma-core, loaded at run time.
//!
//! This crate is a thin layer of its own over `libibverbs.so.1` and `librdmacm.so.1`: only what is used is
//! declared ([`ffi`]), behind handles that close what they open ([`verbs`]). It builds and starts on machines
//! without rdma-core and then says what is missing and how to get it. It refuses to poll through `ibv_cq_ex`, to
//! take GID index 0 by default, and to call something RDMA that it cannot prove.

pub mod choose;
pub mod cm;
mod credit;
pub mod ffi;
pub mod lane;
mod loans;
pub mod manners;
mod memory_window;
pub mod offer;
pub mod proof;
mod signals;
pub mod sysfs;
mod timing;
pub mod transport;
pub mod verbs;
mod wire;
pub mod words;

pub use choose::{Choice, Wishes};
pub use lane::RdmaLane;
pub use manners::{MANNERS, NAME};
pub use sysfs::{DeviceInfo, Fabric, GidEntry, PortInfo, Sysfs};
pub use transport::RdmaTransport;
