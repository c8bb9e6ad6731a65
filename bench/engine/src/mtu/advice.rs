//! What to set where, in the words and numbers that people type, and which migration error the fault causes.

use pathproof_model::Numbers;
use pathproof_model::numbers::VLAN_TAG_BYTES;

/// IP MTUs that hosts are commonly set to, descending.
const HOST_SETTINGS_IP_MTU_BYTES: [u32; 4] = [9600, 9000, 4074, 1500];

/// What to do about a path that carries less than its interfaces send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Common IP MTU that the path does carry: what to set on the hosts. `None` below 1500.
    pub host_ip_mtu_bytes: Option<u32>,
    /// The same as Windows "Jumbo Packet".
    pub host_jumbo_packet_bytes: Option<u32>,
    /// What every switch port must carry instead, counted as IP bytes.
    pub switch_ip_bytes: u32,
    /// Both ways out, one sentence each; the second begins with "Or".
    pub text: String,
}

/// The error a live migration would have died with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationError {
    /// HRESULT.
    pub code: u32,
    /// The system's words.
    pub text: &'static str,
}

impl std::fmt::Display for MigrationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:08X} \"{}\"", self.code, self.text)
    }
}

/// WSAECONNRESET: a connection that was established and then cut.
pub const CONNECTION_CLOSED: MigrationError = MigrationError {
    code: 0x8007_2746,
    text: "An existing connection was forcibly closed by the remote host",
};

/// WSAETIMEDOUT: no answer.
pub const CONNECTION_TIMEOUT: MigrationError = MigrationError {
    code: 0x8007_274C,
    text: "A connection attempt failed because the connected party did not properly respond",
};

/// Which error a hole causes: where both directions lose large packets the connection is cut in mid-transfer;
/// where the directions (the switches) disagree one side waits for answers that never come.
pub fn migration_error(one_way: bool) -> MigrationError {
    if one_way { CONNECTION_TIMEOUT } else { CONNECTION_CLOSED }
}

/// Advice for interfaces that send `sent_ip_mtu_bytes` over a path that carries `path_ip_mtu_bytes`.
pub fn advise(path_ip_mtu_bytes: u32, sent_ip_mtu_bytes: u32) -> Advice {
    let host = HOST_SETTINGS_IP_MTU_BYTES.into_iter().find(|setting| *setting <= path_ip_mtu_bytes);
    let sent = Numbers::from_ip_mtu(sent_ip_mtu_bytes);
    let switch = format!(
        "set every switch port on the path to at least {} (counted as IP bytes; {} with the Ethernet header, {} \
         with FCS) plus {} for each VLAN tag",
        sent.switch_l3_bytes, sent.switch_l2_bytes, sent.switch_l2_fcs_bytes, VLAN_TAG_BYTES
    );
    let text = match host {
        // What the user wanted comes first: the hosts were set so for a reason.
        Some(host) => format!(
            "To keep packets of {sent_ip_mtu_bytes} bytes {switch}. Or set both hosts lower: ip link set dev IF mtu {host} \
             (Windows: Jumbo Packet {}).",
            Numbers::from_ip_mtu(host).windows_jumbo_packet_bytes,
        ),
        None => format!(
            "The path carries less than an ordinary Ethernet frame: fix the path ({switch}), or as a stopgap set \
             the hosts to IP MTU {path_ip_mtu_bytes}."
        ),
    };
    Advice {
        host_ip_mtu_bytes: host,
        host_jumbo_packet_bytes: host.map(|host| Numbers::from_ip_mtu(host).windows_jumbo_packet_bytes),
        switch_ip_bytes: sent_ip_mtu_bytes,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_this_tool_is_known_for() {
        let advice = advise(9216, 9614);
        assert_eq!(advice.host_ip_mtu_bytes, Some(9000));
        assert_eq!(advice.host_jumbo_packet_bytes, Some(9014));
        assert!(advice.text.starts_with("To keep packets of 9614 bytes set every"), "{}", advice.text);
        assert!(
            advice.text.contains(". Or set both hosts lower") && advice.text.contains("Jumbo Packet 9014"),
            "{}",
            advice.text
        );
        assert!(advice.text.contains("at least 9614") && advice.text.contains("VLAN tag"), "{}", advice.text);
        assert_eq!(migration_error(false).to_string().split(' ').next(), Some("0x80072746"));
        assert_eq!(migration_error(true).to_string().split(' ').next(), Some("0x8007274C"));
    }

    #[test]
    fn hosts_are_never_told_more_than_the_path_carries() {
        for path in 68..10_000 {
            assert!(advise(path, 9614).host_ip_mtu_bytes.is_none_or(|host| host <= path));
        }
        assert_eq!(advise(1499, 9000).host_ip_mtu_bytes, None);
    }
}
