//! The NIC that a step is made without: its link is down while the step runs. Only a guardian touches it ([`crate::guardian`]), so it comes back
//! whatever becomes of this process or of the session.
//!
//! Where this host does not permit that, or something of the run needs the NIC, the link stays up and the reason is told: nothing of the step goes
//! over the NIC in either case.

use std::time::Duration;

use pathproof_model::{Environment, ErrorKind, Half, LostNic, StepError};
use pathproof_sys::clock::RealClock;

use crate::guardian::Guardian;
use crate::steps::SessionFacts;
use crate::terminal::say;

/// A link that is down, or why it is not.
pub struct Lost {
    guardian: Option<Guardian>,
    told: LostNic,
}

impl Lost {
    /// Takes the link of `nic` down for at most `at_most`, where that may be.
    pub fn take(nic: &str, session: &SessionFacts, at_most: Duration, clock: &RealClock) -> Lost {
        let told = LostNic { nic: nic.into(), taken_down: false, reason: None };
        match needed(nic, session).map_or_else(|| down(nic, at_most, clock), Err) {
            Ok(guardian) => Lost { guardian: Some(guardian), told: LostNic { taken_down: true, ..told } },
            Err(reason) => Lost { guardian: None, told: LostNic { reason: Some(reason), ..told } },
        }
    }

    /// Brings the link up again, and says in `half` what became of it.
    pub fn restore(mut self, half: &mut Half) {
        let up = self.guardian.as_mut().map_or(Ok(()), |guardian| guardian.up(&self.told.nic));
        if let Err(why) = up {
            say(&why);
            half.error = Some(StepError::new(ErrorKind::System, why));
        }
        half.detail.lost_nic = Some(self.told);
    }
}

/// Takes a link down. The guardian that did it brings it up again when it is dropped.
fn down(nic: &str, at_most: Duration, clock: &RealClock) -> Result<Guardian, String> {
    let mut guardian = Guardian::station(&[nic.to_owned()], clock)?;
    say(format_args!(
        "the link of {nic} goes down for a step and comes back by itself; should it ever not: ip link set {nic} up"
    ));
    guardian.down(nic, at_most)?;
    Ok(guardian)
}

/// What needs the link to stay up: heartbeats go where the control connection goes, and what lies upon a NIC goes down with it.
fn needed(nic: &str, session: &SessionFacts) -> Option<String> {
    match session.own_nic() {
        Some(own) if own == nic => Some("this run's own connection and its heartbeats go over it".into()),
        Some(_) => upon(nic, &session.environment)
            .map(|other| format!("{other} lies upon it and would go down as well")),
        None => Some("which NIC this run's own connection goes over is not known".into()),
    }
}

/// An interface of this host that lies upon a NIC.
fn upon<'a>(nic: &str, host: &'a Environment) -> Option<&'a str> {
    let upon = host.nics.iter().find(|other| other.parent.as_deref() == Some(nic));
    upon.map(|other| other.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{End, Limits, Nic, NicAddress};

    #[test]
    fn a_link_that_the_run_itself_needs_stays_up() {
        let nic = |name: &str, last: u8, parent: Option<&str>| Nic {
            name: name.into(),
            addresses: vec![NicAddress { address: [10, 0, 0, last].into(), prefix_len: 24 }],
            parent: parent.map(str::to_owned),
            ..Nic::default()
        };
        let nics = vec![
            nic("eth0", 1, None),
            nic("eth1", 2, None),
            nic("eth1.5", 3, Some("eth1")),
            nic("eth2", 4, None),
        ];
        let needed = |lost: &str, local: &str| {
            let session = SessionFacts {
                end: End::Client,
                secret: [0; 32],
                local: local.parse().unwrap(),
                peer: "10.0.0.9:7797".parse().unwrap(),
                limits: Limits::default(),
                seed: 0,
                environment: Environment { nics: nics.clone(), ..Environment::default() },
                peer_environment: Environment::default(),
            };
            needed(lost, &session).unwrap_or_default()
        };
        assert!(needed("eth0", "10.0.0.1:5").contains("own connection"));
        assert!(needed("eth1", "10.0.0.1:5").contains("eth1.5 lies upon it"));
        assert!(needed("eth2", "10.0.0.77:5").contains("not known"));
        assert_eq!(needed("eth2", "10.0.0.1:5"), "");
    }

    #[test]
    fn a_link_that_nobody_took_down_is_told_with_its_reason() {
        let told = LostNic { nic: "eth1".into(), taken_down: false, reason: Some("no right".into()) };
        let mut half = Half::default();
        Lost { guardian: None, told: told.clone() }.restore(&mut half);
        assert_eq!((half.error, half.detail.lost_nic), (None, Some(told)));
    }
}
