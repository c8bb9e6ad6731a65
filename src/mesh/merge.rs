//! The document of a mesh, put together from what its ranks kept (`pathproof merge`).

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pathproof_engine::mesh::Ledger;
use pathproof_engine::mesh::kept::{Part, put_together};
use pathproof_model::mesh::MeshDoc;

use super::kept::{self, ENDING};
use crate::input;

/// All parts together that are read: those of 1024 ranks with all their rounds take a third of it.
const BYTES_MAX: usize = 1 << 30;

/// The document of a mesh, from the folders in which its ranks kept their parts.
pub fn merge(folders: &[PathBuf]) -> Result<MeshDoc> {
    let mut parts: Vec<Part> = Vec::new();
    let mut total = 0;
    for path in files(folders)? {
        let bytes = input::read(&path, kept::BYTES_MAX);
        total += bytes.as_ref().map_or(0, Vec::len);
        if total > BYTES_MAX {
            bail!(
                "the parts have more than {BYTES_MAX} bytes together; is {} one that grew?",
                path.display()
            );
        }
        let text = bytes.and_then(|bytes| Ok(String::from_utf8(bytes)?));
        let part = text.and_then(|text| Ok(Part::read(&text)?));
        let part = part.with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(first) = parts.first().map(|first| &first.head) {
            let head = &part.head;
            if (head.size, &head.settings, &head.nets) != (first.size, &first.settings, &first.nets) {
                bail!(
                    "{} is of another mesh than the first part; name the folders of one mesh",
                    path.display()
                );
            }
            if parts.iter().any(|other| other.head.rank == head.rank) {
                bail!("{} is a second part of rank {}; name each folder once", path.display(), head.rank);
            }
        }
        parts.push(part);
    }
    let Some(first) = parts.iter().map(|part| &part.head).min_by_key(|head| head.rank) else {
        bail!(
            "no part of a mesh is there (rank-NNNN{ENDING}); name the folders that --details named, of all ranks"
        );
    };
    let mut ledger = Ledger::new(MeshDoc {
        tool: first.tool.clone(),
        started_at: first.started_at.clone(),
        ..MeshDoc::new(first.size, first.settings.clone(), &first.nets)
    });
    for rank in (0..first.size).filter(|rank| parts.iter().all(|part| part.head.rank != *rank)) {
        ledger.lose(rank, None, "nothing that it kept is there".into());
    }
    let unanswered = put_together(&mut ledger, &parts);
    let mut doc = ledger.doc;
    doc.notes.push(format!("put together from what {} of {} ranks kept", parts.len(), doc.size));
    if unanswered > 0 {
        doc.unclear.push(format!(
            "{unanswered} streams were to be measured again and were not, because the mesh was cut off; nobody is named by a figure that was \
             measured once"
        ));
    }
    doc.conclude();
    Ok(doc)
}

/// The parts in some folders.
fn files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes()) {
                found.push(path);
            }
        }
    }
    if found.len() > pathproof_model::mesh::RANKS_MAX {
        bail!(
            "{} parts, and a mesh has at most {}; name the folders of one mesh",
            found.len(),
            pathproof_model::mesh::RANKS_MAX
        );
    }
    found.sort();
    Ok(found)
}
