//! What the phases of a step show that somebody should be told. How grave it is, the criteria say.

use pathproof_model::contend::typed;
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{
    Class, ClassFigures, ContendCost, ContendDetail, ContendSpec, Criteria, Finding, PhaseName, Share,
};

/// A cap below this part of the advised one leaves the path idle.
const LOW: f64 = 0.5;
/// A cap that lets migrations have less than this part of the path while storage is silent leaves most of it to nobody.
const USED: f64 = 0.4;
/// Migrations that reach this part of their cap are held by it and by nothing else.
const HELD: f64 = 0.9;
/// From here on Microsoft advises SMB for migrations, below compression.
const COMPRESSED_BELOW_BITS_PER_S: u64 = 10_000_000_000;

/// The findings of a step. Those of a sweep before its last leave what storage lost to that, and where a number of migrations is best,
/// the others need no advice. A step without one of its NICs is held against the one `before`, with all of them.
pub fn findings(spec: &ContendSpec, detail: &ContendDetail, before: Option<&ContendDetail>) -> Vec<Finding> {
    let no_room = no_room(detail);
    let is_over = spec.sweep.last().is_none_or(|last| *last == spec.migrations);
    let judged = is_over && detail.advice.migrations.is_none();
    let starved = if no_room.is_some() || !judged { None } else { starved(spec, detail, before) };
    // What a cap costs is asked where storage can bear it.
    let low = if starved.is_some() { None } else { cap_low(spec, detail).or_else(|| cap_idle(spec, detail)) };
    let all = no_room.into_iter().chain(starved).chain(heartbeats(spec, detail)).chain(low);
    all.chain(super::sweep::finding(spec, detail)).chain(super::marks::findings(detail)).collect()
}

fn rate(class: Option<&ClassFigures>) -> Option<u64> {
    class?.goodput_bits_per_s
}

/// Storage needs all of the path by itself: no cap helps against that.
fn no_room(detail: &ContendDetail) -> Option<Finding> {
    let (path, None) = (detail.advice.path_bits_per_s?, detail.advice.cap_bytes_per_s) else { return None };
    let storage = detail.figures(PhaseName::Storage, Class::Storage)?.goodput_bits_per_s?;
    let evidence = format!(
        "storage alone takes {} and the path carries {}",
        BitsPerSecond(storage),
        BitsPerSecond(path)
    );
    let finding = Finding::new("CONTEND-NO-ROOM", evidence);
    Some(finding.with("storage_bits_per_s", storage).with("path_bits_per_s", path))
}

/// Migrations took more of storage's throughput, or added more to its p99, than they may.
fn starved(spec: &ContendSpec, detail: &ContendDetail, before: Option<&ContendDetail>) -> Option<Finding> {
    let cost = &detail.cost;
    let (less, later) = missed(cost);
    if less.is_none() && later.is_none() {
        return None;
    }
    let of = |phase| rate(detail.figures(phase, Class::Storage)).map(BitsPerSecond);
    let mut told = vec![];
    if let (Some(share), Some(alone), Some(both)) = (less, of(PhaseName::Storage), of(PhaseName::Both)) {
        told.push(format!("storage fell from {alone} to {both}, {:.0} % less", (1.0 - share) * 100.0));
    }
    if let Some(added) = later {
        told.push(format!("its p99 rose by {}", Nanoseconds(added)));
    }
    let beside = |class| rate(detail.figures(PhaseName::Both, class)).map(BitsPerSecond);
    let took = match (beside(Class::Migration), beside(Class::Backup)) {
        (Some(migration), Some(backup)) => format!(" while migrations took {migration} and backups {backup}"),
        (Some(migration), None) => format!(" while migrations took {migration}"),
        (None, _) => String::new(),
    };
    let without = spec.lost_nic.as_ref().map(|nic| format!("without {nic} ")).unwrap_or_default();
    let evidence = format!("{without}{}{took}", told.join(", "));
    // What all NICs together could bear.
    let kept = before.is_some_and(|before| missed(&before.cost) == (None, None));
    // A cap of migrations may be right and holds no backup.
    let is_held = spec.caps.backup.is_some() || detail.advice.backup_cap_bytes_per_s.is_none();
    let code = match (spec.caps.migration, kept, is_held) {
        (Some(_), true, _) => "CONTEND-CAP-NIC-LOST",
        (Some(_), false, true) => "CONTEND-CAP-HIGH",
        (Some(_), false, false) | (None, _, _) => "CONTEND-STORAGE-STARVED",
    };
    let mut finding = Finding::new(code, evidence).with_next(protect(spec, detail));
    if let Some(share) = cost.storage_share {
        finding = finding.with("storage_share", share);
    }
    if let Some(added) = cost.storage_p99_added_ns {
        finding = finding.with("storage_p99_added_ns", added);
    }
    if let Some(cap) = detail.advice.cap_bytes_per_s {
        finding = finding.with("cap_bytes_per_s", cap);
    }
    if let Some(cap) = detail.advice.backup_cap_bytes_per_s {
        finding = finding.with("backup_cap_bytes_per_s", cap);
    }
    Some(finding)
}

/// Which of the built-in limits storage missed: the share that it kept, and what its p99 gained.
fn missed(cost: &ContendCost) -> (Option<f64>, Option<u64>) {
    let limits = Criteria::default().contend;
    (
        cost.storage_share.filter(|share| *share < limits.storage_share_min),
        cost.storage_p99_added_ns.filter(|added| *added > limits.storage_p99_added_max_ns),
    )
}

/// What to do, the figure first; how it came about stands beside the phases. It is said whole on the first screen, so it is short.
fn protect(spec: &ContendSpec, detail: &ContendDetail) -> String {
    let advice = &detail.advice;
    let mut ways = vec![];
    if spec.is_apart() {
        ways.push(
            "Their NICs are not what they share: look at what lies behind both (an uplink, a switch, the peer's NIC), and at the processors of \
             both hosts."
                .to_owned(),
        );
    }
    if let Some(cap) = advice.cap_bytes_per_s {
        let figure = typed(cap);
        ways.push(format!(
            "Cap migrations at {figure}: Set-SmbBandwidthLimit -Category LiveMigration -BytesPerSecond {figure} on every host; --cap migration={figure} shows it \
             here. {}",
            past_smb(cap)
        ));
    }
    if let Some(cap) = advice.backup_cap_bytes_per_s {
        let cap = typed(cap);
        ways.push(format!(
            "Cap what goes beside them as well: Set-SmbBandwidthLimit -Category Default -BytesPerSecond {cap}; --cap default={cap} with the other one \
             shows both."
        ));
    }
    if let Some(percent) = advice.storage_percent {
        ways.push(format!(
            "What else helps: {percent} % of the link reserved for storage (New-NetQosTrafficClass -Algorithm ETS, and the same on the switch; by SMB \
             migrations are of one class with it), or NICs of their own for them."
        ));
    }
    // Whoever tried several knows what fewer come to.
    if spec.migrations > 1 && spec.sweep.is_empty() {
        ways.push(format!(
            "Fewer than {} at once take less at a time (Set-VMHost -MaximumVirtualMachineMigrations).",
            spec.migrations
        ));
    }
    if advice.path_bits_per_s.is_some_and(|path| path < COMPRESSED_BELOW_BITS_PER_S) {
        ways.push("Below 10 Gbit/s compression moves the same guest in fewer bytes (Set-VMHost -VirtualMachineMigrationPerformanceOption Compression).".into());
    }
    ways.join(" ")
}

/// The same cap for migrations that do not go by SMB. They are Hyper-V's default (compression), and what is set for SMB does not hold them.
fn past_smb(cap_bytes_per_s: u64) -> String {
    format!(
        "By TCP or with compression, the default, migrations pass that: New-NetQosPolicy LM -LiveMigration -ThrottleRateActionBitsPerSecond {}.",
        cap_bytes_per_s.saturating_mul(8)
    )
}

/// Heartbeats were lost in a loaded phase, and not as much without load.
fn heartbeats(spec: &ContendSpec, detail: &ContendDetail) -> Option<Finding> {
    let limits = Criteria::default().contend;
    let beats = |phase| -> Option<(Share, u64)> {
        let class = detail.figures(phase, Class::Heartbeat)?;
        Some((Share { part: class.lost?, of: class.sent? }, class.longest_gap_ns?))
    };
    let (idle, _) = beats(PhaseName::Idle)?;
    let loaded = [PhaseName::Storage, PhaseName::Both, PhaseName::Migration];
    let missed =
        loaded.into_iter().filter_map(|phase| Some((phase, beats(phase)?))).find(|(_, (lost, gap_ns))| {
            let worse = lost.bounds().0 > idle.bounds().1;
            (lost.bounds().0 > limits.heartbeat_lost_share_max && worse)
                || *gap_ns >= limits.heartbeat_gap_max_ns
        });
    let (phase, (lost, gap_ns)) = missed?;
    let evidence = format!(
        "{} of {} heartbeats lost in the phase {:?}, none heard for up to {}; idle {} of {}",
        lost.part,
        lost.of,
        phase.words(),
        Nanoseconds(gap_ns),
        idle.part,
        idle.of
    );
    let finding = Finding::new("CONTEND-HEARTBEAT-LOST", evidence)
        .with("phase", phase.words())
        .with("lost", lost.part)
        .with("sent", lost.of)
        .with("longest_gap_ns", gap_ns);
    Some(match detail.advice.cap_bytes_per_s.filter(|_| spec.caps.migration.is_none()) {
        Some(cap) => finding.with_next(format!(
            "Give heartbeats a traffic class of their own (priority 7, 1 or 2 % of the link) and cap migrations: Set-SmbBandwidthLimit \
             -Category LiveMigration -BytesPerSecond {}. {}",
            typed(cap),
            past_smb(cap)
        )),
        None => finding,
    })
}

/// A cap so low that the path idles while somebody waits for a host to drain.
fn cap_low(spec: &ContendSpec, detail: &ContendDetail) -> Option<Finding> {
    let set = spec.caps.migration?;
    let bits = set.saturating_mul(8);
    let possible = detail.advice.cap_bytes_per_s?.saturating_mul(8);
    if bits as f64 >= possible as f64 * LOW {
        return None;
    }
    let evidence = format!(
        "migrations may take {} and the path has room for {} beside storage",
        BitsPerSecond(bits),
        BitsPerSecond(possible)
    );
    Some(
        Finding::new("CONTEND-CAP-LOW", evidence)
            .with("cap_bytes_per_s", set)
            .with("room_bits_per_s", possible),
    )
}

/// A cap that is right beside storage, and leaves most of the path to nobody while storage is silent.
fn cap_idle(spec: &ContendSpec, detail: &ContendDetail) -> Option<Finding> {
    let set = spec.caps.migration?;
    let path = detail.advice.path_bits_per_s?;
    let of = |class| rate(detail.figures(PhaseName::Migration, class));
    let carried = of(Class::Migration)?;
    let backup = of(Class::Backup).filter(|_| super::advice::is_beside_backups(spec));
    let is_held = carried as f64 >= set.saturating_mul(8) as f64 * HELD;
    // What backups carry meanwhile does not lie idle.
    let used = carried.saturating_add(backup.unwrap_or_default());
    if !is_held || used as f64 >= path as f64 * USED {
        return None;
    }
    let backups = backup.map(|rate| format!(" and backups {}", BitsPerSecond(rate))).unwrap_or_default();
    let evidence = format!(
        "while storage is silent migrations carry {}{backups} of the {} that the path has",
        BitsPerSecond(carried),
        BitsPerSecond(path)
    );
    Some(
        Finding::new("CONTEND-CAP-IDLE", evidence).with("cap_bytes_per_s", set).with("path_bits_per_s", path),
    )
}
