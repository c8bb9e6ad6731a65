//! Requests that others sent to a passive end, byte by byte (`tests/fixtures/README.md`): a prototype's client, and cifs.ko of Linux 6.12.

use super::*;
use crate::direct::{self, Channel, Placement};
use crate::file;
use crate::wire::{Command, FLAG_RELATED};

#[path = "../../../tests/captured/mod.rs"]
mod captured;

use captured::{Block, blocks};

const RXE: &str = include_str!("../../../tests/fixtures/cifs-foreign-initiator-rxe.txt");
const SIW: &str = include_str!("../../../tests/fixtures/cifs-foreign-initiator-siw.txt");
const MIB: u32 = 1 << 20;

/// The requests of a capture, in their order.
fn requests(text: &str) -> Vec<Block> {
    blocks(text).into_iter().filter(|block| block.name.starts_with("SRV got ")).collect()
}

/// Those of the capture's last connection: cifs.ko's, and no more of the prototype's.
fn of_cifs(text: &str) -> Vec<Block> {
    let mut all = requests(text);
    let begin = all.iter().rposition(|block| block.name == "SRV got NEGOTIATE").unwrap();
    all.split_off(begin)
}

fn request(message: &[u8]) -> Request<'_> {
    Request { header: Header::decode_chained(message).unwrap().0, message, sealed: false }
}

/// The message of that name which comes after `from` others.
fn named<'a>(blocks: &'a [Block], name: &str, from: usize) -> Request<'a> {
    let name = format!("SRV got {name}");
    request(&blocks.iter().filter(|block| block.name == name).nth(from).unwrap().bytes)
}

/// Whether what reads requests of its kind takes it.
fn is_taken(request: &Request<'_>) -> Result<(), NtStatus> {
    match request.header.command {
        Command::Negotiate => Negotiate::decode(request).map(|_| ()),
        Command::SessionSetup => Setup::decode(request).map(|_| ()),
        Command::TreeConnect => tree_name(request).map(|_| ()),
        Command::TreeDisconnect | Command::Logoff => empty(request),
        Command::Create => Create::decode(request).map(|_| ()),
        Command::Close => close(request).map(|_| ()),
        Command::Flush => flush(request).map(|_| ()),
        Command::Read => Transfer::decode_read(request).map(|_| ()),
        Command::Write => Transfer::decode_write(request).map(|_| ()),
        Command::QueryInfo => QueryInfo::decode(request).map(|_| ()),
        Command::SetInfo => SetInfo::decode(request).map(|_| ()),
        Command::QueryDirectory => QueryDirectory::decode(request).map(|_| ()),
        Command::Ioctl => Ioctl::decode(request).map(|_| ()),
        other => panic!("{other:?} is in no capture"),
    }
}

#[test]
fn every_whole_request_is_taken_and_no_cut_one() {
    for (text, whole, cut) in [(RXE, 70, 9), (SIW, 52, 5)] {
        let mut seen = [0, 0];
        for block in requests(text) {
            let taken = is_taken(&request(&block.bytes));
            if block.is_whole() {
                assert_eq!(taken, Ok(()), "{}", block.name);
                seen[0] += 1;
            } else {
                // A token, data or a pattern that lies behind the end of the message.
                assert_eq!(taken, Err(NtStatus::INVALID_PARAMETER), "{}", block.name);
                seen[1] += 1;
            }
        }
        assert_eq!(seen, [whole, cut]);
    }
}

#[test]
fn what_cifs_asks_before_it_has_a_file_is_read_as_it_meant_it() {
    for text in [RXE, SIW] {
        let all = of_cifs(text);
        let hello = Negotiate::decode(&named(&all, "NEGOTIATE", 0)).unwrap();
        assert_eq!((hello.dialects, hello.security_mode, hello.capabilities), (vec![0x311], 1, 0x77));
        assert_eq!((hello.preauth, hello.ciphers), ((1, true), vec![2, 4, 1]));
        assert!(hello.signing.is_empty(), "it signs by AES-CMAC, and says nothing of it");
        for (round, length) in [(0, 44), (1, 154)] {
            let setup = named(&all, "SESSION_SETUP", round);
            let setup = Setup::decode(&setup).unwrap();
            assert_eq!((setup.binding, setup.signing_required, setup.previous_session_id), (false, false, 0));
            assert!(setup.token.len() == length && setup.token.starts_with(b"NTLMSSP\0"));
        }
        assert_eq!(tree_name(&named(&all, "TREE_CONNECT", 0)).unwrap(), "IPC$");
        assert_eq!(tree_name(&named(&all, "TREE_CONNECT", 1)).unwrap(), "share");
        let asked = named(&all, "IOCTL", 0);
        let asked = Ioctl::decode(&asked).unwrap();
        // Whom to ask for the share (DFS), and which NICs there are.
        assert_eq!((asked.code, asked.input.len(), asked.room), (0x0006_0194, 36, 16_384));
        let asked = named(&all, "IOCTL", 1);
        let asked = Ioctl::decode(&asked).unwrap();
        assert_eq!((asked.code, asked.input.len(), asked.room), (0x0014_01FC, 0, 16_384));
        assert_eq!(asked.file, FileId([0xFF; 16]));
    }
    // The prototype offers less, and says more of signatures.
    let hello = Negotiate::decode(&named(&requests(RXE), "NEGOTIATE", 0)).unwrap();
    assert_eq!((hello.dialects, hello.security_mode, hello.capabilities), (vec![0x311], 1, 0x7F));
    assert_eq!((hello.preauth, hello.ciphers, hello.signing), ((1, true), vec![2], vec![1]));
}

/// A handle of the end that was asked: twice the same small number.
fn numbered(number: u8) -> FileId {
    let mut id = [0; 16];
    (id[0], id[8]) = (number, number);
    FileId(id)
}

#[test]
fn what_cifs_asks_about_files_is_read_as_it_meant_it() {
    for text in [RXE, SIW] {
        let all = of_cifs(text);
        let root = Create::decode(&named(&all, "CREATE", 0)).unwrap();
        let wanted = Create {
            path: String::new(),
            access: 0x80,
            sharing: 7,
            disposition: 1,
            options: 0,
            attributes: 0,
        };
        assert_eq!(root, wanted, "the directory, with a context that asks for its number on the disk");
        for (which, class, room) in [(0, 5, 136), (1, 4, 80)] {
            let query = QueryInfo::decode(&named(&all, "QUERY_INFO", which)).unwrap();
            assert_eq!(query, QueryInfo { kind: 2, class, room, file: numbered(1) });
        }
        assert_eq!(close(&named(&all, "CLOSE", 0)), Ok((numbered(1), false)));
        assert_eq!(flush(&named(&all, "FLUSH", 0)), Ok(numbered(2)));
        // It ends the file where it began, and then tells its times: the second in a compound, of the file that the first one named.
        let set = named(&all, "SET_INFO", 0);
        let set = SetInfo::decode(&set).unwrap();
        assert_eq!(set, SetInfo { kind: 1, class: 20, file: numbered(2), value: &[0; 8] });
        let set = named(&all, "SET_INFO (compound)", 0);
        assert_eq!(set.header.flags, FLAG_RELATED);
        assert_eq!(Header::decode_chained(set.message).unwrap().1, 136);
        let set = SetInfo::decode(&set).unwrap();
        assert_eq!((set.kind, set.class, set.file, set.value.len()), (1, 4, FileId([0xFF; 16]), 40));
    }
    let all = requests(RXE);
    let create = |from| Create::decode(&named(&all, "CREATE", from)).unwrap();
    let made = Create {
        path: "walk.bin".into(),
        access: 0x0013_019F,
        sharing: 7,
        disposition: 5,
        options: 0x40,
        attributes: 0x80,
    };
    assert_eq!(create(0), made);
    assert_eq!(create(2), Create { disposition: 1, options: 0x1040, ..made }, "to be deleted");
}

#[test]
fn what_cifs_moves_by_rdma_is_read_as_it_meant_it() {
    let all = of_cifs(RXE);
    let piece = |address, token| Data::Remote {
        pieces: vec![Descriptor { address, token, bytes: MIB }],
        invalidate: true,
    };
    let moves = |offset, data| Transfer { file: numbered(2), offset, bytes: MIB, least_bytes: 0, data };
    for (which, token) in [(0u32, 0x1C5E), (1, 0x1C5F)] {
        let write = named(&all, "WRITE", which as usize);
        assert_eq!(write.header.charge, 16);
        let wanted = moves(u64::from(which * MIB), piece(0xFF11_0000_10AB_C000, token));
        assert_eq!(Transfer::decode_write(&write).unwrap(), wanted);
    }
    for (which, token) in [(0u32, 0x1C66), (1, 0x1C67)] {
        let read = named(&all, "READ", which as usize);
        let wanted = moves(u64::from(which * MIB), piece(0xFF11_0000_10BA_C000, token));
        assert_eq!(Transfer::decode_read(&read).unwrap(), wanted);
    }
}

/// What this crate's client would have sent in the place of each READ and WRITE.
fn sent_by_this_client(transfer: &Transfer<'_>, is_read: bool) -> Vec<u8> {
    let Data::Remote { pieces, invalidate } = &transfer.data else {
        assert!(is_read, "whole WRITEs with data in them are in no capture");
        return file::encode_read(transfer.file, transfer.offset, transfer.bytes).to_vec();
    };
    let pieces: Vec<direct::Descriptor> = pieces
        .iter()
        .map(|piece| direct::Descriptor { address: piece.address, token: piece.token, length: piece.bytes })
        .collect();
    let channel = if *invalidate { Channel::Ended } else { Channel::Kept };
    let placement = Placement::new(&pieces, channel).unwrap();
    let body = match is_read {
        true => file::encode_read_into(transfer.file, transfer.offset, &placement),
        false => file::encode_write_from(transfer.file, transfer.offset, &placement, false),
    };
    [&body[..], placement.encoded()].concat()
}

#[test]
fn every_read_and_write_is_what_this_crate_s_client_sends_for_it() {
    for (text, reads, writes) in [(RXE, 8, 9), (SIW, 6, 6)] {
        let mut seen = [0, 0];
        for block in requests(text).into_iter().filter(Block::is_whole) {
            let request = request(&block.bytes);
            let (transfer, is_read) = match request.header.command {
                Command::Read => (Transfer::decode_read(&request).unwrap(), true),
                Command::Write => (Transfer::decode_write(&request).unwrap(), false),
                _ => continue,
            };
            let mut ours = sent_by_this_client(&transfer, is_read);
            if is_read {
                // Where data would be wanted in the answer: cifs.ko does not say, and by RDMA there is none.
                ours[2] = request.message[HEADER_BYTES + 2];
            }
            assert_eq!(ours, request.message[HEADER_BYTES..], "{}", block.name);
            seen[usize::from(!is_read)] += 1;
        }
        assert_eq!(seen, [reads, writes]);
    }
}
