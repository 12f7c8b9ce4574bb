//! Makes bytes from a target fit to be shown on a terminal.
//!
//! A process chooses its own name and the names of its files, so either may hold escape sequences that
//! retitle, recolour or answer for the terminal, and characters that make text read as something else. What
//! comes out of here is one line of characters that each take one or two columns, and what was replaced can
//! be told: the backslash itself is doubled.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what was cut off.
const ELLIPSIS: char = '…';

/// `bytes` as printable text.
///
/// Control characters, bytes that are not UTF-8, everything invisible or without a width (so combining marks
/// too), characters that turn the direction of text, and spaces other than the plain one are escaped:
/// `\n`, `\t`, `\r`, `\xNN` for a byte, `\u{N}` for a character.
#[must_use]
pub fn printable(bytes: &[u8]) -> Cow<'_, str> {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    if bytes.iter().all(plain) {
        // Always valid: it was just seen to be ASCII.
        return String::from_utf8_lossy(bytes);
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut shown, c));
        for byte in chunk.invalid() {
            push_byte(&mut shown, *byte);
        }
    }
    Cow::Owned(shown)
}

fn push(shown: &mut String, c: char) {
    match c {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\t' => shown.push_str("\\t"),
        '\r' => shown.push_str("\\r"),
        '\0'..='\x7f' if c.is_ascii_control() => push_byte(shown, c as u8),
        _ if is_harmless(c) => shown.push(c),
        _ => shown.extend(c.escape_unicode()),
    }
}

fn push_byte(shown: &mut String, byte: u8) {
    // Writing to a String can't fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

/// Whether a character shows as itself, and only as itself.
fn is_harmless(c: char) -> bool {
    let odd_space = c != ' ' && c.is_whitespace();
    !odd_space && !is_format(c) && matches!(c.width(), Some(1 | 2))
}

/// The characters that steer how others are shown (Unicode's class Cf) or show as nothing though they count
/// as letters. Most have no width either; the list does not rely on that.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// [`printable`], and never more than `width` columns: the end is cut off. For text that goes into a line
/// that has to stay readable.
#[must_use]
pub fn bounded(bytes: &[u8], width: usize) -> String {
    // Every byte shows as one column or more in the end, or belongs to a character of at most four.
    let enough = &bytes[..bytes.len().min(width.saturating_mul(4).saturating_add(8))];
    keep_start(&printable(enough), width).into_owned()
}

/// The columns that printable text takes.
#[must_use]
pub fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The first part of printable text, with an ellipsis if it does not fit into `width` columns.
#[must_use]
pub fn keep_start(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut kept: String = fitting(text.chars(), width).collect();
    if width > 0 {
        kept.push(ELLIPSIS);
    }
    Cow::Owned(kept)
}

/// The last part of printable text, with an ellipsis if it does not fit into `width` columns: what tells
/// paths apart is mostly at the end.
#[must_use]
pub fn keep_end(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut kept: Vec<char> = fitting(text.chars().rev(), width).collect();
    if width > 0 {
        kept.push(ELLIPSIS);
    }
    Cow::Owned(kept.into_iter().rev().collect())
}

/// As many characters as fit beside an ellipsis.
fn fitting(chars: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    let mut room = width.saturating_sub(1);
    chars.map_while(move |c| {
        room = room.checked_sub(c.width().unwrap_or(0))?;
        Some(c)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_plain_text_as_it_is() {
        for text in ["", "nginx", "tmux: server", "/srv/größe/文件", "a~!{}"] {
            assert_eq!(printable(text.as_bytes()), text);
        }
    }

    #[test]
    fn escapes_what_could_fool_a_reader() {
        let table: &[(&[u8], &str)] = &[
            (b"\x1b[31mred", "\\x1b[31mred"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"a\nb\tc\rd\0", "a\\nb\\tc\\rd\\x00"),
            (b"\x7f", "\\x7f"),
            (b"\\x1b", "\\\\x1b"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"cut \xe2\x80", "cut \\xe2\\x80"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}".as_bytes(), "\\u{2066}x\\u{2069}"),
            ("a\u{200b}b\u{200d}c".as_bytes(), "a\\u{200b}b\\u{200d}c"),
            ("e\u{301}".as_bytes(), "e\\u{301}"),
            ("a\u{a0}b\u{3000}c".as_bytes(), "a\\u{a0}b\\u{3000}c"),
            ("\u{2028}\u{85}".as_bytes(), "\\u{2028}\\u{85}"),
            ("\u{e0041}\u{fe0f}".as_bytes(), "\\u{e0041}\\u{fe0f}"),
        ];
        for (bytes, want) in table {
            assert_eq!(printable(bytes), *want);
        }
    }

    #[test]
    fn cuts_at_the_right_end() {
        assert_eq!(keep_start("abcdef", 6), "abcdef");
        assert_eq!(keep_start("abcdef", 4), "abc…");
        assert_eq!(keep_end("abcdef", 4), "…def");
        assert_eq!(keep_end("文件夹", 4), "…夹");
        assert_eq!(keep_start("文件夹", 4), "文…");
        assert_eq!(keep_start("abc", 1), "…");
        assert_eq!(keep_end("abc", 0), "");
        assert_eq!(bounded(&vec![0x1b; 1_000_000], 9), "\\x1b\\x1b…");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(bytes: Vec<u8>, text in "\\PC{0,20}\\p{C}{0,20}") {
            for bytes in [&bytes, text.as_bytes()] {
                for c in printable(bytes).chars() {
                    prop_assert!(is_harmless(c), "{:?}", c);
                }
            }
        }

        #[test]
        fn never_wider_than_asked(text in "\\PC{0,60}", width in 0usize..50) {
            let text = printable(text.as_bytes());
            prop_assert!(columns(&keep_start(&text, width)) <= width);
            prop_assert!(columns(&keep_end(&text, width)) <= width);
            prop_assert!(columns(&bounded(text.as_bytes(), width)) <= width);
        }
    }
}
