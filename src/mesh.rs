//! Many hosts measured against each other: one process a host, started by whatever engine the site has.
//!
//! Every process runs an agent, as `pathproof serve` does, with a key of its own for this mesh alone, and keeps a line to rank 0. Rank 0 says
//! who measures with whom and when; a rank that is told to is a client of the other's agent, as `pathproof check` is, and reports what it
//! found. What is measured, and for how long, each rank has from its own command line: an order names ranks and a task of a closed list.
//! Nothing is waited for without an end, and a rank that is lost costs its own cells.

mod conductor;
mod kept;
mod knock;
mod line;
mod links;
mod measure;
mod merge;
mod phases;
pub mod place;
mod rank;
mod rendezvous;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_engine::channels::Prefix;
use pathproof_model::mesh::{MeshDoc, MeshSettings};

use crate::document::DocumentFile;
use crate::interrupt::{self, Interrupt};
use crate::secure::Access;
pub use conductor::json;
pub use merge::merge;
use pathproof_sys::clock::RealClock;
use place::Place;
pub use rendezvous::Meeting;

/// The port of rank 0 where nobody names another: beside that of `pathproof serve`, which may run on the same hosts.
pub const RENDEZVOUS_PORT: u16 = 7796;

/// A mesh as this process takes part in it.
pub struct Mesh {
    /// Which rank of how many.
    pub place: Place,
    /// Where rank 0 is met.
    pub meeting: Meeting,
    /// What opens the doors of the mesh.
    pub access: Access,
    /// What is measured, and how.
    pub settings: MeshSettings,
    /// The networks that are planes of their own.
    pub nets: Vec<Prefix>,
    /// As they were typed.
    pub net_names: Vec<String>,
    /// What the user says belongs together, by host name or rank.
    pub groups: Vec<(String, String)>,
    /// How long is waited until all are there.
    pub wait: Duration,
    /// Where the whole documents of single measurements are kept.
    pub details: Option<PathBuf>,
    /// Where the document of rank 0 goes.
    pub file: Option<DocumentFile>,
    /// The clock of the process.
    pub clock: RealClock,
}

impl Mesh {
    /// Takes part. Rank 0 comes back with the document; what the others know is in it.
    pub fn run(self) -> Result<Option<MeshDoc>> {
        let interrupt = interrupt::by_signals(&self.clock).context("cannot watch for Ctrl-C")?;
        if self.place.rank > 0 {
            let address = self.meeting.clone();
            rank::take_part(&self, &address, &interrupt)?;
            return Ok(None);
        }
        conductor::conduct(&self, &interrupt).map(Some)
    }

    /// What a rank belongs to, as the user says.
    fn group(&self, rank: u32, host: &str) -> Option<String> {
        let is_it = |(name, _): &&(String, String)| *name == host || *name == rank.to_string();
        self.groups.iter().find(is_it).map(|(_, group)| group.clone())
    }

    /// How many planes there are.
    fn planes(&self) -> usize {
        self.nets.len().max(1)
    }

    /// Longest that an order may take.
    fn order_limit(&self) -> Duration {
        Duration::from_nanos(self.settings.round_limit_ns)
    }
}

/// `ADDRESS/BITS`.
pub fn net(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("{text} is no network; write ADDRESS/BITS, like 10.1.0.0/16 or fd00:1::/64");
    let (address, len) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let len = len.parse().ok().filter(|len| *len <= most).ok_or_else(wrong)?;
    Ok(Prefix { address, len })
}

/// Whether another rank may be dialled at an address that rank 0 names: one host's own address, and this host's alone only where rank 0
/// itself is on this host.
fn may_be_dialled(address: IpAddr, rank_0: IpAddr, nets: &[Prefix]) -> bool {
    let one_host = match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    };
    let here = !address.is_loopback() || rank_0.is_loopback();
    one_host && here && (nets.is_empty() || nets.iter().any(|net| net.contains(address)))
}

/// Names of hosts from a list such as `node[01-12,20],gpu3`, as Slurm writes it.
pub fn host_list(text: &str) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find([',', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if let Some(bracket) = after.strip_prefix('[') {
            let (inside, after) = bracket
                .split_once(']')
                .with_context(|| format!("{text}: a bracket is not closed; write host[1-8]"))?;
            let tail_end = after.find(',').unwrap_or(after.len());
            let (tail, after) = after.split_at(tail_end);
            if tail.contains(['[', ']']) {
                bail!("{text}: a name has one pair of brackets; write host[1-8],other[1-8]");
            }
            for range in inside.split(',') {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| {
                    text.parse::<u32>().with_context(|| {
                        format!("{range:?} in {text} is no range of numbers; write host[1-8]")
                    })
                };
                let (first, last) = (number(low)?, number(high)?);
                if last < first || last - first >= pathproof_model::mesh::RANKS_MAX as u32 {
                    bail!(
                        "{range} is no range of at most {} hosts; write host[1-8]",
                        pathproof_model::mesh::RANKS_MAX
                    );
                }
                let width = low.len();
                hosts.extend((first..=last).map(|n| format!("{name}{n:0width$}{tail}")));
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        } else {
            if name.is_empty() {
                bail!("{text}: a name is empty; write HOST,HOST or host[1-8]");
            }
            hosts.push(name.to_owned());
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        if hosts.len() > pathproof_model::mesh::RANKS_MAX {
            bail!("{text}: more than {} hosts; name fewer with --hosts", pathproof_model::mesh::RANKS_MAX);
        }
    }
    Ok(hosts)
}

/// Where a rank is told to dial another, on each plane.
type Addresses = Vec<Option<IpAddr>>;

/// An address and a port.
fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// Whether the user wants to stop, as an error.
fn stopped(interrupt: &Interrupt) -> Result<()> {
    if interrupt.is_raised() {
        bail!("{}", interrupt::error().message);
    }
    Ok(())
}
