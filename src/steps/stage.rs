//! The threads of a step at one end: they are started, make themselves ready, begin together with those of the other end,
//! and are let go when they are through or the step is given up. What is to be done when, [`Course`] decides; here it is done.
//!
//! Whoever watches over the step waits for news (of a thread, of the control connection, of a signal, of what a kind of step
//! has beside it) and for moments that are known. Nothing is looked at again and again. A thread that ends without a message,
//! by a panic that is, is news too: it cannot leave the step waiting.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, bounded, select, unbounded};
use crossbeam_utils::CachePadded;
use pathproof_api::{Clock, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_engine::traffic::{Action, Course, Event, Outline};
use pathproof_model::{End, ErrorKind, StepError};

use super::Context;
use crate::budget::out_of_time;
use crate::interrupt;
use crate::session::Received;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::Ender;

/// How often the user is shown how far a step is, in ns.
pub const SHOWN_NS: u64 = 250_000_000;

/// What a kind of step has to do beside its threads, once they run.
pub trait Aside {
    /// All threads of this end begin at this moment.
    fn begun(&mut self, begin: Tick);
    /// Takes in what the other end said, where it concerns this and not the course of the step. Whether it did.
    fn hear(&mut self, said: &StepMessage, now: Tick) -> bool;
    /// Does what is to be done by now, and says when to come back though nothing happens.
    fn turn(&mut self, now: Tick, context: &mut Context<'_>) -> Tick;
    /// Wakes whoever waits with `select` when there is something to do before.
    fn watch<'a>(&'a self, select: &mut Select<'a>);
}

/// What all threads of an end read while they run and nobody writes but at the end: in a cache line of its own, so that nothing
/// that is written near it slows them down.
#[derive(Debug, Default)]
struct Flags {
    stop: AtomicBool,
    may_be_left: AtomicBool,
}

/// What happens once, for threads that wait for it: nothing is sent, and the sender is dropped when it has happened.
type Once = Receiver<Infallible>;

/// What a thread has to do with the step it is part of. Dropped when the thread is through, which is news to the step.
pub struct Cue {
    /// None for threads that nobody waits for.
    news: Option<Sender<Event>>,
    told: bool,
    sends: bool,
    start: Receiver<Tick>,
    flags: Arc<CachePadded<Flags>>,
    ended: Once,
    leaving: Once,
}

impl Cue {
    fn tell(&mut self, event: Event) {
        self.told = true;
        if let Some(news) = &self.news {
            // Nobody listens any more when the step was given up.
            let _ = news.send(event);
        }
    }

    /// What this thread needs is there.
    pub fn ready(&mut self) {
        self.tell(Event::Ready);
    }

    /// What this thread needs cannot be had.
    pub fn fail(&mut self, error: StepError) {
        self.tell(Event::Failed(error));
        self.news = None;
    }

    /// What this thread has to do cannot be done any more, and with it the step. The other end is told, which may see nothing of it.
    pub fn lose(&mut self, error: StepError) {
        self.tell(Event::Lost(error));
        self.news = None;
    }

    /// The other threads of this end may wait for a peer that will never answer: they end soon. What went wrong stands in
    /// what this thread leaves.
    pub fn give_up(&self) {
        self.flags.stop.store(true, Ordering::Relaxed);
        if let Some(news) = &self.news {
            let _ = news.send(Event::Abandoned);
        }
    }

    /// Waits until all begin. `None` when the step is given up before.
    pub fn begin(&self) -> Option<Tick> {
        self.start.recv().ok()
    }

    /// Set when the step is over, finished or not.
    pub fn stop(&self) -> &AtomicBool {
        &self.flags.stop
    }

    /// Whether the step is over.
    pub fn is_stopped(&self) -> bool {
        self.flags.stop.load(Ordering::Relaxed)
    }

    /// Set when the other end has said that it is leaving.
    pub fn may_be_left(&self) -> &AtomicBool {
        &self.flags.may_be_left
    }

    /// The end of the step, for threads that wait for it beside something else.
    pub fn ended(&self) -> &Once {
        &self.ended
    }

    /// Waits at most for `patience` until the other end says that it is leaving, or the step is over. Whether it has said so.
    pub fn may_be_left_within(&self, patience: Duration) -> bool {
        select! {
            recv(self.leaving) -> _ => {}
            recv(self.ended) -> _ => {}
            default(patience) => {}
        }
        self.flags.may_be_left.load(Ordering::Relaxed)
    }

    /// Waits until `at`. Whether the step still goes on then.
    pub fn wait_until(&self, at: Tick, clock: &RealClock) -> bool {
        while clock.now() < at && !self.is_stopped() {
            let _ = self.ended.recv_timeout(at.since(clock.now()));
        }
        !self.is_stopped()
    }
}

impl Drop for Cue {
    fn drop(&mut self) {
        let lost = std::thread::panicking() || !self.told;
        let name = std::thread::current().name().unwrap_or("of a step").to_owned();
        let done = if lost { Event::Lost(ended_early(&name)) } else { Event::Done { sent: self.sends } };
        self.tell(done);
    }
}

fn ended_early(name: &str) -> StepError {
    let message = format!(
        "the thread {name:?} ended early; this is a fault of pathproof, please report it with its log"
    );
    StepError::new(ErrorKind::System, message)
}

/// A thread of a step, and what it leaves behind.
pub struct Hand<'scope, T>(Option<ScopedJoinHandle<'scope, T>>);

impl<T> Hand<'_, T> {
    /// What it left; `None` of one that could not be started or ended early, which the step knows by then.
    pub fn join(self) -> Option<T> {
        self.0.and_then(|thread| thread.join().ok())
    }
}

/// When the course of a step is over whatever its threads do.
pub struct StageLimits {
    /// How long the threads run, in ns; the largest number where that follows from what they do.
    pub length_ns: u64,
    /// How long both ends may take to be ready, in ns.
    pub ready_ns: u64,
    /// How long what was sent before the peer's last lane was closed may need to come in on ours, in ns.
    pub last_bytes_ns: u64,
}

/// The threads of one step at this end.
pub struct Stage<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    threads: usize,
    sending: usize,
    /// A thread could not be started, for this reason.
    refused: Option<StepError>,
    news: (Sender<Event>, Receiver<Event>),
    starts: Vec<Sender<Tick>>,
    flags: Arc<CachePadded<Flags>>,
    ended: (Sender<Infallible>, Once),
    leaving: (Sender<Infallible>, Once),
    /// Those that wait in the kernel hear of the end when these are let go.
    enders: Vec<Ender>,
}

impl<'scope, 'env> Stage<'scope, 'env> {
    /// An empty one, for threads that may borrow what outlives `scope`.
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> Stage<'scope, 'env> {
        Stage {
            scope,
            threads: 0,
            sending: 0,
            refused: None,
            news: unbounded(),
            starts: vec![],
            flags: Arc::default(),
            ended: bounded(0),
            leaving: bounded(0),
            enders: vec![],
        }
    }

    /// Starts a thread that the step waits for: before its start until the thread is ready, and then until it is through.
    /// `sends`: the other end may go when all of those are.
    pub fn spawn<T: Send + 'scope>(
        &mut self,
        name: String,
        sends: bool,
        work: impl FnOnce(Cue) -> T + Send + 'scope,
    ) -> Hand<'scope, T> {
        self.threads += 1;
        self.sending += usize::from(sends);
        let news = Some(self.news.0.clone());
        self.start(name, news, sends, work)
    }

    /// Starts a thread that nobody waits for; it ends with the step.
    pub fn spawn_beside<T: Send + 'scope>(
        &mut self,
        name: String,
        work: impl FnOnce(Cue) -> T + Send + 'scope,
    ) -> Hand<'scope, T> {
        self.start(name, None, false, work)
    }

    /// Lets go of `ender` when the threads are to end: for one that waits in the kernel.
    pub fn let_go(&mut self, ender: Ender) {
        self.enders.push(ender);
    }

    fn start<T: Send + 'scope>(
        &mut self,
        name: String,
        news: Option<Sender<Event>>,
        sends: bool,
        work: impl FnOnce(Cue) -> T + Send + 'scope,
    ) -> Hand<'scope, T> {
        let (start_in, start) = bounded(1);
        self.starts.push(start_in);
        let (flags, ended, leaving) = (self.flags.clone(), self.ended.1.clone(), self.leaving.1.clone());
        let cue = Cue { news, told: false, sends, start, flags, ended, leaving };
        let spawned = Builder::new().name(name.clone()).spawn_scoped(self.scope, move || work(cue));
        if let Err(error) = &spawned {
            let message = format!("cannot start the thread {name:?}: {error}; ask for fewer --lanes");
            self.refused.get_or_insert(StepError::new(ErrorKind::Resource, message));
        }
        Hand(spawned.ok())
    }

    /// Takes the threads through the step: returns when all that it waits for are through, or when it was given up before they
    /// began. What went wrong at the level of the step, if anything did.
    pub fn run(
        mut self,
        end: End,
        limits: &StageLimits,
        context: &mut Context<'_>,
        aside: &mut dyn Aside,
    ) -> Option<StepError> {
        let clock = context.clock;
        let mut course = Course::new(Outline {
            leads: end == End::Client,
            threads: self.threads,
            sending: self.sending,
            length_ns: limits.length_ns,
            deadline: clock.now().plus_ns(limits.ready_ns),
            last_bytes_ns: limits.last_bytes_ns,
        });
        // Before what its dropped cue says: that one knows no reason.
        if let Some(error) = self.refused {
            course.handle(clock.now(), Event::Failed(error));
        }
        let mut ended = Some(self.ended.0);
        let mut leaving = Some(self.leaving.0);
        let mut begun = false;
        loop {
            let now = clock.now();
            course.handle(now, Event::Time);
            while let Ok(event) = self.news.1.try_recv() {
                course.handle(now, event);
            }
            let mut heard = false;
            if course.listens() && !course.is_over() {
                let received = context.channel.receive(now);
                heard = !matches!(received, Received::Nothing);
                match event_of(received, course.when()) {
                    Some(Event::Said(said)) if begun && aside.hear(&said, now) => {}
                    Some(event) => course.handle(now, event),
                    None => {}
                }
            }
            while let Some(action) = course.action() {
                match action {
                    Action::Say(said) => context.channel.send(said),
                    Action::Fail(error) => context.channel.fail(&error),
                    Action::Begin(begin) => {
                        begun = true;
                        self.starts.iter().for_each(|start| _ = start.send(begin));
                        aside.begun(begin);
                    }
                    Action::MayBeLeft => {
                        self.flags.may_be_left.store(true, Ordering::Relaxed);
                        drop(leaving.take());
                    }
                    Action::Stop => {
                        self.flags.stop.store(true, Ordering::Relaxed);
                        ended = None;
                        self.enders.clear();
                    }
                }
            }
            if course.is_over() {
                break;
            }
            let mut due = course.due();
            if begun {
                due = due.min(aside.turn(now, context));
                due = due.min(context.look(now));
            }
            // Whoever goes on talking is heard out, but stops neither the clock nor the threads' news.
            if heard {
                continue;
            }
            let mut select = Select::new();
            select.recv(&self.news.1);
            if begun {
                aside.watch(&mut select);
            }
            if course.listens() {
                context.channel.watch(&mut select);
                due = due.min(context.channel.due());
            }
            let _ = select.ready_timeout(due.since(clock.now()));
        }
        // What works beside the others ends now, and who still connects finds nothing to begin.
        self.flags.stop.store(true, Ordering::Relaxed);
        drop((ended, self.starts));
        self.enders.clear();
        course.into_error()
    }
}

/// What the control channel's news mean for the course of the step.
fn event_of(received: Received, when: &str) -> Option<Event> {
    Some(match received {
        Received::Nothing => return None,
        Received::Message(said) => Event::Said(said),
        Received::Lost(error) | Received::PeerFailed(error) => Event::GivenUp(error),
        Received::Interrupted => Event::GivenUp(interrupt::error()),
        Received::OutOfTime => Event::OutOfTime(out_of_time(&format!("it was cut short {when}"))),
        Received::PeerDone => Event::PeerDone(StepError::new(
            ErrorKind::PeerLost,
            format!("the client gave the step up {when}"),
        )),
    })
}

#[cfg(test)]
mod tests;
