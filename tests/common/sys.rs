//! Signals and waiting, where std and nix don't offer what is needed.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::c_int;

use super::wait_until;

/// kill(2).
#[track_caller]
pub(crate) fn kill(pid: u32, signal: c_int) {
    // SAFETY: no pointers.
    let result = unsafe { libc::kill(pid.cast_signed(), signal) };
    assert_eq!(result, 0, "kill {pid}: {}", io::Error::last_os_error());
}

/// kill(2): SIGKILL for the process group that `pid` leads, or has led; it may be gone.
#[track_caller]
pub(crate) fn kill_group_of(pid: u32) {
    // SAFETY: no pointers.
    let result = unsafe { libc::kill(-pid.cast_signed(), libc::SIGKILL) };
    let error = io::Error::last_os_error();
    assert!(result == 0 || error.raw_os_error() == Some(libc::ESRCH), "kill group {pid}: {error}");
}

/// A process, held (pidfd_open(2)).
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    #[track_caller]
    pub(crate) fn open(pid: u32) -> Self {
        Self::try_open(pid).unwrap_or_else(|| panic!("there is no process {pid}"))
    }

    /// `None` if there is no such process any more.
    #[track_caller]
    pub(crate) fn try_open(pid: u32) -> Option<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).expect("a descriptor");
        let error = io::Error::last_os_error();
        assert!(fd >= 0 || error.raw_os_error() == Some(libc::ESRCH), "pidfd_open {pid}: {error}");
        // SAFETY: if it is none of these errors, the kernel has just made it for this process.
        (fd >= 0).then(|| Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        wait_until("the end of a process", || self.has_ended());
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, alive for the call.
        (unsafe { libc::poll(&raw mut entry, 1, 0) }) == 1
    }

    /// Sends it SIGKILL; it may have ended.
    #[track_caller]
    pub(crate) fn kill(&self) {
        let none = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: no siginfo is given.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, none, 0) };
        let error = io::Error::last_os_error();
        assert!(sent == 0 || error.raw_os_error() == Some(libc::ESRCH), "pidfd_send_signal: {error}");
    }
}

/// Sets the soft RLIMIT_NOFILE of a process (prlimit(2)).
#[track_caller]
pub(crate) fn limit_descriptors(pid: u32, most: i32) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is alive for both calls.
    let set = unsafe {
        libc::prlimit(pid.cast_signed(), libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limits);
        limits.rlim_cur = most.unsigned_abs().into();
        libc::prlimit(pid.cast_signed(), libc::RLIMIT_NOFILE, &raw const limits, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "prlimit {pid}: {}", io::Error::last_os_error());
}

/// tgkill(2).
#[track_caller]
pub(crate) fn kill_thread(pid: u32, tid: u32, signal: c_int) {
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
    assert_eq!(result, 0, "tgkill {tid} of {pid}: {}", io::Error::last_os_error());
}

/// sigqueue(3) with a number; `false` when the queue is full.
#[track_caller]
pub(crate) fn queue(pid: u32, signal: c_int, number: usize) -> bool {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(number) };
    // SAFETY: the pointer in the value is a mere number for both sides.
    if unsafe { libc::sigqueue(pid.cast_signed(), signal, value) } == 0 {
        return true;
    }
    let error = io::Error::last_os_error();
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "sigqueue {pid}: {error}");
    false
}

/// Takes a report that our child `pid` has stopped or continued, if there is one (waitid(2)); the `si_code`.
#[track_caller]
pub(crate) fn job_control_report(pid: u32) -> Option<c_int> {
    // SAFETY: all zeroes is a valid siginfo_t, and it is writable.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
        (libc::waitid(libc::P_PID, pid, &raw mut info, options), info)
    };
    assert_eq!(result, 0, "waitid {pid}: {}", io::Error::last_os_error());
    // SAFETY: waitid fills the fields of a child's change, or leaves them zero when there was none.
    (unsafe { info.si_pid() } != 0).then_some(info.si_code)
}

/// A copy of a descriptor of another process (pidfd_getfd(2)).
#[track_caller]
pub(crate) fn copy_of(pid: u32, fd: i32) -> OwnedFd {
    let process = Pidfd::open(pid);
    // SAFETY: no pointers.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.0.as_raw_fd(), fd, 0) };
    let copy = i32::try_from(copy).expect("a descriptor");
    assert!(copy >= 0, "pidfd_getfd {fd} of {pid}: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it for this process.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

/// An option of a socket whose value is an int.
#[track_caller]
pub(crate) fn int_option(socket: &OwnedFd, level: c_int, option: c_int) -> c_int {
    let (mut value, mut len) = (0, 4);
    // SAFETY: both are alive for the call, and `len` is the size of `value`.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(result, 0, "getsockopt {option}: {}", io::Error::last_os_error());
    value
}

/// Sets one.
#[track_caller]
pub(crate) fn set_int_option(socket: &OwnedFd, level: c_int, option: c_int, value: c_int) {
    // SAFETY: `value` is alive for the call, and as long as said.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
    assert_eq!(result, 0, "setsockopt {option}: {}", io::Error::last_os_error());
}
