//! `pathproof smb`: ask a real SMB server about itself. No agent is needed on the far side.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use pathproof_model::node::host_and_port;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{CommandName, Plan, SmbSpec, StepSpec};

use super::account::AccountArgs;
use super::format::Shape;
use super::run::{ClientRun, Sink};
use crate::run::Party;
use pathproof_sys::clock::RealClock;

/// `smb`.
#[derive(Debug, Args)]
pub struct SmbArgs {
    /// The server: a name or an address, IPv6 link-local with its scope (fe80::1%eth0); HOST:PORT and \\\\HOST\\SHARE are understood.
    pub host: String,
    /// How to ask it.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Write the result document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed.
    #[command(flatten)]
    pub shape: Shape,
}

/// How an SMB server is asked.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Its port.
    #[arg(long, default_value_t = 445)]
    pub port: u16,
    /// For what the server does not tell to anybody: its interface list, and whether it demands encryption. Tried once.
    #[command(flatten)]
    pub account: AccountArgs,
    /// Longest wait for a connection and for each answer.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub wait: Nanoseconds,
}

impl AskArgs {
    /// The step that the arguments mean.
    pub fn spec(&self) -> SmbSpec {
        SmbSpec {
            port: self.port,
            user: self.account.user.clone(),
            domain: self.account.domain.clone(),
            password_file: self.account.password_file.clone(),
            kerberos: self.account.kerberos,
            wait_ns: self.wait.0,
            ..SmbSpec::default()
        }
    }
}

/// A server as a node.
pub fn server(host: &str) -> Party {
    Party::Foreign { name: host.into(), host: host.into() }
}

/// Runs the command.
pub fn run(args: SmbArgs, clock: &RealClock) -> Result<u8> {
    let sink = Sink::prepare(args.output.as_deref(), args.shape)?;
    let (host, port) = server_name(&args.host);
    let mut spec = args.ask.spec();
    spec.port = port.unwrap_or(spec.port);
    let plan = Plan { command: CommandName::Smb, steps: vec![StepSpec::Smb(spec)], ..Plan::default() };
    ClientRun::with(server(&host), sink, clock).run(plan)
}

/// The server in what was typed, which may be one of its shares, and its port.
fn server_name(typed: &str) -> (String, Option<u16>) {
    let host = typed.replace('\\', "/");
    let host = host.strip_prefix("//").map_or(typed, |rest| rest.split('/').next().unwrap_or(rest));
    match host_and_port(host) {
        Some((host, port)) => (host.to_owned(), port),
        None => (typed.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_in_what_people_type() {
        for (typed, host, port) in [
            ("stor2", "stor2", None),
            ("stor2:4450", "stor2", Some(4450)),
            ("//stor2/vms/a", "stor2", None),
            (r"\\stor2\vms", "stor2", None),
            ("[fd00::2]:9", "fd00::2", Some(9)),
            ("fe80::1%eth0", "fe80::1%eth0", None),
        ] {
            assert_eq!(server_name(typed), (host.to_owned(), port), "{typed}");
        }
    }
}
