//! Finding a system call instruction that is already in the target. None is ever written there.
//!
//! Everything here comes from the target's memory and is not to be believed: the ELF image at the vDSO's address
//! may be anything. So every site is checked twice: it lies in a mapping the kernel calls executable, and its
//! bytes are read again while the target is stopped ([`Site::is_intact`]).

use goblin::elf::program_header::{PF_X, PT_LOAD, ProgramHeader};
use goblin::elf::{Elf, header::Header};

use crate::arch::{Abi, Word};
use crate::ids::{RemoteAddr, Tid};
use crate::proc::{Mapping, Process, WordSize};
use crate::trace::read_memory;

/// As much of an image as is looked at: the vDSO has 8 KiB, and 16 KiB on some.
const IMAGE_LIMIT: u64 = 64 * 1024;

/// As much of each executable mapping as is searched when the vDSO is of no use.
const SEARCH_LIMIT: u64 = 4 * 1024 * 1024;

/// How a site was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The instruction the thread itself is in: two bytes before its instruction pointer.
    OwnCall,
    /// The vDSO.
    Vdso,
    /// Another executable mapping.
    Mapping,
}

/// A system call instruction in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Its address.
    pub address: RemoteAddr,
    /// How it was found.
    pub origin: Origin,
}

impl Site {
    /// The call instruction right before `ip`, if there is one: where a thread in a system call stands. Such a
    /// thread has just executed it, so it is executable.
    #[must_use]
    pub fn before(tid: Tid, ip: RemoteAddr, abi: &Abi) -> Option<Self> {
        let address = RemoteAddr(ip.0.checked_sub(abi.instruction.len() as u64)?);
        let site = Self { address, origin: Origin::OwnCall };
        site.is_intact(tid, abi).then_some(site)
    }

    /// Whether the instruction is still there.
    #[must_use]
    pub fn is_intact(&self, tid: Tid, abi: &Abi) -> bool {
        let mut bytes = [0; 8];
        let Some(bytes) = bytes.get_mut(..abi.instruction.len()) else { return false };
        read_memory(tid, self.address, bytes) == Ok(bytes.len()) && bytes == abi.instruction
    }

    /// A call instruction in the target's vDSO, or else in another executable mapping. `tid` is a thread that lives.
    #[must_use]
    pub fn find(process: &Process, tid: Tid, abi: &Abi) -> Option<Self> {
        Self::find_in(process, tid, &process.maps().ok()?, abi)
    }

    /// As [`Self::find`], with the target's maps at hand.
    #[must_use]
    pub fn find_in(process: &Process, tid: Tid, maps: &[Mapping], abi: &Abi) -> Option<Self> {
        let executable = || maps.iter().filter(|map| map.executable && map.readable);
        let read = |from: u64, len: u64| read_bytes(tid, from, len);
        let vdso = process.sysinfo_ehdr(word_size(abi)).ok().flatten();
        let in_vdso = vdso.and_then(|base| {
            let home = executable().find(|map| (map.start..map.end).contains(&base))?;
            let image = read(base.0, (home.end.0 - base.0).min(IMAGE_LIMIT))?;
            let offset = find_in_image(&image, abi.instruction)?;
            Some(Self { address: base.checked_add(offset)?, origin: Origin::Vdso })
        });
        // A code page of the target's own may be one it rewrites; file-backed ones come first for that reason.
        let in_mapping = || {
            let (files, others): (Vec<_>, Vec<_>) = executable().partition(|map| map.inode != 0);
            files.into_iter().chain(others).find_map(|map| search_mapping(map, &read, abi))
        };
        in_vdso.or_else(in_mapping)
    }
}

fn word_size(abi: &Abi) -> WordSize {
    match abi.word {
        Word::Bits32 => WordSize::Bits32,
        Word::Bits64 => WordSize::Bits64,
    }
}

fn search_mapping(map: &Mapping, read: &impl Fn(u64, u64) -> Option<Vec<u8>>, abi: &Abi) -> Option<Site> {
    // [vsyscall] shows as executable, but jumps into it are emulated or refused.
    if map.name == b"[vsyscall]" {
        return None;
    }
    let bytes = read(map.start.0, map.end.0.checked_sub(map.start.0)?.min(SEARCH_LIMIT))?;
    let offset = find_bytes(&bytes, abi.instruction)?;
    let address = map.start.checked_add(offset as u64)?;
    Some(Site { address, origin: Origin::Mapping })
}

pub(super) fn read_bytes(tid: Tid, from: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let got = read_memory(tid, RemoteAddr(from), &mut bytes).ok()?;
    bytes.truncate(got);
    Some(bytes)
}

/// Where `needle` begins. On x86-64 with SSE2, which every such machine has: to find out what else there is takes
/// CPUID, and in a virtual machine each of a dozen costs microseconds, 45 us in all, more than the whole search.
#[cfg(target_arch = "x86_64")]
pub(super) fn find_bytes(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    use memchr::arch::x86_64::sse2::packedpair::Finder;
    match Finder::new(needle) {
        Some(finder) if haystack.len() >= finder.min_haystack_len() => finder.find(haystack, needle),
        _ if needle.is_empty() => None,
        _ => haystack.windows(needle.len()).position(|window| window == needle),
    }
}

/// Where `needle` begins.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn find_bytes(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// The offset, from the image's start in memory, of `instruction` in one of its executable segments. `image` is
/// what lies in memory, not a file: the vDSO's segments have the same offsets in both.
#[must_use]
pub fn find_in_image(image: &[u8], instruction: &[u8]) -> Option<u64> {
    let header: Header = Elf::parse_header(image).ok()?;
    let context = goblin::container::Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let offset = usize::try_from(header.e_phoff).ok()?;
    let headers = ProgramHeader::parse(image, offset, usize::from(header.e_phnum), context).ok()?;
    let base = headers.iter().filter(|header| header.p_type == PT_LOAD).map(|header| header.p_vaddr).min()?;
    headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0).find_map(
        |segment| {
            let start = usize::try_from(segment.p_vaddr.checked_sub(base)?).ok()?;
            let len = usize::try_from(segment.p_memsz).ok()?;
            let end = start.checked_add(len)?.min(image.len());
            let offset = start + find_bytes(image.get(start..end)?, instruction)?;
            u64::try_from(offset).ok()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::native_abi;

    /// An ELF64 image with one executable segment that spans `from..from+len`.
    fn image(from: u64, len: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0_u8; size];
        bytes[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(16, &3_u16.to_le_bytes());
        put(18, &62_u16.to_le_bytes());
        put(20, &1_u32.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(52, &64_u16.to_le_bytes());
        put(54, &56_u16.to_le_bytes());
        put(56, &2_u16.to_le_bytes());
        for (at, flags, vaddr, len) in [(64, 4_u32, 0_u64, from), (120, 5, from, len)] {
            put(at, &1_u32.to_le_bytes());
            put(at + 4, &flags.to_le_bytes());
            put(at + 8, &vaddr.to_le_bytes());
            put(at + 16, &vaddr.to_le_bytes());
            put(at + 32, &len.to_le_bytes());
            put(at + 40, &len.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn only_executable_segments_count() {
        let mut elf = image(512, 256, 1024);
        elf[300..302].copy_from_slice(&[0x0f, 0x05]);
        assert_eq!(find_in_image(&elf, &[0x0f, 0x05]), None, "that one is in a data segment");
        elf[700..702].copy_from_slice(&[0x0f, 0x05]);
        assert_eq!(find_in_image(&elf, &[0x0f, 0x05]), Some(700));
        elf[767] = 0x0f;
        elf[768] = 0x05;
        elf[700] = 0;
        assert_eq!(find_in_image(&elf, &[0x0f, 0x05]), None, "half of it lies outside the segment");
    }

    #[test]
    fn a_lying_image_is_only_useless() {
        let elf = image(512, u64::MAX, 1024);
        assert_eq!(find_in_image(&elf, &[0x0f, 0x05]), None);
        let mut many = image(512, 256, 1024);
        many[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(find_in_image(&many, &[0x0f, 0x05]), None);
        let mut far = image(512, 256, 1024);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(find_in_image(&far, &[0x0f, 0x05]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_image_makes_it_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048)) {
            let _any = find_in_image(&bytes, &[0x0f, 0x05]);
            let header = image(512, 256, 1024);
            let len = bytes.len().min(20);
            bytes[..len].copy_from_slice(&header[..len]);
            let _any = find_in_image(&bytes, &[0x0f, 0x05]);
        }
    }

    #[test]
    fn finds_one_in_a_living_process() {
        let pid = crate::ids::Pid::new(std::process::id().cast_signed()).unwrap();
        let (process, own) = (crate::proc::Procfs::host().open(pid).unwrap(), pid.leader());
        let site = Site::find(&process, own, native_abi()).expect("a process has a system call instruction");
        assert_eq!(site.origin, Origin::Vdso);
        assert!(site.is_intact(own, native_abi()));
        assert!(!Site { address: RemoteAddr(0x10), ..site }.is_intact(own, native_abi()));
    }
}
