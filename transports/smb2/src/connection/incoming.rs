//! What comes from the server: whole messages, decrypted and taken apart, and whether each answer in them is one, signed as it must be.

use pathproof_api::{Arrival, Clock, MessagePipe};

use super::{Answer, Connection, Protection};
use crate::error::{SmbError, WireError};
use crate::flight::Matched;
use crate::seal::{TRANSFORM_BYTES, TRANSFORM_ID};
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_RESPONSE, FLAG_SIGNED, HEADER_BYTES, Header};

/// Messages that answer nothing, one after the other, that are read past: notifications, mostly.
const MAX_UNRELATED: usize = 8;

/// An answer in the message that came: where it begins, and what is known of the message.
#[derive(Clone, Copy)]
pub(super) struct Part {
    at: usize,
    is_first: bool,
    is_sealed: bool,
    arrival: Arrival,
}

impl<P: MessagePipe> Connection<P> {
    /// Looks at the message that came; `None` when it answers nothing yet.
    pub(super) fn take(&mut self, stage: &'static str, arrival: Arrival) -> Result<Option<Answer>, SmbError> {
        let is_sealed = self.unseal(stage)?;
        let at = if is_sealed { TRANSFORM_BYTES } else { 0 };
        self.part(stage, Part { at, is_first: true, is_sealed, arrival })
    }

    /// Looks at one answer in it; those behind it are looked at later.
    pub(super) fn part(&mut self, stage: &'static str, part: Part) -> Result<Option<Answer>, SmbError> {
        let (at, Part { at: begin, is_sealed: sealed, arrival, .. }) = (self.clock.now(), part);
        self.here = begin..self.incoming.len();
        let (header, next) =
            Header::decode_chained(self.message()).map_err(|source| self.wire(stage, source))?;
        if next != 0 {
            if !next.is_multiple_of(8) || !(HEADER_BYTES..self.here.len()).contains(&next) {
                let why = "the next answer of a compound is not where it says";
                return Err(self.wire(stage, WireError::Malformed { what: "SMB2 header", why }));
            }
            self.here.end = begin + next;
            self.rest = Some(Part { at: begin + next, is_first: false, ..part });
        }
        let interim = header.status == NtStatus::PENDING;
        // What is still to come needs its keys, and nothing but file data has any.
        if arrival.endings > 0 && (interim || !matches!(header.command, Command::Read | Command::Write)) {
            let what = "it ended one with a message that ends no request for data".into();
            return Err(SmbError::WrongKey { address: self.address, stage, what });
        }
        let asked = match self.flight.came(header.message_id, header.credits, interim) {
            Matched::Answer(asked) => asked,
            Matched::Interim => return Ok(None),
            Matched::Unrelated if self.unrelated < MAX_UNRELATED => {
                self.unrelated += 1;
                return Ok(None);
            }
            Matched::Unrelated | Matched::TooOften => {
                let why = "too many unrelated messages came first";
                return Err(self.wire(stage, WireError::Malformed { what: "conversation", why }));
            }
        };
        self.unrelated = 0;
        let alone = part.is_first && next == 0;
        if !alone && !asked.in_compound {
            return Err(self.wire(stage, Header::compounded()));
        }
        if header.flags & FLAG_RESPONSE == 0 || header.command != asked.command {
            let why = "it is not the answer to this request";
            return Err(self.wire(stage, WireError::Malformed { what: "SMB2 header", why }));
        }
        if !sealed && !self.logging_on {
            self.check_signature(asked.command.name(), &header)?;
        }
        Ok(Some(Answer { header, asked, at, is_sealed: sealed, arrival }))
    }

    /// Decrypts the message that came, where it is encrypted; whether it was.
    fn unseal(&mut self, stage: &'static str) -> Result<bool, SmbError> {
        match &self.sealer {
            Some(sealer) if self.incoming.starts_with(&TRANSFORM_ID) => {
                match sealer.open(&mut self.incoming) {
                    true => Ok(true),
                    false => Err(SmbError::BadSignature { address: self.address, stage }),
                }
            }
            // A header that is not the usual one is refused by name where it is decoded.
            _ => Ok(false),
        }
    }

    /// A success must be signed when the request was: the server has to (MS-SMB2 3.3.4.1.1). Errors may come unsigned from a
    /// server that lost the session. What is signed must be signed rightly, whoever asked for that.
    fn check_signature(&mut self, stage: &'static str, header: &Header) -> Result<(), SmbError> {
        let signed = header.flags & FLAG_SIGNED != 0;
        let Some(signer) = self.signer.clone() else { return Ok(()) };
        let must = match self.protection {
            Protection::Open => false,
            Protection::Signed => header.status == NtStatus::SUCCESS,
            // Nor may a success come in the open where all was to be encrypted.
            Protection::Sealed if header.status == NtStatus::SUCCESS => {
                return Err(SmbError::BadSignature { address: self.address, stage });
            }
            Protection::Sealed => false,
        };
        if (must || signed) && !(signed && self.is_signed_by(&signer)) {
            let address = self.address;
            return Err(match signed && signer.covers_a_length_too(self.message()) {
                true => SmbError::SignedTooMuch { address, stage },
                false => SmbError::BadSignature { address, stage },
            });
        }
        Ok(())
    }
}
