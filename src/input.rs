//! Files that the command line names: a bounded amount is read, and nothing is waited for. A device is never
//! opened, since opening alone may do something; a pipe is read while somebody writes to it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as Io, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_model::typed_units::{in_plain_numbers, line_of};
use pathproof_model::units::Bytes;
use pathproof_model::{ExpectedState, Plan};
use pathproof_sys::files::{FileKind, open_at_once};
use serde::de::DeserializeOwned;

/// Largest file of settings: a key, limits, a plan.
pub const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// How long a pipe's writer may take (`--key-file <(…)`).
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the writer has written.
const NAP: Duration = Duration::from_millis(5);

/// What is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A regular file or a pipe.
    File,
    /// A regular file or a block device.
    Disk,
}

/// Opens a file for reading; never waits, and never opens what is not of that kind.
pub fn open(path: &Path, source: Source) -> Result<File> {
    let fits = |kind: FileKind| {
        kind == FileKind::Regular
            || match source {
                Source::File => kind == FileKind::Pipe,
                Source::Disk => kind == FileKind::Disk,
            }
    };
    let refuse =
        |kind: FileKind| -> Result<File> { bail!("it is {} and not a file; name a file", kind.words()) };
    let kind = FileKind::of(&fs::metadata(path)?);
    if !fits(kind) {
        return refuse(kind);
    }
    let file = open_at_once(OpenOptions::new().read(true), path)?;
    // It may have been replaced since it was looked at.
    let kind = FileKind::of(&file.metadata()?);
    if fits(kind) { Ok(file) } else { refuse(kind) }
}

/// The whole of a file of at most `bytes_max`.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut file = open(path, Source::File)?;
    let too_large =
        || format!("it is larger than the {} that are read; name the file that is meant", Bytes(bytes_max));
    let size = file.metadata()?;
    if size.len() > bytes_max {
        bail!(too_large());
    }
    // Counted in naps: a file is read with and without a run that has a clock.
    let mut naps = PATIENCE.as_millis() / NAP.as_millis();
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) if bytes.is_empty() && FileKind::of(&size) == FileKind::Pipe => {
                bail!("it is a pipe that nobody writes to; put the contents into a file")
            }
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == Io::Interrupted => {}
            Err(error) if error.kind() == Io::WouldBlock => {
                if naps == 0 {
                    bail!(
                        "nothing came from it within {} s; put the contents into a file",
                        PATIENCE.as_secs()
                    );
                }
                naps -= 1;
                std::thread::sleep(NAP);
            }
            Err(error) => return Err(error.into()),
        }
        if bytes.len() as u64 > bytes_max {
            bail!(too_large());
        }
    }
}

/// The text of a file of settings.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path, SETTINGS_BYTES_MAX)?;
    String::from_utf8(bytes).context("it is not text in UTF-8; save it as such (iconv -t UTF-8)")
}

/// The plan in a file of settings, whose quantities may have units.
pub fn parse_plan(text: &str) -> Result<Plan> {
    parse_toml(&in_plain_numbers(text, Plan::has_key)?)
}

/// What hosts are to look like, from the file that `flag` names.
pub fn read_state(path: &Path, flag: &str) -> Result<ExpectedState> {
    let text = read_text(path).with_context(|| format!("cannot read {flag} {}", path.display()))?;
    let parsed = in_plain_numbers(&text, ExpectedState::has_key)
        .map_err(anyhow::Error::from)
        .and_then(|plain| parse_toml::<ExpectedState>(&plain))
        .and_then(|state| state.checked().map_err(anyhow::Error::msg));
    parsed.with_context(|| {
        format!(
            "{flag} {} is no expected state (pathproof devices --write-state FILE makes one)",
            path.display()
        )
    })
}

/// What a file of settings means. The reason of a mistake is one sentence with its line.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| line_of(text, before.len()));
        anyhow::anyhow!("line {line}: {}", error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once_and_a_pipe_is_read_while_somebody_writes() {
        let folder = std::env::temp_dir().join(format!("pathproof-input-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pipe = folder.join("pipe");
        pathproof_sys::files::make_pipe(&pipe).unwrap();
        let began = std::time::Instant::now();
        for (path, why) in [
            (pipe.as_path(), "nobody writes"),
            (Path::new("/dev/zero"), "a device"),
            (folder.as_path(), "a directory"),
            (Path::new("/nowhere"), "No such file"),
        ] {
            let error = format!("{:#}", read(path, 10).unwrap_err());
            assert!(error.contains(why), "{path:?}: {error}");
        }
        assert!(open(&pipe, Source::Disk).is_err());
        assert!(began.elapsed() < Duration::from_secs(1));
        let (name, writing) = (pipe.clone(), std::sync::mpsc::channel::<()>());
        let writer = std::thread::spawn(move || {
            // Opened for both, so that it does not wait for the reader.
            let mut file = OpenOptions::new().read(true).write(true).open(name).unwrap();
            std::io::Write::write_all(&mut file, b"through a pipe").unwrap();
            writing.0.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        });
        writing.1.recv().unwrap();
        assert_eq!(read(&pipe, 100).unwrap(), b"through a pipe");
        writer.join().unwrap();
        let sparse = folder.join("sparse");
        File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&sparse, DOCUMENT).unwrap_err().to_string().contains("256 MiB"));
        fs::remove_dir_all(folder).unwrap();
    }

    const DOCUMENT: u64 = 256 << 20;

    #[test]
    fn a_mistake_is_one_line() {
        let error = parse_plan("seed = 1\nsteps = 7\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && !error.contains('\n'), "{error}");
        let error =
            parse_plan("[[steps]]\nkind = \"stream\"\ntime = \"5 parsecs\"\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: steps.time: ") && error.contains("1h30m"), "{error}");
    }

    #[test]
    fn a_plan_is_typed_with_units_or_with_bare_numbers_of_the_names_that_have_them() {
        let step = "[[steps]]\nkind = \"stream\"\n";
        let typed = format!(
            "{step}time = \"1m30s\"\nsize = \"1M\"\nrate = \"1gbit\"\n[[steps.beside]]\nname = \"b\"\nkind = \"stream\"\nrate = \"20MB/s\"\n"
        );
        let bare = format!(
            "{step}time_ns = 90_000_000_000\nsize_bytes = 1048576\nrate_bits_per_s = 1000000000\n[[steps.beside]]\nname = \"b\"\nkind = \"stream\"\nrate_bits_per_s = 160000000\n"
        );
        let plan = parse_plan(&typed).unwrap();
        assert_eq!(plan, parse_plan(&bare).unwrap());
        assert_eq!(plan.steps[0].traffic().unwrap().time_ns, 90_000_000_000);
    }
}
