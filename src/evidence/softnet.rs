//! What the kernel dropped before any protocol saw it, because a processor was behind.

use pathproof_model::evidence::SoftnetCounts;
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::counters::{self, Backlog};

use super::{About, Evidence};

/// The counts of all processors at one moment.
pub struct Softnet(Result<SoftnetCounts, String>);

impl Evidence for Softnet {
    fn before(_about: &About) -> Softnet {
        let of = |Backlog { dropped, squeezed }| SoftnetCounts { dropped, squeezed };
        Softnet(counters::backlog().map(of))
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        match (self.0, Softnet::before(&About::default()).0) {
            (Ok(then), Ok(now)) => record.softnet = Some(now.since(&then)),
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("softnet", why),
        }
    }
}
