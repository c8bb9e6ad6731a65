//! Signing keys and signatures of SMB2 (MS-SMB2 3.1.4.1, 3.1.4.2, 3.2.5.3).
//!
//! All primitives come from the RustCrypto crates; here is only the order in which SMB2 applies them. Encryption is in
//! [`crate::seal`].

use aes::Aes128;
use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes128Gcm, KeyInit, Nonce};
use cmac::Cmac;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

use crate::negotiate::{Dialect, SigningAlgorithm};
use crate::wire::{FLAG_RESPONSE, FLAG_SIGNED, HEADER_BYTES};

/// The running hash over everything said before the logon was accepted (3.1.1).
#[derive(Clone)]
pub struct PreauthHash(pub(crate) [u8; 64]);

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

/// Signs and checks the messages of one channel.
#[derive(Clone)]
pub enum Signer {
    /// 2.0.2 and 2.1.
    HmacSha256([u8; 16]),
    /// 3.0 and later.
    AesCmac([u8; 16]),
    /// 3.1.1 between ends that know it: about twice as fast.
    AesGmac([u8; 16]),
}

impl Signer {
    /// The signer that the session key of an authentication leads to. `agreed` is what NEGOTIATE chose, where it did.
    pub fn new(
        dialect: Dialect,
        agreed: Option<SigningAlgorithm>,
        session_key: [u8; 16],
        preauth: &PreauthHash,
    ) -> Self {
        match dialect {
            Dialect::V3_1_1 => {
                let key = derive(&session_key, b"SMBSigningKey\0", &preauth.0);
                match agreed {
                    Some(SigningAlgorithm::AES_GMAC) => Self::AesGmac(key),
                    Some(SigningAlgorithm::HMAC_SHA256) => Self::HmacSha256(key),
                    _ => Self::AesCmac(key),
                }
            }
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

    /// Whether a whole message carries the right signature. Leaves it as it was.
    pub fn verify(&self, message: &mut [u8]) -> bool {
        let Some(found) = message.get(48..64).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) else {
            return false;
        };
        message[48..64].fill(0);
        let right = self.signature(message) == found;
        message[48..64].copy_from_slice(&found);
        right
    }

    /// Whether the signature is one over too much. AES-GMAC would take its nonce from elsewhere, and is not looked at.
    pub(crate) fn covers_a_length_too(&self, message: &[u8]) -> bool {
        let found = message.get(48..64);
        !matches!(self, Self::AesGmac(_)) && found == Some(&self.signature_with_length(message)[..])
    }

    /// The signature over a message with the four bytes of its length in front, which Direct TCP has and no signature covers: what ksmbd of
    /// Linux 6.12 puts into answers to READs by RDMA.
    pub fn signature_with_length(&self, message: &[u8]) -> [u8; 16] {
        let mut longer = [&(message.len() as u32).to_be_bytes(), message].concat();
        if let Some(field) = longer.get_mut(52..68) {
            field.fill(0);
        }
        self.signature(&longer)
    }

    /// Of a message whose signature field is zero.
    fn signature(&self, message: &[u8]) -> [u8; 16] {
        let mut out = [0; 16];
        match self {
            Self::HmacSha256(key) => {
                let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
                out.copy_from_slice(&mac.chain_update(message).finalize().into_bytes()[..16]);
            }
            Self::AesCmac(key) => {
                let mac = <Cmac<Aes128> as Mac>::new_from_slice(key).expect("the key has 16 bytes");
                out.copy_from_slice(&mac.chain_update(message).finalize().into_bytes());
            }
            Self::AesGmac(key) => {
                // MS-SMB2 3.1.4.1: the message id, then whether a server signed; nothing is encrypted.
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&message[24..32]);
                nonce[8] = message[16] & FLAG_RESPONSE as u8;
                let cipher = Aes128Gcm::new(key.into());
                let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), message, &mut []);
                // Fails only beyond 64 GiB.
                out.copy_from_slice(&tag.unwrap_or_default());
            }
        }
        out
    }
}

/// SP800-108 in counter mode with HMAC-SHA256, one block of 128 or 256 bits (MS-SMB2 3.1.4.2).
pub(crate) fn derive<const N: usize>(key: &[u8], label: &[u8], context: &[u8]) -> [u8; N] {
    const { assert!(N <= 32, "one block of SHA-256") };
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    let block = mac
        .chain_update(1u32.to_be_bytes())
        .chain_update(label)
        .chain_update([0])
        .chain_update(context)
        .chain_update((8 * N as u32).to_be_bytes())
        .finalize()
        .into_bytes();
    let mut out = [0; N];
    out.copy_from_slice(&block[..N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_every_byte() {
        let gmac = (Dialect::V3_1_1, Some(SigningAlgorithm::AES_GMAC));
        for (dialect, agreed) in Dialect::ALL.map(|dialect| (dialect, None)).into_iter().chain([gmac]) {
            let signer = Signer::new(dialect, agreed, [7; 16], &PreauthHash::default());
            let mut message = vec![3u8; 100];
            signer.sign(&mut message);
            assert!(signer.verify(&mut message), "{dialect}");
            for at in 0..100 {
                let mut altered = message.clone();
                altered[at] ^= 1;
                assert!(!signer.verify(&mut altered), "{dialect} byte {at}");
            }
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn key(signer: Signer) -> [u8; 16] {
        match signer {
            Signer::HmacSha256(key) | Signer::AesCmac(key) | Signer::AesGmac(key) => key,
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
        let signer = Signer::new(Dialect::V3_1_1, None, session, &hash);
        assert_eq!(key(signer).to_vec(), bytes("73FE7A9A77BEF0BDE49C650D8CCB5F76"));

        let session: [u8; 16] = bytes("7CD451825D0450D235424E44BA6E78CC").try_into().unwrap();
        let signer = Signer::new(Dialect::V3_0, None, session, &hash);
        assert_eq!(key(signer).to_vec(), bytes("0B7E9C5CAC36C0F6EA9AB275298CEDCE"));
    }

    #[test]
    fn a_message_shorter_than_a_header_never_verifies() {
        let signer = Signer::new(Dialect::V3_1_1, None, [0; 16], &PreauthHash::default());
        assert!(!signer.verify(&mut [0; 63]));
    }
}
