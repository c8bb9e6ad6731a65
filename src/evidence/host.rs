//! How busy this host is: what tells a slow path from a host that could not keep up.

use pathproof_model::load::HostLoad;
use pathproof_model::{Evidence as Record, Half};

use super::{About, Evidence, read};

/// `USER_HZ`, which is 100 on every architecture that Linux runs on today.
const TICK_NS: u64 = 10_000_000;

/// The counters of a host at one moment.
pub struct Host {
    cpus: Result<Cpus, String>,
    pressure: Result<[Option<u64>; 2], String>,
    throttled_ns: Option<u64>,
}

impl Evidence for Host {
    fn before(_about: &About) -> Host {
        Host {
            cpus: read("/proc/stat")
                .and_then(|text| Cpus::parse(&text).ok_or("/proc/stat: not as known".into())),
            pressure: pressure(),
            throttled_ns: throttled_ns(),
        }
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let now = Host::before(&About::default());
        let since = |then: Option<u64>, now: Option<u64>| now?.checked_sub(then?);
        let mut load = HostLoad {
            load_average: read("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse().ok()),
            throttled_ns: since(self.throttled_ns, now.throttled_ns),
            ..HostLoad::default()
        };
        match (self.cpus, now.cpus) {
            (Ok(then), Ok(now)) => {
                load.cpus = now.count();
                load.busy_share = now.all.busy_since(&then.all);
                load.steal_ns = now.all.steal.checked_sub(then.all.steal).map(|ticks| ticks * TICK_NS);
                load.busiest_cpu_share = now.busiest_since(&then, Cpu::busy_since);
                load.busiest_cpu_softirq_share = now.busiest_since(&then, Cpu::softirq_since);
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("host.busy_share", why),
        }
        match (self.pressure, now.pressure) {
            (Ok(then), Ok(now)) => {
                load.pressure_some_ns = since(then[0], now[0]);
                load.pressure_full_ns = since(then[1], now[1]);
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("host.pressure_some_ns", why),
        }
        if load.throttled_ns.is_none() {
            record.cannot_tell("host.throttled_ns", "no cpu.stat of this control group tells it");
        }
        record.host = Some(load);
    }
}

/// `/proc/stat`: all processors together, and each of them.
struct Cpus {
    all: Cpu,
    each: Vec<(String, Cpu)>,
}

/// A line of it, in ticks.
struct Cpu {
    idle: u64,
    softirq: u64,
    steal: u64,
    all: u64,
}

impl Cpus {
    fn parse(stat: &str) -> Option<Cpus> {
        let mut lines = stat.lines().map_while(|line| line.strip_prefix("cpu")?.split_once(' '));
        let (_, all) = lines.next().filter(|(number, _)| number.is_empty())?;
        let each = lines.filter_map(|(number, ticks)| Some((number.to_owned(), Cpu::parse(ticks)?)));
        Some(Cpus { all: Cpu::parse(all)?, each: each.collect() })
    }

    /// All of the host's: what is stolen is counted over them, and not over those that this process may use.
    fn count(&self) -> Option<u64> {
        Some(self.each.len() as u64).filter(|count| *count > 0)
    }

    /// The largest share that one processor had.
    fn busiest_since(&self, then: &Cpus, share: fn(&Cpu, &Cpu) -> Option<f64>) -> Option<f64> {
        let shares = self.each.iter().filter_map(|(number, now)| {
            let (_, then) = then.each.iter().find(|(name, _)| name == number)?;
            share(now, then)
        });
        shares.max_by(f64::total_cmp)
    }
}

impl Cpu {
    fn parse(line: &str) -> Option<Cpu> {
        // user nice system idle iowait irq softirq steal; what follows is part of user already.
        let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|t| t.parse().ok()).take(8).collect();
        let [_, _, _, idle, iowait, _, softirq, steal] = ticks[..] else { return None };
        Some(Cpu { idle: idle + iowait, softirq, steal, all: ticks.iter().sum() })
    }

    fn busy_since(&self, then: &Cpu) -> Option<f64> {
        let all = self.all.checked_sub(then.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(then.idle).min(all);
        share(all - idle, all)
    }

    fn softirq_since(&self, then: &Cpu) -> Option<f64> {
        let all = self.all.checked_sub(then.all).filter(|all| *all > 0)?;
        share(self.softirq.saturating_sub(then.softirq).min(all), all)
    }
}

/// A share to four digits: ticks of 10 ms carry no more.
fn share(part: u64, of: u64) -> Option<f64> {
    Some((part as f64 / of as f64 * 1e4).round() / 1e4)
}

/// Totals of "some" and "full" pressure on the processors, in ns.
fn pressure() -> Result<[Option<u64>; 2], String> {
    let text = read("/proc/pressure/cpu")?;
    Ok(["some", "full"].map(|kind| total_ns(&text, kind)))
}

fn total_ns(pressure: &str, kind: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with(kind))?;
    Some(line.rsplit_once("total=")?.1.parse::<u64>().ok()? * 1000)
}

/// How long the control group of this process was held back by its quota: version 2 counts microseconds, version 1
/// nanoseconds.
fn throttled_ns() -> Option<u64> {
    let groups = read("/proc/self/cgroup").ok()?;
    let path = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let second = path(&|controllers| controllers.is_empty())
        .and_then(|path| read(&format!("/sys/fs/cgroup{path}/cpu.stat")).ok())
        .and_then(|stat| Some(field(&stat, "throttled_usec")? * 1000));
    second.or_else(|| {
        let path = path(&|controllers| controllers.split(',').any(|c| c == "cpu"))?;
        field(&read(&format!("/sys/fs/cgroup/cpu{path}/cpu.stat")).ok()?, "throttled_time")
    })
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_the_kernel_writes_them() {
        let then =
            Cpus::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 10 0 5 80 5 0 0 0 0 0\ncpu1 1 2 3\nintr 5\n")
                .unwrap();
        let now = Cpus::parse("cpu  190 0 50 805 55 0 0 20 0 0\ncpu0 10 0 5 82 5 0 8 0 0 0\n").unwrap();
        assert_eq!(now.all.steal - then.all.steal, 20);
        assert_eq!(now.count(), Some(1));
        assert_eq!(now.all.busy_since(&then.all), Some(0.9167), "110 of 120");
        assert!(now.all.busy_since(&now.all).is_none(), "no time, no share");
        assert_eq!(now.busiest_since(&then, Cpu::busy_since), Some(0.8));
        assert_eq!(now.busiest_since(&then, Cpu::softirq_since), Some(0.8));
        assert!(Cpus::parse("cpu 1 2 3\n").is_none() && Cpus::parse("").is_none());
        let pressure = "some avg10=90.74 avg60=92.57 avg300=58.53 total=295707548\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(total_ns(pressure, "some"), Some(295_707_548_000));
        assert_eq!(total_ns(pressure, "full"), Some(0));
        assert_eq!(total_ns("", "some"), None);
        assert_eq!(field("nr_throttled 3\nthrottled_usec 5\n", "throttled_usec"), Some(5));
    }
}
