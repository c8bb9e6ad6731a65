//! The thread of one channel: it takes requests from the pool that all channels share, keeps some of them under way, and when its connection
//! ends it leaves those without an answer to the others, until it is made again.
//!
//! Between its first request and its last it allocates nothing, and takes no lock unless a channel was lost.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use pathproof_api::{Clock, EndedBy, LoanForm, Tick, TransportError, Wait};
use pathproof_engine::drive::Meter;
use pathproof_engine::files::{Content, Piece, Pieces, Work};
use pathproof_engine::record::{LatencyHistogram, Window};
use pathproof_smb2::connection::{Answer, Request, Went};
use pathproof_smb2::file::{self, FileId};
use pathproof_smb2::wire::{Command, FLAG_REPLAY};
use pathproof_smb2::{NtStatus, SmbError};
use pathproof_sys::clock::RealClock;

use super::absence::{Absence, Maker};
use super::carrier::{CarrierKind, Link, Messages};
use super::lent::{Joined, Lent};
use crate::interrupt::Interrupt;
use crate::steps::meter::ThreadMeter;

/// How soon a channel sees that all are to stop while its server is silent: who waits in a connection could be woken by its end only, and it is
/// needed to remove the file.
const LOOK: Duration = Duration::from_millis(50);
/// Before a request is made again that the server says it cannot take yet: it tells nobody when it can.
const AGAIN: Duration = Duration::from_millis(10);

/// What is done with the file now.
#[derive(Clone, Copy)]
pub struct Job {
    /// Which requests.
    pub work: Work,
    /// What counts of them; `None` for what is not measured, and goes on until there is nothing left to do.
    pub window: Option<Window>,
}

/// What the channels share.
pub struct Pool {
    pub pieces: Pieces,
    pub content: Content,
    pub file: FileId,
    pub size: u32,
    pub durable: bool,
    /// What is read is compared.
    pub verify: bool,
    pub clock: RealClock,
    pub interrupt: Interrupt,
    /// Makes channels that were lost.
    pub maker: Maker,
    /// All are to end: somebody met what no other channel can repair, or the time is up.
    pub stop: AtomicBool,
    /// Channels that stand.
    pub living: AtomicU32,
    /// Channels that are at work on the job.
    pub at_work: AtomicU32,
    /// Channels that were lost (ChannelSequence).
    pub lost: AtomicU16,
    /// Requests that went out on channels that were lost.
    orphans: Mutex<Vec<Piece>>,
    /// How many they are, so that nobody takes the lock for nothing.
    orphaned: AtomicU32,
    pub replayed: AtomicU32,
    /// What was read and what was written in all jobs, in bytes, for who looks on.
    pub moved: [AtomicU64; 2],
    pub compared_bytes: AtomicU64,
    pub wrong_blocks: AtomicU64,
    /// Those among them that hold what was there before.
    pub stale_blocks: AtomicU64,
    /// First byte of the file that was wrong; `u64::MAX` where none was.
    pub first_wrong: AtomicU64,
}

impl Pool {
    pub fn new(
        (pieces, content): (Pieces, Content),
        (file, size): (FileId, u32),
        (durable, verify): (bool, bool),
        (channels, room, maker): (u32, usize, Maker),
        (clock, interrupt): (&RealClock, &Interrupt),
    ) -> Pool {
        Pool {
            pieces,
            content,
            file,
            size,
            durable,
            verify,
            clock: clock.clone(),
            interrupt: interrupt.clone(),
            maker,
            stop: AtomicBool::new(false),
            living: AtomicU32::new(channels),
            at_work: AtomicU32::new(0),
            lost: AtomicU16::new(0),
            orphans: Mutex::new(Vec::with_capacity(room)),
            orphaned: AtomicU32::new(0),
            replayed: AtomicU32::new(0),
            moved: [const { AtomicU64::new(0) }; 2],
            compared_bytes: AtomicU64::new(0),
            wrong_blocks: AtomicU64::new(0),
            stale_blocks: AtomicU64::new(0),
            first_wrong: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether requests wait that no channel has.
    pub fn has_orphans(&self) -> bool {
        self.orphaned.load(Ordering::Acquire) > 0
    }

    fn adopt(&self) -> Option<Piece> {
        if !self.has_orphans() {
            return None;
        }
        let piece = self.orphans.lock().unwrap_or_else(|poison| poison.into_inner()).pop()?;
        self.orphaned.fetch_sub(1, Ordering::AcqRel);
        Some(piece)
    }

    fn abandon(&self, piece: Piece) {
        self.orphans.lock().unwrap_or_else(|poison| poison.into_inner()).push(piece);
        self.orphaned.fetch_add(1, Ordering::AcqRel);
    }
}

/// What one channel did.
pub struct Tally {
    pub read: Carried,
    pub write: Carried,
    pub cpu_ns: Option<u64>,
    /// When the last answer of the window came.
    pub last: Tick,
    /// File data that the server fetched or put by itself (RDMA), in all jobs, as far as it says.
    pub placed_bytes: u64,
    /// Keys that the server was to end, in all jobs.
    pub keys: KeyEnds,
    /// What went in messages of SMB Direct, in all jobs.
    pub messages: Option<Messages>,
    /// The same of connections that have ended.
    before: Option<Messages>,
}

/// What became of keys that the server was to end with its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyEnds {
    /// What they were of; `None` where there were none.
    pub form: Option<LoanForm>,
    /// Those that the server ended, as is reported.
    pub by_server: u64,
    /// Those of which nothing is reported: ended here.
    pub here: u64,
}

/// One way of it.
#[derive(Default)]
pub struct Carried {
    pub operations: u64,
    pub bytes: u64,
    pub service: LatencyHistogram,
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            read: Carried::default(),
            write: Carried::default(),
            cpu_ns: None,
            last: Tick(0),
            placed_bytes: 0,
            keys: KeyEnds::default(),
            messages: None,
            before: None,
        }
    }

    /// What its connection has said so far.
    fn told(&mut self, messages: Option<Messages>) {
        self.messages = match (self.before, messages) {
            (Some(before), Some(now)) => Some(before.plus(now)),
            (before, now) => before.or(now),
        };
    }
}

/// One channel: its connection, until it is lost, and what it did.
pub struct Channel {
    pub connection: Option<Link>,
    /// Memory that the server reaches by itself; without it, data goes in messages.
    lent: Option<Lent>,
    pub tally: Tally,
    /// Where it leads, and what it is.
    home: (SocketAddr, CarrierKind),
    /// It was lost and is not there again.
    pub absence: Option<Absence>,
    /// How often it was lost, and how long it was away at most.
    pub losses: u32,
    pub longest_away: Duration,
    /// What ended it last.
    pub last_error: Option<String>,
    /// What goes out; taken before anything is measured.
    outgoing: Vec<u8>,
    /// Whether some content was made there.
    is_filled: bool,
    /// What the server has put into memory, when it is looked at.
    looked_at: Vec<u8>,
    /// Requests under way; their place is the tag that the connection knows them by.
    under_way: Vec<Option<Piece>>,
    free: Vec<usize>,
    /// Since when the server says that the file is not available, where it said nothing else.
    unavailable_since: Option<Tick>,
    /// The next one, before it goes out; its data stands in `outgoing`.
    next: Option<Piece>,
}

impl Channel {
    pub fn new(Joined { link, lent }: Joined, depth: usize, size: usize) -> Channel {
        Channel {
            home: (link.address(), link.pipe().kind()),
            connection: Some(link),
            tally: Tally::new(),
            absence: None,
            losses: 0,
            longest_away: Duration::ZERO,
            last_error: None,
            outgoing: vec![0; size],
            is_filled: false,
            looked_at: if lent.is_some() { vec![0; size] } else { vec![] },
            lent,
            under_way: vec![None; depth],
            free: (0..depth).rev().collect(),
            unavailable_since: None,
            next: None,
        }
    }

    /// Does its part of a job; an error is one that no other channel can repair. The sender of `over` is dropped when there is nothing left
    /// to do for who has no connection.
    pub fn run(&mut self, pool: &Pool, job: Job, over: &Receiver<Infallible>) -> Result<(), SmbError> {
        let mut meter = ThreadMeter;
        let before = meter.cpu_ns();
        let ended = self.work(pool, job, over);
        if job.window.is_some() {
            self.tally.cpu_ns =
                before.zip(meter.cpu_ns()).map(|(before, after)| after.saturating_sub(before));
        }
        ended
    }

    fn work(&mut self, pool: &Pool, job: Job, over: &Receiver<Infallible>) -> Result<(), SmbError> {
        while self.connection.is_some() || self.come_back(pool, job, over) {
            let Some(mut connection) = self.connection.take() else { break };
            let ended = self.turn(&mut connection, pool, job);
            pool.at_work.fetch_sub(1, Ordering::AcqRel);
            self.tally.told(connection.pipe().messages());
            if let Err(error) = ended {
                let others = pool.living.fetch_sub(1, Ordering::AcqRel) > 1;
                // First the number, so that whoever adopts a request sends it with that.
                pool.lost.fetch_add(1, Ordering::AcqRel);
                self.leave_to_others(pool);
                let repairable = others && error.is_of_the_connection();
                if !repairable {
                    pool.stop.store(true, Ordering::Release);
                    // It may be needed to remove the file.
                    if !error.is_of_the_connection() {
                        self.connection = Some(connection);
                    }
                    return Err(error);
                }
                self.lose(error, pool);
                continue;
            }
            self.connection = Some(connection);
            break;
        }
        Ok(())
    }

    /// Its connection has ended.
    pub fn lose(&mut self, error: SmbError, pool: &Pool) {
        self.connection = None;
        self.lent = None;
        self.tally.before = self.tally.messages;
        self.losses += 1;
        self.last_error = Some(super::open::sentence(&error));
        self.absence = Some(Absence::new(error, pool.clock.now()));
    }

    /// Waits until it stands again; false when the job is over before that, or there is no hope.
    fn come_back(&mut self, pool: &Pool, job: Job, over: &Receiver<Infallible>) -> bool {
        loop {
            let Some(due) = self.absence.as_ref().filter(|absence| absence.has_hope()).map(Absence::due)
            else {
                return false;
            };
            let now = pool.clock.now();
            let done = match job.window {
                Some(window) => now >= window.end,
                None => pool.at_work.load(Ordering::Acquire) == 0,
            };
            if done || pool.stop.load(Ordering::Relaxed) || pool.interrupt.is_raised() {
                return false;
            }
            if now < due {
                let until = job.window.map_or(due, |window| window.end.min(due));
                if over.recv_timeout(until.since(now)) == Err(RecvTimeoutError::Disconnected) {
                    return false;
                }
            } else if self.try_again(pool) {
                pool.at_work.fetch_add(1, Ordering::AcqRel);
                return true;
            }
        }
    }

    /// One attempt to make it again, where there is hope.
    pub fn try_again(&mut self, pool: &Pool) -> bool {
        let home = self.home;
        let absence = self.absence.as_mut().filter(|absence| absence.has_hope());
        let Some(Joined { link, lent }) =
            absence.and_then(|absence| absence.try_again(&pool.maker, home, &pool.clock))
        else {
            return false;
        };
        if let Some(absence) = self.absence.take() {
            self.longest_away = self.longest_away.max(pool.clock.now().since(absence.since));
        }
        self.connection = Some(link);
        self.lent = lent;
        pool.living.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// What has no answer is for the other channels.
    fn leave_to_others(&mut self, pool: &Pool) {
        for (at, piece) in self.under_way.iter_mut().enumerate() {
            if let Some(piece) = piece.take() {
                self.free.push(at);
                pool.abandon(Piece { again: true, ..piece });
            }
        }
        if let Some(piece) = self.next.take() {
            pool.abandon(piece);
        }
    }

    fn turn(&mut self, connection: &mut Link, pool: &Pool, job: Job) -> Result<(), SmbError> {
        let mut now = pool.clock.now();
        loop {
            let stopped = pool.stop.load(Ordering::Relaxed) || pool.interrupt.is_raised();
            let over = stopped || job.window.is_some_and(|window| now >= window.end);
            while !over && !self.free.is_empty() {
                let Some(piece) = self.take(pool, job) else { break };
                if !self.submit(connection, pool, piece)? {
                    break;
                }
            }
            if self.free.len() == self.under_way.len() {
                // What could not go out, although nothing is under way, goes with the next job or to others; what was only made ready is undone.
                match self.next.take() {
                    Some(piece) if over && !piece.again => pool.pieces.put_back(piece),
                    Some(piece) => pool.abandon(piece),
                    None => {}
                }
                return Ok(());
            }
            if !over {
                // While the server works: what is written next is made, so that no request waits for its own data.
                self.take(pool, job);
            }
            if stopped {
                // Whatever is still under way is of no interest, and its end is not waited for.
                for (at, piece) in self.under_way.iter_mut().enumerate() {
                    if piece.take().is_some() {
                        self.free.push(at);
                    }
                }
                return Ok(());
            }
            match connection.answer(Wait::AtMost(LOOK))? {
                Some(answer) => {
                    now = answer.at;
                    self.answered(connection, pool, job, &answer)?;
                }
                None => now = pool.clock.now(),
            }
        }
    }

    fn take(&mut self, pool: &Pool, job: Job) -> Option<Piece> {
        if let Some(piece) = self.next {
            return Some(piece);
        }
        let adopted = pool.adopt();
        if adopted.is_some_and(|piece| piece.again) {
            pool.replayed.fetch_add(1, Ordering::Relaxed);
        }
        let piece = adopted.or_else(|| pool.pieces.take(job.work))?;
        // Where nobody looks, the same bytes do for all: making others for each takes a processor from who shares it with the server.
        if piece.write && (pool.verify || !self.is_filled) {
            pool.content.fill(&mut self.outgoing, piece.block * u64::from(pool.size), piece.generation);
            self.is_filled = true;
        }
        self.next = Some(piece);
        Some(piece)
    }

    /// Whether it went out.
    fn submit(&mut self, connection: &mut Link, pool: &Pool, piece: Piece) -> Result<bool, SmbError> {
        let Some(&slot) = self.free.last() else { return Ok(false) };
        let offset = piece.block * u64::from(pool.size);
        let request = Request {
            command: if piece.write { Command::Write } else { Command::Read },
            body: &[],
            data: &[],
            moves_bytes: u64::from(pool.size),
            flags: if piece.again { FLAG_REPLAY } else { 0 },
            tag: slot as u64,
        };
        connection.channel_sequence = pool.lost.load(Ordering::Acquire);
        let placement = match &mut self.lent {
            Some(lent) => {
                let ready = match piece.write {
                    true => lent.put(slot, &self.outgoing),
                    // What the server does not put there must not be taken for what it put there before.
                    false => !pool.verify || lent.clear(slot),
                };
                let lent = lent.placement(connection, slot);
                lent.map_err(|error| no_memory(connection, &error))?.filter(|_| ready)
            }
            None => None,
        };
        let went = match (&placement, piece.write) {
            (Some(placement), true) => {
                let body = file::encode_write_from(pool.file, offset, placement, pool.durable);
                connection.submit(&Request { body: &body, data: placement.encoded(), ..request })?
            }
            (Some(placement), false) => {
                let body = file::encode_read_into(pool.file, offset, placement);
                connection.submit(&Request { body: &body, data: placement.encoded(), ..request })?
            }
            (None, true) => {
                let body = file::encode_write(pool.file, offset, pool.size, pool.durable);
                connection.submit(&Request { body: &body, data: &self.outgoing, ..request })?
            }
            (None, false) => {
                let body = file::encode_read(pool.file, offset, pool.size);
                connection.submit(&Request { body: &body, ..request })?
            }
        };
        if went == Went::NotNow {
            return Ok(false);
        }
        self.free.pop();
        self.under_way[slot] = Some(piece);
        self.next = None;
        Ok(true)
    }

    fn answered(
        &mut self,
        connection: &mut Link,
        pool: &Pool,
        job: Job,
        answer: &Answer,
    ) -> Result<(), SmbError> {
        let slot = answer.asked.tag as usize;
        let Some(piece) = self.under_way.get_mut(slot).and_then(Option::take) else { return Ok(()) };
        self.free.push(slot);
        let mut ended = None;
        if let Some(lent) = &mut self.lent {
            let stage = answer.asked.command.name();
            let told = lent.answered(connection, slot, &answer.arrival);
            ended = told.map_err(|error| unkept(connection, stage, error))?;
            self.tally.keys.form = lent.form();
        }
        if answer.header.status == NtStatus::FILE_NOT_AVAILABLE && pool.lost.load(Ordering::Acquire) > 0 {
            // The server still works on what it was asked over the channel that is lost, or this request left with a ChannelSequence that
            // another channel's had overtaken on the way. Either way it did nothing, and is asked again.
            let since = *self.unavailable_since.get_or_insert(answer.at);
            if answer.at.since(since) < connection.timeout() {
                let _ = pool.interrupt.pause(AGAIN);
                pool.abandon(piece);
                return Ok(());
            }
        }
        self.unavailable_since = None;
        if let Err(error) = connection.expect_success(answer) {
            self.under_way[slot] = Some(piece);
            self.free.pop();
            return Err(error);
        }
        let stage = if piece.write { "WRITE" } else { "READ" };
        let malformed = |source| SmbError::Wire { address: connection.address(), stage, source };
        let looks = pool.verify && !piece.write;
        let done = match &self.lent {
            _ if piece.write => file::decode_write(connection.message()).map_err(malformed)?,
            Some(lent) => {
                let put = file::decode_read_into(connection.message(), pool.size).map_err(malformed)?;
                if looks && put == pool.size && lent.take(slot, &mut self.looked_at) {
                    compare(pool, piece, &self.looked_at);
                }
                put
            }
            None => {
                let data = file::decode_read(connection.message(), pool.size).map_err(malformed)?;
                if looks && data.len() == pool.size as usize {
                    compare(pool, piece, data);
                }
                data.len() as u32
            }
        };
        if done != pool.size {
            let what = format!("it moved {done} of {} bytes", pool.size);
            return Err(SmbError::Untrue { address: connection.address(), stage, what });
        }
        match ended {
            // An answer that refuses a request is not asked to end anything.
            None => {}
            Some(EndedBy::Peer) => self.tally.keys.by_server += 1,
            Some(EndedBy::Here) => self.tally.keys.here += 1,
        }
        pool.pieces.give_back(piece);
        pool.moved[usize::from(piece.write)].fetch_add(u64::from(done), Ordering::Relaxed);
        if self.lent.is_some() {
            self.tally.placed_bytes += u64::from(done);
        }
        if job.window.is_some_and(|window| window.contains(answer.at)) {
            let way = if piece.write { &mut self.tally.write } else { &mut self.tally.read };
            way.operations += 1;
            way.bytes += u64::from(done);
            way.service.record(answer.at.ns_since(answer.asked.sent));
            self.tally.last = answer.at;
        }
        Ok(())
    }
}

fn no_memory(connection: &Link, error: &TransportError) -> SmbError {
    SmbError::NoDirect { address: connection.address(), why: error.to_string() }
}

/// Memory that could not be had back as it was lent.
fn unkept(connection: &Link, stage: &'static str, error: TransportError) -> SmbError {
    match error {
        TransportError::Protocol { detail, .. } => {
            SmbError::WrongKey { address: connection.address(), stage, what: detail }
        }
        error => no_memory(connection, &error),
    }
}

fn compare(pool: &Pool, piece: Piece, data: &[u8]) {
    let position = piece.block * u64::from(pool.size);
    pool.compared_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
    if let Some(at) = pool.content.difference(data, position, piece.generation) {
        let is_stale = pool.content.earlier(data, position, piece.generation).is_some();
        pool.wrong_blocks.fetch_add(1, Ordering::Relaxed);
        pool.stale_blocks.fetch_add(u64::from(is_stale), Ordering::Relaxed);
        pool.first_wrong.fetch_min(position + at as u64, Ordering::Relaxed);
    }
}
