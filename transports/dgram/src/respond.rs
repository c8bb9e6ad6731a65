//! The receiving end: answers every probe and challenge of its session at once with a datagram that is never larger, and
//! says whether a probe came whole or in fragments. Knows nothing of what the probes are for, and says nothing to
//! strangers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use pathproof_sys::ending::Ending;
use pathproof_sys::errqueue::{self, Family};
use socket2::Socket;

use crate::udp::{bound, socket_error};
use crate::wire::{self, Datagram, ProbeKey, RECENT_MAX};
use crate::{DgramError, headers_bytes};

/// Different senders remembered at once; more than NIC pairs exist are strangers.
const SENDERS_MAX: usize = 1024;

/// Sockets on which probes may arrive.
#[derive(Debug)]
pub struct Responder {
    sockets: Vec<(Socket, Family)>,
    key: ProbeKey,
}

impl Responder {
    /// A responder without sockets. `key` is that of the other end's probes.
    pub fn new(key: ProbeKey) -> Responder {
        Responder { sockets: Vec::new(), key }
    }

    /// Opens a socket on `local` (and `nic`) and returns the port that probes are to be sent to.
    pub fn listen(&mut self, local: IpAddr, nic: Option<&str>) -> Result<u16, DgramError> {
        let socket = bound(local, nic)?;
        let family = Family::of(local);
        let fail = |operation| socket_error(local, nic, operation);
        errqueue::report_fragments(socket.as_fd(), family).map_err(fail("ask for fragment sizes"))?;
        // A round of the largest probes must not be dropped here while this thread waits for a CPU.
        let _ = socket.set_recv_buffer_size(8 << 20);
        let port = socket
            .local_addr()
            .map_err(fail("read the port"))?
            .as_socket()
            .map(|address| address.port())
            .unwrap_or_default();
        self.sockets.push((socket, family));
        Ok(port)
    }

    /// Answers probes until the end comes.
    pub fn run(&self, ending: &Ending) -> Result<(), DgramError> {
        let descriptors: Vec<_> = self.sockets.iter().map(|(socket, _)| socket.as_fd()).collect();
        let mut buffer = vec![0; 65_536];
        let mut whole: HashMap<SocketAddr, Vec<u32>> = HashMap::new();
        while ending.wait_readable(&descriptors, None).map_err(DgramError::Receive)? {
            for (socket, family) in &self.sockets {
                // Bounded, so that a flood on one socket starves neither the others nor the end.
                for _ in 0..1024 {
                    match errqueue::receive(socket.as_fd(), &mut buffer) {
                        Ok(Some(received)) => {
                            self.answer(socket, *family, &buffer[..received.bytes], received, &mut whole);
                        }
                        // Errors here are about answers that could not be delivered: the sender's loss timer
                        // takes care of it.
                        Ok(None) | Err(_) => break,
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        socket: &Socket,
        family: Family,
        data: &[u8],
        received: errqueue::Received,
        whole: &mut HashMap<SocketAddr, Vec<u32>>,
    ) {
        let Some(from) = received.from else { return };
        let (seq, ip_bytes) = match wire::read(data, &self.key) {
            Some(Datagram::Probe { seq, ip_bytes }) => (seq, ip_bytes),
            Some(Datagram::Challenge(nonce)) => {
                let _ = socket.send_to(&wire::consent(&self.key, nonce), &from.into());
                return;
            }
            _ => return,
        };
        // Something on the way that changes the length must not pass for an arrival.
        if data.len() + headers_bytes(family) != usize::from(ip_bytes) {
            return;
        }
        if whole.len() >= SENDERS_MAX && !whole.contains_key(&from) {
            return;
        }
        let recent = whole.entry(from).or_default();
        if received.largest_fragment_bytes.is_none() && !recent.contains(&seq) {
            if recent.len() >= RECENT_MAX as usize {
                recent.remove(0);
            }
            recent.push(seq);
        }
        let answer = wire::answer(&self.key, seq, received.largest_fragment_bytes, recent);
        let _ = socket.send_to(&answer, &from.into());
    }
}
