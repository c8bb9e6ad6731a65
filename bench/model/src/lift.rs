//! Documents of earlier versions, in the form of this one.
//!
//! Every version stays readable: what a version changed is one function here, from its JSON to that of the next. It refuses nothing: what was no
//! document of its version becomes none of this one either, and the reader of the types says so.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::ResultDoc;
use crate::node::{DEFAULT_PORT, host_and_port};
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
    if let Some(document) = document.as_object_mut() {
        document.insert("schema".into(), SCHEMA.into());
        ends_become_nodes(document);
    }
    document
}

/// There were exactly two ends, and the peer's name stood apart from them.
fn ends_become_nodes(document: &mut Map<String, Value>) {
    let mut environment = document.remove("environment");
    let mut facts_of = |end| environment.as_mut().and_then(|ends| Some(ends.get_mut(end)?.take()));
    let mut nodes =
        vec![json!({ "id": 0, "name": "here", "kind": "here", "environment": facts_of("client") })];
    if let Some(name) = document.remove("peer").as_ref().and_then(Value::as_str) {
        // An SMB server and a host that only answers echo requests were given as peers too.
        let is_echo = |path: &Value| path["method"] == "echo";
        let echoed = |step: &Value| step["paths"].as_array().is_some_and(|paths| paths.iter().any(is_echo));
        let foreign = document.contains_key("smb")
            || document.get("requested").is_some_and(|plan| plan["command"] == "smb")
            || document.get("steps").and_then(Value::as_array).is_some_and(|steps| steps.iter().any(echoed));
        let (host, port) = host_and_port(name).unwrap_or((name, None));
        let mut node = match name {
            "self" => json!({ "kind": "self" }),
            _ if foreign => json!({ "kind": "foreign", "host": host }),
            _ => json!({ "kind": "agent", "host": host, "port": port.unwrap_or(DEFAULT_PORT) }),
        };
        node["id"] = 1.into();
        node["name"] = name.into();
        node["environment"] = json!(facts_of("server"));
        nodes.push(node);
    }
    document.insert("nodes".into(), nodes.into());
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

    #[test]
    fn both_ends_of_version_1_are_nodes() {
        use crate::{Environment, NodeId, NodeSpec};
        let lifted = |peer: &str, more: Value| {
            let host = |name: &str| Environment { hostname: Some(name.into()), ..Environment::default() };
            let mut old = serde_json::to_value(ResultDoc::new(Default::default(), "")).unwrap();
            old.as_object_mut().unwrap().remove("nodes");
            old.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (old["schema"], old["peer"]) = (SCHEMA_1.into(), peer.into());
            old["environment"] = json!({ "client": host("a"), "server": host("b") });
            read(old.to_string().as_bytes()).unwrap()
        };
        let doc = lifted("[fd00::2]:9", json!({}));
        assert_eq!((doc.nodes[1].name.as_str(), doc.nodes.len()), ("[fd00::2]:9", 2));
        assert_eq!(doc.nodes[1].spec, NodeSpec::Agent { host: "fd00::2".into(), port: 9 });
        let names =
            [NodeId::CLIENT, NodeId::SERVER].map(|id| doc.environment(id).unwrap().hostname.clone().unwrap());
        assert_eq!(names, ["a", "b"]);
        assert!(lifted("self", json!({})).is_against_itself());
        let asked = json!({ "requested": { "command": "smb", "seed": 1, "steps": [] } });
        assert_eq!(lifted("files", asked).nodes[1].spec, NodeSpec::Foreign { host: "files".into() });
    }
}
