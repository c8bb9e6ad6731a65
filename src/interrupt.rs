//! Signals: the first asks for an orderly end with everything measured so far, a later one ends at once.
//!
//! SIGHUP (the terminal is gone) is treated like SIGTERM, unless `nohup` said that it does not matter.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use pathproof_model::{ErrorKind, StepError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A second signal within this time says the same as the first: GNU timeout signals its child and then the child's
/// group, and a terminal's driver may do likewise.
const SAME: Duration = Duration::from_secs(1);

/// How often work that cannot be interrupted is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// The first signal that came.
static FIRST: AtomicI32 = AtomicI32::new(0);

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
    StepError { kind, message }
}

fn signals() -> io::Result<Signals> {
    let mut watched = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
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

/// A flag that the first signal sets; the same one for whoever asks.
pub fn flag() -> io::Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(flag.clone());
    }
    let flag = Arc::new(AtomicBool::new(false));
    let mut signals = signals()?;
    let raised = flag.clone();
    let watch = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    FIRST.store(signal, Ordering::Release);
                    raised.store(true, Ordering::Release);
                }
                Some(at) if at.elapsed() < SAME => {}
                Some(_) => {
                    crate::document::settle();
                    std::process::exit(i32::from(exit_code()));
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(FLAG.get_or_init(|| flag).clone())
}

/// Whether a signal was ignored when this process began.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// What `work` comes to, unless a signal comes first or it takes longer than `within`; the work then goes on in vain, on a thread of its own. For what
/// the system does not let anybody interrupt, such as asking for the addresses of a name.
pub fn unless<T: Send + 'static>(
    flag: &AtomicBool,
    within: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StepError> {
    let (done, result) = mpsc::channel();
    let began = Instant::now();
    let spawned = std::thread::Builder::new().name("waiting".into()).spawn(move || drop(done.send(work())));
    if let Err(error) = spawned {
        let message = format!("no thread can be started: {error}; raise the limit (ulimit -u)");
        return Err(StepError { kind: ErrorKind::Resource, message });
    }
    loop {
        match result.recv_timeout(LOOK) {
            Ok(value) => return Ok(value),
            Err(_) if flag.load(Ordering::Acquire) => return Err(error()),
            Err(mpsc::RecvTimeoutError::Timeout) if began.elapsed() < within => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let message =
                    "there was no connection before the time of the run was up; check the name server, the \
                               address and the route"
                        .into();
                return Err(StepError { kind: ErrorKind::Timeout, message });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let message = "an internal thread ended early; this is a fault of pathproof".into();
                return Err(StepError { kind: ErrorKind::System, message });
            }
        }
    }
}
