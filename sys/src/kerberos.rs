//! Logging on with Kerberos, as the system's own library does it (GSSAPI: RFC 2743, 2744, 4121; within SPNEGO: RFC 4178).
//!
//! Tickets, keys and their storage stay with that library; what comes out of here are tokens for the other end and, once both ends have proved
//! themselves, the key that they share.

pub use crate::system::kerberos::Dialogue;

/// What one round led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// For the other end; empty where it needs nothing more.
    pub token: Vec<u8>,
    /// Both ends have proved who they are.
    pub is_complete: bool,
}

/// Why there is no logon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KerberosError {
    /// No library.
    #[error(
        "this system has no Kerberos library that can be loaded ({reason}); Debian: libgssapi-krb5-2, Fedora: krb5-libs"
    )]
    NoLibrary {
        /// What the dynamic loader said.
        reason: String,
    },
    /// A library without a function that is needed.
    #[error("{library} has no function {symbol}")]
    OldLibrary {
        /// File name.
        library: &'static str,
        /// The function.
        symbol: &'static str,
    },
    /// The library refused, in its own words.
    #[error("{what}: {why}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// The other end did not prove who it is, or proved it by other means than Kerberos.
    #[error("the server has not proved by Kerberos who it is")]
    Unproved,
}
