//! Answering NEGOTIATE (MS-SMB2 3.3.5.4): the highest dialect of both, and what is chosen with it.

use crate::fresh::{filetime_now, random};
use crate::negotiate::{Capabilities, Cipher, Dialect, ENCRYPTION, PREAUTH, SIGNING, SigningAlgorithm};
use crate::server::IO_BYTES_MAX;
use crate::server::put::Put;
use crate::server::request::Negotiate;
use crate::server::spnego;
use crate::status::NtStatus;
use crate::wire::HEADER_BYTES;

/// The dialects served, the best first.
const SERVED: [Dialect; 3] = [Dialect::V3_1_1, Dialect::V3_0_2, Dialect::V3_0];
/// The ciphers served, the best first. A client's order decides.
const CIPHERS: [Cipher; 4] =
    [Cipher::AES_128_GCM, Cipher::AES_128_CCM, Cipher::AES_256_GCM, Cipher::AES_256_CCM];
/// Signing algorithms served.
const SIGNERS: [SigningAlgorithm; 2] = [SigningAlgorithm::AES_GMAC, SigningAlgorithm::AES_CMAC];
/// This server's security mode: signatures are made where the client or its requests ask for them.
pub const SECURITY_MODE: u16 = 1;

/// What a connection agreed on.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The dialect.
    pub dialect: Dialect,
    /// What signs, at 3.1.1 where the client has a choice.
    pub signing: Option<SigningAlgorithm>,
    /// What encrypts, where both can.
    pub cipher: Option<Cipher>,
    /// What this server said it can do.
    pub capabilities: u32,
    /// What the client asked, to be compared when it asks whether that arrived.
    pub asked: Negotiate,
}

/// Chooses. Puts the answer's body into `out`.
pub fn answer(asked: Negotiate, guid: [u8; 16], out: &mut Vec<u8>) -> Result<Agreed, NtStatus> {
    let dialect = SERVED.into_iter().find(|dialect| asked.dialects.contains(&dialect.0));
    let dialect = dialect.ok_or(NtStatus::NOT_SUPPORTED)?;
    let newest = dialect == Dialect::V3_1_1;
    if newest && asked.preauth.0 != 1 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if newest && !asked.preauth.1 {
        return Err(NtStatus::NO_PREAUTH_INTEGRITY_HASH_OVERLAP);
    }
    let can_encrypt = asked.capabilities & Capabilities::ENCRYPTION != 0;
    let cipher = match newest {
        true => asked.ciphers.iter().map(|id| Cipher(*id)).find(|cipher| CIPHERS.contains(cipher)),
        false => can_encrypt.then_some(Cipher::AES_128_CCM),
    };
    let signing = asked.signing.iter().map(|id| SigningAlgorithm(*id)).find(|id| SIGNERS.contains(id));
    let signing = signing.filter(|_| newest);
    let mut capabilities = asked.capabilities
        & (Capabilities::LARGE_MTU | Capabilities::MULTI_CHANNEL | Capabilities::ENCRYPTION);
    // Large requests are what this server is for; at 3.1.1 a context speaks of encryption.
    capabilities |= Capabilities::LARGE_MTU;
    if newest {
        capabilities &= !Capabilities::ENCRYPTION;
    }

    let hint = spnego::hint();
    let mut contexts = vec![];
    if newest {
        let salt: [u8; 32] = random().map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
        let mut preauth = vec![];
        [1, 32, 1].into_iter().for_each(|field| preauth.word(field)); // one hash, its salt, SHA-512
        preauth.extend_from_slice(&salt);
        contexts.push((PREAUTH, preauth));
        // None in common is 0, and said where somebody asked.
        let chosen = |id: u16| [1u16.to_le_bytes(), id.to_le_bytes()].concat();
        if !asked.ciphers.is_empty() {
            contexts.push((ENCRYPTION, chosen(cipher.map_or(0, |cipher| cipher.0))));
        }
        if let Some(signing) = signing {
            contexts.push((SIGNING, chosen(signing.0)));
        }
    }
    let hint_at = HEADER_BYTES + 64;
    let contexts_at = (hint_at + hint.len()).next_multiple_of(8);
    let body = out.len();
    out.word(65);
    out.word(SECURITY_MODE);
    out.word(dialect.0);
    out.word(contexts.len() as u16);
    out.extend_from_slice(&guid);
    out.double(capabilities);
    [IO_BYTES_MAX; 3].into_iter().for_each(|most| out.double(most));
    out.quad(filetime_now());
    out.quad(0);
    out.word(hint_at as u16);
    out.word(hint.len() as u16);
    out.double(if newest { contexts_at as u32 } else { 0 });
    out.extend_from_slice(&hint);
    for (kind, data) in contexts {
        let length = out.len() - body;
        out.zeros(length.next_multiple_of(8) - length);
        out.word(kind);
        out.word(data.len() as u16);
        out.zeros(4);
        out.extend_from_slice(&data);
    }
    Ok(Agreed { dialect, signing, cipher, capabilities, asked })
}
