//! The memory that TCP may use, and how much of it is in use (tcp(7), proc_net(5)).
//!
//! Both are the whole host's, whatever the network namespace (`tcp_memory_allocated`, net/ipv4/tcp.c), but the limits
//! can be read in the initial one only (`ipv4_table`, net/ipv4/sysctl_net_ipv4.c; checked on 6.18).

use crate::proc::Procfs;
use crate::proc::text::{decimal, lines, words};

/// How short of memory TCP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// It is not.
    None,
    /// Buffers are kept small: the kernel has entered memory pressure, and leaves it below the least of the limits.
    Pressure,
    /// There is none left: segments are dropped, and orphaned connections reset.
    Exhausted,
}

/// `net.ipv4.tcp_mem`, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpMemoryLimits {
    /// Below this the kernel does nothing.
    pub min: u64,
    /// Above this it enters memory pressure.
    pub pressure: u64,
    /// More than this is not given out.
    pub max: u64,
}

/// What TCP uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpMemory {
    /// Pages in use.
    pub used: u64,
    /// Sockets that no process holds any more and that are not ended yet.
    pub orphans: u64,
    /// Sockets in the network namespace that was asked.
    pub in_use: u64,
    /// Those in TIME-WAIT there.
    pub time_wait: u64,
    /// The limits; `None` in another network namespace than the initial one.
    pub limits: Option<TcpMemoryLimits>,
    /// Whether the kernel is in memory pressure, in its own words.
    in_pressure: Option<bool>,
}

impl TcpMemory {
    /// Reads it; `None` where the kernel does not tell.
    #[must_use]
    pub fn read(procfs: &Procfs) -> Option<Self> {
        let limits = procfs.text("sys/net/ipv4/tcp_mem");
        let protocols = procfs.text("self/net/protocols");
        Self::parse(&procfs.text("self/net/sockstat")?, limits.as_deref(), protocols.as_deref())
    }

    fn parse(sockstat: &[u8], limits: Option<&[u8]>, protocols: Option<&[u8]>) -> Option<Self> {
        let line = lines(sockstat).find_map(|line| line.strip_prefix(b"TCP:"))?;
        let field = |name: &[u8]| {
            let mut words = words(line).skip_while(|word| *word != name);
            words.nth(1).and_then(decimal)
        };
        Some(Self {
            used: field(b"mem")?,
            orphans: field(b"orphan")?,
            in_use: field(b"inuse")?,
            time_wait: field(b"tw")?,
            limits: limits.and_then(parse_limits),
            in_pressure: protocols.and_then(parse_pressure),
        })
    }

    /// How short it is; `None` where neither the kernel says so nor the limits are known.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        match (self.limits, self.in_pressure) {
            (Some(limits), _) if self.used >= limits.max => Some(Shortage::Exhausted),
            (_, Some(true)) => Some(Shortage::Pressure),
            (Some(limits), None) if self.used > limits.pressure => Some(Shortage::Pressure),
            (Some(_), _) | (None, Some(false)) => Some(Shortage::None),
            (None, None) => None,
        }
    }
}

fn parse_limits(text: &[u8]) -> Option<TcpMemoryLimits> {
    let mut numbers = words(text.trim_ascii()).map(decimal);
    Some(TcpMemoryLimits { min: numbers.next()??, pressure: numbers.next()??, max: numbers.next()?? })
}

/// The column `press` of the row `TCP` in `/proc/net/protocols`: the kernel enters pressure above one limit and leaves it
/// below another, so that the amount alone does not tell.
fn parse_pressure(text: &[u8]) -> Option<bool> {
    let row = lines(text).find(|line| words(line).next() == Some(b"TCP"))?;
    match words(row).nth(4)? {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROTOCOLS: &[u8] = b"protocol  size sockets  memory press maxhdr  slab module     cl co\n\
        TCPv6     2432      0       0   no     192   yes  kernel      y  y\n\
        TCP       2304      1       0   yes    192   yes  kernel      y  y\n";

    fn memory(used: u64, limits: Option<&[u8]>, protocols: Option<&[u8]>) -> TcpMemory {
        let sockstat = format!(
            "sockets: used 14\nTCP: inuse 1 orphan 2 tw 719 alloc 5 mem {used}\nUDP: inuse 0 mem 0\n"
        );
        TcpMemory::parse(sockstat.as_bytes(), limits, protocols).unwrap()
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let all = memory(7, Some(b"287901\t383868\t575802\n"), Some(PROTOCOLS));
        assert_eq!((all.used, all.orphans, all.in_use, all.time_wait), (7, 2, 1, 719));
        assert_eq!(all.limits, Some(TcpMemoryLimits { min: 287_901, pressure: 383_868, max: 575_802 }));
        assert_eq!(all.in_pressure, Some(true));
        assert_eq!(TcpMemory::parse(b"UDP: inuse 0 mem 0\n", None, None), None);
        assert_eq!(TcpMemory::parse(b"TCP: inuse 0 orphan 0 tw 0 alloc 1 mem -1\n", None, None), None);
    }

    #[test]
    fn the_kernels_word_counts_before_the_amount() {
        let limits = Some(&b"10\t20\t30\n"[..]);
        let calm: &[u8] = b"TCP 2304 1 0 no 192\n";
        for (used, limits, protocols, want) in [
            (0, limits, Some(calm), Some(Shortage::None)),
            // Above the limit, and not in pressure yet; below it, and still in pressure.
            (25, limits, Some(calm), Some(Shortage::None)),
            (15, limits, Some(PROTOCOLS), Some(Shortage::Pressure)),
            (25, limits, None, Some(Shortage::Pressure)),
            (30, limits, Some(PROTOCOLS), Some(Shortage::Exhausted)),
            (5, None, Some(PROTOCOLS), Some(Shortage::Pressure)),
            (5, None, None, None),
        ] {
            assert_eq!(memory(used, limits, protocols).shortage(), want, "{used} {limits:?}");
        }
    }

    #[test]
    fn this_kernel_tells() {
        let memory = TcpMemory::read(&Procfs::host()).expect("there is TCP here");
        assert!(memory.shortage().is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _read_or_not = TcpMemory::parse(&[b"TCP: ", &bytes[..]].concat(), Some(&bytes), Some(&bytes));
        }
    }
}
