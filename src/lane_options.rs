//! The options of lanes: what `--option` takes, from the declarations of all who read some.
//!
//! Whoever runs a step gets them as values ([`read`]); as text they stand in plans and documents, as somebody typed them.

mod paths;

use std::collections::BTreeMap;

use pathproof_api::{NumberUnit, OptionDoc, OptionValues, Whose};
use pathproof_model::units::{Bytes, GRAMMARS, Nanoseconds};
use pathproof_model::{ErrorKind, Plan, StepError};

pub use paths::{CONNECTIONS, CONSTRAIN, POLICY, Policy, of_paths};

use crate::registry::{TRANSPORTS, manners, options};

/// The options that a step over the transport called `over` takes: those of its lanes, and those that choose their paths.
pub fn declared(over: &str) -> Vec<OptionDoc> {
    let mut all = if manners(over).several_nics { of_paths() } else { vec![] };
    all.extend(options(over));
    all
}

/// Writes the options of a plan's steps as their declarations have them: a number with a unit becomes a number of theirs. What is not possible
/// is refused, with the option or the word that was meant.
pub fn settle(plan: &mut Plan) -> Result<(), StepError> {
    for step in &mut plan.steps {
        let Some(over) = step.over().filter(|over| TRANSPORTS.contains(over)).map(str::to_owned) else {
            continue;
        };
        let declared = declared(&over);
        let Some(typed) = step.options_mut() else { continue };
        for (name, text) in typed.iter_mut() {
            let option = declared.iter().find(|option| option.name == name);
            if let Some(plain) = option.and_then(OptionDoc::unit).and_then(|unit| in_units_of(unit, text)) {
                *text = plain;
            }
        }
        read(&over, typed)?;
    }
    Ok(())
}

/// A size or a time as a bare number of these units, where it is a whole number of them.
fn in_units_of(unit: NumberUnit, text: &str) -> Option<String> {
    const MS: u64 = 1_000_000;
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = match unit {
        _ if bare => return None,
        NumberUnit::Milliseconds => {
            let Nanoseconds(ns) = text.parse().ok()?;
            ns.is_multiple_of(MS).then_some(ns / MS)?
        }
        NumberUnit::Bytes => text.parse::<Bytes>().ok()?.0,
        NumberUnit::Sends | NumberUnit::None => return None,
    };
    Some(number.to_string())
}

/// The values of what was typed for a step over the transport called `over`.
pub fn read(over: &str, typed: &BTreeMap<String, String>) -> Result<OptionValues, StepError> {
    let pairs = typed.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    OptionValues::read(over, &declared(over), pairs)
        .map_err(|message| StepError::new(ErrorKind::Invalid, message))
}

/// What `--help` says of `--option`.
pub fn help() -> String {
    let mut help = String::from("Option of the transport, as NAME=VALUE; may be repeated.");
    for over in TRANSPORTS {
        help.push_str(&format!("\n\nOver {over}:"));
        for option in declared(over) {
            let unit = option.unit().map(|unit| format!(" {}", unit.word())).unwrap_or_default();
            help.push_str(&format!(
                "\n  {}{unit}: {} [default: {}]",
                option.usage(),
                option.help,
                option.default
            ));
        }
    }
    help
}

/// The page of the documents that lists them, and how what has a unit is typed.
pub fn page() -> String {
    let mut page = String::from(
        "# Options of transports\n\n\
         `--option NAME=VALUE` of `bench` and `migrate`, and the table `options` of a step in a plan. An option that the \
         transport does not\ndeclare, or a value that it does not take, is refused before anything is dialled. \"Both\" ends \
         use what the client was given; what is\nan end's \"own\" never crosses.\n\n\
         This page is generated from the declarations (`src/lane_options.rs`).\n",
    );
    for over in TRANSPORTS {
        page.push_str(&format!(
            "\n## Over {over}\n\n| option | values | unit | default | whose | what it is for |\n"
        ));
        page.push_str("|---|---|---|---|---|---|\n");
        for option in declared(over) {
            let whose = match option.whose {
                Whose::Both => "both",
                Whose::Own => "own",
            };
            page.push_str(&format!(
                "| `{}` | {} | {} | {} | {whose} | {} |\n",
                option.name,
                option.values().replace('|', ", "),
                option.unit().map_or("-", NumberUnit::word),
                option.default,
                option.help
            ));
        }
    }
    page.push_str(&quantities());
    page
}

/// How sizes, times and rates are typed, from the tables that their parsers look units up in.
fn quantities() -> String {
    let mut text = String::from(
        "\n## How quantities are typed\n\n\
         Everywhere alike: in flags, in `--limits`, in plans and in criteria (there in quotes). A number, which may have a decimal \
         point and `_` between its\ndigits, then a unit, with or without a space before it. A unit that is not listed is refused, and \
         nothing is guessed. `pathproof explain size`, `time`\nand `rate` print the same.\n",
    );
    for grammar in GRAMMARS {
        let code = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(", ");
        let examples = code(&mut grammar.examples.iter().map(|(typed, _)| format!("`{typed}`")));
        text.push_str(&format!(
            "\n### A {}\n\n{} Typed as {examples}.\n\n| unit | also typed | what it is |\n|---|---|---|\n",
            grammar.what, grammar.note
        ));
        for unit in grammar.units {
            let spelled = |word: &&str| if word.is_empty() { "nothing".into() } else { format!("`{word}`") };
            let (usual, also) = unit.spelled.split_at(1);
            let case = if unit.any_case { "" } else { " (upper and lower case as here)" };
            text.push_str(&format!(
                "| {} | {}{case} | {} |\n",
                spelled(&usual[0]),
                code(&mut also.iter().map(spelled)),
                unit.means
            ));
        }
    }
    text.push_str(
        "\nTwo are typed otherwise, because they are handed on to Windows or have a unit of their own: `contend --cap` reads \
         `500MB` as PowerShell\ndoes (1024² bytes per second), and `bench request --rate` counts requests (`5000/s`).\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use pathproof_api::Takes;
    use pathproof_model::{StepRequest, StepSpec, TrafficSpec};

    use super::*;

    #[test]
    fn the_page_of_options_is_what_is_declared() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPTIONS.md");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page(), "docs/OPTIONS.md is not up to date: UPDATE_GENERATED=1 writes it");
    }

    /// Values at the edges of what an option takes.
    fn samples(option: &OptionDoc) -> Vec<String> {
        match option.takes {
            Takes::Switch => vec!["yes".into(), "no".into()],
            Takes::Number { least, most, .. } => vec![least.to_string(), most.to_string()],
            Takes::OneOf(words) => words().into_iter().map(Into::into).collect(),
            Takes::Name(_) => vec!["reno".into()],
            Takes::Names(_) => vec!["eth1+eth2".into()],
            Takes::Paths => vec![",,;10.0.0.1,eth1,10.0.0.2:7".into()],
        }
    }

    #[test]
    fn every_option_reads_what_it_says_it_takes_and_crosses_where_it_is_for_both_ends() {
        for over in TRANSPORTS {
            for option in declared(over) {
                for text in samples(&option) {
                    let typed = BTreeMap::from([(option.name.to_owned(), text)]);
                    read(over, &typed).unwrap_or_else(|error| panic!("{over}: {}", error.message));
                    let spec =
                        TrafficSpec { over: over.into(), options: typed.clone(), ..TrafficSpec::default() };
                    let theirs = StepRequest::of(&StepSpec::Stream(spec)).unwrap().to_spec();
                    let theirs = &theirs.traffic().unwrap().options;
                    match option.whose {
                        Whose::Both => assert_eq!(*theirs, typed, "{} crosses as it is", option.name),
                        Whose::Own => assert!(theirs.is_empty(), "{} stays", option.name),
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_of_a_plan_may_have_their_units_and_wrong_ones_are_refused() {
        let settled = |over: &str, name: &str, text: &str| {
            let options = BTreeMap::from([(name.to_owned(), text.to_owned())]);
            let spec = TrafficSpec { over: over.into(), options, ..TrafficSpec::default() };
            let mut plan = Plan { steps: vec![StepSpec::Stream(spec)], ..Plan::default() };
            let options = |plan: &Plan| plan.steps[0].traffic().unwrap().options[name].clone();
            settle(&mut plan).map(|()| options(&plan)).map_err(|error| error.message)
        };
        for (typed, settles) in [("700", "700"), ("700ms", "700"), ("0.7s", "700"), ("1 min", "60000")] {
            assert_eq!(settled("multi", "stall_ms", typed).as_deref(), Ok(settles), "{typed}");
        }
        assert_eq!(settled("rdma", "inline", "1KiB").as_deref(), Ok("1024"));
        for (over, name, typed, says) in [
            ("multi", "stall_ms", "1us", "10..60000 ms"),
            ("multi", "stall_ms", "1h", "10..60000 ms"),
            ("multi", "stall_ms", "1KiB", "10..60000 ms"),
            ("rdma", "inline", "1ms", "0..4096 bytes"),
            ("rdma", "signal_every", "1ms", "sends"),
            ("multi", "stal_ms", "700", "did you mean stall_ms="),
            ("multi", "share", "fewst", "did you mean fewest?"),
        ] {
            let refused = settled(over, name, typed).unwrap_err();
            assert!(refused.contains(says), "{name}={typed}: {refused}");
        }
    }

    #[test]
    fn what_is_near_is_offered() {
        let typed = BTreeMap::from([("congestoin".to_owned(), "reno".to_owned())]);
        for over in ["tcp", "multi"] {
            let refused = read(over, &typed).unwrap_err().message;
            assert!(refused.contains("did you mean congestion=NAME?"), "{refused}");
        }
    }
}
