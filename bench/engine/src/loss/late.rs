//! Marks whose datagrams wait where best effort does not.
//!
//! Refuses to tell one of which a single datagram came as soon as the others: delay that comes and goes is another matter, and not a mark's.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, LossMark, LossPath, Share};

use super::path_numbers::{mark_name, numbers};

/// For so long neither a host nor a queue that is empty at times holds back the fastest of many.
const LATER_NS: u64 = 10_000_000;
/// The fastest of so many is no chance.
const ARRIVED: u64 = 16;

/// Marks with which the fastest datagram of a path took far longer than the fastest with best effort, which went out beside them.
pub(super) fn marks(path: &LossPath) -> Vec<Finding> {
    let fastest = |mark: &LossMark| mark.least_delay_ns.filter(|_| mark.counts.received >= ARRIVED);
    let plain = path.marks.iter().find(|mark| (mark.dscp, mark.ecn) == (0, 0));
    let Some(best_ns) = plain.and_then(fastest) else { return vec![] };
    let later = |mark: &LossMark| {
        let later_ns = fastest(mark)?.saturating_sub(best_ns);
        (later_ns >= LATER_NS).then(|| finding(path, mark, later_ns))
    };
    path.marks.iter().filter_map(later).collect()
}

fn finding(path: &LossPath, mark: &LossMark, later_ns: u64) -> Finding {
    let received = mark.counts.received;
    let said = format!(
        "{}: with {} the fastest of {received} datagrams took {} longer than the fastest with best effort beside them: all of them waited",
        path.name(),
        mark_name(mark.dscp, mark.ecn),
        Nanoseconds(later_ns)
    );
    let finding = numbers(Finding::new("PATH-JITTER", said), path, Share { part: received, of: received });
    let mut finding = finding.with("dscp", mark.dscp).with("ecn", mark.ecn).with("longer_ns", later_ns);
    finding.meaning = "Packets with this mark wait where others do not: on the way their queue is emptied last, or has little reserved for it. What is sent \
                       with it for the sake of its delay (RDMA, heartbeats) fares worse than best effort."
        .into();
    finding.with_next(
        "Look at the quality-of-service policy of every switch and router on the path for this code point: into which queue it goes, the weight and the order of \
         that queue (ETS, strict priority, shapers), and what else is put into it; then run again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::merge::tests::run_late;
    use crate::loss::{MARKS, Packet};

    fn told(late_ns: fn(&Packet) -> u64) -> Vec<Finding> {
        let paths = run_late(|_, packet| Some(MARKS[packet.mark].class()), late_ns);
        paths.iter().flat_map(marks).collect()
    }

    fn is_af31(packet: &Packet) -> bool {
        MARKS[packet.mark].dscp == 26
    }

    #[test]
    fn a_mark_that_waits_all_the_time_is_told_with_its_name() {
        let found = told(|packet| if is_af31(packet) { 30_000_000 } else { 0 });
        assert_eq!((found.len(), &*found[0].code), (1, "PATH-JITTER"), "{found:?}");
        for part in ["with AF31 (DSCP 26)", "30.00 ms longer than the fastest with best effort"] {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        assert_eq!(found[0].values["dscp"], 26);
    }

    #[test]
    fn what_waits_now_and_then_or_a_little_or_with_all_others_is_no_marks() {
        assert_eq!(told(|packet| if is_af31(packet) && packet.seq % 8 > 0 { 30_000_000 } else { 0 }), []);
        assert_eq!(told(|packet| if is_af31(packet) { 4_000_000 } else { 0 }), []);
        assert_eq!(told(|packet| if packet.flow % 4 == 1 { 30_000_000 } else { 0 }), []);
        // A receiver that does not say how late the fastest was.
        let mut paths = run_late(
            |_, packet| Some(MARKS[packet.mark].class()),
            |packet| if is_af31(packet) { 30_000_000 } else { 0 },
        );
        paths[0].marks.iter_mut().for_each(|mark| mark.least_delay_ns = None);
        assert_eq!(marks(&paths[0]), []);
    }
}
