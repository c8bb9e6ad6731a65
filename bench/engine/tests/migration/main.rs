//! Whole migrations in virtual time, both ends in one thread over the simulated transport: what must come out exactly,
//! and what must be said when it does not.

mod breaks;
mod destination;
mod exact;
mod seeds;
mod world;
