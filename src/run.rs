//! One run, for every command that makes a document: it is begun, the nodes of the plan are reached, the steps are made, and what
//! stopped the run stands in it.

mod agent;
mod conductor;
mod left_out;
mod merge;
mod open;
mod party;
mod record;
mod spare;
mod way_back;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pathproof_engine::channels::hosts::of_check;
use pathproof_engine::diagnose::{diagnose, settle};
use pathproof_engine::differences;
use pathproof_engine::ladder::ladder;
use pathproof_engine::loss;
use pathproof_engine::networks;
use pathproof_engine::offloads;
use pathproof_model::code;
use pathproof_model::environment::Observed;
use pathproof_model::{
    Criteria, Environment, ErrorCause, ErrorKind, Finding, HostDifference, Node, NodeId, Plan, ResultDoc,
    StepError, Tool,
};

use crate::budget::Budget;
use crate::dial;
use crate::host::{self, wires};
use crate::interrupt::{self, Interrupt};
use crate::registry::{Registry, TRANSPORTS};
use crate::steps;
use crate::watch::{Observer, RunEvent};
use agent::AgentLink;
use conductor::Conductor;
pub use open::prepare_socket;
pub use party::{Party, Target};
use record::Record;

/// What this build is.
pub fn tool() -> Tool {
    Tool {
        name: "pathproof".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("PATHPROOF_COMMIT").map(Into::into),
        features: TRANSPORTS.map(Into::into).into(),
    }
}

/// The document of a run that has done nothing yet. `plan` names its nodes: this one, then `parties`.
pub fn document(plan: &Plan, parties: &[Party], here: Environment) -> ResultDoc {
    let mut nodes = vec![Node::here(Some(here))];
    for party in parties {
        let id = NodeId(nodes.len() as u16);
        nodes.push(Node {
            id,
            name: party.name().into(),
            spec: party.spec(),
            environment: None,
            clock: None,
        });
    }
    ResultDoc { nodes, requested: Some(plan.clone()), ..ResultDoc::new(tool(), crate::wall::now_rfc3339()) }
}

/// A run that is asked for.
pub struct Order<'a> {
    /// What is to be done; it names this node and the parties.
    pub plan: &'a Plan,
    /// The nodes after the first.
    pub parties: &'a [Party],
    /// The time that it may take.
    pub budget: &'a Budget,
    /// The transports.
    pub registry: &'a Registry,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// The limits that it will be judged by, where they are known: what is declared is no fault.
    pub criteria: Option<&'a Criteria>,
}

/// Makes the run. The document always comes back; what stopped the run stands in its `error`.
pub fn run(order: &Order<'_>, observed: Observed, observer: &mut dyn Observer) -> ResultDoc {
    let mut doc = document(order.plan, order.parties, observed.environment.clone());
    doc.findings = observed.findings;
    doc.budget_ns = order.budget.length_ns();
    doc.criteria = order.criteria.cloned();
    let mut record = Record { doc, observer, cut: vec![], dialled_again: None };
    let ended = conduct(order, &observed.environment, &mut record);
    // Whatever an interruption met first, the document says which signal it was.
    let signalled = order.interrupt.is_raised();
    let why =
        ended.err().map(|why| if signalled && why.kind.is_interruption() { interrupt::error() } else { why });
    let (mut doc, dialled_again) = (record.doc, record.dialled_again);
    // A clock that ran down is not an error of the run: what it cut is named, and the rest stands.
    doc.error = why.filter(|error| error.kind != ErrorKind::OutOfTime);
    // A path that changes bytes has a finding of its own (`diagnose/changed.rs`).
    let is_lost = |e: &&StepError| e.kind == ErrorKind::PeerLost && !e.tells_of_changed_bytes();
    if let Some(lost) = doc.error.as_ref().filter(is_lost).filter(|_| !doc.steps.is_empty()) {
        let finding = peer_lost(lost, dialled_again);
        doc.findings.push(finding);
    }
    let (channels, said) = of_check(&doc, &host::routed());
    doc.channels = channels.or(doc.channels);
    doc.findings.extend(said);
    doc.packet_rates = loss::found(&doc);
    doc.findings.extend(loss::rate_findings(&doc.packet_rates));
    doc.packet_buffers = loss::found_buffers(&doc);
    doc.findings.extend(loss::buffer_findings(&doc.packet_buffers));
    offloads::conclude(&mut doc);
    doc.ladder = ladder(&doc);
    let slow = networks::rehearsed(&mut doc);
    doc.findings.extend(slow);
    doc.differences = host_differences(&doc);
    let causes = diagnose(&doc);
    doc.findings.extend(causes);
    settle(&mut doc);
    doc
}

/// What both hosts are set to differently, where both are known and two.
fn host_differences(doc: &ResultDoc) -> Option<Vec<HostDifference>> {
    differences::of_document(doc, NodeId::SERVER).filter(|_| !doc.is_against_itself())
}

/// So long a new connection to a peer that was lost may take: two attempts of the kernel fit.
const WAIT: Duration = Duration::from_millis(1200);

/// What a new connection to a peer that was lost came to.
struct Again {
    heard: Dialled,
    /// In words.
    said: String,
}

/// Whether anybody said anything to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialled {
    /// It opened, or somebody refused it.
    Answered,
    /// Nobody did.
    Silent,
}

impl Again {
    fn of(again: io::Result<()>, answering: Answering) -> Again {
        // Who does not answer for an address in a network of this host's is unreachable to the kernel.
        let is_silent = |why: &io::Error| is_late(why) || why.kind() == io::ErrorKind::HostUnreachable;
        let heard = if again.as_ref().is_err_and(is_silent) { Dialled::Silent } else { Dialled::Answered };
        Again { heard, said: words(again, answering) }
    }
}

/// What to do where a peer fell silent and stayed so. For a process that ended, its kernel would have closed the connection and refused a new one.
const AFTER_SILENCE: &str = "Look at the peer's log, and in its kernel log and the switch's whether a link went at that moment. Where the peer answers again half a \
                             minute after its link came and went, the spanning tree of the switch held the port back meanwhile: make it an edge port (portfast). Then run \
                             the same command again.";

/// The finding about a peer that was lost.
fn peer_lost(lost: &StepError, again: Option<Again>) -> Finding {
    let heard = again.as_ref().map(|again| again.heard);
    let said = again.map_or_else(String::new, |again| format!("; {}", again.said));
    let finding = Finding::new("PEER-LOST", format!("{}{said}", lost.message));
    let fell_silent = matches!(lost.cause, Some(ErrorCause::Silent | ErrorCause::Unreachable));
    if fell_silent && heard == Some(Dialled::Silent) { finding.with_next(AFTER_SILENCE) } else { finding }
}

fn is_late(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Who answers for the address of a peer that was lost.
enum Answering {
    /// As far as is known, the peer.
    Peer,
    /// More than one device; which of them gets a connection is chance.
    Several,
    /// A device with this hardware address, which the peer has not, and which did not answer when the run began.
    Other(String),
}

/// Whether the peer's process, its host or the path to it was lost: a new connection tells.
fn words(again: io::Result<()>, answering: Answering) -> String {
    match again {
        Ok(()) => "a new connection opened at once, so the host and its port are there: what was lost is that connection".into(),
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => match answering {
            Answering::Peer => {
                "a new connection was refused, so the host is there and the process that listened is not".into()
            }
            Answering::Several => {
                "a new connection was refused; several devices answer for that address, so it may have been another than the peer that did".into()
            }
            Answering::Other(mac) => {
                format!("a new connection was refused by another device, which answers for that address now: no NIC of the peer's has {mac}")
            }
        },
        Err(why) if is_late(&why) => {
            format!("a new connection was not answered within {} ms either", WAIT.as_millis())
        }
        Err(why) => format!("a new connection failed as well ({why})"),
    }
}

/// The hardware address to which this host sends what is meant for the peer, where that is another device's by now. One that answered from the
/// beginning answers in the peer's place, as a gateway of a cloud does.
fn newcomer(doc: &ResultDoc, peer: IpAddr) -> Option<String> {
    let (here, there) = (doc.environment(NodeId::CLIENT)?, doc.environment(NodeId::SERVER)?);
    let then = here.peers.iter().find(|one| one.address == peer.to_canonical())?.mac.as_ref()?;
    wires::stranger(peer, there).filter(|now| !now.eq_ignore_ascii_case(then))
}

fn conduct(order: &Order<'_>, here: &Environment, record: &mut Record<'_>) -> Result<(), StepError> {
    let Order { plan, parties, budget, registry, interrupt, .. } = *order;
    steps::check_size(plan)?;
    let shared = plan.shared().next().is_some();
    // The steps that run are this end's own; an agent had a say in how much of them.
    let (agent, granted) = match parties.iter().find_map(Party::target).filter(|_| shared) {
        Some(target) => {
            let (agent, granted) = AgentLink::open(target, plan, here, budget, interrupt, record)?;
            (Some(agent), granted)
        }
        None => (None, plan.clone()),
    };
    record.observer.event(&RunEvent::Opened { doc: &record.doc });
    let mut conductor = Conductor::new(agent, here, registry, budget, interrupt, plan.seed);
    let ended = conductor.steps(&granted, record);
    record.tell_what_was_cut(budget);
    let lost =
        ended.as_ref().is_err_and(|why| why.kind == ErrorKind::PeerLost && !why.tells_of_changed_bytes());
    if let Some(agent) = conductor.agent.as_ref().filter(|_| lost) {
        let peer = agent.session.peer();
        let again = dial::once(peer, WAIT, None).map(drop);
        // Who was dialled is read before anybody else is asked: what the kernel hears then may change it.
        let newcomer = newcomer(&record.doc, peer.ip());
        // Connections that end in the middle are what an address with a second owner looks like.
        let claim = wires::disputed(peer.ip(), record.doc.environment(NodeId::SERVER), &[]);
        let claim = claim.map(|claim| Finding::new(claim.code, claim.said));
        let several = claim.as_ref().is_some_and(|claim| claim.is(code!("ADDRESS-DUPLICATE")));
        let answering = match newcomer {
            Some(mac) => Answering::Other(mac),
            None if several => Answering::Several,
            None => Answering::Peer,
        };
        record.dialled_again = Some(Again::of(again, answering));
        record.doc.findings.extend(claim);
    }
    if let Some(agent) = conductor.agent {
        agent.leave(ended.as_ref().err(), &mut record.doc);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_stays_silent_may_be_behind_a_port_that_the_spanning_tree_holds_back() {
        let advised = |cause: ErrorCause, again: Option<io::Result<()>>| {
            let lost = StepError::new(ErrorKind::PeerLost, "gone".into()).caused_by(cause);
            let finding = peer_lost(&lost, again.map(|again| Again::of(again, Answering::Peer)));
            assert!(finding.next.contains("the peer's log"), "{}", finding.next);
            finding.next.contains("edge port (portfast)")
        };
        assert!(advised(ErrorCause::Silent, Some(Err(io::ErrorKind::TimedOut.into()))));
        assert!(advised(ErrorCause::Unreachable, Some(Err(io::ErrorKind::HostUnreachable.into()))));
        // Somebody answers there; it said goodbye; and nobody asked again.
        assert!(!advised(ErrorCause::Silent, Some(Ok(()))));
        assert!(!advised(ErrorCause::Silent, Some(Err(io::ErrorKind::ConnectionRefused.into()))));
        assert!(!advised(ErrorCause::Closed, Some(Err(io::ErrorKind::TimedOut.into()))));
        assert!(!advised(ErrorCause::Silent, None));
    }

    #[test]
    fn who_refuses_is_the_peer_only_where_nobody_else_answers_for_its_address() {
        let refused = |answering| words(Err(io::ErrorKind::ConnectionRefused.into()), answering);
        assert!(refused(Answering::Peer).contains("the process that listened is not"));
        let mac = "02:00:00:00:00:99".to_owned();
        for (answering, says) in
            [(Answering::Several, "another than the peer"), (Answering::Other(mac.clone()), mac.as_str())]
        {
            let said = refused(answering);
            assert!(said.contains(says) && !said.contains("the process that listened is not"), "{said}");
        }
        // Silence is silence, whoever it is that is silent.
        let silent = words(Err(io::ErrorKind::TimedOut.into()), Answering::Several);
        assert!(silent.contains("was not answered within 1200 ms"), "{silent}");
    }
}
