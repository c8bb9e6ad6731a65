//! What the transport is called, and how its lanes behave on any host.

use pathproof_api::{Manners, manners};

/// What `--over` takes.
pub const NAME: &str = "rdma";

/// How its lanes behave.
pub static MANNERS: Manners = Manners {
    several_nics: false,
    adapter: true,
    segments: false,
    one_sided: true,
    // Nothing is ever copied, whichever mode is asked for.
    zero_copy_send: true,
    discard_receive: false,
    receives_ahead: true,
    places_of_their_own: false,
    passive_outlives: true,
    descriptor_of_its_own: false,
    stream_depth: manners::STREAM_DEPTH,
    memory_bytes: manners::no_memory,
};
