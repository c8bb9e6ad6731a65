//! Which sends ask for a completion: as few as keep a queue moving, and on iWARP as many as memory needs. Pure.

use pathproof_api::{Fabric, TransportError};

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
    /// Those of a lane with `send_depth` sends at once; `asked`: of how many one should ask; `late`: nobody waits for one.
    ///
    /// On iWARP each must ask that does not travel inside its request. There a completion means that TCP has the bytes, not that
    /// the peer has them (RFC 5040 §5.5), and soft-iWARP lets TCP send, and send again, straight from the memory of a
    /// request that asks for none: whoever writes its next message there when a later request completes changes bytes
    /// on their way, and the peer sees corrupt ones.
    pub(crate) fn of(
        fabric: Fabric,
        asked: Option<u32>,
        send_depth: u32,
        late: bool,
    ) -> Result<Signals, TransportError> {
        // A quarter of the depth keeps three quarters in flight while one is being collected.
        let quarter = asked.unwrap_or(send_depth / 4).clamp(1, send_depth.max(1));
        match (fabric, asked) {
            (Fabric::Iwarp, Some(2..)) => Err(TransportError::invalid(
                "RDMA option signal_every: on iWARP every send must ask for its completion, or its memory may not be used \
                 again; leave the option out",
            )),
            (Fabric::Iwarp, _) => {
                Ok(Signals { inline_every: if late { quarter } else { 1 }, every: 1, last: !late })
            }
            (Fabric::Roce | Fabric::InfiniBand | Fabric::Unknown, _) => {
                Ok(Signals { inline_every: quarter, every: quarter, last: !late })
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
        let each =
            "a completion for every send, because on iWARP one of them says nothing of the memory of others";
        match (fabric == Fabric::Iwarp, last) {
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

    #[test]
    fn on_iwarp_every_send_asks_for_its_completion() {
        let every = |fabric, asked, depth| {
            let signals = Signals::of(fabric, asked, depth, false).unwrap();
            assert!(signals.last, "nothing may follow");
            assert_eq!(signals.every(true), signals.every(false));
            signals.every(false)
        };
        for depth in [1, 16, 128] {
            assert_eq!(every(Fabric::Iwarp, None, depth), 1);
            assert_eq!(every(Fabric::Iwarp, Some(1), depth), 1);
        }
        let refused = Signals::of(Fabric::Iwarp, Some(2), 16, false).unwrap_err().to_string();
        assert!(refused.contains("signal_every") && refused.contains("leave the option out"), "{refused}");
        assert_eq!(every(Fabric::Roce, None, 16), 4);
        assert_eq!(every(Fabric::Roce, Some(100), 16), 16);
        assert_eq!(every(Fabric::InfiniBand, None, 1), 1);
    }

    #[test]
    fn told_late_on_iwarp_only_what_travels_inside_its_request_asks_seldom() {
        let of = |fabric, asked| {
            let signals = Signals::of(fabric, asked, 64, true).unwrap();
            (signals.every(true), signals.every(false), signals.last)
        };
        assert_eq!(of(Fabric::Roce, None), (16, 16, false));
        assert_eq!(of(Fabric::Iwarp, None), (16, 1, false));
        assert_eq!(of(Fabric::Iwarp, Some(1)), (1, 1, false), "who asks for each gets each");
    }
}
