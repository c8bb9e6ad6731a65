//! Asks on each wire who has the other end's addresses. It is the one question that tells cables that were swapped, VLANs that
//! were mixed up and addresses with two owners from mere silence, for it needs no route and no filter lets it pass.
//!
//! It refuses to ask for anything but addresses that the other end named, or that this end's user typed; and to teach
//! anybody anything: its questions are probes without a sender's address. (In IPv6 that is how a host claims an address, so those are
//! asked in the name of one that this host has.)

mod listening;
mod six;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pathproof_model::environment::PeerRoute;
use pathproof_model::{Environment, Nic, WireAnswer, Wires};
use pathproof_sys::neighbours::{self, Claim, Neighbour, Wire};
use pathproof_sys::{interfaces, routes};

pub use listening::{Listening, note};

/// How long answers are waited for. A question may be lost, so one that nobody answered is asked twice.
pub const WAIT: Duration = Duration::from_millis(250);
/// Rounds of asking.
pub const ROUNDS: u32 = 2;
/// Letters of an address of Ethernet: six pairs of digits, and what parts them.
const ETHERNET_MAC_LETTERS: usize = 17;
/// Most wires that are asked on.
const WIRES_MAX: usize = 16;
/// Most addresses that are asked for; the other end says how many it has.
const ADDRESSES_MAX: usize = 32;
/// Most devices that are told to claim one address: two are a fault already, and whoever forges more fills no document.
const MACS_MAX: usize = 8;

/// Asks on every wire of `here` for the addresses of `peer` that lie in a network of one of them.
pub fn ask(here: &Environment, peer: &Environment) -> Wires {
    let mut wires = Wires::default();
    let six = six::ask(here, peer, &mut wires.unasked);
    let waited = ask_four(here, peer, &mut wires);
    six.told(if waited { Duration::ZERO } else { WAIT }, &mut wires);
    wires
}

/// The question of IPv4 (ARP); whether answers were waited for.
fn ask_four(here: &Environment, peer: &Environment, wires: &mut Wires) -> bool {
    let nics: Vec<&Nic> = here.nics.iter().filter(|nic| has_a_wire(nic)).collect();
    let wanted: BTreeSet<Ipv4Addr> =
        addresses(peer).filter(|a| nics.iter().any(|nic| shares(nic, *a))).collect();
    let (fragile, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|a| is_fragile(peer, *a));
    wires.unasked.extend(fragile.into_iter().map(|address| {
        format!("{address}: the peer has several NICs there and filters strictly, so an answer could move this host's traffic to a NIC that drops it")
    }));
    // Two hosts that share no network have no wire in common, and an address of this host's own is on none.
    let wanted: Vec<Ipv4Addr> =
        wanted.into_iter().filter(|a| !addresses(here).any(|own| own == *a)).take(ADDRESSES_MAX).collect();
    if wanted.is_empty() {
        return false;
    }
    let mut open = Vec::new();
    for nic in &nics {
        match Wire::open(nic.index, nic.mac.as_deref().unwrap_or_default()) {
            Ok(wire) if open.len() < WIRES_MAX => open.push((*nic, wire)),
            Ok(_) => wires.unasked.push(format!("{}: more than {WIRES_MAX} NICs", nic.name)),
            Err(why) => wires.unasked.push(format!("{}: {why}", nic.name)),
        }
    }
    let mut heard: Vec<BTreeSet<(Ipv4Addr, String)>> = vec![BTreeSet::new(); open.len()];
    for _ in 0..ROUNDS {
        for (at, claims) in round(&open, &wanted, &mut wires.unasked).into_iter().enumerate() {
            heard[at].extend(claims.into_iter().filter_map(|claim| match claim.address {
                IpAddr::V4(address) => Some((address, claim.mac)),
                IpAddr::V6(_) => None,
            }));
        }
        let answered = |nic: &Nic, heard: &BTreeSet<(Ipv4Addr, String)>| {
            let mut due = wanted.iter().filter(|address| shares(nic, **address));
            due.all(|address| heard.iter().any(|(claimed, _)| claimed == address))
        };
        if open.iter().zip(&heard).all(|((nic, _), heard)| answered(nic, heard)) {
            break;
        }
    }
    for ((nic, _), heard) in open.iter().zip(heard) {
        for address in &wanted {
            let asked = heard.iter().filter(|(claimed, _)| claimed == address).map(|(_, mac)| mac.clone());
            let macs: BTreeSet<String> = asked.chain(answered(here, nic, *address)).collect();
            let macs: Vec<String> = macs.into_iter().take(MACS_MAX).collect();
            let shares_network = shares(nic, *address);
            if shares_network || !macs.is_empty() {
                wires.answers.push(WireAnswer {
                    nic: nic.name.clone(),
                    address: (*address).into(),
                    shares_network,
                    macs,
                });
            }
        }
    }
    !open.is_empty()
}

/// Who answered the kernel's own question for an address, by that NIC.
fn answered(here: &Environment, nic: &Nic, address: Ipv4Addr) -> impl Iterator<Item = String> {
    let of = move |peer: &&PeerRoute| peer.address == address && peer.nic.as_ref() == Some(&nic.name);
    here.peers.iter().filter(of).flat_map(|peer| &peer.answered).map(|mac| mac.to_ascii_lowercase())
}

/// An address that more than one device may have.
#[derive(Debug)]
pub struct Disputed {
    /// The finding that it is.
    pub code: &'static str,
    /// Who claims it.
    pub said: String,
    /// Nothing else looks like it.
    pub certain: bool,
}

/// Whether more than one device may have `address`: what explains refusals, resets and silence. `None` where that is not known. `peer` is
/// what the host that has it said of itself, where it did; `heard` is who answered the kernel's own question.
pub fn disputed(address: IpAddr, peer: Option<&Environment>, heard: &[(String, Claim)]) -> Option<Disputed> {
    let IpAddr::V4(wanted) = address.to_canonical() else { return None };
    let route = routes::to(address).ok().flatten().filter(|route| route.router.is_none())?;
    let nic = interfaces::list().ok()?.into_iter().find(|one| one.name == route.interface)?;
    if nic.is_loopback() {
        return None;
    }
    // Without the right to ask, what the kernel has heard by itself is all there is.
    let asked = Wire::open(nic.index, nic.mac.as_deref()?).and_then(|wire| {
        wire.ask(wanted)?;
        wire.claims(WAIT)
    });
    let known: Vec<Neighbour> =
        neighbours::list().ok()?.into_iter().filter(|one| one.interface == nic.name).collect();
    let heard = heard.iter().filter(|(on, _)| *on == nic.name).map(|(_, claim)| claim.clone());
    let claims: Vec<Claim> = asked.unwrap_or_default().into_iter().chain(heard).collect();
    dispute(wanted, &nic.name, &claims, &known, peer)
}

/// The hardware address to which this host sends what is meant for `address` now, where that is none of a NIC of `peer`, whose address it is. `None`
/// behind a router, where nothing is known, and of a peer that tells of no hardware address.
pub fn stranger(address: IpAddr, peer: &Environment) -> Option<String> {
    let address = address.to_canonical();
    let route = routes::to(address).ok().flatten().filter(|route| route.router.is_none())?;
    let known = neighbours::list().ok()?.into_iter();
    let mut known = known.filter(|one| one.interface == route.interface && one.address == address);
    known.find_map(|one| one.mac).filter(|mac| is_strange(mac, peer))
}

fn is_strange(mac: &str, peer: &Environment) -> bool {
    let own: Vec<&str> = peer.nics.iter().filter_map(|nic| nic.mac.as_deref()).collect();
    !own.is_empty() && !own.iter().any(|own| own.eq_ignore_ascii_case(mac))
}

/// What the claims on a wire, and what the kernel remembers of it, say about an address.
fn dispute(
    wanted: Ipv4Addr,
    nic: &str,
    claims: &[Claim],
    known: &[Neighbour],
    peer: Option<&Environment>,
) -> Option<Disputed> {
    let of = |claim: &&Claim| claim.address == IpAddr::V4(wanted);
    let mut macs: BTreeSet<&str> = claims.iter().filter(of).map(|claim| claim.mac.as_str()).collect();
    // What the kernel remembers may be from before the address moved to another device: it counts where nobody answers now.
    if macs.is_empty() {
        macs.extend(known.iter().filter(|one| one.address == wanted).filter_map(|one| one.mac.as_deref()));
    }
    let mac = *macs.first()?;
    let own = |mac: &str| {
        let mut nics = peer.iter().flat_map(|host| &host.nics).filter_map(|nic| nic.mac.as_deref());
        nics.any(|own| own.eq_ignore_ascii_case(mac))
    };
    // Several NICs of one host that answer for each other are no second host.
    if macs.len() > 1 && macs.iter().all(|mac| own(mac)) {
        return None;
    }
    if macs.len() > 1 {
        let macs: Vec<&str> = macs.into_iter().take(MACS_MAX).collect();
        let said = format!("{} devices answer for {wanted} on {nic}: {}", macs.len(), macs.join(" and "));
        return Some(Disputed { code: "ADDRESS-DUPLICATE", said, certain: true });
    }
    // Where the peer has no such NIC, somebody answers in its place (a router, a cloud), for others as well.
    if peer.is_some() && !own(mac) {
        return None;
    }
    let is_peers = |address: IpAddr| peer.is_some_and(|host| addresses(host).any(|own| own == address));
    let others: Vec<String> = known
        .iter()
        .filter(|one| one.address != wanted && one.address.is_ipv4() && one.mac.as_deref() == Some(mac))
        .filter(|one| !is_peers(one.address))
        .map(|one| one.address.to_string())
        .collect();
    let said = format!("{} and {wanted} have the same MAC, {mac}, on {nic}", others.join(", "));
    let certain = peer.is_some();
    let or = if certain {
        ""
    } else {
        ": one host with all of these addresses, or two that take each other's packets"
    };
    (!others.is_empty()).then(|| Disputed { code: "MAC-DUPLICATE", said: said + or, certain })
}

/// One question for each address on every wire, and what was heard there.
fn round(open: &[(&Nic, Wire)], wanted: &[Ipv4Addr], unasked: &mut Vec<String>) -> Vec<Vec<Claim>> {
    for (nic, wire) in open {
        if let Some(why) = wanted.iter().find_map(|address| wire.ask(*address).err()) {
            let why = format!("{}: {why}", nic.name);
            if !unasked.contains(&why) {
                unasked.push(why);
            }
        }
    }
    // The first is waited for; what came on the others meanwhile is there to be read.
    let wait = |at: usize| if at == 0 { WAIT } else { Duration::ZERO };
    open.iter().enumerate().map(|(at, (_, wire))| wire.claims(wait(at)).unwrap_or_default()).collect()
}

/// Whether a NIC has a wire of its own on which IPv4 is spoken.
fn has_a_wire(nic: &Nic) -> bool {
    is_wired(nic) && nic.addresses.iter().any(|one| one.address.is_ipv4())
}

/// Whether a NIC has a wire of its own: members of a bundle or a bridge hear only a part of it.
fn is_wired(nic: &Nic) -> bool {
    nic.up == Some(true)
        && nic.carrier != Some(false)
        && nic.master.is_none()
        && !nic.is_loopback()
        && nic.mac.as_deref().is_some_and(|mac| mac.len() == ETHERNET_MAC_LETTERS)
}

fn addresses(host: &Environment) -> impl Iterator<Item = Ipv4Addr> {
    let all = host.nics.iter().flat_map(|nic| &nic.addresses);
    all.filter_map(|one| match one.address.to_canonical() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_link_local() => Some(address),
        _ => None,
    })
}

/// Whether the answers could do harm: each of several NICs in one network may answer for all, this host's kernel believes the last
/// one, and a strict filter drops what arrives at the NIC that the route back does not name.
fn is_fragile(peer: &Environment, address: Ipv4Addr) -> bool {
    let beside = || peer.nics.iter().filter(|nic| shares(nic, address));
    beside().count() > 1 && beside().any(|nic| nic.reverse_path_filter == Some(1))
}

/// Whether the NIC has an address of the network in which `address` lies.
fn shares(nic: &Nic, address: Ipv4Addr) -> bool {
    nic.addresses.iter().any(|own| match own.address {
        IpAddr::V4(own_address) if (1..=32).contains(&own.prefix_len) => {
            let mask = u32::MAX << (32 - u32::from(own.prefix_len));
            own_address.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::NicAddress;

    fn nic(name: &str, address: &str, prefix_len: u8) -> Nic {
        Nic {
            name: name.into(),
            up: Some(true),
            mac: Some("02:00:00:00:00:01".into()),
            addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len }],
            ..Nic::default()
        }
    }

    #[test]
    fn a_network_is_shared_by_its_prefix() {
        let e0 = nic("e0", "10.9.1.1", 24);
        assert!(shares(&e0, Ipv4Addr::new(10, 9, 1, 200)) && !shares(&e0, Ipv4Addr::new(10, 9, 2, 1)));
        assert!(!shares(&nic("e0", "10.9.1.1", 0), Ipv4Addr::new(10, 9, 1, 2)));
        assert!(!shares(&nic("e0", "10.9.1.1", 33), Ipv4Addr::new(10, 9, 1, 1)));
    }

    fn told(
        claims: &[&str],
        known: &[(&str, &str)],
        peer: Option<&Environment>,
    ) -> Option<(&'static str, bool)> {
        let address = Ipv4Addr::new(10, 9, 0, 2);
        let claims: Vec<Claim> =
            claims.iter().map(|mac| Claim { address: address.into(), mac: (*mac).into() }).collect();
        let known: Vec<Neighbour> = known
            .iter()
            .map(|(address, mac)| Neighbour {
                address: address.parse().unwrap(),
                interface: "e0".into(),
                mac: Some((*mac).into()),
                failed: false,
            })
            .collect();
        dispute(address, "e0", &claims, &known, peer).map(|disputed| (disputed.code, disputed.certain))
    }

    #[test]
    fn two_who_answer_now_are_two_and_what_is_only_remembered_is_not() {
        let (one, two) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        assert_eq!(told(&[one, two], &[], None), Some(("ADDRESS-DUPLICATE", true)));
        assert_eq!(told(&[one], &[("10.9.0.2", two)], None), None, "the address has moved");
        assert_eq!(told(&[], &[("10.9.0.2", two)], None), None);
    }

    #[test]
    fn a_stranger_has_an_address_that_no_nic_of_the_peer_has() {
        let peer = Environment { nics: vec![nic("e0", "10.9.0.2", 24)], ..Environment::default() };
        assert!(is_strange("02:00:00:00:00:99", &peer));
        assert!(!is_strange("02:00:00:00:00:01", &peer));
        assert!(!is_strange("02:00:00:00:00:99", &Environment::default()), "nothing is known of its NICs");
        assert_eq!(stranger([127, 0, 0, 1].into(), &peer), None, "nobody is asked for it");
    }

    #[test]
    fn a_host_with_several_addresses_and_a_cloud_that_answers_for_all_are_no_clones() {
        let one = "02:00:00:00:00:01";
        let both = &[("10.9.0.2", one), ("10.9.0.3", one)];
        // Who was never reached may be either.
        assert_eq!(told(&[one], both, None), Some(("MAC-DUPLICATE", false)));
        let mut peer = Environment { nics: vec![nic("e0", "10.9.0.2", 24)], ..Environment::default() };
        assert_eq!(told(&[one], both, Some(&peer)), Some(("MAC-DUPLICATE", true)));
        peer.nics[0].addresses.push(NicAddress { address: [10, 9, 0, 3].into(), prefix_len: 24 });
        assert_eq!(told(&[one], both, Some(&peer)), None, "both are its own");
        let cloud = "12:34:56:78:9a:bc";
        let all = &[("10.9.0.2", cloud), ("10.9.0.9", cloud)];
        assert_eq!(told(&[cloud], all, Some(&peer)), None);
    }

    #[test]
    fn who_answered_the_kernel_is_told_on_the_nic_that_leads_there() {
        let address = Ipv4Addr::new(10, 9, 0, 2);
        let mut way = PeerRoute { nic: Some("e0".into()), ..PeerRoute::to(address.into()) };
        way.answered = vec!["02:00:00:00:00:AB".into()];
        let here = Environment { peers: vec![way], ..Environment::default() };
        let told = |name: &str, last| {
            let nic = nic(name, "10.9.0.1", 24);
            answered(&here, &nic, Ipv4Addr::new(10, 9, 0, last)).collect::<Vec<_>>()
        };
        assert_eq!(told("e0", 2), ["02:00:00:00:00:ab"]);
        assert!(told("e1", 2).is_empty() && told("e0", 3).is_empty());
    }

    #[test]
    fn nothing_is_asked_of_a_host_without_a_common_network_nor_of_this_host_itself() {
        let host =
            |address: &str| Environment { nics: vec![nic("e0", address, 24)], ..Environment::default() };
        assert_eq!(ask(&host("10.9.1.1"), &host("10.9.2.1")), Wires::default());
        assert_eq!(ask(&host("10.9.1.1"), &host("10.9.1.1")), Wires::default());
        // Where something is to be asked and the NIC is not there, that is said.
        let unasked = ask(&host("10.9.1.1"), &host("10.9.1.2")).unasked;
        assert_eq!(unasked.len(), 1, "{unasked:?}");
        assert!(unasked[0].starts_with("e0: "));
    }

    #[test]
    fn nobody_is_asked_whose_answer_could_move_traffic_to_a_nic_that_drops_it() {
        let strict = |name, address| Nic { reverse_path_filter: Some(1), ..nic(name, address, 24) };
        let address = Ipv4Addr::new(10, 9, 1, 3);
        let host = |nics| Environment { nics, ..Environment::default() };
        let two = vec![strict("e0", "10.9.1.3"), strict("e1", "10.9.1.4")];
        assert!(is_fragile(&host(two.clone()), address));
        assert!(!is_fragile(&host(two[..1].to_vec()), address));
        assert!(!is_fragile(&host(vec![nic("e0", "10.9.1.3", 24), nic("e1", "10.9.1.4", 24)]), address));
        assert!(!is_fragile(&host(vec![strict("e0", "10.9.1.3"), strict("e1", "10.9.2.4")]), address));
        let unasked = ask(&host(vec![nic("e0", "10.9.1.1", 24)]), &host(two)).unasked;
        assert_eq!(unasked.len(), 2, "{unasked:?}");
    }

    #[test]
    fn members_loopbacks_and_nics_without_a_link_have_no_wire() {
        assert!(has_a_wire(&nic("e0", "10.9.1.1", 24)));
        let without = [
            Nic { master: Some("bond0".into()), ..nic("e0", "10.9.1.1", 24) },
            Nic { kind: Some("loopback".into()), ..nic("lo", "10.9.1.1", 24) },
            Nic { carrier: Some(false), ..nic("e0", "10.9.1.1", 24) },
            Nic { mac: None, ..nic("wg0", "10.9.1.1", 24) },
            nic("e0", "fd00::1", 64),
        ];
        assert!(without.iter().all(|nic| !has_a_wire(nic)));
    }
}
