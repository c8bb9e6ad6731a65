//! Pumps one control session: bytes of the secure channel in, messages through the engine's state machine,
//! events out. The same pump serves both roles.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{
    Client, ClientEvent, FRAME_BYTES_MAX, FrameDecoder, HELLO_BYTES_MAX, Input, Output, Server, ServerEvent,
    encode_frame,
};
use pathproof_model::{ErrorKind, StepError};
use serde_json::Value;

use crate::clock::RealClock;
use crate::secure::{SecureReader, SecureWriter};

/// How long one look at the interrupt flag may be apart from the next.
const LOOK: Duration = Duration::from_millis(100);

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

/// One control session over one connection.
pub struct Session<M: Machine> {
    /// The state machine. After calling it directly, take its wishes out with [`Session::event`].
    pub machine: M,
    /// Its clock.
    pub clock: RealClock,
    /// The address at this end.
    pub local: SocketAddr,
    /// The address at the other end.
    pub peer: SocketAddr,
    writer: SecureWriter,
    inbox: mpsc::Receiver<Input>,
    reader: Option<JoinHandle<()>>,
    large: Arc<AtomicBool>,
    timer: Option<Tick>,
    events: VecDeque<M::Event>,
    interrupt: Arc<AtomicBool>,
}

impl<M: Machine> Session<M> {
    /// Takes over a secure channel. `interrupt` is the user's wish to stop.
    pub fn new(
        machine: M,
        clock: RealClock,
        (writer, reader): (SecureWriter, SecureReader),
        (local, peer): (SocketAddr, SocketAddr),
        interrupt: Arc<AtomicBool>,
    ) -> std::io::Result<Session<M>> {
        // Bounded: a peer that sends faster than we read is slowed down by TCP, not bought memory.
        let (sender, inbox) = mpsc::sync_channel(64);
        let large = Arc::new(AtomicBool::new(false));
        let allowed = large.clone();
        let reader = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || read_messages(reader, &sender, &allowed))?;
        Ok(Session {
            machine,
            clock,
            local,
            peer,
            writer,
            inbox,
            reader: Some(reader),
            large,
            timer: None,
            events: VecDeque::new(),
            interrupt,
        })
    }

    /// Allows large messages, once the peer is known.
    pub fn allow_large_messages(&self) {
        self.large.store(true, Ordering::Relaxed);
    }

    /// Whether the user wants to stop.
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Does what the machine wants done: sends, arms, and collects its events.
    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Arm(at) => self.timer = Some(at),
                Output::Event(event) => self.events.push_back(event),
                Output::Send(message) => {
                    let sent = encode_frame(&message)
                        .map_err(std::io::Error::other)
                        .and_then(|bytes| self.writer.send(&bytes));
                    if let Err(error) = sent {
                        let now = self.clock.now();
                        self.machine.handle(now, Input::Closed(error.to_string()));
                    }
                }
            }
        }
    }

    /// The next event, or `None` at `until` or when the user interrupts.
    pub fn event(&mut self, until: Tick) -> Option<M::Event> {
        loop {
            self.carry_out();
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let now = self.clock.now();
            if now >= until || self.interrupted() {
                // Something may have arrived already; it is not to be lost behind a deadline.
                match self.inbox.try_recv() {
                    Ok(input) => {
                        self.machine.handle(now, input);
                        continue;
                    }
                    Err(_) => return None,
                }
            }
            if let Some(at) = self.timer.filter(|at| now >= *at) {
                debug_assert!(now >= at);
                self.timer = None;
                self.machine.handle(now, Input::Timer);
                continue;
            }
            let wake = self.timer.map_or(until, |at| at.min(until));
            let wait = wake.since(now).min(LOOK);
            match self.inbox.recv_timeout(wait) {
                Ok(input) => {
                    let now = self.clock.now();
                    self.machine.handle(now, input);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let now = self.clock.now();
                    self.machine.handle(now, Input::Closed("the reader ended".into()));
                    self.carry_out();
                    return self.events.pop_front();
                }
            }
        }
    }

    /// Sends what the machine has left to send, without waiting for anything.
    pub fn flush(&mut self) {
        self.carry_out();
    }

    /// Puts an event back to be read again later.
    pub fn put_back(&mut self, event: M::Event) {
        self.events.push_front(event);
    }
}

impl<M: Machine> Drop for Session<M> {
    fn drop(&mut self) {
        self.carry_out();
        self.writer.shutdown();
        if let Some(reader) = self.reader.take() {
            // The reader may wait for room in the inbox: give it some.
            while !reader.is_finished() {
                let _ = self.inbox.recv_timeout(Duration::from_millis(5));
            }
            let _ = reader.join();
        }
    }
}

fn read_messages(mut reader: SecureReader, sender: &mpsc::SyncSender<Input>, large: &AtomicBool) {
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    let mut plain = Vec::new();
    loop {
        plain.clear();
        if let Err(error) = reader.receive(&mut plain) {
            let how = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "it was closed".into(),
                _ => error.to_string(),
            };
            let _ = sender.send(Input::Closed(how));
            return;
        }
        decoder.push(&plain);
        if large.load(Ordering::Relaxed) {
            decoder.set_cap(FRAME_BYTES_MAX);
        }
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => {
                    if sender.send(Input::Message(Box::new(message))).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let _ = sender.send(Input::Closed(error.to_string()));
                    return;
                }
            }
        }
    }
}

/// What a running step hears from the other end.
#[derive(Debug)]
pub enum Received {
    /// A message of this step.
    Message(Value),
    /// The peer's part failed; it goes on to its end of the step.
    PeerFailed(StepError),
    /// The client has ended the step (server only).
    PeerDone,
    /// The session is lost.
    Lost(StepError),
    /// The user wants to stop.
    Interrupted,
    /// Nothing came in time.
    Nothing,
}

/// The control channel as a running step sees it.
pub trait Channel {
    /// Sends a message to the other half of the step.
    fn send(&mut self, body: Value);
    /// Tells the other half that this one failed.
    fn fail(&mut self, error: &StepError);
    /// Waits for something until `until`.
    fn receive(&mut self, until: Tick) -> Received;
}

fn unexpected(what: &str) -> Received {
    Received::Lost(StepError {
        kind: ErrorKind::Protocol,
        message: format!("{what} came during a step; the session is out of step"),
    })
}

impl Channel for Session<Client> {
    fn send(&mut self, body: Value) {
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
            None => Received::Nothing,
        }
    }
}

impl Channel for Session<Server> {
    fn send(&mut self, body: Value) {
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
                Received::Lost(
                    error.unwrap_or(StepError {
                        kind: ErrorKind::PeerLost,
                        message: "the client left".into(),
                    }),
                )
            }
            Some(ServerEvent::Hello(_)) => unexpected("a greeting"),
            None if self.interrupted() => Received::Interrupted,
            None => Received::Nothing,
        }
    }
}
