//! One end of a simulated lane: a thin face of the network.

use std::sync::Arc;

use pathproof_api::{Completion, Lane, LaneCaps, LaneSample, LaneStats, Op, TransportError, Wait};

use crate::network::{EndId, SimNetwork};

pub(crate) struct SimLane {
    network: Arc<SimNetwork>,
    end: EndId,
    caps: LaneCaps,
}

impl SimLane {
    pub(crate) fn new(network: Arc<SimNetwork>, end: EndId, caps: LaneCaps) -> SimLane {
        SimLane { network, end, caps }
    }
}

impl Lane for SimLane {
    fn caps(&self) -> &LaneCaps {
        &self.caps
    }

    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError> {
        for (accepted, op) in ops.iter().enumerate() {
            let fits = op.len <= self.caps.message_bytes_max && self.caps.can(op.verb);
            let taken = if fits {
                self.network.submit(self.end, op)
            } else {
                Err(TransportError::invalid(format!(
                    "{:?} of {} bytes on a sim lane for at most {}",
                    op.verb, op.len, self.caps.message_bytes_max
                )))
            };
            match taken {
                Ok(true) => {}
                Ok(false) => return Ok(accepted),
                // The wrong one is reported when it comes first; those before it are already ours.
                Err(_) if accepted > 0 => return Ok(accepted),
                Err(e) => return Err(e),
            }
        }
        Ok(ops.len())
    }

    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        let wait = match wait {
            Wait::No => None,
            Wait::AtMost(wait) => Some(wait),
        };
        self.network.poll(self.end, out, wait)
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = self.network.sample(self.end);
    }

    /// Waits in virtual time until what was sent has been placed, as far as the peer has posted receives.
    fn close(self: Box<Self>) -> Result<LaneStats, TransportError> {
        let mut stats = LaneStats {
            send_mode: Some("copy".into()),
            receive_mode: Some("copy".into()),
            ..LaneStats::default()
        };
        self.network.settle(self.end);
        stats.last = self.network.sample(self.end);
        Ok(stats)
    }
}

impl Drop for SimLane {
    fn drop(&mut self) {
        self.network.leave(self.end);
    }
}
