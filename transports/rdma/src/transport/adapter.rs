//! An opened device and what is registered on it.

use std::sync::{Arc, Mutex, Weak};

use pathproof_api::{Access, Exposed, Region, RegionId, TransportError};

use crate::ffi::k;
use crate::verbs::{Context, MemoryRegion, ProtectionDomain};

/// What is registered on a wire, by name.
pub(crate) type Memory = Vec<Option<Arc<MemoryRegion>>>;

/// An opened device with its protection domain and registered memory, shared by all lanes on it.
pub(crate) struct Adapter {
    pub(crate) context: Arc<Context>,
    pub(crate) domain: Arc<ProtectionDomain>,
    pub(crate) regions: Mutex<Vec<(usize, u32, Weak<MemoryRegion>)>>,
}

/// What a registration for a wire allows (`IBV_ACCESS_*`).
pub(crate) fn access_bits(access: Access, iwarp: bool) -> u32 {
    let mut bits = k::IBV_ACCESS_LOCAL_WRITE;
    if matches!(access, Access::RemoteRead | Access::RemoteReadWrite) {
        bits |= k::IBV_ACCESS_REMOTE_READ;
    }
    // On iWARP the answer to a READ is a tagged write into its target (RFC 5040 §4.4).
    if matches!(access, Access::RemoteWrite | Access::RemoteReadWrite) || iwarp {
        bits |= k::IBV_ACCESS_REMOTE_WRITE;
    }
    bits
}

impl Adapter {
    /// Registers all of `region` for a wire, and for the peer as far as `access` says.
    pub(crate) fn expose(
        &self,
        memory: &mut Memory,
        iwarp: bool,
        region: &Arc<Region>,
        access: Access,
    ) -> Result<Exposed, TransportError> {
        // The place of one that has ended is free again: a request may have a registration of its own.
        let free = memory.iter().position(Option::is_none).unwrap_or(memory.len());
        let id = u16::try_from(free)
            .map_err(|_| TransportError::invalid("a wire takes at most 65536 registrations"))?;
        let registered = self.register(region, access_bits(access, iwarp))?;
        let exposed = Exposed {
            id: RegionId(id),
            address: region.base_address() as u64,
            key: registered.remote_key(),
            bytes: region.len(),
        };
        match memory.get_mut(free) {
            Some(place) => *place = Some(registered),
            None => memory.push(Some(registered)),
        }
        Ok(exposed)
    }

    /// Registers `region`, or finds it registered already: 64 lanes over one region pin its memory once.
    pub(crate) fn register(
        &self,
        region: &Arc<Region>,
        access: u32,
    ) -> Result<Arc<MemoryRegion>, TransportError> {
        let key = region.base_address() as usize;
        let mut known = self.regions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.retain(|(_, _, weak)| weak.strong_count() > 0);
        let found = known.iter().filter(|(base, bits, _)| *base == key && *bits == access);
        if let Some(registered) =
            found.filter_map(|(_, _, weak)| weak.upgrade()).find(|mr| Arc::ptr_eq(mr.region(), region))
        {
            return Ok(registered);
        }
        let registered = MemoryRegion::new(&self.domain, region, access)?;
        known.push((key, access, Arc::downgrade(&registered)));
        Ok(registered)
    }
}
