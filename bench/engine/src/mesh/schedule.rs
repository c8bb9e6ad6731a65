//! Who is measured with whom, and when.
//!
//! Pairs of a round are disjoint, so nobody is measured twice at a time. The lower rank sends first, then the other way: where hosts of one
//! switch are ranks in a row, a round then loads an uplink in one direction at a time, and one that is too narrow shows (with directions
//! mixed at random half of it hides).

use crate::migrate::Random;

/// A pair, the lower rank first.
pub type Pair = (usize, usize);

/// All rounds of a tournament (circle method, Kirkman 1847): every pair once, nobody twice in a round, `hosts` - 1 rounds of an even number
/// of hosts and one more of an odd one.
pub fn tournament(hosts: usize) -> Vec<Vec<Pair>> {
    if hosts < 2 {
        return vec![];
    }
    let seats = hosts + hosts % 2;
    let ring = seats - 1;
    (0..ring)
        .map(|round| {
            let turning = (1..seats / 2).map(|k| ((round + k) % ring, (round + ring - k) % ring));
            std::iter::once((ring, round))
                .chain(turning)
                .filter(|(a, b)| *a < hosts && *b < hosts)
                .map(|(a, b)| (a.min(b), a.max(b)))
                .collect()
        })
        .collect()
}

/// So many of the rounds, drawn by the seed, in their order: each host is measured with as many others.
pub fn sampled(hosts: usize, rounds: usize, seed: u64) -> Vec<Vec<Pair>> {
    let all = tournament(hosts);
    if rounds >= all.len() {
        return all;
    }
    let mut random = Random::new(seed);
    let mut numbers: Vec<usize> = (0..all.len()).collect();
    // The first places of a shuffle.
    for at in 0..rounds {
        let other = at + random.below((numbers.len() - at) as u64) as usize;
        numbers.swap(at, other);
    }
    numbers.truncate(rounds);
    numbers.sort_unstable();
    numbers.into_iter().map(|number| all[number].clone()).collect()
}

/// A way to cut the hosts in half for the bisection: each host of one half is paired with one of the other, and all pairs send both ways
/// at once. With ranks in a row on each switch, this is what the layer above them must carry.
pub fn bisection(hosts: usize) -> Vec<Pair> {
    let half = hosts / 2;
    (0..half).map(|host| (host, host + hosts - half)).collect()
}

/// One step of the ladder: many that send to one, or one that sends to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The one.
    pub one: usize,
    /// The many.
    pub many: Vec<usize>,
}

/// The ladder: 2, 4, 8 … and finally all others, each rung with another host in the middle, and the many taken from all over the list.
pub fn ladder(hosts: usize, seed: u64) -> Vec<Rung> {
    let others = hosts.saturating_sub(1);
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(2), |size| Some(size * 2)).take_while(|size| *size < others).collect();
    if others >= 2 {
        sizes.push(others);
    }
    let first = Random::new(seed).below(hosts as u64) as usize;
    // A step that shares no factor with most sizes and leads far away, so that one switch is not asked again and again.
    let step = (hosts * 5 / 13).max(1);
    let rung = |(number, size): (usize, usize)| {
        let one = (first + number * step) % hosts;
        let many = (0..size).map(|at| (one + 1 + at * others / size) % hosts).collect();
        Rung { one, many }
    };
    sizes.into_iter().enumerate().map(rung).collect()
}

/// Takes pairs in turns of at most `at_once` in which nobody appears twice, in their order as far as that goes: those that are measured
/// again are to be as alone as the time allows.
pub fn turns(pairs: &[(usize, usize)], at_once: usize) -> Vec<Vec<(usize, usize)>> {
    let mut left = pairs.to_vec();
    let mut turns = Vec::new();
    while !left.is_empty() {
        let (mut turn, mut later): (Vec<(usize, usize)>, Vec<_>) = (vec![], vec![]);
        for pair in left {
            let busy = |host| turn.iter().any(|other| host == other.0 || host == other.1);
            let fits = turn.len() < at_once.max(1) && !busy(pair.0) && !busy(pair.1);
            if fits { turn.push(pair) } else { later.push(pair) }
        }
        turns.push(turn);
        left = later;
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_pair_once_and_nobody_twice_in_a_round() {
        for hosts in [2, 3, 4, 5, 7, 8, 31, 32, 255, 256] {
            let rounds = tournament(hosts);
            assert_eq!(rounds.len(), hosts - 1 + hosts % 2, "{hosts}");
            let pairs: Vec<Pair> = rounds.iter().flatten().copied().collect();
            let distinct: BTreeSet<Pair> = pairs.iter().copied().collect();
            assert_eq!((pairs.len(), distinct.len()), (hosts * (hosts - 1) / 2, pairs.len()));
            for round in &rounds {
                let seen: BTreeSet<usize> = round.iter().flat_map(|(a, b)| [*a, *b]).collect();
                assert_eq!(seen.len(), 2 * round.len());
                assert!(round.iter().all(|(a, b)| a < b && *b < hosts));
            }
        }
        assert!(tournament(1).is_empty() && tournament(0).is_empty());
    }

    #[test]
    fn a_sample_is_of_whole_rounds_and_the_seed_decides_it() {
        let all = tournament(256);
        let some = sampled(256, 24, 1);
        assert_eq!(some.len(), 24);
        assert!(some.iter().all(|round| all.contains(round)));
        assert_eq!(some, sampled(256, 24, 1));
        assert_ne!(some, sampled(256, 24, 2));
        assert_eq!(sampled(8, 99, 1), tournament(8));
    }

    #[test]
    fn the_ladder_rotates_and_ends_with_all() {
        let rungs = ladder(8, 1);
        assert_eq!(rungs.iter().map(|rung| rung.many.len()).collect::<Vec<_>>(), [2, 4, 7]);
        for hosts in [3, 4, 8, 32, 256] {
            let rungs = ladder(hosts, 7);
            assert_eq!(rungs.last().unwrap().many.len(), hosts - 1);
            let receivers: BTreeSet<usize> = rungs.iter().map(|rung| rung.one).collect();
            assert_eq!(receivers.len(), rungs.len(), "{hosts}: another receiver each time");
            for rung in rungs {
                let many: BTreeSet<usize> = rung.many.iter().copied().collect();
                assert!(many.len() == rung.many.len() && !many.contains(&rung.one), "{hosts}: {rung:?}");
            }
        }
        assert!(ladder(2, 1).is_empty() && ladder(1, 1).is_empty());
    }

    #[test]
    fn halves_face_each_other() {
        assert_eq!(bisection(8), [(0, 4), (1, 5), (2, 6), (3, 7)]);
        assert_eq!(bisection(5), [(0, 3), (1, 4)]);
        assert!(bisection(1).is_empty());
    }

    #[test]
    fn what_is_measured_again_is_disjoint_and_all_of_it_comes() {
        let pairs = [(0, 1), (1, 2), (3, 4), (0, 1), (5, 6)];
        let turns = turns(&pairs, 2);
        assert_eq!(turns, [vec![(0, 1), (3, 4)], vec![(1, 2), (5, 6)], vec![(0, 1)]]);
        assert_eq!(super::turns(&pairs, 0).len(), 5, "one at a time at least");
    }
}
