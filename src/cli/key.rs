//! How a key reaches the program: from the environment, a file, or (visible to others) the command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::input;
use crate::secure::{Access, Key};
use crate::terminal;

/// The variable that holds the key. Only the user and root can read another process's environment; anybody can its arguments.
pub const VARIABLE: &str = "PATHPROOF_KEY";

/// The key options of both ends.
#[derive(Debug, Default, Args)]
pub struct KeyArgs {
    /// The session's key. Everybody on this host can see it in `ps`: prefer the environment variable PATHPROOF_KEY, or --key-file.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key_file", "no_key"])]
    pub key: Option<String>,
    /// File with the key. It and --key go before PATHPROOF_KEY.
    #[arg(long, value_name = "FILE", conflicts_with = "no_key")]
    pub key_file: Option<PathBuf>,
    /// Run without a key where others can reach the peer; must be given at both ends. Loopback needs no key.
    #[arg(long)]
    pub no_key: bool,
}

impl KeyArgs {
    /// Whether the command line says something about a key.
    pub fn is_given(&self) -> bool {
        self.key.is_some() || self.key_file.is_some() || self.no_key
    }

    /// The key that was given, wherever. Says so when others can see it.
    pub fn read(&self) -> Result<Option<String>> {
        if self.no_key {
            return Ok(None);
        }
        let key = match (&self.key, &self.key_file) {
            (Some(key), _) => {
                warn();
                key.clone()
            }
            (None, Some(file)) => input::read_text(file)
                .with_context(|| {
                    format!(
                        "cannot read --key-file {} (the key that pathproof serve printed belongs into it)",
                        file.display()
                    )
                })?
                .trim()
                .to_string(),
            (None, None) => match std::env::var_os(VARIABLE) {
                Some(key) => key.into_string().ok().with_context(|| {
                    format!("{VARIABLE} is not UTF-8 text; put the key into a file and give --key-file FILE")
                })?,
                None => return Ok(None),
            },
        };
        if key.is_empty() {
            bail!(
                "the key is empty; give one with at least 8 characters, by {VARIABLE}=KEY or --key-file FILE"
            );
        }
        Ok(Some(key))
    }

    /// What a client proves itself with.
    pub fn access(&self) -> Result<Access> {
        let key = self.read()?;
        Ok(match key {
            Some(key) => Access::Key(Key::new(&key)),
            None if self.no_key => Access::Anybody,
            None => Access::Loopback,
        })
    }
}

/// `--key` works, because scripts use it, but not silently.
fn warn() {
    terminal::say(
        "warning: --key can be read by everybody on this host (ps); use PATHPROOF_KEY=... or --key-file FILE",
    );
}
