//! The options of lanes that both ends must use alike, and the closed lists that they are chosen from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a stripe shares its work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// To the path with the fewest outstanding messages.
    Fewest,
    /// By the rate that each path has shown.
    Weighted,
    /// All to the first that lives.
    Ordered,
}

/// How queue pairs find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connect {
    /// By what crossed the control channel.
    Qp,
    /// By the connection manager.
    Cm,
}

/// When memory is registered with an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// All of it before the run.
    UpFront,
    /// Each message's while it is under way.
    PerChunk,
    /// As up-front, reached by a memory window.
    Window,
}

/// Name of a TCP congestion control, of the form that the kernel's names have. A server uses it only if its kernel has
/// it already (`net.ipv4.tcp_available_congestion_control`): asking the kernel for another one loads a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Congestion(String);

impl Congestion {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Congestion {
    type Error = String;
    fn try_from(name: String) -> Result<Congestion, String> {
        // TCP_CA_NAME_MAX of the kernel, its closing zero included, is 16.
        let fits = (1..16).contains(&name.len());
        match fits && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            true => Ok(Congestion(name)),
            false => Err(format!(
                "congestion={name:?} is no name of a congestion control; see net.ipv4.tcp_available_congestion_control"
            )),
        }
    }
}

impl From<Congestion> for String {
    fn from(congestion: Congestion) -> String {
        congestion.0
    }
}

/// The options of a transport that both ends must use alike. All others stay where they were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneOptions {
    /// TCP: congestion control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<Congestion>,
    /// Stripe: how work is shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Stripe: silence after which a path is given up, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<u16>,
    /// Stripe: whether a dead path is reconnected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<bool>,
    /// RDMA: upper limit of the path MTU in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<u16>,
    /// RDMA: traffic class of the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_class: Option<u8>,
    /// RDMA: exponent of the acknowledgement timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout: Option<u8>,
    /// RDMA: how often a packet is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// RDMA: bytes that are sent within the work request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<u16>,
    /// RDMA: how often a completion is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_every: Option<u32>,
    /// RDMA: how queue pairs find each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// RDMA: when memory is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// Options that would choose something of the other host's.
const THEIRS: [&str; 3] = ["peer_device", "peer_gid", "peer_port"];

impl LaneOptions {
    /// Those of `options` that cross. Names that are not listed here stay; the transport of this end knows them, or
    /// refuses them.
    pub fn of(options: &BTreeMap<String, String>) -> Result<LaneOptions, String> {
        if let Some(name) = options.keys().find(|name| THEIRS.contains(&name.as_str())) {
            return Err(format!(
                "{name} would choose a device of the peer's, which only the peer may do: start it with `pathproof serve \
                 --device DEVICE`"
            ));
        }
        fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, String> {
            text.parse().map(Some).map_err(|_| format!("option {name}={text} is not a number that fits"))
        }
        fn choice<T: Copy>(name: &str, text: &str, all: &[(&str, T)]) -> Result<Option<T>, String> {
            let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
            let found = all.iter().find(|(name, _)| *name == text);
            found
                .map(|(_, value)| Some(*value))
                .ok_or_else(|| format!("option {name}={text}: it takes {}", names()))
        }
        let mut shared = LaneOptions::default();
        for (name, text) in options {
            match name.as_str() {
                "congestion" => shared.congestion = Some(text.clone().try_into()?),
                "share" => shared.share = choice(name, text, &SHARES)?,
                "stall_ms" => shared.stall_ms = number(name, text)?,
                "rejoin" => shared.rejoin = choice(name, text, &[("yes", true), ("no", false)])?,
                "path_mtu" => shared.path_mtu = number(name, text)?,
                "traffic_class" => shared.traffic_class = number(name, text)?,
                "ack_timeout" => shared.ack_timeout = number(name, text)?,
                "retries" => shared.retries = number(name, text)?,
                "inline" => shared.inline = number(name, text)?,
                "signal_every" => shared.signal_every = number(name, text)?,
                "connect" => shared.connect = choice(name, text, &CONNECTS)?,
                "registration" => shared.registration = choice(name, text, &REGISTRATIONS)?,
                _ => {}
            }
        }
        Ok(shared)
    }

    /// In the form that a transport takes.
    pub(super) fn to_options(&self) -> BTreeMap<String, String> {
        fn named<T: PartialEq>(value: Option<T>, all: &[(&str, T)]) -> Option<String> {
            all.iter().find(|(_, v)| value.as_ref() == Some(v)).map(|(name, _)| (*name).to_owned())
        }
        fn text(value: Option<impl ToString>) -> Option<String> {
            value.map(|v| v.to_string())
        }
        let all = [
            ("congestion", self.congestion.as_ref().map(|c| c.0.clone())),
            ("share", named(self.share, &SHARES)),
            ("stall_ms", text(self.stall_ms)),
            ("rejoin", named(self.rejoin, &[("yes", true), ("no", false)])),
            ("path_mtu", text(self.path_mtu)),
            ("traffic_class", text(self.traffic_class)),
            ("ack_timeout", text(self.ack_timeout)),
            ("retries", text(self.retries)),
            ("inline", text(self.inline)),
            ("signal_every", text(self.signal_every)),
            ("connect", named(self.connect, &CONNECTS)),
            ("registration", named(self.registration, &REGISTRATIONS)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

const SHARES: [(&str, Share); 3] =
    [("fewest", Share::Fewest), ("weighted", Share::Weighted), ("ordered", Share::Ordered)];
const CONNECTS: [(&str, Connect); 2] = [("qp", Connect::Qp), ("cm", Connect::Cm)];
const REGISTRATIONS: [(&str, Registration); 3] = [
    ("up-front", Registration::UpFront),
    ("per-chunk", Registration::PerChunk),
    ("window", Registration::Window),
];
