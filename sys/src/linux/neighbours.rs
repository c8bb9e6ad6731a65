//! Neighbours over rtnetlink (`RTM_GETNEIGH`).

use std::collections::BTreeMap;
use std::io;

use super::interfaces;
use super::netlink::{self, Message, neighbour};
use crate::neighbours::Neighbour;

/// All of this network namespace that need a hardware address: the loopback's and point-to-point links' do not.
pub fn list() -> io::Result<Vec<Neighbour>> {
    let names = interfaces::names()?;
    let answers = netlink::dump(Message::of(libc::RTM_GETNEIGH))?;
    Ok(answers.iter().filter_map(|answer| read(answer, &names)).collect())
}

fn read(message: &Message, names: &BTreeMap<u32, String>) -> Option<Neighbour> {
    let state = message.u16_at(neighbour::STATE);
    if message.kind != libc::RTM_NEWNEIGH || state == libc::NUD_NOARP {
        return None;
    }
    let interface = names.get(&message.u32_at(neighbour::INDEX))?.clone();
    let address = message.attribute(libc::NDA_DST)?.address()?;
    let mac = message.attribute(libc::NDA_LLADDR).map(|mac| {
        let octets: Vec<String> = mac.value.iter().map(|byte| format!("{byte:02x}")).collect();
        octets.join(":")
    });
    Some(Neighbour { address, interface, mac, failed: state == libc::NUD_FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_has_its_address_and_what_became_of_it() {
        let names = BTreeMap::from([(3, "e0".to_owned())]);
        let told = |index: u32, state: u16| {
            Message::of(libc::RTM_NEWNEIGH)
                .set(neighbour::INDEX, &index.to_ne_bytes())
                .set(neighbour::STATE, &state.to_ne_bytes())
                .with(libc::NDA_DST, &[192, 0, 2, 9])
        };
        let known = read(&told(3, 2).with(libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 0xa]), &names).unwrap();
        assert_eq!((known.address, known.interface.as_str()), ([192, 0, 2, 9].into(), "e0"));
        assert_eq!((known.mac.as_deref(), known.failed), (Some("02:00:00:00:00:0a"), false));
        let failed = read(&told(3, libc::NUD_FAILED), &names).unwrap();
        assert_eq!((failed.mac, failed.failed), (None, true));
        assert!(read(&told(3, libc::NUD_NOARP), &names).is_none(), "it needs no hardware address");
        assert!(read(&told(4, 2), &names).is_none(), "of no interface of this namespace");
    }
}
