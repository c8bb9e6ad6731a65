//! Kerberos through the GSSAPI library that the system has, loaded when the first logon asks for it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use crate::kerberos::{KerberosError, Round};

/// MIT's library, then Heimdal's; both keep the interface of RFC 2744.
const LIBRARIES: [&CStr; 2] = [c"libgssapi_krb5.so.2", c"libgssapi.so.3"];

type Status = u32;
type Handle = *mut c_void;

const COMPLETE: Status = 0;
const CONTINUE_NEEDED: Status = 1;
/// The upper half of a major status: an error, whatever it is.
const ERROR_MASK: Status = 0xFFFF_0000;
const INITIATE: c_int = 1;
const MUTUAL: u32 = 2;
const INTEGRITY: u32 = 32;
const FOR_MAJOR: c_int = 1;
const FOR_MINOR: c_int = 2;

/// A text or a token. The library's are given back with `gss_release_buffer`.
#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

impl Buffer {
    const EMPTY: Buffer = Buffer { length: 0, value: null_mut() };

    /// Of bytes that outlive the call it is for.
    fn of(bytes: &[u8]) -> Buffer {
        Buffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
    }

    /// A copy of what it holds.
    ///
    /// # Safety
    /// `value` is null or points at `length` bytes.
    unsafe fn bytes(&self) -> Vec<u8> {
        if self.value.is_null() || self.length == 0 {
            return vec![];
        }
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.value.cast::<u8>(), self.length) }.to_vec()
    }
}

/// The name of a kind (of mechanism, of name, of question), as DER has it.
#[repr(C)]
struct Oid {
    length: u32,
    elements: *const c_void,
}

// SAFETY: it points at constant bytes.
unsafe impl Sync for Oid {}

impl Oid {
    const fn of(bytes: &'static [u8]) -> Oid {
        Oid { length: bytes.len() as u32, elements: bytes.as_ptr().cast() }
    }
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

#[repr(C)]
struct BufferSet {
    count: usize,
    elements: *const Buffer,
}

/// 1.3.6.1.5.5.2
static SPNEGO: Oid = Oid::of(&[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02]);
/// 1.2.840.113554.1.2.2
static KERBEROS: Oid = Oid::of(&KERBEROS_BYTES);
const KERBEROS_BYTES: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];
/// 1.2.840.113554.1.2.1.4: a service at a host.
static HOST_SERVICE: Oid = Oid::of(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x01, 0x04]);
/// 1.2.840.113554.1.2.2.5.5: the key of a session, as SSPI gives it.
static SESSION_KEY: Oid = Oid::of(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02, 0x05, 0x05]);

/// Declares the table of functions and its loader.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*);)*) => {
        struct Library {
            $($name: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Library {
            /// The table out of a library that stays loaded for the rest of the process.
            fn of(handle: *mut c_void, library: &'static CStr) -> Result<Library, KerberosError> {
                Ok(Library {
                    $($name: {
                        let symbol = concat!(stringify!($name), "\0");
                        // SAFETY: an open handle and a C string.
                        let address = unsafe { libc::dlsym(handle, symbol.as_ptr().cast::<c_char>()) };
                        if address.is_null() {
                            let library = library.to_str().unwrap_or_default();
                            return Err(KerberosError::OldLibrary { library, symbol: stringify!($name) });
                        }
                        // SAFETY: RFC 2744 (and the header of both libraries) gives the function this type.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> Status>(address) }
                    },)*
                })
            }
        }
    };
}

functions! {
    gss_import_name: fn(*mut Status, *const Buffer, *const Oid, *mut Handle);
    gss_release_name: fn(*mut Status, *mut Handle);
    gss_acquire_cred: fn(*mut Status, Handle, u32, *const OidSet, c_int, *mut Handle, *mut *mut OidSet, *mut u32);
    gss_set_neg_mechs: fn(*mut Status, Handle, *const OidSet);
    gss_release_cred: fn(*mut Status, *mut Handle);
    gss_init_sec_context: fn(*mut Status, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const c_void, *const Buffer, *mut *const Oid, *mut Buffer, *mut u32, *mut u32);
    gss_inquire_context: fn(*mut Status, Handle, *mut Handle, *mut Handle, *mut u32, *mut *const Oid, *mut u32, *mut c_int, *mut c_int);
    gss_inquire_sec_context_by_oid: fn(*mut Status, Handle, *const Oid, *mut *mut BufferSet);
    gss_delete_sec_context: fn(*mut Status, *mut Handle, *mut Buffer);
    gss_release_buffer: fn(*mut Status, *mut Buffer);
    gss_release_buffer_set: fn(*mut Status, *mut *mut BufferSet);
    gss_display_status: fn(*mut Status, Status, c_int, *const Oid, *mut u32, *mut Buffer);
}

/// The library, loaded once and never unloaded: it keeps state of its own.
fn library() -> Result<&'static Library, KerberosError> {
    static LOADED: OnceLock<Result<Library, KerberosError>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Library, KerberosError> {
    let mut reason = String::new();
    for name in LIBRARIES {
        // SAFETY: a C string; the library's constructors are those of the system's Kerberos.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if !handle.is_null() {
            return Library::of(handle, name);
        }
        if reason.is_empty() {
            // SAFETY: after a failed dlopen this is null or a C string that is valid until this thread's next call of the loader.
            let words = unsafe {
                let text = libc::dlerror();
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            };
            reason = words.unwrap_or_else(|| "no reason given".into());
        }
    }
    Err(KerberosError::NoLibrary { reason })
}

impl Library {
    /// What the library says of a status: first what kind, then what exactly.
    fn words(&self, major: Status, minor: Status) -> String {
        let mut said = vec![];
        for (status, kind) in [(minor, FOR_MINOR), (major, FOR_MAJOR)] {
            let (mut more, mut ours, mut text) = (0, 0, Buffer::EMPTY);
            // SAFETY: all arguments are valid for the call; `text` is given back below.
            let done = unsafe {
                (self.gss_display_status)(&mut ours, status, kind, &KERBEROS, &mut more, &mut text)
            };
            if done != COMPLETE {
                continue;
            }
            // SAFETY: the library filled it.
            said.push(String::from_utf8_lossy(&unsafe { text.bytes() }).trim().to_owned());
            // SAFETY: the library's own buffer.
            unsafe { (self.gss_release_buffer)(&mut ours, &mut text) };
        }
        // The exact words tell it all, where there are any.
        said.into_iter()
            .find(|words| !words.is_empty() && words != "Success")
            .unwrap_or_else(|| format!("status {major:#x}, {minor:#x}"))
    }

    fn check(&self, what: &'static str, major: Status, minor: Status) -> Result<(), KerberosError> {
        match major & ERROR_MASK {
            0 => Ok(()),
            _ => Err(KerberosError::Refused { what, why: self.words(major, minor) }),
        }
    }
}

/// One logon of the user whose tickets the system's library finds (the credential cache; `kinit` fills it).
///
/// No ticket is passed on (no delegation), and nothing but Kerberos is agreed to.
pub struct Dialogue {
    library: &'static Library,
    name: Handle,
    credential: Handle,
    context: Handle,
    mutual: bool,
}

impl Dialogue {
    /// Begins a logon at the service `service` of `host`; nothing is sent yet.
    pub fn begin(service: &str, host: &str) -> Result<Self, KerberosError> {
        let library = library()?;
        let mut dialogue = Dialogue {
            library,
            name: null_mut(),
            credential: null_mut(),
            context: null_mut(),
            mutual: false,
        };
        let target = format!("{service}@{host}");
        let mut minor = 0;
        // SAFETY: the buffer lives through the call, and the name is given back by `drop`.
        let major = unsafe {
            (library.gss_import_name)(
                &mut minor,
                &Buffer::of(target.as_bytes()),
                &HOST_SERVICE,
                &mut dialogue.name,
            )
        };
        library.check("the server's name", major, minor)?;
        let (negotiated, kerberos) =
            (OidSet { count: 1, elements: &SPNEGO }, OidSet { count: 1, elements: &KERBEROS });
        // SAFETY: sets and names live through the calls; the credential is given back by `drop`.
        let major = unsafe {
            (library.gss_acquire_cred)(
                &mut minor,
                null_mut(),
                u32::MAX,
                &negotiated,
                INITIATE,
                &mut dialogue.credential,
                null_mut(),
                null_mut(),
            )
        };
        library.check("this user's tickets", major, minor)?;
        // Otherwise other mechanisms that are installed might offer what nobody asked for: an answer to NTLM, say.
        // SAFETY: as above.
        let major = unsafe { (library.gss_set_neg_mechs)(&mut minor, dialogue.credential, &kerberos) };
        library.check("Kerberos alone", major, minor)?;
        Ok(dialogue)
    }

    /// The next token, after what the other end said: nothing in the first round. May ask a key distribution centre, for as long as the
    /// system's configuration lets it.
    pub fn round(&mut self, answer: &[u8]) -> Result<Round, KerberosError> {
        let (mut minor, mut token, mut flags) = (0, Buffer::EMPTY, 0);
        // SAFETY: every pointer is valid for the call; the token is given back below, the context by `drop`.
        let major = unsafe {
            (self.library.gss_init_sec_context)(
                &mut minor,
                self.credential,
                &mut self.context,
                self.name,
                &SPNEGO,
                MUTUAL | INTEGRITY,
                0,
                null(),
                &Buffer::of(answer),
                null_mut(),
                &mut token,
                &mut flags,
                null_mut(),
            )
        };
        // SAFETY: the library filled it, or left it empty.
        let bytes = unsafe { token.bytes() };
        let mut ours = 0;
        // SAFETY: the library's own buffer.
        unsafe { (self.library.gss_release_buffer)(&mut ours, &mut token) };
        self.library.check("a ticket for the server", major, minor)?;
        self.mutual = flags & MUTUAL != 0;
        Ok(Round { token: bytes, is_complete: major & CONTINUE_NEEDED == 0 })
    }

    /// The key that both ends share, after the last round.
    pub fn session_key(&self) -> Result<Vec<u8>, KerberosError> {
        if !self.mutual || !self.is_kerberos() {
            return Err(KerberosError::Unproved);
        }
        let (mut minor, mut set) = (0, null_mut::<BufferSet>());
        // SAFETY: the context stands; the set is given back below.
        let major = unsafe {
            (self.library.gss_inquire_sec_context_by_oid)(&mut minor, self.context, &SESSION_KEY, &mut set)
        };
        self.library.check("the session's key", major, minor)?;
        let key = if set.is_null() {
            vec![]
        } else {
            // SAFETY: the library made the set; its first buffer is the key, where there is one.
            unsafe { if (*set).count == 0 { vec![] } else { (*(*set).elements).bytes() } }
        };
        // SAFETY: the library's own set.
        unsafe { (self.library.gss_release_buffer_set)(&mut minor, &mut set) };
        match key.is_empty() {
            true => Err(KerberosError::Refused { what: "the session's key", why: "there is none".into() }),
            false => Ok(key),
        }
    }

    /// Whether what was agreed on is Kerberos.
    fn is_kerberos(&self) -> bool {
        let (mut minor, mut mechanism, mut is_open) = (0, null::<Oid>(), 0);
        // SAFETY: the context may be null, which the library refuses; what is not asked for is null.
        let major = unsafe {
            (self.library.gss_inquire_context)(
                &mut minor,
                self.context,
                null_mut(),
                null_mut(),
                null_mut(),
                &mut mechanism,
                null_mut(),
                null_mut(),
                &mut is_open,
            )
        };
        if major != COMPLETE || is_open == 0 || mechanism.is_null() {
            return false;
        }
        // SAFETY: the library's own constant.
        let bytes = unsafe {
            std::slice::from_raw_parts((*mechanism).elements.cast::<u8>(), (*mechanism).length as usize)
        };
        bytes == KERBEROS_BYTES
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: each handle is the library's or null, and is used by nobody else.
        unsafe {
            if !self.context.is_null() {
                (self.library.gss_delete_sec_context)(&mut minor, &mut self.context, null_mut());
            }
            if !self.credential.is_null() {
                (self.library.gss_release_cred)(&mut minor, &mut self.credential);
            }
            if !self.name.is_null() {
                (self.library.gss_release_name)(&mut minor, &mut self.name);
            }
        }
    }
}
