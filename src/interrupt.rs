//! Ctrl-C and SIGTERM: the first asks for an orderly end with everything measured so far, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Exit code after an interruption, as shells expect it.
pub const EXIT_INTERRUPTED: u8 = 130;

/// A flag that the first signal sets.
pub fn flag() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Order matters: the shutdown looks at the flag before this signal sets it.
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(EXIT_INTERRUPTED), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}
