//! The traffic class of sockets by control group (`net_cls` and `net_prio`, version 1), which a copy would change.
//!
//! Whoever receives a socket, also by pidfd_getfd(2), puts it into the class of its own group (`__receive_sock`,
//! net/core/scm.c), where it stays: connections that are only looked at would lose their rules of tc(8). In version 2 the
//! group that has made a socket is the one it belongs to.

use std::fs;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::Tid;
use crate::proc::Process;

/// fdclose's own groups are read again after this time: a hierarchy may be mounted, or fdclose be moved, while it watches.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What was read last of fdclose's own, and when.
static OWN: Mutex<Option<(Instant, Groups)>> = Mutex::new(None);

/// The lines of a `/proc/PID/cgroup` for the controllers that give sockets a class.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Groups(Vec<Vec<u8>>);

impl Groups {
    /// Reads `5:net_cls,net_prio:/a/group`, a line for each hierarchy.
    fn parse(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| gives_class(line));
        Self(lines.map(<[u8]>::to_vec).collect())
    }

    /// Whether there is no such hierarchy.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of fdclose; `None` if they can't be read.
    fn own() -> Option<Self> {
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, groups)) = own.as_ref()
            && read.elapsed() < READ_AGAIN
        {
            return Some(groups.clone());
        }
        let groups = match fs::read("/proc/self/cgroup") {
            Ok(text) => Self::parse(&text),
            // A kernel without control groups.
            Err(error) if error.kind() == ErrorKind::NotFound => Self(Vec::new()),
            Err(_) => return None,
        };
        *own = Some((Instant::now(), groups.clone()));
        Some(groups)
    }
}

/// Whether a line is of a hierarchy with one of these controllers. One with a name alone has `name=` there.
fn gives_class(line: &[u8]) -> bool {
    let controllers = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    controllers.split(|byte| *byte == b',').any(|name| matches!(name, b"net_cls" | b"net_prio"))
}

/// Whether a copy of a socket of the thread `tid` would be in another class than that is. What can't be read is taken to
/// be.
pub(super) fn would_change(process: &Process, tid: Tid) -> bool {
    match Groups::own() {
        Some(own) if own.is_empty() => false,
        Some(own) => process.cgroup(tid).map_or(true, |text| Groups::parse(&text) != own),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lines_of_these_controllers_count() {
        let text =
            b"9:name=net_cls:/\n6:net_cls,net_prio:/a:b\n5:freezer:/net_cls\n3:net_prio:/\n0::/net_prio\n";
        let lines = [&b"6:net_cls,net_prio:/a:b"[..], b"3:net_prio:/"];
        assert_eq!(Groups::parse(text), Groups(lines.map(<[u8]>::to_vec).to_vec()));
        for none in [&b""[..], b"\n", b"0::/\n", b"net_cls", b"1:net_clsx:/", b"1:cpu", b"::::\n:"] {
            assert!(Groups::parse(none).is_empty(), "{none:?}");
        }
        assert_ne!(Groups::parse(b"6:net_cls:/a\n"), Groups::parse(b"6:net_cls:/b\n"));
        assert_eq!(Groups::parse(b"6:net_cls:/a\n5:cpu:/x"), Groups::parse(b"6:net_cls:/a\n5:cpu:/y"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let lines = text.split(|byte| *byte == b'\n').count();
            prop_assert!(Groups::parse(&text).0.len() <= lines);
        }

        #[test]
        fn groups_are_told_apart_by_their_paths(one in "/[^\n]{0,20}", other in "/[^\n]{0,20}", cpu in "/[a-z:]{0,9}") {
            let text = |path: &str| format!("7:cpu:{cpu}\n4:net_cls:{path}\n0::{cpu}\n").into_bytes();
            prop_assert_eq!(Groups::parse(&text(&one)) == Groups::parse(&text(&other)), one == other);
        }
    }
}
