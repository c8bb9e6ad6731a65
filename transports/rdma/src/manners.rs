//! What the transport is called, and how its lanes behave on any host.

use pathproof_api::{Manners, manners};

/// What `--over` takes.
pub const NAME: &str = "rdma";

/// How its lanes behave. Queue pairs that it connects by itself have the traffic class that it gives them.
pub static MANNERS: Manners = Manners { marks: true, ..manners::OF_ADAPTERS };
