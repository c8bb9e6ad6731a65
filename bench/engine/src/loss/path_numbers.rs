//! What every finding about a path tells in numbers, and marks by their names.

use pathproof_model::told;
use pathproof_model::{Finding, LossPath, Share};

/// Which path it is, and the share that it is about.
pub(super) fn numbers(finding: Finding, path: &LossPath, share: Share) -> Finding {
    finding
        .tell(told::LOCAL_NIC, path.local_nic.clone())
        .tell(told::REMOTE_NIC, path.remote_nic.clone())
        .tell(told::DIRECTION, path.direction)
        .tell(told::PART, share.part)
        .tell(told::OF, share.of)
}

/// A mark in the words of reports.
pub(super) fn mark_name(dscp: u8, ecn: u8) -> String {
    let name = match dscp {
        0 => "best effort (DSCP 0)".to_owned(),
        26 => "AF31 (DSCP 26)".into(),
        24 => "CS3 (DSCP 24)".into(),
        48 => "CS6 (DSCP 48)".into(),
        other => format!("DSCP {other}"),
    };
    match ecn {
        0 => name,
        1 => format!("{name} and ECT(1)"),
        2 => format!("{name} and ECT(0)"),
        _ => format!("{name} and CE"),
    }
}
