//! TCP connections and listeners of the network namespace of this process, from `/proc/net/tcp` and `tcp6`, which everybody may read.
//!
//! It refuses to tell a part for the whole: a table that is longer than is read is an error.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

use crate::connections::PortUse;

const TABLE: &str = "/proc/net/tcp";
const TABLE_V6: &str = "/proc/net/tcp6";
/// Longest table that is read: some 100,000 connections.
const BYTES_MAX: u64 = 16 << 20;
/// An open connection (include/net/tcp_states.h).
const ESTABLISHED: u8 = 1;
/// A listener (include/net/tcp_states.h).
const LISTEN: u8 = 10;

/// Connections that have `port` at either end, and listeners at it, each pair of addresses once.
pub fn of_port(port: u16) -> io::Result<Vec<PortUse>> {
    let mut found = BTreeSet::new();
    read(TABLE, port, &mut found)?;
    match read(TABLE_V6, port, &mut found) {
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => other?,
    }
    Ok(found.into_iter().collect())
}

fn read(path: &str, port: u16, found: &mut BTreeSet<PortUse>) -> io::Result<()> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    let table = File::open(path).map_err(told)?;
    collect(table, port, found).map_err(told)
}

fn collect(table: impl Read, port: u16, found: &mut BTreeSet<PortUse>) -> io::Result<()> {
    let mut lines = BufReader::new(table.take(BYTES_MAX));
    let (mut line, mut bytes) = (String::new(), 0);
    loop {
        line.clear();
        match lines.read_line(&mut line)? {
            0 => break,
            read => bytes += read as u64,
        }
        found.extend(of_line(&line, port));
    }
    if bytes >= BYTES_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("longer than {BYTES_MAX} bytes")));
    }
    Ok(())
}

/// A line after the first, which names the columns: number, own address, other address, state, and what is not asked for.
fn of_line(line: &str, port: u16) -> Option<PortUse> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, other) = (address(columns.next()?)?, address(columns.next()?)?);
    match u8::from_str_radix(columns.next()?, 16).ok()? {
        LISTEN if local.port() == port => Some(PortUse { local: local.ip(), other: None }),
        ESTABLISHED if local.port() == port || other.port() == port => {
            Some(PortUse { local: local.ip(), other: Some(other.ip()) })
        }
        _ => None,
    }
}

/// `0100007F:0CBC`: each four bytes of the address as a number of this processor, the port as one of network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let four = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(four(0)?),
        32 => {
            let mut octets = [0u8; 16];
            for (part, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&four(at)?);
            }
            // What listens for both families has connections of IPv4 there.
            IpAddr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// An address as the kernel of this machine writes it.
    fn written(address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = octets.chunks_exact(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap()));
        let words: String = words.map(|word| format!("{word:08X}")).collect();
        format!("{words}:{:04X}", address.port())
    }

    fn found(lines: &[(&str, &str, &str)]) -> Vec<PortUse> {
        let mut table = "  sl  local_address rem_address   st tx_queue rx_queue\n".to_owned();
        for (number, (local, other, state)) in lines.iter().enumerate() {
            let (local, other) = (written(local), written(other));
            table += &format!("{number:4}: {local} {other} {state} 00000000:00000000 00:00000000\n");
        }
        let mut found = BTreeSet::new();
        collect(table.as_bytes(), 3260, &mut found).unwrap();
        found.into_iter().collect()
    }

    #[test]
    fn a_port_is_used_by_who_listens_there_and_by_open_connections_with_it_at_either_end() {
        let used = |local: &str, other: Option<&str>| PortUse {
            local: local.parse().unwrap(),
            other: other.map(|other| other.parse().unwrap()),
        };
        let all = found(&[
            ("10.0.2.1:41000", "10.0.2.9:3260", "01"),
            ("10.0.2.1:41001", "10.0.2.9:3260", "01"),
            ("10.0.2.2:3260", "0.0.0.0:0", "0A"),
            ("10.0.2.3:3260", "10.0.2.7:50000", "01"),
            // Not open yet, closed already, and another port.
            ("10.0.2.4:41000", "10.0.2.9:3260", "02"),
            ("10.0.2.4:41000", "10.0.2.9:3260", "06"),
            ("10.0.2.4:41000", "10.0.2.9:445", "01"),
        ]);
        let expected =
            [used("10.0.2.1", Some("10.0.2.9")), used("10.0.2.2", None), used("10.0.2.3", Some("10.0.2.7"))];
        assert_eq!(all, expected);
        let six = found(&[
            ("[fd00::1]:41000", "[fd00::9]:3260", "01"),
            ("[::ffff:10.0.2.5]:3260", "[::ffff:10.0.2.7]:50000", "01"),
        ]);
        assert_eq!(six, [used("10.0.2.5", Some("10.0.2.7")), used("fd00::1", Some("fd00::9"))]);
    }

    #[test]
    fn lines_that_nobody_understands_are_no_connections_and_a_table_without_an_end_is_an_error() {
        for line in ["", "0:", "0: 1:2 3:4 01", "0: 0100007F:0CBC", "0: xxxxxxxx:0CBC 00000000:0000 0A"] {
            assert_eq!(of_line(line, 3260), None, "{line}");
        }
        let endless = io::repeat(b'0');
        let error = collect(endless, 3260, &mut BTreeSet::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_listener_and_a_connection_of_this_process_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let here = address.ip();
        let _connected = TcpStream::connect(address).unwrap();
        let used = of_port(address.port()).unwrap();
        assert!(used.contains(&PortUse { local: here, other: None }), "{used:?}");
        assert!(used.contains(&PortUse { local: here, other: Some(here) }), "{used:?}");
    }
}
