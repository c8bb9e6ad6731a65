//! A line between a rank and rank 0: messages over a channel that has proved the key.

use std::io;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use pathproof_engine::mesh::message::{Bounded, Frames, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::secure::{SecureReader, SecureWriter};

/// Messages that wait to be read before no more are taken in.
const INBOX: usize = 16;

/// The end that speaks.
pub struct Speaker(SecureWriter);

impl Speaker {
    /// Over this half of a channel.
    pub fn new(writer: SecureWriter) -> Speaker {
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

/// Reads messages until the line ends, or until `take` has had enough. Returns how it ended, in words.
pub fn read<M: DeserializeOwned + Bounded>(
    mut reader: SecureReader,
    bytes_max: usize,
    mut take: impl FnMut(M) -> bool,
) -> String {
    let mut frames = Frames::new(bytes_max);
    loop {
        if let Err(error) = reader.receive(frames.buffer()) {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ended, and its line with it".into(),
                _ => format!("the line to it failed: {error}"),
            };
        }
        loop {
            match frames.decode_next::<M>() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if !take(message) {
                        return "nobody listens any more".into();
                    }
                }
                Err(error) => return format!("it said {error}"),
            }
        }
    }
}

/// The same on a thread of its own: messages, and in the end why there are no more.
pub fn read_aside<M: DeserializeOwned + Bounded + Send + 'static>(
    reader: SecureReader,
    bytes_max: usize,
) -> Result<Receiver<Result<M, String>>> {
    let (sender, inbox) = bounded(INBOX);
    std::thread::Builder::new()
        .name("line".into())
        .spawn(move || {
            let why = read(reader, bytes_max, |message| sender.send(Ok(message)).is_ok());
            let _ = sender.send(Err(why));
        })
        .context("no thread for the line to rank 0")?;
    Ok(inbox)
}
