//! One process, as /proc shows it. It is not stopped, and nothing is asked of it.

use super::runtime;
use crate::error::AttachError;
use crate::ids::Pid;
use crate::kind::Kind;
use crate::proc::{Mapping, ProcError, Process, Procfs, Seccomp, Status};
use crate::refusal::Refusal;
use crate::report::{PatientReport, RingReport, Text};
use crate::trace::read_memory;

/// So much of the beginning of a program is read: its ELF header, and its notes.
const BEGIN: usize = 4096;
/// The namespaces that make a difference (namespaces(7)).
const NAMESPACES: [&str; 4] = ["net", "pid", "user", "mnt"];

/// Looks at it.
pub(super) fn look_at(procfs: &Procfs, process: &Process) -> Result<PatientReport, ProcError> {
    let status = process.status()?;
    let (refusal, hint) = refusal(procfs, process, &status);
    // What may not be read is not told.
    let maps = process.maps().unwrap_or_default();
    let exe = process.exe().ok().flatten().unwrap_or_default();
    let begin = begin(process, &maps, &exe);
    let runtime = runtime::of(&exe, &maps, &begin);
    let Descriptors { count, epolls, rings } = if has_none(process) {
        Descriptors { count: Some(0), ..Descriptors::default() }
    } else {
        Descriptors::of(process).unwrap_or_default()
    };
    Ok(PatientReport {
        pid: process.pid(),
        comm: Text::from(status.name.clone()),
        uid: status.uid.effective,
        architecture: runtime::architecture(&begin),
        threads: status.threads,
        seccomp: status.seccomp.map(|mode| match mode {
            Seccomp::Disabled => "disabled",
            Seccomp::Strict => "strict",
            Seccomp::Filter => "filter",
            Seccomp::Dead => "dead",
        }),
        tracer: status.tracer_pid,
        other_namespaces: other_namespaces(procfs, process),
        runtime: runtime.map(|runtime| runtime.name),
        runtime_risk: runtime.map(|runtime| runtime.risk),
        descriptors: count,
        epoll_instances: epolls,
        io_urings: rings,
        refusal,
        hint,
    })
}

/// Why it may not be traced, and what to do about it. To read the system call of a thread takes the same rights as to
/// attach (`proc_pid_syscall`, fs/proc/base.c; PTRACE_MODE_ATTACH in ptrace(2)): so the kernel is asked, and nobody
/// attached to.
fn refusal(procfs: &Procfs, process: &Process, status: &Status) -> (Option<String>, Option<String>) {
    let leader = process.pid().leader();
    let told = |refusal: Refusal| {
        let why = refusal.to_string();
        (Some(why), AttachError::Refused(refusal).hint())
    };
    // Its calls may be looked at by root like others', although there are none.
    if process.stat().is_ok_and(|stat| stat.is_kernel_thread()) {
        return told(Refusal::KernelThread);
    }
    let tid = match process.living_thread() {
        // What a zombie is in may be asked as well.
        Err(error) if error.is_gone() => return told(Refusal::Zombie),
        living => living.unwrap_or(leader),
    };
    let may = match process.syscall(tid) {
        Ok(_) => status.tracer_pid.is_none(),
        // A kernel without that file: the rules have to tell.
        Err(ProcError::Missing { .. }) => return (None, None),
        Err(_) => false,
    };
    let own = i64::from(process.pid().as_raw()) == i64::from(std::process::id());
    if may && !own {
        return (None, None);
    }
    match Refusal::diagnose(procfs, process, tid) {
        Some(refusal) => told(refusal),
        None => (Some("it has ended".to_owned()), None),
    }
}

/// The first bytes of its program, as they are in its memory; empty if they can't be read.
fn begin(process: &Process, maps: &[Mapping], exe: &[u8]) -> Vec<u8> {
    let first = maps.iter().find(|map| map.offset == 0 && map.readable && map.name == exe && !exe.is_empty());
    let (Some(map), Ok(tid)) = (first, process.living_thread()) else { return Vec::new() };
    let mut begin = vec![0; BEGIN];
    let length = read_memory(tid, map.start, &mut begin).unwrap_or(0);
    begin.truncate(length);
    begin
}

fn other_namespaces(procfs: &Procfs, process: &Process) -> Option<Vec<&'static str>> {
    let own = procfs.open(Pid::new(std::process::id().cast_signed())?).ok()?;
    let mut others = Vec::new();
    for kind in NAMESPACES {
        if own.namespace(kind).ok()? != process.namespace(kind).ok()? {
            others.push(kind);
        }
    }
    Some(others)
}

/// Whether it is of the sort that has no descriptors, as anybody may see.
fn has_none(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| stat.is_kernel_thread())
        || process.living_thread().is_err_and(|error| error.is_gone())
}

/// What it has.
#[derive(Default)]
struct Descriptors {
    /// How many; `None` if they can't be read.
    count: Option<usize>,
    /// How many of them are epoll instances.
    epolls: usize,
    /// Which of them are io_uring instances.
    rings: Vec<RingReport>,
}

impl Descriptors {
    fn of(process: &Process) -> Result<Self, ProcError> {
        let dir = process.fd_dir_of_process()?;
        let fds = dir.list()?;
        let mut found = Self { count: Some(fds.len()), ..Self::default() };
        for fd in fds {
            match dir.read(fd)?.map(|target| target.kind()) {
                Some(Kind::Epoll) => found.epolls += 1,
                Some(Kind::IoUring) => {
                    let registered_files = dir.fdinfo(fd)?.and_then(|info| info.user_files);
                    found.rings.push(RingReport { fd, registered_files });
                }
                _ => {}
            }
        }
        Ok(found)
    }
}
