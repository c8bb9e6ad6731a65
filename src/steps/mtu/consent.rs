//! Asks the addresses that the peer named whether they may be probed, with real sockets. Decides nothing itself.

use std::net::IpAddr;

use pathproof_api::Clock;
use pathproof_dgram::{DgramError, Heard, ProbeSocket, UnprovenSocket, wait_readable};
use pathproof_engine::mtu::{Ask, Consent};

use pathproof_sys::clock::RealClock;
use pathproof_sys::{AsDescriptor as _, Descriptor};

/// What became of asking over one pair.
pub enum Asked {
    /// It may be probed.
    Consented(ProbeSocket),
    /// Nobody there answered as the peer would.
    Silent {
        /// Challenges sent.
        challenges: u32,
        /// Who said that the destination cannot be reached.
        unreachable_from: Vec<IpAddr>,
    },
    /// This host could not ask.
    Failed(DgramError),
}

/// Asks over all `sockets`, each with the address that it leads to and whether it ought to, at the same time.
pub fn ask(sockets: Vec<(UnprovenSocket, IpAddr, bool)>, known: IpAddr, clock: &RealClock) -> Vec<Asked> {
    let mut consent = Consent::new(sockets.iter().map(|(_, to, ought)| (*to, *ought)), known);
    let mut sockets: Vec<UnprovenSocket> = sockets.into_iter().map(|(socket, ..)| socket).collect();
    let mut failed: Vec<Option<DgramError>> = sockets.iter().map(|_| None).collect();
    let mut unreachable: Vec<Vec<IpAddr>> = vec![Vec::new(); sockets.len()];
    loop {
        let now = clock.now();
        match consent.poll(now) {
            Ask::Done => break,
            Ask::Challenge(index) => {
                if let Err(error) = sockets[index].challenge() {
                    failed[index] = Some(error);
                    consent.on_failure(index);
                }
            }
            Ask::WaitUntil(until) => {
                let descriptors: Vec<Descriptor<'_>> =
                    sockets.iter().map(|socket| socket.descriptor()).collect();
                // A failing poll shows again in the next receive, which reports it.
                let _ = wait_readable(&descriptors, until.since(now));
                for (index, socket) in sockets.iter_mut().enumerate() {
                    // Bounded, so that a flood on one socket does not keep the others waiting.
                    for _ in 0..64 {
                        match socket.next_event() {
                            Ok(Some(Heard::Consent)) => consent.on_consent(index),
                            Ok(Some(Heard::Unreachable { from })) => {
                                if !unreachable[index].contains(&from) && unreachable[index].len() < 16 {
                                    unreachable[index].push(from);
                                }
                            }
                            Ok(None) => break,
                            Err(error) => {
                                failed[index] = Some(error);
                                consent.on_failure(index);
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
    let outcomes = sockets.into_iter().zip(failed).zip(unreachable).enumerate();
    outcomes
        .map(|(index, ((socket, failed), unreachable_from))| match (socket.proven(), failed) {
            (Some(socket), _) => Asked::Consented(socket),
            (None, Some(error)) => Asked::Failed(error),
            (None, None) => Asked::Silent { challenges: consent.sent(index), unreachable_from },
        })
        .collect()
}
