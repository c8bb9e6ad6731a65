//! What was judged and how it came out: checks with their numbers, verdicts made of them, and what a whole run
//! comes to.
//!
//! Refuses to know any limit: [`crate::judge()`] does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Subject;

/// One judgement: everything that was checked about one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What was judged.
    pub subject: Subject,
    /// How it came out: the worst of its checks. `not-judged` where its main criterion, the first of the checks,
    /// was not judged and nothing else is worse.
    pub outcome: Outcome,
    /// Why, with the measured numbers and the limits: the texts of the checks, the worst first.
    pub reason: String,
    /// What was checked, one by one, the main criterion first. Empty in documents of
    /// builds that did not write them.
    #[serde(default)]
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Whether it fails by this criterion and by no other.
    pub fn fails_only(&self, criterion: &str) -> bool {
        let mut failed = self.checks.iter().filter(|check| check.outcome == Outcome::Fail).peekable();
        failed.peek().is_some() && failed.all(|check| check.criterion == criterion)
    }

    /// The verdict of some checks; none without checks.
    pub fn of(subject: impl Into<Subject>, checks: Vec<Check>) -> Option<Verdict> {
        let main = checks.first()?;
        let worst = checks.iter().map(|check| check.outcome).max()?;
        let outcome = match worst {
            // A criterion beside the main one may have nothing to say about this run.
            Outcome::NotJudged => main.outcome,
            worst => worst,
        };
        let urgency = |check: &&Check| match check.outcome {
            Outcome::Fail => 0,
            Outcome::Inconclusive => 1,
            Outcome::Pass | Outcome::NotJudged => 2,
        };
        let mut sorted: Vec<&Check> = checks.iter().collect();
        sorted.sort_by_key(urgency);
        let reason = sorted.iter().map(|check| check.text.as_str()).collect::<Vec<_>>().join("; ");
        Some(Verdict { subject: subject.into(), outcome, reason, checks })
    }
}

/// One criterion held against what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Stable name of the criterion: `round-trip-p99`, `link-share`, `ip-mtu` …
    pub criterion: String,
    /// What was measured, in `unit`; absent where it is not known, or is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// What it was held against, in `unit`; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Unit of both; absent where neither is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// How it came out.
    pub outcome: Outcome,
    /// One phrase with the numbers.
    pub text: String,
}

impl Check {
    fn new(criterion: &str, outcome: Outcome, text: impl Into<String>) -> Check {
        let criterion = criterion.into();
        Check { criterion, measured: None, limit: None, unit: None, outcome, text: text.into() }
    }

    /// The limit is kept.
    pub fn pass(criterion: &str, text: impl Into<String>) -> Check {
        Check::new(criterion, Outcome::Pass, text)
    }

    /// The limit is missed.
    pub fn fail(criterion: &str, text: impl Into<String>) -> Check {
        Check::new(criterion, Outcome::Fail, text)
    }

    /// What was measured does not suffice to tell.
    pub fn inconclusive(criterion: &str, text: impl Into<String>) -> Check {
        Check::new(criterion, Outcome::Inconclusive, text)
    }

    /// There is no limit to hold this against, and the text says so.
    pub fn not_judged(criterion: &str, text: impl Into<String>) -> Check {
        Check::new(criterion, Outcome::NotJudged, text)
    }

    /// Passes or fails.
    pub fn of(criterion: &str, kept: bool, text: impl Into<String>) -> Check {
        Check::new(criterion, if kept { Outcome::Pass } else { Outcome::Fail }, text)
    }

    /// Adds the numbers: what was measured and what it was held against, as far as they are known.
    pub fn numbers(
        mut self,
        measured: impl Into<Option<f64>>,
        limit: impl Into<Option<f64>>,
        unit: Unit,
    ) -> Check {
        // JSON knows no infinities; what is not a number is not known.
        let known = |number: Option<f64>| number.filter(|n| n.is_finite());
        (self.measured, self.limit) = (known(measured.into()), known(limit.into()));
        self.unit = Some(unit);
        self
    }
}

/// Units of checks, named as the suffixes of the document's fields are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bit/s.
    BitsPerS,
    /// Bytes.
    Bytes,
    /// A part of a whole, from 0 to 1.
    Share,
    /// Things counted.
    Count,
    /// Things counted, for each 10^9 payload bytes.
    PerGb,
}

/// How a judgement came out, the worst last. No data is never a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Fit.
    Pass,
    /// Measured, and there is no limit to hold it against.
    NotJudged,
    /// Cannot tell.
    Inconclusive,
    /// Not fit.
    Fail,
}

impl Outcome {
    /// The one word that pages have for it; what failed is to be seen in a column of others.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::NotJudged => "not judged",
            Outcome::Inconclusive => "cannot tell",
            Outcome::Fail => "FAIL",
        }
    }
}

/// What a whole run comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Something was judged, and all of it passed.
    Fit,
    /// Something failed.
    NotFit,
    /// Nothing failed, and something could not be determined or nothing was judged.
    CannotTell,
    /// No answer: the run could not be made, or did not come to its end.
    #[default]
    None,
}

/// The exit code of a run that was not fit.
pub const EXIT_NOT_FIT: u8 = 1;
/// The exit code of a run that could not be made.
pub const EXIT_COULD_NOT_RUN: u8 = 2;
/// The exit code of a run that cannot tell.
pub const EXIT_CANNOT_TELL: u8 = 3;
/// The exit code of a run that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;
/// The exit code of a run that SIGTERM or SIGHUP ended.
pub const EXIT_TERMINATED: u8 = 143;

/// The answer of a run: what the last line, the document and the exit code all say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// In a word.
    pub outcome: RunOutcome,
    /// As the process ends.
    pub exit_code: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(outcomes: &[Outcome]) -> Option<Outcome> {
        let checks = outcomes.iter().map(|outcome| Check::new("x", *outcome, "text")).collect();
        Some(Verdict::of("subject", checks)?.outcome)
    }

    #[test]
    fn a_verdict_is_the_worst_of_its_checks_and_its_main_criterion_must_be_judged() {
        use Outcome::{Fail, Inconclusive, NotJudged, Pass};
        for (checks, expected) in [
            (&[][..], None),
            (&[Pass, Pass], Some(Pass)),
            (&[Pass, Fail, Inconclusive], Some(Fail)),
            (&[Pass, Inconclusive, NotJudged], Some(Inconclusive)),
            (&[Pass, NotJudged], Some(Pass)),
            (&[NotJudged, Pass], Some(NotJudged)),
            (&[NotJudged, Fail], Some(Fail)),
            (&[NotJudged], Some(NotJudged)),
        ] {
            assert_eq!(outcome(checks), expected, "{checks:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_null() {
        let check = Check::pass("x", "text").numbers(f64::NAN, f64::INFINITY, Unit::Share);
        assert_eq!((check.measured, check.limit), (None, None));
        assert_eq!(serde_json::to_value(&check).unwrap()["unit"], "share");
        let words = serde_json::to_value([Outcome::NotJudged, Outcome::Pass]).unwrap();
        assert_eq!(words, serde_json::json!(["not-judged", "pass"]));
    }
}
