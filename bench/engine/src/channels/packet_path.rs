//! By which path the packets of a NIC go: an adapter, a virtual function of one, a virtual switch. Decided from what the host tells of its
//! NICs (driver, kind, who belongs to whom, SR-IOV) and of itself, and never from what was measured: a rate proves no path.
//!
//! Hyper-V's NIC (netvsc) takes the virtual function that belongs to it as a port of its own, and so does the failover driver of virtio: the
//! addresses stay on the upper one, and nearly all packets go by the lower. Words of the kernel are looked up in the lists below; what none of
//! them has is unknown.

use std::collections::BTreeMap;

use pathproof_model::{Channels, Environment, Nic, PacketPath, PacketPathKind, PairPath};

/// The driver of Hyper-V's own NIC, over the VMBus.
const NETVSC: [&str; 1] = ["hv_netvsc"];
/// The driver that joins a virtual function and a NIC of virtio.
const FAILOVER: [&str; 2] = ["net_failover", "failover"];
/// NICs that a hypervisor and its guest agree upon.
const VIRTIO: [&str; 1] = ["virtio_net"];
const PARAVIRTUAL: [&str; 5] = ["vmxnet3", "xen_netfront", "vif", "ena", "gve"];
/// Adapters of old, which hypervisors imitate.
const IMITATED: [&str; 6] = ["e1000", "e1000e", "8139cp", "8139too", "pcnet32", "ne2k-pci"];
/// Drivers that know virtual functions alone.
const FUNCTIONS: [&str; 5] = ["ixgbevf", "iavf", "i40evf", "igbvf", "mana"];
/// What the kernel says of a NIC that is of no kind of its own.
const ADAPTERS: [&str; 2] = ["ethernet", "infiniband"];
const BRIDGES: [&str; 2] = ["bridge", "openvswitch"];
const TEAMS: [&str; 2] = ["bond", "team"];
const TAPS: [&str; 1] = ["tun"];
const PAIRS: [&str; 2] = ["veth", "netkit"];
const TUNNELS: [&str; 15] = [
    "vxlan",
    "geneve",
    "bareudp",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "ipip",
    "sit",
    "ip6tnl",
    "wireguard",
    "xfrm",
    "gtp",
];
/// Interfaces that lie on one another and are followed; a host that tells of a circle is not followed for ever.
const DEEP: usize = 4;

/// The path of each pair of NICs of a prediction, once, in its order. Of an end that is no agent nothing is known.
pub fn of_pairs(channels: &Channels, here: &Environment, there: Option<&Environment>) -> Vec<PairPath> {
    let of_all = |host: &Environment| -> BTreeMap<String, PacketPath> {
        host.nics.iter().map(|nic| (nic.name.clone(), of_nic(host, nic))).collect()
    };
    let (near, far) = (of_all(here), there.map(of_all).unwrap_or_default());
    let mut pairs: Vec<PairPath> = vec![];
    for pair in &channels.pairs {
        let known =
            pairs.iter().any(|one| one.local_nic == pair.local_nic && one.remote_nic == pair.remote_nic);
        let Some(local) = near.get(&pair.local_nic).filter(|_| !known) else { continue };
        pairs.push(PairPath {
            local_nic: pair.local_nic.clone(),
            remote_nic: pair.remote_nic.clone(),
            local: local.clone(),
            remote: far.get(&pair.remote_nic).cloned(),
        });
    }
    pairs
}

/// Whether what goes by it is packed into packets that go by another NIC: its MTU is that one's less a header.
pub fn is_tunnel(nic: &Nic) -> bool {
    is_kind(nic, &TUNNELS)
}

/// The path of a NIC's packets.
pub fn of_nic(host: &Environment, nic: &Nic) -> PacketPath {
    followed(host, nic, DEEP)
}

fn followed(host: &Environment, nic: &Nic, deep: usize) -> PacketPath {
    if nic.is_loopback() {
        return alone(nic, PacketPathKind::Loopback, "it leads to this host alone");
    }
    if deep == 0 {
        return alone(nic, PacketPathKind::Unknown, "more interfaces lie on one another than are followed");
    }
    let parent = nic.parent.as_ref().and_then(|name| host.nics.iter().find(|one| one.name == *name));
    if let Some(parent) = parent {
        return upon(nic, followed(host, parent, deep - 1));
    }
    let members: Vec<&Nic> = host.nics.iter().filter(|one| one.master.as_ref() == Some(&nic.name)).collect();
    if has_driver(nic, &NETVSC) {
        return over_vmbus(host, nic, &members);
    }
    if has_driver(nic, &FAILOVER) {
        return joined(nic, &members);
    }
    if is_kind(nic, &BRIDGES) {
        return bridge(host, nic, &members, deep);
    }
    if is_kind(nic, &TEAMS) {
        return team(host, nic, &members, deep);
    }
    by_itself(host, nic)
}

/// A NIC that has nothing below it.
fn by_itself(host: &Environment, nic: &Nic) -> PacketPath {
    use PacketPathKind::{
        Emulated, Paravirtual, PassedThrough, Physical, Tap, Tunnel, Unknown, Veth, Virtio,
    };
    let driver = nic.driver.as_deref().unwrap_or("unknown");
    if nic.sr_iov.as_ref().is_some_and(|sr_iov| sr_iov.is_virtual) || has_driver(nic, &FUNCTIONS) {
        let why = format!("it is a virtual function of an adapter (driver {driver})");
        return alone(nic, PacketPathKind::VirtualFunction, why);
    }
    let of_driver = |kind, what: &str| alone(nic, kind, format!("its driver is {driver}, {what}"));
    if has_driver(nic, &VIRTIO) {
        return of_driver(Virtio, "which reaches the hypervisor's switch by virtio");
    }
    if has_driver(nic, &PARAVIRTUAL) {
        return of_driver(Paravirtual, "which is made for the hypervisor");
    }
    if is_kind(nic, &PAIRS) {
        return alone(nic, Veth, "its other end is in this machine, in another network namespace as a rule");
    }
    if is_kind(nic, &TAPS) {
        return alone(nic, Tap, "its other end is a program of this host");
    }
    if is_kind(nic, &TUNNELS) {
        return alone(nic, Tunnel, "its packets travel in others, over whatever NIC their route has");
    }
    let is_guest = host.is_guest;
    if is_guest == Some(true) && has_driver(nic, &IMITATED) {
        return of_driver(Emulated, "an adapter that the hypervisor imitates");
    }
    match (is_adapter(nic), is_guest) {
        (true, Some(false)) => of_driver(Physical, "of an adapter of this machine"),
        (true, Some(true)) => of_driver(PassedThrough, "of an adapter, in a virtual machine"),
        (true, None) => of_driver(Unknown, "and whether this host is a virtual machine is not known"),
        (false, _) => alone(nic, Unknown, "its kind and its driver tell nothing of it"),
    }
}

/// Hyper-V's NIC: with the virtual function that belongs to it, or without.
fn over_vmbus(host: &Environment, nic: &Nic, members: &[&Nic]) -> PacketPath {
    if let Some(function) = members.iter().find(|one| carries(one)) {
        return accelerated(nic, function);
    }
    let has_its_address =
        |one: &&Nic| one.name != nic.name && one.mac.is_some() && one.mac == nic.mac && is_adapter(one);
    let why = match (members.first(), host.nics.iter().find(has_its_address)) {
        (Some(down), _) => format!("its virtual function {} is down", down.name),
        (None, Some(other)) => format!("{} has its hardware address and does not belong to it", other.name),
        (None, None) => "it has no virtual function".to_owned(),
    };
    alone(
        nic,
        PacketPathKind::Synthetic,
        format!("{why}, so its packets go over the VMBus to the virtual switch"),
    )
}

/// A virtual function and a NIC of virtio that stands in for it.
fn joined(nic: &Nic, members: &[&Nic]) -> PacketPath {
    let (standby, functions): (Vec<&Nic>, Vec<&Nic>) =
        members.iter().copied().partition(|one| has_driver(one, &VIRTIO));
    if let Some(function) = functions.iter().find(|one| carries(one)) {
        return accelerated(nic, function);
    }
    match standby.first() {
        Some(standby) => {
            let why = format!("no virtual function of it is up, and {} of virtio stands in", standby.name);
            upon(nic, alone(standby, PacketPathKind::Virtio, why))
        }
        None => alone(nic, PacketPathKind::Unknown, "nothing is known to belong to it"),
    }
}

fn accelerated(nic: &Nic, function: &Nic) -> PacketPath {
    let driver = function.driver.as_deref().unwrap_or("unknown");
    let why = format!("its virtual function {} (driver {driver}) is up", function.name);
    upon(nic, alone(function, PacketPathKind::Accelerated, why))
}

/// A bridge of the host, and what leads out of it.
fn bridge(host: &Environment, nic: &Nic, members: &[&Nic], deep: usize) -> PacketPath {
    let leads_out = |one: &&&Nic| {
        is_adapter(one) || one.parent.is_some() || is_kind(one, &TEAMS) || is_kind(one, &TUNNELS)
    };
    match members.iter().find(leads_out) {
        Some(out) => {
            let below = followed(host, out, deep - 1);
            let why =
                format!("a bridge of the host, out of which {} leads ({})", out.name, below.kind.words());
            upon(nic, PacketPath { kind: PacketPathKind::Bridge, why, ..below })
        }
        None => alone(nic, PacketPathKind::Bridge, "a bridge of the host, no member of which is an adapter"),
    }
}

/// A bond: that of its members, where they are alike.
fn team(host: &Environment, nic: &Nic, members: &[&Nic], deep: usize) -> PacketPath {
    let below: Vec<PacketPath> = members.iter().map(|one| followed(host, one, deep - 1)).collect();
    let Some(first) = below.first() else {
        return alone(nic, PacketPathKind::Unknown, "it has no members");
    };
    let alike = below.iter().all(|one| one.kind == first.kind);
    let kind = if alike { first.kind } else { PacketPathKind::Several };
    let why: Vec<String> = members
        .iter()
        .zip(&below)
        .map(|(one, path)| format!("{}: {}", one.name, path.kind.words()))
        .collect();
    let through = below.iter().flat_map(|one| one.through.clone()).collect();
    upon(nic, PacketPath { kind, through, why: format!("its members are {}", why.join(", ")) })
}

fn alone(nic: &Nic, kind: PacketPathKind, why: impl Into<String>) -> PacketPath {
    PacketPath { kind, through: vec![nic.name.clone()], why: why.into() }
}

/// The path of what lies below a NIC, with that on top.
fn upon(nic: &Nic, mut below: PacketPath) -> PacketPath {
    below.through.insert(0, nic.name.clone());
    below
}

/// Whether it sits on a bus: what has none, and what only says so of itself (a tap), is no adapter.
fn is_adapter(nic: &Nic) -> bool {
    nic.bus.is_some() && is_kind(nic, &ADAPTERS)
}

fn carries(nic: &Nic) -> bool {
    nic.up != Some(false) && nic.carrier != Some(false)
}

fn has_driver(nic: &Nic, known: &[&str]) -> bool {
    nic.driver.as_deref().is_some_and(|driver| known.contains(&driver))
}

fn is_kind(nic: &Nic, known: &[&str]) -> bool {
    nic.kind.as_deref().is_some_and(|kind| known.contains(&kind))
}

#[cfg(test)]
mod tests {
    use pathproof_model::SrIov;

    use super::*;

    fn nic(name: &str, kind: &str, driver: &str, bus: &str) -> Nic {
        let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Nic {
            name: name.into(),
            kind: Some(kind.into()),
            driver: told(driver),
            bus: told(bus),
            up: Some(true),
            ..Nic::default()
        }
    }

    fn host(is_guest: Option<bool>, nics: Vec<Nic>) -> Environment {
        Environment { is_guest, nics, ..Environment::default() }
    }

    /// The path of the first NIC: its kind, and through what.
    fn first(is_guest: Option<bool>, nics: Vec<Nic>) -> (PacketPathKind, Vec<String>, String) {
        let host = host(is_guest, nics);
        let PacketPath { kind, through, why } = of_nic(&host, &host.nics[0]);
        (kind, through, why)
    }

    fn of(upper: &str, nic: Nic) -> Nic {
        Nic { master: Some(upper.into()), ..nic }
    }

    const PCI: &str = "0000:81:00.0";

    #[test]
    fn a_nic_by_itself_is_told_by_its_driver_its_kind_and_its_machine() {
        use PacketPathKind::{
            Emulated, Loopback, Paravirtual, PassedThrough, Physical, Tap, Tunnel, Unknown, Veth, Virtio,
            VirtualFunction,
        };
        let lent = Nic {
            sr_iov: Some(SrIov { is_virtual: true, ..SrIov::default() }),
            ..nic("v0", "ethernet", "mlx5_core", PCI)
        };
        for (kind, is_guest, nic) in [
            (Physical, Some(false), nic("n0", "ethernet", "mlx5_core", PCI)),
            (PassedThrough, Some(true), nic("n0", "ethernet", "mlx5_core", PCI)),
            (Unknown, None, nic("n0", "ethernet", "mlx5_core", PCI)),
            (VirtualFunction, Some(false), lent),
            (VirtualFunction, Some(true), nic("n0", "ethernet", "iavf", PCI)),
            (Virtio, Some(true), nic("n0", "ethernet", "virtio_net", "0000:00:03.0")),
            (Paravirtual, Some(true), nic("n0", "ethernet", "vmxnet3", "0000:0b:00.0")),
            (Emulated, Some(true), nic("n0", "ethernet", "e1000", "0000:00:03.0")),
            (Physical, Some(false), nic("n0", "ethernet", "e1000e", PCI)),
            (Veth, Some(false), nic("n0", "veth", "veth", "")),
            (Tap, Some(false), nic("n0", "tun", "tun", "tap")),
            (Tunnel, Some(false), nic("n0", "vxlan", "vxlan", "")),
            (Loopback, Some(false), nic("lo", "loopback", "", "")),
            (Unknown, Some(false), nic("n0", "dummy", "dummy", "")),
        ] {
            let name = nic.name.clone();
            let (told, through, why) = first(is_guest, vec![nic]);
            assert_eq!((told, through), (kind, vec![name]), "{why}");
            assert!(!why.is_empty());
        }
    }

    #[test]
    fn netvsc_goes_by_the_virtual_function_that_belongs_to_it_and_else_by_the_switch() {
        let upper =
            || Nic { mac: Some("00:15:5d:00:00:01".into()), ..nic("eth0", "ethernet", "hv_netvsc", "guid") };
        let function = || Nic { mac: upper().mac, ..nic("enP1", "ethernet", "mlx5_core", "0001:00:02.0") };
        let (kind, through, why) = first(Some(true), vec![upper(), of("eth0", function())]);
        assert_eq!((kind, through), (PacketPathKind::Accelerated, vec!["eth0".into(), "enP1".into()]));
        assert!(why.contains("enP1 (driver mlx5_core) is up"), "{why}");
        for (more, says) in [
            (vec![], "it has no virtual function"),
            (vec![Nic { up: Some(false), ..of("eth0", function()) }], "enP1 is down"),
            (vec![function()], "does not belong to it"),
        ] {
            let (kind, through, why) = first(Some(true), [vec![upper()], more].concat());
            assert_eq!((kind, through), (PacketPathKind::Synthetic, vec!["eth0".into()]));
            assert!(why.contains(says) && why.contains("virtual switch"), "{why}");
        }
    }

    #[test]
    fn failover_of_virtio_goes_by_the_function_while_that_is_up() {
        let upper = || nic("ens3", "ethernet", "net_failover", "");
        let standby = || of("ens3", nic("ens3nsby", "ethernet", "virtio_net", "0000:00:03.0"));
        let function = || of("ens3", nic("ens3f", "ethernet", "iavf", "0000:00:05.0"));
        let (kind, through, _) = first(Some(true), vec![upper(), standby(), function()]);
        assert_eq!((kind, through), (PacketPathKind::Accelerated, vec!["ens3".into(), "ens3f".into()]));
        let gone = Nic { carrier: Some(false), ..function() };
        let (kind, through, _) = first(Some(true), vec![upper(), standby(), gone]);
        assert_eq!((kind, through), (PacketPathKind::Virtio, vec!["ens3".into(), "ens3nsby".into()]));
    }

    #[test]
    fn vlans_bonds_and_bridges_are_what_lies_below_them() {
        let port = |name: &str, upper: &str| of(upper, nic(name, "ethernet", "ice", PCI));
        let bond = || nic("bond0", "bond", "bonding", "");
        let vlan = Nic { parent: Some("bond0".into()), ..nic("bond0.5", "vlan", "802.1Q VLAN Support", "") };
        let (kind, through, why) =
            first(Some(false), vec![vlan, bond(), port("p0", "bond0"), port("p1", "bond0")]);
        assert_eq!(kind, PacketPathKind::Physical, "{why}");
        assert_eq!(through, ["bond0.5", "bond0", "p0", "p1"]);
        let mixed = of("bond0", nic("v1", "veth", "veth", ""));
        let (kind, _, why) = first(Some(false), vec![bond(), port("p0", "bond0"), mixed]);
        assert_eq!(kind, PacketPathKind::Several, "{why}");
        let tap = || of("br0", nic("vnet0", "tun", "tun", "tap"));
        let (kind, through, why) =
            first(Some(false), vec![nic("br0", "bridge", "bridge", ""), tap(), port("p0", "br0")]);
        assert_eq!((kind, through), (PacketPathKind::Bridge, vec!["br0".into(), "p0".into()]));
        assert!(why.contains("out of which p0 leads"), "{why}");
        let (kind, _, why) = first(Some(false), vec![nic("br0", "bridge", "bridge", ""), tap()]);
        assert!(kind == PacketPathKind::Bridge && why.contains("no member of which is an adapter"), "{why}");
    }

    #[test]
    fn a_host_that_tells_of_a_circle_is_not_followed_for_ever() {
        let ring =
            |name: &str, parent: &str| Nic { parent: Some(parent.into()), ..nic(name, "vlan", "", "") };
        let (kind, through, _) = first(Some(false), vec![ring("a", "b"), ring("b", "a")]);
        assert!(kind == PacketPathKind::Unknown && through.len() == DEEP + 1, "{through:?}");
        let bonds = vec![of("b", nic("a", "bond", "", "")), of("a", nic("b", "bond", "", ""))];
        assert_eq!(first(Some(false), bonds).0, PacketPathKind::Unknown);
    }
}
