//! A bottleneck that many share: cells that are slow under load and full alone lie across one cut through the hosts (what is behind the
//! uplink and what is not), and hardly any within its sides. The largest cut is looked for by local search from a few beginnings,
//! and of few hosts among all.

use super::Grid;

/// Of all contended pairs, so many must lie across the cut: else it is no one bottleneck.
const ACROSS_MIN: f64 = 0.85;
/// Of the few pairs of few hosts two that are chance are a fifth. What is one by chance does not hold when all behind it send together again.
const ACROSS_MIN_OF_FEW: f64 = 0.75;
/// Of so many hosts each cut is tried: where few cells are contended, one more that is chance leaves the search on a level on which no single
/// host is better elsewhere.
const ALL_TRIED: usize = 16;
/// Rounds of the power iteration; a beginning need not be exact.
const ITERATIONS: usize = 60;

/// The hosts of the smaller side of the cut that the contended cells lie across.
pub fn cut(contended: &Grid<bool>, beginnings: &[Vec<bool>]) -> Option<Vec<usize>> {
    let hosts = contended.hosts();
    let is = |from: usize, to: usize| contended.at(from, to) == Some(&true);
    let is_pair = |a: usize, b: usize| a != b && (is(a, b) || is(b, a));
    let neighbours: Vec<Vec<usize>> =
        (0..hosts).map(|a| (0..hosts).filter(|b| is_pair(a, *b)).collect()).collect();
    let pairs = neighbours.iter().map(Vec::len).sum::<usize>() / 2;
    let across = |side: &[bool]| {
        let ends = (0..hosts).flat_map(|a| neighbours[a].iter().map(move |b| (a, *b)));
        ends.filter(|(a, b)| side[*a] && !side[*b]).count()
    };
    let best = if hosts <= ALL_TRIED {
        largest(&neighbours)
    } else {
        let own = std::iter::once(spectral(&neighbours));
        own.chain(beginnings.iter().filter(|side| side.len() == hosts).cloned())
            .map(|side| climb(side, &neighbours))
            .max_by_key(|side| across(side))?
    };
    let least = if hosts <= ALL_TRIED { ACROSS_MIN_OF_FEW } else { ACROSS_MIN };
    if (across(&best) as f64) <= least * pairs as f64 {
        return None;
    }
    let smaller = best.iter().filter(|inside| **inside).count() * 2 <= hosts;
    let side: Vec<bool> = best.iter().map(|inside| *inside == smaller).collect();
    let members: Vec<usize> = (0..hosts).filter(|host| side[*host]).collect();
    // Of many, a member has most of its cells to the other side contended, not one or two that had a bad moment.
    let belongs = |host: &usize| {
        let known = (0..hosts).filter(|other| {
            !side[*other] && (contended.at(*host, *other).is_some() || contended.at(*other, *host).is_some())
        });
        let slow = neighbours[*host].iter().filter(|other| !side[**other]).count();
        hosts <= 16 || slow * 2 > known.count()
    };
    let members: Vec<usize> = members.into_iter().filter(belongs).collect();
    (!members.is_empty()).then_some(members)
}

/// The largest cut of few hosts; of several the first.
fn largest(neighbours: &[Vec<usize>]) -> Vec<bool> {
    let hosts = neighbours.len();
    let near: Vec<u32> =
        neighbours.iter().map(|all| all.iter().fold(0, |bits, host| bits | 1 << host)).collect();
    let across = |side: u32| -> u32 {
        (0..hosts).filter(|host| side >> host & 1 == 1).map(|host| (near[host] & !side).count_ones()).sum()
    };
    // The last host stays where it is: the other half of the cuts are the same ones.
    let all = 0..1u32 << hosts.saturating_sub(1);
    let best = all.rev().max_by_key(|side| across(*side)).unwrap_or(0);
    (0..hosts).map(|host| best >> host & 1 == 1).collect()
}

/// Moves one host at a time to the other side while that lets more pairs lie across.
fn climb(mut side: Vec<bool>, neighbours: &[Vec<usize>]) -> Vec<bool> {
    let gain_of = |side: &[bool], host: usize| {
        let same = neighbours[host].iter().filter(|other| side[**other] == side[host]).count();
        2 * same as i64 - neighbours[host].len() as i64
    };
    let mut gains: Vec<i64> = (0..side.len()).map(|host| gain_of(&side, host)).collect();
    for _ in 0..4 * side.len() {
        let Some((host, gain)) = gains.iter().copied().enumerate().max_by_key(|(_, gain)| *gain) else {
            break;
        };
        if gain <= 0 {
            break;
        }
        side[host] = !side[host];
        for touched in neighbours[host].iter().copied().chain([host]) {
            gains[touched] = gain_of(&side, touched);
        }
    }
    side
}

/// The signs of the eigenvector that belongs to the smallest eigenvalue of the graph: for a graph with two sides, those sides.
fn spectral(neighbours: &[Vec<usize>]) -> Vec<bool> {
    // Shifted so that the smallest eigenvalue becomes the largest in size.
    let shift = neighbours.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let mut vector: Vec<f64> = (0..neighbours.len()).map(|host| (host as f64 * 0.7 + 0.3).sin()).collect();
    for _ in 0..ITERATIONS {
        let next: Vec<f64> = neighbours
            .iter()
            .enumerate()
            .map(|(host, near)| shift * vector[host] - near.iter().map(|other| vector[*other]).sum::<f64>())
            .collect();
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length <= f64::MIN_POSITIVE {
            break;
        }
        vector = next.into_iter().map(|x| x / length).collect();
    }
    vector.iter().map(|x| *x > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contended(hosts: usize, is: impl Fn(usize, usize) -> bool) -> Grid<bool> {
        let mut grid = Grid::new(hosts);
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                grid.set(from, to, Some(is(from, to)));
            }
        }
        grid
    }

    #[test]
    fn the_hosts_behind_an_uplink_are_found_and_a_crowd_is_no_uplink() {
        let behind = [1, 4, 6, 11, 17, 20];
        let is = |host: usize| behind.contains(&host);
        assert_eq!(cut(&contended(24, |a, b| is(a) != is(b)), &[]), Some(behind.to_vec()));
        // One direction of the uplink is enough.
        assert_eq!(cut(&contended(24, |a, b| is(a) && !is(b)), &[]), Some(behind.to_vec()));
        // Everything is slow: no cut of it holds 85 %.
        assert_eq!(cut(&contended(24, |_, _| true), &[]), None);
        assert_eq!(cut(&contended(24, |_, _| false), &[]), None);
    }

    #[test]
    fn a_host_with_two_bad_moments_is_not_taken_for_a_member() {
        let inside = |host: usize| (8..16).contains(&host);
        let grid = contended(32, |a, b| inside(a) != inside(b) || (a == 20 && (b == 9 || b == 21)));
        assert_eq!(cut(&grid, &[]), Some((8..16).collect()));
    }
}
