//! Memory that is lent for one request each, under keys that the peer ends with its answer, in virtual time: few credits, windows and registrations,
//! devices that tell little, and servers that end nothing, another key, or one twice.

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, EndedBy, Exposed, Loan, LoanForm, MessagePipe, Pages, Piece, Queued, Region, Role,
    TransportError, Wait, WireOp, WireVerb,
};
use pathproof_sim::SimWires;
use pathproof_smbd::{Settings, SmbdPipe};

use support::{DELAY_NS, Raw, connection, hex, message, pipes};

/// Requests under way.
const DEPTH: usize = 3;
const BYTES: usize = 4096;
const A_MOMENT: Wait = Wait::AtMost(Duration::from_micros(20));

fn with_credits(credits: u16) -> Settings {
    Settings { receive_credits: credits, ..Settings::default() }
}

fn region() -> Arc<Region> {
    Arc::new(Region::new(BYTES as u64, Pages::Default).unwrap())
}

/// A client that keeps some requests under way, each with memory of its own.
struct Client {
    pipe: SmbdPipe,
    places: Vec<Arc<Region>>,
    lent: Vec<Option<Loan>>,
    unsent: VecDeque<usize>,
    /// Requests that it still makes.
    left: usize,
    /// Who has ended the keys of all answers so far.
    ended: Vec<EndedBy>,
    keys: BTreeSet<u32>,
}

impl Client {
    fn turn(&mut self) -> Result<(), TransportError> {
        for at in 0..DEPTH {
            if self.lent[at].is_some() || self.left == 0 {
                continue;
            }
            let loan = self.pipe.lend(&self.places[at], Access::RemoteRead)?;
            let is_live = self.lent.iter().flatten().any(|other| other.key == loan.key);
            assert!(!is_live, "the key {:#x} is lent twice at once", loan.key);
            self.keys.insert(loan.key);
            self.lent[at] = Some(loan);
            self.unsent.push_back(at);
            self.left -= 1;
        }
        while let Some(&at) = self.unsent.front() {
            let loan = self.lent[at].expect("it is lent");
            let (address, key) = (loan.address.to_le_bytes(), loan.key.to_le_bytes());
            if self.pipe.send(&[&[at as u8], &address, &key], None)? == Queued::Full {
                break;
            }
            self.unsent.pop_front();
        }
        let mut answer = vec![];
        if let Some(arrival) = self.pipe.poll(&mut answer, A_MOMENT)? {
            let loan = self.lent[usize::from(answer[0])].take().expect("it was asked");
            self.ended.push(self.pipe.take_back(loan.id, &arrival)?);
        }
        Ok(())
    }
}

/// What a client asks for.
#[derive(Clone, Copy)]
struct Request {
    place: u8,
    address: u64,
    key: u32,
}

/// A server that fetches what a request names before it answers.
struct Server {
    pipe: SmbdPipe,
    target: Exposed,
    region: Arc<Region>,
    requests: VecDeque<Request>,
    answers: VecDeque<(u8, Option<u32>)>,
}

impl Server {
    /// `ends` says which key an answer ends: of its own, and of those that wait.
    fn turn(&mut self, ends: &mut dyn FnMut(u32, &[u32]) -> Option<u32>) -> Result<(), TransportError> {
        let (mut bytes, mut wait) = (vec![], A_MOMENT);
        while self.pipe.poll(&mut bytes, std::mem::replace(&mut wait, Wait::No))?.is_some() {
            self.requests.push_back(Request {
                place: bytes[0],
                address: u64::from_le_bytes(bytes[1..9].try_into().unwrap()),
                key: u32::from_le_bytes(bytes[9..13].try_into().unwrap()),
            });
        }
        if let Some(request) = self.requests.pop_front() {
            self.fetch(&request)?;
            let mut found = vec![0; BYTES];
            self.region.copy_out(0, &mut found).unwrap();
            assert!(found == message(BYTES, request.place.into()), "what lies in place {}", request.place);
            let waiting: Vec<u32> = self.requests.iter().map(|request| request.key).collect();
            self.answers.push_back((request.place, ends(request.key, &waiting)));
        }
        // Of several fragments: the key rides on one of them.
        let rest = message(3000, 9);
        while let Some(&(place, key)) = self.answers.front() {
            if self.pipe.send(&[&[place], &rest], key)? == Queued::Full {
                break;
            }
            self.answers.pop_front();
        }
        Ok(())
    }

    fn fetch(&mut self, request: &Request) -> Result<(), TransportError> {
        let head = Piece { region: self.target.id, offset: 0, len: BYTES as u32 };
        let verb = WireVerb::Read { address: request.address, key: request.key };
        self.pipe.begin([WireOp { tag: 0, verb, head, body: Piece::default() }], 1)?;
        self.pipe.settle()
    }
}

/// Both ends of a wire, and how many requests the client makes.
fn ends(wires: &SimWires, (dial, accept): (u16, u16), requests: usize) -> (Client, Server) {
    let (a, mut b) = pipes(wires, with_credits(dial), with_credits(accept));
    let target = region();
    let exposed = b.expose(&target, Access::Local).unwrap();
    let places: Vec<_> = (0..DEPTH).map(|_| region()).collect();
    for (at, place) in places.iter().enumerate() {
        place.copy_in(0, &message(BYTES, at)).unwrap();
    }
    let client = Client {
        pipe: a,
        places,
        lent: vec![None; DEPTH],
        unsent: VecDeque::new(),
        left: requests,
        ended: vec![],
        keys: BTreeSet::new(),
    };
    let (requests, answers) = (VecDeque::new(), VecDeque::new());
    (client, Server { pipe: b, target: exposed, region: target, requests, answers })
}

/// Lets both work until so many answers have come.
fn converse(
    client: &mut Client,
    server: &mut Server,
    answers: usize,
    mut ends: impl FnMut(u32, &[u32]) -> Option<u32>,
) -> Result<(), TransportError> {
    for _ in 0..2_000_000 {
        if client.ended.len() >= answers {
            return Ok(());
        }
        client.turn()?;
        server.turn(&mut ends)?;
    }
    panic!("stuck: {} of {answers} answers came", client.ended.len());
}

fn own(key: u32, _: &[u32]) -> Option<u32> {
    Some(key)
}

#[test]
fn keys_are_ended_by_the_peer_with_one_to_four_credits_at_either_end() {
    for dial in [1, 2, 3, 4, 10, 255] {
        for accept in [1, 2, 3, 4, 10, 255] {
            let wires = SimWires::new(DELAY_NS);
            // Once more than windows have keys, so that these come round.
            let requests = if (dial, accept) == (4, 4) { DEPTH * 300 } else { DEPTH * 20 };
            let (mut client, mut server) = ends(&wires, (dial, accept), requests);
            converse(&mut client, &mut server, requests, own)
                .unwrap_or_else(|error| panic!("{dial} and {accept} credits: {error}"));
            assert!(client.ended.iter().all(|by| *by == EndedBy::Peer), "{dial} and {accept} credits");
            assert_eq!(client.keys.len(), requests.min(DEPTH * 256), "each window has a new key each time");
        }
    }
}

/// A key that is ended is dead for a server that tries it again, whoever has ended it.
#[test]
fn a_key_is_dead_once_its_request_has_its_answer() {
    for (windows, tells, server_ends, by) in [
        (true, true, true, EndedBy::Peer),
        (true, true, false, EndedBy::Here),
        // What the device does not tell is ended here once more, and is no proof of anything.
        (true, false, true, EndedBy::Here),
        (false, false, true, EndedBy::Here),
        (false, false, false, EndedBy::Here),
        (false, true, true, EndedBy::Peer),
    ] {
        let what = format!("windows {windows}, reported {tells}, ended by the server {server_ends}");
        let wires = SimWires::new(DELAY_NS);
        if !windows {
            wires.without_windows();
        }
        if !tells {
            wires.report_no_invalidation();
        }
        let (mut client, mut server) = ends(&wires, (4, 4), 600);
        let mut seen = None;
        converse(&mut client, &mut server, 600, |key, _| {
            seen = Some(key);
            server_ends.then_some(key)
        })
        .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(client.ended.iter().all(|ended| *ended == by), "{what}: {:?}", &client.ended[..8]);
        let form = client.pipe.lend(&client.places[0], Access::RemoteRead).unwrap().form;
        assert_eq!(form == LoanForm::Window, windows, "{what}");
        let key = seen.expect("a key was used");
        let address = client.places[0].base_address() as u64;
        let error = server.fetch(&Request { place: 0, address, key }).unwrap_err();
        assert!(matches!(error, TransportError::PeerGone { .. }), "{what}: {error}");
    }
}

#[test]
fn a_key_that_is_named_without_the_flag_is_that_of_its_request() {
    let wires = SimWires::new(DELAY_NS);
    wires.report_without_flag();
    let (mut client, mut server) = ends(&wires, (10, 10), 300);
    converse(&mut client, &mut server, 300, own).unwrap();
    assert!(client.ended.iter().all(|by| *by == EndedBy::Peer));
}

#[test]
fn a_server_that_ends_the_key_of_another_request_is_named() {
    let wires = SimWires::new(DELAY_NS);
    let (mut client, mut server) = ends(&wires, (255, 255), 100);
    let other = |key: u32, waiting: &[u32]| waiting.first().copied().or(Some(key));
    let error = converse(&mut client, &mut server, 100, other).unwrap_err();
    assert!(
        matches!(&error, TransportError::Protocol { detail, .. } if detail.contains("of another request")),
        "{error}"
    );
}

/// Soft-RoCE lets a key end a second time as long as nobody has used its window again; other adapters end the connection.
#[test]
fn a_server_that_ends_a_key_twice_is_named_or_loses_the_connection() {
    for lenient in [true, false] {
        let wires = SimWires::new(DELAY_NS);
        if lenient {
            wires.end_keys_again();
        }
        let (mut client, mut server) = ends(&wires, (255, 255), DEPTH);
        let mut first = None;
        let twice = |key: u32, _: &[u32]| Some(*first.get_or_insert(key));
        let error = converse(&mut client, &mut server, DEPTH, twice).unwrap_err();
        match &error {
            TransportError::Protocol { detail, .. } if lenient => {
                assert!(detail.contains("a second time"), "{error}")
            }
            TransportError::PeerGone { .. } if !lenient => {}
            other => panic!("lenient {lenient}: {other}"),
        }
    }
}

#[test]
fn a_message_that_ends_more_than_one_key_is_named() {
    let wires = SimWires::new(DELAY_NS);
    wires.end_keys_again();
    let mut raw = Raw::new(&wires, Role::Accept);
    let a = connection(&wires, Role::Dial, Settings::default());
    raw.received().unwrap();
    raw.send(&hex("00010001 00010000 ff00fe00 00000000 00008000 54050000 54050000 56a70200"));
    let mut pipe = SmbdPipe::new(a).unwrap();
    let loan = pipe.lend(&region(), Access::RemoteRead).unwrap();
    assert_eq!(pipe.send(&[b"request"], None).unwrap(), Queued::Yes);
    let mut answer = vec![];
    assert_eq!(pipe.poll(&mut answer, A_MOMENT).unwrap(), None);
    // Two fragments of eight bytes each.
    raw.send_ending(
        &hex("ff00 0000 0000 0000 08000000 18000000 08000000 00000000 0102030405060708"),
        loan.key,
    );
    raw.send_ending(
        &hex("ff00 0000 0000 0000 00000000 18000000 08000000 00000000 0102030405060708"),
        loan.key,
    );
    let arrival = (0..10).find_map(|_| pipe.poll(&mut answer, A_MOMENT).unwrap()).expect("an answer");
    assert_eq!((arrival.fragments, arrival.endings), (2, 2));
    let error = pipe.take_back(loan.id, &arrival).unwrap_err();
    assert!(error.to_string().contains("ended 2 memory keys"), "{error}");
    assert!(pipe.take_back(loan.id, &arrival).is_err(), "it is lent no more");
}

/// What is said to have ended and has not would be reachable for ever: the device itself finds out.
#[test]
fn a_window_that_is_still_open_is_not_opened_again() {
    let wires = SimWires::new(DELAY_NS);
    let mut a = connection(&wires, Role::Dial, Settings::default());
    let _b = connection(&wires, Role::Accept, Settings::default());
    let region = region();
    let mut error = None;
    for _ in 0..3 {
        let loan = a.lend(&region, Access::RemoteRead).unwrap();
        let turned = (0..3).try_for_each(|_| a.turn(A_MOMENT));
        error = error.or(turned.err());
        let _ = a.take_back(loan.id, true);
    }
    let error = error.expect("the second binding is refused").to_string();
    assert!(error.contains("while it is open"), "{error}");
}
