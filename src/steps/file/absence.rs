//! A channel that was lost is made again, while the others do its work: a few attempts, further and further apart, within the time of the step.
//!
//! It comes back as a new connection of the same session (MS-SMB2 3.2.4.20.1). Nothing that it had under way is its own any more: the others have
//! it, under the next ChannelSequence.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_smb2::SmbError;
use pathproof_smb2::share::Session;
use pathproof_sys::clock::RealClock;

use super::carrier::{CarrierKind, Dialler};
use super::lent::{Joined, Lent, Terms};

/// Attempts for one loss.
const ATTEMPTS: u32 = 8;
/// Before the second attempt; then twice as long each time, up to the longest. The first is made at once: a reset is mostly of the connection.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long an attempt waits for a connection, and for each answer, if the user would not wait less: a dead path must not hold up the end of the
/// step.
const PATIENCE: Duration = Duration::from_secs(2);

/// How channels of the session are made.
pub struct Maker {
    /// What makes connections.
    pub dialler: Dialler,
    /// The session that they belong to.
    pub session: Session,
    /// How the server gets memory for the requests of a channel, where it does.
    pub lends: Option<Terms>,
    /// The number that the next channel has: none has it twice, or encryption would use a nonce twice.
    numbers: AtomicU16,
}

impl Maker {
    /// Of a session that has had so many connections.
    pub fn new(dialler: Dialler, session: Session, lends: Option<Terms>, connections: usize) -> Maker {
        Maker { dialler, session, lends, numbers: AtomicU16::new(connections as u16) }
    }

    /// One more channel, to the address of the one that was lost.
    fn make(&self, (address, kind): (SocketAddr, CarrierKind)) -> Result<Joined, SmbError> {
        let number = self.numbers.fetch_add(1, Ordering::AcqRel);
        let whole = self.dialler.goal.timeout;
        let mut hasty = self.dialler.clone();
        hasty.goal.timeout = whole.min(PATIENCE);
        let mut link = hasty.bind(&self.session, address, kind, number)?;
        link.wait_for(whole);
        link.pipe_mut().wait_for(whole);
        let lent = match self.lends.filter(|_| kind == CarrierKind::Direct) {
            Some(terms) => {
                Some(Lent::new(&mut link, terms).map_err(|why| SmbError::NoDirect { address, why })?)
            }
            None => None,
        };
        Ok(Joined { link, lent })
    }
}

/// What is known of a channel that is not there.
pub struct Absence {
    /// Since when.
    pub since: Tick,
    /// What ended it.
    pub error: SmbError,
    /// Why it could not be made again, where that was tried.
    pub again: Option<SmbError>,
    attempts: u32,
    next: Tick,
}

impl Absence {
    /// It has ended just now.
    pub fn new(error: SmbError, now: Tick) -> Absence {
        Absence { since: now, error, again: None, attempts: 0, next: now }
    }

    /// Whether it may come back, as far as is known.
    pub fn has_hope(&self) -> bool {
        // What a server refuses it refuses again.
        self.attempts < ATTEMPTS && self.again.as_ref().is_none_or(|error| error.status().is_none())
    }

    /// When the next attempt is due.
    pub fn due(&self) -> Tick {
        self.next
    }

    /// One attempt, at the time that it is due or when nothing else is left to be done.
    pub fn try_again(
        &mut self,
        maker: &Maker,
        home: (SocketAddr, CarrierKind),
        clock: &RealClock,
    ) -> Option<Joined> {
        match maker.make(home) {
            Ok(joined) => Some(joined),
            Err(error) => {
                let pause = PAUSE.saturating_mul(1 << self.attempts.min(10)).min(PAUSE_MAX);
                self.attempts += 1;
                self.again = Some(error);
                self.next = clock.now() + pause;
                None
            }
        }
    }
}
