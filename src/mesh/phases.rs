//! What rank 0 has measured, phase by phase: reach of all, rounds of pairs, two halves, many to one; then whom the figures accuse, and those
//! once more in quiet.

use std::collections::BTreeMap;

use pathproof_engine::mesh::message::{Paced, Task, Told};
use pathproof_engine::mesh::schedule::{self, Pair};
use pathproof_engine::mesh::{Again, Errand, Repeated, analyse};
use pathproof_model::mesh::{Pattern, RoundKind};

use super::conductor::Conductor;
use crate::terminal;

/// Words by datagram are said again to those who did not hear them, so many times in all.
const KNOCKS: u32 = 2;

impl Conductor<'_> {
    /// All phases.
    pub fn measure(&mut self) {
        let rounds = self.ledger.rounds();
        self.tell_the_load(rounds.len());
        let planes = self.ledger.doc.planes.len();
        for plane in 0..planes {
            self.reach(plane);
            for round in &rounds {
                self.pairs(plane, round);
            }
            if self.ledger.has(Pattern::Bisect) {
                self.bisection(plane);
            }
            for pattern in [Pattern::Incast, Pattern::Outcast] {
                if self.ledger.has(pattern) {
                    self.ladder(plane, pattern);
                }
            }
        }
        self.call_the_roll();
        for plane in 0..planes {
            self.ledger.name_the_unmeasured(plane);
            if !self.is_stopped() {
                self.judge(plane);
            }
        }
    }

    /// What is about to be put on the fabric, before it is.
    fn tell_the_load(&mut self, rounds: usize) {
        let load = self.ledger.foresee(rounds);
        terminal::say(format!(
            "{} ranks: {} rounds, at most {} pairs and {} senders to one host at a time, about {} s before suspects are measured again",
            self.ledger.hosts(),
            load.rounds,
            load.pairs_at_once,
            load.senders_at_once,
            load.about_ns / 1_000_000_000
        ));
    }

    /// Words by datagram, again where some were not heard.
    fn reach(&mut self, plane: usize) {
        for _ in 0..KNOCKS {
            let alive = self.alive().into_iter();
            let errands = alive.map(|rank| Errand { rank, task: Task::Knock, peers: vec![] }).collect();
            self.round(RoundKind::Knock, plane, errands);
            if !self.ledger.is_any_unheard(plane) {
                return;
            }
        }
    }

    /// One round of the tournament: what there is between the two, then streams, the lower rank first.
    fn pairs(&mut self, plane: usize, pairs: &[Pair]) {
        let phases =
            [(RoundKind::Reach, Task::Survey), (RoundKind::Up, Task::Send), (RoundKind::Down, Task::Fetch)];
        for (kind, task) in phases {
            let alive = self.alive();
            let there = |rank: usize| alive.contains(&(rank as u32));
            let talks = |pair: Pair| kind == RoundKind::Reach || self.ledger.talks(plane, pair);
            let pairs = pairs.iter().copied().filter(|pair| there(pair.0) && there(pair.1) && talks(*pair));
            let errand = |(a, b): Pair| Errand { rank: a as u32, task, peers: vec![b as u32] };
            self.round(kind, plane, pairs.map(errand).collect());
        }
    }

    /// Two halves at once.
    fn bisection(&mut self, plane: usize) {
        // Of those that are there, in their order.
        let alive = self.alive();
        let pairs = schedule::bisection(alive.len());
        let errand = |(a, b): Pair| Errand { rank: alive[a], task: Task::Exchange, peers: vec![alive[b]] };
        self.round(RoundKind::Bisect, plane, pairs.into_iter().map(errand).collect());
    }

    /// Many to one, or one to many, more of them from rung to rung; and round trips of two that have no part in it.
    fn ladder(&mut self, plane: usize, pattern: Pattern) {
        let (kind, task) = match pattern {
            Pattern::Outcast => (RoundKind::Outcast, Task::Spread),
            Pattern::Incast | Pattern::Pairs | Pattern::Bisect => (RoundKind::Incast, Task::Gather),
        };
        let alive = self.alive();
        for rung in self.ledger.ladder(alive.len()) {
            let there = self.alive();
            // Who was lost meanwhile takes its rungs along.
            let named = rung.many.iter().map(|at| alive[*at]);
            let many: Vec<u32> = named.filter(|rank| there.contains(rank)).collect();
            let one = alive[rung.one];
            if many.len() < 2 || !there.contains(&one) {
                continue;
            }
            let idle: Vec<u32> =
                there.iter().copied().filter(|rank| *rank != one && !many.contains(rank)).collect();
            let mut errands = vec![Errand { rank: one, task, peers: many }];
            if let [asks, .., answers] = idle[..] {
                errands.push(Errand { rank: asks, task: Task::Latency, peers: vec![answers] });
            }
            self.round(kind, plane, errands);
        }
    }

    /// Whom the figures of a plane accuse.
    fn judge(&mut self, plane: usize) {
        let figures = self.ledger.figures(plane);
        let found = analyse(&figures.measured(), &mut InQuiet { conductor: self, plane });
        self.ledger.accuse(plane, &figures, found);
        self.keep();
    }
}

/// Suspects, measured again while all others rest.
struct InQuiet<'a, 'b> {
    conductor: &'a mut Conductor<'b>,
    plane: usize,
}

impl InQuiet<'_, '_> {
    /// What each of some pairs tells of a task, in their order, so many at a time.
    fn ask(&mut self, task: Task, pairs: &[(usize, usize)], at_once: usize) -> Vec<Option<Told>> {
        let mut answers = BTreeMap::<(usize, usize), Vec<Option<Told>>>::new();
        for turn in schedule::turns(pairs, at_once) {
            let errand =
                |(from, to): &(usize, usize)| Errand { rank: *from as u32, task, peers: vec![*to as u32] };
            let reports =
                self.conductor.round(RoundKind::Again, self.plane, turn.iter().map(errand).collect());
            for (from, to) in turn {
                let told = reports.get(&(from as u32)).and_then(|report| report.told.first());
                let told = told.filter(|told| told.peer == to as u32).cloned();
                answers.entry((from, to)).or_default().push(told);
            }
        }
        // A pair that was asked for twice has two answers, in their order.
        let mut taken = BTreeMap::<(usize, usize), usize>::new();
        pairs
            .iter()
            .map(|pair| {
                let at = taken.entry(*pair).or_default();
                *at += 1;
                answers.get(pair).and_then(|told| told.get(*at - 1)).cloned().flatten()
            })
            .collect()
    }

    /// Few at a time: of a small mesh one, of a large one as many as hardly meet.
    fn few(&self) -> usize {
        (self.conductor.ledger.hosts() / 16).max(1)
    }

    fn streams(&mut self, pairs: &[(usize, usize)], at_once: usize) -> Vec<Repeated> {
        self.ask(Task::Send, pairs, at_once).iter().map(|told| Repeated::of(told.as_ref())).collect()
    }
}

impl Again for InQuiet<'_, '_> {
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.streams(pairs, self.few())
    }

    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.streams(pairs, pairs.len())
    }

    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
        self.ask(Task::Drip, pairs, self.few()).into_iter().map(|told| told?.paced).collect()
    }
}
