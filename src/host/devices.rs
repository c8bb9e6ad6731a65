//! `pathproof devices`: the NICs and RDMA devices of this machine, for people.

use std::collections::BTreeMap;
use std::fmt::Display;

use pathproof_model::environment::{Dcb, DcbApplication, Observed};
use pathproof_model::units::{BitsPerSecond, Bytes};
use pathproof_model::{Nic, RdmaDevice};
use pathproof_report::page::{Block, Cell, Column, Fact, Row, Table, facts};

/// What was observed, for people.
pub fn page(observed: &Observed) -> Vec<Block> {
    let environment = &observed.environment;
    let columns: [Column<&Nic>; 9] = [
        Column::words("NIC", |nic| Cell::of(&nic.name)),
        Column::words("KIND", |nic| Cell::known(nic.kind.as_ref())),
        Column::words("LINK", |nic| Cell::known(link(nic))),
        Column::figures("SPEED", |nic| Cell::known(nic.speed_bits_per_s.map(BitsPerSecond))),
        Column::figures("IP MTU", |nic| Cell::known(nic.ip_mtu_bytes)),
        Column::figures("MAX", |nic| Cell::known(nic.ip_mtu_max_bytes)),
        Column::figures("QUEUES RX/TX", |nic| {
            Cell::of(format!("{}/{}", known(nic.receive_queues), known(nic.transmit_queues)))
        }),
        Column::figures("NUMA", |nic| Cell::known(nic.numa_node)),
        Column::words("DRIVER", |nic| Cell::known(nic.driver.as_ref())),
    ];
    let table = Table::new(&columns, environment.nics.iter().map(Row::One));
    let mut blocks: Vec<Block> = table.map(Block::Table).into_iter().collect();
    blocks.push(Block::List(environment.nics.iter().filter_map(details).collect()));
    blocks.push(Block::Break);
    match environment.rdma.as_slice() {
        [] => blocks.push(Block::paragraph("RDMA devices: none")),
        devices => blocks.extend(devices.iter().flat_map(rdma)),
    }
    let clock = environment.clock_source.as_deref().unwrap_or("unknown");
    let stamp = environment.clock_stamp_ns.map_or("unknown".into(), |ns| format!("{ns} ns"));
    blocks.push(Block::paragraph(format!("clock source {clock}, one time stamp {stamp}")));
    for finding in &observed.findings {
        blocks.push(Block::Break);
        blocks.push(Block::note(&finding.code, &finding.evidence));
        blocks.push(Block::List(facts([("next", &finding.next)])));
    }
    if !environment.unreadable.is_empty() {
        blocks.push(Block::Break);
        blocks.push(Block::paragraph("could not be read:"));
        blocks.push(Block::List(facts(&environment.unreadable)));
    }
    blocks
}

fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".into(), |v| v.to_string())
}

fn link(nic: &Nic) -> Option<&'static str> {
    match (nic.up, nic.carrier) {
        (Some(false), _) => Some("down"),
        (_, Some(true)) => Some("up"),
        (_, Some(false)) => Some("no carrier"),
        _ => None,
    }
}

fn details(nic: &Nic) -> Option<Fact> {
    let used = nic.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix_len));
    let taken = nic.taken_addresses.iter();
    let taken =
        taken.map(|a| format!("{}/{} (not used: another device had it, dadfailed)", a.address, a.prefix_len));
    let addresses: Vec<String> = used.chain(taken).collect();
    let off: Vec<&str> = nic.offloads.iter().filter(|(_, on)| !**on).map(|(name, _)| name.as_str()).collect();
    let parts = [
        (!addresses.is_empty()).then(|| addresses.join(", ")),
        nic.master.as_ref().map(|master| format!("part of {master}")),
        nic.rdma_device.as_ref().map(|device| format!("RDMA {device}")),
        nic.firmware.as_ref().map(|firmware| format!("firmware {firmware}")),
        (nic.full_duplex == Some(false)).then(|| "half duplex".to_owned()),
        (!off.is_empty()).then(|| format!("offloads off: {}", off.join(", "))),
        nic.dcb.as_ref().map(dcb),
        // Only where it matters: without RDMA nobody misses it.
        nic.dcb_absent
            .as_ref()
            .filter(|_| nic.rdma_device.is_some())
            .map(|why| format!("DCB unknown: {why}")),
        // Of what is software alone nobody misses a ring.
        nic.bus.as_ref().and_then(|_| unknown(nic)),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| Fact::new(&nic.name, text))
}

/// What is not known of an adapter, and why.
fn unknown(nic: &Nic) -> Option<String> {
    let each = nic.unreadable.iter().map(|one| format!("{} ({})", one.facts.join(", "), one.why));
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("unknown: {}", each.join(", ")))
}

fn dcb(dcb: &Dcb) -> String {
    fn list<T: ToString>(values: &[T], between: &str) -> String {
        values.iter().map(T::to_string).collect::<Vec<_>>().join(between)
    }
    let pfc = match dcb.pfc.as_ref().map(|pfc| pfc.enabled_priorities.as_slice()) {
        None => "PFC unknown".into(),
        Some([]) => "PFC off".into(),
        Some(on) => format!("PFC on priority {}", list(on, ", ")),
    };
    let ets = dcb.ets.as_ref().map(|ets| {
        let (classes, percent) = (list(&ets.class_of_priority, " "), list(&ets.bandwidth_percent, " "));
        format!(
            "ETS classes of priorities 0-7 {classes}, percent of classes {percent} ({})",
            list(&ets.algorithms, " ")
        )
    });
    let applications = dcb.applications.as_ref().filter(|table| !table.is_empty()).map(|table| {
        let entry =
            |a: &DcbApplication| format!("{} {} priority {}", a.selector.word(), a.protocol, a.priority);
        format!("applications {}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
    });
    let parts: Vec<String> = [Some(pfc), ets, applications].into_iter().flatten().collect();
    format!("DCB: {}", parts.join(", "))
}

fn rdma(device: &RdmaDevice) -> Vec<Block> {
    let parts = [
        device.transport.clone(),
        device.netdev.as_ref().map(|netdev| format!("on {netdev}")),
        device.port_state.as_ref().map(|state| format!("port {state}")),
        device.rdma_path_mtu_bytes.map(|n| format!("active rdma_path_mtu {}", Bytes(n.into()))),
        device.firmware.as_ref().map(|firmware| format!("firmware {firmware}")),
        device.smb_direct.as_ref().map(|fit| format!("SMB Direct: {fit}")),
    ];
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    fn pairs<V: Display>(map: &BTreeMap<String, V>) -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name} {value}")).collect()
    }
    let more = [
        ("GIDs", device.gids.clone()),
        ("limits", pairs(&device.limits)),
        ("settings", pairs(&device.settings)),
    ];
    let more =
        more.into_iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| (what, list.join(", ")));
    vec![Block::note(format!("RDMA {}", device.name), said), Block::List(facts(more))]
}
