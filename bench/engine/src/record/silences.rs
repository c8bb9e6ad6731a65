//! Lanes that brought nothing for a second or more, and whether the others explain it.

use std::ops::Range;

use pathproof_model::{End, Interval, LaneResult, LaneRole, Silence};

/// Nothing received for so long within the window is a stall.
pub const STALL_NS: u64 = 1_000_000_000;
/// Most silences that a lane's result names, the longest first.
const SILENCES_MAX: usize = 8;

/// Puts its silences into every lane that receives. Slices of one lane must stand in order, as they do in a half.
pub fn mark_silences(lanes: &mut [LaneResult], intervals: &[Interval]) {
    // Lanes of other flows have loads and windows of their own: that small questions pass says nothing of a stream that stands.
    let flow_of = |end: End, lane: Option<u32>| {
        lanes
            .iter()
            .find(|l| l.end == end && Some(l.lane) == lane && l.role == LaneRole::Receive)
            .map(|l| l.flow)
    };
    let carrying: Vec<(Option<u16>, &Interval)> = intervals
        .iter()
        .filter(|slice| slice.received_bytes > 0)
        .map(|slice| (flow_of(slice.end, slice.lane), slice))
        .collect();
    let of_lane = |lane| of_lane(lane, lanes, intervals, &carrying);
    let found: Vec<Option<Vec<Silence>>> = lanes.iter().map(of_lane).collect();
    for (lane, silences) in lanes.iter_mut().zip(found) {
        lane.silences = silences;
    }
}

fn of_lane(
    lane: &LaneResult,
    lanes: &[LaneResult],
    intervals: &[Interval],
    carrying: &[(Option<u16>, &Interval)],
) -> Option<Vec<Silence>> {
    if lane.role != LaneRole::Receive {
        return None;
    }
    let is_mine = |i: &Interval| i.lane == Some(lane.lane) && i.end == lane.end;
    let mine: Vec<&Interval> = intervals.iter().filter(|i| is_mine(i)).collect();
    // A lane that was never silent for so long carried in every part of any silence.
    let steady = lanes.iter().any(|l| {
        let other = l.role == LaneRole::Receive && l.end == lane.end && l.lane != lane.lane;
        other && l.flow == lane.flow && l.longest_silence_ns.is_some_and(|ns| ns < STALL_NS)
    });
    let carried = |at: u64| {
        carrying.iter().any(|(flow, i)| {
            let then = (i.start_ns..i.end_ns()).contains(&at);
            then && i.end == lane.end && *flow == Some(lane.flow) && !is_mine(i)
        })
    };
    let silence = |span: Range<u64>| {
        let mut within = mine.iter().filter(|i| span.contains(&i.start_ns)).peekable();
        Silence {
            from_ns: span.start,
            length_ns: span.end - span.start,
            others_flowed: steady || (within.peek().is_some() && within.all(|i| carried(i.start_ns))),
            came_back: mine.iter().any(|i| i.end_ns() > span.end && i.received_bytes > 0),
        }
    };
    let mut found: Vec<Silence> = spans(lane, &mine).into_iter().map(silence).collect();
    found.sort_by_key(|silence| std::cmp::Reverse(silence.length_ns));
    // One that the others do not explain must not fall behind those that they do.
    found.sort_by_key(Silence::is_starved);
    found.truncate(SILENCES_MAX);
    Some(found)
}

fn spans(lane: &LaneResult, slices: &[&Interval]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = vec![];
    let mut since: Option<Range<u64>> = None;
    for slice in slices {
        if slice.received_bytes > 0 {
            found.extend(since.take());
        } else {
            since = Some(since.map_or(slice.start_ns, |s| s.start)..slice.end_ns());
        }
    }
    found.extend(since);
    found.retain(|span| span.end.saturating_sub(span.start) >= STALL_NS);
    // Slices of a long run may be longer than a silence, which the lane has counted itself.
    if let Some((length_ns, from_ns)) = lane.longest_silence_ns.zip(lane.longest_silence_from_ns)
        && length_ns >= STALL_NS
        && found.iter().all(|span| span.end - span.start < length_ns)
    {
        found.push(from_ns..from_ns.saturating_add(length_ns));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes of the server, each with what came in its tenths of a second.
    fn silences(lanes: &[&[u64]]) -> Vec<Vec<Silence>> {
        let mut results = vec![];
        let mut intervals = vec![];
        for (lane, received) in lanes.iter().enumerate() {
            let lane = lane as u32;
            results.push(LaneResult {
                lane,
                end: End::Server,
                role: LaneRole::Receive,
                ..LaneResult::default()
            });
            intervals.extend(received.iter().enumerate().map(|(i, bytes)| Interval {
                end: End::Server,
                lane: Some(lane),
                start_ns: i as u64 * 100_000_000,
                length_ns: 100_000_000,
                received_bytes: *bytes,
                ..Interval::default()
            }));
        }
        mark_silences(&mut results, &intervals);
        results.into_iter().map(|lane| lane.silences.unwrap()).collect()
    }

    #[test]
    fn a_blink_is_no_silence_and_a_second_is_one() {
        let mut flow = [5; 30];
        flow[10..19].fill(0);
        assert!(silences(&[&flow])[0].is_empty());
        flow[19] = 0;
        let silence = Silence {
            from_ns: 1_000_000_000,
            length_ns: 1_000_000_000,
            others_flowed: false,
            came_back: true,
        };
        assert_eq!(silences(&[&flow])[0], [silence]);
    }

    #[test]
    fn others_explain_a_silence_only_where_they_carried_all_the_while_and_the_lane_came_back() {
        let mut quiet = [5; 30];
        quiet[10..22].fill(0);
        assert!(silences(&[&quiet, &[5; 30]])[0][0].is_starved());
        let mut both = [5; 30];
        both[15] = 0;
        assert!(!silences(&[&quiet, &both])[0][0].is_starved());
        quiet[22..].fill(0);
        assert!(!silences(&[&quiet, &[5; 30]])[0][0].came_back);
    }

    #[test]
    fn the_silences_named_are_those_that_nothing_explains_then_the_longest() {
        // Ten silences that the other lane explains, and a shorter one that it shares.
        let mut first = vec![];
        for _ in 0..10 {
            first.extend([0; 15]);
            first.push(5);
        }
        let mut second = vec![5; first.len()];
        first.extend([0; 11]);
        second.extend([0; 11]);
        first.extend([5; 2]);
        second.extend([5; 2]);
        let found = &silences(&[&first, &second])[0];
        assert_eq!(found.len(), SILENCES_MAX);
        assert_eq!((found[0].length_ns, found[0].is_starved()), (1_100_000_000, false));
        assert!(found[1..].iter().all(|silence| silence.length_ns == 1_500_000_000));
    }

    #[test]
    fn numbers_from_a_peer_cannot_overflow() {
        let huge = Interval {
            end: End::Server,
            lane: Some(0),
            start_ns: u64::MAX,
            length_ns: u64::MAX,
            ..Interval::default()
        };
        let lane = LaneResult {
            end: End::Server,
            role: LaneRole::Receive,
            longest_silence_ns: Some(u64::MAX),
            longest_silence_from_ns: Some(u64::MAX),
            ..LaneResult::default()
        };
        mark_silences(&mut [lane], &[huge.clone(), Interval { received_bytes: 1, ..huge.clone() }, huge]);
    }
}
