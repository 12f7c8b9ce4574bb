//! Processes that could not be looked into: how many, and why.

use super::sanitize::printable;
use super::units::Counted;
use crate::ids::Pid;
use crate::proc::ProcError;

/// One sentence on `all`; empty if there are none. `is_root` if nobody would see more.
#[must_use]
pub fn sentence(all: &[(Pid, ProcError)], is_root: bool) -> String {
    let mut causes: Vec<(String, usize)> = Vec::new();
    for (_, error) in all {
        let cause = cause(error);
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += 1,
            None => causes.push((cause, 1)),
        }
    }
    // The most frequent first. What is said of one process each, with its path, is said of some alone.
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let hidden = causes.len().saturating_sub(MOST_CAUSES);
    causes.truncate(MOST_CAUSES);
    let more = if is_root { "" } else { "; root sees more" };
    let what = match all {
        [] => return String::new(),
        [(pid, _)] => format!("process {pid} could not be looked into"),
        several => format!("{} could not be looked into", Counted(several.len(), "process")),
    };
    let why = match causes.as_slice() {
        [(cause, _)] => format!(", {cause}"),
        several => {
            let mut why: Vec<String> =
                several.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            why.extend((hidden > 0).then(|| format!("and {}", Counted(hidden, "other reason"))));
            format!(": {}", why.join(", "))
        }
    };
    what + &why + more
}

/// No more of them are told.
const MOST_CAUSES: usize = 4;

fn cause(error: &ProcError) -> String {
    match error {
        ProcError::Denied { .. } => "for lack of permission".to_owned(),
        ProcError::Hidden { .. } => "hidden by /proc (mount option hidepid)".to_owned(),
        error => format!("because of {}", printable(error.to_string().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).unwrap()
    }

    #[test]
    fn how_many_and_why() {
        let denied = || ProcError::Denied { path: "/proc/1/fd".into() };
        let hidden = || ProcError::Hidden { path: "/proc/2".into() };
        let strange = |n: i32| ProcError::Malformed { path: format!("/proc/{n}/\x1bstat").into(), what: "x" };
        assert_eq!(sentence(&[], false), "");
        assert_eq!(
            sentence(&[(pid(1), denied())], true),
            "process 1 could not be looked into, for lack of permission"
        );
        assert_eq!(
            sentence(&[(pid(1), denied()), (pid(2), denied())], false),
            "2 processes could not be looked into, for lack of permission; root sees more"
        );
        assert_eq!(
            sentence(&[(pid(1), hidden()), (pid(2), denied()), (pid(3), denied())], false),
            "3 processes could not be looked into: 2 for lack of permission, 1 hidden by /proc (mount option hidepid); \
             root sees more"
        );
        let many: Vec<_> = (1..=6).map(|n| (pid(n), strange(n))).collect();
        let said = sentence(&many, true);
        assert!(said.starts_with("6 processes could not be looked into: 1 because of /proc/1/"), "{said}");
        assert!(said.ends_with("and 2 other reasons") && !said.contains('\x1b'), "{said}");
    }
}
