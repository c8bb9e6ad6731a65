//! The NIC that a step about contention is made without.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the NIC that a step is made without: its link was down while the step ran, or it was only left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LostNic {
    /// The NIC of the client.
    pub nic: String,
    /// Whether its link was down. Where it was not, nothing of the step went over it all the same.
    pub taken_down: bool,
    /// Why it was not, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl LostNic {
    /// As people read it.
    pub fn words(&self) -> String {
        match &self.reason {
            Some(why) if !self.taken_down => {
                format!("{} is left out, and its link stays up: {why}", self.nic)
            }
            _ => format!("the link of {} is down meanwhile", self.nic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_stays_up_says_why() {
        let lost = LostNic { nic: "eth1".into(), taken_down: true, reason: None };
        assert_eq!(lost.words(), "the link of eth1 is down meanwhile");
        let kept = LostNic { taken_down: false, reason: Some("it is needed".into()), ..lost };
        assert_eq!(kept.words(), "eth1 is left out, and its link stays up: it is needed");
        let read: LostNic = serde_json::from_str(r#"{"nic":"eth1","more":7}"#).unwrap();
        assert!(!read.taken_down, "what a document does not say was not done");
    }
}
