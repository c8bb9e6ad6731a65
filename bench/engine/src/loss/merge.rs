//! Both ends' counts in one: what one sent beside what the other received.

use pathproof_model::{
    ArrivedMark, Direction, LossCounts, LossEnd, LossFlow, LossMark, LossPath, ReceivedStrand, SentFlow,
};

use super::schedule::{MARKS, Mark};

/// The paths of a step, from what the client and the server tell. A peer's numbers are held to what was sent: nothing
/// that arrived more often than that is believed.
pub fn merge(client: &[LossEnd], server: &[LossEnd]) -> Vec<LossPath> {
    let mut paths = Vec::new();
    for (senders, receivers, direction) in [(client, server, Direction::Out), (server, client, Direction::In)]
    {
        for sender in senders {
            let other = receivers
                .iter()
                .find(|end| (end.address, end.peer_address) == (sender.peer_address, sender.address));
            paths.push(path(sender, other, direction));
        }
    }
    let mut paths = by_echo(paths, client, server);
    paths.sort_by(|a, b| {
        let key = |p: &LossPath| (p.local_nic.clone(), p.local_address, p.remote_address, p.direction);
        key(a).cmp(&key(b))
    });
    paths
}

/// In the place of a path that is silent in one direction or both: what became of either end's echoes, where one had answers.
fn by_echo(paths: Vec<LossPath>, client: &[LossEnd], server: &[LossEnd]) -> Vec<LossPath> {
    let mut kept: Vec<LossPath> = Vec::new();
    for path in paths {
        let (local, remote) = (path.local_address, path.remote_address);
        let ours = client.iter().filter(|end| (end.address, end.peer_address) == (local, remote));
        let theirs = server.iter().filter(|end| (end.address, end.peer_address) == (remote, local));
        let mut heard = ours.chain(theirs).filter_map(|end| end.echoes.clone());
        // Silent, or not let out by this host itself.
        let unanswered = path.flows.iter().all(|flow| !flow.answered);
        let Some(echoes) = heard.find(|flow| flow.answered).filter(|_| unanswered) else {
            kept.push(path);
            continue;
        };
        let told =
            kept.iter().any(|one| one.by_echo && (one.local_address, one.remote_address) == (local, remote));
        if !told {
            let bounded = |one: LossCounts| counts(one.sent, one.refused, Some(one));
            let flow = LossFlow { small: bounded(echoes.small), full: bounded(echoes.full), ..echoes };
            let direction = Direction::Both;
            let flows = vec![flow];
            kept.push(LossPath { by_echo: true, direction, reason: None, flows, marks: vec![], ..path });
        }
    }
    kept
}

fn path(sender: &LossEnd, receiver: Option<&LossEnd>, direction: Direction) -> LossPath {
    let outward = direction == Direction::Out;
    let pick = |own, peer| if outward { own } else { peer };
    let (local_nic, remote_nic) =
        if outward { (&sender.nic, &sender.peer_nic) } else { (&sender.peer_nic, &sender.nic) };
    let strands = receiver.map_or(&[][..], |end| &end.received);
    // Where a part could not be sent, the rest tells of the path, and the part stands by itself.
    let any_went = |sent: &SentFlow| sent.small.iter().chain(&sent.full).any(|count| *count > 0);
    let reason = match receiver {
        None => Some("the receiving end reported nothing about this path".to_owned()),
        Some(_) => sender.reason.clone().filter(|_| !sender.sent.iter().any(any_went)),
    };
    let flows: Vec<LossFlow> =
        sender.sent.iter().enumerate().map(|(number, sent)| flow(number, sent, strands)).collect();
    let marks = (0..MARKS.len()).map(|mark| mark_of(mark, sender, &flows, strands)).collect();
    LossPath {
        local_nic: local_nic.clone(),
        remote_nic: remote_nic.clone(),
        local_address: pick(sender.address, sender.peer_address),
        remote_address: pick(sender.peer_address, sender.address),
        direction,
        by_echo: false,
        small_ip_bytes: sender.small_ip_bytes,
        full_ip_bytes: sender.full_ip_bytes,
        reason,
        flows,
        marks,
        overflowed: receiver.map_or(0, |end| end.overflowed),
        delay_variation_ns: receiver.and_then(|end| end.delay_variation_ns),
        first_router: sender.first_router,
        last_router: receiver.and_then(|end| end.last_router),
        questions_heard: receiver.and_then(|end| end.questions_heard),
        changed: receiver.and_then(changed),
        shares: None,
    }
}

/// What arrived at an end with other bytes than were sent. Where most of it did, it is not the path: the other end's build fills datagrams
/// otherwise.
fn changed(receiver: &LossEnd) -> Option<u64> {
    let received = receiver.received.iter().flat_map(|strand| [strand.small.received, strand.full.received]);
    let received = received.fold(0, u64::saturating_add);
    receiver.changed.filter(|changed| changed.saturating_mul(2) <= received)
}

/// What arrived, beside what was sent.
fn counts(sent: u64, refused: u64, arrived: Option<LossCounts>) -> LossCounts {
    let arrived = arrived.unwrap_or_default();
    let received = arrived.received.min(sent);
    LossCounts {
        sent,
        refused,
        received,
        duplicated: arrived.duplicated,
        reordered: arrived.reordered.min(received),
        late: arrived.late.min(received),
    }
}

fn strand(strands: &[ReceivedStrand], flow: usize, mark: usize) -> Option<&ReceivedStrand> {
    strands.iter().find(|strand| usize::from(strand.strand) == flow * MARKS.len() + mark)
}

fn at(numbers: &[u64], mark: usize) -> u64 {
    numbers.get(mark).copied().unwrap_or(0)
}

fn flow(number: usize, sent: &SentFlow, strands: &[ReceivedStrand]) -> LossFlow {
    let mut flow =
        LossFlow { port: sent.port, answered: sent.answered, failed: sent.failed, ..LossFlow::default() };
    for mark in 0..MARKS.len() {
        let arrived = strand(strands, number, mark);
        flow.small += counts(at(&sent.small, mark), 0, arrived.map(|one| one.small));
        flow.full += counts(at(&sent.full, mark), at(&sent.refused, mark), arrived.map(|one| one.full));
        let standard = arrived.map(|one| LossCounts { received: one.standard, ..LossCounts::default() });
        flow.standard += counts(at(&sent.standard, mark), 0, standard);
        let least = [flow.least_delay_ns, arrived.and_then(|one| one.least_delay_ns)];
        flow.least_delay_ns = least.into_iter().flatten().min();
    }
    // Where none of a size nor of larger ones passes it is not lost: that is the path MTU's affair.
    if flow.lacks_standard_size() && flow.lacks_full_size() {
        flow.small.sent = flow.small.sent.saturating_sub(flow.standard.sent).max(flow.small.received);
    }
    flow
}

fn mark_of(mark: usize, sender: &LossEnd, flows: &[LossFlow], strands: &[ReceivedStrand]) -> LossMark {
    let Mark { dscp, ecn } = MARKS[mark];
    let mut all = LossMark { dscp, ecn, ..LossMark::default() };
    for (number, (sent, flow)) in sender.sent.iter().zip(flows).enumerate() {
        if flow.is_dead() {
            continue;
        }
        let arrived = strand(strands, number, mark);
        let of_standard =
            if flow.lacks_standard_size() && flow.lacks_full_size() { at(&sent.standard, mark) } else { 0 };
        let small = at(&sent.small, mark).saturating_sub(of_standard);
        let least = [all.least_delay_ns, arrived.and_then(|one| one.least_delay_ns)];
        all.least_delay_ns = least.into_iter().flatten().min();
        all.counts += counts(small, 0, arrived.map(|one| one.small));
        if !flow.lacks_full_size() {
            all.counts += counts(at(&sent.full, mark), at(&sent.refused, mark), arrived.map(|one| one.full));
        }
        for (class, count) in arrived.map_or(&[][..], |one| &one.classes) {
            let came = Mark::of(*class);
            match all.arrived.iter_mut().find(|known| (known.dscp, known.ecn) == (came.dscp, came.ecn)) {
                Some(known) => known.count = known.count.saturating_add(*count),
                None => all.arrived.push(ArrivedMark { dscp: came.dscp, ecn: came.ecn, count: *count }),
            }
        }
    }
    all.arrived.sort_by_key(|came| (std::cmp::Reverse(came.count), came.dscp, came.ecn));
    all
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::loss::{Schedule, Tally};
    use pathproof_api::Tick;
    use pathproof_model::LossSpec;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn end(own: u8, peer: u8) -> LossEnd {
        LossEnd {
            echoes: None,
            nic: format!("eth{own}"),
            peer_nic: format!("eth{peer}"),
            address: ip(own),
            peer_address: ip(peer),
            small_ip_bytes: 88,
            full_ip_bytes: 9000,
            reason: None,
            sent: vec![],
            received: vec![],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
        }
    }

    /// Two hosts; what the client sends meets `fate`: the traffic class it arrives with, or `None` where it is lost.
    pub(crate) fn run(fate: impl Fn(u64, &crate::loss::Packet) -> Option<u8>) -> Vec<LossPath> {
        run_late(fate, |_| 0)
    }

    /// The same, and some arrive later than others, in ns.
    pub(crate) fn run_late(
        fate: impl Fn(u64, &crate::loss::Packet) -> Option<u8>,
        late_ns: impl Fn(&crate::loss::Packet) -> u64,
    ) -> Vec<LossPath> {
        let schedule = Schedule::new(&LossSpec::default());
        let (mut client, mut server) = (end(1, 2), end(2, 1));
        let mut tally = Tally::new(&schedule);
        client.sent = vec![
            SentFlow {
                answered: true,
                small: vec![0; 5],
                full: vec![0; 5],
                refused: vec![0; 5],
                standard: vec![0; 5],
                port: 1,
                failed: 0,
            };
            schedule.flows() as usize
        ];
        for number in 0..schedule.total() {
            let packet = schedule.packet(number);
            let sent = &mut client.sent[packet.flow as usize];
            if packet.full {
                sent.full[packet.mark] += 1
            } else {
                sent.small[packet.mark] += 1
            }
            sent.standard[packet.mark] += u64::from(packet.standard);
            if let Some(class) = fate(number, &packet) {
                let ip_bytes = if packet.standard { 1500 } else { 88 };
                let of = (packet.strand, packet.seq, ip_bytes);
                tally.on_arrival(of, Some(class), number, Tick(number + 1000 + late_ns(&packet)));
            }
        }
        (server.received, server.delay_variation_ns) = tally.ended();
        merge(&[client], &[server])
    }

    #[test]
    fn what_arrives_as_sent_is_whole_in_both_views() {
        let paths = run(|_, packet| Some(MARKS[packet.mark].class()));
        assert_eq!(paths.len(), 2);
        let out = &paths[0];
        assert_eq!((out.direction, &*out.local_nic, &*out.remote_nic), (Direction::Out, "eth1", "eth2"));
        assert_eq!((out.flows.len(), out.marks.len()), (16, 5));
        let small: u64 = out.flows.iter().map(|flow| flow.small.received).sum();
        let full: u64 = out.flows.iter().map(|flow| flow.full.received).sum();
        assert!(small + full == 10_000 && full.abs_diff(2000) < 100, "{small} {full}");
        for mark in &out.marks {
            assert_eq!((mark.counts.sent, mark.counts.lost().part), (2000, 0));
            assert_eq!(mark.arrived, [ArrivedMark { dscp: mark.dscp, ecn: mark.ecn, count: 2000 }]);
        }
    }

    #[test]
    fn a_size_that_a_flow_does_not_carry_is_told_and_not_lost() {
        let paths = run(|_, packet| {
            let small_only = packet.flow < 4 && (packet.full || packet.standard);
            (!small_only && (packet.flow < 8 || !packet.full)).then_some(MARKS[packet.mark].class())
        });
        let flows = &paths[0].flows;
        let sizes = |flow: &LossFlow| (flow.lacks_standard_size(), flow.lacks_full_size());
        assert_eq!((sizes(&flows[0]), sizes(&flows[5])), ((true, true), (false, false)));
        assert_eq!(sizes(&flows[9]), (false, true));
        assert!(flows.iter().all(|flow| flow.standard.sent > 20 && flow.small.lost().part == 0), "{flows:?}");
        assert!(paths[0].marks.iter().all(|mark| mark.counts.lost().part == 0), "{:?}", paths[0].marks);
    }

    #[test]
    fn what_a_host_could_not_send_hides_nothing_of_what_it_could() {
        let sent =
            |small: u64| SentFlow { answered: true, small: vec![small], failed: 3, ..SentFlow::default() };
        let reason = Some("Operation not permitted".to_owned());
        let of = |small: u64| {
            let client = LossEnd { reason: reason.clone(), sent: vec![sent(small)], ..end(1, 2) };
            merge(&[client], &[end(2, 1)]).remove(0)
        };
        assert_eq!((of(9).reason, of(9).flows[0].failed, of(0).reason), (None, 3, reason.clone()));
    }

    #[test]
    fn a_peer_cannot_tell_of_more_than_was_sent() {
        let mut client = end(1, 2);
        client.sent = vec![SentFlow { answered: true, small: vec![3], ..SentFlow::default() }];
        let mut server = end(2, 1);
        let much = LossCounts { received: 9, reordered: 9, late: 9, ..LossCounts::default() };
        server.received = vec![ReceivedStrand { small: much, ..ReceivedStrand::default() }];
        let path = &merge(&[client], &[server])[0];
        let small = path.flows[0].small;
        assert_eq!((small.sent, small.received, small.reordered, small.late), (3, 3, 3, 3));
    }

    #[test]
    fn what_came_changed_is_told_and_where_all_of_it_did_the_other_build_fills_otherwise() {
        let of = |changed: Option<u64>| {
            let mut client = end(1, 2);
            client.sent = vec![SentFlow { answered: true, small: vec![9], ..SentFlow::default() }];
            let mut server = end(2, 1);
            let some = LossCounts { received: 9, ..LossCounts::default() };
            server.received = vec![ReceivedStrand { small: some, ..ReceivedStrand::default() }];
            server.changed = changed;
            merge(&[client], &[server])[0].changed
        };
        assert_eq!([of(Some(0)), of(Some(2)), of(Some(9)), of(None)], [Some(0), Some(2), None, None]);
    }

    #[test]
    fn where_datagrams_are_silent_an_end_that_was_answered_by_echo_speaks_for_both_ways() {
        let silent = |own, peer| LossEnd { sent: vec![SentFlow::default(); 8], ..end(own, peer) };
        let echoes = |answered, received| {
            let small = LossCounts { sent: 200, received, ..LossCounts::default() };
            Some(LossFlow { answered, small, ..LossFlow::default() })
        };
        let (mut client, mut server) = (silent(1, 2), silent(2, 1));
        client.echoes = echoes(false, 0);
        assert!(
            merge(std::slice::from_ref(&client), std::slice::from_ref(&server)).iter().all(|p| !p.by_echo)
        );
        server.echoes = echoes(true, 300);
        let paths = merge(std::slice::from_ref(&client), std::slice::from_ref(&server));
        assert_eq!((paths.len(), paths[0].direction, paths[0].by_echo), (1, Direction::Both, true));
        // No more came back than was sent.
        assert_eq!(paths[0].flows[0].small.received, 200);
        // Datagrams that pass one way keep that way.
        server.sent[0].answered = true;
        let paths = merge(&[client], &[server]);
        let ways: Vec<(Direction, bool)> = paths.iter().map(|p| (p.direction, p.by_echo)).collect();
        assert_eq!(ways, [(Direction::In, false), (Direction::Both, true)]);
    }

    #[test]
    fn a_path_of_which_the_receiver_says_nothing_is_not_lost_but_unknown() {
        let paths = merge(&[end(1, 2)], &[]);
        assert!(paths[0].reason.as_ref().unwrap().contains("nothing about this path"));
    }
}
