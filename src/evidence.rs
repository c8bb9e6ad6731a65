//! What this host counts while a step runs, at either end: one mechanism for every subject. A subject is read before the
//! step and after it, may look in between, and leaves differences in the step's half.
//!
//! It refuses to slow a lane down: everything is read before the lanes connect and after they are closed; looks in between
//! are made by the step's own thread, once a second at most. And it refuses to guess: what cannot be read is null, with the
//! reason in `unreadable`.
//!
//! To add a subject: a file here, a line in `SUBJECTS`, a part of `pathproof_model::Evidence`.

use std::net::IpAddr;
use std::time::Duration;

use pathproof_api::Tick;
use pathproof_model::{End, Evidence as Record, Half};

mod conntrack;
mod drivers;
mod host;
mod lldp;
mod neighbours;
mod nics;
mod protocols;
mod queues;
mod rdma;
mod softnet;

/// One subject while a step runs.
trait Evidence {
    /// As things are before the step.
    fn before(about: &About) -> Self
    where
        Self: Sized;
    /// Looks while the step runs.
    fn during(&mut self);
    /// What has changed since, put into the half, in whose lanes stands what they did meanwhile.
    fn after(self: Box<Self>, half: &mut Half, record: &mut Record);
}

type Begin = fn(&About) -> Box<dyn Evidence>;

fn begin<E: Evidence + 'static>(about: &About) -> Box<dyn Evidence> {
    Box::new(E::before(about))
}

/// Every subject, in the order in which they are read after the step; the one that may wait comes last.
const SUBJECTS: &[Begin] = &[
    begin::<host::Host>,
    begin::<protocols::Protocols>,
    begin::<softnet::Softnet>,
    begin::<conntrack::Conntrack>,
    begin::<queues::Queues>,
    begin::<nics::Nics>,
    begin::<drivers::Drivers>,
    begin::<lldp::SwitchPorts>,
    begin::<neighbours::Neighbours>,
    begin::<rdma::Rdma>,
];

/// How far apart looks are.
const LOOK: Duration = Duration::from_secs(1);

/// A step as far as evidence depends on it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Which end it is.
    pub end: End,
    /// Whether its lanes use an adapter that counts for itself.
    pub adapter: bool,
    /// The addresses of the other end that the step may use.
    pub peers: Vec<IpAddr>,
}

/// All subjects of a running step.
pub struct Taken {
    subjects: Vec<Box<dyn Evidence>>,
    began: Tick,
    looked: Option<Tick>,
}

impl Taken {
    /// Reads everything.
    pub fn before(about: &About, now: Tick) -> Taken {
        Taken { subjects: SUBJECTS.iter().map(|begin| begin(about)).collect(), began: now, looked: None }
    }

    /// Lets every subject look, if the last look is long ago. Returns when the next one is due.
    pub fn during(&mut self, now: Tick) -> Tick {
        // The first call is at the start, where nothing has changed yet.
        let last = *self.looked.get_or_insert(now);
        if now.since(last) < LOOK {
            return last + LOOK;
        }
        self.subjects.iter_mut().for_each(|subject| subject.during());
        self.looked = Some(now);
        now + LOOK
    }

    /// Reads everything again and puts the differences into the half.
    pub fn after(self, half: &mut Half, now: Tick) {
        let mut record = Record::default();
        for subject in self.subjects {
            subject.after(half, &mut record);
        }
        if let Some(host) = &mut record.host {
            host.elapsed_ns = now.ns_since(self.began);
        }
        half.evidence = Some(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read_and_what_it_does_not_tell_has_a_reason() {
        let mut taken = Taken::before(&About::default(), Tick(0));
        for second in 0..3 {
            taken.during(Tick(second * 1_000_000_000));
        }
        let mut half = Half::default();
        taken.after(&mut half, Tick(3_000_000_000));
        let record = half.evidence.unwrap();
        assert_eq!(record.host.as_ref().map(|host| host.elapsed_ns), Some(3_000_000_000));
        assert!(record.tcp.is_some() && record.ip.is_some() && record.nics.is_some(), "{record:#?}");
        let host = record.host.as_ref().unwrap();
        for (what, known) in [
            ("host.slowed_by_heat", host.slowed_by_heat.is_some()),
            ("host.governors", host.governors.is_some()),
            ("host.pressure_some_ns", host.pressure_some_ns.is_some()),
            ("host.pressure_memory_some_ns", host.pressure_memory_some_ns.is_some()),
            ("host.pressure_io_some_ns", host.pressure_io_some_ns.is_some()),
            ("udp, ip, icmp", record.fragments.is_some()),
        ] {
            let has_reason = record.unreadable.iter().any(|one| one.what.contains(what));
            assert_ne!(known, has_reason, "{what}: {record:#?}");
        }
        let unknown = record.tcp.as_ref().unwrap().unknown();
        assert!(
            unknown.iter().all(|name| record.unreadable.iter().any(|one| one.what.contains(name))),
            "{record:#?}"
        );
    }
}
