//! What a NIC's driver says of it through `SIOCETHTOOL`, one typed function for each question.
//!
//! The ioctl answers for the network namespace of its socket, where `/sys/class/net` may show another one's
//! interfaces. Callers stay free of `unsafe`. Nothing here changes a setting.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of `linux/ethtool.h`.
mod command {
    pub const DRIVER: u32 = 0x03;
    pub const CHANNELS: u32 = 0x3c;
    pub const LINK_SETTINGS: u32 = 0x4c;
}

/// Asks drivers about NICs.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
}

/// Driver and where the device is. Empty strings of the driver become `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverInfo {
    /// Driver name.
    pub driver: Option<String>,
    /// Driver version (the kernel's, for drivers in the kernel tree).
    pub version: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Bus address.
    pub bus: Option<String>,
}

/// Link state as negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// Speed in bit/s.
    pub speed_bits_per_s: Option<u64>,
    /// Duplex.
    pub full_duplex: Option<bool>,
}

/// Queues in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Receive queues, combined ones included.
    pub receive: u32,
    /// Transmit queues, combined ones included.
    pub transmit: u32,
}

/// Offloads that one number answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Receive checksums.
    ReceiveChecksum,
    /// Transmit checksums.
    TransmitChecksum,
    /// Scatter-gather.
    ScatterGather,
    /// TCP segmentation (TSO).
    TcpSegmentation,
    /// Generic segmentation (GSO).
    GenericSegmentation,
    /// Generic receive (GRO).
    GenericReceive,
}

impl Offload {
    /// All of them.
    pub const ALL: [Offload; 6] = [
        Offload::ReceiveChecksum,
        Offload::TransmitChecksum,
        Offload::ScatterGather,
        Offload::TcpSegmentation,
        Offload::GenericSegmentation,
        Offload::GenericReceive,
    ];

    /// The name that `ethtool -k` shows.
    pub fn name(self) -> &'static str {
        match self {
            Offload::ReceiveChecksum => "rx-checksumming",
            Offload::TransmitChecksum => "tx-checksumming",
            Offload::ScatterGather => "scatter-gather",
            Offload::TcpSegmentation => "tcp-segmentation-offload",
            Offload::GenericSegmentation => "generic-segmentation-offload",
            Offload::GenericReceive => "generic-receive-offload",
        }
    }

    fn command(self) -> u32 {
        match self {
            Offload::ReceiveChecksum => 0x14,
            Offload::TransmitChecksum => 0x16,
            Offload::ScatterGather => 0x18,
            Offload::TcpSegmentation => 0x1e,
            Offload::GenericSegmentation => 0x23,
            Offload::GenericReceive => 0x2b,
        }
    }
}

/// `struct ethtool_drvinfo` in 32-bit words: `cmd`, then texts of 32, 32, 32, 32, 32 and 12 bytes and five
/// counts.
const DRIVER_WORDS: usize = 1 + (5 * 32 + 12) / 4 + 5;
/// `struct ethtool_channels` in 32-bit words.
const CHANNELS_WORDS: usize = 9;
/// `struct ethtool_link_settings` in 32-bit words, without its masks.
const LINK_WORDS: usize = 12;
/// The kernel allows at most 127 words in each of the three masks.
const LINK_MASK_WORDS: usize = 127;

impl Ethtool {
    /// Opens the socket that the questions go through.
    pub fn open() -> io::Result<Ethtool> {
        // SAFETY: no pointer is passed.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else owns it.
        Ok(Ethtool { socket: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Driver, firmware and bus address.
    pub fn driver(&self, nic: &str) -> io::Result<DriverInfo> {
        let mut words = [0u32; DRIVER_WORDS];
        self.ask(nic, command::DRIVER, &mut words)?;
        let bytes: Vec<u8> = words[1..].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let text = |field: usize| {
            let field = &bytes[field * 32..(field + 1) * 32];
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            let text = String::from_utf8_lossy(&field[..end]).trim().to_owned();
            (!text.is_empty() && text != "N/A").then_some(text)
        };
        Ok(DriverInfo { driver: text(0), version: text(1), firmware: text(2), bus: text(3) })
    }

    /// Speed and duplex (`ETHTOOL_GLINKSETTINGS`).
    pub fn link(&self, nic: &str) -> io::Result<LinkSettings> {
        let mut words = [0u32; LINK_WORDS + 3 * LINK_MASK_WORDS];
        // The first call only tells how long the masks are: `link_mode_masks_nwords` (byte 15) comes back
        // negative.
        self.ask(nic, command::LINK_SETTINGS, &mut words)?;
        let masks = words[3].to_ne_bytes()[3] as i8;
        if masks >= 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        words = [0; LINK_WORDS + 3 * LINK_MASK_WORDS];
        let mut word = [0u8; 4];
        word[3] = masks.unsigned_abs();
        words[3] = u32::from_ne_bytes(word);
        self.ask(nic, command::LINK_SETTINGS, &mut words)?;
        let speed_mbit = words[1];
        Ok(LinkSettings {
            // SPEED_UNKNOWN is -1; some drivers say 0 while the link is down.
            speed_bits_per_s: (speed_mbit != u32::MAX && speed_mbit != 0)
                .then_some(u64::from(speed_mbit) * 1_000_000),
            full_duplex: match words[2].to_ne_bytes()[0] {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        })
    }

    /// Queues in use.
    pub fn queues(&self, nic: &str) -> io::Result<Queues> {
        let mut words = [0u32; CHANNELS_WORDS];
        self.ask(nic, command::CHANNELS, &mut words)?;
        let [.., receive, transmit, _other, combined] = words;
        Ok(Queues { receive: receive + combined, transmit: transmit + combined })
    }

    /// Whether an offload is on.
    pub fn offload(&self, nic: &str, offload: Offload) -> io::Result<bool> {
        let mut words = [0u32; 2];
        self.ask(nic, offload.command(), &mut words)?;
        Ok(words[1] != 0)
    }

    /// Puts `command` into the first word of `words` and lets the kernel answer there. Each caller allots the
    /// whole structure of its command, for that is how much the kernel writes.
    fn ask(&self, nic: &str, command: u32, words: &mut [u32]) -> io::Result<()> {
        #[repr(C)]
        struct Request {
            name: [u8; libc::IFNAMSIZ],
            data: *mut u32,
            padding: [u8; 16],
        }
        const { assert!(size_of::<Request>() >= size_of::<libc::ifreq>()) };
        let mut name = [0; libc::IFNAMSIZ];
        if nic.is_empty() || nic.len() >= name.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        name[..nic.len()].copy_from_slice(nic.as_bytes());
        words[0] = command;
        let mut request = Request { name, data: words.as_mut_ptr(), padding: [0; 16] };
        // SAFETY: `request` has the layout of `struct ifreq` with `ifr_data` and at least its size; `data`
        // points to `words`, which has room for the structure of `command` (see above) and outlives the call.
        let failed =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Whether a driver merely does not tell: the usual answer of interfaces that are software.
pub fn is_not_told(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_that_does_not_exist_is_an_error_and_not_a_zero() {
        let ethtool = Ethtool::open().unwrap();
        for name in ["nosuchnic", "", "a-name-that-is-far-too-long"] {
            assert!(ethtool.driver(name).is_err());
            assert!(ethtool.link(name).is_err());
            assert!(ethtool.queues(name).is_err());
            assert!(ethtool.offload(name, Offload::TcpSegmentation).is_err());
        }
    }

    #[test]
    fn the_loopback_has_offloads_and_no_speed() {
        let ethtool = Ethtool::open().unwrap();
        assert!(ethtool.offload("lo", Offload::GenericSegmentation).is_ok());
        assert!(ethtool.link("lo").is_err());
    }
}
