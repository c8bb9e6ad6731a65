use std::net::IpAddr;

use pathproof_model::evidence::{Evidence, NicActivity, NicCounts};
use pathproof_model::soak::{EVENTS_FIRST, EVENTS_LAST, SLOTS_MAX};
use pathproof_model::{ErrorKind, LatencySummary, LossCounts, LossFlow, MtuPath};

use super::*;

const S: u64 = 1_000_000_000;

fn at(seconds: u64) -> Moment {
    Moment { at_ns: seconds * S, label: format!("T+{seconds}") }
}

fn line() -> TimeLine {
    TimeLine::new(None, Criteria::default())
}

fn kinds(line: &TimeLine) -> Vec<&'static str> {
    line.soak().events.iter().map(|event| event.kind.word()).collect()
}

fn loss(answered: bool, sent: u64, received: u64) -> Step {
    let counts = LossCounts { sent, received, ..LossCounts::default() };
    let address = |last| IpAddr::from([10, 9, 0, last]);
    let path = LossPath {
        local_nic: "e0".into(),
        remote_nic: "e1".into(),
        local_address: address(1),
        remote_address: address(2),
        direction: Direction::Out,
        by_echo: false,
        small_ip_bytes: 88,
        full_ip_bytes: 1500,
        reason: None,
        flows: vec![LossFlow { port: 1, answered, small: counts, ..LossFlow::default() }],
        marks: vec![],
        overflowed: 0,
        delay_variation_ns: None,
        first_router: None,
        last_router: None,
        questions_heard: None,
        changed: None,
        shares: None,
    };
    let mut step = Step::new(StepKind::Loss, "loss");
    step.detail.loss = Some(vec![path]);
    step
}

fn request(p99: u64) -> Step {
    let mut step = Step::new(StepKind::Request, "request");
    step.summary.response_ns =
        Some(LatencySummary { count: 300, p50: p99 / 2, p99, max: p99 * 2, ..LatencySummary::default() });
    step
}

fn stream(direction: Direction, rate: u64) -> Step {
    let mut step = Step::new(StepKind::Stream, "stream");
    step.direction = Some(direction);
    step.summary.goodput_bits_per_s = Some(rate);
    step
}

#[test]
fn loss_is_an_event_when_the_sample_shows_it_and_not_before() {
    let mut line = line();
    line.step(&at(10), &loss(true, 300, 300));
    // One of three hundred may be chance.
    line.step(&at(20), &loss(true, 300, 299));
    assert_eq!(kinds(&line), [""; 0]);
    line.step(&at(30), &loss(true, 300, 270));
    line.step(&at(40), &loss(true, 300, 271));
    assert_eq!(kinds(&line), ["loss"], "a stretch of it is told once");
    assert!(line.soak().events[0].text.contains("e0 to e1 IPv4 out: 30 of 300"), "{:?}", line.soak().events);
    line.step(&at(50), &loss(true, 300, 300));
    assert_eq!(kinds(&line), ["loss", "loss-over"]);
    assert_eq!(line.soak().total.loss(), Share { part: 60, of: 1500 });
}

#[test]
fn a_path_that_falls_silent_is_an_event_and_one_that_always_was_is_none() {
    let mut silent = line();
    (1..5).for_each(|n| silent.step(&at(n * 10), &loss(false, 0, 0)));
    assert_eq!(kinds(&silent), [""; 0], "datagrams may be filtered");
    assert!(!silent.soak().total.is_measured());
    let mut dies = line();
    for (n, answered) in [(1, true), (2, false), (3, false), (4, true)] {
        dies.step(&at(n * 10), &loss(answered, 300, 300));
    }
    assert_eq!(kinds(&dies), ["path-dead", "path-back"]);
}

#[test]
fn a_peer_that_goes_away_and_comes_back_is_two_events_and_its_absence_stands_in_the_time_line() {
    let mut line = line();
    let why = StepError::new(ErrorKind::PeerLost, "the connection was reset".into());
    line.reached(&at(0));
    line.lost(&at(15), &why);
    line.lost(&at(20), &why);
    line.time(25 * S);
    line.reached(&at(42));
    line.time(50 * S);
    assert_eq!(kinds(&line), ["peer-lost", "peer-back"]);
    assert!(line.soak().events[1].text.contains("27.00 s"), "{:?}", line.soak().events);
    let away: Vec<u64> = line.soak().slots.iter().map(|slot| slot.figures.away_ns / S).collect();
    assert_eq!((away.as_slice(), line.soak().total.away_ns), (&[0, 5, 10, 10, 2, 0][..], 27 * S));
}

#[test]
fn a_step_that_was_broken_off_accuses_nobody_but_its_carriers_count() {
    let mut line = line();
    let mut step = loss(true, 300, 100);
    step.error = Some(StepError::new(ErrorKind::PeerLost, "gone".into()));
    let counts = NicCounts { carrier_changes: Some(2), ..NicCounts::default() };
    let nics = Some(vec![NicActivity { nic: "e0".into(), counts }]);
    step.evidence =
        vec![Evidence { nics, ..Evidence::default() }, Evidence::same(NodeId::SERVER, NodeId::CLIENT)];
    line.step(&at(10), &step);
    assert_eq!(kinds(&line), ["carrier-changed"]);
    assert_eq!((line.soak().total.carrier_changes, line.soak().total.sent), (2, 0));
}

#[test]
fn slow_requests_a_changed_mtu_and_a_fallen_rate_are_events() {
    let mut line = line();
    for p99 in [1_000_000, 60_000_000, 70_000_000, 2_000_000] {
        line.step(&at(10), &request(p99));
    }
    assert_eq!(kinds(&line), ["slow", "slow-over"]);
    let times = line.soak().total.response_ns.unwrap();
    assert_eq!(
        (times.count, times.p50_min, times.p99_max, times.max),
        (1200, 500_000, 70_000_000, 140_000_000)
    );
    let mut mtus = self::line();
    for bytes in [Some(9000), None, Some(9000), Some(1500), Some(1500)] {
        let mut step = Step::new(StepKind::Mtu, "mtu");
        step.detail.paths = Some(vec![mtu_path(bytes)]);
        mtus.step(&at(20), &step);
    }
    assert_eq!(kinds(&mtus), ["mtu-changed"]);
    assert!(mtus.soak().events[0].text.contains("9000 before, 1500 now"));
    assert_eq!(mtus.soak().total.ip_mtu_bytes, Some(SoakRange { min: 1500, max: 9000 }));
    let mut rates = self::line();
    // Two low probes among the first tell nothing; the other direction is not compared with this one.
    for rate in [100, 40, 100, 100, 100, 60, 50, 90] {
        rates.step(&at(30), &stream(Direction::Out, rate));
    }
    rates.step(&at(30), &stream(Direction::In, 10));
    assert_eq!(kinds(&rates), ["rate-fell", "rate-back"]);
}

fn mtu_path(ip_mtu_bytes: Option<u32>) -> MtuPath {
    serde_json::from_value(serde_json::json!({
        "local_nic": "e0", "remote_nic": "e1", "local_address": "10.0.0.1", "remote_address": "10.0.0.2", "family": 4,
        "direction": "out", "method": "agent", "ip_mtu_bytes": ip_mtu_bytes, "limit": "unknown", "proven_ip_bytes": null,
        "reason": null, "local_ip_mtu_bytes": 9000, "remote_ip_mtu_bytes": 9000, "cached_ip_mtu_bytes": null, "routers": [],
        "largest_fragment_bytes": null, "throttled": false, "fitting_sent": 0, "fitting_lost": 0, "probes": 0,
        "loss_rounds": 0, "elapsed_ns": 0, "tried": []
    }))
    .unwrap()
}

#[test]
fn a_month_has_as_many_slots_as_two_hours_and_loses_nothing() {
    let mut line = line();
    let month = 30 * 86_400;
    for seconds in (0..month).step_by(60) {
        line.step(&at(seconds), &loss(true, 100, 100));
        line.step(&at(seconds + 5), &request(if seconds == 777_600 { 90_000_000 } else { 1_000_000 }));
        if seconds % 600 == 0 {
            let why = StepError::new(ErrorKind::PeerLost, "x".repeat(10_000));
            line.lost(&at(seconds + 10), &why);
            line.reached(&at(seconds + 20));
        }
    }
    let soak = line.soak();
    assert!(soak.slots.len() <= SLOTS_MAX && soak.slots.len() > SLOTS_MAX / 2, "{}", soak.slots.len());
    assert_eq!(soak.slots.iter().map(|slot| slot.figures.sent).sum::<u64>(), month / 60 * 100);
    assert_eq!(soak.total.away_ns, month / 600 * 10 * S);
    assert_eq!(soak.slots.iter().map(|slot| slot.figures.away_ns).sum::<u64>(), soak.total.away_ns);
    assert_eq!(
        soak.slots.iter().filter_map(|s| s.figures.response_ns).map(|t| t.p99_max).max(),
        Some(90_000_000)
    );
    assert_eq!(soak.events.len(), EVENTS_FIRST + EVENTS_LAST);
    let all: u64 = soak.counts.values().sum();
    assert_eq!(all, month / 600 * 2 + 2);
    assert_eq!(soak.events_left_out, all - soak.events.len() as u64);
    assert_eq!(soak.events[0].at_ns, 10 * S, "the first ones stay");
    let bytes = serde_json::to_vec(soak).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes} bytes, as docs/WATCH.md says");
}

#[test]
fn a_finding_is_told_once_and_what_is_only_worth_knowing_not_at_all() {
    let mut line = line();
    let mut doc = ResultDoc::new(Default::default(), "");
    doc.findings = vec![
        Finding::new("MTU-BLACKHOLE", "above 1500").with_severity(Severity::Error),
        Finding::new("PEER-LOST", "gone").with_severity(Severity::Error),
        Finding::new("NIC-LINK-ERRORS", "a few").with_severity(Severity::Info),
    ];
    line.noticed(&at(600), &doc);
    line.noticed(&at(1200), &doc);
    assert_eq!(kinds(&line), ["noticed"]);
    assert_eq!(line.findings().len(), 1);
}
