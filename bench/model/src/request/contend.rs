//! What is asked of the other end about contention.

use serde::{Deserialize, Serialize};

use super::{LaneOptions, Over, size};
use crate::contend::{Caps, ClassSpans, ClassWay, ClassWays, Marks};
use crate::{Class, ContendSpec, Direction};

/// See [`ContendSpec`]. Which guest is assumed is the client's affair alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContendRequest {
    /// Transport.
    pub over: Over,
    /// Those of the classes, where one of them has a transport or NICs of its own. Then every flow has a list of paths of its own, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ways: Option<WaysRequest>,
    /// Which way the bulk goes, as the client sees it.
    pub direction: Direction,
    /// Length of each phase in ns.
    pub phase_ns: u64,
    /// When classes begin and end within it.
    #[serde(default, skip_serializing_if = "ClassSpans::none")]
    pub spans: ClassSpans,
    /// Lanes of storage.
    pub storage_lanes: u32,
    /// Size of a storage request in bytes.
    pub storage_bytes: u32,
    /// Requests outstanding on each.
    pub storage_depth: u32,
    /// Requests per second over all of them.
    pub storage_requests_per_s: Option<u64>,
    /// Migrations at once.
    pub migrations: u32,
    /// Backups at once.
    pub backups: u32,
    /// Size of their messages in bytes.
    pub bulk_bytes: u32,
    /// Caps by class.
    pub caps: Caps,
    /// Code points by class.
    pub dscp: Marks,
    /// Priorities of sockets by class.
    #[serde(default, skip_serializing_if = "Marks::none")]
    pub priority: Marks,
    /// What only the transport understands.
    pub lane: LaneOptions,
}

/// The transport of each class. Which NICs of the client's they go over is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaysRequest {
    /// Of storage.
    pub storage: Over,
    /// Of migrations.
    pub migration: Over,
    /// Of backups.
    pub backup: Over,
}

impl WaysRequest {
    fn of(spec: &ContendSpec) -> Result<Option<WaysRequest>, String> {
        let named = |class| Over::named(spec.over_of(class));
        let ways = WaysRequest {
            storage: named(Class::Storage)?,
            migration: named(Class::Migration)?,
            backup: named(Class::Backup)?,
        };
        Ok(spec.ways.any().then_some(ways))
    }

    fn to_ways(self) -> ClassWays {
        let way = |over: Over| ClassWay { over: Some(over.name().into()), nics: vec![] };
        ClassWays { storage: way(self.storage), migration: way(self.migration), backup: way(self.backup) }
    }
}

impl ContendRequest {
    pub(super) fn of(spec: &ContendSpec) -> Result<ContendRequest, String> {
        Ok(ContendRequest {
            over: Over::named(&spec.over)?,
            ways: WaysRequest::of(spec)?,
            direction: spec.direction,
            phase_ns: spec.phase_ns,
            spans: spec.spans,
            storage_lanes: spec.storage_lanes,
            storage_bytes: size("request", spec.storage_bytes)?,
            storage_depth: spec.storage_depth,
            storage_requests_per_s: spec.storage_requests_per_s,
            migrations: spec.migrations,
            backups: spec.backups,
            bulk_bytes: size("message", spec.bulk_bytes)?,
            caps: spec.caps,
            dscp: spec.dscp,
            priority: spec.priority,
            lane: LaneOptions::of(&spec.options)?,
        })
    }

    pub(super) fn to_spec(&self) -> ContendSpec {
        ContendSpec {
            over: self.over.name().into(),
            ways: self.ways.map(WaysRequest::to_ways).unwrap_or_default(),
            direction: self.direction,
            phase_ns: self.phase_ns,
            spans: self.spans,
            storage_lanes: self.storage_lanes,
            storage_bytes: self.storage_bytes.into(),
            storage_depth: self.storage_depth,
            storage_requests_per_s: self.storage_requests_per_s,
            migrations: self.migrations,
            backups: self.backups,
            bulk_bytes: self.bulk_bytes.into(),
            caps: self.caps,
            dscp: self.dscp,
            priority: self.priority,
            options: self.lane.to_options(),
            ..ContendSpec::default()
        }
    }
}
