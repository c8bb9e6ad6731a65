//! `pathproof completions`: what a shell offers to who presses Tab, from the definition that help is made from.
//!
//! Words that a command reads by itself, and of which there are finitely many, are choices here and nowhere else: what is typed
//! is still read by the command, which knows the nearest right one.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use pathproof_model::finding::CATALOGUE;
use pathproof_model::glossary;

use super::Cli;
use crate::registry::TRANSPORTS;
use crate::terminal;

/// Runs the command.
pub fn run(shell: Shell) -> Result<u8> {
    let mut command = described();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "pathproof", &mut text);
    if shell == Shell::Fish {
        text.extend(places_of_fish(&command).into_bytes());
    }
    terminal::print_own(&text)?;
    Ok(0)
}

/// The definition, with every choice that there is.
fn described() -> Command {
    let command = Cli::command();
    let mut named = vec![];
    names(&command, &mut named);
    let codes = CATALOGUE.iter().map(|entry| entry.code.to_owned());
    // What a shell would split, or take for something of its own, is typed by hand.
    let plain = |word: &String| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let words = codes.chain(glossary::words().into_iter().filter(plain)).collect();
    // A class of its own (storage=smbd) is typed by hand: shells part a word at an equals sign.
    let over = TRANSPORTS.map(str::to_owned).to_vec();
    let choices = [("explain", "words", words), ("man", "command", named), ("contend", "over", over)];
    choices.into_iter().fold(command, |command, (name, argument, words)| {
        command.mut_subcommand(name, |own| own.mut_arg(argument, |typed| typed.value_parser(one_of(words))))
    })
}

fn one_of(mut words: Vec<String>) -> PossibleValuesParser {
    words.sort_unstable();
    words.dedup();
    // For as long as this process runs, which prints them and ends.
    PossibleValuesParser::new(words.into_iter().map(|word| &*word.leak()))
}

/// The words of which names of commands are made.
fn names(command: &Command, into: &mut Vec<String>) {
    for own in command.get_subcommands().filter(|own| !own.is_hide_set()) {
        into.push(own.get_name().to_owned());
        names(own, into);
    }
}

/// For fish, the choices of arguments that are known by their place: its generator leaves those out.
fn places_of_fish(command: &Command) -> String {
    let mut text = String::new();
    for own in command.get_subcommands() {
        for argument in own.get_positionals() {
            let choices = argument.get_possible_values();
            let choices: Vec<&str> = choices.iter().map(|choice| choice.get_name()).collect();
            if !choices.is_empty() {
                let (name, choices) = (own.get_name(), choices.join(" "));
                text += &format!(
                    "complete -c pathproof -n \"__fish_pathproof_using_subcommand {name}\" -f -a \"{choices}\"\n"
                );
            }
        }
    }
    text
}
