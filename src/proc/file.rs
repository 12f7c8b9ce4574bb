//! Reading a file of `/proc` whole, but never more of it than is sensible.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::error::ProcError;

/// First read. Most files of a process fit, and the kernel writes no more than a page or two at once anyway.
const FIRST: usize = 4096;

/// Why a file could not be read whole.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    TooLarge,
}

impl ReadError {
    /// The error with the file it happened on and the limit it was read with.
    pub(super) fn at(self, path: PathBuf, limit: usize) -> ProcError {
        match self {
            Self::Io(source) => ProcError::from_io(source, path),
            Self::TooLarge => ProcError::TooLarge { path, limit },
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens `name` below `dir` for reading.
pub(super) fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<File, Errno> {
    let fd = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?;
    Ok(File::from(fd))
}

/// All of `from`, unless it is longer than `limit` bytes.
pub(super) fn read_whole(mut from: impl Read, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut text = vec![0; FIRST.min(limit + 1)];
    let mut len = 0;
    loop {
        match from.read(&mut text[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        if len > limit {
            return Err(ReadError::TooLarge);
        }
        if len == text.len() {
            text.resize((len * 2).min(limit + 1), 0);
        }
    }
    text.truncate(len);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        for limit in [0, 1, FIRST - 1, FIRST, FIRST + 1, 3 * FIRST] {
            let text = vec![b'x'; limit + 1];
            assert_eq!(read_whole(&text[..limit], limit).unwrap(), &text[..limit]);
            assert!(matches!(read_whole(&text[..], limit), Err(ReadError::TooLarge)));
        }
    }
}
