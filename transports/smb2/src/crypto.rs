//! Signing keys and signatures of SMB2 (MS-SMB2 3.1.4.1, 3.1.4.2, 3.2.5.3), and the encryption of sessions that
//! a server will have no other way (3.1.4.3).
//!
//! Refuses to encrypt before 3.1.1 and by other ciphers than AES-128-GCM: this tool asks two questions and
//! leaves. All primitives come from the RustCrypto crates; here is only the order in which SMB2 applies them.

use aes::Aes128;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use cmac::Cmac;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

use crate::negotiate::Dialect;
use crate::wire::{FLAG_SIGNED, HEADER_BYTES};

/// The running hash over everything said before the logon was accepted (3.1.1).
#[derive(Clone)]
pub struct PreauthHash([u8; 64]);

impl Default for PreauthHash {
    /// Before the first message.
    fn default() -> Self {
        Self([0; 64])
    }
}

impl PreauthHash {
    /// Take one more message in.
    pub fn update(&mut self, message: &[u8]) {
        self.0 = Sha512::new().chain_update(self.0).chain_update(message).finalize().into();
    }
}

/// Signs and checks the messages of one session.
#[derive(Clone)]
pub enum Signer {
    /// 2.0.2 and 2.1.
    HmacSha256([u8; 16]),
    /// 3.0 and later.
    AesCmac([u8; 16]),
}

impl Signer {
    /// The signer a session key leads to.
    pub fn new(dialect: Dialect, session_key: [u8; 16], preauth: &PreauthHash) -> Self {
        match dialect {
            Dialect::V3_1_1 => Self::AesCmac(derive(&session_key, b"SMBSigningKey\0", &preauth.0)),
            dialect if dialect.is_3() => Self::AesCmac(derive(&session_key, b"SMB2AESCMAC\0", b"SmbSign\0")),
            _ => Self::HmacSha256(session_key),
        }
    }

    /// Mark a message as signed and put its signature in.
    pub fn sign(&self, message: &mut [u8]) {
        assert!(message.len() >= HEADER_BYTES, "only whole messages are signed");
        message[16] |= FLAG_SIGNED as u8;
        message[48..64].fill(0);
        let signature = self.signature(message);
        message[48..64].copy_from_slice(&signature);
    }

    /// Whether a whole message carries the right signature.
    pub fn verify(&self, message: &[u8]) -> bool {
        if message.len() < HEADER_BYTES {
            return false;
        }
        let mut unsigned = message.to_vec();
        unsigned[48..64].fill(0);
        self.signature(&unsigned) == message[48..64]
    }

    fn signature(&self, message: &[u8]) -> [u8; 16] {
        let mut out = [0; 16];
        match self {
            Self::HmacSha256(key) => {
                let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
                out.copy_from_slice(&mac.chain_update(message).finalize().into_bytes()[..16]);
            }
            Self::AesCmac(key) => {
                let mac = Cmac::<Aes128>::new_from_slice(key).expect("the key has 16 bytes");
                out.copy_from_slice(&mac.chain_update(message).finalize().into_bytes());
            }
        }
        out
    }
}

/// First bytes of an encrypted message.
pub const TRANSFORM_ID: [u8; 4] = [0xFD, b'S', b'M', b'B'];
/// Length of the transform header (MS-SMB2 2.2.41).
const TRANSFORM_BYTES: usize = 52;
/// Where its authenticated part begins: behind protocol id and signature.
const AUTHENTICATED: usize = 20;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Encrypts the requests of one session and decrypts its answers.
#[derive(Clone)]
pub struct Sealer {
    outward: Aes128Gcm,
    inward: Aes128Gcm,
}

impl Sealer {
    /// The ciphers that the session key of a 3.1.1 session leads to.
    pub fn new(session_key: [u8; 16], preauth: &PreauthHash) -> Self {
        let key = |label: &[u8]| derive(&session_key, label, &preauth.0).into();
        let cipher = |label: &[u8]| <Aes128Gcm as aes_gcm::KeyInit>::new(&key(label));
        Self { outward: cipher(b"SMBC2SCipherKey\0"), inward: cipher(b"SMBS2CCipherKey\0") }
    }

    /// A whole message in its transform. `number` must be new to the session: the nonce is made of it.
    pub fn seal(&self, session_id: u64, number: u64, message: &[u8]) -> Vec<u8> {
        Self::seal_with(&self.outward, session_id, number, message)
    }

    fn seal_with(cipher: &Aes128Gcm, session_id: u64, number: u64, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; TRANSFORM_BYTES];
        out[..4].copy_from_slice(&TRANSFORM_ID);
        out[20..28].copy_from_slice(&number.to_le_bytes());
        out[36..40].copy_from_slice(&(message.len() as u32).to_le_bytes());
        out[42..44].copy_from_slice(&1u16.to_le_bytes()); // encrypted
        out[44..52].copy_from_slice(&session_id.to_le_bytes());
        let nonce = Nonce::clone_from_slice(&out[20..20 + NONCE_BYTES]);
        let payload = Payload { msg: message, aad: &out[AUTHENTICATED..TRANSFORM_BYTES] };
        // Fails only beyond 64 GiB.
        let mut sealed = cipher.encrypt(&nonce, payload).unwrap_or_default();
        let tag = sealed.split_off(sealed.len().saturating_sub(TAG_BYTES));
        out[4..4 + tag.len()].copy_from_slice(&tag);
        out.extend_from_slice(&sealed);
        out
    }

    /// The message inside a transform; `None` when it was altered or meant for another session.
    pub fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (head, sealed) = bytes.split_at_checked(TRANSFORM_BYTES)?;
        let tag = &head[4..4 + TAG_BYTES];
        let nonce = Nonce::from_slice(&head[20..20 + NONCE_BYTES]);
        let message = [sealed, tag].concat();
        let payload = Payload { msg: &message, aad: &head[AUTHENTICATED..] };
        self.inward.decrypt(nonce, payload).ok()
    }
}

/// SP800-108 in counter mode with HMAC-SHA256, one block, 128 bits (MS-SMB2 3.1.4.2).
fn derive(key: &[u8; 16], label: &[u8], context: &[u8]) -> [u8; 16] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    let block = mac
        .chain_update(1u32.to_be_bytes())
        .chain_update(label)
        .chain_update([0])
        .chain_update(context)
        .chain_update(128u32.to_be_bytes())
        .finalize()
        .into_bytes();
    let mut out = [0; 16];
    out.copy_from_slice(&block[..16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_every_byte() {
        for dialect in Dialect::ALL {
            let signer = Signer::new(dialect, [7; 16], &PreauthHash::default());
            let mut message = vec![3u8; 100];
            signer.sign(&mut message);
            assert!(signer.verify(&message), "{dialect}");
            for at in 0..100 {
                let mut altered = message.clone();
                altered[at] ^= 1;
                assert!(!signer.verify(&altered), "{dialect} byte {at}");
            }
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn key(signer: Signer) -> [u8; 16] {
        match signer {
            Signer::HmacSha256(key) | Signer::AesCmac(key) => key,
        }
    }

    /// The worked examples of Microsoft's article on the keys of SMB 3.0 and 3.1.1.
    #[test]
    fn the_published_signing_keys_come_out() {
        let hash = PreauthHash(
            bytes(concat!(
                "0DD13628CC3ED218EF9DF9772D436D0887AB9814BFAE63A80AA845F36909DB79",
                "28622DDDAD522D9751640A459762C5A9D6BB084CBB3CE6BDADEF5D5BCE3C6C01"
            ))
            .try_into()
            .unwrap(),
        );
        let session: [u8; 16] = bytes("270E1BA896585EEB7AF3472D3B4C75A7").try_into().unwrap();
        let signer = Signer::new(Dialect::V3_1_1, session, &hash);
        assert_eq!(key(signer).to_vec(), bytes("73FE7A9A77BEF0BDE49C650D8CCB5F76"));

        let session: [u8; 16] = bytes("7CD451825D0450D235424E44BA6E78CC").try_into().unwrap();
        let signer = Signer::new(Dialect::V3_0, session, &hash);
        assert_eq!(key(signer).to_vec(), bytes("0B7E9C5CAC36C0F6EA9AB275298CEDCE"));
    }

    /// The two ends of a session, as the server has them the other way round.
    #[test]
    fn a_sealed_message_opens_at_the_other_end_and_no_byte_of_it_can_be_changed() {
        let hash = PreauthHash([9; 64]);
        let client = Sealer::new([7; 16], &hash);
        let server = Sealer { outward: client.inward.clone(), inward: client.outward.clone() };
        let sealed = client.seal(5, 3, b"a message");
        assert_eq!(sealed.len(), TRANSFORM_BYTES + 9);
        assert_eq!(server.open(&sealed).as_deref(), Some(&b"a message"[..]));
        assert_eq!(client.open(&sealed), None, "each direction has its own key");
        for at in 4..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(server.open(&altered), None, "byte {at}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(server.open(&sealed[..cut]), None, "cut at {cut}");
        }
        assert_ne!(client.seal(5, 4, b"a message")[TRANSFORM_BYTES..], sealed[TRANSFORM_BYTES..]);
    }

    #[test]
    fn a_message_shorter_than_a_header_never_verifies() {
        let signer = Signer::new(Dialect::V3_1_1, [0; 16], &PreauthHash::default());
        assert!(!signer.verify(&[0; 63]));
    }
}
