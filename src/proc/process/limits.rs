//! Its limits (getrlimit(2)) and its control groups.

use super::{Process, SMALL_LIMIT};
use crate::ids::Tid;
use crate::proc::error::{Malformed, ProcError};
use crate::proc::name::Name;
use crate::proc::text::{decimal, lines, words};

impl Process {
    /// `/proc/PID/task/TID/cgroup`: a line for each hierarchy of control groups.
    ///
    /// # Errors
    /// [`ProcError::Gone`], and on a kernel without control groups.
    pub(crate) fn cgroup(&self, tid: Tid) -> Result<Vec<u8>, ProcError> {
        self.read(Name::of_task(tid, b"cgroup").as_bytes(), SMALL_LIMIT)
    }

    /// How many descriptors it may have: the soft RLIMIT_NOFILE. `None` if there is no limit.
    ///
    /// # Errors
    /// [`ProcError::Gone`], or [`ProcError::Denied`] if it is another user's.
    pub fn descriptor_limit(&self) -> Result<Option<u64>, ProcError> {
        let text = self.read(b"limits", SMALL_LIMIT)?;
        descriptor_limit(&text).map_err(|error| error.at(self.path(b"limits")))
    }
}

/// `Max open files            1024                 524288               files`.
fn descriptor_limit(text: &[u8]) -> Result<Option<u64>, Malformed> {
    const MALFORMED: Malformed = Malformed("Max open files");
    let line = lines(text).find_map(|line| line.strip_prefix(b"Max open files")).ok_or(MALFORMED)?;
    match words(line).next() {
        Some(b"unlimited") => Ok(None),
        Some(number) => decimal(number).map(Some).ok_or(MALFORMED),
        None => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    use super::*;
    use crate::ids::Pid;
    use crate::proc::Procfs;

    #[test]
    fn reads_what_the_kernel_writes() {
        let line = b"Max processes   96365   96365   processes \nMax open files            1024                 524288               files     \n";
        assert_eq!(descriptor_limit(line), Ok(Some(1024)));
        assert_eq!(descriptor_limit(b"Max open files unlimited unlimited files\n"), Ok(None));
        for broken in
            [&b""[..], b"Max open files\n", b"Max open files x y files\n", b"Max file locks 1 1 locks\n"]
        {
            assert!(descriptor_limit(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn agrees_with_getrlimit() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(Procfs::host().open(own).unwrap().descriptor_limit().unwrap(), Some(soft));
    }
}
