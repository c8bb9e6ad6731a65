//! Signals: the first asks for an orderly end with everything measured so far, a later one ends at once.
//!
//! SIGHUP (the terminal is gone) is treated like SIGTERM, unless `nohup` said that it does not matter.

use std::convert::Infallible;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded, never, select};
use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::clock::{Clock, RealClock, Tick};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A second signal within this time says the same as the first: GNU timeout signals its child and then the child's
/// group, and a terminal's driver may do likewise.
const SAME: Duration = Duration::from_secs(1);

/// The first signal that came.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// The user's wish to stop. It is news that can be waited for beside other news, and a flag that can be looked at: nothing is ever
/// sent on the channel, and its sender is dropped when the wish is there.
#[derive(Clone, Debug)]
pub struct Interrupt(Receiver<Infallible>);

impl Interrupt {
    /// One that never comes.
    pub fn never() -> Interrupt {
        Interrupt(never())
    }

    /// One that comes when the sender is dropped.
    pub fn pair() -> (Sender<Infallible>, Interrupt) {
        let (raise, raised) = bounded(0);
        (raise, Interrupt(raised))
    }

    /// One that comes when this one does, or earlier: when the sender is dropped.
    pub fn or_earlier(&self) -> io::Result<(Sender<Infallible>, Interrupt)> {
        let (raise, either) = Interrupt::pair();
        let (earlier, stopped) = bounded::<Infallible>(0);
        let own = self.clone();
        let wait = move || {
            select! {
                recv(own.0) -> _ => {}
                recv(stopped) -> _ => {}
            }
            drop(raise);
        };
        std::thread::Builder::new().name("either".into()).spawn(wait)?;
        Ok((earlier, either))
    }

    /// Whether it has come.
    pub fn is_raised(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Wakes whoever waits with `select` when it comes, and from then on at once.
    pub fn watch<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.0);
    }

    /// Waits so long, or until it comes, which is an error.
    pub fn pause(&self, length: Duration) -> Result<(), StepError> {
        match self.0.recv_timeout(length) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(error()),
        }
    }
}

/// Exit code after a signal, as shells expect it: 130 for Ctrl-C, 143 for all others.
fn code(signal: i32) -> u8 {
    if signal == SIGTERM || signal == SIGHUP { 143 } else { 130 }
}

/// Exit code of a run that was interrupted.
pub fn exit_code() -> u8 {
    code(FIRST.load(Ordering::Acquire))
}

/// What a document and the user are told.
pub fn error() -> StepError {
    let by = match FIRST.load(Ordering::Acquire) {
        SIGTERM => "by SIGTERM",
        SIGHUP => "by SIGHUP (the terminal or the connection to it is gone)",
        SIGINT => "by SIGINT (Ctrl-C)",
        _ => "by the user",
    };
    let message = format!("interrupted {by}; what was measured before stands in the document");
    let kind = if exit_code() == 143 { ErrorKind::Terminated } else { ErrorKind::Interrupted };
    StepError::new(kind, message)
}

fn signals() -> io::Result<Signals> {
    let mut watched = vec![SIGINT, SIGTERM];
    if !pathproof_sys::process::ignores_signal(SIGHUP) {
        watched.push(SIGHUP);
    }
    Signals::new(watched)
}

/// The first signal ends the program at once: for commands that have nothing to keep.
pub fn ends_at_once() -> io::Result<()> {
    let mut signals = signals()?;
    let watch = move || {
        if let Some(signal) = signals.forever().next() {
            std::process::exit(i32::from(code(signal)));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

/// What the first signal raises; the same one for whoever asks.
pub fn by_signals(clock: &RealClock) -> io::Result<Interrupt> {
    static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();
    if let Some(interrupt) = INTERRUPT.get() {
        return Ok(interrupt.clone());
    }
    let (raise, interrupt) = Interrupt::pair();
    let mut signals = signals()?;
    let clock = clock.clone();
    let watch = move || {
        let mut raise = Some(raise);
        let mut first: Option<Tick> = None;
        for signal in signals.forever() {
            match first {
                None => {
                    first = Some(clock.now());
                    FIRST.store(signal, Ordering::Release);
                    drop(raise.take());
                }
                Some(at) if clock.now().since(at) < SAME => {}
                Some(_) => {
                    crate::document::settle();
                    std::process::exit(i32::from(exit_code()));
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(INTERRUPT.get_or_init(|| interrupt).clone())
}

/// What `work` comes to, unless a signal comes first or it takes longer than `within`; the work then goes on in vain, on a thread of its own. For what
/// the system does not let anybody interrupt, such as asking for the addresses of a name.
pub fn unless<T: Send + 'static>(
    interrupt: &Interrupt,
    within: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StepError> {
    let (done, result) = bounded(1);
    let spawned = std::thread::Builder::new().name("waiting".into()).spawn(move || drop(done.send(work())));
    if let Err(error) = spawned {
        let message = format!("no thread can be started: {error}; raise the limit (ulimit -u)");
        return Err(StepError::new(ErrorKind::Resource, message));
    }
    // A wait without a limit is longer than any moment that the system's clock can name.
    let late = if within == Duration::MAX { never() } else { crossbeam_channel::after(within) };
    let timeout = "there was no connection before the time of the run was up; check the name server, the address and the \
                   route";
    let (kind, message) = select! {
        recv(result) -> value => match value {
            Ok(value) => return Ok(value),
            Err(_) => (ErrorKind::System, "an internal thread ended early; this is a fault of pathproof: run again with -v, and report what it says"),
        },
        recv(interrupt.0) -> _ => return Err(error()),
        recv(late) -> _ => (ErrorKind::Timeout, timeout),
    };
    Err(StepError::new(kind, message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_stop_is_seen_by_all_and_ends_every_wait() {
        let (raise, interrupt) = Interrupt::pair();
        let other = interrupt.clone();
        assert!(!interrupt.is_raised() && !other.is_raised());
        assert!(interrupt.pause(Duration::ZERO).is_ok());
        drop(raise);
        assert!(interrupt.is_raised() && other.is_raised());
        assert!(other.pause(Duration::from_secs(3600)).is_err());
        let (_hold, held) = bounded::<()>(0);
        let waited = unless(&interrupt, Duration::MAX, move || held.recv());
        assert!(waited.is_err_and(|error| error.kind.is_interruption()));
        assert!(!Interrupt::never().is_raised());
    }

    #[test]
    fn work_that_takes_too_long_is_left() {
        let (_hold, held) = bounded::<()>(0);
        let waited = unless(&Interrupt::never(), Duration::from_millis(1), move || held.recv());
        assert!(waited.is_err_and(|error| error.kind == ErrorKind::Timeout));
        assert_eq!(unless(&Interrupt::never(), Duration::MAX, || 7).ok(), Some(7));
    }
}
