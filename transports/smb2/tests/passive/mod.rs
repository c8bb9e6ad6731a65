//! A server without a socket, this crate's own client to it, and messages made by hand. Test support only.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pathproof_api::wire::Exposed;
use pathproof_api::{
    Access, Arrival, Invalidated, LaneStats, MessagePipe, PipeLimits, Queued, Region, RegionId,
    TransportError, Wait,
};
use pathproof_smb2::connection::{Connection, Protection, Request, Sizes};
use pathproof_smb2::crypto::Signer;
use pathproof_smb2::file::{self, FileId};
use pathproof_smb2::logon::{Logon, log_on};
use pathproof_smb2::negotiate::{NegotiateRequest, NegotiateResponse};
use pathproof_smb2::server::{Conversation, Descriptor, Reach, Server, Settings, Turn, Unreached, cut};
use pathproof_smb2::session::encode_tree_connect;
use pathproof_smb2::wire::{Command, FLAG_SIGNED, Header};
use pathproof_smb2::{Credentials, Dialect, Identity, NtStatus, SmbError};
use pathproof_sys::clock::RealClock;

pub const MIB: usize = 1 << 20;
pub const SIZES: Sizes = Sizes { data_bytes: MIB, depth: 4 };
pub const GUID: [u8; 16] = [7; 16];

pub fn server(bytes: u64) -> Arc<Server> {
    let account = account("lab", "Lab-Pass-1");
    Server::new(Settings { account, name: "SINK".into(), share: "sink".into(), bytes }).unwrap()
}

pub fn who(user: &str, password: &str) -> Identity {
    account(user, password).into()
}

fn account(user: &str, password: &str) -> Credentials {
    Credentials { user: user.into(), domain: "WORKGROUP".into(), password: password.into() }
}

/// The client's memory, as RDMA would reach it: at 1000 with key 5.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<Vec<u8>>>);

impl Reach for Memory {
    fn fetch(&mut self, from: &[Descriptor], into: &mut [u8]) -> Result<(), Unreached> {
        let memory = self.0.lock().unwrap();
        for (at, piece) in cut(from, into.len()) {
            let (there, bytes) = (place(&piece)?, piece.bytes as usize);
            let found = memory.get(there..there + bytes).ok_or(Unreached)?;
            into[at..at + bytes].copy_from_slice(found);
        }
        Ok(())
    }

    fn place(&mut self, bytes: &[u8], to: &[Descriptor]) -> Result<(), Unreached> {
        let mut memory = self.0.lock().unwrap();
        for (at, piece) in cut(to, bytes.len()) {
            let (there, count) = (place(&piece)?, piece.bytes as usize);
            memory.get_mut(there..there + count).ok_or(Unreached)?.copy_from_slice(&bytes[at..at + count]);
        }
        Ok(())
    }
}

pub fn place(piece: &Descriptor) -> Result<usize, Unreached> {
    if piece.token == 5 {
        piece.address.checked_sub(1000).map(|at| at as usize).ok_or(Unreached)
    } else {
        Err(Unreached)
    }
}

/// How the server of a pipe stops.
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It says nothing more.
    Silence,
    /// It has begun an answer, of which so many bytes do not come.
    Missing(u64),
    /// The same, and the pipe is the one that gives it up.
    GivenUp(u64),
    /// The connection ends; this is the adapter's word for it, where there is one.
    Ends(Option<&'static str>),
}

/// A pipe whose other end is a server, at once.
pub struct Loop {
    pub conversation: Conversation,
    pub answers: VecDeque<(Vec<u8>, Option<u32>)>,
    pub ended: Option<u32>,
    /// A key that the next messages are said to have ended, whatever the server meant.
    pub ends: Option<u32>,
    pub memory: Option<Memory>,
    pub limits: PipeLimits,
    /// From now on nobody answers.
    pub stops: Option<Stop>,
    /// Messages to the server.
    pub sent: usize,
    /// What the next answers say of where the next one of their compound begins, whatever the server said.
    pub damages: Option<u32>,
    /// The server sees the first request of a compound alone.
    pub first_only: bool,
}

impl Loop {
    pub fn to(server: &Arc<Server>) -> Loop {
        let limits = PipeLimits {
            send_bytes_max: u64::MAX,
            receive_bytes_max: u64::MAX,
            one_sided_bytes_max: None,
            whole_within: Duration::from_secs(1),
        };
        Loop {
            conversation: Conversation::new(server),
            answers: VecDeque::new(),
            ended: None,
            ends: None,
            memory: None,
            limits,
            stops: None,
            sent: 0,
            damages: None,
            first_only: false,
        }
    }

    pub fn say(&mut self, message: &[u8]) -> Turn {
        let (mut message, mut out) = (message.to_vec(), vec![]);
        let reach = self.memory.as_mut().map(|memory| memory as &mut dyn Reach);
        let turn = self.conversation.answer(&mut message, reach, &mut out);
        if let Turn::Answer(key) = turn {
            self.answers.push_back((out, key));
        }
        turn
    }

    pub fn heard(&mut self) -> Vec<u8> {
        self.answers.pop_front().expect("an answer").0
    }
}

impl MessagePipe for Loop {
    fn limits(&self) -> &PipeLimits {
        &self.limits
    }

    fn send(&mut self, parts: &[&[u8]], _: Option<u32>) -> Result<Queued, TransportError> {
        self.sent += 1;
        if self.stops.is_some() {
            return Ok(Queued::Yes);
        }
        let mut message = parts.concat();
        let next = Header::decode_chained(&message).map_or(0, |(_, next)| next);
        if self.first_only && next != 0 {
            message.truncate(next);
            message[20..24].fill(0);
        }
        match self.say(&message) {
            Turn::HangUp(why) => {
                Err(TransportError::PeerGone { operation: "test".into(), how: None, detail: why.into() })
            }
            _ => Ok(Queued::Yes),
        }
    }

    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError> {
        if let Some(stop) = self.stops {
            return stopped(stop, wait);
        }
        let Some((answer, key)) = self.answers.pop_front() else { return Ok(None) };
        self.ended = key;
        *message = answer;
        if let Some(next) = self.damages {
            message[20..24].copy_from_slice(&next.to_le_bytes());
        }
        Ok(Some(match key.or(self.ends) {
            Some(key) => Arrival { invalidated: Invalidated::Flagged(key), endings: 1, fragments: 1 },
            None => Arrival { fragments: 1, ..Arrival::default() },
        }))
    }

    fn unfinished(&self) -> Option<u64> {
        match self.stops {
            Some(Stop::Missing(bytes) | Stop::GivenUp(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn expose(&mut self, _: &Arc<Region>, _: Access) -> Result<Exposed, TransportError> {
        Err(TransportError::invalid("nothing is exposed here"))
    }

    fn withdraw(&mut self, _: RegionId) -> Result<(), TransportError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> LaneStats {
        LaneStats::default()
    }
}

fn stopped(stop: Stop, wait: Wait) -> Result<Option<Arrival>, TransportError> {
    let operation = "test".to_owned();
    match stop {
        Stop::Silence | Stop::Missing(_) => {
            if let Wait::AtMost(within) = wait {
                std::thread::sleep(within.min(Duration::from_millis(5)));
            }
            Ok(None)
        }
        Stop::GivenUp(_) => Err(TransportError::Timeout { operation, after: Duration::from_secs(15) }),
        Stop::Ends(Some(word)) => Err(TransportError::Io { operation, source: std::io::Error::other(word) }),
        Stop::Ends(None) => {
            Err(TransportError::PeerGone { operation, how: None, detail: "it is gone".into() })
        }
    }
}

pub type Client = Connection<Loop>;

pub fn over(pipe: Loop) -> Client {
    let address: SocketAddr = "192.0.2.1:445".parse().unwrap();
    Connection::over(pipe, address, Duration::from_secs(1), SIZES, &RealClock::new())
}

pub fn negotiate(client: &mut Client, dialects: &[Dialect], guid: [u8; 16]) -> NegotiateResponse {
    let request = NegotiateRequest {
        dialects,
        client_guid: guid,
        salt: [1; 32],
        server_name: "sink",
        for_session: true,
    };
    client.negotiate(&request).unwrap().0
}

pub fn logged_on(server: &Arc<Server>, dialect: Dialect) -> Client {
    let mut client = over(Loop::to(server));
    let agreed = negotiate(&mut client, &[dialect], GUID);
    log_on(&mut client, &agreed, Some(&who("LAB", "Lab-Pass-1")), Logon::new()).unwrap();
    client.protection = Protection::Signed;
    client
}

pub fn attached(server: &Arc<Server>, dialect: Dialect) -> Client {
    let mut client = logged_on(server, dialect);
    assert_eq!(attach(&mut client, "sink"), NtStatus::SUCCESS);
    client
}

pub fn attach(client: &mut Client, share: &str) -> NtStatus {
    let path = format!("\\\\server\\{share}");
    let answer = client.exchange(Command::TreeConnect, &encode_tree_connect(&path)).unwrap();
    client.tree_id = answer.header.tree_id;
    answer.header.status
}

pub fn status(client: &mut Client, command: Command, body: &[u8]) -> NtStatus {
    client.exchange(command, body).unwrap().header.status
}

pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub fn read(client: &mut Client, file: FileId, offset: u64, bytes: u32) -> Vec<u8> {
    let body = file::encode_read(file, offset, bytes);
    let request = Request { moves_bytes: u64::from(bytes), ..Request::small(Command::Read, &body) };
    let answer = client.exchange_one(&request).unwrap();
    assert_eq!(answer.header.status, NtStatus::SUCCESS);
    file::decode_read(client.message(), bytes).unwrap().to_vec()
}

/// A whole message of a session, signed by `signer` where there is one.
pub fn raw(
    client: &Client,
    command: Command,
    message_id: u64,
    charge: u16,
    body: &[u8],
    signer: Option<&Signer>,
) -> Vec<u8> {
    let header = Header {
        charge,
        tree_id: client.tree_id,
        session_id: client.session_id,
        ..Header::request(command, message_id)
    };
    let mut message = header.encode(body);
    if let Some(signer) = signer {
        signer.sign(&mut message);
    }
    message
}

/// A session over a conversation that the test talks to itself, and the next message number.
pub fn by_hand(dialect: Dialect) -> (Client, Loop, u64) {
    let server = server(8 << 20);
    let client = attached(&server, dialect);
    // Everything up to the attachment took one number each: NEGOTIATE, two rounds, TREE_CONNECT.
    let (parts, pipe) = take_apart(client);
    (parts, pipe, 4)
}

/// The pipe out of a client, and a client of the same names that goes nowhere.
pub fn take_apart(client: Client) -> (Client, Loop) {
    let mut names = over(Loop::to(&server(1 << 20)));
    names.session_id = client.session_id;
    names.tree_id = client.tree_id;
    names.signer = client.signer.clone();
    (names, client.into_pipe())
}

pub fn heard_status(pipe: &mut Loop) -> NtStatus {
    Header::decode_chained(&pipe.heard()).unwrap().0.status
}

/// NEGOTIATE at 3.0.2 of a client that demands signatures.
pub fn negotiate_demanding(client: &mut Client) -> NegotiateResponse {
    let request = NegotiateRequest {
        dialects: &[Dialect::V3_0_2],
        client_guid: GUID,
        salt: [0; 32],
        server_name: "",
        for_session: true,
    };
    let mut body = request.encode();
    body[4] = 3;
    client.exchange(Command::Negotiate, &body).unwrap();
    NegotiateResponse::decode(client.message()).unwrap()
}

pub fn descriptors(pieces: &[(u64, u32, u32)]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|(address, token, bytes)| {
            [&address.to_le_bytes()[..], &token.to_le_bytes(), &bytes.to_le_bytes()].concat()
        })
        .collect()
}

pub fn remote_write(
    file: FileId,
    offset: u64,
    bytes: u32,
    channel: u32,
    pieces: &[(u64, u32, u32)],
) -> Vec<u8> {
    let mut body = file::encode_write(file, offset, 0, false).to_vec();
    body[2..4].fill(0);
    body[32] = channel as u8;
    body[36..40].copy_from_slice(&bytes.to_le_bytes());
    let list = descriptors(pieces);
    body[40..42].copy_from_slice(&112u16.to_le_bytes());
    body[42..44].copy_from_slice(&(list.len() as u16).to_le_bytes());
    body.extend(list);
    body
}

pub fn remote_read(
    file: FileId,
    offset: u64,
    bytes: u32,
    channel: u32,
    pieces: &[(u64, u32, u32)],
) -> Vec<u8> {
    let mut body = file::encode_read(file, offset, bytes).to_vec();
    body.truncate(48);
    body[36] = channel as u8;
    let list = descriptors(pieces);
    body[44..46].copy_from_slice(&112u16.to_le_bytes());
    body[46..48].copy_from_slice(&(list.len() as u16).to_le_bytes());
    body.extend(list);
    body
}

/// Several requests as one message, each signed.
pub fn compound(requests: &[Vec<u8>], signer: &Signer) -> Vec<u8> {
    let mut whole = vec![];
    for (at, request) in requests.iter().enumerate() {
        let mut one = request.clone();
        if at + 1 < requests.len() {
            one.resize(one.len().next_multiple_of(8), 0);
            let next = one.len() as u32;
            one[20..24].copy_from_slice(&next.to_le_bytes());
        }
        signer.sign(&mut one);
        whole.extend(one);
    }
    whole
}

pub fn statuses(mut answer: &[u8], signer: &Signer) -> Vec<NtStatus> {
    let mut found = vec![];
    loop {
        let (header, next) = Header::decode_chained(answer).unwrap();
        let (one, rest) = answer.split_at(if next == 0 { answer.len() } else { next });
        assert!(header.flags & FLAG_SIGNED != 0 && signer.verify(&mut one.to_vec()), "each is signed");
        found.push(header.status);
        if next == 0 {
            return found;
        }
        answer = rest;
    }
}

pub fn bind(
    server: &Arc<Server>,
    first: &Client,
    dialect: Dialect,
    guid: [u8; 16],
    signer: &Signer,
) -> Result<Client, SmbError> {
    let mut second = over(Loop::to(server));
    let agreed = negotiate(&mut second, &[dialect], guid);
    let logon = Logon::Channel { session_id: first.session_id, signer };
    log_on(&mut second, &agreed, Some(&who("lab", "Lab-Pass-1")), logon)?;
    second.protection = Protection::Signed;
    second.tree_id = first.tree_id;
    Ok(second)
}
