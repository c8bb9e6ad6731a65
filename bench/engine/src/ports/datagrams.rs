//! Datagrams at a pace to ports of UDP: to which, in what order, what stands in them, and what the counts come to. Pure.
//!
//! A port is asked until one answer comes, and what answers once need not carry: something on the way may lose a share of what goes to that port, or
//! all that is large. The other end counts what arrives and says so in the end, source port by source port, so that what the way back loses is not taken for it.
//! It refuses to say that all was lost where the other end says nothing at any port: it may be of a build that counts none.

use std::time::Duration;

use pathproof_model::{AnsweredBy, AskedPort, DatagramsRecord, Direction, Port, PortDatagrams, PortsEnd};

use crate::workload::stamp::mix;

/// Source ports for each port: what spreads flows over links treats them apart.
pub const FLOWS: usize = 16;
/// Datagrams of each size to each port.
pub const EACH: usize = 250;
/// How long all of them are sent, all ports together.
pub const SENDING: Duration = Duration::from_millis(800);
/// So many go out one behind the other.
pub const TOGETHER: usize = 2;
/// Bytes of a small one, without its headers.
pub const SMALL_BYTES: usize = 64;
/// No IP packet is longer: RoCE v2 carries 4096 bytes in one at most, with some 80 of headers.
pub const FULL_IP_BYTES_MAX: u32 = 4200;
/// Bytes of a session's word.
const WORD_BYTES: usize = 32;
/// Bytes of the question what has arrived: more than those of its answer.
const CLOSING_BYTES: usize = 48;
/// Bytes of the answer: the word, and two numbers.
const ANSWER_BYTES: usize = WORD_BYTES + 8;
/// Source ports of which an end keeps counts at one port.
const FLOWS_MAX: usize = 64;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A small one that is counted.
    Small,
    /// A full-size one that is counted.
    Full,
    /// The question what has arrived over this source port.
    Closing,
}

impl Sort {
    fn byte(self) -> u8 {
        match self {
            Sort::Small => 1,
            Sort::Full => 2,
            Sort::Closing => 3,
        }
    }

    /// One datagram with the word of who asks, as long as that; a full-size one is never shorter than a small one.
    pub fn datagram(self, word: &[u8; 32], full_bytes: usize) -> Vec<u8> {
        let bytes = match self {
            Sort::Small => SMALL_BYTES,
            Sort::Full => full_bytes.max(SMALL_BYTES),
            Sort::Closing => CLOSING_BYTES,
        };
        let mut datagram = vec![0; bytes];
        datagram[..WORD_BYTES].copy_from_slice(word);
        datagram[WORD_BYTES] = self.byte();
        datagram
    }

    /// What a datagram is that begins like this, where it has the word.
    pub fn of(begin: &[u8], word: &[u8; 32]) -> Option<Sort> {
        let byte = *begin.strip_prefix(word.as_slice())?.first()?;
        [Sort::Small, Sort::Full, Sort::Closing].into_iter().find(|sort| sort.byte() == byte)
    }
}

/// How many there were of each size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Small ones.
    pub small: u32,
    /// Full-size ones.
    pub full: u32,
}

impl Counts {
    /// The answer to the question what has arrived.
    pub fn answer(self, word: &[u8; 32]) -> Vec<u8> {
        let mut answer = word.to_vec();
        answer.extend(self.small.to_be_bytes());
        answer.extend(self.full.to_be_bytes());
        answer
    }

    /// What an answer says, where it is one.
    pub fn of(answer: &[u8], word: &[u8; 32]) -> Option<Counts> {
        let numbers: [u8; ANSWER_BYTES - WORD_BYTES] =
            answer.strip_prefix(word.as_slice())?.try_into().ok()?;
        let [a, b, c, d, e, f, g, h] = numbers;
        Some(Counts { small: u32::from_be_bytes([a, b, c, d]), full: u32::from_be_bytes([e, f, g, h]) })
    }
}

/// What arrived at one port, by where it came from.
#[derive(Debug)]
pub struct Tally<K> {
    flows: Vec<(K, Counts)>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally { flows: vec![] }
    }
}

impl<K: Copy + PartialEq> Tally<K> {
    /// Takes in a datagram from `from`; what is to be answered, where it asks. From more places than are kept nothing is counted or answered.
    pub fn take(&mut self, from: K, sort: Sort) -> Option<Counts> {
        let known = self.flows.iter().position(|(other, _)| *other == from);
        let at = match known {
            Some(at) => at,
            None if self.flows.len() < FLOWS_MAX => {
                self.flows.push((from, Counts::default()));
                self.flows.len() - 1
            }
            None => return None,
        };
        let counts = &mut self.flows[at].1;
        match sort {
            Sort::Small => counts.small = counts.small.saturating_add(1),
            Sort::Full => counts.full = counts.full.saturating_add(1),
            Sort::Closing => return Some(*counts),
        }
        None
    }
}

/// The ports that datagrams are sent to: those of UDP at which the other end itself answered, where one of them is needed. Those that are not stand
/// beside it.
pub fn targets(found: &[AskedPort], needed: &[Port]) -> Vec<Port> {
    let answered = found.iter().filter(|asked| asked.port.is_udp() && asked.by == Some(AnsweredBy::Agent));
    let ports: Vec<Port> = answered.map(|asked| asked.port).collect();
    if ports.iter().any(|port| needed.contains(port)) { ports } else { vec![] }
}

/// One datagram that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// To which of the ports.
    pub target: usize,
    /// Over which of its source ports.
    pub flow: usize,
    /// Whether it is of full size.
    pub full: bool,
}

/// All of them in their order, which looks random and is always the same: what loses every so many packets would meet one port alone in an order that
/// repeats itself, and a moment in which everything is lost has to meet all ports alike.
pub fn schedule(targets: usize) -> Vec<Planned> {
    let each = |target: usize| {
        let sizes = move |nth: usize| [false, true].map(|full| Planned { target, flow: nth % FLOWS, full });
        (0..EACH).flat_map(sizes)
    };
    let mut all: Vec<Planned> = (0..targets).flat_map(each).collect();
    for at in (1..all.len()).rev() {
        let other = mix(at as u64) % (at as u64 + 1);
        all.swap(at, other as usize);
    }
    all
}

/// Between two turns of so many datagrams in all.
pub fn pause(datagrams: usize) -> Duration {
    let turns = u32::try_from(datagrams.div_ceil(TOGETHER)).unwrap_or(u32::MAX);
    SENDING / turns.max(1)
}

/// One source port: what was sent over it, and what the other end said had arrived, where it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Put on the wire.
    pub sent: Counts,
    /// Arrived.
    pub arrived: Option<Counts>,
}

/// All source ports of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Port that they went to.
    pub port: Port,
    /// Length of the full-size IP packets.
    pub full_ip_bytes: u32,
    /// One by one.
    pub flows: Vec<FlowCounts>,
}

impl Sent {
    /// A source port over which nothing was said may meet a dead member of a bundle, and is left out where others were heard of.
    fn sum(&self) -> PortDatagrams {
        let known: Vec<(Counts, Counts)> =
            self.flows.iter().filter_map(|flow| Some((flow.sent, flow.arrived?))).collect();
        let is_lossy =
            |(sent, arrived): &&(Counts, Counts)| arrived.small < sent.small || arrived.full < sent.full;
        let (flows, flows_lossy) = (known.len() as u32, known.iter().filter(is_lossy).count() as u32);
        let counted: Vec<(Counts, Counts)> = if known.is_empty() {
            self.flows.iter().map(|flow| (flow.sent, Counts::default())).collect()
        } else {
            known
        };
        let total =
            |of: fn(&(Counts, Counts)) -> u32| counted.iter().map(|flow| u64::from(of(flow))).sum::<u64>();
        PortDatagrams {
            port: self.port,
            small_sent: total(|(sent, _)| sent.small),
            small_arrived: total(|(sent, arrived)| arrived.small.min(sent.small)),
            full_sent: total(|(sent, _)| sent.full),
            full_arrived: total(|(sent, arrived)| arrived.full.min(sent.full)),
            full_ip_bytes: self.full_ip_bytes,
            flows,
            flows_lossy,
        }
    }
}

/// What came of all ports; nothing where the other end said nothing at any of them.
pub fn results(all: &[Sent]) -> Vec<PortDatagrams> {
    let is_heard_of = |one: &Sent| one.flows.iter().any(|flow| flow.arrived.is_some());
    if all.iter().any(is_heard_of) { all.iter().map(Sent::sum).collect() } else { vec![] }
}

/// The records of both directions. What a peer says can only be about ports of the list, once each, and about as many as are sent.
pub fn merge(client: Option<&PortsEnd>, server: Option<&PortsEnd>) -> Vec<DatagramsRecord> {
    let mut records = vec![];
    for (direction, end) in [(Direction::Out, client), (Direction::In, server)] {
        let Some(end) = end else { continue };
        for port in Port::ALL.into_iter().filter(|port| port.is_udp()) {
            let Some(said) = end.datagrams.iter().find(|one| one.port == port) else { continue };
            records.push(DatagramsRecord { direction, datagrams: within(*said) });
        }
    }
    records
}

/// Counts that can be true together.
fn within(said: PortDatagrams) -> PortDatagrams {
    let most = EACH as u64;
    let (small_sent, full_sent) = (said.small_sent.min(most), said.full_sent.min(most));
    let flows = said.flows.min(FLOWS as u32);
    PortDatagrams {
        port: said.port,
        small_sent,
        small_arrived: said.small_arrived.min(small_sent),
        full_sent,
        full_arrived: said.full_arrived.min(full_sent),
        full_ip_bytes: said.full_ip_bytes.min(FULL_IP_BYTES_MAX),
        flows,
        flows_lossy: said.flows_lossy.min(flows),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pathproof_model::PortAnswer;

    use super::*;

    const WORD: [u8; 32] = [7; 32];

    #[test]
    fn what_is_written_is_read_and_no_answer_is_longer_than_its_question() {
        for sort in [Sort::Small, Sort::Full, Sort::Closing] {
            let datagram = sort.datagram(&WORD, 1472);
            assert_eq!(Sort::of(&datagram, &WORD), Some(sort));
            // A receiver looks at no more than the beginning.
            assert_eq!(Sort::of(&datagram[..33], &WORD), Some(sort));
            assert_eq!(Sort::of(&datagram, &[8; 32]), None);
        }
        assert_eq!(Sort::of(&WORD, &WORD), None, "the question of a port has nothing behind its word");
        assert_eq!(Sort::Full.datagram(&WORD, 1472).len(), 1472);
        let counts = Counts { small: 3, full: 70_000 };
        let answer = counts.answer(&WORD);
        assert!(answer.len() <= Sort::Closing.datagram(&WORD, 1472).len());
        assert_eq!(Counts::of(&answer, &WORD), Some(counts));
        assert_eq!(Counts::of(&answer[..39], &WORD), None);
        assert_eq!(Counts::of(&answer, &[8; 32]), None);
    }

    #[test]
    fn all_are_sent_and_a_loss_of_every_so_many_meets_all_ports_alike() {
        let all = schedule(2);
        assert_eq!(all.len(), 4 * EACH);
        let mut of: BTreeMap<(usize, bool), usize> = BTreeMap::new();
        all.iter().for_each(|one| *of.entry((one.target, one.full)).or_default() += 1);
        assert!(of.len() == 4 && of.values().all(|count| *count == EACH), "{of:?}");
        for every in [2, 4, 8, 10, 16, 20, 32, 64] {
            let lost = |target: usize| {
                all.iter().step_by(every).filter(|one| one.target == target).count() as f64
                    / (2 * EACH) as f64
            };
            let share = 1.0 / every as f64;
            let apart = (lost(0) - lost(1)).abs();
            assert!(apart < share * 0.7, "one in {every}: {} and {}", lost(0), lost(1));
        }
        assert_eq!(pause(all.len()) * 500, SENDING);
        assert!(schedule(0).is_empty() && pause(0) == SENDING);
    }

    #[test]
    fn what_arrives_is_counted_by_where_it_came_from_and_from_no_more_places_than_are_kept() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            assert_eq!(tally.take(1, Sort::Small), None);
        }
        assert_eq!(tally.take(1, Sort::Full), None);
        assert_eq!(tally.take(1, Sort::Closing), Some(Counts { small: 3, full: 1 }));
        // Nothing of what it sent has arrived.
        assert_eq!(tally.take(2, Sort::Closing), Some(Counts::default()));
        for from in 3..200 {
            assert_eq!(tally.take(from, Sort::Small), None);
        }
        assert_eq!(tally.take(199, Sort::Closing), None);
        assert_eq!(tally.flows.len(), FLOWS_MAX);
    }

    fn sent(port: Port, arrived: [Option<(u32, u32)>; 4]) -> Sent {
        let flow = |arrived: Option<(u32, u32)>| FlowCounts {
            sent: Counts { small: 16, full: 15 },
            arrived: arrived.map(|(small, full)| Counts { small, full }),
        };
        Sent { port, full_ip_bytes: 1500, flows: arrived.map(flow).to_vec() }
    }

    #[test]
    fn a_source_port_that_is_silent_is_left_out_and_a_port_that_is_silent_lost_all_where_another_is_heard_of()
    {
        let heard = sent(Port::Heartbeat, [Some((16, 15)), None, Some((15, 15)), Some((17, 15))]);
        let silent = sent(Port::Roce, [None; 4]);
        let all = results(&[heard, silent.clone()]);
        let of = |one: &PortDatagrams| (one.lost_small(), one.lost_full(), one.flows, one.flows_lossy);
        let share = |part, of| pathproof_model::Share { part, of };
        assert_eq!(of(&all[0]), (share(1, 48), share(0, 45), 3, 1), "a copy is no loss of another");
        assert_eq!(of(&all[1]), (share(64, 64), share(60, 60), 0, 0));
        assert!(results(&[silent]).is_empty(), "a build that counts nothing");
    }

    #[test]
    fn datagrams_go_where_the_other_end_answered_and_only_where_a_role_needs_one_of_them() {
        let asked = |port, by| AskedPort { port, answer: PortAnswer::Answered, by, reason: None };
        let (agent, service) = (Some(AnsweredBy::Agent), Some(AnsweredBy::Service));
        let found = [asked(Port::Smb, agent), asked(Port::Heartbeat, agent), asked(Port::Roce, agent)];
        assert_eq!(targets(&found, &[Port::Roce]), [Port::Heartbeat, Port::Roce]);
        assert_eq!(targets(&found, &[Port::Smb]), []);
        let found = [asked(Port::Heartbeat, service), asked(Port::Roce, agent)];
        assert_eq!(targets(&found, &[Port::Roce]), [Port::Roce]);
        assert_eq!(targets(&found, &[Port::Heartbeat]), []);
    }

    #[test]
    fn a_peer_cannot_add_ports_or_more_than_was_sent() {
        let said = PortDatagrams {
            port: Port::Roce,
            small_sent: u64::MAX,
            small_arrived: u64::MAX,
            full_sent: 3,
            full_arrived: 9,
            full_ip_bytes: u32::MAX,
            flows: u32::MAX,
            flows_lossy: u32::MAX,
        };
        let tcp = PortDatagrams { port: Port::Smb, ..said };
        let server = PortsEnd { datagrams: vec![said, said, tcp], ..PortsEnd::default() };
        let records = merge(None, Some(&server));
        assert_eq!(records.len(), 1);
        let DatagramsRecord { direction, datagrams } = records[0];
        assert_eq!((direction, datagrams.port), (Direction::In, Port::Roce));
        assert_eq!((datagrams.small_sent, datagrams.small_arrived), (EACH as u64, EACH as u64));
        assert_eq!((datagrams.full_arrived, datagrams.flows, datagrams.flows_lossy), (3, 16, 16));
    }
}
