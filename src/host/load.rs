//! How busy this host is while a step runs. Reads a few files before and after, never in between, and never guesses:
//! what cannot be read stays unknown.

use std::time::Instant;

use pathproof_model::load::{HostLoad, Waited};

/// `USER_HZ`, which is 100 on every architecture that Linux runs on today.
const TICK_NS: u64 = 10_000_000;

/// The counters of a host at one moment.
pub struct Watch {
    began: Instant,
    cpu: Option<Cpu>,
    pressure: [Option<u64>; 2],
    throttled_ns: Option<u64>,
}

impl Watch {
    /// From now on.
    pub fn begin() -> Watch {
        Watch { began: Instant::now(), cpu: Cpu::read(), pressure: pressure(), throttled_ns: throttled_ns() }
    }

    /// Until now.
    pub fn end(self) -> HostLoad {
        let now = Watch::begin();
        let since = |then: Option<u64>, now: Option<u64>| now?.checked_sub(then?);
        let cpu = self.cpu.zip(now.cpu);
        HostLoad {
            elapsed_ns: self.began.elapsed().as_nanos() as u64,
            cpus: std::thread::available_parallelism().ok().map(|n| n.get() as u64),
            load_average: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            busy_share: cpu.as_ref().and_then(|(then, now)| now.busy_since(then)),
            steal_ns: cpu.and_then(|(then, now)| Some(now.steal.checked_sub(then.steal)? * TICK_NS)),
            pressure_some_ns: since(self.pressure[0], now.pressure[0]),
            pressure_full_ns: since(self.pressure[1], now.pressure[1]),
            throttled_ns: since(self.throttled_ns, now.throttled_ns),
        }
    }
}

/// Measures what the calling thread waits for a processor.
pub struct Waiting {
    began: Instant,
    waited_ns: u64,
}

impl Waiting {
    /// From now on; `None` where the kernel does not count it.
    pub fn begin() -> Option<Waiting> {
        Some(Waiting { began: Instant::now(), waited_ns: run_queue_wait_ns()? })
    }

    /// Until now, on the same thread.
    pub fn end(self) -> Waited {
        let waited_ns = run_queue_wait_ns().map_or(0, |now| now.saturating_sub(self.waited_ns));
        Waited { waited_ns, of_ns: self.began.elapsed().as_nanos() as u64 }
    }
}

/// Time that this thread has spent on a run queue (second field, Documentation/scheduler/sched-stats.rst).
fn run_queue_wait_ns() -> Option<u64> {
    read("/proc/thread-self/schedstat")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The first line of `/proc/stat`, in ticks.
struct Cpu {
    idle: u64,
    steal: u64,
    all: u64,
}

impl Cpu {
    fn read() -> Option<Cpu> {
        Cpu::parse(&read("/proc/stat")?)
    }

    fn parse(stat: &str) -> Option<Cpu> {
        // user nice system idle iowait irq softirq steal; what follows is part of user already.
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|t| t.parse().ok()).take(8).collect();
        let [_, _, _, idle, iowait, _, _, steal] = ticks[..] else { return None };
        Some(Cpu { idle: idle + iowait, steal, all: ticks.iter().sum() })
    }

    fn busy_since(&self, then: &Cpu) -> Option<f64> {
        let all = self.all.checked_sub(then.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(then.idle).min(all);
        Some(1.0 - idle as f64 / all as f64)
    }
}

/// Totals of "some" and "full" pressure on the processors, in ns.
fn pressure() -> [Option<u64>; 2] {
    let text = read("/proc/pressure/cpu");
    ["some", "full"].map(|kind| total_ns(text.as_deref()?, kind))
}

fn total_ns(pressure: &str, kind: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with(kind))?;
    Some(line.rsplit_once("total=")?.1.parse::<u64>().ok()? * 1000)
}

/// How long the control group of this process was held back by its quota: version 2 counts microseconds, version 1
/// nanoseconds.
fn throttled_ns() -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let path = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let second = path(&|controllers| controllers.is_empty())
        .and_then(|path| read(&format!("/sys/fs/cgroup{path}/cpu.stat")))
        .and_then(|stat| Some(field(&stat, "throttled_usec")? * 1000));
    second.or_else(|| {
        let path = path(&|controllers| controllers.split(',').any(|c| c == "cpu"))?;
        field(&read(&format!("/sys/fs/cgroup/cpu{path}/cpu.stat"))?, "throttled_time")
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
        let then = Cpu::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        let now = Cpu::parse("cpu  190 0 50 805 55 0 0 20 0 0\n").unwrap();
        assert_eq!(now.steal - then.steal, 20);
        assert!((now.busy_since(&then).unwrap() - 110.0 / 120.0).abs() < 1e-9);
        assert!(now.busy_since(&now).is_none(), "no time, no share");
        assert!(Cpu::parse("cpu 1 2 3\n").is_none() && Cpu::parse("").is_none());
        let pressure = "some avg10=90.74 avg60=92.57 avg300=58.53 total=295707548\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(total_ns(pressure, "some"), Some(295_707_548_000));
        assert_eq!(total_ns(pressure, "full"), Some(0));
        assert_eq!(total_ns("", "some"), None);
        assert_eq!(field("nr_throttled 3\nthrottled_usec 5\n", "throttled_usec"), Some(5));
    }

    #[test]
    fn a_thread_that_shares_its_processor_has_waited() {
        let crowd = 4 * std::thread::available_parallelism().map_or(1, |n| n.get());
        let Some(_) = Waiting::begin() else { return };
        let spin = || {
            let waiting = Waiting::begin().unwrap();
            while waiting.began.elapsed().as_millis() < 300 {
                std::hint::spin_loop();
            }
            waiting.end()
        };
        let waited: Vec<Waited> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..crowd).map(|_| scope.spawn(spin)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let share = |w: &Waited| w.waited_ns as f64 / w.of_ns as f64;
        let mean = waited.iter().map(share).sum::<f64>() / crowd as f64;
        assert!(mean > 0.4, "four threads on each processor waited {mean:.2} of their time");
        let sleeper = Waiting::begin().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let slept = sleeper.end();
        assert!(slept.waited_ns <= slept.of_ns);
    }
}
