//! `pathproof watch` on a terminal of 80 x 24, through a link that goes and comes back: the screen, cell by cell, and the time line.
//!
//! `PATHPROOF_SOAK_TIME=600` makes it last ten minutes in the place of half a minute (run the test binary itself: nextest's limit is less).

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::netns::{TwoHosts, ip};
use crate::support::*;

const COLUMNS: usize = 80;
const ROWS: usize = 24;
const KEY: &str = "k-e-y-4-soaks";

/// What stands on a terminal after some bytes. It knows what a full-screen program here may send, and nothing else.
struct Cells {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    /// Something was written where the terminal has no cell.
    beyond: Option<(usize, usize)>,
}

impl Cells {
    fn after(bytes: &str) -> Cells {
        let mut cells = Cells { rows: vec![vec![' '; COLUMNS]; ROWS], at: (0, 0), beyond: None };
        let mut rest = bytes.chars();
        while let Some(c) = rest.next() {
            match c {
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['), "a sequence that is no CSI");
                    let mut numbers = String::new();
                    let end = rest.by_ref().find(|c| {
                        let is_end = ('@'..='~').contains(c);
                        numbers.extend((!is_end).then_some(*c));
                        is_end
                    });
                    cells.obey(&numbers, end.expect("a whole sequence"));
                }
                '\r' => cells.at.1 = 0,
                '\n' => cells.at.0 += 1,
                c => cells.put(c),
            }
        }
        cells
    }

    fn obey(&mut self, numbers: &str, end: char) {
        let mut parts = numbers.split(';').map(|n| n.parse::<usize>().unwrap_or(1));
        let mut next = || parts.next().unwrap_or(1).max(1) - 1;
        match end {
            'H' => self.at = (next(), next()),
            'J' => self.rows = vec![vec![' '; COLUMNS]; ROWS],
            'm' => {}
            // The other screen, and whether there is a cursor.
            'h' | 'l' if ["?25", "?1049"].contains(&numbers) => {}
            _ => panic!("the screen sends ESC[{numbers}{end}"),
        }
    }

    fn put(&mut self, c: char) {
        match self.rows.get_mut(self.at.0).and_then(|row| row.get_mut(self.at.1)) {
            Some(cell) => *cell = c,
            None => self.beyond = Some(self.at),
        }
        self.at.1 += 1;
    }

    fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The soak as it stands in its file.
fn soak(file: &str) -> Option<Value> {
    let doc: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(doc["soak"].clone())
}

/// Waits until the soak says so.
fn until(file: &str, what: &str, limit: Duration, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let now = soak(file);
        if let Some(soak) = now.as_ref().filter(|soak| holds(soak)) {
            return soak.clone();
        }
        assert!(begun.elapsed() < limit, "{what}: {now:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn events<'a>(soak: &'a Value, kind: &str) -> Vec<&'a Value> {
    soak["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).collect()
}

#[test]
fn a_soak_on_a_terminal_shows_and_keeps_a_link_that_went_and_came_back() {
    let Some(hosts) = TwoHosts::new("soak") else { return };
    let seconds: u64 = std::env::var("PATHPROOF_SOAK_TIME").ok().and_then(|s| s.parse().ok()).unwrap_or(30);
    let scratch = Scratch::new("pty");
    let (file, pid) = (scratch.path("soak.json"), scratch.path("pid"));
    let serve = hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]);
    let server = Server::spawn(serve);
    // Its size is that of the terminal, which script(1) makes.
    let line = format!(
        "stty cols {COLUMNS} rows {ROWS}; echo $$ >{pid}; exec ip netns exec {} {BINARY} watch 10.61.0.2 --for 1h --probe-every 10s \
         -o {file} >{}",
        hosts.name(0),
        scratch.path("report")
    );
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    command.env("PATHPROOF_KEY", KEY).env_remove("PATHPROOF_LOG").env_remove("NO_COLOR");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("script is in util-linux");
    let drawn: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (mut out, keep) = (child.stdout.take().unwrap(), drawn.clone());
    let reading = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = out.read(&mut buffer) {
            keep.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        }
    });

    let minutes = Duration::from_secs(120);
    let probed =
        |soak: &Value| soak["total"]["in_bits_per_s"].is_object() && soak["total"]["sent"].as_u64() > Some(0);
    let before = until(&file, "it measures", minutes, probed);
    assert!(ip(&["-n", hosts.name(0), "link", "set", "eth0", "down"]));
    let away = |soak: &Value| !events(soak, "peer-lost").is_empty();
    until(&file, "the peer is away", minutes, away);
    assert!(ip(&["-n", hosts.name(0), "link", "set", "eth0", "up"]));
    until(&file, "it is back", minutes, |soak| !events(soak, "peer-back").is_empty());
    let wanted_ns = Duration::from_secs(seconds).as_nanos() as u64;
    let limit = minutes + Duration::from_secs(seconds);
    let back_and_over = |soak: &Value| {
        let back = events(soak, "peer-back")[0]["at_ns"].as_u64().unwrap();
        let measured = soak["slots"]
            .as_array()
            .unwrap()
            .iter()
            .any(|slot| slot["start_ns"].as_u64() > Some(back) && slot["sent"].as_u64() > Some(0));
        measured && soak["elapsed_ns"].as_u64() >= Some(wanted_ns)
    };
    until(&file, "it goes on", limit, back_and_over);
    let shell = std::fs::read_to_string(&pid).unwrap();
    assert!(Command::new("kill").args(["-INT", shell.trim()]).status().unwrap().success());
    let status = wait_within(&mut child, Duration::from_secs(30));
    reading.join().unwrap();
    let drawn = String::from_utf8(drawn.lock().unwrap().clone()).expect("text");
    assert_eq!(status.code(), Some(1), "something happened: {drawn}\n{}", server.log());

    the_screen(&drawn);
    let soak = soak(&file).unwrap();
    the_time_line(&soak, before["elapsed_ns"].as_u64().unwrap());
    let bytes = std::fs::metadata(&file).unwrap().len();
    assert!(bytes < 1 << 20, "the file has {bytes} bytes");
}

/// What stood on the terminal when the soak was left.
fn the_screen(drawn: &str) {
    let (before, after) = drawn.rsplit_once("\x1b[?25h\x1b[?1049l").expect("the screen is left");
    // ratatui shows the cursor once more when it is dropped.
    assert!(!after.replace("\x1b[?25h", "").contains('\x1b'), "nothing is drawn after that: {after:?}");
    let (_, drawn) = before.split_once("\x1b[?1049h").expect("the screen is a second one");
    let cells = Cells::after(drawn);
    assert_eq!(cells.beyond, None, "{}", cells.text());
    let text = cells.text();
    for part in [
        "watching 10.61.0.2",
        "path IP MTU 1500, carriers came or went ",
        " away for ",
        "datagrams lost, a bar is ",
        "response, 99 of 100; highest ",
        "peer-lost: ",
        "peer-back: reached again after ",
        "Ctrl-C ends it with a report",
    ] {
        assert!(text.contains(part), "{part:?} is not on\n{text}");
    }
    let rows: Vec<&str> = text.lines().collect();
    let row = |part: &str| rows.iter().position(|row| row.contains(part)).unwrap();
    assert!(row("peer-back: ") < row("peer-lost: "), "the latest first:\n{text}");
    assert_eq!(row("Ctrl-C ends it"), ROWS - 1, "{text}");
}

/// One fault, where it was, and what surrounds it is sound.
fn the_time_line(soak: &Value, before_ns: u64) {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    let [lost, back] = ["peer-lost", "peer-back"].map(|kind| {
        let found = events(soak, kind);
        assert_eq!(found.len(), 1, "{kind}: {:#}", soak["events"]);
        number(&found[0]["at_ns"])
    });
    assert!(before_ns <= lost && lost < back, "{before_ns} {lost} {back}");
    let (slot_ns, slots) = (number(&soak["slot_ns"]), soak["slots"].as_array().unwrap());
    assert!(slots.len() <= 720 && slots.len() as u64 >= number(&soak["elapsed_ns"]) / slot_ns);
    let mut away_ns = 0;
    for (at, slot) in slots.iter().enumerate() {
        let start = number(&slot["start_ns"]);
        assert_eq!(start, at as u64 * slot_ns, "there are no gaps");
        let away = number(&slot["away_ns"]);
        away_ns += away;
        let within = start < back && start + slot_ns > lost;
        assert!(away == 0 || within, "away from {lost} to {back}: {slot:#}");
        assert!(away <= slot_ns + 1_000_000_000, "no longer away than the slot is long: {slot:#}");
    }
    assert_eq!(away_ns, number(&soak["total"]["away_ns"]));
    assert_eq!(away_ns, back - lost, "all of the time between is in the time line");
    // The MTU is the one of the link, before and afterwards, and nothing else was seen of it.
    assert_eq!(soak["total"]["ip_mtu_bytes"], serde_json::json!({"min": 1500, "max": 1500}));
    assert!(events(soak, "mtu-changed").is_empty());
}
