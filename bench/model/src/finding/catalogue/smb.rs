//! SMB servers, several NICs, live migration.

use super::Severity::{Error, Info, Warning};
use super::{Entry, entry};

pub(super) const SERVERS_AND_CHANNELS: &[Entry] = &[
    // SMB servers and Multichannel.
    entry(
        "SMB-OLD-DIALECT",
        Error,
        "The server speaks no SMB 3: there is no Multichannel and no SMB Direct with it.",
        "Enable SMB 3 on the server, or use another one.",
    ),
    entry(
        "SMB-MULTICHANNEL-OFF",
        Error,
        "The server does not offer Multichannel: all traffic will use one connection, and SMB Direct is off with it.",
        "Turn it on (Windows: Set-SmbServerConfiguration -EnableMultiChannel $true; Samba: server multi channel support = yes).",
    ),
    entry(
        "SMB-RDMA-BYPASSED",
        Warning,
        "Signing or encryption is required and the server offers no RDMA transform: direct placement stops silently and data travels in small messages.",
        "Do not require signing or encryption on this traffic, or use a server with RDMA transforms (Windows Server 2022 or later).",
    ),
    entry(
        "SMB-DIRECT-ABSENT",
        Info,
        "Files go over TCP: SMB Direct is not there at one of the two ends.",
        "Where it is wanted, give both ends adapters with RDMA, and switch it on at both.",
    ),
    entry(
        "SMB-DIRECT-UNREACHABLE",
        Error,
        "Both ends have RDMA, and SMB Direct cannot be reached: clients silently fall back to TCP.",
        "Let port 445 (RoCE, InfiniBand) or 5445 (iWARP) pass, and check that the RDMA NICs of both ends reach each other.",
    ),
    entry(
        "SMB-SERVER-FAULT",
        Error,
        "The server breaks a rule of SMB in a way that is known by name.",
        "Update the server; until then do what the evidence says, or use another server.",
    ),
    entry(
        "SMB-CHANNEL-LOST",
        Error,
        "A channel of a session was lost and could not be made again: what it carried went over the others, which clients do silently.",
        "Look at the NIC, cable and addresses of that channel at both ends, then run again with that address alone (//ADDRESS/SHARE).",
    ),
    entry(
        "SMB-LATE-WRITE",
        Error,
        "After a channel was lost, data that had been written before came back: the server still carried out what it had been asked over the lost channel, and undid what was written since.",
        "Update the server: it must refuse what comes with the ChannelSequence of before; until then do not use Multichannel with it where a path can fall silent.",
    ),
    entry(
        "SMB-UNSIGNED-TAKEN",
        Warning,
        "The server demands signatures and takes requests without them: whoever is on the way can ask it for things in the name of others.",
        "Update the server; do not count on its signatures until then, and encrypt what must be safe.",
    ),
    entry(
        "SMB-MESSAGE-LIMIT",
        Warning,
        "The server says that it takes longer requests than its SMB Direct takes messages: clients that send data in messages must find the limit by themselves.",
        "Let data go by RDMA (no signing, no encryption, requests of 4 KiB and more), or keep requests below the limit in the evidence.",
    ),
    entry(
        "SMB-KEYS-LEFT",
        Warning,
        "The server was to end the memory keys of requests with its answers and did not, as far as the adapter tells: each cost this end a step of its own.",
        "Update the server, or do not ask it for that (leave --invalidate out); no data is at risk, because the keys were ended here.",
    ),
    entry(
        "SMB-DOWNGRADED",
        Error,
        "What the server says it had agreed on is not what its answer said: somebody on the way changed the negotiation.",
        "Look for a device or program between the two ends that answers for the server, and require 3.1.1 at both.",
    ),
    entry(
        "SMB-NIC-WITHOUT-RSS",
        Warning,
        "A NIC is listed without RSS: it gets one connection at most, and stays idle while any NIC with RSS is there.",
        "Enable RSS with more than one receive queue on that NIC, or keep it out of the storage network.",
    ),
    entry(
        "SMB-SPEEDS-UNEQUAL",
        Warning,
        "The listed NICs differ in speed: Windows clients use only the fastest of the best class, Linux clients use all by weight.",
        "Check with pathproof channels that the NICs meant for storage are the ones chosen.",
    ),
    entry(
        "SMB-LINK-LOCAL-ONLY",
        Warning,
        "A NIC is listed with a link-local address alone: only clients that have nothing else on that link will use it.",
        "Give the NIC a static address in a subnet of its own.",
    ),
    entry(
        "SMB-RDMA-NIC-NOT-LISTED",
        Warning,
        "No NIC of the server is offered with RDMA although this host has RDMA: traffic will be plain TCP.",
        "Check SMB Direct on the server (Windows: Get-SmbServerNetworkInterface, Get-NetAdapterRdma; team NICs hide RDMA).",
    ),
    entry(
        "SMB-ADDRESS-DEAD",
        Error,
        "The server lists an address over which a client of this host's networks would open a channel, and nobody takes connections there: clients try it again and again, and a NIC is idle.",
        "Let port 445 pass to that address (a firewall's zone or profile for that NIC; nft list ruleset; Get-NetFirewallProfile), let the server listen there, or take the address out of its list.",
    ),
    entry(
        "SMB-LIST-REFUSED",
        Info,
        "The server does not tell its NICs to this caller, so the pairs cannot be predicted.",
        "Give --user, --domain and --password-file of an account that may log on.",
    ),
    entry(
        "SMB-LOGON-REFUSED",
        Error,
        "The server refused the logon; no second attempt was made, so that the account is not locked.",
        "Check user, domain and password, then run the same command again.",
    ),
    entry(
        "SMB-CLOCK-SKEW",
        Warning,
        "The server's clock is off by more than Kerberos tolerates (5 minutes): logons will fail.",
        "Synchronise both clocks.",
    ),
    entry(
        "CHANNEL-NONE",
        Error,
        "No pair of NICs can carry traffic between the two hosts.",
        "Read the reasons of the pairs; most often the subnets do not match.",
    ),
    entry(
        "CHANNEL-CROSS-PAIRS",
        Info,
        "Several NICs of both hosts lie in one subnet: a client cannot tell which of them share a switch, and may pair across.",
        "Give each fabric side a subnet and VLAN of its own.",
    ),
    entry(
        "CHANNEL-ONE-ROUTE",
        Warning,
        "Several local NICs lie in one subnet and the system sends everything for it through one of them.",
        "Give each NIC a subnet of its own, or set up source routing.",
    ),
    entry(
        "CHANNEL-NIC-IDLE",
        Warning,
        "A NIC that is up would carry nothing of this traffic.",
        "If it was meant to carry some, fix what its reason names (speed, RSS, RDMA, subnet).",
    ),
    entry(
        "CHANNEL-LEAK",
        Error,
        "Bytes left or came through another NIC than the one their lane belongs on (weak host model, ARP flux or a wrong route): the redundancy is not what it seems.",
        "Give each NIC a subnet of its own. Where they must share one: first a routing table and a rule for each address (ip rule add from ADDRESS table N), then arp_ignore=1, arp_announce=2 and rp_filter=2 on these NICs. rp_filter=1 without those routes silences the second NIC.",
    ),
    entry(
        "CHANNEL-IMBALANCE",
        Warning,
        "The NICs did not share the load in proportion to their speed.",
        "Run one lane over each NIC alone to find the slow one.",
    ),
    entry(
        "CHANNEL-LOST",
        Warning,
        "A NIC stopped carrying traffic during the run; its outstanding work was sent again over the others.",
        "Check link, cable and switch port of that NIC.",
    ),
    entry(
        "CONTROL-MOVED",
        Info,
        "The path of the control connection died during the run, and the session went on over another NIC.",
        "Check link, cable and switch port of the NIC that it began on.",
    ),
    entry(
        "CHANNEL-DATA-FAULT",
        Error,
        "After a NIC was lost some bytes were missing, doubled or changed.",
        "Report this with the result document: the striping itself is at fault.",
    ),
    // Live migration.
    entry(
        "MIGRATE-CORRUPT",
        Error,
        "Guest memory at the destination differs from the source after a complete copy; a real guest would have been destroyed.",
        "Suspect memory, adapter offloads or cables; run again over another path, and with --over tcp to rule RDMA out.",
    ),
    entry(
        "MIGRATE-NOT-CONVERGING",
        Warning,
        "The guest dirties memory about as fast as this path copies it, so the pause at the end is longer than wanted.",
        "Use a faster path or more lanes, allow a longer downtime, or slow the guest down.",
    ),
    entry(
        "MIGRATE-DIRTY-RATE",
        Warning,
        "The dirty rate asked for was not reached, so a real guest at that rate would have done worse than shown.",
        "Ask for a lower --dirty rate, or rehearse on a machine with more free processors.",
    ),
];
