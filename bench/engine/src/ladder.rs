//! The ladder of a check against a share: each layer's figure beside the one below it, from the steps of the document. Asks nobody anything.

use std::net::{IpAddr, SocketAddr};

use pathproof_model::judge::nics_of;
use pathproof_model::{
    Branch, Carrier, CommandName, Direction, End, Fabric, FileDetail, FileOver, LaneResult, Nic, NodeId,
    ResultDoc, Rung, RungName, RungProof, Step, StepSpec, Verb,
};

/// Ethernet around an IP packet: header, check sum, preamble and gap.
const ETHERNET_BYTES: u64 = 14 + 4 + 8 + 12;
/// TCP with time stamps, and IP of each family.
const TCP_BYTES: u64 = 32;
/// UDP, BTH and ICRC of a RoCE packet in the middle of a message.
const ROCE_BYTES: u64 = 8 + 12 + 4;
/// What Linux leaves for headers when it takes a RoCE path MTU from an IP MTU.
const ROCE_ROOM_BYTES: u64 = 96;
/// DDP, MPA length and CRC of an iWARP segment.
const IWARP_BYTES: u64 = 14 + 2 + 4;

/// The rungs of a document; none where it is not about a share.
pub fn ladder(doc: &ResultDoc) -> Vec<Rung> {
    let files: Vec<&Step> = doc.steps.iter().filter(|step| step.kind.traits().files).collect();
    if files.is_empty() || doc.requested.as_ref().is_none_or(|plan| plan.command != CommandName::Check) {
        return vec![];
    }
    let mut rungs = Vec::new();
    for branch in [Branch::Tcp, Branch::Rdma] {
        for direction in [Direction::Out, Direction::In] {
            let mut below = None;
            for name in branch.rungs() {
                let rung = rung(doc, *name, branch, direction, below);
                below = rung.goodput_bits_per_s.map(|goodput| (*name, goodput)).or(below);
                rungs.push(rung);
            }
        }
    }
    rungs
}

fn rung(
    doc: &ResultDoc,
    name: RungName,
    branch: Branch,
    direction: Direction,
    below: Option<(RungName, u64)>,
) -> Rung {
    let blank = Rung {
        rung: name,
        branch,
        direction,
        goodput_bits_per_s: None,
        below: None,
        share_of_below: None,
        proof: None,
        reason: None,
    };
    if name == RungName::Wire {
        return match wire(doc, branch) {
            Ok((goodput, how)) => Rung { goodput_bits_per_s: Some(goodput), reason: Some(how), ..blank },
            Err(why) => Rung { reason: Some(why), ..blank },
        };
    }
    let step = match step_of(doc, name, direction) {
        Ok(step) => step,
        Err(why) => return Rung { reason: Some(why), ..blank },
    };
    // A window in which nothing was answered is too short for this server: no figure, and least of all zero.
    let goodput = step.summary.goodput_bits_per_s.filter(|goodput| *goodput > 0 && step.error.is_none());
    let Some(goodput) = goodput else {
        return Rung { reason: Some(why_not(step)), ..blank };
    };
    let share = below.filter(|(_, below)| *below > 0).map(|(_, below)| goodput as f64 / below as f64);
    let virtual_nic =
        below.is_some_and(|(rung, _)| rung == RungName::Wire) && share.is_some_and(|share| share > 1.0);
    let in_messages = step.detail.file.as_ref().and_then(|file| file.direct.as_ref()?.in_messages.clone());
    Rung {
        goodput_bits_per_s: Some(goodput),
        below: share.and(below).map(|(rung, _)| rung),
        share_of_below: share,
        proof: Some(proof(step)),
        reason: in_messages.or_else(|| {
            virtual_nic.then(|| "more than the link speed: that of a virtual NIC is only a name".into())
        }),
        ..blank
    }
}

/// The step that measured a rung, or why there is none.
fn step_of(doc: &ResultDoc, name: RungName, direction: Direction) -> Result<&Step, String> {
    let found = doc.steps.iter().find(|step| step.follows_up.is_none() && measures(step, name, direction));
    let no_rdma = || doc.environment(NodeId::CLIENT).is_some_and(|here| here.rdma.is_empty());
    found.ok_or_else(|| match name {
        RungName::Verbs | RungName::SmbDirectFrames if no_rdma() => "this host has no RDMA device".into(),
        RungName::Tcp | RungName::Verbs | RungName::SmbDirectFrames => {
            "it is measured between two agents: run pathproof serve on the server, and name it with --agent"
                .into()
        }
        RungName::Wire | RungName::SmbTcp | RungName::SmbMultichannel | RungName::SmbDirect => {
            "its step was not made".into()
        }
    })
}

fn measures(step: &Step, name: RungName, direction: Direction) -> bool {
    let file = |over| {
        let spec = step.spec.as_ref().and_then(StepSpec::file);
        spec.is_some_and(|spec| spec.over == over && (spec.reads > 0) == (direction == Direction::In))
    };
    let traffic = step.spec.as_ref().and_then(StepSpec::traffic).filter(|_| step.kind.traits().bulk);
    let stream =
        |over: &str| traffic.is_some_and(|s| s.over == over && s.verb.is_none() && s.direction == direction);
    // Only lanes by verbs have a verb.
    let one_sided =
        |verb: Verb| traffic.is_some_and(|s| s.verb == Some(verb) && s.direction == Direction::In);
    match name {
        RungName::Wire => false,
        RungName::SmbTcp => file(FileOver::Tcp),
        RungName::SmbMultichannel => file(FileOver::Multi),
        RungName::SmbDirect => file(FileOver::Smbd),
        RungName::Tcp => stream(FileOver::Tcp.name()),
        RungName::SmbDirectFrames => stream(FileOver::Smbd.name()),
        // The server is the one that reads and writes: it fetches what goes out, and puts what comes in.
        RungName::Verbs if direction == Direction::Out => one_sided(Verb::Read),
        RungName::Verbs => one_sided(Verb::Write),
    }
}

fn why_not(step: &Step) -> String {
    let not_possible = step.detail.file.as_ref().and_then(|file| file.not_possible.clone());
    not_possible
        .or_else(|| step.error.as_ref().map(|error| error.message.clone()))
        .unwrap_or_else(|| "nothing was answered in its window: measure longer, with --thorough".into())
}

/// What carried the bytes of a step.
fn proof(step: &Step) -> RungProof {
    let told = |carried_by, evidence| RungProof { carried_by, evidence };
    if let Some(FileDetail { direct: Some(direct), .. }) = &step.detail.file {
        let messages = direct.sent_bytes.saturating_add(direct.received_bytes);
        let account = format!(
            "{} bytes of file data were moved while all messages held {messages} bytes",
            direct.placed_bytes
        );
        let counted = step.detail.proof.as_ref().map(|proof| (proof.transport, proof.reason.as_str()));
        return match counted {
            Some((Carrier::Rdma, reason)) if direct.in_messages.is_some() => {
                told(Carrier::Rdma, format!("in messages, not placed: {reason}"))
            }
            Some((Carrier::Rdma, reason)) if messages < direct.placed_bytes => {
                told(Carrier::Rdma, format!("{account}; {reason}"))
            }
            // What was compared came or went, and not in messages: without counters that is the proof.
            _ if step.summary.verified == Some(true)
                && messages < direct.placed_bytes
                && step.detail.proof.as_ref().is_none_or(|proof| proof.contradicted().is_none()) =>
            {
                told(Carrier::Rdma, format!("{account}, and all of it was compared"))
            }
            counted => told(
                Carrier::Unknown,
                format!("{account}; {}", counted.map_or("nothing else counts", |(_, reason)| reason)),
            ),
        };
    }
    if let Some(proof) = &step.detail.proof {
        return told(proof.transport, proof.reason.clone());
    }
    // The kernel's own count of what each connection's peer has acknowledged and sent.
    let mine = || step.lanes.iter().filter(|lane| lane.end == End::Client);
    let moved: u64 = mine().map(|lane| lane.bytes).sum();
    let counted: Option<u64> = mine()
        .map(|lane| {
            let counts = &lane.connection.as_ref()?.counts;
            Some(counts.sent_bytes?.saturating_add(counts.received_bytes?))
        })
        .sum();
    match counted {
        Some(counted) if counted >= moved && moved > 0 => told(
            Carrier::Tcp,
            format!("the kernel counted {counted} bytes of TCP for {moved} bytes of data in the window"),
        ),
        Some(counted) => told(
            Carrier::Unknown,
            format!("the kernel counted {counted} bytes of TCP, and {moved} bytes of data were moved"),
        ),
        None => told(Carrier::Unknown, "the connections' counters are not known".into()),
    }
}

/// What the NICs of a branch can carry of data, and how that comes about.
fn wire(doc: &ResultDoc, branch: Branch) -> Result<(u64, String), String> {
    let over = match branch {
        Branch::Tcp => FileOver::Tcp,
        Branch::Rdma => FileOver::Smbd,
    };
    let made = doc.steps.iter().find(|step| {
        let spec = step.spec.as_ref().and_then(StepSpec::file);
        spec.is_some_and(|spec| spec.over == over) && !step.lanes.is_empty()
    });
    let step = made.ok_or("it is not known which NICs would carry it")?;
    let lane = &step.lanes[0];
    let here = doc.environment(NodeId::CLIENT).ok_or("the NICs of this host are not known")?;
    let nic = nics_of(here, lane).and_then(|nics| nics.first().copied()).ok_or("its NIC is not known")?;
    let own = nic.speed_bits_per_s.ok_or_else(|| format!("the speed of {} is not known", nic.name))?;
    let mtu = nic.ip_mtu_bytes.ok_or_else(|| format!("the IP MTU of {} is not known", nic.name))?;
    let remote = remote_address(lane);
    let theirs = doc.smb.as_ref().and_then(|smb| {
        let same = smb.interfaces.iter().find(|listed| Some(listed.address) == remote)?;
        same.speed_bits_per_s
    });
    let speed = theirs.map_or(own, |theirs| own.min(theirs));
    let (payload, packet) = full_packet(u64::from(mtu), step, remote);
    let goodput = u128::from(speed) * u128::from(payload) / u128::from(packet);
    let whose = if theirs.is_none() { ", the server tells none of its own" } else { "" };
    let how = format!(
        "{} of {}, {payload} bytes of data in each {packet} on the wire{whose}",
        rate(speed),
        nic_name(nic)
    );
    Ok((u64::try_from(goodput).unwrap_or(u64::MAX), how))
}

fn nic_name(nic: &Nic) -> &str {
    &nic.name
}

fn rate(bits_per_s: u64) -> String {
    pathproof_model::units::BitsPerSecond(bits_per_s).to_string()
}

fn remote_address(lane: &LaneResult) -> Option<IpAddr> {
    let remote = lane.remote.as_ref()?;
    remote.parse::<SocketAddr>().map(|address| address.ip()).ok()
}

/// Data in a full packet, and what the packet takes on the wire.
fn full_packet(ip_mtu: u64, step: &Step, remote: Option<IpAddr>) -> (u64, u64) {
    let ip = if remote.is_some_and(|ip| ip.to_canonical().is_ipv6()) { 40 } else { 20 };
    let fabric = step.detail.file.as_ref().and_then(|file| Some(file.direct.as_ref()?.fabric));
    let tcp = ip_mtu.saturating_sub(ip + TCP_BYTES);
    match fabric {
        None => (tcp, ip_mtu + ETHERNET_BYTES),
        Some(Fabric::Iwarp) => (tcp.saturating_sub(IWARP_BYTES), ip_mtu + ETHERNET_BYTES),
        Some(_) => {
            let fits = |mtu: &u64| *mtu + ROCE_ROOM_BYTES <= ip_mtu;
            let path = [4096, 2048, 1024, 512, 256].into_iter().find(fits).unwrap_or(256);
            (path, path + ip + ROCE_BYTES + ETHERNET_BYTES)
        }
    }
}

#[cfg(test)]
mod tests;
