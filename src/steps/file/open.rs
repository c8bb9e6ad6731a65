//! The way to the file and back: connections are made, the file is made new, and whatever happens it is gone in the end, or its name is told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use pathproof_api::MessagePipe;
use pathproof_model::units::Bytes;
use pathproof_model::{FileOver, FileSpec};
use pathproof_smb2::connection::{Connection, Sizes};
use pathproof_smb2::file::FileId;
use pathproof_smb2::share::{DIALECTS, Goal, Session};
use pathproof_smb2::{Capabilities, Credentials, Interface, NtStatus, SmbError};
use pathproof_sys::clock::RealClock;

use crate::steps::smb::{bare_name, resolve};

/// Channels where nobody says how many, at most.
const CHANNELS_MAX: usize = 8;
/// Most addresses of a server's list that are dialled: it may name hundreds.
const REACHED_MAX: usize = 64;
/// Bytes that are left free on the share.
const SPARE_BYTES: u64 = 1 << 20;
/// Most data of a request where the server does not say that it takes more (MS-SMB2 2.2.4, LARGE_MTU).
const SMALL_BYTES: u64 = 64 << 10;

/// A file that stands open.
pub struct Opened {
    /// Whom the connections are made to, and as whom.
    pub goal: Goal,
    /// The session.
    pub session: Session,
    /// The channels; the first is the one that the session began with.
    pub channels: Vec<Connection>,
    /// The file.
    pub file: FileId,
    /// Where it stands on the share.
    pub path: String,
    /// Channels that could not be made, each with the reason.
    pub missing: Vec<(SocketAddr, String)>,
}

/// Connects and makes the file. On an error nothing is left behind: the server deletes the file with the session that holds it.
pub fn open(
    spec: &FileSpec,
    host: &str,
    credentials: Credentials,
    name: &str,
    clock: &RealClock,
) -> Result<Opened> {
    let goal = Goal {
        server: bare_name(host).into(),
        share: spec.share.clone(),
        credentials,
        timeout: Duration::from_nanos(spec.wait_ns),
        sizes: Sizes { data_bytes: spec.size_bytes as usize, depth: spec.depth as usize },
        dialects: DIALECTS.to_vec(),
        clock: clock.clone(),
    };
    let (mut connection, session) = connect(&goal, host, spec.port)?;
    takes(&session, spec)?;
    let path = spec.path_of(name);
    let said = |error: SmbError| anyhow::anyhow!(sentence(&error));
    let file = connection.create(&path, spec.durable).map_err(said)?;
    let room = connection.room(file).map_err(said)?;
    if room < spec.file_bytes.saturating_add(SPARE_BYTES) {
        let _ = connection.close_file(file);
        bail!(
            "//{host}/{} has room for {} and the file takes {}; free some, or ask for a smaller --file-size",
            spec.share,
            Bytes(room),
            Bytes(spec.file_bytes)
        );
    }
    let mut opened = Opened { goal, session, channels: vec![connection], file, path, missing: vec![] };
    if spec.over == FileOver::Multi {
        opened.bind(spec)?;
    }
    Ok(opened)
}

fn connect(goal: &Goal, host: &str, port: u16) -> Result<(Connection, Session)> {
    let mut last = None;
    for address in resolve(host, port)? {
        match goal.connect(address, 0) {
            Ok(connected) => return Ok(connected),
            // Another address of the same name may answer, but only where nobody did on this one.
            Err(error @ SmbError::Connect { .. }) => last = Some(error),
            Err(error) => return Err(anyhow::anyhow!(sentence(&error))),
        }
    }
    let nowhere = || anyhow::anyhow!("{host} has no address");
    Err(last.map_or_else(nowhere, |error| anyhow::anyhow!(sentence(&error))))
}

/// An error in one sentence, with what the system said where that is not in it already.
pub fn sentence(error: &SmbError) -> String {
    match error {
        SmbError::Connect { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Whether the server takes requests of this size.
fn takes(session: &Session, spec: &FileSpec) -> Result<()> {
    let agreed = &session.agreed;
    let small = !agreed.capabilities.has(Capabilities::LARGE_MTU);
    let most = |said: u32| if small { SMALL_BYTES.min(said.into()) } else { said.into() };
    let most = most(agreed.max_read_bytes).min(most(agreed.max_write_bytes));
    if spec.size_bytes > most {
        bail!("the server takes at most {} in a request; ask for a smaller --size", Bytes(most));
    }
    Ok(())
}

impl Opened {
    /// Makes the further channels. One that cannot be made is told, and the others do without; but with one alone nothing is measured over several.
    fn bind(&mut self, spec: &FileSpec) -> Result<()> {
        if !self.session.takes_channels() {
            bail!("the server has Multichannel switched off; switch it on, or use --over tcp");
        }
        let first = self.channels[0].address();
        let mut addresses = match &spec.addresses[..] {
            [] => match self.channels[0].interfaces() {
                Ok(list) => reachable(&list.interfaces, first),
                Err(error) => {
                    self.missing
                        .push((first, format!("the server does not list its NICs: {}", sentence(&error))));
                    vec![]
                }
            },
            named => named.iter().map(|address| SocketAddr::new(*address, first.port())).collect(),
        };
        // The first channel has its own already; what remains is gone round as often as there are channels.
        let others = addresses.iter().filter(|address| **address != first).count();
        let count = spec.channels.map_or((others + 1).clamp(2, CHANNELS_MAX), |count| count as usize);
        addresses.retain(|address| *address != first);
        addresses.push(first);
        let mut turn = 0;
        while self.channels.len() < count && !addresses.is_empty() {
            let at = turn % addresses.len();
            match self.goal.bind(&self.session, addresses[at], self.channels.len() as u16) {
                Ok(channel) => {
                    self.channels.push(channel);
                    turn = at + 1;
                }
                // Others take its place.
                Err(error) => {
                    self.missing.push((addresses.remove(at), sentence(&error)));
                    turn = at;
                }
            }
        }
        if self.channels.len() < 2 && count > 1 {
            let why = self.missing.last().map_or_else(String::new, |(_, why)| format!(": {why}"));
            bail!("no second channel could be made{why}");
        }
        Ok(())
    }
}

/// The addresses of a list that may be dialled. A server that is reached from elsewhere has no say in what happens on this machine, and
/// none of groups.
fn reachable(list: &[Interface], first: SocketAddr) -> Vec<SocketAddr> {
    let usable = |address: IpAddr| {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let here = address.is_loopback() && !first.ip().is_loopback();
        !(address.is_unspecified() || address.is_multicast() || link_local || here)
    };
    let mut out: Vec<SocketAddr> = vec![];
    // In the clothes of IPv6 an address leads to the same place.
    let all = list.iter().filter(|interface| interface.index != 0);
    let all = all.map(|interface| interface.address.to_canonical()).filter(|address| usable(*address));
    for address in all.take(REACHED_MAX) {
        let address = SocketAddr::new(address, first.port());
        if !out.contains(&address) {
            out.push(address);
        }
    }
    out
}

/// Closes the file, with which the server deletes it, and leaves. `connection` is one that still stands, if there is one; otherwise the
/// server is called once more, told that the session is over, and asked to delete the file. Whether it is gone, where that can be told.
pub fn put_away(
    goal: &Goal,
    session: &Session,
    connection: Option<&mut Connection>,
    file: FileId,
    path: &str,
    address: SocketAddr,
) -> Result<Option<bool>> {
    if let Some(connection) = connection
        && connection.close_file(file).is_ok()
    {
        let gone = is_gone(connection, path);
        let _ = connection.leave();
        return Ok(gone);
    }
    let left = |error: SmbError| {
        let (server, share) = (&goal.server, &goal.share);
        anyhow::anyhow!(
            "{path} may still be on //{server}/{share}, look there and delete it: {}",
            sentence(&error)
        )
    };
    let (mut connection, _) = goal.connect(address, session.id).map_err(left)?;
    let removed = connection.remove(path).map_err(left);
    let _ = connection.leave();
    removed.map(|_| Some(true))
}

/// Whether a file that was closed is gone; one that is still there is deleted once more.
fn is_gone<P: MessagePipe>(connection: &mut Connection<P>, path: &str) -> Option<bool> {
    match connection.remove(path) {
        Ok(false) => Some(true),
        Ok(true) => connection.remove(path).ok().map(|was_there| !was_there),
        Err(error) => (error.status() == Some(NtStatus::DELETE_PENDING)).then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, address: &str) -> Interface {
        let address = address.parse().unwrap();
        Interface { index, rss: true, rdma: false, speed_bits_per_s: None, address, scope: None }
    }

    #[test]
    fn a_server_cannot_send_us_to_this_machine_or_to_a_group() {
        let list: Vec<Interface> = [
            (1, "192.0.2.1"),
            (1, "127.0.0.1"),
            (2, "224.0.0.1"),
            (1, "::ffff:127.0.0.1"),
            (1, "::ffff:0.0.0.0"),
            (2, "0.0.0.0"),
            (3, "fe80::1"),
            (0, "192.0.2.9"),
            (4, "192.0.2.2"),
            (4, "192.0.2.2"),
        ]
        .map(|(index, address)| interface(index, address))
        .into();
        let there = reachable(&list, "192.0.2.1:445".parse().unwrap());
        assert_eq!(there, ["192.0.2.1:445".parse().unwrap(), "192.0.2.2:445".parse().unwrap()]);
        let here = reachable(&list, "127.0.0.1:4450".parse().unwrap());
        assert!(here.contains(&"127.0.0.1:4450".parse().unwrap()), "a server on this machine may name it");
    }
}
