//! `pathproof merge`: the document of a mesh from what its ranks kept, for where rank 0 died.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::format::MeshFormat;
use crate::document::{self, DocumentFile};
use crate::mesh;

/// `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The folders that `mesh --details` named, of all ranks.
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Write the document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: MeshFormat,
}

/// Runs the command. It ends with the exit code of what it says.
pub fn run(args: &MergeArgs) -> Result<u8> {
    let to_stdout = args.output.as_deref().is_some_and(document::is_stdout);
    let file = args.output.as_deref().map(DocumentFile::prepare).transpose()?.flatten();
    let doc = mesh::merge(&args.folders)?;
    if let Some(file) = file {
        file.write_json(mesh::json(&doc).as_bytes())?;
    }
    let format = if to_stdout { MeshFormat::Json } else { args.format };
    format.print(&doc)?;
    Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN))
}
