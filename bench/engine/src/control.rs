//! The control protocol: preamble, frames, messages, and one state machine for each role.
//!
//! Specified in `docs/PROTOCOL.md`. The machines are sans-IO: they are told what arrived and what time it is,
//! and say what to send, when to be woken and what happened.

mod bounds;
mod client;
mod frame;
#[cfg(test)]
mod fuzz;
mod journal;
mod message;
mod pieces;
mod preamble;
mod server;
mod step_message;
#[cfg(test)]
mod tests;

pub use bounds::{environment as bound_environment, half as bound_half};
pub use client::{Client, ClientEvent};
pub use frame::{FRAME_BYTES_MAX, FrameDecoder, FrameError, HELLO_BYTES_MAX, encode as encode_frame};
pub use journal::Journal;
pub use message::{Accept, Go, Hello, Message, Ready, Reject, Resume, Turn, Turned};
pub use pieces::{Columns, HalfPiece, HalfRoom, PieceContent};
pub use preamble::{
    HIGHEST_VERSION, LANE_MAGIC, LOWEST_VERSION, MAGIC, PREAMBLE_BYTES, Preamble, PreambleError, negotiate,
};
pub use server::{Server, ServerEvent};
pub use step_message::StepMessage;

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<E> {
    /// Send this message.
    Send(Box<Message>),
    /// Call `handle` with [`Input::Timer`] at this tick unless something else arms another one first.
    Arm(pathproof_api::Tick),
    /// Tell the owner.
    Event(E),
}

/// What a machine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message arrived.
    Message(Box<Message>),
    /// The armed time has come.
    Timer,
    /// The connection ended.
    Closed {
        /// How it showed, in words.
        how: String,
        /// The same for programs, where it is known.
        cause: Option<pathproof_model::ErrorCause>,
    },
    /// This end gives the session up for a reason that is not the connection's.
    Broken(pathproof_model::StepError),
}

/// Time limits of the control protocol, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the answer to HELLO, and for HELLO itself.
    pub hello_ns: u64,
    /// For the answer to a TURN, beyond the time that the step itself may take, and for each piece of a half or its
    /// confirmation.
    pub turn_ns: u64,
    /// For the client's next message while no step runs.
    pub idle_ns: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { hello_ns: 10_000_000_000, turn_ns: 15_000_000_000, idle_ns: 60_000_000_000 }
    }
}
