//! Proof that a step's bytes went over RDMA, from the counters of the devices at both ends.

use crate::End;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What carries RDMA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fabric {
    /// An InfiniBand network.
    InfiniBand,
    /// RDMA over Converged Ethernet.
    #[serde(rename = "RoCE")]
    Roce,
    /// RDMA over TCP.
    #[serde(rename = "iWARP")]
    Iwarp,
    /// Something that this build does not know.
    #[default]
    #[serde(rename = "unknown", other)]
    Unknown,
}

/// Which adapter a lane went by, and what it moved over it in its whole life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdapterRecord {
    /// RDMA device.
    pub device: String,
    /// Port of the device.
    pub port: u8,
    /// What carries RDMA there.
    pub fabric: Fabric,
    /// GID used; null on iWARP, which has none.
    pub gid: Option<String>,
    /// RDMA path MTU in use, in bytes; null on iWARP, which has none.
    pub path_mtu_bytes: Option<u32>,
    /// Active RDMA MTU of this end's port, in bytes; null on iWARP.
    pub active_mtu_bytes: Option<u32>,
    /// IP MTU of the network interface below, in bytes.
    pub ip_mtu_bytes: Option<u32>,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Why fewer operations were under way than asked for; null where all were.
    pub depth_reduced: Option<String>,
}

/// What carried a step's payload, as far as counters can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// The device's counters account for the payload.
    Rdma,
    /// The payload went over TCP.
    Tcp,
    /// There are no counters, or they do not tell.
    #[default]
    Unknown,
}

/// The proof of one step (`.steps[].proof`). The first fields are those of the client's end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RdmaProof {
    /// What carried the payload.
    pub transport: Carrier,
    /// RDMA device.
    pub device: Option<String>,
    /// GID used, as an address; `None` on iWARP, which has none.
    pub gid: Option<String>,
    /// RDMA path MTU in bytes; `None` on iWARP, which has none.
    pub path_mtu_bytes: Option<u64>,
    /// Bytes through the device in both directions, headers included.
    pub device_bytes: Option<u64>,
    /// Payload bytes of all lanes in both directions, warm-up and cool-down included.
    pub application_bytes: Option<u64>,
    /// Why `transport` says what it says.
    pub reason: String,
    /// The evidence of each end.
    pub ends: Vec<RdmaEnd>,
}

/// One end's part of the evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RdmaEnd {
    /// Which end.
    pub end: End,
    /// RDMA device.
    pub device: String,
    /// Port of the device.
    pub port: u8,
    /// What carries RDMA there.
    pub fabric: Fabric,
    /// Network interface below.
    pub netdev: Option<String>,
    /// GID used.
    pub gid: Option<String>,
    /// RDMA path MTU in bytes: the smaller of both ends' active ones.
    pub path_mtu_bytes: Option<u64>,
    /// Active RDMA MTU of this end's port, in bytes.
    pub active_mtu_bytes: Option<u64>,
    /// IP MTU of the network interface, in bytes.
    pub ip_mtu_bytes: Option<u64>,
    /// Bytes through the device in both directions, headers included.
    pub device_bytes: Option<u64>,
    /// Which counters those bytes come from.
    pub device_bytes_source: Option<String>,
    /// RDMA packets through the device in both directions.
    pub device_packets: Option<u64>,
    /// Payload bytes of this end's lanes in both directions; `None` at the passive end of one-sided verbs.
    pub application_bytes: Option<u64>,
    /// Every counter of the device and its interface that moved during the step.
    pub counters: BTreeMap<String, u64>,
}

impl RdmaProof {
    /// Weighs the evidence of both ends.
    pub fn weigh(mut ends: Vec<RdmaEnd>) -> RdmaProof {
        // The passive end of one-sided verbs cannot count: what went through it is what the other end counted.
        let most = ends.iter().filter_map(|e| e.application_bytes).max().filter(|bytes| *bytes > 0);
        let one_device = matches!(&ends[..], [a, b] if a.device == b.device && a.netdev == b.netdev);
        for end in &mut ends {
            end.application_bytes = end.application_bytes.filter(|bytes| *bytes > 0).or(most);
        }
        let mut verdicts = ends.iter().map(|end| end.weigh(one_device)).collect::<Vec<_>>();
        verdicts.sort_by_key(|(carrier, _)| match carrier {
            Some(Carrier::Rdma) => 1,
            Some(_) => 0, // evidence against outweighs evidence for
            None => 2,
        });
        let (carrier, reason) = verdicts
            .into_iter()
            .next()
            .unwrap_or_else(|| (None, "neither end said which RDMA device it used".into()));
        let client = ends.iter().find(|e| e.end == End::Client).or(ends.first());
        RdmaProof {
            transport: if carrier == Some(Carrier::Rdma) { Carrier::Rdma } else { Carrier::Unknown },
            device: client.map(|e| e.device.clone()),
            gid: client.and_then(|e| e.gid.clone()),
            path_mtu_bytes: client.and_then(|e| e.path_mtu_bytes),
            device_bytes: client.and_then(|e| e.device_bytes),
            application_bytes: client.and_then(|e| e.application_bytes),
            reason,
            ends,
        }
    }

    /// Whether counters say that the payload did not go through the device.
    pub fn contradicted(&self) -> Option<&RdmaEnd> {
        let one_device = matches!(&self.ends[..], [a, b] if a.device == b.device && a.netdev == b.netdev);
        self.ends.iter().find(|end| end.weigh(one_device).0 == Some(Carrier::Unknown))
    }
}

impl RdmaEnd {
    /// `Rdma`: proven. `Unknown`: counters contradict it. `None`: nothing counts.
    fn weigh(&self, one_device: bool) -> (Option<Carrier>, String) {
        let Some(payload) = self.application_bytes else {
            return (None, "no payload was moved".into());
        };
        let of = format!("{} at the {}", self.device, self.end);
        let mtu = self.path_mtu_bytes.unwrap_or(4096).max(1);
        if let Some(packets) = self.device_packets {
            let needed = payload.div_ceil(mtu);
            if packets >= needed {
                return (
                    Some(Carrier::Rdma),
                    format!(
                        "{of} counted {packets} RDMA packets for {payload} bytes of payload, which need at least {needed}"
                    ),
                );
            }
            return (
                Some(Carrier::Unknown),
                format!(
                    "{of} counted {packets} RDMA packets, and {payload} bytes of payload need at least {needed}"
                ),
            );
        }
        match (self.device_bytes, self.device_bytes_source.as_deref()) {
            (Some(bytes), Some(source)) if bytes >= payload => (
                Some(Carrier::Rdma),
                format!("{of} counted {bytes} bytes ({source}) for {payload} bytes of payload"),
            ),
            // An interface does not see what one device sends to itself.
            (Some(_), _) if one_device => {
                (None, format!("{of} was both ends, which its counters do not show"))
            }
            (Some(bytes), source) => (
                Some(Carrier::Unknown),
                format!(
                    "{of} counted {bytes} bytes ({}), fewer than the {payload} bytes of payload",
                    source.unwrap_or("")
                ),
            ),
            (None, _) => (None, format!("{of} has no counters of bytes or packets")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(end: End, packets: Option<u64>, bytes: Option<u64>, payload: Option<u64>) -> RdmaEnd {
        RdmaEnd {
            end,
            device: format!("{end}0"),
            path_mtu_bytes: Some(1024),
            device_packets: packets,
            device_bytes: bytes,
            device_bytes_source: Some("counters".into()),
            application_bytes: payload,
            ..RdmaEnd::default()
        }
    }

    #[test]
    fn packets_or_bytes_prove_it() {
        let proof = RdmaProof::weigh(vec![
            end(End::Client, Some(2000), None, Some(1 << 20)),
            end(End::Server, None, None, None),
        ]);
        assert_eq!((proof.transport, proof.application_bytes), (Carrier::Rdma, Some(1 << 20)));
        let proof = RdmaProof::weigh(vec![end(End::Client, None, Some(1_100_000), Some(1 << 20))]);
        assert_eq!(proof.transport, Carrier::Rdma);
        assert!(proof.contradicted().is_none());
    }

    #[test]
    fn too_few_packets_or_bytes_contradict_it_even_when_the_other_end_agrees() {
        let proof = RdmaProof::weigh(vec![
            end(End::Client, Some(2000), None, Some(1 << 20)),
            end(End::Server, Some(3), None, Some(1 << 20)),
        ]);
        assert_eq!(proof.transport, Carrier::Unknown);
        assert_eq!(proof.contradicted().map(|e| e.end), Some(End::Server));
        let proof = RdmaProof::weigh(vec![end(End::Client, None, Some(50_000), Some(1 << 20))]);
        assert!(proof.contradicted().is_some(), "{}", proof.reason);
    }

    #[test]
    fn without_counters_or_payload_it_stays_unknown_and_is_not_contradicted() {
        for ends in [
            vec![end(End::Client, None, None, Some(9))],
            vec![end(End::Client, Some(5), Some(5), None)],
            vec![],
        ] {
            let proof = RdmaProof::weigh(ends);
            assert_eq!(proof.transport, Carrier::Unknown);
            assert!(proof.contradicted().is_none());
        }
        let mut twice = end(End::Client, None, Some(10), Some(1 << 20));
        twice.device = "siw0".into();
        let proof = RdmaProof::weigh(vec![twice.clone(), RdmaEnd { end: End::Server, ..twice }]);
        assert!(proof.contradicted().is_none(), "one device sends to itself: {}", proof.reason);
    }
}
