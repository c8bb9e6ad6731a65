//! Both halves made ready: memory, lanes and what they share exist, and nothing has been connected.

use std::sync::Arc;

use pathproof_api::{Access, Clock, Framing, LaneSpec, Pages, Region, RegionError, Role};
use pathproof_engine::migrate::copy::{DEPTH, MESSAGE_BYTES, check, policy_of};
use pathproof_engine::migrate::{PAGE_BYTES, Pattern, Policy};
use pathproof_model::migrate::Tracker;
use pathproof_model::units::Bytes;
use pathproof_model::{End, ErrorKind, MigrateSpec, StepError};

use super::cost::{disk_bytes, message_bytes, overhead_bytes};
use super::disk::Disk;
use super::lanes::LaneUnconnected;
use super::memory;
use super::spec::{pattern_of, spec_of};
use crate::steps::traffic::{multi, verbs};
use crate::steps::{Setup, step_error};

/// One guest's memory with its lanes, none of them connected yet.
pub struct SlotParts {
    /// The memory, with a staging page behind it.
    pub region: Arc<Region>,
    /// The lanes.
    pub lanes: Vec<LaneUnconnected>,
}

/// One end's half of a migration, ready to run.
pub struct ReadyMigrate {
    /// Which end this is.
    pub end: End,
    /// The step, with its memory settled.
    pub spec: MigrateSpec,
    /// Decides for each guest.
    pub policy: Policy,
    /// Which pages are written.
    pub pattern: Pattern,
    /// Places for guests.
    pub slots: Vec<SlotParts>,
    /// The lane of the disk, where one moves.
    pub disk_lane: Option<LaneUnconnected>,
    /// The disk itself, at the source.
    pub disk: Option<Disk>,
    /// The paths of each lane, over several NICs.
    pub stripe: Option<multi::StripePlan>,
    /// Memory beyond the guests' own.
    pub overhead_bytes: u64,
    /// Time that this took.
    pub prepared_ns: u64,
}

/// Memory of one guest, given what both hosts have free.
pub fn memory_bytes(setup: &Setup<'_>) -> Result<u64, StepError> {
    let session = setup.session;
    let limit = session.limits.memory_bytes.min(session.limits.total_memory_bytes.unwrap_or(u64::MAX));
    let theirs = session.peer_environment.memory_available_bytes.unwrap_or(u64::MAX).min(limit);
    let available = [session.environment.memory_available_bytes, Some(theirs)];
    Ok(spec_of(setup.spec)?.memory_for(available, session.peer.ip() == session.local.ip()))
}

/// Makes this end's half ready.
pub fn prepare(setup: &Setup<'_>) -> Result<ReadyMigrate, StepError> {
    let clock = setup.registry.clock();
    let began = clock.now();
    let mut spec = spec_of(setup.spec)?.clone();
    check(&spec)?;
    spec.memory_bytes = memory_bytes(setup)?;
    let spec = &spec;
    let policy = policy_of(spec)?;
    let options = crate::lane_options::read(&spec.over, &spec.options)?;
    verbs::check_congestion(setup.session.end, &options)?;
    let stripe = multi::plan(&spec.over, &options, setup.session, setup.paths)?;
    // The log of a replay lies at the source; the destination needs no pattern.
    let pattern = match setup.session.end {
        End::Client => pattern_of(spec)?,
        End::Server => Pattern::Uniform,
    };
    let session = setup.session;
    let slots = spec.parallel.min(spec.guests);
    check_memory(setup, spec)?;
    if spec.tracker == Tracker::PagemapScan && session.end == End::Client {
        pathproof_sys::written_pages::WrittenPages::self_test()
            .map_err(|message| StepError::new(ErrorKind::Unsupported, message))?;
    }
    // One for each lane, over each of its paths, and one more for a disk.
    let lanes =
        u64::from(spec.parallel.min(spec.guests)) * u64::from(spec.lanes) + u64::from(spec.disk.is_some());
    crate::descriptors::check(lanes * stripe.as_ref().map_or(1, multi::StripePlan::paths) as u64)?;
    let transport = setup.registry.get(&spec.over).map_err(|e| step_error(&e))?;
    let role = if session.end == End::Client { Role::Dial } else { Role::Accept };
    let resource = |e: RegionError| StepError::new(ErrorKind::Resource, e.to_string());
    let make_lane = |index: u32, guest: Option<&Arc<Region>>| {
        let mut lane_spec = LaneSpec {
            lane: index,
            token: session.token(setup.step, index),
            remote: (session.end == End::Client).then_some(session.peer),
            // The address that the client reached is the one whose RDMA device it means.
            local: (session.end == End::Server && crate::registry::manners(&spec.over).adapter)
                .then(|| session.local.ip()),
            framing: Framing::Framed,
            depth: DEPTH,
            message_bytes_max: message_bytes(spec),
            ..LaneSpec::default()
        };
        match &stripe {
            Some(stripe) => stripe.shape(&mut lane_spec),
            None => lane_spec.options = options.clone(),
        }
        let mut prepared = transport.prepare(role, &lane_spec).map_err(|e| step_error(&e))?;
        let messages = Arc::new(Region::new(MESSAGE_BYTES, Pages::Default).map_err(resource)?);
        let access = if session.end == End::Client { Access::Local } else { Access::RemoteWrite };
        let guest_id = match guest {
            Some(region) => Some(prepared.attach(region, access).map_err(|e| step_error(&e))?),
            None => None,
        };
        let messages_id = prepared.attach(&messages, Access::Local).map_err(|e| step_error(&e))?;
        // A disk travels in messages alone.
        let guest_id = guest_id.unwrap_or(messages_id);
        Ok(LaneUnconnected { index, prepared, guest_id, messages, messages_id })
    };
    let mut parts = vec![];
    for slot in 0..slots {
        let kind = match spec.tracker {
            Tracker::PagemapScan => Pages::Small,
            Tracker::Log => Pages::Default,
        };
        // One page behind the guest's is for staging.
        let region = Arc::new(Region::new(spec.memory_bytes + PAGE_BYTES, kind).map_err(resource)?);
        if kind == Pages::Default {
            region.prefer_huge_pages();
        }
        let lanes = (slot * spec.lanes..(slot + 1) * spec.lanes)
            .map(|index| make_lane(index, Some(&region)))
            .collect::<Result<_, _>>()?;
        parts.push(SlotParts { region, lanes });
    }
    let disk = match (&spec.disk, session.end) {
        (Some(disk), End::Client) => Some(Disk::new(disk, spec.seed)?),
        _ => None,
    };
    let disk_lane = spec.disk.as_ref().map(|_| make_lane(slots * spec.lanes, None)).transpose()?;
    Ok(ReadyMigrate {
        end: session.end,
        spec: spec.clone(),
        policy,
        pattern,
        slots: parts,
        disk_lane,
        disk,
        stripe,
        overhead_bytes: overhead_bytes(spec),
        prepared_ns: clock.now().ns_since(began),
    })
}

/// Refuses a rehearsal for which either host, or what the peer grants, has no room.
fn check_memory(setup: &Setup<'_>, spec: &MigrateSpec) -> Result<(), StepError> {
    let session = setup.session;
    let places = u64::from(spec.parallel.min(spec.guests));
    let needed = spec.memory_bytes.saturating_mul(places).saturating_add(disk_bytes(spec));
    let same_host = session.peer.ip() == session.local.ip();
    memory::check_room(needed, &session.environment, &session.peer_environment, same_host)?;
    let limit = session.limits.memory_bytes;
    if needed <= limit {
        return Ok(());
    }
    Err(StepError::new(
        ErrorKind::Refused,
        format!(
            "the rehearsal needs {} at the peer, whose limit is {}; start it with --limits memory=SIZE or ask for less",
            Bytes(needed),
            Bytes(limit)
        ),
    ))
}
