//! Where rank 0 is met: an address, or a file in a folder that all hosts share.
//!
//! Ranks may be there before rank 0 is, so they try again until their time is up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use pathproof_model::node;

use crate::dial::{self, CONNECT};
use crate::document::write_small;
use crate::input;
use crate::interrupt::Interrupt;
use crate::run::prepare_socket;
use crate::secure::{self, Access, Refusal, SecureError, SecureReader, SecureWriter};
use pathproof_sys::clock::RealClock;

/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where rank 0 is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// At an address.
    Host {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// At the addresses that rank 0 writes into this file.
    File(PathBuf),
}

impl FromStr for Meeting {
    type Err = String;

    fn from_str(text: &str) -> Result<Meeting, String> {
        if let Some(path) = text.strip_prefix("file:") {
            return match path.is_empty() {
                true => Err("file: needs a path, in a folder that all hosts share".into()),
                false => Ok(Meeting::File(path.into())),
            };
        }
        let (host, port) = node::host_and_port(text)
            .ok_or_else(|| format!("{text:?} is no meeting place; write HOST[:PORT] or file:PATH"))?;
        Ok(Meeting::Host { host: host.into(), port: port.unwrap_or(super::RENDEZVOUS_PORT) })
    }
}

impl Meeting {
    /// Whether all ranks are on one host, by what was typed.
    pub fn is_on_this_host(&self) -> bool {
        match self {
            Meeting::Host { host, .. } => host.parse().is_ok_and(secure::is_loopback),
            Meeting::File(_) => false,
        }
    }

    /// The port that rank 0 listens on; any where a file will say it.
    pub fn port(&self) -> u16 {
        match self {
            Meeting::Host { port, .. } => *port,
            Meeting::File(_) => 0,
        }
    }

    /// Tells the others, where that is by a file.
    pub fn publish(&self, addresses: &[SocketAddr]) -> Result<()> {
        let Meeting::File(path) = self else { return Ok(()) };
        let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        write_small(path, text.as_bytes())
            .with_context(|| format!("cannot write --rendezvous file:{}", path.display()))
    }

    /// Takes the file away again.
    pub fn withdraw(&self) {
        if let Meeting::File(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Where rank 0 may be, as far as that is known yet.
    fn candidates(&self) -> Result<Vec<(String, u16)>> {
        match self {
            Meeting::Host { host, port } => Ok(vec![(host.clone(), *port)]),
            Meeting::File(path) => {
                let text = input::read_text(path)?;
                let lines = text.lines().take(64).filter_map(|line| line.parse::<SocketAddr>().ok());
                Ok(lines.map(|address| (address.ip().to_string(), address.port())).collect())
            }
        }
    }
}

/// A line to rank 0, and the addresses of both ends of it.
pub struct Met {
    /// To speak.
    pub writer: SecureWriter,
    /// To hear.
    pub reader: SecureReader,
    /// The address at this end.
    pub local: SocketAddr,
    /// Rank 0's.
    pub rank_0: SocketAddr,
}

/// Meets rank 0, within `patience` in all.
pub fn meet(
    meeting: &Meeting,
    access: &Access,
    patience: Duration,
    clock: &RealClock,
    interrupt: &Interrupt,
) -> Result<Met> {
    let until = clock.deadline(patience);
    let mut last =
        anyhow!("rank 0 has not written where it is; see whether it runs, and with the same --rendezvous");
    loop {
        match meeting.candidates() {
            Ok(candidates) => {
                for (host, port) in candidates {
                    match knock(&host, port, access, until.left().min(CONNECT), clock) {
                        Ok(met) => return Ok(met),
                        Err((false, why)) => return Err(why),
                        Err((true, why)) => last = why,
                    }
                }
            }
            Err(why) => last = why,
        }
        if until.is_over() {
            return Err(last.context(format!(
                "rank 0 was not met within {} s; does it run, and can this host reach it?",
                patience.as_secs()
            )));
        }
        interrupt.pause(PAUSE.min(until.left())).map_err(|why| anyhow!(why.message))?;
    }
}

/// One attempt; where it fails, whether another one may do better.
fn knock(
    host: &str,
    port: u16,
    access: &Access,
    patience: Duration,
    clock: &RealClock,
) -> Result<Met, (bool, anyhow::Error)> {
    let reached = dial::reach(host, port, access, patience, clock);
    let stream = match reached {
        Ok(reached) => reached.stream,
        // A refused connection is a rank 0 that does not listen yet, and a name may come to be known.
        Err(why) => return Err((true, anyhow!(why.message))),
    };
    let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
    let (local, rank_0) = ends.map_err(|why| (true, why.into()))?;
    prepare_socket(&stream).map_err(|why| (true, why.into()))?;
    match secure::connect(stream, access, clock.deadline(CONNECT)) {
        Ok((writer, reader)) => Ok(Met { writer, reader, local, rank_0 }),
        Err(why) => {
            let again = matches!(
                why,
                SecureError::Crowded
                    | SecureError::ClosedInHandshake
                    | SecureError::HungUp { .. }
                    | SecureError::Mute { .. }
                    | SecureError::Timeout { .. }
                    | SecureError::Io { .. }
                    | SecureError::Refused(Refusal::Busy)
            );
            Err((again, anyhow!("{host}:{port}: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meeting_places_are_read() {
        let of = |text: &str| text.parse::<Meeting>();
        assert_eq!(of("node1").unwrap(), Meeting::Host { host: "node1".into(), port: 7796 });
        assert_eq!(of("[fd00::1]:7000").unwrap().port(), 7000);
        assert_eq!(of("file:/shared/mesh").unwrap(), Meeting::File("/shared/mesh".into()));
        assert!(of("file:").is_err() && of("a b").is_err() && of("").is_err());
    }
}
