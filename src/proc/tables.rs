//! Which descriptor tables the threads of a process have: one for all, most often (unshare(2) with CLONE_FILES).

use nix::errno::Errno;

use super::error::ProcError;
use super::process::Process;
use super::sys;
use crate::ids::Tid;

/// Of one process, no more tables are told apart: each thread is compared with every one, 1 us each time, and a process can
/// have tens of thousands of threads.
const MOST_TABLES: usize = 64;

/// Whether two threads share one descriptor table (kcmp(2), Linux 3.5, needs CONFIG_KCMP or its predecessor).
pub(crate) fn same_descriptor_table(one: Tid, other: Tid) -> Result<bool, Errno> {
    if one == other { Ok(true) } else { sys::same_descriptor_table(one, other) }
}

impl Process {
    /// The threads whose descriptors are not those of `first`, one for each table, of the first 64 tables. Empty where the
    /// kernel can't tell (no kcmp(2)), or this user may not know.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the process is no more.
    pub fn private_tables(&self, first: Tid) -> Result<Vec<Tid>, ProcError> {
        // The kernel counts the threads as links of the directory (`proc_task_getattr`, fs/proc/base.c; seen on 6.18).
        let is_single = self.attributes("task").is_ok_and(|task| task.st_nlink <= 3);
        let mut tables = Vec::new();
        if is_single {
            return Ok(tables);
        }
        for tid in self.threads()? {
            let is_known = |table: &Tid| same_descriptor_table(*table, tid);
            let mut known = std::iter::once(&first).chain(&tables).map(is_known);
            // A thread that has ended, but is listed, has no table: nothing will be found there.
            if known.all(|same| same == Ok(false)) {
                tables.push(tid);
            }
            if tables.len() >= MOST_TABLES {
                break;
            }
        }
        Ok(tables)
    }
}
