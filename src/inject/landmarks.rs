//! What a surgery needs to find in the target's memory, read before the stop: call instructions and stacks.

use super::gadget::{self, Origin, Site};
use crate::arch;
use crate::arch::frame::{self, Likely};
use crate::ids::{RemoteAddr, Tid};
use crate::proc::{Mapping, Process};
use crate::trace::read_memory;

/// Executable memory is read in pieces of this size until the gadgets are found. In glibc they are found in the
/// first few.
const PIECE: usize = 32 * 1024;

/// So much of the target's code is searched at the most.
const SEARCH_LIMIT: usize = 8 * 1024 * 1024;

/// The guard below a thread's stack is not larger than this. A larger stretch of forbidden memory is a reservation,
/// such as the Go runtime makes for its heap; what lies above it is no stack.
const GUARD_LIMIT: u64 = 1024 * 1024;

/// Less is no stack whose lower end is surely unused.
const SMALLEST_STACK: u64 = 64 * 1024;

/// Scratch space for threads without a known stack: so many slots of this size, nearly at the far end of the main
/// thread's stack. The kernel makes room of 128 KiB there for every program (`setup_arg_pages`); hardly any fills it.
const SLOT: u64 = 8 * 1024;
const SLOTS: u64 = 7;

/// Between them and the end, at the least. A signal handler that needs more makes the stack grow.
const SLOT_MARGIN: u64 = 4096;

/// What was found.
#[derive(Debug, Default)]
pub struct Landmarks {
    /// A call instruction, for a thread that is not in a call.
    pub spare_site: Option<Site>,
    /// What a lifeline is made of.
    pub gadgets: Option<frame::Gadgets>,
    stacks: Vec<(u64, u64)>,
    main_stack: Option<(u64, u64)>,
}

impl Landmarks {
    /// Looks around in `process`, with the eyes of `tid`, a thread that lives; `chains` if chains of calls are to be
    /// run. Finds nothing where its maps can't be read.
    #[must_use]
    pub fn read(process: &Process, tid: Tid, chains: bool) -> Self {
        let Ok(maps) = process.maps() else { return Self::default() };
        let gadgets = find_gadgets(tid, &maps, chains);
        // One of the gadgets is a call instruction. Without them, the vDSO has one, at which no call waits for long: that
        // matters where nobody may be told from the instruction alone.
        let spare_site = match gadgets {
            Some(gadgets) if !arch::native_abi().rewinds => {
                Some(Site { address: gadgets.syscall_ret, origin: Origin::Mapping })
            }
            _ => Site::find_in(process, tid, &maps, arch::native_abi()),
        };
        let main_stack =
            maps.iter().find(|map| map.name == b"[stack]").filter(|map| is_roomy(map)).map(range);
        Self { spare_site, gadgets, stacks: stacks(&maps), main_stack }
    }

    /// Scratch space for a thread whose own stack is too small or can't be told from other memory, as a goroutine's:
    /// from where to where. `tid` is a thread that sees the memory.
    ///
    /// It is a slot with nothing but zeroes in it, which is what it is left with: only an array of the main thread's,
    /// deep down, could keep those there. What is in one that is not, a fdclose that was killed may have left, and it may
    /// still be in use.
    pub(super) fn spare(&self, tid: Tid) -> Option<(RemoteAddr, RemoteAddr)> {
        let (start, _) = self.main_stack?;
        let slots =
            (0..SLOTS).filter_map(|slot| Some(RemoteAddr(start.checked_add(SLOT_MARGIN + slot * SLOT)?)));
        let is_unused = |from: &RemoteAddr| {
            let bytes = gadget::read_bytes(tid, from.0, SLOT).unwrap_or_default();
            bytes.len() as u64 == SLOT && bytes.iter().all(|byte| *byte == 0)
        };
        slots.into_iter().find(is_unused).and_then(|from| Some((from, from.checked_add(SLOT)?)))
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
pub(super) fn stacks(maps: &[Mapping]) -> Vec<(u64, u64)> {
    let guarded = maps.windows(2).filter_map(|pair| match pair {
        [guard, stack] if is_guard(guard) && guard.end == stack.start && is_anonymous_memory(stack) => {
            Some(stack)
        }
        _ => None,
    });
    let named = maps.iter().filter(|map| map.name == b"[stack]" || map.name.starts_with(b"[stack:"));
    named.chain(guarded).filter(|map| is_roomy(map)).map(range).collect()
}

fn is_roomy(map: &Mapping) -> bool {
    map.readable && map.writable && map.end.0.saturating_sub(map.start.0) >= SMALLEST_STACK
}

fn range(map: &Mapping) -> (u64, u64) {
    (map.start.0, map.end.0)
}

fn is_guard(map: &Mapping) -> bool {
    !map.readable && !map.writable && !map.executable && map.end.0.saturating_sub(map.start.0) <= GUARD_LIMIT
}

fn is_anonymous_memory(map: &Mapping) -> bool {
    map.inode == 0 && map.name.is_empty() && !map.shared && !map.executable
}

/// The gadgets, in the vDSO and in files mapped for execution.
fn find_gadgets(tid: Tid, maps: &[Mapping], chains: bool) -> Option<frame::Gadgets> {
    let is_file = |map: &Mapping| map.inode != 0 || map.name == VDSO;
    let mut files: Vec<&Mapping> =
        maps.iter().filter(|map| map.executable && map.readable && !map.writable && is_file(map)).collect();
    let mut search = Search { tid, left: SEARCH_LIMIT, piece: vec![0; PIECE] };
    // Found is mostly what is searched for first.
    let mut order = None;
    frame::Gadgets::find(chains, |likely, bytes| {
        if order.replace(likely) != Some(likely) {
            files.sort_by_key(|map| match likely {
                Likely::Linker => {
                    (map.name != VDSO, !is_named(&map.name, LINKERS), !is_named(&map.name, LIBRARIES))
                }
                Likely::Library => (!is_named(&map.name, LIBRARIES), false, false),
            });
        }
        search.find(&files, bytes)
    })
}

const VDSO: &[u8] = b"[vdso]";
const LINKERS: &[&[u8]] = &[b"ld-linux"];
const LIBRARIES: &[&[u8]] = &[b"libc.so", b"libc-", b"ld-musl"];

fn is_named(path: &[u8], names: &[&[u8]]) -> bool {
    let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    names.iter().any(|name| file.starts_with(name))
}

/// A search through executable memory, so many bytes of it.
struct Search {
    tid: Tid,
    left: usize,
    piece: Vec<u8>,
}

impl Search {
    fn find(&mut self, files: &[&Mapping], bytes: &[u8]) -> Option<RemoteAddr> {
        files.iter().find_map(|map| self.find_in(map, bytes))
    }

    fn find_in(&mut self, map: &Mapping, bytes: &[u8]) -> Option<RemoteAddr> {
        let mut at = map.start;
        while at < map.end && self.left > 0 {
            let len = usize::try_from(map.end.0 - at.0).map_or(PIECE, |rest| rest.min(PIECE));
            let piece = self.piece.get_mut(..len)?;
            let got = read_memory(self.tid, at, piece).ok()?;
            if let Some(offset) = gadget::find_bytes(piece.get(..got)?, bytes) {
                return at.checked_add(offset as u64);
            }
            self.left = self.left.saturating_sub(len);
            // The next piece overlaps, so that what lies across the border is found.
            let step = if len == PIECE { PIECE - bytes.len() + 1 } else { len };
            at = at.checked_add(step as u64)?;
        }
        None
    }
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
    fn only_slots_of_zeroes_are_spare() {
        let own = Tid::new(nix::unistd::gettid().as_raw()).unwrap();
        let mut memory = vec![0_u8; 256 * 1024];
        let start = memory.as_ptr().addr() as u64;
        let landmarks = Landmarks { main_stack: Some((start, start + 256 * 1024)), ..Landmarks::default() };
        let spare = || landmarks.spare(own).map(|(from, to)| (from.0 - start, to.0 - start));
        memory[4095] = 1;
        for slot in 0..SLOTS {
            let from = 4096 + 8192 * slot;
            assert_eq!(spare(), Some((from, from + 8192)));
            // The last byte of it.
            memory[usize::try_from(from + 8191).unwrap()] = 1;
        }
        assert_eq!(spare(), None);
        const { assert!(SLOT_MARGIN + SLOTS * SLOT < SMALLEST_STACK, "they all lie on the smallest one") };
        assert_eq!(Landmarks::default().spare(own), None);
    }

    #[test]
    fn finds_everything_in_a_living_process() {
        let pid = crate::ids::Pid::new(std::process::id().cast_signed()).unwrap();
        let (process, own) = (Procfs::host().open(pid).unwrap(), pid.leader());
        let landmarks = Landmarks::read(&process, own, true);
        let gadgets = landmarks.gadgets.expect("a C library has the gadgets");
        for (at, bytes) in gadgets.pieces(true) {
            assert_eq!(gadget::read_bytes(own, at.0, bytes.len() as u64).unwrap(), bytes);
        }
        let on_stack = 0_u8;
        let here = RemoteAddr((&raw const on_stack).addr() as u64);
        assert!(landmarks.stack_below(here).is_some(), "a test's thread has a stack");
    }
}
