//! Linux.

pub mod errqueue;
pub mod ethtool;
pub(crate) mod mapping;
pub mod process;
pub mod socket;
pub mod tcp_info;
pub mod thread;
mod transfer;
pub mod written_pages;
