//! What a socket is, asked of the socket itself, through a copy of the descriptor.
//!
//! The kernel's tables have no index by inode: to find one socket in them it walks all of its hash table, which
//! takes 5 to 10 ms a table on a machine with 24 GB, however few sockets there are. A copy answers in
//! microseconds. The target does not notice; it pays nothing, unless it closes its own descriptor in the very
//! moment, and then the connection ends when the copy does.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, SockaddrStorage, getpeername, getsockname, getsockopt, shutdown, sockopt};
use nix::sys::stat::fstat;

use super::endpoint::{Endpoint, UnixName};
use super::row::SocketInfo;
use super::state::TcpState;
use super::{class, sys, tcp_info};
use crate::host::{self, Fallback, Feature};
use crate::ids::{Fd, Inode, Tid};
use crate::kind::Kind;
use crate::proc::{ProcError, Process};

/// Makes copies of a process's sockets, to ask them.
#[derive(Debug)]
pub struct Copies {
    pidfd: OwnedFd,
}

/// Why there can be no copies of a process's descriptors.
#[derive(Debug, thiserror::Error)]
pub enum NoCopies {
    /// The kernel has no pidfd, or is known to make no copies.
    #[error("this kernel makes no copies of descriptors ({})", Feature::PidfdGetfd)]
    Kernel,
    /// The leader has ended, and its table with it: the kernel looks into that of the thread that a pidfd is of.
    #[error(
        "the main thread of the process has ended, and this kernel copies the descriptors of main threads alone ({})",
        Feature::PidfdThread
    )]
    LeaderEnded,
    /// They would take on fdclose's class, and the process's sockets with them.
    #[error(
        "a copy of the descriptor would move the socket into the net_cls or net_prio group of fdclose, whose class is \
         another or can't be read"
    )]
    OtherClass,
    /// The process has ended, or can't be looked at.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

impl Copies {
    /// For the descriptors of `process`; `None` where there can be none.
    #[must_use]
    pub fn of(process: &Process) -> Option<Self> {
        Self::open(process).ok()
    }

    /// As [`Self::of`], with the reason why not.
    ///
    /// # Errors
    /// [`NoCopies`].
    pub fn open(process: &Process) -> Result<Self, NoCopies> {
        let (pidfd, tid) = pidfd(process)?;
        if class::would_change(process, tid) { Err(NoCopies::OtherClass) } else { Ok(Self { pidfd }) }
    }

    #[cfg(test)]
    pub(crate) fn through(pidfd: OwnedFd) -> Self {
        Self { pidfd }
    }

    /// Whether the kernel makes copies at all: pidfds came before (Linux 5.3).
    #[must_use]
    pub fn are_to_be_had(&self) -> bool {
        // No process has this descriptor.
        let none = Fd::new(i32::MAX);
        none.is_some_and(|none| sys::pidfd_getfd(self.pidfd.as_fd(), none).err() != Some(Errno::ENOSYS))
    }

    /// Has the table of descriptors grow now, so that so many copies more fit into it. Copies that find no room later
    /// are no worse off than without.
    pub fn make_room(&self, copies: usize) {
        // Standard streams, and what else is open.
        const OTHERS: usize = 64;
        let number = i32::try_from(copies.saturating_add(OTHERS)).unwrap_or(i32::MAX);
        // That it could not be made, for a limit, means only that the table grows later or not at all.
        drop(sys::duplicate_from(self.pidfd.as_fd(), number));
    }

    /// A copy of descriptor `fd`, if it is the socket `inode`.
    #[must_use]
    pub fn copy(&self, fd: Fd, inode: Inode) -> Option<OwnedFd> {
        self.copy_and_owner(fd, inode).map(|(copy, _)| copy)
    }

    /// As [`Self::copy`], with the reason why not: `None` if it is something else.
    ///
    /// # Errors
    /// What pidfd_getfd(2) answers: EBADF or ESRCH if it is not open, and also if the thread that is asked has ended since,
    /// so that [`Process::look`] alone tells that it is gone; EPERM, ENOSYS.
    pub fn try_copy(&self, fd: Fd, inode: Inode) -> Result<Option<OwnedFd>, Errno> {
        let copy = sys::pidfd_getfd(self.pidfd.as_fd(), fd)?;
        Ok(is_socket(&copy, inode).map(|_| copy))
    }

    /// What descriptor `fd` is, if it is the socket `inode`. `None` for everything that can't be told this way: a
    /// descriptor that changed, one in a thread's private table, missing rights, a socket of another family unless it
    /// listens. Queue lengths are not asked for, and are 0.
    #[must_use]
    pub fn describe(&self, fd: Fd, inode: Inode) -> Option<SocketInfo> {
        let (copy, uid) = self.copy_and_owner(fd, inode)?;
        describe(copy.as_fd(), inode, uid)
    }

    /// For how many milliseconds nothing has come from the peer of the TCP connection `inode`, whose descriptor is
    /// `fd`, as in [`SocketInfo::idle_ms`]. `None` if it can't be told, as in [`Self::describe`].
    #[must_use]
    pub fn idle_ms(&self, fd: Fd, inode: Inode) -> Option<u64> {
        idle_ms(self.copy(fd, inode)?.as_fd())
    }

    fn copy_and_owner(&self, fd: Fd, inode: Inode) -> Option<(OwnedFd, u32)> {
        let copy = sys::pidfd_getfd(self.pidfd.as_fd(), fd).ok()?;
        let owner = is_socket(&copy, inode)?;
        Some((copy, owner))
    }
}

/// Refers to a thread whose descriptors can be copied.
fn pidfd(process: &Process) -> Result<(OwnedFd, Tid), NoCopies> {
    if !host::has(Feature::PidfdGetfd) {
        return Err(NoCopies::Kernel);
    }
    let leader = process.pid().leader();
    match process.pidfd_of(leader) {
        Ok(Some(pidfd)) => return Ok((pidfd, leader)),
        Ok(None) => return Err(NoCopies::Kernel),
        Err(error) if error.is_gone() => {}
        Err(error) => return Err(error.into()),
    }
    // Its number goes to another thread only with execve(2), which leaves that thread alone.
    let tid = process.living_thread()?;
    match process.pidfd_of(tid) {
        Ok(Some(pidfd)) => Ok((pidfd, tid)),
        Ok(None) => {
            host::fall_back(Fallback::LeaderNotCopied);
            Err(NoCopies::LeaderEnded)
        }
        Err(error) if error.is_gone() && process.living_thread().is_ok() => Err(NoCopies::LeaderEnded),
        Err(error) => Err(error.into()),
    }
}

/// The owner of `copy`, if it is the socket `inode`.
fn is_socket(copy: &OwnedFd, inode: Inode) -> Option<u32> {
    let stat = fstat(copy).ok()?;
    // On sockfs fstat asks no file system, so it can't hang as it might on a dead NFS mount; but a descriptor
    // that changed may be such a file. Its number is compared before anything else is asked of it.
    let is_it = stat.st_ino == inode.0 && stat.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    is_it.then_some(stat.st_uid)
}

/// Shuts a socket down (shutdown(2)), for all who hold it.
///
/// # Errors
/// What shutdown(2) answers; ENOTCONN of one that is not connected, whose waiters are woken all the same
/// (`inet_shutdown`, net/ipv4/af_inet.c).
pub fn shut_down(socket: BorrowedFd<'_>, how: Shutdown) -> Result<(), Errno> {
    shutdown(socket.as_raw_fd(), how)
}

/// Whether the last close of a socket waits for its peer (SO_LINGER in socket(7)). One that does not tell is taken to.
#[must_use]
pub fn lingers(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::Linger).map_or(true, |linger| linger.l_onoff != 0 && linger.l_linger > 0)
}

/// The state of a TCP socket, right now; `None` for one that this build does not know.
///
/// # Errors
/// What getsockopt(2) answers.
pub fn tcp_state(socket: BorrowedFd<'_>) -> Result<Option<TcpState>, Errno> {
    let mut room = [0; tcp_info::HEAD];
    let info = sys::tcp_info(socket, &mut room);
    info.map(tcp_info::state).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// For how many milliseconds nothing has come from the peer of a TCP connection, right now, as in
/// [`SocketInfo::idle_ms`]; `None` if it does not tell.
#[must_use]
pub fn idle_ms(socket: BorrowedFd<'_>) -> Option<u64> {
    state_and_idle_ms(socket)?.1
}

/// Whether the other end of a connection has closed it, or it has failed.
#[must_use]
pub fn peer_is_gone(socket: BorrowedFd<'_>) -> bool {
    let gone = PollFlags::from_bits_retain(libc::POLLRDHUP) | PollFlags::POLLHUP | PollFlags::POLLERR;
    let mut entry = [PollFd::new(socket, gone)];
    poll(&mut entry, PollTimeout::ZERO).is_ok_and(|told| told > 0)
}

fn describe(socket: BorrowedFd<'_>, inode: Inode, uid: u32) -> Option<SocketInfo> {
    let option = |option| sys::int_option(socket, libc::SOL_SOCKET, option).ok();
    let kind = match (option(libc::SO_DOMAIN)?, option(libc::SO_PROTOCOL)?) {
        // What the kernel tells of an MPTCP socket, here and in its tables, is of its first TCP connection
        // (`mptcp_getsockopt_first_sf_only`, net/mptcp/sockopt.c; checked on 6.18).
        (libc::AF_INET | libc::AF_INET6, libc::IPPROTO_TCP | libc::IPPROTO_MPTCP) => Kind::Tcp,
        (libc::AF_INET | libc::AF_INET6, libc::IPPROTO_UDP) => Kind::Udp,
        (libc::AF_UNIX, _) => Kind::Unix,
        _ => Kind::Socket,
    };
    let listens = || option(libc::SO_ACCEPTCONN).map(|listens| listens != 0);
    let (state, idle_ms) = match kind {
        Kind::Tcp => state_and_idle_ms(socket)?,
        // No table has a service by vsock(7) or SCTP, say.
        Kind::Unix | Kind::Socket if listens()? => (Some(TcpState::Listen), None),
        Kind::Socket => return None,
        _ => (None, None),
    };
    let local = match kind {
        Kind::Socket => Endpoint::Other,
        _ => endpoint(&getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?)?,
    };
    let peer = getpeername::<SockaddrStorage>(socket.as_raw_fd()).ok();
    Some(SocketInfo {
        inode,
        kind,
        state,
        local,
        peer: peer.filter(|_| matches!(kind, Kind::Tcp | Kind::Udp)).as_ref().and_then(endpoint),
        recv_q: 0,
        send_q: 0,
        uid: Some(uid),
        idle_ms,
        cookie: None,
        interface: option(libc::SO_BINDTOIFINDEX).and_then(|number| u32::try_from(number).ok()),
    })
}

/// `None` if it does not tell; a state that this version does not know is none.
fn state_and_idle_ms(socket: BorrowedFd<'_>) -> Option<(Option<TcpState>, Option<u64>)> {
    let mut room = [0; tcp_info::HEAD];
    let info = sys::tcp_info(socket, &mut room).ok()?;
    let state = tcp_info::state(info);
    Some((state, state.and_then(|state| tcp_info::idle_ms(info, state))))
}

fn endpoint(address: &SockaddrStorage) -> Option<Endpoint> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(Endpoint::Inet(SocketAddr::V4((*v4).into())));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Some(Endpoint::Inet(SocketAddr::V6((*v6).into())));
    }
    let unix = address.as_unix_addr()?;
    Some(Endpoint::Unix(match (unix.path(), unix.as_abstract()) {
        (Some(path), _) => UnixName::Path(path.as_os_str().as_encoded_bytes().to_vec()),
        (None, Some(name)) => UnixName::Abstract(name.to_vec()),
        (None, None) => UnixName::Unnamed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Pid;
    use crate::net::{Protocols, SocketTable};
    use crate::proc::{FdTarget, Procfs};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn agrees_with_the_tables() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let process = Procfs::host().open(own).unwrap();
        let Some(copies) = Copies::of(&process) else {
            println!("not checked: no pidfd_getfd here");
            return;
        };
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(std::env::temp_dir().join(format!("fdclose-copy-{own}"))).unwrap();
        let table = SocketTable::read(&process, Protocols::ALL).unwrap();
        for fd in [v4.as_raw_fd(), connected.as_raw_fd(), udp.as_raw_fd(), unix.as_raw_fd()] {
            let fd = Fd::new(fd).unwrap();
            let target = process.fd_dir_of_process().unwrap().read(fd).unwrap();
            let Some(FdTarget::Socket(inode)) = target else { panic!("{target:?} is no socket") };
            let answer = copies.describe(fd, inode).expect("a socket of ours can be described");
            let listed = table.get(inode).expect("a socket of ours is in the tables");
            assert_eq!((&answer.local, &answer.peer), (&listed.local, &listed.peer));
            assert_eq!(answer.kind, listed.kind);
            if answer.kind == Kind::Tcp {
                assert_eq!(answer.state, listed.state);
            }
            assert_eq!(copies.describe(fd, Inode(inode.0 + 1)), None, "another socket must not pass for it");
        }
        std::fs::remove_file(std::env::temp_dir().join(format!("fdclose-copy-{own}"))).unwrap();
    }
}
