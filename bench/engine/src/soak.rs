//! A soak's time line: what each short step showed is put where it belongs, and what changed becomes an event.
//!
//! Steps are taken in one by one and kept by nobody: memory is bounded by the slots and events that a document may hold,
//! and by the NIC pairs of two hosts. It refuses to tell a change of what it has seen once only.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pathproof_model::soak::{Soak, SoakEventKind, SoakFigures, SoakRange, SoakTimes};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{
    Criteria, Direction, Finding, LossPath, NodeId, ResultDoc, Severity, Share, Step, StepError, StepKind,
    code,
};

use line::Line;

/// Below such a part of the median of the probes before, a rate fell …
const FELL: f64 = 0.7;
/// … and from such a part on it is back.
const BACK: f64 = 0.85;
/// Probes before that, at least.
const RATES_MIN: usize = 3;
/// Probes whose median is the yardstick.
const RATES: usize = 32;
/// Paths and NICs that are kept in mind: what crosses is bounded, and this is what two hosts can have in a month of renaming.
const NAMES_MAX: usize = 4096;
/// Findings that are kept, one of each code.
const FINDINGS_MAX: usize = 64;

/// When something was, in both ways of telling it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// In ns since the soak began.
    pub at_ns: u64,
    /// Wall-clock label.
    pub label: String,
}

/// A soak as it goes on.
pub struct TimeLine {
    line: Line,
    limits: Criteria,
    /// Since when the peer is away.
    away_since_ns: Option<u64>,
    /// Up to where that time stands in the time line.
    told_ns: u64,
    lossy: bool,
    slow: bool,
    /// Whether datagrams were answered on a path.
    answered: BTreeMap<String, bool>,
    mtus: BTreeMap<String, u32>,
    rates: BTreeMap<bool, Rates>,
    findings: Vec<Finding>,
    codes: BTreeSet<String>,
}

/// Rate probes of a direction.
#[derive(Default)]
struct Rates {
    before: VecDeque<u64>,
    fell: bool,
}

impl TimeLine {
    /// A soak that is to last so long, held against these limits.
    pub fn new(time_ns: Option<u64>, limits: Criteria) -> TimeLine {
        TimeLine {
            line: Line::new(time_ns),
            limits,
            away_since_ns: None,
            told_ns: 0,
            lossy: false,
            slow: false,
            answered: BTreeMap::new(),
            mtus: BTreeMap::new(),
            rates: BTreeMap::new(),
            findings: vec![],
            codes: BTreeSet::new(),
        }
    }

    /// What it comes to so far.
    pub fn soak(&self) -> &Soak {
        self.line.soak()
    }

    /// What was noticed: the first finding of each code.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the peer is away.
    pub fn is_away(&self) -> bool {
        self.away_since_ns.is_some()
    }

    /// Time goes on, and the peer stays where it is.
    pub fn time(&mut self, at_ns: u64) {
        if self.away_since_ns.is_some() {
            let away_ns = at_ns.saturating_sub(self.told_ns);
            self.line.add(at_ns, SoakFigures { away_ns, ..SoakFigures::default() });
        }
        self.told_ns = at_ns;
        self.line.reach(at_ns);
    }

    /// The peer answers.
    pub fn reached(&mut self, now: &Moment) {
        self.time(now.at_ns);
        if let Some(since) = self.away_since_ns.take() {
            let away = Nanoseconds(now.at_ns.saturating_sub(since));
            self.line.event(now, SoakEventKind::PeerBack, format!("reached again after {away}"));
        }
    }

    /// The peer does not answer any more, or not yet.
    pub fn lost(&mut self, now: &Moment, why: &StepError) {
        self.time(now.at_ns);
        if self.away_since_ns.is_none() {
            self.away_since_ns = Some(now.at_ns);
            self.line.event(now, SoakEventKind::PeerLost, why.message.clone());
        }
    }

    /// A step is over; `now` is its end.
    pub fn step(&mut self, now: &Moment, step: &Step) {
        self.time(now.at_ns);
        self.carriers(now, step);
        // What was broken off says nothing of what it was to measure.
        if step.error.is_some() {
            return;
        }
        match step.kind {
            StepKind::Loss => self.loss(now, step.detail.loss.as_deref().unwrap_or_default()),
            StepKind::Request => self.latency(now, step),
            StepKind::Mtu => self.mtu(now, step),
            StepKind::Stream => self.rate(now, step),
            StepKind::Facts | StepKind::Reach | StepKind::Ports | StepKind::Pingpong | StepKind::Migrate => {}
            StepKind::Smb | StepKind::Channels | StepKind::File | StepKind::Networks | StepKind::Contend => {}
        }
    }

    /// What a session noticed, at its end. What it says of its own end stands in the time line already.
    pub fn noticed(&mut self, now: &Moment, doc: &ResultDoc) {
        for finding in &doc.findings {
            let known = self.codes.contains(&finding.code) || self.codes.len() >= FINDINGS_MAX;
            if known || finding.severity == Severity::Info || finding.is(code!("PEER-LOST")) {
                continue;
            }
            self.codes.insert(finding.code.clone());
            self.line.event(now, SoakEventKind::Noticed, format!("{}: {}", finding.code, finding.evidence));
            // The steps of a soak do not stand in its document.
            self.findings.push(Finding { step: None, ..finding.clone() });
        }
    }

    fn loss(&mut self, now: &Moment, paths: &[LossPath]) {
        let mut whole = Share::default();
        let mut worst: Option<(f64, String)> = None;
        for path in paths.iter().filter(|path| !path.by_echo) {
            let answers = path.flows.iter().any(|flow| flow.answered);
            let name = path.name();
            let before = self.answered.get(&name).copied();
            if before.is_some() || self.answered.len() < NAMES_MAX {
                self.answered.insert(name.clone(), answers);
            }
            match (before, answers) {
                (Some(true), false) => {
                    let text = format!("{name}: no datagram is answered any more");
                    self.line.event(now, SoakEventKind::PathDead, text);
                }
                (Some(false), true) => {
                    self.line.event(
                        now,
                        SoakEventKind::PathBack,
                        format!("{name}: datagrams are answered again"),
                    );
                }
                _ => {}
            }
            let mut own = Share::default();
            for counts in path.flows.iter().filter(|flow| flow.answered).flat_map(|f| [&f.small, &f.full]) {
                own = own + counts.lost();
            }
            // What the receiving socket had no room for did arrive.
            own.part = own.part.saturating_sub(path.overflowed);
            whole = whole + own;
            if let Some(share) =
                own.point().filter(|share| worst.as_ref().is_none_or(|(most, _)| share > most))
            {
                worst = Some((share, format!("{name}: {} of {} datagrams lost", own.part, own.of)));
            }
        }
        self.line.add(now.at_ns, SoakFigures { sent: whole.of, lost: whole.part, ..SoakFigures::default() });
        // As the judge does: one lost of three hundred shows nothing yet.
        let lossy = whole.bounds().0 > self.limits.loss.share_max;
        if lossy && !self.lossy {
            let (_, text) = worst.unwrap_or_default();
            self.line.event(now, SoakEventKind::Loss, text);
        } else if !lossy && self.lossy && whole.of > 0 {
            let text = format!("{} of {} datagrams lost", whole.part, whole.of);
            self.line.event(now, SoakEventKind::LossOver, text);
        }
        self.lossy = if whole.of > 0 { lossy } else { self.lossy };
    }

    fn latency(&mut self, now: &Moment, step: &Step) {
        let times = step.summary.response_ns.or(step.summary.service_ns).filter(|times| times.count > 0);
        let Some(times) = times else { return };
        let own = SoakTimes {
            count: times.count,
            p50_min: times.p50,
            p50_max: times.p50,
            p99_max: times.p99,
            max: times.max,
        };
        self.line.add(now.at_ns, SoakFigures { response_ns: Some(own), ..SoakFigures::default() });
        let limit = self.limits.latency.p99_max_ns.unwrap_or(self.limits.latency.loaded_p99_max_ns);
        let text =
            || format!("99 of 100 requests within {}, limit {}", Nanoseconds(times.p99), Nanoseconds(limit));
        match (self.slow, times.p99 > limit) {
            (false, true) => self.line.event(now, SoakEventKind::Slow, text()),
            (true, false) => self.line.event(now, SoakEventKind::SlowOver, text()),
            _ => {}
        }
        self.slow = times.p99 > limit;
    }

    fn mtu(&mut self, now: &Moment, step: &Step) {
        for path in step.detail.paths.iter().flatten() {
            // What could not be found out is no change.
            let Some(bytes) = path.ip_mtu_bytes else { continue };
            let range = Some(SoakRange::of(u64::from(bytes)));
            self.line.add(now.at_ns, SoakFigures { ip_mtu_bytes: range, ..SoakFigures::default() });
            let remote = path.remote_nic.as_deref().unwrap_or("peer");
            let (family, way) = (path.family, path.direction.name());
            let name = format!("{} to {remote} IPv{family} {way}", path.local_nic);
            let before = self.mtus.get(&name).copied();
            if before.is_some() || self.mtus.len() < NAMES_MAX {
                self.mtus.insert(name.clone(), bytes);
            }
            if let Some(before) = before.filter(|before| *before != bytes) {
                let text = format!("{name}: IP MTU {before} before, {bytes} now");
                self.line.event(now, SoakEventKind::MtuChanged, text);
            }
        }
    }

    fn rate(&mut self, now: &Moment, step: &Step) {
        let Some(rate) = step.summary.goodput_bits_per_s else { return };
        let outward = step.direction == Some(Direction::Out);
        let range = Some(SoakRange::of(rate));
        let figures = match outward {
            true => SoakFigures { out_bits_per_s: range, ..SoakFigures::default() },
            false => SoakFigures { in_bits_per_s: range, ..SoakFigures::default() },
        };
        self.line.add(now.at_ns, figures);
        let rates = self.rates.entry(outward).or_default();
        let mut sorted: Vec<u64> = rates.before.iter().copied().collect();
        sorted.sort_unstable();
        if let Some(median) = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= RATES_MIN) {
            let share = rate as f64 / (*median).max(1) as f64;
            let way = if outward { "out" } else { "in" };
            let text = format!("{way}: {}, median before {}", BitsPerSecond(rate), BitsPerSecond(*median));
            if share < FELL && !rates.fell {
                rates.fell = true;
                self.line.event(now, SoakEventKind::RateFell, text);
            } else if share >= BACK && rates.fell {
                rates.fell = false;
                self.line.event(now, SoakEventKind::RateBack, text);
            }
        }
        // What fell is no yardstick for what comes.
        if !rates.fell {
            rates.before.push_back(rate);
            if rates.before.len() > RATES {
                rates.before.pop_front();
            }
        }
    }

    /// What both hosts counted meanwhile of their carriers.
    fn carriers(&mut self, now: &Moment, step: &Step) {
        for evidence in step.evidence.iter().filter(|evidence| evidence.same_as.is_none()) {
            for nic in evidence.nics.iter().flatten() {
                let Some(changes) = nic.counts.carrier_changes.filter(|changes| *changes > 0) else {
                    continue;
                };
                let figures = SoakFigures { carrier_changes: changes, ..SoakFigures::default() };
                self.line.add(now.at_ns, figures);
                let host = if evidence.node == NodeId::CLIENT { "this host" } else { "the peer" };
                let text = format!("{} of {host}: its carrier came or went {changes} times", nic.nic);
                self.line.event(now, SoakEventKind::CarrierChanged, text);
            }
        }
    }
}
