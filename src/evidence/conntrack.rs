//! What connection tracking threw away, where the kernel tracks connections.

use pathproof_model::evidence::ConntrackCounts;
use pathproof_model::{Evidence as Record, Half};

use super::{About, Evidence};

const FILE: &str = "/proc/net/stat/nf_conntrack";

/// The counts of all processors at one moment; `None` where nothing is tracked.
pub struct Conntrack(Result<Option<ConntrackCounts>, String>);

impl Evidence for Conntrack {
    fn before(_about: &About) -> Conntrack {
        Conntrack(match std::fs::read_to_string(FILE) {
            Ok(text) => Ok(Some(sum(&text))),
            // The module is not loaded: nothing to know.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{FILE}: {error}")),
        })
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        match (self.0, Conntrack::before(&About::default()).0) {
            (Ok(then), Ok(now)) => record.conntrack = then.zip(now).map(|(then, now)| now.since(&then)),
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("conntrack", why),
        }
    }
}

/// Names in the first line; then a line for each processor, in hexadecimal.
fn sum(text: &str) -> ConntrackCounts {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let column = |name: &str| {
        let at = names.iter().position(|one| *one == name)?;
        lines.clone().try_fold(0u64, |sum, line| {
            let field = line.split_ascii_whitespace().nth(at)?;
            sum.checked_add(u64::from_str_radix(field, 16).ok()?)
        })
    };
    ConntrackCounts {
        dropped: column("drop"),
        dropped_early: column("early_drop"),
        insert_failed: column("insert_failed"),
        invalid: column("invalid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
                    00000005  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000002 0000000a 00000000 00000000  00000000 00000000 00000000 00000000\n\
                    00000005  00000000 00000000 00000000 00000010 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000  00000000 00000000 00000000 00000000\n";
        let expected = ConntrackCounts {
            dropped: Some(11),
            dropped_early: Some(0),
            insert_failed: Some(2),
            invalid: Some(17),
        };
        assert_eq!(sum(text), expected);
        assert_eq!(sum(""), ConntrackCounts::default());
    }
}
