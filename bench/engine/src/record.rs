//! Recording: what one lane measured, in memory that does not grow with the run.
//!
//! One recorder for each lane and end. Latency goes into HDR histograms (3 significant digits, ns); bytes and
//! messages go into the slices of the measured window, which grow longer rather than more. Percentiles are taken from
//! merged histograms and are never averaged.

#[cfg(test)]
mod brute;
mod histogram;
mod inflated;
mod live;
mod second;
mod silences;
mod slices;

use pathproof_api::{LaneSample, Tick};
use pathproof_model::{End, Interval};

pub use histogram::{LATENCY_NS_MAX, LatencyHistogram, SIGNIFICANT_DIGITS};
pub use live::{LiveFigures, LiveLane, LivePlace, Pace};
pub use second::{Contribution, WorstSecond};
pub use silences::{STALL_NS, mark_silences};
pub use slices::{SLICE_NS, SLICES_PER_LANE_MAX, slices_per_lane};
use slices::{Slice, Slices};

/// Warm-up, measured window and what follows, in ticks of the lane's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First tick that counts.
    pub start: Tick,
    /// First tick that counts no more.
    pub end: Tick,
}

impl Window {
    /// The window of `time_ns` that begins `warmup_ns` after `now`.
    pub fn after(now: Tick, warmup_ns: u64, time_ns: u64) -> Window {
        let start = now.plus_ns(warmup_ns);
        Window { start, end: start.plus_ns(time_ns) }
    }

    /// Whether `at` counts.
    pub fn contains(&self, at: Tick) -> bool {
        self.start <= at && at < self.end
    }

    /// Its length in ns.
    pub fn length_ns(&self) -> u64 {
        self.end.ns_since(self.start)
    }
}

/// The longest time in which a lane brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its beginning, in ns since the start of the window.
    pub from_ns: u64,
    /// Its length in ns, in tenths of a second.
    pub length_ns: u64,
}

/// The tenth of a second that is being recorded.
#[derive(Debug)]
struct Open {
    tenth: u64,
    from: Tick,
    /// Zero before the first one is opened.
    length_ns: u64,
    /// Where its slice is kept.
    place: usize,
    /// Bytes of the whole lane when it was opened.
    sent_before: u64,
    received_before: u64,
}

/// Everything that one lane measures at one end.
#[derive(Debug)]
pub struct LaneRecorder {
    window: Window,
    slices: Slices,
    open: Open,
    service: LatencyHistogram,
    response: LatencyHistogram,
    sent_bytes: u64,
    received_bytes: u64,
    messages: u64,
    before: Option<(LaneSample, Option<u64>)>,
    after: Option<(LaneSample, Option<u64>)>,
    next_sample: Tick,
    /// First tenth since which nothing has come.
    silent_since: u64,
    silence: (u64, u64),
    contribution: Option<Contribution>,
    live: Option<LivePlace>,
}

impl LaneRecorder {
    /// A recorder for `window`, with all the memory it will ever use.
    pub fn new(window: Window) -> LaneRecorder {
        LaneRecorder::with_slices(window, SLICES_PER_LANE_MAX)
    }

    /// The same with at most `most` slices.
    pub fn with_slices(window: Window, most: usize) -> LaneRecorder {
        let from = window.start;
        LaneRecorder {
            window,
            slices: Slices::new(tenths(window), most),
            open: Open { tenth: 0, from, length_ns: 0, place: 0, sent_before: 0, received_before: 0 },
            service: LatencyHistogram::new(),
            response: LatencyHistogram::new(),
            sent_bytes: 0,
            received_bytes: 0,
            messages: 0,
            before: None,
            after: None,
            next_sample: window.start,
            silent_since: 0,
            silence: (0, 0),
            contribution: None,
            live: None,
        }
    }

    /// Counts what this lane carries towards the worst second of its end.
    pub fn contributing(self, contribution: Option<Contribution>) -> LaneRecorder {
        LaneRecorder { contribution, ..self }
    }

    /// Lets somebody look on.
    pub fn shown(self, live: Option<LivePlace>) -> LaneRecorder {
        LaneRecorder { live, ..self }
    }

    /// The measured window.
    pub fn window(&self) -> Window {
        self.window
    }

    #[inline]
    fn slice(&mut self, at: Tick) -> Option<&mut Slice> {
        // Most of what happens falls into the tenth that is open; a tick before it wraps to a large number.
        let place = match at.0.wrapping_sub(self.open.from.0) < self.open.length_ns {
            true => self.open.place,
            false => self.turn_to(at)?,
        };
        self.slices.at(place)
    }

    /// Where the slice that holds `at` is kept. Opens its tenth of a second unless a later one is open.
    #[cold]
    fn turn_to(&mut self, at: Tick) -> Option<usize> {
        if !self.window.contains(at) {
            return None;
        }
        let start_ns = at.ns_since(self.window.start);
        let tenth = start_ns / SLICE_NS;
        let is_open = self.open.length_ns > 0;
        if is_open && tenth < self.open.tenth {
            return Some(self.slices.place(tenth));
        }
        if is_open {
            self.close(tenth);
        }
        let from = self.window.start.plus_ns(tenth * SLICE_NS);
        self.open = Open {
            tenth,
            from,
            length_ns: SLICE_NS.min(self.window.end.ns_since(from)),
            place: self.slices.place(tenth),
            sent_before: self.sent_bytes,
            received_before: self.received_bytes,
        };
        Some(self.open.place)
    }

    /// Everything before `tenth` is over.
    fn close(&mut self, tenth: u64) {
        let received = self.received_bytes - self.open.received_before;
        let sent = self.sent_bytes - self.open.sent_before;
        (self.open.received_before, self.open.sent_before) = (self.received_bytes, self.sent_bytes);
        if received > 0 {
            self.silent_until(self.open.tenth);
            self.silent_since = self.open.tenth + 1;
        }
        if let Some(contribution) = &self.contribution {
            // A lane that writes has sent bytes only; all others that are measured have received.
            contribution.add(self.open.tenth, received.max(sent), tenth);
        }
    }

    fn silent_until(&mut self, tenth: u64) {
        let length = tenth.saturating_sub(self.silent_since);
        if length > self.silence.1 {
            self.silence = (self.silent_since, length);
        }
    }

    /// Payload left at `at`.
    #[inline]
    pub fn sent(&mut self, at: Tick, bytes: u64) {
        if let Some(slice) = self.slice(at) {
            slice.sent_bytes += bytes;
            self.sent_bytes += bytes;
        }
    }

    /// Payload came at `at`.
    #[inline]
    pub fn received(&mut self, at: Tick, bytes: u64) {
        if let Some(slice) = self.slice(at) {
            slice.received_bytes += bytes;
            self.received_bytes += bytes;
        }
    }

    /// A message (or round trip) was completed at `at`.
    #[inline]
    pub fn message(&mut self, at: Tick) {
        if let Some(slice) = self.slice(at) {
            slice.messages += 1;
            self.messages += 1;
        }
    }

    /// A latency whose operation was *meant* to start at `intended`, really started at `started` and ended at
    /// `ended`. It counts when the intended start lies in the window, so a stall at the window's end is not
    /// cut off.
    #[inline]
    pub fn latency(&mut self, intended: Tick, started: Tick, ended: Tick) {
        if self.window.contains(intended) {
            self.service.record(ended.ns_since(started));
            self.response.record(ended.ns_since(intended));
        }
    }

    /// A latency whose intended and actual start are the same by construction (closed loops).
    #[inline]
    pub fn service_latency(&mut self, started: Tick, ended: Tick) {
        if self.window.contains(started) {
            self.service.record(ended.ns_since(started));
        }
    }

    /// Whether a kernel sample is due at `now`: at the window's start, every tenth of a second and at its end.
    #[inline]
    pub fn sample_due(&self, now: Tick) -> bool {
        now >= self.next_sample
    }

    /// Takes a kernel sample.
    pub fn sample(&mut self, now: Tick, sample: LaneSample, cpu_ns: Option<u64>) {
        let over = now >= self.window.end;
        if let Some(live) = &self.live {
            let (sent_bytes, received_bytes) = (self.sent_bytes, self.received_bytes);
            let (messages, rtt_ns) = (self.messages, sample.rtt_ns);
            live.publish(&LiveFigures { at: now, sent_bytes, received_bytes, messages, rtt_ns });
        }
        // The tenths that are over, though nothing may have been recorded since.
        match over {
            true => self.close(tenths(self.window)),
            false => _ = self.turn_to(now),
        }
        if self.before.is_none() {
            self.before = Some((sample, cpu_ns));
            self.next_sample = self.edge_after(now);
            return;
        }
        self.next_sample = if over { Tick(u64::MAX) } else { self.edge_after(now) };
        if over {
            self.after.get_or_insert((sample, cpu_ns));
        }
        // The slice that has just ended gets the figures as they stood at its end.
        let ended = if over { tenths(self.window) } else { now.ns_since(self.window.start) / SLICE_NS };
        let Some(tenth) = ended.checked_sub(1) else { return };
        let place = self.slices.place(tenth);
        self.open.place = self.slices.place(self.open.tenth);
        if let Some(slice) = self.slices.at(place) {
            slice.sample = Some(sample);
            slice.cpu_ns = cpu_ns;
        }
    }

    /// The next edge of a tenth of a second, or the end of the window.
    fn edge_after(&self, now: Tick) -> Tick {
        let tenth = now.ns_since(self.window.start) / SLICE_NS + 1;
        self.window.start.plus_ns(tenth.saturating_mul(SLICE_NS)).min(self.window.end)
    }

    /// The lane has left at `now`: nothing more will be recorded.
    pub fn leave(&mut self, now: Tick) {
        let whole = if now >= self.window.end {
            tenths(self.window)
        } else {
            now.ns_since(self.window.start) / SLICE_NS
        };
        self.close(whole);
        self.silent_until(whole);
        // A silence at the end has slices as well.
        self.slices.place(whole.min(tenths(self.window).saturating_sub(1)));
        self.contribution = None;
        self.live = None;
    }

    /// The longest time within the window in which nothing was received, before the lane left.
    pub fn longest_silence(&self) -> Silence {
        let (since, length) = self.silence;
        let from_ns = since * SLICE_NS;
        let length_ns = (length * SLICE_NS).min(self.window.length_ns().saturating_sub(from_ns));
        Silence { from_ns, length_ns }
    }

    /// Service times.
    pub fn service(&self) -> &LatencyHistogram {
        &self.service
    }

    /// Response times.
    pub fn response(&self) -> &LatencyHistogram {
        &self.response
    }

    /// Payload bytes sent within the window.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Payload bytes received within the window.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Messages completed within the window.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// CPU time that the thread used within the window, in ns.
    pub fn cpu_ns(&self) -> Option<u64> {
        let (before, after) = (self.before?.1?, self.after?.1?);
        Some(after.saturating_sub(before))
    }

    /// Segments sent again within the window.
    pub fn retransmits(&self) -> Option<u64> {
        let (before, after) = (self.before?.0.retransmits?, self.after?.0.retransmits?);
        Some(after.saturating_sub(before))
    }

    /// The sample at the end of the window.
    pub fn last_sample(&self) -> Option<LaneSample> {
        self.after.map(|(sample, _)| sample)
    }

    /// The slices that lie before `until`, as they stand in a result.
    pub fn intervals(&self, end: End, lane: u32, until: Tick) -> Vec<Interval> {
        let slice_ns = self.slices.length_ns();
        let window_ns = self.window.length_ns();
        let mut out = Vec::new();
        let mut before = self.before;
        for (i, slice) in self.slices.iter().enumerate() {
            let start_ns = i as u64 * slice_ns;
            if start_ns >= window_ns || self.window.start.plus_ns(start_ns) >= until {
                break;
            }
            let delta = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
            let retransmits =
                slice.sample.and_then(|s| delta(s.retransmits, before.and_then(|b| b.0.retransmits)));
            let cpu_ns = delta(slice.cpu_ns, before.and_then(|b| b.1));
            out.push(Interval {
                end,
                lane: Some(lane),
                start_ns,
                length_ns: slice_ns.min(window_ns - start_ns),
                sent_bytes: slice.sent_bytes,
                received_bytes: slice.received_bytes,
                messages: slice.messages,
                retransmits,
                rtt_ns: slice.sample.and_then(|s| s.rtt_ns),
                send_segment_bytes: slice.sample.and_then(|s| s.send_segment_bytes),
                path_ip_mtu_bytes: slice.sample.and_then(|s| s.path_ip_mtu_bytes),
                cpu_ns,
            });
            if let Some(sample) = slice.sample {
                before = Some((sample, slice.cpu_ns));
            }
        }
        out
    }
}

/// Tenths of a second in a window, the last one perhaps cut short.
fn tenths(window: Window) -> u64 {
    window.length_ns().div_ceil(SLICE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn only_the_window_counts_and_slices_add_up() {
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), S, 2 * S));
        for tenth in 0..40u64 {
            let now = Tick(tenth * S / 10);
            if recorder.sample_due(now) {
                let sample = LaneSample { retransmits: Some(tenth), ..LaneSample::default() };
                recorder.sample(now, sample, Some(tenth * 7));
            }
            recorder.received(now, 100);
            recorder.message(now);
        }
        assert_eq!(recorder.received_bytes(), 2000);
        assert_eq!(recorder.messages(), 20);
        let intervals = recorder.intervals(End::Server, 0, Tick(u64::MAX));
        assert_eq!(intervals.len(), 20);
        assert_eq!(intervals.iter().map(|i| i.received_bytes).sum::<u64>(), 2000);
        assert_eq!(intervals.iter().filter_map(|i| i.retransmits).sum::<u64>(), 20);
        assert_eq!(recorder.retransmits(), Some(20));
        assert_eq!(recorder.cpu_ns(), Some(140));
    }

    #[test]
    fn a_stall_shows_in_the_response_time_and_not_in_the_service_time() {
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, S));
        recorder.latency(Tick(10), Tick(500_010), Tick(500_110));
        assert_eq!(recorder.service().quantile(1.0), Some(100));
        let response = recorder.response().quantile(1.0).unwrap();
        assert!((500_000..=500_600).contains(&response), "{response}");
    }
}
