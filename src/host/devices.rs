//! `pathproof devices`: the NICs and RDMA devices of this machine, for people.

use pathproof_model::environment::{Dcb, DcbApplication, Observed};
use pathproof_model::units::{BitsPerSecond, Bytes};
use pathproof_model::{Nic, RdmaDevice};
use pathproof_report::layout::{Line, hanging, table};

/// What was observed, for people.
pub fn text(observed: &Observed) -> Vec<Line> {
    let environment = &observed.environment;
    let header = ["NIC", "KIND", "LINK", "SPEED", "IP MTU", "MAX", "QUEUES RX/TX", "NUMA", "DRIVER"];
    let rows = environment.nics.iter().map(row).collect();
    let mut lines = table(&header, rows, &[1, 2, 8]);
    for nic in &environment.nics {
        lines.extend(details(nic));
    }
    lines.push(Line::default());
    match environment.rdma.as_slice() {
        [] => lines.push("RDMA devices: none".into()),
        devices => devices.iter().for_each(|device| lines.extend(rdma(device))),
    }
    let clock = environment.clock_source.as_deref().unwrap_or("unknown");
    let stamp = environment.clock_stamp_ns.map_or("unknown".into(), |ns| format!("{ns} ns"));
    lines.push(format!("clock source {clock}, one time stamp {stamp}").into());
    for finding in &observed.findings {
        lines.push(Line::default());
        lines.extend(hanging(&format!("{}  ", finding.code), &finding.evidence));
        lines.extend(hanging("  next  ", &finding.next));
    }
    if !environment.unreadable.is_empty() {
        lines.push(Line::default());
        lines.push("could not be read:".into());
        for (what, why) in &environment.unreadable {
            lines.extend(hanging(&format!("  {what}: "), why));
        }
    }
    lines
}

fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".into(), |v| v.to_string())
}

fn row(nic: &Nic) -> Vec<String> {
    let link = match (nic.up, nic.carrier) {
        (Some(false), _) => "down",
        (_, Some(true)) => "up",
        (_, Some(false)) => "no carrier",
        _ => "-",
    };
    vec![
        nic.name.clone(),
        known(nic.kind.as_ref()),
        link.into(),
        known(nic.speed_bits_per_s.map(BitsPerSecond)),
        known(nic.ip_mtu_bytes),
        known(nic.ip_mtu_max_bytes),
        format!("{}/{}", known(nic.receive_queues), known(nic.transmit_queues)),
        known(nic.numa_node),
        known(nic.driver.as_ref()),
    ]
}

fn details(nic: &Nic) -> Vec<Line> {
    let addresses: Vec<String> =
        nic.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix_len)).collect();
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
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if text.is_empty() { Vec::new() } else { hanging(&format!("  {}: ", nic.name), &text) }
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
        let entry = |a: &DcbApplication| format!("{} {} priority {}", a.selector, a.protocol, a.priority);
        format!("applications {}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
    });
    let parts: Vec<String> = [Some(pfc), ets, applications].into_iter().flatten().collect();
    format!("DCB: {}", parts.join(", "))
}

fn rdma(device: &RdmaDevice) -> Vec<Line> {
    let parts = [
        device.transport.clone(),
        device.netdev.as_ref().map(|netdev| format!("on {netdev}")),
        device.port_state.as_ref().map(|state| format!("port {state}")),
        device.rdma_path_mtu_bytes.map(|n| format!("active rdma_path_mtu {}", Bytes(n.into()))),
        device.firmware.as_ref().map(|firmware| format!("firmware {firmware}")),
        device.smb_direct.as_ref().map(|fit| format!("SMB Direct: {fit}")),
    ];
    let mut lines = hanging(
        &format!("RDMA {}: ", device.name),
        &parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
    );
    let pairs = |map: Vec<String>, what: &str| match map.join(", ") {
        text if text.is_empty() => Vec::new(),
        text => hanging(&format!("  {what}: "), &text),
    };
    lines.extend(pairs(device.gids.clone(), "GIDs"));
    lines.extend(pairs(device.limits.iter().map(|(k, v)| format!("{k} {v}")).collect(), "limits"));
    lines.extend(pairs(device.settings.iter().map(|(k, v)| format!("{k} {v}")).collect(), "settings"));
    lines
}
