//! The end of something, as a descriptor: a thread that waits in the kernel waits for it beside whatever else it waits for, and need
//! not look now and then whether it is to end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::socket;

/// Whoever holds this decides: what it belongs to ends when it is dropped.
#[derive(Debug)]
pub struct Ender {
    _writes: PipeWriter,
}

/// The end that the [`Ender`] brings: nothing is ever written, so it can be read once the other end of the pipe is gone, and from
/// then on.
#[derive(Clone, Debug)]
pub struct Ending(Arc<PipeReader>);

/// An end that has not come, and who brings it.
pub fn pair() -> io::Result<(Ender, Ending)> {
    let (reads, writes) = io::pipe()?;
    Ok((Ender { _writes: writes }, Ending(Arc::new(reads))))
}

impl Ending {
    /// Sleeps until one of `all` can be read (or is at its end), or the end has come, at most for `patience`. Whether it has
    /// not come. A signal ends the sleep early.
    pub fn wait_readable(&self, all: &[BorrowedFd<'_>], patience: Option<Duration>) -> io::Result<bool> {
        let mut waited: Vec<BorrowedFd<'_>> = Vec::with_capacity(all.len() + 1);
        waited.push(self.0.as_fd());
        waited.extend_from_slice(all);
        Ok(!socket::wait_readable(&waited, patience)?[0])
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::thread;
    use super::*;

    #[test]
    fn a_thread_that_waits_for_an_end_sleeps_once_and_hears_of_it() {
        let (ender, ending) = pair().unwrap();
        let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wait = move || {
            let mut turns = 0;
            while ending.wait_readable(&[quiet.as_fd()], None).unwrap() {
                turns += 1;
            }
            // It stays where it is.
            assert!(!ending.wait_readable(&[], Some(Duration::ZERO)).unwrap());
            turns
        };
        let waiting = std::thread::Builder::new().name("waits".into()).spawn(wait).unwrap();
        assert!(thread::sleeps_within("waits", Duration::from_millis(300)) <= 1);
        drop(ender);
        assert_eq!(waiting.join().unwrap(), 0, "nothing else woke it");
    }

    #[test]
    fn what_can_be_read_is_told_before_the_end() {
        let (ender, ending) = pair().unwrap();
        let hears = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(ending.wait_readable(&[hears.as_fd()], Some(Duration::ZERO)).unwrap());
        hears.send_to(b"a word", hears.local_addr().unwrap()).unwrap();
        assert!(ending.clone().wait_readable(&[hears.as_fd()], None).unwrap());
        drop(ender);
        assert!(!ending.wait_readable(&[hears.as_fd()], None).unwrap());
    }
}
