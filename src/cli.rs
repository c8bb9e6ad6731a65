//! The command line: what was typed (`raw`), what it means (one file for each command), and how a run ends.
//!
//! Standard output carries the report and nothing else; everything else goes to standard error. Exit codes: 0
//! fit, 1 not fit, 2 could not run, 3 cannot tell, 130 interrupted (143 by SIGTERM); one function decides, from
//! the document ([`pathproof_model::conclusion`]).

mod bench;
mod channels;
mod check;
mod devices;
mod key;
mod migrate;
mod mtu;
pub mod raw;
mod report;
mod run;
mod serve;
mod smb;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use pathproof_model::verdict::EXIT_COULD_NOT_RUN;
pub use run::ClientRun;

use crate::{descriptors, guardian, terminal};

/// Runs the command that was typed.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(nics) = guardian::ordered(&args) {
        return guardian::run(&nics);
    }
    descriptors::allow_all();
    let raw = match raw::Raw::try_parse_from(&args) {
        Ok(raw) => raw,
        Err(error) => {
            terminal::say_usage::<raw::Raw>(&error, &args);
            return ExitCode::from(if error.use_stderr() { EXIT_COULD_NOT_RUN } else { 0 });
        }
    };
    start_logging(raw.verbose);
    match dispatch(raw) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::say(format_args!("{error:#}"));
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

fn dispatch(raw: raw::Raw) -> anyhow::Result<u8> {
    match raw.command {
        raw::Command::Serve(args) => serve::run(args),
        raw::Command::Check(args) => check::run(args),
        raw::Command::Bench(args) => bench::run(args),
        raw::Command::Mtu(args) => mtu::run(args),
        raw::Command::Devices(args) => devices::run(&args),
        raw::Command::Channels(args) => channels::run(args),
        raw::Command::Smb(args) => smb::run(args),
        raw::Command::Migrate(args) => migrate::run(args),
        raw::Command::Report(args) => report::run(&args),
        raw::Command::Completions { shell } => {
            let mut command = raw::Raw::command();
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, "pathproof", &mut text);
            terminal::print_own(&text)?;
            Ok(0)
        }
        raw::Command::Man => {
            terminal::print_own(&manual(raw::Raw::command())?)?;
            Ok(0)
        }
    }
}

/// Adds the `--option NAME=VALUE` that were typed. What is there already was given by a flag of its own.
fn add_options(
    options: &mut std::collections::BTreeMap<String, String>,
    typed: &[String],
) -> anyhow::Result<()> {
    for text in typed {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            anyhow::bail!("--option {text:?} is not NAME=VALUE");
        };
        if options.insert(name.into(), value.into()).is_some() {
            anyhow::bail!("option {name} is given twice; give it once");
        }
    }
    Ok(())
}

/// The manual page of the program and, after it, that of each command.
fn manual(mut program: clap::Command) -> io::Result<Vec<u8>> {
    fn pages(name: &str, command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
        clap_mangen::Man::new(command.clone()).title(name).render(out)?;
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            pages(&format!("{name}-{}", sub.get_name()), sub, out)?;
        }
        Ok(())
    }
    // Builds usage lines and inherited options into the commands below.
    program.build();
    let mut out = Vec::new();
    pages("pathproof", &program, &mut out)?;
    Ok(out)
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PATHPROOF_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    terminal::start_logging(filter);
}
