//! Whether what an adapter sends can be marked with a code point (RFC 2474). It refuses a mark that nothing would carry: who asks for one takes what
//! is measured for marked. What becomes of a mark behind the adapter is for others to look at.

use pathproof_api::{Fabric, TransportError};

use crate::choose::Choice;
use crate::sysfs::Sysfs;

/// What soft-iWARP says of its maker.
const SOFT_IWARP_VENDOR: u32 = 0x0062_6D74;
/// What to do where the adapter is the only one that there is.
const WITHOUT: &str = "leave the mark (--dscp) of what goes over it out";

/// Makes sure that packets of this adapter, whose maker has this number, carry a code point that is asked for.
pub(super) fn check(dscp: u8, choice: &Choice, vendor_id: u32, sysfs: &Sysfs) -> Result<(), TransportError> {
    let name = &choice.device;
    let refused = |why: String, fix: &str| {
        Err(TransportError::Unsupported {
            what: format!("DSCP {dscp} on what {name} sends"),
            why,
            fix: fix.into(),
        })
    };
    match choice.fabric {
        Fabric::Unknown => refused("what its port speaks is not known".into(), WITHOUT),
        Fabric::InfiniBand => refused("its packets have service levels and no code points".into(), WITHOUT),
        Fabric::Iwarp if vendor_id == SOFT_IWARP_VENDOR => refused(
            "soft-iWARP does not give its TCP connections the class that the connection manager is asked for"
                .into(),
            "leave the mark (--dscp) of what goes over it out, and let a rule of the host mark it (nft: ip dscp set)",
        ),
        // That their drivers take the class cannot be asked; those of Chelsio and Intel do.
        Fabric::Iwarp => Ok(()),
        Fabric::Roce => {
            let gid = choice.gid.as_ref().filter(|gid| gid.kind.is_some() && !gid.is_roce_v2());
            if let Some(gid) = gid {
                let why = format!("packets of its GID {} are RoCE v1, which has no IP header", gid.index);
                return refused(
                    why,
                    "choose a GID of RoCE v2 (--option gid=INDEX), or leave the mark (--dscp) out",
                );
            }
            match sysfs.forced_traffic_class(name, choice.port) {
                Some(forced) if forced >> 2 != dscp => {
                    let (has, of_port) = (forced >> 2, choice.port);
                    let why = format!(
                        "it marks all that it sends with DSCP {has}, whatever programs ask for (/sys/class/infiniband/{name}/tc/{of_port}/traffic_class)"
                    );
                    refused(
                        why,
                        "take that setting back, or leave the mark (--dscp) of what goes over it out",
                    )
                }
                Some(_) | None => Ok(()),
            }
        }
    }
}

/// How the packets of an end come to their class, for people.
pub(super) fn words(class: u8, by_manager: bool, iwarp: bool) -> String {
    let by = match (by_manager, iwarp) {
        (false, _) => "by the address of the queue pair",
        (true, false) => "asked of the connection manager, and set in the queue pair",
        (true, true) => {
            "asked of the connection manager; whether the driver gives it to its TCP connection cannot be seen from here"
        }
    };
    format!("{class} (DSCP {}), {by}", class >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::{Wishes, choose};
    use crate::sysfs::tests::FakeSys;

    const CHELSIO: u32 = 0x1425;

    fn said(checked: Result<(), TransportError>) -> String {
        checked.err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_mark_is_taken_where_packets_carry_it_and_refused_with_what_to_do_elsewhere() {
        let fake = FakeSys::new("marks");
        fake.roce("mlx5_0", "eth4", "0a00:0001", true);
        let sysfs = Sysfs::at(&fake.root);
        let addresses = [("eth4".to_owned(), "10.0.0.1".parse().unwrap())];
        let wishes = |gid_index| Wishes { device: Some("mlx5_0".into()), gid_index, ..Wishes::default() };
        let roce = choose(&sysfs, &addresses, &wishes(None)).unwrap();
        let over = |fabric| Choice { fabric, ..roce.clone() };
        assert_eq!(said(check(26, &roce, 0, &sysfs)), "");
        assert_eq!(said(check(26, &over(Fabric::Iwarp), CHELSIO, &sysfs)), "");
        let first = choose(&sysfs, &addresses, &wishes(Some(1))).unwrap();
        for (choice, vendor_id, says) in [
            (&over(Fabric::Iwarp), SOFT_IWARP_VENDOR, ["soft-iWARP", "nft"]),
            (&over(Fabric::InfiniBand), 0, ["service levels", "leave the mark"]),
            (&over(Fabric::Unknown), 0, ["not known", "leave the mark"]),
            (&first, 0, ["RoCE v1", "--option gid="]),
        ] {
            let why = said(check(26, choice, vendor_id, &sysfs));
            assert!(says.iter().all(|words| why.contains(words)), "{why}");
        }
        // An adapter that marks by a rule of its own, as another and as the same.
        fake.file("class/infiniband/mlx5_0/tc/1/traffic_class", "Global tclass=106\n");
        let why = said(check(10, &roce, 0, &sysfs));
        assert!(
            why.contains("DSCP 10") && why.contains("with DSCP 26") && why.contains("tc/1/traffic_class"),
            "{why}"
        );
        assert_eq!(said(check(26, &roce, 0, &sysfs)), "");
    }

    #[test]
    fn what_cannot_be_seen_is_said_of_iwarp_alone() {
        assert_eq!(words(104, false, false), "104 (DSCP 26), by the address of the queue pair");
        assert!(!words(104, true, false).contains("cannot be seen"));
        assert!(words(104, true, true).contains("cannot be seen"));
    }
}
