//! Judging what was answered rather than measured: an SMB server's own account, and a prediction of SMB's choice.

use crate::units::Bytes;
use crate::{
    Channels, Check, Direction, Network, ObtainedBy, OffloadTried, PacketBuffer, PacketRate, SmbServer,
    Subject, Unit, Verdict,
};

/// Whether SMB would use any pair of NICs.
pub(super) fn channels(channels: &Channels) -> Option<Verdict> {
    let chosen = channels.pairs.iter().filter(|pair| pair.chosen).count();
    let text = match chosen {
        0 => "no pair of NICs can carry traffic".to_owned(),
        count => format!(
            "{count} pair(s) of class {}, {} connection(s)",
            channels.class.as_deref().unwrap_or("unknown"),
            channels.connections
        ),
    };
    let check = Check::of("pairs-chosen", chosen > 0, text).numbers(chosen as f64, 1.0, Unit::Count);
    Verdict::of(Subject::Channels, vec![check])
}

/// Networks that a cluster could use.
pub(super) fn networks(networks: &[Network]) -> Option<Verdict> {
    let up = networks.iter().filter(|network| network.up == Some(true)).count();
    let told = networks.iter().filter(|network| network.up.is_some()).count();
    let text = match networks.len() {
        0 => "the hosts have no subnet in common".to_owned(),
        all => format!("{up} of {all} network(s) are up at both hosts"),
    };
    let check = if up == 0 && told < networks.len() {
        Check::inconclusive("networks-shared", "the hosts do not tell whether their NICs are up")
    } else {
        Check::of("networks-shared", up > 0, text).numbers(up as f64, 1.0, Unit::Count)
    };
    Verdict::of(Subject::Networks, vec![check])
}

/// Packet rates that were searched for: nothing says how many a path should carry.
pub(super) fn packet_rates(rates: &[PacketRate]) -> Option<Verdict> {
    let told = rates.iter().map(|rate| {
        let way = rate.direction.name();
        match (rate.lossless_packets_per_s, rate.lossy_packets_per_s) {
            (Some(held), Some(lossy)) => format!("{way}: {held} packets/s arrive, {lossy} do not"),
            (Some(held), None) => format!("{way}: {held} packets/s arrive, and more was not tried"),
            (None, Some(lossy)) => format!("{way}: packets are lost at {lossy}/s and at any rate above"),
            (None, None) => format!("{way}: no rate was tried to its end"),
        }
    });
    let checks = told.map(|text| Check::not_judged("packet-rate", text)).collect();
    Verdict::of(Subject::Loss, checks)
}

/// Receive buffers that were searched for: how many packets have to be held is for the application to say.
pub(super) fn packet_buffers(buffers: &[PacketBuffer]) -> Option<Verdict> {
    let told = buffers.iter().map(|buffer| {
        let way = format!("{}: {} packets/s", buffer.direction.name(), buffer.packets_per_s);
        match (buffer.holds_bytes, buffer.loses_bytes) {
            _ if buffer.sender_fell_short => format!("{way} are more than the sender can send"),
            (Some(holds), Some(loses)) => {
                format!(
                    "{way} arrive with a receive buffer of {}, and not with {}",
                    bytes(holds),
                    bytes(loses)
                )
            }
            (Some(holds), None) => format!("{way} arrive with a receive buffer of {}", bytes(holds)),
            (None, Some(loses)) => format!("{way} do not arrive with {}, the largest there is", bytes(loses)),
            (None, None) => format!("{way}: no buffer was tried to its end"),
        }
    });
    let checks = told.map(|text| Check::not_judged("packet-buffer", text)).collect();
    Verdict::of(Subject::Loss, checks)
}

fn bytes(count: u32) -> Bytes {
    Bytes(count.into())
}

/// Whether segments arrive each way with all offloads as they are: at the first trial and at the last.
pub(super) fn offloads(rows: &[OffloadTried]) -> Option<Verdict> {
    let as_is: Vec<&OffloadTried> = rows.iter().filter(|row| row.off.is_none()).collect();
    let check = |direction: Direction| {
        let arrives: Vec<Option<bool>> =
            as_is.iter().filter_map(|row| row.way(direction)).map(|way| way.arrives()).collect();
        let way = direction.name();
        match (arrives.contains(&Some(false)), arrives.len() > 1 && !arrives.contains(&None)) {
            (true, _) => Check::fail(
                "segments-arrive",
                format!("{way}: segments do not arrive whole with offloads as they are"),
            ),
            (false, true) => Check::pass(
                "segments-arrive",
                format!("{way}: segments arrive whole with offloads as they are"),
            ),
            (false, false) => Check::inconclusive(
                "segments-arrive",
                format!("{way}: the trials with offloads as they are did not come to their end"),
            ),
        }
    };
    let checks = if as_is.is_empty() { vec![] } else { vec![check(Direction::Out), check(Direction::In)] };
    Verdict::of(Subject::Offloads, checks)
}

/// A server as a Multichannel and SMB Direct target.
pub(super) fn smb(server: &SmbServer) -> Vec<Verdict> {
    let verdicts = [
        (Subject::SmbMultichannel, Some(multichannel(server))),
        (Subject::SmbInterfaces, Some(interfaces(server))),
        (Subject::SmbDirectPlacement, direct_placement(server)),
    ];
    verdicts.into_iter().filter_map(|(subject, check)| Verdict::of(subject, vec![check?])).collect()
}

fn is_dialect_3(server: &SmbServer) -> bool {
    server.dialect.starts_with('3')
}

fn multichannel(server: &SmbServer) -> Check {
    let (offered, text) = match (is_dialect_3(server), server.multichannel) {
        (false, _) => (false, format!("dialect {} has none", server.dialect)),
        (true, false) => (false, "the server does not offer it".into()),
        (true, true) => (true, format!("offered at dialect {}", server.dialect)),
    };
    Check::of("multichannel-offered", offered, text)
}

fn interfaces(server: &SmbServer) -> Check {
    const NAME: &str = "interfaces-listed";
    if server.interfaces_obtained_by == ObtainedBy::None {
        return Check::inconclusive(NAME, "the server did not say which NICs it has");
    }
    let usable = server.interfaces.iter().filter(|nic| nic.index != 0).count();
    let text = match usable {
        0 => "the list holds no NIC that a client would use".to_owned(),
        _ => format!("{} addresses listed", server.interfaces.len()),
    };
    Check::of(NAME, usable > 0, text).numbers(usable as f64, 1.0, Unit::Count)
}

/// What the server demands of all traffic that would keep clients from placing data by RDMA, where it has RDMA NICs.
fn direct_placement(server: &SmbServer) -> Option<Check> {
    const NAME: &str = "direct-placement";
    if !server.interfaces.iter().any(|nic| nic.rdma) {
        return None;
    }
    Some(match (demand(server), server.encryption_required) {
        (Some(demand), _) if server.rdma_transforms.is_empty() => {
            Check::fail(NAME, format!("{demand} is required and there is no RDMA transform for it"))
        }
        (Some(demand), _) => {
            Check::pass(NAME, format!("{demand} is required, and there are RDMA transforms for that"))
        }
        // Before 3.0 there is no encryption to demand. Transforms would serve, whatever is demanded.
        (None, None) if is_dialect_3(server) && server.rdma_transforms.is_empty() => Check::inconclusive(
            NAME,
            "whether the server demands encryption, which would stop direct placement, shows only after a logon; give \
             --user and --password-file",
        ),
        (None, _) => Check::pass(NAME, "nothing that the server demands prevents it"),
    })
}

/// What a server demands of every session, as far as it is known.
pub fn demand(server: &SmbServer) -> Option<&'static str> {
    match (server.signing_required, server.encryption_required == Some(true)) {
        (true, true) => Some("signing and encryption"),
        (true, false) => Some("signing"),
        (false, true) => Some("encryption"),
        (false, false) => None,
    }
}
