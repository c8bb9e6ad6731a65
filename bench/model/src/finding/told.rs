//! What findings say of themselves that the program itself reads back: each name once, with the type of its value.

use std::marker::PhantomData;
use std::net::IpAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Finding;
use crate::End;
use crate::node::NodeId;
use crate::plan::Direction;

/// The name of a value of findings ([`Finding::values`]), and what it is.
pub struct Told<T>(&'static str, PhantomData<fn() -> T>);

impl<T> Clone for Told<T> {
    fn clone(&self) -> Told<T> {
        *self
    }
}

impl<T> Copy for Told<T> {}

impl<T> Told<T> {
    const fn named(name: &'static str) -> Told<T> {
        Told(name, PhantomData)
    }

    /// As it stands in the document.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// The NIC that it is about, where the other end has no part in it.
pub const NIC: Told<String> = Told::named("nic");
/// The client's NIC.
pub const LOCAL_NIC: Told<String> = Told::named("local_nic");
/// The server's NIC.
pub const REMOTE_NIC: Told<String> = Told::named("remote_nic");
/// The NIC that answers for another.
pub const ANSWERS_ON: Told<String> = Told::named("answers_on");
/// The NICs that it is about.
pub const NICS: Told<Vec<String>> = Told::named("nics");
/// The host that it is about.
pub const NODE: Told<NodeId> = Told::named("node");
/// The address that it is about.
pub const ADDRESS: Told<IpAddr> = Told::named("address");
/// The server's address.
pub const REMOTE_ADDRESS: Told<IpAddr> = Told::named("remote_address");
/// Which way.
pub const DIRECTION: Told<Direction> = Told::named("direction");
/// The end that threw something away.
pub const RECEIVER: Told<End> = Told::named("end");
/// Which way is the slower one.
pub const SLOWER: Told<Direction> = Told::named("slower");
/// That an end's window or buffer holds it back, and not the path.
pub const HELD_BY_END: Told<bool> = Told::named("held_by_end");
/// How many packets, or connections, were refused.
pub const REFUSED: Told<u64> = Told::named("refused");
/// The size of IP packets that was tried, in bytes.
pub const IP_BYTES: Told<u64> = Told::named("ip_bytes");
/// A smaller size that is carried, in bytes; larger ones may be, too.
pub const CARRIED_IP_BYTES: Told<u64> = Told::named("carried_ip_bytes");
/// The smaller size that was met, in bytes.
pub const SMALLER_IP_BYTES: Told<u64> = Told::named("smaller_ip_bytes");
/// That no search has met a smaller size.
pub const NONE_MET: Told<bool> = Told::named("none_met");
/// How many of [`OF`].
pub const PART: Told<u64> = Told::named("part");
/// Of how many.
pub const OF: Told<u64> = Told::named("of");

impl Finding {
    /// Says of the finding what the program reads back.
    pub fn tell<T: Serialize>(mut self, what: Told<T>, value: impl Into<T>) -> Finding {
        if let Ok(value) = serde_json::to_value(value.into()) {
            self.values.insert(what.0.into(), value);
        }
        self
    }

    /// What the finding says of that; nothing where it says none, or what no such value can be.
    pub fn told<T: DeserializeOwned>(&self, what: Told<T>) -> Option<T> {
        self.values.get(what.0).and_then(|value| T::deserialize(value).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back_and_what_is_none_is_not() {
        let told =
            Finding::new("NIC-SLOW", "").tell(NIC, "eth0").tell(DIRECTION, Direction::In).tell(PART, 7u32);
        assert_eq!(told.told(NIC).as_deref(), Some("eth0"));
        assert_eq!(told.told(DIRECTION), Some(Direction::In));
        assert_eq!((told.told(PART), told.told(OF)), (Some(7), None));
        assert_eq!(told.values["direction"], "in");
        // A later build may say it otherwise.
        let other = Finding::new("NIC-SLOW", "").with(DIRECTION.name(), "sideways").with(NODE.name(), "x");
        assert_eq!((other.told(DIRECTION), other.told(NODE)), (None, None));
    }
}
