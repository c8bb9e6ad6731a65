//! One connection: whole messages in, whole answers out (MS-SMB2 3.3.5.2). Decrypts, takes compounds apart, checks numbers and signatures,
//! has each request done, signs and encrypts what comes of it.
//!
//! It owns no socket and never waits: whoever has the pipe hands messages over one after the other. Who breaks the rules that keep two
//! ends in step is hung up on; everything else has an answer with a status.

use std::sync::Arc;

use crate::crypto::{PreauthHash, Signer};
use crate::file::FileId;
use crate::negotiate::Dialect;
use crate::seal::{TRANSFORM_BYTES, TRANSFORM_ID};
use crate::server::control::{Controlled, control};
use crate::server::logon::{Ground, Logons, Round};
use crate::server::negotiate::{self, Agreed};
use crate::server::put::Put;
use crate::server::reach::Reach;
use crate::server::request::{self, Negotiate, QueryDirectory, QueryInfo, Request, SetInfo};
use crate::server::session::{Session, Tree};
use crate::server::share::access;
use crate::server::window::Window;
use crate::server::{MESSAGE_BYTES_MAX, Server, files, info, listing};
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_RELATED, FLAG_RESPONSE, FLAG_SIGNED, HEADER_BYTES, Header, array_at};

/// What is to be done after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Send the answer; on its arrival this key of the peer ends.
    Answer(Option<u32>),
    /// Nothing: it has no answer.
    Silence,
    /// Close the connection, for this reason.
    HangUp(&'static str),
}

/// No request whose answer holds no data has a longer one. Less room than that, and it is not served: what it would do was to be told.
const SMALL_ANSWER_BYTES: usize = 1024;

/// One connection to a server.
pub struct Conversation {
    server: Arc<Server>,
    agreed: Option<Agreed>,
    preauth: PreauthHash,
    window: Window,
    logons: Logons,
    /// Answers to challenges are not looked at: the address has given too many wrong ones.
    pub locked_out: bool,
    /// Longest answer, in bytes, that the pipe carries.
    pub answer_bytes_max: usize,
}

/// What a request of a compound takes over from the one before it.
#[derive(Clone, Copy, Default)]
struct Before {
    session_id: u64,
    tree_id: u32,
    file: Option<FileId>,
    /// It had a session: without one nothing can be taken over.
    usable: bool,
    /// How it failed, if it did.
    failed: Option<NtStatus>,
}

/// How a request ended: its status, and a key of the peer that ends with the answer.
type Served = Result<(NtStatus, Option<u32>), NtStatus>;

/// Why the connection ends, in the place of a status.
struct Broken(&'static str);

impl Conversation {
    /// A fresh one.
    pub fn new(server: &Arc<Server>) -> Conversation {
        Conversation {
            server: server.clone(),
            agreed: None,
            preauth: PreauthHash::default(),
            window: Window::default(),
            logons: Logons::default(),
            locked_out: false,
            answer_bytes_max: MESSAGE_BYTES_MAX,
        }
    }

    /// Whether somebody has shown the password here.
    pub fn is_proven(&self) -> bool {
        self.logons.is_proven()
    }

    /// How often somebody showed a wrong one.
    pub fn refused_logons(&self) -> u32 {
        self.logons.refused
    }

    /// Takes one whole message, which is decrypted where it lies, and puts the answer into `out` (which is cleared).
    pub fn answer(&mut self, message: &mut [u8], reach: Option<&mut dyn Reach>, out: &mut Vec<u8>) -> Turn {
        out.clear();
        match self.turn(message, reach, out) {
            Ok(turn) => turn,
            Err(Broken(why)) => Turn::HangUp(why),
        }
    }

    fn turn(
        &mut self,
        message: &mut [u8],
        reach: Option<&mut dyn Reach>,
        out: &mut Vec<u8>,
    ) -> Result<Turn, Broken> {
        if !message.starts_with(&TRANSFORM_ID) {
            return self.chain(message, None, reach, out);
        }
        let id = array_at(message, TRANSFORM_BYTES - 8, "transform header").map(u64::from_le_bytes);
        let id = id.map_err(|_| Broken("an encrypted message was cut short"))?;
        // Taken out for as long as the message is served: what was asked may end the session, and its last word is encrypted, too.
        let sealer = self.logons.channel(id).and_then(|channel| channel.sealer.take());
        let mut sealer = sealer.ok_or(Broken("an encrypted message of no session here"))?;
        if !sealer.open(message) {
            return Err(Broken("an encrypted message that its session's key does not open"));
        }
        out.zeros(TRANSFORM_BYTES);
        let turn = self.chain(&mut message[TRANSFORM_BYTES..], Some(id), reach, out)?;
        if let Turn::Answer(_) = turn {
            sealer.seal(out);
        }
        if let Some(channel) = self.logons.channel(id) {
            channel.sealer = Some(sealer);
        }
        Ok(turn)
    }

    /// Takes the requests of a message one after the other.
    fn chain(
        &mut self,
        mut rest: &mut [u8],
        sealed_by: Option<u64>,
        mut reach: Option<&mut dyn Reach>,
        out: &mut Vec<u8>,
    ) -> Result<Turn, Broken> {
        let mut before = Before::default();
        let mut ends = None;
        let mut place = Place { first: true, last: false };
        loop {
            let (header, next) = Header::decode_chained(rest).map_err(|_| Broken("no SMB2 message"))?;
            let whole = rest.len();
            if next != 0 && (!next.is_multiple_of(8) || !(HEADER_BYTES..whole).contains(&next)) {
                return Err(Broken("a compound that does not add up"));
            }
            place.last = next == 0;
            let (one, after) = rest.split_at_mut(if next == 0 { whole } else { next });
            if header.flags & FLAG_RESPONSE != 0 {
                return Err(Broken("an answer, where requests belong"));
            }
            // Nothing here waits, so there is nothing to be given up (3.3.5.16); and it takes no number.
            if header.command == Command::Cancel {
                return if place.alone() { Ok(Turn::Silence) } else { Err(Broken("CANCEL in a compound")) };
            }
            if matches!(header.command, Command::Negotiate | Command::SessionSetup) && !place.alone() {
                // What is hashed for the keys is whole messages.
                return Err(Broken("a logon in a compound"));
            }
            if !self.window.take(header.message_id, header.charge) {
                return Err(Broken("a message number that was not granted, or was used before"));
            }
            let way = reach.as_mut().map(|reach| &mut **reach as &mut dyn Reach);
            let key = self.one(header, one, place, sealed_by, &mut before, way, out)?;
            ends = ends.or(key);
            if next == 0 {
                return Ok(Turn::Answer(ends));
            }
            place.first = false;
            rest = after;
        }
    }

    /// One request: puts its whole answer behind what is in `out`.
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is of its own kind")]
    fn one(
        &mut self,
        header: Header,
        message: &mut [u8],
        place: Place,
        sealed_by: Option<u64>,
        before: &mut Before,
        reach: Option<&mut dyn Reach>,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, Broken> {
        let related = header.flags & FLAG_RELATED != 0;
        if !related || place.first {
            *before = Before {
                session_id: header.session_id,
                tree_id: header.tree_id,
                usable: !related,
                ..Before::default()
            };
        }
        let begin = out.len();
        out.zeros(HEADER_BYTES);
        let mut answer = Header {
            flags: FLAG_RESPONSE | header.flags & FLAG_RELATED,
            session_id: before.session_id,
            tree_id: before.tree_id,
            ..header
        };
        // Whoever signs is answered signed; so is who must.
        let signed = header.flags & FLAG_SIGNED != 0;
        let mut signer = match self.logons.channel(before.session_id) {
            Some(channel) if signed || channel.session.founding.signing_required => {
                Some(channel.signer.clone())
            }
            Some(_) => None,
            None if signed => self.signer_elsewhere(&header, message, before.session_id),
            None => None,
        };
        let served = match before.usable {
            false => Err(NtStatus::INVALID_PARAMETER),
            // However its parts were paid for, an answer is no longer than what the pipe carries.
            true if begin + SMALL_ANSWER_BYTES > self.answer_bytes_max => {
                Err(NtStatus::INSUFFICIENT_RESOURCES)
            }
            true => match self.check(&header, message, sealed_by, before.session_id)? {
                Err(status) => {
                    before.usable = false;
                    Err(status)
                }
                Ok(()) => {
                    let request = Request { header, message, sealed: sealed_by.is_some() };
                    self.serve(&request, before, &mut answer, &mut signer, reach, out)?
                }
            },
        };
        let served = served.and_then(|done| match out.len() > self.answer_bytes_max {
            true => Err(NtStatus::INSUFFICIENT_RESOURCES),
            false => Ok(done),
        });
        before.failed = served.err();
        let (status, ends) = served.unwrap_or_else(|status| {
            out.truncate(begin + HEADER_BYTES);
            out.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 0]);
            (status, None)
        });
        before.tree_id = answer.tree_id;
        answer.status = status;
        answer.credits = self.window.grant(header.credits);
        out[begin..begin + HEADER_BYTES].copy_from_slice(&answer.encode_head());
        if !place.last {
            let length = (out.len() - begin).next_multiple_of(8);
            out.resize(begin + length, 0);
            out[begin + 20..begin + 24].copy_from_slice(&(length as u32).to_le_bytes());
        }
        if let Some(signer) = signer.filter(|_| sealed_by.is_none()) {
            signer.sign(&mut out[begin..]);
        }
        match header.command {
            Command::Negotiate => self.preauth.update(&out[begin..]),
            Command::SessionSetup => self.logons.hash_answer(answer.session_id, &out[begin..]),
            _ => {}
        }
        Ok(ends)
    }

    /// What signs the answer to whoever has a session elsewhere and not on this connection: it shows that by the session's key, and is shown by that
    /// key that it heard this server. A binding has its own way.
    fn signer_elsewhere(&self, header: &Header, message: &mut [u8], session_id: u64) -> Option<Signer> {
        let agreed = self.agreed.as_ref().filter(|_| header.command != Command::SessionSetup)?;
        let session = self.server.sessions.find(session_id)?;
        let its_client = session.founding.client_guid == agreed.asked.client_guid
            && session.founding.dialect == agreed.dialect;
        (its_client && session.founding.signer.verify(message)).then(|| session.founding.signer.clone())
    }

    /// Whether a request may be looked at: its session is here, and it is signed or encrypted as it must be.
    fn check(
        &mut self,
        header: &Header,
        message: &mut [u8],
        sealed_by: Option<u64>,
        session_id: u64,
    ) -> Result<Result<(), NtStatus>, Broken> {
        let dialect = self.agreed.as_ref().map(|agreed| agreed.dialect);
        match (header.command, dialect) {
            (Command::Negotiate, None) => return Ok(Ok(())),
            (Command::Negotiate, Some(_)) => return Err(Broken("a second NEGOTIATE")),
            (_, None) => return Err(Broken("a request before NEGOTIATE")),
            _ => {}
        }
        let signed = header.flags & FLAG_SIGNED != 0;
        let Some(channel) = self.logons.channel(session_id) else {
            return Ok(match header.command {
                // A logon has no session yet, and one that binds is checked by the key of its session.
                Command::SessionSetup => Ok(()),
                Command::Echo if session_id == 0 => Ok(()),
                _ => Err(NtStatus::USER_SESSION_DELETED),
            });
        };
        if let Some(sealed_by) = sealed_by {
            return Ok(if sealed_by == session_id { Ok(()) } else { Err(NtStatus::ACCESS_DENIED) });
        }
        if signed && !channel.signer.verify(message) {
            return Ok(Err(NtStatus::ACCESS_DENIED));
        }
        if !signed && header.command == Command::TreeConnect && dialect == Some(Dialect::V3_1_1) {
            // 3.3.5.7: it shows that nobody altered the logon.
            return Err(Broken("TREE_CONNECT at 3.1.1 without a signature"));
        }
        let must = channel.session.founding.signing_required && header.command != Command::SessionSetup;
        Ok(if must && !signed { Err(NtStatus::ACCESS_DENIED) } else { Ok(()) })
    }

    /// Does what is asked. Puts the answer's body into `out`.
    fn serve(
        &mut self,
        request: &Request<'_>,
        before: &mut Before,
        answer: &mut Header,
        signer: &mut Option<Signer>,
        reach: Option<&mut dyn Reach>,
        out: &mut Vec<u8>,
    ) -> Result<Served, Broken> {
        let server = self.server.clone();
        match request.header.command {
            Command::Negotiate => {
                let asked = Negotiate::decode(request);
                let agreed = asked.and_then(|asked| negotiate::answer(asked, server.guid, out));
                return Ok(agreed.map(|agreed| {
                    self.preauth.update(request.message);
                    self.agreed = Some(agreed);
                    (NtStatus::SUCCESS, None)
                }));
            }
            Command::SessionSetup => {
                let Some(agreed) = &self.agreed else { return Err(Broken("a request before NEGOTIATE")) };
                let ground = Ground {
                    agreed,
                    preauth: &self.preauth,
                    account: &server.account,
                    name: &server.name,
                    sessions: &server.sessions,
                    locked_out: self.locked_out,
                };
                return Ok(self.logons.round(request, &ground, out).map(|round| {
                    let Round { session_id, status, signer: by } = round;
                    answer.session_id = session_id;
                    *signer = by;
                    (status, None)
                }));
            }
            Command::Echo => return Ok(request::empty(request).map(|()| empty(out))),
            _ => {}
        }
        let Some(channel) = self.logons.channel(before.session_id) else {
            return Ok(Err(NtStatus::USER_SESSION_DELETED));
        };
        let session = channel.session.clone();
        match request.header.command {
            Command::Logoff => {
                return Ok(request::empty(request).map(|()| {
                    server.sessions.end(session.founding.id);
                    self.logons.forget(session.founding.id);
                    empty(out)
                }));
            }
            Command::TreeConnect => {
                return Ok(connect(request, &server, &session, out).map(|id| {
                    answer.tree_id = id;
                    (NtStatus::SUCCESS, None)
                }));
            }
            Command::Ioctl => {
                let Some(agreed) = &self.agreed else { return Err(Broken("a request before NEGOTIATE")) };
                if let Err(status) = session.tree(before.tree_id) {
                    return Ok(Err(status));
                }
                return match control(request, agreed, &session, before.file, &server, out) {
                    Ok(Controlled::HangUp) => Err(Broken("the negotiation was altered on its way")),
                    Ok(Controlled::Answered) => Ok(Ok((NtStatus::SUCCESS, None))),
                    Err(status) => Ok(Err(status)),
                };
            }
            _ => {}
        }
        Ok(on_share(request, &server, &session, before, reach, out))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.logons.leave(&self.server.sessions);
    }
}

/// Where a request stands in its message.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    last: bool,
}

impl Place {
    fn alone(self) -> bool {
        self.first && self.last
    }
}

/// The body of an answer that says nothing more than that it is one.
fn empty(out: &mut Vec<u8>) -> (NtStatus, Option<u32>) {
    out.word(4);
    out.zeros(2);
    (NtStatus::SUCCESS, None)
}

/// TREE_CONNECT: the number of the share.
fn connect(
    request: &Request<'_>,
    server: &Server,
    session: &Session,
    out: &mut Vec<u8>,
) -> Result<u32, NtStatus> {
    const NO_CACHING: u32 = 0x30;
    let name = request::tree_name(request)?;
    let tree = match name {
        _ if name.eq_ignore_ascii_case("IPC$") => Tree::Pipes,
        _ if name.eq_ignore_ascii_case(&server.share_name) => Tree::Disk,
        _ => return Err(NtStatus::BAD_NETWORK_NAME),
    };
    let id = session.attach(tree)?;
    out.word(16);
    out.word(if tree == Tree::Disk { 1 } else { 2 });
    out.double(if tree == Tree::Disk { NO_CACHING } else { 0 });
    out.double(0);
    out.double(access::ALL);
    Ok(id)
}

/// Where the handle stands in the body of a request.
fn handle_at(command: Command) -> Option<usize> {
    match command {
        Command::Close | Command::Flush | Command::Lock => Some(8),
        Command::QueryDirectory | Command::ChangeNotify => Some(8),
        Command::Read | Command::Write | Command::SetInfo => Some(16),
        Command::QueryInfo => Some(24),
        _ => None,
    }
}

/// A request about what a share holds.
fn on_share(
    request: &Request<'_>,
    server: &Server,
    session: &Session,
    before: &mut Before,
    reach: Option<&mut dyn Reach>,
    out: &mut Vec<u8>,
) -> Served {
    const DONE: NtStatus = NtStatus::SUCCESS;
    session.tree(before.tree_id)?;
    let command = request.header.command;
    let file = match handle_at(command) {
        None => FileId([0; 16]),
        Some(at) => match FileId(array_at(request.message, HEADER_BYTES + at, "handle")?) {
            named if named.0 == [0xFF; 16] && request.header.flags & FLAG_RELATED != 0 => {
                before.file.ok_or(before.failed.unwrap_or(NtStatus::INVALID_PARAMETER))?
            }
            named => named,
        },
    };
    if handle_at(command).is_some() {
        // A later one of the compound may mean the same (3.3.5.2.7.2), also after this one closed it.
        before.file = Some(file);
        if session.handle(file)?.opened.tree_id != before.tree_id {
            return Err(NtStatus::FILE_CLOSED);
        }
    }
    let done = |()| (DONE, None);
    match command {
        Command::Create => {
            before.file = Some(files::create(request, session, before.tree_id, &server.share, out)?);
            Ok((DONE, None))
        }
        Command::TreeDisconnect => {
            request::empty(request)?;
            session.detach(before.tree_id)?;
            Ok(empty(out))
        }
        Command::Close => files::close(request, session, file, out).map(done),
        Command::Flush => request::flush(request).and_then(|_| files::flush(session, file, out)).map(done),
        Command::Read => files::read(request, session, file, reach, out).map(|ends| (DONE, ends)),
        Command::Write => files::write(request, session, file, reach, out).map(|ends| (DONE, ends)),
        Command::QueryInfo => {
            let asked = QueryInfo { file, ..QueryInfo::decode(request)? };
            info::query(request, asked, session, out).map(|status| (status, None))
        }
        Command::SetInfo => {
            let asked = SetInfo { file, ..SetInfo::decode(request)? };
            info::set(request, asked, session, out).map(done)
        }
        Command::QueryDirectory => {
            let asked = QueryDirectory { file, ..QueryDirectory::decode(request)? };
            listing::list(request, asked, session, out).map(done)
        }
        Command::OplockBreak => Err(files::acknowledge(request, session)),
        Command::Other(_) => Err(NtStatus::INVALID_PARAMETER),
        // Locks and notices would have to be kept, and nobody would use them here.
        _ => Err(NtStatus::NOT_SUPPORTED),
    }
}
