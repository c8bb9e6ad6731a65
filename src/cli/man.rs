//! `pathproof man`: manual pages, one for each command, from the definition that help is made from.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory};
use clap_mangen::roff::{Roff, bold, roman};

use super::Cli;
use crate::terminal;

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command, such as check or bench stream; without one the pages of all, one after the other.
    pub command: Vec<String>,
    /// Write a file for each command into this directory, to be installed below man1.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    pub into: Option<PathBuf>,
}

/// A page: its name (`pathproof-bench-stream`) and its text.
struct Page {
    name: String,
    text: Vec<u8>,
}

/// Runs the command.
pub fn run(args: &ManArgs) -> Result<u8> {
    let pages = pages()?;
    if let Some(directory) = &args.into {
        write(&pages, directory)?;
        return Ok(0);
    }
    let named = |page: &&Page| args.command.is_empty() || page.name == name(&args.command);
    let wanted: Vec<&Page> = pages.iter().filter(named).collect();
    if wanted.is_empty() {
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        let meant = pathproof_api::option::nearest(&name(&args.command), &names);
        let meant = meant.map_or("pathproof --help lists the commands".into(), |near| {
            format!("did you mean pathproof man {}?", near.replace("pathproof-", "").replace('-', " "))
        });
        bail!("there is no command {:?}; {meant}", args.command.join(" "));
    }
    let text: Vec<u8> = wanted.into_iter().flat_map(|page| page.text.iter().copied()).collect();
    terminal::print_own(&text)?;
    Ok(0)
}

fn name(command: &[String]) -> String {
    ["pathproof".to_owned()].iter().chain(command).cloned().collect::<Vec<_>>().join("-")
}

fn write(pages: &[Page], directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for page in pages {
        let file = directory.join(format!("{}.1", page.name));
        std::fs::write(&file, &page.text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The pages of the program and of each command.
fn pages() -> io::Result<Vec<Page>> {
    fn collect(above: &[String], command: &clap::Command, pages: &mut Vec<Page>) -> io::Result<()> {
        let subs = || command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let name = match above.last() {
            Some(parent) => format!("{parent}-{}", command.get_name()),
            None => command.get_name().to_owned(),
        };
        let mut text = Vec::new();
        let source = concat!("pathproof ", env!("CARGO_PKG_VERSION"));
        clap_mangen::Man::new(command.clone()).title(&name).source(source).render(&mut text)?;
        let below = subs().map(|sub| format!("{name}-{}", sub.get_name()));
        foot(&above.iter().cloned().chain(below).collect::<Vec<_>>()).to_writer(&mut text)?;
        pages.push(Page { name: name.clone(), text });
        let above = [above, &[name]].concat();
        subs().try_for_each(|sub| collect(&above, sub, pages))
    }
    let mut program = Cli::command().disable_help_subcommand(true);
    // Builds usage lines and inherited options into the commands below.
    program.build();
    let mut pages = vec![];
    collect(&[], &program, &mut pages)?;
    Ok(pages)
}

/// What stands below the options of every page.
fn foot(see_also: &[String]) -> Roff {
    const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
        (
            "EXIT STATUS",
            &[
                ("0", "fit, or done"),
                ("1", "not fit"),
                ("2", "could not run: bad input, unsupported, refused, unreachable"),
                ("3", "cannot tell"),
                ("130", "interrupted by Ctrl-C; 143 by SIGTERM or SIGHUP"),
            ],
        ),
        (
            "ENVIRONMENT",
            &[
                ("PATHPROOF_KEY", "the key that both ends must have, where no option names one"),
                (
                    "PATHPROOF_LOG",
                    "what is logged to standard error: warn, info or debug, or a level for each part (pathproof=debug,pathproof_tcp=info)",
                ),
                ("NO_COLOR, CLICOLOR_FORCE, TERM, COLUMNS", "colours and width of the report"),
                ("LC_ALL, LC_CTYPE, LANG", "whether the report may have letters beyond ASCII"),
            ],
        ),
        (
            "FILES",
            &[
                (
                    "/etc/pathproof/key",
                    "the key of the packaged service (pathproof.service); it does not start without one",
                ),
                ("/etc/default/pathproof", "its further options, as PATHPROOF_SERVE_OPTIONS"),
            ],
        ),
    ];
    let mut roff = Roff::new();
    for (title, entries) in SECTIONS {
        roff.control("SH", [title]);
        for (name, what) in entries {
            roff.control("TP", []).text([bold(*name)]).text([roman(*what)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(see_also.iter().map(|name| format!("{name}(1)")).collect::<Vec<_>>().join(", "))]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own_and_every_page_that_is_named_exists() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in ["pathproof", "pathproof-check", "pathproof-bench-stream", "pathproof-serve"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for page in &pages {
            let text = String::from_utf8(page.text.clone()).unwrap();
            assert_eq!(text.matches("\n.TH ").count(), 1, "{}", page.name);
            assert!(
                text.replace("\\-", "-").contains(&format!(".SH NAME\n{} - ", page.name)),
                "{}:\n{text}",
                page.name
            );
            for part in
                [".SH SYNOPSIS", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH FILES", ".SH \"SEE ALSO\""]
            {
                assert!(text.contains(part), "{}: {part}", page.name);
            }
            let named = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-\\(".contains(c)));
            for word in
                named.filter_map(|word| word.strip_suffix("(1")).filter(|word| word.starts_with("pathproof"))
            {
                let name = word.replace('\\', "");
                assert!(names.contains(&name.as_str()), "{} names {name}(1), which is no page", page.name);
            }
        }
    }
}
