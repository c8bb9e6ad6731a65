//! NTLMSSP (MS-NLMP): just the three messages of an anonymous or NTLMv2 logon.
//!
//! Refuses: NTLMv1, LM, key exchange (hence no RC4) and sealing. The session key is the NTLMv2
//! session base key itself, which every server accepts when KEY_EXCH is not negotiated.

use hmac::{Hmac, Mac};
use md4::{Digest, Md4};
use md5::Md5;

use crate::error::WireError;
use crate::wire::{array_at, slice_at, u16_at, u32_at, utf16};

pub(crate) const SIGNATURE: [u8; 8] = *b"NTLMSSP\0";

pub(crate) const UNICODE: u32 = 0x0000_0001;
pub(crate) const REQUEST_TARGET: u32 = 0x0000_0004;
pub(crate) const SIGN: u32 = 0x0000_0010;
pub(crate) const NTLM: u32 = 0x0000_0200;
const ANONYMOUS: u32 = 0x0000_0800;
pub(crate) const ALWAYS_SIGN: u32 = 0x0000_8000;
pub(crate) const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
pub(crate) const TARGET_INFO: u32 = 0x0080_0000;
pub(crate) const KEY_128: u32 = 0x2000_0000;
pub(crate) const KEY_56: u32 = 0x8000_0000;

const OFFERED: u32 =
    UNICODE | REQUEST_TARGET | SIGN | NTLM | ALWAYS_SIGN | EXTENDED_SESSION_SECURITY | KEY_128 | KEY_56;

const AV_EOL: u16 = 0;
const AV_FLAGS: u16 = 6;
const AV_TIMESTAMP: u16 = 7;
/// In MsvAvFlags: the AUTHENTICATE message carries a MIC (MS-NLMP 2.2.2.1).
const AV_FLAG_MIC: u32 = 2;

/// Payload of the AUTHENTICATE message begins here: fixed fields, version and MIC.
const AUTHENTICATE_HEADER: usize = 88;
const MIC_AT: usize = 72;

/// Who to log on as. Its `Debug` form hides the password.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// Its domain; empty for a local account.
    pub domain: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials {{ user: {:?}, domain: {:?}, password: hidden }}", self.user, self.domain)
    }
}

/// The server's challenge, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the server agreed to.
    pub flags: u32,
    /// Its nonce.
    pub nonce: [u8; 8],
    /// Its description of itself, repeated in our answer.
    pub target_info: Vec<u8>,
    /// The server's time inside `target_info`, when it sends one.
    pub timestamp: Option<u64>,
}

/// An AUTHENTICATE message and the key it leads to.
#[derive(Clone)]
pub struct Authenticate {
    /// The message.
    pub message: Vec<u8>,
    /// The session key; `None` for an anonymous logon, which has no secret.
    pub session_key: Option<[u8; 16]>,
}

/// The first message.
pub fn negotiate() -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&OFFERED.to_le_bytes());
    out.extend_from_slice(&[0; 16]); // no domain, no workstation
    out
}

/// The NTLMSSP message inside a token. Ours are bare, without the SPNEGO wrapping, which Windows, Samba and ksmbd all take, and which saves a DER parser
/// that would face the network. A server may wrap its challenge all the same: the inner message is then the tail that begins with the signature.
pub(crate) fn token_within(token: &[u8]) -> &[u8] {
    let start = token.windows(SIGNATURE.len()).position(|window| window == SIGNATURE).unwrap_or(0);
    &token[start..]
}

/// Read the server's challenge.
pub fn decode_challenge(token: &[u8]) -> Result<Challenge, WireError> {
    const WHAT: &str = "NTLM challenge";
    if array_at::<8>(token, 0, WHAT)? != SIGNATURE || u32_at(token, 8, WHAT)? != 2 {
        return Err(WireError::Malformed { what: WHAT, why: "it is not an NTLMSSP type 2 message" });
    }
    let flags = u32_at(token, 20, WHAT)?;
    if flags & UNICODE == 0 {
        return Err(WireError::Malformed { what: WHAT, why: "the server does not agree to Unicode" });
    }
    let nonce = array_at(token, 24, WHAT)?;
    let target_info = if flags & TARGET_INFO != 0 {
        let length = u16_at(token, 40, WHAT)? as usize;
        let offset = u32_at(token, 44, WHAT)? as usize;
        slice_at(token, offset, length, "NTLM target information")?.to_vec()
    } else {
        Vec::new()
    };
    let timestamp = av_pairs(&target_info)?
        .into_iter()
        .find(|(id, _)| *id == AV_TIMESTAMP)
        .map(|(_, value)| array_at::<8>(value, 0, "NTLM timestamp").map(u64::from_le_bytes))
        .transpose()?;
    Ok(Challenge { flags, nonce, target_info, timestamp })
}

/// The pairs before the terminator. An empty list needs no terminator.
fn av_pairs(info: &[u8]) -> Result<Vec<(u16, &[u8])>, WireError> {
    const WHAT: &str = "NTLM target information";
    let mut pairs = Vec::new();
    let mut at = 0;
    while at < info.len() {
        let id = u16_at(info, at, WHAT)?;
        let length = u16_at(info, at + 2, WHAT)? as usize;
        if id == AV_EOL {
            break;
        }
        pairs.push((id, slice_at(info, at + 4, length, WHAT)?));
        at += 4 + length;
    }
    Ok(pairs)
}

/// Answer a challenge as nobody: one zero byte of LM, no NT response (MS-NLMP 3.2.5.1.2).
pub fn anonymous(challenge: &Challenge) -> Authenticate {
    let flags = agreed(challenge) | ANONYMOUS;
    Authenticate { message: authenticate(flags, &[0], &[], "", ""), session_key: None }
}

/// Answer a challenge with NTLMv2 (MS-NLMP 3.3.2). `sent` and `received` are the first two messages,
/// which the integrity code covers; `now` is the client's clock in 100 ns units since 1601.
pub fn ntlm_v2(
    credentials: &Credentials,
    challenge: &Challenge,
    sent: &[u8],
    received: &[u8],
    client_nonce: [u8; 8],
    now: u64,
) -> Authenticate {
    let owf = response_key(credentials);
    // A server that names its time expects a MIC in return, announced inside the signed part.
    let with_mic = challenge.timestamp.is_some();
    let info = if with_mic { with_mic_flag(&challenge.target_info) } else { challenge.target_info.clone() };
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&challenge.timestamp.unwrap_or(now).to_le_bytes());
    blob.extend_from_slice(&client_nonce);
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(&info);
    blob.extend_from_slice(&[0; 4]);
    let proof = hmac_md5(&owf, &[&challenge.nonce, &blob]);
    let session_key = hmac_md5(&owf, &[&proof]);

    let nt = [proof.as_slice(), &blob].concat();
    let lm = if with_mic {
        vec![0; 24]
    } else {
        let lm_proof = hmac_md5(&owf, &[&challenge.nonce, &client_nonce]);
        [lm_proof.as_slice(), &client_nonce].concat()
    };
    let mut message = authenticate(agreed(challenge), &lm, &nt, &credentials.domain, &credentials.user);
    if with_mic {
        let mic = hmac_md5(&session_key, &[sent, received, &message]);
        message[MIC_AT..MIC_AT + 16].copy_from_slice(&mic);
    }
    Authenticate { message, session_key: Some(session_key) }
}

fn agreed(challenge: &Challenge) -> u32 {
    (OFFERED | TARGET_INFO) & challenge.flags | UNICODE
}

/// NTOWFv2: the key an NTLMv2 answer is made with.
pub(crate) fn response_key(credentials: &Credentials) -> [u8; 16] {
    let nt_hash = Md4::digest(utf16(&credentials.password));
    let who = utf16(&(credentials.user.to_uppercase() + &credentials.domain));
    hmac_md5(&nt_hash, &[&who])
}

pub(crate) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The target information with the MIC flag set. Called only on information that decoded.
fn with_mic_flag(info: &[u8]) -> Vec<u8> {
    let pairs = av_pairs(info).unwrap_or_default();
    let mut flags = AV_FLAG_MIC;
    let mut out = Vec::with_capacity(info.len() + 12);
    let mut push = |id: u16, value: &[u8]| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
    };
    for (id, value) in pairs {
        match (id, <[u8; 4]>::try_from(value)) {
            (AV_FLAGS, Ok(value)) => flags |= u32::from_le_bytes(value),
            (AV_FLAGS, Err(_)) => {}
            _ => push(id, value),
        }
    }
    push(AV_FLAGS, &flags.to_le_bytes());
    push(AV_EOL, &[]);
    out
}

/// Lay out an AUTHENTICATE message with an empty MIC.
fn authenticate(flags: u32, lm: &[u8], nt: &[u8], domain: &str, user: &str) -> Vec<u8> {
    let (domain, user) = (utf16(domain), utf16(user));
    let mut out = Vec::with_capacity(AUTHENTICATE_HEADER + 64 + nt.len());
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&3u32.to_le_bytes());
    let mut offset = AUTHENTICATE_HEADER as u32;
    // LM, NT, domain, user, workstation, session key: the payload follows in the same order.
    let payload: [&[u8]; 6] = [lm, nt, &domain, &user, &[], &[]];
    for field in payload {
        let length = (field.len() as u16).to_le_bytes();
        out.extend_from_slice(&length);
        out.extend_from_slice(&length);
        out.extend_from_slice(&offset.to_le_bytes());
        offset += field.len() as u32;
    }
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&[0; 8]); // version: not negotiated
    out.extend_from_slice(&[0; 16]); // MIC
    for field in payload {
        out.extend_from_slice(field);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn example() -> (Credentials, Challenge) {
        let credentials =
            Credentials { user: "User".into(), domain: "Domain".into(), password: "Password".into() };
        let mut info = Vec::new();
        for (id, text) in [(2u16, "Domain"), (1, "Server")] {
            let value = utf16(text);
            info.extend_from_slice(&id.to_le_bytes());
            info.extend_from_slice(&(value.len() as u16).to_le_bytes());
            info.extend_from_slice(&value);
        }
        info.extend_from_slice(&[0; 4]);
        let challenge = Challenge {
            flags: 0xE28A_8233,
            nonce: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
            target_info: info,
            timestamp: None,
        };
        (credentials, challenge)
    }

    /// MS-NLMP 4.2.4: the specification's own NTLMv2 example.
    #[test]
    fn the_published_example_comes_out() {
        let (credentials, challenge) = example();
        assert_eq!(response_key(&credentials).to_vec(), hex("0c868a403bfd7a93a3001ef22ef02e3f"));
        let answer = ntlm_v2(&credentials, &challenge, &[], &[], [0xaa; 8], 0);
        assert_eq!(answer.session_key.unwrap().to_vec(), hex("8de40ccadbc14a82f15cb0ad0de95ca3"));
        let payload = &answer.message[AUTHENTICATE_HEADER..];
        assert_eq!(payload[..24], hex("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
        assert_eq!(payload[24..40], hex("68cd0ab851e51c96aabc927bebef6a1c"));
    }

    #[test]
    fn a_server_time_asks_for_a_mic() {
        let (credentials, mut challenge) = example();
        let end = challenge.target_info.len() - 4;
        let mut info = challenge.target_info[..end].to_vec();
        info.extend_from_slice(&[7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
        challenge.target_info = info;
        challenge.timestamp = Some(0x0807_0605_0403_0201);
        let answer = ntlm_v2(&credentials, &challenge, b"one", b"two", [0xaa; 8], 5);
        assert_ne!(answer.message[MIC_AT..MIC_AT + 16], [0; 16]);
        assert_eq!(answer.message[AUTHENTICATE_HEADER..AUTHENTICATE_HEADER + 24], [0; 24]);
        let flagged = with_mic_flag(&challenge.target_info);
        let pairs = av_pairs(&flagged).unwrap();
        assert!(pairs.contains(&(AV_FLAGS, &[2u8, 0, 0, 0][..])));
    }

    #[test]
    fn an_anonymous_answer_has_the_shape_servers_expect() {
        let (_, challenge) = example();
        let answer = anonymous(&challenge);
        assert!(answer.session_key.is_none());
        assert_eq!(answer.message.len(), AUTHENTICATE_HEADER + 1);
        assert_eq!(u16_at(&answer.message, 12, "").unwrap(), 1);
        assert_eq!(u16_at(&answer.message, 20, "").unwrap(), 0);
        assert_ne!(u32_at(&answer.message, 60, "").unwrap() & ANONYMOUS, 0);
    }

    #[test]
    fn broken_challenges_are_refused() {
        let mut good = SIGNATURE.to_vec();
        good.extend_from_slice(&2u32.to_le_bytes());
        good.extend_from_slice(&[0; 8]);
        good.extend_from_slice(&(UNICODE | TARGET_INFO).to_le_bytes());
        good.extend_from_slice(&[9; 8]);
        good.extend_from_slice(&[0; 8]);
        good.extend_from_slice(&[4, 0, 4, 0, 48, 0, 0, 0]);
        good.extend_from_slice(&[0; 4]);
        assert!(decode_challenge(&good).is_ok());
        for cut in 0..good.len() {
            assert!(decode_challenge(&good[..cut]).is_err(), "{cut}");
        }
        let mut beyond = good.clone();
        beyond[44] = 200;
        assert!(matches!(decode_challenge(&beyond), Err(WireError::Truncated { .. })));
        let mut pair_too_long = good;
        pair_too_long[48..52].copy_from_slice(&[7, 0, 99, 0]);
        assert!(matches!(decode_challenge(&pair_too_long), Err(WireError::Truncated { .. })));
    }

    #[test]
    fn debug_hides_the_password() {
        let (credentials, _) = example();
        assert!(!format!("{credentials:?}").contains("Password"));
    }
}
