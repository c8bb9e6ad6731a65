//! Steps over several NICs: which paths, and which of them fail when. What each NIC carried and what a failure did is worked out in
//! `pathproof_engine::traffic::{nics, failover}`.
//!
//! The client, who dials, chooses the paths by SMB's rules from what both hosts have. The server learns how many
//! there are and which of its own interfaces each leads to: an address to dial never crosses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pathproof_api::{Clock, LaneSpec, OptionValues, PathSpec};
use pathproof_engine::channels::{LINUX_CHANNELS_MAX, Question, Rules, predict};
use pathproof_model::{
    End, ErrorKind, Half, LaneResult, NicEvidence, NicFailure as Failure, NicShare, StepError, TrafficSpec,
};
use pathproof_multi::{PATHS, PATHS_MAX, SHARE, Share};

use crate::guardian::Guardian;
use crate::lane_options::{CONNECTIONS, CONSTRAIN, POLICY, Policy, of_paths};
use crate::registry::manners;
use crate::steps::SessionFacts;
use crate::steps::stage::Cue;
use pathproof_sys::clock::RealClock;

/// The interface of a machine that talks to itself.
const LOOPBACK: &str = "lo";

/// The paths of a step.
#[derive(Clone, Debug, Default)]
pub struct StripePlan {
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

impl StripePlan {
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

    /// Whether no two NICs of both hosts are for it, so that its one path is that of the route.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// This end's NICs, each once.
    pub fn nics(&self) -> Vec<String> {
        let named = self.nics.iter().filter(|nic| !nic.is_empty());
        named.collect::<std::collections::BTreeSet<_>>().into_iter().cloned().collect()
    }
}

fn invalid(message: String) -> StepError {
    StepError::new(ErrorKind::Invalid, message)
}

/// The paths between both hosts of the session; `None` for other transports. `towards` is the client's word for where
/// each of its paths leads, at the server.
pub fn plan(
    over: &str,
    options: &OptionValues,
    session: &SessionFacts,
    towards: &[u32],
) -> Result<Option<StripePlan>, StepError> {
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

/// Has lanes go over these paths rather than over those that the rules choose. A port of 0 is that of the session.
pub fn go_over(paths: Vec<PathSpec>, options: &mut BTreeMap<String, String>) {
    PATHS.write(options, paths);
}

/// Has lanes go over these paths one at a time: over the first that lives.
pub fn go_over_in_order(paths: Vec<PathSpec>, options: &mut BTreeMap<String, String>) {
    go_over(paths, options);
    SHARE.write(options, Share::Ordered);
}

/// The paths that the client dials, by the rules of SMB from what both hosts have.
fn dialled(own: &OptionValues, mut options: OptionValues, session: &SessionFacts) -> StripePlan {
    let policy = own.get(&POLICY);
    let each = own.given(&CONNECTIONS);
    let (client, server, port) = (&session.environment, &session.peer_environment, session.peer.port());
    let mut paths = Vec::new();
    let mut nics = Vec::new();
    let mut towards = Vec::new();
    let mut alone = None;
    if let Some(given) = options.given(&PATHS) {
        // What names its device is counted by it, as what the rules choose is.
        nics = given.iter().map(|path| path.device.clone().unwrap_or_default()).collect();
        let theirs = |path: &PathSpec| {
            let remote = path.remote?.ip();
            server.nics.iter().find(|nic| nic.addresses.iter().any(|own| own.address == remote))
        };
        towards = given.iter().map(|path| theirs(path).map_or(0, |nic| nic.index)).collect();
        paths = given;
        let unsaid = paths.iter_mut().filter_map(|path| path.remote.as_mut()).filter(|to| to.port() == 0);
        unsaid.for_each(|to| to.set_port(port));
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
        let (ours, theirs) = pathproof_engine::channels::hosts::of_both(client, server);
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
    StripePlan { options, paths, nics, towards, alone }
}

/// The paths that the server expects.
fn expected(
    mut options: OptionValues,
    session: &SessionFacts,
    towards: &[u32],
) -> Result<StripePlan, StepError> {
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
    Ok(StripePlan { options, paths, nics, towards: vec![], alone: None })
}

impl StripePlan {
    /// Adds to `half` what its lanes moved over each NIC; what the NICs counted themselves is evidence.
    pub fn tell(self, end: End, failures: Vec<Failure>, half: &mut Half) {
        let told = self.told(end, half, &|_| true);
        half.detail.nics = Some(NicEvidence { failures, ..told });
    }

    /// What those lanes of `half` moved over each NIC that have these paths. Notes the NICs in the lanes.
    pub(super) fn told(&self, end: End, half: &mut Half, has: &dyn Fn(&LaneResult) -> bool) -> NicEvidence {
        let mut shares: BTreeMap<String, NicShare> = BTreeMap::new();
        let named = self.nics.iter().enumerate().filter(|(_, nic)| !nic.is_empty());
        let used = self.nics();
        let mut lanes: Vec<&mut LaneResult> = half.lanes.iter_mut().filter(|lane| has(lane)).collect();
        lanes.iter_mut().for_each(|lane| lane.nics.clone_from(&used));
        for (path, nic) in named {
            let own = shares.entry(nic.clone()).or_insert_with(|| NicShare::of(end, nic));
            own.connections += lanes.len() as u32;
            for record in lanes.iter().filter_map(|lane| lane.stripe.as_ref()?.paths.get(path)) {
                own.lane_sent_bytes += record.sent_bytes;
                own.lane_received_bytes += record.received_bytes;
                own.deaths += record.deaths;
            }
        }
        let nics = shares.into_values().collect();
        NicEvidence { nics, alone: self.alone.clone(), failures: vec![] }
    }
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
    pub fn station(spec: &TrafficSpec, over: &StripePlan, clock: &RealClock) -> Result<Saboteur, StepError> {
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
            .map_err(|message| StepError::new(ErrorKind::Unsupported, message))?;
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
                error = Some(StepError::new(ErrorKind::Unsupported, message));
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
}
