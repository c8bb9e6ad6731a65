//! What TCP, UDP, IP and ICMP count in the network namespace of this process, by the names of the MIBs and of Linux.

use pathproof_model::evidence::{
    FragmentCounts, IcmpCounts, IpCounts, TcpCounts, TcpOptionCounts, UdpCounts,
};
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::counters::{self, Counters};

use super::{About, Evidence};

/// All of them at one moment.
pub struct Protocols {
    /// TCP, and version 4 of the others.
    four: Result<Four, String>,
    /// Version 6; a kernel without it does not count it.
    six: Result<Six, String>,
}

struct Four {
    tcp: TcpCounts,
    tcp_options: TcpOptionCounts,
    udp: UdpCounts,
    ip: IpCounts,
    fragments: FragmentCounts,
    icmp: IcmpCounts,
}

struct Six {
    udp: UdpCounts,
    ip: IpCounts,
    fragments: FragmentCounts,
    icmp: IcmpCounts,
}

impl Evidence for Protocols {
    fn before(_about: &About) -> Protocols {
        Protocols {
            four: counters::protocols().map(|counters| Four::of(&counters)),
            six: counters::protocols_v6().map(|counters| Six::of(&counters)),
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
                let tcp_options = now.tcp_options.since(&then.tcp_options);
                unknown(record, "tcp_options.", &tcp_options.unknown());
                record.tcp_options = Some(tcp_options);
                unknown(record, "udp.", &udp.unknown());
                unknown(record, "ip.", &ip.unknown());
                unknown(record, "icmp.", &icmp.unknown());
                let fragments = now.fragments.since(&then.fragments);
                unknown(record, "fragments.", &fragments.unknown());
                record.fragments = Some(fragments);
                (record.tcp, record.udp, record.ip, record.icmp) =
                    (Some(tcp), Some(udp), Some(ip), Some(icmp));
            }
            (Err(why), _) | (_, Err(why)) => {
                record.cannot_tell("tcp, tcp_options, udp, ip, icmp, fragments", why)
            }
        }
        match (self.six, now.six) {
            (Ok(then), Ok(now)) => {
                let udp = now.udp.since(&then.udp);
                let ip = now.ip.since(&then.ip);
                let icmp = now.icmp.since(&then.icmp);
                unknown(record, "udp6.", &udp.unknown());
                unknown(record, "ip6.", &ip.unknown());
                unknown(record, "icmp6.", &icmp.unknown());
                let fragments = now.fragments.since(&then.fragments);
                unknown(record, "fragments6.", &fragments.unknown());
                record.fragments6 = Some(fragments);
                (record.udp6, record.ip6, record.icmp6) = (Some(udp), Some(ip), Some(icmp));
            }
            (Err(why), _) | (_, Err(why)) => record.cannot_tell("udp6, ip6, icmp6, fragments6", why),
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

/// The sum of several; unknown where one of them is.
fn sum<const N: usize>(values: [Option<u64>; N]) -> Option<u64> {
    values.into_iter().try_fold(0u64, |sum, value| sum.checked_add(value?))
}

impl Four {
    fn of(counters: &Counters) -> Four {
        let of = |group| move |name| counters.get(group, name);
        let (tcp, more, udp) = (of("Tcp"), of("TcpExt"), of("Udp"));
        let (ip, ip_more, icmp) = (of("Ip"), of("IpExt"), of("Icmp"));
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
            tcp_options: TcpOptionCounts {
                cookies_sent: more("SyncookiesSent"),
                cookies_accepted: more("SyncookiesRecv"),
                sack_discarded: more("TCPSACKDiscard"),
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
            fragments: FragmentCounts {
                received: ip("ReasmReqds"),
                made_whole: ip("ReasmOKs"),
                timed_out: ip("ReasmTimeout"),
                cut: ip("FragOKs"),
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
    fn of(counters: &Counters) -> Six {
        let six = |name| counters.get("", name);
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
            fragments: FragmentCounts {
                received: six("Ip6ReasmReqds"),
                made_whole: six("Ip6ReasmOKs"),
                timed_out: six("Ip6ReasmTimeout"),
                cut: six("Ip6FragOKs"),
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
        let read = |text: &str| Four::of(&counters::protocols_as_written(text)).tcp;
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
        let text = "Tcp: OutSegs\nTcp: 7\nTcpExt: TCPDSACKOldSent\nTcpExt: 3\n";
        let four = Four::of(&counters::protocols_as_written(text));
        assert_eq!((four.tcp.sent, four.tcp.received, four.tcp.duplicates_received), (Some(7), None, None));
        assert_eq!(four.ip.received, None);
    }

    #[test]
    fn cookies_and_acknowledgements_of_no_use_are_counted_apart() {
        let text = "TcpExt: SyncookiesSent SyncookiesRecv TCPSACKDiscard\nTcpExt: 5 4 70\n";
        let told = Four::of(&counters::protocols_as_written(text)).tcp_options;
        let expected =
            TcpOptionCounts { cookies_sent: Some(5), cookies_accepted: Some(4), sack_discarded: Some(70) };
        assert_eq!(told, expected);
        let counts =
            SENDER.map(|text| Four::of(&counters::protocols_as_written(text)).tcp_options.sack_discarded);
        assert_eq!(counts, [Some(0); 3], "losses alone make none");
    }

    #[test]
    fn fragments_are_counted_apart() {
        let text = "Ip: ReasmTimeout ReasmReqds ReasmOKs FragOKs\nIp: 1 7 3 2\n";
        let told = Four::of(&counters::protocols_as_written(text)).fragments;
        let expected =
            FragmentCounts { received: Some(7), made_whole: Some(3), timed_out: Some(1), cut: Some(2) };
        assert_eq!(told, expected);
        let idle = Four::of(&counters::protocols_as_written(SENDER[0])).fragments;
        assert!(idle.unknown().is_empty(), "{idle:?}");
    }
}
