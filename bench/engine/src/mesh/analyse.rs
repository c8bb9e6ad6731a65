//! Whom the figures of a mesh accuse, and what they cannot tell.
//!
//! First what is either so or not (reach, MTU), then loss, goodput of hosts, of pairs, and bottlenecks that many share. Nobody is named by
//! a figure that was measured once: every suspect is measured again in quiet, and the first healthy repetition clears it (of one that loses, as
//! many as it takes where a lossy host often looks healthy). The thresholds are those of a simulation with faults of known size (`tests`),
//! which also says how often somebody is named wrongly.
//!
//! A repetition that is slow while a thread of one of its two hosts stood in line for a processor says nothing about the path: it neither
//! confirms nor clears, and whoever could not be judged is counted.

mod bottleneck;
mod loss;

use pathproof_model::mesh::{Suspect, SuspectKind, Who};

use super::Grid;
use super::cover::cover;
use super::message::Paced;
use super::polish::{Polished, median, normal_tail, polish, quantile, spread};

/// A host is suspected when its effect is so many standard deviations away ...
const HOST_Z: f64 = 5.0;
/// ... and goodput at least so much lower, as a logarithm.
const HOST_EFFECT: f64 = 0.04;
/// In quiet a slow host is still below this share of what a healthy cell carries.
const STILL_SLOW: f64 = 0.955;
/// A cell is suspected when it is at least so much below what its hosts would let expect, as a logarithm ...
const CELL_EFFECT: f64 = 0.15;
/// ... and beyond what one of all cells may be by chance with this probability (Bonferroni).
const CHANCE: f64 = 0.05;
/// In quiet a cell is slow below this, as a logarithm of its share of a healthy one.
const CELL_STILL_SLOW: f64 = -0.1;
/// How often a cell must be slow again to be named.
const REPETITIONS: u32 = 3;
/// How often a stream is made again that a busy host was in the way of.
const TRIES: u32 = 3;
/// Partners that a slow host is measured with again.
const PARTNERS: usize = 5;
/// Above such an effect on a host's goodput that would not be seen, the answer is that it cannot be determined.
const BLIND_FROM: f64 = 0.1;
/// A host whose figures are so much above the others', as sender and as receiver, as a logarithm, tells what no partner of it can have: no
/// stream is faster than the slower of its two ends. What a healthy pair carries is not taken from it.
const UNBELIEVABLE: f64 = 1.4;

/// What was measured on one plane.
pub struct Measured<'a> {
    /// Whether anything arrived.
    pub reached: &'a Grid<bool>,
    /// Largest IP packet, in bytes.
    pub ip_mtu_bytes: &'a Grid<u32>,
    /// Goodput, in bit/s.
    pub goodput_bits_per_s: &'a Grid<f64>,
    /// Segments sent again.
    pub retransmits: &'a Grid<f64>,
    /// How long each stream was measured, in ns.
    pub window_ns: u64,
    /// Speed of each host's link, in bit/s: a cell is held against the slower of its two, where that of all hosts with figures is known.
    pub speed_bits_per_s: &'a [Option<u64>],
    /// Hosts that the user says belong together, by a number.
    pub groups: &'a [u32],
}

/// What a pair showed when it was measured again in quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Repeated {
    /// Goodput, in bit/s; `None` where it could not be measured.
    pub goodput_bits_per_s: Option<f64>,
    /// Segments sent again.
    pub retransmits: Option<f64>,
    /// Whether threads of it stood in line for a processor for so long that its figures are its hosts'.
    pub starved: bool,
}

/// Measures ordered pairs again: an answer for each, in their order.
pub trait Again {
    /// Streams, in quiet.
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated>;

    /// Streams, all at once; nobody is in two of them.
    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated>;

    /// Datagrams at a pace at which no queue fills, in quiet; `None` where that cannot be measured.
    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>>;
}

/// What would not have been seen, as a share of goodput.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Floor {
    /// A host that is slower by less.
    pub host: Option<f64>,
    /// A pair that is slower by less.
    pub pair: Option<f64>,
    /// Whether that is so much that goodput cannot be judged.
    pub blind: bool,
}

/// What the figures come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// Who is named.
    pub suspects: Vec<Suspect>,
    /// What would not have been seen.
    pub floor: Floor,
    /// The usual MTU, in bytes.
    pub usual_ip_mtu_bytes: Option<u32>,
    /// What a healthy pair carries (the upper quartile), in bit/s.
    pub usual_goodput_bits_per_s: Option<f64>,
    /// Pairs that were measured again.
    pub repetitions: u32,
    /// Those of them that were slow or lossy while a host was too busy for that to say anything.
    pub starved: u32,
    /// Hosts whose figures cannot be.
    pub unbelievable: Vec<u32>,
    /// Hosts that lost in their rounds, and in quiet neither often enough to be named nor seldom enough to be cleared.
    pub undecided: Vec<u32>,
}

/// Finds whom the figures accuse.
pub fn analyse(measured: &Measured<'_>, again: &mut dyn Again) -> Analysis {
    let mut at_work = Work::new(measured, again);
    at_work.reach();
    at_work.mtu();
    at_work.loss();
    at_work.goodput();
    at_work.found
}

/// A figure that says nothing about the path.
#[derive(Clone, Copy, Debug)]
struct Starved;

/// A host's effect as sender and as receiver, of the sides that are suspected.
#[derive(Clone, Copy, Default)]
struct Sides {
    sends: Option<(f64, f64)>,
    receives: Option<(f64, f64)>,
}

impl Sides {
    fn any(&self) -> bool {
        self.sends.is_some() || self.receives.is_some()
    }

    fn who(&self, host: usize) -> Who {
        let rank = host as u32;
        match (self.sends, self.receives) {
            (Some(_), None) => Who::Sender { rank },
            (None, Some(_)) => Who::Receiver { rank },
            _ => Who::Host { rank },
        }
    }

    /// The effect and its distance, of the worse side.
    fn worst(&self) -> (f64, f64) {
        let both = self.sends.into_iter().chain(self.receives);
        both.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
    }
}

struct Work<'a> {
    measured: &'a Measured<'a>,
    again: &'a mut dyn Again,
    hosts: usize,
    /// How many cells a host has as sender, in the middle; of those that carried something, since reach is known of many more where
    /// rounds were drawn.
    observed: f64,
    /// Speed of each host's link, where it is known of all that have figures.
    speeds: Option<Vec<u64>>,
    /// Hosts that lose as senders, not those alone to which what is sent gets lost.
    loses_own: Vec<bool>,
    found: Analysis,
}

impl<'a> Work<'a> {
    fn new(measured: &'a Measured<'a>, again: &'a mut dyn Again) -> Work<'a> {
        let hosts = measured.reached.hosts();
        let mut counts: Vec<f64> =
            (0..hosts).map(|host| measured.goodput_bits_per_s.row(host).count() as f64).collect();
        let observed = median(&mut counts).unwrap_or(0.0).max(1.0);
        let goodput = measured.goodput_bits_per_s;
        let has_figures =
            |host: usize| goodput.row(host).next().is_some() || goodput.column(host).next().is_some();
        // Who never came says nothing of its link, and needs not.
        let speed = |host: usize| match measured.speed_bits_per_s.get(host).copied().flatten() {
            None if has_figures(host) => None,
            speed => Some(speed.unwrap_or(1).max(1)),
        };
        let speeds = (0..hosts).map(speed).collect();
        Work {
            measured,
            again,
            hosts,
            observed,
            speeds,
            loses_own: vec![false; hosts],
            found: Analysis::default(),
        }
    }

    fn repeat(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.found.repetitions = self.found.repetitions.saturating_add(pairs.len() as u32);
        let mut told = self.again.measure(pairs);
        told.resize(pairs.len(), Repeated::default());
        told
    }

    fn name(&mut self, kind: SuspectKind, who: Who, explained: u32) -> &mut Suspect {
        self.found.suspects.push(Suspect { cells_explained: explained, ..Suspect::new(kind, who) });
        self.found.suspects.last_mut().expect("one was put in")
    }

    /// Whether a host is named already, for another reason that also slows it down.
    fn is_named(&self, host: usize, kinds: &[SuspectKind]) -> bool {
        let rank = host as u32;
        self.found.suspects.iter().any(|suspect| {
            kinds.contains(&suspect.kind)
                && matches!(suspect.who, Who::Host { rank: r } | Who::Sender { rank: r } | Who::Receiver { rank: r } if r == rank)
        })
    }

    fn reach(&mut self) {
        for (who, explained) in cover(&self.measured.reached.map(|_, _, reached| Some(!reached))) {
            self.name(SuspectKind::Reach, who, explained);
        }
    }

    fn mtu(&mut self) {
        let mut counts = std::collections::BTreeMap::<u32, usize>::new();
        for (.., bytes) in self.measured.ip_mtu_bytes.known() {
            *counts.entry(*bytes).or_default() += 1;
        }
        // The most frequent; of several the largest.
        let Some(usual) = counts.iter().max_by_key(|(_, count)| **count).map(|(bytes, _)| *bytes) else {
            return;
        };
        self.found.usual_ip_mtu_bytes = Some(usual);
        let deviates = self.measured.ip_mtu_bytes.map(|_, _, bytes| Some(*bytes != usual));
        for (who, explained) in cover(&deviates) {
            let bytes = self.seen_mtu(&who, usual);
            let suspect = self.name(SuspectKind::Mtu, who, explained);
            suspect.measured = bytes.map(f64::from);
            suspect.usual = Some(f64::from(usual));
            suspect.effect = bytes.map(|bytes| f64::from(bytes) / f64::from(usual) - 1.0);
        }
    }

    /// The size that the cells of a culprit show.
    fn seen_mtu(&self, who: &Who, usual: u32) -> Option<u32> {
        let of =
            self.measured.ip_mtu_bytes.known().filter(|(from, to, _)| who.explains(*from as u32, *to as u32));
        of.map(|(.., bytes)| *bytes).filter(|bytes| *bytes != usual).min()
    }

    /// A figure as a share of the slower of the two links, where the speeds of all are known; else as it is.
    fn share(&self, from: usize, to: usize, bits_per_s: f64) -> Option<f64> {
        let by = self.speeds.as_ref().map_or(1.0, |all| all[from].min(all[to]) as f64);
        (bits_per_s > 0.0).then_some(bits_per_s / by)
    }

    /// What streams carry that are made again in quiet; `None` where that is not known, or below `enough` while a host was too busy each time.
    fn quiet(&mut self, pairs: &[(usize, usize)], enough: f64) -> Vec<Option<f64>> {
        let mut shares = vec![None; pairs.len()];
        let mut open: Vec<usize> = (0..pairs.len()).collect();
        for _ in 0..TRIES {
            let asked: Vec<(usize, usize)> = open.iter().map(|at| pairs[*at]).collect();
            let told = self.repeat(&asked);
            let told = self.shares(&asked, &told, enough);
            for (at, share) in open.iter().zip(&told) {
                shares[*at] = share.ok().flatten();
            }
            open = open.into_iter().zip(told).filter(|(_, share)| share.is_err()).map(|(at, _)| at).collect();
            if open.is_empty() {
                break;
            }
        }
        self.found.starved = self.found.starved.saturating_add(open.len() as u32);
        shares
    }

    /// What streams carried, as far as that is known; `Err` where it was below `enough` while a host was too busy.
    fn shares(
        &self,
        pairs: &[(usize, usize)],
        told: &[Repeated],
        enough: f64,
    ) -> Vec<Result<Option<f64>, Starved>> {
        let share = |(pair, told): (&(usize, usize), &Repeated)| {
            let share = told.goodput_bits_per_s.and_then(|rate| self.share(pair.0, pair.1, rate));
            let says_nothing = told.starved && share.is_some_and(|share| share < enough);
            if says_nothing { Err(Starved) } else { Ok(share) }
        };
        pairs.iter().zip(told).map(share).collect()
    }

    fn goodput(&mut self) {
        let shares = self.measured.goodput_bits_per_s.map(|from, to, rate| self.share(from, to, *rate));
        let Some(middle) = median(&mut values(&shares)) else { return };
        let polished = polish(&shares.map(|_, _, share| Some((share / middle).ln())));
        let is_too_much = |host: &usize| polished.sender[*host].min(polished.receiver[*host]) > UNBELIEVABLE;
        let liars: Vec<usize> = (0..self.hosts).filter(is_too_much).collect();
        let believed = |grid: &Grid<f64>| {
            grid.map(|from, to, x| (!liars.contains(&from) && !liars.contains(&to)).then_some(*x))
        };
        let Some(healthy) = quantile(values(&believed(&shares)), 0.75) else { return };
        self.found.usual_goodput_bits_per_s =
            quantile(values(&believed(self.measured.goodput_bits_per_s)), 0.75);
        self.found.unbelievable = liars.iter().map(|host| *host as u32).collect();
        let of_rest = spread(&values(&polished.rest)).max(0.005);
        let cells = (self.hosts * self.hosts.saturating_sub(1)).max(2);
        let cell_z = normal_tail(CHANCE / cells as f64);
        let effects = |effects: &[f64]| spread(effects).max(1.25 * of_rest / self.observed.sqrt()).max(0.01);
        let (sender, receiver) = (effects(&polished.sender), effects(&polished.receiver));
        let unseen = (HOST_Z * sender.max(receiver)).max(HOST_EFFECT);
        let host = 1.0 - (-unseen).exp();
        let pair = 1.0 - (-(cell_z * of_rest).max(CELL_EFFECT)).exp();
        self.found.floor = Floor { host: Some(host), pair: Some(pair), blind: host > BLIND_FROM };

        let slow = self.slow_hosts(&polished, (sender, receiver), healthy);
        let named = self.slow_pairs(&polished.rest, &slow, (of_rest, cell_z), healthy);
        for (host, sides) in slow.iter().enumerate().filter(|(_, sides)| sides.any()) {
            if self.is_named(host, &[SuspectKind::Loss]) && self.only_what_does_not_fit(host, sides) {
                let who = Who::Host { rank: host as u32 };
                self.found.suspects.retain(|known| known.kind != SuspectKind::Loss || known.who != who);
            }
            // Who loses packets, or sends in small ones, is slow because of that.
            if self.is_named(host, &[SuspectKind::Loss, SuspectKind::Mtu]) {
                continue;
            }
            let (effect, z) = sides.worst();
            let explained =
                self.observed as u32 * if matches!(sides.who(host), Who::Host { .. }) { 2 } else { 1 };
            let suspect = self.name(SuspectKind::Goodput, sides.who(host), explained);
            suspect.effect = Some(effect.exp_m1());
            suspect.z = Some(z);
            suspect.repetitions = PARTNERS as u32;
        }
        self.bottleneck(&shares, &slow, &named, healthy);
    }

    /// Hosts that are slow in their rounds and, with partners from all over the list, in quiet too.
    fn slow_hosts(&mut self, polished: &Polished, sigma: (f64, f64), healthy: f64) -> Vec<Sides> {
        let side = |effect: f64, sigma: f64| (effect, effect / sigma);
        let is_far = |(effect, z): &(f64, f64)| *z < -HOST_Z && *effect < -HOST_EFFECT;
        let mut suspected: Vec<Sides> = (0..self.hosts)
            .map(|host| {
                let sends = side(polished.sender[host], sigma.0);
                let receives = side(polished.receiver[host], sigma.1);
                // A host with one side that is far off is suspected of the other, too, where that is as slow: a NIC has both.
                let suspected = is_far(&sends) || is_far(&receives);
                let of = |side: (f64, f64)| (suspected && side.0 < -HOST_EFFECT).then_some(side);
                Sides { sends: of(sends), receives: of(receives) }
            })
            .collect();
        let others = |wanted: &dyn Fn(usize) -> bool, host: usize| -> Vec<usize> {
            (0..self.hosts).filter(|other| *other != host && wanted(*other)).collect()
        };
        let partners: Vec<Vec<usize>> = (0..self.hosts)
            .map(|host| {
                let healthy = others(&|other| !suspected[other].any(), host);
                let all = if healthy.is_empty() { others(&|_| true, host) } else { healthy };
                (0..PARTNERS).filter_map(|k| all.get(k * all.len() / PARTNERS).copied()).collect()
            })
            .collect();
        for (host, sides) in suspected.iter_mut().enumerate() {
            for (side, sends) in [(&mut sides.sends, true), (&mut sides.receives, false)] {
                if side.is_none() {
                    continue;
                }
                let pairs: Vec<(usize, usize)> = partners[host]
                    .iter()
                    .map(|partner| if sends { (host, *partner) } else { (*partner, host) })
                    .collect();
                let told = self.quiet(&pairs, STILL_SLOW * healthy);
                let mut told: Vec<f64> = told.into_iter().flatten().collect();
                // What could not be measured again is not confirmed.
                let still = told.len() * 2 >= pairs.len()
                    && median(&mut told).is_some_and(|share| share / healthy < STILL_SLOW);
                if !still {
                    *side = None;
                }
            }
        }
        suspected
    }

    /// Pairs that are slower than their hosts, each time that they are measured.
    fn slow_pairs(
        &mut self,
        rest: &Grid<f64>,
        slow: &[Sides],
        (of_rest, cell_z): (f64, f64),
        healthy: f64,
    ) -> Vec<(usize, usize)> {
        let mut suspected: Vec<(usize, usize, f64)> = rest
            .known()
            .filter(|(from, to, rest)| {
                **rest / of_rest < -cell_z && **rest < -CELL_EFFECT && !slow[*from].any() && !slow[*to].any()
            })
            .map(|(from, to, rest)| (from, to, *rest))
            .collect();
        // All of them once, then those that are left once more: most are cleared by the first healthy repetition.
        for _ in 0..REPETITIONS {
            let pairs: Vec<(usize, usize)> = suspected.iter().map(|(from, to, _)| (*from, *to)).collect();
            let enough = healthy * CELL_STILL_SLOW.exp();
            let told = if pairs.is_empty() { vec![] } else { self.quiet(&pairs, enough) };
            let mut told = told.into_iter();
            suspected.retain(|_| {
                told.next().flatten().is_some_and(|share| (share / healthy).ln() < CELL_STILL_SLOW)
            });
        }
        for (from, to, rest) in &suspected {
            let suspect =
                self.name(SuspectKind::Goodput, Who::Pair { from: *from as u32, to: *to as u32 }, 1);
            suspect.effect = Some(rest.exp_m1());
            suspect.z = Some(rest / of_rest);
            suspect.repetitions = REPETITIONS;
        }
        suspected.into_iter().map(|(from, to, _)| (from, to)).collect()
    }
}

fn values(grid: &Grid<f64>) -> Vec<f64> {
    grid.known().map(|(.., value)| *value).collect()
}
