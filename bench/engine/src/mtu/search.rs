//! The search: many sizes at once, exact to the byte, honest about loss.
//!
//! Longer than other files: one state machine whose phases hand the same belief, schedule and bounds to each other; cut
//! in two, each half would have to name the private state of the other.
//!
//! # How it works
//!
//! 1. *Scout*: one small probe and one at the ceiling. If the large one arrives, done in one round trip. If a
//!    router answers with an MTU, that claim is tested (the claimed size and one byte more): done in two.
//! 2. *Grid*: otherwise all well-known sizes (each with its successor) and an even grid go out together, in
//!    shuffled order and slightly spaced, so that a burst does not drown in a shallow buffer.
//! 3. *Narrow*: the surviving interval is cut into `k` pieces with `k` chosen so that the next round can test
//!    every remaining size several times.
//! 4. *Dense*: every remaining size, several copies each.
//!
//! Through a silent black hole without other loss that is at most three waits for the loss timer (grid,
//! narrow, dense), after a scout that waits only for its small probe and a short grace. Ceilings above 16 KiB
//! (loopback, IPoIB) may take a fourth, so that no search sends more than 200 probes.
//!
//! # What counts as proof
//!
//! An arrival proves that the path carries the size: certain, whenever it comes. A refusal (by the local
//! interface, by a router, by fragmentation on the way) proves that it does not. Silence proves nothing by
//! itself: with random loss `p`, a probe that fits goes missing with probability `p`, `n` copies of it with
//! `pⁿ`. `p` is estimated from the probes *at or below* the largest size that arrived, which all should have
//! arrived (that is the monotonicity check), with Jeffreys' rule so that few samples mean caution. The search
//! stops when the size one byte above the largest arrival has been lost so often that `pⁿ ≤ 1e-4` (1e-5 once any
//! fitting probe got lost).
//!
//! Where more than half of the probes that should arrive do not, something drops bursts, whatever their size (a
//! rate limiter, a policer). The losses so far are then no evidence at all: they are thrown away and the search
//! starts again, slower. If that does not help, the answer is [`Ending::Undecided`], never an MTU.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_api::Tick;

use super::belief::{Belief, Loss, MIN_COPIES};
use super::known::COMMON_IP_MTU_BYTES;
use super::outcome::{Ending, Next, Probe, Report, RouterAnswer, SearchConfig, Tried};

/// From this loss on, silence is blamed on a limiter instead of on the size.
const THROTTLE_LOSS: f64 = 0.55;
/// ... if at least so many probes say so.
const THROTTLE_SAMPLES: u32 = 12;
/// Probes that a dense round may cost.
const DENSE_PROBES: u32 = 72;
/// Probes per round once the path has shown that it drops bursts.
const PACED_CUTS: u32 = 12;
/// Spacing of probes at first, and after each time the path was seen to drop bursts.
const GAPS_NS: [u64; 4] = [100_000, 5_000_000, 20_000_000, 80_000_000];
/// How often the scout is repeated before the path counts as silent.
const SCOUTS: u32 = 3;
/// Longest that single slow answers may stretch the loss timer.
const CROWD_PATIENCE_NS: u64 = 400_000_000;
/// Shortest and longest time the scout waits for a second answer after the first.
const GRACE_NS: (u64, u64) = (4_000_000, 25_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Whole,
    Fragmented,
    RefusedLocally,
    DroppedByDevice,
    RefusedByRouter,
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    ip_bytes: u32,
    at: Tick,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchRound {
    Scout,
    Verify(u32),
    Narrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Ceiling,
    Local,
    Router,
    Fragmented,
}

/// The state machine. See the module documentation.
#[derive(Clone, Debug)]
pub struct Search {
    config: SearchConfig,
    started: Option<Tick>,
    ended: Option<(Tick, Ending)>,
    probes: Vec<Sent>,
    queue: Vec<u32>,
    kind: SearchRound,
    round_first: usize,
    rounds: u32,
    scouts: u32,
    loss_rounds: u32,
    next_send: Tick,
    /// Losses of probes before this index are no evidence (they fell victim to a burst).
    epoch: usize,
    gap_step: usize,
    first_answer: Option<Tick>,
    longest_rtt_ns: u64,
    /// Zero before the first answer.
    shortest_rtt_ns: u64,
    largest_whole: Option<u32>,
    smallest_refused: u32,
    bound: Bound,
    local_mtu: Option<u32>,
    routers: Vec<RouterAnswer>,
    verified: Vec<u32>,
    pending_claim: Option<u32>,
    largest_fragment: Option<u32>,
    unreachable_from: Vec<IpAddr>,
    random: u64,
}

impl Search {
    /// A search that has not sent anything yet.
    pub fn new(config: SearchConfig) -> Search {
        let random = config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut search = Search {
            smallest_refused: config.ceiling_bytes + 1,
            started: None,
            ended: None,
            probes: Vec::new(),
            queue: Vec::new(),
            kind: SearchRound::Scout,
            round_first: 0,
            rounds: 0,
            scouts: 0,
            loss_rounds: 0,
            next_send: Tick(0),
            epoch: 0,
            gap_step: 0,
            first_answer: None,
            longest_rtt_ns: 0,
            shortest_rtt_ns: 0,
            largest_whole: None,
            bound: Bound::Ceiling,
            local_mtu: None,
            routers: Vec::new(),
            verified: Vec::new(),
            pending_claim: None,
            largest_fragment: None,
            unreachable_from: Vec::new(),
            random,
            config,
        };
        search.scout();
        search
    }

    /// What to do at `now`. Call again after every send, every answer and every wait.
    pub fn poll(&mut self, now: Tick) -> Next {
        let started = *self.started.get_or_insert(now);
        self.expire(now);
        // Each turn of the loop sends, waits, ends, or begins a round that has something to send.
        loop {
            if self.ended.is_some() {
                return Next::Done;
            }
            if self.edge_is_certain() {
                let ending = match self.bound {
                    Bound::Ceiling => Ending::Ceiling,
                    Bound::Local => Ending::LocalRefusal,
                    Bound::Router => Ending::Router,
                    Bound::Fragmented => Ending::Fragmented,
                };
                self.end(now, ending);
                continue;
            }
            if now.ns_since(started) >= self.config.time_budget_ns {
                self.end(now, Ending::Undecided("the time allowed ran out".into()));
                continue;
            }
            if let Some(claim) = self.pending_claim.take() {
                self.verify(claim);
            }
            if self.kind == SearchRound::Scout && self.queue.is_empty() && self.bound == Bound::Local {
                // The local interface just lowered the ceiling: scout what it does accept.
                let top = self.smallest_refused - 1;
                if !self.in_round().any(|p| p.ip_bytes == top) {
                    self.queue.push(top);
                }
            }
            if let Some(ip_bytes) = self.queue.last().copied() {
                if ip_bytes >= self.smallest_refused {
                    self.queue.pop();
                    continue;
                }
                if self.probes.len() >= self.config.probe_budget as usize {
                    self.queue.clear();
                    continue;
                }
                if now < self.next_send {
                    return Next::WaitUntil(self.next_send);
                }
                self.queue.pop();
                let seq = self.probes.len() as u32;
                self.probes.push(Sent { ip_bytes, at: now, fate: Fate::Waiting });
                self.next_send = now.plus_ns(GAPS_NS[self.gap_step]);
                return Next::Send(Probe { seq, ip_bytes });
            }
            match self.round_ends_at(now) {
                Some(later) if later > now => {
                    let give_up = started.plus_ns(self.config.time_budget_ns);
                    return Next::WaitUntil(later.min(give_up));
                }
                _ => self.plan(now),
            }
        }
    }

    /// The peer has received probe `seq` whole. Certain, however late or often it is said. `direct` when this is
    /// the answer to that very probe, so that its round trip counts; not when a later answer mentions it too.
    pub fn on_whole(&mut self, now: Tick, seq: u32, direct: bool) {
        let Some(probe) = self.probes.get_mut(seq as usize) else { return };
        if direct && matches!(probe.fate, Fate::Waiting | Fate::Lost) {
            let rtt_ns = now.ns_since(probe.at);
            self.longest_rtt_ns = self.longest_rtt_ns.max(rtt_ns);
            self.shortest_rtt_ns =
                if self.shortest_rtt_ns == 0 { rtt_ns } else { self.shortest_rtt_ns.min(rtt_ns) };
        }
        probe.fate = Fate::Whole;
        let ip_bytes = probe.ip_bytes;
        self.first_answer.get_or_insert(now);
        self.largest_whole = self.largest_whole.max(Some(ip_bytes));
        if ip_bytes >= self.smallest_refused && self.bound != Bound::Ceiling {
            // What arrives beats what somebody said about it: the refusal was forged, or the route changed.
            self.smallest_refused = self.local_mtu.map_or(self.config.ceiling_bytes, |m| m.max(ip_bytes)) + 1;
            self.bound = if self.local_mtu.is_some() { Bound::Local } else { Bound::Ceiling };
        }
    }

    /// The peer has received probe `seq`, but in fragments, the largest of `fragment_bytes`.
    pub fn on_fragmented(&mut self, now: Tick, seq: u32, fragment_bytes: u32) {
        let Some(ip_bytes) = self.settle(seq, Fate::Fragmented) else { return };
        self.first_answer.get_or_insert(now);
        self.largest_fragment = self.largest_fragment.max(Some(fragment_bytes));
        self.refuse(ip_bytes, Bound::Fragmented);
        // Fragments other than the last are cut to a multiple of 8 below the limit (RFC 791), so the limit is
        // at most 7 bytes above the largest one.
        self.propose(fragment_bytes.saturating_add(7));
        self.propose(fragment_bytes);
    }

    /// The local interface refused probe `seq`, naming its MTU if it did.
    pub fn on_local_refusal(&mut self, _now: Tick, seq: u32, ip_mtu_bytes: Option<u32>) {
        let Some(ip_bytes) = self.settle(seq, Fate::RefusedLocally) else { return };
        let named = ip_mtu_bytes.filter(|mtu| *mtu < ip_bytes && *mtu >= self.config.floor_bytes);
        if named.is_some() {
            self.local_mtu = named;
        }
        self.refuse(named.map_or(ip_bytes, |mtu| mtu + 1), Bound::Local);
    }

    /// The local device dropped probe `seq` without naming a limit (`ENOBUFS`): a full queue, or a virtual
    /// device whose other end is smaller. Counts as lost, but is remembered.
    pub fn on_device_drop(&mut self, _now: Tick, seq: u32) {
        self.settle(seq, Fate::DroppedByDevice);
    }

    /// `from` answered "packet too big" about probe `seq`, or about some probe if the message quoted too little
    /// of it to tell (RFC 792 demands only 8 bytes).
    pub fn on_router(
        &mut self,
        now: Tick,
        seq: Option<u32>,
        claimed_ip_mtu_bytes: Option<u32>,
        from: IpAddr,
    ) {
        // Without a number it was at least the largest probe under way, because whoever refuses a size also
        // refuses every larger one.
        let seq = seq.or_else(|| {
            let waiting = self.probes.iter().enumerate().filter(|(_, p)| p.fate == Fate::Waiting);
            waiting.max_by_key(|(_, p)| p.ip_bytes).map(|(index, _)| index as u32)
        });
        let Some(ip_bytes) = seq.and_then(|seq| self.settle(seq, Fate::RefusedByRouter)) else { return };
        self.first_answer.get_or_insert(now);
        let claimed = claimed_ip_mtu_bytes.filter(|mtu| *mtu > 0);
        let same = |r: &RouterAnswer| r.from == from && r.claimed_ip_mtu_bytes == claimed;
        if let Some(index) = self.routers.iter().position(same) {
            let known = &mut self.routers[index];
            known.answers += 1;
            known.smallest_refused_bytes = known.smallest_refused_bytes.min(ip_bytes);
        } else if self.routers.len() < 16 {
            self.routers.push(RouterAnswer {
                from,
                claimed_ip_mtu_bytes: claimed,
                smallest_refused_bytes: ip_bytes,
                answers: 1,
                claim_holds: None,
            });
        }
        self.refuse(ip_bytes, Bound::Router);
        if let Some(claim) = claimed {
            self.propose(claim);
        }
    }

    /// `from` answered that the peer cannot be reached or that the traffic is prohibited.
    pub fn on_unreachable(&mut self, _now: Tick, seq: Option<u32>, from: IpAddr) {
        if let Some(seq) = seq {
            self.settle(seq, Fate::Lost);
        }
        if !self.unreachable_from.contains(&from) && self.unreachable_from.len() < 16 {
            self.unreachable_from.push(from);
        }
    }

    /// The result so far; final once [`Next::Done`] was returned.
    pub fn report(&self) -> Report {
        let (ended, ending) = match &self.ended {
            Some((tick, ending)) => (Some(*tick), ending.clone()),
            None => (None, Ending::Undecided("the search was interrupted".into())),
        };
        let exact = !matches!(ending, Ending::NoAnswer | Ending::Undecided(_));
        let ip_mtu_bytes = self.largest_whole.filter(|_| exact);
        let mut tried: BTreeMap<u32, Tried> = BTreeMap::new();
        for probe in &self.probes {
            let entry = tried.entry(probe.ip_bytes).or_default();
            entry.ip_bytes = probe.ip_bytes;
            entry.sent += 1;
            match probe.fate {
                Fate::Whole => entry.whole += 1,
                Fate::Fragmented => entry.fragmented += 1,
                Fate::RefusedLocally => entry.refused_locally += 1,
                Fate::RefusedByRouter => entry.refused_by_router += 1,
                Fate::Lost | Fate::DroppedByDevice => entry.lost += 1,
                Fate::Waiting => {}
            }
        }
        let largest = self.largest_whole.unwrap_or(0);
        let fitting = || self.probes.iter().filter(move |p| p.ip_bytes <= largest && p.fate != Fate::Waiting);
        Report {
            dropped_by_device: self.probes.iter().any(|p| {
                p.fate == Fate::DroppedByDevice && self.largest_whole.is_none_or(|l| p.ip_bytes == l + 1)
            }),
            routers: self.judged_routers(ip_mtu_bytes, &ending),
            ending,
            ip_mtu_bytes,
            proven_ip_bytes: self.largest_whole,
            local_refusal_ip_mtu_bytes: self.local_mtu,
            largest_fragment_bytes: self.largest_fragment,
            unreachable_from: self.unreachable_from.clone(),
            throttled: self.gap_step > 0,
            fitting_sent: fitting().count() as u32,
            fitting_lost: fitting().filter(|p| p.fate != Fate::Whole).count() as u32,
            probes: self.probes.len() as u32,
            loss_rounds: self.loss_rounds,
            elapsed_ns: match (self.started, ended) {
                (Some(started), Some(ended)) => ended.ns_since(started),
                _ => 0,
            },
            tried: tried.into_values().collect(),
        }
    }

    fn judged_routers(&self, edge: Option<u32>, ending: &Ending) -> Vec<RouterAnswer> {
        let mut routers = self.routers.clone();
        for router in &mut routers {
            let (Some(claim), Some(proven)) = (router.claimed_ip_mtu_bytes, self.largest_whole) else {
                continue;
            };
            router.claim_holds = if claim < proven || claim >= router.smallest_refused_bytes {
                Some(false)
            } else if edge == Some(claim) && *ending != Ending::LocalRefusal {
                Some(true)
            } else {
                None
            };
        }
        routers
    }

    fn in_round(&self) -> impl Iterator<Item = &Sent> {
        self.probes[self.round_first.min(self.probes.len())..].iter()
    }

    fn edge_is_certain(&self) -> bool {
        self.largest_whole.is_some_and(|largest| largest + 1 >= self.smallest_refused)
    }

    fn end(&mut self, now: Tick, ending: Ending) {
        self.ended.get_or_insert((now, ending));
    }

    /// Sets the fate of a probe that is still open and returns its size. A probe that arrived whole stays so.
    fn settle(&mut self, seq: u32, fate: Fate) -> Option<u32> {
        let probe = self.probes.get_mut(seq as usize)?;
        if !matches!(probe.fate, Fate::Waiting | Fate::Lost) {
            return None;
        }
        probe.fate = fate;
        Some(probe.ip_bytes)
    }

    /// Records that `ip_bytes` and everything larger does not pass.
    fn refuse(&mut self, ip_bytes: u32, bound: Bound) {
        if self.largest_whole.is_some_and(|largest| ip_bytes <= largest) {
            return; // It did pass: see `on_whole`.
        }
        if ip_bytes < self.smallest_refused {
            self.smallest_refused = ip_bytes;
            self.bound = bound;
        }
    }

    /// Somebody named a value for the edge: test it next, once.
    fn propose(&mut self, claim: u32) {
        let plausible = claim >= self.config.floor_bytes
            && claim < self.smallest_refused
            && self.largest_whole.is_none_or(|largest| claim >= largest);
        if plausible && !self.verified.contains(&claim) {
            self.pending_claim = Some(claim);
        }
    }

    fn loss_timer_ns(&self) -> u64 {
        // The shortest round trip is the path's; the longest may be a crowded host's, which deserves patience but
        // not without bound: what comes late is still believed.
        let path = 3 * self.shortest_rtt_ns.min(1_000_000_000);
        let crowd = (3 * self.longest_rtt_ns).min(CROWD_PATIENCE_NS);
        self.config.loss_timer_ns.max(path).max(crowd)
    }

    fn expire(&mut self, now: Tick) {
        let timer = self.loss_timer_ns();
        for probe in self.probes.iter_mut().filter(|p| p.fate == Fate::Waiting) {
            if now.ns_since(probe.at) >= timer {
                probe.fate = Fate::Lost;
            }
        }
    }

    /// When the current round is over at the latest; `None` when it already is.
    fn round_ends_at(&mut self, now: Tick) -> Option<Tick> {
        let settled = |p: &Sent| p.fate != Fate::Waiting || p.ip_bytes >= self.smallest_refused;
        let last = self.in_round().filter(|p| !settled(p)).map(|p| p.at).max();
        let Some(last) = last else {
            if self.in_round().any(|p| p.fate == Fate::Lost) && self.kind != SearchRound::Scout {
                self.loss_rounds += 1;
            }
            return None;
        };
        match self.kind {
            SearchRound::Scout => {
                // The small probe is back, so an answer about the large one (from the peer or from a router) is
                // due as well. Waiting out the loss timer would cost a round for nothing.
                let grace = (2 * self.longest_rtt_ns).clamp(GRACE_NS.0, GRACE_NS.1);
                if let Some(first) = self.first_answer {
                    let until = first.max(last).plus_ns(grace);
                    return (until > now).then_some(until);
                }
            }
            SearchRound::Verify(claim) => {
                // More than the claim passes: the claim is wrong, search on at once.
                if self.largest_whole.is_some_and(|largest| largest > claim) {
                    return None;
                }
            }
            SearchRound::Narrow => {}
        }
        Some(last.plus_ns(self.loss_timer_ns()))
    }

    fn begin(&mut self, kind: SearchRound, mut ip_bytes: Vec<u32>) {
        if kind == SearchRound::Narrow {
            self.shuffle(&mut ip_bytes);
        }
        self.kind = kind;
        self.round_first = self.probes.len();
        self.rounds += 1;
        // The queue is taken from the end.
        ip_bytes.reverse();
        self.queue = ip_bytes;
    }

    fn scout(&mut self) {
        self.scouts += 1;
        let top = self.smallest_refused - 1;
        // One small probe, then three, then six: the last scout must not fail for mere loss.
        let small = [1, 3, 6][self.scouts.min(SCOUTS) as usize - 1];
        let mut sizes = vec![self.config.floor_bytes; small];
        sizes.push(top);
        self.begin(SearchRound::Scout, sizes);
    }

    /// Tests a named value: it and the byte above, twice and thrice in case one gets lost, which stays within
    /// the six ICMP errors that Linux allows in a burst (`icmp_ratelimit`).
    fn verify(&mut self, claim: u32) {
        self.verified.push(claim);
        let above = claim + 1;
        self.begin(SearchRound::Verify(claim), vec![claim, above, claim, above, above]);
    }

    /// The round is over without certainty: decide whether silence is proof by now, or what to ask next.
    fn plan(&mut self, now: Tick) {
        let Some(largest) = self.largest_whole else {
            if self.scouts < SCOUTS {
                self.scout();
            } else {
                self.end(now, Ending::NoAnswer);
            }
            return;
        };
        let left = self.config.probe_budget.saturating_sub(self.probes.len() as u32);
        let loss = self.loss(largest);
        if loss.sent >= THROTTLE_SAMPLES && loss.rate >= THROTTLE_LOSS {
            // The step counts the times this happened.
            if self.gap_step + 1 >= GAPS_NS.len() {
                let reason = "most probes of any size are dropped (a rate limiter?)";
                self.end(now, Ending::Undecided(reason.into()));
                return;
            }
            self.gap_step += 1;
            self.epoch = self.probes.len();
        }
        let lost = self.lost_above(largest);
        let copies = loss.copies_needed();
        if lost.get(&(largest + 1)).copied().unwrap_or(0) >= copies && loss.sent >= MIN_COPIES {
            self.end(now, Ending::Silence);
            return;
        }
        if left == 0 {
            let reason = "the probes allowed ran out before the edge could be distinguished from random loss";
            self.end(now, Ending::Undecided(reason.into()));
            return;
        }
        let favour = if self.is_known(largest) { f64::from(self.config.ceiling_bytes) / 40.0 } else { 0.0 };
        let belief = Belief::new(largest, self.smallest_refused, &lost, loss.rate, favour);
        let sizes = self.choose(&belief, &lost, &loss, left);
        self.begin(SearchRound::Narrow, sizes);
    }

    /// The sizes of the next round.
    fn choose(&self, belief: &Belief, lost: &BTreeMap<u32, u32>, loss: &Loss, left: u32) -> Vec<u32> {
        let largest = belief.largest;
        let paced = self.gap_step > 0;
        let copies = loss.copies_needed();
        // Without loss the next dense round is the last one. With loss it may miss the edge, and copies below the
        // edge are wasted; more and smaller rounds are cheaper.
        let lossy = loss.lost > 0;
        let dense =
            if paced { 3 * PACED_CUTS } else { DENSE_PROBES }.min(if lossy { left / 3 } else { left });
        let mut sizes = Vec::new();
        // Dense: every size that is still likely, until each has been lost often enough. The size above the
        // likely ones is included, because it may have been lost only once so far.
        let likely = belief.likely_candidates();
        let wanted = |size: u32| copies.saturating_sub(lost.get(&size).copied().unwrap_or(0));
        if likely <= DENSE_PROBES {
            let top = (largest + likely).min(self.smallest_refused - 1);
            for size in largest + 1..=top {
                sizes.extend(std::iter::repeat_n(size, wanted(size) as usize));
            }
        }
        if sizes.is_empty() || sizes.len() as u32 > dense {
            sizes.clear();
            let work = f64::from(likely) * f64::from(copies);
            if self.probes.len() == self.epoch || self.kind == SearchRound::Scout || self.rounds_narrow() == 0
            {
                // First look: two rounds follow, so a third of the work (on a logarithmic scale) is due now.
                let work = f64::from(likely) * f64::from(MIN_COPIES);
                let grid = if paced { PACED_CUTS } else { work.cbrt().ceil() as u32 };
                if !paced {
                    sizes.extend(self.known_sizes(largest));
                }
                belief.fill(&mut sizes, grid);
            } else {
                let cuts = work.sqrt().ceil() as u32;
                let limit = if paced { PACED_CUTS } else { (left / if lossy { 5 } else { 2 }).max(8) };
                belief.cut(&mut sizes, cuts.min(limit));
            }
        }
        sizes.truncate(left as usize);
        // Companions that must arrive: they measure the loss that has nothing to do with size. They are as large
        // as anything known to fit, because a limiter that counts bytes treats small packets kindly.
        let companions = if paced { 4 } else { (sizes.len() / 4).clamp(3, 10) }.min(left as usize / 8 + 1);
        sizes.extend(std::iter::repeat_n(largest, companions));
        sizes.truncate(left as usize);
        sizes
    }

    fn is_known(&self, ip_bytes: u32) -> bool {
        COMMON_IP_MTU_BYTES.contains(&ip_bytes) || self.config.hint_bytes.contains(&ip_bytes)
    }

    fn rounds_narrow(&self) -> u32 {
        self.rounds.saturating_sub(self.scouts + self.verified.len() as u32)
    }

    fn known_sizes(&self, largest: u32) -> Vec<u32> {
        // Above 16 KiB (loopback, IPoIB) the probes are needed for the grid.
        let pairs = self.config.ceiling_bytes <= 16_384;
        let mut sizes: Vec<u32> = COMMON_IP_MTU_BYTES
            .iter()
            .chain(&self.config.hint_bytes)
            .flat_map(|size| [*size, if pairs { size + 1 } else { *size }])
            .filter(|size| *size > largest && *size < self.smallest_refused)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Losses of sizes above `largest` that count as evidence.
    fn lost_above(&self, largest: u32) -> BTreeMap<u32, u32> {
        let mut lost = BTreeMap::new();
        for probe in &self.probes[self.epoch.min(self.probes.len())..] {
            if probe.ip_bytes > largest && matches!(probe.fate, Fate::Lost | Fate::DroppedByDevice) {
                *lost.entry(probe.ip_bytes).or_default() += 1;
            }
        }
        lost
    }

    fn loss(&self, largest: u32) -> Loss {
        let mut sent = 0;
        let mut lost = 0;
        for probe in &self.probes[self.epoch.min(self.probes.len())..] {
            if probe.ip_bytes <= largest && probe.fate != Fate::Waiting {
                sent += 1;
                lost += u32::from(probe.fate != Fate::Whole);
            }
        }
        Loss::new(sent, lost)
    }

    fn shuffle(&mut self, sizes: &mut [u32]) {
        for index in (1..sizes.len()).rev() {
            // xorshift64: the order only has to be free of pattern, and the same for the same seed.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            sizes.swap(index, (self.random % (index as u64 + 1)) as usize);
        }
    }
}
