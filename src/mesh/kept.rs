//! What a rank finds, kept on its own host while it goes on (`--details`).

use std::path::{Path, PathBuf};

use pathproof_engine::mesh::kept::{Head, Line};

use crate::document::write_small;

/// How the name of a rank's part ends.
pub const ENDING: &str = ".mesh-part";

/// Largest part of a rank.
pub const BYTES_MAX: u64 = 64 << 20;

/// A file of a rank's own, which is complete whenever it is looked at.
pub struct Kept {
    path: PathBuf,
    text: String,
}

impl Kept {
    /// Begins the part of a rank in a folder.
    pub fn begin(folder: &Path, head: &Head) -> Kept {
        let path = folder.join(format!("rank-{:04}{ENDING}", head.rank));
        let mut kept = Kept { path, text: String::new() };
        kept.write(serde_json::to_string(head));
        kept
    }

    /// Adds an order and what came of it.
    pub fn add(&mut self, line: &Line) {
        self.write(serde_json::to_string(line));
    }

    fn write(&mut self, line: serde_json::Result<String>) {
        let line = line.unwrap_or_default();
        // More than could be read again is not kept, whatever rank 0 has measured without end.
        if self.text.len() + line.len() >= BYTES_MAX as usize {
            return;
        }
        self.text += &line;
        self.text.push('\n');
        // What cannot be kept here is still reported to rank 0.
        if let Err(error) = write_small(&self.path, self.text.as_bytes()) {
            tracing::warn!("{error:#}");
        }
    }
}
