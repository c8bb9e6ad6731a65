//! From a specification to a connected stripe: one inner lane for each path, connected side by side.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Clock, Framing, Lane, LaneSpec, Offer, Pages, PreparedLane, ReceiveMode, Region, RegionId, Role,
    SendMode, SendReports, SentMemory, Transport, TransportError,
};

use crate::frame::{HEAD_BYTES, WINDOW_MAX};
use crate::lane::{Made, StripedLane};
use crate::path::{Ids, control_bytes};
use crate::plan::StripePlan;
use crate::rejoin::Maker;
use crate::secret::derived;

pub(crate) fn prepare(
    inner: &Arc<dyn Transport>,
    clock: &Arc<dyn Clock>,
    role: Role,
    spec: &LaneSpec,
) -> Result<Box<dyn PreparedLane>, TransportError> {
    let mut spec = spec.clone();
    let plan = StripePlan::take(&mut spec)?;
    if let [only] = plan.paths.as_slice() {
        if role == Role::Dial {
            (spec.local, spec.device) = (only.local.or(spec.local), only.device.clone().or(spec.device));
            spec.remote = only.remote.or(spec.remote);
        }
        return inner.prepare(role, &spec);
    }
    check(inner, &spec)?;
    let region = |bytes: u64| {
        Region::new(bytes, Pages::Default).map(Arc::new).map_err(|e| TransportError::Resource {
            operation: "preparing a stripe".into(),
            detail: e.to_string(),
            fix: "ask for a smaller --depth or --size".into(),
        })
    };
    // Mapped, not touched: only messages that come before their receive is posted ever cost memory here. After
    // the slots of the window there is one for each path, for what comes twice.
    let slots = u64::from(spec.depth) + plan.paths.len() as u64;
    let staging = region(slots * u64::from(spec.message_bytes_max.next_multiple_of(64)))?;
    let mut makers = Vec::with_capacity(plan.paths.len());
    for (index, path) in plan.paths.iter().enumerate() {
        let mut own = LaneSpec {
            framing: Framing::Raw,
            depth: (2 * spec.depth + 64).min(inner.probe()?.depth_max),
            message_bytes_max: spec.message_bytes_max.max(HEAD_BYTES),
            // Each message has a head of ours, whose memory is used again when its send has completed.
            sent_memory: SentMemory::Reused,
            ..spec.clone()
        };
        if own.send_reports == SendReports::Late {
            own.send_reports = SendReports::Lazy;
        }
        if role == Role::Dial {
            (own.local, own.device) = (path.local, path.device.clone());
            own.remote = path.remote.or(spec.remote);
        }
        own.token = derived(&own.token, "path", index as u32);
        makers.push(Maker {
            inner: inner.clone(),
            role,
            control: region(control_bytes(spec.depth))?,
            staging: staging.clone(),
            user: vec![],
            spec: own,
        });
    }
    // An acceptor expects its connections from here on: the peer may dial before `connect` is called.
    let lanes = makers.iter().map(|maker| maker.prepare(0)).collect::<Result<_, _>>()?;
    Ok(Box::new(PreparedStripe { plan, spec, clock: clock.clone(), makers, lanes }))
}

fn check(inner: &Arc<dyn Transport>, spec: &LaneSpec) -> Result<(), TransportError> {
    let caps = crate::caps(&inner.probe()?);
    if spec.depth == 0 || spec.depth > caps.depth_max {
        return Err(TransportError::invalid(format!(
            "depth {} is not possible over multi; give 1 to {WINDOW_MAX}",
            spec.depth
        )));
    }
    if spec.message_bytes_max == 0 || spec.message_bytes_max > caps.message_bytes_max {
        return Err(TransportError::invalid(format!(
            "messages of {} bytes are not possible over multi; give 1 to {} bytes",
            spec.message_bytes_max, caps.message_bytes_max
        )));
    }
    if spec.send_mode != SendMode::Copy || spec.receive_mode != ReceiveMode::Copy {
        return Err(TransportError::invalid(
            "a stripe sends and receives with copy: messages are kept until the peer has them",
        ));
    }
    Ok(())
}

struct PreparedStripe {
    plan: StripePlan,
    spec: LaneSpec,
    clock: Arc<dyn Clock>,
    makers: Vec<Maker>,
    lanes: Vec<(Box<dyn PreparedLane>, Ids)>,
}

impl PreparedLane for PreparedStripe {
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError> {
        let attached = self.makers.first().map_or(0, |maker| maker.user.len());
        let id = u16::try_from(attached)
            .map(RegionId)
            .map_err(|_| TransportError::invalid("a stripe takes at most 65536 regions"))?;
        for (maker, (prepared, ids)) in self.makers.iter_mut().zip(&mut self.lanes) {
            ids.user.push(prepared.attach(region, access)?);
            maker.user.push((region.clone(), access));
        }
        Ok(id)
    }

    fn offer(&self) -> Offer {
        // Byte streams offer nothing, and only they fit a stripe today.
        Offer::default()
    }

    fn connect(self: Box<Self>, _peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError> {
        let PreparedStripe { plan, spec, clock, makers, lanes } = *self;
        // A path that does not come up must leave time for the step: it is tried again in the background.
        let within = deadline / 2;
        let made: Vec<Made> = std::thread::scope(|scope| {
            let connecting: Vec<_> = lanes
                .into_iter()
                .map(|(prepared, ids)| {
                    scope.spawn(move || Ok((prepared.connect(&Offer::default(), within)?, ids)))
                })
                .collect();
            let lost = || Err(TransportError::invalid("the thread that connected a path ended early"));
            connecting.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        });
        Ok(Box::new(StripedLane::new(plan, &spec, clock, makers, made)?))
    }
}
