//! What a transport is: [`Transport`], [`PreparedLane`], [`Lane`], [`Region`], [`Clock`], and the
//! contract that every lane passes.
//!
//! **Invariant**: nothing here, and no transport built on it, knows that it is being measured. There is no
//! histogram, no plan and no report on this side of the boundary.
//!
//! The model is completion based, because verbs are that and TCP adapts easily: callers name bytes in a
//! shared [`Region`] with an [`Op`], hand batches of them to [`Lane::submit`], and collect one
//! [`Completion`] for each from [`Lane::poll`].

#![forbid(unsafe_code)]

pub mod contract;
pub mod dirty_tracker;
pub mod error;
mod fabric;
pub mod lane;
pub mod manners;
pub mod option;
pub mod path;
pub mod pipe;
pub mod stripe;
pub mod wire;

pub use dirty_tracker::{DirtyLog, DirtyTracker};
pub use error::{Gone, TransportError};
pub use fabric::Fabric;
pub use lane::{
    Access, AdapterStats, Completion, CompletionStatus, Framing, Lane, LaneCaps, LaneSample, LaneSpec,
    LaneStats, Offer, Op, PreparedLane, Readiness, ReceiveMode, RegionId, Role, SendMode, SendReports,
    SentMemory, Stopper, Transport, Verb, Wait, WaitMode,
};
pub use manners::Manners;
pub use option::{
    Choice, Fixed, LaneOption, NumberUnit, Open, OptionDoc, OptionValues, Takes, Whose, open, words,
};
pub use path::PathSpec;
/// Time and memory are half of what the contract speaks of, so their names are here too; their home is `pathproof-sys`.
pub use pathproof_sys::clock::{Clock, Tick};
pub use pathproof_sys::region::{Pages, Region, RegionError};
/// What a kernel tells of a connection, likewise.
pub use pathproof_sys::tcp_info::TcpConnection;
pub use pipe::{Arrival, EndedBy, MessagePipe, PipeLimits, Queued};
pub use stripe::{PathStats, StripeStats};
pub use wire::{
    Established, Exposed, Invalidated, Loan, LoanForm, LoanId, Piece, PreparedWire, PrivateData, Wire,
    WireDone, WireOp, WireSpec, WireVerb, Wires,
};
