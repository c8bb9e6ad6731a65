use super::*;
use pathproof_model::{
    CommandName, End, Environment, Fabric, FileDirect, FileSpec, NicAddress, Node, NodeSpec, Plan, RdmaProof,
    SmbInterface, SmbServer, StepError, StepKind, Summary, Tool, TrafficSpec,
};

fn nic(name: &str, address: &str, speed: Option<u64>, ip_mtu_bytes: u32) -> Nic {
    Nic {
        name: name.into(),
        speed_bits_per_s: speed,
        ip_mtu_bytes: Some(ip_mtu_bytes),
        addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
        ..Nic::default()
    }
}

fn doc(steps: Vec<Step>) -> ResultDoc {
    let mut doc = ResultDoc::new(Tool::default(), "then");
    let here = Environment {
        nics: vec![
            nic("eth0", "10.0.0.1", Some(10_000_000_000), 1500),
            nic("eth1", "10.0.1.1", Some(25_000_000_000), 9000),
        ],
        ..Environment::default()
    };
    doc.nodes = vec![Node::here(Some(here))];
    doc.nodes.push(Node {
        id: NodeId::SERVER,
        name: "stor2".into(),
        spec: NodeSpec::Foreign { host: "stor2".into() },
        environment: None,
        clock: None,
    });
    doc.requested = Some(Plan { command: CommandName::Check, ..Plan::default() });
    doc.steps = steps;
    doc
}

fn lane(local: &str, remote: &str, bytes: u64, counted: Option<u64>) -> LaneResult {
    let mut connection = pathproof_model::Connection::default();
    (connection.counts.sent_bytes, connection.counts.received_bytes) = (counted, Some(100));
    LaneResult {
        end: End::Client,
        local: Some(local.into()),
        remote: Some(remote.into()),
        bytes,
        connection: Some(connection),
        ..LaneResult::default()
    }
}

fn file(over: FileOver, goodput: Option<u64>, lanes: Vec<LaneResult>, detail: FileDetail) -> Step {
    let mut step = Step::new(StepKind::File, "file");
    step.spec = Some(StepSpec::File(FileSpec { over, ..FileSpec::default() }));
    step.summary = Summary { goodput_bits_per_s: goodput, verified: Some(true), ..Summary::default() };
    step.lanes = lanes;
    step.detail.file = Some(detail);
    step
}

fn find(rungs: &[Rung], name: RungName, branch: Branch) -> &Rung {
    let wanted = |rung: &&Rung| (rung.rung, rung.branch, rung.direction) == (name, branch, Direction::Out);
    rungs.iter().find(wanted).unwrap()
}

fn tcp(goodput: u64) -> Step {
    let lanes = vec![lane("10.0.0.1:5000", "10.0.0.2:445", 1000, Some(1100))];
    file(FileOver::Tcp, Some(goodput), lanes, FileDetail::default())
}

#[test]
fn a_rung_is_held_against_the_nearest_below_that_has_a_figure() {
    let rungs = ladder(&doc(vec![tcp(4_700_000_000)]));
    assert_eq!(rungs.len(), 16, "every rung is there, each way");
    let wire = find(&rungs, RungName::Wire, Branch::Tcp);
    // 1448 bytes of data in each 1538 on the wire.
    assert_eq!(wire.goodput_bits_per_s, Some(9_414_824_447));
    let raw = find(&rungs, RungName::Tcp, Branch::Tcp);
    assert_eq!((raw.goodput_bits_per_s, raw.share_of_below), (None, None));
    assert!(raw.reason.as_ref().unwrap().contains("--agent"), "{raw:?}");
    let smb = find(&rungs, RungName::SmbTcp, Branch::Tcp);
    assert_eq!(smb.below, Some(RungName::Wire));
    assert!((smb.share_of_below.unwrap() - 0.4992).abs() < 0.001, "{smb:?}");
    assert_eq!(smb.proof.as_ref().unwrap().carried_by, Carrier::Tcp);
}

#[test]
fn a_link_speed_that_nobody_tells_is_no_yardstick() {
    let mut doc = doc(vec![tcp(4_700_000_000)]);
    let here = doc.nodes[0].environment.as_mut().unwrap();
    here.nics[0].speed_bits_per_s = None;
    let rungs = ladder(&doc);
    let wire = find(&rungs, RungName::Wire, Branch::Tcp);
    assert_eq!(
        (wire.goodput_bits_per_s, wire.reason.as_deref()),
        (None, Some("the speed of eth0 is not known"))
    );
    let smb = find(&rungs, RungName::SmbTcp, Branch::Tcp);
    assert_eq!((smb.below, smb.share_of_below), (None, None));
}

#[test]
fn the_slower_end_is_the_wire() {
    let mut doc = doc(vec![tcp(900_000_000)]);
    let listed = SmbInterface {
        index: 1,
        speed_bits_per_s: Some(1_000_000_000),
        rss: true,
        rdma: false,
        address: "10.0.0.2".parse().unwrap(),
    };
    doc.smb = Some(SmbServer { interfaces: vec![listed], ..SmbServer::default() });
    assert_eq!(find(&ladder(&doc), RungName::Wire, Branch::Tcp).goodput_bits_per_s, Some(941_482_444));
}

fn direct(placed_bytes: u64, received_bytes: u64) -> FileDirect {
    FileDirect { fabric: Fabric::Roce, placed_bytes, received_bytes, ..FileDirect::default() }
}

#[test]
fn rdma_is_proved_by_data_that_was_in_no_message() {
    let lanes = || vec![lane("10.0.1.1", "10.0.1.2:445", 1 << 20, None)];
    let with = |placed, received| {
        let detail = FileDetail { direct: Some(direct(placed, received)), ..FileDetail::default() };
        let rungs = ladder(&doc(vec![tcp(1), file(FileOver::Smbd, Some(20_000_000_000), lanes(), detail)]));
        find(&rungs, RungName::SmbDirect, Branch::Rdma).clone()
    };
    let placed = with(1 << 20, 5000);
    assert_eq!(placed.proof.unwrap().carried_by, Carrier::Rdma);
    // 4096 bytes in each 4178 at an IP MTU of 9000.
    assert!((placed.share_of_below.unwrap() - 0.816).abs() < 0.001);
    assert_eq!(
        with(1 << 20, 2 << 20).proof.unwrap().carried_by,
        Carrier::Unknown,
        "it may have come in messages"
    );
}

#[test]
fn counters_that_say_otherwise_outweigh_the_account() {
    let detail = FileDetail { direct: Some(direct(1 << 20, 5000)), ..FileDetail::default() };
    let mut step = file(FileOver::Smbd, Some(1), vec![lane("10.0.1.1", "10.0.1.2:445", 1, None)], detail);
    step.detail.proof = Some(RdmaProof::weigh(vec![pathproof_model::RdmaEnd {
        end: End::Client,
        device_packets: Some(3),
        application_bytes: Some(1 << 20),
        ..Default::default()
    }]));
    let rungs = ladder(&doc(vec![tcp(1), step]));
    assert_eq!(
        find(&rungs, RungName::SmbDirect, Branch::Rdma).proof.as_ref().unwrap().carried_by,
        Carrier::Unknown
    );
}

#[test]
fn what_could_not_be_is_there_with_its_reason() {
    let detail = FileDetail { not_possible: Some("no RDMA here".into()), ..FileDetail::default() };
    let mut failed = file(FileOver::Multi, None, vec![], FileDetail::default());
    failed.error = Some(StepError::new(pathproof_model::ErrorKind::Refused, "refused".into()));
    let rungs = ladder(&doc(vec![tcp(1), failed, file(FileOver::Smbd, None, vec![], detail)]));
    let reason = |name, branch| find(&rungs, name, branch).reason.clone().unwrap();
    assert_eq!(reason(RungName::SmbDirect, Branch::Rdma), "no RDMA here");
    assert_eq!(reason(RungName::SmbMultichannel, Branch::Tcp), "refused");
    assert!(find(&rungs, RungName::SmbDirect, Branch::Rdma).proof.is_none());
}

#[test]
fn a_window_without_an_answer_has_no_figure() {
    let rungs = ladder(&doc(vec![tcp(0)]));
    let rung = find(&rungs, RungName::SmbTcp, Branch::Tcp);
    assert_eq!((rung.goodput_bits_per_s, rung.share_of_below), (None, None));
    assert!(rung.reason.as_ref().unwrap().contains("--thorough"), "{rung:?}");
}

#[test]
fn verbs_are_compared_by_the_way_of_the_data() {
    let stream = |verb: Verb, goodput| {
        let mut step = Step::new(StepKind::Stream, verb.name());
        step.spec = Some(StepSpec::Stream(TrafficSpec {
            over: "rdma".into(),
            verb: Some(verb),
            direction: Direction::In,
            ..TrafficSpec::default()
        }));
        step.summary.goodput_bits_per_s = Some(goodput);
        step
    };
    let rungs = ladder(&doc(vec![tcp(1), stream(Verb::Write, 7), stream(Verb::Read, 5)]));
    // A file that is written goes out, and the server reads it.
    assert_eq!(find(&rungs, RungName::Verbs, Branch::Rdma).goodput_bits_per_s, Some(5));
}

#[test]
fn a_document_about_something_else_has_none() {
    let mut bench = doc(vec![tcp(1)]);
    bench.requested = Some(Plan { command: CommandName::Bench, ..Plan::default() });
    assert!(ladder(&bench).is_empty());
    assert!(ladder(&doc(vec![])).is_empty());
}
