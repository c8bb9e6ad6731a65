//! Which sends ask for a completion: as few as keep a queue moving, and on iWARP as many as memory needs. Pure.

use pathproof_api::{Fabric, SendReports, SentMemory, TransportError};

/// From so many bytes on soft-iWARP sends from the memory of a request that asks for no completion instead of copying them: a page.
const FROM_MEMORY_BYTES: u32 = 4096;

/// Which sends of a lane ask for a completion. One that fails completes in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals {
    /// Of how many that travel inside their request one asks.
    inline_every: u32,
    /// Of how many others.
    every: u32,
    /// Whether the last of each list asks in any case, because nothing may follow.
    pub(crate) last: bool,
}

impl Signals {
    /// Those of a lane with `send_depth` sends at once; `asked`: of how many one should ask.
    ///
    /// On iWARP each must ask whose memory is used again, unless it travels inside its request. There a completion means that TCP
    /// has the bytes, not that the peer has them (RFC 5040 §5.5), and soft-iWARP lets TCP send, and send again, straight
    /// from the memory of a request that asks for none: whoever writes its next message there when a later request
    /// completes changes bytes on their way, and the peer sees corrupt ones. Where nobody writes there, that would spare a copy
    /// of messages of a page and more, and is slower all the same: a third of the rate, measured both with a processor for each end and with
    /// instructions counted (results/runs/2026-12-01-siw-completions). So those ask as well.
    pub(crate) fn of(
        fabric: Fabric,
        asked: Option<u32>,
        (send_depth, message_bytes_max): (u32, u32),
        (reports, memory): (SendReports, SentMemory),
    ) -> Result<Signals, TransportError> {
        // A quarter of the depth keeps three quarters in flight while one is being collected.
        let quarter = asked.unwrap_or(send_depth / 4).clamp(1, send_depth.max(1));
        let last = reports != SendReports::Late;
        let copied = memory == SentMemory::Constant && message_bytes_max < FROM_MEMORY_BYTES;
        match (fabric, asked, copied) {
            (Fabric::Iwarp, Some(2..), _) => Err(TransportError::invalid(
                "RDMA option signal_every: on iWARP every send must ask for its completion, or its memory may not be used \
                 again; leave the option out",
            )),
            (Fabric::Iwarp, _, false) => {
                Ok(Signals { inline_every: if last { 1 } else { quarter }, every: 1, last })
            }
            (Fabric::Iwarp, _, true) | (Fabric::Roce | Fabric::InfiniBand | Fabric::Unknown, _, _) => {
                Ok(Signals { inline_every: quarter, every: quarter, last })
            }
        }
    }

    /// Of how many sends one asks.
    #[inline]
    pub(crate) fn every(self, inline: bool) -> u32 {
        if inline { self.inline_every } else { self.every }
    }

    /// In words, with the reason.
    pub(crate) fn words(self, fabric: Fabric) -> String {
        let Signals { inline_every, every, last } = self;
        let each = "a completion for every send, because on iWARP one of them says nothing of the memory of others, and soft-iWARP sends \
             those slower that ask for none";
        match (fabric == Fabric::Iwarp && every == 1, last) {
            (true, true) => each.into(),
            (true, false) => {
                format!("{each}; of those that travel inside the request for every {inline_every}")
            }
            (false, true) => format!("a completion for every {every} sends of a list, and for its last"),
            (false, false) => format!("a completion for every {every} sends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of how many one asks that travels inside its request, of how many another, and whether the last of a list asks.
    fn of(
        fabric: Fabric,
        asked: Option<u32>,
        depth: u32,
        how: (SendReports, SentMemory),
    ) -> (u32, u32, bool) {
        // Messages that are always copied, where their bytes stay as they are.
        let signals = Signals::of(fabric, asked, (depth, FROM_MEMORY_BYTES - 1), how).unwrap();
        (signals.every(true), signals.every(false), signals.last)
    }

    #[test]
    fn on_iwarp_every_send_asks_whose_memory_is_used_again() {
        let reused = (SendReports::Prompt, SentMemory::Reused);
        for depth in [1, 16, 128] {
            assert_eq!(of(Fabric::Iwarp, None, depth, reused), (1, 1, true));
            assert_eq!(of(Fabric::Iwarp, Some(1), depth, reused), (1, 1, true));
        }
        let refused = Signals::of(Fabric::Iwarp, Some(2), (16, 64), reused).unwrap_err().to_string();
        assert!(refused.contains("signal_every") && refused.contains("leave the option out"), "{refused}");
        assert_eq!(of(Fabric::Roce, None, 16, reused), (4, 4, true));
        assert_eq!(of(Fabric::Roce, Some(100), 16, reused), (16, 16, true));
        assert_eq!(of(Fabric::InfiniBand, None, 1, reused), (1, 1, true));
    }

    #[test]
    fn bytes_that_stay_as_they_are_need_no_completion_on_iwarp_either_unless_they_would_be_sent_slower() {
        let constant = (SendReports::Prompt, SentMemory::Constant);
        let of_a_page = |fabric| {
            let signals = Signals::of(fabric, None, (8, FROM_MEMORY_BYTES), constant).unwrap();
            (signals.every(true), signals.every(false))
        };
        assert_eq!(of_a_page(Fabric::Iwarp), (1, 1));
        assert_eq!(of_a_page(Fabric::Roce), (2, 2));
        assert_eq!(of(Fabric::Iwarp, None, 8, constant), (2, 2, true));
        assert_eq!(of(Fabric::Iwarp, Some(1), 8, constant), (1, 1, true), "who asks for each gets each");
        assert_eq!(of(Fabric::Roce, None, 8, constant), (2, 2, true));
    }

    #[test]
    fn told_late_the_last_of_a_list_does_not_ask() {
        let late = |memory| (SendReports::Late, memory);
        assert_eq!(of(Fabric::Roce, None, 64, late(SentMemory::Reused)), (16, 16, false));
        assert_eq!(of(Fabric::Iwarp, None, 64, late(SentMemory::Reused)), (16, 1, false));
        assert_eq!(of(Fabric::Iwarp, None, 64, late(SentMemory::Constant)), (16, 16, false));
        assert_eq!(of(Fabric::Iwarp, Some(1), 64, late(SentMemory::Reused)), (1, 1, false));
    }
}
