//! What each NIC of a step over several carried: by the lanes over it, and by its own count.

use pathproof_model::{End, Finding, Half, NicEvidence, NicShare, Step};

/// An interface that carried less than so many percent of what its lanes sent shows that bytes left elsewhere.
const CARRIED_PERCENT_MIN: u64 = 90;

/// Bytes below which an interface's traffic is nobody's concern (ARP, the control channel).
const IDLE_BYTES: u64 = 1 << 20;

/// Fills the step's NICs from what both ends told about theirs.
pub fn merge(step: &mut Step, client: &Half, server: &Half) {
    let mut nics = vec![];
    for (end, half) in [(End::Client, client), (End::Server, server)] {
        let Some(told) = &half.detail.nics else { continue };
        if let Some(alone) = &told.alone {
            step.chosen.insert(format!("{end} paths"), alone.clone());
        }
        nics.extend(shares(end, half, told));
    }
    if !nics.is_empty() {
        step.detail.nics = Some(nics);
    }
}

/// The NICs of one end: those that lanes were to use, and others that carried something, each with its own count.
fn shares(end: End, half: &Half, told: &NicEvidence) -> Vec<NicShare> {
    let mut shares = told.nics.clone();
    let Some(evidence) = &half.evidence else { return shares };
    for nic in evidence.nics.iter().flatten() {
        let most = nic.counts.sent_bytes.max(nic.counts.received_bytes);
        if most.is_some_and(|bytes| bytes >= IDLE_BYTES) && shares.iter().all(|own| own.nic != nic.nic) {
            shares.push(NicShare::of(end, &nic.nic));
        }
    }
    for own in &mut shares {
        let counts = evidence.nic(&own.nic).unwrap_or_default();
        (own.nic_sent_bytes, own.nic_received_bytes) = (counts.sent_bytes, counts.received_bytes);
    }
    shares.sort_by(|a, b| a.nic.cmp(&b.nic));
    shares
}

/// Whether bytes were sent or received.
#[derive(Clone, Copy)]
enum Moved {
    Sent,
    Received,
}

impl Moved {
    fn word(self) -> &'static str {
        match self {
            Moved::Sent => "sent",
            Moved::Received => "received",
        }
    }

    /// What the lanes moved over a NIC, and what it counted.
    fn bytes(self, nic: &NicShare) -> (u64, Option<u64>) {
        match self {
            Moved::Sent => (nic.lane_sent_bytes, nic.nic_sent_bytes),
            Moved::Received => (nic.lane_received_bytes, nic.nic_received_bytes),
        }
    }
}

/// What the other interfaces of the same end counted beyond what belongs on them. A tenth more is what headers may cost.
fn beyond_its_lanes(step: &Step, nic: &NicShare, moved: Moved) -> u64 {
    let others =
        step.detail.nics.iter().flatten().filter(|other| other.end == nic.end && other.nic != nic.nic);
    let more = others.map(|other| {
        let (lanes, counted) = moved.bytes(other);
        counted.unwrap_or(0).saturating_sub(lanes.saturating_add(lanes / 10))
    });
    more.fold(0, u64::saturating_add)
}

/// What the NICs' own counters show that somebody should be told.
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
        for moved in [Moved::Sent, Moved::Received] {
            let (lanes, counted) = moved.bytes(nic);
            let Some(counted) = counted.filter(|n| *n < lanes / 100 * CARRIED_PERCENT_MIN) else { continue };
            // What left by another way shows there; what shows nowhere still stood in a socket's buffer.
            let elsewhere = beyond_its_lanes(step, nic, moved);
            if lanes < IDLE_BYTES || elsewhere < (lanes - counted) / 2 {
                continue;
            }
            let evidence = format!(
                "{}: lanes {} {lanes} bytes that belong on {} of the {}, and the interface counted {counted}; others counted {elsewhere} more than \
                 belongs on them",
                step.name,
                moved.word(),
                nic.nic,
                nic.end
            );
            let finding = Finding::new("CHANNEL-LEAK", evidence);
            out.push(finding.with("lane_bytes", lanes).with("nic_bytes", counted));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use pathproof_model::{Evidence, NicActivity, NicCounts};

    use super::*;

    fn carried(lane: u64, nic: u64, deaths: u64) -> Step {
        let mut step = Step::new(pathproof_model::StepKind::Stream, "stream");
        step.detail.nics = Some(vec![NicShare {
            connections: 1,
            lane_sent_bytes: lane,
            nic_sent_bytes: Some(nic),
            deaths,
            ..NicShare::of(End::Client, "eth1")
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
        assert!(with(carried(100 << 20, 104 << 20, 0), 11 << 20).is_empty());
        assert_eq!(with(carried(100 << 20, 50 << 20, 0), 62 << 20)[0].code, "CHANNEL-LEAK");
        // Handed to the kernel, and not sent yet.
        assert!(with(carried(4_194_304, 3_599_240, 0), 11 << 20).is_empty());
        assert!(with(carried(100, 0, 0), 11 << 20).is_empty(), "too little to tell");
        assert_eq!(findings(&carried(100 << 20, 50 << 20, 1))[0].code, "CHANNEL-LOST");
    }

    #[test]
    fn a_nic_that_was_to_carry_nothing_is_listed_when_it_did_and_one_that_was_not_read_is_unknown() {
        let counted = |nic: &str, sent| NicActivity {
            nic: nic.into(),
            counts: NicCounts { sent_bytes: Some(sent), ..NicCounts::still() },
        };
        let told = NicEvidence {
            nics: vec![NicShare { connections: 2, ..NicShare::of(End::Client, "eth2") }],
            alone: Some("no two NICs share a link".into()),
            ..NicEvidence::default()
        };
        let mut client = Half::default();
        client.detail.nics = Some(told.clone());
        client.evidence = Some(Evidence {
            nics: Some(vec![counted("eth1", IDLE_BYTES), counted("eth3", IDLE_BYTES - 1)]),
            ..Evidence::default()
        });
        let mut server = Half::default();
        server.detail.nics = Some(NicEvidence { nics: vec![NicShare::of(End::Server, "eth9")], ..told });
        let mut step = Step::new(pathproof_model::StepKind::Stream, "stream");
        merge(&mut step, &client, &server);
        let nics = step.detail.nics.unwrap();
        let seen: Vec<_> =
            nics.iter().map(|own| (own.end, &own.nic[..], own.connections, own.nic_sent_bytes)).collect();
        let expected = [
            (End::Client, "eth1", 0, Some(IDLE_BYTES)),
            (End::Client, "eth2", 2, Some(0)),
            (End::Server, "eth9", 0, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(step.chosen["client paths"], "no two NICs share a link");
        let mut none = Step::new(pathproof_model::StepKind::Stream, "stream");
        merge(&mut none, &Half::default(), &Half::default());
        assert_eq!(none.detail.nics, None);
    }
}
