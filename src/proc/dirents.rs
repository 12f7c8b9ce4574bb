//! Directories of `/proc` whose entries are numbers: processes, threads, descriptors.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::sys::{DirBuf, getdents64};
use super::text::decimal;

/// Calls `each` with every entry of `dir` that is a number. Starts where the directory's offset stands.
pub(super) fn each_number(dir: BorrowedFd<'_>, mut each: impl FnMut(i32)) -> Result<(), Errno> {
    let mut buf = DirBuf::new();
    loop {
        let records = getdents64(dir, &mut buf)?;
        if records.is_empty() {
            return Ok(());
        }
        for name in names(records) {
            if let Some(number) = decimal(name) {
                each(number);
            }
        }
    }
}

/// Where the length and the name lie in a `struct linux_dirent64` (getdents(2)).
const RECLEN: std::ops::Range<usize> = 16..18;
const NAME: usize = 19;

/// The names in a buffer getdents64 filled. Ends at the first record that can't be one.
pub(super) fn names(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length: [u8; 2] = records.get(RECLEN)?.try_into().ok()?;
        let (record, rest) = records.split_at_checked(u16::from_ne_bytes(length).into())?;
        records = rest;
        record.get(NAME..)?.split(|byte| *byte == 0).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &[u8]) -> Vec<u8> {
        let length = (NAME + name.len() + 1).next_multiple_of(8);
        let mut record = vec![0u8; length];
        record[RECLEN].copy_from_slice(&u16::try_from(length).unwrap().to_ne_bytes());
        record[NAME..NAME + name.len()].copy_from_slice(name);
        record
    }

    #[test]
    fn reads_each_name_once() {
        let wanted: Vec<&[u8]> = vec![b".", b"..", b"0", b"4194304", b"fdinfo"];
        let buf: Vec<u8> = wanted.iter().flat_map(|name| record(name)).collect();
        assert_eq!(names(&buf).collect::<Vec<_>>(), wanted);
        assert_eq!(names(&buf[..buf.len() - 1]).count(), wanted.len() - 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(names(&bytes).count() <= bytes.len() / NAME);
        }
    }
}
