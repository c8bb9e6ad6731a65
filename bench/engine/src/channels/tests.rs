//! One table row for each rule, and properties that hold for any two lists.

use std::net::IpAddr;

use pathproof_model::{ChannelPair, ChannelRule, Channels, Severity, SmbInterface};
use proptest::prelude::*;

use super::*;

const G: u64 = 1_000_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `10.0.1.1/24` or, for a server's list, `10.0.1.1`.
fn address(text: &str) -> ChannelAddress {
    match text.split_once('/') {
        Some((address, len)) => {
            ChannelAddress { address: ip(address), prefix_len: Some(len.parse().unwrap()) }
        }
        None => ChannelAddress { address: ip(text), prefix_len: None },
    }
}

/// Words after the speed: `rss`, `rdma`, `down`.
fn nic(index: u32, name: &str, gbit: u64, words: &str, addresses: &[&str]) -> ChannelNic {
    ChannelNic {
        index,
        name: name.into(),
        speed_bits_per_s: (gbit > 0).then_some(gbit * G),
        rss: words.contains("rss"),
        rdma: words.contains("rdma"),
        unusable: words.contains("down").then(|| "it is down".into()),
        addresses: addresses.iter().map(|text| address(text)).collect(),
        routes: Vec::new(),
    }
}

fn windows(local: &[ChannelNic], remote: &[ChannelNic]) -> Channels {
    predict(local, remote, &Question::new(Rules::Windows))
}

fn linux(local: &[ChannelNic], remote: &[ChannelNic]) -> Channels {
    predict(local, remote, &Question::new(Rules::Linux { channels: 16 }))
}

/// `local>remote connections` of the chosen pairs.
fn chosen(channels: &Channels) -> Vec<String> {
    let chosen = channels.pairs.iter().filter(|pair| pair.chosen);
    chosen.map(|pair| format!("{}>{} {}", pair.local_nic, pair.remote_nic, pair.connections)).collect()
}

fn pair<'a>(channels: &'a Channels, local: &str, remote: &str) -> &'a ChannelPair {
    channels.pairs.iter().find(|pair| (pair.local, pair.remote) == (ip(local), ip(remote))).unwrap()
}

/// As it stands in results.
fn word(rule: ChannelRule) -> String {
    serde_json::to_value(rule).unwrap().as_str().unwrap().to_owned()
}

fn rule(channels: &Channels, local: &str, remote: &str) -> String {
    word(pair(channels, local, remote).rule)
}

/// Two NICs a side, each fabric side in a subnet of its own.
fn two_sides(words: &str) -> (Vec<ChannelNic>, Vec<ChannelNic>) {
    (
        vec![nic(2, "l1", 25, words, &["10.0.1.1/24"]), nic(3, "l2", 25, words, &["10.0.2.1/24"])],
        vec![nic(7, "r1", 25, words, &["10.0.1.2"]), nic(8, "r2", 25, words, &["10.0.2.2"])],
    )
}

#[test]
fn windows_gives_two_four_or_one_connections() {
    for (words, each, class) in
        [("rss rdma", 2, "rdma"), ("rdma", 2, "rdma"), ("rss", 4, "rss"), ("", 1, "plain")]
    {
        let (local, remote) = two_sides(words);
        let channels = windows(&local, &remote);
        assert_eq!(chosen(&channels), [format!("l1>r1 {each}"), format!("l2>r2 {each}")], "{words}");
        assert_eq!(channels.class.as_deref(), Some(class));
        assert_eq!(channels.connections, 2 * each);
        assert_eq!(channels.speed_bits_per_s, Some(50 * G));
        assert_eq!(rule(&channels, "10.0.1.1", "10.0.2.2"), "unreachable");
    }
}

#[test]
fn the_class_outranks_speed_on_windows() {
    let local = [nic(1, "slow", 1, "rss", &["10.0.1.1/24"]), nic(2, "fast", 10, "", &["10.0.2.1/24"])];
    let remote = [nic(1, "rslow", 1, "rss", &["10.0.1.2"]), nic(2, "rfast", 10, "", &["10.0.2.2"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["slow>rslow 4"], "a 1 GbE NIC with RSS beats a 10 GbE NIC without");
    let lost = pair(&channels, "10.0.2.1", "10.0.2.2");
    assert_eq!(word(lost.rule), "class-outranked");
    assert!(lost.reason.contains("rss") && lost.reason.contains("plain"), "{}", lost.reason);
    assert!(findings(&channels).iter().any(|f| f.code == "CHANNEL-NIC-IDLE"));
}

#[test]
fn rss_and_rdma_need_both_ends() {
    let (local, _) = two_sides("rss rdma");
    let (_, remote) = two_sides("rss");
    assert_eq!(windows(&local, &remote).class.as_deref(), Some("rss"));
    let (_, remote) = two_sides("");
    assert_eq!(windows(&local, &remote).class.as_deref(), Some("plain"));
}

#[test]
fn slower_members_of_the_class_stay_idle_on_windows() {
    let local = [nic(1, "a", 25, "rss", &["10.0.1.1/24"]), nic(2, "b", 1, "rss", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 25, "rss", &["10.0.1.2"]), nic(2, "d", 25, "rss", &["10.0.2.2"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["a>c 4"]);
    let lost = pair(&channels, "10.0.2.1", "10.0.2.2");
    assert_eq!((word(lost.rule).as_str(), lost.speed_bits_per_s), ("slower", Some(G)));
    assert!(lost.reason.contains("1.00 Gbit/s") && lost.reason.contains("25.00 Gbit/s"), "{}", lost.reason);
}

#[test]
fn management_that_is_idle_beside_storage_is_no_warning_and_a_nic_that_fell_back_is_one() {
    let told = |here: u64, there: u64| {
        let local = [nic(1, "a", 25, "rss", &["10.0.1.1/24"]), nic(2, "b", here, "rss", &["10.0.2.1/24"])];
        let remote = [nic(1, "c", 25, "rss", &["10.0.1.2"]), nic(2, "d", there, "rss", &["10.0.2.2"])];
        let speed = |end: Side, name: &str| {
            let nics = if end == Side::Local { &local } else { &remote };
            nics.iter().find(|nic| nic.name == name)?.speed_bits_per_s
        };
        let found = findings::findings_with(&windows(&local, &remote), &speed);
        let idle = found.iter().filter(|finding| finding.code == "CHANNEL-NIC-IDLE");
        idle.map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(told(1, 1), [Severity::Info; 2]);
    assert_eq!(told(1, 25), [Severity::Warning; 2]);
    assert_eq!(told(10, 10), [Severity::Warning; 2], "that is a good deal to leave idle");
}

#[test]
fn an_unknown_speed_is_neither_zero_nor_infinite() {
    let local = [nic(1, "a", 0, "rss", &["10.0.1.1/24"]), nic(2, "b", 0, "rss", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 0, "rss", &["10.0.1.2"]), nic(2, "d", 10, "rss", &["10.0.2.2"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["b>d 4"], "the other end's speed counts");
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "slower");
    assert_eq!(channels.speed_bits_per_s, None, "no sum with an unknown in it");
    let channels = windows(&local[..1], &remote[..1]);
    assert_eq!(chosen(&channels), ["a>c 4"], "all unknown is not unusable");
    assert_eq!(pair(&channels, "10.0.1.1", "10.0.1.2").speed_bits_per_s, None);
}

#[test]
fn server_entries_with_index_zero_are_skipped() {
    let local = [nic(1, "a", 10, "", &["10.0.1.1/24"])];
    let remote = [nic(0, "zero", 10, "", &["10.0.1.2"])];
    for channels in [windows(&local, &remote), linux(&local, &remote)] {
        assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "remote-unindexed");
        assert!(findings(&channels).iter().any(|f| f.code == "CHANNEL-NONE"));
    }
}

#[test]
fn link_local_addresses_serve_only_where_there_is_nothing_else() {
    let both = nic(1, "both", 10, "", &["fe80::1/64", "2001:db8::1/64"]);
    let only = nic(2, "only", 10, "", &["fe80::2/64"]);
    let server_both = nic(1, "sboth", 10, "", &["fe80::11", "2001:db8::11"]);
    let server_only = nic(2, "sonly", 10, "", &["fe80::12"]);
    let channels = windows(&[both, only], &[server_both, server_only]);
    assert_eq!(rule(&channels, "2001:db8::1", "2001:db8::11"), "best");
    assert_eq!(rule(&channels, "fe80::2", "fe80::12"), "best", "link-local on both ends");
    assert_eq!(rule(&channels, "fe80::1", "fe80::11"), "remote-link-local");
    assert_eq!(rule(&channels, "fe80::1", "fe80::12"), "local-link-local");
    assert_eq!(rule(&channels, "fe80::2", "2001:db8::11"), "link-local-mismatch");
    assert_eq!(rule(&channels, "2001:db8::1", "fe80::12"), "link-local-mismatch");
}

#[test]
fn down_nics_name_themselves() {
    let local = [nic(1, "a", 10, "down", &["10.0.1.1/24"]), nic(2, "b", 10, "", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 10, "", &["10.0.1.2"]), nic(2, "d", 10, "down", &["10.0.2.2"])];
    let channels = windows(&local, &remote);
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "local-unusable");
    assert_eq!(rule(&channels, "10.0.2.1", "10.0.2.2"), "remote-unusable");
    assert!(channels.unused.iter().any(|nic| nic.nic == "a" && nic.reason == "it is down"));
}

#[test]
fn a_constraint_leaves_the_others_out() {
    let (local, remote) = two_sides("rss");
    for name in ["l2", "10.0.2.1"] {
        let question = Question { rules: Rules::Windows, constrain: vec![name.into()] };
        let channels = predict(&local, &remote, &question);
        assert_eq!(chosen(&channels), ["l2>r2 4"], "{name}");
        assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "constrained");
        assert!(channels.answers.iter().any(|a| a.question.contains("constraint")));
    }
}

#[test]
fn two_nics_have_one_pair_of_addresses() {
    let local = [nic(1, "a", 10, "", &["10.0.1.1/24", "2001:db8::1/64", "fd00::1/64"])];
    let remote = [nic(1, "b", 10, "", &["10.0.1.2", "2001:db8::2", "fd00::2"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["a>b 1"]);
    assert_eq!(rule(&channels, "2001:db8::1", "2001:db8::2"), "best", "RFC 6724 prefers global IPv6");
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "better-address");
    assert_eq!(rule(&channels, "fd00::1", "fd00::2"), "better-address");
}

#[test]
fn on_the_link_comes_before_routed() {
    let mut local = nic(1, "a", 10, "", &["10.0.1.1/24"]);
    local.routes = vec![Prefix { address: ip("0.0.0.0"), len: 0 }];
    let remote = [nic(1, "b", 10, "", &["192.0.2.2", "10.0.1.2"])];
    let channels = windows(&[local.clone()], &remote);
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "best");
    assert_eq!(rule(&channels, "10.0.1.1", "192.0.2.2"), "better-address");
    let channels = windows(&[local], &[nic(1, "b", 10, "", &["192.0.2.2"])]);
    let routed = pair(&channels, "10.0.1.1", "192.0.2.2");
    assert!(routed.chosen && routed.reason.contains("router"), "{}", routed.reason);
}

#[test]
fn a_peer_with_a_narrower_subnet_cannot_answer() {
    let local = [nic(1, "a", 10, "", &["10.0.1.1/16"])];
    let channels = windows(&local, &[nic(1, "b", 10, "", &["10.0.2.2/24"])]);
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.2.2"), "unreachable");
}

#[test]
fn one_subnet_pairs_straight_and_says_that_it_could_cross() {
    let local = [nic(1, "a", 10, "rss", &["10.0.1.1/24"]), nic(2, "b", 10, "rss", &["10.0.1.2/24"])];
    let remote = [nic(1, "c", 10, "rss", &["10.0.1.11"]), nic(2, "d", 10, "rss", &["10.0.1.12"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["a>c 4", "b>d 4"]);
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.12"), "spread");
    assert!(channels.answers.iter().any(|a| a.question.contains("cross pairs")), "{:?}", channels.answers);
    assert!(findings(&channels).iter().any(|f| f.code == "CHANNEL-CROSS-PAIRS"));
    let (local, remote) = two_sides("rss");
    let channels = windows(&local, &remote);
    assert!(!channels.answers.iter().any(|a| a.question.contains("cross pairs")));
    assert!(findings(&channels).is_empty(), "{:?}", findings(&channels));
}

#[test]
fn fewer_nics_on_one_side_share_the_other() {
    let local = [nic(1, "a", 10, "", &["10.0.1.1/24"])];
    let remote = [nic(1, "c", 10, "", &["10.0.1.11"]), nic(2, "d", 10, "", &["10.0.1.12"])];
    let channels = windows(&local, &remote);
    assert_eq!(chosen(&channels), ["a>c 1", "a>d 1"]);
    assert_eq!(channels.speed_bits_per_s, Some(10 * G), "one local NIC bounds both pairs");
}

#[test]
fn windows_stops_at_32_connections() {
    let side = |host: u32| -> Vec<ChannelNic> {
        (1..=9)
            .map(|at| nic(at, &format!("n{host}{at}"), 10, "rss", &[&format!("10.0.{at}.{host}/24")]))
            .collect()
    };
    let channels = windows(&side(1), &side(2));
    assert_eq!(channels.connections, 32);
    assert_eq!(rule(&channels, "10.0.9.1", "10.0.9.2"), "connection-limit");
}

#[test]
fn linux_uses_slower_nics_by_weight() {
    let local = [nic(1, "a", 10, "rss", &["10.0.1.1/24"]), nic(2, "b", 1, "rss", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 3, "rss", &["10.0.1.2"]), nic(2, "d", 1, "rss", &["10.0.2.2"])];
    let channels = linux(&local, &remote);
    assert_eq!(chosen(&channels), ["a>c 12", "b>d 4"]);
    assert!(pair(&channels, "10.0.1.1", "10.0.1.2").reason.contains("weight 3"));
}

#[test]
fn linux_gives_one_channel_to_a_nic_without_rss() {
    let local = [nic(1, "a", 10, "", &["10.0.1.1/24"]), nic(2, "b", 10, "rss", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 10, "", &["10.0.1.2"]), nic(2, "d", 10, "rss", &["10.0.2.2"])];
    assert_eq!(chosen(&linux(&local, &remote)), ["a>c 1", "b>d 15"]);
    let channels = linux(&local[..1], &remote[..1]);
    assert_eq!(chosen(&channels), ["a>c 1"]);
}

#[test]
fn linux_stops_at_its_channels() {
    let (local, remote) = two_sides("rss");
    let channels = predict(&local, &remote, &Question::new(Rules::Linux { channels: 1 }));
    assert_eq!(channels.connections, 1);
    assert_eq!(rule(&channels, "10.0.2.1", "10.0.2.2"), "connection-limit");
    let channels = predict(&local, &remote, &Question::new(Rules::Linux { channels: 99 }));
    assert_eq!(channels.connections, LINUX_CHANNELS_MAX);
}

#[test]
fn linux_follows_the_route_and_says_so() {
    let local = [nic(1, "a", 10, "rss", &["10.0.1.1/24"]), nic(2, "b", 10, "rss", &["10.0.1.2/24"])];
    let remote = [nic(1, "c", 10, "rss", &["10.0.1.11"]), nic(2, "d", 10, "rss", &["10.0.1.12"])];
    let channels = linux(&local, &remote);
    assert_eq!(chosen(&channels), ["a>c 8", "a>d 8"], "both leave by the first NIC");
    assert_eq!(rule(&channels, "10.0.1.2", "10.0.1.11"), "routed-elsewhere");
    assert!(findings(&channels).iter().any(|f| f.code == "CHANNEL-ONE-ROUTE"));
    assert!(channels.answers.iter().any(|a| a.answer.contains("leaves by a")));

    let narrower = [local[0].clone(), nic(2, "b", 10, "rss", &["10.0.1.2/28"])];
    assert_eq!(chosen(&linux(&narrower, &remote)), ["b>c 8", "b>d 8"], "the longest prefix wins");
}

#[test]
fn linux_never_mixes_rdma_and_tcp() {
    let local = [nic(1, "a", 25, "rss", &["10.0.1.1/24"]), nic(2, "b", 1, "rss", &["10.0.2.1/24"])];
    let remote = [nic(1, "c", 25, "rss rdma", &["10.0.1.2"]), nic(2, "d", 1, "rss", &["10.0.2.2"])];
    let channels = linux(&local, &remote);
    assert_eq!(chosen(&channels), ["b>d 16"], "a TCP mount passes RDMA NICs over, fast as they are");
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "rdma-not-mixed");

    let channels = linux(&local[..1], &remote[..1]);
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "only-connection");
    assert_eq!(channels.connections, 1);

    let rdma = [nic(1, "a", 25, "rss rdma", &["10.0.1.1/24"]), local[1].clone()];
    let channels = linux(&rdma, &remote);
    assert_eq!(channels.class.as_deref(), Some("rdma"));
    assert_eq!(rule(&channels, "10.0.2.1", "10.0.2.2"), "rdma-not-mixed");
}

#[test]
fn manual_takes_what_is_named_and_reachable() {
    let (local, remote) = two_sides("rss");
    let named = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(l, r)| ((*l).to_owned(), (*r).to_owned())).collect();
        predict(&local, &remote, &Question::new(Rules::Manual { pairs }))
    };
    let channels = named(&[("l2", "10.0.2.2"), ("l2", "r2"), ("l1", "r2")]);
    assert_eq!(chosen(&channels), ["l2>r2 2"], "named twice is two connections");
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.1.2"), "not-named");
    assert_eq!(rule(&channels, "10.0.1.1", "10.0.2.2"), "unreachable");
}

#[test]
fn the_questions_people_ask_are_answered() {
    let (mut local, mut remote) = two_sides("rss");
    local.push(nic(9, "slow", 1, "rss", &["10.0.9.1/24"]));
    remote.push(nic(9, "rslow", 1, "rss", &["10.0.9.2"]));
    let channels = windows(&local, &remote);
    let answer = |start: &str| {
        let found = channels.answers.iter().find(|a| a.question.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {:?}", channels.answers)).answer.clone()
    };
    assert!(answer("Why do l1 and l2 carry").contains("asks the server for its interfaces"));
    assert!(answer("Why not slow (local)").contains("below the fastest"));
    assert!(answer("What would a constraint to l1").contains("Only l1 would carry traffic"));
    assert!(answer("What would a constraint to slow").contains("1.00 Gbit/s"));
}

#[test]
fn a_servers_list_becomes_nics() {
    let entry = |index, address: &str| SmbInterface {
        index,
        speed_bits_per_s: Some(G),
        rss: true,
        rdma: false,
        address: ip(address),
    };
    let nics = ChannelNic::from_smb(&[
        entry(7, "10.0.1.2"),
        entry(7, "fe80::2"),
        entry(u32::MAX, "10.0.2.2"),
        entry(u32::MAX, "10.0.3.2"),
    ]);
    let shape: Vec<_> = nics.iter().map(|nic| (nic.name.as_str(), nic.addresses.len())).collect();
    assert_eq!(shape, [("if7", 2), ("10.0.2.2", 1), ("10.0.3.2", 1)]);
}

fn any_address() -> impl Strategy<Value = ChannelAddress> {
    prop_oneof![
        4 => (0u8..3, 1u8..6).prop_map(|(net, host)| address(&format!("10.0.{net}.{host}/24"))),
        1 => (0u8..3, 1u8..6).prop_map(|(net, host)| address(&format!("10.0.{net}.{host}"))),
        1 => (1u8..6).prop_map(|host| address(&format!("fe80::{host}/64"))),
        1 => (1u8..6).prop_map(|host| address(&format!("2001:db8::{host}/64"))),
        1 => Just(address("127.0.0.1/8")),
    ]
}

fn any_nics() -> impl Strategy<Value = Vec<ChannelNic>> {
    let one = (
        prop_oneof![Just(None), Just(Some(G)), Just(Some(10 * G)), Just(Some(25 * G))],
        any::<bool>(),
        proptest::bool::weighted(0.3),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.05),
        proptest::collection::vec(any_address(), 0..3),
    );
    proptest::collection::vec(one, 0..5).prop_map(|nics| {
        nics.into_iter()
            .enumerate()
            .map(|(at, (speed, rss, rdma, down, unindexed, addresses))| ChannelNic {
                index: if unindexed { 0 } else { at as u32 + 1 },
                name: format!("n{at}"),
                speed_bits_per_s: speed,
                rss,
                rdma,
                unusable: down.then(|| "it is down".into()),
                addresses,
                routes: Vec::new(),
            })
            .collect()
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    prop_oneof![
        Just(Rules::Windows),
        (1u32..20).prop_map(|channels| Rules::Linux { channels }),
        Just(Rules::Manual { pairs: vec![("n0".into(), "n0".into()), ("n1".into(), "n1".into())] }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_result_does_not_depend_on_list_order(
        local in any_nics(), remote in any_nics(), rules in any_rules(), turn in 0usize..5,
    ) {
        let question = Question::new(rules);
        let before = predict(&local, &remote, &question);
        let (mut local, mut remote) = (local, remote);
        local.reverse();
        if !remote.is_empty() {
            let by = turn % remote.len();
            remote.rotate_left(by);
        }
        for nic in local.iter_mut().chain(&mut remote) {
            nic.addresses.reverse();
        }
        prop_assert_eq!(before, predict(&local, &remote, &question));
    }

    #[test]
    fn every_pair_is_chosen_or_has_its_excluding_rule(
        local in any_nics(), remote in any_nics(), rules in any_rules(),
    ) {
        let channels = predict(&local, &remote, &Question::new(rules));
        for pair in &channels.pairs {
            prop_assert_ne!(pair.rule, ChannelRule::Undecided);
            prop_assert_eq!(pair.chosen, pair.connections > 0);
            prop_assert!(!pair.reason.is_empty());
        }
        prop_assert!(channels.connections <= SERVER_CONNECTIONS_MAX);
        let _ = findings(&channels);
    }

    #[test]
    fn classes_and_speeds_never_mix_on_windows(local in any_nics(), remote in any_nics()) {
        let channels = windows(&local, &remote);
        let mut seen: Vec<_> = channels.pairs.iter().filter(|p| p.chosen)
            .map(|p| (p.rdma, !p.rdma && p.rss, p.speed_bits_per_s)).collect();
        seen.dedup();
        prop_assert!(seen.len() <= 1, "{:?}", seen);
    }

    #[test]
    fn linux_never_mixes(local in any_nics(), remote in any_nics(), channels in 1u32..17) {
        let channels = predict(&local, &remote, &Question::new(Rules::Linux { channels }));
        let kinds: BTreeSet<bool> = channels.pairs.iter().filter(|p| p.chosen).map(|p| p.rdma).collect();
        prop_assert!(kinds.len() <= 1);
    }

    #[test]
    fn every_eligible_nic_is_used(local in any_nics(), remote in any_nics()) {
        let channels = windows(&local, &remote);
        // Only rank, reach and the like leave a NIC out; never the spreading of pairs over NICs.
        for pair in channels.pairs.iter().filter(|p| p.rule == ChannelRule::Spread) {
            let used = |name: &str, end: fn(&ChannelPair) -> &str| {
                channels.pairs.iter().any(|p| p.chosen && end(p) == name)
            };
            prop_assert!(used(&pair.local_nic, |p| &p.local_nic), "{:?}", pair);
            prop_assert!(used(&pair.remote_nic, |p| &p.remote_nic), "{:?}", pair);
        }
    }

    #[test]
    fn nothing_crosses_to_an_unreachable_subnet(
        local in any_nics(), remote in any_nics(), rules in any_rules(),
    ) {
        let channels = predict(&local, &remote, &Question::new(rules));
        for pair in channels.pairs.iter().filter(|p| p.chosen) {
            // The lists above have no routes: whatever is chosen is on one link.
            match (pair.local, pair.remote) {
                (IpAddr::V4(a), IpAddr::V4(b)) => prop_assert_eq!(a.octets()[..3].to_vec(), b.octets()[..3].to_vec()),
                (a, b) => prop_assert_eq!(a.is_ipv6(), b.is_ipv6()),
            }
        }
    }
}
