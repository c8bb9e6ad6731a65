//! From a specification to a connected socket: options, dialling, the lane preamble and its answer.
//!
//! Both ends end here with the same knowledge: each has seen the other's proof that it holds the lane's secret. Everything that can be refused is refused before the lane exists.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Framing, Gone, Lane, LaneSpec, Offer, PreparedLane, ReceiveMode, Region, RegionId, Role,
    SendMode, TransportError,
};
use pathproof_sys::clock::{Clock, Deadline, RealClock};
use pathproof_sys::socket;
use pathproof_sys::socket::may_pass;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::CONGESTION;
use crate::door::{Expected, LaneDoor, LanePreamble};
use crate::lane::TcpLane;
use crate::link::is_retry;
use crate::proof;

/// Unacknowledged data older than this means that the peer has gone silent (`TCP_USER_TIMEOUT`, RFC 5482).
const SILENCE: Duration = Duration::from_secs(10);
/// The highest priority of a socket that anybody may choose (socket(7)).
const PRIORITY_FREE_MAX: u8 = 6;

pub(crate) fn prepare(
    door: &Arc<LaneDoor>,
    role: Role,
    spec: &LaneSpec,
) -> Result<Box<dyn PreparedLane>, TransportError> {
    check(spec)?;
    let end = match (role, spec.remote) {
        (Role::Accept, _) => TcpEnd::Accept(door.register(proof::opening(&spec.token))?),
        (Role::Dial, Some(remote)) => TcpEnd::Dial(remote),
        (Role::Dial, None) => return Err(TransportError::invalid("a dialling lane needs a remote address")),
    };
    Ok(Box::new(PreparedTcp {
        clock: door.clock().clone(),
        end,
        spec: spec.clone(),
        regions: vec![],
        target: None,
    }))
}

fn check(spec: &LaneSpec) -> Result<(), TransportError> {
    let caps = crate::caps();
    if spec.depth == 0 || spec.depth > caps.depth_max {
        return Err(TransportError::invalid(format!(
            "depth {} is not possible over tcp; give 1 to {}",
            spec.depth, caps.depth_max
        )));
    }
    if spec.message_bytes_max == 0 || spec.message_bytes_max > caps.message_bytes_max {
        return Err(TransportError::invalid(format!(
            "messages of {} bytes are not possible over tcp; give 1 to {} bytes",
            spec.message_bytes_max, caps.message_bytes_max
        )));
    }
    if spec.framing == Framing::Framed && spec.receive_mode == ReceiveMode::Discard {
        return Err(TransportError::invalid(
            "a framed lane cannot discard what it receives, because its messages are placed by address; receive with copy",
        ));
    }
    spec.options.only(crate::NAME, &crate::options())
}

enum TcpEnd {
    Dial(SocketAddr),
    Accept(Expected),
}

struct PreparedTcp {
    clock: RealClock,
    end: TcpEnd,
    spec: LaneSpec,
    regions: Vec<Arc<Region>>,
    target: Option<RegionId>,
}

impl PreparedLane for PreparedTcp {
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError> {
        let id = u16::try_from(self.regions.len())
            .map(RegionId)
            .map_err(|_| TransportError::invalid("a tcp lane takes at most 65536 regions"))?;
        self.regions.push(region.clone());
        let writable = matches!(access, Access::RemoteWrite | Access::RemoteReadWrite);
        if writable && self.target.is_none() {
            self.target = Some(id);
        }
        Ok(id)
    }

    fn offer(&self) -> Offer {
        // The token and the address travel in the plan; a byte stream has nothing to add.
        Offer::default()
    }

    fn connect(self: Box<Self>, _peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError> {
        let PreparedTcp { clock, end, spec, regions, target } = *self;
        let until = clock.deadline(deadline);
        let stream = match end {
            TcpEnd::Dial(remote) => {
                let stream = dial(remote, &spec, deadline, &until)?;
                ask(&stream, &spec, &until)?;
                stream
            }
            TcpEnd::Accept(expected) => {
                let stream = expected.wait(deadline)?;
                buffers(&SockRef::from(&stream), &spec)?;
                stream
                    .set_write_timeout(Some(until.left_for_socket()))
                    .and_then(|()| (&stream).write_all(&proof::answer(&spec.token)))
                    .map_err(|e| TransportError::io("answering a lane preamble", e))?;
                stream
            }
        };
        let chosen = options(&stream, &spec)?;
        Ok(Box::new(TcpLane::new(stream, &spec, regions, target, chosen, &clock)))
    }
}

/// Connects, again and again where the fault may pass: one lost ARP reply must not cost the step.
fn dial(
    remote: SocketAddr,
    spec: &LaneSpec,
    patience: Duration,
    until: &Deadline,
) -> Result<TcpStream, TransportError> {
    /// Pause between attempts, for faults that show at once.
    const PAUSE: Duration = Duration::from_millis(50);
    let from = match (spec.local, &spec.device) {
        (Some(local), Some(device)) => format!(" from {local} on {device}"),
        (Some(local), None) => format!(" from {local}"),
        (None, Some(device)) => format!(" from device {device}"),
        (None, None) => String::new(),
    };
    let operation = format!("connecting a data lane to {remote}{from}");
    loop {
        let socket = unconnected(remote, spec, &operation)?;
        match socket.connect_timeout(&remote.into(), until.left_for_socket()) {
            Ok(()) => return Ok(socket.into()),
            Err(cause) if may_pass(&cause) && !until.is_over() => {
                std::thread::sleep(PAUSE.min(until.left_for_socket()));
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
                return Err(TransportError::Timeout { operation, after: patience });
            }
            Err(cause) => return Err(TransportError::io(operation, cause)),
        }
    }
}

/// A socket with everything set that the connection's first packet depends on.
fn unconnected(remote: SocketAddr, spec: &LaneSpec, operation: &str) -> Result<Socket, TransportError> {
    let io = |source| TransportError::io(operation, source);
    if spec.local.is_some_and(|local: IpAddr| local.is_ipv4() != remote.is_ipv4()) {
        return Err(TransportError::invalid(format!("{operation}: one address is IPv4, the other IPv6")));
    }
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP)).map_err(io)?;
    if let Some(device) = &spec.device {
        socket.bind_device(Some(device.as_bytes())).map_err(io)?;
    }
    if let Some(local) = spec.local {
        socket.bind(&SocketAddr::new(local, 0).into()).map_err(io)?;
    }
    // Both decide what the SYN announces (window scale, MSS), hence before the connection. The acceptor's
    // sending side follows the announced MSS, so setting it here bounds both directions.
    buffers(&SockRef::from(&socket), spec)?;
    if let Some(bytes) = spec.max_segment_bytes {
        socket.set_tcp_mss(bytes).map_err(|e| {
            TransportError::io(
                format!("limiting TCP segments to {bytes} bytes (88 to 32767 are possible)"),
                e,
            )
        })?;
    }
    // The first window is sent under the congestion control in force when the connection is made.
    congestion(&SockRef::from(&socket), spec)?;
    Ok(socket)
}

fn buffers(socket: &SockRef<'_>, spec: &LaneSpec) -> Result<(), TransportError> {
    // Fixed only when asked for: a fixed buffer switches the kernel's own sizing off, and caps a long path.
    let Some(bytes) = spec.socket_buffer_bytes else { return Ok(()) };
    socket
        .set_send_buffer_size(bytes as usize)
        .and_then(|()| socket.set_recv_buffer_size(bytes as usize))
        .map_err(|e| TransportError::io(format!("setting socket buffers of {bytes} bytes"), e))
}

fn congestion(socket: &SockRef<'_>, spec: &LaneSpec) -> Result<(), TransportError> {
    let Some(name) = spec.options.given(&CONGESTION) else { return Ok(()) };
    socket.set_tcp_congestion(name.as_bytes()).map_err(|e| {
        TransportError::io(
            format!(
                "choosing congestion control {name:?} (see net.ipv4.tcp_available_congestion_control for what this host has)"
            ),
            e,
        )
    })
}

/// Marks what is sent. A socket of IPv6 has both settings of the code point, because it may carry IPv4.
fn mark(socket: &SockRef<'_>, spec: &LaneSpec) -> Result<(), TransportError> {
    if let Some(dscp) = spec.dscp {
        let class = u32::from(dscp) << 2;
        let (v4, v6) = (socket.set_tos_v4(class), socket.set_tclass_v6(class));
        v4.or(v6).map_err(|e| TransportError::io(format!("marking what is sent with DSCP {dscp}"), e))?;
    }
    // After the code point, which over IPv4 brings a priority of its own.
    let Some(priority) = spec.priority else { return Ok(()) };
    let why =
        if priority > PRIORITY_FREE_MAX { " (above 6 that takes CAP_NET_ADMIN: run as root)" } else { "" };
    let operation = || format!("giving what is sent priority {priority}{why}");
    socket.set_priority(priority.into()).map_err(|e| TransportError::io(operation(), e))
}

/// Sends the preamble and waits for the acceptor's answer.
fn ask(stream: &TcpStream, spec: &LaneSpec, until: &Deadline) -> Result<(), TransportError> {
    const WHAT: &str = "opening a data lane";
    let io = |e| TransportError::io(WHAT, e);
    let preamble = LanePreamble::of(&spec.token, spec.lane).encode();
    let started = until.clock().now();
    stream.set_write_timeout(Some(until.left_for_socket())).map_err(io)?;
    (&mut &*stream).write_all(&preamble).map_err(io)?;
    let expected = proof::answer(&spec.token);
    let mut answer = [0; 32];
    let mut have = 0;
    while have < answer.len() {
        if until.is_over() {
            return Err(TransportError::Timeout {
                operation: WHAT.into(),
                after: until.clock().now().since(started),
            });
        }
        stream.set_read_timeout(Some(until.left_for_socket())).map_err(io)?;
        match (&mut &*stream).read(&mut answer[have..]) {
            Ok(0) => {
                return Err(TransportError::PeerGone {
                    operation: WHAT.into(),
                    how: Some(Gone::Closed),
                    detail: "the server closed the connection: it does not expect this lane (any more)"
                        .into(),
                });
            }
            Ok(n) => have += n,
            Err(e) if is_retry(&e) => {}
            Err(e) => return Err(io(e)),
        }
    }
    if answer == expected {
        return Ok(());
    }
    Err(TransportError::Protocol {
        operation: WHAT.into(),
        detail: "what listens there is not the session's peer; is the address another machine's?".into(),
    })
}

/// Options of the established connection, the same at both ends. Returns the choices worth reporting.
fn options(stream: &TcpStream, spec: &LaneSpec) -> Result<BTreeMap<String, String>, TransportError> {
    let io = |e| TransportError::io("setting options of a data lane", e);
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true).map_err(io)?;
    // Silence is found by the kernel in both cases: with data outstanding, and idle.
    socket.set_tcp_user_timeout(Some(SILENCE)).map_err(io)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(4))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive).map_err(io)?;
    congestion(&socket, spec)?;
    mark(&socket, spec)?;
    if spec.send_mode == SendMode::ZeroCopy {
        socket::allow_zero_copy(stream.as_fd()).map_err(|e| TransportError::Unsupported {
            what: "zero-copy send over tcp".into(),
            why: e.to_string(),
            fix: "send with copy".into(),
        })?;
    }
    let mut chosen = BTreeMap::new();
    if let Ok(name) = socket.tcp_congestion() {
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let whose = if spec.options.given(&CONGESTION).is_some() { "asked for" } else { "system default" };
        chosen.insert("congestion_control".into(), format!("{name} ({whose})"));
    }
    Ok(chosen)
}
