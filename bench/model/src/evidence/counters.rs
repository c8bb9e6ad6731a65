//! The counters of a host, a group each. The same types hold what was read at one moment and the difference of two.
//!
//! A counter that is added to a group in a later build reads as "did not move" in what an earlier build wrote, which never
//! looked at it: give it a group of its own, or a part of [`Evidence`](super::Evidence) that can be absent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A group of counters and what all groups can do.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            $($(#[$about])* #[serde(default = "still", skip_serializing_if = "is_still")] pub $field: Option<u64>,)+
        }

        impl $name {
            /// All of them read, and none moved.
            pub fn still() -> $name {
                $name { $($field: still(),)+ }
            }

            /// What they moved by since `earlier`; what went backwards was set back, and is unknown.
            pub fn since(&self, earlier: &$name) -> $name {
                $name { $($field: moved(self.$field, earlier.$field),)+ }
            }

            /// Whether all were read and none moved.
            pub fn is_still(&self) -> bool {
                true $(&& is_still(&self.$field))+
            }

            /// Those that could not be read.
            pub fn unknown(&self) -> Vec<&'static str> {
                [$((stringify!($field), self.$field),)+]
                    .into_iter()
                    .filter_map(|(name, value)| value.is_none().then_some(name))
                    .collect()
            }
        }
    };
}

/// A group of counters of which a document holds many: it can stand in columns as well.
macro_rules! counters_in_columns {
    ($(#[$doc:meta])* $name:ident, $columns:ident { $($(#[$about:meta])* $field:ident,)+ }) => {
        counters! { $(#[$doc])* $name { $($(#[$about])* $field,)+ } }

        #[doc = concat!("[`", stringify!($name), "`] of many, a column for each counter. One that is absent did not move in any row, and a single number holds for all rows.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct $columns {
            $($(#[$about])* #[serde(skip_serializing_if = "Vec::is_empty")] pub $field: Vec<Option<u64>>,)+
        }

        impl $columns {
            /// The columns of `rows`.
            pub fn of<'a>(rows: impl Iterator<Item = &'a $name> + Clone) -> $columns {
                $columns { $($field: column(rows.clone().map(|row| row.$field)),)+ }
            }

            /// A row of them.
            pub fn row(&self, row: usize) -> $name {
                $name { $($field: cell(&self.$field, row),)+ }
            }
        }
    };
}

/// Figures of which a document holds many, where one that is absent is unknown: what is added later reads so in what earlier builds wrote.
macro_rules! figures_in_columns {
    ($(#[$doc:meta])* $name:ident, $columns:ident { $($(#[$about:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct $name {
            $($(#[$about])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<u64>,)+
        }

        #[doc = concat!("[`", stringify!($name), "`] of many, a column for each figure. One that is absent is unknown in every row, and a single number holds for all rows.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct $columns {
            $($(#[$about])* #[serde(skip_serializing_if = "Vec::is_empty")] pub $field: Vec<Option<u64>>,)+
        }

        impl $columns {
            /// The columns of `rows`.
            pub fn of<'a>(rows: impl Iterator<Item = &'a $name> + Clone) -> $columns {
                $columns { $($field: known_column(rows.clone().map(|row| row.$field)),)+ }
            }

            /// A row of them.
            pub fn row(&self, row: usize) -> $name {
                $name { $($field: of_row(&self.$field, row),)+ }
            }
        }
    };
}

fn known_column(cells: impl Iterator<Item = Option<u64>> + Clone) -> Vec<Option<u64>> {
    if cells.clone().all(|cell| cell.is_none()) { vec![] } else { shortest(cells.collect()) }
}

fn column(cells: impl Iterator<Item = Option<u64>> + Clone) -> Vec<Option<u64>> {
    if cells.clone().all(|cell| is_still(&cell)) { vec![] } else { shortest(cells.collect()) }
}

fn cell(column: &[Option<u64>], row: usize) -> Option<u64> {
    if column.is_empty() { still() } else { of_row(column, row) }
}

/// A column whose rows are all alike as a single one, which holds for all.
pub(crate) fn shortest<T: PartialEq>(mut column: Vec<T>) -> Vec<T> {
    if column.windows(2).all(|pair| pair[0] == pair[1]) {
        column.truncate(1);
    }
    column
}

/// A row of such a column; one that is not there is unknown.
pub(crate) fn of_row<T: Copy>(column: &[Option<T>], row: usize) -> Option<T> {
    match column {
        [only] => *only,
        column => column.get(row).copied().flatten(),
    }
}

/// A counter that was read and did not move.
pub(crate) fn still() -> Option<u64> {
    Some(0)
}

/// Whether it did not.
pub(crate) fn is_still(value: &Option<u64>) -> bool {
    *value == Some(0)
}

fn moved(now: Option<u64>, then: Option<u64>) -> Option<u64> {
    now?.checked_sub(then?)
}

counters! {
    /// TCP as the kernel counts it (`Tcp` of RFC 4022, and `TcpExt` of Linux), in segments where nothing else is said.
    TcpCounts {
        /// Sent, repeated ones not included (`OutSegs`).
        sent,
        /// Received (`InSegs`).
        received,
        /// Sent again (`RetransSegs`).
        retransmitted,
        /// Received with an error (`InErrs`).
        received_errors,
        /// Received with a wrong checksum, and thrown away (`InCsumErrors`).
        checksum_errors,
        /// Resets sent (`OutRsts`).
        resets_sent,
        /// Connections that were reset (`EstabResets`).
        connections_reset,
        /// Attempts to connect that failed (`AttemptFails`).
        attempts_failed,
        /// SYN and SYN-ACK sent again (`TCPSynRetrans`).
        syn_retransmits,
        /// Retransmission timers that ran out (`TCPTimeouts`).
        timeouts,
        /// Of those, timers that had run out for nothing (`TCPSpuriousRTOs`).
        spurious_timeouts,
        /// Segments sent again that were lost again (`TCPLostRetransmit`).
        lost_retransmits,
        /// Sent again on the peer's word, before a timer ran out (`TCPFastRetrans`).
        fast_retransmits,
        /// Probes for a lost tail (`TCPLossProbes`).
        loss_probes,
        /// Received twice: the peer was told (`TCPDSACKOldSent`, `TCPDSACKOfoSent`).
        duplicates_received,
        /// The peer told that it received something twice (`TCPDSACKRecv`).
        duplicates_reported,
        /// Times that the path was found to reorder (`TCPSACKReorder`, `TCPTSReorder`, `TCPRenoReorder`).
        reorderings,
        /// Received ahead of what was still missing (`TCPOFOQueue`).
        out_of_order,
        /// Thrown away because a receive queue was full (`TCPRcvQDrop`, `TCPOFODrop`, `TCPBacklogDrop`).
        receive_queue_drops,
        /// Times that receive queues were pruned for want of memory (`PruneCalled`).
        prunes,
        /// Times that a receiver closed its window altogether (`TCPToZeroWindowAdv`).
        zero_windows,
        /// Probes sent into a closed window (`TCPWinProbe`).
        window_probes,
        /// Connections refused because a listener's queue was full (`ListenOverflows`).
        listen_overflows,
        /// Connections refused by a listener for any reason (`ListenDrops`).
        listen_drops,
        /// Connections given up after too many repetitions (`TCPAbortOnTimeout`).
        gave_up,
        /// Segments whose time stamp was too old, and that were thrown away (`PAWSEstab`).
        old_timestamps,
        /// Path MTU probes that failed (`TCPMTUPFail`).
        mtu_probes_failed,
        /// Segments that the peer confirmed to have come with a mark of congestion (`TCPDeliveredCE`).
        delivered_with_congestion_mark,
    }
}

counters! {
    /// What became of what TCP's options ask for, as Linux counts it.
    TcpOptionCounts {
        /// SYNs that were answered by a cookie (`SyncookiesSent`): the host remembers nothing of what was asked for.
        cookies_sent,
        /// Connections that were accepted by such a cookie (`SyncookiesRecv`).
        cookies_accepted,
        /// Selective acknowledgements that name nothing which was sent, and that were thrown away (`TCPSACKDiscard`).
        sack_discarded,
    }
}

counters! {
    /// UDP (RFC 4113), in datagrams.
    UdpCounts {
        /// Sent (`OutDatagrams`).
        sent,
        /// Received and handed on (`InDatagrams`).
        received,
        /// For a port where nobody listened (`NoPorts`).
        no_port,
        /// Thrown away because the socket's buffer was full (`RcvbufErrors`).
        receive_buffer_drops,
        /// Not sent because the socket's buffer was full (`SndbufErrors`).
        send_buffer_drops,
        /// Thrown away for a wrong checksum (`InCsumErrors`).
        checksum_errors,
    }
}

counters! {
    /// IP (RFC 4293), in packets.
    IpCounts {
        /// Received (`InReceives`).
        received,
        /// Sent (`OutRequests`).
        sent,
        /// Forwarded between interfaces.
        forwarded,
        /// Thrown away for a bad header (`InHdrErrors`).
        header_errors,
        /// For an address that is not this host's (`InAddrErrors`).
        address_errors,
        /// Cut short (`InTruncatedPkts`).
        truncated,
        /// Received and thrown away for want of something, or by a rule (`InDiscards`).
        receive_discards,
        /// Thrown away on the way out for want of something, or by a rule (`OutDiscards`).
        send_discards,
        /// Received, with no route onwards (`InNoRoutes`).
        receive_no_route,
        /// Not sent for want of a route (`OutNoRoutes`).
        send_no_route,
        /// Packets whose fragments did not become whole (`ReasmFails`).
        reassembly_failures,
        /// Packets that had to be cut and must not (`FragFails`).
        fragmentation_failures,
        /// Fragments made (`FragCreates`).
        fragments_made,
        /// Received with a mark of congestion (`InCEPkts`).
        congestion_marks,
        /// Received from senders that take such marks (`InECT0Pkts`, `InECT1Pkts`).
        congestion_capable,
        /// Refused because the way back to their source leads out of another interface (`IPReversePathFilter`, IPv4).
        reverse_path_drops,
    }
}

counters! {
    /// Fragments of IP packets (RFC 4293).
    FragmentCounts {
        /// Fragments received (`ReasmReqds`).
        received,
        /// Packets that became whole of them (`ReasmOKs`).
        made_whole,
        /// Packets of which a fragment did not come in time (`ReasmTimeout`).
        timed_out,
        /// Packets that this host cut into fragments (`FragOKs`).
        cut,
    }
}

counters! {
    /// ICMP and ICMPv6, in messages.
    IcmpCounts {
        /// Received: destination unreachable, which for IPv4 includes "fragmentation needed".
        unreachable_received,
        /// Sent, likewise.
        unreachable_sent,
        /// Received: packet too big (ICMPv6).
        too_big_received,
        /// Received: time exceeded.
        time_exceeded_received,
        /// Received: go by another router.
        redirects_received,
        /// Received with an error.
        errors,
    }
}

counters! {
    /// The kernel's receive path before any protocol, over all processors (`/proc/net/softnet_stat`).
    SoftnetCounts {
        /// Packets dropped because a processor's backlog was full.
        dropped,
        /// Times that a processor had to leave packets for its next turn.
        squeezed,
    }
}

counters! {
    /// What an interface counts (RFC 2863, and `rtnl_link_stats64` of Linux).
    NicCounts {
        /// Bytes sent, headers included.
        sent_bytes,
        /// Bytes received, headers included.
        received_bytes,
        /// Packets sent.
        sent_packets,
        /// Packets received.
        received_packets,
        /// Packets that could not be sent for an error.
        send_errors,
        /// Packets received with an error.
        receive_errors,
        /// Of those, with a wrong check sequence: a bad cable, plug or transceiver.
        receive_crc_errors,
        /// Packets dropped on the way out.
        send_drops,
        /// Packets received and dropped.
        receive_drops,
        /// Packets that found the adapter's ring full.
        receive_missed,
        /// Packets that overran the adapter or the ring.
        receive_overruns,
        /// Collisions, and packets that came too late for one.
        collisions,
        /// Packets that could not be sent because the carrier was lost.
        send_carrier_errors,
        /// Times that the carrier came or went.
        carrier_changes,
    }
}

counters_in_columns! {
    /// What the kernel counted of one connection since it came about, and what it knew of it in the end.
    ConnectionCounts, ConnectionColumns {
        /// The peer's windows are shifted by so many bits.
        send_window_shift,
        /// This end's windows are.
        receive_window_shift,
        /// Retransmission timer, in ns.
        retransmit_timer_ns,
        /// Segment size used for sending, in bytes.
        send_segment_bytes,
        /// Segment size seen when receiving, in bytes.
        receive_segment_bytes,
        /// Segment size that this end announced, in bytes.
        announced_segment_bytes,
        /// Path MTU that the kernel assumed, in bytes.
        path_ip_mtu_bytes,
        /// Smoothed round trip, in ns.
        rtt_ns,
        /// Smallest round trip, in ns.
        rtt_min_ns,
        /// Congestion window, in segments.
        congestion_window_segments,
        /// The peer's window, in bytes.
        send_window_bytes,
        /// The window that this end announced, in bytes.
        receive_window_bytes,
        /// Segments on the way in the end.
        unacknowledged_segments,
        /// Of them, segments taken for lost.
        lost_segments,
        /// Bytes that had not left.
        not_sent_bytes,
        /// Segments sent again.
        retransmitted_segments,
        /// Bytes sent again.
        retransmitted_bytes,
        /// Bytes sent, repeated ones included.
        sent_bytes,
        /// Bytes received in order.
        received_bytes,
        /// Segments that the peer said it had already: sent again for nothing, or doubled on the way.
        duplicates_reported,
        /// Times that the path was seen to reorder.
        reorderings,
        /// Segments received ahead of what was missing.
        received_out_of_order,
        /// Segments confirmed by the peer.
        delivered_segments,
        /// Of them, those that came with a mark of congestion.
        delivered_with_congestion_mark,
        /// Times that the retransmission timer ran out.
        timeouts,
        /// Time with something to send, in ns.
        busy_ns,
        /// Of it, time held back by the peer's window, in ns.
        receive_window_limited_ns,
        /// Of it, time held back by this end's send buffer, in ns.
        send_buffer_limited_ns,
        /// Rate of the last delivery, in bit/s.
        delivery_bits_per_s,
    }
}

figures_in_columns! {
    /// More of what the kernel knew of one connection in the end.
    ConnectionFigures, ConnectionFigureColumns {
        /// How much round trips vary, in ns.
        rtt_variation_ns,
        /// The congestion window at which growth slows down, in segments; absent where nothing was taken for lost yet.
        slow_start_threshold_segments,
        /// The pace at which the kernel sent, in bit/s; absent where it had none.
        pacing_bits_per_s,
    }
}

counters! {
    /// A queueing discipline, in packets.
    QueueCounts {
        /// Dropped.
        drops,
        /// Times that something had to wait for its rate or its turn (`overlimits`).
        held_back,
        /// Given back by the adapter.
        requeues,
    }
}

counters! {
    /// What an adapter counts of one priority (802.1p); `null` where its driver has no counter for that.
    PriorityCounts {
        /// Packets received and thrown away.
        receive_discards,
        /// Packets thrown away on the way out.
        send_discards,
        /// Pause frames of the link partner, which asked for this priority to be held back (802.1Qbb).
        pauses_received,
        /// Pause frames that the adapter sent because it was behind.
        pauses_sent,
        /// Packets that the adapter marked as congested.
        congestion_marks,
    }
}

counters! {
    /// Connection tracking (`/proc/net/stat/nf_conntrack`), in packets.
    ConntrackCounts {
        /// Dropped because a new connection could not be taken in: the table was full.
        dropped,
        /// Connections that were thrown out to make room.
        dropped_early,
        /// Connections that could not be entered.
        insert_failed,
        /// Packets that belong to no connection.
        invalid,
    }
}
