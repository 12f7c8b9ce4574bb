//! The process that answers scrapes.
//!
//! It is one of its own: what comes over the network is read without any privilege, and neither a hostile client nor a
//! fault in there can reach the process that traces others.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::sys;
use crate::exit::Exit;
use crate::metrics::{Metrics, feed, server};

/// The hidden command by which it is started.
pub(in crate::cli) const COMMAND: &str = "metrics-server";
/// The user nobody.
const NOBODY: u32 = 65_534;
/// Who answers does nothing else: this is far more than it takes to read a text.
const PATIENCE: Duration = Duration::from_secs(1);

/// The listener, and the process that answers there. That ends when this one does, however.
#[derive(Debug)]
pub(super) struct Exporter {
    listener: TcpListener,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    feed: UnixStream,
}

impl Exporter {
    /// Listens on `address`.
    pub(super) fn start(address: SocketAddr) -> Result<Self, NoExporter> {
        let listener = TcpListener::bind(address).map_err(|error| NoExporter::listening(address, &error))?;
        let began = Server::start(&listener);
        let server = Some(began.map_err(|error| NoExporter { what: format!("{error:#}"), hint: None })?);
        Ok(Self { listener, server })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Has `metrics` shown from now on. A process that has ended is started anew.
    pub(super) fn show(&mut self, metrics: &Metrics) -> anyhow::Result<()> {
        let text = metrics.to_string();
        if let Some(server) = &mut self.server
            && feed::send(text.as_bytes(), &mut server.feed).is_ok()
        {
            return Ok(());
        }
        // The old one ends before the new one begins.
        self.server = None;
        let server = self.server.insert(Server::start(&self.listener)?);
        feed::send(text.as_bytes(), &mut server.feed).context("can't tell the metrics server")
    }
}

/// Why metrics can't be served, and what to do about it.
#[derive(Debug)]
pub(super) struct NoExporter {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl NoExporter {
    fn listening(address: SocketAddr, error: &io::Error) -> Self {
        let port = address.port();
        let (why, hint) = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => (
                "somebody has that port already".to_owned(),
                format!("'ss -ltnp sport = :{port}' shows who; choose another port"),
            ),
            Some(Errno::EADDRNOTAVAIL) => (
                "this machine has no such address".to_owned(),
                "'ip address' shows which it has; 127.0.0.1 serves those on this machine".to_owned(),
            ),
            Some(Errno::EACCES) => (
                "ports below 1024 take CAP_NET_BIND_SERVICE".to_owned(),
                "choose a higher port, or run fdclose as root".to_owned(),
            ),
            Some(errno) => (errno.desc().to_owned(), "choose another address".to_owned()),
            None => (error.to_string(), "choose another address".to_owned()),
        };
        Self { what: format!("can't listen on {address}: {why}"), hint: Some(hint) }
    }
}

impl Server {
    fn start(listener: &TcpListener) -> anyhow::Result<Self> {
        let (feed, far) = UnixStream::pair()?;
        feed.set_write_timeout(Some(PATIENCE))?;
        let child = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(Stdio::from(OwnedFd::from(far)))
            // Standard output is a descriptor like any other: this is how it gets the listener.
            .stdout(Stdio::from(OwnedFd::from(listener.try_clone()?)))
            .spawn()
            .context("can't start the metrics server")?;
        Ok(Self { child, feed })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended; waiting leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: answers until its standard input ends.
///
/// # Errors
/// It was started by hand, or the feed is broken.
pub fn serve() -> anyhow::Result<Exit> {
    let feed = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let listener = TcpListener::from(io::stdout().as_fd().try_clone_to_owned()?);
    listener.local_addr().context("this is not for you: 'fdclose watch --metrics' starts it")?;
    if let Err(errno) = give_up_privileges() {
        eprintln!("note: the metrics server keeps its user or some privileges: {}", errno.desc());
    }
    server::serve(&listener, feed)?;
    Ok(Exit::Success)
}

fn give_up_privileges() -> nix::Result<()> {
    // Three standard streams, two more for each of the first two, and one for each client.
    let descriptors = u64::try_from(server::MOST_CLIENTS + 16).unwrap_or(u64::MAX);
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, descriptors)?;
    let changed = if geteuid().is_root() { become_nobody() } else { Ok(()) };
    // Also where that was not allowed, and where they are on fdclose's own file (setcap(8)).
    sys::give_up_capabilities()?;
    prctl::set_no_new_privs()?;
    // The kernel takes this back when the user changes (prctl(2)), so it comes last.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    changed
}

fn become_nobody() -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}
