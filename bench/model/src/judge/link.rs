//! The speed of the links that a step's lanes used, at the slower end.

use std::net::{IpAddr, SocketAddr};

use crate::{End, Environment, LaneResult, Nic, ResultDoc, Step};

/// The link speed that a step can be held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSpeed {
    /// The slower end's NICs together, in bit/s.
    Known(u64),
    /// Not known, and why.
    Unknown(String),
}

/// The speed of the NICs that the lanes of `step` used: summed over the NICs of an end, the smaller of both
/// ends.
pub fn link_speed(doc: &ResultDoc, step: &Step) -> LinkSpeed {
    let mut slowest = None;
    for end in End::BOTH {
        match end_speed(end, doc.environment(end.node()), &step.lanes) {
            Ok(speed) => slowest = Some(slowest.map_or(speed, |s: u64| s.min(speed))),
            Err(why) => return LinkSpeed::Unknown(why),
        }
    }
    slowest.map_or_else(|| LinkSpeed::Unknown("no lane".into()), LinkSpeed::Known)
}

fn end_speed(end: End, environment: Option<&Environment>, lanes: &[LaneResult]) -> Result<u64, String> {
    let environment = environment.ok_or_else(|| format!("the {end}'s NICs are unknown"))?;
    let mut nics: Vec<&Nic> = Vec::new();
    for lane in lanes.iter().filter(|l| l.end == end) {
        let used = nics_of(environment, lane).ok_or_else(|| format!("the {end}'s NIC is unknown"))?;
        for nic in used {
            if nics.iter().all(|n| n.name != nic.name) {
                nics.push(nic);
            }
        }
    }
    if nics.is_empty() {
        return Err(format!("the {end}'s NIC is unknown"));
    }
    nics.iter()
        .map(|nic| nic.speed_bits_per_s.ok_or_else(|| format!("the {end}'s {} has none", nic.name)))
        .sum()
}

/// The NICs that a lane used: those it was bound to, or the one that has its local address.
pub fn nics_of<'a>(environment: &'a Environment, lane: &LaneResult) -> Option<Vec<&'a Nic>> {
    if !lane.nics.is_empty() {
        let named = |name: &String| environment.nics.iter().find(|n| n.name == *name);
        return lane.nics.iter().map(named).collect();
    }
    let local = lane.local.as_deref()?;
    let ip: IpAddr = local.parse::<SocketAddr>().map(|a| a.ip()).or_else(|_| local.parse()).ok()?;
    // A dual-stack socket shows an IPv4 peer in IPv6 clothes.
    let ip = ip.to_canonical();
    let has_address = |n: &&Nic| n.addresses.iter().any(|a| a.address == ip);
    // All of 127.0.0.0/8 is the loopback's, whatever it lists.
    let loops = |n: &&Nic| ip.is_loopback() && n.is_loopback();
    let nics = &environment.nics;
    nics.iter().find(has_address).or_else(|| nics.iter().find(loops)).map(|nic| vec![nic])
}
