//! `pathproof contend`: a migration starves storage on a shaped link, and the cap that is advised heals it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "c-o-n-t-e-n-d";

/// Two hosts, the first of which sends through a token bucket of `rate` with a queue of `queue_bytes`.
pub fn shaped(tag: &str, rate: &str, queue_bytes: u32) -> Option<TwoHosts> {
    let hosts = TwoHosts::new(tag)?;
    let queue = queue_bytes.to_string();
    let args =
        ["qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "131072", "limit", &queue];
    let made =
        hosts.at(0, &[&["tc"][..], &args].concat()).output().is_ok_and(|output| output.status.success());
    if !made {
        skip("no token bucket");
        return None;
    }
    Some(hosts)
}

pub fn serve(hosts: &TwoHosts) -> Server {
    Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]))
}

pub fn contend(hosts: &TwoHosts, more: &[&str]) -> Command {
    let args = [&[BINARY, "contend", "10.61.0.2", "--key", KEY, "--format", "json"], more].concat();
    hosts.at(0, &args)
}

/// A class in a phase of the one step.
pub fn class<'a>(doc: &'a Value, phase: &str, class: &str) -> &'a Value {
    let named = |list: &'a Value, name: &str| {
        list.as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).unwrap_or(&Value::Null)
    };
    named(&named(&step(doc, "contend")["phases"], phase)["classes"], class)
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

pub fn codes(doc: &Value) -> Vec<String> {
    let findings = doc["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

pub fn check<'a>(doc: &'a Value, criterion: &str) -> &'a Value {
    let verdicts = doc["verdicts"].as_array().unwrap().iter();
    let mut checks = verdicts.flat_map(|verdict| verdict["checks"].as_array().unwrap());
    checks.find(|check| check["criterion"] == criterion).unwrap_or_else(|| panic!("no check {criterion}"))
}

#[test]
fn a_migration_starves_storage_and_the_advised_cap_heals_it() {
    // A queue of 100 ms, as cheap switches have it.
    let Some(hosts) = shaped("starve", "200mbit", 2_500_000) else { return };
    let _server = serve(&hosts);
    // Two seconds of a phase are a thousand requests of storage.
    let asked = ["--migrations", "4", "--time", "2s"];
    let output = run_within(contend(&hosts, &asked), Duration::from_secs(90));
    let doc = document(&output);
    assert!(step(&doc, "contend")["error"].is_null(), "{:#}", step(&doc, "contend")["error"]);
    assert_eq!(output.status.code(), Some(1), "{:#}\n{}", doc["verdicts"], stderr(&output));
    assert!(codes(&doc).contains(&"CONTEND-STORAGE-STARVED".into()), "{:?}", codes(&doc));
    let p99 = |doc: &Value, phase| number(&class(doc, phase, "storage")["response_ns"]["p99"]);
    assert!(p99(&doc, "both") > p99(&doc, "storage") + 10e6, "{:#}", step(&doc, "contend")["phases"]);
    assert!(class(&doc, "idle", "storage").is_null() && class(&doc, "storage", "migration").is_null());
    assert_eq!(class(&doc, "migration", "migration")["lost"], Value::Null, "TCP sends again what was lost");
    // Virtual NICs pause no priority and count none: that is unknown with its reason, and no pass.
    let discards = check(&doc, "lossless-discards");
    assert_eq!((&discards["outcome"], &discards["measured"]), (&"not-judged".into(), &Value::Null));
    assert!(discards["text"].as_str().unwrap().contains("has DCB"), "{discards:#}");
    assert!(check(&doc, "congestion-marks")["measured"].is_number(), "{:#}", doc["verdicts"]);
    let mut steps = doc["steps"].as_array().unwrap().iter();
    let said = steps.find_map(|step| step["evidence"].as_array().filter(|ends| ends.len() == 2)).unwrap();
    for (evidence, first) in step(&doc, "contend")["evidence"].as_array().unwrap().iter().zip(said) {
        let unreadable = first["unreadable"].as_array().unwrap();
        assert!(evidence["priorities"].is_null(), "{evidence:#}");
        assert!(unreadable.iter().any(|one| one["what"] == "priorities"), "{unreadable:#?}");
    }

    // Nine tenths of the link's payload rate, less the 35 % of it that storage asks for.
    let advice = &step(&doc, "contend")["advice"];
    let cap = number(&advice["cap_bytes_per_s"]);
    let path = 200e6 * 1448.0 / 1514.0 / 8.0;
    assert!((cap / (path * 0.55) - 1.0).abs() < 0.12, "{cap} of {path}: {advice:#}");
    let next =
        doc["findings"].as_array().unwrap().iter().find(|f| f["code"] == "CONTEND-STORAGE-STARVED").unwrap();
    let typed = format!("-BytesPerSecond {}MB", cap as u64 >> 20);
    assert!(next["next"].as_str().unwrap().contains(&typed), "{next:#}");

    let cap_text = format!("migration={}MB", cap as u64 >> 20);
    let output =
        run_within(contend(&hosts, &[&asked[..], &["--cap", &cap_text]].concat()), Duration::from_secs(90));
    let healed = document(&output);
    // A machine without a processor for its lanes leaves it open; nothing makes it a failure.
    let open = healed["verdicts"].to_string().contains("was busy").then_some(3);
    let code = output.status.code();
    assert!(code == Some(0) || code == open, "{:#}\n{}", healed["verdicts"], stderr(&output));
    assert!(!codes(&healed).iter().any(|code| code.starts_with("CONTEND-")), "{:?}", codes(&healed));
    assert!(p99(&healed, "both") < p99(&doc, "both"));
    assert_eq!(number(&class(&healed, "both", "migration")["cap_bytes_per_s"]), cap);
    let rate = number(&class(&healed, "both", "migration")["goodput_bits_per_s"]) / 8.0;
    assert!(rate < 1.01 * cap, "{rate} of {cap}");
    let again = number(&step(&healed, "contend")["advice"]["cap_bytes_per_s"]);
    assert!((again / cap - 1.0).abs() < 0.1, "the advice stays what it was: {again} after {cap}");
    assert!(output.stdout.len() < 100_000, "{} bytes", output.stdout.len());
}

#[test]
fn every_capped_class_has_its_rate_within_a_hundredth_however_many_share_it() {
    let Some(hosts) = TwoHosts::new("capped") else { return };
    let _server = serve(&hosts);
    let asked = ["--time", "3s", "--storage", "20Mbit/s", "--migrations", "2", "--backups", "2"];
    let args = [&asked[..], &["--cap", "migration=20MB", "--cap", "backup=5MB"]].concat();
    let doc = document(&run_within(contend(&hosts, &args), Duration::from_secs(90)));
    // What a busy machine kept a sender from is lost to it beyond the burst; its lanes say so.
    let lanes = step(&doc, "contend")["lanes"].as_array().unwrap();
    let waited = |lane: &Value| lane["scheduled"]["waited_ns"].as_u64().unwrap_or(0);
    let waited_ns: u64 = lanes.iter().map(waited).sum();
    let mut short = vec![];
    for phase in ["both", "migration"] {
        for (name, cap) in [("migration", 20 << 20), ("backup", 5 << 20)] {
            let cap = f64::from(cap);
            let rate = number(&class(&doc, phase, name)["goodput_bits_per_s"]) / 8.0;
            assert!(rate <= 1.01 * cap, "{name}, {phase}: {rate} of {cap}");
            if rate < 0.99 * cap {
                short.push(format!("{name}, {phase}: {rate} of {cap}"));
            }
        }
    }
    if !short.is_empty() {
        assert!(
            waited_ns >= 20_000_000,
            "{short:?}, and the lanes waited for a processor for {waited_ns} ns only"
        );
        skip(&format!(
            "the lanes waited for a processor for {waited_ns} ns, so they fell short of their caps: {short:?}"
        ));
    }
}

/// Whether a NIC of the first host is up, and how often its carrier came or went.
fn link(hosts: &crate::multi::TwoNics, nic: &str) -> (bool, u64) {
    let output = hosts.at(0, &["ip", "-j", "link", "show", nic]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    let flags = links[0]["flags"].as_array().unwrap();
    let changes = format!("/sys/class/net/{nic}/carrier_changes");
    let changes = hosts.at(0, &["cat", &changes]).output().unwrap();
    let changes = String::from_utf8_lossy(&changes.stdout).trim().parse().unwrap();
    (flags.iter().any(|flag| flag == "UP"), changes)
}

#[test]
fn a_cap_that_two_nics_bear_is_too_high_for_the_one_that_is_left() {
    use crate::multi::{KEY, TwoNics};
    let Some(hosts) = TwoNics::new("caplost", &[200, 200]) else { return };
    let _server = hosts.serve();
    let (_, before) = link(&hosts, "v2");
    // 100 of storage and 168 of migrations: two links have 382 Mbit/s of payload, one has 191.
    let words =
        "--over multi --storage 100Mbit/s --migrations 4 --cap migration=20MB --time 2s --lose v2 --lose v9";
    let asked: Vec<&str> = words.split(' ').collect();
    let args = [&[BINARY, "contend", "10.63.1.2", "--key", KEY, "--format", "json"], &asked[..]].concat();
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(150)));
    crate::documents::assert_valid(&doc, "a NIC lost under a cap");
    let steps: Vec<&Value> =
        doc["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "contend").collect();
    assert_eq!(steps.len(), 3);
    let (whole, left) = (steps[0], steps[1]);
    assert!(whole["error"].is_null() && left["error"].is_null(), "{} {}", whole["error"], left["error"]);
    assert_eq!(left["lanes"][0]["nics"], serde_json::json!(["v1"]));
    // Its link was down, and is up again as it was.
    assert_eq!(left["lost_nic"], serde_json::json!({ "nic": "v2", "taken_down": true }));
    assert!(whole["lost_nic"].is_null());
    let (is_up, after) = link(&hosts, "v2");
    assert!(is_up && after > before, "up: {is_up}; its carrier changed {after} times, {before} before");
    assert_eq!(whole["spec"]["storage_requests_per_s"], left["spec"]["storage_requests_per_s"]);
    let cap = |step: &Value| number(&step["advice"]["cap_bytes_per_s"]);
    assert!(cap(left) < cap(whole) / 2.0, "{} {}", whole["advice"], left["advice"]);
    let why = steps[2]["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("v9 was not one of several NICs"), "{why}");
    let found = codes(&doc);
    if found.contains(&"CONTEND-CAP-HIGH".into()) && doc["verdicts"].to_string().contains("was busy") {
        return skip("this machine was too busy to leave storage alone over both NICs");
    }
    let told: Vec<_> = found.iter().filter(|code| code.starts_with("CONTEND-")).collect();
    assert_eq!(told, ["CONTEND-CAP-NIC-LOST"], "{:#}", doc["findings"]);
    let finding =
        doc["findings"].as_array().unwrap().iter().find(|one| one["code"] == "CONTEND-CAP-NIC-LOST").unwrap();
    assert!(finding["evidence"].as_str().unwrap().starts_with("without v2 "), "{finding:#}");
    assert!(finding["next"].as_str().unwrap().contains("Set-SmbBandwidthLimit"), "{finding:#}");
}

#[test]
fn each_class_goes_over_the_nics_that_it_is_given() {
    use crate::multi::{KEY, TwoNics};
    let Some(hosts) = TwoNics::new("apart", &[200, 200]) else { return };
    let _server = hosts.serve();
    // 100 of storage and all that migrations can: one link of 200 has 191 Mbit/s of payload.
    let words =
        "--over multi --nic storage=v1 --nic migration=v2 --storage 100Mbit/s --migrations 4 --time 2s";
    let asked: Vec<&str> = words.split(' ').collect();
    let args = [&[BINARY, "contend", "10.63.1.2", "--key", KEY, "--format", "json"], &asked[..]].concat();
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(90)));
    let step = step(&doc, "contend");
    assert!(step["error"].is_null(), "{:#}", step["error"]);
    assert_eq!(step["name"], "multi storage on v1 beside 4 migrations on v2");
    let flows = step["flows"].as_array().unwrap();
    for lane in step["lanes"].as_array().unwrap() {
        let class = flows[lane["flow"].as_u64().unwrap_or(0) as usize]["class"].as_str().unwrap();
        let nics = match class {
            "storage" => serde_json::json!(["v1"]),
            "migration" => serde_json::json!(["v2"]),
            _ => serde_json::json!(["v1", "v2"]),
        };
        assert_eq!(lane["nics"], nics, "{class}: {lane:#}");
    }
    let advice = &step["advice"];
    assert!(advice["cap_bytes_per_s"].is_null(), "{advice:#}");
    assert!(advice["reason"].as_str().unwrap().contains("NICs of their own"), "{advice:#}");
    if doc["verdicts"].to_string().contains("was busy") {
        return skip("this machine was too busy to carry both over links of their own");
    }
    // Over one link there would be 91 Mbit/s for them.
    let rate = number(&class(&doc, "both", "migration")["goodput_bits_per_s"]);
    assert!(rate > 120e6, "{rate}: {:#}", step["phases"]);
    assert!(number(&step["cost"]["storage_share"]) > 0.9, "{:#}", step["cost"]);
    assert!(!codes(&doc).iter().any(|code| code.starts_with("CONTEND-")), "{:#}", doc["findings"]);
}

#[test]
fn each_class_goes_over_the_transport_that_it_is_given() {
    let server = Server::start(&[]);
    let words = "--over tcp,storage=multi --storage 20Mbit/s --time 500ms --format json";
    let asked: Vec<&str> = words.split(' ').collect();
    let args = [&["contend", server.address.as_str()][..], &asked].concat();
    let doc = document(&run_within(pathproof(&args), Duration::from_secs(90)));
    let step = step(&doc, "contend");
    assert!(step["error"].is_null(), "{:#}", step["error"]);
    assert_eq!(step["name"], "multi storage beside a migration over tcp");
    let flows = step["flows"].as_array().unwrap();
    for flow in flows {
        let over = if flow["class"] == "storage" { "multi" } else { "tcp" };
        assert_eq!(flow["over"], over, "{flow:#}");
    }
    for lane in step["lanes"].as_array().unwrap() {
        let flow = &flows[lane["flow"].as_u64().unwrap_or(0) as usize];
        // Only what goes over several NICs says which.
        assert_eq!(lane["nics"].is_array(), flow["class"] == "storage", "{lane:#}");
    }
    assert!(number(&class(&doc, "storage", "storage")["goodput_bits_per_s"]) > 0.0);
    assert!(number(&class(&doc, "both", "migration")["goodput_bits_per_s"]) > 0.0);
}

/// Loads rules into a host's firewall; whether it took them.
pub fn filtered(hosts: &TwoHosts, host: usize, tag: &str, rules: &str) -> bool {
    let scratch = Scratch::new(tag);
    let file = scratch.path("rules");
    std::fs::write(&file, rules).unwrap();
    let made = hosts.at(host, &["nft", "-f", &file]).output();
    let ok = made.as_ref().is_ok_and(|output| output.status.success());
    if !ok {
        skip(&format!("no nftables: {}", made.map(|output| stderr(&output)).unwrap_or_default()));
    }
    ok
}

#[test]
fn a_mark_that_is_rewritten_on_the_way_is_told_for_its_class_and_its_direction() {
    let Some(hosts) = TwoHosts::new("marks") else { return };
    let rules = "table ip f { chain p { type filter hook prerouting priority -150; ip saddr 10.61.0.1 ip dscp af31 ip dscp set cs1; }; }";
    let counted = "table ip f { counter lanes { }\n counter marks { }\n chain o { type filter hook output priority 0; \
                   meta priority 3 meta l4proto tcp counter name lanes; meta priority 3 meta l4proto udp counter name marks; }; }";
    if !filtered(&hosts, 1, "marks", rules) || !filtered(&hosts, 0, "priorities", counted) {
        return;
    }
    let _server = serve(&hosts);
    let marks = "--dscp heartbeat=56 --dscp storage=26 --dscp migration=10 --priority storage=3 --time 1s --storage 20Mbit/s";
    let marks: Vec<&str> = marks.split(' ').collect();
    let doc = document(&run_within(contend(&hosts, &marks), Duration::from_secs(90)));
    let all = step(&doc, "contend")["marks"].as_array().unwrap();
    let mark = |name: &str, direction: &str| {
        all.iter().find(|mark| mark["name"] == name && mark["direction"] == direction).unwrap()
    };
    for (name, direction, dscp) in [
        ("storage", "out", 8),
        ("storage", "in", 26),
        ("migration", "out", 10),
        ("migration", "in", 10),
        ("heartbeat", "out", 56),
        ("heartbeat", "in", 56),
    ] {
        let mark = mark(name, direction);
        let arrived = mark["arrived"].as_array().unwrap();
        assert_eq!((arrived.len(), &arrived[0]["dscp"]), (1, &dscp.into()), "{mark:#}");
        assert!(number(&mark["received"]) > 20.0 && mark["sent"] == mark["received"], "{mark:#}");
    }
    let changed: Vec<&Value> =
        doc["findings"].as_array().unwrap().iter().filter(|one| one["code"] == "DSCP-CHANGED").collect();
    assert_eq!(changed.len(), 1, "{changed:#?}");
    assert_eq!(changed[0]["evidence"], "to the peer: marks arrive changed: storage (DSCP 26) as DSCP 8");

    // Both what carries the class and what tells its mark leave with the priority, and nothing else does.
    let listed = hosts.at(0, &["nft", "-j", "list", "counters"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let counters = listed["nftables"].as_array().unwrap().iter().map(|one| &one["counter"]);
    let packets = |name: &str| {
        let counter = counters.clone().find(|counter| counter["name"] == name).unwrap();
        number(&counter["packets"])
    };
    assert!(packets("lanes") > 100.0, "{listed:#}");
    assert_eq!(packets("marks"), number(&mark("storage", "out")["sent"]));
    // No VLAN device makes a tag of it here, and the NIC of the receiving end sees that there is none.
    for direction in ["out", "in"] {
        let storage = mark("storage", direction);
        assert_eq!(storage["priority"], 3, "{storage:#}");
        let untagged = serde_json::json!([{ "priority": null, "count": storage["received"] }]);
        assert_eq!(storage["arrived_priorities"], untagged, "{storage:#}");
        assert!(mark("migration", direction)["priority"].is_null());
    }
    let findings = doc["findings"].as_array().unwrap().iter();
    let told: Vec<&Value> =
        findings.filter(|one| one["code"] == "PRIORITY-CHANGED").map(|one| &one["evidence"]).collect();
    let said = "802.1p priorities arrive changed: storage (priority 3) without a tag";
    assert_eq!(told, [&format!("to the peer: {said}"), &format!("from the peer: {said}")]);
}

#[test]
fn what_priorities_take_rights_for_is_said_and_not_guessed_without_them() {
    let Some(hosts) = TwoHosts::new("rights") else { return };
    let _server = serve(&hosts);
    // Where nobody may look into the folder that the program was built in.
    let binary = std::env::temp_dir().join(format!("pathproof-rights-{}", std::process::id()));
    std::fs::copy(BINARY, &binary).unwrap();
    let as_nobody = |priority: &str| {
        let mut command = hosts.at(0, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&binary).args([
            "contend",
            "10.61.0.2",
            "--key",
            KEY,
            "--format",
            "json",
            "--time",
            "500ms",
        ]);
        command.args(["--storage", "20Mbit/s", "--priority", priority]);
        document(&run_within(command, Duration::from_secs(90)))
    };
    let (refused, told) = (as_nobody("storage=7"), as_nobody("storage=3"));
    std::fs::remove_file(&binary).unwrap();
    let why = refused["steps"].as_array().unwrap().last().unwrap()["error"]["message"].as_str().unwrap();
    assert!(why.contains("priority 7") && why.contains("CAP_NET_ADMIN"), "{why}");
    let step = step(&told, "contend");
    assert!(step["error"].is_null(), "{:#}", step["error"]);
    for mark in step["marks"].as_array().unwrap() {
        // The peer may listen for tags and this end may not.
        let unseen = mark["arrived_priorities"].is_null();
        let reason = mark["priorities_reason"].as_str().unwrap_or_default();
        assert_eq!(
            (unseen, reason.contains("CAP_NET_RAW")),
            [(true, true), (false, false)][usize::from(mark["direction"] == "out")],
            "{mark:#}"
        );
    }
}

/// A host whose connections carry 40 Mbit/s each at most, before a link of 150 Mbit/s with a queue of 100 ms.
fn slow_connections(tag: &str) -> Option<TwoHosts> {
    let hosts = TwoHosts::new(tag)?;
    let at = |words: &str| {
        let output = hosts.at(0, &words.split(' ').collect::<Vec<_>>()).output();
        output.is_ok_and(|output| output.status.success())
    };
    let class = |minor: u32| {
        at(&format!(
            "tc class add dev up0 parent 1: classid 1:{minor:x} htb rate 40mbit burst 32k cburst 32k"
        ))
    };
    let made = [
        "ip link add br0 type bridge",
        "ip link add up0 type veth peer name up1",
        "ip link set eth0 master br0",
        "ip link set up1 master br0",
        "ip addr del 10.61.0.1/24 dev eth0",
        "ip addr add 10.61.0.1/24 dev up0",
        "ip link set br0 up",
        "ip link set up1 up",
        "ip link set up0 up",
        "tc qdisc add dev eth0 root tbf rate 150mbit burst 131072 limit 1875000",
        "tc qdisc add dev up0 root handle 1: htb",
    ];
    if !(made.into_iter().all(at) && (16..80).all(class)) {
        skip("no bridge, token bucket or htb");
        return None;
    }
    // Each connection is sent through the class whose number the kernel gave it.
    let map: Vec<String> = (16..80).map(|minor| format!("{minor} : 1:{minor:x}")).collect();
    let rules = format!(
        "table ip q {{ chain o {{ type filter hook output priority 0; ct state new ct mark set numgen inc mod 64 offset 16; \
         meta priority set ct mark map {{ {} }}; }}; }}",
        map.join(", ")
    );
    filtered(&hosts, 0, tag, &rules).then_some(hosts)
}

#[test]
fn of_several_numbers_of_migrations_the_best_is_the_last_before_storage_starves() {
    let Some(hosts) = slow_connections("sweep") else { return };
    let _server = serve(&hosts);
    // 50 of storage beside 40, 80 and 160 Mbit/s: the link has 150.
    let args = [
        "--migrations",
        "4,1,2",
        "--storage",
        "50Mbit/s",
        "--time",
        "2s",
        "--guests",
        "4",
        "--memory",
        "1GiB",
    ];
    let output = run_within(contend(&hosts, &args), Duration::from_secs(180));
    let doc = document(&output);
    let steps: Vec<&Value> =
        doc["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "contend").collect();
    assert_eq!(steps.len(), 3, "{}", stderr(&output));
    let last = steps[2];
    let tried = last["tried"].as_array().unwrap();
    let numbers: Vec<u64> = tried.iter().map(|one| one["migrations"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4]);
    assert_eq!(tried[2]["storage_kept"], false, "{tried:#?}");
    let kept: Vec<&Value> = tried.iter().map(|one| &one["storage_kept"]).collect();
    if kept[..2] != [true, true] && doc["verdicts"].to_string().contains("was busy") {
        return skip("this machine was too busy to leave storage alone by itself");
    }
    assert_eq!(last["advice"]["migrations"], 2, "{tried:#?}");
    // Four guests of 1 GiB, one after another at 40 Mbit/s, and two at a time.
    let alone = f64::from(1 << 30) * 8.0 / (40e6 * 1448.0 / 1514.0) * 1e9;
    for (one, rounds) in tried.iter().zip([4.0, 2.0]) {
        let ratio = number(&one["drain_ns"]) / (alone * rounds);
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}: {one:#}");
    }
    assert_eq!(
        codes(&doc).iter().filter(|code| code.starts_with("CONTEND-")).collect::<Vec<_>>(),
        ["CONTEND-CONCURRENCY"]
    );
    assert_eq!(output.status.code(), Some(0), "the advised number is what is judged: {:#}", doc["verdicts"]);
}

#[test]
fn heartbeats_that_a_firewall_drops_are_counted_to_the_last_one() {
    let Some(hosts) = TwoHosts::new("beats") else { return };
    let rules = "table ip f { counter d { }\n chain i { type filter hook input priority 0; udp length 68 ip dscp cs6 numgen inc mod 10 0 counter name d drop; }; }";
    if !filtered(&hosts, 1, "beats", rules) {
        return;
    }
    let _server = serve(&hosts);
    let doc = document(&run_within(
        contend(&hosts, &["--time", "2s", "--storage", "20Mbit/s"]),
        Duration::from_secs(90),
    ));
    let listed = hosts.at(1, &["nft", "-j", "list", "counters"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let dropped =
        listed["nftables"].as_array().unwrap().iter().find_map(|one| one["counter"]["packets"].as_u64());
    let step = step(&doc, "contend");
    assert_eq!(step["counters"]["heartbeats_lost_out"].as_u64(), dropped, "{}", step["counters"]);
    assert!(dropped.is_some_and(|dropped| dropped > 10), "{dropped:?}");
    assert_eq!(step["counters"]["heartbeats_lost_in"], 0);
    let both = class(&doc, "both", "heartbeat");
    let (lost, sent) = (number(&both["lost_out"]), number(&both["sent"]) / 2.0);
    assert!((lost - sent / 10.0).abs() <= 2.0, "{both:#}");
    // The path loses them without load as well, so nobody is accused of it.
    assert!(!codes(&doc).contains(&"CONTEND-HEARTBEAT-LOST".into()), "{:?}", codes(&doc));
}

#[test]
fn a_backup_that_begins_in_the_middle_of_a_migration_takes_from_it_then_and_not_before() {
    let Some(hosts) = shaped("spans", "200mbit", 1 << 20) else { return };
    let _server = serve(&hosts);
    let words = "--storage 10Mbit/s --time 4s --backups 1 --span backup=1s..3s";
    let asked: Vec<&str> = words.split(' ').collect();
    let doc = document(&run_within(contend(&hosts, &asked), Duration::from_secs(120)));
    let step = step(&doc, "contend");
    assert!(step["error"].is_null(), "{:#}", step["error"]);
    let span = serde_json::json!({"backup": {"start_ns": 1_000_000_000u64, "end_ns": 3_000_000_000u64}});
    assert_eq!(step["spec"]["spans"], span);
    let phase = step["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "migration").unwrap();
    let backup = class(&doc, "migration", "backup");
    let late_ns = number(&backup["start_ns"]) - number(&phase["start_ns"]);
    assert_eq!((late_ns, number(&backup["length_ns"])), (1.4e9, 1.5e9));
    assert!(backup["share"].is_null(), "{backup:#}");
    let flows = step["flows"].as_array().unwrap();
    let number_of = |name: &str| flows.iter().position(|flow| flow["name"] == name).unwrap();
    let migration = number_of("migration, migration alone");
    let series = step["series"].as_array().unwrap().iter();
    let mut received = series.filter(|series| series["flow"] == migration && series["role"] == "receive");
    let received = received.next().unwrap();
    let carried = |from_ms: u64, to_ms: u64| {
        let width_ms = received["width_ns"].as_u64().unwrap() / 1_000_000;
        let slices = (from_ms / width_ms) as usize..(to_ms / width_ms) as usize;
        let bytes: f64 = received["received_bytes"].as_array().unwrap()[slices].iter().map(number).sum();
        bytes * 8e3 / (to_ms - from_ms) as f64
    };
    let (before, beside) = (carried(200, 800), carried(1600, 2800));
    // What the link carries while nobody shares it tells whether the machine fills it. That a host was busy may be said of storage's 99th
    // percentile alone, which a few waits of a millisecond lift.
    if before < 150e6 && doc["verdicts"].to_string().contains("was busy") {
        return skip("this machine was too busy to fill the link");
    }
    // Over its own time: about half of the link, and not the part of it that four seconds would make of that.
    assert!(number(&backup["goodput_bits_per_s"]) > 45e6, "{:#}", step["phases"]);
    assert!(beside < before * 0.8, "{before} {beside}: {:#}", received["received_bytes"]);
}

#[test]
fn a_peer_that_dies_in_any_phase_leaves_what_was_measured_and_no_advice_is_believed() {
    // Connecting takes a moment; then 2.5 s for the stream, and 1 s for each phase.
    let dies = |after_ms: u64| {
        let mut server = Server::start(&[]);
        let mut command = pathproof(&["contend", &server.address, "--time", "1s", "--format", "json"]);
        let child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        server.kill();
        let output = child.wait_with_output().unwrap();
        let doc = document(&output);
        assert_ne!(output.status.code(), Some(0), "{after_ms}");
        let last = doc["steps"].as_array().unwrap().last().unwrap();
        assert!(!last["error"].is_null(), "{after_ms}: {last:#}");
        assert!(
            !codes(&doc).iter().any(|code| code.starts_with("CONTEND-")),
            "{after_ms}: {:?}",
            codes(&doc)
        );
    };
    std::thread::scope(|scope| {
        for after_ms in [4000, 5000, 6000] {
            scope.spawn(move || dies(after_ms));
        }
    });
}

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_dialled() {
    let refused = |more: &[&str]| {
        let output = run(&[&["contend", "127.0.0.1:1"], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        stderr(&output)
    };
    assert!(refused(&["--cap", "migration=5MiB"]).contains("PowerShell"));
    assert!(refused(&["--cap", "csv=5MB"]).contains("storage, migration and backup"));
    assert!(refused(&["--cap", "migration=100KB"]).contains("1 MiB/s"));
    assert!(refused(&["--cap", "vm=100KB"]).contains("1 MiB/s"));
    assert!(refused(&["--cap", "migration=5MB,burst=0"]).contains("at least a byte"));
    assert!(refused(&["--cap", "migration=5MB,bursts=1MB"]).contains("burst=1MiB"));
    assert!(refused(&["--cap", "default=5MB"]).contains("--backups 1"));
    assert!(refused(&["--time", "10ms"]).contains("500 ms"));
    assert!(refused(&["--span", "backup=1s..2s"]).contains("--backups 1"));
    assert!(refused(&["--span", "csv=1s..2s"]).contains("storage, migration and backup"));
    assert!(refused(&["--span", "migration=1s"]).contains("CLASS=START..END"));
    assert!(refused(&["--span", "migration=3s..1s"]).contains("write the start first"));
    assert!(refused(&["--span", "migration=1s..5s"]).contains("of a phase of 4.00 s"));
    assert!(refused(&["--span", "storage=..2s", "--span", "migration=2s.."]).contains("overlap"));
    assert!(refused(&["--migrations", "65"]).contains("1 to 64"));
    assert!(refused(&["--storage", "0"]).contains("--storage"));
    assert!(refused(&["--size", "0"]).contains("--size"));
    assert!(refused(&["--lose", "eth1"]).contains("--over multi"));
    assert!(refused(&["--over", "multi", "--lose", "eth1", "--migrations", "1,2"]).contains("one number"));
    assert!(refused(&["--over", "tpc"]).contains("no transport"));
    assert!(refused(&["--over", "tcp,storage=tpc"]).contains("no transport"));
    assert!(refused(&["--over", "csv=tcp"]).contains("storage, migration and backup"));
    assert!(refused(&["--over", "tcp,multi"]).contains("two transports"));
    assert!(refused(&["--nic", "storage=lo"]).contains("--over storage=multi"));
    assert!(refused(&["--over", "multi", "--nic", "heartbeat=lo"]).contains("storage, migration and backup"));
    assert!(refused(&["--over", "multi", "--nic", "storage=nope9"]).contains("no NIC nope9"));
    assert!(refused(&["--over", "multi", "--nic", "backup=lo"]).contains("--backups 1"));
    assert!(refused(&["--over", "multi", "--nic", "storage=lo", "--lose", "lo"]).contains("leave --nic"));
    assert!(refused(&["--dscp", "heartbeat=64"]).contains("0 to 63"));
    assert!(refused(&["--priority", "storage=8"]).contains("0 to 7"));
    assert!(refused(&["--over", "rdma", "--priority", "storage=3"]).contains("--priority"));
    assert!(refused(&["--share", "storage"]).contains("CLASS=PERCENT"));
    assert!(refused(&["--share", "storage=70", "--share", "migration=40"]).contains("110 %"));
}
