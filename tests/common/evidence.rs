//! The kernel's word on a process, read from /proc with nothing of fdclose's.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// TCP states, by the kernel's numbers.
pub(crate) const ESTABLISHED: u8 = 1;
pub(crate) const CLOSE_WAIT: u8 = 8;
pub(crate) const LISTEN: u8 = 10;

/// The flags of a descriptor, close-on-exec among them, as fdinfo has them.
#[track_caller]
pub(crate) fn flags(pid: u32, fd: i32) -> String {
    let path = format!("/proc/{pid}/fdinfo/{fd}");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.unwrap_or_else(|| panic!("no flags in {text:?}")).trim().to_owned()
}

/// Whether the kernel names the socket among the files registered with an io_uring. Older ones do not (seen
/// on 6.1): there it prints names of their own only, and sockets have none.
pub(crate) fn names_registered(pid: u32, ring: i32, socket: u64) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{ring}")).unwrap_or_default();
    info.contains(&format!(": socket:[{socket}]"))
}

/// What a descriptor refers to, as `socket:[43000]`; `None` when there is no such descriptor.
#[track_caller]
pub(crate) fn link(pid: u32, fd: i32) -> Option<String> {
    match fs::read_link(format!("/proc/{pid}/fd/{fd}")) {
        Ok(target) => Some(target.to_string_lossy().into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("descriptor {fd} of {pid}: {error}"),
    }
}

/// The same of one thread, which may have a table of its own.
#[track_caller]
pub(crate) fn link_of_thread(pid: u32, tid: u32, fd: i32) -> Option<String> {
    match fs::read_link(format!("/proc/{pid}/task/{tid}/fd/{fd}")) {
        Ok(target) => Some(target.to_string_lossy().into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("descriptor {fd} of thread {tid}: {error}"),
    }
}

/// Every descriptor and what it refers to.
#[track_caller]
pub(crate) fn descriptors(pid: u32) -> BTreeMap<i32, String> {
    let directory =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap_or_else(|error| panic!("fds of {pid}: {error}"));
    let numbers = directory.map(|entry| entry.expect("an entry of /proc").file_name());
    let numbers =
        numbers.map(|name| name.to_string_lossy().parse().expect("a descriptor's name is a number"));
    numbers.filter_map(|fd| Some((fd, link(pid, fd)?))).collect()
}

/// The numbers that refer to a socket.
#[track_caller]
pub(crate) fn numbers_of(pid: u32, socket: u64) -> Vec<i32> {
    let wanted = format!("socket:[{socket}]");
    descriptors(pid).into_iter().filter(|(_, target)| *target == wanted).map(|(fd, _)| fd).collect()
}

/// The inode of the socket behind a descriptor.
#[track_caller]
pub(crate) fn socket_inode(pid: u32, fd: i32) -> u64 {
    let target = link(pid, fd).unwrap_or_else(|| panic!("{pid} has no descriptor {fd}"));
    let number = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{fd} is no socket but {target}"))
}

/// A row of `/proc/PID/net/tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcpRow {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) state: u8,
    /// 0 for a socket no descriptor refers to any more, or yet.
    pub(crate) inode: u64,
}

/// The TCP sockets of a process's network namespace.
#[track_caller]
pub(crate) fn tcp_rows(pid: u32) -> Vec<TcpRow> {
    let mut rows = Vec::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{pid}/net/{table}");
        match fs::read_to_string(&path) {
            Ok(text) => rows.extend(
                text.lines()
                    .skip(1)
                    .map(|line| tcp_row(line).unwrap_or_else(|| panic!("a strange line in {path}: {line}"))),
            ),
            // A kernel without IPv6 has no tcp6.
            Err(error) if error.kind() == ErrorKind::NotFound && table == "tcp6" => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }
    rows
}

/// The state of a socket, by TCP_INFO (tcp(7)), whose first byte it is.
#[track_caller]
pub(crate) fn tcp_info_state(socket: &OwnedFd) -> u8 {
    let state = super::sys::int_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO);
    state.to_ne_bytes()[0]
}

/// The row of one socket.
#[track_caller]
pub(crate) fn tcp_of(pid: u32, inode: u64) -> Option<TcpRow> {
    tcp_rows(pid).into_iter().find(|row| row.inode == inode)
}

fn tcp_row(line: &str) -> Option<TcpRow> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(TcpRow {
        local: endpoint(fields.get(1)?)?,
        peer: endpoint(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// `0100007F:1F90`: the address in words of the machine's byte order, the port as a number.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words =
        (0..address.len() / 8).map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(four))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?))
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Every thread of a process.
#[track_caller]
pub(crate) fn threads(pid: u32) -> Vec<u32> {
    let directory =
        fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|error| panic!("threads of {pid}: {error}"));
    let names = directory.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.map(|name| name.parse().expect("a thread's name is a number")).collect()
}

/// What `/proc/PID/task/TID/status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// `R`, `S`, `T`, `t`, `Z` ...
    pub(crate) state: char,
    /// The parent of the process.
    pub(crate) parent: u32,
    /// 0, or who traces the thread.
    pub(crate) tracer: u32,
    /// SigBlk, SigIgn, SigCgt: the blocked, ignored and handled signals.
    pub(crate) masks: [u64; 3],
    /// SigPnd and ShdPnd: what waits for the thread and for the process.
    pub(crate) pending: [u64; 2],
}

/// A thread's status; `None` when the thread is gone.
pub(crate) fn status(pid: u32, tid: u32) -> Option<Status> {
    let text = fs::read(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in the status of {pid}"))
    };
    let number = |name: &str| field(name).trim().parse().expect("a number");
    let mask = |name: &str| u64::from_str_radix(field(name).trim(), 16).expect("a mask in hex");
    Some(Status {
        state: field("State").chars().next().expect("a state"),
        parent: number("PPid"),
        tracer: number("TracerPid"),
        masks: ["SigBlk", "SigIgn", "SigCgt"].map(mask),
        pending: ["SigPnd", "ShdPnd"].map(mask),
    })
}

/// The state of a process's main thread.
#[track_caller]
pub(crate) fn state(pid: u32) -> char {
    status(pid, pid).unwrap_or_else(|| panic!("{pid} is gone")).state
}

/// The call a thread sits in; `None` while it runs.
pub(crate) fn current_call(pid: u32, tid: u32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Whether a thread is in no call.
pub(crate) fn is_at_work(pid: u32, tid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).is_ok_and(|text| text.trim() == "running")
}

/// Whether a thread sits in the call `nr`. A call with a timeout that was interrupted and goes on by itself shows as
/// `restart_syscall` (restart_syscall(2)) from then on.
pub(crate) fn sits_in(pid: u32, tid: u32, nr: i64) -> bool {
    current_call(pid, tid).is_some_and(|now| now == nr || now == libc::SYS_restart_syscall)
}

/// How many clock ticks a process has spent in its own code (field 14 of proc_pid_stat(5)).
pub(crate) fn ticks_at_work(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().nth(11).and_then(|field| field.parse().ok());
    ticks.unwrap_or_else(|| panic!("no field 14 in {text:?}"))
}

/// Proves that nobody traces any thread of the process.
#[track_caller]
pub(crate) fn assert_untraced(pid: u32) {
    for tid in threads(pid) {
        if let Some(status) = status(pid, tid) {
            assert_eq!(status.tracer, 0, "thread {tid} of {pid} is traced");
            assert_ne!(status.state, 't', "thread {tid} of {pid} is in a tracing stop");
        }
    }
}

/// The processes that threads of `pid` have started.
pub(crate) fn own_children(pid: u32) -> Vec<u32> {
    let of = |tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).unwrap_or_default();
    let texts: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| of(entry.file_name().to_string_lossy().into_owned()))
        .collect();
    texts.iter().flat_map(|text| text.split_whitespace()).filter_map(|child| child.parse().ok()).collect()
}

/// The processes whose parent is `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("there is a /proc");
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|child| status(*child, *child).is_some_and(|status| status.parent == pid)).collect()
}
