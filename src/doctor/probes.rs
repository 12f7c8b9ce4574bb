//! The trials, one function each: what was done, or why not.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};

use super::subject::Subject;
use crate::host::{self, Feature};
use crate::ids::{Inode, Pid};
use crate::method::{self, Conduct, Item, ItemOutcome, Job, Method};
use crate::net::{Copies, Diag, DiagError, Namespace, TcpState};
use crate::proc::{Procfs, Seccomp};
use crate::trace::{self, Deadline, Seized, Stopped, Waited};

/// What was done with success, or what failed.
pub(super) type Evidence = Result<String, String>;

/// No trial takes longer.
const LIMIT: Duration = Duration::from_secs(5);
const CAP_SYS_PTRACE: u64 = 1 << 19;

fn failed(call: &str, errno: Errno) -> String {
    format!("{call}: {}", errno.desc())
}

fn lacking(feature: Feature) -> String {
    format!("not offered (Linux {})", feature.since())
}

pub(super) fn pidfd_open(_: &Procfs, subject: &Subject) -> Evidence {
    match subject.process.pidfd() {
        Ok(Some(_)) => Ok("of a child".to_owned()),
        Ok(None) => Err(format!("{}, or forbidden by a filter on system calls", lacking(Feature::PidfdOpen))),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn pidfd_getfd(_: &Procfs, subject: &Subject) -> Evidence {
    if !host::has(Feature::PidfdGetfd) {
        return Err(lacking(Feature::PidfdGetfd));
    }
    let copies = Copies::of(&subject.process).ok_or("there is no pidfd to make a copy through")?;
    // What is copied is no socket, and that is all that is said of the copy.
    match copies.try_copy(subject.spare, Inode(0)) {
        Ok(_) => Ok("copied a descriptor of a child".to_owned()),
        Err(Errno::ENOSYS) => Err(lacking(Feature::PidfdGetfd)),
        Err(errno) => Err(failed("pidfd_getfd", errno)),
    }
}

pub(super) fn kcmp(_: &Procfs, subject: &Subject) -> Evidence {
    let own = Pid::new(std::process::id().cast_signed()).ok_or("fdclose has no number")?;
    match trace::same_descriptor_table(own.leader(), subject.process.pid().leader()) {
        Ok(false) => Ok("told the descriptor table of a child from its own".to_owned()),
        Ok(true) => Err("it takes a child's descriptor table for its own".to_owned()),
        Err(errno) => Err(failed("kcmp", errno)),
    }
}

pub(super) fn process_vm(_: &Procfs, subject: &Subject) -> Evidence {
    let maps = subject.process.maps().map_err(|error| error.to_string())?;
    let first = maps.iter().find(|map| map.readable && map.inode != 0).ok_or("a child has no memory")?;
    let mut begin = [0; 4];
    match trace::read_memory(subject.process.pid().leader(), first.start, &mut begin) {
        Ok(_) if &begin == b"\x7fELF" => Ok("read the program of a child in its memory".to_owned()),
        Ok(_) => Err("read something else than a program in a child's memory".to_owned()),
        Err(errno) => Err(failed("process_vm_readv", errno)),
    }
}

/// Whether a filter around fdclose forbids it calls, and to suspend the filters of others (ptrace(2)).
pub(super) fn unconfined(procfs: &Procfs) -> Evidence {
    let own = Pid::new(std::process::id().cast_signed()).and_then(|pid| procfs.open(pid).ok());
    let status = own.and_then(|own| own.status().ok()).ok_or("can't read fdclose's own status")?;
    match status.seccomp {
        None | Some(Seccomp::Disabled) => Ok("none (Seccomp in its status)".to_owned()),
        Some(mode) => {
            Err(format!("there is one ({mode:?}), and a child that things are tried on inherits it"))
        }
    }
}

pub(super) fn ptrace(_: &Procfs, subject: &Subject) -> Evidence {
    while_stopped(subject, |stopped| {
        stopped.registers().map_err(|error| error.to_string())?;
        Ok("stopped a child, read its registers, and let it go".to_owned())
    })
}

pub(super) fn seccomp_suspension(_: &Procfs, subject: &Subject) -> Evidence {
    while_stopped(subject, |stopped| {
        let suspended = stopped.suspend_seccomp(true).and_then(|()| stopped.suspend_seccomp(false));
        suspended
            .map_err(|error| format!("{error} (it takes CAP_SYS_ADMIN, and no seccomp around fdclose)"))?;
        Ok("set and took back PTRACE_O_SUSPEND_SECCOMP on a child".to_owned())
    })
}

/// Tries something on the child while it is stopped.
fn while_stopped(subject: &Subject, trial: impl FnOnce(&mut Stopped) -> Evidence + Send) -> Evidence {
    let tid = subject.process.pid().leader();
    let tried = trace::on_tracer_thread(
        |_| -> Evidence {
            let seized = Seized::seize(tid).map_err(|errno| failed("PTRACE_SEIZE", errno))?;
            seized.interrupt().map_err(|error| error.to_string())?;
            let waited = seized.wait(Deadline::after(LIMIT)).map_err(|error| error.to_string())?;
            let Waited::Stopped(mut stopped) = waited else { return Err("a child did not stop".to_owned()) };
            let evidence = trial(&mut stopped);
            stopped.detach().map_err(|error| error.to_string())?;
            evidence
        },
        || {},
    );
    match tried {
        Ok(Ok(evidence)) => evidence,
        Ok(Err(_)) => Err("the trial failed: this is a bug in fdclose".to_owned()),
        Err(error) => Err(format!("can't start a thread: {error}")),
    }
}

/// The whole of it, on a descriptor of the child.
pub(super) fn close(procfs: &Procfs, subject: &Subject) -> Evidence {
    let dir = subject.process.fd_dir_of_process().map_err(|error| error.to_string())?;
    let identity = dir.read(subject.spare).and_then(|target| match target {
        Some(target) => dir.identity_of(subject.spare, target),
        None => Ok(None),
    });
    let expected = identity.map_err(|error| error.to_string())?.ok_or("a child has lost its descriptor")?;
    let items = [Item { fd: subject.spare, expected }];
    let job = Job {
        process: &subject.process,
        table: dir.tid(),
        netns: None,
        items: &items,
        sockets: &[None],
        watched: &[],
        is_last: false,
    };
    let conduct = Conduct { max_pause: Duration::from_millis(10), timeout: LIMIT };
    let operation = method::run(Method::Close, procfs, &job, conduct);
    match operation.outcomes.first() {
        Some(ItemOutcome::Done(None)) => {
            let insured = if operation.insured { "" } else { ", without insurance" };
            let micros = operation.longest_pause.as_micros();
            Ok(format!("closed a descriptor of a child, which stood still for {micros} us{insured}"))
        }
        outcome => Err(operation.error.map_or_else(|| format!("{outcome:?}"), |obstacle| obstacle.message)),
    }
}

/// Nobody else is touched to find this out: it is the kernel's rule, and what fdclose has.
pub(super) fn ptrace_of_others(procfs: &Procfs) -> Evidence {
    let own = Pid::new(std::process::id().cast_signed()).and_then(|pid| procfs.open(pid).ok());
    let status = own.and_then(|own| own.status().ok()).ok_or("can't read fdclose's own status")?;
    let capable = status.cap_eff & CAP_SYS_PTRACE != 0;
    let scope = procfs.yama_scope();
    let yama =
        scope.map_or("there is no Yama".to_owned(), |scope| format!("kernel.yama.ptrace_scope is {scope}"));
    match (capable, scope) {
        (_, Some(3)) => Err(format!("{yama}: nobody may trace")),
        (true, _) => Ok(format!("fdclose has CAP_SYS_PTRACE; {yama}")),
        (false, Some(1 | 2)) => Err(format!("fdclose has no CAP_SYS_PTRACE; {yama}")),
        (false, _) => Ok(format!("fdclose has no CAP_SYS_PTRACE: processes of the same user alone; {yama}")),
    }
}

pub(super) fn sock_diag() -> Evidence {
    let mut listening = 0_usize;
    let dumped =
        Diag::open().and_then(|mut diag| diag.dump_tcp(&[TcpState::Listen], false, |_| listening += 1));
    dumped.map_err(|error| error.to_string())?;
    Ok(format!("asked for all sockets that listen: {listening}"))
}

/// A connection of fdclose to itself.
#[derive(Debug)]
pub(super) struct Connection {
    near: TcpStream,
    far: TcpStream,
}

pub(super) fn connection() -> Result<Connection, String> {
    let made = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        near.set_read_timeout(Some(LIMIT))?;
        far.set_read_timeout(Some(LIMIT))?;
        Ok(Connection { near, far })
    };
    made().map_err(|error: std::io::Error| format!("can't connect to itself: {error}"))
}

pub(super) fn tcp_repair(connection: &Connection) -> Evidence {
    let set = |on: u32| setsockopt(&connection.near, sockopt::TcpRepair, &on);
    match set(1).and_then(|()| set(0)) {
        Ok(()) => Ok("on a connection of its own, and off again".to_owned()),
        Err(Errno::EPERM) => Err("it takes CAP_NET_ADMIN".to_owned()),
        Err(errno) => Err(failed("TCP_REPAIR", errno)),
    }
}

pub(super) fn sock_destroy(connection: &Connection) -> Evidence {
    let ends = connection.near.local_addr().and_then(|local| Ok((local, connection.near.peer_addr()?)));
    let (local, peer) = ends.map_err(|error| error.to_string())?;
    let destroyed = Diag::open().and_then(|mut diag| {
        let found = diag.tcp(local, peer)?;
        found.map_or(Ok(false), |socket| diag.destroy(&socket))
    });
    match destroyed {
        Ok(true) => {}
        Ok(false) => return Err("the kernel does not know a connection of fdclose's own".to_owned()),
        Err(DiagError::Refused(Errno::EOPNOTSUPP | Errno::EINVAL)) => {
            let since = Feature::SockDestroy.since();
            return Err(format!("not supported by this kernel (Linux {since} and CONFIG_INET_DIAG_DESTROY)"));
        }
        Err(DiagError::Refused(Errno::EPERM | Errno::EACCES)) => {
            return Err("it takes CAP_NET_ADMIN".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    }
    match (&connection.far).read(&mut [0; 1]) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => {
            Ok("ended a connection of its own; its other end got a reset".to_owned())
        }
        other => Err(format!("the kernel said that it did, but the other end got {other:?}")),
    }
}

pub(super) fn raw_sockets() -> Evidence {
    made(&socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw))
}

pub(super) fn packet_sockets() -> Evidence {
    made(&socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None))
}

fn made<T>(socket: &Result<T, Errno>) -> Evidence {
    match socket {
        Ok(_) => Ok("made one".to_owned()),
        Err(Errno::EPERM) => Err("it takes CAP_NET_RAW".to_owned()),
        Err(errno) => Err(failed("socket", *errno)),
    }
}

pub(super) fn netns(procfs: &Procfs) -> Evidence {
    let own = Pid::new(std::process::id().cast_signed()).ok_or("fdclose has no number")?;
    let own =
        procfs.open(own).and_then(|own| Namespace::of_process(&own)).map_err(|error| error.to_string())?;
    // As if it were another one.
    match Diag::of_namespace(&own, None) {
        Ok(_) => Ok("entered its own, as it would another".to_owned()),
        Err(DiagError::Refused(Errno::EPERM)) => Err("it takes CAP_SYS_ADMIN".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn close_range() -> Evidence {
    match host::close_range_of_nothing() {
        Ok(()) => Ok("of numbers that nothing has".to_owned()),
        Err(Errno::ENOSYS) => Err(lacking(Feature::CloseRange)),
        Err(errno) => Err(failed("close_range", errno)),
    }
}
