//! The pairs of NICs that a run is about: the columns of its figures.

use pathproof_model::mtu::{MtuLimit, MtuPath};
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, End, LossPath, Nic, NodeId, ResultDoc, Step, judge};

/// A NIC of this host and one of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub local: String,
    pub remote: String,
}

/// All pairs that something was measured on or is predicted for, in the order of the document; those in trouble first.
pub(super) fn all(doc: &ResultDoc) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut add = |local: &str, remote: &str| {
        let pair = Pair { local: local.into(), remote: remote.into() };
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    };
    for path in mtu_paths(doc) {
        add(&path.local_nic, path.remote_nic.as_deref().unwrap_or("peer"));
    }
    for path in loss_paths(doc) {
        add(&path.local_nic, &path.remote_nic);
    }
    for pair in doc.channels.iter().flat_map(|channels| &channels.pairs).filter(|pair| pair.chosen) {
        add(&pair.local_nic, &pair.remote_nic);
    }
    for step in &doc.steps {
        if let Some(pair) = of_step(doc, step) {
            add(&pair.local, &pair.remote);
        }
    }
    pairs.sort_by_key(|pair| !in_trouble(doc, pair));
    pairs
}

fn in_trouble(doc: &ResultDoc, pair: &Pair) -> bool {
    let mtu = mtu_paths(doc).filter(|path| pair.has(&path.local_nic, path.remote_nic.as_deref()));
    let silent = loss_paths(doc).filter(|path| pair.has(&path.local_nic, Some(&path.remote_nic)));
    let lost =
        silent.flat_map(|path| &path.flows).any(|flow| flow.small.lost().part + flow.full.lost().part > 0);
    lost || mtu.map(|path| path.limit).any(|limit| !matches!(limit, MtuLimit::None | MtuLimit::Local))
}

impl Pair {
    pub(super) fn has(&self, local: &str, remote: Option<&str>) -> bool {
        self.local == local && self.remote == remote.unwrap_or("peer")
    }

    pub(super) fn name(&self) -> String {
        format!("{} - {}", self.local, self.remote)
    }

    /// What both ends say of the link.
    pub(super) fn link(&self, doc: &ResultDoc) -> Option<String> {
        let of = |node: NodeId, name: &str| doc.environment(node)?.nics.iter().find(|nic| nic.name == name);
        let ends = [of(NodeId::CLIENT, &self.local), of(NodeId::SERVER, &self.remote)];
        let down = |nic: &Nic| nic.up == Some(false) || nic.carrier == Some(false);
        let place = ["here", "at the peer"];
        let downs: Vec<&str> =
            ends.iter().zip(place).filter(|(nic, _)| nic.is_some_and(down)).map(|(_, place)| place).collect();
        if !downs.is_empty() {
            return Some(format!("DOWN {}", downs.join(" and ")));
        }
        let speeds = ends.map(|nic| nic?.speed_bits_per_s);
        match (ends, speeds) {
            ([None, None], _) => None,
            (_, [Some(one), Some(other)]) if one == other => Some(format!("up, {}", short(one))),
            (_, [Some(one), Some(other)]) => Some(format!("up, {} / {}", short(one), short(other))),
            _ => Some("up, speed unknown".into()),
        }
    }

    /// What arrives whole, of what the NICs are set to, how many bytes that is, and what limits it on the way, if anything does.
    pub(super) fn ip_mtu(&self, doc: &ResultDoc) -> Option<(String, Option<u32>, &'static str)> {
        let paths: Vec<&MtuPath> =
            mtu_paths(doc).filter(|path| self.has(&path.local_nic, path.remote_nic.as_deref())).collect();
        let first = paths.first()?;
        let limited = |path: &&&MtuPath| !matches!(path.limit, MtuLimit::None | MtuLimit::Local);
        let Some(worst) = paths.iter().filter(limited).min_by_key(|path| path.ip_mtu_bytes) else {
            let bytes = first.ip_mtu_bytes.or(first.proven_ip_bytes)?;
            let ways = if first.direction == Direction::Both { "there and back" } else { "both ways" };
            return Some((format!("{bytes} {ways}"), Some(bytes), ""));
        };
        let set = worst.sender_ip_mtu_bytes().map(|set| format!(" of {set}")).unwrap_or_default();
        let bytes = worst.ip_mtu_bytes.map_or("?".into(), |bytes| bytes.to_string());
        let mut ways: Vec<&str> = paths.iter().filter(limited).map(|path| path.direction.name()).collect();
        ways.sort_unstable();
        ways.dedup();
        let way = match ways[..] {
            [way] if way != Direction::Both.name() => format!(" {way}"),
            _ => String::new(),
        };
        let why = match worst.limit {
            MtuLimit::Blackhole => "(larger ones are dropped)",
            MtuLimit::Router => "(a router says so)",
            MtuLimit::Fragmented => "(larger ones are cut up)",
            MtuLimit::Remote => "(the receiver is set lower)",
            MtuLimit::Unknown => "(not known)",
            MtuLimit::None | MtuLimit::Local => "",
        };
        Some((format!("{bytes}{set}{way}"), worst.ip_mtu_bytes, why))
    }

    /// Datagrams lost, of those sent, and whether there were any.
    pub(super) fn lost(&self, doc: &ResultDoc) -> Option<(String, bool)> {
        let own = || loss_paths(doc).filter(|path| self.has(&path.local_nic, Some(&path.remote_nic)));
        if own().any(LossPath::is_silent) {
            return Some(("nothing answered".into(), true));
        }
        let ways = [Direction::Out, Direction::In].map(|way| {
            let paths = own().filter(|path| path.direction == way);
            let counts =
                paths.flat_map(|path| &path.flows).flat_map(|flow| [flow.small.lost(), flow.full.lost()]);
            counts.fold((0u64, 0u64), |sum, one| (sum.0 + one.part, sum.1 + one.of))
        });
        match ways {
            [(_, 0), (_, 0)] => None,
            [(0, out), (0, back)] => Some((format!("0 of {}", out + back), false)),
            ways => {
                let lossy = ways.into_iter().zip(["out", "in"]).filter(|((lost, _), _)| *lost > 0);
                let text: Vec<String> =
                    lossy.map(|((lost, of), way)| format!("{lost} of {of} {way}")).collect();
                Some((text.join(", "), true))
            }
        }
    }
}

/// The pair that all lanes of a step used; none where they used several, or it is not known.
pub(super) fn of_step(doc: &ResultDoc, step: &Step) -> Option<Pair> {
    let of = |end: End| {
        let environment = doc.environment(end.node())?;
        let lanes = step.own_lanes().filter(|lane| lane.end == end);
        let mut nics: Vec<&Nic> =
            lanes.filter_map(|lane| judge::nics_of(environment, lane)).flatten().collect();
        nics.dedup_by_key(|nic| &nic.name);
        match nics[..] {
            [nic] => Some(nic.name.clone()),
            _ => None,
        }
    };
    Some(Pair { local: of(End::Client)?, remote: of(End::Server)? })
}

fn mtu_paths(doc: &ResultDoc) -> impl Iterator<Item = &MtuPath> {
    doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten()
}

fn loss_paths(doc: &ResultDoc) -> impl Iterator<Item = &LossPath> {
    doc.steps.iter().filter_map(|step| step.detail.loss.as_ref()).flatten()
}

/// `25G`, as people say it.
pub(super) fn short(bits_per_s: u64) -> String {
    match bits_per_s {
        speed if speed >= 1_000_000_000 && speed % 1_000_000_000 == 0 => {
            format!("{}G", speed / 1_000_000_000)
        }
        speed if speed >= 1_000_000 && speed % 1_000_000 == 0 => format!("{}M", speed / 1_000_000),
        speed => BitsPerSecond(speed).to_string(),
    }
}
