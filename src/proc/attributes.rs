//! What the attributes of files in `/proc/PID` tell, without reading any.

use super::error::ProcError;
use super::process::Process;

impl Process {
    /// The user who owns the files below its /proc directory: its effective user, or root while it is not
    /// dumpable (proc(5), PR_SET_DUMPABLE in prctl(2)). The directory itself always shows the effective user.
    ///
    /// # Errors
    /// [`ProcError::Gone`] and the others as named.
    pub fn owner(&self) -> Result<u32, ProcError> {
        Ok(self.attributes("stat")?.st_uid)
    }

    /// Whether it has exactly `count` threads, ended but not reaped ones included: much cheaper than listing them.
    /// The link count of `task` is that number and 2 (`proc_task_getattr` in fs/proc/base.c).
    ///
    /// # Errors
    /// [`ProcError::Gone`] and the others as named.
    pub fn has_threads(&self, count: usize) -> Result<bool, ProcError> {
        let links = self.attributes("task")?.st_nlink;
        Ok(usize::try_from(links).is_ok_and(|links| links == count + 2))
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::Pid;
    use crate::proc::Procfs;

    #[test]
    fn the_link_count_tells_the_threads() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let process = Procfs::host().open(own).unwrap();
        // Other tests' threads come and go: the count may change between the two looks, but not for ever.
        let agrees = || process.has_threads(process.threads().unwrap().len()).unwrap();
        assert!((0..10_000).any(|_| agrees()));
        assert!(!process.has_threads(0).unwrap());
    }
}
