//! Numbers and lines in the kernel's text, as bytes: names in it may be anything but NUL.

/// The number all of `text` spells, in base 8, 10 or 16. No sign, no blanks; `None` for anything else,
/// overflow included.
pub(crate) fn number(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        sum.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

/// As [`number`], decimal, for any type a `u64` may fit.
pub(crate) fn decimal<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    T::try_from(number(text, 10)?).ok()
}

/// The words of a line, separated by any run of blanks and tabs.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// What comes before and after the first `mark`.
pub(crate) fn split_once(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == mark)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The lines of a whole text, without their newlines. An empty text has none.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strict() {
        assert_eq!(number(b"0", 10), Some(0));
        assert_eq!(number(b"18446744073709551615", 10), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616", 10), None);
        assert_eq!(number(b"fFf", 16), Some(0xfff));
        assert_eq!(number(b"0100002", 8), Some(0o100_002));
        for wrong in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"8x", b"\xff"] {
            assert_eq!(number(wrong, 10), None, "{wrong:?}");
        }
        assert_eq!(decimal::<u8>(b"256"), None);
        assert_eq!(decimal::<u8>(b"255"), Some(255));
    }

    #[test]
    fn words_skip_runs_of_blanks() {
        assert_eq!(words(b"  a \t bb  ").collect::<Vec<_>>(), [&b"a"[..], b"bb"]);
        assert_eq!(words(b"").count(), 0);
        assert_eq!(split_once(b"a:b:c", b':'), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_once(b"abc", b':'), None);
    }
}
