//! What `/sys/class/infiniband` tells about RDMA devices: kind, ports, GID tables, network interfaces, counters.
//! Needs neither libraries nor privileges, so it also works where verbs do not. It refuses to turn an unreadable
//! file into a zero: what cannot be read is `None` or absent.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

pub use pathproof_api::Fabric;

use crate::ffi::Gid;

/// Where the kernel shows RDMA devices and network interfaces.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Sysfs { root: "/sys".into() }
    }
}

/// One RDMA device.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// Kernel name (`mlx5_0`, `rxe0`).
    pub name: String,
    /// Firmware version, where there is firmware.
    pub firmware: Option<String>,
    /// Board or part identifier.
    pub board: Option<String>,
    /// Node GUID, as the kernel prints it.
    pub node_guid: Option<String>,
    /// Ports, by number.
    pub ports: Vec<PortInfo>,
}

/// One port of a device.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// Number, from 1.
    pub number: u8,
    /// What it speaks.
    pub fabric: Fabric,
    /// Whether its state is ACTIVE; `None` when unknown.
    pub active: Option<bool>,
    /// State, as the kernel prints it (`4: ACTIVE`).
    pub state: Option<String>,
    /// Rate, as the kernel prints it (`100 Gb/sec (4X EDR)`).
    pub rate: Option<String>,
    /// Used entries of the GID table.
    pub gids: Vec<GidEntry>,
}

impl PortInfo {
    /// The network interface below, as far as the GID table names one.
    pub fn netdev(&self) -> Option<&str> {
        self.gids.iter().find_map(|gid| gid.netdev.as_deref())
    }
}

/// One used entry of a GID table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GidEntry {
    /// Position in the table; what `--gid` takes.
    pub index: u8,
    /// The GID.
    pub gid: Gid,
    /// Type, as the kernel prints it (`RoCE v2`, `IB/RoCE v1`).
    pub kind: Option<String>,
    /// Network interface it belongs to.
    pub netdev: Option<String>,
}

impl GidEntry {
    /// Whether packets sent with it are RoCE v2 (UDP), which can be routed.
    pub fn is_roce_v2(&self) -> bool {
        self.kind.as_deref() == Some("RoCE v2")
    }

    /// The IP address it stands for.
    pub fn address(&self) -> IpAddr {
        gid_address(&self.gid)
    }

    /// GID in the notation of an IP address, which is how operators know it.
    pub fn text(&self) -> String {
        gid_text(&self.gid)
    }
}

/// The IP address a GID stands for: IPv4-mapped ones give IPv4.
pub fn gid_address(gid: &Gid) -> IpAddr {
    let v6 = Ipv6Addr::from(*gid);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// A GID as text.
pub fn gid_text(gid: &Gid) -> String {
    Ipv6Addr::from(*gid).to_string()
}

impl Sysfs {
    /// mlx5: traffic class that the adapter puts on RoCE packets whatever the program asks.
    fn traffic_class_file(&self, device: &str, port: u8) -> Option<String> {
        let class = self.root.join(format!("class/infiniband/{device}/tc/{port}/traffic_class"));
        Some(fs::read_to_string(class).ok()?.trim().to_owned())
    }

    /// The traffic class that an adapter puts on all its RoCE packets, where it says that it does.
    pub fn forced_traffic_class(&self, device: &str, port: u8) -> Option<u8> {
        // Rules for single addresses may stand beside it, each in a line of its own.
        let text = self.traffic_class_file(device, port)?;
        text.lines().find_map(|line| line.trim().strip_prefix("Global tclass=").unwrap_or(line).parse().ok())
    }

    /// How a port is set up, by name.
    pub fn settings(&self, device: &DeviceInfo, port: &PortInfo) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        if let Some(rate) = &port.rate {
            settings.insert("rate".into(), rate.clone());
        }
        if let Some(class) = self.traffic_class_file(&device.name, port.number) {
            settings.insert("traffic_class".into(), class);
        }
        // What connections made by the connection manager carry. The folder exists once somebody has made it; making it
        // would change the machine.
        let defaults = format!("kernel/config/rdma_cm/{}/ports/{}", device.name, port.number);
        for name in ["default_roce_tos", "default_roce_mode"] {
            if let Ok(value) = fs::read_to_string(self.root.join(&defaults).join(name)) {
                settings.insert(name.into(), value.trim().to_owned());
            }
        }
        settings
    }

    /// A tree other than `/sys`, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Sysfs {
        Sysfs { root: root.into() }
    }

    fn class(&self) -> PathBuf {
        self.root.join("class/infiniband")
    }

    /// Whether the kernel has RDMA support at all.
    pub fn has_rdma(&self) -> bool {
        self.class().is_dir()
    }

    /// Whether programs can reach the devices (`ib_uverbs` is loaded).
    pub fn has_user_verbs(&self) -> bool {
        self.root.join("class/infiniband_verbs").is_dir()
    }

    /// Names of all devices, sorted.
    pub fn device_names(&self) -> Vec<String> {
        names(&self.class())
    }

    /// All devices, sorted by name.
    pub fn devices(&self) -> Vec<DeviceInfo> {
        self.device_names().iter().map(|name| self.device(name)).collect()
    }

    /// One device.
    pub fn device(&self, name: &str) -> DeviceInfo {
        let folder = self.class().join(name);
        let node_type = text(&folder.join("node_type")).unwrap_or_default();
        let mut numbers: Vec<u8> =
            names(&folder.join("ports")).iter().filter_map(|port| port.parse().ok()).collect();
        numbers.sort_unstable();
        DeviceInfo {
            name: name.to_owned(),
            firmware: text(&folder.join("fw_ver")),
            board: text(&folder.join("board_id")),
            node_guid: text(&folder.join("node_guid")),
            ports: numbers.into_iter().map(|number| port(&folder, number, &node_type)).collect(),
        }
    }

    /// Counters of a port (`counters/…`, `hw_counters/…`), by name. `hw_counters` of the device itself are
    /// included where the driver keeps them there.
    pub fn counters(&self, device: &str, port: u8) -> BTreeMap<String, u64> {
        let folder = self.class().join(device);
        let port = folder.join("ports").join(port.to_string());
        let mut all = BTreeMap::new();
        for from in [folder.join("hw_counters"), port.join("hw_counters"), port.join("counters")] {
            for name in names(&from) {
                // `lifespan` is a setting of the cache, not a counter.
                if name != "lifespan"
                    && let Some(value) = number(&from.join(&name))
                {
                    all.insert(name, value);
                }
            }
        }
        all
    }

    /// Byte and packet counters of a network interface (`statistics/…`), by name.
    pub fn netdev_counters(&self, netdev: &str) -> BTreeMap<String, u64> {
        let folder = self.root.join("class/net").join(netdev).join("statistics");
        names(&folder).into_iter().filter_map(|n| number(&folder.join(&n)).map(|v| (n, v))).collect()
    }

    /// IP MTU of a network interface, in bytes. (In a fresh network namespace `/sys` may show the parent's
    /// interfaces; names that do not exist there give `None`.)
    pub fn ip_mtu_bytes(&self, netdev: &str) -> Option<u32> {
        number(&self.root.join("class/net").join(netdev).join("mtu")).and_then(|mtu| u32::try_from(mtu).ok())
    }
}

fn port(device: &Path, number: u8, node_type: &str) -> PortInfo {
    let folder = device.join("ports").join(number.to_string());
    let link_layer = text(&folder.join("link_layer"));
    // `node_type` is "1: CA", "4: RNIC" (IBTA vol. 1, NodeInfo; RNIC is iWARP).
    let fabric = match (node_type.split(':').next().map(str::trim), link_layer.as_deref()) {
        (Some("4"), _) => Fabric::Iwarp,
        (Some("1"), Some("InfiniBand")) => Fabric::InfiniBand,
        (Some("1"), Some("Ethernet")) => Fabric::Roce,
        _ => Fabric::Unknown,
    };
    let state = text(&folder.join("state"));
    PortInfo {
        number,
        fabric,
        active: state.as_deref().map(|s| s.starts_with("4:")),
        state,
        rate: text(&folder.join("rate")),
        gids: gids(&folder),
    }
}

/// Reads the GID table. Unused entries are all zero, and reading their type fails with EINVAL: they are skipped.
/// Tables have up to 1024 places and reading each costs a system call, so a long run of empty ones ends the scan.
fn gids(port: &Path) -> Vec<GidEntry> {
    const EMPTY_RUN: u32 = 32;
    let mut found = Vec::new();
    let mut empty = 0;
    for index in 0..=u8::MAX {
        let Some(words) = text(&port.join(format!("gids/{index}"))) else { break };
        match parse_gid(&words) {
            Some(gid) if gid != [0; 16] => {
                empty = 0;
                found.push(GidEntry {
                    index,
                    gid,
                    kind: text(&port.join(format!("gid_attrs/types/{index}"))),
                    netdev: text(&port.join(format!("gid_attrs/ndevs/{index}"))),
                });
            }
            _ => {
                empty += 1;
                if empty == EMPTY_RUN {
                    break;
                }
            }
        }
    }
    found
}

/// `fe80:0000:0000:0000:…`, always eight groups of four digits.
fn parse_gid(words: &str) -> Option<Gid> {
    words.parse::<Ipv6Addr>().ok().map(|address| address.octets())
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> Option<String> {
    let content = fs::read_to_string(path).ok()?;
    let content = content.trim();
    (!content.is_empty()).then(|| content.to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small `/sys` in a temporary folder.
    pub(crate) struct FakeSys {
        pub root: PathBuf,
    }

    impl FakeSys {
        pub fn new(name: &str) -> FakeSys {
            let root = std::env::temp_dir().join(format!("pathproof-sysfs-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            FakeSys { root }
        }

        pub fn file(&self, path: &str, content: &str) -> &FakeSys {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        /// A RoCE device as Linux shows it: link-local at index 0, IPv4-mapped v1 and v2 behind.
        pub fn roce(&self, device: &str, netdev: &str, ip: &str, active: bool) -> &FakeSys {
            let base = format!("class/infiniband/{device}");
            let port = format!("{base}/ports/1");
            let mapped = format!("0000:0000:0000:0000:0000:ffff:{ip}");
            self.file(&format!("{base}/node_type"), "1: CA\n")
                .file(&format!("{port}/link_layer"), "Ethernet\n")
                .file(&format!("{port}/state"), if active { "4: ACTIVE\n" } else { "1: DOWN\n" })
                .file(&format!("{port}/rate"), "100 Gb/sec (4X EDR)\n");
            let table = [
                ("fe80:0000:0000:0000:0000:0000:0000:0001", "RoCE v2"),
                (mapped.as_str(), "IB/RoCE v1"),
                ("0000:0000:0000:0000:0000:0000:0000:0000", ""),
                (mapped.as_str(), "RoCE v2"),
            ];
            for (index, (gid, kind)) in table.iter().enumerate() {
                self.file(&format!("{port}/gids/{index}"), gid);
                if !kind.is_empty() {
                    self.file(&format!("{port}/gid_attrs/types/{index}"), kind)
                        .file(&format!("{port}/gid_attrs/ndevs/{index}"), netdev);
                }
            }
            self.file(&format!("class/net/{netdev}/mtu"), "4500\n")
        }
    }

    impl Drop for FakeSys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn a_gid_table_with_holes_is_read_without_its_holes() {
        let fake = FakeSys::new("holes");
        fake.roce("mlx5_0", "eth4", "0a00:0001", true);
        let device = Sysfs::at(&fake.root).device("mlx5_0");
        let port = &device.ports[0];
        assert_eq!(port.fabric, Fabric::Roce);
        assert_eq!(port.active, Some(true));
        assert_eq!(port.gids.iter().map(|g| g.index).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(port.gids[2].address(), "10.0.0.1".parse::<IpAddr>().unwrap());
        assert!(port.gids[2].is_roce_v2() && !port.gids[1].is_roce_v2());
        assert_eq!(port.netdev(), Some("eth4"));
    }

    #[test]
    fn counters_come_from_all_three_places_and_what_cannot_be_read_is_absent() {
        let fake = FakeSys::new("counters");
        let base = "class/infiniband/x0";
        fake.file(&format!("{base}/ports/1/hw_counters/out_of_sequence"), "7\n")
            .file(&format!("{base}/ports/1/hw_counters/lifespan"), "10\n")
            .file(&format!("{base}/ports/1/counters/port_xmit_data"), "100\n")
            .file(&format!("{base}/ports/1/counters/odd"), "N/A (no PMA)\n");
        let counters = Sysfs::at(&fake.root).counters("x0", 1);
        assert_eq!(counters.get("out_of_sequence"), Some(&7));
        assert_eq!(counters.get("port_xmit_data"), Some(&100));
        assert_eq!(counters.len(), 2, "{counters:?}");
    }
}
