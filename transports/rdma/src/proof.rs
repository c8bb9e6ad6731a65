//! What the kernel counted: the evidence that bytes really went over RDMA. It refuses to be the judge: it reads
//! counters before and after, and says which of them there were.

use std::collections::BTreeMap;

use crate::sysfs::{Fabric, Sysfs};

/// Counters of every RDMA port, and of the network interfaces below, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    ports: BTreeMap<(String, u8), PortCounters>,
}

#[derive(Clone, Debug)]
struct PortCounters {
    fabric: Fabric,
    netdev: Option<String>,
    port: BTreeMap<String, u64>,
    interface: BTreeMap<String, u64>,
}

/// What happened at one port between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Network interface below.
    pub netdev: Option<String>,
    /// What the port speaks.
    pub fabric: Fabric,
    /// Bytes through the device in both directions, headers included; `None` when nothing counts them.
    pub bytes: Option<u64>,
    /// Which counters `bytes` comes from.
    pub bytes_source: Option<&'static str>,
    /// RDMA packets through the device in both directions; `None` when the driver does not count them.
    pub packets: Option<u64>,
    /// Every counter that moved, by name; those of the interface with `netdev_` before it.
    pub moved: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Reads all counters now.
    pub fn take(sysfs: &Sysfs) -> Snapshot {
        let mut ports = BTreeMap::new();
        for device in sysfs.devices() {
            for port in &device.ports {
                let netdev = port.netdev().map(str::to_owned);
                let counters = PortCounters {
                    fabric: port.fabric,
                    port: sysfs.counters(&device.name, port.number),
                    interface: netdev.as_deref().map(|n| sysfs.netdev_counters(n)).unwrap_or_default(),
                    netdev,
                };
                ports.insert((device.name.clone(), port.number), counters);
            }
        }
        Snapshot { ports }
    }

    /// What this port carried since `earlier`; `None` when it was not there both times.
    pub fn since(&self, earlier: &Snapshot, device: &str, port: u8) -> Option<Carried> {
        let key = (device.to_owned(), port);
        let (now, then) = (self.ports.get(&key)?, earlier.ports.get(&key)?);
        // A counter that went backwards was reset or wrapped: unknown, not huge.
        let delta = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>, name: &str| {
            now.get(name)?.checked_sub(*then.get(name)?)
        };
        let of_port = |name: &str| delta(&now.port, &then.port, name);
        let of_interface = |name: &str| delta(&now.interface, &then.interface, name);
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        // IBTA vol. 1, ch. 16.1.3.5: PortXmitData counts units of four octets. 32-bit ones stick at their maximum.
        let data =
            sum(of_port("port_xmit_data"), of_port("port_rcv_data")).map(|words| words.saturating_mul(4));
        let wire = sum(of_interface("tx_bytes"), of_interface("rx_bytes"));
        let (bytes, bytes_source) = match (data, wire) {
            (Some(data), _) => (Some(data), Some("port_xmit_data and port_rcv_data")),
            (None, Some(wire)) => (Some(wire), Some("tx_bytes and rx_bytes of the network interface")),
            (None, None) => (None, None),
        };
        let packets = sum(of_port("sent_pkts"), of_port("rcvd_pkts"))
            .or_else(|| sum(of_port("port_xmit_packets"), of_port("port_rcv_packets")))
            .or_else(|| sum(of_port("tx_roce_only_pkts"), of_port("rx_roce_only_pkts")));
        let mut moved = BTreeMap::new();
        for (prefix, after, before) in
            [("", &now.port, &then.port), ("netdev_", &now.interface, &then.interface)]
        {
            for name in after.keys() {
                if let Some(by) = delta(after, before, name).filter(|by| *by > 0) {
                    moved.insert(format!("{prefix}{name}"), by);
                }
            }
        }
        Some(Carried { netdev: now.netdev.clone(), fabric: now.fabric, bytes, bytes_source, packets, moved })
    }
}

/// Counters that tell of trouble, by what they tell: `(part of the name, kind)`. Names differ between drivers; the
/// parts are those of mlx5, bnxt_re, irdma, qedr, hns and rxe.
pub const TROUBLE: &[(&str, Trouble)] = &[
    ("out_of_seq", Trouble::Loss),
    ("rcvd_seq_err", Trouble::Loss),
    ("packet_seq_err", Trouble::Loss),
    ("out_of_sequence", Trouble::Loss),
    ("local_ack_timeout_err", Trouble::Loss),
    ("completer_retry_err", Trouble::Loss),
    ("retry_exceeded_err", Trouble::Loss),
    ("duplicate_request", Trouble::Loss),
    ("retransmit", Trouble::Loss),
    ("rnr_exceeded", Trouble::NotReady),
    ("rnr_nak", Trouble::NotReady),
    ("rcvd_rnr_err", Trouble::NotReady),
    ("send_rnr_err", Trouble::NotReady),
    ("out_of_buffer", Trouble::NotReady),
    ("discards", Trouble::Discard),
    ("rx_dropped", Trouble::Discard),
    ("tx_dropped", Trouble::Discard),
    ("port_xmit_wait", Trouble::Pause),
    ("pause", Trouble::Pause),
    ("cnp", Trouble::Congestion),
    ("ecn", Trouble::Congestion),
];

/// What a counter tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Packets were lost, reordered or sent again.
    Loss,
    /// Messages found no receive posted.
    NotReady,
    /// Packets were thrown away at this port.
    Discard,
    /// The port was paused (PFC or link flow control).
    Pause,
    /// The network marked congestion (ECN, CNP).
    Congestion,
}

/// What a counter of this name tells of, if of trouble.
pub fn trouble(counter: &str) -> Option<Trouble> {
    TROUBLE.iter().find(|(part, _)| counter.contains(part)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::FakeSys;

    #[test]
    fn port_data_counts_words_and_wins_over_the_interface() {
        let fake = FakeSys::new("proof");
        fake.roce("mlx5_0", "eth4", "0a00:0001", true);
        let counters = "class/infiniband/mlx5_0/ports/1/counters";
        let write = |data: u64, bytes: u64| {
            fake.file(&format!("{counters}/port_xmit_data"), &data.to_string())
                .file(&format!("{counters}/port_rcv_data"), "10")
                .file("class/net/eth4/statistics/tx_bytes", &bytes.to_string())
                .file("class/net/eth4/statistics/rx_bytes", "0");
            Snapshot::take(&Sysfs::at(&fake.root))
        };
        let (before, after) = (write(100, 7), write(350, 9));
        let carried = after.since(&before, "mlx5_0", 1).unwrap();
        assert_eq!((carried.bytes, carried.packets), (Some(1000), None));
        assert_eq!(carried.moved.get("netdev_tx_bytes"), Some(&2));
        let backwards = before.since(&after, "mlx5_0", 1).unwrap();
        assert_eq!(
            (backwards.bytes, backwards.moved.len()),
            (None, 0),
            "a counter that went backwards is unknown"
        );
        assert!(after.since(&before, "mlx5_1", 1).is_none());
    }

    #[test]
    fn counters_of_trouble_are_recognised_by_their_names() {
        assert_eq!(trouble("rnr_nak_retry_err"), Some(Trouble::NotReady));
        assert_eq!(trouble("out_of_sequence"), Some(Trouble::Loss));
        assert_eq!(trouble("np_cnp_sent"), Some(Trouble::Congestion));
        assert_eq!(trouble("sent_pkts"), None);
    }
}
