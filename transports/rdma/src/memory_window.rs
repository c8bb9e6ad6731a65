//! Memory windows of type 2B (IBTA vol. 1, ch. 10.6.7): access to a region for one queue pair, under a key that the peer
//! itself takes back with its last message (SEND_WITH_INV), without a round trip of its own.
//!
//! It must go before the queue pair that it is bound to: whoever holds both declares the window first.
//! It refuses to be bound while it is open: once the peer has ended its key it can be bound anew, under the next key.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::TransportError;
use pathproof_sys::clock::RealClock;

use crate::ffi::{IbvMw, IbvSendWr, IbvWc, k};
use crate::verbs::{MemoryRegion, ProtectionDomain, QueuePair};
use crate::words;

/// How long a bind, a local operation, may take.
const BIND_PATIENCE: Duration = Duration::from_secs(2);

/// A window of type 2B, bound or not.
pub(crate) struct MemoryWindow {
    raw: NonNull<IbvMw>,
    domain: Arc<ProtectionDomain>,
    bound: bool,
}

// SAFETY: thread safe like all verbs objects.
unsafe impl Send for MemoryWindow {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for MemoryWindow {}

impl MemoryWindow {
    /// Allocates one; nothing is accessible by it yet.
    pub(crate) fn new(domain: &Arc<ProtectionDomain>) -> Result<MemoryWindow, TransportError> {
        let unsupported = |why: String| TransportError::Unsupported {
            what: format!("memory windows on {}", domain.context().device()),
            why,
            fix: "register memory otherwise: --registration up-front".into(),
        };
        let functions = domain.context().functions();
        let (Some(allocate), Some(_)) = (functions.alloc_mw, functions.dealloc_mw) else {
            return Err(unsupported("its driver has none".into()));
        };
        // SAFETY: a live protection domain; the function is its provider's own.
        let raw = unsafe { allocate(domain.as_ptr(), k::IBV_MW_TYPE_2) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            unsupported(format!("it gives none of type 2 ({})", io::Error::last_os_error()))
        })?;
        // SAFETY: just allocated; the fields of the prefix are filled by the library.
        unsafe {
            // Some providers leave these to the inline function of the header.
            (*raw.as_ptr()).context = (*domain.as_ptr()).context;
            (*raw.as_ptr()).pd = domain.as_ptr();
        }
        Ok(MemoryWindow { raw, domain: domain.clone(), bound: false })
    }

    /// The key under which the peer reaches the memory once the window is bound. It is known before: of a window of
    /// type 2 the low eight bits are the consumer's to choose.
    pub(crate) fn key(&self) -> u32 {
        // SAFETY: allocated as long as `self`.
        let key = unsafe { self.raw.as_ref().rkey };
        if self.bound { key } else { key & !0xff | key.wrapping_add(1) & 0xff }
    }

    /// The work request that opens all of `region` to the peer. Whoever posts it says so afterwards ([`MemoryWindow::posted`]).
    pub(crate) fn request(&self, region: &MemoryRegion, access: u32) -> IbvSendWr {
        let mut request = IbvSendWr::empty();
        request.opcode = k::IBV_WR_BIND_MW;
        request.send_flags = k::IBV_SEND_SIGNALED;
        request.bind_mw = self.raw.as_ptr();
        request.bind_rkey = self.key();
        request.bind_mr = region.as_ptr();
        request.bind_addr = region.region().base_address() as u64;
        request.bind_length = region.region().len();
        request.bind_access = access;
        request
    }

    /// A request to bind it was posted.
    pub(crate) fn posted(&mut self) {
        let key = self.key();
        // SAFETY: allocated as long as `self`; the key is ours to keep current (ibv_post_send(3), IBV_WR_BIND_MW).
        unsafe { (*self.raw.as_ptr()).rkey = key };
        self.bound = true;
    }

    /// The peer has ended its key: it may be bound again.
    pub(crate) fn freed(&mut self) {
        self.bound = false;
    }

    /// Opens all of `region` to the peer of `queue_pair`, which must be ready to send and have nothing posted.
    pub(crate) fn bind(
        &mut self,
        queue_pair: &QueuePair,
        region: &MemoryRegion,
        access: u32,
        clock: &RealClock,
    ) -> Result<(), TransportError> {
        let device = self.domain.context().device().to_owned();
        let failed =
            |source: io::Error| TransportError::io(format!("binding a memory window of {device}"), source);
        let functions = self.domain.context().functions();
        let (Some(post_send), Some(poll_cq)) = (functions.post_send, functions.poll_cq) else {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        };
        let mut request = self.request(region, access);
        request.wr_id = u64::MAX;
        let mut bad = std::ptr::null_mut();
        // SAFETY: one request without memory of its own; window, region and queue pair are alive.
        let code = unsafe { post_send(queue_pair.as_ptr(), &mut request, &mut bad) };
        if code != 0 {
            return Err(failed(io::Error::from_raw_os_error(code)));
        }
        let until = clock.deadline(BIND_PATIENCE);
        let mut done = IbvWc::default();
        // SAFETY: the completion queue lives as long as the queue pair, and there is room for the one entry.
        while unsafe { poll_cq(queue_pair.completions().as_ptr(), 1, &mut done) } == 0 {
            if until.is_over() {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            std::thread::yield_now();
        }
        if done.status != k::IBV_WC_SUCCESS {
            return Err(failed(io::Error::other(words::status_sentence(done.status))));
        }
        self.posted();
        Ok(())
    }
}

impl Drop for MemoryWindow {
    fn drop(&mut self) {
        if let Some(release) = self.domain.context().functions().dealloc_mw {
            // SAFETY: allocated by the same provider; it goes before the queue pair and the memory that it is bound to.
            unsafe { release(self.raw.as_ptr()) };
        }
    }
}
