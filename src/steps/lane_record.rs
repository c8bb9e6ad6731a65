//! What a lane says of itself at its end, as it stands in results.

use pathproof_api::{AdapterStats, LaneSample, StripeStats, TcpConnection};
use pathproof_model::evidence::ConnectionFigures;
use pathproof_model::{AdapterRecord, Connection, ConnectionCounts, Fabric, PathRecord, StripeRecord};

/// The record of the adapter that a lane went by.
pub fn adapter(stats: AdapterStats) -> AdapterRecord {
    AdapterRecord {
        device: stats.device,
        port: stats.port,
        fabric: fabric(stats.fabric),
        gid: stats.gid,
        path_mtu_bytes: stats.path_mtu_bytes,
        active_mtu_bytes: stats.active_mtu_bytes,
        ip_mtu_bytes: stats.ip_mtu_bytes,
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
        depth_reduced: stats.depth_reduced,
    }
}

/// What carries RDMA, as it stands in results.
pub fn fabric(of: pathproof_api::Fabric) -> Fabric {
    match of {
        pathproof_api::Fabric::InfiniBand => Fabric::InfiniBand,
        pathproof_api::Fabric::Roce => Fabric::Roce,
        pathproof_api::Fabric::Iwarp => Fabric::Iwarp,
        pathproof_api::Fabric::Unknown => Fabric::Unknown,
    }
}

/// The record of a lane over several paths. A stripe of one path is the inner lane itself, which knows of no paths: what it
/// moved is what its path moved.
pub fn stripe(stats: Option<StripeStats>, last: &LaneSample) -> StripeRecord {
    let Some(stats) = stats else {
        let only = PathRecord {
            sent_bytes: last.bytes_sent,
            received_bytes: last.bytes_received,
            ..PathRecord::default()
        };
        return StripeRecord {
            paths: vec![only],
            accepted_bytes: last.bytes_sent,
            arrived_bytes: last.bytes_received,
            ..StripeRecord::default()
        };
    };
    let path = |path: &pathproof_api::PathStats| PathRecord {
        sent_bytes: path.sent_bytes,
        received_bytes: path.received_bytes,
        deaths: path.deaths,
        noticed_after_ns: path.noticed_after_ns,
        lost_at_tick_ns: path.lost_at_tick_ns,
        carried_again_at_tick_ns: path.carried_again_at_tick_ns,
        connection: path.connection.map(connection),
    };
    StripeRecord {
        paths: stats.paths.iter().map(path).collect(),
        replayed_messages: stats.replayed_messages,
        replayed_bytes: stats.replayed_bytes,
        rejoined: stats.rejoined,
        staged_messages: stats.staged_messages,
        duplicates_discarded: stats.duplicates_discarded,
        discarded_bytes: stats.discarded_bytes,
        doubled_bytes: stats.doubled_bytes,
        gap_longest_ns: Some(stats.gap_longest_ns),
        accepted_bytes: stats.accepted_bytes,
        confirmed_bytes: Some(stats.confirmed_bytes),
        arrived_bytes: stats.arrived_bytes,
    }
}

/// What the kernel knew of a lane's connection.
pub fn connection(of: TcpConnection) -> Connection {
    Connection {
        timestamps: of.timestamps,
        selective_acknowledgements: of.selective_acknowledgements,
        window_scaling: of.window_scaling,
        congestion_marks: of.congestion_marks,
        application_limited: of.application_limited,
        counts: ConnectionCounts {
            send_window_shift: of.send_window_shift,
            receive_window_shift: of.receive_window_shift,
            retransmit_timer_ns: of.retransmit_timer_ns,
            send_segment_bytes: of.send_segment_bytes,
            receive_segment_bytes: of.receive_segment_bytes,
            announced_segment_bytes: of.announced_segment_bytes,
            path_ip_mtu_bytes: of.path_ip_mtu_bytes,
            rtt_ns: of.rtt_ns,
            rtt_min_ns: of.rtt_min_ns,
            congestion_window_segments: of.congestion_window_segments,
            send_window_bytes: of.send_window_bytes,
            receive_window_bytes: of.receive_window_bytes,
            unacknowledged_segments: of.unacknowledged_segments,
            lost_segments: of.lost_segments,
            not_sent_bytes: of.not_sent_bytes,
            retransmitted_segments: of.retransmitted_segments,
            retransmitted_bytes: of.retransmitted_bytes,
            sent_bytes: of.sent_bytes,
            received_bytes: of.received_bytes,
            duplicates_reported: of.duplicates_reported,
            reorderings: of.reorderings,
            received_out_of_order: of.received_out_of_order,
            delivered_segments: of.delivered_segments,
            delivered_with_congestion_mark: of.delivered_with_congestion_mark,
            timeouts: of.timeouts,
            busy_ns: of.busy_ns,
            receive_window_limited_ns: of.receive_window_limited_ns,
            send_buffer_limited_ns: of.send_buffer_limited_ns,
            delivery_bits_per_s: of.delivery_bits_per_s,
        },
        figures: ConnectionFigures {
            rtt_variation_ns: of.rtt_variation_ns,
            slow_start_threshold_segments: of.slow_start_threshold_segments,
            pacing_bits_per_s: of.pacing_bits_per_s,
        },
    }
}
