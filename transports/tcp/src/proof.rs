//! What the two ends of a data lane show each other: proofs that they hold its secret, which itself never crosses.
//!
//! The address that is dialled may be the other host's word. Whoever listens there without being the session's peer sees
//! an opening that is of no use anywhere else, cannot answer it, and gets nothing more.

/// What the dialler opens a lane with.
pub(crate) fn opening(secret: &[u8; 32]) -> [u8; 32] {
    *blake3::keyed_hash(secret, b"pathproof lane opening").as_bytes()
}

/// What only an acceptor that expects the lane can answer.
pub(crate) fn answer(secret: &[u8; 32]) -> [u8; 32] {
    *blake3::keyed_hash(secret, b"pathproof lane answer").as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t18_neither_proof_is_the_secret_nor_shows_the_other() {
        let secret = [7; 32];
        let all = [secret, opening(&secret), answer(&secret), answer(&opening(&secret)), opening(&[8; 32])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
