//! The lines of a long table, with no more than one of them in memory.

use std::io::{self, Read};

use crate::watchdog;

/// Room for one line and for one read. Rows are a few hundred bytes at most; a longer one is no row.
const ROOM: usize = 64 << 10;

/// Calls `each` with every line of `from`, without its newline. A line too long to be a row is given as `None`.
pub(super) fn each_line(mut from: impl Read, mut each: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
    let mut buf = vec![0; ROOM];
    // Bytes of an unfinished line at the start of `buf`, and whether its head was already thrown away.
    let (mut len, mut overlong) = (0, false);
    loop {
        watchdog::beat();
        let more = match from.read(&mut buf[len..]) {
            Ok(more) => more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if more == 0 {
            if len > 0 || overlong {
                each((!overlong).then_some(&buf[..len]));
            }
            return Ok(());
        }
        let end = len + more;
        let mut start = 0;
        let mut search = len;
        while let Some(at) = buf[search..end].iter().position(|byte| *byte == b'\n') {
            each((!overlong).then_some(&buf[start..search + at]));
            overlong = false;
            search += at + 1;
            start = search;
        }
        buf.copy_within(start..end, 0);
        len = end - start;
        if len == buf.len() {
            (len, overlong) = (0, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives out at most `at_once` bytes a read, as the kernel gives at most a page.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buf.len());
            self.0.read(&mut buf[..size])
        }
    }

    fn collect(text: &[u8], at_once: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        each_line(Trickle(text, at_once), |line| lines.push(line.map(<[u8]>::to_vec))).unwrap();
        lines
    }

    #[test]
    fn an_endless_line_costs_only_itself() {
        let long = vec![b'x'; 3 * ROOM + 5];
        let text = [b"a\n", &long[..], b"\nb\nc"].concat();
        let wanted = [Some(b"a".to_vec()), None, Some(b"b".to_vec()), Some(b"c".to_vec())];
        assert_eq!(collect(&text, 4096), wanted);
        assert_eq!(collect(&text, usize::MAX), wanted);
        assert_eq!(collect(&long, 4096), [None]);
    }

    proptest! {
        #[test]
        fn the_size_of_a_read_does_not_matter(
            lines in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..20), 0..20),
            at_once in 1usize..40,
        ) {
            let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
            let wanted: Vec<_> = lines.into_iter().map(Some).collect();
            prop_assert_eq!(collect(&text, at_once), wanted);
        }
    }
}
