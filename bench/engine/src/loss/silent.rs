//! Pairs over which nothing was answered, where others answer.

use pathproof_model::{Direction, Finding, LossPath, Share};

use super::path_numbers::numbers;

/// Pairs that are silent while others answer; told once for both directions. Who answers one way is not dead the other: consent goes
/// there and back, and only something that follows connections lets it begin at one end alone.
pub(super) fn pairs(paths: &[&LossPath]) -> Vec<Finding> {
    let ends = |path: &LossPath| (path.local_address, path.remote_address);
    let (silent, alive): (Vec<&LossPath>, Vec<&LossPath>) =
        paths.iter().copied().partition(|path| path.is_silent());
    let dead: Vec<&LossPath> =
        silent.into_iter().filter(|path| alive.iter().all(|one| ends(one) != ends(path))).collect();
    let Some(other) = alive.first() else { return vec![] };
    let way_back = |path: &LossPath| {
        dead.iter().any(|back| {
            back.direction != path.direction
                && (back.local_address, back.remote_address) == (path.local_address, path.remote_address)
        })
    };
    let told: Vec<&LossPath> =
        dead.iter().copied().filter(|path| path.direction == Direction::Out || !way_back(path)).collect();
    let flows = |path: &LossPath| path.flows.len() as u64;
    told.into_iter()
        .map(|path| {
            let who = match path.direction {
                _ if way_back(path) => "either end",
                Direction::In => "the peer",
                _ => "this host",
            };
            let of = |direction| dead.iter().copied().find(|one| ends(one) == ends(path) && one.direction == direction);
            let evidence = format!(
                "{} ({}) and {} ({}) share a network, and nothing that {who} asked between them was answered{}; between {} and {} it was",
                path.local_nic,
                path.local_address,
                path.remote_nic,
                path.remote_address,
                heard(of(Direction::Out), of(Direction::In)),
                other.local_nic,
                other.remote_nic
            );
            let all = Share { part: flows(path), of: flows(path) };
            numbers(Finding::new("CHANNEL-DEAD", evidence), path, all)
        })
        .collect()
}

/// A question that is lost and an answer that is lost look the same to who asks; so each end says, over the control connection, whether
/// the other's questions came. Where they came one way only, that way passes: the other is dead, or filtered at its end.
fn heard(out: Option<&LossPath>, inward: Option<&LossPath>) -> String {
    let questions = |path: Option<&LossPath>| path.and_then(|path| path.questions_heard);
    match (questions(out), questions(inward)) {
        (Some(0), Some(0)) => " (neither end heard a question of the other)".into(),
        (Some(0), Some(some)) => {
            format!(
                " (in passes and out does not: {some} questions of the peer arrived here, and none from here there)"
            )
        }
        (Some(some), Some(0)) => {
            format!(
                " (out passes and in does not: {some} questions from here arrived there, and none of the peer here)"
            )
        }
        _ => String::new(),
    }
}
