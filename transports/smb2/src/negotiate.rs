//! NEGOTIATE (MS-SMB2 2.2.3, 2.2.4): the one question any server answers to anybody.
//!
//! A server tells here its dialect, capabilities, signing rule, ciphers and whether RDMA traffic may
//! be signed or encrypted in place. What it offers depends on what was asked: `MULTI_CHANNEL` is only
//! echoed to a client that set it, so every capability is set in the question. One question per
//! connection: a second NEGOTIATE makes a server hang up.

use std::fmt;

use crate::error::WireError;
use crate::wire::{HEADER_BYTES, array_at, slice_at, u16_at, u32_at, u64_at, utf16};

/// Most contexts looked at in a message; the specification has eight kinds, each at most once.
pub(crate) const MAX_CONTEXTS: u16 = 32;

/// Signing is enabled, and not required.
pub(crate) const SECURITY_MODE: u16 = 1;

pub(crate) const PREAUTH: u16 = 1;
pub(crate) const ENCRYPTION: u16 = 2;
const NETNAME: u16 = 5;
const RDMA_TRANSFORM: u16 = 7;
pub(crate) const SIGNING: u16 = 8;

/// A dialect revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dialect(pub u16);

impl Dialect {
    /// SMB 2.0.2 (Windows Vista, Server 2008).
    pub const V2_0_2: Self = Self(0x0202);
    /// SMB 2.1 (Windows 7, Server 2008 R2): no Multichannel yet.
    pub const V2_1: Self = Self(0x0210);
    /// SMB 3.0 (Windows 8, Server 2012): Multichannel and SMB Direct.
    pub const V3_0: Self = Self(0x0300);
    /// SMB 3.0.2 (Windows 8.1, Server 2012 R2).
    pub const V3_0_2: Self = Self(0x0302);
    /// SMB 3.1.1 (Windows 10, Server 2016 and later).
    pub const V3_1_1: Self = Self(0x0311);
    /// All of them, oldest first, as the question lists them.
    pub const ALL: [Self; 5] = [Self::V2_0_2, Self::V2_1, Self::V3_0, Self::V3_0_2, Self::V3_1_1];

    /// Whether the 3.x features (Multichannel, encryption, SMB Direct) exist at all.
    pub fn is_3(self) -> bool {
        self.0 >= 0x0300
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V2_0_2 => f.write_str("2.0.2"),
            Self::V2_1 => f.write_str("2.1"),
            Self::V3_0 => f.write_str("3.0"),
            Self::V3_0_2 => f.write_str("3.0.2"),
            Self::V3_1_1 => f.write_str("3.1.1"),
            Self(other) => write!(f, "0x{other:04x}"),
        }
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The capability bits of MS-SMB2 2.2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Everything a client can ask for.
    pub const ALL: Self = Self(0x7F);
    /// Requests may move more than 64 KiB.
    pub const LARGE_MTU: u32 = 0x04;
    /// Several connections may share one session.
    pub const MULTI_CHANNEL: u32 = 0x08;
    /// Encryption at 3.0 and 3.0.2; 3.1.1 uses a context instead.
    pub const ENCRYPTION: u32 = 0x40;

    const NAMES: [(u32, &'static str); 8] = [
        (0x01, "DFS"),
        (0x02, "LEASING"),
        (0x04, "LARGE_MTU"),
        (0x08, "MULTI_CHANNEL"),
        (0x10, "PERSISTENT_HANDLES"),
        (0x20, "DIRECTORY_LEASING"),
        (0x40, "ENCRYPTION"),
        (0x80, "NOTIFICATIONS"),
    ];

    /// Whether any bit of `mask` is set.
    pub fn has(self, mask: u32) -> bool {
        self.0 & mask != 0
    }

    /// The names of the bits that are set, in bit order; a bit without a name appears as hexadecimal.
    pub fn names(self) -> Vec<String> {
        (0..32)
            .map(|bit| 1u32 << bit)
            .filter(|&mask| self.has(mask))
            .map(|mask| match Self::NAMES.iter().find(|(known, _)| *known == mask) {
                Some((_, name)) => (*name).to_owned(),
                None => format!("0x{mask:08x}"),
            })
            .collect()
    }
}

/// What encrypts the session (MS-SMB2 2.2.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cipher(pub u16);

impl Cipher {
    /// The only one of 3.0 and 3.0.2.
    pub const AES_128_CCM: Self = Self(1);
    /// The fastest.
    pub const AES_128_GCM: Self = Self(2);
    /// With a longer key.
    pub const AES_256_CCM: Self = Self(3);
    /// With a longer key.
    pub const AES_256_GCM: Self = Self(4);
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("AES-128-CCM"),
            2 => f.write_str("AES-128-GCM"),
            3 => f.write_str("AES-256-CCM"),
            4 => f.write_str("AES-256-GCM"),
            other => write!(f, "cipher 0x{other:04x}"),
        }
    }
}

/// What signs the session (MS-SMB2 2.2.3.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningAlgorithm(pub u16);

impl SigningAlgorithm {
    /// HMAC-SHA256, the rule before 3.0.
    pub const HMAC_SHA256: Self = Self(0);
    /// AES-CMAC, the rule from 3.0 on.
    pub const AES_CMAC: Self = Self(1);
    /// AES-GMAC, of newer servers at 3.1.1.
    pub const AES_GMAC: Self = Self(2);
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("HMAC-SHA256"),
            1 => f.write_str("AES-CMAC"),
            2 => f.write_str("AES-GMAC"),
            other => write!(f, "algorithm 0x{other:04x}"),
        }
    }
}

/// What the server can do to data it places by RDMA (MS-SMB2 2.2.3.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RdmaTransform(pub u16);

impl fmt::Display for RdmaTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("none"),
            1 => f.write_str("encryption"),
            2 => f.write_str("signing"),
            other => write!(f, "transform 0x{other:04x}"),
        }
    }
}

/// A NEGOTIATE question.
#[derive(Debug, Clone)]
pub struct NegotiateRequest<'a> {
    /// Dialects offered, oldest first.
    pub dialects: &'a [Dialect],
    /// This client, for the length of one connection.
    pub client_guid: [u8; 16],
    /// Salt of the pre-authentication hash.
    pub salt: [u8; 32],
    /// The name the server was called by.
    pub server_name: &'a str,
    /// A logon follows, so what is agreed will be used: RDMA transforms, which nothing here can do, are not offered.
    pub for_session: bool,
}

impl NegotiateRequest<'_> {
    /// The body after the header.
    pub fn encode(&self) -> Vec<u8> {
        let with_contexts = self.dialects.contains(&Dialect::V3_1_1);
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(&36u16.to_le_bytes());
        body.extend_from_slice(&(self.dialects.len() as u16).to_le_bytes());
        body.extend_from_slice(&SECURITY_MODE.to_le_bytes());
        body.extend_from_slice(&0u16.to_le_bytes());
        body.extend_from_slice(&Capabilities::ALL.0.to_le_bytes());
        body.extend_from_slice(&self.client_guid);
        body.extend_from_slice(&[0; 8]); // context offset and count, or ClientStartTime
        for dialect in self.dialects {
            body.extend_from_slice(&dialect.0.to_le_bytes());
        }
        if !with_contexts {
            return body;
        }
        let contexts = self.contexts();
        pad_to_8(&mut body);
        let offset = (HEADER_BYTES + body.len()) as u32;
        body[28..32].copy_from_slice(&offset.to_le_bytes());
        body[32..34].copy_from_slice(&(contexts.len() as u16).to_le_bytes());
        for (kind, data) in contexts {
            pad_to_8(&mut body);
            body.extend_from_slice(&kind.to_le_bytes());
            body.extend_from_slice(&(data.len() as u16).to_le_bytes());
            body.extend_from_slice(&[0; 4]);
            body.extend_from_slice(&data);
        }
        body
    }

    fn contexts(&self) -> Vec<(u16, Vec<u8>)> {
        let mut preauth = ids(&[1, 32, 1]); // one hash, 32 bytes of salt, SHA-512
        preauth.extend_from_slice(&self.salt);
        let ciphers = ids(&[4, 2, 1, 4, 3]);
        // count u16, two reserved fields, then the transforms: encryption and signing.
        let transforms = ids(&[2, 0, 0, 0, 1, 2]);
        let signing = ids(&[3, 2, 1, 0]);
        let mut contexts = vec![(PREAUTH, preauth), (ENCRYPTION, ciphers)];
        if !self.server_name.is_empty() {
            contexts.push((NETNAME, utf16(self.server_name)));
        }
        if !self.for_session {
            contexts.push((RDMA_TRANSFORM, transforms));
        }
        contexts.push((SIGNING, signing));
        contexts
    }
}

fn ids(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn pad_to_8(body: &mut Vec<u8>) {
    // The header is 64 bytes, so alignment within the body is alignment within the message.
    body.resize(body.len().next_multiple_of(8), 0);
}

/// A NEGOTIATE answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateResponse {
    /// The dialect chosen.
    pub dialect: Dialect,
    /// The server demands signatures.
    pub signing_required: bool,
    /// The server's identity: equal on two addresses means one host.
    pub server_guid: [u8; 16],
    /// Capability bits.
    pub capabilities: Capabilities,
    /// Largest transaction.
    pub max_transact_bytes: u32,
    /// Largest READ.
    pub max_read_bytes: u32,
    /// Largest WRITE.
    pub max_write_bytes: u32,
    /// The server's clock: 100 ns units since 1601.
    pub system_time: u64,
    /// When the server started, same units; 0 when it does not say.
    pub start_time: u64,
    /// The cipher chosen (3.1.1 only; id 0 means none in common and is `None` here).
    pub cipher: Option<Cipher>,
    /// The signing algorithm chosen (newer 3.1.1 servers only).
    pub signing: Option<SigningAlgorithm>,
    /// The RDMA transforms agreed; empty when the server has none.
    pub rdma_transforms: Vec<RdmaTransform>,
}

impl NegotiateResponse {
    /// Read the answer out of a whole message (header included: offsets count from there).
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "NEGOTIATE answer";
        let body = HEADER_BYTES;
        if u16_at(message, body, WHAT)? != 65 {
            return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 65" });
        }
        let dialect = Dialect(u16_at(message, body + 4, WHAT)?);
        let mut response = Self {
            dialect,
            signing_required: u16_at(message, body + 2, WHAT)? & 2 != 0,
            server_guid: array_at(message, body + 8, WHAT)?,
            capabilities: Capabilities(u32_at(message, body + 24, WHAT)?),
            max_transact_bytes: u32_at(message, body + 28, WHAT)?,
            max_read_bytes: u32_at(message, body + 32, WHAT)?,
            max_write_bytes: u32_at(message, body + 36, WHAT)?,
            system_time: u64_at(message, body + 40, WHAT)?,
            start_time: u64_at(message, body + 48, WHAT)?,
            cipher: None,
            signing: None,
            rdma_transforms: Vec::new(),
        };
        let blob_at = u16_at(message, body + 56, WHAT)? as usize;
        let blob_length = u16_at(message, body + 58, WHAT)? as usize;
        if blob_length > 0 {
            slice_at(message, blob_at, blob_length, "security buffer of the NEGOTIATE answer")?;
        }
        let contexts_at = u32_at(message, body + 60, WHAT)? as usize;
        if dialect == Dialect::V3_1_1 {
            let count = u16_at(message, body + 6, WHAT)?;
            response.read_contexts(message, contexts_at, count)?;
        }
        Ok(response)
    }

    fn read_contexts(&mut self, message: &[u8], start: usize, count: u16) -> Result<(), WireError> {
        const WHAT: &str = "negotiate context";
        if count > MAX_CONTEXTS {
            return Err(WireError::Malformed { what: WHAT, why: "there are more than 32 of them" });
        }
        let mut at = start;
        let mut preauth = 0;
        for _ in 0..count {
            // Each context begins at the next multiple of 8 (MS-SMB2 2.2.4.1); saturating, because
            // `start` is the peer's number.
            at = at.saturating_add(7) & !7;
            let kind = u16_at(message, at, WHAT)?;
            let length = u16_at(message, at.saturating_add(2), WHAT)? as usize;
            let data = slice_at(message, at.saturating_add(8), length, WHAT)?;
            match kind {
                PREAUTH => preauth += 1,
                ENCRYPTION => {
                    let id = single(data, "encryption context")?;
                    self.cipher = (id != 0).then_some(Cipher(id));
                }
                SIGNING => self.signing = Some(SigningAlgorithm(single(data, "signing context")?)),
                RDMA_TRANSFORM => self.rdma_transforms = transforms(data)?,
                _ => {}
            }
            at = at.saturating_add(8).saturating_add(length);
        }
        if preauth != 1 {
            return Err(WireError::Malformed {
                what: "NEGOTIATE answer",
                why: "3.1.1 needs exactly one pre-authentication context",
            });
        }
        Ok(())
    }
}

/// A context that carries a count of 1 and one id.
fn single(data: &[u8], what: &'static str) -> Result<u16, WireError> {
    if u16_at(data, 0, what)? != 1 {
        return Err(WireError::Malformed { what, why: "an answer must choose exactly one" });
    }
    u16_at(data, 2, what)
}

fn transforms(data: &[u8]) -> Result<Vec<RdmaTransform>, WireError> {
    const WHAT: &str = "RDMA transform context";
    let count = u16_at(data, 0, WHAT)? as usize;
    let list = slice_at(data, 8, count * 2, WHAT)?;
    let ids = list.chunks_exact(2).map(|id| RdmaTransform(u16::from_le_bytes([id[0], id[1]])));
    // "None" is how a server says that it knows the context but has nothing to offer.
    Ok(ids.filter(|id| id.0 != 0).collect())
}
