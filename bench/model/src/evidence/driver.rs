//! What a NIC's driver counts for itself, sorted by what it means.
//!
//! Linux leaves the names to the drivers. The ones below are those of mlx5, mlx4, ice, i40e, ixgbe, igb, e1000e, bnxt_en, bnx2x, tg3,
//! qede, be2net, cxgb4, ena, gve, hv_netvsc, vmxnet3 and virtio_net, recognised by the words that they share. A name that is not
//! recognised says nothing; it never becomes a zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one driver counted during a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriverActivity {
    /// The interface.
    pub nic: String,
    /// The counters that moved, as far as their meaning is known.
    pub counters: Vec<DriverCounter>,
}

/// One counter of a driver that moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriverCounter {
    /// The driver's name for it.
    pub name: String,
    /// What it means.
    pub meaning: DriverMeaning,
    /// By how much it moved.
    pub moved_by: u64,
}

/// What a driver's counter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriverMeaning {
    /// Pause frames of the link partner, which asked this NIC to stop sending (IEEE 802.3 annex 31B, 802.1Qbb).
    PauseReceived,
    /// Pause frames that this NIC sent because it was behind.
    PauseSent,
    /// Packets that the NIC had received and for which the host had no buffer ready.
    NoReceiveBuffer,
    /// Frames that arrived damaged: checksum, symbol or error correction. The cable, the transceiver or a port.
    LinkError,
    /// Packets that the machine's platform held back or dropped because the instance was over its allowance (clouds).
    Policed,
    /// Packets with a mark of congestion, or notices of congestion (RoCE v2 CNP).
    CongestionMark,
    /// Anything else that was thrown away.
    Discard,
    /// A meaning that only a later build knows.
    #[serde(other)]
    Other,
}

impl DriverMeaning {
    /// What the driver's counter `name` means, as far as that can be told from its words.
    pub fn of(name: &str) -> Option<DriverMeaning> {
        use DriverMeaning::*;
        let name = name.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        // How long or how often a state was entered is not a count of frames, and software paths are not the wire.
        if has(&["duration", "transition", "xdp", "_us", "tls", "ipsec", "macsec", "csum", "watermark"]) {
            return None;
        }
        if has(&["pause", "xoff", "rxppp", "txppp", "pfc_ena_frames", "pfc_frames"]) {
            let sent = has(&[
                "tx_p",
                "tx_x",
                "_tx",
                "xoff_tx",
                "txpause",
                "txppp",
                "tx_flow",
                "tx_global",
                "xoff_sent",
            ]);
            let sent = sent && !has(&["rx_p", "_rx", "rx_flow", "rx_global", "rcvd"]);
            return Some(if sent { PauseSent } else { PauseReceived });
        }
        if has(&["allowance_exceeded", "rate_limit_drop"]) {
            return Some(Policed);
        }
        if has(&["ecn_mark", "cnp_sent", "cnp_handled", "_marked"]) {
            return Some(CongestionMark);
        }
        if has(&[
            "crc",
            "fcs_err",
            "symbol_err",
            "uncorrectable",
            "align_err",
            "jabber",
            "rx_length_err",
            "bad_octets",
        ]) {
            return Some(LinkError);
        }
        let buffers = [
            "out_of_buffer",
            "no_buff",
            "no_dma",
            "rxbds_empty",
            "no_pbuf",
            "rx_missed",
            "no_memory",
            "pkts rx oob",
        ];
        let full = [
            "rx_discards_phy",
            "buf_discard",
            "cong_discard",
            "resource_discards",
            "brb_discard",
            "rx_no_desc",
        ];
        if has(&buffers) || has(&full) {
            return Some(NoReceiveBuffer);
        }
        has(&["drop", "discard"]).then_some(Discard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DriverMeaning::*;

    #[test]
    fn counters_of_known_drivers_are_recognised() {
        let known = [
            // mlx5
            ("rx_prio3_pause", Some(PauseReceived)),
            ("tx_prio3_pause", Some(PauseSent)),
            ("rx_global_pause", Some(PauseReceived)),
            ("tx_global_pause", Some(PauseSent)),
            ("rx_prio3_pause_duration", None),
            ("rx_prio3_pause_transition", None),
            ("rx_out_of_buffer", Some(NoReceiveBuffer)),
            ("rx_discards_phy", Some(NoReceiveBuffer)),
            ("tx_discards_phy", Some(Discard)),
            ("rx_prio0_buf_discard", Some(NoReceiveBuffer)),
            ("rx_crc_errors_phy", Some(LinkError)),
            ("rx_symbol_err_phy", Some(LinkError)),
            ("rx_ecn_mark", Some(CongestionMark)),
            ("rx_prio3_marked", Some(CongestionMark)),
            ("rx_csum_none", None),
            ("rx_vport_unicast_bytes", None),
            ("rx_packets", None),
            // ice, i40e, ixgbe, igb, e1000e
            ("link_xoff_rx.nic", Some(PauseReceived)),
            ("link_xoff_tx.nic", Some(PauseSent)),
            ("link_xon_rx.nic", None),
            ("rx_flow_control_xoff", Some(PauseReceived)),
            ("tx_flow_control_xoff", Some(PauseSent)),
            ("tx_pb_3_pxoff", Some(PauseSent)),
            ("rx_pb_3_pxoff", Some(PauseReceived)),
            ("rx_crc_errors.nic", Some(LinkError)),
            ("rx_no_buffer_count", Some(NoReceiveBuffer)),
            ("rx_no_dma_resources", Some(NoReceiveBuffer)),
            ("rx_missed_errors", Some(NoReceiveBuffer)),
            ("rx_dropped.nic", Some(Discard)),
            ("rx_csum_offload_errors", None),
            // bnxt_en, tg3, cxgb4, be2net, qede
            ("rx_pause_frames", Some(PauseReceived)),
            ("tx_pause_frames", Some(PauseSent)),
            ("rx_pfc_ena_frames_pri3", Some(PauseReceived)),
            ("tx_pfc_ena_frames_pri3", Some(PauseSent)),
            ("rx_fcs_err_frames", Some(LinkError)),
            ("rx_xoff_pause_rcvd", Some(PauseReceived)),
            ("tx_xoff_sent", Some(PauseSent)),
            ("RxPPP3", Some(PauseReceived)),
            ("TxPPP3", Some(PauseSent)),
            ("TxPause", Some(PauseSent)),
            ("rx_drops_no_pbuf", Some(NoReceiveBuffer)),
            ("no_buff_discards", Some(NoReceiveBuffer)),
            // Virtual machines and clouds.
            ("bw_in_allowance_exceeded", Some(Policed)),
            ("pps_allowance_exceeded", Some(Policed)),
            ("pkts rx OOB", Some(NoReceiveBuffer)),
            ("rx_queue_0_drops", Some(Discard)),
            ("rx_drops", Some(Discard)),
            ("rx_queue_0_xdp_drops", None),
            ("peer_ifindex", None),
        ];
        for (name, meaning) in known {
            assert_eq!(DriverMeaning::of(name), meaning, "{name}");
        }
    }
}
