//! Streams that disagree in a way that no limit makes: one connection alone, and several of the same two addresses after it. Once it may be a
//! moment of the path, or of somebody else who used it; so short streams ask again, and only what comes again is said to be the path's own. Where
//! hosts were busy it is asked again as well, and accuses nobody as long as they are.

use pathproof_model::code;
use pathproof_model::judge::{held_by_network, still_grew};
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, FollowUp, LaneResult, ResultDoc, Severity, Step, TrafficSpec};

use super::super::{busy, planned, pressed, round_trips, waited_share};
use super::{
    Carried, between, core, held_by_window, is_flat, is_looped, is_steady, lanes, pair, starved, unequal,
};

/// Between what is compared lies so much more than chance and a busy host make.
const UNLIKE: f64 = 0.35;
/// Several that carry no more than this of what one did before them are asked again as well: what is between the two is told where it comes again,
/// and by nothing but that.
const LESS: f64 = 0.6;
/// Two rates of which each is so much of the other are one limit's.
const ALIKE: f64 = 0.7;
/// Warming up of a stream that asks again, its window, and cooling down.
const WARMUP_NS: u64 = 100_000_000;
const WINDOW_NS: u64 = 600_000_000;
const COOLDOWN_NS: u64 = 50_000_000;
/// Where round trips are longer, connections still grow in such a window.
const FAR_NS: u64 = 25_000_000;
/// A receiver counts whole messages: below this rate they are small, or a few more or less would be the difference.
const SLOW_BITS_PER_S: u64 = 1_000_000_000;
const SMALL_BYTES: u64 = 32 << 10;
/// What to do where a rate fell.
pub const AFTER_A_BURST: &str = "Look for a limit that saves up credit (virtual machines' network credits, policers and shapers with a large burst) and for other load on the \
                                 path; pathproof bench stream PEER --time 60s shows how the rate goes on.";
/// Connections that are tried alone: each has a source port of its own, and of a bundle of two the odd member is met by one of three in seven
/// of eight cases.
const ALONE_MAX: usize = 3;

/// The next short stream that would tell what two streams that disagree mean, where there are such.
pub fn another_stream(doc: &ResultDoc) -> Option<TrafficSpec> {
    if !short_streams_tell(doc) {
        return None;
    }
    let ways = [Direction::Out, Direction::In].into_iter();
    ways.filter_map(|way| Disagreement::of(doc, way)).find_map(|one| one.next(doc))
}

/// Whether short streams say something of the path of a document: not where it is so long that their connections only grow, and not where
/// one stood still. That is asked by streams of full and of small segments, which look like these.
pub fn short_streams_tell(doc: &ResultDoc) -> bool {
    let far = round_trips(doc).is_some_and(|(_, rtt)| rtt.p50 > FAR_NS);
    !far && !planned(doc).flat_map(|step| &step.lanes).any(stays_silent)
}

/// What such streams come to, with what asking again has told.
pub(super) fn finding(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    Disagreement::of(doc, way)?.finding(doc)
}

/// Whether the rate of a way is told to have fallen, as a fault.
pub fn told_as_fallen(doc: &ResultDoc, way: Direction) -> bool {
    finding(doc, way).is_some_and(|one| one.is(code!("PATH-RATE-LIMIT")) && one.severity == Severity::Error)
}

fn stays_silent(lane: &LaneResult) -> bool {
    lane.silences.iter().flatten().any(|silence| !silence.came_back)
}

/// How two streams can disagree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unlike {
    /// The one carried far less than each of the several did.
    OneCrawls,
    /// The several, which came after it, carried far less together than the one did.
    RateFell,
}

/// A connection alone, and several of the same two addresses.
struct Disagreement<'a> {
    way: Direction,
    alone: Carried<'a>,
    several: Carried<'a>,
    unlike: Unlike,
    /// The one of them that a busy host may have made.
    busy: Option<&'a Step>,
}

impl<'a> Disagreement<'a> {
    fn of(doc: &'a ResultDoc, way: Direction) -> Option<Disagreement<'a>> {
        let (alone, several) = pair(doc, way)?;
        // Over another pair of NICs it is another path.
        let other = between(alone.0).is_none() || between(alone.0) != between(several.0);
        if other || is_looped(alone.0) || !is_unbounded(alone.0) || !is_unbounded(several.0) {
            return None;
        }
        let busy = [alone.0, several.0].into_iter().find(|step| was_busy(step));
        let unlike = if crawls(alone.1, several) {
            Unlike::OneCrawls
        } else if several.1 as f64 <= alone.1 as f64 * LESS {
            Unlike::RateFell
        } else {
            return None;
        };
        Some(Disagreement { way, alone, several, unlike, busy })
    }

    /// The streams that asked again as `like` did, also those of which nothing came.
    fn asked(&self, doc: &'a ResultDoc, like: &Step) -> Vec<&'a Step> {
        let of = |step: &Step| {
            let spec = step.spec.as_ref()?.traffic()?;
            Some((spec.lanes, spec.over.clone(), spec.max_segment_bytes, spec.follows_path_mtu))
        };
        let again = doc.steps.iter().filter(|step| {
            step.follows_up == Some(FollowUp::Cause)
                && step.kind.traits().bulk
                && step.direction == Some(self.way)
                && of(step) == of(like)
        });
        again.collect()
    }

    /// What those of them carried that say something of the path.
    fn carried(&self, doc: &'a ResultDoc, like: &Step) -> Vec<Carried<'a>> {
        let ends = between(self.alone.0);
        let all = self.asked(doc, like).into_iter();
        // One steady rate that the kernel says the network held is the path's, however busy the hosts were.
        let held = |step: &Step| {
            self.unlike == Unlike::RateFell && is_unbounded(step) && is_steady(step) && held_by_network(step)
        };
        let sound = all.filter(|step| {
            let tells = is_sound(step) || held(step);
            step.error.is_none() && between(step) == ends && tells && !still_grew(step)
        });
        sound
            .filter_map(|step| Some((step, step.summary.goodput_bits_per_s.filter(|rate| *rate > 0)?)))
            .collect()
    }

    /// What is to be asked next.
    fn next(&self, doc: &'a ResultDoc) -> Option<TrafficSpec> {
        let alone = self.asked(doc, self.alone.0).len();
        let more = match self.unlike {
            Unlike::OneCrawls => {
                let met = self.carried(doc, self.alone.0).into_iter().any(|one| crawls(one.1, self.several));
                alone < ALONE_MAX && !met
            }
            Unlike::RateFell => alone == 0,
        };
        if more {
            return short(self.alone);
        }
        if self.asked(doc, self.several.0).is_empty() { short(self.several) } else { None }
    }

    /// Whether one connection and several that were asked again disagree as those before them did, or show the same limit.
    fn comes_again(&self, one: Carried<'_>, many: Carried<'_>) -> bool {
        let (first, low) = (self.alone.1 as f64, many.1 as f64);
        let now = one.1 as f64;
        match self.unlike {
            Unlike::OneCrawls => crawls(one.1, many),
            Unlike::RateFell => {
                let fell_again = low <= now * UNLIKE;
                // Who shares a path with somebody else gets more of it the more connections it has.
                let held = is_flat(one.0) && is_flat(many.0) && now >= low * ALIKE && low >= now * ALIKE;
                low <= first * LESS && (fell_again || held)
            }
        }
    }

    fn finding(&self, doc: &'a ResultDoc) -> Option<Finding> {
        let ones = self.carried(doc, self.alone.0);
        let several = self.carried(doc, self.several.0);
        let both = several.iter().flat_map(|many| ones.iter().map(move |one| (*one, *many)));
        let again = both.into_iter().find(|(one, many)| self.comes_again(*one, *many));
        let again = again.or_else(|| self.stays_low(&ones).filter(|_| several.is_empty()));
        let tried = self.tried(&ones, &several);
        if let (Some(step), None) = (self.busy, &again) {
            // What asking again has answered was the host.
            let open = ones.is_empty() || several.is_empty();
            return open.then(|| self.left_open(step, tried.as_deref()));
        }
        if again.is_none() && self.is_a_little_less() {
            return None;
        }
        let finding = match self.unlike {
            Unlike::OneCrawls => self.crawling(again.is_some()),
            Unlike::RateFell => self.fallen(again.is_some()),
        };
        // As long as nothing speaks against it, it is what was measured: a path that may be broken is not called fit.
        let finding = finding.tell(told::DIRECTION, self.way).with_severity(Severity::Error);
        Some(match (again, tried) {
            (Some((one, many)), Some(tried)) => {
                let finding = Finding { evidence: format!("{}; {tried}", finding.evidence), ..finding };
                finding.with("again_one_bits_per_s", one.1).with("again_several_bits_per_s", many.1)
            }
            (_, Some(tried)) if ones.is_empty() || several.is_empty() => Finding {
                evidence: format!("{}; {tried}, which alone tells nothing", finding.evidence),
                ..finding
            },
            (_, Some(tried)) => {
                finding.with_severity(Severity::Warning).against(format!("it did not come again: {tried}"))
            }
            (_, None) => finding,
        })
    }

    /// One connection that, asked again, carries as little as the several did on calm hosts: with somebody else on the path it would get less than they.
    fn stays_low(&self, ones: &[Carried<'a>]) -> Option<(Carried<'a>, Carried<'a>)> {
        let low = self.several.1 as f64;
        let fell = self.unlike == Unlike::RateFell && low <= self.alone.1 as f64 * UNLIKE;
        if !fell || was_busy(self.several.0) {
            return None;
        }
        let as_low = |one: &&Carried<'a>| one.1 as f64 >= low * ALIKE && low >= one.1 as f64 * ALIKE;
        Some((*ones.iter().find(as_low)?, self.several))
    }

    /// A rate that fell by so little that a moment of somebody else makes it as well.
    fn is_a_little_less(&self) -> bool {
        self.unlike == Unlike::RateFell && self.several.1 as f64 > self.alone.1 as f64 * UNLIKE
    }

    /// What it is where hosts were busy in `step`, and in what asked again as well.
    fn left_open(&self, step: &Step, tried: Option<&str>) -> Finding {
        let tried = tried.map_or_else(String::new, |tried| format!(" ({tried})"));
        let said = format!(
            "{}: one connection alone carried {}, and {} others together {}{tried}",
            self.way.name(),
            BitsPerSecond(self.alone.1),
            lanes(self.several.0),
            BitsPerSecond(self.several.1)
        );
        let (what, fault) = match self.unlike {
            Unlike::OneCrawls => ("whether connections are treated alike", code!("FLOWS-DIFFER")),
            Unlike::RateFell => {
                ("whether the path holds back what is more than a burst", code!("PATH-RATE-LIMIT"))
            }
        };
        busy::left_open(step, &said, what, &[fault]).tell(told::DIRECTION, self.way)
    }

    /// What asking again came to, in words.
    fn tried(&self, ones: &[Carried<'_>], several: &[Carried<'_>]) -> Option<String> {
        let rates = |all: &[Carried<'_>]| {
            let each: Vec<String> = all.iter().map(|(_, rate)| BitsPerSecond(*rate).to_string()).collect();
            (!each.is_empty()).then(|| each.join(", then "))
        };
        let one = rates(ones).map(|rates| format!("one connection carried {rates}"));
        let many = rates(several).map(|rates| format!("{} together {rates}", lanes(self.several.0)));
        let said: Vec<String> = one.into_iter().chain(many).collect();
        (!said.is_empty()).then(|| format!("tried again, {}", said.join(", and ")))
    }

    fn crawling(&self, again: bool) -> Finding {
        let (alone, several) = (BitsPerSecond(self.alone.1), BitsPerSecond(self.several.1));
        let open = if again { "" } else { ", or the path was slow while the one ran" };
        let said = format!(
            "{}: one connection alone carried {alone}, and {} others beside one another {several}, so each of them more than twice as much: \
             connections that differ in nothing but the source port are not treated alike{open}",
            self.way.name(),
            lanes(self.several.0)
        );
        let finding = Finding::new("FLOWS-DIFFER", said)
            .with("one_bits_per_s", self.alone.1)
            .with("several_bits_per_s", self.several.1);
        let mut finding = unequal(finding);
        if !again {
            finding.meaning = "Either some connections between the same two addresses crawl while others run, because one member of a bundle or one of several equal \
                               routes is slow; or the path was slow for a while: bulk and migrations meet either by chance."
                .into();
        }
        finding
    }

    fn fallen(&self, again: bool) -> Finding {
        let (alone, several) = (BitsPerSecond(self.alone.1), BitsPerSecond(self.several.1));
        let open = if again { "" } else { ", or somebody else came to use the path" };
        let said = format!(
            "{}: first one connection carried {alone}, and {} together only {several} after it: the rate fell, as where a burst is let through \
             and what follows is held back{open}",
            self.way.name(),
            lanes(self.several.0)
        );
        let mut finding = Finding::new("PATH-RATE-LIMIT", said).with("bits_per_s", self.several.1);
        let meaning = if again {
            "The path carries much for a moment and little after it: a short test shows the moment, and a migration the rest."
        } else {
            "Either the path carries much for a moment and little after it, so that a short test shows the moment and a migration the rest; or \
             somebody else used it meanwhile."
        };
        finding.meaning = meaning.into();
        finding.with_next(AFTER_A_BURST)
    }
}

/// Whether neither a host nor a window bounded a stream, as far as is known.
pub fn is_sound(step: &Step) -> bool {
    is_unbounded(step) && !was_busy(step)
}

/// Whether neither a window nor a full processor bounded a stream, as far as is known, and it is known how long its threads waited.
pub fn is_unbounded(step: &Step) -> bool {
    let known = waited_share(step).is_some() || !starved(step);
    known && !held_by_window(step) && !core(step)
}

/// Whether the hosts of such a stream were so busy that it says nothing of the path.
pub fn was_busy(step: &Step) -> bool {
    starved(step) || pressed(step)
}

/// Whether one connection carried far less than each of several did.
fn crawls(one: u64, several: Carried<'_>) -> bool {
    one as f64 <= several.1 as f64 / lanes(several.0).max(1) as f64 * UNLIKE
}

/// A stream once more, for a short time and with nothing beside it.
pub fn short((step, rate): Carried<'_>) -> Option<TrafficSpec> {
    let mut spec = step.spec.as_ref()?.traffic()?.clone();
    (spec.warmup_ns, spec.time_ns, spec.cooldown_ns) = (WARMUP_NS, WINDOW_NS, COOLDOWN_NS);
    if rate < SLOW_BITS_PER_S {
        spec.size_bytes = spec.size_bytes.min(SMALL_BYTES);
    }
    (spec.verify, spec.singles, spec.watch_links, spec.expect) = (false, false, false, None);
    spec.fail.clear();
    spec.beside.clear();
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::super::tests::stream;
    use super::*;
    use pathproof_model::{Silence, Tool};

    /// A document of streams; `again` are those that asked again: so many Mbit/s over so many lanes.
    fn document(alone: u64, several: u64, again: &[(u64, usize)]) -> ResultDoc {
        let planned = [stream(alone, 1, 1000), stream(several, 4, 1000)];
        let asked = again.iter().map(|(mbit, lanes)| {
            let mut step = stream(*mbit, *lanes, 1000);
            step.follows_up = Some(FollowUp::Cause);
            step
        });
        let steps = planned.into_iter().chain(asked).collect();
        ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }
    }

    fn told(doc: &ResultDoc) -> (String, Severity, bool) {
        let found = finding(doc, Direction::Out).unwrap();
        (found.code, found.severity, found.against.is_empty())
    }

    /// The lanes of the streams that are asked for one after the other, where they carry `mbit`.
    fn asked(alone: u64, several: u64, mbit: impl Fn(usize, u32) -> u64) -> Vec<u32> {
        let (mut again, mut all) = (vec![], vec![]);
        while let Some(spec) = another_stream(&document(alone, several, &again)) {
            assert!(spec.length_ns() <= 800_000_000 && spec.beside.is_empty() && all.len() < 10);
            again.push((mbit(all.len(), spec.lanes), spec.lanes as usize));
            all.push(spec.lanes);
        }
        all
    }

    #[test]
    fn nothing_is_asked_where_nothing_is_in_question() {
        let none: Vec<u32> = vec![];
        assert_eq!(asked(94, 94, |_, _| 94), none);
        assert_eq!(asked(20, 79, |_, _| 20), none);
        // Loopbacks, connections that stood still, and long paths are other questions.
        let mut looped = document(10, 284, &[]);
        looped.steps[0].lanes[0].local = Some("127.0.0.1:5".into());
        looped.steps[1].lanes.iter_mut().for_each(|lane| lane.local = Some("127.0.0.1:5".into()));
        assert_eq!(another_stream(&looped), None);
        let mut stood = document(10, 284, &[]);
        let silence = Silence { from_ns: 0, length_ns: 1, others_flowed: false, came_back: false };
        stood.steps[0].lanes[0].silences = Some(vec![silence]);
        assert_eq!(another_stream(&stood), None);
    }

    #[test]
    fn a_connection_that_crawled_is_sought_among_others_and_then_held_against_several() {
        // The second of them meets the slow member; or none does.
        assert_eq!(asked(10, 284, |nth, lanes| if lanes == 4 || nth == 0 { 280 } else { 10 }), [1, 1, 4]);
        assert_eq!(asked(10, 284, |_, _| 280), [1, 1, 1, 4]);
        let differ = |severity, no_doubt| ("FLOWS-DIFFER".to_owned(), severity, no_doubt);
        assert_eq!(told(&document(10, 284, &[])), differ(Severity::Error, true));
        assert_eq!(told(&document(10, 284, &[(280, 1), (10, 1), (281, 4)])), differ(Severity::Error, true));
        // It was the moment: none crawls any more, or all do.
        assert_eq!(told(&document(10, 284, &[(280, 1), (281, 4)])), differ(Severity::Warning, false));
        assert_eq!(told(&document(10, 284, &[(10, 1), (12, 4)])), differ(Severity::Warning, false));
    }

    #[test]
    fn a_rate_that_fell_is_the_paths_where_it_stays_low_for_one_as_for_several_or_falls_again() {
        assert_eq!(asked(152, 20, |_, _| 20), [1, 4]);
        let limit = |severity, no_doubt| ("PATH-RATE-LIMIT".to_owned(), severity, no_doubt);
        assert_eq!(told(&document(152, 20, &[])), limit(Severity::Error, true));
        // A burst that is used up, and one that was saved up anew.
        assert_eq!(told(&document(152, 20, &[(20, 1), (20, 4)])), limit(Severity::Error, true));
        assert_eq!(told(&document(152, 20, &[(150, 1), (21, 4)])), limit(Severity::Error, true));
        // Somebody else is gone, or still takes a part of what several connections get more of.
        assert_eq!(told(&document(152, 20, &[(150, 1), (151, 4)])), limit(Severity::Warning, false));
        assert_eq!(told(&document(152, 20, &[(8, 1), (20, 4)])), limit(Severity::Warning, false));
    }

    #[test]
    fn a_rate_that_fell_to_two_fifths_is_told_where_it_comes_again_and_by_nothing_else() {
        // As over a wire that lets 175 MB through at 300 Mbit/s, and 125 after that.
        assert_eq!(asked(286, 125, |_, _| 119), [1, 4]);
        let again = [(119, 1), (119, 4)];
        let limit = ("PATH-RATE-LIMIT".to_owned(), Severity::Error, true);
        assert_eq!(told(&document(286, 125, &again)), limit);
        // Nobody asked yet, it was a moment, and somebody else takes a part of what several connections get more of.
        let others: [&[(u64, usize)]; 4] = [&[], &[(280, 1), (281, 4)], &[(119, 1)], &[(40, 1), (119, 4)]];
        for again in others {
            assert_eq!(finding(&document(286, 125, again), Direction::Out), None, "{again:?}");
        }
        // Less of a difference is none.
        assert_eq!(asked(286, 180, |_, _| 119), [0; 0]);
        // Hosts on which others wait for a processor do not make one steady rate that the network held.
        let pressed = |step: &mut Step| {
            let load = pathproof_model::HostLoad {
                elapsed_ns: 1000,
                pressure_some_ns: Some(800),
                busiest_cpu_softirq_share: Some(0.3),
                ..Default::default()
            };
            step.evidence = vec![pathproof_model::Evidence { host: Some(load), ..Default::default() }];
        };
        let mut busy = document(286, 125, &again);
        busy.steps.iter_mut().for_each(pressed);
        assert_eq!(told(&busy), limit);
        busy.steps[2].series[0].received_bytes[4] = Some(10_000);
        assert_eq!(told(&busy).0, "HOST-BUSY", "one of the two says nothing");
    }

    #[test]
    fn what_may_be_a_busy_hosts_is_asked_again_and_open_as_long_as_it_is_busy() {
        use pathproof_model::Waited;
        let busy = |step: &mut Step| {
            step.lanes[0].scheduled = Some(Waited { waited_ns: 620_000_000, of_ns: 1_000_000_000 });
            step.series[0].received_bytes[4] = Some(10_000);
        };
        let document = |again: &[(u64, usize)], busy_again: bool| {
            let mut doc = document(10, 284, again);
            busy(&mut doc.steps[0]);
            doc.steps.iter_mut().skip(2).filter(|_| busy_again).for_each(busy);
            doc
        };
        let open = finding(&document(&[], false), Direction::Out).unwrap();
        assert_eq!((open.code.as_str(), open.severity), ("HOST-BUSY", Severity::Info));
        assert!(open.evidence.starts_with("this host was busy: lane threads waited 620.00 ms"), "{open:?}");
        assert!(open.evidence.contains("one connection alone carried 10.0 Mbit/s, and 4 others"), "{open:?}");
        assert_eq!(another_stream(&document(&[], false)).unwrap().lanes, 1);
        // It comes again with a host that has time, or does not; or the host never has.
        assert_eq!(told(&document(&[(10, 1), (281, 4)], false)).0, "FLOWS-DIFFER");
        assert_eq!(finding(&document(&[(280, 1), (281, 4)], false), Direction::Out), None);
        let never = document(&[(10, 1), (10, 1), (10, 1), (281, 4)], true);
        assert_eq!((told(&never).0.as_str(), another_stream(&never)), ("HOST-BUSY", None));
        // Nobody says how long the threads waited.
        let mut unknown = document(&[], false);
        unknown.steps[0].lanes[0].scheduled = None;
        assert_eq!((finding(&unknown, Direction::Out), another_stream(&unknown)), (None, None));
    }

    #[test]
    fn what_a_busy_host_made_of_it_tells_nothing() {
        let mut doc = document(152, 20, &[(45, 1), (20, 4)]);
        doc.steps[3].lanes[0].cpu_ns = Some(950_000_000);
        let found = finding(&doc, Direction::Out).unwrap();
        assert_eq!(found.severity, Severity::Error);
        let says = "tried again, one connection carried 45.0 Mbit/s, which alone tells nothing";
        assert!(found.evidence.ends_with(says) && found.against.is_empty(), "{}", found.evidence);
        assert_eq!(another_stream(&doc), None, "it was asked");
    }

    #[test]
    fn one_connection_that_gets_what_several_got_is_held_by_the_same_limit_however_busy_the_first_was() {
        // As counted after a burst of 20 MB: there was no time to ask the several again.
        let told_after = |again: u64| {
            let mut doc = document(162, 18, &[(again, 1)]);
            doc.steps[0].lanes[0].scheduled =
                Some(pathproof_model::Waited { waited_ns: 620_000_000, of_ns: 1_000_000_000 });
            doc.steps[0].series[0].received_bytes[4] = Some(10_000);
            told(&doc).0
        };
        assert_eq!((told_after(19).as_str(), told_after(60).as_str()), ("PATH-RATE-LIMIT", "HOST-BUSY"));
    }
}
