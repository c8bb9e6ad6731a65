//! `--watch-links`: somebody pulls a cable while a step runs. Each end hears its own links, the client is told of the
//! server's, says what to do, and ends the step when all is well again.

use pathproof_model::End;
use std::collections::BTreeSet;
use std::io;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, unbounded};
use pathproof_api::{Clock, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_model::NicFailure as Failure;
use pathproof_model::units::Nanoseconds;

use crate::session::Channel;
use crate::terminal::say;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::{self, Ender, Ending};
use pathproof_sys::interfaces::{LinkChange, LinkEvents};

/// How long after the last link came back the step goes on, so that its paths can join again and show their rate.
const SETTLE: Duration = Duration::from_secs(3);

/// Longest name of an interface (IFNAMSIZ of the kernel, without its closing zero).
const NAME_BYTES: usize = 15;
/// Links of the other end that are kept in mind; a host that has more has no cable that somebody pulls.
const LINKS_MAX: usize = 64;
/// Failures that are kept: a link that comes and goes more often has been understood.
const FAILURES_MAX: usize = 1000;
/// How far apart two lines are that are said, however many changes there were.
const SAY: Duration = Duration::from_secs(1);
/// Changes that are said in one line; of the others only the number.
const SENTENCES_MAX: usize = 4;

/// A change with its moment.
struct Stamped {
    change: LinkChange,
    at: Tick,
}

/// The links of a running step.
pub struct Links {
    end: End,
    nics: Vec<String>,
    /// The sender is kept, so that a listening thread that ended is no news.
    news: (Sender<Stamped>, Receiver<Stamped>),
    /// Dropped, it ends the thread that listens. `None` where none does.
    _ender: Option<Ender>,
    window: Tick,
    failures: Vec<Failure>,
    /// Links that are down at this moment, by end and name.
    down: BTreeSet<(End, String)>,
    last_up: Option<Tick>,
    asked_to_end: bool,
    voice: Voice,
}

/// Says what links do, a line a second at most: the other end may have links that flap, or claim so.
#[derive(Default)]
struct Voice {
    said: Option<Tick>,
    held: Vec<String>,
    more: u64,
}

impl Voice {
    fn hold(&mut self, sentence: String) {
        if self.held.len() < SENTENCES_MAX {
            self.held.push(sentence);
        } else {
            self.more += 1;
        }
    }

    /// When the next line may be said, if one is to be.
    fn due(&self) -> Option<Tick> {
        (!self.held.is_empty()).then(|| self.said.map_or(Tick(0), |at| at + SAY))
    }

    /// The line that is due, if one is.
    fn line(&mut self, now: Tick) -> Option<String> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.said = Some(now);
        let mut line = std::mem::take(&mut self.held).join(" ");
        match std::mem::take(&mut self.more) {
            0 => {}
            more => line += &format!(" And {more} changes more."),
        }
        Some(line)
    }
}

impl Links {
    /// Begins to listen for changes of `nics`. The window begins at `window` and is `time_ns` long.
    pub fn watch(end: End, nics: Vec<String>, clock: RealClock, window: Tick, time_ns: u64) -> Links {
        let news = unbounded();
        let sender: Sender<Stamped> = news.0.clone();
        let listen = move |ending: Ending| -> io::Result<()> {
            let mut events = LinkEvents::subscribe()?;
            while let Some(changes) = events.next(&ending)? {
                for change in changes {
                    let _ = sender.send(Stamped { change, at: clock.now() });
                }
            }
            Ok(())
        };
        let listen = |ending| {
            let listen = move || {
                if let Err(error) = listen(ending) {
                    tracing::warn!(%error, "links cannot be watched");
                }
            };
            Builder::new().name("links".into()).spawn(listen)
        };
        let started = ending::pair().and_then(|(ender, ending)| listen(ending).map(|_| ender));
        let ender = started.inspect_err(|error| tracing::warn!(%error, "no thread to watch the links")).ok();
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
            news,
            _ender: ender,
            window,
            failures: vec![],
            down: BTreeSet::new(),
            last_up: None,
            asked_to_end: false,
            voice: Voice::default(),
        }
    }

    /// Takes in what this end's links did, and tells whom it concerns.
    pub fn look(&mut self, channel: &mut dyn Channel) {
        while let Ok(Stamped { change, at }) = self.news.1.try_recv() {
            if !self.nics.contains(&change.nic) {
                continue;
            }
            let at_ns = at.ns_since(self.window);
            if !change.up && self.failures.len() < FAILURES_MAX {
                let (nic, window_tick_ns) = (change.nic.clone(), self.window.0);
                self.failures.push(Failure { nic, down_ns: at_ns, up_ns: None, window_tick_ns });
            } else if change.up
                && let Some(failure) =
                    self.failures.iter_mut().rfind(|f| f.nic == change.nic && f.up_ns.is_none())
            {
                failure.up_ns = Some(at_ns);
            }
            match self.end {
                End::Client => self.note(End::Client, change, at),
                End::Server => channel.send(StepMessage::Link { nic: change.nic, up: change.up }),
            }
        }
    }

    /// Takes in what the server said about its links; nobody tells a server anything.
    pub fn hear(&mut self, nic: String, up: bool, now: Tick) {
        if self.end == End::Client && nic.len() <= NAME_BYTES {
            self.note(End::Server, LinkChange { nic, up }, now);
        }
    }

    /// Says what is to be said by now.
    pub fn speak(&mut self, now: Tick) {
        if let Some(line) = self.voice.line(now) {
            say(line);
        }
    }

    fn note(&mut self, end: End, change: LinkChange, at: Tick) {
        let key = (end, change.nic);
        let place = if end == End::Client { "here" } else { "at the peer" };
        if change.up {
            self.voice.hold(format!("{} {place} is back.", key.1));
            self.last_up = Some(at);
            self.down.remove(&key);
        } else if self.down.len() < LINKS_MAX {
            self.voice.hold(format!("{} {place} has lost its link. Plug it in again.", key.1));
            self.down.insert(key);
        }
    }

    /// When the client is to end the step, where that is known.
    fn over(&self) -> Option<Tick> {
        self.last_up.filter(|_| self.down.is_empty() && !self.asked_to_end).map(|at| at + SETTLE)
    }

    /// Whether the client is to end the step now; true once.
    pub fn is_over(&mut self, now: Tick) -> bool {
        let over = self.over().is_some_and(|at| now >= at);
        self.asked_to_end |= over;
        over
    }

    /// When something is to be said or done though nothing happens.
    pub fn due(&self) -> Tick {
        self.over().into_iter().chain(self.voice.due()).min().unwrap_or(Tick(u64::MAX))
    }

    /// Wakes whoever waits with `select` when a link of this end has changed.
    pub fn wake<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.news.1);
    }

    /// What happened to this end's links.
    pub fn into_failures(mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    #[test]
    fn t8_a_peer_whose_links_flap_fills_no_terminal_and_no_memory() {
        let clock = RealClock::new();
        let mut links = Links::watch(End::Client, vec![], clock, Tick(0), 1);
        let mut lines = vec![];
        for ms in 0..10_000u64 {
            let name = format!("eth{}", ms % 5000);
            links.hear(name, ms % 2 == 1, at_ms(ms));
            lines.extend(links.voice.line(at_ms(ms)));
        }
        assert!(links.down.len() <= LINKS_MAX && links.voice.held.len() <= SENTENCES_MAX);
        assert!(lines.len() <= 11 && lines.iter().all(|line| line.len() < 400), "{lines:?}");
        // What is no name of an interface is nobody's link, and a server is told nothing.
        let before = links.down.len();
        links.hear("x".repeat(16), false, at_ms(0));
        links.end = End::Server;
        links.hear("eth9999".into(), false, at_ms(0));
        assert_eq!(links.down.len(), before);
    }

    #[test]
    fn changes_that_come_together_are_said_in_one_line() {
        let mut voice = Voice::default();
        voice.hold("eth0 has lost its link.".into());
        assert_eq!(voice.line(at_ms(0)).as_deref(), Some("eth0 has lost its link."));
        for n in 0..6 {
            voice.hold(format!("{n}."));
        }
        assert_eq!(voice.line(at_ms(999)), None);
        assert_eq!(voice.line(at_ms(1000)).as_deref(), Some("0. 1. 2. 3. And 2 changes more."));
        assert_eq!(voice.line(at_ms(5000)), None);
    }
}
