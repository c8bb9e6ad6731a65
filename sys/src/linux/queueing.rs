//! Queueing disciplines over rtnetlink (`RTM_GETQDISC`).

use std::collections::BTreeMap;
use std::io;

use super::interfaces;
use super::netlink::{self, Attribute, Message, discipline};
use crate::queueing::Discipline;

/// All of this network namespace.
pub fn disciplines() -> io::Result<Vec<Discipline>> {
    let names = interfaces::names()?;
    let answers = netlink::dump(Message::of(libc::RTM_GETQDISC))?;
    Ok(answers.iter().filter_map(|answer| read(answer, &names)).collect())
}

/// What a discipline has queued, among its statistics (`TCA_STATS_QUEUE` in linux/gen_stats.h): `struct gnet_stats_queue`.
const TCA_STATS_QUEUE: u16 = 3;

fn read(message: &Message, names: &BTreeMap<u32, String>) -> Option<Discipline> {
    if message.kind != libc::RTM_NEWQDISC {
        return None;
    }
    let mut found = Discipline {
        interface: names.get(&message.u32_at(discipline::INDEX))?.clone(),
        handle: handle(message.u32_at(discipline::HANDLE)),
        parent: handle(message.u32_at(discipline::PARENT)),
        ..Discipline::default()
    };
    if let Some(kind) = message.attribute(libc::TCA_KIND).and_then(Attribute::text) {
        found.kind = kind;
    }
    let queue = message
        .attribute(libc::TCA_STATS2)
        .and_then(|stats| stats.nested().find(|one| one.kind == TCA_STATS_QUEUE))
        .and_then(|queue| queue.value.first_chunk::<20>());
    if let Some(queue) = queue {
        // qlen, backlog, drops, requeues, overlimits
        let at = |field: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| queue[field * 4 + byte]);
            u64::from(u32::from_ne_bytes(bytes))
        };
        found.backlog_bytes = at(1);
        found.drops = Some(at(2));
        found.requeues = Some(at(3));
        found.held_back = Some(at(4));
    }
    Some(found)
}

/// As `tc` writes it.
fn handle(handle: u32) -> String {
    match (handle >> 16, handle & 0xffff) {
        (0xffff, 0xffff) => "root".into(),
        (major, 0) => format!("{major:x}:"),
        (major, minor) => format!("{major:x}:{minor:x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_look_as_in_tc() {
        assert_eq!(handle(0x8001_0000), "8001:");
        assert_eq!(handle(0x0001_001f), "1:1f");
        assert_eq!(handle(0xffff_ffff), "root");
    }

    #[test]
    fn what_a_discipline_has_queued_stands_among_its_statistics() {
        let names = BTreeMap::from([(3, "e0".to_owned())]);
        let queue: Vec<u8> = [11u32, 1500, 7, 2, 9].into_iter().flat_map(u32::to_ne_bytes).collect();
        let stats = Message::of(0).with(1, &[0; 16]).with(TCA_STATS_QUEUE, &queue);
        let plain = Message::of(libc::RTM_NEWQDISC)
            .set(discipline::INDEX, &3u32.to_ne_bytes())
            .set(discipline::PARENT, &u32::MAX.to_ne_bytes())
            .with(libc::TCA_KIND, b"tbf\0");
        let unknown = read(&plain, &names).unwrap();
        assert_eq!((unknown.kind.as_str(), unknown.parent.as_str(), unknown.drops), ("tbf", "root", None));
        let told = read(&plain.clone().with(libc::TCA_STATS2, stats.bytes()), &names).unwrap();
        assert_eq!((told.backlog_bytes, told.drops), (1500, Some(7)));
        assert_eq!((told.requeues, told.held_back), (Some(2), Some(9)));
        assert!(read(&plain, &BTreeMap::new()).is_none(), "of no interface of this namespace");
    }
}
