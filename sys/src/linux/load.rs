//! Processors, pressure and quotas, from `/proc` and the control groups.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

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

/// Totals of the pressure on the processors, on memory and on disks, or why nobody knows.
pub fn pressure() -> Result<Pressure, String> {
    pressure_in("/proc/pressure")
}

/// As files of that folder say.
fn pressure_in(folder: &str) -> Result<Pressure, String> {
    let text = read(&format!("{folder}/cpu"))?;
    // A kernel that tells the one and not the others is none that exists; if it does, they are unknown.
    let some_of = |file: &str| total_ns(&read(&format!("{folder}/{file}")).ok()?, "some");
    Ok(Pressure {
        some_ns: total_ns(&text, "some"),
        full_ns: total_ns(&text, "full"),
        memory_some_ns: some_of("memory"),
        io_some_ns: some_of("io"),
    })
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

/// Where the processors are.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// How many processors each governor has the speed of, or why nobody knows.
pub fn governors() -> Result<BTreeMap<String, u64>, String> {
    let mut governors = BTreeMap::new();
    for governor in of_processors(PROCESSORS, "cpufreq/scaling_governor")? {
        *governors.entry(governor).or_default() += 1;
    }
    Ok(governors)
}

/// How often processors were slowed down for their heat since the system started, as all of them count it together (those that share a core or a
/// package count the same), or why nobody knows.
pub fn slowed_by_heat() -> Result<u64, String> {
    sum_of_processors(
        PROCESSORS,
        ["thermal_throttle/core_throttle_count", "thermal_throttle/package_throttle_count"],
    )
}

/// The sum of several files of all processors; unknown where one says no number.
fn sum_of_processors<const N: usize>(folder: &str, files: [&str; N]) -> Result<u64, String> {
    let mut sum = 0u64;
    for file in files {
        for text in of_processors(folder, file)? {
            let count: u64 = text.parse().map_err(|_| format!("{folder}/…/{file}: no number"))?;
            sum = sum.saturating_add(count);
        }
    }
    Ok(sum)
}

/// What a file of each processor says that has it; where none has, why not.
fn of_processors(folder: &str, file: &str) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let number = |name: &str| name.strip_prefix("cpu")?.parse::<u32>().ok();
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    // Most virtual machines have none of these files; the same short reason for all of them.
    let (mut told, mut why) = (Vec::new(), "the processors of this system do not tell it".to_owned());
    for number in numbers {
        let path = format!("{folder}/cpu{number}/{file}");
        match fs::read_to_string(&path) {
            Ok(text) => told.push(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => why = format!("{path}: {error}"),
        }
    }
    if told.is_empty() { Err(why) } else { Ok(told) }
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
    fn what_processors_tell_is_added_up_and_what_none_tells_has_a_reason() {
        let folder = std::env::temp_dir().join(format!("pathproof-processors-{}", std::process::id()));
        let write = |processor: &str, file: &str, text: &str| {
            fs::create_dir_all(folder.join(processor)).unwrap();
            fs::write(folder.join(processor).join(file), text).unwrap();
        };
        write("cpu0", "slowed", "3\n");
        write("cpu11", "slowed", "4\n");
        write("cpu2", "odd", "x\n");
        // That is no processor.
        write("cpufreq", "slowed", "100\n");
        let of = folder.to_str().unwrap();
        assert_eq!(of_processors(of, "slowed"), Ok(vec!["3".to_owned(), "4".to_owned()]));
        assert_eq!(sum_of_processors(of, ["slowed", "slowed"]), Ok(14));
        assert!(sum_of_processors(of, ["slowed", "odd"]).unwrap_err().contains("no number"));
        assert!(sum_of_processors(of, ["none"]).unwrap_err().contains("do not tell it"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(of_processors(of, "slowed").is_err());
    }

    #[test]
    fn pressure_on_memory_and_disks_is_told_apart_and_unknown_where_no_file_tells_it() {
        let folder = std::env::temp_dir().join(format!("pathproof-pressure-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let of = folder.to_str().unwrap();
        assert!(pressure_in(of).unwrap_err().contains("/cpu: "));
        let write = |file: &str, total: u64| {
            let line = |kind| format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
            fs::write(folder.join(file), line("some") + &line("full")).unwrap();
        };
        write("cpu", 3);
        write("memory", 5);
        let known = Pressure {
            some_ns: Some(3000),
            full_ns: Some(3000),
            memory_some_ns: Some(5000),
            io_some_ns: None,
        };
        assert_eq!(pressure_in(of), Ok(known));
        write("io", 0);
        assert_eq!(pressure_in(of), Ok(Pressure { io_some_ns: Some(0), ..known }));
        fs::remove_dir_all(&folder).unwrap();
    }

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
