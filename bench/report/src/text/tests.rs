//! The page as a whole, from documents made by hand.

use pathproof_model::{
    Criteria, Direction, End, Environment, ErrorKind, Finding, Flow, HistogramRecord, LaneResult, LaneRole,
    LatencySummary, Nic, NicAddress, Node, NodeId, Plan, ResultDoc, Series, Step, StepError, StepKind,
    Summary, Tool, judge,
};

use super::Text;
use crate::{Hlog, Json, Look, Render};

fn host(name: &str, address: [u8; 4]) -> Environment {
    Environment {
        hostname: Some(name.into()),
        operating_system: Some("Debian GNU/Linux 13 (trixie)".into()),
        kernel: Some("6.12.48".into()),
        cpus: Some(16),
        memory_bytes: Some(64 << 30),
        nics: vec![Nic {
            name: "enp1s0f0".into(),
            speed_bits_per_s: Some(25_000_000_000),
            ip_mtu_bytes: Some(9000),
            driver: Some("mlx5_core".into()),
            receive_queues: Some(16),
            addresses: vec![NicAddress { address: address.into(), prefix_len: 24 }],
            ..Nic::default()
        }],
        ..Environment::default()
    }
}

fn lane(end: End, local: &str) -> LaneResult {
    LaneResult { end, local: Some(local.into()), ..LaneResult::default() }
}

fn page() -> ResultDoc {
    let tool = Tool { name: "pathproof".into(), version: "0.1.0".into(), ..Tool::default() };
    let mut doc = ResultDoc::new(tool, "2026-01-01T00:00:00Z");
    doc.requested = Some(Plan { command: pathproof_model::CommandName::Check, ..Plan::default() });
    doc.nodes = vec![
        Node::here(Some(host("alpha", [10, 0, 0, 1]))),
        Node::agent("10.0.0.2:7471", Some(host("beta", [10, 0, 0, 2]))),
    ];
    for (i, direction) in [Direction::Out, Direction::In, Direction::Both].into_iter().enumerate() {
        let mut step = Step::new(StepKind::Stream, format!("tcp stream {}, 4 lanes", direction.name()));
        step.over = Some("tcp".into());
        step.direction = Some(direction);
        step.started_ns = i as u64 * 3_000_000_000;
        step.elapsed_ns = 3_000_000_000;
        step.lanes = vec![lane(End::Client, "10.0.0.1:40000"), lane(End::Server, "10.0.0.2:7471")];
        step.summary = Summary {
            goodput_bits_per_s: Some(23_400_000_000),
            goodput_worst_second_bits_per_s: Some(22_900_000_000),
            bytes: Some(5_850_000_000),
            window_ns: Some(2_000_000_000),
            retransmits: Some(31),
            cpu_client_ns: Some(1_700_000_000),
            cpu_server_ns: Some(1_900_000_000),
            ..Summary::default()
        };
        if direction == Direction::Both {
            let flow = |name: &str, rate| Flow {
                name: name.into(),
                summary: Summary {
                    goodput_bits_per_s: Some(rate),
                    goodput_worst_second_bits_per_s: Some(rate),
                    bytes: step.summary.bytes,
                    ..Summary::default()
                },
                ..Flow::default()
            };
            step.flows = vec![flow("out", 11_800_000_000), flow("in", 11_600_000_000)];
        }
        step.series = vec![Series {
            node: NodeId::SERVER,
            role: LaneRole::Receive,
            width_ns: 100_000_000,
            end_ns: 2_000_000_000,
            received_bytes: (0..20).map(|k| Some(if k == 7 { 0 } else { 1_000_000 * (10 + k) })).collect(),
            ..Series::default()
        }];
        doc.steps.push(step);
    }
    let mut pingpong = Step::new(StepKind::Pingpong, "tcp pingpong 64 B");
    pingpong.over = Some("tcp".into());
    pingpong.summary.rtt_ns = Some(LatencySummary {
        count: 48_211,
        min: 18_000,
        p50: 21_300,
        p90: 25_000,
        p95: Some(31_000),
        p99: 48_200,
        p999: 210_000,
        max: 1_903_000,
        saturated: 0,
    });
    doc.steps.push(pingpong);
    doc.findings.push(Finding::new("TCP-RETRANSMITS", "31 of 4 041 000 segments were sent again"));
    doc
}

fn text(doc: &ResultDoc) -> String {
    let mut out = Vec::new();
    Text::default().render(doc, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_full_page_fits_a_terminal_and_ends_with_the_answer() {
    let mut doc = page();
    doc.verdicts = judge::judge(&doc, &Criteria::default());
    let page = text(&doc);
    assert!(page.lines().count() <= 50, "{page}");
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}\n{page}", line.chars().count());
        assert_eq!(line, line.trim_end());
    }
    for part in [
        "alpha",
        "beta",
        "enp1s0f0 10.0.0.1/24: 25.00 Gbit/s",
        "ip_mtu 9000",
        "23.40 Gbit/s",
        "0.85/0.95",
        "21.3 µs",
    ] {
        assert!(page.contains(part), "{part:?} is missing:\n{page}");
    }
    assert!(page.contains("of that in              11.60 Gbit/s"), "{page}");
    // 11.6 of 25 Gbit/s in the slower direction is below the limit.
    assert!(page.contains("\nNOT FIT: throughput/tcp/both. Where CPU C/S is close"), "{page}");
}

#[test]
fn the_answer_names_the_finding_to_begin_with() {
    let mut doc = page();
    doc.steps.truncate(2);
    doc.findings.push(Finding::new("TCP-STALL", "0 bytes between 0.7 s and 0.8 s"));
    doc.verdicts = judge::judge(&doc, &Criteria::default());
    let page = text(&doc);
    assert!(page.contains("NOT FIT: finding/TCP-STALL. Begin with TCP-STALL: Look for a path MTU"), "{page}");
    let (error, warning) = (page.find("error TCP-STALL"), page.find("warning TCP-RETRANSMITS"));
    assert!(error < warning && error.is_some(), "{page}");
}

#[test]
fn a_fit_path_is_called_fit() {
    let mut doc = page();
    doc.steps.remove(2);
    doc.verdicts = judge::judge(&doc, &Criteria::default());
    assert!(text(&doc).ends_with("FIT: all 3 verdicts pass.\n"), "{}", text(&doc));
}

#[test]
fn a_document_cut_short_is_shown_as_far_as_it_goes() {
    let mut doc = page();
    doc.steps[1].error = Some(StepError::new(ErrorKind::PeerLost, "the peer closed the connection".into()));
    let page = text(&doc);
    assert!(page.contains("▂▃▄_▅▆▇█ stopped"), "{page}");
    assert!(page.lines().last().unwrap().starts_with("CANNOT TELL"), "{page}");
    let bare = ResultDoc::new(Tool::default(), "2026-01-01T00:00:00Z");
    assert!(text(&bare).lines().last().unwrap().starts_with("CANNOT TELL"));
}

#[test]
fn colour_only_when_asked() {
    let mut doc = page();
    doc.verdicts = judge::judge(&doc, &Criteria::default());
    assert!(!text(&doc).contains('\u{1b}'));
    let mut out = Vec::new();
    Text { look: Look { colour: true, ..Look::PAGE } }.render(&doc, &mut out).unwrap();
    let coloured = String::from_utf8(out).unwrap();
    assert!(coloured.contains("\u{1b}[1;31mNOT FIT\u{1b}[0m"), "{coloured}");
}

#[test]
fn json_reads_back_as_the_same_document() {
    let doc = page();
    let mut out = Vec::new();
    Json.render(&doc, &mut out).unwrap();
    assert_eq!(serde_json::from_slice::<ResultDoc>(&out).unwrap(), doc);
}

#[test]
fn the_histogram_log_holds_every_sample_under_its_tag() {
    use base64::Engine as _;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

    let mut histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    (1..1000).for_each(|i| histogram.record(i * 1000).unwrap());
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let hdr_v2_base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let record = HistogramRecord {
        name: pathproof_model::HistogramName::Service,
        flow: None,
        node: None,
        lane: Some(2),
        unit: "ns".into(),
        count: 999,
        saturated: 0,
        hdr_v2_base64,
    };
    let mut doc = page();
    doc.steps[3].histograms = vec![record];
    let mut out = Vec::new();
    Hlog.render(&doc, &mut out).unwrap();
    let entries: Vec<_> = IntervalLogIterator::new(&out)
        .filter_map(|e| match e.unwrap() {
            LogEntry::Interval(i) => Some(i),
            _ => None,
        })
        .collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].tag().unwrap().as_str(), "3.tcp-pingpong-64-B.service.lane2");
    let bytes = base64::engine::general_purpose::STANDARD.decode(entries[0].encoded_histogram()).unwrap();
    let back: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
    assert_eq!(back, histogram);

    doc.steps[3].histograms[0].hdr_v2_base64 = "AAAA".into();
    let error = Hlog.render(&doc, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("\"service\""), "{error}");
}

#[test]
fn a_black_hole_stands_out_in_its_direction() {
    use pathproof_model::mtu::{MtuLimit, MtuPath};
    let path = |direction, limit, whole| MtuPath {
        local_nic: "eth0".into(),
        remote_nic: Some("enp5s0".into()),
        local_address: [10, 0, 0, 1].into(),
        remote_address: [10, 0, 0, 2].into(),
        family: 4,
        direction,
        method: pathproof_model::MtuMethod::Agent,
        ip_mtu_bytes: whole,
        limit,
        numbers: None,
        proven_ip_bytes: Some(1500),
        reason: None,
        local_ip_mtu_bytes: Some(9000),
        remote_ip_mtu_bytes: Some(8000),
        cached_ip_mtu_bytes: None,
        route: None,
        routers: vec![],
        largest_fragment_bytes: None,
        throttled: false,
        fitting_sent: 40,
        fitting_lost: 1,
        probes: 60,
        loss_rounds: 2,
        fragments: None,
        elapsed_ns: 120_000_000,
        tried: vec![],
    };
    let mut doc = page();
    doc.steps[0].detail.paths = Some(vec![
        path(Direction::Out, MtuLimit::Remote, Some(8000)),
        path(Direction::In, MtuLimit::Blackhole, Some(1500)),
        path(Direction::Both, MtuLimit::Unknown, None),
    ]);
    let page = text(&doc);
    let line = |start: &str| {
        page.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}: {page}"))
    };
    assert!(line("out IPv4 eth0 → enp5s0").ends_with("1/40  120.00 ms  the receiver's NIC"), "{page}");
    assert!(line("in IPv4 enp5s0 → eth0").contains("8000/9000           1500"), "{page}");
    assert!(line("in IPv4 enp5s0 → eth0").ends_with("BLACK HOLE, silent"), "{page}");
    assert!(line("both IPv4 eth0 ↔ enp5s0").contains("≥ 1500"), "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 100), "{page}");
}

#[test]
fn bytes_that_did_not_go_over_rdma_are_shown_with_the_reason() {
    use pathproof_model::{RdmaEnd, RdmaProof};
    let end = |end: End, packets| RdmaEnd {
        end,
        device: "mlx5_0".into(),
        path_mtu_bytes: Some(4096),
        device_packets: Some(packets),
        application_bytes: Some(1 << 30),
        ..RdmaEnd::default()
    };
    let mut doc = page();
    doc.steps[0].detail.proof =
        Some(RdmaProof::weigh(vec![end(End::Client, 400_000), end(End::Server, 400_000)]));
    doc.steps[1].detail.proof = Some(RdmaProof::weigh(vec![end(End::Client, 3), end(End::Server, 3)]));
    let page = text(&doc);
    assert!(page.contains("yes     client mlx5_0      4096  400000 packets    1 GiB"), "{page}");
    assert!(page.contains("NO      client mlx5_0      4096       3 packets    1 GiB"), "{page}");
    assert!(page.contains("tcp stream in, 4 lanes: mlx5_0 at the client counted 3 RDMA packets"), "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 100), "{page}");
}
