//! Networks of hosts as facts tell them.

use pathproof_model::environment::{IscsiEnd, PeerRoute};

use super::*;

/// A NIC by `NAME ADDRESS/PREFIX[,…] WORDS`: `out` for a default route, `rdma`, `rss`, `down`, `10G`, `on:PARENT`, `in:MASTER`.
fn nic(text: &str) -> Nic {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let addresses = words.next().unwrap().split(',').map(|address| {
        let (address, prefix_len) = address.split_once('/').unwrap();
        NicAddress { address: address.parse().unwrap(), prefix_len: prefix_len.parse().unwrap() }
    });
    let mut nic = Nic {
        name,
        addresses: addresses.collect(),
        up: Some(true),
        carrier: Some(true),
        receive_queues: Some(1),
        default_route: Some(false),
        ..Nic::default()
    };
    for word in words {
        match word {
            "out" => nic.default_route = Some(true),
            "rdma" => nic.rdma_device = Some("mlx5_0".into()),
            "rss" => nic.receive_queues = Some(16),
            "down" => nic.carrier = Some(false),
            on if on.starts_with("on:") => nic.parent = Some(on[3..].to_owned()),
            within if within.starts_with("in:") => nic.master = Some(within[3..].to_owned()),
            speed => {
                let gbit: u64 = speed.trim_end_matches('G').parse().unwrap();
                nic.speed_bits_per_s = Some(gbit * 1_000_000_000);
            }
        }
    }
    nic
}

fn host(nics: &[&str]) -> Environment {
    Environment { nics: nics.iter().map(|text| nic(text)).collect(), ..Environment::default() }
}

/// Subnet, role, metric, and the places for CSV and for migrations.
type Brief<'a> = (&'a str, &'a str, Option<u32>, Option<u32>, Option<u32>);

fn brief(networks: &[Network]) -> Vec<Brief<'_>> {
    networks
        .iter()
        .map(|n| (n.subnet.as_str(), n.role.word(), n.metric, n.order_csv, n.order_migration))
        .collect()
}

fn codes(networks: &[Network]) -> Vec<String> {
    findings(networks).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn three_networks_have_the_published_metrics_and_the_default_order() {
    let here =
        host(&["eth0 10.0.0.1/24 out rss 10G", "eth1 10.0.1.1/24 rss 10G", "eth2 10.0.2.1/24 rss rdma 100G"]);
    let there =
        host(&["p0 10.0.0.2/24 out rss 10G", "p1 10.0.1.2/24 rss 10G", "p2 10.0.2.2/24 rss rdma 100G"]);
    let found = networks(&here, &there);
    assert_eq!(
        brief(&found),
        [
            ("10.0.2.0/24", "storage", Some(40_000 - 19_200 - 9_600 - 1_600), Some(1), Some(3)),
            // The sample that observers give for a private network of 10 Gbit/s with RSS.
            ("10.0.1.0/24", "private", Some(30_240), Some(2), Some(1)),
            ("10.0.0.0/24", "public", Some(70_240), Some(3), Some(2)),
        ]
    );
    let old: Vec<Option<u32>> = found.iter().map(|network| network.metric_2008r2).collect();
    assert_eq!(old, [Some(1100), Some(1000), Some(10_000)], "numbered as the subnets come");
    assert_eq!(found[0].if_lost.csv.as_deref(), Some("10.0.1.0/24"));
    assert_eq!(found[1].if_lost.migration.as_deref(), Some("10.0.0.0/24"));
    assert_eq!(codes(&found), Vec::<String>::new());
}

#[test]
fn of_one_private_and_one_public_network_migrations_take_the_public_one_first() {
    let here = host(&["eth0 10.0.0.1/24 out", "eth1 10.0.1.1/24"]);
    let there = host(&["eth0 10.0.0.2/24 out", "eth1 10.0.1.2/24"]);
    let found = networks(&here, &there);
    assert_eq!(found[0].metric_lacks, ["speed"]);
    assert_eq!(
        brief(&found),
        [
            ("10.0.1.0/24", "private", Some(40_000), Some(1), Some(2)),
            ("10.0.0.0/24", "public", Some(80_000), Some(2), Some(1)),
        ]
    );
    assert_eq!(codes(&found), ["NETWORK-MIGRATION-PUBLIC"]);
    // With a second private one between them it is not so.
    let add = |host: &Environment, text| Environment {
        nics: host.nics.iter().cloned().chain([nic(text)]).collect(),
        ..host.clone()
    };
    let found = networks(&add(&here, "eth2 10.0.2.1/24"), &add(&there, "eth2 10.0.2.2/24"));
    assert_eq!(codes(&found), Vec::<String>::new());
    // Where both are public nobody could have gone elsewhere.
    let found = networks(
        &host(&["a 10.0.0.1/24 out", "b 10.0.1.1/24 out"]),
        &host(&["a 10.0.0.2/24", "b 10.0.1.2/24"]),
    );
    assert_eq!(codes(&found), Vec::<String>::new());
}

#[test]
fn a_network_that_is_down_has_no_place_and_a_single_one_no_replacement() {
    let here = host(&["eth0 10.0.0.1/24", "eth1 10.0.1.1/24"]);
    let there = host(&["eth0 10.0.0.2/24", "eth1 10.0.1.2/24 down"]);
    let found = networks(&here, &there);
    assert_eq!((found[1].up, found[1].order_csv, found[1].order_migration), (Some(false), None, None));
    assert_eq!((found[0].order_csv, found[0].order_migration), (Some(1), Some(1)));
    assert_eq!(found[0].if_lost, IfLost::default());
    let [only] = &findings(&found)[..] else { panic!("{:?}", findings(&found)) };
    assert!(only.code == "NETWORK-ONLY-ONE" && only.evidence.contains("1 more"), "{only:?}");
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let mut here = host(&["eth0 10.0.0.1/24", "eth1 10.0.1.1/24 out"]);
    here.nics[0].default_route = None;
    here.nics[1].receive_queues = None;
    let found = networks(&here, &host(&["eth0 10.0.0.2/24", "eth1 10.0.1.2/24 rss"]));
    let public = found.iter().find(|network| network.subnet == "10.0.1.0/24").unwrap();
    assert_eq!((public.role, public.metric), (NetworkRole::Public, Some(80_000)));
    assert_eq!(public.metric_lacks, ["rss", "speed"]);
    let unknown = found.iter().find(|network| network.subnet == "10.0.0.0/24").unwrap();
    assert_eq!((unknown.role, unknown.metric, unknown.order_csv), (NetworkRole::Unknown, None, None));
    // Only one end has RDMA: nobody can use it, and that is known.
    let found = networks(&host(&["a 10.0.0.1/24 rdma"]), &host(&["a 10.0.0.2/24"]));
    assert_eq!((found[0].role, found[0].metric), (NetworkRole::Private, Some(40_000)));
}

#[test]
fn networks_are_of_both_hosts_and_families_of_one_pair_are_one() {
    let here =
        host(&["lo 127.0.0.1/8", "a 10.0.0.1/24,fd00::1/64,fe80::1/64", "b 10.0.5.1/24", "c fd01::1/64"]);
    let there =
        host(&["lo 127.0.0.1/8", "a 10.0.0.2/24,fd00::2/64,fe80::2/64", "b 10.0.6.1/24", "c fd01::2/64"]);
    let found = networks(&here, &there);
    let all: Vec<(&str, &[String])> = found.iter().map(|n| (n.subnet.as_str(), &n.also[..])).collect();
    assert_eq!(all, [("10.0.0.0/24", &["fd00::/64".to_owned()][..]), ("fd01::/64", &[])]);
    // A prefix that differs is another network, and a host route is none.
    assert!(networks(&host(&["a 10.0.0.1/24"]), &host(&["a 10.0.0.2/25"])).is_empty());
    assert!(networks(&host(&["a 10.0.0.1/32"]), &host(&["a 10.0.0.1/32"])).is_empty());
}

#[test]
fn one_nic_with_two_networks_and_one_network_with_two_nics_are_told() {
    let here = host(&["a 10.0.0.1/24,10.0.1.1/24", "b 10.0.2.1/24"]);
    let there = host(&["a 10.0.0.2/24", "b 10.0.1.2/24", "c 10.0.2.2/24"]);
    let found = networks(&here, &there);
    let [told] = &findings(&found)[..] else { panic!("{:?}", findings(&found)) };
    assert_eq!(told.code, "NETWORK-SHARES-NIC");
    assert!(told.evidence.starts_with("a of this host carries 10.0.0.0/24 and 10.0.1.0/24"), "{told:?}");
    let found = networks(
        &host(&["a 10.0.0.1/24", "b 10.0.0.3/24", "c 10.0.1.1/24"]),
        &host(&["a 10.0.0.2/24", "c 10.0.1.2/24"]),
    );
    assert_eq!(codes(&found), ["NETWORK-TWO-NICS"]);
    // What both hosts have is told of both.
    let told = |here: &[&str], there: &[&str]| {
        let found = findings(&networks(&host(here), &host(there)));
        found.into_iter().map(|one| one.evidence).collect::<Vec<_>>()
    };
    let shared = told(&["a 10.0.0.1/24,10.0.1.1/24"], &["p 10.0.0.2/24,10.0.1.2/24"]);
    let both = "a of this host carries 10.0.0.0/24 and 10.0.1.0/24; p of the other host carries 10.0.0.0/24 and 10.0.1.0/24";
    assert_eq!(shared, [both]);
    let double = told(&["a 10.0.0.1/24", "b 10.0.0.3/24"], &["p 10.0.0.2/24", "q 10.0.0.4/24"]);
    let both = "a and b of this host lie in 10.0.0.0/24; p and q of the other host lie in 10.0.0.0/24";
    assert_eq!(double.last().map(String::as_str), Some(both), "{double:?}");
}

#[test]
fn vlans_of_one_nic_are_told_with_the_roles_that_meet_in_it() {
    let here = host(&["eth0 192.0.2.1/32", "eth0.10 10.0.0.1/24 out on:eth0", "eth0.20 10.0.1.1/24 on:eth0"]);
    let there = host(&["a 10.0.0.2/24", "b 10.0.1.2/24"]);
    let found = networks(&here, &there);
    let parents: Vec<Option<&str>> =
        found.iter().flat_map(|network| &network.nics).map(|nic| nic.parent.as_deref()).collect();
    assert_eq!(parents, [Some("eth0"), None, Some("eth0"), None]);
    let told = findings(&found).into_iter().find(|one| one.code == "NETWORK-VLANS-SHARE-NIC").unwrap();
    let evidence =
        "eth0 of this host carries 10.0.1.0/24 (private, as eth0.20) and 10.0.0.0/24 (public, as eth0.10)";
    assert_eq!(told.evidence, evidence);
    // The untagged network of the NIC shares it, too; and at both hosts it is told of both.
    let own = host(&["p 10.0.0.2/24", "p.20 10.0.1.2/24 on:p"]);
    let told = findings(&networks(&here, &own));
    let told = told.iter().find(|one| one.code == "NETWORK-VLANS-SHARE-NIC").unwrap();
    assert!(told.evidence.contains("; p of the other host carries"), "{}", told.evidence);
    // A NIC for each is what it should be.
    let apart = host(&["eth0.10 10.0.0.1/24 on:eth0", "eth1.20 10.0.1.1/24 on:eth1"]);
    assert!(!codes(&networks(&apart, &there)).contains(&"NETWORK-VLANS-SHARE-NIC".to_owned()));
}

#[test]
fn a_bridge_over_a_vlan_and_a_vlan_of_a_vlan_lead_to_the_nic_at_the_bottom() {
    let here = host(&[
        "eth0 192.0.2.1/32",
        "eth0.10 192.0.2.2/32 on:eth0 in:br10",
        "br10 10.0.0.1/24",
        "eth0.20 192.0.2.3/32 on:eth0",
        "eth0.20.7 10.0.1.1/24 on:eth0.20",
    ]);
    let there = host(&["a 10.0.0.2/24", "b 10.0.1.2/24"]);
    assert!(codes(&networks(&here, &there)).contains(&"NETWORK-VLANS-SHARE-NIC".to_owned()));
    // A host that says that two lie on each other is not followed for ever.
    let circle = host(&["x 10.0.0.1/24 on:y", "y 10.0.1.1/24 on:x"]);
    assert_eq!(networks(&circle, &there).len(), 2);
}

/// The same host, with iSCSI from one of its addresses to another host, or a target that listens at it.
fn with_iscsi(host: &Environment, address: &str, other: Option<&str>) -> Environment {
    let (address, other) = (address.parse().unwrap(), other.map(|other| other.parse().unwrap()));
    Environment { iscsi: Some(vec![IscsiEnd { address, other }]), ..host.clone() }
}

#[test]
fn a_network_over_which_iscsi_goes_is_for_storage_and_no_place_for_migrations() {
    let here = host(&["a 10.0.0.1/24 out", "b 10.0.1.1/24"]);
    let there = host(&["a 10.0.0.2/24 out", "b 10.0.1.2/24"]);
    assert_eq!(networks(&here, &there)[0].iscsi, None, "neither host tells");
    let speaks = with_iscsi(&here, "10.0.1.1", Some("10.0.1.9"));
    let found = networks(&speaks, &there);
    assert_eq!((found[0].subnet.as_str(), found[0].role), ("10.0.1.0/24", NetworkRole::Storage));
    assert_eq!(found[1].iscsi, None, "nothing was seen there, and the other host does not tell");
    // Of the two the public one is no worse a place for migrations than that of iSCSI.
    let [told] = &findings(&found)[..] else { panic!("{:?}", findings(&found)) };
    assert_eq!(told.code, "NETWORK-MIGRATION-ISCSI");
    let evidence = "iSCSI (TCP port 3260) goes over 10.0.1.0/24: 10.0.1.1 of this host is connected with 10.0.1.9; \
                    live migrations have it in place 2 of their default order";
    assert_eq!(told.evidence, evidence);
    let listens = with_iscsi(&there, "10.0.1.2", None);
    let told = findings(&networks(&here, &listens));
    assert!(told[0].evidence.contains("a target listens at 10.0.1.2 of the other host"), "{told:?}");
    // Over a network that the hosts do not share it is nobody's business.
    let elsewhere = with_iscsi(&here, "10.0.7.1", Some("10.0.7.9"));
    assert_eq!(codes(&networks(&elsewhere, &there)), ["NETWORK-MIGRATION-PUBLIC"]);
    // Both tell, and there is none.
    let none = |host: &Environment| Environment { iscsi: Some(vec![]), ..host.clone() };
    let found = networks(&none(&here), &none(&there));
    assert_eq!(found[0].iscsi, Some(vec![]));
    assert_eq!(codes(&found), ["NETWORK-MIGRATION-PUBLIC"]);
}

#[test]
fn iscsi_over_the_second_family_of_a_network_is_seen_too() {
    let here = with_iscsi(&host(&["a 10.0.0.1/24,fd00::1/64"]), "fd00::1", Some("fd00::9"));
    let found = networks(&here, &host(&["a 10.0.0.2/24,fd00::2/64"]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].iscsi.as_ref().map(Vec::len), Some(1));
}

/// The same host, with ways to addresses of the other one: `ADDRESS NIC SOURCE [ROUTER]`.
fn with_ways(host: &Environment, ways: &[&str]) -> Environment {
    let way = |text: &&str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        PeerRoute {
            nic: Some(words[1].to_owned()),
            source: Some(words[2].parse().unwrap()),
            router: words.get(3).map(|router| router.parse().unwrap()),
            ..PeerRoute::to(words[0].parse().unwrap())
        }
    };
    Environment { peers: ways.iter().map(way).collect(), ..host.clone() }
}

#[test]
fn hosts_that_reach_one_another_over_gateways_are_told_with_both_subnets_and_gateways() {
    let here = host(&["eth0 10.1.0.5/24,fd01::5/64 out", "eth1 10.9.0.5/24"]);
    let there = host(&["p0 10.2.0.6/24,fd02::6/64 out", "p1 10.9.0.6/24"]);
    let out = [
        "10.2.0.6 eth0 10.1.0.5 10.1.0.254",
        "10.9.0.6 eth1 10.9.0.5",
        "fd02::6 eth0 fd01::5 fd01::fe",
        // A bridge for containers there, to which the default route leads.
        "172.17.0.1 eth0 10.1.0.5 10.1.0.254",
    ];
    let back = ["10.1.0.5 p0 10.2.0.6 10.2.0.254", "10.9.0.5 p1 10.9.0.6", "fd01::5 p0 fd02::6 fd02::fe"];
    let (here, there) = (with_ways(&here, &out), with_ways(&there, &back));
    let shared = networks(&here, &there);
    assert_eq!(shared.len(), 1);
    let told = routed(&here, &there, &shared).unwrap();
    assert_eq!(told.code, "NETWORK-ROUTED");
    let evidence = "10.1.0.0/24 (eth0 of this host) and 10.2.0.0/24 (p0 of the other host) reach one another over gateways, \
                    10.1.0.254 from here and 10.2.0.254 from there";
    assert_eq!(told.evidence, evidence, "once, whatever families they speak");
    // Where the other host does not tell its ways nothing is known.
    assert_eq!(routed(&here, &with_ways(&there, &[]), &shared), None);
    // One way alone over a gateway is another thing (ROUTE-ASYMMETRIC).
    let straight = with_ways(&there, &["10.1.0.5 p0 10.2.0.6"]);
    assert_eq!(routed(&here, &straight, &shared), None);
}

#[test]
fn nics_that_meet_in_a_subnet_need_no_gateway_for_their_other_addresses() {
    let here = with_ways(&host(&["a 10.0.0.1/24,10.1.0.1/24"]), &["10.2.0.2 a 10.1.0.1 10.1.0.254"]);
    let there = with_ways(&host(&["a 10.0.0.2/24,10.2.0.2/24"]), &["10.1.0.1 a 10.2.0.2 10.2.0.254"]);
    assert_eq!(routed(&here, &there, &networks(&here, &there)), None);
    assert!(routed(&here, &there, &[]).is_some(), "without that subnet they do");
}

#[test]
fn beside_the_session_are_the_networks_of_nics_that_smb_would_use() {
    let numbered = |nics: &[&str], boot: &str| {
        let mut host = host(nics);
        host.boot_id = Some(boot.into());
        (1..).zip(&mut host.nics).for_each(|(index, nic)| nic.index = index);
        host
    };
    let here = numbered(&["e0 10.0.1.1/24 10G", "e1 10.0.2.1/24 10G", "lan 10.0.9.1/24 1G"], "one");
    let there = numbered(&["x0 10.0.1.2/24 10G", "x1 10.0.2.2/24 10G", "lan 10.0.9.2/24 1G"], "two");
    let of = |client: [u8; 4], server: [u8; 4]| {
        let found = beside(&here, &there, (client.into(), server.into()));
        let mut subnets: Vec<String> = found.into_iter().map(|way| way.subnet).collect();
        subnets.sort();
        subnets
    };
    assert_eq!(of([10, 0, 1, 1], [10, 0, 1, 2]), ["10.0.2.0/24"]);
    assert_eq!(of([10, 0, 9, 1], [10, 0, 9, 2]), ["10.0.1.0/24", "10.0.2.0/24"]);
    let one = numbered(&["e0 10.0.1.1/24 10G"], "one");
    assert!(beside(&one, &there, ([10, 0, 1, 1].into(), [10, 0, 1, 2].into())).is_empty());
}

#[test]
fn the_second_family_of_the_same_nics_is_a_way_of_its_own_and_no_network_of_its_own() {
    let numbered = |nics: &[&str], boot: &str| {
        let mut host = host(nics);
        host.boot_id = Some(boot.into());
        (1..).zip(&mut host.nics).for_each(|(index, nic)| nic.index = index);
        host
    };
    let here = numbered(&["e0 10.0.1.1/24,fd01::1/64,fe80::1/64 10G"], "one");
    let there = numbered(&["x0 10.0.1.2/24,fd01::2/64,fe80::2/64 10G"], "two");
    let both = ways_of_both_families(&here, &there);
    let told: Vec<_> = both.iter().map(|way| (way.subnet.as_str(), way.server, way.second_family)).collect();
    let v6: IpAddr = "fd01::2".parse().unwrap();
    assert_eq!(told, [("10.0.1.0/24", [10, 0, 1, 2].into(), false), ("fd01::/64", v6, true)]);
    assert_eq!(ways(&here, &there).len(), 1, "a cluster sees one network");
    // Beside a session over one family there is the other one.
    let of = |client: IpAddr, server: IpAddr| {
        let found = beside(&here, &there, (client, server));
        found.into_iter().map(|way| way.subnet).collect::<Vec<_>>()
    };
    assert_eq!(of([10, 0, 1, 1].into(), [10, 0, 1, 2].into()), ["fd01::/64"]);
    assert_eq!(of("fd01::1".parse().unwrap(), v6), ["10.0.1.0/24"]);
}

#[test]
fn subnets_of_a_host_that_lie_in_each_other_are_told_where_the_hosts_share_one_of_them() {
    let told = |here: &[&str], there: &[&str]| {
        let (here, there) = (host(here), host(there));
        overlapping(&here, &there, &networks(&here, &there)).map(|finding| finding.evidence)
    };
    let said = "10.0.1.0/24 (b of this host) lies within 10.0.0.0/16 (a of this host)";
    let there = ["a 10.0.0.2/16", "c 10.1.0.2/24"];
    assert_eq!(
        told(&["a 10.0.0.1/16", "b 10.0.1.1/24", "c 10.1.0.1/24"], &there).as_deref(),
        Some(said),
        "the other host has none within the other"
    );
    assert_eq!(told(&["a 10.0.0.1/16,10.0.1.1/24"], &there), None, "by one NIC either way");
    assert_eq!(told(&["a 10.1.0.1/24", "b 10.1.0.9/24"], &["a 10.1.0.2/24"]), None, "the same one twice");
    let beside = ["a 10.1.0.1/24", "x 172.16.0.1/12", "y 172.17.0.1/16"];
    assert_eq!(told(&beside, &there), None, "a network that the hosts do not share");
    let six = told(&["a fd00::1/48", "b fd00:0:0:1::1/64", "c 10.1.0.1/24"], &["a fd00::2/48"]);
    assert_eq!(
        six.as_deref(),
        Some("fd00:0:0:1::/64 (b of this host) lies within fd00::/48 (a of this host)")
    );
}
