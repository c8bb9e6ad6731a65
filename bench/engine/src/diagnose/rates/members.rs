//! Connections of one stream that are not treated alike: some crawl beside others that run.
//!
//! Accuses no path of what a host's threads may have made of it: that is asked again, and is open as long as the host is busy.

use pathproof_model::code;
use pathproof_model::judge::repeats::Repeats;
use pathproof_model::told;
use pathproof_model::units::Bytes;
use pathproof_model::{Direction, Finding, FollowUp, ResultDoc, Step, TrafficSpec};

use super::super::{busy, pressed};
use super::again::{short, short_streams_tell};
use super::{Carried, between, free, lanes, lost, senders, unequal};

/// What each of the connections of a stream carried, the fastest first, and how many of them are fast.
type Apart = (Vec<u64>, usize);

/// Of several connections that ran beside one another over the same two addresses some carried a fifth and less of what each of the others
/// did, and the others are alike: no queue that all share treats them so.
pub(super) fn crawling(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let all = apart(doc, way);
    let calm = all.iter().find(|((step, _), _)| !pressed(step));
    let ((step, _), (bytes, fast)) = calm.or_else(|| all.first())?;
    let said = format!(
        "{}: {fast} of {} connections, alike among themselves, carried {} and more, the others {} and less, although they differ in nothing but the \
         source port and little was sent again",
        step.name,
        bytes.len(),
        Bytes(bytes[fast - 1]),
        Bytes(bytes[*fast])
    );
    let finding = match calm {
        Some(_) => unequal(Finding::new("FLOWS-DIFFER", said)),
        // One like it for which the hosts had time, and in which none crawled, has answered it.
        None if asked(doc, way).any(|(like, _)| lanes(like) == lanes(step) && !pressed(like)) => return None,
        None => {
            busy::left_open(step, &said, "whether connections are treated alike", &[code!("FLOWS-DIFFER")])
        }
    };
    Some(finding.tell(told::DIRECTION, way))
}

/// The short stream that asks again where connections crawled while a host was busy.
pub fn another_stream(doc: &ResultDoc) -> Option<TrafficSpec> {
    if !short_streams_tell(doc) {
        return None;
    }
    [Direction::Out, Direction::In].into_iter().find_map(|way| {
        let all = apart(doc, way);
        let ((step, rate), _) = all.first().filter(|_| all.iter().all(|((step, _), _)| pressed(step)))?;
        let mut again = asked(doc, way).filter(|(like, _)| like.follows_up.is_some());
        if again.any(|(like, _)| lanes(like) == lanes(step)) { None } else { short((*step, *rate)) }
    })
}

/// Streams of a plan, and those that asked again: each has source ports of its own.
fn asked(doc: &ResultDoc, way: Direction) -> impl Iterator<Item = Carried<'_>> {
    let asked = doc.steps.iter().filter(|step| matches!(step.follows_up, None | Some(FollowUp::Cause)));
    asked.filter_map(move |step| free(step, way))
}

/// Those of them in which connections crawled, whoever is to blame.
fn apart(doc: &ResultDoc, way: Direction) -> Vec<(Carried<'_>, Apart)> {
    if lost(doc, Some(way)) {
        return vec![];
    }
    asked(doc, way).filter_map(|carried| Some((carried, crawl(carried.0)?))).collect()
}

fn crawl(step: &Step) -> Option<Apart> {
    /// Of a fast one.
    const CRAWLS: u64 = 5;
    /// The fast ones carry at least this part of the fastest.
    const ALIKE: f64 = 0.6;
    /// Where a fast one moved fewer messages, one more or less is a part of the difference.
    const MESSAGES: u64 = 32;
    /// Who sends so much again waits for its timers.
    const AGAIN: f64 = 0.01;
    let mut bytes: Vec<u64> = senders(step).map(|lane| lane.bytes).collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    let fast = (1..bytes.len()).find(|at| bytes[*at].saturating_mul(CRAWLS) <= bytes[*at - 1])?;
    let size = step.spec.as_ref()?.traffic()?.size_bytes;
    let (least, most, slow) = (bytes[fast - 1], bytes[0], bytes[fast]);
    let clear = fast >= 2
        && slow > 0
        && least >= size.saturating_mul(MESSAGES)
        && least as f64 >= most as f64 * ALIKE;
    let quiet = Repeats::of(step).is_none_or(|repeats| repeats.share() < AGAIN);
    (between(step).is_some() && clear && quiet).then_some((bytes, fast))
}

#[cfg(test)]
mod tests {
    use super::super::tests::stream;
    use super::*;
    use pathproof_model::{Evidence, HostLoad, Tool};

    /// Four connections of which the third crawls, or does not; `pressed`: somebody waited for a processor for most of the time.
    fn four(crawls: bool, pressed: bool, follows_up: Option<FollowUp>) -> Step {
        let mut step = stream(286, 4, 1000);
        let parts = if crawls { [10, 9, 1, 10] } else { [10, 9, 8, 10] };
        step.lanes.iter_mut().zip(parts).for_each(|(lane, part)| lane.bytes = part * 1_310_720);
        let pressure_some_ns = Some(if pressed { 600 } else { 10 });
        let host = Some(HostLoad { elapsed_ns: 1000, pressure_some_ns, ..HostLoad::default() });
        step.evidence = vec![Evidence { host, ..Evidence::default() }];
        step.follows_up = follows_up;
        step
    }

    #[test]
    fn what_crawled_while_a_host_was_busy_is_asked_again_and_open_as_long_as_it_is() {
        let told = |steps: Vec<Step>| {
            let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            let code = crawling(&doc, Direction::Out).map(|finding| finding.code);
            (code.unwrap_or_default(), another_stream(&doc).map(|spec| spec.lanes))
        };
        let (planned, again) = (|crawls, busy| four(crawls, busy, None), Some(FollowUp::Cause));
        assert_eq!(told(vec![planned(true, false)]), ("FLOWS-DIFFER".into(), None));
        assert_eq!(told(vec![planned(true, true)]), ("HOST-BUSY".into(), Some(4)));
        assert_eq!(told(vec![planned(false, true)]), (String::new(), None));
        let asked = |crawls, busy| told(vec![planned(true, true), four(crawls, busy, again)]);
        assert_eq!(asked(true, false), ("FLOWS-DIFFER".into(), None));
        assert_eq!(asked(true, true), ("HOST-BUSY".into(), None));
        assert_eq!(asked(false, false), (String::new(), None));
        assert_eq!(asked(false, true), ("HOST-BUSY".into(), None), "a host that was busy answers nothing");
    }
}
