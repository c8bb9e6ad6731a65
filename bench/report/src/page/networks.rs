//! The networks that both hosts share, in the order in which a cluster prefers them.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    Direction, MigrationLoss, Network, NetworkLoss, NodeId, PortAnswer, PortRecord, ResultDoc,
};

use super::{Block, Cell, Column, Fact, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let Some(networks) = &doc.networks else { return Vec::new() };
    let columns: [Column<&Network>; 6] = [
        Column::words("NETWORKS OF BOTH HOSTS", |network| {
            Cell::of(
                std::iter::once(&network.subnet).chain(&network.also).cloned().collect::<Vec<_>>().join(", "),
            )
        }),
        Column::words("NICS", |network| {
            Cell::of(format!("{} - {}", nics(network, NodeId::CLIENT), nics(network, NodeId::SERVER)))
        }),
        Column::words("ROLE", |network| Cell::of(network.role.word())),
        Column::figures("METRIC", |network| {
            // What the hosts do not tell would have lowered it.
            let most = if network.metric_lacks.is_empty() { "" } else { "<= " };
            network.metric.map_or(Cell::of("unknown"), |metric| Cell::of(format!("{most}{metric}")))
        }),
        Column::figures("HEARTBEAT, CSV", |network| place(network, network.order_csv)),
        Column::figures("MIGRATION", |network| place(network, network.order_migration)),
    ];
    let Some(table) = Table::new(&columns, networks.iter().map(Row::One)) else {
        return vec![
            Block::heading("NETWORKS OF BOTH HOSTS"),
            Block::paragraph("The hosts have no subnet in common."),
        ];
    };
    let lost = networks.iter().filter(|network| network.order_csv.is_some()).map(|network| {
        let to = |subnet: &Option<String>| subnet.clone().unwrap_or("nothing".into());
        let then = format!(
            "heartbeat and CSV go over {}, migrations over {}",
            to(&network.if_lost.csv),
            to(&network.if_lost.migration)
        );
        Fact::new(&network.subnet, then)
    });
    let lost: Vec<Fact> = lost.collect();
    let mut blocks = vec![Block::Table(table)];
    if !lost.is_empty() {
        blocks.extend([Block::paragraph("If a network is lost, by the default order:"), Block::List(lost)]);
    }
    blocks.extend(ports(networks));
    blocks.extend(rehearsed(networks));
    blocks.extend(migrations(networks));
    blocks
}

/// What passes at the ports on each network: at the other host's from this one, and back at this one's.
fn ports(networks: &[Network]) -> Vec<Block> {
    let columns: [Column<(&Network, &[PortRecord])>; 4] = [
        Column::words("PORTS OF EACH NETWORK", |(network, _)| Cell::of(&network.subnet)),
        Column::words("LET THROUGH", |(_, records)| {
            Cell::of(names(records, |answer| answer == PortAnswer::Answered).join(", "))
        }),
        Column::words("CLOSED", |(_, records)| {
            let closed = records.iter().filter(|one| is_closed(one.answer));
            let told: Vec<String> =
                closed.map(|one| format!("{} {}", name(one), one.answer.name())).collect();
            Cell::of(told.join(", "))
        }),
        Column::words("NOT KNOWN", |(_, records)| {
            Cell::of(names(records, |answer| answer == PortAnswer::Unknown).join(", "))
        }),
    ];
    let asked: Vec<(&Network, &[PortRecord])> =
        networks.iter().filter_map(|network| Some((network, network.ports.as_deref()?))).collect();
    let Some(table) = Table::new(&columns, asked.iter().copied().map(Row::One)) else { return vec![] };
    // Most reasons are the same on every network.
    let mut reasons: Vec<String> = vec![];
    for record in asked.iter().flat_map(|(_, records)| records.iter()) {
        let Some(why) = record.reason.as_ref().filter(|_| record.answer == PortAnswer::Unknown) else {
            continue;
        };
        let told = format!("{} is not known: {why}.", name(record));
        if !reasons.contains(&told) {
            reasons.push(told);
        }
    }
    let mut blocks = vec![Block::Table(table)];
    if !reasons.is_empty() {
        blocks.push(Block::paragraph(reasons.join(" ")));
    }
    blocks
}

fn is_closed(answer: PortAnswer) -> bool {
    match answer {
        PortAnswer::Refused | PortAnswer::Unreachable | PortAnswer::Filtered => true,
        PortAnswer::Answered | PortAnswer::Unknown => false,
    }
}

fn names(records: &[PortRecord], wanted: fn(PortAnswer) -> bool) -> Vec<String> {
    records.iter().filter(|one| wanted(one.answer)).map(name).collect()
}

/// A port, and that it is asked on the way back where it is.
fn name(record: &PortRecord) -> String {
    match record.direction {
        Direction::In => format!("{} in", record.name),
        Direction::Out | Direction::Both => record.name.clone(),
    }
}

/// What the losses came to that were rehearsed, beside what the order predicts.
fn rehearsed(networks: &[Network]) -> Vec<Block> {
    let columns: [Column<(&Network, &NetworkLoss)>; 5] = [
        Column::words("NETWORK LOST", |(network, loss)| {
            Cell::of(format!("{} ({})", network.subnet, loss.nic))
        }),
        Column::words("STILL THERE", |(_, loss)| Cell::of(loss.left.join(", "))),
        Column::figures("NOTHING FOR", |(_, loss)| Cell::known(loss.gap_ns.map(Nanoseconds))),
        Column::figures("GIVEN UP AFTER", |(_, loss)| Cell::known(loss.noticed_after_ns.map(Nanoseconds))),
        Column::figures("BACK AFTER", |(_, loss)| Cell::known(loss.returned_after_ns.map(Nanoseconds))),
    ];
    let lost = || networks.iter().filter_map(|network| Some((network, network.rehearsed.as_ref()?)));
    let mut blocks: Vec<Block> =
        Table::new(&columns, lost().map(Row::One)).map(Block::Table).into_iter().collect();
    let unknown = lost().filter_map(|(network, loss)| {
        let why = loss.reason.as_ref()?;
        Some(format!("What the loss of {} comes to is not known: {why}.", network.subnet))
    });
    let unknown: Vec<String> = unknown.collect();
    if !unknown.is_empty() {
        blocks.push(Block::paragraph(unknown.join(" ")));
    }
    blocks
}

/// What the loss came to of the network over which a migration went.
fn migrations(networks: &[Network]) -> Option<Block> {
    let columns: [Column<(&Network, &MigrationLoss)>; 5] = [
        Column::words("MIGRATION LOSES", |(network, loss)| {
            Cell::of(format!("{} ({})", network.subnet, loss.nic))
        }),
        Column::words("GOES ON OVER", |(_, loss)| match (&loss.went_on_over, &loss.reason) {
            (Some(subnet), _) => Cell::of(subnet),
            (None, Some(reason)) => Cell::of(format!("unknown: {reason}")),
            (None, None) => Cell::of("nothing"),
        }),
        Column::figures("NOTHING FOR", |(_, loss)| Cell::known(loss.redirect_ns.map(Nanoseconds))),
        Column::figures("GIVEN UP AFTER", |(_, loss)| Cell::known(loss.noticed_after_ns.map(Nanoseconds))),
        Column::figures("BACK AFTER", |(_, loss)| Cell::known(loss.returned_after_ns.map(Nanoseconds))),
    ];
    let lost = networks.iter().filter_map(|network| Some((network, network.rehearsed_migration.as_ref()?)));
    Table::new(&columns, lost.map(Row::One)).map(Block::Table)
}

fn nics(network: &Network, node: NodeId) -> String {
    let mut names: Vec<&str> =
        network.nics.iter().filter(|nic| nic.node == node).map(|nic| nic.nic.as_str()).collect();
    names.dedup();
    names.join(" + ")
}

fn place(network: &Network, place: Option<u32>) -> Cell {
    match (place, network.up) {
        (Some(place), _) => Cell::of(place),
        (None, Some(false)) => Cell::of("down"),
        (None, _) => Cell::of("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_could_not_be_rehearsed_is_told_with_its_reason() {
        let lost = |subnet: &str, loss| Network {
            subnet: subnet.into(),
            rehearsed: Some(loss),
            ..Network::default()
        };
        let made = NetworkLoss { nic: "eth0".into(), gap_ns: Some(7), ..NetworkLoss::default() };
        let refused = NetworkLoss { reason: Some("run as root".into()), ..made.clone() };
        let told = |loss| rehearsed(&[lost("10.0.1.0/24", loss)]);
        assert!(matches!(&told(made)[..], [Block::Table(_)]));
        let why = "What the loss of 10.0.1.0/24 comes to is not known: run as root.";
        assert_eq!(told(refused)[1..], [Block::paragraph(why)]);
        assert_eq!(rehearsed(&[Network::default()]), []);
    }
}
