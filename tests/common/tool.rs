//! The tool under test.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::evidence;
use super::victim::command_as;

/// fdclose never hangs: this is far above its own default deadline of 5 s.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit status; `None` for a run ended by a signal or by the deadline.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs fdclose without a terminal, with nothing on its standard input.
#[track_caller]
pub(crate) fn fdclose(args: &[&str]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_fdclose")), args)
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
    command.args(unshare).arg(env!("CARGO_BIN_EXE_fdclose"));
    run(command, args)
}

/// Runs fdclose so that it kills itself at a place of its surgery, and sees that it did.
#[track_caller]
pub(crate) fn fdclose_dying_at(place: &str, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdclose"));
    command.args(args).env("FDCLOSE_TEST_DIE_AT", place);
    let output = assert_cmd::Command::from_std(command).timeout(DEADLINE).output().expect("fdclose runs");
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{place} was not come by: {output:?}");
}

/// The same as another user. Needs root.
#[track_caller]
pub(crate) fn fdclose_as(user: u32, args: &[&str]) -> Run {
    let (command, _open) = command_as(user, Path::new(env!("CARGO_BIN_EXE_fdclose")));
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdclose"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Started(Some(command.spawn().expect("fdclose starts")))
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().expect("it is not finished").id()
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.as_mut().expect("it is not finished").try_wait().expect("fdclose is ours").is_some()
    }

    /// Whether a signal has stopped it, every thread of it.
    pub(crate) fn is_stopped(&self) -> bool {
        let is_stopped = |tid| evidence::status(self.pid(), tid).is_none_or(|status| status.state == 'T');
        evidence::threads(self.pid()).into_iter().all(is_stopped)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        let child = self.0.take().expect("it is not finished");
        Run::of(child.wait_with_output().expect("fdclose is ours"))
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
