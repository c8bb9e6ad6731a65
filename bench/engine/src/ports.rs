//! What an end makes of the other's ports: from what was heard there, and whether anybody listened, to answered, refused, filtered
//! or unknown; and what the two halves of a `ports` step come to.
//!
//! Refuses to say "filtered" where the other end could not have answered.

pub mod datagrams;
pub(crate) mod findings;

pub use findings::{findings, forgotten, not_counted};

use pathproof_model::{
    AnsweredBy, AskedPort, Direction, NetworkPorts, OpenedAtOnce, OpenedRecord, Port, PortAnswer, PortRecord,
    PortsEnd, PortsSpec, SilentRecord,
};
use serde::{Deserialize, Serialize};

/// Most connections of a burst.
pub const CONNECTIONS_MAX: u32 = 64;

/// How an end stands to one of its own ports for the length of the step. What crosses is this and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listens {
    /// It listens there by itself.
    Agent,
    /// Something else listens there.
    Service,
    /// Nobody does: it has no right to.
    NoRight,
    /// Nobody does: the system refused for another reason.
    Failed,
}

/// One port of the other end, as it offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// Which.
    pub port: Port,
    /// Who listens there.
    pub listens: Listens,
}

/// The ports of one network that both hosts share, as an end offers them at its own address there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferedOn {
    /// Its subnet: looked for among those that the other end itself knows of, and nothing else.
    pub subnet: String,
    /// Each of the ports.
    pub ports: Vec<Offered>,
}

/// What came of all attempts to speak to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The other end's own word for this session.
    Token,
    /// A connection opened, and no word of the other end's came.
    Opened,
    /// A refusal.
    Refused,
    /// Somebody on the way, or the end's own host, said that it cannot be reached or is prohibited (ICMP, RFC 792 and 4443).
    Unreachable,
    /// Nothing, after several attempts from different source ports.
    Nothing,
    /// It was not asked, or not to the end; why.
    NotAsked(String),
}

/// Whether a port is worth speaking to. Datagrams are sent to nobody but the other end itself.
pub fn is_asked(port: Port, listens: Listens) -> bool {
    !port.is_udp() || listens == Listens::Agent
}

/// What `heard` means where the other end listens so. `by_adapter`: the receiving host has an adapter that takes RoCE packets for
/// itself before any socket sees them.
pub fn answer(port: Port, listens: Listens, heard: Heard, by_adapter: bool) -> AskedPort {
    let known = |answer, by| AskedPort { port, answer, by, reason: None };
    let unknown =
        |why: &str| AskedPort { port, answer: PortAnswer::Unknown, by: None, reason: Some(why.into()) };
    match (heard, listens) {
        (Heard::NotAsked(why), _) => unknown(&why),
        (Heard::Token, _) => known(PortAnswer::Answered, Some(AnsweredBy::Agent)),
        (Heard::Opened, Listens::Agent) => unknown("something on the way answers in the other end's place"),
        (Heard::Opened, _) => known(PortAnswer::Answered, Some(AnsweredBy::Service)),
        (Heard::Nothing, Listens::Agent) if port == Port::Roce && by_adapter => unknown(
            "an RDMA adapter there takes these packets before the system sees them; measure with --over rdma",
        ),
        (_, Listens::Service) if port.is_udp() => {
            unknown("a service has the port there, and does not answer what is not its own")
        }
        (_, Listens::NoRight | Listens::Failed) if port.is_udp() => {
            unknown("the other end could not listen there")
        }
        (Heard::Nothing, _) => known(PortAnswer::Filtered, None),
        (Heard::Refused, Listens::Agent | Listens::Service) => known(PortAnswer::Refused, None),
        // No listener and no lack of one does that.
        (Heard::Unreachable, _) => known(PortAnswer::Unreachable, None),
        (Heard::Refused, Listens::NoRight) => unknown(
            "nothing listens there, and the other end has no right to; a refusal came back, so it is not dropped on the way",
        ),
        (Heard::Refused, Listens::Failed) => unknown(
            "nothing listens there, and the other end could not; a refusal came back, so it is not dropped on the way",
        ),
    }
}

/// The port that a burst of connections goes to: one where the other end itself answered, and before all others one that is `needed` in this
/// direction, because what limits connections may look at their port.
pub fn burst_port(found: &[AskedPort], needed: &[Port]) -> Option<Port> {
    let answered = |port: &Port| {
        found.iter().any(|asked| asked.port == *port && asked.by == Some(AnsweredBy::Agent) && !port.is_udp())
    };
    let others = [Port::SmbDirect, Port::LiveMigration, Port::Cluster, Port::Smb];
    needed.iter().copied().chain(others).find(answered)
}

/// Longest time for which connections are left silent.
pub const IDLE_NS_MAX: u64 = 300_000_000_000;

/// The times for which connections are left silent, the shortest first.
pub fn silences(idle_ns: u64) -> Vec<u64> {
    let idle_ns = idle_ns.min(IDLE_NS_MAX);
    if idle_ns == 0 { vec![] } else { [8, 4, 2, 1].map(|part| idle_ns / part).to_vec() }
}

/// Ports at which connections can be left silent on a network where no role needs one: whoever serves there has a right to listen at them.
pub const SILENT_PORTS: [Port; 3] = [Port::SmbDirect, Port::LiveMigration, Port::Cluster];

/// What became of silent connections, way by way, in the order of time.
pub fn left_silent(client: Option<&PortsEnd>, server: Option<&PortsEnd>) -> Vec<SilentRecord> {
    let mut records = vec![];
    for (direction, end) in [(Direction::Out, client), (Direction::In, server)] {
        let mut tried = end.map_or_else(Vec::new, |end| end.silent.clone());
        tried.sort_by_key(|tried| tried.silent_ns);
        if !tried.is_empty() {
            records.push(SilentRecord { direction, subnet: None, tried, used_answered_ns: vec![] });
        }
    }
    records
}

/// The records of both directions. What a peer says can only be about ports of the list, once each.
pub fn merge(
    spec: &PortsSpec,
    client: Option<&PortsEnd>,
    server: Option<&PortsEnd>,
) -> (Vec<PortRecord>, Vec<OpenedRecord>) {
    let mut records = vec![];
    let mut bursts = vec![];
    for (direction, end) in [(Direction::Out, client), (Direction::In, server)] {
        let Some(end) = end else { continue };
        for port in Port::ALL {
            let Some(asked) = end.ports.iter().find(|asked| asked.port == port) else { continue };
            records.push(record(spec, asked, direction));
        }
        bursts.extend(end.connections.map(|opened| OpenedRecord::of_session(direction, within(opened))));
    }
    (records, bursts)
}

/// What became of connections that the client opened at once on each network beside the session's.
pub fn opened_beside(client: Option<&PortsEnd>) -> Vec<OpenedRecord> {
    let told = client.map_or_else(Vec::new, |end| end.opened_beside.clone());
    told.into_iter().map(|one| OpenedRecord { opened: within(one.opened), ..one }).collect()
}

/// What both ends found on the networks that the client asked about. What the server says can only be about those, and about ports that the roles
/// need on the way back, once each.
pub fn on_networks(spec: &PortsSpec, client: &PortsEnd, server: Option<&PortsEnd>) -> Vec<NetworkPorts> {
    let mut found = client.networks.clone();
    for network in &mut found {
        let theirs = server.and_then(|end| end.networks.iter().find(|one| one.subnet == network.subnet));
        for port in spec.needed(Direction::In) {
            let said = theirs.and_then(|own| own.ports.iter().find(|record| record.port == port));
            let asked = match said {
                Some(said) => {
                    AskedPort { port, answer: said.answer, by: said.by, reason: said.reason.clone() }
                }
                None => AskedPort {
                    port,
                    answer: PortAnswer::Unknown,
                    by: None,
                    reason: Some("the other end did not ask on this network; is it of this version?".into()),
                },
            };
            network.ports.push(record(spec, &asked, Direction::In));
        }
    }
    found
}

/// What an end found at one port, with the roles that are lost without it.
pub fn record(spec: &PortsSpec, asked: &AskedPort, direction: Direction) -> PortRecord {
    let needs = spec.roles.iter().copied().filter(|role| role.needs(asked.port, direction));
    PortRecord {
        port: asked.port,
        name: asked.port.name(),
        direction,
        answer: asked.answer,
        by: asked.by,
        reason: asked.reason.clone(),
        needed_by: needs.collect(),
    }
}

/// Counts that can be true together.
fn within(said: OpenedAtOnce) -> OpenedAtOnce {
    let asked = said.asked.min(CONNECTIONS_MAX);
    let opened = said.opened.min(asked);
    let refused = said.refused.min(asked - opened);
    let silent = said.silent.min(asked - opened - refused);
    let again = said.again.min(silent);
    let median_ns = said.median_ns.filter(|_| opened > 0);
    OpenedAtOnce {
        asked,
        opened,
        refused,
        silent,
        again,
        again_opened: said.again_opened.min(again),
        median_ns,
        ..said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::Role;

    #[test]
    fn what_the_server_found_on_the_way_back_stands_beside_what_the_client_asked_and_nowhere_else() {
        let spec = PortsSpec { roles: vec![Role::Hyperv], ..PortsSpec::default() };
        let asked = |port, answer| AskedPort { port, answer, by: None, reason: None };
        let on = |subnet: &str, direction, all: &[AskedPort]| NetworkPorts {
            subnet: subnet.into(),
            ports: all.iter().map(|one| record(&spec, one, direction)).collect(),
        };
        let end = |networks| PortsEnd { networks, ..PortsEnd::default() };
        let out = [asked(Port::LiveMigration, PortAnswer::Answered)];
        let client =
            end(vec![on("10.0.1.0/24", Direction::Out, &out), on("10.0.2.0/24", Direction::Out, &out)]);
        let back = [
            asked(Port::LiveMigration, PortAnswer::Filtered),
            asked(Port::LiveMigration, PortAnswer::Answered),
            asked(Port::Smb, PortAnswer::Filtered),
        ];
        let server =
            end(vec![on("10.0.2.0/24", Direction::Out, &back), on("10.0.9.0/24", Direction::In, &back)]);
        let told = |server: Option<&PortsEnd>| {
            let found = on_networks(&spec, &client, server);
            let records =
                found.iter().flat_map(|one| one.ports.iter().map(|record| (one.subnet.as_str(), record)));
            let told = records.map(|(subnet, record)| (subnet.to_owned(), record.direction, record.answer));
            told.collect::<Vec<_>>()
        };
        let all = |second| {
            [
                ("10.0.1.0/24".to_owned(), Direction::Out, PortAnswer::Answered),
                ("10.0.1.0/24".to_owned(), Direction::In, PortAnswer::Unknown),
                ("10.0.2.0/24".to_owned(), Direction::Out, PortAnswer::Answered),
                ("10.0.2.0/24".to_owned(), Direction::In, second),
            ]
        };
        assert_eq!(told(Some(&server)), all(PortAnswer::Filtered));
        assert_eq!(told(None), all(PortAnswer::Unknown), "an earlier build asks nobody");
        let smb = PortsSpec { roles: vec![Role::Smb], ..PortsSpec::default() };
        assert_eq!(on_networks(&smb, &client, Some(&server)), client.networks, "SMB needs no way back");
    }

    #[test]
    fn silence_is_a_filter_only_where_somebody_could_have_answered() {
        use Listens::{Agent, Failed, NoRight, Service};
        use PortAnswer::{Answered, Filtered, Refused, Unknown, Unreachable};
        for (port, listens, heard, expected) in [
            (Port::Smb, Agent, Heard::Token, Answered),
            (Port::Smb, Service, Heard::Opened, Answered),
            (Port::Smb, NoRight, Heard::Opened, Answered),
            (Port::Smb, Agent, Heard::Opened, Unknown),
            (Port::Smb, Agent, Heard::Refused, Refused),
            (Port::Smb, Service, Heard::Refused, Refused),
            (Port::Smb, NoRight, Heard::Refused, Unknown),
            (Port::Smb, Failed, Heard::Refused, Unknown),
            (Port::Smb, NoRight, Heard::Nothing, Filtered),
            (Port::Smb, Agent, Heard::Nothing, Filtered),
            (Port::Smb, Agent, Heard::NotAsked("x".into()), Unknown),
            (Port::Heartbeat, Agent, Heard::Nothing, Filtered),
            (Port::Heartbeat, Agent, Heard::Token, Answered),
            (Port::Heartbeat, Agent, Heard::Refused, Refused),
            (Port::Heartbeat, Agent, Heard::Unreachable, Unreachable),
            (Port::Smb, NoRight, Heard::Unreachable, Unreachable),
            (Port::Heartbeat, Service, Heard::Nothing, Unknown),
            (Port::Heartbeat, NoRight, Heard::Nothing, Unknown),
        ] {
            let asked = answer(port, listens, heard.clone(), false);
            assert_eq!(asked.answer, expected, "{port:?} {listens:?} {heard:?}");
            assert_eq!(asked.reason.is_some(), expected == Unknown);
        }
        assert_eq!(answer(Port::Roce, Agent, Heard::Nothing, false).answer, Filtered);
        assert_eq!(answer(Port::Roce, Agent, Heard::Nothing, true).answer, Unknown, "adapters take them");
    }

    #[test]
    fn a_peer_cannot_add_ports_and_its_counts_are_made_possible() {
        let asked = |answer| AskedPort { port: Port::Smb, answer, by: None, reason: None };
        let server = PortsEnd {
            datagrams: vec![],
            silent_beside: vec![],
            opened_beside: vec![],
            ports: vec![asked(PortAnswer::Answered), asked(PortAnswer::Filtered)],
            silent: vec![],
            networks: vec![],
            connections: Some(OpenedAtOnce {
                port: 1,
                asked: u32::MAX,
                opened: u32::MAX,
                refused: 9,
                silent: 9,
                again: 9,
                again_opened: 9,
                median_ns: Some(7),
            }),
        };
        let spec = PortsSpec { roles: vec![Role::Cluster, Role::Smb], ..PortsSpec::default() };
        let (records, bursts) = merge(&spec, None, Some(&server));
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].needed_by, [Role::Cluster], "an SMB client is not dialled");
        let opened = bursts[0].opened;
        assert_eq!((opened.asked, opened.opened, opened.silent, opened.again_opened), (64, 64, 0, 0));
    }

    #[test]
    fn a_burst_goes_to_the_other_end_itself_alone() {
        let found = |by| vec![AskedPort { port: Port::Smb, answer: PortAnswer::Answered, by, reason: None }];
        assert_eq!(burst_port(&found(Some(AnsweredBy::Agent)), &[]), Some(Port::Smb));
        assert_eq!(burst_port(&found(Some(AnsweredBy::Service)), &[Port::Smb]), None);
        assert_eq!(burst_port(&[], &[Port::Smb]), None);
    }

    #[test]
    fn a_burst_goes_to_the_port_that_the_role_needs_where_the_other_end_answers_there() {
        let asked = |port, by| AskedPort { port, answer: PortAnswer::Answered, by: Some(by), reason: None };
        let all = Port::ALL.map(|port| asked(port, AnsweredBy::Agent));
        let needed = |role| {
            let spec = PortsSpec { roles: vec![role], ..PortsSpec::default() };
            spec.needed(Direction::Out)
        };
        assert_eq!(burst_port(&all, &needed(Role::Smb)), Some(Port::Smb));
        assert_eq!(burst_port(&all, &needed(Role::Cluster)), Some(Port::Smb));
        assert_eq!(burst_port(&all, &needed(Role::Hyperv)), Some(Port::LiveMigration));
        // Datagrams open no connections, and what nobody needs is asked as before.
        assert_eq!(burst_port(&all, &needed(Role::Roce)), Some(Port::SmbDirect));
        assert_eq!(burst_port(&all, &[]), Some(Port::SmbDirect));
        // A service is not flooded: the next one of the role's.
        let taken = Port::ALL
            .map(|port| asked(port, if port == Port::Smb { AnsweredBy::Service } else { AnsweredBy::Agent }));
        assert_eq!(burst_port(&taken, &needed(Role::Cluster)), Some(Port::Cluster));
        assert_eq!(burst_port(&taken, &needed(Role::Smb)), Some(Port::SmbDirect));
    }
}
