//! What whoever sits at the server is told of its clients: a plain line when a run begins, and one when it has ended, with who, what,
//! how it ended and how long it took. What a run found is its client's to say: here nobody judges.

use std::net::SocketAddr;

use pathproof_model::units::Nanoseconds;
use pathproof_model::{Environment, StepError, StepRequest};
use pathproof_sys::clock::Tick;

use crate::{terminal, wall};

/// A client's run.
pub struct Visit {
    tells: bool,
    who: String,
    what: String,
    began: Tick,
    /// Steps that ran to their end.
    pub steps: u32,
}

impl Visit {
    /// A run of `steps` begins; it is told where somebody sits at this server.
    pub fn begin(
        tells: bool,
        from: SocketAddr,
        client: &Environment,
        steps: &[StepRequest],
        now: Tick,
    ) -> Visit {
        let name = client.hostname.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let visit =
            Visit { tells, who: format!("{}{name}", from.ip()), what: kinds(steps), began: now, steps: 0 };
        visit.tell(format_args!("begins: {}", visit.what));
        visit
    }

    /// It is over, by `error` if it did not come to its end.
    pub fn end(self, error: Option<&StepError>, now: Tick) {
        self.tell(format_args!("{}", self.outcome(error, now)));
    }

    fn outcome(&self, error: Option<&StepError>, now: Tick) -> String {
        let took = Nanoseconds(now.ns_since(self.began));
        let steps = if self.steps == 1 { "step" } else { "steps" };
        match error {
            None => format!("complete: {} {steps} in {took} ({})", self.steps, self.what),
            Some(error) => format!(
                "ended early, after {} {steps} and {took} ({}): {}",
                self.steps, self.what, error.message
            ),
        }
    }

    fn tell(&self, what: std::fmt::Arguments<'_>) {
        if self.tells {
            terminal::say(format_args!("{} {} {what}", wall::now_rfc3339(), self.who));
        }
    }
}

/// The kinds of steps in the order in which they come first, each with how many there are.
fn kinds(steps: &[StepRequest]) -> String {
    let mut counted: Vec<(&str, u32)> = vec![];
    for step in steps {
        let kind = match step {
            StepRequest::Facts => "facts",
            StepRequest::Reach(_) => "reach",
            StepRequest::Mtu(_) => "mtu",
            StepRequest::Loss(_) => "loss",
            StepRequest::Ports(_) => "ports",
            StepRequest::Stream(_) => "stream",
            StepRequest::Pingpong(_) => "pingpong",
            StepRequest::Request(_) => "request",
            StepRequest::Migrate(_) => "migrate",
            StepRequest::Contend(_) => "contend",
        };
        match counted.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counted.push((kind, 1)),
        }
    }
    let words = counted.iter().map(|(kind, count)| match count {
        1 => (*kind).to_owned(),
        more => format!("{more} x {kind}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{ErrorKind, StepSpec, TrafficSpec};

    #[test]
    fn a_run_is_told_by_what_it_does_how_it_ended_and_how_long_it_took() {
        let stream = StepRequest::of(&StepSpec::Stream(TrafficSpec::default())).unwrap();
        let steps = [StepRequest::Facts, stream.clone(), StepRequest::Facts, stream.clone(), stream];
        assert_eq!(kinds(&steps), "2 x facts, 3 x stream");
        let from = "[::1]:4000".parse().unwrap();
        let client = Environment { hostname: Some("hv1".into()), ..Environment::default() };
        let mut visit = Visit::begin(false, from, &client, &steps, Tick(0));
        assert_eq!(visit.who, "::1 (hv1)");
        visit.steps = 6;
        let now = Tick(33_100_000_000);
        assert_eq!(visit.outcome(None, now), "complete: 6 steps in 33.10 s (2 x facts, 3 x stream)");
        visit.steps = 1;
        let lost = StepError::new(ErrorKind::PeerLost, "the connection was lost".into());
        assert_eq!(
            visit.outcome(Some(&lost), now),
            "ended early, after 1 step and 33.10 s (2 x facts, 3 x stream): the connection was lost"
        );
    }
}
