//! Drives searches with real sockets: sends what they ask for, feeds back what came, waits no longer than they
//! say. Decides nothing itself.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Select, TryRecvError, bounded};
use pathproof_api::{Clock, Tick};
use pathproof_dgram::{DgramError, EchoSocket, Event, Outcome, ProbeSocket};
use pathproof_engine::mtu::{Fragments, Next, Probe, Search};

use pathproof_model::stream::{Count, Counted};

use crate::glance::Glance;
use crate::interrupt::Interrupt;
use crate::session::Channel;
use crate::steps::stage::SHOWN_NS;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::{self, Ending};
use pathproof_sys::{AsDescriptor as _, Descriptor};

/// An echo that reached anybody at all takes longer than one to an agent: the peer's kernel may limit its rate.
pub const ECHO_LOSS_TIMER_NS: u64 = 200_000_000;
/// Searches that run at the same time; more would drown one another in shared queues.
const AT_ONCE: usize = 8;

/// What sends the probes of one search.
pub enum Prober {
    /// To an agent that has consented.
    Udp(ProbeSocket),
    /// To a host that the command line names.
    Echo(EchoSocket, IpAddr),
}

impl Prober {
    fn send(&mut self, seq: u32, ip_bytes: u32) -> Result<Outcome, DgramError> {
        match self {
            Prober::Udp(socket) => socket.send(seq, ip_bytes),
            Prober::Echo(socket, to) => socket.send(*to, seq, ip_bytes),
        }
    }

    /// Where the host cuts it up; echoes are not asked to be that long.
    fn send_without_df(&mut self, probe: Probe) -> Result<Outcome, DgramError> {
        match self {
            Prober::Udp(socket) => socket.send_without_df(probe.seq, probe.ip_bytes),
            Prober::Echo(..) => Ok(Outcome::TooBig { ip_mtu_bytes: None }),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event>, DgramError> {
        match self {
            Prober::Udp(socket) => socket.next_event(),
            Prober::Echo(socket, _) => socket.next_event(),
        }
    }

    fn descriptor(&self) -> Descriptor<'_> {
        match self {
            Prober::Udp(socket) => socket.descriptor(),
            Prober::Echo(socket, _) => socket.descriptor(),
        }
    }
}

/// One search with its socket.
pub struct Job {
    /// Sends its probes.
    pub prober: Prober,
    /// The search.
    pub search: Search,
    /// The MTU of the interface that sends, where datagrams above it are to be tried after the search.
    fragments_above: Option<u32>,
    /// Those datagrams, once the search is over.
    pub fragments: Option<Fragments>,
    /// What stopped it before its end.
    pub error: Option<DgramError>,
}

impl Job {
    /// A search alone.
    pub fn new(prober: Prober, search: Search) -> Job {
        Job { prober, search, fragments_above: None, fragments: None, error: None }
    }

    /// After it datagrams that the interface, whose MTU this is, has to cut up.
    pub fn and_fragments_above(self, sender_ip_mtu_bytes: Option<u32>) -> Job {
        Job { fragments_above: sender_ip_mtu_bytes, ..self }
    }
}

/// Who may end the searches before they are through.
pub enum EndedBy<'a> {
    /// Whoever may end the session.
    Session(&'a mut dyn Channel),
    /// The user, or a moment.
    User(&'a Interrupt, Tick),
}

impl EndedBy<'_> {
    fn has_come(&mut self, now: Tick) -> bool {
        match self {
            EndedBy::Session(channel) => channel.is_over(),
            EndedBy::User(interrupt, until) => interrupt.is_raised() || now >= *until,
        }
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) -> Tick {
        match self {
            EndedBy::Session(channel) => {
                channel.watch(select);
                channel.due()
            }
            EndedBy::User(interrupt, until) => {
                interrupt.watch(select);
                *until
            }
        }
    }
}

/// How far the searches are.
#[derive(Default)]
struct Tally {
    through: AtomicU64,
    probes: AtomicU64,
}

/// Runs all jobs to their end, or until `ends` come, on a thread that waits for its sockets; this one waits for its end, and
/// shows how it goes where somebody looks. Whether they were ended early.
pub fn drive(
    jobs: &mut [Job],
    clock: &RealClock,
    mut ends: EndedBy<'_>,
    mut progress: Option<&mut (dyn FnMut(Glance) + '_)>,
) -> io::Result<bool> {
    let (ender, ending) = ending::pair()?;
    let (through, over) = bounded::<Infallible>(0);
    let (total, tally) = (jobs.len() as u64, &Tally::default());
    std::thread::scope(|scope| {
        let search = move || {
            let _ends_with_this_thread = through;
            for some in jobs.chunks_mut(AT_ONCE) {
                if !drive_some(some, clock, &ending, tally) {
                    break;
                }
            }
        };
        Builder::new().name("searches".into()).spawn_scoped(scope, search)?;
        let mut ender = Some(ender);
        let mut shown = clock.now();
        while over.try_recv() == Err(TryRecvError::Empty) {
            let now = clock.now();
            if ender.is_some() && ends.has_come(now) {
                ender = None;
            }
            if let Some(progress) = &mut progress
                && now >= shown
            {
                progress(tally.glance(total));
                shown = now.plus_ns(SHOWN_NS);
            }
            let mut select = Select::new();
            select.recv(&over);
            let due = if ender.is_some() { ends.watch(&mut select) } else { Tick(u64::MAX) };
            let due = if progress.is_some() { due.min(shown) } else { due };
            let _ = select.ready_timeout(due.since(clock.now()));
        }
        Ok(ender.is_none())
    })
}

impl Tally {
    fn glance(&self, total: u64) -> Glance {
        let (paths, probes) = (self.through.load(Ordering::Relaxed), self.probes.load(Ordering::Relaxed));
        let counts = vec![
            Count { what: Counted::Paths, done: paths, of: Some(total) },
            Count { what: Counted::Probes, done: probes, of: None },
        ];
        Glance { counts, ..(paths as f64 / total.max(1) as f64).into() }
    }
}

/// Whether they are through; otherwise the end has come.
fn drive_some(jobs: &mut [Job], clock: &RealClock, ending: &Ending, tally: &Tally) -> bool {
    let mut told = 0;
    loop {
        let mut nap: Option<Duration> = None;
        let mut open: Vec<usize> = Vec::new();
        for (index, job) in jobs.iter_mut().enumerate() {
            if let Some(wait) = turn(job, clock, tally) {
                nap = Some(nap.map_or(wait, |shortest| shortest.min(wait)));
                open.push(index);
            }
        }
        let through = (jobs.len() - open.len()) as u64;
        tally.through.fetch_add(through - std::mem::replace(&mut told, through), Ordering::Relaxed);
        let Some(nap) = nap else { return true };
        let sockets: Vec<Descriptor<'_>> =
            open.iter().map(|index| jobs[*index].prober.descriptor()).collect();
        // A failing poll shows again in the next receive, which reports it.
        if !ending.wait_readable(&sockets, Some(nap)).unwrap_or(true) {
            return false;
        }
    }
}

/// Moves one search on; returns how long it can wait, or `None` when it is finished.
fn turn(job: &mut Job, clock: &RealClock, tally: &Tally) -> Option<Duration> {
    if job.error.is_some() {
        return None;
    }
    // Answers first: a search must not count a probe as lost whose answer is already here.
    if let Err(error) = take_events(job, clock) {
        job.error = Some(error);
        return None;
    }
    loop {
        let now = clock.now();
        match job.search.poll(now) {
            Next::Done => return turn_fragments(job, clock, tally),
            Next::WaitUntil(until) => return Some(until.since(now)),
            Next::Send(probe) => match job.prober.send(probe.seq, probe.ip_bytes) {
                Ok(Outcome::Sent) => _ = tally.probes.fetch_add(1, Ordering::Relaxed),
                Ok(Outcome::TooBig { ip_mtu_bytes }) => {
                    job.search.on_local_refusal(clock.now(), probe.seq, ip_mtu_bytes);
                }
                Ok(Outcome::Dropped) => job.search.on_device_drop(clock.now(), probe.seq),
                Err(error) => {
                    job.error = Some(error);
                    return None;
                }
            },
        }
    }
}

/// Moves on what comes after a search. A fault here ends it, and nothing is said about fragments: what was searched for is found.
fn turn_fragments(job: &mut Job, clock: &RealClock, tally: &Tally) -> Option<Duration> {
    if let Some(above) = job.fragments_above.take() {
        job.fragments = Fragments::after(&job.search.report(), Some(above));
    }
    let fragments = job.fragments.as_mut()?;
    loop {
        let now = clock.now();
        let probe = match fragments.poll(now) {
            Next::Done => return None,
            Next::WaitUntil(until) => return Some(until.since(now)),
            Next::Send(probe) => probe,
        };
        let sent = match Fragments::goes_without_df(probe) {
            true => job.prober.send_without_df(probe),
            false => job.prober.send(probe.seq, probe.ip_bytes),
        };
        match sent {
            Ok(Outcome::Sent) => _ = tally.probes.fetch_add(1, Ordering::Relaxed),
            Ok(Outcome::TooBig { .. } | Outcome::Dropped) | Err(_) => fragments.on_not_sent(probe.seq),
        }
    }
}

fn take_events(job: &mut Job, clock: &RealClock) -> Result<(), DgramError> {
    while let Some(event) = job.prober.next_event()? {
        let now = clock.now();
        match event {
            Event::Arrived { seq, largest_fragment_bytes, recent } => {
                if let Some(fragments) = &mut job.fragments {
                    std::iter::once(&seq).chain(&recent).for_each(|seq| fragments.on_arrival(*seq));
                }
                match largest_fragment_bytes {
                    Some(fragment) => job.search.on_fragmented(now, seq, fragment),
                    None => job.search.on_whole(now, seq, true),
                }
                for other in recent {
                    job.search.on_whole(now, other, false);
                }
            }
            Event::TooBig { seq, ip_mtu_bytes, from } => job.search.on_router(now, seq, ip_mtu_bytes, from),
            Event::Unreachable { seq, from } => job.search.on_unreachable(now, seq, from),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pathproof_dgram::wire::ProbeKey;
    use pathproof_dgram::{Responder, UnprovenSocket};
    use pathproof_engine::mtu::SearchConfig;
    use pathproof_sys::thread;

    use super::super::consent::{Asked, ask};
    use super::*;

    const HOUR_NS: u64 = 3_600_000_000_000;

    /// A search that is not answered, with a patience that no test has. The other end is open, and silent from here on.
    fn unanswered(clock: &RealClock) -> (Responder, Job) {
        let (here, key) = (IpAddr::from([127, 0, 0, 1]), ProbeKey::new([7; 32]));
        let mut responder = Responder::new(key.clone());
        let port = responder.listen(here, None).unwrap();
        let (ender, ending) = ending::pair().unwrap();
        let asked = std::thread::scope(|scope| {
            scope.spawn(|| responder.run(&ending));
            let _ender = ender;
            let socket = UnprovenSocket::bind(here, None, (here, port).into(), key).unwrap();
            ask(vec![(socket, here, true)], here, clock).pop()
        });
        let Some(Asked::Consented(socket)) = asked else { panic!("nobody consented") };
        let config =
            SearchConfig { loss_timer_ns: HOUR_NS, time_budget_ns: HOUR_NS, ..SearchConfig::new(68, 1500) };
        (responder, Job::new(Prober::Udp(socket), Search::new(config)))
    }

    #[test]
    fn searches_that_nobody_answers_sleep_until_they_are_told_to_end() {
        let clock = RealClock::new();
        let (_silent, job) = unanswered(&clock);
        let (raise, interrupt) = Interrupt::pair();
        let user = std::thread::spawn(move || {
            // The first probes leave.
            std::thread::sleep(Duration::from_millis(200));
            let sleeps = thread::sleeps_within("searches", Duration::from_millis(300));
            drop(raise);
            sleeps
        });
        let ends = EndedBy::User(&interrupt, Tick(u64::MAX));
        assert!(drive(&mut [job], &clock, ends, None).unwrap(), "it was cut");
        let sleeps = user.join().unwrap();
        assert!(sleeps <= 2, "{sleeps} times");
    }

    #[test]
    fn searches_end_when_the_time_is_up() {
        let clock = RealClock::new();
        let (_silent, job) = unanswered(&clock);
        let until = clock.now() + Duration::from_millis(100);
        let ends = EndedBy::User(&Interrupt::never(), until);
        let mut seen = vec![];
        let mut look = |glance: Glance| seen.push(glance);
        assert!(drive(&mut [job], &clock, ends, Some(&mut look)).unwrap(), "it was cut");
        assert!(clock.now() >= until);
        // Nothing is through, and that is what is shown.
        let paths = Count { what: Counted::Paths, done: 0, of: Some(1) };
        assert!(!seen.is_empty() && seen.iter().all(|glance| glance.counts[0] == paths), "{seen:?}");
    }
}
