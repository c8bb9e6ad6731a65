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
/// Partners that are asked for them, because some may be gone.
const WITNESSES: usize = 5;
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

    /// In how many exchanges a host sent or was sent `much` again; `None` where one was healthy, or too few could be made.
    fn loses_again(&mut self, host: usize, much: f64) -> Option<u32> {
        let partners = self.witnesses(host, WITNESSES);
        let needed = partners.len().clamp(1, 2) as u32;
        let mut repetitions = 0;
        for partner in partners {
            let told = self.repeat(&[(host, partner), (partner, host)]);
            let again: Vec<f64> = told.iter().filter_map(|told| told.retransmits).collect();
            let is_much = again.iter().sum::<f64>() >= much;
            if again.is_empty() {
                continue;
            }
            if !is_much {
                return None;
            }
            // What a host that is too busy does not take in gets lost as well.
            if told.iter().any(|told| told.starved) {
                self.found.starved += 1;
                continue;
            }
            repetitions += 1;
            if repetitions == EXCHANGES {
                break;
            }
        }
        (repetitions >= needed).then_some(repetitions)
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
