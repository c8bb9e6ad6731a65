//! `--watch-links`: somebody pulls a cable while a step runs. Each end hears its own links, the client is told of the
//! server's, says what to do, and ends the step when all is well again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_model::units::Nanoseconds;

use super::multi::Failure;
use crate::clock::RealClock;
use crate::host::{LinkChange, LinkEvents};
use crate::session::Channel;
use crate::steps::End;
use crate::terminal::say;

/// Name of the option that asks for it.
pub const WATCH_LINKS: &str = "watch_links";

/// How long after the last link came back the step goes on, so that its paths can join again and show their rate.
const SETTLE: Duration = Duration::from_secs(3);

/// How soon the listening thread sees that nobody wants its news any more.
const LOOK: Duration = Duration::from_millis(100);

/// A change with its moment on the step's clock and on that of the lanes.
struct Stamped {
    change: LinkChange,
    at: Tick,
    lanes_at: Tick,
}

/// The links of a running step.
pub struct Links {
    end: End,
    nics: Vec<String>,
    heard: mpsc::Receiver<Stamped>,
    over: Arc<AtomicBool>,
    window: Tick,
    failures: Vec<Failure>,
    /// Links that are down at this moment, by end and name.
    down: BTreeSet<(&'static str, String)>,
    last_up: Option<Tick>,
    asked_to_end: bool,
}

impl Links {
    /// Begins to listen for changes of `nics`. The window begins at `window` and is `time_ns` long.
    pub fn watch(
        end: End,
        nics: Vec<String>,
        clock: RealClock,
        lanes_clock: RealClock,
        window: Tick,
        time_ns: u64,
    ) -> Links {
        let (sender, heard) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let listen = move || {
            let mut events = match LinkEvents::subscribe() {
                Ok(events) => events,
                Err(error) => return tracing::warn!(%error, "links cannot be watched"),
            };
            while !until.load(Ordering::Relaxed) {
                let changes = match events.next(LOOK) {
                    Ok(changes) => changes,
                    Err(error) => return tracing::warn!(%error, "links cannot be watched any more"),
                };
                for change in changes {
                    let (at, lanes_at) = (clock.now(), lanes_clock.now());
                    let _ = sender.send(Stamped { change, at, lanes_at });
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("links".into()).spawn(listen) {
            tracing::warn!(%error, "no thread to watch the links");
        }
        if end == End::Client {
            say(format!(
                "running over {}. Pull one cable now, at either end, wait until it is noticed, and plug it in again. \
                 The step ends {} s after that, or after {}.",
                nics.join(", "),
                SETTLE.as_secs(),
                Nanoseconds(time_ns)
            ));
        }
        Links {
            end,
            nics,
            heard,
            over,
            window,
            failures: vec![],
            down: BTreeSet::new(),
            last_up: None,
            asked_to_end: false,
        }
    }

    /// Takes in what this end's links did, and tells whom it concerns.
    pub fn look(&mut self, channel: &mut dyn Channel) {
        while let Ok(Stamped { change, at, lanes_at }) = self.heard.try_recv() {
            if !self.nics.contains(&change.nic) {
                continue;
            }
            let at_ns = at.ns_since(self.window);
            if !change.up {
                let (nic, down_tick_ns) = (change.nic.clone(), lanes_at.0);
                self.failures.push(Failure { nic, down_ns: at_ns, down_tick_ns, up: None });
            } else if let Some(failure) =
                self.failures.iter_mut().rfind(|f| f.nic == change.nic && f.up.is_none())
            {
                failure.up = Some((at_ns, lanes_at.0));
            }
            match self.end {
                End::Client => self.note(End::Client, change, at),
                End::Server => channel.send(StepMessage::Link { nic: change.nic, up: change.up }),
            }
        }
    }

    /// Takes in what the other end said about its links.
    pub fn hear(&mut self, nic: String, up: bool, now: Tick) {
        self.note(End::Server, LinkChange { nic, up }, now);
    }

    fn note(&mut self, end: End, change: LinkChange, at: Tick) {
        let key = (end.name(), change.nic);
        let place = if end == End::Client { "here" } else { "at the peer" };
        if change.up {
            say(format!("{} {place} is back.", key.1));
            self.last_up = Some(at);
            self.down.remove(&key);
        } else {
            say(format!("{} {place} has lost its link. Plug it in again.", key.1));
            self.down.insert(key);
        }
    }

    /// Whether the client is to end the step now; true once.
    pub fn is_over(&mut self, now: Tick) -> bool {
        let settled = self.last_up.is_some_and(|at| now.since(at) >= SETTLE);
        let over = settled && self.down.is_empty() && !self.asked_to_end;
        self.asked_to_end |= over;
        over
    }

    /// What happened to this end's links.
    pub fn into_failures(mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
