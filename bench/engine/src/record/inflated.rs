//! The stored form of a histogram, looked at before it is decoded: its header may come from a peer or a file, and says
//! how much memory decoding is to take.
//!
//! HdrHistogram V2: `cookie u32 | length u32 | zlib of (cookie u32 | length u32 | offset u32 | digits u32 | low u64 | high u64 |
//! ratio f64 | counts)`, big endian.

use std::io::Read;

/// Cookie of the deflated form.
const DEFLATED: u32 = 0x1c84_9314;
/// Bytes before the counts.
const HEADER_BYTES: usize = 40;
/// Most bytes of counts that a histogram of our bounds needs: 9 for each of about 28 000.
const COUNTS_BYTES_MAX: usize = 256 << 10;
/// Most significant digits: more make a histogram of hundreds of megabytes.
const DIGITS_MAX: u32 = 3;

/// The plain form of `stored`, whose header has been found to be that of a histogram no larger than ours.
pub(super) fn inflated(stored: &[u8], value_max: u64) -> Result<Vec<u8>, String> {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).and_then(|b| Some(u32::from_be_bytes(b.try_into().ok()?)))
    };
    let zlib = match (word(stored, 0), stored.get(8..)) {
        (Some(DEFLATED), Some(zlib)) if zlib.len() <= COUNTS_BYTES_MAX => zlib,
        _ => return Err("it is no deflated HdrHistogram of this size".into()),
    };
    let mut plain = Vec::new();
    let most = (HEADER_BYTES + COUNTS_BYTES_MAX) as u64;
    flate2::read::ZlibDecoder::new(zlib).take(most).read_to_end(&mut plain).map_err(|e| e.to_string())?;
    let long = |at: usize| Some(u64::from(word(&plain, at)?) << 32 | u64::from(word(&plain, at + 4)?));
    let fits = || {
        let counts = word(&plain, 4)? as usize == plain.len().checked_sub(HEADER_BYTES)?;
        Some(counts && word(&plain, 12)? <= DIGITS_MAX && long(16)? >= 1 && long(24)? <= value_max)
    };
    match fits() {
        Some(true) => Ok(plain),
        _ => Err("its header is not that of a histogram of pathproof's".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

    use super::*;

    const MAX: u64 = 60_000_000_000;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::default());
        zlib.write_all(plain).unwrap();
        let body = zlib.finish().unwrap();
        [&DEFLATED.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
    }

    #[test]
    fn t17_a_histogram_takes_no_more_memory_than_its_samples_need() {
        let mut own = Histogram::<u64>::new_with_bounds(1, MAX, 3).unwrap();
        (1..1000u64).for_each(|n| own.record(n * n * 1000).unwrap());
        let mut stored = vec![];
        V2DeflateSerializer::new().serialize(&own, &mut stored).unwrap();
        let plain = inflated(&stored, MAX).unwrap();
        let again: Histogram<u64> = Deserializer::new().deserialize(&mut plain.as_slice()).unwrap();
        assert_eq!(again, own);

        let lie = |at: usize, bytes: &[u8]| {
            let mut plain = plain.clone();
            plain[at..at + bytes.len()].copy_from_slice(bytes);
            inflated(&deflated(&plain), MAX)
        };
        assert!(lie(4, &u32::MAX.to_be_bytes()).is_err(), "4 GiB of counts are announced");
        assert!(lie(12, &5u32.to_be_bytes()).is_err(), "five digits");
        assert!(lie(24, &u64::MAX.to_be_bytes()).is_err(), "a range of 64 bits");
        assert!(inflated(&deflated(&vec![0; 50 << 20]), MAX).is_err(), "zeroes that inflate to 50 MiB");
        for cut in 0..stored.len() {
            let _ = inflated(&stored[..cut], MAX);
        }
    }
}
