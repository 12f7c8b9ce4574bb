//! `/proc/PID/auxv`: what the kernel told the program at its start (getauxval(3)).

use crate::ids::RemoteAddr;

/// Size of a word in the target. A 32-bit program under a 64-bit kernel has 32-bit entries, and nothing in the
/// file tells, so whoever knows the target's architecture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordSize {
    /// 32-bit program.
    Bits32,
    /// 64-bit program.
    Bits64,
}

/// End of the list.
const AT_NULL: u64 = 0;
/// Where the vDSO's ELF header lies.
const AT_SYSINFO_EHDR: u64 = 33;

/// The address of the vDSO's ELF header; `None` if the target has no vDSO.
pub(super) fn sysinfo_ehdr(auxv: &[u8], size: WordSize) -> Option<RemoteAddr> {
    // What follows the end mark may be anything: for a 32-bit program, kernels copy out more than the list.
    let mut entries = pairs(auxv, size).take_while(|(key, _)| *key != AT_NULL);
    let (_, address) = entries.find(|(key, _)| *key == AT_SYSINFO_EHDR)?;
    (address != 0).then_some(RemoteAddr(address))
}

fn pairs(auxv: &[u8], size: WordSize) -> impl Iterator<Item = (u64, u64)> {
    let width = match size {
        WordSize::Bits32 => 4,
        WordSize::Bits64 => 8,
    };
    auxv.chunks_exact(2 * width).map(move |entry| (word(&entry[..width]), word(&entry[width..])))
}

/// Four or eight bytes as the number they are on this machine.
fn word(bytes: &[u8]) -> u64 {
    match (<[u8; 8]>::try_from(bytes), <[u8; 4]>::try_from(bytes)) {
        (Ok(eight), _) => u64::from_ne_bytes(eight),
        (_, Ok(four)) => u32::from_ne_bytes(four).into(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words64(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn words32(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn finds_the_vdso_in_both_layouts() {
        let auxv = words64(&[16, 0xbfeb_fbff, 33, 0x7ffd_1234_5000, 6, 4096, 0, 0]);
        assert_eq!(sysinfo_ehdr(&auxv, WordSize::Bits64), Some(RemoteAddr(0x7ffd_1234_5000)));
        let auxv = words32(&[32, 0xf7f0_1430, 33, 0xf7f0_1000, 16, 0, 0, 0]);
        assert_eq!(sysinfo_ehdr(&auxv, WordSize::Bits32), Some(RemoteAddr(0xf7f0_1000)));
    }

    #[test]
    fn stops_at_the_end_mark_and_takes_no_zero() {
        assert_eq!(sysinfo_ehdr(&words64(&[6, 4096, 0, 0, 33, 0x1000]), WordSize::Bits64), None);
        assert_eq!(sysinfo_ehdr(&words64(&[33, 0, 0, 0]), WordSize::Bits64), None);
        assert_eq!(sysinfo_ehdr(b"", WordSize::Bits64), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _wide = sysinfo_ehdr(&bytes, WordSize::Bits64);
            let _narrow = sysinfo_ehdr(&bytes, WordSize::Bits32);
        }
    }
}
