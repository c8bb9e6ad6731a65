//! The one list of finding codes. Codes are stable: programs match on them. `docs/FINDINGS.md` is made from it.
//!
//! Longer than other files: it is one list, in which a code is found by looking through it.

mod contend;
mod networks;
mod ports;
mod smb;

use super::Severity;

/// What the catalogue knows of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code.
    pub code: &'static str,
    /// Its usual severity.
    pub severity: Severity,
    /// What it means.
    pub meaning: &'static str,
    /// What to do next, when the run knows nothing more precise.
    pub next: &'static str,
}

const fn entry(code: &'static str, severity: Severity, meaning: &'static str, next: &'static str) -> Entry {
    Entry { code, severity, meaning, next }
}

use Severity::{Error, Info, Warning};

/// All codes, by area.
pub const CATALOGUE: &[Entry] = &{
    let families = [PATHS, ports::PORTS, smb::SERVERS_AND_CHANNELS, networks::NETWORKS, contend::CONTENTION];
    const COUNT: usize = PATHS.len()
        + ports::PORTS.len()
        + smb::SERVERS_AND_CHANNELS.len()
        + networks::NETWORKS.len()
        + contend::CONTENTION.len();
    let mut all = [PATHS[0]; COUNT];
    let (mut family, mut filled) = (0, 0);
    while family < families.len() {
        let mut at = 0;
        while at < families[family].len() {
            all[filled] = families[family][at];
            (at, filled) = (at + 1, filled + 1);
        }
        family += 1;
    }
    all
};

/// The run, hosts, paths and RDMA.
const PATHS: &[Entry] = &[
    // The run itself.
    entry(
        "PLAN-REDUCED",
        Warning,
        "The peer granted less than was asked, so the result answers a smaller question.",
        "Raise the limit on the peer (pathproof serve --limits) or ask for less.",
    ),
    entry(
        "PEER-SAYS",
        Info,
        "The peer's build noticed something that this build has no words for.",
        "Update the older of the two builds, and look at the peer's log.",
    ),
    entry(
        "PEER-LOST",
        Error,
        "The connection to the peer ended during the run; a live migration on this path would have failed here.",
        "Look at the peer's log, then run the same command again.",
    ),
    entry(
        "SESSION-KEYLESS",
        Warning,
        "Both ends were started with --no-key over a network: whoever could answer at that address could have made these figures.",
        "Run again with the key that pathproof serve prints (PATHPROOF_KEY or --key-file).",
    ),
    entry(
        "RUN-CUT",
        Warning,
        "The time that the run may take was up before everything was measured; what was cut or left out is not judged.",
        "Run the steps that are missing one by one (pathproof bench, mtu, migrate), or check without --quick or with --thorough.",
    ),
    entry(
        "RUN-SHORTENED",
        Info,
        "The path is so long that the time of the run does not suffice for all of the plan: a part was left out from the beginning.",
        "Check without --quick, or with --thorough, where what was left out matters.",
    ),
    entry(
        "RUN-LEFT-OUT",
        Info,
        "The check is to be short, so some kinds of check are not in its plan: what they would have shown is not known, and nothing here says that it is in order.",
        "Check without --quick, and with an --idle-time, before the path is signed off; --thorough has every kind.",
    ),
    entry(
        "CLOCK-COARSE",
        Info,
        "Reading the clock costs more than 1 % of the median latency, so small latencies are overstated.",
        "Prefer a machine with an invariant TSC as clock source, or compare ratios only.",
    ),
    entry(
        "SAMPLES-SATURATED",
        Warning,
        "Some samples exceeded the range of the histogram and were counted at its end.",
        "Treat the maximum as a lower bound.",
    ),
    entry(
        "NIC-HALF-DUPLEX",
        Error,
        "The link negotiated half duplex: both ends collide, and throughput collapses under load.",
        "Set auto-negotiation on both the NIC and the switch port, and replace the cable if it stays.",
    ),
    entry(
        "NIC-ONE-QUEUE",
        Warning,
        "All receive work of a fast NIC lands on one core, and SMB Multichannel treats it as a NIC without RSS.",
        "Raise the number of queues (ethtool -L NIC combined N) or enable RSS in the driver.",
    ),
    entry(
        "NIC-OFFLOAD-OFF",
        Warning,
        "The processor does per packet what the NIC could do per 64 KiB: fast links become bound by a core.",
        "Turn it on (ethtool -K NIC tso on gro on), or leave it off knowing why.",
    ),
    entry(
        "NIC-LINK-ERRORS",
        Error,
        "Frames arrived damaged at the NIC and were thrown away: the cable, a transceiver, a connector or a port, not the configuration. RDMA and TCP both lose speed far out of proportion to the share of damaged frames.",
        "Clean or replace the cable and the transceivers of that port, and look at the switch port's own error counters; then run again.",
    ),
    entry(
        "NIC-OVERRUN",
        Warning,
        "The NIC received packets for which the host had no buffer ready, and threw them away: the loss is in this host, not on the path.",
        "Enlarge the receive ring (ethtool -G NIC rx N; ethtool -g NIC shows the most), spread the load over more queues (ethtool -L NIC combined N), and see that the processor is not kept asleep or busy with other work.",
    ),
    entry(
        "NIC-PAUSED",
        Warning,
        "The other end of the cable asked this NIC to stop sending: flow control works, and something behind it takes packets more slowly than they come. A receiver that is too slow holds up every flow of that class.",
        "Find where the pauses begin: the host or port that sends them is the slow one. For RDMA let only its own priority be paused (PFC), and leave global pause off.",
    ),
    entry(
        "NIC-PAUSES",
        Info,
        "This NIC asked the other end of its cable to stop sending, because packets came faster than the host took them: the other end holds back every flow of that class.",
        "Enlarge the receive ring (ethtool -G NIC rx N; ethtool -g NIC shows the most) and spread the load over more queues (ethtool -L NIC combined N), where rates are lower than they should be.",
    ),
    entry(
        "NIC-DISCARDS",
        Info,
        "The NIC or its driver threw packets away and does not say why. Packets that nobody asked for count there as well.",
        "Look which of these counters grows with a stream (ethtool -S NIC before and after one); one that does is loss in this host or at its port, and not further on.",
    ),
    entry(
        "NIC-POLICED",
        Warning,
        "The platform under this machine held back or dropped packets because the machine was over its allowance of bandwidth or packets: the limit is that of the rented size, not the path's.",
        "Choose a larger size of machine, or expect no more than its allowance (--expect-rate).",
    ),
    // TCP.
    entry(
        "TCP-RETRANSMITS",
        Warning,
        "Segments had to be sent again: frames are being lost or reordered on the path.",
        "Check interface error and discard counters, cables, switch buffers and duplex on every hop.",
    ),
    entry(
        "TCP-STALL",
        Error,
        "A whole interval passed without a byte although the connection was open.",
        "Look for a path MTU fault first (pathproof mtu), then for loss or a paused link.",
    ),
    entry(
        "OFFLOAD-FAULT",
        Error,
        "Segments do not arrive whole while this offload is on and do while it is off: who should do this part of the work, or the virtual switch or tunnel below, does it wrong. The path itself carries them.",
        "Leave the offload off (ethtool -K NIC OFFLOAD off), and update or configure the driver, the virtual switch or the tunnel.",
    ),
    entry(
        "OFFLOAD-NOT-RESTORED",
        Error,
        "An offload was turned off for a trial and could not be turned on again: the host is not as it was before the run.",
        "Turn it on again (ethtool -K NIC OFFLOAD on) and hold ethtool -k NIC against what it was.",
    ),
    entry(
        "TCP-CHECKSUM",
        Error,
        "A host threw TCP segments away because their checksum was wrong: a NIC, virtual switch or tunnel that should have filled it in did not, or something changes packets on the way. It looks like a size limit, and is none.",
        "Let pathproof offloads PEER try which offload it is, or turn the checksum offload of the sending NIC off (ethtool -K IF tx off) and run again; if that fixes it, update or configure that driver or virtual switch.",
    ),
    // Who and where the peer is.
    entry(
        "PEER-IS-SELF",
        Error,
        "The peer is this machine, so nothing here says anything about a network. Who means that says so with --self or a loopback address.",
        "Correct the name (getent hosts NAME; often 127.0.1.1 in /etc/hosts), or name the other host by its address.",
    ),
    entry(
        "PEER-NAT",
        Warning,
        "Addresses are translated between the two hosts: the figures are those of the whole way through the translation. SMB Multichannel and clusters use the addresses that hosts know of themselves and do not come through.",
        "Name the peer by an address of its own, on a network that both share; where the translation is meant to be there, expect what needs the hosts' own addresses to fail.",
    ),
    entry(
        "ADDRESS-BOTH-ENDS",
        Info,
        "Both hosts own an address (of virbr0 or docker0, say): whoever connects to it reaches itself, so it pairs with nothing.",
        "Nothing needs repair where no service is meant to be reached there; keep such addresses out of name service and of what servers list (Samba: interfaces, bind interfaces only).",
    ),
    entry(
        "NAME-DEAD-ADDRESS",
        Warning,
        "One of the addresses of the peer's name does not answer: whoever tries it first waits for it, every time.",
        "Take the dead address out of name service or /etc/hosts (getent ahosts NAME), or bring it to life.",
    ),
    entry(
        "ADDRESS-DUPLICATE",
        Error,
        "Another hardware address answers for an address of the peer's: another host or device owns the address too, or answers in its place. Which of them gets a connection is chance.",
        "Find the owner of that hardware address in the switches' tables, and give one of the two another address (arping -D -I NIC ADDRESS shows both).",
    ),
    entry(
        "MAC-DUPLICATE",
        Warning,
        "Two addresses answer with one hardware address: one host that has both, or two hosts with the same MAC (cloned machines), between which switches send packets back and forth.",
        "If they are two hosts, give one of them a MAC of its own. The switch's address table tells: an entry that moves from port to port is two hosts.",
    ),
    entry(
        "FABRIC-CROSSED",
        Error,
        "A NIC of the peer's answers on the wire of another network than the one that its address belongs to: two cables or two VLANs are swapped. Nothing passes between the pair, though both links are up.",
        "Swap the two cables at one of the hosts, or correct the VLANs of the two switch ports; then run again.",
    ),
    entry(
        "ARP-FLUX",
        Info,
        "Several NICs of one host lie on one wire and answer for each other's addresses: channels that seem to use different NICs share one, and which one it is changes by chance. A warning where datagrams of this very run came in over the wrong one.",
        "Give each NIC a network (VLAN and subnet) of its own. Where they must share one: a routing table and a rule for each address first (ip rule add from ADDRESS table N), and only then arp_ignore=1 and arp_announce=2 on these NICs.",
    ),
    entry(
        "PREFIX-DIFFERS",
        Warning,
        "The two ends have different opinions of how large their network is: some addresses are asked for directly by one and sent through a router by the other.",
        "Give both ends the prefix length that the network has.",
    ),
    entry(
        "RP-FILTER",
        Warning,
        "Two NICs of one host lie in one network and the kernel drops what arrives at the one that its route back does not name: a second channel connects and carries nothing. An error where a pair was silent.",
        "Give each NIC a network of its own; or a routing table and a rule for each address (ip rule add from ADDRESS table N), and rp_filter=2 on these NICs.",
    ),
    entry(
        "LINK-FLAPS",
        Error,
        "A link was lost and came back while the run lasted: connections stall, a bundle moves its flows, a migration dies.",
        "Look at the kernel log and at the switch port's log for that link; change cable and transceiver, and compare the negotiation settings of both ends.",
    ),
    entry(
        "PATH-ASYMMETRIC",
        Warning,
        "One direction carries a small part of what the other does: a limit or a fault on one way only.",
        "Look for a rate limit or policer for that direction (qdisc of both hosts, switch and virtual switch), a duplex mismatch and a way of its own (traceroute from both ends).",
    ),
    entry(
        "PATH-QUEUE",
        Warning,
        "A stream in full flow fills a queue between the hosts, and everybody else on the path waits behind it.",
        "Find the hop where the rate drops in that direction (the slowest port, a shaper, a WAN edge) and shorten its queue or give it active queue management; as a stopgap pace what fills it below the rate of that hop.",
    ),
    entry(
        "HOST-QUEUE",
        Warning,
        "A stream in full flow fills a queue of the host that sends it, and everything else that this host sends waits behind it.",
        "Replace or shorten that queueing discipline (tc qdisc replace dev NIC root fq_codel, or a smaller limit of the shaper named).",
    ),
    entry(
        "PATH-SHARED",
        Warning,
        "Both directions together carry little more than one of them alone: a link in half duplex, or something on the way that both directions share (an uplink, a tunnel, a limit on the sum).",
        "Compare speed and duplex of both ends of every cable on the way (ethtool, the switches' ports); if all are full duplex, look for an uplink, tunnel or policer that both directions pass.",
    ),
    entry(
        "TCP-OPTIONS",
        Warning,
        "Something between the hosts takes TCP options away that both are set to use; without them a connection recovers badly from loss, or cannot fill a long path.",
        "Look for a firewall or load balancer on the way that normalises TCP options, and let these hosts' traffic pass unchanged.",
    ),
    entry(
        "TCP-MSS-CLAMPED",
        Warning,
        "TCP sends smaller segments than the path carries: something on the way lowers the segment size when connections open, and jumbo frames are of no use to TCP.",
        "Look for a rule that clamps the MSS (nft or iptables: maxseg, TCPMSS; firewalls and VPN gateways), or for a route with advmss.",
    ),
    // What bounds or disturbs a path.
    entry(
        "TCP-RESET",
        Error,
        "Connections were reset although neither end closed them: something between the programs ends them, and a copy or a migration breaks off with it.",
        "Look for devices that inspect or count connections (firewall, intrusion prevention, load balancer, a rule that rejects with tcp reset at either host), and let this traffic pass without following it.",
    ),
    entry(
        "PATH-FAR",
        Info,
        "The path is long: every round trip takes this time at least, which one connection needs large windows for, and which synchronous writes pay once each.",
        "Nothing needs repair. Compare the length with what the use allows (stretched clusters ask for 5 ms), and see that windows and buffers suit it.",
    ),
    entry(
        "PATH-JITTER",
        Warning,
        "Packets wait for very different times on a path that carries nothing else: something holds them back now and then.",
        "Look for power saving and interrupt moderation of NICs and hosts, a wireless or overbooked hop, and a device that inspects packets; measure hop by hop (mtr) and compare.",
    ),
    entry(
        "PATH-STALLS",
        Error,
        "For a while nothing moves at all and nothing is lost: something pauses the link. Storage hangs for that time and a migration's downtime grows by it.",
        "Look for pause frames (ethtool -S NIC: rx_pause, PFC), a switch that holds packets back, a spanning tree or wireless roaming, and a virtual switch or host in between that stands still.",
    ),
    entry(
        "PATH-SLEEPS",
        Error,
        "What comes first after a silence is lost, and passes only when it is sent again: heartbeats, leases and the first request after each pause take a fifth of a second and more, again and again.",
        "Look for what goes to sleep or forgets while nothing moves: power saving of NICs, links and radios, a table of neighbours or flows with short times on a router, virtual switch or controller; then run again.",
    ),
    entry(
        "PATH-TCP-FILTERED",
        Error,
        "Connections over one family of addresses are dropped, while the other family between the same NICs carries them: whoever gets such an address first (SMB prefers IPv6, and a server lists all that it has) waits in vain.",
        "Let TCP over this family pass in the firewalls of both hosts and on the way as over the other one, or take its addresses from these NICs and from the names of the hosts; then run again.",
    ),
    entry(
        "PATH-UDP-FILTERED",
        Warning,
        "UDP is filtered between the ends, and other packets are not. RoCE v2, cluster heartbeats and QUIC are UDP; what was measured of size and loss rests on what was let through instead.",
        "Let UDP pass between these addresses, at both hosts and at every firewall on the way, and run again: then each direction, flow and mark has an answer of its own.",
    ),
    entry(
        "PATH-POLICED",
        Error,
        "What is above some rate is thrown away and not queued: TCP falls far below the rate that is allowed, and RDMA collapses.",
        "Look for a policer on that way (virtual switch, provider edge, storm control); let it shape, which queues, or keep the senders below its rate.",
    ),
    entry(
        "PATH-RATE-LIMIT",
        Warning,
        "The path carries one flat rate however many connections share it: a shaper, a slower link on the way, or a limit that somebody set. A warning where the links say that they could do more.",
        "Look for the slowest hop: negotiated speeds of every port on the way, and shapers (qdiscs of both hosts, virtual switch, provider).",
    ),
    entry(
        "PATH-ONE-WAY",
        Error,
        "What goes one way arrives, and nothing comes back: of two strands one is dead. Every connection over this pair hangs.",
        "Swap the strands or the transceiver of that link, and look at the receive power and the errors of both ends.",
    ),
    entry(
        "ROUTE-ASYMMETRIC",
        Warning,
        "One direction goes through a router and the other does not, or through another: a firewall that follows connections sees half of them and drops the rest. A note where two routers pass both halves, as those that share the work do.",
        "Make both hosts agree on what is a neighbour: the same prefix length on both, or a route through the same router at both (ip route get PEER at each end). Routers that share the work must share what their firewalls know of connections, too.",
    ),
    entry(
        "ROUTE-LEAK",
        Warning,
        "A route sends what belongs to one NIC over another: the second channel is not the one that it seems, and both fail together.",
        "Remove or correct that route (ip route get ADDRESS shows it), so that each network is reached over the NIC that lies in it.",
    ),
    entry(
        "ROUTE-PROHIBITED",
        Error,
        "A host's own rules and routes let nothing go from one of its addresses to a neighbour in the same network: connections that are bound to that address, as SMB Multichannel binds them, fail at once, and a ping over the interface passes.",
        "Find the rule or the route that says so, and delete it (ip route get PEER from ADDRESS; ip rule show).",
    ),
    entry(
        "TCP-FLOW-LIMIT",
        Warning,
        "Each connection is held to a rate and several together get as many times that: a limit on each flow. What uses one connection, as a live migration over TCP does, gets no more.",
        "Look for a limit for each flow (cloud and provider limits, virtual switch, fq with maxrate), or use several connections (SMB Multichannel, parallel migrations).",
    ),
    entry(
        "TCP-WINDOW",
        Warning,
        "The receive window of one end holds a connection back: it can have no more on the way than that in each round trip.",
        "Raise the last number of net.ipv4.tcp_rmem at the receiving end to at least twice the rate times the round trip.",
    ),
    entry(
        "TCP-SEND-BUFFER",
        Warning,
        "The send buffer of one end holds a connection back: it keeps a copy of what is on the way, and is too small for this path.",
        "Raise the last number of net.ipv4.tcp_wmem at the sending end to at least twice the rate times the round trip.",
    ),
    // The hosts.
    entry(
        "HOST-THROTTLED",
        Error,
        "A processor quota stops the program for a part of the time: what was measured is the quota, not the path, and what runs there under this quota suffers the same.",
        "Raise or remove the processor quota of that container or service (cpu.max, CPUQuota), and run again.",
    ),
    entry(
        "HOST-STOPS",
        Error,
        "A program stands still for a part of a second and longer while the kernel of its host answers all the time: whoever waits for it waits as long, and nothing on the network is at fault.",
        "Look at what holds programs on that host while it happens: a backup or snapshot that stuns the machine, a scanner or debugger that holds a process, a disk or swap that it waits for (ps -o pid,stat,wchan,comm, vmstat 1); stop or move that, and run again.",
    ),
    entry(
        "HOST-STARVED",
        Info,
        "The hypervisor gives this machine's processors to others for a part of the time: where a limit is missed, delays and rates may be its doing, and the verdict says so.",
        "Give the virtual machine processors of its own, or move it, and run again.",
    ),
    entry(
        "HOST-BUSY",
        Info,
        "A host had so little time for the program that what a stream showed may be its doing: whether the path is at fault there is open, and the answer as a whole with it.",
        "Run again when that host is idle, or give it processors to spare.",
    ),
    entry(
        "HOST-PORTS",
        Warning,
        "A host has few local ports for connections out, and one found none: it fails before a packet leaves the host, and nothing on the network is at fault.",
        "See what uses them (ss -s; ss -tan), and allow more: sysctl -w net.ipv4.ip_local_port_range='32768 60999' (Windows: netsh int ipv4 set dynamicport tcp start=49152 num=16384); then run again.",
    ),
    entry(
        "HOST-CORE-BOUND",
        Info,
        "One connection carries what one processor core of a host can serve, and several carry more: the path has room that one connection does not use. What uses one, as a live migration over TCP does, gets no more than that.",
        "Use several connections (SMB Multichannel, parallel migrations). For more with one let each packet cost less: jumbo frames, offloads (ethtool -k NIC), RDMA; and let another core than that of the thread serve the NIC's queue.",
    ),
    entry(
        "LINK-DOWN",
        Warning,
        "A NIC is set up for a network that it shares with the other end, and its link is down: that path is missing.",
        "Plug the cable in, and look at the switch port; take the address away where the link is not meant to be used.",
    ),
    entry(
        "NIC-SLOW",
        Error,
        "One of several NICs that are used together carries a small part of what the others do: SMB Multichannel waits for the slowest, and a migration that meets it takes as long.",
        "Look at what the evidence names: negotiated speed of both ends and both switch ports, a limit on that way, error counters; then try the pair alone again.",
    ),
    entry(
        "NIC-SPEED-DIFFERS",
        Info,
        "The two NICs of a pair negotiated different speeds: the pair carries what the slower of them does, and the faster end sends bursts that a switch has to hold.",
        "Nothing needs repair where that is meant; else look at the negotiation, cable and transceiver of the slower end.",
    ),
    // Datagrams.
    entry(
        "PATH-LOSS",
        Warning,
        "Datagrams of every size and flow get lost on the way: TCP slows down and recovers, RoCE sends everything again from the gap on and collapses.",
        "Compare error and discard counters of both NICs (ethtool -S) and of every switch port on the path; change cable and transceiver where errors grow, and look for a policer or a full buffer where drops grow.",
    ),
    entry(
        "PATH-LOSS-LARGE",
        Warning,
        "Long packets get lost several times as often as short ones: bit errors hit them more often, and so do policers and shallow buffers that count bytes.",
        "Look at the CRC and FEC error counters of both NICs and of every switch port first (cable, transceiver, dirty fibre), then for a policer or a small buffer.",
    ),
    entry(
        "CHANNEL-DEAD",
        Error,
        "Two NICs that share a network by their addresses do not reach each other, although both links are up: SMB Multichannel opens connections over such a pair and waits for them, and a migration over it does not begin.",
        "Find what lies between the two: the VLAN of both switch ports, cables that are swapped between two networks at one host, a firewall for that network; ping -I NIC ADDRESS from both ends tells when it is repaired.",
    ),
    entry(
        "FLOWS-DIFFER",
        Error,
        "Some flows carry nothing while others between the same two addresses do: one member of a bundle or one of several equal routes drops what is hashed to it, and connections hang by chance.",
        "Find the dead member: look at the state and counters of every member link of the bundles (LACP) and equal-cost routes between these hosts, and take it out until it is repaired.",
    ),
    entry(
        "MTU-FLOWS-DIFFER",
        Error,
        "Some flows carry full-size packets and others do not: the members of a bundle or of equal-cost routes differ in their MTU, and connections stall by chance.",
        "Set one MTU on every member link and switch port between these hosts.",
    ),
    entry(
        "PATH-REORDERED",
        Warning,
        "Packets of one flow overtake one another: TCP takes that for loss, and RoCE sends everything again from there on.",
        "Look for per-packet load balancing on a bundle or on equal-cost routes, and let it hash by flow.",
    ),
    entry(
        "PATH-CORRUPTS",
        Error,
        "Packets arrive with other bits than they were sent with, and the host throws them away for their checksum: one in 65,536 passes that check and reaches the program.",
        "Compare the error counters (FCS, CRC, symbol errors) of both NICs and of every switch port on the way; change cable, transceiver, port and then switch until they stand still.",
    ),
    entry(
        "PAYLOAD-CORRUPT",
        Error,
        "Bytes arrive as others than were sent, although every checksum of TCP and UDP fits: something on the way, or a host's own memory, changes them and the checksum with them, and files and guests are broken without anybody counting anything.",
        "Take out what rewrites packets between these hosts (accelerators, proxies, inspection, address translation, tunnels), one after the other, and run again; where it stays, run over another path, then test the memory of both hosts.",
    ),
    entry(
        "PATH-DUPLICATED",
        Warning,
        "Packets arrive more than once: a loop, a mirror port that feeds back, or a bond that sends on both links.",
        "Look for a broadcast bond, a mirrored port, and a bridge loop between these hosts.",
    ),
    entry(
        "DSCP-DROPPED",
        Warning,
        "Packets with a priority mark fare worse than best effort: a queue or policer for that class is too small.",
        "Look at the quality-of-service policy of every switch on the path for this code point, and at the drops of its queue.",
    ),
    entry(
        "DSCP-CHANGED",
        Warning,
        "Priority marks (DSCP) do not arrive as they were sent, so what depends on them (lossless RoCE, cluster heartbeats) is treated as best effort.",
        "Let every switch and router on the path trust DSCP on the ports of these hosts.",
    ),
    entry(
        "PRIORITY-CHANGED",
        Warning,
        "Frames do not arrive with the 802.1p priority that their class was given, so a switch that queues, pauses or reserves by it treats them as another class.",
        "On both hosts the classes go over a VLAN device whose egress-qos-map puts each priority into the tag; on every switch the ports of these hosts trust 802.1p (CoS) and keep the tag.",
    ),
    entry(
        "ECN-CLEARED",
        Warning,
        "The mark of ECN-capable packets is taken away on the way, so congestion shows only as loss, and DCQCN (RoCE) does not work.",
        "Find the device that rewrites the whole traffic class byte instead of DSCP alone, and correct its policy.",
    ),
    entry(
        "HOST-REFUSES",
        Error,
        "A host refuses a part of what its own programs send: connections that go the same way lose it, and nothing on the network is at fault.",
        "Look for a rule on the way out of that host (nft list ruleset, chains with hook output; iptables -L OUTPUT -v; eBPF programs of its cgroups), and take it away for these addresses.",
    ),
    entry(
        "PATH-MARKS",
        Info,
        "Something on the way marks packets when its queue grows (ECN, CE) instead of only dropping them: congestion is told, not lost. It shows where a queue stood, and no fault.",
        "Nothing needs repair. Where rates are lower than they should be, find the queue that marks and hold its thresholds against what the class needs.",
    ),
    entry(
        "HOST-OVERFLOW",
        Warning,
        "Datagrams reached the receiving host and were dropped there because the program could not take them in time: they are not the path's loss.",
        "Run again when that host is idle.",
    ),
    // Path MTU.
    entry(
        "MTU-BLACKHOLE",
        Error,
        "Packets above the measured size are dropped silently: small pings and shares work, RDMA writes and bulk TCP stall, and a live migration dies once it sends full segments.",
        "Lower the interfaces' MTU to what the path carries, or raise every switch port on the path above what the interfaces send.",
    ),
    entry(
        "MTU-LOCAL-LIMIT",
        Info,
        "The sending interface itself allows no larger packet; the path beyond it may carry more.",
        "Raise the interface's MTU if larger frames are wanted, on both hosts and on every switch port.",
    ),
    entry(
        "MTU-ROUTER",
        Warning,
        "A router on the path carries less than the interfaces are set to and says so; TCP adapts after its first loss, RoCE and UDP do not.",
        "Raise the MTU of that router's next link, or lower the hosts to it.",
    ),
    entry(
        "MTU-ROUTER-LIES",
        Error,
        "A router names an MTU that is not the true one, so hosts that believe it send too little or lose everything.",
        "Correct the router's MTU setting; until then set the hosts to the measured value.",
    ),
    entry(
        "MTU-ONE-WAY",
        Error,
        "The path carries large packets one way only: whatever answers over it (SMB writes, migration acknowledgements with data) stalls in one direction.",
        "Compare the MTU of the switches and ports on the two directions; with two switches, one of them is set lower.",
    ),
    entry(
        "MTU-ENDS-DIFFER",
        Warning,
        "The two interfaces are set to different MTUs: the larger one sends what the smaller one does not take, and within one segment no device reports it. An error where such packets were seen to be dropped.",
        "Set both ends to the same value.",
    ),
    entry(
        "MTU-NICS-DIFFER",
        Warning,
        "NICs of one host that SMB Multichannel would use together are set to different MTUs: one of them was forgotten, and large frames use only some of the paths.",
        "Give the NICs that share traffic the same MTU, on both hosts and on every switch port.",
    ),
    entry(
        "MTU-TAG-OVERHEAD",
        Warning,
        "The limit lies just below a common setting by what an encapsulation costs: a switch, VLAN or tunnel does not leave room for its own header.",
        "Raise the MTU of the tagged or tunnelled links by the overhead, or lower the hosts by it.",
    ),
    entry(
        "MTU-FRAGMENTED",
        Error,
        "Something cuts packets into fragments although they say not to be: RoCE does not survive that, and TCP slows down.",
        "Find the middlebox or tunnel that clears the DF bit and turn that off.",
    ),
    entry(
        "PATH-FRAGMENTS-DROPPED",
        Warning,
        "Datagrams that are longer than the MTU vanish, although the sending host cuts them up and every packet that fits arrives: something drops fragments. TCP, and with it SMB and live migration, never makes any; long datagrams do (Kerberos and DNS over UDP, tunnels, cluster traffic).",
        "Let fragments pass in the firewalls between the hosts, or keep what sends long datagrams below the MTU.",
    ),
    entry(
        "MTU-STALE-CACHE",
        Warning,
        "The host remembers a smaller path MTU than the path now carries; TCP uses it until it expires (600 s on Linux).",
        "Run ip route flush cache (or wait), and look for the router that caused it.",
    ),
    entry(
        "MTU-ROUTE-LIMIT",
        Warning,
        "A route on the sending host has an MTU of its own, below what interface and path carry: TCP never sends larger packets over it, although ping and probes of jumbo size pass.",
        "Look at the route (ip route show) and set it again without mtu, where it is configured too.",
    ),
    entry(
        "MTU-OFFLOADS-HIDE",
        Warning,
        "Segmentation offload is on along a path with an MTU mismatch: virtual switches pass oversized super-packets, so a bulk TCP test can look healthy although real frames of that size are lost.",
        "Do not trust the bulk figure for frame sizes; repeat it with TSO and GSO off (ethtool -K IF tso off gso off).",
    ),
    entry(
        "MTU-UNKNOWN",
        Warning,
        "The path MTU could not be determined: this is no statement about its size.",
        "Let UDP (or ICMP echo) between the hosts pass, or look for the loss or limiter that hides it, then run again.",
    ),
    entry(
        "MTU-BELOW-EXPECTED",
        Error,
        "The path carries less than was expected of it.",
        "See the other MTU findings for what limits it.",
    ),
    entry(
        "MTU-BELOW-FLOOR",
        Error,
        "The path does not even carry the 1280 bytes that IPv6 requires of every link (RFC 8200 §5).",
        "Fix the link; until then IPv6 on it is unusable.",
    ),
    entry(
        "MTU-FAMILIES-DIFFER",
        Warning,
        "IPv4 and IPv6 differ on the same pair of NICs: which one a connection chooses decides whether it works.",
        "Compare filters, tunnels and router settings of the two families; do not filter ICMPv6 packet-too-big.",
    ),
    entry(
        "MTU-ECHO-ONLY",
        Info,
        "Measured by ICMP echo from one side: the reply is as large as the request, so the figure is the smaller of both directions and cannot tell which one limits.",
        "Run pathproof serve on the other host and repeat without --agentless.",
    ),
    entry(
        "MTU-BULK-EXCLUDED",
        Info,
        "A bulk transfer stalled, and the size of its segments is not the cause: probes of that size pass, full segments flow again, or small ones stall as well.",
        "Look for loss, a limiter, wrong checksums or a paused link instead.",
    ),
    entry(
        "MTU-BULK-CAUSE",
        Error,
        "A bulk transfer stalled because its segments are larger than what the path carries: full segments stall and small ones flow each time they are tried in turn, and probes found the size above which packets are dropped.",
        "Repair the path MTU (see the MTU finding of that path); the figure of the stalled transfer says nothing about the link.",
    ),
    entry(
        "MTU-BULK-UNKNOWN",
        Warning,
        "A bulk transfer stalled, and whether the size of its segments is the cause could not be determined.",
        "Let UDP between the hosts pass, then run pathproof mtu; look for loss, a limiter or a paused link as well.",
    ),
    // RDMA.
    entry(
        "RDMA-NOT-USED",
        Error,
        "The device's counters do not account for the payload: it did not go over RDMA, and SMB Direct would not either.",
        "Check with --device which adapter is meant, and that no other path (TCP fallback, another port) carries the bytes.",
    ),
    entry(
        "RDMA-MTU-DIFFERS",
        Warning,
        "The two ends' RDMA ports have different active MTUs; the smaller one is used, which costs throughput and hides a setting that was forgotten.",
        "Give both NICs (and every switch port between them) the same IP MTU; the RDMA MTU follows it.",
    ),
    entry(
        "RDMA-MTU-LOW",
        Warning,
        "The RDMA MTU in use is smaller than the interface's IP MTU allows.",
        "Raise the RDMA MTU of the adapter (driver or firmware setting), or restart the link after the IP MTU was raised.",
    ),
    entry(
        "RDMA-MTU-BLACKHOLE",
        Error,
        "RDMA packets of the path MTU in use are lost, smaller ones pass: mounts and small requests work, and bulk SMB Direct or live migration stalls.",
        "Raise the MTU of every switch port on the path to at least 4200 bytes, or lower the interfaces' IP MTU on both hosts.",
    ),
    entry(
        "RDMA-RETRY-EXCEEDED",
        Error,
        "Packets went unanswered until every retry was spent: SMB Direct and live migration lose their connection here.",
        "Check link and peer, that UDP port 4791 passes, the path MTU (pathproof mtu), and PFC or ECN on every switch port.",
    ),
    entry(
        "RDMA-LOSS",
        Warning,
        "RDMA packets were lost, reordered or sent again; RoCE slows down far more than TCP does under the same loss.",
        "Check PFC and ECN settings on NICs and switches for the RDMA priority, cables, and discard counters.",
    ),
    entry(
        "RDMA-NOT-READY",
        Info,
        "Messages found no receive posted and were sent again: the receiver was slower than the sender.",
        "Normal in a flood of sends; with SMB Direct, whose credits prevent it, suspect an overloaded receiver.",
    ),
    entry(
        "RDMA-DISCARDS",
        Warning,
        "The port threw packets away during the step.",
        "Turn on PFC (or ECN) for the RDMA priority end to end, and check buffers and ring sizes.",
    ),
    entry(
        "RDMA-PAUSED",
        Info,
        "The port was held back by pause frames during the step.",
        "Pause that does not end points at a slow receiver or a PFC storm; compare with the switch's counters.",
    ),
    entry(
        "RDMA-CONGESTION",
        Info,
        "The network marked congestion during the step.",
        "Expected under load with ECN; if throughput is low, check the ECN thresholds and DCQCN settings.",
    ),
    entry(
        "RDMA-PFC-OFF",
        Warning,
        "PFC does not protect RoCE packets at this host: under congestion they are dropped, and RoCE slows down far more than TCP.",
        "Enable PFC for the priority of RoCE on both NICs and every switch port between them (dcb pfc set dev NIC prio-pfc 3:on; dcb app add dev NIC dgram-port-prio 4791:3), or make sure that ECN alone is meant to prevent loss.",
    ),
    entry(
        "RDMA-PFC-DIFFERS",
        Warning,
        "The two ends have PFC enabled on different priorities: pauses of one end mean nothing to the other.",
        "Enable PFC on the same priority at both ends and on every switch port between them.",
    ),
    entry(
        "RDMA-MTU-PATH",
        Error,
        "The IP path carries less than the RDMA MTU in use needs: small RDMA messages pass and bulk stalls.",
        "Raise the MTU of every hop to what the RDMA MTU needs, or lower the interfaces' IP MTU on both hosts so that the RDMA MTU follows.",
    ),
    entry(
        "RDMA-REDUCED",
        Warning,
        "The RDMA device allows less than was asked, so the result answers a smaller question.",
        "Ask for less, or use a device with higher limits (pathproof devices).",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_complete() {
        for (i, entry) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..i].iter().all(|e| e.code != entry.code), "{} stands twice", entry.code);
            assert!(entry.meaning.ends_with('.') && entry.next.ends_with('.'), "{}", entry.code);
            assert!(entry.code.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'), "{}", entry.code);
        }
    }
}
