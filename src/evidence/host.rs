//! How busy this host is: what tells a slow path from a host that could not keep up.

use pathproof_model::load::HostLoad;
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::load::{self, Busy, Pressure, Processor};

use super::{About, Evidence};

/// The counters of a host at one moment.
pub struct Host {
    busy: Result<Busy, String>,
    pressure: Result<Pressure, String>,
    throttled_ns: Option<u64>,
    slowed_by_heat: Result<u64, String>,
}

impl Evidence for Host {
    fn before(_about: &About) -> Host {
        Host {
            busy: load::busy(),
            pressure: load::pressure(),
            throttled_ns: load::throttled_ns(),
            slowed_by_heat: load::slowed_by_heat(),
        }
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let now = Host::before(&About::default());
        let since = |then: Option<u64>, now: Option<u64>| now?.checked_sub(then?);
        let mut load = HostLoad {
            load_average: load::average(),
            throttled_ns: since(self.throttled_ns, now.throttled_ns),
            ..HostLoad::default()
        };
        match (self.busy, now.busy) {
            (Ok(then), Ok(now)) => {
                // All of the host's: what is stolen is counted over them, and not over those that this process may use.
                load.cpus = Some(now.each.len() as u64).filter(|count| *count > 0);
                load.busy_share = not_idle(&then.all, &now.all);
                load.steal_ns = now.all.steal_ns.checked_sub(then.all.steal_ns);
                load.busiest_cpu_share = busiest(&then, &now, not_idle);
                load.busiest_cpu_softirq_share = busiest(&then, &now, in_softirq);
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("host.busy_share", why),
        }
        match (self.pressure, now.pressure) {
            (Ok(then), Ok(now)) => {
                load.pressure_some_ns = since(then.some_ns, now.some_ns);
                load.pressure_full_ns = since(then.full_ns, now.full_ns);
                load.pressure_memory_some_ns = since(then.memory_some_ns, now.memory_some_ns);
                load.pressure_io_some_ns = since(then.io_some_ns, now.io_some_ns);
                for (name, known) in [
                    ("host.pressure_memory_some_ns", load.pressure_memory_some_ns),
                    ("host.pressure_io_some_ns", load.pressure_io_some_ns),
                ] {
                    if known.is_none() {
                        record.cannot_tell(name, "this kernel does not tell it, or it was set back meanwhile");
                    }
                }
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell(
                "host.pressure_some_ns, host.pressure_full_ns, host.pressure_memory_some_ns, host.pressure_io_some_ns",
                why,
            ),
        }
        if load.throttled_ns.is_none() {
            record.cannot_tell("host.throttled_ns", "no cpu.stat of this control group tells it");
        }
        let heat = match (self.slowed_by_heat, now.slowed_by_heat) {
            (Ok(then), Ok(now)) => now.checked_sub(then).ok_or("it was set back meanwhile".to_owned()),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        match (heat, load::governors()) {
            // Once for both: it stands in every step.
            (Err(why), Err(same)) if why == same => {
                record.cannot_tell("host.slowed_by_heat, host.governors", why);
            }
            (heat, governors) => {
                load.slowed_by_heat = heat.map_err(|why| record.cannot_tell("host.slowed_by_heat", why)).ok();
                load.governors = governors.map_err(|why| record.cannot_tell("host.governors", why)).ok();
            }
        }
        record.host = Some(load);
    }
}

/// The share of a time that all processors together, or one of them, had for something.
type Spent = fn(then: &Processor, now: &Processor) -> Option<f64>;

/// The largest share that one processor had.
fn busiest(then: &Busy, now: &Busy, spent: Spent) -> Option<f64> {
    let shares = now.each.iter().filter_map(|(number, now)| {
        let (_, then) = then.each.iter().find(|(name, _)| name == number)?;
        spent(then, now)
    });
    shares.max_by(f64::total_cmp)
}

fn not_idle(then: &Processor, now: &Processor) -> Option<f64> {
    let all = now.all_ns.checked_sub(then.all_ns).filter(|all| *all > 0)?;
    let idle = now.idle_ns.saturating_sub(then.idle_ns).min(all);
    share(all - idle, all)
}

fn in_softirq(then: &Processor, now: &Processor) -> Option<f64> {
    let all = now.all_ns.checked_sub(then.all_ns).filter(|all| *all > 0)?;
    share(now.softirq_ns.saturating_sub(then.softirq_ns).min(all), all)
}

/// A share to four digits: ticks of 10 ms carry no more.
fn share(part: u64, of: u64) -> Option<f64> {
    Some((part as f64 / of as f64 * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_that_went_by() {
        let processor = |idle_ns, softirq_ns, all_ns| Processor { idle_ns, softirq_ns, all_ns, steal_ns: 0 };
        let then = Busy {
            all: processor(850, 0, 1000),
            each: vec![("0".into(), processor(85, 0, 100)), ("1".into(), processor(1, 2, 3))],
        };
        let now = Busy { all: processor(860, 0, 1120), each: vec![("0".into(), processor(87, 8, 110))] };
        assert_eq!(not_idle(&then.all, &now.all), Some(0.9167), "110 of 120");
        assert!(not_idle(&now.all, &now.all).is_none(), "no time, no share");
        assert_eq!(busiest(&then, &now, not_idle), Some(0.8));
        assert_eq!(busiest(&then, &now, in_softirq), Some(0.8));
    }
}
