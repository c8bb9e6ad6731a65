//! What the stories of all guests and of the disk come to: the step's figures, and the error that tells why it ended early.

use pathproof_model::Finding;
use pathproof_model::MigrateSpec;
use pathproof_model::migrate::{MigrateCompression, MigrateDetail};
use pathproof_model::units::{Bytes, Nanoseconds};

use super::disk::DiskStory;
use super::error::CopyError;
use super::pack::Packed;
use super::story::Story;
use crate::migrate::PAGE_BYTES;

/// Fewer pages than this are no rate.
const PAGES_MIN: u64 = 20;

/// What the source knows when all is over.
#[derive(Default)]
pub struct Stories {
    /// The guests of each place, in the order in which they moved.
    pub places: Vec<Vec<Story>>,
    /// The disk, where one moved.
    pub disk: Option<DiskStory>,
    /// What compressing came to on each lane.
    pub packed: Vec<Packed>,
    /// Why lanes ended early.
    pub lane_errors: Vec<CopyError>,
}

/// What came of a step.
#[derive(Debug)]
pub struct CopyOutcome {
    /// In numbers.
    pub detail: MigrateDetail,
    /// Why it ended early: the error that tells most.
    pub error: Option<CopyError>,
}

impl CopyOutcome {
    /// An error in words, with the phase in which the step ended.
    pub fn in_phase(&self, message: String) -> String {
        match &self.detail.stopped_in {
            Some(phase) => format!("the migration ended in phase {phase}: {message}"),
            None => message,
        }
    }

    /// What is to be said about it.
    pub fn findings(&self) -> Vec<Finding> {
        findings(&self.detail)
    }
}

/// Sums the stories of a step up.
pub fn sum_up(spec: &MigrateSpec, told: Stories) -> CopyOutcome {
    let Stories { places: stories, disk, packed, lane_errors } = told;
    // A guest that waits for another's end is not moving: the longest place decides.
    let total_ns = stories.iter().map(|s| s.iter().map(|s| s.guest.total_ns).sum()).max().unwrap_or(0);
    let first_start = stories.iter().flatten().filter_map(|s| s.span).map(|(start, _)| start).min();
    let mut all: Vec<Story> = stories.into_iter().flatten().collect();
    all.sort_by_key(|s| s.guest.guest);
    for story in &mut all {
        if let (Some(first), Some((start, _))) = (first_start, story.span) {
            story.guest.started_ns = start.ns_since(first);
        }
    }
    let disk_verified = disk.as_ref().is_none_or(|d| d.disk.verified);
    let complete = all.len() == spec.guests as usize;
    let mut detail = MigrateDetail {
        verified: complete && disk_verified && all.iter().all(|s| s.guest.verified),
        converged: complete && all.iter().all(|s| s.guest.converged),
        total_ns,
        downtime_ns: all.iter().map(|s| s.guest.downtime_ns).max().unwrap_or(0),
        bytes: all.iter().map(|s| s.guest.bytes).sum(),
        seed: spec.seed,
        verify_ns: all.iter().map(|s| s.verify_ns).sum(),
        zero_pages: all.iter().flat_map(|s| &s.rounds).map(|r| r.zero_pages).sum(),
        guests: all.iter().map(|s| s.guest.clone()).collect(),
        mismatch: all.iter().find_map(|s| {
            let (page, count) = s.mismatch?;
            Some(format!("guest {}: page {page} differs, and {} pages in all", s.guest.guest, count))
        }),
        disk: disk.as_ref().map(|d| d.disk.clone()),
        compression: spec.compress.then(|| compression(&packed)),
        cpu_client_ns: all.iter().map(|s| s.cpu_ns).sum(),
        ..MigrateDetail::default()
    };
    if let Some(story) = all.first() {
        detail.brownout_ns = story.guest.total_ns.saturating_sub(story.guest.downtime_ns);
        detail.rounds = story.rounds.clone();
        detail.reason = story.reason.map(Into::into);
        detail.predicted = story.predicted.clone();
        detail.dirtied_bytes_per_s = story.dirtied_bytes_per_s;
        detail.memory_bytes = story.memory_bytes;
        detail.out_of_time = story.out_of_time;
        detail.downtime_limit_ns = story.downtime_limit_ns;
        detail.dirty_bytes_per_s = story.dirty_bytes_per_s;
        detail.tracker = Some(spec.tracker);
        detail.copied_bytes_per_s = story.rounds.first().map(|r| {
            (u128::from(r.pages * PAGE_BYTES) * 1_000_000_000 / u128::from(r.elapsed_ns.max(1))) as u64
        });
    }
    if let Some((block, count)) = disk.as_ref().and_then(|d| d.mismatch) {
        let disk = format!("disk: block {block} differs, and {count} blocks in all");
        detail.mismatch = Some(detail.mismatch.map_or(disk.clone(), |memory| format!("{memory}; {disk}")));
    }
    let (stopped_in, error) = why(all, disk, lane_errors);
    detail.stopped_in = stopped_in;
    CopyOutcome { detail, error }
}

/// The phase in which the step ended early, and the error that tells most: what broke first, before what follows from it.
fn why(
    stories: Vec<Story>,
    disk: Option<DiskStory>,
    lane_errors: Vec<CopyError>,
) -> (Option<String>, Option<CopyError>) {
    let mut broken: Vec<Story> = stories.into_iter().filter(|story| story.error.is_some()).collect();
    let first = broken.iter().position(|story| !story.error.as_ref().is_some_and(CopyError::follows));
    let broken = (!broken.is_empty()).then(|| broken.swap_remove(first.unwrap_or(0)));
    let mut stopped_in = broken.as_ref().and_then(|story| story.stopped_in).map(|phase| phase.to_string());
    let of_guest = broken.and_then(|story| story.error);
    let all_copied = disk.as_ref().is_some_and(|disk| disk.disk.elapsed_ns > 0);
    let of_disk = disk.and_then(|disk| disk.error);
    // A copy that was given up because the peer is gone was under way all the same: the guests had not begun.
    let disk_broke = of_disk.as_ref().is_some_and(|error| !all_copied || !error.follows());
    if disk_broke && of_guest.as_ref().is_none_or(CopyError::follows) {
        stopped_in = Some(if all_copied { "storage mirroring" } else { "storage copy" }.into());
    }
    // One that only follows counts where a guest or a lane has it: a disk alone is given up with the step.
    let of_disk = of_disk.filter(|error| !error.follows());
    let of_lanes = lane_errors.into_iter().filter(|error| !error.follows());
    (stopped_in, CopyError::first(of_guest.into_iter().chain(of_disk).chain(of_lanes)))
}

fn compression(lanes: &[Packed]) -> MigrateCompression {
    let mut sum =
        MigrateCompression { codec: "lz4".into(), compress_cpu_ns: Some(0), ..MigrateCompression::default() };
    for packed in lanes {
        sum.plain_bytes += packed.plain_bytes;
        sum.sent_bytes += packed.sent_bytes;
        sum.raw_bytes += packed.raw_bytes;
        sum.compress_cpu_ns = sum.compress_cpu_ns.map(|ns| ns + packed.cpu_ns);
    }
    sum
}

fn findings(detail: &MigrateDetail) -> Vec<Finding> {
    let mut findings = vec![];
    if let Some(mismatch) = &detail.mismatch {
        findings.push(Finding::new("MIGRATE-CORRUPT", mismatch.clone()));
    }
    let finished = detail.stopped_in.is_none() && !detail.rounds.is_empty();
    if finished && !detail.converged {
        let evidence = format!(
            "after {} live rounds {}; the guest stood still for {}",
            detail.rounds.len().saturating_sub(1),
            detail.reason.as_deref().unwrap_or("the policy gave up"),
            Nanoseconds(detail.downtime_ns)
        );
        let mut finding = Finding::new("MIGRATE-NOT-CONVERGING", evidence)
            .with("downtime_ns", detail.downtime_ns)
            .with("dirty_bytes_per_s", detail.dirty_bytes_per_s);
        if let Some(copied) = detail.copied_bytes_per_s {
            finding = finding.with("copied_bytes_per_s", copied);
            if detail.dirty_bytes_per_s >= copied {
                finding = finding.with_next(format!(
                    "The guest dirties {}/s and the path copies {}/s: use a faster path, RDMA or more lanes, or slow the guest down (--auto-converge, --post-copy).",
                    Bytes(detail.dirty_bytes_per_s),
                    Bytes(copied)
                ));
            }
        }
        findings.push(finding);
    }
    // Of a few pages one more or less is a tenth.
    let live_ns: u64 = detail.rounds.iter().map(|round| round.elapsed_ns).sum();
    let pages =
        u128::from(detail.dirty_bytes_per_s) * u128::from(live_ns) / 1_000_000_000 / PAGE_BYTES as u128;
    if let Some(dirtied) = detail.dirtied_bytes_per_s
        && u64::try_from(pages).is_ok_and(|pages| pages >= PAGES_MIN)
        && dirtied < detail.dirty_bytes_per_s / 10 * 9
    {
        let evidence = format!(
            "{}/s were to be dirtied and this machine wrote {}/s beside the copy",
            Bytes(detail.dirty_bytes_per_s),
            Bytes(dirtied)
        );
        findings.push(
            Finding::new("MIGRATE-DIRTY-RATE", evidence)
                .with("asked_bytes_per_s", detail.dirty_bytes_per_s)
                .with("reached_bytes_per_s", dirtied),
        );
    }
    findings
}
