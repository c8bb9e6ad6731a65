//! After the logon the client allocates nothing for a READ or WRITE: in the open, signed (AES-CMAC, AES-GMAC) and encrypted (AES-128-CCM, AES-128-GCM).
//! The server at the other end of the pipe allocates as it likes, and is left out.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod passive;

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::wire::Exposed;
use pathproof_api::{
    Access, Arrival, LaneStats, MessagePipe, PipeLimits, Queued, Region, RegionId, TransportError, Wait,
};
use pathproof_smb2::connection::{Connection, Protection, Request, Went};
use pathproof_smb2::file::{self, FileId};
use pathproof_smb2::logon::{Logon, log_on};
use pathproof_smb2::negotiate::NegotiateRequest;
use pathproof_smb2::server::Server;
use pathproof_smb2::session::encode_tree_connect;
use pathproof_smb2::wire::Command;
use pathproof_smb2::{Dialect, NtStatus};
use pathproof_sys::clock::RealClock;

use passive::{GUID, Loop, MIB, SIZES, pattern, server, who};

/// What is run is not counted.
fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let mut out = None;
    allocation_counter::opt_out(|| out = Some(run()));
    out.expect("it has run")
}

/// A pipe that is not counted, nor what answers at its other end.
struct Quiet(Loop);

impl MessagePipe for Quiet {
    fn limits(&self) -> &PipeLimits {
        self.0.limits()
    }

    fn send(&mut self, parts: &[&[u8]], invalidate: Option<u32>) -> Result<Queued, TransportError> {
        uncounted(|| self.0.send(parts, invalidate))
    }

    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError> {
        uncounted(|| self.0.poll(message, wait))
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.0.expose(region, access)
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        self.0.withdraw(id)
    }

    fn close(self: Box<Self>) -> LaneStats {
        LaneStats::default()
    }
}

/// A client that has logged on and is attached to the share.
fn attached(server: &Arc<Server>, dialect: Dialect) -> Connection<Quiet> {
    let address = "192.0.2.1:445".parse().unwrap();
    let pipe = Quiet(Loop::to(server));
    let mut client = Connection::over(pipe, address, Duration::from_secs(1), SIZES, &RealClock::new());
    let request = NegotiateRequest {
        dialects: &[dialect],
        client_guid: GUID,
        salt: [1; 32],
        server_name: "sink",
        for_session: true,
    };
    let (agreed, _) = client.negotiate(&request).unwrap();
    log_on(&mut client, &agreed, Some(&who("lab", "Lab-Pass-1")), Logon::new()).unwrap();
    client.protection = Protection::Signed;
    let answer = client.exchange(Command::TreeConnect, &encode_tree_connect("\\\\sink\\sink")).unwrap();
    assert_eq!(answer.header.status, NtStatus::SUCCESS);
    client.tree_id = answer.header.tree_id;
    client
}

/// A WRITE and a READ of the same place, answered.
fn there_and_back(client: &mut Connection<Quiet>, file: FileId, offset: u64, data: &[u8]) {
    let length = data.len() as u32;
    let body = file::encode_write(file, offset, length, false);
    let write = Request { data, moves_bytes: data.len() as u64, ..Request::small(Command::Write, &body) };
    assert_eq!(client.submit(&write).unwrap(), Went::Out);
    let answer = client.answer(Wait::No).unwrap().unwrap();
    client.expect_success(&answer).unwrap();
    assert_eq!(file::decode_write(client.message()).unwrap(), length);

    let body = file::encode_read(file, offset, length);
    let read = Request { moves_bytes: data.len() as u64, ..Request::small(Command::Read, &body) };
    assert_eq!(client.submit(&read).unwrap(), Went::Out);
    let answer = client.answer(Wait::No).unwrap().unwrap();
    client.expect_success(&answer).unwrap();
    assert!(file::decode_read(client.message(), length).unwrap() == data);
}

#[test]
fn the_counter_counts_and_what_is_left_out_is_not_counted() {
    let make = || drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(allocation_counter::measure(make).count_total, 1, "without this the rest would prove nothing");
    assert_eq!(allocation_counter::measure(|| uncounted(make)).count_total, 0);
}

#[test]
fn nothing_is_allocated_for_a_read_or_write_however_it_is_protected() {
    let data = pattern(MIB);
    for dialect in [Dialect::V3_0, Dialect::V3_0_2, Dialect::V3_1_1] {
        for protection in [Protection::Open, Protection::Signed, Protection::Sealed] {
            let server = server(8 << 20);
            let mut client = attached(&server, dialect);
            client.protection = protection;
            let file = client.create("quiet", false).unwrap();
            let counted = allocation_counter::measure(|| {
                for (at, bytes) in [1, 4096, 65_537, MIB].into_iter().enumerate() {
                    there_and_back(&mut client, file, at as u64, &data[..bytes]);
                }
            });
            assert_eq!(counted.count_total, 0, "{dialect} {protection:?}: {counted:?}");
            client.close_file(file).unwrap();
        }
    }
}
