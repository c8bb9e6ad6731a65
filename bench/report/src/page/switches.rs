//! What switches say of the ports that both hosts are connected to.

use pathproof_model::environment::Dcb;
use pathproof_model::{NodeId, ResultDoc, SwitchPort};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<(NodeId, SwitchPort)>; 6] = [
        Column::words("SWITCH PORTS", |(node, port)| {
            let whose = if *node == NodeId::CLIENT { "this host" } else { "peer" };
            Cell::of(format!("{} of {whose}", port.nic))
        }),
        Column::words("PORT", |(_, port)| Cell::of(port.name())),
        Column::figures("VLAN", |(_, port)| Cell::known(port.vlan)),
        Column::figures("FRAME", |(_, port)| Cell::known(port.frame_bytes_max)),
        Column::words("PFC", |(_, port)| {
            let pfc = port.dcb.as_ref().and_then(|dcb| dcb.pfc.as_ref());
            Cell::known(pfc.map(|pfc| numbers(&pfc.enabled_priorities)))
        }),
        Column::words("ETS", |(_, port)| {
            let ets = |dcb: &Dcb| dcb.ets.as_ref().map(|ets| numbers(&ets.bandwidth_percent));
            Cell::known(port.dcb.as_ref().and_then(ets))
        }),
    ];
    let table = Table::new(&columns, doc.switch_ports().into_iter().map(Row::One));
    table.map(Block::Table).into_iter().collect()
}

fn numbers(all: &[u8]) -> String {
    if all.is_empty() {
        return "none".into();
    }
    all.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")
}
