//! What no message before held: bytes that nobody can foresee, and the time.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::SmbError;

/// 100 ns units between 1601-01-01 and 1970-01-01.
pub(crate) const FILETIME_OF_UNIX_EPOCH: u64 = 116_444_736_000_000_000;

/// Bytes that nobody can foresee.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SmbError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|error| SmbError::Entropy { source: error.into() })?;
    Ok(out)
}

/// This host's clock as SMB writes it.
pub(crate) fn filetime_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FILETIME_OF_UNIX_EPOCH + (since.as_nanos() / 100) as u64
}
