//! The datagrams of a path-MTU search: without the seal nothing is read, with it everything is read as it was written, and what
//! answers is no larger than what asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_dgram::wire::{self, Datagram, HEADER_BYTES, ProbeKey};

fuzz_target!(|bytes: &[u8]| {
    let key = ProbeKey::new([7; 32]);
    // Nobody can guess a seal, so what is not sealed is not read.
    assert_eq!(wire::read(bytes, &key), None);
    assert_eq!(wire::read_quoted(bytes, &key), None);
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (seq, ip_bytes) = (word(0), word(4) as u16);
    let mut probe = vec![0; HEADER_BYTES + rest.len()];
    wire::write_probe(&mut probe, &key, seq, ip_bytes);
    assert_eq!(wire::read(&probe, &key), Some(Datagram::Probe { seq, ip_bytes }));
    assert_eq!(wire::read_quoted(&probe, &key), Some(seq));
    let recent: Vec<u32> = rest.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
    let fragment = (word(8) > 0).then_some(word(8));
    let answer = wire::answer(&key, seq, fragment, &recent);
    assert!(answer.len() <= probe.len());
    match wire::read(&answer, &key) {
        Some(Datagram::Answer { seq: of, recent: said, .. }) => {
            assert_eq!(of, seq);
            // This one is said to have come if it came whole; of the others only what is true.
            assert!(said.iter().all(|number| recent.contains(number) || (*number == seq && fragment.is_none())));
        }
        other => panic!("{other:?}"),
    }
    // A bit changed anywhere breaks the seal.
    let mut spoiled = answer;
    spoiled[usize::from(head[12]) % HEADER_BYTES] ^= 1 << (head[13] % 8);
    assert_eq!(wire::read(&spoiled, &key), None);
});
