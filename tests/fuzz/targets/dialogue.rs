//! A server that answers a client's requests about a file as it likes: one at a time, two in a message, wrongly chained, in any order, late, or not. No
//! byte of it panics the dialogue, and no answer is taken for that to another request.
//!
//! An input is a list of answers: how each is given, then the length of its body and the body.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pathproof_api::wire::Exposed;
use pathproof_api::{
    Access, Arrival, LaneStats, MessagePipe, PipeLimits, Queued, Region, RegionId, TransportError, Wait,
};
use pathproof_smb2::NtStatus;
use pathproof_smb2::connection::{Connection, Kin, Sizes};
use pathproof_smb2::file::{FileId, encode_handle};
use pathproof_smb2::wire::{Command, FLAG_RESPONSE, Header};
use pathproof_sys::clock::RealClock;

/// What an answer may say of how it went.
const STATUSES: [NtStatus; 4] =
    [NtStatus::SUCCESS, NtStatus::OBJECT_NAME_NOT_FOUND, NtStatus::INVALID_PARAMETER, NtStatus::PENDING];

/// The other end of the pipe.
struct Said<'a> {
    input: &'a [u8],
    /// Requests that have no answer yet.
    asked: Vec<Header>,
    limits: PipeLimits,
}

impl Said<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(*first)
    }

    /// One answer: bit 1 says to which request, bits 2 and 3 how it went.
    fn answer(&mut self, how: u8) -> Option<Vec<u8>> {
        let length = usize::from(self.byte()?).min(self.input.len());
        let (body, rest) = self.input.split_at(length);
        self.input = rest;
        let status = STATUSES[usize::from((how >> 2) & 3)];
        let at = usize::from((how >> 1) & 1).min(self.asked.len().saturating_sub(1));
        let asked = self.asked.get(at).copied().unwrap_or(Header::request(Command::Echo, u64::MAX));
        if status != NtStatus::PENDING && at < self.asked.len() {
            self.asked.remove(at);
        }
        Some(Header { status, flags: FLAG_RESPONSE, credits: 16, ..asked }.encode(body))
    }
}

fn gone() -> TransportError {
    TransportError::PeerGone { operation: "fuzz".into(), how: None, detail: "there is no more".into() }
}

impl MessagePipe for Said<'_> {
    fn limits(&self) -> &PipeLimits {
        &self.limits
    }

    fn send(&mut self, parts: &[&[u8]], _: Option<u32>) -> Result<Queued, TransportError> {
        let whole = parts.concat();
        let mut rest = &whole[..];
        loop {
            let (header, next) = Header::decode_chained(rest).expect("the client's own");
            self.asked.push(header);
            if next == 0 {
                return Ok(Queued::Yes);
            }
            assert!(next % 8 == 0, "a compound is aligned");
            rest = &rest[next..];
        }
    }

    fn poll(&mut self, message: &mut Vec<u8>, _: Wait) -> Result<Option<Arrival>, TransportError> {
        message.clear();
        let how = self.byte().ok_or_else(gone)?;
        let mut first = self.answer(how).ok_or_else(gone)?;
        if how & 1 != 0 {
            first.resize(first.len().next_multiple_of(8), 0);
            let next = if how & 0x80 == 0 { first.len() } else { usize::from(self.byte().unwrap_or(1)) * 8 };
            first[20..24].copy_from_slice(&(next as u32).to_le_bytes());
            message.extend(first);
            message.extend(self.answer(how >> 4).unwrap_or_default());
        } else {
            message.extend(first);
        }
        Ok(Some(Arrival { fragments: 1, ..Arrival::default() }))
    }

    fn expose(&mut self, _: &Arc<Region>, _: Access) -> Result<Exposed, TransportError> {
        Err(gone())
    }

    fn withdraw(&mut self, _: RegionId) -> Result<(), TransportError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> LaneStats {
        LaneStats::default()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let limits = PipeLimits {
        send_bytes_max: 1 << 20,
        receive_bytes_max: 1 << 20,
        one_sided_bytes_max: None,
        whole_within: Duration::from_secs(1),
    };
    let pipe = Said { input: bytes, asked: vec![], limits };
    let address = SocketAddr::from(([192u8, 0, 2, 1], 445));
    let mut client =
        Connection::over(pipe, address, Duration::from_secs(5), Sizes::QUESTIONS, &RealClock::new());
    client.logging_on = false;
    // Its answer brings the credits for a compound.
    let _ = client.exchange(Command::Echo, &[4, 0, 0, 0]);
    let file = client.create_with_room("f", false).map_or(FileId([1; 16]), |(file, _)| file);
    let body = encode_handle(file);
    if let Ok(told) =
        client.exchange_two([(Command::Flush, &body[..]), (Command::Close, &body[..])], Kin::Related)
    {
        let wanted = [Command::Flush, Command::Close];
        for (told, wanted) in
            told.iter().zip(wanted).filter_map(|(told, wanted)| Some((told.as_ref()?, wanted)))
        {
            assert_eq!(told.answer.asked.command, wanted, "an answer to another request");
            assert!(
                Header::decode_chained(&told.message).is_ok_and(|(header, _)| header == told.answer.header)
            );
        }
    }
    let _ = client.close_and_remove(file, "f");
    assert!(client.under_way() <= 2, "no more is under way than was asked");
});
