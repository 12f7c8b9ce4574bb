//! 32-bit x86 code under a 64-bit kernel.

use super::{Abi, Calls, Word};

pub(super) static ABI: Abi = Abi {
    name: "i386",
    // int $0x80
    instruction: &[0xcd, 0x80],
    regset_len: 68,
    word: Word::Bits32,
    calls: &Calls { close: 6 },
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
};
