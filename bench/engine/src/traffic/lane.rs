//! How one lane of a traffic step comes to its end: by its workload, because the step is over, or because the peer has left,
//! and which of these is how a step ends and which is a fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pathproof_api::{Clock, Lane, Tick, TransportError};
use pathproof_model::TrafficSpec;

use crate::drive::{Driver, Meter, RunError, Turn};
use crate::record::Window;
use crate::workload::Workload;

/// How long after its end a lane is waited for, in ns: what is in flight may still drain.
pub const GRACE_NS: u64 = 2_000_000_000;
/// How much longer than the active end a passive one stays at most, in ns: who sends must not find it gone.
const LINGER_NS: u64 = 500_000_000;

/// The moments of one lane that begins with all others of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneTimes {
    /// What is measured.
    pub window: Window,
    /// When its workload ends by itself.
    pub stop: Tick,
    /// From when on a peer that is gone has left in order.
    pub may_be_left: Tick,
    /// Everything is over, finished or not.
    pub over: Tick,
}

impl LaneTimes {
    /// Of a lane that begins at `begin` in a step that must be over by `until`. `active`: this end decides when the step ends.
    /// `outlived`: the other end stays until this one has left.
    pub fn of(begin: Tick, spec: &TrafficSpec, active: bool, outlived: bool, until: Tick) -> LaneTimes {
        let window = Window::after(begin, spec.warmup_ns, spec.time_ns);
        let finish = window.end.plus_ns(spec.cooldown_ns);
        let linger_ns = if active { 0 } else { LINGER_NS };
        // A run with little time to spare does not spend it on what is still under way.
        let grace_ns = (GRACE_NS + linger_ns).min(until.ns_since(finish) / 8);
        LaneTimes {
            window,
            // The passive end is told when to leave: by the lane, by the last message, or by the control channel.
            stop: if active { finish } else { finish.plus_ns(GRACE_NS + LINGER_NS) },
            // Who is outlived by the passive end never finds it just gone home.
            may_be_left: if active && outlived { Tick(u64::MAX) } else { window.end },
            over: finish.plus_ns(grace_ns),
        }
    }
}

/// What ends a lane beside its workload.
#[derive(Debug)]
pub struct LaneEnds<'a> {
    /// When.
    pub times: LaneTimes,
    /// The step was given up, or is over.
    pub stop: &'a AtomicBool,
    /// The other end has said that it is leaving.
    pub may_be_left: &'a AtomicBool,
    /// The lane was ended from outside, because the step was over or given up.
    pub cut: AtomicBool,
}

/// How a lane ended.
#[derive(Debug)]
pub enum Ended {
    /// As it should.
    Done,
    /// Something could not be sent before everything was over.
    Stuck,
    /// The step was given up.
    Stopped,
    /// The lane or the workload failed.
    Failed(RunError),
}

/// One turn of a lane: what it came to, or how the lane ended.
#[inline]
pub fn turn<W: Workload, C: Clock, M: Meter>(
    driver: &mut Driver<W, C, M>,
    lane: &mut dyn Lane,
    ends: &LaneEnds<'_>,
    wait: Duration,
) -> Result<Turn, Ended> {
    let turned = match driver.turn(lane, wait) {
        Ok(Turn::Done) => return Err(Ended::Done),
        Ok(turned) => turned,
        // A wait that ended in an error was as long as it was: the driver's own tick is that before it.
        Err(failure) => return Err(why(failure, driver.look_at_the_clock(), ends)),
    };
    if ends.stop.load(Ordering::Relaxed) {
        return Err(Ended::Stopped);
    }
    if driver.now() >= ends.times.over {
        return Err(Ended::Stuck);
    }
    Ok(turned)
}

/// Turns a lane to its end, with waits of at most `wait`.
pub fn drive<W: Workload, C: Clock, M: Meter>(
    driver: &mut Driver<W, C, M>,
    lane: &mut dyn Lane,
    ends: &LaneEnds<'_>,
    wait: Duration,
) -> Ended {
    loop {
        if let Err(ended) = turn(driver, lane, ends, wait) {
            return ended;
        }
    }
}

/// What a lane's failure at `now` means for it.
fn why(failure: RunError, now: Tick, ends: &LaneEnds<'_>) -> Ended {
    match failure {
        // What the watcher did to the lane is no fault of the path.
        RunError::Lane(_) if ends.cut.load(Ordering::Acquire) => {
            if ends.stop.load(Ordering::Relaxed) {
                Ended::Stopped
            } else {
                Ended::Stuck
            }
        }
        // The other end has left after this end's window, or as it said it would: that is how a step ends.
        RunError::Lane(TransportError::PeerGone { .. })
            if now >= ends.times.may_be_left || ends.may_be_left.load(Ordering::Relaxed) =>
        {
            Ended::Done
        }
        failure => Ended::Failed(failure),
    }
}
