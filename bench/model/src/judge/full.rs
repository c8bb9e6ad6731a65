//! Hosts whose processors are the limit of a stream.

use crate::{NodeId, Step};

/// From so many cores on, the lanes of an end can be what a host has.
const OWN_CORES: f64 = 0.7;
/// From so much of the time of all its processors on, a host is full.
const FULL_SHARE: f64 = 0.85;
/// The same of the one that is busiest: a single core can be the limit.
const FULL_CORE_SHARE: f64 = 0.95;

/// Why the hosts themselves are the limit of a step, where their lanes take what processors there are, or may: where nobody knows how busy those are.
pub(super) fn full_host(step: &Step) -> Option<String> {
    let ends = [(NodeId::CLIENT, "this host"), (NodeId::SERVER, "the peer")];
    ends.into_iter().find_map(|(node, name)| {
        let cores = cores(step, node).filter(|cores| *cores >= OWN_CORES)?;
        let load = step.evidence(node).and_then(|evidence| evidence.host.as_ref());
        let busy = load.and_then(|load| load.busy_share);
        let busiest = load.and_then(|load| load.busiest_cpu_share);
        let over = |share: Option<f64>, limit: f64| share.is_some_and(|share| share >= limit);
        if over(busy, FULL_SHARE) || over(busiest, FULL_CORE_SHARE) {
            return Some(format!("the processors of {name} are the limit, its lanes take {cores:.1} cores"));
        }
        (busy.is_none() || busiest.is_none()).then(|| {
            format!("the processors of {name} may be the limit, its lanes take {cores:.1} cores and how busy they are is not known")
        })
    })
}

/// The cores that the lanes of an end took.
fn cores(step: &Step, node: NodeId) -> Option<f64> {
    let own = || step.own_lanes().filter(|lane| lane.end.node() == node);
    let cpu_ns: u64 = own().map(|lane| lane.cpu_ns).sum::<Option<u64>>()?;
    let window_ns = own().map(|lane| lane.window_ns).max().filter(|window| *window > 0)?;
    Some(cpu_ns as f64 / window_ns as f64)
}
