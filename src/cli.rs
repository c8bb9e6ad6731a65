//! The command line: one definition for help, man page and completions, one file for each command (what was typed, and what
//! it means), and how a run ends.
//!
//! Standard output carries the report and nothing else; everything else goes to standard error. Exit codes: 0
//! fit, 1 not fit, 2 could not run, 3 cannot tell, 130 interrupted (143 by SIGTERM); one function decides, from
//! the document ([`pathproof_model::conclusion`]).
// What stands above an argument is its help, where `[:PORT]` is no link.
#![allow(rustdoc::broken_intra_doc_links)]

mod account;
mod bench;
mod channels;
mod check;
mod client;
mod compare;
mod completions;
mod contend;
mod criteria;
mod devices;
mod explain;
mod far;
mod file;
mod format;
mod habits;
mod iperf;
mod key;
mod ladder;
mod man;
mod merge;
mod mesh;
mod migrate;
mod mtu;
mod networks;
mod offloads;
mod packets;
mod report;
mod run;
mod serve;
mod smb;
mod support_bundle;
mod values;
mod version;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub use crate::peer::Peer;
pub use pathproof_model::verdict::EXIT_COULD_NOT_RUN;
pub use run::ClientRun;

use crate::{descriptors, guardian, interrupt, terminal};
use pathproof_sys::clock::RealClock;

/// Check whether a network path is ready for SMB Direct, SMB Multichannel, jumbo frames and live migration, or name what is
/// wrong with it.
#[derive(Debug, Parser)]
#[command(name = "pathproof", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Log more to standard error (-vv for everything).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Begin with:
  pathproof check --self     both ends on this machine, to see what a report looks like
  pathproof serve            on one host; it prints the command for the other host
  pathproof check PEER       on the other host; pathproof PEER is the same

Exit codes: 0 fit, 1 not fit, 2 could not run (bad input, unsupported, refused, unreachable), 3 cannot tell,
130 interrupted by Ctrl-C, 143 by SIGTERM or SIGHUP.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server side: answer the measurements that clients ask for.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Check the path to a peer and judge it (the main job).
    #[command(override_usage = check::USAGE, after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Make one measurement on its own.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
    /// Find the exact path MTU of every NIC pair, both directions, and what limits it.
    Mtu(mtu::MtuArgs),
    /// List the NICs and RDMA devices of this machine, or hold them against what is expected.
    #[command(after_help = devices::EXAMPLES)]
    Devices(devices::DevicesArgs),
    /// Predict which NIC pairs SMB Multichannel would use, and why not the others.
    Channels(channels::ChannelsArgs),
    /// List the networks that both hosts share, their roles, and in which order a cluster would use them.
    Networks(networks::NetworksArgs),
    /// Rehearse what shares a path: storage, migrations and heartbeats, alone and together, and the cap that protects storage.
    #[command(after_help = contend::EXAMPLES)]
    Contend(contend::ContendArgs),
    /// Turn the offloads of a NIC off one at a time, tell which of them keeps segments from arriving, and turn each on again.
    #[command(after_help = offloads::EXAMPLES)]
    Offloads(offloads::OffloadsArgs),
    /// Measure many hosts against each other: started on each of them by Slurm, MPI, Ansible, clush or Kubernetes.
    #[command(after_help = mesh::EXAMPLES)]
    Mesh(mesh::MeshArgs),
    /// Put the document of a mesh together from what its ranks kept, for where rank 0 died.
    Merge(merge::MergeArgs),
    /// Soak a path for hours or days at a low load: a time line, and events with their times.
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::WatchArgs),
    /// Ask an SMB server about itself: dialect, Multichannel, signing, encryption, its NICs.
    Smb(smb::SmbArgs),
    /// Rehearse a live migration: real memory, really dirtied, really copied, verified.
    #[command(mut_arg("peer", |peer| peer.required_unless_present_any(["self_test", "plan", "pid"])))]
    Migrate(migrate::MigrateArgs),
    /// Render a stored result again.
    Report(report::ReportArgs),
    /// Hold a run against an earlier one: figures, noise, settings that differ.
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Print the limits that a path is judged by, built-in or of a profile.
    #[command(after_help = criteria::EXAMPLES)]
    Criteria(criteria::CriteriaArgs),
    /// Explain a finding: how it is recognised, what looks like it, how to prove it and how to heal it.
    Explain(explain::ExplainArgs),
    /// Collect what somebody who helps remotely has to see: facts, counters, settings, the kernel's log, a result.
    #[command(after_help = support_bundle::EXAMPLES)]
    SupportBundle(support_bundle::BundleArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print manual pages: all, or that of a command; or write them into a directory.
    Man(man::ManArgs),
    /// Say which build this is: commit, profile, target, compiler, protocol.
    #[command(hide = true)]
    Version,
}

/// Runs the command that was typed.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if let Some(nics) = guardian::ordered(&args) {
        return guardian::run(&nics);
    }
    descriptors::allow_all();
    if let Err(error) = Cli::try_parse_from(&args) {
        match iperf::read(&args) {
            Some(iperf::Meant::Same(words)) => {
                terminal::say(format_args!("as for iperf3; here this is: pathproof {}", words.join(" ")));
                args = args.into_iter().take(1).chain(words.into_iter().map(OsString::from)).collect();
            }
            Some(iperf::Meant::Instead(sentence)) => {
                terminal::say(sentence);
                return ExitCode::from(EXIT_COULD_NOT_RUN);
            }
            None => args = host_alone(&error, &args).unwrap_or(args),
        }
    }
    let typed = match Cli::try_parse_from(&args) {
        Ok(typed) => typed,
        Err(error) if error.kind() == ErrorKind::DisplayVersion && is_verbose(&args) => {
            let printed = terminal::print_own(version::text().as_bytes());
            return ExitCode::from(if printed.is_ok() { 0 } else { EXIT_COULD_NOT_RUN });
        }
        Err(error) => {
            terminal::say_usage::<Cli>(&error, &args);
            if let Some(hint) = habits::hint(&error, &args) {
                terminal::say(hint);
            }
            return ExitCode::from(if error.use_stderr() { EXIT_COULD_NOT_RUN } else { 0 });
        }
    };
    start_logging(typed.verbose);
    match dispatch(typed) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::say(format_args!("{error:#}"));
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

/// Whether more is to be said than usual, where nothing else was typed.
fn is_verbose(args: &[OsString]) -> bool {
    args.iter().any(|arg| ["-v", "-vv", "--verbose", "-vV", "-Vv"].iter().any(|word| arg == word))
}

/// `pathproof HOST` means `pathproof check HOST`: what is no command, and not spelled like one either, is a host. What was
/// meant, where that is so.
fn host_alone(error: &clap::Error, args: &[OsString]) -> Option<Vec<OsString>> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return None;
    }
    let at = args.iter().position(|arg| arg == word.as_str())?;
    // Behind a command it would be a word of that one.
    let first = args[1..at].iter().all(|arg| arg.as_encoded_bytes().starts_with(b"-"));
    let mut meant = args.to_vec();
    meant.insert(at, "check".into());
    first.then_some(meant)
}

fn dispatch(typed: Cli) -> anyhow::Result<u8> {
    use anyhow::Context as _;
    // The others have something to keep, and end in order; a far end ends with its standard input.
    if matches!(
        typed.command,
        Command::Devices(_)
            | Command::Merge(_)
            | Command::Report(_)
            | Command::Compare(_)
            | Command::Criteria(_)
            | Command::Explain(_)
            | Command::SupportBundle(_)
    ) || matches!(&typed.command, Command::Serve(args) if !args.one_client)
    {
        interrupt::ends_at_once().context("cannot watch for Ctrl-C")?;
    }
    // The only one of the process: what happens anywhere in it can be compared.
    let clock = RealClock::new();
    match typed.command {
        Command::Serve(args) => serve::run(args, &clock),
        Command::Check(args) if args.share().is_some() => ladder::run(args, &clock),
        Command::Check(args) => check::run(args, &clock),
        Command::Bench(args) => bench::run(args, &clock),
        Command::Mtu(args) => mtu::run(args, &clock),
        Command::Devices(args) => devices::run(&args),
        Command::Channels(args) => channels::run(args, &clock),
        Command::Networks(args) => networks::run(args, &clock),
        Command::Contend(args) => contend::run(args, &clock),
        Command::Offloads(args) => offloads::run(args, &clock),
        Command::Mesh(args) => mesh::run(&args, &clock),
        Command::Merge(args) => merge::run(&args),
        Command::Watch(args) => watch::run(args, &clock),
        Command::Smb(args) => smb::run(args, &clock),
        Command::Migrate(args) => migrate::run(args, &clock),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Criteria(args) => criteria::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::SupportBundle(args) => support_bundle::run(&args),
        Command::Completions { shell } => completions::run(shell),
        Command::Man(args) => man::run(&args),
        Command::Version => {
            terminal::print_own(version::text().as_bytes())?;
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
            anyhow::bail!(
                "--option {text:?} is not NAME=VALUE; write one such as stall_ms=500 (--help lists the names)"
            );
        };
        if options.insert(name.into(), value.into()).is_some() {
            anyhow::bail!("--option {name} is given twice; give it once");
        }
    }
    Ok(())
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let wanted = std::env::var("PATHPROOF_LOG").ok().and_then(|typed| typed.parse::<Targets>().ok());
    terminal::start_logging(wanted.unwrap_or_else(|| Targets::new().with_default(level)));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_host_alone_is_checked_and_a_misspelled_command_is_told() {
        let meant = |typed: &str| {
            let args: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            let error = Cli::try_parse_from(&args).unwrap_err();
            host_alone(&error, &args)
        };
        for typed in ["pathproof 10.91.1.2", "pathproof -v stor2:7000 --quick", "pathproof [fd00::2]"] {
            let Command::Check(check) = Cli::parse_from(meant(typed).unwrap()).command else {
                panic!("{typed}")
            };
            assert!(check.client.peer.is_some(), "{typed}");
        }
        for typed in [
            "pathproof chekc stor2",
            "pathproof bench stor2",
            "pathproof check stor2 --nonsense",
            "pathproof --nonsense",
        ] {
            assert_eq!(meant(typed), None, "{typed}");
        }
        // Where that is wrong too, its own message is the one that helps.
        let wrong = Cli::try_parse_from(meant("pathproof 10.91.1.2 --format yaml").unwrap()).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidValue);
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
