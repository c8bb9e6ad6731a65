//! Connections that could carry more if an end let them: windows and buffers over the round trip.

use pathproof_model::code;
use pathproof_model::evidence::ConnectionCounts;
use pathproof_model::finding::Commands;
use pathproof_model::told;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{Connection, Direction, Finding, LaneResult, LaneRole, NodeId, ResultDoc, Step};

use super::rates::full_core;
use super::{Rule, planned, waited_share, whose};

/// Held back for less than this part of its time, a connection is not limited by it.
const HELD_SHARE: f64 = 0.2;
/// On a shorter path a receiver that is woken late looks like a window: there the largest window that was seen must be too small for the path.
const TRIP_NS: u64 = 1_000_000;
/// So many times as much must have gone over the path, or the path is the limit.
const MORE: f64 = 1.5;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("TCP-WINDOW"), code!("TCP-SEND-BUFFER")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    [Direction::Out, Direction::In].into_iter().filter_map(|way| limited(doc, way)).collect()
}

struct Held<'a> {
    step: &'a Step,
    lane: &'a LaneResult,
    connection: &'a Connection,
    /// Part of its time.
    share: f64,
    /// By the peer's window, or by its own buffer.
    by_window: bool,
}

fn held<'a>(step: &'a Step, lane: &'a LaneResult) -> Option<Held<'a>> {
    let connection = lane.connection.as_ref()?;
    let counts = &connection.counts;
    let busy = counts.busy_ns.filter(|busy| *busy > 0)? as f64;
    let part = |ns: Option<u64>| ns.unwrap_or(0) as f64 / busy;
    let (window, buffer) = (part(counts.receive_window_limited_ns), part(counts.send_buffer_limited_ns));
    let share = window.max(buffer);
    let by_window = window >= buffer;
    let counts = counts.rtt_min_ns.is_some_and(|trip| trip >= TRIP_NS || by_window);
    (counts && share >= HELD_SHARE).then_some(Held { step, lane, connection, share, by_window })
}

/// Whether a connection that had a short path for itself carries what the largest `window` of its kind lets it, and the path more.
fn is_all_of_a_window(held: &Held<'_>, window: u64, rate: u64, most: u64) -> bool {
    /// Round trips are longer than the shortest, so that it carries less of it; and a window may have been a little larger in between.
    const LEAST: f64 = 0.3;
    const MOST: f64 = 1.3;
    let Some(trip_ns) = held.connection.counts.rtt_min_ns.filter(|trip| *trip > 0) else { return false };
    let alone = held.step.lanes.iter().filter(|lane| lane.role == LaneRole::Send).count() == 1;
    let (makes, rate) = (window as f64 * 8e9 / trip_ns as f64, rate as f64);
    alone && rate >= makes * LEAST && rate <= makes * MOST && most as f64 >= makes * MOST
}

fn limited(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let sender = if way == Direction::Out { NodeId::CLIENT } else { NodeId::SERVER };
    let receiver = if way == Direction::Out { NodeId::SERVER } else { NodeId::CLIENT };
    let streams = || {
        planned(doc).filter(|step| {
            let spec = step.spec.as_ref().and_then(|spec| spec.traffic());
            let paced = spec.is_none_or(|traffic| traffic.rate_bits_per_s.is_some());
            step.kind.traits().bulk && step.direction == Some(way) && !paced
        })
    };
    let of_sender = || {
        let lanes = streams().flat_map(|step| step.lanes.iter().map(move |lane| (step, lane)));
        lanes.filter(|(_, lane)| lane.role == LaneRole::Send)
    };
    // The connection that had the path for itself shows it best.
    let held =
        of_sender().filter_map(|(step, lane)| held(step, lane)).min_by_key(|held| held.step.lanes.len())?;
    let counts = &held.connection.counts;
    let rate = goodput(held.lane)?;
    // Whatever else went over the path: several connections this way, or one the other way.
    let most = planned(doc).filter(|step| step.kind.traits().bulk).filter_map(carried).max()?;
    let in_line = waited_share(held.step).is_none_or(|share| share >= 0.3);
    let near = counts.rtt_min_ns? < TRIP_NS;
    let windows = of_sender().filter_map(|(_, lane)| lane.connection.as_ref()?.counts.send_window_bytes);
    let largest = windows.max().unwrap_or(0);
    // A setting that lets no window be much larger holds it, however late the receiver is woken.
    let allowed = last(doc, receiver, "net.ipv4.tcp_rmem").filter(|_| near);
    let by_setting = allowed.is_some_and(|allowed| allowed <= largest.saturating_mul(SETTING_TIMES));
    if (most as f64) < rate as f64 * MORE
        || (near && !is_all_of_a_window(&held, largest, rate, most))
        || (in_line && !by_setting)
    {
        return None;
    }
    let more = BitsPerSecond(most);
    let held_for = format!("{:.0} % of its time", held.share * 100.0);
    let trip = Nanoseconds(counts.rtt_min_ns?);
    let words = format!(
        "{}: one connection carries {}, the path has carried {more}, and for {held_for}",
        held.step.name,
        BitsPerSecond(rate)
    );
    let wanted = Bytes((u128::from(most) * u128::from(trip.0) / 8_000_000_000 * 2) as u64);
    if !held.by_window {
        let setting = setting(doc, sender, "net.ipv4.tcp_wmem");
        let said = format!(
            "{words} it was held back by the send buffer of {} ({setting}); a round trip takes {trip}",
            whose(sender)
        );
        let text = format!(
            "Raise the last number of net.ipv4.tcp_wmem (and of net.core.wmem_max, where a program sets its buffers) at {} to at least {}, twice \
             the rate times the round trip.",
            whose(sender),
            wanted.0
        );
        let commands = raise(doc, sender, "net.ipv4.tcp_wmem", wanted.0.max(SEND_BUFFER_USUAL));
        let found = finding("TCP-SEND-BUFFER", said, &held, sender).with_next(text.clone());
        return Some(found.with_commands(&text, &commands));
    }
    let window = counts
        .send_window_bytes
        .map_or_else(|| "unknown".into(), |bytes| format!("{} bytes", Bytes(bytes).0));
    if held.connection.window_scaling == Some(false) {
        let off: Vec<NodeId> = [NodeId::CLIENT, NodeId::SERVER]
            .into_iter()
            .filter(|node| value(doc, *node, "net.ipv4.tcp_window_scaling").as_deref() == Some("0"))
            .collect();
        let culprit = *off.first().unwrap_or(&receiver);
        let why = match off.is_empty() {
            // Both are set to scale: it is lost on the way, and that is told of the options.
            true if [NodeId::CLIENT, NodeId::SERVER]
                .into_iter()
                .all(|node| value(doc, node, "net.ipv4.tcp_window_scaling").as_deref() == Some("1")) =>
            {
                return None;
            }
            true => "either an end does not use it or something on the way takes it away".into(),
            false => format!(
                "it is turned off at {} (net.ipv4.tcp_window_scaling=0)",
                off.iter().map(|node| whose(*node)).collect::<Vec<_>>().join(" and ")
            ),
        };
        let said = format!(
            "{words} it waited for a window of {window}, which cannot grow without window scaling: {why}; a round trip takes {trip}"
        );
        let text = format!("Turn window scaling on at {} and connect again.", whose(culprit));
        let on = |commands: Commands, node: &NodeId| {
            commands.at(*node, "sysctl -w net.ipv4.tcp_window_scaling=1", &[])
        };
        let commands = off.iter().fold(Commands::new(), on);
        let found = finding("TCP-WINDOW", said, &held, culprit).with_next(text.clone());
        let found = if off.is_empty() { found.open(&[code!("TCP-OPTIONS")]) } else { found };
        return Some(found.with_commands(&text, &commands));
    }
    let setting = setting(doc, receiver, "net.ipv4.tcp_rmem");
    let makes = counts
        .send_window_bytes
        .map(|bytes| (u128::from(bytes) * 8_000_000_000 / u128::from(trip.0.max(1))) as u64)
        .map_or_else(String::new, |rate| format!(", which makes {}", BitsPerSecond(rate)));
    let said = format!(
        "{words} it waited for the receive window of {}: {window} for each round trip of {trip}{makes} ({setting})",
        whose(receiver)
    );
    let starved = full_core(held.step).filter(|core| core.node == receiver);
    // A setting that allows several times that window, and all that is wanted, is not what holds it.
    let allowed = last(doc, receiver, "net.ipv4.tcp_rmem");
    let elsewhere = allowed.zip(counts.send_window_bytes).filter(|(allowed, window)| {
        starved.is_none() && *allowed >= wanted.0 && *allowed >= window.saturating_mul(ALLOWED_TIMES)
    });
    if let Some((allowed, _)) = elsewhere {
        let said =
            format!("{said}; that setting allows {}, so something else holds the window", Bytes(allowed));
        let text = format!(
            "Leave net.ipv4.tcp_rmem at {} as it is. Look there for a window at a route (ip route show table all) and take it out (ip route change, the same \
             without it), for net.ipv4.tcp_moderate_rcvbuf=0, and for a program that sets SO_RCVBUF.",
            whose(receiver)
        );
        return Some(finding("TCP-WINDOW", said, &held, receiver).with_next(text));
    }
    let text = format!(
        "Raise the last number of net.ipv4.tcp_rmem at {} (and net.core.rmem_max, where a program sets its buffers) to at least {}, twice the rate \
         times the round trip.",
        whose(receiver),
        wanted.0
    );
    let commands = raise(doc, receiver, "net.ipv4.tcp_rmem", wanted.0.max(RECEIVE_BUFFER_USUAL));
    let found = finding("TCP-WINDOW", said, &held, receiver).with_next(text.clone());
    let found = match starved {
        Some(core) => found
            .against(format!("{}: a receiver that has no time left closes its window", core.said))
            .open(&[code!("HOST-CORE-BOUND")]),
        None => found,
    };
    Some(found.with_commands(&text, &commands))
}

/// A window is no more than what its setting allows, and as a rule not less than such a part of it.
const SETTING_TIMES: u64 = 4;

/// What a setting allows is memory, of which a window is half or less, and a connection is still growing into it for a while.
const ALLOWED_TIMES: u64 = 16;

/// The last of a setting's numbers.
fn last(doc: &ResultDoc, node: NodeId, name: &str) -> Option<u64> {
    value(doc, node, name)?.split_whitespace().next_back()?.parse().ok()
}

/// What the last numbers of `tcp_rmem` and `tcp_wmem` are where nobody changed them: less is no advice.
const RECEIVE_BUFFER_USUAL: u64 = 6 << 20;
const SEND_BUFFER_USUAL: u64 = 4 << 20;

/// Sets the last of a setting's three numbers, and leaves the others.
fn raise(doc: &ResultDoc, node: NodeId, name: &str, last: u64) -> Commands {
    let known = value(doc, node, name).unwrap_or_default();
    let numbers: Vec<&str> = known.split_whitespace().collect();
    let [least, usual, _] = numbers[..] else { return Commands::new() };
    Commands::new().at(node, "sysctl -w {}='{} {} {}'", &[name, least, usual, &last.to_string()])
}

fn finding(code: &'static str, said: String, held: &Held<'_>, at: NodeId) -> Finding {
    let counts: &ConnectionCounts = &held.connection.counts;
    let finding = Finding::new(code, said)
        .with("held_share", held.share)
        .with("window_bytes", counts.send_window_bytes)
        .with("round_trip_ns", counts.rtt_min_ns)
        .tell(told::NODE, at);
    match held.step.direction {
        Some(way) => finding.tell(told::DIRECTION, way),
        None => finding,
    }
}

fn goodput(lane: &LaneResult) -> Option<u64> {
    (lane.window_ns > 0).then(|| (u128::from(lane.bytes) * 8_000_000_000 / u128::from(lane.window_ns)) as u64)
}

fn carried(step: &Step) -> Option<u64> {
    step.total(|flow| flow.goodput_bits_per_s)
}

fn value(doc: &ResultDoc, node: NodeId, name: &str) -> Option<String> {
    doc.environment(node)?.settings.get(name).cloned()
}

fn setting(doc: &ResultDoc, node: NodeId, name: &str) -> String {
    value(doc, node, name).map_or_else(|| format!("{name} is unknown"), |value| format!("{name} = {value}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::sender;
    use super::*;
    use pathproof_model::{Environment, Node, StepKind, StepSpec, Tool, TrafficSpec};

    /// One connection out that carried `mbit`, with what the kernel counted of it, and one in that carried 281 Mbit/s, as
    /// measured over a wire of 20 ms.
    fn found(mbit: u64, change: impl FnOnce(&mut LaneResult), scaling: [&str; 2]) -> Vec<Finding> {
        found_with("4096 65536 131072", mbit, change, scaling)
    }

    /// The same where both hosts have these receive buffers.
    fn found_with(
        receive: &str,
        mbit: u64,
        change: impl FnOnce(&mut LaneResult),
        scaling: [&str; 2],
    ) -> Vec<Finding> {
        let counts = ConnectionCounts {
            busy_ns: Some(1_472_000_000),
            rtt_min_ns: Some(20_091_000),
            send_window_bytes: Some(80_512),
            ..ConnectionCounts::still()
        };
        let mut lane = LaneResult { window_ns: 1_000_000_000, bytes: mbit * 125_000, ..sender(counts) };
        lane.connection.as_mut().unwrap().window_scaling = Some(true);
        change(&mut lane);
        let stream = |direction, mbit: u64, lanes| {
            let mut step = Step::new(StepKind::Stream, format!("tcp stream {}, 1 lane", direction));
            step.direction = Some(if direction == "out" { Direction::Out } else { Direction::In });
            step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
            step.summary.goodput_bits_per_s = Some(mbit * 1_000_000);
            step.lanes = lanes;
            step
        };
        let host = |scaling: &str| {
            let mut host = Environment::default();
            host.settings.insert("net.ipv4.tcp_window_scaling".into(), scaling.into());
            host.settings.insert("net.ipv4.tcp_rmem".into(), receive.into());
            Some(host)
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(host(scaling[0])), Node::agent("b", host(scaling[1]))];
        doc.steps = vec![stream("out", mbit, vec![lane]), stream("in", 281, vec![])];
        findings(&doc)
    }

    fn counts(lane: &mut LaneResult) -> &mut ConnectionCounts {
        &mut lane.connection.as_mut().unwrap().counts
    }

    #[test]
    fn the_receiver_whose_window_is_small_is_named_with_its_setting() {
        let found = found(32, |lane| counts(lane).receive_window_limited_ns = Some(536_000_000), ["1", "1"]);
        assert_eq!(found[0].code, "TCP-WINDOW");
        let said = &found[0].evidence;
        assert!(
            said.contains("receive window of the peer: 80512 bytes") && said.contains("4096 65536 131072"),
            "{said}"
        );
        assert!(found[0].next.contains("tcp_rmem at the peer"), "{}", found[0].next);
        assert!(found[0].against.is_empty());
        assert_eq!(found[0].told(told::DIRECTION), Some(Direction::Out));
    }

    #[test]
    fn a_window_far_below_what_the_setting_allows_is_not_the_settings() {
        let told = |receive: &str, window: u64| {
            let change = |lane: &mut LaneResult| {
                counts(lane).receive_window_limited_ns = Some(536_000_000);
                counts(lane).send_window_bytes = Some(window);
            };
            found_with(receive, 32, change, ["1", "1"]).remove(0)
        };
        // As run where a route of the receiver had a window.
        let route = told("4096 131072 33554432", 65_535);
        assert!(
            route.next.contains("ip route show table all") && !route.next.contains("Raise"),
            "{}",
            route.next
        );
        assert!(route.evidence.contains("something else holds the window"), "{}", route.evidence);
        // A connection that still grows into its buffer, and a buffer that is too small for what is wanted.
        assert!(told("4096 131072 33554432", 4 << 20).next.contains("Raise"));
        assert!(told("4096 131072 1300000", 65_535).next.contains("Raise"));
    }

    #[test]
    fn a_receiver_that_had_no_time_left_speaks_against_its_window() {
        let full = |end| {
            let change = |lane: &mut LaneResult| {
                counts(lane).receive_window_limited_ns = Some(536_000_000);
                (lane.end, lane.cpu_ns) = (end, Some(970_000_000));
            };
            found(32, change, ["1", "1"]).remove(0)
        };
        let doubtful = full(pathproof_model::End::Server);
        assert!(doubtful.against.starts_with("at the peer the thread"), "{}", doubtful.against);
        assert_eq!(doubtful.open, ["HOST-CORE-BOUND"]);
        assert!(full(pathproof_model::End::Client).against.is_empty());
    }

    #[test]
    fn a_send_buffer_and_a_window_that_cannot_grow_are_told_apart() {
        let buffer = found(50, |lane| counts(lane).send_buffer_limited_ns = Some(1_296_000_000), ["1", "1"]);
        assert!(
            buffer[0].code == "TCP-SEND-BUFFER" && buffer[0].evidence.contains("this host"),
            "{buffer:?}"
        );
        let unscaled = |lane: &mut LaneResult| {
            counts(lane).receive_window_limited_ns = Some(548_000_000);
            lane.connection.as_mut().unwrap().window_scaling = Some(false);
        };
        let off = found(25, unscaled, ["1", "0"]);
        assert!(off[0].evidence.contains("turned off at the peer"), "{}", off[0].evidence);
        // Taken away on the way: the options say so.
        assert_eq!(found(25, unscaled, ["1", "1"]), vec![]);
    }

    #[test]
    fn what_fills_the_path_and_what_hardly_waited_is_not_limited_by_a_window() {
        let limited = |lane: &mut LaneResult| counts(lane).receive_window_limited_ns = Some(536_000_000);
        assert_eq!(found(250, limited, ["1", "1"]), vec![]);
        let hardly = |lane: &mut LaneResult| counts(lane).receive_window_limited_ns = Some(52_000_000);
        assert_eq!(found(32, hardly, ["1", "1"]), vec![]);
        let near = |lane: &mut LaneResult| {
            counts(lane).receive_window_limited_ns = Some(536_000_000);
            counts(lane).rtt_min_ns = Some(90_000);
        };
        assert_eq!(found(32, near, ["1", "1"]), vec![]);
    }

    #[test]
    fn over_less_than_a_millisecond_a_window_counts_where_the_largest_one_seen_is_too_small_for_the_path() {
        let told = |receive: &str, mbit: u64, window: u64, waited_ms: u64| {
            let change = |lane: &mut LaneResult| {
                counts(lane).receive_window_limited_ns = Some(536_000_000);
                counts(lane).rtt_min_ns = Some(560_000);
                counts(lane).send_window_bytes = Some(window);
                let waited_ns = waited_ms * 1_000_000;
                lane.scheduled = Some(pathproof_model::Waited { waited_ns, of_ns: 1_000_000_000 });
            };
            found_with(receive, mbit, change, ["1", "1"])
        };
        let small = told("4096 16384 16384", 90, 10_240, 0);
        assert!(small[0].evidence.contains("10240 bytes for each round trip of 560.0 µs"), "{small:?}");
        assert!(small[0].next.contains("tcp_rmem at the peer"), "{small:?}");
        // Threads that stood in line are no excuse where no window can be larger.
        assert_eq!(told("4096 16384 16384", 90, 10_240, 600).len(), 1);
        assert_eq!(told("4096 131072 6291456", 90, 10_240, 600), vec![]);
        let route = told("4096 131072 6291456", 90, 10_240, 0);
        assert!(route[0].evidence.contains("something else holds the window"), "{route:?}");
        // A window that lets far more through, and one that fills the path.
        assert_eq!(told("4096 131072 6291456", 90, 80_512, 0), vec![]);
        assert_eq!(told("4096 32768 32768", 170, 18_000, 0), vec![]);
    }
}
