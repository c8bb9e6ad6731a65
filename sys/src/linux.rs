//! Linux.

pub mod arp;
pub mod bridging;
pub mod counters;
pub mod descriptor;
pub mod ending;
pub mod errqueue;
pub mod ethtool;
pub mod files;
pub mod host;
pub mod interfaces;
pub mod limits;
pub mod link_events;
pub mod load;
pub(crate) mod mapping;
pub mod ndp;
pub mod neighbours;
mod netlink;
pub mod process;
pub mod process_memory;
pub mod queueing;
pub mod routes;
pub mod set_link;
pub mod socket;
pub mod tcp_info;
pub mod thread;
mod transfer;
pub mod written_pages;
