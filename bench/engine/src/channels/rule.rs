//! The rules that choose or exclude a pair, each with its sentence and the numbers of the case.

use pathproof_model::ChannelRule;

/// Why a pair is used or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Chosen: one of the fastest pairs of the best class.
    Best {
        /// Name of the class.
        class: &'static str,
    },
    /// Chosen by cifs.ko with this weight.
    Weighted {
        /// Its speed as a multiple of the slowest's.
        weight: u64,
    },
    /// Chosen because the user named it.
    Named,
    /// Chosen as the mount's own connection although Multichannel adds none.
    OnlyConnection,
    /// The local NIC is outside the constraint.
    Constrained,
    /// The server gave the NIC index 0.
    RemoteUnindexed,
    /// The local NIC cannot carry anything.
    LocalUnusable(String),
    /// The remote NIC cannot carry anything.
    RemoteUnusable(String),
    /// The server's NIC has a routable address, so its link-local one is dropped.
    RemoteLinkLocal,
    /// The local NIC has a routable address, so its link-local one is not used.
    LocalLinkLocal,
    /// One end has only a link-local address, the other a routable one.
    LinkLocalMismatch,
    /// No subnet and no route of the local NIC covers the remote address.
    Unreachable,
    /// The same two NICs have a better pair of addresses.
    BetterAddress {
        /// That pair, as text.
        better: String,
    },
    /// Another class outranks it.
    ClassOutranked {
        /// Class of this pair.
        class: &'static str,
        /// The better one.
        by: &'static str,
    },
    /// A faster pair of the class exists.
    Slower {
        /// Speed of this pair, in words.
        speed: String,
        /// Speed of the fastest, in words.
        fastest: String,
    },
    /// Both NICs are in use through other pairs.
    Spread,
    /// All connections are spent.
    ConnectionLimit {
        /// How many there are.
        limit: u32,
    },
    /// The system's route to the remote address leaves by another NIC.
    RoutedElsewhere {
        /// That NIC.
        by: String,
    },
    /// cifs.ko does not mix RDMA and TCP.
    RdmaNotMixed {
        /// Whether the mount is over RDMA.
        mount_is_rdma: bool,
    },
    /// Not among the pairs named by the user.
    NotNamed,
}

impl Rule {
    /// What stands in results of it.
    pub fn name(&self) -> ChannelRule {
        match self {
            Rule::Best { .. } => ChannelRule::Best,
            Rule::Weighted { .. } => ChannelRule::Weighted,
            Rule::Named => ChannelRule::Named,
            Rule::OnlyConnection => ChannelRule::OnlyConnection,
            Rule::Constrained => ChannelRule::Constrained,
            Rule::RemoteUnindexed => ChannelRule::RemoteUnindexed,
            Rule::LocalUnusable(_) => ChannelRule::LocalUnusable,
            Rule::RemoteUnusable(_) => ChannelRule::RemoteUnusable,
            Rule::RemoteLinkLocal => ChannelRule::RemoteLinkLocal,
            Rule::LocalLinkLocal => ChannelRule::LocalLinkLocal,
            Rule::LinkLocalMismatch => ChannelRule::LinkLocalMismatch,
            Rule::Unreachable => ChannelRule::Unreachable,
            Rule::BetterAddress { .. } => ChannelRule::BetterAddress,
            Rule::ClassOutranked { .. } => ChannelRule::ClassOutranked,
            Rule::Slower { .. } => ChannelRule::Slower,
            Rule::Spread => ChannelRule::Spread,
            Rule::ConnectionLimit { .. } => ChannelRule::ConnectionLimit,
            Rule::RoutedElsewhere { .. } => ChannelRule::RoutedElsewhere,
            Rule::RdmaNotMixed { .. } => ChannelRule::RdmaNotMixed,
            Rule::NotNamed => ChannelRule::NotNamed,
        }
    }

    /// Whether it chooses; all others exclude.
    pub fn chooses(&self) -> bool {
        matches!(self, Rule::Best { .. } | Rule::Weighted { .. } | Rule::Named | Rule::OnlyConnection)
    }

    /// The rule as a sentence without its full stop.
    pub fn sentence(&self) -> String {
        match self {
            Rule::Best { class } => format!("among the fastest pairs of the best class ({class})"),
            Rule::Weighted { weight: 1 } => "cifs.ko uses every NIC of the class; weight 1".into(),
            Rule::Weighted { weight } => {
                format!("cifs.ko uses every NIC of the class; weight {weight}, by speed over the slowest")
            }
            Rule::Named => "named by the user".into(),
            Rule::OnlyConnection => "the mount's own connection; Multichannel adds none to it".into(),
            Rule::Constrained => "its local NIC is outside the constraint".into(),
            Rule::RemoteUnindexed => "the server lists it with index 0, which clients skip".into(),
            Rule::LocalUnusable(why) => format!("the local NIC cannot be used: {why}"),
            Rule::RemoteUnusable(why) => format!("the remote NIC cannot be used: {why}"),
            Rule::RemoteLinkLocal => {
                "the server's NIC has a routable address, so its link-local one is dropped".into()
            }
            Rule::LocalLinkLocal => {
                "the local NIC has a routable address, so its link-local one is not used".into()
            }
            Rule::LinkLocalMismatch => {
                "one end has only a link-local address and the other a routable one".into()
            }
            Rule::Unreachable => "no subnet and no route of the local NIC covers the remote address".into(),
            Rule::BetterAddress { better } => format!("the same two NICs are better joined by {better}"),
            Rule::ClassOutranked { class, by } => {
                format!("it is {class}, and any {by} pair outranks it at any speed")
            }
            Rule::Slower { speed, fastest } => {
                format!("{speed} is below the fastest of its class ({fastest}), and slower members stay idle")
            }
            Rule::Spread => "both its NICs are in use through other pairs".into(),
            Rule::ConnectionLimit { limit } => {
                format!("all {limit} connections are spent on pairs before it")
            }
            Rule::RoutedElsewhere { by } => {
                format!(
                    "the system's route to the remote address leaves by {by}, and cifs.ko follows the route"
                )
            }
            Rule::RdmaNotMixed { mount_is_rdma: true } => {
                "cifs.ko never mixes: the mount is over RDMA, and this server NIC is not".into()
            }
            Rule::RdmaNotMixed { mount_is_rdma: false } => {
                "cifs.ko never mixes: the mount is over TCP, and it skips server NICs marked RDMA".into()
            }
            Rule::NotNamed => "not among the pairs named".into(),
        }
    }
}
