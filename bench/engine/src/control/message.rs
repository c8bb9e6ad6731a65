//! The messages of the control protocol: a tag byte and a JSON body each.

use pathproof_model::{
    Environment, ErrorCause, ErrorKind, Finding, Grant, Limits, PlanRequest, StepError, StepRequest, Tool,
    WallStamps,
};
use serde::{Deserialize, Serialize};

use super::{HalfPiece, StepMessage};

/// Everything that can be said.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Client: who I am and what I mean to do.
    Hello(Hello),
    /// Server: granted, and who I am.
    Accept(Accept),
    /// Server: refused, with all reasons.
    Reject(Reject),
    /// Client: the step that ended, if any, and the step to go on with, if any.
    Turn(Turn),
    /// Server: the same from its end.
    Turned(Turned),
    /// Server, before TURNED: a piece of its half of the step that ended.
    HalfPiece(HalfPiece),
    /// Client: so many pieces of that half have come.
    HalfTaken {
        /// Which step.
        step: u32,
        /// How many.
        taken: u32,
    },
    /// Either: from one half of the running step to the other.
    Step {
        /// Which step.
        step: u32,
        /// What.
        body: StepMessage,
    },
    /// Either: my part of the running step failed; do not wait for me.
    Fail {
        /// Which step.
        step: u32,
        /// Why.
        error: StepError,
    },
    /// Client, first on a new connection: I come back to this session, whose connection was lost.
    Resume(Resume),
    /// Server, first on that connection: so many of your messages have come; what is missing follows.
    Resumed {
        /// Messages of the client that came before the loss.
        seen: u32,
    },
    /// Either: I am leaving, for this reason.
    Bye {
        /// Empty when all is well.
        reason: String,
        /// What sort of reason, where it is not that the one who says so is going away.
        kind: Option<ErrorKind>,
        /// How the connection ended for the one who says so, where that is known.
        cause: Option<ErrorCause>,
    },
}

/// Client's greeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The client's build.
    pub tool: Tool,
    /// What the plan needs of the server, as far as it is known at the start.
    pub plan: PlanRequest,
    /// The client's host.
    pub environment: Environment,
}

/// Server's consent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    /// The server's build.
    pub tool: Tool,
    /// What the server's limits allow of each step, in the order asked.
    pub granted: Vec<Grant>,
    /// Those limits.
    pub limits: Limits,
    /// The server's host.
    pub environment: Environment,
    /// What the server noticed of its host.
    pub findings: Vec<Finding>,
    /// Secret of this session, hexadecimal; data lanes prove that they know it.
    pub session: String,
    /// What the server's wall clock said when it heard the greeting and when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<WallStamps>,
}

/// Server's refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Every reason, not only the first.
    pub reasons: Vec<String>,
}

/// A client that comes back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// What only the two ends of the session can know, hexadecimal.
    pub token: String,
    /// Messages of the server that came before the loss.
    pub seen: u32,
}

impl std::fmt::Debug for Resume {
    /// Leaves the token out: it opens the session for as long as it lasts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resume").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// What the client wants next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Which step ended (its number), and whether the client's end failed.
    pub ended: Option<u32>,
    /// The step to go on with.
    pub go: Option<Go>,
}

/// A step to begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Go {
    /// Its number.
    pub step: u32,
    /// The server's part in it.
    pub request: StepRequest,
    /// Over several NICs: for each path of a lane the index of the server's interface that it leads to, 0 where that
    /// is not known.
    pub paths: Vec<u32>,
    /// The client's offers, one for each lane, base64.
    pub offers: Vec<String>,
}

/// The server's side of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turned {
    /// How many pieces the server's half of the step that ended was; they have gone before.
    pub half: Option<u32>,
    /// Readiness for the step to go on with.
    pub ready: Option<Ready>,
}

/// The server's readiness for a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Its number.
    pub step: u32,
    /// The server's offers, one for each lane, base64.
    pub offers: Vec<String>,
    /// Why the server cannot, if it cannot; then there are no offers.
    pub error: Option<StepError>,
    /// What the server noticed while preparing.
    pub findings: Vec<Finding>,
}

#[derive(Serialize, Deserialize)]
struct StepBody {
    step: u32,
    body: StepMessage,
}

#[derive(Serialize, Deserialize)]
struct FailBody {
    step: u32,
    error: StepError,
}

#[derive(Serialize, Deserialize)]
struct HalfTakenBody {
    step: u32,
    taken: u32,
}

#[derive(Serialize, Deserialize)]
struct ResumedBody {
    seen: u32,
}

#[derive(Serialize, Deserialize)]
struct ByeBody {
    reason: String,
    #[serde(default)]
    kind: Option<ErrorKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<ErrorCause>,
}

impl Message {
    /// Tag and JSON body.
    pub fn encode(&self) -> Result<(u8, Vec<u8>), serde_json::Error> {
        Ok(match self {
            Message::Hello(m) => (1, serde_json::to_vec(m)?),
            Message::Accept(m) => (2, serde_json::to_vec(m)?),
            Message::Reject(m) => (3, serde_json::to_vec(m)?),
            Message::Turn(m) => (4, serde_json::to_vec(m)?),
            Message::Turned(m) => (5, serde_json::to_vec(m)?),
            Message::Step { step, body } => {
                (6, serde_json::to_vec(&StepBody { step: *step, body: body.clone() })?)
            }
            Message::Fail { step, error } => {
                (7, serde_json::to_vec(&FailBody { step: *step, error: error.clone() })?)
            }
            Message::Bye { reason, kind, cause } => {
                (8, serde_json::to_vec(&ByeBody { reason: reason.clone(), kind: *kind, cause: *cause })?)
            }
            Message::Resume(m) => (9, serde_json::to_vec(m)?),
            Message::Resumed { seen } => (10, serde_json::to_vec(&ResumedBody { seen: *seen })?),
            Message::HalfPiece(m) => (11, serde_json::to_vec(m)?),
            Message::HalfTaken { step, taken } => {
                (12, serde_json::to_vec(&HalfTakenBody { step: *step, taken: *taken })?)
            }
        })
    }

    /// From tag and body, with what the other end says of itself brought within bounds; the error says what was wrong.
    pub fn decode(tag: u8, body: &[u8]) -> Result<Message, String> {
        let mut message = Message::read(tag, body)?;
        super::bounds::message(&mut message);
        Ok(message)
    }

    fn read(tag: u8, body: &[u8]) -> Result<Message, String> {
        fn read<'a, T: Deserialize<'a>>(name: &str, body: &'a [u8]) -> Result<T, String> {
            serde_json::from_slice(body).map_err(|e| format!("a {name} message cannot be read: {e}"))
        }
        Ok(match tag {
            1 => Message::Hello(read("HELLO", body)?),
            2 => Message::Accept(read("ACCEPT", body)?),
            3 => Message::Reject(read("REJECT", body)?),
            4 => Message::Turn(read("TURN", body)?),
            5 => Message::Turned(read("TURNED", body)?),
            6 => read("STEP", body).map(|StepBody { step, body }| Message::Step { step, body })?,
            7 => read("FAIL", body).map(|FailBody { step, error }| Message::Fail { step, error })?,
            8 => read("BYE", body).map(|ByeBody { reason, kind, cause }| Message::Bye {
                reason,
                kind,
                cause,
            })?,
            9 => Message::Resume(read("RESUME", body)?),
            10 => read("RESUMED", body).map(|ResumedBody { seen }| Message::Resumed { seen })?,
            11 => Message::HalfPiece(read("HALF-PIECE", body)?),
            12 => read("HALF-TAKEN", body)
                .map(|HalfTakenBody { step, taken }| Message::HalfTaken { step, taken })?,
            other => return Err(format!("unknown message tag {other}")),
        })
    }

    /// Its name, for errors and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "HELLO",
            Message::Accept(_) => "ACCEPT",
            Message::Reject(_) => "REJECT",
            Message::Turn(_) => "TURN",
            Message::Turned(_) => "TURNED",
            Message::Step { .. } => "STEP",
            Message::Fail { .. } => "FAIL",
            Message::Resume(_) => "RESUME",
            Message::Resumed { .. } => "RESUMED",
            Message::Bye { .. } => "BYE",
            Message::HalfPiece(_) => "HALF-PIECE",
            Message::HalfTaken { .. } => "HALF-TAKEN",
        }
    }
}
