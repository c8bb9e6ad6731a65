//! An agent as the conductor sees it: a session that takes turns, one between two steps.

use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{Client, ClientEvent, Go, HalfRoom, bound_half};
use pathproof_model::{
    End, Environment, ErrorCause, ErrorKind, Finding, Half, NodeId, Plan, ResultDoc, StepError,
};

use super::merge::{self, Pending};
use super::record::Record;
use super::{Target, open, way_back};
use crate::budget::{Budget, out_of_time};
use crate::dial::Beside;
use crate::encoding::unhex;
use crate::host::{peers, wires};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::steps::{self, SessionFacts};
use pathproof_sys::clock::RealClock;

/// How long the peer's half is waited for when the data path to it was lost: it is probably lost as well, and the user
/// wants to know.
const LAST_WORD: Duration = Duration::from_millis(1500);
/// How long at most where the peer's host still acknowledges what is said to it: then only the lane is dead, and the keep-alive
/// probes of the peer's end of it find out within so long that nobody is there.
const LAST_LANE: Duration = Duration::from_secs(8);
/// How long it is waited for otherwise, from each piece of it to the next. An interrupted user still gets the half that was measured.
const PATIENCE_NS: u64 = 20_000_000_000;

/// What an agent says to a step.
pub(super) enum Answer {
    /// It is ready, with its offers as they came.
    Ready(Vec<String>),
    /// It cannot make it.
    Cannot(StepError),
    /// It was not asked.
    Nothing,
}

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError::new(kind, message.into())
}

/// A session with an agent.
pub(super) struct AgentLink {
    pub session: Session<Client>,
    pub facts: SessionFacts,
    /// Attempts to reach it that did not lead to the session.
    beside: Beside,
    clock: RealClock,
    pending: Option<Pending>,
}

impl AgentLink {
    /// Reaches the agent and takes in what it grants of the plan, which is what is to run.
    pub fn open(
        target: &Target,
        plan: &Plan,
        here: &Environment,
        budget: &Budget,
        interrupt: &Interrupt,
        record: &mut Record<'_>,
    ) -> Result<(AgentLink, Plan), StepError> {
        let (mut session, beside, listening) = open::open(target, budget, interrupt)?;
        let revision = session.revision().unwrap_or(0);
        steps::check_adapter_marks(plan, revision)?;
        let known = plan.known_at(revision);
        let (plan, left_out) = known.map_err(|why| error(ErrorKind::Refused, why))?;
        let request = plan.request().map_err(|why| error(ErrorKind::Invalid, why))?;
        let doc = &mut record.doc;
        doc.findings.extend(left_out);
        if target.access.is_open_to(session.peer().ip()) {
            let evidence =
                format!("no key was used (--no-key at both ends) and {} is not this host", session.peer());
            doc.findings.push(Finding::new("SESSION-KEYLESS", evidence));
        }
        let (accept, clock) = open::greet(&mut session, request, here.clone())?;
        let mut here = here.clone();
        peers::learn_routes(&mut here, &accept.environment, session.peer().ip());
        wires::note(&listening.heard(), &mut here.peers);
        doc.learn(NodeId::CLIENT, here.clone());
        doc.learn(NodeId::SERVER, accept.environment.clone());
        doc.nodes.iter_mut().filter(|node| node.id == NodeId::SERVER).for_each(|node| node.clock = clock);
        let (granted, reduced) =
            plan.granted(&accept.granted).map_err(|why| error(ErrorKind::Refused, why))?;
        doc.findings.extend(reduced);
        doc.limits = Some(accept.limits.clone());
        doc.findings.extend(accept.findings);
        let facts = SessionFacts {
            end: End::Client,
            secret: unhex(&accept.session)
                .ok_or_else(|| error(ErrorKind::Protocol, "the peer's session secret is malformed"))?,
            local: session.local(),
            peer: session.peer(),
            limits: accept.limits,
            seed: plan.seed,
            environment: here,
            peer_environment: accept.environment,
        };
        if facts.outlives_its_path(&granted.steps) {
            session.survive(way_back::way_back(&facts, &target.access, budget.clock()));
        }
        // A plan that was granted as it is stands in the document once.
        let less = doc.requested.as_ref().is_none_or(|asked| asked.is_reduced_to(&granted));
        doc.granted = less.then(|| granted.clone());
        Ok((AgentLink { session, facts, beside, clock: budget.clock().clone(), pending: None }, granted))
    }

    /// This end has run its part of a step; the agent's half comes with the next turn.
    pub fn ran(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    /// Ends the pending step, keeps it made of both halves, and begins the next one if there is one.
    pub fn turn(&mut self, go: Option<Go>, record: &mut Record<'_>) -> Result<Answer, StepError> {
        if self.pending.is_none() && go.is_none() {
            return Ok(Answer::Nothing);
        }
        let wanted = go.is_some();
        let now = self.clock.now();
        let room = self.pending.as_ref().map_or_else(HalfRoom::default, |p| HalfRoom::of(&p.spec));
        self.session.machine.turn(now, go, room, 0);
        let mut answer = Answer::Nothing;
        let mut deadline = now.plus_ns(PATIENCE_NS);
        let data_path_lost = self
            .pending
            .as_ref()
            .and_then(|p| p.half.error.as_ref())
            .is_some_and(|e| matches!(e.kind, ErrorKind::PeerLost | ErrorKind::System));
        let mut until = if data_path_lost { now + LAST_WORD } else { Tick(u64::MAX) };
        let last_lane = now + LAST_LANE;
        let lost = loop {
            if self.pending.is_none() && !(wanted && matches!(answer, Answer::Nothing)) {
                break None;
            }
            match self.session.event_though_interrupted(until.min(deadline)) {
                // Each piece shows that the peer is there, and that the next one is worth waiting for.
                Some(ClientEvent::Piece) => {
                    let now = self.session.clock.now();
                    deadline = now.plus_ns(PATIENCE_NS);
                    until = if data_path_lost { now + LAST_WORD } else { until };
                }
                Some(ClientEvent::Half { mut half, .. }) => {
                    bound_half(&mut half, End::Server);
                    if let Some(pending) = self.pending.take() {
                        merge::keep(pending, *half, record);
                    }
                }
                Some(ClientEvent::Ready(ready)) => {
                    record.doc.findings.extend(ready.findings);
                    answer = match ready.error {
                        Some(why) => Answer::Cannot(why),
                        None => Answer::Ready(ready.offers),
                    };
                }
                Some(ClientEvent::Over(over)) => break Some(over),
                Some(_) => {}
                None if self.session.is_late() => {
                    record.cut.push("the peer's half of the last step: not awaited".into());
                    break Some(out_of_time("the peer's half of a step had not come"));
                }
                None if self.session.clock.now() >= until => {
                    // Where the control connection carries, only the lane is dead.
                    if self.session.clock.now() < last_lane && self.session.is_acknowledged() {
                        until = self.session.clock.now() + LAST_WORD;
                        continue;
                    }
                    let words = "the peer was silent after the data path was lost; check that it runs, and the link to it";
                    break Some(error(ErrorKind::PeerLost, words).caused_by(ErrorCause::Silent));
                }
                None => break Some(error(ErrorKind::Timeout, "the peer did not end the step in time")),
            }
        };
        let Some(over) = lost else { return Ok(answer) };
        if let Some(mut pending) = self.pending.take() {
            // The other half is lost with the peer; this one is not.
            pending.half.error.get_or_insert_with(|| over.clone());
            merge::keep(pending, Half::default(), record);
        }
        Err(over)
    }

    /// Takes leave, and says in the document what became of the connection.
    pub fn leave(mut self, why: Option<&StepError>, doc: &mut ResultDoc) {
        self.session.machine.bye(why.map_or("", |e| &e.message));
        self.session.flush();
        for moved in &self.session.moves {
            let evidence = format!("the control connection fell silent and went on {moved}");
            doc.findings.push(Finding::new("CONTROL-MOVED", evidence));
        }
        doc.findings.extend(self.beside.findings());
    }
}
