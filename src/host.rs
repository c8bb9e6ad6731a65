//! Observes this machine: what bears on a network path and can be read without changing anything.
//!
//! It refuses to guess: what cannot be read stays `None`, and `unreadable` says why. Interfaces come from
//! netlink and ethtool and never from `/sys/class/net`, which inside a network namespace may show the
//! interfaces of another one.

use pathproof_engine::channels::Prefix;
use pathproof_engine::channels::hosts::Routed;
use pathproof_model::environment::Observed;
use pathproof_model::told;
use pathproof_model::{Environment, Finding, RdmaDevice};

pub mod devices;
mod nics;
pub mod peers;
mod rdma;
mod storage;
mod system;
mod unknown;
pub mod wires;

pub use pathproof_sys::host::memory_available_bytes;

/// The facts of this host and what is wrong with it at first sight.
pub fn observe() -> Observed {
    let mut environment = system::facts();
    match nics::nics(&mut environment.unreadable) {
        Ok(nics) => environment.nics = nics,
        Err(error) => {
            environment.unreadable.insert("nics".into(), format!("netlink: {error}"));
        }
    }
    environment.rdma = rdma::devices(&mut environment.nics, &mut environment.unreadable);
    match storage::iscsi() {
        Ok(ends) => environment.iscsi = Some(ends),
        Err(error) => {
            environment.unreadable.insert("iscsi".into(), error.to_string());
        }
    }
    for nic in environment.nics.iter_mut().filter(|n| n.bus.is_some() || n.rdma_device.is_some()) {
        match nics::bridging(&nic.name) {
            Ok(known) => nic.dcb = Some(known),
            Err(why) => nic.dcb_absent = Some(why),
        }
    }
    let findings = findings(&environment);
    Observed { environment, findings }
}

/// Below this speed neither queues nor offloads decide anything.
const FAST_BITS_PER_S: u64 = 10_000_000_000;

fn findings(environment: &Environment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let linked = || environment.nics.iter().filter(|nic| nic.carrier == Some(true));
    // Whatever has a duplex has negotiated one, be it the NIC itself or what lies on top of it.
    for nic in linked().filter(|nic| nic.full_duplex == Some(false)) {
        findings.push(Finding::new("NIC-HALF-DUPLEX", format!("{} negotiated half duplex", nic.name)));
    }
    // Only hardware has a bus address; a bridge with one queue is nothing to fix.
    for nic in linked().filter(|nic| nic.bus.is_some()) {
        let Some(speed) = nic.speed_bits_per_s.filter(|s| *s >= FAST_BITS_PER_S) else { continue };
        let gbit = speed / 1_000_000_000;
        if nic.receive_queues == Some(1) {
            let evidence = format!("{} ({gbit} Gbit/s) has one receive queue", nic.name);
            findings.push(Finding::new("NIC-ONE-QUEUE", evidence).tell(told::NIC, nic.name.as_str()));
        }
        let off = |name: &str| nic.offloads.get(name) == Some(&false);
        let off: Vec<_> =
            ["tcp-segmentation-offload", "generic-receive-offload"].into_iter().filter(|n| off(n)).collect();
        if !off.is_empty() {
            let evidence = format!("{} ({gbit} Gbit/s): {} off", nic.name, off.join(" and "));
            findings.push(Finding::new("NIC-OFFLOAD-OFF", evidence).tell(told::NIC, nic.name.as_str()));
        }
    }
    findings.extend(environment.rdma.iter().filter_map(|device| unprotected(device, environment)));
    findings
}

/// A RoCE device whose packets are not protected from loss although its driver could.
fn unprotected(device: &RdmaDevice, environment: &Environment) -> Option<Finding> {
    if !device.is_roce() {
        return None;
    }
    let nic = environment.nics.iter().find(|n| Some(&n.name) == device.netdev.as_ref())?;
    let dcb = nic.dcb.as_ref()?;
    let why = dcb.roce_unprotected(rdma::dscp(device))?;
    let enabled = dcb.pfc.as_ref().map(|pfc| pfc.enabled_priorities.clone()).unwrap_or_default();
    let finding = Finding::new("RDMA-PFC-OFF", format!("{} on {}: {why}", device.name, nic.name));
    Some(finding.with("device", device.name.as_str()).with("enabled_priorities", enabled))
}

/// The subnets that this host's routers reach, now.
pub fn routed() -> Vec<Routed> {
    let subnets = pathproof_sys::routes::via_routers().into_iter();
    let of = |one: pathproof_sys::routes::RoutedSubnet| Routed {
        interface: one.interface,
        subnet: Prefix { address: one.address, len: one.prefix_len },
    };
    subnets.map(of).collect()
}

#[cfg(test)]
mod tests;
