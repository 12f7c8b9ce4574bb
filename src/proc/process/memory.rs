//! What lies in its memory.

use super::{Process, SMALL_LIMIT};
use crate::ids::RemoteAddr;
use crate::proc::auxv::{self, WordSize};
use crate::proc::error::ProcError;
use crate::proc::maps::Mapping;
use crate::proc::name::Name;

/// Longest `maps` accepted: some 600,000 mappings, ten times what `vm.max_map_count` allows by default.
const MAPS_LIMIT: usize = 64 << 20;

impl Process {
    /// Its mappings, ascending; empty for a zombie or kernel thread. Not a snapshot while the target runs.
    ///
    /// # Errors
    /// [`ProcError::Denied`] unless it may be read as a tracer could; [`ProcError::TooLarge`] beyond 64 MiB.
    pub fn maps(&self) -> Result<Vec<Mapping>, ProcError> {
        let text = self.read_memory(b"maps", MAPS_LIMIT)?;
        Mapping::parse_all(&text).map_err(|error| error.at(self.path(b"maps")))
    }

    /// Where its vDSO lies (vdso(7)); `None` if it has none, as a zombie or kernel thread.
    ///
    /// # Errors
    /// [`ProcError::Denied`] unless it may be read as a tracer could.
    pub fn sysinfo_ehdr(&self, size: WordSize) -> Result<Option<RemoteAddr>, ProcError> {
        Ok(auxv::sysinfo_ehdr(&self.read_memory(b"auxv", SMALL_LIMIT)?, size))
    }

    /// Reads a file about its memory. A leader that has ended has none: the file is empty, or fails as if the
    /// process were gone (`auxv`, seen on 6.18), or is denied to all but root; its other threads may still run.
    /// Empty for a zombie or kernel thread.
    fn read_memory(&self, leaf: &'static [u8], limit: usize) -> Result<Vec<u8>, ProcError> {
        match self.read(leaf, limit) {
            Ok(text) if !text.is_empty() => return Ok(text),
            Ok(_) => {}
            Err(error) if error.is_gone() => {}
            Err(ProcError::Denied { .. }) if !self.lives(self.pid.leader())? => {}
            Err(error) => return Err(error),
        }
        match self.other_thread()? {
            Some(tid) => self.read(Name::of_task(tid, leaf).as_bytes(), limit),
            None => Ok(Vec::new()),
        }
    }
}
