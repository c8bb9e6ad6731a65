//! An SMB server asked about itself: dialect, Multichannel, signing, encryption, its NICs. It runs nothing of ours.

mod account;
mod listed;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_model::{ErrorKind, Finding, NodeId, NodeSpec, ResultDoc, SmbSpec, Step, StepError, StepSpec};
use pathproof_smb2::{Credentials, Identity, Question, ServerReport, SmbError};

use super::{Alone, Kind, Lone, remaining, whole};
use crate::interrupt;
use pathproof_sys::clock::RealClock;

/// The kind.
pub struct Smb;

fn spec_of(spec: &StepSpec) -> SmbSpec {
    spec.smb().cloned().unwrap_or_default()
}

impl Kind for Smb {
    fn name(&self, _spec: &StepSpec) -> String {
        "SMB server's own account".into()
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        // A connection and an answer, of which there are a few, may take so long each.
        spec_of(spec).wait_ns.saturating_mul(8)
    }

    fn need_ns(&self, _spec: &StepSpec) -> u64 {
        100_000_000
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Alone for Smb {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        _step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let spec = spec_of(lone.spec);
        let invalid = |error: anyhow::Error| StepError::new(ErrorKind::Invalid, format!("{error:#}"));
        let Some(NodeSpec::Foreign { host }) = doc.node(spec.node).map(|node| &node.spec) else {
            return Err(invalid(anyhow::anyhow!("no SMB server was named; type pathproof smb SERVER")));
        };
        let identity = identity(&spec, host).map_err(invalid)?;
        // A server that is slow, or a name that nobody knows, does not hold up a signal.
        let (host, patience) = (host.clone(), remaining(lone));
        let clock = lone.clock.clone();
        let ask = move || ask(&host, &spec, identity.as_ref(), &clock);
        let report = interrupt::unless(lone.interrupt, patience, ask)?
            .map_err(|error| StepError::new(ErrorKind::Refused, format!("{error:#}")))?;
        let here = doc.environment(NodeId::CLIENT);
        let local_rdma = here.is_some_and(|here| here.rdma.iter().any(|device| device.netdev.is_some()));
        let server = account::describe(&report);
        let mut findings = account::findings(&report, &server, local_rdma);
        let ways = here.map_or_else(Vec::new, |here| listed::ways(here, &server.interfaces, report.address));
        let wait = remaining(lone);
        findings.extend(interrupt::unless(lone.interrupt, wait, move || listed::dial(ways, wait))?);
        doc.smb = Some(server);
        Ok(findings)
    }
}

/// Whether the questions can be asked at all.
pub fn check(spec: &SmbSpec) -> Result<()> {
    if spec.wait_ns == 0 {
        bail!("--wait must be more than zero; give one such as 5s");
    }
    if spec.user.is_some() != spec.password_file.is_some() {
        bail!("an account needs both --user and --password-file; give both, or neither");
    }
    if spec.kerberos && spec.user.is_some() {
        bail!("--kerberos logs on with a ticket; leave --user and --password-file out");
    }
    Ok(())
}

fn identity(spec: &SmbSpec, host: &str) -> Result<Option<Identity>> {
    match (&spec.user, &spec.password_file) {
        _ if spec.kerberos => Ok(Some(ticket(host))),
        (Some(user), Some(file)) => Ok(Some(account(user, &spec.domain, file)?)),
        _ => Ok(None),
    }
}

/// With a ticket for a server of this name.
pub(super) fn ticket(host: &str) -> Identity {
    Identity::Ticket { server: bare_name(host).into() }
}

/// By the name of an account and the password in a file.
pub(super) fn account(user: &str, domain: &str, file: &Path) -> Result<Identity> {
    let password = read_password(file)?;
    Ok(Credentials { user: user.into(), domain: domain.into(), password }.into())
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

/// Asks the server at the first address that answers.
fn ask(host: &str, spec: &SmbSpec, identity: Option<&Identity>, clock: &RealClock) -> Result<ServerReport> {
    let mut last = None;
    for address in resolve(host, spec.port)? {
        let mut question = Question::new(address, bare_name(host), clock);
        question.timeout = Duration::from_nanos(spec.wait_ns);
        question.identity = identity.cloned();
        match pathproof_smb2::ask(&question) {
            Ok(report) => return Ok(report),
            // Another address of the same name may answer, but only where nobody did on this one.
            Err(error @ SmbError::Connect { .. }) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("{host} has no address; give an IP address"),
    }
}

pub(super) fn bare_name(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').split('%').next().unwrap_or(host)
}

pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // The resolver takes a scope by name or number in an IPv6 literal.
    let addresses = (bare, port).to_socket_addrs().with_context(|| {
        format!("cannot find {host}; give an address, or a name that this host resolves (getent hosts NAME)")
    })?;
    Ok(addresses.collect())
}
