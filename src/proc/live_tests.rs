//! The readers against this test's own process and ones it starts.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, pipe};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::gettid;

use super::*;
use crate::ids::{Fd, Pid, RemoteAddr, Tid};
use crate::kind::Kind;

fn own_pid() -> Pid {
    Pid::new(std::process::id().cast_signed()).unwrap()
}

fn own() -> Process {
    Procfs::host().open(own_pid()).unwrap()
}

fn own_tid() -> Tid {
    Tid::new(gettid().as_raw()).unwrap()
}

fn number(file: &impl AsRawFd) -> Fd {
    Fd::new(file.as_raw_fd()).unwrap()
}

fn target(file: &impl AsRawFd) -> FdTarget {
    own().fd_dir_of_process().unwrap().read(number(file)).unwrap().unwrap()
}

/// A process that only waits for its stdin to end.
fn start_cat() -> (Child, Process) {
    let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let process = Procfs::host().open(Pid::new(cat.id().cast_signed()).unwrap()).unwrap();
    (cat, process)
}

#[test]
fn own_process_reads_whole() {
    let process = own();
    assert!(Procfs::host().pids().unwrap().contains(&own_pid()));
    assert!(process.exists().unwrap());
    let status = process.status().unwrap();
    assert_eq!((status.tgid, status.tracer_pid), (own_pid(), None));
    assert_eq!(status.ppid, Pid::new(std::os::unix::process::parent_id().cast_signed()));
    assert_eq!(process.uid().unwrap(), nix::unistd::geteuid().as_raw());
    assert_eq!(status.name, process.comm().unwrap());
    let stat = process.stat().unwrap();
    assert!(!stat.is_dead() && !stat.is_kernel_thread());
    assert_eq!(process.start_time().unwrap(), process.stat_of(own_pid().leader()).unwrap().start_time);
    let exe = fs::read_link("/proc/self/exe").unwrap();
    assert_eq!(process.exe().unwrap(), Some(exe.as_os_str().as_bytes().to_vec()));
    let net = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(net.to_str(), Some(&*format!("net:[{}]", process.netns().unwrap())));
    assert!(matches!(process.namespace("nonesuch"), Err(ProcError::Missing { .. })));
}

#[test]
fn the_vdso_is_where_the_auxiliary_vector_says() {
    let size = if cfg!(target_pointer_width = "64") { WordSize::Bits64 } else { WordSize::Bits32 };
    let process = own();
    let vdso = process.maps().unwrap().into_iter().find(Mapping::is_vdso).expect("a vDSO");
    assert!(vdso.executable && !vdso.writable);
    assert_eq!(process.sysinfo_ehdr(size).unwrap(), Some(vdso.start));

    let here = RemoteAddr(own_pid as *const () as u64);
    let holds = |mapping: &Mapping| mapping.start <= here && here < mapping.end;
    let code = process.maps().unwrap().into_iter().find(holds).expect("this code's mapping");
    assert!(code.executable && code.name.starts_with(b"/"));
}

#[test]
fn a_threads_number_is_not_taken_for_a_process() {
    let (tell, told) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(own_tid()).unwrap();
            let _ends_when_released = wait.recv();
        });
        let tid: Tid = told.recv().unwrap();
        let process = own();
        assert!(process.threads().unwrap().contains(&tid));
        assert_eq!(process.status_of(tid).unwrap().tgid, own_pid());
        let error = Procfs::host().open(Pid::new(tid.as_raw()).unwrap()).unwrap_err();
        match error {
            ProcError::NotAProcess { tid: named, process } => assert_eq!((named, process), (tid, own_pid())),
            other => panic!("{other}"),
        }
        // One thread's directory is as good as another's, here where they share the table.
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(process.fd_dir(tid).unwrap().read(number(&reader)).unwrap(), Some(target(&reader)));
        drop(release);
    });
}

#[test]
fn every_kind_of_descriptor_is_told_apart() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (reader, writer) = pipe().unwrap();
    let eventfd = EventFd::new().unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let memfd = memfd_create("a\nb", MFdFlags::MFD_CLOEXEC).unwrap();
    let null = File::open("/dev/null").unwrap();
    let net = File::open("/proc/self/ns/net").unwrap();
    assert_eq!(target(&socket).kind(), Kind::Socket);
    assert_eq!(target(&reader).kind(), Kind::Pipe);
    assert_eq!(target(&reader), target(&writer));
    assert_eq!(target(&eventfd.as_fd()).kind(), Kind::Eventfd);
    assert_eq!(target(&epoll.0).kind(), Kind::Epoll);
    assert_eq!(target(&memfd), FdTarget::Memfd(b"a\nb".to_vec()));
    assert_eq!(target(&null), FdTarget::Path { path: b"/dev/null".to_vec(), deleted: false });
    assert_eq!(target(&net).kind(), Kind::Namespace);
}

#[test]
fn a_closed_descriptor_is_seen_to_be() {
    let dir = own().fd_dir_of_process().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (fd, was) = (number(&socket), target(&socket));
    assert!(dir.list().unwrap().contains(&fd));
    assert!(dir.is(fd, &was).unwrap());
    // High numbers are not taken again by what other tests open meanwhile.
    let high = Fd::new(1_000_000).unwrap();
    assert_eq!(dir.read(high).unwrap(), None);
    assert_eq!(dir.fdinfo(high).unwrap(), None);
    assert!(!dir.is(high, &was).unwrap());
    drop(socket);
    assert!(!dir.is(fd, &was).unwrap());
}

#[test]
fn as_many_descriptors_are_counted_as_listed() {
    let (mut cat, process) = start_cat();
    let (dir, deadline) = (process.fd_dir_of_process().unwrap(), Instant::now() + Duration::from_secs(10));
    // It opens and closes some until it has started.
    loop {
        let (Some(before), listed, after) = (dir.count(), dir.list().unwrap().len(), dir.count()) else {
            println!("not checked: this kernel does not tell (it does from Linux 6.2 on)");
            break;
        };
        if before == listed && after == Some(listed) {
            break;
        }
        assert!(Instant::now() < deadline, "{before} before {listed}, {after:?} after");
        std::thread::yield_now();
    }
    cat.kill().unwrap();
    cat.wait().unwrap();
}

#[test]
fn no_descriptor_of_a_full_table_is_left_out() {
    // Of a process of its own: other tests open and close theirs beside.
    let many = "ulimit -n 2000; exec 1900</dev/null; for i in $(seq 10 900); do eval \"exec $i</dev/null\"; done; echo; read line";
    let mut shell = Command::new("bash");
    let mut shell =
        shell.args(["-c", many]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash");
    let mut answer = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    let process = Procfs::host().open(Pid::new(shell.id().cast_signed()).unwrap()).unwrap();
    let dir = process.fd_dir_of_process().unwrap();
    let (listed, mut candidates) = (dir.list().unwrap(), Vec::new());
    assert!(listed.len() > 890, "{}", listed.len());
    dir.each_candidate(|fd| candidates.push(fd)).unwrap();
    assert!(listed.iter().all(|fd| candidates.binary_search(fd).is_ok()));
    assert!(candidates.is_sorted() && candidates.windows(2).all(|pair| pair[0] != pair[1]), "none twice");
    if let Some(count) = dir.count() {
        let (unasked, asked) = candidates.split_at(count);
        assert!(
            unasked.iter().map(|fd| fd.as_raw()).eq(0..count.try_into().unwrap()),
            "nobody asked which are open"
        );
        assert!(
            asked.iter().all(|fd| listed.contains(fd)) && asked.last().unwrap().as_raw() == 1900,
            "{asked:?}"
        );
    }
    // A table with little in it is asked.
    let few = own().fd_dir_of_process().unwrap();
    let mut asked = 0;
    few.each_candidate(|_| asked += 1).unwrap();
    assert!(asked < 900, "{asked}");
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

#[test]
fn a_deleted_file_keeps_its_name_whatever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for name in [&b"\x1b[2J\r\n\t\x07\xff\xc3 socket:[5]"[..], b"x (deleted)", b"socket:[5]"] {
        let path = dir.path().join(OsStr::from_bytes(name));
        let file = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = target(&file);
        let path = fs::canonicalize(dir.path()).unwrap().join(OsStr::from_bytes(name));
        assert_eq!(found, FdTarget::Path { path: path.as_os_str().as_bytes().to_vec(), deleted: true });
        assert!(found.is_deleted());
        assert_eq!((found.kind(), found.inode()), (Kind::File, None));
    }
}

#[test]
fn a_path_too_long_to_be_told_is_known_as_such() {
    let root = tempfile::tempdir().unwrap();
    let mut dir: OwnedFd = File::open(root.path()).unwrap().into();
    let name = [b'd'; 250];
    for _level in 0..20 {
        mkdirat(&dir, &name[..], Mode::S_IRWXU).unwrap();
        dir = openat(&dir, &name[..], OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    }
    assert_eq!(target(&dir), FdTarget::TooLong);
    assert!(!own().fd_dir_of_process().unwrap().is(number(&dir), &FdTarget::TooLong).unwrap());
}

#[test]
fn fdinfo_tells_flags_and_what_epoll_watches() {
    let eventfd = EventFd::new().unwrap();
    let watched = TcpListener::bind("127.0.0.1:0").unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(&watched, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    let process = own();
    let dir = process.fd_dir_of_process().unwrap();
    let info = dir.fdinfo(number(&eventfd.as_fd())).unwrap().unwrap();
    assert_eq!(info.flags & OFlag::O_ACCMODE.bits().cast_unsigned(), OFlag::O_RDWR.bits().cast_unsigned());
    let found = process.epoll_watched(process.living_thread().unwrap(), number(&epoll.0)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fd, number(&watched));
    if let Some(ino) = found[0].ino {
        assert_eq!(Some(ino), target(&watched).inode());
    }
    assert_eq!(process.epoll_watched(process.living_thread().unwrap(), number(&watched)).unwrap(), []);
}

#[test]
fn a_dead_process_stays_gone() {
    let (mut cat, process) = start_cat();
    let dir = process.fd_dir_of_process().unwrap();
    let stdin = Fd::new(0).unwrap();
    assert_eq!(dir.read(stdin).unwrap().map(|target| target.kind()), Some(Kind::Pipe));
    let (tid, other) = (process.pid().leader(), start_cat());
    cat.kill().unwrap();
    cat.wait().unwrap();

    assert!(!process.exists().unwrap());
    assert_eq!(dir.read(stdin).unwrap(), None);
    assert_eq!(dir.fdinfo(stdin).unwrap(), None);
    assert!(dir.list().unwrap_err().is_gone());
    assert!(process.status().unwrap_err().is_gone());
    assert!(process.stat_of(tid).unwrap_err().is_gone());
    assert!(process.comm().unwrap_err().is_gone());
    assert!(process.maps().unwrap_err().is_gone());
    assert!(process.exe().unwrap_err().is_gone());
    assert!(process.threads().unwrap_err().is_gone());
    assert!(process.living_thread().unwrap_err().is_gone());
    assert!(process.netns().unwrap_err().is_gone());
    assert!(process.fd_dir(tid).unwrap_err().is_gone());
    assert!(process.pidfd().unwrap_err().is_gone());
    let (mut cat, _) = other;
    cat.kill().unwrap();
    cat.wait().unwrap();
}

#[test]
fn a_number_used_again_is_not_the_same_process() {
    let (mut cat, process) = start_cat();
    let dir = process.fd_dir_of_process().unwrap();
    cat.kill().unwrap();
    cat.wait().unwrap();
    for _try in 0..200 {
        // The next process gets the number after this one, unless somebody else starts one first.
        let last = (process.pid().as_raw() - 1).to_string();
        if let Err(error) = fs::write("/proc/sys/kernel/ns_last_pid", last) {
            return println!("not checked: the next pid can't be chosen here: {error}");
        }
        let (mut cat, other) = start_cat();
        let same_number = other.pid() == process.pid();
        if same_number {
            assert!(other.exists().unwrap());
            assert!(!process.exists().unwrap());
            assert!(process.start_time().unwrap_err().is_gone());
            assert!(process.pidfd().unwrap_err().is_gone());
            assert!(dir.list().unwrap_err().is_gone());
            assert_eq!(dir.read(Fd::new(0).unwrap()).unwrap(), None);
        }
        cat.kill().unwrap();
        cat.wait().unwrap();
        if same_number {
            return;
        }
    }
    println!("not checked: others took the number every time");
}

#[test]
fn a_zombie_exists_but_has_nothing_left() {
    let (mut cat, process) = start_cat();
    let Some(pidfd) = process.pidfd().unwrap() else {
        cat.kill().unwrap();
        cat.wait().unwrap();
        return println!("skipped: this kernel has no pidfd_open");
    };
    cat.kill().unwrap();
    // A pidfd is readable once the process has ended, reaped or not.
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ended, PollTimeout::from(10_000u16)).unwrap(), 1);

    assert!(process.exists().unwrap());
    assert!(process.status().unwrap().is_dead());
    assert!(process.living_thread().unwrap_err().is_gone());
    assert_eq!(process.threads().unwrap(), [process.pid().leader()]);
    assert_eq!(process.exe().unwrap(), None);
    assert_eq!(process.maps().unwrap(), []);
    assert_eq!(process.sysinfo_ehdr(WordSize::Bits64).unwrap(), None);
    cat.wait().unwrap();
    assert!(!process.exists().unwrap());
}

#[test]
fn a_kernel_thread_is_known_as_such() {
    let is_kernel_thread = |process: &Process| process.stat().is_ok_and(|stat| stat.is_kernel_thread());
    let Some(process) = Procfs::host().open(Pid::new(2).unwrap()).ok().filter(is_kernel_thread) else {
        return println!("not checked: process 2 is no kernel thread here");
    };
    assert_ne!(process.status().unwrap().kthread, Some(false));
    if !nix::unistd::geteuid().is_root() {
        return println!("the rest needs root");
    }
    assert_eq!(process.exe().unwrap(), None);
    assert_eq!(process.maps().unwrap(), []);
    assert_eq!(process.sysinfo_ehdr(WordSize::Bits64).unwrap(), None);
    assert_eq!(process.fd_dir_of_process().unwrap().list().unwrap(), []);
}

#[test]
fn a_blocked_threads_call_is_told() {
    let (mut reader, writer) = pipe().unwrap();
    let fd = u64::try_from(reader.as_raw_fd()).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(own_tid()).unwrap();
            reader.read_to_end(&mut Vec::new()).unwrap();
        });
        let (process, tid) = (own(), told.recv().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match process.syscall(tid) {
                Ok(InSyscall::Call { args, sp, pc, .. }) if args[0] == fd => {
                    assert!(sp != RemoteAddr(0) && pc != RemoteAddr(0));
                    break;
                }
                // It is still on its way there.
                Ok(_) => assert!(Instant::now() < deadline, "the thread never reads"),
                Err(ProcError::Missing { .. }) => break println!("skipped: no /proc/PID/syscall here"),
                Err(error) => panic!("{error}"),
            }
            std::thread::yield_now();
        }
        drop(writer);
    });
}
