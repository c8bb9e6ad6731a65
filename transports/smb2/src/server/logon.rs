//! SESSION_SETUP (MS-SMB2 3.3.5.5): a new session, one more channel of one, or the same account once again; two rounds of NTLM each.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::{PreauthHash, Signer};
use crate::fresh::random;
use crate::ntlm::Credentials;
use crate::seal::Sealer;
use crate::server::negotiate::Agreed;
use crate::server::ntlm;
use crate::server::put::Put;
use crate::server::request::{Request, Setup};
use crate::server::session::{Founding, Session, Sessions};
use crate::server::spnego::{self, Token};
use crate::status::NtStatus;
use crate::wire::{FLAG_SIGNED, HEADER_BYTES};

/// Most logons under way on one connection.
const PENDING_MAX: usize = 4;
/// Most sessions of one connection.
const SESSIONS_MAX: usize = 8;

/// A session as one connection has it.
pub struct Channel {
    /// The session.
    pub session: Arc<Session>,
    /// Signs on this connection.
    pub signer: Signer,
    /// Encrypts on this connection.
    pub sealer: Option<Sealer>,
}

/// What a logon is for.
#[derive(Clone)]
enum Purpose {
    New,
    Binding(Arc<Session>),
    Again,
}

/// A logon under way.
struct Pending {
    purpose: Purpose,
    nonce: [u8; 8],
    hash: PreauthHash,
}

/// The logons and sessions of one connection.
#[derive(Default)]
pub struct Logons {
    pending: BTreeMap<u64, Pending>,
    channels: BTreeMap<u64, Channel>,
    /// Wrong answers so far.
    pub refused: u32,
}

/// What a logon stands on.
pub struct Ground<'a> {
    /// What the connection agreed on.
    pub agreed: &'a Agreed,
    /// Its hash over the negotiation.
    pub preauth: &'a PreauthHash,
    /// The one account.
    pub account: &'a Credentials,
    /// What this server calls itself.
    pub name: &'a str,
    /// All sessions.
    pub sessions: &'a Sessions,
    /// Answers to challenges from this address are not looked at now.
    pub locked_out: bool,
}

/// How a round of a logon went.
pub struct Round {
    /// The session that the answer names.
    pub session_id: u64,
    /// More rounds follow, or none.
    pub status: NtStatus,
    /// What signs the answer, where it is to be signed.
    pub signer: Option<Signer>,
}

impl Logons {
    /// The session of this number, where it is this connection's and was not ended elsewhere.
    pub fn channel(&mut self, session_id: u64) -> Option<&mut Channel> {
        if self.channels.get(&session_id).is_some_and(|channel| channel.session.is_over()) {
            self.channels.remove(&session_id);
        }
        self.channels.get_mut(&session_id)
    }

    /// Whether anybody has shown the password on this connection.
    pub fn is_proven(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Takes an answer of a round into the hash of its logon, signature and all.
    pub fn hash_answer(&mut self, session_id: u64, answer: &[u8]) {
        if let Some(pending) = self.pending.get_mut(&session_id) {
            pending.hash.update(answer);
        }
    }

    /// Forgets a session.
    pub fn forget(&mut self, session_id: u64) {
        self.channels.remove(&session_id);
    }

    /// All sessions leave this connection; those end for which it was the last.
    pub fn leave(&mut self, sessions: &Sessions) {
        for (id, channel) in std::mem::take(&mut self.channels) {
            if channel.session.leave() {
                sessions.end(id);
            }
        }
    }

    /// One round. Puts the answer's body into `out`.
    pub fn round(
        &mut self,
        request: &Request<'_>,
        ground: &Ground<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Round, NtStatus> {
        let setup = Setup::decode(request)?;
        let token = Token::find(setup.token).ok_or(NtStatus::LOGON_FAILURE)?;
        let id = match request.header.session_id {
            0 => random()
                .map(|bytes| u64::from_le_bytes(bytes) | 1)
                .map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?,
            id => id,
        };
        match ntlm::kind(token.message) {
            1 => self.challenge(id, &setup, token, request, ground, out),
            3 => {
                let pending = self.pending.remove(&id).ok_or(NtStatus::USER_SESSION_DELETED)?;
                self.check(id, pending, &setup, token, request, ground, out)
            }
            _ => Err(NtStatus::INVALID_PARAMETER),
        }
    }

    fn purpose(
        &mut self,
        id: u64,
        setup: &Setup<'_>,
        request: &Request<'_>,
        ground: &Ground<'_>,
    ) -> Result<Purpose, NtStatus> {
        if request.header.session_id == 0 {
            return match setup.binding {
                true => Err(NtStatus::INVALID_PARAMETER),
                false => Ok(Purpose::New),
            };
        }
        if !setup.binding {
            // A logon that begins anew where one was under way, or the same account once more.
            if self.channel(id).is_some() {
                return Ok(Purpose::Again);
            }
            // One that was to be a channel of somebody's session does not become a session of that number.
            return match self.pending.get(&id).map(|pending| &pending.purpose) {
                Some(Purpose::New) => Ok(Purpose::New),
                _ => Err(NtStatus::USER_SESSION_DELETED),
            };
        }
        if self.channel(id).is_some() {
            return Err(NtStatus::REQUEST_NOT_ACCEPTED);
        }
        let session = ground.sessions.find(id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        if session.founding.dialect != ground.agreed.dialect {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if session.founding.client_guid != ground.agreed.asked.client_guid {
            return Err(NtStatus::USER_SESSION_DELETED);
        }
        Self::is_its_client(&session, request)?;
        Ok(Purpose::Binding(session))
    }

    /// Whoever binds shows by the session's key that the session is its own (3.3.5.5.2).
    fn is_its_client(session: &Session, request: &Request<'_>) -> Result<(), NtStatus> {
        if request.header.flags & FLAG_SIGNED == 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        match session.founding.signer.verify(&mut request.message.to_vec()) {
            true => Ok(()),
            false => Err(NtStatus::ACCESS_DENIED),
        }
    }

    fn challenge(
        &mut self,
        id: u64,
        setup: &Setup<'_>,
        token: Token<'_>,
        request: &Request<'_>,
        ground: &Ground<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Round, NtStatus> {
        let purpose = self.purpose(id, setup, request, ground)?;
        self.pending.remove(&id);
        if self.pending.len() >= PENDING_MAX {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        let nonce = random().map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
        let mut hash = ground.preauth.clone();
        hash.update(request.message);
        let challenge = ntlm::challenge(nonce, ground.name);
        write(&if token.wrapped { spnego::challenge(&challenge) } else { challenge }, out);
        let signer = match &purpose {
            Purpose::New => None,
            Purpose::Binding(session) => Some(session.founding.signer.clone()),
            Purpose::Again => self.channel(id).map(|channel| channel.signer.clone()),
        };
        self.pending.insert(id, Pending { purpose, nonce, hash });
        Ok(Round { session_id: id, status: NtStatus::MORE_PROCESSING_REQUIRED, signer })
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, and each is of its own kind")]
    fn check(
        &mut self,
        id: u64,
        pending: Pending,
        setup: &Setup<'_>,
        token: Token<'_>,
        request: &Request<'_>,
        ground: &Ground<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Round, NtStatus> {
        let Pending { purpose, nonce, mut hash } = pending;
        if let Purpose::Binding(session) = &purpose {
            Self::is_its_client(session, request)?;
        }
        if ground.locked_out {
            return Err(NtStatus::ACCOUNT_LOCKED_OUT);
        }
        let Some(key) = ntlm::check(token.message, nonce, ground.account)? else {
            self.refused += 1;
            // Whoever fails to show the password once more has no session any more (3.3.5.5.3).
            if let (Purpose::Again, Some(channel)) = (&purpose, self.channels.remove(&id))
                && channel.session.leave()
            {
                ground.sessions.end(id);
            }
            return Err(NtStatus::LOGON_FAILURE);
        };
        hash.update(request.message);
        let agreed = ground.agreed;
        let signer = Signer::new(agreed.dialect, agreed.signing, key, &hash);
        let signer = match purpose {
            // Nothing of the session changes, its keys least of all (3.3.5.5.3).
            Purpose::Again => self.channels.get(&id).map(|channel| channel.signer.clone()),
            Purpose::New => {
                self.has_room()?;
                let sealer =
                    agreed.cipher.and_then(|cipher| Sealer::new(agreed.dialect, cipher, &key, &hash, id));
                let session = Arc::new(Session::new(Founding {
                    id,
                    dialect: agreed.dialect,
                    client_guid: agreed.asked.client_guid,
                    signer: signer.clone(),
                    sealer: sealer.map(Sealer::turned),
                    signing_required: setup.signing_required || agreed.asked.security_mode & 2 != 0,
                }));
                if setup.previous_session_id != id {
                    // The same client, come back: there is one account, so it is the same user.
                    ground.sessions.end(setup.previous_session_id);
                }
                ground.sessions.add(session.clone())?;
                self.join(session, signer.clone())?;
                Some(signer)
            }
            Purpose::Binding(session) => {
                self.has_room()?;
                self.join(session, signer.clone())?;
                Some(signer)
            }
        };
        write(&if token.wrapped { spnego::accepted() } else { vec![] }, out);
        Ok(Round { session_id: id, status: NtStatus::SUCCESS, signer })
    }

    fn has_room(&self) -> Result<(), NtStatus> {
        match self.channels.len() < SESSIONS_MAX {
            true => Ok(()),
            false => Err(NtStatus::INSUFFICIENT_RESOURCES),
        }
    }

    fn join(&mut self, session: Arc<Session>, signer: Signer) -> Result<(), NtStatus> {
        let number = session.join()?;
        let sealer = session.founding.sealer.as_ref().map(|sealer| sealer.for_channel(number));
        self.channels.insert(session.founding.id, Channel { session, signer, sealer });
        Ok(())
    }
}

fn write(token: &[u8], out: &mut Vec<u8>) {
    out.word(9);
    out.word(0); // no guest, nobody without a name, nothing demanded
    out.word(HEADER_BYTES as u16 + 8);
    out.word(token.len() as u16);
    out.extend_from_slice(token);
}
