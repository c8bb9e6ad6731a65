//! The far end of a run, started from here where it does not run yet: over the user's own ssh (`USER@HOST`), or by a command that
//! runs programs there (`--via 'ip netns exec %h'`).
//!
//! The command runs `sh` there, which is told what to do on its standard input: so no word of ours passes through anybody's quoting,
//! and one connection does for all. The server that it starts has a key of its own, made here and said on that same input, serves
//! this client alone, and leaves when the input ends; that happens by itself when this process ends, however it does.
//!
//! It refuses to install anything, and to believe what comes back: that is bounded, and of it only a number of ours, a port and
//! the name of an architecture are acted on.

mod command;
mod lines;
mod shell;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, TryRecvError, bounded, unbounded};
use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::clock::RealClock;
use pathproof_sys::process;

use crate::encoding::hex;
use crate::interrupt::{self, Interrupt};
use crate::secure::{Key, random_bytes};
pub use command::{Launch, Start};
pub use lines::HELLO;
use shell::Word;

/// Until the shell there answers: a person may have to type a password first, for which sshd waits as long.
const LOGIN: Duration = Duration::from_secs(120);
/// Until what the shell was asked for is done.
const ANSWER: Duration = Duration::from_secs(30);
/// Until a copy of this program is there, over a slow line.
const COPY: Duration = Duration::from_secs(600);
/// How often the far end hears that this one is still there. It leaves when it has heard nothing for [`SILENCE`]: a connection whose
/// other host lost its power ends at no end.
const BEAT: Duration = Duration::from_secs(5);
/// So long the far end stays where nothing is heard.
pub const SILENCE: Duration = Duration::from_secs(60);
/// How long the far end may take to leave before its command is ended.
const LEAVE: Duration = Duration::from_secs(5);
/// How long what it said last may be on its way.
const LAST_BREATH: Duration = Duration::from_millis(500);
/// Lines of its standard error that are kept for a message.
const LAST_WORDS: usize = 3;

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError::new(kind, message.into())
}

/// A far end that runs. It leaves when this is dropped.
pub struct FarEnd {
    /// The port that it listens on.
    pub port: u16,
    /// The key that it asks for.
    pub key: Key,
    tie: Tie,
}

impl FarEnd {
    /// What its command said last on standard error, where it said something.
    pub fn last_words(&self) -> Option<String> {
        self.tie.last_words()
    }
}

/// The process that was started here, and what is heard of it.
struct Tie {
    child: Child,
    /// Standard input; from the moment on at which the far end runs, it belongs to the thread that beats.
    input: Option<ChildStdin>,
    /// Ends that thread, and with it the input.
    beat: Option<Sender<()>>,
    said: Receiver<String>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    /// Is closed when all of them have been read.
    complained: Receiver<()>,
}

impl Tie {
    /// Starts the command.
    fn new(start: &Start) -> io::Result<Tie> {
        let (program, args) = start.words();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C ends this run in order, for which the far end is needed.
        process::deaf_to_the_terminal(&mut command);
        let mut child = command.spawn()?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let complaints: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (say, said) = unbounded();
        let (complaining, complained) = bounded::<()>(0);
        // Both are read to their end, whatever comes: a pipe that is full would stop the command.
        if let Some(output) = output {
            std::thread::Builder::new().name("far end".into()).spawn(move || lines::hear(output, say))?;
        }
        if let Some(errors) = errors {
            let kept = complaints.clone();
            let keep = move || {
                lines::keep_last(errors, LAST_WORDS, &kept);
                drop(complaining);
            };
            std::thread::Builder::new().name("far end's errors".into()).spawn(keep)?;
        }
        Ok(Tie { child, input, beat: None, said, complaints, complained })
    }

    fn say(&mut self, text: &str) -> Result<(), Quiet> {
        let input = self.input.as_mut().ok_or(Quiet::Ended)?;
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).map_err(|_| Quiet::Ended)
    }

    /// The next line that it says.
    fn hear(&self, within: Duration, interrupt: &Interrupt, clock: &RealClock) -> Result<String, Quiet> {
        let until = clock.deadline(within);
        loop {
            match self.said.try_recv() {
                Ok(line) => return Ok(line),
                Err(TryRecvError::Disconnected) => return Err(Quiet::Ended),
                Err(TryRecvError::Empty) if interrupt.is_raised() => return Err(Quiet::Interrupted),
                Err(TryRecvError::Empty) if until.is_over() => return Err(Quiet::Silent(within)),
                Err(TryRecvError::Empty) => {
                    let mut select = Select::new();
                    select.recv(&self.said);
                    interrupt.watch(&mut select);
                    let _ = select.ready_timeout(until.left());
                }
            }
        }
    }

    /// From now on it hears that this process is there.
    fn keep_beating(&mut self) -> io::Result<()> {
        let (stop, stopped) = bounded::<()>(0);
        let mut input = self.input.take();
        let beat = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(BEAT) {
                let said = input.as_mut().map(|input| input.write_all(b"\n").and_then(|()| input.flush()));
                if !matches!(said, Some(Ok(()))) {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("far end's beat".into()).spawn(beat)?;
        self.beat = Some(stop);
        Ok(())
    }

    fn last_words(&self) -> Option<String> {
        let kept = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let words = kept.iter().map(String::as_str).collect::<Vec<_>>().join(" / ");
        (!words.is_empty()).then_some(words)
    }

    /// The end of its input tells it to leave; what does not within `patience` is asked to end, and ended. How it ended, where that is known.
    fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.beat = None;
        self.input = None;
        // Its output ends with it, though a moment earlier: a process closes its files first and has ended afterwards.
        let left = crossbeam_channel::after(patience);
        let gone = loop {
            crossbeam_channel::select! {
                recv(self.said) -> line => if line.is_err() { break process::ended_within(&mut self.child, LAST_BREATH) },
                recv(left) -> _ => break self.child.try_wait().ok().flatten(),
            }
        };
        // An ssh that asks for a password must not leave a terminal behind that shows nothing of what is typed.
        let gone = gone.or_else(|| {
            process::ask_to_end(&self.child);
            process::ended_within(&mut self.child, LAST_BREATH)
        });
        // Nobody can end what belongs to somebody else, and then it is not waited for either.
        let ended = gone.or_else(|| self.child.kill().and_then(|()| self.child.wait()).ok());
        // What it said last may not have been read yet; who inherited its standard error may keep that open for ever.
        let _ = self.complained.recv_timeout(LAST_BREATH);
        ended
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.end(LEAVE);
    }
}

/// Why nothing is heard.
enum Quiet {
    Ended,
    Silent(Duration),
    Interrupted,
}

impl Start {
    /// Starts the far end and waits until it listens. `port`: the only one that it may listen on, where one was named.
    pub fn begin(&self, interrupt: &Interrupt, clock: &RealClock) -> Result<FarEnd, StepError> {
        let program = if self.copy() { Some(own_program()?) } else { None };
        let random =
            || random_bytes::<16>().map_err(|e| error(ErrorKind::System, format!("no random numbers: {e}")));
        let (mark, key) = (hex(&random()?), hex(&random()?));
        let mut tie = Tie::new(self).map_err(|why| self.cannot_begin(&why))?;
        match self.converse(&mut tie, &mark, &key, program, interrupt, clock) {
            Ok(port) => Ok(FarEnd { port, key: Key::new(&key), tie }),
            Err(why) => Err(self.failed(tie, why)),
        }
    }

    /// From the shell's first word to the port that the far end listens on.
    fn converse(
        &self,
        tie: &mut Tie,
        mark: &str,
        key: &str,
        program: Option<Vec<u8>>,
        interrupt: &Interrupt,
        clock: &RealClock,
    ) -> Result<u16, Failed> {
        // A shell's own greeting may come before its words, which all begin with the mark.
        let hear = |tie: &Tie, within: Duration| loop {
            let line = tie.hear(within, interrupt, clock)?;
            if let Some(word) = shell::word(&line, mark) {
                return Ok::<Word, Failed>(word);
            }
        };
        tie.say(&shell::script(mark))?;
        let Word::Here { system, machine } = hear(tie, LOGIN)? else { return Err(Failed::Nonsense) };
        let port = self.port().map_or_else(|| "any".to_owned(), |port| port.to_string());
        let more = if self.offloads() { " offloads" } else { "" };
        match program {
            None => tie.say(&format!("run {port} 0{more}\n"))?,
            Some(program) => {
                if (system.as_str(), machine.as_str()) != ("Linux", std::env::consts::ARCH) {
                    return Err(Failed::OtherMachine { system, machine });
                }
                tie.say(&format!("copy {port} {}{more}\n", program.len()))?;
                match hear(tie, ANSWER)? {
                    Word::Ready => send(tie, program, interrupt)?,
                    Word::Nowhere => return Err(Failed::Nowhere),
                    _ => return Err(Failed::Nonsense),
                }
            }
        }
        match hear(tie, ANSWER)? {
            Word::Starting => {}
            Word::Missing => return Err(Failed::Missing),
            _ => return Err(Failed::Nonsense),
        }
        tie.say(&format!("{key}\n"))?;
        // It may choose among ports that are no system's service, and nothing else.
        let fits = |port: &u16| self.port().map_or(*port >= 1024, |named| *port == named);
        let port = loop {
            let line = tie.hear(ANSWER, interrupt, clock).map_err(Failed::Begun)?;
            if let Some(port) = lines::port(&line).filter(fits) {
                break port;
            }
        };
        tie.keep_beating().map_err(|_| Failed::Nonsense)?;
        Ok(port)
    }

    fn cannot_begin(&self, why: &io::Error) -> StepError {
        let by_hand = self.by_hand();
        let program = self.words().0;
        let message = match (why.kind(), self.way()) {
            (io::ErrorKind::NotFound, Launch::Ssh) => {
                format!(
                    "there is no ssh here to start the far end with; install an OpenSSH client, or {by_hand}"
                )
            }
            (io::ErrorKind::NotFound, Launch::Command) => {
                format!(
                    "there is no program {program:?} here, which --via names; check its spelling, or {by_hand}"
                )
            }
            _ => format!("{program} cannot be started ({why}); {by_hand}"),
        };
        error(ErrorKind::System, message)
    }

    /// What went wrong, in words that end with what to do.
    fn failed(&self, mut tie: Tie, why: Failed) -> StepError {
        if matches!(why, Failed::Quiet(Quiet::Interrupted) | Failed::Begun(Quiet::Interrupted)) {
            // It has measured nothing yet that it could hand over.
            tie.end(LAST_BREATH);
            return interrupt::error();
        }
        let status = tie.end(LEAVE);
        let host = self.host();
        let command = self.shown();
        let by_hand = self.by_hand();
        let words = tie.last_words().map_or_else(String::new, |words| format!(": {words}"));
        let (kind, message) = match why {
            Failed::Quiet(Quiet::Silent(within)) => (
                ErrorKind::Timeout,
                format!(
                    "`{command}` gave no shell on {host} within {} s{words}; try it by hand with `true` in place of `sh`, or {by_hand}",
                    within.as_secs()
                ),
            ),
            Failed::Quiet(_) | Failed::Nonsense => {
                let ended = status.and_then(|status| status.code());
                let ended = ended.map_or_else(String::new, |code| format!(" (exit status {code})"));
                (
                    ErrorKind::Refused,
                    format!(
                        "`{command}` gave no shell on {host}{ended}{words}; try it by hand with `true` in place of `sh`, or {by_hand}"
                    ),
                )
            }
            Failed::Missing => (
                ErrorKind::Unsupported,
                format!(
                    "there is no pathproof on {host} (not in its PATH, /usr/local/bin or ~/.cargo/bin); add --copy to lend it this one \
                     for the run, or install it there"
                ),
            ),
            Failed::OtherMachine { system, machine } => (
                ErrorKind::Unsupported,
                format!(
                    "{host} is {system} on {machine}, and this pathproof is for Linux on {}: --copy cannot lend it; install one \
                     that was built for {machine} there, and leave --copy out",
                    std::env::consts::ARCH
                ),
            ),
            Failed::Nowhere => (
                ErrorKind::Unsupported,
                format!(
                    "{host} has no folder in which --copy may put a program and run it (tried $TMPDIR, /tmp, /var/tmp, /dev/shm and the \
                     home folder){words}; install pathproof there, and leave --copy out"
                ),
            ),
            Failed::Begun(quiet) => {
                let how = match quiet {
                    Quiet::Silent(within) => format!("said nothing within {} s", within.as_secs()),
                    _ => "ended at once".to_owned(),
                };
                let fix = match self.copy() {
                    true => {
                        "its C library may be older than this build needs: install a pathproof that was built for it"
                    }
                    false => "it may be older than this one: add --copy to lend it this one for the run",
                };
                (ErrorKind::Refused, format!("pathproof on {host} {how}{words}; {fix}, or {by_hand}"))
            }
        };
        error(kind, message)
    }
}

/// Why there is no far end.
enum Failed {
    Quiet(Quiet),
    /// The program was started, and then nothing was heard.
    Begun(Quiet),
    Nonsense,
    Missing,
    Nowhere,
    OtherMachine {
        system: String,
        machine: String,
    },
}

impl From<Quiet> for Failed {
    fn from(quiet: Quiet) -> Failed {
        Failed::Quiet(quiet)
    }
}

/// This program, as it was when it was started.
fn own_program() -> Result<Vec<u8>, StepError> {
    std::fs::read(process::own_program())
        .map_err(|why| error(ErrorKind::System, format!("this program cannot be read for --copy: {why}")))
}

/// Sends the program, on a thread of its own: who interrupts does not wait for a slow line.
fn send(tie: &mut Tie, program: Vec<u8>, interrupt: &Interrupt) -> Result<(), Failed> {
    let mut input = tie.input.take().ok_or(Failed::Quiet(Quiet::Ended))?;
    let sent = interrupt::unless(interrupt, COPY, move || {
        input.write_all(&program).and_then(|()| input.flush()).map(|()| input)
    });
    match sent {
        Ok(Ok(input)) => {
            tie.input = Some(input);
            Ok(())
        }
        Ok(Err(_)) => Err(Failed::Quiet(Quiet::Ended)),
        Err(why) if why.kind.is_interruption() => Err(Failed::Quiet(Quiet::Interrupted)),
        Err(_) => Err(Failed::Quiet(Quiet::Silent(COPY))),
    }
}
