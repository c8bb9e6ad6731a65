//! The guardian: a small process that takes NICs down for `--fail`, or offloads of them off for `offloads`, and gives back what it took
//! whatever becomes of the run.
//!
//! Only it touches NICs. It is a process of its own, in a session of its own and deaf to SIGHUP, SIGINT and SIGTERM,
//! because what ends the run (a kill, a panic, a lost ssh connection) must not end it. It obeys orders that come through
//! a pipe; the end of the pipe is the end of the run, and the order to bring up all that is down. Every ward also
//! comes back at a time that is given when it goes down, so a run that merely hangs leaves nothing behind either.
//!
//! It refuses to start for a NIC that does not exist, is down, or may not be touched, and for an offload that is off or fixed. Should the
//! guardian itself be killed, the run gives back what is down. Who kills both at once (a container that is destroyed, `kill -9` of both, the OOM
//! killer twice) has to do so himself: `ip link set NIC up`, or the command that was printed before an offload was turned off. No process
//! survives that, and neither has a timer of its own in the kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::{Clock, RealClock, Tick};
use pathproof_sys::ethtool::Offload;
use pathproof_sys::interfaces::{SettableLink, SettableOffload};
use pathproof_sys::process;
use pathproof_sys::socket::wait_readable;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// The word that makes this program a guardian. It stands in no help: the program itself says it.
const ORDER: &str = "guard-links";
/// What it says when it has done what it was told.
const DONE: &str = "done";
/// The word of an order to take a ward down; any other brings it up.
const DOWN: &str = "down";
/// Stands between a NIC and an offload of it: no name of a NIC has it.
const OF: char = '/';
/// Stands between offloads that go off together: no name of one has it.
const AND: char = '+';
/// Name of the process: who kills "pathproof" by name does not mean the guardian.
const NAME: &str = "link-guardian";
/// Longest wait for an answer; setting a link takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a ward that does not come up is tried again.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// The run's end of the pipe. When it is dropped, every NIC is up again.
pub struct Guardian {
    clock: RealClock,
    child: Child,
    /// `None` once the guardian was told that the run is over.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    wards: BTreeMap<String, Ward>,
}

/// What a guardian takes away for a while and gives back.
enum Ward {
    /// A NIC, which goes down.
    Link(SettableLink),
    /// Offloads of a NIC, which are turned off at once.
    Offload(SettableOffload),
}

impl Ward {
    /// The ward of this name: a NIC, or offloads of it as [`ward_of`] names it.
    fn find(name: &str) -> Result<Ward, String> {
        match name.split_once(OF) {
            None => SettableLink::find(name).map(Ward::Link),
            Some((nic, words)) => {
                let named = |word: &str| {
                    let offload = Offload::ALL.into_iter().find(|offload| offload.name() == word);
                    offload.ok_or_else(|| format!("{nic} has no offload {word}"))
                };
                let offloads = words.split(AND).map(named).collect::<Result<Vec<_>, String>>()?;
                SettableOffload::find(nic, &offloads).map(Ward::Offload)
            }
        }
    }

    fn down(&self) -> Result<(), String> {
        match self {
            Ward::Link(link) => link.down(),
            Ward::Offload(offload) => offload.off(),
        }
    }

    fn up(&self) -> Result<(), String> {
        match self {
            Ward::Link(link) => link.up(),
            Ward::Offload(offload) => offload.restore(),
        }
    }
}

/// The name of offloads of a NIC as one ward.
pub fn ward_of(nic: &str, offloads: &[Offload]) -> String {
    let names: Vec<&str> = offloads.iter().map(|offload| offload.name()).collect();
    format!("{nic}{OF}{}", names.join(&AND.to_string()))
}

impl Guardian {
    /// Puts a guardian in front of `wards`: it runs and has found all of them when this returns.
    pub fn station(wards: &[String], clock: &RealClock) -> Result<Guardian, String> {
        let found = find(wards)?;
        let failed = |error: io::Error| {
            format!("no guardian process for what is to be given back could be started: {error}")
        };
        let mut command = Command::new(process::own_program());
        process::name(&mut command, NAME);
        let mut child = command
            .arg(ORDER)
            .args(wards)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let Some(answers) = answers else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        let mut guardian =
            Guardian { clock: clock.clone(), child, orders, answers: BufReader::new(answers), wards: found };
        guardian.answer().map(|()| guardian)
    }

    /// Takes a ward down, for at most `at_most`. It is down when this returns `Ok`.
    pub fn down(&mut self, ward: &str, at_most: Duration) -> Result<(), String> {
        self.order(&format!("{DOWN} {} {ward}", at_most.as_millis()))
    }

    /// Brings a ward up. It is up when this returns `Ok`.
    pub fn up(&mut self, ward: &str) -> Result<(), String> {
        self.order(&format!("up 0 {ward}")).or_else(|lost| match self.wards.get(ward) {
            Some(ward) => ward.up(),
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
        for ward in self.wards.values() {
            let _ = ward.up();
        }
    }
}

fn find(wards: &[String]) -> Result<BTreeMap<String, Ward>, String> {
    wards.iter().map(|name| Ok((name.clone(), Ward::find(name)?))).collect()
}

/// Whether every NIC can fail: it exists, is up, and may be touched.
pub fn check(nics: &[String]) -> Result<(), String> {
    find(nics).map(drop)
}

/// The wards, where this process was started to do so.
pub fn ordered(args: &[OsString]) -> Option<Vec<String>> {
    let (order, nics) = args.get(1..)?.split_first()?;
    (order == ORDER).then(|| nics.iter().map(|nic| nic.to_string_lossy().into_owned()).collect())
}

/// The guardian's life.
pub fn run(wards: &[String]) -> ExitCode {
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
    let wards = match find(wards) {
        Ok(wards) => wards,
        Err(why) => {
            answer(&Err(why));
            return ExitCode::FAILURE;
        }
    };
    answer(&Ok(()));
    let (heard_in, heard) = mpsc::channel();
    std::thread::spawn(move || listen(io::stdin(), &heard_in));
    match keep(&wards, &heard, &answer, &clock) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// One order: a ward, and how long it may be down, or that it is to be up.
struct Order {
    ward: String,
    down: Option<Duration>,
}

fn listen(orders: impl Read, heard: &mpsc::Sender<Order>) {
    for line in BufReader::new(orders).lines().map_while(Result::ok) {
        let mut words = line.splitn(3, ' ');
        let (Some(what), Some(ms), Some(ward)) = (words.next(), words.next(), words.next()) else { return };
        let Ok(ms) = ms.parse() else { return };
        let order = Order { ward: ward.into(), down: (what == DOWN).then(|| Duration::from_millis(ms)) };
        if heard.send(order).is_err() {
            return;
        }
    }
}

/// Obeys until the orders end. Returns whether everything is up then.
fn keep(
    wards: &BTreeMap<String, Ward>,
    heard: &mpsc::Receiver<Order>,
    answer: &dyn Fn(&Result<(), String>),
    clock: &RealClock,
) -> bool {
    let mut down: BTreeMap<&str, Tick> = BTreeMap::new();
    loop {
        let next = down.values().min().map_or(Duration::from_secs(3600), |at| at.since(clock.now()));
        match heard.recv_timeout(next) {
            Ok(order) => {
                let Some((name, ward)) = wards.get_key_value(&order.ward) else {
                    answer(&Err(format!("{} is not guarded", order.ward)));
                    continue;
                };
                let result = match order.down {
                    Some(at_most) => {
                        // Noted first: what is half done must be undone as well.
                        down.insert(name, clock.now() + at_most);
                        ward.down()
                    }
                    None => ward.up(),
                };
                if order.down.is_none() && result.is_ok() {
                    down.remove(name.as_str());
                }
                answer(&result);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let now = clock.now();
                down.retain(|name, until| {
                    *until > now || wards.get(*name).is_some_and(|ward| ward.up().is_err())
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
        down.retain(|name, _| wards.get(*name).is_some_and(|ward| ward.up().is_err()));
        if down.is_empty() || until.is_over() {
            return down.is_empty();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
