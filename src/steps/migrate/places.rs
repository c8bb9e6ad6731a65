//! The life of a place's thread at the source: its memory is filled, and its guests move one after the other, each lane
//! doing what the move orders.

use std::sync::mpsc;
use std::time::Duration;

use pathproof_engine::migrate::copy::{CopyError, Job, Order, Place, Report, Story};
use pathproof_model::ErrorKind;

use super::lanes::{Around, News};
use super::machine::Host;

/// One lane's thread, as its place sees it.
pub struct Worker {
    /// Where its jobs go.
    pub jobs: mpsc::Sender<Job>,
    /// Where its reports come from.
    pub reports: mpsc::Receiver<Result<Report, CopyError>>,
}

/// A place's thread: its memory is filled, and once both ends are ready its guests move.
pub fn guests(
    mut place: Place,
    mut host: Host,
    workers: Vec<Worker>,
    around: &Around,
    news: &mpsc::Sender<News>,
    start: &mpsc::Receiver<()>,
) -> Vec<Story> {
    if let Some(contents) = place.contents() {
        host.fill(contents, &around.stop);
    }
    let _ = news.send(News::Ready);
    // The coordinator drops the sender when the step is given up before its start.
    if start.recv().is_err() {
        return vec![];
    }
    loop {
        let (job, count) = match place.next(&mut host) {
            Order::All(job) => (job, workers.len()),
            Order::One(job) => (job, 1),
            Order::Wait if around.given_up() => {
                place.give_up(&mut host);
                continue;
            }
            Order::Wait => {
                std::thread::sleep(Duration::from_millis(1));
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
                around.give_up();
            }
            reports.push(report);
        }
        place.reported(reports, &mut host);
    }
}
