//! What an SMB server says about itself.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{ObtainedBy, ResultDoc, SmbServer};

use crate::layout::{Line, hanging, heading, table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let Some(smb) = &doc.smb else { return Vec::new() };
    let mut lines = vec![heading(format!("SMB SERVER {}", smb.address))];
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let skew = match smb.clock_skew_ns {
        Some(ns) if ns < 0 => format!("{} behind ours", Nanoseconds(ns.unsigned_abs())),
        Some(ns) => format!("{} ahead of ours", Nanoseconds(ns.unsigned_abs())),
        None => "unknown".into(),
    };
    for (name, text) in [
        ("dialect       ", smb.dialect.clone()),
        ("multichannel  ", yes(smb.multichannel).into()),
        ("capabilities  ", smb.capabilities.join(", ")),
        ("signing       ", signing(smb)),
        ("encryption    ", encryption(smb)),
        ("RDMA transform", transforms(smb)),
        (
            "largest I/O   ",
            format!("read {}, write {}", Bytes(smb.max_read_bytes), Bytes(smb.max_write_bytes)),
        ),
        ("server GUID   ", smb.server_guid.clone()),
        ("clock         ", skew),
        (
            "round trip    ",
            format!("{} (TCP handshake {})", Nanoseconds(smb.round_trip_ns), Nanoseconds(smb.connect_ns)),
        ),
    ] {
        lines.extend(hanging(&format!("{name}  "), &text));
    }
    lines.push(Line::default());
    lines.extend(interfaces(smb));
    lines
}

fn signing(smb: &SmbServer) -> String {
    let demand = if smb.signing_required { "required" } else { "not required" };
    match &smb.signing {
        Some(algorithm) => format!("{demand}, {algorithm}"),
        None => demand.into(),
    }
}

fn encryption(smb: &SmbServer) -> String {
    let offered = smb.encryption.clone().unwrap_or_else(|| "not offered".into());
    match smb.encryption_required {
        Some(true) => format!("{offered}, required"),
        Some(false) => format!("{offered}, not required"),
        None => offered,
    }
}

fn transforms(smb: &SmbServer) -> String {
    if smb.rdma_transforms.is_empty() { "none".into() } else { smb.rdma_transforms.join(", ") }
}

fn interfaces(smb: &SmbServer) -> Vec<Line> {
    let by = match smb.interfaces_obtained_by {
        ObtainedBy::None => "not told",
        ObtainedBy::Sessionless => "told without a session",
        ObtainedBy::Anonymous => "told to an anonymous session",
        ObtainedBy::Credentials => "told after logging on",
    };
    if smb.interfaces.is_empty() {
        let mut lines = vec![heading(format!("SERVER'S NICS: {by}"))];
        for attempt in &smb.attempts {
            lines.extend(hanging(&format!("{}: ", attempt.way), &attempt.outcome));
        }
        return lines;
    }
    let rows = smb
        .interfaces
        .iter()
        .map(|nic| {
            let mark = |yes: bool| if yes { "yes".to_owned() } else { "-".to_owned() };
            vec![
                nic.address.to_string(),
                nic.index.to_string(),
                nic.speed_bits_per_s.map_or("unknown".into(), |speed| BitsPerSecond(speed).to_string()),
                mark(nic.rss),
                mark(nic.rdma),
            ]
        })
        .collect();
    let title = format!("SERVER'S NICS ({by})");
    table(&[&title, "INDEX", "SPEED", "RSS", "RDMA"], rows, &[])
}
