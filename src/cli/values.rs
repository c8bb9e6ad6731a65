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

/// A part of a whole in percent, with or without its sign.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim();
    let number = number.strip_suffix('%').unwrap_or(number).trim_end();
    let percent = number.parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| {
        format!("{text} is no part of a whole; give a percentage of at most 100, such as 25 or 25%")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_may_have_its_sign() {
        assert_eq!(["25", "25%", " 100 % ", "0"].map(percent), [Ok(25), Ok(25), Ok(100), Ok(0)]);
        for wrong in ["101", "-1", "2.5%", "%", "half", "256"] {
            assert!(percent(wrong).unwrap_err().contains("at most 100"), "{wrong}");
        }
    }
}
