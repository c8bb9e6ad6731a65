//! `pathproof support-bundle`: what somebody who helps remotely has to see, in one file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{key, version};
use crate::{bundle, document, terminal, wall};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof support-bundle                        facts, counters, settings, the end of the kernel's log
  pathproof support-bundle --result hv2.json      and a result
  pathproof support-bundle -o bundle/             a directory, to be read before it is sent

Names, MAC addresses and IP addresses are replaced, the same way in all files; README.txt in it says what is kept.";

/// `support-bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// A result document that belongs to the question.
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
    /// Leave names and addresses as they are.
    #[arg(long)]
    pub raw: bool,
    /// Where to write it: a new file, or a directory where the name ends in / or is one [default: pathproof-support-TIME.tar.gz].
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &BundleArgs) -> Result<u8> {
    let folder = format!("pathproof-support-{}", wall::now_rfc3339().replace([':', '.'], "-"));
    let to = match &args.output {
        Some(path) => To::of(path),
        None => To::File(PathBuf::from(format!("{folder}.tar.gz"))),
    };
    to.check()?;
    let parts = bundle::collect(args.result.as_deref(), version::text())?;
    let parts = if args.raw { parts } else { bundle::replaced(parts, &own())? };
    let missing: Vec<String> = parts
        .iter()
        .filter_map(|part| Some(format!("  {}: {}", part.name, part.content.as_ref().err()?)))
        .collect();
    let files = bundle::files(parts, args.raw)?;
    to.write(&folder, &files)?;
    let names = if args.raw { "names and addresses as they are" } else { "names and addresses replaced" };
    let mut lines =
        vec![format!("{}: {} files, {names}; read it before you send it", to.path().display(), files.len())];
    if !missing.is_empty() {
        lines.push("could not be read:".into());
        lines.extend(missing);
    }
    terminal::print_lines(lines)?;
    Ok(0)
}

/// Who types, and the key that may stand in the environment.
fn own() -> bundle::Own {
    let variables =
        |names: &[&str]| names.iter().filter_map(|name| std::env::var(name).ok()).collect::<Vec<String>>();
    bundle::Own { users: variables(&["USER", "LOGNAME", "SUDO_USER"]), secrets: variables(&[key::VARIABLE]) }
}

/// What it is written as.
enum To {
    Folder(PathBuf),
    File(PathBuf),
}

impl To {
    fn of(path: &Path) -> To {
        let folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if folder { To::Folder(path.into()) } else { To::File(path.into()) }
    }

    fn path(&self) -> &Path {
        match self {
            To::Folder(path) | To::File(path) => path,
        }
    }

    /// Nothing of the user's is replaced.
    fn check(&self) -> Result<()> {
        let path = self.path().display();
        match self {
            To::File(file) if file.exists() => bail!("{path} is there already; name another, or remove it"),
            To::Folder(folder) if folder.read_dir().is_ok_and(|mut inside| inside.next().is_some()) => {
                bail!("{path} is not empty; name a new directory")
            }
            To::File(_) | To::Folder(_) => Ok(()),
        }
    }

    fn write(&self, folder: &str, files: &[(String, Vec<u8>)]) -> Result<()> {
        let failed = |path: &Path| format!("cannot write {}", path.display());
        match self {
            To::File(file) => {
                let mut out = vec![];
                bundle::archive(folder, files, &mut out)?;
                document::write_private(file, &out).with_context(|| failed(file))
            }
            To::Folder(into) => {
                std::fs::create_dir_all(into).with_context(|| failed(into))?;
                files.iter().try_for_each(|(name, bytes)| {
                    let file = into.join(name);
                    document::write_private(&file, bytes).with_context(|| failed(&file))
                })
            }
        }
    }
}
