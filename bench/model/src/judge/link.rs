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
        .map(|nic| of_one_path(environment, nic).ok_or_else(|| format!("the {end}'s {} has none", nic.name)))
        .sum()
}

/// What connections between two hosts can have of a NIC. A bundle says what its members have together, and sends what goes between the same two
/// addresses over one of them as a rule: then it is that of the fastest. The same of a VLAN of a bundle, and of a bridge that it belongs to.
fn of_one_path(environment: &Environment, nic: &Nic) -> Option<u64> {
    /// A VLAN of a VLAN of a bundle is rare already.
    const DEEP: usize = 4;
    let nics = &environment.nics;
    let is_bundle = |one: &Nic| ["bond", "team"].iter().any(|kind| one.is_of_kind(kind));
    let mut below = nic;
    for _ in 0..DEEP {
        let parent = nics.iter().find(|one| below.parent.as_ref() == Some(&one.name));
        let port = nics.iter().find(|one| one.master.as_ref() == Some(&below.name) && is_bundle(one));
        match parent.or(port).filter(|_| !is_bundle(below)) {
            Some(next) => below = next,
            None => break,
        }
    }
    let of_bundle = nics.iter().filter(|one| is_bundle(below) && one.master.as_ref() == Some(&below.name));
    let fastest =
        of_bundle.filter(|one| one.carrier != Some(false)).filter_map(|one| one.speed_bits_per_s).max();
    match (fastest, nic.speed_bits_per_s) {
        (Some(member), Some(whole)) => Some(member.min(whole)),
        (None, whole) => whole,
        // A bundle of which nothing is known.
        (Some(_), None) => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const GBIT: u64 = 1_000_000_000;

    fn nic(name: &str, kind: &str, gbit: u64) -> Nic {
        let speed_bits_per_s = Some(gbit * GBIT).filter(|speed| *speed > 0);
        Nic { name: name.into(), kind: Some(kind.into()), speed_bits_per_s, ..Nic::default() }
    }

    #[test]
    fn a_bundle_is_held_against_its_fastest_member_and_a_nic_against_itself() {
        let member =
            |name: &str, gbit: u64| Nic { master: Some("bond0".into()), ..nic(name, "ethernet", gbit) };
        let vlan = Nic { parent: Some("bond0".into()), ..nic("bond0.20", "vlan", 35) };
        let of = |asked: &str, bundle: Nic| {
            let nics = vec![
                bundle,
                member("p0", 25),
                member("p1", 10),
                vlan.clone(),
                nic("br0", "bridge", 35),
                nic("e9", "ethernet", 1),
            ];
            let host = Environment { nics, ..Environment::default() };
            let asked = host.nics.iter().find(|one| one.name == asked).unwrap();
            of_one_path(&host, asked)
        };
        let bond = || nic("bond0", "bond", 35);
        let in_bridge = || Nic { master: Some("br0".into()), ..bond() };
        assert_eq!([of("bond0", bond()), of("bond0.20", bond())], [Some(25 * GBIT); 2]);
        assert_eq!([of("br0", in_bridge()), of("br0", bond())], [Some(25 * GBIT), Some(35 * GBIT)]);
        assert_eq!([of("e9", bond()), of("p1", bond())], [Some(GBIT), Some(10 * GBIT)]);
        assert_eq!(of("bond0", nic("bond0", "bond", 0)), None, "it does not say");
    }
}
