//! The selectors, which most commands take.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::super::values;
use crate::ids::{Inode, Pid};
use crate::net::{AddrFilter, TcpState};
use crate::selectors::{Comm, FdRange, KindChoice, NetnsChoice, Selectors};

#[derive(Debug, Args)]
#[command(next_help_heading = "Selectors")]
pub(in crate::cli) struct RawSelectors {
    /// Processes with this id
    ///
    /// May be given again or as a list with commas, like every selector but --comm, --deleted and --idle-for.
    #[arg(long, value_name = "PID", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::pid(), allow_hyphen_values = true)]
    pid: Vec<Pid>,
    /// Every descriptor of this inode, as in socket:[43000]
    ///
    /// list shows it, and so do ss -e and ls -l /proc/PID/fd.
    #[arg(long, value_name = "INODE", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::inode(), allow_hyphen_values = true)]
    inode: Vec<Inode>,
    /// Descriptors by number, N or N-M
    #[arg(long, value_name = "FD", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::fd(), allow_hyphen_values = true)]
    fd: Vec<FdRange>,
    /// TCP sockets in this state: close-wait, established, ...
    ///
    /// Accepted in any case, with - or _: established, syn-sent, syn-recv, fin-wait-1, fin-wait-2,
    /// time-wait, unconn, close-wait, last-ack, listen, closing, new-syn-recv.
    #[arg(long, value_name = "STATE", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::state(), hide_possible_values = true, allow_hyphen_values = true)]
    state: Vec<TcpState>,
    /// Sockets by their own end: ADDR:PORT, :PORT, NET/LEN
    ///
    /// ADDR, ADDR:PORT, :PORT, NET/LEN or NET/LEN:PORT. An IPv6 address or network with a port is written in brackets: [V6]:PORT, [V6NET/LEN]:PORT. An
    /// IPv4 address also matches where a dual-stack socket shows it as ::ffff:ADDR.
    #[arg(long, value_name = "ADDR", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::addr(), allow_hyphen_values = true)]
    local: Vec<AddrFilter>,
    /// Sockets by their other end, written like --local
    #[arg(long, value_name = "ADDR", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::addr(), allow_hyphen_values = true)]
    peer: Vec<AddrFilter>,
    /// Processes of exactly this name, as ps -o comm shows it
    ///
    /// The kernel keeps 15 bytes of a name; a longer one is refused.
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    #[arg(value_parser = values::comm())]
    comm: Vec<Comm>,
    /// This kind: tcp, udp, unix, pipe, file, ..., any
    ///
    /// Accepted: tcp, udp, unix, socket (every socket), pipe, file, memfd, eventfd, epoll, timerfd,
    /// signalfd, inotify, fanotify, io_uring, pidfd, userfaultfd, bpf, perf_event, namespace, anon (any
    /// other without a path), any.
    #[arg(long, value_name = "KIND", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::kind(), hide_possible_values = true, allow_hyphen_values = true)]
    kind: Vec<KindChoice>,
    /// Files that were deleted but are still open
    #[arg(long)]
    deleted: bool,
    /// Sockets of this network namespace: PID, PATH, NAME or all
    ///
    /// That of a process, that at a path such as /proc/PID/ns/net, one that ip-netns(8) gave a name, or every one that
    /// a process is in or that has a name. Its TCP, UDP and Unix sockets are meant, whoever holds them.
    #[arg(long, value_name = "NETNS", action = ArgAction::Append, value_delimiter = ',')]
    #[arg(value_parser = values::netns(), allow_hyphen_values = true, hide_short_help = true)]
    netns: Vec<NetnsChoice>,
    /// TCP connections whose peer was silent for so long
    ///
    /// A time from 1ms to 49days: neither data nor an acknowledgement came. A connection of which the kernel
    /// does not tell that is not selected; how many there were is said.
    #[arg(long, value_name = "TIME", value_parser = values::idle_for(), allow_hyphen_values = true)]
    idle_for: Option<Duration>,
}

impl From<RawSelectors> for Selectors {
    fn from(raw: RawSelectors) -> Self {
        Self {
            pids: raw.pid,
            inodes: raw.inode.into_iter().collect(),
            fds: raw.fd,
            states: raw.state,
            local: raw.local,
            peer: raw.peer,
            comms: raw.comm,
            kinds: raw.kind,
            deleted: raw.deleted,
            netns: raw.netns,
            idle_for: raw.idle_for,
        }
    }
}
