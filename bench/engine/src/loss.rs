//! Paced datagrams: what is sent when, what became of it, and what both ends' counts come to. Pure.

mod buffer;
mod findings;
mod late;
mod merge;
mod path_numbers;
mod rate;
mod schedule;
mod shares;
mod silent;
mod tally;

pub use buffer::{buffer_findings, found_buffers};
pub use findings::{damaged, findings, findings_of_arrivals, settle_by_host};
pub use merge::merge;
pub use rate::{found, rate_findings};
pub use schedule::{MARKS, Mark, Packet, STANDARD_IP_BYTES, Schedule};
pub use shares::tell_shares;
pub use tally::Tally;

use pathproof_model::{LossProbe, LossSpec, ResultDoc};

/// The next step of the search that `search` stands for, each of which depends on those before it. `None` at its end, and where it stands
/// for none.
pub fn next(search: &LossSpec, doc: &ResultDoc) -> Option<LossSpec> {
    match search.probe {
        LossProbe::Sample => None,
        LossProbe::Rate => rate::next(search, doc),
        LossProbe::Buffer => buffer::next(search, doc),
    }
}
