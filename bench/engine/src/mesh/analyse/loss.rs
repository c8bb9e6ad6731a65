//! Who loses segments, and who is only sent more than it has room for.

use pathproof_model::mesh::{SuspectKind, Who};

use super::{HOST_Z, Sides, Work, values};
use crate::mesh::message::Paced;
use crate::mesh::polish::{polish, spread};

/// A lossy host sends again so much more, as a logarithm of one more than the count.
const LOSS_EFFECT: f64 = 1.2;
/// Segments sent again, both ways, below which a quiet exchange clears a host ...
const LOSS_MIN: f64 = 20.0;
/// ... or, of a link on which so few are sent that this would be many, such a share of them ...
const LOSS_SHARE_MIN: f64 = 1e-3;
/// ... and at least so many.
const LOSS_MIN_SLOW: f64 = 4.0;
/// Exchanges by which a host must be lossy again.
const EXCHANGES: u32 = 3;
/// Exchanges that are made at most.
const EXCHANGES_MAX: usize = 8;
/// Partners that are asked for them, because some may be gone.
const WITNESSES: usize = 5;
/// How often an exchange of a healthy host sends much again by chance.
const BY_CHANCE: f64 = 0.05;
/// How often at least and at most one of a lossy host is taken to show nothing: "never" is not known of few streams, and whoever shows nothing
/// more often is cleared by all exchanges together.
const SILENT: (f64, f64) = (0.004, 0.5);
/// So many times as likely must what was seen be of a lossy host to name it, and of a healthy one to clear it.
const SURE: f64 = 100.0;
/// Bytes of a packet that are headers, of IPv4 and TCP with time stamps.
const HEADER_BYTES: u32 = 52;
/// Where nobody knows how large packets are.
const USUAL_IP_BYTES: u32 = 1500;
/// Partners whose paced datagrams are counted.
const DRIPS: usize = 2;
/// So many of them must be expected to get lost for their arrival to say something ...
const DRIP_EXPECTED_MIN: f64 = 8.0;
/// ... and less than such a share of what was expected is none.
const DRIP_LOST: f64 = 0.25;

impl Work<'_> {
    pub(super) fn loss(&mut self) {
        let polished = polish(&self.measured.retransmits.map(|_, _, count| Some(count.ln_1p())));
        let rest = values(&polished.rest);
        if rest.is_empty() {
            return;
        }
        let of_rest = 1.25 * spread(&rest) / self.observed.sqrt();
        let distance = |effects: &[f64]| spread(effects).max(of_rest).max(0.15);
        let (sender, receiver) = (distance(&polished.sender), distance(&polished.receiver));
        // What a healthy exchange of both ways sends again, and what is much more than that.
        let segments: Vec<f64> = self.measured.goodput_bits_per_s.known().map(|(.., rate)| *rate).collect();
        let segments = super::quantile(segments, 0.75).and_then(|rate| self.segments(rate));
        let least = segments
            .map_or(LOSS_MIN, |segments| (2.0 * segments * LOSS_SHARE_MIN).clamp(LOSS_MIN_SLOW, LOSS_MIN));
        let much = (8.0 * polished.common.exp_m1().max(0.0)).max(least);
        for host in 0..self.hosts {
            let (sends, receives) = (polished.sender[host], polished.receiver[host]);
            let z = (sends / sender).max(receives / receiver);
            if z <= HOST_Z || sends.max(receives) <= LOSS_EFFECT || self.hosts < 3 {
                continue;
            }
            let Some(repetitions) = self.loses_again(host, much) else { continue };
            self.loses_own[host] = sends / sender > HOST_Z && sends > LOSS_EFFECT;
            let effect = sends.max(receives);
            let usual = polished.common.exp_m1();
            let suspect =
                self.name(SuspectKind::Loss, Who::Host { rank: host as u32 }, 2 * self.observed as u32);
            suspect.effect = Some(effect.exp());
            suspect.z = Some(z);
            suspect.repetitions = repetitions;
            suspect.usual = Some(usual.max(0.0));
            suspect.measured = Some((polished.common + effect).exp_m1());
        }
    }

    /// In how many exchanges a host sent or was sent `much` again; `None` where it is not named.
    ///
    /// Where few segments are sent, or segments are lost by the dozen since a NIC takes them together, streams of a lossy host show nothing
    /// now and then. Wald's test of one hypothesis against the other weighs that: where a lossy host shows itself each time, the first healthy
    /// exchange clears it; where it does in six of seven, three have to.
    fn loses_again(&mut self, host: usize, much: f64) -> Option<u32> {
        let partners = self.witnesses(host, WITNESSES);
        let needed = EXCHANGES.min(partners.len() as u32);
        let silent = self.shows_nothing(host, much);
        let (lossy, healthy) = (((1.0 - silent) / BY_CHANCE).ln(), (silent / (1.0 - BY_CHANCE)).ln());
        let (mut repetitions, mut weight) = (0, 0.0f64);
        for partner in partners.iter().copied().cycle().take(EXCHANGES_MAX.min(4 * partners.len())) {
            let told = self.repeat(&[(host, partner), (partner, host)]);
            let again: Vec<f64> = told.iter().filter_map(|told| told.retransmits).collect();
            let is_much = again.iter().sum::<f64>() >= much;
            if again.is_empty() {
                continue;
            }
            // What a host that is too busy does not take in gets lost as well.
            if is_much && told.iter().any(|told| told.starved) {
                self.found.starved += 1;
                continue;
            }
            repetitions += u32::from(is_much);
            weight += if is_much { lossy } else { healthy };
            if weight <= -SURE.ln() {
                return None;
            }
            if repetitions >= needed && weight >= SURE.ln() {
                return Some(repetitions);
            }
        }
        if repetitions > 0 {
            self.found.undecided.push(host as u32);
        }
        None
    }

    /// How often an exchange of a host that is as lossy as it was in its rounds shows nothing: as many of its streams did, or as follows from
    /// how much they differ, whichever is more.
    fn shows_nothing(&self, host: usize, much: f64) -> f64 {
        let retransmits = self.measured.retransmits;
        let of = |counts: Vec<f64>| {
            let count = counts.len() as f64;
            let mean = counts.iter().sum::<f64>() / count.max(1.0);
            let spread = counts.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
            let seen = counts.iter().filter(|x| **x < much).count() as f64 / count.max(1.0);
            // Events that are counted many at a time: their number is the mean by what they differ more than single ones would, and they
            // may differ more than so few show (the lower 5 % of chi squared over its degrees of freedom, by Wilson and Hilferty).
            let degrees = (count - 1.0).max(1.0);
            let least =
                (1.0 - 2.0 / (9.0 * degrees) - 1.645 * (2.0 / (9.0 * degrees)).sqrt()).powi(3).max(0.01);
            let events = mean / (spread / mean.max(f64::MIN_POSITIVE) / least).max(1.0);
            (mean, seen.max((-events).exp()))
        };
        let sends = of(retransmits.row(host).map(|(_, x)| *x).collect());
        let receives = of(retransmits.column(host).map(|(_, x)| *x).collect());
        let worse = if sends.0 > receives.0 { sends } else { receives };
        worse.1.clamp(SILENT.0, SILENT.1)
    }

    /// Others that a host exchanged streams with both ways, from all over the list.
    fn witnesses(&self, host: usize, most: usize) -> Vec<usize> {
        let retransmits = self.measured.retransmits;
        let known =
            |other: &usize| retransmits.at(host, *other).is_some() && retransmits.at(*other, host).is_some();
        let around = (1..self.hosts).map(|away| (host + away) % self.hosts);
        let all: Vec<usize> = around.filter(known).collect();
        let some = most.min(all.len());
        (0..some).filter_map(|k| all.get(k * all.len() / some).copied()).collect()
    }

    /// Segments that a stream of this rate takes.
    fn segments(&self, bits_per_s: f64) -> Option<f64> {
        let packet = self.found.usual_ip_mtu_bytes.unwrap_or(USUAL_IP_BYTES).saturating_sub(HEADER_BYTES);
        let bytes = bits_per_s * self.measured.window_ns as f64 / 8e9;
        (bytes > 0.0 && packet > 0).then(|| bytes / f64::from(packet))
    }

    /// Whether what a slow host loses is what its link has no room for: of datagrams at a pace at which no queue fills none is lost then,
    /// and of what a cable loses as many as ever.
    pub(super) fn only_what_does_not_fit(&mut self, host: usize, sides: &Sides) -> bool {
        let sends = self.loses_own[host];
        let cells = (0..self.hosts).filter_map(|other| {
            let (from, to) = if sends { (host, other) } else { (other, host) };
            let again = *self.measured.retransmits.at(from, to)?;
            Some((again, self.segments(*self.measured.goodput_bits_per_s.at(from, to)?)?))
        });
        let (again, of) = cells.fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
        let pairs: Vec<(usize, usize)> = self
            .witnesses(host, DRIPS)
            .into_iter()
            .map(|other| if sends { (host, other) } else { (other, host) })
            .collect();
        let told: Vec<Paced> = self.again.drip(&pairs).into_iter().flatten().collect();
        let sent: f64 = told.iter().map(|paced| paced.sent as f64).sum();
        let lost: f64 = told.iter().map(|paced| paced.lost as f64).sum();
        let expected = if of > 0.0 { sent * (again / of).min(1.0) } else { 0.0 };
        if expected >= DRIP_EXPECTED_MIN {
            return lost < DRIP_LOST * expected;
        }
        // Slow in the direction in which nothing is lost: it is slow by itself, and what is lost on its way there is what does not fit.
        sides.sends.is_some() && !sends
    }
}
