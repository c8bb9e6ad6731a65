//! The options of the SMB sink: `pathproof serve --smb-sink ADDR:PORT`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use pathproof_model::environment::Environment;
use pathproof_model::units::Bytes;
use pathproof_smb2::{Credentials, Interface, server};
use pathproof_sys::clock::RealClock;

use crate::host;
use crate::input;
use crate::serve::sink::{Settings, Sink};
use crate::serve::spoken;

/// `serve`, as far as the sink goes.
#[derive(Debug, Args)]
pub struct SinkArgs {
    /// Also serve one share in memory by SMB 3 here, for clients that are not pathproof's (Linux, smbclient; Windows was never tried); may
    /// be repeated. The usual port is 445.
    #[arg(long, value_name = "ADDR:PORT")]
    pub smb_sink: Vec<SocketAddr>,
    /// The share also by SMB Direct, at this address of an RDMA device; may be repeated. Clients expect port 445 on RoCE and InfiniBand, 5445 on
    /// iWARP.
    #[arg(long, value_name = "ADDR:PORT", requires = "smb_sink")]
    pub smb_sink_direct: Vec<SocketAddr>,
    /// Name of the share.
    #[arg(long, value_name = "NAME", default_value = "sink", requires = "smb_sink")]
    pub smb_sink_share: String,
    /// The one account of the share.
    #[arg(long, value_name = "USER", default_value = "pathproof", requires = "smb_sink")]
    pub smb_sink_user: String,
    /// File with the account's password in its first line [default: one that is made and shown at start].
    #[arg(long, value_name = "FILE", requires = "smb_sink")]
    pub smb_sink_password_file: Option<PathBuf>,
    /// Memory for the share's files, all together.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", requires = "smb_sink")]
    pub smb_sink_size: Bytes,
}

/// A password that strangers can try offline (NTLMv2 lets whoever captures a logon do that) needs more than a code does.
const PASSWORD_CODES: usize = 2;
/// Shorter ones are found offline at once.
const PASSWORD_LENGTH_MIN: usize = 8;

/// Starts the sink where one was asked for, and says how to reach it.
pub fn start(args: &SinkArgs, clock: &RealClock) -> Result<Vec<String>> {
    if args.smb_sink.is_empty() {
        return Ok(vec![]);
    }
    let named = |text: &str| !text.is_empty() && text.len() <= 80 && !text.contains(['\\', '/']);
    if !named(&args.smb_sink_share) || args.smb_sink_share.eq_ignore_ascii_case("IPC$") {
        bail!("--smb-sink-share {:?} is no name of a share; give one such as vms", args.smb_sink_share);
    }
    if !named(&args.smb_sink_user) {
        bail!("--smb-sink-user {:?} is no name of an account; give one such as lab", args.smb_sink_user);
    }
    if args.smb_sink_size.0 < 1 << 20 {
        bail!(
            "--smb-sink-size {}: a share needs 1 MiB at least; give more, such as 1GiB",
            args.smb_sink_size
        );
    }
    let (password, made) = password(args)?;
    let environment = host::observe().environment;
    let sink = Sink::bind(Settings {
        server: server::Settings {
            account: Credentials {
                user: args.smb_sink_user.clone(),
                domain: String::new(),
                password: password.clone(),
            },
            name: short_name(environment.hostname.as_deref()),
            share: args.smb_sink_share.clone(),
            bytes: args.smb_sink_size.0,
        },
        listen: args.smb_sink.clone(),
        direct: args.smb_sink_direct.clone(),
        clock: clock.clone(),
        interfaces: interfaces(&environment, &args.smb_sink_direct),
    })?;
    let mut lines: Vec<String> =
        sink.addresses().iter().map(|at| format!("pathproof: SMB sink listening on {at}")).collect();
    lines.extend(args.smb_sink_direct.iter().map(|at| format!("pathproof: SMB sink by SMB Direct on {at}")));
    let (share, user) = (&args.smb_sink_share, &args.smb_sink_user);
    lines.push(format!(
        "pathproof: share {share} of {} in memory, user {user}; whoever has the password reads and writes all of it",
        args.smb_sink_size
    ));
    if made {
        lines.push(format!("pathproof: its password, made for as long as this process runs: {password}"));
    }
    sink.run_in_background();
    Ok(lines)
}

/// The password, and whether it was made here.
fn password(args: &SinkArgs) -> Result<(String, bool)> {
    let Some(file) = &args.smb_sink_password_file else {
        let codes = std::iter::repeat_with(spoken::code).take(PASSWORD_CODES);
        let codes = codes.collect::<std::io::Result<Vec<_>>>().context("cannot make a password")?;
        return Ok((codes.join("-"), true));
    };
    let shown = file.display();
    let text =
        input::read_text(file).with_context(|| format!("cannot read --smb-sink-password-file {shown}"))?;
    let password = text.lines().next().unwrap_or_default();
    if password.chars().count() < PASSWORD_LENGTH_MIN {
        bail!(
            "the first line of --smb-sink-password-file {shown} must be a password of {PASSWORD_LENGTH_MIN} characters at least; choose a longer one"
        );
    }
    Ok((password.to_owned(), false))
}

/// What NTLM calls this computer: at most 15 plain characters.
fn short_name(hostname: Option<&str>) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = hostname.unwrap_or_default().chars().take_while(plain).take(15).collect();
    if name.is_empty() { "PATHPROOF".into() } else { name.to_uppercase() }
}

/// This host's NICs as clients of SMB Multichannel are told of them. A speed that is not known is left out, and RDMA only where SMB Direct is
/// served.
fn interfaces(environment: &Environment, direct: &[SocketAddr]) -> Vec<Interface> {
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let nics = environment.nics.iter().filter(|nic| nic.up != Some(false) && !nic.is_loopback());
    nics.flat_map(|nic| {
        let addresses = nic.addresses.iter().map(|one| one.address);
        addresses.filter(|ip| !ip.is_loopback() && !link_local(ip)).map(|address| Interface {
            index: nic.index,
            rss: nic.receive_queues.is_some_and(|queues| queues > 1),
            rdma: direct.iter().any(|at| at.ip() == address),
            speed_bits_per_s: nic.speed_bits_per_s,
            address,
            scope: None,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_s_name_is_short_and_plain() {
        assert_eq!(short_name(Some("stor2.example.org")), "STOR2");
        assert_eq!(short_name(Some("a-very-long-name-of-a-host")), "A-VERY-LONG-NAM");
        assert_eq!((short_name(None), short_name(Some("ü"))), ("PATHPROOF".into(), "PATHPROOF".into()));
    }
}
