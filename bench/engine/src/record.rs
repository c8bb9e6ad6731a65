//! Recording: what one lane measured, in memory that does not grow with the run.
//!
//! One recorder for each lane and end. Latency goes into HDR histograms (3 significant digits, ns); bytes and
//! messages go into the slices of the measured window. Percentiles are taken from merged histograms and are
//! never averaged.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use pathproof_api::{LaneSample, Tick};
use pathproof_model::{HistogramRecord, Interval, LatencySummary};

/// Largest latency that a histogram tells apart, in ns: a minute. Longer ones are counted there, and counted.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits kept of a latency.
pub const SIGNIFICANT_DIGITS: u8 = 3;
/// Most slices that a window is cut into.
const SLICES_MAX: u64 = 6000;
const SLICE_NS: u64 = 100_000_000;
const SECOND_NS: u64 = 1_000_000_000;

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

/// A histogram that never loses a sample: what exceeds its range is counted at the end of the range, and
/// counted as saturated.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    histogram: Histogram<u64>,
    saturated: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty one, with all its memory.
    pub fn new() -> LatencyHistogram {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the constant bounds are valid: 1 < 6e10, 3 digits");
        LatencyHistogram { histogram, saturated: 0 }
    }

    /// Adds one sample in ns.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if ns > LATENCY_NS_MAX {
            self.saturated += 1;
        }
        self.histogram.saturating_record(ns.min(LATENCY_NS_MAX));
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &LatencyHistogram) {
        // Both have the same bounds, so adding cannot fail.
        let _ = self.histogram.add(&other.histogram);
        self.saturated += other.saturated;
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value at a quantile between 0 and 1, in ns; `None` when empty.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        (self.count() > 0).then(|| self.histogram.value_at_quantile(quantile))
    }

    /// In a few numbers; `None` when empty.
    pub fn summary(&self) -> Option<LatencySummary> {
        let at = |q| self.histogram.value_at_quantile(q);
        (self.count() > 0).then(|| LatencySummary {
            count: self.count(),
            min: self.histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.histogram.max(),
            saturated: self.saturated,
        })
    }

    /// As it stands in a result.
    pub fn to_record(&self, name: &str, lane: Option<u32>) -> HistogramRecord {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail, and a histogram of our bounds can always be encoded.
        let _ = V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes);
        HistogramRecord {
            name: name.into(),
            lane,
            unit: "ns".into(),
            count: self.count(),
            saturated: self.saturated,
            hdr_v2_base64: base64::engine::general_purpose::STANDARD.encode(bytes),
        }
    }

    /// From a result.
    pub fn from_record(record: &HistogramRecord) -> Result<LatencyHistogram, String> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(&record.hdr_v2_base64)
            .map_err(|e| format!("histogram {:?} is not base64: {e}", record.name))?;
        let read: Histogram<u64> = hdrhistogram::serialization::Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| format!("histogram {:?} cannot be decoded: {e:?}", record.name))?;
        let mut whole = LatencyHistogram::new();
        whole.histogram.add(&read).map_err(|e| format!("histogram {:?} does not fit: {e:?}", record.name))?;
        whole.saturated = record.saturated;
        Ok(whole)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    sent_bytes: u64,
    received_bytes: u64,
    messages: u64,
    sample: Option<LaneSample>,
    cpu_ns: Option<u64>,
}

/// Everything that one lane measures at one end.
#[derive(Debug)]
pub struct LaneRecorder {
    window: Window,
    slice_ns: u64,
    slices: Vec<Slice>,
    service: LatencyHistogram,
    response: LatencyHistogram,
    sent_bytes: u64,
    received_bytes: u64,
    messages: u64,
    before: Option<(LaneSample, Option<u64>)>,
    after: Option<(LaneSample, Option<u64>)>,
    sampled: usize,
}

impl LaneRecorder {
    /// A recorder for `window`, with all the memory it will ever use.
    pub fn new(window: Window) -> LaneRecorder {
        let slice_ns = slice_length_ns(window.length_ns());
        let count = window.length_ns().div_ceil(slice_ns).max(1);
        LaneRecorder {
            window,
            slice_ns,
            slices: vec![Slice::default(); count as usize],
            service: LatencyHistogram::new(),
            response: LatencyHistogram::new(),
            sent_bytes: 0,
            received_bytes: 0,
            messages: 0,
            before: None,
            after: None,
            sampled: 0,
        }
    }

    /// The measured window.
    pub fn window(&self) -> Window {
        self.window
    }

    #[inline]
    fn slice(&mut self, at: Tick) -> Option<&mut Slice> {
        if !self.window.contains(at) {
            return None;
        }
        self.slices.get_mut((at.ns_since(self.window.start) / self.slice_ns) as usize)
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

    /// Whether a kernel sample is due at `now`: at the window's start, at each slice boundary and at its end.
    #[inline]
    pub fn sample_due(&self, now: Tick) -> bool {
        if self.after.is_some() || now < self.window.start {
            return false;
        }
        if self.before.is_none() || now >= self.window.end {
            return true;
        }
        (now.ns_since(self.window.start) / self.slice_ns) as usize > self.sampled
    }

    /// Takes a kernel sample.
    pub fn sample(&mut self, now: Tick, sample: LaneSample, cpu_ns: Option<u64>) {
        if self.before.is_none() {
            self.before = Some((sample, cpu_ns));
            return;
        }
        if now >= self.window.end {
            self.after.get_or_insert((sample, cpu_ns));
        }
        // The slice that has just ended gets the figures as they stood at its end.
        let ended = (now.ns_since(self.window.start) / self.slice_ns) as usize;
        let ended = ended.min(self.slices.len());
        self.sampled = ended;
        if let Some(slice) = ended.checked_sub(1).and_then(|i| self.slices.get_mut(i)) {
            slice.sample = Some(sample);
            slice.cpu_ns = cpu_ns;
        }
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
    pub fn intervals(&self, end: &str, lane: u32, until: Tick) -> Vec<Interval> {
        let mut out = Vec::with_capacity(self.slices.len());
        let mut before = self.before;
        for (i, slice) in self.slices.iter().enumerate() {
            let start_ns = i as u64 * self.slice_ns;
            if self.window.start.plus_ns(start_ns) >= until {
                break;
            }
            let delta = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
            let retransmits =
                slice.sample.and_then(|s| delta(s.retransmits, before.and_then(|b| b.0.retransmits)));
            let cpu_ns = delta(slice.cpu_ns, before.and_then(|b| b.1));
            out.push(Interval {
                end: end.into(),
                lane: Some(lane),
                start_ns,
                length_ns: self.slice_ns.min(self.window.length_ns() - start_ns),
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

/// Slices are a tenth of a second, and longer in long runs, always so that whole seconds can be summed.
fn slice_length_ns(window_ns: u64) -> u64 {
    if window_ns <= SLICES_MAX * SLICE_NS {
        SLICE_NS
    } else {
        window_ns.div_ceil(SLICES_MAX).next_multiple_of(SECOND_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

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
        let intervals = recorder.intervals("server", 0, Tick(u64::MAX));
        assert_eq!(intervals.len(), 20);
        assert_eq!(intervals.iter().map(|i| i.received_bytes).sum::<u64>(), 2000);
        assert_eq!(intervals.iter().filter_map(|i| i.retransmits).sum::<u64>(), 20);
        assert_eq!(recorder.retransmits(), Some(20));
        assert_eq!(recorder.cpu_ns(), Some(140));
    }

    #[test]
    fn memory_does_not_grow_with_the_run() {
        let day = LaneRecorder::new(Window::after(Tick(0), 0, 86_400 * S));
        assert!(day.slices.len() as u64 <= SLICES_MAX);
        assert_eq!(day.slice_ns % S, 0);
    }

    #[test]
    fn a_stall_shows_in_the_response_time_and_not_in_the_service_time() {
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, S));
        recorder.latency(Tick(10), Tick(500_010), Tick(500_110));
        assert_eq!(recorder.service().quantile(1.0), Some(100));
        let response = recorder.response().quantile(1.0).unwrap();
        assert!((500_000..=500_600).contains(&response), "{response}");
    }

    #[test]
    fn saturated_samples_are_kept_and_counted() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(u64::MAX);
        histogram.record(5);
        let summary = histogram.summary().unwrap();
        assert_eq!((summary.count, summary.saturated, summary.min), (2, 1, 5));
    }

    #[test]
    fn histograms_survive_the_document() {
        let mut histogram = LatencyHistogram::new();
        (1..10_000u64).for_each(|i| histogram.record(i * 997));
        let record = histogram.to_record("service", Some(3));
        let back = LatencyHistogram::from_record(&record).unwrap();
        assert_eq!(back.summary(), histogram.summary());
        let broken = HistogramRecord { hdr_v2_base64: "AAAA".into(), ..record };
        assert!(LatencyHistogram::from_record(&broken).is_err());
    }
}
