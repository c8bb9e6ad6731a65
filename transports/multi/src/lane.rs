//! The stripe itself: one thread drives all paths by turns and sleeps on all of them at once.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Clock, Completion, Gone, Lane, LaneCaps, LaneSample, LaneSpec, LaneStats, Op, PathStats, Region,
    StripeStats, Tick, TransportError, Verb, Wait, WaitMode,
};

use crate::frame::{FrameKind, Head};
use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::path::{Ids, Path};
use crate::plan::{Share, StripePlan};
use crate::rejoin::{Maker, Rejoiner};

mod arriving;
mod giving;
mod waiting;

/// How often silence and rates are looked at.
const WATCH: Duration = Duration::from_millis(50);

/// Turns of one path before the others have theirs.
const ROUNDS: usize = 4;

/// How long `close` waits for the peer to confirm what was sent.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What became of connecting one path.
pub(crate) type Made = Result<(Box<dyn Lane>, Ids), TransportError>;

pub(crate) struct StripedLane {
    caps: LaneCaps,
    clock: Arc<dyn Clock>,
    share: Share,
    stall: Duration,
    spin: bool,
    paths: Vec<Path>,
    outgoing: Outgoing,
    incoming: Incoming,
    regions: Vec<Arc<Region>>,
    target: Option<usize>,
    staging: Arc<Region>,
    stride: u64,
    window: u64,
    rejoiner: Option<Rejoiner>,
    /// Completions of inner lanes on their way through `turn`.
    inner: Vec<Completion>,
    /// Bit i: something came over path i that has not been confirmed over it. Every path is told, because
    /// what is said over one that is dying is not heard.
    confirm: u32,
    /// Deaths are to be told to the peer.
    announce: bool,
    peer_left: bool,
    /// What it failed by, for those who ask again.
    failed: Option<(Option<Gone>, String)>,
    /// Room to move staged messages through.
    bounce: Vec<u8>,
    watched_at: Tick,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    replayed_messages: u64,
    replayed_bytes: u64,
    rejoined: u64,
    staged: u64,
    completed_at: Option<Tick>,
    gap_longest_ns: u64,
    accepted_bytes: u64,
    confirmed_bytes: u64,
    arrived_bytes: u64,
}

impl StripedLane {
    pub(crate) fn new(
        plan: StripePlan,
        spec: &LaneSpec,
        clock: Arc<dyn Clock>,
        makers: Vec<Maker>,
        made: Vec<Made>,
    ) -> Result<StripedLane, TransportError> {
        let now = clock.now();
        let Some(first) = makers.first() else {
            return Err(TransportError::invalid("a stripe without paths"));
        };
        let writable = |(_, access): &(Arc<Region>, pathproof_api::Access)| {
            use pathproof_api::Access;
            matches!(access, Access::RemoteWrite | Access::RemoteReadWrite)
        };
        let mut caps = crate::caps(&first.inner.probe()?);
        (caps.depth_max, caps.message_bytes_max) = (spec.depth, spec.message_bytes_max);
        let regions: Vec<_> = first.user.iter().map(|(region, _)| region.clone()).collect();
        let target = first.user.iter().position(writable);
        let staging = first.staging.clone();
        let control: Vec<_> = makers.iter().map(|maker| maker.control.clone()).collect();
        let rejoin = plan.rejoin;
        let mut lane = StripedLane {
            caps,
            share: plan.share,
            stall: plan.stall,
            spin: spec.wait_mode == WaitMode::Spin,
            paths: plan
                .paths
                .iter()
                .zip(control)
                .map(|(path, control)| Path::new(crate::plan::name(path), control, spec.depth, now))
                .collect(),
            outgoing: Outgoing::new(spec.depth),
            incoming: Incoming::new(spec.depth),
            regions,
            target,
            staging,
            stride: u64::from(spec.message_bytes_max.next_multiple_of(64)),
            window: u64::from(spec.depth),
            rejoiner: rejoin.then(|| Rejoiner::new(makers)),
            inner: Vec::with_capacity(64),
            confirm: 0,
            announce: false,
            peer_left: false,
            failed: None,
            bounce: vec![0; 64 << 10],
            watched_at: now,
            figures: Figures::default(),
            clock,
        };
        let mut dead = vec![];
        for (index, made) in made.into_iter().enumerate() {
            match made {
                Ok((inner, ids)) => lane.paths[index].revive(inner, ids, now),
                Err(error) => dead.push((index as u16, error)),
            }
        }
        if dead.len() == lane.paths.len() {
            // Nothing to fall back on; the first reason is as good as any.
            let (_, error) = dead.swap_remove(0);
            return Err(error);
        }
        for (index, error) in dead {
            lane.fall(index, error.to_string(), error.how(), 1);
        }
        Ok(lane)
    }

    /// A path is dead: its work goes to the others, and `generation` of it is connected.
    fn fall(&mut self, index: u16, reason: String, how: Option<Gone>, generation: u32) {
        let now = self.clock.now();
        let path = &mut self.paths[usize::from(index)];
        tracing::info!(path = %path.name, %reason, "a path of a stripe is lost");
        path.bury(reason, how, now);
        path.generation = generation;
        let (messages, bytes) = self.outgoing.lost(index);
        self.figures.replayed_messages += messages;
        self.figures.replayed_bytes += bytes;
        self.incoming.lost(index);
        self.announce = true;
        // Whatever came over it last is confirmed over the others.
        self.confirm = u32::MAX;
        if self.peer_left {
            return;
        }
        if let Some(rejoiner) = &self.rejoiner {
            rejoiner.begin(index, generation);
        }
    }

    fn die(&mut self, index: u16, reason: String, how: Option<Gone>) {
        if self.paths[usize::from(index)].is_live() {
            let generation = self.paths[usize::from(index)].generation + 1;
            self.fall(index, reason, how, generation);
        }
    }

    fn live(&self) -> impl Iterator<Item = u16> {
        self.paths.iter().enumerate().filter(|(_, path)| path.is_live()).map(|(index, _)| index as u16)
    }

    fn any_live(&self) -> Option<u16> {
        self.live().next()
    }

    /// One turn of everything. The path `patient` may wait inside its poll. Returns whether anything happened.
    fn turn(&mut self, now: Tick, patient: Option<(u16, Duration)>) -> Result<bool, TransportError> {
        self.feed(now);
        self.tell();
        let mut worked = false;
        for index in 0..self.paths.len() as u16 {
            let mut wait = match patient {
                Some((chosen, wait)) if chosen == index => Wait::AtMost(wait),
                _ => Wait::No,
            };
            for _ in 0..ROUNDS {
                if !self.paths[usize::from(index)].is_live() || !self.serve(index, wait, now)? {
                    break;
                }
                worked = true;
                wait = Wait::No;
            }
        }
        while let Some((sequence, slot, op, len)) = self.incoming.to_unstage() {
            self.unstage(slot, &op, len)?;
            self.incoming.unstaged(sequence);
            self.confirm = u32::MAX;
            worked = true;
        }
        if self.any_live().is_none() && !self.peer_left {
            return Err(self.nothing_left());
        }
        Ok(worked)
    }

    /// Looks for silence, learns rates and takes in paths that live again.
    fn watch(&mut self, now: Tick) {
        if now.since(self.watched_at) < WATCH {
            return;
        }
        self.watched_at = now;
        while let Some(back) = self.rejoiner.as_ref().and_then(Rejoiner::next) {
            let path = &mut self.paths[usize::from(back.path)];
            if !path.is_live() && path.generation == back.generation {
                tracing::info!(path = %path.name, "a path of a stripe lives again");
                path.revive(back.lane, back.ids, now);
                self.figures.rejoined += 1;
            }
        }
        if self.incoming.has_gap() {
            // Said again now and then: the peer may judge a path by what it is told.
            self.confirm = u32::MAX;
        }
        let (mut silent, mut well) = (None, false);
        for (index, path) in self.paths.iter_mut().enumerate().filter(|(_, path)| path.is_live()) {
            path.learn(now);
            let silence = path.silence(now);
            if silence >= self.stall {
                silent = silent.or(Some((index as u16, silence)));
            } else if silence < self.stall / 2 {
                well = true;
            }
        }
        // Without another path that is well the peer itself may be slow, and there is nothing to gain.
        if let Some((index, silence)) = silent.filter(|_| well) {
            let reason = format!("no byte was acknowledged for {} ms", silence.as_millis());
            self.die(index, reason, Some(Gone::Silent));
        }
    }

    fn emit(&mut self, out: &mut Vec<Completion>, now: Tick) {
        let before = out.len();
        while out.len() < out.capacity() {
            match self.incoming.completed().or_else(|| self.outgoing.completed()) {
                Some(completion) => {
                    let count = match completion.verb {
                        Verb::Recv => &mut self.figures.arrived_bytes,
                        _ => &mut self.figures.confirmed_bytes,
                    };
                    *count += u64::from(completion.len);
                    out.push(completion);
                }
                None => break,
            }
        }
        if out.len() > before {
            if let Some(last) = self.figures.completed_at {
                self.figures.gap_longest_ns = self.figures.gap_longest_ns.max(now.ns_since(last));
            }
            self.figures.completed_at = Some(now);
        }
    }

    fn nothing_left(&self) -> TransportError {
        let reason =
            |path: &Path| format!("{}: {}", path.name, path.tally.reason.as_deref().unwrap_or("closed"));
        TransportError::PeerGone {
            operation: format!("striping over {} paths", self.paths.len()),
            // Paths that went in different ways say nothing together.
            how: self
                .paths
                .iter()
                .map(|path| path.tally.how)
                .reduce(|a, b| if a == b { a } else { None })
                .flatten(),
            detail: format!(
                "all are lost ({})",
                self.paths.iter().map(reason).collect::<Vec<_>>().join("; ")
            ),
        }
    }

    fn check(&self, op: &Op) -> Result<(), TransportError> {
        if !self.caps.can(op.verb) {
            return Err(TransportError::invalid(format!("a stripe cannot {:?}", op.verb)));
        }
        if op.len > self.caps.message_bytes_max {
            return Err(TransportError::invalid(format!(
                "a message of {} bytes on a lane prepared for at most {}",
                op.len, self.caps.message_bytes_max
            )));
        }
        let region = self.regions.get(usize::from(op.region.0));
        let region = region
            .ok_or_else(|| TransportError::invalid("an operation names a region that is not attached"))?;
        region.check(op.offset, u64::from(op.len)).map_err(|e| TransportError::invalid(e.to_string()))
    }

    fn drive(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        let before = out.len();
        let start = self.clock.now();
        let mut now = start;
        let mut patient = None;
        let mut turns = 0usize;
        loop {
            let worked = self.turn(now, patient)?;
            now = self.clock.now();
            self.emit(out, now);
            self.watch(now);
            if out.len() > before || out.len() == out.capacity() {
                return Ok(out.len() - before);
            }
            if self.peer_left {
                return Err(TransportError::PeerGone {
                    operation: "receiving from a stripe".into(),
                    how: Some(Gone::Closed),
                    detail: "the peer has closed it".into(),
                });
            }
            let Wait::AtMost(limit) = wait else { return Ok(0) };
            let left = limit.saturating_sub(now.since(start)).min(WATCH);
            if left.is_zero() {
                return Ok(0);
            }
            patient = None;
            // What came may have to be answered or confirmed before anything else can come.
            if !worked && !self.spin {
                patient = self.wait(left, turns);
                turns = turns.wrapping_add(1);
                if patient.is_none() {
                    self.sleep(left)?;
                }
            }
        }
    }

    /// Waits until the peer has what was sent, then takes leave over every path.
    fn leave(&mut self) {
        let start = self.clock.now();
        let mut out = Vec::with_capacity(16);
        while self.failed.is_none() && !self.peer_left && !self.outgoing.is_empty() {
            out.clear();
            let left = CLOSE_PATIENCE.saturating_sub(self.clock.now().since(start));
            if left.is_zero() || self.drive(&mut out, Wait::AtMost(left.min(WATCH))).is_err() {
                break;
            }
        }
        // The last word carries the last acknowledgements, so the peer can finish too.
        let bye = Head::bare(FrameKind::Bye, self.incoming.arrived());
        self.rejoiner = None;
        let live: Vec<u16> = self.live().collect();
        for index in live {
            self.send(index, &bye, None);
        }
        let stuck = self.clock.now().since(start) >= CLOSE_PATIENCE;
        for path in &mut self.paths {
            let _ = path.keep_going();
            path.close(stuck);
        }
    }
}

impl Lane for StripedLane {
    fn caps(&self) -> &LaneCaps {
        &self.caps
    }

    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError> {
        for (accepted, op) in ops.iter().enumerate() {
            match self.check(op) {
                Ok(()) => {}
                Err(_) if accepted > 0 => return Ok(accepted),
                Err(e) => return Err(e),
            }
            if op.verb == Verb::Recv {
                if !self.incoming.has_room() {
                    return Ok(accepted);
                }
                self.incoming.post(*op);
            } else {
                if !self.outgoing.has_room() {
                    return Ok(accepted);
                }
                self.figures.accepted_bytes += u64::from(op.len);
                self.outgoing.push(*op);
            }
        }
        Ok(ops.len())
    }

    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        if let Some((how, detail)) = &self.failed {
            let operation = "polling a stripe that has failed".into();
            return Err(TransportError::PeerGone { operation, how: *how, detail: detail.clone() });
        }
        if out.len() == out.capacity() {
            return Ok(0);
        }
        self.drive(out, wait).inspect_err(|error| self.failed = Some((error.how(), error.to_string())))
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = LaneSample::default();
        for path in &mut self.paths {
            path.add_to(out);
        }
    }

    fn close(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        let mut last = LaneSample::default();
        self.sample(&mut last);
        self.leave();
        let mut stats = LaneStats {
            last,
            send_mode: Some("copy".into()),
            receive_mode: Some("copy".into()),
            ..LaneStats::default()
        };
        let share = match self.share {
            Share::Fewest => "to the path with the fewest outstanding messages (SMB's rule)",
            Share::Weighted => "to the path that would be done first at the rate it has shown",
            Share::Ordered => "to the first of the paths that lives, in their order",
        };
        stats.chosen.insert("share".into(), share.into());
        let mut stripe = StripeStats {
            paths: Vec::with_capacity(self.paths.len()),
            replayed_messages: self.figures.replayed_messages,
            replayed_bytes: self.figures.replayed_bytes,
            rejoined: self.figures.rejoined,
            staged_messages: self.figures.staged,
            duplicates_discarded: self.incoming.duplicates,
            discarded_bytes: self.incoming.discarded_bytes,
            doubled_bytes: self.incoming.doubled_bytes,
            gap_longest_ns: self.figures.gap_longest_ns,
            accepted_bytes: self.figures.accepted_bytes,
            confirmed_bytes: self.figures.confirmed_bytes,
            arrived_bytes: self.figures.arrived_bytes,
        };
        for (index, path) in self.paths.iter().enumerate() {
            let tally = &path.tally;
            let mut says = path.name.clone();
            if let Some(reason) = &tally.reason {
                says.push_str(&format!("; lost: {reason}"));
            }
            stats.chosen.insert(format!("path{index}"), says);
            stripe.paths.push(PathStats {
                sent_bytes: tally.sent_bytes,
                received_bytes: tally.received_bytes,
                deaths: tally.deaths,
                noticed_after_ns: (tally.deaths > 0).then_some(tally.noticed_after_ns),
                lost_at_tick_ns: tally.lost_at.map(|at| at.0),
                carried_again_at_tick_ns: tally.carried_again_at.map(|at| at.0),
                connection: tally.last.connection,
            });
            for (name, value) in [("local", &tally.last.local), ("remote", &tally.last.remote)] {
                if let Some(value) = value {
                    stats.chosen.insert(format!("path{index}_{name}"), value.clone());
                }
            }
        }
        stats.counters = stripe.named();
        stats.stripe = Some(stripe);
        Ok(stats)
    }
}
