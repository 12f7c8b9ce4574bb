//! Where a connection stands, asked of its socket: TCP_REPAIR (Linux 3.5; CAP_NET_ADMIN).
//!
//! It is made to move connections from one machine to another, and shows their numbers. While it is on, the socket's
//! owner is told EPERM by recv(2), what it sends goes nowhere or into its own queue, and a close(2) is not told to the peer
//! (`tcp_sendmsg_locked`, `tcp_recvmsg_locked`, `__tcp_close`). So it must not stay on. A [`Repair`] ends it when dropped; for the case that its process is killed, another
//! process with a copy of the descriptor has to [`Mender::mend`] the socket.
//!
//! To end it also clears SO_REUSEADDR (`tcp_repair_set`, net/ipv4/tcp.c), without which a server that is started anew
//! could not bind its port while the connection lives. That is put back.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::segment::Numbers;
use super::sys;

/// Values of TCP_REPAIR_QUEUE (`linux/tcp.h`).
const TCP_RECV_QUEUE: i32 = 1;
const TCP_SEND_QUEUE: i32 = 2;
/// Values of TCP_REPAIR. The last one, of Linux 4.19, sends the peer no probe of its window.
const ON: i32 = 1;
const OFF: i32 = 0;
const OFF_NO_WP: i32 = -1;
/// `linux/sockios.h`: how many bytes are not acknowledged, and how many not sent.
const SIOCOUTQ: libc::Ioctl = libc::TIOCOUTQ;
const SIOCOUTQNSD: libc::Ioctl = 0x894b;

/// What a socket was like before, to make it so again.
#[derive(Debug, Clone, Copy)]
pub struct Mender {
    reuses_address: bool,
}

impl Mender {
    /// Looks at a socket.
    ///
    /// # Errors
    /// EBUSY if it is being repaired by somebody else; ENOPROTOOPT and others of getsockopt(2).
    pub fn of(socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        if is_on(socket)? {
            return Err(Errno::EBUSY);
        }
        let reuse = option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
        Ok(Self { reuses_address: reuse != 0 })
    }

    /// Ends the repair of a socket, if that is on; whether it was.
    ///
    /// # Errors
    /// What setsockopt(2) answers.
    pub fn mend(self, socket: BorrowedFd<'_>) -> Result<bool, Errno> {
        let was_on = is_on(socket)?;
        if was_on {
            let without_probe = set_option(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, OFF_NO_WP);
            without_probe.or_else(|_| set_option(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, OFF))?;
        }
        // Also where whoever ended it came no further.
        if self.reuses_address {
            set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        Ok(was_on)
    }
}

fn is_on(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(option(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR)? == ON)
}

/// A socket whose repair is on.
#[derive(Debug)]
pub struct Repair<'a> {
    /// `None` once it is over.
    socket: Option<BorrowedFd<'a>>,
    mender: Mender,
}

impl<'a> Repair<'a> {
    /// Turns it on.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN in the network namespace of the socket, or for a state in which the kernel does not
    /// allow it; ENOPROTOOPT without CONFIG_CHECKPOINT_RESTORE or its like.
    pub fn begin(socket: BorrowedFd<'a>, mender: Mender) -> Result<Self, Errno> {
        set_option(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, ON)?;
        Ok(Self { socket: Some(socket), mender })
    }

    /// Reads where the connection stands.
    ///
    /// # Errors
    /// What getsockopt(2) and ioctl(2) answer.
    pub fn numbers(&self) -> Result<Numbers, Errno> {
        let socket = self.socket.ok_or(Errno::EBADF)?;
        let of_queue = |queue| {
            set_option(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, queue)?;
            option(socket, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ).map(i32::cast_unsigned)
        };
        let next_in = of_queue(TCP_RECV_QUEUE)?;
        // The end of all that the application has written (`write_seq`), sent or not.
        let written = of_queue(TCP_SEND_QUEUE)?;
        let waiting = |request| sys::queue_len(socket, request);
        Ok(Numbers {
            next_in,
            next_out: written.wrapping_sub(waiting(SIOCOUTQNSD)?),
            unacknowledged: written.wrapping_sub(waiting(SIOCOUTQ)?),
        })
    }

    /// Turns it off.
    ///
    /// # Errors
    /// As [`Mender::mend`].
    pub fn end(mut self) -> Result<(), Errno> {
        self.socket.take().map_or(Ok(()), |socket| self.mender.mend(socket).map(drop))
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        // Reached with it on only on an error or a panic on the way; that error is the one to be told.
        if let Some(socket) = self.socket.take() {
            let _ = self.mender.mend(socket);
        }
    }
}

fn option(socket: BorrowedFd<'_>, level: i32, option: i32) -> Result<i32, Errno> {
    sys::int_option(socket, level, option).map_err(|error| errno(&error))
}

fn set_option(socket: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> Result<(), Errno> {
    sys::set_int_option(socket, level, option, value).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockopt, setsockopt, sockopt};
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    fn numbers(socket: &TcpStream) -> Option<Numbers> {
        let mender = Mender::of(socket.as_fd()).unwrap();
        match Repair::begin(socket.as_fd(), mender) {
            Ok(repair) => {
                assert_eq!(Mender::of(socket.as_fd()).unwrap_err(), Errno::EBUSY);
                let numbers = repair.numbers().unwrap();
                repair.end().unwrap();
                assert!(!is_on(socket.as_fd()).unwrap());
                Some(numbers)
            }
            Err(errno) => {
                println!("not checked: {errno}");
                None
            }
        }
    }

    #[test]
    fn the_two_ends_agree() {
        let (mut one, other) = pair();
        one.write_all(b"twelve bytes").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let (Some(here), Some(there)) = (numbers(&one), numbers(&other)) else { return };
        assert_eq!((here.next_out, there.next_out), (there.next_in, here.next_in));
        // An acknowledgement may be held back; there are no more than these bytes and a FIN.
        assert!(here.next_out.wrapping_sub(here.unacknowledged) <= 13, "{here:?}");
        assert_eq!(there.unacknowledged, there.next_out, "nothing was sent");
    }

    #[test]
    fn the_address_stays_reusable_and_a_drop_ends_it() {
        let (one, _other) = pair();
        for reuse in [true, false] {
            setsockopt(&one, sockopt::ReuseAddr, &reuse).unwrap();
            if numbers(&one).is_none() {
                return;
            }
            assert_eq!(getsockopt(&one, sockopt::ReuseAddr), Ok(reuse));
            drop(Repair::begin(one.as_fd(), Mender::of(one.as_fd()).unwrap()).unwrap());
            assert!(!is_on(one.as_fd()).unwrap());
            assert_eq!(getsockopt(&one, sockopt::ReuseAddr), Ok(reuse));
        }
    }

    #[test]
    fn another_copy_can_mend_it() {
        let (one, _other) = pair();
        let mender = Mender::of(one.as_fd()).unwrap();
        let Ok(repair) = Repair::begin(one.as_fd(), mender) else {
            return println!("not checked: no TCP_REPAIR here");
        };
        // As if its process were killed.
        std::mem::forget(repair);
        let copy = one.try_clone().unwrap();
        assert_eq!(mender.mend(copy.as_fd()), Ok(true));
        assert_eq!(mender.mend(copy.as_fd()), Ok(false));
        assert!(!is_on(one.as_fd()).unwrap());
    }
}
