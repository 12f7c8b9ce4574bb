//! Syscall user dispatch (prctl(2), PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11): a thread that runs another system's
//! code, as emulators do, can have the kernel answer that code's calls with SIGSYS instead of carrying them out.
//!
//! An injected call is no exception: the target would get a signal that none of its code has caused, or, if the byte
//! that switches all this is not what it should be, would be killed. So a call is only made where the kernel lets it
//! through. Tracers may ask since Linux 6.4 (PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG); they may also switch it off
//! for a while, but if fdclose died then, it would stay off.

use crate::arch::Abi;
use crate::ids::RemoteAddr;
use crate::trace::{Stopped, read_memory};

/// SYSCALL_DISPATCH_FILTER_ALLOW: what the switch says when all calls are let through.
const ALLOW: u8 = 0;

/// From where in its memory a thread may make calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatch(Allowed);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Anywhere,
    /// From `len` bytes at `start`; both wrap around.
    Within {
        start: u64,
        len: u64,
    },
}

impl Dispatch {
    /// As things are for `thread`, and will be while its process is stopped.
    #[must_use]
    pub fn of(thread: &Stopped) -> Self {
        let Some(config) = thread.user_dispatch() else { return Self(Allowed::Anywhere) };
        let mut switch = [0];
        let is_off = config.selector != 0
            && read_memory(thread.tid(), RemoteAddr(config.selector), &mut switch) == Ok(1)
            && switch == [ALLOW];
        Self(if is_off {
            Allowed::Anywhere
        } else {
            Allowed::Within { start: config.offset, len: config.len }
        })
    }

    /// Whether a call that is made at `site` is carried out. The kernel looks at the instruction pointer, which is
    /// behind the call instruction by then (`syscall_user_dispatch`).
    #[must_use]
    pub fn allows(self, site: RemoteAddr, abi: &Abi) -> bool {
        match self.0 {
            Allowed::Anywhere => true,
            Allowed::Within { start, len } => {
                site.0.wrapping_add(abi.instruction.len() as u64).wrapping_sub(start) < len
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::native_abi;

    #[test]
    fn the_place_behind_the_instruction_counts() {
        let allows = |start, len, site| {
            Dispatch(Allowed::Within { start, len }).allows(RemoteAddr(site), native_abi())
        };
        assert!(!allows(0, 0, 0x1000), "no call at all");
        assert!(!allows(0x1000, 0x100, 0xffd));
        assert!(allows(0x1000, 0x100, 0xffe));
        assert!(allows(0x1000, 0x100, 0x10fd));
        assert!(!allows(0x1000, 0x100, 0x10fe));
        // PR_SYS_DISPATCH_INCLUSIVE_ON (Linux 6.17) turns its range inside out like this.
        let (start, len) = (0x2000, 0x1000_u64.wrapping_neg());
        assert!(allows(start, len, 0x5000) && allows(start, len, 0x10) && !allows(start, len, 0x1800));
    }
}
