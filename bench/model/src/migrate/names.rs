//! What a rehearsal is made of, by name: who decides, where dirty pages are learned from, what is broken on purpose, and which
//! round was which.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// Whose rules decide when the guest stops.
    pub enum PolicyName: "policy" {
        /// QEMU: after each round.
        #[default]
        Qemu = "qemu",
        /// QEMU as its code does it: within rounds, too.
        QemuLoop = "qemu-loop",
        /// Hyper-V since 2012 R2.
        HyperV = "hyperv",
        /// Hyper-V of 2008 R2.
        HyperV2008R2 = "hyperv-2008r2",
        /// Xen's tools.
        Xen = "xen",
    }
}

impl PolicyName {
    /// Whether it is Hyper-V's, whose performance options go with it.
    pub fn is_hyperv(self) -> bool {
        match self {
            PolicyName::HyperV | PolicyName::HyperV2008R2 => true,
            PolicyName::Qemu | PolicyName::QemuLoop | PolicyName::Xen => false,
        }
    }
}

words! {
    /// Where dirty pages are learned from.
    pub enum Tracker: "tracker" {
        /// The guest says so.
        #[default]
        Log = "log",
        /// The kernel does (`PAGEMAP_SCAN`).
        PagemapScan = "pagemap-scan",
    }
}

words! {
    /// A fault that a rehearsal injects, so that its own verification can be seen to find it.
    pub enum InjectedFault: "fault" {
        /// One bit of one page changes on the way.
        #[default]
        BitFlip = "bit-flip",
        /// One page is never sent.
        LostPage = "lost-page",
        /// One bit of one block of the disk changes on the way.
        DiskBitFlip = "disk-bit-flip",
    }
}

/// Which round of a migration one was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoundPhase {
    /// The first: every page.
    FullCopy,
    /// A further one while the guest runs at the source.
    Round,
    /// The last, while it stands still.
    StopAndCopy,
    /// The last, while it runs at the destination.
    PostCopy,
    /// One that a later build names and this one does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl RoundPhase {
    /// The word that stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            RoundPhase::FullCopy => "full-copy",
            RoundPhase::Round => "round",
            RoundPhase::StopAndCopy => "stop-and-copy",
            RoundPhase::PostCopy => "post-copy",
            RoundPhase::Other => "other",
        }
    }

    /// Whether the guest ran at the source meanwhile.
    pub fn is_live(self) -> bool {
        match self {
            RoundPhase::FullCopy | RoundPhase::Round => true,
            RoundPhase::StopAndCopy | RoundPhase::PostCopy | RoundPhase::Other => false,
        }
    }
}
