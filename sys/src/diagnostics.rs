//! What somebody who helps remotely wants to see of a system: its own tables of counters and settings, as it writes them, and the end of
//! its log. Nothing is understood here, and nothing is left out silently: what cannot be read has its reason.

pub use crate::system::diagnostics::all;

/// One table, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is, as the name of a file.
    pub name: &'static str,
    /// As the system writes it.
    pub text: Result<String, String>,
}
