//! The questions that people ask about a table of pairs, answered from the same rules.

use std::collections::BTreeSet;

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Answer, Channels};

use super::candidates::Candidate;
use super::nic::ChannelNic;
use super::rule::Rule;
use super::{Question, Rules, decide};

/// All answers that apply.
pub(super) fn answer(
    local: &[ChannelNic],
    remote: &[ChannelNic],
    candidates: &[Candidate<'_>],
    question: &Question,
    channels: &Channels,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    answers.extend(why_several(candidates, question));
    answers.extend(why_idle(local, remote, channels));
    answers.extend(what_a_constraint_changes(local, remote, candidates, question));
    answers.extend(cross_pairs(candidates));
    answers.extend(one_route(candidates));
    answers
}

fn answered(question: impl Into<String>, answer: impl Into<String>) -> Answer {
    Answer { question: question.into(), answer: answer.into() }
}

fn chosen_locals<'a>(candidates: &'a [Candidate<'_>]) -> BTreeSet<(usize, &'a str)> {
    candidates.iter().filter(|c| c.chosen()).map(|c| (c.local.at, c.local.nic.name.as_str())).collect()
}

fn names(nics: &BTreeSet<(usize, &str)>) -> String {
    nics.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" and ")
}

fn why_several(candidates: &[Candidate<'_>], question: &Question) -> Option<Answer> {
    let locals = chosen_locals(candidates);
    if locals.len() < 2 || matches!(question.rules, Rules::Manual { .. }) {
        return None;
    }
    let rule = match question.rules {
        Rules::Linux { .. } => "uses every NIC of the same kind, in proportion to its speed",
        _ => "uses every NIC of the best class and highest speed",
    };
    Some(answered(
        format!("Why do {} carry traffic when one address was chosen?", names(&locals)),
        format!(
            "The chosen address only decides where the first connection goes. The client then asks the server \
             for its interfaces and {rule}. To stop that, set a constraint on the client \
             (New-SmbMultichannelConstraint) or turn Multichannel off, which turns SMB Direct off with it."
        ),
    ))
}

/// Nobody wonders about a NIC that is down; it stands among the unused ones.
fn why_idle(local: &[ChannelNic], remote: &[ChannelNic], channels: &Channels) -> Vec<Answer> {
    let able = |name: &str| local.iter().chain(remote).any(|nic| nic.name == name && nic.unusable.is_none());
    let sentence = |reason: &str| {
        let mut characters = reason.chars();
        characters
            .next()
            .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), characters.as_str()))
    };
    channels
        .unused
        .iter()
        .filter(|nic| able(&nic.nic))
        .map(|nic| answered(format!("Why not {} ({})?", nic.nic, nic.end.name()), sentence(&nic.reason)))
        .collect()
}

fn what_a_constraint_changes(
    local: &[ChannelNic],
    remote: &[ChannelNic],
    candidates: &[Candidate<'_>],
    question: &Question,
) -> Vec<Answer> {
    let locals = chosen_locals(candidates);
    if !question.constrain.is_empty() {
        let free = Question::new(question.rules.clone());
        let without = chosen_locals(&decide(local, remote, &free)).len();
        return vec![answered(
            format!("What does the constraint to {} change?", question.constrain.join(" and ")),
            match (locals.len(), without) {
                (0, _) => "It leaves no usable pair: clients then go on with one connection.".into(),
                (with, without) if with == without => {
                    "Nothing: the same NICs would be used without it.".into()
                }
                (with, without) => format!("{with} local NIC(s) are used instead of {without}."),
            },
        )];
    }
    if matches!(question.rules, Rules::Manual { .. }) {
        return Vec::new();
    }
    // One NIC after the other, the idle ones too: a constraint is also how a slower NIC is made to work.
    let mut answers = Vec::new();
    for nic in local.iter().filter(|nic| !nic.is_loopback() && nic.unusable.is_none()) {
        if locals.len() < 2 && locals.iter().any(|(_, name)| *name == nic.name) {
            continue;
        }
        let only = Question { rules: question.rules.clone(), constrain: vec![nic.name.clone()] };
        let then = decide(local, remote, &only);
        let chosen: Vec<_> = then.iter().filter(|c| c.chosen()).collect();
        let Some(first) = chosen.first() else { continue };
        let connections: u32 = chosen.iter().map(|c| c.connections).sum();
        let speed = match first.speed_bits_per_s() {
            Some(speed) => BitsPerSecond(speed).to_string(),
            None => "unknown speed".into(),
        };
        answers.push(answered(
            format!("What would a constraint to {} change?", nic.name),
            format!(
                "Only {} would carry traffic, as {} with {connections} connection(s), over a pair of {speed}.",
                nic.name,
                first.class().name()
            ),
        ));
    }
    answers
}

/// Local and remote NICs that could pair both ways.
fn cross_pairs(candidates: &[Candidate<'_>]) -> Option<Answer> {
    let eligible: Vec<_> =
        candidates.iter().filter(|c| c.chosen() || matches!(c.rule, Some(Rule::Spread))).collect();
    let pair = |local: usize, remote: usize| {
        eligible.iter().find(|c| c.local.at == local && c.remote.at == remote).copied()
    };
    let straight = eligible.iter().filter(|c| c.chosen());
    for one in straight.clone() {
        for two in straight.clone() {
            if one.local.at >= two.local.at || one.remote.at == two.remote.at {
                continue;
            }
            if let (Some(cross), Some(_)) =
                (pair(one.local.at, two.remote.at), pair(two.local.at, one.remote.at))
            {
                return Some(answered(
                    "Do NICs in one subnet create cross pairs?",
                    format!(
                        "Yes: {} is as good as {} to a client, which cannot see which of them share a switch. \
                         Such a pair crosses the link between the switches. Give each fabric side a subnet of \
                         its own. Which of several equal pairs is taken is not published; this table takes them \
                         in order of interface number.",
                        cross.addresses(),
                        one.addresses()
                    ),
                ));
            }
        }
    }
    None
}

fn one_route(candidates: &[Candidate<'_>]) -> Option<Answer> {
    let lost = candidates.iter().find(|c| matches!(c.rule, Some(Rule::RoutedElsewhere { .. })))?;
    let Some(Rule::RoutedElsewhere { by }) = &lost.rule else { return None };
    Some(answered(
        format!("Why does {} not send although it is in the same subnet?", lost.local.nic.name),
        format!(
            "The system has one route to {} and it leaves by {by}. A Linux client binds to no NIC, so both \
             connections share that one. Give each NIC a subnet of its own.",
            lost.remote.address.address
        ),
    ))
}
