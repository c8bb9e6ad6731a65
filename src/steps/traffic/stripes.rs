//! The paths of all lanes of a step: the same for all, or a list for each flow. What crosses of them is numbers: of one list its entries, of
//! lists for the flows each behind its length.

use pathproof_api::OptionValues;
use pathproof_model::{End, ErrorKind, Half, LaneResult, NicEvidence, NicFailure, OneFlow, StepError};

use super::multi::{self, StripePlan};
use crate::lane_options::CONSTRAIN;
use crate::steps::{SessionFacts, Setup};

/// Which paths the lanes of a step have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// All flows have the same.
    OfStep,
    /// Each flow has its own, by its own transport and options.
    OfFlows,
}

/// How the lanes of a flow are made.
pub struct Means {
    /// Options of its transport, as the lanes take them.
    pub options: OptionValues,
    /// Its paths over several NICs, where its transport has those.
    pub stripe: Option<StripePlan>,
}

/// The paths of a step.
pub enum Stripes {
    /// Of all lanes.
    OfStep(Option<StripePlan>),
    /// Of each flow, in their order.
    OfFlows(Vec<Option<StripePlan>>),
}

impl Means {
    fn of(
        over: &str,
        options: OptionValues,
        session: &SessionFacts,
        towards: &[u32],
    ) -> Result<Means, StepError> {
        super::verbs::check_congestion(session.end, &options)?;
        let stripe = multi::plan(over, &options, session, towards)?;
        Ok(Means { options, stripe })
    }

    /// For all flows alike, over the transport called `over`.
    pub fn of_step(setup: &Setup<'_>, over: &str, options: OptionValues) -> Result<Means, StepError> {
        Means::of(over, options, setup.session, setup.paths)
    }

    /// For each flow its own. At the server every one has its list, empty where its transport has no paths.
    pub fn of_flows(setup: &Setup<'_>, flows: &[OneFlow]) -> Result<Vec<Means>, StepError> {
        let mut told = setup.paths;
        let mut all = Vec::with_capacity(flows.len());
        for flow in flows {
            let (over, session) = (&flow.traffic.over, setup.session);
            let options = crate::lane_options::read(over, &flow.traffic.options)?;
            let towards = if session.end == End::Server { next_list(&mut told)? } else { &[] };
            let own = Means::of(over, options, session, towards)?;
            // Elsewhere the route is as good as any; a class is to go where it was said to.
            let nics = own.options.given(&CONSTRAIN).unwrap_or_default();
            if !nics.is_empty() && own.stripe.as_ref().is_some_and(StripePlan::is_alone) {
                return Err(nowhere(&flow.name, &nics));
            }
            all.push(own);
        }
        // Paths that no flow has.
        if told.is_empty() { Ok(all) } else { Err(mistold()) }
    }
}

fn nowhere(flow: &str, nics: &[String]) -> StepError {
    let message = format!(
        "{flow}: nothing leads from {} to the peer; pathproof networks PEER lists the networks that both hosts share",
        nics.join(" or ")
    );
    StepError::new(ErrorKind::Invalid, message)
}

fn mistold() -> StepError {
    let message =
        "the paths of the flows are not told as they should be; use the same build at both ends".into();
    StepError::new(ErrorKind::Protocol, message)
}

/// Takes the next list off what the client told.
fn next_list<'a>(told: &mut &'a [u32]) -> Result<&'a [u32], StepError> {
    let all: &'a [u32] = told;
    let (count, rest) = all.split_first().ok_or_else(mistold)?;
    let (own, rest) = rest.split_at_checked(*count as usize).ok_or_else(mistold)?;
    *told = rest;
    Ok(own)
}

impl Stripes {
    /// The paths of all lanes alike, where they are.
    pub fn common(&self) -> Option<&StripePlan> {
        match self {
            Stripes::OfStep(stripe) => stripe.as_ref(),
            Stripes::OfFlows(_) => None,
        }
    }

    /// What the other end has to know of them.
    pub fn leads_to(&self) -> Vec<u32> {
        match self {
            Stripes::OfStep(stripe) => stripe.as_ref().map(StripePlan::leads_to).unwrap_or_default(),
            Stripes::OfFlows(stripes) => stripes.iter().flat_map(|stripe| list(stripe.as_ref())).collect(),
        }
    }

    /// Adds to `half` what its lanes moved over each NIC.
    pub fn tell(self, end: End, failures: Vec<NicFailure>, half: &mut Half) {
        match self {
            Stripes::OfStep(None) => {}
            Stripes::OfStep(Some(stripe)) => stripe.tell(end, failures, half),
            Stripes::OfFlows(stripes) => {
                let mut sum: Option<NicEvidence> = None;
                for (flow, stripe) in (0u16..).zip(&stripes) {
                    let Some(stripe) = stripe else { continue };
                    let own = |lane: &LaneResult| lane.flow == flow;
                    add(sum.get_or_insert_default(), stripe.told(end, half, &own));
                }
                half.detail.nics = sum.map(|sum| NicEvidence { failures, ..sum });
            }
        }
    }
}

/// A list behind its length.
fn list(stripe: Option<&StripePlan>) -> Vec<u32> {
    let own = stripe.map(StripePlan::leads_to).unwrap_or_default();
    std::iter::once(own.len() as u32).chain(own).collect()
}

/// Adds what the lanes of another flow moved.
fn add(sum: &mut NicEvidence, more: NicEvidence) {
    sum.alone = sum.alone.take().or(more.alone);
    for nic in more.nics {
        match sum.nics.iter_mut().find(|own| own.nic == nic.nic) {
            Some(own) => {
                own.connections += nic.connections;
                own.lane_sent_bytes += nic.lane_sent_bytes;
                own.lane_received_bytes += nic.lane_received_bytes;
                own.deaths += nic.deaths;
            }
            None => sum.nics.push(nic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::NicShare;

    #[test]
    fn each_list_stands_behind_its_length_and_nothing_else_is_one() {
        assert_eq!(list(None), [0]);
        let mut told: &[u32] = &[2, 7, 9, 0, 1, 4];
        let lists: Vec<&[u32]> = (0..3).map(|_| next_list(&mut told).unwrap()).collect();
        assert_eq!(lists, [&[7, 9][..], &[], &[4]]);
        assert!(told.is_empty() && next_list(&mut told).is_err(), "there is no list more");
        for hostile in [&[3, 1, 2][..], &[u32::MAX]] {
            let why = next_list(&mut { hostile }).unwrap_err();
            assert!(why.message.contains("same build"), "{}", why.message);
        }
    }

    #[test]
    fn what_flows_moved_over_one_nic_is_summed() {
        let share = |nic: &str, lane_sent_bytes| NicShare {
            connections: 2,
            lane_sent_bytes,
            ..NicShare::of(End::Client, nic)
        };
        let told = |nics: Vec<NicShare>| NicEvidence { nics, ..NicEvidence::default() };
        let mut sum = NicEvidence::default();
        add(&mut sum, told(vec![share("e0", 5)]));
        add(&mut sum, told(vec![share("e0", 7), share("e1", 1)]));
        let seen: Vec<_> =
            sum.nics.iter().map(|nic| (nic.nic.as_str(), nic.connections, nic.lane_sent_bytes)).collect();
        assert_eq!(seen, [("e0", 4, 12), ("e1", 2, 1)]);
    }
}
