//! Which run this was: command, time, both hosts, and the NICs that carried it.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{End, Environment, Nic, NodeSpec, ResultDoc, judge};

use super::{Block, Fact};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let plan = doc.plan();
    let command = plan.map(|p| p.command.word()).unwrap_or_default();
    let peer = match doc.nodes.get(1) {
        Some(node) if node.spec == NodeSpec::Own => " of this host against itself".to_owned(),
        Some(node) => format!(" to {}", node.name),
        None => String::new(),
    };
    let took = doc.steps.iter().map(|s| s.started_ns + s.elapsed_ns).max();
    let took = took.map(|ns| format!(", {}", Nanoseconds(ns))).unwrap_or_default();
    let title = format!("{} {}: {command}{peer}", doc.tool.name, doc.tool.version);
    let title = Block::Title { title: title.into(), note: format!("({}{took})", doc.started_at).into() };

    let same = doc.is_against_itself();
    let mut facts = Vec::new();
    for node in &doc.nodes {
        let Some(environment) = &node.environment else { continue };
        match &node.spec {
            // Its facts are those of the first.
            NodeSpec::Own => {}
            NodeSpec::Here if same => facts.push(host("host", environment)),
            spec => {
                let end = if *spec == NodeSpec::Here { End::Client } else { End::Server };
                facts.push(host(end.name(), environment));
                facts.extend(nics(doc, end, environment));
            }
        }
    }
    vec![title, Block::Facts(facts)]
}

fn host(label: &str, environment: &Environment) -> Fact {
    let name = environment.hostname.as_deref().unwrap_or("(name unknown)");
    let parts = [
        environment.operating_system.clone(),
        environment.kernel.as_ref().map(|k| format!("kernel {k}")),
        environment.cpus.map(|n| format!("{n} CPUs")),
        environment.memory_bytes.map(|n| format!("{} memory", Bytes(n))),
        environment.virtualization.clone(),
    ];
    let facts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Fact::new(label, format!("{name}: {facts}"))
}

/// The NICs that lanes of this run used at `end`.
fn nics(doc: &ResultDoc, end: End, environment: &Environment) -> Vec<Fact> {
    let mut used: Vec<&Nic> = Vec::new();
    let lanes = doc.steps.iter().flat_map(|s| &s.lanes).filter(|l| l.end == end);
    for nic in lanes.filter_map(|lane| judge::nics_of(environment, lane)).flatten() {
        if used.iter().all(|u| u.name != nic.name) {
            used.push(nic);
        }
    }
    used.into_iter().map(|nic| Fact::more(describe(nic))).collect()
}

fn describe(nic: &Nic) -> String {
    let speed = match (nic.speed_bits_per_s, nic.why_unknown("speed_bits_per_s")) {
        (Some(speed), _) => BitsPerSecond(speed).to_string(),
        (None, Some(why)) => format!("speed unknown ({why})"),
        (None, None) => "speed unknown".into(),
    };
    let parts = [
        Some(speed),
        nic.ip_mtu_bytes.map(|n| format!("ip_mtu {n}")),
        nic.driver.clone().or_else(|| nic.kind.clone()),
        nic.receive_queues.map(|n| format!("{n} receive queue{}", if n == 1 { "" } else { "s" })),
        nic.numa_node.map(|n| format!("NUMA node {n}")),
        nic.rdma_device.as_ref().map(|d| format!("RDMA {d}")),
    ];
    let facts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let addresses: Vec<_> = nic.addresses.iter().filter(|a| !link_local(a.address)).collect();
    let first = addresses.first().map(|a| format!(" {}/{}", a.address, a.prefix_len)).unwrap_or_default();
    format!("{}{first}: {facts}", nic.name)
}

fn link_local(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(a) => a.is_link_local(),
        std::net::IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}
