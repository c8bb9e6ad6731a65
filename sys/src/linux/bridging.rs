//! Data center bridging as the kernel shows it (rtnetlink `RTM_GETDCB`, IEEE 802.1Qaz).
//!
//! The decoder is pure and takes bytes. It refuses to read a missing attribute as "off": it stays `None`.

use std::io;

use super::netlink;
use crate::bridging::{Application, Bridging, FlowControl, Selection, Selector};

/// `RTM_GETDCB`; its answers carry the same type.
const RTM_GETDCB: u16 = 78;
/// `DCB_CMD_IEEE_GET`.
const IEEE_GET: u8 = 21;
/// `struct dcbmsg`: family, command, two bytes of padding.
const HEADER_BYTES: usize = 4;

// enum dcbnl_attrs.
const ATTR_IFNAME: u16 = 1;
const ATTR_IEEE: u16 = 13;
// enum ieee_attrs.
const IEEE_ETS: u16 = 1;
const IEEE_PFC: u16 = 2;
const IEEE_APP_TABLE: u16 = 3;
// enum ieee_attrs_app.
const APP: u16 = 1;

/// Priorities and traffic classes of IEEE 802.1Q.
const CLASSES: usize = 8;

/// What the driver of this interface tells, or why it tells nothing.
pub fn of(interface: &str) -> Result<Bridging, String> {
    let answer = netlink::raw(RTM_GETDCB, &question(interface)).map_err(|error| absent(&error))?;
    decode(&answer).ok_or_else(|| "the kernel's answer has no IEEE 802.1Qaz part".into())
}

fn absent(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "the driver has no DCB".into(),
        Some(libc::EPERM) => "only root may ask for DCB settings".into(),
        _ => format!("netlink: {error}"),
    }
}

fn question(interface: &str) -> Vec<u8> {
    let mut bytes = vec![0, IEEE_GET, 0, 0];
    let length = 4 + interface.len() + 1;
    bytes.extend_from_slice(&(length as u16).to_ne_bytes());
    bytes.extend_from_slice(&ATTR_IFNAME.to_ne_bytes());
    bytes.extend_from_slice(interface.as_bytes());
    bytes.push(0);
    bytes.resize(HEADER_BYTES + length.next_multiple_of(4), 0);
    bytes
}

/// The attributes (type, value) in `bytes`; what is cut short is left out.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const KIND_MASK: u16 = 0x3FFF; // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & KIND_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// From the answer's bytes behind the netlink header.
fn decode(answer: &[u8]) -> Option<Bridging> {
    let (_, ieee) = attributes(answer.get(HEADER_BYTES..)?).find(|(kind, _)| *kind == ATTR_IEEE)?;
    let mut dcb = Bridging::default();
    for (kind, value) in attributes(ieee) {
        match kind {
            IEEE_ETS => dcb.selection = ets(value),
            IEEE_PFC => dcb.flow_control = pfc(value),
            IEEE_APP_TABLE => {
                dcb.applications =
                    Some(attributes(value).filter(|(k, _)| *k == APP).filter_map(|(_, v)| app(v)).collect());
            }
            _ => {}
        }
    }
    Some(dcb)
}

/// `struct ieee_pfc`: capability, bit mask of the enabled priorities.
fn pfc(bytes: &[u8]) -> Option<FlowControl> {
    let (classes_max, enabled) = (*bytes.first()?, *bytes.get(1)?);
    Some(FlowControl {
        enabled_priorities: (0..CLASSES as u8).filter(|p| enabled >> p & 1 == 1).collect(),
        classes_max: (classes_max > 0).then_some(classes_max),
    })
}

/// `struct ieee_ets`: three bytes, then arrays of one byte per class or priority.
fn ets(bytes: &[u8]) -> Option<Selection> {
    let array = |number: usize| bytes.get(3 + CLASSES * number..3 + CLASSES * (number + 1));
    Some(Selection {
        bandwidth_percent: array(0)?.to_vec(),
        algorithms: array(2)?.to_vec(),
        class_of_priority: array(3)?.to_vec(),
    })
}

/// `struct dcb_app`: selector, priority, protocol in host order.
fn app(bytes: &[u8]) -> Option<Application> {
    let selector = match bytes.first()? {
        1 => Selector::EtherType,
        2 => Selector::StreamPort,
        3 => Selector::DatagramPort,
        4 => Selector::Port,
        5 => Selector::Dscp,
        _ => Selector::Unknown,
    };
    Some(Application {
        selector,
        priority: *bytes.get(1)?,
        protocol: u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// An answer as mlx5 gives it: PFC on priority 3, which has half of the link; RoCE and DSCP 26 mapped to it.
    fn answer() -> Vec<u8> {
        let mut ets = vec![0, 8, 0];
        ets.extend_from_slice(&[50, 0, 0, 50, 0, 0, 0, 0]); // tc_tx_bw
        ets.extend_from_slice(&[0; 8]); // tc_rx_bw
        ets.extend_from_slice(&[2, 0, 0, 2, 0, 0, 0, 255]); // tc_tsa
        ets.extend_from_slice(&[0, 0, 0, 3, 0, 0, 0, 7]); // prio_tc
        ets.extend_from_slice(&[0; 24]);
        let mut pfc = vec![8, 1 << 3, 0, 0];
        pfc.resize(136, 0);
        let apps = [
            attribute(APP, &[&[4, 3][..], &4791u16.to_ne_bytes()].concat()),
            attribute(APP, &[&[5, 3][..], &26u16.to_ne_bytes()].concat()),
        ];
        let ieee = [
            attribute(IEEE_ETS, &ets),
            attribute(7, &[0; 64]), // maximum rates, which are not used
            attribute(IEEE_PFC, &pfc),
            attribute(IEEE_APP_TABLE | 0x8000, &apps.concat()),
        ];
        let mut bytes = vec![0, IEEE_GET, 0, 0];
        bytes.extend(attribute(ATTR_IFNAME, b"eth4\0"));
        bytes.extend(attribute(ATTR_IEEE | 0x8000, &ieee.concat()));
        bytes
    }

    #[test]
    fn an_answer_gives_pfc_ets_and_applications() {
        let dcb = decode(&answer()).unwrap();
        assert_eq!(
            dcb.flow_control.unwrap(),
            FlowControl { enabled_priorities: vec![3], classes_max: Some(8) }
        );
        let ets = dcb.selection.unwrap();
        assert_eq!(ets.bandwidth_percent, [50, 0, 0, 50, 0, 0, 0, 0]);
        assert_eq!(ets.class_of_priority, [0, 0, 0, 3, 0, 0, 0, 7]);
        assert_eq!((ets.algorithms[0], ets.algorithms[7]), (2, 255));
        let apps = dcb.applications.unwrap();
        assert_eq!((apps[0].selector, apps[0].protocol, apps[0].priority), (Selector::Port, 4791, 3));
        assert_eq!((apps[1].selector, apps[1].protocol), (Selector::Dscp, 26));
    }

    #[test]
    fn what_is_missing_or_cut_short_is_unknown_and_never_a_panic() {
        let good = answer();
        for length in 0..good.len() {
            let _ = decode(&good[..length]);
        }
        let only_pfc = [vec![0; 4], attribute(ATTR_IEEE, &attribute(IEEE_PFC, &[8]))].concat();
        assert_eq!(decode(&only_pfc), Some(Bridging::default()), "half a structure is no structure");
        assert_eq!(decode(&[0; 4]), None);
        assert_eq!(decode(&[0, IEEE_GET, 0, 0, 2, 0, 13, 0]), None, "an attribute shorter than its header");
    }

    #[test]
    fn a_driver_without_dcb_is_told_apart() {
        assert_eq!(of("lo"), Err("the driver has no DCB".into()));
        assert!(of("nosuch0").is_err());
        assert_eq!(question("abc").len() % 4, 0);
    }
}
