//! What is either so or not (a pair that reaches, an MTU that is the usual one): the fewest culprits that explain what deviates.

use super::{Grid, Who};

/// A host is to blame where so many of its cells deviate ...
const SHARE: f64 = 0.75;
/// ... and at least so many: two pairs that fail are two pairs.
const CELLS_MIN: usize = 3;

/// Whom the cells accuse that deviate (`Some(true)`), with how many of those each explains: the host that explains most first, then
/// single pairs.
pub fn cover(deviates: &Grid<bool>) -> Vec<(Who, u32)> {
    let hosts = deviates.hosts();
    let mut left = deviates.clone();
    let mut culprits = Vec::new();
    // As sender and as receiver: how many cells deviate that nobody explains yet, of how many that are known.
    let counts = |left: &Grid<bool>, host: usize| {
        let count = |cells: &mut dyn Iterator<Item = bool>| cells.filter(|deviates| *deviates).count();
        let sends = (count(&mut left.row(host).map(|(_, d)| *d)), deviates.row(host).count());
        let receives = (count(&mut left.column(host).map(|(_, d)| *d)), deviates.column(host).count());
        (sends, receives)
    };
    let share = |(deviant, of): (usize, usize)| deviant as f64 / of.max(1) as f64;
    loop {
        let worst = (0..hosts)
            .map(|host| (host, counts(&left, host)))
            .max_by(|(_, a), (_, b)| share(a.0).max(share(a.1)).total_cmp(&share(b.0).max(share(b.1))));
        let Some((host, (sends, receives))) = worst else { break };
        let (as_sender, as_receiver) = (share(sends), share(receives));
        if as_sender.max(as_receiver) < SHARE || sends.0.max(receives.0) < CELLS_MIN {
            break;
        }
        let (who, explained) = match (as_sender.min(as_receiver) >= SHARE, as_sender > as_receiver) {
            (true, _) => (Who::Host { rank: host as u32 }, sends.0 + receives.0),
            (false, true) => (Who::Sender { rank: host as u32 }, sends.0),
            (false, false) => (Who::Receiver { rank: host as u32 }, receives.0),
        };
        culprits.push((who, explained as u32));
        left = left.map(|from, to, deviates| Some(*deviates && from != host && to != host));
    }
    let pairs = left.known().filter(|(.., deviates)| **deviates);
    culprits.extend(pairs.map(|(from, to, _)| (Who::Pair { from: from as u32, to: to as u32 }, 1)));
    culprits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(hosts: usize, deviates: impl Fn(usize, usize) -> bool) -> Grid<bool> {
        let mut grid = Grid::new(hosts);
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                grid.set(from, to, Some(deviates(from, to)));
            }
        }
        grid
    }

    #[test]
    fn hosts_directions_and_pairs_are_told_apart() {
        assert_eq!(cover(&grid(8, |_, _| false)), []);
        assert_eq!(cover(&grid(8, |a, b| a == 3 || b == 3)), [(Who::Host { rank: 3 }, 14)]);
        assert_eq!(cover(&grid(8, |_, b| b == 5)), [(Who::Receiver { rank: 5 }, 7)]);
        assert_eq!(cover(&grid(8, |a, _| a == 5)), [(Who::Sender { rank: 5 }, 7)]);
        assert_eq!(cover(&grid(8, |a, b| (a, b) == (1, 6))), [(Who::Pair { from: 1, to: 6 }, 1)]);
        // Two pairs of one host are no host.
        let two = cover(&grid(8, |a, b| a == 2 && b < 2));
        assert_eq!(two, [(Who::Pair { from: 2, to: 0 }, 1), (Who::Pair { from: 2, to: 1 }, 1)]);
        let both = cover(&grid(16, |a, b| a == 3 || b == 3 || (a, b) == (7, 9)));
        assert_eq!(both, [(Who::Host { rank: 3 }, 30), (Who::Pair { from: 7, to: 9 }, 1)]);
    }

    #[test]
    fn what_is_not_known_is_nobodys_fault() {
        let mut some = grid(8, |_, b| b == 5);
        for from in 0..4 {
            some.set(from, 5, None);
        }
        assert_eq!(cover(&some), [(Who::Receiver { rank: 5 }, 3)]);
        some.set(4, 5, None);
        assert_eq!(cover(&some).len(), 2, "two cells are two pairs");
    }
}
