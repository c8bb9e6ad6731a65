//! One question to the kernel over rtnetlink, and all messages of its answer.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything of one sort (`RTM_GETLINK` …).
pub(crate) fn dump(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    ask(question, NLM_F_REQUEST | NLM_F_DUMP)
}

/// One thing.
pub(crate) fn one(question: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
    ask(question, NLM_F_REQUEST).map(|answers| answers.into_iter().next())
}

/// For [`change`]: make it, unless it is there.
pub(crate) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Changes something; the kernel has done it when this returns.
pub(crate) fn change(order: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(order, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
}

/// One question of a type that the message library does not know; returns the body of the answer.
pub(crate) fn raw(kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    const HEADER: usize = 16; // struct nlmsghdr
    let socket = open()?;
    let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]); // sequence and port
    bytes.extend_from_slice(body);
    socket.send(&bytes, 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "an answer cut short");
    let word = |at: usize| datagram.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    let length = word(0).and_then(|n| usize::try_from(n).ok()).ok_or_else(cut)?;
    let answered = datagram.get(4..6).ok_or_else(cut)?;
    if answered == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
        return Err(io::Error::from_raw_os_error(-word(HEADER).ok_or_else(cut)?));
    }
    datagram.get(HEADER..length).map(<[u8]>::to_vec).ok_or_else(cut)
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket2::SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn ask(question: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = open()?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(answers);
        }
    }
}
