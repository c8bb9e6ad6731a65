//! What is a host's doing and what a pair's: median polish (Tukey, Exploratory Data Analysis, ch. 11). A cell is taken for the sum of what
//! is common, what its sender adds, what its receiver adds, and a rest; medians keep one bad cell from moving anything but its own rest.

use super::Grid;

/// Rounds of the polish; four are enough for tables with a few bad cells, more change nothing that is seen.
const ROUNDS: usize = 6;
/// From the median absolute deviation to the standard deviation, for errors that are normal.
const NORMAL: f64 = 1.4826;

/// A table taken apart.
pub struct Polished {
    /// Common to all.
    pub common: f64,
    /// What each host adds as sender.
    pub sender: Vec<f64>,
    /// What each host adds as receiver.
    pub receiver: Vec<f64>,
    /// What is left of each cell.
    pub rest: Grid<f64>,
}

/// The middle value; the mean of two where there are two. `None` of nothing.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if odd {
        return Some(upper);
    }
    below.iter().copied().max_by(f64::total_cmp).map(|lower| f64::midpoint(lower, upper))
}

/// How far values lie from their median, as a standard deviation that outliers do not move.
pub fn spread(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let Some(middle) = median(&mut values) else { return 0.0 };
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    NORMAL * median(&mut values).unwrap_or(0.0)
}

/// The value below which this share of the values lies, between two of them where it falls there.
pub fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let at = share * values.len().checked_sub(1)? as f64;
    let (lower, upper) = (values.get(at.floor() as usize)?, values.get(at.ceil() as usize)?);
    Some(lower + (upper - lower) * at.fract())
}

/// Takes a table apart.
pub fn polish(table: &Grid<f64>) -> Polished {
    let hosts = table.hosts();
    let (mut common, mut sender, mut receiver) = (0.0, vec![0.0; hosts], vec![0.0; hosts]);
    let mut rest = table.clone();
    for _ in 0..ROUNDS {
        let rows: Vec<f64> = (0..hosts).map(|host| middle(rest.row(host).map(|(_, cell)| *cell))).collect();
        rest = rest.map(|from, _, cell| Some(cell - rows[from]));
        common += add(&mut sender, &rows);
        let columns: Vec<f64> =
            (0..hosts).map(|host| middle(rest.column(host).map(|(_, cell)| *cell))).collect();
        rest = rest.map(|_, to, cell| Some(cell - columns[to]));
        common += add(&mut receiver, &columns);
    }
    Polished { common, sender, receiver, rest }
}

/// A host of which nothing is known adds nothing.
fn middle(cells: impl Iterator<Item = f64>) -> f64 {
    median(&mut cells.collect::<Vec<_>>()).unwrap_or(0.0)
}

/// Adds to the effects of the hosts and takes out what is common to them.
fn add(effects: &mut [f64], more: &[f64]) -> f64 {
    for (effect, more) in effects.iter_mut().zip(more) {
        *effect += more;
    }
    let common = median(&mut effects.to_vec()).unwrap_or(0.0);
    for effect in effects.iter_mut() {
        *effect -= common;
    }
    common
}

/// How many standard deviations a normal value exceeds with this small probability (Acklam's rational approximation of the upper
/// tail, relative error below 1.2e-9 for probabilities below 0.024, which all that are asked for here are).
pub fn normal_tail(probability: f64) -> f64 {
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let q = (-2.0 * probability.clamp(1e-300, 0.024).ln()).sqrt();
    let horner = |terms: &[f64]| terms.iter().fold(0.0, |sum, term| sum * q + term);
    -horner(&C) / (horner(&D) * q + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(quantile(vec![4.0, 1.0, 3.0, 2.0], 0.75), Some(3.25));
        assert_eq!(quantile(vec![], 0.75), None);
        assert!((normal_tail(1e-4) - 3.719_016).abs() < 1e-5, "{}", normal_tail(1e-4));
        assert!((normal_tail(0.02) - 2.053_749).abs() < 1e-5, "{}", normal_tail(0.02));
    }

    #[test]
    fn what_a_host_adds_is_its_own_and_a_bad_cell_stays_alone() {
        let mut table = Grid::new(6);
        for from in 0..6 {
            for to in (0..6).filter(|to| *to != from) {
                let slow = if from == 2 { -0.5 } else { 0.0 } + if to == 4 { -0.25 } else { 0.0 };
                table.set(from, to, Some(10.0 + slow));
            }
        }
        table.set(0, 1, Some(3.0));
        table.set(5, 3, None);
        let polished = polish(&table);
        assert!((polished.common - 10.0).abs() < 1e-9);
        assert!((polished.sender[2] + 0.5).abs() < 1e-9 && polished.sender[0].abs() < 1e-9);
        assert!((polished.receiver[4] + 0.25).abs() < 1e-9 && polished.receiver[1].abs() < 1e-9);
        assert!((polished.rest.at(0, 1).unwrap() + 7.0).abs() < 1e-9);
        assert_eq!(polished.rest.at(5, 3), None);
    }
}
