//! Further flows of a traffic step: with a pattern of their own, at the same time, over the transport and with the options of
//! the first. Latency under load is a question asked at a low rate beside a stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contend::Cap;
use crate::{Class, Direction, Expect, RequestLoad, TrafficKind, TrafficSpec, Verb};

/// Most flows that a step may name beside its first.
pub const BESIDE_MAX: usize = 15;

/// One flow beside the first. What it does not say (transport, options, warm-up and cool-down) is that of its step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSpec {
    /// Its name in results; empty for one made of its kind and number.
    pub name: String,
    /// What it stands for on the network.
    pub class: Class,
    /// What its lanes do. A question at a rate is a `request` with an `open` load and a depth of one.
    pub kind: TrafficKind,
    /// Which way.
    pub direction: Direction,
    /// Lanes (per direction).
    pub lanes: u32,
    /// Message size in bytes.
    pub size_bytes: u64,
    /// Reply size in bytes for requests; `None` means as large as the request.
    pub reply_bytes: Option<u64>,
    /// Operations outstanding per lane.
    pub depth: u32,
    /// Paced bytes as a payload rate over all lanes in bit/s, or `None` for as fast as it goes.
    pub rate_bits_per_s: Option<u64>,
    /// Requests per second over all lanes (open loop).
    pub requests_per_s: Option<u64>,
    /// Open or closed loop (requests).
    pub load: RequestLoad,
    /// When it begins, in ns since the start of the window.
    pub start_ns: u64,
    /// How long it is measured, in ns; `None` for to the end of the window.
    pub time_ns: Option<u64>,
    /// What it is to reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

impl Default for FlowSpec {
    fn default() -> Self {
        FlowSpec {
            name: String::new(),
            class: Class::Default,
            kind: TrafficKind::Request,
            direction: Direction::Out,
            lanes: 1,
            size_bytes: 64,
            reply_bytes: None,
            depth: 1,
            rate_bits_per_s: None,
            requests_per_s: None,
            load: RequestLoad::Closed,
            start_ns: 0,
            time_ns: None,
            expect: None,
        }
    }
}

impl FlowSpec {
    /// Questions of 64 bytes at a low rate that see what the other flows of the step do to the path.
    pub fn probe(direction: Direction, requests_per_s: u64) -> FlowSpec {
        FlowSpec {
            name: "probe".into(),
            class: Class::Probe,
            direction,
            requests_per_s: Some(requests_per_s),
            load: RequestLoad::Open,
            // As many on the way as a long round trip holds: one at a time falls behind its own schedule there.
            depth: 32,
            ..FlowSpec::default()
        }
    }
}

/// A flow of a step as if it were the only one: what prepares, runs or costs one needs to know of no other.
#[derive(Clone, Debug, PartialEq)]
pub struct OneFlow {
    /// Whether it runs beside the one that the step is named after.
    pub beside: bool,
    /// Its name; empty for the step's own.
    pub name: String,
    /// What it stands for on the network.
    pub class: Class,
    /// What its lanes do.
    pub kind: TrafficKind,
    /// With nothing beside it, and its own window.
    pub traffic: TrafficSpec,
    /// How long after the others its lanes begin, in ns.
    pub start_ns: u64,
    /// What its lanes together may send at most.
    pub cap: Option<Cap>,
    /// The code point that its packets are marked with.
    pub dscp: Option<u8>,
    /// The priority of its sockets, for the tags of its frames (802.1p).
    pub priority: Option<u8>,
}

/// A lane of a step as planned.
#[derive(Clone, Debug)]
pub struct PlannedLane {
    /// Number of its flow in results.
    pub flow: u16,
    /// What it is part of.
    pub of: Arc<OneFlow>,
    /// Whether payload, or the asking, goes from the client to the server.
    pub outward: bool,
}

impl OneFlow {
    /// Whether its payload goes outward: of a flow both ways once so and once not, each a flow of its own in results.
    pub fn ways(&self) -> &'static [bool] {
        match self.traffic.direction {
            Direction::Out => &[true],
            Direction::In => &[false],
            Direction::Both => &[true, false],
        }
    }
}

impl PlannedLane {
    /// The lanes of flows, in their order.
    pub fn all(flows: Vec<OneFlow>) -> Vec<PlannedLane> {
        let ways = flows.into_iter().map(Arc::new).flat_map(|of| {
            let ways = of.ways();
            ways.iter().map(move |outward| (of.clone(), *outward))
        });
        let lanes = (0..).zip(ways).flat_map(|(flow, (of, outward))| {
            let count = of.traffic.lanes as usize;
            std::iter::repeat_n(PlannedLane { flow, of, outward }, count)
        });
        lanes.collect()
    }
}

impl TrafficSpec {
    /// The lanes of all its flows, in their order.
    pub fn planned_lanes(&self, kind: TrafficKind) -> Vec<PlannedLane> {
        PlannedLane::all(self.flows(kind))
    }
    /// All its flows: the first, which is of the step's `kind`, and those beside it. One that goes both ways is two in results,
    /// the outward one first.
    pub fn flows(&self, kind: TrafficKind) -> Vec<OneFlow> {
        let alone = TrafficSpec { beside: vec![], ..self.clone() };
        // What only the first has: a choice of verbs, bytes that are looked at, and NICs that something becomes of.
        let plain = TrafficSpec {
            zero_copy: false,
            discard: false,
            verify: false,
            verb: None,
            fail: vec![],
            singles: false,
            watch_links: false,
            ..alone.clone()
        };
        let first = OneFlow {
            beside: false,
            name: String::new(),
            class: Class::Default,
            kind,
            traffic: alone,
            start_ns: 0,
            cap: None,
            dscp: None,
            priority: None,
        };
        let beside = (1..).zip(&self.beside).map(|(number, flow)| {
            let left_ns = self.time_ns.saturating_sub(flow.start_ns);
            let traffic = TrafficSpec {
                direction: flow.direction,
                lanes: flow.lanes,
                size_bytes: flow.size_bytes,
                reply_bytes: flow.reply_bytes,
                depth: flow.depth,
                time_ns: flow.time_ns.map_or(left_ns, |time| time.min(left_ns)),
                rate_bits_per_s: flow.rate_bits_per_s,
                requests_per_s: flow.requests_per_s,
                load: flow.load,
                expect: flow.expect,
                ..plain.clone()
            };
            let name = match flow.name.as_str() {
                "" => format!("{} {number}", flow.kind.word()),
                name => name.to_owned(),
            };
            let FlowSpec { class, kind, start_ns, .. } = *flow;
            OneFlow {
                beside: true,
                name,
                class,
                kind,
                traffic,
                start_ns,
                cap: None,
                dscp: None,
                priority: None,
            }
        });
        std::iter::once(first).chain(beside).take(1 + BESIDE_MAX).collect()
    }

    /// Lanes at an end, of all flows and both directions.
    pub fn lanes_in_all(&self) -> u64 {
        ways(self.lanes, self.direction).saturating_add(self.lanes_beside())
    }

    /// Those of the flows beside the first.
    pub fn lanes_beside(&self) -> u64 {
        let lanes = self.beside.iter().map(|flow| ways(flow.lanes, flow.direction));
        lanes.fold(0, u64::saturating_add)
    }

    /// Whether its rate says what the path carries: no pace holds it back, and nothing beside it takes a part of the path.
    pub fn is_free(&self) -> bool {
        self.rate_bits_per_s.is_none() && self.beside.iter().all(|flow| flow.class == Class::Probe)
    }

    /// Shortens the window; what was to happen within it happens at the same share of it.
    pub fn shorten(&mut self, time_ns: u64) {
        if time_ns >= self.time_ns {
            return;
        }
        let (whole, part) = (u128::from(self.time_ns), u128::from(time_ns));
        let scaled = |ns: u64| u64::try_from(u128::from(ns) * part / whole).unwrap_or(ns);
        for flow in &mut self.beside {
            flow.start_ns = scaled(flow.start_ns);
            flow.time_ns = flow.time_ns.map(scaled);
        }
        self.time_ns = time_ns;
    }

    /// Why these flows cannot run at once, if they cannot.
    pub fn check_beside(&self) -> Result<(), String> {
        if self.beside.is_empty() {
            return Ok(());
        }
        if self.beside.len() > BESIDE_MAX {
            let count = self.beside.len();
            return Err(format!("{count} flows stand beside the first, and {BESIDE_MAX} is the limit"));
        }
        let sends = self.verb.unwrap_or_default() == Verb::Send;
        if !sends || self.watch_links || !self.fail.is_empty() {
            return Err(
                "flows beside the first go with --verb send, and without --fail and --watch-links".into()
            );
        }
        let mut names = BTreeSet::from(["out".to_owned(), "in".to_owned()]);
        for flow in self.flows(TrafficKind::Stream).into_iter().filter(|flow| flow.beside) {
            if !names.insert(flow.name.clone()) {
                return Err(format!("two flows are named {:?}; give each a name of its own", flow.name));
            }
            if flow.class == Class::Other {
                return Err(format!(
                    "the flow {:?} has a class that this build does not know; it knows default, storage, migration, backup, heartbeat and probe",
                    flow.name
                ));
            }
            if flow.traffic.time_ns == 0 {
                return Err(format!(
                    "the flow {:?} would begin when the window is over; let it begin earlier, or make the time longer",
                    flow.name
                ));
            }
        }
        Ok(())
    }
}

fn ways(lanes: u32, direction: Direction) -> u64 {
    u64::from(lanes) * if direction == Direction::Both { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_as_if_it_were_the_only_one() {
        let question = FlowSpec { direction: Direction::Both, ..FlowSpec::probe(Direction::Both, 100) };
        let short = FlowSpec { start_ns: 700, time_ns: Some(900), ..FlowSpec::default() };
        let spec = TrafficSpec {
            lanes: 4,
            depth: 8,
            time_ns: 1000,
            verify: true,
            beside: vec![question, short],
            ..TrafficSpec::default()
        };
        let flows = spec.flows(TrafficKind::Stream);
        let kinds: Vec<TrafficKind> = flows.iter().map(|flow| flow.kind).collect();
        assert_eq!(kinds, [TrafficKind::Stream, TrafficKind::Request, TrafficKind::Request]);
        assert!(flows.iter().all(|flow| flow.traffic.beside.is_empty()));
        let [first, second, third] = &flows[..] else { panic!("{flows:?}") };
        assert_eq!((first.traffic.lanes, first.traffic.depth, first.traffic.verify), (4, 8, true));
        assert_eq!((second.traffic.lanes, second.traffic.depth, second.traffic.size_bytes), (1, 32, 64));
        assert_eq!((second.traffic.requests_per_s, second.traffic.verify), (Some(100), false));
        assert_eq!((second.name.as_str(), third.name.as_str()), ("probe", "request 2"));
        let windows: Vec<u64> = flows.iter().map(|flow| flow.traffic.time_ns).collect();
        assert_eq!(windows, [1000, 1000, 300], "none outlasts the step");
        assert_eq!((spec.lanes_in_all(), spec.lanes_beside()), (7, 3));
        let lanes: Vec<(u16, bool)> =
            spec.planned_lanes(TrafficKind::Stream).iter().map(|lane| (lane.flow, lane.outward)).collect();
        let first = [(0, true); 4];
        assert_eq!(lanes, [&first[..], &[(1, true), (2, false), (3, true)]].concat());
    }

    #[test]
    fn a_shorter_step_has_all_of_its_flows() {
        let late = FlowSpec { start_ns: 600, time_ns: Some(300), ..FlowSpec::default() };
        let mut spec = TrafficSpec { time_ns: 1000, beside: vec![late], ..TrafficSpec::default() };
        spec.shorten(2000);
        assert_eq!(spec.time_ns, 1000);
        spec.shorten(500);
        assert_eq!((spec.beside[0].start_ns, spec.beside[0].time_ns), (300, Some(150)));
        let mut absurd = TrafficSpec { time_ns: u64::MAX, ..spec.clone() };
        absurd.beside[0].start_ns = u64::MAX;
        absurd.shorten(u64::MAX - 1);
        assert_eq!(absurd.flows(TrafficKind::Stream)[1].traffic.time_ns, 0);
    }

    #[test]
    fn flows_that_cannot_run_at_once_are_refused_in_one_sentence() {
        let why = |change: fn(&mut TrafficSpec)| {
            let mut spec =
                TrafficSpec { beside: vec![FlowSpec::probe(Direction::Out, 100)], ..TrafficSpec::default() };
            change(&mut spec);
            spec.check_beside().err().unwrap_or_default()
        };
        assert_eq!(why(|_| {}), "");
        assert_eq!(why(|s| s.verb = Some(Verb::Send)), "");
        assert!(why(|s| s.beside = vec![FlowSpec::default(); 16]).contains("15 is the limit"));
        assert!(why(|s| s.beside.push(s.beside[0].clone())).contains("two flows are named \"probe\""));
        assert!(why(|s| s.beside[0].name = "out".into()).contains("\"out\""));
        assert!(why(|s| s.verb = Some(Verb::Write)).contains("--verb send"));
        assert!(why(|s| s.watch_links = true).contains("--watch-links"));
        assert!(why(|s| s.beside[0].class = Class::Other).contains("it knows default"));
        assert!(why(|s| s.beside[0].start_ns = s.time_ns).contains("begin earlier"));
    }
}
