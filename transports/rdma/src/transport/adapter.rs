//! An opened device and what is registered on it.

use std::sync::{Arc, Mutex, Weak};

use pathproof_api::{Region, TransportError};

use crate::verbs::{Context, MemoryRegion, ProtectionDomain};

/// An opened device with its protection domain and registered memory, shared by all lanes on it.
pub(super) struct Adapter {
    pub(super) context: Arc<Context>,
    pub(super) domain: Arc<ProtectionDomain>,
    pub(super) regions: Mutex<Vec<(usize, u32, Weak<MemoryRegion>)>>,
}

impl Adapter {
    /// Registers `region`, or finds it registered already: 64 lanes over one region pin its memory once.
    pub(super) fn register(
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
