//! Steps over several NICs: which paths, what each NIC carried by its own count, and what a failure did.
//!
//! The client, who dials, chooses the paths by SMB's rules from what both hosts have. The server learns how many
//! there are and which of its own interfaces each leads to: an address to dial never crosses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pathproof_api::{Clock, LaneSpec, OptionValues, PathSpec};
use pathproof_engine::channels::{LINUX_CHANNELS_MAX, Question, Rules, predict};
use pathproof_model::{
    ErrorKind, Failover, Finding, Half, LaneResult, LaneRole, NicEvidence, NicFailure as Failure, NicShare,
    PathRecord, Series, Step, StepError, StripeRecord, TrafficSpec, series::Slice,
};
use pathproof_multi::{PATHS, PATHS_MAX, SHARE, Share};

use crate::guardian::Guardian;
use crate::lane_options::{CONNECTIONS, CONSTRAIN, POLICY, Policy, of_paths};
use crate::registry::manners;
use crate::steps::stage::Cue;
use crate::steps::{End, SessionFacts};
use pathproof_sys::clock::RealClock;

/// The interface of a machine that talks to itself.
const LOOPBACK: &str = "lo";

/// An interface that carried less than so many percent of what its lanes sent shows that bytes left elsewhere.
const CARRIED_PERCENT_MIN: u64 = 90;

/// Bytes below which an interface's traffic is nobody's concern (ARP, the control channel).
const IDLE_BYTES: u64 = 1 << 20;

/// The paths of a step.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Options for the lanes.
    options: OptionValues,
    /// The paths as this end sees them.
    paths: Vec<PathSpec>,
    /// NIC of this end for each path.
    nics: Vec<String>,
    /// At the client: index of the server's NIC for each path, 0 where it is not known.
    towards: Vec<u32>,
    /// Why there is only one path, if so.
    alone: Option<String>,
}

impl Plan {
    /// For each path the index of the server's interface that it leads to.
    pub fn leads_to(&self) -> Vec<u32> {
        self.towards.clone()
    }

    /// Makes a lane's specification one of these paths.
    pub fn shape(&self, spec: &mut LaneSpec) {
        spec.options.clone_from(&self.options);
        spec.paths.clone_from(&self.paths);
    }

    /// How many connections each lane has.
    pub fn paths(&self) -> usize {
        self.nics.len().max(1)
    }

    /// This end's NICs, each once.
    pub fn nics(&self) -> Vec<String> {
        let named = self.nics.iter().filter(|nic| !nic.is_empty());
        named.collect::<std::collections::BTreeSet<_>>().into_iter().cloned().collect()
    }
}

fn invalid(message: String) -> StepError {
    StepError { kind: ErrorKind::Invalid, message }
}

/// The paths between both hosts of the session; `None` for other transports. `towards` is the client's word for where
/// each of its paths leads, at the server.
pub fn plan(
    over: &str,
    options: &OptionValues,
    session: &SessionFacts,
    towards: &[u32],
) -> Result<Option<Plan>, StepError> {
    if !manners(over).several_nics {
        return Ok(None);
    }
    let mut options = options.clone();
    let own = options.take(&of_paths());
    match session.end {
        End::Client => Ok(Some(dialled(&own, options, session))),
        End::Server => expected(options, session, towards).map(Some),
    }
}

/// The paths that the client dials, by the rules of SMB from what both hosts have.
fn dialled(own: &OptionValues, mut options: OptionValues, session: &SessionFacts) -> Plan {
    let policy = own.get(&POLICY);
    let each = own.given(&CONNECTIONS);
    let (client, server, port) = (&session.environment, &session.peer_environment, session.peer.port());
    let mut paths = Vec::new();
    let mut nics = Vec::new();
    let mut towards = Vec::new();
    let mut alone = None;
    if let Some(given) = options.given(&PATHS) {
        nics = vec![String::new(); given.len()];
        towards = vec![0; given.len()];
        paths = given;
    } else if session.local.ip().is_loopback() {
        // One machine against itself: two connections show the machinery, if not several NICs.
        paths = vec![PathSpec::default(); each.unwrap_or(1).max(2) as usize];
        nics = vec![LOOPBACK.into(); paths.len()];
        towards = vec![0; paths.len()];
    } else {
        let question = Question {
            rules: match policy {
                Policy::Windows => Rules::Windows,
                Policy::Linux => Rules::Linux { channels: LINUX_CHANNELS_MAX },
            },
            constrain: own.given(&CONSTRAIN).unwrap_or_default(),
        };
        let (ours, theirs) = crate::channels::of_both(client, server);
        let channels = predict(&ours, &theirs, &question);
        for pair in channels.pairs.iter().filter(|pair| pair.chosen) {
            let path = PathSpec {
                local: Some(pair.local),
                device: Some(pair.local_nic.clone()),
                remote: Some(SocketAddr::new(pair.remote, port)),
            };
            let theirs = server.nics.iter().find(|nic| nic.name == pair.remote_nic);
            let count = each.unwrap_or(pair.connections) as usize;
            paths.extend(std::iter::repeat_n(path, count));
            nics.extend(std::iter::repeat_n(pair.local_nic.clone(), count));
            towards.extend(std::iter::repeat_n(theirs.map_or(0, |nic| nic.index), count));
        }
        if paths.is_empty() {
            alone = Some("no two NICs share a link, so one connection goes where the route leads".into());
            paths.push(PathSpec::default());
            nics.push(String::new());
            towards.push(0);
        }
    }
    paths.truncate(PATHS_MAX);
    nics.truncate(PATHS_MAX);
    towards.truncate(PATHS_MAX);
    if options.given(&SHARE).is_none() {
        let share = match policy {
            Policy::Windows => Share::Fewest,
            Policy::Linux => Share::Weighted,
        };
        options.set(&SHARE, share);
    }
    Plan { options, paths, nics, towards, alone }
}

/// The paths that the server expects.
fn expected(mut options: OptionValues, session: &SessionFacts, towards: &[u32]) -> Result<Plan, StepError> {
    if !(1..=PATHS_MAX).contains(&towards.len()) {
        return Err(invalid(format!(
            "a lane over {} paths was asked for; 1 to {PATHS_MAX} are possible",
            towards.len()
        )));
    }
    let name = |index: &u32| {
        let own = session.environment.nics.iter().find(|nic| nic.index == *index);
        own.map_or_else(String::new, |nic| nic.name.clone())
    };
    let nics = match session.local.ip().is_loopback() {
        true => vec![LOOPBACK.into(); towards.len()],
        false => towards.iter().map(name).collect(),
    };
    if options.given(&SHARE).is_none() {
        options.set(&SHARE, Share::Fewest);
    }
    let paths = vec![PathSpec::default(); towards.len()];
    Ok(Plan { options, paths, nics, towards: vec![], alone: None })
}

impl Plan {
    /// Adds to `half` what its lanes moved over each NIC; what the NICs counted themselves is evidence.
    pub fn tell(self, end: End, failures: Vec<Failure>, half: &mut Half) {
        let mut shares: BTreeMap<String, NicShare> = BTreeMap::new();
        let named = self.nics.iter().enumerate().filter(|(_, nic)| !nic.is_empty());
        let used = self.nics();
        half.lanes.iter_mut().for_each(|lane| lane.nics.clone_from(&used));
        for (path, nic) in named {
            let own = shares.entry(nic.clone()).or_insert_with(|| share(end.name(), nic));
            own.connections += half.lanes.len() as u32;
            let of_path = |lane: &LaneResult| lane.stripe.as_ref()?.paths.get(path).cloned();
            for record in half.lanes.iter().filter_map(of_path) {
                own.lane_sent_bytes += record.sent_bytes;
                own.lane_received_bytes += record.received_bytes;
                own.deaths += record.deaths;
            }
        }
        let nics = shares.into_values().collect();
        half.detail.nics = Some(NicEvidence { nics, alone: self.alone, failures });
    }
}

fn share(end: &str, nic: &str) -> NicShare {
    NicShare { end: end.into(), nic: nic.into(), ..NicShare::default() }
}

/// What `--fail` asks for: NICs that go down, when, and when they come back. Times count from the start of the window.
pub struct FailPlan {
    jobs: Vec<(String, Duration, Option<Duration>)>,
}

impl FailPlan {
    /// What a step asks for.
    pub fn of(spec: &TrafficSpec) -> Result<FailPlan, StepError> {
        FailPlan::parse(&spec.fail.join("+"))
    }

    /// Reads `IF@T[:RECOVER]`, several joined by `+`.
    pub fn parse(text: &str) -> Result<FailPlan, StepError> {
        let wrong =
            || invalid(format!("--fail {text:?} is not of the form IF@T[:RECOVER], as in eth1@2s:4s"));
        let time = |text: &str| {
            let time: Result<pathproof_model::units::Nanoseconds, _> = text.parse();
            time.map(|time| Duration::from_nanos(time.0)).map_err(|_| wrong())
        };
        let job = |one: &str| {
            let (nic, times) = one.split_once('@').ok_or_else(wrong)?;
            let (down, up) = match times.split_once(':') {
                Some((down, up)) => (time(down)?, Some(time(up)?)),
                None => (time(times)?, None),
            };
            if nic.is_empty() || up.is_some_and(|up| up <= down) {
                return Err(wrong());
            }
            Ok((nic.to_owned(), down, up))
        };
        Ok(FailPlan { jobs: text.split('+').map(job).collect::<Result<_, _>>()? })
    }

    /// The NICs that it takes down.
    pub fn nics(&self) -> Vec<String> {
        self.jobs.iter().map(|(nic, ..)| nic.clone()).collect()
    }

    /// What lies beyond the window would never happen.
    pub fn check(&self, window_ns: u64) -> Result<(), StepError> {
        let window = Duration::from_nanos(window_ns);
        match self.jobs.iter().find(|(_, down, _)| *down >= window) {
            None => Ok(()),
            Some((nic, ..)) => Err(invalid(format!(
                "{nic} would fail after the window of {}; let it fail earlier, or make --time longer",
                pathproof_model::units::Nanoseconds(window_ns)
            ))),
        }
    }
}

/// Has NICs taken down and brought back while a step runs. Whatever happens to this process, its guardian brings them
/// up again.
pub struct Saboteur {
    plan: FailPlan,
    guardian: Guardian,
}

impl Saboteur {
    /// Ready to do what `spec` says to the NICs over which the step goes, or the reason why it cannot.
    pub fn station(spec: &TrafficSpec, over: &Plan, clock: &RealClock) -> Result<Saboteur, StepError> {
        let plan = FailPlan::of(spec)?;
        plan.check(spec.time_ns)?;
        let (used, failing) = (over.nics(), plan.nics());
        if let Some(nic) = failing.iter().find(|nic| !used.contains(nic)) {
            return Err(invalid(format!(
                "{nic} carries nothing of this step, so its failure would prove nothing; let one of {} fail",
                used.join(", ")
            )));
        }
        let guardian = Guardian::station(&failing, clock)
            .map_err(|message| StepError { kind: ErrorKind::Unsupported, message })?;
        Ok(Saboteur { plan, guardian })
    }

    /// Waits for the start, then does its jobs until the step is over or the end of the window. Tells the failures that really
    /// were, and what could not be done.
    pub(super) fn work(
        mut self,
        cue: &Cue,
        spec: &TrafficSpec,
        clock: &RealClock,
    ) -> (Vec<Failure>, Option<StepError>) {
        /// How much longer than planned the guardian leaves a NIC down when it hears nothing from here.
        const SLACK: Duration = Duration::from_secs(1);
        let Some(begin) = cue.begin() else { return (vec![], None) };
        let window = begin.plus_ns(spec.warmup_ns);
        let end = window.plus_ns(spec.time_ns);
        let until = |at: Duration| {
            let goes_on = cue.wait_until((window + at).min(end), clock);
            goes_on && clock.now() < end
        };
        let mut events: Vec<(Duration, usize, bool)> = Vec::new();
        for (at, (_, down, up)) in self.plan.jobs.iter().enumerate() {
            events.push((*down, at, false));
            events.extend(up.map(|up| (up, at, true)));
        }
        events.sort();
        let mut failures: Vec<Failure> = Vec::new();
        let mut error = None;
        for (at, job, up) in events {
            if !until(at) {
                break;
            }
            let (nic, _, back) = &self.plan.jobs[job];
            let at_most = (window + back.unwrap_or(Duration::MAX)).min(end).since(clock.now()) + SLACK;
            let done = if up { self.guardian.up(nic) } else { self.guardian.down(nic, at_most) };
            let at_ns = clock.now().ns_since(window);
            if let Err(why) = done {
                let message = format!("the failure of {nic} could not be played: {why}");
                error = Some(StepError { kind: ErrorKind::Unsupported, message });
                break;
            }
            if !up {
                let (nic, window_tick_ns) = (nic.clone(), window.0);
                failures.push(Failure { nic, down_ns: at_ns, up_ns: None, window_tick_ns });
            } else if let Some(failure) = failures.iter_mut().rfind(|f| f.nic == *nic && f.up_ns.is_none()) {
                failure.up_ns = Some(at_ns);
            }
        }
        until(Duration::MAX);
        // The guardian leaves, and brings up what is still down.
        drop(self.guardian);
        (failures, error)
    }
}

fn told(half: &Half) -> NicEvidence {
    half.detail.nics.clone().unwrap_or_default()
}

/// The NICs of one end: those that lanes were to use, and others that carried something, each with its own count.
fn shares(end: &str, half: &Half) -> Vec<NicShare> {
    let Some(NicEvidence { nics: mut shares, .. }) = half.detail.nics.clone() else { return vec![] };
    let Some(evidence) = &half.evidence else { return shares };
    for nic in evidence.nics.iter().flatten() {
        let most = nic.counts.sent_bytes.max(nic.counts.received_bytes);
        if most.is_some_and(|bytes| bytes >= IDLE_BYTES) && shares.iter().all(|own| own.nic != nic.nic) {
            shares.push(share(end, &nic.nic));
        }
    }
    for own in &mut shares {
        let counts = evidence.nic(&own.nic).unwrap_or_default();
        (own.nic_sent_bytes, own.nic_received_bytes) = (counts.sent_bytes, counts.received_bytes);
    }
    shares.sort_by(|a, b| a.nic.cmp(&b.nic));
    shares
}

/// Fills the step's NICs from what both ends told about theirs.
pub fn merge_nics(step: &mut Step, client: &Half, server: &Half) {
    let mut nics = vec![];
    for (end, half) in [("client", client), ("server", server)] {
        if let Some(alone) = told(half).alone {
            step.chosen.insert(format!("{end} paths"), alone);
        }
        nics.extend(shares(end, half));
    }
    if !nics.is_empty() {
        step.detail.nics = Some(nics);
    }
}

/// Fills the step's NICs and failover from both halves.
pub fn merge(step: &mut Step, client: &Half, server: &Half) {
    merge_nics(step, client, server);
    let (ours, theirs) = (told(client), told(server));
    let died = step.detail.nics.iter().flatten().any(|nic| nic.deaths > 0);
    // What is known of the moment of a failure is known at one end, on its clock.
    let seen = match ours.failures.is_empty() {
        false => Seen { end: End::Client, half: client, failures: &ours.failures },
        true => Seen { end: End::Server, half: server, failures: &theirs.failures },
    };
    if died || !seen.failures.is_empty() {
        step.detail.failover = Some(failover(step, client, server, &seen));
    }
}

/// Failures as one end saw them.
struct Seen<'a> {
    end: End,
    half: &'a Half,
    failures: &'a [Failure],
}

fn failover(step: &Step, client: &Half, server: &Half, seen: &Seen<'_>) -> Failover {
    let lanes = || client.lanes.iter().chain(&server.lanes);
    let stripes = || lanes().filter_map(|lane| lane.stripe.as_ref());
    let sum = |figure: fn(&StripeRecord) -> u64| stripes().map(figure).sum::<u64>();
    let by_path = |half: &Half, figure: fn(&PathRecord) -> Option<u64>| -> Vec<u64> {
        let own = half.lanes.iter().filter_map(|lane| lane.stripe.as_ref());
        own.flat_map(|stripe| &stripe.paths).filter_map(figure).collect()
    };
    let first = seen.failures.first();
    // With a known moment of failure the time until it was noticed counts from there.
    let since_down = first.and_then(|failure| {
        let lost = by_path(seen.half, |path| path.lost_at_tick_ns);
        let down_tick_ns = failure.window_tick_ns.saturating_add(failure.down_ns);
        let after = lost.into_iter().filter(|at| *at >= down_tick_ns);
        after.map(|at| at - down_tick_ns).max()
    });
    let silent = [client, server].map(|half| by_path(half, |path| path.noticed_after_ns));
    let silent = silent.into_iter().flatten();
    let back = first.and_then(|failure| {
        let up_tick_ns = failure.window_tick_ns.saturating_add(failure.up_ns?);
        // Only an end that sends sees what it sent confirmed.
        let again = by_path(seen.half, |path| path.carried_again_at_tick_ns);
        again.into_iter().filter(|at| *at >= up_tick_ns).map(|at| at - up_tick_ns).min()
    });
    let of_receivers = lanes().filter(|lane| lane.role == LaneRole::Receive);
    let gap = of_receivers.filter_map(|lane| Some(lane.stripe.as_ref()?.gap_longest_ns)).max();
    let (before, after) = rates(step, first);
    let confirmed = sum(|stripe| stripe.confirmed_bytes);
    let arrived = sum(|stripe| stripe.arrived_bytes);
    Failover {
        nic: first.map(|failure| failure.nic.clone()),
        end: first.map(|_| seen.end.name().into()),
        failed_at_ns: first.map(|failure| failure.down_ns),
        recovered_at_ns: first.and_then(|failure| failure.up_ns),
        noticed_after_ns: since_down.or_else(|| silent.max()).unwrap_or(0),
        gap_ns: gap.or_else(|| stripes().map(|stripe| stripe.gap_longest_ns).max()).unwrap_or(0),
        replayed_messages: sum(|stripe| stripe.replayed_messages),
        replayed_bytes: sum(|stripe| stripe.replayed_bytes),
        duplicates_discarded: sum(|stripe| stripe.duplicates_discarded),
        lost_bytes: confirmed.saturating_sub(arrived),
        discarded_bytes: sum(|stripe| stripe.discarded_bytes),
        // Handed on under a number that had been handed on, or more in all than was ever sent.
        duplicated_bytes: sum(|stripe| stripe.doubled_bytes)
            .max(arrived.saturating_sub(sum(|stripe| stripe.accepted_bytes))),
        verified: step.verified(),
        rejoined: sum(|stripe| stripe.rejoined),
        carried_again_after_ns: back,
        before_bits_per_s: before,
        after_bits_per_s: after,
    }
}

/// Goodput before a failure, and from a second after it until the NIC came back or the window ended.
fn rates(step: &Step, failure: Option<&Failure>) -> (Option<u64>, Option<u64>) {
    const SETTLE_NS: u64 = 1_000_000_000;
    let Some(failure) = failure else { return (None, None) };
    let until = failure.up_ns.unwrap_or(u64::MAX);
    let rate = |from: u64, to: u64| {
        let inside =
            |slice: &Slice| slice.start_ns >= from && slice.start_ns.saturating_add(slice.length_ns) <= to;
        let own: Vec<Slice> = step.own_series().flat_map(Series::carried).filter(inside).collect();
        let start = own.iter().map(|slice| slice.start_ns).min()?;
        let end = own.iter().map(|slice| slice.start_ns + slice.length_ns).max()?;
        let bytes: u64 = own.iter().map(|slice| slice.bytes).sum();
        (end > start).then(|| (u128::from(bytes) * 8_000_000_000 / u128::from(end - start)) as u64)
    };
    (rate(0, failure.down_ns), rate(failure.down_ns.saturating_add(SETTLE_NS), until))
}

/// Whether bytes were sent or received.
#[derive(Clone, Copy)]
enum Way {
    Sent,
    Received,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Way::Sent => "sent",
            Way::Received => "received",
        }
    }

    /// What the lanes moved over a NIC, and what it counted.
    fn bytes(self, nic: &NicShare) -> (u64, Option<u64>) {
        match self {
            Way::Sent => (nic.lane_sent_bytes, nic.nic_sent_bytes),
            Way::Received => (nic.lane_received_bytes, nic.nic_received_bytes),
        }
    }
}

/// What the other interfaces of the same end counted beyond what belongs on them. A tenth more is what headers may cost.
fn beyond_its_lanes(step: &Step, nic: &NicShare, way: Way) -> u64 {
    let others =
        step.detail.nics.iter().flatten().filter(|other| other.end == nic.end && other.nic != nic.nic);
    let more = others.map(|other| {
        let (lanes, counted) = way.bytes(other);
        counted.unwrap_or(0).saturating_sub(lanes.saturating_add(lanes / 10))
    });
    more.fold(0, u64::saturating_add)
}

/// What the NICs' own counters and the failover show that somebody should be told.
pub fn findings(step: &Step) -> Vec<Finding> {
    let mut out = Vec::new();
    for nic in step.detail.nics.iter().flatten() {
        // What a dead path had taken need not have left.
        if nic.deaths > 0 {
            let evidence =
                format!("{}: {} of the {}, {} connection(s)", step.name, nic.nic, nic.end, nic.deaths);
            out.push(Finding::new("CHANNEL-LOST", evidence));
            continue;
        }
        for way in [Way::Sent, Way::Received] {
            let (lanes, counted) = way.bytes(nic);
            let Some(counted) = counted.filter(|n| *n < lanes / 100 * CARRIED_PERCENT_MIN) else { continue };
            // What left by another way shows there; what shows nowhere still stood in a socket's buffer.
            let elsewhere = beyond_its_lanes(step, nic, way);
            if lanes < IDLE_BYTES || elsewhere < (lanes - counted) / 2 {
                continue;
            }
            let evidence = format!(
                "{}: lanes {} {lanes} bytes that belong on {} of the {}, and the interface counted {counted}; others counted {elsewhere} more than \
                 belongs on them",
                step.name,
                way.word(),
                nic.nic,
                nic.end
            );
            let finding = Finding::new("CHANNEL-LEAK", evidence);
            out.push(finding.with("lane_bytes", lanes).with("nic_bytes", counted));
        }
    }
    if let Some(failover) = &step.detail.failover
        && (failover.lost_bytes > 0 || failover.duplicated_bytes > 0 || failover.verified == Some(false))
    {
        let evidence = format!(
            "{}: {} bytes lost, {} doubled, verified {:?}",
            step.name, failover.lost_bytes, failover.duplicated_bytes, failover.verified
        );
        out.push(Finding::new("CHANNEL-DATA-FAULT", evidence));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_with_their_times() {
        let plan = FailPlan::parse("eth1@2s:4s+eth2@500ms").unwrap();
        let expected = vec![
            ("eth1".to_owned(), Duration::from_secs(2), Some(Duration::from_secs(4))),
            ("eth2".to_owned(), Duration::from_millis(500), None),
        ];
        assert_eq!(plan.jobs, expected);
        assert!(plan.check(2_000_000_001).is_ok() && plan.check(2_000_000_000).is_err());
        for wrong in ["eth1", "@2s", "eth1@", "eth1@4s:2s", "eth1@2parsecs"] {
            assert!(FailPlan::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn share(lane: u64, nic: u64, deaths: u64) -> Step {
        let mut step = Step::new(pathproof_model::StepKind::Stream, "stream");
        step.detail.nics = Some(vec![NicShare {
            end: "client".into(),
            nic: "eth1".into(),
            connections: 1,
            lane_sent_bytes: lane,
            nic_sent_bytes: Some(nic),
            deaths,
            ..NicShare::default()
        }]);
        step
    }

    #[test]
    fn bytes_that_left_elsewhere_are_a_leak() {
        // The other NIC of this end, over which 10 MiB of the lanes went.
        let with = |mut step: Step, counted: u64| {
            let nics = step.detail.nics.as_mut().unwrap();
            nics.push(NicShare {
                nic: "eth0".into(),
                lane_sent_bytes: 10 << 20,
                nic_sent_bytes: Some(counted),
                ..nics[0].clone()
            });
            findings(&step)
        };
        assert!(with(share(100 << 20, 104 << 20, 0), 11 << 20).is_empty());
        assert_eq!(with(share(100 << 20, 50 << 20, 0), 62 << 20)[0].code, "CHANNEL-LEAK");
        // Handed to the kernel, and not sent yet.
        assert!(with(share(4_194_304, 3_599_240, 0), 11 << 20).is_empty());
        assert!(with(share(100, 0, 0), 11 << 20).is_empty(), "too little to tell");
        assert_eq!(findings(&share(100 << 20, 50 << 20, 1))[0].code, "CHANNEL-LOST");
    }
}
