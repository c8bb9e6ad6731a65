//! What many share: cells that are slow while others send and full when they are alone, across one cut through the hosts. Whatever hits a few
//! rounds from outside (another job, a busy machine) leaves such cells, too, so those behind the cut are made to send once more together:
//! what is too narrow is so again.

use pathproof_model::mesh::{SuspectKind, Who};

use super::{CELL_STILL_SLOW, Sides, Work};
use crate::mesh::Grid;
use crate::mesh::cut::cut;
use crate::mesh::polish::median;
use crate::migrate::Random;

/// A cell is contended below this under load, as a logarithm of its share of a healthy one.
const CONTENDED: f64 = -0.2;
/// Contended cells that are measured alone.
const ALONE: usize = 12;
/// How often those behind the cut send together again.
const TOGETHER: usize = 2;
/// Of the streams of such a repetition so many are slow again.
const AGAIN: f64 = 0.6;

impl Work<'_> {
    /// Cells that are slow while others run and full when they are alone, across one cut, and slow once more when all behind it send.
    pub(super) fn bottleneck(
        &mut self,
        shares: &Grid<f64>,
        slow: &[Sides],
        named: &[(usize, usize)],
        healthy: f64,
    ) {
        let contended = shares.map(|from, to, share| {
            let explained = slow[from].any() || slow[to].any() || named.contains(&(from, to));
            Some(!explained && (share / healthy).ln() < CONTENDED)
        });
        let cells: Vec<(usize, usize)> =
            contended.known().filter(|(.., is)| **is).map(|(from, to, _)| (from, to)).collect();
        let enough = (0.04 * shares.known().count() as f64).max(8.0);
        if cells.len() as f64 <= enough {
            return;
        }
        let every = (cells.len() / ALONE).max(1);
        let asked: Vec<(usize, usize)> = cells.iter().step_by(every).take(ALONE).copied().collect();
        // Really alone: one after the other.
        let full = healthy * CELL_STILL_SLOW.exp();
        let told: Vec<Option<f64>> = asked.iter().flat_map(|pair| self.quiet(&[*pair], full)).collect();
        let full = told.iter().flatten().filter(|share| **share > full).count();
        if (full as f64) < 0.8 * asked.len() as f64 {
            return;
        }
        let Some(group) = cut(&contended, &self.beginnings()) else { return };
        if !self.is_narrow_again(&group, &cells, shares, healthy) {
            return;
        }
        let ranks: Vec<u32> = group.into_iter().map(|host| host as u32).collect();
        let mut under_load: Vec<f64> = cells
            .iter()
            .filter_map(|(from, to)| shares.at(*from, *to))
            .map(|share| share / healthy)
            .collect();
        let effect = median(&mut under_load).map(|share| share - 1.0);
        let suspect = self.name(SuspectKind::Contention, Who::Group { ranks }, cells.len() as u32);
        suspect.effect = effect;
        suspect.repetitions = (asked.len() + TOGETHER) as u32;
    }

    /// Whether streams between a group and the others are slow again, as many at once as there can be, each time between others.
    fn is_narrow_again(
        &mut self,
        group: &[usize],
        cells: &[(usize, usize)],
        shares: &Grid<f64>,
        healthy: f64,
    ) -> bool {
        let inside = |host: &usize| group.contains(host);
        // Hosts of which nothing is known are not there to be asked.
        let others: Vec<usize> = (0..self.hosts)
            .filter(|host| !inside(host) && (shares.row(*host).count() + shares.column(*host).count()) > 0)
            .collect();
        let outward = cells.iter().filter(|(from, to)| inside(from) && !inside(to)).count();
        let inward = cells.iter().filter(|(from, to)| !inside(from) && inside(to)).count();
        let enough = healthy * CONTENDED.exp();
        (0..TOGETHER).all(|turn| {
            let facing = others.iter().cycle().skip(turn * others.len() / TOGETHER).take(others.len());
            let pair = |(own, other): (&usize, &usize)| {
                if outward >= inward { (*own, *other) } else { (*other, *own) }
            };
            let pairs: Vec<(usize, usize)> = group.iter().zip(facing).map(pair).collect();
            self.found.repetitions = self.found.repetitions.saturating_add(pairs.len() as u32);
            let told = self.again.together(&pairs);
            let told = self.shares(&pairs, &told, enough);
            let starved = told.iter().filter(|share| share.is_err()).count();
            let narrow = told
                .iter()
                .filter(|share| share.is_ok_and(|share| share.is_some_and(|x| x < enough)))
                .count();
            let is_narrow = |narrow: usize| narrow >= 2 && narrow as f64 >= AGAIN * pairs.len() as f64;
            if !is_narrow(narrow) && is_narrow(narrow + starved) {
                self.found.starved = self.found.starved.saturating_add(starved as u32);
            }
            is_narrow(narrow)
        })
    }

    /// Where the search for a cut begins beside its own idea: what the user said belongs together, and splits by chance.
    fn beginnings(&self) -> Vec<Vec<bool>> {
        let mut groups: Vec<u32> = self.measured.groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let by_group = groups.iter().map(|group| self.measured.groups.iter().map(|of| of == group).collect());
        let mut random = Random::new(self.hosts as u64);
        let by_chance: Vec<Vec<bool>> =
            (0..6).map(|_| (0..self.hosts).map(|_| random.bits() & 1 == 1).collect()).collect();
        by_group.take(64).chain(by_chance).collect()
    }
}
