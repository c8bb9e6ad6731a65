//! What becomes of paced datagrams, over every NIC pair and in both directions at the same time.
//!
//! Each end listens on every address and offers where; each end asks the other's addresses for consent, flow by flow, and
//! then sends at a pace that loads nothing. What arrived is counted at the other end. Where nobody answers, ICMP echoes are tried. The
//! pure half is `pathproof_engine::loss`.

mod echo;
mod receive;
mod send;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_api::Offer;
use pathproof_dgram::PacedListener;
use pathproof_dgram::wire::ProbeKey;
use pathproof_engine::loss::{self, Schedule};
use pathproof_model::code;
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{
    Direction, End, ErrorKind, Finding, Half, LossEnd, LossProbe, LossSpec, MtuSpec, ResultDoc, Role,
    Severity, Step, StepError, StepRequest, StepSpec,
};

use super::mtu::pairs::{self, Endpoint};
use super::mtu::{device, probe_error};
use super::{
    Context, Cost, Kind, Prepared, Runner, Setup, as_specified, both_done, checksum, failed, no_ending,
};
use pathproof_sys::ending;
use receive::Counted;

/// How long an end waits for the other to have sent all, beyond its own time.
const PATIENCE_NS: u64 = 10_000_000_000;
/// How long what was sent last may be on its way.
const DRAIN: Duration = Duration::from_millis(300);
/// Asking for consent takes so long where nobody answers.
const CONSENT_NS: u64 = 800_000_000;
/// Less than this is no sample.
const TIME_MIN_NS: u64 = 500_000_000;
/// Length of the small packets: what every link carries, of either family.
const SMALL_IP_BYTES: u32 = 88;
/// NIC pairs looked at.
const PATHS_MAX: usize = 16;

/// The runner.
pub struct Loss;

struct ReadyLoss {
    end: End,
    spec: LossSpec,
    key: ProbeKey,
    control: (SocketAddr, SocketAddr),
    endpoints: Vec<Endpoint>,
    listeners: Vec<PacedListener>,
    /// What the kernel gave them, where they asked for a buffer.
    buffer_bytes: Option<u64>,
}

fn spec_of(spec: &StepSpec) -> LossSpec {
    spec.loss().cloned().unwrap_or_default()
}

/// Whether an end sends in a step that goes this way, and whether it receives.
fn part(direction: Direction, end: End) -> (bool, bool) {
    match (direction, end) {
        (Direction::Both, _) => (true, true),
        (Direction::Out, End::Client) | (Direction::In, End::Server) => (true, false),
        (Direction::Out, End::Server) | (Direction::In, End::Client) => (false, true),
    }
}

/// Refuses what cannot be meant.
pub fn check_spec(spec: &LossSpec) -> Result<(), StepError> {
    let invalid = |message: String| Err(StepError::new(ErrorKind::Invalid, message));
    if !(1..=Schedule::FLOWS_MAX).contains(&spec.flows) {
        return invalid(format!("{} flows; ask for 1 to {}", spec.flows, Schedule::FLOWS_MAX));
    }
    if !(1..=100_000).contains(&spec.packets_per_s) {
        return invalid(format!("{} datagrams per second; ask for 1 to 100000", spec.packets_per_s));
    }
    let total = u128::from(spec.packets_per_s) * u128::from(spec.time_ns) / 1_000_000_000;
    if !(1..=u128::from(Schedule::PACKETS_MAX)).contains(&total) {
        return invalid(format!(
            "{total} datagrams in all; ask for a time and a pace of 1 to {}",
            Schedule::PACKETS_MAX
        ));
    }
    let naps = LossSpec::SLEEP_NS_MIN..=LossSpec::SLEEP_NS_MAX;
    if let Some(sleep) = spec.receiver_sleeps_ns.filter(|sleep| !naps.contains(sleep)) {
        return invalid(format!(
            "a receiver that sleeps {}; ask for {} to {}",
            Nanoseconds(sleep),
            Nanoseconds(LossSpec::SLEEP_NS_MIN),
            Nanoseconds(LossSpec::SLEEP_NS_MAX)
        ));
    }
    let buffers = LossSpec::BUFFER_BYTES_MIN..=LossSpec::BUFFER_BYTES_MAX;
    if let Some(buffer) = spec.receive_buffer_bytes.filter(|bytes| !buffers.contains(bytes)) {
        return invalid(format!(
            "a receive buffer of {}; ask for {} to {}",
            Bytes(buffer.into()),
            Bytes(LossSpec::BUFFER_BYTES_MIN.into()),
            Bytes(LossSpec::BUFFER_BYTES_MAX.into())
        ));
    }
    Ok(())
}

/// Fewer datagrams, none of them lost, do not show that less than one in a thousand is: the 95 % interval reaches beyond that.
const SAMPLE: u64 = 3900;

/// The step at a pace that is a small part of the least rate that the streams before it found; twice that where so few datagrams would
/// show nothing, and never so much that it loads the path.
pub fn informed(spec: &LossSpec, doc: &ResultDoc) -> LossSpec {
    /// Of what the path carries.
    const SHARE: f64 = 0.05;
    const SHARE_MAX: f64 = 0.1;
    const PACE_MIN: f64 = 50.0;
    if spec.probe != LossProbe::Sample {
        return spec.clone();
    }
    let rates = doc.steps.iter().filter(|step| step.follows_up.is_none() && step.error.is_none());
    let least = rates.filter_map(|step| step.summary.goodput_bits_per_s).filter(|rate| *rate > 0).min();
    let Some(least) = least else { return spec.clone() };
    let nics = doc.nodes.iter().filter_map(|node| node.environment.as_ref()).flat_map(|host| &host.nics);
    let largest = nics.filter_map(|nic| nic.ip_mtu_bytes).filter(|mtu| *mtu <= 16_000).max().unwrap_or(9000);
    let mean_bits = f64::from(4 * SMALL_IP_BYTES + largest) / 5.0 * 8.0;
    let pace = |share: f64| least as f64 * share / mean_bits;
    let enough = SAMPLE as f64 * 1e9 / spec.time_ns.max(1) as f64;
    let pace = pace(SHARE).max(pace(SHARE_MAX).min(enough)).max(PACE_MIN) as u32;
    LossSpec { packets_per_s: spec.packets_per_s.min(pace), ..spec.clone() }
}

/// The step as long as it takes to show something at its pace, where it may take `spare_ns` more.
pub fn stretch(spec: &LossSpec, spare_ns: u64) -> LossSpec {
    if spec.probe != LossProbe::Sample {
        return spec.clone();
    }
    let wanted_ns = SAMPLE.saturating_mul(1_000_000_000) / u64::from(spec.packets_per_s.max(1));
    let time_ns = wanted_ns.clamp(spec.time_ns, spec.time_ns.saturating_add(spare_ns));
    LossSpec { time_ns, ..spec.clone() }
}

impl Kind for Loss {
    fn name(&self, spec: &StepSpec) -> String {
        let spec = spec_of(spec);
        match spec.probe {
            LossProbe::Sample => "datagram loss".into(),
            LossProbe::Rate => format!("{} packets/s {}", spec.packets_per_s, spec.direction.name()),
            LossProbe::Buffer => {
                let buffer = Bytes(spec.receive_buffer_bytes.unwrap_or(LossSpec::BUFFER_BYTES_MAX).into());
                format!("{} packets/s {} into {buffer}", spec.packets_per_s, spec.direction.name())
            }
        }
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).time_ns.saturating_add(PATIENCE_NS)
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).time_ns.saturating_add(CONSENT_NS + DRAIN.as_nanos() as u64)
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        let around = CONSENT_NS + DRAIN.as_nanos() as u64;
        let spec = spec_of(spec);
        let time_ns = spec.time_ns.min(left_ns.saturating_sub(around));
        (time_ns >= TIME_MIN_NS.min(spec.time_ns)).then_some(StepSpec::Loss(LossSpec { time_ns, ..spec }))
    }
}

impl Runner for Loss {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let session = setup.session;
        let mut endpoints = pairs::endpoints(&session.environment, &MtuSpec::default(), session.local.ip())?;
        let key = |from| ProbeKey::new(session.probe_key(setup.step, from));
        let spec = spec_of(setup.spec);
        // What the other end asks for is bounded here, too.
        let (_, receives) = part(spec.direction, session.end);
        let buffer = spec.receive_buffer_bytes.filter(|_| receives);
        let buffer = buffer.map(|bytes| bytes.clamp(LossSpec::BUFFER_BYTES_MIN, LossSpec::BUFFER_BYTES_MAX));
        let mut buffer_bytes = None;
        let (mut listeners, mut problem) = (Vec::new(), None);
        endpoints.retain_mut(|endpoint| {
            match PacedListener::open(endpoint.address, device(endpoint), key(session.end.other())) {
                Ok(listener) => {
                    endpoint.port = listener.port();
                    buffer_bytes = buffer.and_then(|bytes| listener.ask_for_buffer(bytes)).or(buffer_bytes);
                    listeners.push(listener);
                    true
                }
                // One address that cannot be bound (tentative, just removed) must not spoil the others.
                Err(error) => {
                    problem = Some(error);
                    false
                }
            }
        });
        if let (true, Some(error)) = (endpoints.is_empty(), problem) {
            return Err(probe_error(&error));
        }
        Ok(Box::new(ReadyLoss {
            end: session.end,
            spec,
            key: key(session.end),
            control: (session.local, session.peer),
            endpoints,
            listeners,
            buffer_bytes,
        }))
    }

    fn cost(&self, spec: &StepSpec, _paths: usize) -> Cost {
        // A socket with its buffers for each flow, and a delay for each datagram.
        const SOCKET_BYTES: u64 = 256 << 10;
        const DATAGRAM_BYTES: u64 = 32;
        let (spec, paths) = (spec_of(spec), PATHS_MAX as u64);
        let schedule = Schedule::new(&spec);
        let each = u64::from(schedule.flows()) * SOCKET_BYTES + schedule.total() * DATAGRAM_BYTES;
        Cost { memory_bytes: paths * each, time_ns: spec.time_ns, ..Cost::default() }
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        let mut paths = loss::merge(&client.detail.loss, &server.detail.loss);
        // Nothing was to go the other way.
        let asked = spec_of(spec).direction;
        paths.retain(|path| [Direction::Both, path.direction].contains(&asked));
        // A socket counts what its host throws away for a wrong checksum as what it had no room for.
        for (direction, end) in [(Direction::Out, End::Server), (Direction::In, End::Client)] {
            loss::damaged(&mut paths, direction, checksum::damaged_datagrams(step, end).unwrap_or(0));
        }
        loss::tell_shares(&mut paths, |direction, ipv4| {
            let receiver = if direction == Direction::Out { End::Server } else { End::Client };
            checksum::damaged_of_family(step, receiver, ipv4)
        });
        step.detail.loss = Some(paths);
        let receiver = if asked == Direction::In { client } else { server };
        let given = receiver.detail.receive_buffer_bytes;
        step.detail.receive_buffer_bytes = given.map(|bytes| bytes.min(u32::MAX.into()));
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        // What a rate loses that was tried is what is searched for.
        if step.spec.as_ref().is_some_and(|spec| spec_of(spec).probe != LossProbe::Sample) {
            return vec![];
        }
        let paths = step.detail.loss.as_deref().unwrap_or_default();
        // A step that was broken off counts as sent what nobody listened for any more. What arrived in what order it knows.
        let mut found = match step.error {
            Some(_) => loss::findings_of_arrivals(paths),
            None => loss::findings(paths),
        };
        loss::settle_by_host(&mut found, step);
        found.extend(checksum::datagrams(step));
        // Who said that RoCE is what the path is for needs the marks that PFC and ECN go by.
        if doc.requested.as_ref().is_some_and(|plan| plan.is_for(Role::Roce)) {
            // What waits here waits because of its mark.
            let of_marks = [code!("DSCP-CHANGED"), code!("DSCP-DROPPED"), code!("PATH-JITTER")];
            let marks = found.iter_mut().filter(|f| of_marks.iter().any(|code| f.is(*code)));
            marks.for_each(|finding| finding.severity = Severity::Error);
        }
        found
    }
}

/// A path as this end sees it.
struct Path<'a> {
    here: &'a Endpoint,
    there: &'a Endpoint,
    /// Which of the listeners belongs to it.
    listener: usize,
}

impl Prepared for ReadyLoss {
    fn offers(&self) -> Vec<Offer> {
        // An offer that cannot be written would be a fault in this file; an empty one is refused by the peer.
        vec![Offer(serde_json::to_vec(&self.endpoints).unwrap_or_default())]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let ReadyLoss { end, spec, key, control, endpoints, listeners, buffer_bytes } = *self;
        let theirs: Vec<Endpoint> = match peer.first().map(|offer| serde_json::from_slice(&offer.0)) {
            Some(Ok(theirs)) => theirs,
            _ => {
                return failed(StepError::new(
                    ErrorKind::Protocol,
                    "the peer's list of NICs cannot be read; are both ends of the same version? Compare pathproof --version"
                        .into(),
                ));
            }
        };
        let known = (control.0.ip().to_canonical(), control.1.ip().to_canonical());
        let of_session = |here: &Endpoint, there: &Endpoint| (here.address, there.address) == known;
        // What shares no network is not expected to carry anything.
        let paths: Vec<Path<'_>> = pairs::pairs(&endpoints, &theirs, known)
            .into_iter()
            .filter(|pair| match spec.probe {
                LossProbe::Sample => pair.ought,
                LossProbe::Rate | LossProbe::Buffer => {
                    of_session(&endpoints[pair.local], &theirs[pair.remote])
                }
            })
            .take(PATHS_MAX)
            .map(|pair| Path {
                here: &endpoints[pair.local],
                there: &theirs[pair.remote],
                listener: pair.local,
            })
            .collect();
        let schedule = Schedule::new(&spec);
        let addresses: Vec<(usize, IpAddr)> =
            paths.iter().map(|path| (path.listener, path.there.address)).collect();
        let (ender, ending) = match ending::pair() {
            Ok(pair) => pair,
            Err(error) => return failed(no_ending(&error)),
        };
        let (sends, receives) = part(spec.direction, end);
        let sleeps = spec.receiver_sleeps_ns.filter(|_| receives);
        let sleeps =
            sleeps.map(|ns| Duration::from_nanos(ns.clamp(LossSpec::SLEEP_NS_MIN, LossSpec::SLEEP_NS_MAX)));
        let counting = receive::spawn(listeners, addresses, schedule, context.clock, ending, sleeps);
        let (sent, patience_ns) = match sends {
            true => (send::send(&paths, &key, known.1, &schedule, context), PATIENCE_NS),
            false => (send::nothing(&paths), spec.time_ns.saturating_add(PATIENCE_NS)),
        };
        let error = both_done(context, patience_ns, "its datagrams");
        if error.is_none() {
            std::thread::sleep(context.within(DRAIN));
        }
        drop(ender);
        let counted = counting.and_then(|thread| thread.join().ok());
        let mut half = Half { error, ..Half::default() };
        let Some(counted) = counted else {
            half.error.get_or_insert(StepError::new(
                ErrorKind::System,
                "the thread that counts datagrams could not be started or ended unexpectedly; run again with -v, and report what it says".into(),
            ));
            return half;
        };
        half.detail.receive_buffer_bytes = buffer_bytes;
        half.detail.loss = paths
            .iter()
            .zip(sent)
            .zip(counted)
            .map(|((path, sent), counted)| ended(path, sent, counted))
            .collect();
        half
    }
}

fn ended(path: &Path<'_>, sent: send::Sent, counted: Counted) -> LossEnd {
    LossEnd {
        nic: path.here.nic.clone(),
        peer_nic: path.there.nic.clone(),
        address: path.here.address,
        peer_address: path.there.address,
        small_ip_bytes: SMALL_IP_BYTES,
        full_ip_bytes: sent.full_ip_bytes,
        reason: sent.reason,
        sent: sent.flows,
        echoes: sent.echoes.map(echo::Echoes::ended),
        received: counted.strands,
        overflowed: counted.overflowed,
        delay_variation_ns: counted.delay_variation_ns,
        first_router: sent.first_router,
        last_router: counted.last_router,
        questions_heard: counted.questions,
        changed: Some(counted.changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{StepKind, Tool};

    fn pace(mbit: u64, time_ms: u64) -> LossSpec {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let mut stream = Step::new(StepKind::Stream, "s");
        stream.summary.goodput_bits_per_s = Some(mbit * 1_000_000);
        doc.steps = vec![stream];
        let nic = pathproof_model::Nic { ip_mtu_bytes: Some(1500), ..pathproof_model::Nic::default() };
        let host = pathproof_model::Environment { nics: vec![nic], ..Default::default() };
        doc.nodes = vec![pathproof_model::Node::here(Some(host))];
        informed(&LossSpec { time_ns: time_ms * 1_000_000, ..LossSpec::default() }, &doc)
    }

    #[test]
    fn a_slow_path_is_asked_with_at_most_a_tenth_of_what_it_carries_and_for_longer() {
        let full = LossSpec::default().packets_per_s;
        assert_eq!(pace(1000, 5000).packets_per_s, full);
        // Enough within its time: no more than is needed for that.
        assert_eq!(pace(100, 5000).packets_per_s, 1687);
        assert_eq!(pace(40, 5000).packets_per_s, 780);
        // Too short for that: a tenth of the path.
        let slow = pace(20, 800);
        assert_eq!(slow.packets_per_s, 674);
        assert_eq!(stretch(&slow, 0).time_ns, slow.time_ns);
        assert_eq!(stretch(&slow, 1_000_000_000).time_ns, slow.time_ns + 1_000_000_000);
        assert_eq!(stretch(&slow, 60_000_000_000).time_ns, SAMPLE * 1_000_000_000 / 674);
        // What has a sample is as long as it was asked for.
        let fast = pace(1000, 5000);
        assert_eq!(stretch(&fast, 60_000_000_000), fast);
    }

    #[test]
    fn a_step_that_was_broken_off_accuses_no_path() {
        use pathproof_model::{ErrorKind, LossCounts, LossFlow, LossMark, StepError};
        // As on a crowded host: the last datagrams left after nobody listened any more.
        let counts = LossCounts { sent: 2275, received: 2251, ..LossCounts::default() };
        let address = |last| std::net::IpAddr::from([10, 9, 0, last]);
        let path = pathproof_model::LossPath {
            local_nic: "e0".into(),
            remote_nic: "e0".into(),
            local_address: address(1),
            remote_address: address(2),
            direction: pathproof_model::Direction::In,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 1500,
            reason: None,
            flows: vec![LossFlow { port: 1, answered: true, small: counts, ..LossFlow::default() }],
            marks: vec![LossMark { counts, ..LossMark::default() }],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
            shares: None,
        };
        let mut step = Step::new(StepKind::Loss, "datagram loss");
        step.detail.loss = Some(vec![path]);
        let doc = ResultDoc::new(Tool::default(), "");
        assert_eq!(Loss.findings(&step, &doc).len(), 1);
        step.error = Some(StepError::new(ErrorKind::OutOfTime, "the time was up".into()));
        assert_eq!(Loss.findings(&step, &doc), vec![]);
    }
}
