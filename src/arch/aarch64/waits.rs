//! The calls that wait, by include/uapi/asm-generic/unistd.h.

use crate::arch::waits::{On, WaitingCall};

/// The kernel's restart codes (include/linux/errno.h). Start anew unless a handler without SA_RESTART runs; always;
/// unless a handler runs; and by restart_syscall(2), which knows the deadline, unless a handler runs.
const ERESTARTSYS: i64 = 512;
const ERESTARTNOINTR: i64 = 513;
pub(super) const ERESTARTNOHAND: i64 = 514;
pub(super) const ERESTART_RESTARTBLOCK: i64 = 516;

/// The code that the kernel gave a call that is to start anew, by its registers. A thread that did not sleep in it has no
/// deadline to keep.
pub(super) fn restart_code(regs: &[u64; 31], slept: bool) -> i64 {
    const TIMER_ABSTIME: u64 = 1;
    let [_, second, _, fourth, ..] = *regs;
    let with_deadline = if slept { ERESTART_RESTARTBLOCK } else { ERESTARTNOHAND };
    match regs[super::X8] {
        // futex: the command is without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
        98 => match second & 0x7f {
            // FUTEX_WAIT, FUTEX_WAIT_BITSET
            0 | 9 if fourth != 0 => with_deadline,
            // FUTEX_LOCK_PI, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2
            6 | 11 | 13 => ERESTARTNOINTR,
            _ => ERESTARTSYS,
        },
        // nanosleep, clock_nanosleep, restart_syscall
        101 | 128 => with_deadline,
        115 if second & TIMER_ABSTIME == 0 => with_deadline,
        // pselect6, ppoll, clock_nanosleep, rt_sigsuspend, msgrcv, msgsnd
        72 | 73 | 115 | 133 | 188 | 189 => ERESTARTNOHAND,
        _ => ERESTARTSYS,
    }
}

/// As [`super::Abi::eintr_on_interrupt`] has it.
pub(super) const EINTR_ON_INTERRUPT: &[u64] = &[
    4,   // io_getevents
    22,  // epoll_pwait
    47,  // fallocate, on tmpfs before Linux 6.9, which takes back what it did
    63,  // read, of a socket with SO_RCVTIMEO
    64,  // write, to a socket with SO_SNDTIMEO
    65,  // readv
    66,  // writev
    69,  // preadv
    70,  // pwritev
    71,  // sendfile, to a socket with SO_SNDTIMEO
    72,  // pselect6, if its timeout can't be written to
    73,  // ppoll, likewise
    75,  // vmsplice
    76,  // splice
    77,  // tee
    137, // rt_sigtimedwait
    192, // semtimedop
    193, // semop
    202, // accept, with SO_RCVTIMEO
    203, // connect, with SO_SNDTIMEO
    206, // sendto
    207, // recvfrom
    211, // sendmsg
    212, // recvmsg
    242, // accept4
    243, // recvmmsg
    269, // sendmmsg
    286, // preadv2
    287, // pwritev2
    292, // io_pgetevents
    426, // io_uring_enter
    441, // epoll_pwait2
];

pub(super) const NATIVE: &[WaitingCall] = &[
    WaitingCall::new(22, "epoll_pwait", On::Epoll),
    WaitingCall::new(25, "fcntl", On::In(0)),
    WaitingCall::new(29, "ioctl", On::In(0)),
    WaitingCall::new(32, "flock", On::In(0)),
    WaitingCall::new(63, "read", On::In(0)),
    WaitingCall::new(64, "write", On::Out(0)),
    WaitingCall::new(65, "readv", On::In(0)),
    WaitingCall::new(66, "writev", On::Out(0)),
    WaitingCall::new(67, "pread64", On::In(0)),
    WaitingCall::new(68, "pwrite64", On::Out(0)),
    WaitingCall::new(69, "preadv", On::In(0)),
    WaitingCall::new(70, "pwritev", On::Out(0)),
    WaitingCall::new(71, "sendfile", On::Between(1, 0)),
    WaitingCall::new(72, "pselect6", On::Select),
    WaitingCall::new(73, "ppoll", On::Poll),
    WaitingCall::new(75, "vmsplice", On::Out(0)),
    WaitingCall::new(76, "splice", On::Between(0, 2)),
    WaitingCall::new(77, "tee", On::Between(0, 1)),
    WaitingCall::new(128, "restart_syscall", On::Restarted),
    WaitingCall::new(182, "mq_timedsend", On::Out(0)),
    WaitingCall::new(183, "mq_timedreceive", On::In(0)),
    WaitingCall::new(202, "accept", On::In(0)),
    WaitingCall::new(203, "connect", On::In(0)),
    WaitingCall::new(206, "sendto", On::Out(0)),
    WaitingCall::new(207, "recvfrom", On::In(0)),
    WaitingCall::new(211, "sendmsg", On::Out(0)),
    WaitingCall::new(212, "recvmsg", On::In(0)),
    WaitingCall::new(242, "accept4", On::In(0)),
    WaitingCall::new(243, "recvmmsg", On::In(0)),
    WaitingCall::new(269, "sendmmsg", On::Out(0)),
    WaitingCall::new(286, "preadv2", On::In(0)),
    WaitingCall::new(287, "pwritev2", On::Out(0)),
    WaitingCall::new(426, "io_uring_enter", On::In(0)),
    WaitingCall::new(441, "epoll_pwait2", On::Epoll),
];
