//! Drives searches with real sockets: sends what they ask for, feeds back what came, waits no longer than they
//! say. Decides nothing itself.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pathproof_api::Clock;
use pathproof_dgram::{DgramError, EchoSocket, Event, Outcome, ProbeSocket, wait_readable};
use pathproof_engine::mtu::{Next, Search};

use pathproof_sys::clock::RealClock;

/// An echo that reached anybody at all takes longer than one to an agent: the peer's kernel may limit its rate.
pub const ECHO_LOSS_TIMER_NS: u64 = 200_000_000;
/// Searches that run at the same time; more would drown one another in shared queues.
const AT_ONCE: usize = 8;
/// Longest sleep, so that an interruption is noticed.
const NAP: Duration = Duration::from_millis(50);

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

    fn next_event(&mut self) -> Result<Option<Event>, DgramError> {
        match self {
            Prober::Udp(socket) => socket.next_event(),
            Prober::Echo(socket, _) => socket.next_event(),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Prober::Udp(socket) => socket.as_fd(),
            Prober::Echo(socket, _) => socket.as_fd(),
        }
    }
}

/// One search with its socket.
pub struct Job {
    /// Sends its probes.
    pub prober: Prober,
    /// The search.
    pub search: Search,
    /// What stopped it before its end.
    pub error: Option<DgramError>,
}

/// Runs all jobs to their end, or until `stop` says so. `done` is told how many are finished.
pub fn drive(
    jobs: &mut [Job],
    clock: &RealClock,
    mut stop: impl FnMut() -> bool,
    mut done: impl FnMut(usize),
) {
    for start in (0..jobs.len()).step_by(AT_ONCE) {
        let end = (start + AT_ONCE).min(jobs.len());
        drive_some(&mut jobs[start..end], clock, &mut stop);
        done(end);
    }
}

fn drive_some(jobs: &mut [Job], clock: &RealClock, stop: &mut impl FnMut() -> bool) {
    while !stop() {
        let mut nap: Option<Duration> = None;
        let mut open: Vec<usize> = Vec::new();
        for (index, job) in jobs.iter_mut().enumerate() {
            if let Some(wait) = turn(job, clock) {
                nap = Some(nap.map_or(wait, |shortest| shortest.min(wait)));
                open.push(index);
            }
        }
        let Some(nap) = nap else { return };
        let sockets: Vec<BorrowedFd<'_>> = open.iter().map(|index| jobs[*index].prober.as_fd()).collect();
        // A failing poll shows again in the next receive, which reports it.
        let _ = wait_readable(&sockets, nap.min(NAP));
    }
}

/// Moves one search on; returns how long it can wait, or `None` when it is finished.
fn turn(job: &mut Job, clock: &RealClock) -> Option<Duration> {
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
            Next::Done => return None,
            Next::WaitUntil(until) => return Some(until.since(now)),
            Next::Send(probe) => match job.prober.send(probe.seq, probe.ip_bytes) {
                Ok(Outcome::Sent) => {}
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

fn take_events(job: &mut Job, clock: &RealClock) -> Result<(), DgramError> {
    while let Some(event) = job.prober.next_event()? {
        let now = clock.now();
        match event {
            Event::Arrived { seq, largest_fragment_bytes, recent } => {
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
