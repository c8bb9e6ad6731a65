//! What TCP, UDP, IP and ICMP count in the network namespace of this process: `/proc/net/snmp`, `netstat` and `snmp6`.

use std::collections::HashMap;

use pathproof_model::evidence::{IcmpCounts, IpCounts, TcpCounts, UdpCounts};
use pathproof_model::{Evidence as Record, Half};

use super::{About, Evidence, read};

/// All of them at one moment.
pub struct Protocols {
    /// `snmp` and `netstat`, which are written alike.
    four: Result<Four, String>,
    /// `snmp6`; a kernel without IPv6 does not have it.
    six: Result<Six, String>,
}

struct Four {
    tcp: TcpCounts,
    udp: UdpCounts,
    ip: IpCounts,
    icmp: IcmpCounts,
}

struct Six {
    udp: UdpCounts,
    ip: IpCounts,
    icmp: IcmpCounts,
}

impl Evidence for Protocols {
    fn before(_about: &About) -> Protocols {
        Protocols {
            four: read("/proc/net/snmp")
                .and_then(|snmp| Ok(Four::of(&pairs(&snmp), &pairs(&read("/proc/net/netstat")?)))),
            six: read("/proc/net/snmp6").map(|text| Six::of(&lines(&text))),
        }
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let now = Protocols::before(&About::default());
        match (self.four, now.four) {
            (Ok(then), Ok(now)) => {
                let tcp = now.tcp.since(&then.tcp);
                let udp = now.udp.since(&then.udp);
                let ip = now.ip.since(&then.ip);
                let icmp = now.icmp.since(&then.icmp);
                unknown(record, "tcp.", &tcp.unknown());
                unknown(record, "udp.", &udp.unknown());
                unknown(record, "ip.", &ip.unknown());
                unknown(record, "icmp.", &icmp.unknown());
                (record.tcp, record.udp, record.ip, record.icmp) =
                    (Some(tcp), Some(udp), Some(ip), Some(icmp));
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("tcp, udp, ip, icmp", why),
        }
        match (self.six, now.six) {
            (Ok(then), Ok(now)) => {
                let udp = now.udp.since(&then.udp);
                let ip = now.ip.since(&then.ip);
                let icmp = now.icmp.since(&then.icmp);
                unknown(record, "udp6.", &udp.unknown());
                unknown(record, "ip6.", &ip.unknown());
                unknown(record, "icmp6.", &icmp.unknown());
                (record.udp6, record.ip6, record.icmp6) = (Some(udp), Some(ip), Some(icmp));
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("udp6, ip6, icmp6", why),
        }
    }
}

/// The reason why single counters of a group are null.
fn unknown(record: &mut Record, group: &str, names: &[&str]) {
    if !names.is_empty() {
        let what = names.iter().map(|name| format!("{group}{name}")).collect::<Vec<_>>().join(", ");
        record.cannot_tell(what, "this kernel does not count it, or it was set back meanwhile");
    }
}

/// Numbers by name. A kernel that lacks one has no number for it, which is not zero.
type Counters<'a> = HashMap<(&'a str, &'a str), u64>;

/// Pairs of lines that begin with the name of their group: names, then values.
fn pairs(text: &str) -> Counters<'_> {
    let mut counters = HashMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if group != same {
            continue;
        }
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            // RtoMax and the like may be negative; nothing that is read here is.
            counters.extend(value.parse().ok().map(|value| ((group, name), value)));
        }
    }
    counters
}

/// A name and a value in each line.
fn lines(text: &str) -> Counters<'_> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some((("", name), value.trim().parse().ok()?))
        })
        .collect()
}

/// The sum of several; unknown where one of them is.
fn sum<const N: usize>(values: [Option<u64>; N]) -> Option<u64> {
    values.into_iter().try_fold(0u64, |sum, value| sum.checked_add(value?))
}

impl Four {
    fn of(snmp: &Counters<'_>, netstat: &Counters<'_>) -> Four {
        let snmp = |group, name| snmp.get(&(group, name)).copied();
        let netstat = |group, name| netstat.get(&(group, name)).copied();
        let (tcp, more, udp) =
            (|name| snmp("Tcp", name), |name| netstat("TcpExt", name), |name| snmp("Udp", name));
        let (ip, ip_more, icmp) =
            (|name| snmp("Ip", name), |name| netstat("IpExt", name), |name| snmp("Icmp", name));
        Four {
            tcp: TcpCounts {
                sent: tcp("OutSegs"),
                received: tcp("InSegs"),
                retransmitted: tcp("RetransSegs"),
                received_errors: tcp("InErrs"),
                checksum_errors: tcp("InCsumErrors"),
                resets_sent: tcp("OutRsts"),
                connections_reset: tcp("EstabResets"),
                attempts_failed: tcp("AttemptFails"),
                syn_retransmits: more("TCPSynRetrans"),
                timeouts: more("TCPTimeouts"),
                spurious_timeouts: more("TCPSpuriousRTOs"),
                lost_retransmits: more("TCPLostRetransmit"),
                fast_retransmits: more("TCPFastRetrans"),
                loss_probes: more("TCPLossProbes"),
                duplicates_received: sum([more("TCPDSACKOldSent"), more("TCPDSACKOfoSent")]),
                duplicates_reported: more("TCPDSACKRecv"),
                reorderings: sum([more("TCPSACKReorder"), more("TCPTSReorder"), more("TCPRenoReorder")]),
                out_of_order: more("TCPOFOQueue"),
                receive_queue_drops: sum([more("TCPRcvQDrop"), more("TCPOFODrop"), more("TCPBacklogDrop")]),
                prunes: more("PruneCalled"),
                zero_windows: more("TCPToZeroWindowAdv"),
                window_probes: more("TCPWinProbe"),
                listen_overflows: more("ListenOverflows"),
                listen_drops: more("ListenDrops"),
                gave_up: more("TCPAbortOnTimeout"),
                old_timestamps: more("PAWSEstab"),
                mtu_probes_failed: more("TCPMTUPFail"),
                delivered_with_congestion_mark: more("TCPDeliveredCE"),
            },
            udp: UdpCounts {
                sent: udp("OutDatagrams"),
                received: udp("InDatagrams"),
                no_port: udp("NoPorts"),
                receive_buffer_drops: udp("RcvbufErrors"),
                send_buffer_drops: udp("SndbufErrors"),
                checksum_errors: udp("InCsumErrors"),
            },
            ip: IpCounts {
                received: ip("InReceives"),
                sent: ip("OutRequests"),
                forwarded: ip("ForwDatagrams"),
                header_errors: ip("InHdrErrors"),
                address_errors: ip("InAddrErrors"),
                truncated: ip_more("InTruncatedPkts"),
                receive_discards: ip("InDiscards"),
                send_discards: ip("OutDiscards"),
                receive_no_route: ip_more("InNoRoutes"),
                send_no_route: ip("OutNoRoutes"),
                reassembly_failures: ip("ReasmFails"),
                fragmentation_failures: ip("FragFails"),
                fragments_made: ip("FragCreates"),
                congestion_marks: ip_more("InCEPkts"),
                congestion_capable: sum([ip_more("InECT0Pkts"), ip_more("InECT1Pkts")]),
                reverse_path_drops: more("IPReversePathFilter"),
            },
            icmp: IcmpCounts {
                unreachable_received: icmp("InDestUnreachs"),
                unreachable_sent: icmp("OutDestUnreachs"),
                // IPv4 says it with "unreachable".
                too_big_received: Some(0),
                time_exceeded_received: icmp("InTimeExcds"),
                redirects_received: icmp("InRedirects"),
                errors: icmp("InErrors"),
            },
        }
    }
}

impl Six {
    fn of(counters: &Counters<'_>) -> Six {
        let six = |name| counters.get(&("", name)).copied();
        Six {
            udp: UdpCounts {
                sent: six("Udp6OutDatagrams"),
                received: six("Udp6InDatagrams"),
                no_port: six("Udp6NoPorts"),
                receive_buffer_drops: six("Udp6RcvbufErrors"),
                send_buffer_drops: six("Udp6SndbufErrors"),
                checksum_errors: six("Udp6InCsumErrors"),
            },
            ip: IpCounts {
                received: six("Ip6InReceives"),
                sent: six("Ip6OutRequests"),
                forwarded: six("Ip6OutForwDatagrams"),
                header_errors: six("Ip6InHdrErrors"),
                address_errors: six("Ip6InAddrErrors"),
                truncated: six("Ip6InTruncatedPkts"),
                receive_discards: six("Ip6InDiscards"),
                send_discards: six("Ip6OutDiscards"),
                receive_no_route: six("Ip6InNoRoutes"),
                send_no_route: six("Ip6OutNoRoutes"),
                reassembly_failures: six("Ip6ReasmFails"),
                fragmentation_failures: six("Ip6FragFails"),
                fragments_made: six("Ip6FragCreates"),
                congestion_marks: six("Ip6InCEPkts"),
                congestion_capable: sum([six("Ip6InECT0Pkts"), six("Ip6InECT1Pkts")]),
                // There is no such filter for IPv6.
                reverse_path_drops: Some(0),
            },
            icmp: IcmpCounts {
                unreachable_received: six("Icmp6InDestUnreachs"),
                unreachable_sent: six("Icmp6OutDestUnreachs"),
                too_big_received: six("Icmp6InPktTooBigs"),
                time_exceeded_received: six("Icmp6InTimeExcds"),
                redirects_received: six("Icmp6InRedirects"),
                errors: six("Icmp6InErrors"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `snmp` and `netstat` of two namespaces said before anything went between them, after a transfer over a path that
    /// drops 2 % of the segments, and after one on which each fiftieth full segment has a wrong checksum.
    const SENDER: [&str; 3] = [
        include_str!("fixtures/0-idle-sender.txt"),
        include_str!("fixtures/1-loss-sender.txt"),
        include_str!("fixtures/2-checksum-sender.txt"),
    ];
    const RECEIVER: [&str; 3] = [
        include_str!("fixtures/0-idle-receiver.txt"),
        include_str!("fixtures/1-loss-receiver.txt"),
        include_str!("fixtures/2-checksum-receiver.txt"),
    ];

    fn tcp(texts: &[&str; 3], to: usize) -> TcpCounts {
        let read = |text: &str| Four::of(&pairs(text), &pairs(text)).tcp;
        read(texts[to]).since(&read(texts[to - 1]))
    }

    #[test]
    fn loss_and_wrong_checksums_differ_in_what_the_receiver_counts() {
        let (sender, receiver) = (tcp(&SENDER, 1), tcp(&RECEIVER, 1));
        assert_eq!(
            (sender.sent, sender.retransmitted, receiver.checksum_errors),
            (Some(5618), Some(115), Some(0))
        );
        // What was sent and sent again, less what was lost, came in.
        assert_eq!(receiver.received, Some(5618));
        assert!(receiver.out_of_order > Some(0) && receiver.retransmitted == Some(0), "{receiver:?}");
        let (sender, receiver) = (tcp(&SENDER, 2), tcp(&RECEIVER, 2));
        assert_eq!((sender.retransmitted, receiver.checksum_errors), (Some(113), Some(113)));
        assert!(receiver.unknown().is_empty() && sender.unknown().is_empty());
    }

    #[test]
    fn a_counter_that_a_kernel_lacks_is_unknown_and_so_is_a_sum_with_it() {
        let text = "Tcp: OutSegs RtoMax\nTcp: 7 -1\nTcpExt: TCPDSACKOldSent\nTcpExt: 3\nIp: InReceives\n";
        let four = Four::of(&pairs(text), &pairs(text));
        assert_eq!((four.tcp.sent, four.tcp.received, four.tcp.duplicates_received), (Some(7), None, None));
        assert_eq!(four.ip.received, None, "names without values");
        let six = Six::of(&lines("Ip6InReceives                   \t12264\nUdp6NoPorts\t0\n"));
        assert_eq!((six.ip.received, six.udp.no_port, six.udp.sent), (Some(12264), Some(0), None));
    }
}
