//! What switches say of the ports that both hosts are connected to.

use pathproof_model::environment::{Dcb, DcbApplication};
use pathproof_model::{NodeId, ResultDoc, SwitchPort};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<(NodeId, SwitchPort)>; 8] = [
        Column::words("SWITCH PORTS", |(node, port)| {
            let whose = if *node == NodeId::CLIENT { "this host" } else { "peer" };
            Cell::of(format!("{} of {whose}", port.nic))
        }),
        Column::words("PORT", |(_, port)| Cell::of(port.name())),
        Column::figures("VLAN", |(_, port)| Cell::known(port.vlan)),
        Column::words("VLANS NAMED", |(_, port)| {
            Cell::known(port.vlans.as_ref().map(|vlans| words(vlans.iter().map(u16::to_string), " ")))
        }),
        Column::figures("FRAME", |(_, port)| Cell::known(port.frame_bytes_max)),
        Column::words("PFC", |(_, port)| {
            let pfc = port.dcb.as_ref().and_then(|dcb| dcb.pfc.as_ref());
            Cell::known(pfc.map(|pfc| numbers(&pfc.enabled_priorities)))
        }),
        Column::words("ETS", |(_, port)| {
            let ets = |dcb: &Dcb| dcb.ets.as_ref().map(|ets| numbers(&ets.bandwidth_percent));
            Cell::known(port.dcb.as_ref().and_then(ets))
        }),
        Column::words("APPLICATIONS", |(_, port)| {
            let entry =
                |one: &DcbApplication| format!("{} {}: {}", one.selector.word(), one.protocol, one.priority);
            let table = port.dcb.as_ref().and_then(|dcb| dcb.applications.as_ref());
            Cell::known(table.map(|table| words(table.iter().map(entry), ", ")))
        }),
    ];
    let table = Table::new(&columns, doc.switch_ports().into_iter().map(Row::One));
    table.map(Block::Table).into_iter().collect()
}

fn numbers(all: &[u8]) -> String {
    words(all.iter().map(u8::to_string), " ")
}

fn words(all: impl Iterator<Item = String>, between: &str) -> String {
    let all: Vec<String> = all.collect();
    if all.is_empty() { "none".into() } else { all.join(between) }
}

#[cfg(test)]
mod tests {
    use pathproof_model::environment::DcbSelector;
    use pathproof_model::{Evidence, Step, StepKind, Tool};

    use super::*;

    #[test]
    fn a_port_is_shown_with_its_vlans_and_the_priorities_of_applications() {
        let smb = DcbApplication { selector: DcbSelector::StreamPort, protocol: 445, priority: 3 };
        let roce = DcbApplication { selector: DcbSelector::DgramPort, protocol: 4791, priority: 3 };
        let port = SwitchPort {
            nic: "eth0".into(),
            port: "Ethernet1/7".into(),
            vlan: Some(711),
            vlans: Some(vec![711, 712]),
            dcb: Some(Dcb { applications: Some(vec![smb, roce]), ..Dcb::default() }),
            ..SwitchPort::default()
        };
        let mut step = Step::new(StepKind::Facts, "facts");
        step.evidence = vec![Evidence { switch_ports: Some(vec![port]), ..Evidence::default() }];
        let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        let blocks = section(&doc);
        let [Block::Table(table)] = &blocks[..] else { panic!("one table: {blocks:?}") };
        let told = format!("{table:?}");
        for part in ["711 712", "stream-port 445: 3, dgram-port 4791: 3"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(section(&ResultDoc::new(Tool::default(), "")).is_empty(), "nothing was heard");
    }
}
