//! The RDMA devices of this machine: identity and ports from `/sys`, limits by verbs where the library is there, and
//! whether the needs of SMB Direct are met.

use std::collections::BTreeMap;

use pathproof_model::{Environment, Nic, RdmaDevice};
use pathproof_rdma::verbs::Context;
use pathproof_rdma::{DeviceInfo, Fabric, PortInfo, Sysfs};

/// Receives that SMB Direct posts on a connection (MS-SMBD §3.1.1.1, ReceiveCreditMax of all implementations).
const SMB_DIRECT_RECEIVES: u64 = 255;
/// `device_cap_flags`: base memory management extensions, which fast registration belongs to (IBTA vol. 1, ch. 11).
const MEM_MGT_EXTENSIONS: u64 = 1 << 21;

/// All devices, and their names in `nics`.
pub(super) fn devices(nics: &mut [Nic], unreadable: &mut BTreeMap<String, String>) -> Vec<RdmaDevice> {
    let sysfs = Sysfs::default();
    let mut found = vec![];
    for device in sysfs.devices() {
        let (limits, mtus) = match limits(&device) {
            Ok(known) => known,
            Err(error) => {
                unreadable.insert(format!("{}.{}", Environment::RDMA, device.name), error);
                Default::default()
            }
        };
        for port in &device.ports {
            let netdev = port.netdev().map(str::to_owned);
            if let Some(nic) = nics.iter_mut().find(|n| Some(&n.name) == netdev.as_ref()) {
                nic.rdma_device = Some(device.name.clone());
            }
            found.push(RdmaDevice {
                name: device.name.clone(),
                transport: Some(transport(port)),
                firmware: device.firmware.clone(),
                port_state: port
                    .state
                    .as_ref()
                    .map(|s| s.split(':').next_back().unwrap_or(s).trim().to_lowercase()),
                rdma_path_mtu_bytes: mtus.get(&port.number).copied(),
                limits: limits.clone(),
                gids: port
                    .gids
                    .iter()
                    .map(|g| format!("{}: {} {}", g.index, g.kind.as_deref().unwrap_or("?"), g.text()))
                    .collect(),
                settings: sysfs.settings(&device, port),
                smb_direct: Some(smb_direct(port, &limits)),
                netdev,
            });
        }
    }
    found
}

fn transport(port: &PortInfo) -> String {
    match port.fabric {
        Fabric::Roce if port.gids.iter().any(|g| g.is_roce_v2()) => RdmaDevice::ROCE_V2.into(),
        Fabric::Roce => RdmaDevice::ROCE_V1.into(),
        other => other.name().into(),
    }
}

/// Limits by name, and the active RDMA MTU of each port.
type DeviceLimits = (BTreeMap<String, u64>, BTreeMap<u8, u32>);

fn limits(device: &DeviceInfo) -> Result<DeviceLimits, String> {
    let library = pathproof_rdma::ffi::VerbsLibrary::system()
        .map_err(|e| pathproof_rdma::words::missing_library(&e).to_string())?;
    let context = Context::open(&library, &device.name).map_err(|e| e.to_string())?;
    let a = context.attributes().map_err(|e| e.to_string())?;
    let limits = [
        ("queue_pairs", u64::try_from(a.max_qp).ok()),
        ("work_requests", u64::try_from(a.max_qp_wr).ok()),
        ("completion_queue_entries", u64::try_from(a.max_cqe).ok()),
        ("memory_regions", u64::try_from(a.max_mr).ok()),
        ("memory_region_bytes", Some(a.max_mr_size)),
        ("reads_outstanding", u64::try_from(a.max_qp_rd_atom).ok()),
        ("reads_initiated", u64::try_from(a.max_qp_init_rd_atom).ok()),
        ("capability_flags", Some(u64::from(a.device_cap_flags))),
    ];
    let mut mtus = BTreeMap::new();
    for port in &device.ports {
        // iWARP runs over TCP; what its drivers report here means nothing on the wire.
        if port.fabric == Fabric::Iwarp {
            continue;
        }
        let active = context.port(port.number).map_err(|e| e.to_string())?.active_mtu;
        if let Some(bytes) = u8::try_from(active).ok().and_then(pathproof_rdma::offer::mtu_bytes) {
            mtus.insert(port.number, bytes);
        }
    }
    Ok((limits.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?))).collect(), mtus))
}

/// The DSCP that the device's settings put on RoCE packets, where they say; the traffic class is four times that
/// (RFC 2474 §3).
pub(super) fn dscp(device: &RdmaDevice) -> Option<u8> {
    let class = |name: &str| {
        // `106`, or `Global tclass=106`.
        let text = device.settings.get(name)?;
        text.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse::<u8>().ok()
    };
    class("traffic_class")
        .or_else(|| class("default_roce_tos"))
        .filter(|class| *class > 0)
        .map(|class| class >> 2)
}

/// Whether SMB Direct can run on this port, and if not, for want of what.
fn smb_direct(port: &PortInfo, limits: &BTreeMap<String, u64>) -> String {
    let mut wants = vec![];
    if port.active == Some(false) {
        wants.push("the port is not active".to_owned());
    }
    if port.netdev().is_none() && port.fabric != Fabric::InfiniBand {
        wants.push("there is no network interface below".into());
    }
    match limits.get("work_requests") {
        None => return "unknown: the device's limits cannot be read".into(),
        Some(n) if *n < SMB_DIRECT_RECEIVES => {
            wants.push(format!("{n} receives instead of {SMB_DIRECT_RECEIVES}"))
        }
        Some(_) => {}
    }
    if limits.get("capability_flags").is_some_and(|flags| flags & MEM_MGT_EXTENSIONS == 0) {
        wants.push("no fast memory registration".into());
    }
    if limits.get("reads_initiated") == Some(&0) {
        wants.push("no RDMA reads".into());
    }
    if wants.is_empty() { "fit".into() } else { format!("not fit: {}", wants.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dscp_is_read_from_the_settings() {
        let device = |settings: &[(&str, &str)]| RdmaDevice {
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..RdmaDevice::default()
        };
        assert_eq!(dscp(&device(&[("traffic_class", "Global tclass=106")])), Some(26));
        assert_eq!(dscp(&device(&[("default_roce_tos", "104"), ("default_roce_mode", "RoCE v2")])), Some(26));
        assert_eq!(dscp(&device(&[("default_roce_tos", "0")])), None);
        assert_eq!(dscp(&device(&[("rate", "100 Gb/sec")])), None);
    }

    #[test]
    fn what_smb_direct_lacks_is_named() {
        let port = PortInfo {
            number: 1,
            fabric: Fabric::InfiniBand,
            active: Some(false),
            state: None,
            rate: None,
            gids: vec![],
        };
        let limits = |wr: u64, flags: u64| {
            BTreeMap::from([("work_requests".into(), wr), ("capability_flags".into(), flags)])
        };
        let text = smb_direct(&port, &limits(100, 0));
        assert!(
            text.contains("not active") && text.contains("100 receives") && text.contains("registration"),
            "{text}"
        );
        let up = PortInfo { active: Some(true), ..port };
        assert_eq!(smb_direct(&up, &limits(4096, MEM_MGT_EXTENSIONS)), "fit");
        assert!(smb_direct(&up, &BTreeMap::new()).starts_with("unknown"));
    }
}
