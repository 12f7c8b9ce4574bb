//! The sockets of a process's network namespace, by sock_diag(7) or from `/proc/PID/net`.

use std::fs::File;

use super::diag::{Diag, DiagError, Dumped};
use super::endpoint::{Endpoint, UnixName};
use super::error::NetError;
use super::lines::each_line;
use super::packed::Packed;
use super::row::{SocketInfo, parse_inet, parse_unix};
use super::state::TcpState;
use crate::ids::{Inode, Tid};
use crate::kind::Kind;
use crate::proc::{ProcError, Process};

/// Which tables to read. Each costs time in proportion to the sockets in it, whoever owns them; those in `/proc`
/// also in proportion to the memory of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// TCP, v4 and v6.
    pub tcp: bool,
    /// UDP, v4 and v6.
    pub udp: bool,
    /// Unix-domain sockets.
    pub unix: bool,
}

impl Protocols {
    /// All of them.
    pub const ALL: Self = Self { tcp: true, udp: true, unix: true };
    /// TCP alone.
    pub const TCP: Self = Self { tcp: true, udp: false, unix: false };

    /// The tables and the kind of what is in them, those the kernel alone writes first.
    fn tables(self) -> impl Iterator<Item = (&'static [u8], Kind)> {
        let tcp: &[(&[u8], Kind)] = if self.tcp { &[(b"tcp", Kind::Tcp), (b"tcp6", Kind::Tcp)] } else { &[] };
        let udp: &[(&[u8], Kind)] = if self.udp { &[(b"udp", Kind::Udp), (b"udp6", Kind::Udp)] } else { &[] };
        let unix: &[(&[u8], Kind)] = if self.unix { &[(b"unix", Kind::Unix)] } else { &[] };
        tcp.iter().chain(udp).chain(unix).copied()
    }
}

/// The sockets of a network namespace. Not a snapshot: the kernel tells of a page of them at a time, and a socket
/// that changes its state meanwhile may be in it twice or not at all.
///
/// Where the kernel can't be asked by sock_diag(7), the tables in `/proc` are read instead. What they say about
/// TCP and UDP is the kernel's word, too. A row about a Unix socket may be made up by whoever may bind one (its
/// path is written raw, newlines included); where two rows disagree, neither is believed.
#[derive(Debug, Default)]
pub struct SocketTable {
    rows: Vec<Packed>,
    /// Inode and place in `rows`, sorted; rows without an inode are not in it.
    by_inode: Vec<(Inode, usize)>,
    skipped: usize,
    interrupted: bool,
    /// Whether rows about Unix sockets may be made up.
    unix_by_proc: bool,
}

impl SocketTable {
    /// Reads the sockets of the network namespace `process` is in. A socket it brought along from another
    /// namespace is not among them (setns(2), SCM_RIGHTS).
    ///
    /// # Errors
    /// If the process is gone, or neither the kernel nor `/proc` would tell. A table the kernel does not have
    /// (IPv6 off) is no error.
    pub fn read(process: &Process, protocols: Protocols) -> Result<Self, NetError> {
        // A leader that has ended is in no namespace any more.
        Self::read_thread(process, process.living_thread()?, protocols)
    }

    /// As [`SocketTable::read`], of TCP alone, and at least the sockets in `states`; `want_info`: as in
    /// [`Diag::dump_tcp`].
    ///
    /// # Errors
    /// As [`SocketTable::read`].
    pub fn read_tcp(process: &Process, states: &[TcpState], want_info: bool) -> Result<Self, NetError> {
        let tid = process.living_thread()?;
        let mut table = Self::default();
        let asked = Diag::of_thread(process, tid)
            .map(|mut diag| diag.dump_tcp(states, want_info, |row| table.rows.push(Packed::new(row))));
        if let Ok(Ok(dumped)) = asked {
            (table.skipped, table.interrupted) = (dumped.skipped, dumped.interrupted);
        } else {
            table.rows.clear();
            table.read_files(process, tid, Protocols::TCP)?;
        }
        table.index();
        Ok(table)
    }

    /// The sockets in `states` of the namespace that `diag` asks, TCP alone; `want_info`: as in [`Diag::dump_tcp`].
    ///
    /// # Errors
    /// As [`Diag::dump_tcp`].
    pub fn ask_for_tcp(diag: &mut Diag, states: &[TcpState], want_info: bool) -> Result<Self, DiagError> {
        let mut table = Self::default();
        let dumped = diag.dump_tcp(states, want_info, |row| table.rows.push(Packed::new(row)))?;
        (table.skipped, table.interrupted) = (dumped.skipped, dumped.interrupted);
        table.index();
        Ok(table)
    }

    /// Those of `protocols` there, as far as the kernel can be asked for them.
    #[must_use]
    pub fn ask_for(diag: &mut Diag, protocols: Protocols) -> Self {
        let mut table = Self::default();
        let _unasked = table.ask(diag, protocols);
        table.index();
        table
    }

    /// As [`SocketTable::read`], for the network namespace of one thread.
    ///
    /// # Errors
    /// As [`SocketTable::read`].
    pub fn read_thread(process: &Process, tid: Tid, protocols: Protocols) -> Result<Self, NetError> {
        let mut table = Self::default();
        // Whatever the reason why the kernel can't be asked, its tables in /proc tell, or the error does.
        let unasked = match Diag::of_thread(process, tid) {
            Ok(mut diag) => table.ask(&mut diag, protocols),
            Err(_) => protocols,
        };
        table.read_files(process, tid, unasked)?;
        table.index();
        Ok(table)
    }

    /// As [`SocketTable::read_thread`], from `/proc` alone.
    #[cfg(test)]
    fn read_proc(process: &Process, tid: Tid, protocols: Protocols) -> Result<Self, NetError> {
        let mut table = Self::default();
        table.read_files(process, tid, protocols)?;
        table.index();
        Ok(table)
    }

    /// What the tables say about the socket `inode`.
    #[must_use]
    pub fn get(&self, inode: Inode) -> Option<SocketInfo> {
        self.row_of(inode).map(Packed::unpack)
    }

    /// Whether there is a row of the socket `inode`.
    #[must_use]
    pub fn has(&self, inode: Inode) -> bool {
        self.row_of(inode).is_some()
    }

    fn row_of(&self, inode: Inode) -> Option<&Packed> {
        let at = self.by_inode.partition_point(|(other, _)| *other < inode);
        let (found, row) = self.by_inode.get(at)?;
        if *found == inode { self.rows.get(*row) } else { None }
    }

    /// Every row, those without an inode (TIME-WAIT, orphaned) included.
    pub fn iter(&self) -> impl Iterator<Item = SocketInfo> {
        self.rows.iter().map(Packed::unpack)
    }

    /// The sockets of a kind with these two ends, v4-mapped addresses taken as v4: whether a connection still
    /// exists when its inode is gone, as with the orphans a `close` leaves.
    pub fn connections<'a>(
        &'a self,
        kind: Kind,
        local: &Endpoint,
        peer: &Endpoint,
    ) -> impl Iterator<Item = SocketInfo> + use<'a> {
        let (local, peer) = (local.canonical(), peer.canonical());
        let both_inet = local.is_some() && peer.is_some();
        self.iter().filter(move |row| {
            both_inet
                && row.kind == kind
                && row.local.canonical() == local
                && row.peer.as_ref().and_then(Endpoint::canonical) == peer
        })
    }

    /// How many rows were none: the rest of Unix-socket paths with newlines in them, or a format this version
    /// does not know.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether the kernel said that something may be missing: see [`Dumped::interrupted`].
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Asks for the sockets of `protocols`, and returns those that could not be asked for: a kernel may lack the
    /// part for one.
    fn ask(&mut self, diag: &mut Diag, protocols: Protocols) -> Protocols {
        let mut ask = |wanted: bool, dump: &mut dyn FnMut(&mut Vec<Packed>) -> Result<Dumped, DiagError>| {
            let before = self.rows.len();
            match wanted.then(|| dump(&mut self.rows)) {
                None => false,
                Some(Ok(dumped)) => {
                    self.skipped += dumped.skipped;
                    self.interrupted |= dumped.interrupted;
                    false
                }
                Some(Err(_)) => {
                    self.rows.truncate(before);
                    true
                }
            }
        };
        Protocols {
            tcp: ask(protocols.tcp, &mut |rows| {
                diag.dump_tcp(TcpState::ALL, true, |row| rows.push(Packed::new(row)))
            }),
            udp: ask(protocols.udp, &mut |rows| diag.dump_udp(|row| rows.push(Packed::new(row)))),
            unix: ask(protocols.unix, &mut |rows| diag.dump_unix(|row| rows.push(Packed::new(row)))),
        }
    }

    fn read_files(&mut self, process: &Process, tid: Tid, protocols: Protocols) -> Result<(), NetError> {
        self.unix_by_proc = protocols.unix;
        let mut absent = false;
        for (name, kind) in protocols.tables() {
            match process.open_net(tid, name)? {
                Some(file) => {
                    self.add(file, kind).map_err(|error| {
                        let path = format!("task/{tid}/net/{}", name.escape_ascii());
                        ProcError::from_io(error, process.path(path.as_bytes()))
                    })?;
                }
                None => absent = true,
            }
        }
        // A thread that ended has no tables either.
        if absent && !process.lives(tid)? {
            let path = process.path(format!("task/{tid}/net").as_bytes());
            return Err(ProcError::Gone { path }.into());
        }
        Ok(())
    }

    fn add(&mut self, file: File, kind: Kind) -> std::io::Result<()> {
        let mut header = true;
        each_line(file, |line| {
            if std::mem::take(&mut header) {
                return;
            }
            let row = line.and_then(|line| match kind {
                Kind::Unix => parse_unix(line),
                _ => parse_inet(line, kind),
            });
            match row {
                Some(row) => self.rows.push(Packed::new(row)),
                None => self.skipped += 1,
            }
        })
    }

    /// Builds the index, and takes away what two rows of one socket do not agree on.
    ///
    /// A made-up row about a Unix socket that exists shows as a second row with the same inode: which is true
    /// can't be told. One about a TCP or UDP socket does nothing, as their rows come first. What is left are
    /// made-up rows about sockets in none of these tables. sock_diag(7) can't be fooled that way.
    fn index(&mut self) {
        self.by_inode = self
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| (row.inode(), at))
            .filter(|(inode, _)| *inode != Inode(0))
            .collect();
        self.by_inode.sort_unstable();
        if !self.unix_by_proc {
            return;
        }
        for pair in self.by_inode.windows(2) {
            let [(inode, one), (other_inode, other)] = *pair else { continue };
            if inode != other_inode {
                continue;
            }
            let sockets = [one, other].map(|row| self.rows[row].unpack());
            let unix = sockets.iter().all(|socket| socket.kind == Kind::Unix);
            if unix && sockets[0] != sockets[1] {
                for (row, socket) in [one, other].into_iter().zip(sockets) {
                    let local = Endpoint::Unix(UnixName::Unnamed);
                    self.rows[row] = Packed::new(SocketInfo { state: None, local, ..socket });
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
