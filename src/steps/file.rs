//! File data moved to and from a share of an SMB server, over one connection or over several channels of a session.
//!
//! The file is ours alone: made new under a name that nobody can foresee, deleted by the server with its last handle. What the server says it moved is
//! not taken for moved: where that was asked for, contents are compared by position and generation.

mod absence;
mod account;
mod carrier;
mod lane;
mod lent;
mod open;
mod pace;
mod rung;

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use crossbeam_channel::{Select, Sender, TryRecvError, bounded};
use pathproof_api::{Clock, Tick};
use pathproof_engine::files::{Content, Pieces, Work};
use pathproof_engine::record::Window;
use pathproof_model::code;
use pathproof_model::units::Bytes;
use pathproof_model::{
    ErrorKind, FileOrder, FileOver, FileSpec, Finding, NodeSpec, ResultDoc, Step, StepError, StepSpec,
};
use pathproof_smb2::SmbError;
use pathproof_smb2::connection::Protection;
use pathproof_smb2::direct::DESCRIPTORS_MAX;

use super::stage::SHOWN_NS;
use super::{Alone, Kind, Lone, remaining};
use crate::glance::Glance;
use crate::interrupt;
use absence::Maker;
use account::Counted;
use carrier::Link;
use lane::{Channel, Job, Pool};
use open::{Gone, Opened, put_away, sentence};
use pace::Pace;

/// The kind.
pub struct File;

/// Largest request: its answer has a length of 24 bits in front, with some to spare.
const SIZE_MAX: u64 = 8 << 20;
/// Most requests outstanding on a channel.
const DEPTH_MAX: u32 = 512;
/// Most channels: what Samba takes.
const CHANNELS_MAX: u32 = 32;
/// Most pieces of a file; each has four bytes of record here.
const BLOCKS_MAX: u64 = 1 << 24;
/// What a step takes beside its window.
const AROUND_NS: u64 = 1_000_000_000;

fn spec_of(spec: &StepSpec) -> FileSpec {
    spec.file().cloned().unwrap_or_default()
}

impl Kind for File {
    fn name(&self, spec: &StepSpec) -> String {
        let spec = spec_of(spec);
        let what = match (spec.reads, spec.writes) {
            (0, _) => "written".into(),
            (_, 0) => "read".into(),
            (reads, writes) => format!("read and written {reads}:{writes}"),
        };
        let order = if spec.order == FileOrder::Random { ", random" } else { "" };
        let begun = if spec.tcp_first { ", begun over tcp" } else { "" };
        format!("file {what} over {}{begun}{order}", spec.over.name())
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        let spec = spec_of(spec);
        // A server that answers nothing more is given up after so long; then the file is removed.
        spec.warmup_ns.saturating_add(spec.time_ns).saturating_add(spec.wait_ns.saturating_mul(8))
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        let spec = spec_of(spec);
        spec.warmup_ns.saturating_add(spec.time_ns).saturating_add(AROUND_NS)
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        super::whole(spec, self.need_ns(spec), left_ns)
    }
}

/// Whether the file can be measured at all.
pub fn check(spec: &FileSpec) -> Result<()> {
    if spec.wait_ns == 0 || spec.time_ns == 0 {
        bail!("--wait and --time must be more than zero; give them such as 10s");
    }
    if !(8..=SIZE_MAX).contains(&spec.size_bytes) || !spec.size_bytes.is_multiple_of(8) {
        bail!(
            "--size {} is not a multiple of 8 between 8 B and {}; give one such as 64KiB",
            spec.size_bytes,
            Bytes(SIZE_MAX)
        );
    }
    if !(1..=DEPTH_MAX).contains(&spec.depth) {
        bail!("--depth {} is not between 1 and {DEPTH_MAX}; give one such as 8", spec.depth);
    }
    if spec.channels.is_some_and(|channels| !(1..=CHANNELS_MAX).contains(&channels)) {
        bail!("--channels is not between 1 and {CHANNELS_MAX}; give a number of those, or leave it out");
    }
    if !(1..=DESCRIPTORS_MAX as u32).contains(&spec.descriptors) {
        bail!("--descriptors {} is not between 1 and {DESCRIPTORS_MAX}; give one of those", spec.descriptors);
    }
    if spec.over != FileOver::Smbd && (spec.descriptors != 1 || spec.register_each || spec.invalidate) {
        bail!("--descriptors, --register-each and --invalidate are about memory for RDMA; add --over smbd");
    }
    if spec.over != FileOver::Smbd && spec.tcp_first {
        bail!("--tcp-first is about a session with channels of SMB Direct; add --over smbd");
    }
    if spec.register_each && spec.invalidate {
        bail!("--invalidate gives each request a key of its own already; leave --register-each out");
    }
    if spec.reads == 0 && spec.writes == 0 {
        bail!("neither reads nor writes are asked for; leave --mix out, or give one such as 7:3");
    }
    let at_once = u64::from(spec.depth)
        * u64::from(spec.channels.unwrap_or(if spec.over == FileOver::Multi { 8 } else { 1 }));
    if !spec.file_bytes.is_multiple_of(spec.size_bytes)
        || !(at_once + 1..=BLOCKS_MAX).contains(&spec.blocks())
    {
        bail!(
            "--file-size {} is not a multiple of --size with room for more than the {at_once} requests under way, and at most {BLOCKS_MAX}; give --file-size one such as 128MiB",
            Bytes(spec.file_bytes)
        );
    }
    if spec.share.is_empty() {
        bail!("no share is named; write //SERVER/SHARE");
    }
    match (spec.kerberos, spec.user.is_empty()) {
        (false, true) => {
            bail!("no user is named, and no --kerberos; give --user NAME --password-file FILE, or --kerberos")
        }
        (true, false) => bail!("--kerberos logs on with a ticket; leave --user and --password-file out"),
        _ => Ok(()),
    }
}

impl Alone for File {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let spec = rung::adapted(spec_of(lone.spec), doc);
        step.over = Some(spec.over.name().into());
        if let Some(impossible) = rung::impossible(&spec, doc) {
            return Ok(rung::left_out(impossible, step, doc));
        }
        let invalid = |error: anyhow::Error| StepError::new(ErrorKind::Invalid, format!("{error:#}"));
        let Some(NodeSpec::Foreign { host }) = doc.node(spec.node).map(|node| &node.spec) else {
            return Err(invalid(anyhow::anyhow!("no SMB server was named; write //SERVER/SHARE")));
        };
        let identity = match spec.kerberos {
            true => super::smb::ticket(host),
            false => super::smb::account(&spec.user, &spec.domain, &spec.password_file).map_err(invalid)?,
        };
        let name = unforeseen().map_err(invalid)?;
        let (host, patience, asked) = (host.clone(), remaining(lone), spec.clone());
        let (clock, rdma) = (lone.clock.clone(), lone.registry.rdma().clone());
        let before = Counted::before(spec.over);
        // A server that is slow, or a name that nobody knows, does not hold up a signal. Should it come while the file is made, the file goes with
        // this process.
        let opening = move || open::open(&asked, &host, identity, &name, (&clock, rdma));
        let opened = match interrupt::unless(lone.interrupt, patience, opening)? {
            Ok(opened) => opened,
            Err(trouble) if trouble.no_direct && spec.rung => {
                return Ok(rung::left_out(rung::Impossible::unreachable(trouble.message), step, doc));
            }
            Err(trouble) => {
                doc.findings.extend(trouble.fault.map(|fault| *fault));
                return Err(StepError::new(ErrorKind::Refused, trouble.message));
            }
        };
        Ok(measure(lone, &spec, opened, before, step, doc))
    }
}

/// A name of which nobody has a file.
fn unforeseen() -> Result<String> {
    let mut random = [0u8; 12];
    getrandom::fill(&mut random)?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("pathproof-{hex}.tmp"))
}

/// Moves the data, puts the file away, and fills the step.
fn measure(
    lone: &mut Lone<'_>,
    spec: &FileSpec,
    opened: Opened,
    before: Counted,
    step: &mut Step,
    doc: &ResultDoc,
) -> Vec<Finding> {
    let Opened { dialler, session, mut anchor, channels, in_messages, limit, file, path, missing, .. } =
        opened;
    let begun = anchor.as_ref().unwrap_or(&channels[0].link);
    let recall = (begun.address(), begun.pipe().kind());
    let links: Vec<&Link> = anchor.iter().chain(channels.iter().map(|channel| &channel.link)).collect();
    let lent = channels[0].lent.as_ref();
    let account = account::Account::of(&session, &links, lent, &path, (missing, in_messages.clone()), doc);
    let room = channels.len() * (spec.depth as usize + 1);
    let lends = channels.iter().any(|channel| channel.lent.is_some());
    let lends = lends.then(|| lent::Terms::of(spec));
    let seed = lone.seed ^ session.id;
    let bypassed = in_messages.filter(|_| session.protection != Protection::Open);
    let maker = Maker::new(dialler, session, lends, channels.len() + usize::from(anchor.is_some()));
    let pool = Pool::new(
        (Pieces::new(spec.blocks(), lone.seed), Content { seed }),
        (file, spec.size_bytes as u32),
        (spec.durable, spec.verify),
        (channels.len() as u32, room, maker),
        (lone.clock, lone.interrupt),
    );
    let mut channels: Vec<Channel> = channels
        .into_iter()
        .map(|channel| Channel::new(channel, spec.depth as usize, spec.size_bytes as usize))
        .collect();
    let pace = Pace::new(lone.clock.now());
    let mut course = Course { lone, pool: &pool, channels: &mut channels, faults: vec![], pace };
    let made = course.whole(spec);
    let mut findings = course.faults;
    findings.extend(limit);
    // Where the server was asked about itself, that is told already.
    if let Some(why) = bypassed.filter(|_| !doc.findings.iter().any(|f| f.is(code!("SMB-RDMA-BYPASSED")))) {
        findings.push(Finding::new("SMB-RDMA-BYPASSED", why));
    }
    let connection = channels.iter_mut().find_map(|channel| channel.connection.as_mut());
    // Before the session ends: a server may end its connections with it.
    let begun = anchor.as_ref().and_then(|anchor| anchor.pipe().counted());
    let gone = put_away(&pool.maker, connection.or(anchor.as_mut()), file, &path, recall);
    findings.extend(account.fill(step, spec, &pool, (begun, channels), &made, before));
    let detail = step.detail.file.get_or_insert_default();
    let Gone { gone: removed, takes_unsigned } = gone.as_ref().copied().unwrap_or_default();
    detail.removed = removed;
    if takes_unsigned == Some(true) {
        let evidence = format!("{} demands signatures, and answered a request without one", detail.address);
        findings.push(Finding::new("SMB-UNSIGNED-TAKEN", evidence));
    }
    step.error = made.error;
    if let Err(error) = gone {
        let left = format!("{error:#}");
        match &mut step.error {
            Some(why) => why.message = format!("{}; and {left}", why.message),
            None => step.error = Some(StepError::new(ErrorKind::Refused, left)),
        }
    }
    findings
}

/// What came of the course.
#[derive(Default)]
struct Made {
    window: Option<Window>,
    flush_ns: Option<u64>,
    /// All that was written was read again.
    checked: bool,
    error: Option<StepError>,
}

/// The parts of the step, one after the other: the file is filled, measured, flushed, checked.
struct Course<'a, 'b> {
    lone: &'a mut Lone<'b>,
    pool: &'a Pool,
    channels: &'a mut [Channel],
    /// What the server did wrong.
    faults: Vec<Finding>,
    pace: Pace,
}

impl Course<'_, '_> {
    /// An error of the server or of the way to it.
    fn refused(&mut self, error: &SmbError) -> StepError {
        self.faults.extend(open::fault(error));
        StepError::new(ErrorKind::Refused, sentence(error))
    }

    fn whole(&mut self, spec: &FileSpec) -> Made {
        let mut made = Made::default();
        made.error = self.parts(spec, &mut made).err();
        if made.error.is_none() {
            // Whoever was lost at the end had no time to come back.
            self.channels.iter_mut().for_each(|channel| _ = channel.try_again(self.pool));
        }
        made
    }

    fn parts(&mut self, spec: &FileSpec, made: &mut Made) -> Result<(), StepError> {
        if spec.reads > 0 {
            self.job(Job { work: Work::Fill, window: None })?;
            self.flush()?;
        }
        self.pool.pieces.rewind();
        let (reads, writes, random) = (spec.reads, spec.writes, spec.order == FileOrder::Random);
        let now = self.pool.clock.now();
        // What the run still has may be less than the window; the rest takes time too.
        let left_ns = self.lone.until.ns_since(now).saturating_sub(AROUND_NS / 2);
        let window =
            Window::after(now, spec.warmup_ns, spec.time_ns.min(left_ns.saturating_sub(spec.warmup_ns)));
        made.window = Some(window);
        let moved = self.job(Job { work: Work::Mix { reads, writes, random }, window: Some(window) });
        // One that was broken off ends here, and not when the file has been put away.
        made.window = Some(Window { end: window.end.min(self.pool.clock.now()), ..window });
        moved?;
        if writes > 0 {
            let from = self.pool.clock.now();
            self.flush()?;
            made.flush_ns = Some(self.pool.clock.now().ns_since(from));
        }
        if spec.verify {
            self.pool.pieces.rewind();
            self.job(Job { work: Work::Check, window: None })?;
            made.checked = true;
        }
        Ok(())
    }

    /// One job on all channels, and again on those that are left until nothing is without an answer.
    fn job(&mut self, job: Job) -> Result<(), StepError> {
        self.once(job)?;
        while self.pool.has_orphans() {
            self.once(Job { work: Work::Rest, window: None })?;
        }
        Ok(())
    }

    fn once(&mut self, job: Job) -> Result<(), StepError> {
        let (pool, lone) = (self.pool, &mut *self.lone);
        let begun = pool.clock.now();
        let mut failed: Option<SmbError> = None;
        let mut lost = false;
        std::thread::scope(|scope| {
            let (done, ended) = bounded(self.channels.len());
            let (hold, over) = bounded(0);
            let mut hold: Option<Sender<Infallible>> = Some(hold);
            let mut running = 0;
            let standing = self.channels.iter().filter(|channel| channel.connection.is_some()).count();
            pool.at_work.store(standing as u32, Ordering::Release);
            for channel in self.channels.iter_mut() {
                let (done, over) = (done.clone(), over.clone());
                let run = move || drop(done.send(channel.run(pool, job, &over)));
                match std::thread::Builder::new().name("channel".into()).spawn_scoped(scope, run) {
                    Ok(_) => running += 1,
                    Err(_) => lost = true,
                }
            }
            drop(done);
            lost |= standing == 0;
            let mut shown = begun;
            while running > 0 {
                match ended.try_recv() {
                    Ok(end) => {
                        running -= 1;
                        if let Err(error) = end {
                            failed.get_or_insert(error);
                        }
                        // What a channel could come back for is done, or nobody can do it.
                        let done = job.window.is_none() && pool.at_work.load(Ordering::Acquire) == 0;
                        if done || failed.is_some() {
                            hold = None;
                        }
                        continue;
                    }
                    Err(TryRecvError::Disconnected) => break,
                    Err(TryRecvError::Empty) => {}
                }
                let now = pool.clock.now();
                if hold.is_some() && super::stopped(lone.interrupt, lone.clock, lone.until).is_some() {
                    pool.stop.store(true, Ordering::Release);
                    hold = None;
                }
                let due = if hold.is_some() { lone.until } else { Tick(u64::MAX) };
                if now >= shown {
                    // What fills the file, or checks it, takes as long as it takes.
                    let whole = job.window.map(|window| window.end.ns_since(begun).max(1));
                    let share = whole.map(|whole| (now.ns_since(begun) as f64 / whole as f64).min(1.0));
                    let second = self.pace.look(now, pool);
                    (lone.progress)(Glance { share, second, ..Glance::default() });
                    shown = now.plus_ns(SHOWN_NS);
                }
                let due = due.min(shown);
                let mut select = Select::new();
                select.recv(&ended);
                if hold.is_some() {
                    lone.interrupt.watch(&mut select);
                }
                let _ = select.ready_timeout(due.since(now));
            }
        });
        if lone.interrupt.is_raised() {
            return Err(interrupt::error());
        }
        if let Some(error) = failed {
            return Err(self.refused(&error));
        }
        if lost {
            let message = "no thread can be started for a channel; raise the limit (ulimit -u)".into();
            return Err(StepError::new(ErrorKind::Resource, message));
        }
        match super::stopped(lone.interrupt, lone.clock, lone.until) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    /// What was written reaches the disk, as far as the server knows. A channel that is dead is found here too.
    fn flush(&mut self) -> Result<(), StepError> {
        loop {
            let Some(channel) = self.channels.iter_mut().find(|channel| channel.connection.is_some()) else {
                let message = "no channel is left".into();
                return Err(StepError::new(ErrorKind::Refused, message));
            };
            let Some(connection) = &mut channel.connection else { continue };
            connection.channel_sequence = self.pool.lost.load(Ordering::Acquire);
            match connection.flush(self.pool.file) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_of_the_connection() => {
                    self.pool.lost.fetch_add(1, Ordering::AcqRel);
                    if self.pool.living.fetch_sub(1, Ordering::AcqRel) <= 1 {
                        return Err(self.refused(&error));
                    }
                    channel.lose(error, self.pool);
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
    }
}
