//! What the two halves of a running step say to each other.
//!
//! The list is closed: a body that is none of these makes its message unreadable, and the session ends with that in
//! words. A later revision says something new only to an end whose revision knows it.

use serde::{Deserialize, Serialize};

/// One thing that a half says to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum StepMessage {
    /// Server: all that this end needs is ready, and its lanes are connected.
    #[serde(rename = "lanes are up")]
    Up,
    /// Client, once the server is up and so is this end: both begin now.
    #[serde(rename = "start")]
    Start,
    /// Client: the step ends before its time. Server: it has heard so, and its lanes may be left.
    #[serde(rename = "ending")]
    Ending,
    /// Either: the last of this end's lanes that send is closed.
    #[serde(rename = "lanes are done")]
    Done,
    /// Server: a link at this end went down or came up.
    #[serde(rename = "link")]
    Link {
        /// The interface.
        nic: String,
        /// Whether it is up now.
        up: bool,
    },
    /// A round trip over the control connection: the client asks with a number, the server answers with the same.
    #[serde(rename = "ping")]
    Ping(u32),
    /// Either: this end's search for path MTUs is over, and it answers probes until the other's is.
    #[serde(rename = "searched")]
    Searched,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wire_is_what_the_protocol_says_and_nothing_else() {
        let page = include_str!("../../../../docs/PROTOCOL.md");
        let link = StepMessage::Link { nic: "eth1".into(), up: false };
        for (message, wire) in [
            (StepMessage::Up, json!("lanes are up")),
            (StepMessage::Start, json!("start")),
            (StepMessage::Ending, json!("ending")),
            (StepMessage::Done, json!("lanes are done")),
            (link, json!({ "link": { "nic": "eth1", "up": false } })),
            (StepMessage::Ping(7), json!({ "ping": 7 })),
            (StepMessage::Searched, json!("searched")),
        ] {
            // The page has an object by its key.
            let named = match wire.as_object().and_then(|fields| fields.keys().next()) {
                Some(key) => format!("{{\"{key}\": "),
                None => wire.to_string(),
            };
            assert!(page.contains(&format!("`{named}")), "docs/PROTOCOL.md does not name {wire}");
            assert_eq!(serde_json::to_value(&message).unwrap(), wire);
            assert_eq!(serde_json::from_value::<StepMessage>(wire).unwrap(), message);
        }
    }

    #[test]
    fn t15_anything_else_is_unreadable() {
        for wrong in [
            json!(null),
            json!("Start"),
            json!("lanes"),
            json!(["start"]),
            json!({ "ping": -1 }),
            json!({ "ping": 1, "pong": 2 }),
            json!({ "link": { "nic": "eth1" } }),
            json!({ "link": { "nic": "eth1", "up": true, "speed": 1 } }),
            json!({ "link": { "nic": ["eth1"], "up": true } }),
        ] {
            assert!(serde_json::from_value::<StepMessage>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
