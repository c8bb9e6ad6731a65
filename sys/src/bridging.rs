//! Data center bridging (IEEE 802.1Qaz): which priorities are protected by PFC, how ETS shares the link, and which traffic gets
//! which priority.

pub use crate::system::bridging::of;

/// What the driver of an interface tells. A part that it does not tell is `None`, never "off".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridging {
    /// Priority flow control.
    pub flow_control: Option<FlowControl>,
    /// Enhanced transmission selection.
    pub selection: Option<Selection>,
    /// Priorities by application.
    pub applications: Option<Vec<Application>>,
}

/// Priority flow control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowControl {
    /// Priorities that are never dropped for want of buffers.
    pub enabled_priorities: Vec<u8>,
    /// How many classes the adapter can protect.
    pub classes_max: Option<u8>,
}

/// Enhanced transmission selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Share of the link, by class.
    pub bandwidth_percent: Vec<u8>,
    /// How a class is served, by class, as IEEE 802.1Q numbers it: 0 before all others, 2 by its share …
    pub algorithms: Vec<u8>,
    /// The class of each priority.
    pub class_of_priority: Vec<u8>,
}

/// What sorts of traffic are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// The type in an Ethernet header.
    EtherType,
    /// A port of TCP or SCTP.
    StreamPort,
    /// A port of UDP or DCCP.
    DatagramPort,
    /// A port of any of them.
    Port,
    /// The mark in an IP header.
    Dscp,
    /// Something that the system has a number for and this build no name.
    #[default]
    Unknown,
}

/// The priority of one sort of traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// What `protocol` is a number of.
    pub selector: Selector,
    /// The number.
    pub protocol: u16,
    /// The priority.
    pub priority: u8,
}
