//! Offloads tried one by one: which is turned off next, what the trials come to, and which of them fixes the path. Pure.
//!
//! Where no single one heals a way that is ill, pairs are tried, and then all of an end: what each does may be made good by another. Only what an end
//! sends is touched by what it does to segments on their way out, and only what it receives by what it does to those that arrive, so pairs are of
//! one sort at one end: three at most for each end of a way. What heals first is named, and nothing larger is tried.
//!
//! The first trial and the last leave all as it is. An offload heals a way where segments do not arrive whole in either of these two and do
//! while it is off: what came and went by itself is nobody's doing.

use pathproof_model::code;
use pathproof_model::finding::Commands;
use pathproof_model::judge::nics_of;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    Direction, End, Finding, FollowUp, LaneRole, Nic, NodeId, Offload, OffloadEnd, OffloadSet, OffloadTrial,
    OffloadTried, OffloadWay, ResultDoc, Step, StepSpec, TrafficSpec, told,
};

/// Of what a connection sends so much is sent again where whole segments are lost for what they are; a queue that overflows costs a few
/// in a hundred, and fewer where they leave one by one.
const LOSES: f64 = 0.1;
/// One that heals has it at most at this part of that...
const FEWER: f64 = 0.25;
/// ... and carries so many times as much.
const MORE: f64 = 4.0;

const WAYS: [Direction; 2] = [Direction::Out, Direction::In];

/// The steps that are trials, in their order.
fn trials(doc: &ResultDoc) -> impl Iterator<Item = (&Step, OffloadTrial)> {
    doc.steps.iter().filter(|step| step.follows_up == Some(FollowUp::Search)).filter_map(|step| {
        let trial = step.spec.as_ref().and_then(StepSpec::traffic)?.offload?;
        Some((step, trial))
    })
}

/// The next step of the trials that `search` stands for; `None` at their end, and where something was not given back.
pub fn next(search: &TrafficSpec, doc: &ResultDoc) -> Option<TrafficSpec> {
    let made: Vec<(&Step, OffloadTrial)> = trials(doc).collect();
    if made.iter().any(|(step, _)| step.detail.offload.as_ref().is_some_and(|end| !end.restored)) {
        return None;
    }
    let is_new = |trial: &OffloadTrial| made.iter().all(|(_, known)| known != trial);
    let trial = match made.first() {
        None => OffloadTrial::default(),
        // The last one leaves all as it is, as the first one does.
        Some(_) if made.iter().filter(|(_, trial)| trial.off.is_none()).count() > 1 => return None,
        Some((first, _)) => {
            let rows: Vec<OffloadTried> = made.iter().map(|(step, trial)| row(step, *trial)).collect();
            let alone = permitted(doc).flat_map(|end| on(doc, first, end)).find(is_new);
            let together = || together(doc, first, &rows).into_iter().find(is_new);
            alone.or_else(together).unwrap_or_default()
        }
    };
    Some(TrafficSpec { offload: Some(trial), ..search.clone() })
}

/// The ends at which offloads may be turned off.
fn permitted(doc: &ResultDoc) -> impl Iterator<Item = End> {
    End::BOTH.into_iter().filter(move |end| *end == End::Client || is_permitted(doc))
}

/// What is tried together, for each way that is ill and that nothing tried so far heals.
fn together(doc: &ResultDoc, first: &Step, rows: &[OffloadTried]) -> Vec<OffloadTrial> {
    let open = WAYS.into_iter().filter(|way| is_open(rows, *way));
    open.flat_map(|way| sets(doc, first, rows, way)).collect()
}

/// Whether a way is ill with all as it is, and no trial so far heals it.
fn is_open(rows: &[OffloadTried], direction: Direction) -> bool {
    let Some(sick) = rows.first().and_then(|row| row.way(direction)) else { return false };
    let is_ill = sick.arrives() == Some(false) || sick.sent_again_share.is_some_and(|share| share >= LOSES);
    let heals = |row: &OffloadTried| {
        row.off.is_some() && row.way(direction).is_some_and(|well| is_healed(sick, well))
    };
    is_ill && !rows.iter().any(heals)
}

/// What may be tried together for a way: pairs of one sort, its sender's and then its receiver's, and after them all of an end.
fn sets(doc: &ResultDoc, first: &Step, rows: &[OffloadTried], way: Direction) -> Vec<OffloadTrial> {
    let receiver = receiver(way);
    let may = |end: &End| permitted(doc).any(|permitted| permitted == *end);
    let ends: Vec<End> = [receiver.other(), receiver].into_iter().filter(may).collect();
    let mut sets = vec![];
    for &end in &ends {
        let own = switchable(doc, first, rows, end);
        let own: Vec<Offload> = own.into_iter().filter(|off| off.sends() == (end != receiver)).collect();
        for (nth, one) in own.iter().enumerate() {
            let others = own[nth + 1..].iter().filter(|other| !went_off(rows, end, &[*one, **other]));
            sets.extend(others.map(|other| OffloadTrial {
                with: OffloadSet::from_iter([*other]),
                ..OffloadTrial::of(end, *one)
            }));
        }
    }
    for end in ends {
        let own = switchable(doc, first, rows, end);
        if let [one, others @ ..] = &own[..]
            && !others.is_empty()
            && !went_off(rows, end, &own)
        {
            let with = others.iter().copied().collect();
            sets.push(OffloadTrial { with, ..OffloadTrial::of(end, *one) });
        }
    }
    sets
}

/// What is on at an end and can be turned off there: by itself it was.
fn switchable(doc: &ResultDoc, first: &Step, rows: &[OffloadTried], end: End) -> Vec<Offload> {
    let own = on(doc, first, end).into_iter().filter_map(|trial| trial.off);
    let failed = |off: &Offload| {
        rows.iter().any(|row| row.end == Some(end) && row.all() == [*off] && row.restored.is_none())
    };
    own.filter(|off| !failed(off)).collect()
}

/// Whether all of these were off already in one trial: what hangs on an offload goes off with it.
fn went_off(rows: &[OffloadTried], end: End, offloads: &[Offload]) -> bool {
    let has = |row: &OffloadTried, off: &Offload| row.all().contains(off) || row.also_off.contains(off);
    rows.iter().any(|row| row.end == Some(end) && offloads.iter().all(|off| has(row, off)))
}

/// Whether the peer's user permits it there.
fn is_permitted(doc: &ResultDoc) -> bool {
    doc.limits.as_ref().is_some_and(|limits| limits.offloads)
}

/// What is on at the NIC that a step went over at an end.
fn on(doc: &ResultDoc, step: &Step, end: End) -> Vec<OffloadTrial> {
    let Some(nic) = nic(doc, step, end) else { return vec![] };
    let is_on = |offload: &Offload| nic.offloads.get(offload.name()) == Some(&true);
    Offload::ALL.into_iter().filter(is_on).map(|off| OffloadTrial::of(end, off)).collect()
}

/// The NIC that the lanes of a step used at an end.
fn nic<'a>(doc: &'a ResultDoc, step: &Step, end: End) -> Option<&'a Nic> {
    let host = doc.environment(end.node())?;
    let lane = step.lanes.iter().find(|lane| lane.end == end && lane.local.is_some())?;
    nics_of(host, lane)?.into_iter().next()
}

/// What the trials of a document came to, in their order; what was not tried, with the reason, comes last.
fn found(doc: &ResultDoc) -> Vec<OffloadTried> {
    let mut rows: Vec<OffloadTried> = trials(doc).map(|(step, trial)| row(step, trial)).collect();
    let Some((first, _)) = trials(doc).next() else { return rows };
    if !is_permitted(doc) {
        let nic = nic(doc, first, End::Server).map(|nic| nic.name.clone());
        rows.extend(on(doc, first, End::Server).into_iter().map(|trial| OffloadTried {
            end: Some(trial.end),
            off: trial.off,
            nic: nic.clone(),
            reason: Some(
                "it is not permitted at the peer (pathproof serve --allow-offloads, as root)".into(),
            ),
            ..OffloadTried::default()
        }));
    }
    rows
}

fn row(step: &Step, trial: OffloadTrial) -> OffloadTried {
    let end: Option<&OffloadEnd> = step.detail.offload.as_ref();
    OffloadTried {
        end: trial.off.map(|_| trial.end),
        off: trial.off,
        with: trial.all().into_iter().skip(1).collect(),
        nic: end.map(|end| end.nic.clone()),
        also_off: end.map_or_else(Vec::new, |end| end.also_off.clone()),
        restored: end.map(|end| end.restored),
        reason: step.error.as_ref().map(|error| error.message.clone()),
        outward: way(step, End::Client),
        inward: way(step, End::Server),
    }
}

/// What went from `sender` to the other end.
fn way(step: &Step, sender: End) -> OffloadWay {
    let lanes =
        |end: End, role: LaneRole| step.lanes.iter().filter(move |lane| lane.end == end && lane.role == role);
    let arrived = lanes(sender.other(), LaneRole::Receive).filter(|lane| lane.window_ns > 0);
    let rates = arrived.map(|lane| u128::from(lane.bytes) * 8_000_000_000 / u128::from(lane.window_ns));
    let rate = rates.reduce(|sum, rate| sum + rate).map(|rate| u64::try_from(rate).unwrap_or(u64::MAX));
    let counts = || lanes(sender, LaneRole::Send).filter_map(|lane| Some(&lane.connection.as_ref()?.counts));
    let sum = |bytes: fn(&pathproof_model::ConnectionCounts) -> Option<u64>| {
        counts().map(bytes).try_fold(0u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
    };
    let sent = sum(|counts| counts.sent_bytes).filter(|sent| *sent > 0);
    let again = sum(|counts| counts.retransmitted_bytes);
    OffloadWay {
        goodput_bits_per_s: rate,
        checksum_errors: step
            .evidence(sender.other().node())
            .and_then(|evidence| evidence.tcp.as_ref()?.checksum_errors),
        sent_again_share: sent.zip(again).map(|(sent, again)| again as f64 / sent as f64),
    }
}

/// Whether a way that was `sick` with all as it is was `well` with an offload off.
fn is_healed(sick: &OffloadWay, well: &OffloadWay) -> bool {
    if well.arrives() != Some(true) {
        return false;
    }
    // Segments that are lost whole have no checksum.
    let lost = |way: &OffloadWay| way.sent_again_share.zip(way.goodput_bits_per_s);
    let loses_less = lost(sick).zip(lost(well)).is_some_and(|((before, slow), (after, fast))| {
        before >= LOSES && after <= before * FEWER && fast as f64 >= slow as f64 * MORE
    });
    sick.arrives() == Some(false) || loses_less
}

/// The trials that leave all as it is: the first and the last; `None` where there are not both.
fn as_is(rows: &[OffloadTried]) -> Option<(&OffloadTried, &OffloadTried)> {
    let mut as_is = rows.iter().filter(|row| row.off.is_none());
    Some((as_is.next()?, as_is.next()?))
}

/// The offloads that heal a way, without those that do so only because another goes off with them. Of those that do so together the fewest
/// are named, and only where none does alone.
fn healing(rows: &[OffloadTried], direction: Direction) -> Vec<&OffloadTried> {
    let Some((first, last)) = as_is(rows) else { return vec![] };
    let heals = |row: &&OffloadTried| {
        let heals_as_is = |sick: &OffloadTried| {
            let ways = sick.way(direction).zip(row.way(direction));
            ways.is_some_and(|(sick, well)| is_healed(sick, well))
        };
        row.off.is_some() && heals_as_is(first) && heals_as_is(last)
    };
    let all: Vec<&OffloadTried> = rows.iter().filter(heals).collect();
    let smaller = |row: &OffloadTried| {
        let own = row.all();
        let has = |off: &Offload| own.contains(off) || row.also_off.contains(off);
        all.iter().any(|other| other.end == row.end && other.all() != own && other.all().iter().all(has))
    };
    let least = || all.iter().copied().filter(|row| !smaller(row));
    let alone: Vec<&OffloadTried> = least().filter(|row| row.with.is_empty()).collect();
    if alone.is_empty() { least().min_by_key(|row| row.with.len()).into_iter().collect() } else { alone }
}

/// Puts what trials came to into the document, and what it means.
pub fn conclude(doc: &mut ResultDoc) {
    const UNHEALED: &str = "No offload that was tried fixes it, alone or with others, so something on the way changes packets: look at the tunnels, virtual switches and \
                            devices that inspect traffic between the hosts. Those of the peer are tried where it was started with --allow-offloads.";
    doc.offloads = found(doc);
    if doc.offloads.is_empty() {
        return;
    }
    let told = findings(doc);
    let healed = |one: &Finding| {
        let way = WAYS.into_iter().find(|way| one.told(told::RECEIVER) == Some(receiver(*way)));
        way.is_some() && told.iter().any(|fault| fault.told(told::DIRECTION) == way)
    };
    // Whose doing it is says more than that it is.
    doc.findings.retain(|one| !one.is(code!("TCP-CHECKSUM")) || !healed(one));
    let damaged = doc.findings.iter_mut().filter(|one| one.is(code!("TCP-CHECKSUM")));
    damaged.for_each(|one| one.next = UNHEALED.into());
    doc.findings.extend(told);
}

/// Who receives one way.
fn receiver(way: Direction) -> End {
    if way == Direction::In { End::Client } else { End::Server }
}

/// What is to be told: the offload that heals, and what was not given back.
fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let rows = &doc.offloads;
    let mut found: Vec<Finding> = Vec::new();
    for row in rows.iter().filter(|row| row.restored == Some(false)) {
        let (Some(off), Some(end), Some(nic)) = (row.off, row.end, &row.nic) else { continue };
        let all = row.all();
        let evidence = format!(
            "{} of {nic} at {} was turned off and could not be given back: {}",
            names(&all),
            whose(end),
            row.reason.as_deref().unwrap_or("no reason was given")
        );
        let commands = typed(end, nic, &all, "ethtool -K {} {} on");
        found.push(
            Finding::new("OFFLOAD-NOT-RESTORED", evidence)
                .with_commands("Turn it on again.", &commands)
                .tell(told::NIC, nic.clone())
                .tell(told::NODE, end.node())
                .with("offload", off.name()),
        );
    }
    for direction in WAYS {
        found.extend(healing(rows, direction).into_iter().filter_map(|row| fault(rows, row, direction)));
    }
    found
}

fn fault(rows: &[OffloadTried], row: &OffloadTried, direction: Direction) -> Option<Finding> {
    let (off, end, nic, all) = (row.off?, row.end?, row.nic.as_ref()?, row.all());
    let (on, nor) = match all.len() > 1 {
        false => ("it", ""),
        true => ("them", ", nor with one of them off alone"),
    };
    let (first, _) = as_is(rows)?;
    let (sick, well) = (first.way(direction)?, row.way(direction)?);
    let evidence = format!(
        "with {} of {nic} off at {} segments arrive {} ({}); with {on} on they do not ({}){nor}",
        names(&all),
        whose(end),
        direction.name(),
        in_figures(well),
        in_figures(sick)
    );
    let commands = typed(end, nic, &all, "ethtool -K {} {} off");
    let lead = match all.len() > 1 {
        false => "Leave it off until the driver, the virtual switch or the tunnel below it is fixed.",
        true => "Leave them off until the driver, the virtual switch or the tunnel below them is fixed.",
    };
    let finding = Finding::new("OFFLOAD-FAULT", evidence)
        .with_commands(lead, &commands)
        .tell(told::NIC, nic.clone())
        .tell(told::NODE, end.node())
        .tell(told::DIRECTION, direction)
        .with("offload", off.name());
    let with: Vec<&str> = row.with.iter().map(|off| off.name()).collect();
    Some(if with.is_empty() { finding } else { finding.with("with", with) })
}

/// The names of offloads, for people.
fn names(offloads: &[Offload]) -> String {
    offloads.iter().map(|off| off.name()).collect::<Vec<_>>().join(" and ")
}

/// A command for each offload.
fn typed(end: End, nic: &str, offloads: &[Offload], form: &str) -> Commands {
    let each = offloads.iter().map(|off| off.word());
    each.fold(Commands::new(), |commands, word| commands.at(end.node(), form, &[nic, word]))
}

fn whose(end: End) -> &'static str {
    if end.node() == NodeId::CLIENT { "this end" } else { "the peer" }
}

/// What a way came to, as people read it.
fn in_figures(way: &OffloadWay) -> String {
    let rate =
        way.goodput_bits_per_s.map_or_else(|| "rate unknown".into(), |rate| BitsPerSecond(rate).to_string());
    let errors = way
        .checksum_errors
        .map_or_else(|| "checksums unknown".into(), |errors| format!("{errors} wrong checksums"));
    let again =
        way.sent_again_share.map_or_else(String::new, |share| format!(", {:.1} % sent again", share * 100.0));
    format!("{rate}, {errors}{again}")
}

#[cfg(test)]
mod tests;
