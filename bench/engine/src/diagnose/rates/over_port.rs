//! Whether the port that a role needs carries what other ports carry: what limits a rate may look at the port.
//!
//! A stream over that port that carried little is held against one like it over the session's own port, and tried once more: only what comes again
//! beside that is said to be the port's. It accuses none where hosts were busy, and says that it is open then; it refuses to speak where packets
//! are lost on the path as it is.

use pathproof_model::code;
use pathproof_model::judge::repeats::Repeats;
use pathproof_model::judge::still_grew;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{AnsweredBy, Direction, Finding, FollowUp, Port, ResultDoc, Step, TrafficSpec};

use super::super::busy;
use super::again::{is_unbounded, short, short_streams_tell, was_busy};
use super::{Carried, between, is_looped, lanes, lost, streams};

/// Of what the other port carried: less is no chance between two streams that are alike.
const UNLIKE: f64 = 0.35;
/// Who sends so much again is thrown away rather than queued.
const THROWN_SHARE: f64 = 0.05;

/// The next short stream, where there is one to be asked.
pub fn next(doc: &ResultDoc) -> Option<TrafficSpec> {
    if doc.is_against_itself() || !short_streams_tell(doc) {
        return None;
    }
    [Direction::Out, Direction::In].into_iter().find_map(|way| Asked::of(doc, way)?.next())
}

/// What the streams over it come to, one way.
pub(super) fn finding(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    Asked::of(doc, way)?.finding(doc)
}

/// The port over which a role opens connections to the other end, where that end held it itself.
fn port(doc: &ResultDoc) -> Option<Port> {
    let records = doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
    let mut held = records.filter(|record| {
        record.by == Some(AnsweredBy::Agent)
            && record.direction == Direction::Out
            && !record.port.is_udp()
            && !record.needed_by.is_empty()
    });
    held.next().map(|record| record.port)
}

/// The streams that speak of it, one way.
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
    fn of(doc: &'a ResultDoc, way: Direction) -> Option<Asked<'a>> {
        let port = port(doc)?;
        let plain = streams(doc, way)
            .filter(|(step, _)| between(step).is_some() && !is_looped(step) && is_unbounded(step));
        let planned = plain.min_by_key(|(step, _)| lanes(step))?;
        if lost(doc, Some(way)) {
            return None;
        }
        let made = |to: Option<Port>| {
            let asked = move |step: &&Step| {
                let own = step.spec.as_ref().and_then(|spec| spec.traffic()).map(|spec| spec.port);
                step.follows_up == Some(FollowUp::Port) && step.direction == Some(way) && own == Some(to)
            };
            doc.steps.iter().filter(asked).collect::<Vec<&Step>>()
        };
        Some(Asked { way, port, planned, over: made(Some(port)), beside: made(None) })
    }

    fn next(&self) -> Option<TrafficSpec> {
        let to = match (&self.over[..], &self.beside[..]) {
            ([], []) => Some(self.port),
            ([first], []) if crawls(rate(first)?, self.planned.1) => None,
            ([first], [own]) if crawls(rate(first)?, rate(own)?) => Some(self.port),
            _ => return None,
        };
        Some(TrafficSpec { lanes: 1, port: to, ..short(self.planned)? })
    }

    fn finding(&self, doc: &ResultDoc) -> Option<Finding> {
        let ([first, again], [own]) = (&self.over[..], &self.beside[..]) else { return None };
        let (one, two, beside) = (rate(first)?, rate(again)?, rate(own)?);
        if !crawls(one, beside) || !crawls(two, beside) {
            return None;
        }
        let most = one.max(two);
        let thrown = Repeats::of(again).map(Repeats::share).filter(|share| *share >= THROWN_SHARE);
        let how = thrown.map_or_else(String::new, |share| {
            format!(
                ", and {:.0} % of what it sent was sent again: what is above some rate is thrown away",
                share * 100.0
            )
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
        if let Some(step) = [first, again, own].into_iter().find(|step| was_busy(step)) {
            let what = format!("whether {} is slow", self.port.name());
            let open = busy::left_open(step, &said, &what, &[code!("PORT-SLOW")]);
            return Some(open.tell(told::DIRECTION, self.way));
        }
        let known = doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
        let needed: Vec<&str> = known
            .filter(|record| record.port == self.port && record.direction == Direction::Out)
            .flat_map(|record| record.needed_by.iter().map(|role| role.name()))
            .collect();
        let finding = Finding::new("PORT-SLOW", said).with("port", self.port.name()).with("roles", needed);
        let finding = finding.with("bits_per_s", most).with("beside_bits_per_s", beside);
        Some(finding.tell(told::DIRECTION, self.way))
    }
}

/// What a short stream carried, where that says something of its way or of busy hosts.
fn rate(step: &Step) -> Option<u64> {
    let whole = step.error.is_none() && is_unbounded(step) && !still_grew(step);
    step.summary.goodput_bits_per_s.filter(|_| whole)
}

fn crawls(one: u64, other: u64) -> bool {
    one as f64 <= other as f64 * UNLIKE
}

#[cfg(test)]
mod tests {
    use super::super::tests::stream;
    use super::*;
    use pathproof_model::{PortAnswer, PortRecord, Role, Severity, StepKind, Tool};

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
    fn what_was_slow_for_a_moment_or_everywhere_is_not_the_ports() {
        let told = |short: &[(bool, u64)]| finding(&document(AnsweredBy::Agent, short), Direction::Out);
        assert_eq!(told(&[(true, 12), (false, 280), (true, 250)]), None);
        assert_eq!(asked(&[(true, 12), (false, 14)]), None);
        assert_eq!(told(&[(true, 12), (false, 14)]), None);
        assert_eq!(told(&[(true, 12), (false, 280)]), None);
    }
}
