//! From the facts, the evidence and the measurements of both ends to causes: pure, and run once over a whole document.
//!
//! One file a family: a table of rules, each with the codes that it may tell and the function that finds them. A rule names a cause only
//! where what both hosts counted excludes the others it could be; what only might be so is said as that.

mod busy;
mod changed;
mod collisions;
mod connections;
mod delays;
mod direction;
mod filtered;
mod gaps;
mod held;
mod hosts;
mod identity;
mod links;
mod lossy;
mod lossy_ports;
mod marks;
mod nearby;
mod neighbours;
mod networks;
mod nics;
mod opening;
mod pairs;
mod pauses;
mod ports;
mod queue;
mod rates;
mod repeats;
mod routes;
mod segments;
mod settled;
mod sizes;
mod sleeps;
mod slow;
mod stops;
mod strands;
mod subnets;
mod switches;
mod tables;
mod together;
mod windows;
mod wires;

use pathproof_model::finding::Code;
use pathproof_model::{
    Environment, Finding, LatencySummary, NodeId, Port, ResultDoc, Step, TrafficSpec, Trips,
};

pub use lossy::slower_once;
pub use queue::queue_once;
use rates::lost;
pub use settled::settle;
pub use sizes::another_search;
pub use slow::{slow_like, slow_once};

/// What finds one cause, or several that share the work of telling them apart.
struct Rule {
    /// All that it may tell.
    codes: &'static [Code],
    find: fn(&ResultDoc) -> Vec<Finding>,
}

/// Every family, in the order in which its findings stand in a document. A rule sees what the steps told, and nothing of other rules.
const FAMILIES: &[&[Rule]] = &[
    changed::RULES,
    identity::RULES,
    hosts::RULES,
    stops::RULES,
    neighbours::RULES,
    wires::RULES,
    subnets::RULES,
    routes::RULES,
    links::RULES,
    nics::RULES,
    marks::RULES,
    switches::RULES,
    pairs::RULES,
    strands::RULES,
    ports::RULES,
    lossy_ports::RULES,
    filtered::RULES,
    slow::RULES,
    direction::RULES,
    segments::RULES,
    connections::RULES,
    opening::RULES,
    delays::RULES,
    sleeps::RULES,
    repeats::RULES,
    gaps::RULES,
    lossy::RULES,
    windows::RULES,
    rates::RULES,
    queue::RULES,
    together::RULES,
];

/// What the document as a whole shows beyond its steps.
pub fn diagnose(doc: &ResultDoc) -> Vec<Finding> {
    FAMILIES.iter().flat_map(|rules| all(rules, doc)).collect()
}

/// What each rule may tell, rule by rule, in the order in which they are asked.
pub fn rules() -> impl Iterator<Item = &'static [Code]> {
    FAMILIES.iter().flat_map(|rules| rules.iter()).map(|rule| rule.codes)
}

fn all(rules: &[Rule], doc: &ResultDoc) -> Vec<Finding> {
    let of = |rule: &Rule| {
        let found = (rule.find)(doc);
        let is_its_own = |finding: &Finding| rule.codes.iter().any(|code| finding.is(*code));
        debug_assert!(
            found.iter().all(is_its_own),
            "a rule of {:?} tells another code: {found:?}",
            rule.codes
        );
        found
    };
    rules.iter().flat_map(of).collect()
}

/// The next short stream that asks again where streams disagree in a way that may have been a moment of the path: `None` where there are none,
/// or no stream can tell more.
pub fn another_stream(doc: &ResultDoc) -> Option<TrafficSpec> {
    let members = || rates::members_again(doc);
    rates::another_stream(doc).or_else(members).or_else(|| together::another_stream(doc))
}

/// The next short stream that tells whether a port which a role needs carries what the session's own does: over that port, and where it carried
/// little over the session's own and over that port once more, port by port. `None` where nothing more is to be asked.
pub fn over_port(doc: &ResultDoc) -> Option<TrafficSpec> {
    rates::over_port(doc)
}

/// Ports that a role needs, and of which it is not known yet what they carry.
pub fn ports_left(doc: &ResultDoc) -> Vec<Port> {
    rates::ports_left(doc)
}

/// The steps that a plan asked for.
fn planned(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    doc.steps.iter().filter(|step| step.follows_up.is_none())
}

/// The facts of both hosts, where both are known.
fn both_hosts(doc: &ResultDoc) -> Option<(&Environment, &Environment)> {
    doc.environment(NodeId::CLIENT).zip(doc.environment(NodeId::SERVER))
}

/// Paced datagrams that are lost so often explain a silence by themselves.
const LOST_SHARE: f64 = 0.001;
/// A path that is longer than this spans more than a city.
const FAR_NS: u64 = 5_000_000;

/// The idle round trips, of which there are enough to say something.
fn round_trips(doc: &ResultDoc) -> Option<(&Step, LatencySummary)> {
    let steps = planned(doc).filter(|step| step.kind.traits().trips == Trips::Idle);
    steps.filter_map(|step| Some((step, step.summary.rtt_ns.filter(|rtt| rtt.count >= 10)?))).next()
}

/// An end in the words of a report.
fn whose(node: NodeId) -> &'static str {
    if node == NodeId::CLIENT { "this host" } else { "the peer" }
}

/// The largest part of its time for which a lane's thread of a step stood in line for a processor; `None` where that is not known of
/// every lane.
fn waited_share(step: &Step) -> Option<f64> {
    let waited: Option<Vec<_>> = step.lanes.iter().map(|lane| lane.scheduled).collect();
    let shares = waited?.into_iter().filter(|one| one.of_ns > 0);
    shares.map(|one| one.waited_ns as f64 / one.of_ns as f64).max_by(f64::total_cmp)
}

/// Whether somebody waited for a processor for so long of a step that delays may be the host's.
fn pressed(step: &Step) -> bool {
    /// Part of the time.
    const PRESSED: f64 = 0.4;
    step.evidence
        .iter()
        .filter_map(|one| one.host.as_ref())
        .any(|load| load.pressure_some_ns.is_some_and(|ns| ns as f64 >= load.elapsed_ns as f64 * PRESSED))
}

/// What a hypervisor took of each processor of a host, of the one that lost most.
fn stolen_ns(step: &Step) -> u64 {
    let loads = step.evidence.iter().filter_map(|one| one.host.as_ref());
    loads.filter_map(|load| Some(load.steal_ns? / load.cpus.unwrap_or(1).max(1))).max().unwrap_or(0)
}

/// Where an address and port lead to, without the port.
fn ip_of(address: &Option<String>) -> Option<std::net::IpAddr> {
    let address: std::net::SocketAddr = address.as_deref()?.parse().ok()?;
    Some(address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::finding::CATALOGUE;
    use pathproof_model::{Connection, Direction, End, LaneResult, LaneRole, LossPath};

    /// These take findings out and complete them; they tell none.
    const NO_RULES: [&str; 3] = ["settled.rs", "sizes.rs", "tables.rs"];

    /// The code of all families, without their tests and comments.
    fn sources() -> Vec<String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnose");
        let (mut open, mut texts) = (vec![here], vec![]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if !NO_RULES.iter().any(|name| path.ends_with(name)) {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                texts.push(
                    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>(),
                );
            }
        }
        texts
    }

    /// The catalogue is what `Code` is looked up in by the compiler; this is the other half.
    #[test]
    fn what_is_told_of_a_document_is_on_the_list_of_a_rule_and_nothing_else() {
        let sources = sources();
        assert!(sources.len() > 25, "only {} files were looked at", sources.len());
        // Between quotes and not looked up: a code that is asked for, or on a list, is.
        let is_told = |code: &str| {
            sources.iter().any(|text| {
                let quoted = text.matches(&format!("\"{code}\"")).count();
                quoted > text.matches(&format!("code!(\"{code}\")")).count()
            })
        };
        let told: BTreeSet<&str> =
            CATALOGUE.iter().map(|entry| entry.code).filter(|code| is_told(code)).collect();
        let listed: BTreeSet<&str> = super::rules().flatten().map(|code| code.word()).collect();
        assert_eq!(told, listed);
    }

    #[test]
    fn every_rule_tells_something_and_no_code_twice() {
        for codes in super::rules() {
            let different: BTreeSet<&str> = codes.iter().map(|code| code.word()).collect();
            assert!(!codes.is_empty() && different.len() == codes.len(), "{codes:?}");
        }
    }

    /// A lane that sent, with what the kernel counted of its connection.
    pub(super) fn sender(counts: ConnectionCounts) -> LaneResult {
        let connection = Some(Connection { counts, ..Connection::default() });
        let scheduled = Some(pathproof_model::Waited { waited_ns: 0, of_ns: 1_000_000_000 });
        LaneResult { end: End::Client, role: LaneRole::Send, connection, scheduled, ..LaneResult::default() }
    }

    /// A searched path of which nothing is known yet.
    pub(super) fn mtu_path() -> pathproof_model::MtuPath {
        pathproof_model::MtuPath {
            local_nic: "e0".into(),
            remote_nic: Some("e0".into()),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            family: 4,
            direction: Direction::Out,
            method: pathproof_model::MtuMethod::Agent,
            ip_mtu_bytes: None,
            limit: pathproof_model::MtuLimit::Unknown,
            numbers: None,
            proven_ip_bytes: None,
            reason: None,
            local_ip_mtu_bytes: Some(9000),
            remote_ip_mtu_bytes: Some(9000),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: vec![],
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 0,
            fitting_lost: 0,
            probes: 0,
            loss_rounds: 0,
            fragments: None,
            elapsed_ns: 0,
            tried: vec![],
        }
    }

    /// A path of paced datagrams over which nothing was sent yet.
    pub(super) fn loss_path() -> LossPath {
        LossPath {
            local_nic: "e0".into(),
            remote_nic: "e0".into(),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            direction: Direction::Out,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 1500,
            reason: None,
            flows: vec![],
            marks: vec![],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
            shares: None,
        }
    }
}
