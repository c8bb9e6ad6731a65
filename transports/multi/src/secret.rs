//! The secrets of the inner lanes.

/// A secret made from another one, which cannot be distinguished from it: who is shown one path's proofs knows nothing of the
/// other paths'.
pub(crate) fn derived(secret: &[u8; 32], what: &str, number: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(b"pathproof stripe ").update(what.as_bytes()).update(&number.to_le_bytes());
    *hasher.finalize().as_bytes()
}
