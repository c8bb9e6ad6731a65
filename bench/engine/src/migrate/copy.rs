//! The copy of a migration, as far as it needs no host: what crosses the lanes, what a lane at either end does next, and
//! how a guest moves round by round. It runs on lanes, regions and a clock that it is given; threads, memory, files and
//! the control channel belong to whoever drives it, and a test drives it in virtual time.

pub mod contents;
pub mod pacer;
pub mod pack;
pub mod wire;
