//! `pathproof migrate`: rehearse a live migration to a peer, answer a fleet plan, or measure a process.

mod fleet;
mod process;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pathproof_model::migrate::{DiskSpec, InjectedFault, PolicyName, Tracker};
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{CommandName, MigrateSpec, Plan, StepSpec};

use super::client::ClientArgs;
use super::format::Format;
use super::run::ClientRun;
use super::values::{percent, words};
use crate::registry::{TRANSPORTS, over_all_nics};
use crate::terminal;
use pathproof_sys::clock::RealClock;

/// `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Transport.
    #[arg(long, default_value = DEFAULT_OVER, value_parser = TRANSPORTS)]
    pub over: String,
    /// Memory of one guest.
    #[arg(long, default_value = "1GiB")]
    pub memory: Bytes,
    /// Rate at which each guest dirties pages, and where: RATE[:PATTERN] with PATTERN one of uniform, hot=SIZE,
    /// zipf=EXPONENT, sequential, replay=FILE (one page number a line).
    #[arg(long, value_name = "RATE[:PATTERN]", default_value = "0")]
    pub dirty: String,
    /// Who decides: qemu, qemu-loop (looks within rounds, as QEMU's code does), hyperv (5 passes), hyperv-2008r2 (10
    /// passes) or xen.
    #[arg(long, default_value = "qemu", value_parser = words(PolicyName::ALL, PolicyName::word))]
    pub policy: PolicyName,
    /// Downtime that the policy aims at [default: 300ms].
    #[arg(long, value_name = "TIME")]
    pub downtime_limit: Option<Nanoseconds>,
    /// Slow the guest down while it dirties too fast (QEMU).
    #[arg(long)]
    pub auto_converge: bool,
    /// Run at the destination after the first pass and move the rest behind (QEMU).
    #[arg(long)]
    pub post_copy: bool,
    /// Lanes for each guest: 1 as Hyper-V does over TCP, more as SMB Multichannel and QEMU's multifd do.
    #[arg(long, default_value_t = 1)]
    pub lanes: u32,
    /// Guests to move.
    #[arg(long, default_value_t = 1)]
    pub guests: u32,
    /// Guests that move at once; the others wait their turn.
    #[arg(long, default_value_t = 1)]
    pub parallel: u32,
    /// Cap on all guests together [default: none; QEMU itself would cap at 128MiB/s].
    #[arg(long, value_name = "RATE")]
    pub bandwidth: Option<BitsPerSecond>,
    /// Share of guest pages that are zero at the start, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = percent)]
    pub zero: u8,
    /// Share of the other guest pages that compress to about a quarter, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = percent)]
    pub compressible: u8,
    /// Hyper-V's performance option: tcpip, compression (LZ4 on the way), or smb (over all NICs unless --over rdma).
    #[arg(long, value_enum, value_name = "OPTION", default_value_t)]
    pub performance: Performance,
    /// Move a made-up disk of this size first, as a shared-nothing migration does.
    #[arg(long, value_name = "SIZE", conflicts_with = "disk_file")]
    pub disk: Option<Bytes>,
    /// Move this disk image or block device first. It is only read.
    #[arg(long, value_name = "FILE")]
    pub disk_file: Option<String>,
    /// Rate at which the guest writes to its disk while it moves; writes to blocks already copied are mirrored.
    #[arg(long, value_name = "RATE")]
    pub disk_writes: Option<BitsPerSecond>,
    /// Largest single write.
    #[arg(long, default_value = "1MiB")]
    pub chunk: Bytes,
    /// How dirty pages are learned: log (the guest says so) or pagemap-scan (the kernel does).
    #[arg(long, default_value = "log", value_parser = words(Tracker::ALL, Tracker::word))]
    pub tracker: Tracker,
    /// Stop the guest after this time, whatever the policy would do.
    #[arg(long, value_name = "TIME")]
    pub time_limit: Option<Nanoseconds>,
    /// Prove that verification works: bit-flip, lost-page or disk-bit-flip. The run must then fail.
    #[arg(long, value_name = "FAULT", value_parser = words(InjectedFault::ALL, InjectedFault::word))]
    pub inject_fault: Option<InjectedFault>,
    /// Option of the transport, as NAME=VALUE; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", long_help = crate::lane_options::help())]
    pub options: Vec<String>,
    /// Measure how fast and where this process writes its memory, and let the guest do the same; without a PEER,
    /// only measure.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Answer a fleet plan instead (TOML): how long does it take to drain these hosts? With a PEER, the drain of its first host is rehearsed on
    /// a small scale and held against that: guests, memory, rate, policy and cap are the plan's.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pid", "disk", "disk_file", "disk_writes"])]
    pub plan: Option<PathBuf>,
    /// How long the rehearsed drain should take by the plan; memory is chosen for it, up to 1 GiB of guests at once.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub drain_time: Nanoseconds,
}

/// Hyper-V's performance options for live migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Performance {
    /// Pages as they are.
    #[default]
    Tcpip,
    /// Pages compressed.
    Compression,
    /// SMB: all NICs, or RDMA.
    Smb,
}

/// Runs the command.
pub fn run(mut args: MigrateArgs, clock: &RealClock) -> Result<u8> {
    let as_json = args.client.shape.format() == Format::Json;
    let alone = args.client.peer.is_none() && !args.client.self_test;
    let drained = match &args.plan {
        Some(file) if alone => {
            fleet::answer(file, as_json)?;
            return Ok(0);
        }
        Some(file) => Some(fleet::small_drain(file, args.drain_time)?),
        None => None,
    };
    if let Some(drained) = &drained {
        (args.policy, args.guests, args.parallel) = (drained.policy, drained.guests, drained.parallel);
    }
    let mut spec = resolve(&args)?;
    if let Some(drained) = drained {
        spec = MigrateSpec {
            memory_bytes: drained.memory_bytes,
            dirty_bytes_per_s: drained.dirty_bytes_per_s,
            pattern: drained.pattern,
            downtime_limit_ns: drained.downtime_limit_ns,
            bandwidth_bytes_per_s: drained.bandwidth_bytes_per_s,
            drain: drained.drain,
            ..spec
        };
        crate::steps::check_migrate(&spec)?;
    }
    if let Some(pid) = args.pid {
        let measured = process::measure(pid, Duration::from_secs(1), clock)?;
        if alone {
            match as_json {
                true => terminal::print_json(&measured)?,
                false => terminal::print_lines(process::words(&measured))?,
            }
            return Ok(0);
        }
        // The rehearsal's guest writes as the process does.
        spec.dirty_bytes_per_s = measured.dirty_bytes_per_s;
        spec.pattern = match measured.working_set_bytes {
            0 => "uniform".into(),
            bytes => format!("hot={}B", bytes.min(spec.memory_bytes)),
        };
        terminal::say_lines(process::words(&measured));
    }
    let client = ClientRun::resolve(&args.client, clock)?;
    let spec = MigrateSpec { seed: client.seed, ..spec };
    let plan = Plan {
        command: CommandName::Migrate,
        seed: client.seed,
        nodes: vec![],
        steps: vec![StepSpec::Migrate(spec)],
    };
    client.run(plan)
}

/// The disk that moves, if one does.
fn disk(args: &MigrateArgs) -> Result<Option<DiskSpec>> {
    let writes_bytes_per_s = args.disk_writes.map_or(0, |r| r.0 / 8);
    let (bytes, file) = match (&args.disk, &args.disk_file) {
        (Some(size), _) => (size.0, None),
        (None, Some(file)) => {
            let (_, bytes) = crate::steps::open_disk(file)?;
            (bytes, Some(file.clone()))
        }
        (None, None) if args.disk_writes.is_some() => {
            bail!("--disk-writes needs a disk to write to; add --disk SIZE or --disk-file FILE")
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(DiskSpec { bytes, file, writes_bytes_per_s }))
}

/// The step that the arguments mean, with every default made explicit.
fn resolve(args: &MigrateArgs) -> Result<MigrateSpec> {
    const PAGE: u64 = 4096;
    if args.memory.0 < PAGE {
        bail!("--memory {} is less than a page of 4 KiB; give a guest such as 1GiB", args.memory);
    }
    for (name, value) in [("--lanes", args.lanes), ("--guests", args.guests), ("--parallel", args.parallel)] {
        if value == 0 {
            bail!("{name} must be at least 1; give more, or leave it out");
        }
    }
    if args.lanes.saturating_mul(args.parallel.min(args.guests)) > 256 {
        bail!(
            "--lanes times --parallel is more than the 256 lanes that a step can have; give fewer of either"
        );
    }
    let (rate, pattern) = args.dirty.split_once(':').unwrap_or((&args.dirty, "uniform"));
    let dirty: BitsPerSecond = rate.parse().context("--dirty")?;
    if args.performance != Performance::Tcpip && !args.policy.is_hyperv() {
        bail!("--performance is Hyper-V's; add --policy hyperv");
    }
    // SMB takes all NICs; RDMA is its other form.
    let over = match args.performance {
        Performance::Smb => over_all_nics(&args.over).into(),
        _ => args.over.clone(),
    };
    let mut spec = MigrateSpec {
        over,
        compress: args.performance == Performance::Compression,
        compressible_percent: args.compressible,
        disk: disk(args)?,
        memory_bytes: args.memory.0.next_multiple_of(PAGE),
        dirty_bytes_per_s: dirty.0 / 8,
        pattern: pattern.into(),
        zero_percent: args.zero,
        policy: args.policy,
        downtime_limit_ns: args.downtime_limit.map(|t| t.0),
        auto_converge: args.auto_converge,
        post_copy: args.post_copy,
        lanes: args.lanes,
        guests: args.guests,
        parallel: args.parallel,
        bandwidth_bytes_per_s: args.bandwidth.map(|b| b.0 / 8),
        chunk_bytes: u32::try_from(args.chunk.0).context("--chunk")?,
        tracker: args.tracker,
        fault: args.inject_fault,
        time_limit_ns: args.time_limit.map(|t| t.0),
        ..MigrateSpec::default()
    };
    super::add_options(&mut spec.options, &args.options)?;
    // Names that cannot be understood are refused here, before the peer is called.
    crate::steps::check_migrate(&spec)?;
    Ok(spec)
}
