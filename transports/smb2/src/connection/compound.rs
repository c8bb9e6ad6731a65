//! Two requests as one message (MS-SMB2 3.2.4.1.4): the second is served after the first, and both cost one round trip.
//!
//! A server may answer them in one message, or each by itself: what answers what is told by its number. One that does neither (it looks at the first
//! alone, or refuses what stands in a compound) costs the deadline once, and is asked one by one from then on. What moves data, and what
//! belongs to a logon, goes alone.

use pathproof_api::{Clock, MessagePipe, Queued, Wait};

use super::{Answer, Connection, Protection, Went};
use crate::error::SmbError;
use crate::flight::COMPOUND;
use crate::seal::TRANSFORM_BYTES;
use crate::status::NtStatus;
use crate::wire::{Command, FLAG_RELATED, NEXT_AT};

/// What the second request of a compound has to do with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// It is about the file that the first one names, or opens ([`FileId::BEFORE`](crate::file::FileId::BEFORE)).
    Related,
    /// Nothing.
    Unrelated,
}

/// An answer, and its message.
#[derive(Clone, Debug)]
pub struct Told {
    /// The answer.
    pub answer: Answer,
    /// Its message, header included.
    pub message: Vec<u8>,
}

impl Told {
    /// How it was answered.
    pub fn status(&self) -> NtStatus {
        self.answer.header.status
    }

    /// Whether this is what a server says that takes no compounds; it may be meant as it stands, too, so the request is put again, alone.
    pub fn may_refuse_compounds(&self) -> bool {
        self.status() == NtStatus::INVALID_PARAMETER || self.status().means_not_offered()
    }
}

impl<P: MessagePipe> Connection<P> {
    /// From now on requests go one by one: the server does not take compounds as they are meant.
    pub fn ask_apart(&mut self) {
        self.asks_apart = true;
    }

    /// Sends two requests as one message, and waits for both answers. `None` is a request that is to be put again, alone: it has no answer although the
    /// other has, or nothing could be sent as a compound now.
    pub fn exchange_two(
        &mut self,
        requests: [(Command, &[u8]); COMPOUND],
        kin: Kin,
    ) -> Result<[Option<Told>; COMPOUND], SmbError> {
        let first_id = self.flight.next_id();
        let mut told = [const { None }; COMPOUND];
        let may = !self.asks_apart && !self.logging_on && self.flight.affords_compound();
        if !may || self.submit_two(requests, kin)? == Went::NotNow {
            return Ok(told);
        }
        while told.iter().any(Option::is_none) && !self.flight.is_empty() {
            match self.answer(Wait::AtMost(self.timeout)) {
                Ok(Some(answer)) => {
                    let at = answer.asked.message_id.saturating_sub(first_id) as usize;
                    if let Some(place) = told.get_mut(at) {
                        *place = Some(Told { answer, message: self.message().to_vec() });
                    }
                }
                Ok(None) => {}
                // It knows of one request and not of the other, in whichever words silence is told.
                Err(SmbError::Deadline { .. } | SmbError::SilentSealed { .. })
                    if told.iter().any(Option::is_some) =>
                {
                    self.flight.forget();
                    self.ask_apart();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    fn submit_two(&mut self, requests: [(Command, &[u8]); COMPOUND], kin: Kin) -> Result<Went, SmbError> {
        let stage = requests[0].0.name();
        let seals = self.protection == Protection::Sealed && self.sealer.is_some();
        self.outgoing.clear();
        self.outgoing.resize(if seals { TRANSFORM_BYTES } else { 0 }, 0);
        for (at, (command, body)) in requests.into_iter().enumerate() {
            let (begin, is_last) = (self.outgoing.len(), at + 1 == COMPOUND);
            let flags = if at > 0 && kin == Kin::Related { FLAG_RELATED } else { 0 };
            let head = self.header(command, 1, flags, self.flight.next_id() + at as u64).encode_head();
            self.outgoing.extend_from_slice(&head);
            self.outgoing.extend_from_slice(body);
            if !is_last {
                let length = (self.outgoing.len() - begin).next_multiple_of(8);
                self.outgoing.resize(begin + length, 0);
                let next = begin + NEXT_AT;
                self.outgoing[next..next + 4].copy_from_slice(&(length as u32).to_le_bytes());
            }
            // Each by itself, what fills it up included (3.1.4.1).
            if let (Protection::Signed, Some(signer)) = (self.protection, &self.signer) {
                signer.sign(&mut self.outgoing[begin..]);
            }
        }
        if let (true, Some(sealer)) = (seals, &mut self.sealer) {
            sealer.seal(&mut self.outgoing);
        }
        let sent = self.clock.now();
        let queued = self.pipe.send(&[&self.outgoing], None);
        match queued.map_err(|error| self.broken(stage, error))? {
            Queued::Full => Ok(Went::NotNow),
            Queued::Yes => {
                self.stuck_since = None;
                self.flight.went_together(requests.map(|(command, _)| command), sent);
                Ok(Went::Out)
            }
        }
    }
}
