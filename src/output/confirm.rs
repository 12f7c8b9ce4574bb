//! Asks before something broad is done.

use std::io::{self, BufRead, Read as _, Write};

use super::units::Counted;

/// No sensible answer is longer. What is typed beyond it is part of no answer.
const LONGEST_ANSWER: u64 = 64;

/// Asks whether to `verb` `descriptors` of `processes`, and reads the answer.
///
/// Only `y` or `yes`, in any case, is yes. An empty line, anything else, and the end of input are no.
///
/// # Errors
///
/// What `input` or `output` says.
pub fn ask(
    verb: &str,
    descriptors: usize,
    processes: usize,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<bool> {
    let (what, whose) = (Counted(descriptors, "descriptor"), Counted(processes, "process"));
    write!(output, "{verb} {what} of {whose}? [y/N] ")?;
    output.flush()?;
    let mut answer = Vec::new();
    input.take(LONGEST_ANSWER).read_until(b'\n', &mut answer)?;
    let answer = answer.trim_ascii();
    Ok(answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mut typed: &[u8]) -> (bool, String) {
        let mut shown = Vec::new();
        let yes = ask("Close", 10_000, 1, &mut typed, &mut shown).unwrap();
        (yes, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn only_yes_is_yes() {
        for typed in ["y\n", "Y\n", "yes\n", "YES", "  y \n"] {
            assert!(answer(typed.as_bytes()).0, "{typed:?}");
        }
        for typed in ["", "\n", "n\n", "no\n", "yeah\n", "yy\n", "\ny\n", "\u{1b}y\n"] {
            assert!(!answer(typed.as_bytes()).0, "{typed:?}");
        }
        assert!(!answer(&[b'y'; 1000]).0);
        assert!(!answer(b"\xff\n").0);
        assert_eq!(answer(b"").1, "Close 10,000 descriptors of 1 process? [y/N] ");
    }
}
