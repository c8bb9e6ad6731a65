//! What an SMB server says about itself.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{ObtainedBy, ResultDoc, SmbInterface, SmbServer};

use super::{Block, Cell, Column, Row, Table, facts};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let Some(smb) = &doc.smb else { return Vec::new() };
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let skew = match smb.clock_skew_ns {
        Some(ns) if ns < 0 => format!("{} behind ours", Nanoseconds(ns.unsigned_abs())),
        Some(ns) => format!("{} ahead of ours", Nanoseconds(ns.unsigned_abs())),
        None => "unknown".into(),
    };
    let said = facts([
        ("dialect", smb.dialect.clone()),
        ("multichannel", yes(smb.multichannel).into()),
        ("capabilities", smb.capabilities.join(", ")),
        ("signing", signing(smb)),
        ("encryption", encryption(smb)),
        ("RDMA transform", transforms(smb)),
        ("largest I/O", format!("read {}, write {}", Bytes(smb.max_read_bytes), Bytes(smb.max_write_bytes))),
        ("server GUID", smb.server_guid.clone()),
        ("clock", skew),
        (
            "round trip",
            format!("{} (TCP handshake {})", Nanoseconds(smb.round_trip_ns), Nanoseconds(smb.connect_ns)),
        ),
    ]);
    let heading = Block::heading(format!("SMB SERVER {}", smb.address));
    let mut blocks = vec![heading, Block::Facts(said), Block::Break];
    blocks.extend(interfaces(smb));
    blocks
}

fn signing(smb: &SmbServer) -> String {
    let demand = if smb.signing_required { "required" } else { "not required" };
    match &smb.signing {
        Some(algorithm) => format!("{demand}, {algorithm}"),
        None => demand.into(),
    }
}

fn encryption(smb: &SmbServer) -> String {
    let offered = smb.encryption.clone().unwrap_or_else(|| "not offered".into());
    match smb.encryption_required {
        Some(true) => format!("{offered}, required"),
        Some(false) => format!("{offered}, not required"),
        None => offered,
    }
}

fn transforms(smb: &SmbServer) -> String {
    if smb.rdma_transforms.is_empty() { "none".into() } else { smb.rdma_transforms.join(", ") }
}

fn interfaces(smb: &SmbServer) -> Vec<Block> {
    let by = match smb.interfaces_obtained_by {
        ObtainedBy::None => "not listed",
        ObtainedBy::Sessionless => "listed without a session",
        ObtainedBy::Anonymous => "listed for an anonymous session",
        ObtainedBy::Credentials => "listed after logging on",
    };
    if smb.interfaces.is_empty() {
        let attempts = smb.attempts.iter().map(|attempt| Block::note(attempt.way.word(), &attempt.outcome));
        return std::iter::once(Block::heading(format!("SERVER'S NICS: {by}"))).chain(attempts).collect();
    }
    fn mark(yes: bool) -> Cell {
        Cell::known(yes.then_some("yes"))
    }
    let columns: [Column<&SmbInterface>; 5] = [
        Column::words(format!("SERVER'S NICS ({by})"), |nic| Cell::of(nic.address)),
        Column::figures("INDEX", |nic| Cell::of(nic.index)),
        Column::figures("SPEED", |nic| {
            nic.speed_bits_per_s.map_or(Cell::of("unknown"), |speed| Cell::of(BitsPerSecond(speed)))
        }),
        Column::figures("RSS", |nic| mark(nic.rss)),
        Column::figures("RDMA", |nic| mark(nic.rdma)),
    ];
    Table::new(&columns, smb.interfaces.iter().map(Row::One)).map(Block::Table).into_iter().collect()
}
