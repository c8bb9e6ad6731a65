//! What is heard from the far end: lines, bounded, and nothing that is believed before it has been read as a number.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;

/// The word with which a far end says that it listens; its port follows.
pub const HELLO: &str = "pathproof-far-end";
/// Longer lines are cut: nothing that matters is so long.
const LINE_MAX: usize = 400;
/// A far end that says more before it listens is not heard further: it says one word then, and a shell's greeting is short.
const ALL_MAX: usize = 64 << 10;

/// Every line of `from`, cut, until it ends.
fn lines(from: impl Read, mut each: impl FnMut(String)) {
    let mut from = BufReader::new(from);
    let mut line: Vec<u8> = vec![];
    loop {
        let (used, ended) = match from.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let part = &bytes[..end.unwrap_or(bytes.len())];
                line.extend(&part[..part.len().min(LINE_MAX - line.len())]);
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
        };
        from.consume(used);
        if ended {
            each(String::from_utf8_lossy(&std::mem::take(&mut line)).trim_end().to_owned());
        }
    }
    if !line.is_empty() {
        each(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
}

/// Hands on what is said, up to a limit, and reads the rest for nothing. Either end is the end of the channel.
pub(super) fn hear(from: impl Read, say: Sender<String>) {
    let (mut say, mut heard) = (Some(say), 0);
    lines(from, |line| {
        heard += line.len() + 1;
        say = say.take().filter(|say| heard <= ALL_MAX && say.send(line).is_ok());
    });
}

/// Keeps the last `most` lines that say something.
pub(super) fn keep_last(from: impl Read, most: usize, kept: &Mutex<VecDeque<String>>) {
    lines(from, |line| {
        if !line.is_empty() {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(line);
            if kept.len() > most {
                kept.pop_front();
            }
        }
    });
}

/// The port of a far end that listens.
pub(super) fn port(line: &str) -> Option<u16> {
    let mut words = line.split(' ');
    let hello = words.next() == Some(HELLO);
    words.next()?.parse().ok().filter(|port| hello && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_counted_and_the_end_is_heard() {
        let (say, said) = crossbeam_channel::unbounded();
        let long = "x".repeat(1 << 20) + "\nsecond\r\nlast";
        hear(long.as_bytes(), say);
        let heard: Vec<String> = said.iter().collect();
        assert_eq!(heard.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, 6, 4]);
        // A far end that never stops talking fills nothing.
        let (say, said) = crossbeam_channel::unbounded();
        hear("a\n".repeat(1 << 18).as_bytes(), say);
        assert_eq!(said.len(), ALL_MAX / 2);
    }

    #[test]
    fn the_last_complaints_are_kept() {
        let kept = Mutex::default();
        keep_last("one\n\ntwo\nthree\n\n\nfour".as_bytes(), 2, &kept);
        assert_eq!(kept.into_inner().unwrap(), ["three", "four"]);
    }

    #[test]
    fn a_hello_is_a_port_and_nothing_else_is() {
        assert_eq!(port("pathproof-far-end 7797 0.1.0"), Some(7797));
        for line in [
            "pathproof-far-end",
            "pathproof-far-end 0 1",
            "pathproof-far-end 70000",
            "x pathproof-far-end 1",
            "7797",
        ] {
            assert_eq!(port(line), None, "{line}");
        }
    }
}
