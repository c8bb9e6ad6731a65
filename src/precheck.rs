//! Everything about a plan that can be refused before the peer is called: names, values, combinations, local NICs.
//!
//! A typing error says nothing about a path, so it must never become a verdict. Plans from a file and plans from the command
//! line go through the same checks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use pathproof_api::manners::DEVICE;
use pathproof_model::units::Bytes;
use pathproof_model::{
    ContendSpec, Environment, ErrorKind, Limits, MigrateSpec, NodeSpec, Plan, RequestLoad, StepError,
    StepRequest, StepSpec, TrafficKind, TrafficSpec,
};
use pathproof_sys::interfaces::set_offload;

use crate::lane_options::{self, CONSTRAIN};
use crate::registry::{Registry, manners, those_that};
use crate::steps::{self, Play};

/// Most operations outstanding on a lane.
const DEPTH_MAX: u32 = 4096;
/// Segment sizes that Linux takes (`TCP_MIN_MSS`, `MAX_TCP_WINDOW`).
const SEGMENT_BYTES: std::ops::RangeInclusive<u32> = 88..=32_767;

/// Refuses what makes no sense in `plan`, in one sentence that names it. `here` is this host.
pub fn check(plan: &Plan, registry: &Registry, here: &Environment) -> Result<()> {
    if plan.steps.is_empty() {
        bail!("the plan has no steps; give it at least one [[steps]]");
    }
    for (number, spec) in plan.steps.iter().enumerate() {
        step(spec, plan.node(spec.node()), registry, here).with_context(|| match plan.steps.len() {
            1 => "this cannot be measured".to_owned(),
            _ => format!("step {} of the plan cannot be made", number + 1),
        })?;
    }
    Ok(())
}

/// Whether the NICs that are to fail can (they are up, and may be taken down by this user), and whether offloads may be turned off where
/// they are to be. Asks the kernel.
pub fn touch(plan: &Plan) -> Result<()> {
    for traffic in plan.steps.iter().filter_map(StepSpec::traffic) {
        if traffic.offload.is_some() {
            set_offload::permitted().map_err(anyhow::Error::msg)?;
        }
        if !traffic.fail.is_empty() {
            crate::guardian::check(&steps::failing_nics(traffic, traffic.time_ns)?)
                .map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}

/// What this host lacks for `plan`, if it lacks something.
pub fn missing(plan: &Plan, registry: &Registry) -> Option<StepError> {
    let transports = plan.steps.iter().flat_map(StepSpec::overs).filter_map(|over| registry.get(over).ok());
    let errors = transports.filter_map(|transport| transport.probe().err());
    errors.map(|error| steps::step_error(&error)).find(|error| error.kind == ErrorKind::Unsupported)
}

fn step(spec: &StepSpec, with: Option<&NodeSpec>, registry: &Registry, here: &Environment) -> Result<()> {
    let play = steps::play(spec, with).map_err(|e| anyhow::anyhow!(e.message))?;
    match spec {
        StepSpec::Facts => {}
        StepSpec::Reach(reach) if reach.count == 0 => {
            bail!("a count of 0 round trips measures nothing; give count = 1 at least")
        }
        StepSpec::Reach(_) => {}
        StepSpec::Mtu(mtu) => {
            steps::check_mtu_spec(mtu).map_err(|e| anyhow::anyhow!(e.message))?;
            mtu.nics.iter().try_for_each(|nic| has_nic(here, nic))?;
        }
        StepSpec::Loss(loss) => steps::check_loss_spec(loss).map_err(|e| anyhow::anyhow!(e.message))?,
        StepSpec::Ports(ports) => steps::check_ports_spec(ports).map_err(|e| anyhow::anyhow!(e.message))?,
        StepSpec::Stream(traffic) | StepSpec::Pingpong(traffic) | StepSpec::Request(traffic) => {
            lanes(&traffic.over, &traffic.options, registry, here)?;
        }
        StepSpec::Migrate(migrate) => {
            lanes(&migrate.over, &migrate.options, registry, here)?;
            self::migrate(migrate)?;
        }
        StepSpec::Smb(smb) => steps::check_smb(smb)?,
        StepSpec::File(file) => steps::check_file(file)?,
        StepSpec::Channels(channels) => steps::check_names(channels, with, here)?,
        StepSpec::Networks(_) => {}
        StepSpec::Contend(contend) => {
            lanes(&contend.over, &contend.options, registry, here)?;
            contend.check().map_err(anyhow::Error::msg)?;
            classes(contend, registry, here)?;
            contend.flows().iter().try_for_each(|flow| self::traffic(flow.kind, &flow.traffic))?;
        }
    }
    if let Some((kind, traffic)) = spec.travels() {
        links(kind, traffic, here)?;
        traffic.check_beside().map_err(anyhow::Error::msg)?;
        for flow in traffic.flows(kind) {
            let checked = self::traffic(flow.kind, &flow.traffic);
            if flow.beside { checked.with_context(|| format!("its flow {:?}", flow.name)) } else { checked }?;
        }
    }
    // What cannot be asked of the peer is refused here rather than there.
    if let Play::Shared(_) = play {
        StepRequest::of(spec).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn has_nic(here: &Environment, name: &str) -> Result<()> {
    if here.nics.iter().any(|nic| nic.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = here.nics.iter().map(|nic| nic.name.as_str()).collect();
    bail!("there is no NIC {name} here; this host has {} (pathproof devices)", names.join(", "))
}

/// The transport, its options, and what they name of this host.
fn lanes(
    over: &str,
    options: &BTreeMap<String, String>,
    registry: &Registry,
    here: &Environment,
) -> Result<()> {
    registry.get(over)?;
    let options = lane_options::read(over, options).map_err(|e| anyhow::anyhow!(e.message))?;
    steps::check_congestion(&options).map_err(|e| anyhow::anyhow!(e.message))?;
    options.given(&CONSTRAIN).unwrap_or_default().iter().try_for_each(|nic| has_nic(here, nic))?;
    if let Some(device) = options.given(&DEVICE) {
        let names: Vec<&str> = here.rdma.iter().map(|device| device.name.as_str()).collect();
        if !names.is_empty() && !names.contains(&device.as_str()) {
            bail!(
                "there is no RDMA device {device} here; this host has {} (pathproof devices)",
                names.join(", ")
            );
        }
    }
    Ok(())
}

/// The classes one by one: where each goes, and how it is marked.
fn classes(spec: &ContendSpec, registry: &Registry, here: &Environment) -> Result<()> {
    for class in spec.carrying() {
        let over = spec.over_of(class);
        lanes(over, &spec.options_of(class), registry, here).with_context(|| class.word())?;
        spec.nics_of(class).iter().try_for_each(|nic| has_nic(here, nic)).with_context(|| class.word())?;
        if spec.priority.of(class).is_some() && !manners(over).segments {
            let sockets = those_that(|m| m.segments);
            bail!(
                "--priority is that of the sockets of {sockets}; over {over} leave it out, and mark with --dscp"
            );
        }
    }
    steps::check_ways(spec).map_err(|e| anyhow::anyhow!(e.message))
}

/// What is to become of the links during a step, and of its NICs one by one.
fn links(kind: TrafficKind, spec: &TrafficSpec, here: &Environment) -> Result<()> {
    // Only a stream goes on without a NIC, and only its goodput can be compared.
    let possible = kind.is_bulk() && manners(&spec.over).several_nics;
    let asked =
        [("--fail", !spec.fail.is_empty()), ("--singles", spec.singles), ("--watch-links", spec.watch_links)];
    if let Some((what, _)) = asked.iter().find(|(_, asked)| *asked && !possible) {
        bail!(
            "{what} is for bench stream --over {}; name that transport, or leave it out",
            those_that(|m| m.several_nics)
        );
    }
    if spec.fail.is_empty() {
        return Ok(());
    }
    steps::failing_nics(spec, u64::MAX)?.iter().try_for_each(|nic| has_nic(here, nic))?;
    if spec.watch_links {
        bail!(
            "--fail and --watch-links exclude each other: either this program takes a link away, or you do"
        );
    }
    Ok(())
}

fn traffic(kind: TrafficKind, spec: &TrafficSpec) -> Result<()> {
    let limits = Limits::default();
    for (what, value) in [("time", spec.time_ns), ("lanes", spec.lanes.into()), ("size", spec.size_bytes)] {
        if value == 0 {
            bail!("a {what} of 0 measures nothing; give more, or leave --{what} out");
        }
    }
    if let Some(expect) = spec.expect {
        expect.check(kind).map_err(anyhow::Error::msg).context("expect")?;
    }
    if spec.lanes > limits.lanes {
        bail!(
            "{} lanes are more than the {} that a step can have; give fewer --lanes",
            spec.lanes,
            limits.lanes
        );
    }
    for size in [Some(spec.size_bytes), spec.reply_bytes].into_iter().flatten() {
        if !(1..=limits.message_bytes).contains(&size) {
            bail!(
                "a message of {size} bytes is not between 1 B and {}; give --size or --reply one such as 64KiB",
                Bytes(limits.message_bytes)
            );
        }
    }
    if !(1..=DEPTH_MAX).contains(&spec.depth) {
        bail!("a depth of {} is not between 1 and {DEPTH_MAX}; give --depth one such as 8", spec.depth);
    }
    let only = |given: bool, what: &str, fits: bool, whose: &str| match given && !fits {
        true => Err(anyhow::anyhow!("{what} is for {whose}; leave it out")),
        false => Ok(()),
    };
    let open = spec.requests_per_s.is_some() || spec.load == RequestLoad::Open;
    only(spec.reply_bytes.is_some(), "a reply size (--reply)", kind.has_replies(), "request")?;
    only(open, "a number of requests per second", kind.has_replies(), "request")?;
    only(spec.rate_bits_per_s.is_some(), "a payload rate", kind.is_bulk(), "stream")?;
    only(spec.verify, "--verify", kind.is_bulk(), "stream")?;
    if spec.rate_bits_per_s == Some(0) || spec.requests_per_s == Some(0) {
        bail!("a rate of 0 sends nothing; leave it out for as fast as it goes");
    }
    if spec.requests_per_s.is_some() != (spec.load == RequestLoad::Open) {
        bail!(
            "an open loop has a number of requests per second, and a closed one has none; give --rate 5000/s, or leave it out"
        );
    }
    if spec.verify && spec.discard {
        bail!("--discard throws away the bytes that --verify is to look at; leave one of them out");
    }
    let manners = manners(&spec.over);
    if spec.discard && !manners.discard_receive {
        let takes = those_that(|m| m.discard_receive);
        bail!("--discard is for --over {takes}; {} places what it receives", spec.over);
    }
    if spec.zero_copy && !manners.zero_copy_send {
        bail!(
            "--zero-copy is not for --over {}, which keeps messages until the peer has them; leave it out",
            spec.over
        );
    }
    if let Some(segment) = spec.max_segment_bytes {
        if !manners.segments {
            bail!("--max-segment is for TCP; over {} use --option path_mtu=BYTES", spec.over);
        }
        if !SEGMENT_BYTES.contains(&segment) {
            let (least, most) = (SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
            bail!(
                "a segment size of {segment} bytes is not between {least} and {most}; give --max-segment one of those"
            );
        }
    }
    steps::check_verb(kind, spec).map_err(|e| anyhow::anyhow!(e.message))
}

fn migrate(spec: &MigrateSpec) -> Result<()> {
    steps::check_migrate(spec)?;
    let lanes = spec.lanes.saturating_mul(spec.parallel.min(spec.guests));
    let most = Limits::default().lanes;
    if lanes > most {
        bail!(
            "{lanes} lanes at once are more than the {most} that a step can have; give fewer --lanes or --parallel"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{MtuSpec, Nic, ReachSpec, Verb};
    use pathproof_sys::clock::RealClock;

    fn refusal(spec: StepSpec) -> Option<String> {
        let here = Environment {
            nics: vec![Nic { name: "eth1".into(), ..Nic::default() }],
            ..Environment::default()
        };
        let plan = Plan { steps: vec![spec], ..Plan::default() };
        check(&plan, &Registry::new(&RealClock::new()), &here).err().map(|error| format!("{error:#}"))
    }

    fn spec(change: impl FnOnce(&mut TrafficSpec)) -> TrafficSpec {
        let mut spec = TrafficSpec::default();
        change(&mut spec);
        spec
    }

    fn option(over: &str, name: &str, value: &str) -> TrafficSpec {
        spec(|s| {
            s.over = over.into();
            s.options.insert(name.into(), value.into());
        })
    }

    fn fails(over: &str, how: &str) -> TrafficSpec {
        spec(|s| (s.over, s.fail) = (over.into(), vec![how.into()]))
    }

    #[test]
    fn what_makes_sense_passes() {
        for good in [
            StepSpec::Facts,
            StepSpec::Reach(ReachSpec::default()),
            StepSpec::Mtu(MtuSpec { nics: vec!["eth1".into()], ..MtuSpec::default() }),
            StepSpec::Stream(TrafficSpec::default()),
            StepSpec::Stream(option("tcp", "congestion", "reno")),
            StepSpec::Stream(option("multi", "constrain", "eth1")),
            StepSpec::Stream(option("multi", "congestion", "reno")),
            StepSpec::Stream(fails("multi", "eth1@1s:2s")),
            StepSpec::Stream(option("rdma", "path_mtu", "1024")),
            StepSpec::Request(spec(|s| s.reply_bytes = Some(1))),
            StepSpec::Pingpong(spec(|s| (s.over, s.verb) = ("rdma".into(), Some(Verb::Write)))),
            StepSpec::Migrate(MigrateSpec { memory_bytes: 1 << 20, ..MigrateSpec::default() }),
        ] {
            assert_eq!(refusal(good.clone()), None, "{good:?}");
        }
    }

    #[test]
    fn a_class_goes_where_this_host_can_send_it() {
        let contend = |change: &dyn Fn(&mut ContendSpec)| {
            let mut spec = ContendSpec::default();
            change(&mut spec);
            refusal(StepSpec::Contend(spec)).unwrap_or_default()
        };
        let on = |spec: &mut ContendSpec, over: &str, nic: &str| {
            spec.ways.migration.over = Some(over.into());
            spec.ways.migration.nics = vec![nic.into()];
        };
        assert_eq!(contend(&|spec| on(spec, "multi", "eth1")), "");
        for (over, nic, says) in [
            ("multi", "eth9", "migration: there is no NIC eth9 here"),
            ("tcp", "eth1", "--over migration=multi"),
            ("pigeon", "eth1", "no transport \"pigeon\""),
        ] {
            let why = contend(&|spec| on(spec, over, nic));
            assert!(why.contains(says), "{why}");
        }
        // Every transport takes a mark; a priority is that of a socket, and the transport is that of the class.
        let with = |over: &'static str, priority: Option<u8>| {
            let change = move |spec: &mut ContendSpec| {
                spec.ways.storage.over = Some(over.into());
                (spec.dscp.storage, spec.priority.storage) = (Some(26), priority);
            };
            contend(&change)
        };
        for over in ["rdma", "smbd"] {
            assert_eq!(with(over, None), "", "{over}: its packets have traffic classes");
            assert!(with(over, Some(3)).contains("--priority is that of the sockets"), "{over}");
        }
        assert_eq!(with("multi", Some(3)), "");
    }

    #[test]
    fn every_name_value_and_combination_is_refused_in_a_sentence() {
        let stream = |change: fn(&mut TrafficSpec)| StepSpec::Stream(spec(change));
        for (bad, says) in [
            (StepSpec::Stream(option("tcp", "foo", "1")), "tcp has no option \"foo\""),
            (StepSpec::Stream(option("tcp", "device", "mlx5_0")), "tcp has no option \"device\""),
            (StepSpec::Stream(option("multi", "share", "half")), "fewest|weighted"),
            (StepSpec::Stream(option("multi", "connections", "99")), "1..16"),
            (StepSpec::Stream(option("multi", "policy", "macos")), "windows|linux"),
            (StepSpec::Stream(option("multi", "constrain", "eth9")), "no NIC eth9 here"),
            (StepSpec::Stream(fails("multi", "eth9@1s")), "no NIC eth9 here"),
            (StepSpec::Stream(fails("multi", "eth1")), "IF@T"),
            (StepSpec::Stream(fails("tcp", "eth1@1s")), "--over multi"),
            (
                StepSpec::Stream(TrafficSpec { watch_links: true, ..fails("multi", "eth1@1s") }),
                "exclude each other",
            ),
            (
                StepSpec::Request(spec(|s| (s.over, s.singles) = ("multi".into(), true))),
                "--singles is for bench stream",
            ),
            (StepSpec::Stream(option("multi", "singles", "yes")), "no option \"singles\""),
            (StepSpec::Stream(option("rdma", "path_mtu", "1500")), "256|512"),
            (StepSpec::Stream(option("rdma", "gid", "first")), "0..255"),
            (StepSpec::Stream(option("pigeon", "speed", "1")), "no transport \"pigeon\""),
            (stream(|s| s.verb = Some(Verb::Write)), "--over rdma"),
            (stream(|s| s.reply_bytes = Some(7)), "--reply"),
            (stream(|s| s.requests_per_s = Some(7)), "requests per second"),
            (stream(|s| s.rate_bits_per_s = Some(0)), "rate of 0"),
            (stream(|s| (s.verify, s.discard) = (true, true)), "--discard"),
            (stream(|s| (s.over, s.zero_copy) = ("multi".into(), true)), "--zero-copy"),
            (stream(|s| s.depth = 0), "depth of 0"),
            (stream(|s| s.lanes = 257), "257 lanes"),
            (stream(|s| s.size_bytes = 1 << 40), "not between 1 B"),
            (stream(|s| s.time_ns = 0), "time of 0"),
            (stream(|s| s.max_segment_bytes = Some(1)), "segment size of 1"),
            (StepSpec::Pingpong(spec(|s| s.reply_bytes = Some(7))), "--reply"),
            (StepSpec::Pingpong(spec(|s| s.verify = true)), "--verify"),
            (StepSpec::Pingpong(spec(|s| s.rate_bits_per_s = Some(7))), "payload rate"),
            (StepSpec::Request(spec(|s| s.rate_bits_per_s = Some(7))), "payload rate"),
            (StepSpec::Request(spec(|s| s.load = RequestLoad::Open)), "open loop"),
            (StepSpec::Reach(ReachSpec { count: 0 }), "0 round trips"),
            (StepSpec::Mtu(MtuSpec { nics: vec!["eth9".into()], ..MtuSpec::default() }), "no NIC eth9"),
            (StepSpec::Mtu(MtuSpec { families: vec![5], ..MtuSpec::default() }), "IPv5"),
            (StepSpec::Migrate(MigrateSpec { over: "ipx".into(), ..MigrateSpec::default() }), "\"ipx\""),
            (
                StepSpec::Migrate(MigrateSpec {
                    options: [("foo".to_owned(), "1".to_owned())].into(),
                    ..MigrateSpec::default()
                }),
                "no option \"foo\"",
            ),
        ] {
            let refused = refusal(bad.clone()).unwrap_or_else(|| panic!("{bad:?} is accepted"));
            assert!(refused.contains(says), "{bad:?} should say {says:?} and says {refused:?}");
        }
        assert!(check(&Plan::default(), &Registry::new(&RealClock::new()), &Environment::default()).is_err());
    }
}
