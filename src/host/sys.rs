//! Probes for which there is no safe wrapper.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::{Feature, ask};

/// close_range(2), of numbers that no descriptor of this process has: only whether it is there.
///
/// # Errors
/// ENOSYS where it is not; what a filter on system calls answers.
pub(crate) fn close_range_of_nothing() -> Result<(), Errno> {
    const NONE: libc::c_uint = libc::c_uint::MAX;
    ask(Feature::CloseRange, || {
        // SAFETY: plain numbers, and no descriptor has this one: they are never negative as an int.
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, NONE, NONE, 0) }).map(drop)
    })
}

/// A new io_uring(7) instance with room for one request; close-on-exec, as all of them are.
///
/// # Errors
/// ENOSYS where there is none (Linux 5.1), EPERM where none is allowed (`kernel.io_uring_disabled`, a filter).
pub(crate) fn io_uring() -> Result<OwnedFd, Errno> {
    // struct io_uring_params
    let mut params = [0_u32; 30];
    // SAFETY: the parameters are writable and as long as the kernel's.
    let made = Errno::result(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) })?;
    let fd = i32::try_from(made).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers `files` with an io_uring instance (IORING_REGISTER_FILES); -1 leaves a place empty (Linux 5.5).
///
/// # Errors
/// What the kernel answers: EBADF where it allows no empty places, EMFILE beyond RLIMIT_NOFILE.
pub(crate) fn register_files(ring: BorrowedFd<'_>, files: &[RawFd]) -> Result<(), Errno> {
    const REGISTER_FILES: libc::c_int = 2;
    // SAFETY: the numbers are readable, as many as said.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_FILES,
            files.as_ptr(),
            files.len(),
        )
    };
    Errno::result(done).map(drop)
}

/// Memory of which no page is there. Who touches it waits as long as its [`Faults`] live, then reads zeroes.
#[derive(Debug)]
pub(crate) struct MissingPage(NonZeroUsize);

/// Whether somebody waits for a [`MissingPage`] can be polled for.
#[derive(Debug)]
pub(crate) struct Faults(OwnedFd, Range);

/// struct uffdio_range
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

impl MissingPage {
    /// Of any processor: as long as the longest page of any, and thus at a multiple of its own.
    const LEN: usize = 65536;

    /// Makes one.
    ///
    /// # Errors
    /// What userfaultfd(2) answers: ENOSYS where the kernel has none, EPERM where the user may have none.
    pub(crate) fn new() -> Result<(Self, Faults), Errno> {
        // ioctl_userfaultfd(2), <linux/userfaultfd.h>.
        const UFFDIO_API: u32 = 0xc018_aa3f;
        const UFFDIO_REGISTER: u32 = 0xc020_aa00;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where the kernel likes.
        let at =
            unsafe { libc::mmap(null_mut(), Self::LEN, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let page = Self(NonZeroUsize::new(at.expose_provenance()).ok_or(Errno::EFAULT)?);
        // SAFETY: no pointers.
        let made = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        let fd = i32::try_from(Errno::result(made)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made it for this process.
        let faults = unsafe { OwnedFd::from_raw_fd(fd) };
        let range = Range { start: page.0.get() as u64, len: Self::LEN as u64 };
        // struct uffdio_api, and uffdio_register with UFFDIO_REGISTER_MODE_MISSING.
        let mut api = [0xaa_u64, 0, 0];
        let mut register = [range.start, range.len, 1, 0];
        // SAFETY: the structures are as long as those of the requests, and outlive the calls.
        unsafe {
            Errno::result(libc::syscall(libc::SYS_ioctl, fd, UFFDIO_API, api.as_mut_ptr()))?;
            Errno::result(libc::syscall(libc::SYS_ioctl, fd, UFFDIO_REGISTER, register.as_mut_ptr()))?;
        }
        Ok((page, Faults(faults, range)))
    }

    /// Has the kernel read what to do with the files of an io_uring instance in the page, for which it holds that
    /// instance's lock. As it reads zeroes, it does nothing.
    pub(crate) fn use_ring(&self, ring: BorrowedFd<'_>) {
        const REGISTER_FILES_UPDATE: libc::c_int = 6;
        // SAFETY: the page is longer than struct io_uring_files_update, which the kernel only reads. All zeroes, it names no
        // descriptors (EFAULT).
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                REGISTER_FILES_UPDATE,
                self.0.get(),
                1,
            )
        };
    }
}

impl Drop for MissingPage {
    fn drop(&mut self) {
        // SAFETY: nobody else has the mapping, and no reference into it is ever made.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(self.0.get()), Self::LEN) };
    }
}

impl AsFd for Faults {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Faults {
    /// Who waits goes on, also if a child has got a copy of the descriptor meanwhile.
    fn drop(&mut self) {
        const UFFDIO_UNREGISTER: u32 = 0x8010_aa01;
        // SAFETY: the structure is that of the request, and outlives the call.
        unsafe { libc::syscall(libc::SYS_ioctl, self.0.as_raw_fd(), UFFDIO_UNREGISTER, &raw mut self.1) };
    }
}
