//! What the NICs of this host carry that a plan does not name: each by itself, then all together.

use pathproof_model::environment::PeerRoute;
use pathproof_model::judge::tcp_passed;
use pathproof_model::{
    CommandName, FollowUp, MtuPath, NodeId, Plan, PortsWhere, ResultDoc, StepError, StepSpec,
};

use super::{Conductor, Place, UNHURRIED_NS, need_ns};
use crate::registry::manners;
use crate::run::record::Record;
use crate::steps;

/// What there may be no time for.
const EACH_WAY: &str = "what a NIC carries one way alone: not measured";

impl Conductor<'_> {
    /// NICs of this host over which the two hosts would talk as well, beside the one that the streams of a check use.
    pub(super) fn beside(&self, plan: &Plan) -> Vec<String> {
        let several = plan.steps.iter().filter_map(StepSpec::over).any(|over| manners(over).several_nics);
        let asked = plan.command == CommandName::Check && self.budget.length_ns().is_some() && !several;
        self.agent.as_ref().filter(|_| asked).map_or_else(Vec::new, |agent| agent.facts.other_nics())
    }

    /// What each of those NICs carries by itself. One over which nothing was answered, and no connection opened, is known to carry nothing.
    pub(super) fn by_themselves(
        &mut self,
        nics: &[String],
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        let nics: Vec<String> = nics.iter().filter(|nic| is_heard(&record.doc, nic)).cloned().collect();
        let specs = steps::beside(&record.doc, &nics);
        for (nth, spec) in specs.iter().enumerate() {
            let number = record.doc.steps.len() as u32;
            let of = number as usize + specs.len() - nth;
            self.step(&Place { number, of, later: &specs[nth + 1..] }, spec, record)?;
            self.collect(record)?;
        }
        self.while_asked(steps::each_way, EACH_WAY, record)?;
        self.while_asked(steps::of_one_nic, "what a NIC loses, or lets wait: not measured", record)?;
        self.all_together(&nics, record)?;
        // What all of them carry begins with the session's own NIC, and others can be held against that.
        self.while_asked(steps::each_way, EACH_WAY, record)
    }

    /// Further steps as long as there is one to be made, and time for it; what there is no time for is said.
    fn while_asked(
        &mut self,
        next: fn(&ResultDoc) -> Option<StepSpec>,
        cut: &str,
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        while let Some(spec) = next(&record.doc) {
            if need_ns(record, &spec) > self.left_ns(record) {
                if !record.cut.iter().any(|known| known == cut) {
                    record.cut.push(cut.into());
                }
                break;
            }
            self.further(&spec, record)?;
        }
        Ok(())
    }

    /// NICs over which no datagram was answered, by TCP, last of all: something may take datagrams alone. Not where connections were tried on their networks
    /// before, and not where nobody answers for the other end's address: there is nothing that would carry them.
    pub(super) fn silent_by_tcp(
        &mut self,
        nics: &[String],
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        let doc = &record.doc;
        let wanted = |nic: &&String| !is_heard(doc, nic) && has_a_neighbour(doc, nic);
        let nics: Vec<String> = match was_dialled_beside(doc) {
            true => vec![],
            false => nics.iter().filter(wanted).cloned().collect(),
        };
        self.purpose = Some(FollowUp::Alone);
        for spec in steps::beside(&record.doc, &nics) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("a NIC over which no datagram was answered: not tried by TCP".into());
                break;
            }
            self.further(&spec, record)?;
        }
        Ok(())
    }

    /// What those NICs carry together with the one that the session began on. A check that is to be quick leaves it out by plan.
    fn all_together(&mut self, nics: &[String], record: &mut Record<'_>) -> Result<(), StepError> {
        let own = self.agent.as_ref().and_then(|agent| agent.facts.own_nic());
        let Some(own) = own.filter(|_| self.budget.length_ns() >= Some(UNHURRIED_NS)) else { return Ok(()) };
        let tried = self.try_together(&own, nics, record);
        // Whatever ended it: what was measured by then is judged.
        steps::sum_up_together(&mut record.doc);
        tried
    }

    /// All of them at once, and where that came to little each two of them.
    fn try_together(&mut self, own: &str, nics: &[String], record: &mut Record<'_>) -> Result<(), StepError> {
        while let Some(spec) = steps::together(&record.doc, own, nics) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("what all NICs carry together: not measured".into());
                break;
            }
            self.further(&spec, record)?;
        }
        // A short step that came to little is asked again where there is time: somebody else may have used the path just then.
        let again = steps::together_again(&record.doc, own, nics);
        if let Some(spec) = again.filter(|spec| need_ns(record, spec) <= self.left_ns(record)) {
            self.further(&spec, record)?;
        }
        while let Some(spec) = steps::pair_of(&record.doc, own, nics) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("which NICs share what they carry: not measured".into());
                break;
            }
            self.further(&spec, record)?;
        }
        Ok(())
    }
}

/// What was searched over a NIC of this host.
fn searched<'a>(doc: &'a ResultDoc, nic: &'a str) -> impl Iterator<Item = &'a MtuPath> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten();
    paths.filter(move |path| path.local_nic == nic)
}

/// Whether something was answered over a NIC, or a connection opened over it; or nothing was asked.
fn is_heard(doc: &ResultDoc, nic: &str) -> bool {
    let opened = |path: &MtuPath| {
        let theirs = path.remote_nic.as_deref().map(|remote| (remote, path.remote_address));
        theirs.is_some_and(|theirs| tcp_passed(doc, (nic, path.local_address), theirs))
    };
    let mut own = searched(doc, nic).peekable();
    own.peek().is_none() || own.any(|path| path.proven_ip_bytes.is_some() || opened(path))
}

/// Whether somebody answers by that NIC for an address of the other end that was searched over it.
fn has_a_neighbour(doc: &ResultDoc, nic: &str) -> bool {
    let ways = || doc.environment(NodeId::CLIENT).into_iter().flat_map(|host| &host.peers);
    let tables = || {
        let own = doc.steps.iter().filter_map(|step| step.evidence(NodeId::CLIENT));
        own.filter_map(|one| one.neighbours.as_ref()).flatten().filter(|one| one.nic == nic)
    };
    searched(doc, nic).any(|path| {
        let remote = path.remote_address;
        let direct = |peer: &PeerRoute| peer.nic.as_deref() == Some(nic) && peer.router.is_none();
        let known = ways().any(|peer| peer.address == remote && direct(peer) && peer.mac.is_some());
        let answered = known || tables().any(|one| one.address == remote && !one.macs.is_empty());
        answered && !tables().any(|one| one.address == remote && one.failed)
    })
}

/// Whether connections were tried on the networks beside the session's.
fn was_dialled_beside(doc: &ResultDoc) -> bool {
    let at = |spec: &StepSpec| spec.ports().is_some_and(|ports| ports.at == PortsWhere::Beside);
    doc.steps.iter().any(|step| step.error.is_none() && step.spec.as_ref().is_some_and(at))
}

#[cfg(test)]
mod tests {
    use pathproof_model::evidence::NeighbourActivity;
    use pathproof_model::{
        Direction, Environment, Evidence, MtuLimit, MtuMethod, Node, OpenedAtOnce, OpenedRecord, PortsSpec,
        Step, StepKind, Tool,
    };

    use super::*;

    const REMOTE: [u8; 4] = [10, 9, 1, 2];

    fn here(mac: Option<&str>) -> Environment {
        let way =
            PeerRoute { nic: Some("e1".into()), mac: mac.map(Into::into), ..PeerRoute::to(REMOTE.into()) };
        Environment { peers: vec![way], ..Environment::default() }
    }

    /// What the kernel knew of a neighbour: the hardware addresses, and whether nobody answered in the end.
    type Neighbour<'a> = Option<(&'a [&'a str], bool)>;

    fn entry<'a>(macs: &'a [&'a str], failed: bool) -> Neighbour<'a> {
        Some((macs, failed))
    }

    /// A search of the path MTU over the second NICs that heard so much, and what the kernel knew of the neighbour then.
    fn searched_over_e1(proven_ip_bytes: Option<u32>, neighbour: Neighbour<'_>) -> ResultDoc {
        let mut step = Step::new(StepKind::Mtu, "path MTU");
        step.detail.paths = Some(vec![MtuPath {
            local_nic: "e1".into(),
            remote_nic: Some("e1".into()),
            local_address: [10, 9, 1, 1].into(),
            remote_address: REMOTE.into(),
            family: 4,
            direction: Direction::Out,
            method: MtuMethod::Agent,
            ip_mtu_bytes: proven_ip_bytes,
            limit: MtuLimit::Unknown,
            numbers: None,
            proven_ip_bytes,
            reason: None,
            local_ip_mtu_bytes: None,
            remote_ip_mtu_bytes: None,
            cached_ip_mtu_bytes: None,
            route: None,
            routers: vec![],
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 0,
            fitting_lost: 0,
            probes: 0,
            loss_rounds: 0,
            fragments: None,
            elapsed_ns: 0,
            tried: vec![],
        }]);
        let entry = neighbour.map(|(macs, failed)| NeighbourActivity {
            address: REMOTE.into(),
            nic: "e1".into(),
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            failed,
        });
        step.evidence = vec![Evidence { neighbours: entry.map(|entry| vec![entry]), ..Evidence::default() }];
        let mut doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(here(None)))];
        doc
    }

    #[test]
    fn a_nic_is_heard_where_a_datagram_was_answered_or_a_connection_opened() {
        assert!(is_heard(&searched_over_e1(Some(1500), None), "e1"));
        let mut silent = searched_over_e1(None, None);
        assert!(!is_heard(&silent, "e1"));
        assert!(is_heard(&silent, "e2"), "nothing was asked over it");
        let mut ports = Step::new(StepKind::Ports, "ports of the other networks");
        let opened = OpenedAtOnce { asked: 8, opened: 8, ..OpenedAtOnce::default() };
        ports.detail.opened_at_once = Some(vec![OpenedRecord {
            local_address: Some([10, 9, 1, 1].into()),
            remote_address: Some(REMOTE.into()),
            ..OpenedRecord::of_session(Direction::Out, opened)
        }]);
        silent.steps.push(ports);
        assert!(is_heard(&silent, "e1"));
    }

    #[test]
    fn who_answers_for_an_address_is_known_from_the_facts_or_from_the_steps_and_not_where_that_failed() {
        let mac = "02:00:00:00:00:02";
        let told = |known: Option<&str>, neighbour: Neighbour<'_>| {
            let mut doc = searched_over_e1(None, neighbour);
            doc.nodes = vec![Node::here(Some(here(known)))];
            has_a_neighbour(&doc, "e1")
        };
        assert!(told(Some(mac), None) && told(None, entry(&[mac], false)));
        assert!(!told(None, None) && !told(None, entry(&[], true)));
        // It was known, and nobody answers any more.
        assert!(!told(Some(mac), entry(&[], true)));
    }

    #[test]
    fn connections_were_tried_beside_the_session_where_the_step_for_it_came_to_an_end() {
        let told = |at: PortsWhere, stopped: bool| {
            let mut step = Step::new(StepKind::Ports, "ports");
            step.spec = Some(StepSpec::Ports(PortsSpec { at, ..PortsSpec::default() }));
            step.error = stopped.then(|| crate::budget::out_of_time("it was not run"));
            was_dialled_beside(&ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") })
        };
        assert!(told(PortsWhere::Beside, false));
        assert!(!told(PortsWhere::Beside, true) && !told(PortsWhere::Session, false));
    }
}
