//! The command that proves a fix: the shortest one that measures the same again.

use pathproof_model::mtu::MtuLimit;
use pathproof_model::{CommandName, Direction, NodeSpec, ResultDoc, Subject};

/// The command for what was found out about `subject`; the whole run again where nothing shorter tells.
pub(super) fn command(doc: &ResultDoc, subject: Option<&Subject>) -> String {
    let peer = peer(doc);
    let again = || match doc.plan().map(|plan| &plan.command) {
        Some(CommandName::Other(_)) | None => format!("pathproof check {peer}"),
        Some(command) => format!("pathproof {command} {peer}"),
    };
    // Only an agent answers single measurements.
    if doc.nodes.get(1).is_none_or(|node| !node.spec.is_agent()) || doc.nodes.len() > 2 {
        return again();
    }
    match subject {
        Some(Subject::Mtu) => format!("pathproof mtu {peer}{}", expected_mtu(doc)),
        Some(Subject::Latency(over)) => format!("pathproof bench pingpong {peer}{}", carrier(over)),
        Some(Subject::Throughput { over, direction }) => {
            let way = direction.filter(|way| *way != Direction::Out);
            let way = way.map(|way| format!(" --direction {}", way.name())).unwrap_or_default();
            format!("pathproof bench stream {peer}{way}{}", carrier(over))
        }
        Some(Subject::Migrate(over)) => format!("pathproof migrate {peer}{}", carrier(over)),
        Some(Subject::Ports) => format!("pathproof check {peer} --quick"),
        _ => again(),
    }
}

fn carrier(over: &str) -> String {
    if over == pathproof_model::plan::DEFAULT_OVER { String::new() } else { format!(" --over {over}") }
}

/// Of the NIC that is limited, and what it is set to send.
fn expected_mtu(doc: &ResultDoc) -> String {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let limited: Vec<_> =
        paths.filter(|path| !matches!(path.limit, MtuLimit::None | MtuLimit::Local)).collect();
    let sent = limited.iter().filter_map(|path| path.sender_ip_mtu_bytes()).max();
    let mut nics: Vec<&str> = limited.iter().map(|path| path.local_nic.as_str()).collect();
    nics.sort_unstable();
    nics.dedup();
    let nic = match nics[..] {
        [nic] if is_word(nic) => format!(" --nic {nic}"),
        _ => String::new(),
    };
    nic + &sent.map(|bytes| format!(" --expect {bytes}")).unwrap_or_default()
}

fn peer(doc: &ResultDoc) -> String {
    match doc.nodes.get(1) {
        Some(node) if node.spec == NodeSpec::Own => "--self".into(),
        Some(node) if is_word(&node.name) => node.name.clone(),
        _ => "PEER".into(),
    }
}

/// People paste the command into a shell, and names come from outside.
fn is_word(name: &str) -> bool {
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || "._:%-[]/@".contains(letter);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(harmless)
}
