//! Queueing disciplines: what they dropped or held back on the way out, and how much stood in them.

use std::collections::BTreeMap;

use pathproof_model::evidence::{QueueActivity, QueueCounts};
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::queueing;

use super::{About, Evidence};

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
    let told = queueing::disciplines().map_err(|error| format!("netlink: {error}"))?;
    let each = told.into_iter().map(|one| {
        let counts = QueueCounts { drops: one.drops, held_back: one.held_back, requeues: one.requeues };
        let queue = Queue { kind: one.kind, counts, backlog_bytes: one.backlog_bytes };
        ((one.interface, one.handle, one.parent), queue)
    });
    Ok(each.collect())
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
    fn this_machine_s_queues_can_be_read() {
        assert!(all().is_ok());
    }
}
