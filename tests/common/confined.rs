//! Victims under seccomp, each mode of it.

use super::{Before, Victim, fdclose};

/// Acts on a descriptor of each by `method`: with CAP_SYS_ADMIN seccomp can be suspended, and `judge` is given what is left;
/// without, it has to be refused. The victim lives either way.
#[track_caller]
pub(crate) fn acts_or_refuses(method: &str, judge: impl Fn(&Victim, &Before, i32)) {
    for mode in ["strict", "filter"] {
        let mut victim = Victim::spawn("confined", &[mode]);
        let (fd, inode): (i32, String) = (victim.value("fd"), victim.value("inode"));
        let before = Before::of(victim.pid());
        let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode, "--method", method]);
        match run.status {
            Some(0) => judge(&victim, &before, fd),
            Some(2) => {
                run.one_error().says(&["seccomp"]);
                before.assert_untouched();
            }
            other => panic!("{mode}: {other:?}: {run:#?}"),
        }
        assert_eq!(victim.ask("check"), "", "{mode}");
    }
}
