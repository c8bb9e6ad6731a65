//! File descriptors: as many as the system allows are taken, and too few are said as such, with the fix.

use std::io;

use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::limits::{self, Whose};

/// Descriptors that a step needs beside those of its lanes (netlink, `/proc`, timers).
const SPARE: u64 = 12;

/// Raises the limit to what the administrator allows.
pub fn allow_all() {
    limits::raise_open_files_max();
}

/// Whether a step that opens `needed` sockets at this end can have them.
pub fn check(needed: u64) -> Result<(), StepError> {
    let Some(limit) = limits::open_files_max() else { return Ok(()) };
    let (open, wanted) = (limits::open_files(), needed.saturating_add(SPARE));
    if open.saturating_add(wanted) <= limit {
        return Ok(());
    }
    let message = format!(
        "the step needs {needed} sockets, and this process may open {limit} files, of which {open} are open; ask for fewer \
         lanes, or raise the limit before the start (ulimit -n {})",
        open.saturating_add(wanted).next_power_of_two().max(1024)
    );
    Err(StepError::new(ErrorKind::Resource, message))
}

/// What an error of the system means, where it is about too few descriptors.
pub fn advice(error: &io::Error) -> Option<String> {
    let all = |whose: &str, fix: &str| {
        format!("{whose} has no file descriptor left; ask for fewer lanes, or {fix}")
    };
    Some(match limits::out_of_files(error)? {
        Whose::Process => all("this process", "raise its limit before the start (ulimit -n 65536)"),
        Whose::Host => all("this host", "raise its limit (sysctl fs.file-max)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_said_with_the_fix() {
        check(1).unwrap();
        let error = check(u64::from(u32::MAX)).unwrap_err();
        assert!(
            error.kind == ErrorKind::Resource && error.message.contains("ulimit -n"),
            "{}",
            error.message
        );
        assert_eq!(advice(&io::ErrorKind::NotFound.into()), None);
    }
}
