//! One JSON document and a newline.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

const ROOM: usize = 64 << 10;

/// Writes `document` as one line.
///
/// # Errors
///
/// What `out` says.
pub fn write(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    // Thousands of rows are written a few bytes at a time.
    let mut out = BufWriter::with_capacity(ROOM, out);
    let mut serializer = Serializer::with_formatter(&mut out, TerminalSafe);
    document.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Escapes everything that is not printable ASCII as `\uNNNN`.
///
/// JSON itself wants that of U+0000 to U+001F only, but a document is often looked at on a terminal, where
/// U+009B starts an escape sequence as well, and a direction mark can make a path read as another. To a
/// program the document is the same.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::method::Method;
    use crate::report::{ActionReport, Outcome, TargetReport, Text, sample};

    fn json(document: &impl Serialize) -> String {
        let mut out = Vec::new();
        write(document, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_text_is_escaped_and_reads_back() {
        let bytes = "a\"\\\u{1b}[0m\u{7f}\u{9b}\u{202e}é文\u{1f600}\n".as_bytes().to_vec();
        insta::assert_snapshot!(json(&Text::from(bytes)), @r#""a\"\\\u001b[0m\u007f\u009b\u202e\u00e9\u6587\ud83d\ude00\n""#);
        insta::assert_snapshot!(json(&Text::from(b"x\xffy".to_vec())), @r#""x\ufffdy""#);
    }

    #[test]
    fn the_document_of_an_action() {
        let remains = TargetReport {
            connection: crate::report::ConnectionFate::Remains,
            waiters: vec![sample::waiter(1250, "recvfrom", crate::report::WaitEnd::Ebadf)],
            holders: vec![sample::holder(99, 5)],
            ..sample::tcp_target()
        };
        let targets = vec![sample::tcp_target(), remains, sample::file_target(), sample::refused_target(9)];
        let report = ActionReport::new(Method::Close, false, targets, vec![sample::process()]);
        insta::assert_snapshot!("action", in_lines(&report));
    }

    #[test]
    fn the_document_of_a_dry_run() {
        let target = TargetReport { outcome: Outcome::WouldDo, fd_freed: false, ..sample::tcp_target() };
        let line = json(&ActionReport::new(Method::Close, true, vec![target], Vec::new()));
        assert!(
            line.starts_with(r#"{"schema":1,"command":"close","dry_run":true,"method":"close","targets":[{"#)
        );
        assert!(line.contains(r#""outcome":"would-do","fd_freed":false"#));
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
    }

    #[test]
    fn the_document_of_a_list() {
        insta::assert_snapshot!("list", in_lines(&sample::list_report(sample::list_awkward())));
    }

    /// The document with a line for each entry, so that a change of the snapshot can be read.
    fn in_lines(document: &impl Serialize) -> String {
        json(document).replace(r#"{"pid":"#, "\n{\"pid\":")
    }

    proptest! {
        #[test]
        fn is_printable_ascii_and_reads_back(text in any::<String>()) {
            let line = json(&Text::from(text.clone().into_bytes()));
            prop_assert!(line.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
