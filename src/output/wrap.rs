//! Sentences that fit the terminal.

use std::io::{self, Write};

use super::sanitize::columns;

/// Before lines that continue a sentence.
const INDENT: &str = "  ";

/// Writes `text`, which may have styles in it, broken at blanks into lines of at most `width` columns where that is
/// possible; as it is without a width.
///
/// # Errors
///
/// What `out` says.
pub fn write(text: &str, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let Some(width) = width else { return out.write_all(text.as_bytes()) };
    for line in text.split_inclusive('\n') {
        write_line(line, width, out)?;
    }
    Ok(())
}

fn write_line(line: &str, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut used = 0;
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    for (at, word) in line.split(' ').enumerate() {
        let wide = columns(&without_styles(word));
        if at > 0 && used + 1 + wide > width {
            write!(out, "\n{INDENT}{word}")?;
            used = INDENT.len() + wide;
        } else {
            write!(out, "{}{word}", if at > 0 { " " } else { "" })?;
            used += usize::from(at > 0) + wide;
        }
    }
    out.write_all(end.as_bytes())
}

/// Without `ESC [ ... m`, the only sequences that the palette has. Text from outside has none: it was sanitised.
fn without_styles(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: Option<usize>) -> String {
        let mut out = Vec::new();
        write(text, width, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn breaks_at_blanks() {
        assert_eq!(wrapped("one two three\n", Some(8)), "one two\n  three\n");
        assert_eq!(wrapped("one two three\n", Some(13)), "one two three\n");
        assert_eq!(wrapped("one two three\n", None), "one two three\n");
        assert_eq!(wrapped("a-word-that-fits-nowhere x\n", Some(8)), "a-word-that-fits-nowhere\n  x\n");
        assert_eq!(wrapped("", Some(8)), "");
    }

    #[test]
    fn styles_take_no_room() {
        let styled = "one \u{1b}[32mtwo\u{1b}[0m\n";
        assert_eq!(wrapped(styled, Some(7)), styled);
    }
}
