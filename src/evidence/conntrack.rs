//! What connection tracking threw away, where the kernel tracks connections.

use pathproof_model::evidence::{ConntrackCounts, ConntrackTable};
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::counters::{self, ConnectionTracking};

use super::{About, Evidence};

/// The counts of all processors at one moment; `None` where nothing is tracked.
pub struct Conntrack(Result<Option<ConntrackCounts>, String>);

impl Evidence for Conntrack {
    fn before(_about: &About) -> Conntrack {
        let of = |ConnectionTracking { dropped, dropped_early, insert_failed, invalid }| ConntrackCounts {
            dropped,
            dropped_early,
            insert_failed,
            invalid,
        };
        Conntrack(counters::connection_tracking().map(|counts| counts.map(of)))
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        match (self.0, Conntrack::before(&About::default()).0) {
            (Ok(then), Ok(now)) => record.conntrack = then.zip(now).map(|(then, now)| now.since(&then)),
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("conntrack", why),
        }
        match counters::connection_table() {
            Ok(table) => {
                let table = table.filter(|(entries, _)| *entries > 0);
                record.conntrack_table =
                    table.map(|(entries, entries_max)| ConntrackTable { entries, entries_max });
            }
            Err(why) => record.cannot_tell("conntrack_table", why),
        }
    }
}
