//! `fdclose watch`, running, and what it tells.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use super::kernel::assumed;
use super::{PATIENCE, evidence, wait_until};

/// A watch; dropping it kills it.
pub(crate) struct Watching {
    child: Child,
    lines: Receiver<Value>,
    /// Where its metrics are.
    pub(crate) address: SocketAddr,
}

impl Watching {
    /// Starts it with metrics on a free port, and waits until they can be asked for.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_through(Command::new(env!("CARGO_BIN_EXE_fdclose")), args)
    }

    /// The same by a command that runs fdclose with what is added to it.
    #[track_caller]
    pub(crate) fn start_through(mut command: Command, args: &[&str]) -> Self {
        let mut child = command
            .args(assumed())
            .arg("watch")
            .args(args)
            .args(["--metrics", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("fdclose starts");
        let (tell, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it ended: {:?}", child.wait());
            if let Some(rest) = line.strip_prefix("note: metrics on http://") {
                break rest.trim_end().trim_end_matches("/metrics").parse().expect("an address");
            }
        };
        // What it says later goes where the test's own words go.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("watch: {line}");
            }
        });
        Self { child, lines, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that answers scrapes.
    #[track_caller]
    pub(crate) fn exporter(&self) -> u32 {
        let is_exporter = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"metrics-server")
        };
        let mut found = None;
        wait_until("the metrics server", || {
            found = evidence::own_children(self.pid()).into_iter().find(is_exporter);
            found.is_some()
        });
        found.expect("it was just found")
    }

    /// The lines told since the last time.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    /// One metric, with its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.scrape();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    /// Everything.
    #[track_caller]
    pub(crate) fn scrape(&self) -> String {
        let response = get(self.address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {response}"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        body.to_owned()
    }

    /// Waits until a look that has begun after now is over.
    #[track_caller]
    pub(crate) fn wait_for_a_look(&self) {
        let runs = || self.metric("fdclose_runs_total").unwrap_or(0.0);
        let before = runs();
        // The one that is under way may have begun before.
        wait_until("two looks", || runs() >= before + 2.0);
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status();
        assert!(sent.expect("a shell runs").success());
    }

    /// Sends it SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
    }

    /// Waits for its end; its exit status, and the lines told since the last time.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Option<i32>, Vec<Value>) {
        let mut status = None;
        wait_until("the end of the watch", || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        // To its end.
        (status.expect("it has ended").code(), self.lines.iter().collect())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Either may fail when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What is answered to `request`, to its end.
#[track_caller]
pub(crate) fn get(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).expect("somebody listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    client.write_all(request.as_bytes()).expect("it is taken");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("an answer");
    response
}
