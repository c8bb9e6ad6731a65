//! Which datagram is sent when. Both ends know the rule, so a number is all that needs to cross.

use std::time::Duration;

use pathproof_model::{LossProbe, LossSpec};

/// A traffic class that datagrams are sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Differentiated services code point (RFC 2474).
    pub dscp: u8,
    /// Explicit congestion notification (RFC 3168): 0 not capable, 2 ECT(0).
    pub ecn: u8,
}

impl Mark {
    /// The byte in the IP header.
    pub fn class(self) -> u8 {
        self.dscp << 2 | self.ecn
    }

    /// From the byte in the IP header.
    pub fn of(class: u8) -> Mark {
        Mark { dscp: class >> 2, ecn: class & 3 }
    }
}

/// The marks of a strand in turn: best effort, best effort that is capable of ECN, and the code points that SMB Direct and
/// RoCE guides use: AF31 (26), CS3 (24), CS6 (48, cluster heartbeats and congestion notification).
pub const MARKS: [Mark; 5] = [
    Mark { dscp: 0, ecn: 0 },
    Mark { dscp: 0, ecn: 2 },
    Mark { dscp: 26, ecn: 0 },
    Mark { dscp: 24, ecn: 0 },
    Mark { dscp: 48, ecn: 0 },
];

/// One in so many datagrams is of full size.
const FULL_IN: u64 = 5;
/// What Ethernet carries without further settings, and every switch on the way to more.
pub const STANDARD_IP_BYTES: u32 = 1500;
/// One in so many of the others has the size that Ethernet has without further settings, where full size is more.
const STANDARD_IN: u64 = 8;
/// So many of a strand go out one behind the other: what overtakes within a millisecond overtakes nobody that left long before.
const TOGETHER: u64 = 2;

/// A number that looks random and is the same at both ends (SplitMix64, Steele 2014). A schedule with a period of its own would beat
/// with whatever loses by counting, and its pattern would pass for one of sizes or flows.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One datagram of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its flow.
    pub flow: u32,
    /// Its mark, as an index into [`MARKS`].
    pub mark: usize,
    /// Flow and mark in one number.
    pub strand: u16,
    /// Its number within the strand.
    pub seq: u32,
    /// Whether it is of full size.
    pub full: bool,
    /// Whether it has the size of Ethernet's own MTU where full size is more; small otherwise.
    pub standard: bool,
}

/// What one direction of one path sends.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    flows: u32,
    packets_per_s: u32,
    total: u64,
    probe: LossProbe,
}

impl Schedule {
    /// Most flows of a path.
    pub const FLOWS_MAX: u32 = 64;
    /// Most datagrams of a path and direction.
    pub const PACKETS_MAX: u64 = 1 << 18;

    /// For a specification, which is bounded here, whoever wrote it.
    pub fn new(spec: &LossSpec) -> Schedule {
        let packets_per_s = spec.packets_per_s.clamp(1, 100_000);
        let total = u128::from(packets_per_s) * u128::from(spec.time_ns) / 1_000_000_000;
        Schedule {
            flows: spec.flows.clamp(1, Schedule::FLOWS_MAX),
            packets_per_s,
            total: (total as u64).clamp(1, Schedule::PACKETS_MAX),
            probe: spec.probe,
        }
    }

    /// Flows.
    pub fn flows(&self) -> u32 {
        self.flows
    }

    /// Datagrams per second.
    pub fn packets_per_s(&self) -> u32 {
        self.packets_per_s
    }

    /// Strands: flows times marks.
    pub fn strands(&self) -> u32 {
        self.flows * MARKS.len() as u32
    }

    /// How many datagrams of each strand there can be.
    pub fn per_strand(&self) -> u64 {
        self.total.div_ceil(TOGETHER).div_ceil(u64::from(self.strands_used())) * TOGETHER
    }

    /// Strands that carry anything: a search for a rate has one mark.
    fn strands_used(&self) -> u32 {
        self.flows * self.marks() as u32
    }

    fn marks(&self) -> usize {
        match self.probe {
            LossProbe::Sample => MARKS.len(),
            LossProbe::Rate | LossProbe::Buffer => 1,
        }
    }

    /// How many datagrams are due `elapsed_ns` after the start.
    pub fn due(&self, elapsed_ns: u64) -> u64 {
        let due = u128::from(self.packets_per_s) * u128::from(elapsed_ns) / 1_000_000_000;
        (due as u64).saturating_add(1).min(self.total)
    }

    /// Most datagrams that may go out at once where some are overdue: what 10 ms are worth.
    pub fn burst(&self) -> u64 {
        u64::from(self.packets_per_s / 100).max(2)
    }

    /// How often what is due is looked at: a few datagrams at a time, because what comes in bursts is lost to queues that would hold the rate.
    pub fn beat(&self) -> Duration {
        const AT_ONCE: u64 = 4;
        let apart_ns = AT_ONCE * 1_000_000_000 / u64::from(self.packets_per_s);
        Duration::from_nanos(apart_ns).clamp(Duration::from_micros(50), Duration::from_millis(1))
    }

    /// How long it may take at most on a host that is late: a rate that is searched for is that rate or is not sent.
    pub fn longest(&self) -> Duration {
        match self.probe {
            LossProbe::Sample => self.length() * 5 / 4,
            LossProbe::Rate | LossProbe::Buffer => self.length() * 51 / 50,
        }
    }

    /// How long sending all of it takes.
    pub fn length(&self) -> Duration {
        Duration::from_nanos((u128::from(self.total) * 1_000_000_000 / u128::from(self.packets_per_s)) as u64)
    }

    /// All datagrams of the direction.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The `number`-th datagram.
    pub fn packet(&self, number: u64) -> Packet {
        let strands = u64::from(self.strands_used());
        let (turn, within) = (number / TOGETHER, number % TOGETHER);
        let round = turn / strands;
        let seq = (round * TOGETHER + within) as u32;
        // Each round begins with another strand.
        let nth = ((turn % strands + mixed(round) % strands) % strands) as usize;
        let (flow, mark) = (nth / self.marks(), nth % self.marks());
        let strand = (flow * MARKS.len() + mark) as u16;
        let (full, standard) = (self.is_full(strand, seq), self.is_standard(strand, seq));
        Packet { flow: flow as u32, mark, strand, seq, full, standard }
    }

    /// Whether a datagram of a strand is of full size.
    pub fn is_full(&self, strand: u16, seq: u32) -> bool {
        self.probe == LossProbe::Sample && Schedule::drawn(strand, seq).is_multiple_of(FULL_IN)
    }

    /// Whether one that is not has the size of Ethernet's own MTU, where full size is more.
    fn is_standard(&self, strand: u16, seq: u32) -> bool {
        let drawn = Schedule::drawn(strand, seq);
        self.probe == LossProbe::Sample
            && !drawn.is_multiple_of(FULL_IN)
            && (drawn / FULL_IN).is_multiple_of(STANDARD_IN)
    }

    fn drawn(strand: u16, seq: u32) -> u64 {
        mixed(u64::from(strand) << 32 | u64::from(seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_and_mark_gets_its_share_of_both_sizes_at_the_asked_pace() {
        let schedule = Schedule::new(&LossSpec { flows: 8, ..LossSpec::default() });
        assert_eq!((schedule.total(), schedule.strands(), schedule.per_strand()), (10_000, 40, 250));
        let mut counts = vec![[0u32; 2]; 40];
        for number in 0..schedule.total() {
            let packet = schedule.packet(number);
            assert_eq!(u32::from(packet.strand), packet.flow * 5 + packet.mark as u32);
            counts[usize::from(packet.strand)][usize::from(packet.full)] += 1;
        }
        assert!(
            counts.iter().all(|[small, full]| small + full == 250 && (25..80).contains(full)),
            "{counts:?}"
        );
        let full: u32 = counts.iter().map(|[_, full]| full).sum();
        assert!(full.abs_diff(2000) < 100, "{full}");
        let standard =
            (0..schedule.total()).map(|number| schedule.packet(number)).filter(|packet| packet.standard);
        let standard: Vec<Packet> = standard.collect();
        assert!(standard.len().abs_diff(1000) < 100 && standard.iter().all(|packet| !packet.full));
        assert_eq!(schedule.due(0), 1);
        assert_eq!(schedule.due(1_000_000_000), 2501);
        assert_eq!(schedule.due(u64::MAX), 10_000);
    }

    #[test]
    fn two_of_a_strand_go_together_and_every_number_of_it_is_sent_once() {
        let schedule = Schedule::new(&LossSpec { time_ns: 1_003_000_000, ..LossSpec::default() });
        let packets: Vec<Packet> = (0..schedule.total()).map(|number| schedule.packet(number)).collect();
        for pair in packets.chunks_exact(2) {
            assert_eq!((pair[1].strand, pair[1].seq), (pair[0].strand, pair[0].seq + 1));
        }
        let known: std::collections::BTreeSet<_> = packets.iter().map(|one| (one.strand, one.seq)).collect();
        assert_eq!(known.len(), packets.len());
        assert!(packets.iter().all(|one| u64::from(one.seq) < schedule.per_strand()));
    }

    #[test]
    fn what_loses_by_counting_hits_sizes_flows_and_marks_alike() {
        let schedule = Schedule::new(&LossSpec { flows: 8, time_ns: 40_000_000_000, ..LossSpec::default() });
        for every in [2u64, 5, 8, 10, 20, 25, 40, 100] {
            let hit: Vec<Packet> =
                (0..schedule.total()).filter(|n| n % every == 0).map(|n| schedule.packet(n)).collect();
            let share =
                |of: &dyn Fn(&Packet) -> bool| hit.iter().filter(|p| of(p)).count() as f64 / hit.len() as f64;
            assert!((share(&|p| p.full) - 0.2).abs() < 0.05, "{every}");
            for flow in 0..8 {
                assert!((share(&|p| p.flow == flow) - 0.125).abs() < 0.05, "{every} {flow}");
            }
            for mark in 0..5 {
                assert!((share(&|p| p.mark == mark) - 0.2).abs() < 0.06, "{every} {mark}");
            }
        }
    }

    #[test]
    fn no_specification_asks_for_more_than_the_bounds() {
        let wild =
            LossSpec { flows: u32::MAX, packets_per_s: u32::MAX, time_ns: u64::MAX, ..LossSpec::default() };
        let schedule = Schedule::new(&wild);
        assert_eq!((schedule.flows(), schedule.total()), (Schedule::FLOWS_MAX, Schedule::PACKETS_MAX));
        let none = Schedule::new(&LossSpec { flows: 0, packets_per_s: 0, time_ns: 0, ..LossSpec::default() });
        assert_eq!((none.flows(), none.total()), (1, 1));
    }

    #[test]
    fn a_search_for_a_rate_has_small_packets_without_a_mark_evenly_over_its_flows() {
        let spec = LossSpec {
            flows: 4,
            packets_per_s: 8000,
            time_ns: 500_000_000,
            probe: LossProbe::Rate,
            ..LossSpec::default()
        };
        let schedule = Schedule::new(&spec);
        assert_eq!((schedule.total(), schedule.per_strand()), (4000, 1000));
        let mut by_flow = [0; 4];
        for number in 0..schedule.total() {
            let packet = schedule.packet(number);
            assert!(!packet.full && packet.mark == 0 && u64::from(packet.seq) < schedule.per_strand());
            assert_eq!(u32::from(packet.strand), packet.flow * MARKS.len() as u32);
            by_flow[packet.flow as usize] += 1;
        }
        assert_eq!(by_flow, [1000; 4]);
        assert_eq!(schedule.beat(), Duration::from_micros(500));
        assert_eq!(Schedule::new(&LossSpec::default()).beat(), Duration::from_millis(1), "as it always was");
    }

    #[test]
    fn a_mark_is_the_byte_in_the_header() {
        for class in 0..=255 {
            assert_eq!(Mark::of(class).class(), class);
        }
        assert_eq!(Mark { dscp: 26, ecn: 0 }.class(), 0x68);
    }
}
