//! What a server allows of a plan: numbers that can only make the client's own plan smaller.
//!
//! A [`Grant`] is applied to the specification of the end that asked, and takes the smaller of the two numbers. It
//! refuses to grow anything and to say anything but how much.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Nanoseconds};
use crate::{Finding, MigrateSpec, Plan, StepSpec, TrafficSpec};

/// What is allowed of one step; `None` means as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// Lanes: for each direction, or for each guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<u32>,
    /// The measured window, the time of a migration's live rounds, or that of silent connections, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<u64>,
    /// Memory of each guest of a migration, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// The smaller of what was asked and what was granted; nothing at all is an error.
fn least<T: Copy + Ord + Default>(what: &str, asked: &mut T, granted: Option<T>) -> Result<(), String> {
    match granted {
        Some(granted) if granted == T::default() => Err(format!("the peer grants no {what}")),
        Some(granted) => {
            *asked = (*asked).min(granted);
            Ok(())
        }
        None => Ok(()),
    }
}

impl Grant {
    /// `asked` with this grant's numbers where they are smaller, and what was reduced.
    pub fn apply(&self, asked: &StepSpec) -> Result<(StepSpec, Vec<Finding>), String> {
        let mut granted = asked.clone();
        let reduced = match &mut granted {
            StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => self.traffic(t)?,
            StepSpec::Migrate(m) => self.migrate(m)?,
            StepSpec::Loss(loss) => {
                let asked = loss.time_ns;
                least("time", &mut loss.time_ns, self.time_ns)?;
                less_time(asked, loss.time_ns).into_iter().collect()
            }
            StepSpec::Ports(ports) => {
                let asked = ports.idle_ns;
                least("time", &mut ports.idle_ns, self.time_ns)?;
                less_time(asked, ports.idle_ns).into_iter().collect()
            }
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) => vec![],
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::File(_) => vec![],
            StepSpec::Networks(_) | StepSpec::Contend(_) => vec![],
        };
        Ok((granted, reduced))
    }

    fn traffic(&self, traffic: &mut TrafficSpec) -> Result<Vec<Finding>, String> {
        let asked = (traffic.lanes, traffic.time_ns);
        least("lanes", &mut traffic.lanes, self.lanes)?;
        let mut time_ns = traffic.time_ns;
        least("time", &mut time_ns, self.time_ns)?;
        traffic.shorten(time_ns);
        let lanes = fewer_lanes(asked.0, traffic.lanes);
        Ok(lanes.into_iter().chain(less_time(asked.1, traffic.time_ns)).collect())
    }

    fn migrate(&self, migrate: &mut MigrateSpec) -> Result<Vec<Finding>, String> {
        let (lanes, time_ns) = (migrate.lanes, migrate.time_limit_ns);
        least("lanes", &mut migrate.lanes, self.lanes)?;
        let mut limit = time_ns.unwrap_or(u64::MAX);
        least("time", &mut limit, self.time_ns)?;
        migrate.time_limit_ns = time_ns.map(|_| limit).or(self.time_ns);
        least("memory", &mut migrate.memory_bytes, self.memory_bytes)?;
        // No time limit of its own is no number that could be reduced.
        let time = time_ns.zip(migrate.time_limit_ns).and_then(|(asked, granted)| less_time(asked, granted));
        Ok(fewer_lanes(lanes, migrate.lanes).into_iter().chain(time).collect())
    }
}

/// A rehearsal that scales itself takes the memory there is; a guest of another size than was asked for proves nothing.
fn of_the_size_asked_for(asked: &StepSpec, granted: &StepSpec) -> Result<(), String> {
    match asked.migrate().zip(granted.migrate()) {
        Some((a, g)) if a.budget_ns.is_none() && g.memory_bytes < a.memory_bytes => Err(format!(
            "each guest needs {} of memory at the peer, which grants {}; ask for less --memory or fewer --parallel",
            Bytes(a.memory_bytes),
            Bytes(g.memory_bytes)
        )),
        Some(_) | None => Ok(()),
    }
}

fn fewer_lanes(asked: u32, granted: u32) -> Option<Finding> {
    let said = format!("{asked} lanes were asked for and the peer granted {granted}");
    reduced(asked.into(), granted.into(), said)
}

fn less_time(asked: u64, granted: u64) -> Option<Finding> {
    let said = format!("{} were asked for and the peer granted {}", Nanoseconds(asked), Nanoseconds(granted));
    reduced(asked, granted, said)
}

fn reduced(asked: u64, granted: u64, evidence: String) -> Option<Finding> {
    let finding = Finding::new("PLAN-REDUCED", evidence).with("asked", asked).with("granted", granted);
    (asked != granted).then_some(finding)
}

impl Plan {
    /// This plan as far as it was granted, and what was reduced. The peer has a say in nothing but the numbers: the steps
    /// and everything in them are this plan's own.
    pub fn granted(&self, grants: &[Grant]) -> Result<(Plan, Vec<Finding>), String> {
        let asked = self.shared().count();
        if grants.len() != asked {
            return Err(format!(
                "the peer granted {} steps where {asked} were asked for; it is broken, or no pathproof server",
                grants.len()
            ));
        }
        let mut grants = grants.iter();
        let mut granted = Plan { steps: vec![], ..self.clone() };
        let mut reduced = vec![];
        for (number, asked) in self.steps.iter().enumerate() {
            // What is made from here alone takes nobody's leave.
            let Some(grant) = self.is_shared(asked).then(|| grants.next()).flatten() else {
                granted.steps.push(asked.clone());
                continue;
            };
            let granted_step = grant.apply(asked).and_then(|(step, less)| {
                of_the_size_asked_for(asked, &step)?;
                Ok((step, less))
            });
            let (step, less) = granted_step.map_err(|why| {
                format!(
                    "step {number}: {why}; raise its limits (pathproof serve --limits) or leave the step out"
                )
            })?;
            reduced.extend(less.into_iter().map(|finding| Finding { step: Some(number), ..finding }));
            granted.steps.push(step);
        }
        Ok((granted, reduced))
    }
}

impl Plan {
    /// Whether `granted` is less than this plan. A limit of the peer's on what had none is no reduction.
    pub fn is_reduced_to(&self, granted: &Plan) -> bool {
        let mut asked = self.clone();
        for (asked, granted) in asked.steps.iter_mut().zip(&granted.steps) {
            if let (Some(asked), Some(granted)) = (asked.migrate_mut(), granted.migrate()) {
                asked.time_limit_ns = asked.time_limit_ns.or(granted.time_limit_ns);
            }
        }
        asked != *granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let stream = TrafficSpec { lanes: 4, time_ns: 1000, ..TrafficSpec::default() };
        let migrate = MigrateSpec { lanes: 2, memory_bytes: 1 << 20, ..MigrateSpec::default() };
        Plan {
            command: crate::CommandName::Check,
            seed: 3,
            nodes: vec![],
            steps: vec![StepSpec::Facts, StepSpec::Stream(stream), StepSpec::Migrate(migrate)],
        }
    }

    fn grants(one: Grant) -> Vec<Grant> {
        vec![one; 3]
    }

    #[test]
    fn t11_a_grant_only_makes_smaller() {
        let none = Grant::default();
        assert_eq!(plan().granted(&grants(none)).unwrap(), (plan(), vec![]));
        let absurd = Grant { lanes: Some(u32::MAX), time_ns: Some(u64::MAX), memory_bytes: Some(u64::MAX) };
        let (granted, reduced) = plan().granted(&grants(absurd)).unwrap();
        assert_eq!((granted.steps[1].clone(), reduced.len()), (plan().steps[1].clone(), 0));
        let StepSpec::Migrate(migrate) = &granted.steps[2] else { panic!() };
        assert_eq!((migrate.memory_bytes, migrate.lanes), (1 << 20, 2));
        assert!(!plan().is_reduced_to(&granted), "a limit where there was none takes nothing away");

        let less = Grant { lanes: Some(1), time_ns: Some(7), memory_bytes: None };
        let (granted, reduced) = plan().granted(&grants(less)).unwrap();
        let StepSpec::Migrate(migrate) = &granted.steps[2] else { panic!() };
        assert_eq!((migrate.memory_bytes, migrate.lanes, migrate.time_limit_ns), (1 << 20, 1, Some(7)));
        let stream = granted.steps[1].traffic().unwrap();
        assert_eq!((stream.lanes, stream.time_ns, stream.size_bytes), (1, 7, 128 << 10));
        assert_eq!(reduced.len(), 3, "{reduced:#?}");
        assert!(plan().is_reduced_to(&granted));
        assert!(reduced.iter().all(|f| f.code == "PLAN-REDUCED"));
        let own = Plan { steps: plan().steps, ..granted };
        assert_eq!(own, plan(), "command and seed are this end's own");
    }

    #[test]
    fn t11_silence_is_granted_as_other_time_is() {
        let ports = crate::PortsSpec { idle_ns: 300_000_000_000, ..crate::PortsSpec::default() };
        let plan = Plan { steps: vec![StepSpec::Ports(ports)], ..plan() };
        let idle_ns = |time_ns| {
            let (granted, reduced) = plan.granted(&[Grant { time_ns, ..Grant::default() }]).unwrap();
            assert_eq!(plan.is_reduced_to(&granted), !reduced.is_empty());
            (granted.steps[0].ports().unwrap().idle_ns, reduced.len())
        };
        assert_eq!(idle_ns(None), (300_000_000_000, 0));
        assert_eq!(idle_ns(Some(u64::MAX)), (300_000_000_000, 0));
        assert_eq!(idle_ns(Some(60_000_000_000)), (60_000_000_000, 1));
    }

    #[test]
    fn t11_a_grant_of_nothing_and_of_other_steps_is_an_error_in_one_sentence() {
        for nothing in [
            Grant { lanes: Some(0), ..Grant::default() },
            Grant { time_ns: Some(0), ..Grant::default() },
            Grant { memory_bytes: Some(0), ..Grant::default() },
        ] {
            let error = plan().granted(&grants(nothing)).unwrap_err();
            assert!(error.contains("grants no") && error.contains("--limits"), "{error}");
        }
        for count in [0, 2, 4, 200_000] {
            let error = plan().granted(&vec![Grant::default(); count]).unwrap_err();
            assert!(error.contains(&format!("granted {count} steps where 3")), "{error}");
        }
    }

    #[test]
    fn t11_less_memory_scales_a_rehearsal_and_refuses_a_guest_of_a_size_asked_for() {
        let grant = Grant { memory_bytes: Some(4 << 20), ..Grant::default() };
        let migrate = |budget_ns| {
            StepSpec::Migrate(MigrateSpec { memory_bytes: 64 << 20, budget_ns, ..MigrateSpec::default() })
        };
        let granted = |step| Plan { steps: vec![step], ..plan() }.granted(&[grant]);
        let (scaled, reduced) = granted(migrate(Some(1_000_000_000))).unwrap();
        let StepSpec::Migrate(scaled) = &scaled.steps[0] else { panic!() };
        assert_eq!((scaled.memory_bytes, reduced.len()), (4 << 20, 0));
        let error = granted(migrate(None)).unwrap_err();
        assert!(error.contains("64 MiB") && error.contains("4 MiB") && error.contains("--limits"), "{error}");
    }

    #[test]
    fn t11_a_grant_says_how_much_and_nothing_else() {
        for hostile in
            [r#"{"spec":{"kind":"facts"}}"#, r#"{"lanes":-1}"#, r#"{"lanes":"4"}"#, r#"{"file":"/x"}"#]
        {
            assert!(serde_json::from_str::<Grant>(hostile).is_err(), "{hostile}");
        }
    }
}
