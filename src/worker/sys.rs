//! Making a process, ending it, waiting for it.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::Pid;

/// fork(2): the child's pid, or `None` in the child.
pub(super) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller has found that there is no other thread but one that holds no lock now, so none can be held that
    // the child would wait for, and the child may do whatever the parent may.
    let pid = Errno::result(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(Pid::from_raw(pid)))
}

/// _exit(2): nothing that the parent has prepared for its own end, such as output in buffers, happens here.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: no pointers; no destructor is owed anything, as the parent has the same objects and drops them.
    unsafe { libc::_exit(status) }
}

/// waitpid(2) for a child that nobody traces, to its end; its raw status.
pub(super) fn wait_for_end(pid: Pid) -> Result<i32, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live int.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) }) {
            Ok(_) => return Ok(status),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
