//! Faults that a rehearsal injects, so that its own verification can be seen to find them.

use std::str::FromStr;

/// A fault to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One bit of one page changes on the way.
    BitFlip,
    /// One page is never sent.
    LostPage,
    /// One bit of one block of the disk changes on the way.
    DiskBitFlip,
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> Result<Fault, String> {
        match text {
            "bit-flip" => Ok(Fault::BitFlip),
            "lost-page" => Ok(Fault::LostPage),
            "disk-bit-flip" => Ok(Fault::DiskBitFlip),
            other => Err(format!("unknown fault {other:?}; use bit-flip, lost-page or disk-bit-flip")),
        }
    }
}
