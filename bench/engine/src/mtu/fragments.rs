//! Whether datagrams that are longer than the MTU arrive: firewalls and clouds drop fragments, and nothing that keeps to the MTU notices.
//!
//! Asked once the search is over, and only where the path carries all that the sending interface takes: fragments are cut to that size, and on any
//! other path they would be lost for their length. Each goes beside a packet that fits, so that other loss is not taken for this. The first that
//! arrives ends it: a healthy path sees one.

use pathproof_api::Tick;
use pathproof_model::FragmentsTried;

use super::outcome::{Next, Probe, Report};

/// Numbers of these probes, far above those of any search.
const FIRST_SEQ: u32 = 1 << 16;
/// Probes in all, half of them cut up.
const PROBES: usize = 12;
/// How much longer than what fits they are: two fragments.
const ABOVE_BYTES: u32 = 1000;
/// The longest IP packet.
const IP_BYTES_MAX: u32 = 65_535;
/// Between the pairs that follow the first, which nobody answered in time.
const GAP_NS: u64 = 20_000_000;
/// How long the first pair is waited for, and the last.
const PATIENCE_NS: u64 = 150_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Arrived,
    /// The host had no room, or does not cut.
    NotSent,
}

/// The probes of one path: those of even number fit, those of odd number are cut up.
#[derive(Clone, Debug)]
pub struct Fragments {
    fitting_bytes: u32,
    probes: Vec<Fate>,
    due: Tick,
}

impl Fragments {
    /// What to try after a search; `None` where fragments would tell nothing.
    pub fn after(report: &Report, sender_ip_mtu_bytes: Option<u32>) -> Option<Fragments> {
        let (edge, sender) = (report.ip_mtu_bytes?, sender_ip_mtu_bytes?);
        let tells = sender <= edge && edge <= IP_BYTES_MAX - ABOVE_BYTES;
        tells.then(|| Fragments { fitting_bytes: edge, probes: Vec::with_capacity(PROBES), due: Tick(0) })
    }

    /// Whether a probe is to go without DF.
    pub fn goes_without_df(probe: Probe) -> bool {
        probe.seq % 2 == 1
    }

    /// What to do at `now`. Call again after every send, every answer and every wait.
    pub fn poll(&mut self, now: Tick) -> Next {
        let sent = self.probes.len();
        let is_cut = sent % 2 == 1;
        if self.tried().arrived > 0 {
            return Next::Done;
        }
        // One that is cut up follows its neighbour at once.
        if !is_cut && now < self.due {
            return Next::WaitUntil(self.due);
        }
        if sent == PROBES {
            return Next::Done;
        }
        if is_cut {
            let waits = sent == 1 || sent + 1 == PROBES;
            self.due = now.plus_ns(if waits { PATIENCE_NS } else { GAP_NS });
        }
        self.probes.push(Fate::Waiting);
        let ip_bytes = if is_cut { self.above_bytes() } else { self.fitting_bytes };
        Next::Send(Probe { seq: FIRST_SEQ + sent as u32, ip_bytes })
    }

    /// The peer has received this probe, or one of a search.
    pub fn on_arrival(&mut self, seq: u32) {
        self.settle(seq, Fate::Arrived);
    }

    /// This host did not send it.
    pub fn on_not_sent(&mut self, seq: u32) {
        self.settle(seq, Fate::NotSent);
    }

    /// What became of them so far.
    pub fn tried(&self) -> FragmentsTried {
        let count = |odd: usize, wanted: fn(Fate) -> bool| {
            let of = self.probes.iter().skip(odd).step_by(2);
            of.filter(|fate| wanted(**fate)).count() as u32
        };
        let sent: fn(Fate) -> bool = |fate| fate != Fate::NotSent;
        let arrived: fn(Fate) -> bool = |fate| fate == Fate::Arrived;
        FragmentsTried {
            ip_bytes: self.above_bytes(),
            sent: count(1, sent),
            arrived: count(1, arrived),
            fitting_sent: count(0, sent),
            fitting_arrived: count(0, arrived),
        }
    }

    fn above_bytes(&self) -> u32 {
        self.fitting_bytes + ABOVE_BYTES
    }

    fn settle(&mut self, seq: u32, fate: Fate) {
        let at = seq.checked_sub(FIRST_SEQ).and_then(|at| self.probes.get_mut(at as usize));
        if let Some(probe) = at {
            *probe = fate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtu::{Search, SearchConfig};

    const MS: u64 = 1_000_000;

    fn after(edge: Option<u32>, sender: Option<u32>) -> Option<Fragments> {
        let mut report = Search::new(SearchConfig::new(68, 9614)).report();
        report.ip_mtu_bytes = edge;
        Fragments::after(&report, sender)
    }

    /// Lets `arrives` decide about each probe; what was sent at which ms, and what it came to.
    fn run(arrives: impl Fn(Probe) -> bool) -> (Vec<(u64, u32)>, FragmentsTried) {
        let mut fragments = after(Some(1500), Some(1500)).unwrap();
        let (mut now, mut sent) = (Tick(1_000 * MS), vec![]);
        loop {
            match fragments.poll(now) {
                Next::Done => return (sent, fragments.tried()),
                Next::WaitUntil(until) => now = until,
                Next::Send(probe) => {
                    sent.push((now.0 / MS - 1000, probe.ip_bytes));
                    assert_eq!(Fragments::goes_without_df(probe), probe.ip_bytes > 1500);
                    if arrives(probe) {
                        fragments.on_arrival(probe.seq);
                    }
                }
            }
        }
    }

    #[test]
    fn a_healthy_path_sees_one_and_is_not_waited_for() {
        let (sent, tried) = run(|_| true);
        assert_eq!(sent, [(0, 1500), (0, 2500)]);
        assert_eq!((tried.arrived, tried.fitting_arrived, tried.are_dropped()), (1, 1, false));
    }

    #[test]
    fn fragments_that_vanish_beside_packets_that_arrive_are_dropped() {
        let (sent, tried) = run(|probe| probe.ip_bytes <= 1500);
        let cut: Vec<u64> = sent.iter().filter(|(_, bytes)| *bytes > 1500).map(|(at, _)| *at).collect();
        assert_eq!(cut, [0, 150, 170, 190, 210, 230]);
        let all = FragmentsTried { ip_bytes: 2500, sent: 6, arrived: 0, fitting_sent: 6, fitting_arrived: 6 };
        assert_eq!(tried, all);
        assert!(tried.are_dropped());
    }

    #[test]
    fn a_path_that_loses_everything_or_now_and_then_is_not_accused() {
        assert!(!run(|_| false).1.are_dropped());
        assert!(!run(|probe| probe.seq > FIRST_SEQ + 4 && probe.ip_bytes <= 1500).1.are_dropped());
        assert!(
            !run(|probe| probe.seq == FIRST_SEQ + 11 || probe.ip_bytes <= 1500).1.are_dropped(),
            "the last one came"
        );
    }

    #[test]
    fn what_this_host_did_not_send_is_not_lost() {
        let mut fragments = after(Some(1500), Some(1500)).unwrap();
        let mut now = Tick(0);
        loop {
            match fragments.poll(now) {
                Next::Done => break,
                Next::WaitUntil(until) => now = until,
                Next::Send(probe) if Fragments::goes_without_df(probe) => fragments.on_not_sent(probe.seq),
                Next::Send(probe) => fragments.on_arrival(probe.seq),
            }
        }
        let tried = fragments.tried();
        assert_eq!((tried.sent, tried.fitting_arrived, tried.are_dropped()), (0, 6, false));
        // Answers to the search come late, too, and are about something else.
        fragments.on_arrival(3);
        fragments.on_arrival(u32::MAX);
        assert_eq!(fragments.tried(), tried);
    }

    #[test]
    fn nothing_is_tried_where_it_would_tell_nothing() {
        assert!(after(Some(9000), Some(9000)).is_some());
        assert!(after(Some(1500), Some(9000)).is_none(), "fragments of 9000 do not pass");
        assert!(after(None, Some(9000)).is_none() && after(Some(1500), None).is_none());
        assert!(after(Some(65_535), Some(65_535)).is_none(), "no datagram is longer");
    }
}
