//! Whether the peer still lives (MS-SMBD 3.1.6): after two minutes of silence it is asked, and five seconds later it is dead.

use std::time::Duration;

use pathproof_api::Tick;

/// Silence after which the peer is asked.
pub const IDLE: Duration = Duration::from_secs(120);
/// How long its answer may take.
pub const ANSWER: Duration = Duration::from_secs(5);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this moment.
    Nothing(Tick),
    /// The next message asks for an answer; one without payload is sent for it.
    Ask,
    /// The peer has not answered.
    Dead,
}

/// One end's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// When the present wait is over.
    until: Tick,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// To be asked, as soon as there is a credit for it.
    Pending,
    Asked,
}

impl KeepAlive {
    /// The peer was heard just now.
    pub fn new(now: Tick) -> KeepAlive {
        KeepAlive { until: now + IDLE, state: State::Quiet }
    }

    /// Books a message of the peer, of whatever kind.
    pub fn heard(&mut self, now: Tick) {
        *self = KeepAlive::new(now);
    }

    /// Looks at the time.
    pub fn due(&mut self, now: Tick) -> Due {
        match self.state {
            State::Quiet if now >= self.until => {
                *self = KeepAlive { until: now + ANSWER, state: State::Pending };
                Due::Ask
            }
            State::Pending if now < self.until => Due::Ask,
            _ if now >= self.until => Due::Dead,
            _ => Due::Nothing(self.until),
        }
    }

    /// Whether the message that is sent now must ask for an answer; it is booked as asking.
    pub fn asks(&mut self) -> bool {
        let asks = self.state == State::Pending;
        if asks {
            self.state = State::Asked;
        }
        asks
    }

    /// When something is due next.
    pub fn next(&self) -> Tick {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_after_two_minutes_and_dead_five_seconds_later() {
        let mut timer = KeepAlive::new(Tick(0));
        let late = Tick(0) + IDLE;
        assert_eq!(timer.due(Tick(late.0 - 1)), Due::Nothing(late));
        assert!(!timer.asks());
        assert_eq!(
            (timer.due(late), timer.due(late)),
            (Due::Ask, Due::Ask),
            "until a message has carried it"
        );
        assert!(timer.asks() && !timer.asks(), "one message asks");
        let end = late + ANSWER;
        assert_eq!(timer.due(Tick(end.0 - 1)), Due::Nothing(end));
        assert_eq!(timer.clone().due(end), Due::Dead);
        timer.heard(Tick(end.0 - 1));
        assert_eq!(timer.due(end), Due::Nothing(Tick(end.0 - 1) + IDLE));
    }

    #[test]
    fn without_a_credit_to_ask_with_it_is_dead_as_well() {
        let mut timer = KeepAlive::new(Tick(0));
        assert_eq!(timer.due(Tick(0) + IDLE), Due::Ask);
        assert_eq!(timer.due(Tick(0) + IDLE + ANSWER), Due::Dead);
    }
}
