//! What the transport is called, and how its lanes behave on any host.

use pathproof_api::{Manners, manners};

/// What `--over` takes.
pub const NAME: &str = "rdma";

/// How its lanes behave.
pub static MANNERS: Manners = manners::OF_ADAPTERS;
