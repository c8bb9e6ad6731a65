//! Takes a run through its steps, those with an agent and those that are made from here alone alike, within the time
//! that it has.

mod beside;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::Go;
use pathproof_model::revision::{ORDERED_SINCE, PORT_STREAMS_SINCE};
use pathproof_model::{
    CommandName, Environment, ErrorKind, Finding, FollowUp, NodeSpec, Plan, ResultDoc, Step, StepError,
    StepSpec, units::Nanoseconds,
};

use super::agent::{AgentLink, Answer};
use super::left_out::{self, BesidePlan};
use super::merge::Pending;
use super::record::Record;
use super::spare::{at_once, is_spare};
use crate::budget::{Budget, out_of_time};
use crate::glance::Glance;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::steps::{self, Alone, Context, Kind, Lone, LostNetwork, Play, Runner, Setup, StepPart};
use crate::terminal::say;
use crate::watch::RunEvent;

/// Round trips of a step beside its window: a turn, connections, their consents, and their end.
const ROUND_TRIPS: u64 = 6;
/// A step may take so much longer than it needs where all is well.
const SLACK_NS: u64 = 1_000_000_000;
/// The first round trips tell how long the path is: until then nobody knows what they need.
const REACH_SLACK_NS: u64 = 2_500_000_000;
/// From such a round trip on what is on the way when a window ends takes time.
const LONG_NS: u64 = 5_000_000;
/// From such a round trip on it is the length of the path that the time of a run does not suffice for.
const FAR_NS: u64 = 30_000_000;
/// From such a round trip on the streams of the two directions may have to run at once.
const VERY_FAR_NS: u64 = 150_000_000;

/// A run that has less time than this is to be quick.
const UNHURRIED_NS: u64 = 30_000_000_000;
/// What the streams over the port of a role take where all is well, one each way.
const OVER_PORT_NS: u64 = 2_200_000_000;
/// What is left for questions about steps that failed when further ports of roles are asked for.
const QUESTIONS_NS: u64 = 4_000_000_000;

/// Where a step stands in its run.
struct Place<'a> {
    number: u32,
    of: usize,
    /// The steps after it, which need their time too.
    later: &'a [StepSpec],
}

/// The way through the steps.
pub(super) struct Conductor<'a> {
    /// The agent that has a part in steps, where one does.
    pub agent: Option<AgentLink>,
    here: &'a Environment,
    registry: &'a Registry,
    budget: &'a Budget,
    interrupt: &'a Interrupt,
    seed: u64,
    /// Kept back for the steps that no plan asks for but a planned one does, in ns.
    reserved_ns: u64,
    /// What the steps are made for that no plan asked for, when it has come to those.
    purpose: Option<FollowUp>,
    /// Whether the plan was held against the length of the path, which is known once the first round trips are.
    fitted: bool,
}

impl<'a> Conductor<'a> {
    pub fn new(
        agent: Option<AgentLink>,
        here: &'a Environment,
        registry: &'a Registry,
        budget: &'a Budget,
        interrupt: &'a Interrupt,
        seed: u64,
    ) -> Conductor<'a> {
        Conductor {
            agent,
            here,
            registry,
            budget,
            interrupt,
            seed,
            reserved_ns: 0,
            purpose: None,
            fitted: false,
        }
    }

    /// Makes the steps of a plan, and those that follow from them.
    pub fn steps(&mut self, plan: &Plan, record: &mut Record<'_>) -> Result<(), StepError> {
        let mut specs = plan.steps.clone();
        let nics = self.agent.as_ref().map_or(1, |agent| agent.facts.other_ways().len() as u64 + 1);
        let beside = self.beside(plan);
        // The one that the session began on, and all together.
        let more = if beside.is_empty() || self.budget.length_ns() < Some(UNHURRIED_NS) { 0 } else { 2 };
        let over_port_ns = if self.has_time_for_a_port(plan) { OVER_PORT_NS } else { 0 };
        self.reserved_ns = over_port_ns
            + specs.iter().map(|spec| steps::one_by_one_ns(spec, nics)).sum::<u64>()
            + steps::beside_ns(beside.len() as u64 + more);
        // Said before the first step: however the run ends, nobody is to take what was left out for what was found in order.
        let quick = BesidePlan { nics_together: !beside.is_empty(), port_of_role: self.knows_ports(plan) };
        let length_ns = self.budget.length_ns();
        let quick = length_ns.is_some_and(|length_ns| length_ns < UNHURRIED_NS).then_some(quick);
        let asked = record.doc.requested.as_ref().unwrap_or(plan);
        let left_out = left_out::by_plan(asked, length_ns, quick);
        record.doc.findings.extend(left_out);
        let mut result = Ok(());
        let (mut number, mut first) = (0, 0);
        // The steps of the plan from this one on take a network down, for these purposes.
        let (mut losing_from, mut losing): (usize, Vec<FollowUp>) = (0, vec![]);
        while let Some(spec) = specs.get(number) {
            if steps::search(spec, &record.doc).is_some() {
                result = self.search(spec, record).map(|more| first += more);
                if result.is_err() {
                    break;
                }
                number += 1;
                continue;
            }
            let later = &specs[number + 1..];
            let place = |nth: usize| Place { number: nth as u32, of: specs.len() + first, later };
            self.purpose = number.checked_sub(losing_from).and_then(|nth| losing.get(nth)).copied();
            result = self.yardstick(spec, &place(number + first), record).and_then(|made| {
                first += usize::from(made);
                let place = Place { number: (number + first) as u32, of: specs.len() + first, later };
                self.step(&place, spec, record)
            });
            if result.is_err() {
                break;
            }
            let lost = self.losses(spec, specs.get(number + 1), record);
            let more = self.ports_beside(spec, record);
            number += 1;
            if let Some(more) = more {
                specs.insert(number, more);
                runs_as(&specs, record);
            }
            match lost {
                Ok(lost) if lost.is_empty() => {}
                // Each takes the place of the one that they are made of.
                Ok(lost) => {
                    losing_from = number;
                    losing = lost.iter().map(|one| one.purpose).collect();
                    specs.splice(number..=number, lost.into_iter().map(|one| one.spec));
                }
                Err(why) => {
                    result = Err(why);
                    break;
                }
            }
            self.leave_out(&mut specs, number, record);
        }
        self.purpose = None;
        // The last step's other half, also after an interruption: what was measured is kept.
        let collected = self.collect(record);
        result.and(collected)?;
        if plan.command == CommandName::Mesh {
            // Rank 0 decides what is asked again, and a round has no time for more.
            return Ok(());
        }
        self.purpose = Some(FollowUp::Alone);
        self.reserved_ns = 0;
        self.one_by_one(record)?;
        self.by_themselves(&beside, record)?;
        self.over_port(plan, record)?;
        // Questions more where a step failed in a way that short steps can explain; each depends on the answers so far.
        let first = record.doc.steps.len();
        self.purpose = Some(FollowUp::Cause);
        while let Some(spec) = steps::follow_up(&record.doc, first) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("a control run that would have shown more: not run".into());
                break;
            }
            self.further(&spec, record)?;
        }
        let found = steps::conclude(&record.doc, first);
        record.doc.findings.extend(found);
        self.silent_by_tcp(&beside, record)
    }

    /// Makes a step that is in no plan, and keeps it.
    fn further(&mut self, spec: &StepSpec, record: &mut Record<'_>) -> Result<(), StepError> {
        let number = record.doc.steps.len();
        self.step(&Place { number: number as u32, of: number + 1, later: &[] }, spec, record)?;
        self.collect(record)
    }

    /// Makes the steps of a search, each of which depends on those before it. Returns how many more steps there are than the plan has.
    fn search(&mut self, search: &StepSpec, record: &mut Record<'_>) -> Result<usize, StepError> {
        self.collect(record)?;
        let before = record.doc.steps.len();
        self.purpose = Some(FollowUp::Search);
        while let Some(next) = steps::search(search, &record.doc) {
            self.further(&next, record)?;
        }
        self.purpose = None;
        Ok(record.doc.steps.len().saturating_sub(before + 1))
    }

    /// The losses of networks that a step asks for, each announced before anything is touched.
    fn losses(
        &self,
        spec: &StepSpec,
        stream: Option<&StepSpec>,
        record: &mut Record<'_>,
    ) -> Result<Vec<LostNetwork>, StepError> {
        let Some(agent) = self.agent.as_ref() else { return Ok(vec![]) };
        let control = agent.facts.local.ip().to_canonical();
        let in_order = agent.session.revision().unwrap_or(0) >= ORDERED_SINCE;
        let lost = steps::losses(spec, stream, &record.doc, control, in_order)?;
        lost.iter().for_each(|one| say(&one.told.evidence));
        record.doc.findings.extend(lost.iter().map(|one| one.told.clone()));
        Ok(lost)
    }

    /// The step about the same ports on the other networks of the two hosts, where there are such and the agent can be asked.
    fn ports_beside(&self, spec: &StepSpec, record: &mut Record<'_>) -> Option<StepSpec> {
        let agent = self.agent.as_ref()?;
        let more = Plan { steps: vec![steps::ports_beside(spec, &agent.facts)?], ..Plan::default() };
        let (known, left_out) = more.known_at(agent.session.revision().unwrap_or(0)).ok()?;
        record.doc.findings.extend(left_out);
        known.steps.into_iter().next()
    }

    /// The short step before a planned one that tells it what it must know, where it wants one. Whether there was one.
    fn yardstick(
        &mut self,
        spec: &StepSpec,
        place: &Place<'_>,
        record: &mut Record<'_>,
    ) -> Result<bool, StepError> {
        if spec.contend().is_some() {
            // Nothing is known of a step whose other half is still to come.
            self.collect(record)?;
        }
        let Some(first) = steps::yardstick(spec, &record.doc) else { return Ok(false) };
        self.purpose = Some(FollowUp::Yardstick);
        let made = self.step(place, &first, record);
        self.purpose = None;
        made.and(self.collect(record)).map(|()| true)
    }

    /// Takes out of the plan what a long path leaves no time for, and says so: better fewer answers than none.
    fn leave_out(&mut self, specs: &mut Vec<StepSpec>, from: usize, record: &mut Record<'_>) {
        let Some(round_trip_ns) = record.round_trip_ns().filter(|trip| *trip >= FAR_NS) else { return };
        if self.budget.length_ns().is_none() || std::mem::replace(&mut self.fitted, true) {
            return;
        }
        let left_ns = self.left_ns(record).saturating_sub(self.reserved_ns);
        let mut left_out = Vec::new();
        while sum_ns(record, &specs[from..]) > left_ns {
            let rest = &specs[from..];
            // Streams of one connection first, the rehearsal of a migration last.
            let spare =
                |whole: bool| rest.iter().position(|s| is_spare(s, rest) && s.kind().traits().spare == whole);
            let Some(at) = spare(false).or_else(|| spare(true)) else { break };
            let spec = specs.remove(from + at);
            left_out.push(
                steps::play(&spec, node(&record.doc, &spec))
                    .map_or_else(|_| String::new(), |play| play.kind().name(&spec)),
            );
        }
        if round_trip_ns >= VERY_FAR_NS && sum_ns(record, &specs[from..]) > left_ns {
            left_out.extend(at_once(specs));
        }
        if left_out.is_empty() {
            return;
        }
        runs_as(specs, record);
        let evidence = format!(
            "round trips take {}, and in {} there is no time for: {}",
            Nanoseconds(round_trip_ns),
            Nanoseconds(self.budget.length_ns().unwrap_or(0)),
            left_out.join("; ")
        );
        record.found([Finding::new("RUN-SHORTENED", evidence)]);
    }

    /// What each NIC carries alone, for the striped steps that ask for it.
    fn one_by_one(&mut self, record: &mut Record<'_>) -> Result<(), StepError> {
        for at in 0..record.doc.steps.len() {
            let specs = steps::one_by_one(&record.doc.steps[at]);
            if specs.is_empty() {
                continue;
            }
            let first = record.doc.steps.len();
            let mut ended = Ok(());
            for (nth, spec) in specs.iter().enumerate() {
                let (number, of) = ((first + nth) as u32, first + specs.len());
                ended = self.step(&Place { number, of, later: &specs[nth + 1..] }, spec, record);
                if ended.is_err() {
                    break;
                }
            }
            let collected = self.collect(record);
            ended.and(collected)?;
            steps::sum_up(&mut record.doc, at, first);
        }
        Ok(())
    }

    /// Whether what the port of a role carries is to be asked: a run that is to be quick leaves it out by plan.
    fn has_time_for_a_port(&self, plan: &Plan) -> bool {
        self.knows_ports(plan) && self.budget.length_ns().is_none_or(|length_ns| length_ns >= UNHURRIED_NS)
    }

    /// Whether it could be asked: there is a role, and the agent knows such streams.
    fn knows_ports(&self, plan: &Plan) -> bool {
        let agent = self.agent.as_ref();
        let known = agent.is_some_and(|one| one.session.revision().unwrap_or(0) >= PORT_STREAMS_SINCE);
        let roles = plan.steps.iter().filter_map(StepSpec::ports).any(|ports| !ports.roles.is_empty());
        known && roles
    }

    /// What the ports of the roles carry, against what the session's own does: the first in any case, the others where there is time beside the questions
    /// that may follow.
    fn over_port(&mut self, plan: &Plan, record: &mut Record<'_>) -> Result<(), StepError> {
        if !self.has_time_for_a_port(plan) {
            return Ok(());
        }
        self.purpose = Some(FollowUp::Port);
        let mut first = None;
        while let Some(spec) = steps::over_port(&record.doc) {
            let port = spec.traffic().and_then(|traffic| traffic.port);
            first = first.or(port);
            let kept_ns = if port.is_some() && port != first { QUESTIONS_NS } else { 0 };
            if need_ns(record, &spec).saturating_add(kept_ns) > self.left_ns(record) {
                let left = steps::ports_left(&record.doc);
                if first.is_none_or(|first| left.contains(&first)) {
                    record.cut.push("what the port of the role carries: not measured".into());
                }
                let others = left.into_iter().filter(|port| Some(*port) != first);
                record.doc.findings.extend(left_out::ports(others, self.budget.length_ns()));
                break;
            }
            self.further(&spec, record)?;
        }
        Ok(())
    }

    /// Keeps the step that is still pending, made of both halves.
    fn collect(&mut self, record: &mut Record<'_>) -> Result<(), StepError> {
        self.agent.as_mut().map_or(Ok(()), |agent| agent.turn(None, record).map(drop))
    }

    /// What is left of the run for steps.
    fn left_ns(&self, record: &Record<'_>) -> u64 {
        self.budget.last_step(record.round_trip_ns()).ns_since(self.budget.clock().now())
    }

    /// What the questions take that are open before the last step of a plan: they are asked after that, and have their time, too. The
    /// first of them is known, and often not enough.
    fn open_ns(&mut self, record: &mut Record<'_>) -> Result<u64, StepError> {
        if self.purpose.is_some() || self.budget.length_ns().is_none() {
            return Ok(0);
        }
        // What is known includes what the peer measured of the step before.
        self.collect(record)?;
        let question = steps::follow_up(&record.doc, record.doc.steps.len());
        Ok(question.map_or(0, |spec| need_ns(record, &spec).saturating_mul(2)))
    }

    /// One step, as far as the time of the run suffices.
    fn step(&mut self, place: &Place<'_>, spec: &StepSpec, record: &mut Record<'_>) -> Result<(), StepError> {
        let started = self.budget.clock().now();
        let spec = &steps::informed(spec, &record.doc);
        let play = steps::play(spec, node(&record.doc, spec))?;
        let kind = play.kind();
        let name = kind.name(spec);
        let blank = Step {
            over: spec.over().map(Into::into),
            direction: spec.traffic().map(|t| t.direction),
            spec: Some(spec.clone()),
            started_ns: started.0,
            follows_up: self.purpose,
            ..Step::new(spec.kind(), name.clone())
        };
        let open_ns = if place.later.is_empty() { self.open_ns(record)? } else { 0 };
        // The other half of the step before may have been waited for: what is left counts from here.
        let now = self.budget.clock().now();
        let whole_ns = self.left_ns(record).saturating_sub(self.reserved_ns);
        // A question may come out of a step; what was planned is not cut for one that is open before it.
        let own_ns = need_ns(record, spec).saturating_add(SLACK_NS);
        let left_ns = whole_ns.saturating_sub(open_ns).max(whole_ns.min(own_ns));
        let later_ns = sum_ns(record, place.later);
        // Over a long path streams end later than planned: their windows give way then, rather than the last step as a whole.
        let long = record.round_trip_ns().is_some_and(|trip| trip >= LONG_NS);
        let gives_way = long && spec.traffic().is_some() && self.budget.length_ns().is_some();
        let sharing = gives_way.then(|| kind.fit(spec, left_ns.saturating_sub(later_ns))).flatten();
        let Some(fitting) = sharing.or_else(|| kind.fit(spec, left_ns)) else {
            self.collect(record)?;
            record.cut.push(format!("{name}: not run"));
            record.keep(Step { error: Some(out_of_time("it was not run")), ..blank });
            return Ok(());
        };
        let spec = &fitting;
        // A step may use what those after it do not need.
        let need_ns = need_ns(record, spec);
        // What a step needs where all is well is no reason to cut it where both hosts are busy or the path is long: those after it
        // seldom need all that is kept for them.
        let slack_ns = if spec.reach().is_some() { REACH_SLACK_NS } else { SLACK_NS };
        let most_ns = need_ns.saturating_add(slack_ns).min(left_ns);
        let until = match self.budget.length_ns() {
            Some(_) => now.plus_ns(left_ns.saturating_sub(later_ns).max(most_ns)),
            None => Tick(u64::MAX),
        };
        // What is needed is what is needed where all is well: a quarter of it is kept for where it is not quite. (A tenth left
        // five of 43 rehearsals over healthy paths, on two busy processors, without their end.)
        let spare_ns = self
            .budget
            .length_ns()
            .map(|_| left_ns.saturating_sub(later_ns.saturating_add(later_ns / 4)).saturating_sub(need_ns));
        let round_trip_ns = record.round_trip_ns();
        let stretched = spare_ns.zip(round_trip_ns).map(|(spare, rtt)| steps::stretch(spec, spare, rtt));
        let spec = &stretched.unwrap_or_else(|| spec.clone());
        let blank = Step { spec: Some(spec.clone()), name: kind.name(spec), ..blank };
        match play {
            Play::Shared(runner) => self.shared(runner, place, spec, blank, until, record),
            Play::Alone(kind) => self.alone(kind, place, spec, blank, until, record),
        }
    }

    /// A step in which an agent has a part.
    fn shared(
        &mut self,
        runner: &'static dyn Runner,
        place: &Place<'_>,
        spec: &StepSpec,
        blank: Step,
        until: Tick,
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        let Some(agent) = &mut self.agent else {
            let message = format!("{} needs an agent, and the run has none", blank.name);
            return Err(StepError::new(ErrorKind::Invalid, message));
        };
        let number = place.number;
        let setup = Setup { step: number, spec, paths: &[], session: &agent.facts, registry: self.registry };
        let made = steps::affordable(runner, spec, self.here)
            .and_then(|()| runner.request(&setup))
            .and_then(|request| Ok((request, StepPart::prepare(runner, &setup)?)));
        let (request, part) = match made {
            Ok(made) => made,
            // Not fatal: the other steps may well be possible.
            Err(why) => {
                agent.turn(None, record)?;
                record.keep(Step { error: Some(why), ..blank });
                return Ok(());
            }
        };
        let go = Go { step: number, request, paths: part.paths(), offers: part.offers() };
        let part = match agent.turn(Some(go), record)? {
            Answer::Ready(theirs) => part.with(&theirs)?,
            Answer::Cannot(why) => {
                record.keep(Step { error: Some(why), ..blank });
                return Ok(());
            }
            Answer::Nothing => {
                let message = "the peer did not answer the step; read the log of `pathproof serve` there, and run again".into();
                return Err(StepError::new(ErrorKind::Protocol, message));
            }
        };
        begin(runner, place, spec, &blank.name, record);
        let clock = self.budget.clock();
        let mut progress =
            |glance: Glance| record.observer.event(&RunEvent::Progress { number, glance: &glance });
        agent.session.deadline = until;
        let channel = &mut agent.session;
        let progress: Option<&mut dyn FnMut(Glance)> = Some(&mut progress);
        let half = part.run(&mut Context { channel, clock, until, progress, evidence: None });
        agent.session.deadline = self.budget.over();
        let mut step = blank;
        step.elapsed_ns = clock.now().ns_since(Tick(step.started_ns));
        let stopped = half.error.clone();
        agent.ran(Pending { runner, step, spec: spec.clone(), half });
        ended(stopped, runner, spec, record)
    }

    /// A step that is made from here alone.
    fn alone(
        &mut self,
        kind: &'static dyn Alone,
        place: &Place<'_>,
        spec: &StepSpec,
        blank: Step,
        until: Tick,
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        // First what is not complete yet, so that the steps stand in their order.
        self.collect(record)?;
        begin(kind, place, spec, &blank.name, record);
        let clock = self.budget.clock();
        let mut step = blank;
        let number = place.number;
        let mut progress =
            |glance: Glance| record.observer.event(&RunEvent::Progress { number, glance: &glance });
        let mut lone = Lone {
            spec,
            seed: self.seed,
            registry: self.registry,
            clock,
            until,
            interrupt: self.interrupt,
            progress: &mut progress,
        };
        let made = kind.make(&mut lone, &mut step, &mut record.doc);
        step.elapsed_ns = clock.now().ns_since(Tick(step.started_ns));
        match made {
            Ok(findings) => record.found(findings),
            // Nothing at all was measured: as where an agent cannot be reached, that is what becomes of the run.
            Err(why) if record.doc.steps.is_empty() || why.kind.is_interruption() => return Err(why),
            Err(why) => step.error = Some(why),
        }
        let stopped = step.error.clone();
        record.keep(step);
        ended(stopped, kind, spec, record)
    }
}

/// Keeps what runs of the plan, where that is not what was asked for.
fn runs_as(specs: &[StepSpec], record: &mut Record<'_>) {
    let plan = record.doc.plan().cloned().unwrap_or_default();
    record.doc.granted = Some(Plan { steps: specs.to_vec(), ..plan });
}

/// The node of a run that a step is made with.
fn node<'a>(doc: &'a ResultDoc, spec: &StepSpec) -> Option<&'a NodeSpec> {
    doc.node(spec.node()).map(|node| &node.spec)
}

/// What a step takes where all is well: connecting, turns and goodbyes take their round trips.
fn need_ns(record: &Record<'_>, spec: &StepSpec) -> u64 {
    let need = steps::play(spec, node(&record.doc, spec)).map_or(0, |play| play.kind().need_ns(spec));
    need.saturating_add(record.round_trip_ns().unwrap_or(0).saturating_mul(ROUND_TRIPS))
}

/// What so many steps take.
fn sum_ns(record: &Record<'_>, specs: &[StepSpec]) -> u64 {
    specs.iter().fold(0, |sum, spec| sum.saturating_add(need_ns(record, spec)))
}

fn begin(kind: &dyn Kind, place: &Place<'_>, spec: &StepSpec, name: &str, record: &mut Record<'_>) {
    let Place { number, of, .. } = *place;
    record.observer.event(&RunEvent::StepStarted { number, of, name, duration_ns: kind.duration_ns(spec) });
}

/// What a step's end means for the run: an interruption ends it, too little time is noted.
fn ended(
    stopped: Option<StepError>,
    kind: &dyn Kind,
    spec: &StepSpec,
    record: &mut Record<'_>,
) -> Result<(), StepError> {
    match stopped {
        Some(why) if why.kind.is_interruption() => Err(why),
        Some(why) if why.kind == ErrorKind::OutOfTime => {
            record.cut.push(format!("{}: cut short", kind.name(spec)));
            Ok(())
        }
        _ => Ok(()),
    }
}
