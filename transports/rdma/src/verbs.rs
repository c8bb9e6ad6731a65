//! Safe handles over the C objects: each closes what it opened, and holds what it depends on, so that the order
//! of destruction is right by construction. It refuses to expose a raw pointer outside this crate.

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pathproof_api::{Region, TransportError};

use crate::ffi::{
    IbvAsyncEvent, IbvCompChannel, IbvContext, IbvCq, IbvDeviceAttr, IbvMr, IbvPd, IbvPortAttr, IbvQp,
    IbvQpAttr, IbvQpCap, IbvQpInitAttr, VerbsLibrary, k,
};
use crate::words;

/// Names of the devices that the verbs library can drive, in its order.
pub fn device_names(library: &VerbsLibrary) -> io::Result<Vec<String>> {
    with_devices(library, |devices| devices.iter().map(|(name, _)| name.clone()).collect())
}

fn with_devices<T>(
    library: &VerbsLibrary,
    use_them: impl FnOnce(&[(String, *mut crate::ffi::IbvDevice)]) -> T,
) -> io::Result<T> {
    let mut count: c_int = 0;
    // SAFETY: the library fills `count` and returns an array of that length, or null with errno.
    let list = unsafe { (library.ibv_get_device_list)(&mut count) };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let devices: Vec<_> = (0..usize::try_from(count).unwrap_or(0))
        .filter_map(|i| {
            // SAFETY: `i` is below the length that the library returned; names are C strings of the device.
            unsafe {
                let device = *list.add(i);
                let name = (library.ibv_get_device_name)(device);
                (!name.is_null()).then(|| (CStr::from_ptr(name).to_string_lossy().into_owned(), device))
            }
        })
        .collect();
    let value = use_them(&devices);
    // SAFETY: the list came from `ibv_get_device_list`; open contexts hold their devices by themselves.
    unsafe { (library.ibv_free_device_list)(list) };
    Ok(value)
}

/// An opened device. Shared by all lanes on it.
pub struct Context {
    library: Arc<VerbsLibrary>,
    raw: NonNull<IbvContext>,
    device: String,
    /// Bumped whenever an event was added to `events`.
    epoch: AtomicU32,
    events: Mutex<Vec<AsyncEvent>>,
}

/// An asynchronous event that means trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncEvent {
    /// `IBV_EVENT_*`.
    pub event: u32,
    /// The queue pair it is about; `None` when it concerns the whole device or port.
    pub queue_pair: Option<u32>,
}

// SAFETY: verbs objects may be used from any thread (ibv_* are thread safe); the event list is behind a mutex.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Opens the device called `name`.
    pub fn open(library: &Arc<VerbsLibrary>, name: &str) -> Result<Arc<Context>, TransportError> {
        let opened = with_devices(library, |devices| {
            let (_, device) = devices.iter().find(|(n, _)| n == name)?;
            // SAFETY: a device of the list that is still held.
            let raw = unsafe { (library.ibv_open_device)(*device) };
            Some(NonNull::new(raw).ok_or_else(io::Error::last_os_error))
        });
        let raw = match opened {
            Err(source) => return Err(words::open_failed(name, source)),
            Ok(None) => {
                return Err(TransportError::Unsupported {
                    what: format!("RDMA device {name}"),
                    why: "the verbs library does not know a device of that name".into(),
                    fix: "`pathproof devices` lists those that exist".into(),
                });
            }
            Ok(Some(Err(source))) => return Err(words::open_failed(name, source)),
            Ok(Some(Ok(raw))) => raw,
        };
        // SAFETY: the context was just opened; the descriptor belongs to it.
        unsafe { set_nonblocking(raw.as_ref().async_fd) };
        Ok(Arc::new(Context {
            library: library.clone(),
            raw,
            device: name.to_owned(),
            epoch: AtomicU32::new(0),
            events: Mutex::new(Vec::new()),
        }))
    }

    /// Name of the device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Limits and identity of the device.
    pub fn attributes(&self) -> Result<IbvDeviceAttr, TransportError> {
        // SAFETY: plain integers and bytes, for which zero is valid.
        let mut attributes: IbvDeviceAttr = unsafe { std::mem::zeroed() };
        // SAFETY: an open context and a structure of the header's layout (see tests/layout.rs).
        let code = unsafe { (self.library.ibv_query_device)(self.raw.as_ptr(), &mut attributes) };
        if code != 0 {
            return Err(TransportError::Io {
                operation: format!("asking {} for its limits", self.device),
                source: io::Error::from_raw_os_error(code),
            });
        }
        Ok(attributes)
    }

    /// State and MTU of a port. (`ibv_query_port` fills all but the last two bytes, which we do not use.)
    pub fn port(&self, port: u8) -> Result<IbvPortAttr, TransportError> {
        let mut attributes = IbvPortAttr::default();
        // SAFETY: as for `attributes`.
        let code = unsafe { (self.library.ibv_query_port)(self.raw.as_ptr(), port, &mut attributes) };
        if code != 0 {
            return Err(TransportError::Io {
                operation: format!("asking {} for the state of port {port}", self.device),
                source: io::Error::from_raw_os_error(code),
            });
        }
        Ok(attributes)
    }

    pub(crate) fn functions(&self) -> &crate::ffi::IbvContextOps {
        // SAFETY: the context is open as long as `self`; its table is filled once, when it is opened.
        unsafe { &(*self.raw.as_ptr()).ops }
    }

    /// Takes what the device has to say, without waiting, and keeps what means trouble for those concerned.
    pub(crate) fn pump_events(&self) {
        for _ in 0..64 {
            let mut event = IbvAsyncEvent { element: std::ptr::null_mut(), event_type: u32::MAX };
            // SAFETY: the descriptor is non-blocking, so this returns -1 when there is nothing.
            if unsafe { (self.library.ibv_get_async_event)(self.raw.as_ptr(), &mut event) } != 0 {
                return;
            }
            let queue_pair = match event.event_type {
                k::IBV_EVENT_QP_FATAL | k::IBV_EVENT_QP_REQ_ERR | k::IBV_EVENT_QP_ACCESS_ERR => {
                    // SAFETY: for these types the element is a queue pair, which its owner cannot have destroyed:
                    // ibv_destroy_qp waits until its events are acknowledged, and we acknowledge below.
                    NonNull::new(event.element.cast::<IbvQp>()).map(|qp| unsafe { qp.as_ref().qp_num })
                }
                _ => None,
            };
            // SAFETY: acknowledges exactly the event taken above.
            unsafe { (self.library.ibv_ack_async_event)(&mut event) };
            if words::event_sentence(event.event_type).is_some()
                && let Ok(mut events) = self.events.lock()
                && events.len() < 1024
            {
                events.push(AsyncEvent { event: event.event_type, queue_pair });
                self.epoch.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Changes whenever there is something new for [`Context::trouble`].
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The first event that concerns this queue pair, device-wide events included, from position `since` on.
    pub(crate) fn trouble(&self, queue_pair: u32, since: usize) -> Option<AsyncEvent> {
        let events = self.events.lock().ok()?;
        events.iter().skip(since).find(|e| e.queue_pair.is_none_or(|number| number == queue_pair)).copied()
    }

    /// Events so far; lanes ignore those that happened before they were made.
    pub(crate) fn events_so_far(&self) -> usize {
        self.events.lock().map(|events| events.len()).unwrap_or(0)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: everything made on the context holds an `Arc` of it, so this is the last use.
        unsafe { (self.library.ibv_close_device)(self.raw.as_ptr()) };
    }
}

/// Sets `O_NONBLOCK`.
///
/// # Safety
/// `fd` must be an open descriptor.
pub(crate) unsafe fn set_nonblocking(fd: RawFd) {
    // SAFETY: an open descriptor, by the caller's promise.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags >= 0 {
            libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
    }
}

/// A protection domain: memory and queue pairs that belong together.
pub struct ProtectionDomain {
    raw: NonNull<IbvPd>,
    context: Arc<Context>,
}

// SAFETY: thread safe like all verbs objects.
unsafe impl Send for ProtectionDomain {}
// SAFETY: as above.
unsafe impl Sync for ProtectionDomain {}

impl ProtectionDomain {
    /// Makes one on `context`.
    pub fn new(context: &Arc<Context>) -> Result<Arc<ProtectionDomain>, TransportError> {
        // SAFETY: an open context.
        let raw = unsafe { (context.library.ibv_alloc_pd)(context.raw.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            words::creation_failed("a protection domain", &context.device, io::Error::last_os_error())
        })?;
        Ok(Arc::new(ProtectionDomain { raw, context: context.clone() }))
    }

    /// The device it is on.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn as_ptr(&self) -> *mut IbvPd {
        self.raw.as_ptr()
    }
}

impl Drop for ProtectionDomain {
    fn drop(&mut self) {
        // SAFETY: memory regions and queue pairs hold an `Arc` of this, so none is left.
        unsafe { (self.context.library.ibv_dealloc_pd)(self.raw.as_ptr()) };
    }
}

/// A region registered with a device. Keeps the region mapped as long as the device may touch it.
pub struct MemoryRegion {
    raw: NonNull<IbvMr>,
    domain: Arc<ProtectionDomain>,
    region: Arc<Region>,
}

// SAFETY: thread safe like all verbs objects; the memory is reached only through `Region`.
unsafe impl Send for MemoryRegion {}
// SAFETY: as above.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    /// Registers all of `region` with the access bits `access` (`IBV_ACCESS_*`).
    pub fn new(
        domain: &Arc<ProtectionDomain>,
        region: &Arc<Region>,
        access: u32,
    ) -> Result<Arc<MemoryRegion>, TransportError> {
        Ok(Arc::new(MemoryRegion::of(domain, region, (0, region.len()), access)?))
    }

    /// Registers `length` bytes of `region` from `offset` on.
    pub(crate) fn of(
        domain: &Arc<ProtectionDomain>,
        region: &Arc<Region>,
        (offset, bytes): (u64, u64),
        access: u32,
    ) -> Result<MemoryRegion, TransportError> {
        region.check(offset, bytes).map_err(|e| TransportError::invalid(e.to_string()))?;
        let beyond = |_| TransportError::invalid("a region beyond the address space");
        let length = usize::try_from(bytes).map_err(beyond)?;
        let start = region.base_address().wrapping_add(usize::try_from(offset).map_err(beyond)?);
        // SAFETY: the range lies inside the region's mapping, which the `Arc` kept below holds until deregistration.
        let raw = unsafe {
            (domain.context.library.ibv_reg_mr)(domain.raw.as_ptr(), start.cast(), length, access as c_int)
        };
        let raw = NonNull::new(raw).ok_or_else(|| {
            words::registration_failed(bytes, io::Error::last_os_error(), words::locked_memory_limit_bytes())
        })?;
        Ok(MemoryRegion { raw, domain: domain.clone(), region: region.clone() })
    }

    /// Key for local use.
    pub fn local_key(&self) -> u32 {
        // SAFETY: registered as long as `self`.
        unsafe { self.raw.as_ref().lkey }
    }

    /// Key for the peer.
    pub fn remote_key(&self) -> u32 {
        // SAFETY: registered as long as `self`.
        unsafe { self.raw.as_ref().rkey }
    }

    pub(crate) fn as_ptr(&self) -> *mut IbvMr {
        self.raw.as_ptr()
    }

    /// The memory.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // SAFETY: queue pairs that use it are destroyed first (they hold it); `region` is released after this.
        unsafe { (self.domain.context.library.ibv_dereg_mr)(self.raw.as_ptr()) };
    }
}

/// A channel that wakes a sleeping thread when a completion queue has something.
pub struct CompletionChannel {
    raw: NonNull<IbvCompChannel>,
    context: Arc<Context>,
}

// SAFETY: thread safe like all verbs objects.
unsafe impl Send for CompletionChannel {}
// SAFETY: as above.
unsafe impl Sync for CompletionChannel {}

impl CompletionChannel {
    /// Makes one on `context`. Its descriptor blocks: who may not wait asks `poll` first.
    pub fn new(context: &Arc<Context>) -> Result<Arc<CompletionChannel>, TransportError> {
        // SAFETY: an open context.
        let raw = unsafe { (context.library.ibv_create_comp_channel)(context.raw.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            words::creation_failed("a completion channel", &context.device, io::Error::last_os_error())
        })?;
        Ok(Arc::new(CompletionChannel { raw, context: context.clone() }))
    }

    /// Descriptor for `poll`.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.raw.as_ref().fd) }
    }
}

impl Drop for CompletionChannel {
    fn drop(&mut self) {
        // SAFETY: the queue that reports here holds an `Arc` of this, so it is gone.
        unsafe { (self.context.library.ibv_destroy_comp_channel)(self.raw.as_ptr()) };
    }
}

/// Longest sleep without a look at what else there may be to hear.
const NEWS_LOOK: Duration = Duration::from_millis(20);

/// A completion queue.
pub struct CompletionQueue {
    raw: NonNull<IbvCq>,
    context: Arc<Context>,
    channel: Option<Arc<CompletionChannel>>,
    unacknowledged_events: AtomicU32,
}

// SAFETY: thread safe like all verbs objects.
unsafe impl Send for CompletionQueue {}
// SAFETY: as above.
unsafe impl Sync for CompletionQueue {}

impl CompletionQueue {
    /// Makes a queue for `entries` completions, reporting to `channel` when armed.
    pub fn new(
        context: &Arc<Context>,
        entries: u32,
        channel: Option<Arc<CompletionChannel>>,
    ) -> Result<Arc<CompletionQueue>, TransportError> {
        let raw_channel = channel.as_ref().map_or(std::ptr::null_mut(), |c| c.raw.as_ptr());
        let count = c_int::try_from(entries).unwrap_or(c_int::MAX);
        // SAFETY: an open context and a channel of it (or none); vector 0 always exists.
        let raw = unsafe {
            (context.library.ibv_create_cq)(context.raw.as_ptr(), count, std::ptr::null_mut(), raw_channel, 0)
        };
        let raw = NonNull::new(raw).ok_or_else(|| {
            words::creation_failed(
                &format!("a completion queue of {entries} entries"),
                &context.device,
                io::Error::last_os_error(),
            )
        })?;
        Ok(Arc::new(CompletionQueue {
            raw,
            context: context.clone(),
            channel,
            unacknowledged_events: AtomicU32::new(0),
        }))
    }

    pub(crate) fn as_ptr(&self) -> *mut IbvCq {
        self.raw.as_ptr()
    }

    /// Sleeps until a completion is announced, but no longer than `within` and than other news (device, connection manager) may wait to
    /// be looked for. `None`: nothing was announced. Otherwise whether that was taken, after which the queue is not armed any more.
    pub(crate) fn sleep(&self, within: Duration) -> Option<bool> {
        let within = within.min(NEWS_LOOK);
        let channel = self.channel.as_ref().map(|channel| channel.fd().as_raw_fd());
        let mut entry = libc::pollfd { fd: channel.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(within.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(within.subsec_nanos() as i32),
        };
        // SAFETY: one entry, alive during the call; one with descriptor -1 is ignored.
        unsafe { libc::ppoll(&mut entry, 1, &time, std::ptr::null()) };
        // Only then is there something that can be read without waiting.
        (entry.revents & libc::POLLIN != 0).then(|| self.take_event())
    }

    /// Sleeps until a completion is announced, however long that takes, and takes the announcement: one system call, and no timer. Only
    /// where something is posted that completes when the queue pair is [stopped](QueuePair::fail), because nothing else
    /// ends this wait.
    pub(crate) fn wait(&self) -> io::Result<()> {
        if self.take_event() { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes the next event off the channel, and says whether there was one. A queue that is armed
    /// once raises one event at most, so looking for a second would be a system call in vain.
    fn take_event(&self) -> bool {
        let Some(channel) = &self.channel else { return false };
        let (mut queue, mut user) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: an open channel; both results are only written.
        let code =
            unsafe { (self.context.library.ibv_get_cq_event)(channel.raw.as_ptr(), &mut queue, &mut user) };
        // Acknowledging costs a lock, so it is done in bulk.
        if code == 0 && self.unacknowledged_events.fetch_add(1, Ordering::Relaxed) + 1 >= 4096 {
            self.acknowledge();
        }
        code == 0
    }

    fn acknowledge(&self) {
        let owed = self.unacknowledged_events.swap(0, Ordering::Relaxed);
        if owed > 0 {
            // SAFETY: exactly as many events as were taken from the channel of this queue.
            unsafe { (self.context.library.ibv_ack_cq_events)(self.raw.as_ptr(), owed) };
        }
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        // ibv_destroy_cq waits for unacknowledged events: forgetting them would hang here, and so would waiting for another.
        if let Some(channel) = &self.channel {
            // SAFETY: open as long as the channel, which this queue holds.
            unsafe { set_nonblocking(channel.raw.as_ref().fd) };
        }
        while self.take_event() {}
        self.acknowledge();
        // SAFETY: queue pairs hold an `Arc` of this, so none reports here any more.
        unsafe { (self.context.library.ibv_destroy_cq)(self.raw.as_ptr()) };
    }
}

/// A reliably connected queue pair whose sends and receives report to one completion queue.
pub struct QueuePair {
    raw: NonNull<IbvQp>,
    domain: Arc<ProtectionDomain>,
    completions: Arc<CompletionQueue>,
    granted: IbvQpCap,
}

// SAFETY: thread safe like all verbs objects.
unsafe impl Send for QueuePair {}
// SAFETY: as above.
unsafe impl Sync for QueuePair {}

impl QueuePair {
    /// Makes a queue pair. `wanted.max_inline_data` is reduced until the device accepts it: no verb tells the
    /// limit beforehand.
    pub fn new(
        domain: &Arc<ProtectionDomain>,
        completions: &Arc<CompletionQueue>,
        wanted: IbvQpCap,
    ) -> Result<QueuePair, TransportError> {
        let library = &domain.context.library;
        let mut inline_bytes = wanted.max_inline_data;
        loop {
            let mut init = IbvQpInitAttr {
                qp_context: std::ptr::null_mut(),
                send_cq: completions.as_ptr(),
                recv_cq: completions.as_ptr(),
                srq: std::ptr::null_mut(),
                cap: IbvQpCap { max_inline_data: inline_bytes, ..wanted },
                qp_type: k::IBV_QPT_RC,
                sq_sig_all: 0,
            };
            // SAFETY: the domain and the queue are of one context, and live as long as the queue pair.
            let raw = unsafe { (library.ibv_create_qp)(domain.raw.as_ptr(), &mut init) };
            if let Some(raw) = NonNull::new(raw) {
                return Ok(QueuePair {
                    raw,
                    domain: domain.clone(),
                    completions: completions.clone(),
                    granted: init.cap,
                });
            }
            let source = io::Error::last_os_error();
            if inline_bytes == 0 {
                return Err(words::creation_failed(
                    &format!(
                        "a queue pair of {} sends and {} receives",
                        wanted.max_send_wr, wanted.max_recv_wr
                    ),
                    &domain.context.device,
                    source,
                ));
            }
            inline_bytes = if inline_bytes > 32 { inline_bytes / 2 } else { 0 };
        }
    }

    /// Its number, which the peer needs.
    pub fn number(&self) -> u32 {
        // SAFETY: exists as long as `self`.
        unsafe { self.raw.as_ref().qp_num }
    }

    /// What the device granted.
    pub fn granted(&self) -> IbvQpCap {
        self.granted
    }

    /// The domain it belongs to.
    pub fn domain(&self) -> &Arc<ProtectionDomain> {
        &self.domain
    }

    /// Where it reports.
    pub fn completions(&self) -> &Arc<CompletionQueue> {
        &self.completions
    }

    pub(crate) fn as_ptr(&self) -> *mut IbvQp {
        self.raw.as_ptr()
    }

    /// Changes state or attributes; `what` names the step in errors.
    pub(crate) fn modify(
        &self,
        attributes: &mut IbvQpAttr,
        mask: c_int,
        what: &str,
    ) -> Result<(), TransportError> {
        // SAFETY: an existing queue pair and attributes of the header's layout.
        let code =
            unsafe { (self.domain.context.library.ibv_modify_qp)(self.raw.as_ptr(), attributes, mask) };
        if code == 0 {
            return Ok(());
        }
        // Some providers return -1 and set errno, others the number itself.
        let source = if code > 0 { io::Error::from_raw_os_error(code) } else { io::Error::last_os_error() };
        Err(TransportError::Io {
            operation: format!("{what} (queue pair on {})", self.domain.context.device),
            source,
        })
    }

    /// Stops the queue pair: everything posted is flushed.
    pub(crate) fn fail(&self) {
        let mut attributes = IbvQpAttr { qp_state: k::IBV_QPS_ERR, ..IbvQpAttr::default() };
        // A queue pair that cannot even be stopped (device gone) has nothing left to flush.
        let _ = self.modify(&mut attributes, k::IBV_QP_STATE, "stopping");
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // SAFETY: the last use; the completion queue and the domain are released after this.
        unsafe { (self.domain.context.library.ibv_destroy_qp)(self.raw.as_ptr()) };
    }
}
