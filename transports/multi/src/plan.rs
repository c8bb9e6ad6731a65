//! The options of a stripe: over which paths, by which share, and how long silence is tolerated.

use std::time::Duration;

use pathproof_api::{
    Choice, Fixed, LaneOption, LaneSpec, NumberUnit, Open, OptionDoc, PathSpec, Takes, TransportError, Whose,
    open, words,
};

/// Most paths of one lane.
pub const PATHS_MAX: usize = 32;

/// For people.
pub(crate) fn name(path: &PathSpec) -> String {
    let local = path.local.map_or_else(|| "any address".into(), |a| a.to_string());
    let device = path.device.as_ref().map(|d| format!(" on {d}")).unwrap_or_default();
    let remote = path.remote.map_or_else(|| "the peer".into(), |a| a.ip().to_string());
    format!("{local}{device} to {remote}")
}

/// How work is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// To the path with the fewest outstanding messages, as SMB does.
    Fewest,
    /// To the path that would be done first at the rate it has shown.
    Weighted,
    /// To the first of the paths that lives, in their order: one at a time, as a cluster takes its migration networks.
    Ordered,
}

impl Choice for Share {
    const ALL: &'static [(&'static str, Share)] =
        &[("fewest", Share::Fewest), ("weighted", Share::Weighted), ("ordered", Share::Ordered)];
}

/// The paths, where they are not chosen by whoever prepares the lane.
pub const PATHS: LaneOption<Open<Vec<PathSpec>>> = LaneOption {
    name: "paths",
    takes: Takes::Paths,
    whose: Whose::Own,
    default: open("chosen by the rules of SMB"),
    help: "the paths; each part may be empty",
};
/// How work is shared out.
pub const SHARE: LaneOption<Open<Share>> = LaneOption {
    name: "share",
    takes: Takes::OneOf(words::<Share>),
    whose: Whose::Both,
    default: open("fewest by the rules of Windows, else weighted"),
    help: "how work is shared out: to the path with the fewest messages under way, by the rate shown, or all to the first that lives",
};
/// How long silence is tolerated.
pub const STALL: LaneOption<Fixed<u16>> = LaneOption {
    name: "stall_ms",
    takes: Takes::Number { least: 10, most: 60_000, unit: NumberUnit::Milliseconds },
    whose: Whose::Both,
    // A lost segment alone costs TCP 200 to 400 ms.
    default: Fixed(500),
    help: "unacknowledged bytes that do not move for so long while another path is well mean that a path is dead",
};
/// Whether a dead path is reconnected.
pub const REJOIN: LaneOption<Fixed<bool>> = LaneOption {
    name: "rejoin",
    takes: Takes::Switch,
    whose: Whose::Both,
    default: Fixed(true),
    help: "whether a dead path is reconnected",
};

/// What [`StripePlan::take`] reads.
pub fn options() -> Vec<OptionDoc> {
    vec![PATHS.declared(), SHARE.declared(), STALL.declared(), REJOIN.declared()]
}

/// What a lane's specification asks of a stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripePlan {
    /// The paths.
    pub paths: Vec<PathSpec>,
    /// How work is shared out.
    pub share: Share,
    /// How long silence is tolerated.
    pub stall: Duration,
    /// Whether a dead path is reconnected.
    pub rejoin: bool,
}

impl StripePlan {
    /// Takes what is a stripe's out of `spec`, leaving what is the inner transport's.
    pub fn take(spec: &mut LaneSpec) -> Result<StripePlan, TransportError> {
        let own = spec.options.take(&options());
        let named = own.given(&PATHS).unwrap_or_default();
        let mut paths = if spec.paths.is_empty() { named } else { std::mem::take(&mut spec.paths) };
        if paths.is_empty() {
            paths.push(PathSpec::default());
        }
        if paths.len() > PATHS_MAX {
            return Err(TransportError::invalid(format!(
                "{} paths are too many; {PATHS_MAX} is the limit",
                paths.len()
            )));
        }
        Ok(StripePlan {
            paths,
            share: own.given(&SHARE).unwrap_or(Share::Weighted),
            stall: Duration::from_millis(own.get(&STALL).into()),
            rejoin: own.get(&REJOIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_takes_what_is_its_own_and_leaves_the_rest() {
        const INNER: LaneOption<Open<String>> = LaneOption {
            name: "congestion",
            takes: Takes::Name("NAME"),
            whose: Whose::Both,
            default: open("the system's"),
            help: "",
        };
        let mut spec = LaneSpec::default();
        spec.options.set(&SHARE, Share::Fewest);
        spec.options.set(&PATHS, vec![PathSpec::default(); 3]);
        spec.options.set(&INNER, "reno".into());
        let plan = StripePlan::take(&mut spec).unwrap();
        assert!(spec.options.only("tcp", &[INNER.declared()]).is_ok());
        assert_eq!(spec.options.given(&INNER).as_deref(), Some("reno"));
        assert_eq!((plan.paths.len(), plan.share, plan.rejoin), (3, Share::Fewest, true));
        assert_eq!(plan.stall, Duration::from_millis(500));
    }

    #[test]
    fn whoever_prepares_a_lane_has_the_last_word_on_its_paths_and_not_too_many() {
        let mut spec = LaneSpec { paths: vec![PathSpec::default(); 2], ..LaneSpec::default() };
        spec.options.set(&PATHS, vec![PathSpec::default(); 3]);
        assert_eq!(StripePlan::take(&mut spec).unwrap().paths.len(), 2);
        assert_eq!(StripePlan::take(&mut LaneSpec::default()).unwrap().paths.len(), 1);
        let mut many = LaneSpec { paths: vec![PathSpec::default(); 33], ..LaneSpec::default() };
        assert!(StripePlan::take(&mut many).is_err());
    }
}
