//! What the counters of the RDMA devices at both ends say about a step.

use std::collections::BTreeMap;

use pathproof_model::numbers::{ip_mtu_for_rdma, largest_rdma_mtu};
use pathproof_model::{
    End, ErrorCause, ErrorKind, Fabric, Finding, Half, Nic, RdmaEnd, RdmaProof, ResultDoc, Severity, Step,
    StepSpec, TrafficSpec,
};
use pathproof_rdma::proof::{Trouble, trouble};
use pathproof_rdma::transport::options::{PATH_MTU, PathMtu};

use crate::registry::manners;

/// The step's proof from both halves.
pub fn merge(spec: &TrafficSpec, step: &mut Step, client: &Half, server: &Half) {
    if !manners(&spec.over).adapter {
        return;
    }
    let ends = [client.detail.rdma.as_slice(), &server.detail.rdma].concat();
    step.detail.proof = Some(RdmaProof::weigh(ends));
}

/// What the proof and its counters show that somebody should be told.
pub fn findings(step: &Step, doc: &ResultDoc) -> Vec<Finding> {
    let Some(proof) = &step.detail.proof else { return vec![] };
    let mut found = vec![];
    if let Some(end) = proof.contradicted() {
        let finding = Finding::new("RDMA-NOT-USED", format!("{}: {}", step.name, proof.reason));
        found.push(finding.with("device", end.device.as_str()).with("end", end.end.name()));
    }
    found.extend(path_mtu(step, proof));
    // Of the two hosts and the path, not of this step: once is enough.
    let news = [path_too_small(proof, doc), pfc_differs(proof, doc)].into_iter().flatten();
    found.extend(news.filter(|f| doc.findings.iter().all(|old| old.evidence != f.evidence)));
    found.extend(dead(step));
    found.extend(smaller_passes(step));
    found.extend(proof.ends.iter().flat_map(|end| counters(step, end)));
    found.extend(step.lanes.iter().find_map(|lane| {
        let why = lane.adapter.as_ref()?.depth_reduced.as_ref()?;
        Some(Finding::new("RDMA-REDUCED", format!("{}: queue depth {why}", step.name)))
    }));
    found
}

/// The two ends' active MTUs, and what the IP MTU below would allow.
fn path_mtu(step: &Step, proof: &RdmaProof) -> Vec<Finding> {
    let mut found = vec![];
    let active: Vec<(&RdmaEnd, u64)> =
        proof.ends.iter().filter_map(|e| e.active_mtu_bytes.map(|mtu| (e, mtu))).collect();
    if let [(a, a_mtu), (b, b_mtu)] = &active[..]
        && a_mtu != b_mtu
    {
        let evidence = format!(
            "{}: active RDMA MTU {a_mtu} bytes on {} at the {}, {b_mtu} on {} at the {}",
            step.name, a.device, a.end, b.device, b.end
        );
        found.push(
            Finding::new("RDMA-MTU-DIFFERS", evidence).with(a.end.name(), *a_mtu).with(b.end.name(), *b_mtu),
        );
    }
    for (end, active) in active {
        let ip_mtu = end.ip_mtu_bytes.and_then(|ip| u32::try_from(ip).ok());
        let allowed = ip_mtu.and_then(largest_rdma_mtu).map(u64::from);
        if let (Some(ip), Some(allowed)) = (end.ip_mtu_bytes, allowed)
            && active < allowed
        {
            let evidence = format!(
                "{}: {} at the {} uses an RDMA MTU of {active} bytes, and its IP MTU of {ip} allows {allowed}",
                step.name, end.device, end.end
            );
            found.push(
                Finding::new("RDMA-MTU-LOW", evidence)
                    .with("active_bytes", active)
                    .with("allowed_bytes", allowed),
            );
        }
    }
    found
}

fn end_of(proof: &RdmaProof, end: End) -> Option<&RdmaEnd> {
    proof.ends.iter().find(|e| e.end == end)
}

/// The path as the MTU stage measured it against what the RDMA MTU in use needs.
fn path_too_small(proof: &RdmaProof, doc: &ResultDoc) -> Option<Finding> {
    let rdma_mtu = u32::try_from(proof.path_mtu_bytes?).ok()?;
    let (client, server) =
        (end_of(proof, End::Client)?.netdev.as_ref()?, end_of(proof, End::Server)?.netdev.as_ref()?);
    let paths = doc.steps.iter().filter_map(|s| s.detail.paths.as_ref()).flatten();
    let same = paths.filter(|p| p.local_nic == *client && p.remote_nic.as_ref() == Some(server));
    let (carried, path) = same.filter_map(|p| Some((p.ip_mtu_bytes?, p))).min_by_key(|(bytes, _)| *bytes)?;
    let needed = ip_mtu_for_rdma(rdma_mtu);
    if carried >= needed {
        return None;
    }
    let fits = largest_rdma_mtu(carried);
    let evidence = format!(
        "the RDMA MTU in use between {} and {} is {rdma_mtu} bytes, which needs an IP MTU of {needed}; the path from {} to {} \
         carries {carried}",
        proof.ends[0].device,
        proof.ends.last()?.device,
        path.local_address,
        path.remote_address
    );
    let lower = match fits {
        Some(fits) => format!(
            "or give both interfaces an IP MTU of {carried}, from which an RDMA MTU of {fits} follows (or run with \
             --option path_mtu={fits} to see that it passes)"
        ),
        None => "or use another path: this one is too small for any RDMA MTU".into(),
    };
    // IPv4, UDP, BTH, RETH and check sum: what a full packet of a write has at least.
    const HEADERS_LEAST_BYTES: u32 = 20 + 8 + 12 + 16 + 4;
    let severity = if carried < rdma_mtu + HEADERS_LEAST_BYTES { Severity::Error } else { Severity::Warning };
    Some(
        Finding::new("RDMA-MTU-PATH", evidence)
            .with_severity(severity)
            .with_next(format!("Set every hop between the two to an IP MTU of at least {needed}, {lower}."))
            .with("rdma_path_mtu_bytes", rdma_mtu)
            .with("needed_ip_mtu_bytes", needed)
            .with("path_ip_mtu_bytes", carried)
            .with("fitting_rdma_mtu_bytes", fits),
    )
}

/// PFC on different priorities at the two ends.
fn pfc_differs(proof: &RdmaProof, doc: &ResultDoc) -> Option<Finding> {
    let nic = |end: End| -> Option<Nic> {
        let netdev = end_of(proof, end)?.netdev.clone()?;
        doc.environment(end.node())?.nics.iter().find(|n| n.name == netdev).cloned()
    };
    let (client, server) = (nic(End::Client)?, nic(End::Server)?);
    let enabled = |nic: &Nic| Some(nic.dcb.as_ref()?.pfc.as_ref()?.enabled_priorities.clone());
    let (ours, theirs) = (enabled(&client)?, enabled(&server)?);
    if ours == theirs || proof.ends.iter().any(|e| e.fabric != Fabric::Roce) {
        return None;
    }
    let list = |on: &[u8]| match on {
        [] => "no priority".to_owned(),
        on => format!("priority {}", on.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")),
    };
    let evidence = format!(
        "PFC is enabled on {} at the client ({}) and on {} at the server ({})",
        list(&ours),
        client.name,
        list(&theirs),
        server.name
    );
    Some(Finding::new("RDMA-PFC-DIFFERS", evidence).with("client", ours).with("server", theirs))
}

/// A step whose packets went unanswered until all retries were spent.
fn dead(step: &Step) -> Option<Finding> {
    let lost = |e: &pathproof_model::StepError| {
        e.kind == ErrorKind::PeerLost && e.cause == Some(ErrorCause::RetriesSpent)
    };
    let error = step.lanes.iter().filter_map(|l| l.error.as_ref()).chain(&step.error).find(|e| lost(e))?;
    Some(Finding::new("RDMA-RETRY-EXCEEDED", format!("{}: {}", step.name, error.message)))
}

/// The step that follows a dead one, in order to tell a path that carries nothing from one that carries only small
/// packets: the same for a short time with an RDMA MTU that fits the IP MTU of 1500 bytes.
pub fn follow_up(failed: &Step) -> Option<StepSpec> {
    let path_mtu = failed.detail.proof.as_ref()?.path_mtu_bytes?;
    dead(failed).filter(|_| path_mtu > SMALL_RDMA_MTU)?;
    let mut spec = failed.spec.clone()?;
    let traffic = spec.traffic_mut()?;
    traffic.lanes = 1;
    traffic.beside.clear();
    (traffic.warmup_ns, traffic.time_ns, traffic.cooldown_ns) = (0, 500_000_000, 0);
    PATH_MTU.write(&mut traffic.options, PathMtu::B1024);
    traffic.follows_path_mtu = Some(path_mtu);
    Some(spec)
}

/// [`PathMtu::B1024`] in bytes.
const SMALL_RDMA_MTU: u64 = 1024;

/// The conclusion from a follow-up that went through.
pub fn smaller_passes(step: &Step) -> Option<Finding> {
    let traffic = step.spec.as_ref()?.traffic()?;
    let failed = traffic.follows_path_mtu?;
    let bytes = step.total(|flow| flow.bytes).filter(|b| *b > 0 && step.error.is_none())?;
    let evidence = format!(
        "with an RDMA path MTU of {failed} bytes every retry went unanswered; with {SMALL_RDMA_MTU} bytes the same \
         traffic brought {bytes} bytes"
    );
    let needed = failed + 80;
    Some(
        Finding::new("RDMA-MTU-BLACKHOLE", evidence)
            .with_next(format!(
                "A hop carries less than the about {needed} bytes of a full RoCE packet: raise the MTU of every switch \
                 port on the path to at least that, or lower the interfaces' IP MTU on both hosts (1500 gives {SMALL_RDMA_MTU})."
            ))
            .with("failed_path_mtu_bytes", failed)
            .with("passed_path_mtu_bytes", SMALL_RDMA_MTU),
    )
}

/// Counters of trouble that moved during the step.
fn counters(step: &Step, end: &RdmaEnd) -> Vec<Finding> {
    let mut by_kind: BTreeMap<Trouble, Vec<(&String, u64)>> = BTreeMap::new();
    for (name, value) in &end.counters {
        if let Some(kind) = trouble(name) {
            by_kind.entry(kind).or_default().push((name, *value));
        }
    }
    let most = |kind: Trouble| {
        by_kind.get(&kind).and_then(|moved| moved.iter().map(|(_, by)| *by).max()).unwrap_or(0)
    };
    let (lost, not_ready) = (most(Trouble::Loss), most(Trouble::NotReady));
    by_kind
        .clone()
        .into_iter()
        .filter(|(kind, _)| match kind {
            // A message that found no receive is sent again, and what followed it arrives out of sequence: that
            // is no loss.
            Trouble::Loss => lost > not_ready,
            // A few are usual at the end of a step, when one end has already left.
            Trouble::NotReady => not_ready * 100 >= end.device_packets.unwrap_or(0),
            _ => true,
        })
        .map(|(kind, moved)| {
            let code = match kind {
                Trouble::Loss => "RDMA-LOSS",
                Trouble::NotReady => "RDMA-NOT-READY",
                Trouble::Discard => "RDMA-DISCARDS",
                Trouble::Pause => "RDMA-PAUSED",
                Trouble::Congestion => "RDMA-CONGESTION",
            };
            let list: Vec<String> = moved.iter().map(|(name, by)| format!("{name} +{by}")).collect();
            let evidence = format!("{}: {} at the {}: {}", step.name, end.device, end.end, list.join(", "));
            moved.into_iter().fold(Finding::new(code, evidence), |f, (name, by)| f.with(name, by))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::{Dcb, DcbPfc};
    use pathproof_model::{Direction, End, Environment, MtuLimit, MtuPath, Node, StepKind, Tool};

    fn rdma_step() -> Step {
        let end = |end: End, netdev: &str| RdmaEnd {
            end,
            device: format!("{netdev}-rdma"),
            fabric: Fabric::Roce,
            netdev: Some(netdev.into()),
            path_mtu_bytes: Some(4096),
            active_mtu_bytes: Some(4096),
            ..RdmaEnd::default()
        };
        let mut step = Step::new(StepKind::Stream, "stream");
        step.detail.proof = Some(RdmaProof::weigh(vec![end(End::Client, "a0"), end(End::Server, "b0")]));
        step
    }

    fn doc(path_ip_mtu: Option<u32>, pfc: [Option<&[u8]>; 2]) -> ResultDoc {
        let host = |name: &str, enabled: Option<&[u8]>| {
            let pfc = enabled.map(|on| DcbPfc { enabled_priorities: on.to_vec(), classes_max: None });
            let dcb = pfc.map(|pfc| Dcb { pfc: Some(pfc), ..Dcb::default() });
            Some(Environment {
                nics: vec![Nic { name: name.into(), dcb, ..Nic::default() }],
                ..Environment::default()
            })
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(host("a0", pfc[0])), Node::agent("b", host("b0", pfc[1]))];
        let mut measured = Step::new(StepKind::Mtu, "mtu");
        measured.detail.paths = Some(vec![path(path_ip_mtu)]);
        doc.steps.push(measured);
        doc
    }

    fn path(ip_mtu_bytes: Option<u32>) -> MtuPath {
        MtuPath {
            local_nic: "a0".into(),
            remote_nic: Some("b0".into()),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            family: 4,
            direction: Direction::Out,
            method: pathproof_model::MtuMethod::Agent,
            ip_mtu_bytes,
            limit: MtuLimit::Unknown,
            numbers: None,
            proven_ip_bytes: None,
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
            fragments: None,
            probes: 0,
            loss_rounds: 0,
            elapsed_ns: 0,
            tried: vec![],
        }
    }

    fn codes(doc: &ResultDoc) -> Vec<(String, Severity)> {
        findings(&rdma_step(), doc).into_iter().map(|f| (f.code, f.severity)).collect()
    }

    #[test]
    fn a_path_below_the_rdma_mtu_is_named_with_both_numbers_and_once() {
        let none = [None, None];
        assert_eq!(codes(&doc(Some(4192), none)), []);
        assert_eq!(codes(&doc(None, none)), [], "unknown is no verdict");
        assert_eq!(codes(&doc(Some(4160), none)), [("RDMA-MTU-PATH".into(), Severity::Warning)]);
        let mut small = doc(Some(1500), none);
        let found = findings(&rdma_step(), &small);
        let text = format!("{} {}", found[0].evidence, found[0].next);
        for number in ["4096", "4192", "1500", "1024"] {
            assert!(text.contains(number), "{number} in {text}");
        }
        assert_eq!(found[0].severity, Severity::Error);
        small.findings.extend(found);
        assert_eq!(codes(&small), [], "once");
    }

    #[test]
    fn retries_that_were_spent_are_known_by_their_cause_and_not_by_words() {
        let found = |cause: Option<ErrorCause>| {
            let mut step = rdma_step();
            let words = "Send of 4096 bytes: the peer is gone (transport retry counter exceeded)";
            let error = pathproof_model::StepError::new(ErrorKind::PeerLost, words.into()).caused_by(cause);
            step.lanes = vec![pathproof_model::LaneResult {
                error: Some(error),
                ..pathproof_model::LaneResult::default()
            }];
            findings(&step, &doc(None, [None, None])).into_iter().map(|f| f.code).collect::<Vec<_>>()
        };
        assert_eq!(found(Some(ErrorCause::RetriesSpent)), ["RDMA-RETRY-EXCEEDED"]);
        assert_eq!(found(Some(ErrorCause::Closed)), [""; 0]);
        assert_eq!(found(None), [""; 0]);
    }

    #[test]
    fn pfc_on_different_priorities_is_named() {
        let found = |a, b| codes(&doc(None, [a, b]));
        assert_eq!(found(Some(&[3]), Some(&[3])), []);
        assert_eq!(found(Some(&[3]), None), []);
        assert_eq!(found(Some(&[3]), Some(&[])), [("RDMA-PFC-DIFFERS".into(), Severity::Warning)]);
    }
}
