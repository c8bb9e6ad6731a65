//! Path-MTU discovery as pure logic: what to probe next, what the answers prove, what to tell the operator.
//!
//! One [`Search`] per NIC pair, address family and *direction*; it runs at the sending end, because only there
//! do local refusals and ICMP answers show up. It knows no socket and no clock: the driver asks
//! [`Search::poll`] what to do, sends the probes and reports what became of them.
//!
//! **Invariant**: a local refusal, a router's answer, an arrival in fragments and silence are four different
//! facts. Only silence may be called a black hole, and only when packets one byte smaller got through at the
//! same time ([`search`] explains the statistics).
//!
//! What it refuses to do: guess. A path on which nothing arrives has an unknown MTU, not a small one.

pub mod advice;
mod belief;
pub mod classify;
mod consent;
mod context;
pub mod findings;
mod fragments;
pub mod known;
mod nics;
mod outcome;
pub mod search;

pub use advice::{Advice, MigrationError, advise, migration_error};
pub use classify::{Ends, classify, reason};
pub use consent::{Ask, Consent};
pub use context::Context;
pub use findings::findings;
pub use fragments::Fragments;
pub use outcome::{Ending, Next, Probe, Report, RouterAnswer, SearchConfig, Tried};
pub use pathproof_model::Numbers;
pub use search::Search;

#[cfg(test)]
mod tests;
