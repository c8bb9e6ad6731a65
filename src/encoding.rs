//! Bytes as text: base64 where they cross in JSON, hexadecimal where people see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes as they cross in JSON.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// And back; `None` when malformed.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
