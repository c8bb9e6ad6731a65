//! Values as JSON and back, always by way of their text.
//!
//! The library could make a [`Value`] of a type, and a type of a [`Value`], without that. For the several hundred types of a document each such way is a
//! megabyte of program more, and nothing here is asked for often. Numbers come through as they are.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Result, Value};

/// A value of whatever type as JSON.
pub fn value_of<T: Serialize + ?Sized>(value: &T) -> Result<Value> {
    serde_json::from_slice(&serde_json::to_vec(value)?)
}

/// What JSON says.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_json::from_slice(&serde_json::to_vec(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_through_as_they_are() {
        for number in [0.1, 1.0 / 3.0, 123_456_789.123_456_78, 5e-324, f64::MAX, 0.009_999_999_999_999_998] {
            assert_eq!(typed::<f64>(&value_of(&number).unwrap()).unwrap().to_bits(), number.to_bits());
        }
        assert_eq!(value_of(&u64::MAX).unwrap(), Value::from(u64::MAX));
        assert_eq!(value_of(&f64::NAN).unwrap(), Value::Null);
    }
}
