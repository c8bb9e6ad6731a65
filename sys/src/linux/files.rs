//! Files that are opened without waiting and put in their place at one stroke.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};

/// Opens without waiting for a pipe's other end, and without making a terminal the one that controls this process.
pub fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32).open(path)
}

/// What a name in a file system stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes that are kept.
    Regular,
    /// A folder.
    Folder,
    /// A pipe with a name.
    Pipe,
    /// A socket with a name.
    Socket,
    /// A disk, or another device that is read in blocks.
    Disk,
    /// A device that is read byte by byte.
    Device,
    /// Something else.
    Other,
}

impl FileKind {
    /// Of what was found.
    pub fn of(found: &Metadata) -> FileKind {
        match found.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Folder,
            kind if kind.is_fifo() => FileKind::Pipe,
            kind if kind.is_socket() => FileKind::Socket,
            kind if kind.is_block_device() => FileKind::Disk,
            kind if kind.is_char_device() => FileKind::Device,
            _ => FileKind::Other,
        }
    }

    /// In words, with an article.
    pub fn words(self) -> &'static str {
        match self {
            FileKind::Regular => "a file",
            FileKind::Folder => "a directory",
            FileKind::Pipe => "a pipe",
            FileKind::Socket => "a socket",
            FileKind::Disk | FileKind::Device => "a device",
            FileKind::Other => "no file",
        }
    }
}

/// Fills `out` with what stands at `offset` of a file, wherever others read.
pub fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(out, offset)
}

/// Gives `file` the owner and the permissions that `former` has.
pub fn make_like(file: &File, former: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
        std::os::unix::fs::fchown(file, Some(former.uid()), Some(former.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(former.mode() & 0o7777))
}

/// From now on writing waits for a slow reader.
pub fn wait_for_readers(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_setfl(file, OFlags::empty())?)
}

/// Whether opening a pipe failed because nobody reads from it.
pub fn nobody_reads(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Whether a character device is one that writing to does nothing but show or drop (Documentation/admin-guide/devices.txt): null,
/// zero, full; consoles, /dev/tty and pseudo-terminals. Merely opening another device may do something (a watchdog starts, a
/// tape rewinds).
pub fn is_harmless_device(found: &Metadata) -> bool {
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    matches!((major, minor), (1, 3 | 5 | 7) | (4, 0..=63) | (5, 0) | (136..=143, _))
}

/// Whether a folder's files are doors into the kernel: what is written there is obeyed, not kept (magic numbers of
/// include/uapi/linux/magic.h).
pub fn is_the_kernels(folder: &Path) -> bool {
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    const CONFIGFS: u64 = 0x6265_6570;
    const DEBUGFS: u64 = 0x6462_6720;
    const TRACEFS: u64 = 0x7472_6163;
    const SECURITYFS: u64 = 0x7363_6673;
    const SELINUX: u64 = 0xf97c_ff8c;
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP2: u64 = 0x6367_7270;
    const BPF: u64 = 0xcafe_4a11;
    const EFIVARS: u64 = 0xde5e_81e4;
    let all = [PROC, SYSFS, CONFIGFS, DEBUGFS, TRACEFS, SECURITYFS, SELINUX, CGROUP, CGROUP2, BPF, EFIVARS];
    // Where the type is a signed number of 32 bits, the upper half of ours is its sign.
    rustix::fs::statfs(folder).is_ok_and(|found| all.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

/// Whether a path names standard output.
pub fn is_stdout(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

/// A file in `folder` that has no name yet and is gone if it never gets one; an error where the file system knows no such
/// files.
pub fn unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666))?))
}

/// Gives an unnamed file a name, which must be free.
pub fn give_name(file: &File, path: &Path) -> io::Result<()> {
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(rustix::fs::linkat(CWD, &own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Whether this process now holds the file, which nobody else does.
pub fn hold(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Opens what somebody left for writing, without waiting and without following a link.
pub fn open_left(path: &Path) -> io::Result<File> {
    let how = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, how, Mode::empty())?))
}

/// Makes a new file that nobody else may read; one that is there already is left alone.
pub fn make_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a pipe with a name, for tests.
pub fn make_pipe(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0)?)
}
