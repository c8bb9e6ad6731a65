//! The guardian: a small process that takes NICs down for `--fail`, and brings them back whatever becomes of the run.
//!
//! Only it touches NICs. It is a process of its own, in a session of its own and deaf to SIGHUP, SIGINT and SIGTERM,
//! because what ends the run (a kill, a panic, a lost ssh connection) must not end it. It obeys orders that come through
//! a pipe; the end of the pipe is the end of the run, and the order to bring up all that is down. Every NIC also
//! comes back at a time that is given when it goes down, so a run that merely hangs leaves nothing behind either.
//!
//! It refuses to start for a NIC that does not exist, is down, or may not be touched. Should the guardian itself be
//! killed, the run brings the NICs up. Who kills both at once (a container that is destroyed, `kill -9` of both, the OOM killer twice)
//! has to do so himself: `ip link set NIC up`. No process survives that, and a link has no timer of its own in the kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::{Clock, RealClock, Tick};
use pathproof_sys::interfaces::SettableLink;
use pathproof_sys::process;
use pathproof_sys::socket::wait_readable;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// The word that makes this program a guardian. It stands in no help: the program itself says it.
const ORDER: &str = "guard-links";
/// What it says when it has done what it was told.
const DONE: &str = "done";
/// The word of an order to take a NIC down; any other brings it up.
const DOWN: &str = "down";
/// Name of the process: who kills "pathproof" by name does not mean the guardian.
const NAME: &str = "link-guardian";
/// Longest wait for an answer; setting a link takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a NIC that does not come up is tried again.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// The run's end of the pipe. When it is dropped, every NIC is up again.
pub struct Guardian {
    clock: RealClock,
    child: Child,
    /// `None` once the guardian was told that the run is over.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    links: BTreeMap<String, SettableLink>,
}

impl Guardian {
    /// Puts a guardian in front of `nics`: it runs and has found all of them when this returns.
    pub fn station(nics: &[String], clock: &RealClock) -> Result<Guardian, String> {
        let links = find(nics)?;
        let failed = |error: io::Error| format!("no guardian process for --fail could be started: {error}");
        let mut command = Command::new(process::own_program());
        process::name(&mut command, NAME);
        let mut child = command
            .arg(ORDER)
            .args(nics)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let Some(answers) = answers else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        let mut guardian =
            Guardian { clock: clock.clone(), child, orders, answers: BufReader::new(answers), links };
        guardian.answer().map(|()| guardian)
    }

    /// Takes a NIC down, for at most `at_most`. It is down when this returns `Ok`.
    pub fn down(&mut self, nic: &str, at_most: Duration) -> Result<(), String> {
        self.order(&format!("{DOWN} {} {nic}", at_most.as_millis()))
    }

    /// Brings a NIC up. It is up when this returns `Ok`.
    pub fn up(&mut self, nic: &str) -> Result<(), String> {
        self.order(&format!("up 0 {nic}")).or_else(|lost| match self.links.get(nic) {
            Some(link) => link.up(),
            None => Err(lost),
        })
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        let said =
            self.orders.as_mut().map(|orders| writeln!(orders, "{order}").and_then(|()| orders.flush()));
        match said {
            Some(Ok(())) => self.answer(),
            _ => Err("the guardian process is gone".into()),
        }
    }

    fn answer(&mut self) -> Result<(), String> {
        let ready = wait_readable(&[self.answers.get_ref().descriptor()], Some(PATIENCE));
        if !ready.is_ok_and(|ready| ready[0]) {
            return Err("the guardian process does not answer".into());
        }
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(_) if line.trim() == DONE => Ok(()),
            Ok(_) if !line.is_empty() => Err(line.trim().into()),
            _ => Err("the guardian process is gone".into()),
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // The end of the pipe: it brings up what is down, and leaves.
        drop(self.orders.take());
        let until = self.clock.deadline(PATIENCE);
        while !until.is_over() {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return,
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
        // It was killed, or hangs: what it should have done is done here.
        for link in self.links.values() {
            let _ = link.up();
        }
    }
}

fn find(nics: &[String]) -> Result<BTreeMap<String, SettableLink>, String> {
    nics.iter().map(|nic| Ok((nic.clone(), SettableLink::find(nic)?))).collect()
}

/// Whether every NIC can fail: it exists, is up, and may be touched.
pub fn check(nics: &[String]) -> Result<(), String> {
    find(nics).map(drop)
}

/// The NICs to guard, where this process was started to do so.
pub fn ordered(args: &[OsString]) -> Option<Vec<String>> {
    let (order, nics) = args.get(1..)?.split_first()?;
    (order == ORDER).then(|| nics.iter().map(|nic| nic.to_string_lossy().into_owned()).collect())
}

/// The guardian's life.
pub fn run(nics: &[String]) -> ExitCode {
    // This process is not the run's, and has a clock of its own.
    let clock = RealClock::new();
    // Neither the end of the terminal nor signals to the run's group concern it.
    process::stand_alone(NAME);
    let deaf = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2] {
        let _ = signal_hook::flag::register(signal, deaf.clone());
    }
    let answer = |result: &Result<(), String>| {
        let text = result.as_ref().map_or_else(|why| why.replace('\n', " "), |()| DONE.to_owned());
        #[expect(clippy::disallowed_methods, reason = "it is the pipe to the run, and no terminal")]
        let mut out = io::stdout();
        let _ = out.write_all((text + "\n").as_bytes()).and_then(|()| out.flush());
    };
    let links = match find(nics) {
        Ok(links) => links,
        Err(why) => {
            answer(&Err(why));
            return ExitCode::FAILURE;
        }
    };
    answer(&Ok(()));
    let (heard_in, heard) = mpsc::channel();
    std::thread::spawn(move || listen(io::stdin(), &heard_in));
    match keep(&links, &heard, &answer, &clock) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// One order: a NIC, and how long it may be down, or that it is to be up.
struct Order {
    nic: String,
    down: Option<Duration>,
}

fn listen(orders: impl Read, heard: &mpsc::Sender<Order>) {
    for line in BufReader::new(orders).lines().map_while(Result::ok) {
        let mut words = line.splitn(3, ' ');
        let (Some(what), Some(ms), Some(nic)) = (words.next(), words.next(), words.next()) else { return };
        let Ok(ms) = ms.parse() else { return };
        let order = Order { nic: nic.into(), down: (what == DOWN).then(|| Duration::from_millis(ms)) };
        if heard.send(order).is_err() {
            return;
        }
    }
}

/// Obeys until the orders end. Returns whether everything is up then.
fn keep(
    links: &BTreeMap<String, SettableLink>,
    heard: &mpsc::Receiver<Order>,
    answer: &dyn Fn(&Result<(), String>),
    clock: &RealClock,
) -> bool {
    let mut down: BTreeMap<&str, Tick> = BTreeMap::new();
    loop {
        let next = down.values().min().map_or(Duration::from_secs(3600), |at| at.since(clock.now()));
        match heard.recv_timeout(next) {
            Ok(order) => {
                let Some((nic, link)) = links.get_key_value(&order.nic) else {
                    answer(&Err(format!("{} is not guarded", order.nic)));
                    continue;
                };
                let result = match order.down {
                    Some(at_most) => {
                        // Noted first: what is half done must be undone as well.
                        down.insert(nic, clock.now() + at_most);
                        link.down()
                    }
                    None => link.up(),
                };
                if order.down.is_none() && result.is_ok() {
                    down.remove(nic.as_str());
                }
                answer(&result);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let now = clock.now();
                down.retain(|nic, until| {
                    *until > now || links.get(*nic).is_some_and(|link| link.up().is_err())
                });
                // One that does not come up is tried again, not incessantly.
                down.values_mut()
                    .filter(|until| **until <= now)
                    .for_each(|until| *until = now + Duration::from_millis(200));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let until = clock.deadline(PERSISTENCE);
    loop {
        down.retain(|nic, _| links.get(*nic).is_some_and(|link| link.up().is_err()));
        if down.is_empty() || until.is_over() {
            return down.is_empty();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
