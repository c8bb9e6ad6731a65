//! Whether what goes to a port of UDP that a role needs arrives as what goes to others does. RoCE and heartbeats of clusters have a port of their own, which
//! something on the way may look into, while every other test of the path is clean.
//!
//! What was lost at that port is held against as much that was sent to another port in between, so that neither a moment of the path nor a busy host is taken
//! for it. It refuses to speak where loss met a few source ports alone: that is a member of a bundle.

use pathproof_model::code;
use pathproof_model::judge::repeats::paced_loss;
use pathproof_model::told;
use pathproof_model::{DatagramsRecord, Finding, PortDatagrams, ResultDoc, Share, Step};

use super::{Rule, planned, pressed};

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PORT-LOSSY")], find: findings }];

/// Of what goes to a port surely so much must be lost, ...
const LOSSY_SHARE: f64 = 0.005;
/// ... and so many times as much as surely at most to another: where both lose alike, two samples of one share are seldom so far apart.
const LOSSY_TIMES: f64 = 1.5;
/// Of the source ports that chance would give something of the loss, so many must have lost some.
const SPREAD: f64 = 0.75;
/// Paced datagrams of the path that stand in for another port are at least so many.
const PACED_LEAST: u64 = 500;

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let counted = planned(doc).filter_map(|step| Some((step, step.detail.port_datagrams.as_deref()?)));
    let of_step = |(step, all): (&Step, &[DatagramsRecord])| {
        let lossy = all.iter().filter_map(|one| Compared::of(doc, step, all, one)?.finding());
        lossy.collect::<Vec<Finding>>()
    };
    counted.flat_map(of_step).collect()
}

/// What is held against what.
struct Compared<'a> {
    record: &'a DatagramsRecord,
    /// The roles that need the port.
    roles: Vec<&'static str>,
    beside: Beside<'a>,
}

/// What the port is held against.
enum Beside<'a> {
    /// Another port, of which as many were sent in between.
    Port(&'a PortDatagrams),
    /// Where there is no other: datagrams of the path at another moment, small and large ones together.
    Paced(Share),
}

impl<'a> Compared<'a> {
    fn of(
        doc: &ResultDoc,
        step: &Step,
        all: &'a [DatagramsRecord],
        record: &'a DatagramsRecord,
    ) -> Option<Compared<'a>> {
        let port = record.datagrams.port;
        let asked = step.detail.ports.iter().flatten();
        let own = asked.filter(|one| one.port == port && one.direction == record.direction);
        let roles: Vec<&'static str> = own.flat_map(|one| &one.needed_by).map(|role| role.name()).collect();
        if roles.is_empty() {
            return None;
        }
        let mut others = all.iter().filter(|one| one.direction == record.direction);
        let other = others.find(|one| one.datagrams.port != port && one.datagrams.flows > 0);
        let beside = match other {
            Some(other) => Beside::Port(&other.datagrams),
            // At another moment a busy host would be the difference.
            None if pressed(step) => return None,
            None => {
                let paced =
                    paced_loss(doc, Some(record.direction)).filter(|share| share.of >= PACED_LEAST)?;
                Beside::Paced(paced)
            }
        };
        Some(Compared { record, roles, beside })
    }

    fn finding(&self) -> Option<Finding> {
        let own = &self.record.datagrams;
        let (small, full) = (own.lost_small(), own.lost_full());
        let (sure, large_alone, beside, said) = match &self.beside {
            Beside::Port(other) => {
                let (other_small, other_full) = (other.lost_small(), other.lost_full());
                let whole = loses_more(small + full, other_small + other_full);
                let large = loses_more(full, other_full);
                let alone = large && !loses_more(small, other_small);
                let said = format!(
                    "of as many to {} ({}), sent in between, {}",
                    other.port.name(),
                    other.port.service(),
                    both(other)
                );
                (whole || large, alone, other_small + other_full, said)
            }
            // Of a path that does not carry large ones the paced ones say nothing here.
            Beside::Paced(paced) => {
                let said = format!("of {} paced datagrams over other ports {}", paced.of, paced.part);
                (loses_more(small, *paced), false, *paced, said)
            }
        };
        if !sure || !self.is_spread() {
            return None;
        }
        let which = if large_alone { "large " } else { "" };
        let evidence = format!(
            "{}: {which}datagrams to {} ({}) were lost on the way: {}, and {said}",
            self.record.direction.name(),
            own.port.name(),
            own.port.service(),
            both(own)
        );
        let lost = small + full;
        let finding = Finding::new("PORT-LOSSY", evidence).with("port", own.port.name());
        let finding = finding.with("roles", self.roles.clone()).with("lost", lost.part).with("of", lost.of);
        let finding = finding.with("beside_lost", beside.part).with("beside_of", beside.of);
        Some(finding.tell(told::DIRECTION, self.record.direction))
    }

    /// Whether about as many source ports lost something as where each datagram is lost by itself.
    fn is_spread(&self) -> bool {
        let own = &self.record.datagrams;
        if own.flows == 0 {
            return true;
        }
        let (flows, lost) = (f64::from(own.flows), (own.lost_small() + own.lost_full()).part);
        let met = flows * (1.0 - (1.0 - 1.0 / flows).powf(lost as f64));
        f64::from(own.flows_lossy) >= met * SPREAD
    }
}

/// Whether surely more is lost of the one than of the other.
fn loses_more(one: Share, other: Share) -> bool {
    let least = one.bounds().0;
    least >= LOSSY_SHARE && least >= other.bounds().1 * LOSSY_TIMES
}

/// What was lost of both sizes, in words.
fn both(of: &PortDatagrams) -> String {
    let (small, full) = (of.lost_small(), of.lost_full());
    format!(
        "{} of {} small ones and {} of {} of {} bytes",
        small.part, small.of, full.part, full.of, of.full_ip_bytes
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::loss_path;
    use super::*;
    use pathproof_model::{
        AnsweredBy, Direction, Evidence, HostLoad, LossCounts, LossFlow, LossPath, Port, PortAnswer,
        PortRecord, Role, Severity, StepKind, Tool,
    };

    /// Lost of 250 small and 250 full-size ones, over so many of 16 source ports.
    type Lost = (u64, u64, u32);

    fn counted(port: Port, (small, full, flows_lossy): Lost) -> DatagramsRecord {
        let datagrams = PortDatagrams {
            port,
            small_sent: 250,
            small_arrived: 250 - small,
            full_sent: 250,
            full_arrived: 250 - full,
            full_ip_bytes: 1500,
            flows: 16,
            flows_lossy,
        };
        DatagramsRecord { direction: Direction::Out, datagrams }
    }

    /// A path for RoCE: what its port lost, and the one of heartbeats where that answered.
    fn document(roce: Lost, heartbeat: Option<Lost>) -> ResultDoc {
        let mut step = Step::new(StepKind::Ports, "ports and connections");
        let record = |port: Port, needed_by: Vec<Role>| PortRecord {
            port,
            name: port.name(),
            direction: Direction::Out,
            answer: PortAnswer::Answered,
            by: Some(AnsweredBy::Agent),
            reason: None,
            needed_by,
        };
        let records = vec![record(Port::Heartbeat, vec![]), record(Port::Roce, vec![Role::Roce])];
        step.detail.ports = Some(records);
        let beside = heartbeat.map(|lost| counted(Port::Heartbeat, lost));
        step.detail.port_datagrams =
            Some(beside.into_iter().chain([counted(Port::Roce, roce)]).collect::<Vec<_>>());
        ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") }
    }

    fn told(roce: Lost, heartbeat: Lost) -> Vec<Finding> {
        findings(&document(roce, Some(heartbeat)))
    }

    #[test]
    fn a_port_that_loses_its_share_beside_a_whole_one_is_told() {
        // 5 % of what goes to the port, a third of it, and the fewest that are sure.
        for (lost, flows) in [((12, 13), 13), ((82, 85), 16), ((6, 5), 8)] {
            let found = told((lost.0, lost.1, flows), (0, 0, 0));
            assert_eq!(found.len(), 1, "{lost:?}");
            assert_eq!((found[0].code.as_str(), found[0].severity), ("PORT-LOSSY", Severity::Error));
            assert!(found[0].evidence.contains("4791/udp (RoCE v2)"), "{}", found[0].evidence);
            assert!(!found[0].evidence.contains("large datagrams"), "{}", found[0].evidence);
            assert_eq!(found[0].told(told::DIRECTION), Some(Direction::Out));
        }
        assert_eq!(told((12, 13, 13), (0, 0, 0))[0].values["roles"], serde_json::json!(["roce"]));
    }

    #[test]
    fn a_port_that_loses_large_ones_alone_is_told_as_that() {
        let found = told((0, 250, 16), (0, 0, 0));
        assert!(found.len() == 1 && found[0].evidence.contains("large datagrams to 4791/udp"), "{found:?}");
        // Large ones that pass nowhere are a matter of the path, and so are those that the interface does not take.
        assert_eq!(told((0, 250, 16), (0, 250, 16)), []);
    }

    #[test]
    fn a_port_over_which_nothing_more_is_heard_lost_all() {
        let mut doc = document((250, 250, 0), Some((0, 0, 0)));
        for one in doc.steps[0].detail.port_datagrams.iter_mut().flatten() {
            if one.datagrams.port == Port::Roce {
                one.datagrams.flows = 0;
            }
        }
        assert_eq!(findings(&doc).len(), 1);
    }

    #[test]
    fn what_all_ports_lose_or_few_source_ports_or_next_to_nothing_is_not_the_ports() {
        for (roce, heartbeat) in [
            ((0, 0, 0), (0, 0, 0)),
            ((2, 2, 4), (0, 0, 0)),
            // 5 % everywhere, as it falls.
            ((18, 17, 14), (10, 9, 11)),
            // A moment in which nothing passed.
            ((40, 38, 16), (39, 41, 16)),
            // A bundle of which one member loses: its source ports alone.
            ((30, 30, 8), (12, 14, 6)),
            ((13, 12, 4), (0, 0, 0)),
            // The port that nothing needs.
            ((0, 0, 0), (12, 13, 13)),
        ] {
            assert_eq!(told(roce, heartbeat), [], "{roce:?} {heartbeat:?}");
        }
    }

    #[test]
    fn without_another_port_it_is_held_against_paced_datagrams_where_hosts_were_not_busy() {
        let paced = |lost: u64| {
            let small = LossCounts { sent: 8000, received: 8000 - lost, ..LossCounts::default() };
            let flow = LossFlow { answered: true, small, ..LossFlow::default() };
            let mut step = Step::new(StepKind::Loss, "paced datagrams");
            step.detail.loss = Some(vec![LossPath { flows: vec![flow], ..loss_path() }]);
            step
        };
        let told = |steps: Vec<Step>, pressure_ns: u64| {
            let mut doc = document((12, 13, 13), None);
            let host =
                HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(pressure_ns), ..HostLoad::default() };
            doc.steps[0].evidence = vec![Evidence { host: Some(host), ..Evidence::default() }];
            doc.steps.extend(steps);
            findings(&doc).len()
        };
        assert_eq!(told(vec![paced(0)], 10), 1);
        assert_eq!(told(vec![paced(400)], 10), 0, "the path loses as much");
        assert_eq!(told(vec![paced(0)], 500), 0, "it may be the host that was busy at that moment");
        assert_eq!(told(vec![], 10), 0, "nothing to hold it against");
    }
}
