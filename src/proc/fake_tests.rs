//! The readers against a directory that looks like `/proc`: what this host's kernel can't be made to show.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::ids::{Fd, Inode, Pid, RemoteAddr, Tid};

/// Threads 100 (ended), 101 (gone while listing) and 102.
struct Fake {
    root: TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { root: tempfile::tempdir().unwrap() };
        fake.write("100/comm", "odd) name\n");
        fake.write("100/stat", &stat('Z'));
        fake.write("100/task/100/stat", &stat('Z'));
        fake.dir("100/task/101");
        fake.write("100/task/102/stat", &stat('S'));
        fake
    }

    fn dir(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root.path().join(name);
        self.dir(Path::new(name).parent().unwrap().to_str().unwrap());
        fs::write(path, text).unwrap();
    }

    fn procfs(&self) -> Procfs {
        Procfs::at(self.root.path())
    }

    fn process(&self) -> Process {
        self.procfs().open_listed(pid(100)).unwrap()
    }
}

fn stat(state: char) -> String {
    format!("100 (odd) name) {state} 1 100 100 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n")
}

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

fn tid(raw: i32) -> Tid {
    Tid::new(raw).unwrap()
}

fn fd(raw: i32) -> Fd {
    Fd::new(raw).unwrap()
}

#[test]
fn only_numbers_are_processes() {
    let fake = Fake::new();
    for name in ["7", "4194304", "self", "0", "99999999999", "12x", "fs/1"] {
        fake.dir(name);
    }
    let mut pids = fake.procfs().pids().unwrap();
    pids.sort_unstable();
    assert_eq!(pids, [pid(7), pid(100), pid(4_194_304)]);
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let error = Procfs::at("/nonexistent").pids().unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent: No such file or directory (os error 2)");
    assert!(Procfs::at("/nonexistent").open(pid(1)).unwrap_err().is_gone());
}

#[test]
fn a_thread_outlives_its_leader() {
    let fake = Fake::new();
    let process = fake.process();
    assert!(process.exists().unwrap());
    assert_eq!(process.living_thread().unwrap(), tid(102));
    let path = fake.dir("100/task/102/fd");
    symlink("socket:[5]", path.join("3")).unwrap();
    let dir = process.fd_dir_of_process().unwrap();
    assert_eq!((dir.tid(), dir.list().unwrap()), (tid(102), vec![fd(3)]));
    assert_eq!(dir.read(fd(3)).unwrap(), Some(FdTarget::Socket(Inode(5))));

    fake.write("100/task/102/stat", &stat('X'));
    assert!(process.living_thread().unwrap_err().is_gone());
}

#[test]
fn memory_is_read_from_a_thread_that_has_it() {
    let fake = Fake::new();
    let size = if cfg!(target_pointer_width = "64") { WordSize::Bits64 } else { WordSize::Bits32 };
    fake.write("100/maps", "");
    fake.write("100/task/102/maps", "1000-2000 r-xp 00000000 00:00 0   [vdso]\n");
    fake.write("100/task/102/auxv", "");
    let auxv: Vec<u8> = [33usize, 0x1000, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    fs::write(fake.root.path().join("100/task/102/auxv"), auxv).unwrap();
    symlink("/bin/x", fake.root.path().join("100/task/102/exe")).unwrap();
    let process = fake.process();
    assert!(process.maps().unwrap()[0].is_vdso());
    assert_eq!(process.sysinfo_ehdr(size).unwrap(), Some(RemoteAddr(0x1000)));
    assert_eq!(process.exe().unwrap(), Some(b"/bin/x".to_vec()));

    fake.write("100/task/102/stat", &stat('Z'));
    assert_eq!(process.maps().unwrap(), []);
    assert_eq!((process.sysinfo_ehdr(size).unwrap(), process.exe().unwrap()), (None, None));
}

#[test]
fn an_old_kernels_namespaces_are_missing_not_gone() {
    let fake = Fake::new();
    let ns = fake.dir("100/task/102/ns");
    symlink("net:[4026531840]", ns.join("net")).unwrap();
    symlink("/etc/passwd", ns.join("mnt")).unwrap();
    let process = fake.process();
    assert_eq!(process.netns().unwrap(), 4_026_531_840);
    assert!(matches!(process.namespace("time"), Err(ProcError::Missing { .. })));
    assert!(matches!(process.namespace("mnt"), Err(ProcError::Malformed { .. })));
    assert_eq!(process.exe().unwrap(), None);
}

#[test]
fn errors_name_the_file() {
    let fake = Fake::new();
    fake.write("100/status", "Name:\tx\n");
    fake.write("100/maps", "junk\n");
    let process = fake.process();
    let error = process.status().unwrap_err().to_string();
    assert!(error.ends_with("/100/status: unexpected contents: no State line"), "{error}");
    let error = process.maps().unwrap_err().to_string();
    assert!(error.ends_with("/100/maps: unexpected contents: not a mapping"), "{error}");
    let error = process.status_of(tid(101)).unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("/100/task/101/status: "), "{error}");
    let error = process.fd_dir(tid(103)).unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("/100/task/103/fd: "), "{error}");
}

#[test]
fn a_file_without_end_is_refused() {
    let fake = Fake::new();
    fs::File::create(fake.root.path().join("100/status")).unwrap().set_len(2 << 20).unwrap();
    let error = fake.process().status().unwrap_err();
    assert!(matches!(error, ProcError::TooLarge { limit: 1_048_576, .. }), "{error}");
}

#[test]
fn fdinfo_lies_beside_fd() {
    let fake = Fake::new();
    fake.dir("100/task/102/fd");
    fake.write("100/task/102/fdinfo/7", "pos:\t0\nflags:\t02\ntfd:  5 events: 19 data: 5\n");
    let process = fake.process();
    let dir = process.fd_dir(tid(102)).unwrap();
    let info = dir.fdinfo(fd(7)).unwrap().unwrap();
    assert_eq!((info.flags, info.mnt_id, info.watched.len()), (2, None, 1));
    assert_eq!(dir.fdinfo(fd(8)).unwrap(), None);
    assert_eq!(process.epoll_watched(dir.tid(), fd(7)).unwrap(), [Watched { fd: fd(5), ino: None }]);
    assert_eq!(process.epoll_watched(dir.tid(), fd(8)).unwrap(), []);
}

#[test]
fn directories_longer_than_one_read_are_listed_whole() {
    let fake = Fake::new();
    let path = fake.dir("100/task/102/fd");
    for number in 0..2000 {
        symlink("/dev/null", path.join(number.to_string())).unwrap();
    }
    let dir = fake.process().fd_dir(tid(102)).unwrap();
    let mut fds = vec![fd(9999)];
    for _twice in 0..2 {
        dir.list_into(&mut fds).unwrap();
        fds.sort_unstable();
        assert_eq!(fds, (0..2000).map(fd).collect::<Vec<_>>());
    }
}
