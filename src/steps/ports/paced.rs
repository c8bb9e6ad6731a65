//! Datagrams at a pace to the ports of UDP that a role needs, beside as many to another port of the list: whether what answers once also carries.
//!
//! They go to ports at which the session's own word came back, and to no others; the other end counts them and says over each source port how many
//! came (`pathproof_engine::ports::datagrams`). It sends no burst, also not to make up for time in which this host did something else: neither the buffer
//! of a socket nor a limit on the way is to be met by the question itself.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use pathproof_api::Clock;
use pathproof_engine::ports::datagrams::{
    self, Counts, FLOWS, FULL_IP_BYTES_MAX, FlowCounts, Planned, SENDING, Sent, Sort, TOGETHER,
};
use pathproof_model::{AskedPort, Port, PortDatagrams};
use pathproof_sys::AsDescriptor;
use pathproof_sys::errqueue::{self, Family};
use pathproof_sys::socket::wait_readable;

use super::dial::Dialler;

/// What was sent last may be on its way for so long before it is asked what has arrived.
const SETTLE: Duration = Duration::from_millis(60);
/// How often the other end is asked what has arrived, over source ports of which it has said nothing yet.
const CLOSINGS: u32 = 4;
/// How long each of these questions is listened for, beside the pauses between them.
const CLOSING: Duration = Duration::from_millis(100);
/// Sending may take so much longer than where nothing else wants the processors; what is left then is not sent.
const LATE: Duration = Duration::from_millis(400);

/// The longest that all of it takes.
const LONGEST: Duration = Duration::from_millis(800 + 400 + 60 + 4 * (100 + 60));

/// One source port.
struct PacedSocket {
    socket: UdpSocket,
    counts: FlowCounts,
}

/// A port that datagrams are sent to.
struct Target {
    port: Port,
    full_ip_bytes: u32,
    small: Vec<u8>,
    full: Vec<u8>,
    closing: Vec<u8>,
    flows: Vec<PacedSocket>,
}

/// What the other end counted of datagrams to the ports of UDP at which it answered, where one of them is `needed`. Nothing where there is no such port, no
/// time for it, or an end that counts nothing.
pub fn count(dialler: &Dialler<'_>, found: &[AskedPort], needed: &[Port]) -> Vec<PortDatagrams> {
    let ports = datagrams::targets(found, needed);
    if ports.is_empty() || dialler.within(LONGEST) < LONGEST {
        return vec![];
    }
    let opened: io::Result<Vec<Target>> = ports.into_iter().map(|port| Target::open(dialler, port)).collect();
    let Ok(mut targets) = opened else { return vec![] };
    send(dialler, &mut targets);
    ask(dialler, &mut targets);
    let sent: Vec<Sent> = targets.iter().map(Target::sent).collect();
    datagrams::results(&sent)
}

/// Without the form in which a socket for both families has addresses of IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

impl Target {
    fn open(dialler: &Dialler<'_>, port: Port) -> io::Result<Target> {
        let (mut local, peer) = (plain(dialler.local), plain(dialler.at(port.number())));
        local.set_port(0);
        let family = Family::of(peer.ip());
        // RFC 791 and 8200, and 8 of UDP.
        let header_bytes: u32 = match family {
            Family::V4 => 28,
            Family::V6 => 48,
        };
        let (mut flows, mut full_ip_bytes) = (vec![], FULL_IP_BYTES_MAX);
        for _ in 0..FLOWS {
            let socket = UdpSocket::bind(local)?;
            socket.set_nonblocking(true)?;
            socket.connect(peer)?;
            // As RoCE does, and not longer than what the host believes to pass: what does not is found elsewhere.
            errqueue::obey_path_mtu(socket.descriptor(), family)?;
            full_ip_bytes = full_ip_bytes.min(errqueue::path_mtu(socket.descriptor(), family)?);
            flows.push(PacedSocket { socket, counts: FlowCounts::default() });
        }
        let full_bytes = full_ip_bytes.saturating_sub(header_bytes) as usize;
        Ok(Target {
            port,
            full_ip_bytes,
            small: Sort::Small.datagram(&dialler.asks, full_bytes),
            full: Sort::Full.datagram(&dialler.asks, full_bytes),
            closing: Sort::Closing.datagram(&dialler.asks, full_bytes),
            flows,
        })
    }

    /// Sends one, and counts it where it went out. A host whose own firewall refuses it has lost it as well.
    fn send(&mut self, one: Planned) {
        let Some(flow) = self.flows.get_mut(one.flow) else { return };
        let datagram = if one.full { &self.full } else { &self.small };
        // An error may be that of an earlier one.
        let tried = flow.socket.send(datagram).or_else(|_| flow.socket.send(datagram));
        if tried.is_err_and(|error| error.kind() != ErrorKind::PermissionDenied) {
            return;
        }
        let sent = &mut flow.counts.sent;
        let count = if one.full { &mut sent.full } else { &mut sent.small };
        *count += 1;
    }

    fn sent(&self) -> Sent {
        let flows = self.flows.iter().map(|flow| flow.counts).collect();
        Sent { port: self.port, full_ip_bytes: self.full_ip_bytes, flows }
    }
}

fn send(dialler: &Dialler<'_>, targets: &mut [Target]) {
    let order = datagrams::schedule(targets.len());
    let pause = datagrams::pause(order.len());
    let deadline = dialler.clock.deadline(SENDING + LATE);
    let mut due = dialler.clock.now();
    for turn in order.chunks(TOGETHER) {
        rest(due.since(dialler.clock.now()));
        if deadline.is_over() {
            return;
        }
        for one in turn {
            if let Some(target) = targets.get_mut(one.target) {
                target.send(*one);
            }
        }
        // Who was late goes on at the same pace.
        due = (due + pause).max(dialler.clock.now());
    }
}

/// Sleeps: nothing comes meanwhile that anybody waits for.
fn rest(wait: Duration) {
    if !wait.is_zero() {
        let _ = wait_readable(&[], Some(wait));
    }
}

/// Asks over each source port what has arrived, again where nothing was said.
fn ask(dialler: &Dialler<'_>, targets: &mut [Target]) {
    rest(SETTLE);
    let all: usize = targets.iter().map(|target| target.flows.len()).sum();
    let pause = SETTLE / u32::try_from(all.max(1)).unwrap_or(u32::MAX);
    for _ in 0..CLOSINGS {
        for target in targets.iter() {
            for flow in target.flows.iter().filter(|flow| flow.counts.arrived.is_none()) {
                let _ = flow.socket.send(&target.closing).or_else(|_| flow.socket.send(&target.closing));
                rest(pause);
            }
        }
        hear(dialler, targets);
        if unheard(targets).is_empty() {
            return;
        }
    }
}

fn unheard(targets: &mut [Target]) -> Vec<&mut PacedSocket> {
    let flows = targets.iter_mut().flat_map(|target| &mut target.flows);
    flows.filter(|flow| flow.counts.arrived.is_none()).collect()
}

/// Takes in what comes, until it is all that can.
fn hear(dialler: &Dialler<'_>, targets: &mut [Target]) {
    let deadline = dialler.clock.deadline(CLOSING);
    loop {
        let mut waiting = unheard(targets);
        if waiting.is_empty() || deadline.is_over() {
            return;
        }
        let sockets: Vec<_> = waiting.iter().map(|flow| flow.socket.descriptor()).collect();
        let Ok(ready) = wait_readable(&sockets, Some(deadline.left())) else { return };
        for (flow, _) in waiting.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let mut answer = [0; 64];
            // What is no answer to this question is one to an earlier one, or an error of it.
            if let Ok(bytes) = flow.socket.recv(&mut answer) {
                flow.counts.arrived = Counts::of(&answer[..bytes], &dialler.told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pathproof_engine::ports::Listens;
    use pathproof_model::{AnsweredBy, PortAnswer};
    use pathproof_sys::clock::RealClock;
    use pathproof_sys::ending;

    use super::super::listen::{Listeners, Words};
    use super::*;

    const TOLD: [u8; 32] = [1; 32];
    const ASKS: [u8; 32] = [2; 32];

    fn dialler(here: IpAddr, there: IpAddr, clock: &RealClock) -> Dialler<'_> {
        Dialler {
            local: (here, 0).into(),
            peer: (there, 0).into(),
            told: TOLD,
            asks: ASKS,
            shows: false,
            until: clock.now() + Duration::from_secs(20),
            clock,
        }
    }

    fn answered(port: Port) -> AskedPort {
        AskedPort { port, answer: PortAnswer::Answered, by: Some(AnsweredBy::Agent), reason: None }
    }

    #[test]
    fn the_other_end_says_how_many_came_to_each_port() {
        let (here, there) = (IpAddr::from([127, 79, 5, 1]), IpAddr::from([127, 79, 5, 2]));
        let mut listeners = Listeners::default();
        let offered = listeners.open((there, 0).into(), &[Port::Heartbeat, Port::Roce]);
        // A kernel with an RDMA device of its own has the port of RoCE.
        let open = offered.iter().filter(|one| one.listens == Listens::Agent);
        let ports: Vec<Port> = open.map(|one| one.port).collect();
        assert!(ports.contains(&Port::Heartbeat), "{offered:?}");
        let (ender, ending) = ending::pair().unwrap();
        let words = Words { peers: vec![here], told: TOLD, asked: ASKS, shown: None };
        let answering = listeners.answer(words, ending).unwrap();
        let clock = RealClock::new();
        let found: Vec<AskedPort> = ports.iter().copied().map(answered).collect();
        let counted = count(&dialler(here, there, &clock), &found, &[Port::Heartbeat]);
        assert_eq!(counted.iter().map(|one| one.port).collect::<Vec<_>>(), ports);
        for one in counted {
            assert!(one.small_sent > 0 && one.full_sent > 0, "{one:?}");
            assert_eq!((one.full_ip_bytes, one.flows as usize), (FULL_IP_BYTES_MAX, FLOWS), "{one:?}");
            // A processor that others want may let them wait until there is no room.
            assert!(one.lost_small().part * 4 <= one.small_sent, "{one:?}");
            assert!(one.lost_full().part * 4 <= one.full_sent, "{one:?}");
        }
        drop(ender);
        answering.join().unwrap();
    }

    #[test]
    fn an_end_that_counts_nothing_is_not_said_to_lose_and_nobody_is_sent_to_who_did_not_answer() {
        let (here, there) = (IpAddr::from([127, 79, 6, 1]), IpAddr::from([127, 79, 6, 2]));
        let port = Port::Heartbeat;
        let quiet = UdpSocket::bind((there, port.number())).unwrap();
        quiet.set_nonblocking(true).unwrap();
        let clock = RealClock::new();
        let silent = AskedPort { answer: PortAnswer::Filtered, by: None, ..answered(port) };
        assert_eq!(count(&dialler(here, there, &clock), &[silent], &[port]), []);
        assert!(quiet.recv(&mut [0; 64]).is_err(), "a datagram came");
        assert_eq!(count(&dialler(here, there, &clock), &[answered(port)], &[port]), []);
        assert!(quiet.recv(&mut [0; 64]).is_ok(), "none came");
    }
}
