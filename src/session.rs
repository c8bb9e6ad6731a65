//! Pumps one control session: bytes of the secure channel in, messages through the engine's state machine,
//! events out. The same pump serves both roles.
//!
//! A session can outlive its connection: when the path below it falls silent, and the owner has named a
//! [`Revival`], the next connection takes over where the last one ended, and the state machine never knows.

mod link;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::{Select, TryRecvError};
use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{
    Client, ClientEvent, Input, Journal, Message, Output, Server, ServerEvent, StepMessage, encode_frame,
};
use pathproof_model::{ErrorKind, StepError};

use crate::interrupt::Interrupt;
pub use link::{Dial, Fresh, Heard, Link, Loss, Revival};
use pathproof_sys::clock::RealClock;

/// Messages that are still taken in when the time is up: as many as may have come before, in the inbox of a connection. Who goes
/// on talking does not stop the clock.
const LATE_MAX: u32 = link::INBOX as u32;
/// Events that wait to be read, before no more messages are taken in.
const EVENTS_MAX: usize = 64;

/// What both state machines can do.
pub trait Machine {
    /// What it tells its owner.
    type Event;
    /// Tells it what happened.
    fn handle(&mut self, now: Tick, input: Input);
    /// What it wants done.
    fn poll(&mut self) -> Option<Output<Self::Event>>;
}

impl Machine for Client {
    type Event = ClientEvent;
    fn handle(&mut self, now: Tick, input: Input) {
        Client::handle(self, now, input);
    }
    fn poll(&mut self) -> Option<Output<ClientEvent>> {
        Client::poll(self)
    }
}

impl Machine for Server {
    type Event = ServerEvent;
    fn handle(&mut self, now: Tick, input: Input) {
        Server::handle(self, now, input);
    }
    fn poll(&mut self) -> Option<Output<ServerEvent>> {
        Server::poll(self)
    }
}

/// One control session.
pub struct Session<M: Machine> {
    /// The state machine. After calling it directly, take its wishes out with [`Session::event`].
    pub machine: M,
    /// Its clock.
    pub clock: RealClock,
    /// Where the connection had to be replaced, in words.
    pub moves: Vec<String>,
    /// Nothing is waited for beyond this tick: the time of the run, or of the running step, is up then.
    pub deadline: Tick,
    link: Link,
    journal: Journal,
    revival: Option<Revival>,
    /// The connection is lost since then, and another one is looked for.
    lost: Option<(Tick, Loss)>,
    /// The connection is lost for good.
    ended: bool,
    timer: Option<Tick>,
    events: VecDeque<M::Event>,
    interrupt: Interrupt,
}

impl<M: Machine> Session<M> {
    /// A session that begins on `link`. `interrupt` is the user's wish to stop.
    pub fn new(machine: M, clock: RealClock, link: Link, interrupt: Interrupt) -> Session<M> {
        Session {
            machine,
            clock,
            moves: vec![],
            deadline: Tick(u64::MAX),
            link,
            journal: Journal::new(),
            revival: None,
            lost: None,
            ended: false,
            timer: None,
            events: VecDeque::new(),
            interrupt,
        }
    }

    /// The address at this end.
    pub fn local(&self) -> SocketAddr {
        self.link.local
    }

    /// The address at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.link.peer
    }

    /// Whether the other host has acknowledged everything that was said to it: then there is a path, whatever became of others.
    pub fn is_acknowledged(&self) -> bool {
        self.lost.is_none() && self.link.is_acknowledged()
    }

    /// The revision of the protocol at the other end, where that was dialled.
    pub fn revision(&self) -> Option<u8> {
        self.link.revision
    }

    /// Gives up the session but not its connection.
    pub fn into_link(self) -> Link {
        self.link
    }

    /// Allows large messages, once the peer is known.
    pub fn allow_large_messages(&self) {
        self.link.allow_large_messages();
    }

    /// Lets the session outlive its connection from here on.
    pub fn survive(&mut self, revival: Revival) {
        self.revival = Some(revival);
    }

    /// Whether the user wants to stop.
    pub fn interrupted(&self) -> bool {
        self.interrupt.is_raised()
    }

    /// Does what the machine wants done: sends, arms, and collects its events.
    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Arm(at) => self.timer = Some(at),
                Output::Event(event) => self.events.push_back(event),
                Output::Send(message) => {
                    let link = (self.lost.is_none()).then_some(&mut self.link);
                    let sent = match (self.journal.say(&message), link) {
                        (Ok(frame), Some(link)) => link.send(frame),
                        (Ok(_), None) => Ok(()),
                        (Err(error), _) => Err(Loss::given_up(ErrorKind::Resource, error.to_string())),
                    };
                    if let Err(loss) = sent {
                        self.lose(loss);
                    }
                }
            }
        }
    }

    /// The connection is lost: look for another one, or tell the machine that this was the end.
    fn lose(&mut self, loss: Loss) {
        let now = self.clock.now();
        match &self.revival {
            Some(revival) if loss.silent => {
                tracing::info!(
                    how = loss.how,
                    "the control connection fell silent; another one is looked for"
                );
                if let Some(dial) = &revival.dial {
                    dial(self.journal.received());
                }
                self.lost = Some((now, loss));
            }
            _ => {
                self.ended = true;
                let Loss { how, kind, cause, silent: _ } = loss;
                self.machine.handle(
                    now,
                    match kind {
                        ErrorKind::PeerLost => Input::Closed { how, cause },
                        kind => Input::Broken(StepError::new(kind, how)),
                    },
                );
            }
        }
    }

    /// Takes a connection on which the other end has come back, or gives up when none came in time.
    fn look_for_another(&mut self) {
        let Some(revival) = &self.revival else { return };
        let why = match (revival.fresh.try_recv(), &self.lost) {
            (Ok(Ok(fresh)), _) => return self.adopt(fresh),
            (Ok(Err(why)), _) => why,
            (Err(TryRecvError::Empty), Some((since, _))) if self.clock.now() < *since + revival.patience => {
                return;
            }
            (Err(_), Some(_)) => "no other way to the peer was found".into(),
            (Err(_), None) => return,
        };
        let (how, cause) =
            self.lost.take().map_or((String::new(), None), |(_, loss)| (loss.how + ", and ", loss.cause));
        self.revival = None;
        // It is as gone as it was: what was met on the way back says nothing of that.
        self.lose(Loss { cause, ..Loss::given_up(ErrorKind::PeerLost, how + &why) });
    }

    fn adopt(&mut self, Fresh { link, seen }: Fresh) {
        let dials = self.revival.as_ref().is_some_and(|revival| revival.dial.is_some());
        self.moves.push(format!(
            "from {} - {} to {} - {}",
            self.link.local.ip(),
            self.link.peer.ip(),
            link.local.ip(),
            link.peer.ip()
        ));
        self.link = link;
        self.link.allow_large_messages();
        self.lost = None;
        let received = self.journal.received();
        let greeting = match encode_frame(&Message::Resumed { seen: received }, received) {
            Ok(frame) if !dials => frame,
            _ => vec![],
        };
        let sent = match self.journal.resume(seen) {
            Some(mut again) => {
                let link = &mut self.link;
                link.send(&greeting).and_then(|()| again.try_for_each(|frame| link.send(frame)))
            }
            None => {
                let how = "the peer came back, but was away for more than this end keeps to say again".into();
                Err(Loss::given_up(ErrorKind::Resource, how))
            }
        };
        if let Err(loss) = sent {
            self.lose(loss);
        }
    }

    /// Passes on what came.
    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Lost(loss) => self.lose(loss),
            Heard::Message(seen, message) => {
                let now = self.clock.now();
                // One that comes back speaks for another session's counts.
                if !matches!(*message, Message::Resume(_)) && !self.journal.hear(seen) {
                    let message = "the peer confirmed more messages than it was sent".into();
                    let error = StepError::new(ErrorKind::Protocol, message);
                    return self.machine.handle(now, Input::Broken(error));
                }
                self.machine.handle(now, Input::Message(message));
            }
        }
    }

    /// Whether the time of the run, or of the running step, is up.
    pub fn is_late(&self) -> bool {
        self.clock.now() >= self.deadline
    }

    /// The next event, or `None` at `until`, at the session's deadline, or when the user interrupts.
    pub fn event(&mut self, until: Tick) -> Option<M::Event> {
        self.next(until, true)
    }

    /// The same, whatever the user wants: for what is owed to one who has interrupted.
    pub fn event_though_interrupted(&mut self, until: Tick) -> Option<M::Event> {
        self.next(until, false)
    }

    fn next(&mut self, until: Tick, interruptible: bool) -> Option<M::Event> {
        let until = until.min(self.deadline);
        let mut late = 0;
        loop {
            self.carry_out();
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.look_for_another();
            let now = self.clock.now();
            if self.ring(now) {
                continue;
            }
            if let Some(heard) = self.hear() {
                self.take(heard);
                // Something may have arrived already; it is not to be lost behind a deadline.
                let over = now >= until || (interruptible && self.interrupted());
                late += u32::from(over);
                if late <= LATE_MAX {
                    continue;
                }
                return None;
            }
            if now >= until || (interruptible && self.interrupted()) {
                return None;
            }
            let mut select = Select::new();
            self.watch_connection(&mut select);
            if interruptible {
                self.interrupt.watch(&mut select);
            }
            let _ = select.ready_timeout(until.min(self.due()).since(now));
        }
    }

    /// Tells the machine that its time has come, if it has. Whether it had.
    fn ring(&mut self, now: Tick) -> bool {
        let due = self.timer.take_if(|at| now >= *at).is_some();
        if due {
            self.machine.handle(now, Input::Timer);
        }
        due
    }

    /// What has come, if anything has. A lost connection says nothing more.
    fn hear(&self) -> Option<Heard> {
        if self.lost.is_some() { None } else { self.link.hear(Duration::ZERO) }
    }

    /// What wakes a wait for the other end: the connection, or the next one where it is lost. Who is not read any more is not
    /// waited for.
    fn watch_connection<'a>(&'a self, select: &mut Select<'a>) {
        match (&self.lost, &self.revival) {
            _ if self.ended || self.events.len() >= EVENTS_MAX => {}
            (None, _) => self.link.watch(select),
            (Some(_), Some(revival)) => _ = select.recv(&revival.fresh),
            (Some(_), None) => {}
        }
    }

    /// When something is to be done though nothing comes.
    fn due(&self) -> Tick {
        let hope = self.lost.as_ref().zip(self.revival.as_ref()).map(|((since, _), r)| *since + r.patience);
        self.timer.into_iter().chain(hope).fold(self.deadline, Tick::min)
    }

    /// Sends what the machine has left to send, without waiting for anything.
    pub fn flush(&mut self) {
        self.carry_out();
    }

    /// Whether one of the events that wait, or that are here by now, is one of those `wanted`. Takes none away.
    fn has(&mut self, wanted: impl Fn(&M::Event) -> bool) -> bool {
        if !self.ended {
            self.look_for_another();
            self.ring(self.clock.now());
        }
        self.carry_out();
        for _ in 0..LATE_MAX {
            let room = !self.ended && self.events.len() < EVENTS_MAX;
            let Some(heard) = room.then(|| self.hear()).flatten() else { break };
            self.take(heard);
            self.carry_out();
        }
        self.events.iter().any(wanted)
    }

    /// Puts an event back to be read again later.
    pub fn put_back(&mut self, event: M::Event) {
        self.events.push_front(event);
    }
}

/// What a running step hears from the other end.
#[derive(Debug)]
pub enum Received {
    /// A message of this step.
    Message(StepMessage),
    /// The peer's part failed; it goes on to its end of the step.
    PeerFailed(StepError),
    /// The client has ended the step (server only).
    PeerDone,
    /// The session is lost.
    Lost(StepError),
    /// The user wants to stop.
    Interrupted,
    /// The time that the step may take is up.
    OutOfTime,
    /// Nothing came in time.
    Nothing,
}

/// The control channel as a running step sees it.
pub trait Channel {
    /// Sends a message to the other half of the step.
    fn send(&mut self, body: StepMessage);
    /// Tells the other half that this one failed.
    fn fail(&mut self, error: &StepError);
    /// Waits for something until `until`.
    fn receive(&mut self, until: Tick) -> Received;
    /// Wakes whoever waits with `select` when [`Channel::receive`] may have something to tell.
    fn watch<'a>(&'a self, select: &mut Select<'a>);
    /// When it is to be asked though nothing has come.
    fn due(&self) -> Tick;
    /// Whether going on is of no use: the other end has ended the step or is lost, the user wants to stop, or the time is
    /// up. Takes nothing away and waits for nothing.
    fn is_over(&mut self) -> bool;
}

fn unexpected(what: &str) -> Received {
    Received::Lost(StepError::new(
        ErrorKind::Protocol,
        format!("{what} came during a step; the session is out of step"),
    ))
}

impl Channel for Session<Client> {
    fn send(&mut self, body: StepMessage) {
        self.machine.step_message(body);
        self.carry_out();
    }
    fn fail(&mut self, error: &StepError) {
        self.machine.fail(error.clone());
        self.carry_out();
    }
    fn receive(&mut self, until: Tick) -> Received {
        match self.event(until) {
            Some(ClientEvent::Step(body)) => Received::Message(body),
            Some(ClientEvent::PeerFailed(error)) => Received::PeerFailed(error),
            Some(ClientEvent::Over(error)) => {
                // The loss must be seen again by whoever takes the next turn.
                self.put_back(ClientEvent::Over(error.clone()));
                Received::Lost(error)
            }
            Some(_) => unexpected("the answer to a turn"),
            None if self.interrupted() => Received::Interrupted,
            None if self.is_late() => Received::OutOfTime,
            None => Received::Nothing,
        }
    }
    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.watch_connection(select);
        self.interrupt.watch(select);
    }
    fn due(&self) -> Tick {
        Session::due(self)
    }
    fn is_over(&mut self) -> bool {
        let over = self.has(|event| matches!(event, ClientEvent::PeerFailed(_) | ClientEvent::Over(_)));
        over || self.interrupted() || self.is_late()
    }
}

impl Channel for Session<Server> {
    fn send(&mut self, body: StepMessage) {
        self.machine.step_message(body);
        self.carry_out();
    }
    fn fail(&mut self, error: &StepError) {
        self.machine.fail(error.clone());
        self.carry_out();
    }
    fn receive(&mut self, until: Tick) -> Received {
        match self.event(until) {
            Some(ServerEvent::Step(body)) => Received::Message(body),
            Some(ServerEvent::PeerFailed(error)) => Received::PeerFailed(error),
            Some(turn @ ServerEvent::Turn { .. }) => {
                self.put_back(turn);
                Received::PeerDone
            }
            Some(ServerEvent::Over(error)) => {
                self.put_back(ServerEvent::Over(error.clone()));
                Received::Lost(error.unwrap_or(StepError::new(ErrorKind::PeerLost, "the client left".into())))
            }
            Some(ServerEvent::Hello(_) | ServerEvent::Resume(_)) => unexpected("a greeting"),
            Some(ServerEvent::Delivered) => unexpected("the end of a turn"),
            None if self.interrupted() => Received::Interrupted,
            None if self.is_late() => Received::OutOfTime,
            None => Received::Nothing,
        }
    }
    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.watch_connection(select);
        self.interrupt.watch(select);
    }
    fn due(&self) -> Tick {
        Session::due(self)
    }
    fn is_over(&mut self) -> bool {
        let over = |event: &ServerEvent| !matches!(event, ServerEvent::Step(_));
        self.has(over) || self.interrupted() || self.is_late()
    }
}
