//! Puts what an SMB server said into the result: its account and the findings.
//!
//! Asks nobody anything.

use std::net::IpAddr;

use pathproof_model::{Finding, ObtainedBy, SmbAttempt, SmbInterface, SmbServer, judge::demand};
use pathproof_smb2 as smb2;

/// Clock difference that Kerberos tolerates by default.
const CLOCK_SKEW_MAX_NS: u64 = 300 * 1_000_000_000;

/// A server's report in the words of the result document.
pub fn describe(report: &smb2::ServerReport) -> SmbServer {
    let encryption = match report.cipher {
        Some(cipher) => Some(cipher.to_string()),
        // At 3.0 and 3.0.2 there is one cipher and a capability bit for it (MS-SMB2 2.2.4).
        None if report.dialect.is_3() && report.dialect < smb2::Dialect::V3_1_1 => {
            report.capabilities.has(smb2::Capabilities::ENCRYPTION).then(|| smb2::Cipher(1).to_string())
        }
        None => None,
    };
    let interface = |nic: &smb2::Interface| SmbInterface {
        index: nic.index,
        speed_bits_per_s: nic.speed_bits_per_s,
        rss: nic.rss,
        rdma: nic.rdma,
        address: nic.address,
    };
    SmbServer {
        address: report.address.to_string(),
        dialect: report.dialect.to_string(),
        capabilities: report.capabilities.names(),
        multichannel: report.multichannel(),
        signing_required: report.signing_required,
        signing: report.signing.map(|signing| signing.to_string()),
        encryption,
        encryption_required: report.encryption_required,
        rdma_transforms: report.rdma_transforms.iter().flatten().map(ToString::to_string).collect(),
        max_read_bytes: report.max_read_bytes.into(),
        max_write_bytes: report.max_write_bytes.into(),
        max_transact_bytes: report.max_transact_bytes.into(),
        server_guid: report.guid_text(),
        clock_skew_ns: report.clock_skew_ns,
        connect_ns: nanoseconds(report.connect_time),
        round_trip_ns: nanoseconds(report.round_trip),
        interfaces: report.interfaces.iter().map(interface).collect(),
        interfaces_obtained_by: report.obtained_by.map_or(ObtainedBy::None, obtained_by),
        attempts: report.attempts.iter().map(attempt).collect(),
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn obtained_by(way: smb2::AskedBy) -> ObtainedBy {
    match way {
        smb2::AskedBy::Sessionless => ObtainedBy::Sessionless,
        smb2::AskedBy::Anonymous => ObtainedBy::Anonymous,
        smb2::AskedBy::Credentials => ObtainedBy::Credentials,
    }
}

fn attempt(attempt: &smb2::Attempt) -> SmbAttempt {
    SmbAttempt { way: obtained_by(attempt.way), outcome: sentence(&attempt.outcome) }
}

fn sentence(outcome: &smb2::AttemptOutcome) -> String {
    match outcome {
        smb2::AttemptOutcome::Answered => "answered".into(),
        smb2::AttemptOutcome::Refused(status) if status.means_not_offered() => {
            format!("the server does not answer this query: {status}")
        }
        smb2::AttemptOutcome::Refused(status) => format!("refused: {status}"),
        smb2::AttemptOutcome::LogonRefused(status) => match status.logon_sentence() {
            Some(why) => format!("logon refused: {why} ({status})"),
            None => format!("logon refused: {status}"),
        },
        smb2::AttemptOutcome::OnlyGuest => {
            "the server let the user in only as a guest, who may not ask".into()
        }
        smb2::AttemptOutcome::NeedsEncryption => {
            "the server demands an encrypted session, and no cipher was agreed".into()
        }
        smb2::AttemptOutcome::Failed(error) => error.to_string(),
        _ => "unknown".into(),
    }
}

/// What is worth a warning. `local_rdma` says whether this host has an RDMA device.
pub fn findings(report: &smb2::ServerReport, server: &SmbServer, local_rdma: bool) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut add = |finding: Finding| out.push(finding);
    if !report.dialect.is_3() {
        add(Finding::new(
            "SMB-OLD-DIALECT",
            format!("offered everything up to 3.1.1, it chose {}", server.dialect),
        ));
    } else if !server.multichannel {
        add(Finding::new("SMB-MULTICHANNEL-OFF", "the capability MULTI_CHANNEL is missing from its answer"));
    }
    if let Some(demand) =
        demand(server).filter(|_| report.dialect.is_3() && server.rdma_transforms.is_empty())
    {
        add(Finding::new(
            "SMB-RDMA-BYPASSED",
            format!("{demand} is required; RDMA transforms offered: none"),
        ));
    }
    if let Some(logon) = report
        .attempts
        .iter()
        .find(|a| a.way == smb2::AskedBy::Credentials && !matches!(a.outcome, smb2::AttemptOutcome::Answered))
    {
        let refused =
            matches!(logon.outcome, smb2::AttemptOutcome::LogonRefused(_) | smb2::AttemptOutcome::OnlyGuest);
        if refused {
            add(Finding::new("SMB-LOGON-REFUSED", sentence(&logon.outcome)));
        }
    }
    if server.interfaces_obtained_by == ObtainedBy::None {
        let tried: Vec<String> =
            server.attempts.iter().map(|a| format!("{}: {}", a.way.word(), a.outcome)).collect();
        let finding = Finding::new("SMB-LIST-REFUSED", tried.join("; "));
        add(if server.attempts.iter().any(|a| a.way == ObtainedBy::Credentials) {
            finding.with_next("Ask from an account and a host that the server allows, or on the server itself (Get-SmbServerNetworkInterface).")
        } else {
            finding
        });
    }
    out.extend(interface_findings(server, local_rdma));
    if let Some(skew) = server.clock_skew_ns.filter(|skew| skew.unsigned_abs() > CLOCK_SKEW_MAX_NS) {
        let evidence = format!("its clock is {} s off ours", skew / 1_000_000_000);
        out.push(Finding::new("SMB-CLOCK-SKEW", evidence).with("clock_skew_ns", skew));
    }
    out
}

fn interface_findings(server: &SmbServer, local_rdma: bool) -> Vec<Finding> {
    let mut out = Vec::new();
    // Index 0 is what clients skip; such entries say nothing about the choice.
    let listed: Vec<&SmbInterface> = server.interfaces.iter().filter(|nic| nic.index != 0).collect();
    let addresses = |nics: &[&SmbInterface]| {
        nics.iter().map(|nic| nic.address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let plain: Vec<_> = listed.iter().copied().filter(|nic| !nic.rss && !nic.rdma).collect();
    if !plain.is_empty() && listed.len() > 1 {
        let evidence = format!("without RSS: {}", addresses(&plain));
        out.push(Finding::new("SMB-NIC-WITHOUT-RSS", evidence));
    }
    let mut speeds: Vec<u64> = listed.iter().filter_map(|nic| nic.speed_bits_per_s).collect();
    speeds.sort_unstable();
    speeds.dedup();
    if speeds.len() > 1 {
        let words: Vec<String> =
            speeds.iter().map(|speed| pathproof_model::units::BitsPerSecond(*speed).to_string()).collect();
        out.push(Finding::new("SMB-SPEEDS-UNEQUAL", words.join(", ")));
    }
    let mut indices: Vec<u32> = listed.iter().map(|nic| nic.index).collect();
    indices.sort_unstable();
    indices.dedup();
    for index in indices {
        let own: Vec<_> = listed.iter().copied().filter(|nic| nic.index == index).collect();
        if own.iter().all(|nic| is_link_local(nic.address)) {
            let evidence = format!("interface {index} has only {}", addresses(&own));
            out.push(Finding::new("SMB-LINK-LOCAL-ONLY", evidence));
        }
    }
    if local_rdma && !listed.is_empty() && listed.iter().all(|nic| !nic.rdma) {
        let evidence = format!("{} interface addresses listed, none with RDMA", listed.len());
        out.push(Finding::new("SMB-RDMA-NIC-NOT-LISTED", evidence));
    }
    out
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
