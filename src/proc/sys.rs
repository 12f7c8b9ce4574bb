//! System calls that no safe wrapper offers, or not without an allocation each time.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;

use crate::host::{self, Feature};
use crate::ids::{Pid, Tid};

/// Longest link text. The kernel builds it in PATH_MAX (4,096) bytes, its end mark included, and fails with
/// ENAMETOOLONG beyond (`do_proc_readlink`, fs/proc/base.c), so nothing is ever cut off at this length.
const LINK_MAX: usize = 4096;

/// Room for one link text, not cleared before use.
pub(super) struct LinkBuf([MaybeUninit<u8>; LINK_MAX]);

impl LinkBuf {
    pub(super) const fn new() -> Self {
        Self([MaybeUninit::uninit(); LINK_MAX])
    }
}

/// readlinkat(2) into a caller's buffer. ENAMETOOLONG if the text might have been cut off.
pub(super) fn readlinkat<'b, P: NixPath + ?Sized>(
    dir: BorrowedFd<'_>,
    name: &P,
    buf: &'b mut LinkBuf,
) -> Result<&'b [u8], Errno> {
    // SAFETY: `name` is NUL-terminated, and the kernel writes at most LINK_MAX bytes into `buf`, which holds
    // that many and is borrowed for the call.
    let written = name.with_nix_path(|name| unsafe {
        libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buf.0.as_mut_ptr().cast(), LINK_MAX)
    })?;
    let written = usize::try_from(written).map_err(|_| Errno::last())?;
    if written >= LINK_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    // SAFETY: the call succeeded, so the kernel has written the first `written` bytes, and `written` is below
    // the buffer's length.
    Ok(unsafe { std::slice::from_raw_parts(buf.0.as_ptr().cast(), written) })
}

/// Bytes asked for by one getdents64: some 340 descriptors.
const DIR_BUF: usize = 8192;

/// Room for directory entries, not cleared before use, aligned as the kernel's records are.
#[repr(align(8))]
pub(super) struct DirBuf([MaybeUninit<u8>; DIR_BUF]);

impl DirBuf {
    pub(super) const fn new() -> Self {
        Self([MaybeUninit::uninit(); DIR_BUF])
    }
}

/// getdents64(2): the next records of a directory; empty at its end.
pub(super) fn getdents64<'b>(dir: BorrowedFd<'_>, buf: &'b mut DirBuf) -> Result<&'b [u8], Errno> {
    // SAFETY: the kernel writes at most DIR_BUF bytes into `buf`, which holds that many and is borrowed for
    // the call.
    let written =
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buf.0.as_mut_ptr(), DIR_BUF) };
    let written = usize::try_from(written).map_err(|_| Errno::last())?;
    // SAFETY: the call succeeded, so the kernel has written the first `written` bytes, at most DIR_BUF.
    Ok(unsafe { std::slice::from_raw_parts(buf.0.as_ptr().cast(), written) })
}

/// pidfd_open(2), Linux 5.3. Close-on-exec by itself.
pub(super) fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    open_pidfd(pid.as_raw(), 0)
}

/// As [`pidfd_open`], of a thread (PIDFD_THREAD, Linux 6.9).
pub(super) fn pidfd_open_thread(tid: Tid) -> Result<OwnedFd, Errno> {
    // `linux/pidfd.h`: PIDFD_THREAD is O_EXCL.
    host::ask(Feature::PidfdThread, || open_pidfd(tid.as_raw(), libc::O_EXCL.cast_unsigned()))
}

fn open_pidfd(number: i32, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    let raw = host::ask(Feature::PidfdOpen, || {
        // SAFETY: takes two numbers and touches no memory of ours.
        Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, number, flags) })
    })?;
    let raw = i32::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// pidfd_send_signal(2), Linux 5.1.
pub(super) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let (no_info, flags) = (std::ptr::null::<libc::siginfo_t>(), 0_u32);
    // SAFETY: numbers, and a null pointer, which the call takes for "as kill(2) would".
    let answer =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, flags) };
    Errno::result(answer).map(drop)
}

/// `struct pidfd_info` as it was at first (PIDFD_INFO_SIZE_VER0, linux/pidfd.h).
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    users: [u32; 8],
    exit_code: i32,
}

nix::ioctl_readwrite!(pidfd_get_info, 0xff, 11, PidfdInfo);

/// The parent of the process that `pidfd` is of (`PIDFD_GET_INFO`, ioctl_pidfd(2), Linux 6.13). Of one whose parent is
/// outside of our pid namespace: 0.
pub(super) fn pidfd_parent(pidfd: BorrowedFd<'_>) -> Result<u32, Errno> {
    const PIDFD_INFO_PID: u64 = 1;
    let mut info = PidfdInfo { mask: PIDFD_INFO_PID, ..PidfdInfo::default() };
    host::ask(Feature::PidfdInfo, || {
        // SAFETY: the request's number has the size of `info` in it, which is alive for the call.
        unsafe { pidfd_get_info(pidfd.as_raw_fd(), &raw mut info) }
    })?;
    if info.mask & PIDFD_INFO_PID == 0 { Err(Errno::ENODATA) } else { Ok(info.ppid) }
}

/// Whether two threads share one descriptor table (kcmp(2), Linux 3.5).
pub(super) fn same_descriptor_table(one: Tid, other: Tid) -> Result<bool, Errno> {
    const KCMP_FILES: libc::c_long = 2;
    let order = host::ask(Feature::Kcmp, || {
        // SAFETY: plain numbers.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_kcmp, one.as_raw(), other.as_raw(), KCMP_FILES, 0, 0)
        })
    });
    order.map(|order| order == 0)
}
