//! Encrypted messages (MS-SMB2 2.2.41, 3.1.4.3): AES-128 and AES-256, GCM and CCM, from 3.0 on.
//!
//! Messages are encrypted and decrypted where they lie, so nothing is allocated. A nonce is never used twice: it holds the number of
//! the channel, because the channels of a session share its keys, and a counter of the channel.

use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInPlace;
use aes_gcm::aead::consts::{U11, U16};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use ccm::Ccm;

use crate::crypto::{PreauthHash, derive};
use crate::negotiate::{Cipher, Dialect};

/// First bytes of an encrypted message.
pub const TRANSFORM_ID: [u8; 4] = [0xFD, b'S', b'M', b'B'];
/// Length of the transform header (MS-SMB2 2.2.41).
pub const TRANSFORM_BYTES: usize = 52;
/// Where its authenticated part begins: behind protocol id and signature.
const AUTHENTICATED: usize = 20;
const TAG_BYTES: usize = 16;

/// One direction's cipher with its key.
#[derive(Clone)]
enum Keyed {
    Gcm128(Box<Aes128Gcm>),
    Gcm256(Box<Aes256Gcm>),
    Ccm128(Box<Ccm<Aes128, U16, U11>>),
    Ccm256(Box<Ccm<Aes256, U16, U11>>),
}

impl Keyed {
    fn new(cipher: Cipher, session_key: &[u8], label: &[u8], context: &[u8]) -> Option<Keyed> {
        // The long ciphers take all of the key, the short ones its first 16 bytes (MS-SMB2 3.2.5.3.1).
        let first = session_key.get(..16).unwrap_or(session_key);
        let short = || derive::<16>(first, label, context).into();
        let long = || derive::<32>(session_key, label, context).into();
        Some(match cipher {
            Cipher::AES_128_GCM => Keyed::Gcm128(Box::new(Aes128Gcm::new(&short()))),
            Cipher::AES_256_GCM => Keyed::Gcm256(Box::new(Aes256Gcm::new(&long()))),
            Cipher::AES_128_CCM => Keyed::Ccm128(Box::new(Ccm::new(&short()))),
            Cipher::AES_256_CCM => Keyed::Ccm256(Box::new(Ccm::new(&long()))),
            _ => return None,
        })
    }

    fn encrypt(&self, nonce: &[u8], head: &[u8], body: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = match self {
            Keyed::Gcm128(one) => one.encrypt_in_place_detached(nonce[..12].into(), head, body),
            Keyed::Gcm256(one) => one.encrypt_in_place_detached(nonce[..12].into(), head, body),
            Keyed::Ccm128(one) => one.encrypt_in_place_detached(nonce[..11].into(), head, body),
            Keyed::Ccm256(one) => one.encrypt_in_place_detached(nonce[..11].into(), head, body),
        };
        // Fails only beyond 64 GiB.
        tag.unwrap_or_default().into()
    }

    fn decrypt(&self, nonce: &[u8], head: &[u8], body: &mut [u8], tag: &[u8]) -> bool {
        let tag = tag.into();
        match self {
            Keyed::Gcm128(one) => one.decrypt_in_place_detached(nonce[..12].into(), head, body, tag),
            Keyed::Gcm256(one) => one.decrypt_in_place_detached(nonce[..12].into(), head, body, tag),
            Keyed::Ccm128(one) => one.decrypt_in_place_detached(nonce[..11].into(), head, body, tag),
            Keyed::Ccm256(one) => one.decrypt_in_place_detached(nonce[..11].into(), head, body, tag),
        }
        .is_ok()
    }
}

/// Encrypts the requests of one channel of a session, and decrypts its answers.
#[derive(Clone)]
pub struct Sealer {
    outward: Keyed,
    inward: Keyed,
    session_id: u64,
    channel: u16,
    sealed: u64,
}

impl Sealer {
    /// The ciphers that the session key of a session, all of it, leads to; `None` where the cipher is unknown or the dialect has none.
    /// The key and the hash are those of the session's first authentication, whatever the channel.
    pub fn new(
        dialect: Dialect,
        cipher: Cipher,
        session_key: &[u8],
        preauth: &PreauthHash,
        session_id: u64,
    ) -> Option<Self> {
        let keyed = |label: &[u8], context: &[u8]| Keyed::new(cipher, session_key, label, context);
        let (outward, inward) = match dialect {
            Dialect::V3_1_1 => {
                (keyed(b"SMBC2SCipherKey\0", &preauth.0)?, keyed(b"SMBS2CCipherKey\0", &preauth.0)?)
            }
            dialect if dialect.is_3() => {
                (keyed(b"SMB2AESCCM\0", b"ServerIn \0")?, keyed(b"SMB2AESCCM\0", b"ServerOut\0")?)
            }
            _ => return None,
        };
        Some(Self { outward, inward, session_id, channel: 0, sealed: 0 })
    }

    /// The other end's: what this one encrypts that one decrypts.
    pub fn turned(self) -> Self {
        Self { outward: self.inward, inward: self.outward, ..self }
    }

    /// The same for another channel of the session.
    pub fn for_channel(&self, channel: u16) -> Self {
        Self { channel, sealed: 0, ..self.clone() }
    }

    /// Encrypts a message that stands in `buffer` behind room for the transform header.
    pub fn seal(&mut self, buffer: &mut [u8]) {
        let (head, message) = buffer.split_at_mut(TRANSFORM_BYTES);
        head.fill(0);
        head[..4].copy_from_slice(&TRANSFORM_ID);
        head[20..28].copy_from_slice(&self.sealed.to_le_bytes());
        head[28..30].copy_from_slice(&self.channel.to_le_bytes());
        self.sealed += 1;
        head[36..40].copy_from_slice(&(message.len() as u32).to_le_bytes());
        head[42..44].copy_from_slice(&1u16.to_le_bytes()); // encrypted
        head[44..52].copy_from_slice(&self.session_id.to_le_bytes());
        let nonce: [u8; 16] = head[20..36].try_into().expect("sixteen bytes");
        let tag = self.outward.encrypt(&nonce, &head[AUTHENTICATED..], message);
        head[4..4 + TAG_BYTES].copy_from_slice(&tag);
    }

    /// Decrypts a whole message where it lies, behind its transform header. False when it was altered, cut, or meant for another
    /// session; what lies there is then worth nothing.
    #[must_use]
    pub fn open(&self, buffer: &mut [u8]) -> bool {
        let Some((head, message)) = buffer.split_at_mut_checked(TRANSFORM_BYTES) else { return false };
        head.starts_with(&TRANSFORM_ID)
            && self.inward.decrypt(&head[20..36], &head[AUTHENTICATED..], message, &head[4..4 + TAG_BYTES])
            // All of these are authenticated; a server that writes them wrong is wrong.
            && head[36..40] == (message.len() as u32).to_le_bytes()
            && head[44..52] == self.session_id.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two ends of a session, as the server has them the other way round.
    #[test]
    fn a_sealed_message_opens_at_the_other_end_and_no_byte_of_it_can_be_changed() {
        let hash = PreauthHash([9; 64]);
        let cases = [(Dialect::V3_0, 1), (Dialect::V3_0_2, 1), (Dialect::V3_1_1, 1), (Dialect::V3_1_1, 2)];
        for (dialect, cipher) in cases.into_iter().chain([(Dialect::V3_1_1, 3), (Dialect::V3_1_1, 4)]) {
            let mut client = Sealer::new(dialect, Cipher(cipher), &[7; 16], &hash, 5).unwrap();
            let server = client.clone().turned();
            let plain = [&[0; TRANSFORM_BYTES], &b"a message"[..]].concat();
            let mut sealed = plain.clone();
            client.seal(&mut sealed);
            assert_ne!(sealed[TRANSFORM_BYTES..], plain[TRANSFORM_BYTES..]);
            let opened = |end: &Sealer, bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                end.open(&mut bytes).then(|| bytes[TRANSFORM_BYTES..].to_vec())
            };
            assert_eq!(opened(&server, &sealed).as_deref(), Some(&b"a message"[..]), "{dialect} {cipher}");
            assert_eq!(opened(&client, &sealed), None, "each direction has its own key");
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 1;
                // CCM has a nonce of eleven bytes: the rest of the field is authenticated with the header.
                assert_eq!(opened(&server, &altered), None, "{dialect} {cipher} byte {at}");
            }
            for cut in 0..sealed.len() {
                assert_eq!(opened(&server, &sealed[..cut]), None, "cut at {cut}");
            }
            let mut again = plain.clone();
            client.seal(&mut again);
            assert_ne!(again[20..36], sealed[20..36], "a nonce of its own");
            let mut other = plain.clone();
            let mut second = client.for_channel(1);
            second.seal(&mut other);
            assert_ne!(other[20..36], sealed[20..36], "a nonce of its own on each channel");
        }
        assert!(Sealer::new(Dialect::V3_1_1, Cipher(9), &[7; 16], &hash, 5).is_none());
        assert!(Sealer::new(Dialect::V2_1, Cipher(1), &[7; 16], &hash, 5).is_none());
    }
}
