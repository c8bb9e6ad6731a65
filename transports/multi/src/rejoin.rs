//! Connects dead paths anew in the background, so that the lane's own thread never waits for one.
//!
//! Both ends agree on the generation of a path (see [`FrameKind::Lost`](crate::frame::FrameKind)), and each generation has
//! a token of its own. The dialler tries until it succeeds or the stripe ends; the acceptor expects it as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use pathproof_api::{Access, Lane, LaneSpec, Offer, PreparedLane, Region, Role, Transport, TransportError};

use crate::path::Ids;

/// Pause between attempts to dial.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest wait of one attempt. A dialler that has lost its SYN starts over rather than wait for TCP's backoff.
const ATTEMPT: Duration = Duration::from_millis(800);
/// Longest wait of an acceptor before it looks whether it is still wanted.
const EXPECT: Duration = Duration::from_millis(1000);

/// Everything needed to make one inner lane.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) role: Role,
    pub(crate) control: Arc<Region>,
    pub(crate) staging: Arc<Region>,
    pub(crate) user: Vec<(Arc<Region>, Access)>,
    pub(crate) spec: LaneSpec,
}

impl Maker {
    /// The specification of one generation of the path.
    fn spec(&self, generation: u32) -> LaneSpec {
        let mut spec = self.spec.clone();
        spec.token = crate::secret::derived(&spec.token, "generation", generation);
        spec
    }

    /// Prepares a generation with all regions attached.
    pub(crate) fn prepare(&self, generation: u32) -> Result<(Box<dyn PreparedLane>, Ids), TransportError> {
        let mut prepared = self.inner.prepare(self.role, &self.spec(generation))?;
        let control = prepared.attach(&self.control, Access::Local)?;
        let staging = prepared.attach(&self.staging, Access::Local)?;
        let user = self
            .user
            .iter()
            .map(|(region, access)| prepared.attach(region, *access))
            .collect::<Result<_, _>>()?;
        Ok((prepared, Ids { control, staging, user }))
    }
}

/// A path that lives again.
pub(crate) struct Rejoined {
    pub(crate) path: u16,
    pub(crate) generation: u32,
    pub(crate) lane: Box<dyn Lane>,
    pub(crate) ids: Ids,
}

/// The background of one stripe. Its threads end when it is dropped, each within one attempt.
pub(crate) struct Rejoiner {
    makers: Vec<Maker>,
    /// The generation wanted of each path; `u32::MAX` ends all work.
    wanted: Arc<Vec<AtomicU32>>,
    sender: mpsc::Sender<Rejoined>,
    receiver: mpsc::Receiver<Rejoined>,
}

impl Rejoiner {
    pub(crate) fn new(makers: Vec<Maker>) -> Rejoiner {
        let (sender, receiver) = mpsc::channel();
        let wanted = Arc::new(makers.iter().map(|_| AtomicU32::new(0)).collect());
        Rejoiner { makers, wanted, sender, receiver }
    }

    /// Begins to connect `generation` of `path`, and gives up any older one.
    pub(crate) fn begin(&self, path: u16, generation: u32) {
        let Some(maker) = self.makers.get(usize::from(path)).cloned() else { return };
        let (wanted, sender) = (self.wanted.clone(), self.sender.clone());
        let at = usize::from(path);
        wanted[at].store(generation, Ordering::Relaxed);
        let work = move || {
            while wanted[at].load(Ordering::Relaxed) == generation {
                let wait = if maker.role == Role::Dial { ATTEMPT } else { EXPECT };
                let made = maker.prepare(generation).and_then(|(prepared, ids)| {
                    let lane = prepared.connect(&Offer::default(), wait)?;
                    Ok((lane, ids))
                });
                match made {
                    Ok((lane, ids)) => {
                        // Nobody listens any more when the stripe has ended; the lane is then dropped here.
                        let _ = sender.send(Rejoined { path, generation, lane, ids });
                        return;
                    }
                    Err(error) => tracing::debug!(path, generation, %error, "a dead path is still dead"),
                }
                if maker.role == Role::Dial {
                    std::thread::sleep(PAUSE);
                }
            }
        };
        let spawned = std::thread::Builder::new().name(format!("rejoin {path}")).spawn(work);
        if let Err(error) = spawned {
            tracing::warn!(path, %error, "no thread to reconnect a dead path; it stays dead");
        }
    }

    /// A path that lives again, if there is one.
    pub(crate) fn next(&self) -> Option<Rejoined> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Rejoiner {
    fn drop(&mut self) {
        for path in self.wanted.iter() {
            path.store(u32::MAX, Ordering::Relaxed);
        }
    }
}
