//! Traffic by other verbs than send: which workload each end gets, and which transport options are whose.

use pathproof_api::{LaneCaps, OptionValues, SentMemory, Tick, Verb};
use pathproof_engine::workload::{
    CONTROL_BYTES, OneSided, OneSidedMemory, Target, Workload, WritePing, WritePong, WritePongMemory,
    fill_for_reads,
};
use pathproof_model::{End, LaneRole, TrafficKind, TrafficSpec};
use pathproof_sys::socket::congestion_controls;
use pathproof_tcp::CONGESTION;

use crate::registry::{manners, those_that};

use super::invalid;
use super::job::{CONTROL_ROOM, LaneJob, Part};
use pathproof_model::StepError;

/// What unused memory is filled with before a step.
pub const FILL: u8 = 0x5A;

/// The verb that a step asks for, as lanes know it.
pub fn verb(spec: &TrafficSpec) -> Verb {
    match spec.verb.unwrap_or_default() {
        pathproof_model::Verb::Send => Verb::Send,
        pathproof_model::Verb::Write => Verb::Write,
        pathproof_model::Verb::Read => Verb::Read,
    }
}

/// Refuses what the transport or the kind of step cannot do.
pub fn check(kind: TrafficKind, spec: &TrafficSpec, caps: &LaneCaps) -> Result<(), StepError> {
    check_spec(kind, spec)?;
    match verb(spec) {
        verb if verb != Verb::Send && !caps.can(verb) => Err(no_such_verb(spec)),
        _ => Ok(()),
    }
}

fn no_such_verb(spec: &TrafficSpec) -> StepError {
    let verb = spec.verb.unwrap_or_default().name();
    invalid(format!("{} has no --verb {verb}; use --over {}", spec.over, those_that(|m| m.one_sided)))
}

/// Refuses what can be refused without looking at any device.
pub fn check_spec(kind: TrafficKind, spec: &TrafficSpec) -> Result<(), StepError> {
    let verb = verb(spec);
    if verb == Verb::Send {
        return Ok(());
    }
    if !manners(&spec.over).one_sided {
        return Err(no_such_verb(spec));
    }
    match (kind, verb) {
        (TrafficKind::Stream, _) if spec.rate_bits_per_s.is_some() => {
            Err(invalid("--rate works with --verb send only".into()))
        }
        (TrafficKind::Stream, _) | (TrafficKind::Pingpong, Verb::Write) => Ok(()),
        (TrafficKind::Pingpong, _) => Err(invalid("pingpong goes by --verb send or write".into())),
        (TrafficKind::Request, _) => Err(invalid("request goes by --verb send only".into())),
    }
}

/// The role of an end as it stands in results, where it is not that of a send stream.
pub fn role(part: Part, verb: Verb) -> LaneRole {
    match (part, verb) {
        (Part::StreamSend, Verb::Write) => LaneRole::Write,
        (Part::StreamSend, Verb::Read) => LaneRole::Read,
        (Part::StreamReceive, Verb::Write | Verb::Read) => LaneRole::Target,
        _ => part.role(),
    }
}

/// Whether payload comes in at this end of a stream, counted by this end.
pub fn receives(part: Part, verb: Verb) -> bool {
    matches!((part, verb), (Part::StreamReceive, Verb::Send) | (Part::StreamSend, Verb::Read))
}

/// Whether this end's figures of a stream count: where payload comes in, and by one-sided verbs where it is moved from,
/// because the other end takes no part.
pub fn counts(part: Part, verb: Verb) -> bool {
    receives(part, verb) || (part, verb) == (Part::StreamSend, Verb::Write)
}

/// What becomes of the memory of messages: verified bytes differ from message to message, and so does the mark of a ping-pong by
/// writes. All others are the same bytes again and again.
pub fn sent_memory(kind: TrafficKind, spec: &TrafficSpec) -> SentMemory {
    match spec.verify || always_spins(kind, spec) {
        true => SentMemory::Reused,
        false => SentMemory::Constant,
    }
}

/// The seed of a lane's verified bytes.
pub fn lane_seed(seed: u64, lane: u32) -> u64 {
    seed ^ (u64::from(lane) << 32)
}

/// Puts in place what the peer may read as soon as both ends are connected.
pub fn fill(job: &LaneJob, spec: &TrafficSpec, seed: u64) {
    if spec.verify && verb(spec) == Verb::Read && job.part == Part::StreamReceive {
        let slots = job.layout.send(job.region_id);
        fill_for_reads(&job.region, &slots, spec.size_bytes as u32, lane_seed(seed, job.index));
    }
}

/// Whether this end takes no part while its memory is written or read: spinning would only take a core away.
pub fn is_passive(part: Part, spec: &TrafficSpec) -> bool {
    part == Part::StreamReceive && verb(spec) != Verb::Send
}

/// The workload of this end, when the verb is not send.
pub fn workload(job: &LaneJob, spec: &TrafficSpec, seed: u64, stop: Tick) -> Option<Box<dyn Workload>> {
    let verb = Some(verb(spec)).filter(|verb| *verb != Verb::Send)?;
    let size = spec.size_bytes as u32;
    let (send, receive) = (job.layout.send(job.region_id), job.layout.receive(job.region_id));
    if matches!(job.part, Part::PingPong | Part::Echo) {
        let memory = WritePongMemory { region: job.region.clone(), send, receive, size };
        return Some(match job.part {
            Part::PingPong => Box::new(WritePing::new(memory, stop)),
            _ => Box::new(WritePong::new(memory, stop)),
        });
    }
    let control = job.layout.region_bytes - CONTROL_ROOM;
    let memory = OneSidedMemory {
        region: job.region.clone(),
        slots: send,
        control_out: control,
        control_in: control + CONTROL_ROOM - u64::from(CONTROL_BYTES),
        untouched: (receive.base, control - receive.base, FILL),
    };
    let seed = spec.verify.then_some(seed);
    Some(match job.part {
        Part::StreamSend => Box::new(OneSided::new(verb, memory, size, stop, seed)),
        _ => Box::new(Target::new(verb, memory, size, stop, seed)),
    })
}

/// Refuses, at the server, a congestion control that its kernel does not have yet: asking for one loads a kernel module,
/// which is not for a peer to bring about.
pub fn check_congestion(end: End, options: &OptionValues) -> Result<(), StepError> {
    let Some(name) = options.given(&CONGESTION).filter(|_| end == End::Server) else { return Ok(()) };
    let available = congestion_controls();
    if available.split_whitespace().any(|known| known == name.as_str()) {
        return Ok(());
    }
    Err(invalid(format!(
        "this kernel has no congestion control {name:?} at the moment, only {}; load it here first: modprobe tcp_{name}",
        available.trim()
    )))
}

/// Whether this end's kernel takes the congestion control that an option names, loading it where this user may.
pub fn check_own_congestion(options: &OptionValues) -> Result<(), StepError> {
    let Some(name) = options.given(&CONGESTION) else { return Ok(()) };
    let Ok(socket) = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None) else {
        return Ok(());
    };
    socket.set_tcp_congestion(name.as_bytes()).map_err(|why| {
        let available = congestion_controls();
        invalid(format!(
            "this kernel takes no congestion control {name:?} ({why}); it has {}",
            available.trim()
        ))
    })
}

/// How lanes over this layout and verb wait, when the verb decides.
pub fn always_spins(kind: TrafficKind, spec: &TrafficSpec) -> bool {
    kind == TrafficKind::Pingpong && verb(spec) == Verb::Write
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_as_it_is_unless_bytes_are_verified_or_writes_carry_a_mark() {
        use pathproof_model::Verb::{Send, Write};
        let of = |kind, verb, verify| {
            sent_memory(kind, &TrafficSpec { verb: Some(verb), verify, ..TrafficSpec::default() })
        };
        for kind in [TrafficKind::Stream, TrafficKind::Pingpong, TrafficKind::Request] {
            assert_eq!(of(kind, Send, false), SentMemory::Constant, "{kind:?}");
            assert_eq!(of(kind, Send, true), SentMemory::Reused, "{kind:?}");
        }
        assert_eq!(of(TrafficKind::Stream, Write, false), SentMemory::Constant);
        assert_eq!(of(TrafficKind::Pingpong, Write, false), SentMemory::Reused);
    }
}
