//! Real servers and load generators, on free loopback ports, with everything they write in a directory of their own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::evidence::{self, LISTEN, TcpRow};
use super::{PATIENCE, Victim, sys, wait_until};

/// A server under a guard, which ends it and all it forked when the test is over or dies.
pub(crate) struct Server {
    guard: Option<Victim>,
    /// The process that was started.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Server {
    /// Starts a server that is told its port: `command` makes its words from a directory of its own and the port.
    /// Another process can take the free port first, so this tries again when the server ends.
    #[track_caller]
    pub(crate) fn start(command: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        for _ in 0..8 {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let port = free_port();
            let words = command(directory.path(), port);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let guard = Victim::spawn("guard", &words);
            let pid: u32 = guard.value("child");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut listens = false;
            wait_until("a listening server", || {
                let ended = evidence::state(pid) == 'Z';
                listens = !ended && is_listening(pid, address);
                listens || ended
            });
            let server = Self { guard: Some(guard), pid, address, _directory: directory };
            if listens {
                return server;
            }
        }
        panic!("the server never listened");
    }

    /// Connects.
    #[track_caller]
    pub(crate) fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("the server accepts");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        client
    }

    /// The server's end of a client's connection, once process `pid` holds it.
    #[track_caller]
    pub(crate) fn held_end(&self, pid: u32, client: SocketAddr) -> TcpRow {
        let mut found = None;
        wait_until("the server's end of the connection", || {
            let mut rows = evidence::tcp_rows(pid).into_iter();
            found = rows.find(|row| {
                row.local == self.address
                    && row.peer == client
                    && !evidence::numbers_of(pid, row.inode).is_empty()
            });
            found.is_some()
        });
        found.expect("it was just found")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input makes the guard kill the whole group, itself included.
        if let Some(guard) = self.guard.take() {
            guard.end();
        }
    }
}

/// Whether a process holds a socket that listens on `address`.
fn is_listening(pid: u32, address: SocketAddr) -> bool {
    let mut rows =
        evidence::tcp_rows(pid).into_iter().filter(|row| row.state == LISTEN && row.local == address);
    rows.any(|row| !evidence::numbers_of(pid, row.inode).is_empty())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A load generator that runs by itself.
pub(crate) struct Load(Option<Child>);

impl Load {
    /// Starts it and waits until it has a connection to `server`.
    #[track_caller]
    pub(crate) fn start(server: &Server, program: &str, args: &[&str]) -> Self {
        // Connections of the test's own clients are there already.
        let connected = || {
            let rows = evidence::tcp_rows(server.pid);
            rows.iter().filter(|row| row.peer == server.address).map(|row| row.local).collect::<Vec<_>>()
        };
        let before = connected();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let load = Self(Some(child));
        wait_until("load", || connected().iter().any(|client| !before.contains(client)));
        load
    }

    /// Whether it still runs.
    #[track_caller]
    pub(crate) fn runs(&mut self) -> bool {
        let child = self.0.as_mut().expect("it was not waited for");
        child.try_wait().expect("it is our child").is_none()
    }

    /// Ends it as Ctrl-C does and returns what it said: `ab` sums up then, and exits with 1.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Output {
        let child = self.0.take().expect("it was not waited for");
        sys::kill(child.id(), libc::SIGINT);
        child.wait_with_output().expect("it is our child")
    }

    /// Waits for its end and returns what it said.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let child = self.0.take().expect("it was not waited for");
        child.wait_with_output().expect("it is our child")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Sends `request` and reads until `until` comes.
#[track_caller]
pub(crate) fn exchange(client: &mut TcpStream, request: &str, until: &str) -> String {
    use std::io::Read as _;

    client.write_all(request.as_bytes()).expect("the server takes a request");
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&reply).contains(until) {
        let got = client.read(&mut buffer).expect("the server answers");
        assert_ne!(got, 0, "the server hung up after {:?}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&buffer[..got]);
    }
    String::from_utf8_lossy(&reply).into_owned()
}
