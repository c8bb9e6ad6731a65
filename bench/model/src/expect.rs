//! What a flow is to reach, where its plan says so: the yardstick of that flow alone, beside the criteria that hold for all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TrafficKind;

/// What one flow is to reach. What it does not say is held against the criteria only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// At least this goodput, in bit/s (streams).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput_min_bits_per_s: Option<u64>,
    /// At most this time for 99 of 100 round trips, in ns; from the intended start on for an open load (ping-pong and requests).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_max_ns: Option<u64>,
    /// At most so many segments sent again for each 10^9 payload bytes (transports over TCP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits_max_per_gb: Option<f64>,
}

impl Expect {
    /// Why a flow that does this can never be held against it, if so.
    pub fn check(&self, kind: TrafficKind) -> Result<(), String> {
        let streams = kind.is_bulk();
        if self.goodput_min_bits_per_s.is_some() && !streams {
            return Err("goodput is a stream's: expect p99_max_ns of round trips".into());
        }
        if self.p99_max_ns.is_some() && streams {
            return Err("a stream has no round trips: let a probe beside it expect p99_max_ns".into());
        }
        if self.goodput_min_bits_per_s == Some(0) || self.p99_max_ns == Some(0) {
            return Err("a goodput or a time of 0 is no expectation".into());
        }
        if self.retransmits_max_per_gb.is_some_and(|most| !most.is_finite() || most < 0.0) {
            return Err("retransmits_max_per_gb is a number from 0 on".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Flow, FlowSpec, StepSpec, TrafficSpec};

    #[test]
    fn what_can_never_be_judged_is_refused() {
        let goodput = Expect { goodput_min_bits_per_s: Some(1), ..Expect::default() };
        let p99 = Expect { p99_max_ns: Some(1), ..Expect::default() };
        let why = |expect: Expect, kind: TrafficKind| expect.check(kind).err().unwrap_or_default();
        assert_eq!(why(goodput, TrafficKind::Stream), "");
        assert_eq!(why(p99, TrafficKind::Pingpong), "");
        assert!(why(p99, TrafficKind::Stream).contains("no round trips"));
        assert!(why(goodput, TrafficKind::Request).contains("a stream's"));
        let none = Expect { goodput_min_bits_per_s: Some(0), ..Expect::default() };
        assert!(why(none, TrafficKind::Stream).contains("no expectation"));
        let negative = Expect { retransmits_max_per_gb: Some(-1.0), ..Expect::default() };
        assert!(why(negative, TrafficKind::Stream).contains("from 0 on"));
    }

    #[test]
    fn each_way_of_a_flow_has_its_expectation_and_no_other_flow_has_it() {
        let expect = Some(Expect { goodput_min_bits_per_s: Some(5), ..Expect::default() });
        let spec = TrafficSpec {
            expect,
            direction: Direction::Both,
            beside: vec![FlowSpec::probe(Direction::Out, 100)],
            ..TrafficSpec::default()
        };
        let flows = Flow::of(&StepSpec::Stream(spec));
        let expected: Vec<_> = flows.iter().map(|flow| flow.expect).collect();
        assert_eq!(expected, [expect, expect, None]);
    }
}
