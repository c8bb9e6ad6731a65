//! Latencies: HDR histograms that merge and lose nothing.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use pathproof_model::{HistogramName, HistogramRecord, LatencySummary};

/// Largest latency that a histogram tells apart, in ns: a minute. Longer ones are counted there, and counted.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits kept of a latency.
pub const SIGNIFICANT_DIGITS: u8 = 3;

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

    /// Those that are larger than `ns`, the smallest first: each value, and how many had it.
    pub fn larger_than(&self, ns: u64) -> Vec<(u64, u64)> {
        let all = self.histogram.iter_recorded().map(|one| (one.value_iterated_to(), one.count_at_value()));
        all.filter(|(value, _)| *value > ns).collect()
    }

    /// In a few numbers; `None` when empty.
    pub fn summary(&self) -> Option<LatencySummary> {
        let at = |q| self.histogram.value_at_quantile(q);
        (self.count() > 0).then(|| LatencySummary {
            count: self.count(),
            min: self.histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p95: Some(at(0.95)),
            p99: at(0.99),
            p999: at(0.999),
            max: self.histogram.max(),
            saturated: self.saturated,
        })
    }

    /// As it stands in a result.
    pub fn to_record(&self, name: HistogramName, lane: Option<u32>) -> HistogramRecord {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail, and a histogram of our bounds can always be encoded.
        let _ = V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes);
        HistogramRecord {
            name,
            flow: None,
            node: None,
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
            .map_err(|e| format!("histogram {:?} is not base64: {e}", record.name.word()))?;
        let bytes = super::inflated::inflated(&bytes, LATENCY_NS_MAX)
            .map_err(|e| format!("histogram {:?} cannot be decoded: {e}", record.name.word()))?;
        let read: Histogram<u64> = hdrhistogram::serialization::Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| format!("histogram {:?} cannot be decoded: {e:?}", record.name))?;
        let mut whole = LatencyHistogram::new();
        whole.histogram.add(&read).map_err(|e| format!("histogram {:?} does not fit: {e:?}", record.name))?;
        whole.saturated = record.saturated;
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturated_samples_are_kept_and_counted() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(u64::MAX);
        histogram.record(5);
        let summary = histogram.summary().unwrap();
        assert_eq!((summary.count, summary.saturated, summary.min), (2, 1, 5));
    }

    #[test]
    fn the_largest_are_listed_with_how_many_there_are() {
        let mut histogram = LatencyHistogram::new();
        [50, 60, 1500, 900, 1500].into_iter().for_each(|ns| histogram.record(ns));
        assert_eq!(histogram.larger_than(60), [(900, 1), (1500, 2)]);
        assert_eq!(histogram.larger_than(1500), []);
    }

    #[test]
    fn histograms_survive_the_document() {
        let mut histogram = LatencyHistogram::new();
        (1..10_000u64).for_each(|i| histogram.record(i * 997));
        let record = histogram.to_record(HistogramName::Service, Some(3));
        let back = LatencyHistogram::from_record(&record).unwrap();
        assert_eq!(back.summary(), histogram.summary());
        let broken = HistogramRecord { hdr_v2_base64: "AAAA".into(), ..record };
        assert!(LatencyHistogram::from_record(&broken).is_err());
    }
}
