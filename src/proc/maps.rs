//! `/proc/PID/maps`: the mappings of the target's memory (proc_pid_maps(5)).

use super::error::Malformed;
use super::text::{decimal, lines, number, split_once};
use crate::ids::RemoteAddr;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the four letters of the permission field")]
pub struct Mapping {
    /// First address.
    pub start: RemoteAddr,
    /// First address after it.
    pub end: RemoteAddr,
    /// `r`
    pub readable: bool,
    /// `w`
    pub writable: bool,
    /// `x`
    pub executable: bool,
    /// `s`: writes reach the file and other processes; otherwise private.
    pub shared: bool,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device; (0, 0) without a file.
    pub dev: (u32, u32),
    /// The file's inode number there; 0 without a file.
    pub inode: u64,
    /// Path of the file as the kernel writes it (a newline as `\012`, ` (deleted)` appended), or the kernel's
    /// own name for it, or empty.
    pub name: Vec<u8>,
}

impl Mapping {
    /// Reads the text of a `maps` file.
    ///
    /// # Errors
    /// If a line is not a mapping.
    pub fn parse_all(text: &[u8]) -> Result<Vec<Self>, Malformed> {
        lines(text).map(|line| Self::parse(line).ok_or(Malformed("not a mapping"))).collect()
    }

    /// Reads one line, without its newline.
    fn parse(line: &[u8]) -> Option<Self> {
        let (range, rest) = split_once(line, b' ')?;
        let (permissions, rest) = split_once(rest, b' ')?;
        let (offset, rest) = split_once(rest, b' ')?;
        let (dev, rest) = split_once(rest, b' ')?;
        // A mapping without a name may end in blanks, or right after the number.
        let (inode, name) = split_once(rest, b' ').unwrap_or((rest, b""));
        let (start, end) = split_once(range, b'-')?;
        let (major, minor) = split_once(dev, b':')?;
        let &[read, write, execute, share] = permissions else { return None };
        let (start, end) = (number(start, 16)?, number(end, 16)?);
        Some(Self {
            start: RemoteAddr(start),
            end: RemoteAddr((end > start).then_some(end)?),
            readable: letter(read, b'r', b'-')?,
            writable: letter(write, b'w', b'-')?,
            executable: letter(execute, b'x', b'-')?,
            shared: letter(share, b's', b'p')?,
            offset: number(offset, 16)?,
            dev: (number(major, 16)?.try_into().ok()?, number(minor, 16)?.try_into().ok()?),
            inode: decimal(inode)?,
            name: name.trim_ascii_start().to_vec(),
        })
    }

    /// Whether it is the vDSO (vdso(7)). A file can't pass for it: paths start with `/`, and names given with
    /// PR_SET_VMA_ANON_NAME are shown as `[anon:NAME]`.
    #[must_use]
    pub fn is_vdso(&self) -> bool {
        self.name == b"[vdso]"
    }
}

fn letter(given: u8, yes: u8, no: u8) -> Option<bool> {
    (given == yes || given == no).then_some(given == yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"\
55d0c8a00000-55d0c8a2b000 r-xp 00002000 fe:01 1049123                    /usr/sbin/nginx\n\
55d0c9b00000-55d0c9b21000 rw-p 00000000 00:00 0                          [heap]\n\
7f1c00000000-7f1c00021000 rw-s 00000000 00:05 33554 \n\
7f1c1c000000-7f1c1c001000 ---p 00000000 00:00 0 \n\
7f1c1d000000-7f1c1d001000 r-xp 00000000 08:01 42                         /tmp/a b\\012c\xff (deleted)\n\
7f1c1e000000-7f1c1e001000 rw-p 00000000 00:00 0                          [anon:[vdso]\n\
7ffd5b9f0000-7ffd5b9f2000 r-xp 00000000 00:00 0                          [vdso]\n\
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

    #[test]
    fn reads_a_real_table() {
        let maps = Mapping::parse_all(TEXT).unwrap();
        assert_eq!(maps.len(), 8);
        assert_eq!(maps[0].start, RemoteAddr(0x55d0_c8a0_0000));
        assert_eq!(maps[0].end, RemoteAddr(0x55d0_c8a2_b000));
        assert!(maps[0].readable && !maps[0].writable && maps[0].executable && !maps[0].shared);
        assert_eq!((maps[0].offset, maps[0].dev, maps[0].inode), (0x2000, (0xfe, 1), 1_049_123));
        assert_eq!(maps[0].name, b"/usr/sbin/nginx");
        assert!(maps[2].shared && maps[2].name.is_empty());
        assert_eq!(maps[4].name, b"/tmp/a b\\012c\xff (deleted)");
        assert_eq!(maps.iter().position(Mapping::is_vdso), Some(6));
        assert_eq!(maps[7].end, RemoteAddr(0xffff_ffff_ff60_1000));
    }

    #[test]
    fn a_compat_table_reads_too() {
        let maps = Mapping::parse_all(b"f7f01000-f7f03000 r-xp 00000000 00:00 0          [vdso]\n").unwrap();
        assert!(maps[0].is_vdso());
    }

    #[test]
    fn a_line_that_is_no_mapping_is_an_error() {
        for line in [
            &b"x"[..],
            b"1000-2000 rwxp 0 00:00",
            b"2000-1000 rwxp 0 00:00 0",
            b"1000-2000 rwx 0 00:00 0",
            b"1000-2000 rwxq 0 00:00 0",
            b"1000-2000 rwxp 0 0000 0",
            b"1000-2000 rwxp 0 00:00 -1",
        ] {
            assert_eq!(Mapping::parse_all(line), Err(Malformed("not a mapping")), "{line:?}");
        }
        assert_eq!(Mapping::parse_all(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _parsed_or_refused = Mapping::parse_all(&bytes);
        }

        #[test]
        fn any_path_is_kept(tail in prop::collection::vec(any::<u8>().prop_filter("line", |b| *b != b'\n'), 0..80)) {
            let name = [b"/", &tail[..]].concat();
            let line = [b"1000-2000 r--p 00000000 00:01 5      ", &name[..]].concat();
            prop_assert_eq!(&Mapping::parse_all(&line).unwrap()[0].name, &name);
        }
    }
}
