//! `pathproof migrate --plan`: how long it takes to drain hosts, computed and not run; and what is run on a small scale where a peer is named.

use std::path::Path;

use anyhow::{Context, Result};
use pathproof_engine::migrate::{Drain, StopReason, drain, rehearsal};
use pathproof_model::MigrateSpec;
use pathproof_model::migrate::FleetPlan;
use pathproof_model::units::{Bytes, Nanoseconds};
use serde_json::json;

use crate::{input, terminal};

/// Answers the plan in `file` on standard output, as a table or as JSON.
pub fn answer(file: &Path, as_json: bool) -> Result<()> {
    let drain = drain(&read(file)?)?;
    if as_json { terminal::print_json(&json(&drain)) } else { terminal::print_lines(table(&drain)) }
}

/// The drain of the first host of the plan in `file`, so small that it takes about `time`.
pub fn small_drain(file: &Path, time: Nanoseconds) -> Result<MigrateSpec> {
    Ok(rehearsal(&read(file)?, time.0)?)
}

fn read(file: &Path) -> Result<FleetPlan> {
    let text = input::read_text(file).with_context(|| format!("cannot read --plan {}", file.display()))?;
    input::parse_toml(&text)
        .with_context(|| format!("--plan {} is not a fleet plan; see docs/MEASUREMENT.md", file.display()))
}

fn table(drain: &Drain) -> Vec<String> {
    let mut lines = Vec::new();
    for host in &drain.hosts {
        let worst = host.guests.iter().max_by_key(|g| g.downtime_ns);
        lines.push(format!(
            "{}: {} guests, {} in {}; longest downtime {} ({})",
            host.name,
            host.guests.len(),
            Bytes(host.bytes),
            Nanoseconds(host.drain_ns),
            worst.map_or("none".into(), |g| Nanoseconds(g.downtime_ns).to_string()),
            worst.map_or("", |g| &g.name),
        ));
        for guest in host.guests.iter().filter(|g| !g.reason.is_some_and(StopReason::converged)) {
            lines.push(format!(
                "  {}: {} after {} rounds, downtime {}; move fewer at once or slow it down",
                guest.name,
                guest.reason.map_or("it did not end", StopReason::words),
                guest.rounds,
                Nanoseconds(guest.downtime_ns)
            ));
        }
    }
    lines
}

fn json(drain: &Drain) -> serde_json::Value {
    let hosts: Vec<_> = drain
        .hosts
        .iter()
        .map(|host| {
            let guests: Vec<_> = host
                .guests
                .iter()
                .map(|g| {
                    json!({
                        "name": g.name,
                        "started_ns": g.started_ns,
                        "ended_ns": g.ended_ns,
                        "downtime_ns": g.downtime_ns,
                        "bytes": g.bytes,
                        "rounds": g.rounds,
                        "converged": g.reason.is_some_and(StopReason::converged),
                    })
                })
                .collect();
            json!({ "name": host.name, "drain_ns": host.drain_ns, "bytes": host.bytes, "guests": guests })
        })
        .collect();
    json!({ "hosts": hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_answered_in_both_forms() {
        let dir = tempfile();
        let file = dir.join("fleet.toml");
        std::fs::write(
            &file,
            "[path]\ngoodput = \"18.8Gbit/s\"\n[[host]]\nname = \"hv1\"\n[[host.guest]]\nname = \"vm\"\nmemory = \"8GB\"\ncount = 15\n",
        )
        .unwrap();
        let drain = drain(&read(&file).unwrap()).unwrap();
        let text = table(&drain);
        assert!(text[0].starts_with("hv1: 15 guests") && text[0].contains("51.06 s"), "{text:?}");
        let value = json(&drain);
        assert_eq!(value["hosts"][0]["guests"].as_array().unwrap().len(), 15);
        std::fs::write(&file, "[path]\ngoodput = \"1Gbit/s\"\nspeed = 4\n").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("speed"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn tempfile() -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("pathproof-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
