//! capset(2), for which there is no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// `struct __user_cap_header_struct` (linux/capability.h).
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`; the capabilities are in two of them.
#[repr(C)]
#[derive(Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability of the calling thread. That is always allowed.
pub(super) fn give_up_capabilities() -> Result<(), Errno> {
    /// _LINUX_CAPABILITY_VERSION_3, since Linux 2.6.26.
    const VERSION: u32 = 0x2008_0522;
    let mut header = Header { version: VERSION, pid: 0 };
    let none = [Data::default(), Data::default()];
    // SAFETY: the kernel reads two sets in this version, and reads and may write the header; all are alive for the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) }).map(drop)
}
