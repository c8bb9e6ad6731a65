//! A mesh for people: who is named first, then who is missing and who differs, what was carried, and last a map of all pairs, ordered by
//! group. And for CI: a case for each thing that may be wrong.

use std::fmt::Write as _;

use pathproof_model::RunOutcome;
use pathproof_model::mesh::{Incast, MeshDoc, Plane, SuspectKind};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};

use crate::page::{Answer, Block, Cell, Column, Fact, Row, Strip, Table, Word};
use crate::plain::escaped;

/// Suspects, differences and hosts in them that are listed.
const LISTED_MAX: usize = 24;
/// Hosts of which a map fits on a page.
const MAP_MAX: usize = 64;

/// The page of a mesh.
pub fn mesh(doc: &MeshDoc) -> Vec<Block> {
    let mut blocks = said(doc);
    for plane in &doc.planes {
        blocks.extend(map(doc, plane));
    }
    blocks.push(Block::Answer(answer(doc)));
    blocks
}

/// All of it but the map and the answer.
pub(crate) fn said(doc: &MeshDoc) -> Vec<Block> {
    let mut blocks = vec![Block::Title {
        title: format!("pathproof mesh of {} ranks", doc.size).into(),
        note: note(doc).into(),
    }];
    blocks.extend(suspects(doc));
    blocks.extend(differences(doc));
    for (number, plane) in doc.planes.iter().enumerate() {
        blocks.extend(carried(doc, plane, number as u32));
    }
    blocks
}

fn note(doc: &MeshDoc) -> String {
    let length =
        doc.rounds.iter().map(|round| round.started_ns.saturating_add(round.elapsed_ns)).max().unwrap_or(0);
    format!(
        "{}, {} lanes over {}, {} a stream; {} rounds in {}",
        doc.started_at,
        doc.settings.lanes,
        doc.settings.over,
        Nanoseconds(doc.settings.time_ns),
        doc.rounds.len(),
        Nanoseconds(length)
    )
}

fn suspects(doc: &MeshDoc) -> Vec<Block> {
    let mut facts: Vec<Fact> = doc
        .suspects
        .iter()
        .take(LISTED_MAX)
        .map(|suspect| Fact::new(suspect.kind.word(), &suspect.text))
        .collect();
    let left = doc.suspects.len().saturating_sub(LISTED_MAX);
    if left > 0 {
        facts.push(Fact::more(format!("and {left} more")));
    }
    for dead in doc.dead.iter().take(LISTED_MAX) {
        let who = dead
            .host
            .clone()
            .map_or_else(|| format!("rank {}", dead.rank), |host| format!("{host} ({})", dead.rank));
        let when = dead.round.map_or_else(String::new, |round| format!("lost in round {round}: "));
        facts.push(Fact::new("missing", format!("{who}: {when}{}", dead.reason)));
    }
    facts.extend(doc.unclear.iter().map(|why| Fact::new("cannot tell", why)));
    facts.extend(doc.notes.iter().take(LISTED_MAX).map(|note| Fact::new("note", note)));
    match facts.is_empty() {
        true => vec![Block::heading("Suspects"), Block::paragraph("Nobody is named.")],
        false => vec![Block::heading("Suspects"), Block::Facts(facts)],
    }
}

fn differences(doc: &MeshDoc) -> Vec<Block> {
    let told = |difference: &pathproof_model::mesh::Difference| {
        let others: Vec<String> = difference
            .others
            .iter()
            .take(8)
            .map(|other| {
                format!("{} {}", doc.name(other.rank), other.value.as_deref().unwrap_or("does not tell"))
            })
            .collect();
        let more = difference.others.len().saturating_sub(8);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        Fact::new(
            &difference.fact,
            format!("{} with {}; {}{more}", difference.usual, difference.ranks, others.join(", ")),
        )
    };
    let facts: Vec<Fact> = doc.differences.iter().take(LISTED_MAX).map(told).collect();
    if facts.is_empty() {
        vec![]
    } else {
        vec![Block::heading("Hosts that are set up differently"), Block::Facts(facts)]
    }
}

/// The usual figures of a plane, what would not have been seen, and the patterns beyond pairs.
fn carried(doc: &MeshDoc, plane: &Plane, number: u32) -> Vec<Block> {
    let name = plane.net.as_ref().map_or_else(String::new, |net| format!(" on {net}"));
    let mut facts = Vec::new();
    if let Some(rate) = plane.usual_goodput_bits_per_s {
        facts.push(Fact::new("a healthy pair", format!("{} (the upper quartile)", BitsPerSecond(rate))));
    }
    if let Some(bytes) = plane.usual_ip_mtu_bytes {
        facts.push(Fact::new("path MTU", format!("{bytes} bytes")));
    }
    if let (Some(host), Some(pair)) = (plane.noise.host_share, plane.noise.pair_share) {
        let said = format!(
            "a host slower by less than {:.1} %, or a pair by less than {:.1} %, would not be named",
            100.0 * host,
            100.0 * pair
        );
        facts.push(Fact::new("noise floor", said));
    }
    for both in doc.bisection.iter().filter(|both| both.plane == number) {
        let sum = both.sum_bits_per_s.map_or_else(
            || format!("{} of {} pairs were measured, so there is no sum", both.measured, both.pairs),
            |sum| format!("{} over {} pairs, both ways at once", BitsPerSecond(sum), both.pairs),
        );
        let slowest = both
            .slowest_bits_per_s
            .map_or_else(String::new, |rate| format!("; the slowest direction {}", BitsPerSecond(rate)));
        facts.push(Fact::new("bisection", sum + &slowest));
    }
    let mut blocks = vec![];
    if !facts.is_empty() {
        blocks.extend([Block::heading(format!("What is carried{name}")), Block::Facts(facts)]);
    }
    for (head, rungs) in [("Many to one", &doc.incast), ("One to many", &doc.outcast)] {
        let rows = rungs.iter().filter(|rung| rung.plane == number).map(|rung| Row::One((doc, rung)));
        if let Some(table) = Table::new(&columns(), rows) {
            blocks.extend([Block::heading(format!("{head}{name}")), Block::Table(table)]);
        }
    }
    blocks
}

fn columns<'a>() -> Vec<Column<(&'a MeshDoc, &'a Incast)>> {
    vec![
        Column::figures("many", |(_, rung)| Cell::of(rung.senders.len())),
        Column::words("one", |(doc, rung)| Cell::of(doc.name(rung.receiver))),
        Column::figures("together", |(_, rung)| Cell::known(rung.sum_bits_per_s.map(BitsPerSecond))),
        Column::figures("least", |(_, rung)| Cell::known(rung.least_bits_per_s.map(BitsPerSecond))),
        Column::figures("most", |(_, rung)| Cell::known(rung.most_bits_per_s.map(BitsPerSecond))),
        Column::figures("sent again", |(_, rung)| Cell::known(rung.retransmits)),
        Column::figures("bystander p99", |(_, rung)| Cell::known(rung.bystander_rtt_p99_ns.map(Nanoseconds))),
        Column::words("no sum because", |(_, rung)| rung.reason.as_ref().map_or(Cell::Empty, Cell::of)),
    ]
}

/// A cell of the map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenths {
    /// A host with itself.
    Itself,
    /// So many tenths of the usual, at most 9.
    Known(u32),
    /// It could not be measured.
    Failed,
    /// It was not to be.
    Open,
}

/// What a pair carries, in tenths of the usual.
pub(crate) fn tenths(plane: &Plane, usual: u64, from: u32, to: u32) -> Tenths {
    let (from, to) = (from as usize, to as usize);
    let known = |matrix: &[Vec<Option<u64>>]| matrix.get(from).and_then(|row| *row.get(to)?);
    match known(&plane.matrices.goodput_bits_per_s) {
        _ if from == to => Tenths::Itself,
        Some(rate) => Tenths::Known((10 * u128::from(rate) / u128::from(usual.max(1))).min(9) as u32),
        None if known(&plane.matrices.code).is_some_and(|code| code > 0) => Tenths::Failed,
        None => Tenths::Open,
    }
}

/// The order of the map: by group, then by rank.
pub(crate) fn order(doc: &MeshDoc) -> Vec<u32> {
    let mut order: Vec<(Option<&str>, u32)> = (0..doc.size)
        .map(|rank| {
            (doc.ranks.iter().find(|known| known.rank == rank).and_then(|known| known.group.as_deref()), rank)
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, rank)| rank).collect()
}

/// Goodput of each pair as tenths of the usual, a row for each sender.
fn map(doc: &MeshDoc, plane: &Plane) -> Vec<Block> {
    let Some(usual) = plane.usual_goodput_bits_per_s.filter(|usual| *usual > 0) else { return vec![] };
    let order = order(doc);
    let name = plane.net.as_ref().map_or_else(String::new, |net| format!(" on {net}"));
    let heading = Block::heading(format!("Goodput of every pair{name}"));
    if order.len() > MAP_MAX {
        return vec![
            heading,
            Block::paragraph(format!(
                "Of {} ranks the map does not fit here: it is in the HTML page (--format html), and in the document, .planes[].matrices.",
                order.len()
            )),
        ];
    }
    let sign = |from: u32, to: u32| match tenths(plane, usual, from, to) {
        Tenths::Itself => '.',
        Tenths::Known(tenths) => char::from_digit(tenths, 10).unwrap_or('9'),
        Tenths::Failed => 'x',
        Tenths::Open => ' ',
    };
    let strips = order.iter().map(|from| {
        let row: String = order.iter().map(|to| sign(*from, *to)).collect();
        Strip { name: doc.name(*from).into(), symbols: row.into() }
    });
    let legend = "a row for each sender, a column for each receiver in the same order: 9 is 90 % of the usual or more, 4 is 40 to 50 %, x could \
                  not be measured, a blank was not to be";
    vec![heading, Block::Strips { legend: legend.into(), strips: strips.collect() }]
}

pub(crate) fn answer(doc: &MeshDoc) -> Answer {
    let word = match (doc.outcome, &doc.error) {
        (RunOutcome::Fit, _) => Word::Fit,
        (RunOutcome::NotFit, _) => Word::NotFit,
        (RunOutcome::CannotTell, _) => Word::CannotTell,
        (RunOutcome::None, Some(error)) if error.kind.is_interruption() => Word::Interrupted,
        (RunOutcome::None, _) => Word::CouldNotRun,
    };
    let text = match word {
        Word::Fit => format!("all {} ranks reach each other, and none is slower than the others", doc.size),
        Word::NotFit => doc
            .suspects
            .first()
            .map(|suspect| suspect.text.clone())
            .or_else(|| doc.dead.first().map(|dead| format!("rank {}: {}", dead.rank, dead.reason)))
            .unwrap_or_default(),
        Word::CannotTell => doc.unclear.first().cloned().unwrap_or_default(),
        Word::CouldNotRun | Word::Interrupted | Word::CutShort => {
            doc.error.as_ref().map_or_else(|| "no pair was measured".into(), |error| error.message.clone())
        }
    };
    Answer { word, text: text.into() }
}

/// A mesh as JUnit XML: a case for each thing that may be wrong on each plane, for the ranks, and for what could not be determined.
pub fn mesh_junit(doc: &MeshDoc) -> String {
    let mut cases = Vec::new();
    for (number, plane) in doc.planes.iter().enumerate() {
        let suite = plane.net.as_deref().unwrap_or("mesh");
        let kinds = [
            SuspectKind::Reach,
            SuspectKind::Mtu,
            SuspectKind::Loss,
            SuspectKind::Goodput,
            SuspectKind::Contention,
            SuspectKind::Limit,
        ];
        for kind in kinds {
            let told = doc.suspects.iter().filter(|s| s.kind == kind && s.plane as usize == number);
            let told: Vec<&str> = told.map(|suspect| suspect.text.as_str()).collect();
            let measured = !plane.matrices.is_empty();
            cases.push((suite.to_owned(), kind.word(), "failure", told.join("; "), measured));
        }
    }
    let dead: Vec<String> =
        doc.dead.iter().map(|dead| format!("rank {}: {}", dead.rank, dead.reason)).collect();
    cases.push(("mesh".into(), "ranks", "failure", dead.join("; "), true));
    cases.push(("mesh".into(), "cannot-tell", "error", doc.unclear.join("; "), true));
    let stopped = doc.error.as_ref().map_or_else(String::new, |error| error.message.clone());
    cases.push(("mesh".into(), "run", "error", stopped, true));
    let count =
        |what: &str| cases.iter().filter(|(_, _, kind, told, _)| *kind == what && !told.is_empty()).count();
    let skipped = cases.iter().filter(|(.., told, measured)| told.is_empty() && !measured).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{skipped}\"",
        cases.len(),
        count("failure"),
        count("error")
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ =
        writeln!(xml, "<testsuites name=\"pathproof mesh\" {counts}>\n  <testsuite name=\"mesh\" {counts}>");
    for (suite, name, kind, told, measured) in cases {
        let _ = write!(xml, "    <testcase classname=\"pathproof.{}\" name=\"{name}\"", escaped(&suite));
        let _ = match (told.is_empty(), measured) {
            (true, true) => writeln!(xml, "/>"),
            (true, false) => writeln!(xml, "><skipped message=\"nothing was measured\"/></testcase>"),
            (false, _) => {
                writeln!(xml, "><{kind} type=\"{name}\" message=\"{}\"/></testcase>", escaped(&told))
            }
        };
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}
