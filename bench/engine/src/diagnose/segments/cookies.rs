//! Connections that the accepting host opened by a SYN cookie: of what was asked for it keeps only what fits into one. It refuses to blame
//! cookies for what they would have kept.

use std::net::IpAddr;

use pathproof_model::finding::Commands;
use pathproof_model::{End, Finding, LaneResult, NodeId, ResultDoc};

use super::super::whose;
use super::measured;

const SETTING: &str = "net.ipv4.tcp_syncookies";
/// Its value for "every SYN", rather than "where the queue is full".
const ALWAYS: u8 = 2;
/// The end that accepts: data lanes are dialled by the client, as the session is.
const ACCEPTS: End = End::Server;
/// The segment sizes that a cookie over IPv4 can hold, in bytes (Linux, `msstab`). Over IPv6 it holds those of jumbo frames, too.
const HELD_BYTES: [u64; 4] = [536, 1300, 1440, 1460];
/// What options take of a segment, and time stamps of it.
const OPTIONS_BYTES: u64 = 40;
const STAMPS_BYTES: u64 = 12;

/// The accepting host's answers by cookies.
pub(super) struct Cookies {
    accepted: u64,
    /// It answers every SYN so, and not only those for which its queue has no room.
    is_always: bool,
}

/// Those by which all connections of the document were opened; `None` where some may have been opened without, or nobody says.
pub(super) fn of_all(doc: &ResultDoc) -> Option<Cookies> {
    let counted = measured(doc).filter_map(|step| {
        step.evidence(ACCEPTS.node())?.tcp_options.as_ref()?.cookies_accepted.filter(|count| *count > 0)
    });
    let accepted = counted.fold(0, u64::saturating_add);
    let host = doc.environment(ACCEPTS.node());
    let setting: Option<u8> = host.and_then(|host| host.settings.get(SETTING)?.parse().ok());
    let is_always = setting == Some(ALWAYS);
    // Each connection stands there once for each end.
    let ends =
        measured(doc).flat_map(|step| &step.lanes).filter(|lane| lane.connection.is_some()).count() as u64;
    let all = is_always || accepted.saturating_mul(2) >= ends;
    (accepted > 0 && all).then_some(Cookies { accepted, is_always })
}

/// Whether segments of a lane are as small as a cookie leaves them, although the other end announced so much.
pub(super) fn hold(lane: &LaneResult, local: IpAddr, segment: u64, announced: u64) -> bool {
    let fits = |held: &&u64| **held <= announced.saturating_add(STAMPS_BYTES);
    let held = HELD_BYTES.iter().rfind(fits);
    let is_held = held.is_some_and(|held| segment <= *held && segment + OPTIONS_BYTES >= *held);
    lane.end == ACCEPTS && local.is_ipv4() && is_held
}

impl Cookies {
    /// Options that are missing because a cookie keeps them beside time stamps only. `said` names them.
    pub(super) fn without_options(&self, said: &str, stamps_off: &[NodeId]) -> Finding {
        let off: Vec<&str> = stamps_off.iter().map(|node| whose(*node)).collect();
        let off = if off.is_empty() { "an end".to_owned() } else { off.join(" and ") };
        let said = format!(
            "{said}; {}, and a cookie keeps neither without time stamps (net.ipv4.tcp_timestamps), which are turned off at {off}",
            self.words()
        );
        let mut finding = Finding::new("TCP-OPTIONS", said);
        finding.meaning =
            "The host that accepts connections answers by SYN cookies, which keep selective acknowledgements and window scaling beside time \
             stamps only: connections recover badly from loss, or cannot fill a long path, and nothing between the hosts is at fault."
                .into();
        let or = ", or turn time stamps on at both ends (net.ipv4.tcp_timestamps=1), beside which a cookie keeps both. The former, now";
        self.advise(finding, or)
    }

    /// Segments that are small because a cookie holds no larger size (see [`hold`]).
    pub(super) fn small(&self, said: &str) -> Finding {
        let most = HELD_BYTES[HELD_BYTES.len() - 1];
        let said = format!("{said}; {}, and a cookie holds no segment size above {most} bytes", self.words());
        let mut finding = Finding::new("TCP-MSS-CLAMPED", said);
        finding.meaning =
            "TCP sends smaller segments than the path carries, because the host that sends them accepted the connection by a SYN cookie: \
             jumbo frames are of no use to what it sends, and nothing between the hosts lowers anything."
                .into();
        self.advise(finding, "")
    }

    fn words(&self) -> String {
        let always = if self.is_always { format!(" ({SETTING}={ALWAYS})") } else { String::new() };
        format!("{} accepted {} connections by a SYN cookie{always}", whose(ACCEPTS.node()), self.accepted)
    }

    /// How cookies are avoided, `or` what else helps.
    fn advise(&self, finding: Finding, or: &str) -> Finding {
        let at = whose(ACCEPTS.node());
        let finding = finding.with("node", ACCEPTS.node().0).with("cookies_accepted", self.accepted);
        if !self.is_always {
            return finding.with_next(format!(
                "Look for what fills the queue of new connections of {at} (ss -tn state syn-recv, nstat -az TcpExtSyncookiesSent): a flood of SYNs, or \
                 a net.ipv4.tcp_max_syn_backlog that is too low. Cookies are its way out."
            ));
        }
        let lead = format!(
            "Let {at} answer by cookies only where its queue of new connections is full, as is usual{or}:"
        );
        let commands = Commands::new().at(ACCEPTS.node(), "sysctl -w net.ipv4.tcp_syncookies=1", &[]);
        finding.with_commands(&lead, &commands)
    }
}
