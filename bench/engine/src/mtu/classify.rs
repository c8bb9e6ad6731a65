//! From what a search saw, and what both interfaces are set to, to one word: what limits the path.
//!
//! Refuses to call anything a black hole that has another explanation on record.

use pathproof_model::{MtuLimit, MtuRouter, MtuTried};

use super::outcome::{Ending, Report};

/// A receiving interface often takes a little more than it is set to (a tag, or whatever the driver's buffers
/// hold), so an edge up to this much above its MTU is still its own.
const RECEIVER_SLACK_BYTES: u32 = 64;

/// What the two interfaces of the path are set to, as far as known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The interface that sent the probes.
    pub sender_ip_mtu_bytes: Option<u32>,
    /// The interface that was to receive them.
    pub receiver_ip_mtu_bytes: Option<u32>,
}

/// What limits the path that `report` is about.
pub fn classify(report: &Report, ends: Ends) -> MtuLimit {
    let Some(edge) = report.ip_mtu_bytes else { return MtuLimit::Unknown };
    match report.ending {
        Ending::Ceiling => MtuLimit::None,
        Ending::LocalRefusal => MtuLimit::Local,
        Ending::Router => MtuLimit::Router,
        Ending::Fragmented => MtuLimit::Fragmented,
        Ending::NoAnswer | Ending::Undecided(_) => MtuLimit::Unknown,
        Ending::Silence => {
            let at_receiver = |mtu: u32| {
                ends.sender_ip_mtu_bytes.is_none_or(|sender| sender > mtu)
                    && (mtu..=mtu.saturating_add(RECEIVER_SLACK_BYTES)).contains(&edge)
            };
            if ends.receiver_ip_mtu_bytes.is_some_and(at_receiver) {
                MtuLimit::Remote
            } else if report.dropped_by_device {
                MtuLimit::Local
            } else if report.routers.iter().any(|router| router.claimed_ip_mtu_bytes == Some(edge)) {
                // The router's message about this very size was lost or rate-limited, but it had named the edge.
                MtuLimit::Router
            } else {
                MtuLimit::Blackhole
            }
        }
    }
}

/// Why the limit is unknown, in words; `None` when it is known.
pub fn reason(report: &Report) -> Option<String> {
    let refused = report
        .unreachable_from
        .first()
        .map(|from| format!("{from} answered that the destination is unreachable or the traffic prohibited"));
    match &report.ending {
        Ending::NoAnswer => Some(refused.unwrap_or_else(|| {
            "no probe of any size was answered: the traffic is filtered, or the path does not exist".into()
        })),
        Ending::Undecided(why) => Some(why.clone()),
        _ => None,
    }
}

impl Report {
    /// The routers in the form of the result document.
    pub fn routers_for_document(&self) -> Vec<MtuRouter> {
        let convert = |router: &super::RouterAnswer| MtuRouter {
            address: router.from,
            claimed_ip_mtu_bytes: router.claimed_ip_mtu_bytes,
            smallest_refused_bytes: router.smallest_refused_bytes,
            claim_holds: router.claim_holds,
            answers: router.answers,
        };
        self.routers.iter().map(convert).collect()
    }

    /// The sizes tried in the form of the result document.
    pub fn tried_for_document(&self) -> Vec<MtuTried> {
        let convert = |tried: &super::Tried| MtuTried {
            ip_bytes: tried.ip_bytes,
            sent: tried.sent,
            whole: tried.whole,
            fragmented: tried.fragmented,
            refused_locally: tried.refused_locally,
            refused_by_router: tried.refused_by_router,
            lost: tried.lost,
        };
        self.tried.iter().map(convert).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtu::{Search, SearchConfig};

    fn silent(edge: u32) -> Report {
        let mut report = Search::new(SearchConfig::new(68, 9614)).report();
        report.ending = Ending::Silence;
        report.ip_mtu_bytes = Some(edge);
        report
    }

    fn ends(sender: u32, receiver: u32) -> Ends {
        Ends { sender_ip_mtu_bytes: Some(sender), receiver_ip_mtu_bytes: Some(receiver) }
    }

    #[test]
    fn silence_between_equal_ends_is_a_black_hole() {
        assert_eq!(classify(&silent(9216), ends(9614, 9614)), MtuLimit::Blackhole);
        assert_eq!(classify(&silent(1500), ends(9000, 9000)), MtuLimit::Blackhole);
    }

    #[test]
    fn silence_at_the_receivers_own_mtu_is_the_receiver() {
        assert_eq!(classify(&silent(1500), ends(9000, 1500)), MtuLimit::Remote);
        assert_eq!(classify(&silent(1504), ends(9000, 1500)), MtuLimit::Remote);
        // A switch between, smaller or much larger than the receiver.
        assert_eq!(classify(&silent(1450), ends(9000, 1500)), MtuLimit::Blackhole);
        assert_eq!(classify(&silent(9216), ends(9614, 1500)), MtuLimit::Blackhole);
    }

    #[test]
    fn a_router_that_named_the_edge_is_the_limit_even_if_its_last_message_was_lost() {
        let mut report = silent(1500);
        report.routers.push(crate::mtu::RouterAnswer {
            from: std::net::IpAddr::from([10, 0, 0, 1]),
            claimed_ip_mtu_bytes: Some(1500),
            smallest_refused_bytes: 9000,
            answers: 1,
            claim_holds: Some(true),
        });
        assert_eq!(classify(&report, ends(9000, 9000)), MtuLimit::Router);
    }

    #[test]
    fn nothing_answered_is_unknown_with_a_reason() {
        let mut report = silent(1500);
        report.ending = Ending::NoAnswer;
        report.ip_mtu_bytes = None;
        assert_eq!(classify(&report, ends(9000, 9000)), MtuLimit::Unknown);
        assert!(reason(&report).is_some_and(|why| why.contains("filtered")));
    }
}
