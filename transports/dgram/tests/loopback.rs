//! Probes over the loopback interface, which exists everywhere: arrivals, local refusals, strangers.

#![allow(clippy::print_stdout, reason = "a test that cannot run must say so")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pathproof_dgram::{Event, Outcome, ProbeSocket, Responder, cached_path_mtu, wait_readable};

const TOKEN: [u8; 16] = *b"loopback session";

/// Runs `body` against a responder on `address`.
fn with_responder(address: IpAddr, body: impl FnOnce(SocketAddr)) {
    let mut responder = Responder::new(TOKEN);
    let port = responder.listen(address, None).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| responder.run(&stop).unwrap());
        /// Stops the responder even when an assertion fails, or the scope would wait for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        body(SocketAddr::new(address, port));
    });
}

fn next_event(socket: &mut ProbeSocket, patience: Duration) -> Option<Event> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(event) = socket.next_event().unwrap() {
            return Some(event);
        }
        wait_readable(&[socket.as_fd()], Duration::from_millis(10)).unwrap();
    }
    None
}

#[test]
fn sizes_arrive_up_to_what_ip_can_carry() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    with_responder(address, |to| {
        let mut socket = ProbeSocket::bind(address, Some("lo"), TOKEN).unwrap();
        for (seq, ip_bytes) in [(0, 68), (1, 1500), (2, 65_535)] {
            assert_eq!(socket.send(to, seq, ip_bytes).unwrap(), Outcome::Sent);
            let event = next_event(&mut socket, Duration::from_secs(5));
            let Some(Event::Arrived { seq: got, largest_fragment_bytes: None, recent }) = event else {
                panic!("{event:?}")
            };
            assert_eq!(got, seq);
            assert_eq!(recent, (0..=seq).collect::<Vec<_>>());
        }
        assert_eq!(socket.send(to, 3, 65_536).unwrap(), Outcome::TooBig { ip_mtu_bytes: None });
    });
    assert!(cached_path_mtu(address, None, SocketAddr::new(address, 9)).unwrap() >= 65_535);
}

#[test]
fn the_same_over_ipv6() {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if ProbeSocket::bind(address, None, TOKEN).is_err() {
        println!("SKIPPED: no IPv6 loopback here");
        return;
    }
    with_responder(address, |to| {
        let mut socket = ProbeSocket::bind(address, None, TOKEN).unwrap();
        for (seq, ip_bytes) in [(0, 88), (1, 1280), (2, 65_535)] {
            assert_eq!(socket.send(to, seq, ip_bytes).unwrap(), Outcome::Sent);
            assert!(next_event(&mut socket, Duration::from_secs(5)).is_some(), "{ip_bytes} bytes");
        }
    });
}

#[test]
fn a_stranger_gets_no_answer() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    with_responder(address, |to| {
        let mut stranger = ProbeSocket::bind(address, None, *b"not the session!").unwrap();
        stranger.send(to, 0, 100).unwrap();
        // A friend's answer proves that the responder has been through its queue.
        let mut friend = ProbeSocket::bind(address, None, TOKEN).unwrap();
        friend.send(to, 1, 100).unwrap();
        assert!(next_event(&mut friend, Duration::from_secs(5)).is_some());
        assert_eq!(stranger.next_event().unwrap(), None);
    });
}

#[test]
fn a_closed_port_is_unreachable_and_names_the_probe() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let closed = {
        let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
        socket.local_addr().unwrap()
    };
    let mut socket = ProbeSocket::bind(address, None, TOKEN).unwrap();
    socket.send(closed, 5, 200).unwrap();
    // The error of the first probe must not keep the second from being sent.
    assert_eq!(socket.send(closed, 6, 200).unwrap(), Outcome::Sent);
    let event = next_event(&mut socket, Duration::from_secs(5));
    assert_eq!(event, Some(Event::Unreachable { seq: Some(5), from: address }));
}
