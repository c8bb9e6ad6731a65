//! How long it takes to drain hosts: many migrations that share one path, computed round by round.
//!
//! Between two events (a round ends, a guest starts) every moving guest has an equal share of the path, at most
//! its own limit; so the whole is a fluid simulation whose only steps are those events. Hosts are independent.

mod rehearse;

use std::collections::VecDeque;

pub use rehearse::{held, rehearsal};

use pathproof_model::migrate::{FleetGuest, FleetHost, FleetPlan, bytes, bytes_per_s, nanoseconds};

use super::{Decision, PAGE_BYTES, Pattern, Phases, Policy, RoundFacts, StopReason, distinct_pages};

/// Why a fleet plan cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fleet plan, {place}: {why}")]
pub struct FleetError {
    place: String,
    why: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// Host by host, in the order of the plan.
    pub hosts: Vec<HostDrain>,
}

/// One host emptied.
#[derive(Clone, Debug, PartialEq)]
pub struct HostDrain {
    /// Its name.
    pub name: String,
    /// From the first guest's start to the last guest's end, in ns.
    pub drain_ns: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Guest by guest, in order of their end.
    pub guests: Vec<GuestMove>,
}

/// One guest moved.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestMove {
    /// Its name, numbered when there are several alike.
    pub name: String,
    /// Start, in ns since the host's drain began.
    pub started_ns: u64,
    /// End, likewise.
    pub ended_ns: u64,
    /// Standing still, in ns.
    pub downtime_ns: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Live rounds.
    pub rounds: u32,
    /// Why its live rounds ended.
    pub reason: Option<StopReason>,
}

struct PathFacts {
    shared: f64,
    guest_limit: f64,
    parallel: usize,
    policy: Policy,
    setup_ns: f64,
}

struct Waiting {
    name: String,
    pages: u64,
    writes_per_s: f64,
    pattern: Pattern,
}

struct Moving {
    guest: Waiting,
    phases: Phases,
    /// Fixed time still to pass before bytes flow, in ns.
    setup_left_ns: f64,
    /// Bytes of the round still to move.
    left: f64,
    /// Bytes of the round in all.
    round: f64,
    round_started_ns: f64,
    started_ns: f64,
    stopped_ns: Option<f64>,
    bytes: f64,
}

/// Answers `plan`.
pub fn drain(plan: &FleetPlan) -> Result<Drain, FleetError> {
    let path = read_path(plan)?;
    let hosts = plan.hosts.iter().map(|host| drain_host(host, &path)).collect::<Result<_, _>>()?;
    Ok(Drain { hosts })
}

fn read_path(plan: &FleetPlan) -> Result<PathFacts, FleetError> {
    let at = |key: &str| {
        let place = format!("[path] {key}");
        move |why: String| FleetError { place, why }
    };
    let path = &plan.path;
    let mut shared = bytes_per_s(&path.goodput).map_err(at("goodput"))? as f64;
    if let Some(cap) = &path.cap {
        shared = shared.min(bytes_per_s(cap).map_err(at("cap"))? as f64);
    }
    let guest_limit = match &path.guest_limit {
        Some(limit) => bytes_per_s(limit).map_err(at("guest_limit"))? as f64,
        None => shared,
    };
    let mut policy = Policy::named(path.policy);
    if let Some(limit) = &path.downtime_limit {
        policy = policy.with_downtime_limit_ns(nanoseconds(limit).map_err(at("downtime_limit"))?);
    }
    if shared < 1.0 || guest_limit < 1.0 {
        return Err(at("goodput")("a path of no bytes per second moves nothing; measure it first".into()));
    }
    if path.parallel == 0 {
        return Err(at("parallel")("at least one guest must move at a time".into()));
    }
    let setup_ns = match &path.setup {
        Some(time) => nanoseconds(time).map_err(at("setup"))? as f64,
        None => 0.0,
    };
    Ok(PathFacts { shared, guest_limit, parallel: path.parallel as usize, policy, setup_ns })
}

fn read_guests(host: &FleetHost) -> Result<VecDeque<Waiting>, FleetError> {
    let mut waiting = VecDeque::new();
    let mut memory_bytes = 0u64;
    for guest in &host.guests {
        let place = format!("host {:?}, guest {:?}", host.name, guest.name);
        let FleetGuest { name, memory, dirty, working_set, count } = guest;
        let fail = |why: String| FleetError { place: place.clone(), why };
        let memory = bytes(memory).map_err(fail)?;
        if memory < PAGE_BYTES || *count == 0 || *count > 100_000 {
            return Err(fail(
                "memory and count must be at least one page and 1 (and count at most 100 000)".into(),
            ));
        }
        let dirty = dirty.as_deref().map(bytes_per_s).transpose().map_err(fail)?.unwrap_or(0);
        let pattern = match working_set {
            Some(size) => Pattern::WorkingSet { bytes: bytes(size).map_err(fail)? },
            None => Pattern::Uniform,
        };
        memory_bytes = memory_bytes.saturating_add(memory.saturating_mul(u64::from(*count)));
        for i in 0..*count {
            waiting.push_back(Waiting {
                name: if *count == 1 { name.clone() } else { format!("{name}-{}", i + 1) },
                pages: memory / PAGE_BYTES,
                writes_per_s: dirty as f64 / PAGE_BYTES as f64,
                pattern: pattern.clone(),
            });
        }
    }
    if let Some(limit) = &host.memory {
        let place = format!("host {:?}, memory", host.name);
        let limit = bytes(limit).map_err(|why| FleetError { place: place.clone(), why })?;
        if memory_bytes > limit {
            let why = format!("its guests have {memory_bytes} bytes, the host {limit}; correct one of them");
            return Err(FleetError { place, why });
        }
    }
    Ok(waiting)
}

fn drain_host(host: &FleetHost, path: &PathFacts) -> Result<HostDrain, FleetError> {
    Ok(drain_guests(&host.name, read_guests(host)?, path))
}

fn drain_guests(name: &str, mut waiting: VecDeque<Waiting>, path: &PathFacts) -> HostDrain {
    let mut moving: Vec<Moving> = vec![];
    let mut done = vec![];
    let mut now_ns = 0f64;
    loop {
        while moving.len() < path.parallel {
            let Some(guest) = waiting.pop_front() else { break };
            moving.push(Moving::start(guest, path, now_ns));
        }
        if moving.is_empty() {
            break;
        }
        let flowing = moving.iter().filter(|m| m.setup_left_ns <= 0.0).count().max(1);
        let per_ns = (path.shared / flowing as f64).min(path.guest_limit) / 1e9;
        let step_ns = moving
            .iter()
            .map(|m| if m.setup_left_ns > 0.0 { m.setup_left_ns } else { m.left / per_ns })
            .fold(f64::INFINITY, f64::min);
        now_ns += step_ns;
        for m in &mut moving {
            if m.setup_left_ns > 0.0 {
                m.setup_left_ns -= step_ns;
                m.round_started_ns = now_ns;
            } else {
                m.left -= step_ns * per_ns;
            }
        }
        let mut i = 0;
        while i < moving.len() {
            // Half a byte left is rounding, not work.
            let over = moving[i].setup_left_ns <= 0.0 && moving[i].left < 0.5;
            match over.then(|| moving[i].round_over(now_ns)).flatten() {
                Some(end) => {
                    done.push(end);
                    moving.remove(i);
                }
                None => i += 1,
            }
        }
    }
    let bytes = done.iter().map(|g| g.bytes).sum();
    HostDrain { name: name.to_owned(), drain_ns: now_ns as u64, bytes, guests: done }
}

impl Moving {
    fn start(guest: Waiting, path: &PathFacts, now_ns: f64) -> Moving {
        let mut phases = Phases::new(path.policy.clone());
        // A fresh machine is in setup.
        let _ = phases.start();
        let memory = guest.pages as f64 * PAGE_BYTES as f64;
        Moving {
            guest,
            phases,
            setup_left_ns: path.setup_ns,
            left: memory,
            round: memory,
            round_started_ns: now_ns,
            started_ns: now_ns,
            stopped_ns: None,
            bytes: 0.0,
        }
    }

    /// The bytes of a round have moved: the next round, or the end.
    fn round_over(&mut self, now_ns: f64) -> Option<GuestMove> {
        self.bytes += self.round;
        if let Some(stopped_ns) = self.stopped_ns {
            return Some(GuestMove {
                name: self.guest.name.clone(),
                started_ns: self.started_ns as u64,
                ended_ns: now_ns as u64,
                downtime_ns: (now_ns - stopped_ns) as u64,
                bytes: self.bytes.round() as u64,
                rounds: self.phases.rounds().len() as u32,
                reason: self.phases.reason(),
            });
        }
        let elapsed_ns = now_ns - self.round_started_ns;
        let writes = self.guest.writes_per_s * elapsed_ns / 1e9;
        let dirtied = distinct_pages(&self.guest.pattern, self.guest.pages, writes);
        let decision = self.phases.round_ended(RoundFacts {
            pages: (self.round / PAGE_BYTES as f64).round() as u64,
            bytes: self.round as u64,
            elapsed_ns: elapsed_ns as u64,
            dirtied_pages: dirtied.round() as u64,
        });
        if !matches!(decision, Ok(Decision::Round { .. })) {
            self.stopped_ns = Some(now_ns);
        }
        (self.round, self.left) = (dirtied * PAGE_BYTES as f64, dirtied * PAGE_BYTES as f64);
        self.round_started_ns = now_ns;
        if self.left < 0.5 && self.stopped_ns.is_some() { self.round_over(now_ns) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Path, predict};
    use super::*;

    fn plan(path: &str, guests: &str) -> FleetPlan {
        toml::from_str(&format!("[path]\n{path}\n[[host]]\nname = \"a\"\n{guests}")).unwrap()
    }

    #[test]
    fn idle_guests_take_their_bytes_over_the_rate() {
        // 120 GB over 2 x 10 Gbit/s at 94 %: 120e9 / 2.35e9 = 51.06 s, however many move at once.
        for parallel in [1, 2, 4] {
            let path = format!("goodput = \"18.8Gbit/s\"\nparallel = {parallel}");
            let plan = plan(&path, "[[host.guest]]\nname = \"vm\"\nmemory = \"8GB\"\ncount = 15");
            let host = &drain(&plan).unwrap().hosts[0];
            let seconds = host.drain_ns as f64 / 1e9;
            assert!((seconds - 51.06).abs() < 0.02, "{parallel} at once: {seconds} s");
            assert_eq!(host.guests.len(), 15);
        }
        // One TCP connection runs over one NIC: alone it cannot use both.
        let guest = "[[host.guest]]\nname = \"vm\"\nmemory = \"8GB\"\ncount = 15";
        let one = plan("goodput = \"18.8Gbit/s\"\nguest_limit = \"9.4Gbit/s\"", guest);
        assert!((drain(&one).unwrap().hosts[0].drain_ns as f64 / 1e9 - 102.1).abs() < 0.05);
    }

    #[test]
    fn a_single_guest_is_what_the_predictor_says() {
        let plan = plan(
            "goodput = \"1Gbit/s\"",
            "[[host.guest]]\nname = \"vm\"\nmemory = \"1GiB\"\ndirty = \"50MB/s\"",
        );
        let host = &drain(&plan).unwrap().hosts[0];
        let path = Path { bytes_per_s: 125e6, round_cost_ns: 0, zero_share: 0.0 };
        let p = predict(262_144, 50e6, &Pattern::Uniform, &Policy::qemu(), path);
        assert!((host.drain_ns as f64 / p.total_ns as f64 - 1.0).abs() < 0.001);
        assert!((host.guests[0].downtime_ns as f64 / p.downtime_ns as f64 - 1.0).abs() < 0.005);
        assert_eq!(host.guests[0].rounds as usize, p.rounds.len());
    }

    #[test]
    fn moving_many_busy_guests_at_once_makes_each_converge_worse() {
        let guests = "[[host.guest]]\nname = \"vm\"\nmemory = \"1GiB\"\ndirty = \"50MB/s\"\ncount = 4";
        let few = drain(&plan("goodput = \"1Gbit/s\"\nparallel = 1", guests)).unwrap();
        let many = drain(&plan("goodput = \"1Gbit/s\"\nparallel = 4\npolicy = \"hyperv\"", guests)).unwrap();
        assert!(few.hosts[0].guests.iter().all(|g| g.reason == Some(StopReason::FitsDowntime)));
        assert!(many.hosts[0].guests.iter().all(|g| g.reason == Some(StopReason::PassLimit)));
        let worst = |d: &Drain| d.hosts[0].guests.iter().map(|g| g.downtime_ns).max().unwrap();
        assert!(worst(&many) > 4 * worst(&few), "{} against {}", worst(&many), worst(&few));
    }

    #[test]
    fn faults_in_the_file_are_named() {
        let guest =
            |memory: &str| format!("memory = \"1GiB\"\n[[host.guest]]\nname = \"vm\"\nmemory = \"{memory}\"");
        for (path, guests, needle) in [
            ("goodput = \"fast\"", guest("1GiB"), "[path] goodput"),
            ("goodput = \"0\"", guest("1GiB"), "measure it first"),
            ("goodput = \"1Gbit/s\"\nparallel = 0", guest("1GiB"), "parallel"),
            ("goodput = \"1Gbit/s\"", guest("2GiB"), "the host 1073741824"),
            ("goodput = \"1Gbit/s\"", guest("lots"), "guest \"vm\""),
        ] {
            let error = drain(&plan(path, &guests)).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
