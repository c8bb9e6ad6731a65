//! Answers as a server would write them, and a server that plays a script. Test support only.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod server;
pub mod smbd;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use pathproof_smb2::status::NtStatus;
use pathproof_smb2::wire::{Command, FLAG_RESPONSE, Header, frame};

/// A negotiate context in an answer.
pub fn context(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&(data.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(data);
    out
}

/// The pre-authentication context every 3.1.1 answer needs.
pub fn preauth() -> Vec<u8> {
    let mut data = vec![1, 0, 32, 0, 1, 0];
    data.extend_from_slice(&[0x5A; 32]);
    context(1, &data)
}

/// The body of a NEGOTIATE answer.
pub fn negotiate_body(dialect: u16, capabilities: u32, contexts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&65u16.to_le_bytes());
    body.extend_from_slice(&3u16.to_le_bytes()); // signing enabled and required
    body.extend_from_slice(&dialect.to_le_bytes());
    body.extend_from_slice(&(contexts.len() as u16).to_le_bytes());
    body.extend((0..16).map(|byte| byte as u8));
    body.extend_from_slice(&capabilities.to_le_bytes());
    for size in [8u32 << 20, 4 << 20, 2 << 20] {
        body.extend_from_slice(&size.to_le_bytes());
    }
    body.extend_from_slice(&133_000_000_000_000_000u64.to_le_bytes());
    body.extend_from_slice(&0u64.to_le_bytes());
    body.extend_from_slice(&128u16.to_le_bytes());
    body.extend_from_slice(&4u16.to_le_bytes());
    body.extend_from_slice(&136u32.to_le_bytes());
    body.extend_from_slice(b"blob");
    for one in contexts {
        body.resize(body.len().next_multiple_of(8), 0);
        body.extend_from_slice(one);
    }
    body
}

/// One interface record, 152 bytes.
pub fn record(next: u32, index: u32, capability: u32, speed: u64, sockaddr: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [next, index, capability, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&speed.to_le_bytes());
    out.extend_from_slice(sockaddr);
    out.resize(152, 0);
    out
}

/// An IPv4 sockaddr as MS-SMB2 2.2.32.5.1.1 has it.
pub fn v4(address: [u8; 4]) -> Vec<u8> {
    [&[2, 0, 0, 0], &address[..]].concat()
}

/// An IPv6 sockaddr as MS-SMB2 2.2.32.5.1.2 has it.
pub fn v6(address: [u8; 16], scope: u32) -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0, 0, 0, 0], &address[..], &scope.to_le_bytes()].concat()
}

/// The body of an IOCTL answer around a list.
pub fn ioctl_body(list: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&49u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&0x0014_01FCu32.to_le_bytes());
    body.extend_from_slice(&[0xFF; 16]);
    for field in [112, 0, 112, list.len() as u32, 0, 0] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body.extend_from_slice(list);
    body
}

/// A whole answer message.
pub fn answer(command: Command, message_id: u64, status: NtStatus, body: &[u8]) -> Vec<u8> {
    let mut header = Header::request(command, message_id);
    header.status = status;
    header.flags = FLAG_RESPONSE;
    header.encode(body)
}

/// What a scripted server does after reading one request.
pub enum Step {
    /// Send these bytes as they are.
    Raw(Vec<u8>),
    /// Send this message in a frame.
    Message(Vec<u8>),
    /// Say nothing until the client leaves.
    Silence,
    /// Hang up.
    Close,
}

/// Serve each connection with its own script, then stop listening. Joining returns what was received.
pub fn serve(scripts: Vec<Vec<Step>>) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut received = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            play(stream, script, &mut received);
        }
        received
    });
    (address, thread)
}

fn play(mut stream: TcpStream, script: Vec<Step>, received: &mut Vec<Vec<u8>>) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for step in script {
        let Some(request) = read_request(&mut stream) else { return };
        received.push(request);
        match step {
            Step::Raw(bytes) => drop(stream.write_all(&bytes)),
            Step::Message(message) => drop(stream.write_all(&frame(&message))),
            Step::Silence => drop(stream.read(&mut [0; 1])),
            Step::Close => return,
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut message = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
