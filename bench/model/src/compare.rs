//! Two runs side by side, as values: figures with their change, settings that differ, and what it comes to.
//!
//! Refuses to compute any of it: `pathproof_engine::compare` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Direction;
use crate::figures::FigureUnit;
use crate::units::{BitsPerSecond, Bytes, Nanoseconds};

/// Name of the schema that comparisons of this version carry.
pub const SCHEMA: &str = "pathproof-compare/1";

/// What became of B against A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// `pathproof-compare/1`.
    pub schema: String,
    /// The runs that B is held against.
    pub a: Runs,
    /// The runs that are judged.
    pub b: Runs,
    /// How much worse a figure may be, as a share of A.
    pub gate: f64,
    /// What it comes to.
    pub outcome: CompareOutcome,
    /// Why, in a sentence.
    pub reason: String,
    /// The figures, the worst first.
    pub pairs: Vec<ComparedFigure>,
    /// Settings of the hosts, the program and the plan that are not the same.
    pub settings: Vec<SettingChange>,
    /// The one change of a setting that explains what became slower; `null` where nothing did, or more than one may have.
    pub likely_cause: Option<String>,
}

/// The runs of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runs {
    /// Where they were read, as typed.
    pub files: Vec<String>,
    /// When each began.
    pub started_at: Vec<String>,
    /// Host name of the client, where it is known.
    pub client: Option<String>,
    /// Host name of the server, where it is known.
    pub server: Option<String>,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedFigure {
    /// The step it was measured in.
    pub step: String,
    /// The flow within the step, where it has several.
    pub flow: Option<String>,
    /// Which way, where it has one.
    pub direction: Option<Direction>,
    /// NIC of the client, where the figure is one of a pair or of a NIC.
    pub local_nic: Option<String>,
    /// NIC of the server, where the figure is one of a pair.
    pub remote_nic: Option<String>,
    /// IP version, where the figure is one of a family.
    pub family: Option<u8>,
    /// Its name: `goodput`, `round_trip_p99` …
    pub figure: String,
    /// Its unit.
    pub unit: FigureUnit,
    /// Median of the runs of A; `null` where no run of A has it.
    pub a: Option<f64>,
    /// Median of the runs of B; `null` where no run of B has it.
    pub b: Option<f64>,
    /// `b / a - 1`; `null` where either is unknown, or A is 0.
    pub change: Option<f64>,
    /// Whether the difference is more than noise; `null` where the documents do not hold enough to tell.
    pub significant: Option<bool>,
    /// What `significant` rests on.
    pub basis: Basis,
    /// How likely so large a difference is by chance alone; `null` where the test gives no such number.
    pub p_value: Option<f64>,
    /// Whether more of it is better; `null` where that depends.
    pub more_is_better: Option<bool>,
    /// Whether it is held against the gate; the others are told.
    pub gated: bool,
    /// What became of it.
    pub verdict: FigureVerdict,
}

/// What the noise of a figure was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Mann-Whitney over the runs, four of each side or more.
    Runs,
    /// Mann-Whitney over half seconds within the runs, and no run of one side within the range of the other's. Of windows below 2.5 s fifths of a
    /// second, without a test: the sides are farther apart than both are wide, or the middle of each lies within the other.
    Intervals,
    /// Confidence intervals (99 %) of a quantile of the stored distributions, and no run within the range of the other's.
    Distribution,
    /// It has no noise: a path MTU is what it is.
    Exact,
    /// Nothing to tell it by.
    Unknown,
}

/// What became of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureVerdict {
    /// Worse, beyond the gate and beyond the noise.
    Regressed,
    /// Worse beyond the gate, and nobody can tell whether that is noise; or gone from B.
    CannotTell,
    /// Better, beyond the gate and beyond the noise.
    Improved,
    /// Within the gate, or within the noise.
    Same,
    /// Told, and not held against the gate; or only B has it.
    NotJudged,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CompareOutcome {
    /// No gated figure regressed, and all of A's are there.
    NoRegression,
    /// At least one did.
    Regression,
    /// A figure is missing, or its noise is not known; or no figure is shared.
    CannotTell,
}

impl CompareOutcome {
    /// The exit code: as of a check.
    pub fn exit_code(self) -> u8 {
        match self {
            CompareOutcome::NoRegression => 0,
            CompareOutcome::Regression => 1,
            CompareOutcome::CannotTell => 3,
        }
    }
}

/// A setting that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// `client`, `server`, `program` or `plan`; `path` for what was measured of it.
    pub place: String,
    /// Its name: `nics.eth1.ip_mtu_bytes`, `kernel` …
    pub setting: String,
    /// In A; `null` where it is not known there.
    pub a: Option<String>,
    /// In B; `null` where it is not known there.
    pub b: Option<String>,
}

impl ComparedFigure {
    /// Where it was measured, for people.
    pub fn place(&self) -> String {
        let mut place = self.step.clone();
        let nics = [self.local_nic.as_deref(), self.remote_nic.as_deref()];
        let nics: Vec<&str> = nics.into_iter().flatten().collect();
        if !nics.is_empty() {
            place += &format!(", {}", nics.join(" - "));
        }
        if let Some(family) = self.family {
            place += &format!(", IPv{family}");
        }
        match (&self.flow, self.direction.filter(|_| !nics.is_empty())) {
            (Some(flow), _) => place += &format!(", {flow}"),
            (None, Some(way)) => place += &format!(", {}", way.name()),
            (None, None) => {}
        }
        place
    }

    /// `4.69 Gbit/s`; a question mark for what is not known.
    pub fn shown(&self, value: Option<f64>) -> String {
        value.map_or_else(|| "?".into(), |value| shown(self.unit, value))
    }

    /// By how much it became better or worse, in words: `slower by 12 %`.
    pub fn change_in_words(&self) -> String {
        let Some(change) = self.change else {
            return match (self.a, self.b) {
                (Some(_), None) => "not measured in B".into(),
                (None, Some(_)) => "not measured in A".into(),
                _ => "change unknown".into(),
            };
        };
        let percent = change.abs() * 100.0;
        let percent = if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") };
        let word = match (self.unit, change < 0.0) {
            _ if change == 0.0 => return "the same".into(),
            (FigureUnit::BitsPerSecond, true) => "slower by",
            (FigureUnit::BitsPerSecond, false) => "faster by",
            (FigureUnit::Seconds, false) => "longer by",
            (FigureUnit::Seconds, true) => "shorter by",
            (FigureUnit::Bytes | FigureUnit::Ratio | FigureUnit::Count, true) => "less by",
            (FigureUnit::Bytes | FigureUnit::Ratio | FigureUnit::Count, false) => "more by",
        };
        format!("{word} {percent}")
    }
}

fn shown(unit: FigureUnit, value: f64) -> String {
    match unit {
        FigureUnit::BitsPerSecond => BitsPerSecond(value as u64).to_string(),
        FigureUnit::Seconds => Nanoseconds((value * 1e9).round() as u64).to_string(),
        // A packet size is not rounded to KiB.
        FigureUnit::Bytes if value < 65_536.0 => format!("{value} B"),
        FigureUnit::Bytes => Bytes(value as u64).to_string(),
        FigureUnit::Ratio => format!("{:.1} %", value * 100.0),
        FigureUnit::Count if value.fract() == 0.0 => format!("{value}"),
        FigureUnit::Count => format!("{value:.2}"),
    }
}
