//! Which charts a document has something for. What it does not hold is no chart.

use pathproof_model::series::Slice;
use pathproof_model::soak::{SoakFigures, SoakSlot};
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{Direction, ResultDoc, Step};

use super::Markup;
use super::plot::{Axis, LINES_MAX, Series, bars, lines};
use crate::courses::{Course, bits_per_s, courses};
use crate::{hlog, plain};

/// Bars of one chart.
const BARS_MAX: usize = 40;

pub(super) fn all(doc: &ResultDoc) -> Markup {
    [rates(doc), soak(doc), contention(doc), latencies(doc), mtu(doc), rounds(doc), ladder(doc)]
        .into_iter()
        .flatten()
        .collect()
}

/// Charts of so many lines each as have colours.
fn in_parts(mut all: Vec<Series>, chart: impl Fn(&[Series]) -> Markup) -> Option<Markup> {
    all.retain(|series| series.points.len() > 1);
    (!all.is_empty()).then(|| all.chunks(LINES_MAX).map(chart).collect())
}

/// Throughput over time, stream by stream.
fn rates(doc: &ResultDoc) -> Option<Markup> {
    let mut all = Vec::new();
    for step in doc.steps.iter().filter(|step| step.kind.traits().bulk) {
        let own: Vec<_> = step.own_series().collect();
        for series in &own {
            let points: Vec<(f64, f64)> = series
                .carried()
                .filter(|slice| slice.length_ns > 0)
                .map(|slice| {
                    let middle = slice.start_ns as f64 + slice.length_ns as f64 / 2.0;
                    (middle / 1e9, slice.bytes as f64 * 8e9 / slice.length_ns as f64)
                })
                .collect();
            let flow = step.flows.get(usize::from(series.flow)).map_or("", |flow| flow.name.as_str());
            let both = step.direction == Some(Direction::Both);
            let name = if both { format!("{}, {flow}", step.name) } else { step.name.clone() };
            all.push(Series { name, points });
        }
    }
    in_parts(all, |series| {
        let most = |pick: fn(&(f64, f64)) -> f64| {
            series.iter().flat_map(|series| &series.points).map(pick).fold(0.0, f64::max)
        };
        let across = Axis::from_zero(most(|point| point.0), time);
        let up = Axis::from_zero(most(|point| point.1), |at| BitsPerSecond(at as u64).to_string());
        lines("Throughput over time", "From zero; time since the start of each stream.", &across, &up, series)
    })
}

/// A soak over its time: what was lost, how long answers took, what rate probes carried.
fn soak(doc: &ResultDoc) -> Option<Markup> {
    let soak = doc.soak.as_ref()?;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let points = |value: &dyn Fn(&SoakFigures) -> Option<f64>| -> Vec<(f64, f64)> {
        let middle = |slot: &SoakSlot| seconds(slot.start_ns) + seconds(soak.slot_ns) / 2.0;
        // What was not measured is no number, and breaks the line.
        soak.slots.iter().map(|slot| (middle(slot), value(&slot.figures).unwrap_or(f64::NAN))).collect()
    };
    let course = |name: &str, points: Vec<(f64, f64)>| Series { name: name.to_owned(), points };
    let lost = points(&|seen| (seen.sent > 0).then(|| 100.0 * seen.lost as f64 / seen.sent as f64));
    let median = points(&|seen| seen.response_ns.map(|times| seconds(times.p50_max)));
    let slow = points(&|seen| seen.response_ns.map(|times| seconds(times.p99_max)));
    // Rates are probed now and then: a line goes from each probe to the next.
    let probed = |mut points: Vec<(f64, f64)>| {
        points.retain(|(_, rate)| rate.is_finite());
        points
    };
    let out = probed(points(&|seen| seen.out_bits_per_s.map(|rates| rates.min as f64)));
    let back = probed(points(&|seen| seen.in_bits_per_s.map(|rates| rates.min as f64)));
    let each = format!("A point is {} of the time that was watched.", Nanoseconds(soak.slot_ns));
    let chart = |caption: &str, label: fn(f64) -> String, mut series: Vec<Series>| {
        series.retain(|series| series.points.iter().any(|(_, value)| value.is_finite()));
        in_parts(series, |series| {
            let most =
                series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
            let across = Axis::from_zero(seconds(soak.elapsed_ns), time);
            lines(caption, &each, &across, &Axis::from_zero(most, label), series)
        })
    };
    let charts = [
        chart("Datagrams lost over time", |percent| format!("{percent:.2} %"), vec![course("lost", lost)]),
        chart("Answers over time", time, vec![course("median", median), course("99 of 100", slow)]),
        chart(
            "Rate probes over time",
            |rate| BitsPerSecond(rate as u64).to_string(),
            vec![course("out", out), course("in", back)],
        ),
    ];
    Some(charts.into_iter().flatten().collect())
}

fn time(seconds: f64) -> String {
    Nanoseconds((seconds * 1e9) as u64).to_string()
}

/// What classes that share a path carried, each step with its phases.
fn contention(doc: &ResultDoc) -> Option<Markup> {
    let all: Vec<Markup> = doc.steps.iter().filter_map(one_contention).collect();
    (!all.is_empty()).then(|| all.into_iter().collect())
}

fn one_contention(step: &Step) -> Option<Markup> {
    let courses = courses(step);
    let phases = &step.detail.contend.as_ref()?.phases;
    let end_ns = phases.iter().map(|phase| phase.start_ns.saturating_add(phase.length_ns)).max()?;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let line = |course: &Course<'_>| {
        let points = course.phases.iter().flat_map(|(phase, slices)| {
            let middle = |slice: &Slice| {
                phase.start_ns.saturating_add(slice.start_ns).saturating_add(slice.length_ns / 2)
            };
            let own = slices.iter().map(move |slice| (seconds(middle(slice)), bits_per_s(slice)));
            // The line is broken where a phase ends.
            own.chain([(f64::NAN, f64::NAN)])
        });
        Series { name: course.class.word().into(), points: points.collect() }
    };
    let series: Vec<Series> = courses.iter().map(line).collect();
    let most = series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
    let up = Axis::from_zero(most, |at| BitsPerSecond(at as u64).to_string());
    let ticks = phases.iter().map(|phase| {
        (seconds(phase.start_ns.saturating_add(phase.length_ns / 2)), phase.name.words().to_owned())
    });
    let across = Axis { from: 0.0, to: seconds(end_ns), ticks: ticks.collect() };
    let caption = format!("What each class carried: {}", step.name);
    let note = format!(
        "From zero, over {}; each phase stands below its part of the time, and between them nothing is measured.",
        Nanoseconds(end_ns)
    );
    (!series.is_empty()).then(|| lines(&caption, &note, &across, &up, &series))
}

/// The shares below which latencies are drawn, with what stands at the axis.
const QUANTILES: [(f64, &str); 6] =
    [(0.0, "min"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];

/// How far along the axis a share stands: every nine takes as much room as the one before.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-5).log10()
}

/// The distributions of round trips and requests.
fn latencies(doc: &ResultDoc) -> Option<Markup> {
    let mut all = Vec::new();
    for step in &doc.steps {
        for record in step.histograms.iter().filter(|record| record.lane.is_none() && record.unit == "ns") {
            let Ok(histogram) = hlog::decode(record) else { continue };
            if histogram.is_empty() {
                continue;
            }
            // No further than there are samples: the last is the largest.
            let last = 1.0 - 1.0 / histogram.len() as f64;
            let shares = (0..=80u32).map(|at| 1.0 - 10f64.powf(-f64::from(at) / 20.0));
            let points = shares
                .take_while(|share| *share <= last)
                .map(|share| (nines(share), (histogram.value_at_quantile(share).max(1) as f64).log10()))
                .collect();
            let flow = record.flow.and_then(|flow| step.flows.get(usize::from(flow)));
            let name = match flow.filter(|_| step.flows.len() > 1) {
                Some(flow) => format!("{}, {} ({})", step.name, flow.name, record.name.word()),
                None => format!("{} ({})", step.name, record.name.word()),
            };
            all.push(Series { name, points });
        }
    }
    in_parts(all, |series| {
        let values = || series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let (low, high) = (values().fold(f64::MAX, f64::min).floor(), values().fold(0.0, f64::max).ceil());
        let decades = (low as i32..=high.max(low + 1.0) as i32).map(f64::from);
        let ticks = decades.map(|at| (at, Nanoseconds(10f64.powf(at) as u64).to_string())).collect();
        let up = Axis { from: low, to: high.max(low + 1.0), ticks };
        let ticks = QUANTILES.iter().map(|(share, label)| (nines(*share), (*label).to_owned())).collect();
        let across = Axis { from: 0.0, to: 4.05, ticks };
        let note = "How many in a hundred stay below; both axes are logarithmic, and a line ends where there are no more samples.";
        lines("Latency", note, &across, &up, series)
    })
}

/// What every path carries, as far as it is known.
fn mtu(doc: &ResultDoc) -> Option<Markup> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let all: Vec<_> = paths
        .map(|path| {
            let remote = path.remote_nic.as_deref().unwrap_or("?");
            let name =
                format!("{} - {remote}, IPv{}, {}", path.local_nic, path.family, path.direction.name());
            let label = path.ip_mtu_bytes.map_or_else(|| "unknown".into(), |bytes| format!("{bytes} B"));
            (name, path.ip_mtu_bytes.map_or(0.0, f64::from), label)
        })
        .take(BARS_MAX)
        .collect();
    (!all.is_empty()).then(|| bars("Largest IP packet of each path", "", &all))
}

/// The rounds of migrations.
fn rounds(doc: &ResultDoc) -> Option<Markup> {
    let of_step = |step: &Step| {
        let migrate = step.detail.migrate.as_ref()?;
        let all: Vec<_> = migrate
            .rounds
            .iter()
            .enumerate()
            .take(BARS_MAX)
            .map(|(at, round)| {
                let label = format!("{} in {}", Bytes(round.bytes), Nanoseconds(round.elapsed_ns));
                (format!("{}: {}", at + 1, round.phase.word()), round.bytes as f64, label)
            })
            .collect();
        let note = format!(
            "Moved in {}, guest paused for {}.",
            Nanoseconds(migrate.total_ns),
            Nanoseconds(migrate.downtime_ns)
        );
        (!all.is_empty()).then(|| bars(&format!("Rounds of {}", step.name), &note, &all))
    };
    let all: Vec<Markup> = doc.steps.iter().filter_map(of_step).collect();
    (!all.is_empty()).then(|| all.into_iter().collect())
}

/// What each layer below a file on a share carries.
fn ladder(doc: &ResultDoc) -> Option<Markup> {
    let all: Vec<_> = doc
        .ladder
        .iter()
        .take(BARS_MAX)
        .map(|rung| {
            let name = format!("{}, {}", plain::word(rung.rung), rung.direction.name());
            let bits = rung.goodput_bits_per_s;
            let label = bits.map_or_else(|| "not measured".into(), |bits| BitsPerSecond(bits).to_string());
            (name, bits.map_or(0.0, |bits| bits as f64), label)
        })
        .collect();
    (!all.is_empty()).then(|| bars("From the wire to a file on the share", "", &all))
}

#[cfg(test)]
mod tests {
    use pathproof_model::soak::{Soak, SoakRange, SoakTimes};

    use super::*;

    #[test]
    fn a_soak_is_drawn_over_its_time_and_what_was_not_measured_breaks_the_line() {
        let slot = |number: u64, sent, lost| {
            let probed = number.is_multiple_of(2).then_some(SoakRange::of(5_000_000_000));
            let times = SoakTimes { p50_max: 40_000, p99_max: 900_000, ..SoakTimes::default() };
            let response_ns = (sent > 0).then_some(times);
            let figures =
                SoakFigures { sent, lost, response_ns, out_bits_per_s: probed, ..SoakFigures::default() };
            SoakSlot { start_ns: number * 10_000_000_000, figures }
        };
        let slots = vec![slot(0, 300, 0), slot(1, 300, 3), slot(2, 0, 0), slot(3, 300, 0), slot(4, 300, 0)];
        let mut doc = ResultDoc::new(Default::default(), "2026-11-30T08:00:00Z");
        doc.soak =
            Some(Soak { elapsed_ns: 50_000_000_000, slot_ns: 10_000_000_000, slots, ..Soak::default() });
        let drawn = all(&doc).0;
        for (caption, parts) in [
            ("Datagrams lost over time", 2),
            // Each of two lines has a gap.
            ("Answers over time", 4),
            ("Rate probes over time", 1),
        ] {
            let (_, chart) = drawn.split_once(caption).unwrap_or_else(|| panic!("{caption}: {drawn}"));
            let chart = chart.split("</figure>").next().unwrap_or_default();
            assert_eq!(chart.matches("<polyline").count(), parts, "{caption}: {chart}");
        }
        assert!(!drawn.contains("NaN"), "{drawn}");
        doc.soak = Some(Soak::default());
        assert_eq!(all(&doc).0, "", "nothing was seen yet");
    }
}
