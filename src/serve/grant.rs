//! What is granted: every request is held against the limits, by what it costs.
//!
//! Pure: numbers in, numbers out. A plan is looked at when the client greets, and each step again when its turn comes,
//! because a turn may ask for a step that no greeting named.

use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{
    Direction, ErrorKind, Grant, Limits, PlanRequest, PortsSpec, StepError, StepRequest, StepSpec,
};

use crate::steps::{self, Cost, Runner};

/// Most steps of a plan.
pub const STEPS_MAX: usize = 1000;
/// Most reasons given for one refusal.
const REASONS_MAX: usize = 8;

/// What is granted of each step, or everything about the plan that cannot be granted even in part.
pub fn plan(request: &PlanRequest, limits: &Limits) -> Result<Vec<Grant>, Vec<String>> {
    let steps = request.steps.len();
    if steps > STEPS_MAX {
        return Err(vec![format!("{steps} steps are planned and {STEPS_MAX} is the limit")]);
    }
    let mut grants = Vec::with_capacity(steps);
    let mut reasons = vec![];
    for (number, request) in request.steps.iter().enumerate() {
        match step(request, limits) {
            Ok(grant) => grants.push(grant),
            Err(why) => reasons.push(format!("step {number} {why}")),
        }
    }
    if reasons.is_empty() {
        return Ok(grants);
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} steps more"));
    }
    Err(reasons)
}

/// What is granted of one step.
fn step(request: &StepRequest, limits: &Limits) -> Result<Grant, String> {
    let (runner, asked) = (steps::asked(request), &request.to_spec());
    let grant = reduction(runner, asked, limits);
    // A reduction to nothing is a refusal, which the cost of the smallest such step explains.
    let granted = grant.apply(asked).map_or_else(|_| asked.clone(), |(granted, _)| granted);
    fits(&runner.cost(&granted, 1), limits)?;
    permitted(asked, limits)?;
    Ok(grant)
}

/// Less of what the limits allow only less of.
fn reduction(runner: &dyn Runner, asked: &StepSpec, limits: &Limits) -> Grant {
    let mut grant = Grant::default();
    match asked {
        StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => {
            // Those of the flows beside the first are granted as they are, or not at all.
            let beside = u32::try_from(t.lanes_beside()).unwrap_or(u32::MAX);
            let room = limits.lanes.saturating_sub(beside);
            let lanes = if t.direction == Direction::Both { room / 2 } else { room };
            grant.lanes = (t.lanes > lanes).then_some(lanes);
            let window_ns = limits.step_ns.saturating_sub(t.warmup_ns.saturating_add(t.cooldown_ns));
            grant.time_ns = (t.time_ns > window_ns).then_some(window_ns);
        }
        StepSpec::Migrate(m) => {
            let places = u64::from(m.parallel.min(m.guests).max(1));
            let disk = u64::from(m.disk.is_some());
            let lanes = u64::from(limits.lanes).saturating_sub(disk) / places;
            grant.lanes = u32::try_from(lanes).ok().filter(|lanes| m.lanes > *lanes);
            let unlimited = m.time_limit_ns.is_none_or(|limit| limit > limits.step_ns);
            grant.time_ns = unlimited.then_some(limits.step_ns);
            grant.memory_bytes = guest_memory(runner, asked, grant, places, limits);
        }
        StepSpec::Loss(loss) => grant.time_ns = (loss.time_ns > limits.step_ns).then_some(limits.step_ns),
        StepSpec::Ports(ports) => {
            // Without silence it is worth something too, and takes what it takes.
            let heard = StepSpec::Ports(PortsSpec { idle_ns: 0, ..ports.clone() });
            let room_ns = limits.step_ns.saturating_sub(runner.cost(&heard, 1).time_ns);
            grant.time_ns = (ports.idle_ns > room_ns).then_some(room_ns);
        }
        StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) => {}
        StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::File(_) => {}
        StepSpec::Networks(_) | StepSpec::Contend(_) => {}
    }
    grant
}

/// What each guest may have where all that it asks for is too much; `None` where that fits, or where nothing would.
/// Whether less is of any use the client knows: how much a rehearsal that scales itself really takes is settled in its turn.
fn guest_memory(
    runner: &dyn Runner,
    asked: &StepSpec,
    grant: Grant,
    places: u64,
    limits: &Limits,
) -> Option<u64> {
    let migrate = asked.migrate()?;
    let cost = runner.cost(&grant.apply(asked).ok()?.0, 1).memory_bytes;
    // A byte less of each guest is at least a byte less of the cost at each place.
    let excess = cost.saturating_sub(most_memory(limits)).div_ceil(places);
    let left = migrate.memory_bytes.saturating_sub(excess) >> 20 << 20;
    (excess > 0 && left > 0).then_some(left)
}

/// Most memory of one step.
fn most_memory(limits: &Limits) -> u64 {
    limits.memory_bytes.min(limits.total_memory_bytes.unwrap_or(u64::MAX))
}

/// Whether a step does to this host only what its own user permits; where it does not, why, to be read after "step N".
pub fn permitted(asked: &StepSpec, limits: &Limits) -> Result<(), String> {
    /// An offload is off for a short stream.
    const OFF_NS_MAX: u64 = 10_000_000_000;
    let Some(traffic) = asked.traffic().filter(|traffic| traffic.offload.is_some()) else { return Ok(()) };
    if !limits.offloads {
        return Err(
            "has an offload of the peer turned off, which its user did not permit; start the peer with \
                    --allow-offloads"
                .into(),
        );
    }
    match traffic.length_ns() > OFF_NS_MAX {
        true => Err(format!(
            "has an offload of the peer turned off for {}, and {} is the most",
            Nanoseconds(traffic.length_ns()),
            Nanoseconds(OFF_NS_MAX)
        )),
        false => Ok(()),
    }
}

/// Whether a step of this cost is within the limits; where it is not, why, to be read after "step N".
pub fn fits(cost: &Cost, limits: &Limits) -> Result<(), String> {
    if cost.message_bytes > limits.message_bytes {
        return Err(format!(
            "has messages of {} bytes and the peer's limit is {}; ask for a smaller --size, or start the peer with a higher \
             --limits size=BYTES",
            cost.message_bytes, limits.message_bytes
        ));
    }
    if cost.lanes > u64::from(limits.lanes) {
        return Err(format!(
            "has {} lanes, both directions together, and the peer's limit is {}; ask for fewer --lanes, or start the peer with a \
             higher --limits lanes=N",
            cost.lanes, limits.lanes
        ));
    }
    if cost.time_ns > limits.step_ns {
        return Err(format!(
            "takes {} with its warm-up and cool-down and the peer's limit is {}; ask for less --time, or start the peer with a higher \
             --limits time=T",
            Nanoseconds(cost.time_ns),
            Nanoseconds(limits.step_ns)
        ));
    }
    let most = most_memory(limits);
    if cost.memory_bytes > most {
        let name = if most == limits.memory_bytes { "memory" } else { "total" };
        return Err(format!(
            "needs {} of memory at the peer and its limit is {}; ask for fewer --lanes, a smaller --depth, --size or --memory, or \
             start the peer with a higher --limits {name}=BYTES",
            Bytes(cost.memory_bytes),
            Bytes(most)
        ));
    }
    Ok(())
}

/// The error of a step that is not granted when its turn comes.
pub fn refused(why: impl std::fmt::Display) -> StepError {
    StepError::new(ErrorKind::Refused, format!("the peer refused: the step {why}"))
}

#[cfg(test)]
mod tests {
    use pathproof_model::migrate::DiskSpec;
    use pathproof_model::{
        End, FlowSpec, MigrateSpec, Offload, OffloadTrial, ReachSpec, StepRequest, TrafficSpec,
    };

    use super::*;

    fn cost(spec: &StepSpec) -> Cost {
        steps::asked(&StepRequest::of(spec).unwrap()).cost(spec, 1)
    }

    fn limits() -> Limits {
        Limits {
            memory_bytes: 64 << 20,
            message_bytes: 1 << 20,
            lanes: 4,
            step_ns: 2_000_000_000,
            ..Limits::default()
        }
    }

    fn granted(spec: StepSpec) -> Result<StepSpec, String> {
        let request = StepRequest::of(&spec).unwrap();
        let grants =
            plan(&PlanRequest { seed: 0, steps: vec![request] }, &limits()).map_err(|r| r.join("; "))?;
        grants[0].apply(&spec).map(|(granted, _)| granted)
    }

    fn stream(change: impl FnOnce(&mut TrafficSpec)) -> StepSpec {
        let mut spec = TrafficSpec { time_ns: 1_000_000_000, ..TrafficSpec::default() };
        change(&mut spec);
        StepSpec::Stream(spec)
    }

    fn migrate(change: impl FnOnce(&mut MigrateSpec)) -> StepSpec {
        let mut spec = MigrateSpec { memory_bytes: 1 << 20, ..MigrateSpec::default() };
        change(&mut spec);
        StepSpec::Migrate(spec)
    }

    #[test]
    fn t13_every_number_of_a_request_is_in_its_cost() {
        assert!(granted(stream(|_| {})).is_ok());
        assert!(granted(migrate(|_| {})).is_ok());
        assert!(granted(StepSpec::Reach(ReachSpec { count: 100 })).is_ok());
        let most = u32::MAX;
        for (what, spec, says) in [
            ("size", stream(|s| s.size_bytes = 1 << 30), "limit is 1048576"),
            ("reply", stream(|s| s.reply_bytes = Some(3 << 30)), "limit is 1048576"),
            ("depth", stream(|s| (s.size_bytes, s.depth) = (1, most)), "of memory"),
            ("verified", stream(|s| (s.size_bytes, s.depth, s.verify) = (1 << 20, 64, true)), "of memory"),
            (
                "overflow",
                stream(|s| (s.size_bytes, s.depth, s.verify) = (1 << 20, 1 << 31, true)),
                "of memory",
            ),
            (
                "stripe",
                stream(|s| (s.over, s.size_bytes, s.depth) = ("multi".into(), 1 << 20, 4096)),
                "of memory",
            ),
            ("huge", stream(|s| (s.lanes, s.depth, s.size_bytes, s.huge_pages) = (4, 64, 1 << 20, true)), ""),
            ("warm-up", stream(|s| (s.warmup_ns, s.cooldown_ns) = (u64::MAX, u64::MAX)), "warm-up"),
            ("chunk", migrate(|m| m.chunk_bytes = 64 << 20), "limit is 1048576"),
            ("guests", migrate(|m| (m.guests, m.parallel) = (most, most)), "lanes"),
        ] {
            match granted(spec) {
                Err(why) => assert!(why.contains(says) && !says.is_empty(), "{what}: {why}"),
                Ok(_) => assert!(says.is_empty(), "{what} was granted"),
            }
        }
    }

    #[test]
    fn t32_an_offload_is_turned_off_for_a_client_only_where_it_is_permitted_and_not_for_long() {
        let trial = OffloadTrial::of(End::Server, Offload::TransmitChecksum);
        let own = OffloadTrial { end: End::Client, ..trial };
        let asked = |trial, time_ns, limits: &Limits| {
            let spec = stream(|s| (s.offload, s.time_ns) = (Some(trial), time_ns));
            let steps = vec![StepRequest::of(&spec).unwrap()];
            plan(&PlanRequest { seed: 0, steps }, limits).map_err(|reasons| reasons.join("; "))
        };
        let long = Limits { step_ns: u64::MAX, ..limits() };
        let open = Limits { offloads: true, ..long.clone() };
        assert!(asked(trial, 1_000_000_000, &limits()).unwrap_err().contains("--allow-offloads"));
        assert!(asked(trial, 1_000_000_000, &open).is_ok());
        assert!(asked(trial, 60_000_000_000, &open).unwrap_err().contains("is the most"));
        let pair = OffloadTrial { with: [Offload::TcpSegmentation].into_iter().collect(), ..trial };
        assert!(asked(pair, 1_000_000_000, &limits()).unwrap_err().contains("--allow-offloads"));
        assert!(asked(pair, 1_000_000_000, &open).is_ok());
        let crossed = StepRequest::of(&stream(|s| s.offload = Some(pair))).unwrap().to_spec();
        assert_eq!(crossed.traffic().unwrap().offload, Some(pair));
        // What the client does to itself it does not even say.
        let said =
            serde_json::to_string(&StepRequest::of(&stream(|s| s.offload = Some(own))).unwrap()).unwrap();
        assert!(asked(own, 60_000_000_000, &long).is_ok() && !said.contains("checksumming"), "{said}");
    }

    #[test]
    fn t13_flows_beside_the_first_count_like_the_first() {
        let beside = |change: fn(&mut FlowSpec)| {
            let mut flow = FlowSpec::default();
            change(&mut flow);
            granted(stream(|s| (s.lanes, s.beside) = (4, vec![flow])))
        };
        let lanes = |granted: Result<StepSpec, String>| granted.map(|spec| spec.traffic().unwrap().lanes);
        assert_eq!(lanes(beside(|_| {})), Ok(3), "one of four lanes is beside");
        assert_eq!(lanes(beside(|f| f.direction = Direction::Both)), Ok(2));
        assert!(beside(|f| f.lanes = u32::MAX).unwrap_err().contains("lanes"));
        assert!(beside(|f| f.size_bytes = 1 << 30).unwrap_err().contains("limit is 1048576"));
        assert!(beside(|f| (f.size_bytes, f.depth) = (1, u32::MAX)).unwrap_err().contains("of memory"));
    }

    #[test]
    fn t13_lanes_and_time_are_reduced_to_what_fits() {
        let both = granted(stream(|s| (s.lanes, s.direction) = (most_lanes(), Direction::Both))).unwrap();
        assert_eq!(both.traffic().unwrap().lanes, 2, "both directions count");
        let long = granted(stream(|s| s.time_ns = u64::MAX)).unwrap();
        assert_eq!(long.traffic().unwrap().time_ns, 1_700_000_000, "warm-up and cool-down count");
        let StepSpec::Migrate(wide) = granted(migrate(|m| m.lanes = 900)).unwrap() else {
            panic!("another kind of step")
        };
        assert_eq!((wide.lanes, wide.time_limit_ns), (4, Some(2_000_000_000)));
    }

    #[test]
    fn t13_connections_are_silent_for_as_long_as_a_step_may_take_and_a_step_without_that_room_is_refused() {
        let of_five_minutes =
            || StepSpec::Ports(PortsSpec { idle_ns: 300_000_000_000, ..PortsSpec::default() });
        let granted = |step_ns| -> Result<(u64, usize), String> {
            let steps = vec![StepRequest::of(&of_five_minutes()).unwrap()];
            let limits = Limits { step_ns, ..Limits::default() };
            let grants = plan(&PlanRequest { seed: 0, steps }, &limits).map_err(|r| r.join("; "))?;
            let (granted, reduced) = grants[0].apply(&of_five_minutes())?;
            assert!(cost(&granted).time_ns <= step_ns);
            Ok((granted.ports().map_or(0, |ports| ports.idle_ns), reduced.len()))
        };
        assert_eq!(granted(Limits::default().step_ns), Ok((300_000_000_000, 0)));
        let (idle_ns, reduced) = granted(120_000_000_000).unwrap();
        assert!((100_000_000_000..120_000_000_000).contains(&idle_ns) && reduced == 1, "{idle_ns}");
        let why = granted(2_000_000_000).unwrap_err();
        assert!(why.contains("--limits time"), "{why}");
    }

    #[test]
    fn t13_the_memory_of_a_migration_is_granted_in_the_greeting_and_looked_at_again_in_its_turn() {
        let guest = |change: fn(&mut MigrateSpec)| {
            granted(migrate(change)).map(|spec| match spec {
                StepSpec::Migrate(m) => m,
                _ => panic!("another kind of step"),
            })
        };
        assert_eq!(guest(|m| m.memory_bytes = 32 << 20).unwrap().memory_bytes, 32 << 20);
        for (places, most) in [(1, 64 << 20), (2, 32 << 20), (4, 16 << 20)] {
            let change =
                |m: &mut MigrateSpec| (m.memory_bytes, m.guests, m.parallel) = (1 << 33, places, places);
            let StepSpec::Migrate(less) = granted(migrate(change)).unwrap() else {
                panic!("another kind of step")
            };
            assert!((1 << 20..most).contains(&less.memory_bytes), "{places}: {}", less.memory_bytes);
            super::fits(&cost(&StepSpec::Migrate(less)), &limits()).unwrap();
        }
        let why = guest(|m| {
            (m.memory_bytes, m.disk) = (u64::MAX, Some(DiskSpec { bytes: 64 << 40, ..DiskSpec::default() }))
        });
        assert!(why.unwrap_err().contains("of memory"), "no guest is small enough for that disk");
        let fits = |change: fn(&mut MigrateSpec)| {
            let StepSpec::Migrate(mut spec) = migrate(change) else { panic!("another kind of step") };
            spec.time_limit_ns = Some(1);
            super::fits(&cost(&StepSpec::Migrate(spec)), &limits())
        };
        let disk = |bytes| Some(DiskSpec { bytes, ..DiskSpec::default() });
        assert_eq!(fits(|m| m.memory_bytes = 32 << 20), Ok(()));
        assert!(fits(|m| m.memory_bytes = 64 << 20).unwrap_err().contains("of memory"));
        assert!(fits(|m| m.memory_bytes = u64::MAX).unwrap_err().contains("of memory"));
        assert!(
            fits(|m| (m.memory_bytes, m.parallel, m.guests) = (20 << 20, 4, 4))
                .unwrap_err()
                .contains("of memory")
        );
        for bytes in [170 << 30, 64 << 40] {
            let StepSpec::Migrate(mut spec) = migrate(|_| {}) else { panic!("another kind of step") };
            (spec.time_limit_ns, spec.disk) = (Some(1), disk(bytes));
            let why = super::fits(&cost(&StepSpec::Migrate(spec)), &limits()).unwrap_err();
            assert!(why.contains("of memory"), "{bytes}: {why}");
        }
    }

    fn most_lanes() -> u32 {
        4_000_000_000
    }

    #[test]
    fn t13_a_plan_of_too_many_steps_is_refused_in_one_sentence() {
        let steps = vec![StepRequest::Facts; 200_000];
        assert_eq!(plan(&PlanRequest { seed: 0, steps }, &limits()).unwrap_err().len(), 1);
        let bad = StepRequest::of(&stream(|s| s.size_bytes = 1 << 30)).unwrap();
        let reasons = plan(&PlanRequest { seed: 0, steps: vec![bad; 900] }, &limits()).unwrap_err();
        assert!(
            reasons.len() <= REASONS_MAX + 1 && reasons.concat().contains("892 steps more"),
            "{reasons:?}"
        );
    }
}
