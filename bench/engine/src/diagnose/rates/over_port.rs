//! Whether each port that a role needs carries what other ports carry: what limits a rate may look at the port.
//!
//! A stream over that port that carried little is held against one like it over the session's own port, and tried once more: only what comes again
//! beside that is said to be the port's. It accuses none where hosts were busy, and says that it is open then, but where the port carried next to
//! nothing twice: no host is as busy as that and quick in between. It refuses to speak where packets are lost on the path as it is. What is lost over that port alone is told as well, and a busy host does not lose segments on the way.

use pathproof_model::code;
use pathproof_model::judge::repeats::{Repeats, lost_segments};
use pathproof_model::judge::still_grew;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    AnsweredBy, Direction, ErrorKind, Finding, FollowUp, LaneRole, NodeId, Port, ResultDoc, Share, Step,
    TrafficSpec,
};

use super::super::busy;
use super::again::{is_unbounded, short, short_streams_tell, was_busy};
use super::{Carried, between, is_looped, lanes, lost, streams};

/// Of what the other port carried: less is no chance between two streams that are alike.
const UNLIKE: f64 = 0.35;
/// Of what the other port carried: less is nothing, and twice nothing around one stream that is carried is no busy host's doing.
const NOTHING_SHARE: f64 = 0.01;
/// Who sends so much again is thrown away rather than queued.
const THROWN_SHARE: f64 = 0.05;
/// Of what goes over a port at least so much must be lost, ...
const LOSSY_SHARE: f64 = 0.005;
/// ... and so many times as much as over the session's own.
const LOSSY_TIMES: f64 = 5.0;

/// The next short stream, where there is one to be asked: port by port, each way.
pub fn next(doc: &ResultDoc) -> Option<TrafficSpec> {
    if doc.is_against_itself() || !short_streams_tell(doc) {
        return None;
    }
    asked(doc).find_map(|one| one.next())
}

/// Ports of which less than that is known: streams are still to be made.
pub fn left(doc: &ResultDoc) -> Vec<Port> {
    let mut left: Vec<Port> = asked(doc).filter(|one| one.next().is_some()).map(|one| one.port).collect();
    left.dedup();
    left
}

/// What the streams over them come to, one way.
pub(super) fn findings(doc: &ResultDoc, way: Direction) -> Vec<Finding> {
    ports(doc).into_iter().filter_map(|port| Asked::of(doc, way, port)?.finding(doc)).collect()
}

/// All that there is to know, in the order in which it is asked.
fn asked(doc: &ResultDoc) -> impl Iterator<Item = Asked<'_>> {
    let ways = |port: Port| [Direction::Out, Direction::In].map(|way| (port, way));
    let all = ports(doc).into_iter().flat_map(ways);
    all.filter_map(move |(port, way)| Asked::of(doc, way, port))
}

/// The ports over which roles open connections to the other end, where that end held them itself.
fn ports(doc: &ResultDoc) -> Vec<Port> {
    let records = doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
    let held = records.filter(|record| {
        record.by == Some(AnsweredBy::Agent)
            && record.direction == Direction::Out
            && !record.port.is_udp()
            && !record.needed_by.is_empty()
    });
    let mut ports: Vec<Port> = vec![];
    for record in held {
        if !ports.contains(&record.port) {
            ports.push(record.port);
        }
    }
    ports
}

/// The streams that speak of one of them, one way.
struct Asked<'a> {
    way: Direction,
    port: Port,
    /// A stream of the plan over the session's own port.
    planned: Carried<'a>,
    /// Short ones over the port of the role, in their order.
    over: Vec<&'a Step>,
    /// And over the session's own.
    beside: Vec<&'a Step>,
}

impl<'a> Asked<'a> {
    fn of(doc: &'a ResultDoc, way: Direction, port: Port) -> Option<Asked<'a>> {
        let plain = streams(doc, way)
            .filter(|(step, _)| between(step).is_some() && !is_looped(step) && is_unbounded(step));
        let planned = plain.min_by_key(|(step, _)| lanes(step))?;
        if lost(doc, Some(way)) {
            return None;
        }
        let to = |step: &Step| step.spec.as_ref().and_then(|spec| spec.traffic()).and_then(|spec| spec.port);
        let is_asked = |step: &&Step| step.follows_up == Some(FollowUp::Port) && step.direction == Some(way);
        // What was asked of another port came before or after all of it.
        let from_first = doc.steps.iter().filter(is_asked).skip_while(|step| to(step) != Some(port));
        let own = from_first.take_while(|step| to(step).is_none_or(|to| to == port));
        let (over, beside) = own.partition(|step| to(step).is_some());
        Some(Asked { way, port, planned, over, beside })
    }

    fn next(&self) -> Option<TrafficSpec> {
        let to = match (&self.over[..], &self.beside[..]) {
            ([], []) => Some(self.port),
            ([first], [])
                if is_slower(first, Some(self.planned.1)) || self.loses(first) || is_broken(first) =>
            {
                None
            }
            ([first], [own]) if is_slower(first, rate(own)) || self.loses_more(first, own) => Some(self.port),
            ([first], [own]) if is_broken(first) && rate(own).is_some() => Some(self.port),
            _ => return None,
        };
        Some(TrafficSpec { lanes: 1, port: to, ..short(self.planned)? })
    }

    fn finding(&self, doc: &ResultDoc) -> Option<Finding> {
        let ([first, again], [own]) = (&self.over[..], &self.beside[..]) else { return None };
        if let Some(broken) = self.broken(doc, first, again, own) {
            return Some(broken);
        }
        // What a busy host leaves open of a rate it does not of what is lost.
        let slow = self.slow(doc, first, again, own);
        let sure = slow.as_ref().is_some_and(|finding| finding.is(code!("PORT-SLOW")));
        if sure { slow } else { self.lossy(doc, first, again, own).or(slow) }
    }

    fn slow(&self, doc: &ResultDoc, first: &Step, again: &Step, own: &Step) -> Option<Finding> {
        let (one, two, beside) = (rate(first)?, rate(again)?, rate(own)?);
        if !crawls(one, beside) || !crawls(two, beside) {
            return None;
        }
        let most = one.max(two);
        let thrown = Repeats::of(again).map(Repeats::share).filter(|share| *share >= THROWN_SHARE);
        let nothing = is_nothing(one, beside) && is_nothing(two, beside);
        let why = if nothing {
            "the connection opens, and what it carries is lost"
        } else {
            "what is above some rate is thrown away"
        };
        let how = thrown.map_or_else(String::new, |share| {
            format!(", and {:.0} % of what it sent was sent again: {why}", share * 100.0)
        });
        let said = format!(
            "{}: over {} ({}) one connection carried {} and, tried again, {}, and over the session's own port in between {}, between the same two \
             addresses{how}",
            self.way.name(),
            self.port.name(),
            self.port.service(),
            BitsPerSecond(one),
            BitsPerSecond(two),
            BitsPerSecond(beside)
        );
        let busy = [first, again, own].into_iter().find(|step| was_busy(step));
        if let Some(step) = busy.filter(|_| !nothing) {
            let what = format!("whether {} is slow", self.port.name());
            let open = busy::left_open(step, &said, &what, &[code!("PORT-SLOW")]);
            return Some(open.tell(told::DIRECTION, self.way));
        }
        let finding = self.told(doc, Finding::new("PORT-SLOW", said));
        Some(finding.with("bits_per_s", most).with("beside_bits_per_s", beside))
    }

    /// Connections open over the port, and a stream over one is broken off each time, while one over the session's own is carried.
    fn broken(&self, doc: &ResultDoc, first: &Step, again: &Step, own: &Step) -> Option<Finding> {
        let (one, two, beside) = (why_broken(first)?, why_broken(again)?, rate(own)?);
        let said = format!(
            "{}: over {} ({}) a connection opened and did not carry a stream to its end ({one}), nor did another ({two}), and over the session's own \
             port in between one carried {}, between the same two addresses",
            self.way.name(),
            self.port.name(),
            self.port.service(),
            BitsPerSecond(beside)
        );
        if let Some(step) = [first, again].into_iter().find(|step| was_busy(step)) {
            let what = format!("whether {} carries anything", self.port.name());
            let open = busy::left_open(step, &said, &what, &[code!("PORT-SLOW")]);
            return Some(open.tell(told::DIRECTION, self.way));
        }
        let finding = self.told(doc, Finding::new("PORT-SLOW", said));
        Some(finding.with("bits_per_s", 0u64).with("beside_bits_per_s", beside))
    }

    /// Over the port segments are lost all the time, and over the session's own between the same two addresses next to none are.
    fn lossy(&self, doc: &ResultDoc, first: &Step, again: &Step, own: &Step) -> Option<Finding> {
        if !self.loses_more(first, own) || !self.loses_more(again, own) {
            return None;
        }
        let (one, two, beside) = (self.lost_of(first), self.lost_of(again), self.lost_of(own));
        let said = format!(
            "{}: over {} ({}) {} of {} segments of one connection were lost and, tried again, {} of {}, and over the session's own port in between \
             {} of {}, between the same two addresses",
            self.way.name(),
            self.port.name(),
            self.port.service(),
            one.part,
            one.of,
            two.part,
            two.of,
            beside.part,
            beside.of
        );
        let finding = self.told(doc, Finding::new("PORT-LOSSY", said));
        let lost = one + two;
        Some(finding.with("lost", lost.part).with("of", lost.of).with("beside_lost", beside.part))
    }

    /// With what a program reads of either: the port, who needs it, and the direction.
    fn told(&self, doc: &ResultDoc, finding: Finding) -> Finding {
        let known = doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
        let needed: Vec<&str> = known
            .filter(|record| record.port == self.port && record.direction == Direction::Out)
            .flat_map(|record| record.needed_by.iter().map(|role| role.name()))
            .collect();
        let finding = finding.with("port", self.port.name()).with("roles", needed);
        finding.tell(told::DIRECTION, self.way)
    }

    fn lost_of(&self, step: &Step) -> Share {
        lost_segments(step, if self.way == Direction::Out { NodeId::CLIENT } else { NodeId::SERVER })
    }

    /// Whether a stream surely lost segments, and not in one moment in which it filled a queue.
    fn loses(&self, step: &Step) -> bool {
        step.error.is_none() && self.lost_of(step).bounds().0 >= LOSSY_SHARE && is_lost_all_along(step)
    }

    /// Whether it did, and lost surely many times as much as the one beside it.
    fn loses_more(&self, step: &Step, own: &Step) -> bool {
        own.error.is_none()
            && self.loses(step)
            && self.lost_of(step).bounds().0 >= self.lost_of(own).bounds().1 * LOSSY_TIMES
    }
}

/// Whether segments were sent again in at least half of the slices of a stream: a queue that it filled once is a slice or two.
fn is_lost_all_along(step: &Step) -> bool {
    let mut sending = step.series.iter().filter(|series| series.role == LaneRole::Send);
    sending.any(|series| {
        let again = series.retransmits.iter().filter(|count| count.is_some_and(|count| count > 0)).count();
        again > 0 && again * 2 >= series.retransmits.len()
    })
}

/// In words why a stream was broken off by what lies between the ends; none where it ran to its end, or an end itself ended it.
fn why_broken(step: &Step) -> Option<&str> {
    let error =
        step.error.as_ref().filter(|why| matches!(why.kind, ErrorKind::PeerLost | ErrorKind::Timeout))?;
    (!error.tells_of_changed_bytes()).then_some(error.message.as_str())
}

fn is_broken(step: &Step) -> bool {
    why_broken(step).is_some()
}

/// What a short stream carried, where that says something of its way or of busy hosts.
fn rate(step: &Step) -> Option<u64> {
    let whole = step.error.is_none() && is_unbounded(step) && !still_grew(step);
    step.summary.goodput_bits_per_s.filter(|_| whole)
}

/// Whether a stream carried far less than that, where both are known.
fn is_slower(one: &Step, other: Option<u64>) -> bool {
    rate(one).zip(other).is_some_and(|(one, other)| crawls(one, other))
}

fn crawls(one: u64, other: u64) -> bool {
    other > 0 && one as f64 <= other as f64 * UNLIKE
}

fn is_nothing(one: u64, other: u64) -> bool {
    other > 0 && one as f64 <= other as f64 * NOTHING_SHARE
}

#[cfg(test)]
mod tests {
    use super::super::tests::stream;
    use super::*;
    use pathproof_model::series::Series;
    use pathproof_model::{
        Evidence, HostLoad, PortAnswer, PortRecord, Role, Severity, StepError, StepKind, Tool,
    };

    fn finding(doc: &ResultDoc, way: Direction) -> Option<Finding> {
        findings(doc, way).into_iter().next()
    }

    /// Streams of a plan of 286 Mbit/s, and those of which the port (`true`) and the session's own port are asked after them.
    fn document(by: AnsweredBy, short: &[(bool, u64)]) -> ResultDoc {
        let mut ports = Step::new(StepKind::Ports, "ports");
        ports.detail.ports = Some(vec![PortRecord {
            port: Port::Smb,
            name: Port::Smb.name(),
            direction: Direction::Out,
            answer: PortAnswer::Answered,
            by: Some(by),
            reason: None,
            needed_by: vec![Role::Smb],
        }]);
        let planned = [ports, stream(286, 1, 1000), stream(286, 4, 1000)];
        let asked = short.iter().map(|(over, mbit)| {
            let mut step = stream(*mbit, 1, 1000);
            step.follows_up = Some(FollowUp::Port);
            if let Some(traffic) = step.spec.as_mut().and_then(|spec| spec.traffic_mut()) {
                traffic.port = over.then_some(Port::Smb);
            }
            step
        });
        ResultDoc { steps: planned.into_iter().chain(asked).collect(), ..ResultDoc::new(Tool::default(), "") }
    }

    fn asked(short: &[(bool, u64)]) -> Option<(u32, Option<Port>)> {
        next(&document(AnsweredBy::Agent, short)).map(|spec| (spec.lanes, spec.port))
    }

    #[test]
    fn a_port_that_carries_what_the_others_do_is_asked_once() {
        assert_eq!(asked(&[]), Some((1, Some(Port::Smb))));
        assert_eq!(asked(&[(true, 270)]), None);
        assert_eq!(finding(&document(AnsweredBy::Agent, &[(true, 270)]), Direction::Out), None);
        // What a service holds is not ours to load.
        assert_eq!(next(&document(AnsweredBy::Service, &[])), None);
    }

    #[test]
    fn a_slow_port_is_held_against_the_sessions_own_and_tried_again() {
        assert_eq!(asked(&[(true, 12)]), Some((1, None)));
        assert_eq!(asked(&[(true, 12), (false, 280)]), Some((1, Some(Port::Smb))));
        assert_eq!(asked(&[(true, 12), (false, 280), (true, 14)]), None);
        let found =
            finding(&document(AnsweredBy::Agent, &[(true, 12), (false, 280), (true, 14)]), Direction::Out);
        let found = found.unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("PORT-SLOW", Severity::Error));
        assert!(found.evidence.contains("445/tcp (SMB)"), "{}", found.evidence);
    }

    /// The same where hosts move guests as well, over 6600.
    fn with_migrations(short: &[(Option<Port>, u64)]) -> ResultDoc {
        let rates: Vec<(bool, u64)> = short.iter().map(|(to, mbit)| (to.is_some(), *mbit)).collect();
        let mut doc = document(AnsweredBy::Agent, &rates);
        for (step, (to, _)) in doc.steps.iter_mut().skip(3).zip(short) {
            if let Some(traffic) = step.spec.as_mut().and_then(|spec| spec.traffic_mut()) {
                traffic.port = *to;
            }
        }
        if let Some(records) = doc.steps[0].detail.ports.as_mut() {
            let (port, first) = (Port::LiveMigration, records[0].clone());
            let needed_by = vec![Role::Hyperv];
            records.push(PortRecord { port, name: port.name(), needed_by, ..first });
        }
        doc
    }

    #[test]
    fn each_port_that_a_role_needs_is_asked_and_told_of_by_itself() {
        let (smb, migration) = (Some(Port::Smb), Some(Port::LiveMigration));
        let next_of = |short: &[(Option<Port>, u64)]| next(&with_migrations(short)).map(|spec| spec.port);
        assert_eq!(next_of(&[]), Some(smb));
        let mut short = vec![(smb, 270)];
        for (expected, mbit) in [(migration, 19), (None, 280), (migration, 18)] {
            assert_eq!(next_of(&short), Some(expected), "{short:?}");
            assert_eq!(left(&with_migrations(&short)), [Port::LiveMigration]);
            short.push((expected, mbit));
        }
        assert_eq!(next_of(&short), None);
        assert_eq!(left(&with_migrations(&short)), []);
        let found = findings(&with_migrations(&short), Direction::Out);
        assert_eq!(found.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["PORT-SLOW"]);
        assert!(found[0].evidence.contains("over 6600/tcp"), "{}", found[0].evidence);
        assert_eq!(found[0].values["roles"], serde_json::json!(["hyperv"]));
        // Both are held back, each beside a stream of its own in between.
        let held = [(smb, 12), (None, 280), (smb, 14)].into_iter().chain(short[1..].iter().copied());
        assert_eq!(findings(&with_migrations(&held.collect::<Vec<_>>()), Direction::Out).len(), 2);
    }

    #[test]
    fn a_port_over_which_streams_break_off_is_told_where_the_sessions_own_carries_one() {
        let broken = |short: &[(bool, Option<ErrorKind>)]| {
            let rates: Vec<(bool, u64)> = short.iter().map(|(over, _)| (*over, 270)).collect();
            let mut doc = document(AnsweredBy::Agent, &rates);
            for (step, (_, kind)) in doc.steps.iter_mut().skip(3).zip(short) {
                step.error = kind.map(|kind| StepError::new(kind, "Connection reset by peer".into()));
            }
            doc
        };
        let (over, own) = ((true, Some(ErrorKind::PeerLost)), (false, None));
        assert_eq!(next(&broken(&[over])).map(|spec| spec.port), Some(None));
        assert_eq!(next(&broken(&[over, own])).map(|spec| spec.port), Some(Some(Port::Smb)));
        let found = finding(&broken(&[over, own, over]), Direction::Out).unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("PORT-SLOW", Severity::Error));
        assert!(found.evidence.contains("Connection reset by peer"), "{}", found.evidence);
        // The session's own broke off as well, it did not come again, or an end itself could not.
        for short in [
            [over, (false, Some(ErrorKind::PeerLost)), over],
            [over, own, (true, None)],
            [(true, Some(ErrorKind::Resource)), own, (true, Some(ErrorKind::Resource))],
        ] {
            assert_eq!(finding(&broken(&short), Direction::Out), None, "{short:?}");
        }
    }

    #[test]
    fn a_port_that_was_slow_while_a_host_was_busy_is_open() {
        let mut doc = document(AnsweredBy::Agent, &[(true, 12), (false, 280), (true, 14)]);
        let scheduled = Some(pathproof_model::Waited { waited_ns: 620, of_ns: 1000 });
        for step in doc.steps.iter_mut().skip(3) {
            step.lanes[0].scheduled = scheduled;
            step.series[0].received_bytes[4] = Some(10_000);
        }
        let found = finding(&doc, Direction::Out).unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("HOST-BUSY", Severity::Info));
        assert!(found.evidence.contains("445/tcp") && found.open == ["PORT-SLOW"], "{found:?}");
        // It is tried again all the same: a port that carries enough then is not slow.
        doc.steps.truncate(5);
        assert_eq!(next(&doc).map(|spec| spec.port), Some(Some(Port::Smb)));
        doc.steps[4].summary.goodput_bits_per_s = Some(14_000_000);
        assert_eq!((next(&doc), finding(&doc, Direction::Out)), (None, None));
    }

    #[test]
    fn a_port_that_carried_nothing_twice_is_not_a_busy_hosts_doing() {
        // As run: 0, 284.9 and 0 Mbit/s, while somebody waited for a processor for 47 % of the time.
        let told = |short: &[(bool, u64)]| {
            let mut doc = document(AnsweredBy::Agent, short);
            for step in doc.steps.iter_mut().skip(3) {
                let host = HostLoad {
                    elapsed_ns: 1000,
                    pressure_some_ns: Some(470),
                    busiest_cpu_softirq_share: Some(0.1),
                    ..HostLoad::default()
                };
                step.evidence = vec![Evidence { host: Some(host), ..Evidence::default() }];
            }
            finding(&doc, Direction::Out).map(|found| found.code)
        };
        for rate in [0, 2] {
            assert_eq!(
                told(&[(true, rate), (false, 285), (true, 0)]).as_deref(),
                Some("PORT-SLOW"),
                "{rate}"
            );
        }
        // Little is open, once nothing is, and nothing beside nothing says nothing.
        assert_eq!(told(&[(true, 9), (false, 285), (true, 9)]).as_deref(), Some("HOST-BUSY"));
        assert_eq!(told(&[(true, 0), (false, 285), (true, 9)]).as_deref(), Some("HOST-BUSY"));
        assert_eq!(told(&[(true, 0), (false, 0), (true, 0)]), None);
    }

    #[test]
    fn what_was_slow_for_a_moment_or_everywhere_is_not_the_ports() {
        let told = |short: &[(bool, u64)]| finding(&document(AnsweredBy::Agent, short), Direction::Out);
        assert_eq!(told(&[(true, 12), (false, 280), (true, 250)]), None);
        assert_eq!(asked(&[(true, 12), (false, 14)]), None);
        assert_eq!(told(&[(true, 12), (false, 14)]), None);
        assert_eq!(told(&[(true, 12), (false, 280)]), None);
    }

    /// Short streams that carry what the others do: over the port of the role or not, segments that were lost of 17000, and whether all along.
    fn lossy(short: &[(bool, u64, bool)]) -> ResultDoc {
        let mut doc = document(AnsweredBy::Agent, &[]);
        doc.steps.extend(short.iter().map(|(over, lost, all_along)| {
            let mut step = stream(270, 1, 1000);
            step.follows_up = Some(FollowUp::Port);
            if let Some(traffic) = step.spec.as_mut().and_then(|spec| spec.traffic_mut()) {
                traffic.port = over.then_some(Port::Smb);
            }
            for counts in step.lanes.iter_mut().filter_map(|lane| Some(&mut lane.connection.as_mut()?.counts))
            {
                counts.retransmitted_segments = Some(*lost);
                counts.delivered_segments = Some(17_000 - lost);
            }
            let retransmits = (0..6).map(|slice| Some(if *all_along || slice == 0 { *lost / 6 } else { 0 }));
            step.series.push(Series {
                role: LaneRole::Send,
                retransmits: retransmits.collect(),
                ..Series::default()
            });
            step
        }));
        doc
    }

    #[test]
    fn a_port_that_loses_what_the_sessions_own_does_not_is_told_though_it_is_quick() {
        let next_of = |short: &[(bool, u64, bool)]| next(&lossy(short)).map(|spec| spec.port);
        assert_eq!(next_of(&[(true, 340, true)]), Some(None));
        assert_eq!(next_of(&[(true, 340, true), (false, 2, false)]), Some(Some(Port::Smb)));
        let all = [(true, 340, true), (false, 2, false), (true, 310, true)];
        assert_eq!(next_of(&all), None);
        let found = finding(&lossy(&all), Direction::Out).unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("PORT-LOSSY", Severity::Error));
        assert!(
            found.evidence.contains("340 of 17000") && found.evidence.contains("445/tcp"),
            "{}",
            found.evidence
        );
    }

    #[test]
    fn what_is_lost_everywhere_at_once_or_seldom_is_not_the_ports() {
        // A queue that was filled once, however much it dropped.
        assert_eq!(next(&lossy(&[(true, 500, false)])), None);
        assert_eq!(next(&lossy(&[(true, 12, true)])), None);
        // The session's own port loses as well.
        assert_eq!(next(&lossy(&[(true, 340, true), (false, 300, true)])), None);
        // It did not come again.
        let once = [(true, 340, true), (false, 2, false), (true, 3, false)];
        assert_eq!(finding(&lossy(&once), Direction::Out), None);
    }

    #[test]
    fn a_host_that_was_busy_during_the_plan_does_not_keep_the_port_from_being_asked() {
        let mut doc = document(AnsweredBy::Agent, &[]);
        for step in &mut doc.steps {
            let host = HostLoad {
                elapsed_ns: 1000,
                pressure_some_ns: Some(900),
                busiest_cpu_softirq_share: Some(0.1),
                ..HostLoad::default()
            };
            step.evidence = vec![Evidence { host: Some(host), ..Evidence::default() }];
        }
        assert!(next(&doc).is_some_and(|spec| spec.port == Some(Port::Smb)));
    }
}
