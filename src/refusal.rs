//! Why the kernel refused PTRACE_SEIZE. It says EPERM for all of them (ptrace(2), "Ptrace access mode checking");
//! this asks /proc which one it was.

use std::fmt;

use crate::ids::{Pid, Tid};
use crate::proc::{Process, Procfs};
use crate::trace::{Confinement, Filter};

/// The reason a process may not be traced by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another tracer has it.
    AlreadyTraced {
        /// The tracer.
        tracer: Tid,
        /// The tracer's name, unsanitised.
        comm: Vec<u8>,
    },
    /// It has ended already and waits for its parent.
    Zombie,
    /// It is a part of the kernel.
    KernelThread,
    /// It is fdclose.
    Myself,
    /// It belongs to another user.
    OtherUser {
        /// The target's real user id.
        target: u32,
        /// Ours.
        own: u32,
    },
    /// It lives in another user namespace, where we have no capability.
    OtherUserNamespace,
    /// It declared itself undumpable, or runs a set-user-ID program or one with file capabilities.
    NotDumpable,
    /// It has capabilities that we lack.
    MoreCapable,
    /// Yama's `ptrace_scope` forbids it.
    Yama(u8),
    /// We are root but lack CAP_SYS_PTRACE: a container, or a service with a bounded capability set.
    MissingCapability,
    /// What CAP_SYS_PTRACE would lift, but here not even root can have it.
    OutOfReach(Box<Refusal>),
    /// A filter on system calls around fdclose denies ptrace(2), whoever is meant.
    DeniedByFilter,
    /// Nothing /proc shows explains it: AppArmor or SELinux.
    SecurityModule,
}

/// What the diagnosis is made from. Filled from /proc by [`Facts::gather`]; made up in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The target is our own process.
    pub is_self: bool,
    /// The tracer of the refused thread, with its name.
    pub tracer: Option<(Tid, Vec<u8>)>,
    /// State letter of the refused thread.
    pub state: char,
    /// It has no program: a kernel thread.
    pub is_kernel_thread: bool,
    /// Real, effective and saved user id of the target.
    pub target_uids: [u32; 3],
    /// Permitted capabilities of the target.
    pub target_permitted: u64,
    /// Owner of the target's /proc directory: root if it is not dumpable.
    pub proc_owner: u32,
    /// Both are in the same user namespace, if both could be read.
    pub same_user_namespace: Option<bool>,
    /// Our file-system user id.
    pub own_uid: u32,
    /// Our effective capabilities.
    pub own_effective: u64,
    /// Our permitted capabilities.
    pub own_permitted: u64,
    /// `/proc/sys/kernel/yama/ptrace_scope`; `None` without Yama.
    pub yama_scope: Option<u8>,
    /// What is around us.
    pub confinement: Confinement,
}

/// How to have CAP_SYS_PTRACE where it is lacking.
const GIVE_SYS_PTRACE: &str = "docker run --cap-add SYS_PTRACE; in Kubernetes securityContext.capabilities.add \
                               [SYS_PTRACE], or kubectl debug --profile=general; in systemd CapabilityBoundingSet=";

const CAP_SYS_PTRACE: u64 = 1 << 19;

impl Refusal {
    /// The reason, from the facts. The order is the kernel's own where several would do
    /// (`ptrace_attach`, `__ptrace_may_access`, then the security modules).
    #[must_use]
    pub fn from_facts(facts: &Facts) -> Self {
        let found = Self::of_target(facts);
        let by_capability = matches!(
            found,
            Self::OtherUser { .. } | Self::NotDumpable | Self::MoreCapable | Self::Yama(1 | 2)
        );
        match found {
            found @ (Self::Myself | Self::Zombie | Self::KernelThread) => found,
            // A filter is asked before the kernel looks who is meant.
            _ if facts.confinement.filter == Filter::DeniesPtrace => Self::DeniedByFilter,
            found if by_capability && facts.confinement.without_sys_ptrace => Self::OutOfReach(found.into()),
            found => found,
        }
    }

    fn of_target(facts: &Facts) -> Self {
        let capable = facts.own_effective & CAP_SYS_PTRACE != 0;
        if facts.is_self {
            return Self::Myself;
        }
        if let Some((tracer, comm)) = &facts.tracer {
            return Self::AlreadyTraced { tracer: *tracer, comm: comm.clone() };
        }
        if matches!(facts.state, 'Z' | 'X') {
            return Self::Zombie;
        }
        if facts.is_kernel_thread {
            return Self::KernelThread;
        }
        if facts.same_user_namespace == Some(false) && !(capable && facts.own_uid == 0) {
            return Self::OtherUserNamespace;
        }
        if !capable {
            if facts.target_uids.iter().any(|uid| *uid != facts.own_uid) {
                return if facts.own_uid == 0 {
                    Self::MissingCapability
                } else {
                    Self::OtherUser { target: facts.target_uids[0], own: facts.own_uid }
                };
            }
            if facts.proc_owner != facts.own_uid {
                return Self::NotDumpable;
            }
            if facts.target_permitted & !facts.own_permitted != 0 {
                return Self::MoreCapable;
            }
        }
        match facts.yama_scope {
            Some(3) => Self::Yama(3),
            Some(scope @ 1..=2) if !capable => Self::Yama(scope),
            _ if facts.same_user_namespace == Some(false) => Self::OtherUserNamespace,
            _ if !capable && facts.own_uid == 0 => Self::MissingCapability,
            _ => Self::SecurityModule,
        }
    }

    /// The reason PTRACE_SEIZE refused `tid` of `process`; `None` if the process is gone by now.
    #[must_use]
    pub fn diagnose(procfs: &Procfs, process: &Process, tid: Tid) -> Option<Self> {
        Facts::gather(procfs, process, tid).map(|facts| Self::from_facts(&facts))
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadyTraced { tracer, .. } => format!(
                "only one tracer is possible: end process {tracer} (a debugger or strace), or use it to close the \
                 descriptor"
            ),
            Self::Zombie => "its descriptors are closed already; its parent has to wait for it".into(),
            Self::KernelThread => "kernel threads have no descriptors to close".into(),
            Self::Myself => "name another process".into(),
            Self::OtherUser { target, .. } => format!("run fdclose as root or as user {target}"),
            Self::OtherUserNamespace => {
                "run fdclose as root on the host, or inside the container or user namespace of the target".into()
            }
            Self::NotDumpable | Self::MoreCapable => {
                "run fdclose as root, or give its file the capabilities: setcap cap_sys_ptrace,cap_dac_read_search+ep \
                 fdclose"
                    .into()
            }
            Self::Yama(1) => {
                "run fdclose as root, or allow it until the next boot: sysctl kernel.yama.ptrace_scope=0".into()
            }
            Self::Yama(2) => {
                "run fdclose as root (scope 2 asks for CAP_SYS_PTRACE), or: sysctl kernel.yama.ptrace_scope=0".into()
            }
            Self::Yama(_) => "scope 3 holds until the next boot and stops root too; `ss --kill` can still end a TCP \
                              connection, without freeing the descriptor"
                .into(),
            Self::MissingCapability => format!("give it back: {GIVE_SYS_PTRACE}"),
            Self::OutOfReach(_) => {
                format!("run fdclose as root, and outside of this container or service, or with more: {GIVE_SYS_PTRACE}")
            }
            Self::DeniedByFilter => {
                "have it allowed: docker run --cap-add SYS_PTRACE (or --security-opt seccomp=unconfined); in Kubernetes \
                 securityContext.seccompProfile.type Unconfined, or kubectl debug --profile=sysadmin; in systemd \
                 SystemCallFilter=@debug"
                    .into()
            }
            Self::SecurityModule => {
                "look for a denial in the audit log (AppArmor profile, SELinux deny_ptrace); of containers: docker run \
                 --security-opt apparmor=unconfined, in Kubernetes securityContext.appArmorProfile.type Unconfined"
                    .into()
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTraced { tracer, comm } => {
                write!(f, "already traced by process {tracer} ({})", comm.escape_ascii())
            }
            Self::Zombie => f.write_str("it is a zombie: it has ended already"),
            Self::KernelThread => f.write_str("it is a kernel thread"),
            Self::Myself => f.write_str("that is fdclose itself"),
            Self::OtherUser { target, own } => {
                write!(f, "it belongs to user {target}, and fdclose runs as user {own} without CAP_SYS_PTRACE")
            }
            Self::OtherUserNamespace => {
                f.write_str("it lives in another user namespace, where fdclose has no CAP_SYS_PTRACE")
            }
            Self::NotDumpable => f.write_str(
                "it is not dumpable (prctl PR_SET_DUMPABLE, or a set-user-ID program), so only CAP_SYS_PTRACE may \
                 trace it",
            ),
            Self::MoreCapable => {
                f.write_str("it has capabilities that fdclose lacks, so only CAP_SYS_PTRACE may trace it")
            }
            Self::Yama(scope) => write!(f, "kernel.yama.ptrace_scope is {scope}: {}", yama_in_words(*scope)),
            Self::MissingCapability => f.write_str("fdclose runs as root, but without CAP_SYS_PTRACE"),
            Self::OutOfReach(reason) => write!(
                f,
                "{reason}; and CAP_SYS_PTRACE is beyond what this container or service may have (its bounding set)"
            ),
            Self::DeniedByFilter => {
                f.write_str("a seccomp filter around fdclose (a container's profile, a service's) denies ptrace(2)")
            }
            Self::SecurityModule => {
                f.write_str("the kernel refused, and neither user, capabilities nor Yama explain it")
            }
        }
    }
}

fn yama_in_words(scope: u8) -> &'static str {
    match scope {
        1 => "only descendants may be traced",
        2 => "only CAP_SYS_PTRACE may trace",
        _ => "nobody may trace",
    }
}

impl Facts {
    /// Reads the facts; `None` if the target is gone by now.
    #[must_use]
    pub fn gather(procfs: &Procfs, process: &Process, tid: Tid) -> Option<Self> {
        let target = process.status_of(tid).or_else(|_| process.status()).ok()?;
        let own_pid = Pid::new(std::process::id().cast_signed())?;
        let own = procfs.open(own_pid).ok()?;
        let own_status = own.status().ok()?;
        let tracer = target.tracer_pid.map(|tracer| {
            let comm = tracer_name(procfs, tracer);
            (tracer, comm)
        });
        let user_namespace = |process: &Process| process.namespace("user").ok();
        Some(Self {
            is_self: process.pid() == own_pid,
            tracer,
            state: target.state,
            is_kernel_thread: process.stat().ok()?.is_kernel_thread(),
            target_uids: [target.uid.real, target.uid.effective, target.uid.saved],
            target_permitted: target.cap_prm,
            proc_owner: process.owner().ok()?,
            same_user_namespace: user_namespace(process)
                .zip(user_namespace(&own))
                .map(|(target, own)| target == own),
            own_uid: own_status.uid.filesystem,
            own_effective: own_status.cap_eff,
            own_permitted: own_status.cap_prm,
            yama_scope: procfs.yama_scope(),
            confinement: Confinement::look(),
        })
    }
}

/// The name of the thread `tracer`; empty if it can't be read (it may end at any time).
fn tracer_name(procfs: &Procfs, tracer: Tid) -> Vec<u8> {
    let process = Pid::new(tracer.as_raw()).and_then(|pid| procfs.open_listed(pid).ok());
    process.and_then(|process| process.comm().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    fn user() -> Facts {
        Facts {
            is_self: false,
            tracer: None,
            state: 'S',
            is_kernel_thread: false,
            target_uids: [1000; 3],
            target_permitted: 0,
            proc_owner: 1000,
            same_user_namespace: Some(true),
            own_uid: 1000,
            own_effective: 0,
            own_permitted: 0,
            yama_scope: None,
            confinement: Confinement::default(),
        }
    }

    fn root() -> Facts {
        Facts { own_uid: 0, own_effective: ALL, own_permitted: ALL, ..user() }
    }

    #[test]
    fn each_cause_is_found() {
        let tracer = (Tid::new(99).unwrap(), b"gdb".to_vec());
        let denied = Confinement { filter: Filter::DeniesPtrace, ..Confinement::default() };
        let bounded = Confinement { without_sys_ptrace: true, ..Confinement::default() };
        let other = Refusal::OtherUser { target: 0, own: 1000 };
        let cases = [
            (Facts { confinement: denied, ..root() }, Refusal::DeniedByFilter),
            (Facts { confinement: denied, is_self: true, ..root() }, Refusal::Myself),
            (
                Facts { confinement: bounded, target_uids: [0; 3], ..user() },
                Refusal::OutOfReach(Box::new(other)),
            ),
            (Facts { confinement: bounded, state: 'Z', ..user() }, Refusal::Zombie),
            (Facts { is_self: true, ..root() }, Refusal::Myself),
            (
                Facts { tracer: Some(tracer), ..root() },
                Refusal::AlreadyTraced { tracer: Tid::new(99).unwrap(), comm: b"gdb".to_vec() },
            ),
            (Facts { state: 'Z', ..root() }, Refusal::Zombie),
            (Facts { is_kernel_thread: true, ..root() }, Refusal::KernelThread),
            (Facts { target_uids: [0; 3], ..user() }, Refusal::OtherUser { target: 0, own: 1000 }),
            (Facts { target_uids: [1000, 0, 0], ..user() }, Refusal::OtherUser { target: 1000, own: 1000 }),
            (Facts { proc_owner: 0, ..user() }, Refusal::NotDumpable),
            (Facts { target_permitted: 1 << 10, ..user() }, Refusal::MoreCapable),
            (Facts { same_user_namespace: Some(false), ..user() }, Refusal::OtherUserNamespace),
            (Facts { same_user_namespace: Some(false), ..root() }, Refusal::OtherUserNamespace),
            (Facts { yama_scope: Some(1), ..user() }, Refusal::Yama(1)),
            (Facts { yama_scope: Some(2), ..user() }, Refusal::Yama(2)),
            (Facts { yama_scope: Some(3), ..root() }, Refusal::Yama(3)),
            (Facts { yama_scope: Some(1), ..root() }, Refusal::SecurityModule),
            (
                Facts {
                    own_effective: ALL & !CAP_SYS_PTRACE,
                    own_permitted: ALL & !CAP_SYS_PTRACE,
                    ..root()
                },
                Refusal::MissingCapability,
            ),
            (user(), Refusal::SecurityModule),
        ];
        for (facts, expected) in cases {
            assert_eq!(Refusal::from_facts(&facts), expected, "{facts:?}");
            assert!(!expected.hint().is_empty());
            assert!(!expected.to_string().contains('\n'));
        }
    }

    #[test]
    fn a_tracer_name_can_not_reach_the_terminal_raw() {
        let refusal = Refusal::AlreadyTraced { tracer: Tid::new(7).unwrap(), comm: b"\x1b[2J\n".to_vec() };
        assert_eq!(refusal.to_string(), r"already traced by process 7 (\x1b[2J\n)");
    }
}
