//! Other names for what must not leave a house: names of hosts and people, MAC addresses, IP addresses. The same one gets the same other
//! name everywhere in a bundle, and what belongs together stays together: addresses of one network are in one network afterwards, and a MAC address keeps
//! its maker.
//!
//! Nothing leads back: the names come from a key that is made for the bundle and thrown away with this process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::notations::{
    bare, before_ipv6, before_octets, grouped, guid, ipv4_within, octets, uuid, words, written,
};
use super::secrets;

/// Names shorter than this stand in too many other words: only where one stands alone it is replaced.
const NAME_LETTERS_MIN: usize = 3;
/// What is called like this is nobody, or a system and the account that comes with it, or a word of ours, without which a result could not be read any more.
const NOBODY: &[&str] = &[
    "localhost",
    "localdomain",
    "here",
    "self",
    "unknown",
    "none",
    "linux",
    "windows",
    "root",
    "admin",
    "administrator",
    "alpine",
    "arch",
    "centos",
    "debian",
    "fedora",
    "opensuse",
    "rocky",
    "suse",
    "ubuntu",
    "client",
    "server",
    "peer",
    "node",
    "agent",
    "storage",
    "migration",
    "backup",
    "heartbeat",
    "tcp",
    "multi",
    "rdma",
    "smb",
];
/// Signs that stand between the parts of a word.
const SIGNS: [char; 4] = ['.', ':', '-', '_'];
/// Who may be called with the domain of the account: `DOMAIN\NAME`, `NAME@DOMAIN`.
const ACCOUNTS: [&str; 1] = ["user"];
/// What has names of several parts with dots between them.
const DOTTED: [&str; 3] = ["host", "switch", "domain"];
/// Windows cuts the name of a host to so many letters.
const NETBIOS_LETTERS: usize = 15;
/// Where names of a house's own end.
const OWN_DOMAINS: [&str; 6] = [".local", ".lan", ".internal", ".intranet", ".corp", ".home.arpa"];
/// Shorter, it would stand in other words.
const SECRET_LETTERS_MIN: usize = 4;
/// Instead of it.
const LEFT_OUT: &str = "(left out)";
/// Parts of a document that tell versions, some of which look like addresses.
const VERSIONS: [&str; 4] = ["firmware", "driver_version", "kernel", "version"];

/// Which other names there are.
pub struct Pseudonyms {
    key: [u8; 32],
    /// By the name in lower case.
    names: BTreeMap<String, String>,
    /// Hardware addresses that are known to be some, wherever their digits stand.
    macs: BTreeSet<[u8; 6]>,
    /// What is left out wherever it stands.
    secrets: Vec<String>,
}

impl Pseudonyms {
    /// Other names by this key, which nobody should know twice.
    pub fn new(key: [u8; 32]) -> Pseudonyms {
        Pseudonyms { key, names: BTreeMap::new(), macs: BTreeSet::new(), secrets: vec![] }
    }

    /// Takes a name for one that must not leave: `host`, `user` and so on says what it is.
    pub fn hide(&mut self, name: &str, what: &str) {
        let behind = || name.rsplit_once('@').map(|(own, domain)| (domain, own));
        match name.split_once('\\').or_else(behind).filter(|_| ACCOUNTS.contains(&what)) {
            Some((domain, own)) => {
                self.hide_whole(domain, "domain");
                self.hide_whole(own, what);
            }
            None => self.hide_whole(name, what),
        }
    }

    fn hide_whole(&mut self, name: &str, what: &str) {
        let name = name.trim().trim_end_matches('.').to_lowercase();
        let harmless = name.is_empty() || NOBODY.contains(&name.as_str()) || name.parse::<IpAddr>().is_ok();
        if harmless || self.names.contains_key(&name) {
            return;
        }
        // A host is called by the first part of its name too, and that is what it was called by before.
        let dotted = DOTTED.contains(&what);
        let parts = name.split_once('.').filter(|(first, _)| dotted && first.parse::<u8>().is_err());
        let known = parts.and_then(|(first, _)| self.names.get(first)).cloned();
        let other = known.unwrap_or_else(|| self.next(what));
        if let Some((first, domain)) = parts {
            if !NOBODY.contains(&first) {
                self.names.entry(first.to_owned()).or_insert(other.clone());
            }
            // The names of its neighbours end as its own does.
            if let Some((short, _)) = domain.split_once('.').filter(|_| !self.names.contains_key(domain)) {
                let next = self.next("domain");
                // Windows calls it by its first part.
                if !NOBODY.contains(&short) {
                    self.names.entry(short.to_owned()).or_insert(next.clone());
                }
                self.names.insert(domain.to_owned(), next);
            }
        }
        let first = parts.map_or(name.as_str(), |(first, _)| first);
        if first.chars().count() > NETBIOS_LETTERS {
            let cut = first.chars().take(NETBIOS_LETTERS).collect();
            self.names.entry(cut).or_insert(other.clone());
        }
        self.names.insert(name, other);
    }

    fn next(&self, what: &str) -> String {
        let is_number = |rest: &str| rest.bytes().all(|digit| digit.is_ascii_digit());
        let taken = self.names.values().filter(|other| other.strip_prefix(what).is_some_and(is_number));
        format!("{what}{}", 1 + taken.collect::<BTreeSet<_>>().len())
    }

    /// Takes a hardware address for one, so that its bare digits are replaced as well.
    pub fn hide_hardware(&mut self, address: &str) {
        let address = octets(address).and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        self.macs.extend(address.filter(|mac| *mac != [0; 6]));
    }

    /// Leaves out what nobody may see, wherever it stands.
    pub fn leave_out(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= SECRET_LETTERS_MIN {
            self.secrets.push(secret.to_owned());
        }
    }

    /// Takes names from a text: the whole name of a host whose first part is known, and whose home folder is named.
    pub fn learn(&mut self, text: &str) {
        for (word, _) in words(text).into_iter().filter(|(_, is_word)| *is_word) {
            let word = word.trim_matches(SIGNS).to_lowercase();
            let Some((first, domain)) = word.split_once('.') else { continue };
            let label =
                |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
            let last = domain.rsplit('.').next().unwrap_or_default();
            let is_domain = domain.contains('.')
                && domain.split('.').all(label)
                && last.chars().all(|letter| letter.is_ascii_alphabetic());
            if is_domain && self.names.contains_key(first) {
                self.hide(&word, "host");
            }
        }
        for (at, folder) in text.match_indices("/home/") {
            let rest = &text[at + folder.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
            self.hide(&rest[..end], "user");
        }
    }

    /// A text with other names.
    pub fn text(&self, text: &str) -> String {
        if let Some(other) = self.names.get(&text.trim().to_lowercase()) {
            return other.clone();
        }
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, LEFT_OUT));
        let pieces = secrets::logons(&text).into_iter();
        let text: String = pieces.map(|(piece, left_out)| if left_out { LEFT_OUT } else { piece }).collect();
        let mut out = String::with_capacity(text.len());
        // What ends a secret, while one is left out.
        let (mut before, mut until): (&str, Option<&[char]>) = ("", None);
        for (part, is_word) in words(&text) {
            if let Some(ends) = until {
                if let Some(end) = part.find(ends) {
                    out.push_str(&part[end..]);
                    until = None;
                }
            } else if is_word {
                out.push_str(&self.word(part));
                before = part;
            } else if let Some((at, ends)) = secrets::begins(before, part) {
                let (sign, begun) = part.split_at(at);
                out.push_str(sign);
                out.push_str(LEFT_OUT);
                // It may end before it has any letter.
                match begun.find(ends) {
                    Some(end) => out.push_str(&begun[end..]),
                    None => until = Some(ends),
                }
            } else {
                out.push_str(part);
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
                let replaced = |(key, value): (String, Value)| {
                    let is_version = VERSIONS.contains(&key.as_str()) && value.is_string();
                    let value = if is_version { value } else { self.value(value) };
                    // Without its own keys nobody could read a result any more.
                    let own = key.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_');
                    (if own { key } else { self.text(&key) }, value)
                };
                parts.into_iter().map(replaced).collect()
            }
            other => other,
        }
    }

    /// One word: letters, digits, and what addresses and names have between them.
    fn word(&self, word: &str) -> String {
        // An address may end like a sentence, and one of IPv6 in colons of its own.
        let end = if word.parse::<IpAddr>().is_ok() { word } else { word.trim_end_matches(SIGNS) };
        let (core, tail) = word.split_at(end.len());
        let other = self.hardware(core).or_else(|| self.address(core)).or_else(|| self.neighbour(core));
        other.unwrap_or_else(|| self.within(core)) + tail
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

    /// A hardware address, however it is written.
    fn hardware(&self, core: &str) -> Option<String> {
        if let Some(octets) = octets(core) {
            return Some(written(&self.octets(&octets), ":"));
        }
        if let Some(mac) = grouped(core) {
            return Some(written(&self.mac(mac), ":"));
        }
        if let Some(guid) = guid(core) {
            let other = self.hashed(b"guid", &guid, 0);
            return Some(other.chunks(2).map(|pair| written(pair, "")).collect::<Vec<_>>().join(":"));
        }
        if let Some(uuid) = uuid(core) {
            let other = written(&self.hashed(b"uuid", &uuid, 0), "");
            let parts = [&other[..8], &other[8..12], &other[12..16], &other[16..20], &other[20..]];
            return Some(parts.join("-"));
        }
        self.digits(core)
    }

    /// One of which only the digits are written, and no sign between them.
    fn digits(&self, core: &str) -> Option<String> {
        if let Some((before, mac)) = bare::<6>(core) {
            // A NIC that is called by its address says so; other digits may be anything.
            let is_one = before.starts_with(['e', 'w']) || self.macs.contains(&mac);
            return is_one.then(|| format!("{before}{}", written(&self.mac(mac), "")));
        }
        let (before, guid) = bare::<8>(core)?;
        let other = || format!("{before}{}", written(&self.hashed(b"guid", &guid, 3), ""));
        self.is_made_of_a_mac(guid).then(other)
    }

    /// Whether a number of an adapter has a hardware address in it: two bytes stand between its halves, and a bit of its first may be turned.
    fn is_made_of_a_mac(&self, guid: [u8; 8]) -> bool {
        let [a, b, c, one, two, d, e, f] = guid;
        (one, two) == (0xff, 0xfe) || [a, a ^ 2].iter().any(|a| self.macs.contains(&[*a, b, c, d, e, f]))
    }

    /// A host of a domain that is known, or of one that no public name ends in, though nobody said its name.
    fn neighbour(&self, core: &str) -> Option<String> {
        let lower = core.to_lowercase();
        let known =
            self.names.iter().filter(|(name, other)| name.contains('.') && other.starts_with("domain"));
        let of_known = known.filter_map(|(name, other)| {
            Some((lower.strip_suffix(name.as_str())?.strip_suffix('.')?, format!(".{other}")))
        });
        let of_own =
            OWN_DOMAINS.iter().filter_map(|end| Some((lower.strip_suffix(*end)?, (*end).to_owned())));
        let (host, domain) = of_known.chain(of_own).find(|(host, _)| !host.is_empty())?;
        if let Some(known) = self.names.get(host) {
            return Some(known.clone() + &domain);
        }
        let is_name =
            !NOBODY.contains(&host) && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
        let number = blake3::keyed_hash(&self.key, host.as_bytes());
        is_name.then(|| format!("host-{}{domain}", written(&number.as_bytes()[..2], "")))
    }

    /// Addresses and names within a word.
    fn within(&self, core: &str) -> String {
        if let Some((before, ip)) = before_ipv6(core) {
            return self.first(before) + &self.ip(ip.into()).to_string();
        }
        match before_octets(core) {
            Some((before, octets)) => self.first(before) + &written(&self.octets(&octets), ":"),
            None => self.pieces(core),
        }
    }

    /// What stands before an address in a word: another one, as the first of a range, or anything else.
    fn first(&self, before: &str) -> String {
        let (core, sign) = before.split_at(before.trim_end_matches(SIGNS).len());
        match core.parse::<IpAddr>() {
            Ok(ip) => self.ip(ip).to_string() + sign,
            Err(_) => self.pieces(before),
        }
    }

    fn pieces(&self, core: &str) -> String {
        let pieces = ipv4_within(core).into_iter();
        let replaced = |(piece, ip): (&str, Option<Ipv4Addr>)| match ip {
            Some(ip) => self.ipv4(ip).to_string(),
            None => self.named(piece),
        };
        // A name may have digits and dots in it, and is whole only where there is no address.
        if pieces.clone().all(|(_, ip)| ip.is_none()) {
            self.named(core)
        } else {
            pieces.map(replaced).collect()
        }
    }

    /// Names within a word: a name may have a port, a domain or a share behind it.
    fn named(&self, core: &str) -> String {
        let mut out = self.digits_within(core);
        let lower = out.to_lowercase();
        let long = |name: &str| name.chars().count() >= NAME_LETTERS_MIN;
        let mut known: Vec<_> =
            self.names.iter().filter(|(name, _)| long(name) || **name == lower && lower.len() > 1).collect();
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

    /// A word in whose parts hardware addresses are replaced that have no sign in them: the VLAN of a NIC that is called by its own.
    fn digits_within(&self, word: &str) -> String {
        let replaced = |part: &str| {
            let (digits, sign) = part.split_at(part.trim_end_matches(SIGNS).len());
            self.digits(digits).unwrap_or_else(|| digits.to_owned()) + sign
        };
        word.split_inclusive(SIGNS).map(replaced).collect()
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
    fn mac(&self, mac: [u8; 6]) -> Vec<u8> {
        let stays = mac[0] & 1 == 1 || mac == [0; 6];
        if stays { mac.to_vec() } else { self.hashed(b"mac ", &mac, 3) }
    }

    /// Bytes of one or two hardware addresses, or of a longer one.
    fn octets(&self, octets: &[u8]) -> Vec<u8> {
        match octets {
            [a, b, c, d, e, f] => self.mac([*a, *b, *c, *d, *e, *f]),
            // To whom, from whom, and what: as a packet filter logs a frame.
            _ if octets.len() == 14 => [&octets[..6], &octets[6..12]]
                .into_iter()
                .flat_map(|mac| self.octets(mac))
                .chain(octets[12..].iter().copied())
                .collect(),
            _ => self.hashed(b"mac ", octets, 3),
        }
    }

    /// The bytes with those behind the first `kept` changed.
    fn hashed(&self, what: &[u8; 4], bytes: &[u8], kept: usize) -> Vec<u8> {
        let mut hash = blake3::Hasher::new_keyed(&self.key);
        let mut stream = hash.update(what).update(bytes).finalize_xof();
        let mut other = bytes.to_vec();
        stream.fill(&mut other[kept.min(bytes.len())..]);
        other
    }
}

#[cfg(test)]
mod tests;
