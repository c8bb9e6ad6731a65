//! Values that several commands take.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use pathproof_engine::ports::IDLE_NS_MAX;
use pathproof_model::units::{BitsPerSecond, Nanoseconds};

/// A rate that a path should have.
pub fn expected_rate(text: &str) -> Result<BitsPerSecond, String> {
    match text.parse::<BitsPerSecond>() {
        Ok(BitsPerSecond(0)) => {
            Err("every path has a rate of 0; give the one that this path should have".into())
        }
        other => other.map_err(|why| why.to_string()),
    }
}

/// An IP MTU in bytes.
pub fn ip_mtu(text: &str) -> Result<u32, String> {
    let digits = text.trim().strip_suffix(['B', 'b']).unwrap_or(text).trim();
    let bytes = digits.parse().ok().filter(|bytes| (68..=65_535).contains(bytes));
    bytes.ok_or_else(|| {
        format!("{text} is no IP MTU; give a number of bytes from 68 to 65535, such as 9000 (9K could be 9000 or 9216)")
    })
}

/// How long connections are left silent.
pub fn silence(text: &str) -> Result<Nanoseconds, String> {
    let time = text.parse::<Nanoseconds>().map_err(|why| why.to_string())?;
    match time.0 > IDLE_NS_MAX {
        true => Err(format!("{time} of silence is more than a check tries; ask for at most 5m")),
        false => Ok(time),
    }
}

/// One of a closed list of words, which help shows.
pub fn words<T>(all: &[T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|one| word(*one))).try_map(|typed| typed.parse())
}
