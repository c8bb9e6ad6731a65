//! NICs of which one carries somewhat less than another one: half of it, and not a tenth.
//!
//! So much can come of the transport that one of them was tried with, of a busy host, or of one bad moment. So both are held against each other over
//! the same transport, and the one that carries less is tried more than once. It refuses to speak where a connection was lost meanwhile, and of a
//! little less where a host was anything but calm.

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, FollowUp, ResultDoc, Severity, Step, TrafficSpec};

use super::super::rates::is_steady;
use super::super::{busy, pressed, waited_share};
use super::{Best, ByNic, PLAIN, SLOWER, by_nic, carries_packed, questions, slower_link, times_asked, why};

/// So many times as much must the other one carry: less is no fault, ...
const FACTOR: f64 = 1.6;
/// ... and from here on it is worth a look.
const NOTABLE: f64 = 1.25;
/// Tries of which the least is so much of the best are one limit's: a busy host is not as busy twice.
const ALIKE: f64 = 0.8;
/// The same where they differ by little themselves.
const SAME: f64 = 0.9;
/// Threads that waited for less of their time than this are those of a calm host.
const CALM: f64 = 0.1;

/// A NIC beside the best of the others that was tried over the same transport.
struct Pair<'a> {
    own: &'a Best<'a>,
    like: &'a str,
    most: u64,
    beside: &'a Step,
}

impl<'a> Pair<'a> {
    fn of(alone: &'a ByNic<'a>, nic: &str) -> Option<Pair<'a>> {
        let own = alone.get(nic)?;
        let mut tries = own.tries.iter();
        let (like, most, beside) = tries.find_map(|(_, step)| alike(alone, nic, step.over.as_deref()))?;
        Some(Pair { own, like, most, beside })
    }

    /// How many times as much the other one carried, where that is neither next to nothing nor what shows at once.
    fn factor(&self) -> Option<f64> {
        let factor = self.most as f64 / self.own.rate.max(1) as f64;
        (NOTABLE..PLAIN).contains(&factor).then_some(factor)
    }

    /// Whether it was tried more than once, one way alone among that: both ways at once, a medium that they share may be why.
    fn is_tried_enough(&self, way: Direction) -> bool {
        let steps = || self.own.tries.iter().map(|(_, step)| *step);
        steps().count() > 1 && steps().any(|step| step.direction == Some(way)) && !steps().any(lost_one)
    }

    /// Whether each of its tries carried at least so much of what the best did.
    fn agrees(&self, share: f64) -> bool {
        let least = self.own.tries.last().map_or(0, |(rate, _)| *rate);
        least as f64 >= self.own.rate as f64 * share
    }

    /// Whether neither host was busy while the two were measured that are held against each other.
    fn is_calm(&self) -> bool {
        let calm = |step: &Step| waited_share(step).is_some_and(|share| share < CALM) && !pressed(step);
        self.own.step().is_some_and(calm) && calm(self.beside)
    }
}

/// What carried most of the others that were tried over this transport, with its rate.
fn alike<'a>(alone: &'a ByNic<'a>, nic: &str, over: Option<&str>) -> Option<(&'a str, u64, &'a Step)> {
    let mut best: Option<(&'a str, u64, &'a Step)> = None;
    for (other, tried) in alone {
        for (rate, step) in &tried.tries {
            let counts = other.as_str() != nic && step.over.as_deref() == over;
            if counts && best.is_none_or(|(_, most, _)| *rate > most) {
                best = Some((other.as_str(), *rate, *step));
            }
        }
    }
    best
}

/// Whether a connection of a stream was lost on the way: what it carried then is no rate of its NIC.
fn lost_one(step: &Step) -> bool {
    step.lanes.iter().any(|lane| {
        let paths = lane.stripe.iter().flat_map(|stripe| &stripe.paths);
        lane.error.is_some() || paths.map(|path| path.deaths).any(|deaths| deaths > 0)
    })
}

/// What is to be said of a NIC, one way.
pub(super) fn finding(doc: &ResultDoc, way: Direction, alone: &ByNic<'_>, nic: &str) -> Option<Finding> {
    let pair = Pair::of(alone, nic)?;
    let factor = pair.factor()?;
    let (own, like, is_little) = (pair.own, pair.like, factor < FACTOR);
    let sure = !is_little || (pair.agrees(SAME) && pair.is_calm());
    if !sure || !pair.is_tried_enough(way) || carries_packed(doc, nic) {
        return None;
    }
    let said = format!(
        "{nic} carries {} {} by itself, the best of {} tries, {like} {} ({factor:.1} times as much)",
        BitsPerSecond(own.rate),
        way.name(),
        own.tries.len(),
        BitsPerSecond(pair.most)
    );
    let steady = own.tries.iter().map(|(_, step)| *step).find(|step| is_steady(step));
    let seen = steady.filter(|_| pair.agrees(ALIKE)).or_else(|| own.calm(pair.most, FACTOR));
    let Some(step) = seen else {
        let open =
            busy::left_open(own.step()?, &said, &format!("whether {nic} is slow"), &[code!("NIC-SLOW")]);
        return Some(open.tell(told::NIC, nic).with("factor", factor));
    };
    // A link that is slower by as much explains it, and whoever bought it knows.
    let link = slower_link(doc, nic, like, NOTABLE);
    let link = link.filter(|(own, other)| factor <= *other as f64 / *own as f64 * NOTABLE);
    let (why, open) = why(doc, nic, (own.rate, step), (like, Some(pair.beside)), link);
    let finding = Finding::new("NIC-SLOW", format!("{said}: {why}"));
    let finding = finding.tell(told::NIC, nic).with("factor", factor).open(&open);
    let is_minor = is_little || link.is_some();
    Some(if is_minor { finding.with_severity(Severity::Warning) } else { finding })
}

/// The next stream that tells more of a NIC which carried somewhat less than the best of them: one way alone, and where hosts were so busy that it
/// is still open, once more.
pub(super) fn once(
    doc: &ResultDoc,
    way: Direction,
    alone: &ByNic<'_>,
    nic: &str,
    (like, most): (&str, u64),
) -> Option<TrafficSpec> {
    let own = alone.get(nic)?;
    let traffic = of_itself(own)?;
    let factor = most as f64 / own.rate.max(1) as f64;
    if factor >= PLAIN || carries_packed(doc, nic) || slower_link(doc, nic, like, SLOWER).is_some() {
        return None;
    }
    let asked = times_asked(doc, way, traffic);
    let is_open = || finding(doc, way, alone, nic).is_some_and(|found| found.is(code!("HOST-BUSY")));
    let is_worth_a_look =
        || Pair::of(alone, nic).is_some_and(|pair| pair.factor().is_some() && pair.is_calm());
    let more = match asked {
        0 => factor >= FACTOR || is_worth_a_look(),
        1 => is_open(),
        _ => false,
    };
    more.then(|| TrafficSpec { direction: way, ..traffic.clone() })
}

/// The stream that a NIC was tried by, by itself.
fn of_itself<'a>(own: &Best<'a>) -> Option<&'a TrafficSpec> {
    let by_itself = own.tries.iter().map(|(_, step)| *step);
    let mut by_itself = by_itself.filter(|step| step.follows_up == Some(FollowUp::Alone));
    by_itself.find_map(|step| step.spec.as_ref()?.traffic())
}

/// The next stream over another NIC, which one that carried somewhat less can be held against: what it is like, and the NIC that it is to go over.
/// `None` where each was tried over a transport that another one was tried over, too.
pub fn slow_like(doc: &ResultDoc) -> Option<(TrafficSpec, String)> {
    for (way, lanes) in questions(doc) {
        let alone = by_nic(doc, way, lanes);
        let Some((best_nic, best)) = alone.iter().max_by_key(|(_, best)| best.rate) else { continue };
        for (nic, own) in &alone {
            let factor = best.rate as f64 / own.rate.max(1) as f64;
            let known = Pair::of(&alone, nic).is_some()
                || carries_packed(doc, nic)
                || slower_link(doc, nic, best_nic, SLOWER).is_some();
            if known || !(FACTOR..PLAIN).contains(&factor) {
                continue;
            }
            let (traffic, other) = match (of_itself(own), of_itself(best)) {
                (Some(traffic), _) => (traffic, best_nic),
                (None, Some(traffic)) => (traffic, nic),
                (None, None) => continue,
            };
            return Some((TrafficSpec { direction: way, ..traffic.clone() }, other.clone()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{
        End, Environment, ErrorKind, Flow, LaneResult, Nic, Node, StepError, StepKind, StepSpec, Summary,
        Tool, Waited,
    };

    /// A stream over one NIC: what it carried in Mbit/s, and for how much of a second its thread waited.
    fn stream(over: &str, nic: &str, way: Direction, mbit: u64, waited_ms: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, format!("{nic} alone"));
        (step.over, step.direction) = (Some(over.into()), Some(way));
        let mut traffic = TrafficSpec { over: over.into(), direction: way, ..TrafficSpec::default() };
        traffic.options.insert("nic".into(), nic.into());
        step.spec = Some(StepSpec::Stream(traffic));
        let rate = Some(mbit * 1_000_000);
        if way == Direction::Both {
            step.flows = [Direction::Out, Direction::In]
                .map(|way| Flow {
                    name: way.name().into(),
                    summary: Summary { goodput_bits_per_s: rate, ..Summary::default() },
                    ..Flow::default()
                })
                .into();
        } else {
            step.summary.goodput_bits_per_s = rate;
        }
        let scheduled = Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: 1_000_000_000 });
        step.lanes =
            vec![LaneResult { end: End::Client, nics: vec![nic.into()], scheduled, ..LaneResult::default() }];
        step
    }

    fn alone(nic: &str, way: Direction, mbit: u64, waited_ms: u64) -> Step {
        Step { follows_up: Some(FollowUp::Alone), ..stream("b", nic, way, mbit, waited_ms) }
    }

    fn document(steps: Vec<Step>, speeds: [Option<u64>; 2]) -> ResultDoc {
        let nics = ["e0", "e1"].into_iter().zip(speeds);
        let nic = |(name, speed): (&str, Option<u64>)| Nic {
            name: name.into(),
            speed_bits_per_s: speed,
            ..Nic::default()
        };
        let host = Environment { nics: nics.map(nic).collect(), ..Environment::default() };
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host))];
        doc
    }

    /// The plan's stream over the first, and the second by itself at these rates: both ways at once, then out.
    fn tried(second: &[u64], waited_ms: u64) -> Vec<Step> {
        let ways = [Direction::Both, Direction::Out, Direction::Out].into_iter();
        let planned = stream("a", "e0", Direction::Out, 190, 5);
        let more = ways.zip(second).map(|(way, mbit)| alone("e1", way, *mbit, waited_ms));
        std::iter::once(planned).chain(more).collect()
    }

    fn told(steps: Vec<Step>) -> Vec<(String, Severity)> {
        let found = super::super::findings(&document(steps, [None; 2]));
        found.into_iter().map(|finding| (finding.code, finding.severity)).collect()
    }

    fn with(mut steps: Vec<Step>, more: Step) -> Vec<Step> {
        steps.push(more);
        steps
    }

    #[test]
    fn half_of_what_another_one_carries_over_the_same_transport_is_slow() {
        let like = || alone("e0", Direction::Both, 185, 5);
        let slow = [("NIC-SLOW".to_owned(), Severity::Error)];
        assert_eq!(told(with(tried(&[90, 92], 5), like())), slow);
        let doc = document(with(tried(&[90, 92], 5), like()), [None; 2]);
        let evidence = super::super::findings(&doc).remove(0).evidence;
        let says =
            "e1 carries 92.0 Mbit/s out by itself, the best of 2 tries, e0 185.0 Mbit/s (2.0 times as much)";
        assert!(evidence.starts_with(says), "{evidence}");
        // Over another transport alone, once alone, both ways at once alone, and a NIC that shares a medium with itself.
        assert_eq!(told(tried(&[90, 92], 5)), []);
        assert_eq!(told(with(tried(&[90], 5), like())), []);
        assert_eq!(told(with(tried(&[90, 172], 5), like())), []);
        // A connection that was lost and came back.
        let mut lost = with(tried(&[90, 92], 5), like());
        lost[2].lanes[0].error = Some(StepError::new(ErrorKind::PeerLost, "reset".into()));
        assert_eq!(told(lost), []);
    }

    #[test]
    fn a_little_less_is_a_warning_on_calm_hosts_and_nothing_on_busy_ones() {
        let like = |waited_ms| alone("e0", Direction::Both, 185, waited_ms);
        let worth_a_look = [("NIC-SLOW".to_owned(), Severity::Warning)];
        assert_eq!(told(with(tried(&[138, 140], 5), like(5))), worth_a_look);
        assert_eq!(told(with(tried(&[138, 140], 200), like(5))), []);
        assert_eq!(told(with(tried(&[138, 140], 5), like(200))), []);
        assert_eq!(told(with(tried(&[100, 140], 5), like(5))), [], "tries that differ");
        assert_eq!(told(with(tried(&[160, 162], 5), like(5))), [], "as much");
    }

    #[test]
    fn on_busy_hosts_it_is_asked_once_more_and_open_then() {
        let like = || alone("e0", Direction::Both, 185, 5);
        let once = |steps: Vec<Step>| {
            super::super::slow_once(&document(steps, [None; 2])).map(|spec| spec.direction)
        };
        assert_eq!(once(tried(&[90], 5)), Some(Direction::Out));
        assert_eq!(once(tried(&[90, 92], 5)), None);
        assert_eq!(once(tried(&[150], 5)), None, "nobody knows of what the other carries like that");
        assert_eq!(once(with(tried(&[138], 5), like())), Some(Direction::Out));
        let busy = || with(tried(&[90, 92], 600), like());
        assert_eq!(told(busy()), [("HOST-BUSY".to_owned(), Severity::Info)]);
        assert_eq!(once(busy()), Some(Direction::Out));
        let thrice = once(with(tried(&[90, 92, 91], 600), like()));
        assert_eq!(thrice, Some(Direction::In), "out is open then, and the other way was not asked alone");
    }

    #[test]
    fn another_nic_is_tried_over_the_same_transport_where_none_was() {
        let next = |steps: Vec<Step>| {
            slow_like(&document(steps, [None; 2])).map(|(spec, nic)| (spec.direction, nic))
        };
        assert_eq!(next(tried(&[90, 92], 5)), Some((Direction::Out, "e0".to_owned())));
        assert_eq!(next(with(tried(&[90, 92], 5), alone("e0", Direction::Out, 186, 5))), None);
        assert_eq!(next(tried(&[150], 5)), None);
        assert_eq!(next(tried(&[20], 5)), None, "that shows at once");
        // The session's own NIC is the slower one.
        let first = vec![stream("a", "e0", Direction::Out, 95, 5), alone("e1", Direction::Both, 180, 5)];
        assert_eq!(next(first), Some((Direction::Out, "e0".to_owned())));
    }

    #[test]
    fn a_link_that_is_slower_by_as_much_is_a_warning_with_its_speed() {
        let found = |speeds: [u64; 2]| {
            let steps = with(tried(&[90, 92], 5), alone("e0", Direction::Both, 185, 5));
            super::super::findings(&document(steps, speeds.map(Some))).remove(0)
        };
        let slower = found([200_000_000, 120_000_000]);
        let says = "its link has 120.0 Mbit/s, that of e0 200.0 Mbit/s";
        assert!(slower.evidence.ends_with(says), "{slower:?}");
        assert_eq!(slower.severity, Severity::Warning);
        // As fast by its word, and slower by less than it carries less.
        assert_eq!(found([200_000_000; 2]).severity, Severity::Error);
        assert_eq!(found([200_000_000, 150_000_000]).severity, Severity::Error);
    }
}
