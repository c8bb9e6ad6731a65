//! The RDMA connection manager: listening, dialling, accepting and rejecting, each within a deadline. Needed for
//! iWARP, whose queue pairs cannot be connected by exchanging numbers, and used by SMB Direct. It refuses to make
//! queue pairs itself: they are ours, on our own context, and the manager only supplies their attributes.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{Gone, TransportError};
use pathproof_sys::clock::{Clock as _, Deadline, Tick};

use crate::ffi::{CmConnParam, CmEvent, CmEventChannel, CmId, ConnectionManagerLibrary, IbvQpAttr, k};
use crate::verbs::{QueuePair, set_nonblocking};
use crate::words;

mod address;
mod depths;

use address::RawAddress;
use depths::Depths;

pub use address::{ip_bytes, ip_from};

/// Where connection events arrive.
pub struct EventChannel {
    library: Arc<ConnectionManagerLibrary>,
    raw: NonNull<CmEventChannel>,
}

// SAFETY: librdmacm may be used from several threads at once: the kernel gives each event to one of them, and an identifier is destroyed
// once all that were taken of its events are acknowledged. That matters where somebody watches over a lane that sleeps.
unsafe impl Send for EventChannel {}
// SAFETY: as above.
unsafe impl Sync for EventChannel {}

/// One event, copied and acknowledged.
#[derive(Debug)]
pub struct Event {
    /// `RDMA_CM_EVENT_*`.
    pub kind: u32,
    /// Negative errno, or a reject reason.
    pub status: c_int,
    /// Private data from the peer. RoCE pads it with zeroes to its own limit (56 bytes in a request).
    pub private_data: Vec<u8>,
    /// Reads that this end may issue, as its own connection manager sees it: what the peer can serve.
    pub initiator_depth: u8,
    /// Reads that the peer will issue.
    pub responder_resources: u8,
    /// The new identifier of a connect request.
    request: Option<NonNull<CmId>>,
}

impl EventChannel {
    /// Opens the connection manager.
    pub fn new(library: &Arc<ConnectionManagerLibrary>) -> Result<Arc<EventChannel>, TransportError> {
        // SAFETY: no preconditions.
        let raw = unsafe { (library.rdma_create_event_channel)() };
        let raw = NonNull::new(raw).ok_or_else(|| words::cm_unavailable(io::Error::last_os_error()))?;
        // SAFETY: just opened.
        unsafe { set_nonblocking(raw.as_ref().fd) };
        Ok(Arc::new(EventChannel { library: library.clone(), raw }))
    }

    /// Descriptor for `poll`.
    pub fn fd(&self) -> RawFd {
        // SAFETY: open as long as `self`.
        unsafe { self.raw.as_ref().fd }
    }

    /// The next event, if there is one.
    pub fn try_next(&self) -> Option<Event> {
        let mut raw: *mut CmEvent = std::ptr::null_mut();
        // SAFETY: an open, non-blocking channel; the result is only written on success.
        if unsafe { (self.library.rdma_get_cm_event)(self.raw.as_ptr(), &mut raw) } != 0 {
            return None;
        }
        let from = NonNull::new(raw)?;
        // SAFETY: the event is valid until acknowledged; the connection parameters are the union's member for
        // all events of a connected port space, and private data has the length given there.
        let event = unsafe {
            let event = from.as_ref();
            let data = event.conn.private_data.cast::<u8>();
            let len = usize::from(event.conn.private_data_len);
            Event {
                kind: event.event,
                status: event.status,
                initiator_depth: event.conn.initiator_depth,
                responder_resources: event.conn.responder_resources,
                private_data: if data.is_null() || len == 0 {
                    Vec::new()
                } else {
                    std::slice::from_raw_parts(data, len).to_vec()
                },
                request: (event.event == k::RDMA_CM_EVENT_CONNECT_REQUEST)
                    .then(|| NonNull::new(event.id))
                    .flatten(),
            }
        };
        // SAFETY: exactly once for the event taken above, which is not used any more.
        unsafe { (self.library.rdma_ack_cm_event)(raw) };
        Some(event)
    }

    /// The next event, by the deadline.
    fn next(&self, until: &Deadline, what: &str, began: Tick) -> Result<Event, TransportError> {
        loop {
            if let Some(event) = self.try_next() {
                return Ok(event);
            }
            let left = until.left();
            if left.is_zero() {
                return Err(TransportError::Timeout {
                    operation: what.to_owned(),
                    after: until.clock().now().since(began),
                });
            }
            let mut fd = libc::pollfd { fd: self.fd(), events: libc::POLLIN, revents: 0 };
            let ms = c_int::try_from(left.as_millis().clamp(1, 1000)).unwrap_or(1000);
            // SAFETY: one entry, alive during the call.
            unsafe { libc::poll(&mut fd, 1, ms) };
        }
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        // SAFETY: identifiers hold an `Arc` of this, so none is left; all events were acknowledged.
        unsafe { (self.library.rdma_destroy_event_channel)(self.raw.as_ptr()) };
    }
}

/// An identifier: a listener, or one connection.
pub struct Id {
    raw: NonNull<CmId>,
    channel: Arc<EventChannel>,
}

// SAFETY: used by one thread at a time.
unsafe impl Send for Id {}

/// What an end asks for beside the queue pair.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Reads the peer may have outstanding towards us.
    pub responder_depth: u8,
    /// Reads we may have outstanding towards the peer.
    pub initiator_depth: u8,
    /// Exponent of the acknowledgement timeout.
    pub ack_timeout_exponent: u8,
    /// Transport retries.
    pub retry_count: u8,
    /// Receiver-not-ready retries.
    pub rnr_retry_count: u8,
    /// Traffic class of what this end sends; `None` leaves it to the system at the end that dials, and to the request of the peer at the other.
    pub traffic_class: Option<u8>,
}

/// What one end brings to a connection.
pub struct Joining<'a> {
    /// Its queue pair.
    pub queue_pair: &'a QueuePair,
    /// What travels with the request or the answer.
    pub private_data: &'a [u8],
    /// What it asks for.
    pub terms: Terms,
    /// What bounds its depths.
    pub bound: Bound,
    /// Posts the first receives, once the queue pair takes them and before the peer can send.
    pub post_receives: &'a mut dyn FnMut() -> Result<(), TransportError>,
}

/// What bounds the depths of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The offers, which have told both ends' depths before.
    Offers,
    /// What the connection manager shows of a foreign peer's.
    Manager,
    /// That, and what a foreign peer on iWARP says in its private data.
    ManagerAndPeer,
}

/// A connection that was made.
pub struct Connected {
    /// Its identifier.
    pub id: Id,
    /// The peer's private data.
    pub private_data: Vec<u8>,
    /// Reads of the peer that are served at once.
    pub reads_served: u8,
    /// Reads that may be issued at once.
    pub reads_issued: u8,
}

impl Joining<'_> {
    fn terms_with(&self, event: &Event) -> Terms {
        if self.bound == Bound::Offers {
            return self.terms;
        }
        // An event has this end's own view already: nothing is to be turned round.
        let shown = Depths { serves: event.initiator_depth, issues: event.responder_resources };
        let terms = shown.bound(self.terms);
        match (self.bound, Depths::said_in(&event.private_data)) {
            (Bound::ManagerAndPeer, Some(said)) => said.bound(terms),
            _ => terms,
        }
    }
}

impl Id {
    fn new(channel: &Arc<EventChannel>) -> Result<Id, TransportError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: an open channel; the result is written on success.
        let code = unsafe {
            (channel.library.rdma_create_id)(
                channel.raw.as_ptr(),
                &mut raw,
                std::ptr::null_mut(),
                k::RDMA_PS_TCP,
            )
        };
        match NonNull::new(raw) {
            Some(raw) if code == 0 => Ok(Id { raw, channel: channel.clone() }),
            _ => Err(words::cm_unavailable(io::Error::last_os_error())),
        }
    }

    /// Asks for a traffic class, before the route is resolved or the identifier listens: on RoCE it becomes that of the path, which the peer is
    /// asked to answer by; on iWARP the driver gets it for its TCP connection.
    fn mark(&self, traffic_class: Option<u8>) -> Result<(), TransportError> {
        let Some(mut class) = traffic_class else { return Ok(()) };
        // SAFETY: an identifier that exists, and one byte, which is copied during the call.
        let code = unsafe {
            (self.channel.library.rdma_set_option)(
                self.raw.as_ptr(),
                k::RDMA_OPTION_ID,
                k::RDMA_OPTION_ID_TOS,
                std::ptr::from_mut(&mut class).cast(),
                size_of::<u8>(),
            )
        };
        if code != 0 {
            let operation = format!("asking the connection manager for traffic class {class}");
            return Err(TransportError::io(operation, io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Listens at `address`; port 0 is one of the kernel's choice. Connections of iWARP that are accepted have the traffic class.
    pub fn listen(
        channel: &Arc<EventChannel>,
        address: SocketAddr,
        traffic_class: Option<u8>,
    ) -> Result<(Id, u16), TransportError> {
        let asked = address;
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        // The manager's port space is not TCP's: soft-iWARP then finds a port taken by an ordinary socket.
        for _ in 0..8 {
            let id = Id::new(channel)?;
            id.mark(traffic_class)?;
            let mut address = RawAddress::new(asked);
            // SAFETY: an identifier and a socket address of the right length, alive during the calls.
            let bound = unsafe { (channel.library.rdma_bind_addr)(id.raw.as_ptr(), address.as_mut_ptr()) } == 0
                // SAFETY: as above.
                && unsafe { (channel.library.rdma_listen)(id.raw.as_ptr(), 1) } == 0;
            if bound {
                // SAFETY: a bound identifier.
                let port = u16::from_be(unsafe { (channel.library.rdma_get_src_port)(id.raw.as_ptr()) });
                return Ok((id, port));
            }
            last = io::Error::last_os_error();
            if last.kind() != io::ErrorKind::AddrInUse || asked.port() != 0 {
                break;
            }
        }
        Err(TransportError::io(format!("listening for RDMA connections on {asked}"), last))
    }

    /// Waits for the connection whose private data begins with `admit`; others are rejected with a reason.
    pub fn accept(
        &self,
        admit: &[u8],
        joining: Joining<'_>,
        until: &Deadline,
    ) -> Result<Connected, TransportError> {
        const WHAT: &str = "waiting for the peer's RDMA connection";
        let began = until.clock().now();
        loop {
            let event = self.channel.next(until, WHAT, began)?;
            match (event.kind, event.request) {
                (k::RDMA_CM_EVENT_CONNECT_REQUEST, Some(raw)) => {
                    let id = Id { raw, channel: self.channel.clone() };
                    if event.private_data.get(..admit.len()) != Some(admit) {
                        id.reject(b"pathproof: unknown session token");
                        continue;
                    }
                    let (queue_pair, terms) = (joining.queue_pair, joining.terms_with(&event));
                    id.advance(queue_pair, terms, k::IBV_QPS_INIT, "INIT")?;
                    (joining.post_receives)()?;
                    for (state, what) in
                        [(k::IBV_QPS_RTR, "ready to receive"), (k::IBV_QPS_RTS, "ready to send")]
                    {
                        id.advance(queue_pair, terms, state, what)?;
                    }
                    let mut param = parameters(terms, joining.private_data, queue_pair);
                    // SAFETY: an identifier with a pending request; the parameters live during the call.
                    if unsafe { (self.channel.library.rdma_accept)(id.raw.as_ptr(), &mut param) } != 0 {
                        return Err(TransportError::io(
                            "accepting the RDMA connection",
                            io::Error::last_os_error(),
                        ));
                    }
                    loop {
                        let next = self.channel.next(until, WHAT, began)?;
                        match next.kind {
                            k::RDMA_CM_EVENT_ESTABLISHED => {
                                return Ok(Connected {
                                    id,
                                    private_data: event.private_data,
                                    reads_served: terms.responder_depth,
                                    reads_issued: terms.initiator_depth,
                                });
                            }
                            k::RDMA_CM_EVENT_CONNECT_REQUEST => {
                                if let Some(raw) = next.request {
                                    Id { raw, channel: self.channel.clone() }
                                        .reject(b"pathproof: already connected");
                                }
                            }
                            _ => return Err(unexpected("accepting the RDMA connection", &next)),
                        }
                    }
                }
                _ => return Err(unexpected(WHAT, &event)),
            }
        }
    }

    /// Connects to `remote`.
    pub fn dial(
        channel: &Arc<EventChannel>,
        local: Option<IpAddr>,
        remote: SocketAddr,
        joining: Joining<'_>,
        until: &Deadline,
    ) -> Result<Connected, TransportError> {
        let (queue_pair, terms) = (joining.queue_pair, joining.terms);
        let began = until.clock().now();
        let library = &channel.library;
        let what = format!("RDMA connection to {remote}");
        let left_ms = |most: Duration| {
            let left = until.left().min(most);
            c_int::try_from(left.as_millis()).unwrap_or(c_int::MAX).max(1)
        };
        let refused = |step: &str| TransportError::io(format!("{what}: {step}"), io::Error::last_os_error());
        let resolving = format!("{what}: resolving the address");
        // A neighbour that is not known yet can cost a whole attempt: several short ones instead of one long.
        let id = loop {
            let id = Id::new(channel)?;
            id.mark(terms.traffic_class)?;
            let mut source = local.map(|ip| RawAddress::new(SocketAddr::new(ip, 0)));
            let source_ptr = source.as_mut().map_or(std::ptr::null_mut(), RawAddress::as_mut_ptr);
            let mut target = RawAddress::new(remote);
            let attempt_ms = left_ms(RESOLVE_ATTEMPT);
            // SAFETY: an identifier and addresses that live during the call.
            let code = unsafe {
                (library.rdma_resolve_addr)(id.raw.as_ptr(), source_ptr, target.as_mut_ptr(), attempt_ms)
            };
            if code != 0 {
                return Err(refused("resolving the address"));
            }
            let event = channel.next(until, &resolving, began)?;
            match event.kind {
                k::RDMA_CM_EVENT_ADDR_RESOLVED => break id,
                k::RDMA_CM_EVENT_ADDR_ERROR if event.status == -libc::ETIMEDOUT => {}
                _ => return Err(unexpected(&resolving, &event)),
            }
        };
        // SAFETY: an identifier whose address is resolved.
        if unsafe { (library.rdma_resolve_route)(id.raw.as_ptr(), left_ms(PATIENCE)) } != 0 {
            return Err(refused("resolving the route"));
        }
        expect(
            channel,
            k::RDMA_CM_EVENT_ROUTE_RESOLVED,
            &format!("{what}: resolving the route"),
            until,
            began,
        )?;
        id.advance(queue_pair, terms, k::IBV_QPS_INIT, "INIT")?;
        (joining.post_receives)()?;
        let mut param = parameters(terms, joining.private_data, queue_pair);
        // SAFETY: an identifier whose route is resolved; the parameters live during the call.
        if unsafe { (library.rdma_connect)(id.raw.as_ptr(), &mut param) } != 0 {
            return Err(refused("connecting"));
        }
        let event = channel.next(until, &what, began)?;
        let agreed = joining.terms_with(&event);
        let connected = |id: Id, private_data: Vec<u8>| Connected {
            id,
            private_data,
            reads_served: agreed.responder_depth,
            reads_issued: agreed.initiator_depth,
        };
        match event.kind {
            // iWARP: the kernel has already moved the queue pair.
            k::RDMA_CM_EVENT_ESTABLISHED => Ok(connected(id, event.private_data)),
            // InfiniBand and RoCE: we finish the handshake, as the queue pair is ours.
            k::RDMA_CM_EVENT_CONNECT_RESPONSE => {
                id.advance(queue_pair, terms, k::IBV_QPS_RTR, "ready to receive")?;
                id.advance(queue_pair, terms, k::IBV_QPS_RTS, "ready to send")?;
                // SAFETY: an identifier that has its response.
                if unsafe { (library.rdma_establish)(id.raw.as_ptr()) } != 0 {
                    return Err(refused("establishing"));
                }
                Ok(connected(id, event.private_data))
            }
            k::RDMA_CM_EVENT_REJECTED => {
                let text: String = String::from_utf8_lossy(&event.private_data)
                    .trim_end_matches('\0')
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect();
                let why = if text.is_empty() { format!("reason {}", event.status) } else { text };
                Err(TransportError::PeerGone {
                    operation: what,
                    how: None,
                    detail: format!("it rejected the connection: {why}"),
                })
            }
            _ => Err(unexpected(&what, &event)),
        }
    }

    /// Moves our queue pair with the attributes that the manager knows.
    fn advance(
        &self,
        queue_pair: &QueuePair,
        terms: Terms,
        state: u32,
        what: &str,
    ) -> Result<(), TransportError> {
        let mut attributes = IbvQpAttr { qp_state: state, ..IbvQpAttr::default() };
        let mut mask: c_int = 0;
        // SAFETY: an identifier in the matching stage; both results have the header's layout.
        let code = unsafe {
            (self.channel.library.rdma_init_qp_attr)(self.raw.as_ptr(), &mut attributes, &mut mask)
        };
        if code != 0 {
            return Err(TransportError::io(
                format!("asking the connection manager how to make the queue pair {what}"),
                io::Error::last_os_error(),
            ));
        }
        if state == k::IBV_QPS_INIT {
            attributes.qp_access_flags |= k::IBV_ACCESS_REMOTE_READ | k::IBV_ACCESS_REMOTE_WRITE;
        }
        // Where this end has accepted, the manager knows the class of the peer's request alone.
        if let Some(class) = terms.traffic_class
            && mask & k::IBV_QP_AV != 0
            && attributes.ah_attr.is_global != 0
        {
            attributes.ah_attr.grh.traffic_class = class;
        }
        // The manager asks for the longest pause after "receiver not ready" (code 0 is 655 ms) and takes the
        // acknowledgement timeout from the subnet's packet lifetime: ours are those that the result shows.
        attributes.min_rnr_timer = crate::timing::RNR_TIMER_CODE;
        if mask & k::IBV_QP_TIMEOUT != 0 {
            attributes.timeout = terms.ack_timeout_exponent;
        }
        queue_pair.modify(&mut attributes, mask, &format!("making the queue pair {what}"))
    }

    fn reject(&self, reason: &[u8]) {
        let len = u8::try_from(reason.len()).unwrap_or(0);
        // SAFETY: an identifier with a pending request; the reason lives during the call.
        unsafe { (self.channel.library.rdma_reject)(self.raw.as_ptr(), reason.as_ptr().cast(), len) };
    }

    /// Tells the peer that this connection ends.
    pub fn disconnect(&self) {
        // SAFETY: a connected identifier; failure means that it is already disconnected.
        unsafe { (self.channel.library.rdma_disconnect)(self.raw.as_ptr()) };
    }

    /// Where its events arrive.
    pub fn channel(&self) -> &Arc<EventChannel> {
        &self.channel
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: an identifier that exists; the library sets the field when it binds it to a device.
        self.channel.library.has_opened(unsafe { self.raw.as_ref().verbs });
        // SAFETY: the last use; its events were acknowledged when they were taken.
        unsafe { (self.channel.library.rdma_destroy_id)(self.raw.as_ptr()) };
    }
}

fn parameters(terms: Terms, private_data: &[u8], queue_pair: &QueuePair) -> CmConnParam {
    CmConnParam {
        private_data: if private_data.is_empty() { std::ptr::null() } else { private_data.as_ptr().cast() },
        private_data_len: u8::try_from(private_data.len()).unwrap_or(0),
        responder_resources: terms.responder_depth,
        initiator_depth: terms.initiator_depth,
        flow_control: 1,
        retry_count: terms.retry_count,
        rnr_retry_count: terms.rnr_retry_count,
        srq: 0,
        qp_num: queue_pair.number(),
    }
}

fn expect(
    channel: &EventChannel,
    kind: u32,
    what: &str,
    until: &Deadline,
    began: Tick,
) -> Result<(), TransportError> {
    let event = channel.next(until, what, began)?;
    if event.kind == kind { Ok(()) } else { Err(unexpected(what, &event)) }
}

fn unexpected(what: &str, event: &Event) -> TransportError {
    let name = event_name(event.kind);
    if event.status < 0 {
        let source = io::Error::from_raw_os_error(-event.status);
        return TransportError::io(format!("{what}: {name}"), source);
    }
    TransportError::PeerGone {
        operation: what.to_owned(),
        how: None,
        detail: format!(
            "{name}, status {}; check that the peer's address is on its RDMA interface",
            event.status
        ),
    }
}

/// Name of a connection-manager event.
pub fn event_name(kind: u32) -> &'static str {
    match kind {
        0 => "address resolved",
        1 => "the address cannot be resolved to an RDMA device",
        2 => "route resolved",
        3 => "no route",
        4 => "connect request",
        5 => "connect response",
        6 => "the connection failed",
        7 => "the peer is unreachable or nobody listens there",
        8 => "the peer rejected the connection",
        9 => "established",
        10 => "disconnected",
        11 => "the RDMA device was removed",
        14 => "the address of the interface changed",
        15 => "connection time is over",
        _ => "unexpected event",
    }
}

/// Whether an event ends a connection; then how the peer went, where that is what it says, and the sentence for it.
pub fn ending(kind: u32) -> Option<(Option<Gone>, &'static str)> {
    let how = match kind {
        k::RDMA_CM_EVENT_DISCONNECTED => Some(Gone::Closed),
        // Of this host's device, and of a connection whose end was told before.
        k::RDMA_CM_EVENT_DEVICE_REMOVAL | k::RDMA_CM_EVENT_TIMEWAIT_EXIT => None,
        _ => return None,
    };
    Some((how, event_name(kind)))
}

/// Most that route resolution may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// One attempt at address resolution.
const RESOLVE_ATTEMPT: Duration = Duration::from_secs(1);
