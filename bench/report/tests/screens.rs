//! The first screen of every outcome, rendered from documents of real runs: each fits a terminal of 80 x 24 with its prompt, and
//! none leaves out that something is wrong.
//!
//! The documents are shortened: what a screen does not read, and what belongs to the host alone, was taken out.

use std::path::{Path, PathBuf};

use pathproof_model::{
    Check, Finding, Outcome, ResultDoc, RunOutcome, Severity, StepKind, Subject, Unit, Verdict,
};
use pathproof_report::{Look, Render, Screen};

fn documents() -> Vec<(String, ResultDoc)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        ["tests/screens", "tests/documents", "../../results/golden/v1", "../../results/golden/v2"]
            .into_iter()
            .flat_map(|folder| std::fs::read_dir(here.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
    files.sort();
    let read = |file: &PathBuf| {
        let text = std::fs::read(file).unwrap();
        let mut doc =
            pathproof_model::lift::read(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        doc.conclude();
        let folder = file.parent().and_then(Path::file_name).unwrap().to_string_lossy();
        (format!("{folder}/{}", file.file_stem().unwrap().to_string_lossy()), doc)
    };
    files.iter().map(read).collect()
}

fn screen(doc: &ResultDoc, look: Look) -> String {
    let mut page = Vec::new();
    let more = "pathproof report result.json --full".into();
    Screen { look, more }.render(doc, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// Without folds: what a reader takes in.
fn flat(screen: &str) -> String {
    screen.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn of_every_outcome_as_it_is_seen() {
    let outcomes: Vec<RunOutcome> = documents()
        .into_iter()
        .filter(|(name, _)| name.starts_with("screens/"))
        .map(|(name, doc)| {
            let name = format!("screen-{}", name.trim_start_matches("screens/"));
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(name, screen(&doc, Look::SCREEN));
            });
            doc.outcome
        })
        .collect();
    for outcome in [RunOutcome::Fit, RunOutcome::NotFit, RunOutcome::CannotTell, RunOutcome::None] {
        assert!(outcomes.contains(&outcome), "{outcome:?} is not shown by any document");
    }
}

#[test]
fn a_short_check_says_that_it_is_one_and_still_fits() {
    let (_, mut doc) = documents().into_iter().find(|(name, _)| name == "screens/many-causes").unwrap();
    assert!(!flat(&screen(&doc, Look::SCREEN)).contains("a short check"));
    doc.findings.push(Finding::new("RUN-LEFT-OUT", "a check that takes 15.00 s at most"));
    let page = screen(&doc, Look::SCREEN);
    assert!(page.lines().count() <= Look::SCREEN.rows, "{page}");
    let (_, mut fit) = documents().into_iter().find(|(name, _)| name == "screens/healthy").unwrap();
    fit.findings.push(Finding::new("RUN-LEFT-OUT", "a check that takes 15.00 s at most"));
    let page = screen(&fit, Look::SCREEN);
    assert!(flat(&page).contains("a short check, which does not try everything"), "{page}");
    assert!(page.lines().count() <= Look::SCREEN.rows, "{page}");
}

#[test]
fn the_first_page_of_the_project_shows_one() {
    let documents = documents();
    let (_, doc) = documents.iter().find(|(name, _)| name == "screens/jumbo-mismatch").unwrap();
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    assert!(readme.contains(&screen(doc, Look::SCREEN)), "README.md shows another screen");
}

#[test]
fn what_to_do_is_said_in_whole_sentences_or_not_at_all() {
    let mut seen = 0;
    for (name, doc) in documents() {
        for (columns, rows) in [(40, 12), (80, 10), (80, 23), (120, 40)] {
            let page = screen(&doc, Look { columns, rows, ..Look::SCREEN });
            let mut told = false;
            for line in page.lines() {
                let begins = line.starts_with("    Fix: ") || line.starts_with("     or: ");
                told = begins || (told && line.starts_with("         "));
                seen += usize::from(begins);
                assert!(!(told && line.contains('…')), "{name} at {columns} x {rows}: {line}\n{page}");
            }
        }
    }
    assert!(seen > 50, "only {seen} things to do were looked at");
}

#[test]
fn it_fits_the_terminal_and_begins_and_ends_with_the_answer() {
    for (name, doc) in documents() {
        for (columns, rows) in [(80, 23), (100, 30), (120, 40)] {
            let page = screen(&doc, Look { columns, rows, ..Look::SCREEN });
            assert!(page.lines().count() <= rows, "{name}: {} lines\n{page}", page.lines().count());
            for line in page.lines() {
                assert!(line.chars().count() <= columns, "{name}: {line}\n{page}");
                assert_eq!(line, line.trim_end(), "{name}");
            }
            let word = page.split(": ").next().unwrap().to_owned();
            let expected: &[&str] = match doc.outcome {
                RunOutcome::Fit => &["FIT"],
                RunOutcome::NotFit => &["NOT FIT"],
                RunOutcome::CannotTell => &["CANNOT TELL"],
                RunOutcome::None => &["COULD NOT RUN", "INTERRUPTED", "CUT SHORT", "CANNOT TELL"],
            };
            assert!(expected.contains(&word.as_str()), "{name}: {word}");
            let answers = page.lines().filter(|line| line.starts_with(&format!("{word}: "))).count();
            assert_eq!(answers, 2, "{name}: above and below\n{page}");
        }
    }
}

#[test]
fn nothing_that_is_wrong_is_left_out() {
    for (name, doc) in documents() {
        let page = screen(&doc, Look::SCREEN);
        let seen = flat(&page);
        for finding in doc.findings.iter().filter(|finding| finding.severity > Severity::Info) {
            assert!(seen.contains(&finding.code), "{name}: {} is not named\n{page}", finding.code);
        }
        for verdict in &doc.verdicts {
            let told = match verdict.outcome {
                Outcome::Pass => continue,
                // Its finding was looked for above; how a run ended is the answer itself.
                _ if matches!(verdict.subject, Subject::Finding(_) | Subject::Run) => continue,
                _ if doc.outcome == RunOutcome::None => continue,
                _ => verdict.subject.to_string(),
            };
            assert!(seen.contains(&told), "{name}: {told} is not named\n{page}");
        }
    }
}

#[test]
fn ascii_and_colour_are_as_asked() {
    for (name, doc) in documents() {
        let ascii = screen(&doc, Look { ascii: true, ..Look::SCREEN });
        assert!(ascii.is_ascii() && ascii.lines().all(|line| line.len() <= 80), "{name}\n{ascii}");
        let plain = screen(&doc, Look::SCREEN);
        assert!(!plain.contains('\u{1b}'), "{name}");
        let coloured = screen(&doc, Look { colour: true, ..Look::SCREEN });
        let mut without = coloured.clone();
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[1;31m", "\u{1b}[1;32m", "\u{1b}[1;33m"] {
            without = without.replace(code, "");
        }
        assert_eq!(without, plain, "{name}: colour adds nothing but colour");
        assert!(coloured.starts_with("\u{1b}[1;3"), "{name}");
    }
}

/// Its criteria are named after the percentile that the samples suffice for.
#[test]
fn a_request_that_took_too_long_is_shown_with_its_limit() {
    let documents = documents();
    let (_, healthy) = documents.iter().find(|(name, _)| name == "screens/healthy").unwrap();
    let mut doc = healthy.clone();
    doc.steps.retain(|step| step.kind == StepKind::Pingpong && step.summary.rtt_ns.is_some());
    doc.steps.truncate(1);
    doc.steps[0].kind = StepKind::Request;
    for name in ["response-time-p99", "service-time-p95"] {
        let check = Check::fail(name, "too long").numbers(9e6, 5e6, Unit::Ns);
        doc.verdicts = Verdict::of(Subject::Request("tcp".into()), vec![check]).into_iter().collect();
        let page = flat(&screen(&doc, Look::SCREEN));
        assert!(page.contains("slowest 9.00 ms (max 5.00 ms)"), "{page}");
    }
}

#[test]
fn every_figure_of_a_pair_has_a_yardstick_or_says_that_it_has_none() {
    const LABELS: [&str; 4] = ["IP MTU  ", "out  ", "in  ", "both at once  "];
    // A limit, a share of something, what is wrong with it, or that nothing is held against it.
    const HELD: [&str; 7] = ["(", " %", " of ", "FAIL", "cannot tell", "not measured", "not judged"];
    let mut seen = 0;
    for (name, doc) in documents() {
        let page = screen(&doc, Look { columns: 200, rows: 60, ..Look::SCREEN });
        for line in page.lines().filter(|line| LABELS.iter().any(|label| line.starts_with(label))) {
            for cell in line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(1) {
                seen += 1;
                assert!(HELD.iter().any(|held| cell.contains(held)), "{name}: {cell}\n{page}");
            }
        }
    }
    assert!(seen > 40, "only {seen} figures were looked at");
}

/// On the usual terminal too: what all carry together is judged, and stands beside what each carried alone.
#[test]
fn the_sum_of_several_nics_keeps_its_yardstick_in_80_columns() {
    let documents = documents();
    let (_, doc) = documents.iter().find(|(name, _)| name == "screens/striped").unwrap();
    let page = screen(doc, Look::SCREEN);
    for figure in ["190.7 Mbit/s alone  ", "381.3 Mbit/s 99 % (min 85)", "189.7 Mbit/s (not judged)"] {
        assert!(page.contains(figure), "{figure}\n{page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    let wide = screen(doc, Look { columns: 240, ..Look::SCREEN });
    assert!(wide.contains("381.3 Mbit/s 99 % of the sum (min 85 %)"), "{wide}");
}

/// What a NIC carries by itself is nothing to judge; beside what the others carry it says something.
#[test]
fn a_nic_alone_is_held_against_the_pair_of_the_plan() {
    let documents = documents();
    let (_, doc) = documents.iter().find(|(name, _)| name == "screens/slow-nic").unwrap();
    assert!(screen(doc, Look::SCREEN).contains("26.2 Mbit/s alone 9 % of e0"));
}

#[test]
fn an_expected_mtu_is_what_a_path_is_held_against() {
    let documents = documents();
    let (_, healthy) = documents.iter().find(|(name, _)| name == "screens/healthy").unwrap();
    let expecting = |bytes: f64, outcome: Outcome| {
        let mut doc = healthy.clone();
        for verdict in doc.verdicts.iter_mut().filter(|verdict| verdict.subject == Subject::Mtu) {
            verdict.outcome = outcome;
            verdict.checks.iter_mut().for_each(|check| (check.limit, check.outcome) = (Some(bytes), outcome));
        }
        screen(&doc, Look::SCREEN)
    };
    assert!(expecting(1500.0, Outcome::Pass).contains("1500 both ways (min 1500)"));
    let missed = expecting(9000.0, Outcome::Fail);
    assert!(missed.contains("1500 both ways (min 9000) FAIL"), "{missed}");
}

/// What makes a cause doubtful stands below what was seen, in one line, and the screen is as high as before.
#[test]
fn a_doubtful_cause_says_what_speaks_against_it_and_what_else_it_could_be() {
    let documents = documents();
    let (_, doc) = documents.iter().find(|(name, _)| name == "screens/slow-nic").unwrap();
    assert!(!screen(doc, Look::SCREEN).contains("But: "), "nothing is known against it");
    let mut doubtful = doc.clone();
    for finding in doubtful.findings.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        finding.against = "its rate was as low as that before it was loaded, ".repeat(4);
        finding.open = vec!["PATH-LOSS".into(), "NIC-ERRORS".into()];
    }
    let page = screen(&doubtful, Look::SCREEN);
    let said: Vec<&str> = page.lines().filter(|line| line.starts_with("    But: ")).collect();
    let [said] = said[..] else { panic!("one line of it\n{page}") };
    assert!(said.starts_with("    But: could be PATH-LOSS or NIC-ERRORS as well; its rate was"), "{page}");
    assert!(said.ends_with('…') && page.lines().count() <= Look::SCREEN.rows, "{page}");
    let at = |line: &str| page.lines().position(|other| other.starts_with(line)).unwrap();
    assert!(at("NIC-SLOW") < at("    But: ") && at("    But: ") < at("    Fix: "), "{page}");
}
