//! Turns offloads of an interface off, one or several at once, and gives back all that went with them; believes neither before the kernel says so.
//!
//! Offloads hang on one another: without transmit checksums there is no segmentation by the NIC either. The kernel keeps what is *wanted*
//! apart from what is *active*, and lets go of what depends on the other by itself. Both are kept here as they were, so nothing is given back
//! that was not there, and nothing is left off.

use std::io;

use super::ethtool::{Ethtool, Offload, Switches};

/// Offloads that may be turned off for a while.
#[derive(Debug)]
pub struct SettableOffload {
    nic: String,
    offloads: Vec<Offload>,
    ethtool: Ethtool,
    /// The kernel's switches, in the order of their bits.
    names: Vec<Option<String>>,
    before: Vec<Switches>,
}

/// Whether this process may change offloads at all, in one sentence where it may not. Nothing is changed.
pub fn permitted() -> Result<(), String> {
    const LOOPBACK: &str = "lo";
    let asked = Ethtool::open().and_then(|ethtool| {
        let names = ethtool.switch_names(LOOPBACK)?;
        // Wanting nothing asks for the right and changes nothing.
        ethtool.want(LOOPBACK, &vec![(0, 0); names.len().div_ceil(32)])
    });
    match asked {
        Err(error) if is_refused(&error) => {
            Err("offloads may not be changed by this user; run as root (CAP_NET_ADMIN)".into())
        }
        // A kernel that tells nothing of the loopback may tell of a NIC.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

impl SettableOffload {
    /// Finds offloads that are on, each of them, and that this process may turn off. Nothing is changed; one sentence says why not.
    pub fn find(nic: &str, offloads: &[Offload]) -> Result<SettableOffload, String> {
        let failed = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENODEV) => format!("this host has no NIC {nic}; pathproof devices lists them"),
            _ => format!("the offloads of {nic} cannot be read: {error}"),
        };
        let ethtool = Ethtool::open().map_err(failed)?;
        let names = ethtool.switch_names(nic).map_err(failed)?;
        let before = ethtool.switches(nic, names.len()).map_err(failed)?;
        let found = SettableOffload { nic: nic.into(), offloads: offloads.into(), ethtool, names, before };
        for offload in offloads {
            let (what, own) = (offload.name(), found.bits(*offload));
            let any =
                |of: fn(&Switches) -> u32| own.iter().zip(&found.before).any(|(bits, at)| bits & of(at) != 0);
            if !any(|at| at.active) {
                return Err(format!("{what} of {nic} is off"));
            }
            if !any(|at| at.active & at.changeable) {
                return Err(format!("{what} of {nic} is fixed: its driver has no switch for it"));
            }
        }
        let what = found.what();
        found.want(&vec![(0, 0); found.before.len()]).map_err(|error| match is_refused(&error) {
            true => format!("{what} of {nic} may not be changed by this user; run as root (CAP_NET_ADMIN)"),
            false => format!("{what} of {nic} cannot be changed: {error}"),
        })?;
        Ok(found)
    }

    /// Turns them off. They are off when this returns `Ok`, as far as they can be.
    pub fn off(&self) -> Result<(), String> {
        let (nic, what) = (&self.nic, self.what());
        let own = self.own_bits();
        let valid: Vec<(u32, u32)> =
            own.iter().zip(&self.before).map(|(bits, at)| (bits & at.changeable, 0)).collect();
        self.want(&valid).map_err(|error| format!("{what} of {nic} could not be turned off: {error}"))?;
        let still = self.now()?.iter().zip(&valid).any(|(at, (bits, _))| at.active & bits != 0);
        if still { Err(format!("{what} of {nic} was turned off and is on")) } else { Ok(()) }
    }

    /// Gives back what was on. All is as it was when this returns `Ok`.
    pub fn restore(&self) -> Result<(), String> {
        let nic = &self.nic;
        // What hangs on them is still wanted, and comes back by itself. All are wanted at once: what is held against how it was before is the NIC
        // as a whole.
        let own = self.own_bits();
        let wanted: Vec<(u32, u32)> =
            own.iter().zip(&self.before).map(|(bits, at)| (bits & at.changeable, at.wanted & bits)).collect();
        let failed = |why: String| format!("{why}; type: {}", self.by_hand());
        self.want(&wanted)
            .map_err(|error| failed(format!("the offloads of {nic} could not be given back: {error}")))?;
        match self.now().map_err(failed)? == self.before {
            true => Ok(()),
            false => Err(failed(format!("the offloads of {nic} were given back and are not what they were"))),
        }
    }

    /// The other offloads that are off now and were on: they depend on these.
    pub fn also_off(&self) -> Result<Vec<Offload>, String> {
        let now = self.now()?;
        // Not every switch of one has to: kernels from 6.17 on leave a new one of segmentation on, without checksums.
        let gone = |offload: &Offload| {
            let bits = self.bits(*offload);
            let went = bits.iter().zip(self.before.iter().zip(&now));
            !self.offloads.contains(offload)
                && went.into_iter().any(|(bits, (was, is))| bits & was.active & !is.active != 0)
        };
        Ok(Offload::ALL.into_iter().filter(gone).collect())
    }

    /// What gives them back where nothing of this program is left to do it.
    pub fn by_hand(&self) -> String {
        let each = self.offloads.iter().map(|offload| format!(" {} on", offload.name()));
        format!("ethtool -K {}{}", self.nic, each.collect::<String>())
    }

    /// Their names.
    fn what(&self) -> String {
        self.offloads.iter().map(|offload| offload.name()).collect::<Vec<_>>().join(" and ")
    }

    /// The bits of all of them, word by word.
    fn own_bits(&self) -> Vec<u32> {
        let mut own = vec![0; self.names.chunks(32).len()];
        for offload in &self.offloads {
            own.iter_mut().zip(self.bits(*offload)).for_each(|(own, bits)| *own |= bits);
        }
        own
    }

    /// The bits of an offload, word by word.
    fn bits(&self, offload: Offload) -> Vec<u32> {
        let word = |names: &[Option<String>]| {
            let has = |name: &Option<String>| name.as_deref().is_some_and(|name| offload.has(name));
            names.iter().enumerate().fold(0, |word, (bit, name)| word | u32::from(has(name)) << bit)
        };
        self.names.chunks(32).map(word).collect()
    }

    fn now(&self) -> Result<Vec<Switches>, String> {
        let now = self.ethtool.switches(&self.nic, self.names.len());
        now.map_err(|error| format!("the offloads of {} cannot be read: {error}", self.nic))
    }

    fn want(&self, words: &[(u32, u32)]) -> io::Result<()> {
        self.ethtool.want(&self.nic, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_fixed_or_not_there_is_refused_in_one_sentence() {
        let refused = |nic, offload| SettableOffload::find(nic, &[offload]).unwrap_err();
        assert!(refused("nosuchnic", Offload::TransmitChecksum).contains("no NIC nosuchnic"));
        // The loopback fills in no checksum that anybody could ask it to leave, and receives nothing large.
        assert!(refused("lo", Offload::TransmitChecksum).contains("fixed"));
        assert!(refused("lo", Offload::LargeReceive).contains("is off"));
        // Of several each has to be there.
        let both = [Offload::TcpSegmentation, Offload::LargeReceive];
        assert!(
            SettableOffload::find("lo", &both).unwrap_err().contains("large-receive-offload of lo is off")
        );
    }

    #[test]
    fn an_offload_is_the_switches_that_ethtool_takes_together() {
        let of =
            |switch: &str| Offload::ALL.into_iter().filter(|offload| offload.has(switch)).collect::<Vec<_>>();
        assert_eq!(of("tx-checksum-ip-generic"), [Offload::TransmitChecksum]);
        assert_eq!(of("tx-checksum-ipv6"), [Offload::TransmitChecksum]);
        assert_eq!(of("tx-tcp6-segmentation"), [Offload::TcpSegmentation]);
        assert_eq!(of("tx-tcp-ecn-segmentation"), [Offload::TcpSegmentation]);
        assert_eq!(of("rx-gro"), [Offload::GenericReceive]);
        // Segments of datagrams and of tunnels are none of TCP's.
        for other in ["tx-udp-segmentation", "tx-udp_tnl-segmentation", "rx-gro-list", "rx-gro-hw", "highdma"]
        {
            assert_eq!(of(other), [], "{other}");
        }
    }
}
