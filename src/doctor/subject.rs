//! The child that things are tried on.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::ids::{Fd, Pid};
use crate::proc::{Process, Procfs};

/// The hidden command by which it is started.
pub const COMMAND: &str = "doctor-subject";

/// A process of fdclose's own, with a descriptor that nobody needs. It ends with its standard input, so also when this
/// process is killed.
#[derive(Debug)]
pub(super) struct Subject {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(super) process: Process,
    pub(super) spare: Fd,
}

impl Subject {
    /// Starts one. Why that failed, in words.
    pub(super) fn start(procfs: &Procfs) -> Result<Self, String> {
        let mut child = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("can't start a process: {error}"))?;
        let stdin = child.stdin.take();
        match read_number(&mut child).and_then(|spare| Ok((spare, open(procfs, &child)?))) {
            Ok((spare, process)) => Ok(Self { child, stdin, process, spare }),
            Err(why) => {
                drop(stdin);
                // It ends by itself now; waiting leaves no zombie.
                let _ = child.wait();
                Err(why)
            }
        }
    }
}

fn read_number(child: &mut Child) -> Result<Fd, String> {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().ok_or("a process was started without output")?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .map_err(|error| format!("can't read from a process: {error}"))?;
    line.trim().parse().ok().and_then(Fd::new).ok_or_else(|| "a process did not say what it has".to_owned())
}

fn open(procfs: &Procfs, child: &Child) -> Result<Process, String> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::new).ok_or("a process has no number")?;
    procfs.open(pid).map_err(|error| error.to_string())
}

impl Drop for Subject {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends by itself now; waiting leaves no zombie.
        let _ = self.child.wait();
    }
}

/// The child's side: opens something, says its number, and waits for the end of its standard input.
///
/// # Errors
/// Nobody is there to be told.
pub fn be_subject() -> io::Result<()> {
    let spare = File::open("/dev/null")?;
    writeln!(io::stdout(), "{}", spare.as_raw_fd())?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    // fdclose has closed it: to drop it here would close whatever has its number by now.
    std::mem::forget(spare);
    Ok(())
}
