//! The control protocol: whatever bytes a peer sends, in whatever pieces, both machines stay on their feet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_api::Tick;
use pathproof_engine::control::{
    Client, FrameDecoder, HELLO_BYTES_MAX, Input, PREAMBLE_BYTES, Patience, Preamble, Server, negotiate,
};

fuzz_target!(|bytes: &[u8]| {
    if let Some((preamble, _)) = bytes.split_first_chunk::<PREAMBLE_BYTES>() {
        if let Ok(theirs) = Preamble::decode(preamble) {
            let _ = negotiate(Preamble::ours(false), theirs);
        }
    }
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    let (mut client, mut server) = (Client::new(Patience::default()), Server::new(Tick(0), Patience::default()));
    let mut now = 0;
    for piece in rest.chunks(usize::from(*first).max(1)) {
        decoder.push(piece);
        while let Ok(Some((_, message))) = decoder.next_message() {
            now += 1;
            client.handle(Tick(now), Input::Message(Box::new(message.clone())));
            server.handle(Tick(now), Input::Message(Box::new(message)));
            while client.poll().is_some() {}
            while server.poll().is_some() {}
        }
    }
});
