//! Meshes with faults of known size: who is named, and who is named wrongly.
//!
//! A simulated world of hosts in leaves: a cell carries the smaller of what its two hosts do, with 1.5 % of noise, 1 % of the cells with a passing
//! hiccup, healthy hosts 1 % apart, retransmits with a heavy tail. All pairs of a round send at once, and leaves share uplinks. The rates
//! demanded are those that a prototype of the method reached on the same world, 40 meshes of 8 and of 32 hosts, 8 of 256, or better ones. Of 400
//! meshes of 8 hosts a NIC at 90 % is named in all, a cable that loses in 398, an uplink in 398, and nobody else in any.

mod doubts;

use std::collections::BTreeSet;

use super::message::Paced;
use super::schedule::{Pair, sampled, tournament};
use super::*;
use crate::migrate::Random;

/// A seeded world.
struct World {
    hosts: usize,
    random: Random,
    leaf: usize,
    health: Vec<f64>,
    sends: Vec<f64>,
    receives: Vec<f64>,
    loss: Vec<f64>,
    ip_mtu: Vec<u32>,
    uplink: Vec<f64>,
    cut: BTreeSet<(usize, usize)>,
    noise: f64,
    hiccups: f64,
    speed: Vec<Option<u64>>,
    quiet: usize,
}

/// The normal world: noise of a cell, share of hiccups, spread of healthy hosts.
const NORMAL: (f64, f64, f64) = (0.015, 0.01, 0.01);
/// What a whole link carries, in bit/s.
const LINE: f64 = 25e9;

impl World {
    fn new(hosts: usize, seed: u64, (noise, hiccups, spread): (f64, f64, f64)) -> World {
        let leaf = match hosts {
            0..=15 => 4,
            16..=63 => 8,
            _ => 32,
        };
        let mut random = Random::new(seed);
        let health = (0..hosts).map(|_| 1.0 - (normal(&mut random) * spread).abs()).collect();
        World {
            hosts,
            random,
            leaf,
            health,
            sends: vec![1.0; hosts],
            receives: vec![1.0; hosts],
            loss: vec![0.0; hosts],
            ip_mtu: vec![9000; hosts],
            uplink: vec![f64::INFINITY; hosts.div_ceil(leaf)],
            cut: BTreeSet::new(),
            noise,
            hiccups,
            speed: vec![None; hosts],
            quiet: 0,
        }
    }

    /// One direction, while so many flows share the uplinks of its two leaves.
    fn one(&mut self, from: usize, to: usize, (up, down): (usize, usize)) -> Option<(f64, f64)> {
        if self.cut.contains(&(from, to)) {
            return None;
        }
        let speed = |host: usize| self.speed[host].map_or(LINE, |speed| speed as f64) / LINE;
        let link = speed(from).min(speed(to));
        let mut share =
            (self.sends[from] * self.health[from]).min(self.receives[to] * self.health[to]) * link;
        let (here, there) = (from / self.leaf, to / self.leaf);
        if here != there {
            share = share.min(self.uplink[here] / up as f64).min(self.uplink[there] / down as f64);
        }
        let loss = self.loss[from] + self.loss[to];
        share *= 1.0 + normal(&mut self.random) * self.noise;
        share *= 1.0 - (300.0 * loss).min(0.5);
        if self.random.unit() < self.hiccups {
            share *= 0.5 + 0.45 * self.random.unit();
        }
        // A negative binomial of mean 2 (a Poisson whose mean is a gamma of shape one half), and what the loss costs.
        let mean = 2.0 * normal(&mut self.random).powi(2);
        let again = poisson(&mut self.random, mean) + poisson(&mut self.random, 347_000.0 * loss * share);
        Some((share.max(0.01) * LINE, again))
    }

    /// How many of these flows share the uplinks of the two leaves of one.
    fn load(&self, flows: &[(usize, usize)], (from, to): (usize, usize)) -> (usize, usize) {
        let leaf = self.leaf;
        let crossing = || flows.iter().filter(|flow| flow.0 / leaf != flow.1 / leaf);
        let up = crossing().filter(|flow| flow.0 / leaf == from / leaf).count();
        let down = crossing().filter(|flow| flow.1 / leaf == to / leaf).count();
        (up.max(1), down.max(1))
    }

    fn run(&mut self, rounds: &[Vec<Pair>]) -> Figures {
        let mut figures = Figures::new(self.hosts);
        for round in rounds {
            for lower_sends in [true, false] {
                let flows: Vec<(usize, usize)> =
                    round.iter().map(|(a, b)| if lower_sends { (*a, *b) } else { (*b, *a) }).collect();
                for (from, to) in &flows {
                    let load = self.load(&flows, (*from, *to));
                    let seen = self.one(*from, *to, load);
                    let mtu = self.ip_mtu[*from].min(self.ip_mtu[*to]);
                    figures.reached.set(*from, *to, Some(seen.is_some()));
                    figures.ip_mtu.set(*from, *to, seen.map(|_| mtu));
                    figures.goodput.set(*from, *to, seen.map(|(rate, _)| rate));
                    figures.retransmits.set(*from, *to, seen.map(|(_, again)| again));
                }
            }
        }
        figures
    }

    fn analysed(&mut self, rounds: &[Vec<Pair>]) -> Analysis {
        let figures = self.run(rounds);
        let speed = self.speed.clone();
        let measured = Measured { speed_bits_per_s: &speed, ..figures.measured() };
        analyse(&measured, self)
    }
}

impl Again for World {
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.quiet += pairs.len();
        let alone = pairs.iter().map(|(from, to)| self.one(*from, *to, (1, 1)));
        alone.map(repeated).collect()
    }

    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        let one = |(from, to): &(usize, usize)| {
            let load = self.load(pairs, (*from, *to));
            repeated(self.one(*from, *to, load))
        };
        pairs.iter().map(one).collect()
    }

    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
        let one = |(from, to): &(usize, usize)| {
            let lost = poisson(&mut self.random, DRIPPED as f64 * (self.loss[*from] + self.loss[*to]));
            Some(Paced { sent: DRIPPED, lost: (lost as u64).min(DRIPPED) })
        };
        pairs.iter().map(one).collect()
    }
}

/// Datagrams that are sent at a pace.
const DRIPPED: u64 = 3900;

fn repeated(seen: Option<(f64, f64)>) -> Repeated {
    Repeated {
        goodput_bits_per_s: seen.map(|(rate, _)| rate),
        retransmits: seen.map(|(_, again)| again),
        starved: false,
    }
}

struct Figures {
    reached: Grid<bool>,
    ip_mtu: Grid<u32>,
    goodput: Grid<f64>,
    retransmits: Grid<f64>,
}

impl Figures {
    fn new(hosts: usize) -> Figures {
        Figures {
            reached: Grid::new(hosts),
            ip_mtu: Grid::new(hosts),
            goodput: Grid::new(hosts),
            retransmits: Grid::new(hosts),
        }
    }
}

impl Figures {
    /// As the analysis takes them, of links whose speed nobody knows.
    fn measured(&self) -> Measured<'_> {
        Measured {
            reached: &self.reached,
            ip_mtu_bytes: &self.ip_mtu,
            goodput_bits_per_s: &self.goodput,
            retransmits: &self.retransmits,
            window_ns: 1_000_000_000,
            speed_bits_per_s: &[],
            groups: &[],
        }
    }
}

/// Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let (radius, angle) = (1.0 - random.unit(), random.unit() * std::f64::consts::TAU);
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

fn poisson(random: &mut Random, mean: f64) -> f64 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0);
    }
    let (least, mut product, mut count) = ((-mean).exp(), random.unit(), 0.0);
    while product > least {
        product *= random.unit();
        count += 1.0;
    }
    count
}

type Named = (SuspectKind, Who);

/// A fault somewhere in a world, and the names that are right for it: any of them.
type Inject = fn(&mut World) -> Vec<Named>;

fn somewhere(world: &mut World) -> (usize, u32) {
    let host = world.random.below(world.hosts as u64) as usize;
    (host, host as u32)
}

fn nothing(_: &mut World) -> Vec<Named> {
    vec![]
}

fn slow_nic(world: &mut World) -> Vec<Named> {
    let (host, rank) = somewhere(world);
    (world.sends[host], world.receives[host]) = (0.9, 0.9);
    vec![(SuspectKind::Goodput, Who::Host { rank })]
}

fn slow_receiver(world: &mut World) -> Vec<Named> {
    let (host, rank) = somewhere(world);
    world.receives[host] = 0.85;
    vec![(SuspectKind::Goodput, Who::Receiver { rank })]
}

fn lossy_cable(world: &mut World) -> Vec<Named> {
    let (host, rank) = somewhere(world);
    world.loss[host] = 1e-4;
    vec![(SuspectKind::Loss, Who::Host { rank })]
}

fn narrow_uplink(world: &mut World) -> Vec<Named> {
    let (host, _) = somewhere(world);
    let leaf = host / world.leaf;
    world.uplink[leaf] = world.leaf as f64 / 2.0;
    let side = |inside: bool| {
        let ranks: Vec<u32> = (0..world.hosts)
            .filter(|other| (other / world.leaf == leaf) == inside)
            .map(|h| h as u32)
            .collect();
        (SuspectKind::Contention, Who::Group { ranks })
    };
    // Of two equal leaves nobody can tell whose uplink it is.
    if world.leaf * 2 == world.hosts { vec![side(true), side(false)] } else { vec![side(true)] }
}

fn small_mtu(world: &mut World) -> Vec<Named> {
    let (host, rank) = somewhere(world);
    world.ip_mtu[host] = 1500;
    vec![(SuspectKind::Mtu, Who::Host { rank })]
}

fn one_way_pair(world: &mut World) -> Vec<Named> {
    let (from, rank) = somewhere(world);
    let to = (from + 1 + world.random.below(world.hosts as u64 - 1) as usize) % world.hosts;
    world.cut.insert((from, to));
    vec![(SuspectKind::Reach, Who::Pair { from: rank, to: to as u32 })]
}

fn deaf_host(world: &mut World) -> Vec<Named> {
    let (host, rank) = somewhere(world);
    world.cut.extend((0..world.hosts).filter(|other| *other != host).map(|other| (other, host)));
    vec![(SuspectKind::Reach, Who::Receiver { rank })]
}

/// So many meshes with the fault: how many name it, and how many name anybody else.
fn tried(
    hosts: usize,
    meshes: u64,
    rounds: Option<usize>,
    normal: (f64, f64, f64),
    inject: Inject,
) -> (u64, u64) {
    let (mut named, mut falsely) = (0, 0);
    for mesh in 0..meshes {
        let seed = (hosts as u64) << 32 | mesh << 8 | rounds.unwrap_or(0) as u64;
        let mut world = World::new(hosts, seed, normal);
        let right = inject(&mut world);
        let rounds = rounds.map_or_else(|| tournament(hosts), |rounds| sampled(hosts, rounds, mesh));
        let found = world.analysed(&rounds);
        let names: Vec<Named> = found.suspects.iter().map(|s| (s.kind, s.who.clone())).collect();
        named += u64::from(right.iter().any(|name| names.contains(name)));
        falsely += u64::from(names.iter().any(|name| !right.contains(name)));
    }
    (named, falsely)
}

/// Named in at least so many and nobody else in more than so many, of 40, 40 and 8 meshes of 8, 32 and 256 hosts.
fn demand(inject: Inject, wanted: [(u64, u64); 3]) {
    for ((hosts, meshes), (named_min, falsely_max)) in [(8, 40), (32, 40), (256, 8)].into_iter().zip(wanted) {
        let (named, falsely) = tried(hosts, meshes, None, NORMAL, inject);
        assert!(named >= named_min, "{hosts} hosts: named in {named} of {meshes}");
        assert!(falsely <= falsely_max, "{hosts} hosts: somebody else in {falsely} of {meshes}");
    }
}

#[test]
fn a_healthy_mesh_names_nobody() {
    demand(nothing, [(0, 0), (0, 0), (0, 0)]);
}

#[test]
fn a_nic_at_90_percent_is_named() {
    demand(slow_nic, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn a_receiver_at_85_percent_is_named_as_receiver() {
    demand(slow_receiver, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn a_cable_that_loses_one_packet_in_ten_thousand_is_named() {
    demand(lossy_cable, [(39, 0), (40, 0), (8, 0)]);
}

#[test]
fn an_uplink_of_half_the_width_is_named_by_the_hosts_behind_it() {
    demand(narrow_uplink, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn a_host_with_a_small_mtu_is_named() {
    demand(small_mtu, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn a_pair_that_is_one_way_is_named_as_that_pair() {
    demand(one_way_pair, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn a_host_that_hears_nothing_is_named_as_receiver() {
    demand(deaf_host, [(40, 0), (40, 0), (8, 0)]);
}

#[test]
fn two_dozen_of_255_rounds_are_enough_for_hosts() {
    for inject in [slow_nic, slow_receiver, lossy_cable, small_mtu, deaf_host, narrow_uplink] as [Inject; 6] {
        assert_eq!(tried(256, 5, Some(24), NORMAL, inject), (5, 0));
    }
    assert_eq!(tried(256, 5, Some(24), NORMAL, nothing).1, 0);
}

#[test]
fn several_faults_at_once_are_all_named_and_nobody_else() {
    for hosts in [8, 32] {
        for mesh in 0..20 {
            let mut world = World::new(hosts, 7 << 32 | mesh << 8 | hosts as u64, NORMAL);
            (world.sends[2], world.receives[2]) = (0.8, 0.8);
            world.loss[5] = 1e-4;
            world.ip_mtu[1] = 1500;
            world.cut.insert((7, 3));
            let found = world.analysed(&tournament(hosts));
            let names: BTreeSet<Named> = found.suspects.into_iter().map(|s| (s.kind, s.who)).collect();
            let right = BTreeSet::from([
                (SuspectKind::Goodput, Who::Host { rank: 2 }),
                (SuspectKind::Loss, Who::Host { rank: 5 }),
                (SuspectKind::Mtu, Who::Host { rank: 1 }),
                (SuspectKind::Reach, Who::Pair { from: 7, to: 3 }),
            ]);
            assert_eq!(names, right, "{hosts} hosts, mesh {mesh}");
        }
    }
}

#[test]
fn slow_links_among_fast_ones_are_no_fault() {
    for mesh in 0..20 {
        let mut world = World::new(16, 9 << 32 | mesh, NORMAL);
        for host in 0..16 {
            world.speed[host] = Some(if host % 4 == 0 { 10_000_000_000 } else { 25_000_000_000 });
        }
        let mut faulty = World::new(16, 9 << 32 | mesh, NORMAL);
        faulty.speed.clone_from(&world.speed);
        assert_eq!(world.analysed(&tournament(16)).suspects, []);
        // One of the slow ones that is slower than its link is named all the same.
        (faulty.sends[4], faulty.receives[4]) = (0.85, 0.85);
        let named: Vec<Named> =
            faulty.analysed(&tournament(16)).suspects.into_iter().map(|s| (s.kind, s.who)).collect();
        assert_eq!(named, [(SuspectKind::Goodput, Who::Host { rank: 4 })]);
    }
}

/// With so much noise a NIC at 90 % cannot be distinguished from the others: that is said, and nobody is guessed at.
#[test]
fn where_noise_hides_a_tenth_it_is_said_that_goodput_cannot_be_told() {
    let noisy = (0.05, 0.05, 0.03);
    let (mut blind, mut calm) = (0, 0);
    for mesh in 0..40 {
        blind += u32::from(World::new(8, mesh, noisy).analysed(&tournament(8)).floor.blind);
        calm += u32::from(World::new(8, mesh, NORMAL).analysed(&tournament(8)).floor.blind);
    }
    assert!(blind >= 34, "only {blind} of 40 noisy meshes are called too noisy");
    assert!(calm <= 2, "{calm} of 40 calm meshes are called too noisy");
}

#[test]
fn a_suspect_that_is_healthy_when_measured_again_is_not_named() {
    /// Says that all is well, or that nothing could be measured.
    struct Told(Option<f64>, usize);
    impl Again for Told {
        fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
            self.1 += pairs.len();
            vec![
                Repeated { goodput_bits_per_s: self.0, retransmits: self.0.map(|_| 0.0), starved: false };
                pairs.len()
            ]
        }
        fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
            self.measure(pairs)
        }
        fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
            vec![None; pairs.len()]
        }
    }
    let mut world = World::new(8, 3, NORMAL);
    (world.sends[2], world.receives[2]) = (0.8, 0.8);
    world.loss[5] = 1e-3;
    let figures = world.run(&tournament(8));
    let measured = figures.measured();
    for answer in [Some(LINE), None] {
        let mut told = Told(answer, 0);
        let found = analyse(&measured, &mut told);
        assert!(told.1 > 0 && found.repetitions as usize == told.1);
        // Cells that are slow in their rounds and full in quiet are contended, as far as anybody can tell from here.
        let hosts = found.suspects.iter().filter(|suspect| suspect.kind != SuspectKind::Contention);
        assert_eq!(hosts.count(), 0, "{answer:?}");
    }
}

#[test]
fn tables_that_hold_little_or_nothing_are_no_trouble() {
    for hosts in [0, 1, 2, 3] {
        let mut world = World::new(hosts.max(1), 1, NORMAL);
        world.hosts = hosts;
        assert_eq!(world.analysed(&[]).suspects, [], "{hosts}");
    }
    let mut pair = World::new(2, 1, NORMAL);
    assert_eq!(pair.analysed(&tournament(2)).suspects, []);
    let mut empty = World::new(8, 1, NORMAL);
    let found = empty.analysed(&[]);
    assert_eq!((found.suspects.len(), found.usual_ip_mtu_bytes, found.floor), (0, None, Floor::default()));
}

/// Where rounds are drawn, words by datagram tell of the reach of all pairs: that makes the figures of those that were measured no surer.
#[test]
fn what_is_known_of_reach_alone_moves_no_threshold() {
    let mut world = World::new(64, 7, NORMAL);
    let figures = world.run(&sampled(64, 6, 7));
    let mut heard = figures.reached.clone();
    for from in 0..64 {
        for to in (0..64).filter(|to| *to != from) {
            heard.set(from, to, Some(true));
        }
    }
    let floor = |reached: &Grid<bool>| {
        let measured = Measured { reached, ..figures.measured() };
        analyse(&measured, &mut World::new(64, 7, NORMAL))
    };
    assert_eq!(floor(&heard), floor(&figures.reached));
}
