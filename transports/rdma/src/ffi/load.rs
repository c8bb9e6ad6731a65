//! Loads `libibverbs.so.1` and `librdmacm.so.1` at run time, so that one binary starts on every machine and
//! says exactly what is missing. It refuses to guess: a symbol that is not there is named, never called.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::{
    CmConnParam, CmEvent, CmEventChannel, CmId, IbvAsyncEvent, IbvCompChannel, IbvContext, IbvCq, IbvDevice,
    IbvDeviceAttr, IbvMr, IbvPd, IbvPortAttr, IbvQp, IbvQpAttr, IbvQpInitAttr,
};

/// File name of the verbs library.
pub const VERBS_LIBRARY: &str = "libibverbs.so.1";
/// File name of the connection-manager library.
pub const CM_LIBRARY: &str = "librdmacm.so.1";

/// Why a library cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not installed, or not loadable.
    #[error("{library} cannot be loaded ({reason})")]
    Library {
        /// File name.
        library: String,
        /// What the dynamic loader said.
        reason: String,
    },
    /// Loaded, but too old or foreign.
    #[error("{library} has no function {symbol}: it is older than this program needs")]
    Symbol {
        /// File name.
        library: String,
        /// The function.
        symbol: &'static str,
    },
}

/// A loaded library, unloaded when the table of its functions goes. Everything that calls one holds that table.
#[derive(Debug)]
struct Loaded {
    handle: *mut c_void,
    name: String,
    /// Devices that the library opened by itself and never closes, as addresses.
    left_open: Mutex<Vec<usize>>,
}

impl Loaded {
    fn open(name: &str) -> Result<Loaded, LoadError> {
        let fail = |reason: String| LoadError::Library { library: name.to_owned(), reason };
        let c_name = CString::new(name).map_err(|_| fail("the name contains a zero byte".into()))?;
        // SAFETY: a valid C string; the library's constructors are those of rdma-core (or of a test double).
        let handle = unsafe { libc::dlopen(c_name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: after a failed dlopen this is null or a C string valid until the next dl call of this thread.
            let words = unsafe {
                let text = libc::dlerror();
                if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
            };
            return Err(fail(words.unwrap_or_else(|| "no reason given".into())));
        }
        Ok(Loaded { handle, name: name.to_owned(), left_open: Mutex::default() })
    }

    /// Whether somebody else holds the library.
    fn is_still_loaded(&self) -> bool {
        let Ok(name) = CString::new(self.name.as_str()) else { return true };
        // SAFETY: a C string; with NOLOAD nothing is loaded, only looked up.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            return false;
        }
        // SAFETY: gives back what the lookup took.
        unsafe { libc::dlclose(handle) };
        true
    }

    /// The address of `symbol`, in `version` where the library has versions. Several verbs exist in two
    /// versions with different structures, and plain `dlsym` may return the older one.
    fn symbol(&self, symbol: &'static str, version: &CStr) -> Result<*mut c_void, LoadError> {
        let missing = || LoadError::Symbol { library: self.name.clone(), symbol };
        let c_symbol = CString::new(symbol).map_err(|_| missing())?;
        // SAFETY: the handle is open and both names are C strings.
        let mut address = unsafe { libc::dlvsym(self.handle, c_symbol.as_ptr(), version.as_ptr()) };
        if address.is_null() {
            // SAFETY: as above. A library without versions (the test double) answers here.
            address = unsafe { libc::dlsym(self.handle, c_symbol.as_ptr()) };
        }
        if address.is_null() { Err(missing()) } else { Ok(address) }
    }
}

// SAFETY: a handle is only a number to the dynamic loader, which may be called from any thread.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody has the table of functions any more.
        unsafe { libc::dlclose(self.handle) };
        let left_open =
            std::mem::take(self.left_open.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if left_open.is_empty() || self.is_still_loaded() {
            return;
        }
        let Ok(verbs) = VerbsLibrary::system() else { return };
        for context in left_open {
            // SAFETY: the library that opened it is gone from memory, so nobody else can use or close it.
            unsafe { (verbs.ibv_close_device)(context as *mut IbvContext) };
        }
    }
}

/// Declares a table of functions and its loader.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($name:ident @ $version:literal : fn($($arg:ty),*) $(-> $ret:ty)?;)* }) => {
        $(#[$doc])*
        #[expect(missing_docs, reason = "the names are the C header's")]
        #[derive(Debug)]
        pub struct $table {
            $(pub $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            #[allow(dead_code, reason = "held so that the functions above stay in memory")]
            library: Loaded,
        }

        impl $table {
            /// Loads the table from the library at `name` (a path, or a bare name for the loader to find).
            pub fn load(name: &str) -> Result<Arc<$table>, LoadError> {
                let loaded = Loaded::open(name)?;
                Ok(Arc::new($table {
                    $($name: {
                        let address = loaded.symbol(stringify!($name), $version)?;
                        // SAFETY: the C header of this library declares the symbol with this signature.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?>(address)
                        }
                    },)*
                    library: loaded,
                }))
            }
        }
    };
}

table! {
    /// Functions of `libibverbs.so.1`. Post and poll are not here: they are pointers in the context.
    VerbsLibrary {
        ibv_get_device_list @ c"IBVERBS_1.1": fn(*mut c_int) -> *mut *mut IbvDevice;
        ibv_free_device_list @ c"IBVERBS_1.1": fn(*mut *mut IbvDevice);
        ibv_get_device_name @ c"IBVERBS_1.1": fn(*mut IbvDevice) -> *const c_char;
        ibv_open_device @ c"IBVERBS_1.1": fn(*mut IbvDevice) -> *mut IbvContext;
        ibv_close_device @ c"IBVERBS_1.1": fn(*mut IbvContext) -> c_int;
        ibv_query_device @ c"IBVERBS_1.1": fn(*mut IbvContext, *mut IbvDeviceAttr) -> c_int;
        ibv_query_port @ c"IBVERBS_1.1": fn(*mut IbvContext, u8, *mut IbvPortAttr) -> c_int;
        ibv_alloc_pd @ c"IBVERBS_1.1": fn(*mut IbvContext) -> *mut IbvPd;
        ibv_dealloc_pd @ c"IBVERBS_1.1": fn(*mut IbvPd) -> c_int;
        ibv_reg_mr @ c"IBVERBS_1.1": fn(*mut IbvPd, *mut c_void, usize, c_int) -> *mut IbvMr;
        ibv_dereg_mr @ c"IBVERBS_1.1": fn(*mut IbvMr) -> c_int;
        ibv_create_comp_channel @ c"IBVERBS_1.0": fn(*mut IbvContext) -> *mut IbvCompChannel;
        ibv_destroy_comp_channel @ c"IBVERBS_1.0": fn(*mut IbvCompChannel) -> c_int;
        ibv_create_cq @ c"IBVERBS_1.1": fn(*mut IbvContext, c_int, *mut c_void, *mut IbvCompChannel, c_int) -> *mut IbvCq;
        ibv_destroy_cq @ c"IBVERBS_1.1": fn(*mut IbvCq) -> c_int;
        ibv_get_cq_event @ c"IBVERBS_1.1": fn(*mut IbvCompChannel, *mut *mut IbvCq, *mut *mut c_void) -> c_int;
        ibv_ack_cq_events @ c"IBVERBS_1.1": fn(*mut IbvCq, c_uint);
        ibv_create_qp @ c"IBVERBS_1.1": fn(*mut IbvPd, *mut IbvQpInitAttr) -> *mut IbvQp;
        ibv_modify_qp @ c"IBVERBS_1.1": fn(*mut IbvQp, *mut IbvQpAttr, c_int) -> c_int;
        ibv_destroy_qp @ c"IBVERBS_1.1": fn(*mut IbvQp) -> c_int;
        ibv_get_async_event @ c"IBVERBS_1.1": fn(*mut IbvContext, *mut IbvAsyncEvent) -> c_int;
        ibv_ack_async_event @ c"IBVERBS_1.1": fn(*mut IbvAsyncEvent);
    }
}

table! {
    /// Functions of `librdmacm.so.1`.
    ConnectionManagerLibrary {
        rdma_create_event_channel @ c"RDMACM_1.0": fn() -> *mut CmEventChannel;
        rdma_destroy_event_channel @ c"RDMACM_1.0": fn(*mut CmEventChannel);
        rdma_create_id @ c"RDMACM_1.0": fn(*mut CmEventChannel, *mut *mut CmId, *mut c_void, u32) -> c_int;
        rdma_destroy_id @ c"RDMACM_1.0": fn(*mut CmId) -> c_int;
        rdma_bind_addr @ c"RDMACM_1.0": fn(*mut CmId, *mut libc::sockaddr) -> c_int;
        rdma_listen @ c"RDMACM_1.0": fn(*mut CmId, c_int) -> c_int;
        rdma_set_option @ c"RDMACM_1.0": fn(*mut CmId, c_int, c_int, *mut c_void, usize) -> c_int;
        rdma_get_src_port @ c"RDMACM_1.0": fn(*mut CmId) -> u16;
        rdma_resolve_addr @ c"RDMACM_1.0": fn(*mut CmId, *mut libc::sockaddr, *mut libc::sockaddr, c_int) -> c_int;
        rdma_resolve_route @ c"RDMACM_1.0": fn(*mut CmId, c_int) -> c_int;
        rdma_connect @ c"RDMACM_1.0": fn(*mut CmId, *mut CmConnParam) -> c_int;
        rdma_accept @ c"RDMACM_1.0": fn(*mut CmId, *mut CmConnParam) -> c_int;
        rdma_reject @ c"RDMACM_1.0": fn(*mut CmId, *const c_void, u8) -> c_int;
        rdma_disconnect @ c"RDMACM_1.0": fn(*mut CmId) -> c_int;
        rdma_get_cm_event @ c"RDMACM_1.0": fn(*mut CmEventChannel, *mut *mut CmEvent) -> c_int;
        rdma_ack_cm_event @ c"RDMACM_1.0": fn(*mut CmEvent) -> c_int;
        rdma_init_qp_attr @ c"RDMACM_1.2": fn(*mut CmId, *mut IbvQpAttr, *mut c_int) -> c_int;
        rdma_establish @ c"RDMACM_1.2": fn(*mut CmId) -> c_int;
    }
}

impl VerbsLibrary {
    /// The system's library, loaded on first use.
    pub fn system() -> Result<Arc<VerbsLibrary>, LoadError> {
        static SYSTEM: OnceLock<Result<Arc<VerbsLibrary>, LoadError>> = OnceLock::new();
        SYSTEM.get_or_init(|| VerbsLibrary::load(VERBS_LIBRARY)).clone()
    }
}

impl ConnectionManagerLibrary {
    /// The system's library, loaded when it is needed and unloaded when it is not: once used, it keeps RDMA devices open
    /// for the life of the process. A server that waits for clients must not hold a device that somebody
    /// wants to remove.
    pub fn system() -> Result<Arc<ConnectionManagerLibrary>, LoadError> {
        static SYSTEM: Mutex<Weak<ConnectionManagerLibrary>> = Mutex::new(Weak::new());
        let mut known = SYSTEM.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(loaded) = known.upgrade() {
            return Ok(loaded);
        }
        let loaded = ConnectionManagerLibrary::load(CM_LIBRARY)?;
        *known = Arc::downgrade(&loaded);
        Ok(loaded)
    }

    /// Remembers a device that the library has opened for an identifier, to be closed once the library is gone.
    pub(crate) fn has_opened(&self, context: *mut IbvContext) {
        let mut known = self.library.left_open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !context.is_null() && !known.contains(&(context as usize)) {
            known.push(context as usize);
        }
    }
}
