//! What a test needs of the machine. A test that lacks it says so and is over; under `FDCLOSE_TEST_STRICT=1` it fails,
//! so that no test is skipped unseen.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv6Addr, TcpListener};
use std::process::Command;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::cgroup::Version;

/// A thing not every machine or user has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// Effective user id 0, to become others and to act on others.
    Root,
    /// Tracing processes that are no descendants and didn't allow it (Yama's ptrace_scope 0, or CAP_SYS_PTRACE).
    TraceOthers,
    /// The kernel's own threads are visible, as they aren't in a container.
    KernelThreads,
    /// An IPv6 loopback address.
    Ipv6,
    /// Virtual Ethernet links.
    Veth,
    /// Sockets between virtual machines and their host.
    Vsock,
    /// A hierarchy of control groups that can freeze.
    Freezer(Version),
    /// Control groups of version 1 that give sockets a class.
    NetCls,
    /// A C compiler that makes 32-bit x86 programs, if only without a library.
    Compiler32,
    /// System calls that can be dispatched back to their thread (Linux 5.11), and a kernel that tells a tracer (6.4).
    UserDispatch,
    /// A C library that registers restartable sequences, and a kernel that tells a tracer of them (Linux 5.13).
    Rseq,
    /// A program in PATH.
    Program(&'static str),
}

impl Need {
    fn missing(self) -> Option<String> {
        let root =
            fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        match self {
            Self::Root => (!root).then(|| "not root".to_owned()),
            Self::TraceOthers => {
                let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
                let scope = scope.trim().parse().unwrap_or(0);
                let free = scope == 0 || (root && scope < 3);
                (!free).then(|| format!("ptrace_scope is {scope}"))
            }
            Self::KernelThreads => {
                let name = fs::read_to_string("/proc/2/comm").unwrap_or_default();
                (name.trim() != "kthreadd").then(|| "process 2 is no kernel thread here".to_owned())
            }
            Self::Ipv6 => {
                let bound = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
                bound.err().map(|error| format!("no IPv6 loopback address: {error}"))
            }
            // In a namespace of its own, with which it goes.
            Self::Veth => {
                let script = "ip link add near type veth peer name far";
                let made = Command::new("unshare").args(["--net", "sh", "-c", script]).output();
                (!made.is_ok_and(|made| made.status.success())).then(|| "no veth links".to_owned())
            }
            Self::Vsock => {
                let made = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None);
                made.err().map(|error| format!("no vsock(7): {error}"))
            }
            Self::Freezer(version) => {
                version.mount().is_none().then(|| format!("no control groups {version:?} that freeze"))
            }
            // In a mount namespace of its own, with which it goes.
            Self::NetCls => {
                let script = "mount -t cgroup -o net_cls none /mnt";
                let made = Command::new("unshare").args(["--mount", "sh", "-c", script]).output();
                (!made.is_ok_and(|made| made.status.success()))
                    .then(|| "no control groups net_cls".to_owned())
            }
            Self::Compiler32 => {
                let made = Command::new("gcc")
                    .args(["-m32", "-nostdlib", "-shared", "-x", "c", "-o", "/dev/null", "/dev/null"])
                    .output();
                let made = made.is_ok_and(|made| made.status.success());
                (!made).then(|| "gcc makes no 32-bit programs".to_owned())
            }
            Self::UserDispatch => older_than((6, 4)),
            Self::Rseq => {
                let header = fs::metadata("/usr/include/x86_64-linux-gnu/sys/rseq.h").is_err();
                older_than((5, 13)).or_else(|| header.then(|| "no header sys/rseq.h".to_owned()))
            }
            Self::Program(name) => {
                let path = env::var_os("PATH").unwrap_or_default();
                // Servers live in the administrators' directories, which an ordinary user's PATH may lack.
                let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
                let found = places.into_iter().any(|place| place.join(name).is_file());
                (!found).then(|| format!("{name} is not installed"))
            }
        }
    }
}

fn older_than(least: (u32, u32)) -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version < least).then(|| format!("Linux {} is older than {}.{}", release.trim(), least.0, least.1))
}

/// Whether the test must be left out: `if lacks(&[Need::Root]) { return; }`. Prints the reason.
#[track_caller]
pub(crate) fn lacks(needs: &[Need]) -> bool {
    let reason = needs.iter().find_map(|need| need.missing());
    reason.inspect(|reason| skip(reason)).is_some()
}

/// Says that the test is left out for a reason that only showed on the way.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(env::var_os("FDCLOSE_TEST_STRICT").is_none_or(|value| value != "1"), "SKIPPED: {reason}");
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    // Written past the test runner's capture, which would swallow it for a test that passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}").expect("standard error is open");
}
