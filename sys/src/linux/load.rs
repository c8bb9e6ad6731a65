//! Processors, pressure and quotas, from `/proc` and the control groups.

use std::fs;

use crate::load::{Busy, Pressure, Processor};

/// `USER_HZ`, which is 100 on every architecture that Linux runs on today.
const TICK_NS: u64 = 10_000_000;

/// What the processors did since the system started, or why nobody knows.
pub fn busy() -> Result<Busy, String> {
    read("/proc/stat").and_then(|text| parse(&text).ok_or("/proc/stat: not as known".into()))
}

/// Tasks that ran or wanted to, averaged over a minute.
pub fn average() -> Option<f64> {
    read("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Totals of the pressure on the processors, or why nobody knows.
pub fn pressure() -> Result<Pressure, String> {
    let text = read("/proc/pressure/cpu")?;
    Ok(Pressure { some_ns: total_ns(&text, "some"), full_ns: total_ns(&text, "full") })
}

/// Where control groups are mounted. Who enters a network namespace by `ip netns exec` has a fresh /sys without them: then as the process
/// sees them that started this one, or the first of all, where this one may look.
fn mounts() -> impl Iterator<Item = String> {
    let seen_by = [std::os::unix::process::parent_id(), 1].map(|process| format!("/proc/{process}/root"));
    std::iter::once(String::new()).chain(seen_by).map(|root| root + "/sys/fs/cgroup")
}

/// How long the control group of this process was held back by its quota: version 2 counts microseconds, version 1
/// nanoseconds.
pub fn throttled_ns() -> Option<u64> {
    let groups = read("/proc/self/cgroup").ok()?;
    let path = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let (second, first) =
        (path(&|controllers| controllers.is_empty()), path(&|all| all.split(',').any(|c| c == "cpu")));
    mounts().find_map(|root| {
        let of = |path: String, name| field(&read(&format!("{root}{path}/cpu.stat")).ok()?, name);
        let microseconds = second.as_ref().and_then(|path| of(path.clone(), "throttled_usec"));
        microseconds
            .map(|us| us.saturating_mul(1000))
            .or_else(|| of(format!("/cpu{}", first.as_ref()?), "throttled_time"))
    })
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn parse(stat: &str) -> Option<Busy> {
    let mut lines = stat.lines().map_while(|line| line.strip_prefix("cpu")?.split_once(' '));
    let (_, all) = lines.next().filter(|(number, _)| number.is_empty())?;
    let each = lines.filter_map(|(number, ticks)| Some((number.to_owned(), processor(ticks)?)));
    Some(Busy { all: processor(all)?, each: each.collect() })
}

fn processor(line: &str) -> Option<Processor> {
    // user nice system idle iowait irq softirq steal; what follows is part of user already.
    let ticks = line.split_ascii_whitespace().map_while(|ticks| ticks.parse::<u64>().ok()).take(8);
    let times: Vec<u64> = ticks.map(|ticks| ticks.saturating_mul(TICK_NS)).collect();
    let [_, _, _, idle, iowait, _, softirq, steal] = times[..] else { return None };
    let all_ns = times.iter().fold(0u64, |sum, time| sum.saturating_add(*time));
    Some(Processor { idle_ns: idle.saturating_add(iowait), softirq_ns: softirq, steal_ns: steal, all_ns })
}

fn total_ns(pressure: &str, kind: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with(kind))?;
    line.rsplit_once("total=")?.1.parse::<u64>().ok()?.checked_mul(1000)
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_the_kernel_writes_them() {
        let busy = parse("cpu  190 0 50 805 55 0 7 20 0 0\ncpu0 10 0 5 82 5 0 8 0 0 0\ncpu1 1 2 3\nintr 5\n");
        let busy = busy.unwrap();
        let all = Processor {
            idle_ns: 8_600_000_000,
            softirq_ns: 70_000_000,
            steal_ns: 200_000_000,
            all_ns: 11_270_000_000,
        };
        assert_eq!(busy.all, all);
        assert_eq!(busy.each.len(), 1, "a line that is cut short tells nothing: {busy:?}");
        assert!(parse("cpu 1 2 3\n").is_none() && parse("").is_none());
        let pressure = "some avg10=90.74 avg60=92.57 avg300=58.53 total=295707548\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(total_ns(pressure, "some"), Some(295_707_548_000));
        assert_eq!(total_ns(pressure, "full"), Some(0));
        assert_eq!(total_ns("", "some"), None);
        assert_eq!(field("nr_throttled 3\nthrottled_usec 5\n", "throttled_usec"), Some(5));
    }
}
