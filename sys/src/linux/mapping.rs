//! Anonymous memory of its own for a [`Region`](crate::region::Region), and advice about its pages.

use std::io;
use std::ptr::NonNull;

use crate::region::Pages;

/// Maps `bytes` (whole pages) of zeroed memory.
pub(crate) fn map(bytes: usize, pages: Pages) -> io::Result<NonNull<u8>> {
    // Huge pages are reserved at once: without that the mapping succeeds and the first touch kills the process.
    let kind = if pages == Pages::Huge { libc::MAP_HUGETLB } else { libc::MAP_NORESERVE };
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | kind,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let base = NonNull::new(base.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
    if pages == Pages::Small {
        // Advice only: a kernel without transparent huge pages refuses it, and needs it not.
        // SAFETY: the range is exactly the mapping made above.
        unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE) };
    }
    Ok(base)
}

/// Gives a mapping back.
///
/// # Safety
/// `base` and `bytes` are those of one call of [`map`], and nobody uses the memory any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: as the caller vouches.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}

/// Asks for huge pages where the system grants them on request only. Advice: a kernel that cannot is no fault.
///
/// # Safety
/// The range is one mapping.
pub(crate) unsafe fn advise_huge_pages(base: *mut u8, bytes: usize) {
    // SAFETY: as the caller vouches; the advice changes no contents.
    unsafe { libc::madvise(base.cast(), bytes, libc::MADV_HUGEPAGE) };
}

/// Makes the pages of a range present and writable (`MADV_POPULATE_WRITE`, Linux 5.14). `Ok(false)`: this kernel cannot,
/// and they come when they are first touched.
///
/// # Safety
/// The range lies inside one mapping and begins with a page.
pub(crate) unsafe fn populate(at: *mut u8, bytes: usize) -> io::Result<bool> {
    // SAFETY: as the caller vouches; contents stay.
    if unsafe { libc::madvise(at.cast(), bytes, libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(false) } else { Err(error) }
}
