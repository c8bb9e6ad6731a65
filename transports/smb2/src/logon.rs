//! Logging on (MS-SMB2 3.2.4.2.3, 3.2.5.3): rounds of SESSION_SETUP, for a new session or for one more channel of it, and the keys that
//! follow.

use pathproof_api::MessagePipe;

use crate::connection::{Answer, Connection, Protection};
use crate::crypto::Signer;
use crate::error::{SmbError, WireError};
use crate::identity::{Identity, Proof, SessionKey};
use crate::negotiate::{Capabilities, Cipher, Dialect, NegotiateResponse};
use crate::seal::Sealer;
use crate::session::{self, Purpose, SetupAnswer};
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_SIGNED};

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

/// Rounds of a logon: NTLM has two, Kerberos one, or two where the server wants the clock of the client put right.
const ROUNDS_MAX: usize = 4;

/// Logs on. Leaves in the connection the session, and where the account leads to a key the signer and the sealer, of which nothing is used
/// yet. The keys of a channel come from its own authentication, and those for encryption from the session's first.
pub fn log_on<P: MessagePipe>(
    connection: &mut Connection<P>,
    agreed: &NegotiateResponse,
    identity: Option<&Identity>,
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
    let address = connection.address();
    let (mut proof, mut token) = Proof::begin(identity).map_err(|error| error.at(address, STAGE))?;
    for round in 0..ROUNDS_MAX {
        let reply = connection.exchange(Command::SessionSetup, &session::encode_setup(&token, purpose))?;
        let status = reply.header.status;
        let refused = SmbError::LogonRefused { address, status };
        if status != NtStatus::MORE_PROCESSING_REQUIRED && status != NtStatus::SUCCESS {
            return Err(refused);
        }
        if round == 0 && purpose != Purpose::Binding {
            connection.session_id = reply.header.session_id;
        }
        let setup =
            SetupAnswer::decode(connection.message()).map_err(|source| connection.wire(STAGE, source))?;
        if status == NtStatus::MORE_PROCESSING_REQUIRED {
            connection.hash_answer();
            token = proof.next(&setup.token).map_err(|error| error.at(address, STAGE))?;
            continue;
        }
        // Who is let in as somebody else shares no key with the server.
        let nobody = setup.guest || setup.anonymous;
        let key = match nobody && matches!(proof, Proof::Kerberos { .. }) {
            true => None,
            false => {
                proof.accepted(&setup.token).map_err(|error| error.at(address, STAGE))?.ok_or(refused)?
            }
        };
        connection.logging_on = false;
        connection.protection = Protection::Open;
        let (Some(key), false) = (key, nobody) else {
            connection.signer = None;
            return Ok(setup);
        };
        keyed(connection, agreed, &key, &reply, purpose)?;
        return Ok(setup);
    }
    Err(connection.wire(STAGE, WireError::Malformed { what: "SESSION_SETUP answer", why: "it never ends" }))
}

/// What follows from the key, which the server's last answer must prove to know.
fn keyed<P: MessagePipe>(
    connection: &mut Connection<P>,
    agreed: &NegotiateResponse,
    key: &SessionKey,
    last: &Answer,
    purpose: Purpose,
) -> Result<(), SmbError> {
    let signer = Signer::new(agreed.dialect, agreed.signing, key.short(), &connection.preauth);
    // From 3.1.1 on the last answer is always signed: this is where a server proves that it knows
    // the key too, and that nobody altered the negotiation (MS-SMB2 3.2.5.3.1). Before, servers mostly sign it, and what is signed must be right.
    // One that is encrypted is proved by the session's key, which nobody else has.
    let is_signed = last.header.flags & FLAG_SIGNED != 0;
    let must = (is_signed || agreed.dialect == Dialect::V3_1_1) && !last.is_sealed;
    if must && !connection.is_signed_by(&signer) {
        return Err(SmbError::BadSignature { address: connection.address(), stage: "SESSION_SETUP" });
    }
    connection.signer = Some(signer);
    if purpose != Purpose::Binding {
        connection.sealer = cipher(agreed).and_then(|cipher| {
            Sealer::new(agreed.dialect, cipher, key.full(), &connection.preauth, connection.session_id)
        });
    }
    Ok(())
}

/// The cipher that was agreed; before 3.1.1 there is one, and a bit that says whether the server has it.
fn cipher(agreed: &NegotiateResponse) -> Option<Cipher> {
    match agreed.dialect {
        Dialect::V3_1_1 => agreed.cipher,
        _ => agreed.capabilities.has(Capabilities::ENCRYPTION).then_some(Cipher::AES_128_CCM),
    }
}
