//! Calls that wait on descriptors, and where they name them.

use super::{Abi, Registers};

/// Which descriptors a call waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The one in this argument, for something to come. Of a socket, the end of what comes (SHUT_RD) ends it; a
    /// connect(2) on its way, too (`inet_shutdown`, net/ipv4/af_inet.c).
    In(usize),
    /// The one in this argument, for room.
    Out(usize),
    /// The one in this argument, for something to come, or the one in that, for room.
    Between(usize, usize),
    /// poll(2): those of an array of `struct pollfd`; its address and length are the first two arguments.
    Poll,
    /// select(2): those in the sets that arguments 1 to 3 point to, below the number in argument 0.
    Select,
    /// epoll_wait(2): what the instance in argument 0 watches.
    Epoll,
    /// socketcall(2), which has the call in argument 0, and behind argument 1 its arguments.
    SocketCall,
    /// restart_syscall(2): a call with a deadline that goes on after a stop. Its arguments are still there, its number
    /// is not; if it waits on descriptors at all, it is poll(2).
    Restarted,
}

/// A call that may wait on descriptors for long.
#[derive(Debug, PartialEq, Eq)]
pub struct WaitingCall {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// What it waits on.
    pub on: On,
}

impl WaitingCall {
    pub(super) const fn new(number: u64, name: &'static str, on: On) -> Self {
        Self { number, name, on }
    }
}

/// What a socketcall(2) of that number is and waits for; `None` if it doesn't wait.
#[must_use]
pub fn socket_call(number: u64) -> Option<(&'static str, On)> {
    Some(match number {
        3 => ("connect", On::In(0)),
        5 => ("accept", On::In(0)),
        9 => ("send", On::Out(0)),
        10 => ("recv", On::In(0)),
        11 => ("sendto", On::Out(0)),
        12 => ("recvfrom", On::In(0)),
        16 => ("sendmsg", On::Out(0)),
        17 => ("recvmsg", On::In(0)),
        18 => ("accept4", On::In(0)),
        19 => ("recvmmsg", On::In(0)),
        20 => ("sendmmsg", On::Out(0)),
        _ => return None,
    })
}

/// A call that was interrupted while it waited, and that the kernel would start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// Its number.
    pub number: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

impl Abi {
    /// What the call `number` waits on, if it may.
    #[must_use]
    pub fn waiting_call(&self, number: u64) -> Option<&'static WaitingCall> {
        self.waits.iter().find(|call| call.number == number)
    }
}

impl Registers {
    /// The call that the kernel is about to start anew, as `abi` counts calls and passes arguments. To be asked after
    /// [`Registers::hide_interruption`]. A call that has done something, or failed, is over: it has its result.
    #[must_use]
    pub fn interrupted(&self, abi: &Abi) -> Option<Interrupted> {
        let number = self.call_in_progress()?;
        self.shows_restart(abi).then(|| Interrupted { number, args: (abi.args)(self) })
    }

    /// Gives the call that would start anew the result `-errno` instead; whether there was one.
    ///
    /// Only meaningful in a PTRACE_EVENT_STOP or signal-delivery-stop, where the kernel looks at the result afterwards.
    pub fn end_call(&mut self, abi: &Abi, errno: i32) -> bool {
        let restarts = self.call_in_progress().is_some() && self.shows_restart(abi);
        if restarts {
            self.end_restart(-i64::from(errno));
        }
        restarts
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::x86_64::tests::registers;
    use super::super::{compat_abi, native_abi};
    use super::*;

    #[test]
    fn numbers_are_known_once() {
        for abi in [native_abi(), compat_abi()] {
            let mut numbers: Vec<u64> = abi.waits.iter().map(|call| call.number).collect();
            numbers.sort_unstable();
            let all = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), all, "{}", abi.name);
        }
    }

    #[test]
    fn the_native_table_has_the_names_of_libc() {
        for (number, name) in [
            (libc::SYS_read, "read"),
            (libc::SYS_writev, "writev"),
            (libc::SYS_recvfrom, "recvfrom"),
            (libc::SYS_recvmmsg, "recvmmsg"),
            (libc::SYS_sendmmsg, "sendmmsg"),
            (libc::SYS_accept4, "accept4"),
            (libc::SYS_connect, "connect"),
            (libc::SYS_splice, "splice"),
            (libc::SYS_ppoll, "ppoll"),
            (libc::SYS_pselect6, "pselect6"),
            (libc::SYS_epoll_pwait2, "epoll_pwait2"),
            (libc::SYS_mq_timedreceive, "mq_timedreceive"),
            (libc::SYS_flock, "flock"),
            (libc::SYS_io_uring_enter, "io_uring_enter"),
        ] {
            let call = native_abi().waiting_call(number.cast_unsigned());
            assert_eq!(call.map(|call| call.name), Some(name));
        }
        assert_eq!(native_abi().waiting_call(libc::SYS_close.cast_unsigned()), None);
    }

    #[test]
    fn only_a_call_that_would_start_anew_is_ended() {
        let native = native_abi();
        let mut waits = registers(45, -512);
        let args = [15, 14, 13, 8, 10, 9];
        assert_eq!(waits.interrupted(native), Some(Interrupted { number: 45, args }));
        assert!(waits.end_call(native, libc::EBADF));
        assert_eq!((waits.result(native), waits.interrupted(native)), (-9, None));
        for (number, result) in [(45, 5), (45, 0), (45, -104), (45, -4), (-1, -512)] {
            let mut over = registers(number, result);
            assert_eq!(over.interrupted(native), None);
            assert!(!over.end_call(native, libc::EBADF));
            assert_eq!(over, registers(number, result));
        }
        let compat = registers(371, i64::from((-512_i32).cast_unsigned()));
        let args = [6, 12, 13, 14, 15, 5];
        assert_eq!(compat.interrupted(compat_abi()), Some(Interrupted { number: 371, args }));
    }
}
