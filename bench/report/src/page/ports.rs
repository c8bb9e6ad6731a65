//! The ports of the real job, way by way, and the connections that were opened at once.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{AnsweredBy, Direction, NetworkPorts, Port, PortAnswer, PortRecord, ResultDoc, Role};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let records: Vec<&PortRecord> =
        doc.steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten().collect();
    let Some(table) = table(&records) else { return Vec::new() };
    vec![Block::Table(table), Block::paragraph(legend(doc, &records))]
}

/// A row a port.
fn table(records: &[&PortRecord]) -> Option<Table> {
    let rows: Vec<(Port, &[&PortRecord])> = Port::ALL
        .into_iter()
        .filter(|port| records.iter().any(|record| record.port == *port))
        .map(|port| (port, records))
        .collect();
    let columns: [Column<(Port, &[&PortRecord])>; 5] = [
        Column::words("PORT", |(port, _)| Cell::of(port.name())),
        Column::words("SERVICE", |(port, _)| Cell::of(port.service())),
        Column::words("OUT", |(port, all)| answer(*port, Direction::Out, all)),
        Column::words("IN", |(port, all)| answer(*port, Direction::In, all)),
        Column::words("NEEDED BY", |(port, all)| {
            let of_port = all.iter().filter(|record| record.port == *port);
            let mut roles: Vec<&str> =
                of_port.flat_map(|record| record.needed_by.iter().copied().map(Role::name)).collect();
            roles.sort_unstable();
            roles.dedup();
            Cell::of(roles.join(", "))
        }),
    ];
    Table::new(&columns, rows.into_iter().map(Row::One))
}

/// What the table has no column for.
fn legend(doc: &ResultDoc, records: &[&PortRecord]) -> String {
    let bursts = doc.steps.iter().filter_map(|step| step.detail.opened_at_once.as_ref()).flatten();
    let opened: Vec<String> = bursts
        .map(|burst| {
            let way = burst.direction.name();
            format!("{way}{} {} of {}", burst.over(), burst.opened.opened, burst.opened.asked)
        })
        .collect();
    let mut legend = "The other end listened for the length of the step where nothing did. Roles (--role) say which ports matter."
        .to_owned();
    if !opened.is_empty() {
        legend = format!("Connections opened at once: {}. {legend}", opened.join(", "));
    }
    let silent = doc.steps.iter().filter_map(|step| step.detail.left_silent.as_ref()).flatten();
    legend.extend(silent.filter_map(|record| {
        let (way, longest) = (format!("{}{}", record.direction.name(), record.over()), record.tried.last()?);
        Some(match record.forgotten() {
            Some((_, dead_ns)) => {
                format!(" Silent connections {way} are dead after {}.", Nanoseconds(dead_ns))
            }
            None => {
                let slowest = record.tried.iter().filter_map(|tried| tried.answered_after_ns).max();
                let took = slowest
                    .map_or_else(String::new, |ns| format!(", and answered within {}", Nanoseconds(ns)));
                format!(
                    " Silent connections {way} were tried up to {}{took}.",
                    Nanoseconds(longest.silent_ns)
                )
            }
        })
    }));
    let datagrams = doc.steps.iter().filter_map(|step| step.detail.port_datagrams.as_ref()).flatten();
    legend.extend(datagrams.map(|record| {
        let (small, full) = (record.datagrams.lost_small(), record.datagrams.lost_full());
        format!(
            " Of datagrams to {} {} {} of {} small ones and {} of {} of {} bytes were lost.",
            record.datagrams.port.name(),
            record.direction.name(),
            small.part,
            small.of,
            full.part,
            full.of,
            record.datagrams.full_ip_bytes
        )
    }));
    // On every network of a cluster they stand beside the networks.
    let networks = doc.steps.iter().filter_map(|step| step.detail.network_ports.as_ref()).flatten();
    let toward = |network: &NetworkPorts, direction: Direction, said: &str| {
        let own = network.ports.iter().filter(|record| record.direction == direction);
        let each: Vec<String> =
            own.map(|record| format!("{} {}", record.name, record.answer.name())).collect();
        (!each.is_empty()).then(|| format!(" Over {}, {said}: {}.", network.subnet, each.join(", ")))
    };
    legend.extend(networks.flat_map(|network| {
        [toward(network, Direction::Out, "from here"), toward(network, Direction::In, "back to here")]
            .into_iter()
            .flatten()
    }));
    let unknown = records.iter().filter_map(|record| {
        let why = record.reason.as_ref().filter(|_| record.answer == PortAnswer::Unknown)?;
        Some(format!(" {} {} is not known: {why}.", record.name, record.direction.name()))
    });
    legend.extend(unknown);
    legend
}

fn answer(port: Port, direction: Direction, all: &[&PortRecord]) -> Cell {
    let found = all.iter().find(|record| record.port == port && record.direction == direction);
    match found {
        Some(record) if record.answer == PortAnswer::Unknown => Cell::Unknown,
        Some(record) if record.by == Some(AnsweredBy::Service) => Cell::of("answered by a service"),
        Some(record) => Cell::of(record.answer.name()),
        None => Cell::Unknown,
    }
}
