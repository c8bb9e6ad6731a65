//! The little of SPNEGO (RFC 4178, MS-SPNG) that a server needs which knows one mechanism.
//!
//! It writes DER and reads none: the NTLMSSP message inside a client's token is the tail that begins with its signature, whatever
//! is around it, so no parser of nested lengths faces the network.

use crate::ntlm::SIGNATURE;

/// The object identifier of SPNEGO, 1.3.6.1.5.5.2.
const SPNEGO: [u8; 8] = [0x06, 0x06, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];
/// The object identifier of NTLMSSP, 1.3.6.1.4.1.311.2.2.10.
const NTLMSSP: [u8; 12] = [0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0A];

/// A token of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The NTLMSSP message in it, with whatever follows.
    pub message: &'a [u8],
    /// Whether it was wrapped, so that answers must be, too.
    pub wrapped: bool,
}

impl<'a> Token<'a> {
    /// Finds the NTLMSSP message; `None` where there is none, such as in an offer of Kerberos alone.
    pub fn find(token: &'a [u8]) -> Option<Token<'a>> {
        let at = token.windows(SIGNATURE.len()).position(|window| window == SIGNATURE)?;
        Some(Token { message: &token[at..], wrapped: at > 0 })
    }
}

/// What a server says in NEGOTIATE: the mechanisms that it knows.
pub fn hint() -> Vec<u8> {
    let mechanisms = tagged(0xA0, &tagged(0x30, &NTLMSSP));
    let init = tagged(0xA0, &tagged(0x30, &mechanisms));
    tagged(0x60, &[&SPNEGO[..], &init].concat())
}

/// The challenge on its way to a client that wraps.
pub fn challenge(message: &[u8]) -> Vec<u8> {
    let state = tagged(0xA0, &[0x0A, 0x01, 0x01]); // accept-incomplete
    let mechanism = tagged(0xA1, &NTLMSSP);
    let token = tagged(0xA2, &tagged(0x04, message));
    tagged(0xA1, &tagged(0x30, &[state, mechanism, token].concat()))
}

/// The end of a logon that went well, for a client that wraps.
pub fn accepted() -> Vec<u8> {
    tagged(0xA1, &tagged(0x30, &tagged(0xA0, &[0x0A, 0x01, 0x00]))) // accept-completed
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend_from_slice(&[0x81, length as u8]),
        _ => out.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Windows and Samba write them.
    #[test]
    fn the_tokens_are_der() {
        let hint = hint();
        assert_eq!(hint[..2], [0x60, (hint.len() - 2) as u8]);
        assert_eq!(hint[2..10], SPNEGO);
        assert!(hint.ends_with(&NTLMSSP));
        assert_eq!(accepted(), [0xA1, 0x07, 0x30, 0x05, 0xA0, 0x03, 0x0A, 0x01, 0x00]);
        let long = challenge(&[7; 300]);
        assert_eq!(long[..4], [0xA1, 0x82, ((long.len() - 4) >> 8) as u8, (long.len() - 4) as u8]);
        assert!(long.ends_with(&[7; 300]));
    }

    #[test]
    fn an_ntlm_message_is_found_wrapped_or_bare() {
        let bare = *b"NTLMSSP\0\x01";
        assert_eq!(Token::find(&bare), Some(Token { message: &bare, wrapped: false }));
        let wrapped = challenge(&bare);
        assert_eq!(Token::find(&wrapped), Some(Token { message: &bare, wrapped: true }));
        assert_eq!(Token::find(b"NTLMSSP"), None);
        assert_eq!(Token::find(&hint()), None);
    }
}
