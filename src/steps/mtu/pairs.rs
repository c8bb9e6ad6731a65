//! Which addresses of two hosts to probe between: a pure choice from what both ends offer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pathproof_model::{Environment, ErrorKind, MtuSpec, Nic, NicAddress, StepError};
use serde::{Deserialize, Serialize};

/// One address of one NIC, as offered to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the NIC.
    pub nic: String,
    /// Its address.
    pub address: IpAddr,
    /// Prefix length of the address, where known.
    pub prefix_len: Option<u8>,
    /// UDP port on which probes are answered.
    pub port: u16,
    /// MTU of the NIC.
    pub ip_mtu_bytes: Option<u32>,
    /// This end counts paced datagrams of Ethernet's own MTU apart.
    #[serde(default)]
    pub counts_standard: bool,
    /// The address is the host's own and its NIC leads nowhere: the routes say by which NIC its packets go. Known of this end's alone.
    #[serde(skip)]
    pub goes_by_routes: bool,
    /// The NIC is a bridge of the host's own containers or guests, and leads to no other host.
    #[serde(default)]
    pub leads_inside: bool,
}

/// Two endpoints to probe between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Index among this end's endpoints.
    pub local: usize,
    /// Index among the peer's.
    pub remote: usize,
    /// They ought to reach each other (one subnet, or the control connection does): silence is worth a report.
    /// Other pairs are tried as well, but are left out when nothing answers.
    pub ought: bool,
}

/// What stands for a NIC whose name nobody knows.
pub const UNNAMED: &str = "unknown";
/// At most so many pairs are probed.
const PAIRS_MAX: usize = 64;
/// At most so many addresses are taken from a peer.
const ENDPOINTS_MAX: usize = 256;

/// This host's endpoints, ports still unset. `control` is this end's address of the control connection.
pub fn endpoints(
    environment: &Environment,
    spec: &MtuSpec,
    control: IpAddr,
) -> Result<Vec<Endpoint>, StepError> {
    let invalid = |message: String| StepError::new(ErrorKind::Invalid, message);
    for name in &spec.nics {
        let Some(nic) = environment.nics.iter().find(|nic| nic.name == *name) else {
            let names: Vec<&str> = environment.nics.iter().map(|nic| nic.name.as_str()).collect();
            return Err(invalid(format!("there is no NIC {name:?} here; there are: {}", names.join(", "))));
        };
        usable(nic).map_err(invalid)?;
        if nic.addresses.is_empty() {
            return Err(invalid(format!(
                "NIC {name} has no address; give it one: ip address add ... dev {name}"
            )));
        }
    }
    let mut found: Vec<Endpoint> = Vec::new();
    for nic in &environment.nics {
        let wanted = spec.nics.is_empty() || spec.nics.contains(&nic.name);
        if !wanted || usable(nic).is_err() {
            continue;
        }
        // Loopback leads to this very host, where that is the peer.
        let goes_by_routes = nic.leads_nowhere() && !control.is_loopback();
        for address in &nic.addresses {
            // Loopback talks to itself only, so it is probed exactly when the peer is this very host.
            let fits = address.address.is_loopback() == control.is_loopback()
                && !is_link_local(address.address)
                && family_wanted(spec, address.address);
            if fits {
                found.push(Endpoint {
                    nic: nic.name.clone(),
                    address: address.address,
                    prefix_len: Some(address.prefix_len),
                    port: 0,
                    // That of a NIC by which nothing goes is no limit of the way.
                    ip_mtu_bytes: nic.ip_mtu_bytes.filter(|_| !goes_by_routes),
                    counts_standard: true,
                    goes_by_routes,
                    leads_inside: environment.leads_inside(nic),
                });
            }
        }
    }
    if found.is_empty() && spec.nics.is_empty() && family_wanted(spec, control) {
        // Nothing is known of this host's NICs; the control connection's address works at any rate.
        let nic = environment.nics.iter().find(|nic| nic.addresses.iter().any(|a| a.address == control));
        found.push(Endpoint {
            nic: nic.map_or_else(|| UNNAMED.into(), |nic| nic.name.clone()),
            address: control,
            prefix_len: None,
            port: 0,
            ip_mtu_bytes: nic.and_then(|nic| nic.ip_mtu_bytes),
            counts_standard: true,
            goes_by_routes: false,
            leads_inside: false,
        });
    }
    if found.is_empty() {
        let families: Vec<String> = spec.families.iter().map(|family| format!("IPv{family}")).collect();
        let families = if families.is_empty() { "IP".into() } else { families.join(" or ") };
        return Err(StepError::new(
            ErrorKind::Unsupported,
            format!(
                "no NIC of this host has a usable {families} address; add one, or try the other --family"
            ),
        ));
    }
    Ok(found)
}

fn usable(nic: &Nic) -> Result<(), String> {
    let name = &nic.name;
    if nic.up == Some(false) {
        return Err(format!("NIC {name} is down; bring it up: ip link set {name} up"));
    }
    if nic.carrier == Some(false) {
        return Err(format!("NIC {name} has no carrier; check cable, transceiver and switch port"));
    }
    Ok(())
}

fn family_wanted(spec: &MtuSpec, address: IpAddr) -> bool {
    spec.families.is_empty() || spec.families.contains(&if address.is_ipv4() { 4 } else { 6 })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Who of two ends holds the other for one of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbours {
    /// Each the other.
    Both,
    /// The one with the shorter prefix alone.
    One,
    /// Neither, or nobody knows.
    Neither,
}

/// All pairs worth a probe. `control` is (this end's, the peer's) address of the control connection. Both ends
/// come to the same pairs, mirrored, unless one of them names addresses that are not its own.
pub fn pairs(local: &[Endpoint], remote: &[Endpoint], control: (IpAddr, IpAddr)) -> Vec<Pair> {
    let mut tried = Vec::new();
    let (mut paired_here, mut paired_there) = (BTreeSet::new(), BTreeSet::new());
    for (l, here) in local.iter().enumerate() {
        for (r, there) in remote.iter().enumerate().take(ENDPOINTS_MAX) {
            let same_family = here.address.is_ipv4() == there.address.is_ipv4();
            // The same private address on both hosts (a container bridge, say) leads nowhere but home.
            if !same_family || (here.address == there.address && !here.address.is_loopback()) {
                continue;
            }
            if !is_one_host(there, here) {
                continue;
            }
            let neighbours = neighbours(here, there);
            if neighbours == Neighbours::Both {
                paired_here.insert(l);
                paired_there.insert(r);
            }
            tried.push((l, r, neighbours));
        }
    }
    let ought = |l: usize, r: usize, neighbours: Neighbours| {
        let (here, there) = (&local[l], &remote[r]);
        let of_one_network = match neighbours {
            Neighbours::Both => true,
            // A prefix that is wrong at one end, unless something else explains it: a wide network (10.0.0.0/8) holds many that are none of it,
            // those of other NICs and of containers.
            Neighbours::One => {
                let is_paired = paired_here.contains(&l) || paired_there.contains(&r);
                !is_paired && !here.leads_inside && !there.leads_inside
            }
            Neighbours::Neither => false,
        };
        of_one_network || (here.address, there.address) == control || here.address.is_loopback()
    };
    let tried = tried.into_iter();
    let mut pairs: Vec<Pair> =
        tried.map(|(l, r, by)| Pair { local: l, remote: r, ought: ought(l, r, by) }).collect();
    pairs.sort_by_key(|pair| !pair.ought);
    pairs.truncate(PAIRS_MAX);
    pairs
}

fn neighbours(here: &Endpoint, there: &Endpoint) -> Neighbours {
    let (Some(ours), Some(theirs)) = (here.prefix_len, there.prefix_len) else { return Neighbours::Neither };
    let within = |prefix_len| same_subnet(here.address, there.address, Some(prefix_len));
    match (within(ours), within(theirs)) {
        (true, true) => Neighbours::Both,
        (true, false) | (false, true) => Neighbours::One,
        (false, false) => Neighbours::Neither,
    }
}

/// Whether an address that the peer names can be that of one host at all: not many, not none, and this host only where
/// the peer is this host.
fn is_one_host(there: &Endpoint, here: &Endpoint) -> bool {
    let address = there.address;
    let wide = address.is_multicast()
        || address.is_unspecified()
        || is_link_local(address)
        || there.prefix_len.is_some_and(|len| is_of_subnet(address, len))
        || here
            .prefix_len
            .is_some_and(|len| same_subnet(here.address, address, Some(len)) && is_of_subnet(address, len));
    let reserved = match address {
        // RFC 1122 §3.2.1.3 (this network) and RFC 1112 §4 (class E, with the limited broadcast in it).
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        // An IPv4 address in other clothes would pass by the checks above.
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !wide && !reserved && there.port != 0 && address.is_loopback() == here.address.is_loopback()
}

/// Whether `address` is that of a whole IPv4 subnet: its broadcast address, or its own.
fn is_of_subnet(address: IpAddr, prefix_len: u8) -> bool {
    let IpAddr::V4(v4) = address else { return false };
    // Two hosts need no broadcast (RFC 3021).
    if prefix_len >= 31 {
        return false;
    }
    let host = u32::MAX >> prefix_len;
    let bits = u32::from(v4) & host;
    bits == host || bits == 0
}

/// Whether both lie in one network of this prefix length; not where nobody knows it.
pub fn same_subnet(a: IpAddr, b: IpAddr, prefix_len: Option<u8>) -> bool {
    prefix_len.is_some_and(|prefix_len| NicAddress { address: a, prefix_len }.shares_network(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str, addresses: &[(&str, u8)]) -> Nic {
        Nic {
            name: name.into(),
            up: Some(true),
            carrier: Some(true),
            ip_mtu_bytes: Some(9000),
            addresses: addresses
                .iter()
                .map(|(address, prefix_len)| NicAddress {
                    address: address.parse().unwrap(),
                    prefix_len: *prefix_len,
                })
                .collect(),
            ..Nic::default()
        }
    }

    fn host(nics: Vec<Nic>) -> Environment {
        Environment { nics, ..Environment::default() }
    }

    fn control() -> IpAddr {
        "10.0.1.1".parse().unwrap()
    }

    #[test]
    fn endpoints_leave_out_loopback_and_link_local() {
        let host = host(vec![
            nic("lo", &[("127.0.0.1", 8), ("::1", 128)]),
            nic("a", &[("10.0.1.1", 24), ("fe80::1", 64), ("fd00::1", 64)]),
        ]);
        let found = endpoints(&host, &MtuSpec::default(), control()).unwrap();
        let names: Vec<String> = found.iter().map(|e| e.address.to_string()).collect();
        assert_eq!(names, ["10.0.1.1", "fd00::1"]);
        let own = endpoints(&host, &MtuSpec::default(), "127.0.0.1".parse().unwrap()).unwrap();
        assert!(own.iter().all(|e| e.nic == "lo") && own.len() == 2);
    }

    #[test]
    fn an_address_on_the_loopback_goes_by_the_routes_and_has_no_mtu_of_its_own() {
        let mut lo = nic("lo", &[("127.0.0.1", 8), ("10.9.100.1", 32)]);
        lo.kind = Some("loopback".into());
        let host = host(vec![lo, nic("a", &[("10.0.1.1", 24)])]);
        let found = endpoints(&host, &MtuSpec::default(), "10.9.100.1".parse().unwrap()).unwrap();
        let told: Vec<_> = found.iter().map(|e| (e.nic.as_str(), e.goes_by_routes, e.ip_mtu_bytes)).collect();
        assert_eq!(told, [("lo", true, None), ("a", false, Some(9000))]);
        assert_eq!(crate::steps::mtu::device(&found[0]), None);
        assert_eq!(crate::steps::mtu::device(&found[1]), Some("a"));
    }

    #[test]
    fn what_was_asked_for_and_cannot_be_is_an_error_that_helps() {
        let mut down = nic("down", &[("10.0.2.1", 24)]);
        down.up = Some(false);
        let mut dark = nic("dark", &[("10.0.3.1", 24)]);
        dark.carrier = Some(false);
        let host = host(vec![nic("a", &[("10.0.1.1", 24)]), down, dark]);
        let ask = |nic: &str| {
            let spec = MtuSpec { nics: vec![nic.into()], ..MtuSpec::default() };
            endpoints(&host, &spec, control()).unwrap_err().message
        };
        assert!(ask("down").contains("ip link set down up"));
        assert!(ask("dark").contains("carrier"));
        assert!(ask("b").contains("there are: a, down, dark"));
        let six = MtuSpec { families: vec![6], ..MtuSpec::default() };
        let error = endpoints(&host, &six, control()).unwrap_err();
        assert!(error.message.contains("IPv6"), "{}", error.message);
    }

    #[test]
    fn an_unknown_host_still_has_its_control_address() {
        let found = endpoints(&Environment::default(), &MtuSpec::default(), control()).unwrap();
        assert_eq!((found.len(), found[0].address), (1, control()));
    }

    fn make(addresses: &[&str]) -> Vec<Endpoint> {
        let endpoint = |address: &&str| Endpoint {
            nic: "n".into(),
            address: address.parse().unwrap(),
            prefix_len: Some(if address.contains(':') { 64 } else { 24 }),
            port: 1,
            ip_mtu_bytes: None,
            counts_standard: true,
            goes_by_routes: false,
            leads_inside: false,
        };
        addresses.iter().map(endpoint).collect()
    }

    #[test]
    fn what_a_peer_names_is_taken_for_a_host_only_where_it_can_be_one() {
        let here = make(&["10.0.1.1", "fd00::1"]);
        let named = |address: &str| {
            let mut there = make(&[address]);
            // A peer that lies about the address lies about its subnet too.
            there[0].prefix_len = None;
            !pairs(&here, &there, (here[0].address, "10.0.1.2".parse().unwrap())).is_empty()
        };
        for host in ["10.0.1.2", "10.7.7.7", "192.0.2.255", "fd00::2", "2001:db8::9"] {
            assert!(named(host), "{host}");
        }
        let many = [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "10.0.1.255",
            "10.0.1.0",
            "127.0.0.1",
            "169.254.1.1",
            "::",
            "::1",
            "ff02::1",
            "fe80::2",
            "::ffff:10.0.1.2",
        ];
        for none in many {
            assert!(!named(none), "{none}");
        }
        let mut closed = make(&["10.0.1.2"]);
        closed[0].port = 0;
        assert!(pairs(&here, &closed, (here[0].address, closed[0].address)).is_empty());
    }

    #[test]
    fn a_peer_that_names_a_thousand_addresses_gets_so_many_pairs_and_no_more() {
        let there: Vec<Endpoint> =
            (0..1000u32).flat_map(|i| make(&[&format!("10.{}.{}.9", i / 250 + 2, i % 250)])).collect();
        let found = pairs(&make(&["10.0.1.1", "10.0.2.1"]), &there, (control(), control()));
        assert_eq!(found.len(), PAIRS_MAX);
        assert!(found.iter().all(|pair| pair.remote < ENDPOINTS_MAX));
    }

    fn make_with_prefixes(addresses: &[(&str, u8)]) -> Vec<Endpoint> {
        let made = addresses.iter().map(|(address, prefix_len)| {
            let one = make(&[*address]).remove(0);
            Endpoint { prefix_len: Some(*prefix_len), ..one }
        });
        made.collect()
    }

    /// The pairs that ought to reach each other, by the choice of both ends, where the control connection is between other addresses.
    fn expected(here: &[Endpoint], there: &[Endpoint]) -> Vec<String> {
        let control = (IpAddr::from([192, 168, 0, 1]), IpAddr::from([192, 168, 0, 2]));
        let named = |l: usize, r: usize| format!("{} - {}", here[l].address, there[r].address);
        let ours = pairs(here, there, control).into_iter().filter(|pair| pair.ought);
        let theirs = pairs(there, here, (control.1, control.0)).into_iter().filter(|pair| pair.ought);
        let mut ours: Vec<String> = ours.map(|pair| named(pair.local, pair.remote)).collect();
        let mut theirs: Vec<String> = theirs.map(|pair| named(pair.remote, pair.local)).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
        ours
    }

    #[test]
    fn a_network_at_one_host_that_lies_within_a_wide_one_is_not_expected_to_reach_it() {
        let there = make_with_prefixes(&[("10.1.2.4", 8)]);
        for inner in [("10.88.0.1", 16), ("10.8.0.2", 24), ("10.5.0.2", 30)] {
            let here = make_with_prefixes(&[("10.1.2.3", 8), inner]);
            assert_eq!(expected(&here, &there), ["10.1.2.3 - 10.1.2.4"], "{inner:?}");
            // It is tried all the same: perhaps it is reached.
            assert_eq!(pairs(&here, &there, (here[0].address, there[0].address)).len(), 2);
        }
    }

    #[test]
    fn prefixes_that_differ_make_a_pair_where_nothing_else_explains_them() {
        let here = make_with_prefixes(&[("10.9.0.1", 24), ("10.9.1.1", 24)]);
        let there = make_with_prefixes(&[("10.9.0.130", 25), ("10.9.1.2", 24)]);
        assert_eq!(expected(&here, &there), ["10.9.0.1 - 10.9.0.130", "10.9.1.1 - 10.9.1.2"]);
        let mut unknown = there;
        unknown[0].prefix_len = None;
        assert_eq!(expected(&here, &unknown), ["10.9.1.1 - 10.9.1.2"]);
        // The control connection's pair is one whatever the prefixes say.
        let by_control = pairs(&here, &unknown, (here[0].address, unknown[0].address));
        assert!(by_control.contains(&Pair { local: 0, remote: 0, ought: true }));
    }

    #[test]
    fn a_bridge_of_containers_is_expected_to_reach_another_host_only_where_both_say_so() {
        let mut bridge = nic("podman0", &[("10.88.0.1", 16)]);
        bridge.kind = Some("bridge".into());
        let guest =
            |kind: &str| Nic { kind: Some(kind.into()), master: Some("podman0".into()), ..nic("port", &[]) };
        let expected_with = |nics: Vec<Nic>, prefix_len: u8| {
            let mut here = endpoints(&host(nics), &MtuSpec::default(), control()).unwrap();
            here.iter_mut().for_each(|endpoint| endpoint.port = 1);
            !expected(&here, &make_with_prefixes(&[("10.0.0.5", prefix_len)])).is_empty()
        };
        assert!(!expected_with(vec![bridge.clone()], 8));
        assert!(!expected_with(vec![bridge.clone(), guest("veth")], 8));
        assert!(expected_with(vec![bridge.clone(), guest("ethernet")], 8), "a member leads out");
        assert!(expected_with(vec![nic("e0", &[("10.88.0.1", 16)])], 8), "it is no bridge");
        let mut wide = bridge;
        wide.addresses[0].prefix_len = 8;
        assert!(expected_with(vec![wide], 8), "both hold it for one network");
    }

    #[test]
    fn pairs_are_mirrored_and_subnets_come_first() {
        let here = make(&["10.0.1.1", "10.0.2.1", "fd00::1"]);
        let there = make(&["10.0.2.2", "10.0.1.2", "172.17.0.1"]);
        let control = (here[0].address, there[1].address);
        let found = pairs(&here, &there, control);
        let ought: Vec<(usize, usize)> =
            found.iter().filter(|p| p.ought).map(|p| (p.local, p.remote)).collect();
        assert_eq!(ought, [(0, 1), (1, 0)]);
        let mut mirrored: Vec<_> = pairs(&there, &here, (control.1, control.0))
            .iter()
            .map(|p| (p.remote, p.local, p.ought))
            .collect();
        let mut straight: Vec<_> = found.iter().map(|p| (p.local, p.remote, p.ought)).collect();
        mirrored.sort_unstable();
        straight.sort_unstable();
        assert_eq!(mirrored, straight);
        assert!(!same_subnet(here[0].address, there[0].address, Some(24)));
        assert!(same_subnet(here[0].address, there[0].address, Some(0)));
    }
}
