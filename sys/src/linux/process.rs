//! The process as a whole: its CPU time, its heap, its session and its program.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// CPU time of the whole process in ns (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_ns() -> Option<u64> {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

pub(super) fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure that the pointer names.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
    if failed {
        return None;
    }
    Some(u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

/// Gives freed heap memory back to the system, so that a server that has served is as small as one that has not.
/// Does nothing where the C library has no such call.
pub fn release_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments that could be wrong; the allocator takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives a process that is yet to be started the name by which lists of processes show it, where the system has such names.
pub fn name(command: &mut Command, name: &str) {
    command.arg0(name);
}

/// The program that this process runs, whatever has become of the file that it was started from.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// What is started by `command` does not hear that the user ends this process: a terminal tells all in its foreground (SIGINT), and
/// all of its session when it goes away (SIGHUP). It can still ask the user for a password.
pub fn deaf_to_the_terminal(command: &mut Command) {
    let ignore = || {
        for signal in [libc::SIGINT, libc::SIGHUP] {
            // SAFETY: signal(2) may be called between fork and exec, and no handler of ours is named.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing, takes no lock and calls only what is safe after fork.
    unsafe { command.pre_exec(ignore) };
}

/// Is listed under `name` from here on.
pub fn be_called(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// How a process that was started here ended, where it does so within `within`; `None` where it still runs, or where the system has
/// nothing to wait with (before Linux 5.3).
pub fn ended_within(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    use rustix::event::{PollFd, PollFlags, poll};
    let pid = Pid::from_child(child);
    if let (Ok(process), Ok(within)) = (pidfd_open(pid, PidfdFlags::empty()), within.try_into()) {
        // A signal that cuts this short costs no more than the status.
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&within));
    }
    child.try_wait().ok().flatten()
}

/// Asks a process that was started here, and has not been waited for, to end. So it can put right what it changed: who asks for a password has
/// switched off what the terminal shows of it.
pub fn ask_to_end(child: &Child) {
    // It may have ended by itself meanwhile.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Leaves the session of the terminal, whose end and signals do not concern this process from here on, and is listed under
/// `name`.
pub fn stand_alone(name: &str) {
    // It fails for the leader of a session, which needs no other.
    let _ = rustix::process::setsid();
    be_called(name);
}

/// Whether a signal was ignored when this process began, as `nohup` does.
pub fn ignores_signal(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
