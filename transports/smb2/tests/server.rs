//! The passive server, asked by this crate's own client and by hostile ones, without a socket.

mod passive;

use pathproof_smb2::connection::{Protection, Request};
use pathproof_smb2::crypto::Signer;
use pathproof_smb2::file::{self, FileId};
use pathproof_smb2::interfaces::{self, Interface};
use pathproof_smb2::logon::{Logon, log_on};
use pathproof_smb2::negotiate::{Capabilities, NegotiateRequest};
use pathproof_smb2::server::Turn;
use pathproof_smb2::session::{LEAVE, encode_tree_connect};
use pathproof_smb2::wire::{Command, FLAG_RELATED, HEADER_BYTES};
use pathproof_smb2::{Dialect, NtStatus, SmbError};
use proptest::prelude::*;

use passive::*;

/// A key may end with the answer to the request that it was for; a client that is told of it at any other time goes no further.
#[test]
fn a_memory_key_that_ends_with_anything_but_data_ends_the_dialogue() {
    let mut client = attached(&server(8 << 20), Dialect::V3_1_1);
    let file = client.create("a file", false).unwrap();
    client.pipe_mut().ends = Some(7);
    client.write(file, 0, &pattern(100)).unwrap();
    let error = client.flush(file).unwrap_err();
    assert!(matches!(error, SmbError::WrongKey { stage: "FLUSH", .. }), "{error}");
}

#[test]
fn files_come_back_as_they_were_in_every_dialect_and_protection() {
    let data = pattern(MIB);
    for dialect in [Dialect::V3_0, Dialect::V3_0_2, Dialect::V3_1_1] {
        for protection in [Protection::Open, Protection::Signed, Protection::Sealed] {
            let server = server(64 << 20);
            let mut client = attached(&server, dialect);
            client.protection = protection;
            let room = 64 << 20;
            let file = client.create("a file", false).unwrap();
            assert_eq!(client.room(file).unwrap(), room);
            client.write(file, 3, &data).unwrap();
            client.flush(file).unwrap();
            assert_eq!(client.length(file).unwrap(), 3 + MIB as u64);
            assert_eq!(read(&mut client, file, 3, MIB as u32), data, "{dialect} {protection:?}");
            assert_eq!(read(&mut client, file, 0, 4), [&[0; 3], &data[..1]].concat());
            assert!(client.room(file).unwrap() < room);
            client.close_file(file).unwrap();
            assert!(!client.remove("a file").unwrap(), "made to be deleted with its handle");
            assert_eq!(server.taken_bytes(), 0);
            client.leave().unwrap();
            assert_eq!(server.sessions(), 0);
        }
    }
}

#[test]
fn t23_only_the_account_comes_in_and_no_guest_and_nobody() {
    let server = server(1 << 20);
    for (user, password) in [("lab", "wrong"), ("other", "Lab-Pass-1"), ("lab", ""), ("", "")] {
        let mut client = over(Loop::to(&server));
        let agreed = negotiate(&mut client, &[Dialect::V3_1_1], GUID);
        let refused = log_on(&mut client, &agreed, Some(&who(user, password)), Logon::new()).unwrap_err();
        assert_eq!(refused.status(), Some(NtStatus::LOGON_FAILURE), "{user}");
        assert!(!client.pipe().conversation.is_proven() && client.pipe().conversation.refused_logons() == 1);
    }
    let mut client = over(Loop::to(&server));
    let agreed = negotiate(&mut client, &[Dialect::V3_1_1], GUID);
    let nobody = log_on(&mut client, &agreed, None, Logon::new()).unwrap_err();
    assert_eq!(nobody.status(), Some(NtStatus::LOGON_FAILURE));
    // Nothing else is answered without a session, not even about this host's NICs.
    client.logging_on = true;
    for (command, body) in [
        (Command::TreeConnect, encode_tree_connect("\\\\s\\sink")),
        (Command::Ioctl, interfaces::encode_query()),
        (Command::Logoff, LEAVE.to_vec()),
    ] {
        client.session_id = 77;
        assert_eq!(status(&mut client, command, &body), NtStatus::USER_SESSION_DELETED, "{command:?}");
    }
    assert_eq!(server.sessions(), 0);
}

#[test]
fn a_locked_out_address_is_told_so_and_its_guess_is_not_looked_at() {
    let server = server(1 << 20);
    let mut pipe = Loop::to(&server);
    pipe.conversation.locked_out = true;
    let mut client = over(pipe);
    let agreed = negotiate(&mut client, &[Dialect::V3_1_1], GUID);
    let refused = log_on(&mut client, &agreed, Some(&who("lab", "Lab-Pass-1")), Logon::new()).unwrap_err();
    assert_eq!(refused.status(), Some(NtStatus::ACCOUNT_LOCKED_OUT));
    assert_eq!(client.pipe().conversation.refused_logons(), 0);
}

#[test]
fn numbers_are_good_once_and_when_they_were_granted() {
    for wrong in [0, 3, 100_000, u64::MAX] {
        let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
        let signer = names.signer.clone();
        let echo = |id| raw(&names, Command::Echo, id, 1, &LEAVE, signer.as_ref());
        assert_eq!(pipe.say(&echo(next + 1)), Turn::Answer(None), "in any order");
        assert!(matches!(pipe.say(&echo(wrong)), Turn::HangUp(_)), "{wrong}");
    }
    let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
    let huge = raw(&names, Command::Echo, next, u16::MAX, &LEAVE, names.signer.as_ref());
    assert!(matches!(pipe.say(&huge), Turn::HangUp(_)), "more numbers than anybody has");
}

#[test]
fn a_charge_must_pay_for_what_is_moved() {
    let server = server(8 << 20);
    let mut client = attached(&server, Dialect::V3_0_2);
    let file = client.create("paid", false).unwrap();
    let ((names, mut pipe), next) = (take_apart(client), 5);
    let signer = names.signer.as_ref();
    let body = file::encode_read(file, 0, 65_537);
    let message = raw(&names, Command::Read, next, 1, &body, signer);
    assert_eq!(pipe.say(&message), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::INVALID_PARAMETER);
    let message = raw(&names, Command::Read, next + 1, 2, &body, signer);
    assert_eq!(pipe.say(&message), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::END_OF_FILE, "paid, and looked at");
}

#[test]
fn t24_signatures_are_checked_where_they_are_and_demanded_where_they_were() {
    let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
    let signer = names.signer.as_ref();
    let mut changed = raw(&names, Command::Echo, next, 1, &LEAVE, signer);
    changed[48] ^= 1;
    assert_eq!(pipe.say(&changed), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::ACCESS_DENIED);
    // At 3.1.1 the first request about a share shows that nobody altered the logon.
    let bare = raw(&names, Command::TreeConnect, next + 1, 1, &encode_tree_connect("\\\\s\\sink"), None);
    assert!(matches!(pipe.say(&bare), Turn::HangUp(_)));

    let server = server(1 << 20);
    let mut client = over(Loop::to(&server));
    let agreed = negotiate_demanding(&mut client);
    log_on(&mut client, &agreed, Some(&who("lab", "Lab-Pass-1")), Logon::new()).unwrap();
    client.protection = Protection::Open;
    client.logging_on = true;
    assert_eq!(
        attach(&mut client, "sink"),
        NtStatus::ACCESS_DENIED,
        "it demanded signatures, and does not sign"
    );
    client.protection = Protection::Signed;
    assert_eq!(attach(&mut client, "sink"), NtStatus::SUCCESS);
}

#[test]
fn dialects_below_3_are_refused_and_a_second_negotiation_ends_it() {
    let server = server(1 << 20);
    for (dialects, wanted) in [
        (&[Dialect::V2_0_2, Dialect::V2_1][..], None),
        (&Dialect::ALL[..], Some(Dialect::V3_1_1)),
        (&Dialect::ALL[..4], Some(Dialect::V3_0_2)),
    ] {
        let mut client = over(Loop::to(&server));
        let request = NegotiateRequest {
            dialects,
            client_guid: GUID,
            salt: [0; 32],
            server_name: "s",
            for_session: true,
        };
        match (client.negotiate(&request), wanted) {
            (Ok((answer, _)), Some(wanted)) => assert_eq!(answer.dialect, wanted),
            (Err(error), None) => assert_eq!(error.status(), Some(NtStatus::NOT_SUPPORTED)),
            (other, _) => panic!("{dialects:?}: {other:?}"),
        }
        if wanted.is_some() {
            assert!(client.negotiate(&request).is_err(), "a second one");
        }
    }
}

#[test]
fn data_is_fetched_from_and_placed_in_the_client_s_memory() {
    let server = server(8 << 20);
    let mut pipe = Loop::to(&server);
    let memory = Memory::default();
    *memory.0.lock().unwrap() = pattern(200_000);
    pipe.memory = Some(memory.clone());
    let mut client = over(pipe);
    let agreed = negotiate(&mut client, &[Dialect::V3_1_1], GUID);
    log_on(&mut client, &agreed, Some(&who("lab", "Lab-Pass-1")), Logon::new()).unwrap();
    client.protection = Protection::Signed;
    attach(&mut client, "sink");
    client.protection = Protection::Open;
    let file = client.create("direct", false).unwrap();
    let moves = |body: &[u8], client: &mut Client, command| {
        let request = Request { moves_bytes: 150_000, ..Request::small(command, body) };
        client.exchange_one(&request).unwrap().header.status
    };
    // Odd pieces, more memory than is asked for, and the key of the first that ends.
    let pieces = [(1001, 5, 70_000), (101_000, 5, 90_000)];
    assert_eq!(
        moves(&remote_write(file, 9, 150_000, 2, &pieces), &mut client, Command::Write),
        NtStatus::SUCCESS
    );
    assert_eq!(file::decode_write(client.message()), Ok(150_000));
    assert_eq!(client.pipe().ended, Some(5));
    let wanted = [&pattern(200_000)[1..70_001], &pattern(200_000)[100_000..180_000]].concat();
    assert_eq!(read(&mut client, file, 9, 150_000), wanted);

    memory.0.lock().unwrap().fill(0);
    assert_eq!(
        moves(&remote_read(file, 9, 150_000, 1, &pieces), &mut client, Command::Read),
        NtStatus::SUCCESS
    );
    let message = client.message();
    assert_eq!(
        message[68..76],
        [&[0; 4][..], &150_000u32.to_le_bytes()].concat(),
        "DataRemaining has the count"
    );
    assert_eq!(message.len(), 80, "nothing inline");
    assert_eq!(client.pipe().ended, None);
    let held = memory.0.lock().unwrap().clone();
    assert_eq!([&held[1..70_001], &held[100_000..180_000]].concat(), wanted);

    // What ksmbd of Linux 6.12 takes, and what it does not.
    for (what, body) in [
        ("a sum that is too short", remote_write(file, 0, 150_000, 1, &[(1000, 5, 149_999)])),
        ("no descriptor", remote_write(file, 0, 150_000, 1, &[])),
        ("another channel", remote_write(file, 0, 150_000, 3, &pieces)),
        ("a key that is not there", remote_write(file, 0, 150_000, 1, &[(1000, 6, 150_000)])),
        ("no bytes", remote_write(file, 0, 0, 1, &pieces)),
    ] {
        assert_eq!(moves(&body, &mut client, Command::Write), NtStatus::INVALID_PARAMETER, "{what}");
    }
    let short = remote_read(file, 9, 150_000, 1, &[(1000, 5, 4096)]);
    assert_eq!(moves(&short, &mut client, Command::Read), NtStatus::INVALID_PARAMETER);
}

#[test]
fn descriptors_where_nothing_reaches_memory_are_refused() {
    let server = server(1 << 20);
    let mut client = attached(&server, Dialect::V3_1_1);
    let file = client.create("tcp", false).unwrap();
    let body = remote_write(file, 0, 100, 1, &[(1000, 5, 100)]);
    assert_eq!(status(&mut client, Command::Write, &body), NtStatus::INVALID_PARAMETER);
}

#[test]
fn compounds_are_served_and_a_failure_is_that_of_all_that_follows() {
    let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
    let signer = names.signer.clone().unwrap();
    let create = |disposition: file::Disposition| {
        file::Create { path: "c", disposition, data: true, write_through: false }.encode()
    };
    let related = |mut message: Vec<u8>| {
        message[16] |= FLAG_RELATED as u8;
        message[36..48].fill(0xFF);
        message
    };
    let whole = |first: u64, disposition| {
        let open = raw(&names, Command::Create, first, 1, &create(disposition), None);
        let mut query = file::encode_room_query(FileId([0xFF; 16]));
        query[3] = 7;
        let query = related(raw(&names, Command::QueryInfo, first + 1, 1, &query, None));
        let close = file::encode_handle(FileId([0xFF; 16]));
        let close = related(raw(&names, Command::Close, first + 2, 1, &close, None));
        compound(&[open, query, close], &signer)
    };
    assert_eq!(pipe.say(&whole(next, file::Disposition::Create)), Turn::Answer(None));
    assert_eq!(statuses(&pipe.heard(), &signer), [NtStatus::SUCCESS; 3]);
    assert_eq!(pipe.say(&whole(next + 3, file::Disposition::Open)), Turn::Answer(None));
    assert_eq!(statuses(&pipe.heard(), &signer), [NtStatus::OBJECT_NAME_NOT_FOUND; 3]);
    // One that refers to what went before, and nothing did.
    let alone =
        related(raw(&names, Command::Close, next + 6, 1, &file::encode_handle(FileId([0xFF; 16])), None));
    assert_eq!(pipe.say(&alone), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::INVALID_PARAMETER);
    for next_command in [4u32, 63, 64, 65, 1 << 20, u32::MAX] {
        let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
        let mut message = raw(&names, Command::Echo, next, 1, &LEAVE, None);
        message[20..24].copy_from_slice(&next_command.to_le_bytes());
        assert!(matches!(pipe.say(&message), Turn::HangUp(_)), "{next_command}");
    }
}

#[test]
fn t25_what_a_client_can_gather_has_an_end() {
    let server = server(1 << 20);
    let mut client = attached(&server, Dialect::V3_1_1);
    let mut opened = 0;
    let refused = loop {
        match client.create(&format!("f{opened}"), false) {
            Ok(_) => opened += 1,
            Err(error) => break error.status(),
        }
    };
    assert_eq!((opened, refused), (512, Some(NtStatus::INSUFFICIENT_RESOURCES)), "handles");
    let mut trees = 1;
    while attach(&mut client, "sink") == NtStatus::SUCCESS {
        trees += 1;
    }
    assert_eq!(trees, 16);
    let mut sessions = vec![];
    for _ in 1..64 {
        sessions.push(logged_on(&server, Dialect::V3_1_1));
    }
    let mut one_more = over(Loop::to(&server));
    let agreed = negotiate(&mut one_more, &[Dialect::V3_1_1], GUID);
    let refused = log_on(&mut one_more, &agreed, Some(&who("lab", "Lab-Pass-1")), Logon::new()).unwrap_err();
    assert_eq!(refused.status(), Some(NtStatus::INSUFFICIENT_RESOURCES));
    drop(sessions);
    assert_eq!(server.sessions(), 1, "each goes with its connection");
    drop(client);
    assert_eq!((server.sessions(), server.taken_bytes()), (0, 0));
}

#[test]
fn t25_no_write_takes_more_memory_than_the_share_has() {
    let server = server(1 << 20);
    let mut client = attached(&server, Dialect::V3_1_1);
    let file = client.create("full", false).unwrap();
    client.write(file, 0, &pattern(MIB)).unwrap();
    for offset in [MIB as u64, u64::from(u32::MAX), 0x0FFF_FFFF_0000 - 65_536] {
        let refused = client.write(file, offset, &[1; 65_536]).unwrap_err();
        assert_eq!(refused.status(), Some(NtStatus::DISK_FULL), "{offset}");
    }
    assert!(client.write(file, u64::MAX, &[1]).is_err());
    assert_eq!(client.length(file).unwrap(), MIB as u64);
    let long = vec![0; MIB + 1];
    let refused = client.write(file, 0, &long).unwrap_err();
    assert_eq!(refused.status(), Some(NtStatus::INVALID_PARAMETER), "longer than NEGOTIATE said");
}

#[test]
fn a_session_has_several_channels_and_outlives_each_but_the_last() {
    let server = server(8 << 20);
    let mut first = attached(&server, Dialect::V3_1_1);
    let signer = first.signer.clone().unwrap();
    let file = first.create("shared", false).unwrap();
    let mut second = bind(&server, &first, Dialect::V3_1_1, GUID, &signer).unwrap();
    second.write(file, 0, b"by the second").unwrap();
    assert_eq!(read(&mut first, file, 0, 13), b"by the second");
    drop(first);
    assert_eq!(read(&mut second, file, 3, 3), b"the");
    drop(second);
    assert_eq!((server.sessions(), server.taken_bytes()), (0, 0));
}

#[test]
fn t26_a_channel_is_bound_by_the_session_s_client_alone() {
    let server = server(8 << 20);
    let mut first = attached(&server, Dialect::V3_1_1);
    let signer = first.signer.clone().unwrap();
    let refused =
        |dialect, guid, signer: &Signer| bind(&server, &first, dialect, guid, signer).err().unwrap().status();
    assert_eq!(
        refused(Dialect::V3_1_1, [8; 16], &signer),
        Some(NtStatus::USER_SESSION_DELETED),
        "another client"
    );
    assert_eq!(refused(Dialect::V3_0_2, GUID, &signer), Some(NtStatus::INVALID_PARAMETER), "another dialect");
    assert_eq!(refused(Dialect::V3_1_1, GUID, &Signer::AesGmac([1; 16])), Some(NtStatus::ACCESS_DENIED));
    assert_eq!(refused(Dialect::V3_1_1, GUID, &Signer::AesCmac([1; 16])), Some(NtStatus::ACCESS_DENIED));
    let file = first.create("unhurt", false).unwrap();
    first.write(file, 0, b"still here").unwrap();
}

#[test]
fn nics_are_told_to_clients_of_several_channels() {
    let server = server(1 << 20);
    let nic = |index, address: &str, rdma| Interface {
        index,
        rss: true,
        rdma,
        speed_bits_per_s: Some(25_000_000_000),
        address: address.parse().unwrap(),
        scope: None,
    };
    let told = vec![nic(2, "10.1.0.1", true), nic(3, "2001:db8::1", false)];
    server.tell_interfaces(told.clone());
    let mut client = attached(&server, Dialect::V3_0);
    assert_eq!(client.interfaces().unwrap().interfaces, told);
}

#[test]
fn what_is_not_served_is_refused_and_nothing_else_happens() {
    let server = server(1 << 20);
    let mut client = attached(&server, Dialect::V3_1_1);
    let file = client.create("f", false).unwrap();
    let mut lock = vec![48, 0, 1, 0];
    lock.resize(48, 0);
    lock[8..24].copy_from_slice(&file.0);
    assert_eq!(status(&mut client, Command::Lock, &lock), NtStatus::NOT_SUPPORTED);
    let mut notify = vec![32, 0, 0, 0, 0, 1, 0, 0];
    notify.extend_from_slice(&file.0);
    notify.extend_from_slice(&[0; 8]);
    assert_eq!(status(&mut client, Command::ChangeNotify, &notify), NtStatus::NOT_SUPPORTED);
    assert_eq!(attach(&mut client, "other"), NtStatus::BAD_NETWORK_NAME);
    assert_eq!(attach(&mut client, "IPC$"), NtStatus::SUCCESS);
    let open = file::Create {
        path: "srvsvc",
        disposition: file::Disposition::Open,
        data: true,
        write_through: false,
    };
    assert_eq!(status(&mut client, Command::Create, &open.encode()), NtStatus::OBJECT_NAME_NOT_FOUND);
}

#[test]
fn an_altered_negotiation_is_found_at_3_0_2() {
    let server = server(1 << 20);
    let ask = |dialects: &[u16], client: &mut Client| {
        let mut input = Capabilities::ALL.0.to_le_bytes().to_vec();
        input.extend_from_slice(&GUID);
        input.extend_from_slice(&1u16.to_le_bytes());
        input.extend_from_slice(&(dialects.len() as u16).to_le_bytes());
        dialects.iter().for_each(|dialect| input.extend_from_slice(&dialect.to_le_bytes()));
        let mut body = interfaces::encode_query();
        body[4..8].copy_from_slice(&0x0014_0204u32.to_le_bytes());
        body[24..28].copy_from_slice(&120u32.to_le_bytes());
        body[28..32].copy_from_slice(&(input.len() as u32).to_le_bytes());
        body.extend(input);
        client.exchange(Command::Ioctl, &body).map(|answer| answer.header.status)
    };
    let mut client = attached(&server, Dialect::V3_0_2);
    assert_eq!(ask(&[0x302], &mut client).unwrap(), NtStatus::SUCCESS);
    assert!(ask(&[0x302, 0x311], &mut client).is_err(), "it had asked for more: somebody took it out");
}

proptest! {
    /// Whatever a request becomes on its way, the server answers or hangs up, and does not panic.
    #[test]
    fn altered_requests_never_panic(
        which in 0usize..8, at in 0usize..200, bits in 1u8..=255, cut in 0usize..200, sign in any::<bool>(),
    ) {
        let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
        let file = FileId([1; 16]);
        let (command, body) = match which {
            0 => (Command::Create, file::Create { path: "p", disposition: file::Disposition::Create, data: true, write_through: false }.encode()),
            1 => (Command::Read, file::encode_read(file, 0, 4096).to_vec()),
            2 => (Command::Write, [&file::encode_write(file, 0, 8, false)[..], &[9; 8]].concat()),
            3 => (Command::QueryInfo, file::encode_room_query(file)),
            4 => (Command::Ioctl, interfaces::encode_query()),
            5 => (Command::TreeConnect, encode_tree_connect("\\\\s\\sink")),
            6 => (Command::Write, remote_write(file, 0, 100, 1, &[(1, 2, 100)])),
            _ => (Command::SessionSetup, pathproof_smb2::session::encode_setup(&pathproof_smb2::ntlm::negotiate(), pathproof_smb2::session::Purpose::Binding)),
        };
        let mut message = raw(&names, command, next, 1, &body, None);
        if let Some(byte) = message.get_mut(at) {
            *byte ^= bits;
        }
        message.truncate(message.len().saturating_sub(cut));
        if sign && message.len() >= HEADER_BYTES {
            names.signer.as_ref().unwrap().sign(&mut message);
        }
        let _ = pipe.say(&message);
    }
}
