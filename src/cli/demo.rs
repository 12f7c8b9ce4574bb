//! `demo`: the classic leak, made in a child process and closed for real.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::terminal::Terminal;
use super::{Action, Conduct, List, Method, Output, close, list};
use crate::exit::Exit;
use crate::ids::Pid;
use crate::net::TcpState;
use crate::proc::Procfs;
use crate::selectors::Selectors;
use crate::survey::{Detail, survey};
use crate::work::Oversight;

/// The hidden command that the child runs.
pub const SERVER_COMMAND: &str = "demo-server";

/// Nothing on loopback takes this long, unless it never happens.
const LIMIT: Duration = Duration::from_secs(10);

/// Shows the leak, closes it, and shows that it is gone and the server well.
///
/// # Errors
/// Whatever keeps the demonstration from working: no loopback, no child process.
pub fn run(terminal: &Terminal, procfs: &Procfs, oversight: Oversight<'_>) -> anyhow::Result<Exit> {
    let terminal = &terminal.for_people();
    let say = |text: &str| terminal.result(|_, out| writeln!(out, "{text}"));
    let server = Server::start()?;
    say(&format!("Server {} forgets to close a connection that its client has closed:\n", server.pid))?;
    server.talk().context("the demo server does not answer")?;
    let leak =
        Selectors { pids: vec![server.pid], states: vec![TcpState::CloseWait], ..Selectors::default() };
    wait_for_leak(procfs, &leak)?;
    let everything = List {
        watch: None,
        no_holders: false,
        selectors: Selectors {
            states: vec![],
            kinds: vec![crate::selectors::KindChoice::Only(crate::kind::Kind::Tcp)],
            ..leak.clone()
        },
        output: Output::default(),
    };
    list::run(terminal, procfs, &everything)?;

    say(&format!("\n$ fdclose --pid {} --state close-wait --yes", server.pid))?;
    let conduct = Conduct {
        dry_run: false,
        yes: true,
        all_holders: false,
        explain: false,
        force: false,
        max_pause: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
    };
    let action =
        Action { selectors: leak.clone(), method: Method::Close, conduct, output: Output::default() };
    let exit = close::run(terminal, procfs, &action, false, oversight)?;
    if exit != Exit::Success {
        return Ok(exit);
    }

    say("\nThe server afterwards:\n")?;
    list::run(terminal, procfs, &everything)?;
    ensure!(survey(procfs, &leak, Detail::Ends)?.matches.is_empty(), "the leaked connection is still there");
    server.talk().context("the server stopped serving")?;
    say("\nIt never stopped serving: a new client just got its answer.")?;
    Ok(Exit::Success)
}

/// The kernel handles the client's FIN a moment after the client is done.
fn wait_for_leak(procfs: &Procfs, leak: &Selectors) -> anyhow::Result<()> {
    let start = Instant::now();
    while survey(procfs, leak, Detail::Ends)?.matches.is_empty() {
        ensure!(start.elapsed() < LIMIT, "the connection did not come to CLOSE-WAIT");
        thread::yield_now();
    }
    Ok(())
}

/// The child. It ends with its standard input, so also when this process is killed.
struct Server {
    pid: Pid,
    address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
    // Kept open: the server would otherwise fail on what it prints.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("can't find fdclose's own program file")?;
        let mut child = Command::new(program)
            .arg(SERVER_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start the demo server")?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take() else { bail!("the demo server has no output") };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.trim().parse().context("the demo server did not say where it listens")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::new).context("the demo server has no pid")?;
        Ok(Self { pid, address, child, stdin, _stdout: stdout })
    }

    /// One client: asks, gets its answer, closes.
    fn talk(&self) -> anyhow::Result<()> {
        let mut client = TcpStream::connect_timeout(&self.address, LIMIT)?;
        client.set_read_timeout(Some(LIMIT))?;
        client.write_all(b"ping")?;
        let mut answer = [0; 4];
        client.read_exact(&mut answer)?;
        ensure!(&answer == b"pong", "a wrong answer came");
        client.shutdown(Shutdown::Both)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends by itself now; waiting leaves no zombie.
        let _ = self.child.wait();
    }
}

/// The child's side: answers every client, and keeps the first connection for ever.
///
/// # Errors
/// No loopback, or nobody to tell where it listens.
pub fn serve() -> anyhow::Result<Exit> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("can't listen on loopback")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        let mut forgotten = None;
        for client in listener.incoming().flatten() {
            let mut client = client;
            let mut request = [0; 4];
            // A client that goes away early is no matter for a demonstration.
            if client.read_exact(&mut request).and_then(|()| client.write_all(b"pong")).is_ok() {
                forgotten.get_or_insert(client);
            }
        }
    });
    // The end of the input is the end of the demonstration.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(Exit::Success)
}
