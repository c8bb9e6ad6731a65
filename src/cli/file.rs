//! `pathproof bench file //SERVER/SHARE`: file data to and from a share of an SMB server. No agent is needed on the far side.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{CommandName, FileOrder, FileOver, FileSpec, Plan, StepSpec};
use pathproof_sys::clock::RealClock;

use super::account::AccountArgs;
use super::format::Shape;
use super::run::{ClientRun, Sink};
use super::smb::server;
use super::values::words;
use crate::peer::ShareName;

/// How many reads for how many writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    reads: u32,
    writes: u32,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= 1000);
        let mix = text.split_once(':').and_then(|(r, w)| Some(Mix { reads: number(r)?, writes: number(w)? }));
        mix.filter(|mix| mix.reads + mix.writes > 0)
            .ok_or_else(|| format!("{text:?} is no mix; write reads:writes, such as 70:30"))
    }
}

/// `bench file`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The share, and a directory in it for the file: //SERVER[:PORT]/SHARE[/DIRECTORY].
    #[arg(value_name = "//SERVER/SHARE")]
    pub share: ShareName,
    /// As whom.
    #[command(flatten)]
    pub account: AccountArgs,
    /// tcp: one connection. multi: several channels of one session (SMB Multichannel). smbd: SMB Direct.
    #[arg(long, default_value = FileOver::Tcp.name(), value_parser = words(&FileOver::ALL, FileOver::name))]
    pub over: FileOver,
    /// Channels, with --over multi or smbd [default: with multi one to each address that the server lists, and at least two].
    #[arg(long)]
    pub channels: Option<u32>,
    /// With --over multi a further address of the server [default: those that it lists], with --over smbd the one to reach it at by RDMA
    /// [default: what its name leads to]. May be repeated.
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
    /// Data of a request.
    #[arg(long, default_value = "1MiB")]
    pub size: Bytes,
    /// Requests outstanding on each channel.
    #[arg(long, default_value_t = 8)]
    pub depth: u32,
    /// Read; the file is written first, outside the window.
    #[arg(long, conflicts_with_all = ["write", "mix"])]
    pub read: bool,
    /// Write. This is what is done where nothing else is asked for.
    #[arg(long, conflicts_with = "mix")]
    pub write: bool,
    /// So many reads for so many writes, such as 70:30.
    #[arg(long, value_name = "R:W")]
    pub mix: Option<Mix>,
    /// Anywhere in the file.
    #[arg(long, conflicts_with = "sequential")]
    pub random: bool,
    /// One after the other. This is what is done where nothing else is asked for.
    #[arg(long)]
    pub sequential: bool,
    /// Size of the file.
    #[arg(long, default_value = "128MiB")]
    pub file_size: Bytes,
    /// Measured window.
    #[arg(long, default_value = "5s")]
    pub time: Nanoseconds,
    /// Warm-up before it [default: 200ms, at most the window].
    #[arg(long)]
    pub warmup: Option<Nanoseconds>,
    /// With --over smbd: pieces of memory that a request names to the server, each by a buffer descriptor of its own (1 to 16).
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub descriptors: u32,
    /// With --over smbd: register memory for each request, and end that with its answer [default: once, before the window].
    #[arg(long)]
    pub register_each: bool,
    /// With --over smbd: give each request a key of its own, which the server ends with its answer (SMB2_CHANNEL_RDMA_V1_INVALIDATE): of a
    /// memory window, or on iWARP without windows of a registration.
    #[arg(long, conflicts_with = "register_each")]
    pub invalidate: bool,
    /// With --over smbd: begin the session over TCP, as Windows does, ask the server which of its NICs have RDMA, and bind channels of SMB
    /// Direct to it; all data goes over those.
    #[arg(long)]
    pub tcp_first: bool,
    /// Have the server answer a write only when it is on its disk.
    #[arg(long)]
    pub durable: bool,
    /// Compare what is read with what was written, and in the end read everything that was written.
    #[arg(long)]
    pub verify: bool,
    /// Longest wait for a connection and for each answer.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub wait: Nanoseconds,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the result document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed.
    #[command(flatten)]
    pub shape: Shape,
}

/// Runs the command.
pub fn run(args: FileArgs, clock: &RealClock) -> Result<u8> {
    let sink = Sink::prepare(args.output.as_deref(), args.shape)?;
    let spec = spec(&args)?;
    let seed = args.seed;
    let plan = Plan { command: CommandName::Bench, seed, nodes: vec![], steps: vec![StepSpec::File(spec)] };
    ClientRun::with(server(&args.share.host), sink, clock).run(plan)
}

/// The step that the arguments mean, with every default made explicit.
fn spec(args: &FileArgs) -> Result<FileSpec> {
    if args.over == FileOver::Tcp && (args.channels.is_some() || !args.addresses.is_empty()) {
        bail!("--channels and --address are for --over multi and --over smbd; --over tcp is one connection");
    }
    if !args.account.is_given() {
        bail!("a share needs an account: --user NAME --password-file FILE, or --kerberos");
    }
    let Mix { reads, writes } = match (args.mix, args.read) {
        (Some(mix), _) => mix,
        (None, true) => Mix { reads: 1, writes: 0 },
        (None, false) => Mix { reads: 0, writes: 1 },
    };
    Ok(FileSpec {
        port: args.share.port,
        share: args.share.share.clone(),
        directory: args.share.directory.clone(),
        user: args.account.user.clone().unwrap_or_default(),
        domain: args.account.domain.clone(),
        password_file: args.account.password_file.clone().unwrap_or_default(),
        kerberos: args.account.kerberos,
        over: args.over,
        channels: args.channels,
        addresses: args.addresses.clone(),
        size_bytes: args.size.0,
        depth: args.depth,
        reads,
        writes,
        order: if args.random { FileOrder::Random } else { FileOrder::Sequential },
        file_bytes: args.file_size.0,
        time_ns: args.time.0,
        warmup_ns: args.warmup.map_or(args.time.0.min(200_000_000), |warmup| warmup.0),
        descriptors: args.descriptors,
        register_each: args.register_each,
        invalidate: args.invalidate,
        tcp_first: args.tcp_first,
        durable: args.durable,
        verify: args.verify,
        wait_ns: args.wait.0,
        ..FileSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_two_numbers() {
        assert_eq!("70:30".parse(), Ok(Mix { reads: 70, writes: 30 }));
        for wrong in ["", "70", "0:0", "-1:2", "1:2:3", "1001:1"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
