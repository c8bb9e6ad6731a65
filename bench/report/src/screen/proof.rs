//! The command that proves a fix: the shortest one that measures the same again.

use pathproof_model::mtu::MtuLimit;
use pathproof_model::{CommandName, Direction, NodeSpec, ResultDoc, StepSpec, Subject};

/// The command for what was found out about `subject`; the whole run again where nothing shorter tells.
pub(super) fn command(doc: &ResultDoc, subject: Option<&Subject>) -> String {
    let peer = peer(doc);
    let again = || match doc.plan().map(|plan| &plan.command) {
        Some(CommandName::Other(_)) | None => format!("pathproof check {peer}"),
        Some(CommandName::Check) => format!("pathproof check {peer}{}{}", roles(doc), expected(doc)),
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
        Some(Subject::Ports) => format!("pathproof check {peer} --quick{}", roles(doc)),
        _ => again(),
    }
}

/// What the path is said to be for: without it no port is judged, and what failed would pass.
fn roles(doc: &ResultDoc) -> String {
    let steps = doc.plan().into_iter().flat_map(|plan| &plan.steps);
    let ports = steps.filter_map(StepSpec::ports).next();
    let names: Vec<&str> = ports.into_iter().flat_map(|ports| &ports.roles).map(|role| role.name()).collect();
    if names.is_empty() { String::new() } else { format!(" --role {}", names.join(",")) }
}

/// What the path is expected to carry, for the same reason.
fn expected(doc: &ResultDoc) -> String {
    let Some(criteria) = &doc.criteria else { return String::new() };
    let rate =
        criteria.throughput.goodput_min_bits_per_s.map(|bits| format!(" --expect-rate {}", typed(bits)));
    let mtu = criteria.mtu.ip_mtu_min_bytes.map(|bytes| format!(" --expect-mtu {bytes}"));
    rate.into_iter().chain(mtu).collect()
}

/// A rate as it is typed, to the last bit.
fn typed(bits_per_s: u64) -> String {
    let units = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000)];
    let whole = units.into_iter().find(|(_, size)| bits_per_s.is_multiple_of(*size));
    let (unit, size) = whole.unwrap_or(("bit/s", 1));
    format!("{}{unit}", bits_per_s / size)
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

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::units::BitsPerSecond;
    use pathproof_model::{Criteria, Node, Plan, PortsSpec, Role, Tool};

    #[test]
    fn a_check_is_proved_by_one_that_asks_as_much() {
        let proofs = |roles: Vec<Role>, rate: Option<u64>, mtu: Option<u32>| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(None), Node::agent("stor2", None)];
            let ports = StepSpec::Ports(PortsSpec { roles, ..PortsSpec::default() });
            doc.requested = Some(Plan {
                command: CommandName::Check,
                steps: vec![StepSpec::Facts, ports],
                ..Plan::default()
            });
            let mut criteria = Criteria::default();
            criteria.expect(rate, mtu);
            doc.criteria = Some(criteria);
            [command(&doc, Some(&Subject::Ports)), command(&doc, None)]
        };
        assert_eq!(proofs(vec![], None, None), ["pathproof check stor2 --quick", "pathproof check stor2"]);
        // Without these words the same check would call a path fit whose port is filtered, or that is too slow.
        assert_eq!(
            proofs(vec![Role::Smb, Role::Hyperv], Some(9_400_000_000), Some(9000)),
            [
                "pathproof check stor2 --quick --role smb,hyperv",
                "pathproof check stor2 --role smb,hyperv --expect-rate 9400Mbit/s --expect-mtu 9000"
            ]
        );
    }

    #[test]
    fn a_rate_is_read_as_it_was_meant() {
        for bits in [1, 999, 5000, 80_000_000, 1_000_000_000, 1_234_567_890] {
            let read = typed(bits).parse::<BitsPerSecond>().ok();
            assert_eq!(read.map(|rate| rate.0), Some(bits), "{}", typed(bits));
        }
    }
}
