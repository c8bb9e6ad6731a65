//! The way to a file on a share: NEGOTIATE, logon, share, file; further channels of the session; and the way back.
//!
//! The file is one of ours: it is made new under a name that the caller chose, opened for nobody else, and deleted by the server with its last handle, so
//! it is gone even when this end is. Nothing else on the share is opened, listed or changed.

use std::net::SocketAddr;
use std::time::Duration;

use pathproof_api::MessagePipe;
use pathproof_sys::clock::RealClock;

use crate::connection::{Answer, Connection, Kin, Protection, Request, Sizes, Told};
use crate::crypto::Signer;
use crate::direct_tcp::DirectTcp;
use crate::error::SmbError;
use crate::file::{self, Create, Created, Disposition, FileId};
use crate::fresh::random;
use crate::identity::Identity;
use crate::interfaces::{self, InterfaceList};
use crate::logon::{Logon, log_on};
use crate::negotiate::{Capabilities, Dialect, NegotiateRequest, NegotiateResponse};
use crate::seal::Sealer;
use crate::session::{self, TreeAnswer};
use crate::status::NtStatus;
use crate::validate;
use crate::wire::{Command, FLAG_SIGNED};

/// Whom to reach, and as whom.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The name that the user called the server by.
    pub server: String,
    /// The share.
    pub share: String,
    /// As whom.
    pub identity: Identity,
    /// Longest wait for a connection and for each answer.
    pub timeout: Duration,
    /// What its connections must carry.
    pub sizes: Sizes,
    /// Dialects offered, oldest first; from 3.0 on.
    pub dialects: Vec<Dialect>,
    /// What waits and answers are timed with.
    pub clock: RealClock,
}

/// The dialects that files are moved with.
pub const DIALECTS: [Dialect; 3] = [Dialect::V3_0, Dialect::V3_0_2, Dialect::V3_1_1];

/// What all channels of a session share.
pub struct Session {
    /// Its number.
    pub id: u64,
    /// What the first connection agreed on.
    pub agreed: NegotiateResponse,
    /// How requests are protected.
    pub protection: Protection,
    /// The share.
    pub tree_id: u32,
    /// The server demands encryption of all of the session, not of the share alone.
    is_sealed: bool,
    client_guid: [u8; 16],
    signer: Signer,
    sealer: Option<Sealer>,
}

impl Session {
    /// Whether the server takes further channels.
    pub fn takes_channels(&self) -> bool {
        self.agreed.capabilities.has(Capabilities::MULTI_CHANNEL)
    }
}

impl Goal {
    fn negotiate<P: MessagePipe>(
        &self,
        connection: &mut Connection<P>,
        dialects: &[Dialect],
        client_guid: [u8; 16],
    ) -> Result<NegotiateResponse, SmbError> {
        let request = NegotiateRequest {
            dialects,
            client_guid,
            salt: random()?,
            server_name: &self.server,
            for_session: true,
        };
        Ok(connection.negotiate(&request)?.0)
    }

    fn dial(&self, address: SocketAddr) -> Result<Connection, SmbError> {
        let pipe = DirectTcp::connect(address, self.timeout, self.sizes.message_bytes(), &self.clock)?;
        Ok(Connection::over(pipe, address, self.timeout, self.sizes, &self.clock))
    }

    /// Connects, logs on and attaches to the share. The session of the number `previous`, where it is not 0, ends with all that it holds open.
    pub fn connect(&self, address: SocketAddr, previous: u64) -> Result<(Connection, Session), SmbError> {
        let connection = self.dial(address)?;
        self.connect_over(connection, previous)
    }

    /// The same over a connection that stands.
    pub fn connect_over<P: MessagePipe>(
        &self,
        mut connection: Connection<P>,
        previous: u64,
    ) -> Result<(Connection<P>, Session), SmbError> {
        let address = connection.address();
        let client_guid = random()?;
        let agreed = self.negotiate(&mut connection, &self.dialects, client_guid)?;
        let setup = log_on(&mut connection, &agreed, Some(&self.identity), Logon::New(previous))?;
        let Some(signer) = connection.signer.clone() else { return Err(SmbError::OnlyGuest { address }) };
        // At 3.1.1 this one is signed whatever else is (MS-SMB2 3.2.4.1.1); it does no harm before.
        connection.protection = Protection::Signed;
        let sealed = |connection: &mut Connection<P>| {
            connection.protection = Protection::Sealed;
            connection.sealer.as_ref().map(drop).ok_or(SmbError::NeedsEncryption { address })
        };
        if setup.encryption_required {
            sealed(&mut connection)?;
        }
        let path = format!("\\\\{}\\{}", self.server, self.share);
        let reply = connection.exchange(Command::TreeConnect, &session::encode_tree_connect(&path))?;
        connection.expect_success(&reply)?;
        let tree = TreeAnswer::decode(connection.message())
            .map_err(|source| connection.wire("TREE_CONNECT", source))?;
        if !tree.is_disk {
            return Err(connection.refused("TREE_CONNECT", NtStatus::BAD_NETWORK_NAME));
        }
        connection.tree_id = reply.header.tree_id;
        self.validate(&mut connection, &agreed, client_guid)?;
        if tree.encryption_required {
            sealed(&mut connection)?;
        }
        if connection.protection == Protection::Signed && !agreed.signing_required {
            connection.protection = Protection::Open;
        }
        let session = Session {
            id: connection.session_id,
            protection: connection.protection,
            tree_id: connection.tree_id,
            is_sealed: setup.encryption_required,
            client_guid,
            signer,
            sealer: connection.sealer.clone(),
            agreed,
        };
        Ok((connection, session))
    }

    /// Whether the server agreed on what its answer said (MS-SMB2 3.2.5.5): before 3.1.1 anybody on the way could have changed that. The
    /// connection is still signed here, so nobody can change this.
    fn validate<P: MessagePipe>(
        &self,
        connection: &mut Connection<P>,
        agreed: &NegotiateResponse,
        client_guid: [u8; 16],
    ) -> Result<(), SmbError> {
        if agreed.dialect == Dialect::V3_1_1 {
            return Ok(());
        }
        let address = connection.address();
        let question = validate::encode(&self.dialects, client_guid);
        let reply = match connection.exchange(Command::Ioctl, &question) {
            Ok(reply) => reply,
            // What a server does that finds a difference by itself.
            Err(SmbError::Closed { .. }) => {
                return Err(SmbError::Downgraded { address, what: "it hung up when it was asked" });
            }
            Err(error) => return Err(error),
        };
        match reply.header.status {
            NtStatus::SUCCESS => {}
            NtStatus::ACCESS_DENIED => {
                return Err(SmbError::Downgraded { address, what: "it refused to say" });
            }
            // Servers without it exist (2.0.2 and 2.1 of old); a refusal that nobody signed proves nothing.
            _ if reply.header.flags & FLAG_SIGNED != 0 => return Ok(()),
            status => return Err(connection.refused("VALIDATE_NEGOTIATE_INFO", status)),
        }
        let different = validate::difference(connection.message(), agreed)
            .map_err(|source| connection.wire("VALIDATE_NEGOTIATE_INFO", source))?;
        different.map_or(Ok(()), |what| Err(SmbError::Downgraded { address, what }))
    }

    /// One more channel of a session, by TCP to an address of the same server. `number` is not 0, and different for every channel.
    pub fn bind(&self, session: &Session, address: SocketAddr, number: u16) -> Result<Connection, SmbError> {
        self.bind_over(self.dial(address)?, session, number)
    }

    /// The same over a connection that stands.
    pub fn bind_over<P: MessagePipe>(
        &self,
        mut connection: Connection<P>,
        session: &Session,
        number: u16,
    ) -> Result<Connection<P>, SmbError> {
        let address = connection.address();
        let agreed = self.negotiate(&mut connection, &[session.agreed.dialect], session.client_guid)?;
        // Whoever answers there gets no proof of the password before it says that it is the same server.
        if agreed.server_guid != session.agreed.server_guid || agreed.cipher != session.agreed.cipher {
            return Err(SmbError::OtherServer { address });
        }
        // A server that demands encryption may answer a further channel's logon encrypted already (Samba does).
        connection.sealer = session.sealer.as_ref().map(|sealer| sealer.for_channel(number));
        let logon = Logon::Channel { session_id: session.id, signer: &session.signer };
        log_on(&mut connection, &agreed, Some(&self.identity), logon).map_err(|error| match error {
            SmbError::LogonRefused { status: NtStatus::ACCESS_DENIED, .. } if session.is_sealed => {
                SmbError::NoSealedChannel { address }
            }
            error => error,
        })?;
        if connection.signer.is_none() {
            return Err(SmbError::OnlyGuest { address });
        }
        connection.protection = session.protection;
        connection.tree_id = session.tree_id;
        Ok(connection)
    }
}

impl<P: MessagePipe> Connection<P> {
    /// The server's NICs, as it lists them.
    pub fn interfaces(&mut self) -> Result<InterfaceList, SmbError> {
        let reply = self.exchange(Command::Ioctl, &interfaces::encode_query())?;
        self.expect_success(&reply)?;
        interfaces::decode_answer(self.message()).map_err(|source| self.wire("the interface query", source))
    }

    /// Makes a file that was not there and that the server deletes with its last handle.
    pub fn create(&mut self, path: &str, write_through: bool) -> Result<FileId, SmbError> {
        let create = Create { path, disposition: Disposition::Create, data: true, write_through };
        let created = self.open_file(&create)?;
        self.new_file(created, path)
    }

    fn new_file(&self, created: Created, path: &str) -> Result<FileId, SmbError> {
        if !created.is_new || created.end_of_file != 0 {
            let what = format!("it was asked to make {path} and opened a file that was there");
            return Err(SmbError::Untrue { address: self.address(), stage: "CREATE", what });
        }
        Ok(created.file)
    }

    /// The same, and how many bytes this account may write where the file lies: in one round trip, with a server that takes compounds.
    pub fn create_with_room(&mut self, path: &str, write_through: bool) -> Result<(FileId, u64), SmbError> {
        let create = Create { path, disposition: Disposition::Create, data: true, write_through };
        let (create, query) = (create.encode(), file::encode_room_query(FileId::BEFORE));
        let asked = [(Command::Create, &create[..]), (Command::QueryInfo, &query[..])];
        let [created, room] = self.exchange_two(asked, Kin::Related)?;
        let Some(created) = created.filter(|told| !told.may_refuse_compounds()) else {
            self.ask_apart();
            let file = self.create(path, write_through)?;
            return Ok((file, self.room(file)?));
        };
        let file = self.new_file(self.created(&created.answer, &created.message)?, path)?;
        match room.filter(|told| told.status() == NtStatus::SUCCESS) {
            Some(told) => Ok((file, self.room_in(&told.message)?)),
            None => {
                // It may not understand which file was meant.
                self.ask_apart();
                Ok((file, self.room(file)?))
            }
        }
    }

    /// Deletes a file, if it is there; whether it was.
    pub fn remove(&mut self, path: &str) -> Result<bool, SmbError> {
        let create = Create { path, disposition: Disposition::Open, data: false, write_through: false };
        match self.open_file(&create) {
            Ok(created) => self.close_file(created.file).map(|()| true),
            Err(error) if error.status() == Some(NtStatus::OBJECT_NAME_NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn open_file(&mut self, create: &Create<'_>) -> Result<Created, SmbError> {
        let reply = self.exchange(Command::Create, &create.encode())?;
        self.created(&reply, self.message())
    }

    fn created(&self, answer: &Answer, message: &[u8]) -> Result<Created, SmbError> {
        self.expect_success(answer)?;
        Created::decode(message).map_err(|source| self.wire("CREATE", source))
    }

    /// Closes a file.
    pub fn close_file(&mut self, file: FileId) -> Result<(), SmbError> {
        let reply = self.exchange(Command::Close, &file::encode_handle(file))?;
        self.expect_success(&reply)
    }

    /// Closes a file, and then deletes what is still there under its name; whether anything was. In one round trip, where nothing is. The outer error
    /// is that of the closing.
    pub fn close_and_remove(&mut self, file: FileId, path: &str) -> Result<Result<bool, SmbError>, SmbError> {
        let open = Create { path, disposition: Disposition::Open, data: false, write_through: false };
        let (close, open) = (file::encode_handle(file), open.encode());
        let asked = [(Command::Close, &close[..]), (Command::Create, &open[..])];
        let [closed, opened] = self.exchange_two(asked, Kin::Unrelated)?;
        match closed.filter(|told| !told.may_refuse_compounds()) {
            Some(told) => self.expect_success(&told.answer)?,
            None => self.close_file(file)?,
        }
        Ok(match opened {
            Some(told) if told.status() == NtStatus::OBJECT_NAME_NOT_FOUND => Ok(false),
            Some(told) if told.status() == NtStatus::SUCCESS => self.close_opened(&told).map(|()| true),
            // A server may have looked before it had closed.
            _ => self.remove(path),
        })
    }

    fn close_opened(&mut self, told: &Told) -> Result<(), SmbError> {
        let created = self.created(&told.answer, &told.message)?;
        self.close_file(created.file)
    }

    /// Returns when what was written has reached the disk, as far as the server knows.
    pub fn flush(&mut self, file: FileId) -> Result<(), SmbError> {
        let reply = self.exchange(Command::Flush, &file::encode_handle(file))?;
        self.expect_success(&reply)
    }

    /// Bytes that this account may still write where the file lies.
    pub fn room(&mut self, file: FileId) -> Result<u64, SmbError> {
        let reply = self.exchange(Command::QueryInfo, &file::encode_room_query(file))?;
        self.expect_success(&reply)?;
        self.room_in(self.message())
    }

    fn room_in(&self, message: &[u8]) -> Result<u64, SmbError> {
        file::decode_room(message).map_err(|source| self.wire("QUERY_INFO", source))
    }

    /// The length of the file, in bytes.
    pub fn length(&mut self, file: FileId) -> Result<u64, SmbError> {
        let reply = self.exchange(Command::QueryInfo, &file::encode_length_query(file))?;
        self.expect_success(&reply)?;
        file::decode_length(self.message()).map_err(|source| self.wire("QUERY_INFO", source))
    }

    /// Writes a piece and waits for it.
    pub fn write(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), SmbError> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let body = file::encode_write(file, offset, length, false);
        let request =
            Request { data, moves_bytes: data.len() as u64, ..Request::small(Command::Write, &body) };
        let reply = self.exchange_one(&request)?;
        self.expect_success(&reply)?;
        let wrote = file::decode_write(self.message()).map_err(|source| self.wire("WRITE", source))?;
        if wrote != length {
            let what = format!("it wrote {wrote} of {length} bytes");
            return Err(SmbError::Untrue { address: self.address(), stage: "WRITE", what });
        }
        Ok(())
    }

    /// Whether the server takes a request without a signature although it demands one of each: it is asked for its NICs so. `None` where it
    /// demands none, or gave no answer. A server may end the connection over this: it is the last thing to ask.
    pub fn takes_unsigned(&mut self) -> Option<bool> {
        if self.protection != Protection::Signed {
            return None;
        }
        self.protection = Protection::Open;
        let reply = self.exchange(Command::Ioctl, &interfaces::encode_query());
        self.protection = Protection::Signed;
        Some(reply.ok()?.header.status == NtStatus::SUCCESS)
    }

    /// Leaves the share and the session. Whatever the server says to that, it was told.
    pub fn leave(&mut self) -> Result<(), SmbError> {
        let _ = self.exchange(Command::TreeDisconnect, &session::LEAVE)?;
        let _ = self.exchange(Command::Logoff, &session::LEAVE)?;
        Ok(())
    }
}
