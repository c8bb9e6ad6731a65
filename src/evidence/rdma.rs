//! What the RDMA devices counted, port by port: the proof that bytes really went over them.

use std::collections::BTreeMap;
use std::time::Duration;

use pathproof_model::{AdapterRecord, End, Evidence as Record, Fabric, Half, RdmaEnd};
use pathproof_rdma::Sysfs;
use pathproof_rdma::proof::Snapshot;

use super::{About, Evidence};

/// What TCP below an iWARP lane is given to send what it still holds.
const SETTLE: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(10);

/// Counters before the step; nothing where its lanes use no adapter.
pub struct Rdma {
    before: Option<Snapshot>,
    end: End,
}

impl Evidence for Rdma {
    fn before(about: &About) -> Rdma {
        Rdma { before: about.adapter.then(|| Snapshot::take(&Sysfs::default())), end: about.end }
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, half: &mut Half, _record: &mut Record) {
        let Rdma { before: Some(before), end } = *self else { return };
        let mut after = Snapshot::take(&Sysfs::default());
        let mut ends: BTreeMap<(String, u8), RdmaEnd> = BTreeMap::new();
        for lane in &half.lanes {
            let Some(used) = &lane.adapter else { continue };
            let known = ends.entry((used.device.clone(), used.port)).or_insert_with(|| blank(used, end));
            // On iWARP "sent" means that TCP has the bytes: of a lane that broke, some never left the host.
            let left = lane.error.is_none() || known.fabric != Fabric::Iwarp;
            *known.application_bytes.get_or_insert(0) +=
                used.received_bytes + if left { used.sent_bytes } else { 0 };
        }
        // On iWARP a completed send may still lie in TCP's buffer, and is counted when it leaves: within moments.
        let short = |after: &Snapshot| {
            ends.iter().filter(|(_, end)| end.fabric == Fabric::Iwarp).any(|((device, port), end)| {
                let counted = after.since(&before, device, *port).and_then(|carried| carried.bytes);
                counted.zip(end.application_bytes).is_some_and(|(counted, payload)| counted < payload)
            })
        };
        let mut naps = SETTLE.as_millis() / NAP.as_millis();
        while short(&after) && naps > 0 {
            naps -= 1;
            std::thread::sleep(NAP);
            after = Snapshot::take(&Sysfs::default());
        }
        for ((device, port), known) in &mut ends {
            let Some(carried) = after.since(&before, device, *port) else { continue };
            known.netdev = carried.netdev;
            known.device_bytes = carried.bytes;
            known.device_bytes_source = carried.bytes_source.map(Into::into);
            known.device_packets = carried.packets;
            known.counters = carried.moved;
        }
        half.detail.rdma = ends.into_values().collect();
    }
}

fn blank(used: &AdapterRecord, end: End) -> RdmaEnd {
    RdmaEnd {
        end,
        device: used.device.clone(),
        port: used.port,
        fabric: used.fabric,
        gid: used.gid.clone(),
        path_mtu_bytes: used.path_mtu_bytes.map(Into::into),
        active_mtu_bytes: used.active_mtu_bytes.map(Into::into),
        ip_mtu_bytes: used.ip_mtu_bytes.map(Into::into),
        ..RdmaEnd::default()
    }
}
