//! JUnit XML, as CI systems read it: a suite for each verdict, a case for each check.
//!
//! What could not be determined is an error, for a build must not be green by it; what has no yardstick is skipped, with the reason.

use std::io;

use pathproof_model::{Check, Outcome, ResultDoc, RunOutcome, Severity, Verdict, figures};

use crate::plain::{self, escaped};
use crate::{Render, Shown, page};

/// A document as a test report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Junit;

/// Cases of a suite by how they came out.
#[derive(Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Counts {
        let mut counts = Counts::default();
        for outcome in outcomes {
            counts.tests += 1;
            match outcome {
                Outcome::Pass => {}
                Outcome::Fail => counts.failures += 1,
                Outcome::Inconclusive => counts.errors += 1,
                Outcome::NotJudged => counts.skipped += 1,
            }
        }
        counts
    }

    fn attributes(self) -> String {
        let Counts { tests, failures, errors, skipped } = self;
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
    }
}

impl Render for Junit {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let (client, server) = (plain::host(doc, 0), plain::host(doc, 1));
        let name = escaped(format!("{} {client} to {server}", doc.tool.name));
        let took_ns =
            doc.steps.iter().map(|step| step.started_ns.saturating_add(step.elapsed_ns)).max().unwrap_or(0);
        let ended = ended(doc);
        let outcomes =
            doc.verdicts.iter().flat_map(|verdict| cases(verdict).into_iter().map(|check| check.outcome));
        let all: Vec<Outcome> = outcomes.chain(ended.as_ref().map(|check| check.outcome)).collect();
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        let time = took_ns as f64 / 1e9;
        writeln!(out, "<testsuites name=\"{name}\" {} time=\"{time:.3}\">", Counts::of(&all).attributes())?;
        let at = escaped(doc.started_at.trim_end_matches('Z'));
        for (number, verdict) in doc.verdicts.iter().enumerate() {
            let checks = cases(verdict);
            let counts = Counts::of(checks.iter().map(|check| &check.outcome));
            let subject = escaped(verdict.subject.to_string());
            // The time of the run is that of its first suite; a check has none of its own.
            let time = if number == 0 { time } else { 0.0 };
            writeln!(
                out,
                "  <testsuite name=\"{subject}\" {} time=\"{time:.3}\" timestamp=\"{at}\" hostname=\"{}\">",
                counts.attributes(),
                escaped(&client)
            )?;
            if number == 0 {
                properties(doc, out)?;
            }
            for (at, check) in checks.iter().enumerate() {
                case(doc, &subject, at, check, out)?;
            }
            writeln!(out, "  </testsuite>")?;
        }
        if let Some(check) = ended {
            writeln!(
                out,
                "  <testsuite name=\"run\" {} time=\"0.000\" timestamp=\"{at}\">",
                Counts::of([&check.outcome]).attributes()
            )?;
            case(doc, "run", 0, &check, out)?;
            writeln!(out, "  </testsuite>")?;
        }
        writeln!(out, "</testsuites>")
    }
}

/// Why the run is not fit, where no verdict says so: it ended early, or nothing had a yardstick.
fn ended(doc: &ResultDoc) -> Option<Check> {
    let told = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Fail | Outcome::Inconclusive);
    let open = doc.outcome != RunOutcome::Fit && !doc.verdicts.iter().any(told);
    open.then(|| Check::inconclusive("outcome", page::answer(doc).text.as_str()))
}

/// The checks of a verdict; documents of old builds have its reason only.
fn cases(verdict: &Verdict) -> Vec<Check> {
    match verdict.checks.is_empty() {
        false => verdict.checks.clone(),
        true => vec![Check { outcome: verdict.outcome, ..Check::pass("verdict", &verdict.reason) }],
    }
}

/// The hosts, and every figure of the run.
fn properties(doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "    <properties>")?;
    let mut add = |name: String, value: String| {
        writeln!(out, "      <property name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value))
    };
    add("client".into(), plain::host(doc, 0))?;
    add("server".into(), plain::host(doc, 1))?;
    add("outcome".into(), plain::word(doc.outcome))?;
    add("pathproof".into(), doc.tool.version.clone())?;
    for figure in figures::all(doc) {
        let words = [
            Some(figure.step.name.as_str()),
            figure.flow,
            figure.local_nic,
            figure.remote_nic,
            figure.direction.filter(|_| figure.local_nic.is_some()).map(|way| way.name()),
            Some(figure.name),
        ];
        let name = words.into_iter().flatten().collect::<Vec<_>>().join(" / ");
        add(format!("{name} [{}]", figure.unit), figure.value.to_string())?;
    }
    writeln!(out, "    </properties>")
}

fn case(doc: &ResultDoc, subject: &str, at: usize, check: &Check, out: &mut dyn io::Write) -> io::Result<()> {
    // Names are unique within a suite, and stay the same from run to run.
    let number = if at == 0 { String::new() } else { format!(" {}", at + 1) };
    let name = escaped(format!("{}{number}", check.criterion));
    writeln!(
        out,
        "    <testcase classname=\"pathproof.{}\" name=\"{name}\" time=\"0.000\">",
        subject.replace('/', ".")
    )?;
    let number = |number: Option<f64>| number.map(|number| number.to_string());
    let unit = check.unit.map(plain::word);
    let numbers: Vec<(&str, String)> =
        [("measured", number(check.measured)), ("limit", number(check.limit)), ("unit", unit)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
    if !numbers.is_empty() {
        writeln!(out, "      <properties>")?;
        for (name, value) in numbers {
            writeln!(out, "        <property name=\"{name}\" value=\"{}\"/>", escaped(value))?;
        }
        writeln!(out, "      </properties>")?;
    }
    let text = escaped(&check.text);
    let kind = escaped(&check.criterion);
    match check.outcome {
        Outcome::Pass => {}
        Outcome::NotJudged => writeln!(out, "      <skipped message=\"not judged: {text}\"/>")?,
        Outcome::Inconclusive => writeln!(out, "      <error type=\"cannot-tell\" message=\"{text}\"/>")?,
        Outcome::Fail => {
            writeln!(
                out,
                "      <failure type=\"{kind}\" message=\"{text}\">{}</failure>",
                advice(doc, check)
            )?;
        }
    }
    writeln!(out, "    </testcase>")
}

/// What is known of a failure besides: the findings that are errors, each in a line.
fn advice(doc: &ResultDoc, check: &Check) -> String {
    let errors = doc.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let own: Vec<_> = errors.clone().filter(|finding| finding.code == check.criterion).collect();
    let told: Vec<_> = if own.is_empty() { errors.collect() } else { own };
    let line = |finding: &&pathproof_model::Finding| {
        format!(
            "{}: {} {}",
            Shown::new(&finding.code),
            Shown::new(&finding.evidence),
            Shown::new(&finding.next)
        )
    };
    let lines: Vec<String> = told.iter().map(line).map(escaped).collect();
    lines.join("\n")
}
