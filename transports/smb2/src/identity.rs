//! As whom to log on, and the rounds that prove it: NTLMv2 with a password (raw NTLMSSP), or a ticket of the system's Kerberos (in SPNEGO).

use std::net::SocketAddr;

use pathproof_sys::kerberos::{Dialogue, KerberosError, Round};

use crate::error::{SmbError, WireError};
use crate::fresh::{filetime_now, random};
use crate::ntlm::{self, Credentials};

/// As whom to log on.
#[derive(Clone, Debug)]
pub enum Identity {
    /// By name and password.
    Password(Credentials),
    /// As whoever runs this process, with a ticket for `cifs/SERVER` from the system's Kerberos.
    Ticket {
        /// The server's name as its key has it; an address seldom is one.
        server: String,
    },
}

impl From<Credentials> for Identity {
    fn from(credentials: Credentials) -> Self {
        Identity::Password(credentials)
    }
}

/// What a successful logon leaves: all of the key that both ends share.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Vec<u8>);

impl SessionKey {
    /// Session.SessionKey: the first 16 bytes, filled up with zeros (MS-SMB2 3.2.5.3.1).
    pub fn short(&self) -> [u8; 16] {
        let mut key = [0; 16];
        key.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        key
    }

    /// Session.FullSessionKey.
    pub fn full(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 16]> for SessionKey {
    fn from(key: [u8; 16]) -> Self {
        SessionKey(key.to_vec())
    }
}

/// One logon under way.
pub(crate) enum Proof<'a> {
    Ntlm { who: Option<&'a Credentials>, hello: Vec<u8>, answered: Option<ntlm::Authenticate> },
    Kerberos { dialogue: Box<Dialogue>, is_complete: bool },
}

/// Why a round cannot be made.
pub(crate) enum ProofError {
    /// What the server said is no token.
    Token(WireError),
    Kerberos(KerberosError),
    Other(SmbError),
}

impl ProofError {
    /// As the error of a connection.
    pub(crate) fn at(self, address: SocketAddr, stage: &'static str) -> SmbError {
        match self {
            ProofError::Token(source) => SmbError::Wire { address, stage, source },
            ProofError::Kerberos(source) => SmbError::Kerberos { address, source },
            ProofError::Other(error) => error,
        }
    }
}

impl From<WireError> for ProofError {
    fn from(error: WireError) -> Self {
        ProofError::Token(error)
    }
}

impl From<KerberosError> for ProofError {
    fn from(error: KerberosError) -> Self {
        ProofError::Kerberos(error)
    }
}

impl<'a> Proof<'a> {
    /// Begins, and the first token.
    pub(crate) fn begin(identity: Option<&'a Identity>) -> Result<(Self, Vec<u8>), ProofError> {
        let who = match identity {
            None => None,
            Some(Identity::Password(who)) => Some(who),
            Some(Identity::Ticket { server }) => {
                let mut dialogue = Box::new(Dialogue::begin("cifs", server)?);
                let Round { token, is_complete } = dialogue.round(&[])?;
                return Ok((Proof::Kerberos { dialogue, is_complete }, token));
            }
        };
        let hello = ntlm::negotiate();
        Ok((Proof::Ntlm { who, hello: hello.clone(), answered: None }, hello))
    }

    /// The next token, after what the server asked.
    pub(crate) fn next(&mut self, said: &[u8]) -> Result<Vec<u8>, ProofError> {
        match self {
            Proof::Ntlm { answered: Some(_), .. } => {
                Err(WireError::Malformed { what: "NTLM challenge", why: "it is a second one" }.into())
            }
            Proof::Ntlm { who, hello, answered } => {
                let token = ntlm::token_within(said);
                let challenge = ntlm::decode_challenge(token)?;
                let response = match who {
                    None => ntlm::anonymous(&challenge),
                    Some(who) => {
                        let nonce = random().map_err(ProofError::Other)?;
                        ntlm::ntlm_v2(who, &challenge, hello, token, nonce, filetime_now())
                    }
                };
                Ok(answered.insert(response).message.clone())
            }
            Proof::Kerberos { dialogue, is_complete } => {
                let round = dialogue.round(said)?;
                *is_complete = round.is_complete;
                Ok(round.token)
            }
        }
    }

    /// The server has accepted, and may have said a last thing: the key, `None` for a session without a secret. `None` altogether where it accepted
    /// before anything was proved.
    pub(crate) fn accepted(&mut self, said: &[u8]) -> Result<Option<Option<SessionKey>>, ProofError> {
        match self {
            Proof::Ntlm { answered, .. } => {
                Ok(answered.as_ref().map(|answer| answer.session_key.map(SessionKey::from)))
            }
            Proof::Kerberos { dialogue, is_complete } => {
                if !*is_complete {
                    *is_complete = dialogue.round(said)?.is_complete;
                }
                match is_complete {
                    true => Ok(Some(Some(SessionKey(dialogue.session_key()?)))),
                    false => Err(KerberosError::Unproved.into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_is_cut_and_filled_up() {
        let long = SessionKey((0..32).collect());
        assert_eq!(long.short().to_vec(), (0..16).collect::<Vec<u8>>());
        assert_eq!(long.full().len(), 32);
        assert_eq!(
            SessionKey(vec![7; 8]).short(),
            [7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0],
            "DES keys had 8"
        );
    }

    #[test]
    fn a_second_challenge_is_refused_and_an_early_acceptance_is_none() {
        let (mut proof, hello) = Proof::begin(None).ok().unwrap();
        assert_eq!(hello, ntlm::negotiate());
        assert!(matches!(proof.accepted(&[]), Ok(None)), "nothing was proved yet");
        assert!(matches!(proof.next(b"NTLMSSP\0"), Err(ProofError::Token(_))));
    }
}
