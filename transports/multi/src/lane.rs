//! The stripe itself: one thread drives all paths by turns and sleeps on all of them at once.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Clock, Completion, CompletionStatus, Lane, LaneCaps, LaneSample, LaneSpec, LaneStats, Op, Region, Tick,
    TransportError, Verb, Wait, WaitMode,
};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::frame::{Head, Kind};
use crate::incoming::{Incoming, Place};
use crate::outgoing::Outgoing;
use crate::path::{Ids, Path, Reading, TAG_HEAD, TAG_READ};
use crate::plan::{PATHS_MAX, Plan, Share};
use crate::rejoin::{Maker, Rejoiner};

/// How often silence and rates are looked at.
const WATCH: Duration = Duration::from_millis(50);

/// Turns of one path before the others have theirs.
const ROUNDS: usize = 4;

/// Longest sleep where there is no descriptor to sleep on.
const TURNS: Duration = Duration::from_micros(200);

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
    failed: Option<String>,
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
        plan: Plan,
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
                .map(|(path, control)| Path::new(path.name(), control, spec.depth, now))
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
            lane.fall(index, error.to_string(), 1);
        }
        Ok(lane)
    }

    /// A path is dead: its work goes to the others, and `generation` of it is connected.
    fn fall(&mut self, index: u16, reason: String, generation: u32) {
        let now = self.clock.now();
        let path = &mut self.paths[usize::from(index)];
        tracing::info!(path = %path.name, %reason, "a path of a stripe is lost");
        path.bury(reason, now);
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

    fn die(&mut self, index: u16, reason: String) {
        if self.paths[usize::from(index)].is_live() {
            let generation = self.paths[usize::from(index)].generation + 1;
            self.fall(index, reason, generation);
        }
    }

    fn live(&self) -> impl Iterator<Item = u16> {
        self.paths.iter().enumerate().filter(|(_, path)| path.is_live()).map(|(index, _)| index as u16)
    }

    fn any_live(&self) -> Option<u16> {
        self.live().next()
    }

    /// A path that takes a header now.
    fn willing(&self) -> Option<u16> {
        self.live().find(|&i| self.paths[usize::from(i)].has_room())
    }

    /// Sends over a path; a failure is that path's death and nobody else's.
    fn send(&mut self, index: u16, head: &Head, message: Option<Op>) {
        if let Err(error) = self.paths[usize::from(index)].send(head, message) {
            self.die(index, error.to_string());
        }
    }

    /// Gives waiting messages to paths.
    fn feed(&mut self, now: Tick) {
        while let Some(message) = self.outgoing.peek() {
            let Some(index) = self.choose(message.op.len) else { return };
            let head = Head {
                kind: message.kind,
                len: message.op.len,
                sequence: message.sequence,
                offset: message.op.remote_offset,
                immediate: message.op.immediate,
                index: message.index,
                arrived: self.incoming.arrived(),
            };
            self.confirm &= !(1 << index);
            self.outgoing.given_to(message.sequence, index);
            self.paths[usize::from(index)].charge(message.op.len, now);
            self.send(index, &head, (message.op.len > 0).then_some(message.op));
        }
    }

    fn choose(&self, len: u32) -> Option<u16> {
        let open = self.paths.iter().enumerate().filter(|(_, path)| path.has_room());
        let chosen = match self.share {
            Share::Fewest => open.min_by_key(|(_, path)| (path.outstanding, path.tally.sent_bytes)),
            Share::Weighted => open.min_by(|(_, a), (_, b)| a.done_in(len).total_cmp(&b.done_in(len))),
        };
        chosen.map(|(index, _)| index as u16)
    }

    /// Tells the peer what it would otherwise not hear: deaths, and what has arrived.
    fn tell(&mut self) {
        let arrived = self.incoming.arrived();
        let over = if self.announce { self.willing() } else { None };
        if let Some(over) = over {
            self.announce = false;
            for index in 0..self.paths.len() {
                let path = &self.paths[index];
                if !path.is_live() {
                    let (sequence, generation) = (index as u64, path.generation);
                    let lost = Head { sequence, index: generation, ..Head::bare(Kind::Lost, arrived) };
                    self.send(over, &lost, None);
                }
            }
        }
        if self.confirm == 0 {
            return;
        }
        for index in 0..self.paths.len() as u16 {
            if self.confirm & (1 << index) != 0 && self.paths[usize::from(index)].has_room() {
                self.confirm &= !(1 << index);
                self.send(index, &Head::bare(Kind::Ack, arrived), None);
            }
        }
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

    /// Polls one path and deals with what it brings.
    fn serve(&mut self, index: u16, wait: Wait, now: Tick) -> Result<bool, TransportError> {
        let at = usize::from(index);
        let mut inner = std::mem::take(&mut self.inner);
        inner.clear();
        let polled = self.paths[at].keep_going().and_then(|()| self.paths[at].poll(&mut inner, wait));
        let mut result = Ok(!inner.is_empty());
        for done in &inner {
            if done.status != CompletionStatus::Ok {
                self.die(index, format!("an operation ended as {:?}", done.status));
            } else if done.tag == TAG_HEAD {
                self.paths[at].head_sent();
            } else if done.tag == TAG_READ
                && let Err(error) = self.read(index, done.len, now)
            {
                result = Err(error);
            }
            if !self.paths[at].is_live() || result.is_err() {
                break;
            }
        }
        self.inner = inner;
        if let Err(error) = polled {
            if self.peer_left {
                // It said so before it closed; what comes after is the end of the stream.
                self.paths[at].close(false);
            } else {
                self.die(index, error.to_string());
            }
        }
        result
    }

    /// The posted read of a path has ended.
    fn read(&mut self, index: u16, len: u32, now: Tick) -> Result<(), TransportError> {
        let path = &mut self.paths[usize::from(index)];
        match path.read_done(len)? {
            Some(head) => self.headed(index, &head, now),
            None => {
                let Reading::Message { sequence, .. } = path.reading else { return Ok(()) };
                path.reading = Reading::Head;
                if let Some(sequence) = sequence {
                    self.incoming.complete(sequence);
                }
                self.confirm |= 1 << index;
                Ok(())
            }
        }
    }

    fn headed(&mut self, index: u16, head: &Head, now: Tick) -> Result<(), TransportError> {
        let paths = &mut self.paths;
        self.outgoing.arrived(&head.arrived, |path, len| {
            if let Some(path) = paths.get_mut(usize::from(path)) {
                path.confirmed(len, now);
            }
        })?;
        match head.kind {
            Kind::Ack => Ok(()),
            Kind::Bye => {
                self.peer_left = true;
                Ok(())
            }
            Kind::Lost => {
                let known = usize::try_from(head.sequence).ok().and_then(|at| self.paths.get_mut(at));
                if let Some(path) = known.filter(|path| path.generation < head.index) {
                    let lost = head.sequence as u16;
                    if path.is_live() {
                        self.fall(lost, "the peer has lost it".into(), head.index);
                    } else {
                        path.generation = head.index;
                        if let Some(rejoiner) = &self.rejoiner {
                            rejoiner.begin(lost, head.index);
                        }
                    }
                }
                Ok(())
            }
            Kind::Send | Kind::Write | Kind::WriteImmediate => self.message(index, head),
        }
    }

    /// A message follows on this path: say where it goes.
    fn message(&mut self, index: u16, head: &Head) -> Result<(), TransportError> {
        let protocol = |detail: String| TransportError::Protocol {
            operation: "reading a message of a stripe".into(),
            detail,
        };
        if u64::from(head.len) > self.stride || head.len > self.caps.message_bytes_max {
            return Err(protocol(format!("a message of {} bytes is longer than agreed", head.len)));
        }
        if let Some(other) = self.incoming.busy_with(head.sequence).filter(|other| *other != index) {
            self.die(other, "a message it was in the middle of came over another path".into());
        }
        let place = self.incoming.admit(head, index)?;
        let path = &mut self.paths[usize::from(index)];
        let ids = path.ids();
        let (region, offset) = match place {
            Place::Receive(op) => (ids.user.get(usize::from(op.region.0)).copied(), op.offset),
            Place::Target(offset) => {
                let target = self.target.and_then(|at| Some((self.regions.get(at)?, ids.user.get(at)?)));
                let Some((region, id)) = target else {
                    return Err(protocol("a write, and no region here is open to it".into()));
                };
                region.check(offset, u64::from(head.len)).map_err(|e| protocol(e.to_string()))?;
                (Some(*id), offset)
            }
            Place::Staging(slot) => {
                self.figures.staged += 1;
                (Some(ids.staging), slot * self.stride)
            }
            Place::Nowhere => (Some(ids.staging), (self.window + u64::from(index)) * self.stride),
        };
        let Some(region) = region else {
            return Err(TransportError::invalid("a receive names a region that is not attached"));
        };
        let sequence = (place != Place::Nowhere).then_some(head.sequence);
        if head.len == 0 {
            if let Some(sequence) = sequence {
                self.incoming.complete(sequence);
            }
            self.confirm |= 1 << index;
        } else {
            path.reading = Reading::Message { sequence, region, offset, len: head.len };
        }
        Ok(())
    }

    fn unstage(&mut self, slot: u64, op: &Op, len: u32) -> Result<(), TransportError> {
        let broken = |e: pathproof_api::RegionError| TransportError::invalid(e.to_string());
        let Some(region) = self.regions.get(usize::from(op.region.0)) else {
            return Err(TransportError::invalid("a receive names a region that is not attached"));
        };
        if len > op.len {
            return Err(TransportError::Protocol {
                operation: "reading a message of a stripe".into(),
                detail: format!("a message of {len} bytes for a receive of {} bytes", op.len),
            });
        }
        let mut done = 0;
        while done < u64::from(len) {
            let part = (u64::from(len) - done).min(self.bounce.len() as u64);
            let bytes = &mut self.bounce[..part as usize];
            self.staging.copy_out(slot * self.stride + done, bytes).map_err(broken)?;
            region.copy_in(op.offset + done, bytes).map_err(broken)?;
            done += part;
        }
        Ok(())
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
            self.die(index, format!("no byte was acknowledged for {} ms", silence.as_millis()));
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
            detail: format!(
                "all are lost ({})",
                self.paths.iter().map(reason).collect::<Vec<_>>().join("; ")
            ),
        }
    }

    /// Sleeps until any path has something to do.
    fn sleep(&self, left: Duration) -> Result<(), TransportError> {
        let ready = |index: usize| self.paths.get(index)?.lane.as_ref()?.readiness();
        let mut live = (0..self.paths.len()).filter_map(ready);
        let Some(first) = live.next() else { return Ok(()) };
        let events = |ready: &pathproof_api::Readiness<'_>| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, ready.read);
            events.set(PollFlags::OUT, ready.write);
            events
        };
        let mut count = 0;
        let mut rest = std::iter::once(first).chain(live);
        let mut fds: [PollFd<'_>; PATHS_MAX] = std::array::from_fn(|_| match rest.next() {
            Some(ready) => {
                count += 1;
                PollFd::from_borrowed_fd(ready.fd, events(&ready))
            }
            None => PollFd::from_borrowed_fd(first.fd, PollFlags::empty()),
        });
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match rustix::event::poll(&mut fds[..count], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(TransportError::io("waiting on the paths of a stripe", e.into())),
        }
    }

    /// How the next turn may wait: on descriptors, or inside one path's poll.
    fn wait(&self, left: Duration, turns: usize) -> Option<(u16, Duration)> {
        let mut live = self.live();
        let (first, second) = (live.next()?, live.next());
        let all_ready = || {
            self.live().all(|i| {
                self.paths[usize::from(i)].lane.as_ref().is_some_and(|lane| lane.readiness().is_some())
            })
        };
        match second {
            // Alone it may wait in its own way, which costs a system call less.
            None => Some((first, left)),
            Some(_) if all_ready() => None,
            Some(_) => {
                let count = self.live().count();
                self.live().nth(turns % count).map(|index| (index, left.min(TURNS)))
            }
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
        let bye = Head::bare(Kind::Bye, self.incoming.arrived());
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
        if let Some(detail) = &self.failed {
            let operation = "polling a stripe that has failed".into();
            return Err(TransportError::PeerGone { operation, detail: detail.clone() });
        }
        if out.len() == out.capacity() {
            return Ok(0);
        }
        self.drive(out, wait).inspect_err(|error| self.failed = Some(error.to_string()))
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
        };
        stats.chosen.insert("share".into(), share.into());
        for (index, path) in self.paths.iter().enumerate() {
            let tally = &path.tally;
            let mut says = path.name.clone();
            if let Some(reason) = &tally.reason {
                says.push_str(&format!("; lost: {reason}"));
            }
            stats.chosen.insert(format!("path{index}"), says);
            let mut count = |what: &str, value: u64| {
                stats.counters.insert(format!("path{index}_{what}"), value);
            };
            count("sent_bytes", tally.sent_bytes);
            count("received_bytes", tally.received_bytes);
            count("deaths", tally.deaths);
            if tally.deaths > 0 {
                count("noticed_after_ns", tally.noticed_after_ns);
            }
            if let Some(at) = tally.lost_at {
                count("lost_at_tick_ns", at.0);
            }
            if let Some(at) = tally.carried_again_at {
                count("carried_again_at_tick_ns", at.0);
            }
            for (name, value) in [("local", &tally.last.local), ("remote", &tally.last.remote)] {
                if let Some(value) = value {
                    stats.chosen.insert(format!("path{index}_{name}"), value.clone());
                }
            }
        }
        for (name, value) in [
            ("replayed_messages", self.figures.replayed_messages),
            ("replayed_bytes", self.figures.replayed_bytes),
            ("rejoined", self.figures.rejoined),
            ("staged_messages", self.figures.staged),
            ("duplicates_discarded", self.incoming.duplicates),
            ("discarded_bytes", self.incoming.discarded_bytes),
            ("doubled_bytes", self.incoming.doubled_bytes),
            ("gap_longest_ns", self.figures.gap_longest_ns),
            ("accepted_bytes", self.figures.accepted_bytes),
            ("confirmed_bytes", self.figures.confirmed_bytes),
            ("arrived_bytes", self.figures.arrived_bytes),
        ] {
            stats.counters.insert(name.into(), value);
        }
        Ok(stats)
    }
}
