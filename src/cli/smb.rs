//! `pathproof smb`: ask a real SMB server about itself. No agent is needed on the far side.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Criteria, ErrorKind, NodeSpec, Plan, ResultDoc, StepError};
use pathproof_smb2::{Credentials, Question, ServerReport};
use pathproof_sys::clock::RealClock;

use super::run::{Format, Sink};
use crate::interrupt;

/// `smb`.
#[derive(Debug, Args)]
pub struct SmbArgs {
    /// The server: a name or an address, IPv6 link-local with its scope (fe80::1%eth0).
    pub host: String,
    /// How to ask it.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Write the result document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How an SMB server is asked.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Its port.
    #[arg(long, default_value_t = 445)]
    pub port: u16,
    /// Account for what the server does not tell to anybody: its interface list, and whether it demands encryption.
    /// Tried once.
    #[arg(long, requires = "password_file")]
    pub user: Option<String>,
    /// Domain of the account; empty for a local one.
    #[arg(long, default_value = "", requires = "user")]
    pub domain: String,
    /// File with the account's password in its first line.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Longest wait for a connection and for each answer.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub wait: Nanoseconds,
}

fn credentials(args: &AskArgs) -> Result<Option<Credentials>> {
    if args.wait.0 == 0 {
        bail!("--wait must be more than zero");
    }
    let (Some(user), Some(file)) = (&args.user, &args.password_file) else { return Ok(None) };
    let password = read_password(file)?;
    Ok(Some(Credentials { user: user.clone(), domain: args.domain.clone(), password }))
}

/// Asks the server at the first address that answers.
fn ask(
    host: &str,
    port: u16,
    credentials: Option<Credentials>,
    wait: Nanoseconds,
    clock: &RealClock,
) -> Result<ServerReport> {
    let addresses = resolve(host, port)?;
    let mut last = None;
    for address in addresses {
        let mut question = Question::new(address, bare_name(host), clock);
        question.timeout = Duration::from_nanos(wait.0);
        question.credentials = credentials.clone();
        match pathproof_smb2::ask(&question) {
            Ok(report) => return Ok(report),
            // Another address of the same name may answer, but only where nobody did on this one.
            Err(error @ pathproof_smb2::AskError::Connect { .. }) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("{host} has no address"),
    }
}

fn bare_name(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').split('%').next().unwrap_or(host)
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // The resolver takes a scope by name or number in an IPv6 literal.
    let addresses = (bare, port).to_socket_addrs().with_context(|| {
        format!("cannot find {host}; give an address, or a name that this host can resolve")
    })?;
    Ok(addresses.collect())
}

fn read_password(file: &Path) -> Result<String> {
    let text = crate::input::read_text(file)
        .with_context(|| format!("cannot read --password-file {}", file.display()))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        bail!("--password-file {} has an empty first line; put the password there", file.display());
    }
    Ok(password.to_owned())
}

/// Runs the command.
pub fn run(args: SmbArgs, clock: &RealClock) -> Result<u8> {
    let sink = Sink::prepare(args.output.as_deref(), args.format)?;
    sink.finish(document("smb", &args.host, &args.ask, clock)?, &Criteria::default())
}

/// The result document of one server, as far as the server's own account goes. That it could not be asked stands in
/// its `error`; only what was typed wrong is an error of this function.
pub fn document(command: &str, host: &str, how: &AskArgs, clock: &RealClock) -> Result<ResultDoc> {
    let credentials = credentials(how)?;
    let interrupted = interrupt::by_signals(clock).context("cannot watch for Ctrl-C")?;
    let observed = crate::host::observe();
    let local_rdma = observed.environment.rdma.iter().any(|device| device.netdev.is_some());
    let spec = NodeSpec::Foreign { host: host.into() };
    let plan = Plan { command: command.into(), nodes: vec![NodeSpec::Here, spec.clone()], ..Plan::default() };
    let mut doc = crate::coordinate::empty_document(plan, (host, spec), observed.environment);
    let (name, port, wait) = (host.to_owned(), how.port, how.wait);
    // A server that is slow, or a name that nobody knows, does not hold up a signal.
    let clock = clock.clone();
    let ask = move || ask(&name, port, credentials, wait, &clock);
    let asked = interrupt::unless(&interrupted, Duration::MAX, ask);
    match asked {
        Err(signal) => doc.error = Some(signal),
        Ok(Ok(report)) => {
            let server = crate::smb::describe(&report);
            doc.findings = crate::smb::findings(&report, &server, local_rdma);
            doc.smb = Some(server);
        }
        Ok(Err(error)) => {
            doc.error = Some(StepError { kind: ErrorKind::Refused, message: format!("{error:#}") });
        }
    }
    Ok(doc)
}
