//! Chooses device, port and GID from the route to the peer, and says why. It refuses to take index 0 by default:
//! on Ethernet that is usually a link-local or a RoCE v1 entry, which many fabrics do not carry.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use pathproof_api::TransportError;

use crate::sysfs::{DeviceInfo, Fabric, GidEntry, PortInfo, Sysfs};

/// What the user fixed; everything else is chosen.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// RDMA device by name.
    pub device: Option<String>,
    /// Port by number.
    pub port: Option<u8>,
    /// GID by index.
    pub gid_index: Option<u8>,
    /// Local network interface by name.
    pub netdev: Option<String>,
    /// Local address.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub remote: Option<IpAddr>,
}

/// What a lane will use.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Device name.
    pub device: String,
    /// Port number.
    pub port: u8,
    /// What the port speaks.
    pub fabric: Fabric,
    /// GID table entry; `None` only on InfiniBand ports without a usable one.
    pub gid: Option<GidEntry>,
    /// Network interface below, if any.
    pub netdev: Option<String>,
    /// Local IP address for the connection manager.
    pub local: Option<IpAddr>,
    /// Why this device and port.
    pub device_reason: String,
    /// Why this GID.
    pub gid_reason: String,
}

/// The local address from which this machine would reach `remote`. No packet is sent.
pub fn source_address(remote: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((remote, 4791)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Addresses of the local network interfaces, by interface name.
pub fn interface_addresses() -> Vec<(String, IpAddr)> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the function allocates a list, freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: an element of the list; name is a C string; addresses have the size that their family implies.
        unsafe {
            let entry = &*at;
            if !entry.ifa_addr.is_null() {
                let name = std::ffi::CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned();
                match i32::from((*entry.ifa_addr).sa_family) {
                    libc::AF_INET => {
                        let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                        found.push((name, IpAddr::from(address.sin_addr.s_addr.to_ne_bytes())));
                    }
                    libc::AF_INET6 => {
                        let address = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                        found.push((name, IpAddr::from(address.sin6_addr.s6_addr)));
                    }
                    _ => {}
                }
            }
            at = entry.ifa_next;
        }
    }
    // SAFETY: the list made above, once.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// Chooses from what the kernel shows. `addresses` are those of [`interface_addresses`].
pub fn choose(
    sysfs: &Sysfs,
    addresses: &[(String, IpAddr)],
    wishes: &Wishes,
) -> Result<Choice, TransportError> {
    let devices = sysfs.devices();
    // The address packets to the peer will carry decides; an explicit local address decides over the route.
    let source = wishes
        .local
        .or_else(|| wishes.remote.and_then(source_address))
        .map(|ip| ip.to_canonical())
        .filter(|ip| !ip.is_unspecified());
    let source_netdev =
        source.and_then(|ip| addresses.iter().find(|(_, a)| *a == ip)).map(|(name, _)| name.as_str());
    let netdev_wanted = wishes.netdev.as_deref().or(source_netdev.filter(|name| *name != "lo"));

    let (device, port, device_reason) = match &wishes.device {
        Some(name) => {
            let device =
                devices.iter().find(|d| d.name == *name).ok_or_else(|| unknown_device(name, &devices))?;
            (device, pick_port(device, wishes.port)?, "asked for by name".to_owned())
        }
        None => by_route(&devices, wishes, netdev_wanted, source)?,
    };
    if port.active == Some(false) {
        return Err(TransportError::Unsupported {
            what: format!("RDMA device {} port {}", device.name, port.number),
            why: format!("the port is not active (state {})", port.state.as_deref().unwrap_or("unknown")),
            fix: match port.netdev() {
                Some(netdev) => format!(
                    "bring its link up: ip link set {netdev} up, and check the cable and the switch port"
                ),
                None => "check the cable and, on InfiniBand, that a subnet manager runs".into(),
            },
        });
    }
    let (gid, gid_reason) = pick_gid(device, port, wishes, source)?;
    let netdev = gid.as_ref().and_then(|g| g.netdev.clone()).or_else(|| port.netdev().map(str::to_owned));
    // The connection manager wants an IP address on the interface of the device.
    let local = source
        .filter(|ip| addresses.iter().any(|(n, a)| a == ip && Some(n) == netdev.as_ref()))
        .or_else(|| gid.as_ref().map(GidEntry::address).filter(|ip| addresses.iter().any(|(_, a)| a == ip)))
        .filter(|ip| !is_link_local(*ip))
        .or_else(|| {
            let on_it = |name: &String| Some(name) == netdev.as_ref();
            addresses
                .iter()
                .find(|(n, a)| on_it(n) && a.is_ipv4())
                .or_else(|| addresses.iter().find(|(n, a)| on_it(n) && !is_link_local(*a)))
                .map(|(_, a)| *a)
        });
    Ok(Choice {
        device: device.name.clone(),
        port: port.number,
        fabric: port.fabric,
        gid,
        netdev,
        local,
        device_reason,
        gid_reason,
    })
}

fn by_route<'a>(
    devices: &'a [DeviceInfo],
    wishes: &Wishes,
    netdev: Option<&str>,
    source: Option<IpAddr>,
) -> Result<(&'a DeviceInfo, &'a PortInfo, String), TransportError> {
    let ports = || devices.iter().flat_map(|d| d.ports.iter().map(move |p| (d, p)));
    let allowed = |p: &PortInfo| wishes.port.is_none_or(|number| number == p.number);
    if let Some(netdev) = netdev {
        let on_it = |p: &PortInfo| p.gids.iter().any(|g| g.netdev.as_deref() == Some(netdev));
        if let Some((device, port)) = ports().find(|(_, p)| allowed(p) && on_it(p)) {
            let why = match (source, wishes.netdev.is_some()) {
                (_, true) => format!("it sits on {netdev}, which was asked for"),
                (Some(ip), _) => format!("packets to the peer leave from {ip} on {netdev}, where it sits"),
                (None, _) => format!("it sits on {netdev}"),
            };
            return Ok((device, port, why));
        }
        // A bond, VLAN or bridge has no device of its own but its address may be in a GID table.
        if let Some((device, port)) =
            ports().find(|(_, p)| allowed(p) && p.gids.iter().any(|g| Some(g.address()) == source))
        {
            return Ok((device, port, format!("its GID table has the source address {}", text_of(source))));
        }
        let names: Vec<&str> = devices.iter().map(|d| d.name.as_str()).collect();
        return Err(TransportError::Unsupported {
            what: format!("RDMA towards this peer (route over {netdev}, source {})", text_of(source)),
            why: format!("no RDMA device sits on {netdev}; devices here: {}", list(&names)),
            fix: "name one with --device, address the peer by its RDMA interface, or (for a test) make a software \
                  device: modprobe rdma_rxe && rdma link add rxe0 type rxe netdev NIC"
                .into(),
        });
    }
    let reason = match source {
        Some(ip) if ip.is_loopback() => {
            "the peer is this machine, and it is the first device with an active port"
        }
        _ => "no route decides, and it is the first device with an active port",
    };
    ports()
        .find(|(_, p)| allowed(p) && p.active != Some(false) && usable(p))
        .or_else(|| ports().find(|(_, p)| allowed(p)))
        .map(|(device, port)| (device, port, reason.to_owned()))
        .ok_or_else(|| TransportError::Unsupported {
            what: "RDMA".into(),
            why: "no device has a port that could be used".into(),
            fix: "`pathproof devices` shows devices and port states".into(),
        })
}

/// A port with an entry that is more than link-local, or one that needs none.
fn usable(port: &PortInfo) -> bool {
    port.fabric != Fabric::Roce || port.gids.iter().any(|g| !is_link_local(g.address()))
}

fn pick_port(device: &DeviceInfo, wanted: Option<u8>) -> Result<&PortInfo, TransportError> {
    let missing = || TransportError::Invalid {
        what: format!(
            "RDMA device {} has no port {}; it has {} port(s)",
            device.name,
            wanted.unwrap_or(1),
            device.ports.len()
        ),
    };
    match wanted {
        Some(number) => device.ports.iter().find(|p| p.number == number).ok_or_else(missing),
        None => device
            .ports
            .iter()
            .find(|p| p.active != Some(false))
            .or_else(|| device.ports.first())
            .ok_or_else(missing),
    }
}

fn pick_gid(
    device: &DeviceInfo,
    port: &PortInfo,
    wishes: &Wishes,
    source: Option<IpAddr>,
) -> Result<(Option<GidEntry>, String), TransportError> {
    if let Some(index) = wishes.gid_index {
        let entry = port.gids.iter().find(|g| g.index == index).ok_or_else(|| {
            let known: Vec<String> = port.gids.iter().map(|g| g.index.to_string()).collect();
            TransportError::Invalid {
                what: format!(
                    "GID index {index} of {} port {} is unused; used are {}",
                    device.name,
                    port.number,
                    list(&known.iter().map(String::as_str).collect::<Vec<_>>())
                ),
            }
        })?;
        return Ok((Some(entry.clone()), "asked for by index".to_owned()));
    }
    if port.fabric != Fabric::Roce {
        let reason = if port.fabric == Fabric::Iwarp {
            "iWARP is addressed by IP"
        } else {
            "InfiniBand is addressed by LID"
        };
        return Ok((port.gids.first().cloned(), reason.to_owned()));
    }
    let describe = |g: &GidEntry, why: &str| {
        format!("index {}: {}, {}, {why}", g.index, g.kind.as_deref().unwrap_or("type unknown"), g.text())
    };
    let v2 = || port.gids.iter().filter(|g| g.is_roce_v2());
    let matching = source.and_then(|ip| v2().find(|g| g.address() == ip));
    if let Some(entry) = matching {
        return Ok((Some(entry.clone()), describe(entry, "the source address of packets to the peer")));
    }
    if let Some(entry) = v2().find(|g| g.address().is_ipv4()) {
        return Ok((Some(entry.clone()), describe(entry, "the first RoCE v2 entry with an IPv4 address")));
    }
    if let Some(entry) = v2().find(|g| !is_link_local(g.address())) {
        return Ok((
            Some(entry.clone()),
            describe(entry, "the first RoCE v2 entry with a global IPv6 address"),
        ));
    }
    Err(TransportError::Unsupported {
        what: format!("RoCE v2 on {} port {}", device.name, port.number),
        why: "its GID table has no RoCE v2 entry with a routable address".into(),
        fix: match port.netdev() {
            Some(netdev) => {
                format!(
                    "give {netdev} an IP address, or choose an entry (link-local, RoCE v1) with --option gid=INDEX"
                )
            }
            None => {
                "give its network interface an IP address, or choose an entry with --option gid=INDEX".into()
            }
        },
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn unknown_device(name: &str, devices: &[DeviceInfo]) -> TransportError {
    let names: Vec<&str> = devices.iter().map(|d| d.name.as_str()).collect();
    TransportError::Invalid {
        what: format!("there is no RDMA device {name}; devices here: {}", list(&names)),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn text_of(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::FakeSys;

    fn address(name: &str, ip: &str) -> (String, IpAddr) {
        (name.to_owned(), ip.parse().unwrap())
    }

    fn two_devices(name: &str) -> (FakeSys, Vec<(String, IpAddr)>) {
        let fake = FakeSys::new(name);
        fake.roce("mlx5_0", "eth4", "0a00:0001", true).roce("mlx5_1", "eth5", "0a00:0101", true);
        (fake, vec![address("lo", "127.0.0.1"), address("eth4", "10.0.0.1"), address("eth5", "10.0.1.1")])
    }

    #[test]
    fn the_source_address_decides_device_and_gid() {
        let (fake, addresses) = two_devices("route");
        let wishes = Wishes { local: Some("10.0.1.1".parse().unwrap()), ..Wishes::default() };
        let choice = choose(&Sysfs::at(&fake.root), &addresses, &wishes).unwrap();
        assert_eq!((choice.device.as_str(), choice.port), ("mlx5_1", 1));
        assert_eq!(choice.gid.unwrap().index, 3, "the v2 entry, neither index 0 nor the v1 twin");
        assert!(choice.device_reason.contains("eth5"), "{}", choice.device_reason);
        assert!(choice.gid_reason.contains("10.0.1.1"), "{}", choice.gid_reason);
        assert_eq!(choice.local, Some("10.0.1.1".parse().unwrap()));
    }

    #[test]
    fn loopback_takes_the_first_active_device() {
        let fake = FakeSys::new("loopback");
        fake.roce("a0", "eth4", "0a00:0001", false).roce("b0", "eth5", "0a00:0101", true);
        let addresses = vec![address("lo", "127.0.0.1"), address("eth5", "10.0.1.1")];
        let wishes = Wishes { remote: Some("127.0.0.1".parse().unwrap()), ..Wishes::default() };
        let choice = choose(&Sysfs::at(&fake.root), &addresses, &wishes).unwrap();
        assert_eq!(choice.device, "b0");
        assert_eq!(choice.local, Some("10.0.1.1".parse().unwrap()));
    }

    #[test]
    fn a_route_over_an_interface_without_rdma_is_said_so() {
        let (fake, mut addresses) = two_devices("other");
        addresses.push(address("eth9", "192.0.2.1"));
        let wishes = Wishes { local: Some("192.0.2.1".parse().unwrap()), ..Wishes::default() };
        let text = choose(&Sysfs::at(&fake.root), &addresses, &wishes).unwrap_err().to_string();
        assert!(text.contains("eth9") && text.contains("mlx5_0"), "{text}");
    }

    #[test]
    fn wrong_wishes_are_answered_with_what_exists() {
        let (fake, addresses) = two_devices("wishes");
        let sysfs = Sysfs::at(&fake.root);
        let ask = |wishes: Wishes| choose(&sysfs, &addresses, &wishes).unwrap_err().to_string();
        let text = ask(Wishes { device: Some("mlx5_9".into()), ..Wishes::default() });
        assert!(text.contains("mlx5_9") && text.contains("mlx5_0, mlx5_1"), "{text}");
        let text = ask(Wishes { device: Some("mlx5_0".into()), gid_index: Some(2), ..Wishes::default() });
        assert!(text.contains("used are 0, 1, 3"), "{text}");
        let text = ask(Wishes { device: Some("mlx5_0".into()), port: Some(2), ..Wishes::default() });
        assert!(text.contains("no port 2"), "{text}");
    }

    #[test]
    fn a_port_that_is_down_names_the_link() {
        let fake = FakeSys::new("down");
        fake.roce("mlx5_0", "eth4", "0a00:0001", false);
        let wishes = Wishes { device: Some("mlx5_0".into()), ..Wishes::default() };
        let text = choose(&Sysfs::at(&fake.root), &[], &wishes).unwrap_err().to_string();
        assert!(text.contains("not active") && text.contains("ip link set eth4 up"), "{text}");
    }
}
