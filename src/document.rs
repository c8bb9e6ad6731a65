//! Keeps the result document on disk current: written whole after every step, never half.
//!
//! Regular files only. A symbolic link's target is written and the link stays; what is no file is written to as it is
//! where that makes sense (`/dev/null`, a terminal, a pipe that somebody reads from), else refused with a sentence. A
//! new version has no name until it is complete (`O_TMPFILE`), so whatever ends this process leaves no temporary file. Where
//! the file system knows no such files, a kill may leave one, which the next run there removes.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_model::ResultDoc;
use pathproof_model::mesh::{self, MeshDoc};
use pathproof_report::{Json, Render};
use pathproof_sys::files::{self, FileKind};

use crate::input;

/// Largest document that is read; a day over many lanes stays far below it.
pub const BYTES_MAX: u64 = 256 << 20;
/// A temporary file that is older than this, and held by nobody, was left by a run that was killed.
const STALE: Duration = Duration::from_secs(60);
/// Links to links that are followed, as the kernel does.
const LINKS_MAX: usize = 40;

/// Where a document goes, and how.
#[derive(Clone, Debug)]
pub struct DocumentFile {
    /// As typed, for messages.
    typed: PathBuf,
    to: To,
}

#[derive(Clone, Debug)]
enum To {
    /// A regular file, whether it is there yet or not.
    File(PathBuf),
    /// No file: it gets the finished document, once.
    Stream(Arc<File>),
}

/// Held while a new version has two names, so that an end by a second signal does not fall between.
static RENAMING: Mutex<()> = Mutex::new(());

fn renaming() -> MutexGuard<'static, ()> {
    RENAMING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, briefly, until no document is just being put in its place.
pub fn settle() {
    const NAP: Duration = Duration::from_millis(1);
    // A second in all. Counted, because the signal that brings us here may come before there is a clock.
    for _ in 0..1000 {
        if RENAMING.try_lock().is_ok() {
            return;
        }
        std::thread::sleep(NAP);
    }
}

/// Whether `-o` names standard output: the document then is the report.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || files::is_stdout(path)
}

impl DocumentFile {
    /// Checks before anything is measured that the document can be written. Standard output needs no file.
    pub fn prepare(path: &Path) -> Result<Option<DocumentFile>> {
        if is_stdout(path) {
            return Ok(None);
        }
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            bail!("-o {} names a directory; name a file in it", path.display());
        }
        let typed = path.to_path_buf();
        let to = match fs::metadata(path) {
            Ok(found) if found.is_dir() => bail!("-o {} is a directory; name a file in it", path.display()),
            Ok(found) if found.is_file() => To::File(fs::canonicalize(path)?),
            Ok(found) => To::Stream(Arc::new(open_stream(path, &found, "-o")?)),
            Err(error) if error.kind() == Io::NotFound => To::File(behind_links(path)?),
            Err(error) => return Err(error).with_context(|| format!("cannot write -o {}", path.display())),
        };
        if let To::File(file) = &to {
            if files::is_the_kernels(folder(file)) {
                bail!(
                    "-o {} is a file of the kernel's, which does what is written to it; name another",
                    path.display()
                );
            }
            can_be_written(file).with_context(|| {
                format!(
                    "cannot write -o {}; choose a file in a folder that exists and is writable",
                    path.display()
                )
            })?;
        }
        Ok(Some(DocumentFile { typed, to }))
    }

    /// Writes the document as far as it goes. A failure leaves the former version in place. What is no file waits for
    /// the finished document.
    pub fn keep(&self, doc: &ResultDoc) -> Result<()> {
        if self.is_file() { self.write(doc) } else { Ok(()) }
    }

    /// Whether it is a file, which can be written again and again.
    pub fn is_file(&self) -> bool {
        matches!(self.to, To::File(_))
    }

    /// Writes the finished document.
    pub fn write(&self, doc: &ResultDoc) -> Result<()> {
        let mut json = Vec::new();
        Json.render(doc, &mut json)?;
        self.write_json(&json)
    }

    /// Writes a document of another kind, as JSON.
    pub fn write_json(&self, json: &[u8]) -> Result<()> {
        match &self.to {
            To::File(path) => write_file(path, json),
            To::Stream(stream) => stream.as_ref().write_all(json),
        }
        .with_context(|| {
            format!(
                "cannot write the result to {}; free some space or choose another place",
                self.typed.display()
            )
        })
    }
}

/// Opens a file that grows line by line, as `flag` names it: what was there before is gone.
pub fn open_growing(path: &Path, flag: &str) -> Result<File> {
    let named = || format!("{flag} {}", path.display());
    if let Ok(found) = fs::metadata(path) {
        if found.is_dir() {
            bail!("{} is a directory; name a file in it", named());
        }
        if !found.is_file() {
            return open_stream(path, &found, flag);
        }
    }
    let file = behind_links(path)?;
    if files::is_the_kernels(folder(&file)) {
        bail!("{} is a file of the kernel's, which does what is written to it; name another", named());
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).open(&file).with_context(|| {
        format!("cannot write {}; choose a file in a folder that exists and is writable", named())
    })
}

/// Puts a small file of our own in its place, complete.
pub fn write_small(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(file) = DocumentFile::prepare(path)? else {
        bail!("{} is standard output; name a file", path.display())
    };
    file.write_json(bytes)
}

/// Opens what is no regular file, where a document may go there.
fn open_stream(path: &Path, found: &Metadata, flag: &str) -> Result<File> {
    let kind = FileKind::of(found);
    let harmless = kind == FileKind::Device && files::is_harmless_device(found);
    if harmless || kind == FileKind::Pipe {
        let opened = match files::open_at_once(OpenOptions::new().write(true), path) {
            Err(error) if kind == FileKind::Pipe && files::nobody_reads(&error) => {
                bail!("{flag} {} is a pipe that nobody reads from; start its reader first", path.display())
            }
            other => other.with_context(|| format!("cannot write {flag} {}", path.display()))?,
        };
        // A reader that is slow is waited for, as on standard output.
        files::wait_for_readers(&opened)?;
        return Ok(opened);
    }
    bail!(
        "{flag} {} is {}, and what is written goes into a regular file; name one",
        path.display(),
        kind.words()
    )
}

/// The file that a symbolic link leads to, also where that is not there yet.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&at) {
            Ok(link) => at = folder(&at).join(link),
            Err(_) => return Ok(at),
        }
    }
    bail!("-o {} is a symbolic link that leads in a circle; name a file", path.display())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn can_be_written(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(Io::IsADirectory.into());
    }
    match Fresh::create(path) {
        Ok(_) => Ok(()),
        // A folder that takes no new file may still hold one that can be written.
        Err(error) => OpenOptions::new().write(true).open(path).map(drop).map_err(|_| error),
    }
}

fn write_file(path: &Path, json: &[u8]) -> io::Result<()> {
    let former = fs::metadata(path).ok();
    match replace(path, json, former.as_ref()) {
        // In a container the file may be mounted by itself; elsewhere the folder may be read-only, or the file have an
        // owner that this user cannot give away. The file as it is can be written all the same, if not at one stroke.
        Err(error)
            if former.is_some()
                && matches!(
                    error.kind(),
                    Io::ResourceBusy | Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::CrossesDevices
                ) =>
        {
            in_place(path, json).map_err(|_| error)
        }
        other => other,
    }
}

fn in_place(path: &Path, json: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(json)?;
    file.set_len(json.len() as u64)?;
    file.sync_all()
}

/// Puts a complete new version in the place of the former one, with its owner and permissions.
fn replace(path: &Path, json: &[u8], former: Option<&Metadata>) -> io::Result<()> {
    let mut fresh = Fresh::create(path)?;
    fresh.file.write_all(json)?;
    if let Some(former) = former {
        files::make_like(&fresh.file, former)?;
    }
    fresh.file.sync_all()?;
    fresh.put(path)?;
    // The name as well must survive a loss of power. Not every file system can promise that.
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A new version that is not in its place yet.
struct Fresh {
    file: File,
    /// A name beside its place, which it needs only while it is put there (the former version must be replaced at one
    /// stroke, and only a rename does that), or from the start where the file system knows no files without a name.
    beside: PathBuf,
    named: bool,
}

impl Fresh {
    fn create(path: &Path) -> io::Result<Fresh> {
        let beside = folder(path).join(OsString::from(format!(".pathproof-{}.tmp", std::process::id())));
        if let Ok(file) = files::unnamed(folder(path)) {
            return Ok(Fresh { file, beside, named: false });
        }
        let create = || OpenOptions::new().write(true).create_new(true).open(&beside);
        sweep(folder(path), STALE);
        let file = create().or_else(|error| match error.kind() {
            // Left by a process that had our number and was killed.
            Io::AlreadyExists => fs::remove_file(&beside).and_then(|()| create()),
            _ => Err(error),
        })?;
        // While this process lives nobody takes it for a leftover.
        files::hold(&file);
        Ok(Fresh { file, beside, named: true })
    }

    fn put(mut self, path: &Path) -> io::Result<()> {
        let _held = renaming();
        if !self.named {
            let link = |to: &Path| files::give_name(&self.file, to);
            match link(path) {
                Err(error) if error.kind() == Io::AlreadyExists => {}
                other => return other,
            }
            link(&self.beside).or_else(|error| match error.kind() {
                Io::AlreadyExists => fs::remove_file(&self.beside).and_then(|()| link(&self.beside)),
                _ => Err(error),
            })?;
            self.named = true;
        }
        fs::rename(&self.beside, path)?;
        self.named = false;
        Ok(())
    }
}

/// Removes what runs left here that were killed where a new version must have a name from the start: files named like ours that
/// nobody holds and that are older than `age`.
fn sweep(folder: &Path, age: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix(".pathproof-")?.strip_suffix(".tmp"));
        if ours.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        let Ok(left) = files::open_left(&entry.path()) else { continue };
        let old = left.metadata().is_ok_and(|found| {
            found.is_file() && found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= age))
        });
        if old && files::hold(&left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.named {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Writes a new file that nobody else may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::make_private(path)?.write_all(bytes)
}

/// Reads a document of any version from a file.
pub fn read(path: &Path) -> Result<ResultDoc> {
    match read_any(path)? {
        Stored::Run(doc) => Ok(*doc),
        Stored::Mesh(_) => bail!(
            "{} is the document of a mesh, which `pathproof report` shows; name that of a run",
            path.display()
        ),
    }
}

/// A document of either kind.
pub enum Stored {
    /// Of two hosts.
    Run(Box<ResultDoc>),
    /// Of many.
    Mesh(Box<MeshDoc>),
}

/// Reads a document of whatever kind.
pub fn read_any(path: &Path) -> Result<Stored> {
    let read = || -> Result<Stored> {
        let bytes = input::read(path, BYTES_MAX)?;
        Ok(match mesh::read(&bytes)? {
            Some(doc) => Stored::Mesh(Box::new(doc)),
            None => Stored::Run(Box::new(pathproof_model::lift::read(&bytes)?)),
        })
    };
    read().with_context(|| format!("cannot read {} (a run writes its document with -o FILE)", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_would_obey_and_what_is_no_file_is_refused_before_the_run() {
        for (odd, says) in [
            ("/proc/self/mem", "the kernel's"),
            ("/proc/self/comm", "the kernel's"),
            ("/proc/sys/kernel/nosuchthing", "the kernel's"),
            ("/sys/kernel/mm/transparent_hugepage/enabled", "the kernel's"),
            ("/tmp/nothing/", "directory"),
        ] {
            if !folder(Path::new(odd)).exists() && odd.starts_with("/sys") {
                continue;
            }
            let refused = DocumentFile::prepare(Path::new(odd)).map(drop).unwrap_err().to_string();
            assert!(refused.contains(says), "{odd}: {refused}");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("pathproof-sweep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let names =
            [".pathproof-7.tmp", ".pathproof-8.tmp", ".pathproof-x.tmp", "result.json", ".pathproof-9.tmp"];
        for name in &names[..4] {
            fs::write(folder.join(name), "half").unwrap();
        }
        // A name of ours that leads elsewhere is left alone, and so is what it leads to.
        std::os::unix::fs::symlink(folder.join("result.json"), folder.join(names[4])).unwrap();
        let held = File::open(folder.join(".pathproof-8.tmp")).unwrap();
        assert!(files::hold(&held));
        let left = || names.map(|name| folder.join(name).symlink_metadata().is_ok());
        sweep(&folder, STALE);
        assert_eq!(left(), [true; 5], "a file of this minute may be somebody's");
        sweep(&folder, Duration::ZERO);
        assert_eq!(left(), [false, true, true, true, true]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
