//! The options by which a step over several NICs chooses its paths. They stay at the client, who dials.

use pathproof_api::{Choice, Fixed, LaneOption, NumberUnit, Open, OptionDoc, Takes, Whose, open, words};

/// All of them.
pub fn of_paths() -> Vec<OptionDoc> {
    vec![POLICY.declared(), CONSTRAIN.declared(), CONNECTIONS.declared()]
}

/// Whose rules choose the pairs of NICs.
pub const POLICY: LaneOption<Fixed<Policy>> = LaneOption {
    name: "policy",
    takes: Takes::OneOf(words::<Policy>),
    whose: Whose::Own,
    default: Fixed(Policy::Windows),
    help: "whose rules choose the pairs of NICs",
};
/// Only these NICs.
pub const CONSTRAIN: LaneOption<Open<Vec<String>>> = LaneOption {
    name: "constrain",
    takes: Takes::Names("NIC"),
    whose: Whose::Own,
    default: open("all"),
    help: "only these NICs of this host",
};
/// Connections for each pair.
pub const CONNECTIONS: LaneOption<Open<u32>> = LaneOption {
    name: "connections",
    takes: Takes::Number { least: 1, most: 16, unit: NumberUnit::None },
    whose: Whose::Own,
    default: open("by the rules of the policy"),
    help: "connections for each pair",
};

/// See [`POLICY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Windows, whose client chooses by class and speed.
    Windows,
    /// Linux, whose client takes what is listed.
    Linux,
}

impl Choice for Policy {
    const ALL: &'static [(&'static str, Policy)] = &[("windows", Policy::Windows), ("linux", Policy::Linux)];
}
