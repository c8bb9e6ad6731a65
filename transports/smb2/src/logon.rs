//! Logging on (MS-SMB2 3.2.4.2.3, 3.2.5.3): two rounds of SESSION_SETUP with NTLM, for a new session or for one more channel of it, and the
//! keys that follow.

use std::time::{SystemTime, UNIX_EPOCH};

use pathproof_api::MessagePipe;

use crate::connection::{Connection, Protection};
use crate::crypto::Signer;
use crate::error::SmbError;
use crate::negotiate::{Capabilities, Cipher, Dialect, NegotiateResponse};
use crate::ntlm::{self, Credentials};
use crate::seal::Sealer;
use crate::session::{self, Purpose, SetupAnswer};
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_SIGNED};

/// 100 ns units between 1601-01-01 and 1970-01-01.
pub(crate) const FILETIME_OF_UNIX_EPOCH: u64 = 116_444_736_000_000_000;

/// What a logon is for.
pub enum Logon<'a> {
    /// A new session; the session of this number, where it is not 0, ends.
    New(u64),
    /// A further channel of a session.
    Channel {
        /// The session.
        session_id: u64,
        /// The key that its first channel signs with: it proves that the channel is its owner's.
        signer: &'a Signer,
    },
}

impl Logon<'_> {
    /// A new session, and none before it.
    pub fn new() -> Self {
        Logon::New(0)
    }
}

impl Default for Logon<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Logs on. Leaves in the connection the session, and where the account leads to a key the signer and the sealer, of which nothing is used
/// yet. The keys of a channel come from its own authentication, and those for encryption from the session's first.
pub fn log_on<P: MessagePipe>(
    connection: &mut Connection<P>,
    agreed: &NegotiateResponse,
    credentials: Option<&Credentials>,
    logon: Logon<'_>,
) -> Result<SetupAnswer, SmbError> {
    const STAGE: &str = "SESSION_SETUP";
    let purpose = match logon {
        Logon::New(previous_session_id) => Purpose::New { previous_session_id },
        Logon::Channel { session_id, signer } => {
            connection.session_id = session_id;
            connection.signer = Some(signer.clone());
            connection.protection = Protection::Signed;
            Purpose::Binding
        }
    };
    let refused =
        |connection: &Connection<P>, status| SmbError::LogonRefused { address: connection.address(), status };
    let hello = ntlm::negotiate();
    let reply = connection.exchange(Command::SessionSetup, &session::encode_setup(&hello, purpose))?;
    if reply.header.status != NtStatus::MORE_PROCESSING_REQUIRED {
        return Err(refused(connection, reply.header.status));
    }
    connection.hash_answer();
    if purpose != Purpose::Binding {
        connection.session_id = reply.header.session_id;
    }
    let token =
        SetupAnswer::decode(connection.message()).map_err(|source| connection.wire(STAGE, source))?.token;
    let challenge = ntlm::decode_challenge(&token).map_err(|source| connection.wire(STAGE, source))?;

    let response = match credentials {
        None => ntlm::anonymous(&challenge),
        Some(who) => ntlm::ntlm_v2(who, &challenge, &hello, &token, random()?, filetime_now()),
    };
    let body = session::encode_setup(&response.message, purpose);
    let reply = connection.exchange(Command::SessionSetup, &body)?;
    if reply.header.status != NtStatus::SUCCESS {
        return Err(refused(connection, reply.header.status));
    }
    let setup = SetupAnswer::decode(connection.message()).map_err(|source| connection.wire(STAGE, source))?;
    connection.logging_on = false;
    connection.protection = Protection::Open;
    let (Some(key), false) = (response.session_key, setup.guest || setup.anonymous) else {
        connection.signer = None;
        return Ok(setup);
    };
    let signer = Signer::new(agreed.dialect, agreed.signing, key, &connection.preauth);
    // From 3.1.1 on the last answer is always signed: this is where a server proves that it knows
    // the password too, and that nobody altered the negotiation (MS-SMB2 3.2.5.3.1). Before, servers mostly sign it, and what is signed must be right.
    let signed = reply.header.flags & FLAG_SIGNED != 0;
    if (signed || agreed.dialect == Dialect::V3_1_1) && !connection.is_signed_by(&signer) {
        return Err(SmbError::BadSignature { address: connection.address(), stage: STAGE });
    }
    connection.signer = Some(signer);
    if purpose != Purpose::Binding {
        connection.sealer = cipher(agreed).and_then(|cipher| {
            Sealer::new(agreed.dialect, cipher, key, &connection.preauth, connection.session_id)
        });
    }
    Ok(setup)
}

/// The cipher that was agreed; before 3.1.1 there is one, and a bit that says whether the server has it.
fn cipher(agreed: &NegotiateResponse) -> Option<Cipher> {
    match agreed.dialect {
        Dialect::V3_1_1 => agreed.cipher,
        _ => agreed.capabilities.has(Capabilities::ENCRYPTION).then_some(Cipher::AES_128_CCM),
    }
}

/// Bytes that nobody can foresee.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SmbError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|error| SmbError::Entropy { source: error.into() })?;
    Ok(out)
}

/// This host's clock as SMB writes it.
pub(crate) fn filetime_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FILETIME_OF_UNIX_EPOCH + (since.as_nanos() / 100) as u64
}
