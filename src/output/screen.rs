//! One screen of a terminal, written over the one before.

use std::io::{self, Write};

/// Home, and erase everything (ECMA-48: CUP, ED; console_codes(4)).
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";
/// So many lines at its end are kept, where a blank line sets them off.
const TAIL_MOST: usize = 10;

/// Writes `text` to an empty screen with `height` lines: if it has more, its beginning, and what comes after its last
/// blank line.
///
/// # Errors
///
/// What `out` says.
pub fn write(text: &[u8], height: usize, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(CLEAR)?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    // The cursor stands on the line after the last.
    let room = height.saturating_sub(1);
    if lines.len() <= room {
        return out.write_all(text);
    }
    let blank = lines.iter().rposition(|line| *line == b"\n").unwrap_or(lines.len());
    let tail = lines.len().saturating_sub(blank).min(TAIL_MOST).min(room / 2);
    let head = room.saturating_sub(tail + 1);
    let (first, last) = (&lines[..head], &lines[blank.min(lines.len())..][..tail]);
    first.iter().try_for_each(|line| out.write_all(line))?;
    let left_out = lines.len() - head - tail;
    writeln!(out, "... {left_out} more lines; a larger terminal, or --json, shows them")?;
    last.iter().try_for_each(|line| out.write_all(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, height: usize) -> String {
        let mut out = Vec::new();
        write(text.as_bytes(), height, &mut out).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("\x1b[H\x1b[2J").unwrap().to_owned()
    }

    #[test]
    fn what_fits_is_shown_as_it_is() {
        assert_eq!(shown("a\nb\n", 3), "a\nb\n");
        assert_eq!(shown("", 3), "");
    }

    #[test]
    fn what_does_not_fit_loses_its_middle() {
        let rows: String = (0..100).map(|n| n.to_string() + "\n").collect();
        let text = rows.clone() + "\nsum\nmore\n";
        let lines = shown(&text, 10);
        assert_eq!(
            lines,
            "0\n1\n2\n3\n4\n... 95 more lines; a larger terminal, or --json, shows them\n\nsum\nmore\n"
        );
        assert_eq!(shown(&rows, 10).lines().count(), 9);
        for height in 0..30 {
            assert!(shown(&text, height).lines().count() <= height.max(2), "{height}");
        }
    }
}
