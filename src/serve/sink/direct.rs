//! Connections by SMB Direct: a listener at an RDMA device's address that takes one after the other, and a thread for each.
//!
//! A connection has memory registered before anybody has shown the password, so few strangers are inside at once, and who comes beyond is
//! rejected by the adapter's connection manager until one of them is through or gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use pathproof_api::{
    Access, MessagePipe, Pages, Piece, PrivateData, Region, RegionId, Role, TransportError, Wait, WireOp,
    WireSpec, WireVerb, Wires,
};
use pathproof_rdma::RdmaTransport;
use pathproof_smb2::server::{
    Conversation, Descriptor, IO_BYTES_MAX, MESSAGE_BYTES_MAX, Reach, Turn, Unreached, cut,
};
use pathproof_smbd::connection::{Connection, Places};
use pathproof_smbd::{Settings, SmbdPipe};
use pathproof_sys::clock::{Clock as _, Tick};

use super::{CONNECTIONS_MAX, PATIENCE, Shared, send, silence};
use crate::serve::Place;

/// Strangers at once: about half a megabyte of registered memory each.
const STRANGERS_MAX: usize = 4;
/// Pieces of a client's memory that are moved at once.
const MOVES: usize = 32;
/// How long one listener waits for somebody before the next takes its place.
const LISTENS_FOR: Duration = Duration::from_secs(3600);
/// How long nothing is tried when a listener cannot be made: the device may come.
const BREATH: Duration = Duration::from_secs(2);

/// What is offered: receives as small as others send, and messages as long as one transfer, so that clients which sign can send one whole.
fn offer() -> Settings {
    Settings {
        receive_bytes: 1364,
        fragmented_bytes: MESSAGE_BYTES_MAX as u32,
        read_write_bytes: IO_BYTES_MAX,
        ..Settings::default()
    }
}

/// Takes clients at `address` until the process ends.
pub fn listen(address: SocketAddr, shared: &Arc<Shared>) {
    let rdma = RdmaTransport::new(&shared.clock);
    let (leave, enter) = bounded(STRANGERS_MAX);
    for _ in 0..STRANGERS_MAX {
        let _ = leave.send(());
    }
    let mut told = String::new();
    while enter.recv().is_ok() {
        match accept(&rdma, address, shared) {
            Ok(connection) => {
                told.clear();
                let (shared, leave) = (shared.clone(), leave.clone());
                let serve = move || converse(connection, Ticket(Some(leave)), address, &shared);
                if std::thread::Builder::new().name("sink".into()).spawn(serve).is_err() {
                    tracing::warn!("sink: no thread for a client of SMB Direct");
                }
            }
            Err(error) => {
                let _ = leave.send(());
                let quiet = matches!(error, TransportError::Timeout { .. });
                let why = error.to_string();
                if !quiet && told != why {
                    tracing::warn!(%address, "sink: SMB Direct: {why}");
                    told = why;
                }
                if !quiet {
                    std::thread::sleep(BREATH);
                }
            }
        }
    }
}

/// The right to be inside without having shown the password; given back when it has been shown, or the connection is over.
struct Ticket(Option<Sender<()>>);

impl Ticket {
    fn give_back(&mut self) {
        if let Some(leave) = self.0.take() {
            let _ = leave.send(());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn accept(rdma: &RdmaTransport, address: SocketAddr, shared: &Shared) -> Result<Connection, TransportError> {
    let offer = offer();
    let prepared = rdma.prepare_wire(&WireSpec {
        role: Role::Accept,
        address: Some(address),
        private_data: PrivateData::Depths,
        reads_served: 1,
        sends: (Places::SENDS + MOVES) as u32,
        receives: u32::from(offer.receive_credits),
        ..WireSpec::default()
    })?;
    let clock = Arc::new(shared.clock.clone());
    Connection::start(prepared, Role::Accept, None, offer, clock, LISTENS_FOR, MOVES)
}

/// File data that went by RDMA.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    /// Fetched from the client, by RDMA READ.
    fetched_bytes: u64,
    /// Placed in the client's memory, by RDMA WRITE.
    placed_bytes: u64,
}

/// The client's memory, reached through memory of this connection alone.
struct ByRdma<'a> {
    pipe: &'a mut SmbdPipe,
    region: &'a Region,
    id: RegionId,
    moved: &'a mut Moved,
}

impl ByRdma<'_> {
    fn ops(
        &self,
        pieces: &[Descriptor],
        bytes: usize,
        verb: impl Fn(&Descriptor) -> WireVerb,
    ) -> Result<Vec<WireOp>, Unreached> {
        if bytes as u64 > self.region.len() {
            return Err(Unreached);
        }
        let op = |(at, piece): (usize, Descriptor)| WireOp {
            tag: 0,
            verb: verb(&piece),
            head: Piece { region: self.id, offset: at as u64, len: piece.bytes },
            body: Piece::default(),
        };
        Ok(cut(pieces, bytes).map(op).collect())
    }

    fn move_all(&mut self, ops: Vec<WireOp>) -> Result<(), Unreached> {
        self.pipe.begin(ops, MOVES).map_err(|_| Unreached)
    }
}

impl Reach for ByRdma<'_> {
    fn fetch(&mut self, from: &[Descriptor], into: &mut [u8]) -> Result<(), Unreached> {
        let read = |piece: &Descriptor| WireVerb::Read { address: piece.address, key: piece.token };
        let ops = self.ops(from, into.len(), read)?;
        // What was placed for an earlier request may still be on its way out of the same memory.
        self.pipe.settle().map_err(|_| Unreached)?;
        self.move_all(ops)?;
        self.pipe.settle().map_err(|_| Unreached)?;
        self.region.copy_out(0, into).map_err(|_| Unreached)?;
        self.moved.fetched_bytes += into.len() as u64;
        Ok(())
    }

    fn place(&mut self, bytes: &[u8], to: &[Descriptor]) -> Result<(), Unreached> {
        let write = |piece: &Descriptor| WireVerb::Write { address: piece.address, key: piece.token };
        let ops = self.ops(to, bytes.len(), write)?;
        self.pipe.settle().map_err(|_| Unreached)?;
        self.region.copy_in(0, bytes).map_err(|_| Unreached)?;
        // Writes reach the client before a message that is sent after them (IBTA 9.5, RFC 5040 5.5).
        self.move_all(ops)?;
        self.moved.placed_bytes += bytes.len() as u64;
        Ok(())
    }
}

fn converse(connection: Connection, mut ticket: Ticket, at: SocketAddr, shared: &Shared) {
    let mut moved = Moved::default();
    let came = shared.clock.now();
    let mut pipe = match SmbdPipe::new(connection) {
        Ok(pipe) => pipe,
        Err(error) => {
            tracing::info!(%at, "sink: connection by SMB Direct over: {error}");
            return;
        }
    };
    let why = match serve(&mut pipe, &mut moved, came, &mut ticket, shared) {
        Ok(why) => why,
        Err(error) => error.to_string(),
    };
    let counts = pipe.connection().counts();
    tracing::info!(
        %at,
        fetched_bytes = moved.fetched_bytes,
        placed_bytes = moved.placed_bytes,
        received_bytes = counts.payload_received_bytes,
        sent_bytes = counts.payload_sent_bytes,
        "sink: connection by SMB Direct over: {why}"
    );
}

fn serve(
    pipe: &mut SmbdPipe,
    moved: &mut Moved,
    came: Tick,
    ticket: &mut Ticket,
    shared: &Shared,
) -> Result<String, TransportError> {
    let clock = &shared.clock;
    let mut conversation = Conversation::new(&shared.server);
    conversation.answer_bytes_max = MESSAGE_BYTES_MAX.min(pipe.limits().send_bytes_max as usize);
    // The manager does not tell whose connection this is: wrong passwords of all of them count together.
    let from = std::net::IpAddr::from([0, 0, 0, 0]);
    let (mut message, mut answer) = (vec![], vec![]);
    let mut place = None;
    let mut memory: Option<(Arc<Region>, RegionId)> = None;
    loop {
        let wait = if place.is_some() { silence() } else { left(came, clock.now()) };
        if pipe.poll(&mut message, wait)?.is_none() {
            return Ok(
                if place.is_some() { "it was silent for 15 min" } else { "no password within 10 s" }.into()
            );
        }
        let turn = match &memory {
            None => shared.answer(&mut conversation, from, &mut message, None, &mut answer),
            Some((region, id)) => {
                let mut reach = ByRdma { pipe: &mut *pipe, region, id: *id, moved: &mut *moved };
                shared.answer(&mut conversation, from, &mut message, Some(&mut reach), &mut answer)
            }
        };
        match turn {
            Turn::HangUp(why) => return Ok(format!("it broke the protocol: {why}")),
            Turn::Silence => {}
            Turn::Answer(ends) => deliver(pipe, &answer, ends)?,
        }
        if !conversation.is_proven() && conversation.refused_logons() > 0 {
            return Ok("wrong user or password".into());
        }
        if conversation.is_proven() && place.is_none() {
            let Some(taken) = Place::take(&shared.inside, CONNECTIONS_MAX) else {
                return Ok("no place to serve it".into());
            };
            place = Some(taken);
            ticket.give_back();
            tracing::info!("sink: client logged on by SMB Direct");
            let region = Region::new(u64::from(IO_BYTES_MAX), Pages::Default)
                .map_err(|error| TransportError::invalid(error.to_string()))?;
            let region = Arc::new(region);
            let id = pipe.expose(&region, Access::Local)?.id;
            memory = Some((region, id));
        }
    }
}

/// Sends an answer as the client takes it; what it asks meanwhile stays in its receives.
fn deliver(pipe: &mut SmbdPipe, answer: &[u8], ends: Option<u32>) -> Result<(), TransportError> {
    pipe.drain()?;
    send(pipe, answer, ends)
}

fn left(came: Tick, now: Tick) -> Wait {
    Wait::AtMost(PATIENCE.saturating_sub(now.since(came)))
}
