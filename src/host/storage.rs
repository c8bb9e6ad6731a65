//! Storage that goes over this host's network without anybody having told us: iSCSI, by its port.
//!
//! It refuses to take a listener at every address for a network: that says nothing about any of them.

use std::io;

use pathproof_model::environment::IscsiEnd;
use pathproof_sys::connections::{self, PortUse};

/// The port of iSCSI targets, unless somebody has set another (RFC 7143, by IANA).
const ISCSI_PORT: u16 = 3260;
/// Most ends that are told: a target has one for each of its initiators.
const ENDS_MAX: usize = 256;

/// Addresses of this host over which iSCSI goes.
pub(super) fn iscsi() -> io::Result<Vec<IscsiEnd>> {
    Ok(ends(connections::of_port(ISCSI_PORT)?))
}

fn ends(used: Vec<PortUse>) -> Vec<IscsiEnd> {
    let of_network = |one: &PortUse| !one.local.is_loopback() && !one.local.is_unspecified();
    let used = used.into_iter().filter(of_network).take(ENDS_MAX);
    used.map(|one| IscsiEnd { address: one.local, other: one.other }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_the_host_or_listens_everywhere_tells_of_no_network() {
        let used = |local: &str| PortUse { local: local.parse().unwrap(), other: None };
        let told = ends(vec![used("0.0.0.0"), used("10.0.2.1"), used("127.0.0.1"), used("::")]);
        assert_eq!(told, [IscsiEnd { address: [10, 0, 2, 1].into(), other: None }]);
    }
}
