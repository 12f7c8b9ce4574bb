//! 32-bit x86 code under a 64-bit kernel.

use super::waits::{On, WaitingCall};
use super::x86_64::low_half;
use super::{Abi, Calls, Word};

pub(super) static ABI: Abi = Abi {
    name: "i386",
    // int $0x80
    instruction: &[0xcd, 0x80],
    regset_len: 68,
    word: Word::Bits32,
    calls: &Calls { close: 6, socket: 359, shutdown: 373, dup3: 330 },
    load_call: |regs, nr, [a, b, c, d, e, f]| {
        let r = &mut regs.0;
        (r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp) = (nr, a, b, c, d, e, f);
    },
    eintr_on_interrupt: &[
        3,   // read
        4,   // write
        82,  // select, if its timeout can't be written to
        102, // socketcall: connect, accept, send*, recv*
        117, // ipc: semop, semtimedop
        142, // _newselect, likewise
        145, // readv
        146, // writev
        177, // rt_sigtimedwait
        187, // sendfile
        239, // sendfile64
        247, // io_getevents
        256, // epoll_wait
        308, // pselect6, likewise
        309, // ppoll, likewise
        313, // splice
        315, // tee
        316, // vmsplice
        319, // epoll_pwait
        324, // fallocate, on tmpfs before Linux 6.9, which takes back what it did
        333, // preadv
        334, // pwritev
        337, // recvmmsg
        345, // sendmmsg
        362, // connect
        364, // accept4
        369, // sendto
        370, // sendmsg
        371, // recvfrom
        372, // recvmsg
        378, // preadv2
        379, // pwritev2
        385, // io_pgetevents
        413, // pselect6_time64, likewise
        414, // ppoll_time64, likewise
        416, // io_pgetevents_time64
        417, // recvmmsg_time64
        420, // semtimedop_time64
        421, // rt_sigtimedwait_time64
        426, // io_uring_enter
        441, // epoll_pwait2
    ],
    args: |regs| {
        let r = &regs.0;
        [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|register| u64::from(low_half(register)))
    },
    waits: WAITS,
    rewinds: false,
};

/// By arch/x86/entry/syscalls/syscall_32.tbl.
const WAITS: &[WaitingCall] = &[
    WaitingCall::new(0, "restart_syscall", On::Restarted),
    WaitingCall::new(3, "read", On::In(0)),
    WaitingCall::new(4, "write", On::Out(0)),
    WaitingCall::new(54, "ioctl", On::In(0)),
    WaitingCall::new(55, "fcntl", On::In(0)),
    WaitingCall::new(102, "socketcall", On::SocketCall),
    WaitingCall::new(142, "select", On::Select),
    WaitingCall::new(143, "flock", On::In(0)),
    WaitingCall::new(145, "readv", On::In(0)),
    WaitingCall::new(146, "writev", On::Out(0)),
    WaitingCall::new(168, "poll", On::Poll),
    WaitingCall::new(180, "pread64", On::In(0)),
    WaitingCall::new(181, "pwrite64", On::Out(0)),
    WaitingCall::new(187, "sendfile", On::Between(1, 0)),
    WaitingCall::new(221, "fcntl64", On::In(0)),
    WaitingCall::new(239, "sendfile64", On::Between(1, 0)),
    WaitingCall::new(256, "epoll_wait", On::Epoll),
    WaitingCall::new(279, "mq_timedsend", On::Out(0)),
    WaitingCall::new(280, "mq_timedreceive", On::In(0)),
    WaitingCall::new(308, "pselect6", On::Select),
    WaitingCall::new(309, "ppoll", On::Poll),
    WaitingCall::new(313, "splice", On::Between(0, 2)),
    WaitingCall::new(315, "tee", On::Between(0, 1)),
    WaitingCall::new(316, "vmsplice", On::Out(0)),
    WaitingCall::new(319, "epoll_pwait", On::Epoll),
    WaitingCall::new(333, "preadv", On::In(0)),
    WaitingCall::new(334, "pwritev", On::Out(0)),
    WaitingCall::new(337, "recvmmsg", On::In(0)),
    WaitingCall::new(345, "sendmmsg", On::Out(0)),
    WaitingCall::new(362, "connect", On::In(0)),
    WaitingCall::new(364, "accept4", On::In(0)),
    WaitingCall::new(369, "sendto", On::Out(0)),
    WaitingCall::new(370, "sendmsg", On::Out(0)),
    WaitingCall::new(371, "recvfrom", On::In(0)),
    WaitingCall::new(372, "recvmsg", On::In(0)),
    WaitingCall::new(378, "preadv2", On::In(0)),
    WaitingCall::new(379, "pwritev2", On::Out(0)),
    WaitingCall::new(413, "pselect6_time64", On::Select),
    WaitingCall::new(414, "ppoll_time64", On::Poll),
    WaitingCall::new(417, "recvmmsg_time64", On::In(0)),
    WaitingCall::new(418, "mq_timedsend_time64", On::Out(0)),
    WaitingCall::new(419, "mq_timedreceive_time64", On::In(0)),
    WaitingCall::new(426, "io_uring_enter", On::In(0)),
    WaitingCall::new(441, "epoll_pwait2", On::Epoll),
];
