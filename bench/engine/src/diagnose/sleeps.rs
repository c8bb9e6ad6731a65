//! Connections that answer late after a silence: what comes first is lost and passes when it is sent again, or it waits until something has woken up.
//! Where that takes less silence than a round trip, every idle one is as long, and only what flows shows how short the path is.
//!
//! Refuses to say that it is lost where no kernel sent anything again, and that it waits where a host was busy or the times differ: then it was a host
//! that was late.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::judge::could_explain_median;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{End, Finding, LaneResult, LaneRole, NodeId, ResultDoc, Severity, Step};

use super::{FAR_NS, Rule, both_hosts, busy, hosts, ip_of, lost, planned, pressed, round_trips};
use crate::networks::ways_of_both_families;

/// The shortest retransmission timer of a kernel on a short path is 200 ms, of Linux as of Windows, and a loss probe of a single segment waits
/// for as long.
const TIMER_NS: u64 = 150_000_000;
/// One or two may be chance. Of all it is a third at least: whatever else crosses meanwhile (a keep-alive of the session's own connection, once a
/// second) wakes the path for the others.
const SEVERAL: usize = 3;
/// What wakes up without losing anything takes so long at least ...
const WAKING_NS: u64 = 15_000_000;
/// ... so many times as long as idle round trips ...
const TIMES: u64 = 4;
/// ... and each time as long, but for such a part.
const ALIKE: u64 = 4;
/// How short a path is that wakes up for every idle round trip is said by connections that send all the time: so many at least ...
const IN_USE: usize = 4;
/// ... of so many bytes each ...
const IN_USE_BYTES: u64 = 1 << 20;
/// ... each of which had a round trip of no more than such a part of the fastest idle one.
const PART: u64 = 8;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("PATH-SLEEPS"), code!("HOST-BUSY")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let told = sleeps(doc).or_else(|| wakes(doc)).or_else(|| throughout(doc));
    told.into_iter().chain(beside(doc)).collect()
}

fn sleeps(doc: &ResultDoc) -> Option<Finding> {
    // What a path loses in any case takes timers as well, and a host that stands still is late by itself.
    let (_, trips) = round_trips(doc).filter(|_| !lost(doc, None) && !hosts::stands_still(doc))?;
    let usual_ns = trips.p90;
    planned(doc).find_map(|step| {
        let records = step.detail.left_silent.as_deref()?;
        // On other networks a connection in use keeps the path awake.
        let tried = records.iter().filter(|record| record.subnet.is_none()).flat_map(|record| &record.tried);
        let answered: Vec<(u64, u64)> =
            tried.filter_map(|one| Some((one.answered_after_ns?, one.silent_ns))).collect();
        let is_late = |(after_ns, _): &&(u64, u64)| *after_ns >= usual_ns.saturating_add(TIMER_NS);
        let late: Vec<&(u64, u64)> = answered.iter().filter(is_late).collect();
        if late.len() < SEVERAL || late.len() * 3 < answered.len() {
            return None;
        }
        let again = sent_again(step);
        if again.is_some_and(|again| again < late.len() as u64) {
            return None;
        }
        let after_ns = late.iter().map(|(after_ns, _)| *after_ns).min()?;
        let silent_ns = late.iter().map(|(_, silent_ns)| *silent_ns).min()?;
        let counted =
            again.map_or_else(String::new, |again| format!(" and {again} segments had to be sent again"));
        let said = format!(
            "after a silence of {} and more {} of {} connections took {} and more to answer{counted}, where idle round trips take {}; what is \
             sent all the time is not lost",
            Nanoseconds(silent_ns),
            late.len(),
            answered.len(),
            Nanoseconds(after_ns),
            Nanoseconds(usual_ns)
        );
        // Whether a host was late by itself nobody can say where its kernel does not.
        if again.is_none() && pressed(step) {
            return Some(busy::left_open(step, &said, "whether the path sleeps", &[code!("PATH-SLEEPS")]));
        }
        let finding = Finding::new("PATH-SLEEPS", said).with("silent_ns", silent_ns);
        let finding = finding.with("answered_after_ns", after_ns);
        Some(finding.tell(told::PART, late.len() as u64).tell(told::OF, answered.len() as u64))
    })
}

/// What comes first after a silence is late, for as long each time, and nothing is lost.
fn wakes(doc: &ResultDoc) -> Option<Finding> {
    /// A busy host is late once or twice.
    const OFTEN: usize = 4;
    let (_, trips) = round_trips(doc).filter(|_| !lost(doc, None) && !hosts::stands_still(doc))?;
    let usual_ns = trips.p90;
    let least_ns = usual_ns.saturating_add(WAKING_NS).max(usual_ns.saturating_mul(TIMES));
    // A kernel would have sent it again by then.
    let late_ns = least_ns..usual_ns.saturating_add(TIMER_NS);
    planned(doc).filter(|step| !pressed(step)).find_map(|step| {
        let records = step.detail.left_silent.as_deref()?;
        let tried = records.iter().filter(|record| record.subnet.is_none()).flat_map(|record| &record.tried);
        let answered: Vec<u64> = tried.filter_map(|one| one.answered_after_ns).collect();
        let mut late: Vec<u64> = answered.iter().copied().filter(|ns| late_ns.contains(ns)).collect();
        late.sort_unstable();
        let middle = *late.get(late.len() / 2)?;
        let near = late.iter().filter(|ns| ns.abs_diff(middle) <= middle / ALIKE).count();
        let often = late.len() >= OFTEN && late.len() * 2 >= answered.len() && near * 4 >= late.len() * 3;
        // A segment that was lost is late by a timer or a probe.
        let again = sent_again(step);
        if !often || again.is_some_and(|again| again.saturating_mul(4) >= late.len() as u64) {
            return None;
        }
        let lossless = if again.is_some() { "next to nothing was lost meanwhile, and " } else { "" };
        let said = format!(
            "after a silence {} of {} connections took {} to {} to answer, half of them {} and more, where idle round trips take {}; {lossless}what flows does not \
             wait: something takes that long to wake up",
            late.len(),
            answered.len(),
            Nanoseconds(*late.first()?),
            Nanoseconds(*late.last()?),
            Nanoseconds(middle),
            Nanoseconds(usual_ns)
        );
        let finding = waits(said, middle);
        Some(finding.tell(told::PART, late.len() as u64).tell(told::OF, answered.len() as u64))
    })
}

/// That what comes first after a silence is late, and nothing is lost.
fn waits(said: String, answered_after_ns: u64) -> Finding {
    let mut finding = Finding::new("PATH-SLEEPS", said).with_severity(Severity::Warning);
    finding.meaning = "What comes first after a silence waits until something on the way, or a NIC of the two hosts, has woken up: heartbeats, leases and the first \
                       request after each pause take that long, and what is sent all the time runs at full rate."
        .into();
    finding.with("answered_after_ns", answered_after_ns)
}

/// Idle round trips that are all as long, between addresses between which every connection that sends all the time had one of a small part of that:
/// the path is short, and so quick to sleep that each idle round trip wakes it up. What the kernel had as the least is never too short.
pub(super) fn throughout(doc: &ResultDoc) -> Option<Finding> {
    let (step, trips) = round_trips(doc).filter(|(step, trips)| trips.min >= FAR_NS && !pressed(step))?;
    let half_ns = trips.p50 / 2;
    // Those of a path whose delay varies differ.
    let are_alike = trips.min >= half_ns && trips.p90.saturating_sub(trips.p50) <= trips.p50 / ALIKE;
    if !are_alike || lost(doc, None) || hosts::stands_still(doc) || !other_connections_wait(doc, half_ns) {
        return None;
    }
    // Where a program is late, or something on the way answers in the peer's place, the kernel's own round trips are short at idle as well.
    let mut idle = step.lanes.iter().filter_map(least_trip_ns).peekable();
    idle.peek()?;
    if idle.any(|ns| ns < half_ns) {
        return None;
    }
    let (longest_ns, connections) = in_use(doc, step)?;
    let is_short = longest_ns.saturating_mul(PART) <= trips.min;
    if !is_short || could_explain_median(step, &trips, trips.min - longest_ns) {
        return None;
    }
    let said = format!(
        "the fastest of {} idle round trips takes {}, half of them less than {}, and each of {} connections that sent all the time between the same addresses had \
         one of {} or less: the path is short, and something takes that long to wake up whenever nothing flows",
        trips.count,
        Nanoseconds(trips.min),
        Nanoseconds(trips.p50),
        connections,
        Nanoseconds(longest_ns)
    );
    Some(waits(said, trips.p50).with("round_trip_least_ns", longest_ns))
}

/// The longest of the least round trips of connections that sent all the time between the addresses of a step, and how many they were. One of several
/// members of a bundle may be long: then some of these connections are.
fn in_use(doc: &ResultDoc, step: &Step) -> Option<(u64, usize)> {
    let mut places = step.lanes.iter().filter_map(addresses);
    let place = places.next()?;
    if places.any(|other| other != place) {
        return None;
    }
    let streams = planned(doc).filter(|step| step.error.is_none() && step.detail.failover.is_none());
    let in_use = streams.flat_map(|step| &step.lanes).filter(|lane| {
        lane.role == LaneRole::Send && lane.bytes >= IN_USE_BYTES && addresses(lane) == Some(place)
    });
    let least: Vec<u64> = in_use.filter_map(least_trip_ns).collect();
    let longest_ns = least.iter().copied().max().filter(|_| least.len() >= IN_USE)?;
    Some((longest_ns, least.len()))
}

/// Whether whatever flows all the time between the addresses of the idle round trips is answered in half of their time: then it is no length of the path
/// that they take, whatever it is.
pub(super) fn flows_quicker(doc: &ResultDoc) -> bool {
    let idle = round_trips(doc).and_then(|(step, trips)| Some((in_use(doc, step)?.0, trips.min)));
    idle.is_some_and(|(longest_ns, idle_ns)| longest_ns <= idle_ns / 2)
}

/// Whether connections of their own wait as well: half of those that were left silent, or half of each lot that was opened at once.
fn other_connections_wait(doc: &ResultDoc, least_ns: u64) -> bool {
    let records = planned(doc).filter_map(|step| step.detail.left_silent.as_deref()).flatten();
    let tried = records.filter(|record| record.subnet.is_none()).flat_map(|record| &record.tried);
    let answered: Vec<u64> = tried.filter_map(|one| one.answered_after_ns).collect();
    if !answered.is_empty() {
        let late = answered.iter().filter(|ns| **ns >= least_ns).count();
        return late >= SEVERAL && late * 2 >= answered.len();
    }
    let lots = planned(doc).filter_map(|step| step.detail.opened_at_once.as_deref()).flatten();
    let lots = lots.filter(|lot| lot.subnet.is_none());
    let mut medians = lots.filter_map(|lot| lot.opened.median_ns).peekable();
    medians.peek().is_some() && medians.all(|ns| ns >= least_ns)
}

/// The least round trip that the kernel had over a lane's connection.
fn least_trip_ns(lane: &LaneResult) -> Option<u64> {
    lane.connection.as_ref()?.counts.rtt_min_ns
}

/// Between which addresses a lane goes, the client's first.
fn addresses(lane: &LaneResult) -> Option<(IpAddr, IpAddr)> {
    let (local, remote) = (ip_of(&lane.local)?, ip_of(&lane.remote)?);
    Some(match lane.end {
        End::Client => (local, remote),
        End::Server => (remote, local),
    })
}

/// Networks beside the session's: nothing goes over them while connections are left silent but one that is used every half second or so. Where that
/// itself wakes the path each time, nearly all its answers are late.
fn beside(doc: &ResultDoc) -> Vec<Finding> {
    let Some((_, trips)) = round_trips(doc).filter(|_| !lost(doc, None) && !hosts::stands_still(doc)) else {
        return vec![];
    };
    let ways =
        both_hosts(doc).map_or_else(Vec::new, |(client, server)| ways_of_both_families(client, server));
    let records = planned(doc)
        .flat_map(|step| step.detail.left_silent.iter().flatten().map(move |record| (step, record)));
    let told = records.filter_map(|(step, record)| {
        let subnet = record.subnet.as_ref()?;
        let used = &record.used_answered_ns;
        let is_late = |ns: &u64| *ns >= trips.p90.saturating_add(TIMER_NS);
        let late_used = used.iter().filter(|ns| is_late(ns)).count();
        // Where its answers take seconds there are few of them: those of the silent ones stand beside them.
        let silent = record.tried.iter().filter_map(|one| one.answered_after_ns);
        let took: Vec<u64> = if late_used < SEVERAL {
            used.iter().copied().chain(silent).collect()
        } else {
            used.clone()
        };
        let late: Vec<u64> = took.iter().copied().filter(is_late).collect();
        // A path that stands still now and then makes some of them late, and one that is long all of them, without a segment that is sent again.
        let again = sent_again(step)?;
        let most = |late: usize, of: usize| late > 0 && late * 3 >= of * 2;
        let sleeps = most(late_used, used.len()) && most(late.len(), took.len());
        if !sleeps || late.len() < SEVERAL || again < late.len() as u64 {
            return None;
        }
        let after_ns = late.iter().copied().min()?;
        let way = ways.iter().find(|way| way.subnet == *subnet);
        let nic = way.zip(doc.environment(NodeId::CLIENT)).and_then(|(way, host)| {
            host.nics.iter().find(|nic| nic.addresses.iter().any(|one| one.address == way.client))
        });
        let said = format!(
            "over {subnet}{}: of {} questions over a connection that was used twice a second{}, {} took {} and more to be answered, and {again} segments had \
             to be sent again, where idle round trips of the session take {}; what is sent all the time is not lost",
            nic.map_or_else(String::new, |nic| format!(" ({})", nic.name)),
            took.len(),
            if took.len() > used.len() { ", and over others after a silence" } else { "" },
            late.len(),
            Nanoseconds(after_ns),
            Nanoseconds(trips.p90)
        );
        let finding = Finding::new("PATH-SLEEPS", said).with("answered_after_ns", after_ns).with("subnet", subnet.as_str());
        let finding = finding.tell(told::PART, late.len() as u64).tell(told::OF, took.len() as u64);
        Some(match nic {
            Some(nic) => finding.tell(told::LOCAL_NIC, nic.name.clone()),
            None => finding,
        })
    });
    told.collect()
}

/// Segments that both hosts sent again during a step, where both say.
fn sent_again(step: &Step) -> Option<u64> {
    let of = |node| step.evidence(node).and_then(|one| one.tcp.as_ref()?.retransmitted);
    Some(of(NodeId::CLIENT)?.saturating_add(of(NodeId::SERVER)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::TcpCounts;
    use pathproof_model::{
        Direction, Evidence, HostLoad, LatencySummary, LeftSilent, SilentRecord, StepKind, Tool,
    };

    const MS: u64 = 1_000_000;

    fn trips(p90_us: u64) -> Step {
        let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
        step.summary.rtt_ns =
            Some(LatencySummary { count: 9000, p90: p90_us * 1000, ..LatencySummary::default() });
        step
    }

    fn silent(after_ms: [&[u64]; 2], again: Option<[u64; 2]>, pressed: bool) -> Step {
        let mut step = Step::new(StepKind::Ports, "ports");
        let record = |(direction, after): (Direction, &[u64])| SilentRecord {
            direction,
            subnet: None,
            tried: (after.iter().enumerate())
                .map(|(at, ms)| LeftSilent {
                    silent_ns: (1000 * MS) << at,
                    alive: true,
                    answered_after_ns: Some(ms * MS),
                })
                .collect(),
            used_answered_ns: vec![],
        };
        let ways = [Direction::Out, Direction::In].into_iter().zip(after_ms);
        step.detail.left_silent = Some(ways.map(record).collect());
        let counted = |(node, again): (NodeId, Option<u64>)| {
            let counts = TcpCounts { retransmitted: again, ..TcpCounts::still() };
            let pressure_some_ns = Some(if pressed { 900 } else { 10 });
            let host = HostLoad { elapsed_ns: 1000, pressure_some_ns, ..HostLoad::default() };
            Evidence { node, tcp: Some(counts), host: Some(host), ..Evidence::default() }
        };
        let again = again.map_or([None, None], |counts| counts.map(Some));
        step.evidence = [NodeId::CLIENT, NodeId::SERVER].into_iter().zip(again).map(counted).collect();
        step
    }

    fn told(steps: Vec<Step>) -> Vec<Finding> {
        findings(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn what_wakes_up_by_a_timer_is_told_with_what_the_kernels_sent_again() {
        // As counted over a wire that loses what comes first after 300 ms: four and three sent again.
        let late: [&[u64]; 2] = [&[203, 204, 203, 207], &[204, 1, 203, 204]];
        let found = told(vec![silent(late, Some([4, 3]), false), trips(60)]);
        assert_eq!((found.len(), &*found[0].code), (1, "PATH-SLEEPS"));
        for part in
            ["silence of 1.00 s and more 7 of 8", "took 203.00 ms", "7 segments", "round trips take 60.0"]
        {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        // The hosts were late, as no kernel sent anything again; or nobody counted and a host was pressed.
        assert_eq!(told(vec![silent(late, Some([4, 2]), false), trips(60)]), []);
        let open = told(vec![silent(late, None, true), trips(60)]);
        assert_eq!((open.len(), open[0].code.as_str()), (1, "HOST-BUSY"));
        assert!(open[0].evidence.starts_with("this host was busy (PSI 90 %): after a silence"), "{open:?}");
        assert_eq!(told(vec![silent(late, None, false), trips(60)]).len(), 1);
        // A path that is that long, and nothing to hold it against.
        assert_eq!(told(vec![silent(late, Some([4, 3]), false), trips(205_000)]), []);
        assert_eq!(told(vec![silent(late, Some([4, 3]), false)]), []);
    }

    #[test]
    fn what_takes_as_long_each_time_and_loses_nothing_wakes_up() {
        // As a path has it that needs 25 ms each way after 20 ms of silence.
        let late: [&[u64]; 2] = [&[50, 51, 50, 52], &[51, 50, 26, 50]];
        let found = told(vec![silent(late, Some([0, 0]), false), trips(90)]);
        assert_eq!((found.len(), &*found[0].code, found[0].severity), (1, "PATH-SLEEPS", Severity::Warning));
        for part in ["8 of 8 connections", "26.00 ms to 52.00 ms", "half of them 50.00 ms", "take 90.0"] {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        assert!(!found[0].meaning.contains("lost"), "{}", found[0].meaning);
        assert!(found[0].evidence.contains("next to nothing was lost"), "{}", found[0].evidence);
        let uncounted = told(vec![silent(late, None, false), trips(90)]);
        assert!(uncounted.len() == 1 && !uncounted[0].evidence.contains("lost"), "{uncounted:?}");
        // A busy host, a path that is nearly that long, segments that were lost, and nothing to hold it against.
        assert_eq!(told(vec![silent(late, Some([0, 0]), true), trips(90)]), []);
        assert_eq!(told(vec![silent(late, Some([0, 0]), false), trips(20_000)]), []);
        assert_eq!(told(vec![silent(late, Some([1, 1]), false), trips(90)]), []);
        assert_eq!(told(vec![silent(late, Some([0, 0]), false)]), []);
        // A few of them, some milliseconds, and times that differ.
        let some = |late: [&[u64]; 2]| told(vec![silent(late, Some([0, 0]), false), trips(90)]).len();
        assert_eq!(some([&[50, 1, 1, 51], &[1, 1, 50, 1]]), 0);
        assert_eq!(some([&[11, 12, 11, 12], &[11, 12, 11, 12]]), 0);
        assert_eq!(some([&[17, 30, 52, 90], &[20, 41, 70, 120]]), 0);
        // So late that a kernel would have sent something again: it was a host.
        assert_eq!(some([&[203, 204, 203, 207], &[204, 203, 203, 204]]), 0);
        // A keep-alive of the session woke the path for some.
        assert_eq!(some([&[50, 1, 51, 51], &[1, 50, 50, 1]]), 1);
    }

    /// A path that each idle round trip wakes up: what the connections that send have as the least, and the one that only asks.
    fn asleep(sending_us: &[u64], idle_us: u64) -> Vec<Step> {
        use pathproof_model::evidence::ConnectionCounts;
        use pathproof_model::{Connection, Waited};
        let lane = |end: End, role, us: u64| {
            let (own, other) = ("10.9.0.1:40000".to_owned(), "10.9.0.2:7797".to_owned());
            let (local, remote) = if end == End::Client { (own, other) } else { (other, own) };
            let counts = ConnectionCounts { rtt_min_ns: Some(us * 1000), ..ConnectionCounts::still() };
            LaneResult {
                end,
                role,
                local: Some(local),
                remote: Some(remote),
                bytes: 32 << 20,
                scheduled: Some(Waited { waited_ns: 14_670_000, of_ns: 4_860_000_000 }),
                connection: Some(Connection { counts, ..Connection::default() }),
                ..LaneResult::default()
            }
        };
        let mut asked = Step::new(StepKind::Pingpong, "tcp ping-pong, 3 lanes");
        let us = |us: u64| us * 1000;
        asked.summary.rtt_ns = Some(LatencySummary {
            count: 270,
            min: us(44_957),
            p50: us(50_397),
            p90: us(50_856),
            max: us(63_603),
            ..LatencySummary::default()
        });
        asked.lanes =
            vec![lane(End::Client, LaneRole::Both, idle_us), lane(End::Server, LaneRole::Both, idle_us)];
        let mut stream = Step::new(StepKind::Stream, "tcp streams");
        let sending = (0..).zip(sending_us).map(|(at, us)| {
            let end = if at % 2 == 0 { End::Client } else { End::Server };
            lane(end, LaneRole::Send, *us)
        });
        // Who only receives has few round trips of its own, and they say nothing.
        stream.lanes = sending.chain([lane(End::Client, LaneRole::Receive, 44_000)]).collect();
        let woken: [&[u64]; 2] = [&[48, 49, 48, 49], &[50, 50, 50, 50]];
        vec![silent(woken, Some([0, 0]), false), asked, stream]
    }

    #[test]
    fn a_path_that_each_idle_round_trip_wakes_up_is_told_by_what_flows() {
        // As counted over a wire that needs 25 ms each way after 20 ms of silence.
        let sending = [30, 21, 77, 318, 152, 22];
        let found = told(asleep(&sending, 36_351));
        assert_eq!((found.len(), &*found[0].code, found[0].severity), (1, "PATH-SLEEPS", Severity::Warning));
        for part in
            ["fastest of 270 idle round trips takes 44.96 ms", "each of 6 connections", "318.0 µs or less"]
        {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        let path_far = |steps: Vec<Step>| {
            let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            let found = super::super::all(super::super::delays::RULES, &doc);
            found.iter().any(|one| one.is(code!("PATH-FAR")))
        };
        assert!(!path_far(asleep(&sending, 36_351)));
        // A path that is that long, also for one of the connections that send: a member of a bundle; and too few of them.
        let far: [&[u64]; 3] = [&[44_900; 6], &[30, 21, 77, 318, 44_900, 22], &[30, 21, 77]];
        for sending in far {
            assert_eq!(told(asleep(sending, 36_351)), [], "{sending:?}");
            assert!(path_far(asleep(sending, 36_351)), "{sending:?}");
        }
        // A host that was busy leaves open why, and the path is no longer for that.
        let mut busy = asleep(&sending, 36_351);
        for step in &mut busy {
            let host = HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(900), ..HostLoad::default() };
            step.evidence.push(Evidence { host: Some(host), ..Evidence::default() });
        }
        assert!(told(busy.clone()).is_empty() && !path_far(busy));
        // A program of the peer's that is late, or a device that answers in its place: the kernels are quick.
        assert_eq!(told(asleep(&sending, 90)), []);
    }

    #[test]
    fn idle_round_trips_of_another_place_or_of_one_connection_among_quick_ones_do_not_sleep() {
        let sending = [30, 21, 77, 318];
        let changed = |change: &dyn Fn(&mut Vec<Step>)| {
            let mut steps = asleep(&sending, 36_351);
            change(&mut steps);
            told(steps).len()
        };
        assert_eq!(changed(&|_| ()), 1);
        // The streams went to another address of the peer.
        assert_eq!(changed(&|steps| steps[2].lanes[0].remote = Some("10.9.1.2:7797".into())), 0);
        // Other connections are as quick after a silence.
        assert_eq!(changed(&|steps| steps[0] = silent([&[1; 4], &[1; 4]], Some([0, 0]), false)), 0);
        // Nobody left one silent: those that were opened at once tell, where there are some.
        let opened = |median_ms: u64| {
            changed(&|steps| {
                use pathproof_model::{OpenedAtOnce, OpenedRecord};
                let median_ns = Some(median_ms * MS);
                let opened = OpenedAtOnce { opened: 32, median_ns, ..OpenedAtOnce::default() };
                steps[0].detail.left_silent = None;
                steps[0].detail.opened_at_once = Some(vec![OpenedRecord::of_session(Direction::Out, opened)]);
            })
        };
        assert_eq!((opened(44), opened(1)), (1, 0));
        assert_eq!(changed(&|steps| steps[0].detail.left_silent = None), 0);
        // A delay that varies, a busy host, and threads of which nobody knows how long they waited.
        let trips = |steps: &mut Vec<Step>, change: fn(&mut LatencySummary)| {
            change(steps[1].summary.rtt_ns.as_mut().unwrap());
        };
        assert_eq!(changed(&|steps| trips(steps, |trips| trips.min = 14_860_000)), 0);
        assert_eq!(changed(&|steps| trips(steps, |trips| trips.p90 = 66_000_000)), 0);
        let pressed = silent([&[], &[]], None, true).evidence;
        assert_eq!(changed(&|steps| steps[1].evidence = pressed.clone()), 0);
        assert_eq!(changed(&|steps| steps[1].lanes[1].scheduled = None), 0);
    }

    #[test]
    fn a_few_that_are_late_are_chance() {
        let some = |late: [&[u64]; 2]| told(vec![silent(late, Some([9, 9]), false), trips(60)]).len();
        assert_eq!(some([&[1, 1, 203, 204], &[1, 1, 1, 1]]), 0);
        // As run: what the session's own connection woke answered at once.
        assert_eq!(some([&[3, 212, 1, 206], &[1, 1, 1, 201]]), 1);
        // What sleeps after three seconds.
        assert_eq!(some([&[1, 1, 203, 204], &[1, 1, 204, 203]]), 1);
        assert_eq!(some([&[1, 1, 1, 1], &[2, 1, 1, 60]]), 0);
    }

    #[test]
    fn a_second_network_whose_answers_take_seconds_is_told_by_few_of_them_and_those_after_a_silence() {
        let told = |used_ms: &[u64], after_ms: &[u64]| {
            let mut step = silent([&[1, 1, 1, 1], &[1, 1, 1, 1]], Some([5, 3]), false);
            let tried = after_ms.iter().map(|ms| LeftSilent {
                silent_ns: 500 * MS,
                alive: true,
                answered_after_ns: Some(ms * MS),
            });
            step.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: Some("10.9.1.0/24".into()),
                tried: tried.collect(),
                used_answered_ns: used_ms.iter().map(|ms| ms * MS).collect(),
            }]);
            told(vec![step, trips(60)])
        };
        // Answers that a kernel waits up to 3 s for, because its handshake was late.
        let found = told(&[2950], &[410, 2, 408, 407]);
        assert_eq!((found.len(), &*found[0].code), (1, "PATH-SLEEPS"));
        assert!(found[0].evidence.contains("of 5 questions"), "{}", found[0].evidence);
        // The one in use is quick, as where the silence of half a second is forgiven; one that was late once; most after a silence were quick.
        for (used_ms, after_ms) in [
            (&[1, 1, 1, 1][..], &[410, 405, 408, 407][..]),
            (&[1, 1, 650, 1], &[410, 405, 408, 407]),
            (&[2950], &[2, 2, 408, 1]),
            (&[], &[410, 405, 408, 407]),
        ] {
            assert_eq!(told(used_ms, after_ms), [], "{used_ms:?} {after_ms:?}");
        }
    }

    #[test]
    fn a_second_network_that_sleeps_is_told_with_its_nic_whatever_its_family() {
        use pathproof_model::{Environment, Nic, NicAddress, Node};
        let nic_of = |subnet: &str| {
            let mut step = silent([&[1; 4], &[1; 4]], Some([5, 4]), false);
            step.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: Some(subnet.into()),
                tried: vec![],
                used_answered_ns: vec![412 * MS, 408 * MS, 411 * MS, 409 * MS],
            }]);
            let at = |address: String, prefix_len: u8| NicAddress {
                address: address.parse().unwrap(),
                prefix_len,
            };
            let host = |last: u8| {
                let addresses = vec![at(format!("10.9.1.{last}"), 24), at(format!("fd09:1::{last}"), 64)];
                let nic = Nic { name: format!("e{last}"), addresses, ..Nic::default() };
                Some(Environment { nics: vec![nic], ..Environment::default() })
            };
            let nodes = vec![Node::here(host(1)), Node::agent("b", host(2))];
            let steps = vec![step, trips(60)];
            let found = findings(&ResultDoc { steps, nodes, ..ResultDoc::new(Tool::default(), "") });
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].told(told::LOCAL_NIC)
        };
        for subnet in ["10.9.1.0/24", "fd09:1::/64"] {
            assert_eq!(nic_of(subnet).as_deref(), Some("e1"), "{subnet}");
        }
    }

    #[test]
    fn a_second_network_that_sleeps_is_told_by_the_connection_that_was_used_there() {
        let told = |took_ms: &[u64], again: Option<[u64; 2]>| {
            let mut step = silent([&[1, 1, 1, 1], &[1, 1, 1, 1]], again, false);
            step.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: Some("10.9.1.0/24".into()),
                tried: vec![],
                used_answered_ns: took_ms.iter().map(|ms| ms * MS).collect(),
            }]);
            told(vec![step, trips(60)])
        };
        let found = told(&[412, 408, 3, 411, 409], Some([5, 4]));
        assert_eq!((found.len(), &*found[0].code), (1, "PATH-SLEEPS"));
        assert!(found[0].evidence.contains("over 10.9.1.0/24: of 5 questions"), "{}", found[0].evidence);
        // One that stands still now and then; one that is that long, or a host that is late; nobody counted; an awake one.
        for (took_ms, again) in [
            (&[1, 1, 700, 1, 650, 640][..], Some([9, 9])),
            (&[412, 408, 411, 409], Some([1, 1])),
            (&[412, 408, 411, 409], None),
            (&[1, 1, 2, 1], Some([0, 0])),
            (&[], Some([9, 9])),
        ] {
            assert_eq!(told(took_ms, again), [], "{took_ms:?}");
        }
    }
}
