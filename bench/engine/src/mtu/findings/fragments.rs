//! Datagrams that are longer than the MTU and vanish: on the way, or at the receiving host, whose kernel does not put their pieces together.

use pathproof_model::finding::Commands;
use pathproof_model::{Direction, MtuPath, NodeId};

use super::super::context::Context;
use super::draft::Draft;
use super::each_way;

const CODE: &str = "PATH-FRAGMENTS-DROPPED";
/// Of each such datagram.
const PIECES: u64 = 2;

/// What is longer than the MTU vanishes, although it may be cut up; what fits arrives.
pub(super) fn of_pair(group: &[&MtuPath], context: Context<'_>, drafts: &mut Vec<Draft>) {
    let dropped = |path: &MtuPath| path.fragments.is_some_and(|tried| tried.are_dropped());
    for path in group.iter().filter(|path| dropped(path)) {
        drafts.extend(given_up(path, context).and_then(|given_up| at_the_host(path, &given_up)));
    }
    each_way(
        group,
        |path| dropped(path) && given_up(path, context).is_none(),
        |path, direction| drafts.extend(on_the_way(path, direction)),
    );
}

fn on_the_way(path: &MtuPath, direction: Direction) -> Option<Draft> {
    Some(draft(path, direction, vanished(path)?))
}

fn vanished(path: &MtuPath) -> Option<String> {
    let tried = path.fragments?;
    Some(format!(
        "none of {} datagrams of {} bytes, which the sending host cuts into fragments, arrived, while {} of {} packets of {} bytes beside them did",
        tried.sent, tried.ip_bytes, tried.fitting_arrived, tried.fitting_sent, path.ip_mtu_bytes?,
    ))
}

fn draft(path: &MtuPath, direction: Direction, body: String) -> Draft {
    let tried = path.fragments.unwrap_or_default();
    let draft = Draft::new(CODE, path, direction, body);
    draft.with("ip_bytes", tried.ip_bytes).with("sent", tried.sent).with("arrived", tried.arrived)
}

/// What a receiving host got and did not put together.
struct GivenUp {
    node: NodeId,
    came: u64,
    failed: u64,
    /// What may wait to become whole there, in bytes.
    room_bytes: Option<u64>,
}

/// That all pieces reached the receiving host, and that it gave them up at once: those of which one did not come wait for half a minute first.
fn given_up(path: &MtuPath, context: Context<'_>) -> Option<GivenUp> {
    let (node, host, counted) = match path.direction {
        Direction::In => (NodeId::CLIENT, context.client, context.client_counted?),
        Direction::Out | Direction::Both => (NodeId::SERVER, context.server, context.server_counted?),
    };
    let (packets, fragments) = match path.family {
        6 => (counted.ip6.as_ref()?, counted.fragments6.as_ref()?),
        _ => (counted.ip.as_ref()?, counted.fragments.as_ref()?),
    };
    let failed = packets.reassembly_failures?.saturating_sub(fragments.timed_out?);
    let (came, sent) = (fragments.received?, u64::from(path.fragments?.sent));
    let room: Option<u64> = host.and_then(|host| host.settings.get(room_setting(path))?.parse().ok());
    let all_came = came >= sent.saturating_mul(PIECES) && failed >= sent;
    all_came.then_some(GivenUp { node, came, failed, room_bytes: room })
}

fn at_the_host(path: &MtuPath, given_up: &GivenUp) -> Option<Draft> {
    let GivenUp { node, came, failed, room_bytes } = *given_up;
    let at = if node == NodeId::CLIENT { "this host" } else { "the peer" };
    let setting = room_setting(path);
    let set = room_bytes.map_or_else(String::new, |bytes| format!(" ({setting}={bytes})"));
    let body = format!(
        "{}; {at} received {came} fragments meanwhile, and its kernel counts {failed} failures to put together what came (ReasmFails){set}",
        vanished(path)?
    );
    let mut draft = draft(path, path.direction, body)
        .next(advice(path, node, room_bytes))
        .with("node", node.0)
        .with("fragments_received", came)
        .with("reassembly_failures", failed);
    draft.meaning = Some(
        "Datagrams that are longer than the MTU reach the host in pieces, and its kernel throws those away instead of putting them together: the network \
         is well. TCP, and with it SMB and live migration, never makes any; long datagrams do (Kerberos and DNS over UDP, tunnels, cluster traffic).",
    );
    Some(draft)
}

/// What is set there, where that leaves no room; else where to look.
fn advice(path: &MtuPath, node: NodeId, room_bytes: Option<u64>) -> String {
    /// What Linux starts with, in bytes: how much may wait, and how far it was cleared once that was too much.
    const USUAL: [&str; 2] = ["4194304", "3145728"];
    /// Less is no room for a few datagrams of the largest size.
    const LITTLE_BYTES: u64 = 1 << 18;
    let at = if node == NodeId::CLIENT { "this host" } else { "the peer" };
    let high = room_setting(path);
    let low = high.replace("high", "low");
    let commands = Commands::new().at(node, "sysctl -w {}={}", &[high, USUAL[0]]);
    let commands = commands.at(node, "sysctl -w {}={}", &[low.as_str(), USUAL[1]]);
    let lead = format!("Give {at} the usual room for fragments that wait to become whole:");
    let is_little = room_bytes.is_some_and(|bytes| bytes < LITTLE_BYTES);
    commands.advice(CODE, &lead).filter(|_| is_little).unwrap_or_else(|| {
        format!(
            "Look at {at} for what takes the room in which fragments wait to become whole ({high}; FRAG in /proc/net/sockstat says how much is taken), and, \
             where there is room, for pieces that overlap: something on the way cuts them again."
        )
    })
}

/// The setting of how much may wait to become whole.
fn room_setting(path: &MtuPath) -> &'static str {
    if path.family == 6 { "net.ipv6.ip6frag_high_thresh" } else { "net.ipv4.ipfrag_high_thresh" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::{FragmentCounts, IpCounts};
    use pathproof_model::{Environment, Evidence, Finding, FragmentsTried, MtuLimit, MtuMethod};
    use std::net::{IpAddr, Ipv4Addr};

    fn path(direction: Direction) -> MtuPath {
        let tried =
            FragmentsTried { ip_bytes: 2500, sent: 6, arrived: 0, fitting_sent: 6, fitting_arrived: 6 };
        MtuPath {
            local_nic: "n1".into(),
            remote_nic: Some("n2".into()),
            local_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            remote_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            family: 4,
            direction,
            method: MtuMethod::Agent,
            ip_mtu_bytes: Some(1500),
            limit: MtuLimit::Local,
            numbers: None,
            proven_ip_bytes: Some(1500),
            reason: None,
            local_ip_mtu_bytes: Some(1500),
            remote_ip_mtu_bytes: Some(1500),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: Vec::new(),
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 40,
            fitting_lost: 0,
            probes: 100,
            loss_rounds: 2,
            elapsed_ns: 1,
            fragments: Some(tried),
            tried: Vec::new(),
        }
    }

    /// What is said of the two ways, where the server counted so.
    fn told(came: u64, failed: u64, timed_out: u64, room: &str, both: bool) -> Vec<Finding> {
        let counted = Evidence {
            ip: Some(IpCounts { reassembly_failures: Some(failed), ..IpCounts::still() }),
            fragments: Some(FragmentCounts {
                received: Some(came),
                timed_out: Some(timed_out),
                ..FragmentCounts::still()
            }),
            ..Evidence::default()
        };
        let mut server = Environment::default();
        server.settings.insert("net.ipv4.ipfrag_high_thresh".into(), room.into());
        let context = Context {
            server: Some(&server),
            server_counted: Some(&counted),
            client_counted: both.then_some(&counted),
            ..Context::default()
        };
        let (out, back) = (path(Direction::Out), path(Direction::In));
        let mut drafts = vec![];
        of_pair(&[&out, &back], context, &mut drafts);
        drafts.into_iter().map(Draft::finish).collect()
    }

    #[test]
    fn pieces_that_came_and_were_given_up_are_the_hosts_and_others_the_ways() {
        let found = told(12, 12, 0, "0", false);
        assert!(found.len() == 2 && found.iter().all(|one| one.code == CODE), "{found:?}");
        let (host, way) = (&found[0], &found[1]);
        assert!(host.evidence.contains("the peer received 12 fragments"), "{}", host.evidence);
        assert!(
            host.evidence.contains("ipfrag_high_thresh=0") && host.meaning.contains("network is well"),
            "{host:?}"
        );
        let raised = "On the peer: `sysctl -w net.ipv4.ipfrag_high_thresh=4194304`; `sysctl -w net.ipv4.ipfrag_low_thresh=3145728`.";
        assert!(host.next.contains(raised), "{}", host.next);
        // Nobody counted at the other end.
        assert!(way.evidence.contains(", in (") && way.next.contains("firewalls"), "{way:?}");
        // Each host gave up what it got.
        assert_eq!(told(12, 12, 0, "0", true).len(), 2);
        // Room enough: something else takes it, or changes the pieces.
        let other = &told(12, 12, 0, "4194304", false)[0];
        assert!(other.next.contains("sockstat") && !other.next.contains("sysctl -w"), "{}", other.next);
    }

    #[test]
    fn pieces_that_did_not_come_are_no_hosts_doing() {
        // None came; only the first of each did, and some of those waited for the others until their time was over.
        for (came, failed, timed_out) in [(0, 0, 0), (6, 0, 0), (6, 6, 6), (12, 6, 6), (6, 6, 0)] {
            let found = told(came, failed, timed_out, "4194304", true);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(!found[0].evidence.contains("ReasmFails"), "{found:?}");
            assert!(found[0].evidence.contains("both directions"), "{found:?}");
        }
    }
}
