//! The machines of a run: how each is reached, and what it said of itself.
//!
//! Node 0 is where the command runs. An agent plays its part in steps; a foreign server runs nothing of ours and is asked and probed from here alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Environment;

/// Port of an agent (`pathproof serve`) where nobody names another.
pub const DEFAULT_PORT: u16 = 7797;

/// A node of a run: 0 is where the command runs, 1 the first peer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Where the command runs.
    pub const CLIENT: NodeId = NodeId(0);
    /// The first peer.
    pub const SERVER: NodeId = NodeId(1);
}

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NodeSpec {
    /// The command runs there.
    Here,
    /// An agent that the command runs itself, on the same machine (`--self`).
    #[serde(rename = "self")]
    Own,
    /// An agent: a host that runs `pathproof serve`.
    Agent {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A host that runs nothing of ours.
    Foreign {
        /// Name or address.
        host: String,
    },
}

impl NodeSpec {
    /// Whether it plays a part of its own in steps.
    pub fn is_agent(&self) -> bool {
        match self {
            NodeSpec::Own | NodeSpec::Agent { .. } => true,
            NodeSpec::Here | NodeSpec::Foreign { .. } => false,
        }
    }
}

/// One node of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// As the user named it; `here` for where the command ran, `self` for an agent that the command ran itself.
    pub name: String,
    /// How it was reached.
    #[serde(flatten)]
    pub spec: NodeSpec,
    /// The facts of the host; `null` where it was never reached, or says nothing of itself.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// Its wall clock against that of node 0, as the greeting showed; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
}

/// How far a wall clock is ahead of node 0's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockOffset {
    /// Ahead by, in ns; negative where it is behind.
    pub offset_ns: i64,
    /// It may be so much more or less, in ns: half of what the round trip took on the way.
    pub uncertainty_ns: u64,
}

/// When a host heard a question and answered it, by its own wall clock, in ns since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WallStamps {
    /// Heard.
    pub heard_ns: u64,
    /// Answered.
    pub answered_ns: u64,
}

impl ClockOffset {
    /// From what this host's clock said when it asked and when it had the answer, as NTP does (RFC 5905, section 8). `None` where the stamps
    /// contradict each other: a clock was set meanwhile, or the other end says what it likes.
    pub fn of(asked_ns: u64, had_ns: u64, there: WallStamps) -> Option<ClockOffset> {
        let away_ns = had_ns.checked_sub(asked_ns)?;
        let on_the_way_ns = away_ns.checked_sub(there.answered_ns.checked_sub(there.heard_ns)?)?;
        let ahead = |theirs: u64, ours: u64| i128::from(theirs) - i128::from(ours);
        let offset = (ahead(there.heard_ns, asked_ns) + ahead(there.answered_ns, had_ns)) / 2;
        let offset_ns = i64::try_from(offset).ok()?;
        // Half a nanosecond is lost to the division.
        Some(ClockOffset { offset_ns, uncertainty_ns: on_the_way_ns.div_ceil(2) })
    }

    /// The least that the clocks are apart, in ns.
    pub fn apart_ns(&self) -> u64 {
        self.offset_ns.unsigned_abs().saturating_sub(self.uncertainty_ns)
    }
}

impl Node {
    /// The node where the command runs.
    pub fn here(environment: Option<Environment>) -> Node {
        Node { id: NodeId::CLIENT, name: "here".into(), spec: NodeSpec::Here, environment, clock: None }
    }

    /// The first peer, an agent, as the user named it.
    pub fn agent(name: &str, environment: Option<Environment>) -> Node {
        let (host, port) = host_and_port(name).unwrap_or((name, None));
        let spec = NodeSpec::Agent { host: host.into(), port: port.unwrap_or(DEFAULT_PORT) };
        Node { id: NodeId::SERVER, name: name.into(), spec, environment, clock: None }
    }
}

/// The parts of `HOST[:PORT]`: a name, an IPv4 address, or an IPv6 address in brackets where a port follows.
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return None,
        }
    } else if text.matches(':').count() > 1 {
        // A bare IPv6 address: its colons cannot be a port's.
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map(str::parse).transpose().ok()?;
    let nonsense = host.is_empty() || port == Some(0) || host.contains(char::is_whitespace);
    (!nonsense).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_offset_is_within_its_uncertainty_however_the_way_is_shared() {
        for (true_ns, out_ns, back_ns, work_ns) in
            [(0i64, 500, 500, 100), (5_000_000, 10, 990, 0), (-300_000_000_000, 900, 0, 7), (77, 1, 2, 3)]
        {
            let asked = 1_700_000_000_000_000_000u64;
            let there = |here: u64| here.saturating_add_signed(true_ns);
            let (heard, answered) = (asked + out_ns, asked + out_ns + work_ns);
            let stamps = WallStamps { heard_ns: there(heard), answered_ns: there(answered) };
            let clock = ClockOffset::of(asked, answered + back_ns, stamps).unwrap();
            assert_eq!(clock.uncertainty_ns, (out_ns + back_ns).div_ceil(2));
            assert!(clock.offset_ns.abs_diff(true_ns) <= clock.uncertainty_ns, "{clock:?} {true_ns}");
        }
    }

    #[test]
    fn stamps_that_contradict_each_other_say_nothing() {
        let of = |heard_ns, answered_ns| ClockOffset::of(100, 200, WallStamps { heard_ns, answered_ns });
        assert!(of(120, 180).is_some());
        assert_eq!(of(180, 120), None, "answered before it was asked");
        assert_eq!(of(0, 101), None, "longer at it than it took");
        assert_eq!(of(u64::MAX, u64::MAX), None, "further than a clock can be");
    }
}
