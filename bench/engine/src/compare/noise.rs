//! Whether two sets of values differ by more than noise, by the best that the documents hold.

use pathproof_model::HistogramName;
use pathproof_model::compare::Basis;
use pathproof_model::figures::{Figure, GOODPUT, IP_MTU};

use super::statistics::{mann_whitney, median};
use crate::record::LatencyHistogram;

/// Fewest runs of each side that a test over runs can show anything with (2 of 70 orders are 2.9 %).
const RUNS_MIN: usize = 4;
/// Runs are independent of each other: the usual bound.
const RUNS_P: f64 = 0.05;
/// Half seconds of one run follow each other: what hardly depends on the one before, and a strict bound.
const BLOCK_NS: u64 = 500_000_000;
/// Of a window that is too short for those, as the streams of a check are. Such blocks do depend on each other: no test is made of them, and they
/// show what is plain alone.
const SHORT_BLOCK_NS: u64 = 200_000_000;
/// The bound for those.
const BLOCKS_P: f64 = 0.01;
/// Fewest blocks of a run.
const BLOCKS_MIN: usize = 5;
/// 99 % of a normal distribution lie within so many deviations.
const Z_99: f64 = 2.576;
/// A median that moves by more than this from run to run is no habit of clocks, schedulers and processors asleep: something lies on the way.
const PLAIN_S: f64 = 1e-3;
/// Round trips one after the other are alike; only one in so many counts as a sample.
const SAMPLES_ALIKE: f64 = 10.0;

/// What is known of the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    pub significant: Option<bool>,
    pub basis: Basis,
    pub p_value: Option<f64>,
}

impl Noise {
    /// Nothing.
    pub(super) const UNKNOWN: Noise = Noise { significant: None, basis: Basis::Unknown, p_value: None };
}

/// Of one figure, with its values in the runs of both sides; every run has it.
pub(super) fn of(sides: &[Vec<Figure>; 2], values: &[Vec<f64>; 2]) -> Noise {
    let [a, b] = values;
    if sides.iter().any(Vec::is_empty) {
        return Noise::UNKNOWN;
    }
    if sides[0][0].name == IP_MTU {
        return Noise { significant: Some(apart(values)), basis: Basis::Exact, p_value: None };
    }
    if a.len().min(b.len()) >= RUNS_MIN {
        let p_value = mann_whitney(a, b);
        return Noise { significant: p_value.map(|p| p < RUNS_P), basis: Basis::Runs, p_value };
    }
    if sides[0][0].name == GOODPUT {
        for block_ns in [BLOCK_NS, SHORT_BLOCK_NS] {
            let blocks = sides.each_ref().map(|side| {
                let each: Option<Vec<Vec<f64>>> =
                    side.iter().map(|figure| blocks(figure, block_ns)).collect();
                each.map(|each| each.concat())
            });
            let [Some(a), Some(b)] = &blocks else { continue };
            let (significant, p_value) = if block_ns == BLOCK_NS {
                let p_value = mann_whitney(a, b);
                (p_value.map(|p| p < BLOCKS_P && apart(values)), p_value)
            } else {
                (plain(a, b), None)
            };
            return Noise { significant, basis: Basis::Intervals, p_value };
        }
    }
    if let Some((of, q)) = sides[0][0].quantile {
        let ranges = sides.each_ref().map(|side| {
            let each: Option<Vec<(f64, f64)>> = side.iter().map(|figure| interval(figure, of, q)).collect();
            each.map(|each| {
                each.into_iter().fold((f64::MAX, f64::MIN), |sum, one| (sum.0.min(one.0), sum.1.max(one.1)))
            })
        });
        if let [Some(a), Some(b)] = ranges {
            let apart = a.1 < b.0 || b.1 < a.0;
            // What lies within the other's range is noise; what does not may be what the next run shows again, or not: one run
            // knows nothing of that, unless it is plain.
            let repeated = values.iter().all(|values| values.len() > 1);
            let moved = median(&values[0]).zip(median(&values[1])).map(|(a, b)| (b - a).abs());
            let is_plain = q <= 0.5 && moved.is_some_and(|moved| moved > PLAIN_S);
            let significant = (repeated || !apart || is_plain).then_some(apart);
            return Noise { significant, basis: Basis::Distribution, p_value: None };
        }
    }
    Noise::UNKNOWN
}

/// The least and the most.
fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |sum, value| (sum.0.min(*value), sum.1.max(*value)))
}

/// Whether no run of one side lies within the range of the other's.
fn apart(values: &[Vec<f64>; 2]) -> bool {
    let [a, b] = values.each_ref().map(|side| range(side));
    a.1 < b.0 || b.1 < a.0
}

/// What short blocks show: a difference, where the sides are farther apart than they are wide together; none, where the middle of each lies
/// within the other; else nothing.
fn plain(a: &[f64], b: &[f64]) -> Option<bool> {
    let (one, other) = (range(a), range(b));
    let gap = (other.0 - one.1).max(one.0 - other.1);
    if gap > (one.1 - one.0) + (other.1 - other.0) {
        return Some(true);
    }
    let within = |values: &[f64], of: (f64, f64)| median(values).is_some_and(|m| of.0 <= m && m <= of.1);
    (within(a, other) && within(b, one)).then_some(false)
}

/// The goodput of each block of the window of a flow, in bit/s; `None` where there are too few.
fn blocks(figure: &Figure, block_ns: u64) -> Option<Vec<f64>> {
    let flow = flow(figure)?;
    let series = figure.step.series.iter().filter(|series| series.flow == flow);
    // Exactly one end counts what is carried.
    let mut carried = series.map(|series| series.carried().collect::<Vec<_>>()).filter(|c| !c.is_empty());
    let slices = carried.next().filter(|_| carried.next().is_none())?;
    let (mut blocks, mut bytes, mut length_ns) = (Vec::new(), 0u128, 0u128);
    for slice in slices {
        bytes += u128::from(slice.bytes);
        length_ns += u128::from(slice.length_ns);
        if length_ns >= u128::from(block_ns) {
            blocks.push(bytes as f64 * 8.0 * 1e9 / length_ns as f64);
            (bytes, length_ns) = (0, 0);
        }
    }
    (blocks.len() >= BLOCKS_MIN).then_some(blocks)
}

/// The number of the flow that a figure belongs to.
fn flow(figure: &Figure) -> Option<u16> {
    let flows = &figure.step.flows;
    let at = match figure.flow {
        Some(name) => flows.iter().position(|flow| flow.name == name)?,
        None => flows.iter().position(|flow| !flow.beside).unwrap_or(0),
    };
    u16::try_from(at).ok()
}

/// Where the quantile of what was sampled lies, in seconds: between the values whose ranks bound it.
fn interval(figure: &Figure, of: HistogramName, q: f64) -> Option<(f64, f64)> {
    let flow = flow(figure)?;
    // Round trips of a traffic step are service times too, and stand there once.
    let names: &[HistogramName] =
        if of == HistogramName::Rtt { &[of, HistogramName::Service] } else { &[of] };
    let mut whole = figure.step.histograms.iter().filter(|record| {
        record.lane.is_none() && record.flow.is_none_or(|of| of == flow) && names.contains(&record.name)
    });
    let histogram = LatencyHistogram::from_record(whole.next()?).ok()?;
    let n = histogram.count() as f64 / SAMPLES_ALIKE;
    let reach = Z_99 * (q * (1.0 - q) / n).sqrt();
    // With too few samples the bound is the largest of them, which bounds nothing.
    if !reach.is_finite() || q + reach >= 1.0 || q - reach <= 0.0 {
        return None;
    }
    let at = |q: f64| histogram.quantile(q).map(|ns| ns as f64 / 1e9);
    Some((at(q - reach)?, at(q + reach)?))
}
