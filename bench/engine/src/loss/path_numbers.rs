//! What every finding about a path tells in numbers.

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
