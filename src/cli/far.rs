//! Where a peer is typed: whether its far end runs already, or is started from here.

use anyhow::{Result, bail};
use clap::Args;

use super::key::KeyArgs;
use crate::far::Start;
use crate::peer::Peer;
use crate::run::Party;

/// How a far end that does not run yet is started.
#[derive(Debug, Default, Args)]
pub struct FarArgs {
    /// Start the far end by this command, which runs a program there: 'ip netns exec %h', 'docker exec -i box', 'ssh -p 2222 %h'
    /// (%h is PEER's host). It ends with the run.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["key", "key_file", "no_key"])]
    pub via: Option<String>,
    /// With USER@HOST or --via: lend this very program to the other host for the run; both must have the same architecture.
    #[arg(long)]
    pub copy: bool,
    /// Whether the offloads of that host are to be tried, too: both ends are the same user's.
    #[arg(skip)]
    pub offloads: bool,
}

impl FarArgs {
    /// The peer as a node of the run.
    pub fn party(&self, peer: &Peer, key: &KeyArgs) -> Result<Party> {
        match Start::of(peer, self.via.as_deref(), self.copy).map_err(anyhow::Error::msg)? {
            None => Ok(Party::agent(peer, key.access()?)),
            Some(_) if key.is_given() => {
                bail!(
                    "a far end that is started from here has a key of its own; leave --key, --key-file and --no-key out"
                )
            }
            Some(start) => Ok(Party::to_start(peer, start.with_offloads(self.offloads))),
        }
    }
}
