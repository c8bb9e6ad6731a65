//! One step from what its ends made of it.

use pathproof_model::{End, ErrorKind, Evidence, Half, HistogramRecord, Step, StepError, StepSpec};

use super::record::Record;
use crate::steps::{self, Runner};

/// The step that has run at this end and whose other half is still at the agent.
pub(super) struct Pending {
    pub runner: &'static dyn Runner,
    pub step: Step,
    pub spec: StepSpec,
    pub half: Half,
}

/// Of the ends' errors the one that explains the other: an end that only found its peer gone does not know why.
fn cause<'a>(client: Option<&'a StepError>, server: Option<&'a StepError>) -> Option<&'a StepError> {
    let knows = |error: &&StepError| error.kind != ErrorKind::PeerLost;
    client.filter(knows).or(server.filter(knows)).or(client).or(server)
}

/// Keeps one step made of its two halves, with their findings.
pub(super) fn keep(pending: Pending, server: Half, record: &mut Record<'_>) {
    let Pending { runner, mut step, spec, half: client } = pending;
    for (end, half) in [(End::Client, &client), (End::Server, &server)] {
        step.lanes.extend(half.lanes.iter().cloned());
        let taken = half.histograms.iter().cloned();
        step.histograms.extend(taken.map(|times| HistogramRecord { node: Some(end.node()), ..times }));
        step.counters.extend(half.counters.iter().map(|(k, v)| (k.clone(), *v)));
        step.chosen.extend(half.chosen.iter().map(|(k, v)| (k.clone(), v.clone())));
        record.found(half.findings.iter().cloned());
    }
    let same_host = client.evidence.is_some() && record.doc.is_against_itself();
    for (end, half) in [(End::Client, &client), (End::Server, &server)] {
        let own = half.evidence.iter().cloned();
        step.evidence.extend(own.map(|evidence| match end {
            End::Server if same_host => Evidence::same(end.node(), End::Client.node()),
            End::Client | End::Server => Evidence { node: end.node(), ..evidence },
        }));
    }
    step.error = cause(client.error.as_ref(), server.error.as_ref()).cloned();
    runner.merge(&spec, &mut step, &client, &server);
    runner.relate(&mut step, &record.doc);
    let found = steps::findings(runner, &step, &record.doc);
    record.found(found);
    record.keep(step);
}
