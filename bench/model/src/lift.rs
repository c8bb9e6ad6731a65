//! Documents of earlier versions, in the form of this one.
//!
//! Every version stays readable: what a version changed is one function here, from its JSON to that of the next. It refuses nothing: what was no
//! document of its version becomes none of this one either, and the reader of the types says so.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::json::{typed, value_of};
use crate::node::{DEFAULT_PORT, host_and_port};
use crate::result::SCHEMA;
use crate::{Direction, Flow, Interval, LaneResult, ResultDoc, StepSpec, Summary, series};

/// The first version.
pub const SCHEMA_1: &str = "pathproof-result/1";

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none.
    #[error("it is not a pathproof result document")]
    NoDocument(#[from] serde_json::Error),
    /// It is one of another version.
    #[error(
        "it carries the schema {0:?}, and this build reads {SCHEMA:?} and {SCHEMA_1:?}; use a matching version of pathproof"
    )]
    OtherVersion(String),
    /// It is of a mesh of more ranks than there can be.
    #[error("it says that it is of {0} ranks, and a mesh has at most {most}", most = crate::mesh::RANKS_MAX)]
    TooMany(u32),
}

/// Reads a document of any version that this build knows.
pub fn read(json: &[u8]) -> Result<ResultDoc, ReadError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    match serde_json::from_slice::<Head>(json)?.schema {
        schema if schema == SCHEMA => Ok(serde_json::from_slice(json)?),
        _ => document(serde_json::from_slice(json)?),
    }
}

/// The same, from JSON that was read before.
pub fn document(document: Value) -> Result<ResultDoc, ReadError> {
    let lifted = match document["schema"].as_str() {
        Some(SCHEMA) | None => document,
        Some(SCHEMA_1) => from_1(document)?,
        Some(other) => return Err(ReadError::OtherVersion(other.into())),
    };
    Ok(typed(&lifted)?)
}

/// A document of version 1 as one of version 2.
fn from_1(mut document: Value) -> serde_json::Result<Value> {
    if let Some(document) = document.as_object_mut() {
        document.insert("schema".into(), SCHEMA.into());
        ends_become_nodes(document);
    }
    let steps = document["steps"].as_array_mut();
    for step in steps.into_iter().flatten().filter_map(Value::as_object_mut) {
        lanes_name_their_flow(step)?;
        intervals_become_series(step)?;
        directions_become_flows(step)?;
    }
    Ok(document)
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

/// Lanes of both directions of a stream stood one after the other, the outward ones first.
fn lanes_name_their_flow(step: &mut Map<String, Value>) -> serde_json::Result<()> {
    let spec: Option<StepSpec> = part(step, "spec")?;
    let both = spec
        .as_ref()
        .and_then(StepSpec::travels)
        .filter(|(kind, traffic)| kind.is_bulk() && traffic.direction == Direction::Both);
    let outward = both.map_or(u32::MAX, |(_, traffic)| traffic.lanes);
    for lane in step.get_mut("lanes").and_then(Value::as_array_mut).into_iter().flatten() {
        let inward = lane["lane"].as_u64().is_some_and(|number| number >= u64::from(outward));
        if let Some(lane) = lane.as_object_mut() {
            lane.insert("flow".into(), u16::from(inward).into());
        }
    }
    Ok(())
}

/// Each slice of each lane was an object of its own.
fn intervals_become_series(step: &mut Map<String, Value>) -> serde_json::Result<()> {
    let Some(intervals) = step.remove("intervals") else { return Ok(()) };
    let intervals: Vec<Interval> = typed(&intervals)?;
    let lanes: Vec<LaneResult> = part(step, "lanes")?.unwrap_or_default();
    step.insert("series".into(), value_of(&series::sum(&lanes, &intervals))?);
    Ok(())
}

/// Figures of both directions stood in one summary: rates of each, and the rest summed. Round trips both ways were merged
/// and stay so.
fn directions_become_flows(step: &mut Map<String, Value>) -> serde_json::Result<()> {
    let mut rates = [[None; 2]; 2];
    if let Some(summary) = step.get_mut("summary").and_then(Value::as_object_mut) {
        for (flow, way) in ["out", "in"].into_iter().enumerate() {
            let names =
                [format!("goodput_{way}_bits_per_s"), format!("goodput_worst_second_{way}_bits_per_s")];
            rates[flow] = names.map(|name| summary.remove(&name).as_ref().and_then(Value::as_u64));
        }
    }
    let Some(spec) = part::<StepSpec>(step, "spec")? else { return Ok(()) };
    let summary: Summary = part(step, "summary")?.unwrap_or_default();
    let lanes: Vec<LaneResult> = part(step, "lanes")?.unwrap_or_default();
    let mut flows = Flow::of(&spec);
    let streams = spec.kind().traits().bulk;
    match &mut flows[..] {
        [] => return Ok(()),
        [only] => only.summary = summary,
        both if streams => {
            for ((number, flow), [goodput, worst]) in (0u16..).zip(both).zip(rates) {
                let own: Vec<&LaneResult> = lanes.iter().filter(|lane| lane.flow == number).collect();
                flow.count(&own);
                flow.summary.goodput_bits_per_s = goodput;
                flow.summary.goodput_worst_second_bits_per_s = worst;
            }
        }
        [merged, ..] => {
            merged.name = Direction::Both.name().into();
            merged.lanes = merged.lanes.saturating_mul(2);
            merged.summary = summary;
            flows.truncate(1);
        }
    }
    step.insert("summary".into(), value_of(&flows[0].summary)?);
    step.insert("flows".into(), value_of(&flows)?);
    Ok(())
}

/// A part of a step; `None` where it is absent or `null`.
fn part<T: DeserializeOwned>(step: &Map<String, Value>, name: &str) -> serde_json::Result<Option<T>> {
    let value = step.get(name).filter(|value| !value.is_null());
    value.map(typed).transpose()
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

    fn lifted_step(step: Value) -> crate::Step {
        let mut doc = serde_json::to_value(ResultDoc::new(crate::Tool::default(), "then")).unwrap();
        (doc["schema"], doc["steps"]) = (SCHEMA_1.into(), json!([step]));
        read(&serde_json::to_vec(&doc).unwrap()).unwrap().steps.remove(0)
    }

    fn both(kind: &str, lanes: Value, summary: Value) -> Value {
        let slice = |end: &str, lane: u32, sent: u64, received: u64| {
            json!({ "end": end, "lane": lane, "start_ns": 0, "length_ns": 100_000_000, "sent_bytes": sent,
                    "received_bytes": received, "messages": 1 })
        };
        json!({
            "kind": kind, "name": "both ways", "over": "tcp", "direction": "both", "started_ns": 0,
            "elapsed_ns": 1, "error": null, "spec": { "kind": kind, "direction": "both", "lanes": 1 },
            "summary": summary, "lanes": lanes,
            "intervals": [slice("client", 0, 7, 0), slice("client", 1, 0, 9), slice("server", 0, 6, 5)],
        })
    }

    #[test]
    fn both_directions_of_version_1_are_two_flows() {
        let lane = |lane: u32, end: &str, role: &str, bytes: u64| {
            json!({ "lane": lane, "end": end, "role": role, "bytes": bytes, "messages": 2, "window_ns": 10,
                    "retransmits": lane + 1 })
        };
        let lanes = json!([
            lane(0, "client", "send", 100),
            lane(1, "client", "receive", 300),
            lane(0, "server", "receive", 90),
            lane(1, "server", "send", 310)
        ]);
        let summary = json!({
            "goodput_bits_per_s": 50, "goodput_out_bits_per_s": 20, "goodput_in_bits_per_s": 30,
            "goodput_worst_second_out_bits_per_s": 1, "goodput_worst_second_in_bits_per_s": 2,
            "bytes": 390, "retransmits": 6,
        });
        let step = lifted_step(both("stream", lanes, summary));
        let figures = |flow: &Flow| {
            let summary = &flow.summary;
            let rates = (summary.goodput_bits_per_s, summary.goodput_worst_second_bits_per_s);
            (flow.name.clone(), rates, summary.bytes, summary.retransmits)
        };
        let flows: Vec<_> = step.flows.iter().map(figures).collect();
        let out = ("out".to_owned(), (Some(20), Some(1)), Some(90), Some(2));
        let inward = ("in".to_owned(), (Some(30), Some(2)), Some(300), Some(4));
        assert_eq!(flows, [out, inward]);
        assert_eq!(step.summary, step.flows[0].summary);
        assert_eq!(step.total(|flow| flow.goodput_bits_per_s), Some(50));
        let series: Vec<_> = step.series.iter().map(|s| (s.flow, s.node.0, s.sent_bytes.len())).collect();
        assert_eq!(series, [(0, 0, 1), (0, 1, 0), (1, 0, 0)]);
        let carried: u64 = step.series.iter().flat_map(crate::Series::carried).map(|slice| slice.bytes).sum();
        assert_eq!(carried, 5 + 9);
    }

    #[test]
    fn round_trips_both_ways_stay_merged_because_nobody_can_part_them() {
        let summary = json!({ "messages": 4, "goodput_out_bits_per_s": null });
        let step = lifted_step(both("pingpong", json!([]), summary));
        assert_eq!(step.flows.len(), 1);
        assert_eq!((step.flows[0].name.as_str(), step.summary.messages), ("both", Some(4)));
    }
}
