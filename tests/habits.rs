//! What people type by habit: quantities, places to listen, the words of iperf3, pages of manuals, and what belongs to a version.

use std::time::Duration;

use crate::netns::TwoHosts;
use crate::support::*;

fn out(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code 2, with this on standard error and nothing on standard output.
fn told(args: &[&str], says: &str) {
    let output = run(args);
    let text = stderr(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}: {text}");
    assert!(text.contains(says), "{args:?} should say {says:?} and says:\n{text}");
    assert!(!text.contains("as a value, use"), "{args:?} is misled:\n{text}");
}

#[test]
fn iperf3_s_words_measure_or_say_what_to_type() {
    let server = Server::start(&[]);
    let (host, port) = server.address.split_once(':').unwrap();
    let output = run(&["-c", host, "-p", port, "-t", "1", "-P", "2", "-R", "-J"]);
    let doc = document(&output);
    let step = &doc["requested"]["steps"][0];
    let asked = (&step["kind"], &step["lanes"], &step["direction"], &step["time_ns"]);
    assert_eq!(asked, (&"stream".into(), &2.into(), &"in".into(), &1_000_000_000.into()));
    assert!(stderr(&output).contains("here this is: pathproof bench stream"), "{}", stderr(&output));
    let output = run(&[
        "bench",
        "stream",
        &server.address,
        "-t",
        "200ms",
        "-P",
        "2",
        "--bidir",
        "-b",
        "100M",
        "-l",
        "8K",
        "-J",
    ]);
    let step = &document(&output)["requested"]["steps"][0];
    let asked = (&step["lanes"], &step["direction"], &step["rate_bits_per_s"], &step["size_bytes"]);
    assert_eq!(asked, (&2.into(), &"both".into(), &100_000_000.into(), &8192.into()));
    const NOBODY: &str = "127.0.0.1:1";
    told(&["-c", NOBODY, "-u", "-b", "1G"], "Type: pathproof check");
    told(&["-c", NOBODY, "-u", "-b", "1G"], "pathproof bench packets 127.0.0.1:1");
    told(&["-c", NOBODY, "-w", "4M"], "Type: pathproof check");
    told(&["-c", NOBODY, "-4", "-t", "10", "-P", "4"], "pathproof -c ADDRESS");
    told(&["-c", NOBODY, "--nonsense"], "there is no --nonsense here; leave it out");
    told(&["-s", "-J"], "pathproof -c HOST -J");
    told(&["bench", "stream", NOBODY, "-w", "4M"], "Type: pathproof check");
    told(&["check", "127.0.0.1", "-p", "5000"], "Type: pathproof check 127.0.0.1:5000");
    told(&["bench", NOBODY, "-t", "1"], "type: pathproof bench stream 127.0.0.1:1 -t 1");
    told(&["check", NOBODY, "--duration", "5"], "--duration is an option of pathproof bench stream");
    told(&["-s", "-D"], "systemctl start pathproof");
}

#[test]
fn a_server_listens_where_people_say() {
    for (typed, listens) in [
        (&["serve", "--listen", "127.0.0.1"][..], "127.0.0.1:7797"),
        (&["serve", "-p", "0", "--no-key"], ":"),
        (&["-s", "-p", "0"], ":"),
        (&["serve", "--port", "lo:0"], "127.0.0.1:"),
    ] {
        // Its usual port may be taken by another test.
        if typed.contains(&"127.0.0.1") && std::net::TcpListener::bind("127.0.0.1:7797").is_err() {
            continue;
        }
        let server = Server::spawn(pathproof(typed));
        assert!(server.address.contains(listens), "{typed:?}: {}", server.address);
    }
    told(&["serve", "--listen", "eht0"], "there is no NIC eht0 here");
    told(&["serve", "--listen", "host:name"], "give a port");
    told(&["serve", "--listen", "203.0.113.1"], "cannot listen on 203.0.113.1:7797");
}

/// By default, as `[::]`, and as a port alone: IPv4 and IPv6 reach it, and where a host has no IPv6 the other family does.
#[test]
fn both_families_are_served_and_one_where_there_is_only_one() {
    for ipv6 in [true, false] {
        let Some(hosts) = TwoHosts::new(if ipv6 { "fam" } else { "fam4" }) else { return };
        let off = if ipv6 { "0" } else { "1" };
        for host in [0, 1] {
            let set = format!("echo {off} > /proc/sys/net/ipv6/conf/all/disable_ipv6");
            assert!(hosts.at(host, &["sh", "-c", &set]).status().unwrap().success());
        }
        for (host, address) in [(0, "fd61::1/64"), (1, "fd61::2/64")] {
            if ipv6 {
                let add = hosts.at(host, &["ip", "addr", "add", address, "dev", "eth0", "nodad"]).status();
                assert!(add.unwrap().success());
            }
        }
        for listen in [&[][..], &["--listen", "[::]:7797"], &["--listen", "7797"]] {
            let mut words = vec![BINARY, "serve", "--no-key"];
            words.extend(listen);
            let server = Server::spawn(hosts.at(1, &words));
            let peers: &[&str] = if ipv6 { &["10.61.0.2", "[fd61::2]"] } else { &["10.61.0.2"] };
            for peer in peers {
                let ask = [BINARY, "bench", "pingpong", peer, "--no-key", "--time", "200ms"];
                let asked = run_within(hosts.at(0, &ask), Duration::from_secs(20));
                let text = stderr(&asked);
                assert_eq!(
                    asked.status.code(),
                    Some(0),
                    "{listen:?} {peer} IPv6 {ipv6}: {text}{}",
                    server.log()
                );
            }
        }
    }
}

#[test]
fn what_is_typed_wrong_is_refused_before_anybody_is_called() {
    const NOBODY: &str = "127.0.0.1:1";
    for (args, says) in [
        (&["check", "fe80::1"][..], "fe80::1%NIC"),
        (&["mtu", NOBODY, "--expect", "9K"], "9000 or 9216"),
        (&["check", NOBODY, "-o", "x.html"], "--format html > x.html"),
        (&["check", NOBODY, "-o", "r.csv"], "--format csv > r.csv"),
        (&["bench", "stream", NOBODY, "--time", "1m30"], "1h30m"),
        (&["bench", "stream", NOBODY, "--rate", "1MBps"], "as a rate"),
        (&["devices", "eth99"], "there is no device eth99 here; there are"),
        (&["man", "chekc"], "did you mean pathproof man check?"),
        (&["bench", "stream", NOBODY, "--over", "tpc"], "tcp"),
    ] {
        told(args, says);
    }
}

/// What newcomers typed, and got an answer to that led nowhere: each is told what to type.
#[test]
fn a_natural_mistake_is_answered_with_what_to_type() {
    const NOBODY: &str = "127.0.0.1:1";
    let scratch = Scratch::new("mistakes");
    let empty = scratch.path("empty.json");
    std::fs::write(&empty, "{}").unwrap();
    for (args, types) in [
        (&["chekc", "10.91.1.2"][..], "check"),
        (&["ping", "10.91.1.2"], "pathproof check 10.91.1.2"),
        (&["check", "10.91.1.2", "10.91.1.3"], "pathproof mesh"),
        (&["bench", "10.91.1.2"], "pathproof bench stream 10.91.1.2"),
        (&["bench", "stream", NOBODY, "-w", "4M"], "pathproof check PEER"),
        (&["check", NOBODY, "--duration", "5"], "pathproof bench stream --help"),
        (&["check", "127.0.0.1", "-p", "5000"], "pathproof check 127.0.0.1:5000"),
        (&["check", NOBODY], "`pathproof serve`"),
        (&["check", "no-such-host.invalid"], "getent ahosts"),
        (&["check", "fe80::1"], "fe80::1%NIC"),
        (&["check", "203.0.113.1"], "--key-file FILE"),
        (&["bench", "stream", NOBODY, "--size", "1X"], "KiB"),
        (&["bench", "stream", NOBODY, "--rate", "fast"], "Mbit"),
        (&["bench", "stream", NOBODY, "--time", "1m30"], "1h30m"),
        (&["bench", "stream", NOBODY, "--time", "0"], "5s"),
        (&["mtu", NOBODY, "--expect", "9K"], "9000"),
        (&["mtu", NOBODY, "--nic", "eth99"], "pathproof devices"),
        (&["devices", "eth99"], "pathproof devices"),
        (&["bench", "stream", NOBODY, "--over", "roce"], "tcp, multi, rdma"),
        (&["bench", "stream", NOBODY, "--device", "mlx5_0"], "--over rdma"),
        (&["bench", "stream", NOBODY, "--over", "multi", "--fail", "eth99@1s"], "pathproof devices"),
        (&["bench", "stream", NOBODY, "--option", "foo"], "NAME=VALUE"),
        (&["serve", "10.91.1.1"], "pathproof serve --listen 10.91.1.1"),
        (&["serve", "--listen", "eht0"], "--listen"),
        (&["serve", "--port", "70000"], "give a port"),
        (&["serve", "--limits", "lanes"], "lanes=N"),
        (&["check", NOBODY, "-o", "/nowhere/x.json"], "choose a file in a folder"),
        (&["check", NOBODY, "-o", "x.html"], "--format html > x.html"),
        (&["check", NOBODY, "--format", "yaml"], "openmetrics"),
        (&["check", NOBODY, "--criteria", "/nowhere"], "pathproof criteria > FILE"),
        (&["check", NOBODY, "--profile", "hyperw"], "hyperv"),
        (&["check", NOBODY, "--key-file", "/nowhere"], "pathproof serve printed"),
        (&["check", NOBODY, "--baseline", "/nowhere"], "-o FILE"),
        (&["check", NOBODY, "--user", "lab"], "//SERVER/SHARE"),
        (&["check", "--self", "--copy"], "--self"),
        (&["report", "/nowhere"], "-o FILE"),
        (&["report", &empty], "-o FILE"),
        (&["report", &empty, &empty], "pathproof compare"),
        (&["compare", &empty, &empty], "-o FILE"),
        (&["compare", &empty, &empty, "--gate", "0.5"], "50% or 0.5%"),
        (&["explain", "NOSUCHTHING"], "pathproof explain"),
        (&["man", "chekc"], "pathproof man check"),
        (&["channels", NOBODY, "--pair", "eth0"], "--policy manual"),
        (&["bench", "file", "//127.0.0.1:1/vms"], "--user NAME --password-file FILE"),
        (&["migrate", NOBODY, "--policy", "vmware"], "hyperv"),
        (&["migrate", NOBODY, "--disk-writes", "1MB/s"], "--disk SIZE"),
        (&["mesh"], "--rank"),
        (&["merge", "/nowhere"], "/nowhere"),
        (&["completions", "csh"], "bash"),
    ] {
        told(args, types);
    }
}

#[test]
fn plans_and_criteria_are_typed_with_the_same_units() {
    let scratch = Scratch::new("units");
    let file = scratch.path("plan.toml");
    std::fs::write(
        &file,
        "[[steps]]\nkind = \"stream\"\ntime = \"200ms\"\nsize = \"8k\"\nrate = \"100mbit\"\n",
    )
    .unwrap();
    let doc = document(&run(&["check", "--self", "--plan", &file, "-J"]));
    let step = &doc["requested"]["steps"][0];
    let asked = (&step["time_ns"], &step["size_bytes"], &step["rate_bits_per_s"]);
    assert_eq!(asked, (&200_000_000.into(), &8192.into(), &100_000_000.into()));
    std::fs::write(&file, "[[steps]]\nkind = \"stream\"\ntime = \"200 parsecs\"\n").unwrap();
    told(&["check", "--self", "--plan", &file], "line 3: steps.time: cannot read \"200 parsecs\" as a time");
}

#[test]
fn a_version_says_which_build_it_is_and_the_same_every_time() {
    let short = out(&["--version"]);
    assert_eq!(short.trim(), concat!("pathproof ", env!("CARGO_PKG_VERSION")));
    let long = out(&["--version", "--verbose"]);
    for word in [
        "commit ",
        "profile ",
        "target ",
        "rustc 1.",
        "tcp, multi, rdma, smbd",
        "protocol ",
        "pathproof-result/",
    ] {
        assert!(long.contains(word), "{word}: {long}");
    }
    assert_eq!(long, out(&["-vV"]));
    assert_eq!(long, out(&["version"]));
}

#[test]
fn manual_pages_are_files_that_man_shows() {
    let scratch = Scratch::new("man");
    let folder = scratch.path("man1");
    out(&["man", "--into", &folder]);
    let page = out(&["man", "bench", "stream"]);
    assert_eq!(page, std::fs::read_to_string(format!("{folder}/pathproof-bench-stream.1")).unwrap());
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() > 20, "{names:?}");
    let shown = std::process::Command::new("man")
        .args(["--warnings=all", "-l", &format!("{folder}/pathproof-check.1")])
        .env("MANPAGER", "cat")
        .output();
    match shown {
        Ok(shown) => {
            assert!(
                shown.status.success() && shown.stderr.is_empty(),
                "{}",
                String::from_utf8_lossy(&shown.stderr)
            );
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(text.contains("EXIT STATUS") && text.contains("PATHPROOF_KEY"), "{text}");
        }
        // The pages themselves are tested where they are made.
        Err(error) => skip(&format!("no man here: {error}")),
    }
}

#[test]
fn a_support_bundle_names_nobody_and_says_what_it_lacks() {
    let scratch = Scratch::new("bundle");
    let result = scratch.path("result.json");
    assert!(run(&["bench", "pingpong", "--self", "--time", "100ms", "-o", &result]).status.code().is_some());
    let mut doc: serde_json::Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
    for node in doc["nodes"].as_array_mut().unwrap() {
        node["environment"]["hostname"] = "hypervisor-one.corp.example".into();
    }
    doc["nodes"][1]["name"] = "maintenance@hypervisor-one:7797".into();
    doc["nodes"][0]["environment"]["nics"][0]["mac"] = "0c:42:a1:ab:cd:ef".into();
    doc["findings"] = serde_json::json!([{
        "code": "RUN-LEFT-OUT", "severity": "info", "meaning": "", "next": "look into /home/alice-private",
        "evidence": "ssh -l maintenance hypervisor-two.corp.example, enx0c42a1abcdef, MAC=0c:42:a1:ab:cd:ef:0c:42:a1:ab:cd:ef:08:00, \
                     addr:10.91.77.2, password=hunter22 and the key amber-badger-cedar-dune",
    }]);
    std::fs::write(&result, serde_json::to_vec(&doc).unwrap()).unwrap();
    let [plain, raw] = ["plain", "raw"].map(|name| scratch.path(name) + "/");
    let mut bundle = pathproof(&["support-bundle", "--result", &result, "-o", &plain]);
    bundle.env("USER", "somebody-here").env("PATHPROOF_KEY", "amber-badger-cedar-dune");
    let made = run_within(bundle, Duration::from_secs(30));
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(
        made.status.success() && said.contains("names and addresses replaced"),
        "{said}{}",
        stderr(&made)
    );
    out(&["support-bundle", "--result", &result, "--raw", "-o", &raw]);
    let read = |folder: &str, name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    for name in ["version.txt", "facts.json", "devices.txt", "drivers.txt", "settings.txt", "result.json"] {
        assert!(read(&plain, "README.txt").contains(name) && !read(&plain, name).is_empty(), "{name}");
    }
    assert!(read(&raw, "result.json").contains("hypervisor-one.corp.example"));
    let facts: serde_json::Value = serde_json::from_str(&read(&raw, "facts.json")).unwrap();
    let named = [
        "hypervisor-one",
        "hypervisor-two",
        "corp",
        "maintenance",
        "alice",
        "abcdef",
        "ab:cd:ef",
        "10.91.77",
        "hunter22",
        "badger",
    ];
    let mut secret = named.map(str::to_owned).to_vec();
    assert!(named.iter().all(|name| read(&raw, "result.json").contains(name)), "they were there");
    secret
        .extend(facts["environment"]["hostname"].as_str().filter(|name| name.len() >= 4).map(str::to_owned));
    for nic in facts["environment"]["nics"].as_array().unwrap() {
        secret.extend(nic["mac"].as_str().filter(|mac| *mac != "00:00:00:00:00:00").map(str::to_owned));
        let addresses = nic["addresses"].as_array().unwrap().iter().filter_map(|own| own["address"].as_str());
        secret.extend(addresses.filter(|ip| *ip != "127.0.0.1" && *ip != "::1").map(str::to_owned));
    }
    for entry in std::fs::read_dir(&plain).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for name in &secret {
            assert!(!text.contains(name.as_str()), "{} has {name}", path.display());
        }
    }
    // What was replaced is a result still.
    assert!(run(&["report", &format!("{plain}result.json")]).status.code() != Some(2));
    let log =
        std::fs::File::open("/dev/kmsg").and_then(|mut log| std::io::Read::read(&mut log, &mut [0; 8192]));
    if log.is_err() {
        assert!(read(&plain, "README.txt").contains("log.txt is missing: /dev/kmsg"));
    }
    told(&["support-bundle", "-o", &plain], "is not empty");
    let archive = scratch.path("bundle.tar.gz");
    out(&["support-bundle", "-o", &archive]);
    let listed = std::process::Command::new("tar").args(["-tzf", &archive]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("/README.txt"), "{listed:?}");
    told(&["support-bundle", "-o", &archive], "is there already");
    told(&["support-bundle", "--result", "/nowhere.json", "-o", &scratch.path("x")], "/nowhere.json");
}
