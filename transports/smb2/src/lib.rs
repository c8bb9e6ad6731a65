//! Just enough SMB2 to question a real server on port 445: its dialect, capabilities, signing and
//! encryption rules, and the NICs it would use for Multichannel.
//!
//! The codecs ([`wire`], [`negotiate`], [`interfaces`], [`session`], [`ntlm`]) are pure functions over
//! bytes and never panic on any input; [`connection`] is the thin blocking rim around them; [`mod@ask`]
//! decides what to say. This is no SMB client: it opens no file, and encrypts only where a server insists.
//!
//! Names follow MS-SMB2, MS-NLMP and MS-ERREF.
#![forbid(unsafe_code)]

pub mod ask;
pub mod connection;
pub mod crypto;
pub mod error;
pub mod interfaces;
pub mod negotiate;
pub mod ntlm;
pub mod session;
pub mod status;
pub mod wire;

pub use ask::{Attempt, Outcome, Question, ServerReport, Way, ask};
pub use error::{AskError, WireError};
pub use interfaces::Interface;
pub use negotiate::{Capabilities, Cipher, Dialect, RdmaTransform, SigningAlgorithm};
pub use ntlm::Credentials;
pub use status::NtStatus;
