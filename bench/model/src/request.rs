//! What one end asks the other to do: the only words of a plan that cross the wire.
//!
//! **Invariant**: no value of these types names a file, a device, a process, an interface, an address, a pattern of
//! writes, a recorded log or a fault to inject. They carry numbers, switches and choices from closed lists, so neither
//! end can be made to touch anything by what the other one says. What is missing here is an affair of the end that
//! was given it on its own command line ([`StepSpec`]), and stays there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::migrate::DiskSpec;
use crate::{Direction, MigrateSpec, MtuSpec, Plan, ReachSpec, RequestLoad, StepKind, StepSpec, TrafficSpec};

/// A plan as the client announces it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// Seed of the bytes that both ends must generate alike.
    pub seed: u64,
    /// The steps in order.
    pub steps: Vec<StepRequest>,
}

/// One step as the client asks for the server's part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum StepRequest {
    /// Facts.
    Facts,
    /// Round trips over the control channel.
    Reach(ReachRequest),
    /// Path MTU.
    Mtu(MtuRequest),
    /// Bulk throughput.
    Stream(TrafficRequest),
    /// Ping-pong latency.
    Pingpong(TrafficRequest),
    /// Requests and replies.
    Request(TrafficRequest),
    /// A destination for a migration.
    Migrate(MigrateRequest),
}

/// See [`ReachSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachRequest {
    /// Round trips.
    pub count: u32,
}

/// See [`MtuSpec`]. Which NICs to look at is each end's own affair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtuRequest {
    /// A size to try in any case, as an IP MTU.
    pub expect_ip_mtu_bytes: Option<u32>,
    /// Look at IPv4.
    pub ipv4: bool,
    /// Look at IPv6.
    pub ipv6: bool,
}

/// See [`TrafficSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficRequest {
    /// Transport.
    pub over: Over,
    /// Which way, as the client sees it.
    pub direction: Direction,
    /// Lanes per direction.
    pub lanes: u32,
    /// Message size in bytes.
    pub size_bytes: u32,
    /// Reply size in bytes; `None` means as large as the request.
    pub reply_bytes: Option<u32>,
    /// Operations outstanding per lane.
    pub depth: u32,
    /// Measured window in ns.
    pub time_ns: u64,
    /// Before the window, in ns.
    pub warmup_ns: u64,
    /// After the window, in ns.
    pub cooldown_ns: u64,
    /// Payload rate over all lanes in bit/s.
    pub rate_bits_per_s: Option<u64>,
    /// Requests per second over all lanes.
    pub requests_per_s: Option<u64>,
    /// Open or closed loop.
    pub load: RequestLoad,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    /// Send without copying into the kernel.
    pub zero_copy: bool,
    /// Throw received bytes away.
    pub discard: bool,
    /// Verify received bytes.
    pub verify: bool,
    /// Upper limit of the TCP segment size in bytes.
    pub max_segment_bytes: Option<u32>,
    /// Pin lane threads to CPUs.
    pub pin: bool,
    /// Memory on huge pages.
    pub huge_pages: bool,
    /// Tell the client when a link of the server's goes down or comes back during the step.
    pub watch_links: bool,
    /// Verb, where the transport has a choice.
    pub verb: Option<Verb>,
    /// What only the transport understands.
    pub lane: LaneOptions,
}

/// See [`MigrateSpec`]. The destination needs to know how much comes, and over how many lanes; what the guest is, what
/// it does and who decides is the source's affair alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// Transport.
    pub over: Over,
    /// Memory of one guest in bytes.
    pub memory_bytes: u64,
    /// Guests that move at once.
    pub parallel: u32,
    /// Lanes per guest.
    pub lanes: u32,
    /// Largest single write in bytes.
    pub chunk_bytes: u32,
    /// Size of the storage that moves too; only hashes of it are kept.
    pub disk_bytes: Option<u64>,
    /// The live rounds end after so long, in ns.
    pub time_limit_ns: Option<u64>,
    /// What only the transport understands.
    pub lane: LaneOptions,
}

/// The transports, by the names that `--over` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// One TCP connection for each lane.
    Tcp,
    /// Several for each lane, over several NICs.
    Multi,
    /// Queue pairs.
    Rdma,
}

/// Verbs of a stream or ping-pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Two-sided.
    Send,
    /// One-sided.
    Write,
    /// One-sided.
    Read,
}

/// How a stripe shares its work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// To the path with the fewest outstanding messages.
    Fewest,
    /// By the rate that each path has shown.
    Weighted,
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
    fn to_options(&self) -> BTreeMap<String, String> {
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

const SHARES: [(&str, Share); 2] = [("fewest", Share::Fewest), ("weighted", Share::Weighted)];
const CONNECTS: [(&str, Connect); 2] = [("qp", Connect::Qp), ("cm", Connect::Cm)];
const REGISTRATIONS: [(&str, Registration); 3] = [
    ("up-front", Registration::UpFront),
    ("per-chunk", Registration::PerChunk),
    ("window", Registration::Window),
];
const VERBS: [(&str, Verb); 3] = [("send", Verb::Send), ("write", Verb::Write), ("read", Verb::Read)];

impl Over {
    /// The transport that `--over` names.
    pub fn named(name: &str) -> Result<Over, String> {
        let all = [Over::Tcp, Over::Multi, Over::Rdma];
        all.into_iter()
            .find(|over| over.name() == name)
            .ok_or_else(|| format!("there is no transport {name:?}; --over takes tcp, multi or rdma"))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Over::Tcp => "tcp",
            Over::Multi => "multi",
            Over::Rdma => "rdma",
        }
    }
}

impl TrafficRequest {
    fn of(spec: &TrafficSpec) -> Result<TrafficRequest, String> {
        let size = |name: &str, bytes: u64| {
            u32::try_from(bytes)
                .map_err(|_| format!("a {name} of {bytes} bytes is too large; 4 GiB is the limit"))
        };
        let verb = |text: &str| {
            let found = VERBS.iter().find(|(name, _)| *name == text).map(|(_, verb)| *verb);
            found.ok_or_else(|| format!("--verb {text:?} is unknown; it takes send, write or read"))
        };
        Ok(TrafficRequest {
            over: Over::named(&spec.over)?,
            direction: spec.direction,
            lanes: spec.lanes,
            size_bytes: size("message", spec.size_bytes)?,
            reply_bytes: spec.reply_bytes.map(|bytes| size("reply", bytes)).transpose()?,
            depth: spec.depth,
            time_ns: spec.time_ns,
            warmup_ns: spec.warmup_ns,
            cooldown_ns: spec.cooldown_ns,
            rate_bits_per_s: spec.rate_bits_per_s,
            requests_per_s: spec.requests_per_s,
            load: spec.load,
            busy_poll: spec.busy_poll,
            zero_copy: spec.zero_copy,
            discard: spec.discard,
            verify: spec.verify,
            max_segment_bytes: spec.max_segment_bytes,
            pin: spec.pin,
            huge_pages: spec.huge_pages,
            watch_links: spec.watch_links,
            verb: spec.verb.as_deref().map(verb).transpose()?,
            lane: LaneOptions::of(&spec.options)?,
        })
    }

    fn to_spec(&self) -> TrafficSpec {
        let verb = |verb: Verb| VERBS.iter().find(|(_, v)| *v == verb).map(|(name, _)| (*name).to_owned());
        TrafficSpec {
            over: self.over.name().into(),
            direction: self.direction,
            lanes: self.lanes,
            size_bytes: self.size_bytes.into(),
            reply_bytes: self.reply_bytes.map(Into::into),
            depth: self.depth,
            time_ns: self.time_ns,
            warmup_ns: self.warmup_ns,
            cooldown_ns: self.cooldown_ns,
            rate_bits_per_s: self.rate_bits_per_s,
            requests_per_s: self.requests_per_s,
            load: self.load,
            busy_poll: self.busy_poll,
            zero_copy: self.zero_copy,
            discard: self.discard,
            verify: self.verify,
            max_segment_bytes: self.max_segment_bytes,
            pin: self.pin,
            huge_pages: self.huge_pages,
            verb: self.verb.and_then(verb),
            // What the client's NICs do, and what this step explains, are its own affair.
            fail: vec![],
            singles: false,
            watch_links: self.watch_links,
            follows_path_mtu: None,
            options: self.lane.to_options(),
        }
    }
}

impl MigrateRequest {
    fn of(spec: &MigrateSpec) -> Result<MigrateRequest, String> {
        Ok(MigrateRequest {
            over: Over::named(&spec.over)?,
            memory_bytes: spec.memory_bytes,
            parallel: spec.parallel.min(spec.guests),
            lanes: spec.lanes,
            chunk_bytes: spec.chunk_bytes,
            disk_bytes: spec.disk.as_ref().map(|disk| disk.bytes),
            time_limit_ns: spec.time_limit_ns,
            lane: LaneOptions::of(&spec.options)?,
        })
    }

    fn to_spec(&self) -> MigrateSpec {
        MigrateSpec {
            over: self.over.name().into(),
            memory_bytes: self.memory_bytes,
            guests: self.parallel,
            parallel: self.parallel,
            lanes: self.lanes,
            chunk_bytes: self.chunk_bytes,
            disk: self.disk_bytes.map(|bytes| DiskSpec { bytes, ..DiskSpec::default() }),
            time_limit_ns: self.time_limit_ns,
            options: self.lane.to_options(),
            ..MigrateSpec::default()
        }
    }
}

impl StepRequest {
    /// What `spec` needs of the other end; an error where it has something that cannot be asked for.
    pub fn of(spec: &StepSpec) -> Result<StepRequest, String> {
        Ok(match spec {
            StepSpec::Facts => StepRequest::Facts,
            StepSpec::Reach(reach) => StepRequest::Reach(ReachRequest { count: reach.count }),
            StepSpec::Mtu(mtu) => {
                let wanted = |family| mtu.families.is_empty() || mtu.families.contains(&family);
                let expect_ip_mtu_bytes = mtu.expect_ip_mtu_bytes;
                StepRequest::Mtu(MtuRequest { expect_ip_mtu_bytes, ipv4: wanted(4), ipv6: wanted(6) })
            }
            StepSpec::Stream(traffic) => StepRequest::Stream(TrafficRequest::of(traffic)?),
            StepSpec::Pingpong(traffic) => StepRequest::Pingpong(TrafficRequest::of(traffic)?),
            StepSpec::Request(traffic) => StepRequest::Request(TrafficRequest::of(traffic)?),
            StepSpec::Migrate(migrate) => StepRequest::Migrate(MigrateRequest::of(migrate)?),
        })
    }

    /// The server's part as a specification of its own: everything that the request cannot say has its default.
    pub fn to_spec(&self) -> StepSpec {
        match self {
            StepRequest::Facts => StepSpec::Facts,
            StepRequest::Reach(reach) => StepSpec::Reach(ReachSpec { count: reach.count }),
            StepRequest::Mtu(mtu) => StepSpec::Mtu(MtuSpec {
                expect_ip_mtu_bytes: mtu.expect_ip_mtu_bytes,
                families: match (mtu.ipv4, mtu.ipv6) {
                    (true, false) => vec![4],
                    (false, true) => vec![6],
                    _ => vec![],
                },
                ..MtuSpec::default()
            }),
            StepRequest::Stream(traffic) => StepSpec::Stream(traffic.to_spec()),
            StepRequest::Pingpong(traffic) => StepSpec::Pingpong(traffic.to_spec()),
            StepRequest::Request(traffic) => StepSpec::Request(traffic.to_spec()),
            StepRequest::Migrate(migrate) => StepSpec::Migrate(migrate.to_spec()),
        }
    }

    /// The kind of step.
    pub fn kind(&self) -> StepKind {
        self.to_spec().kind()
    }
}

impl Plan {
    /// The plan as it is announced to the peer.
    pub fn request(&self) -> Result<PlanRequest, String> {
        let steps = self.steps.iter().map(StepRequest::of).collect::<Result<_, _>>()?;
        Ok(PlanRequest { seed: self.seed, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Specifications in which everything that can hold a word holds one of this end's own affairs.
    fn full_of_secrets() -> Vec<StepSpec> {
        let secret = |name: &str| format!("SECRET-{name}");
        let mut options: BTreeMap<String, String> =
            ["device", "gid", "port", "paths", "constrain", "policy", "connections", "anything"]
                .into_iter()
                .map(|name| (name.to_owned(), secret(name)))
                .collect();
        options.insert("congestion".into(), "cubic".into());
        options.insert("registration".into(), "window".into());
        let traffic = |over: &str| TrafficSpec {
            over: over.into(),
            verb: Some("write".into()),
            fail: vec![secret("fail")],
            singles: true,
            follows_path_mtu: Some(0x5EC2E7),
            options: options.clone(),
            ..TrafficSpec::default()
        };
        let migrate = MigrateSpec {
            over: "multi".into(),
            pattern: format!("replay={}", secret("log")),
            policy: secret("policy"),
            tracker: secret("tracker"),
            fault: Some(secret("fault")),
            disk: Some(DiskSpec { bytes: 7, file: Some(secret("file")), writes_bytes_per_s: 0x5EC2E7 }),
            options: options.clone(),
            ..MigrateSpec::default()
        };
        vec![
            StepSpec::Facts,
            StepSpec::Mtu(MtuSpec { nics: vec![secret("nic")], ..MtuSpec::default() }),
            StepSpec::Stream(traffic("tcp")),
            StepSpec::Pingpong(traffic("rdma")),
            StepSpec::Request(traffic("multi")),
            StepSpec::Migrate(migrate),
        ]
    }

    #[test]
    fn t10_nothing_of_this_ends_own_affairs_crosses() {
        let plan = Plan { command: "SECRET".into(), seed: 1, steps: full_of_secrets() };
        let crossed = serde_json::to_string(&plan.request().unwrap()).unwrap();
        assert!(!crossed.contains("SECRET"), "{crossed}");
        assert!(
            crossed.contains("cubic") && crossed.contains("window"),
            "what both ends need does: {crossed}"
        );
    }

    #[test]
    fn t10_what_the_other_end_makes_of_it_has_no_file_device_pattern_or_fault() {
        for spec in full_of_secrets() {
            let theirs = StepRequest::of(&spec).unwrap().to_spec();
            let text = serde_json::to_string(&theirs).unwrap();
            assert!(!text.contains("SECRET"), "{text}");
            assert_eq!(StepRequest::of(&theirs), StepRequest::of(&spec), "and it is the same request again");
            if let StepSpec::Migrate(migrate) = theirs {
                let disk = migrate.disk.unwrap();
                assert_eq!((disk.file, disk.writes_bytes_per_s, migrate.fault), (None, 0, None));
                assert_eq!(migrate.pattern, MigrateSpec::default().pattern);
            } else if let Some(traffic) = theirs.traffic() {
                let own = (&traffic.fail, traffic.singles, traffic.follows_path_mtu);
                assert_eq!(own, (&vec![], false, None));
            }
        }
    }

    #[test]
    fn t10_a_word_that_is_not_listed_cannot_be_read() {
        let json = |with: &str| {
            let mut value =
                serde_json::to_value(StepRequest::of(&StepSpec::Stream(TrafficSpec::default())).unwrap())
                    .unwrap();
            let (at, what) = with.split_once('=').unwrap();
            value[at] = serde_json::from_str(what).unwrap();
            serde_json::from_value::<StepRequest>(value)
        };
        assert!(json("depth=9").is_ok());
        for hostile in [
            r#"options={"fail":"eth0@1s"}"#,
            r#"file="/etc/shadow""#,
            r#"over="sim""#,
            r#"verb="/dev/zero""#,
            r#"size_bytes=3221225472000"#,
            r#"lanes=-1"#,
            r#"lane={"device":"mlx5_0"}"#,
            r#"lane={"paths":"10.0.0.1,,10.0.0.2:1"}"#,
            r#"lane={"congestion":"../../../etc/passwd"}"#,
            r#"lane={"congestion":""}"#,
        ] {
            assert!(json(hostile).is_err(), "{hostile}");
        }
        let disk = r#"{"kind":"migrate","over":"tcp","memory_bytes":4096,"parallel":1,"lanes":1,"chunk_bytes":4096,
            "disk":{"bytes":1,"file":"/etc/shadow"},"lane":{}}"#;
        assert!(serde_json::from_str::<StepRequest>(disk).is_err());
    }

    #[test]
    fn what_would_choose_a_device_of_the_peers_is_refused_with_the_way_out() {
        let options = [("peer_device".to_owned(), "mlx5_1".to_owned())].into();
        let spec = StepSpec::Stream(TrafficSpec { over: "rdma".into(), options, ..TrafficSpec::default() });
        assert!(StepRequest::of(&spec).unwrap_err().contains("serve --device"));
        let large = TrafficSpec { size_bytes: 1 << 32, ..TrafficSpec::default() };
        assert!(StepRequest::of(&StepSpec::Stream(large)).unwrap_err().contains("4 GiB"));
    }
}
