//! The way back to a session whose connection fell silent.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{anyhow, bail};
use crossbeam_channel::unbounded;
use pathproof_engine::control::{Message, Resume, encode_frame};

use super::open::prepare_socket;
use crate::dial;
use crate::secure::{self, Access, SecureError};
use crate::session::{Fresh, Heard, Link, Revival};
use crate::steps::SessionFacts;
use pathproof_engine::channels::hosts::Way;
use pathproof_sys::clock::RealClock;

/// How long a way back to a session whose connection fell silent is looked for.
const RETURN: Duration = Duration::from_secs(8);
/// Key handshakes that may fail with each address meanwhile: whoever answers has one guess of the key for each.
const HANDSHAKES: u32 = 3;
/// How long one attempt at that may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How the client comes back to its session when the path of the control connection dies: over the other ways
/// between the hosts, then over the first one again, until the session's patience is spent.
pub(super) fn way_back(facts: &SessionFacts, access: &Access, clock: &RealClock) -> Revival {
    let (found, fresh) = unbounded();
    let clock = clock.clone();
    let (ways, first, token, access) = (facts.other_ways(), facts.peer, facts.resume_token(), access.clone());
    let dial = move |seen: u32| {
        let (ways, token, access, found) = (ways.clone(), token.clone(), access.clone(), found.clone());
        let clock = clock.clone();
        let search = move || {
            let until = clock.deadline(RETURN);
            let others = ways.iter().map(|way| (SocketAddr::new(way.remote, first.port()), Some(way)));
            let mut all: Vec<_> =
                others.chain([(first, None)]).map(|(to, way)| (to, way, HANDSHAKES)).collect();
            while !until.is_over() {
                for (address, way, left) in &mut all {
                    let resume = Resume { token: token.clone(), seen };
                    match come_back(*address, *way, &access, &resume, &clock) {
                        Ok(back) => return drop(found.send(back)),
                        Err(error) => {
                            *left -= u32::from(error.is::<SecureError>());
                            tracing::debug!(%address, %error, "no way back here");
                        }
                    }
                }
                all.retain(|(.., left)| *left > 0);
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("way back".into()).spawn(search) {
            tracing::warn!(%error, "no thread to look for another way to the peer");
        }
    };
    Revival { fresh, dial: Some(Box::new(dial)), patience: RETURN + ATTEMPT }
}

/// One attempt to take a session up again. The inner error is the server's word that there is none.
fn come_back(
    address: SocketAddr,
    way: Option<&Way>,
    access: &Access,
    resume: &Resume,
    clock: &RealClock,
) -> anyhow::Result<Result<Fresh, String>> {
    let stream = dial::once(address, ATTEMPT, way)?;
    let addresses = (stream.local_addr()?, stream.peer_addr()?);
    prepare_socket(&stream)?;
    let mut link = Link::new(secure::connect(stream, access, clock.deadline(ATTEMPT))?, addresses)?;
    link.allow_large_messages();
    link.send(&encode_frame(&Message::Resume(resume.clone()), 0)?).map_err(|loss| anyhow!(loss.how))?;
    match link.hear(ATTEMPT) {
        Some(Heard::Message(_, message)) => match *message {
            Message::Resumed { seen } => Ok(Ok(Fresh { link, seen })),
            Message::Reject(reject) => Ok(Err(reject.reasons.join("; "))),
            other => bail!("{} came in answer to RESUME", other.name()),
        },
        Some(Heard::Lost(loss)) => bail!(loss.how),
        None => bail!("no answer to RESUME"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pathproof_model::environment::Observed;

    use super::*;
    use crate::secure::Key;
    use crate::serve::{Listening, Settings};

    fn keyed(text: &str) -> Access {
        Access::Key(Key::new(text))
    }

    fn served() -> SocketAddr {
        let settings = Settings {
            access: keyed("a key of the tests"),
            limits: Default::default(),
            device: None,
            observe: Arc::new(Observed::default),
            clock: RealClock::new(),
            tells: false,
            grace: Default::default(),
        };
        let server = Listening::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], settings).unwrap();
        let address = server.addresses()[0];
        server.run_in_background();
        address
    }

    #[test]
    fn nobody_comes_back_to_a_session_that_is_not_theirs() {
        let address = served();
        let resume = Resume { token: "00".repeat(32), seen: 0 };
        let back =
            come_back(address, None, &keyed("a key of the tests"), &resume, &RealClock::new()).unwrap();
        assert!(back.is_err_and(|why| why.contains("does not have the session")));
        assert!(come_back(address, None, &keyed("another key"), &resume, &RealClock::new()).is_err());
    }
}
