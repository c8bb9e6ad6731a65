//! What a hypervisor does next: pure state machines with explicit phases. They are told what a round moved and
//! what was dirtied meanwhile, and answer with the next phase; they never look at memory or a clock.
//!
//! Setup → FullCopy → Round(1) … Round(n) → StopAndCopy → Verify → Done, with PostCopy in place of the later
//! rounds where QEMU was asked to switch. The verify phase is ours: a copy that is not verified is not a copy.

use pathproof_model::migrate::PolicyName;

use super::PAGE_BYTES;

/// QEMU's default `downtime-limit`, in ns.
const DOWNTIME_LIMIT_NS: u64 = 300_000_000;
/// Rounds over which the dirty set must shrink, and by how much, before a run counts as not converging.
const STABLE_ROUNDS: usize = 3;
const STABLE_SHARE: f64 = 0.985;
/// No policy runs without end: after so many rounds the rehearsal stops the guest and says why.
const ROUNDS_MAX: usize = 1000;

/// Which hypervisor decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// QEMU (`migration/migration.c`): stop when the dirty rest fits the downtime limit.
    Qemu {
        /// `downtime-limit`, in ns.
        downtime_limit_ns: u64,
        /// `auto-converge`: slow the guest down while it dirties too fast.
        auto_converge: Option<AutoConverge>,
        /// Look at the limit while a round runs, as QEMU's loop does: a round ends as soon as what is left of it
        /// fits the limit, and what is left counts as dirty. Otherwise the limit is looked at after each round,
        /// which is the textbook form.
        within_rounds: bool,
        /// `postcopy-ram`, switched to after the first pass: run at the destination, then move the rest.
        post_copy: bool,
    },
    /// Hyper-V: a fixed number of passes, then downtime for whatever remains.
    HyperV {
        /// Live passes including the first: 5 since 2012 R2, 10 in 2008 R2.
        pass_limit: u32,
        /// A rest that moves within this time ends the passes early, in ns. Microsoft publishes no figure; the
        /// default is QEMU's, and is stated so.
        downtime_limit_ns: u64,
    },
    /// Xen's tools: at most 5 passes, or fewer than 50 dirty pages.
    Xen {
        /// Live passes including the first.
        pass_limit: u32,
        /// Stop below so many dirty pages.
        few_pages: u64,
    },
}

impl Policy {
    /// QEMU with its defaults.
    pub fn qemu() -> Policy {
        Policy::Qemu {
            downtime_limit_ns: DOWNTIME_LIMIT_NS,
            auto_converge: None,
            within_rounds: false,
            post_copy: false,
        }
    }

    /// Hyper-V since 2012 R2.
    pub fn hyperv() -> Policy {
        Policy::HyperV { pass_limit: 5, downtime_limit_ns: DOWNTIME_LIMIT_NS }
    }

    /// Xen's tools.
    pub fn xen() -> Policy {
        Policy::Xen { pass_limit: 5, few_pages: 50 }
    }

    /// By name.
    pub fn named(name: PolicyName) -> Policy {
        match name {
            PolicyName::Qemu => Policy::qemu(),
            PolicyName::QemuLoop => Policy::Qemu {
                downtime_limit_ns: DOWNTIME_LIMIT_NS,
                auto_converge: None,
                within_rounds: true,
                post_copy: false,
            },
            PolicyName::HyperV => Policy::hyperv(),
            PolicyName::HyperV2008R2 => {
                Policy::HyperV { pass_limit: 10, downtime_limit_ns: DOWNTIME_LIMIT_NS }
            }
            PolicyName::Xen => Policy::xen(),
        }
    }

    /// The same policy with another downtime limit, where it has one.
    pub fn with_downtime_limit_ns(mut self, ns: u64) -> Policy {
        match &mut self {
            Policy::Qemu { downtime_limit_ns, .. } | Policy::HyperV { downtime_limit_ns, .. } => {
                *downtime_limit_ns = ns
            }
            Policy::Xen { .. } => {}
        }
        self
    }

    /// The downtime that the policy aims at, in ns, where it has such an aim.
    pub fn downtime_limit_ns(&self) -> Option<u64> {
        match self {
            Policy::Qemu { downtime_limit_ns, .. } | Policy::HyperV { downtime_limit_ns, .. } => {
                Some(*downtime_limit_ns)
            }
            Policy::Xen { .. } => None,
        }
    }
}

/// QEMU's `auto-converge` constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoConverge {
    /// Throttle when more than so much of what was transferred was dirtied meanwhile, in percent.
    pub trigger_percent: u64,
    /// First throttle, in percent of the guest's time.
    pub initial_percent: u8,
    /// Added each time after that.
    pub increment_percent: u8,
    /// Never more than this.
    pub max_percent: u8,
}

impl Default for AutoConverge {
    fn default() -> Self {
        AutoConverge { trigger_percent: 50, initial_percent: 20, increment_percent: 10, max_percent: 99 }
    }
}

/// Where a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Lanes and memory are being made.
    Setup,
    /// Every page once, the guest running.
    FullCopy,
    /// The pages dirtied during the round before, the guest running.
    Round(u32),
    /// The guest stands still; the rest moves.
    StopAndCopy,
    /// The guest runs at the destination; the rest moves.
    PostCopy,
    /// Both ends hash every page.
    Verify,
    /// Over.
    Done,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Phase::Setup => f.write_str("setup"),
            Phase::FullCopy => f.write_str("full copy"),
            Phase::Round(n) => write!(f, "round {n}"),
            Phase::StopAndCopy => f.write_str("stop-and-copy"),
            Phase::PostCopy => f.write_str("post-copy"),
            Phase::Verify => f.write_str("verify"),
            Phase::Done => f.write_str("done"),
        }
    }
}

/// What one live round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundFacts {
    /// Pages copied (zero pages included).
    pub pages: u64,
    /// Bytes that crossed the path for them.
    pub bytes: u64,
    /// How long it took, in ns.
    pub elapsed_ns: u64,
    /// Different pages dirtied meanwhile: what remains to be copied.
    pub dirtied_pages: u64,
}

/// What comes after a live round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Another round, with the guest slowed down by so many percent of its time.
    Round {
        /// Its number, from 1.
        number: u32,
        /// Share of its time that the guest must sleep.
        throttle_percent: u8,
    },
    /// Stop the guest and move the rest.
    Stop(StopReason),
    /// Let the guest run at the destination and move the rest behind it.
    PostCopy,
}

/// Why the live rounds ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The rest moves within the downtime limit.
    FitsDowntime,
    /// Hardly a page is dirty.
    FewPages,
    /// The policy allows no more passes.
    PassLimit,
    /// The dirty set shrinks no more: a hypervisor without a pass limit would go on without end.
    NotConverging,
}

impl StopReason {
    /// Whether the policy reached its own aim.
    pub fn converged(self) -> bool {
        matches!(self, StopReason::FitsDowntime | StopReason::FewPages)
    }

    /// In words, for results.
    pub fn words(self) -> &'static str {
        match self {
            StopReason::FitsDowntime => "the rest fits the downtime limit",
            StopReason::FewPages => "hardly a page is dirty",
            StopReason::PassLimit => "the policy allows no more passes",
            StopReason::NotConverging => "the dirty set shrinks no more",
        }
    }
}

/// A transition that the phases do not have: a fault in the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a migration in phase {0} cannot do that")]
pub struct PhaseError(Phase);

/// One migration under a policy.
#[derive(Clone, Debug)]
pub struct Phases {
    policy: Policy,
    phase: Phase,
    rounds: Vec<RoundFacts>,
    throttle: Throttle,
    reason: Option<StopReason>,
    /// Live rounds before which a small rest is no reason to stop.
    rounds_min: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Throttle {
    percent: u8,
    strikes: u8,
    period_ns: u64,
    period_bytes: u64,
    period_dirtied_bytes: u64,
    /// Round after which the percentage last changed.
    changed_at: usize,
}

impl Phases {
    /// In setup.
    pub fn new(policy: Policy) -> Phases {
        Phases {
            policy,
            phase: Phase::Setup,
            rounds: vec![],
            throttle: Throttle::default(),
            reason: None,
            rounds_min: 0,
        }
    }

    /// The same, but a rest that would do is no reason to stop before there were `rounds_min` live rounds: a guest scaled
    /// down would otherwise be over with its first pass.
    pub fn with_rounds_min(self, rounds_min: usize) -> Phases {
        Phases { rounds_min, ..self }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Live rounds so far, the full copy first.
    pub fn rounds(&self) -> &[RoundFacts] {
        &self.rounds
    }

    /// Why the live rounds ended, once they have.
    pub fn reason(&self) -> Option<StopReason> {
        self.reason
    }

    /// Pages below which what is left of the running round ends it, where the policy looks while it runs.
    /// `path_bytes_per_s` is the rate to go by until a round has shown one.
    pub fn ends_round_below(&self, path_bytes_per_s: f64) -> Option<u64> {
        let Policy::Qemu { downtime_limit_ns, within_rounds: true, .. } = &self.policy else { return None };
        let per_ns = if self.rounds.is_empty() { path_bytes_per_s / 1e9 } else { self.bytes_per_ns() };
        Some((per_ns * *downtime_limit_ns as f64 / PAGE_BYTES as f64) as u64)
    }

    /// Setup is over: copy everything.
    pub fn start(&mut self) -> Result<(), PhaseError> {
        self.expect(Phase::Setup)?;
        self.phase = Phase::FullCopy;
        Ok(())
    }

    /// A live round ended.
    pub fn round_ended(&mut self, facts: RoundFacts) -> Result<Decision, PhaseError> {
        if !matches!(self.phase, Phase::FullCopy | Phase::Round(_)) {
            return Err(PhaseError(self.phase));
        }
        self.rounds.push(facts);
        self.throttle_by(facts);
        let decision = match self.stop_reason(facts) {
            Some(reason) => Decision::Stop(reason),
            None if matches!(self.policy, Policy::Qemu { post_copy: true, .. }) => Decision::PostCopy,
            None => {
                Decision::Round { number: self.rounds.len() as u32, throttle_percent: self.throttle.percent }
            }
        };
        self.phase = match decision {
            Decision::Round { number, .. } => Phase::Round(number),
            Decision::Stop(reason) => {
                self.reason = Some(reason);
                Phase::StopAndCopy
            }
            Decision::PostCopy => Phase::PostCopy,
        };
        Ok(decision)
    }

    /// The rehearsal itself ends the live rounds, against the policy: another round was due.
    pub fn stop_now(&mut self) -> Result<(), PhaseError> {
        if !matches!(self.phase, Phase::Round(_)) {
            return Err(PhaseError(self.phase));
        }
        self.phase = Phase::StopAndCopy;
        Ok(())
    }

    /// The rest has moved: verify.
    pub fn rest_moved(&mut self) -> Result<(), PhaseError> {
        if !matches!(self.phase, Phase::StopAndCopy | Phase::PostCopy) {
            return Err(PhaseError(self.phase));
        }
        self.phase = Phase::Verify;
        Ok(())
    }

    /// Verification is over, whatever it found.
    pub fn verified(&mut self) -> Result<(), PhaseError> {
        self.expect(Phase::Verify)?;
        self.phase = Phase::Done;
        Ok(())
    }

    fn expect(&self, phase: Phase) -> Result<(), PhaseError> {
        if self.phase == phase { Ok(()) } else { Err(PhaseError(self.phase)) }
    }

    fn stop_reason(&self, facts: RoundFacts) -> Option<StopReason> {
        let fits = |limit_ns: u64| {
            let rest = facts.dirtied_pages as f64 * PAGE_BYTES as f64;
            rest == 0.0 || rest < self.bytes_per_ns() * limit_ns as f64
        };
        let passes = self.rounds.len();
        let by_policy = match &self.policy {
            Policy::Qemu { downtime_limit_ns, .. } if fits(*downtime_limit_ns) => {
                Some(StopReason::FitsDowntime)
            }
            Policy::Qemu { .. } => None,
            Policy::HyperV { downtime_limit_ns, .. } if fits(*downtime_limit_ns) => {
                Some(StopReason::FitsDowntime)
            }
            Policy::Xen { few_pages, .. } if facts.dirtied_pages < *few_pages => Some(StopReason::FewPages),
            Policy::HyperV { pass_limit, .. } | Policy::Xen { pass_limit, .. } => {
                (passes >= *pass_limit as usize).then_some(StopReason::PassLimit)
            }
        };
        let by_policy = by_policy.filter(|reason| !reason.converged() || passes >= self.rounds_min);
        // A pass limit bounds the run by itself; only a policy without one can go on without end.
        let endless = matches!(self.policy, Policy::Qemu { .. });
        by_policy.or_else(|| (endless && self.stands_still()).then_some(StopReason::NotConverging))
    }

    /// Copy rate of the last 100 ms or more, in bytes per ns. QEMU measures over slices of at least 100 ms, so
    /// that one short round does not decide.
    fn bytes_per_ns(&self) -> f64 {
        let (mut bytes, mut elapsed_ns) = (0u64, 0u64);
        for round in self.rounds.iter().rev() {
            // In pages, not wire bytes: zero pages made the round shorter and will do so again.
            bytes += round.pages * PAGE_BYTES;
            elapsed_ns += round.elapsed_ns;
            if elapsed_ns >= 100_000_000 {
                break;
            }
        }
        bytes as f64 / elapsed_ns.max(1) as f64
    }

    fn stands_still(&self) -> bool {
        let n = self.rounds.len();
        if n >= ROUNDS_MAX {
            return true;
        }
        let can_throttle = match &self.policy {
            Policy::Qemu { auto_converge: Some(auto), .. } => self.throttle.percent < auto.max_percent,
            _ => false,
        };
        if can_throttle || n <= STABLE_ROUNDS + self.throttle.changed_at {
            return false;
        }
        // Where a round ends early, its rest hides the trend in what is dirty; what was sent shows it.
        let trend = |round: &RoundFacts| match self.policy {
            Policy::Qemu { within_rounds: true, .. } => round.pages as f64,
            _ => round.dirtied_pages as f64,
        };
        trend(&self.rounds[n - 1]) >= trend(&self.rounds[n - 1 - STABLE_ROUNDS]) * STABLE_SHARE
    }

    fn throttle_by(&mut self, facts: RoundFacts) {
        let Policy::Qemu { auto_converge: Some(auto), .. } = &self.policy else { return };
        let t = &mut self.throttle;
        t.period_ns += facts.elapsed_ns;
        t.period_bytes += facts.bytes;
        t.period_dirtied_bytes += facts.dirtied_pages * PAGE_BYTES;
        if t.period_ns <= 1_000_000_000 {
            return;
        }
        if t.period_dirtied_bytes > t.period_bytes / 100 * auto.trigger_percent {
            t.strikes += 1;
        }
        (t.period_ns, t.period_bytes, t.period_dirtied_bytes) = (0, 0, 0);
        if t.strikes < 2 || t.percent >= auto.max_percent {
            return;
        }
        t.strikes = 0;
        let next = if t.percent == 0 { auto.initial_percent } else { t.percent + auto.increment_percent };
        t.percent = next.min(auto.max_percent);
        t.changed_at = self.rounds.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pages: u64, elapsed_ms: u64, dirtied_pages: u64) -> RoundFacts {
        RoundFacts { pages, bytes: pages * PAGE_BYTES, elapsed_ns: elapsed_ms * 1_000_000, dirtied_pages }
    }

    fn started(policy: Policy) -> Phases {
        let mut phases = Phases::new(policy);
        phases.start().unwrap();
        phases
    }

    #[test]
    fn qemu_stops_when_the_rest_fits_the_downtime_limit_and_not_before() {
        // 1000 pages in 1 s, so 300 pages fit 300 ms; exactly 300 do not ("less than" in QEMU).
        let mut phases = started(Policy::qemu());
        assert_eq!(
            phases.round_ended(facts(1000, 1000, 300)),
            Ok(Decision::Round { number: 1, throttle_percent: 0 })
        );
        assert_eq!(phases.phase(), Phase::Round(1));
        assert_eq!(phases.round_ended(facts(300, 300, 90)), Ok(Decision::Stop(StopReason::FitsDowntime)));
        assert_eq!(phases.phase(), Phase::StopAndCopy);
        phases.rest_moved().unwrap();
        phases.verified().unwrap();
        assert_eq!(phases.phase(), Phase::Done);
    }

    #[test]
    fn phases_cannot_be_skipped() {
        let mut phases = Phases::new(Policy::qemu());
        assert_eq!(phases.round_ended(facts(1, 1, 1)), Err(PhaseError(Phase::Setup)));
        assert_eq!(phases.rest_moved(), Err(PhaseError(Phase::Setup)));
        phases.start().unwrap();
        assert_eq!(phases.start(), Err(PhaseError(Phase::FullCopy)));
        assert_eq!(phases.verified(), Err(PhaseError(Phase::FullCopy)));
    }

    #[test]
    fn hyperv_blacks_out_after_its_passes_and_xen_too() {
        for (policy, passes) in
            [(Policy::hyperv(), 5), (Policy::named(PolicyName::HyperV2008R2), 10), (Policy::xen(), 5)]
        {
            let mut phases = started(policy);
            for pass in 1..passes {
                assert!(
                    matches!(phases.round_ended(facts(1000, 1000, 1000)), Ok(Decision::Round { number, .. }) if number == pass)
                );
            }
            assert_eq!(
                phases.round_ended(facts(1000, 1000, 1000)),
                Ok(Decision::Stop(StopReason::PassLimit))
            );
            assert!(!StopReason::PassLimit.converged());
        }
        let mut xen = started(Policy::xen());
        assert_eq!(xen.round_ended(facts(1000, 1000, 49)), Ok(Decision::Stop(StopReason::FewPages)));
    }

    #[test]
    fn a_dirty_set_that_stands_still_is_noticed_and_a_slow_one_is_not() {
        let mut phases = started(Policy::qemu());
        let mut ended = None;
        for round in 0..20 {
            if let Decision::Stop(reason) = phases.round_ended(facts(1000, 1000, 900)).unwrap() {
                ended = Some((round, reason));
                break;
            }
        }
        assert_eq!(ended, Some((3, StopReason::NotConverging)));
        // Shrinking by 2 % a round is slow, and still converges.
        let mut phases = started(Policy::qemu());
        let (mut sent, mut rounds) = (1_000_000u64, 0);
        let reason = loop {
            let dirty = sent * 98 / 100;
            rounds += 1;
            // One page takes 1 µs, so 300 ms are 300 000 pages.
            let round = RoundFacts { elapsed_ns: sent * 1000, ..facts(sent, 0, dirty) };
            if let Decision::Stop(reason) = phases.round_ended(round).unwrap() {
                break reason;
            }
            sent = dirty;
        };
        assert_eq!((reason, rounds), (StopReason::FitsDowntime, 60));
    }

    #[test]
    fn auto_converge_follows_its_ladder() {
        let policy = Policy::Qemu {
            downtime_limit_ns: 1,
            auto_converge: Some(AutoConverge::default()),
            within_rounds: false,
            post_copy: false,
        };
        let mut phases = started(policy);
        let mut seen = vec![];
        for _ in 0..20 {
            match phases.round_ended(facts(1000, 1100, 900)).unwrap() {
                Decision::Round { throttle_percent, .. } => seen.push(throttle_percent),
                other => panic!("{other:?} while it can still throttle"),
            }
        }
        assert_eq!(seen[..8], [0, 20, 20, 30, 30, 40, 40, 50]);
        assert_eq!(*seen.last().unwrap(), 99);
    }

    #[test]
    fn post_copy_replaces_the_second_round() {
        let policy =
            Policy::Qemu { downtime_limit_ns: 1, auto_converge: None, within_rounds: false, post_copy: true };
        let mut phases = started(policy);
        assert_eq!(phases.round_ended(facts(1000, 1000, 500)), Ok(Decision::PostCopy));
        phases.rest_moved().unwrap();
        assert_eq!(phases.phase(), Phase::Verify);
    }
}
