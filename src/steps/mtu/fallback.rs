//! Where datagrams are not answered: the same search by ICMP echo, to the one address that is known to be the peer's.
//!
//! Nobody proves by an echo who it is, so no other address that the peer names is asked. A reply is as large as its request: one
//! search speaks for both directions, and whichever end gets answers makes it.

use std::net::IpAddr;

use pathproof_dgram::EchoSocket;
use pathproof_dgram::wire::ProbeKey;
use pathproof_engine::mtu::{Search, SearchConfig};
use pathproof_model::{Direction, MtuLimit, MtuMethod, MtuPath};

use super::device;
use super::drive::{ECHO_LOSS_TIMER_NS, Job, Prober};
use super::pairs::Endpoint;

/// A search by echo, where this process may send them and `there` is `known` to be the peer.
pub fn job(
    here: &Endpoint,
    there: &Endpoint,
    known: IpAddr,
    key: &ProbeKey,
    config: &SearchConfig,
) -> Option<Job> {
    if there.address != known {
        return None;
    }
    let socket = EchoSocket::open(here.address, device(here), key.clone()).ok()?;
    let search = Search::new(SearchConfig { loss_timer_ns: ECHO_LOSS_TIMER_NS, ..config.clone() });
    Some(Job::new(Prober::Echo(socket, there.address), search))
}

/// A path that echoes have shown.
pub fn by_echo(path: MtuPath) -> MtuPath {
    let limit = limit_by_echo(path.limit);
    MtuPath { method: MtuMethod::Echo, direction: Direction::Both, limit, ..path }
}

/// It is the reply that came in fragments, and replies may: the way back carries less than the way out.
pub fn limit_by_echo(limit: MtuLimit) -> MtuLimit {
    if limit == MtuLimit::Fragmented { MtuLimit::Remote } else { limit }
}

/// The paths without what an echo has answered as well. Of two ends that were both answered by echo the one that got the
/// larger packet through has seen it go both ways.
pub fn settled(paths: Vec<MtuPath>) -> Vec<MtuPath> {
    let ends = |path: &MtuPath| (path.local_address, path.remote_address);
    let by_echo: Vec<MtuPath> = paths.iter().filter(|path| path.method == MtuMethod::Echo).cloned().collect();
    let best = |path: &MtuPath| {
        let same = by_echo.iter().filter(|one| ends(one) == ends(path));
        same.max_by_key(|one| (one.ip_mtu_bytes, one.proven_ip_bytes)).cloned()
    };
    let mut kept: Vec<MtuPath> = Vec::new();
    for path in paths {
        match best(&path) {
            // What datagrams did find out about one direction is more precise.
            Some(_) if path.method != MtuMethod::Echo && path.proven_ip_bytes.is_some() => kept.push(path),
            Some(echo) if kept.contains(&echo) => {}
            Some(echo) => kept.push(echo),
            None => kept.push(path),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::measured;
    use super::*;
    use pathproof_engine::mtu::Report;

    fn path(direction: Direction, proven: Option<u32>) -> MtuPath {
        let report =
            Report { ip_mtu_bytes: proven, proven_ip_bytes: proven, ..Report::no_consent(3, vec![]) };
        MtuPath { direction, ..measured(MtuMethod::Agent, &report, MtuLimit::None, None) }
    }

    #[test]
    fn what_echoes_show_stands_for_both_directions_once() {
        let (out, back) = (Direction::Out, Direction::In);
        let echo = |bytes| by_echo(path(out, Some(bytes)));
        // Both ends were answered, one of them by a limiter now and then.
        assert_eq!(settled(vec![echo(1400), echo(1500)]), [echo(1500)]);
        // A firewall at one end lets only the other's echoes pass.
        assert_eq!(settled(vec![path(out, None), echo(1500)]), [echo(1500)]);
        // A firewall that follows connections: datagrams pass one way.
        let one_way = path(back, Some(9000));
        assert_eq!(settled(vec![echo(9000), one_way.clone()]), [echo(9000), one_way]);
        let silent = vec![path(out, None), path(back, None)];
        assert_eq!(settled(silent.clone()), silent);
    }
}
