//! What is around fdclose itself and keeps it from tracing: a container's limits, or a service's.

mod sys;

/// Numbers of capabilities (capabilities(7)).
const CAP_SYS_PTRACE: usize = 19;
const CAP_SYS_ADMIN: usize = 21;

/// What a filter on system calls (seccomp(2)) around fdclose does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filter {
    /// There is none.
    #[default]
    None,
    /// It allows ptrace(2). But under it, fdclose can't take another's filter out of force.
    AllowsPtrace,
    /// It denies ptrace(2), whoever is meant.
    DeniesPtrace,
}

/// What is in the way, whoever is to be traced. Asked of the kernel, not taken from the looks of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The filter on system calls.
    pub filter: Filter,
    /// CAP_SYS_PTRACE is not in the bounding set: not even root has it.
    pub without_sys_ptrace: bool,
    /// Nor CAP_SYS_ADMIN.
    pub without_sys_admin: bool,
}

impl Confinement {
    /// That of this process.
    #[must_use]
    pub fn look() -> Self {
        let filter = match (sys::is_denied(), sys::is_filtered()) {
            (true, _) => Filter::DeniesPtrace,
            (false, true) => Filter::AllowsPtrace,
            (false, false) => Filter::None,
        };
        Self {
            filter,
            without_sys_ptrace: !sys::can_have_capability(CAP_SYS_PTRACE),
            without_sys_admin: !sys::can_have_capability(CAP_SYS_ADMIN),
        }
    }
}
