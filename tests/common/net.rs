//! A network of the test's own: two network namespaces joined by a veth(4) pair. They live as long as this does, and
//! what is in them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::{Need, Victim, binaries, lacks};

/// For documentation (RFC 5737, RFC 3849): no route of the machine's goes there.
const NEAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
const FAR: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// Two machines, as it were, and the wire between them.
pub(crate) struct Net {
    near: File,
    far: File,
}

impl Net {
    /// Makes one; `None`, with the reason told, where that can't be done.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        if lacks(&[Need::Root, Need::Program("ip"), Need::Program("nsenter"), Need::Veth, Need::Ipv6]) {
            return None;
        }
        let ((near, _), (far, keeper)) = (make(), make());
        let net = Self { near, far };
        enter(&net.near, || {
            ip(&format!("link add near type veth peer name far netns {}", keeper.tid));
            for (address, len) in NEAR.iter().zip([24, 64]) {
                ip(&format!("address add {address}/{len} dev near {}", if len == 64 { "nodad" } else { "" }));
            }
            ip("link set lo up");
            ip("link set near up");
        });
        enter(&net.far, || {
            for (address, len) in FAR.iter().zip([24, 64]) {
                ip(&format!("address add {address}/{len} dev far {}", if len == 64 { "nodad" } else { "" }));
            }
            ip("link set lo up");
            ip("link set far up");
        });
        drop(keeper);
        Some(net)
    }

    /// Starts a victim on the near side.
    #[track_caller]
    pub(crate) fn spawn(&self, name: &str, args: &[&str]) -> Victim {
        let namespace = format!("--net=/proc/{}/fd/{}", std::process::id(), self.near.as_raw_fd());
        let program = binaries::victim(name);
        let program = program.to_str().expect("a path in UTF-8");
        Victim::spawn_program("nsenter".as_ref(), &[&[&*namespace, program], args].concat())
    }

    /// Connects from the far side to a port of the near one.
    #[track_caller]
    pub(crate) fn connect(&self, v6: bool, port: u16) -> TcpStream {
        let to = SocketAddr::from((NEAR[usize::from(v6)], port));
        enter(&self.far, || TcpStream::connect(to).expect("the near side listens"))
    }

    /// The far machine has lost its power: whatever is sent to it, or by it, is lost.
    #[track_caller]
    pub(crate) fn cut(&self) {
        enter(&self.far, || ip("link set far down"));
    }

    /// Makes the near side forget the far one's link address, as it does by itself some time after the far one is cut.
    #[track_caller]
    pub(crate) fn forget_neighbour(&self) {
        enter(&self.near, || ip("neighbour flush dev near"));
    }

    /// Sets rp_filter (ip-sysctl) of every interface on the near side.
    #[track_caller]
    pub(crate) fn filter_reverse_paths(&self, how: u8) {
        enter(&self.near, || {
            for interface in ["all", "default", "lo", "near"] {
                let path = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
                fs::write(&path, how.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }
}

/// A thread that stays in a namespace of its own until this is dropped.
struct Keeper {
    tid: i32,
    _end: mpsc::Sender<()>,
}

fn make() -> (File, Keeper) {
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make namespaces");
        let namespace = File::open("/proc/thread-self/ns/net").expect("a thread has one");
        tell.send((namespace, nix::unistd::gettid().as_raw())).expect("somebody waits");
        // Until the other end is dropped.
        let _ = ended.recv();
    });
    let (namespace, tid) = told.recv().expect("it was made");
    (namespace, Keeper { tid, _end: end })
}

/// Does `work` in a namespace.
#[track_caller]
fn enter<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    let there = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter namespaces");
        work()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

#[track_caller]
fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip starts");
    assert!(output.status.success(), "ip {words}: {output:?}");
}
