//! A stage without sockets: what wakes it, how often, and what becomes of threads that end without a message.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::session::Channel;

/// The other end, as the control channel shows it.
struct Peer {
    inbox: (Sender<Received>, Receiver<Received>),
    said: Vec<StepMessage>,
    failed: Vec<StepError>,
}

impl Peer {
    fn new(says: impl IntoIterator<Item = Received>) -> Peer {
        let inbox = unbounded();
        says.into_iter().for_each(|said| inbox.0.send(said).unwrap());
        Peer { inbox, said: vec![], failed: vec![] }
    }
}

impl Channel for Peer {
    fn send(&mut self, body: StepMessage) {
        self.said.push(body);
    }
    fn fail(&mut self, error: &StepError) {
        self.failed.push(error.clone());
    }
    fn receive(&mut self, _: Tick) -> Received {
        self.inbox.1.try_recv().unwrap_or(Received::Nothing)
    }
    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.inbox.1);
    }
    fn due(&self) -> Tick {
        Tick(u64::MAX)
    }
    fn is_over(&mut self) -> bool {
        false
    }
}

/// Counts how often the stage was awake while its threads ran.
#[derive(Default)]
struct Awake(usize);

impl Aside for Awake {
    fn begun(&mut self, _: Tick) {}
    fn hear(&mut self, _: &StepMessage, _: Tick) -> bool {
        false
    }
    fn turn(&mut self, _: Tick, _: &mut Context<'_>) -> Tick {
        self.0 += 1;
        Tick(u64::MAX)
    }
    fn watch<'a>(&'a self, _: &mut Select<'a>) {}
}

const LIMITS: StageLimits =
    StageLimits { length_ns: 10_000_000_000, ready_ns: 10_000_000_000, last_bytes_ns: 200_000_000 };

/// Runs threads that do `work` at the client, and tells what went wrong, what the threads left, and how often the stage was
/// awake.
fn run<T: Send>(
    peer: &mut Peer,
    threads: usize,
    work: impl Fn(usize, Cue) -> T + Sync,
) -> (Option<StepError>, Vec<Option<T>>, usize) {
    let clock = RealClock::new();
    let mut awake = Awake::default();
    let mut context =
        Context { channel: peer, clock: &clock, until: Tick(u64::MAX), progress: None, evidence: None };
    let (error, left) = std::thread::scope(|scope| {
        let mut stage = Stage::new(scope);
        let work = &work;
        let hands: Vec<_> =
            (0..threads).map(|n| stage.spawn(format!("hand {n}"), true, move |cue| work(n, cue))).collect();
        let error = stage.run(End::Client, &LIMITS, &mut context, &mut awake);
        (error, hands.into_iter().map(Hand::join).collect())
    });
    (error, left, awake.0)
}

fn up() -> Received {
    Received::Message(StepMessage::Up)
}

#[test]
fn a_step_that_runs_is_woken_by_news_only() {
    const THREADS: usize = 4;
    let mut peer = Peer::new([up()]);
    let (error, left, awake) = run(&mut peer, THREADS, |n, mut cue| {
        cue.ready();
        let began = cue.begin().is_some();
        // Threads that are through one after the other, in a step that takes a while.
        std::thread::sleep(Duration::from_millis(200 + 20 * n as u64));
        began
    });
    assert_eq!((error, left), (None, vec![Some(true); THREADS]));
    assert_eq!(peer.said, [StepMessage::Start, StepMessage::Done]);
    // The start, each thread's end, and what a channel may wake without a reason. Looks of a hundredth of a second would be
    // twenty and more.
    assert!(awake <= 2 * THREADS + 2, "awake {awake} times");
}

#[test]
fn what_the_other_end_says_wakes_at_once() {
    let mut peer = Peer::new([up()]);
    let line = peer.inbox.0.clone();
    let (error, left, _) = run(&mut peer, 1, |_, mut cue| {
        cue.ready();
        cue.begin().unwrap();
        line.send(Received::PeerFailed(ended_early("there"))).unwrap();
        // The step's end, and nothing else, ends this wait.
        cue.ended().recv_timeout(Duration::from_secs(30))
    });
    assert_eq!(error, Some(ended_early("there")));
    assert_eq!(left, [Some(Err(crossbeam_channel::RecvTimeoutError::Disconnected))]);
}

#[test]
fn a_thread_that_panics_ends_the_step_with_its_name_and_lets_the_others_go() {
    for panics_ready in [false, true] {
        let mut peer = Peer::new([up()]);
        let (error, left, _) = run(&mut peer, 2, |n, mut cue| {
            if n == 1 && !panics_ready {
                panic!("of the test");
            }
            cue.ready();
            let began = cue.begin().is_some();
            assert!(n == 0, "of the test");
            let stopped = cue.ended().recv_timeout(Duration::from_secs(30));
            (began, stopped == Err(crossbeam_channel::RecvTimeoutError::Disconnected))
        });
        assert_eq!(error, Some(ended_early("hand 1")));
        assert_eq!(left, [Some((panics_ready, true)), None]);
        assert_eq!(peer.failed, [ended_early("hand 1")], "the other end is told");
    }
}

#[test]
fn a_thread_that_returns_without_a_word_is_lost_too() {
    let mut peer = Peer::new([up()]);
    let (error, ..) = run(&mut peer, 1, |_, _cue| ());
    assert_eq!(error, Some(ended_early("hand 0")));
}

#[test]
fn who_works_beside_the_threads_ends_with_the_last_of_them() {
    let (clock, mut peer, waited) = (RealClock::new(), Peer::new([up()]), AtomicUsize::new(0));
    let mut context =
        Context { channel: &mut peer, clock: &clock, until: Tick(u64::MAX), progress: None, evidence: None };
    let goes_on = std::thread::scope(|scope| {
        let mut stage = Stage::new(scope);
        let hand = stage.spawn("hand".into(), true, |mut cue| {
            cue.ready();
            cue.begin();
        });
        let beside = stage.spawn_beside("beside".into(), |cue| {
            cue.begin();
            waited.fetch_add(1, Ordering::Relaxed);
            cue.wait_until(Tick(u64::MAX), &clock)
        });
        assert_eq!(stage.run(End::Client, &LIMITS, &mut context, &mut Awake::default()), None);
        hand.join();
        beside.join()
    });
    assert_eq!((goes_on, waited.into_inner()), (Some(false), 1));
}

#[test]
fn who_may_be_left_is_told_so_and_looks_for_nothing() {
    const PATIENCE: Duration = Duration::from_secs(3600);
    for (last, left_in_order) in
        [(Received::Message(StepMessage::Ending), true), (Received::PeerFailed(ended_early("there")), false)]
    {
        let mut peer = Peer::new([up()]);
        let line = Mutex::new(Some((peer.inbox.0.clone(), last)));
        let (_, left, _) = run(&mut peer, 2, |n, mut cue| {
            cue.ready();
            cue.begin().unwrap();
            if n == 0 {
                return (cue.may_be_left_within(PATIENCE), 0);
            }
            let sleeps = pathproof_sys::thread::sleeps_within("hand 0", Duration::from_millis(300));
            let (line, last) = line.lock().unwrap().take().unwrap();
            line.send(last).unwrap();
            (cue.may_be_left_within(PATIENCE), sleeps)
        });
        let [Some((first, _)), Some((second, sleeps))] = left[..] else { panic!("{left:?}") };
        assert_eq!((first, second), (left_in_order, left_in_order));
        assert!(sleeps <= 2, "{sleeps} times");
    }
}

#[test]
fn who_waits_in_the_kernel_is_woken_by_the_end_of_the_step() {
    let (clock, mut peer) = (RealClock::new(), Peer::new([up()]));
    let mut context =
        Context { channel: &mut peer, clock: &clock, until: Tick(u64::MAX), progress: None, evidence: None };
    let (through, ended) = std::thread::scope(|scope| {
        let mut stage = Stage::new(scope);
        let (ender, ending) = pathproof_sys::ending::pair().unwrap();
        let hears = stage.spawn_beside("hears".into(), move |_| ending.wait_readable(&[], None).unwrap());
        stage.let_go(ender);
        let hand = stage.spawn("hand".into(), true, move |mut cue| {
            cue.ready();
            cue.begin().unwrap();
            cue.give_up();
        });
        stage.run(End::Client, &LIMITS, &mut context, &mut Awake::default());
        (hand.join(), hears.join())
    });
    assert_eq!((through, ended), (Some(()), Some(false)));
}
