//! What lanes go over where nobody says.

/// The transport of lanes where nobody asks for another.
pub const DEFAULT_OVER: &str = "tcp";
