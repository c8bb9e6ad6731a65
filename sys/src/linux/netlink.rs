//! One question to the kernel over rtnetlink, and all messages of its answer.
//!
//! Messages are framed, and their attributes taken apart, by `netlink-packet-core`. What attributes mean, their readers know: some thirty of them,
//! by their names in the C headers. One that nobody here asks for is never looked into, so that none of a younger kernel makes an answer
//! unreadable.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    NlasIterator, parse_ip, parse_string, parse_u32,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Where every structure has the family of its addresses.
pub(crate) const FAMILY: usize = 0;

/// Where the fields of `struct ifinfomsg` are (linux/rtnetlink.h).
pub(crate) mod link {
    pub(crate) const TYPE: usize = 2;
    pub(crate) const INDEX: usize = 4;
    pub(crate) const FLAGS: usize = 8;
    pub(crate) const CHANGE: usize = 12;
}

/// Where those of `struct ifaddrmsg` are (linux/if_addr.h).
pub(crate) mod address {
    pub(crate) const PREFIX_BITS: usize = 1;
    pub(crate) const SCOPE: usize = 3;
    pub(crate) const INDEX: usize = 4;
}

/// Where those of `struct rtmsg` are (linux/rtnetlink.h), and of `struct fib_rule_hdr` (linux/fib_rules.h), which is laid out like it.
pub(crate) mod route {
    pub(crate) const DESTINATION_BITS: usize = 1;
    pub(crate) const SOURCE_BITS: usize = 2;
    pub(crate) const TABLE: usize = 4;
    pub(crate) const PROTOCOL: usize = 5;
    pub(crate) const TYPE: usize = 7;
    pub(crate) const FLAGS: usize = 8;
}

/// Where those of `struct ndmsg` are (linux/neighbour.h).
pub(crate) mod neighbour {
    pub(crate) const INDEX: usize = 4;
    pub(crate) const STATE: usize = 8;
}

/// Where those of `struct tcmsg` are (linux/rtnetlink.h).
pub(crate) mod discipline {
    pub(crate) const INDEX: usize = 4;
    pub(crate) const HANDLE: usize = 8;
    pub(crate) const PARENT: usize = 12;
}

/// Bytes of the structure that a message of this kind (`RTM_…`) begins with.
fn head_bytes(kind: u16) -> usize {
    match kind {
        libc::RTM_NEWLINK..=libc::RTM_SETLINK => 16,
        libc::RTM_NEWADDR..=libc::RTM_GETADDR => 8,
        libc::RTM_NEWROUTE..=libc::RTM_GETROUTE => 12,
        libc::RTM_NEWNEIGH..=libc::RTM_GETNEIGH => 12,
        libc::RTM_NEWRULE..=libc::RTM_GETRULE => 12,
        libc::RTM_NEWQDISC..=libc::RTM_GETQDISC => 20,
        // Of no other is anything read.
        _ => 0,
    }
}

/// A message: its kind, and the structure of that kind with attributes behind it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Which (`RTM_…`).
    pub kind: u16,
    /// Never shorter than the structure.
    body: Vec<u8>,
}

impl Message {
    /// One of this kind in which everything is zero.
    pub(crate) fn of(kind: u16) -> Message {
        Message { kind, body: vec![0; head_bytes(kind)] }
    }

    /// With a field of its structure.
    pub(crate) fn set(mut self, at: usize, field: &[u8]) -> Message {
        self.body[at..at + field.len()].copy_from_slice(field);
        self
    }

    /// With an attribute more.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Message {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let begin = self.body.len();
        self.body.resize(begin + attribute.buffer_len(), 0);
        attribute.emit(&mut self.body[begin..]);
        self
    }

    /// The same without the attributes of a kind.
    pub(crate) fn without(&self, kind: u16) -> Message {
        let head = self.body.iter().take(head_bytes(self.kind)).copied().collect();
        let kept = self.attributes().filter(|one| one.kind != kind);
        kept.fold(Message { kind: self.kind, body: head }, |message, one| message.with(one.kind, one.value))
    }

    /// Structure and attributes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    fn field<const BYTES: usize>(&self, at: usize) -> [u8; BYTES] {
        // All of the structure is there: who is shorter was never read.
        let field = self.body.get(at..at + BYTES).and_then(|bytes| bytes.try_into().ok());
        field.unwrap_or([0; BYTES])
    }

    /// A field of the structure.
    pub(crate) fn u8_at(&self, at: usize) -> u8 {
        self.field::<1>(at)[0]
    }

    /// A field of the structure.
    pub(crate) fn u16_at(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.field(at))
    }

    /// A field of the structure.
    pub(crate) fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.field(at))
    }

    /// What follows the structure.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        attributes(self.body.get(head_bytes(self.kind)..).unwrap_or_default())
    }

    /// The first attribute of a kind.
    pub(crate) fn attribute(&self, kind: u16) -> Option<Attribute<'_>> {
        self.attributes().find(|one| one.kind == kind)
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Message, DecodeError> {
        let kind = header.message_type;
        match payload.len() < head_bytes(kind) {
            true => Err(DecodeError::invalid_buffer("message", payload.len(), head_bytes(kind))),
            false => Ok(Message { kind, body: payload.to_vec() }),
        }
    }
}

/// An attribute of a message, or of another attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    /// Which, among those of its place (`IFLA_…`, `RTA_…`).
    pub kind: u16,
    /// Its bytes.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// As a number of 32 bits.
    pub(crate) fn number(self) -> Option<u32> {
        parse_u32(self.value).ok()
    }

    /// As text.
    pub(crate) fn text(self) -> Option<String> {
        parse_string(self.value).ok()
    }

    /// As an address of either family.
    pub(crate) fn address(self) -> Option<IpAddr> {
        parse_ip(self.value).ok()
    }

    /// What it is made of.
    pub(crate) fn nested(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.value)
    }
}

/// One after another, until one is cut short.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|one| {
        let (kind, length) = (one.kind(), usize::from(one.length()));
        Attribute { kind, value: one.into_inner().get(NLA_HEADER_SIZE..length).unwrap_or_default() }
    })
}

/// An address as the kernel takes it.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything of one sort (`RTM_GETLINK` …).
pub(crate) fn dump(question: Message) -> io::Result<Vec<Message>> {
    ask(question, NLM_F_REQUEST | NLM_F_DUMP)
}

/// One thing.
pub(crate) fn one(question: Message) -> io::Result<Option<Message>> {
    ask(question, NLM_F_REQUEST).map(|answers| answers.into_iter().next())
}

/// For [`change`]: make it, unless it is there.
pub(crate) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Changes something; the kernel has done it when this returns.
pub(crate) fn change(order: Message, flags: u16) -> io::Result<()> {
    ask(order, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
}

/// One question of a type that is not among those above; returns the body of the answer.
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

fn ask(question: Message, flags: u16) -> io::Result<Vec<Message>> {
    let socket = open()?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<Message>::deserialize(rest)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn across(message: Message) -> Result<Message, DecodeError> {
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        match NetlinkMessage::<Message>::deserialize(&bytes)?.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_keeps_its_fields_and_attributes_on_the_way() {
        let sent = Message::of(libc::RTM_NEWROUTE)
            .set(FAMILY, &[2])
            .set(route::FLAGS, &0x2000u32.to_ne_bytes())
            .with(libc::RTA_DST, &[192, 0, 2, 0])
            .with(libc::RTA_CACHEINFO, &[7; 32])
            .with(libc::RTA_OIF, &3u32.to_ne_bytes())
            .with(libc::IFLA_IFNAME, b"eth0\0");
        let read = across(sent).unwrap();
        assert_eq!(
            (read.kind, read.u8_at(FAMILY), read.u32_at(route::FLAGS)),
            (libc::RTM_NEWROUTE, 2, 0x2000)
        );
        assert_eq!(read.attribute(libc::RTA_DST).unwrap().address(), Some([192, 0, 2, 0].into()));
        assert_eq!(read.attribute(libc::RTA_OIF).unwrap().number(), Some(3));
        assert_eq!(read.attribute(libc::IFLA_IFNAME).unwrap().text(), Some("eth0".into()));
        let kept: Vec<u16> = read.without(libc::RTA_CACHEINFO).attributes().map(|one| one.kind).collect();
        assert_eq!(kept, [libc::RTA_DST, libc::RTA_OIF, libc::IFLA_IFNAME]);
        assert_eq!(read.without(libc::RTA_CACHEINFO).u32_at(route::FLAGS), 0x2000);
    }

    #[test]
    fn an_attribute_has_others_in_it_and_none_is_made_up_of_half_a_one() {
        let inner = Message::of(0).with(2, &1400u32.to_ne_bytes());
        let outer = Message::of(libc::RTM_NEWROUTE).with(libc::RTA_METRICS, &inner.body);
        let metrics = outer.attribute(libc::RTA_METRICS).unwrap();
        let read: Vec<(u16, Option<u32>)> = metrics.nested().map(|one| (one.kind, one.number())).collect();
        assert_eq!(read, [(2, Some(1400))]);
        let mut cut = outer.clone();
        cut.body.truncate(cut.body.len() - 2);
        assert_eq!(cut.attributes().count(), 0, "its last bytes are missing");
        assert_eq!(Attribute { kind: 1, value: &[1, 2] }.number(), None);
        assert_eq!(Attribute { kind: 1, value: &[1, 2] }.address(), None);
    }

    #[test]
    fn what_is_shorter_than_its_structure_is_not_read() {
        let short = Message { kind: libc::RTM_NEWLINK, body: vec![0; 12] };
        assert!(across(short).unwrap_err().to_string().contains("at least 16"));
    }
}
