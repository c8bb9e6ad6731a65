//! TCP lanes keep the lane contract, in every mode.

mod support;

use pathproof_api::{Framing, LaneSpec, ReceiveMode, SendMode, SendReports, WaitMode, contract};
use support::Loopback;

fn keeps_the_contract(spec: LaneSpec) {
    contract::check(&mut Loopback::on("127.0.0.1"), &spec).unwrap();
}

#[test]
fn raw() {
    keeps_the_contract(LaneSpec::default());
}

#[test]
fn framed() {
    keeps_the_contract(LaneSpec { framing: Framing::Framed, ..LaneSpec::default() });
}

#[test]
fn raw_spinning() {
    keeps_the_contract(LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() });
}

#[test]
fn raw_with_lazy_send_reports() {
    for wait_mode in [WaitMode::Block, WaitMode::Spin] {
        keeps_the_contract(LaneSpec { send_reports: SendReports::Lazy, wait_mode, ..LaneSpec::default() });
    }
}

#[test]
fn raw_zero_copy() {
    keeps_the_contract(LaneSpec { send_mode: SendMode::ZeroCopy, ..LaneSpec::default() });
}

#[test]
fn framed_zero_copy() {
    let framing = Framing::Framed;
    keeps_the_contract(LaneSpec { send_mode: SendMode::ZeroCopy, framing, ..LaneSpec::default() });
}

#[test]
fn with_small_buffers_and_segments() {
    keeps_the_contract(LaneSpec {
        socket_buffer_bytes: Some(16_384),
        max_segment_bytes: Some(536),
        framing: Framing::Framed,
        ..LaneSpec::default()
    });
}

#[test]
fn over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        assert!(std::env::var_os("PATHPROOF_REQUIRE_LAB").is_none(), "IPv6 loopback is required and missing");
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
        return;
    }
    contract::check(&mut Loopback::on("::1"), &LaneSpec::default()).unwrap();
}

/// Discarding breaks one clause on purpose (the bytes are not placed); the others hold.
#[test]
fn raw_discarding_receives() {
    let spec = LaneSpec { receive_mode: ReceiveMode::Discard, ..LaneSpec::default() };
    let mut connect = Loopback::on("127.0.0.1");
    contract::every_operation_completes_once(&mut connect, &spec).unwrap();
    contract::poll_respects_spare_capacity(&mut connect, &spec).unwrap();
    contract::a_closed_peer_is_reported_in_time(&mut connect, &spec).unwrap();
    let whole = contract::messages_arrive_whole_and_in_order(&mut connect, &spec);
    assert!(whole.is_err_and(|broken| broken.contains("arrived changed")), "nothing must be placed");
}
