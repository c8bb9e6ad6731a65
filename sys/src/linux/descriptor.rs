//! What stands for an open socket, pipe or file.

use std::os::fd::{AsFd, BorrowedFd};

/// What the system calls an open socket, pipe or file, borrowed.
pub type Descriptor<'a> = BorrowedFd<'a>;

/// Whatever has one.
pub trait AsDescriptor {
    /// It, for as long as its owner keeps it open.
    fn descriptor(&self) -> Descriptor<'_>;
}

impl<T: AsFd + ?Sized> AsDescriptor for T {
    fn descriptor(&self) -> Descriptor<'_> {
        self.as_fd()
    }
}
