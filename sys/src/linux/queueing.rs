//! Queueing disciplines over rtnetlink (`RTM_GETQDISC`).

use std::collections::BTreeMap;
use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};

use super::{interfaces, netlink};
use crate::queueing::Discipline;

/// All of this network namespace.
pub fn disciplines() -> io::Result<Vec<Discipline>> {
    let names = interfaces::names()?;
    let answers = netlink::dump(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
    Ok(answers.iter().filter_map(|answer| discipline(answer, &names)).collect())
}

fn discipline(answer: &RouteNetlinkMessage, names: &BTreeMap<u32, String>) -> Option<Discipline> {
    let RouteNetlinkMessage::NewQueueDiscipline(message) = answer else { return None };
    let header = &message.header;
    let mut found = Discipline {
        interface: names.get(&u32::try_from(header.index).ok()?)?.clone(),
        handle: handle(header.handle),
        parent: handle(header.parent),
        ..Discipline::default()
    };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => found.kind.clone_from(kind),
            TcAttribute::Stats2(stats) => {
                for stats in stats {
                    let TcStats2::Queue(queue) = stats else { continue };
                    found.backlog_bytes = queue.backlog.into();
                    found.drops = Some(queue.drops.into());
                    found.held_back = Some(queue.overlimits.into());
                    found.requeues = Some(queue.requeues.into());
                }
            }
            _ => {}
        }
    }
    Some(found)
}

/// As `tc` writes it.
fn handle(handle: TcHandle) -> String {
    match handle {
        TcHandle::ROOT => "root".into(),
        TcHandle { major, minor: 0 } => format!("{major:x}:"),
        TcHandle { major, minor } => format!("{major:x}:{minor:x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_look_as_in_tc() {
        assert_eq!(handle(TcHandle { major: 0x8001, minor: 0 }), "8001:");
        assert_eq!(handle(TcHandle { major: 1, minor: 0x1f }), "1:1f");
        assert_eq!(handle(TcHandle::ROOT), "root");
    }
}
