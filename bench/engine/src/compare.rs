//! Two runs, or two sets of runs, side by side: which figures changed by more than a gate and by more than noise, and what
//! else is not the same.
//!
//! Noise is read from what the documents hold: several runs where there are enough of them, else half or fifths of seconds within a run, else the
//! stored distribution. What none of them tells is `null`, and a figure that may have regressed is then never a pass.

mod noise;
mod settings;
mod statistics;

use std::collections::BTreeMap;

use pathproof_model::compare::{CompareOutcome, ComparedFigure, Comparison, FigureVerdict, Runs, SCHEMA};
use pathproof_model::figures::{self, Figure, FigureUnit, GOODPUT, IP_MTU};
use pathproof_model::{Check, Direction, NodeId, Outcome, ResultDoc, Subject, Trips, Unit, Verdict};

/// One run: where it was read, and its document.
#[derive(Clone, Debug)]
pub struct Run {
    /// As typed.
    pub file: String,
    /// The document.
    pub doc: ResultDoc,
}

/// The gate where nobody names another.
pub const GATE: f64 = 0.10;

/// What is held against the gate in any case.
const GATED: [&str; 6] =
    [GOODPUT, "requests_per_second", "round_trip_p50", "service_p50", "response_p50", IP_MTU];
/// What is, where each side has several runs: tails and short rehearsals vary from run to run by more than any gate, and one run
/// does not show by how much.
const GATED_REPEATED: [&str; 5] =
    ["round_trip_p99", "service_p99", "response_p99", "migration_total", "migration_downtime"];

/// A time that is longer by less than this is not longer to anybody: clock, interrupt and scheduler move it so far.
const TIME_STEP_S: f64 = 10e-6;

/// What tells one figure from others, from run to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    step: String,
    /// Steps of one name are told by their order.
    occurrence: usize,
    flow: Option<String>,
    direction: Option<&'static str>,
    local_nic: Option<String>,
    remote_nic: Option<String>,
    family: Option<u8>,
    figure: &'static str,
}

/// The figures of a document by what tells them apart, in its order.
fn keyed(doc: &ResultDoc) -> Vec<(Key, Figure<'_>)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let occurrences: Vec<usize> = doc
        .steps
        .iter()
        .map(|step| {
            let times = seen.entry(step.name.as_str()).or_default();
            *times += 1;
            *times - 1
        })
        .collect();
    figures::all(doc)
        .into_iter()
        .map(|figure| {
            let key = Key {
                step: figure.step.name.clone(),
                occurrence: occurrences[figure.index],
                flow: figure.flow.map(str::to_owned),
                direction: figure.direction.map(Direction::name),
                local_nic: figure.local_nic.map(str::to_owned),
                remote_nic: figure.remote_nic.map(str::to_owned),
                family: figure.family,
                figure: figure.name,
            };
            (key, figure)
        })
        .collect()
}

/// Holds `b` against `a`.
pub fn compare(a: &[Run], b: &[Run], gate: f64) -> Comparison {
    type Sides<'a> = [Vec<Figure<'a>>; 2];
    let mut order: Vec<Key> = Vec::new();
    let mut found: BTreeMap<Key, Sides> = BTreeMap::new();
    for (side, runs) in [a, b].into_iter().enumerate() {
        for run in runs {
            for (key, figure) in keyed(&run.doc) {
                let sides = found.entry(key.clone()).or_insert_with(|| {
                    order.push(key);
                    Sides::default()
                });
                sides[side].push(figure);
            }
        }
    }
    let mut pairs: Vec<ComparedFigure> =
        order.iter().map(|key| pair(key, &found[key], [a.len(), b.len()], gate)).collect();
    pairs.sort_by(|one, other| one.verdict.cmp(&other.verdict).then(badness(other).total_cmp(&badness(one))));
    let settings = settings::changes(a, b, &pairs);
    let likely_cause = settings::likely_cause(&settings, &pairs);
    let (outcome, reason) = outcome(&pairs, gate, likely_cause.as_deref(), settings.len());
    Comparison {
        schema: SCHEMA.into(),
        a: runs(a),
        b: runs(b),
        gate,
        outcome,
        reason,
        pairs,
        settings,
        likely_cause,
    }
}

fn runs(runs: &[Run]) -> Runs {
    let host =
        |id| runs.iter().find_map(|run| run.doc.environment(id).and_then(|host| host.hostname.clone()));
    Runs {
        files: runs.iter().map(|run| run.file.clone()).collect(),
        started_at: runs.iter().map(|run| run.doc.started_at.clone()).collect(),
        client: host(NodeId::CLIENT),
        server: host(NodeId::SERVER),
    }
}

/// How much worse it became, as a share.
fn badness(pair: &ComparedFigure) -> f64 {
    match (pair.change, pair.more_is_better) {
        (Some(change), Some(true)) => -change,
        (Some(change), Some(false)) => change,
        _ => 0.0,
    }
}

fn pair(key: &Key, sides: &[Vec<Figure>; 2], runs: [usize; 2], gate: f64) -> ComparedFigure {
    let values = sides.each_ref().map(|side| side.iter().map(|figure| figure.value).collect::<Vec<f64>>());
    let [a, b] = values.each_ref().map(|values| statistics::median(values));
    let any = sides.iter().flatten().next();
    let (unit, more_is_better) =
        any.map_or((FigureUnit::Count, None), |figure| (figure.unit, figure.more_is_better));
    let change = a.zip(b).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a - 1.0);
    let repeated = runs.iter().all(|runs| *runs > 1);
    // Of a flow beside another the same holds as of a tail.
    let beside = sides
        .iter()
        .flatten()
        .any(|figure| figure.step.beside().any(|flow| Some(flow.name.as_str()) == figure.flow));
    // A few round trips of the control connection say whether anybody answers.
    let asked_only = sides.iter().flatten().any(|figure| figure.step.kind.traits().trips == Trips::Control);
    let gated = more_is_better.is_some()
        && !asked_only
        && (GATED.contains(&key.figure) && (repeated || !beside)
            || GATED_REPEATED.contains(&key.figure) && repeated);
    // A run that lacks it may be the one in which it broke.
    let complete = values[0].len() == runs[0] && values[1].len() == runs[1];
    let noise = if complete { noise::of(sides, &values) } else { noise::Noise::UNKNOWN };
    let mut pair = ComparedFigure {
        step: key.step.clone(),
        flow: key.flow.clone(),
        direction: any.and_then(|figure| figure.direction),
        local_nic: key.local_nic.clone(),
        remote_nic: key.remote_nic.clone(),
        family: key.family,
        figure: key.figure.into(),
        unit,
        a,
        b,
        change,
        significant: noise.significant,
        basis: noise.basis,
        p_value: noise.p_value,
        more_is_better,
        gated,
        verdict: FigureVerdict::NotJudged,
    };
    if gated {
        pair.verdict = verdict(&pair, complete, gate);
    }
    pair
}

fn verdict(pair: &ComparedFigure, complete: bool, gate: f64) -> FigureVerdict {
    let (Some(a), Some(b)) = (pair.a, pair.b) else {
        return if pair.a.is_some() { FigureVerdict::CannotTell } else { FigureVerdict::NotJudged };
    };
    let worse = match pair.more_is_better {
        Some(true) => a - b,
        _ => b - a,
    };
    let least = if pair.unit == FigureUnit::Seconds { TIME_STEP_S } else { 0.0 };
    let beyond = |difference: f64| difference > (a.abs() * gate).max(least);
    match (beyond(worse), beyond(-worse), pair.significant) {
        (true, _, Some(true)) => FigureVerdict::Regressed,
        (true, _, None) => FigureVerdict::CannotTell,
        _ if !complete => FigureVerdict::CannotTell,
        (_, true, Some(true)) => FigureVerdict::Improved,
        _ => FigureVerdict::Same,
    }
}

fn outcome(
    pairs: &[ComparedFigure],
    gate: f64,
    cause: Option<&str>,
    settings: usize,
) -> (CompareOutcome, String) {
    let of = |verdict| pairs.iter().filter(move |pair| pair.verdict == verdict);
    let because = match cause {
        Some(cause) => format!(", likely because {cause}"),
        None if settings > 0 => format!("; {settings} settings differ, and which of them matters is open"),
        None => "; no setting that is known differs".into(),
    };
    if let Some(worst) = of(FigureVerdict::Regressed).next() {
        let many = of(FigureVerdict::Regressed).count();
        let others = if many > 1 { format!(" (and {} more)", many - 1) } else { String::new() };
        let what = format!("{} of {} is {}", worst.figure, worst.place(), worst.change_in_words());
        return (CompareOutcome::Regression, format!("{what}{others}{because}"));
    }
    let open = of(FigureVerdict::CannotTell).count();
    if let Some(first) = of(FigureVerdict::CannotTell).next() {
        let others = if open > 1 { format!(" (and {} more)", open - 1) } else { String::new() };
        let what = format!("{} of {}", first.figure, first.place());
        let why = match (first.b, first.change) {
            (None, _) => format!("{what} was not measured in B{others}"),
            _ => format!(
                "{what} is {}, and one run or few cannot tell whether that is noise{others}; give several runs of each side (A,A2,A3,A4)",
                first.change_in_words()
            ),
        };
        return (CompareOutcome::CannotTell, why);
    }
    let judged = of(FigureVerdict::Same).count() + of(FigureVerdict::Improved).count();
    if judged == 0 {
        let why = "the two sides share no figure that is judged: other steps, NICs or transports".into();
        return (CompareOutcome::CannotTell, why);
    }
    let better = of(FigureVerdict::Improved).count();
    let better = if better > 0 { format!(", {better} became better") } else { String::new() };
    let why =
        format!("none of {judged} figures is worse by more than {:.0} % and its noise{better}", gate * 100.0);
    (CompareOutcome::NoRegression, why)
}

/// A comparison as a verdict of the run that is held against a baseline.
pub fn as_verdict(comparison: &Comparison) -> Option<Verdict> {
    let main = match comparison.outcome {
        CompareOutcome::NoRegression => Outcome::Pass,
        CompareOutcome::Regression => Outcome::Fail,
        CompareOutcome::CannotTell => Outcome::Inconclusive,
    };
    let whole = Check { outcome: main, ..Check::pass("baseline", comparison.reason.as_str()) };
    let single = comparison.pairs.iter().filter(|pair| pair.gated).map(|pair| {
        let outcome = match pair.verdict {
            FigureVerdict::Regressed => Outcome::Fail,
            FigureVerdict::CannotTell => Outcome::Inconclusive,
            FigureVerdict::Improved | FigureVerdict::Same => Outcome::Pass,
            FigureVerdict::NotJudged => Outcome::NotJudged,
        };
        let text = format!(
            "{} of {}: {} against {} of the baseline, {}",
            pair.figure,
            pair.place(),
            pair.shown(pair.b),
            pair.shown(pair.a),
            pair.change_in_words()
        );
        let (unit, scale) = match pair.unit {
            FigureUnit::BitsPerSecond => (Unit::BitsPerS, 1.0),
            FigureUnit::Seconds => (Unit::Ns, 1e9),
            FigureUnit::Bytes => (Unit::Bytes, 1.0),
            FigureUnit::Ratio => (Unit::Share, 1.0),
            FigureUnit::Count => (Unit::Count, 1.0),
        };
        let allowed =
            if pair.more_is_better == Some(true) { 1.0 - comparison.gate } else { 1.0 + comparison.gate };
        let check =
            Check { outcome, ..Check::pass(&format!("baseline-{}", pair.figure.replace('_', "-")), text) };
        check.numbers(pair.b.map(|b| b * scale), pair.a.map(|a| a * allowed * scale), unit)
    });
    Verdict::of(Subject::Baseline, std::iter::once(whole).chain(single).collect())
}

#[cfg(test)]
mod tests;
