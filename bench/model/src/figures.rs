//! Every figure of a document by itself: one row a figure, with what it belongs to, for tables, monitoring and comparison.
//!
//! It computes nothing: a figure that the document does not hold is no row.

use crate::soak::SoakFigures;
use crate::words::words;
use crate::{Direction, HistogramName, LatencySummary, ResultDoc, Step, Summary};

/// One figure of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure<'a> {
    /// The step that it was measured in.
    pub step: &'a Step,
    /// Index of that step.
    pub index: usize,
    /// The flow within the step, where a step has several.
    pub flow: Option<&'a str>,
    /// Which way, where it has one.
    pub direction: Option<Direction>,
    /// NIC of the client, where the figure is one of a pair or of a NIC.
    pub local_nic: Option<&'a str>,
    /// NIC of the server, where the figure is one of a pair.
    pub remote_nic: Option<&'a str>,
    /// IP version, where the figure is one of a family.
    pub family: Option<u8>,
    /// Its name, with its unit where it has one.
    pub name: &'static str,
    /// Its value, in `unit`.
    pub value: f64,
    /// Its unit.
    pub unit: FigureUnit,
    /// The distribution, and the quantile of it, that this is; absent where it is none, or one that few samples reach.
    pub quantile: Option<(HistogramName, f64)>,
    /// Whether more of it is better; unknown where that depends.
    pub more_is_better: Option<bool>,
}

words! {
    /// Units of figures.
    pub enum FigureUnit: "unit" {
        /// Bit/s.
        BitsPerSecond = "bits_per_second",
        /// Seconds.
        Seconds = "seconds",
        /// Bytes.
        Bytes = "bytes",
        /// A part of a whole, from 0 to 1.
        Ratio = "ratio",
        /// Things counted.
        #[default]
        Count = "count",
    }
}

/// The name of a path MTU among the figures.
pub const IP_MTU: &str = "ip_mtu";
/// The name of a goodput among them.
pub const GOODPUT: &str = "goodput";

use FigureUnit::{BitsPerSecond as BITS, Bytes as BYTES, Count as COUNT, Seconds as SECONDS};

/// All figures, in the order of the document.
pub fn all(doc: &ResultDoc) -> Vec<Figure<'_>> {
    doc.steps.iter().enumerate().flat_map(|(index, step)| of_step(index, step)).collect()
}

/// One figure of a soak, or of a part of its time.
#[derive(Clone, Debug, PartialEq)]
pub struct SoakFigure {
    /// Its name.
    pub name: &'static str,
    /// Which way, where it has one.
    pub direction: Option<Direction>,
    /// Its value, in `unit`.
    pub value: f64,
    /// Its unit.
    pub unit: FigureUnit,
}

/// What was seen in some time of a soak. What was not measured in it is no figure.
pub fn of_soak(seen: &SoakFigures) -> Vec<SoakFigure> {
    let mut all = Vec::new();
    let mut add = |name, direction, value, unit| all.push(SoakFigure { name, direction, value, unit });
    add("away", None, seconds(seen.away_ns), SECONDS);
    add("carrier_changes", None, seen.carrier_changes as f64, COUNT);
    if seen.sent > 0 {
        add("datagrams_sent", None, seen.sent as f64, COUNT);
        add("datagrams_lost", None, seen.lost as f64, COUNT);
    }
    if let Some(times) = &seen.response_ns {
        add("response_p50_min", None, seconds(times.p50_min), SECONDS);
        add("response_p50_max", None, seconds(times.p50_max), SECONDS);
        add("response_p99_max", None, seconds(times.p99_max), SECONDS);
        add("response_max", None, seconds(times.max), SECONDS);
        add("response_samples", None, times.count as f64, COUNT);
    }
    for (direction, rates) in [(Direction::Out, seen.out_bits_per_s), (Direction::In, seen.in_bits_per_s)] {
        let Some(rates) = rates else { continue };
        add("goodput_min", Some(direction), rates.min as f64, BITS);
        add("goodput_max", Some(direction), rates.max as f64, BITS);
    }
    if let Some(sizes) = seen.ip_mtu_bytes {
        add("ip_mtu_min", None, sizes.min as f64, BYTES);
        add("ip_mtu_max", None, sizes.max as f64, BYTES);
    }
    all
}

fn of_step(index: usize, step: &Step) -> Vec<Figure<'_>> {
    let bare = Figure {
        step,
        index,
        flow: None,
        direction: step.direction,
        local_nic: None,
        remote_nic: None,
        family: None,
        name: "",
        value: 0.0,
        unit: COUNT,
        quantile: None,
        more_is_better: None,
    };
    let mut figures = Vec::new();
    for (flow, summary) in step.parts() {
        of_summary(&Figure { flow, ..bare.clone() }, summary, &mut figures);
    }
    for flow in step.beside() {
        of_summary(&Figure { flow: Some(&flow.name), ..bare.clone() }, &flow.summary, &mut figures);
    }
    let more =
        |name, value: f64, unit| Figure { name, value, unit, more_is_better: Some(true), ..bare.clone() };
    let less =
        |name, value: f64, unit| Figure { name, value, unit, more_is_better: Some(false), ..bare.clone() };
    for path in step.detail.paths.iter().flatten() {
        let Some(bytes) = path.ip_mtu_bytes else { continue };
        figures.push(Figure {
            local_nic: Some(&path.local_nic),
            remote_nic: path.remote_nic.as_deref(),
            family: Some(path.family),
            direction: Some(path.direction),
            ..more(IP_MTU, f64::from(bytes), BYTES)
        });
    }
    for path in step.detail.loss.iter().flatten() {
        let shares = path.flows.iter().flat_map(|flow| [flow.small.lost(), flow.full.lost()]);
        let (lost, sent) = shares.fold((0u64, 0u64), |sum, one| (sum.0 + one.part, sum.1 + one.of));
        let of_path = |figure| Figure {
            local_nic: Some(&path.local_nic),
            remote_nic: Some(&path.remote_nic),
            family: Some(if path.local_address.is_ipv4() { 4 } else { 6 }),
            direction: Some(path.direction),
            ..figure
        };
        figures.push(of_path(less("datagrams_lost", lost as f64, COUNT)));
        figures.push(of_path(Figure { more_is_better: None, ..more("datagrams_sent", sent as f64, COUNT) }));
    }
    if let Some(alone) = &step.detail.alone {
        for one in &alone.each {
            let Some(bits) = one.goodput_bits_per_s else { continue };
            figures.push(Figure { local_nic: Some(&one.nic), ..more("goodput_alone", bits as f64, BITS) });
        }
        figures.extend(alone.share_of_sum.map(|share| more("nics_share_of_sum", share, FigureUnit::Ratio)));
    }
    if let Some(migrate) = &step.detail.migrate {
        figures.push(less("migration_total", seconds(migrate.total_ns), SECONDS));
        figures.push(less("migration_downtime", seconds(migrate.downtime_ns), SECONDS));
        figures.push(Figure { more_is_better: None, ..less("migration_moved", migrate.bytes as f64, BYTES) });
    }
    figures
}

fn of_summary<'a>(bare: &Figure<'a>, summary: &Summary, figures: &mut Vec<Figure<'a>>) {
    let figure = |name, value: u64, unit, more_is_better| {
        let value = if unit == SECONDS { seconds(value) } else { value as f64 };
        Figure { name, value, unit, more_is_better, ..bare.clone() }
    };
    let mut add = |name, value: Option<u64>, unit, more_is_better| {
        figures.extend(value.map(|value| figure(name, value, unit, more_is_better)));
    };
    add(GOODPUT, summary.goodput_bits_per_s, BITS, Some(true));
    add("goodput_worst_second", summary.goodput_worst_second_bits_per_s, BITS, Some(true));
    add("requests_per_second", summary.iops, COUNT, Some(true));
    add("payload", summary.bytes, BYTES, None);
    add("messages", summary.messages, COUNT, None);
    add("retransmits", summary.retransmits, COUNT, Some(false));
    add("processor_client", summary.cpu_client_ns, SECONDS, None);
    add("processor_server", summary.cpu_server_ns, SECONDS, None);
    type Names = [&'static str; 6];
    const ROUND_TRIP: Names = [
        "round_trip_p50",
        "round_trip_p90",
        "round_trip_p99",
        "round_trip_p999",
        "round_trip_max",
        "round_trip_samples",
    ];
    const SERVICE: Names =
        ["service_p50", "service_p90", "service_p99", "service_p999", "service_max", "service_samples"];
    const RESPONSE: Names =
        ["response_p50", "response_p90", "response_p99", "response_p999", "response_max", "response_samples"];
    let times: [(Names, HistogramName, &Option<LatencySummary>); 3] = [
        (ROUND_TRIP, HistogramName::Rtt, &summary.rtt_ns),
        (SERVICE, HistogramName::Service, &summary.service_ns),
        (RESPONSE, HistogramName::Response, &summary.response_ns),
    ];
    for (names, of, times) in times {
        let Some(times) = times else { continue };
        let [p50, p90, p99, p999, max, samples] = names;
        for (name, value, quantile) in [
            (p50, times.p50, Some(0.5)),
            (p90, times.p90, Some(0.9)),
            (p99, times.p99, Some(0.99)),
            (p999, times.p999, None),
            (max, times.max, None),
        ] {
            let quantile = quantile.map(|quantile| (of, quantile));
            figures.push(Figure { quantile, ..figure(name, value, SECONDS, Some(false)) });
        }
        figures.push(figure(samples, times.count, COUNT, None));
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::SoakRange;

    #[test]
    fn what_a_soak_did_not_measure_is_no_figure() {
        let names = |seen: &SoakFigures| of_soak(seen).iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(&SoakFigures { away_ns: 7, ..SoakFigures::default() }), ["away", "carrier_changes"]);
        let seen = SoakFigures {
            sent: 300,
            out_bits_per_s: Some(SoakRange { min: 5, max: 9 }),
            ..SoakFigures::default()
        };
        assert_eq!(
            names(&seen),
            ["away", "carrier_changes", "datagrams_sent", "datagrams_lost", "goodput_min", "goodput_max"]
        );
        let most = of_soak(&seen).pop().unwrap();
        assert_eq!(
            (most.direction, most.value, most.unit),
            (Some(Direction::Out), 9.0, FigureUnit::BitsPerSecond)
        );
    }
}
