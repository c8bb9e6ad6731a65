//! What the receiving end counts of one path. Constant work for each datagram, memory fixed by the schedule.

use pathproof_api::Tick;
use pathproof_model::{DelayVariation, LossCounts, ReceivedStrand};

use super::{STANDARD_IP_BYTES, Schedule};

/// A datagram that took so much longer than the fastest is late: longer than TCP waits before it sends again.
const LATE_NS: i64 = 50_000_000;

/// The counts of one path and direction.
#[derive(Clone, Debug)]
pub struct Tally {
    schedule: Schedule,
    strands: Vec<Strand>,
    /// Arrival less departure, each on its own end's clock: only differences mean something.
    delays_ns: Vec<(i64, u16, bool)>,
    changed: u64,
}

#[derive(Clone, Debug, Default)]
struct Strand {
    seen: Vec<u64>,
    /// The number after the highest that came.
    next: u32,
    small: LossCounts,
    full: LossCounts,
    standard: u64,
    classes: Vec<(u8, u64)>,
}

impl Tally {
    /// For what a schedule sends.
    pub fn new(schedule: &Schedule) -> Tally {
        let words = schedule.per_strand().div_ceil(64) as usize;
        let strand = Strand { seen: vec![0; words], ..Strand::default() };
        Tally {
            schedule: *schedule,
            strands: vec![strand; schedule.strands() as usize],
            delays_ns: Vec::new(),
            changed: 0,
        }
    }

    /// A datagram of `ip_bytes` has arrived. What the schedule does not have is not counted.
    pub fn on_arrival(&mut self, of: (u16, u32, u32), class: Option<u8>, sent_ns: u64, now: Tick) {
        let (strand, seq, ip_bytes) = of;
        let full = self.schedule.is_full(strand, seq);
        let Some(one) = self.strands.get_mut(usize::from(strand)) else { return };
        let (word, bit) = ((seq / 64) as usize, 1u64 << (seq % 64));
        let Some(seen) = one.seen.get_mut(word) else { return };
        let counts = if full { &mut one.full } else { &mut one.small };
        if *seen & bit != 0 {
            counts.duplicated += 1;
            return;
        }
        *seen |= bit;
        counts.received += 1;
        // Small ones are smaller, and not all are of this size where full ones are no larger.
        one.standard += u64::from(!full && ip_bytes == STANDARD_IP_BYTES);
        if seq < one.next {
            counts.reordered += 1;
        }
        one.next = one.next.max(seq.saturating_add(1));
        if let Some(class) = class {
            match one.classes.iter_mut().find(|(known, _)| *known == class) {
                Some((_, count)) => *count += 1,
                // A class has one of 256 values.
                None => one.classes.push((class, 1)),
            }
        }
        self.delays_ns.push((now.0.wrapping_sub(sent_ns) as i64, strand, full));
    }

    /// What has arrived just now has other bytes than were sent.
    pub fn on_changed(&mut self) {
        self.changed += 1;
    }

    /// How much of what arrived had other bytes than were sent.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// What arrived, and how much the delay varied.
    pub fn ended(mut self) -> (Vec<ReceivedStrand>, Option<DelayVariation>) {
        let least = self.delays_ns.iter().map(|(delay, ..)| *delay).min().unwrap_or(0);
        let mut least_of: Vec<Option<u64>> = vec![None; self.strands.len()];
        for (delay, strand, full) in &self.delays_ns {
            let over = delay.wrapping_sub(least) as u64;
            let own = &mut least_of[usize::from(*strand)];
            *own = Some(own.map_or(over, |known| known.min(over)));
            if delay.wrapping_sub(least) >= LATE_NS {
                let one = &mut self.strands[usize::from(*strand)];
                if *full { one.full.late += 1 } else { one.small.late += 1 }
            }
        }
        let mut over: Vec<u64> =
            self.delays_ns.iter().map(|(delay, ..)| delay.wrapping_sub(least) as u64).collect();
        over.sort_unstable();
        let at = |share: f64| over[((over.len() as f64 * share).ceil() as usize).clamp(1, over.len()) - 1];
        let variation =
            (over.len() > 1).then(|| DelayVariation { p50: at(0.5), p99: at(0.99), max: at(1.0) });
        let arrived = self.strands.into_iter().enumerate().filter(|(_, one)| one.next > 0);
        let received = arrived.map(|(strand, one)| ReceivedStrand {
            strand: strand as u16,
            small: one.small,
            full: one.full,
            standard: one.standard,
            classes: one.classes,
            least_delay_ns: least_of[strand],
        });
        (received.collect(), variation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::LossSpec;

    fn tally() -> Tally {
        Tally::new(&schedule())
    }

    fn schedule() -> Schedule {
        let (packets_per_s, time_ns) = (1000, 1_000_000_000);
        Schedule::new(&LossSpec { flows: 2, packets_per_s, time_ns, ..LossSpec::default() })
    }

    #[test]
    fn copies_gaps_and_overtaking_are_told_apart() {
        let mut tally = tally();
        for seq in [0, 1, 3, 2, 2, 7, 7, 7] {
            tally.on_arrival((0, seq, 88), Some(0), 0, Tick(10));
        }
        let (received, _) = tally.ended();
        let all = {
            let mut all = received[0].small;
            all += received[0].full;
            all
        };
        assert_eq!((received.len(), received[0].strand), (1, 0));
        assert_eq!((all.received, all.duplicated, all.reordered), (5, 3, 1));
    }

    #[test]
    fn sizes_and_classes_are_counted_where_they_belong_and_nonsense_is_not() {
        let mut tally = tally();
        for seq in 0..100 {
            tally.on_arrival((7, seq, 1500), Some(if seq < 90 { 0x68 } else { 0 }), 0, Tick(10));
        }
        tally.on_arrival((10, 0, 88), None, 0, Tick(10));
        tally.on_arrival((7, 128, 88), None, 0, Tick(10));
        tally.on_arrival((7, u32::MAX, 88), None, 0, Tick(10));
        let (received, _) = tally.ended();
        assert_eq!(received.len(), 1);
        let full = (0..100).filter(|seq| schedule().is_full(7, *seq)).count() as u64;
        assert!(full > 0);
        assert_eq!((received[0].small.received, received[0].full.received), (100 - full, full));
        assert_eq!(
            received[0].standard,
            100 - full,
            "of its size are all, and full ones are counted as those"
        );
        assert_eq!(received[0].classes, [(0x68, 90), (0, 10)]);
    }

    #[test]
    fn delay_counts_from_the_fastest_whatever_the_clocks_say() {
        for offset in [0u64, 1 << 40, u64::MAX - 5_000_000] {
            let mut tally = tally();
            for (seq, delay_ns) in
                (0..100).map(|seq| (seq, if seq == 50 { 80_000_000 } else { 1_000_000 + u64::from(seq) }))
            {
                let sent = u64::from(seq) * 1_000_000;
                tally.on_arrival((0, seq, 88), None, sent.wrapping_add(offset), Tick(sent + delay_ns));
            }
            let (received, variation) = tally.ended();
            let variation = variation.unwrap();
            assert_eq!((variation.p50, variation.max), (49, 79_000_000), "{offset}");
            assert_eq!(received[0].small.late + received[0].full.late, 1);
        }
    }
}
