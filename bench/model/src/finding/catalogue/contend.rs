//! Classes of traffic that share a path.

use super::{Entry, Info, Warning, entry};

pub(super) const CONTENTION: &[Entry] = &[
    entry(
        "CONTEND-STORAGE-STARVED",
        Warning,
        "While migrations run, storage on the same path gets less than it needs: guests wait for their disks whenever a host is drained.",
        "Cap migrations (Set-SmbBandwidthLimit -Category LiveMigration -BytesPerSecond), reserve a part of the link for storage (ETS), or give migrations NICs of their own.",
    ),
    entry(
        "CONTEND-CAP-HIGH",
        Warning,
        "Migrations keep to their cap and storage is still short of the path: the cap is higher than what the path has to spare.",
        "Lower the cap of live migrations to the advised figure, and where a host has several NICs, to what is left when one of them dies.",
    ),
    entry(
        "CONTEND-CAP-LOW",
        Info,
        "Migrations are held to less than half of what the path has to spare: a host takes longer to drain than it must.",
        "Raise the cap of live migrations to the advised figure, unless somebody else needs the path.",
    ),
    entry(
        "CONTEND-CAP-NIC-LOST",
        Warning,
        "The cap of migrations leaves storage what it needs while all NICs work, and starves it when one of them is lost: the cap was computed for all of them.",
        "Lower the cap to what is advised without that NIC: it is a figure in bytes per second and does not follow the links.",
    ),
    entry(
        "CONTEND-CAP-IDLE",
        Info,
        "The cap of migrations is right beside storage, and while storage is silent it leaves most of the path to nobody.",
        "Where NICs and switches have DCB, reserve storage's part of the link (ETS) instead: then migrations may have what storage does not use. By SMB they are of one class with it; those by TCP or with compression are not.",
    ),
    entry(
        "PACKET-RATE-LIMIT",
        Warning,
        "Above this many packets a second some are lost, however small they are: many small requests meet this limit long before the link is full.",
        "See where they are lost, and give that more room; where it is nobody's queue, ask for the limit of the virtual switch or the cloud's allowance.",
    ),
    entry(
        "PACKET-BUFFER-SHORT",
        Warning,
        "At this packet rate some packets are lost with the largest receive buffer that the receiver's kernel gives, at the length of sleep that was rehearsed.",
        "Give more room where they are lost: net.core.rmem_max for the socket, netdev_max_backlog, the ring of the NIC or the VMBus receive buffer before it.",
    ),
    entry(
        "CONTEND-CONCURRENCY",
        Info,
        "Of the numbers of migrations at once that were tried, this one empties a host soonest and leaves storage what it needs.",
        "Set it on every host (Set-VMHost -MaximumVirtualMachineMigrations), and in a cluster as its MaximumParallelMigrations.",
    ),
    entry(
        "CONTEND-NO-ROOM",
        Warning,
        "Storage by itself needs what the path carries, so no cap makes room for migrations.",
        "Give migrations or storage NICs of their own, or a faster path; check the rate that was assumed for storage (--storage).",
    ),
    entry(
        "CONTEND-HEARTBEAT-LOST",
        Warning,
        "Heartbeats between the hosts are lost under load: after five in a row a cluster takes a healthy host for dead and moves its guests.",
        "Give heartbeats a network, or a traffic class of their own (priority 7, 1 or 2 % of the link), and cap what fills the path.",
    ),
    entry(
        "LOSSLESS-DISCARDS",
        Warning,
        "While the classes shared the path an adapter threw packets away of a priority that is to be paused instead (SMB Direct, PFC): RDMA sends everything again from there on, and storage waits for that.",
        "Let NICs and every switch port of the path pause the same priority, and give that class headroom for what is on the wire when a pause is asked for; then run again.",
    ),
];
