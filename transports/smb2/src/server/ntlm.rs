//! The accepting half of NTLMSSP (MS-NLMP 3.2.5): a challenge, and the one account's answer to it.
//!
//! Refuses: guests, anonymous callers, NTLMv1, LM, key exchange. The challenge names no time, so no client owes an integrity code for
//! the three messages: SMB signs the whole logon (3.1.1) or the negotiation (VALIDATE_NEGOTIATE_INFO) by the key that comes of it.

use hmac::{Hmac, Mac};
use md5::Md5;

use crate::error::WireError;
use crate::ntlm::{self, Credentials, SIGNATURE, hmac_md5};
use crate::server::put::Put;
use crate::wire::{slice_at, u16_at, u32_at, utf16};

const CHALLENGE_FLAGS: u32 = ntlm::UNICODE
    | ntlm::REQUEST_TARGET
    | ntlm::SIGN
    | SEAL
    | ntlm::NTLM
    | ntlm::ALWAYS_SIGN
    | TARGET_IS_SERVER
    | ntlm::EXTENDED_SESSION_SECURITY
    | ntlm::TARGET_INFO
    | ntlm::KEY_128
    | ntlm::KEY_56;
/// Of use to nobody here, but clients that are to encrypt insist on it.
const SEAL: u32 = 0x0000_0020;
const TARGET_IS_SERVER: u32 = 0x0002_0000;
/// Fixed fields of a challenge, with the version.
const CHALLENGE_BYTES: usize = 56;
/// An NTLMv2 answer begins with a proof of so many bytes.
const PROOF_BYTES: usize = 16;
/// The shortest answer that is NTLMv2; those of NTLMv1 have 24 bytes.
const ANSWER_BYTES_MIN: usize = PROOF_BYTES + 28;
/// Where its list of what the client knows of the server begins.
const PAIRS_AT: usize = ANSWER_BYTES_MIN;

/// Which of the three messages a token is; 0 for anything else.
pub fn kind(message: &[u8]) -> u32 {
    match message.strip_prefix(&SIGNATURE) {
        Some(rest) => u32_at(rest, 0, "NTLM message").unwrap_or(0),
        None => 0,
    }
}

/// The second message. `nonce` is never used again; `name` is what this server calls itself.
pub fn challenge(nonce: [u8; 8], name: &str) -> Vec<u8> {
    let name = utf16(name);
    let mut info = Vec::new();
    for id in [2u16, 1] {
        // Domain and computer, by their short names.
        info.word(id);
        info.word(name.len() as u16);
        info.extend_from_slice(&name);
    }
    info.zeros(4);
    let mut out = SIGNATURE.to_vec();
    out.double(2);
    let field = |out: &mut Vec<u8>, bytes: usize, at: usize| {
        out.word(bytes as u16);
        out.word(bytes as u16);
        out.double(at as u32);
    };
    field(&mut out, name.len(), CHALLENGE_BYTES);
    out.double(CHALLENGE_FLAGS);
    out.extend_from_slice(&nonce);
    out.zeros(8);
    field(&mut out, info.len(), CHALLENGE_BYTES + name.len());
    out.zeros(8);
    out.extend_from_slice(&name);
    out.extend_from_slice(&info);
    out
}

/// Looks at the third message: the session key where it is the account's right answer to the challenge `nonce`, `None` where it is not.
pub fn check(message: &[u8], nonce: [u8; 8], account: &Credentials) -> Result<Option<[u8; 16]>, WireError> {
    const WHAT: &str = "NTLM answer";
    let field = |at: usize| {
        let length = usize::from(u16_at(message, at, WHAT)?);
        if length == 0 {
            return Ok(&[][..]);
        }
        slice_at(message, u32_at(message, at + 4, WHAT)? as usize, length, WHAT)
    };
    let (answer, domain, user) = (field(20)?, text(field(28)?)?, text(field(36)?)?);
    let Some((proof, blob)) = answer.split_at_checked(PROOF_BYTES) else { return Ok(None) };
    check_pairs(answer.get(PAIRS_AT..).unwrap_or_default())?;
    if answer.len() < ANSWER_BYTES_MIN || user.to_uppercase() != account.user.to_uppercase() {
        return Ok(None);
    }
    // The client's own spelling went into its key.
    let key = ntlm::response_key(&Credentials { user, domain, password: account.password.clone() });
    let mac = <Hmac<Md5> as Mac>::new_from_slice(&key).expect("HMAC takes a key of any length");
    // In constant time: how much of a guess was right is nobody's business.
    let right = mac.chain_update(nonce).chain_update(blob).verify_slice(proof).is_ok();
    Ok(right.then(|| hmac_md5(&key, &[proof])))
}

/// A list of pairs (MS-NLMP 2.2.2.1) has an end; what looks like none is refused before anybody's password is thought of.
fn check_pairs(mut rest: &[u8]) -> Result<(), WireError> {
    const WHAT: &str = "NTLMv2 answer";
    while !rest.is_empty() {
        let (id, length) = (u16_at(rest, 0, WHAT)?, usize::from(u16_at(rest, 2, WHAT)?));
        slice_at(rest, 4, length, WHAT)?;
        if id == 0 {
            return Ok(());
        }
        rest = &rest[4 + length..];
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    super::request::text(bytes)
        .ok_or(WireError::Malformed { what: "NTLM answer", why: "a name is no UTF-16" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Credentials {
        Credentials { user: "Lab".into(), domain: String::new(), password: "Lab-Pass-1".into() }
    }

    /// This crate's own client, which the specification's example and real servers keep honest.
    #[test]
    fn only_the_account_s_answer_to_this_challenge_is_right() {
        let token = challenge([5; 8], "SINK");
        let read = ntlm::decode_challenge(&token).unwrap();
        assert_eq!((read.nonce, read.timestamp), ([5; 8], None));
        let answer = |user: &str, domain: &str, password: &str| {
            let who = Credentials { user: user.into(), domain: domain.into(), password: password.into() };
            ntlm::ntlm_v2(&who, &read, &ntlm::negotiate(), &token, [1; 8], 9)
        };
        for (user, domain) in [("Lab", ""), ("lab", "WORKGROUP"), ("LAB", "sink")] {
            let right = answer(user, domain, "Lab-Pass-1");
            assert_eq!(check(&right.message, [5; 8], &account()), Ok(right.session_key), "{user} {domain}");
            assert_eq!(check(&right.message, [6; 8], &account()), Ok(None), "another challenge");
        }
        for (user, password) in
            [("Lab", "Lab-Pass-2"), ("Lab", ""), ("Other", "Lab-Pass-1"), ("", "Lab-Pass-1")]
        {
            assert_eq!(
                check(&answer(user, "", password).message, [5; 8], &account()),
                Ok(None),
                "{user} {password}"
            );
        }
        assert_eq!(check(&ntlm::anonymous(&read).message, [5; 8], &account()), Ok(None), "nobody");
    }

    #[test]
    fn a_list_without_an_end_is_malformed_and_no_wrong_password() {
        assert!(check_pairs(&[]).is_ok() && check_pairs(&[2, 0, 2, 0, b'x', 0, 0, 0, 0, 0, 9]).is_ok());
        for broken in [&[2, 0][..], &[2, 0, 2, 0, b'x'], &[0x11, 0xA2, 8, 0x81, 0x50, 0x38], &[2, 0, 0, 0, 7]]
        {
            assert!(check_pairs(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_changed_is_never_right() {
        let token = challenge([5; 8], "SINK");
        let read = ntlm::decode_challenge(&token).unwrap();
        let right = ntlm::ntlm_v2(&account(), &read, &ntlm::negotiate(), &token, [1; 8], 9).message;
        assert_eq!((kind(&right), kind(&token), kind(b"NTLMSSP\0"), kind(b"")), (3, 2, 0, 0));
        for cut in 0..right.len() {
            assert!(!matches!(check(&right[..cut], [5; 8], &account()), Ok(Some(_))), "{cut}");
        }
        // The NT answer is everything that the proof covers.
        let at = u32_at(&right, 24, "").unwrap() as usize;
        for byte in at..right.len() - utf16("Lab").len() {
            let mut altered = right.clone();
            altered[byte] ^= 1;
            assert!(!matches!(check(&altered, [5; 8], &account()), Ok(Some(_))), "{byte}");
        }
    }
}
