//! The life of a place's thread at the source: its memory is filled, and its guests move one after the other, each lane
//! doing what the move orders.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};

use crossbeam_channel::{Receiver, Sender, never, select};
use pathproof_engine::migrate::copy::{CopyError, Job, Order, Place, Report, Shared, Story};
use pathproof_model::ErrorKind;

use super::machine::Host;
use crate::steps::stage::Cue;

/// One lane's thread, as its place sees it.
pub struct Worker {
    /// Where its jobs go.
    pub jobs: mpsc::Sender<Job>,
    /// Where its reports come from.
    pub reports: mpsc::Receiver<Result<Report, CopyError>>,
}

/// What a place waits for beside the start of the step.
pub struct Gates {
    /// One message for each place when the storage is copied, where one moves: guests go after it.
    pub storage: Option<Receiver<()>>,
    /// Held by each place that may be the one that measures the path; nothing is sent.
    pub measures: Sender<Infallible>,
    /// The news that nobody holds that any more: the path is measured.
    pub measured: Receiver<Infallible>,
}

/// Held by every place while it lives: with the last one no guest runs any more, those that never stopped in due form
/// included.
pub struct Standing(pub Arc<Shared>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.all_stand();
    }
}

/// A place's thread: its memory is filled, and once both ends are ready its guests move.
pub fn guests(
    mut place: Place,
    mut host: Host,
    workers: Vec<Worker>,
    mut cue: Cue,
    gates: Gates,
    shared: &Shared,
) -> Vec<Story> {
    let Gates { storage, measures, mut measured } = gates;
    let mut measures = Some(measures);
    if let Some(contents) = place.contents() {
        host.fill(contents, cue.stop());
    }
    cue.ready();
    if cue.begin().is_none() || storage.is_some_and(|copied| copied.recv().is_err()) {
        return vec![];
    }
    loop {
        let (job, count) = match place.next(&mut host) {
            Order::All(job) => (job, workers.len()),
            Order::One(job) => (job, 1),
            Order::Wait if cue.is_stopped() => {
                place.give_up(&mut host);
                continue;
            }
            Order::Wait => {
                // Another place measures the path.
                measures = None;
                select! {
                    recv(measured) -> _ => measured = never(),
                    recv(cue.ended()) -> _ => {}
                }
                continue;
            }
            Order::Over => return place.into_stories(),
        };
        let gone = || CopyError::new(ErrorKind::System, "a lane thread ended early");
        for worker in &workers[..count] {
            // One that is gone has no report either.
            let _ = worker.jobs.send(job.clone());
        }
        let mut reports = Vec::with_capacity(count);
        for worker in &workers[..count] {
            let report = worker.reports.recv().unwrap_or_else(|_| Err(gone()));
            if report.is_err() {
                // The other lanes of the guest may wait for a peer that will never answer.
                cue.give_up();
            }
            reports.push(report);
        }
        place.reported(reports, &mut host);
        measures = measures.filter(|_| !shared.is_measured());
    }
}
