//! Diagnosis against real runs: documents of labelled networks (`scripts/truth`), as the program wrote them. `scripts/keep-evidence` keeps
//! them; none is edited by hand.
//!
//! What the rules told is taken out, and they are asked again: they must find the same in the same evidence, and the judge must come to the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use pathproof_engine::diagnose::{diagnose, rules, settle};
use pathproof_model::finding::Code;
use pathproof_model::{Finding, ResultDoc, Severity, code, judge_into, lift};

/// Codes of rules of which no real run is kept, and why.
const OF_NO_RUN: &[(Code, &str)] = &[
    (code!("HOST-CORE-BOUND"), "whether a processor bounds one connection of a round is chance"),
    (code!("HOST-QUEUE"), "no network of tests/truth makes a queue of a host's own stand"),
    (code!("HOST-STARVED"), "only the host beneath a virtual machine takes time away from it"),
    (code!("NIC-DCB-ODD"), "hardware: priorities of a NIC"),
    (code!("NIC-DISCARDS"), "hardware: counters of a driver"),
    (code!("NIC-LINK-ERRORS"), "hardware: cable and transceiver"),
    (code!("NIC-OVERRUN"), "hardware: rings of a NIC"),
    (code!("NIC-PAUSED"), "hardware: pause frames"),
    (code!("NIC-PAUSES"), "hardware: pause frames"),
    (code!("NIC-POLICED"), "a cloud's platform"),
    (
        code!("PORT-REFUSED"),
        "networks refuse a port on the session's NIC, which the step of ports tells itself",
    ),
    (code!("SWITCH-DCB-DIFFERS"), "hardware: a switch that says what it does with priorities"),
    (code!("SWITCH-FRAME-SHORT"), "hardware: a switch that says which frames it takes"),
];

/// The documents, by the names of their networks.
fn kept() -> Vec<(String, ResultDoc)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnose/evidence");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<(String, ResultDoc)> = files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json.gz")?.to_owned();
            let mut json = Vec::new();
            GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut json).unwrap();
            let doc = lift::read(&json).unwrap_or_else(|why| panic!("{name}: {why}"));
            Some((name, doc))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(all.len() > 20, "only {} documents are kept", all.len());
    all
}

/// Whether a rule may have told it: what names a step is the step's own, apart from what rules say of a stream.
fn may_be_of_a_rule(doc: &ResultDoc, finding: &Finding) -> bool {
    let Some(at) = finding.step else { return true };
    let of_streams = finding.is(code!("TCP-RETRANSMITS")) || finding.is(code!("PATH-REORDERED"));
    of_streams && doc.steps.get(at).is_some_and(|step| step.detail.loss.is_none())
}

/// Where what the rules told begins. It stands behind what the steps and the run told, in the order of the table.
fn beginning(doc: &ResultDoc) -> usize {
    let rules: Vec<&[Code]> = rules().collect();
    let (mut begin, mut places) = (doc.findings.len(), rules.len());
    for finding in doc.findings.iter().rev().take_while(|finding| may_be_of_a_rule(doc, finding)) {
        let tells = |codes: &&[Code]| codes.iter().any(|code| finding.is(*code));
        let Some(place) = rules[..places].iter().rposition(tells) else { break };
        // The same rule may have told the one before, too.
        (begin, places) = (begin - 1, place + 1);
    }
    begin
}

/// The document as the rules found it, and what they, who settles and the judge make of it today: as `run::run` does.
fn anew(doc: &ResultDoc) -> ResultDoc {
    let mut doc = doc.clone();
    let begin = beginning(&doc);
    doc.findings.truncate(begin);
    let causes = diagnose(&doc);
    doc.findings.extend(causes);
    settle(&mut doc);
    if let Some(criteria) = doc.criteria.clone() {
        judge_into(&mut doc, &criteria);
    }
    doc.conclude();
    doc
}

/// What a document says, line by line, without the words and the figures.
fn said(doc: &ResultDoc) -> Vec<String> {
    let findings = doc.findings.iter().map(|finding| {
        let step = finding.step.map_or_else(String::new, |at| format!(" of step {at}"));
        let told: Vec<&str> = finding.values.keys().map(String::as_str).collect();
        format!("{} {:?}{step} ({})", finding.code, finding.severity, told.join(", "))
    });
    let verdicts = doc.verdicts.iter().map(|verdict| format!("{} {:?}", verdict.subject, verdict.outcome));
    let outcome = format!("outcome {:?}, exit code {:?}", doc.outcome, doc.exit_code);
    findings.chain(verdicts).chain([outcome]).collect()
}

/// What stands in one list and not in the other, as often as it does.
fn without(all: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let mut left = vec![];
    for line in all {
        match others.iter().position(|other| other == line) {
            Some(at) => drop(others.remove(at)),
            None => left.push(line.clone()),
        }
    }
    left
}

#[test]
fn the_rules_find_again_what_they_found_in_real_runs() {
    let mut wrong = vec![];
    for (name, doc) in kept() {
        let (expected, got) = (said(&doc), said(&anew(&doc)));
        if expected == got {
            continue;
        }
        let (gone, new) = (without(&expected, &got), without(&got, &expected));
        wrong.push(if gone.is_empty() && new.is_empty() {
            format!("{name}: the same in another order\n  expected {expected:#?}\n  got {got:#?}")
        } else {
            format!("{name}:\n  expected and not got: {gone:#?}\n  got and not expected: {new:#?}")
        });
    }
    assert!(
        wrong.is_empty(),
        "{} documents are diagnosed otherwise than when they were made. Where that is meant, keep those of a new round \
         (scripts/truth --all --documents DIRECTORY, scripts/keep-evidence --choose DIRECTORY):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_code_of_a_rule_has_a_real_run_or_a_reason() {
    let told: BTreeSet<String> = kept()
        .into_iter()
        .flat_map(|(_, mut doc)| {
            let begin = beginning(&doc);
            doc.findings.split_off(begin)
        })
        .map(|finding| finding.code)
        .collect();
    let listed: BTreeSet<&str> = rules().flatten().map(|code| code.word()).collect();
    let excused: BTreeSet<&str> = OF_NO_RUN.iter().map(|(code, _)| code.word()).collect();
    let missing: Vec<&str> =
        listed.iter().copied().filter(|code| !told.contains(*code) && !excused.contains(code)).collect();
    assert!(
        missing.is_empty(),
        "no kept document has a rule that tells {missing:?}; keep one of a network that has it \
         (scripts/keep-evidence DIRECTORY NAME), or say in OF_NO_RUN why there is none"
    );
    let unknown: Vec<&str> = excused.difference(&listed).copied().collect();
    assert!(unknown.is_empty(), "OF_NO_RUN names what no rule tells: {unknown:?}");
}

#[test]
fn no_rule_accuses_a_healthy_network() {
    let healthy: Vec<(String, ResultDoc)> =
        kept().into_iter().filter(|(name, _)| name.starts_with("healthy-")).collect();
    assert!(healthy.len() >= 6, "only {} healthy networks are kept", healthy.len());
    for (name, doc) in healthy {
        let accused: Vec<Finding> =
            anew(&doc).findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(accused.is_empty(), "{name} is healthy: {accused:#?}");
    }
}

/// The test above would pass over an empty list: evidence that is taken away must be missed.
#[test]
fn without_its_evidence_a_cause_is_not_found_again() {
    let (name, mut doc) = kept()
        .into_iter()
        .find(|(_, doc)| {
            doc.findings[beginning(doc)..].iter().any(|finding| finding.is(code!("PREFIX-DIFFERS")))
        })
        .expect("a document of hosts with two prefixes is kept");
    for node in &mut doc.nodes {
        node.environment = None;
    }
    assert!(
        anew(&doc).findings.iter().all(|finding| !finding.is(code!("PREFIX-DIFFERS"))),
        "{name}: nothing is known of the hosts"
    );
}
