//! The figures of the first screen: rows with a yardstick each, the pairs of NICs as their columns.

use pathproof_model::judge::names;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{
    Check, Direction, FollowUp, OpenedAtOnce, OpenedRecord, Outcome, ResultDoc, Step, Subject, Trips, Unit,
    judge,
};

use super::pairs::{Pair, of_step, short};

/// What stands below a pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// The figure.
    pub text: String,
    /// What it is held against: the longest of these that there is room for.
    pub notes: Vec<String>,
    /// How it was judged.
    pub outcome: Option<Outcome>,
}

impl Cell {
    fn of(text: impl Into<String>, outcome: Option<Outcome>) -> Cell {
        Cell { text: text.into(), outcome, ..Cell::default() }
    }

    /// A figure that nothing says how large it should be.
    fn not_judged(text: impl Into<String>, why: &str) -> Cell {
        Cell { text: text.into(), notes: not_judged(why), outcome: None }
    }
}

/// Why nothing is held against a figure, and that alone.
fn not_judged(why: &str) -> Vec<String> {
    let word = Outcome::NotJudged.word();
    vec![format!("({word}: {why})"), format!("({word})")]
}

/// A row of figures.
pub(super) struct Row {
    pub label: &'static str,
    pub content: Content,
    /// How what it shows was judged.
    pub outcome: Option<Outcome>,
    /// Rows of the least weight go first where there is no room.
    pub weight: u8,
}

pub(super) enum Content {
    /// A cell for each pair, and one for all of them together.
    Pairs(Vec<Option<Cell>>, Option<Cell>),
    /// About the run as a whole.
    Whole(String),
}

/// All rows that the document has figures for.
pub(super) fn rows(doc: &ResultDoc, pairs: &[Pair]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut pairwise = |label, weight, outcome, cell: &dyn Fn(&Pair) -> Option<Cell>| {
        let cells: Vec<Option<Cell>> = pairs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            rows.push(Row { label, content: Content::Pairs(cells, None), outcome, weight });
        }
    };
    pairwise("link", 2, None, &|pair| pair.link(doc).map(|text| Cell::of(text, None)));
    let mtu = worst(doc, |subject| *subject == Subject::Mtu);
    let expected =
        checks(doc, |subject| *subject == Subject::Mtu, &[names::IP_MTU]).find_map(|check| check.limit);
    // What both NICs are set to is what is wanted of the path, where nobody says more.
    let wanted = expected.map_or_else(|| "(as set)".to_owned(), |bytes| format!("(min {bytes})"));
    pairwise("IP MTU", 11, mtu, &|pair| {
        let (text, bytes, why) = pair.ip_mtu(doc)?;
        let too_small = expected.zip(bytes).is_some_and(|(expected, bytes)| f64::from(bytes) < expected);
        let note = if why.is_empty() { wanted.clone() } else { why.to_owned() };
        let outcome = mtu.filter(|_| too_small || !why.is_empty());
        Some(Cell { text, notes: vec![note], outcome })
    });
    for direction in [Direction::Out, Direction::In, Direction::Both] {
        rows.extend(rate(doc, pairs, direction));
    }
    rows.extend(slowest_second(doc));
    rows.extend(sent_again(doc));
    if let Some(row) = lost(doc, pairs) {
        rows.push(row);
    }
    rows.extend(round_trip(doc));
    rows.extend(under_load(doc));
    rows.extend(ports(doc));
    rows.extend(migration(doc));
    rows.extend(share(doc));
    rows
}

fn planned(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    doc.steps.iter().filter(|step| step.follows_up.is_none())
}

fn checks<'a>(
    doc: &'a ResultDoc,
    about: impl Fn(&Subject) -> bool + 'a,
    criteria: &'a [&'a str],
) -> impl Iterator<Item = &'a Check> {
    let verdicts = doc.verdicts.iter().filter(move |verdict| about(&verdict.subject));
    verdicts.flat_map(|verdict| &verdict.checks).filter(|check| criteria.contains(&check.criterion.as_str()))
}

fn worst(doc: &ResultDoc, about: impl Fn(&Subject) -> bool) -> Option<Outcome> {
    doc.verdicts.iter().filter(|verdict| about(&verdict.subject)).map(|verdict| verdict.outcome).max()
}

fn worst_of<'a>(checks: impl Iterator<Item = &'a Check>) -> Option<Outcome> {
    checks.map(|check| check.outcome).max()
}

fn goes(direction: Direction) -> impl Fn(&Subject) -> bool {
    move |subject| matches!(subject, Subject::Throughput { direction: Some(way), .. } if *way == direction)
}

fn is_throughput(subject: &Subject) -> bool {
    matches!(subject, Subject::Throughput { .. })
}

fn rate(doc: &ResultDoc, pairs: &[Pair], direction: Direction) -> Option<Row> {
    const JUDGED: [&str; 5] = [
        names::LINK_SHARE,
        names::GOODPUT,
        names::NICS_SUM_SHARE,
        names::BOTH_WAYS_SHARE,
        names::PACED_SHARE,
    ];
    let streams = planned(doc).filter(|step| step.kind.traits().bulk);
    let steps: Vec<&Step> = streams.filter(|step| step.direction == Some(direction)).collect();
    let goodput = |step: &&Step| step.total(|flow| flow.goodput_bits_per_s);
    let best =
        steps.iter().copied().filter(|step| goodput(step).is_some()).max_by_key(|step| goodput(step))?;
    let carried = goodput(&best)?;
    let judged: Vec<&Check> = checks(doc, goes(direction), &JUDGED).collect();
    let outcome = worst_of(judged.iter().copied());
    let figure = Cell { text: BitsPerSecond(carried).to_string(), notes: yardsticks(&judged), outcome };
    let own = of_step(doc, best);
    let mut cells: Vec<Option<Cell>> =
        pairs.iter().map(|pair| (own.as_ref() == Some(pair)).then(|| figure.clone())).collect();
    let mut together = None;
    if own.is_none() {
        let alone = best.detail.alone.iter().flat_map(|alone| &alone.each);
        for one in alone {
            for (cell, pair) in cells.iter_mut().zip(pairs) {
                if pair.local == one.nic {
                    let text = one.goodput_bits_per_s.map(|bits| format!("{} alone", BitsPerSecond(bits)));
                    *cell = text.map(|text| Cell::not_judged(text, "for comparison"));
                }
            }
        }
        together = Some(figure);
    }
    // A NIC that stood aside in the plan, or was slow in company, ran by itself afterwards, both ways at once.
    let alone = doc.steps.iter().filter(|step| {
        let aside = matches!(step.follows_up, None | Some(FollowUp::Search | FollowUp::Port));
        step.kind.traits().bulk && !aside
    });
    let way = |step: &Step| match step.direction == Some(direction) {
        true => goodput(&step),
        false => {
            let mut parts = step.parts().into_iter();
            parts.find(|(name, _)| *name == Some(direction.name()))?.1.goodput_bits_per_s
        }
    };
    for (step, bits) in alone.filter_map(|step| Some((step, way(step)?))) {
        let Some(at) = of_step(doc, step).and_then(|own| pairs.iter().position(|pair| *pair == own)) else {
            continue;
        };
        let text = format!("{} alone", BitsPerSecond(bits));
        // What the pair of the plan carries says how much that is.
        let beside = own.as_ref().filter(|_| carried > 0);
        let share =
            beside.map(|own| format!("{:.0} % of {}", bits as f64 / carried as f64 * 100.0, own.local));
        let notes = share.into_iter().chain(not_judged("for comparison")).collect();
        cells[at].get_or_insert(Cell { text, notes, outcome: None });
    }
    let label = match direction {
        Direction::Out => "out",
        Direction::In => "in",
        Direction::Both => "both at once",
    };
    Some(Row {
        label,
        outcome,
        content: Content::Pairs(cells, together),
        weight: if direction == Direction::Both { 3 } else { 10 },
    })
}

/// What a rate is held against, in as many words as there may be room for.
fn yardsticks(judged: &[&Check]) -> Vec<String> {
    let shares = |part: f64, of: &str, limit: f64| {
        let [part, limit] = [part, limit].map(|share| format!("{:.0}", share * 100.0));
        vec![
            format!("{part} % {of} (min {limit} %)"),
            format!("{part} % (min {limit} %)"),
            format!("{part} % (min {limit})"),
            format!("{part} %"),
        ]
    };
    let told =
        judged.iter().find_map(|check| match (check.criterion.as_str(), check.measured, check.limit) {
            (names::GOODPUT, _, None) => Some(vec![]),
            (names::GOODPUT, _, Some(limit)) => {
                let wanted = short(limit as u64);
                Some(vec![format!("of {wanted} wanted"), format!("of {wanted}")])
            }
            (names::LINK_SHARE, Some(part), Some(limit)) => Some(shares(part, "of the link", limit)),
            (names::NICS_SUM_SHARE, Some(part), Some(limit)) => Some(shares(part, "of the sum", limit)),
            (names::BOTH_WAYS_SHARE, Some(part), Some(limit)) => Some(shares(part, "of each alone", limit)),
            (names::PACED_SHARE, Some(part), Some(limit)) => Some(shares(part, "of its pace", limit)),
            _ => None,
        });
    let unknown = judged.iter().any(|check| check.criterion == names::LINK_SHARE);
    told.unwrap_or_else(|| not_judged(if unknown { "link speed unknown" } else { "no yardstick" }))
}

/// The lowest share of a mean, of all directions.
fn slowest_second(doc: &ResultDoc) -> Option<Row> {
    let judged: Vec<&Check> = checks(doc, is_throughput, &[names::WORST_SECOND_SHARE]).collect();
    let numbers = judged.iter().filter_map(|check| Some((check.measured?, check.limit?)));
    let (share, limit) = numbers.min_by(|one, other| one.0.total_cmp(&other.0))?;
    let text = format!("{:.0} % of the mean (min {:.0} %)", share * 100.0, limit * 100.0);
    Some(Row {
        label: "worst second",
        content: Content::Whole(text),
        outcome: worst_of(judged.into_iter()),
        weight: 4,
    })
}

fn sent_again(doc: &ResultDoc) -> Option<Row> {
    let judged: Vec<&Check> = checks(doc, is_throughput, &[names::RETRANSMITS_PER_GB]).collect();
    let numbers = judged.iter().filter_map(|check| Some((check.measured?, check.limit?)));
    let (most, limit) = numbers.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let not_judged = judged.iter().any(|check| check.outcome == Outcome::NotJudged);
    let note = if not_judged { ", not judged" } else { "" };
    let text = format!("{most:.0} segments a GB (max {limit:.0}{note})");
    Some(Row {
        label: "sent again",
        content: Content::Whole(text),
        outcome: worst_of(judged.into_iter()),
        weight: 5,
    })
}

fn lost(doc: &ResultDoc, pairs: &[Pair]) -> Option<Row> {
    let cells: Vec<Option<(String, bool)>> = pairs.iter().map(|pair| pair.lost(doc)).collect();
    let judged: Vec<&Check> =
        checks(doc, |subject| *subject == Subject::Loss, &[names::LOSS_SHARE]).collect();
    let limit = judged.iter().find_map(|check| check.limit);
    let limit = limit.map_or(String::new(), |limit| format!("(max {} %)", limit * 100.0));
    cells.iter().find(|cell| cell.is_some())?;
    let outcome = worst(doc, |subject| *subject == Subject::Loss);
    let told = |cell: Option<(String, bool)>| {
        cell.map(|(text, some)| Cell { text, notes: vec![limit.clone()], outcome: outcome.filter(|_| some) })
    };
    let cells = cells.into_iter().map(told).collect();
    Some(Row { label: "lost", content: Content::Pairs(cells, None), outcome, weight: 6 })
}

fn round_trip(doc: &ResultDoc) -> Option<Row> {
    // Those of an idle path say most of it, those of the control connection least.
    let by_worth = [Trips::Idle, Trips::Requests, Trips::Control];
    let first = |trips: Trips| {
        let mut steps = planned(doc).filter(|step| step.kind.traits().trips == trips);
        steps.find(|step| step.summary.rtt_ns.is_some())
    };
    let step = by_worth.into_iter().find_map(first)?;
    let rtt = step.summary.rtt_ns?;
    let samples_min = doc.criteria.clone().unwrap_or_default().latency.samples_min;
    let mut text = format!("median {}", Nanoseconds(rtt.p50));
    if rtt.count >= samples_min {
        text += &format!(", p99 {}", Nanoseconds(rtt.p99));
    }
    let subject = judge::subject(step);
    // Round trips are judged by their jitter and, where samples suffice, by one of several percentiles.
    let verdicts = doc.verdicts.iter().filter(|verdict| verdict.subject == subject);
    let judged: Vec<&Check> =
        verdicts.flat_map(|verdict| &verdict.checks).filter(|check| check.unit == Some(Unit::Ns)).collect();
    for check in &judged {
        let (Some(measured), Some(limit)) = (check.measured, check.limit) else { continue };
        let name = if check.criterion == names::ROUND_TRIP_JITTER { "jitter" } else { "slowest" };
        let (measured, limit) = (Nanoseconds(measured as u64), Nanoseconds(limit as u64));
        text += &format!("; {name} {measured} (max {limit})");
    }
    if judged.is_empty() {
        text += " (a LAN has 20 to 200 µs)";
    }
    let outcome = worst_of(judged.into_iter());
    Some(Row { label: "round trip", content: Content::Whole(text), outcome, weight: 8 })
}

fn under_load(doc: &ResultDoc) -> Option<Row> {
    let about = |subject: &Subject| matches!(subject, Subject::LatencyUnderLoad { .. });
    let ways = doc.verdicts.iter().filter_map(|verdict| {
        let Subject::LatencyUnderLoad { direction, .. } = &verdict.subject else { return None };
        let check = verdict.checks.iter().find(|check| check.criterion == names::ADDED_DELAY_P50)?;
        let way = direction.map(|way| format!(" {}", way.name())).unwrap_or_default();
        Some((format!("+{}{way}", Nanoseconds(check.measured? as u64)), check.limit?))
    });
    let ways: Vec<(String, f64)> = ways.collect();
    let limit = Nanoseconds(ways.first()?.1 as u64);
    let text = ways.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(", ");
    Some(Row {
        label: "under load",
        content: Content::Whole(format!("{text} (max {limit})")),
        outcome: worst(doc, about),
        weight: 7,
    })
}

fn ports(doc: &ResultDoc) -> Option<Row> {
    let records = doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
    let networks = doc.steps.iter().filter_map(|step| step.detail.network_ports.as_ref()).flatten();
    let (mut open, mut all) = (0, 0);
    for record in records.chain(networks.flat_map(|network| &network.ports)) {
        all += 1;
        open += usize::from(record.answer == pathproof_model::PortAnswer::Answered);
    }
    let bursts = doc.steps.iter().filter_map(|step| step.detail.opened_at_once.as_ref()).flatten();
    // Those of other networks only where some of them are missing.
    let is_told = |burst: &&OpenedRecord| burst.subnet.is_none() || burst.opened.opened < burst.opened.asked;
    let opened: Vec<String> = bursts
        .filter(is_told)
        .map(|burst| {
            let (OpenedAtOnce { opened, asked, .. }, way) = (burst.opened, burst.direction.name());
            format!("{opened} of {asked} {way}{}", burst.over())
        })
        .collect();
    if all == 0 {
        return None;
    }
    let mut text = format!("{open} of {all} open");
    if !opened.is_empty() {
        text += &format!("; connections at once {}", opened.join(", "));
    }
    let outcome = worst(doc, |subject| *subject == Subject::Ports);
    Some(Row { label: "ports", content: Content::Whole(text), outcome, weight: 1 })
}

fn migration(doc: &ResultDoc) -> Option<Row> {
    let step = planned(doc).find(|step| step.detail.migrate.is_some())?;
    let detail = step.detail.migrate.as_ref()?;
    let about = |subject: &Subject| matches!(subject, Subject::Migrate(_));
    let limit = checks(doc, about, &[names::DOWNTIME]).find_map(|check| check.limit);
    let limit = limit.map_or(" (not judged)".into(), |limit| format!(" (max {})", Nanoseconds(limit as u64)));
    let correct = match (detail.verified, &detail.mismatch) {
        (true, _) => ", verified",
        (false, Some(_)) => ", PAGES DIFFER",
        (false, None) => ", not compared",
    };
    let (bytes, total) = (Bytes(detail.bytes), Nanoseconds(detail.total_ns));
    if detail.stopped_in.is_some() || step.error.is_some() {
        let text = format!("did not end; {bytes} moved in {total}");
        return Some(Row {
            label: "migration",
            content: Content::Whole(text),
            outcome: worst(doc, about),
            weight: 7,
        });
    }
    let text = format!("{bytes} in {total}, paused {}{limit}{correct}", Nanoseconds(detail.downtime_ns));
    Some(Row { label: "migration", content: Content::Whole(text), outcome: worst(doc, about), weight: 7 })
}

fn share(doc: &ResultDoc) -> Option<Row> {
    let step = doc.steps.iter().find(|step| {
        step.kind.traits().files && step.follows_up != Some(FollowUp::Cause) && doc.ladder.is_empty()
    })?;
    let rate = step.summary.goodput_bits_per_s?;
    let requests = step.summary.iops.map(|iops| format!(", {iops} requests a second")).unwrap_or_default();
    let text = format!("{}{requests} (not judged: no yardstick)", BitsPerSecond(rate));
    Some(Row {
        label: "files",
        content: Content::Whole(text),
        outcome: worst(doc, |subject| matches!(subject, Subject::File(_))),
        weight: 9,
    })
}
