//! Writes what observers tell, on a thread of its own: a terminal that is held (Ctrl-S) or a program that does not read never holds
//! up a run.

use std::io;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Lines that may wait to be written before those that matter least are left out.
const WAITING_MAX: usize = 256;

/// Tells lines, one after the other.
#[derive(Clone)]
pub struct Teller {
    lines: Sender<Option<String>>,
}

/// The thread that writes them.
pub struct Telling(Option<JoinHandle<()>>, Teller);

impl Teller {
    /// Writes lines by `write`, until it fails: who listens no more is no reason to stop measuring.
    pub fn begin(
        write: impl FnMut(&str) -> io::Result<()> + Send + 'static,
    ) -> io::Result<(Teller, Telling)> {
        let (lines, told) = unbounded();
        let thread = Builder::new().name("teller".into()).spawn(move || tell(&told, write))?;
        let teller = Teller { lines };
        Ok((teller.clone(), Telling(Some(thread), teller)))
    }

    /// Tells a line that is not left out: there are few of those.
    pub fn tell(&self, line: String) {
        // The thread lives as long as its handle does.
        let _ = self.lines.send(Some(line));
    }

    /// Tells a line, unless others wait already. Whether it does.
    pub fn tell_if_read(&self, line: String) -> bool {
        let read = self.lines.len() < WAITING_MAX;
        if read {
            self.tell(line);
        }
        read
    }

    /// Whether everything that was told is written, or being written.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Tells a line in the place of others that nobody needs any more.
    pub fn tell_if_idle(&self, line: String) {
        if self.is_idle() {
            self.tell(line);
        }
    }
}

fn tell(told: &Receiver<Option<String>>, mut write: impl FnMut(&str) -> io::Result<()>) {
    let mut listens = true;
    while let Ok(Some(line)) = told.recv() {
        listens = listens && write(&line).is_ok();
    }
}

impl Drop for Telling {
    /// Waits until everything is written, as whoever writes to a pipe does.
    fn drop(&mut self) {
        let _ = self.1.lines.send(None);
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn who_does_not_read_misses_samples_and_nothing_else() {
        let (go, held) = unbounded::<()>();
        let written = Arc::new(Mutex::new(vec![]));
        let kept = written.clone();
        let (teller, telling) = Teller::begin(move |line| {
            let _ = held.recv();
            kept.lock().unwrap().push(line.to_owned());
            Ok(())
        })
        .unwrap();
        let told = (0..1000).filter(|n| teller.tell_if_read(format!("sample {n}"))).count();
        assert!((WAITING_MAX..=WAITING_MAX + 1).contains(&told), "{told}");
        teller.tell("end".into());
        teller.tell_if_idle("bar".into());
        drop(go);
        drop(telling);
        let written = written.lock().unwrap();
        assert_eq!(written.len(), told + 1);
        assert_eq!((written[0].as_str(), written[told].as_str()), ("sample 0", "end"));
    }

    #[test]
    fn who_went_away_stops_nothing() {
        let (teller, telling) = Teller::begin(|_| Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        (0..10).for_each(|n| teller.tell(n.to_string()));
        drop(telling);
    }
}
