//! What the kernel dropped before any protocol saw it, because a processor was behind.

use pathproof_model::evidence::SoftnetCounts;
use pathproof_model::{Evidence as Record, Half};

use super::{About, Evidence, read};

/// The counts of all processors at one moment.
pub struct Softnet(Result<SoftnetCounts, String>);

impl Evidence for Softnet {
    fn before(_about: &About) -> Softnet {
        Softnet(read("/proc/net/softnet_stat").map(|text| sum(&text)))
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        match (self.0, Softnet::before(&About::default()).0) {
            (Ok(then), Ok(now)) => record.softnet = Some(now.since(&then)),
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("softnet", why),
        }
    }
}

/// A line for each processor, in hexadecimal: processed, dropped, squeezed, and others that differ between kernels.
fn sum(text: &str) -> SoftnetCounts {
    let column = |at: usize| {
        text.lines().try_fold(0u64, |sum, line| {
            let field = line.split_ascii_whitespace().nth(at)?;
            sum.checked_add(u64::from_str_radix(field, 16).ok()?)
        })
    };
    SoftnetCounts { dropped: column(1), squeezed: column(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_added_up_and_a_line_cut_short_is_unknown() {
        let text = "065bff91 00000000 00000082 00000000\n068d5f75 0000000a 0000009f 00000000\n";
        assert_eq!(sum(text), SoftnetCounts { dropped: Some(10), squeezed: Some(0x82 + 0x9f) });
        assert_eq!(sum("065bff91 00000001\n").squeezed, None);
    }
}
