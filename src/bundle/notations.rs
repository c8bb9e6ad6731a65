//! How addresses are written where nobody meant them to be found again: hardware addresses in the ways of kernels, switches and Windows, and IP
//! addresses within a longer word. It only reads; what becomes of them is `pseudonyms`' alone.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Fewer bytes in a row are a time of day.
const OCTETS_MIN: usize = 6;
/// Most bytes of one that stands behind something else: that of an InfiniBand port has as many.
const OCTETS_MAX: usize = 20;
/// What a kernel puts before the hardware address by which it names a NIC or an adapter.
const BEFORE_DIGITS: [&str; 5] = ["0x", "enx", "wlx", "wwx", ""];

/// A text in words and what stands between them.
pub fn words(text: &str) -> Vec<(&str, bool)> {
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

/// `aa:bb:cc:dd:ee:ff`, with dashes as Windows writes it, and longer: a packet filter logs both addresses and the type of a frame in one word.
pub fn octets(word: &str) -> Option<Vec<u8>> {
    let octets: Option<Vec<u8>> =
        word.split([':', '-']).map(|part| hex::<1>(part).map(|[byte]| byte)).collect();
    octets.filter(|octets| octets.len() >= OCTETS_MIN)
}

/// `aabb.ccdd.eeff`, or with dashes, as switches write it.
pub fn grouped(word: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = word.split(['.', '-']);
    for pair in mac.chunks_mut(2) {
        pair.copy_from_slice(&hex::<2>(parts.next()?)?);
    }
    parts.next().is_none().then_some(mac)
}

/// `aaaa:bbbb:cccc:dddd`, as adapters are numbered.
pub fn guid(word: &str) -> Option<[u8; 8]> {
    let mut guid = [0; 8];
    let mut parts = word.split(':');
    for pair in guid.chunks_mut(2) {
        pair.copy_from_slice(&hex::<2>(parts.next()?)?);
    }
    (parts.next().is_none() && guid != [0; 8]).then_some(guid)
}

/// `aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee`, as hosts, disks and boots are numbered.
pub fn uuid(word: &str) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut parts = word.split('-');
    uuid[..4].copy_from_slice(&hex::<4>(parts.next()?)?);
    for pair in uuid[4..10].chunks_mut(2) {
        pair.copy_from_slice(&hex::<2>(parts.next()?)?);
    }
    uuid[10..].copy_from_slice(&hex::<6>(parts.next()?)?);
    (parts.next().is_none() && uuid != [0; 16]).then_some(uuid)
}

/// Digits without anything between them, and what stands before them: `enxaabbccddeeff`, `0xaabbcc0300ddeeff`.
pub fn bare<const N: usize>(word: &str) -> Option<(&str, [u8; N])> {
    BEFORE_DIGITS.into_iter().find_map(|before| {
        let digits = word.strip_prefix(before)?;
        Some((&word[..before.len()], hex(digits)?))
    })
}

/// Exactly so many bytes in hexadecimal digits.
fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let hexadecimal = digits.len() == 2 * N && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| hexadecimal) {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    hexadecimal.then_some(bytes)
}

/// Bytes as hardware addresses are usually written, `between` each and the next.
pub fn written(octets: &[u8], between: &str) -> String {
    octets.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}

/// A word with IPv4 addresses in it, in pieces: `10.0.0.2::10.0.0.1:255.255.255.0:hv1` has three of them. A version (`v10.0.0.1`) is none.
pub fn ipv4_within(word: &str) -> Vec<(&str, Option<Ipv4Addr>)> {
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (mut pieces, mut from, mut at) = (vec![], 0, 0);
    while let Some(start) = word[at..].find(numeric).map(|start| at + start) {
        let end = word[start..].find(|c| !numeric(c)).map_or(word.len(), |end| start + end);
        let apart = !letter(word[..start].chars().next_back()) && !letter(word[end..].chars().next());
        if let Some((address, bytes)) = beginning(&word[start..end]).filter(|_| apart) {
            pieces.extend([(&word[from..start], None), (&word[start..start + bytes], Some(address))]);
            from = start + bytes;
        }
        at = end;
    }
    pieces.push((&word[from..], None));
    pieces
}

/// An address and its length; `.port` may stand behind it, as tcpdump writes it.
fn beginning(digits: &str) -> Option<(Ipv4Addr, usize)> {
    if let Ok(address) = digits.parse() {
        return Some((address, digits.len()));
    }
    let (address, _) = digits.rsplit_once('.').filter(|(address, _)| address.matches('.').count() == 3)?;
    Some((address.parse().ok()?, address.len()))
}

/// What stands before an IPv6 address that ends a word: `peer:2001:db8::1`.
pub fn before_ipv6(word: &str) -> Option<(&str, Ipv6Addr)> {
    word.match_indices([':', '-', '_']).find_map(|(at, sign)| {
        let (before, address) = word.split_at(at + sign.len());
        Some((before, address.parse().ok()?))
    })
}

/// What stands before a hardware address that ends a word: `eth0:aa:bb:cc:dd:ee:ff`, as a boot loader names a NIC.
pub fn before_octets(word: &str) -> Option<(&str, Vec<u8>)> {
    // Two digits and a sign each.
    let is_near = |at: usize| word.len() - at <= 3 * OCTETS_MAX;
    word.match_indices([':', '-', '_', '.']).filter(|(at, _)| is_near(*at)).find_map(|(at, sign)| {
        let (before, address) = word.split_at(at + sign.len());
        Some((before, octets(address)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_known_however_it_is_written() {
        let mac = [0x52, 0x54, 0, 0xab, 0xcd, 0xef];
        for word in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF"] {
            assert_eq!(octets(word).as_deref(), Some(&mac[..]), "{word}");
        }
        for word in ["5254.00ab.cdef", "5254-00AB-CDEF"] {
            assert_eq!(grouped(word), Some(mac), "{word}");
        }
        assert_eq!(bare("enx525400abcdef"), Some(("enx", mac)));
        assert_eq!(bare("525400ABCDEF"), Some(("", mac)));
        assert_eq!(bare("0x525400fffeabcdef"), Some(("0x", [0x52, 0x54, 0, 0xff, 0xfe, 0xab, 0xcd, 0xef])));
        assert_eq!(octets(&["01"; 14].join(":")).map(|octets| octets.len()), Some(14));
        for word in ["12:30:45", "52:54:00:ab:cd:e", "52:54:00:ab:cd:xy", "", ":::::", "5254.00ab", "1.2.3"] {
            assert_eq!((octets(word), grouped(word), guid(word)), (None, None, None), "{word}");
        }
        assert_eq!(before_octets("eth0:52:54:00:ab:cd:ef"), Some(("eth0:", mac.to_vec())));
        assert_eq!((before_octets("52:54:00:ab:cd:ef"), before_octets("at-08:10:11")), (None, None));
        let vm = "00006d76-0000-0000-0000-0000000000ff";
        assert_eq!(uuid(vm).map(|uuid| (uuid[2], uuid[15])), Some((0x6d, 255)));
        for word in ["00000000-0000-0000-0000-000000000000", &format!("{vm}-1"), "6d76-00", ""] {
            assert_eq!(uuid(word), None, "{word}");
        }
        for word in ["+5+4+0+a+c+e", "525400abcde", "éé5400abcdef", "enx"] {
            assert_eq!(bare::<6>(word), None, "{word}");
        }
    }

    #[test]
    fn addresses_are_found_within_words() {
        let found = |word: &str| -> Vec<String> {
            let pieces = ipv4_within(word);
            assert_eq!(pieces.iter().map(|(piece, _)| *piece).collect::<String>(), word, "nothing is lost");
            pieces.iter().filter_map(|(piece, address)| address.map(|_| (*piece).to_owned())).collect()
        };
        assert_eq!(
            found("10.0.0.2::10.0.0.1:255.255.255.0:hv1:eth0"),
            ["10.0.0.2", "10.0.0.1", "255.255.255.0"]
        );
        assert_eq!(found("10.0.0.1-10.0.0.9"), ["10.0.0.1", "10.0.0.9"]);
        assert_eq!(found("10.0.0.2.7797"), ["10.0.0.2"]);
        for word in ["v10.0.0.1", "6.1.0-13", "10.0.0.1a", "1.2.3.4.5.6", "300.1.1.1", "....", ""] {
            assert_eq!(found(word), [""; 0], "{word}");
        }
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(before_ipv6("peer:2001:db8::1"), Some(("peer:", address)));
        for word in ["peer:x", "12:30", "peer:", ""] {
            assert_eq!(before_ipv6(word), None, "{word}");
        }
    }
}
