//! Arbitrary bytes and arbitrary messages never panic a decoder or a machine.

use proptest::prelude::*;

use super::*;
use pathproof_api::Tick;

fn any_message() -> impl Strategy<Value = Message> {
    let turn = (any::<Option<u32>>(), any::<bool>()).prop_map(|(ended, go)| {
        let request = pathproof_model::StepRequest::Facts;
        let go = go.then(|| Go { step: 1, request, paths: vec![1], offers: vec!["!".into()] });
        Message::Turn(Turn { ended, go })
    });
    let turned = (any::<bool>(), any::<u32>()).prop_map(|(half, step)| {
        let ready = Ready { step, offers: vec![], error: None, findings: vec![] };
        Message::Turned(Turned { half: half.then_some(step % 3), ready: (step % 2 == 0).then_some(ready) })
    });
    prop_oneof![
        turn,
        turned,
        any::<u32>().prop_map(|step| Message::Step { step, body: StepMessage::Ping(step) }),
        ".*".prop_map(|reason| Message::Bye { reason, kind: None, cause: None }),
        any::<u32>().prop_map(|seen| Message::Resume(Resume { token: "0".into(), seen })),
        any::<u32>().prop_map(|seen| Message::Resumed { seen }),
        Just(Message::Reject(Reject { reasons: vec![] })),
        (0..3u32, 0..3u32, 0..4u8).prop_map(|(step, number, what)| {
            let part = match what {
                0 => PieceContent::Lanes(vec![Default::default(); 3]),
                1 => PieceContent::Slices(Box::new(Columns { start_ns: vec![1], ..Columns::default() })),
                2 => PieceContent::Histograms(vec![]),
                _ => PieceContent::Rest(Default::default()),
            };
            Message::HalfPiece(HalfPiece { step, number, part })
        }),
        (0..3u32, any::<u32>()).prop_map(|(step, taken)| Message::HalfTaken { step, taken }),
    ]
}

proptest! {
    #[test]
    fn bytes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
        let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
        for chunk in chunks {
            decoder.push(&chunk);
            for _ in 0..64 {
                if !matches!(decoder.next_message(), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    #[test]
    fn preambles(bytes in any::<[u8; PREAMBLE_BYTES]>()) {
        if let Ok(theirs) = Preamble::decode(&bytes) {
            let _ = negotiate(Preamble::ours(false), theirs);
        }
    }

    /// Whatever a peer says in whatever order, the machines stay on their feet, and once over they stay over.
    #[test]
    fn conversations(messages in prop::collection::vec(any_message(), 0..12), greet in any::<bool>()) {
        let mut client = Client::new(Patience::default());
        let mut server = Server::new(Tick(0), Patience::default());
        if greet {
            client.hello(Tick(0), Hello { tool: Default::default(), plan: Default::default(), environment: Default::default() });
        }
        let (mut client_over, mut server_over) = (0, 0);
        for (i, message) in messages.into_iter().enumerate() {
            let now = Tick(i as u64);
            client.handle(now, Input::Message(Box::new(message.clone())));
            server.handle(now, Input::Message(Box::new(message)));
            while let Some(output) = client.poll() {
                client_over += u32::from(matches!(output, Output::Event(ClientEvent::Over(_))));
            }
            while let Some(output) = server.poll() {
                server_over += u32::from(matches!(output, Output::Event(ServerEvent::Over(_))));
            }
        }
        prop_assert!(client_over <= 1 && server_over <= 1);
    }
}
