//! The evidence for RDMA: counters before and after a step at both ends, and what they say.

use std::collections::BTreeMap;

use pathproof_model::rdma::largest_rdma_mtu;
use pathproof_model::{
    ErrorKind, Finding, Half, LaneResult, RdmaEnd, RdmaProof, Step, StepSpec, TrafficSpec,
};
use pathproof_rdma::Sysfs;
use pathproof_rdma::proof::{Snapshot, Trouble, trouble};

/// Counters before the step; nothing for other transports.
pub struct Before(Option<Snapshot>);

impl Before {
    /// Reads the counters if this step goes over RDMA.
    pub fn take(spec: &TrafficSpec) -> Before {
        Before((spec.over == "rdma").then(|| Snapshot::take(&Sysfs::default())))
    }

    /// Reads them again and puts this end's evidence into its half.
    pub fn attach(self, half: &mut Half, end: &str) {
        let Some(before) = self.0 else { return };
        let after = Snapshot::take(&Sysfs::default());
        let mut ends: BTreeMap<(String, u8), RdmaEnd> = BTreeMap::new();
        for lane in &half.lanes {
            let Some(device) = lane.chosen.get("rdma_device") else { continue };
            let port = lane.chosen.get("rdma_port").and_then(|p| p.parse().ok()).unwrap_or(1);
            let known = ends.entry((device.clone(), port)).or_insert_with(|| blank(lane, end, device, port));
            let moved =
                ["lane_sent_bytes", "lane_received_bytes"].map(|name| lane.counters.get(name).copied());
            if let [Some(sent), Some(received)] = moved {
                *known.application_bytes.get_or_insert(0) += sent + received;
            }
        }
        for ((device, port), known) in &mut ends {
            let Some(carried) = after.since(&before, device, *port) else { continue };
            known.netdev = carried.netdev;
            known.device_bytes = carried.bytes;
            known.device_bytes_source = carried.bytes_source.map(Into::into);
            known.device_packets = carried.packets;
            known.counters = carried.moved;
        }
        let ends: Vec<RdmaEnd> = ends.into_values().collect();
        half.detail = serde_json::to_value(ends).unwrap_or_default();
    }
}

fn blank(lane: &LaneResult, end: &str, device: &str, port: u8) -> RdmaEnd {
    let counter = |name: &str| lane.counters.get(name).copied();
    RdmaEnd {
        end: end.into(),
        device: device.into(),
        port,
        fabric: lane.chosen.get("rdma_fabric").cloned().unwrap_or_default(),
        gid: lane.chosen.get("rdma_gid").cloned(),
        path_mtu_bytes: counter("rdma_path_mtu_bytes"),
        active_mtu_bytes: counter("rdma_active_mtu_bytes"),
        ip_mtu_bytes: counter("netdev_ip_mtu_bytes"),
        ..RdmaEnd::default()
    }
}

/// The step's proof from both halves.
pub fn merge(spec: &TrafficSpec, step: &mut Step, client: &Half, server: &Half) {
    if spec.over != "rdma" {
        return;
    }
    let of = |half: &Half| serde_json::from_value::<Vec<RdmaEnd>>(half.detail.clone()).unwrap_or_default();
    step.detail.proof = Some(RdmaProof::weigh([of(client), of(server)].concat()));
}

/// What the proof and its counters show that somebody should be told.
pub fn findings(step: &Step) -> Vec<Finding> {
    let Some(proof) = &step.detail.proof else { return vec![] };
    let mut found = vec![];
    if let Some(end) = proof.contradicted() {
        let finding = Finding::new("RDMA-NOT-USED", format!("{}: {}", step.name, proof.reason));
        found.push(finding.with("device", end.device.as_str()).with("end", end.end.as_str()));
    }
    found.extend(path_mtu(step, proof));
    found.extend(dead(step));
    found.extend(smaller_passes(step));
    found.extend(proof.ends.iter().flat_map(|end| counters(step, end)));
    found.extend(step.lanes.iter().find_map(|lane| {
        let why = lane.chosen.get("depth")?;
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
        found.push(Finding::new("RDMA-MTU-DIFFERS", evidence).with(&a.end, *a_mtu).with(&b.end, *b_mtu));
    }
    for (end, active) in active {
        let allowed = end.ip_mtu_bytes.and_then(largest_rdma_mtu);
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

/// A step whose packets went unanswered until all retries were spent.
fn dead(step: &Step) -> Option<Finding> {
    let lost = |e: &pathproof_model::StepError| {
        e.kind == ErrorKind::PeerLost && e.message.contains("retry counter exceeded")
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
    let traffic = match &mut spec {
        StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => t,
        _ => return None,
    };
    traffic.lanes = 1;
    (traffic.warmup_ns, traffic.time_ns, traffic.cooldown_ns) = (0, 500_000_000, 0);
    traffic.options.insert("path_mtu".into(), SMALL_RDMA_MTU.to_string());
    traffic.options.insert(FOLLOWS.into(), path_mtu.to_string());
    Some(spec)
}

const SMALL_RDMA_MTU: u64 = 1024;
/// Option by which a follow-up knows the path MTU that failed; not passed to the transport.
pub const FOLLOWS: &str = "follows_path_mtu";

/// The conclusion from a follow-up that went through.
fn smaller_passes(step: &Step) -> Option<Finding> {
    let traffic = step.spec.as_ref()?.traffic()?;
    let failed: u64 = traffic.options.get(FOLLOWS)?.parse().ok()?;
    let bytes = step.summary.bytes.filter(|b| *b > 0 && step.error.is_none())?;
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
