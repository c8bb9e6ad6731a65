//! Whether the bytes of a step really went over RDMA: what the devices counted against what was sent.

use pathproof_model::units::Bytes;
use pathproof_model::{Carrier, RdmaEnd, RdmaProof, ResultDoc};

use crate::layout::{Line, hanging, table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let proofs: Vec<_> =
        doc.steps.iter().filter_map(|s| Some((s.name.as_str(), s.detail.proof.as_ref()?))).collect();
    if proofs.is_empty() {
        return Vec::new();
    }
    let rows = proofs.iter().flat_map(|(name, proof)| rows(name, proof)).collect();
    let header = ["CARRIED BY RDMA", "PROVEN", "DEVICE", "PATH MTU", "DEVICE COUNTED", "PAYLOAD"];
    let mut lines = table(&header, rows, &[1, 2]);
    for (name, proof) in proofs.iter().filter(|(_, proof)| proof.transport != Carrier::Rdma) {
        lines.extend(hanging(&format!("{name}: "), &proof.reason));
    }
    lines
}

fn rows(name: &str, proof: &RdmaProof) -> Vec<Vec<String>> {
    let proven = match proof.transport {
        Carrier::Rdma => "yes",
        Carrier::Tcp => "NO, TCP",
        Carrier::Unknown => "NO",
    };
    let end = |(i, end): (usize, &RdmaEnd)| {
        let counted = match (end.device_bytes, end.device_packets) {
            (Some(bytes), _) => Bytes(bytes).to_string(),
            (None, Some(packets)) => format!("{packets} packets"),
            (None, None) => "-".into(),
        };
        vec![
            if i == 0 { name.to_owned() } else { String::new() },
            if i == 0 { proven.to_owned() } else { String::new() },
            format!("{} {}", end.end, end.device),
            end.path_mtu_bytes.map_or("-".into(), |bytes| bytes.to_string()),
            counted,
            end.application_bytes.map_or("-".into(), |bytes| Bytes(bytes).to_string()),
        ]
    };
    if proof.ends.is_empty() {
        return vec![vec![name.to_owned(), proven.to_owned()]];
    }
    proof.ends.iter().enumerate().map(end).collect()
}
