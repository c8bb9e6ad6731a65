//! The way to an agent: dial, the key handshake, and the greeting.

use std::net::TcpStream;
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::control::{Accept, Client, ClientEvent, Hello, Patience, PreambleError};
use pathproof_model::{ClockOffset, Environment, ErrorCause, ErrorKind, PlanRequest, StepError};

use super::{Target, tool};
use crate::budget::Budget;
use crate::dial::{self, Beside, CONNECT, Reached};
use crate::gone;
use crate::host::wires::Listening;
use crate::interrupt::{self, Interrupt};
use crate::secure::{self, Refusal, SecureError};
use crate::session::{Link, Session};
use crate::wall;

/// Pause before a server whose door is crowded is asked again.
const CROWDED: Duration = Duration::from_millis(200);

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError::new(kind, message.into())
}

/// Connects, trying every address of the name, and completes the key handshake. A server whose door is crowded is asked again
/// as long as one may be dialled.
pub(super) fn open(
    target: &Target,
    budget: &Budget,
    interrupt: &Interrupt,
) -> Result<(Session<Client>, Beside, Listening), StepError> {
    let until = budget.clock().deadline(budget.within(CONNECT));
    let (link, beside, listening) = loop {
        match knock(target, budget, interrupt)? {
            Ok(link) => break link,
            Err(SecureError::Crowded) if until.left() > CROWDED => {
                interrupt.pause(CROWDED)?;
            }
            Err(why) => return Err(not_let_in(target, &why)),
        }
    };
    let machine = Client::new(Patience::default());
    let mut session = Session::new(machine, budget.clock().clone(), link, interrupt.clone());
    session.deadline = budget.over();
    Ok((session, beside, listening))
}

/// Connects once and completes the key handshake. The inner error is the handshake's.
fn knock(
    target: &Target,
    budget: &Budget,
    interrupt: &Interrupt,
) -> Result<Result<(Link, Beside, Listening), SecureError>, StepError> {
    let Target { host, port, .. } = target;
    let (name, at, access) = (host.clone(), *port, target.access.clone());
    let patience = budget.within(Duration::MAX);
    let clock = budget.clock().clone();
    let reach = move || dial::reach(&name, at, &access, patience, &clock);
    let Reached { stream, beside, listening } = interrupt::unless(interrupt, patience, reach)??;
    let io = |e: std::io::Error| error(ErrorKind::System, format!("setting up the control connection: {e}"));
    let (local, peer) = (stream.local_addr().map_err(io)?, stream.peer_addr().map_err(io)?);
    prepare_socket(&stream).map_err(io)?;
    let (access, patience) = (target.access.clone(), budget.within(CONNECT));
    let until = budget.clock().deadline(patience);
    let halves = interrupt::unless(interrupt, patience * 2, move || secure::connect(stream, &access, until))?;
    match halves {
        Ok(halves) => Ok(Ok((Link::new(halves, (local, peer)).map_err(io)?, beside, listening))),
        Err(why) => Ok(Err(why)),
    }
}

fn not_let_in(Target { host, port, .. }: &Target, why: &SecureError) -> StepError {
    let kind = match why {
        // Whose version is of no use to anybody: it is another program.
        SecureError::Preamble(PreambleError::NotOurs { .. }) => ErrorKind::Refused,
        SecureError::Preamble(_) | SecureError::Nonsense => ErrorKind::Protocol,
        SecureError::Mute { .. } | SecureError::Timeout { .. } | SecureError::Refused(Refusal::TooSlow) => {
            ErrorKind::Timeout
        }
        SecureError::Io { .. } | SecureError::HungUp { .. } | SecureError::ClosedInHandshake => {
            ErrorKind::PeerLost
        }
        _ => ErrorKind::Refused,
    };
    let cause = match why {
        SecureError::Io { source, .. } | SecureError::HungUp { source } => gone::of(source),
        SecureError::ClosedInHandshake => Some(ErrorCause::Closed),
        _ => None,
    };
    let next = match why {
        SecureError::Io { .. } => {
            "; the connection broke off during the key handshake: look for loss on the path, and try again"
        }
        _ => "",
    };
    error(kind, format!("{host}:{port}: {why}{next}")).caused_by(cause)
}

/// Makes a dead peer noticeable within seconds: keep-alive probes while idle, a user timeout while sending.
pub fn prepare_socket(stream: &TcpStream) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(5)))
}

pub(super) fn greet(
    session: &mut Session<Client>,
    plan: PlanRequest,
    environment: Environment,
) -> Result<(Accept, Option<ClockOffset>), StepError> {
    let now = session.clock.now();
    let asked_ns = wall::now_ns();
    session.machine.hello(now, Hello { tool: tool(), plan, environment });
    match session.event(Tick(u64::MAX)) {
        Some(ClientEvent::Accepted(accept)) => {
            session.allow_large_messages();
            let stamps = asked_ns.zip(wall::now_ns()).zip(accept.clock);
            let clock = stamps.and_then(|((asked, had), there)| ClockOffset::of(asked, had, there));
            Ok((*accept, clock))
        }
        Some(ClientEvent::Rejected(reject)) => {
            Err(error(ErrorKind::Refused, format!("the peer refused: {}", reject.reasons.join("; "))))
        }
        Some(ClientEvent::Over(over)) => Err(over),
        Some(_) => Err(error(ErrorKind::Protocol, "the peer did not answer the greeting in order")),
        None if session.is_late() => Err(error(
            ErrorKind::Timeout,
            "the peer did not answer the greeting before the time of the run was up; it may be overloaded or stopped",
        )),
        None => Err(interrupt::error()),
    }
}
