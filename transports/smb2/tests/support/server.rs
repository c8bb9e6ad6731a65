//! A small SMB 3.0.2 server with one file in memory, that behaves except in one thing. Test support only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pathproof_smb2::crypto::{PreauthHash, Signer};
use pathproof_smb2::wire::{Command, FLAG_RELATED, FLAG_RESPONSE, FLAG_SIGNED, Header, frame};
use pathproof_smb2::{Credentials, Dialect, NtStatus, ntlm};

/// The account that it knows.
pub const ACCOUNT: (&str, &str) = ("lab", "Lab-Pass-1");

/// What it does wrong, when it is asked this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each test binary uses its own part")]
pub enum Fault {
    /// Nothing.
    None,
    /// It hangs up.
    Close(Command),
    /// It hangs up, and on whoever comes after that.
    Vanishes(Command),
    /// It says nothing more.
    Stall(Command),
    /// It says that it works on it, and nothing more.
    Pending(Command),
    /// It announces more than anybody sends.
    Oversize(Command),
    /// It announces 4 GiB, which no length of a message can be (MS-SMB2 2.1: its first byte is zero).
    FourGib(Command),
    /// It announces a message, and sends a byte of it now and then.
    Drip(Command),
    /// It refuses.
    Status(Command, u32),
    /// It answers a WRITE by its head, and reads nothing more.
    Deaf,
    /// It signs wrongly.
    BadSignature(Command),
    /// It signs the length in front of the message too, as ksmbd does.
    SignsALength(Command),
    /// Its answer to NEGOTIATE was changed on the way.
    Downgraded,
    /// It knows no validation of the negotiation.
    NoValidation,
    /// It does not sign.
    Unsigned(Command),
    /// It encrypts, by a key that nobody agreed on.
    Sealed(Command),
    /// It grants so many credits, always.
    Credits(u16),
    /// It writes half of everything.
    ShortWrite,
    /// It says that it wrote, and does not.
    LostWrite,
    /// Its reads end early.
    ShortRead,
    /// Its reads say more than they hold.
    LongRead,
    /// It opened a file that was there.
    OpenedExisting,
    /// It has no room.
    NoRoom,
    /// It demands signatures, and takes requests without.
    TakesUnsigned,
    /// It keeps the file when it is closed, and says this to whoever would open it again.
    Keeps(u32),
    /// It answers each request of a compound by itself, which is no fault.
    Apart,
    /// The same, the last one first.
    ApartBackwards,
    /// It does the first request of a compound, and does not look at the rest.
    FirstOnly,
    /// It refuses what takes over from the request before it.
    NoRelated,
    /// It refuses all that stands in a compound.
    NoCompounds,
    /// It ends a connection at its twentieth WRITE, and carries that out when a flush is asked for over another one.
    LateWrite,
    /// It answers what was not compounded in a compound.
    AnswersTwice(Command),
}

/// Serves connections for ever. The bytes of the file, and whether it is there, are told.
pub fn serve(fault: Fault) -> (SocketAddr, Arc<Mutex<Option<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let file = Arc::new(Mutex::new(None));
    let shared = file.clone();
    let gone = Arc::new(AtomicBool::new(false));
    let late = Arc::new(Mutex::new(None));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if gone.load(Ordering::SeqCst) {
                continue;
            }
            let (file, gone, late) = (shared.clone(), gone.clone(), late.clone());
            std::thread::spawn(move || {
                let (signer, hello, token, writes) = (None, vec![], vec![], 0);
                let mut server = Server { stream, fault, file, gone, late, writes, signer, hello, token };
                while server.turn().is_some() {}
                // Whoever goes takes the file along, unless other channels hold it.
                if fault != Fault::LateWrite {
                    *server.file.lock().unwrap() = None;
                }
            });
        }
    });
    (address, file)
}

/// Where a write lies that is not carried out yet, and its bytes.
type Unwritten = (usize, Vec<u8>);

struct Server {
    stream: TcpStream,
    fault: Fault,
    file: Arc<Mutex<Option<Vec<u8>>>>,
    /// It has vanished.
    gone: Arc<AtomicBool>,
    /// The WRITE that it has not carried out yet: where, and what.
    late: Arc<Mutex<Option<Unwritten>>>,
    writes: u32,
    signer: Option<Signer>,
    hello: Vec<u8>,
    token: Vec<u8>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(out)
}

fn challenge() -> Vec<u8> {
    let mut info = vec![7u8, 0, 8, 0];
    info.extend_from_slice(&0x01D9_0000_0000_0000u64.to_le_bytes());
    info.extend_from_slice(&[0; 4]);
    let mut token = b"NTLMSSP\0".to_vec();
    token.extend_from_slice(&2u32.to_le_bytes());
    token.extend_from_slice(&[0; 8]);
    token.extend_from_slice(&0xA288_8215u32.to_le_bytes());
    token.extend_from_slice(&[9; 8]);
    token.extend_from_slice(&[0; 8]);
    for field in [info.len() as u16, info.len() as u16, 48, 0] {
        token.extend_from_slice(&field.to_le_bytes());
    }
    token.extend(info);
    token
}

impl Server {
    /// One request and its answer; `None` ends the connection.
    fn turn(&mut self) -> Option<()> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).ok()?;
        let mut request = vec![0; u32::from_be_bytes(prefix) as usize];
        if self.fault == Fault::Deaf && request.len() > 1 << 20 {
            self.stream.read_exact(&mut request[..128]).ok()?;
            let header = Header::decode(&request).ok()?;
            let length = number::<4>(&request, 68) as u32;
            let body = [&[17, 0, 0, 0][..], &length.to_le_bytes(), &[0; 9]].concat();
            let flags = FLAG_RESPONSE;
            let mut message = Header { flags, session_id: 77, ..header }.encode(&body);
            self.signer.as_ref().inspect(|signer| signer.sign(&mut message));
            self.stream.write_all(&frame(&message)).ok()?;
            std::thread::sleep(Duration::from_secs(3));
            return None;
        }
        self.stream.read_exact(&mut request).ok()?;
        let mut answers = vec![];
        let (mut rest, mut is_first) = (&request[..], true);
        loop {
            let (header, next) = Header::decode_chained(rest).ok()?;
            let (one, after) = rest.split_at(if next == 0 { rest.len() } else { next });
            let is_last = next == 0 || self.fault == Fault::FirstOnly;
            let apart = matches!(self.fault, Fault::Apart | Fault::ApartBackwards);
            let refused = match self.fault {
                Fault::NoRelated if header.flags & FLAG_RELATED != 0 => Some(0xC000_000D),
                Fault::NoCompounds if next != 0 || !is_first => Some(0xC000_00BB),
                _ => None,
            };
            answers.push(self.one(header, one, !is_last && !apart, refused)?);
            if is_last {
                break;
            }
            (rest, is_first) = (after, false);
        }
        match self.fault {
            Fault::Apart => {}
            Fault::ApartBackwards => answers.reverse(),
            _ => answers = vec![answers.concat()],
        }
        for answer in answers.iter().filter(|answer| !answer.is_empty()) {
            self.stream.write_all(&frame(answer)).ok()?;
        }
        Some(())
    }

    /// What is said to one request, which is nothing where the fault has spoken; `None` ends the connection.
    fn one(
        &mut self,
        header: Header,
        request: &[u8],
        is_followed: bool,
        refused: Option<u32>,
    ) -> Option<Vec<u8>> {
        let command = header.command;
        match self.fault {
            Fault::Close(when) if when == command => return None,
            Fault::Vanishes(when) if when == command => {
                self.gone.store(true, Ordering::SeqCst);
                return None;
            }
            Fault::LateWrite if command == Command::Write => {
                self.writes += 1;
                let mut late = self.late.lock().unwrap();
                if self.writes == 20 && late.is_none() {
                    let (length, offset) =
                        (number::<4>(request, 68) as usize, number::<8>(request, 72) as usize);
                    *late = Some((offset, request[112..112 + length].to_vec()));
                    return None;
                }
            }
            Fault::LateWrite if command == Command::Flush => {
                if let (Some((offset, data)), Some(file)) =
                    (self.late.lock().unwrap().take(), self.file.lock().unwrap().as_mut())
                {
                    file[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
            Fault::Stall(when) if when == command => {
                // Until the client leaves.
                let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
                return None;
            }
            Fault::Oversize(when) if when == command => {
                let _ = self.stream.write_all(&[0, 0xFF, 0xFF, 0xFF]);
                return Some(vec![]);
            }
            Fault::FourGib(when) if when == command => {
                let _ = self.stream.write_all(&[0xFF; 4]);
                return Some(vec![]);
            }
            Fault::Drip(when) if when == command => {
                let _ = self.stream.write_all(&[0, 0, 1, 0]);
                for _ in 0..255 {
                    self.stream.write_all(&[0xFE]).ok()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                return None;
            }
            _ => {}
        }
        let (mut status, body) = match refused {
            Some(status) => (NtStatus(status), vec![]),
            None => self.body(command, request),
        };
        if let Fault::Status(when, what) = self.fault
            && when == command
        {
            status = NtStatus(what);
        }
        if self.fault == Fault::Pending(command) {
            status = NtStatus::PENDING;
        }
        let error = !matches!(status, NtStatus::SUCCESS | NtStatus::MORE_PROCESSING_REQUIRED);
        let body = if error { vec![9, 0, 0, 0, 0, 0, 0, 0, 0] } else { body };
        let answer = Header {
            status,
            flags: FLAG_RESPONSE,
            credits: match self.fault {
                Fault::Credits(credits) => credits,
                _ => header.credits,
            },
            tree_id: 3,
            session_id: 77,
            ..header
        };
        let mut message = answer.encode(&body);
        if is_followed || self.fault == Fault::AnswersTwice(command) {
            message.resize(message.len().next_multiple_of(8), 0);
            let next = message.len() as u32;
            message[20..24].copy_from_slice(&next.to_le_bytes());
        }
        // The last answer of a logon is signed, as Samba's is.
        let signs = header.flags & FLAG_SIGNED != 0 || command == Command::SessionSetup;
        if let (Some(signer), true) = (&self.signer, signs) {
            signer.sign(&mut message);
            match self.fault {
                Fault::SignsALength(when) if when == command => {
                    let signature = signer.signature_with_length(&message);
                    message[48..64].copy_from_slice(&signature);
                }
                Fault::BadSignature(when) if when == command => message[50] ^= 1,
                Fault::Unsigned(when) if when == command => {
                    message[16] &= !(FLAG_SIGNED as u8);
                    message[48..64].fill(0);
                }
                _ => {}
            }
        }
        if self.fault == Fault::Sealed(command) {
            message.splice(..0, [&b"\xFDSMB"[..], &[1; 48]].concat());
        }
        if self.fault == Fault::AnswersTwice(command) {
            let again = Header { flags: FLAG_RESPONSE, ..header }.encode(&[4, 0, 0, 0]);
            message.extend(again);
        }
        Some(message)
    }

    fn body(&mut self, command: Command, request: &[u8]) -> (NtStatus, Vec<u8>) {
        const OK: NtStatus = NtStatus::SUCCESS;
        match command {
            Command::Negotiate => (OK, super::negotiate_body(0x0302, 0x4F, &[])),
            Command::SessionSetup => self.setup(&request[64 + 24..]),
            Command::TreeConnect => (OK, [&[16, 0, 1, 0][..], &[0; 12]].concat()),
            Command::Ioctl if self.fault == Fault::NoValidation => (NtStatus(0xC000_00BB), vec![]),
            // The list of NICs; who demands signatures refuses to tell it to whoever does not sign.
            Command::Ioctl if number::<4>(request, 64 + 4) == 0x0014_01FC => match self.fault {
                Fault::TakesUnsigned => (OK, super::ioctl_body(&[])),
                _ => (NtStatus::ACCESS_DENIED, vec![]),
            },
            Command::Ioctl => {
                let said = super::negotiate_body(0x0302, 0x4F, &[]);
                let mut told = [&said[24..28], &said[8..24], &said[2..6]].concat();
                told[0] ^= if self.fault == Fault::Downgraded { 8 } else { 0 };
                let mut body = super::ioctl_body(&told);
                body[4..8].copy_from_slice(&0x0014_0204u32.to_le_bytes());
                (OK, body)
            }
            Command::Create => {
                let mut file = self.file.lock().unwrap();
                let makes = number::<4>(request, 64 + 36) == 2;
                if let (Fault::Keeps(status), false) = (self.fault, makes) {
                    return (NtStatus(status), vec![]);
                }
                match (makes, file.is_some()) {
                    (false, false) => return (NtStatus::OBJECT_NAME_NOT_FOUND, vec![]),
                    (true, true) => return (NtStatus::OBJECT_NAME_COLLISION, vec![]),
                    (true, false) => *file = Some(vec![]),
                    (false, true) => {}
                }
                let mut body = vec![0; 88];
                body[0] = 89;
                body[4] = if makes && self.fault != Fault::OpenedExisting { 2 } else { 1 };
                body[64] = 5;
                (OK, body)
            }
            Command::QueryInfo => {
                let mut body = vec![9, 0, 72, 0, 32, 0, 0, 0];
                let units: u64 = if self.fault == Fault::NoRoom { 1 } else { 1 << 30 };
                for field in [units, units, units] {
                    body.extend_from_slice(&field.to_le_bytes());
                }
                body.extend_from_slice(&8u32.to_le_bytes());
                body.extend_from_slice(&512u32.to_le_bytes());
                (OK, body)
            }
            Command::Write => {
                let (length, offset) = (number::<4>(request, 68) as usize, number::<8>(request, 72) as usize);
                let mut file = self.file.lock().unwrap();
                let Some(file) = file.as_mut() else { return (NtStatus(0xC000_0128), vec![]) };
                file.resize(file.len().max(offset + length), 0);
                if self.fault != Fault::LostWrite {
                    file[offset..offset + length].copy_from_slice(&request[112..112 + length]);
                }
                let told = if self.fault == Fault::ShortWrite { length / 2 } else { length };
                (OK, [&[17, 0, 0, 0][..], &(told as u32).to_le_bytes(), &[0; 9]].concat())
            }
            Command::Read => {
                let (length, offset) = (number::<4>(request, 68) as usize, number::<8>(request, 72) as usize);
                let file = self.file.lock().unwrap();
                let Some(data) = file.as_ref().and_then(|file| file.get(offset..offset + length)) else {
                    return (NtStatus::END_OF_FILE, vec![]);
                };
                let data = if self.fault == Fault::ShortRead { &data[..length / 2] } else { data };
                let told = if self.fault == Fault::LongRead { length * 2 } else { data.len() };
                (OK, [&[17, 0, 80, 0][..], &(told as u32).to_le_bytes(), &[0; 8], data].concat())
            }
            Command::Close => {
                if !matches!(self.fault, Fault::Keeps(_)) {
                    *self.file.lock().unwrap() = None;
                }
                (OK, [&[60, 0][..], &[0; 58]].concat())
            }
            _ => (OK, vec![4, 0, 0, 0]),
        }
    }

    /// The logon, for the one account that it knows.
    fn setup(&mut self, token: &[u8]) -> (NtStatus, Vec<u8>) {
        let body = |token: &[u8]| {
            let mut body = vec![9u8, 0, 0, 0, 72, 0];
            body.extend_from_slice(&(token.len() as u16).to_le_bytes());
            body.extend_from_slice(token);
            body
        };
        if token[8] == 1 {
            self.hello = token.to_vec();
            self.token = challenge();
            return (NtStatus::MORE_PROCESSING_REQUIRED, body(&self.token));
        }
        let who = Credentials { user: ACCOUNT.0.into(), domain: String::new(), password: ACCOUNT.1.into() };
        let read = ntlm::decode_challenge(&self.token).unwrap();
        let nonce = *token[88 + 24 + 32..].first_chunk().unwrap();
        let right = ntlm::ntlm_v2(&who, &read, &self.hello, &self.token, nonce, 0);
        if right.message != token {
            return (NtStatus::LOGON_FAILURE, vec![]);
        }
        let key = right.session_key.unwrap();
        self.signer = Some(Signer::new(Dialect::V3_0_2, None, key, &PreauthHash::default()));
        (NtStatus::SUCCESS, body(&[]))
    }
}
