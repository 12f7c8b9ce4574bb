//! How the text goes from the process that acts to the one that answers: its length in four bytes, and the text.

use std::io::{self, ErrorKind, Read, Write};

/// No text is longer.
const MOST: usize = 1 << 20;

/// Sends `text`.
///
/// # Errors
/// What `out` says.
pub fn send(text: &[u8], out: &mut impl Write) -> io::Result<()> {
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= MOST);
    let length = length.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    // In one write: the other side is never woken for half of it.
    out.write_all(&[&length.to_le_bytes(), text].concat())
}

/// What has come so far of the next text.
#[derive(Debug, Default)]
pub struct Feed {
    come: Vec<u8>,
}

impl Feed {
    /// Reads what is there. The newest text that has come whole, if one has.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`] when the other side is gone; [`ErrorKind::InvalidData`]; what `from` says, but not
    /// that there is nothing more now.
    pub fn read(&mut self, from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
        let mut newest = None;
        let mut piece = [0; 16 * 1024];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.come.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(newest),
                Err(error) => return Err(error),
            }
            while let Some(text) = self.next()? {
                newest = Some(text);
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(head) = self.come.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(ErrorKind::InvalidData.into());
        }
        if self.come.len() < 4 + length {
            return Ok(None);
        }
        let rest = self.come.split_off(4 + length);
        let mut text = std::mem::replace(&mut self.come, rest);
        text.drain(..4);
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_newest_whole_text_counts() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut feed = Feed::default();
        assert_eq!(feed.read(&mut far).unwrap(), None);
        send(b"one", &mut near).unwrap();
        send(b"", &mut near).unwrap();
        send(b"two", &mut near).unwrap();
        near.write_all(&[5, 0]).unwrap();
        assert_eq!(feed.read(&mut far).unwrap(), Some(b"two".to_vec()));
        near.write_all(&[0, 0]).unwrap();
        near.write_all(b"thr").unwrap();
        assert_eq!(feed.read(&mut far).unwrap(), None);
        near.write_all(b"ee").unwrap();
        assert_eq!(feed.read(&mut far).unwrap(), Some(b"three".to_vec()));
        near.write_all(&[0xff; 4]).unwrap();
        assert_eq!(feed.read(&mut far).unwrap_err().kind(), ErrorKind::InvalidData);
        drop(near);
        assert_eq!(Feed::default().read(&mut far).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(send(&vec![0; MOST + 1], &mut io::sink()).is_err());
    }
}
