//! How far a handle has told of the directory, and which names it tells.

use crate::server::share::{Facts, NAME_UNITS_MAX, Share};
use crate::status::NtStatus;

/// How far the directory was told by a handle: a place in it and not the entries, of which many handles would hold a lot.
pub struct Listing {
    /// Which names, folded.
    pattern: Vec<char>,
    /// What comes next.
    pub next: Next,
    /// Whether anything was told.
    pub told: bool,
}

/// A place in the directory.
pub enum Next {
    /// The directory itself.
    This,
    /// The one above it, which it is too.
    Parent,
    /// The first file after this name, as names are compared.
    After(String),
}

impl Listing {
    /// Of the names that match, from the first on. No name is as long as a pattern that is refused.
    pub fn of(pattern: &str) -> Result<Listing, NtStatus> {
        match pattern.encode_utf16().count() > NAME_UNITS_MAX {
            true => Err(NtStatus::OBJECT_NAME_INVALID),
            false => Ok(Listing { pattern: folded(pattern), next: Next::This, told: false }),
        }
    }

    /// The next entry that matches, and what comes after it.
    pub fn entry(&mut self, share: &Share) -> Option<(String, Facts, Next)> {
        loop {
            let (name, facts, next) = match &self.next {
                Next::This => (".".to_owned(), share.directory(), Next::Parent),
                Next::Parent => ("..".to_owned(), share.directory(), Next::After(String::new())),
                Next::After(name) => {
                    let (key, file) = share.after(name)?;
                    (file.name().to_owned(), file.facts(), Next::After(key))
                }
            };
            if matches(&self.pattern, &name) {
                return Some((name, facts, next));
            }
            self.next = next;
        }
    }
}

fn folded(text: &str) -> Vec<char> {
    text.to_uppercase().chars().collect()
}

/// Whether a name matches a folded pattern with `*` and `?`, and with what DOS makes of them (`<`, `>`, `"`; MS-FSA 2.1.4.4). No pattern is all.
fn matches(pattern: &[char], name: &str) -> bool {
    let name = folded(name);
    if pattern.is_empty() {
        return true;
    }
    // The one place to come back to is the last star: earlier ones need not take more than they did.
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*' | '<') => {
                back = Some((p, n));
                p += 1;
            }
            Some('?' | '>') => (p, n) = (p + 1, n + 1),
            Some('"') if name[n] == '.' => (p, n) = (p + 1, n + 1),
            Some(same) if *same == name[n] => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| matches!(rest, '*' | '<' | '>' | '"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_others_do() {
        for (pattern, name) in [
            ("*", "a"),
            ("", "a"),
            ("*.txt", "A.TXT"),
            ("a?c", "abc"),
            ("*a*b", "xaxxb"),
            ("<.txt", "n.txt"),
            ("*", ".."),
        ] {
            assert!(matches(&folded(pattern), name), "{pattern} {name}");
        }
        for (pattern, name) in [("b", "a"), ("*.txt", "a.txt2"), ("a?c", "ac"), ("a", "ab"), ("*a*b", "b")] {
            assert!(!matches(&folded(pattern), name), "{pattern} {name}");
        }
        // No pattern costs more than its length times the name's.
        assert!(!matches(&folded(&"*a".repeat(100)), &"a".repeat(255).replace('a', "b")));
    }
}
