//! Answers scrapes. One thread, one poll(2), and bounds for everything that a client decides: how many there are, how
//! long they take, how much they send.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::feed::Feed;
use super::http;

/// So many clients at once; one more, and the one that has been there for longest has to go.
pub const MOST_CLIENTS: usize = 64;
/// A client has so long to ask and to take its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A client.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    until: Instant,
    asked: Vec<u8>,
    /// What is still to be sent, once the answer is known.
    answer: Option<Vec<u8>>,
}

/// What a client wants to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Close,
}

/// Answers whoever connects to `listener` with the newest text from `feed`, until that ends.
///
/// # Errors
/// What poll(2) says, or a feed that is broken.
pub fn serve(listener: &TcpListener, mut feed: UnixStream) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    feed.set_nonblocking(true)?;
    let (mut coming, mut text) = (Feed::default(), Vec::new());
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let ready = wait(listener, &feed, &clients)?;
        let now = Instant::now();
        if ready.first() == Some(&true) {
            match coming.read(&mut feed) {
                Ok(newest) => text = newest.unwrap_or(text),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let mut asked = ready.iter().skip(2);
        clients.retain_mut(|client| {
            let is_ready = asked.next() == Some(&true);
            client.until > now && (!is_ready || client.go_on(&text) == Next::Wait)
        });
        if ready.get(1) == Some(&true) {
            accept(listener, &mut clients, &text, now)?;
        }
    }
}

/// Waits until something can be read or sent, or a client has had its time. Whether: the feed, the listener, each client.
fn wait(listener: &TcpListener, feed: &UnixStream, clients: &[Client]) -> io::Result<Vec<bool>> {
    let mut polled =
        vec![PollFd::new(feed.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    polled.extend(clients.iter().map(|client| {
        let wanted = if client.answer.is_some() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
        PollFd::new(client.stream.as_fd(), wanted)
    }));
    let first = clients.iter().map(|client| client.until).min();
    // Rounded up, so that the time is over when it has come.
    let left = first.map(|until| until.saturating_duration_since(Instant::now()).as_millis() + 1);
    let timeout =
        left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.iter().map(|entry| entry.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(Vec::new()),
        Err(errno) => Err(errno.into()),
    }
}

fn accept(listener: &TcpListener, clients: &mut Vec<Client>, text: &[u8], now: Instant) -> io::Result<()> {
    for _ in 0..MOST_CLIENTS {
        match listener.accept() {
            Ok((stream, _)) => {
                let mut client = Client { stream, until: now + PATIENCE, asked: Vec::new(), answer: None };
                // Most have asked by now, and need no place at all.
                let waits = client.stream.set_nonblocking(true).is_ok() && client.go_on(text) == Next::Wait;
                if waits && clients.len() == MOST_CLIENTS {
                    // The first is the oldest. Whoever holds all places can't keep them.
                    clients.remove(0);
                }
                clients.extend(waits.then_some(client));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(()),
                // Of the client that is taken, not of the listener (accept(2)).
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                // No descriptor left: the oldest one's will do.
                _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
                    && !clients.is_empty() =>
                {
                    clients.remove(0);
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

impl Client {
    fn go_on(&mut self, text: &[u8]) -> Next {
        if self.answer.is_none() && self.listen(text) == Next::Close {
            return Next::Close;
        }
        self.tell()
    }

    /// Reads what is there, and finds the answer when the question is whole.
    fn listen(&mut self, text: &[u8]) -> Next {
        let mut piece = [0; 2048];
        match self.stream.read(&mut piece) {
            Ok(0) => return Next::Close,
            Ok(length) => self.asked.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if is_for_later(&error) => return Next::Wait,
            Err(_) => return Next::Close,
        }
        self.answer = http::answer(&self.asked).map(|answer| http::response(answer, text));
        Next::Wait
    }

    /// Sends what can be sent now.
    fn tell(&mut self) -> Next {
        let Some(answer) = &mut self.answer else { return Next::Wait };
        match self.stream.write(answer) {
            Ok(sent) => drop(answer.drain(..sent)),
            Err(error) if is_for_later(&error) => {}
            Err(_) => return Next::Close,
        }
        if answer.is_empty() { Next::Close } else { Next::Wait }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
