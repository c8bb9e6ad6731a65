//! Where a rehearsed disk comes from: it is made up, or a file that is only ever read. What the rehearsed guest writes to
//! it exists nowhere but on the path.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use pathproof_engine::migrate::BLOCK_BYTES;
use pathproof_engine::migrate::copy::{Blocks, CopyError, MadeUp};
use pathproof_model::migrate::DiskSpec;
use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::files::read_exact_at;

/// Opens `file` for reading and says how large it is.
pub fn open(file: &str) -> Result<(File, u64), StepError> {
    let fail = |e: io::Error| {
        StepError::new(
            ErrorKind::Invalid,
            format!(
                "the disk file {file} cannot be read: {e}; name a disk image or a block device that you may read"
            ),
        )
    };
    let mut opened = crate::input::open(file.as_ref(), crate::input::Source::Disk)
        .map_err(|why| fail(io::Error::other(format!("{why:#}"))))?;
    // Not its metadata: a block device has no length there.
    let bytes = opened.seek(SeekFrom::End(0)).map_err(fail)?;
    if bytes == 0 {
        return Err(fail(io::Error::other("it is empty")));
    }
    read_exact_at(&opened, &mut [0], 0).map_err(fail)?;
    Ok((opened, bytes))
}

/// The disk at the source: a file where there is one, made up otherwise, and where it was written to.
pub struct Disk {
    name: String,
    file: Option<File>,
    made_up: MadeUp,
}

impl Disk {
    /// Ready to be read.
    pub fn new(spec: &DiskSpec, seed: u64) -> Result<Disk, StepError> {
        let file = match &spec.file {
            None => None,
            Some(name) => {
                let (file, bytes) = open(name)?;
                if bytes != spec.bytes {
                    return Err(StepError::new(
                        ErrorKind::Invalid,
                        format!(
                            "the disk file {name} had {} bytes and has {bytes} now; it must not change while it moves",
                            spec.bytes
                        ),
                    ));
                }
                Some(file)
            }
        };
        Ok(Disk { name: spec.file.clone().unwrap_or_default(), file, made_up: MadeUp::new(seed) })
    }
}

impl Blocks for Disk {
    fn read(&mut self, block: u64, version: u32, out: &mut [u8]) -> Result<(), CopyError> {
        let start = block * BLOCK_BYTES;
        match &self.file {
            Some(file) if version == 0 => read_exact_at(file, out, start).map_err(|e| {
                let message = format!("the disk file {} cannot be read at byte {start}: {e}", self.name);
                CopyError::new(ErrorKind::System, message)
            }),
            _ => self.made_up.read(block, version, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_read_as_it_is_and_writes_stay_out_of_the_file() {
        let path = std::env::temp_dir().join(format!("pathproof-disk-{}", std::process::id()));
        let contents: Vec<u8> = (0..BLOCK_BYTES + 1000).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let name = path.to_string_lossy().into_owned();
        let spec = DiskSpec { bytes: contents.len() as u64, file: Some(name), writes_bytes_per_s: 0 };
        let mut disk = Disk::new(&spec, 1).unwrap();
        let (mut out, mut written) = (vec![0; 1000], vec![0; 1000]);
        disk.read(1, 0, &mut out).unwrap();
        assert_eq!(out, contents[BLOCK_BYTES as usize..], "the last block is as short as it is");
        disk.read(1, 3, &mut written).unwrap();
        assert_ne!(written, out);
        disk.read(1, 4, &mut out).unwrap();
        assert_ne!(written, out, "every write leaves other contents");
        assert_eq!(std::fs::read(&path).unwrap(), contents);
        std::fs::write(&path, b"shorter").unwrap();
        assert!(Disk::new(&spec, 1).err().unwrap().message.contains("must not change"));
        assert!(disk.read(1, 0, &mut out).unwrap_err().to_string().contains("at byte 65536"));
        std::fs::remove_file(&path).unwrap();
        for (name, says) in [("/no/such/disk", "No such file"), ("/", "directory"), ("/dev/null", "")] {
            let error = open(name).unwrap_err().message;
            assert!(error.contains(says) && error.contains(name), "{error}");
        }
    }
}
