//! `pathproof contend` against what the kernel counts meanwhile: the shares of two classes, and the delay of a queue.
//!
//! The queues stand in a switch between the hosts. In a host of its own they would be another thing: TCP keeps no more than two small
//! segments of a connection in queues of its own host (TCP small queues), so requests would wait in their socket as well.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contend::{check, class, codes, contend, filtered, number, serve, shaped};
use crate::netns::{TwoHosts, ip};
use crate::support::*;

/// Two hosts with a switch between them, removed with the test; `port1` leads to the second.
struct Switched {
    hosts: TwoHosts,
    switch: String,
}

impl Switched {
    /// Makes them with these settings of `port1`, each a command of `tc`; or says why not.
    fn new(tag: &str, settings: &[&str]) -> Option<Switched> {
        let hosts = TwoHosts::new(tag)?;
        let switch = format!("pp{}-{tag}-s", std::process::id());
        let switched = Switched { hosts, switch };
        let switch = &switched.switch;
        let port = |host: usize| {
            let (name, port) = (switched.hosts.name(host), format!("port{host}"));
            let address = format!("10.61.0.{}/24", host + 1);
            ip(&["-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", switch])
                && ip(&["-n", switch, "link", "set", &port, "master", "br0", "up"])
                && ip(&["-n", name, "addr", "add", &address, "dev", "eth0"])
                && ip(&["-n", name, "link", "set", "eth0", "up"])
        };
        let made = ip(&["netns", "add", switch])
            && ip(&["-n", switch, "link", "add", "br0", "type", "bridge"])
            && ip(&["-n", switch, "link", "set", "br0", "up"])
            && ip(&["-n", switched.hosts.name(0), "link", "del", "eth0"])
            && (0..2).all(port)
            && settings.iter().all(|words| {
                let words: Vec<&str> = words.split(' ').collect();
                switched.at_switch(&words).output().is_ok_and(|output| output.status.success())
            });
        if !made {
            skip("no bridge, or not the queues that are wanted");
            return None;
        }
        Some(switched)
    }

    fn at_switch(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tc");
        command.args(["-n", &self.switch]).args(words);
        command
    }

    /// A figure of the queue of `port1` with this parent, or of its root.
    fn queue(&self, parent: Option<&str>, figure: &str) -> u64 {
        let output = self.at_switch(&["-s", "-j", "qdisc", "show", "dev", "port1"]).output().unwrap();
        let queues: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let found = queues.as_array().into_iter().flatten().find(|queue| queue["parent"].as_str() == parent);
        found.and_then(|queue| queue[figure].as_u64()).unwrap_or_default()
    }

    /// Runs the rehearsal, and looks at the switch all the while.
    fn watched<T: Send>(
        &self,
        asked: &[&str],
        look: impl Fn(&Self) -> T + Sync,
    ) -> (Value, Vec<(Instant, T)>) {
        let _server = serve(&self.hosts);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut seen = vec![];
                while !over.load(Ordering::Relaxed) {
                    seen.push((Instant::now(), look(self)));
                    std::thread::sleep(Duration::from_millis(20));
                }
                seen
            });
            let output =
                std::panic::catch_unwind(|| run_within(contend(&self.hosts, asked), Duration::from_secs(90)));
            over.store(true, Ordering::Relaxed);
            let seen = watch.join().unwrap();
            (document(&output.unwrap_or_else(|cause| std::panic::resume_unwind(cause))), seen)
        })
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.switch]);
    }
}

/// What was seen while a phase of so long was measured. Its load was not seen yet in the one look and was in the next, at `next`: what may
/// lie before or after is left out.
fn measured<T>(seen: &[(Instant, T)], next: usize, phase: Duration) -> Vec<&T> {
    const SETTLE: Duration = Duration::from_millis(400);
    let (from, until) = (seen[next].0 + SETTLE, seen[next - 1].0 + SETTLE + phase);
    let within: Vec<&(Instant, T)> = seen.iter().filter(|(at, _)| (from..=until).contains(at)).collect();
    let span = |pair: [&(Instant, T); 2]| pair[1].0.duration_since(pair[0].0);
    let spanned = within.first().zip(within.last()).map(|(first, last)| span([*first, *last]));
    assert!(spanned > Some(phase / 3), "the switch was looked at {} times in {phase:?}", within.len());
    within.into_iter().map(|(_, what)| what).collect()
}

/// The classes of a link of 100 Mbit/s: of storage (AF31), of migrations (AF11), and of everything else. Both ask for more than there is,
/// what their queues counted is the witness of who got what. Returns the part of storage, what was counted of it, and the document of a run
/// with these options more.
fn shares(tag: &str, storage: &str, migration: &str, more: &[&str]) -> Option<(f64, f64, Value)> {
    let class_of = |id: &str, rate: &str| {
        format!("class add dev port1 parent 1:1 classid 1:{id} htb {rate} burst 64k cburst 64k quantum 20000")
    };
    let filter = |prio: u32, matches: &str, id: &str| {
        format!("filter add dev port1 parent 1: protocol ip prio {prio} u32 match {matches} flowid 1:{id}")
    };
    let settings = [
        "qdisc add dev port1 root handle 1: htb default 30".to_owned(),
        "class add dev port1 parent 1: classid 1:1 htb rate 100mbit burst 64k cburst 64k quantum 20000"
            .into(),
        class_of("10", storage),
        class_of("20", migration),
        class_of("30", "rate 10mbit ceil 10mbit prio 0"),
        "qdisc add dev port1 parent 1:10 pfifo limit 100".into(),
        "qdisc add dev port1 parent 1:20 pfifo limit 100".into(),
        filter(1, "ip tos 0x68 0xfc", "10"),
        filter(2, "ip tos 0x28 0xfc", "20"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let switched = Switched::new(tag, &settings)?;
    let counted = |switched: &Switched| ["1:10", "1:20"].map(|class| switched.queue(Some(class), "bytes"));
    let asked = "--storage 150Mbit/s --migrations 2 --dscp storage=26 --dscp migration=10 --time 3s";
    let asked: Vec<&str> = asked.split(' ').chain(more.iter().copied()).collect();
    let (doc, seen) = switched.watched(&asked, counted);

    // Nothing else is marked as migrations are, and storage without them has the link for itself.
    let next = seen.iter().position(|(_, bytes)| bytes[1] > 100_000).expect("migrations passed the switch");
    let both = measured(&seen, next, Duration::from_secs(3));
    let bytes = [0, 1].map(|class| (both[both.len() - 1][class] - both[0][class]) as f64);
    let witness = bytes[0] / (bytes[0] + bytes[1]);
    let share = |name| number(&class(&doc, "both", name)["share"]);
    for (name, counted) in [("storage", witness), ("migration", 1.0 - witness)] {
        let share = share(name);
        assert!((share / counted - 1.0).abs() < 0.05, "{name}: {share}, and {counted} was counted");
    }
    assert!(!codes(&doc).iter().any(|code| code.starts_with("DSCP-")), "{:?}", codes(&doc));
    let storage = share("storage");
    Some((storage, witness, doc))
}

/// How the shares came out that somebody said are reserved.
fn judged(doc: &Value) -> Vec<(f64, String)> {
    let verdicts = doc["verdicts"].as_array().unwrap().iter();
    let checks = verdicts.flat_map(|verdict| verdict["checks"].as_array().unwrap());
    let own = checks.filter(|check| check["criterion"] == "reserved-share");
    own.map(|check| (number(&check["limit"]), check["outcome"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn the_shares_of_marked_classes_are_those_that_the_link_gives_them() {
    let expected = ["--share", "storage=67", "--share", "migration=33"];
    let told = shares("shares", "rate 60mbit ceil 60mbit", "rate 30mbit ceil 30mbit", &expected);
    let Some((share, counted, doc)) = told else { return };
    for (part, of) in [(share, 2.0 / 3.0), (1.0 - share, 1.0 / 3.0)] {
        assert!((part / of - 1.0).abs() < 0.05, "{part} of {of}; {counted} was counted of storage");
    }
    let pass = || "pass".to_owned();
    assert_eq!(judged(&doc), [(0.67, pass()), (0.33, pass())], "{:#}", doc["verdicts"]);

    // Whoever expects another share is told; a host that had no processor meanwhile may leave it open.
    let scratch = Scratch::new("shares");
    let (file, other) = (scratch.path("run.json"), scratch.path("other.toml"));
    std::fs::write(&file, doc.to_string()).unwrap();
    std::fs::write(&other, "[contend]\nstorage_reserved_share = 0.5\n").unwrap();
    let told = judged(&document(&run(&["report", &file, "--criteria", &other, "--format", "json"])));
    assert!(told.len() == 1 && told[0].0 == 0.5 && told[0].1 != "pass", "{told:?}");
}

#[test]
fn what_classes_borrow_is_part_of_their_shares() {
    // How htb shares what is left depends on quanta and bursts, so only its counters say what it gave.
    let told = shares("borrow", "rate 60mbit ceil 100mbit prio 1", "rate 30mbit ceil 100mbit prio 1", &[]);
    let Some((share, counted, _)) = told else { return };
    assert!(share > 0.5 && counted > 0.5, "{share}, {counted}");
}

#[test]
fn what_a_queue_adds_to_storage_is_what_stands_in_it() {
    const BITS_PER_S: f64 = 20e6;
    // Longer than the windows of all migrations together: nothing is lost, and what stands there is all that waits.
    let settings = ["qdisc add dev port1 root tbf rate 20mbit burst 32k limit 4000000"];
    let Some(switched) = Switched::new("queue", &settings) else { return };
    let windows = "echo 4096 131072 131072 > /proc/sys/net/ipv4/tcp_rmem";
    if !switched.hosts.at(1, &["sh", "-c", windows]).status().is_ok_and(|status| status.success()) {
        return skip("the receive windows of a namespace cannot be set");
    }
    // So few requests that the connections never wait for an answer before they ask again. BBR would empty the queue on purpose.
    let asked = "--storage 400kbit/s --size 1KiB --migrations 4 --time 3s --option congestion=reno";
    let backlog = |switched: &Switched| switched.queue(None, "backlog");
    let (doc, seen) = switched.watched(&asked.split(' ').collect::<Vec<_>>(), backlog);

    // The stream beforehand fills it as well; then it is empty for two phases.
    let full: Vec<usize> = (0..seen.len()).filter(|look| seen[*look].1 > 50_000).collect();
    let long = |pair: &&[usize]| seen[pair[1]].0.duration_since(seen[pair[0]].0) > Duration::from_secs(4);
    let next = full.windows(2).find(long).expect("a queue that is empty and full again")[1];
    let both = measured(&seen, next, Duration::from_secs(3));
    let mean_bytes = both.iter().map(|bytes| **bytes as f64).sum::<f64>() / both.len() as f64;
    let stood_ns = mean_bytes * 8.0 / BITS_PER_S * 1e9;
    let p50 = |phase| number(&class(&doc, phase, "storage")["response_ns"]["p50"]);
    let added_ns = p50("both") - p50("storage");
    assert!(stood_ns > 100e6, "the queue was not full: {stood_ns} ns");
    assert!((added_ns / stood_ns - 1.0).abs() < 0.1, "{added_ns} ns, and {stood_ns} ns stood in the queue");
}

#[test]
fn backups_beside_migrations_have_a_cap_of_their_own_and_both_together_leave_storage_alone() {
    let Some(hosts) = shaped("backups", "200mbit", 2_500_000) else { return };
    let _server = serve(&hosts);
    let asked = ["--migrations", "2", "--backups", "2", "--time", "2s"];
    let doc = document(&run_within(contend(&hosts, &asked), Duration::from_secs(90)));
    assert!(codes(&doc).contains(&"CONTEND-STORAGE-STARVED".into()), "{:#}", doc["findings"]);
    let advice = &step(&doc, "contend")["advice"];
    let caps = [number(&advice["cap_bytes_per_s"]), number(&advice["backup_cap_bytes_per_s"])];
    // Two connections each: the same for both, and together nine tenths of the link's payload less the 35 % of storage.
    let room = 200e6 * 1448.0 / 1514.0 / 8.0 * 0.55;
    assert_eq!(caps[0], caps[1], "{advice:#}");
    assert!(((caps[0] + caps[1]) / room - 1.0).abs() < 0.2, "{caps:?} of {room}: {advice:#}");

    let [migration, backup] = caps.map(|cap| cap as u64 >> 20);
    let held = [format!("migration={migration}MB"), format!("default={backup}MB")];
    let more = ["--cap", &held[0], "--cap", &held[1]];
    let output = run_within(contend(&hosts, &[&asked[..], &more].concat()), Duration::from_secs(90));
    let healed = document(&output);
    for (name, cap) in ["migration", "backup"].into_iter().zip(caps) {
        let rate = number(&class(&healed, "both", name)["goodput_bits_per_s"]) / 8.0;
        assert!(rate < 1.01 * cap, "{name}: {rate} of {cap}");
    }
    let p99 = |doc: &Value| number(&class(doc, "both", "storage")["response_ns"]["p99"]);
    assert!(p99(&healed) < p99(&doc), "{:#}", step(&healed, "contend")["phases"]);
    if healed["verdicts"].to_string().contains("was busy") {
        return skip("this machine was too busy to leave storage alone under both caps");
    }
    assert_eq!(output.status.code(), Some(0), "{:#}\n{}", healed["verdicts"], stderr(&output));
    assert!(!codes(&healed).iter().any(|code| code.starts_with("CONTEND-")), "{:#}", healed["findings"]);
    let left = &step(&healed, "contend")["advice"];
    assert!(left["backup_cap_bytes_per_s"].is_null(), "backups are held already: {left:#}");
}

#[test]
fn caps_that_are_too_high_too_low_or_waste_the_link_and_storage_that_needs_all_of_it_are_told_apart() {
    let Some(hosts) = shaped("caps", "200mbit", 2_500_000) else { return };
    let _server = serve(&hosts);
    // Of 191 Mbit/s of payload nine tenths are given to anybody; 100 of storage leave migrations 72, which are 8 MiB/s. Under 7 of them all is well
    // beside storage, and without it seven tenths of the link are nobody's; 2 are too few even beside it, and 20 are more than there is.
    let cases = [
        ("--storage 100Mbit/s --time 1s --cap migration=7MB", "CONTEND-CAP-IDLE", Some(0)),
        ("--storage 100Mbit/s --time 1s --cap migration=2MB", "CONTEND-CAP-LOW", Some(0)),
        ("--storage 100Mbit/s --time 2s --cap migration=20MB --migrations 4", "CONTEND-CAP-HIGH", Some(1)),
        ("--storage 185Mbit/s --time 1s", "CONTEND-NO-ROOM", None),
    ];
    for (words, code, exit_code) in cases {
        let asked: Vec<&str> = words.split(' ').collect();
        let output = run_within(contend(&hosts, &asked), Duration::from_secs(90));
        let doc = document(&output);
        if doc["verdicts"].to_string().contains("was busy") {
            return skip("this machine was too busy to leave storage alone beside a capped migration");
        }
        let mut told = codes(&doc);
        // What a full link does to heartbeats is another matter.
        told.retain(|code| code.starts_with("CONTEND-") && code != "CONTEND-HEARTBEAT-LOST");
        assert_eq!(told, [code], "{words}: {:#}", step(&doc, "contend")["phases"]);
        if exit_code.is_some() {
            assert_eq!(output.status.code(), exit_code, "{words}: {:#}", doc["verdicts"]);
        }
    }
}

#[test]
fn heartbeats_that_load_alone_takes_are_told_of_the_phase_that_took_them() {
    let Some(hosts) = shaped("beatload", "200mbit", 1 << 20) else { return };
    // More than 10 MB/s that come in close the way of heartbeats for a tenth of a second; storage alone stays below that.
    let rules = "table ip f { set busy { type ipv4_addr; flags dynamic,timeout; timeout 100ms; }\n chain i { type filter hook input priority 0; \
                 meta l4proto tcp limit rate over 10 mbytes/second update @busy { ip saddr timeout 100ms }; \
                 udp length 68 ip dscp cs6 ip saddr @busy drop; }; }";
    if !filtered(&hosts, 1, "beatload", rules) {
        return;
    }
    let _server = serve(&hosts);
    let asked = ["--storage", "20Mbit/s", "--migrations", "2", "--time", "2s"];
    let output = run_within(contend(&hosts, &asked), Duration::from_secs(90));
    let doc = document(&output);
    let lost = |phase| number(&class(&doc, phase, "heartbeat")["lost_out"]);
    assert_eq!((lost("idle"), lost("storage")), (0.0, 0.0), "{:#}", step(&doc, "contend")["phases"]);
    let sent = number(&class(&doc, "both", "heartbeat")["sent"]) / 2.0;
    assert!(lost("both") > sent / 3.0, "{:#}", class(&doc, "both", "heartbeat"));
    let mut findings = doc["findings"].as_array().unwrap().iter();
    let told = findings.find(|one| one["code"] == "CONTEND-HEARTBEAT-LOST");
    let told = told.unwrap_or_else(|| panic!("{:?}", codes(&doc)));
    assert_eq!(told["values"]["phase"], "both", "the first that lost them: {told:#}");
    assert!(told["next"].as_str().unwrap().contains("priority 7"), "{told:#}");
    let busy = doc["verdicts"].to_string().contains("was busy");
    let checked = check(&doc, "heartbeat-lost");
    assert!(checked["outcome"] == "fail" || busy, "{checked:#}");
    assert!(output.status.code() == Some(1) || busy, "{:#}", doc["verdicts"]);
}
