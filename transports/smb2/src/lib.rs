//! An SMB2 client, and a passive server ([`server`]), as far as this tool needs them. The client questions a real server on port 445
//! (dialect, capabilities, signing and encryption rules, NICs), and moves file data to and from its shares, over one connection or over
//! several of one session.
//!
//! The codecs ([`wire`], [`negotiate`], [`interfaces`], [`session`], [`ntlm`], [`mod@file`], [`direct`]) are pure functions over bytes and never panic on any
//! input; [`connection`] is a dialogue over any message pipe, of which [`direct_tcp`] is one; [`mod@ask`] decides what to ask a server about
//! itself, [`share`] how to come to a file. It has no cache, no leases, and speaks files from 3.0 on only.
//! Kerberos is the system's: [`identity`].
//!
//! Names follow MS-SMB2, MS-NLMP, MS-FSCC and MS-ERREF.
#![forbid(unsafe_code)]

pub mod ask;
pub mod connection;
pub mod crypto;
pub mod direct;
pub mod direct_tcp;
pub mod error;
pub mod file;
pub mod flight;
mod fresh;
pub mod identity;
pub mod interfaces;
pub mod logon;
pub mod negotiate;
pub mod ntlm;
pub mod seal;
pub mod server;
pub mod session;
pub mod share;
pub mod status;
pub mod validate;
pub mod wire;

pub use ask::{AskedBy, Attempt, AttemptOutcome, Question, ServerReport, ask};
pub use error::{SmbError, WireError};
pub use identity::Identity;
pub use interfaces::Interface;
pub use negotiate::{Capabilities, Cipher, Dialect, RdmaTransform, SigningAlgorithm};
pub use ntlm::Credentials;
pub use status::NtStatus;
