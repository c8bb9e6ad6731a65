//! What is asked of the other end about a flow beside the first one of its step.

use serde::{Deserialize, Deserializer, Serialize};

use super::size;
use crate::{BESIDE_MAX, Direction, FlowSpec, RequestLoad, TrafficKind};

/// See [`FlowSpec`]. What a flow is called and stands for is the client's affair alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRequest {
    /// What its lanes do.
    pub kind: TrafficKind,
    /// Which way, as the client sees it.
    pub direction: Direction,
    /// Lanes per direction.
    pub lanes: u32,
    /// Message size in bytes.
    pub size_bytes: u32,
    /// Reply size in bytes; `None` means as large as the request.
    pub reply_bytes: Option<u32>,
    /// Operations outstanding per lane.
    pub depth: u32,
    /// Payload rate over all lanes in bit/s.
    pub rate_bits_per_s: Option<u64>,
    /// Requests per second over all lanes.
    pub requests_per_s: Option<u64>,
    /// Open or closed loop.
    pub load: RequestLoad,
    /// When it begins, in ns since the start of the window.
    pub start_ns: u64,
    /// How long it is measured, in ns.
    pub time_ns: Option<u64>,
}

/// A list that is no longer than one of this end's own may be.
pub(super) fn few<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FlowRequest>, D::Error> {
    let flows = Vec::<FlowRequest>::deserialize(from)?;
    match flows.len() > BESIDE_MAX {
        true => Err(serde::de::Error::custom(format!(
            "{} flows stand beside the first, and {BESIDE_MAX} is the limit",
            flows.len()
        ))),
        false => Ok(flows),
    }
}

impl FlowRequest {
    pub(super) fn of(spec: &FlowSpec) -> Result<FlowRequest, String> {
        Ok(FlowRequest {
            kind: spec.kind,
            direction: spec.direction,
            lanes: spec.lanes,
            size_bytes: size("message", spec.size_bytes)?,
            reply_bytes: spec.reply_bytes.map(|bytes| size("reply", bytes)).transpose()?,
            depth: spec.depth,
            rate_bits_per_s: spec.rate_bits_per_s,
            requests_per_s: spec.requests_per_s,
            load: spec.load,
            start_ns: spec.start_ns,
            time_ns: spec.time_ns,
        })
    }

    pub(super) fn to_spec(&self) -> FlowSpec {
        FlowSpec {
            kind: self.kind,
            direction: self.direction,
            lanes: self.lanes,
            size_bytes: self.size_bytes.into(),
            reply_bytes: self.reply_bytes.map(Into::into),
            depth: self.depth,
            rate_bits_per_s: self.rate_bits_per_s,
            requests_per_s: self.requests_per_s,
            load: self.load,
            start_ns: self.start_ns,
            time_ns: self.time_ns,
            ..FlowSpec::default()
        }
    }
}
