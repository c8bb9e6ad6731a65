//! Observers of a run: the document file, the line on a terminal, the JSON stream. They watch; they never steer.

mod live_line;
mod stream;
mod teller;

pub use live_line::LiveLine;
pub use stream::{JsonStream, StreamTo, Streaming};
pub use teller::{Teller, Telling};

use pathproof_model::ResultDoc;

use crate::document::DocumentFile;
use crate::glance::Glance;

/// What happens during a run, on the coordinator's thread only.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The peer is reached and has accepted.
    Opened {
        /// The document so far.
        doc: &'a ResultDoc,
    },
    /// A step begins.
    StepStarted {
        /// Its number, from 0.
        number: u32,
        /// How many there are.
        of: usize,
        /// Its name.
        name: &'a str,
        /// How long it may take at most.
        duration_ns: u64,
    },
    /// A step goes on.
    Progress {
        /// Its number.
        number: u32,
        /// How it goes.
        glance: &'a Glance,
    },
    /// A step is over and stands in the document.
    StepEnded {
        /// The document so far.
        doc: &'a ResultDoc,
    },
}

/// Watches a run.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &RunEvent<'_>);
}

/// Tells several observers.
#[derive(Default)]
pub struct Observers(pub Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn event(&mut self, event: &RunEvent<'_>) {
        for observer in &mut self.0 {
            observer.event(event);
        }
    }
}

/// Keeps the document on disk current. A failure is kept and told at the end: the run itself goes on.
pub struct Keeper {
    file: DocumentFile,
}

impl Keeper {
    /// Writes to `file`.
    pub fn new(file: DocumentFile) -> Keeper {
        Keeper { file }
    }
}

impl Observer for Keeper {
    fn event(&mut self, event: &RunEvent<'_>) {
        if let RunEvent::Opened { doc } | RunEvent::StepEnded { doc } = event
            && let Err(error) = self.file.keep(doc)
        {
            tracing::warn!("{error:#}");
        }
    }
}
