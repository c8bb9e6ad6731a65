//! What a lane over several paths knows at its end.

use std::collections::BTreeMap;

use pathproof_sys::tcp_info::TcpConnection;

/// What became of a lane over several paths, and of each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StripeStats {
    /// Each path, in the order of the plan.
    pub paths: Vec<PathStats>,
    /// Messages that went again over another path.
    pub replayed_messages: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Paths connected anew.
    pub rejoined: u64,
    /// Messages that had to be copied before their receive was posted.
    pub staged_messages: u64,
    /// Messages that came twice, and were thrown away.
    pub duplicates_discarded: u64,
    /// Their bytes.
    pub discarded_bytes: u64,
    /// Bytes handed on under a number that had been handed on.
    pub doubled_bytes: u64,
    /// Longest time in which nothing was handed on, in ns.
    pub gap_longest_ns: u64,
    /// Bytes taken for sending.
    pub accepted_bytes: u64,
    /// Bytes that the peer confirmed.
    pub confirmed_bytes: u64,
    /// Bytes handed on to the receiver.
    pub arrived_bytes: u64,
}

/// One path of such a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Payload bytes sent over it.
    pub sent_bytes: u64,
    /// Payload bytes received over it.
    pub received_bytes: u64,
    /// How often it died.
    pub deaths: u64,
    /// Silence after which the last death was noticed, in ns.
    pub noticed_after_ns: Option<u64>,
    /// When it died last, on the lanes' clock.
    pub lost_at_tick_ns: Option<u64>,
    /// When the peer first confirmed something that went over it after it came back, on the lanes' clock.
    pub carried_again_at_tick_ns: Option<u64>,
    /// What the kernel knows of its last connection, where it is one of TCP and ended in order.
    pub connection: Option<TcpConnection>,
}

impl StripeStats {
    /// The same by names, for people.
    pub fn named(&self) -> BTreeMap<String, u64> {
        let whole = [
            ("replayed_messages", self.replayed_messages),
            ("replayed_bytes", self.replayed_bytes),
            ("rejoined", self.rejoined),
            ("staged_messages", self.staged_messages),
            ("duplicates_discarded", self.duplicates_discarded),
            ("discarded_bytes", self.discarded_bytes),
            ("doubled_bytes", self.doubled_bytes),
            ("gap_longest_ns", self.gap_longest_ns),
            ("accepted_bytes", self.accepted_bytes),
            ("confirmed_bytes", self.confirmed_bytes),
            ("arrived_bytes", self.arrived_bytes),
        ];
        let mut named: BTreeMap<String, u64> =
            whole.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for (index, path) in self.paths.iter().enumerate() {
            let known = [
                ("sent_bytes", Some(path.sent_bytes)),
                ("received_bytes", Some(path.received_bytes)),
                ("deaths", Some(path.deaths)),
                ("noticed_after_ns", path.noticed_after_ns),
                ("lost_at_tick_ns", path.lost_at_tick_ns),
                ("carried_again_at_tick_ns", path.carried_again_at_tick_ns),
            ];
            let known = known.into_iter().filter_map(|(what, value)| Some((what, value?)));
            named.extend(known.map(|(what, value)| (format!("path{index}_{what}"), value)));
        }
        named
    }
}
