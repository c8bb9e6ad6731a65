//! Dialling by iWARP within a deadline. Soft-iWARP connects its TCP socket inside the call that asks for the connection (`siw_connect` of Linux, which says
//! so itself: "connect() is called in blocking mode"), and the kernel tries for two minutes where nothing answers. No deadline of ours ends
//! that call, so it is waited for from outside.
//!
//! It refuses to end the thread of a call that was given up, and to take anything away from it: queue pair and memory are its own, and
//! a connection that is made after all ends there with them.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use pathproof_api::TransportError;

/// What dialling may take beyond its deadline, so that who is not held up by the kernel says by itself where it stood.
const GRACE: Duration = Duration::from_millis(200);

/// What `dial` comes to, which takes `deadline` where the kernel lets it.
pub(super) fn in_time<T: Send + 'static>(
    deadline: Duration,
    dial: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    let (told, hears) = sync_channel(1);
    // Nobody hears what comes too late: it is dropped there.
    let run = move || drop(told.send(dial()));
    let thread = std::thread::Builder::new().name("iwarp-dial".into()).spawn(run);
    thread.map_err(|source| TransportError::io("starting a thread that dials by iWARP", source))?;
    match hears.recv_timeout(deadline.saturating_add(GRACE)) {
        Ok(connected) => connected,
        Err(RecvTimeoutError::Timeout) => {
            let operation = "the peer's host to answer by TCP, as iWARP goes".into();
            Err(TransportError::Timeout { operation, after: deadline })
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(TransportError::invalid("the thread that dials by iWARP ended without a result"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    use super::*;

    /// Says that it has ended.
    struct Connection(Sender<()>);

    impl Drop for Connection {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn what_is_there_in_time_comes_as_it_is() {
        assert_eq!(in_time(Duration::from_secs(60), || Ok(7)).ok(), Some(7));
        let refused = in_time(Duration::from_secs(60), || Err::<(), _>(TransportError::invalid("no route")));
        assert_eq!(refused.unwrap_err().to_string(), "no route");
    }

    #[test]
    fn a_call_that_the_kernel_keeps_is_given_up_and_what_comes_of_it_ends() {
        let (release, held) = channel::<()>();
        let (ended, end) = channel();
        let begun = Instant::now();
        let given_up = in_time(Duration::from_millis(20), move || {
            let _ = held.recv();
            Ok(Connection(ended))
        });
        assert!(matches!(given_up.err(), Some(TransportError::Timeout { .. })));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(end.try_recv().is_err(), "it is still under way");
        release.send(()).unwrap();
        end.recv_timeout(Duration::from_secs(30)).expect("a connection that nobody waits for ends");
    }

    #[test]
    fn a_dial_that_panics_is_an_error() {
        let ended =
            in_time(Duration::from_secs(60), || -> Result<(), TransportError> { panic!("on purpose") });
        assert!(ended.unwrap_err().to_string().contains("without a result"));
    }
}
