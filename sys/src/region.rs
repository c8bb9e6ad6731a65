//! [`Region`]: page-aligned memory that lanes and other threads share without borrowing it.
//!
//! A region is mapped once and shared by `Arc` between all lanes of a step, the adapter that reads and writes
//! it by DMA, and the threads that dirty it in a migration rehearsal. It therefore never hands out a
//! reference to its bytes: it copies in and out, and does the socket calls on its own memory, so that callers
//! need neither `unsafe` nor lifetimes (`transfer.rs` of each system). Races between writers are part of the model (a migration source reads
//! pages that are being dirtied). What makes them defined stands in `shared.rs`, through which every access
//! of ours goes: they can tear what lies in several words, and nothing else.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::system::mapping;

mod pages;
mod shared;

/// Size of a base page in bytes. All supported targets use 4 KiB pages for anonymous memory.
pub const PAGE_BYTES: u64 = 4096;

/// Which pages a region is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Whatever the system gives (transparent huge pages allowed).
    Default,
    /// Base pages only (`MADV_NOHUGEPAGE`), for dirty tracking that must be exact to 4 KiB.
    Small,
    /// Explicit 2 MiB pages (`MAP_HUGETLB`); fails when none are reserved.
    Huge,
}

/// Why a region could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The system would not map so much memory.
    #[error("cannot map {bytes} bytes of memory ({pages:?} pages): {source}; ask for less, or free some")]
    Map {
        /// Bytes asked for.
        bytes: u64,
        /// Kind of pages.
        pages: Pages,
        /// What the system said.
        source: io::Error,
    },
    /// An offset or length lies outside.
    #[error("bytes {offset}..+{len} lie outside the region of {bytes} bytes")]
    Range {
        /// Start, in bytes.
        offset: u64,
        /// Length, in bytes.
        len: u64,
        /// Size of the region, in bytes.
        bytes: u64,
    },
}

/// Page-aligned memory of fixed size, zero at first.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: u64,
    mapped_bytes: usize,
}

// SAFETY: the mapping is owned by this value alone and lives until drop. Rust code accesses it by relaxed atomics of one
// size only (`shared.rs`); the kernel and the adapter, which are given its address, are outside the language.
// There is no reference to its bytes, so threads that share it can neither alias nor race.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `bytes` (rounded up to whole pages) of zeroed memory.
    pub fn new(bytes: u64, pages: Pages) -> Result<Region, RegionError> {
        let unit = if pages == Pages::Huge { 2 << 20 } else { PAGE_BYTES };
        let fail = |source| RegionError::Map { bytes, pages, source };
        let rounded = bytes
            .max(1)
            .checked_next_multiple_of(unit)
            .ok_or_else(|| fail(io::ErrorKind::OutOfMemory.into()))?;
        let mapped_bytes = usize::try_from(rounded).map_err(|_| fail(io::ErrorKind::OutOfMemory.into()))?;
        let base = mapping::map(mapped_bytes, pages).map_err(fail)?;
        Ok(Region { base, bytes, mapped_bytes })
    }

    /// Maps `bytes` of huge pages, or where none are reserved, ordinary memory with the advice to use some. Says which,
    /// and why.
    pub fn prefer_huge(bytes: u64) -> Result<(Region, String), RegionError> {
        match Region::new(bytes, Pages::Huge) {
            Ok(region) => Ok((region, "huge pages of 2 MiB".into())),
            Err(RegionError::Map { source, .. }) => {
                let region = Region::new(bytes, Pages::Default)?;
                region.prefer_huge_pages();
                let words = format!(
                    "ordinary pages, transparent huge ones advised: no huge pages are reserved ({source}; sysctl \
                     vm.nr_hugepages)"
                );
                Ok((region, words))
            }
            Err(other) => Err(other),
        }
    }

    /// Usable size in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether the region has no usable byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Address of the first byte, for registration with an adapter or the kernel, and for arithmetic. Rust code that
    /// accesses memory through it breaks the rule that makes regions sound (`shared.rs`).
    pub fn base_address(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes mapped, a multiple of the page size.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes as u64
    }

    /// Checks that `offset..offset+len` lies inside.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), RegionError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(RegionError::Range { offset, len, bytes: self.bytes }),
        }
    }

    /// Pointer to `offset`, after checking that `len` bytes follow it.
    pub(crate) fn at(&self, offset: u64, len: u64) -> Result<*mut u8, RegionError> {
        self.check(offset, len)?;
        // SAFETY: `offset` was just checked to lie inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(offset as usize) })
    }

    /// Copies `source` to `offset`. Others may see some words of it before the rest.
    pub fn copy_in(&self, offset: u64, source: &[u8]) -> Result<(), RegionError> {
        let target = self.at(offset, source.len() as u64)?;
        // SAFETY: the range is inside the mapping, whose length is a multiple of eight.
        unsafe { shared::store(target, source) };
        Ok(())
    }

    /// Copies from `offset` into `target`. While others write, some words are old and some new.
    pub fn copy_out(&self, offset: u64, target: &mut [u8]) -> Result<(), RegionError> {
        let source = self.at(offset, target.len() as u64)?;
        // SAFETY: as in `copy_in`.
        unsafe { shared::load(source, target) };
        Ok(())
    }

    /// Sets `len` bytes at `offset` to `byte`.
    pub fn fill(&self, offset: u64, len: u64, byte: u8) -> Result<(), RegionError> {
        let target = self.at(offset, len)?;
        // SAFETY: as in `copy_in`.
        unsafe { shared::fill(target, len as usize, byte) };
        Ok(())
    }

    /// Whether `len` bytes at `offset` are all zero. Reads no further than the first byte that is not, rounded
    /// up to 256 bytes; on the whole it runs at the speed of memory.
    pub fn is_zero(&self, offset: u64, len: u64) -> Result<bool, RegionError> {
        let at = self.at(offset, len)?;
        // SAFETY: as in `copy_in`.
        Ok(unsafe { shared::is_zero(at, len as usize) })
    }

    /// The 8-byte word at `offset` as an atomic; `offset` must be a multiple of 8.
    fn word(&self, offset: u64) -> Result<&AtomicU64, RegionError> {
        let at = self.at(offset, 8)?;
        if !offset.is_multiple_of(8) {
            return Err(RegionError::Range { offset, len: 8, bytes: self.bytes });
        }
        // SAFETY: inside the mapping, aligned, alive as long as `self`.
        Ok(unsafe { shared::word(at) })
    }

    /// Stores a word at `offset` (a multiple of 8) so that a concurrent reader sees it whole.
    pub fn store_word(&self, offset: u64, value: u64) -> Result<(), RegionError> {
        self.word(offset)?.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Loads the word at `offset` (a multiple of 8).
    pub fn load_word(&self, offset: u64) -> Result<u64, RegionError> {
        Ok(self.word(offset)?.load(Ordering::Relaxed))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; lanes hold an `Arc`, so none uses it any more.
        unsafe { mapping::unmap(self.base, self.mapped_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_the_rest_stays_zero() {
        let region = Region::new(10_000, Pages::Default).unwrap();
        region.copy_in(4_090, b"across a page").unwrap();
        let mut back = [0u8; 15];
        region.copy_out(4_089, &mut back).unwrap();
        assert_eq!(&back, b"\0across a page\0");
    }

    #[test]
    fn nothing_outside_is_touched() {
        let region = Region::new(4096, Pages::Small).unwrap();
        assert!(region.copy_in(4090, b"too long").is_err());
        assert!(region.check(u64::MAX, 2).is_err());
        assert!(region.store_word(4, 1).is_err(), "unaligned");
        assert!(region.load_word(4096).is_err(), "past the end");
    }

    #[test]
    fn huge_pages_or_the_reason_why_not() {
        let (region, words) = Region::prefer_huge(3 << 20).unwrap();
        region.fill(0, 3 << 20, 7).unwrap();
        assert!(words.contains("huge pages of 2 MiB") || words.contains("vm.nr_hugepages"), "{words}");
    }

    #[test]
    fn an_impossible_size_is_an_error_and_not_a_panic() {
        assert!(matches!(Region::new(u64::MAX, Pages::Default), Err(RegionError::Map { .. })));
        assert!(matches!(Region::new(1 << 60, Pages::Default), Err(RegionError::Map { .. })));
    }
}
