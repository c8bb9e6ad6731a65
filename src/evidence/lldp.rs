//! What the switches say of the ports that this host is connected to (LLDP). They speak when they like; nothing is sent and nothing is
//! waited for: what comes during a step lies in the kernel until it is over.

use pathproof_engine::lldp;
use pathproof_model::{Evidence as Record, Half, SwitchPort};
use pathproof_sys::interfaces;
use pathproof_sys::lldp::Listener;

use super::{About, Evidence};

/// Most interfaces that are listened at.
const NICS_MAX: usize = 64;
/// Most ports that one of them may hear of: a hub, or somebody who makes them up.
const PORTS_MAX: usize = 4;

/// Sockets by interface, and why there is one less.
pub struct SwitchPorts {
    listening: Vec<(String, Listener)>,
    unreadable: Option<String>,
}

impl Evidence for SwitchPorts {
    fn before(_about: &About) -> SwitchPorts {
        let nics = interfaces::list().unwrap_or_default();
        let mut ports = SwitchPorts { listening: vec![], unreadable: None };
        for nic in nics.into_iter().filter(|nic| nic.is_up && !nic.is_loopback()).take(NICS_MAX) {
            match Listener::open(nic.index) {
                Ok(listener) => ports.listening.push((nic.name, listener)),
                Err(error) => ports.unreadable = Some(error.to_string()),
            }
        }
        ports
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let heard: Vec<SwitchPort> =
            self.listening.iter().flat_map(|(nic, listener)| latest(nic, &listener.frames())).collect();
        record.switch_ports = (!heard.is_empty()).then_some(heard);
        if let Some(why) = self.unreadable {
            record.cannot_tell("switch ports", why);
        }
    }
}

/// The last word of each port.
fn latest(nic: &str, frames: &[Vec<u8>]) -> Vec<SwitchPort> {
    let mut ports: Vec<SwitchPort> = vec![];
    for said in frames.iter().rev().filter_map(|frame| lldp::parse(frame)) {
        let known = ports.iter().any(|port| (&port.chassis, &port.port) == (&said.chassis, &said.port));
        if !known && ports.len() < PORTS_MAX {
            ports.push(SwitchPort { nic: nic.into(), ..said });
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_speaks_twice_is_told_once_as_it_was_last_and_a_flood_of_ports_is_bounded() {
        let frame = |port: u8, ttl: u8| vec![2, 2, 7, b'a', 4, 2, 7, port, 6, 2, 0, ttl];
        let told = latest("e0", &[frame(b'x', 9), frame(b'x', 7), vec![1, 2, 3]]);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].nic.as_str(), told[0].ttl_s), ("e0", 7));
        let many: Vec<Vec<u8>> = (b'a'..=b'z').map(|port| frame(port, 9)).collect();
        assert_eq!(latest("e0", &many).len(), PORTS_MAX);
    }
}
