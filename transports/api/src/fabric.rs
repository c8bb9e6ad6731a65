//! What an RDMA port speaks.

/// What carries the RDMA protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fabric {
    /// An InfiniBand network.
    InfiniBand,
    /// RDMA over Converged Ethernet.
    Roce,
    /// RDMA over TCP.
    Iwarp,
    /// Something this program does not know.
    #[default]
    Unknown,
}

impl Fabric {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Fabric::InfiniBand => "InfiniBand",
            Fabric::Roce => "RoCE",
            Fabric::Iwarp => "iWARP",
            Fabric::Unknown => "unknown",
        }
    }
}
