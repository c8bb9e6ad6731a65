//! What the commands that measure against a peer have in common on the command line.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts, where [:PORT] means what it says"
)]

use std::path::PathBuf;

use clap::Args;

use super::criteria::LimitArgs;
use super::far::FarArgs;
use super::format::Shape;
use super::key::KeyArgs;
use crate::peer::Peer;

/// How a client reaches its peer, and what becomes of the result.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The peer, as HOST[:PORT]; it runs `pathproof serve`. As USER@HOST[:PORT] it need not: it is started there over ssh, and ends
    /// with the run.
    #[arg(value_name = "PEER", required_unless_present = "self_test")]
    pub peer: Option<Peer>,
    /// Run both ends on this machine, over loopback; nothing to install anywhere.
    #[arg(long = "self", conflicts_with = "peer")]
    pub self_test: bool,
    /// How the far end is started.
    #[command(flatten)]
    pub far: FarArgs,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Write the result document here, rewritten after every step.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed.
    #[command(flatten)]
    pub shape: Shape,
    /// The run as it goes, for programs: JSON lines on standard output, in the place of the report, or in FILE, beside it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json_stream: Option<PathBuf>,
    /// What it is judged by.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// With --self, the RDMA device of the other end, which is this machine's too.
    #[arg(skip)]
    pub own_device: Option<String>,
}
