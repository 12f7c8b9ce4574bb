//! What must hold of the search for code and stacks, and of the frames laid on them; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use super::gadget::find_in_image;
use super::landmarks;
use crate::arch::chain::{self, Chain, EndSignal};
use crate::arch::frame::{self, Gadgets, Restored};
use crate::arch::{self, Registers};
use crate::ids::{Fd, RemoteAddr};
use crate::proc::Mapping;

/// An ELF image in the target's memory.
pub fn code(image: &[u8]) {
    for abi in arch::ABIS {
        let Some(offset) = find_in_image(image, abi.instruction) else { continue };
        let at = usize::try_from(offset).expect("an offset into the image");
        assert_eq!(image.get(at..at + abi.instruction.len()), Some(abi.instruction));
        let end = offset + abi.instruction.len() as u64;
        let segments = executable_segments(image);
        assert!(segments.iter().any(|(from, to)| *from <= offset && end <= *to), "{offset} in {segments:?}");
    }
}

/// The executable segments by offset from the lowest one, read without goblin (elf(5)).
fn executable_segments(image: &[u8]) -> Vec<(u64, u64)> {
    let (is_64, is_big) = (image[4] == 2, image[5] == 2);
    let field = |at: u64, len: u64| {
        let at = usize::try_from(at).expect("an offset into the image");
        let bytes = &image[at..at + usize::try_from(len).expect("8 at most")];
        let digits = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if is_big { bytes.iter().fold(0, digits) } else { bytes.iter().rev().fold(0, digits) }
    };
    // Of the header: e_phoff and e_phnum. Of an entry: its size, p_flags, p_vaddr, p_memsz.
    let (offset, count) = if is_64 { (field(32, 8), field(56, 2)) } else { (field(28, 4), field(44, 2)) };
    let (size, flags, vaddr, memsz, word) = if is_64 { (56, 4, 16, 40, 8) } else { (32, 24, 8, 20, 4) };
    let loads: Vec<u64> =
        (0..count).map(|index| offset + index * size).filter(|entry| field(*entry, 4) == 1).collect();
    let base = loads.iter().map(|entry| field(entry + vaddr, word)).min().unwrap_or_default();
    let range = |entry: &u64| {
        let from = field(entry + vaddr, word) - base;
        (from, from.saturating_add(field(entry + memsz, word)))
    };
    loads.iter().filter(|entry| field(*entry + flags, 4) & 1 != 0).map(range).collect()
}

/// `maps`, and the stacks found in it.
pub fn stacks(text: &[u8]) {
    let Ok(maps) = Mapping::parse_all(text) else { return };
    // `0-1 rwxp 0 0:0 0` and a newline.
    assert!(maps.len() <= text.len().div_ceil(17));
    for map in &maps {
        assert!(map.start < map.end && map.name.len() <= text.len() && !map.name.contains(&b'\n'));
    }
    for (start, end) in landmarks::stacks(&maps) {
        let of = |map: &&Mapping| (map.start.0, map.end.0) == (start, end) && map.readable && map.writable;
        assert!(maps.iter().any(|map| of(&map)), "only what may be written to");
        assert!(end - start >= 64 * 1024);
    }
}

/// Registers and vector state of a thread, as they go into a signal frame.
pub fn frames(bytes: &[u8]) {
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let Some(registers) = registers(&words) else { return };
    rewritten(registers);
    let xstate = bytes.get(8 * COUNT..).unwrap_or_default();
    let gadgets = Gadgets {
        syscall_ret: RemoteAddr(words[0]),
        pop_rax_ret: RemoteAddr(words[1]),
        pop_rdi_ret: Some(RemoteAddr(words[2])),
    };
    let restored = Restored { registers: &registers.with_restart_applied(), blocked: words[3], xstate };
    let at = RemoteAddr(words[4]);
    if let Some(bytes) = frame::lifeline(gadgets, restored, at) {
        assert!(bytes.len() <= frame::lifeline_len(xstate.len()));
        assert_eq!(bytes[16..24], words[0].to_le_bytes());
        let area = u64::from_le_bytes(*bytes[16 + 232..].first_chunk().expect("a frame"));
        let place = usize::try_from(area - at.0).expect("inside the frame");
        // XSAVE's own magic number in front and behind, at the length that is told.
        let size = u32::from_le_bytes(*bytes[place + 480..].first_chunk().expect("an area")) as usize;
        assert_eq!(area % 64, 0);
        assert_eq!(bytes[place + size..], 0x4650_5845_u32.to_le_bytes());
    }
    let fds: Vec<Fd> = words.iter().filter_map(|word| Fd::new(i32::try_from(*word & 0xffff).ok()?)).collect();
    let chain = Chain { fds: &fds, end: EndSignal { tgid: 1, tid: 2, signal: 28 } };
    if let Some(bytes) = chain.image(gadgets, restored, at) {
        assert!(bytes.len() <= chain::chain_len(fds.len(), xstate.len()));
        let end = chain.end_sp(at).expect("it was laid out");
        let lead = usize::try_from(end.0 - at.0).expect("a length");
        assert_eq!(bytes[lead..lead + 8], words[1].to_le_bytes(), "it ends at the lifeline");
    }
}

const COUNT: usize = 8;

fn registers(words: &[u64]) -> Option<Registers> {
    let &[rax, orig_rax, rip, rsp, rdi, rcx, r11, eflags] = words.first_chunk::<COUNT>()?;
    let rest = libc::user_regs_struct {
        r15: rdi,
        r14: rcx,
        r13: r11,
        r12: rip,
        rbp: rsp,
        rbx: rax,
        r11,
        r10: rdi,
        r9: rcx,
        r8: r11,
        rax,
        rcx,
        rdx: rdi,
        rsi: rip,
        rdi,
        orig_rax,
        rip,
        cs: 0x33,
        eflags,
        rsp,
        ss: 0x2b,
        fs_base: rip,
        gs_base: rsp,
        ds: 0,
        es: 0,
        fs: 0,
        gs: 0,
    };
    Some(Registers(rest))
}

/// Hiding an interruption changes the result and nothing else, once; a restart steps back by one instruction or does
/// nothing.
fn rewritten(registers: Registers) {
    for abi in arch::ABIS {
        let mut hidden = registers;
        let changed = hidden.hide_interruption(abi);
        assert_eq!(changed, hidden != registers);
        assert!(!changed || registers.shows_eintr(abi));
        assert!(!hidden.clone().hide_interruption(abi), "once is enough");
        hidden.0.rax = registers.0.rax;
        assert_eq!(hidden, registers);
    }
    let mut restarted = registers.with_restart_applied();
    if restarted != registers {
        assert!((-516..=-512).contains(&registers.0.rax.cast_signed()));
        assert_eq!(restarted.0.rip, registers.0.rip.wrapping_sub(2));
        (restarted.0.rip, restarted.0.rax) = (registers.0.rip, registers.0.rax);
        assert_eq!(restarted, registers);
    }
}
