//! Ports, and connections as such.

use super::Severity::{Error, Warning};
use super::{Entry, entry};

pub(super) const PORTS: &[Entry] = &[
    entry(
        "PORT-FILTERED",
        Error,
        "A port that the declared role needs gives no answer, although the other end listens there: something drops what is sent to it.",
        "Let the port pass in the firewalls of both hosts and of everything between them (nft list ruleset; Get-NetFirewallRule), then run again.",
    ),
    entry(
        "PORT-REFUSED",
        Error,
        "Connections to a port that the declared role needs are refused, although somebody listens there: something rejects them in its place.",
        "Look for a rule that rejects (nft list ruleset; iptables-save) at the other host and in every firewall between, and let the port pass.",
    ),
    entry(
        "PORT-WAY-BACK",
        Error,
        "The other end cannot open connections to this host: what works one way only suffices for a client, not for cluster nodes or hosts that migrate guests to each other.",
        "Let connections in at this host's firewall, and in every firewall between, for both directions.",
    ),
    entry(
        "PORT-SLOW",
        Error,
        "The port that the declared role needs carries far less than another port between the same two addresses: every test of the line is fast, and the job is not.",
        "Look for a limit by port or by application on the way (policer, application control and inspection of a firewall, quality of service by port) and take it away for these hosts, then run again.",
    ),
    entry(
        "PORT-LOSSY",
        Error,
        "Packets of the port that the declared role needs are lost, and those of another port between the same two addresses are not: every test of the line is clean, and the job stalls.",
        "Look for what treats this port apart on the way (inspection and application control of a firewall, a queue or class chosen by port), take these hosts out of it, then run again.",
    ),
    entry(
        "CONNECT-PARTIAL",
        Error,
        "Of several connections to one port some open and others do not: SMB Multichannel and migrations open many, and hang by chance.",
        "Look for a limit on connections or on new ones per second (firewall, connection tracking, SYN protection) between these hosts, and exempt them.",
    ),
    entry(
        "CONNECT-SLOW",
        Warning,
        "Connections take far longer to open than an answer takes on those that are open: every mount, every channel of SMB Multichannel and every migration begins that much later, and what waits for it may give up.",
        "Look for a device that looks at each new connection (firewall, inspection, SYN proxy, a network whose controller is asked for each flow) between these hosts, and exempt them; then run again.",
    ),
    entry(
        "TCP-IDLE-DROPPED",
        Error,
        "Something on the way forgets connections that are silent for a while: a share or a cluster hangs after each pause, until its connection is made again.",
        "Raise the idle time of TCP connections at the firewall, load balancer or address translation between the hosts above what the applications keep silent (SMB: minutes), or let this traffic pass without following connections.",
    ),
];
