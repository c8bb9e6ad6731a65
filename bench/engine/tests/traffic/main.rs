//! Whole traffic steps at both ends over the simulated transport: the course, every lane with its workload, and the control
//! connection, driven by one thread in virtual time.

mod beside;
mod seeds;
mod striped;
mod world;
