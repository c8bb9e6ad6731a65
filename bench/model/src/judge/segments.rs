//! What TCP itself carried between two addresses, for where nothing else is let through.

use std::borrow::Borrow;
use std::net::{IpAddr, SocketAddr};

use crate::{Direction, End, LaneResult, LaneRole, Step};

/// Packets of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Length of the full ones, as IP packets.
    pub ip_bytes: u32,
    /// Payload that went in them.
    pub payload_bytes: u64,
}

/// The largest packets in which a connection of `steps` between these addresses sent so much that most of it went in full ones.
pub fn segments(
    steps: &[impl Borrow<Step>],
    local: IpAddr,
    remote: IpAddr,
    direction: Direction,
) -> Option<Segments> {
    let whole = steps.iter().map(|step| step.borrow());
    let whole = whole.filter(|step| step.follows_up.is_none() && step.error.is_none());
    let lanes = whole.flat_map(|step| &step.lanes).filter(|lane| lane.error.is_none());
    let sent = |end: End, way: Direction| {
        let (from, to) = if way == Direction::In { (remote, local) } else { (local, remote) };
        let ends = (Some(from), Some(to));
        let of = lanes.clone().filter(move |lane| (ip_of(&lane.local), ip_of(&lane.remote)) == ends);
        of.filter(|lane| lane.end == end)
            .filter_map(sent_by)
            .max_by_key(|one| (one.ip_bytes, one.payload_bytes))
    };
    let (out, back) = (sent(End::Client, Direction::Out), sent(End::Server, Direction::In));
    match direction {
        Direction::Out => out,
        Direction::In => back,
        Direction::Both => [out?, back?].into_iter().min_by_key(|one| one.ip_bytes),
    }
}

fn sent_by(lane: &LaneResult) -> Option<Segments> {
    /// Less may have gone in a few packets that were sent again in pieces.
    const ENOUGH_BYTES: u64 = 1 << 20;
    const TCP_HEADER_BYTES: u64 = 20;
    const TIME_STAMPS_BYTES: u64 = 12;
    let segment =
        lane.send_segment_bytes.filter(|_| lane.role != LaneRole::Receive && lane.bytes >= ENOUGH_BYTES)?;
    let ip_header = if ip_of(&lane.local)?.is_ipv4() { 20 } else { 40 };
    let stamped = lane.connection.as_ref().and_then(|one| one.timestamps).unwrap_or(false);
    let options = if stamped { TIME_STAMPS_BYTES } else { 0 };
    let ip_bytes = u32::try_from(segment.saturating_add(ip_header + TCP_HEADER_BYTES + options)).ok()?;
    Some(Segments { ip_bytes, payload_bytes: lane.bytes })
}

/// Where an address and port lead to, without the port.
pub(super) fn ip_of(address: &Option<String>) -> Option<IpAddr> {
    let address: SocketAddr = address.as_deref()?.parse().ok()?;
    Some(address.ip().to_canonical())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::evidence::Connection;
    use crate::{ResultDoc, StepKind, Tool};

    /// A document with one connection on which the client sent.
    pub fn document(segment: u64, bytes: u64) -> ResultDoc {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.lanes = vec![LaneResult {
            end: End::Client,
            role: LaneRole::Send,
            local: Some("10.0.0.1:40000".into()),
            remote: Some("10.0.0.2:7797".into()),
            send_segment_bytes: Some(segment),
            bytes,
            connection: Some(Connection { timestamps: Some(true), ..Connection::default() }),
            ..LaneResult::default()
        }];
        ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") }
    }

    #[test]
    fn packets_are_as_long_as_their_segments_and_headers() {
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let doc = document(8948, 100 << 20);
        let found = segments(&doc.steps, here, there, Direction::Out).unwrap();
        assert_eq!((found.ip_bytes, found.payload_bytes), (9000, 100 << 20));
        // Nobody sent the other way, and nothing is known of other addresses.
        assert_eq!(segments(&doc.steps, here, there, Direction::In), None);
        assert_eq!(segments(&doc.steps, here, there, Direction::Both), None);
        assert_eq!(segments(&doc.steps, there, here, Direction::Out), None);
        // A stall begins with small numbers of full packets.
        assert_eq!(segments(&document(8948, 500_000).steps, here, there, Direction::Out), None);
        let mut failed = doc.clone();
        failed.steps[0].lanes[0].error =
            Some(crate::StepError::new(crate::ErrorKind::Timeout, "stalled".into()));
        assert_eq!(segments(&failed.steps, here, there, Direction::Out), None);
    }
}
