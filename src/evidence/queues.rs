//! Queueing disciplines: what they dropped or held back on the way out, and how much stood in them.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};
use pathproof_model::evidence::{QueueActivity, QueueCounts};
use pathproof_model::{Evidence as Record, Half};

use super::{About, Evidence};
use crate::host::{netlink, nic_names};

/// Most entries of a record: adapters have one for each of their queues.
const QUEUES_MAX: usize = 64;

/// Where a discipline sits: interface, handle, parent.
type Place = (String, String, String);

/// One of them at one moment.
#[derive(Clone)]
struct Queue {
    kind: String,
    counts: QueueCounts,
    backlog_bytes: u64,
}

/// All of them, and the most that was seen in each.
pub struct Queues {
    before: Result<BTreeMap<Place, Queue>, String>,
    highest: BTreeMap<Place, u64>,
}

impl Evidence for Queues {
    fn before(_about: &About) -> Queues {
        Queues { before: all(), highest: BTreeMap::new() }
    }

    fn during(&mut self) {
        if self.before.is_ok()
            && let Ok(now) = all()
        {
            self.note(&now);
        }
    }

    fn after(mut self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let now = all();
        if let Ok(now) = &now {
            self.note(now);
        }
        let (then, now) = match (self.before, now) {
            (Ok(then), Ok(now)) => (then, now),
            (Err(why), _) | (_, Err(why)) => return record.cannot_tell("queues", why),
        };
        let mut moved = moved(&then, &now, &self.highest);
        if moved.len() > QUEUES_MAX {
            record.cannot_tell("queues", format!("{} moved; some of them are listed", moved.len()));
            moved.truncate(QUEUES_MAX);
        }
        record.queues = Some(moved);
    }
}

impl Queues {
    fn note(&mut self, now: &BTreeMap<Place, Queue>) {
        for (place, queue) in now.iter().filter(|(_, queue)| queue.backlog_bytes > 0) {
            let highest = self.highest.entry(place.clone()).or_default();
            *highest = queue.backlog_bytes.max(*highest);
        }
    }
}

/// Those that dropped or held back anything, or that something stood in.
fn moved(
    then: &BTreeMap<Place, Queue>,
    now: &BTreeMap<Place, Queue>,
    highest: &BTreeMap<Place, u64>,
) -> Vec<QueueActivity> {
    let blank = QueueCounts::still();
    let each = now.iter().map(|(place, queue)| {
        let counts = queue.counts.since(then.get(place).map_or(&blank, |then| &then.counts));
        let (nic, handle, parent) = place.clone();
        let backlog_highest_bytes = Some(highest.get(place).copied().unwrap_or(0));
        QueueActivity { nic, handle, parent, kind: queue.kind.clone(), backlog_highest_bytes, counts }
    });
    each.filter(|queue| !queue.counts.is_still() || queue.backlog_highest_bytes != Some(0)).collect()
}

fn all() -> Result<BTreeMap<Place, Queue>, String> {
    let told = |error| format!("netlink: {error}");
    let names = nic_names().map_err(told)?;
    let answers =
        netlink::dump(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default())).map_err(told)?;
    Ok(answers.iter().filter_map(|answer| queue(answer, &names)).collect())
}

fn queue(answer: &RouteNetlinkMessage, names: &BTreeMap<u32, String>) -> Option<(Place, Queue)> {
    let RouteNetlinkMessage::NewQueueDiscipline(message) = answer else { return None };
    let nic = names.get(&u32::try_from(message.header.index).ok()?)?.clone();
    let mut queue = Queue { kind: String::new(), counts: QueueCounts::default(), backlog_bytes: 0 };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => queue.kind.clone_from(kind),
            TcAttribute::Stats2(stats) => {
                for stats in stats {
                    let TcStats2::Queue(told) = stats else { continue };
                    queue.backlog_bytes = told.backlog.into();
                    queue.counts = QueueCounts {
                        drops: Some(told.drops.into()),
                        held_back: Some(told.overlimits.into()),
                        requeues: Some(told.requeues.into()),
                    };
                }
            }
            _ => {}
        }
    }
    let header = &message.header;
    Some(((nic, handle(header.handle), handle(header.parent)), queue))
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
    fn a_queue_that_dropped_or_held_something_is_listed_and_an_idle_one_is_not() {
        let place = |nic: &str| (nic.to_owned(), "1:".to_owned(), "root".to_owned());
        let queue = |drops| Queue {
            kind: "tbf".into(),
            counts: QueueCounts { drops: Some(drops), ..QueueCounts::still() },
            backlog_bytes: 0,
        };
        let all = |list: &[(&str, u64)]| list.iter().map(|(nic, n)| (place(nic), queue(*n))).collect();
        let then = all(&[("eth0", 1), ("eth1", 1), ("eth2", 1)]);
        let now = all(&[("eth0", 4), ("eth1", 1), ("eth2", 1)]);
        let mut queues = Queues { before: Ok(then), highest: BTreeMap::new() };
        for backlog_bytes in [3000, 9000, 0] {
            queues.note(&[(place("eth2"), Queue { backlog_bytes, ..queue(1) })].into());
        }
        let told: Vec<_> = moved(queues.before.as_ref().unwrap(), &now, &queues.highest)
            .into_iter()
            .map(|queue| (queue.nic, queue.counts.drops, queue.backlog_highest_bytes))
            .collect();
        assert_eq!(told, [("eth0".into(), Some(3), Some(0)), ("eth2".into(), Some(0), Some(9000))]);
    }

    #[test]
    fn this_machine_s_queues_can_be_read_and_handles_look_as_in_tc() {
        assert!(all().is_ok());
        assert_eq!(handle(TcHandle { major: 0x8001, minor: 0 }), "8001:");
        assert_eq!(handle(TcHandle { major: 1, minor: 0x1f }), "1:1f");
        assert_eq!(handle(TcHandle::ROOT), "root");
    }
}
