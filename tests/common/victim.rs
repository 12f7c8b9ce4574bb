//! A running victim, from the test's side. What its lines mean stands in `fixtures/src/lib.rs` and in the victim's
//! own header.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{PATIENCE, binaries, wait_until};

/// A victim; dropping it kills it.
pub(crate) struct Victim {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    returns: Receiver<String>,
    ready: HashMap<String, String>,
}

/// What the call of a `blocked` victim returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) value: i64,
    pub(crate) errno: i32,
    pub(crate) elapsed_us: u64,
}

impl Victim {
    /// Starts a victim and waits until it is what it is meant to be.
    #[track_caller]
    pub(crate) fn spawn(name: &str, args: &[&str]) -> Self {
        Self::start(Command::new(binaries::victim(name)).args(args))
    }

    /// The same, of any program that keeps to the protocol.
    #[track_caller]
    pub(crate) fn spawn_program(program: &Path, args: &[&str]) -> Self {
        Self::start(Command::new(program).args(args))
    }

    /// The same through `unshare ARGS`, in namespaces of its own. With `--fork` among them the victim is its child.
    #[track_caller]
    pub(crate) fn spawn_unshared(args: &[&str], name: &str) -> Self {
        Self::start(Command::new("unshare").args(args).arg(binaries::victim(name)))
    }

    /// The same, as the leader of a process group: one that a terminal's signals can stop.
    #[track_caller]
    pub(crate) fn spawn_leading(name: &str, args: &[&str]) -> Self {
        Self::start(Command::new(binaries::victim(name)).args(args).process_group(0))
    }

    /// The same, as another user. Needs root.
    #[track_caller]
    pub(crate) fn spawn_as(user: u32, name: &str, args: &[&str]) -> Self {
        let (mut command, _open) = command_as(user, &binaries::victim(name));
        Self::start(command.args(args))
    }

    #[track_caller]
    fn start(command: &mut Command) -> Self {
        allow_enough_descriptors();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the victim starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (to_answers, answers) = mpsc::channel();
        let (to_returns, returns) = mpsc::channel();
        thread::spawn(move || {
            // The end of the output drops the senders, which the receivers see.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let to = if line.starts_with("returned ") { &to_returns } else { &to_answers };
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        let mut victim = Self { child, stdin, answers, returns, ready: HashMap::new() };
        let line = victim.line();
        let fields = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}"));
        victim.ready = pairs(fields);
        victim
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process, as an argument.
    pub(crate) fn pid_arg(&self) -> String {
        self.pid().to_string()
    }

    /// A value of its ready line.
    #[track_caller]
    pub(crate) fn value<T: FromStr<Err: Debug>>(&self, key: &str) -> T {
        parsed(&self.ready, key)
    }

    /// A list of its ready line.
    #[track_caller]
    pub(crate) fn list<T: FromStr<Err: Debug>>(&self, key: &str) -> Vec<T> {
        let list: String = self.value(key);
        list.split(',').map(|item| item.parse().expect("a list of the right type")).collect()
    }

    /// Everything its ready line says.
    pub(crate) fn ready(&self) -> &HashMap<String, String> {
        &self.ready
    }

    /// Says `command` and returns what follows `ok`. Panics when it isn't `ok`.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        // In one write: a victim that reads standard input itself takes what is there.
        let said = stdin.write_all(format!("{command}\n").as_bytes());
        said.unwrap_or_else(|error| panic!("{command}: {error}; {:?}", self.child.try_wait()));
        let line = self.line();
        match line.strip_prefix("ok") {
            Some(answer) => answer.trim_start().to_owned(),
            None => panic!("asked for {command}: {line}"),
        }
    }

    /// Says `command` and takes the fields of the answer.
    #[track_caller]
    pub(crate) fn ask_fields(&mut self, command: &str) -> HashMap<String, String> {
        pairs(&self.ask(command))
    }

    /// Has the victim leak one more; its number and inode.
    #[track_caller]
    pub(crate) fn leak(&mut self, command: &str) -> (i32, u64) {
        let fields = self.ask_fields(command);
        (parsed(&fields, "fd"), parsed(&fields, "inode"))
    }

    /// Whether the call of a `blocked` victim has come back; `None` while it hasn't.
    #[track_caller]
    pub(crate) fn returned(&mut self) -> Option<Returned> {
        match self.returns.try_recv() {
            Ok(line) => Some(returned(&line)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the victim is gone: {:?}", self.child.try_wait()),
        }
    }

    /// Lets this much time pass and proves that the call of a `blocked` victim didn't come back meanwhile.
    #[track_caller]
    pub(crate) fn stays_blocked_for(&mut self, time: Duration) {
        match self.returns.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("the call came back: {other:?}; {:?}", self.child.try_wait()),
        }
    }

    /// Waits for the call of a `blocked` victim to come back.
    #[track_caller]
    pub(crate) fn wait_returned(&mut self) -> Returned {
        match self.returns.recv_timeout(PATIENCE) {
            Ok(line) => returned(&line),
            Err(error) => panic!("the call never came back: {error}; {:?}", self.child.try_wait()),
        }
    }

    /// Proves that its echo service serves: a new connection gets back what it sends.
    #[track_caller]
    pub(crate) fn serves(&self) {
        let port: u16 = self.value("port");
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the victim accepts");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        client.write_all(b"still there?\n").expect("the victim takes bytes");
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).expect("the victim answers");
        assert_eq!(line, "still there?\n");
    }

    /// Ends it the friendly way and returns how it ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let mut status = None;
        wait_until("the victim's end", || {
            status = self.child.try_wait().expect("the victim is ours");
            status.is_some()
        });
        status.expect("it was just waited for")
    }

    /// Kills it without collecting its exit status, which makes it a zombie until it is dropped.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the victim is ours");
    }

    #[track_caller]
    fn line(&mut self) -> String {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("no answer: {error}; {:?}", self.child.try_wait()),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Either may fail when the victim has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command that runs `program` as `user`, and the open file it needs until it is started: the user may be unable
/// to reach the path (a checkout below /root), but can execute the file itself.
pub(crate) fn command_as(user: u32, program: &Path) -> (Command, File) {
    let file = File::open(program).expect("the program can be opened");
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    command.arg0(program).uid(user).gid(user).current_dir("/");
    (command, file)
}

fn pairs(fields: &str) -> HashMap<String, String> {
    fields
        .split_whitespace()
        .filter_map(|field| field.split_once('='))
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

#[track_caller]
fn parsed<T: FromStr<Err: Debug>>(fields: &HashMap<String, String>, key: &str) -> T {
    let value = fields.get(key).unwrap_or_else(|| panic!("no {key} in {fields:?}"));
    value.parse().unwrap_or_else(|error| panic!("{key}={value}: {error:?}"))
}

fn returned(line: &str) -> Returned {
    let fields = pairs(line);
    let elapsed_us = parsed(&fields, "elapsed_us");
    Returned { value: parsed(&fields, "value"), errno: parsed(&fields, "errno"), elapsed_us }
}

/// For victims with thousands of leaks: most systems start programs with a soft limit of 1,024, which is inherited.
fn allow_enough_descriptors() {
    const ENOUGH: u64 = 16_384;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there are limits");
    if soft < ENOUGH.min(hard) {
        setrlimit(Resource::RLIMIT_NOFILE, ENOUGH.min(hard), hard).expect("a soft limit may be raised");
    }
}
