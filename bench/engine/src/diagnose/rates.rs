//! What bounds the rate where no window does: a limit on each connection, or one that all of them share.

mod again;
mod cores;
mod members;
mod others;
mod over_port;
mod rules;

use std::net::IpAddr;

use pathproof_model::evidence::QueueActivity;
use pathproof_model::finding::Commands;
use pathproof_model::judge::repeats::{
    Repeats, THROWN_SHARE, dropped_at_home, is_thrown_away, lost_segments, paced_loss,
};
use pathproof_model::judge::{LinkSpeed, held_by_network, link_speed};
use pathproof_model::series::Series;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    Direction, Finding, LaneResult, LaneRole, NodeId, ResultDoc, Severity, Step, both_ways,
};

use super::{planned, waited_share};
pub(super) use again::{AFTER_A_BURST, another_stream, short, short_streams_tell, told_as_fallen};
pub(super) use cores::full_core;
pub(super) use members::another_stream as members_again;
use members::crawling;
pub(super) use over_port::{left as ports_left, next as over_port};
pub(super) use rules::RULES;

/// So many times as much do several connections carry before one of them counts as held.
const SEVERAL: f64 = 2.0;
/// Each of several connections carries so much of what one alone does where each is held.
const EACH: f64 = 0.7;
/// Several that come after one carry at least so much of it where both meet one rate.
const AFTER: f64 = 0.8;
/// The weaker half of a window carries at least so much of the other where a rate is flat.
const FLAT: f64 = 0.85;
/// A thread that is on a processor for so much of its time may be what bounds the rate.
const CORE_SHARE: f64 = 0.8;
/// A link that carries less of what it says than this is held by something else.
const LINK_SHARE: f64 = 0.8;

/// A stream and its rate, in bit/s.
type Carried<'a> = (&'a Step, u64);

/// A stream over plain connections that ran as fast as it could.
fn free(step: &Step, way: Direction) -> Option<Carried<'_>> {
    let traffic = step.spec.as_ref().and_then(|spec| spec.traffic())?;
    let free = traffic.is_free() && traffic.max_segment_bytes.is_none();
    let connections = step.lanes.iter().any(|lane| lane.connection.is_some());
    let counts = step.kind.traits().bulk && step.direction == Some(way) && free && connections;
    let rate = step.summary.goodput_bits_per_s.filter(|rate| *rate > 0)?;
    (counts && step.error.is_none()).then_some((step, rate))
}

/// Those of a plan.
fn streams(doc: &ResultDoc, way: Direction) -> impl Iterator<Item = Carried<'_>> {
    planned(doc).filter_map(move |step| free(step, way))
}

/// The best stream of one connection and the best of several, where nothing is lost on the idle path that bounds TCP by itself.
fn pair(doc: &ResultDoc, way: Direction) -> Option<(Carried<'_>, Carried<'_>)> {
    let alone = streams(doc, way).filter(|(step, _)| lanes(step) == 1).max_by_key(|(_, rate)| *rate)?;
    let several = streams(doc, way).filter(|(step, _)| lanes(step) > 1).max_by_key(|(_, rate)| *rate)?;
    (!lost(doc, Some(way))).then_some((alone, several))
}

/// Hosts that stood in line bound everything, unless the rate was that of a path all the same.
fn starved(step: &Step) -> bool {
    waited_share(step).is_none_or(|share| share >= 0.3) && !is_steady(step)
}

/// Whether packets of a step went no further than this machine.
fn is_looped(step: &Step) -> bool {
    step.lanes.iter().any(|lane| super::ip_of(&lane.local).is_some_and(|ip| ip.is_loopback()))
}

fn senders(step: &Step) -> impl Iterator<Item = &LaneResult> {
    step.lanes.iter().filter(|lane| lane.role == LaneRole::Send)
}

fn lanes(step: &Step) -> usize {
    senders(step).count()
}

/// The two addresses that all connections of a step went between; `None` where they differ.
fn between(step: &Step) -> Option<(Option<IpAddr>, Option<IpAddr>)> {
    let ends = |lane: &LaneResult| (super::ip_of(&lane.local), super::ip_of(&lane.remote));
    let first = senders(step).next().map(ends)?;
    senders(step).all(|lane| lane.stripe.is_none() && ends(lane) == first).then_some(first)
}

fn bounded(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let (alone, several) = pair(doc, way)?;
    if let Some(found) = again::finding(doc, way) {
        return Some(found);
    }
    // What others take of a port leaves one connection less than several, and all of them less than the port carries.
    let best = if alone.1 > several.1 { alone } else { several };
    if let Some(found) = others::finding(doc, best, way) {
        return (!starved(best.0)).then_some(found);
    }
    let (one, many) = (alone.1 as f64, several.1 as f64);
    if many >= one * SEVERAL {
        // Under a limit on each, several carry as many times as much as they are; where less, they share something else.
        let alike = many >= one * EACH * lanes(several.0) as f64 && is_shared_alike(several.0, one);
        // Threads that ran or stood in line for most of the time are what bounds the one.
        let free = !starved(alone.0) && !starved(several.0) && occupied(alone.0) < CORE_SHARE;
        return (alike && (free || held_by_network(alone.0)) && !fills_its_link(doc, alone))
            .then(|| each_connection(way, alone, several))
            .flatten();
    }
    if starved(alone.0) || starved(several.0) {
        return None;
    }
    // Where one connection carries as much as several, they meet one limit. What several carry after it is no less where it is one's.
    let alike = one >= many * 0.7 && many >= one * AFTER;
    let fell = || both_ways(doc).iter().any(|both| both.fell().is_some());
    (alike && !fell()).then(|| shared(doc, way, if one >= many { alone } else { several })).flatten()
}

/// Whether a connection carries what its link does: of a bundle, over one of whose members each goes, several get as many times that, and no
/// limit is set to any.
fn fills_its_link(doc: &ResultDoc, (step, rate): Carried<'_>) -> bool {
    matches!(link_speed(doc, step), LinkSpeed::Known(speed) if rate as f64 >= speed as f64 * LINK_SHARE)
}

/// What connections that are not treated alike mean, and what to do.
fn unequal(finding: Finding) -> Finding {
    let mut finding = finding.with_next(
        "Look at the speed and the error counters of every member link of the bundles (LACP) and equal-cost routes between these hosts (a port that fell \
         back to a lower speed, a member that drops). Run again: where it is the path's own it comes again, and \
         pathproof bench stream PEER --lanes 16 shows more of its members.",
    );
    finding.meaning = "Some connections between the same two addresses crawl while others run: one member of a bundle or one of several equal routes \
                       is slow, and which connection meets it is chance."
        .into();
    finding
}

fn each_connection(way: Direction, alone: (&Step, u64), several: (&Step, u64)) -> Option<Finding> {
    let (step, rate) = alone;
    // What throws away instead of queueing makes no flat rate, but meets the one as it meets each of several.
    let thrown = [step, several.0].into_iter().all(|step| {
        let repeats = Repeats::of(step).filter(|_| dropped_at_home(step) == 0);
        repeats.is_some_and(|repeats| repeats.share() >= THROWN_SHARE)
    });
    if !(is_flat(step) || thrown) || held_by_window(step) || core(step) {
        return None;
    }
    let how = if thrown { "sending much of it again" } else { "flat" };
    let count = lanes(several.0);
    let said = format!(
        "{}: one connection carries {}, {how}, and {count} together {} ({:.1} times as much); neither a window nor a processor held the one, and \
         nothing is lost when the path is idle",
        way.name(),
        BitsPerSecond(rate),
        BitsPerSecond(several.1),
        several.1 as f64 / rate as f64
    );
    let finding = Finding::new("TCP-FLOW-LIMIT", said).with("one_bits_per_s", rate);
    Some(
        finding
            .with("several_bits_per_s", several.1)
            .with("connections", count as u64)
            .tell(told::DIRECTION, way),
    )
}

/// One rate for all connections: told as a fact, and as a warning where the link says that it could do more.
fn shared(doc: &ResultDoc, way: Direction, best: (&Step, u64)) -> Option<Finding> {
    let (step, rate) = best;
    // A loopback has no rate that anybody set, and what throws away has a finding of its own.
    if is_looped(step) || !is_flat(step) || held_by_window(step) || core(step) || is_thrown_away(doc, step) {
        return None;
    }
    let own = own_shaper(doc, step, way);
    let speed = match link_speed(doc, step) {
        LinkSpeed::Known(speed) => Some(speed),
        LinkSpeed::Unknown(_) => None,
    };
    let short = speed.is_some_and(|speed| (rate as f64) < speed as f64 * LINK_SHARE);
    let beside = speed.map_or_else(
        || "how fast the links are is not known".into(),
        |speed| format!("the links say {}", BitsPerSecond(speed)),
    );
    let said = format!(
        "{}: flat at {}, one connection like several, with {} and no processor busy: a limit of rate; {beside}{}",
        way.name(),
        BitsPerSecond(rate),
        lost_words(step),
        own.as_ref().map_or_else(String::new, |own| format!("; {}", own.said))
    );
    let severity = if short { Severity::Warning } else { Severity::Info };
    let finding = Finding::new("PATH-RATE-LIMIT", said).with_severity(severity).with("bits_per_s", rate);
    let finding = match &own {
        Some(own) => finding.with_commands(Shaper::LEAD, &own.removal),
        None => finding,
    };
    // A link that carries what it says needs no finding.
    (speed.is_none() || short).then(|| finding.tell(told::DIRECTION, way))
}

/// What became of a stream's segments, in words.
fn lost_words(step: &Step) -> String {
    /// Less is what filling a queue costs everywhere.
    const SOME: f64 = 0.01;
    let some = Repeats::of(step).map(Repeats::share).filter(|share| *share >= SOME);
    some.map_or_else(
        || "nothing lost".into(),
        |share| format!("{:.1} % of its segments sent again", share * 100.0),
    )
}

/// A shaper of the sending host that held packets back.
pub(super) struct Shaper {
    /// Whose, and which.
    pub(super) said: String,
    /// What takes it away.
    pub(super) removal: Commands,
}

impl Shaper {
    pub(super) const LEAD: &str = "The limit is that host's own. Where nobody wants it (a line that is slower behind it may be why it is there):";
}

/// The shaper at the sending end that bounds a step. One that lets more through than the path carries holds the odd burst back as well: what
/// bounds a stream has its packets standing in it, and what it loses is lost there.
pub(super) fn own_shaper(doc: &ResultDoc, step: &Step, way: Direction) -> Option<Shaper> {
    /// More than the packet or two that are on their way out.
    const STOOD_BYTES: u64 = 6000;
    /// So much is lost on the way, and less than one in so many of that at home: then the limit lies on the way.
    const LOST_SHARE: f64 = 0.01;
    const AT_HOME: u64 = 20;
    let node = if way == Direction::Out { NodeId::CLIENT } else { NodeId::SERVER };
    let lost = lost_segments(step, node);
    let beyond = lost.point().is_some_and(|share| share >= LOST_SHARE)
        && dropped_at_home(step).saturating_mul(AT_HOME) < lost.part;
    if beyond || is_thrown_away(doc, step) {
        return None;
    }
    let shapes = |kind: &str| ["tbf", "htb", "hfsc", "cbq", "netem"].contains(&kind);
    let held = |queue: &&QueueActivity| shapes(&queue.kind) && queue.counts.held_back.is_some_and(|n| n > 0);
    let queue = queues(step, node).find(held)?;
    // It is looked at once a second, so that one look of a short stream may find it empty.
    let stood = |other: &QueueActivity| {
        (&other.nic, &other.handle) == (&queue.nic, &queue.handle)
            && other.backlog_highest_bytes.is_some_and(|bytes| bytes >= STOOD_BYTES)
    };
    let others = streams(doc, way).filter(|(other, _)| !is_thrown_away(doc, other));
    if !queues(step, node).chain(others.flat_map(|(other, _)| queues(other, node))).any(stood) {
        return None;
    }
    let said = format!("{} itself holds it back ({} on {})", super::whose(node), queue.kind, queue.nic);
    let removal = Commands::new().at(node, "tc qdisc del dev {} root", &[&queue.nic]);
    Some(Shaper { said, removal })
}

/// The queueing disciplines of a host that counted something during a step.
fn queues(step: &Step, node: NodeId) -> impl Iterator<Item = &QueueActivity> {
    step.evidence(node).and_then(|evidence| evidence.queues.as_ref()).into_iter().flatten()
}

/// Whether both halves of the window carried alike. A receiver counts whole messages, so one of each lane more or less is alike.
pub(super) fn is_flat(step: &Step) -> bool {
    let slices: Vec<_> = step.series.iter().flat_map(Series::carried).collect();
    let middle = slices.iter().map(|slice| slice.start_ns + slice.length_ns).max().unwrap_or(0) / 2;
    let (mut early, mut late) = ((0u64, 0u64), (0u64, 0u64));
    for slice in &slices {
        let half = if slice.start_ns < middle { &mut early } else { &mut late };
        *half = (half.0.saturating_add(slice.bytes), half.1.saturating_add(slice.length_ns));
    }
    let message = step.spec.as_ref().and_then(|spec| spec.traffic()).map_or(0, |traffic| traffic.size_bytes);
    let one_more = message.saturating_mul(lanes(step) as u64);
    let rate = |bytes: u64, ns: u64| if ns == 0 { 0.0 } else { bytes as f64 / ns as f64 };
    let (first, second) = (rate(early.0, early.1), rate(late.0, late.1));
    let (weaker, stronger) = if first < second { (early, second) } else { (late, first) };
    weaker.0 > 0 && rate(weaker.0.saturating_add(one_more), weaker.1) >= stronger * FLAT
}

/// Whether every slice carried about as much as the mean of them: a host whose threads wait for a processor does not look like that.
pub(super) fn is_steady(step: &Step) -> bool {
    /// The weakest against the mean.
    const WEAKEST: f64 = 0.7;
    let rates = |series: &Series| -> Vec<f64> {
        let whole = series.carried().filter(|slice| slice.length_ns * 2 >= series.width_ns);
        whole.map(|slice| slice.bytes as f64 / slice.length_ns.max(1) as f64).collect()
    };
    let all: Vec<Vec<f64>> = step.series.iter().map(rates).filter(|rates| rates.len() >= 3).collect();
    let steady = |rates: &Vec<f64>| {
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        mean > 0.0 && rates.iter().all(|rate| *rate >= mean * WEAKEST)
    };
    !all.is_empty() && all.iter().all(steady)
}

/// Whether a window held a connection back, or may have: where the kernel does not say for how long.
fn held_by_window(step: &Step) -> bool {
    let free = |lane: &pathproof_model::LaneResult| {
        let counts = &lane.connection.as_ref()?.counts;
        let held_ns = counts.receive_window_limited_ns?.max(counts.send_buffer_limited_ns?);
        Some((held_ns as f64) < counts.busy_ns?.max(1) as f64 * 0.2)
    };
    let sending = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send);
    !sending.map(free).all(|free| free == Some(true))
}

/// Whether each of several lanes carried about what one alone does.
fn is_shared_alike(step: &Step, one: f64) -> bool {
    let receiving = step.lanes.iter().filter(|lane| lane.role == LaneRole::Receive && lane.window_ns > 0);
    let mut rates = receiving.map(|lane| lane.bytes as f64 * 8e9 / lane.window_ns as f64);
    rates.all(|rate| rate >= one * 0.5 && rate <= one * 2.0)
}

/// The largest part of its time for which a lane's thread was on a processor or stood in line for one.
fn occupied(step: &Step) -> f64 {
    let share = |lane: &pathproof_model::LaneResult| {
        let waited = lane.scheduled.map_or(0.0, |one| one.waited_ns as f64 / one.of_ns.max(1) as f64);
        lane.cpu_ns.map_or(0.0, |cpu| cpu as f64 / lane.window_ns.max(1) as f64) + waited
    };
    step.lanes.iter().map(share).fold(0.0, f64::max)
}

/// Whether a lane's thread, or a processor's work on packets, took most of its time, or may have: where nobody counts that.
fn core(step: &Step) -> bool {
    let threads = || step.lanes.iter().map(|lane| Some(lane.cpu_ns? as f64 / lane.window_ns.max(1) as f64));
    let packets = || step.evidence.iter().map(|one| one.host.as_ref()?.busiest_cpu_softirq_share);
    !threads().chain(packets()).all(|share| share.is_some_and(|share| share < CORE_SHARE))
}

/// Whether anything is known to be lost on an idle path, in any direction that was asked about.
pub(super) fn lost(doc: &ResultDoc, way: Option<Direction>) -> bool {
    paced_loss(doc, way).is_some_and(|share| share.bounds().0 > 0.001)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sender;
    use super::rules::findings;
    use super::*;
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::{LaneResult, StepKind, StepSpec, Tool, TrafficSpec};

    pub(super) fn stream(mbit: u64, lanes: usize, second_half: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.direction = Some(Direction::Out);
        step.spec = Some(StepSpec::Stream(TrafficSpec { lanes: lanes as u32, ..TrafficSpec::default() }));
        step.summary.goodput_bits_per_s = Some(mbit * 1_000_000);
        let counts = ConnectionCounts { busy_ns: Some(1_500_000_000), ..ConnectionCounts::still() };
        step.lanes =
            vec![LaneResult { window_ns: 1_000_000_000, cpu_ns: Some(30_000_000), ..sender(counts) }; lanes];
        let received_bytes = (0..10).map(|n| Some(1000 * if n < 5 { 1000 } else { second_half })).collect();
        let role = LaneRole::Receive;
        let series = Series {
            role,
            width_ns: 100_000_000,
            end_ns: 1_000_000_000,
            received_bytes,
            ..Series::default()
        };
        step.series = vec![series];
        step
    }

    fn codes(steps: Vec<Step>) -> Vec<String> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn one_connection_against_several_tells_whose_limit_it_is() {
        assert_eq!(codes(vec![stream(20, 1, 1000), stream(79, 4, 1000)]), ["TCP-FLOW-LIMIT"]);
        assert_eq!(codes(vec![stream(94, 1, 1000), stream(94, 4, 1000)]), ["PATH-RATE-LIMIT"]);
        // Between the two it may be either.
        assert_eq!(codes(vec![stream(50, 1, 1000), stream(90, 4, 1000)]), [""; 0]);
    }

    #[test]
    fn connections_that_each_fill_a_member_of_a_bundle_are_held_to_nothing() {
        use pathproof_model::{End, Environment, Nic, Node};
        let told = |member_mbit: u64| {
            let mut steps = vec![stream(940, 1, 1000), stream(3700, 4, 1000)];
            for step in &mut steps {
                step.lanes.iter_mut().for_each(|lane| lane.nics = vec!["bond0".into()]);
                // What it received is not asked here.
                let quiet = LaneResult { window_ns: 0, cpu_ns: Some(0), ..step.lanes[0].clone() };
                let there = LaneResult { end: End::Server, role: LaneRole::Receive, ..quiet };
                step.lanes.push(there);
            }
            let nic = |name: &str, kind: &str, mbit: u64, master: Option<&str>| Nic {
                name: name.into(),
                kind: Some(kind.into()),
                speed_bits_per_s: Some(mbit * 1_000_000),
                master: master.map(Into::into),
                ..Nic::default()
            };
            let bundle = nic("bond0", "bond", 4 * member_mbit, None);
            let nics = vec![bundle, nic("p0", "ethernet", member_mbit, Some("bond0"))];
            let host = Environment { nics, ..Environment::default() };
            let nodes = vec![Node::here(Some(host.clone())), Node::agent("b", Some(host))];
            let doc = ResultDoc { steps, nodes, ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).iter().any(|finding| finding.is(pathproof_model::code!("TCP-FLOW-LIMIT")))
        };
        assert!(!told(1000) && told(10_000));
    }

    #[test]
    fn connections_that_are_not_treated_alike_and_a_rate_that_falls_are_told() {
        // As run over a bundle of which one member carries 10 Mbit/s, and over a wire that lets 30 MB through first.
        assert_eq!(codes(vec![stream(10, 1, 1000), stream(284, 4, 1000)]), ["FLOWS-DIFFER"]);
        let falls = findings(&ResultDoc {
            steps: vec![stream(152, 1, 300), stream(20, 4, 1000)],
            ..ResultDoc::new(Tool::default(), "")
        });
        // It may have been somebody else, and nothing says so.
        assert_eq!((&*falls[0].code, falls[0].severity), ("PATH-RATE-LIMIT", Severity::Error));
        // Over another pair of NICs it is another path.
        let mut elsewhere = stream(10, 1, 1000);
        elsewhere.lanes[0].local = Some("10.9.1.1:7797".into());
        assert!(!codes(vec![elsewhere, stream(284, 4, 1000)]).contains(&"FLOWS-DIFFER".to_owned()));
        // Threads that stood in line, and less of a difference.
        let mut starved = stream(10, 1, 300);
        starved.lanes[0].scheduled = Some(pathproof_model::Waited { waited_ns: 620, of_ns: 1000 });
        assert_eq!(codes(vec![starved, stream(284, 4, 1000)]), ["HOST-BUSY"]);
        assert_eq!(codes(vec![stream(60, 1, 300), stream(400, 4, 1000)]), [""; 0]);
        assert_eq!(codes(vec![stream(100, 1, 300), stream(50, 4, 1000)]), [""; 0]);
    }

    #[test]
    fn a_connection_that_crawls_beside_others_is_told_and_turns_of_tcp_are_not() {
        let of = |lanes: [u64; 4]| {
            let mut step = stream(286, 4, 1000);
            step.lanes.iter_mut().zip(lanes).for_each(|(lane, parts)| lane.bytes = parts * 1_310_720);
            codes(vec![stream(286, 1, 1000), step]).contains(&"FLOWS-DIFFER".to_owned())
        };
        // As counted where one of four met the slow member; and two that share it.
        assert!(of([10, 9, 1, 10]) && of([14, 1, 1, 14]));
        // The same over two pairs of NICs, of which one is slower.
        let pairs = |second: &str| {
            let mut step = stream(286, 4, 1000);
            let bytes = [10, 9, 1, 10].map(|parts: u64| parts * 1_310_720);
            for (lane, bytes) in step.lanes.iter_mut().zip(bytes) {
                (lane.bytes, lane.local) = (bytes, Some("10.9.0.1:7797".into()));
            }
            step.lanes[2].local = Some(second.into());
            codes(vec![step.clone(), step]).len()
        };
        assert_eq!((pairs("10.9.0.1:7798"), pairs("10.9.1.1:7798")), (1, 0));
        // What TCP's own turns make of four, one that carried nothing, and too little to tell.
        assert!(!of([10, 4, 3, 8]) && !of([10, 9, 0, 10]) && !of([23, 3, 3, 1]) && !of([1, 1, 1, 0]));
    }

    /// A stream that a shaper of its host held back, of which so much stood in it and was dropped there.
    fn shaped(mbit: u64, lanes: usize, again: u64, stood: u64, drops: u64) -> Step {
        use pathproof_model::evidence::QueueCounts;
        use pathproof_model::{Evidence, HostLoad};
        let mut step = stream(mbit, lanes, 1000);
        step.summary.bytes = Some(mbit * 137_500);
        step.summary.retransmits = Some(again);
        for lane in &mut step.lanes {
            lane.send_segment_bytes = Some(1448);
            let counts = &mut lane.connection.as_mut().unwrap().counts;
            counts.retransmitted_segments = Some(again / lanes as u64);
            counts.delivered_segments = Some(mbit * 95 / lanes as u64);
        }
        let counts = QueueCounts { held_back: Some(4004), drops: Some(drops), ..QueueCounts::still() };
        let queue = QueueActivity {
            nic: "e0".into(),
            kind: "tbf".into(),
            backlog_highest_bytes: Some(stood),
            counts,
            ..QueueActivity::default()
        };
        let host = Some(HostLoad { busiest_cpu_softirq_share: Some(0.3), ..HostLoad::default() });
        step.evidence = vec![Evidence { host, queues: Some(vec![queue]), ..Evidence::default() }];
        step
    }

    #[test]
    fn a_shaper_is_the_limit_where_packets_stood_in_it_and_not_where_it_held_the_odd_burst_back() {
        let of = |one: Step, four: Step| {
            let doc = ResultDoc { steps: vec![one, four], ..ResultDoc::new(Tool::default(), "") };
            let own = own_shaper(&doc, &doc.steps[0], Direction::Out);
            let told = findings(&doc).into_iter().find(|finding| finding.code == "PATH-RATE-LIMIT");
            let removed = told.is_some_and(|told| told.next.contains("tc qdisc del dev e0 root"));
            assert_eq!(own.is_some(), removed);
            own.map(|own| own.said)
        };
        // As counted of a tbf of 50 Mbit/s: 30 280 and 238 674 bytes stood in it, and what was lost was dropped there.
        let said = of(shaped(50, 1, 26, 30_280, 244), shaped(49, 4, 3000, 238_674, 2045)).unwrap();
        assert_eq!(said, "this host itself holds it back (tbf on e0)");
        // It is looked at once a second: one of the two may find it empty.
        assert!(of(shaped(280, 1, 0, 0, 0), shaped(280, 4, 0, 312_034, 69)).is_some());
        // As counted of one of 300 Mbit/s of which 16 to 18 were carried: it held back 4004 times, and nothing ever stood in it.
        assert_eq!(of(shaped(18, 1, 612, 0, 0), shaped(16, 4, 1064, 0, 0)), None);
        assert_eq!(of(shaped(18, 1, 0, 0, 0), shaped(18, 4, 0, 0, 0)), None);
        // A burst was seen in it, and what is lost is lost behind it.
        assert_eq!(of(shaped(10, 1, 500, 18_168, 0), shaped(9, 4, 500, 0, 0)), None);
    }

    #[test]
    fn what_is_sent_again_is_not_called_nothing_lost() {
        let said = |again: u64| {
            let steps = vec![shaped(50, 1, again, 30_280, again), shaped(49, 4, again, 30_280, again)];
            let found = findings(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") });
            found[0].evidence.clone()
        };
        assert!(said(0).contains("with nothing lost and no processor busy"), "{}", said(0));
        assert!(said(3000).contains("with 38.7 % of its segments sent again and no"), "{}", said(3000));
    }

    #[test]
    fn a_steady_rate_is_no_starved_hosts() {
        // As measured over a wire of 100 Mbit/s between hosts of a busy machine.
        let mut one = stream(94, 1, 1000);
        one.lanes[0].scheduled = Some(pathproof_model::Waited { waited_ns: 620, of_ns: 1000 });
        assert_eq!(codes(vec![one.clone(), stream(94, 4, 1000)]), ["PATH-RATE-LIMIT"]);
        one.series[0].received_bytes[4] = Some(100_000);
        assert_eq!(codes(vec![one, stream(94, 4, 1000)]), [""; 0]);
    }

    #[test]
    fn where_the_kernel_says_that_the_network_held_it_busy_threads_do_not_hide_a_limit_on_each() {
        // As counted with a policer of 100 Mbit/s for each connection between hosts of a busy machine.
        let mut one = stream(97, 1, 1000);
        one.lanes[0].scheduled = Some(pathproof_model::Waited { waited_ns: 820, of_ns: 1000 });
        one.series[0].received_bytes[4] = Some(400_000);
        let limits = |one: &Step| codes(vec![one.clone(), stream(457, 4, 1000)]);
        assert_eq!(limits(&one), ["TCP-FLOW-LIMIT"]);
        let counts = |one: &mut Step| one.lanes[0].connection.as_mut().unwrap().counts.clone();
        // The connection ran dry, or waited for the receiver: then it may be the hosts.
        let mut dry = counts(&mut one);
        dry.busy_ns = Some(700_000_000);
        let mut shut = counts(&mut one);
        shut.receive_window_limited_ns = Some(150_000_000);
        let mut unknown = counts(&mut one);
        unknown.send_buffer_limited_ns = None;
        for other in [dry, shut, unknown] {
            one.lanes[0].connection.as_mut().unwrap().counts = other;
            assert_eq!(limits(&one), [""; 0]);
        }
    }

    #[test]
    fn a_message_more_or_less_of_each_lane_is_no_growth() {
        // As counted with a policer of 10 Mbit/s for each connection: messages of 128 KiB.
        let mut slow = stream(10, 1, 1000);
        let messages = [2, 0, 2, 1, 1, 1, 1, 1, 0, 1, 1];
        slow.series[0].received_bytes = messages.iter().map(|n| Some(n * (128 << 10))).collect();
        slow.series[0].end_ns = 1_100_000_000;
        assert!(is_flat(&slow));
        let grown = [0, 1, 0, 1, 0, 1, 1, 2, 1, 2, 1];
        slow.series[0].received_bytes = grown.iter().map(|n| Some(n * (128 << 10))).collect();
        assert!(!is_flat(&slow));
        slow.series[0].received_bytes = vec![Some(0); 11];
        assert!(!is_flat(&slow));
    }

    #[test]
    fn what_throws_away_from_one_as_from_each_of_several_is_a_limit_on_each() {
        // As counted with a policer of 10 Mbit/s for each connection, whose first burst was most of what one brought.
        let thrown = |mut step: Step, again: u64| {
            step.summary.retransmits = Some(again);
            step.summary.bytes = Some(1448 * 900);
            step.lanes.iter_mut().for_each(|lane| lane.send_segment_bytes = Some(1448));
            step.series[0].received_bytes[0] = Some(9_000_000);
            step
        };
        let told = |again: u64, all: u64| {
            codes(vec![thrown(stream(10, 1, 500), again), thrown(stream(44, 4, 500), all)])
        };
        assert_eq!(told(178, 300), ["TCP-FLOW-LIMIT"]);
        // A few of them, or of the one alone.
        assert_eq!(told(9, 300), [""; 0]);
        assert_eq!(told(178, 9), [""; 0]);
    }

    #[test]
    fn what_still_grows_is_held_by_itself_and_what_keeps_a_core_busy_by_that() {
        assert_eq!(codes(vec![stream(20, 1, 3000), stream(79, 4, 1000)]), [""; 0]);
        let mut busy = stream(20, 1, 1000);
        busy.lanes[0].cpu_ns = Some(850_000_000);
        assert_eq!(codes(vec![busy.clone(), stream(79, 4, 1000)]), [""; 0]);
        busy.lanes[0].cpu_ns = Some(950_000_000);
        assert_eq!(codes(vec![busy, stream(79, 4, 1000)]), ["HOST-CORE-BOUND"]);
        let mut window = stream(20, 1, 1000);
        window.lanes[0].connection.as_mut().unwrap().counts.receive_window_limited_ns = Some(600_000_000);
        assert_eq!(codes(vec![window, stream(79, 4, 1000)]), [""; 0]);
    }
}
