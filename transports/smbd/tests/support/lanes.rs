//! Pairs of lanes over a simulated wire.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::contract::{Connect, Pair};
use pathproof_api::{
    Access, Clock, LaneSpec, Pages, PreparedWire, Region, RegionId, Role, Tick, TransportError, Wait,
    WireSpec, Wires,
};
use pathproof_sim::SimWires;
use pathproof_smbd::lane::offer::Window;
use pathproof_smbd::lane::transport::{caps, told_together};
use pathproof_smbd::lane::{Parts, SmbdLane};
use pathproof_smbd::{Connection, Places, Settings};

use super::{DELAY_NS, MOMENT};

/// Lanes with these settings.
pub struct Simulated {
    settings: Settings,
    /// What the lanes get in the place of the simulation's own wires.
    wrap: fn(Box<dyn PreparedWire>) -> Box<dyn PreparedWire>,
    /// The wires of the pair that was made last.
    wires: Option<SimWires>,
}

impl Simulated {
    pub fn with(settings: Settings) -> Simulated {
        Simulated { settings, wrap: |wire| wire, wires: None }
    }

    /// The virtual time of the pair that was made last.
    pub fn now(&self) -> Tick {
        self.wires.as_ref().map_or(Tick(0), SimWires::now)
    }

    /// The same, over wires that something is put around.
    pub fn over(self, wrap: fn(Box<dyn PreparedWire>) -> Box<dyn PreparedWire>) -> Simulated {
        Simulated { wrap, ..self }
    }
}

impl Connect for Simulated {
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError> {
        let wires = SimWires::new(DELAY_NS);
        self.wires = Some(wires.clone());
        let receives = 128.max(2 * spec.depth);
        let moves = spec.depth + receives;
        let region = || Arc::new(Region::new(region_bytes, Pages::Default).unwrap());
        let mut ends: Vec<_> = [Role::Dial, Role::Accept]
            .into_iter()
            .map(|role| {
                let region = region();
                let prepared = wires
                    .prepare_wire(&WireSpec {
                        role,
                        sends: Places::SENDS as u32 + moves,
                        receives: u32::from(self.settings.receive_credits),
                        told_together: told_together(spec.depth, spec.send_reports),
                        ..WireSpec::default()
                    })
                    .unwrap();
                let mut prepared = (self.wrap)(prepared);
                let exposed = prepared.expose(&region, Access::RemoteReadWrite).unwrap();
                let clock = Arc::new(wires.clone());
                let connection =
                    Connection::start(prepared, role, None, self.settings, clock, MOMENT, moves as usize)
                        .unwrap();
                (connection, region, exposed)
            })
            .collect();
        while ends.iter().any(|(connection, ..)| connection.agreed().is_none()) {
            for (connection, ..) in &mut ends {
                connection.turn(Wait::AtMost(Duration::from_micros(10)))?;
            }
        }
        let windows: Vec<_> =
            ends.iter().map(|(.., exposed)| Window::of(exposed, Access::RemoteReadWrite)).collect();
        let mut lanes =
            ends.into_iter().zip(windows.into_iter().rev()).map(|((connection, region, exposed), window)| {
                let agreed = *connection.agreed().unwrap();
                let memory = vec![(region.clone(), exposed)];
                let depth = spec.depth;
                let (caps, send_reports) = (caps(depth), spec.send_reports);
                let parts = Parts { connection, agreed, memory, window, caps, depth, receives, send_reports };
                (Box::new(SmbdLane::new(parts)), region)
            });
        let ((a, region_a), (b, region_b)) = (lanes.next().unwrap(), lanes.next().unwrap());
        Ok(Pair { a, b, region_a, region_b, id_a: RegionId(0), id_b: RegionId(0) })
    }
}
