//! Which size the flows carry that carry less than others: each search for a path MTU is one flow more, with a source port of its own.

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{Direction, Finding, FollowUp, MtuPath, MtuSpec, ResultDoc};

/// Searches beside the planned one: of a bundle of three the odd member is met by one of eight flows in 24 of 25 cases. One that does not
/// meet it takes a few round trips.
const SEARCHES: usize = 8;

/// What a finding about flows of different sizes is about.
struct Question {
    nic: String,
    direction: Direction,
    full_ip_bytes: u64,
}

fn question(finding: &Finding) -> Option<Question> {
    (finding.is(code!("MTU-FLOWS-DIFFER"))).then_some(Question {
        nic: finding.told(told::LOCAL_NIC)?,
        direction: finding.told(told::DIRECTION)?,
        full_ip_bytes: finding.told(told::IP_BYTES)?,
    })
}

/// The smaller size that a search met, the way of the question first.
fn met<'a>(doc: &'a ResultDoc, asked: &Question) -> Option<&'a MtuPath> {
    let paths = || doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten();
    let smaller = |path: &&MtuPath| {
        path.local_nic == asked.nic
            && path.ip_mtu_bytes.is_some_and(|bytes| u64::from(bytes) < asked.full_ip_bytes)
    };
    paths().filter(smaller).find(|path| path.direction == asked.direction).or_else(|| paths().find(smaller))
}

/// One search more, where no flow of those was met yet.
pub fn another_search(doc: &ResultDoc) -> Option<MtuSpec> {
    let searched = |follows_up| {
        doc.steps.iter().filter(move |step| step.detail.paths.is_some() && step.follows_up == follows_up)
    };
    if searched(Some(FollowUp::Cause)).count() >= SEARCHES || searched(None).next().is_none() {
        return None;
    }
    let open = doc.findings.iter().filter_map(question).find(|asked| met(doc, asked).is_none())?;
    Some(MtuSpec { nics: vec![open.nic.to_owned()], ..MtuSpec::default() })
}

/// Adds to findings about flows of different sizes what the searches met.
pub(super) fn complete(doc: &mut ResultDoc) {
    let told: Vec<(usize, String, Option<u32>)> = doc
        .findings
        .iter()
        .enumerate()
        .filter_map(|(at, finding)| {
            let asked = question(finding)?;
            let Some(path) = met(doc, &asked) else {
                let said = match finding.told(told::CARRIED_IP_BYTES) {
                    Some(bytes) => {
                        format!("; how much more than {bytes} those carry is not known: no search for a path MTU met one")
                    }
                    None => "; how much those carry is not known: no search for a path MTU met one".to_owned(),
                };
                return Some((at, said, None));
            };
            let bytes = path.ip_mtu_bytes?;
            Some((
                at,
                format!(
                    "; a search for the path MTU met such a flow {}: it carries {bytes} bytes",
                    path.direction.name()
                ),
                Some(bytes),
            ))
        })
        .collect();
    for (at, said, bytes) in told {
        let finding = &mut doc.findings[at];
        // That none was met is said once; a search that was made since may have met one.
        let said_so = bytes.is_none() && finding.told(told::NONE_MET) == Some(true);
        if said_so || finding.told(told::SMALLER_IP_BYTES).is_some() {
            continue;
        }
        finding.evidence.push_str(&said);
        *finding = match bytes {
            Some(bytes) => {
                finding.values.remove(told::NONE_MET.name());
                finding.clone().tell(told::SMALLER_IP_BYTES, bytes)
            }
            None => finding.clone().tell(told::NONE_MET, true),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Step, StepKind, Tool};

    fn search(direction: Direction, ip_mtu_bytes: u32, follows_up: Option<FollowUp>) -> Step {
        let mut step = Step::new(StepKind::Mtu, "path MTU");
        step.follows_up = follows_up;
        step.detail.paths = Some(vec![MtuPath {
            direction,
            ip_mtu_bytes: Some(ip_mtu_bytes),
            ..super::super::tests::mtu_path()
        }]);
        step
    }

    fn doc(steps: Vec<Step>) -> ResultDoc {
        let differ = Finding::new(
            "MTU-FLOWS-DIFFER",
            "e0 to e0 IPv4 out: 7 flows carry packets of 9000 bytes and 1 only small ones (88 bytes)",
        );
        let differ = differ
            .tell(told::LOCAL_NIC, "e0")
            .tell(told::DIRECTION, Direction::Out)
            .tell(told::IP_BYTES, 9000u64);
        ResultDoc { steps, findings: vec![differ], ..ResultDoc::new(Tool::default(), "") }
    }

    #[test]
    fn the_search_that_met_a_small_flow_says_its_size() {
        // As run over a bundle of two: the planned search went out over the good member and back over the other.
        let mut met = doc(vec![search(Direction::Out, 9000, None), search(Direction::In, 1500, None)]);
        assert_eq!(another_search(&met), None);
        complete(&mut met);
        complete(&mut met);
        assert!(
            met.findings[0].evidence.ends_with("met such a flow in: it carries 1500 bytes"),
            "{:?}",
            met.findings[0]
        );
    }

    #[test]
    fn where_none_met_one_there_are_three_more_and_then_it_is_not_known() {
        let mut open = doc(vec![search(Direction::Out, 9000, None)]);
        for _ in 0..SEARCHES {
            assert_eq!(another_search(&open).unwrap().nics, ["e0"]);
            open.steps.push(search(Direction::Out, 9000, Some(FollowUp::Cause)));
        }
        assert_eq!(another_search(&open), None);
        complete(&mut open);
        assert!(open.findings[0].evidence.contains("is not known"), "{:?}", open.findings[0]);
        // It is said once, whatever was added to the sentence since; and a search that met one after all says so.
        open.findings[0].evidence.push_str("; and more");
        let once = open.findings[0].evidence.clone();
        complete(&mut open);
        assert_eq!(open.findings[0].evidence, once);
        open.steps.push(search(Direction::Out, 1500, Some(FollowUp::Cause)));
        complete(&mut open);
        let told = &open.findings[0];
        assert_eq!((told.told(told::SMALLER_IP_BYTES), told.told(told::NONE_MET)), (Some(1500), None));
        open.steps.pop();
        // Another finding, and a run that searches for no path MTU.
        open.findings[0].code = "FLOWS-DIFFER".into();
        assert_eq!(another_search(&open), None);
        assert_eq!(another_search(&doc(vec![])), None);
    }
}
