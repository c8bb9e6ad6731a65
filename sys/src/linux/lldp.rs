//! Frames of LLDP (IEEE 802.1AB) as they arrive at an interface. Nothing is sent.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::arp;
use super::errqueue;

/// `ETH_P_LLDP`.
const LLDP: u16 = 0x88cc;
/// Where frames are sent that no bridge forwards: nearest bridge, nearest bridge that is no relay of two ports, nearest customer bridge.
const GROUPS: [[u8; 6]; 3] =
    [[0x01, 0x80, 0xc2, 0, 0, 0x0e], [0x01, 0x80, 0xc2, 0, 0, 0x03], [0x01, 0x80, 0xc2, 0, 0, 0]];
/// Longest frame that is read; a longer one is no LLDP.
const FRAME_BYTES_MAX: usize = 1600;
/// Most frames that are read at once: a neighbour that floods must not hold anybody up.
const FRAMES_MAX: usize = 256;

/// An interface that is listened at; what arrives waits in the kernel until it is asked for. Opening it takes the right to raw packets
/// (`CAP_NET_RAW`).
pub struct Listener(Socket);

impl Listener {
    /// At the interface with this number.
    pub fn open(index: u32) -> io::Result<Listener> {
        let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // Without a protocol nothing is heard before it is bound to one interface.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.bind(&arp::address(index, LLDP.to_be(), [0; 6])?)?;
        GROUPS.iter().try_for_each(|group| join(&socket, index, group))?;
        Ok(Listener(socket))
    }

    /// What has arrived since, without the header of Ethernet.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        while frames.len() < FRAMES_MAX {
            let mut frame = [0; FRAME_BYTES_MAX];
            match errqueue::receive(self.0.as_fd(), &mut frame) {
                Ok(Some(got)) => frames.push(frame[..got.bytes.min(FRAME_BYTES_MAX)].to_vec()),
                Ok(None) | Err(_) => break,
            }
        }
        frames
    }
}

/// Has the interface hear a group, for as long as the socket is open.
fn join(socket: &Socket, index: i32, group: &[u8; 6]) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(group);
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: address,
    };
    // SAFETY: the option takes a `packet_mreq`, which lives for the call and whose size is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error_and_one_that_is_silent_says_nothing() {
        assert!(Listener::open(u32::MAX).is_err());
        match Listener::open(1) {
            Ok(listener) => assert!(listener.frames().is_empty()),
            // Without the right to raw packets.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
