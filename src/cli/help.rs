//! The longer texts of `--help` and the man page.

/// Help is as wide as this on every terminal.
pub(super) const WIDTH: usize = 80;

pub(super) const ABOUT: &str = "Close a leaked descriptor or a dead connection inside a running process";

pub(super) const LONG_ABOUT: &str = "\
Close a leaked descriptor or a dead connection inside a running process.

The process keeps running: it is stopped for a fraction of a millisecond, closes the descriptor itself, and \
runs on as if nothing had happened. What a descriptor refers to is read again while the process is stopped; \
if that changed, nothing is closed. Without --pid or --comm, every process that holds what is selected is \
meant.

Different selectors narrow the choice; the same one again, or commas, widen it.";

pub(super) const USAGE: &str = "\
fdclose SELECTORS [OPTIONS]
       fdclose COMMAND [SELECTORS] [OPTIONS]";

pub(super) const AFTER_SHORT: &str = "\
Different selectors narrow the choice; the same one again, or commas, widen it.
Example: fdclose --pid 1234 --inode 43000      (--help explains, and has more)";

pub(super) const AFTER_LONG: &str = "\
Examples:
  See what leaks, then close one socket, by the inode that list or ss -e shows:
    fdclose list --state close-wait
    fdclose --pid 1234 --inode 43000

  Close every CLOSE-WAIT connection of nginx to one network; show them first:
    fdclose --comm nginx --state close-wait --peer 10.0.0.0/8 --dry-run
    fdclose --comm nginx --state close-wait --peer 10.0.0.0/8 --yes

  Give back the disk space of deleted log files that a process keeps open:
    fdclose --pid 1234 --kind file --deleted

  Close some descriptors of any kind by number:
    fdclose --pid 1234 --fd 12,20-31

What is asked:
  A selection that names a pid with inodes or single descriptors is acted on at once.
  A broader one is shown first, and you are asked; without a terminal it needs --yes.

Exit status:
  0  everything asked for was done
  1  nothing matched
  2  wrong usage, or refused before anything was touched
  3  something failed; the rest was done
  4  a target could not be restored (never expected)";

pub(super) const AFTER_LIST: &str = "\
Different selectors narrow the choice; the same one again, or commas, widen it.

Examples:
  fdclose list --state close-wait
  fdclose list --pid 1234 --kind file --deleted
  fdclose list --peer '[2001:db8::/32]:443' --json

Exit status:
  0  something is listed
  1  nothing matched
  2  wrong usage, or nothing could be read
  3  /proc can't be read, or the list can't be written";

pub(super) const DEMO: &str = "\
Make a CLOSE-WAIT leak in a child process, show it, close it.

The child accepts connections and forgets to close one, as in the classic bug. It is shown, closed by the \
same code that closes a real one, and shown again; the child serves on. Nothing else on the host is touched, \
and no privilege is needed.";

pub(super) const KEEPALIVE: &str = "\
Switch TCP keepalive on in other processes' sockets.

A connection whose peer has lost power or its network stays ESTABLISHED for ever if nothing is sent. With \
keepalive the kernel asks the peer now and then, and ends the connection when no answer comes; the application \
gets ETIMEDOUT and closes by itself. Applications that forgot to ask for this are cured without a restart: it is \
set through a copy of the descriptor, and the process is not even stopped. What was in force before and what is \
now is read from the socket and shown.

The descriptor is checked to be the one that was selected. It needs Linux 5.6 and the rights of ptrace(2).";

pub(super) const AFTER_KEEPALIVE: &str = "\
Examples:
  Find vanished peers of a server within two minutes:
    fdclose keepalive --pid 1234 --state established --idle 1m --interval 10s --count 6
  See what is in force:
    fdclose keepalive --pid 1234 --dry-run

Exit status:
  0  keepalive is set for all, or would be
  1  nothing matched
  2  wrong usage, or refused before anything was touched
  3  something failed; the rest was done";

pub(super) const WATCH: &str = "\
Close what is idle for too long, again and again.

At each look the selected TCP connections from whose peer nothing has come for the time of --idle-for are closed, as \
the main action closes them. What is done is told on standard output, one JSON object a line. SIGTERM or SIGINT ends \
it between two actions, with status 0. What fails concerns one process and one look alone. A process that was named \
by --pid is meant until it ends, and never another that gets its number.";

pub(super) const AFTER_WATCH: &str = "\
Examples:
  See for a day what would be closed:
    fdclose watch --comm nginx --state close-wait --idle-for 10min --dry-run
  Keep nginx below half of its descriptors, with metrics:
    fdclose watch --comm nginx --state close-wait --idle-for 10min --min-count 50%
                  --max-per-run 500 --metrics 127.0.0.1:9464

Exit status:
  0  a signal ended it
  1  every process that was named, or whose namespace was, has ended
  2  wrong usage, or it could not begin
  3  it could not go on";

pub(super) const DOCTOR: &str = "\
Say what works on this host, on a process, and why not.

Everything is tried, on a child made for it and on sockets of fdclose's own; nothing is concluded from version numbers. \
Of the process that is named only what /proc shows is read: it is not stopped, and nothing is asked of it. At the end \
stands which method is the right one, and why.";

pub(super) const AFTER_DOCTOR: &str = "\
Exit status:
  0  it was looked at, whatever works
  1  there is no such process
  2  wrong usage, or the process can't be looked at
  3  what was found can't be written";
