//! The tool under test.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::kernel::assumed;
use super::victim::command_as;
use super::{binaries, evidence, wait_until};

/// fdclose never hangs: this is far above its own default deadline of 5 s, and what a batch takes in an emulated machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit status; `None` for a run ended by a signal or by the deadline.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// fdclose, on the kernel that is to be assumed.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdclose"));
    command.args(assumed());
    command
}

/// Runs fdclose without a terminal, with nothing on its standard input.
#[track_caller]
pub(crate) fn fdclose(args: &[&str]) -> Run {
    run(command(), args)
}

/// Runs fdclose while `meanwhile` is done.
#[track_caller]
pub(crate) fn fdclose_while(args: &[&str], meanwhile: impl FnOnce()) -> Run {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| fdclose(args));
        meanwhile();
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs fdclose through `unshare ARGS`, in namespaces of its own.
#[track_caller]
pub(crate) fn fdclose_unshared(unshare: &[&str], args: &[&str]) -> Run {
    let mut command = Command::new("unshare");
    command.args(unshare).arg(env!("CARGO_BIN_EXE_fdclose")).args(assumed());
    run(command, args)
}

/// Runs fdclose as root without one of its capabilities. Needs root and setpriv.
#[track_caller]
pub(crate) fn fdclose_without(capability: &str, args: &[&str]) -> Run {
    let mut command = Command::new("setpriv");
    let less = format!("-{capability}");
    command
        .args(["--bounding-set", &less, "--inh-caps", &less])
        .arg(env!("CARGO_BIN_EXE_fdclose"))
        .args(assumed());
    run(command, args)
}

/// Runs fdclose as on a kernel without pidfd_getfd(2), which came with Linux 5.6. Needs root.
#[track_caller]
pub(crate) fn fdclose_before_5_6(args: &[&str]) -> Run {
    let mut command = Command::new(binaries::victim("old_kernel"));
    command.arg("pidfd_getfd").arg(env!("CARGO_BIN_EXE_fdclose")).args(assumed());
    run(command, args)
}

/// Runs fdclose through another program, whose words come first.
#[track_caller]
pub(crate) fn fdclose_through(program: &[&str], args: &[&str]) -> Run {
    let (first, rest) = program.split_first().expect("a program");
    let mut command = Command::new(first);
    command.args(rest).arg(env!("CARGO_BIN_EXE_fdclose")).args(assumed());
    run(command, args)
}

/// Runs fdclose while a filter on system calls denies it some: `pidfd_getfd`, `netlink` and others that
/// `fixtures/src/bin/denied.rs` knows.
#[track_caller]
pub(crate) fn fdclose_denied(calls: &str, args: &[&str]) -> Run {
    let mut command = Command::new(binaries::victim("denied"));
    command.arg(calls).arg(env!("CARGO_BIN_EXE_fdclose")).args(assumed());
    run(command, args)
}

/// Runs fdclose so that it kills itself at a place of its surgery, and sees that it did: either the command is gone, or
/// it says that its worker is.
#[track_caller]
pub(crate) fn fdclose_dying_at(place: &str, args: &[&str]) {
    let mut command = command();
    command.args(args).env("FDCLOSE_TEST_DIE_AT", place);
    let output = assert_cmd::Command::from_std(command).timeout(DEADLINE).output().expect("fdclose runs");
    let lost_its_worker = output.status.code() == Some(3)
        && [&output.stdout, &output.stderr]
            .iter()
            .any(|said| String::from_utf8_lossy(said).contains("was killed by signal 9"));
    let killed = output.status.signal() == Some(libc::SIGKILL);
    assert!(killed || lost_its_worker, "{place} was not come by: {output:?}");
}

/// The same as another user. Needs root.
#[track_caller]
pub(crate) fn fdclose_as(user: u32, args: &[&str]) -> Run {
    let (mut command, _open) = command_as(user, Path::new(env!("CARGO_BIN_EXE_fdclose")));
    command.args(assumed());
    run(command, args)
}

#[track_caller]
fn run(mut command: Command, args: &[&str]) -> Run {
    command.args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("FORCE_COLOR");
    let output = assert_cmd::Command::from_std(command).timeout(DEADLINE).output().expect("fdclose runs");
    Run::of(output)
}

/// A run under way.
pub(crate) struct Started(Option<Child>);

/// Starts fdclose, with nothing on its standard input, and does not wait for it.
#[track_caller]
pub(crate) fn start_fdclose(args: &[&str]) -> Started {
    start_fdclose_with(args, &[])
}

/// The same with more in its environment, as the leader of a process group.
#[track_caller]
pub(crate) fn start_fdclose_with(args: &[&str], variables: &[(&str, &str)]) -> Started {
    let mut command = command();
    command.args(args).envs(variables.iter().copied()).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Started(Some(command.spawn().expect("fdclose starts")))
}

/// Starts fdclose with `stdout` as its standard output, as in `fdclose >/dev/full`.
#[track_caller]
pub(crate) fn start_fdclose_into(stdout: impl Into<Stdio>, args: &[&str]) -> Started {
    let mut command = command();
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    Started(Some(command.spawn().expect("fdclose starts")))
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().expect("it is not finished").id()
    }

    /// Its standard error, to be read while it runs.
    #[track_caller]
    pub(crate) fn take_stderr(&mut self) -> ChildStderr {
        self.0.as_mut().and_then(|child| child.stderr.take()).expect("it is not finished")
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.as_mut().expect("it is not finished").try_wait().expect("fdclose is ours").is_some()
    }

    /// Sends it SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.0.as_mut().expect("it is not finished").kill().expect("fdclose is ours");
    }

    /// Waits for its end; whether it was by `signal`, and not before that came. By itself it ends with 0, or with 3 where
    /// the machine was too busy for the target to run. Any other end is a failure.
    #[track_caller]
    pub(crate) fn ended_by(self, signal: i32) -> bool {
        let output = self.output();
        match (output.status.signal(), output.status.code()) {
            (Some(by), _) if by == signal => true,
            (None, Some(0 | 3)) => false,
            _ => panic!("{output:?}"),
        }
    }

    /// Waits for its end; with it the signal that ended it, if one did.
    #[track_caller]
    pub(crate) fn finish_with_signal(self) -> (Run, Option<i32>) {
        let output = self.output();
        let by = output.status.signal();
        (Run::of(output), by)
    }

    /// Waits for its end; whether it said that its worker was killed, and not that all was done.
    #[track_caller]
    pub(crate) fn lost_its_worker(self) -> bool {
        let run = self.finish();
        assert!(matches!(run.status, Some(0 | 3)), "{run:#?}");
        run.stderr.contains("was killed by signal 9")
    }

    /// Waits until it has stopped itself at a place of its surgery (FDCLOSE_TEST_STOP_AT), or its worker has; the
    /// process that stopped. `None` if it has ended without coming by: the target got no processor in time.
    #[track_caller]
    pub(crate) fn wait_until_stopped(&mut self) -> Option<u32> {
        let mut stopped = None;
        wait_until("the stop at a place of the surgery", || {
            let over = self.is_over();
            let family = [self.pid()].into_iter().chain(evidence::own_children(self.pid()));
            stopped = family
                .into_iter()
                .find(|pid| evidence::status(*pid, *pid).is_some_and(|status| status.state == 'T'));
            over || stopped.is_some()
        });
        stopped
    }

    /// Whether a signal has stopped it, every thread of it.
    pub(crate) fn is_stopped(&self) -> bool {
        let is_stopped = |tid| evidence::status(self.pid(), tid).is_none_or(|status| status.state == 'T');
        evidence::threads(self.pid()).into_iter().all(is_stopped)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(self) -> Run {
        Run::of(self.output())
    }

    #[track_caller]
    fn output(mut self) -> Output {
        let child = self.0.take().expect("it is not finished");
        child.wait_with_output().expect("fdclose is ours")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Not left stopped by a test that failed. Either may fail when it has ended already.
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }

    /// Proves the exit status.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// The one document `--json` prints.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}; {self:#?}"))
    }

    /// Proves that one of `words` is said on standard error, in any case.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        let said = self.stderr.to_lowercase();
        assert!(
            words.iter().any(|word| said.contains(&word.to_lowercase())),
            "none of {words:?} in {self:#?}"
        );
        self
    }

    /// Proves that standard error is one clear error: its first line begins with `error:`, and no other does.
    #[track_caller]
    pub(crate) fn one_error(&self) -> &Self {
        assert!(self.stderr.starts_with("error:"), "no error first: {self:#?}");
        assert_eq!(self.stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{self:#?}");
        self
    }
}

/// The outcome of one descriptor in the document of the main action.
#[track_caller]
pub(crate) fn outcome(document: &Value, fd: i32) -> &Value {
    let targets = document["targets"].as_array().unwrap_or_else(|| panic!("no targets: {document:#}"));
    let mut of_fd = targets.iter().filter(|target| target["fd"] == fd);
    let found = of_fd.next().unwrap_or_else(|| panic!("no target {fd}: {document:#}"));
    assert!(of_fd.next().is_none(), "{fd} is there twice: {document:#}");
    found
}
