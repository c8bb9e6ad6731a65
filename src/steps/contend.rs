//! Classes of traffic that share a path: storage, migrations, backups and heartbeats, alone and together, phase by phase.
//!
//! The lanes are those of a traffic step, each phase of a class a flow; heartbeats are datagrams beside them. What it comes to is
//! decided by `pathproof_engine::contend`.

mod heartbeat;
mod lost;
mod roce;
mod tags;

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::Receiver;
use pathproof_api::Offer;
use pathproof_engine::contend;
use pathproof_engine::traffic::{GRACE_NS, nics};
use pathproof_model::code;
use pathproof_model::finding::Topic;
use pathproof_model::judge::is_meant_to_be_shared;
use pathproof_model::revision::ADAPTER_MARKS_SINCE;
use pathproof_model::{
    BeatsEnd, Class, ContendSpec, Direction, End, ErrorKind, Finding, Half, OneFlow, Plan, ResultDoc,
    Severity, Step, StepError, StepRequest, StepSpec, TrafficSpec,
};
use pathproof_multi::{PATHS, PATHS_MAX};

use super::traffic::stripes::Lists;
use super::{Context, Cost, Kind, Prepared, Runner, Setup, as_specified, failed, traffic};
use crate::lane_options::CONSTRAIN;
use crate::registry::{manners, those_that};

/// What connecting, closing and telling take on a path where all is well.
const AROUND_NS: u64 = 500_000_000;
/// How long lanes may take to connect.
const CONNECT_NS: u64 = 8_000_000_000;
/// A link that is down comes back so long after the step must be over, where nothing of this process brings it back.
const DOWN_SLACK: Duration = Duration::from_secs(20);
/// Shortest phase that is worth anything.
const PHASE_NS_MIN: u64 = 1_000_000_000;
/// What storage asks for where nobody says: Microsoft's guides give half of a converged link to SMB, and 70 % of that to volumes.
const STORAGE_SHARE: f64 = 0.35;
/// How long the path is tried beforehand.
const YARDSTICK_NS: u64 = 1_500_000_000;

/// Messages of a lane in a phase below which its rate would be a coarse figure.
const MESSAGES_MIN: u64 = 400;
/// Their size is a multiple of this, a page.
const BULK_BYTES_STEP: u64 = 4096;

/// The runner.
pub struct Contend;

struct ReadyContend {
    lanes: traffic::Lanes,
    beats: heartbeat::ReadyBeats,
    /// What the step is made without, where it is.
    lost: Option<lost::Lost>,
}

fn spec_of(spec: &StepSpec) -> ContendSpec {
    spec.contend().cloned().unwrap_or_default()
}

fn invalid(message: String) -> StepError {
    StepError::new(ErrorKind::Invalid, message)
}

/// The options of a class's lanes: those of its transport, and its NICs.
fn options_of(spec: &ContendSpec, class: Class) -> BTreeMap<String, String> {
    let mut options = spec.options_of(class);
    let nics = spec.nics_of(class);
    if !nics.is_empty() {
        // Paths that somebody lists are those of all.
        options.remove(PATHS.name);
        CONSTRAIN.write(&mut options, nics.to_vec());
    }
    options
}

/// The flows of the step, each with the options of its class.
fn flows(spec: &ContendSpec) -> Vec<OneFlow> {
    let mut flows = spec.flows();
    flows.iter_mut().for_each(|flow| flow.traffic.options = options_of(spec, flow.class));
    flows
}

/// Which paths lanes have: of all classes the same, unless one of them goes its own way. Both ends see that alike.
fn lists(spec: &ContendSpec) -> Lists {
    if spec.ways.any() { Lists::OfFlows } else { Lists::OfStep }
}

/// Refuses, before anybody is dialled, a class that cannot go as it is to.
pub fn check_ways(spec: &ContendSpec) -> Result<(), StepError> {
    for class in spec.carrying() {
        let (over, nics) = (spec.over_of(class), spec.nics_of(class));
        if !nics.is_empty() && !manners(over).several_nics {
            let (word, several) = (class.word(), those_that(|m| m.several_nics));
            return Err(invalid(format!(
                "{word} goes over {over}, which takes the NIC of the route; name NICs over {several} only (--over {word}={several})"
            )));
        }
    }
    Ok(())
}

/// Refuses to mark a class that goes by an adapter where the agent's build takes such a mark and does nothing with it: half of the class would
/// go unmarked, and nobody would say so.
pub fn check_adapter_marks(plan: &Plan, revision: u8) -> Result<(), StepError> {
    let marks_adapters = |spec: &ContendSpec| {
        let marked = |class: &Class| spec.dscp.of(*class).is_some();
        spec.carrying().filter(marked).any(|class| !manners(spec.over_of(class)).segments)
    };
    let asked = plan.steps.iter().filter_map(StepSpec::contend).any(marks_adapters);
    if revision >= ADAPTER_MARKS_SINCE || !asked {
        return Ok(());
    }
    let why = format!(
        "classes over RDMA are marked by builds of protocol 2.{ADAPTER_MARKS_SINCE} and later, and the peer's speaks 2.{revision}; update pathproof on \
         the peer, or leave --dscp of that class out"
    );
    Err(StepError::new(ErrorKind::Refused, why))
}

/// The classes that go by an adapter.
fn by_adapter(spec: &ContendSpec) -> Vec<Class> {
    spec.carrying().filter(|class| manners(spec.over_of(*class)).adapter).collect()
}

/// What a stream in the direction of the step carried, as storage goes.
fn carried(spec: &ContendSpec, doc: &ResultDoc) -> Option<u64> {
    let streams = doc.steps.iter().filter(|step| step.kind.traits().bulk && step.error.is_none());
    let (over, options) = (spec.over_of(Class::Storage), options_of(spec, Class::Storage));
    let same = streams.filter(|step| {
        let traffic = step.spec.as_ref().and_then(StepSpec::traffic);
        step.direction == Some(spec.direction)
            && traffic.is_some_and(|t| t.over == over && t.options == options && t.is_free())
    });
    same.filter_map(|step| step.summary.goodput_bits_per_s).max().filter(|rate| *rate > 0)
}

/// The step with every NIC, and what it was made of, that one without a NIC of its is held against.
fn before_the_loss<'a>(spec: &ContendSpec, doc: &'a ResultDoc) -> Option<(&'a Step, &'a ContendSpec)> {
    spec.lost_nic.as_ref()?;
    let steps = doc.steps.iter().rev().filter(|step| step.error.is_none());
    let mut whole = steps.filter_map(|step| Some((step, step.spec.as_ref()?.contend()?)));
    whole.find(|(_, whole)| whole.lost_nic.is_none() && whole.over == spec.over)
}

/// The step over the NICs that are left, with what storage asked for when all were there. It stays as it is where the NIC was none of them.
fn without_the_lost(spec: &ContendSpec, doc: &ResultDoc) -> ContendSpec {
    let mut spec = spec.clone();
    let Some((step, whole)) = before_the_loss(&spec, doc) else { return spec };
    let used = step.lanes.iter().find(|lane| lane.end == End::Client).map(|lane| &lane.nics[..]);
    let (lost, used) = (spec.lost_nic.as_ref(), used.unwrap_or_default());
    let left: Vec<String> = used.iter().filter(|nic| Some(*nic) != lost).cloned().collect();
    if left.len() < used.len() && !left.is_empty() {
        CONSTRAIN.write(&mut spec.options, left);
        spec.storage_requests_per_s = whole.storage_requests_per_s;
    }
    spec
}

/// What keeps a step without one of its NICs from being made: nothing is left, or nothing is missing.
fn check_loss(spec: &ContendSpec) -> Result<(), StepError> {
    match &spec.lost_nic {
        Some(nic) if CONSTRAIN.typed(&spec.options).is_none() => Err(invalid(format!(
            "{nic} was not one of several NICs that the step before went over; pathproof channels PEER lists those that are used"
        ))),
        _ => Ok(()),
    }
}

/// The short stream that tells what the path carries, where no step before did.
pub fn yardstick(spec: &ContendSpec, doc: &ResultDoc) -> Option<StepSpec> {
    let spec = &without_the_lost(spec, doc);
    check_loss(spec).ok()?;
    let stream = TrafficSpec {
        over: spec.over_of(Class::Storage).into(),
        direction: spec.direction,
        lanes: spec.storage_lanes.max(spec.migrations),
        time_ns: YARDSTICK_NS,
        warmup_ns: YARDSTICK_NS / 3,
        options: options_of(spec, Class::Storage),
        ..TrafficSpec::default()
    };
    (spec.path_bits_per_s.is_none() && carried(spec, doc).is_none()).then_some(StepSpec::Stream(stream))
}

/// The step with what was measured before: storage asks for a part of the path where nobody says for how much.
pub fn informed(spec: &ContendSpec, doc: &ResultDoc) -> ContendSpec {
    let spec = without_the_lost(spec, doc);
    let path_bits_per_s = spec.path_bits_per_s.or_else(|| carried(&spec, doc));
    let part = |path: u64| (path as f64 * STORAGE_SHARE / 8.0 / spec.storage_bytes.max(1) as f64) as u64;
    let storage_requests_per_s =
        spec.storage_requests_per_s.or(path_bits_per_s.map(|path| part(path).max(1)));
    let bulk_bytes = countable(&spec, path_bits_per_s);
    ContendSpec { path_bits_per_s, storage_requests_per_s, bulk_bytes, ..spec }
}

/// Messages of migrations and backups that are small enough for their number to be a figure. A message counts when it has come as a whole:
/// where a phase has ten of them, the one that its edge lies in is a tenth of what a lane is said to have carried.
fn countable(spec: &ContendSpec, path_bits_per_s: Option<u64>) -> u64 {
    let caps = [Class::Migration, Class::Backup].map(|class| spec.caps.of(class));
    let caps = caps.into_iter().flatten().map(|cap| cap.bytes_per_s.saturating_mul(8));
    let Some(bits_per_s) = path_bits_per_s.into_iter().chain(caps).min() else { return spec.bulk_bytes };
    let lanes = u64::from(spec.migrations.saturating_add(spec.backups).max(1));
    let flows = spec.flows();
    let bulk = flows.iter().filter(|flow| matches!(flow.class, Class::Migration | Class::Backup));
    let measured_ns = bulk.map(|flow| flow.traffic.time_ns).min().unwrap_or(spec.phase_ns);
    let bytes = u128::from(bits_per_s) * u128::from(measured_ns) / 8_000_000_000;
    let each = u64::try_from(bytes).unwrap_or(u64::MAX) / lanes / MESSAGES_MIN;
    spec.bulk_bytes.min((each / BULK_BYTES_STEP * BULK_BYTES_STEP).max(BULK_BYTES_STEP))
}

impl Kind for Contend {
    fn name(&self, spec: &StepSpec) -> String {
        let spec = spec_of(spec);
        let migrations = match spec.migrations {
            1 => "a migration".to_owned(),
            more => format!("{more} migrations"),
        };
        let of = |class| {
            let nics = spec.nics_of(class);
            let on = if nics.is_empty() { String::new() } else { format!(" on {}", nics.join(" and ")) };
            (spec.over_of(class), on)
        };
        let ((over, storage), (other, migration)) = (of(Class::Storage), of(Class::Migration));
        let by = if over == other { String::new() } else { format!(" over {other}") };
        let capped = if spec.caps.migration.is_some() { ", capped" } else { "" };
        let way = if spec.direction == Direction::In { " from the peer" } else { "" };
        let lost = spec.lost_nic.as_ref().map_or_else(String::new, |nic| format!(", without {nic}"));
        format!("{over} storage{storage} beside {migrations}{by}{migration}{way}{capped}{lost}")
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).length_ns().saturating_add(GRACE_NS + CONNECT_NS)
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).length_ns().saturating_add(AROUND_NS)
    }

    /// With shorter phases.
    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        let mut contend = spec_of(spec);
        let excess_ns = self.need_ns(spec).saturating_sub(left_ns);
        contend.shorten(contend.phase_ns.saturating_sub(excess_ns.div_ceil(4)));
        // A class that begins and ends within its phases may have nothing left of them.
        let is_worth_it = contend.phase_ns >= PHASE_NS_MIN && contend.check().is_ok();
        (excess_ns == 0 || is_worth_it).then_some(StepSpec::Contend(contend))
    }
}

impl Runner for Contend {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let spec = spec_of(setup.spec);
        spec.check().map_err(invalid)?;
        check_loss(&spec)?;
        let lanes = traffic::prepare(setup, &spec.whole(), flows(&spec), lists(&spec))?;
        let beats = heartbeat::ReadyBeats::open(setup, &spec)?;
        // Before there is a connection: those that are made go where they go without it.
        let at_most = Duration::from_nanos(self.duration_ns(setup.spec)).saturating_add(DOWN_SLACK);
        let clock = setup.registry.clock();
        let lost = spec.lost_nic.as_ref().map(|nic| lost::Lost::take(nic, setup.session, at_most, clock));
        Ok(Box::new(ReadyContend { lanes, beats, lost }))
    }

    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost {
        let spec = spec_of(spec);
        // Of lists for each flow their sum is told, and none is longer than a lane can have paths.
        let paths = if spec.ways.any() { paths.min(PATHS_MAX) } else { paths };
        Cost { time_ns: spec.length_ns(), ..traffic::cost(&spec.flows(), paths) }
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        traffic::merge_flows(spec, step, client, server);
        nics::merge(step, client, server);
        let beats = |half: &Half| half.detail.beats.clone().unwrap_or_default();
        let contend = spec_of(spec);
        let (here, there) = (beats(client), beats(server));
        let mut detail = contend::reduce(&contend, step, &here, &there);
        detail.rdma_marks = contend::rdma_marks(&by_adapter(&contend), &here, &there);
        // A link of this host is touched by this end alone.
        detail.lost_nic.clone_from(&client.detail.lost_nic);
        step.detail.contend = Some(detail);
        // Those between the phases as well, as whoever counts them on the way does.
        let whole = (0, contend.length_ns());
        for (way, counted) in [
            ("out", contend::count_within(whole, &here, &there)),
            ("in", contend::count_within(whole, &there, &here)),
        ] {
            let Some(counted) = counted else { continue };
            step.counters.insert(format!("heartbeats_sent_{way}"), counted.sent);
            step.counters.insert(format!("heartbeats_lost_{way}"), counted.lost);
        }
        step.direction = spec.contend().map(|contend| contend.direction);
    }

    fn relate(&self, step: &mut Step, doc: &ResultDoc) {
        let spec = step.spec.as_ref().map(spec_of).unwrap_or_default();
        if let (Some(detail), None) = (&mut step.detail.contend, &step.error) {
            contend::relate(&spec, detail, doc);
        }
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        let spec = step.spec.as_ref().map(spec_of).unwrap_or_default();
        // A step that was broken off has phases that nobody measured.
        match (&step.detail.contend, &step.error) {
            (Some(detail), None) => {
                let before = before_the_loss(&spec, doc).and_then(|(whole, _)| whole.detail.contend.as_ref());
                // What became of a mark between the same hosts is told once.
                let marks = [code!("DSCP-CHANGED"), code!("DSCP-DROPPED"), code!("PRIORITY-CHANGED")];
                let told = |one: &Finding| {
                    marks.iter().any(|mark| one.is(*mark))
                        && doc.findings.iter().any(|known| known.code == one.code)
                };
                let mut found = contend::findings(&spec, detail, before);
                found.retain(|one| !told(one));
                found.extend(contend::discards(step, doc));
                if !is_meant_to_be_shared(doc) {
                    let what_they_take = |one: &&mut Finding| one.is_about(Topic::Contention);
                    found.iter_mut().filter(what_they_take).for_each(|one| one.severity = Severity::Info);
                }
                found
            }
            _ => vec![],
        }
    }
}

impl Prepared for ReadyContend {
    fn offers(&self) -> Vec<Offer> {
        let mut offers = self.lanes.offers();
        offers.push(self.beats.offer());
        offers
    }

    fn paths(&self) -> Vec<u32> {
        self.lanes.paths()
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, mut peer: Vec<Offer>) -> Half {
        let ReadyContend { mut lanes, beats, lost } = *self;
        let Some((companions, told)) = peer.pop().and_then(|offer| beats.companions(&offer, context.clock))
        else {
            let error = StepError::new(
                ErrorKind::Protocol,
                "the peer does not say where it hears heartbeats; it is broken, or no pathproof".into(),
            );
            context.channel.fail(&error);
            return failed(error);
        };
        lanes.beside(companions);
        let mut half = Box::new(lanes).run(context, peer);
        half.detail.beats = Some(together(&told));
        if let Some(lost) = lost {
            lost.restore(&mut half);
        }
        half
    }
}

/// What both threads of the heartbeats left.
fn together(told: &Receiver<BeatsEnd>) -> BeatsEnd {
    let mut beats = BeatsEnd::default();
    for part in told.try_iter() {
        beats.reason = beats.reason.or(part.reason);
        beats.sent = if part.sent.is_empty() { beats.sent } else { part.sent };
        beats.received = if part.received.is_empty() { beats.received } else { part.received };
        beats.marked_sent.extend(part.marked_sent);
        beats.marked_received.extend(part.marked_received);
        beats.priorities_received.extend(part.priorities_received);
        beats.priorities_reason = beats.priorities_reason.or(part.priorities_reason);
        beats.rdma_received.extend(part.rdma_received);
        beats.rdma_reason = beats.rdma_reason.or(part.rdma_reason);
    }
    beats
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::contend::{Caps, ClassSpans};
    use pathproof_model::{StepKind, Tool};

    fn doc(change: impl FnOnce(&mut TrafficSpec)) -> ResultDoc {
        let mut traffic = TrafficSpec::default();
        change(&mut traffic);
        let mut stream = Step::new(StepKind::Stream, "stream");
        stream.direction = Some(traffic.direction);
        stream.summary.goodput_bits_per_s = Some(1_000_000_000);
        stream.spec = Some(StepSpec::Stream(traffic));
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.steps.push(stream);
        doc
    }

    #[test]
    fn storage_asks_for_a_part_of_what_the_path_was_seen_to_carry() {
        let spec = ContendSpec::default();
        let asked = |doc: &ResultDoc| informed(&spec, doc).storage_requests_per_s;
        assert_eq!(asked(&doc(|_| {})), Some((350_000_000.0 / 8.0 / 16384.0) as u64));
        assert!(yardstick(&spec, &doc(|_| {})).is_none());
        // What went another way, another path or not as fast as it could says nothing.
        for other in [
            doc(|t| t.direction = Direction::In),
            doc(|t| t.over = "multi".into()),
            doc(|t| t.rate_bits_per_s = Some(1_000_000_000)),
        ] {
            assert_eq!(asked(&other), None);
            assert!(yardstick(&spec, &other).is_some());
        }
        let own = ContendSpec { storage_requests_per_s: Some(7), ..ContendSpec::default() };
        let informed = informed(&own, &doc(|_| {}));
        assert_eq!(
            (informed.storage_requests_per_s, informed.path_bits_per_s),
            (Some(7), Some(1_000_000_000))
        );
    }

    #[test]
    fn what_the_path_carries_is_asked_as_storage_goes() {
        let mut spec = ContendSpec { over: "multi".into(), ..ContendSpec::default() };
        spec.options.insert("policy".into(), "linux".into());
        spec.ways.storage.nics = vec!["e0".into(), "e1".into()];
        spec.ways.migration.over = Some("tcp".into());
        let stream = yardstick(&spec, &ResultDoc::new(Tool::default(), "")).unwrap();
        let stream = stream.traffic().unwrap();
        let options =
            [("constrain", "e0+e1"), ("policy", "linux")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!((stream.over.as_str(), &stream.options), ("multi", &options.into()));
        // The same answers for what comes after it, and that of another way does not.
        let known = doc(|t| (t.over, t.options) = (stream.over.clone(), stream.options.clone()));
        assert_eq!(informed(&spec, &known).path_bits_per_s, Some(1_000_000_000));
        assert_eq!(informed(&spec, &doc(|t| t.over = "multi".into())).path_bits_per_s, None);
        // Each class has its own, and who looks on has those of the step.
        for flow in flows(&spec) {
            let own = flow.traffic.options.get("constrain").map(String::as_str);
            let (nics, policy) = match flow.class {
                Class::Storage => (Some("e0+e1"), true),
                Class::Migration => (None, false),
                _ => (None, true),
            };
            assert_eq!((own, flow.traffic.options.contains_key("policy")), (nics, policy), "{}", flow.name);
        }
        let name = Contend.name(&StepSpec::Contend(spec));
        assert_eq!(name, "multi storage on e0 and e1 beside a migration over tcp");
    }

    #[test]
    fn nics_are_named_where_the_transport_takes_them() {
        let mut spec = ContendSpec::default();
        spec.ways.migration.nics = vec!["e1".into()];
        let why = check_ways(&spec).unwrap_err().message;
        assert!(why.contains("migration goes over tcp") && why.contains("--over migration=multi"), "{why}");
        spec.ways.migration.over = Some("multi".into());
        assert!(check_ways(&spec).is_ok());
        spec.ways.backup.nics = vec!["e1".into()];
        assert!(check_ways(&spec).is_ok(), "no backup runs");
    }

    #[test]
    fn an_agent_that_would_leave_a_class_over_rdma_unmarked_is_not_asked_to_mark_it() {
        let known = |over: &str, revision| {
            let mut spec = ContendSpec::default();
            spec.ways.storage.over = Some(over.into());
            spec.dscp.storage = Some(26);
            let plan = Plan { steps: vec![StepSpec::Contend(spec)], ..Plan::default() };
            check_adapter_marks(&plan, revision).map_err(|why| why.message)
        };
        assert_eq!((known("rdma", ADAPTER_MARKS_SINCE), known("multi", 0)), (Ok(()), Ok(())));
        let why = known("rdma", ADAPTER_MARKS_SINCE - 1).unwrap_err();
        assert!(why.contains("2.5") && why.contains("leave --dscp"), "{why}");
    }

    #[test]
    fn on_a_slow_path_messages_are_small_enough_to_be_counted() {
        let bulk = |path_bits_per_s, migrations, phase_ns| {
            let spec = ContendSpec { path_bits_per_s, migrations, phase_ns, ..ContendSpec::default() };
            informed(&spec, &ResultDoc::new(Tool::default(), "")).bulk_bytes
        };
        assert_eq!(bulk(None, 1, 4_000_000_000), 64 << 10);
        assert_eq!(bulk(Some(1_000_000_000), 4, 4_000_000_000), 64 << 10);
        assert_eq!(bulk(Some(60_000_000), 2, 4_000_000_000), 36 << 10);
        assert_eq!(bulk(Some(8_000_000), 2, 2_000_000_000), 4096);
        assert_eq!(bulk(Some(1), 64, 2_000_000_000), 4096);
        let caps = Caps { migration: Some(1 << 20), ..Caps::default() };
        let capped = ContendSpec { caps, path_bits_per_s: Some(1_000_000_000), ..ContendSpec::default() };
        assert_eq!(informed(&capped, &ResultDoc::new(Tool::default(), "")).bulk_bytes, 8192);
        let small =
            ContendSpec { bulk_bytes: 1000, path_bits_per_s: Some(8_000_000), ..ContendSpec::default() };
        assert_eq!(
            informed(&small, &ResultDoc::new(Tool::default(), "")).bulk_bytes,
            1000,
            "as it was asked for"
        );
    }

    #[test]
    fn a_run_with_little_time_has_shorter_phases_or_none() {
        let spec = StepSpec::Contend(ContendSpec::default());
        let need_ns = Contend.need_ns(&spec);
        assert_eq!(Contend.fit(&spec, need_ns), Some(spec.clone()));
        let less = Contend.fit(&spec, need_ns - 8_000_000_000).unwrap();
        assert_eq!(less.contend().unwrap().phase_ns, 2_000_000_000);
        assert!(Contend.need_ns(&less) <= need_ns - 8_000_000_000);
        assert_eq!(Contend.fit(&spec, need_ns - 13_000_000_000), None);
        let spans = ClassSpans::default().and("backup=1s..3s").unwrap();
        let timed = StepSpec::Contend(ContendSpec { spans, backups: 1, ..ContendSpec::default() });
        assert_eq!(Contend.need_ns(&timed), need_ns, "no phase is longer for it");
        let less = Contend.fit(&timed, need_ns - 8_000_000_000).unwrap();
        assert_eq!(less.contend().unwrap().spans.backup.end_ns, Some(1_500_000_000));
        assert_eq!(Contend.fit(&timed, need_ns - 10_000_000_000), None, "a backup of 750 ms");
    }
}
