//! The way to the file and back: connections are made, the file is made new, and whatever happens it is gone in the end, or its name is told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use pathproof_api::MessagePipe;
use pathproof_model::units::Bytes;
use pathproof_model::{FileOver, FileSpec, Finding, Severity};
use pathproof_rdma::RdmaTransport;
use pathproof_smb2::connection::{Protection, Sizes};
use pathproof_smb2::file::FileId;
use pathproof_smb2::seal::TRANSFORM_BYTES;
use pathproof_smb2::share::{DIALECTS, Goal, Session};
use pathproof_smb2::{Capabilities, Dialect, Identity, Interface, NtStatus, SmbError};
use pathproof_sys::clock::RealClock;

use super::absence::Maker;
use super::carrier::{CarrierKind, Dialler, Link};
use super::lent::{Joined, Lent, Terms};
use crate::steps::smb::{bare_name, resolve};

/// Channels where nobody says how many, at most.
const CHANNELS_MAX: usize = 8;
/// Most addresses of a server's list that are dialled: it may name hundreds.
const REACHED_MAX: usize = 64;
/// Bytes that are left free on the share.
const SPARE_BYTES: u64 = 1 << 20;
/// Most data of a request where the server does not say that it takes more (MS-SMB2 2.2.4, LARGE_MTU).
const SMALL_BYTES: u64 = 64 << 10;
/// From so much data on the server is given memory rather than a message: what Windows and Linux do.
pub const THRESHOLD_BYTES: u64 = 4096;
/// How long requests that nobody waits for any more may take before their file is closed.
const SETTLE: Duration = Duration::from_secs(2);
/// What stands in a message beside the data of a WRITE: header and body. That of a READ is shorter.
const WRITE_AROUND_BYTES: u64 = 64 + 48;

/// A file that stands open.
pub struct Opened {
    /// What makes the connections.
    pub dialler: Dialler,
    /// The session.
    pub session: Session,
    /// The connection that the session began with, where that is to carry no data. Some servers end a session with it (ksmbd of Linux 6.12).
    pub anchor: Option<Link>,
    /// The channels that carry data; the first is the one that the session began with, unless there is an anchor.
    pub channels: Vec<Joined>,
    /// Where further channels of SMB Direct may go, as the server listed it; empty where it was not asked.
    pub listed: Vec<SocketAddr>,
    /// Why SMB Direct carries data in messages, where it does.
    pub in_messages: Option<String>,
    /// A server that says that it takes more in a message than it does.
    pub limit: Option<Finding>,
    /// The file.
    pub file: FileId,
    /// Where it stands on the share.
    pub path: String,
    /// Channels that could not be made, each with the reason.
    pub missing: Vec<(SocketAddr, String)>,
}

/// The kind of the channels that carry data.
fn kind(over: FileOver) -> CarrierKind {
    match over {
        FileOver::Tcp | FileOver::Multi => CarrierKind::Tcp,
        FileOver::Smbd => CarrierKind::Direct,
    }
}

/// Why there is no file.
pub struct Trouble {
    /// In one sentence.
    pub message: String,
    /// There is no SMB Direct connection, which is a fault only where both ends have RDMA.
    pub no_direct: bool,
    /// A fault of the server that is known by name.
    pub fault: Option<Box<Finding>>,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        Trouble { message: format!("{error:#}"), no_direct: false, fault: None }
    }
}

impl From<SmbError> for Trouble {
    fn from(error: SmbError) -> Trouble {
        let no_direct = matches!(error, SmbError::NoDirect { .. });
        Trouble { message: sentence(&error), no_direct, fault: fault(&error).map(Box::new) }
    }
}

/// What a server does wrong in a way that has a name.
pub fn fault(error: &SmbError) -> Option<Finding> {
    let known = match error {
        SmbError::SignedTooMuch { .. } | SmbError::WrongKey { .. } => true,
        SmbError::Unfinished { header_only, .. } => *header_only,
        SmbError::Downgraded { .. } => return Some(Finding::new("SMB-DOWNGRADED", sentence(error))),
        // Either the server or the path: this end is not told which.
        SmbError::ClosedMoving { .. } | SmbError::SilentSealed { .. } => {
            return Some(Finding::new("SMB-SERVER-FAULT", sentence(error)).with_severity(Severity::Warning));
        }
        _ => false,
    };
    known.then(|| Finding::new("SMB-SERVER-FAULT", sentence(error)))
}

/// Connects and makes the file. On an error nothing is left behind: the server deletes the file with the session that holds it.
pub fn open(
    spec: &FileSpec,
    host: &str,
    identity: Identity,
    name: &str,
    (clock, rdma): (&RealClock, Arc<RdmaTransport>),
) -> Result<Opened, Trouble> {
    let goal = Goal {
        server: bare_name(host).into(),
        share: spec.share.clone(),
        identity,
        timeout: Duration::from_nanos(spec.wait_ns),
        sizes: Sizes { data_bytes: spec.size_bytes as usize, depth: spec.depth as usize },
        dialects: DIALECTS.to_vec(),
        clock: clock.clone(),
    };
    let windows = if spec.invalidate { spec.depth as usize } else { 0 };
    let dialler = Dialler { goal, rdma, windows };
    let (mut link, session) = connect(&dialler, host, spec)?;
    let (mut anchor, mut listed) = (None, vec![]);
    if spec.tcp_first {
        listed = direct_addresses(&mut link, &session, spec)?;
        let direct = bind_direct(&dialler, &session, &listed)?;
        anchor = Some(std::mem::replace(&mut link, direct));
    }
    let in_messages = (spec.over == FileOver::Smbd).then(|| in_messages(&session, spec)).flatten();
    let takes_bytes = link.pipe().limits().send_bytes_max;
    let limit = in_messages
        .as_ref()
        .and_then(|_| message_limit(link.address(), session.agreed.max_write_bytes.into(), takes_bytes));
    takes(&link, &session, spec, in_messages.as_deref())
        .map_err(|error| Trouble { fault: limit.clone().map(Box::new), ..error.into() })?;
    let path = spec.path_of(name);
    let (file, room) = link.create_with_room(&path, spec.durable)?;
    if room < spec.file_bytes.saturating_add(SPARE_BYTES) {
        let _ = link.close_file(file);
        let error = anyhow::anyhow!(
            "//{host}/{} has room for {} and the file takes {}; free some, or ask for a smaller --file-size",
            spec.share,
            Bytes(room),
            Bytes(spec.file_bytes)
        );
        return Err(error.into());
    }
    let (channels, missing) = (vec![], vec![]);
    let mut opened =
        Opened { dialler, session, anchor, channels, listed, in_messages, limit, file, path, missing };
    opened.join(link, spec)?;
    if spec.over == FileOver::Multi || spec.channels.is_some_and(|channels| channels > 1) {
        opened.bind(spec)?;
    }
    Ok(opened)
}

fn connect(dialler: &Dialler, host: &str, spec: &FileSpec) -> Result<(Link, Session), Trouble> {
    let kind = if spec.tcp_first { CarrierKind::Tcp } else { kind(spec.over) };
    // Over RDMA the address decides which NIC is used, and a name may lead to another one.
    let addresses = match (kind, &spec.addresses[..]) {
        (CarrierKind::Tcp, _) | (CarrierKind::Direct, []) => resolve(host, spec.port)?,
        (CarrierKind::Direct, named) => {
            named.iter().map(|address| SocketAddr::new(*address, spec.port)).collect()
        }
    };
    let mut last = None;
    for address in addresses {
        match dialler.connect(address, kind, 0) {
            Ok(connected) => return Ok(connected),
            // Another address of the same name may answer, but only where nobody did on this one.
            Err(error @ (SmbError::Connect { .. } | SmbError::NoDirect { .. })) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last
        .map_or_else(|| anyhow::anyhow!("{host} has no address; give an IP address").into(), Trouble::from))
}

/// Where the server has RDMA: the addresses that are named, or those of its list, the one first that it was called at.
fn direct_addresses(first: &mut Link, session: &Session, spec: &FileSpec) -> Result<Vec<SocketAddr>> {
    if !session.takes_channels() {
        bail!(
            "the server has Multichannel switched off, so a session takes no channel of SMB Direct; switch it on, or leave --tcp-first out"
        );
    }
    let at = first.address();
    if !spec.addresses.is_empty() {
        return Ok(spec.addresses.iter().map(|address| SocketAddr::new(*address, at.port())).collect());
    }
    let list = first.interfaces().map_err(|error| {
        anyhow::anyhow!(
            "the server does not list its NICs ({}); name an address where it has RDMA (--address)",
            sentence(&error)
        )
    })?;
    let with_rdma: Vec<Interface> = list.interfaces.into_iter().filter(|nic| nic.rdma).collect();
    let mut addresses = reachable(&with_rdma, at);
    addresses.sort_by_key(|address| address.ip() != at.ip());
    if addresses.is_empty() {
        bail!("the server lists no NIC with RDMA; switch SMB Direct on there, or use --over multi");
    }
    Ok(addresses)
}

/// The first channel of SMB Direct of a session that began over TCP.
fn bind_direct(dialler: &Dialler, session: &Session, addresses: &[SocketAddr]) -> Result<Link, Trouble> {
    let mut last = None;
    for address in addresses {
        match dialler.bind(session, *address, CarrierKind::Direct, 1) {
            Ok(link) => return Ok(link),
            Err(error) => last = Some(Trouble::from(error)),
        }
    }
    let trouble =
        last.unwrap_or_else(|| anyhow::anyhow!("no address is known; name one with --address").into());
    Err(Trouble {
        message: format!(
            "the session, which began over TCP, has no channel of SMB Direct: {}",
            trouble.message
        ),
        ..trouble
    })
}

/// What a client that sends data in messages of SMB Direct meets where the server says that it takes more than one holds.
fn message_limit(server: SocketAddr, says: u64, takes: u64) -> Option<Finding> {
    (takes < says).then(|| {
        let evidence = format!(
            "{server}: MaxFragmentedSize of SMB Direct is {takes} bytes, and MaxWriteSize {}",
            Bytes(says)
        );
        Finding::new("SMB-MESSAGE-LIMIT", evidence)
    })
}

/// Why the server is given no memory of this end, if it is not (MS-SMB2 3.2.4.6, 3.2.4.7).
fn in_messages(session: &Session, spec: &FileSpec) -> Option<String> {
    let demand = match session.protection {
        Protection::Open if spec.size_bytes < THRESHOLD_BYTES => {
            return Some(format!("requests of less than {} go in messages", Bytes(THRESHOLD_BYTES)));
        }
        Protection::Open => return None,
        Protection::Signed => "signing",
        Protection::Sealed => "encryption",
    };
    Some(format!(
        "{demand} is required, and no RDMA transform was agreed: data goes in small messages instead of by RDMA"
    ))
}

/// An error in one sentence, with what the system said where that is not in it already.
pub fn sentence(error: &SmbError) -> String {
    match error {
        SmbError::Connect { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Whether the server takes requests of this size.
fn takes(link: &Link, session: &Session, spec: &FileSpec, in_messages: Option<&str>) -> Result<()> {
    let agreed = &session.agreed;
    let small = !agreed.capabilities.has(Capabilities::LARGE_MTU);
    let most = |said: u32| if small { SMALL_BYTES.min(said.into()) } else { said.into() };
    let most = most(agreed.max_read_bytes).min(most(agreed.max_write_bytes));
    if spec.size_bytes > most {
        bail!("the server takes at most {} in a request; ask for a smaller --size", Bytes(most));
    }
    if spec.invalidate && in_messages.is_none() && agreed.dialect == Dialect::V3_0 {
        bail!(
            "the server speaks SMB 3.0, which has no keys that it ends (from 3.0.2 on); leave --invalidate out"
        );
    }
    let limits = link.pipe().limits();
    match (in_messages, limits.one_sided_bytes_max) {
        (None, Some(most)) if spec.size_bytes > most => {
            bail!(
                "the server moves at most {} by RDMA for a request (MaxReadWriteSize of SMB Direct); ask for a smaller --size",
                Bytes(most)
            )
        }
        (Some(why), _) => {
            let sealed = session.protection == Protection::Sealed;
            let around = WRITE_AROUND_BYTES + if sealed { TRANSFORM_BYTES as u64 } else { 0 };
            // What an answer holds beside the data is less than what a WRITE holds.
            let fits = limits.send_bytes_max.min(limits.receive_bytes_max).saturating_sub(around);
            if spec.size_bytes > fits {
                bail!(
                    "{why}, and a message holds at most {fits} bytes of data here (MaxFragmentedSize of SMB Direct), less than the {} that the server says it takes in a WRITE; ask for a smaller --size",
                    Bytes(most)
                );
            }
        }
        (None, _) => {}
    }
    Ok(())
}

impl Opened {
    /// Takes a connection in, with memory for the server where it gets some.
    fn join(&mut self, mut link: Link, spec: &FileSpec) -> Result<()> {
        let placed = spec.over == FileOver::Smbd && self.in_messages.is_none();
        let lent = placed.then(|| Lent::new(&mut link, Terms::of(spec)));
        let lent = lent.transpose().map_err(anyhow::Error::msg)?;
        self.channels.push(Joined { link, lent });
        Ok(())
    }

    /// Makes the further channels. One that cannot be made is told, and the others do without; but with one alone nothing is measured over several.
    fn bind(&mut self, spec: &FileSpec) -> Result<()> {
        if !self.session.takes_channels() {
            bail!("the server has Multichannel switched off; switch it on, or use --over tcp");
        }
        let kind = kind(spec.over);
        let first = self.channels[0].link.address();
        let mut addresses = match &spec.addresses[..] {
            // Over RDMA they go where the first one went, or where the server says that it has RDMA.
            [] if kind == CarrierKind::Direct => {
                let port = first.port();
                self.listed.iter().map(|address| SocketAddr::new(address.ip(), port)).collect()
            }
            [] => match self.channels[0].link.interfaces() {
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
            let number = self.channels.len() + usize::from(self.anchor.is_some());
            match self.dialler.bind(&self.session, addresses[at], kind, number as u16) {
                Ok(link) => {
                    self.join(link, spec)?;
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
            bail!("no second channel could be made{why}; use --over tcp, or --channels 1");
        }
        Ok(())
    }
}

/// The addresses of a list that may be dialled. A server that is reached from elsewhere has no say in what happens on this machine, and
/// none of groups.
pub fn reachable(list: &[Interface], first: SocketAddr) -> Vec<SocketAddr> {
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

/// How it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone {
    /// Whether the file is gone, where that can be told.
    pub gone: Option<bool>,
    /// Whether the server takes requests without the signatures that it demands.
    pub takes_unsigned: Option<bool>,
}

/// Closes the file, with which the server deletes it, and leaves. `connection` is one that still stands, if there is one; otherwise the
/// server is called once more, told that the session is over, and asked to delete the file.
pub fn put_away(
    Maker { dialler, session, .. }: &Maker,
    connection: Option<&mut Link>,
    file: FileId,
    path: &str,
    (address, kind): (SocketAddr, CarrierKind),
) -> Result<Gone> {
    let mut connection = connection;
    if let Some(connection) = &mut connection {
        connection.settle(SETTLE);
    }
    if let Some(connection) = connection
        && let Ok(was_there) = connection.close_and_remove(file, path)
    {
        let gone = is_gone(connection, was_there, path);
        let takes_unsigned = connection.takes_unsigned();
        let _ = connection.leave();
        return Ok(Gone { gone, takes_unsigned });
    }
    let left = |error: SmbError| {
        let Goal { server, share, .. } = &dialler.goal;
        anyhow::anyhow!(
            "{path} may still be on //{server}/{share}; look there and delete it: {}",
            sentence(&error)
        )
    };
    let (mut connection, _) = dialler.connect(address, kind, session.id).map_err(left)?;
    let removed = connection.remove(path).map_err(left);
    let _ = connection.leave();
    removed.map(|_| Gone { gone: Some(true), takes_unsigned: None })
}

/// Whether a file that was closed is gone; one that was still there was deleted, and is looked for once more.
fn is_gone(connection: &mut Link, was_there: Result<bool, SmbError>, path: &str) -> Option<bool> {
    match was_there {
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
    fn what_a_server_does_wrong_has_a_finding_and_what_may_be_the_paths_is_a_warning() {
        let address = "192.0.2.1:445".parse().unwrap();
        let told = |error: SmbError| fault(&error).map(|found| (found.code, found.severity));
        let server_fault = |severity| Some(("SMB-SERVER-FAULT".to_owned(), severity));
        let moving = SmbError::ClosedMoving { address, stage: "READ", said: None };
        assert_eq!(told(moving), server_fault(Severity::Warning));
        let silent =
            SmbError::SilentSealed { address, stage: "TREE_CONNECT", waited: Duration::from_secs(1) };
        assert_eq!(told(silent), server_fault(Severity::Warning));
        let unfinished = |header_only| SmbError::Unfinished {
            address,
            stage: "READ",
            missing: 52,
            header_only,
            waited: Duration::from_secs(1),
        };
        assert_eq!(told(unfinished(true)), server_fault(Severity::Error));
        assert_eq!(told(unfinished(false)), None);
        assert_eq!(told(SmbError::Closed { address, stage: "READ" }), None);
    }

    #[test]
    fn a_message_that_holds_less_than_a_write_may_is_told_with_both_numbers() {
        let server = "192.0.2.1:445".parse().unwrap();
        let found = message_limit(server, 4 << 20, 173_910).unwrap();
        assert!(
            found.evidence.contains("173910 bytes") && found.evidence.contains("4 MiB"),
            "{}",
            found.evidence
        );
        assert_eq!(message_limit(server, 1 << 20, 1 << 20), None);
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
