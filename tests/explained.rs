//! No word on the screen, no check and no limit is without an explanation: `pathproof explain` knows them all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pathproof_model::criteria::limits;
use pathproof_model::glossary::meanings;
use pathproof_model::soak::SoakEventKind;

use crate::support::*;

/// The sources below a folder (or one file), their tests cut off.
fn sources(place: &str) -> String {
    let mut open: Vec<PathBuf> = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(place)];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            text.push_str(source.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
    text
}

/// The texts that stand in quotes right behind one of these beginnings.
fn quoted_behind<'a>(source: &'a str, beginnings: &[&str]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for beginning in beginnings {
        for (at, _) in source.match_indices(beginning) {
            let rest = source[at + beginning.len()..].trim_start();
            found.extend(rest.strip_prefix('"').and_then(|rest| rest.split('"').next()));
        }
    }
    found
}

#[test]
fn every_row_and_every_column_of_a_report_is_explained() {
    let screen = sources("bench/report/src/screen");
    let rows = quoted_behind(
        &screen,
        &["label:", "pairwise(", "Direction::Out =>", "Direction::In =>", "Direction::Both =>"],
    );
    let pages = sources("bench/report/src/page") + &sources("src/host/devices.rs");
    let columns = quoted_behind(&pages, &["Column::words(", "Column::figures("]);
    assert!(rows.len() >= 12 && columns.len() >= 55, "{} rows, {} columns", rows.len(), columns.len());
    let unknown: Vec<&&str> = rows.iter().chain(&columns).filter(|word| meanings(word).is_empty()).collect();
    assert!(unknown.is_empty(), "bench/model/src/glossary/words.txt does not explain {unknown:?}");
}

#[test]
fn every_check_and_every_limit_is_explained() {
    let judge = sources("bench/model/src/judge")
        + &sources("bench/model/src/judge.rs")
        + &sources("src/cli/compare.rs");
    let mut checks = quoted_behind(
        &judge,
        &[
            "Check::pass(",
            "Check::fail(",
            "Check::inconclusive(",
            "Check::not_judged(",
            "Check::of(",
            "at_most(",
            "share_at_least(",
        ],
    );
    // What is called by a name that is put together, or comes from a list.
    let kebab = |word: &&str| {
        word.contains('-')
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
    };
    checks.extend(judge.split('"').skip(1).step_by(2).filter(kebab));
    assert!(checks.len() >= 40, "{checks:?}");
    let known = |check: &&str| !meanings(check).is_empty() || !meanings(&format!("{check}-p99")).is_empty();
    let unknown: Vec<&&str> = checks.iter().filter(|check| !known(check)).collect();
    assert!(unknown.is_empty(), "bench/model/src/glossary/words.txt does not explain {unknown:?}");
    // The table that the result format sends programs to.
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MEASUREMENT.md"));
    let page = page.unwrap();
    let (_, table) = page.split_once("| criterion | of | limit |").expect("the table stands there");
    let (table, _) = table.split_once("\n\n").expect("it has an end");
    let named: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let missing: Vec<&&str> = checks.iter().filter(|check| !is_in(&named, check)).collect();
    assert!(missing.is_empty(), "the table of docs/MEASUREMENT.md has no {missing:?}");
    for limit in limits() {
        assert!(
            !meanings(&limit.name()).is_empty() && !meanings(limit.bare()).is_empty(),
            "{}",
            limit.name()
        );
        assert!(limit.about.len() > 20, "{} has no reason in criteria.toml", limit.name());
    }
}

/// Whether a table names a check, or the percentile that is put behind it.
fn is_in(named: &BTreeSet<&str>, check: &str) -> bool {
    named.contains(check) || named.contains(format!("{check}-p99").as_str())
}

/// The texts in quotes, in order.
fn quoted(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

#[test]
fn every_column_and_every_figure_of_a_form_for_programs_is_explained() {
    let csv = sources("bench/report/src/csv.rs");
    let heads = ["const HEADS", "const JUDGED"].map(|list| {
        let (_, rest) = csv.split_once(list).unwrap();
        rest.split_once("];").unwrap().0.split_once('=').unwrap().1.to_owned()
    });
    let figures = sources("bench/model/src/figures.rs");
    let metrics = sources("bench/report/src/openmetrics.rs");
    let named = |text: &&str| {
        text.len() > 2 && text.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    let mut words: BTreeSet<&str> = heads.iter().flat_map(|list| quoted(list)).collect();
    assert_eq!(words.len(), 18, "{words:?}");
    words.extend(quoted(&figures).filter(named));
    words.extend(quoted(&metrics).filter(|text| text.starts_with("pathproof_")).filter(named));
    words.extend(["subject", "criterion", "code", "severity", "in", "slot_start"]);
    assert!(words.len() > 55, "{words:?}");
    let unknown: Vec<&&str> = words.iter().filter(|word| meanings(word).is_empty()).collect();
    assert!(unknown.is_empty(), "bench/model/src/glossary/words.txt does not explain {unknown:?}");
}

#[test]
fn every_verdict_is_explained_by_its_name() {
    let subjects = sources("bench/model/src/subject.rs");
    let names = quoted_behind(&subjects, &["f.write_str(", "write!(f, "]);
    assert!(names.len() > 20, "{names:?}");
    let of_codes = |name: &&&str| !name.starts_with("finding/");
    let unknown: Vec<&&str> =
        names.iter().filter(of_codes).filter(|name| meanings(name).is_empty()).collect();
    assert!(unknown.is_empty(), "bench/model/src/glossary/words.txt does not explain {unknown:?}");
}

#[test]
fn every_word_of_a_mesh_a_soak_and_a_comparison_is_explained() {
    let mesh = sources("bench/report/src/mesh.rs");
    let mut words = quoted_behind(&mesh, &["Column::words(", "Column::figures(", "Fact::new("]);
    let suspects = sources("bench/model/src/mesh/suspect.rs");
    words.extend(suspects.split("SuspectKind::").skip(1).filter_map(|kind| {
        kind.split_once(" => \"")
            .filter(|(kind, _)| kind.chars().all(char::is_alphabetic))?
            .1
            .split('"')
            .next()
    }));
    words.extend(SoakEventKind::BAD.map(SoakEventKind::word));
    let comparison = sources("bench/report/src/comparison.rs");
    let outcomes =
        ["CompareOutcome::", "FigureVerdict::"].into_iter().flat_map(|of| comparison.split(of).skip(1));
    words.extend(outcomes.filter_map(|arm| {
        let said = arm.split_once(" => ").filter(|(kind, _)| kind.chars().all(char::is_alphabetic))?.1;
        said.trim_start_matches('(').strip_prefix('"')?.split('"').next()
    }));
    // Signs, which stand in help.
    words.retain(|word| word.chars().any(char::is_alphabetic));
    assert!(words.len() > 25 && words.contains("WORSE") && words.contains("reach"), "{words:?}");
    let unknown: Vec<&&str> = words.iter().filter(|word| meanings(word).is_empty()).collect();
    assert!(unknown.is_empty(), "bench/model/src/glossary/words.txt does not explain {unknown:?}");
}

/// What really stands on screens, as the snapshots have it: the words before the figures.
#[test]
fn every_row_of_the_stored_screens_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/report/tests/snapshots");
    let (mut rows, mut unknown) = (0, BTreeSet::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("screen-") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // Rows of figures: a name at the left edge, then so much room that it is a column.
        for line in text
            .lines()
            .skip_while(|line| *line != "---")
            .filter(|line| line.starts_with(|c: char| c.is_alphabetic()))
        {
            let Some((name, _)) = line.split_once("   ") else { continue };
            rows += 1;
            let named =
                name.split_whitespace().count() <= 3 && !name.ends_with([':', '.']) && !name.contains(':');
            if named && meanings(name).is_empty() {
                unknown.insert(name.to_owned());
            }
        }
    }
    assert!(rows > 20, "only {rows} rows were looked at");
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_word_is_explained_as_it_is_typed_and_a_wrong_one_gets_the_nearest_right_one() {
    for (typed, says) in [
        (&["explain", "resent"][..], "sent a second time"),
        (&["explain", "round", "trip"], "20 to 200"),
        (&["explain", "link_share_min"], "Built in: 0.8"),
        (&["explain", "throughput.link_share_min"], "Built in: 0.8"),
        (&["explain", "round-trip-jitter"], "Limit latency.jitter_max_ns: 5ms"),
        (&["explain", "size"], "64KiB"),
        (&["explain", "CPU", "C/S"], "cores"),
        (&["explain", "throughput/tcp/out"], "oodput"),
        (&["explain", "finding/MTU-BLACKHOLE"], "MTU-BLACKHOLE (error)"),
    ] {
        let output = run(typed);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(says), "{typed:?}: {text}{}", stderr(&output));
        assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
    }
    let wrong = run(&["explain", "worst", "secnd"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(stderr(&wrong).contains("the nearest is worst second"), "{}", stderr(&wrong));
}
