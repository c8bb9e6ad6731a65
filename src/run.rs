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
    Environment, ErrorKind, Finding, HostDifference, Node, NodeId, Plan, ResultDoc, StepError, Tool,
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
}

/// Makes the run. The document always comes back; what stopped the run stands in its `error`.
pub fn run(order: &Order<'_>, observed: Observed, observer: &mut dyn Observer) -> ResultDoc {
    let mut doc = document(order.plan, order.parties, observed.environment.clone());
    doc.findings = observed.findings;
    doc.budget_ns = order.budget.length_ns();
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
        let again = dialled_again.map_or_else(String::new, |again| format!("; {again}"));
        let finding = Finding::new("PEER-LOST", format!("{}{again}", lost.message));
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
        Err(why) if matches!(why.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
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
    let Order { plan, parties, budget, registry, interrupt } = *order;
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
        record.dialled_again = Some(words(again, answering));
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
