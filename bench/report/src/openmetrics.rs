//! OpenMetrics text (version 1.0.0), as a Prometheus textfile collector reads it: the figures of the last run, its checks
//! and their limits, and when it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use pathproof_model::figures::FigureUnit;
use pathproof_model::{Outcome, ResultDoc, RunOutcome, figures};

use crate::{Render, Shown, plain};

/// A document as metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenMetrics;

/// Samples of one family, which stand together.
#[derive(Default)]
struct Family {
    unit: &'static str,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

type Families = BTreeMap<String, Family>;

impl Render for OpenMetrics {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let mut families = Families::new();
        let hosts = [("client", plain::host(doc, 0)), ("server", plain::host(doc, 1))];
        run(doc, &hosts, &mut families);
        measured(doc, &hosts, &mut families);
        soaked(doc, &hosts, &mut families);
        judged(doc, &hosts, &mut families);
        for (name, family) in families {
            writeln!(out, "# TYPE {name} gauge")?;
            if !family.unit.is_empty() {
                writeln!(out, "# UNIT {name} {}", family.unit)?;
            }
            writeln!(out, "# HELP {name} {}", family.help)?;
            for (labels, value) in family.samples {
                writeln!(out, "{name}{{{labels}}} {value}")?;
            }
        }
        writeln!(out, "# EOF")
    }
}

fn run(doc: &ResultDoc, hosts: &[(&str, String)], families: &mut Families) {
    for outcome in [RunOutcome::Fit, RunOutcome::NotFit, RunOutcome::CannotTell, RunOutcome::None] {
        let mut of = hosts.to_vec();
        of.push(("outcome", plain::word(outcome)));
        let help = "What the run came to: 1 for that outcome.";
        add(families, "pathproof_run_outcome", "", help, &of, f64::from(u8::from(doc.outcome == outcome)));
    }
    if let Some(seconds) = seconds(doc.ended_at.as_ref().unwrap_or(&doc.started_at)) {
        let help = "When the run ended, since 1970.";
        add(families, "pathproof_run_timestamp_seconds", "seconds", help, hosts, seconds as f64);
    }
    for finding in &doc.findings {
        let mut of = hosts.to_vec();
        of.extend([("code", finding.code.clone()), ("severity", plain::word(finding.severity))]);
        let help = "How often something was noticed; pathproof explain CODE says what it means.";
        count(families, "pathproof_findings", help, &of);
    }
}

fn measured(doc: &ResultDoc, hosts: &[(&str, String)], families: &mut Families) {
    for figure in figures::all(doc) {
        let mut of = hosts.to_vec();
        of.extend([
            ("step", figure.index.to_string()),
            ("kind", plain::word(figure.step.kind)),
            ("name", figure.step.name.clone()),
            ("over", figure.step.over.clone().unwrap_or_default()),
            ("direction", figure.direction.map(|way| way.name().to_owned()).unwrap_or_default()),
            ("flow", figure.flow.unwrap_or_default().into()),
            ("local_nic", figure.local_nic.unwrap_or_default().into()),
            ("remote_nic", figure.remote_nic.unwrap_or_default().into()),
            ("family", figure.family.map(|family| family.to_string()).unwrap_or_default()),
        ]);
        // A label that is empty is one that is not there.
        of.retain(|(_, value)| !value.is_empty());
        let unit = if figure.unit == FigureUnit::Count { "" } else { figure.unit.word() };
        let ending = if unit.is_empty() { String::new() } else { format!("_{unit}") };
        let help = "A figure of a step, unrounded; docs/RESULT-FORMAT.md says what it is.";
        add(families, &format!("pathproof_{}{ending}", figure.name), unit, help, &of, figure.value);
    }
}

/// A soak, all of its time together.
fn soaked(doc: &ResultDoc, hosts: &[(&str, String)], families: &mut Families) {
    let Some(soak) = &doc.soak else { return };
    for figure in figures::of_soak(&soak.total) {
        let mut of = hosts.to_vec();
        of.extend(figure.direction.map(|way| ("direction", way.name().to_owned())));
        let unit = if figure.unit == FigureUnit::Count { "" } else { figure.unit.word() };
        let ending = if unit.is_empty() { String::new() } else { format!("_{unit}") };
        let help = "What a soak saw in all its time, unrounded; pathproof explain says what it is.";
        add(families, &format!("pathproof_soak_{}{ending}", figure.name), unit, help, &of, figure.value);
    }
}

fn judged(doc: &ResultDoc, hosts: &[(&str, String)], families: &mut Families) {
    for verdict in &doc.verdicts {
        for (number, check) in verdict.checks.iter().enumerate() {
            let mut of = hosts.to_vec();
            of.extend([
                ("subject", verdict.subject.to_string()),
                ("criterion", check.criterion.clone()),
                ("check", number.to_string()),
            ]);
            let passed = match check.outcome {
                Outcome::Pass => Some(1.0),
                Outcome::Fail => Some(0.0),
                // Unknown is neither.
                Outcome::Inconclusive | Outcome::NotJudged => None,
            };
            let help = "1 where a check passed, 0 where it failed; absent where it could not be determined or had no yardstick.";
            if let Some(passed) = passed {
                add(families, "pathproof_check_passed", "", help, &of, passed);
            }
            of.push(("in", check.unit.map(plain::word).unwrap_or_default()));
            for (name, value, help) in [
                (
                    "pathproof_check_measured",
                    check.measured,
                    "What a check measured, in the unit of its label.",
                ),
                ("pathproof_check_limit", check.limit, "What it was held against, in the unit of its label."),
            ] {
                if let Some(value) = value {
                    add(families, name, "", help, &of, value);
                }
            }
        }
    }
}

fn add(
    families: &mut Families,
    name: &str,
    unit: &'static str,
    help: &'static str,
    labels: &[(&str, String)],
    value: f64,
) {
    let family = families.entry(name.to_owned()).or_insert(Family { unit, help, samples: vec![] });
    family.samples.push((written(labels), value));
}

/// One more of the same.
fn count(families: &mut Families, name: &str, help: &'static str, labels: &[(&str, String)]) {
    let family = families.entry(name.to_owned()).or_insert(Family { unit: "", help, samples: vec![] });
    let labels = written(labels);
    match family.samples.iter_mut().find(|(known, _)| *known == labels) {
        Some((_, value)) => *value += 1.0,
        None => family.samples.push((labels, 1.0)),
    }
}

fn written(labels: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let value = Shown::new(value).into_string().replace('\\', "\\\\").replace('"', "\\\"");
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

/// Seconds since 1970 of `2026-11-28T20:34:04Z` (Hinnant's days from civil); none of what is no such time.
fn seconds(at: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| at.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !at.ends_with('Z') || !(1..=12).contains(&month) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_run_is_that_of_its_label() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2026-11-21T02:14:44Z", Some(1_795_227_284)),
            ("", None),
            ("2026-13-21T02:14:44Z", None),
            ("yesterday, at noon ", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_label_cannot_end_its_quotes() {
        assert_eq!(
            written(&[("a", "x\"} 1\n".into()), ("b", "\\".into())]),
            "a=\"x\\\"} 1\\\\n\",b=\"\\\\\""
        );
    }
}
