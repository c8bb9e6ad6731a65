//! `pathproof contend`: storage, migrations and heartbeats on one path, alone and together.

use anyhow::{Result, bail, ensure};
use clap::Args;
use pathproof_model::contend::{Caps, ClassSpans, ClassWays, MarkKind, Marks};
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{CommandName, ContendSpec, Direction, Plan, StepSpec};

use super::client::ClientArgs;
use super::run::ClientRun;
use crate::registry::{TRANSPORTS, manners};
use pathproof_sys::clock::RealClock;

/// Most steps of a kind that are tried one after another: each takes its time.
const RUNS_MAX: usize = 8;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof contend hv2                          does a migration starve storage on this path?
  pathproof contend hv2 --cap migration=500MB    and with that cap?
  pathproof contend hv2 --backups 1 --cap default=100MB --cap live-migration=500MB,burst=1MiB
  pathproof contend hv2 --backups 1 --time 10s --span backup=2s..8s    and when a backup starts meanwhile?
  pathproof contend hv2 --migrations 1,2,4       how many at once?
  pathproof contend hv2 --over multi --cap migration=500MB --lose eth1    and when a NIC dies?
  pathproof contend hv2 --over multi --nic storage=eth0 --nic migration=eth1    and over NICs of their own?
  pathproof contend hv2 --over multi,storage=smbd    storage over SMB Direct, migrations over TCP?
  pathproof contend hv2 --storage 4Gbit/s --migrations 2 --memory 64GiB
  pathproof contend hv2 --storage 20Gbit/s --share storage=50    is what switches reserve kept?";

/// `contend`.
#[derive(Debug, Args)]
pub struct ContendArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Transport of all classes (tcp, multi, rdma or smbd), and as CLASS=TRANSPORT with storage, migration or backup that of one; several behind
    /// commas, as multi,storage=smbd; may be repeated.
    #[arg(long, value_name = "TRANSPORT|CLASS=TRANSPORT", value_delimiter = ',', default_value = DEFAULT_OVER)]
    pub over: Vec<String>,
    /// A NIC of this host that a class goes over, as CLASS=NIC with storage, migration or backup, several as CLASS=NIC+NIC; over multi, which over
    /// one NIC is plain TCP; may be repeated.
    #[arg(long = "nic", value_name = "CLASS=NIC")]
    pub nics: Vec<String>,
    /// Length of each of the four phases: idle, storage alone, both, migration alone.
    #[arg(long, default_value = "4s")]
    pub time: Nanoseconds,
    /// When a class begins and ends in each phase that it runs in, as CLASS=START..END with storage, migration or backup, and times since the start
    /// of the phase, which --time is the length of; either may be left out (backup=2s..); may be repeated.
    #[arg(long = "span", value_name = "CLASS=START..END")]
    pub spans: Vec<String>,
    /// What storage asks for, as a payload rate [default: 35 % of what the path carries].
    #[arg(long, value_name = "RATE")]
    pub storage: Option<BitsPerSecond>,
    /// Size of a storage request.
    #[arg(long, default_value = "16KiB")]
    pub size: Bytes,
    /// Migrations at once, a connection each; several numbers, as 1,2,4, are tried one after another, and the best is reported.
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', default_value = "1")]
    pub migrations: Vec<u32>,
    /// Tries it once more without this NIC of this host, as after its failure: what is asked for and every cap stay, and the other NICs carry
    /// it. Its link is down meanwhile, and up again whatever happens, where this user may do that (root) and the run's own connection does not go
    /// over it; else it is left out only. Needs --over multi, and may be repeated.
    #[arg(long = "lose", value_name = "NIC")]
    pub lost: Vec<String>,
    /// Backups that run whenever migrations do, a connection each.
    #[arg(long, default_value_t = 0)]
    pub backups: u32,
    /// Memory of the guest whose migration is assumed.
    #[arg(long, default_value = "16GiB")]
    pub memory: Bytes,
    /// Guests of the host that is emptied, each with that memory.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub guests: u32,
    /// What a class may send at most, as CLASS=BYTES with storage, migration or backup (or Windows' virtual-machine, live-migration or
    /// default, which are these), and bytes per second as PowerShell writes them (500MB is 500 MiB); with what it may catch up with at once, as
    /// migration=500MB,burst=1MiB [default: as much as the cap lets through in 10 ms]; may be repeated.
    #[arg(long = "cap", value_name = "CLASS=BYTES[,burst=BYTES]")]
    pub caps: Vec<String>,
    /// What a class is marked with, as CLASS=DSCP with heartbeat, storage, migration or backup, and a code point of 0 to 63; may be repeated.
    #[arg(long = "dscp", value_name = "CLASS=DSCP")]
    pub marks: Vec<String>,
    /// The priority of a class's sockets, as CLASS=PRIORITY with heartbeat, storage, migration or backup, and 0 to 7 (7 takes CAP_NET_ADMIN); a VLAN
    /// device puts it into the tag (802.1p) as its egress-qos-map says; may be repeated.
    #[arg(long = "priority", value_name = "CLASS=PRIORITY")]
    pub priorities: Vec<String>,
    /// What hosts and switches reserve for a class (ETS), as CLASS=PERCENT with storage, migration or backup: what it gets beside the
    /// others, each of which has to ask for more (--storage), is held against that, to 5 % of it; may be repeated.
    #[arg(long = "share", value_name = "CLASS=PERCENT")]
    pub shares: Vec<String>,
    /// Migrations come from the peer, and storage is written here.
    #[arg(long)]
    pub from_peer: bool,
    /// Option of the transport, as NAME=VALUE; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", long_help = crate::lane_options::help())]
    pub options: Vec<String>,
}

/// Runs the command.
pub fn run(args: ContendArgs, clock: &RealClock) -> Result<u8> {
    let specs = losses(sweep(resolve(&args)?, &args.migrations)?, &args.lost)?;
    let mut client = ClientRun::resolve(&args.client, clock)?;
    for share in &args.shares {
        client.criteria.contend.reserve(share).map_err(anyhow::Error::msg)?;
    }
    let steps = std::iter::once(StepSpec::Facts).chain(specs.into_iter().map(StepSpec::Contend)).collect();
    let plan = Plan { command: CommandName::Contend, seed: client.seed, nodes: vec![], steps };
    client.run(plan)
}

/// The step that the arguments mean.
fn resolve(args: &ContendArgs) -> Result<ContendSpec> {
    ensure!(args.size.0 > 0, "--size 0 asks for nothing; give a request such as 16KiB");
    let per_request = args.size.0.saturating_mul(8);
    let storage_requests_per_s = args.storage.map(|rate| (rate.0 / per_request).max(u64::from(rate.0 > 0)));
    let caps = args.caps.iter().try_fold(Caps::default(), |caps, text| caps.and(text))?;
    ensure!(
        caps.backup.is_none() || args.backups > 0,
        "--cap of backup (default) caps nothing while no backup runs; add --backups 1"
    );
    let spans = args.spans.iter().try_fold(ClassSpans::default(), |spans, text| spans.and(text));
    let spans = spans.map_err(anyhow::Error::msg)?;
    ensure!(
        args.backups > 0 || spans.backup.is_whole(),
        "no backup runs that could begin or end within a phase; add --backups 1"
    );
    let marks = |kind, typed: &[String]| {
        let all = typed.iter().try_fold(Marks::default(), |marks, text| marks.and(kind, text));
        all.map_err(anyhow::Error::msg)
    };
    let (over, ways) = ways(&args.over, &args.nics)?;
    ensure!(
        args.backups > 0 || ways.backup.is_common(),
        "no backup runs that could go a way of its own; add --backups 1"
    );
    let mut spec = ContendSpec {
        over,
        ways,
        direction: if args.from_peer { Direction::In } else { Direction::Out },
        phase_ns: args.time.0,
        spans,
        storage_bytes: args.size.0,
        storage_requests_per_s,
        migrations: args.migrations.first().copied().unwrap_or_default(),
        backups: args.backups,
        caps,
        dscp: marks(MarkKind::Dscp, &args.marks)?,
        priority: marks(MarkKind::Priority, &args.priorities)?,
        memory_bytes: args.memory.0,
        guests: args.guests,
        ..ContendSpec::default()
    };
    super::add_options(&mut spec.options, &args.options)?;
    Ok(spec)
}

/// The transport of all classes, and where single ones go.
fn ways(overs: &[String], nics: &[String]) -> Result<(String, ClassWays)> {
    let (mut common, mut ways) = (None, ClassWays::default());
    for text in overs {
        let over = text.split_once('=').map_or(text.as_str(), |(_, over)| over);
        ensure!(
            TRANSPORTS.contains(&over),
            "there is no transport {over:?}; --over takes {}, and CLASS=TRANSPORT for one class",
            TRANSPORTS.join(", ")
        );
        if text.contains('=') {
            ways = ways.with_over(text).map_err(anyhow::Error::msg)?;
        } else if common.replace(over.to_owned()).is_some() {
            bail!("--over has two transports for all classes; write CLASS=TRANSPORT for that of one");
        }
    }
    let ways = nics.iter().try_fold(ways, |ways, text| ways.with_nics(text)).map_err(anyhow::Error::msg)?;
    Ok((common.unwrap_or_else(|| DEFAULT_OVER.into()), ways))
}

/// A step more for each NIC that is lost: what each of them is measured against is the first.
fn losses(mut specs: Vec<ContendSpec>, lost: &[String]) -> Result<Vec<ContendSpec>> {
    let Some(whole) = specs.first().filter(|_| !lost.is_empty()).cloned() else { return Ok(specs) };
    ensure!(specs.len() == 1, "--lose tries one number of migrations at once; say one with --migrations");
    ensure!(manners(&whole.over).several_nics, "--lose is about several NICs; add --over multi");
    ensure!(
        lost.len() <= RUNS_MAX,
        "--lose takes at most {RUNS_MAX} NICs, and these are {}; name fewer",
        lost.len()
    );
    specs.extend(lost.iter().map(|nic| ContendSpec { lost_nic: Some(nic.clone()), ..whole.clone() }));
    Ok(specs)
}

/// A step for each number of migrations at once, the least first: what starves storage comes after what does not.
fn sweep(spec: ContendSpec, numbers: &[u32]) -> Result<Vec<ContendSpec>> {
    let numbers: Vec<u32> =
        std::collections::BTreeSet::from_iter(numbers.iter().copied()).into_iter().collect();
    ensure!(
        numbers.len() <= RUNS_MAX,
        "--migrations tries at most {RUNS_MAX} numbers, and these are {}; name fewer",
        numbers.len()
    );
    let sweep = if numbers.len() > 1 { numbers.clone() } else { vec![] };
    let specs = numbers.into_iter().map(|migrations| ContendSpec {
        migrations,
        sweep: sweep.clone(),
        ..spec.clone()
    });
    let specs: Vec<ContendSpec> = specs.collect();
    specs.iter().try_for_each(ContendSpec::check).map_err(anyhow::Error::msg)?;
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_that_of_all_or_of_a_class() {
        let said = |overs: &[&str], nics: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            ways(&owned(overs), &owned(nics)).map_err(|why| why.to_string())
        };
        assert_eq!(said(&["tcp"], &[]), Ok(("tcp".into(), ClassWays::default())));
        let (over, all) = said(&["storage=smbd", "multi"], &["migration=eth1"]).unwrap();
        assert_eq!((over.as_str(), all.storage.over.as_deref()), ("multi", Some("smbd")));
        assert_eq!(all.migration.nics, ["eth1"]);
        assert_eq!(said(&["storage=smbd"], &[]).unwrap().0, DEFAULT_OVER);
        for (overs, nics, says) in [
            (&["tpc"][..], &[][..], "no transport"),
            (&["storage=tpc"], &[], "no transport"),
            (&["tcp", "multi"], &[], "two transports"),
            (&["csv=tcp"], &[], "storage, migration and backup"),
            (&["tcp"], &["storage"], "CLASS=NIC"),
        ] {
            let why = said(overs, nics).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
