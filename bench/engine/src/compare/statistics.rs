//! Medians, and the rank test of Mann and Whitney (1947): exact without ties for small samples, by the normal approximation with
//! tie correction otherwise.

/// Largest sample of either side for which the distribution is counted out.
const EXACT_MAX: usize = 20;

/// The median; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The two-sided probability that samples of one distribution differ as much in rank; `None` where a side is empty.
pub(super) fn mann_whitney(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|value| (*value, true)).chain(b.iter().map(|value| (*value, false))).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut ranks_of_a, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(value, _)| *value == all[at].0).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks_of_a += rank * all[at..at + same].iter().filter(|(_, of_a)| *of_a).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let (m, n) = (a.len() as f64, b.len() as f64);
    let u = ranks_of_a - m * (m + 1.0) / 2.0;
    let smaller = u.min(m * n - u);
    if ties == 0.0 && a.len().max(b.len()) <= EXACT_MAX {
        return Some(exact(a.len(), b.len(), smaller as usize));
    }
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        // All of them are the same.
        return Some(1.0);
    }
    let z = ((m * n / 2.0 - smaller - 0.5) / variance.sqrt()).max(0.0);
    Some((2.0 * upper_tail(z)).min(1.0))
}

/// The share of orders with a statistic of at most `u`, twice: the distribution is symmetric.
fn exact(m: usize, n: usize, u: usize) -> f64 {
    // Orders of `i` of the one and `j` of the other by their statistic: the largest of all is of either side.
    let mut counts = vec![vec![vec![0.0f64; m * n + 1]; n + 1]; m + 1];
    for i in 0..=m {
        for j in 0..=n {
            if i == 0 || j == 0 {
                counts[i][j][0] = 1.0;
                continue;
            }
            for at in 0..=i * j {
                let above = if at >= j { counts[i - 1][j][at - j] } else { 0.0 };
                counts[i][j][at] = above + counts[i][j - 1][at];
            }
        }
    }
    let all: f64 = counts[m][n].iter().sum();
    let low: f64 = counts[m][n][..=u.min(m * n)].iter().sum();
    (2.0 * low / all).min(1.0)
}

/// Share of the normal distribution above `z` (Abramowitz and Stegun 26.2.17, wrong by less than 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    series * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 5e-4, "{a:?} is not {b}");
    }

    /// The probabilities that R's wilcox.test and published tables give.
    #[test]
    fn known_answers_of_the_rank_test() {
        // Nothing in common: 2 of 70 orders of four and four, 2 of 252 of five and five.
        close(mann_whitney(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]), 2.0 / 70.0);
        close(mann_whitney(&[6.0, 7.0, 8.0, 9.0, 10.0], &[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 252.0);
        // Three against three can never show anything at 5 %.
        close(mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 0.1);
        // The example of R's manual (Hollander and Wolfe, permeability): one-sided 0.1272, two-sided 0.2544.
        let x = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let y = [1.15, 0.88, 0.90, 0.74, 1.21];
        close(mann_whitney(&x, &y), 0.2544);
        close(mann_whitney(&y, &x), 0.2544);
    }

    #[test]
    fn ties_and_large_samples_are_approximated() {
        close(mann_whitney(&[1.0; 9], &[1.0; 9]), 1.0);
        // U = 50 of 900 for 30 against 30 shifted by most of their range.
        let low: Vec<f64> = (0..30).map(f64::from).collect();
        let high: Vec<f64> = (0..30).map(|at| f64::from(at) + 20.5).collect();
        assert!(mann_whitney(&low, &high).unwrap() < 1e-6);
        let same: Vec<f64> = (0..30).map(|at| f64::from(at) + 0.5).collect();
        assert!(mann_whitney(&low, &same).unwrap() > 0.8);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!((median(&[7.0]), median(&[])), (Some(7.0), None));
    }
}
