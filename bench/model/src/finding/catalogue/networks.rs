//! The networks of a cluster.

use super::Severity::{Error, Info, Warning};
use super::{Entry, entry};

pub(super) const NETWORKS: &[Entry] = &[
    entry(
        "NETWORK-ONLY-ONE",
        Warning,
        "The hosts share one usable network only: when it is lost, heartbeat, storage traffic and migrations all stop, and the cluster takes the other host for dead.",
        "Connect a second pair of NICs in a subnet of its own, or bring up the one that is down.",
    ),
    entry(
        "NETWORK-TAKEN-DOWN",
        Info,
        "A network was taken down on purpose, for three seconds, to see how soon the others take over.",
        "Nothing; the NIC is up again. What the loss came to stands beside the network.",
    ),
    entry(
        "NETWORK-REDIRECT-SLOW",
        Error,
        "When a network is lost, nothing arrives over the others for longer than a cluster waits for a host: it is given up and its guests move.",
        "See over which network what waited had to come (pathproof check PEER on each): one that is slow to answer, or on which neighbours have to be found again, holds the others up.",
    ),
    entry(
        "NETWORK-MIGRATION-PUBLIC",
        Warning,
        "By the default order live migrations go first over the network that clients and management use, because the network with the lowest metric is kept for heartbeat and storage and comes last.",
        "Choose the migration networks and their order in Failover Cluster Manager (Networks, Live Migration Settings), or exclude the public one: Get-ClusterResourceType \"Virtual Machine\" | Set-ClusterParameter MigrationExcludeNetworks ID.",
    ),
    entry(
        "NETWORK-ROUTED",
        Warning,
        "The hosts reach one another over gateways instead of in one subnet: a cluster takes each of the two subnets for a network of its own that one host alone has, and heartbeats, storage traffic and migrations hang on the routers.",
        "Give the NICs of both hosts addresses in one subnet, in one VLAN. Where sites have to be apart, give the cluster the patience for it (CrossSubnetDelay, CrossSubnetThreshold) and measure the way: pathproof check PEER.",
    ),
    entry(
        "NETWORK-MIGRATION-ISCSI",
        Warning,
        "iSCSI goes over a network that both hosts share, and a cluster uses every network that it has: a live migration there takes the link from the storage of all guests.",
        "Take the network out of the cluster's hands (its role \"None\") and out of the migration networks, and keep its NICs for iSCSI alone: (Get-ClusterNetwork NAME).Role = 0.",
    ),
    entry(
        "NETWORK-PORT-CLOSED",
        Warning,
        "A port that a cluster or a live migration needs does not pass on one of the networks that the hosts share: what goes over that network stops there, and where another one fails it takes nothing over.",
        "Let the port pass in the firewalls of both hosts, which may have another profile for each network (nft list ruleset; Get-NetConnectionProfile, Get-NetFirewallRule), or keep the cluster from that network.",
    ),
    entry(
        "NETWORK-SHARES-NIC",
        Warning,
        "Two networks of the cluster go over one NIC of a host: they look like two ways between the hosts, and die together.",
        "Move one of them to a NIC of its own, or count them as one when redundancy is planned.",
    ),
    entry(
        "NETWORK-VLANS-SHARE-NIC",
        Warning,
        "Networks that are meant to be apart are VLANs of one NIC of a host: what one of them sends takes the link from the others, and they die together.",
        "Give one of the roles a NIC of its own. Where they have to share it, give each a share of the link (ETS, a bandwidth limit for migrations) and count them as one when redundancy is planned; pathproof contend PEER shows what sharing costs.",
    ),
    entry(
        "HOSTS-DIFFER",
        Warning,
        "The two hosts are set differently in something that must agree: packets are lost in one direction, or one end pauses what the other drops.",
        "Set both hosts alike; what differs, at which NICs and how, stands in the list of differences.",
    ),
    entry(
        "SWITCH-FRAME-SHORT",
        Warning,
        "The switch says of the port that it takes shorter frames than the NIC sends: full packets are lost there.",
        "Raise the MTU of the port and of its VLAN (9216 is what most switches call jumbo frames), or lower that of the NICs on the network.",
    ),
    entry(
        "SWITCH-DCB-DIFFERS",
        Warning,
        "The switch does with priorities something else than the NIC on its port, or than any port should: what is meant to be without loss is dropped under load.",
        "Set PFC, the ETS shares and the priorities of SMB Direct alike on the hosts and on every port of the path.",
    ),
    entry(
        "NIC-DCB-ODD",
        Warning,
        "A NIC does with priorities what none should: more than one class is without loss, shares do not sum to 100, heartbeats hold more than they need, or SMB Direct has a priority that is dropped or that no switch expects.",
        "Set PFC, the ETS shares and the priority of SMB Direct on this host as on every port of the path (mlnx_qos, dcb; Enable-NetQosFlowControl, New-NetQosTrafficClass).",
    ),
    entry(
        "NETWORK-TWO-NICS",
        Warning,
        "Several NICs of a host lie in one subnet: a cluster counts them as one network and uses one of the NICs.",
        "Give each NIC a subnet of its own, or team them.",
    ),
    entry(
        "NETWORK-SUBNETS-OVERLAP",
        Warning,
        "Two NICs of a host lie in subnets of which one is a part of the other: what is sent to the wider one leaves by the NIC of the narrower one where both have the address, so the two are no networks apart.",
        "Give one of the NICs a subnet that has no address in common with the other's; correct the prefix where it is a slip.",
    ),
];
