//! Codes of the catalogue, as values that exist only where the catalogue has them.

use super::CATALOGUE;

/// A code of the catalogue. [`code!`](crate::code!) makes one, and does not compile for a word that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static str);

impl Code {
    /// The code that is written so.
    ///
    /// # Panics
    /// When the catalogue does not have it; in a constant, as [`code!`](crate::code!) makes them, the compiler says so.
    pub const fn of(text: &'static str) -> Code {
        let mut at = 0;
        while at < CATALOGUE.len() {
            if same(CATALOGUE[at].code.as_bytes(), text.as_bytes()) {
                return Code(text);
            }
            at += 1;
        }
        panic!("the catalogue has no such code");
    }

    /// As it stands in documents.
    pub fn word(self) -> &'static str {
        self.0
    }
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A code of the catalogue, looked up by the compiler.
#[macro_export]
macro_rules! code {
    ($code:literal) => {
        const { $crate::finding::Code::of($code) }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Finding;

    #[test]
    fn a_finding_is_known_by_a_code_that_exists() {
        let finding = Finding::new("RUN-CUT", "");
        assert!(finding.is(crate::code!("RUN-CUT")) && !finding.is(crate::code!("PEER-LOST")));
        assert!(std::panic::catch_unwind(|| Code::of("RUN-CAT")).is_err());
        assert!(CATALOGUE.iter().all(|entry| Code::of(entry.code).word() == entry.code));
    }
}
