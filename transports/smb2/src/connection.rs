//! One TCP connection to a server: write a message, wait for its answer, until a deadline.
//!
//! Blocking std sockets; every exchange has one deadline that a server cannot stretch by dripping
//! bytes, and a bounded number of messages it may send before the one that was asked for. Refuses to
//! retry anything: whether a second attempt is harmless is for the caller to know.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pathproof_sys::clock::{Clock, Deadline, RealClock};

use crate::crypto::{PreauthHash, Sealer, Signer, TRANSFORM_ID};
use crate::error::{AskError, WireError};
use crate::negotiate::{Dialect, NegotiateRequest, NegotiateResponse};
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_RESPONSE, FLAG_SIGNED, Header, frame, frame_length};

/// Messages other than the expected answer that are read past: interim answers and notifications.
const MAX_UNRELATED: usize = 8;

/// An answer, and how long it took.
pub struct Reply {
    /// Its header.
    pub header: Header,
    /// All of it, header included.
    pub message: Vec<u8>,
    /// From the first byte written to the last byte read.
    pub elapsed: Duration,
}

/// A connection with whatever session and tree it has got so far.
pub struct Connection {
    stream: TcpStream,
    clock: RealClock,
    address: SocketAddr,
    timeout: Duration,
    message_id: u64,
    /// How long the TCP handshake took.
    pub connect_time: Duration,
    /// The session, 0 before any.
    pub session_id: u64,
    /// The share, 0 before any.
    pub tree_id: u32,
    /// Signs requests and checks answers once set.
    pub signer: Option<Signer>,
    /// Encrypts requests instead, and decrypts answers, once set.
    pub sealer: Option<Sealer>,
    /// Everything said before the logon was accepted.
    pub preauth: PreauthHash,
}

impl Connection {
    /// Connect.
    pub fn open(address: SocketAddr, timeout: Duration, clock: &RealClock) -> Result<Self, AskError> {
        let start = clock.now();
        let stream = TcpStream::connect_timeout(&address, timeout)
            .map_err(|source| AskError::Connect { address, source })?;
        let connect_time = clock.now().since(start);
        // Nagle would only delay our single small writes; a refusal costs nothing but time.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            clock: clock.clone(),
            address,
            timeout,
            message_id: 0,
            connect_time,
            session_id: 0,
            tree_id: 0,
            signer: None,
            sealer: None,
            preauth: PreauthHash::default(),
        })
    }

    /// Whom this connection talks to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first exchange of a connection, and its only NEGOTIATE.
    pub fn negotiate(
        &mut self,
        request: &NegotiateRequest<'_>,
    ) -> Result<(NegotiateResponse, Reply), AskError> {
        const STAGE: &str = "NEGOTIATE";
        let reply = self.exchange(STAGE, Command::Negotiate, &request.encode())?;
        self.expect_success(STAGE, &reply)?;
        self.preauth.update(&reply.message);
        let answer = NegotiateResponse::decode(&reply.message).map_err(|source| self.wire(STAGE, source))?;
        if !request.dialects.contains(&answer.dialect) {
            let why = if Dialect::ALL.contains(&answer.dialect) {
                "it chooses a dialect that was not offered"
            } else {
                "it chooses an unknown dialect"
            };
            return Err(self.wire(STAGE, WireError::Malformed { what: "NEGOTIATE answer", why }));
        }
        Ok((answer, reply))
    }

    /// Send a request and wait for the answer to it, whatever its status.
    pub fn exchange(
        &mut self,
        stage: &'static str,
        command: Command,
        body: &[u8],
    ) -> Result<Reply, AskError> {
        let mut header = Header::request(command, self.message_id);
        self.message_id += 1;
        header.session_id = self.session_id;
        header.tree_id = self.tree_id;
        let mut message = header.encode(body);
        match (&self.sealer, &self.signer) {
            // What is encrypted is authenticated by that.
            (Some(sealer), _) => message = sealer.seal(self.session_id, header.message_id, &message),
            (None, Some(signer)) => signer.sign(&mut message),
            (None, None) => self.preauth.update(&message),
        }
        let (start, deadline) = (self.clock.now(), self.clock.deadline(self.timeout));
        self.write(stage, &frame(&message), &deadline)?;
        for _ in 0..=MAX_UNRELATED {
            let message = self.read_message(stage, &deadline)?;
            let (answer, sealed) = self.unseal(stage, message)?;
            let decoded = Header::decode(&answer).map_err(|source| self.wire(stage, source))?;
            if decoded.message_id != header.message_id || decoded.status == NtStatus::PENDING {
                continue;
            }
            if decoded.flags & FLAG_RESPONSE == 0 || decoded.command != command {
                let why = "it is not the answer to this request";
                return Err(self.wire(stage, WireError::Malformed { what: "SMB2 header", why }));
            }
            if !sealed {
                self.check_signature(stage, &decoded, &answer)?;
            }
            return Ok(Reply { header: decoded, message: answer, elapsed: self.clock.now().since(start) });
        }
        let why = "too many unrelated messages came first";
        Err(self.wire(stage, WireError::Malformed { what: "conversation", why }))
    }

    /// Turn a status other than success into an error.
    pub fn expect_success(&self, stage: &'static str, reply: &Reply) -> Result<(), AskError> {
        match reply.header.status {
            NtStatus::SUCCESS => Ok(()),
            status => Err(AskError::Refused { address: self.address, stage, status }),
        }
    }

    /// Label a decoding failure with whom and what.
    pub fn wire(&self, stage: &'static str, source: WireError) -> AskError {
        AskError::Wire { address: self.address, stage, source }
    }

    /// The message inside an encrypted one, and whether it was encrypted.
    fn unseal(&self, stage: &'static str, message: Vec<u8>) -> Result<(Vec<u8>, bool), AskError> {
        match &self.sealer {
            Some(sealer) if message.starts_with(&TRANSFORM_ID) => match sealer.open(&message) {
                Some(inner) => Ok((inner, true)),
                None => Err(AskError::BadSignature { address: self.address, stage }),
            },
            // A header that is not the usual one is refused by name where it is decoded.
            _ => Ok((message, false)),
        }
    }

    /// A success must be signed once keys exist: we signed the request, so the server has to sign the
    /// answer (MS-SMB2 3.3.4.1.1). Errors may come unsigned from a server that lost the session.
    fn check_signature(&self, stage: &'static str, header: &Header, message: &[u8]) -> Result<(), AskError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let signed = header.flags & FLAG_SIGNED != 0;
        // Nor may a success come in the open where all was to be encrypted.
        let acceptable = match header.status {
            NtStatus::SUCCESS => self.sealer.is_none() && signed && signer.verify(message),
            _ => !signed || signer.verify(message),
        };
        if acceptable { Ok(()) } else { Err(AskError::BadSignature { address: self.address, stage }) }
    }

    fn write(&mut self, stage: &'static str, bytes: &[u8], deadline: &Deadline) -> Result<(), AskError> {
        let remaining = self.remaining(stage, deadline)?;
        self.stream.set_write_timeout(Some(remaining)).map_err(|source| self.io(stage, source))?;
        self.stream.write_all(bytes).map_err(|source| self.io(stage, source))
    }

    fn read_message(&mut self, stage: &'static str, deadline: &Deadline) -> Result<Vec<u8>, AskError> {
        let mut prefix = [0; 4];
        self.read_exact(stage, &mut prefix, deadline)?;
        let length = frame_length(prefix).map_err(|source| self.wire(stage, source))?;
        let mut message = vec![0; length];
        self.read_exact(stage, &mut message, deadline)?;
        Ok(message)
    }

    fn read_exact(
        &mut self,
        stage: &'static str,
        out: &mut [u8],
        deadline: &Deadline,
    ) -> Result<(), AskError> {
        let mut filled = 0;
        while filled < out.len() {
            let remaining = self.remaining(stage, deadline)?;
            self.stream.set_read_timeout(Some(remaining)).map_err(|source| self.io(stage, source))?;
            match self.stream.read(&mut out[filled..]) {
                Ok(0) => return Err(AskError::Closed { address: self.address, stage }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(stage, error)),
            }
        }
        Ok(())
    }

    fn remaining(&self, stage: &'static str, deadline: &Deadline) -> Result<Duration, AskError> {
        let left = deadline.left();
        if left.is_zero() { Err(self.too_late(stage)) } else { Ok(left) }
    }

    fn too_late(&self, stage: &'static str) -> AskError {
        AskError::Deadline { address: self.address, stage, waited: self.timeout }
    }

    fn io(&self, stage: &'static str, source: std::io::Error) -> AskError {
        let address = self.address;
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.too_late(stage),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                AskError::Closed { address, stage }
            }
            _ => AskError::Io { address, stage, source },
        }
    }
}
