//! What must hold of the readers of `/proc`; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use super::{FdInfo, FdTarget, InSyscall, Stat, Status, WordSize, auxv as vector, dirents};
use crate::ids::RemoteAddr;

/// `status`, `stat` and `syscall` of a thread.
pub fn thread(text: &[u8]) {
    if let Ok(status) = Status::parse(text) {
        assert!(status.name.len() <= text.len() && !status.name.contains(&0) | text.contains(&0));
        assert!(status.state.is_ascii_alphabetic());
        assert!(status.ns_pid.is_none_or(|pids| pids.len() <= text.len()));
        assert!(status.tgid.as_raw() > 0 && status.tracer_pid.is_none_or(|tid| tid.as_raw() > 0));
    }
    if let Ok(stat) = Stat::parse(text) {
        assert!(stat.state.is_ascii_alphabetic());
        assert_eq!(stat.is_kernel_thread(), stat.flags & 0x0020_0000 != 0);
    }
    if let Ok(call) = InSyscall::parse(text) {
        assert_eq!(InSyscall::parse(written(call).as_bytes()), Ok(call), "as the kernel would write it");
    }
}

/// A line of `syscall`, as `proc_pid_syscall` in fs/proc/base.c writes it.
fn written(call: InSyscall) -> String {
    let hex = |addr: RemoteAddr| format!("{:#x}", addr.0);
    match call {
        InSyscall::Running => "running\n".to_owned(),
        InSyscall::Elsewhere { sp, pc } => format!("-1 {} {}\n", hex(sp), hex(pc)),
        InSyscall::Call { number, args, sp, pc } => {
            let args = args.map(|arg| format!("{arg:#x}")).join(" ");
            format!("{number} {args} {} {}\n", hex(sp), hex(pc))
        }
    }
}

/// `auxv`.
pub fn auxv(bytes: &[u8]) {
    let base = |size| vector::sysinfo_ehdr(bytes, size);
    assert_ne!(base(WordSize::Bits64), Some(RemoteAddr(0)));
    assert!(base(WordSize::Bits32).is_none_or(|base| base.0 != 0 && base.0 <= u32::MAX.into()));
}

/// `fdinfo`, and the link of a descriptor and what it is compared with.
pub fn descriptor(bytes: &[u8]) {
    if let Ok(info) = FdInfo::parse(bytes) {
        assert!(info.watched.len() <= bytes.len() / 5, "tfd:N at least");
        assert!(info.watched.iter().all(|watched| watched.fd.as_raw() >= 0));
    }
    let (one, other) = bytes.split_at(bytes.len() / 2);
    for (link, other) in [(bytes, one), (one, other), (other, one), (bytes, bytes)] {
        let target = FdTarget::parse(link);
        assert_eq!(target.link().as_deref(), Some(link), "{target:?}");
        assert!(target.matches(link), "{target:?}");
        assert_eq!(target.matches(other), target == FdTarget::parse(other), "{target:?} and {other:?}");
        // Names for people and the number for the kernel: none may be missing.
        assert!(!target.kind().name().is_empty());
        assert!(!target.is_deleted() || target.inode().is_none());
    }
}

/// The records of getdents64(2).
pub fn entries(bytes: &[u8]) {
    let mut len = 0;
    for name in dirents::names(bytes) {
        assert!(!name.contains(&0));
        len += name.len() + 20;
    }
    assert!(len <= bytes.len() + 20);
}
