//! Keeps the result document on disk current: written whole after every step, never half.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pathproof_model::ResultDoc;
use pathproof_report::{Json, Render};

/// Where a document goes, and how.
#[derive(Clone, Debug)]
pub struct DocumentFile {
    path: PathBuf,
}

impl DocumentFile {
    /// Checks before anything is measured that the file can be written. `-` (standard output) needs no file.
    pub fn prepare(path: &Path) -> Result<Option<DocumentFile>> {
        if path == Path::new("-") {
            return Ok(None);
        }
        if path.is_dir() {
            bail!("-o {} is a directory; name a file in it", path.display());
        }
        let file = DocumentFile { path: path.to_path_buf() };
        let probe = file.temporary();
        File::create(&probe).with_context(|| {
            format!(
                "cannot write beside -o {}; choose a directory that exists and is writable",
                path.display()
            )
        })?;
        let _ = fs::remove_file(&probe);
        Ok(Some(file))
    }

    fn temporary(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        self.path.with_file_name(name)
    }

    /// Writes the document: temporary file, fsync, rename. A failure leaves the former version in place.
    pub fn write(&self, doc: &ResultDoc) -> Result<()> {
        let temporary = self.temporary();
        let written = (|| -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(&temporary)?);
            Json.render(doc, &mut file)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&temporary, &self.path)
        })();
        written.inspect_err(|_| drop(fs::remove_file(&temporary))).with_context(|| {
            format!(
                "cannot write the result to {}; free some space or choose another place",
                self.path.display()
            )
        })
    }
}

/// Reads a document from a file.
pub fn read(path: &Path) -> Result<ResultDoc> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let doc: ResultDoc = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not a pathproof result document", path.display()))?;
    if doc.schema != pathproof_model::result::SCHEMA {
        bail!(
            "{} carries the schema {:?}, and this build reads {:?}; use a matching version of pathproof",
            path.display(),
            doc.schema,
            pathproof_model::result::SCHEMA
        );
    }
    Ok(doc)
}
