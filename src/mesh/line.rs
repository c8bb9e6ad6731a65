//! A line between a rank and rank 0: messages over a channel that has proved the key.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use pathproof_engine::mesh::message::{Bounded, Frames, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::secure::{SecureError, SecureReader, SecureWriter};
use pathproof_sys::clock::Deadline;

/// Messages that wait to be read before no more are taken in.
const INBOX: usize = 16;
/// How long an end may take nothing of what is said to it.
const DEAF: Duration = Duration::from_secs(5);

/// The end that speaks.
pub struct Speaker(SecureWriter);

impl Speaker {
    /// Over this half of a channel.
    pub fn new(writer: SecureWriter) -> Speaker {
        // A socket that is gone says so when something is said.
        let _ = writer.give_up_after(DEAF);
        Speaker(writer)
    }

    /// Says something.
    pub fn say(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.0.send(&frame(message))
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Reads messages until the line ends, or until `take` has had enough; the first must be there in time, where there is a time for it.
/// Returns how it ended, in words.
pub fn read<M: DeserializeOwned + Bounded>(
    mut reader: SecureReader,
    bytes_max: usize,
    mut first_by: Option<Deadline>,
    mut take: impl FnMut(M) -> bool,
) -> String {
    let mut frames = Frames::new(bytes_max);
    loop {
        let received = match &first_by {
            Some(until) => reader.receive_by(frames.buffer(), until),
            None => reader
                .receive(frames.buffer())
                .map_err(|source| SecureError::Io { what: "the line to it failed", source }),
        };
        match received {
            Ok(()) => {}
            Err(SecureError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                return "it ended, and its line with it".into();
            }
            Err(SecureError::Timeout { .. }) => return "it did not say in time who it is".into(),
            Err(error) => return error.to_string(),
        }
        loop {
            match frames.decode_next::<M>() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    first_by = None;
                    if !take(message) {
                        return "nobody listens any more".into();
                    }
                }
                Err(error) => return format!("it said {error}"),
            }
        }
    }
}

/// The same on a thread of its own: messages, and in the end why there are no more. `at_once` sees each as soon as it is there, however
/// many wait to be read.
pub fn read_aside<M: DeserializeOwned + Bounded + Send + 'static>(
    reader: SecureReader,
    bytes_max: usize,
    mut at_once: impl FnMut(&M) + Send + 'static,
) -> Result<Receiver<Result<M, String>>> {
    let (sender, inbox) = bounded(INBOX);
    std::thread::Builder::new()
        .name("line".into())
        .spawn(move || {
            let why = read(reader, bytes_max, None, |message| {
                at_once(&message);
                sender.send(Ok(message)).is_ok()
            });
            let _ = sender.send(Err(why));
        })
        .context("no thread for the line to rank 0")?;
    Ok(inbox)
}
