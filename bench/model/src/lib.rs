//! Values of a pathproof run, and nothing that does anything: the plan, the result document, findings,
//! criteria and the judge.
//!
//! **Invariant**: no socket, no clock, no thread. A result document can be read, judged and rendered a year
//! later on another machine.
#![forbid(unsafe_code)]

pub mod channels;
pub mod command;
pub mod compare;
pub mod connections;
pub mod contend;
pub mod criteria;
pub mod differences;
pub mod end;
pub mod environment;
pub mod evidence;
pub mod expect;
pub mod figures;
pub mod file;
pub mod finding;
pub mod flow;
pub mod flow_spec;
pub mod glossary;
pub mod grant;
pub mod half;
pub mod histogram;
pub mod json;
pub mod judge;
pub mod kind;
pub mod ladder;
mod lane;
pub mod lift;
pub mod lldp;
pub mod load;
pub mod loss;
pub mod mesh;
pub mod migrate;
pub mod mtu;
pub mod multi;
pub mod networks;
pub mod node;
pub mod numbers;
pub mod offloads;
pub mod over;
pub mod plan;
pub mod ports;
pub mod rdma;
pub mod request;
pub mod result;
pub mod revision;
pub mod series;
pub mod share;
pub mod smb;
pub mod soak;
pub mod state;
pub mod step_error;
pub mod stream;
pub mod subject;
mod typed_options;
pub mod typed_units;
pub mod units;
pub mod verb;
pub mod verdict;
pub mod wires;
mod words;

pub use channels::{
    Answer, ChannelPair, ChannelRule, Channels, ChannelsSpec, PacketPath, PacketPathKind, PairPath, Side,
    UnusedNic,
};
pub use command::CommandName;
pub use connections::Connections;
pub use contend::{
    ArrivedPriority, BeatsEnd, ClassFigures, ClassMark, ContendAdvice, ContendCost, ContendDetail,
    ContendPhase, ContendSpec, ContendTried, LostNic, PhaseName, RdmaMarks,
};
pub use criteria::Criteria;
pub use differences::{HostDifference, Weight};
pub use end::End;
pub use environment::{Environment, Nic, NicAddress, RdmaDevice, SrIov};
pub use evidence::{Connection, ConnectionCounts, Evidence, NicActivity, NicCounts, TcpCounts, Unreadable};
pub use expect::Expect;
pub use file::{
    DirectChannel, DirectKeys, FileDetail, FileDirect, FileOrder, FileOver, FileRate, FileSpec, KeyOf,
};
pub use finding::{Finding, Severity, told};
pub use flow::{Class, Flow, Pattern, Span};
pub use flow_spec::{BESIDE_MAX, FlowSpec, OneFlow, PlannedLane};
pub use grant::Grant;
pub use half::{HalfDetail, NicEvidence, NicFailure, SearchedPath};
pub use histogram::{HistogramName, HistogramRecord};
pub use judge::{BothWays, LoadedDelay, both_ways, loaded_delays};
pub use judge::{conclusion, judge, judge_into};
pub use kind::{KindTraits, Probes, StepKind, TrafficKind, Trips};
pub use ladder::{Branch, Rung, RungName, RungProof};
pub use lane::{LaneRole, Silence};
pub use lldp::SwitchPort;
pub use load::{HostLoad, Waited};
pub use loss::{
    ArrivedMark, BoundedShare, BufferTrial, DelayVariation, LossCounts, LossEnd, LossFlow, LossMark,
    LossPath, LossPlace, LossProbe, LossShares, LossSpec, PacketBuffer, PacketRate, RateTrial,
    ReceivedStrand, SentFlow,
};
pub use migrate::{MigrateDetail, MigrateSpec};
pub use mtu::{FragmentsTried, MtuLimit, MtuMethod, MtuPath, MtuRoute, MtuRouter, MtuTried};
pub use multi::{AloneNic, AloneSum, Failover, NicShare, PathRecord, StripeRecord};
pub use networks::{
    IfLost, MigrationLoss, Network, NetworkIscsi, NetworkLoss, NetworkNic, NetworkRole, NetworksSpec,
};
pub use node::{ClockOffset, Node, NodeId, NodeSpec, WallStamps};
pub use numbers::Numbers;
pub use offloads::{Offload, OffloadEnd, OffloadSet, OffloadTrial, OffloadTried, OffloadWay};
pub use plan::{Direction, Limits, MtuSpec, Plan, ReachSpec, RequestLoad, StepSpec, TrafficSpec};
pub use ports::{
    AnsweredBy, AskedPort, DatagramsRecord, LeftSilent, NetworkPorts, OpenedAtOnce, OpenedRecord, Port,
    PortAnswer, PortDatagrams, PortRecord, PortsEnd, PortsList, PortsSpec, PortsWhere, Role, SilentRecord,
};
pub use rdma::{AdapterRecord, Carrier, Fabric, RdmaEnd, RdmaProof};
pub use request::{PlanRequest, StepRequest};
pub use result::{
    ErrorCause, ErrorKind, FollowUp, Half, LaneResult, LatencySummary, ResultDoc, Step, StepError, Summary,
    Tool,
};
pub use series::{Interval, Series};
pub use share::Share;
pub use smb::{ObtainedBy, SmbAttempt, SmbInterface, SmbServer, SmbSpec};
pub use state::{ExpectedState, HostState};
pub use subject::Subject;
pub use verb::Verb;
pub use verdict::{Check, Conclusion, Outcome, RunOutcome, Unit, Verdict};
pub use wires::{WireAnswer, Wires};
