//! `pathproof check`: the main job, as a plan.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{
    CommandName, ContendSpec, Direction, ExpectedState, FlowSpec, LossSpec, MigrateSpec, MtuSpec, Plan,
    PortsSpec, ReachSpec, Role, StepSpec, TrafficSpec,
};

use super::account::AccountArgs;
use super::client::ClientArgs;
use super::compare::{Baseline, Files, gate};
use super::run::ClientRun;
use super::values::{ip_mtu, silence};
use crate::input;
use crate::peer::{Peer, ShareName};
use crate::registry::{TRANSPORTS, manners};
use pathproof_sys::clock::RealClock;

/// How it is called.
pub const USAGE: &str = "pathproof check [OPTIONS] <PEER | //SERVER/SHARE | --self>";

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof check --self
  pathproof check stor2 --key-file stor2.key -o stor2.json
  pathproof check stor2 --thorough --criteria strict.toml
  pathproof check stor2 --baseline monday.json --gate 15%
  pathproof check stor2 --expect-state fabric.toml
  pathproof check stor2 --format json | jq '.verdicts[]'
  pathproof check //stor2/vms --user lab --password-file lab.pw

Exit codes: 0 fit, 1 not fit, 2 could not run (bad input, unsupported, refused, unreachable), 3 cannot tell,
130 interrupted by Ctrl-C, 143 by SIGTERM or SIGHUP.";

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// At most 15 seconds.
    #[arg(long, conflicts_with = "thorough")]
    pub quick: bool,
    /// At most 8 minutes, for a sign-off.
    #[arg(long)]
    pub thorough: bool,
    /// How long the longest of the silent connections is left silent before it is used again, up to 5m; 0s leaves silence out. A quick
    /// check has none [default: 8s, with --thorough 5m]. The check takes as much more or less.
    #[arg(long, value_name = "TIME", value_parser = silence, conflicts_with_all = ["quick", "plan"])]
    pub idle_time: Option<Nanoseconds>,
    /// Transport.
    #[arg(long, default_value = DEFAULT_OVER, value_parser = TRANSPORTS)]
    pub over: String,
    /// Goodput that each direction must reach. Without it the rate is held against the link speed, where that is known.
    #[arg(long, value_name = "RATE", value_parser = super::values::expected_rate)]
    pub expect_rate: Option<BitsPerSecond>,
    /// Every path must carry IP packets of so many bytes (68 to 65535).
    #[arg(long, value_name = "BYTES", value_parser = ip_mtu)]
    pub expect_mtu: Option<u32>,
    /// What the path is for; the ports that it needs must pass, both ways where it needs that. Without it every port is reported and none
    /// is judged. Several with commas.
    #[arg(long, value_name = "ROLE", value_enum, value_delimiter = ',')]
    pub role: Vec<RoleName>,
    /// With a share: as whom to log on at its server.
    #[command(flatten)]
    pub account: AccountArgs,
    /// With a share: the server runs pathproof serve as well, here; then what lies below files is measured too.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub agent: Option<Peer>,
    /// Hold the run against an earlier one, a result document; several of them with commas (A,A2). A figure that is worse by more
    /// than the gate and its noise fails.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<Files>,
    /// How much worse a figure may be than in the baseline, in percent (10%, 0.5%).
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = gate, requires = "baseline")]
    pub gate: f64,
    /// Hold both hosts against what this TOML file says of them: NICs, speeds, MTUs, addresses, RDMA devices, DCB. `devices --write-state`
    /// makes it; files of several hosts stand one behind the other.
    #[arg(long, value_name = "FILE")]
    pub expect_state: Option<PathBuf>,
    /// Run the steps of this TOML file instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "thorough", "over", "role"])]
    pub plan: Option<PathBuf>,
}

impl CheckArgs {
    /// The share that is to be checked, where one was named.
    pub fn share(&self) -> Option<&ShareName> {
        self.client.peer.as_ref()?.share.as_ref()
    }

    /// The run that it is held against.
    pub fn against(&self) -> Result<Option<Baseline>> {
        self.baseline.as_ref().map(|files| Baseline::read(files, self.gate)).transpose()
    }

    /// What the hosts are to look like.
    pub fn state(&self) -> Result<Option<ExpectedState>> {
        self.expect_state.as_deref().map(|file| input::read_state(file, "--expect-state")).transpose()
    }

    /// How thorough it is to be.
    pub fn depth(&self) -> Depth {
        match (self.quick, self.thorough) {
            (true, _) => Depth::Quick,
            (_, true) => Depth::Thorough,
            _ => Depth::Usual,
        }
    }
}

/// What a path can be for, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleName {
    /// An SMB client and its server: 445/tcp.
    Smb,
    /// Hyper-V hosts that move guests: 6600/tcp both ways.
    Hyperv,
    /// Nodes of a failover cluster: 445, 3343, 135, 5985/tcp and 3343/udp both ways.
    Cluster,
    /// RoCE v2: 4791/udp both ways, and its marks arrive as they were sent.
    Roce,
    /// Nothing in particular.
    None,
}

impl RoleName {
    fn role(self) -> Option<Role> {
        match self {
            RoleName::Smb => Some(Role::Smb),
            RoleName::Hyperv => Some(Role::Hyperv),
            RoleName::Cluster => Some(Role::Cluster),
            RoleName::Roce => Some(Role::Roce),
            RoleName::None => None,
        }
    }
}

const MS: u64 = 1_000_000;
/// Questions beside a stream: enough for a median in a second, and far too few to be a load.
const PROBES_PER_S: u64 = 100;

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At most 15 seconds.
    Quick,
    /// At most a minute.
    Usual,
    /// At most eight minutes, five of which connections lie silent.
    Thorough,
}

impl Depth {
    /// What a check of this depth takes at most, from its start to its end, whatever the path does.
    pub fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Depth::Quick => 15,
            Depth::Usual => 60,
            Depth::Thorough => 480,
        })
    }

    /// How long the longest of the silent connections is left silent; a quick check has no time for them.
    fn idle_ns(self) -> u64 {
        MS * match self {
            Depth::Quick => 0,
            Depth::Usual => 8000,
            // As long as tables of connections commonly remember one that is silent.
            Depth::Thorough => 300_000,
        }
    }

    /// What the check takes at most where connections are left silent for `idle_ns` instead: all else keeps its time.
    fn budget_with(self, idle_ns: u64) -> Duration {
        let others = self.budget().saturating_sub(Duration::from_nanos(self.idle_ns()));
        others + Duration::from_nanos(idle_ns)
    }
}

/// Runs the command.
pub fn run(args: CheckArgs, clock: &RealClock) -> Result<u8> {
    if args.account.is_given() || args.agent.is_some() {
        bail!("--user, --password-file, --kerberos and --agent are for a share; name one as //SERVER/SHARE");
    }
    let mut client = ClientRun::resolve(&args.client, clock)?;
    client.baseline = args.against()?;
    client.expected_state = args.state()?;
    client.criteria.expect(args.expect_rate.map(|rate| rate.0), args.expect_mtu);
    let depth = args.depth();
    let plan = match &args.plan {
        Some(file) => {
            let text =
                input::read_text(file).with_context(|| format!("cannot read --plan {}", file.display()))?;
            let plan = input::parse_plan(&text).with_context(|| {
                format!("--plan {} is not a plan; see docs/RESULT-FORMAT.md", file.display())
            })?;
            Plan { command: CommandName::Check, ..plan }
        }
        None => {
            // A plan of the user's own takes the time that it asks for.
            let idle_ns = args.idle_time.map_or(depth.idle_ns(), |time| time.0);
            client.budget = Some(depth.budget_with(idle_ns));
            let mut roles: Vec<Role> = vec![];
            for role in args.role.iter().filter_map(|role| role.role()) {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
            plan(depth, &args.over, roles, args.expect_mtu, idle_ns, client.seed)
        }
    };
    client.run(plan)
}

/// The steps of a check.
pub fn plan(
    depth: Depth,
    over: &str,
    roles: Vec<Role>,
    expect_ip_mtu_bytes: Option<u32>,
    idle_ns: u64,
    seed: u64,
) -> Plan {
    // A sign-off tells what migrations take from storage; whether that is judged is a question of the role.
    let shared = depth == Depth::Thorough;
    let (latency_ms, stream_ms, round_trips) = match depth {
        Depth::Quick => (600, 1100, 10),
        Depth::Usual => (3000, 4000, 20),
        Depth::Thorough => (20_000, 10_000, 100),
    };
    let loss_ms = match depth {
        Depth::Quick => 800,
        Depth::Usual => 5000,
        Depth::Thorough => 30_000,
    };
    // A guest as large as the path moves in this time, and at most so large.
    let (migrate_ms, memory_mib) = match depth {
        Depth::Quick => (700, 64u64),
        Depth::Usual => (2000, 256),
        Depth::Thorough => (20_000, 4096),
    };
    let base = TrafficSpec { over: over.into(), ..TrafficSpec::default() };
    let manners = manners(over);
    let several = manners.several_nics;
    // Each NIC runs alone as well.
    let stream_ms = if several && depth == Depth::Thorough { stream_ms * 4 / 5 } else { stream_ms };
    let stream = |direction, lanes| {
        let mut spec = TrafficSpec { direction, lanes, time_ns: stream_ms * MS, ..base.clone() };
        spec.depth = manners.stream_depth;
        if several && lanes == 1 && (direction == Direction::Out || depth != Depth::Quick) {
            spec.singles = true;
        }
        StepSpec::Stream(spec)
    };
    // A stripe is several connections already, and each NIC runs alone as well: there is no time for stripes in parallel then.
    let wide = if several && depth == Depth::Quick { 1 } else { 4 };
    // What a stream in full flow does to the latency of others.
    let probed = |direction| {
        let mut step = stream(direction, wide);
        if let Some(traffic) = step.traffic_mut() {
            traffic.beside.push(FlowSpec::probe(Direction::Out, PROBES_PER_S));
        }
        step
    };
    // Against one lane each way alone: what both directions share is full with that.
    let both = || {
        let mut step = stream(Direction::Both, 1);
        if let Some(traffic) = step.traffic_mut() {
            traffic.time_ns = stream_ms * MS / 2;
            traffic.singles = false;
        }
        step
    };
    let latency = TrafficSpec { size_bytes: 64, time_ns: latency_ms * MS, ..base.clone() };
    let mut steps = vec![
        StepSpec::Facts,
        StepSpec::Reach(ReachSpec { count: round_trips }),
        StepSpec::Ports(PortsSpec { roles, idle_ns, ..PortsSpec::default() }),
        // Before anything bulky: a path that loses large packets makes every later figure meaningless.
        StepSpec::Mtu(MtuSpec { expect_ip_mtu_bytes, ..MtuSpec::default() }),
        StepSpec::Pingpong(latency),
    ];
    if wide > 1 {
        steps.extend([stream(Direction::Out, 1), stream(Direction::In, 1)]);
    }
    steps.extend([probed(Direction::Out), probed(Direction::In)]);
    if depth != Depth::Quick {
        steps.push(both());
    }
    steps.extend([
        // After the streams: its pace is a small part of what they found.
        StepSpec::Loss(LossSpec { time_ns: loss_ms * MS, ..LossSpec::default() }),
        StepSpec::Migrate(MigrateSpec {
            over: over.into(),
            memory_bytes: memory_mib << 20,
            budget_ns: Some(migrate_ms * MS),
            seed,
            ..MigrateSpec::default()
        }),
    ]);
    if shared {
        steps.push(StepSpec::Contend(ContendSpec { over: over.into(), ..ContendSpec::default() }));
    }
    Plan { command: CommandName::Check, seed, nodes: vec![], steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps;
    use pathproof_model::NodeSpec;

    #[test]
    fn what_a_sign_off_makes_where_all_is_well_fits_into_its_time_with_contention() {
        /// For what follows the last step, and for what is not quite well.
        const SPARE: Duration = Duration::from_secs(7);
        let peer = NodeSpec::Agent { host: "b".into(), port: 7797 };
        let need = |spec: &StepSpec| {
            let play = steps::play(spec, Some(&peer)).expect("a step of a check");
            play.kind().need_ns(spec) + steps::one_by_one_ns(spec, 2)
        };
        for over in TRANSPORTS {
            let depth = Depth::Thorough;
            let plan = plan(depth, over, vec![], None, depth.idle_ns(), 1);
            let needed = Duration::from_nanos(plan.steps.iter().map(need).sum());
            assert!(needed + SPARE < depth.budget(), "over {over}: {needed:?}");
            assert!(matches!(plan.steps.last(), Some(StepSpec::Contend(_))));
        }
        // Shorter ones have no time for it.
        for depth in [Depth::Quick, Depth::Usual] {
            let steps = plan(depth, DEFAULT_OVER, vec![Role::Cluster], None, depth.idle_ns(), 1).steps;
            assert!(!steps.iter().any(|spec| matches!(spec, StepSpec::Contend(_))));
        }
    }

    #[test]
    fn a_sign_off_leaves_connections_silent_for_five_minutes_and_whoever_asks_for_less_has_a_shorter_check() {
        let idle_ns = |depth: Depth, idle_ns| {
            let steps = plan(depth, DEFAULT_OVER, vec![], None, idle_ns, 1).steps;
            steps.iter().find_map(StepSpec::ports).map(|ports| ports.idle_ns)
        };
        let thorough = Depth::Thorough;
        assert_eq!(idle_ns(thorough, thorough.idle_ns()), Some(300_000 * MS));
        assert_eq!(idle_ns(thorough, 5000 * MS), Some(5000 * MS));
        for (depth, own_s) in [(Depth::Quick, 15), (Depth::Usual, 60), (Depth::Thorough, 480)] {
            assert_eq!(depth.budget_with(depth.idle_ns()), Duration::from_secs(own_s));
        }
        assert_eq!(thorough.budget_with(5000 * MS), Duration::from_secs(185));
        assert_eq!(Depth::Usual.budget_with(0), Duration::from_secs(52));
        assert_eq!(Depth::Usual.budget_with(300_000 * MS), Duration::from_secs(352));
    }
}
