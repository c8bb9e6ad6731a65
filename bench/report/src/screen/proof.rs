//! The command that proves a fix: the shortest one that measures the same again.

use pathproof_model::mtu::MtuLimit;
use pathproof_model::{CommandName, Direction, NodeSpec, ResultDoc, StepSpec, Subject};

/// The command for what was found out about `subject`; the whole run again where nothing shorter tells.
pub(super) fn command(doc: &ResultDoc, subject: Option<&Subject>) -> String {
    let peer = peer(doc);
    let again = || match doc.plan().map(|plan| &plan.command) {
        Some(CommandName::Other(_)) | None => format!("pathproof check {peer}"),
        Some(CommandName::Check) => format!("pathproof check {peer}{}{}", roles(doc), expected(doc)),
        Some(CommandName::Contend) => contended(doc, &peer),
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
        Some(Subject::Contend(_)) => contended(doc, &peer),
        _ => again(),
    }
}

/// The same classes with what was advised: the number of migrations at once that a sweep found best, and else the caps.
fn contended(doc: &ResultDoc, peer: &str) -> String {
    let tried = || doc.steps.iter().filter_map(|step| Some((step.spec.as_ref()?.contend()?, step)));
    let Some((spec, last)) = tried().next_back() else { return format!("pathproof contend {peer}") };
    let advice = last.detail.contend.as_ref().map(|detail| &detail.advice);
    let fewer = advice.and_then(|advice| advice.migrations);
    let migrations = fewer.unwrap_or(spec.migrations);
    let mut words = vec![format!("pathproof contend {peer}{}", carrier(&spec.over))];
    if migrations != 1 {
        words.push(format!("--migrations {migrations}"));
    }
    if spec.backups > 0 {
        words.push(format!("--backups {}", spec.backups));
    }
    let caps = advice.filter(|_| fewer.is_none()).map(|advice| {
        let of = |class: &'static str, cap: Option<u64>| Some((class, cap?));
        [of("migration", advice.cap_bytes_per_s), of("backup", advice.backup_cap_bytes_per_s)]
    });
    // A cap is advised in whole MiB, and written as PowerShell writes it.
    let caps = caps.into_iter().flatten().flatten();
    words.extend(caps.map(|(class, bytes_per_s)| format!("--cap {class}={}MB", bytes_per_s >> 20)));
    let lost = tried().filter_map(|(spec, _)| spec.lost_nic.as_deref()).filter(|nic| is_word(nic));
    words.extend(lost.map(|nic| format!("--lose {nic}")));
    words.join(" ")
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
    use pathproof_model::{
        ContendAdvice, ContendDetail, ContendSpec, Criteria, Node, Plan, PortsSpec, Role, Step, StepKind,
        Tool,
    };

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
    fn contention_is_proved_with_what_was_advised() {
        let proof = |spec: ContendSpec, advice: ContendAdvice| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(None), Node::agent("hv2", None)];
            let spec = StepSpec::Contend(spec);
            let plan = Plan { command: CommandName::Contend, steps: vec![spec.clone()], ..Plan::default() };
            doc.requested = Some(plan);
            let mut step = Step::new(StepKind::Contend, "contend");
            step.spec = Some(spec);
            step.detail.contend = Some(ContendDetail { advice, ..ContendDetail::default() });
            doc.steps = vec![step];
            [command(&doc, Some(&Subject::Contend("tcp".into()))), command(&doc, None)]
        };
        let caps = ContendAdvice {
            cap_bytes_per_s: Some(12 << 20),
            backup_cap_bytes_per_s: Some(3 << 20),
            ..ContendAdvice::default()
        };
        let four = || ContendSpec { migrations: 4, backups: 1, ..ContendSpec::default() };
        let same = "pathproof contend hv2 --migrations 4 --backups 1 --cap migration=12MB --cap backup=3MB";
        assert_eq!(proof(four(), caps.clone()), [same, same]);
        // Fewer at once are advised in the place of a cap.
        let fewer = ContendAdvice { migrations: Some(2), ..caps };
        assert_eq!(proof(four(), fewer)[0], "pathproof contend hv2 --migrations 2 --backups 1");
        // Whoever names a NIC does not write commands for others to paste.
        let lost = |nic: &str| ContendSpec { lost_nic: Some(nic.into()), ..ContendSpec::default() };
        let of_lost = |nic| proof(lost(nic), ContendAdvice::default())[0].clone();
        assert_eq!(of_lost("eth1"), "pathproof contend hv2 --lose eth1");
        assert_eq!(of_lost("$(reboot)"), "pathproof contend hv2");
    }

    #[test]
    fn a_rate_is_read_as_it_was_meant() {
        for bits in [1, 999, 5000, 80_000_000, 1_000_000_000, 1_234_567_890] {
            let read = typed(bits).parse::<BitsPerSecond>().ok();
            assert_eq!(read.map(|rate| rate.0), Some(bits), "{}", typed(bits));
        }
    }
}
