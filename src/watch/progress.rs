//! The progress line on standard error: a bar with the time left on a terminal, nothing when piped.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use pathproof_report::Shown;

use super::{Observer, RunEvent};
use crate::terminal;

const TICKS: u64 = 1000;

/// The bar.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on standard error, if that is a terminal.
    pub fn new() -> Option<Progress> {
        if !terminal::is_watched() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(Some(TICKS), ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_msg} [{bar:24}] {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Some(Progress { bar })
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Opened { .. } => {}
            RunEvent::StepStarted { number, of, name, .. } => {
                self.bar.reset();
                self.bar.set_prefix(format!("{}/{of}", number + 1));
                self.bar.set_message(Shown::new(name).into_string());
                self.bar.enable_steady_tick(Duration::from_millis(200));
            }
            RunEvent::Progress { share, .. } => self.bar.set_position((share * TICKS as f64) as u64),
            RunEvent::StepEnded { .. } => self.bar.disable_steady_tick(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
