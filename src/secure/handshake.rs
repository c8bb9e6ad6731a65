//! The key handshake without its connection: what each end says, and what it makes of the other's words.
//!
//! ```text
//! client → server   preamble (16)
//! server → client   preamble (16) | GO_ON | SPAKE2 B (33)         or preamble | refusal (4)
//! client → server   SPAKE2 A (33) | Noise 1 (48)
//! server → client   GO_ON | Noise 2 (48)                          or refusal (4)
//! ```
//!
//! SPAKE2 turns the key, however short, into a secret that a listener cannot test guesses against; Noise `NNpsk0` with
//! that secret proves it in both directions and gives the session its keys. Whoever takes part has committed to one guess
//! before it learns anything, so each connection is worth one guess. Both preambles and both SPAKE2 messages are in
//! Noise's prologue: nothing of them can be changed on the way.

use pathproof_engine::control::{PREAMBLE_BYTES, Preamble, negotiate};
use snow::{HandshakeState, StatelessTransportState};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::{Access, Refusal, SecureError};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PSK_CONTEXT: &str = "pathproof control channel v2";

/// Begins an answer of the server that goes on.
pub const GO_ON: u8 = 1;
/// Begins a [`Refusal`].
pub const REFUSED: u8 = 2;
/// Length of a SPAKE2 message: whose it is, and a point of the group.
pub const EXCHANGE_BYTES: usize = 33;
/// Length of a Noise message without payload: a public key and a tag.
pub const NOISE_BYTES: usize = 48;
/// Length of the client's second message.
pub const PROOF_BYTES: usize = EXCHANGE_BYTES + NOISE_BYTES;

fn identities() -> (Identity, Identity) {
    (Identity::new(b"pathproof client"), Identity::new(b"pathproof server"))
}

fn noise(secret: &[u8], prologue: &[u8], initiator: bool) -> Result<HandshakeState, SecureError> {
    let failed = |_| SecureError::WrongKey;
    let psk = blake3::derive_key(PSK_CONTEXT, secret);
    let params = PATTERN.parse().map_err(failed)?;
    let builder =
        snow::Builder::new(params).prologue(prologue).and_then(|b| b.psk(0, &psk)).map_err(failed)?;
    if initiator { builder.build_initiator() } else { builder.build_responder() }.map_err(failed)
}

/// The server after its first answer.
pub struct Answering {
    exchange: Spake2<Ed25519Group>,
    /// Both preambles and what this end said.
    said: Vec<u8>,
}

impl Answering {
    /// The answer to a client's preamble, which goes out whatever else follows from it: a client of another version
    /// shall be able to say why it fails.
    pub fn begin(
        access: &Access,
        preamble: &[u8; PREAMBLE_BYTES],
    ) -> (Vec<u8>, Result<Answering, SecureError>) {
        let ours = Preamble::ours(access.is_keyed());
        let mut answer = ours.encode().to_vec();
        let theirs =
            match Preamble::decode(preamble).and_then(|theirs| negotiate(ours, theirs).map(|_| theirs)) {
                Ok(theirs) => theirs,
                Err(error) => return (answer, Err(error.into())),
            };
        if ours.keyed != theirs.keyed {
            let refusal = if ours.keyed { Refusal::KeyNeeded } else { Refusal::NoKeyHere };
            return (answer, Err(SecureError::Refused(refusal)));
        }
        let (client, server) = identities();
        let (exchange, message) =
            Spake2::<Ed25519Group>::start_b(&Password::new(access.password()), &client, &server);
        let said = [&preamble[..], &answer, &message].concat();
        answer.push(GO_ON);
        answer.extend(message);
        (answer, Ok(Answering { exchange, said }))
    }

    /// Checks the client's one guess. The answer proves to it that this end has the key as well.
    pub fn finish(
        self,
        proof: &[u8; PROOF_BYTES],
    ) -> Result<(Vec<u8>, StatelessTransportState), SecureError> {
        let failed = |_| SecureError::WrongKey;
        let (exchange, question) = proof.split_at(EXCHANGE_BYTES);
        let secret = self.exchange.finish(exchange).map_err(|_| SecureError::WrongKey)?;
        let mut handshake = noise(&secret, &[&self.said, exchange].concat(), false)?;
        let mut message = [0; NOISE_BYTES];
        handshake.read_message(question, &mut message).map_err(failed)?;
        let len = handshake.write_message(&[], &mut message).map_err(failed)?;
        let answer = [&[GO_ON], &message[..len]].concat();
        Ok((answer, handshake.into_stateless_transport_mode().map_err(failed)?))
    }
}

/// The client once the server's preamble is there.
pub struct Asking(HandshakeState);

impl Asking {
    /// Whether the server's preamble is one that this end may talk to. It is asked before the client says anything that
    /// depends on its key.
    pub fn check(ours: Preamble, theirs: &[u8; PREAMBLE_BYTES]) -> Result<(), SecureError> {
        let theirs = Preamble::decode(theirs)?;
        negotiate(ours, theirs)?;
        match (ours.keyed, theirs.keyed) {
            (false, true) => Err(SecureError::Refused(Refusal::KeyNeeded)),
            // Never without the key because the other end says so: whoever answers here could be anybody.
            (true, false) => Err(SecureError::Refused(Refusal::NoKeyHere)),
            _ => Ok(()),
        }
    }

    /// This end's one guess, and what to send of it.
    pub fn begin(
        access: &Access,
        preambles: [&[u8; PREAMBLE_BYTES]; 2],
        exchange: &[u8; EXCHANGE_BYTES],
    ) -> Result<(Asking, Vec<u8>), SecureError> {
        let (client, server) = identities();
        let (state, ours) =
            Spake2::<Ed25519Group>::start_a(&Password::new(access.password()), &client, &server);
        let secret = state.finish(exchange).map_err(|_| SecureError::WrongKey)?;
        let prologue = [&preambles[0][..], preambles[1], exchange, &ours].concat();
        let mut handshake = noise(&secret, &prologue, true)?;
        let mut message = [0; NOISE_BYTES];
        let len = handshake.write_message(&[], &mut message).map_err(|_| SecureError::WrongKey)?;
        Ok((Asking(handshake), [&ours, &message[..len]].concat()))
    }

    /// Checks the server's proof.
    pub fn finish(mut self, answer: &[u8; NOISE_BYTES]) -> Result<StatelessTransportState, SecureError> {
        let failed = |_| SecureError::WrongKey;
        self.0.read_message(answer, &mut [0; NOISE_BYTES]).map_err(failed)?;
        self.0.into_stateless_transport_mode().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn keyed(text: &str) -> Access {
        Access::Key(Key::new(text))
    }

    /// A whole handshake, in which `tamper` may change the server's first answer on its way.
    fn meet(client: &Access, server: &Access, tamper: impl FnOnce(&mut Vec<u8>)) -> Result<(), SecureError> {
        let ours = Preamble::ours(client.is_keyed());
        let (mut answer, answering) = Answering::begin(server, &ours.encode());
        tamper(&mut answer);
        let (theirs, rest) = answer.split_first_chunk::<PREAMBLE_BYTES>().unwrap();
        Asking::check(ours, theirs)?;
        let exchange = rest[1..].try_into().unwrap();
        let (asking, proof) = Asking::begin(client, [&ours.encode(), theirs], exchange)?;
        let (answer, _) = answering?.finish(proof[..].try_into().unwrap())?;
        asking.finish(answer[1..].try_into().unwrap()).map(drop)
    }

    #[test]
    fn t2_any_text_is_a_key_and_only_the_same_text_opens() {
        for text in
            ["storage42", "correct horse battery", "schlüssel-für-2", "        ", "\t\u{0}\u{1f511}", "x"]
        {
            meet(&keyed(text), &keyed(text), |_| {}).unwrap();
            let other = meet(&keyed(text), &keyed(&format!("{text} ")), |_| {});
            assert!(matches!(other, Err(SecureError::WrongKey)), "{text:?}");
        }
        meet(&Access::Anybody, &Access::Loopback, |_| {}).unwrap();
    }

    #[test]
    fn t4_neither_end_is_talked_out_of_its_key() {
        let refused = |result| match result {
            Err(SecureError::Refused(refusal)) => refusal,
            other => panic!("{:?}", other.map_err(|e: SecureError| e.to_string())),
        };
        assert_eq!(refused(meet(&keyed("storage42"), &Access::Anybody, |_| {})), Refusal::NoKeyHere);
        assert_eq!(refused(meet(&Access::Anybody, &keyed("storage42"), |_| {})), Refusal::KeyNeeded);
        // A claim that is changed on the way: the client stops before it has said anything.
        let unkeyed = |said: &mut Vec<u8>| said[12] &= !1;
        assert_eq!(refused(meet(&keyed("storage42"), &keyed("storage42"), unkeyed)), Refusal::NoKeyHere);
    }

    #[test]
    fn what_both_ends_said_in_clear_is_bound_into_the_proof() {
        let key = keyed("storage42");
        // Bits of the server's preamble that the client ignores, and its SPAKE2 message.
        for at in [10, 13, 15, 20, 40] {
            let changed = meet(&key, &key, |said| said[at] ^= 0x40);
            assert!(changed.is_err(), "byte {at}");
        }
    }

    /// What one captured handshake holds is independent of the key: for every guess there are secrets with which the same
    /// messages would have been sent, so the only test of a guess is to take part. Here in the terms of the attack on the
    /// first version: the captured proof verifies under none of the guesses, the right one included.
    #[test]
    fn t3_a_capture_verifies_no_guess() {
        let key = keyed("storage42");
        let ours = Preamble::ours(true).encode();
        let (answer, _) = Answering::begin(&key, &ours);
        let exchange: &[u8; EXCHANGE_BYTES] = answer[PREAMBLE_BYTES + 1..].try_into().unwrap();
        let (_, proof) =
            Asking::begin(&key, [&ours, answer[..PREAMBLE_BYTES].try_into().unwrap()], exchange).unwrap();
        let proof: &[u8; PROOF_BYTES] = proof[..].try_into().unwrap();
        for guess in ["storage41", "storage42", "password1", "backup00"] {
            // The listener plays the server again with its guess: it lacks the server's secret number.
            let (_, answering) = Answering::begin(&keyed(guess), &ours);
            assert!(answering.unwrap().finish(proof).is_err(), "{guess} could be tested offline");
            // Or it takes the key straight into Noise, as the first version did.
            let prologue =
                [&ours[..], &answer[..PREAMBLE_BYTES], exchange, &proof[..EXCHANGE_BYTES]].concat();
            let mut direct = noise(guess.as_bytes(), &prologue, false).unwrap();
            assert!(direct.read_message(&proof[EXCHANGE_BYTES..], &mut [0; 64]).is_err(), "{guess}");
        }
    }

    #[test]
    fn rubbish_is_a_wrong_key_and_never_a_panic() {
        for byte in [0, 0x41, 0x42, 0xff] {
            let (_, answering) = Answering::begin(&keyed("storage42"), &Preamble::ours(true).encode());
            assert!(answering.unwrap().finish(&[byte; PROOF_BYTES]).is_err());
            let preamble = Preamble::ours(true).encode();
            let said = Asking::begin(&keyed("storage42"), [&preamble, &preamble], &[byte; EXCHANGE_BYTES]);
            assert!(said.is_err());
        }
    }
}
