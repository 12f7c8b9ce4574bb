//! What a surgery needs to find in the target's memory, read before the stop: call instructions and stacks.

use super::gadget::{self, Site};
use crate::arch::{self, frame};
use crate::ids::{Pid, RemoteAddr};
use crate::proc::{Mapping, Process};

/// Executable memory is read in pieces of this size until the gadgets are found. In glibc they are found in the
/// first few.
const PIECE: u64 = 64 * 1024;

/// So much of the target's code is searched at the most.
const SEARCH_LIMIT: u64 = 8 * 1024 * 1024;

/// The guard below a thread's stack is not larger than this. A larger stretch of forbidden memory is a reservation,
/// such as the Go runtime makes for its heap; what lies above it is no stack.
const GUARD_LIMIT: u64 = 1024 * 1024;

/// Less is no stack whose lower end is surely unused.
const SMALLEST_STACK: u64 = 64 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub struct Landmarks {
    /// A call instruction, for a thread that is not in a call.
    pub spare_site: Option<Site>,
    /// What a lifeline is made of.
    pub gadgets: Option<frame::Gadgets>,
    stacks: Vec<(u64, u64)>,
}

impl Landmarks {
    /// Looks around in `process`. Finds nothing where its maps can't be read.
    #[must_use]
    pub fn read(process: &Process) -> Self {
        let Ok(maps) = process.maps() else { return Self::default() };
        Self {
            spare_site: Site::find_in(process, &maps, arch::native_abi()),
            gadgets: find_gadgets(process.pid(), &maps),
            stacks: stacks(&maps),
        }
    }

    /// The lower end of the stack that `sp` lies on, if it lies on one: memory from there up to `sp` and the red zone
    /// below it is used by nobody.
    #[must_use]
    pub fn stack_below(&self, sp: RemoteAddr) -> Option<RemoteAddr> {
        let on = |(start, end): &&(u64, u64)| (*start..*end).contains(&sp.0);
        self.stacks.iter().find(on).map(|(start, _)| RemoteAddr(*start))
    }
}

/// The stacks: the main thread's, which the kernel names, and mappings that look like those of pthread_create(3),
/// which have a guard right below.
fn stacks(maps: &[Mapping]) -> Vec<(u64, u64)> {
    let guarded = maps.windows(2).filter_map(|pair| match pair {
        [guard, stack] if is_guard(guard) && guard.end == stack.start && is_anonymous_memory(stack) => {
            Some(stack)
        }
        _ => None,
    });
    let named = maps.iter().filter(|map| map.name == b"[stack]" || map.name.starts_with(b"[stack:"));
    named
        .chain(guarded)
        .filter(|map| map.readable && map.writable && map.end.0.saturating_sub(map.start.0) >= SMALLEST_STACK)
        .map(|map| (map.start.0, map.end.0))
        .collect()
}

fn is_guard(map: &Mapping) -> bool {
    !map.readable && !map.writable && !map.executable && map.end.0.saturating_sub(map.start.0) <= GUARD_LIMIT
}

fn is_anonymous_memory(map: &Mapping) -> bool {
    map.inode == 0 && map.name.is_empty() && !map.shared && !map.executable
}

/// `syscall; ret` and `pop %rax; ret` in files mapped for execution, the C library first: it has both.
fn find_gadgets(pid: Pid, maps: &[Mapping]) -> Option<frame::Gadgets> {
    let mut files: Vec<&Mapping> =
        maps.iter().filter(|map| map.executable && map.readable && !map.writable && map.inode != 0).collect();
    files.sort_by_key(|map| !is_libc(&map.name));
    let (mut syscall_ret, mut pop_rax_ret, mut pop_rdi_ret) = (None, None, None);
    let mut left = SEARCH_LIMIT;
    for map in files {
        let mut at = map.start.0;
        while at < map.end.0 && left > 0 {
            let len = PIECE.min(map.end.0 - at);
            let piece = gadget::read_bytes(pid, at, len)?;
            let find = |bytes| gadget::find_bytes(&piece, bytes).map(|offset| RemoteAddr(at + offset as u64));
            syscall_ret = syscall_ret.or_else(|| find(frame::SYSCALL_RET));
            pop_rax_ret = pop_rax_ret.or_else(|| find(frame::POP_RAX_RET));
            pop_rdi_ret = pop_rdi_ret.or_else(|| find(frame::POP_RDI_RET));
            if let (Some(syscall_ret), Some(pop_rax_ret)) = (syscall_ret, pop_rax_ret) {
                // That one is everywhere: where these two are and it is not, it is done without.
                return Some(frame::Gadgets { syscall_ret, pop_rax_ret, pop_rdi_ret });
            }
            // The next piece overlaps, so that what lies across the border is found.
            at += if len == PIECE { PIECE - 4 } else { len };
            left = left.saturating_sub(len);
        }
    }
    None
}

fn is_libc(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"libc.so") || name.starts_with(b"libc-") || name.starts_with(b"ld-musl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Procfs;

    fn parsed(text: &str) -> Vec<Mapping> {
        Mapping::parse_all(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_what_is_surely_a_stack_is_one() {
        let maps = parsed(
            "c003c00000-c004000000 ---p 00000000 00:00 0 \n\
             c004000000-c004400000 rw-p 00000000 00:00 0 \n\
             7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n\
             7f0000001000-7f0000801000 rw-p 00000000 00:00 0 \n\
             7f0000801000-7f0000802000 ---p 00000000 00:00 0 \n\
             7f0000802000-7f0000804000 rw-p 00000000 00:00 0 \n\
             7f0000900000-7f0000a00000 rw-p 00000000 00:00 0 \n\
             7f0000a00000-7f0000a01000 ---p 00000000 00:00 0 \n\
             7f0000a01000-7f0000b00000 rw-p 00000000 08:01 77 /tmp/file\n\
             7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\n",
        );
        let landmarks = Landmarks { stacks: stacks(&maps), ..Landmarks::default() };
        let below = |sp| landmarks.stack_below(RemoteAddr(sp)).map(|start| start.0);
        assert_eq!(below(0x7ffd_0002_0000), Some(0x7ffd_0000_0000), "the main thread's");
        assert_eq!(below(0x7f00_0080_0000), Some(0x7f00_0000_1000), "guarded");
        assert_eq!(below(0xc0_0430_0000), None, "a heap above a reservation");
        assert_eq!(below(0x7f00_0080_3000), None, "too small");
        assert_eq!(below(0x7f00_0095_0000), None, "no guard");
        assert_eq!(below(0x7f00_00a0_2000), None, "a file");
    }

    #[test]
    fn finds_everything_in_a_living_process() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let process = Procfs::host().open(own).unwrap();
        let landmarks = Landmarks::read(&process);
        let gadgets = landmarks.gadgets.expect("a C library has the gadgets");
        for (at, bytes) in
            [(gadgets.syscall_ret, frame::SYSCALL_RET), (gadgets.pop_rax_ret, frame::POP_RAX_RET)]
        {
            assert_eq!(gadget::read_bytes(own, at.0, bytes.len() as u64).unwrap(), bytes);
        }
        let on_stack = 0_u8;
        let here = RemoteAddr((&raw const on_stack).addr() as u64);
        assert!(landmarks.stack_below(here).is_some(), "a test's thread has a stack");
    }
}
