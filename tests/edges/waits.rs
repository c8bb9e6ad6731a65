//! Who waits in short turns, and why: a thread that waits is woken by what it waits for (docs/ARCHITECTURE.md).

use super::code_below;

/// Waits that are not longer are suspected of being turns.
const TURN_NS: u64 = 50_000_000;

/// Every short length of time that the program knows as a number, where it stands, and why nothing wakes who waits so long, or what else it
/// is.
const SHORT: &[(&str, &str, &str)] = &[
    ("bench/engine/src/loss/schedule.rs", "from_micros(50)", "no turn: datagrams are sent at a pace"),
    ("bench/engine/src/loss/schedule.rs", "from_millis(1)", "no turn: datagrams are sent at a pace"),
    ("src/dial.rs", "from_millis(1)", "no turn: the least that a socket takes for a timeout"),
    ("src/document.rs", "from_millis(1)", "a second signal waits for the document, and the process ends"),
    ("src/evidence/rdma.rs", "from_millis(10)", "an adapter counts late, and tells nobody"),
    ("src/guardian.rs", "from_millis(2)", "the end of a child process is no descriptor everywhere"),
    ("src/input.rs", "from_millis(5)", "a file that is named may be a pipe which nobody writes to"),
    ("src/steps/file/lane.rs", "from_millis(10)", "a server tells nobody when it can take a request again"),
    (
        "src/steps/file/lane.rs",
        "from_millis(50)",
        "a connection could be woken by its end only, and it is needed to remove the file",
    ),
    ("src/steps/migrate/dirtier.rs", "from_micros(500)", "no turn: pages are dirtied at a rate"),
    (
        "src/steps/migrate/lanes.rs",
        "from_millis(20)",
        "a copy whose lanes waited without a limit stood still in two of five runs over loopback, and why is not known",
    ),
    (
        "src/steps/traffic/lane.rs",
        "from_millis(20)",
        "a lane notes its kernel's figures in every slice of time, also where nothing comes; one that sleeps until a completion is announced hears \
         nothing of its device, so who watches over it looks",
    ),
    ("sys/src/clock.rs", "from_millis(1)", "no turn: the least that a socket takes for a timeout"),
    ("transports/api/src/contract.rs", "from_micros(200)", "a test suite, which turns both ends of a lane"),
    ("transports/api/src/contract.rs", "from_micros(200)", "a test suite, which turns both ends of a lane"),
    ("transports/api/src/contract.rs", "from_millis(1)", "a test suite, which turns both ends of a lane"),
    ("transports/api/src/contract.rs", "from_millis(50)", "a test suite, which turns both ends of a lane"),
    (
        "transports/multi/src/lane.rs",
        "from_millis(50)",
        "no kernel tells that nothing is acknowledged any more",
    ),
    (
        "transports/multi/src/lane/waiting.rs",
        "from_micros(200)",
        "for paths without a descriptor to sleep on",
    ),
    (
        "transports/rdma/src/lane/ending.rs",
        "from_micros(50)",
        "the last word of a lane comes by completion or as news of the device",
    ),
    (
        "transports/rdma/src/lane/waiting.rs",
        "from_micros(100)",
        "credits come by RDMA WRITE, which wakes nobody",
    ),
    (
        "transports/rdma/src/verbs.rs",
        "from_millis(20)",
        "who waits for completions looks for news of the device",
    ),
    ("transports/rdma/src/wire.rs", "from_millis(5)", "completions of a wire and news of its end come apart"),
    (
        "transports/smbd/src/credits.rs",
        "from_millis(1)",
        "no turn: a message of credits alone is put off so long",
    ),
    (
        "transports/tcp/src/connect.rs",
        "from_millis(50)",
        "a pause between attempts: a lost ARP reply may pass",
    ),
    (
        "transports/tcp/src/lane.rs",
        "from_millis(16)",
        "no turn: what the ticks of the kernel's timers come to",
    ),
    ("transports/tcp/src/lane.rs", "from_millis(1)", "no kernel tells that all is acknowledged"),
];

#[test]
fn nobody_waits_in_short_turns_without_a_reason() {
    let mut found: Vec<(String, String)> = vec![];
    for (name, code) in code_below(&["src", "sys/src", "bench", "transports"]) {
        for (word, unit_ns) in
            [("from_millis(", 1_000_000), ("from_micros(", 1_000), ("from_nanos(", 1), ("tv_nsec: ", 1)]
        {
            for (at, _) in code.match_indices(word) {
                let rest = &code[at + word.len()..];
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
                let number = rest[..end].replace('_', "");
                let Ok(length) = number.parse::<u64>() else { continue };
                // A part of a sum is no length.
                let whole = rest[end..].trim_start().starts_with([')', ',', '}']);
                if whole && (1..=TURN_NS).contains(&length.saturating_mul(unit_ns)) {
                    let close = if word.ends_with('(') { ")" } else { "" };
                    found.push((name.clone(), format!("{word}{number}{close}")));
                }
            }
        }
    }
    found.sort();
    let mut known: Vec<(String, String)> =
        SHORT.iter().map(|(name, length, _)| ((*name).to_owned(), (*length).to_owned())).collect();
    known.sort();
    let without: Vec<_> = found.iter().filter(|one| !known.contains(one)).collect();
    assert!(without.is_empty(), "{without:?}: let what is waited for wake the thread, or give a reason here");
    assert_eq!(found, known, "these are gone: no reason without a wait");
}
