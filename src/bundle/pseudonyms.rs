//! Other names for what must not leave a house: names of hosts and people, MAC addresses, IP addresses. The same one gets the same other
//! name everywhere in a bundle, and what belongs together stays together: addresses of one network are in one network afterwards, and a MAC address keeps
//! its maker.
//!
//! Nothing leads back: the names come from a key that is made for the bundle and thrown away with this process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// Names shorter than this stand in too many other words: only where one stands alone it is replaced.
const NAME_LETTERS_MIN: usize = 3;
/// What is called like this is nobody.
const NOBODY: [&str; 6] = ["localhost", "here", "self", "unknown", "none", "linux"];

/// Which other names there are.
pub struct Pseudonyms {
    key: [u8; 32],
    /// By the name in lower case.
    names: BTreeMap<String, String>,
}

impl Pseudonyms {
    /// Other names by this key, which nobody should know twice.
    pub fn new(key: [u8; 32]) -> Pseudonyms {
        Pseudonyms { key, names: BTreeMap::new() }
    }

    /// Takes a name for one that must not leave: `host`, `user` and so on says what it is.
    pub fn hide(&mut self, name: &str, what: &str) {
        let name = name.trim().to_lowercase();
        let harmless = name.is_empty() || NOBODY.contains(&name.as_str()) || name.parse::<IpAddr>().is_ok();
        if harmless || self.names.contains_key(&name) {
            return;
        }
        let taken = self.names.values().filter(|other| other.starts_with(what));
        let number = 1 + taken.collect::<BTreeSet<_>>().len();
        self.names.insert(name.clone(), format!("{what}{number}"));
        // A host is called by the first part of its name too.
        if let Some((first, _)) = name.split_once('.').filter(|(first, _)| first.parse::<u8>().is_err()) {
            let other = self.names[&name].clone();
            self.names.entry(first.to_owned()).or_insert(other);
        }
    }

    /// A text with other names.
    pub fn text(&self, text: &str) -> String {
        if let Some(other) = self.names.get(&text.trim().to_lowercase()) {
            return other.clone();
        }
        let mut out = String::with_capacity(text.len());
        for (word, is_word) in words(text) {
            match is_word {
                true => out.push_str(&self.word(word)),
                false => out.push_str(word),
            }
        }
        out
    }

    /// A value with other names, those of its keys included.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(parts) => {
                parts.into_iter().map(|(key, value)| (self.text(&key), self.value(value))).collect()
            }
            other => other,
        }
    }

    /// One word: letters, digits, and what addresses and names have between them.
    fn word(&self, word: &str) -> String {
        // An address may end like a sentence, and one of IPv6 in colons of its own.
        let end =
            if word.parse::<IpAddr>().is_ok() { word } else { word.trim_end_matches(['.', ':', '-', '_']) };
        let (core, tail) = word.split_at(end.len());
        if let Some(mac) = mac(core) {
            return self.mac(mac) + tail;
        }
        if let Some(other) = self.address(core) {
            return other + tail;
        }
        if let Some(guid) = guid(core) {
            return self.guid(guid) + tail;
        }
        self.named(core) + tail
    }

    /// An address, alone or with a port behind it.
    fn address(&self, core: &str) -> Option<String> {
        if let Ok(ip) = core.parse::<IpAddr>() {
            return Some(self.ip(ip).to_string());
        }
        let (ip, port) = core.rsplit_once(':')?;
        let (ip, port): (Ipv4Addr, u16) = (ip.parse().ok()?, port.parse().ok()?);
        Some(format!("{}:{port}", self.ip(ip.into())))
    }

    /// Names within a word: a name may have a port, a domain or a share behind it.
    fn named(&self, core: &str) -> String {
        let lower = core.to_lowercase();
        let mut out = core.to_owned();
        let long = |name: &str| name.chars().count() >= NAME_LETTERS_MIN;
        let mut known: Vec<_> =
            self.names.iter().filter(|(name, _)| long(name) || **name == lower && core.len() > 1).collect();
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, other) in known {
            // What changes its length in lower case is left to be replaced as a whole.
            let lower = out.to_lowercase();
            if lower.len() != out.len() {
                continue;
            }
            let places: Vec<usize> = lower.match_indices(name.as_str()).map(|(at, _)| at).collect();
            for at in places.into_iter().rev() {
                let end = at + name.len();
                let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                if !letter(lower[..at].chars().next_back()) && !letter(lower[end..].chars().next()) {
                    out.replace_range(at..end, other);
                }
            }
        }
        out
    }

    fn ip(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(ip) => IpAddr::V4(self.ipv4(ip)),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(within) => IpAddr::V6(self.ipv4(within).to_ipv6_mapped()),
                None => IpAddr::V6(self.ipv6(ip)),
            },
        }
    }

    /// The kind of address and its last byte stay: that it is private, and that it is a router's usual `.1`, helps; which network it is does not.
    fn ipv4(&self, ip: Ipv4Addr) -> Ipv4Addr {
        let [a, b, c, d] = ip.octets();
        let kept = match (a, b) {
            (0 | 127 | 224.., _) => return ip,
            (172, 16..=31) => 12,
            (192, 168) | (169, 254) => 16,
            (100, 64..=127) => 10,
            _ => 8,
        };
        let mixed = self.mixed(b"ipv4", u128::from(u32::from_be_bytes([a, b, c, d])), 32, kept..24);
        Ipv4Addr::from(mixed as u32)
    }

    fn ipv6(&self, ip: Ipv6Addr) -> Ipv6Addr {
        let bits = u128::from(ip);
        let first = ip.segments()[0];
        if ip.is_unspecified() || ip.is_loopback() || first >= 0xff00 {
            return ip;
        }
        let kept = match first {
            _ if first & 0xffc0 == 0xfe80 => 64,
            _ if first & 0xfe00 == 0xfc00 => 8,
            _ => 16,
        };
        // A small number in the lower half was chosen by hand, a large one may have the MAC address in it.
        let small = bits as u64 <= 0xffff;
        Ipv6Addr::from(self.mixed(b"ipv6", bits, 128, kept..if small { 64 } else { 128 }))
    }

    /// `bits`, `width` of them, with those in `range` changed, counted from the highest: each by what stands before it. So two that begin alike still do
    /// (prefix-preserving, Xu and others 2002).
    fn mixed(&self, what: &[u8; 4], bits: u128, width: u32, range: std::ops::Range<u32>) -> u128 {
        range.fold(bits, |mixed, at| {
            let place = width - 1 - at;
            let before = bits >> place >> 1;
            let mut hash = blake3::Hasher::new_keyed(&self.key);
            hash.update(what).update(&at.to_be_bytes()).update(&before.to_be_bytes());
            mixed ^ (u128::from(hash.finalize().as_bytes()[0] & 1) << place)
        })
    }

    /// The maker stays; groups and nobody stay as they are.
    fn mac(&self, mac: [u8; 6]) -> String {
        let mut other = mac;
        if mac[0] & 1 == 0 && mac != [0; 6] {
            let mut hash = blake3::Hasher::new_keyed(&self.key);
            hash.update(b"mac ").update(&mac);
            other[3..].copy_from_slice(&hash.finalize().as_bytes()[..3]);
        }
        other.map(|byte| format!("{byte:02x}")).join(":")
    }

    fn guid(&self, guid: [u16; 4]) -> String {
        let mut hash = blake3::Hasher::new_keyed(&self.key);
        hash.update(b"guid");
        guid.iter().for_each(|part| _ = hash.update(&part.to_be_bytes()));
        let hash = hash.finalize();
        let parts: Vec<String> =
            hash.as_bytes()[..8].chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
        parts.join(":")
    }
}

/// A text in words and what stands between them.
fn words(text: &str) -> Vec<(&str, bool)> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
    let mut parts = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = part(first);
        let end = rest.find(|c| part(c) != is_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        parts.push((word, is_word));
        rest = after;
    }
    parts
}

/// `aa:bb:cc:dd:ee:ff`, or with dashes as Windows writes it.
fn mac(word: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = word.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && word.len() == 17).then_some(mac)
}

/// `aaaa:bbbb:cccc:dddd`, as adapters are numbered.
fn guid(word: &str) -> Option<[u16; 4]> {
    let mut guid = [0; 4];
    let mut parts = word.split(':');
    for number in &mut guid {
        let part = parts.next().filter(|part| part.len() == 4)?;
        *number = u16::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && guid != [0; 4]).then_some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms() -> Pseudonyms {
        let mut names = Pseudonyms::new([7; 32]);
        names.hide("hv1.corp.example", "host");
        names.hide("stor2", "host");
        names.hide("a", "user");
        names
    }

    #[test]
    fn no_name_and_no_address_is_left() {
        let text = "HV1 asked stor2:7797 (10.91.1.2:7797, [fd12:3456:789a:1::22]) over 52:54:00:ab:cd:ef and 00-15-5D-AB-CD-EF; \
                    //stor2/vms on hv1.corp.example. fe80::5054:ff:feab:cdef%eth0, guid 5054:00ff:feab:cdef, ::ffff:192.168.7.9";
        let told = pseudonyms().text(text);
        for gone in [
            "HV1",
            "hv1",
            "stor2",
            "corp",
            "10.91.1.2",
            "fd12:3456",
            "ab:cd:ef",
            "AB-CD-EF",
            "feab",
            "192.168.7.9",
        ] {
            assert!(!told.contains(gone), "{gone}: {told}");
        }
        for kept in [
            "host1 asked host2:7797 (10.",
            ".2:7797",
            "52:54:00:",
            "00:15:5d:",
            "fe80::",
            "%eth0",
            "//host2/vms on host1.",
            "192.168.",
        ] {
            assert!(told.contains(kept), "{kept}: {told}");
        }
        assert_eq!(told, pseudonyms().text(text), "the same every time");
        assert_ne!(told, Pseudonyms::new([8; 32]).text(text));
    }

    #[test]
    fn what_names_nobody_stays() {
        let names = pseudonyms();
        for text in [
            "127.0.0.1:7797 and ::1 on lo, 0.0.0.0, [::]:7797, 255.255.255.0, 224.0.0.1, ff02::1, 1.25 ms, 94.1 %",
            "2026-11-29T08:10:11.5Z took 12:30, a hot path at 9000 bytes; 00:00:00:00:00:00, ff:ff:ff:ff:ff:ff",
            "mlx5_0 fw 16.35.2000 driver 5.15.0-1.el8, a.b, 0x80072746, storage2, stor22",
        ] {
            assert_eq!(names.text(text), text);
        }
        assert_eq!(names.text("a"), "user1", "where it stands alone");
    }

    #[test]
    fn what_is_one_network_stays_one() {
        let names = Pseudonyms::new([3; 32]);
        let ip = |text: &str| names.text(text).parse::<IpAddr>().unwrap();
        let IpAddr::V4(one) = ip("10.91.1.2") else { panic!() };
        let IpAddr::V4(two) = ip("10.91.1.254") else { panic!() };
        let IpAddr::V4(other) = ip("10.91.2.2") else { panic!() };
        assert_eq!(one.octets()[..3], two.octets()[..3]);
        assert_ne!(one.octets()[..3], other.octets()[..3]);
        assert_eq!((one.octets()[0], one.octets()[3], two.octets()[3]), (10, 2, 254));
        let network = names.text("fd00:1:2:3::/64");
        let within = names.text("fd00:1:2:3::7");
        assert!(within.starts_with(network.strip_suffix("::/64").unwrap()), "{network} {within}");
        assert_eq!(
            names.text("10.91.1.0/24"),
            format!("{}.{}.{}.0/24", one.octets()[0], one.octets()[1], one.octets()[2])
        );
    }

    #[test]
    fn keys_and_values_of_a_document_are_changed_alike() {
        let doc = serde_json::json!({"nics.eth0": {"mac": "52:54:00:ab:cd:ef"}, "stor2": ["stor2", 7, null]});
        let told = pseudonyms().value(doc);
        assert_eq!(told["host2"], serde_json::json!(["host2", 7, null]));
        assert!(told["nics.eth0"]["mac"].as_str().unwrap().starts_with("52:54:00:"));
        assert!(!told.to_string().contains("ab:cd:ef"));
    }
}
