//! What others put on the wire (`transports/smb2/tests/fixtures/README.md`): negotiations of a prototype and of cifs.ko, and a whole packet capture of a
//! life over Soft-RoCE, in which what a buffer descriptor names is what ksmbd's adapter then asked for.

#[path = "../../smb2/tests/captured/mod.rs"]
mod captured;

use captured::{Block, blocks};
use pathproof_smbd::Settings;
use pathproof_smbd::codec::{
    BufferDescriptor, DataHeader, NegotiateRequest, NegotiateResponse, PAYLOAD_OFFSET,
};

const TO_KSMBD: [&str; 4] = [
    include_str!("../../smb2/tests/fixtures/walk-rxe.txt"),
    include_str!("../../smb2/tests/fixtures/walk-siw.txt"),
    include_str!("../../smb2/tests/fixtures/smb2-binding-ksmbd-rxe.txt"),
    include_str!("../../smb2/tests/fixtures/smb2-binding-ksmbd-siw.txt"),
];
const TO_A_SINK: [(&str, usize); 2] = [
    (include_str!("../../smb2/tests/fixtures/cifs-foreign-initiator-rxe.txt"), 6),
    (include_str!("../../smb2/tests/fixtures/cifs-foreign-initiator-siw.txt"), 4),
];
const DIALOGUE: &str = include_str!("ksmbd-rxe.txt");
const PCAP: &[u8] = include_bytes!("ksmbd-rxe.pcap");

/// The blocks of that name.
fn named(text: &str, name: &str) -> Vec<Block> {
    blocks(text).into_iter().filter(|block| block.name == name).collect()
}

#[test]
fn a_negotiation_with_ksmbd_is_the_one_that_comes_out_here() {
    let settings = Settings::default();
    for text in TO_KSMBD {
        let requests = named(text, "SMBD negotiate request");
        let [request] = &requests[..] else { panic!("one connection each") };
        assert_eq!(settings.request().encode().to_vec(), request.bytes);
        assert_eq!(NegotiateRequest::decode(&request.bytes), Ok(settings.request()));
        let responses = named(text, "SMBD negotiate response");
        let [response] = &responses[..] else { panic!("one answer each") };
        let read = NegotiateResponse::decode(&response.bytes, settings.receive_bytes).unwrap();
        assert_eq!(read.encode().to_vec(), response.bytes);
        let agreed = settings.agreed(&response.bytes).unwrap();
        assert_eq!((agreed.send_credits, agreed.peer_wants), (254, 255));
        assert_eq!((agreed.send_bytes, agreed.fragmented_send_bytes), (1364, 173_910));
        assert_eq!(agreed.read_write_bytes, 8 << 20);
    }
}

/// The prototype's initiator and, last, cifs.ko: the prototype's acceptor answered both as this end does with its settings.
#[test]
fn a_negotiation_with_a_foreign_initiator_is_answered_as_it_was() {
    let settings = Settings { read_write_bytes: 1 << 20, ..Settings::default() };
    for (text, connections) in TO_A_SINK {
        let requests = named(text, "SRV negotiate request");
        let responses = named(text, "SRV negotiate response");
        assert_eq!((requests.len(), responses.len()), (connections, connections));
        for (at, (request, response)) in requests.iter().zip(&responses).enumerate() {
            let asked = NegotiateRequest::decode(&request.bytes).unwrap();
            assert_eq!(asked.encode().to_vec(), request.bytes);
            let is_cifs = at + 1 == connections;
            let sizes = (asked.max_receive_bytes, asked.max_fragmented_bytes);
            assert_eq!(sizes, if is_cifs { (1364, 173_910) } else { (8192, 1 << 20) });
            let (answer, agreed) = settings.answer(&asked);
            assert_eq!(answer.encode().to_vec(), response.bytes);
            assert_eq!(NegotiateResponse::decode(&response.bytes, asked.max_receive_bytes), Ok(answer));
            assert_eq!((agreed.send_bytes, agreed.fragmented_send_bytes), (1364, sizes.1));
        }
    }
}

/// A packet of RoCEv2.
struct Packet {
    from_client: bool,
    opcode: u8,
    /// What follows the base transport header, without what fills it up.
    body: &'static [u8],
}

/// Opcodes of reliable connections (IBTA 9.2).
const SEND_ONLY: u8 = 0x04;
const WRITE_FIRST: u8 = 0x06;
const WRITE_MIDDLE: u8 = 0x07;
const WRITE_LAST: u8 = 0x08;
const READ_REQUEST: u8 = 0x0C;
const READ_RESPONSE_FIRST: u8 = 0x0D;
const READ_RESPONSE_MIDDLE: u8 = 0x0E;
const READ_RESPONSE_LAST: u8 = 0x0F;
/// Length of the header that says how far an answer is.
const AETH_BYTES: usize = 4;
/// Length of the header that names memory.
const RETH_BYTES: usize = 16;

fn packets() -> Vec<Packet> {
    assert_eq!(PCAP[..4], [0xD4, 0xC3, 0xB2, 0xA1], "little-endian");
    assert_eq!(PCAP[20..24], [1, 0, 0, 0], "Ethernet");
    let (mut rest, mut packets) = (&PCAP[24..], vec![]);
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (frame, after) = rest[16..].split_at(length);
        rest = after;
        // Ethernet, IPv4 without options, UDP to the port of RoCEv2.
        assert_eq!(frame[12..15], [0x08, 0x00, 0x45]);
        assert_eq!((frame[23], u16::from_be_bytes([frame[36], frame[37]])), (17, 4791));
        let (head, body) = frame[42..].split_at(12);
        let fill = usize::from((head[1] >> 4) & 3);
        // The last four bytes are the invariant checksum.
        let body = &body[..body.len() - 4 - fill];
        packets.push(Packet { from_client: frame[26..30] == [10, 77, 0, 1], opcode: head[0], body });
    }
    packets
}

fn of(opcodes: &[u8]) -> Vec<Packet> {
    packets().into_iter().filter(|packet| opcodes.contains(&packet.opcode)).collect()
}

#[test]
fn the_dialogue_that_is_played_back_is_what_was_on_the_wire() {
    let mut lines = DIALOGUE.lines().filter(|line| !line.starts_with('#'));
    let sends = of(&[SEND_ONLY]);
    assert_eq!(sends.len(), 28);
    for (at, packet) in sends.iter().enumerate() {
        let hex: String = packet.body.iter().map(|byte| format!("{byte:02x}")).collect();
        let who = if packet.from_client { 'C' } else { 'S' };
        assert_eq!(lines.next(), Some(format!("{who} {hex}").as_str()), "message {at}");
        // Behind the two of the negotiation each is whole, in one fragment.
        if at >= 2 {
            let header = DataHeader::decode(packet.body, packet.body.len(), 1 << 20).unwrap();
            let (bytes, length) = header.encode();
            assert_eq!(
                (length, &bytes[..]),
                (PAYLOAD_OFFSET, &packet.body[..PAYLOAD_OFFSET]),
                "message {at}"
            );
            assert_eq!(header.payload_bytes as usize, packet.body.len() - PAYLOAD_OFFSET);
            assert_eq!(header.remaining_bytes, 0);
        }
    }
    assert_eq!(lines.next(), None);
}

/// The descriptor in the only request of this kind.
fn descriptor(command: u8) -> BufferDescriptor {
    // Behind the header of SMB Direct, the one of SMB2 and the body of a READ or WRITE.
    const COMMAND_AT: usize = PAYLOAD_OFFSET + 12;
    const DESCRIPTOR_AT: usize = PAYLOAD_OFFSET + 64 + 48;
    let sends = of(&[SEND_ONLY]);
    let is_asked = |packet: &&Packet| packet.from_client && packet.body[COMMAND_AT] == command;
    let mut asked = sends[2..].iter().filter(is_asked);
    let bytes = &asked.next().unwrap().body[DESCRIPTOR_AT..];
    assert!(asked.next().is_none());
    let descriptor = BufferDescriptor::decode(bytes).unwrap();
    assert_eq!(descriptor.encode()[..], *bytes);
    descriptor
}

/// The memory that the first header of an RDMA operation names: big-endian, where a descriptor is little-endian.
fn memory(body: &[u8]) -> BufferDescriptor {
    BufferDescriptor {
        address: u64::from_be_bytes(body[..8].try_into().unwrap()),
        token: u32::from_be_bytes(body[8..12].try_into().unwrap()),
        bytes: u32::from_be_bytes(body[12..16].try_into().unwrap()),
    }
}

#[test]
fn what_descriptors_name_is_what_the_server_s_adapter_reached_for() {
    const READ: u8 = 8;
    const WRITE: u8 = 9;
    // A WRITE is fetched by RDMA READ, a READ placed by RDMA WRITE; both are the server's.
    let fetched = of(&[READ_REQUEST]);
    assert!(fetched.len() == 1 && !fetched[0].from_client);
    assert_eq!(memory(fetched[0].body), descriptor(WRITE));
    assert_eq!(descriptor(WRITE).bytes, 65_536);
    let placed = of(&[WRITE_FIRST]);
    assert!(placed.len() == 1 && !placed[0].from_client);
    assert_eq!(memory(placed[0].body), descriptor(READ));

    let gathered = |opcodes: &[u8]| {
        let mut data = vec![];
        for packet in of(opcodes) {
            let head = match packet.opcode {
                READ_RESPONSE_FIRST | READ_RESPONSE_LAST => AETH_BYTES,
                WRITE_FIRST => RETH_BYTES,
                _ => 0,
            };
            data.extend_from_slice(&packet.body[head..]);
        }
        data
    };
    let written = gathered(&[READ_RESPONSE_FIRST, READ_RESPONSE_MIDDLE, READ_RESPONSE_LAST]);
    let read = gathered(&[WRITE_FIRST, WRITE_MIDDLE, WRITE_LAST]);
    assert_eq!(written.len(), 65_536);
    assert!(written == read, "the file's data, once each way, and none of it in a message");
}
