//! Keepalive of a TCP connection (tcp(7)): the kernel's own way to find out that a peer has vanished.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use serde::Serialize;

/// How a connection asks whether its peer is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Keepalive {
    /// SO_KEEPALIVE: whether it asks at all.
    pub enabled: bool,
    /// TCP_KEEPIDLE: after how many seconds of silence it asks first.
    pub idle_s: u32,
    /// TCP_KEEPINTVL: seconds between two questions.
    pub interval_s: u32,
    /// TCP_KEEPCNT: after how many unanswered questions the connection ends.
    pub count: u32,
    /// TCP_USER_TIMEOUT, in milliseconds: after how long without an acknowledgement the connection ends, questions
    /// included; 0 leaves that to the kernel.
    pub user_timeout_ms: u32,
}

/// What is to change; the rest stays. Keepalive itself is always turned on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepaliveWish {
    /// As in [`Keepalive`].
    pub idle_s: Option<u32>,
    /// As in [`Keepalive`].
    pub interval_s: Option<u32>,
    /// As in [`Keepalive`].
    pub count: Option<u32>,
    /// As in [`Keepalive`].
    pub user_timeout_ms: Option<u32>,
}

impl KeepaliveWish {
    /// What `before` becomes.
    #[must_use]
    pub fn of(self, before: Keepalive) -> Keepalive {
        Keepalive {
            enabled: true,
            idle_s: self.idle_s.unwrap_or(before.idle_s),
            interval_s: self.interval_s.unwrap_or(before.interval_s),
            count: self.count.unwrap_or(before.count),
            user_timeout_ms: self.user_timeout_ms.unwrap_or(before.user_timeout_ms),
        }
    }
}

impl Keepalive {
    /// What is in force for a TCP socket.
    ///
    /// # Errors
    /// What getsockopt(2) answers: EOPNOTSUPP or ENOPROTOOPT of one that is not TCP.
    pub fn read(socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self {
            enabled: getsockopt(&socket, sockopt::KeepAlive)?,
            idle_s: getsockopt(&socket, sockopt::TcpKeepIdle)?,
            interval_s: getsockopt(&socket, sockopt::TcpKeepInterval)?,
            count: getsockopt(&socket, sockopt::TcpKeepCount)?,
            user_timeout_ms: getsockopt(&socket, sockopt::TcpUserTimeout)?,
        })
    }

    /// Puts it in force, in an order in which no moment has keepalive on with times that were not asked for.
    ///
    /// # Errors
    /// What setsockopt(2) answers: EINVAL of times beyond 32,767 s or a count beyond 127.
    pub fn write(self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        setsockopt(&socket, sockopt::TcpKeepIdle, &self.idle_s)?;
        setsockopt(&socket, sockopt::TcpKeepInterval, &self.interval_s)?;
        setsockopt(&socket, sockopt::TcpKeepCount, &self.count)?;
        setsockopt(&socket, sockopt::TcpUserTimeout, &self.user_timeout_ms)?;
        setsockopt(&socket, sockopt::KeepAlive, &self.enabled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd as _;

    #[test]
    fn what_is_written_is_read_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = Keepalive::read(stream.as_fd()).unwrap();
        assert!(!before.enabled);
        let wish = KeepaliveWish { idle_s: Some(61), count: Some(5), ..KeepaliveWish::default() };
        let wanted = wish.of(before);
        assert_eq!((wanted.interval_s, wanted.user_timeout_ms), (before.interval_s, before.user_timeout_ms));
        wanted.write(stream.as_fd()).unwrap();
        assert_eq!(Keepalive::read(stream.as_fd()), Ok(wanted));
        let beyond = Keepalive { idle_s: 32_768, ..wanted };
        assert_eq!(beyond.write(stream.as_fd()), Err(Errno::EINVAL));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Keepalive::read(udp.as_fd()).is_err());
    }
}
