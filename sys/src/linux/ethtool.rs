//! What a NIC's driver says of it through `SIOCETHTOOL`, one typed function for each question.
//!
//! The ioctl answers for the network namespace of its socket, where `/sys/class/net` may show another one's
//! interfaces. Callers stay free of `unsafe`. Settings are changed by `set_offload.rs` alone, which gives them back.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of `linux/ethtool.h`.
mod command {
    pub const DRIVER: u32 = 0x03;
    pub const RINGS: u32 = 0x10;
    pub const PAUSE: u32 = 0x12;
    pub const STRINGS: u32 = 0x1b;
    pub const STATISTICS: u32 = 0x1d;
    pub const FLAGS: u32 = 0x25;
    pub const SET_SIZES: u32 = 0x37;
    pub const SWITCHES: u32 = 0x3a;
    pub const SET_SWITCHES: u32 = 0x3b;
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

/// Descriptors of the rings, the most of one queue. What a driver says is none is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Receive descriptors in use.
    pub receive: Option<u32>,
    /// How many there could be.
    pub receive_max: Option<u32>,
    /// Transmit descriptors in use.
    pub transmit: Option<u32>,
    /// How many there could be.
    pub transmit_max: Option<u32>,
}

impl Rings {
    /// From `struct ethtool_ringparam`: cmd; the most of receive, mini, jumbo and transmit rings; and what is in use of them.
    fn of(words: [u32; RINGS_WORDS]) -> Rings {
        let [_, receive_max, _, _, transmit_max, receive, _, _, transmit] = words;
        let known = |descriptors: u32| (descriptors > 0).then_some(descriptors);
        Rings {
            receive: known(receive),
            receive_max: known(receive_max),
            transmit: known(transmit),
            transmit_max: known(transmit_max),
        }
    }
}

/// Pause frames for all traffic of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Received ones are obeyed.
    pub receive: bool,
    /// They are sent.
    pub transmit: bool,
    /// Both as negotiated with the link partner.
    pub negotiated: bool,
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
    /// Large receive (LRO), by the NIC itself.
    LargeReceive,
}

impl Offload {
    /// All of them.
    pub const ALL: [Offload; 7] = [
        Offload::ReceiveChecksum,
        Offload::TransmitChecksum,
        Offload::ScatterGather,
        Offload::TcpSegmentation,
        Offload::GenericSegmentation,
        Offload::GenericReceive,
        Offload::LargeReceive,
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
            Offload::LargeReceive => "large-receive-offload",
        }
    }

    /// Whether a switch of the kernel is one of those that the offload is made of; `ethtool -K` takes them together too.
    pub(super) fn has(self, switch: &str) -> bool {
        match self {
            Offload::ReceiveChecksum => switch == "rx-checksum",
            Offload::TransmitChecksum => switch.starts_with("tx-checksum-"),
            Offload::ScatterGather => switch.starts_with("tx-scatter-gather"),
            Offload::TcpSegmentation => switch.starts_with("tx-tcp") && switch.ends_with("-segmentation"),
            Offload::GenericSegmentation => switch == "tx-generic-segmentation",
            Offload::GenericReceive => switch == "rx-gro",
            Offload::LargeReceive => switch == "rx-lro",
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
            Offload::LargeReceive => command::FLAGS,
        }
    }

    /// What of the answer is about it.
    fn mask(self) -> u32 {
        /// `ETH_FLAG_LRO`.
        const LARGE_RECEIVE: u32 = 1 << 15;
        if self == Offload::LargeReceive { LARGE_RECEIVE } else { u32::MAX }
    }
}

/// Thirty-two switches of an interface, a bit each (`struct ethtool_get_features_block`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Switches {
    /// Those that can be changed.
    pub changeable: u32,
    /// Those that somebody wants on.
    pub wanted: u32,
    /// Those that are on.
    pub active: u32,
}

/// `struct ethtool_drvinfo` in 32-bit words: `cmd`, then texts of 32, 32, 32, 32, 32 and 12 bytes and five
/// counts.
const DRIVER_WORDS: usize = 1 + (5 * 32 + 12) / 4 + 5;
/// `struct ethtool_channels` in 32-bit words.
const CHANNELS_WORDS: usize = 9;
/// `struct ethtool_ringparam` in 32-bit words.
const RINGS_WORDS: usize = 9;
/// `struct ethtool_pauseparam` in 32-bit words: `cmd`, negotiation, received, sent.
const PAUSE_WORDS: usize = 4;
/// `struct ethtool_link_settings` in 32-bit words, without its masks.
const LINK_WORDS: usize = 12;
/// The kernel allows at most 127 words in each of the three masks.
const LINK_MASK_WORDS: usize = 127;

/// `ETH_SS_STATS`, the set of a driver's own counters.
const STATISTICS_SET: u32 = 1;
/// `ETH_SS_FEATURES`, the names of the kernel's switches.
const SWITCHES_SET: u32 = 4;
/// More switches than any kernel has, in words.
const SWITCHES_WORDS_MAX: usize = 16;
/// `ETH_GSTRING_LEN` in 32-bit words.
const STRING_WORDS: usize = 8;
/// More counters than any driver has; one that says more is not asked.
const STATISTICS_MAX: usize = 1 << 16;
/// The kernel writes as many entries as the driver has when it is asked, whatever room the caller says it has. So many
/// more are allotted than the driver had a moment before.
const STATISTICS_SPARE: usize = 1 << 12;

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
        let text = |field: usize| {
            let words = &words[1 + field * STRING_WORDS..][..STRING_WORDS];
            text(words).filter(|text| text != "N/A")
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

    /// How many descriptors its rings have.
    pub fn rings(&self, nic: &str) -> io::Result<Rings> {
        let mut words = [0u32; RINGS_WORDS];
        self.ask(nic, command::RINGS, &mut words)?;
        Ok(Rings::of(words))
    }

    /// Whether pause frames are obeyed and sent.
    pub fn pause(&self, nic: &str) -> io::Result<Pause> {
        let mut words = [0u32; PAUSE_WORDS];
        self.ask(nic, command::PAUSE, &mut words)?;
        let [_, negotiated, receive, transmit] = words;
        Ok(Pause { receive: receive != 0, transmit: transmit != 0, negotiated: negotiated != 0 })
    }

    /// Whether an offload is on.
    pub fn offload(&self, nic: &str, offload: Offload) -> io::Result<bool> {
        let mut words = [0u32; 2];
        self.ask(nic, offload.command(), &mut words)?;
        Ok(words[1] & offload.mask() != 0)
    }

    /// The names of the switches, in the order of their bits.
    pub(super) fn switch_names(&self, nic: &str) -> io::Result<Vec<Option<String>>> {
        let count = self.set_size(nic, SWITCHES_SET)?;
        if count > SWITCHES_WORDS_MAX * 32 {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let (_, names) = self.names(nic, SWITCHES_SET, count, count)?;
        Ok(names)
    }

    /// All switches, as many words as there are names for.
    pub(super) fn switches(&self, nic: &str, names: usize) -> io::Result<Vec<Switches>> {
        // `struct ethtool_gfeatures`: cmd, size, and blocks of available, requested, active and never changed.
        let blocks = names.div_ceil(32);
        let mut words = vec![0u32; 2 + 4 * blocks];
        words[1] = blocks as u32;
        self.ask(nic, command::SWITCHES, &mut words)?;
        let block = |block: &[u32]| Switches { changeable: block[0], wanted: block[1], active: block[2] };
        Ok(words[2..].chunks_exact(4).map(block).collect())
    }

    /// Wants of the switches in `valid` those on that are in `on`, word by word.
    pub(super) fn want(&self, nic: &str, words: &[(u32, u32)]) -> io::Result<()> {
        // `struct ethtool_sfeatures`: cmd, size, and blocks of valid and requested.
        let blocks = words.iter().flat_map(|(valid, on)| [*valid, *on]);
        let mut request: Vec<u32> = [0, words.len() as u32].into_iter().chain(blocks).collect();
        self.ask(nic, command::SET_SWITCHES, &mut request)
    }

    /// How many strings a set has.
    fn set_size(&self, nic: &str, set: u32) -> io::Result<usize> {
        // `struct ethtool_sset_info`: cmd, reserved, a mask of 64 bits, and a size for each bit that stays set.
        let mut sizes = [0u32, 0, 0, 0, 0];
        put_wide(&mut sizes[2..4], 1 << set);
        self.ask(nic, command::SET_SIZES, &mut sizes)?;
        Ok(if get_wide(&sizes[2..4]) == 0 { 0 } else { sizes[4] as usize })
    }

    /// The strings of a set that had `count` a moment before, with room for more; and how many it has now.
    fn names(
        &self,
        nic: &str,
        set: u32,
        count: usize,
        room: usize,
    ) -> io::Result<(u32, Vec<Option<String>>)> {
        // `struct ethtool_gstrings`: cmd, set, count, and the names.
        let mut names = vec![0u32; 3 + room * STRING_WORDS];
        (names[1], names[2]) = (set, count as u32);
        self.ask(nic, command::STRINGS, &mut names)?;
        Ok((names[2], names[3..].chunks_exact(STRING_WORDS).map(text).collect()))
    }

    /// The driver's own counters by name, as `ethtool -S` shows them; empty where it has none.
    pub fn statistics(&self, nic: &str) -> io::Result<Vec<(String, u64)>> {
        let count = self.set_size(nic, STATISTICS_SET)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > STATISTICS_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let room = count + STATISTICS_SPARE;
        let (named, names) = self.names(nic, STATISTICS_SET, count, room)?;
        // `struct ethtool_stats`: cmd, count, and numbers of 64 bits.
        let mut numbers = vec![0u32; 2 + room * 2];
        numbers[1] = count as u32;
        self.ask(nic, command::STATISTICS, &mut numbers)?;
        if named != numbers[1] {
            // The driver has changed its set in between: names and numbers do not belong together.
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let numbers = numbers[2..].chunks_exact(2).map(get_wide);
        Ok(names
            .into_iter()
            .zip(numbers)
            .take(count)
            .filter_map(|(name, number)| Some((name?, number)))
            .collect())
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
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) } < 0;
        // What is above zero says how far a wish was met.
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A text that ends at its first zero byte or at the field's end; none where it is blank.
fn text(words: &[u32]) -> Option<String> {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// A number of 64 bits that lies in two words.
fn get_wide(words: &[u32]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&words[0].to_ne_bytes());
    bytes[4..].copy_from_slice(&words[1].to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn put_wide(words: &mut [u32], number: u64) {
    let bytes = number.to_ne_bytes();
    words[0] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    words[1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
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
            assert!(ethtool.rings(name).is_err() && ethtool.pause(name).is_err());
            assert!(ethtool.offload(name, Offload::TcpSegmentation).is_err());
            assert!(ethtool.statistics(name).is_err());
        }
    }

    #[test]
    fn every_interface_of_this_machine_tells_its_own_counters_or_that_it_has_none() {
        let ethtool = Ethtool::open().unwrap();
        for nic in crate::interfaces::list().unwrap() {
            match ethtool.statistics(&nic.name) {
                Ok(all) => {
                    assert!(all.iter().all(|(name, _)| !name.trim().is_empty()), "{}: {all:?}", nic.name)
                }
                Err(error) => assert!(is_not_told(&error), "{}: {error}", nic.name),
            }
        }
    }

    #[test]
    fn rings_are_read_from_their_places_and_none_is_not_known() {
        let rings = Rings::of([command::RINGS, 8192, 1, 2, 4096, 1024, 3, 4, 0]);
        assert_eq!((rings.receive, rings.receive_max), (Some(1024), Some(8192)));
        assert_eq!((rings.transmit, rings.transmit_max), (None, Some(4096)));
    }

    #[test]
    fn every_interface_of_this_machine_tells_its_rings_and_pauses_or_that_it_has_none() {
        let ethtool = Ethtool::open().unwrap();
        for nic in crate::interfaces::list().unwrap() {
            for error in
                [ethtool.rings(&nic.name).err(), ethtool.pause(&nic.name).err()].into_iter().flatten()
            {
                assert!(is_not_told(&error), "{}: {error}", nic.name);
            }
        }
    }

    #[test]
    fn numbers_and_names_are_read_from_words_as_the_kernel_lays_them() {
        let mut words = [0; 2];
        put_wide(&mut words, 0x0102_0304_0506_0708);
        assert_eq!(get_wide(&words), 0x0102_0304_0506_0708);
        let word = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
        assert_eq!(text(&[word(b"rx_d"), word(b"rop\0"), word(b"old ")]).as_deref(), Some("rx_drop"));
        assert_eq!(text(&[word(b"  \0x")]), None);
    }

    #[test]
    fn the_loopback_has_offloads_and_no_speed() {
        let ethtool = Ethtool::open().unwrap();
        assert!(ethtool.offload("lo", Offload::GenericSegmentation).is_ok());
        assert!(ethtool.link("lo").is_err());
    }
}
