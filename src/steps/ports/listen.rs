//! Listens on the ports of the list for the length of a step, at the session's own address or at those that this end has on every shared
//! network, where nothing else does: so that an attempt of the other end is answered, and a silence means something.
//!
//! It says one word of the session to the other end and hears nothing but its questions, and how many datagrams came: what anybody sends is thrown away,
//! and who is not the session's peer is let go at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use pathproof_engine::ports::datagrams::{Sort, Tally};
use pathproof_engine::ports::{Listens, Offered};
use pathproof_model::Port;
use pathproof_sys::AsDescriptor;
use pathproof_sys::ending::Ending;
use socket2::SockRef;

/// Connections that are kept open at once: those of a burst, and those of single questions.
const HELD_MAX: usize = 128;
/// Taken from one port before the others have their turn.
const TURN_MAX: usize = 64;
/// What a socket of datagrams asks for as its buffer: one that is full would pass for a path that loses.
const BUFFER_BYTES: usize = 1 << 20;

/// The ports of the list at which this end listens.
#[derive(Default)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

/// What is said at the ports, and to whom.
pub struct Words {
    /// The session's peer, by the addresses from which it may ask.
    pub peers: Vec<IpAddr>,
    /// This end's word.
    pub told: [u8; 32],
    /// With what the peer asks.
    pub asked: [u8; 32],
    /// Who is to know from which of those addresses the peer asked over a connection. Nobody else can: it takes the session's secret, and
    /// packets that come back to the address.
    pub shown: Option<Sender<IpAddr>>,
}

impl Listeners {
    /// Listens at `address`, whose port does not matter, on every port of `list` that is free there. How this end stands to each.
    pub fn open(&mut self, address: SocketAddr, list: &[Port]) -> Vec<Offered> {
        let mut offered = vec![];
        for &port in list {
            let mut at = address;
            at.set_port(port.number());
            let opened = if port.is_udp() {
                UdpSocket::bind(at).and_then(|socket| {
                    // Less than that is given where the host's limit is lower.
                    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES);
                    socket.set_nonblocking(true).map(|()| self.udp.push(socket))
                })
            } else {
                TcpListener::bind(at)
                    .and_then(|listener| listener.set_nonblocking(true).map(|()| self.tcp.push(listener)))
            };
            let listens = match opened {
                Ok(()) => Listens::Agent,
                Err(error) => match error.kind() {
                    ErrorKind::AddrInUse => Listens::Service,
                    ErrorKind::PermissionDenied => Listens::NoRight,
                    _ => Listens::Failed,
                },
            };
            offered.push(Offered { port, listens });
        }
        offered
    }

    /// Answers until the end comes, on a thread of its own.
    pub fn answer(self, words: Words, ending: Ending) -> io::Result<JoinHandle<()>> {
        let answer = move || {
            let mut held: Vec<TcpStream> = vec![];
            let mut arrived: Vec<Tally<SocketAddr>> = self.udp.iter().map(|_| Tally::default()).collect();
            loop {
                let sockets: Vec<_> = (self.tcp.iter().map(AsDescriptor::descriptor))
                    .chain(self.udp.iter().map(AsDescriptor::descriptor))
                    .chain(held.iter().map(AsDescriptor::descriptor))
                    .collect();
                if !ending.wait_readable(&sockets, None).unwrap_or(false) {
                    break;
                }
                held.retain_mut(|stream| is_open(stream, &words));
                for listener in &self.tcp {
                    accept(listener, &words, &mut held);
                }
                for (socket, arrived) in self.udp.iter().zip(&mut arrived) {
                    echo(socket, &words, arrived);
                }
            }
        };
        std::thread::Builder::new().name("ports".into()).spawn(answer)
    }
}

/// Takes what waits at a port; the peer's connections stay open until it closes them, because a limit on their number must show.
fn accept(listener: &TcpListener, words: &Words, held: &mut Vec<TcpStream>) {
    for _ in 0..TURN_MAX {
        let Ok((mut stream, from)) = listener.accept() else { return };
        let ready = words.peers.contains(&from.ip().to_canonical()) && held.len() < HELD_MAX;
        // A word of a few bytes fits into an empty buffer, so this does not wait.
        if ready && stream.set_nonblocking(true).is_ok() && stream.write_all(&words.told).is_ok() {
            held.push(stream);
        }
    }
}

/// Answers those datagrams of the peer that ask with its word, with as many bytes or fewer, and counts those that are to be counted.
fn echo(socket: &UdpSocket, words: &Words, arrived: &mut Tally<SocketAddr>) {
    // Of a longer one the beginning says what it is.
    let mut asked = [0; 64];
    for _ in 0..TURN_MAX {
        let Ok((bytes, from)) = socket.recv_from(&mut asked) else { return };
        if !words.peers.contains(&from.ip().to_canonical()) {
            continue;
        }
        if asked[..bytes] == words.asked {
            let _ = socket.send_to(&words.told, from);
        } else if let Some(sort) = Sort::of(&asked[..bytes], &words.asked)
            && let Some(counts) = arrived.take(from, sort)
        {
            let _ = socket.send_to(&counts.answer(&words.told), from);
        }
    }
}

/// Whether the other end still has the connection. Its question is answered, as many bytes for as many; all else is thrown away.
fn is_open(stream: &mut TcpStream, words: &Words) -> bool {
    let mut asked = [0; 256];
    match stream.read(&mut asked) {
        Ok(bytes) if asked[..bytes] == words.asked => {
            if let (Some(shown), Ok(from)) = (&words.shown, stream.peer_addr()) {
                // Whoever asks more often than is kept has shown it before.
                let _ = shown.try_send(from.ip().to_canonical());
            }
            stream.write_all(&words.told).is_ok()
        }
        Ok(bytes) => bytes > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pathproof_sys::{ending, thread};

    use super::*;

    #[test]
    fn ports_that_nobody_asks_sleep_until_the_end_of_the_step() {
        let here = IpAddr::from([127, 77, 0, 1]);
        let mut listeners = Listeners::default();
        let offered = listeners.open((here, 0).into(), &Port::ALL);
        assert!(listeners.tcp.len() + listeners.udp.len() > 0, "{offered:?}");
        let (ender, ending) = ending::pair().unwrap();
        let words = Words { peers: vec![here], told: [1; 32], asked: [2; 32], shown: None };
        let answering = listeners.answer(words, ending).unwrap();
        assert!(thread::sleeps_within("ports", Duration::from_millis(300)) <= 2);
        drop(ender);
        answering.join().unwrap();
    }
}
