//! Datagrams as they arrive at a NIC, with the tags of their frames (IEEE 802.1Q): the socket that they are for is told nothing of those,
//! because a tag is taken off before. Nothing is sent.

use std::io;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::arp;
use super::errqueue::{self, Family, Received};

// Instructions of the packet filter (linux/bpf_common.h).
const LOAD_BYTE: u16 = 0x30;
const LOAD_TWO: u16 = 0x28;
const LOAD_TWO_BEHIND: u16 = 0x48;
const LOAD_HEAD_LENGTH: u16 = 0xb1;
const UNLESS: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// An interface at which datagrams to one port are listened to. Opening it takes the right to raw packets (`CAP_NET_RAW`).
#[derive(Debug)]
pub struct Listener(Socket);

impl Listener {
    /// At the interface with this number; of a VLAN device that is the one below it.
    pub fn open(index: u32, family: Family, port: u16) -> io::Result<Listener> {
        let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // Without a protocol nothing is heard before it is bound to one interface.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        // Everything else that passes the interface costs a few instructions, and what leaves not even those.
        socket.attach_filter(&filter(family, port))?;
        errqueue::report_tags(socket.as_fd())?;
        // A listener for IP alone is asked after the frame was handed on to the VLAN device.
        socket.bind(&arp::address(index, (libc::ETH_P_ALL as u16).to_be(), [0; 6])?)?;
        Ok(Listener(socket))
    }

    /// The next datagram, as an IP packet, without waiting; `Ok(None)` when there is none.
    pub fn next(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        errqueue::receive(self.0.as_fd(), buffer)
    }
}

/// Lets pass what is for this host, of a family, UDP, whole, and for a port.
fn filter(family: Family, port: u16) -> Vec<SockFilter> {
    let told = |what: i32| (libc::SKF_AD_OFF + what) as u32;
    let (protocol, headers): (i32, &[(u16, u32)]) = match family {
        Family::V4 => (
            libc::ETH_P_IP,
            &[
                (LOAD_BYTE, 9),
                (UNLESS, libc::IPPROTO_UDP as u32),
                // A later fragment has no ports.
                (LOAD_TWO, 6),
                (IF_ANY_BIT, 0x1fff),
                (LOAD_HEAD_LENGTH, 0),
                (LOAD_TWO_BEHIND, 2),
            ],
        ),
        Family::V6 => {
            (libc::ETH_P_IPV6, &[(LOAD_BYTE, 6), (UNLESS, libc::IPPROTO_UDP as u32), (LOAD_TWO, 42)])
        }
    };
    let first = [
        (LOAD_BYTE, told(libc::SKF_AD_PKTTYPE)),
        (UNLESS, u32::from(libc::PACKET_HOST)),
        (LOAD_TWO, told(libc::SKF_AD_PROTOCOL)),
        (UNLESS, protocol as u32),
    ];
    let all: Vec<(u16, u32)> = first.iter().chain(headers).copied().chain([(UNLESS, port.into())]).collect();
    let checked = all.iter().enumerate().map(|(at, (code, operand))| {
        // What does not hold leads past the rest, and past the instruction that takes the packet.
        let away = (all.len() - at) as u8;
        match *code {
            UNLESS => SockFilter::new(UNLESS, 0, away, *operand),
            IF_ANY_BIT => SockFilter::new(IF_ANY_BIT, away, 0, *operand),
            load => SockFilter::new(load, 0, 0, *operand),
        }
    });
    checked.chain([SockFilter::new(RETURN, 0, 0, u32::MAX), SockFilter::new(RETURN, 0, 0, 0)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::socket::wait_readable;
    use super::*;

    /// No program sends to it, and none is given it by chance.
    const PORT: u16 = 9;

    /// A frame to this host: a tag, if it has one, and a datagram to `PORT` of IPv4 or IPv6.
    fn frame(tag: Option<u16>, family: Family, port: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if let Some(tag) = tag {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        let mut udp = [0; 12];
        udp[2..4].copy_from_slice(&port.to_be_bytes());
        udp[5] = udp.len() as u8;
        match family {
            Family::V4 => {
                frame.extend([0x08, 0x00]);
                let mut head = [0; 20];
                (head[0], head[3], head[8], head[9]) = (0x45, 32, 64, 17);
                (head[12], head[15], head[16], head[19]) = (127, 1, 127, 1);
                frame.extend(head);
            }
            Family::V6 => {
                frame.extend([0x86, 0xdd]);
                let mut head = [0; 40];
                (head[0], head[5], head[6], head[7]) = (0x60, 12, 17, 64);
                (head[23], head[39]) = (1, 1);
                frame.extend(head);
            }
        }
        frame.extend(udp);
        frame
    }

    #[test]
    fn a_datagram_is_heard_with_the_tag_of_its_frame_and_nothing_else_is() {
        assert!(Listener::open(u32::MAX, Family::V4, PORT).is_err());
        for family in [Family::V4, Family::V6] {
            let listener = match Listener::open(1, family, PORT) {
                Ok(listener) => listener,
                // Without the right to raw packets.
                Err(error) => return assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
            };
            let wire = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).unwrap();
            let to = arp::address(1, 0, [0; 6]).unwrap();
            let send = |frame: &[u8]| assert_eq!(wire.send_to(frame, &to).unwrap(), frame.len());
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            send(&frame(Some(3 << 13 | 5), family, PORT));
            send(&frame(Some(4 << 13), family, PORT + 1));
            send(&frame(Some(5 << 13), other, PORT));
            send(&frame(None, family, PORT));
            send(&frame(Some(7 << 13), family, PORT));
            let (mut tags, mut buffer) = (vec![], [0; 100]);
            while tags.len() < 3 {
                let Some(got) = listener.next(&mut buffer).unwrap() else {
                    let come = wait_readable(&[listener.0.as_fd()], Some(Duration::from_secs(5))).unwrap();
                    assert_eq!(come, [true], "{tags:?}");
                    continue;
                };
                assert_eq!(got.bytes, if family == Family::V4 { 32 } else { 52 });
                assert_eq!(buffer[0] >> 4, if family == Family::V4 { 4 } else { 6 });
                tags.push(got.tag);
            }
            assert_eq!(tags, [Some(3 << 13 | 5), None, Some(7 << 13)], "{family:?}");
        }
    }
}
