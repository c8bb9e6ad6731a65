//! Whole searches over a simulated path: seeded loss, duplicates, reordering, limiters, honest and lying routers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use pathproof_api::Tick;

use super::{Ending, Next, Report, Search, SearchConfig};

/// A path as the search sees it. Times in nanoseconds.
#[derive(Clone, Debug)]
struct Path {
    local: u32,
    /// Router in front of the edge: the MTU it enforces and what it claims, if it speaks.
    router: Option<(u32, Option<u32>)>,
    /// Linux lets through a burst of six ICMP errors, then one per second.
    icmp_burst: u32,
    /// Silent edge.
    hole: u32,
    /// Arrives in fragments of this size above it.
    fragments_above: Option<u32>,
    loss_out: f64,
    loss_back: f64,
    duplicate: f64,
    jitter_ns: u64,
    rtt_ns: u64,
    /// Every answer also names the last 64 probes received.
    cumulative: bool,
    /// Token bucket in packets: rate per second and burst.
    limiter: Option<(f64, f64)>,
    /// Token bucket in bytes.
    limiter_bytes: Option<(f64, f64)>,
    blocked: bool,
}

impl Default for Path {
    fn default() -> Path {
        Path {
            local: 65_535,
            router: None,
            icmp_burst: 6,
            hole: 65_535,
            fragments_above: None,
            loss_out: 0.0,
            loss_back: 0.0,
            duplicate: 0.0,
            jitter_ns: 0,
            rtt_ns: 200_000,
            cumulative: true,
            limiter: None,
            limiter_bytes: None,
            blocked: false,
        }
    }
}

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));

/// splitmix64, so that every case is named by its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn chance(&mut self, p: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 <= p && p > 0.0
    }
    fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Whole(Vec<u32>),
    Fragmented(u32, u32),
    TooBig(u32, Option<u32>),
}

/// Runs one search to its end and returns the report. Panics when the search does not end.
fn run(path: &Path, config: SearchConfig, seed: u64) -> Report {
    let mut dice = Dice(seed);
    let mut search = Search::new(config);
    let mut now = Tick(1_000);
    let mut events: BinaryHeap<Reverse<(u64, u64, Event)>> = BinaryHeap::new();
    let mut order = 0;
    let mut received: Vec<u32> = Vec::new();
    let mut icmp = path.icmp_burst;
    let (mut tokens, mut tokens_bytes) =
        (path.limiter.map_or(0.0, |l| l.1), path.limiter_bytes.map_or(0.0, |l| l.1));
    let mut last_packet = now;
    for _ in 0..100_000 {
        while let Some(Reverse((at, _, _))) = events.peek() {
            if *at > now.0 {
                break;
            }
            let Some(Reverse((_, _, event))) = events.pop() else { break };
            match event {
                Event::Whole(seqs) => {
                    for (index, seq) in seqs.iter().enumerate() {
                        search.on_whole(now, *seq, index + 1 == seqs.len());
                    }
                }
                Event::Fragmented(seq, size) => search.on_fragmented(now, seq, size),
                Event::TooBig(seq, claim) => search.on_router(now, Some(seq), claim, ROUTER),
            }
        }
        match search.poll(now) {
            Next::Done => return search.report(),
            Next::WaitUntil(until) => {
                assert!(until > now, "the search asks to wait for the past");
                let next = events.peek().map_or(u64::MAX, |Reverse((at, _, _))| *at);
                now = Tick(until.0.min(next.max(now.0 + 1)));
            }
            Next::Send(probe) => {
                let size = probe.ip_bytes;
                if size > path.local {
                    search.on_local_refusal(now, probe.seq, Some(path.local));
                    continue;
                }
                let idle_s = now.ns_since(last_packet) as f64 / 1e9;
                last_packet = now;
                if let Some((rate, burst)) = path.limiter {
                    tokens = (tokens + idle_s * rate).min(burst);
                    if tokens < 1.0 {
                        continue;
                    }
                    tokens -= 1.0;
                }
                if let Some((rate, burst)) = path.limiter_bytes {
                    tokens_bytes = (tokens_bytes + idle_s * rate).min(burst);
                    if tokens_bytes < f64::from(size) {
                        continue;
                    }
                    tokens_bytes -= f64::from(size);
                }
                if path.blocked || dice.chance(path.loss_out) {
                    continue;
                }
                let mut at = now.0 + path.rtt_ns + dice.below(path.jitter_ns);
                if let Some((mtu, claim)) = path.router
                    && size > mtu
                {
                    if icmp > 0 {
                        icmp -= 1;
                        if !dice.chance(path.loss_back) {
                            order += 1;
                            events.push(Reverse((at, order, Event::TooBig(probe.seq, claim))));
                        }
                    }
                    continue;
                }
                if size > path.hole {
                    continue;
                }
                let event = match path.fragments_above {
                    Some(limit) if size > limit => Event::Fragmented(probe.seq, limit),
                    _ => {
                        received.push(probe.seq);
                        let from = if path.cumulative {
                            received.len().saturating_sub(64)
                        } else {
                            received.len() - 1
                        };
                        Event::Whole(received[from..].to_vec())
                    }
                };
                let copies = 1 + u32::from(dice.chance(path.duplicate));
                for _ in 0..copies {
                    if !dice.chance(path.loss_back) {
                        order += 1;
                        events.push(Reverse((at, order, event.clone())));
                    }
                    at += dice.below(path.jitter_ns);
                }
            }
        }
    }
    panic!("the search did not end: {}", brief(&search.report()));
}

/// A report without the picture, for messages.
fn brief(report: &Report) -> String {
    format!("{:?}", Report { tried: Vec::new(), ..report.clone() })
}

fn exact(path: &Path, ceiling: u32, seed: u64, ending: Ending, edge: u32) -> Report {
    let mut config = SearchConfig::new(68, ceiling);
    config.seed = seed;
    let report = run(path, config, seed);
    assert_eq!(
        (&report.ending, report.ip_mtu_bytes),
        (&ending, Some(edge)),
        "seed {seed}: {}",
        brief(&report)
    );
    assert!(report.probes <= 200, "{} probes", report.probes);
    report
}

#[test]
fn what_fits_takes_one_round_trip() {
    for ceiling in [1500, 9000, 9614, 65_535] {
        let report = exact(&Path::default(), ceiling, 1, Ending::Ceiling, ceiling);
        assert!(report.probes <= 3 && report.elapsed_ns < 2_000_000, "{report:?}");
    }
}

#[test]
fn the_local_interface_is_named() {
    let path = Path { local: 1500, ..Path::default() };
    let report = exact(&path, 9000, 1, Ending::LocalRefusal, 1500);
    assert_eq!(report.local_refusal_ip_mtu_bytes, Some(1500));
    assert!(report.elapsed_ns < 10_000_000);
}

#[test]
fn every_silent_edge_is_exact_in_three_loss_rounds() {
    for ceiling in [1500_u32, 4200, 9000, 9614, 16_384] {
        let step = 1 + ceiling / 400;
        let mut sizes: Vec<u32> = (68..ceiling).step_by(step as usize).collect();
        sizes
            .extend([1280, 1491, 1499, 9216, 9215, 9217, 8996, ceiling - 1].iter().filter(|s| **s < ceiling));
        for hole in sizes {
            let path = Path { hole, ..Path::default() };
            let report = exact(&path, ceiling, u64::from(hole), Ending::Silence, hole);
            assert!(report.loss_rounds <= 3, "hole {hole} of {ceiling}: {} rounds", report.loss_rounds);
            assert!(report.elapsed_ns <= 600_000_000, "hole {hole}: {} ns", report.elapsed_ns);
        }
    }
}

#[test]
fn silent_edges_of_the_largest_interfaces() {
    for hole in (100..65_535).step_by(173) {
        let path = Path { hole, ..Path::default() };
        let report = exact(&path, 65_535, u64::from(hole), Ending::Silence, hole);
        assert!(report.loss_rounds <= 4, "hole {hole}: {} rounds", report.loss_rounds);
    }
}

/// Runs `runs` seeds and returns how many were exact; an inexact one may only be undecided, never wrong.
fn right_of(path: &Path, ceiling: u32, runs: u64, ending: &Ending, edge: u32) -> u64 {
    let mut right = 0;
    for seed in 0..runs {
        let mut config = SearchConfig::new(68, ceiling);
        config.seed = seed;
        let report = run(path, config, seed * 7919 + 3);
        assert!(report.probes <= 200);
        match &report.ending {
            found if found == ending && report.ip_mtu_bytes == Some(edge) => right += 1,
            Ending::Undecided(_) | Ending::NoAnswer => {}
            _ => panic!("seed {seed}: wrong answer {}", brief(&report)),
        }
    }
    right
}

#[test]
fn five_percent_loss_each_way_is_always_exact() {
    for (edge, ceiling) in [(9216, 9614), (1500, 9000), (8000, 9614), (1437, 9614), (3333, 16_384)] {
        for cumulative in [true, false] {
            let path = Path { hole: edge, loss_out: 0.05, loss_back: 0.05, cumulative, ..Path::default() };
            let least = if cumulative { 200 } else { 198 };
            assert!(right_of(&path, ceiling, 200, &Ending::Silence, edge) >= least, "{edge} of {ceiling}");
        }
    }
    let path = Path { loss_out: 0.05, loss_back: 0.05, ..Path::default() };
    assert_eq!(right_of(&path, 9000, 500, &Ending::Ceiling, 9000), 500);
}

#[test]
fn twenty_percent_loss_each_way_is_exact() {
    for (edge, ceiling) in [(9216, 9614), (1500, 9000), (8000, 9614), (1437, 9614)] {
        let path = Path { hole: edge, loss_out: 0.2, loss_back: 0.2, ..Path::default() };
        assert!(right_of(&path, ceiling, 200, &Ending::Silence, edge) >= 198, "{edge} of {ceiling}");
        // By echo the loss adds up to 36 %.
        let path = Path { cumulative: false, ..path };
        assert!(right_of(&path, ceiling, 200, &Ending::Silence, edge) >= 150, "echo {edge} of {ceiling}");
    }
    let path = Path { loss_out: 0.2, loss_back: 0.2, ..Path::default() };
    assert_eq!(right_of(&path, 9000, 500, &Ending::Ceiling, 9000), 500);
}

#[test]
fn duplicates_and_reordering_change_nothing() {
    for seed in 0..100 {
        let path = Path {
            hole: 9216,
            duplicate: 0.5,
            jitter_ns: 40_000_000,
            cumulative: seed % 2 == 0,
            ..Path::default()
        };
        exact(&path, 9614, seed, Ending::Silence, 9216);
    }
}

#[test]
fn an_honest_router_is_believed_after_a_test() {
    for (mtu, ceiling) in [(1500, 9000), (1280, 9614), (8999, 9000), (68, 1500)] {
        let path = Path { router: Some((mtu, Some(mtu))), ..Path::default() };
        let report = exact(&path, ceiling, 1, Ending::Router, mtu);
        assert!(report.elapsed_ns < 20_000_000, "{report:?}");
        assert_eq!(report.routers[0].claim_holds, Some(true));
        assert_eq!(report.routers[0].from, ROUTER);
    }
}

#[test]
fn a_router_that_lies_is_caught_both_ways() {
    for icmp_burst in [6, 1_000] {
        // It claims less than it carries ...
        let path = Path { router: Some((1500, Some(1400))), icmp_burst, ..Path::default() };
        let report = run(&path, SearchConfig::new(68, 9000), 1);
        assert_eq!(report.ip_mtu_bytes, Some(1500), "{}", brief(&report));
        assert_eq!(report.routers[0].claim_holds, Some(false));
        // ... or more.
        let path = Path { router: Some((1500, Some(4000))), icmp_burst, ..Path::default() };
        let report = run(&path, SearchConfig::new(68, 9000), 1);
        assert_eq!(report.ip_mtu_bytes, Some(1500), "{}", brief(&report));
        assert_eq!(report.routers[0].claim_holds, Some(false));
    }
}

#[test]
fn a_router_without_a_number_still_bounds_the_search() {
    let path = Path { router: Some((1500, None)), icmp_burst: 1_000_000, ..Path::default() };
    let report = exact(&path, 9000, 1, Ending::Router, 1500);
    assert!(report.elapsed_ns < 400_000_000);
}

#[test]
fn a_hole_behind_an_honest_router() {
    let path = Path { router: Some((4000, Some(4000))), hole: 1450, ..Path::default() };
    let report = exact(&path, 9000, 1, Ending::Silence, 1450);
    assert_eq!(report.routers[0].claim_holds, None, "the hole hides whether the claim is true");
}

#[test]
fn fragments_are_not_an_arrival() {
    let path = Path { fragments_above: Some(1500), ..Path::default() };
    let report = exact(&path, 9000, 1, Ending::Fragmented, 1500);
    assert_eq!(report.largest_fragment_bytes, Some(1500));
}

#[test]
fn a_blocked_path_is_unknown_not_68() {
    let path = Path { blocked: true, ..Path::default() };
    let report = run(&path, SearchConfig::new(68, 9000), 1);
    assert_eq!((report.ending, report.ip_mtu_bytes), (Ending::NoAnswer, None));
    assert!(report.probes <= 13);
}

#[test]
fn a_limiter_is_never_called_an_edge() {
    for seed in 0..60 {
        for limiter in [(200.0, 20.0), (50.0, 10.0), (20.0, 5.0), (1000.0, 40.0), (5.0, 3.0), (400.0, 2.0)] {
            // Everything fits: the scout finds out, or at worst the search is undecided.
            let fits = Path { limiter: Some(limiter), ..Path::default() };
            let mut config = SearchConfig::new(68, 9000);
            config.seed = seed;
            let report = run(&fits, config.clone(), seed);
            assert!(matches!(report.ending, Ending::Ceiling | Ending::Undecided(_)), "{}", brief(&report));
            // There is an edge as well: exact, or undecided.
            let hole = Path { limiter: Some(limiter), hole: 1500, ..Path::default() };
            let report = run(&hole, config, seed);
            match report.ending {
                Ending::Silence => {
                    assert_eq!(report.ip_mtu_bytes, Some(1500), "{limiter:?} {}", brief(&report))
                }
                Ending::Undecided(_) => {}
                _ => panic!("{}", brief(&report)),
            }
        }
    }
}

#[test]
fn a_limiter_that_counts_bytes_is_never_called_an_edge() {
    for seed in 0..60 {
        for limiter in [(100e3, 20e3), (1e6, 30e3), (1e6, 12e3), (12.5e6, 100e3), (300e3, 10e3)] {
            let fits = Path { limiter_bytes: Some(limiter), loss_out: 0.1, ..Path::default() };
            let mut config = SearchConfig::new(68, 9000);
            config.seed = seed;
            let report = run(&fits, config.clone(), seed);
            assert!(
                matches!(report.ending, Ending::Ceiling | Ending::Undecided(_)),
                "{limiter:?} {}",
                brief(&report)
            );
            let hole = Path { limiter_bytes: Some(limiter), hole: 8000, ..Path::default() };
            let report = run(&hole, config, seed);
            match report.ending {
                Ending::Silence => {
                    assert_eq!(report.ip_mtu_bytes, Some(8000), "{limiter:?} {}", brief(&report))
                }
                Ending::Undecided(_) => {}
                _ => panic!("{limiter:?} {}", brief(&report)),
            }
        }
    }
}

#[test]
fn a_hint_saves_a_round() {
    let path = Path { hole: 7777, ..Path::default() };
    let mut config = SearchConfig::new(68, 9614);
    config.hint_bytes = vec![7777];
    let report = run(&path, config, 3);
    assert_eq!((report.ip_mtu_bytes, report.loss_rounds), (Some(7777), 2));
}

#[test]
fn answers_to_probes_never_sent_are_ignored() {
    let mut search = Search::new(SearchConfig::new(68, 9000));
    search.on_whole(Tick(1), 7, true);
    search.on_router(Tick(1), Some(9), Some(1500), ROUTER);
    search.on_router(Tick(1), None, Some(1500), ROUTER);
    search.on_local_refusal(Tick(1), u32::MAX, Some(0));
    search.on_fragmented(Tick(1), 3, 0);
    assert_eq!(search.report().proven_ip_bytes, None);
}
#[test]
fn any_edge_under_loss_is_exact_or_undecided_but_not_wrong() {
    for (loss, cumulative, least) in
        [(0.05, true, 298), (0.05, false, 298), (0.2, true, 294), (0.2, false, 250)]
    {
        let mut dice = Dice(5);
        let (mut right, mut wrong) = (0, 0);
        for seed in 0..300 {
            let hole = 600 + dice.below(9000) as u32;
            let path = Path { hole, loss_out: loss, loss_back: loss, cumulative, ..Path::default() };
            let mut config = SearchConfig::new(68, 9614);
            config.seed = seed;
            let report = run(&path, config, seed * 7919 + 3);
            right += u32::from(report.ip_mtu_bytes == Some(hole));
            wrong += u32::from(report.ip_mtu_bytes.is_some_and(|edge| edge != hole));
        }
        assert!(
            right >= least && wrong == 0,
            "loss {loss}, cumulative {cumulative}: {right} right, {wrong} wrong"
        );
    }
}
