//! Documents of earlier versions, in the form of this one.
//!
//! Every version stays readable: what a version changed is one function here, from its JSON to that of the next. It refuses nothing: what was no
//! document of its version becomes none of this one either, and the reader of the types says so.

use serde::Deserialize;
use serde_json::Value;

use crate::ResultDoc;
use crate::result::SCHEMA;

/// The first version.
pub const SCHEMA_1: &str = "pathproof-result/1";

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none.
    #[error("it is not a pathproof result document: {0}")]
    NoDocument(#[from] serde_json::Error),
    /// It is one of another version.
    #[error(
        "it carries the schema {0:?}, and this build reads {SCHEMA:?} and {SCHEMA_1:?}; use a matching version of pathproof"
    )]
    OtherVersion(String),
}

/// Reads a document of any version that this build knows.
pub fn read(json: &[u8]) -> Result<ResultDoc, ReadError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    match serde_json::from_slice::<Head>(json)?.schema {
        schema if schema == SCHEMA => Ok(serde_json::from_slice(json)?),
        schema if schema == SCHEMA_1 => Ok(serde_json::from_value(from_1(serde_json::from_slice(json)?))?),
        other => Err(ReadError::OtherVersion(other)),
    }
}

/// A document of version 1 as one of version 2.
pub fn from_1(mut document: Value) -> Value {
    if let Some(schema) = document.get_mut("schema") {
        *schema = SCHEMA.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_of_a_known_version_is_refused_with_its_name() {
        let said = |json: &str| read(json.as_bytes()).unwrap_err().to_string();
        assert!(said("{}").contains("not a pathproof result"));
        assert!(said(r#"{"schema":"pathproof-result/1"}"#).contains("not a pathproof result"));
        assert!(said(r#"{"schema":"pathproof-result/9"}"#).contains("\"pathproof-result/9\""));
    }
}
