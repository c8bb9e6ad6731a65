//! Sends paced datagrams over all paths at once.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};

use pathproof_api::Clock;
use pathproof_dgram::wire::{Paced, ProbeKey};
use pathproof_dgram::{DgramError, HopProbe, Mark, Outcome, ProbeSocket, UnprovenSocket};
use pathproof_engine::loss::{MARKS, STANDARD_IP_BYTES, Schedule};
use pathproof_model::SentFlow;
use pathproof_model::stream::{Count, Counted};

use super::echo::Echoes;
use super::{Path, SMALL_IP_BYTES};
use crate::steps::Context;
use crate::steps::mtu::consent::{Asked, ask};
use crate::steps::mtu::pairs::same_subnet;
use crate::steps::mtu::{device, probe_error};
use crate::steps::stage::SHOWN_NS;

/// Longest full-size packet: beyond jumbo frames only loopbacks go, and what they do says nothing.
const FULL_IP_BYTES_MAX: u32 = 9216;
/// Where the interfaces do not say what they carry.
const FULL_IP_BYTES_DEFAULT: u32 = 1500;

/// What was sent over one path.
pub struct Sent {
    pub full_ip_bytes: u32,
    /// Some of the small ones have the size of Ethernet's own MTU, and the other end counts them.
    pub has_standard: bool,
    pub reason: Option<String>,
    pub flows: Vec<SentFlow>,
    /// Sent where no flow was answered.
    pub echoes: Option<Echoes>,
    /// The first router on the way, where it says so.
    pub first_router: Option<IpAddr>,
}

/// Asks for consent flow by flow, and sends what the schedule says. The control connection's address is `known` to be the
/// peer's.
pub fn send(
    paths: &[Path<'_>],
    key: &ProbeKey,
    known: IpAddr,
    schedule: &Schedule,
    context: &mut Context<'_>,
) -> Vec<Sent> {
    let mut sent = nothing(paths);
    let mut sockets = open(paths, key, known, schedule, &mut sent, context);
    for (path, sent) in paths.iter().zip(&mut sent) {
        if sent.flows.iter().all(|flow| !flow.answered) {
            sent.echoes = Echoes::open(path, key, known, sent.full_ip_bytes, schedule.packets_per_s());
        }
    }
    let hops: Vec<Option<HopProbe>> =
        paths.iter().zip(&sent).map(|(path, sent)| ask_routers(path, sent, key)).collect();
    let (start, mut buffer) = (context.clock.now(), Vec::new());
    let (mut next, mut shown) = (0, start);
    let of_all = paths.len() as u64;
    while next < schedule.total() && !context.channel.is_over() {
        let now = context.clock.now();
        // A host that cannot keep the pace sends less, not longer: the time of the step is kept.
        if now >= context.until || now.since(start) > schedule.longest() {
            break;
        }
        // After a stall of this host what is overdue goes out step by step: a burst would be lost in a queue of the path.
        let due = next..schedule.due(now.ns_since(start)).min(next + schedule.burst());
        for number in due.clone() {
            let packet = schedule.packet(number);
            for (sent, sockets) in sent.iter_mut().zip(&mut sockets) {
                if let Some(echoes) = &mut sent.echoes {
                    echoes.turn(number, packet);
                }
                let flow = packet.flow as usize;
                let (Some(Some(socket)), Some(counts)) = (sockets.get_mut(flow), sent.flows.get_mut(flow))
                else {
                    continue;
                };
                let standard = packet.standard && sent.has_standard;
                let ip_bytes = match () {
                    () if packet.full => sent.full_ip_bytes,
                    () if standard => STANDARD_IP_BYTES,
                    () => SMALL_IP_BYTES,
                };
                let paced = Paced {
                    strand: packet.strand,
                    seq: packet.seq,
                    ip_bytes: ip_bytes as u16,
                    sent_ns: context.clock.now().0,
                };
                let group = if packet.full { &mut counts.full } else { &mut counts.small };
                let mark = Mark { class: MARKS[packet.mark].class(), priority: None };
                match socket.send_paced(paced, mark, &mut buffer) {
                    Ok(Outcome::Sent) => {
                        group[packet.mark] += 1;
                        if standard {
                            counts.standard[packet.mark] += 1;
                        }
                    }
                    Ok(Outcome::TooBig { .. }) if standard => {}
                    Ok(Outcome::TooBig { .. }) => counts.refused[packet.mark] += 1,
                    // This host's own queue: neither sent nor lost on the way.
                    Ok(Outcome::Dropped) => {}
                    Err(error) => {
                        counts.failed += u64::from(is_not_permitted(&error));
                        sent.reason.get_or_insert(probe_error(&error).message);
                    }
                }
                // What came back by ICMP is taken off the queue; its size is the path-MTU search's affair.
                let _ = socket.next_event();
            }
        }
        next = next.max(due.end);
        if now >= shown {
            let (done, of) = (next * of_all, Some(schedule.total() * of_all));
            let counts = vec![Count { what: Counted::Datagrams, done, of }];
            context.show(next as f64 / schedule.total() as f64, counts);
            shown = now.plus_ns(SHOWN_NS);
        }
        std::thread::sleep(schedule.beat());
    }
    for (sent, hops) in sent.iter_mut().zip(hops) {
        sent.first_router = hops.and_then(|hops| hops.first_router());
    }
    sent
}

/// Whether the host itself did not let it out, rather than that there was no way for it.
fn is_not_permitted(error: &DgramError) -> bool {
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    system.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Asks the routers of a path for their names, where it has consented and leads through some.
fn ask_routers(path: &Path<'_>, sent: &Sent, key: &ProbeKey) -> Option<HopProbe> {
    let (here, there) = (path.here.address, path.there.address);
    let known = path.here.prefix_len.is_some();
    let routed = known && here.is_ipv4() && !same_subnet(here, there, path.here.prefix_len);
    if !routed || !sent.flows.iter().any(|flow| flow.answered) {
        return None;
    }
    HopProbe::send(here, device(path.here), SocketAddr::new(there, path.there.port), key).ok()
}

/// Of an end that has nothing to send.
pub fn nothing(paths: &[Path<'_>]) -> Vec<Sent> {
    let of_path = |path: &Path<'_>| {
        let mtus = [path.here.ip_mtu_bytes, path.there.ip_mtu_bytes];
        let full = mtus.into_iter().flatten().min().unwrap_or(FULL_IP_BYTES_DEFAULT);
        let full_ip_bytes = full.clamp(SMALL_IP_BYTES, FULL_IP_BYTES_MAX);
        let has_standard = path.there.counts_standard && full_ip_bytes > STANDARD_IP_BYTES;
        Sent { full_ip_bytes, has_standard, reason: None, flows: vec![], echoes: None, first_router: None }
    };
    paths.iter().map(of_path).collect()
}

/// A socket for each flow of each path that has consented.
fn open(
    paths: &[Path<'_>],
    key: &ProbeKey,
    known: IpAddr,
    schedule: &Schedule,
    sent: &mut [Sent],
    context: &mut Context<'_>,
) -> Vec<Vec<Option<ProbeSocket>>> {
    let (mut asking, mut whose) = (Vec::new(), Vec::new());
    for (number, path) in paths.iter().enumerate() {
        let to = SocketAddr::new(path.there.address, path.there.port);
        for flow in 0..schedule.flows() as usize {
            let none = || vec![0; MARKS.len()];
            let standard = if sent[number].has_standard { none() } else { vec![] };
            let mut counts =
                SentFlow { small: none(), full: none(), refused: none(), standard, ..SentFlow::default() };
            match UnprovenSocket::bind(path.here.address, device(path.here), to, key.clone()) {
                Ok(socket) => {
                    counts.port = socket.port();
                    asking.push((socket, path.there.address, true));
                    whose.push((number, flow));
                }
                Err(error) => {
                    sent[number].reason.get_or_insert(probe_error(&error).message);
                }
            }
            sent[number].flows.push(counts);
        }
    }
    let mut sockets: Vec<Vec<Option<ProbeSocket>>> =
        paths.iter().map(|_| (0..schedule.flows()).map(|_| None).collect()).collect();
    for ((number, flow), asked) in whose.into_iter().zip(ask(asking, known, context.clock)) {
        match asked {
            Asked::Consented(socket) => {
                sent[number].flows[flow].answered = true;
                sockets[number][flow] = Some(socket);
            }
            Asked::Silent { .. } => {}
            Asked::Failed(error) => {
                sent[number].reason.get_or_insert(probe_error(&error).message);
            }
        }
    }
    sockets
}
