//! One-time codes that can be said over the phone: four of 256 words, so 32 bits. Enough, because a code can be tried only at
//! the server and only slowly: see `docs/PROTOCOL.md`, section 2.

use std::io;

use crate::secure::random_bytes;

const WORDS: &str = include_str!("spoken.txt");
const CODE_WORDS: usize = 4;

/// A code that nobody has had before.
pub fn code() -> io::Result<String> {
    let words: Vec<&str> = WORDS.lines().collect();
    // A list of 256 words, so each byte is one and all are equally likely.
    let chosen = random_bytes::<CODE_WORDS>()?.map(|byte| words[usize::from(byte) % words.len()]);
    Ok(chosen.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_is_what_the_arithmetic_says() {
        let words: BTreeSet<&str> = WORDS.lines().collect();
        assert_eq!(words.len(), 256);
        assert!(words.iter().all(|w| w.len() >= 4 && w.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn codes_are_long_enough_for_a_server_and_differ() {
        let codes: BTreeSet<String> = (0..100).map(|_| code().unwrap()).collect();
        assert!(codes.len() > 98 && codes.iter().all(|c| c.len() >= 8 && c.split('-').count() == CODE_WORDS));
    }
}
