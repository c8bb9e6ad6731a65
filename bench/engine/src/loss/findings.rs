//! What the counts of a `loss` step show. A cause is named only where the pattern leaves one kind of cause.

use pathproof_model::code;
use pathproof_model::judge::dropped_by_receiver;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Direction, Finding, LossCounts, LossFlow, LossMark, LossPath, Severity, Share, Step};

use super::STANDARD_IP_BYTES;
use super::path_numbers::{mark_name, numbers};
use super::{late, silent};

/// A share that a clean fabric does not reach: from here on it is worth a warning where the sample shows it.
const NOTABLE: f64 = 0.0001;
/// Full-size datagrams are lost so many times as often as small ones before size is called a part of the pattern.
const SIZE_FACTOR: f64 = 3.0;

/// All that the paths show.
pub fn findings(paths: &[LossPath]) -> Vec<Finding> {
    // Whoever limits echoes makes them look lost.
    let by_datagram = |path: &&LossPath| path.reason.is_none() && !path.flows.is_empty() && !path.by_echo;
    let sent: Vec<&LossPath> = paths.iter().filter(by_datagram).collect();
    let mut found = silent::pairs(&sent);
    for path in &sent {
        found.extend(dead_flows(path));
        found.extend(longer_flows(path));
        found.extend(sizes_by_flow(path));
        found.extend(lost(path));
        found.extend(order(path));
        found.extend(copies(path));
        found.extend(path.marks.iter().filter_map(|mark| lost_mark(path, mark)));
        found.extend(changed_marks(path));
        found.extend(late::marks(path));
        found.extend(overflow(path));
        found.extend(refused_here(path));
    }
    found
}

/// What the datagrams that arrived show by themselves, whatever became of the others.
pub fn findings_of_arrivals(paths: &[LossPath]) -> Vec<Finding> {
    let by_datagram = paths.iter().filter(|path| path.reason.is_none() && !path.by_echo);
    by_datagram
        .flat_map(|path| {
            let found = order(path).into_iter().chain(copies(path)).chain(changed_marks(path));
            found.chain(late::marks(path))
        })
        .collect()
}

/// Turns loss that the receiving host may have made, because it threw as many packets away itself meanwhile, into a word about that host.
pub fn settle_by_host(found: &mut [Finding], step: &Step) {
    for finding in found {
        let is_loss = finding.is(code!("PATH-LOSS")) || finding.is(code!("PATH-LOSS-LARGE"));
        let told = finding.told(told::DIRECTION).zip(finding.told(told::PART)).filter(|_| is_loss);
        let Some((direction, lost)) = told else { continue };
        let dropped = dropped_by_receiver(step, direction);
        if dropped == 0 || dropped < lost {
            continue;
        }
        let said = format!(
            "{}; the receiving host itself threw {dropped} packets of all sorts away meanwhile, before its sockets or at sockets without room, \
             and these may be among them",
            finding.evidence
        );
        let values = std::mem::take(&mut finding.values);
        let own = Finding { values, step: finding.step, ..Finding::new("HOST-OVERFLOW", said) };
        *finding = own.open(&[code!("PATH-LOSS")]);
    }
}

/// Takes from what sockets of a direction are said to have had no room for what their host threw away for a wrong checksum.
pub fn damaged(paths: &mut [LossPath], direction: Direction, datagrams: u64) {
    let mut left = datagrams;
    for path in paths.iter_mut().filter(|path| path.direction == direction) {
        let own = path.overflowed.min(left);
        path.overflowed -= own;
        left -= own;
    }
}

/// Per cent with as many digits as it has meaning.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p if p >= 0.1 => format!("{p:.2} %"),
        _ => format!("{percent:.3} %"),
    }
}

fn in_words(share: Share) -> String {
    let (low, high) = share.bounds();
    let point = share.point().map_or_else(|| "unknown".into(), percent);
    format!("{} of {} ({point}; 95 % interval {} to {})", share.part, share.of, percent(low), percent(high))
}

fn live(path: &LossPath) -> impl Iterator<Item = &LossFlow> {
    path.flows.iter().filter(|flow| !flow.is_dead())
}

/// The flows that count, without full-size datagrams where none of them pass: that is the path MTU's affair.
fn summed(path: &LossPath) -> (LossCounts, LossCounts) {
    let (mut small, mut full) = (LossCounts::default(), LossCounts::default());
    for flow in live(path) {
        small += flow.small;
        if !flow.lacks_full_size() {
            full += flow.full;
        }
    }
    (small, full)
}

fn dead_flows(path: &LossPath) -> Option<Finding> {
    let dead: Vec<String> =
        path.flows.iter().filter(|flow| flow.is_dead()).map(|flow| flow.port.to_string()).collect();
    let (count, of) = (dead.len(), path.flows.len());
    if count == 0 || count == of {
        return None;
    }
    let evidence = format!(
        "{}: of {of} UDP flows that differ in nothing but the source port {count} carried nothing at all (source ports {}), \
         while the others did",
        path.name(),
        dead.join(", ")
    );
    let share = Share { part: count as u64, of: of as u64 };
    Some(numbers(Finding::new("FLOWS-DIFFER", evidence), path, share))
}

/// Flows whose fastest datagram took longer than all of others: they go another way.
fn longer_flows(path: &LossPath) -> Option<Finding> {
    /// So much is no queue that is empty at times, and no thread that waits for its turn now and then.
    const LONGER_NS: u64 = 3_000_000;
    /// Beyond this it is no matter of taste.
    const FAR_NS: u64 = 10_000_000;
    /// The fastest of so many is no chance.
    const ARRIVED: u64 = 16;
    let arrived = |flow: &&LossFlow| flow.small.received.saturating_add(flow.full.received) >= ARRIVED;
    let known = live(path).filter(arrived).filter_map(|flow| Some((flow.port, flow.least_delay_ns?)));
    let (long, short): (Vec<_>, Vec<_>) = known.partition(|(_, least_ns)| *least_ns >= LONGER_NS);
    let shortest_of_long = long.iter().map(|(_, ns)| *ns).min()?;
    let longest_of_short = short.iter().map(|(_, ns)| *ns).max()?;
    // Two ways, and not many that differ a little, nor one datagram that was faster than all others.
    if short.len() < 2 || longest_of_short.saturating_mul(4) > shortest_of_long {
        return None;
    }
    let ports: Vec<String> = long.iter().map(|(port, _)| port.to_string()).collect();
    let (count, of) = (long.len(), long.len() + short.len());
    let longer = Nanoseconds(shortest_of_long);
    let evidence = format!(
        "{}: of {of} UDP flows that differ in nothing but the source port {count} take {longer} longer than the fastest, each at its fastest, and the others do not \
         (source ports {})",
        path.name(),
        ports.join(", ")
    );
    let share = Share { part: count as u64, of: of as u64 };
    let mut finding =
        numbers(Finding::new("FLOWS-DIFFER", evidence), path, share).with("longer_ns", shortest_of_long);
    finding.meaning = "Some flows between the same two addresses go a longer way than others: one member of a bundle or one of several equal \
                       routes leads elsewhere, and what is spread over several connections waits for the slowest."
        .into();
    let severity = if shortest_of_long >= FAR_NS { Severity::Error } else { Severity::Warning };
    Some(finding.with_severity(severity).with_next(
        "Find the longer way: behind routers a traceroute from a source port of either kind shows where they part (pathproof explain FLOWS-DIFFER has the \
         command); in a bundle (LACP) take its members out one by one. Leave that member out, or give it the length of the others.",
    ))
}

fn sizes_by_flow(path: &LossPath) -> Option<Finding> {
    let lacking = live(path).filter(|flow| flow.lacks_full_size()).count();
    let able = live(path).filter(|flow| flow.full.received > 0).count();
    if lacking == 0 || able == 0 {
        return None;
    }
    let of_standard = live(path).filter(|flow| flow.lacks_full_size() && flow.standard.received > 0).count();
    let carry = match lacking - of_standard {
        0 => format!("{lacking} such of {STANDARD_IP_BYTES} bytes and none of that size"),
        small if of_standard == 0 => format!("{small} only small ones ({} bytes)", path.small_ip_bytes),
        small => format!(
            "{of_standard} such of {STANDARD_IP_BYTES} bytes, {small} only small ones ({} bytes)",
            path.small_ip_bytes
        ),
    };
    let evidence = format!(
        "{}: {able} flows carry packets of {} bytes and {carry}; they differ in nothing but the source port",
        path.name(),
        path.full_ip_bytes
    );
    let share = Share { part: lacking as u64, of: (lacking + able) as u64 };
    let finding = numbers(Finding::new("MTU-FLOWS-DIFFER", evidence), path, share)
        .tell(told::IP_BYTES, path.full_ip_bytes);
    Some(if of_standard > 0 { finding.tell(told::CARRIED_IP_BYTES, STANDARD_IP_BYTES) } else { finding })
}

fn lost(path: &LossPath) -> Option<Finding> {
    let (small, full) = summed(path);
    let own = Share { part: path.overflowed, of: 0 };
    let both = small.lost() + full.lost();
    // What found no room at the receiving socket arrived there.
    let lost = Share { part: both.part.saturating_sub(own.part), of: both.of };
    // What only certain marks lose is told of the marks.
    let kept = path.marks.iter().filter(|mark| lost_mark(path, mark).is_none());
    let of_kept = kept.fold(Share::default(), |sum, mark| sum + mark.counts.lost());
    if lost.bounds().0 < NOTABLE || (own.part == 0 && of_kept.bounds().0 < NOTABLE) {
        return None;
    }
    let evidence = format!("{}: {} datagrams lost", path.name(), in_words(lost));
    let by_size = format!(
        "small ({} bytes) {}, full size ({} bytes) {}",
        path.small_ip_bytes,
        in_words(small.lost()),
        path.full_ip_bytes,
        in_words(full.lost())
    );
    // Only where the intervals do not touch does size make a difference.
    let ((small_low, small_high), (full_low, _)) = (small.lost().bounds(), full.lost().bounds());
    let by_length = full_low > small_high && full_low > small_low * SIZE_FACTOR;
    let code = if by_length { "PATH-LOSS-LARGE" } else { "PATH-LOSS" };
    Some(numbers(Finding::new(code, format!("{evidence}; {by_size}")), path, lost))
}

fn order(path: &LossPath) -> Option<Finding> {
    let (mut small, full) = summed(path);
    small += full;
    let share = small.out_of_order();
    (share.bounds().0 >= NOTABLE * 5.0).then(|| {
        let evidence = format!(
            "{}: {} datagrams overtaken by later ones of their own flow",
            path.name(),
            in_words(share)
        );
        numbers(Finding::new("PATH-REORDERED", evidence), path, share)
    })
}

fn copies(path: &LossPath) -> Option<Finding> {
    let (mut small, full) = summed(path);
    small += full;
    let share = small.copies();
    (share.bounds().0 >= NOTABLE).then(|| {
        let evidence = format!("{}: {} datagrams arrived more than once", path.name(), in_words(share));
        numbers(Finding::new("PATH-DUPLICATED", evidence), path, share)
    })
}

/// A mark that fares clearly worse than best effort.
fn lost_mark(path: &LossPath, mark: &LossMark) -> Option<Finding> {
    let plain = path.marks.iter().find(|other| (other.dscp, other.ecn) == (0, 0))?;
    let (own, best) = (mark.counts.lost(), plain.counts.lost());
    if own.bounds().0 < NOTABLE || own.bounds().0 <= best.bounds().1 {
        return None;
    }
    let evidence = format!(
        "{}: with {} {} datagrams were lost, with best effort {}",
        path.name(),
        mark_name(mark.dscp, mark.ecn),
        in_words(own),
        in_words(best)
    );
    Some(
        numbers(Finding::new("DSCP-DROPPED", evidence), path, own)
            .with("dscp", mark.dscp)
            .with("ecn", mark.ecn),
    )
}

/// Marks that arrive as something else, most of the time.
fn changed_marks(path: &LossPath) -> Vec<Finding> {
    let mut code_points = Vec::new();
    let mut ecn = None;
    for mark in &path.marks {
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0u64, u64::saturating_add);
        let arrived = sum(&mut mark.arrived.iter().map(|came| came.count));
        let other =
            sum(&mut mark.arrived.iter().filter(|came| came.dscp != mark.dscp).map(|came| came.count));
        if let Some(most) =
            mark.arrived.iter().find(|came| came.dscp != mark.dscp).filter(|_| other > arrived / 2)
        {
            code_points.push(format!("{} as DSCP {}", mark_name(mark.dscp, 0), most.dscp));
        }
        let cleared = sum(&mut mark.arrived.iter().filter(|came| came.ecn == 0).map(|came| came.count));
        if mark.ecn != 0 && cleared > arrived / 2 {
            ecn = Some(Share { part: cleared, of: arrived });
        }
    }
    code_points.dedup();
    let mut found = Vec::new();
    if !code_points.is_empty() {
        let evidence = format!("{}: marks arrive changed: {}", path.name(), code_points.join(", "));
        let share = Share { part: code_points.len() as u64, of: path.marks.len() as u64 };
        found.push(numbers(Finding::new("DSCP-CHANGED", evidence), path, share));
    }
    if let Some(share) = ecn {
        let evidence = format!(
            "{}: {} of {} datagrams sent as ECN-capable arrived as not capable",
            path.name(),
            share.part,
            share.of
        );
        found.push(numbers(Finding::new("ECN-CLEARED", evidence), path, share));
    }
    found
}

fn refused_here(path: &LossPath) -> Option<Finding> {
    /// From here on it fails by the default criterion.
    const UNFIT: f64 = 0.001;
    let share = path.refused_here();
    let who = if path.direction == Direction::In { "the peer" } else { "this host" };
    let severity = if share.bounds().0 > UNFIT { Severity::Error } else { Severity::Warning };
    (share.part > 0).then(|| {
        let evidence = format!(
            "{}: {who} itself did not permit {} of {} datagrams, as a rule of its own firewall, its full table of connections or a prohibiting route does",
            path.name(),
            share.part,
            share.of
        );
        numbers(Finding::new("HOST-REFUSES", evidence), path, share).with_severity(severity)
    })
}

fn overflow(path: &LossPath) -> Option<Finding> {
    (path.overflowed > 0).then(|| {
        let evidence = format!(
            "{}: {} datagrams reached the receiving host and found no room in the socket",
            path.name(),
            path.overflowed
        );
        Finding::new("HOST-OVERFLOW", evidence).with_severity(Severity::Warning)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::merge::tests::run;
    use crate::loss::{MARKS, Packet};

    fn as_sent(packet: &Packet) -> Option<u8> {
        Some(MARKS[packet.mark].class())
    }

    fn codes(fate: impl Fn(u64, &Packet) -> Option<u8>) -> Vec<String> {
        findings(&run(fate)).into_iter().map(|finding| finding.code).collect()
    }

    /// A number that looks random and is the same in every run.
    fn mixed(number: u64) -> u64 {
        (number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 10_000
    }

    #[test]
    fn a_clean_path_shows_nothing() {
        assert_eq!(codes(|_, packet| as_sent(packet)), [""; 0]);
        // One in ten thousand is within what a sample of this size can show by chance.
        assert_eq!(codes(|number, packet| as_sent(packet).filter(|_| number != 777)), [""; 0]);
    }

    #[test]
    fn what_a_wrong_checksum_cost_is_no_full_socket() {
        // As run over a wire that turned a bit in one packet of a hundred: the socket counts 6, the host 22 for its checksum.
        let mut paths = run(|_, packet| as_sent(packet));
        paths[0].overflowed = 6;
        let (direction, other) = match paths[0].direction {
            Direction::Out => (Direction::Out, Direction::In),
            way => (way, Direction::Out),
        };
        damaged(&mut paths, other, 22);
        assert_eq!(paths[0].overflowed, 6);
        damaged(&mut paths, direction, 4);
        assert_eq!(paths[0].overflowed, 2);
        damaged(&mut paths, direction, 22);
        assert_eq!(paths[0].overflowed, 0);
    }

    #[test]
    fn random_loss_is_told_with_its_share_and_interval() {
        let found = findings(&run(|number, packet| as_sent(packet).filter(|_| mixed(number) >= 100)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, "PATH-LOSS");
        let share =
            found[0].values["part"].as_u64().unwrap() as f64 / found[0].values["of"].as_u64().unwrap() as f64;
        assert!((0.008..0.012).contains(&share), "{share}");
        assert!(found[0].evidence.contains("95 % interval"), "{}", found[0].evidence);
    }

    #[test]
    fn loss_that_grows_with_length_is_called_so() {
        let fate =
            |number: u64, packet: &Packet| as_sent(packet).filter(|_| !packet.full || mixed(number) >= 200);
        assert_eq!(codes(fate), ["PATH-LOSS-LARGE"]);
    }

    #[test]
    fn flows_that_go_a_longer_way_are_told_and_those_that_differ_a_little_are_not() {
        use crate::loss::merge::tests::run_late;
        let told = |late_ns: fn(&Packet) -> u64| {
            let found = findings(&run_late(|_, packet| as_sent(packet), late_ns));
            found.into_iter().map(|finding| (finding.code, finding.evidence)).collect::<Vec<_>>()
        };
        let found = told(|packet| if packet.flow % 4 == 1 { 20_000_000 } else { 0 });
        assert_eq!((found.len(), &*found[0].0), (1, "FLOWS-DIFFER"), "{found:?}");
        assert!(
            found[0].1.contains("of 16 UDP flows")
                && found[0].1.contains("4 take 20.00 ms longer than the fastest"),
            "{found:?}"
        );
        // Less of it is a matter of taste; and one flow that alone is faster than all others shows no second way.
        let severity = |late_ns: fn(&Packet) -> u64| {
            let found = findings(&run_late(|_, packet| as_sent(packet), late_ns));
            found.first().map(|finding| finding.severity)
        };
        assert_eq!(
            severity(|packet| if packet.flow % 4 == 1 { 4_000_000 } else { 0 }),
            Some(Severity::Warning)
        );
        assert_eq!(severity(|packet| if packet.flow > 0 { 20_000_000 } else { 0 }), None);
        // Late now and then, as behind a queue, and each a little later than the one before.
        assert_eq!(
            told(|packet| if packet.flow % 4 == 1 && packet.seq % 8 > 0 { 20_000_000 } else { 0 }),
            []
        );
        assert_eq!(told(|packet| u64::from(packet.flow) * 400_000), []);
    }

    #[test]
    fn what_a_host_refuses_itself_is_told_and_a_few_are_no_error() {
        let told = |failed: u64| {
            let mut paths = run(|_, packet| as_sent(packet));
            paths[0].flows[2].failed = failed;
            findings(&paths).into_iter().map(|finding| (finding.code, finding.severity)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), []);
        assert_eq!(told(1), [("HOST-REFUSES".to_owned(), Severity::Warning)]);
        assert_eq!(told(500), [("HOST-REFUSES".to_owned(), Severity::Error)]);
        // Whatever a peer says.
        assert_eq!(told(u64::MAX), [("HOST-REFUSES".to_owned(), Severity::Error)]);
    }

    #[test]
    fn a_dead_flow_and_one_without_large_packets_are_no_random_loss() {
        assert_eq!(codes(|_, packet| as_sent(packet).filter(|_| packet.flow != 3)), ["FLOWS-DIFFER"]);
        assert_eq!(
            codes(|_, packet| as_sent(packet).filter(|_| packet.flow < 4 || !packet.full)),
            ["MTU-FLOWS-DIFFER"]
        );
        // Some of those carry what Ethernet carries anyhow, or all, or none.
        let said = |standard_from: u32| {
            let large =
                move |packet: &Packet| packet.full || (packet.standard && packet.flow < standard_from);
            let found = findings(&run(move |_, packet| {
                as_sent(packet).filter(|_| packet.flow >= 4 || !large(packet))
            }));
            found[0].evidence.clone()
        };
        assert!(
            said(0).contains("12 flows carry packets of 9000 bytes and 4 such of 1500 bytes"),
            "{}",
            said(0)
        );
        assert!(said(2).contains("2 such of 1500 bytes, 2 only small ones"), "{}", said(2));
        assert!(said(4).contains("4 only small ones (88 bytes)"), "{}", said(4));
        // Where no flow carries them, the size is the path's, and the search for its MTU says which.
        assert_eq!(codes(|_, packet| as_sent(packet).filter(|_| !packet.full)), [""; 0]);
        assert_eq!(codes(|_, _| None), [""; 0]);
    }

    #[test]
    fn a_pair_that_is_silent_is_told_once_where_others_answer() {
        let whole = run(|_, packet| as_sent(packet));
        let mut paths = vec![whole[0].clone()];
        for direction in [Direction::Out, Direction::In] {
            let mut dead = whole[0].clone();
            dead.direction = direction;
            (dead.local_nic, dead.local_address) = ("eth9".into(), [10, 9, 0, 1].into());
            dead.flows = vec![LossFlow::default(); 8];
            paths.push(dead);
        }
        let found = findings(&paths);
        let codes: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["CHANNEL-DEAD"]);
        assert!(
            found[0].evidence.contains("eth9") && found[0].evidence.contains("either end asked"),
            "{}",
            found[0].evidence
        );
        // What each end heard tells which way is dead.
        let told = |out: Option<u64>, inward: Option<u64>| {
            let mut paths = paths.clone();
            (paths[1].questions_heard, paths[2].questions_heard) = (out, inward);
            findings(&paths)[0].evidence.clone()
        };
        assert!(told(Some(8), Some(0)).contains("out passes and in does not: 8 questions from here"));
        assert!(told(Some(0), Some(3)).contains("in passes and out does not: 3 questions of the peer"));
        assert!(told(Some(0), Some(0)).contains("neither end heard"));
        assert!(!told(None, Some(3)).contains("passes") && !told(Some(2), Some(3)).contains("passes"));
        // Where nothing answers, datagrams may be filtered as such.
        assert_eq!(findings(&paths[1..]), vec![]);
        // Where one end may begin and the other may not, nothing is dead.
        let mut begins_there = paths[2].clone();
        begins_there.flows = whole[0].flows.clone();
        assert_eq!(findings(&[paths[0].clone(), paths[1].clone(), begins_there]), vec![]);
    }

    #[test]
    fn loss_that_the_receiving_host_may_have_made_is_not_told_as_the_paths() {
        use pathproof_model::evidence::UdpCounts;
        use pathproof_model::{Evidence, NodeId, StepKind};
        let told = |node, drops| {
            let lost = Finding::new("PATH-LOSS", "12 of 100 datagrams lost");
            let lost = lost.tell(told::DIRECTION, Direction::Out).tell(told::PART, 12u64);
            let udp = UdpCounts { receive_buffer_drops: Some(drops), ..UdpCounts::still() };
            let mut step = Step::new(StepKind::Loss, "loss");
            step.evidence = vec![Evidence { node, udp: Some(udp), ..Evidence::default() }];
            let mut found = [lost];
            settle_by_host(&mut found, &step);
            (found[0].code.clone(), found[0].open.len())
        };
        assert_eq!(told(NodeId::SERVER, 12), ("HOST-OVERFLOW".into(), 1));
        assert_eq!(told(NodeId::SERVER, 11), ("PATH-LOSS".into(), 0));
        assert_eq!(told(NodeId::CLIENT, 12), ("PATH-LOSS".into(), 0), "it only sent");
    }

    #[test]
    fn marks_that_are_dropped_or_changed_are_named() {
        assert_eq!(codes(|_, packet| as_sent(packet).filter(|_| packet.mark != 2)), ["DSCP-DROPPED"]);
        let cleared = findings(&run(|_, _| Some(0)));
        let codes: Vec<&str> = cleared.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["DSCP-CHANGED", "ECN-CLEARED"]);
        assert!(cleared[0].evidence.contains("AF31 (DSCP 26) as DSCP 0"), "{}", cleared[0].evidence);
    }
}
