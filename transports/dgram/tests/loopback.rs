//! Probes over the loopback interface, which exists everywhere: consent, arrivals, local refusals, strangers.

#![allow(clippy::print_stdout, reason = "a test that cannot run must say so")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread::Builder;
use std::time::{Duration, Instant};

use pathproof_dgram::wire::{self, HEADER_BYTES, ProbeKey};
use pathproof_dgram::{
    DgramError, Event, Heard, Outcome, ProbeSocket, Responder, UnprovenSocket, cached_path_mtu, wait_readable,
};
use pathproof_sys::{ending, thread};

const PATIENCE: Duration = Duration::from_secs(5);

fn key() -> ProbeKey {
    ProbeKey::new(*b"the key of this loopback session")
}

fn not_the_key() -> ProbeKey {
    ProbeKey::new(*b"the key of another, or a guess..")
}

/// Runs `body` against a responder on `address`.
fn with_responder(address: IpAddr, body: impl FnOnce(SocketAddr)) {
    let mut responder = Responder::new(key());
    let port = responder.listen(address, None).unwrap();
    let (ender, ending) = ending::pair().unwrap();
    std::thread::scope(|scope| {
        Builder::new()
            .name("responds".into())
            .spawn_scoped(scope, || responder.run(&ending).unwrap())
            .unwrap();
        // Dropped even when an assertion fails, or the scope would wait forever.
        let _ender = ender;
        body(SocketAddr::new(address, port));
    });
}

/// What `next` gives within a patience that no healthy machine needs.
fn within<S: AsFd, T>(
    socket: &mut S,
    patience: Duration,
    next: impl Fn(&mut S) -> Result<Option<T>, DgramError>,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(event) = next(socket).unwrap() {
            return Some(event);
        }
        wait_readable(&[socket.as_fd()], Duration::from_millis(10)).unwrap();
    }
    None
}

fn next_event(socket: &mut ProbeSocket, patience: Duration) -> Option<Event> {
    within(socket, patience, ProbeSocket::next_event)
}

/// A socket that may probe the responder at `to`.
fn proven(address: IpAddr, nic: Option<&str>, to: SocketAddr) -> ProbeSocket {
    let mut socket = UnprovenSocket::bind(address, nic, to, key()).unwrap();
    assert_eq!(socket.challenge().unwrap(), Outcome::Sent);
    assert_eq!(within(&mut socket, PATIENCE, UnprovenSocket::next_event), Some(Heard::Consent));
    socket.proven().unwrap()
}

#[test]
fn a_responder_that_nobody_asks_sleeps_until_its_end() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // That it ends at all shows that the end woke it: it waits without a limit.
    with_responder(address, |_| {
        assert!(thread::sleeps_within("responds", Duration::from_millis(300)) <= 1);
    });
}

#[test]
fn sizes_arrive_up_to_what_ip_can_carry() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    with_responder(address, |to| {
        let mut socket = proven(address, Some("lo"), to);
        for (seq, ip_bytes) in [(0, 68), (1, 1500), (2, 65_535)] {
            assert_eq!(socket.send(seq, ip_bytes).unwrap(), Outcome::Sent);
            let event = next_event(&mut socket, PATIENCE);
            let Some(Event::Arrived { seq: got, largest_fragment_bytes: None, recent }) = event else {
                panic!("{event:?}")
            };
            assert_eq!(got, seq);
            assert_eq!(recent, (0..=seq).collect::<Vec<_>>());
        }
        assert_eq!(socket.send(3, 65_536).unwrap(), Outcome::TooBig { ip_mtu_bytes: None });
    });
    assert!(cached_path_mtu(address, None, SocketAddr::new(address, 9)).unwrap() >= 65_535);
}

#[test]
fn a_probe_without_df_is_answered_as_others_are_and_numbers_may_be_far_apart() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        if UnprovenSocket::bind(address, None, SocketAddr::new(address, 9), key()).is_err() {
            println!("SKIPPED: no {address} here");
            continue;
        }
        with_responder(address, |to| {
            let mut socket = proven(address, None, to);
            for (seq, df) in [(0, true), (65_537, false), (65_538, true)] {
                let sent = if df { socket.send(seq, 3000) } else { socket.send_without_df(seq, 3000) };
                assert_eq!(sent.unwrap(), Outcome::Sent);
                let event = next_event(&mut socket, PATIENCE);
                assert!(matches!(event, Some(Event::Arrived { seq: got, .. }) if got == seq), "{event:?}");
            }
            assert_eq!(socket.send_without_df(1, 65_536).unwrap(), Outcome::TooBig { ip_mtu_bytes: None });
        });
    }
}

#[test]
fn the_same_over_ipv6() {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if UnprovenSocket::bind(address, None, SocketAddr::new(address, 9), key()).is_err() {
        println!("SKIPPED: no IPv6 loopback here");
        return;
    }
    with_responder(address, |to| {
        let mut socket = proven(address, None, to);
        for (seq, ip_bytes) in [(0, 88), (1, 1280), (2, 65_535)] {
            assert_eq!(socket.send(seq, ip_bytes).unwrap(), Outcome::Sent);
            assert!(next_event(&mut socket, PATIENCE).is_some(), "{ip_bytes} bytes");
        }
    });
}

#[test]
fn a_stranger_gets_no_answer() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    with_responder(address, |to| {
        let mut stranger = UnprovenSocket::bind(address, None, to, not_the_key()).unwrap();
        stranger.challenge().unwrap();
        let bare = UdpSocket::bind((address, 0)).unwrap();
        let mut probe = vec![0; 1000];
        wire::write_probe(&mut probe, &not_the_key(), 0, 1028);
        for datagram in [&probe[..], &[0; HEADER_BYTES], b"PPM2", b""] {
            bare.send_to(datagram, to).unwrap();
        }
        // A friend's answer proves that the responder has been through its queue.
        let mut friend = proven(address, None, to);
        friend.send(1, 100).unwrap();
        assert!(next_event(&mut friend, PATIENCE).is_some());
        assert_eq!(stranger.next_event().unwrap(), None);
        bare.set_nonblocking(true).unwrap();
        assert!(bare.recv(&mut [0; 100]).is_err(), "strangers got an answer");
    });
}

#[test]
fn no_answer_is_larger_than_its_question() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    with_responder(address, |to| {
        let bare = UdpSocket::bind((address, 0)).unwrap();
        bare.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut room = [0; 65_536];
        // Many probes, so that there is as much to tell as there can be.
        for seq in 0..300u32 {
            let length = HEADER_BYTES + seq as usize % 7;
            let mut question = vec![0; length];
            match seq % 3 {
                0 => question = wire::challenge(&key(), [7; 12]).to_vec(),
                _ => wire::write_probe(&mut question, &key(), seq, length as u16 + 28),
            }
            bare.send_to(&question, to).unwrap();
            let got = bare.recv(&mut room).unwrap();
            assert!(got <= question.len(), "{} bytes were answered by {got}", question.len());
        }
    });
}

#[test]
fn consent_comes_from_the_address_that_was_asked_and_nowhere_else() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (asked, other) = (UdpSocket::bind((address, 0)).unwrap(), UdpSocket::bind((address, 0)).unwrap());
    let mut socket = UnprovenSocket::bind(address, None, asked.local_addr().unwrap(), key()).unwrap();
    socket.challenge().unwrap();
    let mut challenge = [0; 100];
    asked.set_read_timeout(Some(PATIENCE)).unwrap();
    let (got, from) = asked.recv_from(&mut challenge).unwrap();
    let Some(wire::Datagram::Challenge(nonce)) = wire::read(&challenge[..got], &key()) else {
        panic!("no challenge")
    };
    // The peer knows the key, and may have heard of the challenge; the address that it named has not spoken.
    other.send_to(&wire::consent(&key(), nonce), from).unwrap();
    // A consent to some other challenge, from the right address.
    asked.send_to(&wire::consent(&key(), [0; 12]), from).unwrap();
    assert_eq!(within(&mut socket, Duration::from_millis(300), UnprovenSocket::next_event), None);
    asked.send_to(&wire::consent(&key(), nonce), from).unwrap();
    assert_eq!(within(&mut socket, PATIENCE, UnprovenSocket::next_event), Some(Heard::Consent));
    assert!(socket.proven().is_some());
}

#[test]
fn a_closed_port_is_unreachable_and_names_the_probe() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut closed = None;
    let mut socket = None;
    with_responder(address, |to| (socket, closed) = (Some(proven(address, None, to)), Some(to)));
    let mut socket = socket.unwrap();
    // The responder is gone by now, and its port closed.
    socket.send(5, 200).unwrap();
    // The error of the first probe must not keep the second from being sent.
    assert_eq!(socket.send(6, 200).unwrap(), Outcome::Sent);
    let event = next_event(&mut socket, PATIENCE);
    assert_eq!(event, Some(Event::Unreachable { seq: Some(5), from: address }));
    let mut unproven = UnprovenSocket::bind(address, None, closed.unwrap(), key()).unwrap();
    unproven.challenge().unwrap();
    let heard = within(&mut unproven, PATIENCE, UnprovenSocket::next_event);
    assert_eq!(heard, Some(Heard::Unreachable { from: address }));
    assert!(unproven.proven().is_none());
}
