use std::collections::BTreeMap;

use pathproof_model::evidence::ConnectionCounts;
use pathproof_model::{
    Connection, Environment, ErrorKind, Evidence, LaneResult, Limits, NicAddress, Node, StepError, StepKind,
    TcpCounts, Tool,
};

use super::*;

fn host(end: End, offloads: &[Offload]) -> Environment {
    let last = if end == End::Client { 1 } else { 2 };
    let on: BTreeMap<String, bool> =
        Offload::ALL.into_iter().map(|one| (one.name().to_owned(), offloads.contains(&one))).collect();
    let nic = Nic {
        name: "eth0".into(),
        addresses: vec![NicAddress { address: [10, 0, 0, last].into(), prefix_len: 24 }],
        offloads: on,
        ..Nic::default()
    };
    Environment { nics: vec![nic], ..Environment::default() }
}

const ON: [Offload; 3] = [Offload::TransmitChecksum, Offload::TcpSegmentation, Offload::GenericReceive];

/// A path on which each way arrives what `path` says of a trial: bytes in a second, wrong checksums, and bytes sent again.
fn swept(
    permitted: bool,
    also_off: &[(Offload, Offload)],
    path: impl Fn(OffloadTrial, usize) -> [(u64, u64, u64); 2],
) -> ResultDoc {
    swept_with([&ON, &ON[..1]], permitted, also_off, path)
}

/// The same with what is on at the client and at the server.
fn swept_with(
    on: [&[Offload]; 2],
    permitted: bool,
    also_off: &[(Offload, Offload)],
    path: impl Fn(OffloadTrial, usize) -> [(u64, u64, u64); 2],
) -> ResultDoc {
    let mut doc = ResultDoc::new(Tool::default(), "");
    let here = Node::here(Some(host(End::Client, on[0])));
    doc.nodes = vec![here, Node::agent("stor2", Some(host(End::Server, on[1])))];
    doc.limits = Some(Limits { offloads: permitted, ..Limits::default() });
    let search = TrafficSpec { offload: Some(OffloadTrial::default()), ..TrafficSpec::default() };
    while let Some(spec) = next(&search, &doc) {
        let trial = spec.offload.unwrap();
        let mut step = Step::new(StepKind::Stream, "stream");
        step.follows_up = Some(FollowUp::Search);
        step.spec = Some(StepSpec::Stream(spec));
        for (sender, (bytes, errors, again)) in End::BOTH.into_iter().zip(path(trial, doc.steps.len())) {
            let lane = |end: End, role| LaneResult {
                end,
                role,
                local: Some(format!("10.0.0.{}:7000", if end == End::Client { 1 } else { 2 })),
                bytes,
                window_ns: 1_000_000_000,
                ..LaneResult::default()
            };
            let counts = ConnectionCounts {
                sent_bytes: Some(bytes + again),
                retransmitted_bytes: Some(again),
                ..ConnectionCounts::still()
            };
            let connection = Some(Connection { counts, ..Connection::default() });
            step.lanes.push(LaneResult { connection, ..lane(sender, LaneRole::Send) });
            step.lanes.push(lane(sender.other(), LaneRole::Receive));
            let tcp = TcpCounts { checksum_errors: Some(errors), ..TcpCounts::still() };
            let node = sender.other().node();
            step.evidence.push(Evidence { node, tcp: Some(tcp), ..Evidence::default() });
        }
        step.detail.offload = trial.off.map(|off| OffloadEnd {
            nic: "eth0".into(),
            also_off: also_off.iter().filter(|(one, _)| *one == off).map(|(_, with)| *with).collect(),
            restored: true,
        });
        doc.steps.push(step);
        assert!(doc.steps.len() < 40, "it has no end");
    }
    doc.offloads = found(&doc);
    doc
}

const WELL: (u64, u64, u64) = (100_000_000, 0, 0);
const SICK: (u64, u64, u64) = (0, 40, 60_000);
const HANGS: &[(Offload, Offload)] = &[(Offload::TransmitChecksum, Offload::TcpSegmentation)];

fn told(doc: &ResultDoc) -> Vec<String> {
    let finding = |one: &Finding| {
        format!(
            "{} {} {}",
            one.code,
            one.values["offload"].as_str().unwrap(),
            one.values["direction"].as_str().unwrap()
        )
    };
    findings(doc).iter().map(finding).collect()
}

#[test]
fn what_is_on_is_turned_off_one_at_a_time_between_two_trials_of_all_as_it_is() {
    let doc = swept(true, &[], |_, _| [WELL; 2]);
    let tried: Vec<(Option<End>, Option<Offload>)> =
        doc.offloads.iter().map(|row| (row.end, row.off)).collect();
    assert_eq!(
        tried,
        [
            (None, None),
            (Some(End::Client), Some(Offload::TransmitChecksum)),
            (Some(End::Client), Some(Offload::TcpSegmentation)),
            (Some(End::Client), Some(Offload::GenericReceive)),
            (Some(End::Server), Some(Offload::TransmitChecksum)),
            (None, None),
        ]
    );
    assert_eq!(doc.offloads[0].outward.goodput_bits_per_s, Some(800_000_000));
    assert_eq!(told(&doc), [""; 0], "nothing differs");
    // Whose user does not permit it is not asked, and that is said.
    let own = swept(false, &[], |_, _| [WELL; 2]);
    assert_eq!(own.steps.len(), 5);
    let last = own.offloads.last().unwrap();
    assert_eq!((last.end, last.off), (Some(End::Server), Some(Offload::TransmitChecksum)));
    assert!(
        last.reason.as_ref().unwrap().contains("--allow-offloads")
            && last.outward.goodput_bits_per_s.is_none()
    );
}

#[test]
fn the_offload_whose_turning_off_heals_is_named_with_its_way_and_its_end() {
    let off = |trial: OffloadTrial| trial.end == End::Client && trial.off == Some(Offload::TransmitChecksum);
    let doc = swept(true, HANGS, |trial, _| [if off(trial) { WELL } else { SICK }, WELL]);
    assert_eq!(told(&doc), ["OFFLOAD-FAULT tx-checksumming out"]);
    let finding = &findings(&doc)[0];
    assert!(
        finding
            .evidence
            .starts_with("with tx-checksumming of eth0 off at this end segments arrive out (800.0 Mbit/s"),
        "{}",
        finding.evidence
    );
    assert!(finding.next.contains("On this host: `ethtool -K eth0 tx off`"), "{}", finding.next);
    let peers = |trial: OffloadTrial| trial.end == End::Server && trial.off.is_some();
    let doc = swept(true, &[], |trial, _| [WELL, if peers(trial) { WELL } else { SICK }]);
    assert_eq!(told(&doc), ["OFFLOAD-FAULT tx-checksumming in"]);
    assert!(findings(&doc)[0].next.contains("On the peer: `ethtool -K eth0 tx off`"));
}

#[test]
fn what_heals_only_because_another_goes_off_with_it_is_not_named() {
    let segments = |trial: OffloadTrial| {
        trial.end == End::Client
            && matches!(trial.off, Some(Offload::TransmitChecksum | Offload::TcpSegmentation))
    };
    // Whole segments that are too long are lost, and have no wrong checksum.
    let lossy = (2_000_000, 0, 400_000);
    let doc = swept(true, HANGS, |trial, _| [if segments(trial) { WELL } else { lossy }, WELL]);
    assert_eq!(told(&doc), ["OFFLOAD-FAULT tcp-segmentation-offload out"]);
}

/// Sick out, unless all of these are off at the client.
fn healed_by(all: &[Offload]) -> impl Fn(OffloadTrial, usize) -> [(u64, u64, u64); 2] {
    move |trial, _| {
        let heals = trial.end == End::Client && all.iter().all(|off| trial.all().contains(off));
        [if heals { WELL } else { SICK }, WELL]
    }
}

fn together(doc: &ResultDoc) -> Vec<Vec<Offload>> {
    doc.offloads.iter().map(OffloadTried::all).filter(|all| all.len() > 1).collect()
}

#[test]
fn where_no_single_one_heals_the_pair_that_does_is_named_and_nothing_larger_is_tried() {
    let pair = [Offload::TransmitChecksum, Offload::TcpSegmentation];
    let doc = swept(true, &[], healed_by(&pair));
    assert_eq!(together(&doc), [pair.to_vec()]);
    assert_eq!(doc.offloads.last().unwrap().off, None, "all as it is comes last");
    assert_eq!(told(&doc), ["OFFLOAD-FAULT tx-checksumming out"]);
    let finding = &findings(&doc)[0];
    assert_eq!(finding.values["with"], serde_json::json!(["tcp-segmentation-offload"]));
    let said =
        "with tx-checksumming and tcp-segmentation-offload of eth0 off at this end segments arrive out";
    assert!(finding.evidence.starts_with(said), "{}", finding.evidence);
    for command in ["ethtool -K eth0 tx off", "ethtool -K eth0 tso off"] {
        assert!(finding.next.contains(command), "{}", finding.next);
    }
    // What goes off with another was off together with it already.
    let hanging = swept(true, HANGS, healed_by(&[Offload::TransmitChecksum, Offload::GenericReceive]));
    assert_eq!(together(&hanging), [ON.to_vec()], "the pair was a trial of one");
}

#[test]
fn where_no_pair_heals_all_of_an_end_are_tried_and_where_those_do_not_nobody_is_named() {
    let doc = swept(true, &[], healed_by(&ON));
    assert_eq!(together(&doc), [ON[..2].to_vec(), ON.to_vec()]);
    assert_eq!(told(&doc), ["OFFLOAD-FAULT tx-checksumming out"]);
    let with = serde_json::json!(["tcp-segmentation-offload", "generic-receive-offload"]);
    assert_eq!(findings(&doc)[0].values["with"], with);
    // Two ways that nothing heals, with all that there is on at both ends: three pairs of the sender's and three of the receiver's of one way, and
    // all of either end, after which no fewer need be tried for the other way.
    let sick = swept_with([&Offload::ALL; 2], true, &[], |_, _| [SICK; 2]);
    assert_eq!((sick.steps.len(), together(&sick).len()), (2 + 12 + 8, 8));
    assert_eq!(told(&sick), [""; 0]);
    // Whose user permits nothing is not asked for more.
    let own = swept_with([&Offload::ALL; 2], false, &[], |_, _| [SICK; 2]);
    assert_eq!(together(&own).len(), 4);
    assert!(own.offloads.iter().all(|row| row.end != Some(End::Server) || row.reason.is_some()));
}

#[test]
fn what_came_and_went_heals_nothing_and_what_never_heals_names_nobody() {
    let first_only = swept(true, HANGS, |_, number| [if number == 0 { SICK } else { WELL }, WELL]);
    assert_eq!(told(&first_only), [""; 0]);
    assert_eq!(told(&swept(true, HANGS, |_, _| [SICK; 2])), [""; 0]);
    // A path whose rate changes loses nothing for that.
    let slower =
        swept(true, HANGS, |trial, _| [if trial.off.is_some() { WELL } else { (30_000_000, 0, 0) }, WELL]);
    assert_eq!(told(&slower), [""; 0]);
}

#[test]
fn what_was_not_given_back_ends_the_trials_and_is_an_error_with_what_to_type() {
    let mut doc = swept(true, &[], |_, _| [WELL; 2]);
    doc.steps.truncate(2);
    doc.steps[1].detail.offload.as_mut().unwrap().restored = false;
    let message = "the offloads of eth0 could not be given back".to_owned();
    doc.steps[1].error = Some(StepError::new(ErrorKind::System, message));
    let search = TrafficSpec { offload: Some(OffloadTrial::default()), ..TrafficSpec::default() };
    assert_eq!(next(&search, &doc), None);
    doc.offloads = found(&doc);
    let found = findings(&doc);
    assert_eq!(found.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["OFFLOAD-NOT-RESTORED"]);
    assert!(found[0].next.contains("ethtool -K eth0 tx on"), "{}", found[0].next);
}
