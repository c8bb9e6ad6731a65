//! `pathproof mesh`: this host's part in a mesh of many, and on rank 0 its report.

mod template;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pathproof_engine::channels::Prefix;
use pathproof_engine::mesh::message::PLANES_MAX;
use pathproof_model::mesh::{MeshSettings, Pattern};
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{CommandName, Environment, NodeSpec, Plan, StepSpec, TrafficSpec};

use super::format::MeshFormat;
use super::key::KeyArgs;
use super::values::{expected_rate, ip_mtu};
use crate::document::{self, DocumentFile};
use crate::mesh::place::{Place, Typed};
use crate::mesh::{self, Meeting, Mesh};
use crate::registry::{Registry, TRANSPORTS};
use crate::secure::Access;
use crate::{host, input, precheck, terminal};
use pathproof_sys::clock::RealClock;
use template::Template;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Start it on every host with the same command line; rank and size come from the engine:
  srun -N 8 --kill-on-bad-exit=0 pathproof mesh --key-file ~/mesh.key -o mesh.json
  mpirun -n 8 -N 1 pathproof mesh --rendezvous node1 --key-file ~/mesh.key -o mesh.json
  clush -w node[1-8] -f 8 pathproof mesh --hosts node[1-8] --key-file ~/mesh.key -o mesh.json

Only rank 0 prints a report, writes -o, and ends with an exit code that is a verdict. docs/MESH.md says more.";

/// From so many hosts on rounds are drawn, where nobody says how many.
const SAMPLED_FROM: u32 = 33;
/// Rounds that are drawn then.
const SAMPLED: u32 = 24;

/// `mesh`.
#[derive(Debug, Args)]
pub struct MeshArgs {
    /// This process's rank, from 0 [default: as the engine says].
    #[arg(long, value_name = "R")]
    pub rank: Option<u32>,
    /// Number of ranks [default: as the engine says].
    #[arg(long, value_name = "N")]
    pub size: Option<u32>,
    /// The hosts in the order of their ranks, as node[1-8],other; each finds itself in it, and the first is rank 0.
    #[arg(long, value_name = "LIST")]
    pub hosts: Option<String>,
    /// Where rank 0 is met, HOST[:PORT] or file:PATH on a file system that all share [default: the first host of --hosts or of Slurm].
    #[arg(long, value_name = "PLACE")]
    pub rendezvous: Option<Meeting>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pairs")]
    pub pattern: Vec<PatternArg>,
    /// Rounds of pairs, or all [default: all up to 32 ranks, 24 drawn from there].
    #[arg(long, value_name = "K", value_parser = rounds)]
    pub rounds: Option<Rounds>,
    /// A network that is a plane of its own, as ADDRESS/BITS; may be repeated [default: the one over which rank 0 is met].
    #[arg(long, value_name = "CIDR")]
    pub net: Vec<String>,
    /// File that says what belongs together: a host (or rank) and the name of its group on each line.
    #[arg(long, value_name = "FILE")]
    pub groups: Option<PathBuf>,
    /// Longest that a round may take.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub round_limit: Nanoseconds,
    /// How long the ranks wait for each other at the start.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub wait: Nanoseconds,
    /// Transport of the streams.
    #[arg(long, default_value = DEFAULT_OVER, value_parser = TRANSPORTS)]
    pub over: String,
    /// Lanes of each stream.
    #[arg(long, default_value_t = 4)]
    pub lanes: u32,
    /// Measured window of each stream.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub time: Nanoseconds,
    /// Every direction of every pair must carry so much.
    #[arg(long, value_name = "RATE", value_parser = expected_rate)]
    pub expect_rate: Option<BitsPerSecond>,
    /// Every pair must carry IP packets of so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = ip_mtu)]
    pub expect_mtu: Option<u32>,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the whole document of each single measurement in this folder, on the host that measured.
    #[arg(long, value_name = "DIR")]
    pub details: Option<PathBuf>,
    /// Print a file that starts a mesh of --size hosts, to be looked at and changed, and measure nothing.
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub template: Option<Template>,
    /// The key that all ranks share.
    #[command(flatten)]
    pub key: KeyArgs,
    /// On rank 0: write the document here, again after every round.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// On rank 0: what is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: MeshFormat,
}

/// What a mesh measures, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PatternArg {
    /// Every pair, in rounds of disjoint ones.
    Pairs,
    /// Many to one.
    Incast,
    /// One to many.
    Outcast,
    /// Two halves of the hosts, both ways at once.
    Bisect,
}

/// Rounds as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// All that there are.
    All,
    /// So many.
    Drawn(u32),
}

fn rounds(text: &str) -> Result<Rounds, String> {
    let drawn = || text.parse().ok().filter(|number| *number > 0).map(Rounds::Drawn);
    match text {
        "all" => Ok(Rounds::All),
        _ => drawn().ok_or_else(|| format!("{text} is no number of rounds; give one from 1 on, or all")),
    }
}

/// Runs the command.
pub fn run(args: &MeshArgs, clock: &RealClock) -> Result<u8> {
    if let Some(template) = args.template {
        terminal::print_own(template.text(args.size).as_bytes())?;
        return Ok(0);
    }
    let environment = host::observe().environment;
    let mesh = resolve(args, &environment, clock)?;
    let to_stdout = args.output.as_deref().is_some_and(document::is_stdout);
    let format = if to_stdout { MeshFormat::Json } else { args.format };
    let Some(doc) = mesh.run()? else { return Ok(0) };
    format.print(&doc)?;
    Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN))
}

/// What was typed, with everything checked that can fail before anybody is met.
fn resolve(args: &MeshArgs, environment: &Environment, clock: &RealClock) -> Result<Mesh> {
    let place = place(args, environment)?;
    let meeting = match (&args.rendezvous, &place.first_host) {
        (Some(meeting), _) => meeting.clone(),
        (None, Some(host)) => host.parse().map_err(anyhow::Error::msg)?,
        (None, None) => {
            bail!("nobody says where rank 0 is; give --rendezvous HOST[:PORT] or file:PATH, or --hosts")
        }
    };
    let access = args.key.access()?;
    if matches!(access, Access::Loopback) && !meeting.is_on_this_host() {
        bail!(
            "no key was given; give all ranks the same one, by PATHPROOF_KEY or --key-file FILE. Without a key a mesh is of one host's loopback \
             alone; --no-key on all ranks lifts that"
        );
    }
    let nets: Vec<Prefix> =
        args.net.iter().map(|net| mesh::net(net).map_err(anyhow::Error::msg)).collect::<Result<_>>()?;
    if nets.len() > PLANES_MAX {
        bail!("{} networks; a mesh has at most {PLANES_MAX} planes: give fewer --net", nets.len());
    }
    let mut patterns: Vec<Pattern> = args.pattern.iter().map(|pattern| pattern.meant()).collect();
    patterns.sort();
    patterns.dedup();
    let sampled_rounds = match args.rounds {
        Some(Rounds::All) => None,
        Some(Rounds::Drawn(rounds)) => Some(rounds),
        None => (place.size >= SAMPLED_FROM).then_some(SAMPLED),
    };
    let settings = MeshSettings {
        over: args.over.clone(),
        lanes: args.lanes,
        time_ns: args.time.0,
        patterns,
        sampled_rounds,
        round_limit_ns: args.round_limit.0,
        seed: args.seed,
        expect_bits_per_s: args.expect_rate.map(|rate| rate.0),
        expect_ip_mtu_bytes: args.expect_mtu,
    };
    check(&settings, environment, clock)?;
    let groups = args.groups.as_deref().map(|file| {
        let text =
            input::read_text(file).with_context(|| format!("cannot read --groups {}", file.display()))?;
        groups(&text)
    });
    if let Some(folder) = &args.details {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make --details {}", folder.display()))?;
    }
    let file = match (&args.output, place.rank) {
        (Some(path), 0) => DocumentFile::prepare(path)?,
        _ => None,
    };
    Ok(Mesh {
        access,
        place,
        meeting,
        settings,
        nets,
        net_names: args.net.clone(),
        groups: groups.transpose()?.unwrap_or_default(),
        wait: Duration::from_nanos(args.wait.0),
        details: args.details.clone(),
        file,
        clock: clock.clone(),
    })
}

impl PatternArg {
    fn meant(self) -> Pattern {
        match self {
            PatternArg::Pairs => Pattern::Pairs,
            PatternArg::Incast => Pattern::Incast,
            PatternArg::Outcast => Pattern::Outcast,
            PatternArg::Bisect => Pattern::Bisect,
        }
    }
}

fn place(args: &MeshArgs, environment: &Environment) -> Result<Place> {
    let addresses =
        environment.nics.iter().flat_map(|nic| &nic.addresses).map(|known| known.address.to_string());
    let own: Vec<String> = environment.hostname.clone().into_iter().chain(addresses).collect();
    let typed = Typed { rank: args.rank, size: args.size, hosts: args.hosts.as_deref(), own: &own };
    Place::find(&typed, |name| std::env::var(name).ok())
}

/// Refuses what no rank could measure.
fn check(settings: &MeshSettings, environment: &Environment, clock: &RealClock) -> Result<()> {
    let least = settings.time_ns.saturating_mul(3).saturating_add(6_000_000_000);
    if settings.time_ns == 0 || settings.round_limit_ns < least {
        bail!(
            "--round-limit {} leaves no room for a window of {}; give at least {}",
            Nanoseconds(settings.round_limit_ns),
            Nanoseconds(settings.time_ns),
            Nanoseconds(least)
        );
    }
    let stream = StepSpec::Stream(TrafficSpec {
        over: settings.over.clone(),
        lanes: settings.lanes,
        time_ns: settings.time_ns,
        ..TrafficSpec::default()
    });
    let agent = NodeSpec::Agent { host: "rank".into(), port: 1 };
    let plan = Plan {
        command: CommandName::Mesh,
        seed: settings.seed,
        nodes: vec![NodeSpec::Here, agent],
        steps: vec![stream],
    };
    let registry = Registry::new(clock);
    precheck::check(&plan, &registry, environment)?;
    if let Some(missing) = precheck::missing(&plan, &registry) {
        bail!("{}", missing.message);
    }
    Ok(())
}

/// `NAME GROUP` on each line.
fn groups(text: &str) -> Result<Vec<(String, String)>> {
    let mut groups = Vec::new();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let [name, group] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!(
                "line {} of --groups is not HOST GROUP: {line:?}; write a host and its group in each line, with a blank between them",
                number + 1
            );
        };
        groups.push((name.to_owned(), group.to_owned()));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_rounds_are_read_or_refused() {
        let read = groups("node1 rack1\n\n# spines\n2 rack2 # by rank\n").unwrap();
        assert_eq!(read, [("node1".into(), "rack1".into()), ("2".into(), "rack2".into())]);
        assert!(groups("node1\n").unwrap_err().to_string().contains("line 1"));
        assert_eq!((rounds("all"), rounds("24")), (Ok(Rounds::All), Ok(Rounds::Drawn(24))));
        assert!(rounds("0").is_err() && rounds("some").is_err());
    }
}
