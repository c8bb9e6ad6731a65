//! A stream while an offload of a NIC of this end is off, or several at once. It is on again when the stream is over, whatever became of it.
//!
//! Only a guardian changes it ([`crate::guardian`]): its end, this process's and that of the session all give it back. What gives it back by
//! hand is printed before anything is changed.

use std::time::Duration;

use pathproof_api::Offer;
use pathproof_model::{ErrorKind, Half, Offload, OffloadEnd, OffloadTrial, StepError};
use pathproof_sys::clock::RealClock;
use pathproof_sys::ethtool;
use pathproof_sys::interfaces::SettableOffload;

use crate::guardian::{self, Guardian};
use crate::steps::{Context, Prepared, SessionFacts};
use crate::terminal::say;

/// What is off.
pub(super) struct Off {
    guardian: Guardian,
    ward: String,
    end: OffloadEnd,
}

/// Lanes beside it.
pub(super) struct Tried {
    pub off: Off,
    pub lanes: Box<dyn Prepared>,
}

fn unsupported(message: String) -> StepError {
    StepError::new(ErrorKind::Unsupported, message)
}

impl Off {
    /// Turns off what `trial` says, where that is at this end, for at most `at_most`.
    pub(super) fn turn(
        trial: Option<OffloadTrial>,
        session: &SessionFacts,
        at_most: Duration,
        clock: &RealClock,
    ) -> Result<Option<Off>, StepError> {
        let own = trial.filter(|trial| trial.end == session.end);
        let all = own.map(OffloadTrial::all).unwrap_or_default();
        if all.is_empty() {
            return Ok(None);
        }
        let offloads: Vec<ethtool::Offload> = all.iter().copied().map(of_system).collect();
        let nic = nic(session)?;
        let found = SettableOffload::find(&nic, &offloads).map_err(unsupported)?;
        let ward = guardian::ward_of(&nic, &offloads);
        let mut guardian = Guardian::station(std::slice::from_ref(&ward), clock).map_err(unsupported)?;
        say(format_args!(
            "{} of {nic}: off for a trial, and on again by itself; should it ever not be: {}",
            all.iter().map(|offload| offload.name()).collect::<Vec<_>>().join(" and "),
            found.by_hand()
        ));
        guardian.down(&ward, at_most).map_err(unsupported)?;
        let also = found.also_off().map_err(unsupported)?;
        let also_off = Offload::ALL.into_iter().filter(|one| also.contains(&of_system(*one))).collect();
        Ok(Some(Off { guardian, ward, end: OffloadEnd { nic, also_off, restored: false } }))
    }

    /// Gives it back, and says in `half` what became of it.
    fn restore(mut self, half: &mut Half) {
        let restored = self.guardian.up(&self.ward);
        if let Err(why) = &restored {
            say(why);
            half.error = Some(StepError::new(ErrorKind::System, why.clone()));
        }
        half.detail.offload = Some(OffloadEnd { restored: restored.is_ok(), ..self.end });
    }
}

impl Prepared for Tried {
    fn offers(&self) -> Vec<Offer> {
        self.lanes.offers()
    }

    fn paths(&self) -> Vec<u32> {
        self.lanes.paths()
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let Tried { off, lanes } = *self;
        let mut half = lanes.run(context, peer);
        off.restore(&mut half);
        half
    }
}

/// The NIC of this end that has the session's address.
fn nic(session: &SessionFacts) -> Result<String, StepError> {
    let own = session.local.ip().to_canonical();
    let has_it = |nic: &&pathproof_model::Nic| {
        nic.addresses.iter().any(|address| address.address == own) || (own.is_loopback() && nic.is_loopback())
    };
    let nic = session.environment.nics.iter().find(has_it).map(|nic| nic.name.clone());
    nic.ok_or_else(|| {
        unsupported(format!("no NIC has {own}, the address of the session, so none can be tried"))
    })
}

/// As the system has it.
fn of_system(offload: Offload) -> ethtool::Offload {
    match offload {
        Offload::TransmitChecksum => ethtool::Offload::TransmitChecksum,
        Offload::ReceiveChecksum => ethtool::Offload::ReceiveChecksum,
        Offload::TcpSegmentation => ethtool::Offload::TcpSegmentation,
        Offload::GenericSegmentation => ethtool::Offload::GenericSegmentation,
        Offload::GenericReceive => ethtool::Offload::GenericReceive,
        Offload::LargeReceive => ethtool::Offload::LargeReceive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_has_one_name_in_facts_and_for_the_system() {
        for offload in Offload::ALL {
            assert_eq!(of_system(offload).name(), offload.name());
        }
    }
}
