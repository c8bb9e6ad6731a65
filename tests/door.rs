//! Strangers at the door of `pathproof serve`, and hostile servers before a client: what they can reach without the key.
//! Tests that begin with a `t` and a number stand for that sentence of the trust model in docs/PROTOCOL.md.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pathproof::secure::handshake::Answering;
use pathproof::secure::{Access, Key, Refusal, SecureError, connect};
use pathproof_sys::clock::RealClock;

use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "storage42";
const PREAMBLE: [u8; 16] = *b"PATHPRUF\x02\0\x02\0\x01\0\0\0";
const LANE: [u8; 8] = *b"PATHLANE";

fn keyed_server() -> Server {
    let mut command = pathproof(&["serve", "--listen", "127.0.0.1:0", "-v"]);
    command.env("PATHPROOF_KEY", KEY);
    Server::spawn(command)
}

/// The handshake of a client with this key, from this loopback address.
fn shake(server: &Server, from: [u8; 4], key: &str) -> Result<(), SecureError> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    let address: SocketAddr = server.address.parse().unwrap();
    socket
        .connect_timeout(&address.into(), Duration::from_secs(5))
        .map_err(|source| SecureError::Io { what: "connecting", source })?;
    connect(socket.into(), &Access::Key(Key::new(key)), RealClock::new().deadline(Duration::from_secs(5)))
        .map(drop)
}

fn client(server: &Server, args: &[&str]) -> std::process::Output {
    let mut all = vec!["bench", "pingpong", &server.address, "--time", "100ms"];
    all.extend(args);
    let mut command = pathproof(&all);
    command.env("PATHPROOF_KEY", KEY);
    run_within(command, Duration::from_secs(60))
}

/// Whether a run took place, whatever a tenth of a second on this machine lets be judged.
fn was_served(output: &std::process::Output) -> bool {
    matches!(output.status.code(), Some(0 | 1 | 3))
}

/// Keeps `strangers` connections at the server, each of which behaves as `keep` says and is replaced when it ends, while
/// legitimate clients of the same address come. Returns how many of those were served, and of how many.
fn besieged(
    server: &Server,
    strangers: usize,
    keep: impl Fn(&mut TcpStream, usize) -> bool + Sync,
) -> (usize, usize) {
    let address: SocketAddr = server.address.parse().unwrap();
    let over = AtomicBool::new(false);
    let came = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut all: Vec<TcpStream> = vec![];
            while !over.load(Ordering::Relaxed) {
                while all.len() < strangers {
                    let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
                        break;
                    };
                    stream.set_nonblocking(true).unwrap();
                    all.push(stream);
                    came.fetch_add(1, Ordering::Relaxed);
                }
                let mut at = 0;
                all.retain_mut(|stream| {
                    at += 1;
                    keep(stream, at)
                });
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        while came.load(Ordering::Relaxed) < strangers {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (mut served, mut of) = (0, 0);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(6) {
            of += 1;
            served += usize::from(shake(server, [127, 0, 0, 1], KEY).is_ok());
            std::thread::sleep(Duration::from_millis(30));
        }
        for _ in 0..3 {
            of += 1;
            served += usize::from(was_served(&client(server, &[])));
        }
        over.store(true, Ordering::Relaxed);
        (served, of)
    })
}

fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 128]) {
        Ok(n) => n > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn assert_served((served, of): (usize, usize)) {
    assert!(of > 20 && served * 100 >= of * 95, "{served} of {of} legitimate clients were served");
}

#[test]
fn t7_dripping_strangers_lock_nobody_out() {
    let server = keyed_server();
    let drips = |stream: &mut TcpStream, at: usize| {
        is_open(stream) && (!at.is_multiple_of(5) || stream.write_all(&PREAMBLE[..1]).is_ok())
    };
    assert_served(besieged(&server, 256, drips));
}

#[test]
fn t7_silent_strangers_lock_nobody_out() {
    let server = keyed_server();
    assert_served(besieged(&server, 300, |stream, _| is_open(stream)));
}

#[test]
fn t7_strangers_that_talk_garbage_lock_nobody_out() {
    let server = keyed_server();
    let garbage = |stream: &mut TcpStream, at: usize| {
        let bytes = [(at % 251) as u8; 200];
        stream.write_all(&bytes).is_ok() && is_open(stream)
    };
    assert_served(besieged(&server, 1000, garbage));
}

#[test]
fn t6_one_deadline_for_everything_before_the_proof() {
    let server = keyed_server();
    let address = server.address.clone();
    // What is said at once, and whether a byte a second follows.
    let strangers: [(&[u8], bool); 6] =
        [(b"", false), (b"", true), (&LANE, true), (&LANE, false), (&PREAMBLE, true), (&PREAMBLE, false)];
    std::thread::scope(|scope| {
        for (first, drips) in strangers {
            let address = address.clone();
            scope.spawn(move || {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
                stream.write_all(first).unwrap();
                let start = Instant::now();
                let rest = if first.is_empty() { &PREAMBLE[..] } else { &[1; 64][..] };
                for byte in rest {
                    let ended = match stream.read(&mut [0; 256]) {
                        Ok(n) => n == 0,
                        Err(e) => !matches!(e.kind(), std::io::ErrorKind::WouldBlock),
                    };
                    if ended {
                        break;
                    }
                    assert!(start.elapsed() < Duration::from_secs(8), "{first:?} is still connected");
                    if drips && stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                }
                let lasted = start.elapsed();
                assert!(lasted > Duration::from_millis(4500), "{first:?} was closed after {lasted:?}");
            });
        }
    });
}

#[test]
fn t5_wrong_keys_are_slowed_down_for_their_address_alone() {
    let server = keyed_server();
    let (guesser, other) = ([127, 0, 0, 7], [127, 0, 0, 8]);
    let mut looked_at = 0;
    let waits = loop {
        match shake(&server, guesser, &format!("guess {looked_at}")) {
            Err(SecureError::Refused(Refusal::WrongKey)) => looked_at += 1,
            Err(SecureError::Refused(Refusal::SlowedDown { seconds })) => break seconds,
            other => panic!("{:?}", other.map_err(|e| e.to_string())),
        }
        assert!(looked_at < 10, "nobody slows the guesser down");
    };
    assert!(looked_at >= 2, "one mistake costs nothing");
    // The right key would be as good a guess as any: it waits too, and is told how long.
    let refused = shake(&server, guesser, KEY).unwrap_err().to_string();
    assert!(refused.contains("wait") && refused.contains(" s"), "{refused}");
    shake(&server, other, KEY).unwrap();
    std::thread::sleep(Duration::from_secs(waits.into()));
    shake(&server, guesser, KEY).unwrap();
    assert!(server.logged("(wrong key)"), "{}", server.log());
}

#[test]
fn t5_a_hostile_server_has_one_guess_for_each_answered_dial() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hostile = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut preamble = [0; 16];
        stream.read_exact(&mut preamble).unwrap();
        let guess = Access::Key(Key::new("storage41"));
        let (answer, answering) = Answering::begin(&guess, &preamble);
        stream.write_all(&answer).unwrap();
        let mut proof = [0; 81];
        stream.read_exact(&mut proof).unwrap();
        assert!(answering.unwrap().finish(&proof).is_err());
        // Whatever it says now, the client stops, and does not dial again.
        stream.write_all(&[1; 49]).unwrap();
        let mut more = vec![];
        let _ = stream.read_to_end(&mut more);
        assert!(more.is_empty());
        listener.set_nonblocking(true).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(listener.accept().is_err(), "the client gave it another guess");
    });
    let mut command = pathproof(&["bench", "pingpong", &address, "--time", "100ms"]);
    command.env("PATHPROOF_KEY", KEY);
    let output = run_within(command, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("key is wrong"), "{}", stderr(&output));
    hostile.join().unwrap();
}

#[test]
fn t4_a_server_that_claims_to_need_no_key_learns_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hostile = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = vec![0; 16];
        stream.read_exact(&mut said).unwrap();
        let mut claim = PREAMBLE;
        claim[12] = 0;
        stream.write_all(&claim).unwrap();
        let (answer, _) = Answering::begin(&Access::Anybody, &claim);
        let _ = stream.write_all(&answer[16..]);
        let _ = stream.read_to_end(&mut said);
        said
    });
    let mut command = pathproof(&["bench", "pingpong", &address, "--time", "100ms"]);
    command.env("PATHPROOF_KEY", KEY);
    let output = run_within(command, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("serves without one"), "{}", stderr(&output));
    assert_eq!(hostile.join().unwrap().len(), 16, "it said more than its preamble");
}

#[test]
fn t8_strangers_fill_no_log() {
    let server = keyed_server();
    let start = Instant::now();
    for n in 0..300u32 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(format!("GET /{n} HTTP/1.1\n\u{1b}[2Jturned away: 0\n").as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    let (log, seconds) = (server.log(), start.elapsed().as_secs() as usize);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("turned away")).collect();
    assert!(!lines.is_empty() && lines.len() <= seconds + 2, "{} lines in {seconds} s", lines.len());
    let counted = |line: &&str| -> usize {
        let count = line.split("turned away: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("{line}"))
    };
    assert_eq!(lines.iter().map(counted).sum::<usize>(), 300, "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains("GET"), "{log}");
}

#[test]
fn a_handshake_takes_less_than_50_ms() {
    let server = keyed_server();
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let start = Instant::now();
            shake(&server, [127, 0, 0, 1], KEY).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    // The fastest: what the others waited for on a busy machine is not the handshake's.
    assert!(times[0] < Duration::from_millis(50), "{times:?}");
}

#[test]
fn keys_come_from_the_environment_or_a_file_and_on_the_command_line_with_a_warning() {
    let scratch = Scratch::new("keys");
    let file = scratch.path("key");
    std::fs::write(&file, "storage42\n").unwrap();
    let server = keyed_server();
    let silent = client(&server, &[]);
    assert!(was_served(&silent), "{}", stderr(&silent));
    assert!(!stderr(&silent).contains("ps"), "{}", stderr(&silent));
    let from_file = run(&["bench", "pingpong", &server.address, "--time", "100ms", "--key-file", &file]);
    assert!(was_served(&from_file), "{}", stderr(&from_file));
    let typed = run(&["bench", "pingpong", &server.address, "--time", "100ms", "--key", KEY]);
    assert!(was_served(&typed), "{}", stderr(&typed));
    assert!(stderr(&typed).contains("everybody on this host (ps)"), "{}", stderr(&typed));
    let server = Server::start(&["--key", KEY, "--limits", "clients=1"]);
    assert!(was_served(&client(&server, &[])));
}

#[test]
fn t1_without_a_key_a_client_does_not_even_dial_another_host() {
    let Some(hosts) = TwoHosts::new("nokey") else { return };
    let server =
        Server::spawn(hosts.at(1, &[BINARY, "serve", "-v", "--listen", "10.61.0.2:7797", "--no-key"]));
    assert!(server.logged("warning: --no-key"), "{}", server.log());
    let dial = |more: &[&str]| {
        let args = [&[BINARY, "bench", "pingpong", "10.61.0.2", "--time", "100ms", "--format", "json"], more];
        run_within(hosts.at(0, &args.concat()), Duration::from_secs(20))
    };
    let refused = dial(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--no-key at both ends"), "{}", stderr(&refused));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!server.log().contains("turned away"), "it was dialled: {}", server.log());
    // Said at both ends it works, and the result says so.
    let open = dial(&["--no-key"]);
    assert!(was_served(&open), "{}", stderr(&open));
    let codes: Vec<_> =
        document(&open)["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert!(codes.iter().any(|code| code == "SESSION-KEYLESS"), "{codes:?}");
    assert!(server.logged("key=\"none\""), "{}", server.log());
}

#[test]
fn t1_without_no_key_a_server_on_a_network_has_a_key_whatever_the_client_says() {
    let Some(hosts) = TwoHosts::new("haskey") else { return };
    let server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797"]));
    let args = [BINARY, "bench", "pingpong", "10.61.0.2", "--time", "100ms", "--no-key"];
    let refused = run_within(hosts.at(0, &args), Duration::from_secs(20));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("wants a key"), "{}", stderr(&refused));
    assert!(server.logged("handshake failed (no key)"), "{}", server.log());
}

#[test]
fn serve_answers_on_networks_of_either_family() {
    let Some(hosts) = TwoHosts::new("family") else { return };
    for (host, address) in [(0, "fd00:61::1/64"), (1, "fd00:61::2/64")] {
        let added = hosts.at(host, &["ip", "addr", "add", address, "dev", "eth0", "nodad"]).status();
        if !added.is_ok_and(|status| status.success()) {
            return skip("this kernel has no IPv6");
        }
    }
    let mut command = hosts.at(1, &[BINARY, "serve"]);
    command.env("PATHPROOF_KEY", KEY);
    let server = Server::spawn(command);
    for peer in ["10.61.0.2", "[fd00:61::2]"] {
        assert!(server.logged(&format!("pathproof check {peer} --key-file")), "{}", server.log());
        let mut command = hosts.at(0, &[BINARY, "bench", "pingpong", peer, "--time", "100ms"]);
        command.env("PATHPROOF_KEY", KEY);
        let output = run_within(command, Duration::from_secs(20));
        assert!(was_served(&output), "{peer}: {}", stderr(&output));
    }
}

#[test]
fn t7_a_client_that_is_sent_away_as_busy_before_it_showed_its_key_knocks_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let crowded = std::thread::spawn(move || {
        let mut said_after = vec![];
        for time in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut preamble = [0; 16];
            stream.read_exact(&mut preamble).unwrap();
            let busy = Refusal::Busy.encode();
            if time < 2 {
                stream.write_all(&[&PREAMBLE[..], &busy].concat()).unwrap();
            } else {
                // Now it has shown what it knows: that was its one guess.
                let guess = Access::Key(Key::new("storage41"));
                stream.write_all(&Answering::begin(&guess, &preamble).0).unwrap();
                stream.read_exact(&mut [0; 81]).unwrap();
                stream.write_all(&busy).unwrap();
            }
            let mut rest = vec![];
            let _ = stream.read_to_end(&mut rest);
            said_after.extend(rest);
        }
        listener.set_nonblocking(true).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        (said_after, listener.accept().is_err())
    });
    let mut command = pathproof(&["bench", "pingpong", &address, "--time", "100ms"]);
    command.env("PATHPROOF_KEY", KEY);
    let output = run_within(command, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("busy"), "{}", stderr(&output));
    assert_eq!(crowded.join().unwrap(), (vec![], true), "it says no more, and does not come back");
}
