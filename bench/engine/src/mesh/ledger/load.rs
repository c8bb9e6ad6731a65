//! What a mesh puts on a fabric, and how long that takes: computed before it begins, and from what its rounds took as soon as there are some.

use pathproof_model::mesh::{MeshLoad, Pattern, RoundKind};

use super::Ledger;
use crate::mesh::message::Task;

/// Words by datagram, three times, and the time in which late ones are waited for.
const KNOCK_NS: u64 = 1_000_000_000;
/// A survey: sessions are opened, round trips, and the path MTU of both directions, where nothing swallows packets.
const SURVEY_NS: u64 = 700_000_000;
/// What streams take beside their window: sessions are opened, lanes come up and warm up, reports cross.
const ASIDE_NS: u64 = 1_300_000_000;
/// What each more of those that stream with one host at once takes.
const EACH_NS: u64 = 300_000_000;

/// Rounds of a kind that are to be made, and how long one is thought to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    kind: RoundKind,
    rounds: u64,
    each_ns: u64,
}

impl Ledger {
    /// What is about to be put on the fabric, computed before it is.
    pub fn foresee(&mut self, rounds: usize) -> MeshLoad {
        let (hosts, planes) = (self.hosts(), self.doc.planes.len() as u64);
        let window_ns = self.doc.settings.time_ns.saturating_add(ASIDE_NS);
        let of =
            |kind, rounds: u64, each_ns| Planned { kind, rounds: rounds.saturating_mul(planes), each_ns };
        let mut planned = vec![
            of(RoundKind::Knock, 1, KNOCK_NS),
            of(RoundKind::Reach, rounds as u64, SURVEY_NS),
            of(RoundKind::Up, rounds as u64, window_ns),
            of(RoundKind::Down, rounds as u64, window_ns),
            of(RoundKind::Bisect, u64::from(self.has(Pattern::Bisect)), window_ns),
        ];
        let rungs = self.ladder(hosts);
        let many: u64 = rungs.iter().map(|rung| rung.many.len() as u64).sum();
        let each_ns = Task::Gather.window_ns(self.doc.settings.time_ns).saturating_add(ASIDE_NS);
        let each_ns = each_ns.saturating_add(EACH_NS * many / (rungs.len() as u64).max(1));
        let ladders = [(Pattern::Incast, RoundKind::Incast), (Pattern::Outcast, RoundKind::Outcast)];
        let ladders: Vec<RoundKind> =
            ladders.into_iter().filter(|(pattern, _)| self.has(*pattern)).map(|(_, kind)| kind).collect();
        planned.extend(ladders.iter().map(|kind| of(*kind, rungs.len() as u64, each_ns)));
        self.planned = planned;
        let load = MeshLoad {
            rounds: (rounds as u64 * planes) as u32,
            pairs_at_once: (hosts / 2) as u32,
            senders_at_once: if ladders.is_empty() { 1 } else { hosts as u32 - 1 },
            about_ns: self.left_ns(),
        };
        self.doc.load = load;
        load
    }

    /// About how long all takes that is still to come before suspects are measured again: as long as rounds of its kind took so far, or as
    /// was thought where there were none.
    pub fn left_ns(&self) -> u64 {
        let of = |planned: &Planned| {
            let made = self.doc.rounds.iter().filter(|round| round.kind == planned.kind);
            let (count, took_ns) = made
                .fold((0u64, 0u64), |(count, sum), round| (count + 1, sum.saturating_add(round.elapsed_ns)));
            let each_ns = took_ns.checked_div(count).unwrap_or(planned.each_ns);
            planned.rounds.saturating_sub(count).saturating_mul(each_ns)
        };
        self.planned.iter().map(of).fold(0, u64::saturating_add)
    }
}
