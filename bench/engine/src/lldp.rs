//! What a switch says of its port in LLDP frames (IEEE 802.1AB): who it is, the frame size and VLAN of the port, and its data center
//! bridging (IEEE 802.1Q annex D). Pure, and made for frames that anybody on the wire may have sent: what is cut short is left out.

use pathproof_model::SwitchPort;
use pathproof_model::environment::{Dcb, DcbAlgorithm, DcbApplication, DcbEts, DcbPfc, DcbSelector};

/// Longest text that is kept.
const TEXT_BYTES_MAX: usize = 255;
/// Most VLANs of a port: more than a frame has room for.
const VLANS_MAX: usize = 256;
/// Priorities and classes of IEEE 802.1Q.
const CLASSES: usize = 8;

// Types of TLVs (802.1AB, table 8-1).
const END: u8 = 0;
const CHASSIS: u8 = 1;
const PORT: u8 = 2;
const TTL: u8 = 3;
const PORT_DESCRIPTION: u8 = 4;
const SYSTEM_NAME: u8 = 5;
const SYSTEM_DESCRIPTION: u8 = 6;
const ORGANIZATION: u8 = 127;

const OF_802_1: [u8; 3] = [0x00, 0x80, 0xc2];
const OF_802_3: [u8; 3] = [0x00, 0x12, 0x0f];
/// DCBX as it was before the standard ("CEE").
const OF_CEE: [u8; 3] = [0x00, 0x1b, 0x21];

/// What a frame says, from behind its type: `None` where it is not of the form that every frame must have (chassis, port and time to
/// live first), or where it says that its sender is gone.
pub fn parse(frame: &[u8]) -> Option<SwitchPort> {
    let mut tlvs = tlvs(frame);
    let mut first = |wanted: u8| tlvs.next().filter(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let (chassis, port, ttl) = (first(CHASSIS)?, first(PORT)?, first(TTL)?);
    let ttl = u16::from_be_bytes(ttl.first_chunk().copied()?);
    let mut said = SwitchPort {
        chassis: identity(chassis, 4, 5)?,
        port: identity(port, 3, 4)?,
        ttl_s: Some(ttl).filter(|ttl| *ttl > 0)?,
        ..SwitchPort::default()
    };
    for (kind, value) in tlvs {
        match kind {
            PORT_DESCRIPTION => said.port_description = text(value),
            SYSTEM_NAME => said.system_name = text(value),
            SYSTEM_DESCRIPTION => said.system_description = text(value),
            ORGANIZATION => organization(value, &mut said),
            _ => {}
        }
    }
    Some(said)
}

/// The TLVs up to the end, or to what is cut short.
fn tlvs(frame: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = frame;
    std::iter::from_fn(move || {
        let head = u16::from_be_bytes(rest.first_chunk().copied()?);
        let (kind, length) = ((head >> 9) as u8, usize::from(head & 0x1ff));
        let value = rest.get(2..2 + length)?;
        rest = &rest[2 + length..];
        (kind != END).then_some((kind, value))
    })
}

/// An identity: a subtype, then a hardware address, a network address or text, by the subtype.
fn identity(value: &[u8], mac: u8, network: u8) -> Option<String> {
    let (subtype, value) = value.split_first()?;
    if *subtype == mac {
        let octets: [u8; 6] = value.try_into().ok()?;
        return Some(octets.map(|octet| format!("{octet:02x}")).join(":"));
    }
    if *subtype == network {
        // A family by its number with the IANA, then the address.
        return match value {
            [1, a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            [2, address @ ..] => {
                let octets: [u8; 16] = address.try_into().ok()?;
                Some(std::net::Ipv6Addr::from(octets).to_string())
            }
            _ => None,
        };
    }
    text(value)
}

fn text(value: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(&value[..value.len().min(TEXT_BYTES_MAX)]);
    let said = said.trim_end_matches('\0').trim();
    (!said.is_empty()).then(|| said.to_owned())
}

fn organization(value: &[u8], said: &mut SwitchPort) {
    let Some((organization, [subtype, value @ ..])) = value.split_first_chunk::<3>() else { return };
    match (*organization, *subtype) {
        (OF_802_1, 1) => {
            let vlan = value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
            // 0: the port has none of its own.
            said.vlan = vlan.filter(|vlan| *vlan != 0);
        }
        (OF_802_1, 3) => {
            // Behind the number its name, which is for people.
            if let Some(vlan) = value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) {
                let vlans = said.vlans.get_or_insert_default();
                if let Err(place) = vlans.binary_search(&vlan)
                    && vlans.len() < VLANS_MAX
                {
                    vlans.insert(place, vlan);
                }
            }
        }
        (OF_802_1, 9) => {
            if let Some(willing) = value.first() {
                said.ets_willing = Some(willing & 0x80 != 0);
                dcb(said).ets = ets(value);
            }
        }
        (OF_802_1, 11) => {
            if let [first, enabled, ..] = value {
                said.pfc_willing = Some(first & 0x80 != 0);
                dcb(said).pfc = Some(DcbPfc {
                    enabled_priorities: (0..CLASSES as u8).filter(|p| enabled >> p & 1 == 1).collect(),
                    classes_max: Some(first & 0x0f).filter(|classes| *classes > 0),
                });
            }
        }
        (OF_802_1, 12) => {
            let entries = value.get(1..).unwrap_or_default().chunks_exact(3).map(application);
            dcb(said).applications = Some(entries.collect());
        }
        (OF_802_3, 4) => said.frame_bytes_max = value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)),
        (OF_CEE, _) => said.before_the_standard = true,
        _ => {}
    }
}

fn dcb(said: &mut SwitchPort) -> &mut Dcb {
    said.dcb.get_or_insert_with(Dcb::default)
}

/// Behind its first byte: the class of each priority, half a byte each; the share of each class; the algorithm of each class.
fn ets(value: &[u8]) -> Option<DcbEts> {
    let classes = value.get(1..5)?.iter().flat_map(|two| [two >> 4, two & 0x0f]);
    let algorithms = value.get(13..21)?.iter().map(|number| DcbAlgorithm::of(*number));
    Some(DcbEts {
        bandwidth_percent: value.get(5..13)?.to_vec(),
        algorithms: algorithms.collect(),
        class_of_priority: classes.collect(),
    })
}

fn application(entry: &[u8]) -> DcbApplication {
    DcbApplication {
        selector: match entry[0] & 7 {
            1 => DcbSelector::Ethertype,
            2 => DcbSelector::StreamPort,
            3 => DcbSelector::DgramPort,
            4 => DcbSelector::Port,
            5 => DcbSelector::Dscp,
            _ => DcbSelector::Unknown,
        },
        protocol: u16::from_be_bytes([entry[1], entry[2]]),
        priority: entry[0] >> 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let head = u16::from(kind) << 9 | value.len() as u16;
        [&head.to_be_bytes()[..], value].concat()
    }

    fn of(organization: [u8; 3], subtype: u8, value: &[u8]) -> Vec<u8> {
        tlv(ORGANIZATION, &[&organization[..], &[subtype], value].concat())
    }

    /// As a switch says it: PFC on 3, which has half of the link, SMB Direct and RoCE mapped to it, jumbo frames, VLAN 711.
    fn frame() -> Vec<u8> {
        let ets =
            [&[0x03][..], &[0x00, 0x03, 0x00, 0x07], &[50, 0, 0, 48, 0, 0, 0, 2], &[2, 0, 0, 2, 0, 0, 0, 2]];
        [
            tlv(CHASSIS, &[4, 2, 0, 0, 0, 0, 0xab]),
            tlv(PORT, b"\x05Ethernet1/7"),
            tlv(TTL, &[0, 120]),
            tlv(SYSTEM_NAME, b"tor-a"),
            tlv(7, &[0, 4, 0, 4]),
            of(OF_802_1, 1, &[0x02, 0xc7]),
            of(OF_802_1, 3, b"\x02\xc8\x04lm-b"),
            of(OF_802_1, 3, b"\x02\xc7\x07storage"),
            of(OF_802_1, 3, b"\x02\xc8\x04lm-b"),
            of(OF_802_1, 9, &ets.concat()),
            of(OF_802_1, 11, &[0x88, 1 << 3]),
            of(
                OF_802_1,
                12,
                &[&[0][..], &[3 << 5 | 2, 0x01, 0xbd], &[3 << 5 | 4, 0x12, 0xb7], &[3 << 5 | 5, 0, 26]]
                    .concat(),
            ),
            of(OF_802_3, 4, &9216u16.to_be_bytes()),
            tlv(END, &[]),
            b"padding of the frame".to_vec(),
        ]
        .concat()
    }

    #[test]
    fn a_frame_gives_the_switch_its_port_and_what_the_port_does_with_priorities() {
        let said = parse(&frame()).unwrap();
        assert_eq!((said.chassis.as_str(), said.port.as_str()), ("02:00:00:00:00:ab", "Ethernet1/7"));
        assert_eq!((said.system_name.as_deref(), said.ttl_s), (Some("tor-a"), 120));
        assert_eq!((said.vlan, said.frame_bytes_max), (Some(711), Some(9216)));
        assert_eq!(said.vlans, Some(vec![711, 712]), "each once");
        assert_eq!((said.pfc_willing, said.ets_willing), (Some(true), Some(false)));
        let dcb = said.dcb.unwrap();
        assert_eq!(dcb.pfc.unwrap(), DcbPfc { enabled_priorities: vec![3], classes_max: Some(8) });
        let ets = dcb.ets.unwrap();
        assert_eq!(ets.bandwidth_percent, [50, 0, 0, 48, 0, 0, 0, 2]);
        assert_eq!(ets.class_of_priority, [0, 0, 0, 3, 0, 0, 0, 7]);
        assert_eq!((ets.algorithms[0], ets.algorithms[1]), (DcbAlgorithm::Ets, DcbAlgorithm::Strict));
        let table: Vec<_> =
            dcb.applications.unwrap().iter().map(|a| (a.selector, a.protocol, a.priority)).collect();
        assert_eq!(
            table,
            [(DcbSelector::StreamPort, 445, 3), (DcbSelector::Port, 4791, 3), (DcbSelector::Dscp, 26, 3)]
        );
    }

    #[test]
    fn what_is_cut_short_is_left_out_and_never_a_panic() {
        let good = frame();
        for length in 0..good.len() {
            let _ = parse(&good[..length]);
        }
        for at in 0..good.len() {
            for value in [0, 0xff, good[at] ^ 1] {
                let mut wrong = good.clone();
                wrong[at] = value;
                let _ = parse(&wrong);
            }
        }
        let head = |ttl: u8| [tlv(CHASSIS, &[7, b'a']), tlv(PORT, &[7, b'b']), tlv(TTL, &[0, ttl])].concat();
        let brief = parse(&head(9)).unwrap();
        assert_eq!((brief.dcb, brief.vlans), (None, None), "what is not said is not off");
        let many: Vec<u8> = (1..2000u16).flat_map(|vlan| of(OF_802_1, 3, &vlan.to_be_bytes())).collect();
        let many = parse(&[head(9), of(OF_802_1, 3, &[2]), many].concat()).unwrap();
        assert_eq!(many.vlans.unwrap().len(), VLANS_MAX);
        assert_eq!(parse(&head(0)), None, "its sender is gone");
        let half = [head(9), of(OF_802_1, 9, &[0, 1, 2]), of(OF_802_1, 11, &[8])].concat();
        let said = parse(&half).unwrap();
        assert_eq!((said.dcb.unwrap_or_default(), said.pfc_willing), (Dcb::default(), None));
        assert_eq!(parse(&[tlv(PORT, &[7, b'b']), tlv(CHASSIS, &[7, b'a'])].concat()), None);
        assert!(parse(&[head(9), of(OF_CEE, 2, &[1, 2, 3])].concat()).unwrap().before_the_standard);
    }
}
