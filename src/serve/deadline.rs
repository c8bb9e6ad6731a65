//! The end of a step's time at the server: what was granted has an end, whatever the client does or leaves undone.

use std::time::Duration;

use crossbeam_channel::Select;
use pathproof_api::{Clock, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_model::{ErrorKind, StepError};

use crate::session::{Channel, Received};
use pathproof_sys::clock::RealClock;

/// How long a server waits for the end of a step beyond the step's own length.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// What a step may take more: to connect, to close, to search a path that loses much, and a busy host.
    pub step: Duration,
    /// How long after that the client may take to end the step.
    pub last_word: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Grace { step: Duration::from_secs(300), last_word: Duration::from_secs(30) }
    }
}

impl Grace {
    /// When a step of this length that begins now must be over.
    pub fn deadline(&self, length_ns: u64, now: Tick) -> Tick {
        now.plus_ns(length_ns) + self.step
    }
}

/// The control channel of a step until its deadline; then the step hears that its time is up, and nothing else.
pub struct Timed<'a> {
    channel: &'a mut dyn Channel,
    clock: RealClock,
    deadline: Tick,
}

impl Timed<'_> {
    /// `channel` until `deadline`.
    pub fn new(channel: &mut dyn Channel, clock: RealClock, deadline: Tick) -> Timed<'_> {
        Timed { channel, clock, deadline }
    }
}

impl Channel for Timed<'_> {
    fn send(&mut self, body: StepMessage) {
        self.channel.send(body);
    }

    fn fail(&mut self, error: &StepError) {
        self.channel.fail(error);
    }

    fn receive(&mut self, until: Tick) -> Received {
        if self.clock.now() < self.deadline {
            return match self.channel.receive(until.min(self.deadline)) {
                Received::Nothing if self.clock.now() >= self.deadline => up(),
                other => other,
            };
        }
        // What has come is not waited for, and is not worth more than the time.
        up()
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.channel.watch(select);
    }

    fn due(&self) -> Tick {
        self.channel.due().min(self.deadline)
    }

    fn is_over(&mut self) -> bool {
        self.clock.now() >= self.deadline || self.channel.is_over()
    }
}

fn up() -> Received {
    Received::Lost(StepError::new(
        ErrorKind::Timeout,
        "the step took longer than the peer had granted it; ask for less, or start the peer with a higher --limits \
                  time=T"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use pathproof_model::{MigrateSpec, MtuSpec, ReachSpec, StepRequest, StepSpec, TrafficSpec};

    use super::*;
    use crate::steps;

    /// A client that keeps talking without end.
    struct Chatty;

    impl Channel for Chatty {
        fn send(&mut self, _: StepMessage) {}
        fn fail(&mut self, _: &StepError) {}
        fn receive(&mut self, _: Tick) -> Received {
            Received::Message(StepMessage::Ping(0))
        }
        fn watch<'a>(&'a self, _: &mut Select<'a>) {}
        fn due(&self) -> Tick {
            Tick(0)
        }
        fn is_over(&mut self) -> bool {
            false
        }
    }

    #[test]
    fn t21_a_step_hears_nothing_after_its_deadline() {
        let clock = RealClock::new();
        let now = clock.now();
        let mut chatty = Chatty;
        let mut timed = Timed::new(&mut chatty, clock, now.plus_ns(20_000_000));
        assert!(matches!(timed.receive(now), Received::Message(_)));
        std::thread::sleep(Duration::from_millis(25));
        assert!(
            matches!(timed.receive(Tick(u64::MAX)), Received::Lost(e) if e.message.contains("--limits time"))
        );
    }

    #[test]
    fn t21_every_kind_of_step_has_a_deadline() {
        let hour_ns = 3_600_000_000_000;
        for spec in [
            StepSpec::Facts,
            StepSpec::Reach(ReachSpec::default()),
            StepSpec::Mtu(MtuSpec::default()),
            StepSpec::Stream(TrafficSpec { time_ns: hour_ns, ..TrafficSpec::default() }),
            StepSpec::Migrate(MigrateSpec { time_limit_ns: Some(hour_ns), ..MigrateSpec::default() }),
        ] {
            let grace = Grace::default();
            let deadline =
                grace.deadline(steps::asked(&StepRequest::of(&spec).unwrap()).duration_ns(&spec), Tick(0));
            assert!(deadline >= Tick(0) + grace.step && deadline.0 < 3 * hour_ns, "{spec:?}: {deadline:?}");
        }
    }
}
